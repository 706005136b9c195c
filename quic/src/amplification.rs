//! What may be sent to an address that nobody has shown to be the client's: three times what came
//! from it, ever (RFC 9000 section 8.1). quiche limits this too, but leaves out the octets by which
//! it pads a datagram that has an Initial, and so goes beyond. Here every octet counts, also of
//! probes and closings, for each path. Only paths that are not validated are kept: an established
//! connection on its validated path costs nothing.

use std::net::SocketAddr;

use quiche::{Connection, PathStats};

use crate::buf::Buffers;

/// How many octets may be sent for one that came.
const FACTOR: u64 = 3;

/// A server's datagram with an Initial that asks for an acknowledgement is at least this long (RFC
/// 9000 section 14.1).
const INITIAL_MIN: u64 = 1200;

/// The paths of one connection that are not validated.
#[derive(Default)]
pub(crate) struct Unvalidated {
    /// The path of the handshake. quiche takes part in the handshake on no other.
    first: Option<Account>,
    /// Paths that the client came by later. quiche bounds their number.
    others: Vec<Account>,
    /// No Initial follows: the last datagram began with a later packet, and nothing has come and no
    /// timer has fired since. quiche writes the Initial first.
    is_past_initial: bool,
}

/// The octets of one path.
struct Account {
    local: SocketAddr,
    peer: SocketAddr,
    received: u64,
    sent: u64,
}

impl Account {
    fn new(local: SocketAddr, peer: SocketAddr, received: usize) -> Self {
        Self { local, peer, received: received as u64, sent: 0 }
    }

    fn is_of(&self, local: SocketAddr, peer: SocketAddr) -> bool {
        (self.local, self.peer) == (local, peer)
    }

    fn left(&self) -> u64 {
        (FACTOR * self.received).saturating_sub(self.sent)
    }
}

impl Unvalidated {
    /// A server's, whose client is yet to show its address.
    pub(crate) fn handshake(local: SocketAddr, peer: SocketAddr) -> Self {
        Self { first: Some(Account::new(local, peer, 0)), ..Self::default() }
    }

    /// A datagram has come, whatever is in it.
    pub(crate) fn received(&mut self, local: SocketAddr, peer: SocketAddr, len: usize) {
        self.is_past_initial = false;
        if let Some(account) = self.find(local, peer) {
            account.received += len as u64;
        }
    }

    /// A Handshake packet came that quiche could decrypt: the client's, which has seen what went to
    /// the path of the handshake.
    pub(crate) fn validate_first(&mut self) {
        self.first = None;
    }

    /// A timer has fired.
    pub(crate) fn expired(&mut self) {
        self.is_past_initial = false;
    }

    /// A datagram of this length made a new path.
    pub(crate) fn begin(&mut self, local: SocketAddr, peer: SocketAddr, len: usize) {
        if self.find(local, peer).is_none() {
            self.others.push(Account::new(local, peer, len));
        }
    }

    /// Forgets paths on which the client has answered a PATH_CHALLENGE, and such as quiche has
    /// forgotten.
    pub(crate) fn validate(&mut self, quic: &Connection<Buffers>) {
        self.others.retain(|account| {
            let mut paths = quic.path_stats();
            let path = paths.find(|path| account.is_of(path.local_addr, path.peer_addr));
            path.is_some_and(|path| !is_answered(&path))
        });
    }

    /// How much of `len` octets quiche may fill now; `None`: it is not to be asked. `is_last`: it
    /// only has the end to tell, which may go in a shorter datagram.
    pub(crate) fn room(&self, len: usize, is_last: bool) -> Option<usize> {
        let Some(first) = &self.first else { return Some(len) };
        let left = first.left();
        if left == 0 || left < INITIAL_MIN && !is_last && !self.is_past_initial {
            return None;
        }
        Some(usize::try_from(left).map_or(len, |left| left.min(len)))
    }

    /// Whether a datagram that was made may leave; if so, it is counted.
    pub(crate) fn spend(&mut self, local: SocketAddr, peer: SocketAddr, datagram: &[u8]) -> bool {
        let is_initial = datagram.first().is_some_and(|first| first & 0xb0 == 0x80);
        self.is_past_initial = !is_initial;
        let len = datagram.len() as u64;
        let Some(account) = self.find(local, peer) else { return true };
        let fits = len <= account.left();
        if fits {
            account.sent += len;
        }
        fits
    }

    fn find(&mut self, local: SocketAddr, peer: SocketAddr) -> Option<&mut Account> {
        self.first.iter_mut().chain(&mut self.others).find(|account| account.is_of(local, peer))
    }
}

/// Whether the client has answered on a path, though perhaps not to a datagram of full size: the
/// last two states of a path (RFC 9000 section 8.2.1). quiche does not export their names.
fn is_answered(path: &PathStats) -> bool {
    path.validation_state as u8 >= 3
}
