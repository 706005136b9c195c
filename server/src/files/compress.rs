//! Files compressed on the way: which, and their compressed forms, made once for all workers.
//!
//! The first request that would take a coding is answered without it and has the form made, on
//! threads that yield to the workers. Later ones find it in memory. Nobody waits. What cannot be
//! queued stays as it is and is tried again.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::etag::ETag;
use crate::app::content_coding::{Coding, Codings};
use crate::app::encoder::Encoder;
use crate::rt::oneshot::{OneshotReceiver, OneshotSender, oneshot};
use crate::rt::thread_state::{self, ThreadState};

/// What a service compresses on the way.
#[derive(Clone, Debug)]
pub(crate) struct Compression {
    /// Into which codings.
    pub(crate) codings: Codings,
    /// The size of the smallest and the largest file, in bytes.
    pub(crate) min: u64,
    pub(crate) max: u64,
    /// What was made.
    pub(crate) results: Arc<Results>,
}

/// Whether the same is compressed; what was made so far makes no difference.
impl PartialEq for Compression {
    fn eq(&self, other: &Self) -> bool {
        (self.codings, self.min, self.max) == (other.codings, other.min, other.max)
    }
}

/// Bytes of results that are kept for other workers; each keeps its own in its store.
const KEEP_BYTES: usize = 16 << 20;
/// Results that are kept, those without bytes included.
const KEEP: usize = 4096;

/// A compressed content; `None` where it would not be smaller.
pub(crate) type Made = Option<Arc<[u8]>>;

/// Compressed contents by the tag of what they were made from, so that equal files, and the same
/// file on several workers, are compressed once.
#[derive(Default)]
pub(crate) struct Results(Mutex<State>);

type Key = (ETag, Coding);

#[derive(Default)]
struct State {
    entries: HashMap<Key, Entry>,
    /// The keys of what is done, the oldest first.
    order: VecDeque<Key>,
    bytes: usize,
}

enum Entry {
    /// It is being made, and these wait.
    Running(Vec<OneshotSender<Made>>),
    Done(Made),
}

/// Too much waits to be compressed already.
#[derive(Debug)]
pub(crate) struct Busy;

impl fmt::Debug for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Results").field("bytes", &self.lock().bytes).finish_non_exhaustive()
    }
}

impl Results {
    /// Has `content`, whose tag is `tag`, compressed, unless it was already.
    pub(crate) fn ask(
        self: &Arc<Self>,
        tag: ETag,
        coding: Coding,
        content: &[u8],
    ) -> Result<OneshotReceiver<Made>, Busy> {
        let key = (tag, coding);
        let (sender, receiver) = oneshot();
        let mut state = self.lock();
        match state.entries.get_mut(&key) {
            Some(Entry::Done(made)) => {
                let made = made.clone();
                drop(state);
                drop(sender.send(made));
                return Ok(receiver);
            }
            Some(Entry::Running(waiting)) => {
                waiting.push(sender);
                return Ok(receiver);
            }
            None => {}
        }
        state.entries.insert(key, Entry::Running(vec![sender]));
        drop(state);
        let (content, running) = (Box::<[u8]>::from(content), Running(Arc::clone(self), key));
        let job = move || {
            let made = Encoder::kept(coding, &content).filter(|made| made.len() < content.len());
            running.done(made.map(Arc::from));
        };
        let threads = thread_state::with(ThreadState::threads);
        match threads.is_some_and(|threads| threads.compress(Box::new(job), false).is_ok()) {
            true => Ok(receiver),
            // The job was dropped, and its entry with it.
            false => Err(Busy),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entry of something that is being made. Dropped before it is done, it takes the entry away.
struct Running(Arc<Results>, Key);

impl Running {
    fn done(self, made: Made) {
        let mut state = self.0.lock();
        let entry = state.entries.insert(self.1, Entry::Done(made.clone()));
        state.order.push_back(self.1);
        state.bytes += made.as_ref().map_or(0, |bytes| bytes.len());
        while state.bytes > KEEP_BYTES || state.order.len() > KEEP {
            let Some(oldest) = state.order.pop_front() else { break };
            if let Some(Entry::Done(Some(bytes))) = state.entries.remove(&oldest) {
                state.bytes -= bytes.len();
            }
        }
        drop(state);
        // A waker is not called under the lock.
        if let Some(Entry::Running(waiting)) = entry {
            waiting.into_iter().for_each(|sender| drop(sender.send(made.clone())));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let entry = match state.entries.get(&self.1) {
            Some(Entry::Running(_)) => state.entries.remove(&self.1),
            _ => None,
        };
        drop(state);
        drop(entry);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn tag(content: &[u8]) -> ETag {
        ETag::of_content(content, Coding::Identity)
    }

    /// L5, and row 148: what no thread takes is refused and leaves nothing, and can be asked again.
    #[test]
    fn l5_148_what_is_refused_leaves_nothing() {
        // This thread is no worker, so that there are no threads.
        let results = Arc::new(Results::default());
        for _ in 0..3 {
            assert!(results.ask(tag(b"one"), Coding::Gzip, b"one").is_err());
            assert!(results.lock().entries.is_empty());
        }
    }

    #[test]
    fn l5_results_are_kept_up_to_a_bound() {
        let results = Arc::new(Results::default());
        let poll = |receiver: OneshotReceiver<Made>| match pin!(receiver)
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(made) => made,
            Poll::Pending => panic!("it is not done"),
        };
        for n in 0..20_u8 {
            let key = (tag(&[n]), Coding::Zstd);
            let (sender, receiver) = oneshot();
            results.lock().entries.insert(key, Entry::Running(vec![sender]));
            let made: Made = Some(Arc::from(vec![n; 1 << 20]));
            Running(Arc::clone(&results), key).done(made.clone());
            assert_eq!(poll(receiver), Ok(made.clone()));
            let Ok(again) = results.ask(key.0, key.1, &[n]) else { panic!("it is done") };
            assert_eq!(poll(again), Ok(made));
        }
        let state = results.lock();
        assert_eq!((state.bytes, state.entries.len(), state.order.len()), (16 << 20, 16, 16));
    }
}
