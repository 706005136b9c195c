//! HTTP/2 frames on the wire: the nine-octet header, types, flags and error codes, and one writer
//! per frame type that a server sends. Pure layout: no connection state and no judgement of what
//! may come when. RFC 9113 sections 4, 6 and 7; PRIORITY_UPDATE from RFC 9218 section 7.1.

use alloc::vec::Vec;
use core::fmt;

/// Octets of a frame header.
pub const HEADER: usize = 9;
/// The 24 octets that a client sends first (RFC 9113 section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The greatest stream id and the greatest window: 2^31 - 1.
pub const MAX_31: u32 = 0x7fff_ffff;
/// The smallest SETTINGS_MAX_FRAME_SIZE, and the default.
pub const MIN_MAX_FRAME: u32 = 16_384;
/// The greatest SETTINGS_MAX_FRAME_SIZE.
pub const MAX_MAX_FRAME: u32 = 16_777_215;
/// The flow-control window that every stream and connection starts with.
pub const DEFAULT_WINDOW: u32 = 65_535;

/// DATA (0x0).
pub const DATA: u8 = 0x0;
/// HEADERS (0x1).
pub const HEADERS: u8 = 0x1;
/// PRIORITY (0x2).
pub const PRIORITY: u8 = 0x2;
/// RST_STREAM (0x3).
pub const RST_STREAM: u8 = 0x3;
/// SETTINGS (0x4).
pub const SETTINGS: u8 = 0x4;
/// PUSH_PROMISE (0x5).
pub const PUSH_PROMISE: u8 = 0x5;
/// PING (0x6).
pub const PING: u8 = 0x6;
/// GOAWAY (0x7).
pub const GOAWAY: u8 = 0x7;
/// WINDOW_UPDATE (0x8).
pub const WINDOW_UPDATE: u8 = 0x8;
/// CONTINUATION (0x9).
pub const CONTINUATION: u8 = 0x9;
/// PRIORITY_UPDATE (0x10), RFC 9218.
pub const PRIORITY_UPDATE: u8 = 0x10;

/// END_STREAM, on DATA and HEADERS.
pub const END_STREAM: u8 = 0x1;
/// ACK, on SETTINGS and PING.
pub const ACK: u8 = 0x1;
/// END_HEADERS, on HEADERS, PUSH_PROMISE and CONTINUATION.
pub const END_HEADERS: u8 = 0x4;
/// PADDED, on DATA, HEADERS and PUSH_PROMISE.
pub const PADDED: u8 = 0x8;
/// PRIORITY, on HEADERS: five octets of RFC 7540 priority come first.
pub const PRIORITY_FLAG: u8 = 0x20;

/// The name of a frame type, for traces and error sentences.
pub fn type_name(kind: u8) -> &'static str {
    match kind {
        DATA => "DATA",
        HEADERS => "HEADERS",
        PRIORITY => "PRIORITY",
        RST_STREAM => "RST_STREAM",
        SETTINGS => "SETTINGS",
        PUSH_PROMISE => "PUSH_PROMISE",
        PING => "PING",
        GOAWAY => "GOAWAY",
        WINDOW_UPDATE => "WINDOW_UPDATE",
        CONTINUATION => "CONTINUATION",
        PRIORITY_UPDATE => "PRIORITY_UPDATE",
        _ => "unknown",
    }
}

/// A frame header (RFC 9113 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Octets of payload, 0 to 2^24 - 1.
    pub len: u32,
    /// The frame type, known or not.
    pub kind: u8,
    /// The flags; those without meaning for the type are to be ignored.
    pub flags: u8,
    /// The stream, 31 bits: the reserved bit is dropped.
    pub stream: u32,
}

impl Header {
    /// Reads the header at `at`, or `None` when fewer than nine octets are there.
    #[inline]
    pub fn read(input: &[u8], at: usize) -> Option<Self> {
        let b: &[u8; HEADER] = input.get(at..)?.first_chunk()?;
        Some(Self {
            len: u32::from_be_bytes([0, b[0], b[1], b[2]]),
            kind: b[3],
            flags: b[4],
            stream: u32::from_be_bytes([b[5], b[6], b[7], b[8]]) & MAX_31,
        })
    }

    /// The nine octets. `len` must be below 2^24.
    #[inline]
    pub fn octets(&self) -> [u8; HEADER] {
        debug_assert!(self.len <= MAX_MAX_FRAME);
        let l = self.len.to_be_bytes();
        let s = self.stream.to_be_bytes();
        [l[1], l[2], l[3], self.kind, self.flags, s[0], s[1], s[2], s[3]]
    }

