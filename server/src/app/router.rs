//! The router: method and path to handler.
//!
//! Paths are matched in their canonical form ([`ringway_codec::path`]), which routes are brought
//! into when they are added, and several slashes in a row count as one, as they do for files: what
//! a route guards cannot be reached around it in another spelling. Literal routes are found by
//! binary search; patterns are tried in order of how specific they are. Built once, then shared by
//! all workers unchanged.

use std::cmp::Ordering;

use http::{HeaderValue, Method, StatusCode, header};
use ringway_codec::h1::Span;
use ringway_codec::h1::request::Method as Verb;
use ringway_codec::path::{self, merged};

use crate::app::body::RequestBody;
use crate::app::handler::{BodyMode, Handler, IntoHandler, ReadsBody, Reply};
use crate::app::request::{OwnedRequest, PARAMS_MAX, Params, Request};
use crate::app::response::Response;

/// Routes requests to handlers. A router is a handler itself.
///
/// A path is a literal (`/plaintext`), or has segments that are parameters (`/user/{name}`), or
/// ends in `*` (`/static/*`, which matches the rest, also if that is empty). The more literal route
/// wins. A GET route answers HEAD as well; OPTIONS is answered from the routes that a path has.
///
/// Routes and requests are compared in canonical form (RFC 3986 section 6.2.2): `/caf%c3%a9` and
/// `/café` are one route, `/a/../b` asks for `/b`, and `//` counts as `/`. [`Request::path`] keeps
/// its slashes, and an encoded slash is no separator.
#[derive(Default)]
pub struct Router {
    /// Sorted by length, then ends, then text.
    literal: Vec<Literal>,
    /// Where in `literal` the paths of each length begin; the last is where all of them end.
    lengths: Vec<u32>,
    patterns: Vec<Pattern>,
    fallback: Option<Box<dyn Handler>>,
}

/// A path without parameters.
struct Literal {
    /// See [`ends`].
    ends: (u64, u64),
    path: String,
    endpoint: Endpoint,
}

/// What a path answers, method by method.
#[derive(Default)]
struct Endpoint {
    methods: Vec<(Verb, Method, Box<dyn Handler>)>,
    any: Option<Box<dyn Handler>>,
}

struct Pattern {
    path: String,
    segments: Vec<Segment>,
    names: &'static [String],
    endpoint: Endpoint,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(String),
    Param,
    Rest,
}

impl Router {
    /// A router without routes: everything is 404.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers GET (and HEAD) of a path.
    #[must_use]
    pub fn get<K>(self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.route(Method::GET, path, handler)
    }

    /// Answers POST to a path.
    #[must_use]
    pub fn post<K>(self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.route(Method::POST, path, handler)
    }

    /// Answers a method of a path.
    ///
    /// # Panics
    /// When the path does not begin with `/`, leads above it, is badly escaped, has `*` elsewhere
    /// than as its last segment, has a segment that is neither text nor one parameter
    /// (`{id}.json`, `{*rest}`, `{}`), the same parameter twice, or more than six of them.
    #[must_use]
    pub fn route<K>(mut self, method: Method, path: &str, handler: impl IntoHandler<K>) -> Self {
        let methods = &mut self.endpoint(path).methods;
        methods.retain(|(_, other, _)| *other != method);
        methods.push((verb(&method), method, Box::new(handler.into_handler())));
        self
    }

    /// Answers every method of a path that has no route of its own.
    #[must_use]
    pub fn any<K>(mut self, path: &str, handler: impl IntoHandler<K>) -> Self {
        self.endpoint(path).any = Some(Box::new(handler.into_handler()));
        self
    }

    /// Answers a method of a path with a closure that reads the body as it arrives, however large:
    /// what it does not read yet waits at the client.
    #[must_use]
    pub fn stream<F, R>(self, method: Method, path: &str, read: F) -> Self
    where
        F: AsyncFn(OwnedRequest, RequestBody) -> R + Send + Sync + 'static,
        R: Into<Response> + 'static,
    {
        self.route(method, path, ReadsBody::new(read))
    }

    /// Answers what no route matches, instead of 404.
    #[must_use]
    pub fn fallback<K>(mut self, handler: impl IntoHandler<K>) -> Self {
        self.fallback = Some(Box::new(handler.into_handler()));
        self
    }

