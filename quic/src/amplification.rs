//! The anti-amplification limit: an unvalidated address gets at most three times the octets
//! received from it (RFC 9000 section 8.1). quiche limits this too, but does not count the padding
//! of datagrams with an Initial, and so exceeds it. Here every octet counts on each path, those of
//! probes and closes included. Only unvalidated paths are kept: an established connection on its
//! validated path costs nothing.

use std::net::SocketAddr;

use quiche::{Connection, PathStats};

use crate::buf::Buffers;

/// Octets that may be sent for each received one.
const FACTOR: u64 = 3;

/// Minimum length of a server's datagram with an ack-eliciting Initial (RFC 9000 section 14.1).
const INITIAL_MIN: u64 = 1200;

/// The unvalidated paths of one connection.
#[derive(Default)]
pub(crate) struct Unvalidated {
    /// The path of the handshake. quiche takes part in the handshake on no other.
    first: Option<Account>,
    /// Later paths of the client. quiche bounds their number.
    others: Vec<Account>,
    /// No Initial follows: the last datagram began with a later packet type, and since then nothing
    /// has arrived and no timer has fired. quiche writes the Initial first.
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
    /// The state of a server whose client's address is not validated.
    pub(crate) fn handshake(local: SocketAddr, peer: SocketAddr) -> Self {
        Self { first: Some(Account::new(local, peer, 0)), ..Self::default() }
    }

    /// Records a received datagram, whatever its content.
    pub(crate) fn received(&mut self, local: SocketAddr, peer: SocketAddr, len: usize) {
        self.is_past_initial = false;
        if let Some(account) = self.find(local, peer) {
            account.received += len as u64;
        }
    }

    /// Records a Handshake packet that quiche could decrypt. Its sender is the client, which has
    /// received packets on the handshake's path.
    pub(crate) fn validate_first(&mut self) {
        self.first = None;
    }

    /// Records that a timer has fired.
    pub(crate) fn expired(&mut self) {
        self.is_past_initial = false;
    }

    /// Records that a datagram of this length opened a new path.
    pub(crate) fn begin(&mut self, local: SocketAddr, peer: SocketAddr, len: usize) {
        if self.find(local, peer).is_none() {
            self.others.push(Account::new(local, peer, len));
        }
    }

    /// Forgets paths on which the client has answered a PATH_CHALLENGE, and paths that quiche has
    /// forgotten.
    pub(crate) fn validate(&mut self, quic: &Connection<Buffers>) {
        self.others.retain(|account| {
            let mut paths = quic.path_stats();
            let path = paths.find(|path| account.is_of(path.local_addr, path.peer_addr));
            path.is_some_and(|path| !is_answered(&path))
        });
    }

    /// How many of `len` octets quiche may fill now; `None` if it must not be called. `is_last`:
    /// only the close is left to send, which fits a shorter datagram.
    pub(crate) fn room(&self, len: usize, is_last: bool) -> Option<usize> {
        let Some(first) = &self.first else { return Some(len) };
        let left = first.left();
        if left == 0 || left < INITIAL_MIN && !is_last && !self.is_past_initial {
            return None;
        }
        Some(usize::try_from(left).map_or(len, |left| left.min(len)))
    }

    /// Whether a finished datagram may be sent; if so, it is counted.
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

/// Whether the client has answered on a path, perhaps not to a full-size datagram: the last two
/// states of a path (RFC 9000 section 8.2.1). quiche does not export their names.
fn is_answered(path: &PathStats) -> bool {
    path.validation_state as u8 >= 3
}
