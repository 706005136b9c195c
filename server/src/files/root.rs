//! The directory that a service serves, kept open, and the thread that notices when it is replaced.
//!
//! A deployment swaps a symbolic link, moves a directory, or rebuilds it; an open descriptor then
//! still refers to the old one. One thread of the process compares every root with its path [four
//! times a second](EVERY), so no request pays for it. Workers notice a change by a number that they
//! compare at each request.

use std::fs::Metadata;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::Duration;

use crate::rt::console::note;

/// How often roots are compared with their paths.
const EVERY: Duration = Duration::from_millis(250);
/// Looks in a row that must fail before a root counts as gone: between the two renames of a
/// deployment there is no directory for a moment.
const MISSES: u32 = 2;

/// A directory by its path, and what is open of it. Shared by all workers.
#[derive(Debug)]
pub(crate) struct Root {
    /// Absolute, so that it does not depend on the working directory.
    pub(crate) dir: PathBuf,
    /// Incremented when another directory, or none, is open; 0 until one was.
    generation: AtomicU64,
    state: Mutex<State>,
    /// The generation whose large files were looked for.
    walked: AtomicU64,
    watched: Once,
}

#[derive(Debug, Default)]
struct State {
    open: Option<Arc<OwnedFd>>,
    /// Device and inode of what is open: while it is open no other directory gets them.
    identity: (u64, u64),
    misses: u32,
    /// The message that it cannot be opened was printed.
    told: bool,
}

impl Root {
    /// The root at `dir`, not open yet.
    pub(crate) fn new(dir: PathBuf) -> Self {
        let dir = std::path::absolute(&dir).unwrap_or(dir);
        let (generation, state, walked) = Default::default();
        Self { dir, generation, state, walked, watched: Once::new() }
    }

    /// Opens the directory, once, and has it watched from then on. Blocks for the open.
    pub(crate) fn watch(self: &Arc<Self>) {
        self.watched.call_once(|| {
            self.look(true);
            Watched::add(self);
        });
    }

    /// The number of what is open. One load, of memory that is hardly ever written.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether what is open has not been asked for here; true once for each generation.
    pub(crate) fn is_unwalked(&self) -> bool {
        let generation = self.generation();
        generation > 0 && self.walked.swap(generation, Ordering::Relaxed) != generation
    }

    /// What is open, with its number.
    pub(crate) fn current(&self) -> (u64, Option<Arc<OwnedFd>>) {
        let state = self.state();
        (self.generation(), state.open.clone())
    }

    /// Compares the open directory with the path, and opens what is there now if it is another;
    /// `anew` believes the first failure.
    fn look(&self, anew: bool) {
        let found = std::fs::metadata(&self.dir);
        let mut state = self.state();
        let is_known = |found: &Metadata| {
            state.open.is_some() && state.identity == identity(found) && found.is_dir()
        };
        match found {
            // What workers have in memory of this very directory stays.
            Ok(found) if is_known(&found) => state.misses = 0,
            Ok(_) => match open(&self.dir) {
                Ok((fd, identity)) => self.take(&mut state, fd, identity),
                Err(error) => self.miss(&mut state, anew, &error),
            },
            Err(error) => self.miss(&mut state, anew, &error),
        }
    }

    fn take(&self, state: &mut State, fd: OwnedFd, identity: (u64, u64)) {
        if state.told {
            note!("ringway: {} is there again: its files are served", self.dir.display());
        } else if state.open.is_some() && state.identity != identity {
            note!("ringway: {} is another directory now: its files are served", self.dir.display());
        }
        *state = State { open: Some(Arc::new(fd)), identity, misses: 0, told: false };
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn miss(&self, state: &mut State, at_once: bool, error: &io::Error) {
        // For want of descriptors or memory nothing was found out.
        if is_exhausted(error) && self.generation() > 0 {
            return;
        }
        state.misses += 1;
        if state.told || (state.misses < MISSES && !at_once) {
            return;
        }
        let was_open = state.open.take().is_some();
        state.told = true;
        if was_open {
            self.generation.fetch_add(1, Ordering::Release);
        }
        note!(
            "ringway: cannot open {}, whose files are to be served: {error}; requests for them \
             are answered with {} until it is there",
            self.dir.display(),
            if was_open { 503 } else { 500 }
        );
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the process or the system has run out of something.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN))
}

fn open(dir: &Path) -> io::Result<(OwnedFd, (u64, u64))> {
    let root = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_PATH | libc::O_CLOEXEC)
        .open(dir)?;
    let identity = identity(&root.metadata()?);
    Ok((root.into(), identity))
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// Compares every root with its path as soon as possible, at the operator's request.
pub(crate) fn reopen() {
    let mut watched = Watched::lock();
    watched.reopen = true;
    WAKE.notify_all();
}

/// The roots of the process, and the thread that compares them.
struct Watched {
    roots: Vec<Weak<Root>>,
    is_running: bool,
    reopen: bool,
}

static WATCHED: Mutex<Watched> =
    Mutex::new(Watched { roots: Vec::new(), is_running: false, reopen: false });
static WAKE: Condvar = Condvar::new();

impl Watched {
    fn lock() -> MutexGuard<'static, Self> {
        WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(root: &Arc<Root>) {
        let mut watched = Self::lock();
        watched.roots.push(Arc::downgrade(root));
        if watched.is_running {
            return;
        }
        let thread = std::thread::Builder::new().name("ringway-roots".into()).spawn(run);
        match thread {
            Ok(_) => watched.is_running = true,
            Err(error) => note!(
                "warning: no thread can be had ({error}): that a served directory is replaced will \
                 not be noticed"
            ),
        }
    }
}

/// Compares the roots until all of them are gone.
fn run() {
    ringway_tuning::start::leave_the_cpu_of_the_caller();
    let (mut watched, mut roots) = (Watched::lock(), Vec::new());
    loop {
        watched.roots.retain(|root| root.strong_count() > 0);
        if watched.roots.is_empty() {
            watched.is_running = false;
            return;
        }
        let reopen = std::mem::take(&mut watched.reopen);
        roots.extend(watched.roots.iter().filter_map(Weak::upgrade));
        drop(watched);
        roots.iter().for_each(|root| root.look(reopen));
        roots.clear();
        watched = Watched::lock();
        if !watched.reopen {
            let waited = WAKE.wait_timeout(watched, EVERY);
            watched = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
