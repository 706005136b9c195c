//! HPACK, the header compression of HTTP/2 (RFC 7541): a [`Decoder`] and an [`Encoder`] for one
//! direction each of one connection. Blocks are whole. Frames, pseudo-header order and the meaning
//! of a request belong to the HTTP/2 layer.

use alloc::vec::Vec;

pub mod decode;
pub mod encode;
pub(crate) mod index;
pub(crate) mod int;
mod policy;
pub(crate) mod statics;
pub(crate) mod table;
#[cfg(test)]
mod tests;

pub use decode::{Decoder, Error, FieldLimits, Flaws, Section};
pub use encode::{BlockEncoder, Encoder};
pub use policy::Indexing;
pub(crate) use policy::{Plan, plan};

/// Appends the first `length` octets of `chunk`: one move of fixed length instead of a call.
#[inline(always)]
pub(crate) fn append_short(out: &mut Vec<u8>, chunk: &[u8; table::SLACK], length: usize) {
    let end = out.len() + length;
    out.extend_from_slice(chunk);
    out.truncate(end);
}

/// The name with this number.
#[inline]
pub(crate) fn known_from(number: u8) -> crate::field::Known {
    statics::KNOWN[number as usize]
}
