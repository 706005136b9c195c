//! The axum application of `peer-axum` on ringway, one worker.
//!
//! `axum-on-ringway --http ADDR` or `--h2c ADDR`.

mod app;

use ringway::Server;
use ringway::tower::TowerService;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(kind), Some(address)) = (args.next(), args.next()) else {
        return Err("axum-on-ringway --http ADDRESS | --h2c ADDRESS".into());
    };
    let server = Server::new(TowerService::new(app::router())).workers(1);
    let server = match &*kind {
        "--http" => server.http(address),
        "--h2c" => server.h2c(address),
        _ => return Err(format!("what is {kind}?").into()),
    };
    Ok(server.run()?)
}
