//! Threads for work that would hold a worker up: as many as there is work for, up to a bound.
//!
//! A thread is started when work comes that no idle one can take, and ends when it has had none for
//! a while. Work waits in a queue, which has a bound of its own. There are two kinds. What blocks
//! may have many threads, because they wait; what compresses has few, which yield to the workers,
//! because they take the same CPUs.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::rt::panics::caught;

/// Something to do. Dropping it instead tells whoever waits for it.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// How much the threads that compress yield to all others (nice(2)).
const PRESS_NICE: i32 = 10;
/// Default number of jobs that wait for a thread that compresses.
const PRESS_QUEUE: usize = 64;

/// The threads of a server. Dropping it drops what has not begun; what runs is finished by its
/// thread.
pub(crate) struct Threads {
    blocking: Pool,
    press: Pool,
}

/// Threads of one kind.
struct Pool(Arc<Shared>);

struct Shared {
    name: &'static str,
    nice: i32,
    threads_max: usize,
    queue_max: usize,
    idle: Duration,
    state: Mutex<State>,
    /// There is work, or none will come.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    threads: usize,
    /// Jobs that wait or are being done.
    jobs: usize,
    closed: bool,
}

/// The queue is full, or no thread could be started.
#[derive(Debug)]
pub(crate) struct Refused;

impl Threads {
    /// Up to `threads_max` threads for what blocks, before which up to `queue_max` jobs wait, and
    /// threads that compress on half of the CPUs.
    pub(crate) fn new(threads_max: usize, queue_max: usize) -> Self {
        let half = std::thread::available_parallelism().map_or(1, |cpus| cpus.get().div_ceil(2));
        Self {
            blocking: Pool::new("ringway-blocking", 0, (threads_max, queue_max), IDLE),
            press: Pool::new("ringway-press", PRESS_NICE, (half, PRESS_QUEUE), IDLE),
        }
    }

    /// Sets how many jobs wait for a thread that compresses; 0 has none done.
    pub(crate) fn press_queue(mut self, queue_max: usize) -> Self {
        let threads_max = if queue_max == 0 { 0 } else { self.press.0.threads_max };
        let bounds = (threads_max, queue_max);
        self.press = Pool::new("ringway-press", PRESS_NICE, bounds, IDLE);
        self
    }

    /// Has a thread do `job`, now or when one is free.
    pub(crate) fn run(&self, job: Job) -> Result<(), Refused> {
        self.blocking.run(job, false)
    }

    /// Has a thread that compresses do `job`; before the others if it is `awaited`.
    pub(crate) fn compress(&self, job: Job, awaited: bool) -> Result<(), Refused> {
        self.press.run(job, awaited)
    }

    /// Whether nothing is being done and nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.blocking.is_idle() && self.press.is_idle()
    }
}

impl Pool {
    fn new(name: &'static str, nice: i32, bounds: (usize, usize), idle: Duration) -> Self {
        let (threads_max, queue_max) = bounds;
        let state = Mutex::default();
        let changed = Condvar::new();
        Self(Arc::new(Shared { name, nice, threads_max, queue_max, idle, state, changed }))
    }

    fn run(&self, job: Job, first: bool) -> Result<(), Refused> {
        let shared = &self.0;
        let mut state = shared.lock();
        if state.jobs >= shared.threads_max + shared.queue_max {
            return Err(Refused);
        }
        match first {
            true => state.queue.push_front(job),
            false => state.queue.push_back(job),
        }
        state.jobs += 1;
        if state.jobs > state.threads && state.threads < shared.threads_max {
            let theirs = Arc::clone(shared);
            let builder = std::thread::Builder::new().name(shared.name.into());
            if builder.spawn(move || theirs.work()).is_ok() {
                state.threads += 1;
            } else if state.threads == 0 {
                state.jobs -= 1;
                let job = state.queue.pop_back();
                drop(state);
                drop(job);
                return Err(Refused);
            }
        }
        drop(state);
        shared.changed.notify_one();
        Ok(())
    }

    fn is_idle(&self) -> bool {
        self.0.lock().jobs == 0
    }

