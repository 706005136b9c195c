//! State shared by handlers: each closure holds an `Arc` of it.
//!
//! `cargo run --release --example state`, then `curl http://127.0.0.1:8080/visits/ann` a few times.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use ringway::{Request, Response, Router, Server};

/// What all workers share.
#[derive(Default)]
struct State {
    visits: Mutex<HashMap<String, u64>>,
}

fn main() -> Result<(), ringway::Error> {
    // The address may be given: `-- 127.0.0.1:0` takes a free port and prints it.
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    Server::new(app(Arc::default())).http(address).run()
}

fn app(state: Arc<State>) -> Router {
    // Each closure owns its clone of the `Arc`.
    let (counts, forgets) = (Arc::clone(&state), state);
    Router::new()
        .get("/visits/{name}", move |request: &Request| {
            let name = request.param("name").unwrap_or_default();
            Response::display(count(&counts, name))
        })
        .delete("/visits/{name}", move |request: &Request| forget(&forgets, request))
}

fn count(state: &State, name: &str) -> u64 {
    let mut visits = state.visits.lock().unwrap_or_else(PoisonError::into_inner);
    let count = visits.entry(name.to_owned()).or_default();
    *count += 1;
    *count
}

fn forget(state: &State, request: &Request) -> StatusCode {
    let mut visits = state.visits.lock().unwrap_or_else(PoisonError::into_inner);
    match visits.remove(request.param("name").unwrap_or_default()) {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::NOT_FOUND,
    }
}
