//! The part of a worker that a connection borrows for one event.

use std::time::Duration;

use ringway_codec::Time;
use ringway_codec::field::{Field, Known};
use ringway_codec::h1::request;
use ringway_codec::hpack::Indexing;
use ringway_codec::scan::Backend;

use super::output::LINGER;
use super::{Action, Heads};
use crate::app::handler::Handler;
use crate::app::response::{Line, Response};
use crate::config::Limits;
use crate::observe::log::Log;
use crate::observe::metrics::Tally;
use crate::observe::trace::Tracer;
use crate::ring::token::Id;
use crate::rt::executor::Executor;
use crate::rt::pool::Pool;

/// The parts of the worker that a connection may use during one event.
pub(crate) struct Context<'w> {
    pub(crate) now: Time,
    /// Lower bound of every HTTP/1 deadline armed now.
    pub(crate) soon: Time,
    pub(crate) limits: &'w Limits,
    pub(crate) head_limits: request::Limits,
    pub(crate) backend: Backend,
    pub(crate) app: &'w dyn Handler,
    /// See [`Context::common`].
    pub(crate) common: &'w [Common],
    pub(crate) second: u64,
    pub(crate) heads: &'w mut Heads,
    pub(crate) leaving: Leaving,
    /// Whether HTTP/1.1 requests may upgrade to HTTP/2.
    pub(crate) h2c_upgrade: bool,
    pub(crate) fields: &'w mut Vec<Field>,
    pub(crate) scratch: &'w mut Vec<u8>,
    pub(crate) h2: &'w mut ringway_codec::h2::Shared,
    pub(crate) pool: &'w mut Pool,
    pub(crate) executor: &'w mut Executor<Response>,
    pub(crate) actions: &'w mut Vec<(Id, Action)>,
    pub(crate) dirty: &'w mut Vec<Id>,
    pub(crate) tally: &'w mut Tally,
    /// The access log, if there is one.
    pub(crate) log: Option<&'w mut Log>,
    /// The tracer, if tracing is on.
    pub(crate) trace: Option<&'w mut Tracer>,
}

/// The kind of a connection, which determines the fields common to all its responses: see
/// [`Context::common`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommonKind(u8);

impl CommonKind {
    /// Without TLS.
    pub(crate) const CLEAR: Self = Self(0);
    /// Over TLS, without Alt-Svc.
    pub(crate) const OVER_TLS: Self = Self(1);

    /// Over TLS, with the Alt-Svc value at this index: see `WorkerState::advertise`.
    pub(crate) fn with_alt_svc(index: usize) -> Self {
        Self(2 + index as u8)
    }
}

/// What every response of a kind of connection carries: server and date, and over TLS the policy to
/// come back over TLS alone (RFC 6797 section 7.1: also on refusals) and Alt-Svc (RFC 7838).
#[derive(Default)]
pub(crate) struct Common {
    /// Encoded for HTTP/1.1.
    pub(crate) lines: Vec<u8>,
    /// One entry per field.
    pub(crate) fields: Vec<(Known, Vec<u8>)>,
}

/// Whether the server is to end, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Leaving {
    #[default]
    No,
    /// Another process has taken over: what is open goes on, and is told to use other connections.
    /// None is closed whose client may be sending a request.
    Gently,
    /// It drains: what is idle is closed.
    Soon,
}

impl Common {
    /// The fields encoded for HTTP/2 and HTTP/3.
    pub(crate) fn field_lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.fields.iter().map(|(known, value)| (Indexing::Auto, *known, &b""[..], &value[..]))
    }
}

impl<'w> Context<'w> {
    /// The common fields of a kind of connection, and a number that identifies their current text.
    pub(crate) fn common(&self, kind: CommonKind) -> (&'w Common, u64) {
        (&self.common[usize::from(kind.0)], self.second << 8 | u64::from(kind.0))
    }

    /// No access log, trace or drain: the fast path may be taken.
    pub(crate) fn allows_fast_path(&self) -> bool {
        self.log.is_none() && self.trace.is_none() && self.leaving == Leaving::No
    }
}

/// Idle time after which a connection frees memory.
pub(crate) const REST: Duration = Duration::from_secs(1);

/// The shortest HTTP/1 timeout.
pub(crate) fn soonest(limits: &Limits) -> Duration {
    let Limits { header_timeout, idle_timeout, handshake_timeout, rate_grace, .. } = *limits;
    [header_timeout, idle_timeout, handshake_timeout, rate_grace, LINGER, REST]
        .into_iter()
        .fold(REST, Duration::min)
}
