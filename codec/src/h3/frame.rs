//! Frames, settings and stream types, made of variable-length integers (RFC 9000 section 16). RFC
//! 9114 section 7. The rules for where a frame may appear are in `conn`.

use super::{Code, Error};
use alloc::vec::Vec;

/// The types of frames (RFC 9114 section 11.2.1, RFC 9218 section 7.2).
pub mod kind {
    /// Content.
    pub const DATA: u64 = 0x00;
    /// A field section.
    pub const HEADERS: u64 = 0x01;
    /// Cancels a push.
    pub const CANCEL_PUSH: u64 = 0x03;
    /// Settings: the first frame, sent once.
    pub const SETTINGS: u64 = 0x04;
    /// A promise of a response.
    pub const PUSH_PROMISE: u64 = 0x05;
    /// The request or push from which on nothing is served.
    pub const GOAWAY: u64 = 0x07;
    /// The largest push ID that the client allows.
    pub const MAX_PUSH_ID: u64 = 0x0d;
    /// A request's new priority.
    pub const PRIORITY_UPDATE_REQUEST: u64 = 0x0f_0700;
    /// A push's new priority.
    pub const PRIORITY_UPDATE_PUSH: u64 = 0x0f_0701;
    /// HTTP/2's PRIORITY, PING, WINDOW_UPDATE and CONTINUATION (RFC 9114 section 7.2.8).
    pub const RESERVED: [u64; 4] = [0x02, 0x06, 0x08, 0x09];
}

/// The types of unidirectional streams (RFC 9114 section 6.2, RFC 9204 section 4.2).
pub mod stream {
    /// Control.
    pub const CONTROL: u64 = 0x00;
    /// A push.
    pub const PUSH: u64 = 0x01;
    /// QPACK instructions of the sender's encoder.
    pub const ENCODER: u64 = 0x02;
    /// QPACK acknowledgements of the sender's decoder.
    pub const DECODER: u64 = 0x03;
}

/// The identifiers of settings (RFC 9114 section 7.2.4.1, RFC 9204 section 5, RFC 9220 section 3,
/// RFC 9297 section 2.1.1).
pub mod setting {
    /// The largest dynamic table of the peer's encoder.
    pub const QPACK_MAX_TABLE_CAPACITY: u64 = 0x01;
    /// The largest field section that is accepted.
    pub const MAX_FIELD_SECTION_SIZE: u64 = 0x06;
    /// Streams that may be blocked.
    pub const QPACK_BLOCKED_STREAMS: u64 = 0x07;
    /// Extended CONNECT.
    pub const ENABLE_CONNECT_PROTOCOL: u64 = 0x08;
    /// HTTP datagrams.
    pub const H3_DATAGRAM: u64 = 0x33;
    /// HTTP/2 settings that must not be sent.
    pub const RESERVED: [u64; 4] = [0x02, 0x03, 0x04, 0x05];
}

/// A value from the range reserved for exercising tolerance (RFC 9114 section 7.2.8): `0x1f * n +
/// 0x21`.
pub const fn grease(n: u32) -> u64 {
    0x1f * n as u64 + 0x21
}

/// The integer at the front of `input`, and its length; `None` if it is incomplete.
#[inline]
pub fn read_varint(input: &[u8]) -> Option<(u64, usize)> {
    let first = *input.first()?;
    let len = 1 << (first >> 6);
    let bytes = input.get(..len)?;
    let value = bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    Some((value & (u64::MAX >> (66 - 8 * len)), len))
}

/// Appends `value`, less than 2^62, in its shortest encoding.
#[inline]
pub fn write_varint(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=0x3f => out.push(value as u8),
        0x40..=0x3fff => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        0x4000..=0x3fff_ffff => {
            out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes());
        }
        _ => {
            assert!(value < 1 << 62, "a variable-length integer has 62 bits");
            out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes());
        }
    }
}

/// Appends a frame's head.
#[inline]
pub fn write_head(out: &mut Vec<u8>, kind: u64, len: u64) {
    write_varint(out, kind);
    write_varint(out, len);
}

/// Collects up to two integers that arrive in pieces: a stream's type, a frame's head, a frame of
/// one integer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Integers {
    bytes: [u8; 16],
    have: u8,
}

impl Integers {
    /// One integer, moving `at` past the consumed input.
    pub(super) fn one(&mut self, input: &[u8], at: &mut usize) -> Option<u64> {
        loop {
            if let Some((value, _)) = read_varint(self.held()) {
                self.have = 0;
                return Some(value);
            }
            self.take(input, at)?;
        }
    }

    /// A frame's type and length.
    #[inline]
    pub(super) fn two(&mut self, input: &[u8], at: &mut usize) -> Option<(u64, u64)> {
        if self.have == 0 {
            // The usual case: in one piece.
            let rest = &input[*at..];
            if let Some((kind, used)) = read_varint(rest)
                && let Some((len, more)) = read_varint(&rest[used..])
            {
                *at += used + more;
                return Some((kind, len));
            }
        }
        loop {
            if let Some((kind, used)) = read_varint(self.held())
                && let Some((len, _)) = read_varint(&self.held()[used..])
            {
                self.have = 0;
                return Some((kind, len));
            }
            self.take(input, at)?;
        }
    }

