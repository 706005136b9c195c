//! Exchanges: the protocol-independent handling of a stream's request and answer, and the state
//! kept while they take more than one call.
//!
//! Nothing here touches a connection. [`begin`] decides how a request proceeds, [`Exchanges`]
//! tracks those in progress, and the protocol carries out the result.

use http::StatusCode;
use ringway_codec::Time;
use ringway_codec::field::{Field, Known};
use ringway_codec::h1::response::decimal;
use ringway_codec::h2::Priority;
use ringway_codec::hpack::Indexing;

use super::Context;
use super::refusal::Refusal;
use super::request_body::{Sink, Taken};
use super::response_body::{Pulled, Source};
use crate::app::body::RequestBody;
use crate::app::body_channel::BodyChannel;
use crate::app::handler::{BodyMode, Handler, Reply, panicked};
use crate::app::request::{Peer, Protocol, Request};
use crate::app::response::{Line, Rank, Response, is_bodiless};
use crate::config::Limits;
use crate::observe::log::{Entry, Log};
use crate::ring::send::Pinned;
use crate::ring::token::Id;
use crate::rt::executor::{Executor, TaskOwner, Work};
use crate::rt::panics::caught;

/// Reasons for `abort` in an access log line.
pub(crate) mod abort {
    /// The client cancelled the request, or the server reset its stream.
    pub(crate) const RESET: &str = "the stream was reset";
    /// The client reads the answer too slowly.
    pub(crate) const SLOW: &str = "the client reads too slowly";
    /// The handler ended the stream without an answer.
    pub(crate) const HUNG_UP: &str = "no answer is given";
    /// The connection ended.
    pub(crate) const ENDED: &str = "the connection ended";
    /// The producer failed, or did not keep to its announced length.
    pub(crate) const BROKEN: &str = "the response broke off";
}

/// What is known of a request's body before it is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// No body.
    None,
    /// A body, with its length if known.
    Some(Option<u64>),
}

/// How a request proceeds.
pub(crate) enum Begun {
    /// The handler was called.
    Called(Reply),
    /// The server itself answers.
    Refused(Refusal),
    /// The handler is to be called with the whole body, limited to this many bytes.
    Buffer(u64),
    /// The handler was called, and reads the body as a stream.
    Stream(BodyChannel, Reply),
}

/// Begins a request that has no [refusal](super::refusal::check_request).
#[inline]
pub(crate) fn begin(
    request: &Request<'_>,
    content: Content,
    app: &dyn Handler,
    limits: &Limits,
) -> Begun {
    let Content::Some(length) = content else { return Begun::Called(app.call(request)) };
    let Some(mode) = caught(|| app.body_mode(request)) else {
        return Begun::Stream(BodyChannel::default(), Reply::Ready(panicked()));
    };
    let limit = match mode {
        BodyMode::Buffer => limits.body_bytes,
        BodyMode::BufferUpTo(limit) => limit,
        BodyMode::Stream => {
            let channel = BodyChannel::default();
            request.attached.stream.set(Some(RequestBody::new(channel.clone())));
            let reply = app.call(request);
            // The handler left the body in the request, so it is not wanted.
            drop(request.attached.stream.take());
            return Begun::Stream(channel, reply);
        }
    };
    match length {
        Some(length) if length > limit => Begun::Refused(Refusal::BODY_TOO_LARGE),
        _ => Begun::Buffer(limit),
    }
}

/// The field lines of a response, except those common to all responses and those shared with
/// others. `length` says how to compress content-length, and `digits` is its buffer.
pub(crate) fn lines<'a>(
    response: &'a Response,
    length: Option<u64>,
    indexing: Indexing,
    digits: &'a mut [u8; 20],
) -> impl Iterator<Item = Line<'a>> {
    let content_type = response.content_type.map(str::as_bytes);
    let length = length.filter(|_| !is_bodiless(response.status));
    let length = length.map(|length| decimal(length, digits));
    let typed = content_type.map(|value| (Indexing::Auto, Known::ContentType, &b""[..], value));
    let sized = length.map(|value| (indexing, Known::ContentLength, &b""[..], value));
    typed.into_iter().chain(response.fields.iter()).chain(sized)
}

/// The priority of a response that has to wait for others. Its own comes first, then the client's,
/// then the default for its content type (RFC 9218 section 8).
pub(crate) enum Place {
    /// Overrides the client's priority.
    Stated(Priority),
    /// Applies if the client states no priority.
    Usual(Priority),
}

