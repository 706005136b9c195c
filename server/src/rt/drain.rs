//! Waiting for the end of a server.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::ring::token::Id;
use crate::rt::thread_state::{self, ThreadState};

/// Waits until the server begins to drain. Tasks and streamed answers that have no
/// end of their own look out for it, so that they do not hold the drain up until its timeout.
///
/// ```
/// # fn start() {
/// // On a worker:
/// let refresh = ringway::spawn(async {
///     let mut interval = ringway::interval(std::time::Duration::from_secs(60));
///     loop {
///         interval.tick().await;
///         // Something that is due once a minute.
///     }
/// });
/// ringway::spawn(async move {
///     ringway::draining().await;
///     refresh.abort();
/// });
/// # }
/// ```
///
/// # Panics
/// Outside of a worker.
#[track_caller]
pub fn draining() -> Draining {
    Draining { thread: thread_state::worker("draining"), waiter: None }
}

/// The future of [`draining`].
#[must_use = "a future does nothing until it is awaited"]
pub struct Draining {
    thread: Rc<ThreadState>,
    waiter: Option<Id>,
}

impl Future for Draining {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.forget();
        if self.thread.is_draining() {
            return Poll::Ready(());
        }
        self.waiter = Some(self.thread.await_drain(context.waker().clone()));
        Poll::Pending
    }
}

impl Draining {
    fn forget(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            self.thread.forget_drain(waiter);
        }
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        self.forget();
    }
}
