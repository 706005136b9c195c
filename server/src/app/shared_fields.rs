//! Field lines shared by many responses, such as those of a file. They are encoded once.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringway_codec::h1::response as write;

use super::response::FieldBlock;

/// Encoded field lines.
pub(crate) struct SharedFields {
    block: FieldBlock,
    id: u64,
    /// The usual body length, and the end of the HTTP/1 head of a response with that length:
    /// content-length and the empty line.
    length: u64,
    end: Box<[u8]>,
}

impl SharedFields {
    /// Encodes `block`, for responses that usually have a body of `length` bytes.
    pub(crate) fn new(block: FieldBlock, length: u64) -> Rc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut end = Vec::new();
        write::content_length(&mut end, length);
        write::end(&mut end);
        // The two low bits choose the slot in a connection's cache. Slot 0 is for the lines that
        // all responses have.
        let id = number << 2 | (1 + number % 3);
        Rc::new(Self { block, id, length, end: end.into() })
    }

    /// A unique number; caches of the encoded form use it as key.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// End of the HTTP/1 head for a body of `length` bytes, if that is the usual length.
    pub(crate) fn end(&self, length: u64) -> Option<&[u8]> {
        (length == self.length).then_some(&self.end)
    }
}

impl Deref for SharedFields {
    type Target = FieldBlock;

    fn deref(&self) -> &FieldBlock {
        &self.block
    }
}
