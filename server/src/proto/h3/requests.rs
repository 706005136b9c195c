//! Incoming requests and bodies of HTTP/3 streams.

use std::ops::Range;

use ringway_codec::h1::request::Method;
use ringway_quic::http::{self as quic, Early, Key};

use super::super::CommonKind;
use super::super::exchange::{self, Begun, Content, abort};
use super::super::refusal::{Refusal, check_head, check_request, malformed, request_line};
use super::super::request_body::Sink;
use super::super::tls_io::CertificateScope;
use super::{Http3, Io, stream_of};
use crate::app::extensions::Attached;
use crate::app::request::{Origin, Peer, Protocol, Request};
use crate::observe::metrics::Counters;

impl Http3 {
    pub(super) fn take(&mut self, event: quic::Event, io: &mut Io<'_, '_>) {
        match event {
            quic::Event::Request(request) => self.begin(&request, io),
            quic::Event::Refused { key, status } => {
                let (refusal, asked) = match status {
                    408 => {
                        io.cx.tally.counters.slow_heads += 1;
                        (Refusal::HEAD_TOO_SLOW, Vec::new())
                    }
                    _ => {
                        let asked = request_line(&io.shared.h3.fields, &io.shared.h3.bytes);
                        (Refusal::HEAD_TOO_LARGE, asked)
                    }
                };
                let peer = Peer::Address(self.peer);
                self.exchanges.note_unread(stream_of(key), peer, &asked, io.cx);
                self.refuse(key, refusal, io);
            }
            quic::Event::Malformed { stream } => {
                malformed(Protocol::Http3, stream, Peer::Address(self.peer), io.cx);
            }
            quic::Event::Data { key, at } => self.data(key, at, io),
            quic::Event::Trailers { key } => {
                let shared = &io.shared.h3;
                self.exchanges.receive_trailers(stream_of(key), &shared.fields, &shared.bytes);
            }
            quic::Event::End { key } => {
                if let Some(reply) = self.exchanges.complete(stream_of(key), io.cx.app) {
                    self.take_reply(key, reply, io);
                }
            }
            quic::Event::Stalled { key } => {
                io.cx.tally.counters.slow_readers += 1;
                self.exchanges.close(stream_of(key), abort::SLOW, io.cx);
            }
            quic::Event::Reset { key, by_peer, .. } => {
                io.cx.tally.counters.refused += u64::from(!by_peer);
                self.exchanges.close(stream_of(key), abort::RESET, io.cx);
            }
            quic::Event::More => {}
        }
    }

    fn begin(&mut self, asked: &quic::Request, io: &mut Io<'_, '_>) {
        let (key, cx) = (asked.key, &mut *io.cx);
        let unfit = check_head(&asked.head, cx.limits);
        cx.tally.counters.requests += u64::from(unfit.is_none());
        cx.tally.counters.streams_h3 += 1;
        self.since = cx.now;
        let (line, attached) = (asked.head.line(), Attached::default());
        let scope = self.scope.get_or_insert_with(|| {
            let is_certified = io.conn.is_client_verified();
            let names = io.tls.names(io.conn.transport().server_name(), is_certified);
            CertificateScope::new(names, CommonKind::OVER_TLS)
        });
        let origin = Origin {
            protocol: Protocol::Http3,
            secure: true,
            certified: scope.is_certified(),
            peer: Peer::Address(self.peer),
            owner: stream_of(key).owner(io.id),
        };
        let (bytes, fields) = (&io.shared.h3.bytes, &io.shared.h3.fields[asked.head.first..]);
        let request = Request::new(bytes, fields, &line, &attached, origin);
        self.exchanges.note(stream_of(key), &request, cx.log.as_deref_mut(), cx.now);
        let refused = unfit.or_else(|| check_request(&request, Some(scope)));
        let counters = &mut cx.tally.counters;
        if let Some(refusal) = refused.or_else(|| self.refuse_early(asked, counters)) {
            return self.refuse(key, refusal, io);
        }
        let content = match asked.end {
            true => Content::None,
            false => Content::Some(asked.head.content_length),
        };
        match exchange::begin(&request, content, io.cx.app, io.cx.limits) {
            Begun::Called(reply) => self.take_reply(key, reply, io),
            Begun::Refused(refusal) => self.refuse(key, refusal, io),
            Begun::Buffer(limit) => {
                let sink = Sink::buffer(Box::new(request.to_owned()), limit, io.cx.now);
                self.exchanges.await_body(stream_of(key), sink, io.cx);
                self.proceed(asked, io);
            }
            Begun::Stream(channel, reply) => {
                let sink = Sink::channel(channel, io.cx.now);
                let wanted = sink.is_wanted(&reply);
                self.exchanges.await_body(stream_of(key), sink, io.cx);
                if wanted {
                    self.proceed(asked, io);
                }
                self.take_reply(key, reply, io);
            }
        }
    }

    /// Refuses a request in early data that may have side effects, because it may be a replay (RFC
    /// 8470).
    fn refuse_early(&mut self, asked: &quic::Request, counters: &mut Counters) -> Option<Refusal> {
        if asked.early == Early::No {
            return None;
        }
        self.was_early = true;
        let is_safe = matches!(asked.head.method, Method::Get | Method::Head);
        if asked.early == Early::First && is_safe {
            counters.early_taken += 1;
            return None;
        }
        counters.early_refused += 1;
        Some(Refusal::EARLY)
    }

    /// Sends 100 (Continue) if the client waits for it (RFC 9110 section 10.1.1).
    fn proceed(&mut self, asked: &quic::Request, io: &mut Io<'_, '_>) {
        if asked.head.expects_more() {
            self.http.inform(asked.key, 100, io.conn, |_| {});
        }
    }

    /// Handles received body bytes.
    fn data(&mut self, key: Key, at: Range<usize>, io: &mut Io<'_, '_>) {
        match self.exchanges.receive(stream_of(key), io.shared.data(at), false, io.id) {
            Ok(used) => self.http.consume(key, used, io.shared),
            Err(refusal) => self.refuse(key, refusal, io),
        }
    }
}
