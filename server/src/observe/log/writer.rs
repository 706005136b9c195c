//! Writes the workers' batches to the file. A worker appends lines to its batch and hands a full
//! one over without waiting. The batch comes back empty, so a warm server logs without allocating.
//! When the writer falls behind, because of a slow disk or a pipe that nobody reads, batches are
//! dropped and their lines counted.

use super::entry::Settled;
use super::filter::Filter;
use super::sink::{LogSink, Loss};
use super::{Entry, Format, Record};
use crate::config::{LogConfig, LogFormat};
use crate::ring::token::Id;
use crate::rt::console::note;
use ringway_codec::Time;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// A batch goes to the writer once it has grown to this: about 200 lines, well under a pipe's 64
/// KiB.
const BATCH_BYTES: usize = 32 * 1024;

/// Maximum age of a line in a batch. A reader sees the log live, and a worker hands over at most
/// five batches a second unless they are full.
const PATIENCE: Duration = Duration::from_millis(200);

/// Empty batches kept by a worker; more are freed.
const SPARE_BATCHES: usize = 4;

/// The one thread that writes. Dropping it without [`Writer::finish`] leaves the thread to end by
/// itself once the last [`Log`] is gone.
#[derive(Debug)]
pub struct Writer {
    queue: SyncSender<Batch>,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
    done: Receiver<()>,
}

/// A worker's own end of the log. Not shared between threads.
#[derive(Debug)]
pub struct Log {
    format: Format,
    pub(super) filter: Filter,
    batch: Vec<u8>,
    lines: u64,
    /// When the first line came into the batch.
    since: Time,
    /// Microseconds since 1970 when the worker's own clock was 0.
    origin: u64,
    pub(super) worker: usize,
    #[expect(clippy::vec_box, reason = "the allocation is what is kept")]
    pub(super) spare: Vec<Box<Entry>>,
    /// The TLS sessions of the connections that have one, where the format shows them.
    pub(super) sessions: HashMap<Id, Arc<Settled>>,
    queue: SyncSender<Batch>,
    emptied: Receiver<Vec<u8>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
    /// Whose batch it is; past the last worker for one that only wakes the writer.
    worker: usize,
}

#[derive(Debug, Default)]
struct Shared {
    dropped: Dropped,
    reopen: AtomicBool,
    /// Loss has been spoken of, since the start or the last reopening.
    told: AtomicBool,
}

impl Shared {
    /// Counts lines that are lost because the queue is full. The first time, a thread of its own
    /// says so: standard error may be what nobody reads.
    fn lose(&self, lines: u64) {
        self.dropped.0.fetch_add(lines, Ordering::Relaxed);
        if !self.told.swap(true, Ordering::Relaxed) {
            let tell = || {
                note!("warning: access log: its reader is too slow: lines are dropped and counted");
            };
            // Where no thread can be had it is only counted.
            let _ = Builder::new().name("ringway-log-say".into()).spawn(tell);
        }
    }
}

/// The count of dropped lines. Clones count together, also over several writers.
#[derive(Clone, Debug, Default)]
pub struct Dropped(Arc<AtomicU64>);

impl Dropped {
    /// Lines dropped since the start, because the queue was full or they could not be written.
    pub fn lines(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Writer {
    /// Starts the thread, which writes to `sink`; one [`Log`] for each worker. `queue` is
    /// `limits.log_queue`: batches that may wait. Lines that are lost are added to `dropped`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(
        config: &LogConfig,
        sink: LogSink,
        queue: usize,
        workers: usize,
        dropped: &Dropped,
    ) -> io::Result<(Self, Vec<Log>)> {
        let name = config.destination();
        let shared = Arc::new(Shared { dropped: dropped.clone(), ..Shared::default() });
        let (send, batches) = sync_channel(queue.max(1));
        let (finished, done) = sync_channel(1);
        let mut logs = Vec::with_capacity(workers);
        let mut back = Vec::with_capacity(workers);
        for worker in 0..workers {
            let (give_back, emptied) = sync_channel(SPARE_BATCHES);
            back.push(give_back);
            logs.push(Log {
                format: Format::of(config),
                filter: Filter::new(config, worker),
                batch: Vec::new(),
                lines: 0,
                since: Time::ZERO,
                origin: 0,
                worker,
                spare: Vec::new(),
                sessions: HashMap::new(),
                queue: send.clone(),
                emptied,
                shared: Arc::clone(&shared),
            });
        }
        let theirs = Arc::clone(&shared);
        let thread = Builder::new().name("ringway-log".into()).spawn(move || {
            write_all((sink, &name), &batches, &back, &theirs);
            let _ = finished.try_send(());
        })?;
        Ok((Self { queue: send, shared, thread, done }, logs))
    }

    /// Has the file opened again by its name, before the next batch is written: what log rotation
    /// asks for.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.wake();
    }

