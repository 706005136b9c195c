//! Initial packets as a client protects them (RFC 9001 section 5), opened and sealed by hand, so
//! that a ClientHello can be cut as no library would.

use std::collections::BTreeMap;

use ringway_quic::boring::hash::hmac_sha256;
use ringway_quic::boring::symm::{Cipher, decrypt_aead, encrypt, encrypt_aead};

use super::quic::{read_varint, varint};

const SALT: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad,
    0xcc, 0xbb, 0x7f, 0x0a,
];
const TAG: usize = 16;

fn expand(secret: &[u8], label: &str, len: usize) -> Vec<u8> {
    let label = format!("tls13 {label}");
    let info = [&[0, len as u8, label.len() as u8], label.as_bytes(), &[0, 1]].concat();
    hmac_sha256(secret, &info).unwrap()[..len].to_vec()
}

/// The keys of a client's Initial packets, and its connection IDs.
pub struct Initials {
    key: Vec<u8>,
    iv: Vec<u8>,
    header: Vec<u8>,
    dcid: Vec<u8>,
    scid: Vec<u8>,
}

impl Initials {
    /// For a client that sent this datagram first.
    pub fn of(first: &[u8]) -> Self {
        let (dcid, rest) = first[6..].split_at(usize::from(first[5]));
        let scid = &rest[1..=usize::from(rest[0])];
        let secret = expand(&hmac_sha256(&SALT, dcid).unwrap(), "client in", 32);
        Self {
            key: expand(&secret, "quic key", 16),
            iv: expand(&secret, "quic iv", 12),
            header: expand(&secret, "quic hp", 16),
            dcid: dcid.to_vec(),
            scid: scid.to_vec(),
        }
    }

    fn mask(&self, sample: &[u8]) -> Vec<u8> {
        encrypt(Cipher::aes_128_ecb(), &self.header, None, sample).unwrap()
    }

    fn nonce(&self, number: u64) -> Vec<u8> {
        let number = [&[0; 4][..], &number.to_be_bytes()].concat();
        self.iv.iter().zip(number).map(|(iv, number)| iv ^ number).collect()
    }

    /// The frames of an Initial packet at the front of a datagram.
    pub fn open(&self, datagram: &[u8]) -> Vec<u8> {
        let mut packet = datagram.to_vec();
        let mut at = 7 + self.dcid.len() + self.scid.len();
        let (token, used) = read_varint(&packet[at..]).unwrap();
        at += used + token as usize;
        let (len, used) = read_varint(&packet[at..]).unwrap();
        at += used;
        let mask = self.mask(&packet[at + 4..at + 20]);
        packet[0] ^= mask[0] & 0xf;
        let number_len = usize::from(packet[0] & 3) + 1;
        let mut number = 0;
        for n in 0..number_len {
            packet[at + n] ^= mask[1 + n];
            number = number << 8 | u64::from(packet[at + n]);
        }
        let (head, body) = packet[..at + len as usize].split_at(at + number_len);
        let (body, tag) = body.split_at(body.len() - TAG);
        let cipher = Cipher::aes_128_gcm();
        decrypt_aead(cipher, &self.key, Some(&self.nonce(number)), head, body, tag).unwrap()
    }

    /// A datagram of one Initial packet with these frames, padded to `len`.
    pub fn seal(&self, number: u8, frames: &[u8], len: usize) -> Vec<u8> {
        let mut head = vec![0xc0, 0, 0, 0, 1, self.dcid.len() as u8];
        head.extend_from_slice(&self.dcid);
        head.push(self.scid.len() as u8);
        head.extend_from_slice(&self.scid);
        head.push(0);
        let payload = (len - head.len() - 3 - TAG).max(frames.len());
        head.extend_from_slice(&(0x4000 | (1 + payload + TAG) as u16).to_be_bytes());
        head.push(number);
        let mut frames = frames.to_vec();
        frames.resize(payload, 0);
        let mut tag = [0; TAG];
        let nonce = self.nonce(number.into());
        let cipher = Cipher::aes_128_gcm();
        let sealed = encrypt_aead(cipher, &self.key, Some(&nonce), &head, &frames, &mut tag);
        let at = head.len() - 1;
        let mut packet = [head, sealed.unwrap(), tag.to_vec()].concat();
        let mask = self.mask(&packet[at + 4..at + 20]);
        packet[0] ^= mask[0] & 0xf;
        packet[at] ^= mask[1];
        packet
    }

    /// What the CRYPTO frames of these datagrams hold, put together.
    pub fn crypto(&self, datagrams: &[Vec<u8>]) -> Vec<u8> {
        let mut pieces = BTreeMap::new();
        for datagram in datagrams {
            let frames = self.open(datagram);
            let mut rest = &frames[..];
            while let Some((&kind, behind)) = rest.split_first() {
                rest = behind;
                if kind != 6 {
                    assert!(kind < 2, "PADDING and PING are all the others");
                    continue;
                }
                let (at, used) = read_varint(rest).unwrap();
                let (len, more) = read_varint(&rest[used..]).unwrap();
                let content = &rest[used + more..used + more + len as usize];
                pieces.insert(at as usize, content.to_vec());
                rest = &rest[used + more + len as usize..];
            }
        }
        let mut whole = Vec::new();
        for (at, piece) in pieces {
            assert!(at <= whole.len(), "nothing is missing");
            whole.truncate(at);
            whole.extend(piece);
        }
        whole
    }
}

/// A CRYPTO frame of `whole` from `from` to `to`.
pub fn crypto_frame(whole: &[u8], from: usize, to: usize) -> Vec<u8> {
    let content = &whole[from..to.min(whole.len())];
    let head = [vec![6], varint(from as u64), varint(content.len() as u64)].concat();
    [&head[..], content].concat()
}
