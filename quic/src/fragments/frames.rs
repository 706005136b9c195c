//! The frames of packets that quiche has decrypted in place. Only those that [`super`] counts are
//! returned.

use crate::cid;

/// The authentication tag at the end of every packet (RFC 9001 section 5.3).
const TAG: usize = 16;

/// The kinds of packets that quiche had keys for, so the datagram holds their plaintext (or zeros
/// for a forged packet). It has those of the handshake, unless it ignores such packets.
#[derive(Clone, Copy)]
pub(crate) struct KnownKeys {
    /// 0-RTT packets.
    pub(crate) early: bool,
    /// 1-RTT packets.
    pub(crate) established: bool,
}

/// The frames of the first packet with available keys (RFC 9000 section 17).
pub(super) fn next_packet<'a>(rest: &mut &'a [u8], keys: KnownKeys) -> Option<&'a [u8]> {
    loop {
        let packet = *rest;
        let first = *packet.first()?;
        let number = usize::from(first & 3) + 1;
        if first & 0x80 == 0 {
            *rest = &[];
            let end = packet.len().checked_sub(TAG)?;
            return packet.get(1 + cid::LEN + number..end).filter(|_| keys.established);
        }
        let mut reader = Reader(packet.get(5..)?);
        let kind = first >> 4 & 3;
        for _ in 0..2 {
            let len = u64::from(reader.octet()?);
            reader.skip(len)?;
        }
        let is_known = match kind {
            0 => {
                let token = reader.varint()?;
                reader.skip(token)?;
                true
            }
            1 => keys.early,
            2 => true,
            _ => return None,
        };
        let len = usize::try_from(reader.varint()?).ok()?;
        let body = reader.0.get(..len)?;
        *rest = &reader.0[len..];
        let end = len.checked_sub(TAG)?;
        if let Some(payload) = body.get(number..end).filter(|_| is_known) {
            return Some(payload);
        }
    }
}

/// A counted frame.
pub(super) enum Frame {
    Crypto,
    Stop {
        id: u64,
    },
    /// `is_held`: it is not empty, and not all of its stream.
    Stream {
        id: u64,
        at: u64,
        len: u64,
        is_held: bool,
    },
    /// STREAM_DATA_BLOCKED.
    Blocked {
        id: u64,
    },
    /// Another frame that opens a stream.
    About {
        id: u64,
    },
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    /// The next counted frame. quiche has already read them all: at an unknown one it has closed
    /// the connection (RFC 9000 section 19).
    pub(super) fn next_frame(&mut self) -> Option<Frame> {
        loop {
            let kind = self.octet()?;
            match kind {
                // PADDING, PING, HANDSHAKE_DONE.
                0x00 | 0x01 | 0x1e => {}
                0x02 | 0x03 => self.acknowledgement(kind == 0x03)?,
                0x06 => {
                    self.varints(1)?;
                    let len = self.varint()?;
                    self.skip(len)?;
                    return Some(Frame::Crypto);
                }
                0x08..=0x0f => return self.stream(kind),
                // MAX_DATA, MAX_STREAMS, DATA_BLOCKED, STREAMS_BLOCKED, RETIRE_CONNECTION_ID.
                0x10 | 0x12..=0x14 | 0x16 | 0x17 | 0x19 => self.varints(1)?,
                0x05 => {
                    let id = self.varint()?;
                    self.varints(1)?;
                    return Some(Frame::Stop { id });
                }
                0x15 => {
                    let id = self.varint()?;
                    self.varints(1)?;
                    return Some(Frame::Blocked { id });
                }
                // RESET_STREAM, MAX_STREAM_DATA.
                0x04 | 0x11 => {
                    let id = self.varint()?;
                    self.varints(if kind == 0x04 { 2 } else { 1 })?;
                    return Some(Frame::About { id });
                }
                // NEW_CONNECTION_ID.
                0x18 => {
                    self.varints(2)?;
                    let len = u64::from(self.octet()?);
                    self.skip(len + 16)?;
                }
                // PATH_CHALLENGE, PATH_RESPONSE.
                0x1a | 0x1b => self.skip(8)?,
                _ => return None,
            }
        }
    }

    fn acknowledgement(&mut self, has_ecn: bool) -> Option<()> {
        self.varints(2)?;
        let ranges = self.varint()?;
        self.varints(1)?;
        for _ in 0..ranges {
            self.varints(2)?;
        }
        if has_ecn { self.varints(3) } else { Some(()) }
    }

    fn stream(&mut self, kind: u8) -> Option<Frame> {
        let id = self.varint()?;
        let at = if kind & 4 == 0 { 0 } else { self.varint()? };
        let len = if kind & 2 == 0 { self.0.len() as u64 } else { self.varint()? };
        self.skip(len)?;
        let is_whole = at == 0 && kind & 1 == 1;
        Some(Frame::Stream { id, at, len, is_held: len > 0 && !is_whole })
    }

    fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        let first = *self.0.first()?;
        let len = 1 << (first >> 6);
        let bytes = self.0.get(..len)?;
        self.0 = &self.0[len..];
        let rest = bytes[1..].iter();
        Some(rest.fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte)))
    }

    fn varints(&mut self, count: usize) -> Option<()> {
        for _ in 0..count {
            self.varint()?;
        }
        Some(())
    }

    fn skip(&mut self, len: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(len).ok()?..)?;
        Some(())
    }
}
