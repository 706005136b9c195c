//! Patterns: paths with parameters, and the canonical paths of routes.

use ringway_codec::h1::Span;
use ringway_codec::path::{self, merged};

use crate::app::request::PARAMS_MAX;
use crate::app::router::endpoint::Endpoint;

/// A path with parameters, and its endpoint.
pub(super) struct Pattern {
    /// The path as it was added; for the fallback of a nested router it ends in [`BELOW`].
    pub(super) text: String,
    pub(super) segments: Vec<Segment>,
    /// The names of its parameters.
    pub(super) names: &'static [String],
    /// The value of [`Request::matched_path`](crate::Request::matched_path); empty for `None`.
    pub(super) route: &'static str,
    pub(super) endpoint: Endpoint,
}

/// A segment of a path. Variants are ordered as routes are tried.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    Literal(String),
    Param,
    Rest,
    /// The fallback of a nested router: matches any rest, also an empty one.
    Below,
}

/// Last segment of the path of a nested router's fallback.
pub(super) const BELOW: &str = "**";

/// Converts a route's path to the canonical form in which request paths are compared.
#[track_caller]
pub(crate) fn canonical(path: &str) -> String {
    let mut made = Vec::with_capacity(path.len());
    if let Err(error) = path::canonical(path.as_bytes(), &mut made) {
        panic!("{path}: {error}");
    }
    let made = merged(&made).unwrap_or(made);
    String::from_utf8_lossy(&made).into_owned()
}

impl Pattern {
    #[track_caller]
    pub(super) fn new(path: &str) -> Self {
        let mut names = Vec::new();
        let mut segments: Vec<Segment> = Vec::new();
        for part in path[1..].split('/') {
            assert!(segments.last() != Some(&Segment::Rest), "`*` ends a route's path: {path}");
            let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            assert!(
                matches!(part, "*" | BELOW)
                    || !name.unwrap_or(part).contains(['{', '}', '*']) && name != Some(""),
                "a segment is text, a parameter like {{name}}, or a final `*`, not `{part}`: {path}"
            );
            let again = name.is_some_and(|name| names.iter().any(|other| other == name));
            assert!(!again, "`{part}` is in the path twice: {path}");
            segments.push(match (part, name) {
                ("*", _) => Segment::Rest,
                (BELOW, _) => Segment::Below,
                (_, Some(_)) => Segment::Param,
                _ => Segment::Literal(part.to_owned()),
            });
            if part == "*" || name.is_some() {
                names.push(name.unwrap_or(part).to_owned());
            }
        }
        let most = "a route has at most";
        assert!(names.len() <= PARAMS_MAX, "{most} {PARAMS_MAX} parameters: {path}");
        // Routes live as long as the process, so requests refer to them without a reference count.
        let is_route = segments.last() != Some(&Segment::Below);
        let route = if is_route { String::leak(path.to_owned()) } else { "" };
        let (text, endpoint) = (path.to_owned(), Endpoint::default());
        Self { text, segments, names: Vec::leak(names), route, endpoint }
    }

    /// Matches a path at offset `at` of the request's bytes. On success `spans` holds the
    /// parameters' positions, in the order of their names.
    pub(super) fn matches(&self, path: &str, at: u32, spans: &mut [Span; PARAMS_MAX]) -> bool {
        let mut found = 0;
        // The offset of the current segment; past the end after the last one.
        let mut cursor = 1;
        let mut take = |from: usize, to: usize| {
            spans[found] = Span { at: at + from as u32, len: (to - from) as u32 };
            found += 1;
        };
        for segment in &self.segments {
            let Some(rest) = path.get(cursor..) else { return *segment == Segment::Below };
            // Repeated slashes count as one.
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
                Segment::Below => return true,
                _ => return false,
            }
            cursor = end + 1;
        }
        cursor == path.len() + 1
    }
}
