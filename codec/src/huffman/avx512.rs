//! Decoding with AVX-512 VBMI: all symbols of 48 bits at once.
//!
//! A table decoder must finish each look-up before the next can start. This one finds the length of
//! the code that would begin at each of 48 bit positions at once (by its first six bits, and by six
//! more for the few long ones). That is a map from position to next position. Composed with itself
//! it gives the positions two, four and eight codes on, so four steps find the positions of all
//! codes from the real start, and a few more find their symbols. Only the start is passed from one
//! window to the next, which takes four cycles; the rest overlaps.
//!
//! Positions from 48 on map to themselves: they are starts in the next window. Longer codes than
//! twelve bits, and the string's end, take a scalar path.

use core::arch::x86_64::*;

use super::Error;
use super::code::{CANONICAL, EOS, LENGTHS};
use super::decode::{OVERRUN, Written, last_word, long, most};

/// Octets of input in a window. The bits beyond, up to 63, leave room for the longest code here.
const STEP: usize = 6;

/// The smallest six bits after 11111 of a code with twelve or more bits.
const LONG: u8 = 61;

/// By a code's first six bits: its length (5, 6 or 7; else 0).
static LENGTHS_6: [u8; 64] = lengths(0, 7);
/// By the six bits after 11111: the code's length, 8 to 11.
static LENGTHS_11: [u8; 64] = lengths(5, 11);
/// By a code's first six bits: the symbol of a code with five or six bits.
static SYMBOLS_6: [u8; 64] = {
    let (mut symbols, mut symbol) = ([0; 64], 0);
    while symbol < EOS {
        let bits = LENGTHS[symbol] as usize;
        if bits <= 6 {
            let from = (CANONICAL.codes[symbol] as usize) << (6 - bits);
            symbols[from] = symbol as u8;
            if bits == 5 {
                symbols[from + 1] = symbol as u8;
            }
        }
        symbol += 1;
    }
    symbols
};
/// By a code's first eight bits minus [`SEVEN`]: the symbols of codes with seven bits, exactly 64
/// values.
static SYMBOLS_7: [u8; 64] = {
    let (mut symbols, mut symbol) = ([0; 64], 0);
    while symbol < EOS {
        if LENGTHS[symbol] == 7 {
            let from = (CANONICAL.codes[symbol] as usize * 2) - SEVEN as usize;
            symbols[from] = symbol as u8;
            symbols[from + 1] = symbol as u8;
        }
        symbol += 1;
    }
    symbols
};
/// By the six bits after 11111: the symbol.
static SYMBOLS_11: [u8; 64] = {
    let (mut symbols, mut symbol) = ([0; 64], 0);
    while symbol < EOS {
        let bits = LENGTHS[symbol] as u32;
        if bits >= 8 && bits <= 11 {
            let (mut at, past) = (0, 1 << (11 - bits));
            while at < past {
                let code = ((CANONICAL.codes[symbol] as usize) << (11 - bits)) + at;
                symbols[code & 63] = symbol as u8;
                at += 1;
            }
        }
        symbol += 1;
    }
    symbols
};

/// The smallest first eight bits of codes with seven bits, and of longer ones.
const SEVEN: u8 = 0xb8;
const EIGHT: u8 = 0xf8;

/// Lengths by the six bits after `skipped` ones, of codes up to `most` bits.
const fn lengths(skipped: u32, most: u32) -> [u8; 64] {
    let (mut lengths, mut at) = ([0; 64], 0);
    while at < 64 {
        let top = (at as u32) << (26 - skipped) | !(u32::MAX >> skipped);
        let mut bits = 5;
        while bits < most as usize && top >= CANONICAL.first[bits + 1] {
            bits += 1;
        }
        lengths[at] = bits as u8;
        at += 1;
    }
    lengths
}

/// Constants shared by all windows of a string.
#[derive(Clone, Copy)]
struct Tables {
    lengths_6: __m512i,
    lengths_11: __m512i,
    symbols_6: __m512i,
    symbols_7: __m512i,
    symbols_11: __m512i,
    positions: __m512i,
    first_8: __m512i,
    next_6: __m512i,
}

