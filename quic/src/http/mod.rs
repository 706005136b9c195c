//! HTTP/3 over one QUIC connection: `codec::h3` on quiche's streams, with the verbs and events of
//! `codec::h2`, so that a server treats both alike. Streams that the peer does not read hold back
//! what is pulled for them; streams that the server does not consume are not read. Not a server: it
//! starts no handler and keeps no body. RFC 9114, 9204, 9218, 8470.

mod receive;
mod send;
mod streams;

use std::ops::Range;
use std::time::{Duration, Instant};

use ringway_codec::h2::Priority;
use ringway_codec::{h3, message};

use crate::buf::Buf;
use crate::conn::Conn;
use streams::{Stall, Stream, Streams, Waiting};

pub use ringway_codec::h3::Code;
pub use send::Head;
pub use streams::Key;

/// Bytes that are read from a stream at a time.
const CHUNK: usize = 16 * 1024;
/// Approximate size of a response's head and its frame heads.
const HEADS: usize = 512;

/// What all connections of a worker share.
pub struct Shared {
    /// The configuration, and the fields of the head or trailers last received.
    pub h3: h3::Shared,
    /// Time limit for a request's head.
    pub header_timeout: Duration,
    /// A response of which the client takes nothing for this long is given up; one that waits for
    /// it this long also where all responses together gave it less than `stall_octets`.
    pub stall_timeout: Duration,
    /// See `stall_timeout`.
    pub stall_octets: u64,
    /// Content not consumed by the server at which a stream is no longer read.
    pub read_ahead: usize,
    /// The piece of a stream that [`Event::Data`] points into.
    chunk: Box<[u8]>,
    scratch: Vec<u8>,
    memos: send::Memos,
}

impl Shared {
    /// For connections that allow what `config` says.
    pub fn new(config: h3::Config) -> Self {
        Self {
            h3: h3::Shared::new(config),
            header_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(60),
            stall_octets: 60 * 240,
            read_ahead: 64 * 1024,
            chunk: vec![0; CHUNK].into(),
            scratch: Vec::with_capacity(CHUNK),
            memos: send::Memos::default(),
        }
    }

    /// The content of an [`Event::Data`].
    pub fn data(&self, at: Range<usize>) -> &[u8] {
        &self.chunk[at]
    }
}

/// Whether an attacker may have repeated a request (RFC 8470).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Early {
    /// It came after the handshake, so it is no replay.
    No,
    /// It came in 0-RTT data that was not seen before: serve it if its method is safe, else answer
    /// 425.
    First,
    /// It came in 0-RTT data that was seen before: answer 425 whatever it is.
    Repeated,
}

/// A request's head. Its fields are in [`Shared::h3`] until the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The stream to answer on.
    pub key: Key,
    /// The head.
    pub head: message::RequestHead,
    /// The request has no content.
    pub end: bool,
    /// Whether it may be a replay.
    pub early: Early,
}

/// What [`Http::receive`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing more for now.
    More,
    /// A request's head.
    Request(Request),
    /// A request's head was over a limit (431), or did not come in time (408): to be answered with
    /// that at once. What else comes on the stream is not read.
    Refused {
        /// The stream to answer on.
        key: Key,
        /// The status.
        status: u16,
    },
    /// A request's head was malformed: its stream was reset (RFC 9114 section 4.1.2).
    Malformed {
        /// The stream.
        stream: u64,
    },
    /// Content, [`Shared::data`]. Hand its length to [`Http::consume`] once it is used.
    Data {
        /// The stream.
        key: Key,
        /// Where in the chunk; not empty.
        at: Range<usize>,
    },
    /// A request's trailers; [`Event::End`] follows. Their fields are in [`Shared::h3`] until the
    /// next call.
    Trailers {
        /// The stream.
        key: Key,
    },
    /// The request is complete.
    End {
        /// The stream.
        key: Key,
    },
    /// The client took too little of a response: the stream was reset.
    Stalled {
        /// The stream; the key finds nothing any more.
        key: Key,
    },
    /// The stream was reset by the peer, or because the peer broke a rule: stop working on it.
    Reset {
        /// The stream; the key finds nothing any more.
        key: Key,
        /// The code sent or received.
        code: u64,
        /// Whether the peer sent it.
        by_peer: bool,
    },
}

