//! HTTP/2 on a connection: connects the codec's state machine with the gathered output and the
//! handlers. `requests` handles what streams receive, `responses` what they send.
//!
//! A ready answer is sent in the call that received its request. An answer that comes later, or
//! does not fit the windows, has an exchange until its stream ends. DATA is pulled when the turn
//! flushes.

mod requests;
mod responses;

use std::os::fd::RawFd;
use std::time::Duration;

use ringway_codec::Time;
use ringway_codec::h2::{self, Key};
use ringway_codec::scan::PAD;

use super::exchange::{Exchanges, Stream, abort};
use super::output::Output;
use super::response_body::Pulled;
use super::tls_io::{CertificateScope, LEND_MIN};
use super::upgrade::Upgrade;
use super::{Context, Leaving};
use crate::app::request::Protocol;
use crate::config::{Limits, Trace};

/// Maximum time that a client that has sent GOAWAY may take to close once it has no open streams.
const LEAVING: Duration = Duration::from_secs(1);

/// Maximum number of body octets sent after a 101 before the client has sent its preface. curl
/// before version 8 fails if it reads more than 32 KiB at once there.
const AHEAD: usize = 16 * 1024;

/// HTTP/2's state on a connection.
pub(crate) struct Http2 {
    conn: h2::Conn,
    socket: RawFd,
    /// Over TLS: the certificate's names.
    scope: Option<Box<CertificateScope>>,
    /// The authority for promised pushes: the one requested last.
    authority: Vec<u8>,
    exchanges: Exchanges<Key>,
    /// After an upgrade: octets that may still be sent before the client's preface.
    ahead: Option<usize>,
    /// Since when no stream has been open.
    since: Time,
}

