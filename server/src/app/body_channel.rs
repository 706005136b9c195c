//! A bounded queue of body bytes between a connection and a task of the same worker.
//!
//! One side is a connection (it fills a request's body, or empties a response's), the other a task.
//! Each waits for the other: a full channel stops the reading of the socket or the producing task,
//! an empty one the handler or the sending.

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
    /// The side that wrote it gave up: the connection broke, or the producer failed.
    Aborted,
}

/// What there is to read.
pub(crate) enum Read {
    /// Bytes, at most as many as asked for.
    Chunk(Pinned),
    /// Nothing yet.
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

/// Bytes that a channel takes before its writer must wait; one chunk more may be on its way.
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

    /// Says that no more bytes will come.
    pub(crate) fn finish(&self, end: End) {
        let mut inner = self.0.borrow_mut();
        inner.end.get_or_insert(end);
        wake_reader(inner);
    }

    /// Says that nobody reads any more: the writer need not wait, and what it writes is dropped.
    pub(crate) fn close_reader(&self) {
        let mut inner = self.0.borrow_mut();
        inner.reader_gone = true;
        inner.chunks.clear();
        inner.bytes = 0;
        wake_writer(inner);
    }

    /// True when the other side will read no more.
    pub(crate) fn reader_gone(&self) -> bool {
        self.0.borrow().reader_gone
    }

    /// True when it is known how the body ends.
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

    /// Has the reader told when there is something to read.
    pub(crate) fn wait_read(&self, waiter: Waiter) {
        self.0.borrow_mut().reader = waiter;
    }

    /// Has the writer told when there is room.
    pub(crate) fn wait_write(&self, waiter: Waiter) {
        self.0.borrow_mut().writer = waiter;
    }

    /// Sets the fields that follow the body.
    pub(crate) fn set_trailers(&self, trailers: Vec<(String, String)>) {
        self.0.borrow_mut().trailers = trailers;
    }

    /// True when fields follow the body.
    pub(crate) fn has_trailers(&self) -> bool {
        !self.0.borrow().trailers.is_empty()
    }

    /// Adds a field that follows the body.
    pub(crate) fn add_trailer(&self, name: &[u8], value: &[u8]) {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        self.0.borrow_mut().trailers.push((text(name), text(value)));
    }

    /// Takes the fields that follow the body.
    pub(crate) fn take_trailers(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.0.borrow_mut().trailers)
    }
}

// The borrow ends before anyone is woken: a waker may look into the channel.
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
