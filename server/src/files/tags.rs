//! Entity tags of the content for files that are too large for memory, made in the background.
//!
//! A tag of inode and times is available at once, but differs between machines. So one thread of
//! the process reads large files, one at a time and rate-limited, and keeps their fingerprints by
//! inode and times. Files are found by a walk of the directory at the start and by requests. A
//! request only looks into a map and may queue a path.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::hash::Fingerprint;
use super::meta::{Kind, Meta};
use crate::rt::console::note;

/// Bytes of a read.
const CHUNK: usize = 256 * 1024;
/// A file that changed more recently may change again within the same time stamp, or is being
/// written: it is read later.
const SETTLED: Duration = Duration::from_millis(250);
/// How often that is retried.
const TRIES: u32 = 40;
/// Maximum number of queued paths from requests.
const WANTED_MAX: usize = 1024;
/// Entries of directories that a walk looks at.
const WALK_MAX: usize = 200_000;

/// The tags of the services that share them.
#[derive(Debug)]
pub(crate) struct Tags {
    /// Maximum number of tags.
    most: usize,
    /// Bytes that may be read in a second.
    rate: u64,
    known: Mutex<Known>,
}

/// Fingerprints by file; `None` while one is being made.
#[derive(Debug, Default)]
struct Known {
    prints: HashMap<Meta, Option<u128>>,
    /// The oldest first.
    order: VecDeque<Meta>,
}

impl Tags {
    /// At most `most` tags, for which `rate` bytes a second are read; none where either is 0.
    pub(crate) fn new(most: usize, rate: u64) -> Self {
        Self { most, rate, known: Mutex::default() }
    }

    fn is_off(&self) -> bool {
        self.most == 0 || self.rate == 0
    }

    /// The fingerprint of the file with this inode and these times. If unknown, queues the file at
    /// the path that `path` returns.
    pub(crate) fn find(
        self: &Arc<Self>,
        meta: &Meta,
        path: impl FnOnce() -> PathBuf,
    ) -> Option<u128> {
        if self.is_off() {
            return None;
        }
        let mut known = self.known();
        match known.prints.entry(*meta) {
            Entry::Occupied(entry) => return *entry.get(),
            Entry::Vacant(entry) => entry.insert(None),
        };
        known.order.push_back(*meta);
        while known.order.len() > self.most {
            if let Some(oldest) = known.order.pop_front() {
                known.prints.remove(&oldest);
            }
        }
        drop(known);
        if !Queue::want(Job::new(self, path(), Some(*meta))) {
            self.forget(meta);
        }
        None
    }

    /// Queues all files above `above` bytes below `dir`.
    pub(crate) fn walk(self: &Arc<Self>, dir: &Path, above: u64) {
        if !self.is_off() {
            let job = Job { above: Some(above), ..Job::new(self, dir.to_owned(), None) };
            Queue::want(job);
        }
    }

    fn forget(&self, meta: &Meta) {
        let mut known = self.known();
        if known.prints.get(meta) == Some(&None) {
            known.prints.remove(meta);
            known.order.retain(|other| other != meta);
        }
    }

    fn found(&self, meta: Meta, print: u128) {
        let mut known = self.known();
        if known.prints.insert(meta, Some(print)).is_none() {
            known.order.push_back(meta);
        }
        if known.order.len() > self.most
            && let Some(oldest) = known.order.pop_front()
        {
            known.prints.remove(&oldest);
        }
    }

