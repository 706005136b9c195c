//! Session tickets (RFC 8446 §4.6.1, RFC 5077): every worker opens what any other sealed, across
//! reloads and, with a key file, across restarts and machines that share the file.
//!
//! One master secret moves through epochs of wall-clock time by a one-way function, so all holders
//! of a file step in unison and a stolen secret opens no ticket of an epoch before it. From an
//! epoch's secret each TLS stack has its own key, for a ticket of one must not resume on the other.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::RwLock;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use aws_lc_rs::rand;

use super::error::ConfigError;
use super::keylog::Hex;

/// Seconds between rotations: a ticket opens for at least this long and at most twice.
pub const ROTATION: u64 = 12 * 3600;

/// Name and key of one epoch and stack: 16 bytes that say which key sealed a ticket, 32 of key.
pub type KeyMaterial = [u8; 48];

/// The ticket keys of the process.
pub struct Tickets {
    ring: RwLock<Ring>,
    path: Option<PathBuf>,
}

/// The keys of now and of the epoch before.
struct Ring {
    master: Master,
    current: TicketKey,
    previous: TicketKey,
    quic: [KeyMaterial; 2],
}

/// The secret of an epoch; the one before the current, so that the previous key can be had from a
/// file.
#[derive(Clone)]
struct Master {
    epoch: u64,
    secret: [u8; 32],
    /// What does not move with the epochs.
    endpoint: [u8; 32],
}

