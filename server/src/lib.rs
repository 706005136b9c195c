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
#![cfg_attr(doc, doc = "The [manual] has a chapter for each thing that one does with it.\n")]
//! Where to look: `worker` has the turn that everything happens in, `conn` a connection's life,
//! `proto` what the protocols share, `ring` all contact with the kernel, `app` what an application
//! is made of.

#![deny(unsafe_code)]
// See `rt::console`.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod app;
pub mod config;
mod conn;
mod files;
#[cfg(doc)]
#[path = "../manual/mod.rs"]
pub mod manual;
mod observe;
mod proto;
#[allow(unsafe_code)]
mod ring;
mod rt;
mod serve;
pub mod tls;
mod udp;
mod worker;

pub use app::body::RequestBody;
pub use app::content::Body;
pub use app::error::Error;
pub use app::extensions::Extensions;
pub use app::handler::{BodyMode, Handler, IntoHandler, Reply};
pub use app::layers as layer;
pub use app::problem::{Problem, Rejection};
pub use app::request::{OwnedRequest, Protocol, Request};
pub use app::response::Response;
pub use app::router::Router;
#[cfg(feature = "tower")]
pub use app::tower;
pub use app::trace_context::TraceContext;
pub use config::Scheme;
pub use cookie;
pub use files::{Files, Precompress, PrecompressReport};
pub use http;
pub use http::StatusCode;
pub use observe::log;
pub use rt::channel::channel;
pub use rt::drain::draining;
pub use rt::interval::interval;
pub use rt::oneshot::oneshot;
pub use rt::sleep::sleep;
pub use rt::task::{spawn, spawn_blocking};
pub use rt::timeout::timeout;
pub use serve::{Bound, Late, Receipt, Server, ServerHandle, test};

// For the command, the benchmarks and tests of the engine.
#[doc(hidden)]
pub use ring::RecvMode;
#[doc(hidden)]
pub use ring::probe::{Found, KERNEL_FLOOR, probe};
#[doc(hidden)]
pub use ringway_codec::scan::Backend;
#[doc(hidden)]
pub use serve::{
    Broker, CertificateReport, adopt_environment, certificates_of, dns_records, handover, serve,
    start, supervise, wants_parent,
};

/// Types of what runs beside answers: see [`spawn`] and [`spawn_blocking`].
pub mod task {
    pub use crate::rt::drain::Draining;
    pub use crate::rt::task::{JoinError, JoinHandle};
}

/// Types of what waits for a time: see [`sleep`], [`timeout`] and [`interval`].
pub mod time {
    pub use crate::rt::interval::Interval;
    pub use crate::rt::sleep::Sleep;
    pub use crate::rt::timeout::Elapsed;
}

/// Types of what is sent between tasks and threads: see [`oneshot`] and [`channel`].
pub mod sync {
    pub use crate::rt::channel::{Receiver, SendError, Sender, TryRecvError, TrySendError};
    pub use crate::rt::oneshot::{Canceled, OneshotReceiver, OneshotSender};
}

/// Server-sent events: see [`Response::sse`].
pub mod sse {
    pub use crate::app::sse::{IntoEvent, Sse, SseEvent as Event};
}

/// Bodies: how they are read as they arrive, and written as they are sent.
pub mod body {
    pub use crate::app::body::{BodyWriter, Chunk, Closed, Incomplete, Producer, RequestBody};
    pub use crate::app::content::{Body, Inline};
}

/// What closures become as handlers: see [`IntoHandler`].
pub mod handler {
    pub use crate::app::handler::{Answer, AnswerLater, ReadsBody};
}

/// Parts of a request as types of the application. The methods are [`Request::json`],
/// [`Request::query`], [`Request::form`], [`Request::params`], [`Request::cookies`] and
/// [`OwnedRequest::multipart`]; what is wrong with a part is a [`Rejection`].
pub mod extract {
    pub use crate::app::form_data::{MultipartField, MultipartForm};
    pub use crate::app::problem::Rejection;
}

/// Requests that come from no client: see [`Request::builder`].
pub mod request {
    pub use crate::app::request_builder::{InvalidRequest, RequestBuilder};
}
