//! An upload of any size in flat memory: the body is counted as it arrives.
//!
//! `cargo run --release --example upload`, then
//! `head -c 1G /dev/zero | curl -T - http://127.0.0.1:8080/upload`.

use http::{Method, StatusCode};
use ringway::{OwnedRequest, RequestBody, Response, Router, Server};

fn main() -> Result<(), ringway::Error> {
    let app =
        Router::new().stream(Method::POST, "/upload", count).stream(Method::PUT, "/upload", count);
    // An address of its own may be given: `-- 127.0.0.1:0` takes a free port and says which.
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    Server::new(app).http(address).run()
}

async fn count(_: OwnedRequest, mut body: RequestBody) -> Response {
    let mut bytes = 0;
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => bytes += chunk.len(),
            Err(incomplete) => {
                return Response::text(incomplete.to_string()).status(StatusCode::BAD_REQUEST);
            }
        }
    }
    Response::display(bytes)
}
