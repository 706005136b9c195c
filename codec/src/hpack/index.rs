//! A small hash index from pairs and names to entries of an encoder's dynamic table, for HPACK and
//! QPACK. It may forget, which costs only an insertion. Every answer is verified against the table.

use alloc::vec;
use alloc::vec::Vec;

use super::table::Table;
use crate::field::Known;

/// Regions of one vector for pairs, names and pairs seen once. A word is 16 bits of the hash above
/// the low 16 bits of an insertion number. Pairs have buckets of four, the newest first, so that
/// fields of every block do not evict each other: with direct mapping, a head of six fields in 64
/// slots did so in one case of five.
const WAYS: usize = 4;
const BUCKETS: usize = 16;
const NAMES: usize = 16;
const SEEN: usize = 32;
const NAMES_AT: usize = BUCKETS * WAYS;
const SEEN_AT: usize = NAMES_AT + NAMES;

#[derive(Debug)]
pub(crate) struct Index {
    words: Vec<u32>,
    /// Next position in the ring of pairs seen once.
    oldest_seen: u8,
}

/// The hashes of a field's name and of the whole pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hashes {
    name: u64,
    pair: u64,
}

impl Hashes {
    #[inline]
    pub(crate) fn of(known: Known, name: &[u8], value: &[u8]) -> Self {
        let name = hash_name(known, name);
        Self { name, pair: hash_value(name, value) }
    }
}

impl Index {
    pub(crate) const fn new() -> Self {
        Self { words: Vec::new(), oldest_seen: 0 }
    }

    /// Octets of memory held.
    pub(crate) fn memory(&self) -> usize {
        self.words.capacity() * 4
    }

    /// The insertion number of a live entry with this pair.
    #[inline]
    pub(crate) fn find(
        &self,
        table: &Table,
        hashes: Hashes,
        known: Known,
        name: &[u8],
        value: &[u8],
    ) -> Option<u64> {
        let bucket = self.words.get(bucket(hashes.pair)..)?.first_chunk::<WAYS>()?;
        for &word in bucket.iter().filter(|&&word| word >> 16 == tag(hashes.pair) >> 16) {
            let number = number(table, word);
            if table.is(number, known, name, value) {
                return Some(number);
            }
        }
        None
    }

    /// The insertion number of some live entry with this name.
    pub(crate) fn find_name(
        &self,
        table: &Table,
        hashes: Hashes,
        known: Known,
        name: &[u8],
    ) -> Option<u64> {
        let word = *self.words.get(NAMES_AT + hashes.name as usize % NAMES)?;
        let number = number(table, word);
        let entry = table.entry(number)?;
        let same = || table.pair(&entry)[..entry.name_len.into()] == *name;
        (entry.known == known && (known != Known::Other || same())).then_some(number)
    }

    /// Whether the pair was asked for recently; if not, it is remembered.
    pub(crate) fn seen(&mut self, hashes: Hashes) -> bool {
        self.allocate();
        let tag = hashes.pair as u32 | 1;
        let ring = &mut self.words[SEEN_AT..];
        if ring.iter().fold(false, |found, &word| found | (word == tag)) {
            return true;
        }
        ring[usize::from(self.oldest_seen)] = tag;
        self.oldest_seen = (self.oldest_seen + 1) % SEEN as u8;
        false
    }

    /// Records that the table's next insertion is this pair.
    pub(crate) fn remember(&mut self, table: &Table, hashes: Hashes) {
        self.allocate();
        let number = u32::from(table.inserted() as u16);
        let bucket = &mut self.words[bucket(hashes.pair)..][..WAYS];
        bucket.copy_within(..WAYS - 1, 1);
        bucket[0] = tag(hashes.pair) | number;
        self.words[NAMES_AT + hashes.name as usize % NAMES] = number;
    }

    fn allocate(&mut self) {
        if self.words.is_empty() {
            self.words = vec![0; SEEN_AT + SEEN];
        }
    }
}

/// The last insertion number before the next one with the low 16 bits of `word`; the next one if
/// there is none.
#[inline]
fn number(table: &Table, word: u32) -> u64 {
    let next = table.inserted();
    next.saturating_sub(u64::from((next as u16).wrapping_sub(word as u16)))
}

fn bucket(hash: u64) -> usize {
    hash as usize % BUCKETS * WAYS
}

/// The stored part of a hash, in the high half; never 0.
fn tag(hash: u64) -> u32 {
    hash as u32 & 0xffff_0000 | 0x1_0000
}

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// A hash of a name; its low bits are well mixed.
#[inline]
fn hash_name(known: Known, name: &[u8]) -> u64 {
    let seed = (known as u64 + 1).wrapping_mul(MIX);
    if known == Known::Other { hash_value(seed, name) } else { seed ^ seed >> 32 }
}

/// A hash of `seed`, the length and the first and last octets. Values that differ only in between
/// collide; they are rare.
#[inline]
fn hash_value(seed: u64, value: &[u8]) -> u64 {
    let (first, last) = match (value.first_chunk::<8>(), value.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => {
            let mut word = 0;
            for &octet in value {
                word = word << 8 | u64::from(octet);
            }
            (word, 0)
        }
    };
    let mixed = (seed ^ first ^ (value.len() as u64) << 56).wrapping_mul(MIX) ^ last;
    let hash = mixed.wrapping_mul(MIX);
    hash ^ hash >> 29 ^ hash >> 47
}
