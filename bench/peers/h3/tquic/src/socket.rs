//! The socket, with segmentation and coalescing.

use crate::site;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use tquic::{PacketInfo, PacketSendHandler};

/// Room for what the kernel may coalesce.
pub(crate) const RECEIVE_MAX: usize = 65_536;

pub(crate) struct Socket {
    udp: UdpSocket,
    local: SocketAddr,
    state: UdpSocketState,
    /// The packets of a segmented send.
    batch: RefCell<Vec<u8>>,
}

impl Socket {
    pub(crate) fn bind(address: &str) -> io::Result<Self> {
        let udp = UdpSocket::bind(address)?;
        site::enlarge(&udp);
        let state = UdpSocketState::new(UdpSockRef::from(&udp))?;
        let local = udp.local_addr()?;
        Ok(Self { udp, local, state, batch: RefCell::default() })
    }

    /// Sleeps until something has arrived or the timeout is over.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        let mut fds = [PollFd::new(self.udp.as_fd(), PollFlags::POLLIN)];
        let millis = timeout.map(|timeout| timeout.as_micros().div_ceil(1000));
        let timeout = match millis {
            Some(millis) => PollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX)),
            None => PollTimeout::NONE,
        };
        poll(&mut fds, timeout).map(drop).map_err(Into::into)
    }

    /// Gives every datagram that has arrived to `take`.
    pub(crate) fn receive(
        &self,
        buffer: &mut [u8],
        mut take: impl FnMut(&mut [u8], &PacketInfo),
    ) -> io::Result<()> {
        loop {
            let mut meta = [RecvMeta::default()];
            let found = self.state.recv(
                UdpSockRef::from(&self.udp),
                &mut [IoSliceMut::new(buffer)],
                &mut meta,
            );
            match found {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            let [RecvMeta { addr: src, len, stride, .. }] = meta;
            let info = PacketInfo { src, dst: self.local, time: Instant::now() };
            for datagram in buffer[..len].chunks_mut(stride.max(1)) {
                take(datagram, &info);
            }
        }
    }
}

impl PacketSendHandler for Socket {
    fn on_packets_send(&self, packets: &[(Vec<u8>, PacketInfo)]) -> tquic::Result<usize> {
        let mut sent = 0;
        let mut batch = self.batch.borrow_mut();
        while let Some((first, info)) = packets.get(sent) {
            let rest = &packets[sent..];
            let count = alike(rest).min(self.state.max_gso_segments());
            batch.clear();
            rest[..count].iter().for_each(|(packet, _)| batch.extend_from_slice(packet));
            let transmit = Transmit {
                destination: info.dst,
                ecn: None,
                contents: &batch,
                segment_size: (count > 1).then_some(first.len()),
                src_ip: None,
            };
            if self.state.send(UdpSockRef::from(&self.udp), &transmit).is_err() {
                break;
            }
            sent += count;
        }
        Ok(sent)
    }
}

/// How many packets from the first on can go as one: to one address, of one size but for the last,
/// and together no more than a datagram may hold.
fn alike(packets: &[(Vec<u8>, PacketInfo)]) -> usize {
    let Some((first, info)) = packets.first() else { return 0 };
    let most = packets.len().min(65_000 / first.len().max(1)).max(1);
    for (index, (packet, next)) in packets[..most].iter().enumerate() {
        if next.dst != info.dst || packet.len() > first.len() {
            return index;
        }
        if packet.len() < first.len() {
            return index + 1;
        }
    }
    most
}
