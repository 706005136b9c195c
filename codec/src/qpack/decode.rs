//! Field sections from encoded blocks, and the dynamic table that the peer's encoder stream writes
//! (RFC 9204 sections 4.3, 4.4 and 4.5).

use alloc::vec::Vec;
use core::fmt;

use super::statics;
use crate::field::{Field, Known};
use crate::hpack::decode::{classify_name, string, value_flaws};
use crate::hpack::int::{self, Fault};
use crate::hpack::table::{Entry, LARGEST, OVERHEAD, Table};
use crate::hpack::{self, FieldLimits, Section, append_short};
use crate::huffman;
use crate::scan::Backend;

/// Why the peer's octets were refused. Each is a connection error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A block that cannot be decoded: QPACK_DECOMPRESSION_FAILED.
    Decompression(&'static str),
    /// A wrong instruction on the encoder stream: QPACK_ENCODER_STREAM_ERROR.
    EncoderStream(&'static str),
    /// A wrong instruction on the decoder stream: QPACK_DECODER_STREAM_ERROR.
    DecoderStream(&'static str),
    /// The peer causes more decoder instructions than it reads: H3_EXCESSIVE_LOAD.
    Excessive,
}

impl Error {
    /// The HTTP/3 error code to close the connection with (RFC 9204 section 6, RFC 9114 section
    /// 8.1).
    pub const fn code(self) -> u64 {
        match self {
            Self::Decompression(_) => 0x200,
            Self::EncoderStream(_) => 0x201,
            Self::DecoderStream(_) => 0x202,
            Self::Excessive => 0x107,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decompression(what) => write!(f, "the peer sent a bad QPACK block: {what}"),
            Self::EncoderStream(what) => write!(f, "the peer's QPACK encoder stream: {what}"),
            Self::DecoderStream(what) => write!(f, "the peer's QPACK decoder stream: {what}"),
            Self::Excessive => f.write_str("the peer does not read its QPACK decoder stream"),
        }
    }
}

impl core::error::Error for Error {}

impl From<hpack::Error> for Error {
    fn from(error: hpack::Error) -> Self {
        Self::Decompression(match error {
            hpack::Error::Truncated => "it ends within a field",
            hpack::Error::Integer => "an integer is too large",
            hpack::Error::Huffman(huffman::Error::EndOfString) => "a Huffman string holds EOS",
            hpack::Error::Huffman(huffman::Error::Padding) => "a Huffman string has bad padding",
            _ => "an index names no entry",
        })
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        hpack::Error::from(fault).into()
    }
}

const NO_ENTRY: Error = Error::Decompression("an index names no entry");

/// The result of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Its fields have been appended.
    Section(Section),
    /// It needs insertions that have not arrived: keep the block and decode it again when
    /// [`Decoder::unblocked`] names its stream.
    Blocked,
}

/// Most octets of acknowledgements that wait for the caller.
const OUTPUT: usize = 16 * 1024;

/// The decoding side of one connection.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    backend: Backend,
    /// SETTINGS_QPACK_MAX_TABLE_CAPACITY and SETTINGS_QPACK_BLOCKED_STREAMS as we sent them.
    capacity: u32,
    blocked_streams: usize,
    /// Streams with a blocked block, and the insert count that it needs.
    blocked: Vec<(u64, u64)>,
    /// A partially received instruction.
    partial: Vec<u8>,
    /// Scratch space for an inserted pair.
    scratch: Vec<u8>,
    /// Instructions for the decoder stream, without the increment that [`Decoder::output`] adds.
    output: Vec<u8>,
    /// The insert count that the peer knows once it has read `output`.
    told: u64,
}

impl Decoder {
    /// A decoder whose SETTINGS_QPACK_MAX_TABLE_CAPACITY is `capacity` octets (at most 65,535) and
    /// whose SETTINGS_QPACK_BLOCKED_STREAMS is `blocked_streams`. Nothing is allocated before the
    /// peer inserts.
    pub const fn new(backend: Backend, capacity: u32, blocked_streams: u16) -> Self {
        assert!(capacity <= LARGEST);
        Self {
            table: Table::new(0),
            backend,
            capacity,
            blocked_streams: blocked_streams as usize,
            blocked: Vec::new(),
            partial: Vec::new(),
            scratch: Vec::new(),
            output: Vec::new(),
            told: 0,
        }
    }

