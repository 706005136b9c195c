//! A TCP connection as a pure machine: events in, operations out.
//!
//! [`Conn::received`], [`Conn::sent`] and [`Conn::on`] take what happened, [`Conn::flush`] gives
//! what is to be sent; all leave the other operations they want in [`Cx::ops`]. No socket, ring or
//! clock is touched here, so every race of completions is replayed in tests from a seed.

pub(crate) mod exchange;
mod h1;
mod h2;
mod head;
mod incoming;
pub(crate) mod link;
mod outgoing;
mod secure;
#[cfg(test)]
mod tests;
mod upgrade;

use std::os::fd::RawFd;
use std::time::Duration;

use http::HeaderValue;
use ringway_codec::Time;
use ringway_codec::field::{Field, Known};
use ringway_codec::h1::request;
use ringway_codec::scan::{Backend, PAD};

pub(crate) use head::{Heads, is_bodiless};

use crate::config::Limits;
use crate::config::Trace;
use crate::executor::Executor;
use crate::handler::Handler;
use crate::log::Log;
use crate::metrics::Tally;
use crate::pool::Pool;
use crate::response::Response;
use crate::ring::token::Id;
use crate::tls::{Alpn, Session, Version};
use crate::trace::{Tracer, Way};
use h1::Http1;
use h2::Http2;
use link::{Gathered, Link};
pub(crate) use secure::Cover;
use secure::{Opened, Secure};
use upgrade::Upgrade;

/// What a connection wants done.
#[derive(Debug)]
pub(crate) enum Op {
    /// Receive.
    Recv,
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
pub(crate) enum Event {
    /// Receiving ended: the peer is done (0), or an errno.
    Ended { errno: i32, more: bool },
    /// The kernel refused to send: the peer is gone.
    Unsent(Vec<u8>),
    /// A cancellation is through.
    Cancelled,
    /// The connection's deadline may have passed; so much did the peer acknowledge.
    Deadline { acknowledged: u32 },
    /// The handler of a stream answered.
    Reply { stream: u64, response: Response },
    /// The handler of a stream has hints to send ahead of its answer.
    Hint { stream: u64, links: Vec<HeaderValue> },
    /// A stream's pipe has moved.
    Nudge { stream: u64 },
    /// The server wants to stop.
    Drain,
}

/// What a connection may use of its worker, for the time of one event.
pub(crate) struct Cx<'w> {
    pub(crate) now: Time,
    /// No deadline of HTTP/1 that begins now is nearer.
    pub(crate) soon: Time,
    pub(crate) limits: &'w Limits,
    pub(crate) head_limits: request::Limits,
    pub(crate) backend: Backend,
    pub(crate) app: &'w dyn Handler,
    /// See [`Cx::common`].
    pub(crate) common: &'w [Common],
    pub(crate) second: u64,
    pub(crate) heads: &'w mut Heads,
    pub(crate) draining: bool,
    /// Whether HTTP/1.1 requests may upgrade to HTTP/2.
    pub(crate) h2c_upgrade: bool,
    pub(crate) fields: &'w mut Vec<Field>,
    pub(crate) scratch: &'w mut Vec<u8>,
    pub(crate) h2: &'w mut ringway_codec::h2::Shared,
    pub(crate) pool: &'w mut Pool,
    pub(crate) executor: &'w mut Executor,
    pub(crate) ops: &'w mut Vec<(Id, Op)>,
    pub(crate) dirty: &'w mut Vec<Id>,
    pub(crate) tally: &'w mut Tally,
    /// The access log, if there is one.
    pub(crate) log: Option<&'w mut Log>,
    /// Who shows what is said, if that is wanted.
    pub(crate) trace: Option<&'w mut Tracer>,
}

/// The kind of connection that is in the clear: see [`Cx::common`].
pub(crate) const CLEAR: u8 = 0;
/// Over TLS, and told nothing of HTTP/3; those that are told something are behind it.
pub(crate) const OVER_TLS: u8 = 1;

/// What every response of a kind of connection carries: server and date, and over TLS the policy to
/// come back over TLS alone (RFC 6797 section 7.1: also on refusals) and what there is to say of
/// HTTP/3 (Alt-Svc, RFC 7838).
#[derive(Default)]
pub(crate) struct Common {
    /// As HTTP/1.1 writes it.
    pub(crate) lines: Vec<u8>,
    /// Field by field.
    pub(crate) fields: Vec<(Known, Vec<u8>)>,
}

