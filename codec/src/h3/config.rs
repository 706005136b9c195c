//! A connection's configuration, the state that a worker's connections share, and events.

use super::Code;
use super::frame::{self, kind, setting};
use crate::field::Field;
use crate::h2::Priority;
use crate::message;
use crate::qpack::FieldLimits;
use crate::scan::Backend;
use alloc::vec::Vec;
use core::ops::Range;

/// A connection's limits and options.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The instruction set to decode with.
    pub backend: Backend,
    /// Limits of a request's head.
    pub fields: FieldLimits,
    /// Fields allowed in trailers, within the same octets.
    pub trailer_fields: u32,
    /// Size of the dynamic table that we keep for the client's encoder, in octets.
    pub qpack_capacity: u32,
    /// Requests that may wait for table entries.
    pub qpack_blocked: u16,
    /// Most octets of the client's dynamic table that our encoder uses.
    pub qpack_encoder_capacity: u32,
    /// Requests that may be open at a time, as announced in QUIC's transport parameters.
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

/// State that all connections of a worker share.
#[derive(Debug)]
pub struct Shared {
    /// The configuration of new connections.
    pub config: Config,
    /// Names and values of the head or trailers last returned by [`Conn::receive`].
    pub bytes: Vec<u8>,
    /// Its fields, pseudo-header fields first; offsets into `bytes`.
    pub fields: Vec<Field>,
}

impl Shared {
    /// Shared state for connections with this `config`.
    pub fn new(config: Config) -> Self {
        Self { config, bytes: Vec::new(), fields: Vec::new() }
    }
}

/// A request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The stream to answer on.
    pub stream: u64,
    /// The head. A PRIORITY_UPDATE that came before overrides its priority.
    pub head: message::RequestHead,
    /// The request has no content.
    pub end: bool,
}

/// An event of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// No further event: the input is consumed.
    More,
    /// A request's head; its fields are in [`Shared`] until the next call.
    Request(Request),
    /// Octets of a request's content.
    Data {
        /// The stream.
        stream: u64,
        /// Range in the input; not empty.
        at: Range<usize>,
    },
    /// A request's trailers; their fields are in [`Shared`] until the next call.
    Trailers {
        /// The stream.
        stream: u64,
    },
    /// A request whose head did not end the stream is complete.
    End {
        /// The stream.
        stream: u64,
    },
    /// The request's head exceeds a limit: answer with `status` and stop reading the stream.
    Refused {
        /// The stream.
        stream: u64,
        /// The status to answer with.
        status: u16,
    },
    /// The peer broke a rule on the stream: reset it in both directions.
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
    /// The stream waits for table entries: keep `input[at..]`, stop reading, and resume when
    /// [`Conn::unblocked`] names it.
    Blocked {
        /// The stream.
        stream: u64,
    },
    /// A unidirectional stream of unknown type: stop reading it.
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
