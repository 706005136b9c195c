//! An answer that is not written at once: one that is waited for, or whose body flows.

use super::Cx;
use super::head::Framing;
use super::output::{COPY_MAX, Link};
use crate::app::body::Producer;
use crate::app::body_channel::{BodyChannel, End, Read};
use crate::ring::send::Pinned;
use crate::ring::token::Id;
use crate::rt::executor::{Owner, Work};
use crate::rt::thread_state::Waiter;

/// Most bytes that are taken from a producer for one send.
const PULL_MAX: usize = 256 * 1024;

/// The answer at hand, unless it is written already.
#[derive(Default)]
pub(crate) enum Outgoing {
    /// There is none.
    #[default]
    None,
    /// A task of the executor will answer.
    Waiting(Id),
    /// Its body is being produced.
    Body(Box<Sending>),
}

impl Outgoing {
    /// Drops the task and whatever it was for.
    pub(crate) fn abandon(self, cx: &mut Cx<'_>) {
        match self {
            Self::None => {}
            Self::Waiting(task) => cx.executor.cancel(task),
            Self::Body(sending) => {
                cx.executor.cancel(sending.task);
                sending.channel.close_reader();
            }
        }
    }
}

/// A body that is sent as it is produced.
pub(crate) struct Sending {
    channel: BodyChannel,
    task: Id,
    owner: Owner,
    framing: Framing,
    /// The CRLF that ends the chunk before, still to be written.
    chunk_open: bool,
}

/// What pulling came to.
pub(crate) enum Pulled {
    /// The producer has to produce, or the client to read.
    Waiting,
    /// The body is complete.
    Complete,
    /// The producer gave up, or did not keep to the length it announced.
    Broken,
}

impl Sending {
    pub(crate) fn new(producer: Producer, framing: Framing, owner: Owner, cx: &mut Cx<'_>) -> Self {
        let (channel, future) = producer.into_parts();
        let task = cx.executor.spawn(owner, Work::Produce(future));
        channel.wait_read(Waiter::Conn(owner.conn, owner.stream));
        Self { channel, task, owner, framing, chunk_open: false }
    }

    /// Moves what is there into the output, up to its bound; adds the bytes of the body to `sent`.
    pub(crate) fn pull(&mut self, sent: &mut usize, link: &mut Link, cx: &mut Cx<'_>) -> Pulled {
        while link.has_room(cx) {
            match self.channel.read(PULL_MAX) {
                Read::Empty => {
                    self.channel.wait_read(Waiter::Conn(self.owner.conn, self.owner.stream));
                    return Pulled::Waiting;
                }
                Read::Chunk(chunk) => {
                    *sent += chunk.len();
                    if !self.put(chunk, link, cx) {
                        return Pulled::Broken;
                    }
                }
                Read::End(end) => return self.end(end, link, cx),
            }
        }
        Pulled::Waiting
    }

    fn put(&mut self, chunk: Pinned, link: &mut Link, cx: &mut Cx<'_>) -> bool {
        let out = link.output(cx);
        match &mut self.framing {
            Framing::Length(left) => match left.checked_sub(chunk.len() as u64) {
                Some(rest) => *left = rest,
                None => return false,
            },
            Framing::Chunked => {
                if self.chunk_open {
                    out.extend_from_slice(b"\r\n");
                }
                self.chunk_open = true;
                hex(out, chunk.len());
                out.extend_from_slice(b"\r\n");
            }
            Framing::UntilClose | Framing::Bodiless => {}
        }
        if chunk.len() <= COPY_MAX {
            out.extend_from_slice(chunk.bytes());
        } else {
            link.pin(chunk, cx);
        }
        true
    }

    fn end(&mut self, end: End, link: &mut Link, cx: &mut Cx<'_>) -> Pulled {
        match self.framing {
            _ if end == End::Aborted => return Pulled::Broken,
            Framing::Length(left) if left > 0 => return Pulled::Broken,
            Framing::Chunked => {
                let out = link.output(cx);
                out.extend_from_slice(if self.chunk_open { b"\r\n0\r\n" } else { b"0\r\n" });
                for (name, value) in self.channel.take_trailers() {
                    ringway_codec::h1::response::field(out, name.as_bytes(), value.as_bytes());
                }
                out.extend_from_slice(b"\r\n");
            }
            _ => {}
        }
        Pulled::Complete
    }
}

fn hex(out: &mut Vec<u8>, value: usize) {
    let digits = (usize::BITS - (value | 1).leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[value >> (4 * digit) & 15]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_are_hexadecimal() {
        for value in [0, 1, 9, 10, 15, 16, 255, 256, 0xdead_beef, usize::MAX] {
            let mut out = Vec::new();
            hex(&mut out, value);
            assert_eq!(out, format!("{value:x}").as_bytes());
        }
    }
}
