//! The classifiers on x86_64: SSSE3 by 16 bytes, AVX2 by 32.
//!
//! Only [`sse`] and [`avx2`] carry `#[target_feature]`; everything they run is inlined into them.
//! Membership in a [`Set`] is two byte shuffles, one by the low and one by the high half of each
//! byte, and an AND; a shuffle gives zero for bytes from 0x80 on, which are in no set. A byte `b`
//! is odd when, as signed numbers, b + 1 < 0x21: one addition and one comparison cover the
//! controls, DEL and all of 0x80..=0xff.

use super::{Block, Lines, PAD, Set, Work};
use core::arch::x86_64::*;

/// Runs `work` with SSSE3.
///
/// # Safety
/// The CPU has SSSE3.
#[inline(never)]
#[target_feature(enable = "ssse3")]
pub(super) unsafe fn sse<W: Work>(work: W) -> W::Output {
    work.run(Sse)
}

/// Runs `work` with AVX2.
///
/// # Safety
/// The CPU has AVX2, BMI1, BMI2, LZCNT and POPCNT.
#[inline(never)]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) unsafe fn avx2<W: Work>(work: W) -> W::Output {
    work.run(Avx2)
}

/// Made only by [`sse`], so its instructions are available.
#[derive(Clone, Copy)]
pub(super) struct Sse;

impl Sse {
    /// The 16 bytes at `16 * quarter` of the block, compared by `test` and shifted to their place
    /// in the block's mask.
    #[inline(always)]
    fn each(block: &[u8; PAD], mut test: impl FnMut(__m128i) -> __m128i) -> u64 {
        let block = block.as_ptr();
        let mut bits = 0;
        for quarter in 0..4 {
            // SAFETY: a block is 64 bytes; the instructions are there (see
            // `Sse`).
            unsafe {
                let v = _mm_loadu_si128(block.add(16 * quarter).cast());
                bits |= u64::from(_mm_movemask_epi8(test(v)) as u32) << (16 * quarter);
            }
        }
        bits
    }
}

impl Block for Sse {
    type Name = [__m128i; 2];

    #[inline(always)]
    fn lines(self, block: &[u8; PAD]) -> Lines {
        // SAFETY: the instructions are there (see `Sse`).
        unsafe {
            let (one, bound) = (_mm_set1_epi8(1), _mm_set1_epi8(0x21));
            let odd = Self::each(block, |v| _mm_cmpgt_epi8(bound, _mm_add_epi8(v, one)));
            Lines { lf: self.equal(block, b'\n'), odd }
        }
    }

    #[inline(always)]
    fn outside(self, block: &[u8; PAD], set: &'static Set) -> u64 {
        // SAFETY: a set is 16 bytes; the instructions are there (see `Sse`).
        unsafe {
            let low = _mm_loadu_si128(set.0.as_ptr().cast());
            let high = _mm_loadu_si128(HIGH.as_ptr().cast());
            let nibble = _mm_set1_epi8(0x0f);
            Self::each(block, |v| {
                let row = _mm_shuffle_epi8(high, _mm_and_si128(_mm_srli_epi16::<4>(v), nibble));
                let inside = _mm_and_si128(_mm_shuffle_epi8(low, v), row);
                _mm_cmpeq_epi8(inside, _mm_setzero_si128())
            })
        }
    }

    #[inline(always)]
    fn equal(self, block: &[u8; PAD], byte: u8) -> u64 {
        // SAFETY: the instructions are there (see `Sse`).
        unsafe {
            let byte = _mm_set1_epi8(byte as i8);
            Self::each(block, |v| _mm_cmpeq_epi8(v, byte))
        }
    }

    #[inline(always)]
    fn name(self, near: &[u8; PAD]) -> Self::Name {
        let name = near[4..36].as_ptr();
        // SAFETY: 32 bytes are readable from `name` on; the instructions are there (see `Sse`).
        unsafe { [_mm_loadu_si128(name.cast()), _mm_loadu_si128(name.add(16).cast())] }
    }

    #[inline(always)]
    fn octets(self, name: Self::Name, byte: u8) -> u32 {
        // SAFETY: the instructions are there (see `Sse`).
        unsafe {
            let byte = _mm_set1_epi8(byte as i8);
            let bits = name.map(|v| _mm_movemask_epi8(_mm_cmpeq_epi8(v, byte)) as u32);
            bits[0] | bits[1] << 16
        }
    }

    #[inline(always)]
    fn strange(self, name: Self::Name, set: &'static Set) -> u32 {
        // SAFETY: a set is 16 bytes; the instructions are there (see `Sse`).
        unsafe {
            let low = _mm_loadu_si128(set.0.as_ptr().cast());
            let high = _mm_loadu_si128(HIGH.as_ptr().cast());
            let bits = name.map(|v| {
                let row = _mm_and_si128(_mm_srli_epi16::<4>(v), _mm_set1_epi8(0x0f));
                let row = _mm_shuffle_epi8(high, row);
                let inside = _mm_and_si128(_mm_shuffle_epi8(low, v), row);
                _mm_movemask_epi8(_mm_cmpeq_epi8(inside, _mm_setzero_si128())) as u32
            });
            bits[0] | bits[1] << 16
        }
    }

