//! The scheduler: which stream's DATA goes next. Nine lists, one per RFC 9218 urgency and one for
//! pushes; within a list non-incremental streams are served one after the other in request order,
//! the others round robin by deficit (each visit is worth `quantum` octets), which is also how RFC
//! 7540 weights are kept. Every operation is O(1) but two: a non-incremental stream looks for its
//! place from the back, and the tree, if there is one, costs a step per ancestor. RFC 9218 section
//! 10, RFC 7540 section 5.3.
//!
//! No level starves: every sixteenth pick, if several levels have something to send, goes to one of
//! the lower ones.

use super::priority::Priority;
use super::stream::{INCREMENTAL, LINKED, NONE, READY, Streams};
use super::tree::{Place, Tree, WEIGHT};
use alloc::boxed::Box;

const LEVELS: usize = 9;
/// The level of pushes: below everything that was asked for.
pub(super) const PUSH_LEVEL: u8 = 8;
/// Octets per visit of an incremental stream without a weight: one frame of the default size.
const QUANTUM: i32 = 16_384;
/// One pick in so many goes to a level that is not the most urgent.
const SHARE: u8 = 16;

/// The streams that could send if the connection's window allows.
#[derive(Debug)]
pub(super) struct Queue {
    head: [u16; LEVELS],
    tail: [u16; LEVELS],
    /// One bit per level that is not empty.
    occupied: u16,
    /// Counts picks made while several levels were occupied.
    picks: u8,
    /// The lower level that was served last.
    low: u8,
    tree: Option<Box<Tree>>,
}

impl Queue {
    pub(super) fn new() -> Self {
        let (head, tail) = ([NONE; LEVELS], [NONE; LEVELS]);
        Self { head, tail, occupied: 0, picks: 0, low: 0, tree: None }
    }

    /// Whether nothing is ready.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// Whether something more urgent than `level` is ready.
    #[inline]
    pub(super) fn outranks(&self, level: u8) -> bool {
        self.occupied & ((1u16 << level) - 1) != 0
    }

    /// A stream has become able to send.
    pub(super) fn ready(&mut self, streams: &mut Streams, slot: u16) {
        let stream = streams.at(slot);
        if stream.has(READY) {
            return;
        }
        stream.set(READY);
        let node = stream.node;
        if let Some(tree) = self.tree.as_mut().filter(|_| node != NONE) {
            tree.set_ready(node, true);
            if tree.waits(node) {
                return;
            }
        }
        self.link(streams, slot);
    }

    /// A stream has sent all it has, is blocked, or closes.
    pub(super) fn unready(&mut self, streams: &mut Streams, slot: u16) {
        let stream = streams.at(slot);
        if !stream.has(READY) {
            return;
        }
        stream.clear(READY);
        let node = stream.node;
        if stream.has(LINKED) {
            self.unlink(streams, slot);
        }
        if node != NONE {
            if let Some(tree) = &mut self.tree {
                tree.set_ready(node, false);
            }
            self.release(streams, node);
        }
    }

    /// The stream to serve next, and how many octets it may send before the next pick.
    #[inline]
    pub(super) fn pick(&mut self, streams: &mut Streams) -> Option<(u16, usize)> {
        loop {
            let slot = self.head[self.level()?];
            let stream = streams.at(slot);
            let node = stream.node;
            let tree = self.tree.as_ref().filter(|_| node != NONE);
            if tree.is_some_and(|tree| tree.waits(node)) {
                self.unlink(streams, slot);
                continue;
            }
            if !stream.has(INCREMENTAL) && tree.is_none() {
                return Some((slot, usize::MAX));
            }
            if stream.credit <= 0 {
                stream.credit = tree.map_or(QUANTUM, |tree| tree.quantum(node));
            }
            // Weights are kept to the octet; without them a visit may end with a larger frame.
            let allowance = if node == NONE { usize::MAX } else { stream.credit as usize };
            return Some((slot, allowance));
        }
    }

    /// The stream picked has sent `n` octets and stays ready.
    #[inline]
    pub(super) fn served(&mut self, streams: &mut Streams, slot: u16, n: usize) {
        let stream = streams.at(slot);
        if !stream.has(INCREMENTAL) && stream.node == NONE {
            return;
        }
        stream.credit -= i32::try_from(n).unwrap_or(i32::MAX);
        if stream.credit <= 0 && stream.next != NONE {
            self.unlink(streams, slot);
            self.link(streams, slot);
        }
    }