/// What follows a response's head.
#[derive(Clone, Debug)]
pub enum Body<'a> {
    /// Nothing.
    None,
    /// All of the content, copied when it goes out at once. When it does not: [`Sent::Queued`].
    Whole(&'a [u8]),
    /// All of the content, never copied, of any length.
    Shared(Buf),
    /// Content that [`Http::output`] may pull from now on.
    Pull,
    /// Content, or trailers, that will be there after [`Http::wake`].
    Later,
}

/// The result of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Completely handed over: forget the stream.
    All,
    /// The head is handed over; the content is to be pulled.
    Queued,
    /// The stream no longer exists (or has been answered): nothing was sent.
    Gone,
}

/// The result of pulling a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// There is, or may be, more. Without any octets this is [`Pulled::Pending`].
    More,
    /// There will be more after [`Http::wake`].
    Pending,
    /// That was all: the stream ends with these octets, if any.
    End,
    /// That was all but trailers: [`Http::output`] returns the key, for [`Http::trailers`].
    Trailers,
    /// The body cannot go on: the stream is reset with this code, octets just given are dropped.
    Abort(Code),
}

/// Receives a body's content when it is pulled.
#[derive(Debug)]
pub struct Content {
    bytes: Vec<u8>,
    shared: Option<Buf>,
}

impl Content {
    /// Append content here.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Content that is not copied, behind what was appended. Longer than was asked for is no error:
    /// what does not go out is kept and nothing is pulled until it has.
    pub fn share(&mut self, content: Buf) {
        assert!(self.shared.is_none(), "one shared piece for each pull");
        self.shared = Some(content);
    }
}

/// Why a connection ended; it has been closed with the error's code. The peer erred.
pub type Error = h3::Error;

/// The server's HTTP/3 on one connection. Made by `Default` before the handshake is done.
#[derive(Default)]
pub struct Http {
    h3: Option<Box<h3::Conn>>,
    streams: Streams,
    /// The piece in [`Shared::chunk`] that is being worked off.
    cursor: Option<Cursor>,
    /// Streams that wait for QPACK table entries, and what was read of them.
    blocked: Vec<Kept>,
    /// Streams to read again although quiche will not report them.
    reread: Vec<u64>,
    /// Early ends of streams, to be reported.
    stopped: Vec<Event>,
    /// Requests without a whole head, and since when, as `expire` found them.
    heads: Vec<(u64, Instant)>,
    requests: u64,
    /// The highest stream that brought a request.
    last: u64,
    /// Octets of responses that quiche has taken.
    taken: u64,
    /// STOP_SENDING frames received.
    stops: u64,
    is_refusing: bool,
}

struct Cursor {
    stream: u64,
    len: usize,
    at: usize,
    fin: bool,
}

struct Kept {
    stream: u64,
    bytes: Vec<u8>,
    fin: bool,
    is_ready: bool,
}

impl Http {
    /// Requests received so far.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Entries that response heads have put into the client's QPACK table so far.
    pub fn inserted(&self) -> u64 {
        self.h3.as_ref().map_or(0, |h3| h3.inserted())
    }

    /// Responses that are not completely handed over.
    pub fn open_streams(&self) -> usize {
        self.streams.live()
    }

    /// First step of a drain: requests are still served, and the client is told to begin no more
    /// (RFC 9114 section 5.2). Call [`refuse`](Self::refuse) one round trip later.
    pub fn drain(&mut self, conn: &mut Conn) {
        if let Some(h3) = &mut self.h3 {
            h3.drain();
            self.send_control(conn);
        }
    }

