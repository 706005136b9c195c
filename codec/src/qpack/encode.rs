//! Encoded blocks from fields, and the encoder stream that keeps the peer's table in step (RFC 9204
//! sections 2.1 and 4).
//!
//! An entry is evicted only when its insertion is acknowledged and no unacknowledged block refers
//! to it, so the encoder remembers the highest and lowest entry that each sent block used. A
//! reference that would block more streams than the peer allows is replaced by a literal.

use alloc::vec::Vec;

use super::decode::Error;
use super::statics;
use crate::field::{Field, Known};
use crate::hpack::encode::string;
use crate::hpack::index::{Hashes, Index};
use crate::hpack::int::{self, Fault};
use crate::hpack::table::{LARGEST, OVERHEAD, Table};
use crate::hpack::{Indexing, Plan, plan};
use crate::scan::Backend;

/// Most unacknowledged blocks; later ones do not use the dynamic table.
const OUTSTANDING: usize = 128;

/// Most octets waiting on the encoder stream; beyond it nothing is inserted.
const ENCODER_STREAM: usize = 4096;

/// An unacknowledged block that refers to the dynamic table.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    stream: u64,
    /// Insertions that the block needs.
    required: u64,
    /// The oldest entry that it uses.
    oldest: u64,
}

/// The encoding side of one connection.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    backend: Backend,
    index: Index,
    /// Our own limit, whatever the peer allows.
    own_capacity: u32,
    /// The peer's SETTINGS_QPACK_MAX_TABLE_CAPACITY in entries.
    most: u64,
    /// The peer's SETTINGS_QPACK_BLOCKED_STREAMS.
    blocked_streams: usize,
    /// The table's capacity has not been announced to the peer.
    announce: bool,
    /// Insertions that the peer has acknowledged.
    acknowledged: u64,
    outstanding: Vec<Outstanding>,
    /// The first entry that the last block referred to.
    first_hit: u64,
    /// A partially received instruction of the decoder stream.
    partial: Vec<u8>,
}

impl Encoder {
    /// An encoder whose table has at most `capacity` octets (at most 65,535). It uses only the
    /// static table until [`Encoder::set_peer_settings`].
    pub const fn new(backend: Backend, capacity: u32) -> Self {
        assert!(capacity <= LARGEST);
        Self {
            table: Table::new(0),
            backend,
            index: Index::new(),
            own_capacity: capacity,
            most: 0,
            blocked_streams: 0,
            announce: false,
            acknowledged: 0,
            outstanding: Vec::new(),
            first_hit: u64::MAX,
            partial: Vec::new(),
        }
    }

    /// The peer's SETTINGS_QPACK_MAX_TABLE_CAPACITY and SETTINGS_QPACK_BLOCKED_STREAMS, which come
    /// once in a connection.
    pub fn set_peer_settings(&mut self, max_capacity: u64, blocked_streams: u64) {
        let capacity = max_capacity.min(u64::from(self.own_capacity)) as u32;
        self.most = max_capacity / OVERHEAD as u64;
        self.blocked_streams = blocked_streams.min(OUTSTANDING as u64) as usize;
        self.announce = capacity > 0;
        self.table.set_bound(capacity);
    }

    /// Number of entries inserted into the peer's table so far.
    pub fn inserted(&self) -> u64 {
        self.table.inserted()
    }

    /// Octets of memory held.
    pub fn memory(&self) -> usize {
        let outstanding = self.outstanding.capacity() * size_of::<Outstanding>();
        self.table.memory() + self.index.memory() + outstanding + self.partial.capacity()
    }

