//! `compress`: what is compressed on the way.

use super::super::block::{Block, inline};
use super::super::value::{self, Typed, Words, Written, Wrong, name_of, quote};
use super::auth::Bytes;

/// Which files of a site are compressed when they are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressConfig {
    /// Into which codings; the client's choice comes first, then the smallest result.
    pub codings: Vec<ContentCoding>,
    /// The size of the smallest file, in bytes.
    pub min: u64,
}

/// A content coding (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentCoding {
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878).
    Zstd,
    /// `gzip` (RFC 1952).
    Gzip,
}

const CODINGS: Words<ContentCoding> =
    &[("br", ContentCoding::Brotli), ("zstd", ContentCoding::Zstd), ("gzip", ContentCoding::Gzip)];

/// Smaller files fit into the first flight anyway.
const MIN: u64 = 1024;

impl Typed for CompressConfig {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let block = Block::of(written, &["codings", "min"])?;
        let codings = block.maybe("codings")?;
        Ok(Self {
            codings: codings.unwrap_or_else(|| CODINGS.iter().map(|(_, each)| *each).collect()),
            min: block.maybe("min")?.map_or(MIN, |Bytes(bytes)| bytes),
        })
    }

    fn show(&self) -> String {
        inline(&[("codings", super::list(&self.codings)), ("min", Bytes(self.min).show())])
    }
}

impl Typed for ContentCoding {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        value::word(written, CODINGS)
    }

    fn show(&self) -> String {
        quote(name_of(CODINGS, *self))
    }
}
