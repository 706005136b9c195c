//! Listening sockets: one for each worker where the kernel can share a port among them
//! (SO_REUSEPORT), so that accepting needs no lock; one shared by all where it cannot.
//!
//! All are bound from one thread, in order, before any worker starts.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{inherited, store};
use crate::app::error::Error;
use crate::config::{Address, Scheme};
use crate::udp;

/// Connections that the kernel keeps for us to accept; it cuts the number to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// Where a listener is bound; port 0 is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// TCP.
    Ip(SocketAddr),
    /// A Unix socket; a leading `@` is a name in the abstract namespace.
    Unix(PathBuf),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A listener with its sockets for all workers.
pub(crate) struct Listener {
    pub(crate) scheme: Scheme,
    /// The address as the configuration writes it.
    pub(crate) written: Arc<str>,
    pub(crate) bound: Bound,
    /// A socket for each worker, or more, from a process that had more.
    pub(crate) sockets: Vec<OwnedFd>,
    /// The UDP sockets for QUIC on the same port, if HTTP/3 is spoken.
    pub(crate) udp: Vec<udp::Socket>,
}

impl Listener {
    /// The protocols and their addresses.
    pub(crate) fn lines(&self) -> Vec<(Scheme, Bound)> {
        let mut lines = vec![(self.scheme, self.bound.clone())];
        if !self.udp.is_empty() {
            lines.push((Scheme::H3, self.bound.clone()));
        }
        lines
    }

    /// For an unspecified IPv6 address: whether IPv4 is accepted too (`IPV6_V6ONLY`, ipv6(7)).
    /// Empty otherwise.
    pub(crate) fn families(&self) -> &'static str {
        let any_v6 = |ip: &SocketAddr| ip.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let Bound::Ip(bound) = &self.bound else { return "" };
        match self.sockets.first().map(|socket| socket2::SockRef::from(socket).only_v6()) {
            Some(Ok(true)) if any_v6(bound) => " (IPv6 only)",
            Some(Ok(false)) if any_v6(bound) => " (IPv4 and IPv6)",
            _ => "",
        }
    }

    /// Makes each worker's socket accept the connections that arrive on the worker's CPU
    /// (`SO_INCOMING_CPU`, socket(7)).
    pub(crate) fn steer(&self, cpus: &[core_affinity::CoreId]) -> io::Result<()> {
        if !matches!(self.bound, Bound::Ip(_)) {
            return Ok(());
        }
        for (socket, cpu) in self.sockets.iter().zip(cpus.iter().cycle()) {
            socket2::SockRef::from(socket).set_cpu_affinity(cpu.id)?;
        }
        Ok(())
    }

    /// Bounds the unsent bytes in the kernel for each connection (`TCP_NOTSENT_LOWAT`, tcp(7))
    /// where HTTP/2 is usual: bytes in a socket cannot be overtaken by more urgent ones. Accepted
    /// sockets inherit it.
    ///
    /// A page of metrics that takes nothing is noticed once its socket is full, so that is small.
    pub(crate) fn bound_unsent(&self, bytes: u32) -> io::Result<()> {
        if self.scheme == Scheme::Metrics {
            let mut sockets = self.sockets.iter().map(socket2::SockRef::from);
            return sockets.try_for_each(|socket| socket.set_send_buffer_size(METRICS_BYTES));
        }
        let is_tcp = matches!(self.bound, Bound::Ip(_));
        if !is_tcp || !matches!(self.scheme, Scheme::Https | Scheme::H2c) {
            return Ok(());
        }
        self.sockets
            .iter()
            .try_for_each(|socket| socket2::SockRef::from(socket).set_tcp_notsent_lowat(bytes))
    }
}

/// The kernel's send buffer of a connection for metrics.
const METRICS_BYTES: usize = 16 * 1024;

/// Binds an address for `workers` workers.
pub(crate) fn bind(scheme: Scheme, address: &Address, workers: usize) -> Result<Listener, Error> {
    inherited::find();
    let failed = |source| Error::Listen { scheme, address: address.to_string(), source };
    let stored = store::take(scheme, address);
    let (bound, sockets) = match address {
        _ if !stored.is_empty() => adopted(stored, workers),
        Address::Ip(wanted) => tcp(*wanted, true, workers),
        Address::Any(port) => tcp((Ipv6Addr::UNSPECIFIED, *port).into(), false, workers)
            .or_else(|_| tcp((Ipv4Addr::UNSPECIFIED, *port).into(), true, workers)),
        Address::Unix(path) => unix(path, workers),
        Address::Fd(descriptor) => inherited::listener(descriptor)
            .and_then(|socket| Ok((bound_at(&socket)?, shared(socket, workers)?))),
    }
    .map_err(failed)?;
    Ok(Listener { scheme, written: address.to_string().into(), bound, sockets, udp: Vec::new() })
}