    /// Begins a block of `stream` at the end of `out`. Instructions for our encoder stream are
    /// appended to `instructions`, which the caller empties as it sends them; while 4096 octets
    /// wait there, nothing is inserted. The block must be sent, or its stream reset.
    pub fn block<'a>(
        &'a mut self,
        stream: u64,
        out: &'a mut Vec<u8>,
        instructions: &'a mut Vec<u8>,
    ) -> Writer<'a> {
        if self.announce {
            int::write(instructions, 0x20, 5, self.table.bound() as u32);
            self.announce = false;
        }
        let start = out.len();
        out.extend_from_slice(&[0, 0]); // the prefix of a block without references
        Writer {
            start,
            base: self.table.inserted(),
            required: 0,
            oldest: u64::MAX,
            dynamic: self.table.bound() > 0 && self.outstanding.len() < OUTSTANDING,
            may_block: None,
            guess: core::mem::replace(&mut self.first_hit, u64::MAX),
            encoder: self,
            stream,
            out,
            instructions,
        }
    }

    /// Takes octets of the peer's decoder stream, split anywhere.
    pub fn read_decoder_stream(&mut self, octets: &[u8]) -> Result<(), Error> {
        for &octet in octets {
            // Each instruction is one integer: its first octet, then continuation octets.
            self.partial.push(octet);
            let prefix = if self.partial[0] & 0x80 != 0 { 7 } else { 6 };
            match int::read_u64(&self.partial, prefix) {
                Ok(value) => self.acknowledge(self.partial[0], value)?,
                Err(Fault::Incomplete) => continue,
                Err(Fault::TooLarge) => {
                    return Err(Error::DecoderStream("an integer is too large"));
                }
            }
            self.partial.clear();
        }
        Ok(())
    }

    fn acknowledge(&mut self, first: u8, value: u64) -> Result<(), Error> {
        if first & 0x80 != 0 {
            let of_stream = |block: &Outstanding| block.stream == value;
            let at = self.outstanding.iter().position(of_stream);
            let at = at.ok_or(Error::DecoderStream("an acknowledgement of no block"))?;
            let block = self.outstanding.remove(at);
            self.acknowledged = self.acknowledged.max(block.required);
        } else if first & 0x40 != 0 {
            self.outstanding.retain(|block| block.stream != value);
        } else {
            if value == 0 || value > self.table.inserted() - self.acknowledged {
                return Err(Error::DecoderStream("an impossible insert count increment"));
            }
            self.acknowledged += value;
        }
        Ok(())
    }
}

/// One block being written. Nothing of it is valid before [`Writer::finish`].
#[derive(Debug)]
#[must_use = "a block is complete only after finish()"]
pub struct Writer<'a> {
    encoder: &'a mut Encoder,
    stream: u64,
    out: &'a mut Vec<u8>,
    instructions: &'a mut Vec<u8>,
    /// Where the block begins in `out`.
    start: usize,
    /// Insertions before the block.
    base: u64,
    required: u64,
    oldest: u64,
    /// The dynamic table may be used.
    dynamic: bool,
    /// Whether the block may refer to unacknowledged entries; cached after the first check.
    may_block: Option<bool>,
    /// The probable entry of the next field: fields inserted in a row repeat in a row.
    guess: u64,
}

