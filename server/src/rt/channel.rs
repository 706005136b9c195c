//! A bounded queue from any number of senders to one receiver, on any threads.
//!
//! The whole state stands behind one lock: whoever finds nothing, or no room, leaves its waker
//! before it lets go of the lock, and whoever changes that takes the waker out under the same lock.
//! So no wake is lost, whatever the order of the threads, and the lock also orders their memory.
//! Wakers and destructors run behind it.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::rt::park::block_on;
use crate::rt::thread_state;

/// A queue of up to `bound` values, from any number of senders to one receiver. Both ends may be
/// used on any thread, on workers and elsewhere: whoever waits on a worker is woken by a message to
/// it. A sender waits while the queue is full.
///
/// ```
/// let (sender, mut receiver) = ringway::channel(16);
/// let thread = std::thread::spawn(move || {
///     for n in 0..100 {
///         sender.blocking_send(n).unwrap();
///     }
/// });
/// let mut sum = 0;
/// while let Some(n) = receiver.blocking_recv() {
///     sum += n;
/// }
/// assert_eq!(sum, 4950);
/// # thread.join().unwrap();
/// ```
///
/// # Panics
/// A bound of 0.
#[track_caller]
pub fn channel<T>(bound: usize) -> (Sender<T>, Receiver<T>) {
    assert!(bound > 0, "ringway::channel: a channel has room for one value at least");
    let state = State {
        bound,
        queue: VecDeque::new(),
        senders: 1,
        receiver_gone: false,
        receiver: None,
        waiting: VecDeque::new(),
        tickets: 0,
    };
    let shared = Arc::new(Mutex::new(state));
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

/// Puts values into a [`channel`]. May be cloned.
pub struct Sender<T> {
    shared: Shared<T>,
}

/// Takes values out of a [`channel`], in the order in which they were put in.
pub struct Receiver<T> {
    shared: Shared<T>,
}

type Shared<T> = Arc<Mutex<State<T>>>;

struct State<T> {
    bound: usize,
    queue: VecDeque<T>,
    senders: usize,
    receiver_gone: bool,
    receiver: Option<Waker>,
    /// Senders that wait for room, in order.
    waiting: VecDeque<(u64, Waker)>,
    tickets: u64,
}

/// The receiver was dropped; here is the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// A value was not put in at once; here it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// The queue is full.
    Full(T),
    /// The receiver was dropped.
    Closed(T),
}

/// Nothing was taken out at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// The queue is empty.
    Empty,
    /// The queue is empty, and every sender was dropped.
    Closed,
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the receiver was dropped")
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the queue is full",
            Self::Closed(_) => "the receiver was dropped",
        })
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the queue is empty",
            Self::Closed => "every sender was dropped",
        })
    }
}

impl<T: fmt::Debug> std::error::Error for SendError<T> {}
impl<T: fmt::Debug> std::error::Error for TrySendError<T> {}
impl std::error::Error for TryRecvError {}

impl<T> Sender<T> {
    /// Puts a value in, once there is room. Those that wait are served in order; one that is
    /// dropped while it waits has put nothing in.
    pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
        Send { shared: &self.shared, value: Some(value), ticket: None }.await
    }

    /// Puts a value in if there is room now.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let state = lock(&self.shared);
        if state.receiver_gone {
            return Err(TrySendError::Closed(value));
        }
        if state.queue.len() >= state.bound {
            return Err(TrySendError::Full(value));
        }
        put(state, value);
        Ok(())
    }

    /// Puts a value in, and holds the calling thread until there is room.
    ///
    /// # Panics
    /// On a worker, whose other clients would wait too.
    #[track_caller]
    pub fn blocking_send(&self, value: T) -> Result<(), SendError<T>> {
        thread_state::forbid_blocking("Sender::blocking_send", "Sender::send");
        block_on(self.send(value))
    }

    /// Whether the receiver was dropped.
    pub fn is_closed(&self) -> bool {
        lock(&self.shared).receiver_gone
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        lock(&self.shared).senders += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.senders -= 1;
        let receiver = if state.senders == 0 { state.receiver.take() } else { None };
        drop(state);
        wake(receiver);
    }
}

impl<T> Receiver<T> {
    /// The next value; none once the queue is empty and every sender was dropped.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// As [`Self::recv`], for futures that are written by hand.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        match self.take(|| Some(context.waker().clone())) {
            Ok(value) => Poll::Ready(Some(value)),
            Err(TryRecvError::Closed) => Poll::Ready(None),
            Err(TryRecvError::Empty) => Poll::Pending,
        }
    }

    /// The next value, if there is one now.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.take(|| None)
    }

    /// The next value, for which the calling thread is held.
    ///
    /// # Panics
    /// On a worker, whose other clients would wait too.
    #[track_caller]
    pub fn blocking_recv(&mut self) -> Option<T> {
        thread_state::forbid_blocking("Receiver::blocking_recv", "Receiver::recv");
        block_on(self.recv())
    }

    /// The next value; where there is none yet, leaves a waker.
    fn take(&mut self, waker: impl FnOnce() -> Option<Waker>) -> Result<T, TryRecvError> {
        let mut state = lock(&self.shared);
        if let Some(value) = state.queue.pop_front() {
            let next = state.waiting.pop_front().map(|(_, waker)| waker);
            drop(state);
            wake(next);
            return Ok(value);
        }
        if state.senders == 0 {
            return Err(TryRecvError::Closed);
        }
        let former = waker().and_then(|waker| state.receiver.replace(waker));
        drop(state);
        drop(former);
        Err(TryRecvError::Empty)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.receiver_gone = true;
        let left = (std::mem::take(&mut state.queue), state.receiver.take());
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(left);
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

/// A value that waits for room.
struct Send<'s, T> {
    shared: &'s Shared<T>,
    value: Option<T>,
    /// Its place among those that wait, until it is served.
    ticket: Option<u64>,
}

