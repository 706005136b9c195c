//! The lab's client: one thread, any number of connections of any protocol, each as simple as its
//! protocol allows. It adds microseconds to a measurement; the network takes milliseconds.

mod h1;
mod h2;
mod h3;
mod tcp;
pub(crate) mod tls;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

pub(crate) use h3::Ticket;
pub(crate) use tls::Tls;

/// Time limit of an exchange.
const PATIENCE: Duration = Duration::from_secs(180);

/// The protocols, all over TLS except the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) enum Protocol {
    /// HTTP/1.1 in the clear.
    Clear,
    H1,
    H2,
    H3,
}

impl Protocol {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Clear => "h1 in the clear",
            Self::H1 => "h1",
            Self::H2 => "h2",
            Self::H3 => "h3",
        }
    }
}

/// A GET.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    /// The identifier of the answer.
    pub(crate) tag: usize,
    pub(crate) path: String,
    /// Additional fields, in lower case.
    pub(crate) fields: Vec<(&'static str, String)>,
}

impl Ask {
    pub(crate) fn new(tag: usize, path: impl Into<String>) -> Self {
        Self { tag, path: path.into(), fields: Vec::new() }
    }

    pub(crate) fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }
}

/// A complete answer.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) tag: usize,
    pub(crate) status: u16,
    /// Bytes of content.
    pub(crate) body: u64,
    /// Bytes on the wire of the request's fields, and of the answer's.
    pub(crate) asked_bytes: usize,
    pub(crate) head_bytes: usize,
    pub(crate) first: Option<Instant>,
    pub(crate) last: Instant,
    /// The longest time between two arrivals.
    pub(crate) gap: Duration,
}

impl Got {
    fn new(tag: usize, asked_bytes: usize) -> Self {
        Self {
            tag,
            status: 0,
            body: 0,
            asked_bytes,
            head_bytes: 0,
            first: None,
            last: Instant::now(),
            gap: Duration::ZERO,
        }
    }

    /// A part of the answer has arrived.
    fn arrived(&mut self, body: usize) {
        let now = Instant::now();
        if self.first.is_none() {
            self.first = Some(now);
        } else {
            self.gap = self.gap.max(now - self.last);
        }
        self.last = now;
        self.body += body as u64;
    }
}

/// Destination and protocol.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) address: SocketAddr,
    pub(crate) clear: SocketAddr,
    pub(crate) tls: Tls,
    /// A QUIC session to resume, and whether to send the first request as early data.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) early: bool,
}

/// A connection of any protocol.
pub(crate) enum Connection {
    Tcp(Box<tcp::Tcp>),
    Quic(Box<h3::Quic>),
}

impl Connection {
    pub(crate) fn open(protocol: Protocol, setup: &Setup) -> io::Result<Self> {
        Ok(match protocol {
            Protocol::H3 => Self::Quic(Box::new(h3::Quic::open(setup)?)),
            _ => Self::Tcp(Box::new(tcp::Tcp::open(protocol, setup)?)),
        })
    }

    /// Sends a request, or keeps it until the handshake allows.
    pub(crate) fn ask(&mut self, ask: &Ask) {
        match self {
            Self::Tcp(tcp) => tcp.ask(ask),
            Self::Quic(quic) => quic.ask(ask),
        }
    }

    /// Number of unanswered requests.
    pub(crate) fn under_way(&self) -> usize {
        match self {
            Self::Tcp(tcp) => tcp.under_way(),
            Self::Quic(quic) => quic.under_way(),
        }
    }

    /// When the handshake was complete.
    pub(crate) fn ready_at(&self) -> Option<Instant> {
        match self {
            Self::Tcp(tcp) => tcp.ready_at(),
            Self::Quic(quic) => quic.ready_at(),
        }
    }

    /// Bytes of content received, including requests under way.
    pub(crate) fn content(&self) -> u64 {
        match self {
            Self::Tcp(tcp) => tcp.content(),
            Self::Quic(quic) => quic.content(),
        }
    }

    /// All input and output that is possible without waiting.
    fn turn(&mut self, done: &mut Vec<Got>) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.turn(done),
            Self::Quic(quic) => quic.turn(done),
        }
    }

    fn wants_write(&self) -> bool {
        matches!(self, Self::Tcp(tcp) if tcp.wants_write())
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Tcp(_) => None,
            Self::Quic(quic) => quic.deadline(),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(tcp) => tcp.as_fd(),
            Self::Quic(quic) => quic.as_fd(),
        }
    }
}

/// Turns the connections, then waits until one is ready or `until` is reached.
pub(crate) fn step(
    connections: &mut [Connection],
    done: &mut Vec<Got>,
    until: Option<Instant>,
) -> io::Result<()> {
    let before = done.len();
    for connection in connections.iter_mut() {
        connection.turn(done)?;
    }
    if done.len() > before {
        return Ok(());
    }
    let wake = connections.iter().filter_map(Connection::deadline).chain(until).min();
    let now = Instant::now();
    let wait = wake.map_or(PATIENCE, |wake| wake.saturating_duration_since(now)).min(PATIENCE);
    let mut polled: Vec<PollFd<'_>> = connections
        .iter()
        .map(|connection| {
            let write = connection.wants_write();
            let flags =
                if write { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
            PollFd::new(connection.as_fd(), flags)
        })
        .collect();
    let ready = ppoll(&mut polled, Some(TimeSpec::from(wait)), None)?;
    if ready == 0 && wake.is_none() {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "the server is silent"));
    }
    Ok(())
}

/// Turns the connections until `wanted` answers have arrived in total.
pub(crate) fn finish(
    connections: &mut [Connection],
    done: &mut Vec<Got>,
    wanted: usize,
) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while done.len() < wanted {
        step(connections, done, Some(end))?;
        if Instant::now() >= end {
            let message = format!("{} of {wanted} answers in {PATIENCE:?}", done.len());
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
    }
    Ok(())
}
