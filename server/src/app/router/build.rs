//! How routers are made, and of which parts.

use std::panic::Location;
use std::sync::Arc;

use http::Method;

use super::endpoint::{Around, Endpoint, Entry, Only, Place};
use super::pattern::{BELOW, Pattern, canonical};
use super::{Fallback, Literal, NotFound, Router, ends};
use crate::app::body::RequestBody;
use crate::app::body_limit::Limited;
use crate::app::handler::{Handler, IntoHandler, ReadsBody};
use crate::app::layer::{IntoLayer, Layer, Layered};
use crate::app::request::OwnedRequest;
use crate::app::response::Response;

/// What there may be only one of around a handler, beside what layers say of themselves.
const BODY_LIMIT: &str = "body limit";

impl Router {
    /// A router without routes: everything is 404.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers GET (and HEAD) of a path.
    ///
    /// # Panics
    /// As [`Self::route`].
    #[must_use]
    #[track_caller]
    pub fn get<K>(self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.route(Method::GET, path, handler)
    }

    /// Answers HEAD of a path otherwise than by its GET route without the body.
    ///
    /// # Panics
    /// As [`Self::route`].
    #[must_use]
    #[track_caller]
    pub fn head<K>(self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.route(Method::HEAD, path, handler)
    }

    /// Answers POST to a path.
    ///
    /// # Panics
    /// As [`Self::route`].
    #[must_use]
    #[track_caller]
    pub fn post<K>(self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.route(Method::POST, path, handler)
    }

    /// Answers PUT of a path.
    ///
    /// # Panics
    /// As [`Self::route`].
    #[must_use]
    #[track_caller]
    pub fn put<K>(self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.route(Method::PUT, path, handler)
    }

    /// Answers PATCH of a path (RFC 5789).
    ///
    /// # Panics
    /// As [`Self::route`].
    #[must_use]
    #[track_caller]
    pub fn patch<K>(self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.route(Method::PATCH, path, handler)
    }

    /// Answers DELETE of a path.
    ///
    /// # Panics
    /// As [`Self::route`].
    #[must_use]
    #[track_caller]
    pub fn delete<K>(self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.route(Method::DELETE, path, handler)
    }

    /// Answers OPTIONS of a path otherwise than with the methods that it has.
    ///
    /// # Panics
    /// As [`Self::route`].
    #[must_use]
    #[track_caller]
    pub fn options<K>(self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.route(Method::OPTIONS, path, handler)
    }

    /// Answers TRACE of a path.
    ///
    /// # Panics
    /// As [`Self::route`].
    #[must_use]
    #[track_caller]
    pub fn trace<K>(self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.route(Method::TRACE, path, handler)
    }

    /// Answers a method of a path.
    ///
    /// # Panics
    /// When the path does not begin with `/`, leads above it, is badly escaped, has `*` elsewhere
    /// than as its last segment, has a segment that is neither text nor one parameter
    /// (`{id}.json`, `{*rest}`, `{}`), the same parameter twice, or more than six of them.
    ///
    /// When the route could not be matched: the path has one for this method already, or another
    /// route has the same path but for the names of its parameters, or the method is CONNECT, which
    /// has no path and reaches no handler: nobody here opens tunnels (RFC 9110 section 9.3.6).
    #[must_use]
    #[track_caller]
    pub fn route<K>(mut self, method: Method, path: &str, handler: impl IntoHandler<K>) -> Self {
        let why = "CONNECT has no path that could be matched, and reaches no handler";
        assert!(method != Method::CONNECT, "{why}: {path}");
        self.add(Some(method), path, Box::new(handler.into_handler()));
        self
    }

    /// Answers every method of a path that has no route of its own.
    ///
    /// # Panics
    /// As [`Self::route`].
    #[must_use]
    #[track_caller]
    pub fn any<K>(mut self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.add(None, path, Box::new(handler.into_handler()));
        self
    }

    /// Answers a method of a path with a closure that reads the body as it arrives, however large:
    /// what it does not read yet waits at the client.
    ///
    /// # Panics
    /// As [`Self::route`].
    #[must_use]
    #[track_caller]
    pub fn stream<F, R>(self, method: Method, path: &str, read: F) -> Self
    where
        F: AsyncFn(OwnedRequest, RequestBody) -> R + Send + Sync + 'static,
        R: Into<Response> + 'static,
    {
        self.route(method, path, ReadsBody::new(read))
    }

    /// Answers what no route matches, instead of 404.
    ///
    /// # Panics
    /// When the router has a fallback already.
    #[must_use]
    #[track_caller]
    pub fn fallback<K>(mut self, handler: impl IntoHandler<K>) -> Self {
        let entry = Entry::new(Box::new(handler.into_handler()), Location::caller());
        self.set_fallback(Fallback { entry, is_default: false });
        self
    }

