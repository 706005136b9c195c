//! The worker's executor: polls the futures of handlers that answer later and of response bodies
//! that are produced as they are sent.
//!
//! A task belongs to a stream of a connection and is dropped with it. Wakers may be sent to other
//! threads: a wake on the worker's own thread is pushed to a list, one from another thread is a
//! ring message.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::ring::message::Mailbox;
use crate::ring::token::{Id, OpKind, Token};
use crate::rt::panics::caught;
use crate::rt::slab::Slab;
use crate::rt::thread_state::{self, ThreadState};
use crate::rt::threads::Threads;

/// A future without a result.
pub(crate) type UnitFuture = Pin<Box<dyn Future<Output = ()>>>;

/// A task's future.
pub(crate) enum Work<R> {
    /// A handler's answer, due to its owner.
    Reply(Pin<Box<dyn Future<Output = R>>>),
    /// A body's producer, or what the application spawned, which works for no stream.
    Produce(UnitFuture),
}

/// The connection and stream that a task belongs to.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskOwner {
    pub(crate) conn: Id,
    pub(crate) stream: u64,
}

struct Task<R> {
    owner: TaskOwner,
    // Absent while it is being polled.
    work: Option<Work<R>>,
    waker: Waker,
}

/// A worker's tasks; those with an answer give an `R`.
pub(crate) struct Executor<R> {
    tasks: Slab<Task<R>>,
    mailbox: Arc<Mailbox>,
    batch: Vec<Id>,
    /// The answer of a task that panicked.
    panicked: fn() -> R,
}

impl<R> Executor<R> {
    /// The tasks of the calling thread, which `mailbox` reaches; closures that block go to
    /// `threads`.
    pub(crate) fn new(mailbox: Arc<Mailbox>, threads: Arc<Threads>, panicked: fn() -> R) -> Self {
        thread_state::with(|thread| thread.enter(&mailbox, threads));
        Self { tasks: Slab::default(), mailbox, batch: Vec::new(), panicked }
    }

    /// How many tasks live.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Adds a task; it is polled for the first time in the same turn.
    pub(crate) fn spawn(&mut self, owner: TaskOwner, work: Work<R>) -> Id {
        let id = self.tasks.insert(Task { owner, work: Some(work), waker: Waker::noop().clone() });
        let waker = TaskWaker { mailbox: Arc::clone(&self.mailbox), task: id };
        if let Some(task) = self.tasks.get_mut(id) {
            task.waker = Waker::from(Arc::new(waker));
        }
        thread_state::with(|thread| thread.ready.borrow_mut().push(id));
        id
    }

    /// Drops a task. A panic in what it holds ends there.
    pub(crate) fn cancel(&mut self, id: Id) {
        let task = self.tasks.remove(id);
        caught(|| drop(task));
    }

    /// Polls every task that was woken before this call. Tasks woken meanwhile wait for the next
    /// turn, so a task that wakes itself cannot hold the worker. Finished answers go to `answered`.
    pub(crate) fn run(&mut self, mut answered: impl FnMut(TaskOwner, R)) {
        for future in thread_state::with(ThreadState::take_spawned) {
            self.spawn(TaskOwner::default(), Work::Produce(future));
        }
        let mut batch = std::mem::take(&mut self.batch);
        thread_state::with(|thread| std::mem::swap(&mut *thread.ready.borrow_mut(), &mut batch));
        for id in batch.drain(..) {
            let Some(task) = self.tasks.get_mut(id) else { continue };
            let Some(mut work) = task.work.take() else { continue };
            let (owner, waker) = (task.owner, task.waker.clone());
            let mut context = Context::from_waker(&waker);
            let polled = caught(|| match &mut work {
                Work::Reply(future) => future.as_mut().poll(&mut context).map(Some),
                Work::Produce(future) => future.as_mut().poll(&mut context).map(|()| None),
            });
            let is_reply = matches!(work, Work::Reply(_));
            match polled.unwrap_or_else(|| Poll::Ready(is_reply.then(self.panicked))) {
                Poll::Pending => {
                    if let Some(task) = self.tasks.get_mut(id) {
                        task.work = Some(work);
                    }
                }
                Poll::Ready(response) => {
                    self.tasks.remove(id);
                    caught(|| drop(work));
                    if let Some(response) = response {
                        answered(owner, response);
                    }
                }
            }
        }
        self.batch = batch;
    }
}

impl<R> Drop for Executor<R> {
    /// Drops the remaining tasks. A panic in one ends only that one.
    fn drop(&mut self) {
        for id in self.tasks.ids() {
            caught(|| drop(self.tasks.remove(id)));
        }
        thread_state::with(ThreadState::leave);
    }
}

struct TaskWaker {
    mailbox: Arc<Mailbox>,
    task: Id,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let here = thread_state::with(|thread| {
            let here = thread.is_reached_by(&self.mailbox);
            if here {
                thread.ready.borrow_mut().push(self.task);
            }
            here
        });
        if !here {
            // An error means that the worker and its tasks are gone.
            let _ = self.mailbox.post(Token::new(OpKind::Wake, 0, self.task), 0);
        }
    }
}