/// A listener on sockets that another process has handed over, in the order of its workers. Where
/// they are fewer than the workers here, further ones are bound, which do not listen yet: they are
/// returned.
pub(crate) fn adopt(
    scheme: Scheme,
    address: &Address,
    sockets: Vec<OwnedFd>,
    workers: usize,
) -> Result<(Listener, Vec<Socket>), Error> {
    let failed = |source| Error::Listen { scheme, address: address.to_string(), source };
    let (bound, sockets, fresh) = spread(address, sockets, workers).map_err(failed)?;
    let written = address.to_string().into();
    Ok((Listener { scheme, written, bound, sockets, udp: Vec::new() }, fresh))
}

fn spread(
    address: &Address,
    mut sockets: Vec<OwnedFd>,
    workers: usize,
) -> io::Result<(Bound, Vec<OwnedFd>, Vec<Socket>)> {
    let Some(first) = sockets.first().map(socket2::SockRef::from) else {
        return Err(io::Error::other("no socket was handed over"));
    };
    let here = first.local_addr()?;
    let bound = match (here.as_socket(), address) {
        (Some(ip), _) => Bound::Ip(ip),
        (None, Address::Unix(path)) => Bound::Unix(path.clone()),
        (None, _) => Bound::Unix(here.as_pathname().map(Path::to_owned).unwrap_or_default()),
    };
    let Bound::Ip(ip) = bound else { return Ok((bound, one_for_all(sockets, workers)?, vec![])) };
    if !first.reuse_port()? {
        return Ok((bound, one_for_all(sockets, workers)?, vec![]));
    }
    let only_v6 = ip.is_ipv6() && first.only_v6()?;
    let mut fresh = Vec::new();
    while sockets.len() < workers {
        let socket = tcp_socket(ip, only_v6, true)?;
        fresh.push(socket.try_clone()?);
        sockets.push(socket.into());
    }
    Ok((bound, sockets, fresh))
}

/// All of them are the same socket: as many as there are workers.
fn one_for_all(mut sockets: Vec<OwnedFd>, workers: usize) -> io::Result<Vec<OwnedFd>> {
    sockets.truncate(1);
    match sockets.pop() {
        Some(socket) => shared(socket, workers),
        None => Ok(sockets),
    }
}

/// Listens on a socket of [`adopt`].
pub(crate) fn begin(socket: &Socket) -> io::Result<()> {
    socket.listen(BACKLOG)
}

/// Binds a TLS listener's address, and the UDP port of the same number with `buffer` bytes in the
/// kernel for each socket. A UDP port that cannot be had is the second result, or how many bytes
/// the kernel granted.
pub(crate) fn bind_both(
    address: &Address,
    workers: usize,
    buffer: usize,
) -> Result<(Listener, Result<usize, Error>), Error> {
    const TRIES: usize = 16;
    let is_any_port =
        matches!(address, Address::Ip(ip) if ip.port() == 0) || matches!(address, Address::Any(0));
    for left in (0..TRIES).rev() {
        let mut listener = bind(Scheme::Https, address, workers)?;
        let Bound::Ip(bound) = listener.bound else { return Ok((listener, Ok(buffer))) };
        let (only_v6, workers) =
            (!matches!(address, Address::Any(_)), workers.min(udp::WORKERS_MAX));
        let stored = store::take(Scheme::H3, address);
        let made = match address {
            _ if !stored.is_empty() => udp::adopt(bound, only_v6, stored, workers, buffer),
            Address::Fd(_) => inherited::udp(bound)
                .and_then(|(here, socket)| udp::share(here, socket, workers, buffer)),
            _ => udp::bind(bound, only_v6, workers, buffer),
        };
        let source = match made {
            Ok((sockets, granted)) => {
                listener.udp = sockets;
                return Ok((listener, Ok(granted)));
            }
            Err(source) => source,
        };
        // The TCP port that the kernel chose may be taken for UDP: try another.
        if !is_any_port || left == 0 || source.kind() != io::ErrorKind::AddrInUse {
            let address = bound.to_string();
            return Ok((listener, Err(Error::Listen { scheme: Scheme::H3, address, source })));
        }
    }
    unreachable!("the last try returns")
}

