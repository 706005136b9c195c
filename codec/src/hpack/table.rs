//! The dynamic table of HPACK and QPACK, on both sides: a queue of name-value pairs with a bound on
//! its size.
//!
//! Everything is in one block, which grows from the first insertion on and never exceeds the bound
//! by much:
//!
//! ```text
//!     | descriptors: a ring of 8-byte words | ... | name value name value ... |      | slack |
//! ```
//!
//! A pair's octets are contiguous (one copy makes it a field). New pairs go after the last, and at
//! the end of the block the live ones slide to the front. Each entry is charged 32 octets more than
//! it holds and needs 8, so that a full table of N entries has 24 N octets of room: with 4096
//! octets and 40-octet pairs, one slide of 2 KiB in 30 insertions.

use alloc::vec;
use alloc::vec::Vec;

use crate::field::Known;

/// What an entry is charged in addition to its octets (RFC 7541 section 4.1, RFC 9204 section
/// 3.2.1).
pub(crate) const OVERHEAD: usize = 32;

/// The largest bound on a table: its offsets are 16 bits.
pub(crate) const LARGEST: u32 = 65_535;

/// Readable octets after every pair, so that a short one is copied by one move of this length.
pub(crate) const SLACK: usize = 64;

const FIRST_RING: usize = 16;
const FIRST_AREA: usize = 256;

/// One entry's place and properties.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    at: u16,
    pub(crate) name_len: u16,
    pub(crate) value_len: u16,
    pub(crate) known: Known,
    /// The owner's bits.
    pub(crate) flags: u8,
}

impl Entry {
    pub(crate) fn size(&self) -> usize {
        usize::from(self.name_len) + usize::from(self.value_len) + OVERHEAD
    }

    fn pack(self) -> u64 {
        u64::from(self.at)
            | u64::from(self.name_len) << 16
            | u64::from(self.value_len) << 32
            | (self.known as u64) << 48
            | u64::from(self.flags) << 56
    }

