//! The classifiers on aarch64: Advanced SIMD, four vectors of 16 bytes to a block.
//!
//! There is no movemask here: each byte of a comparison keeps one bit of its own, and three rounds
//! of pairwise addition combine the 64 bits. Table look-up gives zero for an index from 16 on, so
//! only the low half's index needs masking.

use super::{Block, Lines, PAD, Set};
use core::arch::aarch64::*;

/// Advanced SIMD is part of every aarch64 target that this crate builds for.
#[derive(Clone, Copy)]
pub(super) struct Neon;

impl Neon {
    /// The four quarters of a block.
    #[inline(always)]
    fn load(block: &[u8; PAD]) -> [uint8x16_t; 4] {
        let block = block.as_ptr();
        // SAFETY: 64 bytes are readable from `block` on.
        unsafe {
            [
                vld1q_u8(block),
                vld1q_u8(block.add(16)),
                vld1q_u8(block.add(32)),
                vld1q_u8(block.add(48)),
            ]
        }
    }

    /// One bit for each byte that is 0xff; the bytes are 0 or 0xff.
    #[inline(always)]
    fn mask(v: [uint8x16_t; 4]) -> u64 {
        // SAFETY: the instructions are there (see `Neon`); `BITS` is 16 bytes.
        unsafe {
            let bits = vld1q_u8(BITS.as_ptr());
            let low = vpaddq_u8(vandq_u8(v[0], bits), vandq_u8(v[1], bits));
            let high = vpaddq_u8(vandq_u8(v[2], bits), vandq_u8(v[3], bits));
            let all = vpaddq_u8(low, high);
            vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(all, all)))
        }
    }

    /// As `mask`, for 32 bytes.
    #[inline(always)]
    fn mask32(v: [uint8x16_t; 2]) -> u32 {
        // SAFETY: the instructions are there (see `Neon`); `BITS` is 16 bytes.
        unsafe {
            let bits = vld1q_u8(BITS.as_ptr());
            let all = vpaddq_u8(vandq_u8(v[0], bits), vandq_u8(v[1], bits));
            let all = vpaddq_u8(all, all);
            vgetq_lane_u32::<0>(vreinterpretq_u32_u8(vpaddq_u8(all, all)))
        }
    }
}

impl Block for Neon {
    type Name = [uint8x16_t; 2];

    #[inline(always)]
    fn lines(self, block: &[u8; PAD]) -> Lines {
        let block = Self::load(block);
        // SAFETY: the instructions are there (see `Neon`).
        unsafe {
            let lf = block.map(|v| vceqq_u8(v, vdupq_n_u8(b'\n')));
            // Unsigned: b - 0x20 is below 0x5f for exactly 0x20..=0x7e.
            let odd = block.map(|v| vcgeq_u8(vsubq_u8(v, vdupq_n_u8(0x20)), vdupq_n_u8(0x5f)));
            Lines { lf: Self::mask(lf), odd: Self::mask(odd) }
        }
    }

    #[inline(always)]
    fn outside(self, block: &[u8; PAD], set: &'static Set) -> u64 {
        let block = Self::load(block);
        // SAFETY: the tables are 16 bytes each; the instructions are there (see `Neon`).
        unsafe {
            let low = vld1q_u8(set.0.as_ptr());
            let high = vld1q_u8(HIGH.as_ptr());
            Self::mask(block.map(|v| {
                let column = vqtbl1q_u8(low, vandq_u8(v, vdupq_n_u8(0x0f)));
                let row = vqtbl1q_u8(high, vshrq_n_u8::<4>(v));
                vceqzq_u8(vandq_u8(column, row))
            }))
        }
    }

    #[inline(always)]
    fn equal(self, block: &[u8; PAD], byte: u8) -> u64 {
        let block = Self::load(block);
        // SAFETY: the instructions are there (see `Neon`).
        unsafe { Self::mask(block.map(|v| vceqq_u8(v, vdupq_n_u8(byte)))) }
    }

    #[inline(always)]
    fn name(self, near: &[u8; PAD]) -> Self::Name {
        let name = near[4..36].as_ptr();
        // SAFETY: 32 bytes are readable from `name` on.
        unsafe { [vld1q_u8(name), vld1q_u8(name.add(16))] }
    }

    #[inline(always)]
    fn octets(self, name: Self::Name, byte: u8) -> u32 {
        // SAFETY: the instructions are there (see `Neon`).
        unsafe { Self::mask32(name.map(|v| vceqq_u8(v, vdupq_n_u8(byte)))) }
    }

    #[inline(always)]
    fn strange(self, name: Self::Name, set: &'static Set) -> u32 {
        // SAFETY: the tables are 16 bytes each; the instructions are there (see `Neon`).
        unsafe {
            let low = vld1q_u8(set.0.as_ptr());
            let high = vld1q_u8(HIGH.as_ptr());
            Self::mask32(name.map(|v| {
                let column = vqtbl1q_u8(low, vandq_u8(v, vdupq_n_u8(0x0f)));
                let row = vqtbl1q_u8(high, vshrq_n_u8::<4>(v));
                vceqzq_u8(vandq_u8(column, row))
            }))
        }
    }

    #[inline(always)]
    fn differing(self, name: Self::Name, entry: &[u8; 32]) -> u32 {
        // SAFETY: an entry is 32 bytes; the instructions are there (see `Neon`).
        unsafe {
            let case = vdupq_n_u8(0x20);
            let equal =
                |v, at: usize| vceqq_u8(vorrq_u8(v, case), vld1q_u8(entry.as_ptr().add(at)));
            !Self::mask32([equal(name[0], 0), equal(name[1], 16)])
        }
    }
}

/// Bit n for the bytes whose high half is n; none from 8 on.
static HIGH: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 0, 0, 0, 0, 0, 0, 0, 0];
/// The bit that each byte of a comparison keeps.
static BITS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
