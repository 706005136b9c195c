//! HTTP/3 on a connection: the events of `ringway_quic::http` and the handlers, as `conn::h2` is
//! for HTTP/2. An answer that is ready goes to the transport in the call that brought its request;
//! what comes later, or finds no room, has an exchange until its stream ends.

use std::net::SocketAddr;
use std::rc::Rc;

use http::{HeaderValue, StatusCode};
use ringway_codec::Time;
use ringway_codec::field::Known;
use ringway_codec::h1::request::Method;
use ringway_quic::http::{self as h3, Code, Early, Http, Key, Pulled, Sent};
use ringway_quic::{Buf, Conn};

use crate::app::body::RequestBody;
use crate::app::body_channel::{BodyChannel, End};
use crate::app::extensions::Attached;
use crate::app::handler::{BodyMode, Reply};
use crate::app::request::{Origin, Peer, Protocol, Request};
use crate::app::response::is_bodiless;
use crate::app::response::{Body, FieldBlock, Rank, Response};
use crate::proto::exchange::{Exchange, Exchanges, Given, Sink, Source};
use crate::proto::{Cover, Cx, OVER_TLS, refusal, refused};
use crate::ring::send::{Owner as Bytes, Pinned};
use crate::ring::token::Id;
use crate::rt::executor::{Owner, Work};
use crate::tls::Tls;

/// Bodies up to this long are copied behind their heads, longer ones sent from where they lie.
const COPY_MAX: u64 = 4 * 1024;

/// HTTP/3's state on a connection: what the endpoint keeps with it.
#[derive(Default)]
pub(super) struct Http3 {
    pub(super) http: Http,
    exchanges: Exchanges<Key>,
    /// The names of the certificate.
    cover: Option<Cover>,
    /// Exchanges whose last byte went out in the pull at hand.
    #[expect(clippy::vec_box, reason = "they are boxed already, and only passed on")]
    finished: Vec<Box<Exchange<Key>>>,
    /// Where the last datagram came from.
    pub(super) peer: Option<SocketAddr>,
    /// Since when no stream has been open.
    pub(super) since: Time,
    /// When too little of a body may have come.
    bodies_due: Time,
    /// It is among those that are looked at in this turn.
    pub(super) is_touched: bool,
    /// It has been counted among the connections that were opened.
    pub(super) is_counted: bool,
    /// Its path does not split batches.
    pub(super) is_unsplit: bool,
    /// Requests came before the handshake was over.
    pub(super) was_early: bool,
    /// Migrations that were counted.
    pub(super) migrations: u32,
}

/// What a connection's events may use.
pub(super) struct Turn<'a, 'w> {
    pub(super) id: Id,
    pub(super) conn: &'a mut Conn,
    pub(super) shared: &'a mut h3::Shared,
    pub(super) tls: &'a Tls,
    pub(super) cx: &'a mut Cx<'w>,
}

impl Http3 {
    /// Works on what has come, and on what should have.
    pub(super) fn receive(&mut self, t: &mut Turn<'_, '_>) {
        if t.cx.now >= self.bodies_due {
            self.bodies_due = self.refuse_slow_bodies(t);
        }
        loop {
            match self.http.receive(t.conn, t.shared) {
                Ok(h3::Event::More) => break,
                Ok(event) => self.take(event, t),
                Err(_) => {
                    t.cx.tally.counters.refused += 1;
                    self.exchanges.abandon(t.cx);
                    break;
                }
            }
        }
    }

    /// Hands the transport what it has room for.
    pub(super) fn pull(&mut self, t: &mut Turn<'_, '_>) {
        loop {
            let (exchanges, id) = (&mut self.exchanges, t.id);
            let limit = t.cx.limits.output_bytes;
            let finished = &mut self.finished;
            let pulled = self.http.output(limit, t.conn, |key, max, content| {
                let Some(exchange) = exchanges.get(number(key)) else {
                    return Pulled::Abort(Code::Internal);
                };
                let (given, piece) = exchange.pull(max, id);
                if let Some(piece) = piece {
                    content.share(buf(piece));
                }
                match given {
                    Given::More => Pulled::More,
                    Given::Pending => Pulled::Pending,
                    Given::Trailers => Pulled::Trailers,
                    Given::End | Given::Broken => {
                        finished.extend(exchanges.take(number(key)));
                        match given {
                            Given::End => Pulled::End,
                            _ => Pulled::Abort(Code::Internal),
                        }
                    }
                }
            });
            for exchange in self.finished.drain(..) {
                finish(*exchange, t.cx);
            }
            match pulled {
                Ok(Some(key)) => self.trailers(key, t),
                Ok(None) | Err(_) => break,
            }
        }
    }