impl Writer<'_> {
    /// Adds `:status`, three digits.
    #[inline]
    pub fn status(&mut self, status: u16) {
        let digits = [status / 100, status / 10 % 10, status % 10];
        let value = digits.map(|digit| b'0' + digit as u8);
        self.field(Known::PseudoStatus, b"", &value);
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

    /// Whether this connection uses only the static table, so that the encoding is valid on every
    /// connection.
    pub fn is_static(&self) -> bool {
        self.encoder.table.bound() == 0
    }

    /// Octets of the block so far.
    pub fn written(&self) -> &[u8] {
        &self.out[self.start..]
    }

    /// Adds lines that were [`written`](Self::written) with only the static table.
    pub fn repeat(&mut self, lines: &[u8]) {
        self.out.extend_from_slice(lines);
    }

    /// Adds a field with the given indexing.
    pub fn field_as(&mut self, indexing: Indexing, known: Known, name: &[u8], value: &[u8]) {
        let plan = plan(indexing, known);
        if plan != Plan::Never
            && self.dynamic
            && self.encoder.table.is(self.guess, known, name, value)
        {
            return self.found(self.guess, known, name, value);
        }
        self.field_by(plan, known, name, value);
    }

    /// [`Writer::field_as`] where the guess was wrong.
    fn field_by(&mut self, plan: Plan, known: Known, name: &[u8], value: &[u8]) {
        let name = if known == Known::Other { name } else { known.name().as_bytes() };
        if plan == Plan::Never {
            return self.literal(true, known, name, None, value);
        }
        if let Some(index) = statics::pair(known, value) {
            return int::write(self.out, 0xc0, 6, u32::from(index));
        }
        if !self.dynamic {
            return self.literal(false, known, name, None, value);
        }
        let hashes = Hashes::of(known, name, value);
        let encoder = &mut *self.encoder;
        if let Some(number) = encoder.index.find(&encoder.table, hashes, known, name, value) {
            return self.found(number, known, name, value);
        }
        let inserts = match plan {
            Plan::Insert => true,
            Plan::InsertSecondTime => encoder.index.seen(hashes),
            Plan::Literal | Plan::Never => false,
        };
        if inserts && self.can_insert(name.len() + value.len() + OVERHEAD) {
            self.instruct(known, name, hashes, value);
            let number = self.insert(hashes, known, name, value);
            if self.may_use(number) {
                return self.reference(number);
            }
        }
        self.literal(false, known, name, Some(hashes), value);
    }

    /// Adds a field as this entry, if possible.
    #[inline]
    fn found(&mut self, number: u64, known: Known, name: &[u8], value: &[u8]) {
        if self.encoder.first_hit == u64::MAX {
            self.encoder.first_hit = number;
        }
        self.guess = number + 1;
        if self.is_draining(number) && self.duplicate(number, known, name, value) {
            return;
        }
        if self.may_use(number) {
            return self.reference(number);
        }
        let name = if known == Known::Other { name } else { known.name().as_bytes() };
        self.literal(false, known, name, Some(Hashes::of(known, name, value)), value);
    }

    /// Adds a field by duplicating its entry, so that the old one can be evicted.
    fn duplicate(&mut self, number: u64, known: Known, name: &[u8], value: &[u8]) -> bool {
        let name = if known == Known::Other { name } else { known.name().as_bytes() };
        if !self.may_block() || !self.can_insert(name.len() + value.len() + OVERHEAD) {
            return false;
        }
        int::write_u64(self.instructions, 0, 5, self.encoder.table.inserted() - 1 - number);
        let number = self.insert(Hashes::of(known, name, value), known, name, value);
        self.reference(number);
        true
    }

    /// Completes the block with its prefix, which is known only now (section 4.5.1).
    pub fn finish(self) {
        if self.required == 0 {
            return;
        }
        let (required, base) = (self.required, self.base);
        let encoded = required % (2 * self.encoder.most) + 1;
        let (sign, delta) = match base.checked_sub(required) {
            Some(delta) => (0, delta),
            None => (0x80, required - base - 1),
        };
        let start = self.start;
        if encoded < 0xff && delta < 0x7f {
            self.out[start..start + 2].copy_from_slice(&[encoded as u8, sign | delta as u8]);
        } else {
            let mut prefix = Vec::new();
            int::write_u64(&mut prefix, 0, 8, encoded);
            int::write_u64(&mut prefix, sign, 7, delta);
            self.out.splice(start..start + 2, prefix);
        }
        let block = Outstanding { stream: self.stream, required, oldest: self.oldest };
        self.encoder.outstanding.push(block);
    }
}

