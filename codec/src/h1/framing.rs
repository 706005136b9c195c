//! Request framing: the fields that decide where the body ends and whether the connection persists.
//!
//! RFC 9112 sections 6.1 to 6.3 and 9.3. Everything ambiguous is refused: a repeated length (even
//! an equal one), a length with a transfer coding, any coding but `chunked`.

use super::request::{Framing, Version};
use super::{Error, Span};
use crate::field::Known;
use crate::scan::{Padded, word};

/// Facts collected from the fields. One word of flags, so the end of an ordinary head needs one
/// test.
#[derive(Default)]
pub(super) struct Facts {
    /// The Host field's value; at offset 0 (the request line) while there is none.
    host: Span,
    length: u64,
    flags: u32,
}

/// The conclusions from the facts.
pub(super) struct Verdict {
    pub(super) framing: Framing,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    pub(super) upgrade_h2c: bool,
    pub(super) expect_continue: bool,
}

const KEEP_ALI: u64 = u64::from_le_bytes(*b"keep-ali");

const LENGTH: u32 = 1;
const CHUNKED: u32 = 1 << 1;
const EXPECT: u32 = 1 << 2;
const UPGRADE: u32 = 1 << 3;
const H2C: u32 = 1 << 4;
const SETTINGS: u32 = 1 << 5;
const SETTINGS_AGAIN: u32 = 1 << 6;
const SAYS_CLOSE: u32 = 1 << 7;
const SAYS_KEEP_ALIVE: u32 = 1 << 8;
const SAYS_UPGRADE: u32 = 1 << 9;
const SAYS_SETTINGS: u32 = 1 << 10;

impl Facts {
    /// Records a framing field whose line's CR is at `eol`.
    #[inline(always)]
    pub(super) fn note(
        &mut self,
        input: Padded<'_>,
        known: Known,
        value: Span,
        eol: usize,
    ) -> Result<(), Error> {
        if known == Known::Host {
            if self.host.at != 0 {
                return Err(Error::HostDuplicate);
            }
            self.host = value;
            return Ok(());
        }
        let bytes = input.bytes(value.at as usize);
        let keep_alive = word(bytes, 0) == KEEP_ALI && bytes[8] == b'v' && bytes[9] == b'e';
        if keep_alive && value.len == 10 && known == Known::Connection {
            self.flags |= SAYS_KEEP_ALIVE;
            return Ok(());
        }
        self.note_rare(known, value.of(input.data()), value.end() != eol)
    }

    /// Records Host as the head's first field.
    #[inline(always)]
    pub(super) fn begin(&mut self, host: Span) {
        self.host = host;
    }

    /// The Host field's value.
    #[inline(always)]
    pub(super) fn host(&self) -> Option<Span> {
        (self.host.at != 0).then_some(self.host)
    }

    /// `trailing`: whether whitespace follows the value.
    #[inline(never)]
    fn note_rare(&mut self, known: Known, value: &[u8], trailing: bool) -> Result<(), Error> {
        let flag = match known {
            Known::Connection => connection(value),
            Known::ContentLength => {
                self.length = content_length(value)?;
                if self.flags & LENGTH != 0 {
                    return Err(Error::ContentLength);
                }
                LENGTH
            }
            Known::TransferEncoding => {
                if self.flags & CHUNKED != 0 || trailing {
                    return Err(Error::TransferEncoding);
                }
                transfer_encoding(value)?;
                CHUNKED
            }
            Known::Expect if value.eq_ignore_ascii_case(b"100-continue") => EXPECT,
            Known::Expect => return Err(Error::Expect),
            Known::Upgrade if tokens(value).any(|t| t.eq_ignore_ascii_case(b"h2c")) => {
                UPGRADE | H2C
            }
            Known::Upgrade => UPGRADE,
            Known::Http2Settings if self.flags & SETTINGS != 0 => SETTINGS_AGAIN,
            Known::Http2Settings => SETTINGS,
            _ => 0,
        };
        self.flags |= flag;
        Ok(())
    }

