//! A request's body for services, which may read it on another thread.
//!
//! A body arrives on its worker, in memory that belongs to that worker. Services want bodies that
//! are `Send`, and may read them in a tokio task. Therefore one frame at a time is handed over: the
//! reader asks for a frame, and the [`Feeder`] on the worker supplies it. Nothing is read from the
//! connection before it is asked for, so backpressure works as usual.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::app::body::{Incomplete, RequestBody};
use crate::app::interop::trailers_frame;

/// A request's body as it arrives, in requests that a [`TowerService`](super::TowerService) passes
/// on. It may be read on any thread. The client has to wait until the body is read.
#[derive(Debug, Default)]
pub struct IncomingBody {
    /// `None` if there is no body, or no more of it.
    handover: Option<Arc<Handover>>,
    /// Bytes still to come, if the client stated the length.
    left: Option<u64>,
}

#[derive(Debug, Default)]
struct Handover(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    frame: Option<Frame<Bytes>>,
    end: Option<Result<(), Incomplete>>,
    /// The reader is waiting for a frame.
    wanted: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    /// Waker of the task that polls the feeder, while it is idle.
    feeder: Option<Waker>,
}

impl Handover {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IncomingBody {
    /// A complete body, possibly empty.
    pub(super) fn whole(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::default();
        }
        let frame = Some(Frame::data(Bytes::copy_from_slice(bytes)));
        let state = State { frame, end: Some(Ok(())), ..State::default() };
        let left = Some(bytes.len() as u64);
        Self { handover: Some(Arc::new(Handover(Mutex::new(state)))), left }
    }

    /// A body of `length` bytes, if known, and its feeder.
    pub(super) fn new(body: RequestBody, length: Option<u64>) -> (Self, Feeder) {
        let handover = Arc::<Handover>::default();
        let feeder = Feeder { body: Some(body), handover: Arc::clone(&handover) };
        (Self { handover: Some(handover), left: length }, feeder)
    }
}

impl http_body::Body for IncomingBody {
    type Data = Bytes;
    type Error = Incomplete;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Incomplete>>> {
        let Some(handover) = &self.handover else { return Poll::Ready(None) };
        let mut state = handover.lock();
        if let Some(frame) = state.frame.take() {
            drop(state);
            if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
                *left = left.saturating_sub(data.len() as u64);
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(end) = state.end else {
            state.wanted = true;
            state.reader = Some(context.waker().clone());
            let feeder = state.feeder.take();
            drop(state);
            feeder.into_iter().for_each(Waker::wake);
            return Poll::Pending;
        };
        drop(state);
        self.handover = None;
        Poll::Ready(end.err().map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.handover.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.handover, self.left) {
            (None, _) => SizeHint::with_exact(0),
            (Some(_), Some(left)) => SizeHint::with_exact(left),
            (Some(_), None) => SizeHint::default(),
        }
    }
}

impl Drop for IncomingBody {
    fn drop(&mut self) {
        let Some(handover) = &self.handover else { return };
        let mut state = handover.lock();
        state.reader_gone = true;
        let feeder = state.feeder.take();
        drop(state);
        feeder.into_iter().for_each(Waker::wake);
    }
}

/// The worker's side of an [`IncomingBody`], polled together with the future that reads it. If
/// dropped early, it leaves an error to the reader.
pub(super) struct Feeder {
    /// `None` once everything is handed over, or the reader is gone.
    body: Option<RequestBody>,
    handover: Arc<Handover>,
}

impl Feeder {
    /// Hands over a frame if one is asked for and available. If true, the reader should be polled
    /// again. Otherwise the task is woken when there is more to do.
    pub(super) fn feed(&mut self, context: &mut Context<'_>) -> bool {
        let Some(body) = &mut self.body else { return false };
        let mut state = self.handover.lock();
        if state.reader_gone {
            drop(state);
            self.body = None;
            return false;
        }
        let read = if state.wanted { body.poll_next(context) } else { Poll::Pending };
        match read {
            Poll::Pending => {
                state.feeder = Some(context.waker().clone());
                return false;
            }
            Poll::Ready(Some(Ok(chunk))) => state.frame = Some(Frame::data(chunk.into_bytes())),
            Poll::Ready(Some(Err(incomplete))) => state.end = Some(Err(incomplete)),
            Poll::Ready(None) => {
                state.frame = trailers_frame(body.trailers());
                state.end = Some(Ok(()));
            }
        }
        state.wanted = false;
        let (reader, ended) = (state.reader.take(), state.end.is_some());
        drop(state);
        if ended {
            self.body = None;
        }
        if let Some(reader) = reader
            && !reader.will_wake(context.waker())
        {
            reader.wake();
        }
        true
    }

    /// Hands over everything that the reader asks for; ready when nothing is left to do.
    pub(super) fn poll_done(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.feed(context) {}
        if self.body.is_none() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Marks the task as being polled: it need not be woken to feed.
    pub(super) fn is_polled(&self) {
        if self.body.is_some() {
            self.handover.lock().feeder = None;
        }
    }

    /// True when nothing is left to do.
    pub(super) fn is_done(&self) -> bool {
        self.body.is_none() || self.handover.lock().reader_gone
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        if self.body.is_none() {
            return;
        }
        let mut state = self.handover.lock();
        state.end = Some(Err(Incomplete));
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }
}
