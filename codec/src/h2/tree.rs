//! The RFC 7540 priority tree (section 5.3 there; deprecated, but still sent): weights 1 to 256,
//! dependencies, exclusive insertion, reprioritisation. It exists only after a PRIORITY frame or
//! flag. It answers two questions for `queue`: how many octets a stream may send at a visit, and
//! whether a stream that it depends on goes first.
//!
//! The tree is compiled into weights instead of being walked from the root: a child of the root
//! gets `weight` KiB a visit, and a node's share is divided among those of its children that have
//! something to send, by weight. Both answers cost one step per ancestor.

use super::stream::NONE;
use alloc::vec::Vec;

/// The deepest place at which a node is hung; deeper ones go to the ancestor that is allowed
/// dependents. A subtree that is moved keeps its own depth, so `NODES` is the hard bound on a walk
/// up.
const DEPTH: usize = 32;
/// Nodes kept. Past it the oldest without a stream goes and its children move up (RFC 7540 section
/// 5.3.4).
const NODES: usize = 256;
/// Octets per visit and unit of weight: the default weight of 16 makes one frame of the default
/// size.
const UNIT: u32 = 1024;
/// The least that a visit is worth, however deep: a frame should not be mostly header.
const LEAST: u32 = 256;
/// The default weight.
pub(super) const WEIGHT: u16 = 16;

#[derive(Clone, Debug)]
struct Node {
    /// The stream, or 0 for a free node and for the root.
    id: u32,
    /// Sum of the weights of those children whose subtree has something to send.
    active_weight: u32,
    /// Of those children, how many.
    active: u16,
    weight: u16,
    parent: u16,
    first: u16,
    next: u16,
    /// The live stream's slot.
    slot: u16,
    /// The stream itself has something to send.
    ready: bool,
}

/// The tree; node 0 is the root, stream 0.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// Where the search for a node to give up goes on.
    clock: u16,
}

/// A stream's place as a frame states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) depends_on: u32,
    pub(super) weight: u16,
    pub(super) exclusive: bool,
}

impl Place {
    /// Reads the five octets of a PRIORITY payload.
    pub(super) fn read(payload: &[u8; 5]) -> Self {
        let word = u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]);
        Self {
            depends_on: word & 0x7fff_ffff,
            exclusive: word >> 31 == 1,
            weight: u16::from(payload[4]) + 1,
        }
    }
}

impl Tree {
    pub(super) fn new() -> Self {
        let mut nodes = Vec::with_capacity(8);
        nodes.push(Node::new(0, WEIGHT, NONE));
        Self { nodes, clock: 1 }
    }

    fn node(&self, at: u16) -> &Node {
        &self.nodes[usize::from(at)]
    }

    fn node_mut(&mut self, at: u16) -> &mut Node {
        &mut self.nodes[usize::from(at)]
    }

    /// The node of stream `id`, if it has one.
    pub(super) fn find(&self, id: u32) -> Option<u16> {
        self.nodes.iter().skip(1).position(|n| n.id == id && id != 0).map(|i| i as u16 + 1)
    }

    /// Ties a node to the live stream in `slot`.
    pub(super) fn attach(&mut self, node: u16, slot: u16) {
        self.node_mut(node).slot = slot;
    }

    /// The stream has closed; its node stays as a place for others until the room is needed.
    pub(super) fn detach(&mut self, node: u16) {
        debug_assert!(!self.node(node).ready);
        self.node_mut(node).slot = NONE;
    }

    /// Puts stream `id` at `place`, creating its node if need be (RFC 7540 section 5.3.3). `None`
    /// when every node belongs to a live stream. The caller has refused self-dependency.
    pub(super) fn place(&mut self, id: u32, place: Place) -> Option<u16> {
        debug_assert!(id != 0 && id != place.depends_on);
        let at = self.find(id).or_else(|| self.allocate(id))?;
        // A dependency on a stream that is not in the tree gives the default priority (section
        // 5.3.1).
        let (parent, place) = match (place.depends_on, self.find(place.depends_on)) {
            (0, _) => (0, place),
            (_, Some(parent)) => (parent, place),
            (_, None) => (0, Place { depends_on: 0, weight: WEIGHT, exclusive: false }),
        };
        if self.is_below(parent, at) {
            // The new parent is a dependent of the moved one: it moves up first.
            let up = self.node(at).parent;
            self.move_to(parent, up);
        }
        let parent = self.shallow(parent);
        self.cut(at);
        self.node_mut(at).weight = place.weight;
        if place.exclusive {
            while self.node(parent).first != NONE {
                let child = self.node(parent).first;
                self.move_to(child, at);
            }
        }
        self.hang(at, parent);
        Some(at)
    }

    /// Octets for one visit to a ready stream.
    pub(super) fn quantum(&self, node: u16) -> i32 {
        let mut share = 1.0_f32;
        let mut at = node;
        loop {
            let n = self.node(at);
            if n.parent == 0 || n.parent == NONE {
                break;
            }
            share *= f32::from(n.weight) / self.node(n.parent).active_weight.max(1) as f32;
            at = n.parent;
        }
        let top = u32::from(self.node(at).weight) * UNIT;
        ((top as f32 * share) as u32).clamp(LEAST, top.max(LEAST)) as i32
    }

