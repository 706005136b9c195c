//! Field lines of answers, encoded in advance (RFC 9110 section 5).

use ringway_codec::field::{Field, Known};
use ringway_codec::hpack::Indexing;

/// True for connection-specific fields (RFC 9113 section 8.2.2) and content-length.
pub(crate) fn is_framing(known: Known, name: &str) -> bool {
    matches!(known, Known::Connection | Known::ContentLength | Known::TransferEncoding)
        || matches!(name, "keep-alive" | "proxy-connection" | "upgrade")
}

/// A field line: indexing mode, known name, name, value.
pub(crate) type Line<'a> = (Indexing, Known, &'a [u8], &'a [u8]);

/// Field lines in HTTP/1.1 form (`name: value\r\n`), with an index of their parts. HTTP/1.1 copies
/// the text; HTTP/2 and HTTP/3 use the index.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldBlock(Option<Box<Lines>>);

#[derive(Clone, Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

impl FieldBlock {
    /// Adds a line. The caller has validated both parts.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.push_with(0, name, value);
    }

    pub(crate) fn push_with(&mut self, flags: u8, name: &[u8], value: &[u8]) {
        debug_assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        let Lines { bytes, fields } = &mut **self.0.get_or_insert_default();
        let name_at = bytes.len() as u32;
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(b": ");
        let value_at = bytes.len() as u32;
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
        fields.push(Field {
            name_at,
            value_at,
            value_len: value.len() as u32,
            name_len: name.len() as u16,
            known: Known::of(name),
            flags,
        });
    }

    /// True if there is no line.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// True if there is a line with this lower-case name.
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        self.iter().any(|(_, _, other, _)| other == name)
    }

    /// Removes the lines with a name.
    pub(crate) fn remove(&mut self, name: &[u8]) {
        let before = std::mem::take(self);
        before.iter().filter(|(_, _, other, _)| *other != name).for_each(|line| self.keep(line));
    }

    /// Adds the lines of another block.
    pub(crate) fn append(&mut self, other: &Self) {
        other.iter().for_each(|line| self.keep(line));
    }

    fn keep(&mut self, (indexing, _, name, value): Line<'_>) {
        let flags = if indexing == Indexing::Never { Field::NEVER_INDEXED } else { 0 };
        self.push_with(flags, name, value);
    }

    /// The lines as HTTP/1.1 sends them.
    pub(crate) fn lines(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |lines| &lines.bytes)
    }

    /// The lines' parts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Line<'_>> {
        self.0.iter().flat_map(|lines| {
            let bytes = &lines.bytes;
            lines.fields.iter().map(|field| {
                let never = field.flags & Field::NEVER_INDEXED != 0;
                let indexing = if never { Indexing::Never } else { Indexing::Auto };
                (indexing, field.known, field.name(bytes), field.value(bytes))
            })
        })
    }
}
