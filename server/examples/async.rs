//! Answers that come later: timers, work on other threads, a body that is made while it is sent.
//!
//! `cargo run --release --example async`, then `curl -N http://127.0.0.1:8080/ticks`.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use ringway::{OwnedRequest, Response, Router, Server, sleep};

fn main() -> Result<(), ringway::Error> {
    let app = Router::new()
        .get("/later", async |_: OwnedRequest| {
            sleep(Duration::from_millis(100)).await;
            Response::text("a tenth of a second later\n")
        })
        .get("/elsewhere", async |_: OwnedRequest| Response::display(on_another_thread().await))
        .get("/ticks", async |_: OwnedRequest| {
            Response::stream("text/plain", async |mut out| {
                for n in 1..=5 {
                    // The client is gone when writing fails: there is nobody left to work for.
                    if out.write(format!("tick {n}\n")).await.is_err() {
                        return;
                    }
                    sleep(Duration::from_millis(200)).await;
                }
            })
        });
    // An address of its own may be given: `-- 127.0.0.1:0` takes a free port and says which.
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    Server::new(app).http(address).run()
}

/// Work that would hold the worker goes to a thread, which wakes the task when it is done.
async fn on_another_thread() -> u64 {
    type Shared = Arc<Mutex<(Option<u64>, Option<Waker>)>>;
    let shared = Shared::default();
    let theirs = Arc::clone(&shared);
    std::thread::spawn(move || {
        let sum = (1..=1_000_000_u64).sum();
        if let Ok(mut state) = theirs.lock() {
            state.0 = Some(sum);
            if let Some(waker) = state.1.take() {
                waker.wake();
            }
        }
    });
    poll_fn(move |context| match shared.lock() {
        Ok(mut state) => match state.0 {
            Some(sum) => Poll::Ready(sum),
            None => {
                state.1 = Some(context.waker().clone());
                Poll::Pending
            }
        },
        Err(_) => Poll::Ready(0),
    })
    .await
}
