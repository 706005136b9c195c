//! A TCP connection as a pure machine: events in, operations out.
//!
//! [`Conn::received`], [`Conn::sent`] and [`Conn::on`] take what happened, [`Conn::flush`] gives
//! what is to be sent; all leave the actions they want in [`Context::actions`]. No socket, ring or
//! clock is touched here, so every race of completions is replayed in tests from a seed.

mod input;
#[cfg(test)]
mod tests;

use std::os::fd::RawFd;

use ringway_codec::Time;

use crate::config::Limits;
use crate::proto::h1::Http1;
use crate::proto::h2::Http2;
use crate::proto::output::{Gathered, Output};
use crate::proto::tls_io::TlsIo;
use crate::proto::{CommonKind, Context, Event, REST, abort};
use crate::ring::token::Id;
use crate::tls::Session;

/// A connection.
pub(crate) struct Conn {
    output: Output,
    tls: Option<Box<TlsIo>>,
    proto: Proto,
    socket: RawFd,
    /// Nothing received yet: it may still turn out to be HTTP/2.
    fresh: bool,
    /// Counted as a connection of its protocol.
    counted: bool,
    /// The input is not valid TLS: nothing more is read, and an alert ends the connection.
    failed: bool,
    rested: bool,
    since: Time,
}

/// An idle connection. The smallest in order is closed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Idle {
    /// The client has sent some HTTP.
    pub(crate) has_spoken: bool,
    /// Since when it is idle.
    pub(crate) since: Time,
}

/// The protocol of a connection.
enum Proto {
    H1(Http1),
    H2(Box<Http2>),
}

/// The first protocol of a connection, by its listener.
pub(crate) enum Arrival {
    /// HTTP/1.1, or HTTP/2 where the client begins with its preface.
    Http,
    /// HTTP/2 alone.
    H2c,
    /// TLS, and then what was negotiated.
    Tls(Box<Session>, CommonKind),
}

impl Conn {
    /// A connection that was just accepted.
    pub(crate) fn new(id: Id, socket: RawFd, arrival: Arrival, cx: &mut Context<'_>) -> Self {
        let mut output = Output::new(id);
        output.steer_receiving(cx);
        let (tls, proto) = match arrival {
            Arrival::Http => (None, Proto::H1(Http1::new(socket, false, cx.now))),
            Arrival::H2c => (None, Proto::H2(Box::new(Http2::new(socket, None, &mut output, cx)))),
            Arrival::Tls(session, kind) => {
                let tls = Some(Box::new(TlsIo::new(*session, kind)));
                (tls, Proto::H1(Http1::new(socket, true, cx.now)))
            }
        };
        let fresh = tls.is_none() && matches!(proto, Proto::H1(_));
        let (counted, failed, rested, since) = (false, false, true, cx.now);
        Self { output, tls, proto, socket, fresh, counted, failed, rested, since }
    }

    /// Bytes were received. `bytes` ends with [`PAD`] padding bytes. `more` says whether the
    /// receive continues.
    pub(crate) fn received(&mut self, bytes: &mut [u8], more: bool, cx: &mut Context<'_>) {
        self.output.received(more);
        if !self.output.is_closing() && !self.failed {
            self.since = cx.now;
            self.rested = false;
            self.receive(bytes, cx);
        }
        // Otherwise the flush does the same.
        if !self.output.dirty {
            self.output.steer_receiving(cx);
        }
    }

    /// A send is complete; its buffer comes back.
    #[inline]
    pub(crate) fn sent(&mut self, buffer: Vec<u8>, cx: &mut Context<'_>) {
        self.output.sent(buffer, cx);
        if self.has_more_to_do() {
            self.output.mark(cx);
        }
    }

