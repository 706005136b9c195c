//! A stream's exchange while it is more than one call: its request's body on the way in, its answer
//! on the way out. HTTP/2 and HTTP/3 streams alike have one.

use std::rc::Rc;

use http::StatusCode;
use ringway_codec::Time;
use ringway_codec::h2::{Code, Key, Pulled};

use super::Cx;
use super::h2::stream_number;
use crate::executor::Executor;
use crate::local::Waiter;
use crate::log::Entry;
use crate::pipe::{End, Pipe, Read};
use crate::request::OwnedRequest;
use crate::ring::send::{Owner, Pinned};
use crate::ring::token::Id;

/// A stream's exchange.
pub(super) struct Exchange {
    pub(super) key: Key,
    /// When the request was taken.
    pub(super) started: Time,
    /// The answer's status, once it is known.
    pub(super) status: StatusCode,
    /// The handler's task, while its answer is awaited.
    pub(super) task: Option<Id>,
    pub(super) sink: Option<Sink>,
    pub(super) source: Option<Source>,
    /// The request's line in the access log.
    pub(super) entry: Option<Box<Entry>>,
}

/// Where body bytes go.
pub(super) enum Sink {
    /// Into the request, which is handled when the body is complete.
    Buffer { request: Box<OwnedRequest>, limit: u64 },
    /// To a handler that reads as they come: bytes written to the pipe, and how many of them are
    /// known to be read.
    Pipe { pipe: Pipe, written: u64, read: u64 },
}

/// Where a response's body comes from.
pub(super) enum Source {
    /// It is there.
    Bytes(Pinned),
    /// It is being produced; so much is left of an announced length.
    Pipe { pipe: Pipe, task: Id, left: Option<u64> },
}

/// The body is larger than allowed.
pub(super) struct TooLarge;

impl Exchange {
    pub(super) fn new(key: Key, started: Time) -> Self {
        Self {
            key,
            started,
            status: StatusCode::OK,
            task: None,
            sink: None,
            source: None,
            entry: None,
        }
    }

    /// Takes body bytes; says how many are used already, and so may be credited to the peer.
    pub(super) fn receive(&mut self, bytes: &[u8], end: bool, conn: Id) -> Result<usize, TooLarge> {
        match &mut self.sink {
            Some(Sink::Buffer { request, limit }) => {
                if (request.body.len() + bytes.len()) as u64 > *limit {
                    return Err(TooLarge);
                }
                request.body.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            Some(Sink::Pipe { pipe, written, .. }) if !pipe.reader_gone() => {
                *written += bytes.len() as u64;
                pipe.push(Pinned::new(Owner::Owned(Rc::new(bytes.to_vec())), 0..bytes.len()));
                if !end {
                    pipe.wait_write(Waiter::Conn(conn, stream_number(self.key)));
                }
                Ok(0)
            }
            _ => Ok(bytes.len()),
        }
    }

    /// How much the handler has read since this was last asked.
    pub(super) fn take_read(&mut self, conn: Id) -> usize {
        let Some(Sink::Pipe { pipe, written, read }) = &mut self.sink else { return 0 };
        let now = *written - pipe.len() as u64;
        let fresh = now - *read;
        *read = now;
        if !pipe.reader_gone() {
            pipe.wait_write(Waiter::Conn(conn, stream_number(self.key)));
        }
        fresh as usize
    }

    /// Gives up to `max` bytes of the response's body.
    pub(super) fn pull(&mut self, max: usize, conn: Id) -> (Pulled, Option<Pinned>) {
        let mut piece = None;
        let pulled = self.give(max, &mut piece, conn);
        if let (Some(entry), Some(piece)) = (&mut self.entry, &piece) {
            entry.produced(piece.len());
        }
        (pulled, piece)
    }

    fn give(&mut self, max: usize, piece: &mut Option<Pinned>, conn: Id) -> Pulled {
        match &mut self.source {
            None => Pulled::Pending,
            Some(Source::Bytes(bytes)) => {
                *piece = Some(bytes.split_to(max));
                if bytes.len() == 0 { Pulled::End } else { Pulled::More }
            }
            Some(Source::Pipe { pipe, left, .. }) => match pipe.read(max) {
                Read::Chunk(chunk) => {
                    if let Some(left) = left {
                        let Some(rest) = left.checked_sub(chunk.len() as u64) else {
                            return Pulled::Abort(Code::INTERNAL_ERROR);
                        };
                        *left = rest;
                    }
                    *piece = Some(chunk);
                    Pulled::More
                }
                Read::Empty => {
                    pipe.wait_read(Waiter::Conn(conn, stream_number(self.key)));
                    Pulled::Pending
                }
                Read::End(End::Aborted) => Pulled::Abort(Code::INTERNAL_ERROR),
                Read::End(End::Complete) if left.is_some_and(|left| left > 0) => {
                    Pulled::Abort(Code::INTERNAL_ERROR)
                }
                Read::End(End::Complete) if pipe.has_trailers() => Pulled::Trailers,
                Read::End(End::Complete) => Pulled::End,
            },
        }
    }

    /// The fields that follow the response's body.
    pub(super) fn take_trailers(&mut self) -> Vec<(String, String)> {
        match &self.source {
            Some(Source::Pipe { pipe, .. }) => pipe.take_trailers(),
            _ => Vec::new(),
        }
    }

    /// Ends the exchange: its line is logged, and what still works for it stops.
    pub(super) fn end(mut self, abort: &'static str, cx: &mut Cx<'_>) {
        if let (Some(log), Some(mut entry)) = (cx.log.as_mut(), self.entry.take()) {
            entry.abort = abort;
            log.end(entry, cx.now);
        }
        self.abandon(cx.executor);
    }

    fn abandon(&self, executor: &mut Executor) {
        if let Some(task) = self.task {
            executor.cancel(task);
        }
        if let Some(Sink::Pipe { pipe, .. }) = &self.sink {
            pipe.finish(End::Aborted);
        }
        if let Some(Source::Pipe { pipe, task, .. }) = &self.source {
            executor.cancel(*task);
            pipe.close_reader();
        }
    }
}
