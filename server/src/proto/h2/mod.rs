//! HTTP/2 on a connection: the codec's state machine between the gathered output and the handlers.
//! What comes on its streams is the business of `asked`, what goes out on them that of `answer`.
//!
//! An answer that is ready goes out in the call that brought its request; what comes later, or does
//! not fit the windows, has an exchange until its stream ends. DATA is pulled when the turn
//! flushes.

mod answer;
mod asked;

use std::os::fd::RawFd;
use std::time::Duration;

use http::StatusCode;
use ringway_codec::Time;
use ringway_codec::h2::{self, Key, Pulled};
use ringway_codec::scan::PAD;

use super::Cx;
use super::exchange::{Exchange, Exchanges, Given, Sink};
use super::output::Link;
use super::tls_io::{Cover, LEND_MIN};
use super::upgrade::Upgrade;
use crate::app::request::Protocol;
use crate::config::{Limits, Trace};
use crate::rt::executor::Owner;

/// How long a client that has sent GOAWAY and has no stream open may take to close.
const LEAVING: Duration = Duration::from_secs(1);

/// Octets of content that follow a 101 before the client has answered it with its preface: curl
/// before 8 gives up on more than 32 KiB in one read there.
const AHEAD: usize = 16 * 1024;

/// HTTP/2's state on a connection.
pub(crate) struct Http2 {
    conn: h2::Conn,
    socket: RawFd,
    /// Over TLS: the names of the certificate.
    cover: Option<Box<Cover>>,
    /// The authority that pushes are promised for: the one that was asked last.
    authority: Vec<u8>,
    exchanges: Exchanges<Key>,
    /// Exchanges whose last byte went out in the pull at hand.
    #[expect(clippy::vec_box, reason = "they are boxed already, and only passed on")]
    finished: Vec<Box<Exchange<Key>>>,
    /// After an upgrade: what may still go out before the client has said anything.
    ahead: Option<usize>,
    /// Since when no stream has been open.
    since: Time,
    /// When too little of a body may have come.
    bodies_due: Time,
}

impl Http2 {
    /// A connection whose client begins with the preface.
    pub(crate) fn new(
        socket: RawFd,
        cover: Option<Box<Cover>>,
        link: &mut Link,
        cx: &mut Cx<'_>,
    ) -> Self {
        trace_from_here(link, cx);
        let conn = h2::Conn::new(&mut turn(link, cx));
        Self::of(conn, socket, cover, cx)
    }

    /// A connection that a request in HTTP/1.1 has upgraded; that request is answered first.
    pub(crate) fn upgraded(
        upgrade: Upgrade,
        socket: RawFd,
        link: &mut Link,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let Upgrade { mut request, settings } = upgrade;
        trace_from_here(link, cx);
        let no_body = request.method() == http::Method::HEAD;
        let made = h2::Conn::upgraded(&settings, no_body, &mut turn(link, cx));
        let Ok((conn, key)) = made else {
            link.close(true, cx);
            return None;
        };
        let mut http = Self::of(conn, socket, None, cx);
        http.ahead = Some(AHEAD);
        request.move_to(Owner { conn: link.id, stream: stream_number(key) }, Protocol::Http2);
        http.begin_entry(key, &request.view(), cx);
        let reply = cx.app.call(&request.view());
        http.take_reply(key, reply, link, cx);
        Some(http)
    }

    fn of(conn: h2::Conn, socket: RawFd, cover: Option<Box<Cover>>, cx: &Cx<'_>) -> Self {
        Self {
            conn,
            socket,
            cover,
            authority: Vec::new(),
            exchanges: Exchanges::default(),
            finished: Vec::new(),
            ahead: None,
            since: cx.now,
            bodies_due: Time::NEVER,
        }
    }

    /// Uses as much of the input as can be used now; returns how much.
    pub(crate) fn advance(&mut self, whole: &[u8], link: &mut Link, cx: &mut Cx<'_>) -> usize {
        let input = &whole[..whole.len() - PAD];
        let mut at = 0;
        link.output(cx);
        while !link.is_closing() {
            if link.gathered() >= cx.limits.output_bytes {
                return at;
            }
            match self.conn.receive(input, &mut at, &mut turn(link, cx)) {
                Ok(h2::Event::More) => {
                    if at > 0 {
                        self.ahead = None;
                    }
                    self.since = cx.now;
                    self.settle(link, cx);
                    return at;
                }
                Ok(event) => self.take(event, input, link, cx),
                Err(error) => {
                    self.fail(&error, link, cx);
                    return input.len();
                }
            }
        }
        input.len()
    }

    /// True when no stream is open.
    pub(crate) fn is_idle(&self) -> bool {
        self.conn.is_idle()
    }

