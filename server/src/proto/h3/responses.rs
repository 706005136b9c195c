//! Outgoing responses of HTTP/3 streams: hints, heads and bodies.

use http::HeaderValue;
use ringway_codec::field::Known;
use ringway_codec::hpack::Indexing;
use ringway_quic::http::{self as quic, Key};

use super::super::CommonKind;
use super::super::exchange::{self, Place, Sent, abort};
use super::super::refusal::Refusal;
use super::{Http3, Io, buf, stream_of};
use crate::app::handler::Reply;
use crate::app::response::{Body, Response};

/// Bodies up to this size are copied after their heads; longer ones are sent without this copy.
/// QUIC copies everything when sealing, so copying gains less than over TCP.
const WHOLE_MAX: u64 = 4 * 1024;

impl Http3 {
    /// A handler has answered.
    pub(crate) fn reply(&mut self, stream: u64, response: Response, io: &mut Io<'_, '_>) {
        let Some(stream) = self.exchanges.replied(stream) else { return };
        self.respond(stream.key, response, io);
    }

    /// Sends a handler's early hints before its answer (RFC 8297).
    pub(crate) fn hint(&mut self, stream: u64, links: &[HeaderValue], io: &mut Io<'_, '_>) {
        let Some(stream) = self.exchanges.find(stream) else { return };
        self.http.inform(stream.key, 103, io.conn, |head| {
            for value in links {
                head.field(Known::Link, b"", value.as_bytes());
            }
        });
    }

    /// The handler gives no answer: resets the stream.
    pub(crate) fn hang_up(&mut self, stream: u64, io: &mut Io<'_, '_>) {
        let Some(stream) = self.exchanges.find(stream) else { return };
        io.cx.tally.counters.refused += 1;
        self.exchanges.close(stream, abort::HUNG_UP, io.cx);
        self.http.reset(stream.key, quic::Code::RequestCancelled, io.conn);
    }

    pub(super) fn take_reply(&mut self, key: Key, reply: Reply, io: &mut Io<'_, '_>) {
        if let Some(response) = self.exchanges.settle(stream_of(key), reply, io.id, io.cx) {
            self.respond(key, response, io);
        }
    }

    pub(super) fn refuse(&mut self, key: Key, refusal: Refusal, io: &mut Io<'_, '_>) {
        let response = refusal.answer(io.cx.tally);
        self.respond(key, response, io);
    }

    fn respond(&mut self, key: Key, mut response: Response, io: &mut Io<'_, '_>) {
        let length = response.body.len();
        let mut fits = |length| self.http.has_room(key, length as usize, io.conn);
        let shared = match &response.body {
            Body::Stream(_) => None,
            _ if length.is_none_or(|length| length <= WHOLE_MAX || !fits(length)) => None,
            _ => Some(buf(std::mem::take(&mut response.body).pin())),
        };
        let body = match (&response.body, shared) {
            (_, Some(shared)) => quic::Body::Shared(shared),
            (Body::Stream(_), None) => quic::Body::Later,
            (body, None) if length <= Some(WHOLE_MAX) => quic::Body::Whole(body.bytes()),
            _ => quic::Body::Pull,
        };
        let status = response.status.as_u16();
        let (common, id) = io.cx.common(CommonKind::OVER_TLS);
        let sent = self.http.respond(key, status, body, io.conn, io.shared, |head| {
            head.cached(id << 2, |head| common.field_lines().for_each(|line| head.line(line)));
            if let Some(shared) = &response.shared {
                head.cached(shared.id(), |head| shared.iter().for_each(|line| head.line(line)));
            }
            let mut digits = [0; 20];
            let lines = exchange::lines(&response, length, Indexing::Literal, &mut digits);
            lines.for_each(|line| head.line(line));
        });
        let sent = match sent {
            quic::Sent::All => Sent::All,
            quic::Sent::Queued => {
                self.rank(key, &response, io);
                Sent::Queued
            }
            quic::Sent::Gone => Sent::Gone,
        };
        self.exchanges.answered(stream_of(key), response, (sent, length), io.id, io.cx);
    }

    fn rank(&mut self, key: Key, response: &Response, io: &mut Io<'_, '_>) {
        match exchange::rank(response, self.http.priority_of(key)) {
            Some(Place::Stated(priority)) => self.http.prioritise(key, priority, io.conn),
            Some(Place::Usual(priority)) => self.http.suggest_priority(key, priority, io.conn),
            None => {}
        }
    }

    pub(super) fn trailers(&mut self, key: Key, io: &mut Io<'_, '_>) {
        let fields = self.exchanges.take_trailers(stream_of(key), io.cx);
        self.http.trailers(key, io.conn, |head| {
            for (name, value) in &fields {
                head.field(Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes());
            }
        });
    }
}
