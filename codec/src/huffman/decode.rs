//! Octets from a Huffman string: a table looked up by the next thirteen bits gives up to two
//! symbols at once.
//!
//! Past its end a string reads as endless ones. No code of at most twelve bits is all ones, so
//! every string ends at the table's "none" entry, and only there the number of remaining bits is
//! checked.

use alloc::vec::Vec;

use super::Error;
use super::code::{CANONICAL, EOS, LENGTHS, LONGEST};
use crate::scan::Backend;

/// Bits that index the table: an entry holds 1.77 codes on average, against 1.57 with twelve bits.
/// 32 KiB, of which real text touches a part.
const INDEX: u32 = 13;

/// Bits of the longest code in the table: such codes are 99.97 % of real text, and none of them is
/// a control character's.
const SHORT: u32 = 12;

/// `bits of all symbols | symbol 0 << 8 | symbol 1 << 16 | symbols << 24`; 0 where a longer code
/// begins. The bit count is lowest, so it serves as a shift count without masking.
static TABLE: [u32; 1 << INDEX] = table();

const fn table() -> [u32; 1 << INDEX] {
    let mut singles = [0u32; 1 << INDEX];
    let mut symbol = 0;
    while symbol < EOS {
        let bits = LENGTHS[symbol] as u32;
        if bits <= SHORT {
            let from = (CANONICAL.codes[symbol] as usize) << (INDEX - bits);
            let mut at = from;
            while at < from + (1 << (INDEX - bits)) {
                singles[at] = bits | (symbol as u32) << 8 | 1 << 24;
                at += 1;
            }
        }
        symbol += 1;
    }
    let mut table = singles;
    let mut at = 0;
    while at < 1 << INDEX {
        let bits = singles[at] & 0xff;
        if bits != 0 {
            let next = singles[at << bits & ((1 << INDEX) - 1)];
            if next != 0 && bits + (next & 0xff) <= INDEX {
                table[at] =
                    (bits + (next & 0xff)) | singles[at] & 0xff00 | (next & 0xff00) << 8 | 2 << 24;
            }
        }
        at += 1;
    }
    table
}

/// Octets that may be written past the last decoded one.
pub(super) const OVERRUN: usize = 32;

/// The most octets that `coded` octets decode to: no code is shorter than five bits, and one more
/// may be read from the padding before the end is noticed.
pub(super) const fn most(coded: usize) -> usize {
    coded * 8 / 5 + 1
}

pub(super) fn append(backend: Backend, input: &[u8], out: &mut Vec<u8>) -> Result<bool, Error> {
    out.reserve(most(input.len()) + OVERRUN);
    // SAFETY: so many octets from the vector's end on are its own, and a backend's value is only
    // handed out where its instructions are.
    let written = unsafe {
        let to = out.as_mut_ptr().add(out.len());
        match backend {
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => table_decode_bmi2(input, to),
            #[cfg(all(target_arch = "x86_64", ringway_avx512))]
            Backend::Avx512 => super::avx512::decode(input, to),
            _ => table_decode(input, to),
        }
    }?;
    // SAFETY: that many were written behind the length, and they were reserved.
    unsafe { out.set_len(out.len() + written.octets) };
    Ok(written.rare)
}

/// The result of decoding a string.
pub(super) struct Written {
    pub(super) octets: usize,
    /// One of them has a code of more than twelve bits, or may have.
    pub(super) rare: bool,
}

const _: () = {
    let mut octet = 0;
    while octet < EOS {
        // What `decode` promises.
        assert!(octet >= 0x20 && octet != 0x7f || LENGTHS[octet] as u32 > SHORT);
        octet += 1;
    }
};

/// A string being read. `window` holds its next `have` bits from the top. The bits below them are
/// either zero or already the following ones, so they can be or'ed in again.
struct Reader<'a> {
    input: &'a [u8],
    /// Octets taken into `window`, counting the ones past the input's end.
    taken: usize,
    window: u64,
    have: u32,
}

