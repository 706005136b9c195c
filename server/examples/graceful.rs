//! A server inside a larger program: started beside other work, stopped by it, and drained within
//! the configured time.
//!
//! `cargo run --release --example graceful`, then `curl http://127.0.0.1:8080/work`. Enter, or the
//! end of standard input, stops it while the answer is still being made.

use std::time::Duration;

use ringway::config::Limits;
use ringway::{OwnedRequest, Response, Router, Scheme, Server};

fn main() -> Result<(), ringway::Error> {
    let app = Router::new().get("/work", async |_: OwnedRequest| {
        // The drain also waits for tasks that a request has spawned.
        ringway::spawn(async {
            ringway::sleep(Duration::from_millis(300)).await;
            println!("the mail is sent");
        });
        ringway::sleep(Duration::from_millis(200)).await;
        Response::text("done\n")
    });
    let limits = Limits { drain_timeout: Duration::from_secs(10), ..Limits::default() };
    // The address may be given: `-- 127.0.0.1:0` takes a free port and prints it.
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    let server = Server::new(app).limits(limits).http(address).start()?;
    if let Some(address) = server.local_addr(Scheme::Http) {
        println!("listening http {address}");
    }
    // Handles are cheap to clone, and each of them can stop the server.
    let handle = server.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        println!("draining");
        handle.drain();
    });
    server.join()
}