    /// Second step of a drain: requests that have not begun are rejected and can be retried
    /// elsewhere.
    pub fn refuse(&mut self, conn: &mut Conn) {
        self.is_refusing = true;
        if let Some(h3) = &mut self.h3 {
            h3.refuse();
            self.send_control(conn);
        }
    }

    /// Whether everything is over after [`refuse`](Self::refuse), and has reached the client: close
    /// the connection with [`Code::NoError`].
    pub fn is_done(&self, conn: &mut Conn, shared: &Shared) -> bool {
        // quiche forgets a stream when its last byte is acknowledged; it keeps no more streams than
        // the client may have open, and those are among the last.
        let kept = 2 * shared.h3.config.streams;
        let first = self.last.saturating_sub(4 * kept);
        self.is_refusing
            && self.streams.live() == 0
            && (first..=self.last).step_by(4).all(|id| conn.quic().stream_capacity(id).is_err())
    }

    /// Whether a body of `len` octets can be handed over at once.
    pub fn has_room(&self, key: Key, len: usize, conn: &mut Conn) -> bool {
        conn.quic().stream_capacity(key.id()).is_ok_and(|room| room > len + HEADS)
    }

    /// Whether [`output`](Self::output) has something to pull or to send.
    pub fn wants_output(&self) -> bool {
        self.streams.any_ready()
    }

    /// Whether [`expire`](Self::expire) may have something to do in the next second.
    pub fn is_waiting(&self) -> bool {
        self.streams.live() > 0 || self.h3.as_ref().is_some_and(|h3| h3.receiving() > 0)
    }

    /// Acts on what has taken too long: heads that do not come are to be answered 408, responses
    /// that the client does not take are reset, and [`receive`](Self::receive) tells of both. Call
    /// about once a second while [`is_waiting`](Self::is_waiting); times count from the first call
    /// that finds something waiting. A connection that is slow in other ways is the caller's to
    /// judge, by what it gets and gives.
    pub fn expire(&mut self, now: Instant, conn: &mut Conn, shared: &Shared) {
        let Some(h3) = &self.h3 else { return };
        let late = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        let known = std::mem::take(&mut self.heads);
        let since = |id| known.iter().find(|(other, _)| *other == id).map_or(now, |known| known.1);
        self.heads = h3.heads().map(|id| (id, since(id))).collect();
        for (id, since) in self.heads.clone() {
            if late(since, shared.header_timeout) {
                let refused = self.refuse_one(id, 408, conn);
                self.stopped.push(refused);
            }
        }
        for key in self.streams.keys() {
            let Some(stream) = self.streams.find(key) else { continue };
            if stream.waiting != Waiting::Room {
                stream.stall = None;
                continue;
            }
            let began = Stall { since: now, taken: stream.taken, of_all: self.taken };
            let stall = *stream.stall.get_or_insert(began);
            if late(stall.since, shared.stall_timeout) {
                // A slow link that other streams use is not this stream's fault.
                let few = self.taken - stall.of_all < shared.stall_octets;
                stream.stall = None;
                if few || stream.taken == stall.taken {
                    self.reset(key, Code::ExcessiveLoad, conn);
                    self.stopped.push(Event::Stalled { key });
                }
            }
        }
    }

    /// The application has consumed `n` octets of the content of `key`: reopens the window.
    pub fn consume(&mut self, key: Key, n: usize, shared: &Shared) {
        let Some(stream) = self.streams.find(key) else { return };
        stream.unconsumed = stream.unconsumed.saturating_sub(n);
        if stream.is_paused && stream.unconsumed <= shared.read_ahead / 2 {
            stream.is_paused = false;
            self.reread.push(key.id());
        }
    }

    /// What the client, or the application, has said of a response's priority.
    pub fn priority_of(&mut self, key: Key) -> Option<Priority> {
        self.streams.find(key)?.priority
    }

