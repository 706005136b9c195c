//! Errors of starting and running a server.

use std::fmt;
use std::io;

use http::StatusCode;

use crate::app::response::Response;
use crate::config::Scheme;
use crate::rt::task::JoinError;

/// Why a server did not start, or stopped.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Listening on an address failed.
    Listen {
        /// The scheme to be served there.
        scheme: Scheme,
        /// The address.
        address: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel refused to create an io_uring.
    Ring(io::Error),
    /// A worker cannot be pinned to this CPU.
    Cpu(usize),
    /// This text is not an address.
    Address(String),
    /// The server has no address to listen on.
    NoListener,
    /// The certificate or its key is unusable.
    Tls(crate::tls::ConfigError),
    /// The access log cannot be written.
    Log {
        /// Its file, or `standard output`.
        path: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// This process was to replace another, and what that one said or handed over is no use.
    Handover(String),
    /// What was to be given up before serving could not be.
    Privileges {
        /// What: `the user www-data`, `the sandbox (seccomp)`.
        what: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// A worker thread could not be started, or ended unexpectedly.
    Worker(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { scheme, address, source } => {
                let reason = match source.raw_os_error() {
                    Some(libc::EADDRINUSE) => "the address is in use".to_owned(),
                    Some(libc::EADDRNOTAVAIL) => "no interface has this address".to_owned(),
                    _ => source.to_string(),
                };
                write!(f, "cannot listen for {scheme} on {address}: {reason}")
            }
            Self::Ring(source) => write!(f, "the kernel refused to create an io_uring: {source}"),
            Self::Cpu(cpu) => write!(
                f,
                "no worker can be pinned to CPU {cpu}: this machine has no such CPU, or keeps it \
                 from this process"
            ),
            Self::Address(text) => write!(f, "{text}"),
            Self::NoListener => f.write_str("there is no address to listen on"),
            Self::Tls(error) => error.fmt(f),
            Self::Log { path, source } => write!(f, "the access log {path}: {source}"),
            Self::Handover(why) => write!(f, "cannot replace the running server: {why}"),
            Self::Privileges { what, source } => write!(f, "{what}: {source}"),
            Self::Worker(source) => write!(f, "a worker failed: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen { source, .. }
            | Self::Ring(source)
            | Self::Log { source, .. }
            | Self::Privileges { source, .. }
            | Self::Worker(source) => Some(source),
            Self::Tls(error) => Some(error),
            Self::Cpu(_) | Self::Address(_) | Self::NoListener | Self::Handover(_) => None,
        }
    }
}

impl From<crate::tls::ConfigError> for Error {
    fn from(error: crate::tls::ConfigError) -> Self {
        Self::Tls(error)
    }
}

impl From<JoinError> for Response {
    /// 503 if the task never started because no thread was free, otherwise 500.
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Overloaded => StatusCode::SERVICE_UNAVAILABLE.into(),
            JoinError::Panicked(_) | JoinError::Canceled => {
                StatusCode::INTERNAL_SERVER_ERROR.into()
            }
        }
    }
}