    /// A handler has answered.
    pub(super) fn reply(&mut self, stream: u64, response: Response, t: &mut Turn<'_, '_>) {
        let Some(exchange) = self.exchanges.get(stream) else { return };
        exchange.task = None;
        let key = exchange.key;
        self.respond(key, response, t);
    }

    /// A handler has hints to send ahead of its answer (RFC 8297).
    pub(super) fn hint(&mut self, stream: u64, links: &[HeaderValue], t: &mut Turn<'_, '_>) {
        let Some(key) = self.exchanges.get(stream).map(|exchange| exchange.key) else { return };
        self.http.inform(key, 103, t.conn, |head| {
            for value in links {
                head.field(Known::Link, b"", value.as_bytes());
            }
        });
    }

    /// A channel has moved: there is something to send, or the handler has read.
    pub(super) fn nudge(&mut self, stream: u64, t: &mut Turn<'_, '_>) {
        let Some(exchange) = self.exchanges.get(stream) else { return };
        let (key, read) = (exchange.key, exchange.take_read(t.id));
        if read > 0 {
            self.http.consume(key, read, t.shared);
        }
        self.http.wake(key);
    }

    /// Drops every exchange: the connection is gone.
    pub(super) fn abandon(&mut self, cx: &mut Cx<'_>) {
        self.exchanges.abandon(cx);
    }

    fn take(&mut self, event: h3::Event, t: &mut Turn<'_, '_>) {
        match event {
            h3::Event::Request(request) => self.begin(&request, t),
            h3::Event::Data { key, at } => self.data(key, at, t),
            h3::Event::Trailers { key } => {
                if let Some(exchange) = self.exchanges.get(number(key))
                    && let Some(Sink::Channel { channel, .. }) = &exchange.sink
                {
                    let bytes = &t.shared.h3.bytes;
                    for field in &t.shared.h3.fields {
                        channel.add_trailer(field.name(bytes), field.value(bytes));
                    }
                }
            }
            h3::Event::End { key } => self.end(key, t),
            h3::Event::Reset { key, .. } => self.close(key, "the stream was reset", t.cx),
            h3::Event::More => {}
        }
    }

    fn begin(&mut self, asked: &h3::Request, t: &mut Turn<'_, '_>) {
        let (key, cx) = (asked.key, &mut *t.cx);
        cx.tally.counters.requests += 1;
        cx.tally.counters.streams_h3 += 1;
        self.since = cx.now;
        let line = asked.head.line();
        let attached = Attached::default();
        let origin = Origin {
            protocol: Protocol::Http3,
            secure: true,
            peer: Peer::Address(self.peer),
            owner: Owner { conn: t.id, stream: number(key) },
        };
        let (bytes, fields) = (&t.shared.h3.bytes, &t.shared.h3.fields[asked.head.first..]);
        let request = Request::new(bytes, fields, &line, &attached, origin);
        if let Some(log) = cx.log.as_mut() {
            let entry = log.begin_stream(&request, key.id(), cx.now);
            self.exchanges.open(key, number(key), cx.now).entry = Some(entry);
        }
        let cover = self
            .cover
            .get_or_insert_with(|| Cover::new(t.tls.names(t.conn.transport().server_name()), 0));
        if let Some(status) = refusal(&request, Some(cover)) {
            return self.respond(key, refused(status), t);
        }
        if asked.early != Early::No {
            self.was_early = true;
            if !may_be_early(asked) {
                cx.tally.counters.early_refused += 1;
                return self.respond(key, StatusCode::TOO_EARLY.into(), t);
            }
            cx.tally.counters.early_taken += 1;
        }
        if asked.end {
            let reply = cx.app.call(&request);
            return self.take_reply(key, reply, t);
        }
        let limit = match cx.app.body_mode(&request) {
            BodyMode::Buffer => cx.limits.body_bytes,
            BodyMode::BufferUpTo(limit) => limit,
            BodyMode::Stream => {
                let channel = BodyChannel::default();
                attached.stream.set(Some(RequestBody::new(channel.clone())));
                let reply = cx.app.call(&request);
                drop(attached.stream.take());
                self.await_body(key, Sink::Channel { channel, read: 0, written: 0 }, cx);
                if asked.head.expects_more() && matches!(reply, Reply::Later(_)) {
                    self.http.inform(key, 100, t.conn, |_| {});
                }
                return self.take_reply(key, reply, t);
            }
        };
        if asked.head.content_length.is_some_and(|length| length > limit) {
            return self.respond(key, StatusCode::PAYLOAD_TOO_LARGE.into(), t);
        }
        let request = Box::new(request.to_owned());
        self.await_body(key, Sink::Buffer { request, limit }, cx);
        if asked.head.expects_more() {
            self.http.inform(key, 100, t.conn, |_| {});
        }
    }

