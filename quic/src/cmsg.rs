//! UDP messages in the kernel's layout: the provided buffer of a multishot RECVMSG, and the control
//! messages of a send. Bytes in, bytes out; the layouts are `struct io_uring_recvmsg_out`, `struct
//! sockaddr_in`, `struct sockaddr_in6` and `struct cmsghdr` of Linux, 64 bits, in the machine's
//! byte order. System calls are made by the server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

/// The `msg_namelen` to request for a receive: the longer of the two addresses.
pub const NAME: usize = 28;
/// The `msg_controllen` to request for a receive: a segment size, PKTINFO of IPv6 (the longer one)
/// and TOS, each with its head and padding.
pub const CONTROL: usize = 24 + 40 + 24;
/// Bytes before the payload in a buffer of a receive.
pub const BEFORE: usize = OUT + NAME + CONTROL;

/// `struct io_uring_recvmsg_out`: the lengths of name, control and payload, and the flags.
const OUT: usize = 16;
/// `struct cmsghdr`.
const HEAD: usize = 16;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const MSG_TRUNC: u32 = 0x20;
const MSG_CTRUNC: u32 = 0x08;
const IPPROTO_IP: i32 = 0;
const IPPROTO_IPV6: i32 = 41;
const SOL_UDP: i32 = 17;
const IP_PKTINFO: i32 = 8;
const IPV6_PKTINFO: i32 = 50;
const UDP_SEGMENT: i32 = 103;
const UDP_GRO: i32 = 104;

/// The result of a receive: datagrams of one sender, end to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMessage {
    /// The sender.
    pub from: SocketAddr,
    /// The destination address, if the kernel reported it.
    pub to: Option<IpAddr>,
    /// Range of the payload in the buffer.
    pub payload: Range<usize>,
    /// The size of each datagram but the last; for a single datagram, the payload's size.
    pub segment: usize,
    /// The buffer was too small: the last datagram is truncated.
    pub truncated: bool,
}

impl ReceivedMessage {
    /// Reads the buffer of a completed receive that asked for [`NAME`] and [`CONTROL`] bytes.
    /// `None` if the address family is unknown.
    pub fn read(buffer: &[u8]) -> Option<Self> {
        let name_len = word(buffer, 0)? as usize;
        let control_len = word(buffer, 4)? as usize;
        let payload_len = word(buffer, 8)? as usize;
        let flags = word(buffer, 12)?;
        let name = buffer.get(OUT..)?.get(..name_len.min(NAME))?;
        let control = buffer.get(OUT + NAME..)?.get(..control_len.min(CONTROL))?;
        let end = buffer.len().min(BEFORE + payload_len);
        let mut received = Self {
            from: address(name)?,
            to: None,
            payload: BEFORE.min(end)..end,
            segment: payload_len.max(1),
            truncated: flags & (MSG_TRUNC | MSG_CTRUNC) != 0,
        };
        received.read_control(control);
        Some(received)
    }

    fn read_control(&mut self, mut control: &[u8]) {
        while let Some((len, level, kind)) = head(control) {
            let Some(data) = control.get(HEAD..len) else { return };
            match (level, kind) {
                (SOL_UDP, UDP_GRO) => {
                    let size = word(data, 0).unwrap_or(0) as usize;
                    self.segment = if size > 0 { size } else { self.segment };
                }
                (IPPROTO_IP, IP_PKTINFO) => {
                    // interface, address of the route, address of the packet
                    self.to = bytes::<4>(data, 8).map(|ip| IpAddr::V4(Ipv4Addr::from(ip)));
                }
                (IPPROTO_IPV6, IPV6_PKTINFO) => {
                    self.to = bytes::<16>(data, 0).map(|ip| IpAddr::V6(Ipv6Addr::from(ip)));
                }
                _ => {}
            }
            control = control.get(align(len)..).unwrap_or(&[]);
        }
    }
}