impl Http2 {
    /// A connection on which the client sends the preface first.
    pub(crate) fn new(
        socket: RawFd,
        scope: Option<Box<CertificateScope>>,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> Self {
        trace_from_here(output, cx);
        let conn = h2::Conn::new(&mut io(output, cx));
        let mut http = Self::of(conn, socket, scope, cx);
        if cx.leaving != Leaving::No {
            http.drain(output, cx);
        }
        http
    }

    /// A connection upgraded by an HTTP/1.1 request; that request is answered first.
    pub(crate) fn upgraded(
        upgrade: Upgrade,
        socket: RawFd,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        let Upgrade { mut request, settings } = upgrade;
        trace_from_here(output, cx);
        let no_body = request.method() == http::Method::HEAD;
        let made = h2::Conn::upgraded(&settings, no_body, &mut io(output, cx));
        let Ok((conn, key)) = made else {
            output.close(true, cx);
            return None;
        };
        let mut http = Self::of(conn, socket, None, cx);
        http.ahead = Some(AHEAD);
        let stream = stream_of(key);
        request.move_to(stream.owner(output.id), Protocol::Http2);
        let request = request.view();
        http.exchanges.note(stream, &request, cx.log.as_deref_mut(), cx.now);
        let reply = cx.app.call(&request);
        http.take_reply(key, reply, output, cx);
        Some(http)
    }

    fn of(
        conn: h2::Conn,
        socket: RawFd,
        scope: Option<Box<CertificateScope>>,
        cx: &Context<'_>,
    ) -> Self {
        Self {
            conn,
            socket,
            scope,
            authority: Vec::new(),
            exchanges: Exchanges::new(Protocol::Http2),
            ahead: None,
            since: cx.now,
        }
    }

    /// Consumes as much input as possible now; returns how much.
    pub(crate) fn advance(
        &mut self,
        whole: &[u8],
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> usize {
        let input = &whole[..whole.len() - PAD];
        let mut at = 0;
        output.buffer(cx);
        while !output.is_closing() {
            if output.gathered() >= cx.limits.output_bytes {
                return at;
            }
            match self.conn.receive(input, &mut at, &mut io(output, cx)) {
                Ok(h2::Event::More) => {
                    if at > 0 {
                        self.ahead = None;
                    }
                    self.since = cx.now;
                    self.settle(output, cx);
                    return at;
                }
                Ok(event) => self.take(event, input, output, cx),
                Err(error) => {
                    self.fail(&error, output, cx);
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

    /// Closes the idle connection to make room for others. Sends GOAWAY and does not wait for the
    /// client.
    pub(crate) fn shed(&mut self, output: &mut Output, cx: &mut Context<'_>) {
        if self.is_idle() {
            output.buffer(cx);
            self.conn.close(h2::Code::NO_ERROR, "idle while others wait", &mut io(output, cx));
            output.close(false, cx);
        }
    }

    /// The connection's next deadline.
    pub(crate) fn deadline(&self, limits: &Limits) -> Time {
        let idle = self.conn.is_idle().then(|| self.since + self.patience(limits));
        let own = self.conn.deadline();
        own.into_iter().chain(idle).min().unwrap_or(Time::NEVER).min(self.exchanges.due())
    }

    /// A deadline has passed.
    pub(crate) fn expire(&mut self, output: &mut Output, cx: &mut Context<'_>) {
        output.buffer(cx);
        loop {
            match self.conn.expire(&mut io(output, cx)) {
                Ok(Some(event)) => {
                    cx.tally.counters.slow_readers += 1;
                    self.close(&event, abort::SLOW, cx);
                }
                Ok(None) => break,
                Err(error) => {
                    let late = error.code == h2::Code::ENHANCE_YOUR_CALM;
                    let counters = &mut cx.tally.counters;
                    match error.stream {
                        0 => counters.slow_readers += u64::from(late),
                        _ => counters.slow_heads += u64::from(late),
                    }
                    return self.fail(&error, output, cx);
                }
            }
        }
        while let Some((stream, refusal)) = self.exchanges.next_slow(cx) {
            self.refuse(stream.key, refusal, output, cx);
        }
        if self.conn.is_idle() && cx.now >= self.since + self.patience(cx.limits) {
            self.conn.close(h2::Code::NO_ERROR, "idle", &mut io(output, cx));
        }
        self.settle(output, cx);
    }

    /// Maximum time without a stream. It is short for a client that has sent GOAWAY, which should
    /// close.
    fn patience(&self, limits: &Limits) -> Duration {
        if self.conn.peer_leaves() { limits.idle_timeout.min(LEAVING) } else { limits.idle_timeout }
    }

    /// Drains: sends GOAWAY, and answers what the client sent before it knew.
    pub(crate) fn drain(&mut self, output: &mut Output, cx: &mut Context<'_>) {
        output.buffer(cx);
        self.conn.drain(&mut io(output, cx));
    }

    /// No more input comes, and all of it is used. Requests are still answered, as far as no
    /// further input is needed. If the connection `failed`, nothing is waited for.
    pub(crate) fn finish(&mut self, failed: bool, output: &mut Output, cx: &mut Context<'_>) {
        while failed && let Some(key) = self.exchanges.end_unwritten(cx) {
            self.conn.reset(key, h2::Code::CANCEL, &mut io(output, cx));
        }
        while let Some(event) = self.conn.expect_no_more(&mut io(output, cx)) {
            self.close(&event, abort::ENDED, cx);
        }
        if self.conn.is_idle() {
            self.abandon(abort::ENDED, cx);
            output.close(failed, cx);
        } else if self.ahead.take().is_some() {
            output.mark(cx);
        }
    }

    /// A stream's channel has changed: there is something to send, or the handler has read.
    pub(crate) fn stream_ready(&mut self, stream: u64, output: &mut Output, cx: &mut Context<'_>) {
        output.buffer(cx);
        let Some((key, read)) = self.exchanges.moved(stream, output.id) else { return };
        if read > 0 {
            self.conn.consume(key, read, &mut io(output, cx));
        }
        self.conn.wake(key, &mut io(output, cx));
    }

    /// Lets the scheduler move DATA into the output, up to the output's limit.
    pub(crate) fn pull(&mut self, output: &mut Output, cx: &mut Context<'_>) {
        while self.conn.wants_output() && !output.is_closing() {
            output.buffer(cx);
            let before = output.gathered();
            let room = cx.limits.output_bytes.saturating_sub(before);
            let room = room.min(self.ahead.unwrap_or(usize::MAX));
            if room == 0 {
                return;
            }
            let (exchanges, id) = (&mut self.exchanges, output.id);
            let (lends, splices) = (self.scope.is_some(), &mut output.splices);
            let mut io = h2::Io { shared: cx.h2, out: &mut output.out, now: cx.now };
            let pulled = self.conn.output(room, &mut io, |key, max, out, aside| {
                let (pulled, piece) = exchanges.pull(stream_of(key), max, id);
                match piece {
                    Some(piece) if lends && piece.len() >= LEND_MIN => {
                        *aside += piece.len();
                        splices.get_or_insert_default().push(out.len(), piece);
                    }
                    Some(piece) => out.extend_from_slice(piece.bytes()),
                    None => {}
                }
                match pulled {
                    Pulled::More => h2::Pulled::More,
                    Pulled::Pending => h2::Pulled::Pending,
                    Pulled::End => h2::Pulled::End,
                    Pulled::Trailers => h2::Pulled::Trailers,
                    Pulled::Broken => h2::Pulled::Abort(h2::Code::INTERNAL_ERROR),
                }
            });
            if let Some(ahead) = &mut self.ahead {
                *ahead = ahead.saturating_sub(output.gathered() - before);
            }
            self.exchanges.finish(cx);
            match pulled {
                Ok(Some(key)) => self.trailers(key, output, cx),
                Ok(None) => break,
                Err(error) => return self.fail(&error, output, cx),
            }
        }
        self.settle(output, cx);
    }

    /// Refuses a client that speaks HTTP/2 without TLS on a TLS port.
    pub(crate) fn refuse_cleartext(&mut self, output: &mut Output, cx: &mut Context<'_>) {
        cx.tally.counters.refused += 1;
        let why = "this port speaks TLS";
        self.conn.close(h2::Code::INADEQUATE_SECURITY, why, &mut io(output, cx));
        self.settle(output, cx);
    }

    /// Drops every exchange and logs why.
    pub(crate) fn abandon(&mut self, why: &'static str, cx: &mut Context<'_>) {
        self.exchanges.abandon(why, cx);
    }

    /// Frees memory that an idle connection does not need.
    pub(crate) fn rest(&mut self) {
        if self.conn.is_idle() {
            self.conn.trim();
            self.exchanges.trim();
        }
    }

    /// The peer violated the protocol: GOAWAY was written; drops the connection's exchanges.
    fn fail(&mut self, error: &h2::Error, output: &mut Output, cx: &mut Context<'_>) {
        if let Some(trace) = &cx.trace {
            trace.failed(output.id, Trace::H2, error);
        }
        cx.tally.counters.refused += 1;
        self.abandon(abort::ENDED, cx);
        output.close(true, cx);
    }

    fn settle(&mut self, output: &mut Output, cx: &mut Context<'_>) {
        if self.conn.is_done() {
            self.abandon(abort::ENDED, cx);
            output.close(true, cx);
        }
    }

    /// Ends the exchange of a stream that the codec has closed.
    fn close(&mut self, event: &h2::Event, abort: &'static str, cx: &mut Context<'_>) {
        if let h2::Event::Reset { key, .. } = event {
            self.exchanges.close(stream_of(*key), abort, cx);
        }
    }
}

/// Output from here on is HTTP/2.
fn trace_from_here(output: &mut Output, cx: &mut Context<'_>) {
    let written = output.buffer(cx).len();
    if let Some(trace) = &mut cx.trace {
        trace.begin_h2(output.id, written, cx.backend);
    }
}

fn io<'a>(output: &'a mut Output, cx: &'a mut Context<'_>) -> h2::Io<'a> {
    h2::Io { shared: cx.h2, out: &mut output.out, now: cx.now }
}

/// The stream as tasks and channels identify it.
fn stream_of(key: Key) -> Stream<Key> {
    Stream::new(key, key.id().into(), key.slot())
}