    /// Since when no stream has been open.
    pub(crate) fn idle_since(&self) -> Option<Time> {
        (self.is_idle() && !self.conn.is_done()).then_some(self.since)
    }

    /// Ends the connection, which is idle, for others that need the room. The client is told, and
    /// its answer is not waited for.
    pub(crate) fn shed(&mut self, link: &mut Link, cx: &mut Cx<'_>) {
        if self.is_idle() {
            link.output(cx);
            self.conn.close(h2::Code::NO_ERROR, "idle while others wait", &mut turn(link, cx));
            link.close(false, cx);
        }
    }

    /// When the connection wants to hear that time has passed.
    pub(crate) fn deadline(&self, limits: &Limits) -> Time {
        let idle = self.conn.is_idle().then(|| self.since + self.patience(limits));
        let own = self.conn.deadline();
        own.into_iter().chain(idle).min().unwrap_or(Time::NEVER).min(self.bodies_due)
    }

    /// A deadline has passed.
    pub(crate) fn expire(&mut self, link: &mut Link, cx: &mut Cx<'_>) {
        link.output(cx);
        loop {
            match self.conn.expire(&mut turn(link, cx)) {
                Ok(Some(event)) => self.take(event, &[], link, cx),
                Ok(None) => break,
                Err(error) => return self.fail(&error, link, cx),
            }
        }
        if cx.now >= self.bodies_due {
            self.bodies_due = self.refuse_slow_bodies(link, cx);
        }
        if self.conn.is_idle() && cx.now >= self.since + self.patience(cx.limits) {
            self.conn.close(h2::Code::NO_ERROR, "idle", &mut turn(link, cx));
        }
        self.settle(link, cx);
    }

    /// Answers 408 where too little of a body came; says when to look again.
    fn refuse_slow_bodies(&mut self, link: &mut Link, cx: &mut Cx<'_>) -> Time {
        loop {
            match self.exchanges.slow_body(cx.now, cx.limits) {
                Err(next) => return next,
                Ok(key) => {
                    cx.tally.counters.slow_bodies += 1;
                    if let Some(exchange) = self.exchange_of(key) {
                        exchange.give_up_body(cx.executor);
                    }
                    self.respond(key, StatusCode::REQUEST_TIMEOUT.into(), link, cx);
                }
            }
        }
    }

    /// How long the connection may be without a stream. A client that has said that it leaves is to
    /// close it, and is not waited for long.
    fn patience(&self, limits: &Limits) -> Duration {
        if self.conn.peer_leaves() { limits.idle_timeout.min(LEAVING) } else { limits.idle_timeout }
    }

    /// The server stops: the client is told, and what it sent before it knew is answered.
    pub(crate) fn drain(&mut self, link: &mut Link, cx: &mut Cx<'_>) {
        link.output(cx);
        self.conn.drain(&mut turn(link, cx));
    }

    /// No more is taken from the client, and all it sent is used: what it asked is still answered,
    /// as far as that goes without it. After it `failed` nothing is waited for.
    pub(crate) fn finish(&mut self, failed: bool, link: &mut Link, cx: &mut Cx<'_>) {
        while failed && let Some(exchange) = self.exchanges.take_unwritten() {
            self.conn.reset(exchange.key, h2::Code::CANCEL, &mut turn(link, cx));
            exchange.end("the connection ended", cx);
        }
        while let Some(event) = self.conn.expect_no_more(&mut turn(link, cx)) {
            self.take(event, &[], link, cx);
        }
        if self.conn.is_idle() {
            self.abandon(cx);
            link.close(failed, cx);
        } else if self.ahead.take().is_some() {
            link.mark(cx);
        }
    }

    /// A channel has moved: there is something to send, or the handler has read.
    pub(crate) fn nudge(&mut self, stream: u64, link: &mut Link, cx: &mut Cx<'_>) {
        link.output(cx);
        let Some(exchange) = self.exchanges.get(stream) else { return };
        let (key, read) = (exchange.key, exchange.take_read(link.id));
        if read > 0 {
            self.conn.consume(key, read, &mut turn(link, cx));
        }
        self.conn.wake(key, &mut turn(link, cx));
    }

