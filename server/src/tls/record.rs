//! Record protection of an established connection: one [`Half`] per direction seals and opens whole
//! records in place (RFC 8446 §5.2-5.5; RFC 5246 §6.2.3.3 with RFC 5288 and RFC 7905 for TLS 1.2).
//!
//! Only the AEAD suites of rustls occur here, so there is no MAC-then-encrypt and no compression.
//! What a record means (alerts, key updates) is `session`'s business.

use std::ops::Range;

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use rustls::{CipherSuite, ConnectionTrafficSecrets};

use super::secret::{Material, Secret, wipe_stack};

/// Type, legacy version and length: what stands before every record.
pub(super) const HEADER: usize = 5;
/// The most plaintext a record carries.
pub(super) const MAX_PLAIN: usize = 1 << 14;
/// The most an encrypted record body may measure in TLS 1.3 (RFC 8446 §5.2).
pub(super) const MAX_BODY_13: usize = MAX_PLAIN + 256;
/// The same in TLS 1.2 (RFC 5246 §6.2.3).
pub(super) const MAX_BODY_12: usize = MAX_PLAIN + 2048;

/// Content types (RFC 8446 §5.1).
pub(super) mod content {
    pub(in crate::tls) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(in crate::tls) const ALERT: u8 = 21;
    pub(in crate::tls) const HANDSHAKE: u8 = 22;
    pub(in crate::tls) const APPLICATION_DATA: u8 = 23;
}

/// The levels of alerts (RFC 8446 §6).
pub(super) const WARNING: u8 = 1;
pub(super) const FATAL: u8 = 2;
/// The alert by which a side says that it sends no more (RFC 8446 §6.1).
pub(super) const CLOSE_NOTIFY: u8 = 0;

pub(super) const TAG: usize = 16;
const EXPLICIT_NONCE: usize = 8;

/// The AEADs of rustls' suites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cipher {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20,
}

impl Cipher {
    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes128Gcm => &AES_128_GCM,
            Self::Aes256Gcm => &AES_256_GCM,
            Self::ChaCha20 => &CHACHA20_POLY1305,
        }
    }
}

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

/// One direction of an established connection.
#[derive(Debug)]
pub(super) struct Half {
    /// The expanded key, about 600 bytes on the heap; none while at rest.
    key: Option<LessSafeKey>,
    raw: Material<32>,
    iv: Material<12>,
    cipher: Cipher,
    form: Form,
    sequence: u64,
    /// Records this key may still protect: for AES-GCM 2^24 (RFC 8446 §5.5), else until the
    /// sequence number runs out.
    limit: u64,
}

impl Half {
    /// A direction in wait of [`Half::load`] or [`Half::derive`].
    pub(super) fn blank(tls13: bool) -> Self {
        Self {
            key: None,
            raw: Material::BLANK,
            iv: Material::BLANK,
            cipher: Cipher::Aes128Gcm,
            form: if tls13 { Form::Tls13 } else { Form::Gcm12 },
            sequence: 0,
            limit: 0,
        }
    }

    /// Takes over the keys that rustls hands out, at `sequence`.
    #[inline(never)]
    pub(super) fn load(&mut self, secrets: &ConnectionTrafficSecrets, sequence: u64) -> Option<()> {
        let (cipher, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Cipher::Aes128Gcm, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Cipher::Aes256Gcm, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (Cipher::ChaCha20, key, iv),
            _ => return None,
        };
        if self.form != Form::Tls13 && cipher == Cipher::ChaCha20 {
            self.form = Form::ChaCha12;
        }
        self.raw.get_mut(..key.as_ref().len())?.copy_from_slice(key.as_ref());
        self.iv.copy_from_slice(iv.as_ref().get(..12)?);
        self.begin(cipher, sequence)
    }

    /// Derives the TLS 1.3 keys of a traffic secret (RFC 8446 §7.3).
    #[inline(never)]
    fn derive(&mut self, cipher: Cipher, secret: &Secret) -> Option<()> {
        secret.expand("key", &mut self.raw[..cipher.algorithm().key_len()])?;
        secret.expand("iv", &mut self.iv[..])?;
        self.begin(cipher, 0)
    }

    /// Begins to use the key and the vector that were put in their places.
    fn begin(&mut self, cipher: Cipher, sequence: u64) -> Option<()> {
        let limit = if cipher == Cipher::ChaCha20 { u64::MAX } else { 1 << 24 };
        (self.cipher, self.sequence, self.limit) = (cipher, sequence, limit);
        self.key = None;
        self.wake().map(|_| ())
    }

    /// Drops the expanded key; the next record expands it again.
    pub(super) fn rest(&mut self) {
        self.key = None;
    }

    fn wake(&mut self) -> Option<&LessSafeKey> {
        if self.key.is_none() {
            let algorithm = self.cipher.algorithm();
            let raw = &self.raw[..algorithm.key_len()];
            self.key = Some(LessSafeKey::new(UnboundKey::new(algorithm, raw).ok()?));
        }
        self.key.as_ref()
    }

    /// Goes on to the next traffic secret and its keys (RFC 8446 §7.2, §7.3); the sequence starts
    /// anew.
    pub(super) fn update(&mut self, secret: &mut Secret) -> Option<()> {
        let done = secret.advance().and_then(|()| self.derive(self.cipher, secret));
        wipe_stack();
        done
    }

    /// The direction that the first traffic secret of a TLS 1.3 connection protects.
    pub(super) fn of_secret(suite: CipherSuite, secret: &Secret) -> Option<Box<Self>> {
        let cipher = match suite {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => Cipher::Aes128Gcm,
            CipherSuite::TLS13_AES_256_GCM_SHA384 => Cipher::Aes256Gcm,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Cipher::ChaCha20,
            _ => return None,
        };
        let mut half = Box::new(Self::blank(true));
        half.derive(cipher, secret)?;
        Some(half)
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
        let mut nonce = *self.iv;
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

/// How much longer than its content a record's body is in TLS 1.2.
pub(super) fn overhead_12(suite: CipherSuite) -> usize {
    match suite {
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => TAG,
        _ => EXPLICIT_NONCE + TAG,
    }
}

/// The header of a record with a body of `len` bytes.
fn header(kind: u8, len: usize) -> [u8; HEADER] {
    let [high, low] = (len as u16).to_be_bytes();
    [kind, 3, 3, high, low]
}

#[cfg(test)]
mod tests;
