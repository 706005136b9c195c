//! Encoding with AVX-512 VBMI: the codes of 32 octets are looked up at once, then joined into
//! pairs, fours and eights by per-lane shifts, so a scalar step appends eight octets' bits.
//!
//! Shifts are written as rotations: nothing is shifted out, and the shift intrinsics each add a
//! comparison for counts that do not occur.

use core::arch::x86_64::*;

use super::code::{CANONICAL, LENGTHS};
use super::encode::{Sink, push_rest};

/// Octets looked up at once.
const CHUNK: usize = 32;

/// Up to this many octets at the end, the table of pairs is faster than a chunk.
const SHORT: usize = 16;

/// Marks octets whose code has more than 15 bits, in [`BITS`].
const RARE: u8 = 0x80;

/// Bits of the codes of ASCII.
static BITS: [u8; 128] = {
    let (mut bits, mut symbol) = ([0; 128], 0);
    while symbol < 128 {
        bits[symbol] = if LENGTHS[symbol] > 15 { RARE } else { LENGTHS[symbol] };
        symbol += 1;
    }
    bits
};

/// The low eight bits of the codes of ASCII. All bits above them are ones.
static CODES: [u8; 128] = {
    let (mut codes, mut symbol) = ([0; 128], 0);
    while symbol < 128 {
        let code = CANONICAL.codes[symbol];
        if LENGTHS[symbol] > 8 {
            let above = LENGTHS[symbol] - 8;
            assert!(code >> 8 == (1 << above) - 1);
        }
        codes[symbol] = code as u8;
        symbol += 1;
    }
    codes
};

/// Encodes all of `input` to `out`; returns the number of octets.
///
/// # Safety
/// The length of the coded string plus eight octets must be writable at `out`, and the CPU must
/// have what `Backend::Avx512` stands for.
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
)]
pub(super) unsafe fn encode(input: &[u8], out: *mut u8) -> usize {
    // SAFETY: 64 octets each.
    let load = |table: &[u8]| unsafe { _mm512_loadu_si512(table[..64].as_ptr().cast()) };
    let tables = Tables {
        bits: [load(&BITS), load(&BITS[64..])],
        codes: [load(&CODES), load(&CODES[64..])],
    };
    let mut sink = Sink::new(out);
    let mut rest = input;
    while rest.len() > SHORT {
        let (chunk, more) = rest.split_at(rest.len().min(CHUNK));
        rest = more;
        let Some(words) = words(&tables, chunk) else {
            // SAFETY: the bits before are of octets before.
            unsafe { sink.push_each(chunk) };
            continue;
        };
        let count = chunk.len().div_ceil(8);
        let mut push = |(text, bits): (&u64, &u64)| {
            // SAFETY: as above.
            unsafe { sink.push(*text, *bits as u32) };
        };
        let all = words.text.iter().zip(&words.bits);
        if words.eights {
            all.step_by(2).take(count).for_each(&mut push);
        } else {
            all.take(count * 2).for_each(&mut push);
        }
    }
    // SAFETY: as above, and it began at `out`.
    unsafe {
        push_rest(&mut sink, input, rest);
        sink.finish(out)
    }
}

#[derive(Clone, Copy)]
struct Tables {
    bits: [__m512i; 2],
    codes: [__m512i; 2],
}

/// The codes of 32 octets, from the top of each word, and their lengths in bits.
#[repr(align(64))]
struct Words {
    text: [u64; 8],
    bits: [u64; 8],
    /// Each even word holds eight octets; otherwise each word holds four.
    eights: bool,
}

/// `None` if a code or a group of four is too long.
#[inline]
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
)]
fn words(tables: &Tables, chunk: &[u8]) -> Option<Words> {
    debug_assert!(chunk.len() <= CHUNK);
    let there = if chunk.len() == CHUNK { u32::MAX } else { (1 << chunk.len()) - 1 };
    // SAFETY: only octets of the slice are touched.
    let octets = unsafe { _mm256_maskz_loadu_epi8(there, chunk.as_ptr().cast()) };
    let index = _mm512_castsi256_si512(octets);
    let [low, high] = tables.bits;
    let bits = _mm512_maskz_permutex2var_epi8(there.into(), low, index, high);
    let [low, high] = tables.codes;
    let codes = _mm512_maskz_permutex2var_epi8(there.into(), low, index, high);
    let bits = _mm512_castsi512_si256(bits);
    if _mm256_movepi8_mask(_mm256_or_si256(bits, octets)) != 0 {
        return None; // beyond ASCII, or RARE
    }

    // One code in each 16 bits: its low eight bits, ones above them, nothing above its length.
    let bits = _mm512_cvtepu8_epi16(bits);
    let codes = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(codes));
    let ones = _mm512_set1_epi16(-1);
    let above = _mm512_shldv_epi16(ones, _mm512_setzero_si512(), bits);
    const A_OR_B_AND_NOT_C: i32 = 0b0101_0100;
    let ones = _mm512_set1_epi16(0xff00_u16 as i16);
    let codes = _mm512_ternarylogic_epi64::<A_OR_B_AND_NOT_C>(codes, ones, above);

    // Two in 32 bits, the first one above the second.
    let second = _mm512_srli_epi32::<16>(bits);
    let first = _mm512_and_si512(codes, _mm512_set1_epi32(0xffff));
    let codes = _mm512_or_si512(_mm512_rolv_epi32(first, second), _mm512_srli_epi32::<16>(codes));
    let bits = _mm512_add_epi32(_mm512_and_si512(bits, _mm512_set1_epi32(0xffff)), second);

    // Four in 64 bits.
    let second = _mm512_srli_epi64::<32>(bits);
    let low = _mm512_set1_epi64(0xffff_ffff);
    let first = _mm512_and_si512(codes, low);
    let codes = _mm512_or_si512(_mm512_rolv_epi64(first, second), _mm512_srli_epi64::<32>(codes));
    let bits = _mm512_add_epi64(_mm512_and_si512(bits, low), second);

    // Eight in the even 64 bits, if they are at most 56.
    let second = _mm512_unpackhi_epi64(bits, bits);
    let bits_8 = _mm512_add_epi64(bits, second);
    let codes_8 =
        _mm512_or_si512(_mm512_rolv_epi64(codes, second), _mm512_unpackhi_epi64(codes, codes));
    let most = _mm512_set1_epi64(56);
    if _mm512_mask_cmpgt_epu64_mask(0x55, bits_8, most) == 0 {
        return Some(from_top(codes_8, bits_8, true));
    }
    (_mm512_cmpgt_epu64_mask(bits, most) == 0).then(|| from_top(codes, bits, false))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn from_top(codes: __m512i, bits: __m512i, eights: bool) -> Words {
    let text = _mm512_rorv_epi64(codes, bits);
    let mut words = Words { text: [0; 8], bits: [0; 8], eights };
    // SAFETY: 64 octets each.
    unsafe {
        _mm512_storeu_si512(words.text.as_mut_ptr().cast(), text);
        _mm512_storeu_si512(words.bits.as_mut_ptr().cast(), bits);
    }
    words
}