    #[inline(always)]
    fn differing(self, name: Self::Name, entry: &[u8; 32]) -> u32 {
        // SAFETY: an entry is 32 bytes; the instructions are there (see `Sse`).
        unsafe {
            let case = _mm_set1_epi8(0x20);
            let equal = |v: __m128i, at: usize| {
                let entry = _mm_loadu_si128(entry.as_ptr().add(at).cast());
                _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_or_si128(v, case), entry)) as u32
            };
            !(equal(name[0], 0) | equal(name[1], 16) << 16)
        }
    }
}

/// Made only by [`avx2`], so its instructions are available.
#[derive(Clone, Copy)]
pub(super) struct Avx2;

impl Avx2 {
    /// Both halves of the block, compared by `test`, as one mask.
    #[inline(always)]
    fn each(block: &[u8; PAD], mut test: impl FnMut(__m256i) -> __m256i) -> u64 {
        let block = block.as_ptr();
        // SAFETY: a block is 64 bytes; the instructions are there (see `Avx2`).
        unsafe {
            let low = _mm256_movemask_epi8(test(_mm256_loadu_si256(block.cast()))) as u32;
            let high = _mm256_movemask_epi8(test(_mm256_loadu_si256(block.add(32).cast()))) as u32;
            u64::from(low) | u64::from(high) << 32
        }
    }
}

impl Block for Avx2 {
    type Name = __m256i;

    #[inline(always)]
    fn lines(self, block: &[u8; PAD]) -> Lines {
        // SAFETY: the instructions are there (see `Avx2`).
        unsafe {
            let (one, bound) = (_mm256_set1_epi8(1), _mm256_set1_epi8(0x21));
            let odd = Self::each(block, |v| _mm256_cmpgt_epi8(bound, _mm256_add_epi8(v, one)));
            Lines { lf: self.equal(block, b'\n'), odd }
        }
    }

    #[inline(always)]
    fn outside(self, block: &[u8; PAD], set: &'static Set) -> u64 {
        // SAFETY: a set is 16 bytes; the instructions are there (see `Avx2`).
        unsafe {
            let low = _mm256_broadcastsi128_si256(_mm_loadu_si128(set.0.as_ptr().cast()));
            let high = _mm256_broadcastsi128_si256(_mm_loadu_si128(HIGH.as_ptr().cast()));
            let nibble = _mm256_set1_epi8(0x0f);
            Self::each(block, |v| {
                let row = _mm256_and_si256(_mm256_srli_epi16::<4>(v), nibble);
                let row = _mm256_shuffle_epi8(high, row);
                let inside = _mm256_and_si256(_mm256_shuffle_epi8(low, v), row);
                _mm256_cmpeq_epi8(inside, _mm256_setzero_si256())
            })
        }
    }

    #[inline(always)]
    fn equal(self, block: &[u8; PAD], byte: u8) -> u64 {
        // SAFETY: the instructions are there (see `Avx2`).
        unsafe {
            let byte = _mm256_set1_epi8(byte as i8);
            Self::each(block, |v| _mm256_cmpeq_epi8(v, byte))
        }
    }

    #[inline(always)]
    fn name(self, near: &[u8; PAD]) -> Self::Name {
        // SAFETY: the slice is 32 bytes; the instructions are there (see `Avx2`).
        unsafe { _mm256_loadu_si256(near[4..36].as_ptr().cast()) }
    }

    #[inline(always)]
    fn octets(self, name: Self::Name, byte: u8) -> u32 {
        // SAFETY: the instructions are there (see `Avx2`).
        unsafe {
            _mm256_movemask_epi8(_mm256_cmpeq_epi8(name, _mm256_set1_epi8(byte as i8))) as u32
        }
    }

    #[inline(always)]
    fn strange(self, name: Self::Name, set: &'static Set) -> u32 {
        // SAFETY: a set is 16 bytes; the instructions are there (see `Avx2`).
        unsafe {
            let low = _mm256_broadcastsi128_si256(_mm_loadu_si128(set.0.as_ptr().cast()));
            let high = _mm256_broadcastsi128_si256(_mm_loadu_si128(HIGH.as_ptr().cast()));
            let row = _mm256_and_si256(_mm256_srli_epi16::<4>(name), _mm256_set1_epi8(0x0f));
            let row = _mm256_shuffle_epi8(high, row);
            let inside = _mm256_and_si256(_mm256_shuffle_epi8(low, name), row);
            _mm256_movemask_epi8(_mm256_cmpeq_epi8(inside, _mm256_setzero_si256())) as u32
        }
    }

    #[inline(always)]
    fn differing(self, name: Self::Name, entry: &[u8; 32]) -> u32 {
        // SAFETY: an entry is 32 bytes; the instructions are there (see `Avx2`).
        unsafe {
            let folded = _mm256_or_si256(name, _mm256_set1_epi8(0x20));
            let entry = _mm256_loadu_si256(entry.as_ptr().cast());
            !(_mm256_movemask_epi8(_mm256_cmpeq_epi8(folded, entry)) as u32)
        }
    }
}

/// Bit n for the bytes whose high half is n; none from 8 on.
pub(super) static HIGH: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 0, 0, 0, 0, 0, 0, 0, 0];
