//! A stream's exchange while it is more than one call: its request's body on the way in, its answer
//! on the way out. HTTP/2 and HTTP/3 streams alike have one.

use std::rc::Rc;

use http::StatusCode;
use ringway_codec::Time;

use super::Cx;
use crate::app::body::Producer;
use crate::app::body_channel::{BodyChannel, End, Read};
use crate::app::request::OwnedRequest;
use crate::app::response::Response;
use crate::config::{Limits, least};
use crate::observe::log::Entry;
use crate::ring::send::{Owner, Pinned};
use crate::ring::token::Id;
use crate::rt::executor::{Executor, Owner as Stream, Work};
use crate::rt::thread_state::Waiter;

/// A stream's exchange. `K` is how its protocol names the stream.
pub(crate) struct Exchange<K> {
    pub(crate) key: K,
    /// What tasks and channels know the stream by.
    stream: u64,
    /// When the request was taken.
    pub(crate) started: Time,
    /// The answer's status, once it is known.
    pub(crate) status: StatusCode,
    /// The handler's task, while its answer is awaited.
    pub(crate) task: Option<Id>,
    pub(crate) sink: Option<Sink>,
    /// Octets of the body that came since `mark`, for the minimum rate.
    received: u64,
    mark: Time,
    pub(crate) source: Option<Source>,
    /// The request's line in the access log.
    pub(crate) entry: Option<Box<Entry>>,
}

/// What pulling a response's body came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// There is, or may be, more.
    More,
    /// There will be more: the connection will be nudged.
    Pending,
    /// That was all.
    End,
    /// That was all but trailers.
    Trailers,
    /// The producer gave up, or did not keep to the length that it announced.
    Broken,
}

/// A reader that leaves so much unread holds its client up, not the other way.
const BEHIND: u64 = 4096;

/// Where body bytes go.
pub(crate) enum Sink {
    /// Into the request, which is handled when the body is complete.
    Buffer { request: Box<OwnedRequest>, limit: u64 },
    /// To a handler that reads as they come: bytes written to the channel, and how many of them are
    /// known to be read.
    Channel { channel: BodyChannel, written: u64, read: u64 },
}

/// Where a response's body comes from.
pub(crate) enum Source {
    /// It is there.
    Bytes(Pinned),
    /// It is being produced; so much is left of an announced length.
    Channel { channel: BodyChannel, task: Id, left: Option<u64> },
}

impl Source {
    /// Starts what produces a body, which is to wake `owner` when it has something.
    pub(crate) fn start(producer: Producer, owner: Stream, cx: &mut Cx<'_>) -> Self {
        let left = producer.length();
        let (channel, future) = producer.into_parts();
        let task = cx.executor.spawn(owner, Work::Produce(future));
        channel.wait_read(Waiter::Conn(owner.conn, owner.stream));
        Self::Channel { channel, task, left }
    }
}

/// The body is larger than allowed.
pub(crate) struct TooLarge;

impl<K> Exchange<K> {
    fn new(key: K, stream: u64, started: Time) -> Self {
        Self {
            key,
            stream,
            started,
            status: StatusCode::OK,
            task: None,
            sink: None,
            received: 0,
            mark: started,
            source: None,
            entry: None,
        }
    }