// The value is moved and never pinned.
impl<T> Unpin for Send<'_, T> {}

impl<T> Future for Send<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(value) = self.value.take() else { return Poll::Ready(Ok(())) };
        let mut state = lock(self.shared);
        if state.receiver_gone {
            self.ticket = None;
            return Poll::Ready(Err(SendError(value)));
        }
        // Woken or not, it may go only where nobody is in front of it.
        let waits = self.ticket.and_then(|own| state.position(own));
        let behind = waits.unwrap_or(if self.ticket.is_some() { 0 } else { state.waiting.len() });
        if state.queue.len() + behind < state.bound {
            let former = waits.and_then(|at| state.waiting.remove(at));
            self.ticket = None;
            put(state, value);
            drop(former);
            return Poll::Ready(Ok(()));
        }
        let mut waker = context.waker().clone();
        match (self.ticket, waits) {
            (Some(_), Some(at)) => std::mem::swap(&mut state.waiting[at].1, &mut waker),
            // It was woken, and another one was faster: it keeps its place.
            (Some(own), None) => state.waiting.push_front((own, waker)),
            (None, _) => {
                state.tickets += 1;
                let own = state.tickets;
                state.waiting.push_back((own, waker));
                self.ticket = Some(own);
            }
        }
        drop(state);
        self.value = Some(value);
        Poll::Pending
    }
}

impl<T> Drop for Send<'_, T> {
    fn drop(&mut self) {
        let Some(own) = self.ticket else { return };
        let mut state = lock(self.shared);
        let place = state.position(own);
        let waiter = match place {
            Some(at) => state.waiting.remove(at),
            // It was woken and does not use the room: the next one is to have it.
            None => state.waiting.pop_front(),
        };
        drop(state);
        if place.is_none() {
            wake(waiter.map(|(_, waker)| waker));
        }
    }
}

impl<T> State<T> {
    fn position(&self, ticket: u64) -> Option<usize> {
        self.waiting.iter().position(|(other, _)| *other == ticket)
    }
}

fn put<T>(mut state: MutexGuard<'_, State<T>>, value: T) {
    state.queue.push_back(value);
    let receiver = state.receiver.take();
    drop(state);
    wake(receiver);
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn lock<T>(shared: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn p8_values_come_in_order_and_then_the_end() {
        let (sender, mut receiver) = channel(3);
        let other = sender.clone();
        for n in 0..3 {
            sender.try_send(n).unwrap();
        }
        assert_eq!(other.try_send(9), Err(TrySendError::Full(9)));
        assert_eq!([0, 1, 2].map(|_| receiver.try_recv().unwrap()), [0, 1, 2]);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        drop((sender, other));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(receiver.blocking_recv(), None);
    }

    #[test]
    fn p8_a_receiver_that_goes_gives_the_values_back() {
        let (sender, receiver) = channel(1);
        sender.try_send("kept").unwrap();
        let mut waiting = pin!(sender.send("back"));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        drop(receiver);
        assert!(sender.is_closed());
        assert_eq!(waiting.poll(&mut context), Poll::Ready(Err(SendError("back"))));
        assert_eq!(sender.try_send("too"), Err(TrySendError::Closed("too")));
    }

    /// One that was woken and is dropped passes its wake on.
    #[test]
    fn p8_a_sender_that_gives_up_leaves_its_room_to_the_next() {
        let (sender, mut receiver) = channel(1);
        sender.try_send(0).unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut first = Box::pin(sender.send(1));
        assert!(first.as_mut().poll(&mut context).is_pending());
        let woken = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut second = Box::pin(sender.send(2));
        assert!(second.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(receiver.try_recv(), Ok(0));
        assert_eq!(woken.0.load(Ordering::Relaxed), 0, "the first one is served first");
        drop(first);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(second.as_mut().poll(&mut context).is_ready());
        assert_eq!(receiver.try_recv(), Ok(2));
    }

    /// Row P8: as many orders of the threads as two seconds have; none loses a wake or a value.
    #[test]
    fn p8_no_wake_is_lost_between_threads() {
        let end = Instant::now() + Duration::from_millis(1500);
        let mut rounds = 0;
        while Instant::now() < end {
            let (sender, mut receiver) = channel::<u64>(1 + rounds % 3);
            std::thread::scope(|scope| {
                for thread in 0..3 {
                    let sender = sender.clone();
                    scope.spawn(move || {
                        for n in 0..200 {
                            sender.blocking_send(thread * 1000 + n).unwrap();
                        }
                    });
                }
                drop(sender);
                let mut last = [None; 3];
                while let Some(value) = receiver.blocking_recv() {
                    let (thread, n) = ((value / 1000) as usize, value % 1000);
                    assert_eq!(last[thread].map_or(0, |last| last + 1), n, "in order");
                    last[thread] = Some(n);
                }
                assert_eq!(last, [Some(199); 3], "every one of them");
            });
            rounds += 1;
        }
        assert!(rounds > 1);
    }
}
