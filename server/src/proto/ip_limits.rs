//! The number of connections of each address, if `limits.connections_per_ip` bounds it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::RawFd;

use crate::config::Limits;
use crate::ring::reserve::grow;
use crate::ring::sys;
use crate::rt::slab::Slab;

/// The connections of each address, which costs about fifty bytes.
pub(crate) struct IpLimits {
    /// `None` without a limit per address: nothing is looked up then.
    most: Option<u32>,
    hosts: Slab<Host>,
    /// Index of each host.
    numbers: HashMap<IpAddr, u32>,
    /// Index of the host of each QUIC connection, by its slot.
    quic: Vec<u32>,
}

/// An address that has connections, and how many.
struct Host {
    address: IpAddr,
    count: u32,
}

/// The index of a connection that is not counted.
const NOBODY: u32 = u32::MAX;

impl IpLimits {
    pub(crate) fn new(limits: &Limits) -> Self {
        let (hosts, numbers) = (Slab::default(), HashMap::new());
        let mut this = Self { most: None, hosts, numbers, quic: Vec::new() };
        this.bound(limits);
        this
    }

    /// Other bounds. Connections that were not counted stay uncounted.
    pub(crate) fn bound(&mut self, limits: &Limits) {
        let bounds = limits.connections_per_ip < limits.connections;
        self.most = bounds.then_some(limits.connections_per_ip);
    }

    /// Counts a connection of this socket's peer, if allowed. Returns the host's index, to be given
    /// back when it closes.
    pub(crate) fn admit(&mut self, fd: RawFd) -> Option<u32> {
        let Some(most) = self.most else { return Some(NOBODY) };
        // A Unix socket's peer has no address and no limit.
        let Ok(peer) = sys::peer(fd) else { return Some(NOBODY) };
        self.count(host(peer.ip()), most)
    }

    /// Counts a QUIC connection in this slot; false if the client has too many.
    pub(crate) fn admit_quic(&mut self, slot: usize, peer: IpAddr) -> bool {
        let Some(most) = self.most else { return true };
        let Some(host) = self.count(host(peer), most) else { return false };
        put(&mut self.quic, slot, host);
        true
    }

    /// Counts a connection of this address, unless it has too many; returns the host's index.
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

    /// The QUIC connection in this slot has ended.
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

/// The address that counts as one client: IPv4, or the /64 of an IPv6 host.
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
