//! Record protection of an established connection: one [`Half`] per direction seals and opens whole
//! records in place (RFC 8446 §5.2-5.5; RFC 5246 §6.2.3.3 with RFC 5288 and RFC 7905 for TLS 1.2).
//!
//! Only the AEAD suites of rustls occur here, so there is no MAC-then-encrypt and no compression.
//! What a record means (alerts, key updates) is `session`'s business.

use std::ops::Range;

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use aws_lc_rs::hkdf::{self, HKDF_SHA256, HKDF_SHA384, Prk};
use rustls::ConnectionTrafficSecrets;

/// Type, legacy version and length: what stands before every record.
pub(super) const HEADER: usize = 5;
/// The most plaintext a record carries.
pub(super) const MAX_PLAIN: usize = 1 << 14;
/// The most an encrypted record body may measure in TLS 1.3 (RFC 8446 §5.2).
pub(super) const MAX_BODY_13: usize = MAX_PLAIN + 256;
/// The same in TLS 1.2 (RFC 5246 §6.2.3), and of anything during a handshake.
pub(super) const MAX_BODY_12: usize = MAX_PLAIN + 2048;

/// Content types (RFC 8446 §5.1).
pub(super) mod content {
    pub(in crate::tls) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(in crate::tls) const ALERT: u8 = 21;
    pub(in crate::tls) const HANDSHAKE: u8 = 22;
    pub(in crate::tls) const APPLICATION_DATA: u8 = 23;
}

const TAG: usize = 16;
const EXPLICIT_NONCE: usize = 8;

/// How nonce and additional data are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// TLS 1.3: the header is the additional data, the content type stands inside.
    Tls13,
    /// AES-GCM in TLS 1.2: eight nonce bytes travel in the record.
    Gcm12,
    /// ChaCha20-Poly1305 in TLS 1.2: the nonce as in TLS 1.3, additional data as in TLS 1.2.
    ChaCha12,
}

/// Why a record could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Authentication failed, or the record is shorter than its own overhead.
    BadMac,
    /// More than 2^14 bytes of plaintext.
    Overflow,
    /// TLS 1.3: nothing but padding inside (RFC 8446 §5.4).
    NoContentType,
    /// The sequence number would wrap.
    Exhausted,
}

/// The AEAD could not seal: its limit is reached (TLS 1.2), or the library failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsealable;

/// A TLS 1.3 traffic secret: the parent of one direction's keys and of the next secret. Forgotten
/// secrets are overwritten.
#[derive(Clone)]
pub(super) struct Secret {
    bytes: [u8; 48],
    len: u8,
}

impl Secret {
    /// No secret: TLS 1.2 has none.
    pub(super) const NONE: Self = Self { bytes: [0; 48], len: 0 };

    /// Copies `secret`; `None` unless it is the output of SHA-256 or SHA-384.
    pub(super) fn new(secret: &[u8]) -> Option<Self> {
        if secret.len() != 32 && secret.len() != 48 {
            return None;
        }
        let mut bytes = [0; 48];
        bytes[..secret.len()].copy_from_slice(secret);
        Some(Self { bytes, len: secret.len() as u8 })
    }

    /// The secret itself.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
    fn expand(&self, label: &str, out: &mut [u8]) -> Option<()> {
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

    /// The secret after a KeyUpdate (RFC 8446 §7.2).
    fn next(&self) -> Option<Self> {
        let mut next = Self { bytes: [0; 48], len: self.len };
        self.expand("traffic upd", &mut next.bytes[..usize::from(self.len)])?;
        Some(next)
    }
}

/// A key as the handshake gave it.
struct RawKey([u8; 32]);

impl Drop for RawKey {
    fn drop(&mut self) {
        forget(&mut self.0);
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        forget(&mut self.bytes);
    }
}

/// Overwrites key material; the compiler may not leave it out.
fn forget(bytes: &mut [u8]) {
    bytes.fill(0);
    std::hint::black_box(bytes);
}

impl std::fmt::Debug for RawKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RawKey")
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({} bytes)", self.len)
    }
}

/// One direction of an established connection.
#[derive(Debug)]
pub(super) struct Half {
    /// The expanded key, about 600 bytes on the heap; none while at rest.
    key: Option<LessSafeKey>,
    algorithm: &'static Algorithm,
    raw: RawKey,
    iv: [u8; 12],
    form: Form,
    sequence: u64,
    /// Records this key may still protect: for AES-GCM 2^24 (RFC 8446 §5.5), else until the
    /// sequence number runs out.
    limit: u64,
}