/// The range of the payload in the buffer of a completed receive, whoever sent it, and whether
/// something of it is missing. `None` if the buffer is none of a receive.
pub fn message(buffer: &[u8]) -> Option<(Range<usize>, bool)> {
    let (len, flags) = (word(buffer, 8)? as usize, word(buffer, 12)?);
    let end = buffer.len().min(BEFORE + len);
    Some((BEFORE.min(end)..end, flags & (MSG_TRUNC | MSG_CTRUNC) != 0))
}

/// The control messages of one send. They must not move until its completion.
#[derive(Clone, Debug)]
#[repr(align(8))]
pub struct Control {
    bytes: [u8; 24 + 40],
    len: usize,
}

impl Control {
    /// For a batch of datagrams of `segment` bytes, sent from `from`; each is optional.
    pub fn new(segment: Option<u16>, from: Option<IpAddr>) -> Self {
        let mut control = Self { bytes: [0; 24 + 40], len: 0 };
        if let Some(size) = segment {
            control.push(SOL_UDP, UDP_SEGMENT, &size.to_ne_bytes());
        }
        match from {
            Some(IpAddr::V4(ip)) => {
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&ip.octets());
                control.push(IPPROTO_IP, IP_PKTINFO, &info);
            }
            Some(IpAddr::V6(ip)) => {
                let mut info = [0; 20];
                info[..16].copy_from_slice(&ip.octets());
                control.push(IPPROTO_IPV6, IPV6_PKTINFO, &info);
            }
            None => {}
        }
        control
    }

    /// The bytes for `msg_control`; if empty, leave it null.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let (at, len) = (self.len, HEAD + data.len());
        self.bytes[at..at + 8].copy_from_slice(&(len as u64).to_ne_bytes());
        self.bytes[at + 8..at + 12].copy_from_slice(&level.to_ne_bytes());
        self.bytes[at + 12..at + HEAD].copy_from_slice(&kind.to_ne_bytes());
        self.bytes[at + HEAD..at + len].copy_from_slice(data);
        self.len = at + align(len);
    }
}

/// Writes `to` as `msg_name`; returns its length.
pub fn write_address(to: SocketAddr, name: &mut [u8; NAME]) -> usize {
    *name = [0; NAME];
    name[2..4].copy_from_slice(&to.port().to_be_bytes());
    match to {
        SocketAddr::V4(v4) => {
            name[..2].copy_from_slice(&AF_INET.to_ne_bytes());
            name[4..8].copy_from_slice(&v4.ip().octets());
            16
        }
        SocketAddr::V6(v6) => {
            name[..2].copy_from_slice(&AF_INET6.to_ne_bytes());
            name[4..8].copy_from_slice(&v6.flowinfo().to_ne_bytes());
            name[8..24].copy_from_slice(&v6.ip().octets());
            name[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
            28
        }
    }
}

fn address(name: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(bytes(name, 2)?);
    match u16::from_ne_bytes(bytes(name, 0)?) {
        AF_INET => Some((Ipv4Addr::from(bytes::<4>(name, 4)?), port).into()),
        AF_INET6 => {
            let ip = Ipv6Addr::from(bytes::<16>(name, 8)?);
            let (flow, scope) = (word(name, 4)?, word(name, 24)?);
            Some(std::net::SocketAddrV6::new(ip, port, flow, scope).into())
        }
        _ => None,
    }
}

/// The length (its head included), level and type of the control message at the front.
fn head(control: &[u8]) -> Option<(usize, i32, i32)> {
    let len = usize::try_from(u64::from_ne_bytes(bytes(control, 0)?)).ok()?;
    let (level, kind) = (word(control, 8)? as i32, word(control, 12)? as i32);
    (len >= HEAD && len <= control.len()).then_some((len, level, kind))
}

fn align(len: usize) -> usize {
    len.next_multiple_of(8)
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..)?.first_chunk().copied()
}

