//! A connected UDP socket that sends batches of segments and receives coalesced ones.

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use ringway_quic::Transmit;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Room for what the kernel may coalesce.
pub(crate) const RECEIVE_MAX: usize = 65_536;

pub(crate) struct Socket {
    udp: UdpSocket,
    pub(crate) local: SocketAddr,
    segmentation: bool,
}

impl Socket {
    pub(crate) fn connect(server: SocketAddr) -> io::Result<Self> {
        let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let udp = UdpSocket::bind(any)?;
        udp.connect(server)?;
        udp.set_nonblocking(true)?;
        // Old kernels refuse this; datagrams then arrive one by one.
        let _ = setsockopt(&udp, sockopt::UdpGroSegment, &true);
        let _ = setsockopt(&udp, sockopt::RcvBuf, &(4 << 20));
        let local = udp.local_addr()?;
        Ok(Self { udp, local, segmentation: true })
    }

    /// Sends a batch. `false`: the socket is full.
    pub(crate) fn send(&mut self, transmit: &Transmit, bytes: &[u8]) -> io::Result<bool> {
        let fd = self.udp.as_raw_fd();
        let size = transmit.segment_size.filter(|_| self.segmentation);
        if let Some(size) = size {
            let control = [ControlMessage::UdpGsoSegments(&size)];
            let data = [IoSlice::new(&bytes[..transmit.len])];
            match sendmsg::<SockaddrStorage>(fd, &data, &control, MsgFlags::empty(), None) {
                Ok(_) => return Ok(true),
                Err(Errno::EAGAIN) => return Ok(false),
                Err(Errno::EIO | Errno::EINVAL) => self.segmentation = false,
                Err(Errno::ECONNREFUSED) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
        for range in transmit.datagrams() {
            match self.udp.send(&bytes[range]) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                // An ICMP error for an earlier datagram; QUIC's timers handle it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Receives into `buffer`; returns the number of bytes and the size of each datagram.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, usize)>> {
        let mut control = cmsg_space!(i32);
        let mut data = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let fd = self.udp.as_raw_fd();
        let message = match recvmsg::<SockaddrStorage>(fd, &mut data, Some(&mut control[..]), flags)
        {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::ECONNREFUSED) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut segment = message.bytes;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::UdpGroSegments(size) = control {
                segment = usize::try_from(size).unwrap_or(segment);
            }
        }
        Ok(Some((message.bytes, segment.max(1))))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.udp.as_fd()
    }
}
