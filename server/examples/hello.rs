//! The smallest server: two routes.
//!
//! `cargo run --release --example hello`, then `curl -i http://127.0.0.1:8080/hello/world`.

use ringway::{Request, Response, Router, Server};

fn main() -> Result<(), ringway::Error> {
    let app = Router::new().get("/plaintext", |_: &Request| Response::text("Hello, World!")).get(
        "/hello/{name}",
        |request: &Request| {
            Response::text(format!("Hello, {}!\n", request.param("name").unwrap_or("nobody")))
        },
    );
    // The address may be given: `-- 127.0.0.1:0` takes a free port and prints it.
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    Server::new(app).http(address).run()
}