    fn is_known(&self, meta: &Meta) -> bool {
        self.known().prints.get(meta).is_some_and(Option::is_some)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file to be read, or a directory to be walked through.
struct Job {
    tags: Weak<Tags>,
    path: PathBuf,
    /// What a request waits for.
    wanted: Option<Meta>,
    /// A directory, of whose files those above so many bytes count.
    above: Option<u64>,
    due: Instant,
    tries: u32,
}

impl Job {
    fn new(tags: &Arc<Tags>, path: PathBuf, wanted: Option<Meta>) -> Self {
        let tags = Arc::downgrade(tags);
        Self { tags, path, wanted, above: None, due: Instant::now(), tries: 0 }
    }
}

/// The jobs of all services of the process.
struct Queue {
    wanted: VecDeque<Job>,
    /// Jobs from walks, done when no request waits.
    found: VecDeque<Job>,
    is_running: bool,
}

static QUEUE: Mutex<Queue> =
    Mutex::new(Queue { wanted: VecDeque::new(), found: VecDeque::new(), is_running: false });
static WAKE: Condvar = Condvar::new();

impl Queue {
    fn lock() -> MutexGuard<'static, Self> {
        QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job behind those that are wanted; false where there are too many.
    fn want(job: Job) -> bool {
        let mut queue = Self::lock();
        if queue.wanted.len() >= WANTED_MAX {
            return false;
        }
        if !queue.is_running {
            let thread = std::thread::Builder::new().name("ringway-tags".into()).spawn(run);
            if let Err(error) = thread {
                note!("warning: no thread can be had ({error}): large files keep tags of inodes");
                return false;
            }
            queue.is_running = true;
        }
        queue.wanted.push_back(job);
        WAKE.notify_all();
        true
    }

    /// The first job that is due, or when one will be.
    fn take(&mut self) -> Result<Job, Option<Instant>> {
        let now = Instant::now();
        for jobs in [&mut self.wanted, &mut self.found] {
            if let Some(job) = jobs.iter().position(|job| job.due <= now) {
                return jobs.remove(job).ok_or(None);
            }
        }
        Err(self.wanted.iter().chain(&self.found).map(|job| job.due).min())
    }
}

/// Does the jobs; ends after a while without any.
fn run() {
    const PATIENCE: Duration = Duration::from_secs(10);
    ringway_tuning::start::work_in_the_background();
    let mut buffer = vec![0; CHUNK];
    let mut queue = Queue::lock();
    loop {
        match queue.take() {
            Ok(job) => {
                drop(queue);
                do_job(job, &mut buffer);
                queue = Queue::lock();
            }
            Err(due) => {
                let wait = due.map(|due| due.saturating_duration_since(Instant::now()));
                let waited = WAKE.wait_timeout(queue, wait.unwrap_or(PATIENCE));
                let (back, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                queue = back;
                if due.is_none() && timeout.timed_out() && queue.wanted.is_empty() {
                    queue.is_running = false;
                    return;
                }
            }
        }
    }
}

fn do_job(mut job: Job, buffer: &mut [u8]) {
    let Some(tags) = job.tags.upgrade() else { return };
    if let Some(above) = job.above {
        return walk(&tags, &job.path, above);
    }
    match read(tags, &job.tags, &job.path, buffer) {
        Ok(true) => {}
        Ok(false) if job.tries < TRIES => {
            job.tries += 1;
            job.due = Instant::now() + SETTLED;
            let mut queue = Queue::lock();
            match job.wanted {
                Some(_) => queue.wanted.push_back(job),
                None => queue.found.push_back(job),
            }
            return;
        }
        _ => {}
    }
    // Another request for it will queue it again.
    if let (Some(tags), Some(meta)) = (job.tags.upgrade(), &job.wanted) {
        tags.forget(meta);
    }
}

/// Reads a file and keeps its fingerprint; false while it is too fresh, or changes meanwhile.
fn read(tags: Arc<Tags>, service: &Weak<Tags>, path: &Path, buffer: &mut [u8]) -> io::Result<bool> {
    let mut options = File::options();
    let options = options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC);
    let mut file = options.open(path)?;
    let meta = Meta::from(&file.metadata()?);
    if meta.kind != Kind::File || tags.is_known(&meta) {
        return Ok(true);
    }
    if !is_settled(&meta) {
        return Ok(false);
    }
    let rate = tags.rate;
    // The service may end while a large file is read.
    drop(tags);
    let (started, mut print) = (Instant::now(), Fingerprint::default());
    loop {
        let bytes = file.read(buffer)?;
        print.update(&buffer[..bytes]);
        let at_end = bytes == 0;
        if at_end || print.len() % (16 << 20) < CHUNK as u64 {
            if Meta::from(&file.metadata()?) != meta {
                return Ok(false);
            }
            let Some(tags) = service.upgrade() else { return Ok(true) };
            if at_end {
                if print.len() == meta.size {
                    tags.found(meta, print.finish());
                }
                return Ok(true);
            }
        }
        let due = Duration::from_secs_f64(print.len() as f64 / rate as f64);
        std::thread::sleep(due.saturating_sub(started.elapsed()));
    }
}

fn is_settled(meta: &Meta) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i128;
    let recent = now - SETTLED.as_nanos() as i128..now + 1_000_000_000;
    // A file from the far future is settled: its next change brings the time back.
    !recent.contains(&meta.changed_ns) && !recent.contains(&meta.modified_ns)
}

/// Finds the files above so many bytes: those that a request could name without a symbolic link.
fn walk(tags: &Arc<Tags>, root: &Path, above: u64) {
    let (mut dirs, mut seen, mut found) = (vec![root.to_owned()], 0, VecDeque::new());
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        for entry in entries.flatten() {
            seen += 1;
            if seen > WALK_MAX || found.len() >= tags.most {
                dirs.clear();
                break;
            }
            if seen % 256 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            let (name, Ok(kind)) = (entry.file_name(), entry.file_type()) else { continue };
            if name.as_encoded_bytes().starts_with(b".") && name != ".well-known" {
                continue;
            }
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if kind.is_file() && entry.metadata().is_ok_and(|found| found.len() > above) {
                found.push_back(Job::new(tags, entry.path(), None));
            }
        }
    }
    let mut queue = Queue::lock();
    // Results of an earlier walk belong to a directory that is gone.
    queue.found.retain(|job| {
        !std::ptr::eq(job.tags.as_ptr(), Arc::as_ptr(tags)) || !job.path.starts_with(root)
    });
    queue.found.append(&mut found);
}
