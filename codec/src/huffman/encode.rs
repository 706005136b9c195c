//! A Huffman string from octets. A table holds the codes of every two octets of ASCII, and two such
//! pairs are joined before they are appended. No branch depends on the octets unless one is rare.

use alloc::vec::Vec;

use super::code::{CANONICAL, EOS, LENGTHS};
use crate::scan::Backend;

/// `bits | code << 8` by octet.
static CODES: [u64; 256] = {
    let mut codes = [0; 256];
    let mut symbol = 0;
    while symbol < EOS {
        codes[symbol] = LENGTHS[symbol] as u64 | (CANONICAL.codes[symbol] as u64) << 8;
        symbol += 1;
    }
    codes
};

/// Marks a pair of more than [`MOST`] bits, and a NUL in place of a missing octet. The value is so
/// large that a sum of four shows whether one is among them.
const RARE: u32 = 57;

/// Bits of the longest pair in [`PAIRS`]; two fit a [`Sink::push`].
const MOST: u32 = 24;

/// `bits | codes << 8` by two octets of ASCII, the first one lowest; octet 0 means no octet. 64
/// KiB, of which real text touches a quarter.
static PAIRS: [u32; 1 << 14] = {
    let mut pairs = [RARE; 1 << 14];
    pairs[0] = 0;
    let mut first = 1;
    while first < 128 {
        let (bits, code) = (LENGTHS[first] as u32, CANONICAL.codes[first]);
        if bits <= MOST {
            pairs[first] = bits | code << 8;
        }
        let mut second = 1;
        while second < 128 {
            let both = bits + LENGTHS[second] as u32;
            if both <= MOST {
                let codes = code << LENGTHS[second] | CANONICAL.codes[second];
                pairs[first | second << 7] = both | codes << 8;
            }
            second += 1;
        }
        first += 1;
    }
    pairs
};

/// Octets that may be written past the string's end.
const OVERRUN: usize = 8;

/// The encoded length of `input` in octets.
pub(super) fn octets(input: &[u8]) -> usize {
    input.iter().map(|&octet| LENGTHS[octet as usize] as usize).sum::<usize>().div_ceil(8)
}

pub(super) fn append(backend: Backend, input: &[u8], out: &mut Vec<u8>) {
    // Every code is shorter than four octets. Long strings are measured, so memory stays in
    // proportion.
    let most = if input.len() <= 256 { input.len() * 4 } else { octets(input) };
    out.reserve(most + OVERRUN);
    // SAFETY: so many octets from the vector's end on are its own, and a backend's value is only
    // handed out where its instructions are.
    let written = unsafe {
        let to = out.as_mut_ptr().add(out.len());
        match backend {
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => encode_bmi2(input, to),
            #[cfg(all(target_arch = "x86_64", ringway_avx512))]
            Backend::Avx512 => super::avx512_encode::encode(input, to),
            _ => encode(input, to),
        }
    };
    // SAFETY: that many were written behind the length, and they were reserved.
    unsafe { out.set_len(out.len() + written) };
}

/// The bit writer. Fewer than eight bits wait in the top of `word`.
pub(super) struct Sink {
    to: *mut u8,
    word: u64,
    waiting: u32,
}

impl Sink {
    #[inline(always)]
    pub(super) fn new(to: *mut u8) -> Self {
        Self { to, word: 0, waiting: 0 }
    }

    /// Adds the top `count` bits of `bits`, at most 56; the others must be 0.
    ///
    /// # Safety
    /// Eight octets must be writable after those filled by earlier bits.
    #[inline(always)]
    #[cfg_attr(not(all(target_arch = "x86_64", ringway_avx512)), allow(dead_code))]
    pub(super) unsafe fn push(&mut self, bits: u64, count: u32) {
        // SAFETY: the caller's promise.
        unsafe { self.add(bits >> self.waiting, count) };
    }

    /// Adds the low `count` bits of `bits`, at most 56; the others must be 0.
    ///
    /// # Safety
    /// As for [`Sink::push`].
    #[inline(always)]
    unsafe fn push_low(&mut self, bits: u64, count: u32) {
        // A shift by 64 occurs only without bits.
        let up = 0u32.wrapping_sub(self.waiting + count);
        // SAFETY: the caller's promise.
        unsafe { self.add(bits.wrapping_shl(up), count) };
    }

    /// Adds `count` bits that are already aligned after the waiting ones.
    ///
    /// # Safety
    /// As for [`Sink::push`].
    #[inline(always)]
    unsafe fn add(&mut self, bits: u64, count: u32) {
        debug_assert!(count <= 56);
        self.word |= bits;
        // SAFETY: the caller's promise.
        unsafe { self.to.cast::<u64>().write_unaligned(self.word.to_be()) };
        let waiting = self.waiting + count;
        // SAFETY: only over octets that are filled.
        self.to = unsafe { self.to.add((waiting >> 3) as usize) };
        self.word <<= waiting & 0x38;
        self.waiting = waiting & 7;
    }