    /// Has the scheduler take DATA into the output, up to its bound.
    pub(crate) fn pull(&mut self, link: &mut Link, cx: &mut Cx<'_>) {
        while self.conn.wants_output() && !link.is_closing() {
            link.output(cx);
            let before = link.gathered();
            let room = cx.limits.output_bytes.saturating_sub(before);
            let room = room.min(self.ahead.unwrap_or(usize::MAX));
            if room == 0 {
                return;
            }
            let (exchanges, finished, id) = (&mut self.exchanges, &mut self.finished, link.id);
            let (lends, splices) = (self.cover.is_some(), &mut link.splices);
            let mut turn = h2::Turn { shared: cx.h2, out: &mut link.out, now: cx.now };
            let pulled = self.conn.output(room, &mut turn, |key, max, out, aside| {
                let number = stream_number(key);
                let Some(exchange) = exchanges.get(number) else {
                    return Pulled::Abort(h2::Code::INTERNAL_ERROR);
                };
                let (given, piece) = exchange.pull(max, id);
                if let Some(piece) = piece {
                    if lends && piece.len() >= LEND_MIN {
                        *aside += piece.len();
                        splices.get_or_insert_default().push(out.len(), piece);
                    } else {
                        out.extend_from_slice(piece.bytes());
                    }
                }
                if matches!(given, Given::End | Given::Broken) {
                    finished.extend(exchanges.take(number));
                }
                match given {
                    Given::More => Pulled::More,
                    Given::Pending => Pulled::Pending,
                    Given::End => Pulled::End,
                    Given::Trailers => Pulled::Trailers,
                    Given::Broken => Pulled::Abort(h2::Code::INTERNAL_ERROR),
                }
            });
            if let Some(ahead) = &mut self.ahead {
                *ahead = ahead.saturating_sub(link.gathered() - before);
            }
            while let Some(exchange) = self.finished.pop() {
                let (status, started) = (exchange.status, exchange.started);
                cx.tally.answered(Protocol::Http2, status, started, cx.now);
                exchange.end("", cx);
            }
            match pulled {
                Ok(Some(key)) => self.trailers(key, link, cx),
                Ok(None) => break,
                Err(error) => return self.fail(&error, link, cx),
            }
        }
        self.settle(link, cx);
    }

    /// Refuses a client that speaks HTTP/2 without TLS on a port for TLS.
    pub(crate) fn refuse_cleartext(&mut self, link: &mut Link, cx: &mut Cx<'_>) {
        cx.tally.counters.refused += 1;
        let why = "this port speaks TLS";
        self.conn.close(h2::Code::INADEQUATE_SECURITY, why, &mut turn(link, cx));
        self.settle(link, cx);
    }

    /// Drops every exchange: the connection is gone.
    pub(crate) fn abandon(&mut self, cx: &mut Cx<'_>) {
        self.exchanges.abandon(cx);
    }

    /// Gives back what an idle connection does not need.
    pub(crate) fn rest(&mut self) {
        if self.conn.is_idle() {
            self.conn.trim();
            self.exchanges.trim();
        }
    }

    /// The peer broke the connection's rules: GOAWAY is written, what it asked for is dropped.
    fn fail(&mut self, error: &h2::Error, link: &mut Link, cx: &mut Cx<'_>) {
        if let Some(trace) = &cx.trace {
            trace.failed(link.id, Trace::H2, error);
        }
        cx.tally.counters.refused += 1;
        self.abandon(cx);
        link.close(true, cx);
    }

    fn settle(&mut self, link: &mut Link, cx: &mut Cx<'_>) {
        if self.conn.is_done() {
            self.abandon(cx);
            link.close(true, cx);
        }
    }

    /// A body is to come on the stream, and where to.
    fn await_body(&mut self, key: Key, sink: Sink, cx: &Cx<'_>) {
        self.bodies_due = self.bodies_due.min(cx.now + cx.limits.rate_grace);
        self.open(key, cx.now).sink = Some(sink);
    }

    fn open(&mut self, key: Key, now: Time) -> &mut Exchange<Key> {
        self.exchanges.open(key, stream_number(key), now)
    }

    fn exchange_of(&mut self, key: Key) -> Option<&mut Exchange<Key>> {
        self.exchanges.get(stream_number(key))
    }

    fn close(&mut self, key: Key, why: &'static str, cx: &mut Cx<'_>) {
        if let Some(exchange) = self.exchanges.take(stream_number(key)) {
            exchange.end(why, cx);
        }
    }
}

/// What is written from now on is HTTP/2.
fn trace_from_here(link: &mut Link, cx: &mut Cx<'_>) {
    let written = link.output(cx).len();
    if let Some(trace) = &mut cx.trace {
        trace.begin_h2(link.id, written, cx.backend);
    }
}

fn turn<'a>(link: &'a mut Link, cx: &'a mut Cx<'_>) -> h2::Turn<'a> {
    h2::Turn { shared: cx.h2, out: &mut link.out, now: cx.now }
}

/// A stream's number for tasks and channels.
fn stream_number(key: Key) -> u64 {
    Exchanges::<Key>::number(key.id().into(), key.slot())
}