    /// Octets of memory held.
    pub fn memory(&self) -> usize {
        let vectors = self.partial.capacity() + self.scratch.capacity() + self.output.capacity();
        self.table.memory() + vectors + self.blocked.capacity() * 16
    }

    /// Takes octets of the peer's encoder stream, split anywhere. Call [`Decoder::unblocked`]
    /// afterwards.
    pub fn read_encoder_stream(&mut self, mut octets: &[u8]) -> Result<(), Error> {
        while !self.partial.is_empty() && !octets.is_empty() {
            // Adds the octets known to be missing from the partial instruction.
            let mut partial = core::mem::take(&mut self.partial);
            let more = match self.instruction(&partial)? {
                Need::More(more) => more.min(octets.len()),
                Need::Done(_) => unreachable!("a whole instruction was kept"),
            };
            partial.extend_from_slice(&octets[..more]);
            octets = &octets[more..];
            match self.instruction(&partial)? {
                Need::More(_) => self.partial = partial,
                Need::Done(length) => assert!(length == partial.len()),
            }
        }
        while !octets.is_empty() {
            match self.instruction(octets)? {
                Need::Done(length) => octets = &octets[length..],
                Need::More(_) => {
                    self.partial.extend_from_slice(octets);
                    break;
                }
            }
        }
        Ok(())
    }

    /// A stream whose block can be decoded now.
    pub fn unblocked(&mut self) -> Option<u64> {
        let inserted = self.table.inserted();
        let at = self.blocked.iter().position(|&(_, required)| required <= inserted)?;
        Some(self.blocked.remove(at).0)
    }

    /// The stream was reset or is no longer read, so that its blocks will not be decoded (section
    /// 4.4.2).
    pub fn cancel(&mut self, stream: u64) -> Result<(), Error> {
        self.blocked.retain(|&(waiting, _)| waiting != stream);
        if self.capacity > 0 {
            self.queue_instruction(0x40, 6, stream)?;
        }
        Ok(())
    }

    /// Appends pending output of our decoder stream.
    pub fn output(&mut self, out: &mut Vec<u8>) {
        if self.output.is_empty() && self.told == self.table.inserted() {
            return;
        }
        out.append(&mut self.output);
        let inserted = self.table.inserted();
        if self.told < inserted {
            int::write_u64(out, 0, 6, inserted - self.told);
            self.told = inserted;
        }
    }

    fn queue_instruction(&mut self, pattern: u8, prefix: u32, value: u64) -> Result<(), Error> {
        int::write_u64(&mut self.output, pattern, prefix, value);
        if self.output.len() > OUTPUT { Err(Error::Excessive) } else { Ok(()) }
    }

    /// Decodes the whole block of `stream`: appends names and values to `bytes` and a [`Field`] for
    /// each line to `fields`, up to the limits. If the block is blocked or refused, both are
    /// unchanged.
    pub fn decode(
        &mut self,
        stream: u64,
        block: &[u8],
        limits: &FieldLimits,
        bytes: &mut Vec<u8>,
        fields: &mut Vec<Field>,
    ) -> Result<Decoded, Error> {
        let mut at = 0;
        let required = self.required(int::read(block, &mut at, 8)?)?;
        let negative = block.get(at).is_some_and(|first| first & 0x80 != 0);
        let delta = u64::from(int::read(block, &mut at, 7)?);
        let base = if negative { required.checked_sub(delta + 1) } else { Some(required + delta) };
        let base = base.ok_or(Error::Decompression("the base is negative"))?;
        if required > self.table.inserted() {
            return self.block(stream, required);
        }
        let (bytes_before, fields_before) = (bytes.len(), fields.len());
        let view = View { table: &self.table, backend: self.backend, base, required, limits };
        let section = view.lines(block, at, bytes, fields).inspect_err(|_| {
            bytes.truncate(bytes_before);
            fields.truncate(fields_before);
        })?;
        if required > 0 {
            self.queue_instruction(0x80, 7, stream)?;
            self.told = self.told.max(required);
        }
        Ok(Decoded::Section(section))
    }

