//! Where the lines go. All of it is on the writing thread, which may wait: for a disk, a pipe, a
//! syslog daemon. A connection that is lost is made again, and what could not be sent meanwhile is
//! counted.

use super::format::ENTRY_END;
use crate::config::{LogConfig, SyslogAddress};
use crate::ring::broker;
use crate::rt::console::note;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a reader may hold the writing thread up with one write.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long after a lost connection the next one is tried.
const AGAIN: Duration = Duration::from_secs(1);

/// Bytes of a UDP datagram (RFC 768: 65,507 with IPv4). A longer line is cut, so that nobody hides
/// from the log by being long.
const UDP_MAX: usize = 65_000;

/// Bytes of a datagram of a Unix socket, below the kernel's usual `net.core.wmem_default`.
const UNIX_MAX: usize = 180_000;

/// The socket of systemd's journal, see its "Native Journal Protocol".
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Where lines go.
pub(crate) enum LogSink {
    Standard,
    File { file: File, path: PathBuf },
    Socket(DaemonSocket),
}

/// A daemon that takes lines by a socket.
pub(crate) struct DaemonSocket {
    to: To,
    open: Option<Open>,
    /// No connection is tried before.
    next: Option<Instant>,
}

enum To {
    Syslog(SyslogAddress),
    Journal(PathBuf),
}

enum Open {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Unix(UnixDatagram),
}

/// What a batch lost.
pub(super) struct Loss {
    pub(super) lines: u64,
    pub(super) error: io::Error,
}

impl LogSink {
    /// Opens what `[log]` names. Only a file has to be there: a daemon may start later.
    pub(crate) fn open(config: &LogConfig) -> io::Result<Self> {
        if let Some(path) = &config.file {
            return Ok(Self::File { file: append(path)?, path: path.clone() });
        }
        let to = match &config.syslog {
            Some(address) => To::Syslog(address.clone()),
            None if config.journal => To::Journal(PathBuf::from(JOURNAL)),
            None => return Ok(Self::Standard),
        };
        Ok(Self::Socket(DaemonSocket { to, open: None, next: None }))
    }

    /// Opens a file again by its name, and a daemon's socket anew; if that fails the one that is
    /// open goes on.
    pub(super) fn reopen(&mut self) {
        match self {
            Self::Standard => {}
            Self::File { file, path } => match append(path) {
                Ok(again) => *file = again,
                Err(error) => note!("ringway: access log {}: {error}", path.display()),
            },
            Self::Socket(socket) => (socket.open, socket.next) = (None, None),
        }
    }

    /// Writes a batch of `lines`.
    pub(super) fn write(&mut self, bytes: &[u8], lines: u64) -> Result<(), Loss> {
        let written = match self {
            Self::Standard => {
                let mut out = io::stdout().lock();
                out.write_all(bytes).and_then(|()| out.flush())
            }
            Self::File { file, .. } => file.write_all(bytes),
            Self::Socket(socket) => return socket.send(bytes, lines),
        };
        written.map_err(|error| Loss { lines, error })
    }
}

fn append(path: &Path) -> io::Result<File> {
    broker::append(path)
}

impl DaemonSocket {
    /// Sends a batch, as far as it can be sent.
    fn send(&mut self, bytes: &[u8], lines: u64) -> Result<(), Loss> {
        let mut sent = 0;
        let result = self.connect().and_then(|()| match &mut self.open {
            Some(Open::Tcp(stream)) => counted(stream, bytes),
            Some(Open::Udp(socket)) => {
                each(bytes, b"\n", &mut sent, |line| socket.send(&line[..line.len().min(UDP_MAX)]))
            }
            Some(Open::Unix(socket)) if matches!(self.to, To::Journal(_)) => {
                each(bytes, ENTRY_END, &mut sent, |entry| journal(socket, entry))
            }
            Some(Open::Unix(socket)) => {
                each(bytes, b"\n", &mut sent, |line| socket.send(&line[..line.len().min(UNIX_MAX)]))
            }
            None => Err(ErrorKind::NotConnected.into()),
        });
        result.map_err(|error| {
            // A daemon that is slow is still there.
            if !is_late(&error) || matches!(self.open, Some(Open::Tcp(_))) {
                self.open = None;
                self.next.get_or_insert_with(|| Instant::now() + AGAIN);
            }
            Loss { lines: lines.saturating_sub(sent), error }
        })
    }