impl Tickets {
    /// Keys for `now` (seconds since 1970), random unless `path` holds a master secret already. A
    /// missing file is created, readable by its owner only.
    ///
    /// # Errors
    /// The file cannot be read or written, or is none of ours.
    pub(super) fn new(path: Option<&Path>, now: u64) -> Result<Self, ConfigError> {
        let before = (now / ROTATION).saturating_sub(1);
        let fresh = || Master::random(before).ok_or(ConfigError::general("no random numbers"));
        let mut master = match path {
            Some(path) => match std::fs::read_to_string(path) {
                Ok(text) => {
                    Master::parse(&text).map_err(|reason| ConfigError::new(path, reason))?
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => fresh()?,
                Err(error) => {
                    return Err(ConfigError::new(path, format!("cannot be read: {error}")));
                }
            },
            None => fresh()?,
        };
        if !master.advance(before) {
            master = Master { endpoint: master.endpoint, ..fresh()? };
        }
        let ring = Ring::new(master).ok_or(ConfigError::general("ticket keys cannot be made"))?;
        let tickets = Self { ring: RwLock::new(ring), path: path.map(Path::to_path_buf) };
        tickets.save()?;
        Ok(tickets)
    }

    /// Steps on to the keys of `now` (seconds since 1970) if their time has come, and says whether
    /// it had. Call it every minute or so.
    ///
    /// # Errors
    /// The new secret could not be written to its file; the keys are in use nevertheless.
    pub(super) fn rotate(&self, now: u64) -> Result<bool, ConfigError> {
        let before = (now / ROTATION).saturating_sub(1);
        let mut master = self.read().master.clone();
        if before <= master.epoch {
            return Ok(false);
        }
        if !master.advance(before) {
            let fresh = Master::random(before).ok_or(ConfigError::general("no random numbers"))?;
            master = Master { endpoint: master.endpoint, ..fresh };
        }
        let ring = Ring::new(master).ok_or(ConfigError::general("ticket keys cannot be made"))?;
        *self.ring.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = ring;
        self.save()?;
        Ok(true)
    }

    /// The current and the previous key of a TLS stack by its label (`tcp` is this one's, `quic`
    /// the other's).
    pub fn keys(&self, stack: &str) -> Option<[KeyMaterial; 2]> {
        let previous = self.read().master.clone();
        Some([previous.next()?.material(stack)?, previous.material(stack)?])
    }

    /// The current and the previous key of QUIC's tickets.
    pub(super) fn quic(&self) -> [KeyMaterial; 2] {
        self.read().quic
    }

    /// The secret of the QUIC endpoint (connection IDs, Retry tokens, stateless resets): it stays
    /// as long as the file does.
    pub fn endpoint(&self) -> [u8; 32] {
        self.read().master.endpoint
    }

    /// The secrets for a process that replaces this one, as a key file has them.
    pub(crate) fn to_successor(&self) -> String {
        self.read().master.to_text()
    }

    /// Goes on with the secrets of the process that this one replaces. A key file comes first: both
    /// have that one.
    pub(crate) fn adopt(&self, text: &str) -> Result<(), String> {
        if self.path.is_some() {
            return Ok(());
        }
        let ring = Ring::new(Master::parse(text)?).ok_or("ticket keys cannot be made")?;
        *self.ring.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = ring;
        Ok(())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Writes the file anew beside itself and renames it, so that no reader sees half of it.
    fn save(&self) -> Result<(), ConfigError> {
        let Some(path) = &self.path else { return Ok(()) };
        let text = self.read().master.to_text();
        let mut fresh = path.clone().into_os_string();
        fresh.push(".new");
        let write = || -> std::io::Result<()> {
            let mut options = OpenOptions::new();
            let options = options.write(true).create(true).truncate(true).mode(0o600);
            let mut file: File = options.open(&fresh)?;
            file.write_all(text.as_bytes())?;
            std::fs::rename(&fresh, path)
        };
        write().map_err(|error| ConfigError::new(path, format!("cannot be written: {error}")))
    }
}

impl rustls::server::ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        ROTATION as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.read().current.seal(plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let ring = self.read();
        ring.current.open(ticket).or_else(|| ring.previous.open(ticket))
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Ring {
    fn new(master: Master) -> Option<Self> {
        let next = master.next()?;
        let previous = TicketKey::new(&master.material("tcp")?)?;
        let current = TicketKey::new(&next.material("tcp")?)?;
        let quic = [next.material("quic")?, master.material("quic")?];
        Some(Self { master, current, previous, quic })
    }
}

/// Epochs a file may lag behind: more is no lag but a broken clock (this is 89 years).
const MAX_LAG: u64 = 1 << 16;
const MAGIC: &str = "ringway ticket key 1";

impl Master {
    fn random(epoch: u64) -> Option<Self> {
        Some(Self { epoch, secret: random()?, endpoint: random()? })
    }

    /// The one-way step to the next epoch.
    fn next(&self) -> Option<Self> {
        let mut secret = [0; 32];
        self.derive(&[b"ringway next epoch"], &mut secret)?;
        Some(Self { epoch: self.epoch + 1, secret, endpoint: self.endpoint })
    }

    /// Steps on to `epoch`; false if that is out of reach. Later epochs stay: another machine's
    /// clock may be ahead.
    fn advance(&mut self, epoch: u64) -> bool {
        if epoch.abs_diff(self.epoch) > MAX_LAG {
            return false;
        }
        while self.epoch < epoch {
            let Some(next) = self.next() else { return false };
            *self = next;
        }
        true
    }

    fn material(&self, stack: &str) -> Option<KeyMaterial> {
        let mut material = [0; 48];
        self.derive(&[b"ringway session tickets ", stack.as_bytes()], &mut material)?;
        Some(material)
    }

    fn derive(&self, info: &[&[u8]], out: &mut [u8]) -> Option<()> {
        struct Len(usize);
        impl aws_lc_rs::hkdf::KeyType for Len {
            fn len(&self) -> usize {
                self.0
            }
        }
        let prk = Prk::new_less_safe(HKDF_SHA256, &self.secret);
        prk.expand(info, Len(out.len())).ok()?.fill(out).ok()
    }

    fn to_text(&self) -> String {
        let (secret, endpoint) = (Hex(&self.secret), Hex(&self.endpoint));
        format!("{MAGIC}\nepoch {}\nsecret {secret}\nendpoint {endpoint}\n", self.epoch)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some(MAGIC) {
            return Err(format!("is no ticket key file: the first line is not \"{MAGIC}\""));
        }
        let epoch = lines.next().and_then(|line| line.strip_prefix("epoch ")?.parse().ok());
        let epoch = epoch.ok_or("has no epoch in line 2")?;
        let secret = lines.next().and_then(|line| unhex(line.strip_prefix("secret ")?));
        let secret = secret.ok_or("has no secret of 64 hexadecimal digits in line 3")?;
        // Files were written without it once.
        let endpoint = match lines.next() {
            None => random(),
            Some(line) => line.strip_prefix("endpoint ").and_then(unhex),
        };
        let endpoint = endpoint.ok_or("has no secret of 64 hexadecimal digits in line 4")?;
        Ok(Self { epoch, secret, endpoint })
    }
}

fn random() -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).ok()?;
    Some(bytes)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Seals tickets as name ‖ nonce ‖ ciphertext and tag. GCM-SIV, because workers share a key and
/// draw nonces at random: a repeated one does no harm.
struct TicketKey {
    name: [u8; NAME],
    key: LessSafeKey,
}

const NAME: usize = 16;
const TAG: usize = 16;

impl TicketKey {
    fn new(material: &KeyMaterial) -> Option<Self> {
        let name = *material.first_chunk()?;
        let key = UnboundKey::new(&AES_256_GCM_SIV, &material[NAME..]).ok()?;
        Some(Self { name, key: LessSafeKey::new(key) })
    }

    fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(NAME + NONCE_LEN + plain.len() + TAG);
        ticket.extend_from_slice(&self.name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(plain);
        let body = &mut ticket[NAME + NONCE_LEN..];
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(self.name), body).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        if *name != self.name {
            return None;
        }
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>()?;
        let mut plain = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let len = self.key.open_in_place(nonce, Aad::from(self.name), &mut plain).ok()?.len();
        plain.truncate(len);
        Some(plain)
    }
}
