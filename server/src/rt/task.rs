//! What a program starts beside its answers: tasks of the worker, and closures on other threads.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use crate::rt::oneshot::{OneshotReceiver, OneshotSender, oneshot};
use crate::rt::panics::caught_with_message;
use crate::rt::thread_state::{self, ThreadState};
use crate::rt::threads::Job;

/// Runs a future on the worker that this is called on, beside everything else that it does. It need
/// not be `Send`, and outlives the request that started it. It is polled for the first time in this
/// turn of the worker or the next.
///
/// Dropping the handle leaves the task alone. A panic in it ends the task and nothing else; the
/// handle says so.
///
/// A server that drains waits for tasks as it waits for connections: until they are done, or for
/// [`drain_timeout`](crate::config::Limits::drain_timeout). A task without an end of its own should
/// look out for [`draining`](crate::draining). What is left then, or when the server is stopped at
/// once, is dropped where it awaits.
///
/// ```
/// use ringway::{OwnedRequest, Response, Router};
///
/// let app = Router::new().post("/orders", async |request: OwnedRequest| {
///     ringway::spawn(async move { record(request.body()).await });
///     Response::new(http::StatusCode::ACCEPTED)
/// });
/// # async fn record(_: &[u8]) {}
/// ```
///
/// # Panics
/// Outside of a worker: there is nobody to run it.
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    let thread = thread_state::worker("spawn");
    let (sender, result) = oneshot();
    thread.spawn(Box::pin(run(future, sender)));
    JoinHandle { result }
}

/// Polls a task until it is done, is aborted or panics, and tells its handle.
async fn run<F: Future>(future: F, sender: OneshotSender<Result<F::Output, JoinError>>) {
    let result = {
        let mut future = pin!(future);
        poll_fn(|context| {
            if sender.is_aborted(context) {
                return Poll::Ready(Err(JoinError::Canceled));
            }
            match caught_with_message(|| future.as_mut().poll(context)) {
                Ok(polled) => polled.map(Ok),
                Err(message) => Poll::Ready(Err(JoinError::Panicked(message))),
            }
        })
        .await
    };
    // Nobody waits for it where it comes back.
    drop(sender.send(result));
}

/// Runs a closure that takes long, or waits for something, on a thread that no connection depends
/// on. The workers of a server share a pool of such threads: at most
/// [`blocking_threads`](crate::config::Limits::blocking_threads), started when there is work for
/// them and ended when they had none for ten seconds. At most
/// [`blocking_queue`](crate::config::Limits::blocking_queue) closures wait for a thread; further
/// ones are refused with [`JoinError::Overloaded`].
///
/// Dropping the handle lets the closure run. [`JoinHandle::abort`] keeps it from beginning; once it
/// runs it cannot be ended. A panic in it is an error of the handle and ends nothing else. A server
/// that drains waits for closures as [for tasks](spawn); after that those that have not begun are
/// dropped, and those that run are left to their threads.
///
/// ```
/// use ringway::{OwnedRequest, Response, Router};
///
/// let app = Router::new().get("/report", async |_: OwnedRequest| {
///     let report = ringway::spawn_blocking(|| std::fs::read("report.pdf")).await;
///     match report {
///         Ok(Ok(bytes)) => Response::typed("application/pdf", bytes),
///         Ok(Err(_)) => http::StatusCode::NOT_FOUND.into(),
///         Err(error) => error.into(),
///     }
/// });
/// ```
///
/// # Panics
/// Outside of a worker: there is no pool.
#[track_caller]
pub fn spawn_blocking<F, T>(work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let thread = thread_state::worker("spawn_blocking");
    on_thread(work, |job| thread.threads().is_some_and(|threads| threads.run(job).is_ok()))
}

/// As [`spawn_blocking`] for what compresses: on few threads, which yield to the workers. What an
/// answer waits for is `awaited`, and goes first.
pub(crate) fn spawn_compression<F, T>(work: F, awaited: bool) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let threads = thread_state::with(ThreadState::threads);
    on_thread(work, |job| threads.is_some_and(|threads| threads.compress(job, awaited).is_ok()))
}

fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    run: impl FnOnce(Job) -> bool,
) -> JoinHandle<T> {
    let (sender, result) = oneshot();
    let job = move || {
        if sender.was_aborted() {
            return drop(sender.send(Err(JoinError::Canceled)));
        }
        drop(sender.send(caught_with_message(work).map_err(JoinError::Panicked)));
    };
    if !run(Box::new(job)) {
        let (refused, result) = oneshot();
        drop(refused.send(Err(JoinError::Overloaded)));
        return JoinHandle { result };
    }
    JoinHandle { result }
}

/// A task, or a closure on another thread: a future of what it gives.
pub struct JoinHandle<T> {
    result: OneshotReceiver<Result<T, JoinError>>,
}

impl<T> JoinHandle<T> {
    /// Ends the task: it is dropped where it awaits, before it would be polled again. A closure is
    /// kept from beginning, unless it has begun. What was done by then stays done, and what it gave
    /// is given.
    pub fn abort(&self) {
        self.result.abort();
    }

    /// Whether the result is there.
    pub fn is_finished(&self) -> bool {
        self.result.is_finished()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // One that was dropped has told nothing.
        let result = Pin::new(&mut self.result).poll(context);
        result.map(|result| result.unwrap_or(Err(JoinError::Canceled)))
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("is_finished", &self.is_finished()).finish()
    }
}

/// Why a task or a closure gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError {
    /// It panicked, with this message (empty where it is no text).
    Panicked(String),
    /// It was aborted, or dropped when its server ended.
    Canceled,
    /// It was never begun: as many closures wait for a thread as may
    /// ([`blocking_queue`](crate::config::Limits::blocking_queue)).
    Overloaded,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(message) => write!(f, "the task panicked: {message}"),
            Self::Canceled => f.write_str("the task was cancelled"),
            Self::Overloaded => f.write_str("too many closures wait for a thread"),
        }
    }
}

impl std::error::Error for JoinError {}