    fn block(&mut self, stream: u64, required: u64) -> Result<Decoded, Error> {
        if let Some(waiting) = self.blocked.iter_mut().find(|(waiting, _)| *waiting == stream) {
            waiting.1 = required;
        } else if self.blocked.len() < self.blocked_streams {
            self.blocked.push((stream, required));
        } else {
            return Err(Error::Decompression("too many streams are blocked"));
        }
        Ok(Decoded::Blocked)
    }

    /// Decodes the Required Insert Count from a block's first integer (section 4.5.1.1).
    fn required(&self, encoded: u32) -> Result<u64, Error> {
        const WRONG: Error = Error::Decompression("the required insert count is impossible");
        if encoded == 0 {
            return Ok(0);
        }
        let most = u64::from(self.capacity) / OVERHEAD as u64;
        let (range, encoded) = (2 * most, u64::from(encoded));
        if encoded > range {
            return Err(WRONG);
        }
        let highest = self.table.inserted() + most;
        let mut required = highest / range * range + encoded - 1;
        if required > highest {
            required = required.checked_sub(range).ok_or(WRONG)?;
        }
        if required == 0 { Err(WRONG) } else { Ok(required) }
    }
}

/// The result of reading an instruction.
enum Need {
    /// It was executed and has this length.
    Done(usize),
    /// It is incomplete: at least this many more octets.
    More(usize),
}

/// A string's place before it is decoded.
struct Text {
    at: usize,
    end: usize,
    huffman: bool,
}

impl Decoder {
    /// Executes the instruction at the start of `octets`, if it is complete.
    fn instruction(&mut self, octets: &[u8]) -> Result<Need, Error> {
        match self.try_instruction(octets) {
            Ok(length) => Ok(Need::Done(length)),
            Err(Trouble::More(more)) => Ok(Need::More(more)),
            Err(Trouble::Wrong(what)) => Err(Error::EncoderStream(what)),
        }
    }

    fn try_instruction(&mut self, octets: &[u8]) -> Result<usize, Trouble> {
        let mut at = 0;
        let first = octets[0];
        if first >= 0x80 {
            let index = int::read(octets, &mut at, 6)?;
            let value = self.text(octets, at, 7)?;
            self.scratch.clear();
            let (known, name_flaws) = if first & 0x40 != 0 {
                let entry = statics::ENTRIES.get(index as usize).ok_or(ABSENT)?;
                let name = &statics::whole(entry)[..usize::from(entry.name_len)];
                self.scratch.extend_from_slice(name);
                (entry.known, 0)
            } else {
                let entry = self.relative(index)?;
                let name = &self.table.pair(&entry)[..usize::from(entry.name_len)];
                self.scratch.extend_from_slice(name);
                (entry.known, hpack::decode::of_name(entry.flags))
            };
            self.insert(octets, &value, known, name_flaws)?;
            Ok(value.end)
        } else if first >= 0x40 {
            let name = self.text(octets, at, 5)?;
            if name.end == octets.len() {
                return Err(Trouble::More(1));
            }
            let value = self.text(octets, name.end, 7)?;
            self.scratch.clear();
            self.append(octets, &name)?;
            let (known, flaws) = classify_name(&self.scratch);
            self.insert(octets, &value, known, flaws)?;
            Ok(value.end)
        } else if first >= 0x20 {
            let capacity = int::read(octets, &mut at, 5)?;
            if capacity > self.capacity {
                return Err(Trouble::Wrong("a capacity over the limit"));
            }
            self.table.set_bound(capacity);
            Ok(at)
        } else {
            let index = int::read(octets, &mut at, 5)?;
            let entry = self.relative(index)?;
            let (name_len, known, flags) = (entry.name_len, entry.known, entry.flags);
            self.scratch.clear();
            self.scratch.extend_from_slice(self.table.pair(&entry));
            self.insert_scratch(usize::from(name_len), known, flags)?;
            Ok(at)
        }
    }

