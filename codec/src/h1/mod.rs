//! HTTP/1.1 (RFC 9112): request heads read, response heads written, chunked bodies decoded.
//!
//! Parsing returns offsets and copies nothing. Where the RFC allows a strict and a lenient reading,
//! the strict one is used, because lenient ones let two parties disagree about where a message
//! ends. Routing, the meaning of bodies and connection state belong to the server.

use core::fmt;

pub mod chunked;
mod error;
mod framing;
pub mod request;
pub mod response;
mod target;

pub use error::Error;

/// A range of the input.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub at: u32,
    /// Bytes.
    pub len: u32,
}

impl Span {
    pub(crate) const fn new(from: usize, to: usize) -> Self {
        Self { at: from as u32, len: (to - from) as u32 }
    }

    /// Offset just past the last byte.
    #[inline]
    pub const fn end(self) -> usize {
        self.at as usize + self.len as usize
    }

    /// The bytes of the range.
    ///
    /// # Panics
    /// If the range exceeds `bytes`, which must be the input that the range was made from.
    #[inline]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.at as usize..self.end()]
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.at, self.end())
    }
}
