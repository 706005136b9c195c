//! Protocol handling on a worker: the worker's state and the context borrowed from it, request and
//! response bodies, gathered output and TLS, and the state machines of HTTP/1, HTTP/2 and HTTP/3.

mod context;
mod event;
mod exchange;
pub(crate) mod h1;
pub(crate) mod h2;
pub(crate) mod h3;
mod ip_limits;
pub(crate) mod output;
mod refusal;
mod request_body;
mod response_body;
pub(crate) mod state;
pub(crate) mod tls_io;
pub(crate) mod upgrade;

pub(crate) use context::{Common, CommonKind, Context, Leaving, REST, soonest};
pub(crate) use event::{Action, Event};
pub(crate) use exchange::abort;
pub(crate) use h1::head::Heads;
