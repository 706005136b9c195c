//! Field sections from HPACK blocks (RFC 7541 sections 3 and 6).

use alloc::vec::Vec;
use core::fmt;

use super::int::{self, Fault};
use super::table::{LARGEST, OVERHEAD, Table};
use super::{append_short, statics};
use crate::field::{Field, Known};
use crate::huffman;
use crate::scan::Backend;

/// Why a block was refused. The peer is at fault, and the two tables may now differ: a connection
/// error, COMPRESSION_ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The block ends within a representation.
    Truncated,
    /// An integer over 2^28 or longer than five octets.
    Integer,
    /// Index 0, or an index beyond both tables.
    Index,
    /// A table size update over the allowed size, or after a field.
    SizeUpdate,
    /// We lowered the table's size and the peer did not acknowledge it in the next block (section
    /// 4.2).
    SizeUpdateMissing,
    /// A bad Huffman string.
    Huffman(huffman::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the peer's header block ended within a field",
            Self::Integer => "the peer sent an HPACK integer that is too large",
            Self::Index => "the peer named an HPACK table entry that does not exist",
            Self::SizeUpdate => "the peer sent a wrong HPACK table size update",
            Self::SizeUpdateMissing => "the peer did not lower its HPACK table as told",
            Self::Huffman(error) => return error.fmt(f),
        })
    }
}

impl core::error::Error for Error {}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Incomplete => Self::Truncated,
            Fault::TooLarge => Self::Integer,
        }
    }
}

/// Limits of one field section. Fields beyond them are decoded to keep the table in step, then
/// dropped.
#[derive(Clone, Copy, Debug)]
pub struct FieldLimits {
    /// Sum over all fields of name + value + 32, in octets (RFC 9113 section 10.5.1).
    pub list_bytes: u32,
    /// Fields.
    ///
    /// Both limits count the lines of a split cookie (RFC 9113 section 8.2.3, RFC 9114 section
    /// 4.2.1) as one field: each line after the first costs its value and the joining "; ", at
    /// least four octets, and adds no field. A line without a value holds no cookie and counts as a
    /// field.
    pub fields: u32,
}

/// Flaws of a correctly encoded section: stream errors, or a 431.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flaws(u8);

impl Flaws {
    /// The sum of sizes went over [`FieldLimits::list_bytes`].
    pub const TOO_LARGE: Self = Self(1);
    /// There were more lines than [`FieldLimits::fields`].
    pub const TOO_MANY: Self = Self(2);
    /// A name contains an upper-case letter (RFC 9113 section 8.2.1).
    pub const UPPERCASE: Self = Self(4);
    /// A name is empty or contains another octet that is not allowed in a token. A colon is allowed
    /// only in front of known pseudo-header names.
    pub const BAD_NAME: Self = Self(8);
    /// A value contains a control character other than a tab: NUL, CR and LF among them.
    pub const BAD_VALUE: Self = Self(16);
    /// A value begins or ends with a space or tab.
    pub const OUTER_SPACE: Self = Self(32);

    /// Whether any of `these` is set.
    pub const fn any(self, these: Self) -> bool {
        self.0 & these.0 != 0
    }

    /// Whether there are no flaws.
    pub const fn none(self) -> bool {
        self.0 == 0
    }

    /// Whether a limit was exceeded, so that fields are missing: answer 431.
    pub const fn over_limit(self) -> bool {
        self.0 & (Self::TOO_LARGE.0 | Self::TOO_MANY.0) != 0
    }

    /// Whether some field is malformed: a stream error, PROTOCOL_ERROR or H3_MESSAGE_ERROR.
    pub const fn malformed(self) -> bool {
        self.0 & !(Self::TOO_LARGE.0 | Self::TOO_MANY.0) != 0
    }

    pub(crate) fn add(&mut self, bits: u8) {
        self.0 |= bits;
    }
}

const COOKIE: &str = "cookie";
/// Minimum cost of a cookie piece: the shortest pair, `a=`, and the joining "; ". It bounds the
/// pieces of a section, which may each be one octet of the block.
const CRUMB_MIN: usize = 4;

/// Facts about a decoded section, besides its fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Octets of all field lines as counted by [`FieldLimits`], dropped ones included; saturates.
    pub size: u32,
    /// Field lines, dropped ones included.
    pub lines: u32,
    /// Lines that are pieces of a cookie after its first.
    pub(crate) crumbs: u32,
    /// A cookie has begun.
    pub(crate) has_cookie: bool,
    /// Its flaws.
    pub flaws: Flaws,
}