    /// The application's word on a response's priority overrides the client's.
    pub fn prioritise(&mut self, key: Key, priority: Priority, conn: &mut Conn) {
        if let Some(stream) = self.streams.find(key) {
            stream.priority = Some(priority);
            stream.set_rank(key.id(), Some(priority), conn);
        }
    }

    /// What the response's priority is to be if the client has said nothing about it: see
    /// [`default_for`](ringway_codec::h2::priority::default_for).
    pub fn suggest_priority(&mut self, key: Key, priority: Priority, conn: &mut Conn) {
        if let Some(stream) = self.streams.find(key).filter(|stream| stream.priority.is_none()) {
            stream.set_rank(key.id(), Some(priority), conn);
        }
    }

    /// Gives a stream up. The key finds nothing afterwards.
    pub fn reset(&mut self, key: Key, code: Code, conn: &mut Conn) {
        if self.streams.find(key).is_some() {
            self.streams.remove(key);
            self.abandon(key.id(), code.number(), conn);
        }
    }

    /// Ends the connection at once.
    pub fn close(&mut self, code: Code, reason: &[u8], conn: &mut Conn) {
        conn.close(code.number(), reason);
    }

    /// Stops both directions of a stream that may still be open.
    fn abandon(&mut self, id: u64, code: u64, conn: &mut Conn) {
        let _ = conn.quic().stream_shutdown(id, quiche::Shutdown::Write, code);
        self.stop_reading(id, code, conn);
    }

    fn stop_reading(&mut self, id: u64, code: u64, conn: &mut Conn) {
        conn.stop_reading(id, code);
        self.blocked.retain(|kept| kept.stream != id);
        self.reread.retain(|other| *other != id);
        if self.cursor.as_ref().is_some_and(|cursor| cursor.stream == id) {
            self.cursor = None;
        }
        if let Some(h3) = &mut self.h3 {
            // Only unidirectional streams can make this fail, and this is a request.
            let _ = h3.reset(id);
        }
    }

    /// Gets a connection going again that [`Endpoint::next_stuck`] names. Every stream that may be
    /// in quiche's queue without anything to send (all that it had has arrived, and it has not
    /// ended) comes behind the others, as the equal of its like: so quiche goes round them when it
    /// is asked once for each. Each comes back to its place with what it sends next.
    ///
    /// [`Endpoint::next_stuck`]: crate::Endpoint::next_stuck
    pub fn unstick(&mut self, conn: &mut Conn) {
        let mut count = streams::OURS.len();
        for id in streams::OURS {
            let _ = conn.quic().stream_priority(id, u8::MAX, true);
        }
        for (id, stream) in self.streams.begun() {
            let _ = conn.quic().stream_priority(id, u8::MAX, true);
            stream.is_behind = true;
            count += 1;
        }
        conn.ask_again(count);
    }

    /// Sends the pending data of our control, encoder and decoder streams.
    fn send_control(&mut self, conn: &mut Conn) {
        let Some(h3) = &mut self.h3 else { return };
        for (id, bytes) in streams::OURS.into_iter().zip(h3.output()) {
            if !bytes.is_empty()
                && let Ok(sent) = conn.quic().stream_send(id, bytes, false)
            {
                let _ = conn.quic().stream_priority(id, 0, false);
                bytes.drain(..sent);
            }
        }
    }
}

impl Stream {
    /// quiche serves lower numbers first, our own streams have 0 and streams that nobody ranked
    /// 127. Those that a client ranks at the default urgency stand beside the latter.
    fn set_rank(&mut self, id: u64, priority: Option<Priority>, conn: &mut Conn) {
        let (urgency, incremental) = match priority {
            Some(priority) => (124 + priority.urgency.min(7), priority.incremental),
            None => (127, true),
        };
        self.rank = priority;
        self.is_behind = false;
        // A stream that has ended needs none.
        let _ = conn.quic().stream_priority(id, urgency, incremental);
    }
}
