//! A bound on how long a future may take.

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::rt::sleep::Sleep;
use crate::rt::thread_state;

/// Gives a future `duration` from now, to the worker's resolution of about 16 ms, and drops it if
/// it is not done by then. A future that is ready at the deadline has made it.
///
/// # Panics
/// Outside of a worker: there is nobody to keep the time.
#[track_caller]
pub fn timeout<F: IntoFuture>(
    duration: Duration,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> {
    let thread = thread_state::worker("timeout");
    let deadline = thread.now() + duration;
    let sleep = Sleep::until(thread, deadline);
    let future = future.into_future();
    async move {
        let (mut sleep, mut future) = (pin!(sleep), pin!(future));
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            sleep.as_mut().poll(context).map(|()| Err(Elapsed))
        })
        .await
    }
}

/// The future of a [`timeout`] was not done in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time is over")
    }
}

impl std::error::Error for Elapsed {}
