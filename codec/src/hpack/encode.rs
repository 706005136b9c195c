//! HPACK blocks from fields (RFC 7541 section 6): what stands in a table becomes an index, what is
//! likely to come again is inserted, the rest are literals, Huffman coded where that is shorter.
//!
//! Which entry holds a pair is remembered in a small direct-mapped index instead of searched for; a
//! collision costs an insertion. Nothing is allocated before the first insertion.

use alloc::vec;
use alloc::vec::Vec;

use super::table::{LARGEST, OVERHEAD, Table};
use super::{int, statics};
use crate::field::{Field, Known};
use crate::huffman;
use crate::scan::Backend;

/// The size of both sides' tables before any SETTINGS (RFC 9113 section 6.5.2).
const INITIAL: u32 = 4096;

/// How a field is to be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexing {
    /// By its name: secrets (authorization, proxy-authorization, cookie, set-cookie) as
    /// [`Indexing::Never`], values that stay the same as [`Indexing::Insert`], others inserted when
    /// they come a second time.
    Auto,
    /// Into the dynamic table, so that the next time it is one octet.
    Insert,
    /// A literal that leaves the table alone; another hop may index it.
    Literal,
    /// A literal that no hop may ever index: a secret (section 7.1.3).
    Never,
}

/// What [`Indexing::Auto`] does by name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    /// Insert what has been seen a short while ago.
    SecondTime,
    Stable,
    Secret,
}

const SECRET: &[Known] =
    &[Known::Authorization, Known::ProxyAuthorization, Known::Cookie, Known::SetCookie];

const STABLE: &[Known] = &[
    // of responses
    Known::PseudoStatus,
    Known::Server,
    Known::Date,
    Known::ContentType,
    Known::ContentLength,
    Known::ContentEncoding,
    Known::CacheControl,
    Known::AltSvc,
    Known::Vary,
    Known::AcceptRanges,
    Known::StrictTransportSecurity,
    Known::AccessControlAllowOrigin,
    Known::XContentTypeOptions,
    Known::XFrameOptions,
    Known::ContentSecurityPolicy,
    // of requests
    Known::PseudoMethod,
    Known::PseudoScheme,
    Known::PseudoAuthority,
    Known::UserAgent,
    Known::Accept,
    Known::AcceptEncoding,
    Known::AcceptLanguage,
];

static POLICIES: [Policy; 256] = {
    let mut policies = [Policy::SecondTime; 256];
    let mut at = 0;
    while at < SECRET.len() {
        policies[SECRET[at] as usize] = Policy::Secret;
        at += 1;
    }
    at = 0;
    while at < STABLE.len() {
        policies[STABLE[at] as usize] = Policy::Stable;
        at += 1;
    }
    policies
};

/// Where pairs, names and pairs seen once are remembered: regions of one vector. A word is 16 bits
/// of the hash above the low 16 bits of an insertion number. Pairs have buckets of four, the newest
/// first, so that fields which come in every block do not drive each other out: with direct mapping
/// a head of six fields in 64 slots did so in one case of five.
const WAYS: usize = 4;
const BUCKETS: usize = 16;
const NAMES: usize = 16;
const SEEN: usize = 16;
const NAMES_AT: usize = BUCKETS * WAYS;
const SEEN_AT: usize = NAMES_AT + NAMES;

/// The encoding side of one connection: the dynamic table that the peer's decoder mirrors.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    backend: Backend,
    /// The most that we want to spend, whatever the peer allows.
    own_bound: u32,
    /// Before the next block the peer must be told these: the lowest bound since the last one, and
    /// the last.
    updates: Option<(u32, u32)>,
    /// Insertion numbers by hash of pair and by hash of name; hashes of pairs seen once.
    memory: Vec<u32>,
}

