//! Outgoing response bodies: where the bytes come from. Each protocol handles its own framing.

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
    /// Complete, in memory.
    Bytes(Pinned),
    /// Being produced; `left` counts down the announced length.
    Channel { channel: BodyChannel, task: Id, left: Option<u64> },
}

/// Result of pulling a response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pulled {
    /// There is, or may be, more.
    More,
    /// More will come: the connection is notified.
    Pending,
    /// The body has ended.
    End,
    /// The body has ended; trailers follow.
    Trailers,
    /// The producer failed, or did not keep to its announced length.
    Broken,
}

impl Source {
    /// The body of a stream's response. Starts its producer, if any.
    pub(crate) fn of(body: Body, owner: TaskOwner, cx: &mut Context<'_>) -> Self {
        match body {
            Body::Stream(producer) => Self::start(producer, owner, cx),
            body => Self::Bytes(body.pin()),
        }
    }

    /// Starts a producer, which wakes `owner` when there is data.
    pub(crate) fn start(producer: Producer, owner: TaskOwner, cx: &mut Context<'_>) -> Self {
        let left = producer.length();
        let (channel, future) = producer.into_parts();
        let task = cx.executor.spawn(owner, Work::Produce(future));
        channel.wait_read(Waiter::Conn(owner.conn, owner.stream));
        Self::Channel { channel, task, left }
    }

    /// Returns up to `max` bytes. `owner` is notified when there is more.
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

    /// The trailers.
    pub(crate) fn take_trailers(&self) -> Vec<(String, String)> {
        match self {
            Self::Channel { channel, .. } => channel.take_trailers(),
            Self::Bytes(_) => Vec::new(),
        }
    }

    /// Stops the producer: the rest is not wanted.
    pub(crate) fn stop(&self, executor: &mut Executor<Response>) {
        if let Self::Channel { channel, task, .. } = self {
            executor.cancel(*task);
            channel.close_reader();
        }
    }
}
