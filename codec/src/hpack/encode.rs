//! HPACK blocks from fields (RFC 7541 section 6). Fields in a table become an index, fields likely
//! to repeat are inserted, and the rest become literals, Huffman coded if that is shorter. Nothing
//! is allocated before the first insertion.

use alloc::vec::Vec;

use super::index::{Hashes, Index};
use super::policy::{Indexing, Plan, plan};
use super::table::{LARGEST, OVERHEAD, Table};
use super::{int, statics};
use crate::field::{Field, Known};
use crate::huffman;
use crate::scan::Backend;

/// The size of both sides' tables before any SETTINGS (RFC 9113 section 6.5.2).
const INITIAL: u32 = 4096;

/// The encoding side of one connection: the dynamic table that the peer's decoder mirrors.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    backend: Backend,
    /// Our own limit, whatever the peer allows.
    own_bound: u32,
    /// Size updates due in the next block: the lowest bound since the last block, and the final
    /// one.
    updates: Option<(u32, u32)>,
    index: Index,
    /// The first entry that the last block referred to.
    first_hit: u64,
}

impl Encoder {
    /// An encoder whose table has at most `table_size` octets (at most 65,535). The peer's limit is
    /// the protocol's initial 4096 until [`Encoder::set_peer_table_size`].
    pub const fn new(backend: Backend, table_size: u32) -> Self {
        let size = if table_size < INITIAL { table_size } else { INITIAL };
        let updates = if size == INITIAL { None } else { Some((size, size)) };
        Self {
            table: Table::new(size),
            backend,
            own_bound: table_size,
            updates,
            index: Index::new(),
            first_hit: u64::MAX,
        }
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE, any value. The next block announces the resulting
    /// size.
    pub fn set_peer_table_size(&mut self, size: u32) {
        let size = size.min(self.own_bound).min(LARGEST);
        if size as usize != self.table.bound() {
            let lowest = self.updates.map_or(size, |(lowest, _)| lowest.min(size));
            self.updates = Some((lowest, size));
            self.table.set_bound(size);
        }
    }

    /// Number of fields ever inserted into the table. While it and the peer's size are unchanged,
    /// the same fields encode to the same octets.
    #[inline]
    pub fn insertions(&self) -> u64 {
        self.table.inserted()
    }

    /// Octets of memory held by the dynamic table and its index.
    pub fn memory(&self) -> usize {
        self.table.memory() + self.index.memory()
    }

    /// Begins a block at the end of `out`. Once anything has been added, the block must be sent,
    /// before any later one, because the peer's table follows it.
    #[inline]
    pub fn block<'a>(&'a mut self, out: &'a mut Vec<u8>) -> BlockEncoder<'a> {
        if let Some((lowest, last)) = self.updates.take() {
            if lowest < last {
                int::write(out, 0x20, 5, lowest);
            }
            int::write(out, 0x20, 5, last);
        }
        let guess = core::mem::replace(&mut self.first_hit, u64::MAX);
        BlockEncoder { encoder: self, out, guess }
    }

    /// The current index of a live entry.
    fn position(&self, number: u64) -> u32 {
        (self.table.inserted() - number) as u32 + (statics::ENTRIES.len() as u32 - 1)
    }
}

/// One block being written.
#[derive(Debug)]
pub struct BlockEncoder<'a> {
    encoder: &'a mut Encoder,
    out: &'a mut Vec<u8>,
    /// The probable entry of the next field: fields inserted in a row repeat in a row.
    guess: u64,
}