impl<'w> Cx<'w> {
    /// What every response of a connection carries that was told `alt`, and a number that stands
    /// for it.
    pub(crate) fn common(&self, alt: u8) -> (&'w Common, u64) {
        (&self.common[usize::from(alt)], self.second << 8 | u64::from(alt))
    }

    /// True while nothing is to be said of requests and answers but to those who asked.
    fn is_quiet(&self) -> bool {
        self.log.is_none() && self.trace.is_none() && !self.draining
    }
}

/// A connection.
pub(crate) struct Conn {
    link: Link,
    secure: Option<Box<Secure>>,
    proto: Proto,
    socket: RawFd,
    /// Nothing has been received yet: an HTTP/2 client may still say that it is one.
    fresh: bool,
    /// It has been counted among the connections of its protocol.
    counted: bool,
    rested: bool,
    since: Time,
}

/// What a connection speaks.
enum Proto {
    H1(Http1),
    H2(Box<Http2>),
}

/// How a connection begins: what its listener speaks.
pub(crate) enum Arrival {
    /// HTTP/1.1, or HTTP/2 where the client begins with its preface.
    Http,
    /// HTTP/2 alone.
    H2c,
    /// TLS, and then what was negotiated. What its clients are told of HTTP/3: see [`Cx::common`].
    Tls(Box<Session>, u8),
}

/// How an HTTP/2 client begins (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// After so long without a sign of the peer a connection gives back what it can.
const REST: Duration = Duration::from_secs(1);

impl Conn {
    /// A connection that was just accepted.
    pub(crate) fn new(id: Id, socket: RawFd, arrival: Arrival, cx: &mut Cx<'_>) -> Self {
        let mut link = Link::new(id);
        link.steer_receiving(cx);
        let (secure, proto) = match arrival {
            Arrival::Http => (None, Proto::H1(Http1::new(socket, false, cx.now))),
            Arrival::H2c => (None, Proto::H2(Box::new(Http2::new(socket, None, &mut link, cx)))),
            Arrival::Tls(session, alt) => {
                let secure = Some(Box::new(Secure::new(*session, alt)));
                (secure, Proto::H1(Http1::new(socket, true, cx.now)))
            }
        };
        let fresh = secure.is_none() && matches!(proto, Proto::H1(_));
        Self { link, secure, proto, socket, fresh, counted: false, rested: true, since: cx.now }
    }

    /// Bytes came: `bytes` ends in [`PAD`] readable ones that do not count. `more` says whether the
    /// receive goes on by itself.
    pub(crate) fn received(&mut self, bytes: &mut [u8], more: bool, cx: &mut Cx<'_>) {
        self.link.received(more);
        if !self.link.is_closing() {
            self.since = cx.now;
            self.rested = false;
            self.receive(bytes, cx);
        }
        // A flush ends with the same.
        if !self.link.dirty {
            self.link.steer_receiving(cx);
        }
    }

    /// The kernel took what was to be sent; its buffer comes back.
    #[inline]
    pub(crate) fn sent(&mut self, buffer: Vec<u8>, cx: &mut Cx<'_>) {
        self.link.sent(buffer, cx);
        if self.has_more_to_do() {
            self.link.mark(cx);
        }
    }