    /// Adds the routes of another router below a prefix, which may have parameters. The other
    /// router's `/` answers the prefix itself, without a slash behind it; its fallback, if it has
    /// one, answers whatever else is below the prefix. Where a path has no such method, 405 and
    /// OPTIONS know the routes of both.
    ///
    /// [`Request::path`](crate::Request::path) is the whole path, also for a handler of the other
    /// router (axum would take the prefix off): what it links to or logs is what the client asked
    /// for. [`Request::matched_path`](crate::Request::matched_path) is the whole route.
    ///
    /// ```
    /// use ringway::{Request, Response, Router};
    /// let orders = Router::new().get("/", |_: &Request| Response::text("all")).get(
    ///     "/{order}",
    ///     |request: &Request| {
    ///         assert_eq!(request.matched_path(), Some("/shops/{shop}/orders/{order}"));
    ///         Response::text(request.param("order").unwrap_or_default().to_owned())
    ///     },
    /// );
    /// let app = Router::new().nest("/shops/{shop}/orders", orders);
    /// # let _ = app;
    /// ```
    ///
    /// # Panics
    /// When the prefix does not begin with `/`, ends with it (`/` alone is what
    /// [`merge`](Self::merge) does) or has `*`; where it and a path of the other router have a
    /// parameter in common, or more than six together; where both routers have the same route; when
    /// files are served by the other router and the prefix has parameters.
    #[must_use]
    #[track_caller]
    pub fn nest(mut self, prefix: &str, mut router: Self) -> Self {
        let right = prefix.starts_with('/') && !prefix.ends_with('/') && !prefix.contains('*');
        assert!(right, "routes are nested below a path like /api, not `{prefix}`");
        let below = canonical(prefix);
        router.nested(&below);
        let Self { literal, patterns, fallback, .. } = router;
        let literal =
            literal.into_iter().map(|literal| (literal.path.to_owned(), literal.endpoint));
        let patterns = patterns.into_iter().map(|p| (p.text, p.endpoint));
        for (path, endpoint) in literal.chain(patterns) {
            let path = if path == "/" { String::new() } else { path };
            self.merge_endpoint(&format!("{below}{path}"), endpoint);
        }
        if let Some(Fallback { entry, is_default: false }) = fallback {
            let (path, place) = (format!("{below}/{BELOW}"), entry.place);
            self.endpoint(&path, place).add(None, entry, &path);
        }
        self
    }

    /// Adds the routes of another router, and its fallback. Layers of either stay around what they
    /// were around.
    ///
    /// # Panics
    /// When both have the same route or a fallback, or when the two sides' routes of one path are
    /// in layers of which a path has only one (CORS).
    #[must_use]
    #[track_caller]
    pub fn merge(mut self, router: Self) -> Self {
        let Self { literal, patterns, fallback, .. } = router;
        let literal =
            literal.into_iter().map(|literal| (literal.path.to_owned(), literal.endpoint));
        let patterns = patterns.into_iter().map(|p| (p.text, p.endpoint));
        for (path, endpoint) in literal.chain(patterns) {
            self.merge_endpoint(&path, endpoint);
        }
        if let Some(fallback) = fallback {
            self.set_fallback(fallback);
        }
        self
    }

    /// Puts a layer around all that the router answers so far: its routes, those that were nested
    /// and merged, what it says to methods that a path does not have, and its fallback or 404.
    /// Routes that are added afterwards are not in the layer. The layer that is added last is the
    /// outermost: it sees the request first, and the response last.
    ///
    /// For a single route: `.merge(Router::new().get("/admin", admin).layer(auth))`.
    ///
    /// # Panics
    /// When there is nothing yet that the layer would be around, or a route has two layers of which
    /// it can only have one: see [`Layer::only`](crate::layer::Layer::only).
    #[must_use]
    #[track_caller]
    pub fn layer<K>(mut self, layer: impl IntoLayer<K>) -> Self {
        let place = Location::caller();
        let layer = Arc::new(layer.into_layer());
        let what = layer.only();
        let around = Around {
            wrap: Arc::new(move |inner| Box::new(Layered::new(Arc::clone(&layer), inner))),
            only: Only { what, place },
        };
        let mut empty = self.fallback.is_none();
        for (path, endpoint) in self.paths() {
            endpoint.layer(&around, path);
            empty = false;
        }
        assert!(!empty, "a layer comes behind the routes that it is to be around: there are none");
        let not_found = || Entry::new(Box::new(NotFound), place);
        let made = || Fallback { entry: not_found(), is_default: true };
        self.fallback.get_or_insert_with(made).entry.wrap(&around, "the fallback");
        self
    }