    fn endpoint(&mut self, path: &str) -> &mut Endpoint {
        assert!(path.starts_with('/'), "a route's path begins with /: {path}");
        let path = &*canonical(path);
        if !path.contains(['{', '*']) {
            let at = self.literal(path.as_bytes()).unwrap_or_else(|at| {
                let (ends, endpoint) = (ends(path.as_bytes()), Endpoint::default());
                self.literal.insert(at, Literal { ends, path: path.to_owned(), endpoint });
                self.lengths.resize(self.lengths.len().max(path.len() + 2), at as u32);
                self.lengths[path.len() + 1..].iter_mut().for_each(|start| *start += 1);
                at
            });
            return &mut self.literal[at].endpoint;
        }
        if let Some(at) = self.patterns.iter().position(|pattern| pattern.path == path) {
            return &mut self.patterns[at].endpoint;
        }
        let pattern = Pattern::new(path);
        // Literal before parameter before rest, segment by segment.
        let at = self.patterns.partition_point(|other| other.segments <= pattern.segments);
        self.patterns.insert(at, pattern);
        &mut self.patterns[at].endpoint
    }

    /// Where a literal path is, or would be.
    #[inline(always)]
    fn literal(&self, path: &[u8]) -> Result<usize, usize> {
        let Some(&[from, to]) = self.lengths.get(path.len()..).and_then(<[u32]>::first_chunk)
        else {
            return Err(self.literal.len());
        };
        let (from, ends) = (from as usize, ends(path));
        let rest = |literal: &Literal| {
            // Two ends are all of a short path.
            if path.len() <= 16 { Ordering::Equal } else { literal.path.as_bytes().cmp(path) }
        };
        let order = |literal: &Literal| literal.ends.cmp(&ends).then_with(|| rest(literal));
        let found = match &self.literal[from..to as usize] {
            [only] if only.ends == ends && rest(only).is_eq() => Ok(0),
            same => same.binary_search_by(order),
        };
        found.map(|at| from + at).map_err(|at| from + at)
    }

    /// Has `use_it` called with the handler of a request, or `refuse` with the answer where there
    /// is none.
    fn select<R>(
        &self,
        request: &Request<'_>,
        use_it: impl Fn(&dyn Handler, &Request<'_>) -> R,
        refuse: impl Fn(Response) -> R,
    ) -> R {
        let path = request.line.path.of(request.bytes);
        let found = self.literal(path).or_else(|_| match merged(path) {
            Some(merged) => self.literal(&merged),
            None => Err(0),
        });
        if let Ok(at) = found {
            let endpoint = &self.literal[at].endpoint;
            return match endpoint.handler(request) {
                Some(handler) => use_it(handler, request),
                None => refuse(endpoint.refusal(request)),
            };
        }
        let (text, at) = (request.path(), request.line.path.at);
        let mut spans = [Span::default(); PARAMS_MAX];
        let found = self.patterns.iter().find(|pattern| pattern.matches(text, at, &mut spans));
        if let Some(Pattern { endpoint, names, .. }) = found {
            let params = Params { spans: &spans[..names.len()], names };
            return match endpoint.handler(request) {
                Some(handler) => use_it(handler, &Request { params, ..*request }),
                None => refuse(endpoint.refusal(request)),
            };
        }
        match (&self.fallback, request.line.method) {
            (Some(fallback), _) => use_it(&**fallback, request),
            (None, Verb::Options) if text == "*" => refuse(self.options()),
            // There is no path to find: CONNECT asks for an authority.
            (None, Verb::Connect) => refuse(StatusCode::METHOD_NOT_ALLOWED.into()),
            (None, _) => refuse(StatusCode::NOT_FOUND.into()),
        }
    }

    /// `OPTIONS *`: of the server as a whole.
    fn options(&self) -> Response {
        let all = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        Response::new(StatusCode::NO_CONTENT).header(header::ALLOW, all)
    }
}

impl Handler for Router {
    fn call(&self, request: &Request<'_>) -> Reply {
        self.select(request, |handler, request| handler.call(request), Reply::Ready)
    }

    fn start(&self) {
        let literal = self.literal.iter().map(|literal| &literal.endpoint);
        let patterns = self.patterns.iter().map(|pattern| &pattern.endpoint);
        literal.chain(patterns).flat_map(Endpoint::handlers).for_each(Handler::start);
        self.fallback.iter().for_each(|handler| handler.start());
    }

    fn body_mode(&self, request: &Request<'_>) -> BodyMode {
        // A refusal does not wait for a body that nobody wants.
        self.select(request, |handler, request| handler.body_mode(request), |_| BodyMode::Stream)
    }
}

impl Endpoint {
    fn handlers(&self) -> impl Iterator<Item = &dyn Handler> {
        let methods = self.methods.iter().map(|(_, _, handler)| handler);
        methods.chain(&self.any).map(|handler| &**handler)
    }

