//! HTTP/2 on a connection: the codec's state machine between the gathered output and the handlers.
//!
//! An answer that is ready goes out in the call that brought its request; what comes later, or does
//! not fit the windows, has an exchange until its stream ends. DATA is pulled when the turn
//! flushes.

use std::os::fd::RawFd;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use ringway_codec::Time;
use ringway_codec::field::Known;
use ringway_codec::h1::Span;
use ringway_codec::h1::response::decimal;
use ringway_codec::h2::{self, Key, Pulled, Sent};
use ringway_codec::scan::PAD;

use super::Cx;
use super::exchange::{Exchange, Exchanges, Given, Sink, Source};
use super::link::{COPY_MAX, Link};
use super::secure::{Cover, LEND_MIN};
use super::upgrade::Upgrade;
use crate::body::RequestBody;
use crate::config::{Limits, Trace};
use crate::executor::{Owner, Work};
use crate::handler::{BodyMode, Reply};
use crate::pipe::{End, Pipe};
use crate::request::{Params, Parts, Peer, Protocol, Request};
use crate::response::{Body, FieldBlock, Rank, Response};

/// How long a client that has sent GOAWAY and has no stream open may take to close.
const LEAVING: Duration = Duration::from_secs(1);

/// Octets of content that follow a 101 before the client has answered it with its preface: curl
/// before 8 gives up on more than 32 KiB in one read there.
const AHEAD: usize = 16 * 1024;

/// HTTP/2's state on a connection.
pub(crate) struct Http2 {
    conn: h2::Conn,
    socket: RawFd,
    /// Over TLS: the names of the certificate.
    cover: Option<Box<Cover>>,
    /// The authority that pushes are promised for: the one that was asked last.
    authority: Vec<u8>,
    exchanges: Exchanges<Key>,
    /// Exchanges whose last byte went out in the pull at hand.
    #[expect(clippy::vec_box, reason = "they are boxed already, and only passed on")]
    finished: Vec<Box<Exchange<Key>>>,
    /// After an upgrade: what may still go out before the client has said anything.
    ahead: Option<usize>,
    /// Since when no stream has been open.
    since: Time,
}

impl Http2 {
    /// A connection whose client begins with the preface.
    pub(super) fn new(
        socket: RawFd,
        cover: Option<Box<Cover>>,
        link: &mut Link,
        cx: &mut Cx<'_>,
    ) -> Self {
        trace_from_here(link, cx);
        let conn = h2::Conn::new(&mut turn(link, cx));
        Self::of(conn, socket, cover, cx)
    }

    /// A connection that a request in HTTP/1.1 has upgraded; that request is answered first.
    pub(super) fn upgraded(
        upgrade: Upgrade,
        socket: RawFd,
        link: &mut Link,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let Upgrade { mut request, settings } = upgrade;
        trace_from_here(link, cx);
        let no_body = request.method() == http::Method::HEAD;
        let made = h2::Conn::upgraded(&settings, no_body, &mut turn(link, cx));
        let Ok((conn, key)) = made else {
            link.close(true, cx);
            return None;
        };
        let mut http = Self::of(conn, socket, None, cx);
        http.ahead = Some(AHEAD);
        request.move_to(Owner { conn: link.id, stream: stream_number(key) }, Protocol::Http2);
        http.begin_entry(key, &request.view(), cx);
        let reply = cx.app.call(&request.view());
        http.take_reply(key, reply, link, cx);
        Some(http)
    }

    fn of(conn: h2::Conn, socket: RawFd, cover: Option<Box<Cover>>, cx: &Cx<'_>) -> Self {
        Self {
            conn,
            socket,
            cover,
            authority: Vec::new(),
            exchanges: Exchanges::default(),
            finished: Vec::new(),
            ahead: None,
            since: cx.now,
        }
    }

    /// Uses as much of the input as can be used now; returns how much.
    pub(super) fn advance(&mut self, whole: &[u8], link: &mut Link, cx: &mut Cx<'_>) -> usize {
        let input = &whole[..whole.len() - PAD];
        let mut at = 0;
        link.output(cx);
        while !link.is_closing() {
            if link.gathered() >= cx.limits.output_bytes {
                return at;
            }
            match self.conn.receive(input, &mut at, &mut turn(link, cx)) {
                Ok(h2::Event::More) => {
                    if at > 0 {
                        self.ahead = None;
                    }
                    self.since = cx.now;
                    self.settle(link, cx);
                    return at;
                }
                Ok(event) => self.take(event, input, link, cx),
                Err(error) => {
                    self.fail(&error, link, cx);
                    return input.len();
                }
            }
        }
        input.len()
    }

