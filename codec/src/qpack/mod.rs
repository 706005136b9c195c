//! QPACK, the header compression of HTTP/3 (RFC 9204): a [`Decoder`] and an [`Encoder`] for one
//! direction each of one connection, each with a dynamic table. Streams belong to the caller, which
//! carries the octets of the encoder and decoder streams, keeps blocked blocks, and names each
//! block's stream.

pub mod decode;
pub mod encode;
mod statics;

pub use crate::hpack::{FieldLimits, Flaws, Indexing, Section};
pub use decode::{Decoded, Decoder, Error};
pub use encode::{Encoder, Writer};

#[cfg(test)]
mod tests;
