//! The scalar classifier: the reference that every other backend is tested against.

use super::{Block, Lines, PAD, Set, Work};

/// Runs `work`. Not inlined, so that [`super::dispatch`] is only a jump.
#[inline(never)]
pub(super) fn scalar<W: Work>(work: W) -> W::Output {
    work.run(Scalar)
}

/// Byte by byte.
#[derive(Clone, Copy)]
pub(super) struct Scalar;

impl Block for Scalar {
    type Name = [u8; 32];

    #[inline(always)]
    fn lines(self, block: &[u8; PAD]) -> Lines {
        Lines { lf: mask(block, |b| b == b'\n'), odd: mask(block, |b| !(0x20..0x7f).contains(&b)) }
    }

    #[inline(always)]
    fn outside(self, block: &[u8; PAD], set: &'static Set) -> u64 {
        mask(block, |b| !set.has(b))
    }

    #[inline(always)]
    fn equal(self, block: &[u8; PAD], byte: u8) -> u64 {
        mask(block, |b| b == byte)
    }

    #[inline(always)]
    fn name(self, near: &[u8; PAD]) -> [u8; 32] {
        let mut name = [0; 32];
        name.copy_from_slice(&near[4..36]);
        name
    }

    #[inline(always)]
    fn octets(self, name: [u8; 32], byte: u8) -> u32 {
        mask(&name, |b| b == byte) as u32
    }

    #[inline(always)]
    fn strange(self, name: [u8; 32], set: &'static Set) -> u32 {
        mask(&name, |b| !set.has(b)) as u32
    }

    #[inline(always)]
    fn differing(self, name: [u8; 32], entry: &[u8; 32]) -> u32 {
        let pairs = name.iter().zip(entry).enumerate();
        pairs.fold(0, |bits, (n, (a, b))| bits | u32::from(a | 0x20 != *b) << n)
    }
}

#[inline(always)]
fn mask(bytes: &[u8], test: impl Fn(u8) -> bool) -> u64 {
    bytes.iter().enumerate().fold(0, |bits, (n, &b)| bits | u64::from(test(b)) << n)
}
