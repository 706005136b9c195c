//! Responses under way: what the server names by [`Key`] and quiche by stream id. A slab of small
//! records; a connection has at most as many as its stream limit.

use ringway_codec::h2::Priority;

use crate::buf::Buf;
use std::collections::VecDeque;
use std::time::Instant;

/// Our unidirectional streams: control, QPACK encoder, QPACK decoder (RFC 9000 section 2.1).
pub(super) const OURS: [u64; 3] = [3, 7, 11];

/// Names a stream to the application. Ids are never used twice on a connection, so a stale key
/// finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    id: u64,
    slot: u16,
}

impl Key {
    /// The stream's id on the wire.
    pub fn id(self) -> u64 {
        self.id
    }

    /// A small number, unique among the connection's live streams: an index for what the
    /// application keeps per stream.
    pub fn slot(self) -> usize {
        usize::from(self.slot)
    }
}

/// What a response waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Waiting {
    /// The application: a response, or more of it.
    #[default]
    Application,
    /// [`Http::output`](super::Http::output), to pull or send on.
    Output,
    /// quiche, to take more.
    Room,
}

#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Content that quiche has not taken yet.
    pub(super) pending: VecDeque<Buf>,
    pub(super) waiting: Waiting,
    /// The response ends after `pending`.
    pub(super) fin: bool,
    /// There is content to pull once `pending` is empty.
    pub(super) pulls: bool,
    /// All content was pulled; trailers are to come.
    pub(super) trailers: bool,
    pub(super) head_sent: bool,
    /// The request was HEAD.
    pub(super) no_body: bool,
    /// The request is received whole.
    pub(super) received: bool,
    /// The priority set by the client or the application.
    pub(super) priority: Option<Priority>,
    /// The priority set in quiche.
    pub(super) rank: Option<Priority>,
    /// It comes behind the others until it has something to send: see [`super::Http::unstick`].
    pub(super) is_behind: bool,
    /// Not read, because the application does not keep up.
    pub(super) is_paused: bool,
    pub(super) unconsumed: usize,
    /// Octets that quiche has taken.
    pub(super) taken: u64,
    /// When it began to wait for room, as `expire` found it.
    pub(super) stall: Option<Stall>,
}

/// What had been sent when a stream began to wait for room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    pub(super) since: Instant,
    /// Octets of the stream.
    pub(super) taken: u64,
    /// Octets of all streams.
    pub(super) of_all: u64,
}

const FREE: u64 = u64::MAX;

#[derive(Default)]
pub(super) struct Streams {
    /// By slot; apart from the records, so that a search touches little memory.
    ids: Vec<u64>,
    all: Vec<Stream>,
    live: usize,
    /// Slots whose `waiting` is `Output`, and perhaps some whose is not any more.
    ready: VecDeque<Key>,
}

impl Streams {
    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn insert(&mut self, id: u64) -> Key {
        self.live += 1;
        let slot = match self.ids.iter().position(|held| *held == FREE) {
            Some(slot) => slot,
            None => {
                self.ids.push(FREE);
                self.all.push(Stream::default());
                self.ids.len() - 1
            }
        };
        self.ids[slot] = id;
        Key { id, slot: slot as u16 }
    }

    pub(super) fn key(&self, id: u64) -> Option<Key> {
        let slot = self.ids.iter().position(|held| *held == id)?;
        Some(Key { id, slot: slot as u16 })
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        let all = self.ids.iter().enumerate().filter(|(_, id)| **id != FREE);
        all.map(|(slot, id)| Key { id: *id, slot: slot as u16 }).collect()
    }

    /// Those whose responses have begun.
    pub(super) fn begun(&mut self) -> impl Iterator<Item = (u64, &mut Stream)> + '_ {
        let all = self.ids.iter().copied().zip(&mut self.all);
        all.filter(|(id, stream)| *id != FREE && stream.head_sent)
    }

    pub(super) fn find(&mut self, key: Key) -> Option<&mut Stream> {
        if self.ids.get(key.slot()) == Some(&key.id) { self.all.get_mut(key.slot()) } else { None }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Stream> {
        let stream = std::mem::take(self.find(key)?);
        self.ids[key.slot()] = FREE;
        self.live -= 1;
        Some(stream)
    }

    /// Queues `key` for output.
    pub(super) fn ready(&mut self, key: Key) {
        if let Some(stream) = self.find(key)
            && stream.waiting != Waiting::Output
        {
            stream.waiting = Waiting::Output;
            self.ready.push_back(key);
        }
    }

    pub(super) fn next_ready(&mut self) -> Option<Key> {
        while let Some(key) = self.ready.pop_front() {
            if self.find(key).is_some_and(|stream| stream.waiting == Waiting::Output) {
                return Some(key);
            }
        }
        None
    }

    pub(super) fn any_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}
