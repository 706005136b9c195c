//! Field lines that many responses share, such as those of a file: finished once, so that nothing
//! of them is written again for each response.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringway_codec::h1::response as write;

use super::response::FieldBlock;

/// Finished field lines.
pub(crate) struct SharedFields {
    block: FieldBlock,
    id: u64,
    /// The length of the body that most of the responses have, and how the HTTP/1 head of such a
    /// response ends: content-length, and the empty line.
    length: u64,
    end: Box<[u8]>,
}

impl SharedFields {
    /// Finishes `block`, for responses that mostly have a body of `length` bytes.
    pub(crate) fn new(block: FieldBlock, length: u64) -> Rc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut end = Vec::new();
        write::content_length(&mut end, length);
        write::end(&mut end);
        // The two low bits choose the place among what a connection remembers; the lines that all
        // responses have are at 0.
        let id = number << 2 | (1 + number % 3);
        Rc::new(Self { block, id, length, end: end.into() })
    }

    /// A number that no other fields have had, by which their encoded form is remembered.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// How the HTTP/1 head of a body of `length` bytes ends, if that is the usual length.
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
