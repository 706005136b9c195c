//! A response's body on its way out: where its bytes come from. How they are framed is each
//! protocol's own business.

use super::Context;
use crate::app::body::Producer;
use crate::app::body_channel::{BodyChannel, End, Read};
use crate::app::response::{Body, Response};
use crate::ring::send::Pinned;
use crate::ring::token::Id;
use crate::rt::executor::{Executor, TaskOwner, Work};
use crate::rt::thread_state::Waiter;

/// Where a response's body comes from.
pub(crate) enum Source {
    /// It is there.
    Bytes(Pinned),
    /// It is being produced; so much is left of an announced length.
    Channel { channel: BodyChannel, task: Id, left: Option<u64> },
}

/// What pulling a response's body came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pulled {
    /// There is, or may be, more.
    More,
    /// There will be more: the connection will be told.
    Pending,
    /// That was all.
    End,
    /// That was all but trailers.
    Trailers,
    /// The producer gave up, or did not keep to the length that it announced.
    Broken,
}

impl Source {
    /// The body of a stream's response; one that is still to be produced is begun.
    pub(crate) fn of(body: Body, owner: TaskOwner, cx: &mut Context<'_>) -> Self {
        match body {
            Body::Stream(producer) => Self::start(producer, owner, cx),
            body => Self::Bytes(body.pin()),
        }
    }

    /// Starts what produces a body, which is to wake `owner` when it has something.
    pub(crate) fn start(producer: Producer, owner: TaskOwner, cx: &mut Context<'_>) -> Self {
        let left = producer.length();
        let (channel, future) = producer.into_parts();
        let task = cx.executor.spawn(owner, Work::Produce(future));
        channel.wait_read(Waiter::Conn(owner.conn, owner.stream));
        Self::Channel { channel, task, left }
    }

    /// Gives up to `max` bytes. `owner` is told when there is more.
    pub(crate) fn pull(&mut self, max: usize, owner: TaskOwner) -> (Pulled, Option<Pinned>) {
        let (channel, left) = match self {
            Self::Bytes(bytes) => {
                let piece = bytes.split_to(max);
                let pulled = if bytes.len() == 0 { Pulled::End } else { Pulled::More };
                return (pulled, Some(piece));
            }
            Self::Channel { channel, left, .. } => (channel, left),
        };
        let pulled = match channel.read(max) {
            Read::Chunk(chunk) => {
                if let Some(left) = left {
                    let Some(rest) = left.checked_sub(chunk.len() as u64) else {
                        return (Pulled::Broken, None);
                    };
                    *left = rest;
                }
                return (Pulled::More, Some(chunk));
            }
            Read::Empty => {
                channel.wait_read(Waiter::Conn(owner.conn, owner.stream));
                Pulled::Pending
            }
            Read::End(End::Aborted) => Pulled::Broken,
            Read::End(End::Complete) if left.is_some_and(|left| left > 0) => Pulled::Broken,
            Read::End(End::Complete) if channel.has_trailers() => Pulled::Trailers,
            Read::End(End::Complete) => Pulled::End,
        };
        (pulled, None)
    }

    /// The fields that follow the body.
    pub(crate) fn take_trailers(&self) -> Vec<(String, String)> {
        match self {
            Self::Channel { channel, .. } => channel.take_trailers(),
            Self::Bytes(_) => Vec::new(),
        }
    }

    /// Nobody takes the rest: what produces it stops.
    pub(crate) fn stop(&self, executor: &mut Executor<Response>) {
        if let Self::Channel { channel, task, .. } = self {
            executor.cancel(*task);
            channel.close_reader();
        }
    }
}
