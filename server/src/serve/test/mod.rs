//! Tests of an application without sockets, using [`Client`].
//!
//! A client has its own worker without a ring. It runs the server's HTTP/1.1 connections and
//! transfers their bytes in memory. The application and the client therefore see what they would
//! see in production: limits and [`BodyMode`](crate::BodyMode), streamed bodies in both directions
//! with trailers, early hints, and 500 after a panic. Tasks, closures on other threads, timeouts
//! and files work as on a server.
//!
//! ```
//! use ringway::test::Client;
//! use ringway::{OwnedRequest, Request, Response, Router};
//!
//! let app = Router::new()
//!     .get("/hello/{name}", |request: &Request| {
//!         Response::text(format!("hello, {}", request.param("name").unwrap_or_default()))
//!     })
//!     .get("/later", async |_: OwnedRequest| {
//!         ringway::sleep(std::time::Duration::from_secs(60)).await;
//!         Response::text("a minute later")
//!     });
//! let client = Client::new(app);
//! let answer = client.get("/hello/ann").send();
//! assert_eq!((answer.status().as_u16(), answer.text()), (200, "hello, ann"));
//! // The minute takes no time.
//! assert_eq!(client.get("/later").send().text(), "a minute later");
//! ```
//!
//! Such a client has no address, as over a Unix socket:
//! [`remote_addr`](crate::Request::remote_addr) is none, and a
//! [`RateLimit`](crate::layer::RateLimit) counts it only by a
//! [`key`](crate::layer::RateLimit::key).
//!
//! The clock stands still but for what moves it: [`ClientRequest::send`], as far as the answer
//! needs, and [`Client::advance`]. A request that is begun by [`ClientRequest::start`] gets as far
//! as it can without time; so timeouts are tested without waiting and without chance.
//!
//! ```
//! use std::time::Duration;
//! # use ringway::test::Client;
//! # use ringway::{OwnedRequest, Response, Router};
//! # let app = Router::new().get("/later", async |_: OwnedRequest| {
//! #     ringway::sleep(Duration::from_secs(60)).await;
//! #     Response::text("a minute later")
//! # });
//! # let client = Client::new(app);
//! let exchange = client.get("/later").start();
//! client.advance(Duration::from_secs(59));
//! assert!(!exchange.is_answered());
//! client.advance(Duration::from_secs(1));
//! assert_eq!(exchange.response().text(), "a minute later");
//! ```

mod answer;
mod client;
mod machine;

pub use client::{Client, ClientExchange, ClientRequest, ClientResponse, UnparsedConnection};
