//! Datagrams of an older generation's connections, as they are handed to it: a frame is one message
//! of a socket pair, this head and then what UDP_GRO had delivered. Who may write to the pair is
//! believed to say truly where datagrams came from; that a frame is whole is checked here.
//!
//! ```text
//! 0       1    2..4       4..6     6      7      8..24 24..40 40..42 42..44 44..48     48..52
//! version hops generation segment  family family from  to     port   port   scope      scope
//!                         size     of from of to              of from of to of from    of to
//! ```
//!
//! Integers are big-endian. A family is 4 or 6; an IPv4 address takes the first four of its bytes,
//! the others are zero, and so is its scope.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Bytes of a frame's head.
pub const HEAD: usize = 52;

/// Most bytes of datagrams in a frame: what one receive gives.
pub const PAYLOAD_MAX: usize = 65_527;

/// How often a datagram may be handed on. It goes to where it belongs at once; more is a loop.
pub const HOPS_MAX: u8 = 2;

const VERSION: u8 = 1;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// How often its datagrams were handed on, this time included.
    pub hops: u8,
    /// Whose they are.
    pub generation: u16,
    /// The size of each datagram but the last.
    pub segment: u16,
    /// The client.
    pub from: SocketAddr,
    /// Our address.
    pub to: SocketAddr,
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Another version of this format.
    Version,
    /// Cut short, too long, or with a field that makes no sense.
    Malformed,
    /// Handed on too often.
    Looped,
}

impl FrameHead {
    /// The head as bytes.
    pub fn to_bytes(&self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        (bytes[0], bytes[1]) = (VERSION, self.hops);
        bytes[2..4].copy_from_slice(&self.generation.to_be_bytes());
        bytes[4..6].copy_from_slice(&self.segment.to_be_bytes());
        for (address, family, ip, port, scope) in
            [(self.from, 6, 8, 40, 44), (self.to, 7, 24, 42, 48)]
        {
            bytes[port..port + 2].copy_from_slice(&address.port().to_be_bytes());
            match address {
                SocketAddr::V4(v4) => {
                    bytes[family] = 4;
                    bytes[ip..ip + 4].copy_from_slice(&v4.ip().octets());
                }
                SocketAddr::V6(v6) => {
                    bytes[family] = 6;
                    bytes[ip..ip + 16].copy_from_slice(&v6.ip().octets());
                    bytes[scope..scope + 4].copy_from_slice(&v6.scope_id().to_be_bytes());
                }
            }
        }
        bytes
    }

    /// Reads a whole message; the datagrams are behind its first [`HEAD`] bytes.
    ///
    /// # Errors
    /// It is no frame.
    pub fn read(message: &[u8]) -> Result<Self, Flaw> {
        let (head, payload) = message.split_first_chunk::<HEAD>().ok_or(Flaw::Malformed)?;
        if head[0] != VERSION {
            return Err(Flaw::Version);
        }
        let from = address(head[6], &head[8..24], &head[40..42], &head[44..48]);
        let to = address(head[7], &head[24..40], &head[42..44], &head[48..52]);
        let segment = u16::from_be_bytes([head[4], head[5]]);
        let (Some(from), Some(to), 1.., 1..=PAYLOAD_MAX) = (from, to, segment, payload.len())
        else {
            return Err(Flaw::Malformed);
        };
        match head[1] {
            0 => Err(Flaw::Malformed),
            1..=HOPS_MAX => {
                let generation = u16::from_be_bytes([head[2], head[3]]);
                Ok(Self { hops: head[1], generation, segment, from, to })
            }
            _ => Err(Flaw::Looped),
        }
    }
}

fn address(family: u8, ip: &[u8], port: &[u8], scope: &[u8]) -> Option<SocketAddr> {
    let ip = ip.first_chunk::<16>()?;
    let port = u16::from_be_bytes(*port.first_chunk()?);
    let scope = u32::from_be_bytes(*scope.first_chunk()?);
    match (family, ip) {
        (4, [a, b, c, d, rest @ ..]) if *rest == [0; 12] && scope == 0 => {
            Some((IpAddr::from(Ipv4Addr::new(*a, *b, *c, *d)), port).into())
        }
        (6, ip) => Some(SocketAddrV6::new(Ipv6Addr::from(*ip), port, 0, scope).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(from: &str, to: &str) -> FrameHead {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        FrameHead { hops: 1, generation: 0x1234, segment: 1200, from, to }
    }

    #[test]
    fn every_address_comes_back() {
        for (from, to) in [
            ("1.2.3.4:567", "5.6.7.8:443"),
            ("[2001:db8::1]:567", "[::1]:443"),
            ("[fe80::1%3]:567", "[fe80::2%3]:443"),
            ("[::ffff:1.2.3.4]:567", "5.6.7.8:443"),
        ] {
            let head = head(from, to);
            let frame = [&head.to_bytes()[..], b"datagrams"].concat();
            assert_eq!(FrameHead::read(&frame), Ok(head));
        }
    }

    /// Row 142: cut short, looped, of another version, with fields that make no sense.
    #[test]
    fn row_142_frames_that_are_none() {
        let head = head("1.2.3.4:567", "5.6.7.8:443");
        let frame = [&head.to_bytes()[..], b"x"].concat();
        for len in 0..frame.len() {
            assert_eq!(FrameHead::read(&frame[..len]), Err(Flaw::Malformed), "{len}");
        }
        let with = |at: usize, value: u8| {
            let mut frame = frame.clone();
            frame[at] = value;
            FrameHead::read(&frame)
        };
        assert_eq!(with(0, 2), Err(Flaw::Version));
        assert_eq!(with(1, 0), Err(Flaw::Malformed));
        assert!(with(1, HOPS_MAX).is_ok());
        assert_eq!(with(1, HOPS_MAX + 1), Err(Flaw::Looped));
        for (at, value) in [(6, 5), (7, 0), (12, 1), (39, 1), (44, 1), (51, 1)] {
            assert_eq!(with(at, value), Err(Flaw::Malformed), "byte {at}");
        }
        let none = FrameHead { segment: 0, ..head };
        assert_eq!(FrameHead::read(&[&none.to_bytes()[..], b"x"].concat()), Err(Flaw::Malformed));
        let long = [&head.to_bytes()[..], &vec![0; PAYLOAD_MAX + 1]].concat();
        assert_eq!(FrameHead::read(&long), Err(Flaw::Malformed));
        assert!(FrameHead::read(&long[..long.len() - 1]).is_ok());
    }
}
