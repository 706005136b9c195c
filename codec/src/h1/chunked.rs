//! Chunked bodies, decoded in place: each chunk's data is a range of the input. Nothing is copied.
//!
//! RFC 9112 section 7.1. Sizes are hexadecimal digits only, and lines end in CRLF only. Extensions
//! are skipped, but counted and checked against their grammar (section 7.1.1). Trailer fields are
//! yielded unless they would change the framing of the message. `Content-Length` bodies need no
//! decoder.

use super::Error;
use crate::field::{Field, Known};
use crate::scan::{CONTROL, TOKEN};
use core::ops::Range;

/// Limits of a chunked body's overhead; the caller counts the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Bytes of all chunk extensions of one body; beyond: 400.
    pub extension_bytes: u32,
    /// Bytes of the trailer section; beyond: 431.
    pub trailer_bytes: u32,
    /// Number of trailer fields; beyond: 431.
    pub trailer_fields: u16,
}

impl Default for ChunkLimits {
    /// 16 KiB of extensions, 8 KiB and 32 fields of trailers.
    fn default() -> Self {
        Self { extension_bytes: 16 << 10, trailer_bytes: 8 << 10, trailer_fields: 32 }
    }
}

/// The next item of a chunked body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Bytes of the body: a range of the input, never empty. A chunk may be split into several.
    Data(Range<usize>),
    /// A trailer field, its offsets into the input. Fields that a trailer section must not contain
    /// (RFC 9110 section 6.5.1) are skipped.
    Trailer(Field),
    /// The input is consumed up to `at`. Bytes from `at` on (the start of a trailer line) must be
    /// passed again, with more input after them.
    More,
    /// The body is complete; the next message begins at `at`.
    End,
}

/// A decoder for one body.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// Data bytes left in the chunk, or the part of the size read so far.
    left: u64,
    limits: ChunkLimits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    Begin,
    /// After at least one digit.
    Size,
    /// After the size or an extension, and whitespace: only an extension may follow.
    Blank,
    /// After the CR of a size line.
    SizeEnd,
    Data,
    /// After a chunk's data.
    DataEnd,
    /// After the CR that follows a chunk's data.
    DataEndLf,
    Trailers,
    Done,
    /// After the semicolon of an extension.
    NameBegin,
    /// In an extension's name.
    Name,
    /// After the name and whitespace.
    NameEnd,
    /// After the equals sign.
    ValueBegin,
    /// In a value that is a token.
    Value,
    /// In a value that is a quoted string.
    Quoted,
    /// After a backslash in a quoted string.
    Escaped,
    /// After the closing quote.
    QuotedEnd,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new(ChunkLimits::default())
    }
}

impl ChunkedDecoder {
    /// A decoder at the beginning of a body.
    pub fn new(limits: ChunkLimits) -> Self {
        Self { state: State::Begin, left: 0, limits }
    }

    /// Whether the body has been decoded to its end.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes the next item from `input[*at]` on and moves `*at` past it. Call until it returns
    /// [`Item::More`] or [`Item::End`]. After an error the connection must be closed.
    pub fn next(&mut self, input: &[u8], at: &mut usize) -> Result<Item, Error> {
        loop {
            match self.state {
                State::Done => return Ok(Item::End),
                State::Trailers => {
                    if let Some(item) = self.trailer(input, at)? {
                        return Ok(item);
                    }
                }
                State::Data => {
                    let there = input.len() - *at;
                    let take = usize::try_from(self.left).map_or(there, |left| left.min(there));
                    if take == 0 {
                        return Ok(Item::More);
                    }
                    let range = *at..*at + take;
                    *at += take;
                    self.left -= take as u64;
                    if self.left == 0 {
                        self.state = State::DataEnd;
                    }
                    return Ok(Item::Data(range));
                }
                State::Begin
                | State::Size
                | State::Blank
                | State::SizeEnd
                | State::DataEnd
                | State::DataEndLf => {
                    let Some(&byte) = input.get(*at) else { return Ok(Item::More) };
                    *at += 1;
                    self.step(byte)?;
                }
                _ => {
                    let Some(&byte) = input.get(*at) else { return Ok(Item::More) };
                    *at += 1;
                    self.state = self.extension_byte(byte)?;
                }
            }
        }
    }

    /// Takes one byte between chunks' data, extensions excepted.
    fn step(&mut self, byte: u8) -> Result<(), Error> {
        self.state = match (self.state, byte) {
            (State::Begin | State::Size, _) if byte.is_ascii_hexdigit() => {
                self.digit(byte)?;
                State::Size
            }
            (State::Size, b'\r') => State::SizeEnd,
            (State::Size | State::Blank, b';') => self.extension(State::NameBegin)?,
            (State::Size | State::Blank, b' ' | b'\t') => self.extension(State::Blank)?,
            (State::SizeEnd, b'\n') if self.left == 0 => State::Trailers,
            (State::SizeEnd, b'\n') => State::Data,
            (State::SizeEnd, _) => return Err(Error::LineEnd),
            (State::DataEnd, b'\r') => State::DataEndLf,
            (State::DataEndLf, b'\n') => State::Begin,
            (State::DataEnd | State::DataEndLf, _) => return Err(Error::ChunkEnd),
            _ => return Err(Error::ChunkSize),
        };
        Ok(())
    }

