//! Timers for futures that run on a worker.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_codec::Time;

use crate::ring::token::Id;
use crate::rt::thread_state::{self, ThreadState};

/// Waits for `duration`, to the worker's resolution of about 16 ms.
///
/// # Panics
/// Outside of a worker: there is nobody to wake it.
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    let thread = thread_state::worker("sleep");
    let deadline = thread.now() + duration;
    Sleep::until(thread, deadline)
}

/// The future of [`sleep`].
#[must_use = "a future does nothing until it is awaited"]
pub struct Sleep {
    thread: Rc<ThreadState>,
    deadline: Time,
    timer: Option<Id>,
}

impl Sleep {
    pub(crate) fn until(thread: Rc<ThreadState>, deadline: Time) -> Self {
        Self { thread, deadline, timer: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.thread.now() >= self.deadline {
            return Poll::Ready(());
        }
        match self.timer {
            Some(timer) => self.thread.sleep_on(timer, self.deadline, context.waker()),
            None => self.timer = Some(self.thread.sleep(self.deadline, context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.thread.forget_sleep(timer);
        }
    }
}