    #[inline(always)]
    fn handler(&self, request: &Request<'_>) -> Option<&dyn Handler> {
        let asked = request.line.method;
        let found = self.methods.iter().find(|(verb, ..)| *verb == asked);
        match found {
            Some((_, _, handler)) if asked != Verb::Other => Some(&**handler),
            _ if self.methods.is_empty() => self.any.as_deref(),
            _ => self.other_handler(request),
        }
    }

    /// For a method without a route of its own, or without a word of the codec's.
    fn other_handler(&self, request: &Request<'_>) -> Option<&dyn Handler> {
        let of = |wanted: &Method| {
            let found = self.methods.iter().find(|(_, method, _)| method == wanted);
            found.map(|(_, _, handler)| &**handler)
        };
        let named = match request.line.method {
            Verb::Head => of(&Method::GET),
            Verb::Other => of(&request.method()),
            _ => None,
        };
        named.or(self.any.as_deref())
    }

    /// The answer to a method that the path does not have.
    #[cold]
    fn refusal(&self, request: &Request<'_>) -> Response {
        match request.line.method {
            Verb::Other => StatusCode::NOT_IMPLEMENTED.into(),
            Verb::Options => self.allow(Response::new(StatusCode::NO_CONTENT)),
            _ => self.allow(StatusCode::METHOD_NOT_ALLOWED.into()),
        }
    }

