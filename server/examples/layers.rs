//! Layers: code around handlers, custom and built in.
//!
//! `cargo run --release --example layers`, then `curl -i http://127.0.0.1:8080/api/words` and
//! `curl -i -u ann:secret http://127.0.0.1:8080/admin`.

use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, header};
use ringway::layer::{BasicAuth, Compress, Cors, Next, RateLimit, RequestIds, Timeout};
use ringway::{OwnedRequest, Reply, Request, Response, Router, Server};

fn main() -> Result<(), ringway::Error> {
    // The address may be given: `-- 127.0.0.1:0` takes a free port and prints it.
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    Server::new(app()).http(address).run()
}

fn app() -> Router {
    let api = Router::new()
        .get("/words", |_: &Request| Response::text("word ".repeat(1000)))
        .get("/slow", async |_: OwnedRequest| {
            ringway::sleep(Duration::from_secs(60)).await;
            Response::text("at last")
        })
        .layer(Timeout::new(Duration::from_millis(500)))
        .layer(Compress::new())
        // The last layer sees a request first, so preflight requests are not counted.
        .layer(RateLimit::new(100, Duration::from_secs(60)))
        .layer(Cors::new().origins(["https://app.example.com"]).credentials());
    let admin = Router::new()
        .get("/", |_: &Request| Response::text("the back office\n"))
        .layer(no_store)
        .layer(BasicAuth::new("the back office").user("ann", "secret"));
    Router::new()
        .nest("/api", api)
        .nest("/admin", admin)
        .layer(timing)
        .layer(RequestIds::new())
        // Added after the layers, so not inside them.
        .get("/health", |_: &Request| Response::text("well\n"))
}

/// A layer that answers at once.
fn no_store(request: &Request, next: Next) -> Reply {
    let value = HeaderValue::from_static("no-store");
    next.run(request).map(|response| response.header(header::CACHE_CONTROL, value))
}

/// A layer that waits for the answer.
async fn timing(request: OwnedRequest, next: Next<'_>) -> Response {
    let begun = Instant::now();
    let response = next.run(&request.view()).await;
    let value = format!("app;dur={:.1}", begun.elapsed().as_secs_f64() * 1000.0);
    match HeaderValue::try_from(value) {
        Ok(value) => response.header(HeaderName::from_static("server-timing"), value),
        Err(_) => response,
    }
}
