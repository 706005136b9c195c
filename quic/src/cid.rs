//! Connection IDs that encode the worker and process of a connection, readable only by us. To an
//! observer they are random, and two IDs of one connection cannot be linked (RFC 9000 sections 5.1
//! and 9.5). Connections are looked up in the endpoint's table, not here.
//!
//! ```text
//! byte  0      1..17
//!       steer  AES-128( zero 4 | generation 2 | worker 1 | random 9 )
//! ```
//!
//! The four zero bytes distinguish our IDs from noise with an error of 2^-32. The steering byte
//! repeats the worker under a mask that a classic BPF program on the socket group can undo (in four
//! instructions; it cannot compute AES): it is `worker ^ high_byte(first four block bytes *
//! steering key)`. An attacker who finds the steering key learns only the worker of a connection, a
//! few bits that many connections share.

use boring::symm::{Cipher, Crypter, Mode};

use crate::keys::{Keys, random};

/// Bytes of a connection ID of ours.
pub const LEN: usize = 17;

const BLOCK: usize = 16;

/// A connection ID of ours, as on the wire.
pub type Cid = [u8; LEN];

/// The origin of a connection ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Index of the worker within its process.
    pub worker: u8,
    /// Number of the process. A replacement has its own, so it recognises its predecessor's
    /// connections.
    pub generation: u16,
}

/// Makes and reads connection IDs.
pub struct Cids {
    seal: Crypter,
    open: Crypter,
    steering: u32,
}

impl Cids {
    /// A maker of IDs under `keys`.
    pub fn new(keys: &Keys) -> Self {
        let cipher = |mode| match Crypter::new(Cipher::aes_128_ecb(), mode, &keys.cid, None) {
            Ok(mut crypter) => {
                crypter.pad(false);
                crypter
            }
            Err(error) => panic!("AES-128 with a 16-byte key: {error}"),
        };
        Self { seal: cipher(Mode::Encrypt), open: cipher(Mode::Decrypt), steering: keys.steering }
    }

    /// A fresh ID that names `origin`.
    pub fn mint(&mut self, origin: Origin) -> Cid {
        let mut plain = [0; BLOCK];
        plain[4..6].copy_from_slice(&origin.generation.to_be_bytes());
        plain[6] = origin.worker;
        random(&mut plain[7..]);
        let block = one_block(&mut self.seal, &plain);
        let mut cid = [0; LEN];
        cid[0] = origin.worker ^ mask(&block, self.steering);
        cid[1..].copy_from_slice(&block);
        cid
    }

    /// The origin of `cid`; `None` if it was not made under our key.
    pub fn decode(&mut self, cid: &[u8]) -> Option<Origin> {
        let cid: &Cid = cid.try_into().ok()?;
        let mut block = [0; BLOCK];
        block.copy_from_slice(&cid[1..]);
        let plain = one_block(&mut self.open, &block);
        let worker = plain[6];
        if plain[..4] != [0; 4] || cid[0] != worker ^ mask(&block, self.steering) {
            return None;
        }
        Some(Origin { worker, generation: u16::from_be_bytes([plain[4], plain[5]]) })
    }

    /// The steering key, for a kernel filter that reads the worker from the steering byte.
    pub fn steering(&self) -> u32 {
        self.steering
    }
}

fn mask(block: &[u8; BLOCK], steering: u32) -> u8 {
    let head = u32::from_be_bytes([block[0], block[1], block[2], block[3]]);
    (head.wrapping_mul(steering) >> 24) as u8
}

/// ECB keeps no state between blocks, so one cipher context serves all of them. It requires a spare
/// block of output space.
fn one_block(crypter: &mut Crypter, block: &[u8; BLOCK]) -> [u8; BLOCK] {
    let mut room = [0; 2 * BLOCK];
    let written = crypter.update(block, &mut room);
    assert!(matches!(written, Ok(BLOCK)), "AES gives a block for a block");
    let mut result = [0; BLOCK];
    result.copy_from_slice(&room[..BLOCK]);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cids(master: u8) -> Cids {
        Cids::new(&Keys::derive(&[master; 32]))
    }

    #[test]
    fn every_worker_and_generation_comes_back() {
        let (mut here, mut there) = (cids(1), cids(1));
        for worker in 0..=255 {
            for generation in [0, 1, 0x1234, u16::MAX] {
                let origin = Origin { worker, generation };
                assert_eq!(there.decode(&here.mint(origin)), Some(origin));
            }
        }
    }

    #[test]
    fn foreign_truncated_and_altered_ids_have_no_origin() {
        let mut ours = cids(1);
        let cid = ours.mint(Origin { worker: 3, generation: 9 });
        assert_eq!(cids(2).decode(&cid), None);
        assert_eq!(ours.decode(&cid[..16]), None);
        assert_eq!(ours.decode(&[]), None);
        for at in 0..LEN {
            let mut altered = cid;
            altered[at] ^= 0x40;
            assert_eq!(ours.decode(&altered), None, "byte {at}");
        }
    }

    /// Unlinkable: in the IDs of one worker, no byte is constant or even limited to few values.
    #[test]
    fn the_worker_does_not_show() {
        let mut ours = cids(1);
        let mut seen = [[false; 256]; LEN];
        for _ in 0..4096 {
            let cid = ours.mint(Origin { worker: 7, generation: 1 });
            for (at, byte) in cid.iter().enumerate() {
                seen[at][usize::from(*byte)] = true;
            }
        }
        for (at, values) in seen.iter().enumerate() {
            let count = values.iter().filter(|seen| **seen).count();
            assert!(count > 240, "byte {at} took only {count} values");
        }
    }

    /// The kernel filter's computation gives the worker.
    #[test]
    fn the_steering_byte_unmasks() {
        let mut ours = cids(5);
        let key = ours.steering();
        for worker in [0u8, 1, 7, 63, 255] {
            let cid = ours.mint(Origin { worker, generation: 2 });
            let head = u32::from_be_bytes([cid[1], cid[2], cid[3], cid[4]]);
            assert_eq!(cid[0] ^ (head.wrapping_mul(key) >> 24) as u8, worker);
        }
    }
}
