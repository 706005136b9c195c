//! What handlers and futures reach of the worker they run on, through a thread-local.
//!
//! A future on a worker cannot hold the worker, which is polling it. What it wants (a timer, a file
//! operation, a look at a connection) it leaves here; the worker picks it up in the same turn.
//! Nothing here is shared between threads, so nothing here locks.

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
use crate::rt::executor::Owner;
use crate::rt::slab::Slab;

/// Who is to be told when something has changed.
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
    /// Tells whoever waits, once.
    pub(crate) fn wake(&mut self) {
        match std::mem::take(self) {
            Self::None => {}
            Self::Task(waker) => waker.wake(),
            Self::Conn(id, stream) => with(|thread| thread.nudges.borrow_mut().push((id, stream))),
        }
    }
}

/// A worker's mailbox for its own futures.
#[derive(Default)]
pub(crate) struct ThreadState {
    /// Where other threads reach this worker; nowhere outside a worker.
    mailbox: RefCell<Weak<Mailbox>>,
    now: Cell<Time>,
    /// Tasks woken on this thread.
    pub(crate) ready: RefCell<Vec<Id>>,
    /// Connections to look at again, with the stream concerned.
    pub(crate) nudges: RefCell<Vec<(Id, u64)>>,
    /// Early hints to be sent.
    pub(crate) hints: RefCell<Vec<(Owner, Vec<HeaderValue>)>>,
    /// Timers asked for since the worker last looked: key and deadline.
    pub(crate) new_sleeps: RefCell<Vec<(u32, Time)>>,
    /// Somebody found no descriptor free: connections that are idle are to give theirs.
    pub(crate) starved: Cell<bool>,
    sleepers: RefCell<Slab<Waker>>,
    /// File operations asked for since the worker last looked.
    pub(crate) new_jobs: RefCell<Vec<(Id, job::Request)>>,
    jobs: RefCell<Slab<Pending>>,
}

/// A file operation that a future waits for.
#[derive(Default)]
struct Pending {
    waker: Option<Waker>,
    result: Option<io::Result<job::Response>>,
    abandoned: bool,
}

thread_local! {
    static THREAD: Rc<ThreadState> = Rc::default();
}

/// Runs `f` with the calling thread's mailbox.
pub(crate) fn with<R>(f: impl FnOnce(&ThreadState) -> R) -> R {
    THREAD.with(|thread| f(thread))
}

/// The calling thread's mailbox, to keep.
pub(crate) fn current() -> Rc<ThreadState> {
    THREAD.with(Rc::clone)
}

impl ThreadState {
    /// Makes the calling thread the worker that is reached by `mailbox`.
    pub(crate) fn enter(&self, mailbox: &Arc<Mailbox>) {
        *self.mailbox.borrow_mut() = Arc::downgrade(mailbox);
    }

    /// True on the worker that is reached by `mailbox`. Its number would not do: two servers of one
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
            && self.nudges.borrow().is_empty()
            && self.hints.borrow().is_empty()
            && self.new_jobs.borrow().is_empty()
            && self.new_sleeps.borrow().is_empty()
    }

    /// Asks to be woken at `deadline`.
    pub(crate) fn sleep(&self, deadline: Time, waker: Waker) -> Id {
        let id = self.sleepers.borrow_mut().insert(waker);
        self.new_sleeps.borrow_mut().push((id.index, deadline));
        id
    }

    /// Forgets a timer, fired or not.
    pub(crate) fn forget_sleep(&self, id: Id) {
        self.sleepers.borrow_mut().remove(id);
    }

    /// Wakes the timer that fired under a key, if it is still wanted.
    pub(crate) fn fire_sleep(&self, key: u32) {
        let waker = self.sleepers.borrow_mut().at(key).map(|(_, waker)| waker.clone());
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Starts a file operation.
    pub(crate) fn start_job(&self, request: job::Request) -> Id {
        let id = self.jobs.borrow_mut().insert(Pending::default());
        self.new_jobs.borrow_mut().push((id, request));
        id
    }

    /// Asks whether a file operation is done.
    pub(crate) fn poll_job(&self, id: Id, waker: &Waker) -> Poll<io::Result<job::Response>> {
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

    /// The future is gone; the result, when it comes, goes too.
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
    pub(crate) fn finish_job(&self, id: Id, result: io::Result<job::Response>) {
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
