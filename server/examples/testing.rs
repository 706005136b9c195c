//! An application with tests that need no sockets, ports or waiting.
//!
//! `cargo run --release --example testing` serves it; `cargo test --example testing` tests it.

use std::sync::Mutex;
use std::time::Duration;

use http::StatusCode;
use ringway::{OwnedRequest, Request, Response, Router, Server, sleep, timeout};
use serde::{Deserialize, Serialize};

/// An item of the shop, and an order for it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    what: String,
    pieces: u32,
}

fn app() -> Router {
    let orders = Mutex::new(Vec::<Order>::new());
    Router::new()
        .post("/orders", move |request: &Request| {
            let Ok(order) = serde_json::from_slice(request.body()) else {
                return StatusCode::UNPROCESSABLE_ENTITY.into();
            };
            let mut orders = orders.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            orders.push(order);
            Response::display(orders.len()).status(StatusCode::CREATED)
        })
        .get("/stock", async |_: OwnedRequest| {
            // The warehouse may be slow; the customer's wait is limited.
            match timeout(Duration::from_secs(5), warehouse()).await {
                Ok(pieces) => Response::display(pieces),
                Err(_) => StatusCode::GATEWAY_TIMEOUT.into(),
            }
        })
}

async fn warehouse() -> u32 {
    sleep(Duration::from_secs(7)).await;
    12
}

fn main() -> Result<(), ringway::Error> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    Server::new(app()).http(address).run()
}

#[cfg(test)]
mod tests {
    use ringway::test::Client;

    use super::*;

    #[test]
    fn orders_are_counted_and_nonsense_is_refused() {
        let client = Client::new(app());
        for n in ["1", "2"] {
            let order = Order { what: "tea".to_owned(), pieces: 3 };
            let answer = client.post("/orders").json(&order).send();
            assert_eq!((answer.status(), answer.text()), (StatusCode::CREATED, n));
        }
        let answer = client.post("/orders").body("tea, please").send();
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }

    #[test]
    fn a_slow_warehouse_is_given_up_after_five_seconds() {
        let client = Client::new(app());
        let exchange = client.get("/stock").start();
        client.advance(Duration::from_millis(4999));
        assert!(!exchange.is_answered());
        client.advance(Duration::from_millis(1));
        assert_eq!(exchange.response().status(), StatusCode::GATEWAY_TIMEOUT);
    }
}
