//! HTTP/1.1 and HTTP/1.0 on a connection (RFC 9112): sequential requests, answers in order.
//!
//! A request is parsed where its bytes lie and answered into the gathered output; pipelined ones
//! follow in the same turn until the output's bound is reached. What does not fit this fast path
//! (a body that is not all there, an answer that comes later, a body that flows) has a box.

pub(super) mod head;
mod request_body;
mod requests;
mod response_body;
mod responses;

use std::os::fd::RawFd;

use http::{HeaderValue, StatusCode};
use ringway_codec::Time;
use ringway_codec::h1::request::Resume;
use ringway_codec::h1::response as write;

use super::exchange::abort;
use super::output::Output;
use super::refusal::Refusal;
use super::response_body::Pulled;
use super::tls_io::CertificateScope;
use super::upgrade::Upgrade;
use super::{CommonKind, Context};
use crate::app::request::Request;
use crate::app::response::Response;
use crate::config::Limits;
use crate::observe::log::Entry;
use crate::ring::token::Id;
use crate::rt::executor::TaskOwner;

/// The HTTP/1 state of a connection. Small, because idle connections keep it.
pub(crate) struct Http1 {
    socket: RawFd,
    secure: bool,
    /// The client has shown a certificate.
    certified: bool,
    extra: Option<Box<Extra>>,
    resume: Resume,
    incoming: Option<Box<request_body::IncomingBody>>,
    outgoing: Outgoing,
    exchange: Exchange,
    /// When the connection became idle, the current head began to arrive, or work on the current
    /// request began.
    since: Time,
}

/// The current answer, unless it is already written.
#[derive(Default)]
enum Outgoing {
    /// No answer.
    #[default]
    None,
    /// A task of the executor will answer.
    Waiting(Id),
    /// Its body is being produced.
    Body(Box<response_body::OutgoingBody>),
}

/// State that most connections do not need.
#[derive(Default)]
struct Extra {
    /// Over TLS: the certificate's names.
    scope: Option<Box<CertificateScope>>,
    /// The request that asked for HTTP/2.
    upgrade: Option<Box<Upgrade>>,
    /// The access log line of the current request.
    entry: Option<Box<Entry>>,
    /// The client speaks without TLS on a TLS port, and is refused.
    misplaced: bool,
    /// The connection closes after the next answer.
    last: bool,
}

impl Extra {
    /// Which common fields the responses carry: see [`Context::common`].
    fn kind(&self) -> CommonKind {
        self.scope.as_ref().map_or(CommonKind::CLEAR, |scope| scope.kind)
    }

    /// As [`Http1::fast_path`], over TLS: the request is for a host of the certificate's.
    fn fast_path(&mut self, request: &Request<'_>) -> Option<CommonKind> {
        let is_plain = self.upgrade.is_none() && self.entry.is_none();
        let is_fast = is_plain && !self.misplaced && !self.last;
        let scope = self.scope.as_deref_mut().filter(|_| is_fast)?;
        let is_in_scope = !scope.is_misdirected(request.authority_bytes()?);
        is_in_scope.then_some(scope.kind)
    }
}

/// Properties of the current request that affect the answer.
#[derive(Clone, Copy, Default)]
struct Exchange {
    /// Part of the next request's head has arrived.
    partial: bool,
    /// The answer's head is written.
    answered: bool,
    /// The method was HEAD.
    head_only: bool,
    /// The version was 1.0.
    old: bool,
    /// The HTTP/1.0 client asked for a persistent connection.
    keep_alive: bool,
    /// The connection closes after the answer.
    close: bool,
    /// The client may still be sending at that time.
    linger: bool,
    /// The answer's status, once known.
    status: StatusCode,
}

impl Http1 {
    pub(crate) fn new(socket: RawFd, secure: bool, now: Time) -> Self {
        Self {
            socket,
            secure,
            certified: false,
            extra: None,
            resume: Resume::default(),
            incoming: None,
            outgoing: Outgoing::None,
            exchange: Exchange::default(),
            since: now,
        }
    }

    /// Sets the names that the connection's certificate covers.
    pub(crate) fn set_scope(&mut self, scope: Option<Box<CertificateScope>>) {
        self.certified = scope.as_ref().is_some_and(|scope| scope.is_certified());
        self.extra.get_or_insert_default().scope = scope;
    }

    /// Marks the client as speaking without TLS on a TLS port.
    pub(crate) fn set_misplaced(&mut self) {
        self.extra.get_or_insert_default().misplaced = true;
    }