impl Reader<'_> {
    /// Fills the window to at least 56 bits.
    #[inline(always)]
    fn refill(&mut self, next: u64) {
        self.window |= next >> self.have;
        self.taken += ((63 - self.have) >> 3) as usize;
        self.have |= 56;
    }

    /// The next octets, whole words of them.
    #[inline(always)]
    fn whole(&self) -> Option<u64> {
        let word = self.input.get(self.taken..)?.first_chunk()?;
        Some(u64::from_be_bytes(*word))
    }

    /// The next octets when fewer than eight are left.
    #[inline(always)]
    fn ending(&self) -> u64 {
        match self.input.len().checked_sub(self.taken) {
            None | Some(0) => u64::MAX,
            Some(left) => last_word(self.input, left),
        }
    }

    /// Drops a code's bits.
    #[inline(always)]
    fn drop(&mut self, bits: u32) {
        self.window = self.window.wrapping_shl(bits);
        self.have -= bits & 63;
    }

    /// No short code begins here: a long one, or the end.
    #[cold]
    #[inline(never)]
    fn long(&mut self) -> Option<Result<u8, Error>> {
        if self.have < LONGEST as u32 {
            let next = self.whole().unwrap_or_else(|| self.ending());
            self.refill(next);
        }
        let (symbol, bits) = match long((self.window >> 32) as u32) {
            Some(found) => found,
            None => {
                let beyond = 8 * (self.taken as isize - self.input.len() as isize);
                return match self.have as isize - beyond {
                    0..8 => None,
                    30.. => Some(Err(Error::EndOfString)),
                    _ => Some(Err(Error::Padding)),
                };
            }
        };
        self.drop(bits);
        Some(Ok(symbol))
    }
}

/// The last `left` octets (one to seven), padded with ones.
#[inline(always)]
pub(super) fn last_word(input: &[u8], left: usize) -> u64 {
    let missing = 64 - 8 * left as u32;
    let word = match input.last_chunk::<8>() {
        Some(last) => u64::from_be_bytes(*last) << missing,
        // Two words that may overlap, or three octets that may be the same.
        None => match (input.first_chunk::<4>(), input.last_chunk::<4>()) {
            (Some(first), Some(last)) => {
                let first = u64::from(u32::from_be_bytes(*first)) << 32;
                let last = u64::from(u32::from_be_bytes(*last));
                (first | last << (64 - 8 * input.len())) << (8 * (input.len() - left))
            }
            _ => {
                let tail = &input[input.len() - left..];
                let (first, middle, last) = (tail[0], tail[left / 2], tail[left - 1]);
                u64::from(first) << 56
                    | u64::from(middle) << (56 - left / 2 * 8)
                    | u64::from(last) << missing
            }
        },
    };
    word | !(u64::MAX << missing)
}

/// The symbol of the code of twelve bits or more that `top` begins with, and its bits.
pub(super) fn long(top: u32) -> Option<(u8, u32)> {
    let mut bits = SHORT as usize;
    while bits < LONGEST && top >= CANONICAL.first[bits + 1] {
        bits += 1;
    }
    let past = (top - CANONICAL.first[bits]) >> (32 - bits);
    let rank = CANONICAL.rank[bits] as usize + past as usize;
    (rank < EOS).then(|| (CANONICAL.symbols[rank], bits as u32))
}

/// [`table_decode`] with BMI2's flagless shifts.
///
/// # Safety
/// As for [`table_decode`], and the CPU must have BMI2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "bmi1,bmi2,lzcnt")]
unsafe fn table_decode_bmi2(input: &[u8], out: *mut u8) -> Result<Written, Error> {
    // SAFETY: the caller's promise.
    unsafe { table_decode(input, out) }
}

/// Decodes all of `input` to `out`.
///
/// # Safety
/// `most(input.len()) + OVERRUN` octets must be writable at `out`.
#[inline(always)]
unsafe fn table_decode(input: &[u8], out: *mut u8) -> Result<Written, Error> {
    let mut reader = Reader { input, taken: 0, window: 0, have: 0 };
    let (mut to, mut rare) = (out, false);
    loop {
        let next = match reader.whole() {
            Some(next) => next,
            None => reader.ending(),
        };
        reader.refill(next);
        // Four times thirteen bits are available. A step without a short code holds up the others.
        let mut step = || {
            let entry = TABLE[(reader.window >> (64 - INDEX)) as usize];
            // SAFETY: each octet kept takes at least five bits of the string or of the ones behind
            // it, of which no more than one code is ever read; two octets are within the overrun.
            unsafe {
                to.cast::<u16>().write_unaligned((entry >> 8) as u16);
                to = to.add((entry >> 24) as usize);
            }
            reader.drop(entry);
            entry != 0
        };
        if step() && step() && step() && step() {
            continue;
        }
        match reader.long() {
            // SAFETY: as above.
            Some(Ok(symbol)) => unsafe {
                rare = true;
                to.write(symbol);
                to = to.add(1);
            },
            Some(Err(error)) => return Err(error),
            None => break,
        }
    }
    let beyond = 8 * (reader.taken as isize - input.len() as isize);
    // A truncated code used padding from past the end.
    if (reader.have as isize) < beyond {
        return Err(Error::Padding);
    }
    // SAFETY: both are within the octets at `out`.
    let octets = unsafe { to.offset_from(out) } as usize;
    Ok(Written { octets, rare })
}
