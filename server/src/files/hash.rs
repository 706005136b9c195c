//! Two hashes by folded multiplication: of a file's content, for its entity tag, and of a path,
//! for the map of files in memory. Neither resists somebody who chooses the input to collide; who
//! writes the files may do as he likes with them, and only paths of existing files enter the map.

use std::hash::Hasher;

// Odd constants with half their bits set: the fractional digits of square roots of primes.
const KEYS: [u64; 4] =
    [0x6a09_e667_f3bc_c909, 0xbb67_ae85_84ca_a73b, 0x3c6e_f372_fe94_f82b, 0xa54f_f53a_5f1d_36f1];

/// The fingerprint of `content`, whole.
pub(crate) fn fingerprint(content: &[u8]) -> u128 {
    let mut print = Fingerprint::default();
    print.update(content);
    print.finish()
}

/// A 128-bit fingerprint: 32 bytes a step in two lanes, each a 64 × 64 → 128 bit multiplication
/// folded by exclusive or. Every file that enters memory passes through here, hence speed; it
/// tells versions of a file apart and is no defence against somebody who writes the files.
pub(crate) struct Fingerprint {
    lanes: [u64; 2],
    /// What is not a whole block yet, and how much of it there is.
    rest: [u8; 32],
    length: u64,
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self { lanes: [KEYS[0], KEYS[1]], rest: [0; 32], length: 0 }
    }
}

impl Fingerprint {
    /// Takes more of the content; in which pieces it comes makes no difference.
    pub(crate) fn update(&mut self, mut content: &[u8]) {
        let held = (self.length % 32) as usize;
        self.length += content.len() as u64;
        if held > 0 {
            let (taken, behind) = content.split_at(content.len().min(32 - held));
            self.rest[held..held + taken.len()].copy_from_slice(taken);
            if held + taken.len() < 32 {
                return;
            }
            let block = self.rest;
            self.step(&block);
            content = behind;
        }
        let (blocks, rest) = content.as_chunks::<32>();
        for block in blocks {
            self.step(block);
        }
        self.rest[..rest.len()].copy_from_slice(rest);
    }

    /// Bytes taken so far.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// The fingerprint of all that was taken.
    pub(crate) fn finish(mut self) -> u128 {
        let mut last = self.rest;
        last[(self.length % 32) as usize..].fill(0);
        self.step(&last);
        let Self { lanes, length, .. } = self;
        // The length tells apart what the padding of the last block made equal. It enters here: at
        // the start it would meet the first block, whose writer could undo it.
        let high = fold(lanes[0] ^ KEYS[1] ^ length, lanes[1] ^ KEYS[2]);
        let low = fold(lanes[0].rotate_left(32) ^ KEYS[3], lanes[1] ^ KEYS[0] ^ length);
        u128::from(high) << 64 | u128::from(low)
    }

    #[inline(always)]
    fn step(&mut self, block: &[u8; 32]) {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&block[at..at + 8]);
            u64::from_le_bytes(word)
        };
        self.lanes = [
            fold(word(0) ^ KEYS[2], word(8) ^ self.lanes[0]),
            fold(word(16) ^ KEYS[3], word(24) ^ self.lanes[1]),
        ];
    }
}

/// Hashes paths eight bytes a step. Unseeded: only paths that name files are ever inserted, so a
/// client cannot choose keys that collide.
#[derive(Debug, Default)]
pub(crate) struct PathHasher(u64);

impl Hasher for PathHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.step(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.step(u64::from_le_bytes(last) ^ (rest.len() as u64) << 56);
    }

    fn write_usize(&mut self, length: usize) {
        self.0 ^= length as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl PathHasher {
    fn step(&mut self, word: u64) {
        // 2⁶⁴ divided by the golden ratio: odd, and without a pattern that paths could share.
        self.0 = fold(self.0 ^ word, 0x9e37_79b9_7f4a_7c15);
    }
}

fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::{BuildHasher, BuildHasherDefault};

    use super::*;

    /// Row F13: a file that is read in pieces has the tag of one that is in memory.
    #[test]
    fn f13_pieces_make_no_difference() {
        let content: Vec<u8> = (0..1000_u32).map(|n| ((n * n) >> 3) as u8).collect();
        for len in [0, 1, 31, 32, 33, 64, 999, 1000] {
            for piece in [1, 7, 31, 32, 33, 100] {
                let mut print = Fingerprint::default();
                content[..len].chunks(piece).for_each(|piece| print.update(piece));
                assert_eq!(print.len(), len as u64);
                assert_eq!(print.finish(), fingerprint(&content[..len]), "{len} by {piece}");
            }
        }
    }

    #[test]
    fn similar_paths_hash_apart() {
        let build = BuildHasherDefault::<PathHasher>::default();
        let mut seen = HashSet::new();
        for length in 0..64 {
            let path = vec![0_u8; length];
            assert!(seen.insert(build.hash_one(&path[..])), "{length} zeros");
        }
        assert!(seen.insert(build.hash_one(&b"static/app.js"[..])));
        let low: HashSet<u64> =
            (0..1000).map(|n| build.hash_one(format!("a/{n}.js").as_bytes()) & 0xffff).collect();
        assert!(low.len() > 900, "{} of 1000 low halves differ", low.len());
    }
}
