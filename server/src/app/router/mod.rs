//! The router: method and path to handler.
//!
//! Paths are matched in canonical form ([`ringway_codec::path`]). Routes are converted to it when
//! they are added. Repeated slashes count as one, as they do for files. A guarded route therefore
//! cannot be bypassed by another spelling. Literal routes are found by binary search; patterns are
//! tried from the most to the least specific. The table is built once (`build`) and then shared
//! unchanged by all workers. Nested and merged routers are then one table, and layers are part of
//! the handlers they wrap.

mod build;
mod endpoint;
mod pattern;

use std::cmp::Ordering;

use http::{HeaderValue, StatusCode, header};
use ringway_codec::h1::Span;
use ringway_codec::h1::request::Method as Verb;
use ringway_codec::path::merged;

use crate::app::handler::{BodyMode, Handler, Reply};
use crate::app::request::{PARAMS_MAX, Params, Request};
use crate::app::response::Response;
use endpoint::{Endpoint, Entry};
use pattern::Pattern;
pub(crate) use pattern::canonical;

/// Routes requests to handlers. A router is itself a handler.
///
/// A path is a literal (`/plaintext`), or has parameters as segments (`/user/{name}`), or ends in
/// `*` (`/static/*`, which matches the rest, even if empty). The more literal route wins. A GET
/// route also answers HEAD. OPTIONS is answered with the path's methods; a method that the path
/// lacks gets 405 with Allow.
///
/// Routes and requests are compared in canonical form (RFC 3986 section 6.2.2): `/caf%c3%a9` and
/// `/café` are one route, `/a/../b` requests `/b`, and `//` counts as `/`. [`Request::path`] keeps
/// repeated slashes. An encoded slash is not a separator.
///
/// Routers are combined with [`nest`](Self::nest) and [`merge`](Self::merge).
/// [`layer`](Self::layer) wraps all routes that a router has so far. However a router was composed,
/// a path is looked up once.
///
/// ```
/// use ringway::layer::Next;
/// use ringway::{Reply, Request, Response, Router};
///
/// let users = Router::new()
///     .get("/{id}", |request: &Request| {
///         Response::text(format!("user {}", request.param("id").unwrap_or_default()))
///     })
///     .put("/{id}", |_: &Request| Response::new(http::StatusCode::NO_CONTENT));
/// let app = Router::new()
///     .nest("/users", users)
///     .layer(|request: &Request, next: Next| -> Reply {
///         let no_store = http::HeaderValue::from_static("no-store");
///         next.run(request).map(|response| {
///             response.header(http::header::CACHE_CONTROL, no_store)
///         })
///     })
///     // Added behind the layer, and so not in it.
///     .get("/", |_: &Request| Response::html("<h1>hello</h1>"));
/// # let _ = app;
/// ```
///
/// # Panics
/// Routes that could never work are refused when they are added. The message names the conflicting
/// places in the program. See each method.
#[derive(Default)]
pub struct Router {
    /// Sorted by length, then ends, then text.
    literal: Vec<Literal>,
    /// Index in `literal` of the first path of each length; the last entry is the end.
    lengths: Vec<u32>,
    patterns: Vec<Pattern>,
    fallback: Option<Fallback>,
}

/// Answers requests that no route matches.
struct Fallback {
    entry: Entry,
    /// True for the default 404, possibly in layers; false for the application's fallback.
    is_default: bool,
}

/// A path without parameters.
struct Literal {
    /// See [`ends`].
    ends: (u64, u64),
    path: &'static str,
    endpoint: Endpoint,
}

impl Router {
    /// The position of a literal path, or where it would be inserted.
    #[inline(always)]
    fn literal(&self, path: &[u8]) -> Result<usize, usize> {
        let Some(&[from, to]) = self.lengths.get(path.len()..).and_then(<[u32]>::first_chunk)
        else {
            return Err(self.literal.len());
        };
        let (from, ends) = (from as usize, ends(path));
        let rest = |literal: &Literal| {
            // The two ends cover a short path completely.
            if path.len() <= 16 { Ordering::Equal } else { literal.path.as_bytes().cmp(path) }
        };
        let order = |literal: &Literal| literal.ends.cmp(&ends).then_with(|| rest(literal));
        let found = match &self.literal[from..to as usize] {
            [only] if only.ends == ends && rest(only).is_eq() => Ok(0),
            same => same.binary_search_by(order),
        };
        found.map(|at| from + at).map_err(|at| from + at)
    }

