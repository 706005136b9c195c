//! The page at `/` and its parts, all served from here: no library from elsewhere, no script and no
//! style in the page itself, and a policy that lets the browser hold it to that.

use std::sync::LazyLock;

use http::{HeaderName, HeaderValue, header};

use crate::app::request::Request;
use crate::app::response::Response;

/// A part of the page: path, content type and text.
type Part = (&'static str, &'static str, &'static str);

const PARTS: [Part; 7] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
    ("/chart.js", "text/javascript; charset=utf-8", include_str!("page/chart.js")),
    ("/charts.js", "text/javascript; charset=utf-8", include_str!("page/charts.js")),
    ("/figures.js", "text/javascript; charset=utf-8", include_str!("page/figures.js")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

/// Names the text of all parts, so that a page that another server has left in a browser notices.
static EDITION: LazyLock<String> = LazyLock::new(|| {
    // FNV-1a: told apart, not defended.
    let bytes = PARTS.iter().flat_map(|(_, _, text)| text.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
});

/// The page as it is sent.
static INDEX: LazyLock<String> = LazyLock::new(|| PARTS[0].2.replace("{edition}", &EDITION));

/// The part of the page at a path.
pub(super) fn part(path: &str) -> Option<Response> {
    let (path, content_type, text) = PARTS.iter().find(|(at, ..)| *at == path)?;
    let text = if *path == "/" { INDEX.as_str() } else { *text };
    let response = Response::typed(content_type, text);
    Some(response.header(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
}

/// Whether a request comes from a page of another edition, which would misread what it gets.
pub(super) fn is_stale(request: &Request<'_>) -> bool {
    let mut pairs = request.query_pairs();
    pairs.any(|(name, value)| name == b"edition" && value != EDITION.as_bytes())
}

/// What the browser is to forbid, on every answer of the metrics listener.
const POLICY: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// The answer with that policy.
pub(super) fn guarded(mut response: Response) -> Response {
    for (name, value) in &POLICY {
        response.add_header(name, &HeaderValue::from_static(value));
    }
    response
}
