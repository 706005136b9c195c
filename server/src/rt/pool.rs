//! The worker's spare buffers: waking connections do not allocate, and idle ones hold none.

use crate::ring::send::Pinned;

/// Spare buffers kept; more are freed.
const KEEP: usize = 512;
/// Capacity of a new buffer: sixteen short answers. Buffers that have grown keep their capacity, so
/// a busy worker soon has the sizes it needs and touches no more pages than it uses.
const FRESH: usize = 3 * 1024;
/// Requests up to this size are served from the common buffers.
const ORDINARY: usize = 16 * 1024;
/// Larger buffers are kept in a list of their own.
const LARGE: usize = 64 * 1024;
/// Larger buffers are freed.
const HUGE: usize = 1024 * 1024;
/// Bytes of large buffers that are kept.
const KEEP_LARGE: usize = 2 * 1024 * 1024;

/// Spare overflow boxes kept.
const KEEP_OVERFLOW: usize = 64;

/// State that a connection needs for short times only; boxed so that an idle connection is small.
#[derive(Default)]
pub(crate) struct Overflow {
    /// Input that could not be used in the turn in which it came, with
    /// [`PAD`](ringway_codec::scan::PAD) bytes behind it.
    pub(crate) spill: Vec<u8>,
    /// Body bytes sent without a copy, after the gathered output.
    pub(crate) pinned: Option<Pinned>,
}

impl Overflow {
    /// True when it can be given back.
    pub(crate) fn is_empty(&self) -> bool {
        self.spill.is_empty() && self.pinned.is_none()
    }
}

/// Spare buffers.
pub(crate) struct Pool {
    spare: Vec<Vec<u8>>,
    #[expect(clippy::vec_box, reason = "it is the boxes that are lent")]
    overflows: Vec<Box<Overflow>>,
    large: Vec<Vec<u8>>,
    /// The capacity of the large ones.
    large_bytes: usize,
}

impl Default for Pool {
    /// Reserves room for everything that is kept, so that keeping allocates nothing.
    fn default() -> Self {
        let large = Vec::with_capacity(KEEP_LARGE / LARGE);
        let overflows = Vec::with_capacity(KEEP_OVERFLOW);
        Self { spare: Vec::with_capacity(KEEP), overflows, large, large_bytes: 0 }
    }
}

impl Pool {
    /// An empty buffer.
    #[inline]
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_else(|| Vec::with_capacity(FRESH))
    }

    /// An empty buffer for `len` bytes.
    pub(crate) fn take_for(&mut self, len: usize) -> Vec<u8> {
        if len <= ORDINARY {
            let mut buffer = self.take();
            buffer.reserve(len);
            return buffer;
        }
        // The most recently used buffer is likely still in the CPU's cache.
        let fits = self.large.iter().rposition(|buffer| buffer.capacity() >= len);
        let Some(at) = fits else { return Vec::with_capacity(len.next_multiple_of(LARGE) + 1) };
        let buffer = self.large.remove(at);
        self.large_bytes -= buffer.capacity();
        buffer
    }

    /// An empty box.
    pub(crate) fn take_overflow(&mut self) -> Box<Overflow> {
        self.overflows.pop().unwrap_or_default()
    }

    /// Takes an empty box back.
    pub(crate) fn give_overflow(&mut self, overflow: Box<Overflow>) {
        if self.overflows.len() < KEEP_OVERFLOW {
            self.overflows.push(overflow);
        }
    }

    /// Takes a buffer back.
    #[inline]
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if (FRESH..=LARGE).contains(&capacity) && self.spare.len() < KEEP {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Takes a buffer back that was sent: a large one is likely to be wanted again.
    #[inline]
    pub(crate) fn give_sent(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity <= LARGE {
            self.give(buffer);
        } else if capacity <= HUGE && self.large_bytes + capacity <= KEEP_LARGE {
            buffer.clear();
            self.large_bytes += capacity;
            self.large.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_buffers_come_back_up_to_a_bound() {
        let mut pool = Pool::default();
        let buffer = pool.take_for(300_000);
        assert!(buffer.capacity() >= 300_000);
        let place = buffer.as_ptr();
        pool.give_sent(buffer);
        assert!(pool.take_for(1000).capacity() <= LARGE, "a short one is not given a large one");
        let again = pool.take_for(200_000);
        assert_eq!((again.as_ptr(), pool.large_bytes), (place, 0));
        (0..20).for_each(|_| pool.give_sent(Vec::with_capacity(HUGE)));
        assert_eq!((pool.large_bytes, pool.large.len()), (KEEP_LARGE, KEEP_LARGE / HUGE));
        pool.give_sent(Vec::with_capacity(HUGE + 1));
        assert_eq!(pool.large_bytes, KEEP_LARGE);
    }
}