    /// True when no stream is open.
    pub(super) fn is_idle(&self) -> bool {
        self.conn.is_idle()
    }

    /// When the connection wants to hear that time has passed.
    pub(super) fn deadline(&self, limits: &Limits) -> Time {
        let idle = self.conn.is_idle().then(|| self.since + self.patience(limits));
        let own = self.conn.deadline();
        own.into_iter().chain(idle).min().unwrap_or(Time::NEVER)
    }

    /// A deadline has passed.
    pub(super) fn expire(&mut self, link: &mut Link, cx: &mut Cx<'_>) {
        link.output(cx);
        loop {
            match self.conn.expire(&mut turn(link, cx)) {
                Ok(Some(event)) => self.take(event, &[], link, cx),
                Ok(None) => break,
                Err(error) => return self.fail(&error, link, cx),
            }
        }
        if self.conn.is_idle() && cx.now >= self.since + self.patience(cx.limits) {
            self.conn.close(h2::Code::NO_ERROR, "idle", &mut turn(link, cx));
        }
        self.settle(link, cx);
    }

    /// How long the connection may be without a stream. A client that has said that it leaves is to
    /// close it, and is not waited for long.
    fn patience(&self, limits: &Limits) -> Duration {
        if self.conn.peer_leaves() { limits.idle_timeout.min(LEAVING) } else { limits.idle_timeout }
    }

    /// The server stops: the client is told, and what it sent before it knew is answered.
    pub(super) fn drain(&mut self, link: &mut Link, cx: &mut Cx<'_>) {
        link.output(cx);
        self.conn.drain(&mut turn(link, cx));
    }

