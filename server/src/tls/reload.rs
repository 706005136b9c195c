//! Which files changed since they were last read. Files are looked up by path each time, so an
//! atomic rename and the swap of a symlinked directory (Kubernetes, certbot) are seen like a write.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// What tells one state of a file from another; nothing while it is missing.
type Stamp = Option<[i64; 7]>;

/// The files to watch and their states.
#[derive(Debug)]
pub(super) struct Watch {
    paths: Vec<PathBuf>,
    /// As they were when last read.
    tried: Vec<Stamp>,
    /// As they were at the last look.
    seen: Vec<Stamp>,
}

impl Watch {
    /// Watches `paths` from their present state on: call it before they are read.
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        let seen = stamps(&paths);
        Self { paths, tried: seen.clone(), seen }
    }

    /// Whether the files changed and have settled: two looks in a row saw the same new state, so
    /// that a half-written pair is rarely read. True once for each state.
    pub(super) fn changed(&mut self) -> bool {
        let now = stamps(&self.paths);
        let settled = now == self.seen;
        self.seen = now;
        if !settled || self.seen == self.tried {
            return false;
        }
        self.tried.clone_from(&self.seen);
        true
    }

    /// Counts the present state as read.
    pub(super) fn reset(&mut self) {
        *self = Self::new(std::mem::take(&mut self.paths));
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let of = std::fs::metadata(path).ok()?;
        let (device, inode, size) = (of.dev() as i64, of.ino() as i64, of.size() as i64);
        Some([device, inode, size, of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()])
    };
    paths.iter().map(stamp).collect()
}
