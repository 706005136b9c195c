//! How often a worker's memory had the file: counted here, because a handler does not see the
//! worker's tally.

use std::cell::Cell;

/// What became of this worker's looks for files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheCounts {
    /// Found in memory.
    pub(crate) hits: u64,
    /// Found in memory, and compared with the disk because the last look was too old.
    pub(crate) checks: u64,
    /// Read from the disk.
    pub(crate) misses: u64,
}

thread_local! {
    static HITS: Cell<u64> = const { Cell::new(0) };
    static CHECKS: Cell<u64> = const { Cell::new(0) };
    static MISSES: Cell<u64> = const { Cell::new(0) };
}

/// The counts of the calling thread.
pub(crate) fn cache_counts() -> CacheCounts {
    CacheCounts { hits: HITS.get(), checks: CHECKS.get(), misses: MISSES.get() }
}

#[inline]
pub(super) fn hit() {
    HITS.set(HITS.get() + 1);
}

pub(super) fn check() {
    CHECKS.set(CHECKS.get() + 1);
}

pub(super) fn miss() {
    MISSES.set(MISSES.get() + 1);
}
