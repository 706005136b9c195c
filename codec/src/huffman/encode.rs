//! A Huffman string from octets: codes gathered in a 64-bit accumulator.

use alloc::vec::Vec;

use super::code::{CANONICAL, EOS, LENGTHS};
use crate::scan::Backend;

/// `code | bits << 32` by octet.
static CODES: [u64; 256] = {
    let mut codes = [0; 256];
    let mut symbol = 0;
    while symbol < EOS {
        codes[symbol] = CANONICAL.codes[symbol] as u64 | (LENGTHS[symbol] as u64) << 32;
        symbol += 1;
    }
    codes
};

pub(super) fn octets(input: &[u8]) -> usize {
    input.iter().map(|&octet| LENGTHS[octet as usize] as usize).sum::<usize>().div_ceil(8)
}

pub(super) fn append(_backend: Backend, input: &[u8], out: &mut Vec<u8>) {
    let (mut window, mut have) = (0u64, 0);
    for &octet in input {
        let entry = CODES[octet as usize];
        let bits = (entry >> 32) as u32;
        window = window << bits | (entry & 0xffff_ffff);
        have += bits;
        if have >= 32 {
            have -= 32;
            out.extend_from_slice(&((window >> have) as u32).to_be_bytes());
        }
    }
    if have > 0 {
        let padded = (window << (32 - have)) as u32 | u32::MAX >> have;
        out.extend_from_slice(&padded.to_be_bytes()[..have.div_ceil(8) as usize]);
    }
}