    fn allow(&self, response: Response) -> Response {
        let mut names: Vec<&str> =
            self.methods.iter().map(|(_, method, _)| method.as_str()).collect();
        if names.contains(&"GET") && !names.contains(&"HEAD") {
            names.push("HEAD");
        }
        names.push("OPTIONS");
        match HeaderValue::try_from(names.join(", ")) {
            Ok(value) => response.header(header::ALLOW, value),
            Err(_) => response,
        }
    }
}

/// The path of a route as paths of requests are compared with it.
pub(crate) fn canonical(path: &str) -> String {
    let mut made = Vec::with_capacity(path.len());
    if let Err(error) = path::canonical(path.as_bytes(), &mut made) {
        panic!("{path}: {error}");
    }
    let made = merged(&made).unwrap_or(made);
    String::from_utf8_lossy(&made).into_owned()
}

/// The first eight bytes of a path and the last, which overlap or are the same where it is shorter
/// than sixteen; with its length they tell any two such paths apart.
#[inline(always)]
fn ends(path: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (path.first_chunk(), path.last_chunk()) {
        return (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    }
    let whole = path.iter().fold(0, |whole, byte| whole << 8 | u64::from(*byte));
    (whole, whole)
}

/// The codec's word for a method.
fn verb(method: &Method) -> Verb {
    match *method {
        Method::GET => Verb::Get,
        Method::HEAD => Verb::Head,
        Method::POST => Verb::Post,
        Method::PUT => Verb::Put,
        Method::PATCH => Verb::Patch,
        Method::DELETE => Verb::Delete,
        Method::OPTIONS => Verb::Options,
        Method::CONNECT => Verb::Connect,
        Method::TRACE => Verb::Trace,
        _ => Verb::Other,
    }
}

impl Pattern {
    fn new(path: &str) -> Self {
        let mut names = Vec::new();
        let mut segments: Vec<Segment> = Vec::new();
        for part in path[1..].split('/') {
            assert!(segments.last() != Some(&Segment::Rest), "`*` ends a route's path: {path}");
            let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            assert!(
                part == "*" || !name.unwrap_or(part).contains(['{', '}', '*']) && name != Some(""),
                "a segment is text, a parameter like {{name}}, or `*` at the end, not `{part}`: {path}"
            );
            let again = name.is_some_and(|name| names.iter().any(|other| other == name));
            assert!(!again, "`{part}` stands in the path twice: {path}");
            segments.push(match (part, name) {
                ("*", _) => Segment::Rest,
                (_, Some(_)) => Segment::Param,
                _ => Segment::Literal(part.to_owned()),
            });
            if part == "*" || name.is_some() {
                names.push(name.unwrap_or(part).to_owned());
            }
        }
        assert!(names.len() <= PARAMS_MAX, "at most {PARAMS_MAX} parameters: {path}");
        // Routes live as long as the process; requests refer to their names without counting.
        let names = Vec::leak(names);
        Self { path: path.to_owned(), segments, names, endpoint: Endpoint::default() }
    }

    /// Matches a path that stands at `at` in the request's bytes; `spans` are then those of the
    /// names.
    fn matches(&self, path: &str, at: u32, spans: &mut [Span; PARAMS_MAX]) -> bool {
        let mut found = 0;
        // The offset of the segment under the cursor; behind the last one it is past the end.
        let mut cursor = 1;
        let mut take = |from: usize, to: usize| {
            spans[found] = Span { at: at + from as u32, len: (to - from) as u32 };
            found += 1;
        };
        for segment in &self.segments {
            let Some(rest) = path.get(cursor..) else { return false };
            // Several slashes are one.
            cursor += rest.len() - rest.trim_start_matches('/').len();
            let rest = &path[cursor..];
            let end = cursor + rest.find('/').unwrap_or(rest.len());
            match segment {
                Segment::Literal(wanted) if path[cursor..end] == **wanted => {}
                Segment::Param if end > cursor => take(cursor, end),
                Segment::Rest => {
                    take(cursor, path.len());
                    return true;
                }
                _ => return false,
            }
            cursor = end + 1;
        }
        cursor == path.len() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(pattern: &str, path: &str) -> Option<Vec<String>> {
        let pattern = Pattern::new(pattern);
        let mut spans = [Span::default(); PARAMS_MAX];
        let part = |span: &Span| path[span.at as usize..span.end()].to_owned();
        let found = pattern.matches(path, 0, &mut spans);
        found.then(|| spans[..pattern.names.len()].iter().map(part).collect())
    }

    #[test]
    fn patterns_match_whole_segments() {
        let of = |parts: &[&str]| Some(parts.iter().map(|part| (*part).to_owned()).collect());
        assert_eq!(matched("/user/{name}", "/user/ann"), of(&["ann"]));
        assert_eq!(matched("/user/{name}", "/user/"), None);
        assert_eq!(matched("/user/{name}", "/user/ann/x"), None);
        assert_eq!(matched("/{a}/x/{b}", "/1/x/2"), of(&["1", "2"]));
        assert_eq!(matched("/static/*", "/static/a/b.css"), of(&["a/b.css"]));
        assert_eq!(matched("/static/*", "/static/"), of(&[""]));
        assert_eq!(matched("/static/*", "/static"), None);
        assert_eq!(matched("/*", "/"), of(&[""]));
        assert_eq!(matched("/{a}", "*"), None);
    }

    #[test]
    fn every_literal_path_is_found_and_no_other() {
        let paths = [
            "/",
            "/b",
            "/a",
            "/c",
            "/abc",
            "/abcdef",
            "/abd",
            "/ab",
            "/long/er/than/two/words",
            "/long/er/thus/two/words",
            "/eightby",
            "/sixteen/bytes/x",
            "/sixteen/bites/x",
        ];
        for turn in 0..paths.len() {
            let mut router = Router::new();
            for n in 0..paths.len() {
                let path = paths[(n + turn) % paths.len()];
                assert!(router.literal(path.as_bytes()).is_err(), "{path}");
                router = router.get(path, |_: &Request| Response::text("x"));
                router = router.get(path, |_: &Request| Response::text("y"));
            }
            assert_eq!(router.literal.len(), paths.len());
            for path in paths {
                let at = router.literal(path.as_bytes()).unwrap();
                assert_eq!(router.literal[at].path, path);
            }
            for other in [
                "",
                "/d",
                "/abe",
                "/abcde",
                "/abcdeg",
                "/abcdefg",
                "/aa",
                "/long/er/that/two/words",
            ] {
                assert!(router.literal(other.as_bytes()).is_err(), "{other}");
            }
        }
    }

    #[test]
    fn the_more_literal_pattern_comes_first() {
        let answer = |_: &Request| Response::text("x");
        let router = Router::new().get("/*", answer).get("/{a}/b", answer).get("/a/{b}", answer);
        let order: Vec<&str> = router.patterns.iter().map(|pattern| &*pattern.path).collect();
        assert_eq!(order, ["/a/{b}", "/{a}/b", "/*"]);
    }

    #[test]
    fn what_looks_like_a_pattern_and_is_none_is_refused() {
        for path in ["/{id}.json", "/a/{*rest}", "/{}", "/v{n}/x", "/{a", "/a*", "/{a}/{a}"] {
            let made = std::panic::catch_unwind(|| {
                Router::new().get(path, |_: &Request| Response::text("x"))
            });
            assert!(made.is_err(), "{path}");
        }
    }

    #[test]
    #[should_panic(expected = "`*` ends a route's path")]
    fn a_star_in_the_middle_is_refused() {
        let _ = Pattern::new("/a/*/b");
    }
}
