//! What the black-box tests share: servers in processes of their own, a client that trusts nothing,
//! and a watch over latency and memory. It speaks to the kernel and to sockets only, never to
//! ringway's own code, but for `app`, which is the application under test.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

pub mod app;
pub mod app_h2;
pub mod both;
pub mod browser;
pub mod client;
pub mod devtools;
pub mod h2;
pub mod initial;
pub mod process;
pub mod quic;
pub mod rude;
pub mod site;
pub mod slow;
pub mod tls;
pub mod watch;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up: generous, because machines are busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of its own for one test, removed at the end.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ringway-{}-{next}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A directory with these files, folders made as needed.
    pub fn with(files: &[(&str, &[u8])]) -> Self {
        let dir = Self::new();
        for (name, bytes) in files {
            dir.write(name, bytes);
        }
        dir
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Wait until something holds; panics with `what` when it does not within [`PATIENCE`].
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A missing tool or tree is a failure where everything was to be installed, else a named skip.
pub fn missing(what: &str) {
    assert!(std::env::var_os("RINGWAY_TEST_COMPLETE").is_none(), "{what} is missing");
    println!("skipped: {what} is missing");
}

/// Bytes that differ from place to place, so that a shifted or repeated piece is noticed.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}
