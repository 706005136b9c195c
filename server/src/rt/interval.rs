//! Something that is due again and again.

use std::rc::Rc;
use std::time::Duration;

use ringway_codec::Time;

use crate::rt::sleep::Sleep;
use crate::rt::thread_state::{self, ThreadState};

/// Ticks now, and then once in each `period`, to the worker's resolution of about 16 ms.
///
/// Ticks that nobody waited for are left out, however many they were: the next one comes at the
/// next whole period since the start, so that an interval keeps step with the clock and never
/// catches up in a burst.
///
/// # Panics
/// With a period of zero, and outside of a worker.
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    let thread = thread_state::worker("interval");
    assert!(period.as_micros() > 0, "ringway::interval: a period is a microsecond at least");
    Interval { next: thread.now(), thread, period }
}

/// Made by [`interval`].
pub struct Interval {
    thread: Rc<ThreadState>,
    next: Time,
    period: Duration,
}

impl Interval {
    /// Waits for the next tick. May be dropped half-way: the tick is not lost.
    pub async fn tick(&mut self) {
        Sleep::until(Rc::clone(&self.thread), self.next).await;
        let late = self.thread.now().since(self.next).as_micros();
        let periods = late / self.period.as_micros() + 1;
        let ahead = u64::try_from(self.period.as_micros().saturating_mul(periods));
        self.next = self.next + Duration::from_micros(ahead.unwrap_or(u64::MAX));
    }
}
