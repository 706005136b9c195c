//! Server-sent events: what one client says, all others receive.
//!
//! `cargo run --release --example sse`, then `curl -N http://127.0.0.1:8080/events` in one terminal
//! and `curl -d hello http://127.0.0.1:8080/say` in another.

use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use ringway::sse::Event;
use ringway::sync::Sender;
use ringway::{OwnedRequest, Request, Response, Router, Server, channel};

fn main() -> Result<(), ringway::Error> {
    // The address may be given: `-- 127.0.0.1:0` takes a free port and prints it.
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    Server::new(app()).http(address).run()
}

/// The listeners, on any worker.
#[derive(Clone, Default)]
struct Listeners(Arc<Mutex<Vec<Sender<Event>>>>);

/// Maximum number of events queued for a slow client; a client further behind is dropped.
const BEHIND: usize = 16;

impl Listeners {
    fn listen(&self) -> Response {
        let (sender, events) = channel(BEHIND);
        let _ = sender.try_send(Event::comment("welcome"));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        Response::sse(events)
    }

    fn say(&self, text: &str) {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let event = Event::new(text).name("said");
        listeners.retain(|listener| listener.try_send(event.clone()).is_ok());
    }
}

fn app() -> Router {
    let listeners = Listeners::default();
    let hears = listeners.clone();
    Router::new().get("/events", async move |_: OwnedRequest| hears.listen()).post(
        "/say",
        move |request: &Request| {
            listeners.say(&String::from_utf8_lossy(request.body()));
            StatusCode::NO_CONTENT
        },
    )
}
