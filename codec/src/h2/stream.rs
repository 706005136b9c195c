//! Streams: a slab of small records that are recycled, and a table from stream id to slot. Ids of a
//! client's requests are consecutive odd numbers, so `id / 2` modulo the table's size is a near
//! perfect hash and a look-up is one load and one compare. What the states mean is decided in
//! `receive` and `send`; RFC 9113 section 5.1.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// No slot, no neighbour.
pub(super) const NONE: u16 = u16::MAX;

/// Names a stream to the application. Ids are never used twice on a connection, so a stale key
/// finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub(super) id: u32,
    pub(super) slot: u16,
}

impl Key {
    /// The stream's id on the wire.
    pub fn id(self) -> u32 {
        self.id
    }

    /// A small number, unique among the connection's live streams: an index for what the
    /// application keeps per stream.
    pub fn slot(self) -> usize {
        usize::from(self.slot)
    }
}

/// The peer ended its side.
pub(super) const REMOTE_CLOSED: u16 = 1 << 0;
/// We ended our side.
pub(super) const LOCAL_CLOSED: u16 = 1 << 1;
/// The final (not 1xx) response head has been written.
pub(super) const HEAD_SENT: u16 = 1 << 2;
/// The response may not have content: HEAD, 204, 304.
pub(super) const NO_BODY: u16 = 1 << 3;
/// The application says that there is body to pull.
pub(super) const WANTS: u16 = 1 << 4;
/// WANTS, and the stream's window is open: the scheduler knows it.
pub(super) const READY: u16 = 1 << 5;
/// In a list of the scheduler. READY without LINKED: waits for the stream that it depends on.
pub(super) const LINKED: u16 = 1 << 6;
/// Shares its level's bandwidth round robin; otherwise served alone, in order.
pub(super) const INCREMENTAL: u16 = 1 << 7;
/// The client stated an RFC 9218 priority.
pub(super) const STATED: u16 = 1 << 8;
/// A push of ours.
pub(super) const PUSHED: u16 = 1 << 9;
/// The body's end has been pulled; only trailers are missing.
pub(super) const TRAILERS: u16 = 1 << 10;
/// A CONNECT tunnel: content-length and trailers have no meaning.
pub(super) const TUNNEL: u16 = 1 << 11;
/// Blocked on window since `since`.
pub(super) const STALLED: u16 = 1 << 12;

/// One stream.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    /// Octets of content still announced by content-length; `u64::MAX` when it said nothing.
    pub(super) body_left: u64,
    pub(super) id: u32,
    /// What we may still send; negative after a reduced INITIAL_WINDOW_SIZE (RFC 9113 section
    /// 6.9.2).
    pub(super) send_window: i32,
    /// What the peer may still send.
    pub(super) recv_window: i32,
    /// The window we restore by WINDOW_UPDATE; grows while the application drains.
    pub(super) recv_target: u32,
    /// Octets received that the application has not consumed.
    pub(super) unconsumed: u32,
    /// Octets that the scheduler still grants before it serves the next stream.
    pub(super) credit: i32,
    /// When the stream ran out of window, in milliseconds, modulo 2^32.
    pub(super) since: u32,
    pub(super) flags: u16,
    /// Octets sent since then; saturates.
    pub(super) progress: u16,
    /// Neighbours in the scheduler's list; `next` also chains free slots.
    pub(super) next: u16,
    pub(super) prev: u16,
    /// The node of the RFC 7540 tree.
    pub(super) node: u16,
    /// Urgency 0 to 7, 8 for pushes.
    pub(super) level: u8,
}

impl Stream {
    /// Whether `n` more octets of content, and perhaps its end, agree with content-length.
    #[inline]
    pub(super) fn admits(&self, content: u32, end: bool) -> bool {
        let (content, left) = (u64::from(content), self.body_left);
        left == u64::MAX || content <= left && (!end || content == left)
    }

    /// Subtracts received content from content-length.
    #[inline]
    pub(super) fn shorten(&mut self, content: u32) {
        if self.body_left != u64::MAX {
            self.body_left -= u64::from(content);
        }
    }

    #[inline]
    pub(super) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    #[inline]
    pub(super) fn set(&mut self, flag: u16) {
        self.flags |= flag;
    }

    #[inline]
    pub(super) fn clear(&mut self, flag: u16) {
        self.flags &= !flag;
    }
}

