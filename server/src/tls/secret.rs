//! Key material of ours, from the moment that rustls tells it until its connection ends.
//!
//! It lies on the heap from the start, in boxes that are handed on and in the one of a connection's
//! record layer: a value that moves leaves its bytes behind, on the stack or in freed memory. What
//! is derived is derived into its place. All of it is overwritten when it is dropped, and
//! [`wipe_stack`] clears the frames of the calls that have worked with it.
//!
//! Not ours: what rustls 0.23.46 leaves of a handshake. Its states move from one box to the next,
//! and the freed ones keep the first traffic secrets; `Iv`, and the key block of TLS 1.2, are not
//! overwritten at all. `tests/tls_memory.rs` lists these copies and counts them. QUIC's secrets are
//! BoringSSL's, which hands none out.

use std::ops::{Deref, DerefMut};

use aws_lc_rs::hkdf::{self, HKDF_SHA256, HKDF_SHA384, Prk};
use zeroize::Zeroize;

/// Bytes that are overwritten when they are dropped. To be filled where they lie.
pub(super) struct Material<const N: usize>([u8; N]);

impl<const N: usize> Material<N> {
    /// Zeros, to be filled.
    pub(super) const BLANK: Self = Self([0; N]);
}

impl<const N: usize> Drop for Material<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> Deref for Material<N> {
    type Target = [u8; N];

    fn deref(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> DerefMut for Material<N> {
    fn deref_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> std::fmt::Debug for Material<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Material({N} bytes)")
    }
}

/// A TLS 1.3 traffic secret: the parent of one direction's keys and of the next secret.
#[derive(Debug)]
pub(super) struct Secret {
    bytes: Material<48>,
    len: u8,
}

impl Secret {
    /// No secret: TLS 1.2 has none, and it is what there is before [`Secret::copy`].
    pub(super) const NONE: Self = Self { bytes: Material::BLANK, len: 0 };

    /// Copies `secret`; `None` unless it is the output of SHA-256 or SHA-384.
    pub(super) fn new(secret: &[u8]) -> Option<Box<Self>> {
        if secret.len() != 32 && secret.len() != 48 {
            return None;
        }
        let mut this = Box::new(Self::NONE);
        this.bytes[..secret.len()].copy_from_slice(secret);
        this.len = secret.len() as u8;
        Some(this)
    }

    /// Becomes a copy of `other`.
    pub(super) fn copy(&mut self, other: &Self) {
        self.bytes.copy_from_slice(&*other.bytes);
        self.len = other.len;
    }

    /// The secret itself.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
    pub(super) fn expand(&self, label: &str, out: &mut [u8]) -> Option<()> {
        struct Len(usize);
        impl hkdf::KeyType for Len {
            fn len(&self) -> usize {
                self.0
            }
        }
        let hash = if self.len == 48 { HKDF_SHA384 } else { HKDF_SHA256 };
        let length = (out.len() as u16).to_be_bytes();
        let label_len = [("tls13 ".len() + label.len()) as u8];
        let info = [&length[..], &label_len, b"tls13 ", label.as_bytes(), &[0]];
        let prk = Prk::new_less_safe(hash, self.as_slice());
        prk.expand(&info, Len(out.len())).ok()?.fill(out).ok()
    }

    /// Becomes the secret after a KeyUpdate (RFC 8446 §7.2).
    #[inline(never)]
    pub(super) fn advance(&mut self) -> Option<()> {
        let mut next = Self { len: self.len, ..Self::NONE };
        self.expand("traffic upd", &mut next.bytes[..usize::from(self.len)])?;
        self.copy(&next);
        Some(())
    }
}

/// Clears the stack below the caller's frame, where the calls that it has made may have left copies
/// of what they worked with: the deepest of rustls and aws-lc take less than this. Call it from
/// outside of the function that had them, which must not be inlined.
#[inline(never)]
pub(super) fn wipe_stack() {
    [0u64; 4096].zeroize();
}
