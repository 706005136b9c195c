//! Two hashes by folded multiplication: of a file's content, for its entity tag, and of a path,
//! for the map of files in memory. Neither resists somebody who chooses the input to collide; who
//! writes the files may do as he likes with them, and only paths of existing files enter the map.

use std::hash::Hasher;

/// A 128-bit fingerprint: 32 bytes a step in two lanes, each a 64 × 64 → 128 bit multiplication
/// folded by exclusive or. Every file that enters memory passes through here, hence speed; it
/// tells versions of a file apart and is no defence against somebody who writes the files.
pub(crate) fn fingerprint(content: &[u8]) -> u128 {
    // Odd constants with half their bits set: the fractional digits of square roots of primes.
    const KEYS: [u64; 4] = [
        0x6a09_e667_f3bc_c909,
        0xbb67_ae85_84ca_a73b,
        0x3c6e_f372_fe94_f82b,
        0xa54f_f53a_5f1d_36f1,
    ];
    let mut lanes = [KEYS[0], KEYS[1]];
    let mut step = |block: &[u8; 32]| {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&block[at..at + 8]);
            u64::from_le_bytes(word)
        };
        lanes = [
            fold(word(0) ^ KEYS[2], word(8) ^ lanes[0]),
            fold(word(16) ^ KEYS[3], word(24) ^ lanes[1]),
        ];
    };
    let (blocks, rest) = content.as_chunks::<32>();
    for block in blocks {
        step(block);
    }
    let mut last = [0; 32];
    last[..rest.len()].copy_from_slice(rest);
    step(&last);
    // The length tells apart what the padding of the last block made equal. It enters here: at
    // the start it would meet the first block, whose writer could undo it.
    let length = content.len() as u64;
    let high = fold(lanes[0] ^ KEYS[1] ^ length, lanes[1] ^ KEYS[2]);
    let low = fold(lanes[0].rotate_left(32) ^ KEYS[3], lanes[1] ^ KEYS[0] ^ length);
    u128::from(high) << 64 | u128::from(low)
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
