//! Uploads of any size in constant memory: bodies and multipart forms are read as they arrive.
//!
//! `cargo run --release --example upload`, then
//! `head -c 1G /dev/zero | curl -T - http://127.0.0.1:8080/upload` or
//! `curl -F note=hello -F file=@/etc/hostname http://127.0.0.1:8080/form`.

use std::fmt::Write as _;

use http::{Method, StatusCode};
use ringway::extract::MultipartForm;
use ringway::{OwnedRequest, Rejection, RequestBody, Response, Router, Server};

fn main() -> Result<(), ringway::Error> {
    let app = Router::new()
        .stream(Method::POST, "/upload", count)
        .stream(Method::PUT, "/upload", count)
        .stream(Method::POST, "/form", list);
    // The address may be given: `-- 127.0.0.1:0` takes a free port and prints it.
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

/// The name and size of each field, one per line.
async fn list(request: OwnedRequest, body: RequestBody) -> Result<String, Rejection> {
    let mut form = MultipartForm::new(&request, body)?.max_fields(10);
    let mut lines = String::new();
    while let Some(mut field) = form.next_field().await? {
        let name = field.name().unwrap_or_default().to_owned();
        let file = field.file_name().map(|name| format!(" ({name})")).unwrap_or_default();
        let mut bytes = 0;
        while let Some(chunk) = field.chunk().await? {
            bytes += chunk.len();
        }
        let _ = writeln!(lines, "{name}{file}: {bytes}");
    }
    Ok(lines)
}