    /// Whether a stream that this one depends on has something to send.
    pub(super) fn waits(&self, node: u16) -> bool {
        let mut at = self.node(node).parent;
        while at != NONE && at != 0 {
            if self.node(at).ready {
                return true;
            }
            at = self.node(at).parent;
        }
        false
    }

    /// Notes whether a stream has something to send.
    pub(super) fn set_ready(&mut self, node: u16, ready: bool) {
        if self.node(node).ready == ready {
            return;
        }
        let was = self.is_active(node);
        self.node_mut(node).ready = ready;
        if was != self.is_active(node) {
            self.propagate(node, ready);
        }
    }

    /// Calls `f` with the slot of every ready stream below `node` that waits for no other: those
    /// that may go now.
    pub(super) fn freed(&self, node: u16, mut f: impl FnMut(u16)) {
        let mut at = self.node(node).first;
        while at != NONE {
            let n = self.node(at);
            if n.ready {
                f(n.slot);
            }
            // Down unless this one goes before its dependents, else along, else up until there is a
            // way along.
            if !n.ready && n.active > 0 && n.first != NONE {
                at = n.first;
                continue;
            }
            let mut here = at;
            at = n.next;
            while at == NONE {
                here = self.node(here).parent;
                if here == node || here == NONE {
                    return;
                }
                at = self.node(here).next;
            }
        }
    }

    fn is_active(&self, node: u16) -> bool {
        let n = self.node(node);
        n.ready || n.active > 0
    }

    /// Tells the ancestors that `node`'s subtree has become active, or ceased to be.
    fn propagate(&mut self, node: u16, active: bool) {
        let mut at = node;
        loop {
            let (weight, parent) = (u32::from(self.node(at).weight), self.node(at).parent);
            if parent == NONE {
                return;
            }
            let was = self.is_active(parent);
            let p = self.node_mut(parent);
            if active {
                p.active += 1;
                p.active_weight += weight;
            } else {
                p.active -= 1;
                p.active_weight -= weight;
            }
            if was == self.is_active(parent) {
                return;
            }
            at = parent;
        }
    }

    fn is_below(&self, node: u16, above: u16) -> bool {
        let mut at = node;
        while at != NONE {
            if at == above {
                return true;
            }
            at = self.node(at).parent;
        }
        false
    }

    /// `parent`, or the ancestor of it that is not too deep to have children.
    fn shallow(&self, parent: u16) -> u16 {
        let mut depth = 0;
        let mut at = parent;
        while at != 0 && at != NONE {
            depth += 1;
            at = self.node(at).parent;
        }
        let mut at = parent;
        while depth >= DEPTH {
            depth -= 1;
            at = self.node(at).parent;
        }
        at
    }

    fn move_to(&mut self, node: u16, parent: u16) {
        self.cut(node);
        self.hang(node, parent);
    }

    /// Takes a node with its subtree off its parent.
    fn cut(&mut self, node: u16) {
        let parent = self.node(node).parent;
        if parent == NONE {
            return;
        }
        if self.is_active(node) {
            self.propagate(node, false);
        }
        let next = self.node(node).next;
        if self.node(parent).first == node {
            self.node_mut(parent).first = next;
        } else {
            let mut at = self.node(parent).first;
            while self.node(at).next != node {
                at = self.node(at).next;
            }
            self.node_mut(at).next = next;
        }
        let n = self.node_mut(node);
        (n.parent, n.next) = (NONE, NONE);
    }

    /// Puts a node that was cut, or is new, under a parent.
    fn hang(&mut self, node: u16, parent: u16) {
        let first = self.node(parent).first;
        let n = self.node_mut(node);
        (n.parent, n.next) = (parent, first);
        self.node_mut(parent).first = node;
        if self.is_active(node) {
            self.propagate(node, true);
        }
    }

    fn allocate(&mut self, id: u32) -> Option<u16> {
        if self.nodes.len() < NODES {
            self.nodes.push(Node::new(id, WEIGHT, NONE));
            return Some(self.nodes.len() as u16 - 1);
        }
        for _ in 1..NODES {
            let at = self.clock;
            self.clock = if usize::from(at) + 1 < NODES { at + 1 } else { 1 };
            if self.node(at).slot == NONE {
                let parent = self.node(at).parent;
                while self.node(at).first != NONE {
                    let child = self.node(at).first;
                    self.move_to(child, parent);
                }
                self.cut(at);
                *self.node_mut(at) = Node::new(id, WEIGHT, NONE);
                return Some(at);
            }
        }
        None
    }
}

