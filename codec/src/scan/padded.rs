//! The input of every parser: bytes with 64 readable ones after them.
//!
//! Reading whole blocks past the end of the data is what spares the parsers their tail code. That
//! the bytes are there is checked once, when a [`Padded`] is made; that a read begins inside the
//! data, at each read.

/// Bytes that have to be readable after the data of a [`Padded`].
pub const PAD: usize = 64;

/// Bytes to parse, with 64 readable bytes of anything after them.
#[derive(Clone, Copy)]
pub struct Padded<'a> {
    whole: &'a [u8],
    len: usize,
}

impl<'a> Padded<'a> {
    /// The first `len` bytes of `whole` are the data, the rest is padding (whatever it holds).
    ///
    /// # Panics
    /// When fewer than [`PAD`] bytes follow the data: that is the caller's error, never the peer's.
    #[inline]
    pub fn new(whole: &'a [u8], len: usize) -> Self {
        assert!(len <= whole.len() && whole.len() - len >= PAD, "64 bytes of padding");
        Self { whole, len }
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
        &self.whole[..self.len]
    }

    /// The byte at `at`, which may be the first one behind the data.
    #[inline(always)]
    pub(crate) fn byte(&self, at: usize) -> u8 {
        self.bytes(at)[0]
    }

    /// The eight bytes from `at` on as a little-endian word.
    #[inline(always)]
    pub(crate) fn word(&self, at: usize) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = *self.bytes(at);
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// The 64 bytes from `at` on; `at` may be the end of the data.
    #[inline(always)]
    pub(crate) fn bytes(&self, at: usize) -> &'a [u8; PAD] {
        assert!(at <= self.len);
        // SAFETY: `at + 64 <= len + PAD <= whole.len()` by the assertion here and the one in `new`.
        unsafe { &*self.whole.as_ptr().add(at).cast() }
    }
}
