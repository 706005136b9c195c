//! The scalar classifier: the definition of correct that every other backend is tested against.

use super::{Block, CONTROL, Lines, Padded, Set, TOKEN};

/// Byte by byte.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

impl Block for Scalar {
    type Control = u64;

    #[inline(always)]
    fn none(self) -> u64 {
        0
    }

    #[inline(always)]
    fn gather(self, a: u64, b: u64) -> u64 {
        a | b
    }

    #[inline(always)]
    fn controls(self, c: u64) -> u64 {
        c
    }

    #[inline(always)]
    fn lines(self, input: Padded<'_>, at: usize) -> Lines<u64> {
        Lines {
            cr: mask(input, at, |b| b == b'\r'),
            lf: mask(input, at, |b| b == b'\n'),
            control: mask(input, at, |b| CONTROL.has(b)),
        }
    }

    #[inline(always)]
    fn outside(self, input: Padded<'_>, at: usize, set: &'static Set) -> u64 {
        mask(input, at, |b| !set.has(b))
    }

    #[inline(always)]
    fn equal(self, input: Padded<'_>, at: usize, byte: u8) -> u64 {
        mask(input, at, |b| b == byte)
    }

    #[inline(always)]
    fn not_token(self, input: Padded<'_>, at: usize) -> u32 {
        mask(input, at, |b| !TOKEN.has(b)) as u32
    }
}

#[inline(always)]
fn mask(input: Padded<'_>, at: usize, test: impl Fn(u8) -> bool) -> u64 {
    assert!(at <= input.len);
    let block = &input.whole[at..at + 64];
    block.iter().enumerate().fold(0, |bits, (n, &b)| bits | u64::from(test(b)) << n)
}