impl Half {
    /// The direction whose keys rustls handed over, at `sequence`.
    pub(super) fn new(
        secrets: &ConnectionTrafficSecrets,
        sequence: u64,
        tls13: bool,
    ) -> Option<Self> {
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return None,
        };
        let form = match tls13 {
            true => Form::Tls13,
            false if *algorithm == CHACHA20_POLY1305 => Form::ChaCha12,
            false => Form::Gcm12,
        };
        let iv = iv.as_ref().try_into().ok()?;
        Self::from_parts(algorithm, key.as_ref(), iv, form, sequence)
    }

    fn from_parts(
        algorithm: &'static Algorithm,
        key: &[u8],
        iv: [u8; 12],
        form: Form,
        sequence: u64,
    ) -> Option<Self> {
        let mut raw = RawKey([0; 32]);
        raw.0.get_mut(..key.len())?.copy_from_slice(key);
        let limit = if *algorithm == CHACHA20_POLY1305 { u64::MAX } else { 1 << 24 };
        let mut half = Self { key: None, algorithm, raw, iv, form, sequence, limit };
        half.wake()?;
        Some(half)
    }

    /// Drops the expanded key; the next record expands it again.
    pub(super) fn rest(&mut self) {
        self.key = None;
    }

    fn wake(&mut self) -> Option<&LessSafeKey> {
        if self.key.is_none() {
            let raw = &self.raw.0[..self.algorithm.key_len()];
            self.key = Some(LessSafeKey::new(UnboundKey::new(self.algorithm, raw).ok()?));
        }
        self.key.as_ref()
    }

    /// Goes on to the next traffic secret and its keys (RFC 8446 §7.2, §7.3); the sequence starts
    /// anew.
    pub(super) fn update(&mut self, secret: &mut Secret) -> Option<()> {
        *secret = secret.next()?;
        *self = Self::from_secret(self.algorithm, secret)?;
        Some(())
    }

    /// TLS 1.3 keys of a traffic secret (RFC 8446 §7.3).
    fn from_secret(algorithm: &'static Algorithm, secret: &Secret) -> Option<Self> {
        let mut key = RawKey([0; 32]);
        let key = &mut key.0[..algorithm.key_len()];
        let mut iv = [0; 12];
        secret.expand("key", key)?;
        secret.expand("iv", &mut iv)?;
        Self::from_parts(algorithm, key, iv, Form::Tls13, 0)
    }

    /// How many records may still be sealed with this key.
    pub(super) fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.sequence)
    }

    /// Whether records have the shape of TLS 1.3.
    pub(super) fn is_tls13(&self) -> bool {
        self.form == Form::Tls13
    }

    /// Bytes of a record before its plaintext.
    pub(super) fn before(&self) -> usize {
        HEADER + if self.form == Form::Gcm12 { EXPLICIT_NONCE } else { 0 }
    }

    /// Bytes of a record behind its plaintext.
    pub(super) fn behind(&self) -> usize {
        TAG + usize::from(self.is_tls13())
    }

    /// Appends `plain` (at most 2^14 bytes) to `out` as one record of type `kind`.
    pub(super) fn seal(
        &mut self,
        kind: u8,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Unsealable> {
        let at = out.len();
        out.reserve(self.before() + plain.len() + self.behind());
        out.resize(at + self.before(), 0);
        out.extend_from_slice(plain);
        out.resize(out.len() + self.behind(), 0);
        // What could not be sealed must not be sent.
        self.seal_in_place(kind, &mut out[at..]).inspect_err(|_| out.truncate(at))
    }

    /// Makes `record` a record of type `kind`: its plaintext (at most 2^14 bytes) stands in it
    /// already, with [`Half::before`] bytes free in front and [`Half::behind`] bytes behind.
    pub(super) fn seal_in_place(&mut self, kind: u8, record: &mut [u8]) -> Result<(), Unsealable> {
        assert!(record.len() <= self.before() + MAX_PLAIN + self.behind());
        if self.remaining() == 0 {
            return Err(Unsealable);
        }
        self.protect(kind, record)
    }

    fn protect(&mut self, kind: u8, record: &mut [u8]) -> Result<(), Unsealable> {
        let len = record.len() - self.before() - self.behind();
        let (nonce, tls13, before) = (self.nonce(), self.is_tls13(), self.before());
        let outer = if tls13 { content::APPLICATION_DATA } else { kind };
        let header = header(outer, record.len() - HEADER);
        let aad_12 = self.aad_12(kind, [3, 3], len);
        let aad = if tls13 { &header[..] } else { &aad_12 };
        let (head, body) = record.split_at_mut(before);
        head[..HEADER].copy_from_slice(&header);
        head[HEADER..].copy_from_slice(&nonce[nonce.len() + HEADER - before..]);
        let (body, tag) = body.split_at_mut(body.len() - TAG);
        if tls13 {
            body[len] = kind;
        }
        let sealed = self
            .wake()
            .ok_or(Unsealable)?
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), body)
            .map_err(|_| Unsealable)?;
        tag.copy_from_slice(sealed.as_ref());
        self.sequence += 1;
        Ok(())
    }

    /// Opens the one record in `record` (header included) in place: its content type, and where in
    /// `record` its plaintext stands.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<(u8, Range<usize>), Fault> {
        // Not a limit of the cipher (that is the sender's to keep), but a nonce never repeats.
        if self.sequence == u64::MAX {
            return Err(Fault::Exhausted);
        }
        self.wake().ok_or(Fault::BadMac)?;
        let opened = match self.form {
            Form::Tls13 => self.open_13(record),
            Form::Gcm12 | Form::ChaCha12 => self.open_12(record),
        };
        self.sequence += 1;
        opened
    }

    fn open_13(&self, record: &mut [u8]) -> Result<(u8, Range<usize>), Fault> {
        let (head, body) = record.split_at_mut(HEADER);
        let aad: [u8; HEADER] = (&*head).try_into().map_err(|_| Fault::BadMac)?;
        let at = body.len().checked_sub(TAG).ok_or(Fault::BadMac)?;
        let (plain, tag) = body.split_at_mut(at);
        let nonce = Nonce::assume_unique_for_key(self.nonce());
        let key = self.key.as_ref().ok_or(Fault::BadMac)?;
        key.open_in_place_separate_tag(nonce, Aad::from(aad), tag, plain)
            .map_err(|_| Fault::BadMac)?;
        if plain.len() > MAX_PLAIN + 1 {
            return Err(Fault::Overflow);
        }
        let end = plain.iter().rposition(|&byte| byte != 0).ok_or(Fault::NoContentType)?;
        Ok((plain[end], HEADER..HEADER + end))
    }

    fn open_12(&self, record: &mut [u8]) -> Result<(u8, Range<usize>), Fault> {
        let explicit = if self.form == Form::Gcm12 { EXPLICIT_NONCE } else { 0 };
        let start = HEADER + explicit;
        let len = record.len().checked_sub(start + TAG).ok_or(Fault::BadMac)?;
        let (head, body) = record.split_at_mut(start);
        let mut nonce = self.nonce();
        if self.form == Form::Gcm12 {
            nonce[..4].copy_from_slice(&self.iv[..4]);
            nonce[4..].copy_from_slice(&head[HEADER..]);
        }
        let aad = Aad::from(self.aad_12(head[0], [head[1], head[2]], len));
        let (plain, tag) = body.split_at_mut(len);
        let key = self.key.as_ref().ok_or(Fault::BadMac)?;
        key.open_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, tag, plain)
            .map_err(|_| Fault::BadMac)?;
        if len > MAX_PLAIN {
            return Err(Fault::Overflow);
        }
        Ok((head[0], start..start + len))
    }

    /// The static vector with the sequence number on its low bytes (RFC 8446 §5.3, RFC 7905 §2).
    /// For AES-GCM in TLS 1.2 the sender may choose as it likes: this is unique too.
    fn nonce(&self) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, sequence) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= sequence;
        }
        nonce
    }

    /// Sequence number, type, version and plaintext length (RFC 5246 §6.2.3.3).
    fn aad_12(&self, kind: u8, version: [u8; 2], len: usize) -> [u8; 13] {
        let mut aad = [0; 13];
        aad[..8].copy_from_slice(&self.sequence.to_be_bytes());
        aad[8] = kind;
        aad[9..11].copy_from_slice(&version);
        aad[11..].copy_from_slice(&(len as u16).to_be_bytes());
        aad
    }

    /// Puts the sequence number and the limit elsewhere: tests reach the ends this way.
    #[cfg(any(test, fuzzing))]
    pub(super) fn jump(&mut self, sequence: u64, limit: u64) {
        (self.sequence, self.limit) = (sequence, limit);
    }
}

/// The header of a record with a body of `len` bytes.
fn header(kind: u8, len: usize) -> [u8; HEADER] {
    let [high, low] = (len as u16).to_be_bytes();
    [kind, 3, 3, high, low]
}

#[cfg(test)]
mod tests;
