//! Outgoing responses: heads and bodies go into the gathered output.

use super::super::output::{COPY_MAX, Output};
use super::super::refusal::Refusal;
use super::super::response_body::Source;
use super::super::{CommonKind, Context, Leaving};
use super::head::{self, Connection, Framing};
use super::response_body::OutgoingBody;
use super::{Exchange, Http1, Outgoing};
use crate::app::handler::Reply;
use crate::app::request::{Peer, Protocol, Request};
use crate::app::response::{Body, Response, is_bodiless};
use crate::observe::trace::Way;
use crate::rt::executor::Work;

impl Http1 {
    pub(super) fn dispatch(
        &mut self,
        request: &Request<'_>,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) {
        let reply = cx.app.call(request);
        self.take_reply(reply, output, cx);
    }

    pub(super) fn take_reply(&mut self, reply: Reply, output: &mut Output, cx: &mut Context<'_>) {
        match reply {
            Reply::Ready(response) => self.respond(response, output, cx),
            Reply::Later(future) => {
                let task = cx.executor.spawn(Self::owner(output), Work::Reply(future));
                self.outgoing = Outgoing::Waiting(task);
            }
        }
    }

    /// Answers an ordinary request (HTTP/1.1, persistent) with a complete answer.
    #[inline]
    pub(super) fn answer_at_once(
        response: &Response,
        kind: CommonKind,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) {
        let out = output.buffer(cx);
        let (common, id) = cx.common(kind);
        let (status, length) = (response.status, response.body.bytes().len());
        if !response.has_fields() && !is_bodiless(status) {
            out.extend_from_slice(cx.heads.whole(response, &common.lines, id, length as u64));
        } else {
            let framing = match is_bodiless(status) {
                true => Framing::Bodiless,
                false => Framing::Length(length as u64),
            };
            let common = (&mut *cx.heads, &common.lines[..], id);
            head::append(out, response, framing, Connection::Stays, common);
        }
        if length <= COPY_MAX && !is_bodiless(status) {
            response.body.append_to(out);
        }
        cx.tally.answered(Protocol::Http11, status, cx.now, cx.now);
    }

    /// Drops a written answer; a long body is sent without a copy.
    #[inline]
    pub(super) fn finish_at_once(reply: Reply, output: &mut Output, cx: &mut Context<'_>) {
        match reply {
            Reply::Ready(Response { body, status, .. })
                if body.bytes().len() > COPY_MAX && !is_bodiless(status) =>
            {
                output.pin(body.pin(), cx);
            }
            reply => reply.discard(),
        }
    }

    /// Writes a response, or its beginning if the body is streamed.
    pub(super) fn respond(
        &mut self,
        response: Response,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) {
        if self.incoming.as_ref().is_some_and(|incoming| !incoming.may_be_discarded()) {
            self.incoming = None;
            self.exchange.close = true;
            self.exchange.linger = true;
        }
        let last = self.extra.as_ref().is_some_and(|extra| extra.last);
        let is_leaving = cx.leaving != Leaving::No;
        self.exchange.close |= is_leaving || self.exchange.linger || last;
        let framing = match response.body.len() {
            _ if is_bodiless(response.status) => Framing::Bodiless,
            Some(length) => Framing::Length(length),
            None if self.exchange.old => {
                self.exchange.close = true;
                Framing::UntilClose
            }
            None => Framing::Chunked,
        };
        let connection = match self.exchange {
            Exchange { close: true, .. } => Connection::Closes,
            Exchange { old: true, keep_alive: true, .. } => Connection::KeptAlive,
            _ => Connection::Stays,
        };
        let at = output.buffer(cx).len();
        let kind = self.extra.as_ref().map_or(CommonKind::CLEAR, |extra| extra.kind());
        let (common, id) = cx.common(kind);
        let common = (&mut *cx.heads, &common.lines[..], id);
        head::append(&mut output.out, &response, framing, connection, common);
        if let Some(trace) = &cx.trace {
            trace.head(output.id, Way::Out, &output.out[at..]);
        }
        self.exchange.answered = true;
        self.exchange.status = response.status;
        if cx.log.is_some() {
            self.note(&response, cx);
        }
        if !self.exchange.head_only && framing != Framing::Bodiless {
            self.write_body(response.body, framing, output, cx);
        }
        self.settle(output, cx);
    }

