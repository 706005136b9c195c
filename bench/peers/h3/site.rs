//! What every HTTP/3 peer is told and answers.

use bytes::Bytes;
use nix::sys::socket::{setsockopt, sockopt};
use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

/// The largest datagram, as with ringway.
pub const DATAGRAM: usize = 1452;
/// Requests under way on a connection.
pub const STREAMS: u64 = 256;
/// A connection may be idle for so long.
pub const IDLE: Duration = Duration::from_secs(120);

/// The command line.
pub struct Options {
    pub address: String,
    pub cert: String,
    pub key: String,
    pub data: String,
}

impl Options {
    pub fn read() -> Result<Self, String> {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let value = |name: &str| {
            let at = words.iter().position(|word| word == name);
            at.and_then(|at| words.get(at + 1)).cloned().ok_or(format!("{name} is missing"))
        };
        let (address, cert) = (value("--https")?, value("--cert")?);
        Ok(Self { address, cert, key: value("--key")?, data: value("--data")? })
    }
}

/// An answer: `body`, so many times in a row.
pub struct Reply {
    pub kind: &'static str,
    pub body: Bytes,
    pub times: usize,
}

impl Reply {
    pub fn length(&self) -> usize {
        self.body.len() * self.times
    }
}

/// The files, in memory. Of the gibibyte only as much as is repeated.
pub struct Site {
    small: Bytes,
    large: Bytes,
    zeros: Bytes,
}

impl Site {
    pub fn read(data: &str) -> io::Result<Self> {
        let read = |name| fs::read(Path::new(data).join("static").join(name)).map(Bytes::from);
        let zeros = Bytes::from_static(&[0; 1 << 18]);
        Ok(Self { small: read("10k.bin")?, large: read("1m.bin")?, zeros })
    }

    /// The answer to a request for `target`.
    pub fn answer(&self, target: &[u8]) -> Reply {
        let mut parts = target.splitn(2, |byte| *byte == b'?');
        let path = parts.next().unwrap_or_default();
        let (kind, body, times) = match path {
            b"/baseline2" => ("text/plain", sum(parts.next().unwrap_or_default()), 1),
            b"/static/10k.bin" => ("application/octet-stream", self.small.clone(), 1),
            b"/static/1m.bin" => ("application/octet-stream", self.large.clone(), 1),
            b"/1g.bin" => ("application/octet-stream", self.zeros.clone(), 1 << 12),
            _ => ("text/plain", Bytes::from_static(b"OK"), 1),
        };
        Reply { kind, body, times }
    }
}

fn sum(query: &[u8]) -> Bytes {
    let value = |pair: &[u8]| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        std::str::from_utf8(&pair[at + 1..]).ok()?.parse::<i64>().ok()
    };
    let total: i64 = query.split(|byte| *byte == b'&').filter_map(value).sum();
    Bytes::from(total.to_string())
}

/// Socket buffers of 8 MiB, which ringway asks for too, or what the kernel gives.
pub fn enlarge(socket: &UdpSocket) {
    let size = 8 << 20;
    if setsockopt(socket, sockopt::RcvBufForce, &size).is_err() {
        let _ = setsockopt(socket, sockopt::RcvBuf, &size);
    }
    if setsockopt(socket, sockopt::SndBufForce, &size).is_err() {
        let _ = setsockopt(socket, sockopt::SndBuf, &size);
    }
}