    /// Takes one byte of an extension (RFC 9112 section 7.1.1), which has a name and optionally a
    /// value (a token or a quoted string), or the CR after it.
    fn extension_byte(&mut self, byte: u8) -> Result<State, Error> {
        let next = match (self.state, byte) {
            (State::Name | State::Value | State::QuotedEnd, b'\r') => return Ok(State::SizeEnd),
            (State::Name | State::NameEnd | State::Value | State::QuotedEnd, b';') => {
                State::NameBegin
            }
            (State::Name | State::NameEnd, b'=') => State::ValueBegin,
            (State::Name | State::NameEnd, b' ' | b'\t') => State::NameEnd,
            (State::NameBegin | State::ValueBegin, b' ' | b'\t') => self.state,
            (State::Value | State::QuotedEnd, b' ' | b'\t') => State::Blank,
            (State::NameBegin | State::Name, _) if TOKEN.has(byte) => State::Name,
            (State::ValueBegin | State::Value, _) if TOKEN.has(byte) => State::Value,
            (State::ValueBegin, b'"') => State::Quoted,
            (State::Quoted | State::Escaped, _)
                if matches!(byte, b'\r' | b'\n') || CONTROL.has(byte) =>
            {
                return Err(Error::ChunkExtension);
            }
            (State::Quoted, b'"') => State::QuotedEnd,
            (State::Quoted, b'\\') => State::Escaped,
            (State::Quoted | State::Escaped, _) => State::Quoted,
            _ => return Err(Error::ChunkExtension),
        };
        self.extension(next)
    }

    /// Takes a digit of a size. Sizes stay below 2^60, so sums do not overflow.
    fn digit(&mut self, byte: u8) -> Result<(), Error> {
        let value = if byte <= b'9' { byte - b'0' } else { (byte | 0x20) - b'a' + 10 };
        if self.left >> 56 != 0 {
            return Err(Error::ChunkSize);
        }
        self.left = self.left << 4 | u64::from(value);
        Ok(())
    }

    fn extension(&mut self, next: State) -> Result<State, Error> {
        self.limits.extension_bytes =
            self.limits.extension_bytes.checked_sub(1).ok_or(Error::ChunkExtensions)?;
        Ok(next)
    }

    /// Reads one trailer line; `None` for a skipped one.
    fn trailer(&mut self, input: &[u8], at: &mut usize) -> Result<Option<Item>, Error> {
        let rest = &input[*at..];
        let lf = memchr::memchr(b'\n', rest);
        let line = lf.map_or(rest, |lf| &rest[..lf]);
        if memchr::memchr(b'\r', line).is_some_and(|cr| cr + 1 < line.len()) {
            return Err(Error::LineEnd);
        }
        let Some(lf) = lf else {
            return match rest.len() > self.limits.trailer_bytes as usize + 2 {
                true => Err(Error::Trailers),
                false => Ok(Some(Item::More)),
            };
        };
        if lf == 0 || rest[lf - 1] != b'\r' {
            return Err(Error::LineEnd);
        }
        let (line, begin) = (&rest[..lf - 1], *at);
        *at += lf + 1;
        if line.is_empty() {
            self.state = State::Done;
            return Ok(Some(Item::End));
        }
        let spent = (lf + 1) as u32;
        let limits = &mut self.limits;
        limits.trailer_bytes = limits.trailer_bytes.checked_sub(spent).ok_or(Error::Trailers)?;
        limits.trailer_fields = limits.trailer_fields.checked_sub(1).ok_or(Error::Trailers)?;
        let field = trailer_field(line, begin)?;
        Ok((!forbidden(field.known)).then_some(Item::Trailer(field)))
    }
}

fn trailer_field(line: &[u8], begin: usize) -> Result<Field, Error> {
    let colon = line.iter().position(|&b| !TOKEN.has(b)).unwrap_or(line.len());
    if colon == 0 || line.get(colon) != Some(&b':') || colon > u16::MAX as usize {
        return Err(if matches!(line[0], b' ' | b'\t') { Error::Fold } else { Error::Trailer });
    }
    let rest = &line[colon + 1..];
    if rest.iter().any(|&b| b == b'\r' || CONTROL.has(b)) {
        return Err(Error::Trailer);
    }
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let from = rest.iter().position(|b| !blank(b)).unwrap_or(rest.len());
    let to = rest.iter().rposition(|b| !blank(b)).map_or(from, |last| last + 1);
    Ok(Field {
        name_at: begin as u32,
        value_at: (begin + colon + 1 + from) as u32,
        value_len: (to - from) as u32,
        name_len: colon as u16,
        known: Known::of(&line[..colon]),
        flags: 0,
    })
}

/// Fields not allowed in trailers: framing, routing, authentication, request modifiers and content
/// format (RFC 9110 section 6.5.1).
fn forbidden(known: Known) -> bool {
    use Known::*;
    known != Other && known <= Known::LAST_FRAMING
        || matches!(known, Te | Trailer | KeepAlive | ProxyConnection | MaxForwards | CacheControl)
        || matches!(known, ContentEncoding | ContentType | ContentRange | Range | Pragma)
        || matches!(known, Authorization | ProxyAuthorization | Cookie | SetCookie)
        || matches!(known, IfMatch | IfNoneMatch | IfModifiedSince | IfUnmodifiedSince | IfRange)
}