    /// Gives a stream another RFC 9218 priority.
    pub(super) fn prioritise(&mut self, streams: &mut Streams, slot: u16, priority: Priority) {
        let stream = streams.at(slot);
        if stream.level == priority.urgency && stream.has(INCREMENTAL) == priority.incremental {
            return;
        }
        let linked = stream.has(LINKED);
        if linked {
            self.unlink(streams, slot);
        }
        let stream = streams.at(slot);
        stream.level = priority.urgency;
        stream.clear(INCREMENTAL);
        if priority.incremental {
            stream.set(INCREMENTAL);
        }
        if linked {
            self.link(streams, slot);
        }
    }

    /// Applies an RFC 7540 priority to stream `id`, which may be idle, open or closed.
    pub(super) fn place(&mut self, streams: &mut Streams, id: u32, place: Place) {
        let tree = self.tree.get_or_insert_with(|| Box::new(Tree::new()));
        let above =
            streams.slot(place.depends_on).filter(|_| tree.find(place.depends_on).is_none());
        if let Some(slot) = above {
            // A stream that said nothing depends on the root (RFC 7540 section 5.3.5).
            let default = Place { depends_on: 0, weight: WEIGHT, exclusive: false };
            if let Some(node) = tree.place(place.depends_on, default) {
                self.attach(streams, slot, node);
            }
        }
        let Some(tree) = &mut self.tree else { return };
        let Some(node) = tree.place(id, place) else { return };
        if let Some(slot) = streams.slot(id) {
            self.attach(streams, slot, node);
        }
        for slot in 0..streams.slots() {
            self.link_if_free(streams, slot);
        }
    }

    /// A stream has opened: finds the node that a PRIORITY frame may have made for it.
    #[inline]
    pub(super) fn opened(&mut self, streams: &mut Streams, slot: u16) {
        if let Some(tree) = &self.tree
            && let Some(node) = tree.find(streams.see(slot).id)
        {
            self.attach(streams, slot, node);
        }
    }

    /// A stream has closed.
    #[inline]
    pub(super) fn closed(&mut self, streams: &mut Streams, slot: u16) {
        let stream = streams.see(slot);
        let node = stream.node;
        if node == NONE && !stream.has(READY) {
            return;
        }
        self.unready(streams, slot);
        if let Some(tree) = self.tree.as_mut().filter(|_| node != NONE) {
            tree.detach(node);
        }
    }

    /// Forgets the tree; only while no stream lives.
    pub(super) fn trim(&mut self) {
        debug_assert!(self.occupied == 0);
        self.tree = None;
    }

    fn attach(&mut self, streams: &mut Streams, slot: u16, node: u16) {
        let stream = streams.at(slot);
        stream.node = node;
        let ready = stream.has(READY);
        if let Some(tree) = &mut self.tree {
            tree.attach(node, slot);
            tree.set_ready(node, ready);
        }
    }

    /// Links those dependents of `node` that wait for nothing any more.
    fn release(&mut self, streams: &mut Streams, node: u16) {
        let Some(tree) = self.tree.take() else { return };
        if !tree.waits(node) {
            tree.freed(node, |slot| {
                if !streams.see(slot).has(LINKED) {
                    self.link(streams, slot);
                }
            });
        }
        self.tree = Some(tree);
    }

    fn link_if_free(&mut self, streams: &mut Streams, slot: u16) {
        let stream = streams.see(slot);
        if streams.is_live(slot) && stream.has(READY) && !stream.has(LINKED) {
            let node = stream.node;
            if !self.tree.as_ref().is_some_and(|tree| tree.waits(node)) {
                self.link(streams, slot);
            }
        }
    }

    #[inline]
    fn level(&mut self) -> Option<usize> {
        if self.occupied == 0 {
            return None;
        }
        let top = self.occupied.trailing_zeros() as usize;
        let others = self.occupied & (self.occupied - 1);
        if others == 0 {
            return Some(top);
        }
        self.picks = (self.picks + 1) % SHARE;
        if self.picks != 0 {
            return Some(top);
        }
        // The next one below the last that was favoured, or the first again.
        let below = others & !((2u16 << self.low) - 1);
        self.low = (if below != 0 { below } else { others }).trailing_zeros() as u8;
        Some(usize::from(self.low))
    }

    fn link(&mut self, streams: &mut Streams, slot: u16) {
        let stream = streams.at(slot);
        debug_assert!(stream.has(READY) && !stream.has(LINKED));
        stream.set(LINKED);
        let (id, level, in_order) =
            (stream.id, usize::from(stream.level), !stream.has(INCREMENTAL) && stream.node == NONE);
        let mut prev = self.tail[level];
        while in_order && prev != NONE {
            let other = streams.see(prev);
            if other.has(INCREMENTAL) || other.node != NONE || other.id < id {
                break;
            }
            prev = other.prev;
        }
        let next = if prev == NONE { self.head[level] } else { streams.see(prev).next };
        let stream = streams.at(slot);
        (stream.prev, stream.next) = (prev, next);
        match prev {
            NONE => self.head[level] = slot,
            _ => streams.at(prev).next = slot,
        }
        match next {
            NONE => self.tail[level] = slot,
            _ => streams.at(next).prev = slot,
        }
        self.occupied |= 1 << level;
    }

