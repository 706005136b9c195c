//! The worker's state that handlers and futures can reach, in a thread-local.
//!
//! A future cannot borrow the worker that polls it. Its requests (a timer, a file operation, a look
//! at a connection) are left here; the worker picks them up in the same turn. Nothing is shared
//! between threads, so nothing locks.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};

use http::HeaderValue;
use ringway_codec::Time;

use crate::ring::job;
use crate::ring::message::Mailbox;
use crate::ring::token::Id;
use crate::rt::executor::{TaskOwner, UnitFuture};
use crate::rt::panics::caught;
use crate::rt::slab::Slab;
use crate::rt::threads::Threads;

/// Who is woken when something changes.
#[derive(Debug, Default)]
pub(crate) enum Waiter {
    /// Nobody.
    #[default]
    None,
    /// A task.
    Task(Waker),
    /// A connection, for one of its streams.
    Conn(Id, u64),
}

impl Waiter {
    /// Wakes whoever waits, once.
    pub(crate) fn wake(&mut self) {
        match std::mem::take(self) {
            Self::None => {}
            Self::Task(waker) => waker.wake(),
            Self::Conn(id, stream) => {
                with(|thread| thread.ready_streams.borrow_mut().push((id, stream)))
            }
        }
    }
}

/// State of a thread; on a worker, what its futures ask of it.
#[derive(Default)]
pub(crate) struct ThreadState {
    /// This worker's mailbox; empty outside a worker.
    mailbox: RefCell<Weak<Mailbox>>,
    /// Where closures that block go; none outside a worker.
    threads: RefCell<Option<Arc<Threads>>>,
    /// The worker takes no more connections and ends when those that it has are done.
    draining: Cell<bool>,
    /// Who is to be told when that begins.
    awaiting_drain: RefCell<Slab<Waker>>,
    /// Tasks that the application started since the worker last looked.
    spawned: RefCell<Vec<UnitFuture>>,
    now: Cell<Time>,
    /// Tasks woken on this thread.
    pub(crate) ready: RefCell<Vec<Id>>,
    /// Connections to look at again, with the stream concerned.
    pub(crate) ready_streams: RefCell<Vec<(Id, u64)>>,
    /// Early hints to be sent.
    pub(crate) hints: RefCell<Vec<(TaskOwner, Vec<HeaderValue>)>>,
    /// Streams that are to end without an answer.
    pub(crate) hangups: RefCell<Vec<TaskOwner>>,
    /// Timers asked for since the worker last looked: key and deadline.
    pub(crate) new_sleeps: RefCell<Vec<(u32, Time)>>,
    /// A file operation found no free descriptor: idle connections are to be closed.
    pub(crate) starved: Cell<bool>,
    sleepers: RefCell<Slab<Sleeper>>,
    /// File operations asked for since the worker last looked.
    pub(crate) new_jobs: RefCell<Vec<(Id, job::JobRequest)>>,
    jobs: RefCell<Slab<Pending>>,
}

/// A future that waits for a time.
struct Sleeper {
    waker: Waker,
    /// The wheel has told it, and will not again unless it is asked.
    fired: bool,
}

/// A file operation that a future waits for.
#[derive(Default)]
struct Pending {
    waker: Option<Waker>,
    result: Option<io::Result<job::JobResponse>>,
    abandoned: bool,
}

thread_local! {
    static THREAD: Rc<ThreadState> = Rc::default();
}

/// Runs `f` with the calling thread's state.
pub(crate) fn with<R>(f: impl FnOnce(&ThreadState) -> R) -> R {
    THREAD.with(|thread| f(thread))
}

/// The calling thread's state, to keep.
pub(crate) fn current() -> Rc<ThreadState> {
    THREAD.with(Rc::clone)
}

/// The calling thread's state, where it is a worker's.
///
/// # Panics
/// Elsewhere: `what` of the public API needs a worker.
#[track_caller]
pub(crate) fn worker(what: &str) -> Rc<ThreadState> {
    let thread = current();
    assert!(
        thread.is_worker(),
        "ringway::{what} was called outside of a worker: it works in handlers, in what they await \
         and in what they spawn"
    );
    thread
}

/// # Panics
/// On a worker, whose clients would all wait: `instead` is what to call there.
#[track_caller]
pub(crate) fn forbid_blocking(what: &str, instead: &str) {
    let is_worker = with(ThreadState::is_worker);
    assert!(!is_worker, "{what} was called on a worker, which it would hold up: use {instead}");
}

impl ThreadState {
    /// Makes the calling thread the worker that is reached by `mailbox`.
    pub(crate) fn enter(&self, mailbox: &Arc<Mailbox>, threads: Arc<Threads>) {
        *self.mailbox.borrow_mut() = Arc::downgrade(mailbox);
        *self.threads.borrow_mut() = Some(threads);
    }

    /// The worker ends: what was to be started is not, and what waits for threads is dropped with
    /// the last worker.
    pub(crate) fn leave(&self) {
        for future in self.take_spawned() {
            caught(|| drop(future));
        }
        let threads = self.threads.borrow_mut().take();
        drop(threads);
    }

