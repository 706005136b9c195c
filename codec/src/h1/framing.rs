//! What frames a request: the fields that decide where its body ends and whether the connection
//! goes on.
//!
//! RFC 9112 sections 6.1 to 6.3 and 9.3. Everything ambiguous is refused: a length twice (even the
//! same one), a length beside a transfer coding, any coding but `chunked`.

use super::request::{Framing, Version};
use super::{Error, Span};
use crate::field::{Field, Known};
use crate::scan::Padded;

/// Gathered while the fields go by.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) host: Option<Span>,
    length: Option<u64>,
    chunked: bool,
    pub(super) says_close: bool,
    pub(super) says_keep_alive: bool,
    pub(super) says_upgrade: bool,
    says_settings: bool,
    settings: u8,
    pub(super) upgrade: bool,
    pub(super) h2c: bool,
    pub(super) expects: bool,
}

impl Facts {
    /// Takes note of a field whose name is one of the framing ones and whose line's CR is at `eol`.
    #[inline(always)]
    pub(super) fn note(
        &mut self,
        input: Padded<'_>,
        field: &Field,
        eol: usize,
    ) -> Result<(), Error> {
        if field.known == Known::Host {
            let span = Span { at: field.value_at, len: field.value_len };
            return match self.host.replace(span) {
                None => Ok(()),
                Some(_) => Err(Error::HostDuplicate),
            };
        }
        self.note_rare(input, field, eol)
    }

    #[inline(never)]
    fn note_rare(&mut self, input: Padded<'_>, field: &Field, eol: usize) -> Result<(), Error> {
        let value = field.value(input.data());
        match field.known {
            Known::Connection => self.connection(value),
            Known::ContentLength => {
                let before = self.length.replace(content_length(value)?);
                if before.is_some() {
                    return Err(Error::ContentLength);
                }
            }
            Known::TransferEncoding => {
                let trailing = field.value_at as usize + value.len() != eol;
                if self.chunked || trailing {
                    return Err(Error::TransferEncoding);
                }
                transfer_encoding(value)?;
                self.chunked = true;
            }
            Known::Expect => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Error::Expect);
                }
                self.expects = true;
            }
            Known::Upgrade => {
                self.upgrade = true;
                self.h2c |= tokens(value).any(|t| t.eq_ignore_ascii_case(b"h2c"));
            }
            Known::Http2Settings => self.settings = self.settings.saturating_add(1),
            _ => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for token in tokens(value) {
            match token.len() {
                5 => self.says_close |= token.eq_ignore_ascii_case(b"close"),
                7 => self.says_upgrade |= token.eq_ignore_ascii_case(b"upgrade"),
                10 => self.says_keep_alive |= token.eq_ignore_ascii_case(b"keep-alive"),
                14 => self.says_settings |= token.eq_ignore_ascii_case(b"http2-settings"),
                _ => {}
            }
        }
    }

    /// Whether there is exactly one HTTP2-Settings field, nominated by Connection (RFC 7540 section
    /// 3.2.1).
    pub(super) fn one_settings(&self) -> bool {
        self.says_settings && self.settings == 1
    }

    /// How the body is delimited (RFC 9112 section 6.3).
    #[inline(always)]
    pub(super) fn framing(&self, version: Version) -> Result<Framing, Error> {
        match (self.chunked, self.length) {
            (false, None) => Ok(Framing::None),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (true, Some(_)) => Err(Error::LengthAndChunked),
            (true, None) if version == Version::H10 => Err(Error::TransferEncodingOld),
            (true, None) => Ok(Framing::Chunked),
        }
    }
}

/// The elements of a comma-separated list, without the whitespace around them.
fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii)
}

/// `1*DIGIT` below 2^63: peers behind us may count in signed numbers.
fn content_length(value: &[u8]) -> Result<u64, Error> {
    // 19 digits cannot pass 2^64.
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

/// `chunked` and nothing else. Another coding that we do not know is 501 (RFC 9112 section 6.1); a
/// list in which chunked is not the last, or comes twice, leaves the end of the body in doubt and
/// is 400 (section 6.3).
#[inline]
fn transfer_encoding(value: &[u8]) -> Result<(), Error> {
    if value.eq_ignore_ascii_case(b"chunked") { Ok(()) } else { Err(wrong_coding(value)) }
}

#[cold]
fn wrong_coding(value: &[u8]) -> Error {
    let chunked = |token: &[u8]| token.eq_ignore_ascii_case(b"chunked");
    let count = tokens(value).filter(|t| chunked(t)).count();
    let last = tokens(value).last().is_some_and(chunked);
    let named =
        tokens(value).all(|t| !t.is_empty() && t.iter().all(|&b| crate::scan::TOKEN.has(b)));
    if named && (count == 0 || (count == 1 && last)) {
        Error::Coding
    } else {
        Error::TransferEncoding
    }
}
