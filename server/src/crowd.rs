//! How many connections each address has, where `limits.connections_per_ip` bounds that.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::RawFd;

use crate::config::Limits;
use crate::ring::sys;

/// The connections of each address.
pub(crate) struct Crowd {
    /// None where only the number of all connections is bounded: nothing is looked up then.
    most: Option<u32>,
    counts: HashMap<IpAddr, u32>,
    addresses: HashMap<Key, IpAddr>,
}

/// What is a connection's own until it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// A descriptor.
    Tcp(RawFd),
    /// The place in the endpoint's slab.
    Quic(usize),
}

impl Crowd {
    pub(crate) fn new(limits: &Limits) -> Self {
        let bounds = limits.connections_per_ip < limits.connections;
        let most = bounds.then_some(limits.connections_per_ip);
        Self { most, counts: HashMap::new(), addresses: HashMap::new() }
    }

    /// Whether the peer of this socket may have one more connection; counts it if so.
    pub(crate) fn admit(&mut self, fd: RawFd) -> bool {
        let Some(most) = self.most else { return true };
        // A Unix socket's peer has no address, and no bound.
        let Ok(peer) = sys::peer(fd) else { return true };
        self.count(Key::Tcp(fd), host(peer.ip()), most)
    }

    /// Whether this client may have one more connection over QUIC, which is in this place.
    pub(crate) fn admit_quic(&mut self, slot: usize, peer: IpAddr) -> bool {
        let Some(most) = self.most else { return true };
        self.count(Key::Quic(slot), host(peer), most)
    }

    fn count(&mut self, key: Key, host: IpAddr, most: u32) -> bool {
        let count = self.counts.entry(host).or_default();
        if *count >= most {
            return false;
        }
        *count += 1;
        self.addresses.insert(key, host);
        true
    }

    /// The connection is about to be closed.
    pub(crate) fn leave(&mut self, fd: RawFd) {
        self.forget(Key::Tcp(fd));
    }

    /// The QUIC connection in this place has ended.
    pub(crate) fn leave_quic(&mut self, slot: usize) {
        self.forget(Key::Quic(slot));
    }

    fn forget(&mut self, key: Key) {
        let Some(host) = self.addresses.remove(&key) else { return };
        if let Entry::Occupied(mut count) = self.counts.entry(host) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
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
        let mut crowd = Crowd::new(&limits);
        assert_eq!(crowd.most, Some(2));
        let hosts = ["10.0.0.1", "2001:db8::1", "2001:db8::ffff:1", "::ffff:10.0.0.1"];
        let [v4, v6, same, mapped] = hosts.map(|text| host(text.parse().unwrap()));
        assert_eq!((v6, v4), (same, mapped));
        assert!(
            crowd.count(Key::Tcp(3), v4, 2)
                && crowd.count(Key::Tcp(4), v4, 2)
                && crowd.count(Key::Tcp(5), v6, 2)
        );
        assert!(!crowd.count(Key::Tcp(6), v4, 2), "the third of an address");
        crowd.leave(6);
        assert!(!crowd.count(Key::Tcp(6), v4, 2), "one that was not admitted does not leave");
        crowd.leave(3);
        assert!(crowd.count(Key::Tcp(6), v4, 2));
        [4, 5, 6].into_iter().for_each(|fd| crowd.leave(fd));
        assert!(crowd.counts.is_empty() && crowd.addresses.is_empty());
        assert!(Crowd::new(&Limits::default()).admit(-1), "not bounded, not looked at");
    }
}
