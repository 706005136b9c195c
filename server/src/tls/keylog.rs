//! `SSLKEYLOGFILE`: session secrets in the NSS format, so that Wireshark can read a capture. Off
//! unless asked for; the file is appended to and readable by its owner only.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use super::error::ConfigError;
use super::tap;

/// The key log of both TLS stacks, and the tap for traffic secrets on TCP.
pub struct KeyLog {
    file: Option<Mutex<File>>,
}

impl KeyLog {
    /// Appends to the file at `path`, created if need be; logs nothing without one.
    ///
    /// # Errors
    /// The file cannot be opened for appending.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(Self { file: None }) };
        let file =
            OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(
                |error| ConfigError::new(path, format!("cannot log TLS secrets: {error}")),
            )?;
        Ok(Self { file: Some(Mutex::new(file)) })
    }

    /// Whether secrets are written anywhere.
    pub fn is_on(&self) -> bool {
        self.file.is_some()
    }

    /// Writes one line of the NSS key log format (without its end), as BoringSSL's callback gives.
    pub fn line(&self, line: &str) {
        let Some(file) = &self.file else { return };
        let mut file = file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // A debugging aid: a full disk must not end connections.
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}

impl rustls::KeyLog for KeyLog {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        tap::secret(label, secret);
        if self.is_on() {
            self.line(&format!("{label} {} {}", Hex(client_random), Hex(secret)));
        }
    }

    fn will_log(&self, label: &str) -> bool {
        self.is_on() || tap::wants(label)
    }
}

impl fmt::Debug for KeyLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyLog").field("on", &self.is_on()).finish()
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
