//! Octets from a Huffman string: a table looked up by the next twelve bits gives up to two symbols
//! at once.

use alloc::vec::Vec;

use super::Error;
use super::code::{CANONICAL, EOS, LENGTHS, LONGEST};
use crate::scan::Backend;

/// Bits that index the table. ENGINE: codes of at most twelve bits are 99.97 % of real text.
const INDEX: usize = 12;

/// `symbol 0 | symbol 1 << 8 | bits of all << 16 | bits of symbol 0 << 24 | symbols << 30`; no
/// symbols: a longer code.
static TABLE: [u32; 1 << INDEX] = table();

const fn table() -> [u32; 1 << INDEX] {
    let mut singles = [0u32; 1 << INDEX];
    let mut symbol = 0;
    while symbol < EOS {
        let bits = LENGTHS[symbol] as usize;
        if bits <= INDEX {
            let from = (CANONICAL.codes[symbol] as usize) << (INDEX - bits);
            let mut at = from;
            while at < from + (1 << (INDEX - bits)) {
                singles[at] = symbol as u32 | (bits as u32) << 16 | (bits as u32) << 24 | 1 << 30;
                at += 1;
            }
        }
        symbol += 1;
    }
    let mut table = singles;
    let mut at = 0;
    while at < 1 << INDEX {
        let one = singles[at];
        let bits = (one >> 16 & 0xff) as usize;
        if one != 0 {
            let two = singles[at << bits & ((1 << INDEX) - 1)];
            let more = (two >> 16 & 0xff) as usize;
            if two != 0 && bits + more <= INDEX {
                table[at] = (one & 0xff) | (two & 0xff) << 8 | ((bits + more) as u32) << 16;
                table[at] |= (bits as u32) << 24 | 2 << 30;
            }
        }
        at += 1;
    }
    table
}

/// The symbol of a code longer than the table's index, and its bits. `window` is left aligned.
#[cold]
fn long(window: u64) -> Option<(u8, usize)> {
    let top = (window >> 32) as u32;
    let mut bits = INDEX + 1;
    while bits < LONGEST && top >= CANONICAL.first[bits + 1] {
        bits += 1;
    }
    let rank =
        CANONICAL.rank[bits] as usize + ((top - CANONICAL.first[bits]) >> (32 - bits)) as usize;
    (rank < 256).then(|| (CANONICAL.symbols[rank], bits))
}

pub(super) fn append(_backend: Backend, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    out.reserve(input.len() * 8 / 5 + 8);
    let (mut window, mut have, mut at) = (0u64, 0usize, 0);
    while let Some(next) = input[at..].first_chunk::<8>() {
        window |= u64::from_be_bytes(*next) >> have;
        at += (63 - have) >> 3;
        have |= 56;
        while have >= LONGEST {
            let entry = TABLE[(window >> (64 - INDEX)) as usize];
            let bits = (entry >> 16 & 0xff) as usize;
            if entry == 0 {
                let (symbol, bits) = long(window).ok_or(Error::EndOfString)?;
                out.push(symbol);
                window <<= bits;
                have -= bits;
                continue;
            }
            out.push(entry as u8);
            if entry >> 30 == 2 {
                out.push((entry >> 8) as u8);
            }
            window <<= bits;
            have -= bits;
        }
        window &= !(u64::MAX >> have);
    }
    tail(&input[at..], window, have, out)
}

/// The last octets, one symbol at a time, and the padding.
fn tail(input: &[u8], mut window: u64, mut have: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let mut rest = input.iter();
    loop {
        while have <= 56 {
            let Some(&octet) = rest.next() else { break };
            window |= u64::from(octet) << (56 - have);
            have += 8;
        }
        // What follows the string reads as ones: a code that reaches into it is the padding.
        let padded = window | u64::MAX.checked_shr(have as u32).unwrap_or(0);
        let entry = TABLE[(padded >> (64 - INDEX)) as usize];
        let (symbol, bits) = match entry {
            0 => match long(padded) {
                Some(found) => found,
                None if have >= LONGEST => return Err(Error::EndOfString),
                None => (0, LONGEST),
            },
            _ => (entry as u8, (entry >> 24 & 0x3f) as usize),
        };
        if bits > have {
            let padding_is_ones = padded == u64::MAX;
            return if have < 8 && padding_is_ones { Ok(()) } else { Err(Error::Padding) };
        }
        out.push(symbol);
        window <<= bits;
        have -= bits;
    }
}