    fn unlink(&mut self, streams: &mut Streams, slot: u16) {
        let stream = streams.at(slot);
        debug_assert!(stream.has(LINKED));
        stream.clear(LINKED);
        let (prev, next, level) = (stream.prev, stream.next, usize::from(stream.level));
        (stream.prev, stream.next) = (NONE, NONE);
        match prev {
            NONE => self.head[level] = next,
            _ => streams.at(prev).next = next,
        }
        match next {
            NONE => self.tail[level] = prev,
            _ => streams.at(next).prev = prev,
        }
        if self.head[level] == NONE {
            self.occupied &= !(1 << level);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stream::tests::blank;
    use super::*;
    use alloc::vec::Vec;

    struct Rig {
        streams: Streams,
        queue: Queue,
        sent: Vec<u64>,
    }

    impl Rig {
        fn new(streams: &[(u32, u8, bool)]) -> Self {
            let mut rig = Self { streams: Streams::new(), queue: Queue::new(), sent: Vec::new() };
            for (id, level, incremental) in streams {
                let mut stream = blank(*id);
                stream.level = *level;
                stream.flags = if *incremental { INCREMENTAL } else { 0 };
                let slot = rig.streams.insert(stream);
                rig.queue.opened(&mut rig.streams, slot);
                rig.sent.push(0);
            }
            rig
        }

        fn slot(&self, id: u32) -> u16 {
            self.streams.slot(id).unwrap()
        }

        fn ready(&mut self, id: u32) {
            let slot = self.slot(id);
            self.queue.ready(&mut self.streams, slot);
        }

        fn unready(&mut self, id: u32) {
            let slot = self.slot(id);
            self.queue.unready(&mut self.streams, slot);
        }

        fn place(&mut self, id: u32, depends_on: u32, weight: u16, exclusive: bool) {
            self.queue.place(&mut self.streams, id, Place { depends_on, weight, exclusive });
        }

        /// Sends one frame; returns its stream.
        fn send_one(&mut self) -> u32 {
            let (slot, most) = self.queue.pick(&mut self.streams).unwrap();
            let n = most.min(16_384);
            self.sent[usize::from(slot)] += n as u64;
            self.queue.served(&mut self.streams, slot, n);
            self.streams.see(slot).id
        }

        fn turns(&mut self, n: usize) {
            for _ in 0..n {
                self.send_one();
            }
        }

        fn sent(&self, id: u32) -> u64 {
            self.sent[usize::from(self.slot(id))]
        }
    }

    #[test]
    fn c11_urgency_then_request_order_then_round_robin() {
        let mut rig =
            Rig::new(&[(1, 3, false), (3, 3, false), (5, 0, false), (7, 2, true), (9, 2, true)]);
        for id in [3, 7, 1, 9, 5] {
            rig.ready(id);
        }
        assert_eq!([rig.send_one(), rig.send_one(), rig.send_one()], [5, 5, 5]);
        rig.unready(5);
        assert_eq!([rig.send_one(), rig.send_one(), rig.send_one(), rig.send_one()], [7, 9, 7, 9]);
        rig.unready(7);
        rig.unready(9);
        assert_eq!(
            [rig.send_one(), rig.send_one()],
            [1, 1],
            "lower id first though it became ready later"
        );
        rig.unready(1);
        assert_eq!(rig.send_one(), 3);
        rig.unready(3);
        assert!(rig.queue.is_empty() && rig.queue.pick(&mut rig.streams).is_none());
    }

    #[test]
    fn c9_no_level_starves() {
        let mut rig =
            Rig::new(&[(1, 0, false), (3, 4, true), (5, 7, false), (2, PUSH_LEVEL, true)]);
        for id in [1, 3, 5, 2] {
            rig.ready(id);
        }
        rig.turns(16 * 300);
        let total: u64 = rig.sent.iter().sum();
        assert_eq!(rig.sent(1) * 16, total * 15);
        for id in [3, 5, 2] {
            assert_eq!(rig.sent(id) * 48, total, "stream {id}");
        }
    }

    #[test]
    fn c10_weights_share_three_to_one_and_flip() {
        let mut rig = Rig::new(&[(1, 3, true), (3, 3, true)]);
        rig.place(1, 0, 12, false);
        rig.place(3, 0, 4, false);
        for id in [1, 3] {
            rig.ready(id);
        }
        rig.turns(400);
        let ratio = rig.sent(1) as f64 / rig.sent(3) as f64;
        assert!((2.7..3.3).contains(&ratio), "{ratio}");
        rig.place(1, 0, 4, false);
        rig.place(3, 0, 12, false);
        rig.sent.fill(0);
        rig.turns(400);
        let ratio = rig.sent(3) as f64 / rig.sent(1) as f64;
        assert!((2.7..3.3).contains(&ratio), "{ratio}");
    }

    #[test]
    fn c10_nested_shares() {
        // Two groups 2:1; in the first, two streams 1:3. So 1/6, 3/6, 2/6 of the whole.
        let mut rig = Rig::new(&[(11, 3, true), (13, 3, true), (15, 3, true)]);
        rig.place(3, 0, 64, false);
        rig.place(5, 0, 32, false);
        rig.place(11, 3, 1, false);
        rig.place(13, 3, 3, false);
        rig.place(15, 5, 16, false);
        for id in [11, 13, 15] {
            rig.ready(id);
        }
        rig.turns(6000);
        let total: u64 = rig.sent.iter().sum();
        for (id, sixths) in [(11, 1.0), (13, 3.0), (15, 2.0)] {
            let share = rig.sent(id) as f64 / total as f64 * 6.0;
            assert!((share / sixths - 1.0).abs() < 0.1, "stream {id}: {share} sixths");
        }
    }

    #[test]
    fn c10_dependents_wait() {
        let mut rig = Rig::new(&[(1, 3, true), (3, 3, true), (5, 3, true)]);
        rig.place(3, 1, 16, false);
        rig.place(5, 3, 16, false);
        for id in [5, 3] {
            rig.ready(id);
        }
        assert_eq!([rig.send_one(), rig.send_one()], [3, 3], "5 was queued first and is parked");
        rig.ready(1);
        assert_eq!([rig.send_one(), rig.send_one(), rig.send_one()], [1, 1, 1]);
        rig.unready(1);
        assert_eq!([rig.send_one(), rig.send_one()], [3, 3]);
        rig.unready(3);
        assert_eq!([rig.send_one(), rig.send_one()], [5, 5]);
        rig.ready(3);
        assert_eq!(rig.send_one(), 3);
        let slot = rig.slot(3);
        rig.queue.closed(&mut rig.streams, slot);
        rig.streams.remove(slot);
        assert_eq!(rig.send_one(), 5);
    }

    #[test]
    fn c10_reprioritisation_frees_the_parked() {
        let mut rig = Rig::new(&[(1, 3, true), (3, 3, true)]);
        rig.place(3, 1, 16, false);
        for id in [1, 3] {
            rig.ready(id);
        }
        assert_eq!([rig.send_one(), rig.send_one()], [1, 1]);
        rig.place(3, 0, 16, false);
        let mut both = [rig.send_one(), rig.send_one()];
        both.sort_unstable();
        assert_eq!(both, [1, 3]);
        rig.place(1, 3, 16, true);
        assert_eq!([rig.send_one(), rig.send_one(), rig.send_one()], [3, 3, 3]);
    }

    #[test]
    fn random_changes_lose_no_stream() {
        let mut random = 99_u32;
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            random
        };
        let ids: Vec<_> = (0..40).map(|i| (1 + 2 * i, (i % 9) as u8, i % 3 == 0)).collect();
        let mut rig = Rig::new(&ids);
        for step in 0..20_000 {
            let id = 1 + 2 * (next() % 40);
            let slot = rig.slot(id);
            match next() % 5 {
                0 | 1 => rig.ready(id),
                2 => rig.unready(id),
                3 if step > 5000 => {
                    let up = (1 + 2 * (next() % 60)) * (next() % 2);
                    if up != id {
                        rig.place(id, up, 1 + (next() % 256) as u16, next() % 5 == 0);
                    }
                }
                _ => {
                    let (urgency, incremental) = ((next() % 8) as u8, next() % 2 == 0);
                    rig.queue.prioritise(&mut rig.streams, slot, Priority { urgency, incremental });
                }
            }
            let some_ready = (0..40).any(|s| rig.streams.see(s).has(READY));
            if some_ready {
                let id = rig.send_one();
                let slot = rig.slot(id);
                assert!(rig.streams.see(slot).has(READY));
            } else {
                assert!(rig.queue.is_empty());
            }
        }
        // Drain: each pick ends its stream, so everything that was ready must come up.
        let count = (0..40).filter(|s| rig.streams.see(*s).has(READY)).count();
        for _ in 0..count {
            let id = rig.send_one();
            rig.unready(id);
        }
        assert!(rig.queue.is_empty());
    }
}