    /// Handles any other event.
    pub(crate) fn on(&mut self, event: Event, cx: &mut Context<'_>) {
        match event {
            Event::Ended { errno, more } => {
                self.output.received(more);
                self.end(errno, cx);
            }
            Event::SendFailed(buffer) => {
                self.output.sent(buffer, cx);
                self.abandon(cx);
            }
            Event::Cancelled => self.output.cancelled(),
            Event::Deadline { acknowledged } => self.expire(acknowledged, cx),
            Event::Reply { stream, response } => {
                match &mut self.proto {
                    Proto::H1(http) => http.reply(response, &mut self.output, cx),
                    Proto::H2(http) => http.reply(stream, response, &mut self.output, cx),
                }
                self.output.mark(cx);
            }
            Event::Hint { stream, links } => {
                match &mut self.proto {
                    Proto::H1(http) => http.hint(&links, &mut self.output, cx),
                    Proto::H2(http) => http.hint(stream, &links, &mut self.output, cx),
                }
                self.output.mark(cx);
            }
            Event::HangUp { stream } => match &mut self.proto {
                Proto::H1(http) => http.hang_up(&mut self.output, cx),
                Proto::H2(http) => http.hang_up(stream, &mut self.output, cx),
            },
            Event::StreamReady { stream } => {
                if let Proto::H2(http) = &mut self.proto {
                    http.stream_ready(stream, &mut self.output, cx);
                }
                self.output.mark(cx);
            }
            Event::Drain => match &mut self.proto {
                Proto::H1(http) => http.drain(&mut self.output, cx),
                Proto::H2(http) => http.drain(&mut self.output, cx),
            },
            // HTTP/1.1 says so in its next answer; a request may be on its way.
            Event::Leave => {
                if let Proto::H2(http) = &mut self.proto {
                    http.drain(&mut self.output, cx);
                }
            }
            Event::Shed if self.is_handshaking() => self.output.close_now(cx),
            Event::Shed => match &mut self.proto {
                Proto::H1(http) => http.drain(&mut self.output, cx),
                Proto::H2(http) => http.shed(&mut self.output, cx),
            },
        }
        self.output.steer_receiving(cx);
    }

    /// Produces output and returns what is to be sent; once a turn.
    #[inline(always)]
    pub(crate) fn flush(&mut self, cx: &mut Context<'_>) -> Option<Gathered> {
        if !self.is_at_rest() {
            self.work(cx);
        }
        let gathered = self.output.flush(self.tls.as_deref_mut(), cx);
        self.output.steer_receiving(cx);
        gathered
    }

    /// A flush only has to hand over the gathered output.
    #[inline]
    fn is_at_rest(&self) -> bool {
        let idle = matches!(&self.proto, Proto::H1(http) if http.is_idle());
        idle && self.output.kept() == 0 && !self.output.ended && !self.failed
    }

    /// Continues what is under way.
    fn work(&mut self, cx: &mut Context<'_>) {
        loop {
            self.pull(cx);
            // A complete response admits the next request, which may already be here.
            if !self.use_kept(cx) {
                break;
            }
        }
        if self.output.ended || self.failed {
            self.finish(cx);
        }
    }

    /// Pulls response bodies into the output, up to its bound.
    fn pull(&mut self, cx: &mut Context<'_>) {
        match &mut self.proto {
            Proto::H1(http) => http.pull(&mut self.output, cx),
            Proto::H2(http) => http.pull(&mut self.output, cx),
        }
    }

    /// No deadline that this connection arms is nearer than [`Context::soon`].
    #[inline]
    pub(crate) fn is_patient(&self) -> bool {
        matches!(self.proto, Proto::H1(_))
    }