    /// Makes the connection, unless there is one or the last try was just now.
    fn connect(&mut self) -> io::Result<()> {
        if let Some(Open::Tcp(stream)) = &self.open
            && has_ended(stream)
        {
            self.open = None;
        }
        if self.open.is_some() {
            return Ok(());
        }
        if self.next.is_some_and(|next| Instant::now() < next) {
            return Err(ErrorKind::NotConnected.into());
        }
        self.next = Some(Instant::now() + AGAIN);
        self.open = Some(match &self.to {
            To::Syslog(SyslogAddress::Udp(address)) => Open::Udp(udp(*address)?),
            To::Syslog(SyslogAddress::Tcp(address)) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Open::Tcp(stream)
            }
            To::Syslog(SyslogAddress::Unix(path)) | To::Journal(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                Open::Unix(socket)
            }
        });
        self.next = None;
        Ok(())
    }
}

fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    Ok(socket)
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Whether the daemon has closed the connection: a write would seem to succeed.
fn has_ended(stream: &TcpStream) -> bool {
    let looked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    let ended = match looked {
        Ok(read) => read == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    };
    ended || stream.set_nonblocking(false).is_err()
}

/// Each message behind its length (RFC 6587 section 3.4.1), all in one write.
fn counted(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 16);
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        write!(out, "{} ", line.len())?;
        out.extend_from_slice(line);
    }
    stream.write_all(&out)
}

/// Sends each part of `bytes` that ends with `end`, as a datagram; counts those that were sent.
fn each(
    bytes: &[u8],
    end: &[u8],
    sent: &mut u64,
    send: impl Fn(&[u8]) -> io::Result<usize>,
) -> io::Result<()> {
    let mut rest = bytes;
    while let Some(at) = memchr::memmem::find(rest, end) {
        loop {
            match send(&rest[..at]) {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        *sent += 1;
        rest = &rest[at + end.len()..];
    }
    Ok(())
}

/// An entry of the journal: its fields, a line each.
fn journal(socket: &UnixDatagram, entry: &[u8]) -> io::Result<usize> {
    let mut whole = entry[..entry.len().min(UNIX_MAX)].to_vec();
    whole.push(b'\n');
    socket.send(&whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogFormat;
    use crate::observe::log::{Format, Record};

    /// E21: what systemd's journal is sent.
    #[test]
    fn e21_the_journal_gets_fields() {
        let path = std::env::temp_dir().join(format!("ringway-journal-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let journal = UnixDatagram::bind(&path).unwrap();
        let (format, config) = (LogFormat::Json, LogConfig::default());
        let mut format = Format::of(&LogConfig { format, journal: true, ..config });
        let mut batch = Vec::new();
        let record = Record { method: b"GET", status: 503, ..Record::default() };
        format.line(&Record { target: b"/a\nHTTP_STATUS=200", ..record.clone() }, &mut batch);
        format.line(&Record { target: b"/b", user: b"ann\n\nMESSAGE=x", ..record }, &mut batch);
        let mut sink =
            LogSink::Socket(DaemonSocket { to: To::Journal(path.clone()), open: None, next: None });
        assert!(sink.write(&batch, 2).is_ok());
        let mut buffer = [0; 4096];
        for target in ["HTTP_TARGET=/a\\x0AHTTP_STATUS=200", "HTTP_TARGET=/b"] {
            let len = journal.recv(&mut buffer).unwrap();
            let text = str::from_utf8(&buffer[..len]).unwrap();
            let lines: Vec<&str> = text.strip_suffix('\n').unwrap().lines().collect();
            for wanted in [target, "SYSLOG_IDENTIFIER=ringway", "PRIORITY=3", "HTTP_STATUS=503"] {
                assert_eq!(lines.iter().filter(|line| **line == wanted).count(), 1, "{text}");
            }
            assert!(lines.iter().all(|line| line.contains('=')), "{text}");
            let message = lines.last().unwrap().strip_prefix("MESSAGE=").unwrap();
            serde_json::from_str::<serde_json::Value>(message).unwrap();
        }
        std::fs::remove_file(path).unwrap();
    }
}
