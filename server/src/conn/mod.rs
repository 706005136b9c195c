//! A TCP connection as a pure machine: events in, operations out.
//!
//! [`Conn::on`] takes what happened, [`Conn::flush`] gathers what is to be sent; both leave the
//! operations they want in [`Cx::ops`]. No socket, ring or clock is touched here, so every race of
//! completions is replayed in tests from a seed.

pub(crate) mod h1;
mod head;
mod incoming;
pub(crate) mod link;
mod outgoing;

use ringway_codec::Time;
use ringway_codec::field::Field;
use ringway_codec::h1::request;
use ringway_codec::scan::{Backend, PAD};

use crate::config::Limits;
use crate::executor::Executor;
use crate::handler::Handler;
use crate::pool::Pool;
use crate::request::Peer;
use crate::response::Response;
use crate::ring::send::Pinned;
use crate::ring::token::Id;
use link::Link;

/// What a connection wants done.
#[derive(Debug)]
pub(crate) enum Op {
    /// Receive.
    Recv,
    /// Send these bytes, then those that lie elsewhere.
    Send(Vec<u8>, Option<Pinned>),
    /// Cancel the receive that is under way.
    Pause,
    /// Cancel everything that is under way.
    Cancel,
    /// Send FIN.
    Finish,
    /// Let the close that follows be a reset.
    Reset,
}

/// What happened to a connection.
pub(crate) enum Event<'a> {
    /// Bytes came: `bytes` and [`PAD`] readable ones behind them.
    Received { bytes: &'a mut [u8], more: bool },
    /// Receiving ended: the peer is done (0), or an errno.
    Ended { errno: i32, more: bool },
    /// The kernel took what was to be sent.
    Sent(Vec<u8>),
    /// The kernel refused to send: the peer is gone.
    Unsent(Vec<u8>),
    /// A cancellation is through.
    Cancelled,
    /// The connection's deadline may have passed; so much did the peer acknowledge.
    Deadline { acknowledged: u32 },
    /// A handler answered.
    Reply(Response),
    /// A pipe has moved.
    Nudge,
    /// The server wants to stop.
    Drain,
}

/// What a connection may use of its worker, for the time of one event.
pub(crate) struct Cx<'w> {
    pub(crate) now: Time,
    pub(crate) limits: &'w Limits,
    pub(crate) head_limits: request::Limits,
    pub(crate) backend: Backend,
    pub(crate) app: &'w dyn Handler,
    /// The lines that every response carries: server and date.
    pub(crate) common: &'w [u8],
    pub(crate) draining: bool,
    pub(crate) fields: &'w mut Vec<Field>,
    pub(crate) pool: &'w mut Pool,
    pub(crate) executor: &'w mut Executor,
    pub(crate) ops: &'w mut Vec<(Id, Op)>,
    pub(crate) dirty: &'w mut Vec<Id>,
    pub(crate) counters: &'w mut Counters,
}

/// What a worker counts of its connections.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) slow_readers: u64,
    pub(crate) slow_bodies: u64,
    pub(crate) slow_heads: u64,
}

/// A connection.
pub(crate) struct Conn {
    link: Link,
    proto: h1::Http1,
}

impl Conn {
    /// A connection that was just accepted.
    pub(crate) fn new(id: Id, peer: Peer, cx: &mut Cx<'_>) -> Self {
        let mut link = Link::new(id);
        link.steer_receiving(cx);
        Self { link, proto: h1::Http1::new(peer, cx.now) }
    }

    /// Takes an event.
    pub(crate) fn on(&mut self, event: Event<'_>, cx: &mut Cx<'_>) {
        match event {
            Event::Received { bytes, more } => {
                self.link.received(more);
                self.receive(bytes, cx);
            }
            Event::Ended { errno, more } => {
                self.link.received(more);
                self.end(errno, cx);
            }
            Event::Sent(buffer) => {
                self.link.sent(buffer, cx);
                self.link.mark(cx);
            }
            Event::Unsent(buffer) => {
                self.link.sent(buffer, cx);
                self.abandon(cx);
            }
            Event::Cancelled => self.link.cancelled(),
            Event::Deadline { acknowledged } => self.expire(acknowledged, cx),
            Event::Reply(response) => {
                self.proto.reply(response, &mut self.link, cx);
                self.link.mark(cx);
            }
            Event::Nudge => self.link.mark(cx),
            Event::Drain => self.proto.drain(&mut self.link, cx),
        }
        self.link.steer_receiving(cx);
    }

    /// Produces what can be produced and hands it to the kernel: once a turn.
    pub(crate) fn flush(&mut self, cx: &mut Cx<'_>) {
        loop {
            self.proto.pull(&mut self.link, cx);
            // A response that is complete lets the next request in, which may have come already.
            if !self.use_kept(cx) {
                break;
            }
        }
        if self.link.ended && self.proto.is_idle() {
            self.link.close(false, cx);
        }
        self.link.flush(cx);
        self.link.steer_receiving(cx);
    }

    /// When the connection wants to hear that time has passed.
    pub(crate) fn deadline(&self, limits: &Limits) -> Time {
        self.link.deadline(limits.rate_grace).unwrap_or_else(|| self.proto.deadline(limits))
    }

    /// True when nothing is under way any more and the descriptor can be closed.
    pub(crate) fn is_over(&self) -> bool {
        self.link.is_over()
    }

    /// True while the peer has bytes to take.
    pub(crate) fn is_sending(&self) -> bool {
        self.link.is_sending()
    }

    /// Frees what the connection holds of its worker, before it is dropped.
    pub(crate) fn abandon(&mut self, cx: &mut Cx<'_>) {
        self.proto.abandon(cx);
        self.link.close_now(cx);
    }

    /// One line for a person: what the connection is doing.
    pub(crate) fn describe(&self) -> &'static str {
        if self.link.is_closing() { "closing" } else { self.proto.describe() }
    }

    fn receive(&mut self, bytes: &mut [u8], cx: &mut Cx<'_>) {
        let len = bytes.len() - PAD;
        if self.link.is_closing() {
            return;
        }
        if self.link.kept() > 0 {
            self.link.keep(&bytes[..len], cx);
            self.use_kept(cx);
            return;
        }
        let used = self.proto.advance(bytes, &mut self.link, cx);
        self.link.keep(&bytes[used..len], cx);
    }

    /// Works on input that was kept; true if some of it was used.
    fn use_kept(&mut self, cx: &mut Cx<'_>) -> bool {
        if self.link.kept() == 0 {
            return false;
        }
        let spill = self.link.take_kept();
        let used = self.proto.advance(&spill, &mut self.link, cx);
        self.link.put_back(spill, used, cx);
        used > 0
    }

    fn end(&mut self, errno: i32, cx: &mut Cx<'_>) {
        match errno {
            // Out of buffers, or cancelled to make the peer wait: to be armed again when there is
            // room.
            libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
            0 => {
                self.link.ended = true;
                self.proto.end_of_input(&mut self.link, cx);
                self.link.mark(cx);
            }
            _ => self.abandon(cx),
        }
    }

    fn expire(&mut self, acknowledged: u32, cx: &mut Cx<'_>) {
        if cx.now < self.deadline(cx.limits) {
            return;
        }
        if self.link.deadline(cx.limits.rate_grace).is_some() {
            self.link.expire(acknowledged, cx);
            if self.link.is_closing() {
                self.proto.abandon(cx);
            }
        } else {
            self.proto.expire(&mut self.link, cx);
        }
    }
}
