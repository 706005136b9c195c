//! The connections of an endpoint: a slab with generations, the connection IDs of each connection,
//! and the timers. All three are bounded by the number of connections.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Instant;

use crate::conn::Conn;

/// Identifies a connection of an endpoint. Slots are reused, identifiers are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    slot: u32,
    generation: u32,
}

impl Id {
    /// The identifier with these parts, from [`slot`](Self::slot) and
    /// [`generation`](Self::generation).
    pub fn of(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    /// The index in the slab: dense from 0, reused.
    pub fn slot(self) -> usize {
        self.slot as usize
    }

    /// The generation of the slot.
    pub fn generation(self) -> u32 {
        self.generation
    }
}

pub(crate) struct Entry<T> {
    pub(crate) conn: Conn,
    pub(crate) state: T,
    pub(crate) accepted: Instant,
    pub(crate) established: bool,
    /// The destination that the client chose first.
    pub(crate) first: Option<CidKey>,
    cids: Vec<CidKey>,
    armed: Option<Instant>,
    queued: bool,
}

/// A connection ID of up to 20 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CidKey {
    pub(crate) len: u8,
    pub(crate) bytes: [u8; quiche::MAX_CONN_ID_LEN],
}

impl CidKey {
    pub(crate) fn of(cid: &[u8]) -> Option<Self> {
        let mut bytes = [0; quiche::MAX_CONN_ID_LEN];
        bytes.get_mut(..cid.len())?.copy_from_slice(cid);
        Some(Self { len: cid.len() as u8, bytes })
    }
}

pub(crate) struct Table<T> {
    /// Boxed: a connection takes some kilobytes, which a growing slab or a removal should not move.
    slots: Vec<(u32, Option<Box<Entry<T>>>)>,
    free: Vec<u32>,
    by_cid: HashMap<CidKey, Id>,
    /// Never later than the connection's deadline. An entry that differs from `armed` is void.
    timers: BinaryHeap<Reverse<(Instant, Id)>>,
    dirty: VecDeque<Id>,
}

impl<T> Table<T> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_cid: HashMap::new(),
            timers: BinaryHeap::new(),
            dirty: VecDeque::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn insert(&mut self, conn: Conn, state: T, accepted: Instant) -> Id {
        let entry = Box::new(Entry {
            conn,
            state,
            accepted,
            established: false,
            first: None,
            cids: Vec::with_capacity(4),
            armed: None,
            queued: false,
        });
        if let Some(slot) = self.free.pop() {
            let (generation, place) = &mut self.slots[slot as usize];
            *place = Some(entry);
            return Id { slot, generation: *generation };
        }
        self.slots.push((0, Some(entry)));
        Id { slot: (self.slots.len() - 1) as u32, generation: 0 }
    }

    pub(crate) fn get(&mut self, id: Id) -> Option<&mut Entry<T>> {
        let (generation, entry) = self.slots.get_mut(id.slot())?;
        if *generation == id.generation { entry.as_deref_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<Box<Entry<T>>> {
        let (generation, place) = self.slots.get_mut(id.slot())?;
        if *generation != id.generation {
            return None;
        }
        let entry = place.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(id.slot);
        for key in &entry.cids {
            self.by_cid.remove(key);
        }
        Some(entry)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, (_, entry))| entry.is_some())
            .map(|(slot, (generation, _))| Id { slot: slot as u32, generation: *generation })
    }

    /// All connections, for inspection.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry<T>> {
        self.slots.iter().filter_map(|(_, entry)| entry.as_deref())
    }

    pub(crate) fn by_cid(&self, cid: &[u8]) -> Option<Id> {
        self.by_cid.get(&CidKey::of(cid)?).copied()
    }

    /// Maps `cid` to `id` until it is forgotten or the connection is removed.
    pub(crate) fn learn(&mut self, cid: &[u8], id: Id) {
        let Some(key) = CidKey::of(cid) else { return };
        if self.by_cid.contains_key(&key) {
            return;
        }
        if let Some(entry) = self.get(id) {
            entry.cids.push(key);
            self.by_cid.insert(key, id);
        }
    }

    pub(crate) fn forget(&mut self, cid: &[u8], id: Id) {
        let Some(key) = CidKey::of(cid) else { return };
        if self.by_cid.get(&key) == Some(&id) {
            self.by_cid.remove(&key);
            if let Some(entry) = self.get(id) {
                entry.cids.retain(|held| *held != key);
            }
        }
    }

    pub(crate) fn cids(&self) -> usize {
        self.by_cid.len()
    }

    /// Adds `id` to the queue of connections that may have something to send, unless it is there.
    pub(crate) fn touch(&mut self, id: Id) {
        if let Some(entry) = self.get(id)
            && !std::mem::replace(&mut entry.queued, true)
        {
            self.dirty.push_back(id);
        }
    }

    pub(crate) fn front(&self) -> Option<Id> {
        self.dirty.front().copied()
    }

    /// Moves the front of the queue to its back, so a long download does not hold up the rest.
    pub(crate) fn rotate(&mut self) {
        if self.dirty.len() > 1 {
            self.dirty.rotate_left(1);
        }
    }

    pub(crate) fn pop(&mut self) {
        if let Some(id) = self.dirty.pop_front()
            && let Some(entry) = self.get(id)
        {
            entry.queued = false;
        }
    }

    /// Ensures that `id` expires at `deadline` at the latest.
    pub(crate) fn arm(&mut self, id: Id, deadline: Option<Instant>) {
        let (Some(deadline), Some(entry)) = (deadline, self.get(id)) else { return };
        if entry.armed.is_none_or(|armed| deadline < armed) {
            entry.armed = Some(deadline);
            self.timers.push(Reverse((deadline, id)));
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// The next connection whose timer may be due.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Id> {
        while let Some(Reverse((deadline, id))) = self.timers.peek().copied() {
            if deadline > now {
                return None;
            }
            self.timers.pop();
            if let Some(entry) = self.get(id)
                && entry.armed == Some(deadline)
            {
                entry.armed = None;
                return Some(id);
            }
        }
        None
    }
}