    fn is_worker(&self) -> bool {
        self.threads.borrow().is_some()
    }

    /// Where closures that block go.
    pub(crate) fn threads(&self) -> Option<Arc<Threads>> {
        self.threads.borrow().clone()
    }

    /// Has the worker run a task.
    pub(crate) fn spawn(&self, future: UnitFuture) {
        self.spawned.borrow_mut().push(future);
    }

    /// The tasks to be started.
    pub(crate) fn take_spawned(&self) -> Vec<UnitFuture> {
        std::mem::take(&mut self.spawned.borrow_mut())
    }

    /// Tells those who want to know that the worker is to end.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        let waiting = std::mem::take(&mut *self.awaiting_drain.borrow_mut());
        for (_, waker) in waiting.iter() {
            waker.wake_by_ref();
        }
    }

    /// Whether the worker is to end.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Has `waker` told when the worker is to end.
    pub(crate) fn await_drain(&self, waker: Waker) -> Id {
        self.awaiting_drain.borrow_mut().insert(waker)
    }

    /// Forgets who wanted to know that.
    pub(crate) fn forget_drain(&self, id: Id) {
        let waker = self.awaiting_drain.borrow_mut().remove(id);
        drop(waker);
    }

    /// True on the worker that `mailbox` reaches. Worker numbers would not do: two servers in one
    /// process both have a worker 0.
    pub(crate) fn is_reached_by(&self, mailbox: &Arc<Mailbox>) -> bool {
        self.mailbox.borrow().as_ptr() == Arc::as_ptr(mailbox)
    }

    /// The turn's time.
    pub(crate) fn now(&self) -> Time {
        self.now.get()
    }

    pub(crate) fn tick(&self, now: Time) {
        self.now.set(now);
    }

    /// True when nothing was left here since the worker last looked.
    pub(crate) fn is_quiet(&self) -> bool {
        self.ready.borrow().is_empty()
            && self.ready_streams.borrow().is_empty()
            && self.hints.borrow().is_empty()
            && self.hangups.borrow().is_empty()
            && self.spawned.borrow().is_empty()
            && self.new_jobs.borrow().is_empty()
            && self.new_sleeps.borrow().is_empty()
    }

    /// Asks to be woken at `deadline`.
    pub(crate) fn sleep(&self, deadline: Time, waker: Waker) -> Id {
        let id = self.sleepers.borrow_mut().insert(Sleeper { waker, fired: false });
        self.new_sleeps.borrow_mut().push((id.index, deadline));
        id
    }

    /// Asks once more, for a timer that may have fired too early.
    pub(crate) fn sleep_on(&self, id: Id, deadline: Time, waker: &Waker) {
        let mut sleepers = self.sleepers.borrow_mut();
        let Some(sleeper) = sleepers.get_mut(id) else { return };
        sleeper.waker.clone_from(waker);
        if std::mem::take(&mut sleeper.fired) {
            self.new_sleeps.borrow_mut().push((id.index, deadline));
        }
    }

    /// Forgets a timer, fired or not.
    pub(crate) fn forget_sleep(&self, id: Id) {
        let sleeper = self.sleepers.borrow_mut().remove(id);
        drop(sleeper);
    }

    /// Wakes the timer that fired under a key, if it is still wanted.
    pub(crate) fn fire_sleep(&self, key: u32) {
        let waker = self.sleepers.borrow_mut().at(key).map(|(_, sleeper)| {
            sleeper.fired = true;
            sleeper.waker.clone()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Starts a file operation.
    pub(crate) fn start_job(&self, request: job::JobRequest) -> Id {
        let id = self.jobs.borrow_mut().insert(Pending::default());
        self.new_jobs.borrow_mut().push((id, request));
        id
    }

    /// Asks whether a file operation is done.
    pub(crate) fn poll_job(&self, id: Id, waker: &Waker) -> Poll<io::Result<job::JobResponse>> {
        let mut jobs = self.jobs.borrow_mut();
        let Some(pending) = jobs.get_mut(id) else {
            return Poll::Ready(Err(io::Error::other("the operation was already collected")));
        };
        match pending.result.take() {
            Some(result) => {
                jobs.remove(id);
                Poll::Ready(result)
            }
            None => {
                pending.waker = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    /// The future was dropped; its result will be dropped too.
    pub(crate) fn abandon_job(&self, id: Id) {
        let mut jobs = self.jobs.borrow_mut();
        if let Some(pending) = jobs.get_mut(id) {
            if pending.result.is_some() {
                jobs.remove(id);
            } else {
                pending.abandoned = true;
            }
        }
    }

    /// Delivers a file operation's result.
    pub(crate) fn finish_job(&self, id: Id, result: io::Result<job::JobResponse>) {
        let mut jobs = self.jobs.borrow_mut();
        let Some(pending) = jobs.get_mut(id) else { return };
        if pending.abandoned {
            jobs.remove(id);
            return;
        }
        pending.result = Some(result);
        let waker = pending.waker.take();
        drop(jobs);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