    /// Whether `flag` is set.
    #[inline]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { len, kind, flags, stream } = self;
        write!(f, "{} stream={stream} len={len} flags={flags:#04x}", type_name(*kind))?;
        if type_name(*kind) == "unknown" {
            write!(f, " type={kind:#04x}")?;
        }
        Ok(())
    }
}

/// An HTTP/2 error code (RFC 9113 section 7). Unknown codes are kept as they came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u32);

impl Code {
    /// NO_ERROR.
    pub const NO_ERROR: Self = Self(0x0);
    /// PROTOCOL_ERROR.
    pub const PROTOCOL_ERROR: Self = Self(0x1);
    /// INTERNAL_ERROR.
    pub const INTERNAL_ERROR: Self = Self(0x2);
    /// FLOW_CONTROL_ERROR.
    pub const FLOW_CONTROL_ERROR: Self = Self(0x3);
    /// SETTINGS_TIMEOUT.
    pub const SETTINGS_TIMEOUT: Self = Self(0x4);
    /// STREAM_CLOSED.
    pub const STREAM_CLOSED: Self = Self(0x5);
    /// FRAME_SIZE_ERROR.
    pub const FRAME_SIZE_ERROR: Self = Self(0x6);
    /// REFUSED_STREAM.
    pub const REFUSED_STREAM: Self = Self(0x7);
    /// CANCEL.
    pub const CANCEL: Self = Self(0x8);
    /// COMPRESSION_ERROR.
    pub const COMPRESSION_ERROR: Self = Self(0x9);
    /// CONNECT_ERROR.
    pub const CONNECT_ERROR: Self = Self(0xa);
    /// ENHANCE_YOUR_CALM.
    pub const ENHANCE_YOUR_CALM: Self = Self(0xb);
    /// INADEQUATE_SECURITY.
    pub const INADEQUATE_SECURITY: Self = Self(0xc);
    /// HTTP_1_1_REQUIRED.
    pub const HTTP_1_1_REQUIRED: Self = Self(0xd);

    /// The code's name as the RFC spells it, or "unknown".
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 14] = [
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
            "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        ];
        NAMES.get(self.0 as usize).copied().unwrap_or("unknown")
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({:#x})", self.name(), self.0)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if (self.0 as usize) < 14 { f.write_str(self.name()) } else { write!(f, "{:#x}", self.0) }
    }
}

/// Appends a frame header.
#[inline]
pub(super) fn header(out: &mut Vec<u8>, len: u32, kind: u8, flags: u8, stream: u32) {
    out.extend_from_slice(&Header { len, kind, flags, stream }.octets());
}

/// Writes the length of the frame whose header starts at `at` once its payload, which ends `out`,
/// is known.
#[inline]
pub(super) fn patch_len(out: &mut [u8], at: usize) {
    let len = out.len() - at - HEADER;
    set_len(out, at, len);
}

/// Sets the length of the frame that begins at `at`.
pub(super) fn set_len(out: &mut [u8], at: usize, len: usize) {
    debug_assert!(len <= MAX_MAX_FRAME as usize);
    let l = (len as u32).to_be_bytes();
    out[at..at + 3].copy_from_slice(&l[1..]);
}

/// Appends SETTINGS with these (identifier, value) pairs.
pub(super) fn settings(out: &mut Vec<u8>, pairs: &[(u16, u32)]) {
    header(out, pairs.len() as u32 * 6, SETTINGS, 0, 0);
    for (id, value) in pairs {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Appends the acknowledgement of the peer's SETTINGS.
pub(super) fn settings_ack(out: &mut Vec<u8>) {
    header(out, 0, SETTINGS, ACK, 0);
}

/// Appends PING, or its acknowledgement.
pub(super) fn ping(out: &mut Vec<u8>, ack: bool, opaque: [u8; 8]) {
    header(out, 8, PING, u8::from(ack), 0);
    out.extend_from_slice(&opaque);
}

/// Appends GOAWAY; `debug` is free text for a person.
pub(super) fn goaway(out: &mut Vec<u8>, last: u32, code: Code, debug: &[u8]) {
    header(out, 8 + debug.len() as u32, GOAWAY, 0, 0);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&code.0.to_be_bytes());
    out.extend_from_slice(debug);
}

/// Appends RST_STREAM.
pub(super) fn rst_stream(out: &mut Vec<u8>, stream: u32, code: Code) {
    header(out, 4, RST_STREAM, 0, stream);
    out.extend_from_slice(&code.0.to_be_bytes());
}

/// Appends WINDOW_UPDATE; `increment` is 1 to 2^31 - 1, stream 0 is the connection.
pub(super) fn window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    debug_assert!(increment > 0 && increment <= MAX_31);
    header(out, 4, WINDOW_UPDATE, 0, stream);
    out.extend_from_slice(&increment.to_be_bytes());
}

/// Splits a header block that was written as one frame starting at `at` (its header not yet final)
/// into a first frame and CONTINUATIONs of at most `max` octets, and sets END_HEADERS on the last
/// one (RFC 9113 section 4.3).
pub(super) fn finish_block(out: &mut Vec<u8>, at: usize, max: usize) {
    let len = out.len() - at - HEADER;
    if len <= max {
        patch_len(out, at);
        out[at + 4] |= END_HEADERS;
        return;
    }
    split_block(out, at, max);
}

#[cold]
fn split_block(out: &mut Vec<u8>, at: usize, max: usize) {
    let rest = out.split_off(at + HEADER + max);
    patch_len(out, at);
    let mut stream = [0; 4];
    stream.copy_from_slice(&out[at + 5..at + HEADER]);
    let stream = u32::from_be_bytes(stream);
    let mut pieces = rest.chunks(max).peekable();
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        header(out, piece.len() as u32, CONTINUATION, flags, stream);
        out.extend_from_slice(piece);
    }
}

