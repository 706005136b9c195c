//! What a connection allows, what the connections of a worker share, and what happens on them.

use super::Code;
use super::frame::{self, kind, setting};
use crate::field::Field;
use crate::h2::Priority;
use crate::message;
use crate::qpack::FieldLimits;
use crate::scan::Backend;
use alloc::vec::Vec;
use core::ops::Range;

/// What a connection allows.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The instruction set to decode with.
    pub backend: Backend,
    /// What a request's head may hold.
    pub fields: FieldLimits,
    /// Fields that its trailers may hold, within the same octets.
    pub trailer_fields: u32,
    /// The dynamic table that we keep for the client's encoder.
    pub qpack_capacity: u32,
    /// Requests that may wait for table entries.
    pub qpack_blocked: u16,
    /// The dynamic table that we use of the client's decoder, at most.
    pub qpack_encoder_capacity: u32,
    /// Requests that may be open at a time, as QUIC's transport parameters say.
    pub streams: u64,
    /// Extended CONNECT is offered (RFC 9220).
    pub connect_protocol: bool,
    /// Send reserved values, so that clients keep tolerating them.
    pub grease: bool,
}

impl Config {
    /// The defaults.
    pub fn new(backend: Backend) -> Self {
        Self {
            backend,
            fields: FieldLimits { list_bytes: 32 * 1024, fields: 100 },
            trailer_fields: 32,
            qpack_capacity: 4096,
            qpack_blocked: 16,
            qpack_encoder_capacity: 4096,
            streams: 100,
            connect_protocol: false,
            grease: true,
        }
    }
}

/// What all connections of a worker share.
#[derive(Debug)]
pub struct Shared {
    /// What connections that begin from now on allow.
    pub config: Config,
    /// Names and values of the head or trailers last returned by [`Conn::receive`].
    pub bytes: Vec<u8>,
    /// Its fields, pseudo-header fields first; offsets into `bytes`.
    pub fields: Vec<Field>,
}

impl Shared {
    /// For connections that allow what `config` says.
    pub fn new(config: Config) -> Self {
        Self { config, bytes: Vec::new(), fields: Vec::new() }
    }
}

/// A request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The stream to answer on.
    pub stream: u64,
    /// What it says. Its priority is that of a PRIORITY_UPDATE, if one came before.
    pub head: message::RequestHead,
    /// The request has no content.
    pub end: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing more: the input is used up.
    More,
    /// A request's head; its fields are in [`Shared`] until the next call.
    Request(Request),
    /// Octets of a request's content.
    Data {
        /// The stream.
        stream: u64,
        /// Where in the input; not empty.
        at: Range<usize>,
    },
    /// A request's trailers; their fields are in [`Shared`] until the next call.
    Trailers {
        /// The stream.
        stream: u64,
    },
    /// A request that had content or might have had is here whole.
    End {
        /// The stream.
        stream: u64,
    },
    /// The request's head is over a limit: answer with `status`, and read no more of it.
    Refused {
        /// The stream.
        stream: u64,
        /// The status to answer with.
        status: u16,
    },
    /// The peer broke a rule on the stream, which ends here in both directions.
    Failed {
        /// The stream.
        stream: u64,
        /// The code for RESET_STREAM and STOP_SENDING.
        code: Code,
    },
    /// The client has changed the priority of a request.
    Priority {
        /// The stream.
        stream: u64,
        /// The new priority.
        priority: Priority,
    },
    /// The stream waits for table entries: keep `input[at..]`, read no more of it, and come back
    /// when [`Conn::unblocked`] names it.
    Blocked {
        /// The stream.
        stream: u64,
    },
    /// A unidirectional stream that means nothing to us: read no more of it.
    Unwanted {
        /// The stream.
        stream: u64,
    },
}

pub(super) fn write_settings(out: &mut Vec<u8>, config: &Config) {
    let mut payload = Vec::with_capacity(48);
    let mut set = |id: u64, value: u64| frame::write_head(&mut payload, id, value);
    set(setting::QPACK_MAX_TABLE_CAPACITY, u64::from(config.qpack_capacity));
    set(setting::QPACK_BLOCKED_STREAMS, u64::from(config.qpack_blocked));
    set(setting::MAX_FIELD_SECTION_SIZE, u64::from(config.fields.list_bytes));
    if config.connect_protocol {
        set(setting::ENABLE_CONNECT_PROTOCOL, 1);
    }
    if config.grease {
        set(frame::grease(31), 0);
    }
    frame::write_head(out, kind::SETTINGS, payload.len() as u64);
    out.extend_from_slice(&payload);
    if config.grease {
        frame::write_head(out, frame::grease(7), 0);
    }
}
