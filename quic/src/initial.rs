//! A CONNECTION_CLOSE in an Initial packet of our own. quiche 0.30 sends nothing if the first
//! Initial of a client fails. Once it has sent its part of the handshake, it closes in a Handshake
//! packet, which a client cannot read before it has received that part. RFC 9000 section 10.2.3 has
//! the server send an Initial as well, whose keys both sides have from the first datagram on (RFC
//! 9001 section 5.2).

use boring::symm::{Cipher, encrypt, encrypt_aead};

use crate::cid::Cid;
use crate::keys::keyed_hash;

/// RFC 9001 section 5.2.
const SALT: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad,
    0xcc, 0xbb, 0x7f, 0x0a,
];

/// Far above quiche's packet numbers, so no number is used twice.
const NUMBER: [u8; 4] = [0, 0x10, 0, 0];

const TAG: usize = 16;

/// Most octets of a reason phrase that are sent.
const REASON_MAX: usize = 64;

/// APPLICATION_ERROR (RFC 9000 section 20.1): replaces an application's error in an Initial.
const APPLICATION_ERROR: u64 = 0x0c;

/// The parameters of a connection's Initial packets.
pub(crate) struct Initial {
    /// The Destination Connection ID of the client's Initial, from which the keys are derived.
    pub(crate) destination: Vec<u8>,
    /// The client's connection ID.
    pub(crate) theirs: Vec<u8>,
    pub(crate) ours: Cid,
}

struct Secrets {
    key: [u8; 16],
    iv: [u8; 12],
    /// The key of header protection.
    mask: [u8; 16],
}

impl Initial {
    /// Writes a packet that closes with `error` to the front of `out`; returns its length, if there
    /// is room. It needs no padding to 1,200 octets, because it is not ack-eliciting.
    pub(crate) fn close(&self, error: &quiche::ConnectionError, out: &mut [u8]) -> Option<usize> {
        let (code, reason) = match error.is_app {
            true => (APPLICATION_ERROR, &b""[..]),
            false => (error.error_code, &error.reason[..error.reason.len().min(REASON_MAX)]),
        };
        let mut frame = vec![0x1c];
        frame.extend_from_slice(&(code & (u64::MAX >> 2) | 0xc << 60).to_be_bytes());
        frame.extend_from_slice(&[0, 0x40, reason.len() as u8]);
        frame.extend_from_slice(reason);
        let packet = self.seal(&frame);
        out.get_mut(..packet.len())?.copy_from_slice(&packet);
        Some(packet.len())
    }

    fn seal(&self, frames: &[u8]) -> Vec<u8> {
        // Long, Initial, a packet number of four octets; version 1.
        let mut packet = vec![0xc3, 0, 0, 0, 1];
        for cid in [&self.theirs[..], &self.ours] {
            packet.push(cid.len() as u8);
            packet.extend_from_slice(cid);
        }
        let len = (NUMBER.len() + frames.len() + TAG) as u16;
        packet.push(0);
        packet.extend_from_slice(&(len | 0x4000).to_be_bytes());
        let number = packet.len();
        packet.extend_from_slice(&NUMBER);
        let Secrets { key, mut iv, mask } = secrets(&self.destination);
        for (octet, number) in iv[8..].iter_mut().zip(NUMBER) {
            *octet ^= number;
        }
        let (cipher, mut tag) = (Cipher::aes_128_gcm(), [0; TAG]);
        let sealed = encrypt_aead(cipher, &key, Some(&iv), &packet, frames, &mut tag);
        let body = packet.len();
        packet.extend(sealed.unwrap_or_else(|error| panic!("AES-128-GCM: {error}")));
        packet.extend_from_slice(&tag);
        let sample = &packet[body..body + 16];
        let mask = encrypt(Cipher::aes_128_ecb(), &mask, None, sample)
            .unwrap_or_else(|error| panic!("AES-128: {error}"));
        packet[0] ^= mask[0] & 0x0f;
        for (octet, mask) in packet[number..body].iter_mut().zip(&mask[1..]) {
            *octet ^= mask;
        }
        packet
    }
}

/// The server's keys for a client whose first destination is `destination`.
fn secrets(destination: &[u8]) -> Secrets {
    let server = expand(&keyed_hash(&SALT, destination), b"server in", 32);
    let (key, iv, mask) = (
        expand(&server, b"quic key", 16),
        expand(&server, b"quic iv", 12),
        expand(&server, b"quic hp", 16),
    );
    let mut secrets = Secrets { key: [0; 16], iv: [0; 12], mask: [0; 16] };
    secrets.key.copy_from_slice(&key[..16]);
    secrets.iv.copy_from_slice(&iv[..12]);
    secrets.mask.copy_from_slice(&mask[..16]);
    secrets
}

/// HKDF-Expand-Label (RFC 8446 section 7.1) of at most one block.
fn expand(secret: &[u8; 32], label: &[u8], len: u8) -> [u8; 32] {
    let name = [b"tls13 ", label].concat();
    keyed_hash(secret, &[&[0, len, name.len() as u8], &name[..], &[0, 1]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9001 appendix A.1.
    #[test]
    fn f2_the_keys_of_the_rfc() {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let Secrets { key, iv, mask } = secrets(&[0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08]);
        assert_eq!(hex(&key), "cf3a5331653c364c88f0f379b6067e37");
        assert_eq!(hex(&iv), "0ac1493ca1905853b0bba03e");
        assert_eq!(hex(&mask), "c206b8d9b9f0f37644430b490eeaa314");
    }

    #[test]
    fn f2_no_room_is_no_packet() {
        let initial = Initial { destination: vec![1; 8], theirs: vec![2; 20], ours: [3; 17] };
        let error =
            quiche::ConnectionError { is_app: false, error_code: 8, reason: vec![b'x'; 99] };
        let mut out = [0; 256];
        let len = initial.close(&error, &mut out).unwrap();
        assert_eq!(initial.close(&error, &mut out[..len]), Some(len));
        assert_eq!(initial.close(&error, &mut out[..len - 1]), None);
    }
}
