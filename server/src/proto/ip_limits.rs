//! How many connections each address has, where `limits.connections_per_ip` bounds that.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::RawFd;

use crate::config::Limits;
use crate::ring::reserve::grow;
use crate::ring::sys;
use crate::rt::slab::Slab;

/// The connections of each address, which costs about fifty bytes.
pub(crate) struct IpLimits {
    /// None where only the number of all connections is bounded: nothing is looked up then.
    most: Option<u32>,
    hosts: Slab<Host>,
    /// Where each host stands.
    numbers: HashMap<IpAddr, u32>,
    /// The host of each place in the endpoint's slab.
    quic: Vec<u32>,
}

/// An address that has connections, and how many.
struct Host {
    address: IpAddr,
    count: u32,
}

/// The number of no host: of a connection that nobody counted.
const NOBODY: u32 = u32::MAX;

impl IpLimits {
    pub(crate) fn new(limits: &Limits) -> Self {
        let bounds = limits.connections_per_ip < limits.connections;
        let most = bounds.then_some(limits.connections_per_ip);
        let (hosts, numbers) = (Slab::default(), HashMap::new());
        Self { most, hosts, numbers, quic: Vec::new() }
    }

    /// Counts one more connection of this socket's peer, if it may have that; returns the host's
    /// number, which the connection says when it leaves.
    pub(crate) fn admit(&mut self, fd: RawFd) -> Option<u32> {
        let Some(most) = self.most else { return Some(NOBODY) };
        // A Unix socket's peer has no address, and no bound.
        let Ok(peer) = sys::peer(fd) else { return Some(NOBODY) };
        self.count(host(peer.ip()), most)
    }

    /// Whether this client may have one more connection over QUIC, which is in this place.
    pub(crate) fn admit_quic(&mut self, slot: usize, peer: IpAddr) -> bool {
        let Some(most) = self.most else { return true };
        let Some(host) = self.count(host(peer), most) else { return false };
        put(&mut self.quic, slot, host);
        true
    }

    /// Counts a connection of this address, unless it has as many as it may; where it stands.
    fn count(&mut self, address: IpAddr, most: u32) -> Option<u32> {
        let Self { hosts, numbers, .. } = self;
        let number = numbers.entry(address);
        let number = *number.or_insert_with(|| hosts.insert(Host { address, count: 0 }).index);
        let (_, host) = hosts.at(number)?;
        if host.count >= most {
            return None;
        }
        host.count += 1;
        Some(number)
    }

    /// The QUIC connection in this place has ended.
    pub(crate) fn leave_quic(&mut self, slot: usize) {
        let number = take(&mut self.quic, slot);
        self.leave(number);
    }

    /// A connection of the host with this number is about to be closed.
    pub(crate) fn leave(&mut self, number: u32) {
        let Some((id, host)) = self.hosts.at(number) else { return };
        host.count -= 1;
        if host.count == 0 {
            self.numbers.remove(&host.address);
            self.hosts.remove(id);
        }
    }
}

fn put(table: &mut Vec<u32>, at: usize, number: u32) {
    while table.len() <= at {
        grow(table);
        table.push(NOBODY);
    }
    table[at] = number;
}

fn take(table: &mut [u32], at: usize) -> u32 {
    table.get_mut(at).map_or(NOBODY, |number| std::mem::replace(number, NOBODY))
}

/// What counts as one client: an IPv4 address, or the /64 that an IPv6 host may choose from.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_its_own_count_and_nothing_is_left_behind() {
        let limits = Limits { connections_per_ip: 2, ..Limits::default() };
        let mut ip_limits = IpLimits::new(&limits);
        assert_eq!(ip_limits.most, Some(2));
        let hosts = ["10.0.0.1", "2001:db8::1", "2001:db8::ffff:1", "::ffff:10.0.0.1"];
        let [v4, v6, same, mapped] = hosts.map(|text| host(text.parse().unwrap()));
        assert_eq!((v6, v4), (same, mapped));
        let [one, two, other] = [v4, v4, v6].map(|host| ip_limits.count(host, 2).unwrap());
        assert!(one == two && one != other);
        assert_eq!(ip_limits.count(v4, 2), None, "the third of an address");
        ip_limits.leave(NOBODY);
        assert_eq!(ip_limits.count(v4, 2), None, "one that nobody counted leaves nothing free");
        ip_limits.leave(one);
        assert_eq!(ip_limits.count(v4, 2), Some(one));
        [one, one, other, other].into_iter().for_each(|number| ip_limits.leave(number));
        assert_eq!((ip_limits.hosts.len(), ip_limits.numbers.len()), (0, 0));
        assert!(
            ip_limits.admit_quic(2, v6)
                && ip_limits.admit_quic(9, v6)
                && !ip_limits.admit_quic(1, v6)
        );
        ip_limits.leave_quic(2);
        assert!(ip_limits.admit_quic(1, v6));
        [1, 9].into_iter().for_each(|slot| ip_limits.leave_quic(slot));
        assert_eq!((ip_limits.hosts.len(), ip_limits.numbers.len()), (0, 0));
        let admitted = IpLimits::new(&Limits::default()).admit(-1);
        assert_eq!(admitted, Some(NOBODY), "not bounded, not looked at");
    }
}