    /// Whether an integer has begun and not ended.
    pub(super) fn is_partial(&self) -> bool {
        self.have != 0
    }

    fn held(&self) -> &[u8] {
        &self.bytes[..usize::from(self.have)]
    }

    fn take(&mut self, input: &[u8], at: &mut usize) -> Option<()> {
        self.bytes[usize::from(self.have)] = *input.get(*at)?;
        self.have += 1;
        *at += 1;
        Some(())
    }
}

/// The settings of a peer that a server uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Size of the dynamic table that its decoder keeps for us, in octets.
    pub qpack_capacity: u64,
    /// Our streams that may be blocked.
    pub qpack_blocked: u64,
    /// The largest field section that it accepts.
    pub field_section: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { qpack_capacity: 0, qpack_blocked: 0, field_section: u64::MAX }
    }
}

impl Settings {
    /// Reads the payload of a SETTINGS frame, which the caller has bounded.
    pub(super) fn parse(mut input: &[u8]) -> Result<Self, Error> {
        let mut settings = Self::default();
        let mut seen = Vec::new();
        while !input.is_empty() {
            let (id, used) = read_varint(input).ok_or(CUT)?;
            let (value, more) = read_varint(&input[used..]).ok_or(CUT)?;
            input = &input[used + more..];
            if setting::RESERVED.contains(&id) {
                return Err(Error::new(Code::Settings, "a setting of HTTP/2"));
            }
            if seen.contains(&id) {
                return Err(Error::new(Code::Settings, "a repeated setting"));
            }
            seen.push(id);
            match id {
                setting::QPACK_MAX_TABLE_CAPACITY => settings.qpack_capacity = value,
                setting::QPACK_BLOCKED_STREAMS => settings.qpack_blocked = value,
                setting::MAX_FIELD_SECTION_SIZE => settings.field_section = value,
                setting::ENABLE_CONNECT_PROTOCOL | setting::H3_DATAGRAM if value > 1 => {
                    return Err(Error::new(
                        Code::Settings,
                        "a boolean setting that is neither 0 nor 1",
                    ));
                }
                _ => {}
            }
        }
        Ok(settings)
    }
}

const CUT: Error = Error::new(Code::Frame, "a SETTINGS frame that ends within a setting");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_9000_appendix_a1() {
        let table: [(&[u8], u64); 5] = [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ];
        for (bytes, value) in table {
            assert_eq!(read_varint(bytes), Some((value, bytes.len())));
            for cut in 0..bytes.len() {
                assert_eq!(read_varint(&bytes[..cut]), None);
            }
        }
    }

    #[test]
    fn every_length_comes_back_at_its_edges() {
        for edge in [0, 1 << 6, 1 << 14, 1 << 30, (1 << 62) - 1] {
            for value in [u64::saturating_sub(edge, 1), edge] {
                let mut out = Vec::new();
                write_varint(&mut out, value);
                assert_eq!(read_varint(&out), Some((value, out.len())));
            }
        }
    }

    #[test]
    fn heads_come_in_any_pieces() {
        let mut bytes = Vec::new();
        write_head(&mut bytes, kind::PRIORITY_UPDATE_REQUEST, 1 << 40);
        write_head(&mut bytes, kind::DATA, 5);
        for cut in 0..bytes.len() {
            let (mut integers, mut heads) = (Integers::default(), Vec::new());
            for piece in [&bytes[..cut], &bytes[cut..]] {
                let mut at = 0;
                while let Some(head) = integers.two(piece, &mut at) {
                    heads.push(head);
                }
                assert_eq!(at, piece.len());
            }
            assert_eq!(heads, [(kind::PRIORITY_UPDATE_REQUEST, 1 << 40), (kind::DATA, 5)]);
            assert!(!integers.is_partial());
        }
    }

    #[test]
    fn settings_rules() {
        let parse = |pairs: &[(u64, u64)]| {
            let mut bytes = Vec::new();
            for (id, value) in pairs {
                write_head(&mut bytes, *id, *value);
            }
            Settings::parse(&bytes)
        };
        let some = parse(&[(1, 4096), (7, 16), (6, 9), (grease(3), 1), (8, 1)]).unwrap();
        let want = Settings { qpack_capacity: 4096, qpack_blocked: 16, field_section: 9 };
        assert_eq!(some, want);
        for id in setting::RESERVED {
            assert_eq!(parse(&[(id, 0)]).unwrap_err().code, Code::Settings);
        }
        assert_eq!(parse(&[(grease(0), 1), (grease(0), 1)]).unwrap_err().code, Code::Settings);
        assert_eq!(parse(&[(8, 2)]).unwrap_err().code, Code::Settings);
        assert_eq!(Settings::parse(&[6]).unwrap_err().code, Code::Frame);
        assert_eq!(Settings::parse(&[6, 0x40]).unwrap_err().code, Code::Frame);
    }
}