    /// Calls `use_it` with the request's handler.
    #[inline(always)]
    fn select<R>(
        &self,
        request: &Request<'_>,
        use_it: impl Fn(&dyn Handler, &Request<'_>) -> R,
    ) -> R {
        let path = request.line.path.of(request.bytes);
        if let Ok(at) = self.literal(path) {
            return use_it(self.literal[at].endpoint.handler(request), request);
        }
        self.select_other(request, use_it)
    }

    /// Selects a handler if the path is not literally a route.
    fn select_other<R>(
        &self,
        request: &Request<'_>,
        use_it: impl Fn(&dyn Handler, &Request<'_>) -> R,
    ) -> R {
        let merged = merged(request.line.path.of(request.bytes));
        if let Some(Ok(at)) = merged.map(|merged| self.literal(&merged)) {
            let Literal { path, endpoint, .. } = &self.literal[at];
            let params = Params { route: Some(path), ..Params::default() };
            return use_it(endpoint.handler(request), &Request { params, ..*request });
        }
        let (text, at) = (request.path(), request.line.path.at);
        let mut spans = [Span::default(); PARAMS_MAX];
        let found = self.patterns.iter().find(|pattern| pattern.matches(text, at, &mut spans));
        if let Some(&Pattern { ref endpoint, names, route, .. }) = found {
            let params = Params { spans: &spans[..names.len()], names, route: Some(route) };
            return use_it(endpoint.handler(request), &Request { params, ..*request });
        }
        let params = Params { route: Some(""), ..Params::default() };
        let request = &Request { params, ..*request };
        match &self.fallback {
            Some(fallback) => use_it(&*fallback.entry.handler, request),
            None => use_it(&NotFound, request),
        }
    }
}

/// The methods of the server as a whole, for `Allow`.
pub(crate) const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The answer without a route and without a fallback.
struct NotFound;

impl Handler for NotFound {
    fn call(&self, request: &Request<'_>) -> Reply {
        // `OPTIONS *` concerns the server as a whole.
        let all = HeaderValue::from_static(METHODS);
        Reply::Ready(match request.line.method {
            Verb::Options if request.path() == "*" => {
                Response::new(StatusCode::NO_CONTENT).header(header::ALLOW, all)
            }
            _ => StatusCode::NOT_FOUND.into(),
        })
    }

    fn body_mode(&self, _: &Request<'_>) -> BodyMode {
        // Streamed, so that the answer does not wait for an unwanted body.
        BodyMode::Stream
    }
}

impl Handler for Router {
    fn call(&self, request: &Request<'_>) -> Reply {
        self.select(request, |handler, request| handler.call(request))
    }

    fn start(&self) {
        let literal = self.literal.iter().map(|literal| &literal.endpoint);
        let patterns = self.patterns.iter().map(|pattern| &pattern.endpoint);
        literal.chain(patterns).flat_map(Endpoint::handlers).for_each(Handler::start);
        self.fallback.iter().for_each(|fallback| fallback.entry.handler.start());
    }

    fn body_mode(&self, request: &Request<'_>) -> BodyMode {
        self.select(request, |handler, request| handler.body_mode(request))
    }

    fn nested(&mut self, prefix: &str) {
        for (_, endpoint) in self.paths() {
            endpoint.nested(prefix);
        }
        if let Some(fallback) = &mut self.fallback {
            fallback.entry.handler.nested(prefix);
        }
    }
}

/// The first and the last eight bytes of a path. They overlap if the path is shorter than sixteen
/// bytes. Together with the length they identify such a path.
#[inline(always)]
fn ends(path: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (path.first_chunk(), path.last_chunk()) {
        return (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    }
    let whole = path.iter().fold(0, |whole, byte| whole << 8 | u64::from(*byte));
    (whole, whole)
}

#[cfg(test)]
mod tests;
