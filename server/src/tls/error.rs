//! Why a TLS connection ended, and whose fault it was; and why a configuration was refused.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use rustls::AlertDescription;

/// Why a connection cannot go on. See [`Session::read`](super::Session::read) for the alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The first byte is text: `http://` on an `https` port. Nothing was sent.
    NotTls,
    /// The peer broke the protocol or offered nothing that we accept.
    Peer {
        /// The alert we sent (RFC 8446 §6), when known.
        alert: Option<u8>,
        /// What it did.
        what: Cow<'static, str>,
    },
    /// The peer sent this fatal alert.
    Alerted(u8),
    /// Our own failure: a bug, a failing library, or a call in the wrong state.
    Internal(Cow<'static, str>),
    /// The session has ended before, by an error or by both sides' close_notify.
    Over,
}

impl Error {
    /// Whether the peer erred (as against us).
    pub fn by_peer(&self) -> bool {
        !matches!(self, Self::Internal(_) | Self::Over)
    }

    /// The alert that was sent, when known.
    pub fn alert(&self) -> Option<u8> {
        match self {
            Self::Peer { alert, .. } => *alert,
            Self::Internal(_) => Some(AlertDescription::InternalError.into()),
            Self::NotTls | Self::Alerted(_) | Self::Over => None,
        }
    }

    /// The peer did `what` and gets `alert`.
    pub(super) fn peer(alert: AlertDescription, what: &'static str) -> Self {
        Self::Peer { alert: Some(alert.into()), what: what.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTls => f.write_str("the client does not speak TLS"),
            Self::Peer { alert: Some(alert), what } => {
                write!(f, "the client erred: {what} (sent alert {})", AlertName(*alert))
            }
            Self::Peer { alert: None, what } => write!(f, "the client erred: {what}"),
            Self::Alerted(alert) => write!(f, "the client sent alert {}", AlertName(*alert)),
            Self::Internal(what) => write!(f, "TLS failed on our side: {what}"),
            Self::Over => f.write_str("the TLS session has ended"),
        }
    }
}

impl std::error::Error for Error {}

struct AlertName(u8);

impl fmt::Display for AlertName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({})", AlertDescription::from(self.0), self.0)
    }
}

/// Why certificates, keys or a ticket key file were refused: the file and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    file: Option<PathBuf>,
    reason: String,
}

impl ConfigError {
    /// `reason` concerns `file`.
    pub(super) fn new(file: &Path, reason: impl Into<String>) -> Self {
        Self { file: Some(file.to_path_buf()), reason: reason.into() }
    }

    /// `reason` concerns no file in particular.
    pub(crate) fn general(reason: impl Into<String>) -> Self {
        Self { file: None, reason: reason.into() }
    }

    /// The file at fault, if one is.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What is wrong with it.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: {}", file.display(), self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for ConfigError {}