impl Section {
    /// Counts a field of `octets`; returns whether it may be kept.
    #[inline]
    pub(crate) fn keeps(&mut self, octets: usize, known: Known, limits: &FieldLimits) -> bool {
        self.lines += 1;
        let mut cost = octets + OVERHEAD;
        if known == Known::Cookie && octets > COOKIE.len() {
            if self.has_cookie {
                cost = (octets - COOKIE.len() + "; ".len()).max(CRUMB_MIN);
                self.crumbs += 1;
            }
            self.has_cookie = true;
        }
        self.size = self.size.saturating_add(cost as u32);
        if self.size > limits.list_bytes {
            self.flaws.add(Flaws::TOO_LARGE.0);
        }
        if self.lines - self.crumbs > limits.fields {
            self.flaws.add(Flaws::TOO_MANY.0);
        }
        !self.flaws.over_limit()
    }
}

/// The decoding side of one connection: the dynamic table that the peer's encoder writes.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    backend: Backend,
    /// The largest size that the peer may choose: the last acknowledged setting.
    allowed: u32,
    /// The peer owes an update to at most `allowed`.
    update_owed: bool,
}

impl Decoder {
    /// A decoder whose SETTINGS_HEADER_TABLE_SIZE is `table_size` (octets, at most 65,535; the
    /// protocol's default is 4096). Nothing is allocated before the peer inserts. A size other than
    /// 4096 must be announced in the first SETTINGS; for a lower size, start with 4096 and call
    /// [`Decoder::set_table_size`] at the acknowledgement.
    pub const fn new(backend: Backend, table_size: u32) -> Self {
        Self { table: Table::new(table_size), backend, allowed: table_size, update_owed: false }
    }

    /// The peer has acknowledged a SETTINGS_HEADER_TABLE_SIZE of `table_size` octets (at most
    /// 65,535).
    pub fn set_table_size(&mut self, table_size: u32) {
        assert!(table_size <= LARGEST);
        self.update_owed = (table_size as usize) < self.table.bound();
        self.allowed = table_size;
    }

    /// Number of fields ever inserted by the peer. While it is unchanged and no size update comes,
    /// the same block decodes to the same fields.
    #[inline]
    pub fn insertions(&self) -> u64 {
        self.table.inserted()
    }

    /// Octets of memory held by the dynamic table.
    pub fn memory(&self) -> usize {
        self.table.memory()
    }

    /// Decodes a whole block: appends names and values to `bytes` and a [`Field`] into `bytes` for
    /// each line to `fields`, up to the limits. After an error both may hold the fields before it,
    /// and the connection must end.
    ///
    /// Memory: `bytes` grows by at most `limits.list_bytes`, two and a half times that where the
    /// pieces of a cookie are short, and, for a moment, by 8/5 of `block` and one table entry.
    pub fn decode(
        &mut self,
        block: &[u8],
        limits: &FieldLimits,
        bytes: &mut Vec<u8>,
        fields: &mut Vec<Field>,
    ) -> Result<Section, Error> {
        let mut section = Section::default();
        let mut at = self.size_updates(block)?;
        while let Some(&first) = block.get(at) {
            if first >= 0x80 {
                let index = int::read(block, &mut at, 7)?;
                self.indexed(index, limits, bytes, fields, &mut section)?;
            } else if first >= 0x40 {
                let index = int::read(block, &mut at, 6)?;
                let kept = bytes.len();
                let (field, flaws) = self.literal(block, &mut at, index, bytes)?;
                let (name, value) = bytes[kept..].split_at(field.value_at as usize - kept);
                self.table.insert(name, value, field.known, flaws);
                keep(field, flaws, kept, limits, bytes, fields, &mut section);
            } else if first >= 0x20 {
                return Err(Error::SizeUpdate);
            } else {
                let index = int::read(block, &mut at, 4)?;
                let kept = bytes.len();
                let (mut field, flaws) = self.literal(block, &mut at, index, bytes)?;
                field.flags = first >> 4 & Field::NEVER_INDEXED;
                keep(field, flaws, kept, limits, bytes, fields, &mut section);
            }
        }
        Ok(section)
    }

    /// Handles the updates that open a block; returns where the fields begin.
    #[inline]
    fn size_updates(&mut self, block: &[u8]) -> Result<usize, Error> {
        let mut at = 0;
        while let Some(0x20..=0x3f) = block.get(at) {
            let size = int::read(block, &mut at, 5)?;
            if size > self.allowed {
                return Err(Error::SizeUpdate);
            }
            self.table.set_bound(size);
            self.update_owed = false;
        }
        if self.update_owed && !block.is_empty() {
            return Err(Error::SizeUpdateMissing);
        }
        Ok(at)
    }