/// The priority of `response`; `asked` is the client's.
pub(crate) fn rank(response: &Response, asked: Option<Priority>) -> Option<Place> {
    Some(match response.rank()? {
        Rank::Stated(value) => Place::Stated(asked.unwrap_or_default().updated(value)),
        Rank::Usual(priority) => Place::Usual(priority),
    })
}

/// A stream: its protocol's key, and its number for tasks and channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream<K> {
    pub(crate) key: K,
    number: u64,
}

/// A stream's number combines its id with the slot of its exchange.
const SLOT_BITS: u32 = 16;

impl<K> Stream<K> {
    pub(crate) fn new(key: K, id: u64, slot: usize) -> Self {
        Self { key, number: id << SLOT_BITS | slot as u64 }
    }

    /// The owner of the stream's tasks and channels.
    pub(crate) fn owner(&self, conn: Id) -> TaskOwner {
        TaskOwner { conn, stream: self.number }
    }

    fn id(&self) -> u64 {
        self.number >> SLOT_BITS
    }
}

/// A stream's exchange.
struct Exchange<K> {
    stream: Stream<K>,
    /// When the request began.
    started: Time,
    /// The answer's status, once known.
    status: StatusCode,
    /// The handler's task, until it answers.
    task: Option<Id>,
    sink: Option<Sink>,
    source: Option<Source>,
    /// The request's access log line.
    entry: Option<Box<Entry>>,
    /// Why the answer did not complete.
    abort: &'static str,
}

impl<K> Exchange<K> {
    fn new(stream: Stream<K>, started: Time) -> Self {
        Self {
            stream,
            started,
            status: StatusCode::OK,
            task: None,
            sink: None,
            source: None,
            entry: None,
            abort: "",
        }
    }

    /// Ends the exchange: logs its line and stops its tasks.
    fn end(mut self, cx: &mut Context<'_>) {
        if let (Some(log), Some(mut entry)) = (cx.log.as_mut(), self.entry.take()) {
            entry.abort = self.abort;
            log.end(entry, cx.now);
        }
        self.abandon(cx.executor);
    }

    fn abandon(&self, executor: &mut Executor<Response>) {
        if let Some(task) = self.task {
            executor.cancel(task);
        }
        if let Some(sink) = &self.sink {
            sink.abort();
        }
        if let Some(source) = &self.source {
            source.stop(executor);
        }
    }
}

/// How far an answer was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Completely.
    All,
    /// The head was sent; the body will be pulled.
    Queued,
    /// The stream no longer exists, or has been answered.
    Gone,
}

/// A connection's exchanges, by their streams' slots. Streams answered at once have none.
pub(crate) struct Exchanges<K> {
    protocol: Protocol,
    slots: Vec<Option<Box<Exchange<K>>>>,
    /// Exchanges whose last byte was sent in the current pull.
    finished: Vec<Box<Exchange<K>>>,
    /// When the next body may be too slow.
    due: Time,
}

impl<K: Copy + PartialEq> Exchanges<K> {
    pub(crate) fn new(protocol: Protocol) -> Self {
        Self { protocol, slots: Vec::new(), finished: Vec::new(), due: Time::NEVER }
    }

    /// Starts the request's access log line, if there is a log.
    pub(crate) fn note(
        &mut self,
        stream: Stream<K>,
        request: &Request<'_>,
        log: Option<&mut Log>,
        now: Time,
    ) {
        if let Some(log) = log {
            let entry = log.begin_stream(request, stream.id(), now);
            self.open(stream, now).entry = Some(entry);
        }
    }

    /// Same as [`Self::note`], for a request that reaches no handler, with what is known of it.
    pub(crate) fn note_unread(
        &mut self,
        stream: Stream<K>,
        peer: Peer,
        asked: &[u8],
        cx: &mut Context<'_>,
    ) {
        if let Some(log) = cx.log.as_mut() {
            let mut entry = log.begin_unparsed(asked, self.protocol.name(), peer.address(), cx.now);
            entry.stream = Some(stream.id());
            self.open(stream, cx.now).entry = Some(entry);
        }
    }

    /// Converts a handler's reply into a response, or registers the task that will produce one.
    pub(crate) fn settle(
        &mut self,
        stream: Stream<K>,
        reply: Reply,
        conn: Id,
        cx: &mut Context<'_>,
    ) -> Option<Response> {
        match reply {
            Reply::Ready(response) => Some(response),
            Reply::Later(future) => {
                let task = cx.executor.spawn(stream.owner(conn), Work::Reply(future));
                self.open(stream, cx.now).task = Some(task);
                None
            }
        }
    }