    /// Adds one code after the other.
    ///
    /// # Safety
    /// As for [`Sink::push`].
    #[inline(always)]
    pub(super) unsafe fn push_each(&mut self, octets: &[u8]) {
        for &octet in octets {
            let code = CODES[octet as usize];
            let bits = code as u32 & 0xff;
            // SAFETY: the caller's promise.
            unsafe { self.push_low(code >> 8, bits) };
        }
    }

    /// Pads with ones; returns the number of octets from `out` on.
    ///
    /// # Safety
    /// `out` must be where the sink began, and one more octet must be writable.
    #[inline(always)]
    pub(super) unsafe fn finish(self, out: *mut u8) -> usize {
        // SAFETY: the caller's promise.
        unsafe {
            self.to.write((self.word >> 56) as u8 | 0xff >> self.waiting);
            self.to.offset_from(out) as usize + usize::from(self.waiting > 0)
        }
    }
}

/// [`encode`] with BMI2's flagless shifts.
///
/// # Safety
/// As for [`encode`], and the CPU must have BMI2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "bmi1,bmi2,lzcnt")]
unsafe fn encode_bmi2(input: &[u8], out: *mut u8) -> usize {
    // SAFETY: the caller's promise.
    unsafe { encode(input, out) }
}

/// Encodes all of `input` to `out`; returns the number of octets.
///
/// # Safety
/// `octets(input) + OVERRUN` octets must be writable at `out`.
#[inline(always)]
unsafe fn encode(input: &[u8], out: *mut u8) -> usize {
    let mut sink = Sink::new(out);
    // SAFETY: the caller's promise, and the sink began at `out`.
    unsafe {
        push_rest(&mut sink, input, input);
        sink.finish(out)
    }
}

/// Adds the codes of `rest`, the end of `input`.
///
/// # Safety
/// As for [`Sink::push`].
#[inline(always)]
pub(super) unsafe fn push_rest(sink: &mut Sink, input: &[u8], rest: &[u8]) {
    let mut rest = rest;
    // SAFETY: the bits before are of octets before.
    unsafe {
        while let Some((eight, more)) = rest.split_first_chunk::<8>() {
            rest = more;
            let word = u64::from_le_bytes(*eight);
            if !push_word(sink, word, word) {
                sink.push_each(eight);
            }
        }
        if !rest.is_empty() {
            let word = last_word(input, rest.len());
            if !push_word(sink, word, word | ONES << (8 * rest.len())) {
                sink.push_each(rest);
            }
        }
    }
}

/// The last `left` octets (one to seven), the first one lowest, and zeros above them.
#[inline(always)]
fn last_word(input: &[u8], left: usize) -> u64 {
    if let Some(last) = input.last_chunk::<8>() {
        return u64::from_le_bytes(*last) >> (64 - 8 * left);
    }
    // Two words that may overlap, or three octets that may be the same; `left` is all there is.
    match (input.first_chunk::<4>(), input.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            let last = u64::from(u32::from_le_bytes(*last));
            u64::from(u32::from_le_bytes(*first)) | last << (8 * (left - 4))
        }
        _ => {
            let octet = |at: usize| u64::from(input[at]) << (8 * at);
            octet(0) | octet(left / 2) | octet(left - 1)
        }
    }
}

const ONES: u64 = u64::MAX / 255;

/// Adds the codes of the eight octets of `word`; missing octets at the top are 0. Returns false and
/// adds nothing if a rare one is among them. `check` is the word with ones for missing octets.
///
/// # Safety
/// As for [`Sink::push`].
#[inline(always)]
unsafe fn push_word(sink: &mut Sink, word: u64, check: u64) -> bool {
    if (check.wrapping_sub(ONES) | check) & (ONES * 0x80) != 0 {
        return false; // a NUL, or beyond ASCII
    }
    const LANES: u64 = u64::MAX / 0xffff;
    let indices = word & (LANES * 0x7f) | word >> 1 & (LANES * 0x3f80);
    let pair = |at: u32| u64::from(PAIRS[(indices >> (16 * at)) as usize & 0x3fff]);
    let (a, b, c, d) = (pair(0), pair(1), pair(2), pair(3));
    // The bit count is lowest, so it serves as a shift count without masking.
    let ab = (a >> 8).wrapping_shl(b as u32) | b >> 8;
    let cd = (c >> 8).wrapping_shl(d as u32) | d >> 8;
    let (bits_ab, bits_cd) = ((a + b) as u32, (c + d) as u32);
    let bits = bits_ab.wrapping_add(bits_cd) & 0xff;
    // SAFETY: the caller's promise.
    unsafe {
        if bits <= 56 {
            sink.push_low(ab.wrapping_shl(bits_cd) | cd, bits);
            return true;
        }
        let (bits_ab, bits_cd) = (bits_ab & 0xff, bits_cd & 0xff);
        if bits_ab.max(bits_cd) > 2 * MOST {
            return false;
        }
        sink.push_low(ab, bits_ab);
        sink.push_low(cd, bits_cd);
    }
    true
}