impl Node {
    fn new(id: u32, weight: u16, parent: u16) -> Self {
        let (first, next, slot) = (NONE, NONE, NONE);
        Self { id, active_weight: 0, active: 0, weight, parent, first, next, slot, ready: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(depends_on: u32, weight: u16) -> Place {
        Place { depends_on, weight, exclusive: false }
    }

    /// parent stream of stream `id`
    fn parent(tree: &Tree, id: u32) -> u32 {
        tree.node(tree.node(tree.find(id).unwrap()).parent).id
    }

    /// Recomputes every sum from scratch.
    fn check(tree: &Tree) {
        for (i, n) in tree.nodes.iter().enumerate() {
            let (mut weight, mut active, mut at, mut steps) = (0, 0, n.first, 0);
            while at != NONE {
                let child = tree.node(at);
                assert_eq!(usize::from(child.parent), i);
                if tree.is_active(at) {
                    weight += u32::from(child.weight);
                    active += 1;
                }
                at = child.next;
                steps += 1;
                assert!(steps <= NODES);
            }
            assert_eq!((n.active_weight, n.active), (weight, active), "node of stream {}", n.id);
            assert!(i == 0 || !tree.is_below(0, i as u16));
        }
    }

    /// The figures of RFC 7540 section 5.3.3: A is moved under D, which hangs below A.
    #[test]
    fn c10_reprioritisation_below_a_dependent() {
        for exclusive in [false, true] {
            let [x, a, b, c, d, e, f] = [0, 1, 3, 5, 7, 9, 11];
            let mut tree = Tree::new();
            for (id, up) in [(a, x), (b, a), (c, a), (d, c), (e, c), (f, d)] {
                tree.place(id, on(up, 16));
            }
            tree.place(a, Place { depends_on: d, weight: 16, exclusive });
            assert_eq!(parent(&tree, d), x);
            assert_eq!(parent(&tree, a), d);
            assert_eq!(parent(&tree, f), if exclusive { a } else { d });
            assert_eq!([parent(&tree, b), parent(&tree, c), parent(&tree, e)], [a, a, c]);
            check(&tree);
        }
    }

    #[test]
    fn c10_exclusive_takes_the_siblings() {
        let mut tree = Tree::new();
        tree.place(3, on(0, 8));
        tree.place(5, on(0, 8));
        tree.place(7, Place { depends_on: 0, weight: 8, exclusive: true });
        assert_eq!([parent(&tree, 3), parent(&tree, 5), parent(&tree, 7)], [7, 7, 0]);
        tree.place(9, on(99, 200));
        let nine = tree.find(9).unwrap();
        assert_eq!((parent(&tree, 9), tree.node(nine).weight), (0, WEIGHT), "unknown parent");
    }

    #[test]
    fn c10_shares_and_waiting() {
        let mut tree = Tree::new();
        let group = tree.place(1, on(0, 32)).unwrap();
        let a = tree.place(3, on(1, 12)).unwrap();
        let b = tree.place(5, on(1, 4)).unwrap();
        let below = tree.place(7, on(5, 16)).unwrap();
        for n in [a, b, below] {
            tree.set_ready(n, true);
            check(&tree);
        }
        assert_eq!((tree.quantum(a), tree.quantum(b)), (24 * 1024, 8 * 1024));
        assert_eq!([group, a, b, below].map(|n| tree.waits(n)), [false, false, false, true]);
        tree.set_ready(b, false);
        assert!(!tree.waits(below));
        assert_eq!(tree.quantum(below), 8 * 1024, "dependents inherit the share");
        tree.set_ready(below, false);
        assert_eq!(tree.quantum(a), 32 * 1024, "a lone child has all of it");
        check(&tree);
    }

    #[test]
    fn freed_finds_the_topmost_ready_ones() {
        let mut tree = Tree::new();
        for (id, up) in [(1, 0), (3, 1), (5, 3), (7, 3), (9, 7), (11, 1), (13, 0)] {
            let n = tree.place(id, on(up, 16)).unwrap();
            tree.attach(n, id as u16);
        }
        for id in [5, 7, 9, 11, 13] {
            let n = tree.find(id).unwrap();
            tree.set_ready(n, true);
        }
        let mut freed = Vec::new();
        tree.freed(tree.find(1).unwrap(), |slot| freed.push(slot));
        freed.sort_unstable();
        assert_eq!(freed, [5, 7, 11]);
    }

    #[test]
    fn random_changes_keep_every_sum_and_bound() {
        let mut random = 7_u32;
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            random
        };
        let mut tree = Tree::new();
        for step in 0..30_000 {
            let id = 1 + 2 * (next() % 400);
            let depends_on = (1 + 2 * (next() % 400)) * (next() % 4).min(1);
            if id != depends_on {
                let exclusive = next() % 4 == 0;
                tree.place(id, Place { depends_on, weight: 1 + (next() % 256) as u16, exclusive });
            }
            let n = 1 + next() as usize % (tree.nodes.len() - 1);
            if tree.nodes[n].ready {
                tree.set_ready(n as u16, false);
                tree.detach(n as u16);
            } else if next() % 2 == 0 {
                tree.attach(n as u16, 0);
                tree.set_ready(n as u16, true);
            }
            assert!(tree.nodes.len() <= NODES && tree.quantum(n as u16) >= LEAST as i32);
            if step % 64 == 0 {
                check(&tree);
            }
        }
        check(&tree);
    }
}
