//! What clients ask on their streams: requests to handlers, bodies to whoever reads them.

use http::StatusCode;
use ringway_codec::h2::{self, Key};

use super::super::Cx;
use super::super::exchange::Sink;
use super::super::output::Link;
use super::super::tls_io;
use super::{Http2, stream_number, turn};
use crate::app::body::RequestBody;
use crate::app::body_channel::{BodyChannel, End};
use crate::app::extensions::Attached;
use crate::app::handler::{BodyMode, Reply};
use crate::app::request::{Origin, Peer, Protocol, Request};
use crate::rt::executor::Owner;

impl Http2 {
    pub(super) fn take(
        &mut self,
        event: h2::Event,
        input: &[u8],
        link: &mut Link,
        cx: &mut Cx<'_>,
    ) {
        match event {
            h2::Event::Request(request) => self.begin(&request, link, cx),
            h2::Event::TooLarge { key } => {
                cx.tally.counters.refused += 1;
                let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                self.respond(key, status.into(), link, cx);
            }
            h2::Event::Data { key, at, end } => self.data(key, &input[at], end, link, cx),
            h2::Event::Trailers { key } => {
                if let Some(exchange) = self.exchange_of(key)
                    && let Some(Sink::Channel { channel, .. }) = &exchange.sink
                {
                    for field in &cx.h2.fields {
                        let bytes = &cx.h2.bytes;
                        channel.add_trailer(field.name(bytes), field.value(bytes));
                    }
                }
                self.data(key, &[], true, link, cx);
            }
            h2::Event::Reset { key, .. } => self.close(key, "the stream was reset", cx),
            h2::Event::GoAway { .. } | h2::Event::More => {}
        }
    }

    fn begin(&mut self, asked: &h2::Request, link: &mut Link, cx: &mut Cx<'_>) {
        cx.tally.counters.requests += 1;
        cx.tally.counters.streams_h2 += 1;
        let app = cx.app;
        let line = asked.head.line();
        let attached = Attached::default();
        let (fields, origin) = (&cx.h2.fields[asked.head.first..], self.origin(asked.key, link));
        let request = Request::new(&cx.h2.bytes, fields, &line, &attached, origin);
        let refusal = tls_io::refusal(&request, self.cover.as_deref_mut());
        if cx.h2.config.max_pushes > 0 {
            self.authority.clear();
            self.authority.extend_from_slice(asked.head.authority.of(request.bytes));
        }
        if let Some(log) = cx.log.as_mut() {
            let entry = log.begin_stream(&request, asked.key.id().into(), cx.now);
            self.open(asked.key, cx.now).entry = Some(entry);
        }
        if let Some(status) = refusal {
            return self.respond(asked.key, tls_io::refused(status), link, cx);
        }
        if asked.end {
            let reply = app.call(&request);
            return self.take_reply(asked.key, reply, link, cx);
        }
        let limit = match app.body_mode(&request) {
            BodyMode::Buffer => cx.limits.body_bytes,
            BodyMode::BufferUpTo(limit) => limit,
            BodyMode::Stream => {
                let channel = BodyChannel::default();
                attached.stream.set(Some(RequestBody::new(channel.clone())));
                let reply = app.call(&request);
                drop(attached.stream.take());
                self.await_body(asked.key, Sink::Channel { channel, read: 0, written: 0 }, cx);
                if asked.head.expects_more() && matches!(reply, Reply::Later(_)) {
                    self.conn.inform(asked.key, 100, &mut turn(link, cx), |_| {});
                }
                return self.take_reply(asked.key, reply, link, cx);
            }
        };
        if asked.head.content_length.is_some_and(|length| length > limit) {
            return self.respond(asked.key, StatusCode::PAYLOAD_TOO_LARGE.into(), link, cx);
        }
        let request = Box::new(request.to_owned());
        self.await_body(asked.key, Sink::Buffer { request, limit }, cx);
        if asked.head.expects_more() {
            self.conn.inform(asked.key, 100, &mut turn(link, cx), |_| {});
        }
    }

    /// Body bytes came.
    fn data(&mut self, key: Key, bytes: &[u8], end: bool, link: &mut Link, cx: &mut Cx<'_>) {
        let Some(exchange) = self.exchange_of(key) else {
            return self.conn.consume(key, bytes.len(), &mut turn(link, cx));
        };
        let taken = exchange.receive(bytes, end, link.id);
        let Ok(used) = taken else {
            return self.respond(key, StatusCode::PAYLOAD_TOO_LARGE.into(), link, cx);
        };
        let sink = if end { exchange.sink.take() } else { None };
        if used > 0 {
            self.conn.consume(key, used, &mut turn(link, cx));
        }
        match sink {
            Some(Sink::Buffer { request, .. }) => {
                let reply = cx.app.call(&request.view());
                self.take_reply(key, reply, link, cx);
            }
            Some(Sink::Channel { channel, .. }) => channel.finish(End::Complete),
            None => {}
        }
    }

    /// Where what is asked on a stream comes from.
    pub(super) fn origin(&self, key: Key, link: &Link) -> Origin {
        Origin {
            protocol: Protocol::Http2,
            secure: self.cover.is_some(),
            peer: Peer::Socket(self.socket),
            owner: Owner { conn: link.id, stream: stream_number(key) },
        }
    }

    pub(super) fn begin_entry(&mut self, key: Key, request: &Request<'_>, cx: &mut Cx<'_>) {
        if let Some(log) = cx.log.as_mut() {
            let entry = log.begin_stream(request, key.id().into(), cx.now);
            self.open(key, cx.now).entry = Some(entry);
        }
    }
}