    /// Body bytes came.
    fn data(&mut self, key: Key, at: std::ops::Range<usize>, t: &mut Turn<'_, '_>) {
        let bytes = t.shared.data(at);
        let taken = match self.exchanges.get(number(key)) {
            Some(exchange) => exchange.receive(bytes, false, t.id),
            None => Ok(bytes.len()),
        };
        match taken {
            Ok(used) => self.http.consume(key, used, t.shared),
            Err(_) => self.respond(key, StatusCode::PAYLOAD_TOO_LARGE.into(), t),
        }
    }

    /// The request is here whole.
    fn end(&mut self, key: Key, t: &mut Turn<'_, '_>) {
        let Some(exchange) = self.exchanges.get(number(key)) else { return };
        match exchange.sink.take() {
            Some(Sink::Buffer { request, .. }) => {
                let reply = t.cx.app.call(&request.view());
                self.take_reply(key, reply, t);
            }
            Some(Sink::Channel { channel, .. }) => channel.finish(End::Complete),
            None => {}
        }
    }

    fn take_reply(&mut self, key: Key, reply: Reply, t: &mut Turn<'_, '_>) {
        match reply {
            Reply::Ready(response) => self.respond(key, response, t),
            Reply::Later(future) => {
                let owner = Owner { conn: t.id, stream: number(key) };
                let task = t.cx.executor.spawn(owner, Work::Reply(future));
                self.open(key, t.cx.now).task = Some(task);
            }
        }
    }