    /// The entry of a relative index on the encoder stream (section 3.2.5).
    fn relative(&self, index: u32) -> Result<Entry, Trouble> {
        let number = self.table.inserted().checked_sub(u64::from(index) + 1).ok_or(ABSENT)?;
        self.table.entry(number).ok_or(ABSENT)
    }

    /// The string at `at`, which must be complete and must be able to fit the table.
    fn text(&self, octets: &[u8], mut at: usize, prefix: u32) -> Result<Text, Trouble> {
        let huffman = octets.get(at).is_some_and(|first| first >> prefix & 1 != 0);
        let length = int::read(octets, &mut at, prefix)? as usize;
        // No code exceeds 30 bits, so more than four times the bound decodes to more than the
        // bound.
        if length > self.table.bound() * if huffman { 4 } else { 1 } {
            return Err(TOO_LARGE);
        }
        match (at + length).checked_sub(octets.len()) {
            None | Some(0) => Ok(Text { at, end: at + length, huffman }),
            Some(missing) => Err(Trouble::More(missing)),
        }
    }

    fn append(&mut self, octets: &[u8], text: &Text) -> Result<bool, Trouble> {
        let coded = &octets[text.at..text.end];
        if text.huffman {
            let wrong = |_| Trouble::Wrong("a bad Huffman string");
            return huffman::decode(self.backend, coded, &mut self.scratch).map_err(wrong);
        }
        self.scratch.extend_from_slice(coded);
        Ok(true)
    }

    /// Inserts the name in `scratch` with `value`.
    fn insert(
        &mut self,
        octets: &[u8],
        value: &Text,
        known: Known,
        flaws: u8,
    ) -> Result<(), Trouble> {
        let name_len = self.scratch.len();
        let controls = self.append(octets, value)?;
        let flaws = flaws | value_flaws(&self.scratch[name_len..], controls);
        self.insert_scratch(name_len, known, flaws)
    }

    fn insert_scratch(&mut self, name_len: usize, known: Known, flaws: u8) -> Result<(), Trouble> {
        let (name, value) = self.scratch.split_at(name_len);
        if name.len() + value.len() + OVERHEAD > self.table.bound() {
            return Err(TOO_LARGE);
        }
        self.table.insert(name, value, known, flaws);
        Ok(())
    }
}

/// Why an instruction was not executed.
enum Trouble {
    More(usize),
    Wrong(&'static str),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Incomplete => Self::More(1),
            Fault::TooLarge => Self::Wrong("an integer is too large"),
        }
    }
}

const ABSENT: Trouble = Trouble::Wrong("an index names no entry");
const TOO_LARGE: Trouble = Trouble::Wrong("an entry is larger than the table");

/// The reader of a block's lines.
struct View<'a> {
    table: &'a Table,
    backend: Backend,
    base: u64,
    required: u64,
    limits: &'a FieldLimits,
}