    /// Bounds the request's body, in bytes, for all routes that the router has so far: instead of
    /// the configured limit (`limits.body_bytes`, 1 MiB) where a handler has the body whole, and
    /// where it reads the body as it arrives. Larger ones are answered with 413 (RFC 9110 section
    /// 15.5.14): before the handler is called where the length is known; else reading fails, and
    /// whatever the handler then answers is replaced.
    ///
    /// ```
    /// use ringway::{Request, Response, Router};
    /// let length = |request: &Request| Response::display(request.body().len());
    /// let app = Router::new()
    ///     .merge(Router::new().post("/picture", length).body_limit(64 << 20))
    ///     .merge(Router::new().post("/comment", length).body_limit(4 << 10));
    /// # let _ = app;
    /// ```
    ///
    /// # Panics
    /// When there is no route yet, or one that has a limit already.
    #[must_use]
    #[track_caller]
    pub fn body_limit(mut self, bytes: u64) -> Self {
        let around = Around {
            wrap: Arc::new(move |inner| Box::new(Limited::new(bytes, inner))),
            only: Only { what: Some(BODY_LIMIT), place: Location::caller() },
        };
        let mut empty = self.fallback.is_none();
        for (path, endpoint) in self.paths() {
            endpoint.wrap(&around, path);
            empty = false;
        }
        assert!(!empty, "a body limit comes behind the routes that it is for: there are none");
        if let Some(fallback) = &mut self.fallback {
            fallback.entry.wrap(&around, "the fallback");
        }
        self
    }

    #[track_caller]
    fn add(&mut self, method: Option<Method>, path: &str, handler: Box<dyn Handler>) {
        assert!(path.starts_with('/'), "a route's path begins with /: {path}");
        let (place, path) = (Location::caller(), canonical(path));
        assert!(!path.contains(BELOW), "`*` is a whole segment: {path}");
        self.endpoint(&path, place).add(method, Entry::new(handler, place), &path);
    }

    #[track_caller]
    fn merge_endpoint(&mut self, path: &str, endpoint: Endpoint) {
        let place = endpoint.place().unwrap_or(Location::caller());
        self.endpoint(path, place).merge(endpoint, path);
    }

    #[track_caller]
    fn set_fallback(&mut self, fallback: Fallback) {
        match &self.fallback {
            Some(Fallback { entry, is_default: false }) if !fallback.is_default => {
                let (one, other) = (entry.place, fallback.entry.place);
                panic!("a router has one fallback: there is one from {one} and one from {other}");
            }
            Some(_) if fallback.is_default => {}
            _ => self.fallback = Some(fallback),
        }
    }

    /// What a canonical path answers; `place` is where its next route is made.
    #[track_caller]
    fn endpoint(&mut self, path: &str, place: Place) -> &mut Endpoint {
        if !path.contains(['{', '*']) {
            let at = self.literal(path.as_bytes()).unwrap_or_else(|at| {
                let (ends, endpoint) = (ends(path.as_bytes()), Endpoint::default());
                // Routes live as long as the process; requests refer to them without counting.
                let path = String::leak(path.to_owned());
                self.literal.insert(at, Literal { ends, path, endpoint });
                self.lengths.resize(self.lengths.len().max(path.len() + 2), at as u32);
                self.lengths[path.len() + 1..].iter_mut().for_each(|start| *start += 1);
                at
            });
            return &mut self.literal[at].endpoint;
        }
        if let Some(at) = self.patterns.iter().position(|pattern| pattern.text == path) {
            return &mut self.patterns[at].endpoint;
        }
        let pattern = Pattern::new(path);
        // Literal before parameter before rest, segment by segment.
        let at = self.patterns.partition_point(|other| other.segments < pattern.segments);
        if let Some(other) = self.patterns.get(at).filter(|o| o.segments == pattern.segments) {
            let (shown, there) = (&other.text, other.endpoint.place());
            let there = there.map(|place| format!(" from {place}")).unwrap_or_default();
            panic!(
                "{path} from {place} can never be matched: {shown}{there} is the same path with \
                 other names of its parameters"
            );
        }
        self.patterns.insert(at, pattern);
        &mut self.patterns[at].endpoint
    }

    /// All paths, and what they answer.
    pub(super) fn paths(&mut self) -> impl Iterator<Item = (&str, &mut Endpoint)> {
        let literal = self.literal.iter_mut();
        let literal = literal.map(|literal| (literal.path, &mut literal.endpoint));
        let patterns = self.patterns.iter_mut();
        literal.chain(patterns.map(|pattern| (&*pattern.text, &mut pattern.endpoint)))
    }
}