/// The live streams of a connection.
#[derive(Debug)]
pub(super) struct Streams {
    slots: Vec<Stream>,
    /// Open addressing, linear probing: slot + 1, or 0. A power of two, at least twice the slots.
    table: Box<[u16]>,
    free: u16,
    live: u16,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), table: Box::default(), free: NONE, live: 0 }
    }

    pub(super) fn live(&self) -> usize {
        usize::from(self.live)
    }

    /// Slots ever used, live or free: the range to walk for "all streams".
    pub(super) fn slots(&self) -> u16 {
        self.slots.len() as u16
    }

    #[inline]
    pub(super) fn at(&mut self, slot: u16) -> &mut Stream {
        &mut self.slots[usize::from(slot)]
    }

    #[inline]
    pub(super) fn see(&self, slot: u16) -> &Stream {
        &self.slots[usize::from(slot)]
    }

    /// Whether `slot` holds a live stream.
    pub(super) fn is_live(&self, slot: u16) -> bool {
        self.slots.get(usize::from(slot)).is_some_and(|s| s.id != 0)
    }

    /// The stream that `key` names, if it still lives.
    #[inline]
    pub(super) fn find(&mut self, key: Key) -> Option<&mut Stream> {
        self.slots.get_mut(usize::from(key.slot)).filter(|s| s.id == key.id)
    }

    /// The slot of the live stream `id`.
    #[inline]
    pub(super) fn slot(&self, id: u32) -> Option<u16> {
        let mask = self.table.len().wrapping_sub(1);
        let mut i = (id >> 1) as usize & mask;
        loop {
            let slot = self.table.get(i)?.checked_sub(1)?;
            if self.slots[usize::from(slot)].id == id {
                return Some(slot);
            }
            i = (i + 1) & mask;
        }
    }

    /// Adds a stream; its id must be new and not 0.
    #[inline]
    pub(super) fn insert(&mut self, stream: Stream) -> u16 {
        debug_assert!(stream.id != 0 && self.slot(stream.id).is_none());
        let id = stream.id;
        let slot = self.free;
        self.live += 1;
        let slot = if slot != NONE {
            let place = &mut self.slots[usize::from(slot)];
            self.free = place.next;
            *place = stream;
            slot
        } else {
            self.grow(stream)
        };
        self.link(id, slot);
        slot
    }

    /// Frees a slot and forgets its id.
    #[inline]
    pub(super) fn remove(&mut self, slot: u16) {
        let stream = &mut self.slots[usize::from(slot)];
        debug_assert!(stream.id != 0 && !stream.has(LINKED));
        let id = core::mem::take(&mut stream.id);
        stream.next = self.free;
        self.free = slot;
        self.live -= 1;
        self.unlink(id, slot);
    }

    /// Gives memory back when nothing lives.
    pub(super) fn trim(&mut self) {
        if self.live == 0 {
            *self = Self::new();
        }
    }

    #[cold]
    fn grow(&mut self, stream: Stream) -> u16 {
        let slot = self.slots.len();
        assert!(slot < usize::from(NONE), "the concurrency limits bound the slots");
        self.slots.push(stream);
        if self.slots.capacity() * 2 > self.table.len() {
            let size = (self.slots.capacity() * 2).next_power_of_two();
            self.table = alloc::vec![0; size].into_boxed_slice();
            for old in 0..slot {
                if self.slots[old].id != 0 {
                    self.link(self.slots[old].id, old as u16);
                }
            }
        }
        slot as u16
    }

    #[inline]
    fn link(&mut self, id: u32, slot: u16) {
        let mask = self.table.len() - 1;
        let mut i = (id >> 1) as usize & mask;
        while self.table[i] != 0 {
            i = (i + 1) & mask;
        }
        self.table[i] = slot + 1;
    }

    /// Removes an entry and moves later ones of the same run back, so that no tombstones gather.
    #[inline]
    fn unlink(&mut self, id: u32, slot: u16) {
        let mask = self.table.len() - 1;
        let mut hole = (id >> 1) as usize & mask;
        while self.table[hole] != slot + 1 {
            hole = (hole + 1) & mask;
        }
        let mut i = (hole + 1) & mask;
        while self.table[i] != 0 {
            let other = self.slots[usize::from(self.table[i] - 1)].id;
            let home = (other >> 1) as usize & mask;
            if (i.wrapping_sub(home) & mask) >= (i.wrapping_sub(hole) & mask) {
                self.table[hole] = self.table[i];
                hole = i;
            }
            i = (i + 1) & mask;
        }
        self.table[hole] = 0;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::h2) fn blank(id: u32) -> Stream {
        Stream {
            body_left: u64::MAX,
            id,
            send_window: 65_535,
            recv_window: 65_535,
            recv_target: 65_535,
            unconsumed: 0,
            credit: 0,
            since: 0,
            flags: 0,
            progress: 0,
            next: NONE,
            prev: NONE,
            node: NONE,
            level: 3,
        }
    }

    #[test]
    fn a_stream_is_small() {
        assert!(size_of::<Stream>() <= 48, "{}", size_of::<Stream>());
    }

    /// Against a plain list: inserts in order, removals in any order, also of odd and even
    /// neighbours.
    #[test]
    fn look_up_agrees_with_a_list() {
        let mut random = 0x9e37_79b9_u32;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            random
        };
        let mut streams = Streams::new();
        let mut list: Vec<(u32, u16)> = Vec::new();
        let (mut odd, mut even) = (1, 2);
        for _ in 0..20_000 {
            if list.len() < 120 && next() % 5 < 3 {
                let id = if next() % 8 == 0 { &mut even } else { &mut odd };
                let slot = streams.insert(blank(*id));
                assert!(list.iter().all(|(_, s)| *s != slot));
                list.push((*id, slot));
                *id += 2 * (1 + next() % 3);
            } else if !list.is_empty() {
                let (id, slot) = list.swap_remove(next() as usize % list.len());
                streams.remove(slot);
                assert_eq!(streams.slot(id), None);
                assert!(streams.find(Key { id, slot }).is_none());
            }
            assert_eq!(streams.live(), list.len());
            if let Some((id, slot)) = list.get(next() as usize % list.len().max(1)) {
                assert_eq!(streams.slot(*id), Some(*slot));
                assert!(streams.find(Key { id: *id, slot: *slot }).is_some());
            }
            assert_eq!(streams.slot(odd), None);
        }
        assert!(streams.slots() <= 128, "slots are recycled");
    }

    #[test]
    fn an_empty_table_finds_nothing_and_trim_frees() {
        let mut streams = Streams::new();
        assert_eq!(streams.slot(1), None);
        let slot = streams.insert(blank(1));
        streams.trim();
        assert_eq!(streams.slot(1), Some(slot));
        streams.remove(slot);
        streams.trim();
        assert_eq!(streams.slots.capacity(), 0);
    }
}
