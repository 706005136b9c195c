//! The axum application on hyper, by `axum::serve`: one current-thread runtime, mimalloc.
//!
//! `peer-axum --http 127.0.0.1:PORT`; HTTP/1.1, and HTTP/2 with prior knowledge.

mod app;

use axum::serve::ListenerExt;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(2).ok_or("peer-axum --http ADDRESS")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
        Ok(axum::serve(listener, app::router()).await?)
    })
}