    pub(crate) fn is_misplaced(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.misplaced)
    }

    /// Closes the connection after the next answer.
    pub(crate) fn set_last(&mut self) {
        self.extra.get_or_insert_default().last = true;
    }

    /// Starts the head's deadline: part of a request's head has arrived.
    pub(crate) fn awaits_head(&mut self, cx: &Context<'_>) {
        if !std::mem::replace(&mut self.exchange.partial, true) {
            self.since = cx.now;
        }
    }

    /// The request that asked for HTTP/2, if the upgrade takes place.
    pub(crate) fn take_upgrade(&mut self) -> Option<Box<Upgrade>> {
        self.extra.as_mut()?.upgrade.take()
    }

    /// Sends a handler's early hints before its answer (RFC 8297).
    pub(crate) fn hint(
        &mut self,
        links: &[HeaderValue],
        output: &mut Output,
        cx: &mut Context<'_>,
    ) {
        if self.exchange.old || !matches!(self.outgoing, Outgoing::Waiting(_)) {
            return;
        }
        let out = output.buffer(cx);
        write::status_line(out, 103);
        for value in links {
            write::field(out, b"link", value.as_bytes());
        }
        write::end(out);
    }

    /// True when there is neither a request nor an answer in progress.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.incoming.is_none() && matches!(self.outgoing, Outgoing::None)
    }

    /// Since when there has been no request, not even part of one.
    pub(crate) fn idle_since(&self) -> Option<Time> {
        (self.is_idle() && !self.exchange.partial).then_some(self.since)
    }

    pub(crate) fn describe(&self) -> &'static str {
        match (&self.incoming, &self.outgoing) {
            (Some(_), _) => "receiving a body",
            (None, Outgoing::Waiting(_)) => "waiting for a handler",
            (None, Outgoing::Body(_)) => "sending a body",
            (None, Outgoing::None) if self.exchange.partial => "receiving a head",
            (None, Outgoing::None) => "idle",
        }
    }

    /// True when the current body can only continue with more input from the peer.
    fn is_starved(&self) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| !incoming.sink.is_full())
    }

    /// A handler has answered.
    pub(crate) fn reply(&mut self, response: Response, output: &mut Output, cx: &mut Context<'_>) {
        if matches!(self.outgoing, Outgoing::Waiting(_)) {
            self.outgoing = Outgoing::None;
            self.respond(response, output, cx);
        }
    }

    /// The handler gives no answer: closes once earlier answers are sent.
    pub(crate) fn hang_up(&mut self, output: &mut Output, cx: &mut Context<'_>) {
        if matches!(self.outgoing, Outgoing::Waiting(_)) {
            cx.tally.counters.refused += 1;
            self.abandon(abort::HUNG_UP, cx);
            output.close(false, cx);
        }
    }

    /// Moves a producer's data into the output, up to the output's limit.
    pub(crate) fn pull(&mut self, output: &mut Output, cx: &mut Context<'_>) {
        let Outgoing::Body(body) = &mut self.outgoing else { return };
        let mut sent = 0;
        let pulled = body.pull(&mut sent, output, cx);
        if let Some(entry) = self.entry() {
            entry.produced(sent);
        }
        match pulled {
            Pulled::More | Pulled::Pending => {}
            Pulled::End | Pulled::Trailers => {
                self.outgoing = Outgoing::None;
                self.settle(output, cx);
            }
            Pulled::Broken => {
                self.log(abort::BROKEN, cx);
                self.abandon(abort::ENDED, cx);
                output.reset(cx);
            }
        }
    }

    /// The connection's next deadline.
    pub(crate) fn deadline(&self, limits: &Limits) -> Time {
        match (&self.incoming, &self.outgoing) {
            (Some(incoming), _) => incoming.sink.due(limits),
            (None, Outgoing::Waiting(_) | Outgoing::Body(_)) => Time::NEVER,
            (None, Outgoing::None) if self.exchange.partial => self.since + limits.header_timeout,
            (None, Outgoing::None) => self.since + limits.idle_timeout,
        }
    }

    /// A deadline has passed.
    pub(crate) fn expire(&mut self, output: &mut Output, cx: &mut Context<'_>) {
        if let Some(incoming) = &mut self.incoming {
            if incoming.sink.is_slow(self.exchange.answered, cx.now, cx.limits) {
                cx.tally.counters.slow_bodies += 1;
                self.refuse(Refusal::BODY_TOO_SLOW, output, cx);
            }
        } else if self.exchange.partial {
            self.refuse_slow_head(output, cx);
        } else {
            output.close(false, cx);
        }
    }

    /// No more input comes, and all of it is used. If the connection `failed`, nothing is waited
    /// for.
    pub(crate) fn finish(&mut self, failed: bool, output: &mut Output, cx: &mut Context<'_>) {
        if !self.is_idle() && (failed || self.is_starved()) {
            // Answers to earlier requests are still sent. A partial answer must not look complete.
            let cut = matches!(self.outgoing, Outgoing::Body(_)) && !failed;
            self.abandon(abort::ENDED, cx);
            if cut {
                return output.reset(cx);
            }
        }
        if self.is_idle() {
            output.close(failed, cx);
        }
    }

    /// Drains: an idle connection closes, a busy one after the current answer.
    pub(crate) fn drain(&mut self, output: &mut Output, cx: &mut Context<'_>) {
        if self.is_idle() && !self.exchange.partial {
            output.close(false, cx);
        }
    }

    /// Drops the current exchange, because the connection is gone.
    pub(crate) fn abandon(&mut self, why: &'static str, cx: &mut Context<'_>) {
        self.stop(cx);
        self.log(why, cx);
    }

    /// Stops the tasks of the current exchange.
    fn stop(&mut self, cx: &mut Context<'_>) {
        if let Some(incoming) = self.incoming.take() {
            incoming.sink.abort();
        }
        match std::mem::take(&mut self.outgoing) {
            Outgoing::None => {}
            Outgoing::Waiting(task) => cx.executor.cancel(task),
            Outgoing::Body(body) => body.source.stop(cx.executor),
        }
    }

    /// The owner of the current exchange's tasks and channels.
    fn owner(output: &Output) -> TaskOwner {
        TaskOwner { conn: output.id, stream: 0 }
    }

    fn entry(&mut self) -> Option<&mut Entry> {
        self.extra.as_mut()?.entry.as_deref_mut()
    }
}