    /// Takes body bytes; says how many are used already, and so may be credited to the peer.
    pub(crate) fn receive(&mut self, bytes: &[u8], end: bool, conn: Id) -> Result<usize, TooLarge> {
        self.received += bytes.len() as u64;
        match &mut self.sink {
            Some(Sink::Buffer { request, limit }) => {
                if (request.body.len() + bytes.len()) as u64 > *limit {
                    return Err(TooLarge);
                }
                request.body.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            Some(Sink::Channel { channel, written, .. }) if !channel.reader_gone() => {
                *written += bytes.len() as u64;
                channel.push(Pinned::new(Owner::Owned(Rc::new(bytes.to_vec())), 0..bytes.len()));
                if !end {
                    channel.wait_write(Waiter::Conn(conn, self.stream));
                }
                Ok(0)
            }
            _ => Ok(bytes.len()),
        }
    }

    /// How much the handler has read since this was last asked.
    pub(crate) fn take_read(&mut self, conn: Id) -> usize {
        let Some(Sink::Channel { channel, written, read }) = &mut self.sink else { return 0 };
        let now = *written - channel.len() as u64;
        let fresh = now - *read;
        *read = now;
        if fresh + channel.len() as u64 >= BEHIND {
            // What the client may send was the reader's to say.
            self.received = u64::MAX / 2;
        }
        if !channel.reader_gone() {
            channel.wait_write(Waiter::Conn(conn, self.stream));
        }
        fresh as usize
    }

    /// Whether too little of the body came in the window that is over, which ends here if not. The
    /// client is not to blame while its reader has more to read, nor once it is being answered: a
    /// conversation goes at the handler's pace.
    fn is_slow(&mut self, now: Time, limits: &Limits) -> bool {
        let window = now.since(self.mark);
        let waits = match &self.sink {
            _ if self.source.is_some() => false,
            None => false,
            Some(Sink::Buffer { .. }) => true,
            Some(Sink::Channel { channel, .. }) => channel.len() == 0 && !channel.reader_gone(),
        };
        if waits && window < limits.rate_grace {
            return false;
        }
        if waits && self.received < least(limits.body_rate, window) {
            return true;
        }
        (self.mark, self.received) = (now, 0);
        false
    }

    /// The rest of the body is not waited for: whoever works for it stops.
    pub(crate) fn give_up_body(&mut self, executor: &mut Executor<Response>) {
        self.abandon(executor);
        (self.task, self.sink) = (None, None);
    }

    /// Gives up to `max` bytes of the response's body.
    pub(crate) fn pull(&mut self, max: usize, conn: Id) -> (Given, Option<Pinned>) {
        let (given, piece) = self.give(max, conn);
        if let (Some(entry), Some(piece)) = (&mut self.entry, &piece) {
            entry.produced(piece.len());
        }
        (given, piece)
    }

    fn give(&mut self, max: usize, conn: Id) -> (Given, Option<Pinned>) {
        let given = match &mut self.source {
            None => Given::Pending,
            Some(Source::Bytes(bytes)) => {
                let piece = bytes.split_to(max);
                let given = if bytes.len() == 0 { Given::End } else { Given::More };
                return (given, Some(piece));
            }
            Some(Source::Channel { channel, left, .. }) => match channel.read(max) {
                Read::Chunk(chunk) => {
                    if let Some(left) = left {
                        let Some(rest) = left.checked_sub(chunk.len() as u64) else {
                            return (Given::Broken, None);
                        };
                        *left = rest;
                    }
                    return (Given::More, Some(chunk));
                }
                Read::Empty => {
                    channel.wait_read(Waiter::Conn(conn, self.stream));
                    Given::Pending
                }
                Read::End(End::Aborted) => Given::Broken,
                Read::End(End::Complete) if left.is_some_and(|left| left > 0) => Given::Broken,
                Read::End(End::Complete) if channel.has_trailers() => Given::Trailers,
                Read::End(End::Complete) => Given::End,
            },
        };
        (given, None)
    }

    /// The fields that follow the response's body.
    pub(crate) fn take_trailers(&mut self) -> Vec<(String, String)> {
        match &self.source {
            Some(Source::Channel { channel, .. }) => channel.take_trailers(),
            _ => Vec::new(),
        }
    }

    /// Ends the exchange: its line is logged, and what still works for it stops.
    pub(crate) fn end(mut self, abort: &'static str, cx: &mut Cx<'_>) {
        if let (Some(log), Some(mut entry)) = (cx.log.as_mut(), self.entry.take()) {
            entry.abort = abort;
            log.end(entry, cx.now);
        }
        self.abandon(cx.executor);
    }

    fn abandon(&self, executor: &mut Executor<Response>) {
        if let Some(task) = self.task {
            executor.cancel(task);
        }
        if let Some(Sink::Channel { channel, .. }) = &self.sink {
            channel.finish(End::Aborted);
        }
        if let Some(Source::Channel { channel, task, .. }) = &self.source {
            executor.cancel(*task);
            channel.close_reader();
        }
    }
}

/// The exchanges of a connection, by the slots of their streams; none for streams that were
/// answered at once.
pub(crate) struct Exchanges<K>(Vec<Option<Box<Exchange<K>>>>);

impl<K> Default for Exchanges<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Copy + PartialEq> Exchanges<K> {
    /// A stream whose body came too slowly, or when to ask again; never where no body is awaited.
    pub(crate) fn slow_body(&mut self, now: Time, limits: &Limits) -> Result<K, Time> {
        let mut next = Time::NEVER;
        for exchange in self.0.iter_mut().flatten().filter(|exchange| exchange.sink.is_some()) {
            if exchange.is_slow(now, limits) {
                return Ok(exchange.key);
            }
            next = next.min(exchange.mark + limits.rate_grace);
        }
        Err(next)
    }
}

/// Streams are known to tasks and channels by their id and the slot by which the exchange is found.
const SLOT_BITS: u32 = 16;

impl<K: Copy + PartialEq> Exchanges<K> {
    /// The number by which tasks and channels know stream `id` in `slot`.
    pub(crate) fn number(id: u64, slot: usize) -> u64 {
        id << SLOT_BITS | slot as u64
    }

    /// The exchange of a stream, made if there is none.
    pub(crate) fn open(&mut self, key: K, stream: u64, now: Time) -> &mut Exchange<K> {
        let slot = slot_of(stream);
        if self.0.len() <= slot {
            self.0.resize_with(slot + 1, || None);
        }
        let place = &mut self.0[slot];
        if place.as_ref().is_some_and(|exchange| exchange.key != key) {
            *place = None;
        }
        place.get_or_insert_with(|| Box::new(Exchange::new(key, stream, now)))
    }

    /// The exchange of a stream, by its number.
    pub(crate) fn get(&mut self, stream: u64) -> Option<&mut Exchange<K>> {
        let exchange = self.0.get_mut(slot_of(stream))?.as_deref_mut()?;
        (exchange.stream == stream).then_some(exchange)
    }

    /// Takes the exchange of a stream out, by its number.
    pub(crate) fn take(&mut self, stream: u64) -> Option<Box<Exchange<K>>> {
        self.0.get_mut(slot_of(stream))?.take_if(|exchange| exchange.stream == stream)
    }

    /// Takes out an exchange whose answer is still to be made, or made as it is sent.
    pub(crate) fn take_unwritten(&mut self) -> Option<Box<Exchange<K>>> {
        let unwritten =
            |exchange: &mut Box<Exchange<K>>| !matches!(exchange.source, Some(Source::Bytes(_)));
        self.0.iter_mut().find_map(|place| place.take_if(unwritten))
    }

    /// Drops every exchange: the connection is gone.
    pub(crate) fn abandon(&mut self, cx: &mut Cx<'_>) {
        for exchange in self.0.drain(..).flatten() {
            exchange.end("the connection ended", cx);
        }
    }

    /// Gives back the memory of a connection on which no stream is open.
    pub(crate) fn trim(&mut self) {
        self.0 = Vec::new();
    }
}

fn slot_of(stream: u64) -> usize {
    (stream & ((1 << SLOT_BITS) - 1)) as usize
}
