//! Threads for work that would hold a worker up: as many as there is work for, up to a bound.
//!
//! A thread is started when work comes that no idle one can take, and ends when it has had none for
//! a while. Work waits in one queue, which has a bound of its own.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::rt::panics::caught;

/// Something to do. Dropping it instead tells whoever waits for it.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// A pool of threads. Dropping it drops what has not begun; what runs is finished by its thread.
pub(crate) struct Threads(Arc<Shared>);

struct Shared {
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
    /// A pool of up to `threads_max` threads, before which up to `queue_max` jobs wait.
    pub(crate) fn new(threads_max: usize, queue_max: usize) -> Self {
        Self::with_idle(threads_max, queue_max, IDLE)
    }

    fn with_idle(threads_max: usize, queue_max: usize, idle: Duration) -> Self {
        let state = Mutex::default();
        let changed = Condvar::new();
        Self(Arc::new(Shared { threads_max, queue_max, idle, state, changed }))
    }

    /// Has a thread do `job`, now or when one is free.
    pub(crate) fn run(&self, job: Job) -> Result<(), Refused> {
        let shared = &self.0;
        let mut state = shared.lock();
        if state.jobs >= shared.threads_max + shared.queue_max {
            return Err(Refused);
        }
        state.queue.push_back(job);
        state.jobs += 1;
        if state.jobs > state.threads && state.threads < shared.threads_max {
            let theirs = Arc::clone(shared);
            let builder = std::thread::Builder::new().name("ringway-blocking".into());
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

    /// Whether nothing is being done and nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.lock().jobs == 0
    }

    #[cfg(test)]
    fn threads(&self) -> usize {
        self.0.lock().threads
    }
}

impl Drop for Threads {
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

    /// Row P8.
    #[test]
    fn p8_threads_start_on_demand_are_bounded_and_end_when_idle() {
        let threads = Threads::with_idle(2, 3, Duration::from_millis(20));
        assert_eq!(threads.threads(), 0, "none before there is work");
        let (done, results) = mpsc::channel();
        let (gates, waiting): (Vec<_>, Vec<_>) = (0..5).map(|_| mpsc::channel::<()>()).unzip();
        for (n, gate) in waiting.into_iter().enumerate() {
            let done = done.clone();
            let job = move || {
                let _ = gate.recv();
                let _ = done.send(n);
            };
            assert!(threads.run(Box::new(job)).is_ok(), "{n}: two run and three wait");
            assert_eq!(threads.threads(), (n + 1).min(2));
        }
        assert!(threads.run(Box::new(|| {})).is_err(), "the queue is full");
        assert!(!threads.is_idle());
        drop(gates);
        let mut all: Vec<_> = (0..5).map(|_| results.recv_timeout(PATIENCE).unwrap()).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4]);
        while threads.threads() > 0 {
            std::thread::yield_now();
        }
        assert!(threads.is_idle());
        assert!(threads.run(Box::new(move || done.send(9).unwrap())).is_ok());
        assert_eq!(results.recv_timeout(PATIENCE).unwrap(), 9, "they start again");
    }

    #[test]
    fn p8_a_job_that_panics_leaves_its_thread_to_the_next() {
        let threads = Threads::new(1, 8);
        let (done, results) = mpsc::channel();
        assert!(threads.run(Box::new(|| panic!("a test's own panic"))).is_ok());
        assert!(threads.run(Box::new(move || done.send(()).unwrap())).is_ok());
        results.recv_timeout(PATIENCE).unwrap();
        assert_eq!(threads.threads(), 1);
    }

    #[test]
    fn p8_a_pool_that_goes_drops_what_has_not_begun() {
        let threads = Threads::new(1, 8);
        let (open, gate) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let first = move || {
            let _ = begun.send(());
            let _ = gate.recv();
        };
        assert!(threads.run(Box::new(first)).is_ok());
        begins.recv_timeout(PATIENCE).unwrap();
        let (done, results) = mpsc::channel::<()>();
        assert!(threads.run(Box::new(move || done.send(()).unwrap())).is_ok());
        drop(threads);
        assert!(results.recv_timeout(PATIENCE).is_err(), "dropped, not run");
        drop(open);
    }
}