/// The result of one window.
struct Window {
    /// Up to ten symbols.
    symbols: __m128i,
    /// Lane n: where the n-th code begins.
    begin: __m128i,
    /// Lanes whose code has twelve bits or more.
    long: u32,
    /// In every lane: where the next window's first code begins.
    start: __m512i,
}

/// Decodes all of `input` to `out`.
///
/// # Safety
/// `most(input.len()) + OVERRUN` octets must be writable at `out`, and the CPU must have what
/// `Backend::Avx512` stands for.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,bmi1,bmi2,lzcnt,popcnt")]
pub(super) unsafe fn decode(input: &[u8], out: *mut u8) -> Result<Written, Error> {
    const { assert!(OVERRUN >= 16 && most(5) == 9) };
    // SAFETY: 64 octets each.
    let load = |table: &[u8; 64]| unsafe { _mm512_loadu_si512(table.as_ptr().cast()) };
    let tables = Tables {
        lengths_6: load(&LENGTHS_6),
        lengths_11: load(&LENGTHS_11),
        symbols_6: load(&SYMBOLS_6),
        symbols_7: load(&SYMBOLS_7),
        symbols_11: load(&SYMBOLS_11),
        positions: load(&const { counting(0, 1) }),
        first_8: load(&const { counting(56, -1) }),
        next_6: load(&const { counting(53, -1) }),
    };
    let (mut at, mut to, mut rare) = (0, out, false);
    let mut start = _mm512_setzero_si512();
    while let Some(left) = input.len().checked_sub(at).filter(|&left| left > 0) {
        let text = text(&input[at..]);
        let window = window(&tables, text, start);
        // SAFETY: sixteen octets are within the overrun.
        unsafe { _mm_storeu_si128(to.cast(), window.symbols) };
        // The branch depends only on lengths, so it is resolved long before the window.
        let end = if left > STEP { STEP } else { left } * 8;
        let beyond = _mm_cmpge_epu8_mask(window.begin, _mm_set1_epi8(end as i8));
        let stopped = window.long | u32::from(beyond);
        let count = stopped.trailing_zeros() as usize;
        // SAFETY: as many symbols as codes begin before that.
        to = unsafe { to.add(count) };
        let is_long = window.long & 1 << count != 0 && beyond & 1 << count == 0;
        if left > STEP && !is_long {
            (at, start) = (at + STEP, window.start);
            continue;
        }
        let begin = usize::from(lane(window.begin, count));
        // The string ends in fewer than eight ones, which look like the beginning of a long code.
        if left <= STEP && (if is_long { begin + 8 > end } else { begin == end }) {
            break;
        }
        let bit = at * 8 + begin;
        let (symbol, bits) = stop(input, bit)?;
        rare = true;
        // SAFETY: the code takes at least twelve bits of the string.
        unsafe {
            to.write(symbol);
            to = to.add(1);
        }
        (at, start) = ((bit + bits) / 8, _mm512_set1_epi8(((bit + bits) % 8) as i8));
    }
    // SAFETY: both are within the octets at `out`.
    let octets = unsafe { to.offset_from(out) } as usize;
    Ok(Written { octets, rare })
}
/// The first eight octets, padded with ones, with the first bit on top; in all eight lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn text(rest: &[u8]) -> __m512i {
    let octets = if rest.len() >= 8 {
        // SAFETY: there are eight octets.
        unsafe { _mm_loadl_epi64(rest.as_ptr().cast()) }
    } else {
        let mask = (1 << rest.len()) - 1;
        // SAFETY: only octets of the slice are touched.
        unsafe { _mm_mask_loadu_epi8(_mm_set1_epi8(-1), mask, rest.as_ptr().cast()) }
    };
    let reversed = _mm512_set1_epi64(0x0001_0203_0405_0607);
    _mm512_permutexvar_epi8(reversed, _mm512_castsi128_si512(octets))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn window(tables: &Tables, text: __m512i, start: __m512i) -> Window {
    let bytes = |byte: u8| _mm512_set1_epi8(byte as i8);
    let few = |byte: u8| _mm_set1_epi8(byte as i8);
    let wide = |narrow| _mm512_castsi128_si512(narrow);

    // At each position: the first eight bits, and in the low six bits those after five.
    let first = _mm512_multishift_epi64_epi8(tables.first_8, text);
    let next = _mm512_multishift_epi64_epi8(tables.next_6, text);
    let more = _mm512_movepi8_mask(_mm512_subs_epu8(first, bytes(EIGHT - 0x80)));
    let length = _mm512_permutexvar_epi8(_mm512_srli_epi16::<2>(first), tables.lengths_6);
    let length = _mm512_mask_permutexvar_epi8(length, more, next, tables.lengths_11);
    // For each position: where the next code begins, then the second, fourth and eighth.
    let positions = tables.positions;
    let one = _mm512_mask_add_epi8(positions, (1 << (STEP * 8)) - 1, positions, length);
    let two = _mm512_permutexvar_epi8(one, one);
    let four = _mm512_permutexvar_epi8(two, two);
    let eight = _mm512_permutexvar_epi8(four, four);
    let ten = _mm512_permutexvar_epi8(two, eight);
    let begin = _mm512_mask_permutexvar_epi8(start, 0xaaaa, start, one);
    let begin = _mm512_mask_permutexvar_epi8(begin, 0xcccc, begin, two);
    let begin = _mm512_mask_permutexvar_epi8(begin, 0xf0f0, begin, four);
    let begin = _mm512_mask_permutexvar_epi8(begin, 0xff00, begin, eight);
    let start = _mm512_sub_epi8(_mm512_permutexvar_epi8(start, ten), bytes(STEP as u8 * 8));

    let begin = _mm512_castsi512_si128(begin);
    let text = _mm512_castsi512_si128(text);
    let first = _mm_multishift_epi64_epi8(_mm_sub_epi8(few(56), begin), text);
    let next = _mm_multishift_epi64_epi8(_mm_sub_epi8(few(53), begin), text);
    let seven = _mm_movepi8_mask(_mm_subs_epu8(first, few(SEVEN - 0x80)));
    let more = _mm_movepi8_mask(_mm_subs_epu8(first, few(EIGHT - 0x80)));
    let symbols = _mm512_permutexvar_epi8(wide(_mm_srli_epi16::<2>(first)), tables.symbols_6);
    let after_seven = wide(_mm_sub_epi8(first, few(SEVEN)));
    let symbols =
        _mm512_mask_permutexvar_epi8(symbols, seven.into(), after_seven, tables.symbols_7);
    let symbols = _mm512_mask_permutexvar_epi8(symbols, more.into(), wide(next), tables.symbols_11);
    // The two top bits of `next` belong to others, so they are shifted out.
    let ones = _mm_subs_epu8(_mm_slli_epi16::<2>(next), few(LONG * 4 - 0x80));
    let long = u32::from(_mm_movepi8_mask(ones) & more);
    Window { symbols: _mm512_castsi512_si128(symbols), begin, long, start }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn lane(lanes: __m128i, number: usize) -> u8 {
    let index = _mm_cvtsi32_si128(number as i32);
    _mm_cvtsi128_si32(_mm_shuffle_epi8(lanes, index)) as u8
}

/// The code of twelve bits or more at `bit`: its symbol and length.
#[cold]
#[inline(never)]
fn stop(input: &[u8], bit: usize) -> Result<(u8, usize), Error> {
    // An earlier code used padding from past the end.
    let left = (input.len() * 8).checked_sub(bit).ok_or(Error::Padding)?;
    let rest = &input[bit / 8..];
    let word = match rest.first_chunk::<8>() {
        Some(word) => u64::from_be_bytes(*word),
        None if rest.is_empty() => u64::MAX,
        None => last_word(input, rest.len()),
    };
    match long((!(!word << (bit % 8)) >> 32) as u32) {
        Some((symbol, bits)) if bits as usize <= left => Ok((symbol, bits as usize)),
        None if left >= 30 => Err(Error::EndOfString),
        _ => Err(Error::Padding),
    }
}

/// 64 octets from `first` on in steps.
const fn counting(first: u8, step: i8) -> [u8; 64] {
    let (mut octets, mut at) = ([0; 64], 0);
    while at < 64 {
        octets[at] = first.wrapping_add((at as u8).wrapping_mul(step as u8));
        at += 1;
    }
    octets
}