    #[inline]
    fn indexed(
        &self,
        index: u32,
        limits: &FieldLimits,
        bytes: &mut Vec<u8>,
        fields: &mut Vec<Field>,
        section: &mut Section,
    ) -> Result<(), Error> {
        let name_at = bytes.len() as u32;
        let (known, name_len, value_len);
        if let Some(entry) = statics::ENTRIES.get(index as usize) {
            (known, name_len, value_len) = (entry.known, entry.name_len, entry.value_len);
            if index == 0 {
                return Err(Error::Index);
            }
            if section.keeps(usize::from(name_len) + usize::from(value_len), known, limits) {
                append_short(
                    bytes,
                    statics::octets(entry),
                    usize::from(name_len) + usize::from(value_len),
                );
            }
        } else {
            let entry = self.entry(index)?;
            section.flaws.add(entry.flags);
            (known, name_len, value_len) = (entry.known, entry.name_len, entry.value_len);
            if section.keeps(entry.size() - OVERHEAD, known, limits) {
                self.table.append(&entry, bytes);
            }
        }
        if !section.flaws.over_limit() {
            let value_at = name_at + u32::from(name_len);
            fields.push(Field {
                name_at,
                value_at,
                value_len: u32::from(value_len),
                name_len,
                known,
                flags: 0,
            });
        }
        Ok(())
    }

    /// The dynamic entry that a block's index names.
    #[inline]
    fn entry(&self, index: u32) -> Result<super::table::Entry, Error> {
        let back = u64::from(index) - (statics::ENTRIES.len() as u64 - 1);
        let number = self.table.inserted().checked_sub(back).ok_or(Error::Index)?;
        self.table.entry(number).ok_or(Error::Index)
    }

    /// Appends a literal's name and value; returns its field and flaws.
    #[inline]
    fn literal(
        &self,
        block: &[u8],
        at: &mut usize,
        index: u32,
        bytes: &mut Vec<u8>,
    ) -> Result<(Field, u8), Error> {
        let name_at = bytes.len();
        let mut flaws = 0;
        let known = if index == 0 {
            string(self.backend, block, at, 7, bytes)?;
            let (known, found) = classify_name(&bytes[name_at..]);
            flaws = found;
            known
        } else if let Some(entry) = statics::ENTRIES.get(index as usize) {
            append_short(bytes, statics::octets(entry), usize::from(entry.name_len));
            entry.known
        } else {
            let entry = self.entry(index)?;
            let name = &self.table.pair(&entry)[..usize::from(entry.name_len)];
            bytes.extend_from_slice(name);
            flaws = of_name(entry.flags);
            entry.known
        };
        let value_at = bytes.len();
        flaws |= value(self.backend, block, at, bytes)?;
        Ok(line(name_at, value_at, bytes.len(), known, 0, flaws))
    }
}

/// The field of a literal at these offsets, and its flaws.
#[inline]
pub(crate) fn line(
    name_at: usize,
    value_at: usize,
    end: usize,
    known: Known,
    flags: u8,
    mut flaws: u8,
) -> (Field, u8) {
    let name_len = u16::try_from(value_at - name_at).unwrap_or_else(|_| {
        // Too long for a Field: dropped, and too large for any table.
        flaws |= Flaws::TOO_LARGE.0;
        u16::MAX
    });
    let field = Field {
        name_at: name_at as u32,
        value_at: value_at as u32,
        value_len: (end - value_at) as u32,
        name_len,
        known,
        flags,
    };
    (field, flaws)
}

/// The flaws of an entry's name.
pub(crate) fn of_name(flaws: u8) -> u8 {
    flaws & (Flaws::UPPERCASE.0 | Flaws::BAD_NAME.0)
}

/// Keeps the literal appended from `kept` on, or removes it.
#[inline]
pub(crate) fn keep(
    field: Field,
    flaws: u8,
    kept: usize,
    limits: &FieldLimits,
    bytes: &mut Vec<u8>,
    fields: &mut Vec<Field>,
    section: &mut Section,
) {
    section.flaws.add(flaws);
    if section.keeps(bytes.len() - kept, field.known, limits) {
        fields.push(field);
    } else {
        bytes.truncate(kept);
    }
}

