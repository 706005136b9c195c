//! Answers that come later: timers, work on other threads, streamed bodies.
//!
//! `cargo run --release --example async`, then `curl -N http://127.0.0.1:8080/ticks`.

use std::time::Duration;

use http::StatusCode;
use ringway::task::JoinError;
use ringway::{OwnedRequest, Response, Router, Server, oneshot, sleep, spawn_blocking, timeout};

fn main() -> Result<(), ringway::Error> {
    let app = Router::new()
        .get("/later", async |_: OwnedRequest| {
            sleep(Duration::from_millis(100)).await;
            Response::text("a tenth of a second later\n")
        })
        // Blocking work goes to a thread of the blocking pool.
        .get("/elsewhere", async |_: OwnedRequest| -> Result<Response, JoinError> {
            Ok(Response::display(spawn_blocking(|| (1..=1_000_000_u64).sum::<u64>()).await?))
        })
        // A thread of the program's own answers through a one-shot channel.
        .get("/thread", async |_: OwnedRequest| {
            let (sender, receiver) = oneshot();
            std::thread::spawn(move || sender.send("from a thread\n"));
            match timeout(Duration::from_secs(1), receiver).await {
                Ok(Ok(text)) => Response::text(text),
                _ => StatusCode::GATEWAY_TIMEOUT.into(),
            }
        })
        .get("/ticks", async |_: OwnedRequest| {
            Response::stream("text/plain", async |mut out| {
                for n in 1..=5 {
                    // Writing fails once the client has left, so the work ends.
                    if out.write(format!("tick {n}\n")).await.is_err() {
                        return;
                    }
                    sleep(Duration::from_millis(200)).await;
                }
            })
        });
    // The address may be given: `-- 127.0.0.1:0` takes a free port and prints it.
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    Server::new(app).http(address).run()
}