    fn respond(&mut self, key: Key, mut response: Response, t: &mut Turn<'_, '_>) {
        let length = response.body.len();
        let mut fits = |length| self.http.has_room(key, length as usize, t.conn);
        let shared = match &response.body {
            Body::Stream(_) => None,
            _ if length.is_none_or(|length| length <= COPY_MAX || !fits(length)) => None,
            _ => Some(buf(std::mem::take(&mut response.body).pin())),
        };
        let body = match (&response.body, shared) {
            (_, Some(shared)) => h3::Body::Shared(shared),
            (Body::Stream(_), None) => h3::Body::Later,
            (body, None) if length <= Some(COPY_MAX) => h3::Body::Whole(body.bytes()),
            _ => h3::Body::Pull,
        };
        let status = response.status.as_u16();
        let (common, id) = t.cx.common(OVER_TLS);
        let sent = self.http.respond(key, status, body, t.conn, t.shared, |head| {
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
                head.content_length(length);
            }
        });
        self.answered(key, response, length, sent, t);
    }

    fn answered(
        &mut self,
        key: Key,
        response: Response,
        length: Option<u64>,
        sent: Sent,
        t: &mut Turn<'_, '_>,
    ) {
        let mut started = t.cx.now;
        if let Some(exchange) = self.exchanges.get(number(key)) {
            started = exchange.started;
            let whole = if sent == Sent::All { length.unwrap_or(0) } else { 0 };
            if let Some(entry) = &mut exchange.entry {
                entry.answer(response.status, whole);
            }
        }
        match sent {
            Sent::Queued => {
                self.rank(key, &response, t.conn);
                let owner = Owner { conn: t.id, stream: number(key) };
                let source = match response.body {
                    Body::Stream(producer) => Source::start(producer, owner, t.cx),
                    body => Source::Bytes(body.pin()),
                };
                let exchange = self.open(key, t.cx.now);
                exchange.status = response.status;
                exchange.source = Some(source);
            }
            Sent::All => {
                t.cx.tally.answered(Protocol::Http3, response.status, started, t.cx.now);
                self.close(key, "", t.cx);
            }
            Sent::Gone => self.close(key, "the stream was reset", t.cx),
        }
    }

    /// Gives a response that has to wait its place: what it says itself, else what the client said,
    /// else what its content type is commonly worth (RFC 9218 section 8).
    fn rank(&mut self, key: Key, response: &Response, conn: &mut Conn) {
        match response.rank() {
            Some(Rank::Stated(value)) => {
                let asked = self.http.priority_of(key).unwrap_or_default();
                self.http.prioritise(key, asked.updated(value), conn);
            }
            Some(Rank::Usual(priority)) => self.http.suggest_priority(key, priority, conn),
            None => {}
        }
    }

    fn trailers(&mut self, key: Key, t: &mut Turn<'_, '_>) {
        let Some(mut exchange) = self.exchanges.take(number(key)) else { return };
        let fields = exchange.take_trailers();
        self.http.trailers(key, t.conn, |head| {
            for (name, value) in &fields {
                head.field(Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes());
            }
        });
        finish(*exchange, t.cx);
    }

    /// A body is to come on the stream, and where to.
    fn await_body(&mut self, key: Key, sink: Sink, cx: &Cx<'_>) {
        self.bodies_due = self.bodies_due.min(cx.now + cx.limits.rate_grace);
        self.open(key, cx.now).sink = Some(sink);
    }

    /// Answers 408 where too little of a body came; says when to look again.
    fn refuse_slow_bodies(&mut self, t: &mut Turn<'_, '_>) -> Time {
        loop {
            match self.exchanges.slow_body(t.cx.now, t.cx.limits) {
                Err(next) => return next,
                Ok(key) => {
                    t.cx.tally.counters.slow_bodies += 1;
                    if let Some(exchange) = self.exchanges.get(number(key)) {
                        exchange.give_up_body(t.cx.executor);
                    }
                    self.respond(key, StatusCode::REQUEST_TIMEOUT.into(), t);
                }
            }
        }
    }

    fn open(&mut self, key: Key, now: Time) -> &mut Exchange<Key> {
        self.exchanges.open(key, number(key), now)
    }

    fn close(&mut self, key: Key, why: &'static str, cx: &mut Cx<'_>) {
        if let Some(exchange) = self.exchanges.take(number(key)) {
            exchange.end(why, cx);
        }
    }
}

/// The answer's last byte is with the transport.
fn finish(exchange: Exchange<Key>, cx: &mut Cx<'_>) {
    cx.tally.answered(Protocol::Http3, exchange.status, exchange.started, cx.now);
    exchange.end("", cx);
}

/// Early data may be a repetition: only what changes nothing is served (RFC 8470).
fn may_be_early(asked: &h3::Request) -> bool {
    asked.early == Early::First && matches!(asked.head.method, Method::Get | Method::Head)
}

/// A stream's number for tasks and channels.
fn number(key: Key) -> u64 {
    Exchanges::<Key>::number(key.id(), key.slot())
}

fn buf(piece: Pinned) -> Buf {
    let (owner, range) = piece.into_parts();
    let whole = match owner {
        Bytes::Static(bytes) => Buf::from(bytes),
        Bytes::Local(bytes) => Buf::from(bytes),
        Bytes::Shared(bytes) => Buf::from(bytes),
        Bytes::Owned(bytes) => Buf::from(bytes),
        Bytes::Buffer(bytes) => Buf::from(bytes as Rc<dyn AsRef<[u8]>>),
    };
    whole.slice(range)
}