fn tcp(wanted: SocketAddr, only_v6: bool, workers: usize) -> io::Result<(Bound, Vec<OwnedFd>)> {
    if wanted.port() != 0 {
        // A second server of the same user would join the group of sockets silently and take a part
        // of the connections; a socket that does not share finds it.
        tcp_socket(wanted, only_v6, false)?.listen(1)?;
    }
    let first = tcp_socket(wanted, only_v6, true)?;
    let address = first.local_addr()?;
    let Some(bound) = address.as_socket() else {
        return Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT));
    };
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(tcp_socket(bound, only_v6, true)?);
    }
    for socket in &sockets {
        socket.listen(BACKLOG)?;
    }
    Ok((Bound::Ip(bound), sockets.into_iter().map(OwnedFd::from).collect()))
}

fn tcp_socket(address: SocketAddr, only_v6: bool, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    // Inherited by accepted sockets: answers are gathered here, so Nagle's algorithm only delays.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn unix(path: &Path, workers: usize) -> io::Result<(Bound, Vec<OwnedFd>)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let name = path.to_str().and_then(|path| path.strip_prefix('@'));
    match name {
        Some(name) => {
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            let listener = std::os::unix::net::UnixListener::bind_addr(&address)?;
            return Ok((Bound::Unix(path.into()), shared(listener.into(), workers)?));
        }
        None => {
            // Remove a stale socket file that nobody listens on.
            if std::os::unix::net::UnixStream::connect(path)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
            {
                std::fs::remove_file(path)?;
            }
            socket.bind(&SockAddr::unix(path)?)?;
        }
    }
    socket.listen(BACKLOG)?;
    Ok((Bound::Unix(path.into()), shared(socket.into(), workers)?))
}

/// Sockets that have come back. With more workers than before, further ones join their group, or
/// one is shared.
fn adopted(mut sockets: Vec<OwnedFd>, workers: usize) -> io::Result<(Bound, Vec<OwnedFd>)> {
    let first = sockets[0].try_clone()?;
    let bound = bound_at(&first)?;
    let only_v6 = socket2::SockRef::from(&first).only_v6().unwrap_or(false);
    while sockets.len() < workers {
        let joined = match &bound {
            Bound::Ip(address) => tcp_socket(*address, only_v6, true)
                .and_then(|socket| socket.listen(BACKLOG).map(|()| OwnedFd::from(socket))),
            Bound::Unix(_) => Err(io::Error::other("a path has one socket")),
        };
        sockets.push(joined.or_else(|_| first.try_clone())?);
    }
    Ok((bound, sockets))
}

/// Where a socket is bound.
fn bound_at(socket: &OwnedFd) -> io::Result<Bound> {
    let address = socket2::SockRef::from(socket).local_addr()?;
    if let Some(address) = address.as_socket() {
        return Ok(Bound::Ip(address));
    }
    let abstracted = || {
        let name = address.as_abstract_namespace()?;
        Some(format!("@{}", String::from_utf8_lossy(name)).into())
    };
    let path = address.as_pathname().map(Path::to_owned).or_else(abstracted);
    Ok(Bound::Unix(path.unwrap_or_default()))
}

fn shared(socket: OwnedFd, workers: usize) -> io::Result<Vec<OwnedFd>> {
    let mut sockets = Vec::with_capacity(workers);
    for _ in 1..workers {
        sockets.push(socket.try_clone()?);
    }
    sockets.push(socket);
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_gets_a_socket_on_the_same_port() {
        let address = Address::Ip(([127, 0, 0, 1], 0).into());
        let listener = bind(Scheme::Http, &address, 3).unwrap();
        assert_eq!(listener.sockets.len(), 3);
        let Bound::Ip(bound) = listener.bound else { panic!("a TCP listener") };
        assert_ne!(bound.port(), 0);
        let error = bind(Scheme::Http, &Address::Ip(bound), 1).err().unwrap();
        assert!(error.to_string().contains("in use"), "{error}");
    }

    #[test]
    fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() {
        let path = std::env::temp_dir().join(format!("ringway-listen-{}", std::process::id()));
        let address = Address::Unix(path.clone());
        let first = bind(Scheme::Http, &address, 2).unwrap();
        assert!(bind(Scheme::Http, &address, 1).is_err());
        drop(first);
        let second = bind(Scheme::Http, &address, 1).unwrap();
        assert_eq!(second.bound.to_string(), format!("unix:{}", path.display()));
        std::fs::remove_file(path).unwrap();
    }
}
