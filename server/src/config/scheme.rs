//! The protocol of a listener.

use std::fmt;

/// The protocol of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP/1.1 in the clear, and HTTP/2 where the client begins with it.
    Http,
    /// HTTP/2 and HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 in the clear, and nothing else.
    H2c,
    /// HTTP/3, over UDP.
    H3,
    /// The server's own metrics, over HTTP in the clear.
    Metrics,
    /// Whether the server lives and is ready, over HTTP in the clear.
    Health,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::H3 => "h3",
            Self::Metrics => "metrics",
            Self::Health => "health",
        })
    }
}
