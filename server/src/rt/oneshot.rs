//! One value from anywhere to one future.
//!
//! Value and waker stand behind one lock. Either the sender finds the waker that the receiver left,
//! or the receiver, which looks for the value before it leaves one, finds the value: no order of
//! atomic operations is to be argued about. What the sender did before it sent is visible to the
//! receiver because the one unlocks before the other locks. The lock is never held while a waker or
//! a destructor of the value runs.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A channel for one value. Both ends may be used on any thread, on workers and elsewhere; sending
/// wakes the receiver's task on its worker.
///
/// ```
/// use ringway::{OwnedRequest, Response, Router};
///
/// let app = Router::new().get("/sum", async |_: OwnedRequest| {
///     let (sender, receiver) = ringway::oneshot::<u64>();
///     std::thread::spawn(move || sender.send((1..=1000_u64).sum()));
///     match receiver.await {
///         Ok(sum) => Response::display(sum),
///         Err(_) => http::StatusCode::INTERNAL_SERVER_ERROR.into(),
///     }
/// });
/// ```
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    let shared = Arc::new(Mutex::new(State {
        value: None,
        sender_gone: false,
        receiver_gone: false,
        aborted: false,
        receiver: None,
        sender: None,
    }));
    (OneshotSender { shared: Arc::clone(&shared) }, OneshotReceiver { shared })
}

/// Sends the value of a [`oneshot`]. Dropping it unused ends the wait for it.
pub struct OneshotSender<T> {
    shared: Shared<T>,
}

/// Waits for the value of a [`oneshot`]: a future.
#[must_use = "a future does nothing until it is awaited"]
pub struct OneshotReceiver<T> {
    shared: Shared<T>,
}

type Shared<T> = Arc<Mutex<State<T>>>;

struct State<T> {
    value: Option<T>,
    sender_gone: bool,
    receiver_gone: bool,
    /// Whoever works for the value is to stop.
    aborted: bool,
    receiver: Option<Waker>,
    /// Wakes whoever works for the value, so that it sees that.
    sender: Option<Waker>,
}

/// The sender was dropped without sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canceled;

impl fmt::Display for Canceled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sender was dropped without sending a value")
    }
}

impl std::error::Error for Canceled {}

impl<T> OneshotSender<T> {
    /// Sends the value, which comes back where nobody waits for it any more.
    pub fn send(self, value: T) -> Result<(), T> {
        let mut state = lock(&self.shared);
        if state.receiver_gone {
            drop(state);
            return Err(value);
        }
        state.value = Some(value);
        Ok(())
        // Dropping the sender wakes the receiver.
    }

    /// Whether the receiver was dropped.
    pub fn is_closed(&self) -> bool {
        lock(&self.shared).receiver_gone
    }

    /// Whether the work for the value is to stop; if not, the task of `context` is woken when that
    /// changes.
    pub(crate) fn is_aborted(&self, context: &Context<'_>) -> bool {
        let mut state = lock(&self.shared);
        let waker = context.waker();
        if !state.aborted && !state.sender.as_ref().is_some_and(|known| known.will_wake(waker)) {
            let former = state.sender.replace(waker.clone());
            drop(state);
            drop(former);
            return false;
        }
        state.aborted
    }

    /// The same where there is no task.
    pub(crate) fn was_aborted(&self) -> bool {
        lock(&self.shared).aborted
    }
}

impl<T> Drop for OneshotSender<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.sender_gone = true;
        let (receiver, own) = (state.receiver.take(), state.sender.take());
        drop(state);
        drop(own);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }
}

impl<T> OneshotReceiver<T> {
    /// Has whoever works for the value stop.
    pub(crate) fn abort(&self) {
        let mut state = lock(&self.shared);
        state.aborted = true;
        let sender = state.sender.take();
        drop(state);
        if let Some(sender) = sender {
            sender.wake();
        }
    }

    /// Whether the value is there, or will never be.
    pub fn is_finished(&self) -> bool {
        let state = lock(&self.shared);
        state.value.is_some() || state.sender_gone
    }
}

impl<T> Future for OneshotReceiver<T> {
    type Output = Result<T, Canceled>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Canceled>> {
        let mut state = lock(&self.shared);
        if let Some(value) = state.value.take() {
            return Poll::Ready(Ok(value));
        }
        if state.sender_gone {
            return Poll::Ready(Err(Canceled));
        }
        let former = state.receiver.replace(context.waker().clone());
        drop(state);
        drop(former);
        Poll::Pending
    }
}

impl<T> Drop for OneshotReceiver<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.receiver_gone = true;
        let (value, own) = (state.value.take(), state.receiver.take());
        drop(state);
        drop((value, own));
    }
}

fn lock<T>(shared: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::park::block_on;

    #[test]
    fn p8_a_value_comes_once_and_a_dropped_end_is_seen() {
        let (sender, receiver) = oneshot();
        assert!(!receiver.is_finished() && !sender.is_closed());
        sender.send(7).unwrap();
        assert!(receiver.is_finished());
        assert_eq!(block_on(receiver), Ok(7));
        let (sender, receiver) = oneshot::<u32>();
        drop(sender);
        assert_eq!(block_on(receiver), Err(Canceled));
        let (sender, receiver) = oneshot();
        drop(receiver);
        assert!(sender.is_closed());
        assert_eq!(sender.send("back"), Err("back"));
    }

    #[test]
    fn p8_a_value_that_nobody_takes_is_dropped_once() {
        let value = Arc::new(());
        let (sender, receiver) = oneshot();
        sender.send(Arc::clone(&value)).unwrap();
        drop(receiver);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn p8_values_from_another_thread_arrive() {
        let (sender, receiver) = oneshot();
        let thread = std::thread::spawn(move || sender.send(5).unwrap());
        assert_eq!(block_on(receiver), Ok(5));
        thread.join().unwrap();
    }
}