    fn unpack(word: u64) -> Self {
        Self {
            at: word as u16,
            name_len: (word >> 16) as u16,
            value_len: (word >> 32) as u16,
            known: super::known_from((word >> 48) as u8),
            flags: (word >> 56) as u8,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Table {
    block: Vec<u8>,
    /// Slots of the descriptor ring: 0 or a power of two.
    ring: usize,
    /// Insertion number of the oldest live entry.
    first: u64,
    /// Insertion number of the next entry: the count of all insertions.
    next: u64,
    /// The live octets in the block, relative to the ring's end.
    from: usize,
    to: usize,
    /// The RFCs' size of all live entries, and its bound.
    size: usize,
    bound: usize,
}

impl Table {
    pub(crate) const fn new(bound: u32) -> Self {
        assert!(bound <= LARGEST);
        let bound = bound as usize;
        Self { block: Vec::new(), ring: 0, first: 0, next: 0, from: 0, to: 0, size: 0, bound }
    }

    /// Number of entries ever inserted.
    pub(crate) fn inserted(&self) -> u64 {
        self.next
    }

    /// Number of entries ever evicted: the insertion number of the oldest live entry.
    pub(crate) fn evicted(&self) -> u64 {
        self.first
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn bound(&self) -> usize {
        self.bound
    }

    /// Octets of memory held.
    pub(crate) fn memory(&self) -> usize {
        self.block.capacity()
    }

    /// The entry with this insertion number, if it is live.
    #[inline]
    pub(crate) fn entry(&self, number: u64) -> Option<Entry> {
        (self.first <= number && number < self.next).then(|| self.live(number))
    }

    #[inline]
    fn live(&self, number: u64) -> Entry {
        let at = self.slot(number);
        let Some(word) = self.block[at..].first_chunk() else { unreachable!() };
        Entry::unpack(u64::from_le_bytes(*word))
    }

    #[inline]
    fn slot(&self, number: u64) -> usize {
        (number as usize & (self.ring - 1)) * 8
    }

    fn put(&mut self, number: u64, entry: Entry) {
        let at = self.slot(number);
        self.block[at..at + 8].copy_from_slice(&entry.pack().to_le_bytes());
    }

    /// The entry's name, followed by its value.
    #[inline]
    pub(crate) fn pair(&self, entry: &Entry) -> &[u8] {
        let at = self.ring * 8 + usize::from(entry.at);
        &self.block[at..at + usize::from(entry.name_len) + usize::from(entry.value_len)]
    }

    /// Whether the entry with this number is live and is this pair; `name` is compared only if it
    /// is not a known one.
    #[inline]
    pub(crate) fn is(&self, number: u64, known: Known, name: &[u8], value: &[u8]) -> bool {
        let Some(entry) = self.entry(number) else { return false };
        if entry.known as u8 != known as u8 || usize::from(entry.value_len) != value.len() {
            return false;
        }
        let (own_name, own_value) = self.pair(&entry).split_at(entry.name_len.into());
        same(own_value, value) && (known != Known::Other || own_name == name)
    }

    /// Appends the entry's name and value to `out`.
    #[inline]
    pub(crate) fn append(&self, entry: &Entry, out: &mut Vec<u8>) {
        let at = self.ring * 8 + usize::from(entry.at);
        let length = usize::from(entry.name_len) + usize::from(entry.value_len);
        match self.block[at..].first_chunk::<SLACK>() {
            Some(chunk) if length <= SLACK => super::append_short(out, chunk, length),
            _ => out.extend_from_slice(&self.block[at..at + length]),
        }
    }

    /// Lowers or raises the bound, evicting what no longer fits. A bound of 0 gives the memory
    /// back.
    pub(crate) fn set_bound(&mut self, bound: u32) {
        assert!(bound <= LARGEST);
        self.bound = bound as usize;
        self.make_room(0);
        if bound == 0 {
            (self.block, self.ring, self.from, self.to) = (Vec::new(), 0, 0, 0);
        }
    }

    /// Evicts from the oldest on until `size` more octets fit the bound or nothing is left; returns
    /// whether they fit.
    pub(crate) fn make_room(&mut self, size: usize) -> bool {
        while self.size + size > self.bound && self.first < self.next {
            self.evict();
        }
        self.size + size <= self.bound
    }

    fn evict(&mut self) {
        let entry = self.live(self.first);
        self.first += 1;
        self.size -= entry.size();
        self.from += entry.size() - OVERHEAD;
        if self.first == self.next {
            (self.from, self.to) = (0, 0);
        }
    }

    /// Inserts a pair, evicting old entries as needed. An entry larger than the bound empties the
    /// table and is not inserted (RFC 7541 section 4.4): returns false.
    pub(crate) fn insert(&mut self, name: &[u8], value: &[u8], known: Known, flags: u8) -> bool {
        let length = name.len() + value.len();
        if !self.make_room(length + OVERHEAD) {
            return false;
        }
        if (self.next - self.first) as usize == self.ring {
            self.rebuild(if self.ring == 0 { FIRST_RING } else { self.ring * 2 }, self.area());
        }
        if self.to + length > self.area() {
            self.reach(length);
        }
        let base = self.ring * 8 + self.to;
        let (name_to, value_to) = self.block[base..base + length].split_at_mut(name.len());
        name_to.copy_from_slice(name);
        value_to.copy_from_slice(value);
        let entry = Entry {
            at: self.to as u16,
            name_len: name.len() as u16,
            value_len: value.len() as u16,
            known,
            flags,
        };
        self.put(self.next, entry);
        self.next += 1;
        self.to += length;
        self.size += entry.size();
        true
    }

    /// Octets of the area for pairs.
    fn area(&self) -> usize {
        self.block.len().saturating_sub(self.ring * 8 + SLACK)
    }

    /// Makes room for `more` octets after the last pair: slides if a quarter of the area is free,
    /// else grows.
    fn reach(&mut self, more: usize) {
        let (area, live) = (self.area(), self.to - self.from + more);
        if live <= area - area / 4 || (live <= area && area >= self.bound) {
            let base = self.ring * 8;
            self.block.copy_within(base + self.from..base + self.to, base);
            self.shift();
        } else {
            let wanted = live.next_power_of_two().max(area * 2).max(FIRST_AREA);
            self.rebuild(self.ring, wanted.min(self.bound.max(live)));
        }
    }

    /// After the live octets have moved to the area's front.
    fn shift(&mut self) {
        for number in self.first..self.next {
            let mut entry = self.live(number);
            entry.at -= self.from as u16;
            self.put(number, entry);
        }
        (self.from, self.to) = (0, self.to - self.from);
    }

    /// Moves to a new block with a ring of `ring` slots and an area of `area` octets.
    fn rebuild(&mut self, ring: usize, area: usize) {
        let area = area.max(self.to - self.from);
        let old = Self {
            block: core::mem::replace(&mut self.block, vec![0; ring * 8 + area + SLACK]),
            ..*self
        };
        self.ring = ring;
        let base = old.ring * 8;
        self.block[ring * 8..][..old.to - old.from]
            .copy_from_slice(&old.block[base + old.from..base + old.to]);
        for number in self.first..self.next {
            self.put(number, old.live(number));
        }
        self.shift();
    }
}

/// `a == b`, without a call for common lengths: fixed moves, the last overlapping.
#[inline]
fn same(a: &[u8], b: &[u8]) -> bool {
    /// Compares pieces of `N` octets; there is at least one.
    #[inline(always)]
    fn by<const N: usize>(a: &[u8], b: &[u8]) -> bool {
        let mut equal = a.last_chunk::<N>() == b.last_chunk::<N>();
        let (mut a, mut b) = (a, b);
        while let (Some((x, more_a)), Some((y, more_b))) =
            (a.split_first_chunk::<N>(), b.split_first_chunk::<N>())
        {
            equal &= x == y;
            (a, b) = (more_a, more_b);
        }
        equal
    }
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        0..4 => a.iter().zip(b).all(|(a, b)| a == b),
        4..8 => by::<4>(a, b),
        8..16 => by::<8>(a, b),
        16..32 => by::<16>(a, b),
        32..=256 => by::<32>(a, b),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;

    /// Against a queue of pairs, with sizes that make it slide, grow, wrap and empty itself.
    #[test]
    fn behaves_as_a_queue() {
        let mut seed = 7u64;
        let mut random = move |below: u64| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for bound in [0u32, 31, 32, 33, 100, 4096, 65_535] {
            let mut table = Table::new(bound);
            let mut model: VecDeque<(usize, Vec<u8>)> = VecDeque::new();
            let (mut bound, mut evicted) = (bound as usize, 0);
            for step in 0..20_000u64 {
                if random(997) == 0 {
                    bound = random(bound as u64 + 1) as usize;
                    table.set_bound(bound as u32);
                } else {
                    let long = if random(50) == 0 { 5000 } else { 60 };
                    let pair: Vec<u8> = (0..random(long)).map(|i| (i ^ step) as u8).collect();
                    let name = random(pair.len() as u64 + 1) as usize;
                    let fits = pair.len() + OVERHEAD <= bound;
                    let (first, second) = pair.split_at(name);
                    assert_eq!(table.insert(first, second, Known::Other, 3), fits);
                    model.push_back((name, pair));
                }
                let mut size: usize = model.iter().map(|(_, pair)| pair.len() + OVERHEAD).sum();
                while size > bound {
                    let (_, pair) = model.pop_front().unwrap();
                    size -= pair.len() + OVERHEAD;
                    evicted += 1;
                }
                if table.inserted() == table.evicted() {
                    assert!(model.is_empty());
                    evicted = table.evicted();
                }
                assert_eq!(table.size(), size);
                assert_eq!(table.evicted(), evicted);
                assert_eq!(table.inserted() - evicted, model.len() as u64);
                assert!(table.memory() <= bound.max(4096) * 5 / 4 * 16 + 1024);
                let picked = random(model.len() as u64 + 1);
                match model.get(picked as usize) {
                    Some((name, pair)) => {
                        let entry = table.entry(evicted + picked).unwrap();
                        assert_eq!(table.pair(&entry), pair);
                        assert_eq!(usize::from(entry.name_len), *name);
                        let mut out = Vec::new();
                        table.append(&entry, &mut out);
                        assert_eq!(&out, pair);
                    }
                    None => assert!(table.entry(evicted + picked).is_none()),
                }
            }
        }
    }

    #[test]
    fn holds_nothing_before_the_first_insertion() {
        let mut table = Table::new(4096);
        assert_eq!(table.memory(), 0);
        table.insert(b"server", b"ringway", Known::Other, 0);
        assert!(table.memory() < 1024);
        table.set_bound(0);
        assert_eq!(table.memory(), 0);
    }
}