    /// A stream's task has answered. `None` if the stream is gone.
    pub(crate) fn replied(&mut self, number: u64) -> Option<Stream<K>> {
        let exchange = self.get(number)?;
        exchange.task = None;
        Some(exchange.stream)
    }

    /// Registers where the stream's body goes.
    pub(crate) fn await_body(&mut self, stream: Stream<K>, sink: Sink, cx: &Context<'_>) {
        self.due = self.due.min(sink.due(cx.limits));
        self.open(stream, cx.now).sink = Some(sink);
    }

    /// Takes body bytes. Returns how many are already used, and may be credited to the peer.
    /// [`Self::complete`] must follow the `last` ones.
    pub(crate) fn receive(
        &mut self,
        stream: Stream<K>,
        bytes: &[u8],
        last: bool,
        conn: Id,
    ) -> Result<usize, Refusal> {
        let Some(exchange) = self.get(stream.number) else { return Ok(bytes.len()) };
        let Some(sink) = &mut exchange.sink else { return Ok(bytes.len()) };
        match sink.take(bytes) {
            Ok(Taken::Queued) => {
                if !last {
                    sink.wait(stream.owner(conn));
                }
                Ok(0)
            }
            Ok(Taken::Used | Taken::Unread) => Ok(bytes.len()),
            Err(_) => {
                exchange.sink = None;
                Err(Refusal::BODY_TOO_LARGE)
            }
        }
    }

    /// Takes the request's trailers.
    pub(crate) fn receive_trailers(&mut self, stream: Stream<K>, fields: &[Field], bytes: &[u8]) {
        if let Some(Exchange { sink: Some(sink), .. }) = self.get(stream.number) {
            for field in fields {
                sink.add_trailer(field.name(bytes), field.value(bytes));
            }
        }
    }

    /// The request is complete: calls the handler if it waited for that.
    pub(crate) fn complete(&mut self, stream: Stream<K>, app: &dyn Handler) -> Option<Reply> {
        self.get(stream.number)?.sink.take()?.complete(app)
    }

    /// A stream's channel has changed: the handler has read this many bytes, or there is something
    /// to send.
    pub(crate) fn moved(&mut self, number: u64, conn: Id) -> Option<(K, usize)> {
        let exchange = self.get(number)?;
        let (stream, sink) = (exchange.stream, exchange.sink.as_mut());
        Some((stream.key, sink.map_or(0, |sink| sink.take_read(stream.owner(conn)))))
    }

    /// When [`Self::next_slow`] should be called.
    pub(crate) fn due(&self) -> Time {
        self.due
    }

    /// Gives up a stream whose body came too slowly. Call until it returns `None`.
    pub(crate) fn next_slow(&mut self, cx: &mut Context<'_>) -> Option<(Stream<K>, Refusal)> {
        if cx.now < self.due {
            return None;
        }
        let mut next = Time::NEVER;
        for exchange in self.slots.iter_mut().flatten() {
            let Some(sink) = &mut exchange.sink else { continue };
            if sink.is_slow(exchange.source.is_some(), cx.now, cx.limits) {
                cx.tally.counters.slow_bodies += 1;
                exchange.abandon(cx.executor);
                (exchange.task, exchange.sink) = (None, None);
                return Some((exchange.stream, Refusal::BODY_TOO_SLOW));
            }
            next = next.min(sink.due(cx.limits));
        }
        self.due = next;
        None
    }

    /// Records that a response of `length` bytes was sent as far as `sent` says.
    pub(crate) fn answered(
        &mut self,
        stream: Stream<K>,
        response: Response,
        (sent, length): (Sent, Option<u64>),
        conn: Id,
        cx: &mut Context<'_>,
    ) {
        let mut started = cx.now;
        if let Some(exchange) = self.get(stream.number) {
            started = exchange.started;
            if let Some(entry) = &mut exchange.entry
                && sent != Sent::Gone
            {
                let whole = if sent == Sent::All { length.unwrap_or(0) } else { 0 };
                entry.answer(&response, whole);
            }
        }
        match sent {
            Sent::Queued => {
                let source = Source::of(response.body, stream.owner(conn), cx);
                let exchange = self.open(stream, cx.now);
                exchange.status = response.status;
                exchange.source = Some(source);
            }
            Sent::All => {
                cx.tally.answered(self.protocol, response.status, started, cx.now);
                self.close(stream, "", cx);
            }
            Sent::Gone => self.close(stream, abort::RESET, cx),
        }
    }