impl Encoder {
    /// An encoder that spends at most `table_size` octets (at most 65,535) on its table. The peer
    /// is taken to allow the protocol's initial 4096 until [`Encoder::set_peer_table_size`].
    pub const fn new(backend: Backend, table_size: u32) -> Self {
        let size = if table_size < INITIAL { table_size } else { INITIAL };
        let updates = if size == INITIAL { None } else { Some((size, size)) };
        Self {
            table: Table::new(size),
            backend,
            own_bound: table_size,
            updates,
            memory: Vec::new(),
        }
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE, any value. The next block announces what becomes of
    /// it.
    pub fn set_peer_table_size(&mut self, size: u32) {
        let size = size.min(self.own_bound).min(LARGEST);
        if size as usize != self.table.bound() {
            let lowest = self.updates.map_or(size, |(lowest, _)| lowest.min(size));
            self.updates = Some((lowest, size));
            self.table.set_bound(size);
        }
    }

    /// Octets of memory held by the dynamic table and its index.
    pub fn memory(&self) -> usize {
        self.table.memory() + self.memory.capacity() * 4
    }

    /// Begins a block at the end of `out`. Once anything has been added to it, it must be sent, and
    /// before any later one: the peer's table follows it.
    pub fn block<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Block<'a> {
        if let Some((lowest, last)) = self.updates.take() {
            if lowest < last {
                int::write(out, 0x20, 5, lowest);
            }
            int::write(out, 0x20, 5, last);
        }
        Block { encoder: self, out }
    }
}

/// One block being written.
#[derive(Debug)]
pub struct Block<'a> {
    encoder: &'a mut Encoder,
    out: &'a mut Vec<u8>,
}

