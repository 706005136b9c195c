//! What a request and its answer go through on a worker, whichever protocol brought them: the
//! worker's state and the context lent from it, bodies both ways, gathered output and its TLS, and
//! HTTP/1 and HTTP/2 as machines over them.

mod context;
mod event;
pub(crate) mod exchange;
pub(crate) mod h1;
pub(crate) mod h2;
pub(crate) mod head;
mod incoming;
mod ip_limits;
mod outgoing;
pub(crate) mod output;
pub(crate) mod state;
pub(crate) mod tls_io;
pub(crate) mod upgrade;

pub(crate) use context::{CLEAR, Common, Cx, OVER_TLS, REST, soonest};
pub(crate) use event::{Action, Event};
pub(crate) use head::Heads;
pub(crate) use tls_io::{Cover, refusal, refused};
