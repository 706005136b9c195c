//! UDP sockets for QUIC: one for each worker on the port of a TLS listener. They are bound in
//! worker order, which the kernel filter relies on. udp(7), ip(7), socket(7).

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, SockRef, Type};

use crate::ring::sys;

/// A worker's UDP socket.
pub(crate) struct Socket {
    pub(crate) fd: OwnedFd,
    /// The bound address, possibly unspecified.
    pub(crate) local: SocketAddr,
    /// Whether the worker receives from it; if not, another one does, and this one only sends.
    pub(crate) receives: bool,
}

/// Connection IDs have one byte for the worker; further workers do not speak QUIC.
pub(crate) const WORKERS_MAX: usize = 256;

/// linux/udp.h
const UDP_GRO: i32 = 104;
/// linux/in.h, linux/in6.h: packets go out unfragmented, whatever the kernel believes of the path.
const PMTUDISC_PROBE: i32 = 3;

/// The sockets of `workers` workers, and the bytes of receive buffer that the kernel granted each
/// of the `buffer` that are wanted.
pub(crate) fn bind(
    address: SocketAddr,
    only_v6: bool,
    workers: usize,
    buffer: usize,
) -> io::Result<(Vec<Socket>, usize)> {
    // Without SO_REUSEPORT first: a second server of the same user would silently join the group of
    // sockets and take part of the datagrams.
    drop(socket(address, only_v6, false)?);
    let mut sockets = Vec::with_capacity(workers);
    let mut granted = usize::MAX;
    for _ in 0..workers {
        let fd = socket(address, only_v6, true)?;
        granted = granted.min(adjust(&fd, address, buffer)?);
        sockets.push(Socket { fd, local: address, receives: true });
    }
    Ok((sockets, granted))
}

/// Sockets of a former process in their order. With more workers than before, further ones join
/// them; one that does not share its port stays the only one.
pub(crate) fn adopt(
    address: SocketAddr,
    only_v6: bool,
    mut sockets: Vec<OwnedFd>,
    workers: usize,
    buffer: usize,
) -> io::Result<(Vec<Socket>, usize)> {
    let is_alone = match sockets.first() {
        Some(first) => !SockRef::from(first).reuse_port()?,
        None => false,
    };
    if is_alone && let Some(socket) = sockets.pop() {
        return share(address, socket, workers, buffer);
    }
    while sockets.len() < workers {
        sockets.push(socket(address, only_v6, true)?);
    }
    let mut granted = usize::MAX;
    for fd in &sockets {
        granted = granted.min(adjust(fd, address, buffer)?);
    }
    let each = sockets.into_iter().map(|fd| Socket { fd, local: address, receives: true });
    Ok((each.collect(), granted))
}

/// One socket for all of `workers` workers: the first one receives, and hands on what is not its
/// own; all send.
pub(crate) fn share(
    address: SocketAddr,
    socket: OwnedFd,
    workers: usize,
    buffer: usize,
) -> io::Result<(Vec<Socket>, usize)> {
    let granted = adjust(&socket, address, buffer)?;
    let mut sockets = Vec::with_capacity(workers);
    for _ in 1..workers {
        sockets.push(Socket { fd: socket.try_clone()?, local: address, receives: false });
    }
    sockets.insert(0, Socket { fd: socket, local: address, receives: true });
    Ok((sockets, granted))
}

fn socket(address: SocketAddr, only_v6: bool, share: bool) -> io::Result<OwnedFd> {
    let domain = Domain::for_address(address);
    let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_port(share)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn adjust(fd: &OwnedFd, address: SocketAddr, buffer: usize) -> io::Result<usize> {
    sys::set_option(fd, libc::SOL_UDP, UDP_GRO, 1)?;
    if address.is_ipv6() {
        sys::set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        sys::set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, PMTUDISC_PROBE)?;
    } else {
        sys::set_option(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    }
    // Also for an IPv6 socket, which may carry IPv4.
    sys::set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, PMTUDISC_PROBE)?;
    let wanted = i32::try_from(buffer).unwrap_or(i32::MAX);
    for (force, plain) in
        [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
    {
        // The first needs CAP_NET_ADMIN; the second is cut to net.core.rmem_max or wmem_max.
        if sys::set_option(fd, libc::SOL_SOCKET, force, wanted).is_err() {
            sys::set_option(fd, libc::SOL_SOCKET, plain, wanted)?;
        }
    }
    // The kernel doubles what it is told, for its own overhead.
    Ok(SockRef::from(fd).recv_buffer_size()? / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_has_a_socket_and_nobody_else_joins() {
        let first = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        let refused = bind(address, true, 2, 1 << 16).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let (sockets, granted) = bind(address, true, 3, 1 << 16).unwrap();
        assert_eq!((sockets.len(), granted), (3, 1 << 16));
        assert!(bind(address, true, 1, 1 << 16).is_err(), "a second server");
    }
}