impl Writer<'_> {
    /// Whether the block may refer to this entry: it is acknowledged, or the stream may be blocked.
    #[inline]
    fn may_use(&mut self, number: u64) -> bool {
        number < self.encoder.acknowledged || self.may_block()
    }

    fn may_block(&mut self) -> bool {
        if let Some(known) = self.may_block {
            return known;
        }
        let encoder = &*self.encoder;
        let waits = |block: &&Outstanding| block.required > encoder.acknowledged;
        let waiting = || encoder.outstanding.iter().filter(waits);
        // A stream with two blocked blocks counts twice, which only errs on the safe side.
        let may = waiting().any(|block| block.stream == self.stream)
            || waiting().count() < encoder.blocked_streams;
        self.may_block = Some(may);
        may
    }

    /// Whether that much room can be made without evicting entries still in use.
    fn can_insert(&mut self, size: usize) -> bool {
        let encoder = &mut *self.encoder;
        if size > encoder.table.bound() || self.instructions.len() >= ENCODER_STREAM {
            return false;
        }
        if encoder.table.size() + size <= encoder.table.bound() {
            return true;
        }
        let used = encoder.outstanding.iter().map(|block| block.oldest).min();
        let keep = used.unwrap_or(u64::MAX).min(encoder.acknowledged).min(self.oldest);
        let mut left = encoder.table.size();
        for number in encoder.table.evicted()..keep {
            let Some(entry) = encoder.table.entry(number) else { return false };
            left -= entry.size();
            if left + size <= encoder.table.bound() {
                return true;
            }
        }
        false
    }

    /// Whether the entry is among the oldest of a nearly full table (section 2.1.1.1): a reference
    /// would hinder insertions.
    fn is_draining(&self, number: u64) -> bool {
        let table = &self.encoder.table;
        let (first, count) = (table.evicted(), table.inserted() - table.evicted());
        table.size() > table.bound() / 4 * 3 && number - first < count / 4
    }

    /// Writes the instruction that inserts a pair.
    fn instruct(&mut self, known: Known, name: &[u8], hashes: Hashes, value: &[u8]) {
        let encoder = &*self.encoder;
        let out = &mut *self.instructions;
        match statics::NAMES[known as usize] {
            statics::NONE => match encoder.index.find_name(&encoder.table, hashes, known, name) {
                Some(number) => {
                    int::write_u64(out, 0x80, 6, encoder.table.inserted() - 1 - number);
                }
                None => string(encoder.backend, name, 0x40, 5, out),
            },
            index => int::write(out, 0xc0, 6, u32::from(index)),
        }
        string(encoder.backend, value, 0, 7, out);
    }

    /// Mirrors an insertion that was written for the peer; returns its number.
    fn insert(&mut self, hashes: Hashes, known: Known, name: &[u8], value: &[u8]) -> u64 {
        let encoder = &mut *self.encoder;
        encoder.index.remember(&encoder.table, hashes);
        let fits = encoder.table.insert(name, value, known, 0);
        assert!(fits, "only what can_insert allows");
        encoder.table.inserted() - 1
    }

    fn uses(&mut self, number: u64) {
        self.required = self.required.max(number + 1);
        self.oldest = self.oldest.min(number);
    }

    /// Adds a line that refers to this entry.
    #[inline]
    fn reference(&mut self, number: u64) {
        self.uses(number);
        match self.base.checked_sub(number + 1) {
            Some(back) => int::write(self.out, 0x80, 6, back as u32),
            None => int::write(self.out, 0x10, 4, (number - self.base) as u32),
        }
    }

    /// Adds a literal line. With `hashes`, its name may refer to the dynamic table.
    fn literal(
        &mut self,
        never: bool,
        known: Known,
        name: &[u8],
        hashes: Option<Hashes>,
        value: &[u8],
    ) {
        let never = u8::from(never);
        let index = statics::NAMES[known as usize];
        if index != statics::NONE {
            int::write(self.out, 0x50 | never << 5, 4, u32::from(index));
        } else {
            let encoder = &*self.encoder;
            let find = |hashes| encoder.index.find_name(&encoder.table, hashes, known, name);
            match hashes.and_then(find) {
                Some(number) if self.may_use(number) => {
                    self.uses(number);
                    match self.base.checked_sub(number + 1) {
                        Some(back) => int::write(self.out, 0x40 | never << 5, 4, back as u32),
                        None => {
                            let after = (number - self.base) as u32;
                            int::write(self.out, never << 3, 3, after);
                        }
                    }
                }
                _ => string(self.encoder.backend, name, 0x20 | never << 4, 3, self.out),
            }
        }
        string(self.encoder.backend, value, 0, 7, self.out);
    }
}
