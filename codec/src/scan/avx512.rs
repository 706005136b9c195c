//! The classifiers with AVX-512: a block is one register, a comparison gives its mask directly.
//!
//! Separate from `x86` because the intrinsics are stable only since Rust 1.89; `build.rs` leaves
//! this file out for older compilers.

// The crate's minimum version is older than these intrinsics: see above.
#![allow(clippy::incompatible_msrv)]

use super::x86::HIGH;
use super::{Block, Lines, PAD, Set, Work};
use core::arch::x86_64::*;

/// Runs `work` with AVX-512.
///
/// # Safety
/// The CPU has what [`Avx2`](super::x86::avx2) needs and AVX-512 F, BW, VL, VBMI and VBMI2.
#[inline(never)]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2")]
pub(super) unsafe fn avx512<W: Work>(work: W) -> W::Output {
    work.run(Avx512)
}

/// Made only by [`avx512`], so its instructions are available.
#[derive(Clone, Copy)]
pub(super) struct Avx512;

impl Avx512 {
    #[inline(always)]
    fn load(block: &[u8; PAD]) -> __m512i {
        // SAFETY: a block is 64 bytes; the instructions are there (see `Avx512`).
        unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
    }
}

impl Block for Avx512 {
    type Name = __m256i;

    #[inline(always)]
    fn lines(self, block: &[u8; PAD]) -> Lines {
        let v = Self::load(block);
        // SAFETY: the instructions are there (see `Avx512`).
        unsafe {
            let next = _mm512_add_epi8(v, _mm512_set1_epi8(1));
            Lines {
                lf: _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8(b'\n' as i8)),
                odd: _mm512_cmplt_epi8_mask(next, _mm512_set1_epi8(0x21)),
            }
        }
    }

    #[inline(always)]
    fn outside(self, block: &[u8; PAD], set: &'static Set) -> u64 {
        let v = Self::load(block);
        // SAFETY: a set is 16 bytes; the instructions are there (see `Avx512`).
        unsafe {
            let low = _mm512_broadcast_i32x4(_mm_loadu_si128(set.0.as_ptr().cast()));
            let high = _mm512_broadcast_i32x4(_mm_loadu_si128(HIGH.as_ptr().cast()));
            let row = _mm512_and_si512(_mm512_srli_epi16::<4>(v), _mm512_set1_epi8(0x0f));
            let row = _mm512_shuffle_epi8(high, row);
            _mm512_testn_epi8_mask(_mm512_shuffle_epi8(low, v), row)
        }
    }

    #[inline(always)]
    fn equal(self, block: &[u8; PAD], byte: u8) -> u64 {
        let v = Self::load(block);
        // SAFETY: the instructions are there (see `Avx512`).
        unsafe { _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8(byte as i8)) }
    }

    #[inline(always)]
    fn name(self, near: &[u8; PAD]) -> Self::Name {
        // SAFETY: the slice is 32 bytes; the instructions are there (see `Avx512`).
        unsafe { _mm256_loadu_si256(near[4..36].as_ptr().cast()) }
    }

    #[inline(always)]
    fn octets(self, name: Self::Name, byte: u8) -> u32 {
        // SAFETY: the instructions are there (see `Avx512`).
        unsafe { _mm256_cmpeq_epi8_mask(name, _mm256_set1_epi8(byte as i8)) }
    }

    #[inline(always)]
    fn strange(self, name: Self::Name, set: &'static Set) -> u32 {
        // SAFETY: a set is 16 bytes; the instructions are there (see `Avx512`).
        unsafe {
            let low = _mm256_broadcast_i32x4(_mm_loadu_si128(set.0.as_ptr().cast()));
            let high = _mm256_broadcast_i32x4(_mm_loadu_si128(HIGH.as_ptr().cast()));
            let row = _mm256_and_si256(_mm256_srli_epi16::<4>(name), _mm256_set1_epi8(0x0f));
            let row = _mm256_shuffle_epi8(high, row);
            _mm256_testn_epi8_mask(_mm256_shuffle_epi8(low, name), row)
        }
    }

    #[inline(always)]
    fn differing(self, name: Self::Name, entry: &[u8; 32]) -> u32 {
        // SAFETY: an entry is 32 bytes; the instructions are there (see `Avx512`).
        unsafe {
            let folded = _mm256_or_si256(name, _mm256_set1_epi8(0x20));
            _mm256_cmpneq_epi8_mask(folded, _mm256_loadu_si256(entry.as_ptr().cast()))
        }
    }
}
