//! Why a server did not start, or stopped.

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
    /// An address could not be listened on.
    Listen {
        /// What was to be spoken there.
        scheme: Scheme,
        /// The address.
        address: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused a ring.
    Ring(io::Error),
    /// No worker can be pinned to this CPU.
    Cpu(usize),
    /// An address is not one.
    Address(String),
    /// There is nothing to listen on.
    NoListener,
    /// The certificate or its key.
    Tls(crate::tls::ConfigError),
    /// The access log cannot be written.
    Log {
        /// Its file, or `standard output`.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A thread could not be started, or ended before its time.
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
            Self::Ring(source) => write!(f, "the kernel refuses an io_uring: {source}"),
            Self::Cpu(cpu) => write!(
                f,
                "no worker can be pinned to CPU {cpu}: this machine has no such CPU, or keeps it \
                 from this process"
            ),
            Self::Address(text) => write!(f, "{text}"),
            Self::NoListener => f.write_str("there is no address to listen on"),
            Self::Tls(error) => error.fmt(f),
            Self::Log { path, source } => write!(f, "the access log {path}: {source}"),
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
            | Self::Worker(source) => Some(source),
            Self::Tls(error) => Some(error),
            Self::Cpu(_) | Self::Address(_) | Self::NoListener => None,
        }
    }
}

impl From<crate::tls::ConfigError> for Error {
    fn from(error: crate::tls::ConfigError) -> Self {
        Self::Tls(error)
    }
}

impl From<JoinError> for Response {
    /// 503 where the task was never begun for want of threads, otherwise 500.
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Overloaded => StatusCode::SERVICE_UNAVAILABLE.into(),
            JoinError::Panicked(_) | JoinError::Canceled => {
                StatusCode::INTERNAL_SERVER_ERROR.into()
            }
        }
    }
}