/// A big-endian u32 at `at`; the caller has checked the length.
#[inline]
pub(super) fn u32_at(payload: &[u8], at: usize) -> u32 {
    let mut b = [0; 4];
    b.copy_from_slice(&payload[at..at + 4]);
    u32::from_be_bytes(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn c1_header_round_trip_and_reserved_bit() {
        let mut bytes = Header { len: 0x0001_0203, kind: 7, flags: 0xff, stream: MAX_31 }.octets();
        let back = Header::read(&bytes, 0).unwrap();
        assert_eq!(back, Header { len: 0x0001_0203, kind: 7, flags: 0xff, stream: MAX_31 });
        bytes[5] |= 0x80;
        assert_eq!(Header::read(&bytes, 0).unwrap().stream, MAX_31);
        assert_eq!(Header::read(&bytes, 1), None);
        assert_eq!(Header::read(&bytes, 100), None);
    }

    #[test]
    fn every_writer_makes_one_whole_frame() {
        let mut out = Vec::new();
        settings(&mut out, &[(4, 65_535), (5, 16_384)]);
        settings_ack(&mut out);
        ping(&mut out, true, *b"abcdefgh");
        goaway(&mut out, 5, Code::NO_ERROR, b"bye");
        rst_stream(&mut out, 3, Code::CANCEL);
        window_update(&mut out, 0, 77);
        let mut at = 0;
        let mut seen = Vec::new();
        while at < out.len() {
            let h = Header::read(&out, at).unwrap();
            seen.push((h.kind, h.flags, h.len, h.stream));
            at += HEADER + h.len as usize;
        }
        assert_eq!(at, out.len());
        let want =
            [(4, 0, 12, 0), (4, 1, 0, 0), (6, 1, 8, 0), (7, 0, 11, 0), (3, 0, 4, 3), (8, 0, 4, 0)];
        assert_eq!(seen, want);
    }

    #[test]
    fn long_blocks_become_continuations() {
        for (len, frames) in [(0usize, 1usize), (10, 1), (11, 2), (20, 2), (21, 3), (95, 10)] {
            let mut out = b"before".to_vec();
            header(&mut out, 0, HEADERS, END_STREAM, 9);
            out.extend((0..len).map(|i| i as u8));
            finish_block(&mut out, 6, 10);
            let (mut at, mut n, mut block) = (6, 0, Vec::new());
            while at < out.len() {
                let h = Header::read(&out, at).unwrap();
                let end = at + HEADER + h.len as usize;
                assert_eq!(h.kind, if n == 0 { HEADERS } else { CONTINUATION });
                assert_eq!(h.has(END_HEADERS), end == out.len());
                assert_eq!(h.stream, 9);
                block.extend_from_slice(&out[at + HEADER..end]);
                at = end;
                n += 1;
            }
            assert_eq!((n, block.len()), (frames, len));
            assert!(block.iter().enumerate().all(|(i, b)| *b == i as u8));
        }
    }

    #[test]
    fn names() {
        assert_eq!(Code::ENHANCE_YOUR_CALM.to_string(), "ENHANCE_YOUR_CALM");
        assert_eq!(Code(0x99).to_string(), "0x99");
        let h = Header { len: 1, kind: 0x42, flags: 0, stream: 0 };
        assert_eq!(h.to_string(), "unknown stream=0 len=1 flags=0x00 type=0x42");
        assert_eq!(Header { kind: PING, ..h }.to_string(), "PING stream=0 len=1 flags=0x00");
    }
}
