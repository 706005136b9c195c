//! A bounded queue of body bytes between a connection and a task of the same worker.
//!
//! One side is a connection, which fills a request's body or drains a response's. The other side is
//! a task. Each waits for the other: a full channel pauses the socket or the producing task, an
//! empty one pauses the handler or the sending.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::ring::send::Pinned;
use crate::rt::thread_state::Waiter;

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All of it came.
    Complete,
    /// The writing side gave up: the connection broke, or the producer failed.
    Aborted,
}

/// Result of a read.
pub(crate) enum Read {
    /// Bytes, at most as many as requested.
    Chunk(Pinned),
    /// Nothing available yet.
    Empty,
    /// No more will come.
    End(End),
}

/// Both ends of the queue.
#[derive(Clone, Default)]
pub(crate) struct BodyChannel(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    chunks: VecDeque<Pinned>,
    bytes: usize,
    end: Option<End>,
    reader_gone: bool,
    reader: Waiter,
    writer: Waiter,
    trailers: Vec<(String, String)>,
}

/// Bytes that a channel holds before its writer must wait. One further chunk may be in flight.
pub(crate) const CHANNEL_BYTES: usize = 128 * 1024;

impl BodyChannel {
    /// Adds bytes.
    pub(crate) fn push(&self, chunk: Pinned) {
        if chunk.len() == 0 {
            return;
        }
        let mut inner = self.0.borrow_mut();
        if inner.end.is_some() || inner.reader_gone {
            return;
        }
        inner.bytes += chunk.len();
        inner.chunks.push_back(chunk);
        wake_reader(inner);
    }

    /// Marks the end of the body.
    pub(crate) fn finish(&self, end: End) {
        let mut inner = self.0.borrow_mut();
        inner.end.get_or_insert(end);
        wake_reader(inner);
    }

    /// Marks the reader as gone: the writer need not wait, and what it writes is dropped.
    pub(crate) fn close_reader(&self) {
        let mut inner = self.0.borrow_mut();
        inner.reader_gone = true;
        inner.chunks.clear();
        inner.bytes = 0;
        wake_writer(inner);
    }

    /// True if the reader is gone.
    pub(crate) fn reader_gone(&self) -> bool {
        self.0.borrow().reader_gone
    }

    /// True once the end of the body is known.
    pub(crate) fn is_finished(&self) -> bool {
        self.0.borrow().end.is_some()
    }

    /// Bytes in the queue.
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().bytes
    }

    /// True while the writer should wait.
    pub(crate) fn is_full(&self) -> bool {
        let inner = self.0.borrow();
        inner.bytes >= CHANNEL_BYTES && !inner.reader_gone
    }

    /// Takes up to `max` bytes from the front.
    pub(crate) fn read(&self, max: usize) -> Read {
        let mut inner = self.0.borrow_mut();
        let Some(front) = inner.chunks.front_mut() else {
            return inner.end.map_or(Read::Empty, Read::End);
        };
        let chunk = front.split_to(max);
        if front.len() == 0 {
            inner.chunks.pop_front();
        }
        inner.bytes -= chunk.len();
        if inner.bytes < CHANNEL_BYTES {
            wake_writer(inner);
        }
        Read::Chunk(chunk)
    }

    /// Registers a waiter for data to read.
    pub(crate) fn wait_read(&self, waiter: Waiter) {
        self.0.borrow_mut().reader = waiter;
    }

    /// Registers a waiter for room to write.
    pub(crate) fn wait_write(&self, waiter: Waiter) {
        self.0.borrow_mut().writer = waiter;
    }

    /// Sets the trailers.
    pub(crate) fn set_trailers(&self, trailers: Vec<(String, String)>) {
        self.0.borrow_mut().trailers = trailers;
    }

    /// True if there are trailers.
    pub(crate) fn has_trailers(&self) -> bool {
        !self.0.borrow().trailers.is_empty()
    }

    /// Adds a trailer.
    pub(crate) fn add_trailer(&self, name: &[u8], value: &[u8]) {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        self.0.borrow_mut().trailers.push((text(name), text(value)));
    }

    /// Takes the trailers.
    pub(crate) fn take_trailers(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.0.borrow_mut().trailers)
    }
}

// The borrow must end before the waiter is woken, because a waker may use the channel.
fn wake_reader(mut inner: std::cell::RefMut<'_, Inner>) {
    let mut waiter = std::mem::take(&mut inner.reader);
    drop(inner);
    waiter.wake();
}

fn wake_writer(mut inner: std::cell::RefMut<'_, Inner>) {
    let mut waiter = std::mem::take(&mut inner.writer);
    drop(inner);
    waiter.wake();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::send::Owner;

    fn bytes(n: usize) -> Pinned {
        Pinned::new(Owner::Local(Rc::from(vec![7; n])), 0..n)
    }

    #[test]
    fn bytes_come_out_in_order_and_then_the_end() {
        let channel = BodyChannel::default();
        assert!(matches!(channel.read(9), Read::Empty));
        channel.push(Pinned::new(Owner::Static(b"abc"), 0..3));
        channel.push(Pinned::new(Owner::Static(b"def"), 0..3));
        channel.finish(End::Complete);
        channel.push(bytes(5));
        let mut out = Vec::new();
        loop {
            match channel.read(2) {
                Read::Chunk(chunk) => out.extend_from_slice(chunk.bytes()),
                Read::Empty => panic!("the channel has an end"),
                Read::End(end) => {
                    assert_eq!(end, End::Complete);
                    break;
                }
            }
        }
        assert_eq!(out, b"abcdef");
    }

    #[test]
    fn a_full_channel_makes_its_writer_wait_until_it_is_read_or_dropped() {
        let channel = BodyChannel::default();
        channel.push(bytes(CHANNEL_BYTES));
        assert!(channel.is_full());
        assert!(matches!(channel.read(1), Read::Chunk(_)));
        assert!(!channel.is_full());
        channel.push(bytes(CHANNEL_BYTES));
        channel.close_reader();
        assert!(!channel.is_full());
        assert_eq!(channel.len(), 0);
    }
}
