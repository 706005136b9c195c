//! Incoming requests and bodies of HTTP/2 streams.

use ringway_codec::h2::{self, Key};

use super::super::Context;
use super::super::exchange::{self, Begun, Content, abort};
use super::super::output::Output;
use super::super::refusal::{Refusal, check_head, check_request, malformed, request_line};
use super::super::request_body::Sink;
use super::{Http2, io, stream_of};
use crate::app::extensions::Attached;
use crate::app::request::{Origin, Peer, Protocol, Request};

impl Http2 {
    pub(super) fn take(
        &mut self,
        event: h2::Event,
        input: &[u8],
        output: &mut Output,
        cx: &mut Context<'_>,
    ) {
        match event {
            h2::Event::Request(request) => self.begin(&request, output, cx),
            h2::Event::TooLarge { key } => {
                let asked = request_line(&cx.h2.fields, &cx.h2.bytes);
                self.exchanges.note_unread(stream_of(key), self.peer(), &asked, cx);
                self.refuse(key, Refusal::HEAD_TOO_LARGE, output, cx);
            }
            h2::Event::Data { key, at, end } => self.data(key, &input[at], end, output, cx),
            h2::Event::Trailers { key } => {
                let h2::Shared { fields, bytes, .. } = &*cx.h2;
                self.exchanges.receive_trailers(stream_of(key), fields, bytes);
                self.data(key, &[], true, output, cx);
            }
            h2::Event::Reset { key, by_peer, .. } => {
                cx.tally.counters.refused += u64::from(!by_peer);
                self.exchanges.close(stream_of(key), abort::RESET, cx);
            }
            h2::Event::Malformed { stream } => {
                malformed(Protocol::Http2, stream.into(), self.peer(), cx);
            }
            h2::Event::GoAway { .. } | h2::Event::More => {}
        }
    }

    fn begin(&mut self, asked: &h2::Request, output: &mut Output, cx: &mut Context<'_>) {
        let unfit = check_head(&asked.head, cx.limits);
        cx.tally.counters.requests += u64::from(unfit.is_none());
        cx.tally.counters.streams_h2 += 1;
        let (key, line, attached) = (asked.key, asked.head.line(), Attached::default());
        let (fields, origin) = (&cx.h2.fields[asked.head.first..], self.origin(key, output));
        let request = Request::new(&cx.h2.bytes, fields, &line, &attached, origin);
        if cx.h2.config.max_pushes > 0 {
            self.authority.clear();
            self.authority.extend_from_slice(asked.head.authority.of(request.bytes));
        }
        self.exchanges.note(stream_of(key), &request, cx.log.as_deref_mut(), cx.now);
        let refused = unfit.or_else(|| check_request(&request, self.scope.as_deref_mut()));
        if let Some(refusal) = refused {
            return self.refuse(key, refusal, output, cx);
        }
        let content = match asked.end {
            true => Content::None,
            false => Content::Some(asked.head.content_length),
        };
        match exchange::begin(&request, content, cx.app, cx.limits) {
            Begun::Called(reply) => self.take_reply(key, reply, output, cx),
            Begun::Refused(refusal) => self.refuse(key, refusal, output, cx),
            Begun::Buffer(limit) => {
                let sink = Sink::buffer(Box::new(request.to_owned()), limit, cx.now);
                self.exchanges.await_body(stream_of(key), sink, cx);
                self.proceed(asked, output, cx);
            }
            Begun::Stream(channel, reply) => {
                let sink = Sink::channel(channel, cx.now);
                let wanted = sink.is_wanted(&reply);
                self.exchanges.await_body(stream_of(key), sink, cx);
                if wanted {
                    self.proceed(asked, output, cx);
                }
                self.take_reply(key, reply, output, cx);
            }
        }
    }

    /// Sends 100 (Continue) if the client waits for it (RFC 9110 section 10.1.1).
    fn proceed(&mut self, asked: &h2::Request, output: &mut Output, cx: &mut Context<'_>) {
        if asked.head.expects_more() {
            self.conn.inform(asked.key, 100, &mut io(output, cx), |_| {});
        }
    }

    /// Handles received body bytes.
    fn data(
        &mut self,
        key: Key,
        bytes: &[u8],
        end: bool,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) {
        match self.exchanges.receive(stream_of(key), bytes, end, output.id) {
            Ok(0) => {}
            Ok(used) => self.conn.consume(key, used, &mut io(output, cx)),
            Err(refusal) => return self.refuse(key, refusal, output, cx),
        }
        if end && let Some(reply) = self.exchanges.complete(stream_of(key), cx.app) {
            self.take_reply(key, reply, output, cx);
        }
    }

    /// The origin of a stream's request.
    pub(super) fn origin(&self, key: Key, output: &Output) -> Origin {
        Origin {
            protocol: Protocol::Http2,
            secure: self.scope.is_some(),
            certified: self.scope.as_ref().is_some_and(|scope| scope.is_certified()),
            peer: self.peer(),
            owner: stream_of(key).owner(output.id),
        }
    }

    fn peer(&self) -> Peer {
        Peer::Socket(self.socket)
    }
}
