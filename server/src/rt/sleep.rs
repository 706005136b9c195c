//! Timers for futures that run on a worker.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_codec::Time;

use crate::ring::token::Id;
use crate::rt::thread_state::{self, ThreadState};

/// Waits for `duration`, to the worker's resolution of about 16 ms. Only inside a handler's future:
/// elsewhere there is no worker to wake it.
pub fn sleep(duration: Duration) -> Sleep {
    let thread = thread_state::current();
    Sleep { deadline: thread.now() + duration, thread, timer: None }
}

/// The future of [`sleep`].
#[must_use = "a future does nothing until it is awaited"]
pub struct Sleep {
    thread: Rc<ThreadState>,
    deadline: Time,
    timer: Option<Id>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(timer) = self.timer.take() {
            self.thread.forget_sleep(timer);
        }
        if self.thread.now() >= self.deadline {
            return Poll::Ready(());
        }
        self.timer = Some(self.thread.sleep(self.deadline, context.waker().clone()));
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
