//! The static Huffman code that HPACK and QPACK share (RFC 7541 section 5.2 and appendix B): whole
//! strings to and from octets. The length prefix and the fields are not handled here.

use alloc::vec::Vec;
use core::fmt;

#[cfg(all(target_arch = "x86_64", ringway_avx512))]
mod avx512;
#[cfg(all(target_arch = "x86_64", ringway_avx512))]
mod avx512_encode;
mod code;
mod decode;
mod encode;

use crate::scan::Backend;

/// Why a Huffman string was refused. The peer erred: COMPRESSION_ERROR or
/// QPACK_DECOMPRESSION_FAILED.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The string holds the EOS symbol.
    EndOfString,
    /// The string ends in more than seven bits of padding, in padding that is not all ones, or
    /// within a code.
    Padding,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndOfString => "the peer sent a Huffman string that holds EOS",
            Self::Padding => "the peer sent a Huffman string with wrong padding",
        })
    }
}

impl core::error::Error for Error {}

/// Appends the decoded `input`, at most ⌊8/5 × `input.len()`⌋ octets. After an error `out` is
/// unchanged.
///
/// Returns whether an octet's code has more than twelve bits. All control characters have such
/// codes, so after `false` the caller need not look for them.
pub fn decode(backend: Backend, input: &[u8], out: &mut Vec<u8>) -> Result<bool, Error> {
    decode::append(backend, input, out)
}

/// Appends the Huffman coding of `input`, padded to whole octets with ones.
pub fn encode(backend: Backend, input: &[u8], out: &mut Vec<u8>) {
    encode::append(backend, input, out);
}

/// The number of octets that [`encode`] would add.
pub fn encoded_len(input: &[u8]) -> usize {
    encode::octets(input)
}

#[cfg(test)]
mod tests;
