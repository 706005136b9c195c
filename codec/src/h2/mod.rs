//! HTTP/2, the server's side: the whole protocol as a state machine that sees bytes and times and
//! no socket. It is not a server: it starts no handler and keeps no body. RFC 9113, with RFC 7541
//! (`hpack`), RFC 9218 and RFC 7540 priorities; the setting of RFC 8441 is announced on request and
//! nothing more.
//!
//! # Use
//! One [`Shared`] per worker, one [`Conn`] per connection, an [`Io`] per pass of the worker's
//! loop:
//!
//! ```
//! # use ringway_codec::{h2, scan::Backend, Time, field::Known};
//! # let (input, now) = (Vec::new(), Time(0));
//! let mut shared = h2::Shared::new(Backend::Scalar, h2::Config::default());
//! let mut out = Vec::new(); // what is gathered for the next SEND
//! let mut io = h2::Io { shared: &mut shared, out: &mut out, now };
//! let mut conn = h2::Conn::new(&mut io); // SETTINGS are in `out`
//! let mut at = 0;
//! loop {
//!     match conn.receive(&input, &mut at, &mut io) {
//!         Ok(h2::Event::More) => break, // keep input[at..] for the next call
//!         Ok(h2::Event::Request(request)) => {
//!             // The request is (io.shared.bytes, io.shared.fields, request).
//!             conn.respond(request.key, 200, h2::Body::Whole(b"hi"), &mut io, |head| {
//!                 head.field(Known::ContentType, b"", b"text/plain");
//!             });
//!         }
//!         Ok(h2::Event::Data { key, at, .. }) => conn.consume(key, at.len(), &mut io),
//!         Ok(_) => {}
//!         Err(error) => break, // GOAWAY is in `out`: send it and close
//!     }
//! }
//! let pull = |key, max, out: &mut Vec<u8>, lent: &mut usize| h2::Pulled::End;
//! while let Ok(Some(key)) = conn.output(256 << 10, &mut io, pull) {
//!     conn.trailers(key, &mut io, |_| {});
//! }
//! assert_eq!(conn.deadline(), Some(Time(10_000_000))); // the client owes us an acknowledgement
//! ```
//!
//! Everything that goes out is appended to `Io::out` in order; HEADERS at once, so that HPACK's
//! order is the wire's, DATA of any size when [`Conn::output`] asks the scheduler, so that one turn
//! makes one contiguous buffer.

use crate::field::Field;
use crate::scan::Backend;
use crate::{Time, hpack};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

mod budget;
mod conn;
mod control;
pub mod frame;
mod headers;
pub mod priority;
mod push;
mod queue;
mod receive;
mod request;
mod send;
pub mod settings;
mod stream;
mod tree;

pub use budget::{Budget, Budgets, Counters, KINDS, Kind};
pub use conn::Conn;
pub use frame::Code;
pub use priority::Priority;
pub use request::Request;
pub use send::{Body, HeadWriter, Pulled, Sent};
pub use settings::Config;
pub use stream::Key;

/// State shared by all connections of a worker: configuration, counters, and the decoded fields of
/// the current request.
#[derive(Debug)]
pub struct Shared {
    /// The configuration. May be replaced at any time; announced values apply to later connections.
    pub config: Config,
    /// Counters of events.
    pub counters: Counters,
    /// Names and values of the head or trailers last returned by [`Conn::receive`]. Read only: a
    /// request that comes again is not decoded again.
    pub bytes: Vec<u8>,
    /// Its fields, pseudo-header fields first; offsets into `bytes`.
    pub fields: Vec<Field>,
    pub(crate) backend: Backend,
    pub(crate) head_cache: request::HeadCache,
}

impl Shared {
    /// Values outside the RFC's ranges are brought into them.
    pub fn new(backend: Backend, mut config: Config) -> Self {
        config.clamp();
        let counters = Counters::default();
        Self {
            config,
            counters,
            bytes: Vec::new(),
            fields: Vec::new(),
            backend,
            head_cache: request::HeadCache::default(),
        }
    }

    /// Replaces the configuration, brought into the RFC's ranges as by [`Self::new`].
    pub fn set_config(&mut self, mut config: Config) {
        config.clamp();
        self.config = config;
    }
}

/// What a connection works with while it handles one call: shared state, output and time.
#[derive(Debug)]
pub struct Io<'a> {
    /// The worker's.
    pub shared: &'a mut Shared,
    /// The connection's gathered output: what is appended must be sent, in order.
    pub out: &'a mut Vec<u8>,
    /// The time at which the turn began.
    pub now: Time,
}

/// What [`Conn::receive`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing more: keep `input[at..]` and call again when there is more behind it.
    More,
    /// A request's head; its fields are in [`Shared`] until the next call.
    Request(Request),
    /// A request's head was over the limits, and is not shown: to be answered with 431 at once.
    TooLarge {
        /// The stream.
        key: Key,
    },
    /// A request's head was malformed: its stream was reset and is not open (RFC 9113 section
    /// 8.1.1).
    Malformed {
        /// The stream.
        stream: u32,
    },
    /// Octets of a request's content, `input[at]`. Hand their number to [`Conn::consume`] once they
    /// are used: until then they count against the peer's window.
    Data {
        /// The stream.
        key: Key,
        /// Where in the input; may be empty when `end`.
        at: Range<usize>,
        /// Whether the request ends here.
        end: bool,
    },
    /// A request's trailers, which end it; its fields are in [`Shared`] until the next call.
    Trailers {
        /// The stream.
        key: Key,
    },
    /// The stream was reset by the peer, or because the peer broke a rule: stop working on it.
    Reset {
        /// The stream; the key finds nothing any more.
        key: Key,
        /// The code sent or received.
        code: Code,
        /// Whether the peer sent it.
        by_peer: bool,
    },
    /// The peer will open no more streams and expects no pushes; those open go on.
    GoAway {
        /// Why.
        code: Code,
    },
}

/// A connection error caused by the peer. [`Conn::receive`] has appended the GOAWAY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// The code of the GOAWAY.
    pub code: Code,
    /// The stream on which it happened, or 0.
    pub stream: u32,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Said(&'static str),
    Hpack(hpack::Error),
}

impl Error {
    pub(crate) fn new(code: Code, stream: u32, what: &'static str) -> Self {
        Self { code, stream, what: What::Said(what) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            What::Said(what) => write!(f, "the peer sent {what}")?,
            What::Hpack(error) => fmt::Display::fmt(&error, f)?,
        }
        if self.stream != 0 {
            write!(f, " on stream {}", self.stream)?;
        }
        write!(f, " ({})", self.code)
    }
}

impl core::error::Error for Error {}
