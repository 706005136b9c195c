//! IPv4 packets on the link: their transport and payload, and a NAT's rewriting of one end's
//! address and port (RFC 3022) with corrected checksums (RFC 1624).

use std::net::Ipv4Addr;

/// The transport that a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    Other,
}

/// One end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Source,
    Destination,
}

const IP_CHECKSUM: usize = 10;

/// The length of the IPv4 header; `None` if this is not an IPv4 packet.
fn header_len(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let len = usize::from(first & 15) * 4;
    (first >> 4 == 4 && len >= 20 && packet.len() >= len).then_some(len)
}

pub(crate) fn transport(packet: &[u8]) -> Transport {
    match (header_len(packet), packet.get(9)) {
        (Some(_), Some(6)) => Transport::Tcp,
        (Some(_), Some(17)) => Transport::Udp,
        _ => Transport::Other,
    }
}

/// Bytes above the transport's header.
pub(crate) fn payload_len(packet: &[u8]) -> usize {
    let Some(ip) = header_len(packet) else { return 0 };
    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let head = match transport(packet) {
        Transport::Tcp => packet.get(ip + 12).map_or(0, |offset| usize::from(offset >> 4) * 4),
        Transport::Udp => 8,
        Transport::Other => 0,
    };
    total.saturating_sub(ip + head)
}

/// The address at one end.
pub(crate) fn address(packet: &[u8], end: End) -> Option<Ipv4Addr> {
    header_len(packet)?;
    let at = address_at(end);
    Some(Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]))
}

const fn address_at(end: End) -> usize {
    match end {
        End::Source => 12,
        End::Destination => 16,
    }
}

/// Replaces one end's address, and adds `port_shift` to its port.
pub(crate) fn rewrite(packet: &mut [u8], end: End, to: Ipv4Addr, port_shift: u16) {
    let Some(ip) = header_len(packet) else { return };
    let (kind, at) = (transport(packet), address_at(end));
    let checksum = match kind {
        Transport::Tcp => Some(ip + 16),
        Transport::Udp => Some(ip + 6),
        Transport::Other => None,
    }
    // A UDP checksum of 0 means no checksum (RFC 768).
    .filter(|at| kind == Transport::Tcp || packet.get(*at..*at + 2).is_some_and(|c| c != [0, 0]));
    for (word, bytes) in to.octets().chunks_exact(2).enumerate() {
        let new = u16::from_be_bytes([bytes[0], bytes[1]]);
        replace(packet, at + 2 * word, new, &[Some(IP_CHECKSUM), checksum]);
    }
    let port_at = ip + if end == End::Source { 0 } else { 2 };
    if kind != Transport::Other && packet.len() >= port_at + 2 {
        let port = u16::from_be_bytes([packet[port_at], packet[port_at + 1]]);
        replace(packet, port_at, port.wrapping_add(port_shift), &[checksum]);
    }
}

/// Writes a 16-bit word and corrects the checksums that cover it (RFC 1624, equation 3).
fn replace(packet: &mut [u8], at: usize, new: u16, checksums: &[Option<usize>]) {
    let old = u16::from_be_bytes([packet[at], packet[at + 1]]);
    packet[at..at + 2].copy_from_slice(&new.to_be_bytes());
    for at in checksums.iter().flatten().copied() {
        let Some(sum) = packet.get_mut(at..at + 2) else { continue };
        let before = u16::from_be_bytes([sum[0], sum[1]]);
        let mut wide = u32::from(!before) + u32::from(!old) + u32::from(new);
        while wide > 0xffff {
            wide = (wide & 0xffff) + (wide >> 16);
        }
        sum.copy_from_slice(&(!(wide as u16)).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A UDP datagram of four bytes from 10.9.0.1:4000 to 10.9.0.2:443 with right checksums.
    fn datagram() -> Vec<u8> {
        let mut packet =
            vec![0x45, 0, 0, 32, 0, 1, 0x40, 0, 64, 17, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2];
        packet.extend_from_slice(&[0x0f, 0xa0, 0x01, 0xbb, 0, 12, 0, 0, b'a', b'b', b'c', b'd']);
        let head = !sum(&packet[..20]);
        packet[10..12].copy_from_slice(&head.to_be_bytes());
        let body = !with_pseudo(&packet);
        packet[26..28].copy_from_slice(&body.to_be_bytes());
        packet
    }

    fn sum(bytes: &[u8]) -> u16 {
        let mut total: u32 =
            bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        while total > 0xffff {
            total = (total & 0xffff) + (total >> 16);
        }
        total as u16
    }

    fn with_pseudo(packet: &[u8]) -> u16 {
        let mut covered = packet[12..].to_vec();
        covered.extend_from_slice(&[0, 17, 0, (packet.len() - 20) as u8]);
        sum(&covered)
    }

    #[test]
    fn rewriting_keeps_both_checksums_right_and_can_be_undone() {
        let before = datagram();
        let mut packet = before.clone();
        rewrite(&mut packet, End::Source, Ipv4Addr::new(10, 9, 7, 1), 65_000);
        assert_eq!(address(&packet, End::Source), Some(Ipv4Addr::new(10, 9, 7, 1)));
        assert_eq!(packet[20..22], 4000_u16.wrapping_add(65_000).to_be_bytes());
        assert_eq!((sum(&packet[..20]), with_pseudo(&packet)), (0xffff, 0xffff));
        rewrite(&mut packet, End::Source, Ipv4Addr::new(10, 9, 0, 1), 0_u16.wrapping_sub(65_000));
        assert_eq!(packet, before);
    }

    #[test]
    fn lengths_and_kinds_are_read() {
        let packet = datagram();
        assert_eq!((transport(&packet), payload_len(&packet)), (Transport::Udp, 4));
        assert_eq!(transport(&packet[..10]), Transport::Other);
        assert_eq!(payload_len(b""), 0);
    }
}