/// Appends the string at `input[*at]` (section 5.2), whose length has `prefix` bits; returns
/// whether it may contain control characters.
#[inline]
pub(crate) fn string(
    backend: Backend,
    input: &[u8],
    at: &mut usize,
    prefix: u32,
    bytes: &mut Vec<u8>,
) -> Result<bool, Error> {
    let huffman = input.get(*at).is_some_and(|first| first >> prefix & 1 != 0);
    let length = int::read(input, at, prefix)? as usize;
    let end = *at + length;
    let octets = input.get(*at..end).ok_or(Error::Truncated)?;
    *at = end;
    if huffman {
        return huffman::decode(backend, octets, bytes).map_err(Error::Huffman);
    }
    bytes.extend_from_slice(octets);
    Ok(true)
}

/// Appends the value at `input[*at]`; returns its flaws.
#[inline]
pub(crate) fn value(
    backend: Backend,
    input: &[u8],
    at: &mut usize,
    bytes: &mut Vec<u8>,
) -> Result<u8, Error> {
    let value_at = bytes.len();
    let controls = string(backend, input, at, 7, bytes)?;
    Ok(value_flaws(&bytes[value_at..], controls))
}

/// Looks up a literal name; returns its flaws too.
#[inline]
pub(crate) fn classify_name(name: &[u8]) -> (Known, u8) {
    let mut seen = 0;
    for &octet in name {
        seen |= NAME_CLASSES[octet as usize];
    }
    let known = Known::of(name);
    // A colon is valid only as the first octet of a pseudo-header name, and all of those are known.
    if seen & Flaws::BAD_NAME.0 != 0 && seen & NOT_COLON == 0 && known != Known::Other {
        seen &= !Flaws::BAD_NAME.0;
    }
    if name.is_empty() {
        seen = Flaws::BAD_NAME.0;
    }
    (known, seen & !NOT_COLON)
}

/// In [`NAME_CLASSES`]: bad, and not a colon.
const NOT_COLON: u8 = 0x80;

/// The flaws of a name that contains the octet.
static NAME_CLASSES: [u8; 256] = {
    let mut classes = [Flaws::BAD_NAME.0 | NOT_COLON; 256];
    let mut octet = 0;
    while octet < 256 {
        match octet as u8 {
            b'A'..=b'Z' => classes[octet] = Flaws::UPPERCASE.0,
            b'a'..=b'z' | b'0'..=b'9' => classes[octet] = 0,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' => {
                classes[octet] = 0;
            }
            b'^' | b'_' | b'`' | b'|' | b'~' => classes[octet] = 0,
            b':' => classes[octet] = Flaws::BAD_NAME.0,
            _ => {}
        }
        octet += 1;
    }
    classes
};

/// The flaws of a value (RFC 9110 section 5.5, RFC 9113 section 8.2.1), which may contain control
/// characters if `controls`.
///
/// If Huffman decoding has excluded them, nothing here depends on the decoded length: with a loop
/// over the octets, the next field had to wait for this one.
#[inline]
pub(crate) fn value_flaws(value: &[u8], controls: bool) -> u8 {
    let (Some(first), Some(last)) = (value.first(), value.last()) else { return 0 };
    let mut flaws = 0;
    if matches!(first, b' ' | b'\t') || matches!(last, b' ' | b'\t') {
        flaws = Flaws::OUTER_SPACE.0;
    }
    if controls && has_control(value) {
        flaws |= Flaws::BAD_VALUE.0;
    }
    flaws
}

/// Whether an octet is 0x7f, or below 0x20 and not a tab. Eight at a time, the last eight
/// overlapping.
#[inline]
fn has_control(value: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES * 0x80;
    let controls = |word: u64| {
        // Exact in the high bit of each octet: with the high bits set first, no borrow crosses
        // octets.
        let below_space = !((word & !HIGH | HIGH) - ONES * 0x20) & !word;
        let zero = |x: u64| !(((x & !HIGH) + !HIGH) | x);
        let tab = zero(word ^ (ONES * 0x09));
        let delete = zero(word ^ (ONES * 0x7f));
        (below_space & !tab | delete) & HIGH
    };
    let Some(last) = value.last_chunk::<8>() else {
        return value.iter().any(|&octet| octet < 0x20 && octet != b'\t' || octet == 0x7f);
    };
    let mut found = controls(u64::from_le_bytes(*last));
    let mut rest = value;
    while let Some((word, more)) = rest.split_first_chunk::<8>() {
        found |= controls(u64::from_le_bytes(*word));
        rest = more;
    }
    found != 0
}
