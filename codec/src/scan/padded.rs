//! The input of every parser: bytes with 64 readable ones after them.
//!
//! Parsers read whole blocks past the end of the data, so they need no tail code. The padding is
//! checked once, when a [`Padded`] is made; each read checks that it begins inside the data.

use core::marker::PhantomData;
use core::slice;

/// Bytes that must be readable after the data of a [`Padded`].
pub const PAD: usize = 64;

/// Bytes to parse, with 64 readable bytes of anything after them.
#[derive(Clone, Copy)]
pub struct Padded<'a> {
    start: *const u8,
    len: usize,
    bytes: PhantomData<&'a [u8]>,
}

// SAFETY: it is a shared slice in all but representation.
unsafe impl Send for Padded<'_> {}
// SAFETY: as above.
unsafe impl Sync for Padded<'_> {}

impl<'a> Padded<'a> {
    /// The first `len` bytes of `whole` are the data, the rest is padding (whatever it holds).
    ///
    /// # Panics
    /// If fewer than [`PAD`] bytes follow the data: a caller's error, never the peer's.
    #[inline]
    pub fn new(whole: &'a [u8], len: usize) -> Self {
        assert!(len <= whole.len() && whole.len() - len >= PAD, "64 bytes of padding");
        Self { start: whole.as_ptr(), len, bytes: PhantomData }
    }

    /// Bytes of data.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no data.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The data without the padding.
    #[inline(always)]
    pub fn data(&self) -> &'a [u8] {
        // SAFETY: `new` took `start` and `len` from a slice that lives for `'a`.
        unsafe { slice::from_raw_parts(self.start, self.len) }
    }

    /// The byte at `at`, which may be the first one past the data.
    #[inline(always)]
    pub(crate) fn byte(&self, at: usize) -> u8 {
        self.bytes(at)[0]
    }

    /// The 64 bytes from `at` on; `at` may be the end of the data.
    #[inline(always)]
    pub(crate) fn bytes(&self, at: usize) -> &'a [u8; PAD] {
        assert!(at <= self.len);
        // SAFETY: `at + 64 <= len + PAD`, which `new` asserted to be there.
        unsafe { &*self.start.add(at).cast() }
    }

    /// The 66 bytes from `at` on, which is at least two before the data's end.
    #[inline(always)]
    pub(crate) fn line_block(&self, at: usize) -> Option<&'a [u8; LINE_BLOCK]> {
        if self.len < 2 || at > self.len - 2 {
            return None;
        }
        // SAFETY: `at + 66 <= len + PAD`, which `new` asserted to be there.
        Some(unsafe { &*self.start.add(at).cast() })
    }
}

/// Bytes of a [`Padded::line_block`].
pub(crate) const LINE_BLOCK: usize = PAD + 2;

/// The first 64 bytes of a line block.
#[inline(always)]
pub(crate) fn first_64(bytes: &[u8; LINE_BLOCK]) -> &[u8; PAD] {
    // SAFETY: 64 of 66 bytes.
    unsafe { &*bytes.as_ptr().cast() }
}

/// The four bytes of a block from `at` on as a little-endian word.
#[inline(always)]
pub(crate) fn half(block: &[u8; PAD], at: usize) -> u32 {
    assert!(at <= PAD - 4);
    // SAFETY: `at + 4 <= PAD`.
    u32::from_le(unsafe { block.as_ptr().add(at).cast::<u32>().read_unaligned() })
}

/// The eight bytes of a block from `at` on as a little-endian word.
#[inline(always)]
pub(crate) fn word(block: &[u8; PAD], at: usize) -> u64 {
    assert!(at <= PAD - 8);
    // SAFETY: `at + 8 <= PAD`.
    u64::from_le(unsafe { block.as_ptr().add(at).cast::<u64>().read_unaligned() })
}
