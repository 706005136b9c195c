//! HTTPS: HTTP/1.1 and HTTP/2 over TCP, HTTP/3 over UDP, on one port and with one handler.
//!
//! `cargo run --release --example tls`, then `curl -k https://127.0.0.1:8443/`. With two further
//! arguments, `-- 127.0.0.1:8443 chain.pem key.pem`, it serves that certificate. New connections
//! use a changed file at once.

use ringway::tls::Tls;
use ringway::{Request, Response, Router, Server};

fn main() -> Result<(), ringway::Error> {
    let app = Router::new().get("/", |request: &Request| {
        Response::text(format!("hello over {}\n", request.protocol().name()))
    });
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:8443".to_owned());
    let tls = match (arguments.next(), arguments.next()) {
        (Some(chain), Some(key)) => Tls::pem(chain, key)?,
        _ => Tls::self_signed()?,
    };
    Server::new(app).https(address, tls).run()
}
