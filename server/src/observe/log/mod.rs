//! The access log: the data of a request ([`Record`]), its line ([`Format`], a pure function), and
//! the way to the file without blocking a worker ([`Writer`]). Each worker fills a batch; a bounded
//! queue passes full batches to one writing thread; what does not fit is counted and dropped. Which
//! requests have a line, and what it does not show, is decided on the worker.

mod entry;
mod filter;
mod format;
mod sink;
mod writer;

pub(crate) use entry::Entry;
pub use format::Format;
pub(crate) use sink::LogSink;
pub use writer::{Dropped, Log, Writer};

use std::net::SocketAddr;
use std::time::Duration;

/// A header field, name and value as received.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// The data of a request when its response has ended. All bytes are as the peer sent them; the
/// format escapes them.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// When the response ended: microseconds since 1970, UTC.
    pub unix_micros: u64,
    /// From the first byte of the request to the last of the response.
    pub duration: Duration,
    /// The peer; none on a Unix socket.
    pub remote: Option<SocketAddr>,
    /// The method; empty if the request could not be parsed.
    pub method: &'a [u8],
    /// The request target: path and query. Of a request that could not be parsed, as much as there
    /// is.
    pub target: &'a [u8],
    /// `HTTP/1.0`, `HTTP/1.1`, `HTTP/2.0` or `HTTP/3.0`.
    pub protocol: &'static str,
    /// `Host` or `:authority`.
    pub host: &'a [u8],
    /// The name that the client gave with `Authorization: Basic`, whether it was believed or not;
    /// empty if it gave none.
    pub user: &'a [u8],
    /// `Referer`; empty if there was none.
    pub referer: &'a [u8],
    /// `User-Agent`; empty if there was none.
    pub user_agent: &'a [u8],
    /// The final status.
    pub status: u16,
    /// Bytes of the response's body.
    pub body_bytes: u64,
    /// What only the JSON format has room for.
    pub more: More<'a>,
}

/// The rest of a [`Record`]; what is none or empty is left out of the line.
#[derive(Clone, Debug, Default)]
pub struct More<'a> {
    /// Header fields of the request. Credentials are logged as `REDACTED`.
    pub headers: &'a [Pair<'a>],
    /// Header fields of the response. Credentials are logged as `REDACTED`.
    pub response_headers: &'a [Pair<'a>],
    /// The TLS session.
    pub tls: Option<TlsSession<'a>>,
    /// The worker that served it.
    pub worker: Option<u16>,
    /// A number that tells this connection from the others of the process's life.
    pub connection: Option<u64>,
    /// The stream, in HTTP/2 and HTTP/3.
    pub stream: Option<u64>,
    /// RFC 9218 urgency (0 to 7) and whether the response is incremental.
    pub priority: Option<(u8, bool)>,
    /// The connection's smoothed round trip time, in microseconds.
    pub rtt_micros: Option<u32>,
    /// Segments or packets of the connection that were sent again.
    pub retransmits: Option<u32>,
    /// The connection ID that the client used last, in QUIC.
    pub connection_id: Option<&'a [u8]>,
    /// Bytes on the wire, heads and frames and TLS with them.
    pub wire_bytes: Option<u64>,
    /// Whether the file cache had the body.
    pub cache_hit: Option<bool>,
    /// The content coding of the body: `br`.
    pub encoding: &'a str,
    /// Why the response did not end as it should have.
    pub abort: &'a str,
}

/// The TLS session of a [`Record`].
#[derive(Clone, Copy, Debug, Default)]
pub struct TlsSession<'a> {
    /// `1.2` or `1.3`.
    pub version: &'a str,
    /// The cipher suite by its registered name.
    pub cipher: &'a str,
    /// The protocol that was negotiated: `h2`.
    pub alpn: &'a str,
    /// The name that the client asked for.
    pub sni: &'a str,
    /// Whether the session was resumed.
    pub resumed: bool,
    /// Whether the request came as early data.
    pub early_data: bool,
}

impl Default for Record<'_> {
    fn default() -> Self {
        Self {
            unix_micros: 0,
            duration: Duration::ZERO,
            remote: None,
            method: b"",
            target: b"",
            protocol: "HTTP/1.1",
            host: b"",
            user: b"",
            referer: b"",
            user_agent: b"",
            status: 0,
            body_bytes: 0,
            more: More::default(),
        }
    }
}
