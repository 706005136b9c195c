//! Outgoing responses of HTTP/2 streams: hints, promises, heads and bodies.

use http::HeaderValue;
use ringway_codec::field::Known;
use ringway_codec::h2::{self, Key};
use ringway_codec::hpack::Indexing;

use super::super::exchange::{self, Place, Sent, abort};
use super::super::output::{COPY_MAX, Output};
use super::super::refusal::Refusal;
use super::super::tls_io::LEND_MIN;
use super::super::{CommonKind, Context};
use super::{Http2, io, stream_of};
use crate::app::extensions::Attached;
use crate::app::handler::Reply;
use crate::app::request::Request;
use crate::app::response::{Body, Response};

impl Http2 {
    /// A handler has answered.
    pub(crate) fn reply(
        &mut self,
        stream: u64,
        response: Response,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) {
        let Some(stream) = self.exchanges.replied(stream) else { return };
        self.respond(stream.key, response, output, cx);
        self.settle(output, cx);
    }

    /// Sends a handler's early hints before its answer (RFC 8297).
    pub(crate) fn hint(
        &mut self,
        stream: u64,
        links: &[HeaderValue],
        output: &mut Output,
        cx: &mut Context<'_>,
    ) {
        let Some(stream) = self.exchanges.find(stream) else { return };
        output.buffer(cx);
        self.conn.inform(stream.key, 103, &mut io(output, cx), |head| {
            for value in links {
                head.field(Known::Link, b"", value.as_bytes());
            }
        });
    }

    /// The handler gives no answer: resets the stream.
    pub(crate) fn hang_up(&mut self, stream: u64, output: &mut Output, cx: &mut Context<'_>) {
        let Some(stream) = self.exchanges.find(stream) else { return };
        cx.tally.counters.refused += 1;
        output.buffer(cx);
        self.exchanges.close(stream, abort::HUNG_UP, cx);
        self.conn.reset(stream.key, h2::Code::CANCEL, &mut io(output, cx));
        self.settle(output, cx);
    }

    pub(super) fn take_reply(
        &mut self,
        key: Key,
        reply: Reply,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) {
        if let Some(response) = self.exchanges.settle(stream_of(key), reply, output.id, cx) {
            self.respond(key, response, output, cx);
        }
    }

    pub(super) fn refuse(
        &mut self,
        key: Key,
        refusal: Refusal,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) {
        let response = refusal.answer(cx.tally);
        self.respond(key, response, output, cx);
    }

    fn respond(
        &mut self,
        key: Key,
        mut response: Response,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) {
        output.buffer(cx);
        // Pushes are promised before the answer that refers to them, and answered after it.
        let Some(pushes) = response.pushes.take() else {
            return self.answer(key, response, output, cx);
        };
        let promised = self.promise(key, &pushes, output, cx);
        self.answer(key, response, output, cx);
        for (key, reply) in promised {
            self.take_reply(key, reply, output, cx);
        }
    }

    /// Promises a response's pushes and calls their handlers.
    fn promise(
        &mut self,
        parent: Key,
        paths: &[String],
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> Vec<(Key, Reply)> {
        let scheme: &[u8] = if self.scope.is_some() { b"https" } else { b"http" };
        let mut promised = Vec::new();
        for path in paths {
            let (authority, path) = (&self.authority, path.as_bytes());
            let pushed = self.conn.push(parent, scheme, authority, path, &mut io(output, cx));
            let Some(asked) = pushed else { continue };
            cx.tally.counters.pushes += 1;
            cx.tally.counters.streams_h2 += 1;
            let (line, attached) = (asked.head.line(), Attached::default());
            let fields = &cx.h2.fields[asked.head.first..];
            let origin = self.origin(asked.key, output);
            let request = Request::new(&cx.h2.bytes, fields, &line, &attached, origin);
            promised.push((asked.key, cx.app.call(&request)));
        }
        promised
    }

    fn answer(
        &mut self,
        key: Key,
        mut response: Response,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) {
        let (common, id) =
            cx.common(self.scope.as_ref().map_or(CommonKind::CLEAR, |scope| scope.kind));
        let length = response.body.len();
        let body = match &response.body {
            Body::Stream(_) => h2::Body::Later,
            body => self.offer(body.bytes(), output, cx),
        };
        let mut io = h2::Io { shared: cx.h2, out: &mut output.out, now: cx.now };
        let status = response.status.as_u16();
        let sent = self.conn.respond(key, status, body, &mut io, |head| {
            head.cached(id << 2, |head| common.field_lines().for_each(|line| head.line(line)));
            if let Some(shared) = &response.shared {
                head.cached(shared.id(), |head| shared.iter().for_each(|line| head.line(line)));
            }
            let mut digits = [0; 20];
            let lines = exchange::lines(&response, length, Indexing::Auto, &mut digits);
            lines.for_each(|line| head.line(line));
        });
        let sent = match sent {
            h2::Sent::All => Sent::All,
            h2::Sent::Lent => {
                output.lend(std::mem::take(&mut response.body).pin());
                Sent::All
            }
            h2::Sent::Queued => {
                self.rank(key, &response);
                output.mark(cx);
                Sent::Queued
            }
            h2::Sent::Gone => Sent::Gone,
        };
        self.exchanges.answered(stream_of(key), response, (sent, length), output.id, cx);
    }

    /// How the codec gets a complete body: copied, sealed without a prior copy, or pulled.
    fn offer<'b>(&self, bytes: &'b [u8], output: &Output, cx: &Context<'_>) -> h2::Body<'b> {
        let fits = output.gathered() + bytes.len() <= cx.limits.output_bytes;
        match bytes.len() {
            len if len > COPY_MAX || !fits => h2::Body::Pull,
            len if len >= LEND_MIN && self.scope.is_some() => h2::Body::Lent(len),
            _ => h2::Body::Whole(bytes),
        }
    }

    fn rank(&mut self, key: Key, response: &Response) {
        match exchange::rank(response, self.conn.priority_of(key)) {
            Some(Place::Stated(priority)) => self.conn.prioritise(key, priority),
            Some(Place::Usual(priority)) => self.conn.suggest_priority(key, priority),
            None => {}
        }
    }

    pub(super) fn trailers(&mut self, key: Key, output: &mut Output, cx: &mut Context<'_>) {
        let fields = self.exchanges.take_trailers(stream_of(key), cx);
        self.conn.trailers(key, &mut io(output, cx), |head| {
            for (name, value) in &fields {
                head.field(Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes());
            }
        });
    }
}