    /// A handler has answered.
    pub(super) fn reply(
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
    pub(super) fn hint(
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

    /// A pipe has moved: there is something to send, or the handler has read.
    pub(super) fn nudge(&mut self, stream: u64, link: &mut Link, cx: &mut Cx<'_>) {
        link.output(cx);
        let Some(exchange) = self.exchanges.get(stream) else { return };
        let (key, read) = (exchange.key, exchange.take_read(link.id));
        if read > 0 {
            self.conn.consume(key, read, &mut turn(link, cx));
        }
        self.conn.wake(key, &mut turn(link, cx));
    }

    /// Has the scheduler take DATA into the output, up to its bound.
    pub(super) fn pull(&mut self, link: &mut Link, cx: &mut Cx<'_>) {
        while self.conn.wants_output() && !link.is_closing() {
            link.output(cx);
            let before = link.gathered();
            let room = cx.limits.output_bytes.saturating_sub(before);
            let room = room.min(self.ahead.unwrap_or(usize::MAX));
            if room == 0 {
                return;
            }
            let (exchanges, finished, id) = (&mut self.exchanges, &mut self.finished, link.id);
            let (lends, lent) = (self.cover.is_some(), &mut link.lent);
            let mut turn = h2::Turn { shared: cx.h2, out: &mut link.out, now: cx.now };
            let pulled = self.conn.output(room, &mut turn, |key, max, out, aside| {
                let number = stream_number(key);
                let Some(exchange) = exchanges.get(number) else {
                    return Pulled::Abort(h2::Code::INTERNAL_ERROR);
                };
                let (given, piece) = exchange.pull(max, id);
                if let Some(piece) = piece {
                    if lends && piece.len() >= LEND_MIN {
                        *aside += piece.len();
                        lent.get_or_insert_default().push(out.len(), piece);
                    } else {
                        out.extend_from_slice(piece.bytes());
                    }
                }
                if matches!(given, Given::End | Given::Broken) {
                    finished.extend(exchanges.take(number));
                }
                match given {
                    Given::More => Pulled::More,
                    Given::Pending => Pulled::Pending,
                    Given::End => Pulled::End,
                    Given::Trailers => Pulled::Trailers,
                    Given::Broken => Pulled::Abort(h2::Code::INTERNAL_ERROR),
                }
            });
            if let Some(ahead) = &mut self.ahead {
                *ahead = ahead.saturating_sub(link.gathered() - before);
            }
            while let Some(exchange) = self.finished.pop() {
                let (status, started) = (exchange.status, exchange.started);
                cx.tally.answered(Protocol::Http2, status, started, cx.now);
                exchange.end("", cx);
            }
            match pulled {
                Ok(Some(key)) => self.trailers(key, link, cx),
                Ok(None) => break,
                Err(error) => return self.fail(&error, link, cx),
            }
        }
        self.settle(link, cx);
    }

    /// Drops every exchange: the connection is gone.
    pub(super) fn abandon(&mut self, cx: &mut Cx<'_>) {
        self.exchanges.abandon(cx);
    }

    /// Gives back what an idle connection does not need.
    pub(super) fn rest(&mut self) {
        if self.conn.is_idle() {
            self.conn.trim();
            self.exchanges.trim();
        }
    }

    fn take(&mut self, event: h2::Event, input: &[u8], link: &mut Link, cx: &mut Cx<'_>) {
        match event {
            h2::Event::Request(request) => self.begin(&request, link, cx),
            h2::Event::Data { key, at, end } => self.data(key, &input[at], end, link, cx),
            h2::Event::Trailers { key } => {
                if let Some(exchange) = self.exchange_of(key)
                    && let Some(Sink::Pipe { pipe, .. }) = &exchange.sink
                {
                    for field in &cx.h2.fields {
                        let bytes = &cx.h2.bytes;
                        pipe.add_trailer(field.name(bytes), field.value(bytes));
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
        let parts = parts(asked, self.cover.is_some());
        let stream = std::cell::Cell::new(None);
        let request = Request {
            bytes: &cx.h2.bytes,
            fields: &cx.h2.fields[asked.first..],
            parts: &parts,
            body: &[],
            peer: Peer::Socket(self.socket),
            params: Params::default(),
            stream: &stream,
            owner: Owner { conn: link.id, stream: stream_number(asked.key) },
        };
        let authority = request.authority();
        let misdirected = self.cover.as_mut().is_some_and(|cover| cover.is_misdirected(authority));
        if cx.h2.config.max_pushes > 0 {
            self.authority.clear();
            self.authority.extend_from_slice(asked.authority.of(request.bytes));
        }
        if let Some(log) = cx.log.as_mut() {
            let entry = log.begin_stream(&request, asked.key.id().into(), cx.now);
            self.open(asked.key, cx.now).entry = Some(entry);
        }
        if misdirected {
            return self.respond(asked.key, StatusCode::MISDIRECTED_REQUEST.into(), link, cx);
        }
        if asked.end {
            let reply = app.call(&request);
            return self.take_reply(asked.key, reply, link, cx);
        }
        let limit = match app.body_mode(&request) {
            BodyMode::Buffer => cx.limits.body_bytes,
            BodyMode::BufferUpTo(limit) => limit,
            BodyMode::Stream => {
                let pipe = Pipe::default();
                stream.set(Some(RequestBody::new(pipe.clone())));
                let reply = app.call(&request);
                drop(stream.take());
                self.open(asked.key, cx.now).sink = Some(Sink::Pipe { pipe, read: 0, written: 0 });
                if asked.expect_continue && matches!(reply, Reply::Later(_)) {
                    self.conn.inform(asked.key, 100, &mut turn(link, cx), |_| {});
                }
                return self.take_reply(asked.key, reply, link, cx);
            }
        };
        if asked.content_length.is_some_and(|length| length > limit) {
            return self.respond(asked.key, StatusCode::PAYLOAD_TOO_LARGE.into(), link, cx);
        }
        let request = Box::new(request.to_owned());
        self.open(asked.key, cx.now).sink = Some(Sink::Buffer { request, limit });
        if asked.expect_continue {
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
            Some(Sink::Pipe { pipe, .. }) => pipe.finish(End::Complete),
            None => {}
        }
    }

    fn begin_entry(&mut self, key: Key, request: &Request<'_>, cx: &mut Cx<'_>) {
        if let Some(log) = cx.log.as_mut() {
            let entry = log.begin_stream(request, key.id().into(), cx.now);
            self.open(key, cx.now).entry = Some(entry);
        }
    }

    fn take_reply(&mut self, key: Key, reply: Reply, link: &mut Link, cx: &mut Cx<'_>) {
        match reply {
            Reply::Ready(response) => self.respond(key, response, link, cx),
            Reply::Later(future) => {
                let owner = Owner { conn: link.id, stream: stream_number(key) };
                let task = cx.executor.spawn(owner, Work::Reply(future));
                self.open(key, cx.now).task = Some(task);
            }
        }
    }

    fn respond(&mut self, key: Key, mut response: Response, link: &mut Link, cx: &mut Cx<'_>) {
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
            let parts = parts(&asked, self.cover.is_some());
            let request = Request {
                bytes: &cx.h2.bytes,
                fields: &cx.h2.fields[asked.first..],
                parts: &parts,
                body: &[],
                peer: Peer::Socket(self.socket),
                params: Params::default(),
                stream: &std::cell::Cell::new(None),
                owner: Owner { conn: link.id, stream: stream_number(asked.key) },
            };
            promised.push((asked.key, cx.app.call(&request)));
        }
        promised
    }

    fn answer(&mut self, key: Key, response: Response, link: &mut Link, cx: &mut Cx<'_>) {
        let (common, id) = cx.common(self.cover.as_ref().map_or(0, |cover| cover.alt));
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
            for (known, name, value) in response.blocks().flat_map(FieldBlock::iter) {
                head.field(known, name, value);
            }
            if let (Some(length), false) = (length, super::head::is_bodiless(response.status)) {
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

    fn trailers(&mut self, key: Key, link: &mut Link, cx: &mut Cx<'_>) {
        let fields = self.exchange_of(key).map(|exchange| exchange.take_trailers());
        self.conn.trailers(key, &mut turn(link, cx), |head| {
            for (name, value) in fields.iter().flatten() {
                head.field(Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes());
            }
        });
        self.close(key, "", cx);
    }

    /// The peer broke the connection's rules: GOAWAY is written, what it asked for is dropped.
    fn fail(&mut self, error: &h2::Error, link: &mut Link, cx: &mut Cx<'_>) {
        if let Some(trace) = &cx.trace {
            trace.failed(link.id, Trace::H2, error);
        }
        cx.tally.counters.refused += 1;
        self.abandon(cx);
        link.close(true, cx);
    }

    fn settle(&mut self, link: &mut Link, cx: &mut Cx<'_>) {
        if self.conn.is_done() {
            self.abandon(cx);
            link.close(true, cx);
        }
    }

    fn open(&mut self, key: Key, now: Time) -> &mut Exchange<Key> {
        self.exchanges.open(key, stream_number(key), now)
    }

    fn exchange_of(&mut self, key: Key) -> Option<&mut Exchange<Key>> {
        self.exchanges.get(stream_number(key))
    }

    fn close(&mut self, key: Key, why: &'static str, cx: &mut Cx<'_>) {
        if let Some(exchange) = self.exchanges.take(stream_number(key)) {
            exchange.end(why, cx);
        }
    }
}

/// What is written from now on is HTTP/2.
fn trace_from_here(link: &mut Link, cx: &mut Cx<'_>) {
    let written = link.output(cx).len();
    if let Some(trace) = &mut cx.trace {
        trace.begin_h2(link.id, written, cx.backend);
    }
}

fn turn<'a>(link: &'a mut Link, cx: &'a mut Cx<'_>) -> h2::Turn<'a> {
    h2::Turn { shared: cx.h2, out: &mut link.out, now: cx.now }
}

/// A stream's number for tasks and pipes.
fn stream_number(key: Key) -> u64 {
    Exchanges::<Key>::number(key.id().into(), key.slot())
}

fn source(body: Body, key: Key, link: &Link, cx: &mut Cx<'_>) -> Source {
    let Body::Stream(producer) = body else { return Source::Bytes(body.pin()) };
    Source::start(producer, Owner { conn: link.id, stream: stream_number(key) }, cx)
}

fn parts(asked: &h2::Request, secure: bool) -> Parts {
    let end = asked.query.unwrap_or(asked.path).end() as u32;
    Parts {
        method: asked.method,
        method_span: asked.method_span,
        target: Span { at: asked.path.at, len: end - asked.path.at },
        path: asked.path,
        query: asked.query,
        authority: (asked.authority.len > 0).then_some(asked.authority),
        protocol: Protocol::Http2,
        secure,
    }
}