fn word(from: &[u8], at: usize) -> Option<u32> {
    bytes(from, at).map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A buffer as the kernel fills it.
    fn buffer(from: SocketAddr, control: &[u8], payload: &[u8], flags: u32) -> Vec<u8> {
        let mut name = [0; NAME];
        let name_len = write_address(from, &mut name);
        let mut out = Vec::new();
        for word in [name_len as u32, control.len() as u32, payload.len() as u32, flags] {
            out.extend_from_slice(&word.to_ne_bytes());
        }
        out.extend_from_slice(&name);
        out.extend_from_slice(control);
        out.resize(BEFORE, 0xee);
        out.extend_from_slice(payload);
        out
    }

    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut out = ((HEAD + data.len()) as u64).to_ne_bytes().to_vec();
        out.extend_from_slice(&level.to_ne_bytes());
        out.extend_from_slice(&kind.to_ne_bytes());
        out.extend_from_slice(data);
        out.resize(align(out.len()), 0);
        out
    }

    #[test]
    fn coalesced_datagrams_of_both_families() {
        for (from, to) in [("1.2.3.4:567", "5.6.7.8"), ("[fe80::1%3]:567", "::1")] {
            let (from, to): (SocketAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
            let info = match to {
                IpAddr::V4(ip) => {
                    let ip = ip.octets();
                    message(IPPROTO_IP, IP_PKTINFO, &[&[1, 0, 0, 0, 9, 9, 9, 9], &ip[..]].concat())
                }
                IpAddr::V6(ip) => {
                    message(IPPROTO_IPV6, IPV6_PKTINFO, &[&ip.octets()[..], &[1, 0, 0, 0]].concat())
                }
            };
            let control = [info, message(SOL_UDP, UDP_GRO, &1200i32.to_ne_bytes())].concat();
            let received = ReceivedMessage::read(&buffer(from, &control, &[7; 3000], 0)).unwrap();
            assert_eq!((received.from, received.to), (from, Some(to)));
            assert_eq!((received.segment, received.payload.len()), (1200, 3000));
            assert!(!received.truncated);
        }
    }

    #[test]
    fn a_lone_datagram_and_a_truncated_one() {
        let from = "1.2.3.4:567".parse().unwrap();
        let received = ReceivedMessage::read(&buffer(from, &[], b"hello", 0)).unwrap();
        assert_eq!((received.segment, received.to), (5, None));
        let cut = buffer(from, &[], b"hello", MSG_TRUNC);
        assert!(ReceivedMessage::read(&cut).unwrap().truncated);
        // The kernel reports the full length, not the received part.
        let short = &cut[..cut.len() - 2];
        assert_eq!(ReceivedMessage::read(short).unwrap().payload.len(), 3);
        for len in 0..BEFORE {
            let _ = ReceivedMessage::read(&cut[..len]);
        }
    }

    #[test]
    fn malformed_control_messages_are_skipped() {
        let from = "1.2.3.4:567".parse().unwrap();
        for len in [0u64, 1, 15, 17, 1 << 40, u64::MAX] {
            let mut control = message(SOL_UDP, UDP_GRO, &1200i32.to_ne_bytes());
            control[..8].copy_from_slice(&len.to_ne_bytes());
            let received = ReceivedMessage::read(&buffer(from, &control, &[0; 9], 0)).unwrap();
            assert_eq!(received.segment, 9, "{len}");
        }
    }

    /// The control messages of a send equal those of the libc macros.
    #[test]
    fn control_messages_of_a_send() {
        assert!(Control::new(None, None).as_bytes().is_empty());
        let control = Control::new(Some(1452), Some("5.6.7.8".parse().unwrap()));
        let bytes = control.as_bytes();
        assert_eq!(head(bytes), Some((18, SOL_UDP, UDP_SEGMENT)));
        assert_eq!(bytes[16..18], 1452u16.to_ne_bytes());
        assert_eq!(head(&bytes[24..]), Some((28, IPPROTO_IP, IP_PKTINFO)));
        assert_eq!(bytes[24 + 20..24 + 24], [5, 6, 7, 8]);
        assert_eq!(bytes.len(), 24 + 32);
        let six = Control::new(Some(1200), Some("::1".parse().unwrap()));
        assert_eq!(six.as_bytes().len(), 24 + 40);
    }
}