    #[cfg(test)]
    fn threads(&self) -> usize {
        self.0.lock().threads
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        let left = std::mem::take(&mut state.queue);
        state.jobs -= left.len();
        drop(state);
        self.0.changed.notify_all();
        // Whoever waits for them is told, which is not to be done under the lock.
        drop(left);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does.
    fn work(&self) {
        if self.nice != 0 {
            // Of this thread alone (nice(2), differences to the C library). Refused, it does harm
            // only where CPUs are scarce.
            let _ = rustix::process::nice(self.nice);
        }
        let mut state = self.lock();
        loop {
            if let Some(job) = state.queue.pop_front() {
                drop(state);
                caught(job);
                state = self.lock();
                state.jobs -= 1;
                continue;
            }
            if state.closed {
                break;
            }
            let nothing = |state: &mut State| state.queue.is_empty() && !state.closed;
            let waited = self.changed.wait_timeout_while(state, self.idle, nothing);
            let (next, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            state = next;
            if waited.timed_out() {
                break;
            }
        }
        state.threads -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn one() -> Pool {
        Pool::new("", 0, (1, 8), IDLE)
    }

    /// Row P8.
    #[test]
    fn p8_threads_start_on_demand_are_bounded_and_end_when_idle() {
        let threads = Pool::new("", 0, (2, 3), Duration::from_millis(20));
        assert_eq!(threads.threads(), 0, "none before there is work");
        let (done, results) = mpsc::channel();
        let (gates, waiting): (Vec<_>, Vec<_>) = (0..5).map(|_| mpsc::channel::<()>()).unzip();
        for (n, gate) in waiting.into_iter().enumerate() {
            let done = done.clone();
            let job = move || {
                let _ = gate.recv();
                let _ = done.send(n);
            };
            assert!(threads.run(Box::new(job), false).is_ok(), "{n}: two run and three wait");
            assert_eq!(threads.threads(), (n + 1).min(2));
        }
        assert!(threads.run(Box::new(|| {}), false).is_err(), "the queue is full");
        assert!(!threads.is_idle());
        drop(gates);
        let mut all: Vec<_> = (0..5).map(|_| results.recv_timeout(PATIENCE).unwrap()).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4]);
        while threads.threads() > 0 {
            std::thread::yield_now();
        }
        assert!(threads.is_idle());
        assert!(threads.run(Box::new(move || done.send(9).unwrap()), false).is_ok());
        assert_eq!(results.recv_timeout(PATIENCE).unwrap(), 9, "they start again");
    }

    #[test]
    fn p8_a_job_that_panics_leaves_its_thread_to_the_next() {
        let threads = one();
        let (done, results) = mpsc::channel();
        assert!(threads.run(Box::new(|| panic!("a test's own panic")), false).is_ok());
        assert!(threads.run(Box::new(move || done.send(()).unwrap()), false).is_ok());
        results.recv_timeout(PATIENCE).unwrap();
        assert_eq!(threads.threads(), 1);
    }

    #[test]
    fn p8_a_pool_that_goes_drops_what_has_not_begun() {
        let threads = one();
        let (open, gate) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let first = move || {
            let _ = begun.send(());
            let _ = gate.recv();
        };
        assert!(threads.run(Box::new(first), false).is_ok());
        begins.recv_timeout(PATIENCE).unwrap();
        let (done, results) = mpsc::channel::<()>();
        assert!(threads.run(Box::new(move || done.send(()).unwrap()), false).is_ok());
        drop(threads);
        assert!(results.recv_timeout(PATIENCE).is_err(), "dropped, not run");
        drop(open);
    }

    /// L5: the threads that compress yield, and what somebody waits for goes first.
    #[test]
    fn l5_what_is_awaited_is_compressed_first() {
        let pool = Pool::new("ringway-press", PRESS_NICE, (1, 8), IDLE);
        let (open, gate) = mpsc::channel::<()>();
        let (done, results) = mpsc::channel();
        let niceness = done.clone();
        let (begun, begins) = mpsc::channel();
        let first = move || {
            begun.send(()).unwrap();
            let _ = gate.recv();
            let nice = rustix::process::getpriority_process(None).unwrap();
            niceness.send(nice).unwrap();
        };
        let before = rustix::process::getpriority_process(None).unwrap();
        pool.run(Box::new(first), false).unwrap();
        begins.recv_timeout(PATIENCE).unwrap();
        for (n, awaited) in [(100, false), (101, true), (102, false)] {
            let done = done.clone();
            pool.run(Box::new(move || done.send(n).unwrap()), awaited).unwrap();
        }
        drop(open);
        let got: Vec<i32> = (0..4).map(|_| results.recv_timeout(PATIENCE).unwrap()).collect();
        assert_eq!(got, [(before + PRESS_NICE).min(19), 101, 100, 102]);
        assert!(Threads::new(1, 1).press_queue(0).compress(Box::new(|| {}), true).is_err());
    }
}
