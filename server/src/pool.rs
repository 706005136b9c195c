//! The worker's spare buffers, so that a connection that wakes up does not allocate and one that
//! sleeps holds none.

/// Spare buffers kept; more are freed.
const KEEP: usize = 512;
/// The capacity that a fresh buffer has.
const FRESH: usize = 16 * 1024;
/// Buffers that have grown beyond this are freed rather than kept.
const LARGE: usize = 64 * 1024;

/// Spare buffers.
#[derive(Default)]
pub(crate) struct Pool {
    spare: Vec<Vec<u8>>,
}

impl Pool {
    /// An empty buffer.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_else(|| Vec::with_capacity(FRESH))
    }

    /// Takes a buffer back.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() >= FRESH && buffer.capacity() <= LARGE && self.spare.len() < KEEP {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}