    /// Returns up to `max` bytes of a response's body. [`Self::finish`] must follow the pull.
    pub(crate) fn pull(
        &mut self,
        stream: Stream<K>,
        max: usize,
        conn: Id,
    ) -> (Pulled, Option<Pinned>) {
        let Some(exchange) = self.get(stream.number) else { return (Pulled::Broken, None) };
        let Some(source) = &mut exchange.source else { return (Pulled::Pending, None) };
        let (pulled, piece) = source.pull(max, stream.owner(conn));
        if let (Some(entry), Some(piece)) = (&mut exchange.entry, &piece) {
            entry.produced(piece.len());
        }
        if pulled == Pulled::Broken {
            exchange.abort = abort::BROKEN;
        }
        if matches!(pulled, Pulled::End | Pulled::Broken) {
            let exchange = self.take(stream);
            self.finished.extend(exchange);
        }
        (pulled, piece)
    }

    /// Ends the exchanges that the current pull completed.
    pub(crate) fn finish(&mut self, cx: &mut Context<'_>) {
        while let Some(exchange) = self.finished.pop() {
            self.count(&exchange, cx);
            exchange.end(cx);
        }
    }

    /// Ends an exchange whose remaining output is its trailers, and returns them.
    pub(crate) fn take_trailers(
        &mut self,
        stream: Stream<K>,
        cx: &mut Context<'_>,
    ) -> Vec<(String, String)> {
        let Some(exchange) = self.take(stream) else { return Vec::new() };
        let trailers = exchange.source.as_ref().map(Source::take_trailers).unwrap_or_default();
        self.count(&exchange, cx);
        exchange.end(cx);
        trailers
    }

    fn count(&self, exchange: &Exchange<K>, cx: &mut Context<'_>) {
        if exchange.abort.is_empty() {
            cx.tally.answered(self.protocol, exchange.status, exchange.started, cx.now);
        }
    }

    /// Ends a stream's exchange, if there is one.
    pub(crate) fn close(&mut self, stream: Stream<K>, abort: &'static str, cx: &mut Context<'_>) {
        if let Some(mut exchange) = self.take(stream) {
            exchange.abort = abort;
            exchange.end(cx);
        }
    }

    /// Ends an exchange whose answer is not fully produced, because the connection ends. Call until
    /// it returns `None`.
    pub(crate) fn end_unwritten(&mut self, cx: &mut Context<'_>) -> Option<K> {
        let unwritten =
            |exchange: &mut Box<Exchange<K>>| !matches!(exchange.source, Some(Source::Bytes(_)));
        let mut exchange = self.slots.iter_mut().find_map(|place| place.take_if(unwritten))?;
        let key = exchange.stream.key;
        exchange.abort = abort::ENDED;
        exchange.end(cx);
        Some(key)
    }

    /// Drops every exchange.
    pub(crate) fn abandon(&mut self, why: &'static str, cx: &mut Context<'_>) {
        for mut exchange in self.slots.drain(..).flatten() {
            exchange.abort = why;
            exchange.end(cx);
        }
    }

    /// Frees memory of a connection without open streams.
    pub(crate) fn trim(&mut self) {
        self.slots = Vec::new();
    }

    /// Finds the stream with this number, if it has an exchange.
    pub(crate) fn find(&mut self, number: u64) -> Option<Stream<K>> {
        Some(self.get(number)?.stream)
    }

    fn open(&mut self, stream: Stream<K>, now: Time) -> &mut Exchange<K> {
        let slot = slot_of(stream.number);
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        let place = &mut self.slots[slot];
        if place.as_ref().is_some_and(|exchange| exchange.stream != stream) {
            *place = None;
        }
        place.get_or_insert_with(|| Box::new(Exchange::new(stream, now)))
    }

    fn get(&mut self, number: u64) -> Option<&mut Exchange<K>> {
        let exchange = self.slots.get_mut(slot_of(number))?.as_deref_mut()?;
        (exchange.stream.number == number).then_some(exchange)
    }

    fn take(&mut self, stream: Stream<K>) -> Option<Box<Exchange<K>>> {
        let place = self.slots.get_mut(slot_of(stream.number))?;
        place.take_if(|exchange| exchange.stream.number == stream.number)
    }
}

fn slot_of(number: u64) -> usize {
    (number & ((1 << SLOT_BITS) - 1)) as usize
}