    fn write_body(
        &mut self,
        body: Body,
        framing: Framing,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) {
        match body {
            Body::Stream(producer) => {
                let owner = Self::owner(output);
                let source = Source::start(producer, owner, cx);
                self.outgoing = Outgoing::Body(Box::new(OutgoingBody::new(framing, source, owner)));
            }
            body if body.bytes().len() <= COPY_MAX => body.append_to(&mut output.out),
            body => output.pin(body.pin(), cx),
        }
    }

    /// Refuses the client's input and closes, because the start of its next message is unknown.
    pub(super) fn refuse(&mut self, refusal: Refusal, output: &mut Output, cx: &mut Context<'_>) {
        let response = refusal.answer(cx.tally);
        self.stop(cx);
        if self.exchange.answered {
            // An answer has already begun; a second one would be read as part of it.
            return output.reset(cx);
        }
        self.exchange.close = true;
        self.exchange.linger = true;
        self.respond(response, output, cx);
    }

    /// Refuses a request that reaches no handler; `bytes` are for the log.
    pub(super) fn refuse_unread(
        &mut self,
        refusal: Refusal,
        bytes: &[u8],
        output: &mut Output,
        cx: &mut Context<'_>,
    ) {
        self.begin_unread(bytes, cx);
        match self.is_misplaced() {
            true => self.refuse_cleartext(None, output, cx),
            false => self.refuse(refusal, output, cx),
        }
    }

    /// Refuses a head that did not come in time, whatever it was to be.
    pub(super) fn refuse_slow_head(&mut self, output: &mut Output, cx: &mut Context<'_>) {
        cx.tally.counters.slow_heads += 1;
        self.begin_unread(b"", cx);
        self.refuse(Refusal::HEAD_TOO_SLOW, output, cx);
    }

    /// Begins the exchange of a request that reaches no handler.
    fn begin_unread(&mut self, bytes: &[u8], cx: &mut Context<'_>) {
        self.exchange = Exchange::default();
        self.since = cx.now;
        self.begin_entry_unparsed(bytes, cx);
    }

    /// Refuses a request without TLS on a TLS port, and names the https URL.
    pub(super) fn refuse_cleartext(
        &mut self,
        request: Option<&Request<'_>>,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) {
        let mut why = "this port speaks TLS".to_owned();
        if let Some(request) = request
            && let Some(authority) = request.authority().filter(|authority| !authority.is_empty())
        {
            let path = Some(request.path()).filter(|path| path.starts_with('/')).unwrap_or("/");
            let query = request.query_string().map(|query| format!("?{query}")).unwrap_or_default();
            why = format!("{why}: ask for https://{authority}{path}{query}");
        }
        self.refuse(Refusal::new(400, why), output, cx);
    }

    /// Ends the exchange once both its request and its answer are complete.
    pub(super) fn settle(&mut self, output: &mut Output, cx: &mut Context<'_>) {
        if !self.exchange.answered || !self.is_idle() {
            return;
        }
        if self.exchange.close || cx.leaving == Leaving::Soon {
            output.close(self.exchange.linger, cx);
        }
        let status = std::mem::take(&mut self.exchange).status;
        cx.tally.answered(Protocol::Http11, status, self.since, cx.now);
        self.since = cx.now;
        self.log("", cx);
    }

    /// Starts the access log line of unparsable input.
    pub(super) fn begin_entry_unparsed(&mut self, bytes: &[u8], cx: &mut Context<'_>) {
        if let Some(log) = cx.log.as_mut() {
            let remote = Peer::Socket(self.socket).address();
            let entry = log.begin_unparsed(bytes, "HTTP/1.1", remote, cx.now);
            self.extra.get_or_insert_default().entry = Some(entry);
        }
    }

    /// Records an answer's properties for its access log line.
    fn note(&mut self, response: &Response, cx: &mut Context<'_>) {
        if self.entry().is_none() {
            self.begin_entry_unparsed(b"", cx);
        }
        let Some(entry) = self.entry() else { return };
        let whole = match &response.body {
            Body::Stream(_) => 0,
            body => body.bytes().len() as u64,
        };
        entry.answer(response, whole);
    }

    /// Writes the access log line of the current request, if there is one.
    pub(super) fn log(&mut self, abort: &'static str, cx: &mut Context<'_>) {
        let entry = self.extra.as_mut().and_then(|extra| extra.entry.take());
        if let (Some(log), Some(mut entry)) = (cx.log.as_mut(), entry) {
            entry.abort = abort;
            log.end(entry, cx.now);
        }
    }
}