impl View<'_> {
    fn lines(
        &self,
        block: &[u8],
        mut at: usize,
        bytes: &mut Vec<u8>,
        fields: &mut Vec<Field>,
    ) -> Result<Section, Error> {
        let mut section = Section::default();
        while let Some(&first) = block.get(at) {
            let kept = bytes.len();
            let (field, flaws) = if first >= 0x80 {
                let index = int::read(block, &mut at, 6)?;
                if first & 0x40 != 0 {
                    self.static_line(index, &mut section, bytes, fields)?;
                } else {
                    self.dynamic_line(self.relative(index)?, &mut section, bytes, fields);
                }
                continue;
            } else if first >= 0x40 {
                let index = int::read(block, &mut at, 4)?;
                let name = if first & 0x10 != 0 {
                    let entry = statics::ENTRIES.get(index as usize).ok_or(NO_ENTRY)?;
                    append_short(bytes, statics::octets(entry), usize::from(entry.name_len));
                    (entry.known, 0)
                } else {
                    self.name(&self.relative(index)?, bytes)
                };
                self.literal(block, &mut at, kept, name, first >> 5 & 1, bytes)?
            } else if first >= 0x20 {
                string(self.backend, block, &mut at, 3, bytes)?;
                let name = classify_name(&bytes[kept..]);
                self.literal(block, &mut at, kept, name, first >> 4 & 1, bytes)?
            } else if first >= 0x10 {
                let index = int::read(block, &mut at, 4)?;
                self.dynamic_line(self.post_base(index)?, &mut section, bytes, fields);
                continue;
            } else {
                let index = int::read(block, &mut at, 3)?;
                let name = self.name(&self.post_base(index)?, bytes);
                self.literal(block, &mut at, kept, name, first >> 3 & 1, bytes)?
            };
            hpack::decode::keep(field, flaws, kept, self.limits, bytes, fields, &mut section);
        }
        Ok(section)
    }

    #[inline]
    fn entry(&self, number: Option<u64>) -> Result<Entry, Error> {
        let number = number.filter(|&number| number < self.required).ok_or(NO_ENTRY)?;
        self.table.entry(number).ok_or(NO_ENTRY)
    }

    #[inline]
    fn relative(&self, index: u32) -> Result<Entry, Error> {
        self.entry(self.base.checked_sub(u64::from(index) + 1))
    }

    #[inline]
    fn post_base(&self, index: u32) -> Result<Entry, Error> {
        self.entry(Some(self.base + u64::from(index)))
    }

    #[inline]
    fn static_line(
        &self,
        index: u32,
        section: &mut Section,
        bytes: &mut Vec<u8>,
        fields: &mut Vec<Field>,
    ) -> Result<(), Error> {
        let entry = statics::ENTRIES.get(index as usize).ok_or(NO_ENTRY)?;
        let length = usize::from(entry.name_len) + usize::from(entry.value_len);
        if section.keeps(length, entry.known, self.limits) {
            let name_at = bytes.len() as u32;
            if length <= hpack::table::SLACK {
                append_short(bytes, statics::octets(entry), length);
            } else {
                bytes.extend_from_slice(statics::whole(entry));
            }
            fields.push(field(name_at, entry.name_len, entry.value_len, entry.known));
        }
        Ok(())
    }

    #[inline]
    fn dynamic_line(
        &self,
        entry: Entry,
        section: &mut Section,
        bytes: &mut Vec<u8>,
        fields: &mut Vec<Field>,
    ) {
        section.flaws.add(entry.flags);
        if section.keeps(entry.size() - OVERHEAD, entry.known, self.limits) {
            let name_at = bytes.len() as u32;
            self.table.append(&entry, bytes);
            fields.push(field(name_at, entry.name_len, entry.value_len, entry.known));
        }
    }

    /// Appends the entry's name; returns its known name and flaws.
    fn name(&self, entry: &Entry, bytes: &mut Vec<u8>) -> (Known, u8) {
        bytes.extend_from_slice(&self.table.pair(entry)[..usize::from(entry.name_len)]);
        (entry.known, hpack::decode::of_name(entry.flags))
    }

    /// Appends the value of a literal whose name begins at `kept`.
    #[inline]
    fn literal(
        &self,
        block: &[u8],
        at: &mut usize,
        kept: usize,
        (known, flaws): (Known, u8),
        flags: u8,
        bytes: &mut Vec<u8>,
    ) -> Result<(Field, u8), Error> {
        let value_at = bytes.len();
        let flaws = flaws | hpack::decode::value(self.backend, block, at, bytes)?;
        Ok(hpack::decode::line(kept, value_at, bytes.len(), known, flags, flaws))
    }
}

fn field(name_at: u32, name_len: u16, value_len: u16, known: Known) -> Field {
    let value_at = name_at + u32::from(name_len);
    Field { name_at, value_at, value_len: u32::from(value_len), name_len, known, flags: 0 }
}