    /// Waits until everything is written, but no longer than `patience`: a pipe that nobody reads
    /// must not keep the process alive. Every [`Log`] has to be dropped before. Returns whether all
    /// was written.
    pub fn finish(self, patience: Duration) -> bool {
        drop(self.queue);
        let written = self.done.recv_timeout(patience).is_ok();
        written && self.thread.join().is_ok()
    }

    /// An empty batch: the writer looks up. If the queue is full it is not asleep.
    fn wake(&self) {
        let _ = self.queue.try_send(Batch { bytes: Vec::new(), lines: 0, worker: usize::MAX });
    }
}

impl Log {
    /// Sets the wall clock beside the worker's own: `unix_micros` since 1970 are `now`.
    pub fn set_clock(&mut self, unix_micros: u64, now: Time) {
        self.origin = unix_micros.saturating_sub(now.0);
    }

    /// The worker's time as microseconds since 1970.
    pub(super) fn unix_micros(&self, now: Time) -> u64 {
        self.origin.saturating_add(now.0)
    }

    /// Takes over what `former` knows of the connections that are open.
    pub(crate) fn succeed(&mut self, former: &mut Self) {
        self.sessions = std::mem::take(&mut former.sessions);
    }

    pub(super) fn kind(&self) -> LogFormat {
        self.format.kind()
    }

    /// Adds the line of `record`. Never waits.
    pub fn record(&mut self, record: &Record<'_>, now: Time) {
        if self.batch.is_empty() {
            self.since = now;
        }
        self.format.line(record, &mut self.batch);
        self.lines += 1;
        if self.batch.len() >= BATCH_BYTES {
            self.flush();
        }
    }

    /// When the lines that wait have waited long enough; none if there are none. The worker wakes
    /// up for it.
    pub fn deadline(&self) -> Option<Time> {
        (!self.batch.is_empty()).then(|| self.since + PATIENCE)
    }