    /// Takes any other event.
    pub(crate) fn on(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::Ended { errno, more } => {
                self.link.received(more);
                self.end(errno, cx);
            }
            Event::Unsent(buffer) => {
                self.link.sent(buffer, cx);
                self.abandon(cx);
            }
            Event::Cancelled => self.link.cancelled(),
            Event::Deadline { acknowledged } => self.expire(acknowledged, cx),
            Event::Reply { stream, response } => {
                match &mut self.proto {
                    Proto::H1(http) => http.reply(response, &mut self.link, cx),
                    Proto::H2(http) => http.reply(stream, response, &mut self.link, cx),
                }
                self.link.mark(cx);
            }
            Event::Hint { stream, links } => {
                match &mut self.proto {
                    Proto::H1(http) => http.hint(&links, &mut self.link, cx),
                    Proto::H2(http) => http.hint(stream, &links, &mut self.link, cx),
                }
                self.link.mark(cx);
            }
            Event::Nudge { stream } => {
                if let Proto::H2(http) = &mut self.proto {
                    http.nudge(stream, &mut self.link, cx);
                }
                self.link.mark(cx);
            }
            Event::Drain => match &mut self.proto {
                Proto::H1(http) => http.drain(&mut self.link, cx),
                Proto::H2(http) => http.drain(&mut self.link, cx),
            },
        }
        self.link.steer_receiving(cx);
    }

    /// Produces what can be produced, and gives what is to be sent: once a turn.
    #[inline(always)]
    pub(crate) fn flush(&mut self, cx: &mut Cx<'_>) -> Option<Gathered> {
        if !self.is_at_rest() {
            self.work(cx);
        }
        let gathered = self.link.flush(self.secure.as_deref_mut(), cx);
        self.link.steer_receiving(cx);
        gathered
    }

    /// True when a flush is to hand over what is gathered and nothing else.
    #[inline]
    fn is_at_rest(&self) -> bool {
        let idle = matches!(&self.proto, Proto::H1(http) if http.is_idle());
        idle && self.link.kept() == 0 && !self.link.ended
    }

    /// Goes on with what is under way.
    fn work(&mut self, cx: &mut Cx<'_>) {
        loop {
            match &mut self.proto {
                Proto::H1(http) => http.pull(&mut self.link, cx),
                Proto::H2(http) => http.pull(&mut self.link, cx),
            }
            // A response that is complete lets the next request in, which may have come already.
            if !self.use_kept(cx) {
                break;
            }
        }
        if self.link.ended {
            self.finish(cx);
        }
    }

    /// True when no deadline of the connection's begins nearer than [`Cx::soon`].
    #[inline]
    pub(crate) fn is_patient(&self) -> bool {
        matches!(self.proto, Proto::H1(_))
    }

    /// When the connection wants to hear that time has passed.
    pub(crate) fn deadline(&self, limits: &Limits) -> Time {
        if let Some(own) = self.link.deadline(limits.rate_grace) {
            return own;
        }
        if self.is_handshaking() {
            return self.since + limits.handshake_timeout;
        }
        let due = match &self.proto {
            Proto::H1(http) => http.deadline(limits),
            Proto::H2(http) => http.deadline(limits),
        };
        if self.rested { due } else { due.min(self.since + REST) }
    }

    /// True when nothing is under way any more and the descriptor can be closed.
    pub(crate) fn is_over(&self) -> bool {
        self.link.is_over()
    }

    /// True once everything under way is being cancelled.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.link.is_cut_off()
    }

    /// True while the peer has bytes to take.
    pub(crate) fn is_sending(&self) -> bool {
        self.link.is_sending()
    }

    /// True when a flush would do anything, now that a send is through.
    #[inline]
    fn has_more_to_do(&self) -> bool {
        let idle = match &self.proto {
            Proto::H1(http) => http.is_idle(),
            // The scheduler knows; asking it is the flush.
            Proto::H2(_) => false,
        };
        !idle || self.secure.is_some() || self.link.has_more_to_do()
    }

    /// True when the turn will end with a flush of this connection, after which it is looked at
    /// again.
    pub(crate) fn is_dirty(&self) -> bool {
        self.link.dirty
    }

    /// Cuts the connection off, and frees what it holds of its worker.
    pub(crate) fn abandon(&mut self, cx: &mut Cx<'_>) {
        match &mut self.proto {
            Proto::H1(http) => http.abandon(cx),
            Proto::H2(http) => http.abandon(cx),
        }
        self.link.close_now(cx);
    }

    /// Counts the connection among those that are closed.
    pub(crate) fn count_closed(&self, cx: &mut Cx<'_>) {
        if self.counted {
            match &self.proto {
                Proto::H1(_) => cx.tally.counters.closed_h1 += 1,
                Proto::H2(_) => cx.tally.counters.closed_h2 += 1,
            }
        }
    }

    /// One line for a person: what the connection is doing.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.proto {
            _ if self.link.is_closing() => "closing",
            _ if self.is_handshaking() => "in the handshake",
            Proto::H1(http) => http.describe(),
            Proto::H2(http) if http.is_idle() => "idle (h2)",
            Proto::H2(_) => "busy (h2)",
        }
    }

    fn is_handshaking(&self) -> bool {
        self.secure.as_ref().is_some_and(|secure| secure.session.is_handshaking())
    }

    #[inline]
    fn receive(&mut self, bytes: &mut [u8], cx: &mut Cx<'_>) {
        match self.secure.take() {
            None => self.use_input(bytes, cx),
            Some(secure) => self.receive_records(secure, bytes, cx),
        }
    }

    fn receive_records(&mut self, mut secure: Box<Secure>, bytes: &mut [u8], cx: &mut Cx<'_>) {
        let len = bytes.len() - PAD;
        match secure.complete(&bytes[..len]) {
            None => self.open_records(&mut secure, bytes, cx),
            Some(mut whole) => {
                self.open_records(&mut secure, &mut whole, cx);
                cx.pool.give(whole);
            }
        }
        self.secure = Some(secure);
    }

    /// Opens the records of `whole` and works on what is in them.
    fn open_records(&mut self, secure: &mut Secure, whole: &mut [u8], cx: &mut Cx<'_>) {
        let len = whole.len() - PAD;
        let mut at = 0;
        while !self.link.is_closing() {
            let from = at;
            let opened = secure.open(whole, &mut at, cx);
            if let Some(trace) = &cx.trace {
                // The header is left as it came.
                trace.records(self.link.id, Way::In, &whole[from..at]);
            }
            match opened {
                // Behind a record's plaintext stand its tag and the pad of the whole.
                Ok(Opened::Plain(range)) => {
                    self.use_input(&whole[range.start..range.end + PAD], cx);
                }
                Ok(Opened::Established) => {
                    if let Some(log) = &mut cx.log {
                        log.secured(self.link.id, &secure.session);
                    }
                    if let Some(trace) = &cx.trace {
                        trace.established(self.link.id, &secure.session);
                    }
                    count_handshake(&secure.session, cx);
                    let cover = Some(Box::new(Cover::new(secure.session.names(), secure.alt)));
                    if secure.session.alpn() == Some(Alpn::H2) {
                        let http = Http2::new(self.socket, cover, &mut self.link, cx);
                        self.proto = Proto::H2(Box::new(http));
                    } else if let Proto::H1(http) = &mut self.proto {
                        http.set_cover(cover);
                    }
                }
                Ok(Opened::Closed) => {
                    self.link.ended = true;
                    break;
                }
                Ok(Opened::Nothing) => {}
                Ok(Opened::More) => {
                    secure.keep(&whole[at..len], cx);
                    break;
                }
                Err(error) => {
                    if let Some(trace) = &cx.trace {
                        trace.failed(self.link.id, Trace::Tls, &error);
                    }
                    cx.tally.counters.tls_errors += 1;
                    self.abandon_streams(cx);
                    self.link.close(true, cx);
                }
            }
        }
        if secure.has_output() {
            self.link.mark(cx);
        }
    }

    /// Works on plaintext, and keeps what cannot be used yet.
    #[inline]
    fn use_input(&mut self, bytes: &[u8], cx: &mut Cx<'_>) {
        let len = bytes.len() - PAD;
        if self.link.kept() > 0 {
            self.link.keep(&bytes[..len], cx);
            self.use_kept(cx);
            return;
        }
        let used = self.advance(bytes, cx);
        if used < len {
            self.link.keep(&bytes[used..len], cx);
        }
    }

    /// Works on input that was kept; true if some of it was used.
    fn use_kept(&mut self, cx: &mut Cx<'_>) -> bool {
        if self.link.kept() == 0 {
            return false;
        }
        let spill = self.link.take_kept();
        let used = self.advance(&spill, cx);
        self.link.put_back(spill, used, cx);
        used > 0
    }

    #[inline]
    fn advance(&mut self, whole: &[u8], cx: &mut Cx<'_>) -> usize {
        if !self.counted && !self.begin(whole, cx) {
            return 0;
        }
        let http = match &mut self.proto {
            Proto::H2(http) => {
                let used = http.advance(whole, &mut self.link, cx);
                if let Some(trace) = &mut cx.trace {
                    trace.octets(self.link.id, Way::In, &whole[..used]);
                }
                return used;
            }
            Proto::H1(http) => http,
        };
        let used = http.advance(whole, &mut self.link, cx);
        match http.take_upgrade() {
            None => used,
            Some(upgrade) => self.upgrade(*upgrade, whole, used, cx),
        }
    }

    /// Tells from the first bytes which protocol it is; false while they are too few.
    fn begin(&mut self, whole: &[u8], cx: &mut Cx<'_>) -> bool {
        if self.fresh {
            let input = &whole[..whole.len() - PAD];
            let n = input.len().min(PREFACE.len());
            if input[..n] == PREFACE[..n] && n > 0 {
                if n < PREFACE.len() {
                    return false;
                }
                let http = Http2::new(self.socket, None, &mut self.link, cx);
                self.proto = Proto::H2(Box::new(http));
            }
            self.fresh = false;
        }
        self.counted = true;
        match &self.proto {
            Proto::H1(_) => cx.tally.counters.opened_h1 += 1,
            Proto::H2(_) => cx.tally.counters.opened_h2 += 1,
        }
        true
    }

    /// Goes on in HTTP/2 behind the first `used` bytes; returns how many are used then.
    fn upgrade(&mut self, upgrade: Upgrade, whole: &[u8], used: usize, cx: &mut Cx<'_>) -> usize {
        let (link, socket) = (&mut self.link, self.socket);
        let Some(mut http) = Http2::upgraded(upgrade, socket, link, cx) else { return used };
        cx.tally.counters.closed_h1 += 1;
        cx.tally.counters.opened_h2 += 1;
        let more = http.advance(&whole[used..], link, cx);
        if let Some(trace) = &mut cx.trace {
            trace.octets(link.id, Way::In, &whole[used..used + more]);
        }
        self.proto = Proto::H2(Box::new(http));
        used + more
    }

    fn end(&mut self, errno: i32, cx: &mut Cx<'_>) {
        match errno {
            // Out of buffers, or cancelled to make the peer wait: to be armed again when there is
            // room.
            libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
            0 => {
                self.link.ended = true;
                self.link.mark(cx);
            }
            _ => self.abandon(cx),
        }
    }

    /// The peer sends no more, and what it sent has been used as far as it can be: what it asked is
    /// still answered in HTTP/1; what is not all there never will be.
    fn finish(&mut self, cx: &mut Cx<'_>) {
        match &mut self.proto {
            Proto::H1(http) if http.is_idle() => self.link.close(false, cx),
            Proto::H1(http) if http.is_starved() => {
                http.abandon(cx);
                self.link.close_now(cx);
            }
            Proto::H1(_) => {}
            Proto::H2(http) => {
                http.abandon(cx);
                self.link.close(false, cx);
            }
        }
    }

    fn abandon_streams(&mut self, cx: &mut Cx<'_>) {
        match &mut self.proto {
            Proto::H1(http) => http.abandon(cx),
            Proto::H2(http) => http.abandon(cx),
        }
    }

    fn expire(&mut self, acknowledged: u32, cx: &mut Cx<'_>) {
        if !self.rested && cx.now >= self.since + REST {
            self.rest(cx);
        }
        if cx.now < self.deadline(cx.limits) {
            return;
        }
        if self.link.deadline(cx.limits.rate_grace).is_some() {
            self.link.expire(acknowledged, cx);
            if self.link.is_cut_off() {
                self.abandon_streams(cx);
            }
        } else if self.is_handshaking() {
            cx.tally.counters.slow_handshakes += 1;
            self.link.close_now(cx);
        } else {
            match &mut self.proto {
                Proto::H1(http) => http.expire(&mut self.link, cx),
                Proto::H2(http) => http.expire(&mut self.link, cx),
            }
            self.link.mark(cx);
        }
    }

    /// Gives back what a connection that rests does not need.
    fn rest(&mut self, cx: &mut Cx<'_>) {
        self.rested = true;
        self.link.rest(cx);
        if let Some(secure) = &mut self.secure {
            secure.rest(cx);
        }
        if let Proto::H2(http) = &mut self.proto {
            http.rest();
        }
    }
}

/// How far ahead the nearest deadline of HTTP/1 lies at least when it begins.
pub(crate) fn soonest(limits: &Limits) -> Duration {
    let Limits { header_timeout, idle_timeout, handshake_timeout, rate_grace, .. } = *limits;
    [header_timeout, idle_timeout, handshake_timeout, rate_grace, link::LINGER, REST]
        .into_iter()
        .fold(REST, Duration::min)
}

fn count_handshake(session: &Session, cx: &mut Cx<'_>) {
    let counters = &mut cx.tally.counters;
    *match (session.version(), session.resumed()) {
        (Some(Version::Tls12), false) => &mut counters.tls12_full,
        (Some(Version::Tls12), true) => &mut counters.tls12_resumed,
        (_, false) => &mut counters.tls13_full,
        (_, true) => &mut counters.tls13_resumed,
    } += 1;
}
