//! What a request and its answer go through on a worker, whichever protocol brought them: the
//! worker's state and the context lent from it, bodies both ways, gathered output and its TLS, and
//! HTTP/1, HTTP/2 and HTTP/3 as machines over them.

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

pub(crate) use context::{Common, CommonKind, Context, REST, soonest};
pub(crate) use event::{Action, Event};
pub(crate) use exchange::abort;
pub(crate) use h1::head::Heads;