impl BlockEncoder<'_> {
    /// See [`Encoder::insertions`].
    #[inline]
    pub(crate) fn insertions(&self) -> u64 {
        self.encoder.insertions()
    }

    /// The output; this block is at its end.
    #[inline]
    pub(crate) fn written(&self) -> &[u8] {
        self.out
    }

    /// Appends the first `len` octets of `octets`: the encoding of fields in an earlier block,
    /// still valid because nothing has been inserted since.
    #[inline]
    pub(crate) fn repeat(&mut self, octets: &[u8], len: usize) {
        let end = self.out.len() + len;
        self.out.extend_from_slice(octets);
        self.out.truncate(end);
    }

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

    /// Adds fields from a decoder; those marked never-indexed stay so.
    pub fn fields(&mut self, bytes: &[u8], fields: &[Field]) {
        for field in fields {
            let never = field.flags & Field::NEVER_INDEXED != 0;
            let indexing = if never { Indexing::Never } else { Indexing::Auto };
            self.field_as(indexing, field.known, field.name(bytes), field.value(bytes));
        }
    }

    /// Adds a field with the given indexing.
    #[inline]
    pub fn field_as(&mut self, indexing: Indexing, known: Known, name: &[u8], value: &[u8]) {
        let plan = plan(indexing, known);
        if plan != Plan::Never && self.encoder.table.is(self.guess, known, name, value) {
            return self.reference(self.guess);
        }
        self.field_by(plan, known, name, value);
    }

    /// [`BlockEncoder::field_as`] where the guess was wrong.
    fn field_by(&mut self, plan: Plan, known: Known, name: &[u8], value: &[u8]) {
        let name = if known == Known::Other { name } else { known.name().as_bytes() };
        if plan == Plan::Never {
            return self.literal(0x10, 4, known, name, None, value);
        }
        let whole = statics::pair(known, value);
        if whole != 0 {
            self.out.push(0x80 | whole);
            return;
        }
        let encoder = &mut *self.encoder;
        let hashes = Hashes::of(known, name, value);
        if let Some(number) = encoder.index.find(&encoder.table, hashes, known, name, value) {
            return self.reference(number);
        }
        let fits = name.len() + value.len() + OVERHEAD <= encoder.table.bound();
        let inserts = match plan {
            Plan::Insert => fits,
            Plan::InsertSecondTime => fits && encoder.index.seen(hashes),
            Plan::Literal | Plan::Never => false,
        };
        if !inserts {
            return self.literal(0, 4, known, name, Some(hashes), value);
        }
        self.literal(0x40, 6, known, name, Some(hashes), value);
        let encoder = &mut *self.encoder;
        encoder.index.remember(&encoder.table, hashes);
        encoder.table.insert(name, value, known, 0);
    }

    /// Adds a field as this entry of the dynamic table.
    #[inline]
    fn reference(&mut self, number: u64) {
        int::write(self.out, 0x80, 7, self.encoder.position(number));
        if self.encoder.first_hit == u64::MAX {
            self.encoder.first_hit = number;
        }
        self.guess = number + 1;
    }

    /// Adds a literal whose first octet holds `pattern` and, in `prefix` bits, the name's index.
    fn literal(
        &mut self,
        pattern: u8,
        prefix: u32,
        known: Known,
        name: &[u8],
        hashes: Option<Hashes>,
        value: &[u8],
    ) {
        let encoder = &*self.encoder;
        let index = match statics::NAMES[known as usize] {
            0 => hashes
                .and_then(|hashes| encoder.index.find_name(&encoder.table, hashes, known, name))
                .map_or(0, |number| encoder.position(number)),
            index => u32::from(index),
        };
        int::write(self.out, pattern, prefix, index);
        if index == 0 {
            string(encoder.backend, name, 0, 7, self.out);
        }
        string(encoder.backend, value, 0, 7, self.out);
    }
}

/// Appends a string (section 5.2): the Huffman flag, a `prefix`-bit length, and `pattern` in the
/// other bits.
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

/// Inserts a length of several octets before a string that was written with one.
#[cold]
fn widen(out: &mut Vec<u8>, start: usize, pattern: u8, prefix: u32) {
    let end = out.len();
    int::write(out, pattern, prefix, (end - start - 1) as u32);
    let octets = out.len() - end;
    out[start..].rotate_right(octets);
    out.remove(start + octets);
}
