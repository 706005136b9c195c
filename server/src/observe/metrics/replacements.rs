//! How often the process has been replaced, and how many generations serve.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::ring::passing;

/// Counted over all generations: each hands its figures on.
#[derive(Debug, Default)]
pub(crate) struct Replacements {
    /// Former generations: their processes, and the ends that tell whether they live.
    former: Vec<(u32, OwnedFd)>,
    done: AtomicU32,
    failed: AtomicU32,
}

// The figures do not depend on each other.
impl Replacements {
    pub(crate) fn new(former: Vec<(u32, OwnedFd)>, done: u32, failed: u32) -> Self {
        let [done, failed] = [done, failed].map(AtomicU32::new);
        Self { former, done, failed }
    }

    pub(crate) fn done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Those that were done, and those that failed.
    pub(crate) fn counts(&self) -> (u32, u32) {
        (self.done.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// The processes of former generations that still serve.
    pub(super) fn former(&self) -> impl Iterator<Item = u32> + '_ {
        let alive = self.former.iter().filter(|(_, end)| !passing::has_ended(end));
        alive.map(|(pid, _)| *pid)
    }
}
