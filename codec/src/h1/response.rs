//! Response heads, appended to the connection's output from a template or piece by piece.
//!
//! A route whose head varies only in date and length keeps a [`Template`]: one copy and two
//! patches. Others append with [`status_line`], [`field`], [`content_length`], [`date`](date()) and
//! [`end`]. Values are not checked, except that debug builds assert that they contain no CR or LF.
//! RFC 9112 section 4.

use crate::date::{self, Date};
use alloc::vec::Vec;

/// Appends `HTTP/1.1 200 OK` and its CRLF. An unknown status gets no reason phrase (it is optional;
/// RFC 9112 section 4).
///
/// # Panics
/// If `status` is not in 100..=999.
#[inline]
pub fn status_line(out: &mut Vec<u8>, status: u16) {
    assert!((100..1000).contains(&status), "a status has three digits");
    if let Some(line) = known_line(status) {
        return out.extend_from_slice(line.as_bytes());
    }
    let digits = [status / 100, status / 10 % 10, status % 10].map(|d| b'0' + d as u8);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&digits);
    out.extend_from_slice(b" \r\n");
}

/// Appends a field line. The caller has checked that name and value contain no CR, LF or NUL.
#[inline]
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    debug_assert!(!name.iter().chain(value).any(|b| matches!(b, b'\r' | b'\n' | 0)));
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends `content-length: N`.
#[inline]
pub fn content_length(out: &mut Vec<u8>, length: u64) {
    let mut digits = [0; 20];
    field(out, b"content-length", decimal(length, &mut digits));
}

/// Appends the Date field.
#[inline]
pub fn date(out: &mut Vec<u8>, date: &Date) {
    field(out, b"date", date.imf());
}

/// Appends the empty line that ends the head.
#[inline]
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// A response head built once, with gaps for the date and the length.
#[derive(Clone, Debug)]
pub struct Template {
    /// Everything up to and including `content-length: `; the date's 29 bytes are patched at
    /// `date_at`.
    bytes: Vec<u8>,
    date_at: usize,
}

impl Template {
    /// A head of `status` with these fields, and then `date` and `content-length`. Names and values
    /// as for [`field`].
    pub fn new(status: u16, fields: &[(&[u8], &[u8])]) -> Self {
        let mut bytes = Vec::new();
        status_line(&mut bytes, status);
        for (name, value) in fields {
            field(&mut bytes, name, value);
        }
        bytes.extend_from_slice(b"date: ");
        let date_at = bytes.len();
        bytes.extend_from_slice(&[b' '; date::LEN]);
        bytes.extend_from_slice(b"\r\ncontent-length: ");
        Self { bytes, date_at }
    }

    /// Appends the whole head, the empty line included.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, date: &Date, length: u64) {
        let mut digits = [0; 20];
        let digits = decimal(length, &mut digits);
        out.reserve(self.bytes.len() + digits.len() + 4);
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        out[start + self.date_at..][..date::LEN].copy_from_slice(date.imf());
        out.extend_from_slice(digits);
        out.extend_from_slice(b"\r\n\r\n");
    }
}

/// `value` in decimal digits, at the end of `buffer`.
#[inline]
pub fn decimal(mut value: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &buffer[at..];
        }
    }
}

macro_rules! statuses {
    ($($status:literal $reason:literal,)*) => {
        #[inline]
        fn known_line(status: u16) -> Option<&'static str> {
            Some(match status {
                $($status => concat!("HTTP/1.1 ", $status, " ", $reason, "\r\n"),)*
                _ => return None,
            })
        }

        /// The reason phrase of `status` (RFC 9110 section 15 and the IANA registry); empty for one
        /// that is not in it.
        pub const fn reason(status: u16) -> &'static str {
            match status {
                $($status => $reason,)*
                _ => "",
            }
        }
    };
}

statuses! {
    100 "Continue", 101 "Switching Protocols", 102 "Processing", 103 "Early Hints",
    200 "OK", 201 "Created", 202 "Accepted", 203 "Non-Authoritative Information", 204 "No Content",
    205 "Reset Content", 206 "Partial Content", 207 "Multi-Status", 208 "Already Reported",
    226 "IM Used",
    300 "Multiple Choices", 301 "Moved Permanently", 302 "Found", 303 "See Other",
    304 "Not Modified", 305 "Use Proxy", 307 "Temporary Redirect", 308 "Permanent Redirect",
    400 "Bad Request", 401 "Unauthorized", 402 "Payment Required", 403 "Forbidden", 404 "Not Found",
    405 "Method Not Allowed", 406 "Not Acceptable", 407 "Proxy Authentication Required",
    408 "Request Timeout", 409 "Conflict", 410 "Gone", 411 "Length Required",
    412 "Precondition Failed", 413 "Content Too Large", 414 "URI Too Long",
    415 "Unsupported Media Type", 416 "Range Not Satisfiable", 417 "Expectation Failed",
    421 "Misdirected Request", 422 "Unprocessable Content", 423 "Locked", 424 "Failed Dependency",
    425 "Too Early", 426 "Upgrade Required", 428 "Precondition Required", 429 "Too Many Requests",
    431 "Request Header Fields Too Large", 451 "Unavailable For Legal Reasons",
    500 "Internal Server Error", 501 "Not Implemented", 502 "Bad Gateway",
    503 "Service Unavailable", 504 "Gateway Timeout", 505 "HTTP Version Not Supported",
    506 "Variant Also Negotiates", 507 "Insufficient Storage", 508 "Loop Detected",
    511 "Network Authentication Required",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template_and_pieces_say_the_same() {
        let now = Date::new(784_111_777);
        let template = Template::new(200, &[(b"content-type", b"text/plain")]);
        for length in [0, 9, 10, 13, 999, 1000, u64::MAX] {
            let mut whole = b"before".to_vec();
            template.write(&mut whole, &now, length);
            let mut pieces = b"before".to_vec();
            status_line(&mut pieces, 200);
            field(&mut pieces, b"content-type", b"text/plain");
            date(&mut pieces, &now);
            content_length(&mut pieces, length);
            end(&mut pieces);
            assert_eq!(whole, pieces);
        }
        let mut out = Vec::new();
        template.write(&mut out, &now, 13);
        let expected: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\
            date: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 13\r\n\r\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn every_status_has_a_line() {
        for status in 100..1000 {
            let mut out = Vec::new();
            status_line(&mut out, status);
            let expected = alloc::format!("HTTP/1.1 {status} {}\r\n", reason(status));
            assert_eq!(out, expected.as_bytes());
        }
    }
}
