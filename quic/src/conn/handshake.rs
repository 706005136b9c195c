//! Violations before the handshake is complete and in packet headers: those that quiche 0.30
//! ignores, or closes for without a packet that the client can read.
//!
//! Some cannot be checked from outside of quiche. It keeps up to ten 0-RTT packets that arrive
//! before the ClientHello is complete, so their reserved bits are not visible. Their frames are
//! checked: CRYPTO in one of them closes as in any other. 0-RTT packets whose keys never come
//! because the ticket was refused, and 1-RTT packets before the client's Finished, are dropped
//! unread. quiche does not report whether a 1-RTT packet of PADDING alone was forged, so reserved
//! bits are checked there only if packets are counted anyway. It also accepts acknowledgements in
//! the very first Initial, when it has sent nothing yet.

use std::time::Instant;

use quiche::{Error, SendInfo};

use super::Conn;
use crate::cid;
use crate::initial::Initial;
use crate::parameters;

/// RFC 9000 section 20.1.
const TRANSPORT_PARAMETER_ERROR: u64 = 0x8;
const PROTOCOL_VIOLATION: u64 = 0xa;

/// The first octet of a packet (RFC 9000 sections 17.2 and 17.3.1).
const LONG: u8 = 0x80;
const FIXED: u8 = 0x40;
const KIND: u8 = 0x30;
const INITIAL: u8 = 0x00;
const HANDSHAKE: u8 = 0x20;
const RESERVED_OF_LONG: u8 = 0x0c;
const RESERVED_OF_SHORT: u8 = 0x18;

/// End of the header protection sample, counted from the packet number's start (RFC 9001 section
/// 5.4.2): four octets, and sixteen.
const SAMPLED: usize = 20;

/// The most octets of our closing Initial.
pub(super) const LAST_ROOM: usize = 150;

/// The authentication tag at the end of every packet (RFC 9001 section 5.3).
const TAG: usize = 16;

/// Whether a packet is not of version 1, so that it is discarded (RFC 9000 sections 17.2 and
/// 17.3.1).
pub(crate) fn is_unfixed(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first & FIXED == 0)
}

/// Whether it is a Handshake packet.
pub(super) fn is_handshake(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first & (LONG | KIND) == LONG | HANDSHAKE)
}

/// Where the first packet of a datagram ends (RFC 9000 section 12.2). The end of the datagram for a
/// short or truncated packet.
pub(super) fn packet_end(datagram: &[u8]) -> usize {
    long(datagram).map_or(datagram.len(), |(_, end)| end)
}

/// Where the packet number of the long packet at the front begins, and where the packet ends.
fn long(datagram: &[u8]) -> Option<(usize, usize)> {
    let mut at = 5;
    let is_initial = match datagram.first()? & (LONG | KIND) {
        kind if kind & LONG == 0 || kind & KIND == KIND => return None,
        kind => kind & KIND == INITIAL,
    };
    for _ in 0..2 {
        at += 1 + usize::from(*datagram.get(at)?);
    }
    if is_initial {
        let token = varint(datagram, &mut at)?;
        at = at.checked_add(token)?;
    }
    let len = varint(datagram, &mut at)?;
    let end = at.checked_add(len).filter(|end| *end <= datagram.len())?;
    Some((at, end))
}

fn varint(input: &[u8], at: &mut usize) -> Option<usize> {
    let first = *input.get(*at)?;
    let bytes = input.get(*at..*at + (1 << (first >> 6)))?;
    *at += bytes.len();
    let rest = bytes[1..].iter();
    let value = rest.fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte));
    usize::try_from(value).ok()
}

/// Whether the first packet of a connection failed because of its content, not because it was
/// truncated or forged.
fn is_judged(packet: &[u8], error: Error) -> bool {
    let is_whole = long(packet).is_some_and(|(number, end)| end - number >= SAMPLED);
    is_whole && error != Error::CryptoFail
}

impl Conn {
    /// Closes for a violation in a packet that quiche has processed. `is_new`, if known: whether it
    /// was authentic and not a repetition.
    pub(super) fn judge(
        &mut self,
        packet: &[u8],
        result: Result<usize, Error>,
        is_new: Option<bool>,
    ) {
        let first = packet[0];
        if first & LONG == 0 {
            if first & RESERVED_OF_SHORT != 0 && is_new.unwrap_or_else(|| self.is_opened(packet)) {
                self.violation(PROTOCOL_VIOLATION, "reserved bits");
            }
            return;
        }
        if first & RESERVED_OF_LONG != 0 && is_new == Some(true) {
            self.violation(PROTOCOL_VIOLATION, "reserved bits");
        }
        if self.initial.is_none() {
            return;
        }
        if let Some(what) = parameters::noted(self.quic.as_mut()) {
            self.violation(TRANSPORT_PARAMETER_ERROR, what);
        }
        let can_read_more = first & KIND == HANDSHAKE && is_new == Some(true);
        let is_noise =
            self.quic.is_closed() && result.is_err_and(|error| !is_judged(packet, error));
        if can_read_more || is_noise {
            self.initial = None;
        }
    }

    /// `Done` means that it is already closed.
    fn violation(&mut self, code: u64, what: &str) {
        let _ = self.quic.close(false, code, what.as_bytes());
    }

    /// Whether a 1-RTT packet was decrypted in place: quiche leaves zeros for a forged one, and the
    /// ciphertext if it has no keys or has not tried.
    fn is_opened(&self, packet: &[u8]) -> bool {
        let number = 1 + cid::LEN;
        let frames = number + 1 + usize::from(packet[0] & 3)..packet.len().saturating_sub(TAG);
        let has_tried = self.is_established() && !self.is_ending();
        let frames = packet.get(frames).filter(|_| packet.len() >= number + SAMPLED);
        has_tried && frames.is_some_and(|frames| frames.iter().any(|octet| *octet != 0))
    }

    /// The first closing datagram, for a client that may be unable to read Handshake packets.
    /// quiche's packet follows ours in the same datagram. If quiche closes in an Initial, ours is
    /// not needed.
    pub(super) fn make_last(
        &mut self,
        initial: &Initial,
        out: &mut [u8],
        now: Instant,
    ) -> Option<(usize, SendInfo)> {
        let error = self.quic.local_error()?;
        let Some(len) = initial.close(error, out) else { return self.quic.send(out).ok() };
        match self.quic.send(&mut out[len..]) {
            Ok((more, info)) if out[len] & (LONG | KIND) == LONG | INITIAL => {
                out.copy_within(len..len + more, 0);
                Some((more, info))
            }
            Ok((more, info)) => Some((len + more, info)),
            Err(_) => {
                // Not to the last datagram's source, which may be spoofed.
                let path = self.quic.path_stats().find(|path| path.active)?;
                Some((len, SendInfo { from: path.local_addr, to: path.peer_addr, at: now }))
            }
        }
    }
}
