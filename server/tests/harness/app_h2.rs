//! Routes of the application under test that HTTP/2 has a use for, and its listeners.

use http::header::{CONTENT_TYPE, HeaderName, LINK, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use ringway::tls::Tls;
use ringway::{OwnedRequest, Request, Response, Router, Server};

use super::pattern;

/// The longest body of `/bytes`, `/css` and `/png`.
const MOST: usize = 4 << 20;

pub fn routes(router: Router) -> Router {
    let big: &'static [u8] = pattern(MOST).leak();
    let router = match std::env::var_os("RINGWAY_TEST_FILES") {
        Some(root) => router.files("/", root),
        None => router,
    };
    router
        .get("/probe", probe)
        .any("/", |_: &Request<'_>| Response::html("<p>the page that a suite asks for</p>"))
        .get("/pushing", pushing)
        .get("/styles.css", |_: &Request<'_>| Response::typed("text/css", "p { color: red }"))
        .get("/app.js", |_: &Request<'_>| Response::typed("text/javascript", "'use strict'"))
        .get("/hints/{ms}", hints)
        .get("/trailers", trailers)
        .post("/trailed", trailed)
        .get("/secret", secret)
        .get("/asked/{ms}", asked)
        .get("/status/{code}", status)
        .get("/reversed/{kib}", reversed)
        .get("/incremental/{kib}", incremental)
        .get("/bytes/{kib}", sized("application/octet-stream", big))
        .get("/css/{kib}", sized("text/css", big))
        .get("/png/{kib}", sized("image/png", big))
}

/// What `/bytes/{kib}` answers.
pub fn bytes(kib: usize) -> Vec<u8> {
    pattern(kib << 10)
}

fn sized(
    content_type: &'static str,
    big: &'static [u8],
) -> impl Fn(&Request<'_>) -> Response + Send + Sync {
    move |request| Response::typed(content_type, &big[..kib(request) << 10])
}

/// A page that shows another in a frame and says by which protocols that came.
fn probe(request: &Request<'_>) -> Response {
    let page = request.query_string().unwrap_or_default();
    Response::html(format!(
        "<iframe id=f src='{page}' width=1200 height=900></iframe><script>f.onload = () =>
         setTimeout(() => {{
             const seen = f.contentWindow.performance;
             const kinds = ['navigation', 'resource'].flatMap(k => seen.getEntriesByType(k));
             const by = kinds.map(entry => entry.nextHopProtocol);
             const title = f.contentDocument.title;
             document.body.append(`probe: ${{by.length}} by ${{[...new Set(by)]}}: ${{title}};`);
         }}, 2000)</script>"
    ))
}

fn kib(request: &Request<'_>) -> usize {
    request.param("kib").and_then(|kib| kib.parse().ok()).unwrap_or_default()
}

fn pushing(_: &Request<'_>) -> Response {
    let page = "<link rel=stylesheet href=/styles.css><script src=/app.js></script>";
    Response::html(page).push("/styles.css").push("/app.js")
}

/// Hints at once, the answer later.
async fn hints(request: OwnedRequest) -> Response {
    let link = HeaderValue::from_static("</styles.css>; rel=preload; as=style");
    request.early_hints([link.clone()]);
    ringway::sleep(millis(&request)).await;
    Response::text("hinted").header(LINK, link)
}

async fn trailers(_: OwnedRequest) -> Response {
    Response::stream("text/plain", async |mut out| {
        let _ = out.write("body").await;
        out.trailers([("x-checksum", "1234"), ("grpc-status", "0")]);
    })
}

fn trailed(request: &Request<'_>) -> Response {
    Response::text(request.body().to_vec())
}

/// What must never be indexed, beside what may.
fn secret(_: &Request<'_>) -> Response {
    let mut token = HeaderValue::from_static("fedcba9876543210");
    token.set_sensitive(true);
    Response::text("secret")
        .header(HeaderName::from_static("x-token"), token)
        .header(SET_COOKIE, HeaderValue::from_static("session=0123456789abcdef"))
        .header(HeaderName::from_static("x-plain"), HeaderValue::from_static("0123456789abcdef"))
}

/// Counts calls: each is counted before it waits.
async fn asked(request: OwnedRequest) -> Response {
    super::app::COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    ringway::sleep(millis(&request)).await;
    Response::text("asked")
}

fn millis(request: &OwnedRequest) -> std::time::Duration {
    let ms = request.param("ms").and_then(|ms| ms.parse().ok());
    std::time::Duration::from_millis(ms.unwrap_or_default())
}

fn status(request: &Request<'_>) -> Response {
    let code = request.param("code").and_then(|code| code.parse::<u16>().ok());
    let code = code.and_then(|code| StatusCode::from_u16(code).ok());
    Response::new(code.unwrap_or(StatusCode::BAD_REQUEST))
}

/// Overrides what the client asked for: the least urgent of all.
fn reversed(request: &Request<'_>) -> Response {
    Response::new(StatusCode::OK)
        .header(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
        .header(HeaderName::from_static("priority"), HeaderValue::from_static("u=7"))
        .body(bytes(kib(request)))
}

/// Adds to what the client asked for.
fn incremental(request: &Request<'_>) -> Response {
    Response::new(StatusCode::OK)
        .header(HeaderName::from_static("priority"), HeaderValue::from_static("i"))
        .body(bytes(kib(request)))
}

/// Listens for what `kinds` names, on free ports.
pub fn listen(mut server: Server, kinds: &str) -> Server {
    for kind in kinds.split(',') {
        server = match kind {
            "http" => server.http("127.0.0.1:0"),
            "h2c" => server.h2c("127.0.0.1:0"),
            "https" => server.https("127.0.0.1:0", Tls::self_signed().unwrap()),
            // Comes with TLS.
            "h3" => server,
            _ => panic!("no such listener: {kind}"),
        };
    }
    server
}