    /// Hands the batch over if it is old enough.
    pub fn expire(&mut self, now: Time) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.flush();
        }
    }

    /// Hands the batch over. Never waits: if the queue is full the lines are counted and gone.
    pub fn flush(&mut self) {
        if self.batch.is_empty() {
            self.lines = 0;
            return;
        }
        let next = self.emptied.try_recv().unwrap_or_default();
        let bytes = std::mem::replace(&mut self.batch, next);
        let lines = std::mem::take(&mut self.lines);
        let batch = Batch { bytes, lines, worker: self.worker };
        if let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) =
            self.queue.try_send(batch)
        {
            self.shared.lose(batch.lines);
            self.batch = batch.bytes;
            self.batch.clear();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

/// The thread: until every sender is gone.
fn write_all(
    (mut sink, name): (LogSink, &str),
    batches: &Receiver<Batch>,
    back: &[SyncSender<Vec<u8>>],
    shared: &Shared,
) {
    for mut batch in batches {
        if shared.reopen.swap(false, Ordering::Acquire) {
            sink.reopen();
            shared.told.store(false, Ordering::Relaxed);
        }
        if batch.lines > 0
            && let Err(Loss { lines, error }) = sink.write(&batch.bytes, batch.lines)
        {
            shared.dropped.0.fetch_add(lines, Ordering::Relaxed);
            if !shared.told.swap(true, Ordering::Relaxed) {
                note!("warning: access log ({name}): {error}; lines are dropped and counted");
            }
        }
        batch.bytes.clear();
        if let Some(worker) = back.get(batch.worker) {
            let _ = worker.try_send(batch.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    const LONG: Duration = Duration::from_secs(60);

    fn scratch(name: &str) -> PathBuf {
        let id = std::process::id();
        let path = std::env::temp_dir().join(format!("ringway-log-{id}-{name}"));
        let _ = std::fs::remove_file(&path);
        path
    }

    fn start(
        format: LogFormat,
        file: &Path,
        queue: usize,
        workers: usize,
    ) -> io::Result<(Writer, Vec<Log>)> {
        let file = Some(file.to_owned());
        let config = LogConfig { format, file, ..LogConfig::default() };
        Writer::start(&config, LogSink::open(&config)?, queue, workers, &Dropped::default())
    }

    fn record(target: &[u8]) -> Record<'_> {
        Record { method: b"GET", target, status: 200, ..Record::default() }
    }

    fn lines(path: &Path) -> usize {
        std::fs::read_to_string(path).unwrap().lines().count()
    }

    #[test]
    fn every_line_of_every_worker_arrives_whole() {
        let path = scratch("workers");
        let (writer, logs) = start(LogFormat::Json, &path, 65_536, 4).unwrap();
        std::thread::scope(|scope| {
            for mut log in logs {
                scope.spawn(move || {
                    for _ in 0..2_000 {
                        log.record(&record(b"/path"), Time::ZERO);
                    }
                });
            }
        });
        assert_eq!(writer.shared.dropped.lines(), 0);
        assert!(writer.finish(LONG));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 8_000);
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn after_rotation_lines_go_to_the_new_file() {
        let (path, rotated) = (scratch("rotate"), scratch("rotated"));
        let (writer, mut logs) = start(LogFormat::Combined, &path, 8, 1).unwrap();
        let mut log = logs.remove(0);
        log.record(&record(b"/before"), Time::ZERO);
        log.flush();
        while !std::fs::read_to_string(&path).unwrap().contains("/before") {
            std::thread::yield_now();
        }
        std::fs::rename(&path, &rotated).unwrap();
        writer.reopen();
        log.record(&record(b"/after"), Time::ZERO);
        drop(log);
        assert!(writer.finish(LONG));
        assert_eq!((lines(&rotated), lines(&path)), (1, 1));
        assert!(std::fs::read_to_string(&path).unwrap().contains("/after"));
        std::fs::remove_file(path).unwrap();
        std::fs::remove_file(rotated).unwrap();
    }

    #[test]
    fn a_reader_that_reads_nothing_costs_lines_and_never_time() {
        let path = scratch("fifo");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        // Held open for reading and never read: the writer blocks once the pipe is full.
        let reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let (writer, mut logs) = start(LogFormat::Combined, &path, 2, 1).unwrap();
        let mut log = logs.remove(0);
        let total = 20_000;
        for _ in 0..total {
            log.record(&record(b"/a/path/of/some/length"), Time::ZERO);
        }
        log.flush();
        let dropped = writer.shared.dropped.lines();
        assert!(dropped > 0 && dropped < total, "{dropped}");
        drop(log);
        assert!(!writer.finish(Duration::from_millis(50)), "the pipe is still full");
        drop(reader);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_full_disk_counts_what_is_lost() {
        let full = Path::new("/dev/full");
        let (writer, mut logs) = start(LogFormat::Combined, full, 8, 1).unwrap();
        logs[0].record(&record(b"/"), Time::ZERO);
        logs.clear();
        let shared = Arc::clone(&writer.shared);
        assert!(writer.finish(LONG));
        assert_eq!(shared.dropped.lines(), 1);
    }

    #[test]
    fn batches_come_back() {
        let path = scratch("back");
        let (writer, mut logs) = start(LogFormat::Combined, &path, 8, 1).unwrap();
        let log = &mut logs[0];
        log.record(&record(b"/"), Time::ZERO);
        assert_eq!(log.deadline(), Some(Time(200_000)));
        log.expire(Time(199_999));
        assert!(log.deadline().is_some());
        log.expire(Time(200_000));
        assert_eq!(log.deadline(), None);
        let back = log.emptied.recv_timeout(LONG).unwrap();
        assert!(back.is_empty() && back.capacity() > 0);
        logs.clear();
        assert!(writer.finish(LONG));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_directory_that_is_missing_is_an_error_at_start() {
        let path = Path::new("/nonexistent/access.log");
        assert!(start(LogFormat::Combined, path, 8, 1).is_err());
    }
}