impl Block<'_> {
    /// Adds `:status`, three digits.
    #[inline]
    pub fn status(&mut self, status: u16) {
        let index = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                let digits = [status / 100, status / 10 % 10, status % 10];
                let value = digits.map(|digit| b'0' + digit as u8);
                return self.field(Known::PseudoStatus, b"", &value);
            }
        };
        self.out.push(0x80 | index);
    }

    /// Adds a field, compressed as its name suggests. `name` is read only if `known` is
    /// `Known::Other`, and then must be lower case.
    #[inline]
    pub fn field(&mut self, known: Known, name: &[u8], value: &[u8]) {
        self.field_as(Indexing::Auto, known, name, value);
    }

    /// Adds fields as a decoder gave them; those marked never-indexed stay so.
    pub fn fields(&mut self, bytes: &[u8], fields: &[Field]) {
        for field in fields {
            let never = field.flags & Field::NEVER_INDEXED != 0;
            let indexing = if never { Indexing::Never } else { Indexing::Auto };
            self.field_as(indexing, field.known, field.name(bytes), field.value(bytes));
        }
    }

    /// Adds a field, compressed as told.
    pub fn field_as(&mut self, indexing: Indexing, known: Known, name: &[u8], value: &[u8]) {
        let whole = statics::pair(known, value);
        if whole != 0 && indexing != Indexing::Never {
            self.out.push(0x80 | whole);
            return;
        }
        let policy = POLICIES[known as usize];
        let (insert, pattern) = match (indexing, policy) {
            (Indexing::Never, _) | (Indexing::Auto, Policy::Secret) => {
                return self.literal(0x10, 4, known, name, 0, value);
            }
            (Indexing::Literal, _) => (Insert::No, 0),
            (Indexing::Insert, _) | (Indexing::Auto, Policy::Stable) => (Insert::Now, 0x40),
            (Indexing::Auto, Policy::SecondTime) => (Insert::SecondTime, 0x40),
        };
        let name = if known == Known::Other { name } else { known.name().as_bytes() };
        let name_hash = hash_name(known, name);
        let hash = hash_value(name_hash, value);
        if let Some(index) = self.encoder.find(hash, known, name, value) {
            int::write(self.out, 0x80, 7, index);
            return;
        }
        let encoder = &mut *self.encoder;
        let fits = name.len() + value.len() + OVERHEAD <= encoder.table.bound();
        if !fits || insert == Insert::No || insert == Insert::SecondTime && !encoder.seen(hash) {
            return self.literal(0, 4, known, name, name_hash, value);
        }
        self.literal(pattern, 6, known, name, name_hash, value);
        self.encoder.insert(hash, name_hash, known, name, value);
    }

    /// A literal whose first octet holds `pattern` and, in `prefix` bits, the name's index.
    fn literal(
        &mut self,
        pattern: u8,
        prefix: u32,
        known: Known,
        name: &[u8],
        name_hash: u64,
        value: &[u8],
    ) {
        let index = match statics::NAMES[known as usize] {
            0 => self.encoder.find_name(known, name, name_hash).unwrap_or(0),
            index => u32::from(index),
        };
        int::write(self.out, pattern, prefix, index);
        if index == 0 {
            let name = if known == Known::Other { name } else { known.name().as_bytes() };
            string(self.encoder.backend, name, 0, 7, self.out);
        }
        string(self.encoder.backend, value, 0, 7, self.out);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Insert {
    No,
    Now,
    SecondTime,
}

impl Encoder {
    /// The index of a pair in the dynamic table.
    #[inline]
    fn find(&self, hash: u64, known: Known, name: &[u8], value: &[u8]) -> Option<u32> {
        let bucket = self.memory.get(bucket(hash)..)?.first_chunk::<WAYS>()?;
        for &word in bucket.iter().filter(|&&word| word >> 16 == tag(hash) >> 16) {
            let number = self.number(word);
            let Some(entry) = self.table.entry(number) else { continue };
            let (own_name, own_value) = self.table.pair(&entry).split_at(entry.name_len.into());
            if entry.known == known
                && own_value == value
                && (known != Known::Other || own_name == name)
            {
                return Some(self.index(number));
            }
        }
        None
    }

    /// The index of some entry with this name.
    fn find_name(&self, known: Known, name: &[u8], name_hash: u64) -> Option<u32> {
        let word = *self.memory.get(NAMES_AT + name_hash as usize % NAMES)?;
        let number = self.number(word);
        let entry = self.table.entry(number)?;
        let same = || self.table.pair(&entry)[..entry.name_len.into()] == *name;
        let found = entry.known == known && (known != Known::Other || same());
        found.then(|| self.index(number))
    }

    fn index(&self, number: u64) -> u32 {
        (self.table.inserted() - number) as u32 + (statics::ENTRIES.len() as u32 - 1)
    }

    /// The last insertion number below the next whose low 16 bits are those of `word`; the next if
    /// there is none.
    #[inline]
    fn number(&self, word: u32) -> u64 {
        let next = self.table.inserted();
        next.saturating_sub(u64::from((next as u16).wrapping_sub(word as u16)))
    }

    /// Whether the pair came a short while ago; it is remembered.
    fn seen(&mut self, hash: u64) -> bool {
        self.allocate();
        let slot = &mut self.memory[SEEN_AT + hash as usize % SEEN];
        core::mem::replace(slot, tag(hash)) == tag(hash)
    }

    fn insert(&mut self, hash: u64, name_hash: u64, known: Known, name: &[u8], value: &[u8]) {
        self.allocate();
        let number = u32::from(self.table.inserted() as u16);
        let bucket = &mut self.memory[bucket(hash)..][..WAYS];
        bucket.copy_within(..WAYS - 1, 1);
        bucket[0] = tag(hash) | number;
        self.memory[NAMES_AT + name_hash as usize % NAMES] = number;
        self.table.insert(name, value, known, 0);
    }

    fn allocate(&mut self) {
        if self.memory.is_empty() {
            self.memory = vec![0; SEEN_AT + SEEN];
        }
    }
}

fn bucket(hash: u64) -> usize {
    hash as usize % BUCKETS * WAYS
}

/// The part of a hash that is remembered; never 0, in the high half.
fn tag(hash: u64) -> u32 {
    hash as u32 & 0xffff_0000 | 0x1_0000
}

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// A hash of a name; the low bits are good.
#[inline]
fn hash_name(known: Known, name: &[u8]) -> u64 {
    let seed = (known as u64 + 1).wrapping_mul(MIX);
    if known == Known::Other { hash_value(seed, name) } else { seed ^ seed >> 32 }
}

/// A hash of `seed`, the length and the first and last octets: what differs in between only is
/// rare, and then collides.
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

/// Appends a string (section 5.2): the flag for Huffman before a `prefix`-bit length, the other
/// bits being `pattern`.
#[inline]
pub(crate) fn string(backend: Backend, value: &[u8], pattern: u8, prefix: u32, out: &mut Vec<u8>) {
    let flag = 1u8 << prefix;
    let start = out.len();
    out.push(0);
    huffman::encode(backend, value, out);
    let coded = out.len() - start - 1;
    if coded >= value.len() {
        out.truncate(start);
        int::write(out, pattern, prefix, value.len() as u32);
        out.extend_from_slice(value);
    } else if coded < usize::from(flag) - 1 {
        out[start] = pattern | flag | coded as u8;
    } else {
        widen(out, start, pattern | flag, prefix);
    }
}

/// Puts a length of several octets before a string that was written with one.
#[cold]
fn widen(out: &mut Vec<u8>, start: usize, pattern: u8, prefix: u32) {
    let end = out.len();
    int::write(out, pattern, prefix, (end - start - 1) as u32);
    let octets = out.len() - end;
    out[start..].rotate_right(octets);
    out.remove(start + octets);
}