    /// The connection's next deadline.
    pub(crate) fn deadline(&self, limits: &Limits) -> Time {
        if let Some(own) = self.output.deadline(limits.rate_grace) {
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

    /// Whether the connection only waits for the client. A stalled handshake counts as well.
    pub(crate) fn idle(&self) -> Option<Idle> {
        if !self.output.is_quiet() {
            return None;
        }
        if self.is_handshaking() {
            return self.rested.then_some(Idle { has_spoken: false, since: self.since });
        }
        let since = match &self.proto {
            Proto::H1(http) => http.idle_since(),
            Proto::H2(http) => http.idle_since(),
        };
        since.map(|since| Idle { has_spoken: self.counted, since: since.max(self.since) })
    }

    /// True when nothing is under way any more and the descriptor can be closed.
    pub(crate) fn is_over(&self) -> bool {
        self.output.is_over()
    }

    /// True once everything under way is being cancelled.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.output.is_cut_off()
    }

    /// True while the peer has bytes to take.
    pub(crate) fn is_sending(&self) -> bool {
        self.output.is_sending()
    }

    /// True when a flush would do anything, now that a send is through.
    #[inline]
    fn has_more_to_do(&self) -> bool {
        let idle = match &self.proto {
            Proto::H1(http) => http.is_idle(),
            // Only the scheduler knows, and a flush asks it.
            Proto::H2(_) => false,
        };
        !idle || self.tls.is_some() || self.output.has_more_to_do()
    }

    /// The connection will be flushed at the end of the turn, and checked again then.
    pub(crate) fn is_dirty(&self) -> bool {
        self.output.dirty
    }

    /// Cuts the connection off, and frees what it holds of its worker.
    pub(crate) fn abandon(&mut self, cx: &mut Context<'_>) {
        self.abandon_streams(abort::ENDED, cx);
        self.output.close_now(cx);
    }

    /// Counts the connection among those that are closed.
    pub(crate) fn count_closed(&self, cx: &mut Context<'_>) {
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
            _ if self.output.is_closing() => "closing",
            _ if self.is_handshaking() => "in the handshake",
            Proto::H1(http) => http.describe(),
            Proto::H2(http) if http.is_idle() => "idle (h2)",
            Proto::H2(_) => "busy (h2)",
        }
    }

    fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.session.is_handshaking())
    }

    fn end(&mut self, errno: i32, cx: &mut Context<'_>) {
        match errno {
            // Out of buffers, or paused: receiving resumes when there is room.
            libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
            0 => {
                self.output.ended = true;
                self.output.mark(cx);
            }
            _ => self.abandon(cx),
        }
    }

    /// The peer's input is finished and used as far as possible. Complete requests are still
    /// answered, incomplete ones never will be. After a TLS violation only existing answers go out.
    fn finish(&mut self, cx: &mut Context<'_>) {
        // Kept input arrived before the end and still counts.
        if self.output.kept() > 0 && !self.output.has_room(cx) {
            return;
        }
        match &mut self.proto {
            Proto::H1(http) => http.finish(self.failed, &mut self.output, cx),
            Proto::H2(http) => http.finish(self.failed, &mut self.output, cx),
        }
    }

    fn abandon_streams(&mut self, why: &'static str, cx: &mut Context<'_>) {
        match &mut self.proto {
            Proto::H1(http) => http.abandon(why, cx),
            Proto::H2(http) => http.abandon(why, cx),
        }
    }

    fn expire(&mut self, acknowledged: u32, cx: &mut Context<'_>) {
        if !self.rested && cx.now >= self.since + REST {
            self.rest(cx);
        }
        if cx.now < self.deadline(cx.limits) {
            return;
        }
        if self.output.deadline(cx.limits.rate_grace).is_some() {
            self.output.expire(acknowledged, cx);
            if self.output.is_cut_off() {
                self.abandon_streams(abort::SLOW, cx);
            }
        } else if self.is_handshaking() {
            cx.tally.counters.slow_handshakes += 1;
            self.output.close(false, cx);
        } else {
            match &mut self.proto {
                Proto::H1(http) => http.expire(&mut self.output, cx),
                Proto::H2(http) => http.expire(&mut self.output, cx),
            }
            self.output.mark(cx);
        }
    }

    /// Frees memory that an idle connection does not need.
    fn rest(&mut self, cx: &mut Context<'_>) {
        self.rested = true;
        self.output.rest(cx);
        if let Some(tls) = &mut self.tls {
            tls.rest(cx);
        }
        if let Proto::H2(http) = &mut self.proto {
            http.rest();
        }
    }
}
