//! Building routers.

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

/// Name of the body limit, which a handler can have only once; layers name their own.
const BODY_LIMIT: &str = "body limit";

impl Router {
    /// A router without routes: every request gets 404.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers GET (and HEAD) for a path.
    ///
    /// # Panics
    /// As [`Self::route`].
    #[must_use]
    #[track_caller]
    pub fn get<K>(self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.route(Method::GET, path, handler)
    }

    /// Answers HEAD for a path, instead of the GET route without its body.
    ///
    /// # Panics
    /// As [`Self::route`].
    #[must_use]
    #[track_caller]
    pub fn head<K>(self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.route(Method::HEAD, path, handler)
    }

    /// Answers POST for a path.
    ///
    /// # Panics
    /// As [`Self::route`].
    #[must_use]
    #[track_caller]
    pub fn post<K>(self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.route(Method::POST, path, handler)
    }

    /// Answers PUT for a path.
    ///
    /// # Panics
    /// As [`Self::route`].
    #[must_use]
    #[track_caller]
    pub fn put<K>(self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.route(Method::PUT, path, handler)
    }

    /// Answers PATCH for a path (RFC 5789).
    ///
    /// # Panics
    /// As [`Self::route`].
    #[must_use]
    #[track_caller]
    pub fn patch<K>(self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.route(Method::PATCH, path, handler)
    }

    /// Answers DELETE for a path.
    ///
    /// # Panics
    /// As [`Self::route`].
    #[must_use]
    #[track_caller]
    pub fn delete<K>(self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.route(Method::DELETE, path, handler)
    }

    /// Answers OPTIONS for a path, instead of the list of the path's methods.
    ///
    /// # Panics
    /// As [`Self::route`].
    #[must_use]
    #[track_caller]
    pub fn options<K>(self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.route(Method::OPTIONS, path, handler)
    }

    /// Answers TRACE for a path.
    ///
    /// # Panics
    /// As [`Self::route`].
    #[must_use]
    #[track_caller]
    pub fn trace<K>(self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.route(Method::TRACE, path, handler)
    }

    /// Answers a method for a path.
    ///
    /// # Panics
    /// If the path does not begin with `/`, leads above the root, is badly escaped, has `*`
    /// anywhere but as its last segment, has a segment that is neither text nor a single parameter
    /// (`{id}.json`, `{*rest}`, `{}`), repeats a parameter, or has more than six.
    ///
    /// If the route could not be matched: the path already has a route for this method, another
    /// route differs only in the names of its parameters, or the method is CONNECT. CONNECT has no
    /// path and reaches no handler, because this server opens no tunnels (RFC 9110 section 9.3.6).
    #[must_use]
    #[track_caller]
    pub fn route<K>(mut self, method: Method, path: &str, handler: impl IntoHandler<K>) -> Self {
        let why = "CONNECT has no path that could be matched, and reaches no handler";
        assert!(method != Method::CONNECT, "{why}: {path}");
        self.add(Some(method), path, Box::new(handler.into_handler()));
        self
    }

    /// Answers all methods of a path that have no route of their own.
    ///
    /// # Panics
    /// As [`Self::route`].
    #[must_use]
    #[track_caller]
    pub fn any<K>(mut self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.add(None, path, Box::new(handler.into_handler()));
        self
    }

    /// Answers a method of a path with a closure that reads the body as a stream, without a size
    /// limit. Unread data waits at the client.
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

    /// Answers requests that no route matches, instead of 404.
    ///
    /// # Panics
    /// If the router already has a fallback.
    #[must_use]
    #[track_caller]
    pub fn fallback<K>(mut self, handler: impl IntoHandler<K>) -> Self {
        let entry = Entry::new(Box::new(handler.into_handler()), Location::caller());
        self.set_fallback(Fallback { entry, is_default: false });
        self
    }

    /// Adds the routes of another router below a prefix, which may have parameters. The other
    /// router's `/` answers the prefix itself, without a trailing slash. Its fallback, if any,
    /// answers everything else below the prefix. 405 and OPTIONS list the methods of both routers.
    ///
    /// [`Request::path`](crate::Request::path) is always the whole path, also in the other router's
    /// handlers (axum removes the prefix), so links and logs show what the client requested.
    /// [`Request::matched_path`](crate::Request::matched_path) is the whole route.
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
    /// If the prefix does not begin with `/`, ends with `/` (use [`merge`](Self::merge) for `/`
    /// alone) or has `*`; if the prefix and a path of the other router share a parameter, or have
    /// more than six together; if both routers have the same route; if the other router serves
    /// files and the prefix has parameters.
    #[must_use]
    #[track_caller]
    pub fn nest(mut self, prefix: &str, mut router: Self) -> Self {
        let right = prefix.starts_with('/') && !prefix.ends_with('/') && !prefix.contains('*');
        assert!(right, "routes must be nested below a path like /api, not `{prefix}`");
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

    /// Adds the routes and the fallback of another router. Each router's layers stay around its own
    /// routes.
    ///
    /// # Panics
    /// If both have the same route or a fallback, or if their routes for one path have layers of
    /// which a path can have only one (CORS).
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

    /// Puts a layer around everything the router answers so far: its routes, nested and merged
    /// routes, the answers to methods that a path lacks, and its fallback or 404. Routes added
    /// later are outside the layer. The last layer added is the outermost: it sees the request
    /// first and the response last.
    ///
    /// For a single route: `.merge(Router::new().get("/admin", admin).layer(auth))`.
    ///
    /// # Panics
    /// If the router has nothing to put the layer around yet, or if a route would have two layers
    /// of which it can have only one: see [`Layer::only`](crate::layer::Layer::only).
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
        assert!(!empty, "a layer must be added after its routes: there are none");
        let not_found = || Entry::new(Box::new(NotFound), place);
        let made = || Fallback { entry: not_found(), is_default: true };
        self.fallback.get_or_insert_with(made).entry.wrap(&around, "the fallback");
        self
    }

    /// Sets the maximum size of request bodies, in bytes, for all routes that the router has so
    /// far. It replaces the configured limit (`limits.body_bytes`, 1 MiB) for buffered bodies, and
    /// also limits streamed ones. Larger bodies are answered with 413 (RFC 9110 section 15.5.14).
    /// If content-length is known, the handler is not called; otherwise reading fails, and the
    /// handler's answer is replaced.
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
    /// If the router has no route yet, or a route already has a limit.
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
        assert!(!empty, "a body limit must be added after its routes: there are none");
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

    /// Finds or adds the endpoint of a canonical path; `place` is where its next route is made.
    #[track_caller]
    fn endpoint(&mut self, path: &str, place: Place) -> &mut Endpoint {
        if !path.contains(['{', '*']) {
            let at = self.literal(path.as_bytes()).unwrap_or_else(|at| {
                let (ends, endpoint) = (ends(path.as_bytes()), Endpoint::default());
                // Routes live as long as the process, so requests refer to them without a reference
                // count.
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
        // Order: literal, then parameter, then rest, segment by segment.
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

    /// All paths with their endpoints.
    pub(super) fn paths(&mut self) -> impl Iterator<Item = (&str, &mut Endpoint)> {
        let literal = self.literal.iter_mut();
        let literal = literal.map(|literal| (literal.path, &mut literal.endpoint));
        let patterns = self.patterns.iter_mut();
        literal.chain(patterns.map(|pattern| (&*pattern.text, &mut pattern.endpoint)))
    }
}
