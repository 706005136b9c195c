//! A Huffman string from octets: codes put together in pairs and fours before they go behind the
//! bits that are already there, so that only one step in four waits for the one before.

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

/// Octets that may be written behind the string's end.
const OVERRUN: usize = 8;

/// The octets that `input` is coded in.
pub(super) fn octets(input: &[u8]) -> usize {
    input.iter().map(|&octet| LENGTHS[octet as usize] as usize).sum::<usize>().div_ceil(8)
}

pub(super) fn append(backend: Backend, input: &[u8], out: &mut Vec<u8>) {
    // No code takes four octets. Long strings are counted, so that memory stays in proportion.
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

/// Where bits go. Fewer than eight wait in the top of `word`.
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
    /// Eight octets must be writable behind those that the bits before fill.
    #[inline(always)]
    pub(super) unsafe fn push(&mut self, bits: u64, count: u32) {
        debug_assert!(count <= 56);
        self.word |= bits >> self.waiting;
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
            unsafe { self.push(code >> 8 << (64 - bits), bits) };
        }
    }

    /// Pads with ones; how many octets there are from `out` on.
    ///
    /// # Safety
    /// `out` must be where the sink began, and one octet more be writable.
    #[inline(always)]
    pub(super) unsafe fn finish(self, out: *mut u8) -> usize {
        // SAFETY: the caller's promise.
        unsafe {
            self.to.write((self.word >> 56) as u8 | 0xff >> self.waiting);
            self.to.offset_from(out) as usize + usize::from(self.waiting > 0)
        }
    }
}

/// [`encode`] with shifts that need no flags.
///
/// # Safety
/// As for [`encode`], and the CPU must have BMI2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "bmi1,bmi2,lzcnt")]
unsafe fn encode_bmi2(input: &[u8], out: *mut u8) -> usize {
    // SAFETY: the caller's promise.
    unsafe { encode(input, out) }
}

/// Codes all of `input` to `out`; how many octets that gave.
///
/// # Safety
/// `octets(input) + OVERRUN` octets must be writable at `out`.
#[inline(always)]
unsafe fn encode(input: &[u8], out: *mut u8) -> usize {
    let mut sink = Sink::new(out);
    let mut rest = input;
    while let Some((four, more)) = rest.split_first_chunk::<4>() {
        rest = more;
        let [a, b, c, d] = four.map(|octet| CODES[octet as usize]);
        let bits = |code: u64| code as u32 & 0xff;
        let count = bits(a) + bits(b) + bits(c) + bits(d);
        // SAFETY: the bits before are of octets before.
        unsafe {
            if count > 56 {
                sink.push_each(four);
                continue;
            }
            let ab = (a >> 8) << bits(b) | b >> 8;
            let cd = (c >> 8) << bits(d) | d >> 8;
            let all = ab << (bits(c) + bits(d)) | cd;
            sink.push(all << (64 - count), count);
        }
    }
    // SAFETY: as above.
    unsafe {
        sink.push_each(rest);
        sink.finish(out)
    }
}
