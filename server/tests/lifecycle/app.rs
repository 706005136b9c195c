//! The application that is asked. What its handlers see, they say in [`Seen`].

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::{ALLOW, HeaderName, LINK, TRANSFER_ENCODING};
use http::{HeaderValue, Method, StatusCode};
use ringway::{BodyMode, Handler, OwnedRequest, Reply, Request, RequestBody, Response, Router};

/// What handlers have seen since it was last taken.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn say(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// Says that its owner went before it was done.
struct Alive {
    seen: Seen,
    is_done: bool,
}

impl Alive {
    fn new(seen: &Seen) -> Self {
        Self { seen: seen.clone(), is_done: false }
    }

    fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if !self.is_done {
            self.seen.say("dropped");
        }
    }
}

pub fn router(seen: &Seen) -> Router {
    let router = Router::new()
        .get("/hello", |_: &Request<'_>| Response::text("hello"))
        .any("/echo", |request: &Request<'_>| Response::text(request.body().to_vec()))
        .any("/fields", |request: &Request<'_>| fields(request))
        .any("/target", |request: &Request<'_>| target(request))
        .get("/none", |_: &Request<'_>| Response::text("never").status(StatusCode::NO_CONTENT))
        .get("/same", |_: &Request<'_>| Response::text("never").status(StatusCode::NOT_MODIFIED))
        .get("/own", |_: &Request<'_>| own_fields())
        .get("/large", |_: &Request<'_>| Response::text("l".repeat(1_000_000)))
        .get("/large-head", |_: &Request<'_>| large_head());
    streams(requests(panics(router), seen), seen)
}

/// Every field with its name in lower case, in order of names.
fn fields(request: &Request<'_>) -> Response {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let lines = request.headers().map(|(n, v)| text(n).to_ascii_lowercase() + ": " + &text(v));
    let mut lines: Vec<String> = lines.filter(|line| !is_a_hops_own(line)).collect();
    lines.sort();
    Response::text(lines.join("\n"))
}

fn is_a_hops_own(line: &str) -> bool {
    ["host:", "user-agent:", "transfer-encoding:"].iter().any(|name| line.starts_with(name))
}

/// Path, query and authority, as handlers are told.
fn target(request: &Request<'_>) -> Response {
    let (query, host) = (request.query_string(), request.authority().unwrap_or("-"));
    Response::text(format!("{} {query:?} {host}", request.path()))
}

/// A handler may not frame the message.
fn own_fields() -> Response {
    Response::text("own")
        .header(TRANSFER_ENCODING, HeaderValue::from_static("gzip"))
        .header(ALLOW, HeaderValue::from_static("GET"))
}

fn large_head() -> Response {
    (0..20).fold(Response::text("large"), |response, n| {
        let name = HeaderName::try_from(format!("x-{n}")).unwrap();
        response.header(name, HeaderValue::try_from("v".repeat(500 + n)).unwrap())
    })
}

fn panics(router: Router) -> Router {
    router
        .stream(Method::POST, "/panic-upload", async |_, mut body: RequestBody| -> Response {
            let _ = body.next().await;
            panic!("a reader's")
        })
        .get("/panic", |_: &Request<'_>| -> Response { panic!("a handler's") })
        .get("/panic-later", async |_: OwnedRequest| -> Response {
            ringway::sleep(Duration::from_millis(1)).await;
            panic!("an async handler's")
        })
        .route(Method::POST, "/panic-mode", PanicsInMode)
        .get("/panic-before", |_: &Request<'_>| {
            Response::stream("text/plain", async |_| panic!("a producer's, before anything"))
        })
        .get("/panic-middle", |_: &Request<'_>| {
            Response::stream("text/plain", async |mut out| {
                let _ = out.write("first").await;
                ringway::sleep(Duration::from_millis(20)).await;
                panic!("a producer's, in the middle")
            })
        })
        .get("/aborts", |_: &Request<'_>| {
            Response::stream("text/plain", async |mut out| {
                let _ = out.write("first").await;
                ringway::sleep(Duration::from_millis(20)).await;
                out.abort();
            })
        })
        .get("/short", |_: &Request<'_>| {
            Response::stream_of_length("text/plain", 10, async |mut out| {
                let _ = out.write("four").await;
            })
        })
        .get("/long", |_: &Request<'_>| {
            Response::stream_of_length("text/plain", 4, async |mut out| {
                let _ = out.write("four").await;
                ringway::sleep(Duration::from_millis(20)).await;
                let _ = out.write("more").await;
            })
        })
}

struct PanicsInMode;

impl Handler for PanicsInMode {
    fn call(&self, request: &Request<'_>) -> Reply {
        Response::text(request.body().to_vec()).into()
    }

    fn body_mode(&self, _: &Request<'_>) -> BodyMode {
        panic!("a body mode's")
    }
}

/// Refuses at once what would be streamed.
struct Refuses;

impl Handler for Refuses {
    fn call(&self, _: &Request<'_>) -> Reply {
        Response::from(StatusCode::FORBIDDEN).into()
    }

    fn body_mode(&self, _: &Request<'_>) -> BodyMode {
        BodyMode::Stream
    }
}

/// Handlers that read what comes, or do not.
fn requests(router: Router, seen: &Seen) -> Router {
    let (reads, waits, never) = (seen.clone(), seen.clone(), seen.clone());
    router
        .route(Method::POST, "/refuse", Refuses)
        .stream(Method::POST, "/sink", async move |_, body| sink(body, &reads).await)
        .stream(Method::POST, "/trailers-seen", async |_, body| trailers_seen(body).await)
        .stream(Method::POST, "/first", async |_, mut body: RequestBody| {
            let first = body.next().await;
            Response::text(if matches!(first, Some(Ok(_))) { "enough" } else { "nothing" })
        })
        .stream(Method::POST, "/never", async move |_, body: RequestBody| {
            let alive = Alive::new(&never);
            ringway::sleep(Duration::from_millis(100)).await;
            drop(body);
            alive.done();
            Response::text("never read")
        })
        .get("/slow/{ms}", async move |request: OwnedRequest| {
            let alive = Alive::new(&waits);
            waits.say("waits");
            let ms = request.param("ms").and_then(|ms| ms.parse().ok()).unwrap_or_default();
            ringway::sleep(Duration::from_millis(ms)).await;
            alive.done();
            Response::text("slow")
        })
}

/// Reads to the end, and says what it saw of it.
async fn sink(mut body: RequestBody, seen: &Seen) -> Response {
    let alive = Alive::new(seen);
    let mut len = 0;
    while let Some(chunk) = body.next().await {
        let Ok(chunk) = chunk else {
            seen.say("incomplete");
            alive.done();
            return StatusCode::BAD_REQUEST.into();
        };
        if len == 0 {
            seen.say("reads");
        }
        len += chunk.len();
    }
    alive.done();
    Response::text(len.to_string())
}

async fn trailers_seen(mut body: RequestBody) -> Response {
    let mut len = 0;
    while let Some(Ok(chunk)) = body.next().await {
        len += chunk.len();
    }
    let mut lines = vec![len.to_string()];
    lines.extend(body.trailers().into_iter().map(|(n, v)| n.to_ascii_lowercase() + ": " + &v));
    Response::text(lines.join("\n"))
}

/// Answers that flow, and what goes ahead of answers.
fn streams(router: Router, seen: &Seen) -> Router {
    let flows = seen.clone();
    router
        .get("/streamed", |_: &Request<'_>| {
            Response::stream("text/plain", async |mut out| {
                let _ = out.write("one ").await;
                ringway::sleep(Duration::from_millis(5)).await;
                let _ = out.write("two").await;
            })
        })
        .get("/endless", move |_: &Request<'_>| {
            let alive = Alive::new(&flows);
            Response::stream("application/octet-stream", async move |mut out| {
                while out.write(vec![b'e'; 50_000]).await.is_ok() {}
                alive.done();
            })
        })
        .get("/trailers", |_: &Request<'_>| {
            Response::stream("text/plain", async |mut out| {
                let _ = out.write("body").await;
                out.trailers([("x-checksum", "1234")]);
            })
        })
        .get("/sized-trailers", |_: &Request<'_>| {
            Response::stream_of_length("text/plain", 4, async |mut out| {
                let _ = out.write("body").await;
                out.trailers([("x-checksum", "1234")]);
            })
        })
        .get("/hint-panic", async |request: OwnedRequest| -> Response {
            request.early_hints([STYLE]);
            ringway::sleep(Duration::from_millis(20)).await;
            panic!("behind a hint")
        })
        .get("/hint", async |request: OwnedRequest| {
            request.early_hints([STYLE]);
            ringway::sleep(Duration::from_millis(20)).await;
            Response::text("hinted").header(LINK, STYLE)
        })
        .get("/hints", async |request: OwnedRequest| {
            request.early_hints([STYLE]);
            ringway::sleep(Duration::from_millis(20)).await;
            request.early_hints([SCRIPT, STYLE]);
            ringway::sleep(Duration::from_millis(20)).await;
            Response::text("hinted twice")
        })
        .get("/late-hint", async |request: OwnedRequest| {
            Response::stream("text/plain", async move |mut out| {
                let _ = out.write("begun ").await;
                ringway::sleep(Duration::from_millis(20)).await;
                request.early_hints([STYLE]);
                let _ = out.write("done").await;
            })
        })
}

const STYLE: HeaderValue = HeaderValue::from_static("</a.css>; rel=preload");
const SCRIPT: HeaderValue = HeaderValue::from_static("</a.js>; rel=preload");
