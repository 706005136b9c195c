//! ringway: an HTTP server for Linux, and the library it is made of.
//!
//! One thread on each CPU, one io_uring on each thread, one handler interface for every protocol.
//!
//! ```no_run
//! use ringway::{Request, Response, Router, Server};
//!
//! fn main() -> Result<(), ringway::Error> {
//!     let app = Router::new()
//!         .get("/plaintext", |_: &Request| Response::text("Hello, World!"))
//!         .get("/later", async |request: ringway::OwnedRequest| {
//!             ringway::sleep(std::time::Duration::from_millis(10)).await;
//!             Response::text(format!("hello, {}", request.path()))
//!         })
//!         .files("/", "site");
//!     Server::new(app).http("127.0.0.1:8080").run()
//! }
//! ```
//!
//! Where to look: `worker` has the turn that everything happens in, `conn` a connection's life,
//! `ring` all contact with the kernel, `handler` and `router` what an application is made of.

#![deny(unsafe_code)]
// See `note`.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod additions;
mod body;
pub mod config;
mod conn;
mod crowd;
mod descriptors;
mod desk;
mod door;
mod error;
mod executor;
mod files;
mod handler;
mod io;
mod listen;
mod local;
pub mod log;
mod metrics;
mod note;
mod pipe;
mod pool;
mod request;
mod response;
#[allow(unsafe_code)]
mod ring;
mod router;
mod running;
mod serve;
mod server;
mod shed;
mod signals;
mod slot;
mod timer;
pub mod tls;
mod trace;
mod udp;
mod welcome;
mod worker;

pub use body::{BodyWriter, Chunk, Closed, Incomplete, Producer, RequestBody};
pub use error::Error;
pub use files::Files;
pub use handler::{Answer, AnswerLater, BodyMode, Handler, IntoHandler, ReadsBody, Reply};
pub use io::{Sleep, sleep};
pub use listen::{Bound, Scheme};
pub use request::{OwnedRequest, Protocol, Request};
pub use response::{Body, Inline, Response};
pub use ring::RecvMode;
pub use ring::probe::{Found, KERNEL_FLOOR, probe};
pub use ringway_codec::scan::Backend;
pub use router::Router;
pub use running::Running;
pub use serve::{CertificateReport, certificates_of, dns_records, serve, start};
pub use server::Server;