    /// How the body is delimited and whether the connection persists.
    #[inline(always)]
    pub(super) fn verdict(&self, version: Version) -> Result<Verdict, Error> {
        let old = version == Version::H10;
        if self.flags & !SAYS_KEEP_ALIVE != 0 {
            return self.rare_verdict(old);
        }
        Ok(Verdict {
            framing: Framing::None,
            close: old && self.flags == 0,
            keep_alive: self.flags != 0,
            upgrade: false,
            upgrade_h2c: false,
            expect_continue: false,
        })
    }

    #[inline(never)]
    fn rare_verdict(&self, old: bool) -> Result<Verdict, Error> {
        let all = |flags: u32| self.flags & flags == flags;
        // RFC 9112 section 6.3.
        let framing = match (all(CHUNKED), all(LENGTH)) {
            (false, false) => Framing::None,
            (false, true) => Framing::Length(self.length),
            (true, true) => return Err(Error::LengthAndChunked),
            (true, false) if old => return Err(Error::TransferEncodingOld),
            (true, false) => Framing::Chunked,
        };
        let (close, keep_alive) = (all(SAYS_CLOSE), all(SAYS_KEEP_ALIVE));
        let upgrade = all(UPGRADE | SAYS_UPGRADE) && !old;
        // RFC 7540 section 3.2.1: exactly one HTTP2-Settings, nominated by Connection.
        let settings = all(SETTINGS | SAYS_SETTINGS) && !all(SETTINGS_AGAIN);
        Ok(Verdict {
            framing,
            close: close || (old && !keep_alive),
            keep_alive: keep_alive && !close,
            upgrade,
            upgrade_h2c: upgrade && all(H2C) && settings && framing == Framing::None,
            // RFC 9110 section 10.1.1: the expectation in an HTTP/1.0 request is ignored.
            expect_continue: all(EXPECT) && !old,
        })
    }
}

fn connection(value: &[u8]) -> u32 {
    let options: [(&[u8], u32); 4] = [
        (b"close", SAYS_CLOSE),
        (b"keep-alive", SAYS_KEEP_ALIVE),
        (b"upgrade", SAYS_UPGRADE),
        (b"http2-settings", SAYS_SETTINGS),
    ];
    let flag = |token: &[u8]| options.iter().find(|(name, _)| token.eq_ignore_ascii_case(name));
    tokens(value).filter_map(flag).fold(0, |flags, (_, flag)| flags | flag)
}

/// The elements of a comma-separated list, without the whitespace around them.
fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii)
}

/// `1*DIGIT` below 2^63: backends may use signed integers.
fn content_length(value: &[u8]) -> Result<u64, Error> {
    // 19 digits stay below 2^64.
    if value.is_empty() || value.len() > 19 {
        return Err(Error::ContentLength);
    }
    let mut length = 0;
    for &byte in value {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Error::ContentLength);
        }
        length = length * 10 + u64::from(digit);
    }
    if length >> 63 != 0 { Err(Error::ContentLength) } else { Ok(length) }
}

/// Accepts `chunked` only. An unknown coding is 501 (RFC 9112 section 6.1). A list in which chunked
/// is not last or is repeated leaves the end of the body ambiguous: 400 (section 6.3).
#[inline]
fn transfer_encoding(value: &[u8]) -> Result<(), Error> {
    if value.eq_ignore_ascii_case(b"chunked") { Ok(()) } else { Err(wrong_coding(value)) }
}

#[cold]
fn wrong_coding(value: &[u8]) -> Error {
    let chunked = |token: &[u8]| token.eq_ignore_ascii_case(b"chunked");
    let count = tokens(value).filter(|t| chunked(t)).count();
    let last = tokens(value).last().is_some_and(chunked);
    let token = |t: &[u8]| !t.is_empty() && t.iter().all(|&b| crate::scan::TOKEN.has(b));
    let known_end = count == 0 || (count == 1 && last);
    if known_end && tokens(value).all(token) { Error::Coding } else { Error::TransferEncoding }
}
