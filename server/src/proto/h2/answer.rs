//! What streams are answered: hints, promises, heads, and how a body goes out.

use http::HeaderValue;
use ringway_codec::field::Known;
use ringway_codec::h1::response::decimal;
use ringway_codec::h2::{self, Key, Sent};

use super::super::exchange::Source;
use super::super::output::{COPY_MAX, Link};
use super::super::tls_io::LEND_MIN;
use super::super::{CLEAR, Cx};
use super::{Http2, stream_number, turn};
use crate::app::extensions::Attached;
use crate::app::handler::Reply;
use crate::app::request::{Protocol, Request};
use crate::app::response::is_bodiless;
use crate::app::response::{Body, FieldBlock, Rank, Response};
use crate::rt::executor::{Owner, Work};

impl Http2 {
    /// A handler has answered.
    pub(crate) fn reply(
        &mut self,
        stream: u64,
        response: Response,
        link: &mut Link,
        cx: &mut Cx<'_>,
    ) {
        let Some(exchange) = self.exchanges.get(stream) else { return };
        exchange.task = None;
        let key = exchange.key;
        self.respond(key, response, link, cx);
        self.settle(link, cx);
    }

    /// A handler has hints to send ahead of its answer (RFC 8297).
    pub(crate) fn hint(
        &mut self,
        stream: u64,
        links: &[HeaderValue],
        link: &mut Link,
        cx: &mut Cx<'_>,
    ) {
        let Some(key) = self.exchanges.get(stream).map(|exchange| exchange.key) else { return };
        link.output(cx);
        self.conn.inform(key, 103, &mut turn(link, cx), |head| {
            for value in links {
                head.field(Known::Link, b"", value.as_bytes());
            }
        });
    }

    pub(super) fn take_reply(&mut self, key: Key, reply: Reply, link: &mut Link, cx: &mut Cx<'_>) {
        match reply {
            Reply::Ready(response) => self.respond(key, response, link, cx),
            Reply::Later(future) => {
                let owner = Owner { conn: link.id, stream: stream_number(key) };
                let task = cx.executor.spawn(owner, Work::Reply(future));
                self.open(key, cx.now).task = Some(task);
            }
        }
    }

    pub(super) fn respond(
        &mut self,
        key: Key,
        mut response: Response,
        link: &mut Link,
        cx: &mut Cx<'_>,
    ) {
        link.output(cx);
        // Promised before the answer that refers to them, answered behind it.
        let Some(pushes) = response.pushes.take() else {
            return self.answer(key, response, link, cx);
        };
        let promised = self.promise(key, &pushes, link, cx);
        self.answer(key, response, link, cx);
        for (key, reply) in promised {
            self.take_reply(key, reply, link, cx);
        }
    }

    /// Promises what a response pushes, and has it handled.
    fn promise(
        &mut self,
        parent: Key,
        paths: &[String],
        link: &mut Link,
        cx: &mut Cx<'_>,
    ) -> Vec<(Key, Reply)> {
        let scheme: &[u8] = if self.cover.is_some() { b"https" } else { b"http" };
        let mut promised = Vec::new();
        for path in paths {
            let (authority, path) = (&self.authority, path.as_bytes());
            let pushed = self.conn.push(parent, scheme, authority, path, &mut turn(link, cx));
            let Some(asked) = pushed else { continue };
            cx.tally.counters.pushes += 1;
            cx.tally.counters.streams_h2 += 1;
            let line = asked.head.line();
            let (attached, origin) = (Attached::default(), self.origin(asked.key, link));
            let fields = &cx.h2.fields[asked.head.first..];
            let request = Request::new(&cx.h2.bytes, fields, &line, &attached, origin);
            promised.push((asked.key, cx.app.call(&request)));
        }
        promised
    }

    fn answer(&mut self, key: Key, response: Response, link: &mut Link, cx: &mut Cx<'_>) {
        let (common, id) = cx.common(self.cover.as_ref().map_or(CLEAR, |cover| cover.alt));
        let length = response.body.len();
        let body = match &response.body {
            Body::Stream(_) => h2::Body::Later,
            body => self.offer(body.bytes(), link, cx),
        };
        let mut turn = h2::Turn { shared: cx.h2, out: &mut link.out, now: cx.now };
        let status = response.status.as_u16();
        let sent = self.conn.respond(key, status, body, &mut turn, |head| {
            head.cached(id, |head| {
                for (known, value) in &common.fields {
                    head.field(*known, b"", value);
                }
            });
            if let Some(content_type) = response.content_type {
                head.field(Known::ContentType, b"", content_type.as_bytes());
            }
            for (indexing, known, name, value) in response.blocks().flat_map(FieldBlock::iter) {
                head.field_as(indexing, known, name, value);
            }
            if let (Some(length), false) = (length, is_bodiless(response.status)) {
                // A length that comes again gets a place in the table, others do not.
                let mut digits = [0; 20];
                head.field(Known::ContentLength, b"", decimal(length, &mut digits));
            }
        });
        if let Some(entry) = self.exchange_of(key).and_then(|exchange| exchange.entry.as_mut()) {
            let whole = matches!(sent, Sent::All | Sent::Lent);
            let whole = if whole { length.unwrap_or(0) } else { 0 };
            entry.answer(response.status, whole);
        }
        let started = self.exchange_of(key).map_or(cx.now, |exchange| exchange.started);
        match sent {
            Sent::Queued => {
                self.rank(key, &response);
                let exchange = self.open(key, cx.now);
                exchange.status = response.status;
                exchange.source = Some(source(response.body, key, link, cx));
                link.mark(cx);
            }
            Sent::All | Sent::Lent => {
                if sent == Sent::Lent {
                    link.lend(response.body.pin());
                }
                cx.tally.answered(Protocol::Http2, response.status, started, cx.now);
                self.close(key, "", cx);
            }
            Sent::Gone => self.close(key, "the stream was reset", cx),
        }
    }

    /// How a body that is there goes to the codec: copied, sealed from where it lies, or pulled.
    fn offer<'b>(&self, bytes: &'b [u8], link: &Link, cx: &Cx<'_>) -> h2::Body<'b> {
        let fits = link.gathered() + bytes.len() <= cx.limits.output_bytes;
        match bytes.len() {
            len if len > COPY_MAX || !fits => h2::Body::Pull,
            len if len >= LEND_MIN && self.cover.is_some() => h2::Body::Lent(len),
            _ => h2::Body::Whole(bytes),
        }
    }

    /// Gives a response that has to wait its place: what it says itself, else what the client said,
    /// else what its content type is commonly worth (RFC 9218 section 8).
    fn rank(&mut self, key: Key, response: &Response) {
        match response.rank() {
            Some(Rank::Stated(value)) => {
                let asked = self.conn.priority_of(key).unwrap_or_default();
                self.conn.prioritise(key, asked.updated(value));
            }
            Some(Rank::Usual(priority)) => self.conn.suggest_priority(key, priority),
            None => {}
        }
    }

    pub(super) fn trailers(&mut self, key: Key, link: &mut Link, cx: &mut Cx<'_>) {
        let fields = self.exchange_of(key).map(|exchange| exchange.take_trailers());
        self.conn.trailers(key, &mut turn(link, cx), |head| {
            for (name, value) in fields.iter().flatten() {
                head.field(Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes());
            }
        });
        self.close(key, "", cx);
    }
}

fn source(body: Body, key: Key, link: &Link, cx: &mut Cx<'_>) -> Source {
    let Body::Stream(producer) = body else { return Source::Bytes(body.pin()) };
    Source::start(producer, Owner { conn: link.id, stream: stream_number(key) }, cx)
}
