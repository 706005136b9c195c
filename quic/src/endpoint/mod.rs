//! The endpoint of one worker. It finds the connection of each datagram. A datagram without one
//! gets a new connection, a Retry, a version negotiation, a stateless reset, is forwarded to
//! another worker, or is dropped. RFC 9000 sections 5.2, 6, 8.1 and 10.3. Sockets and the meaning
//! of streams are handled elsewhere.

mod begin;
mod replaced;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quiche::{ConnectionId, Header, Type};

use crate::cid::{self, Cids, Origin};
use crate::conn::{Conn, is_unfixed};
use crate::generations::{HalfOpen, Predecessors};
use crate::gso::Transmit;
use crate::keys::Keys;
use crate::reset::{Budget, Resets};
use crate::settings::Config;
use crate::table::{Entry, Id, Table};
use crate::token::Tokens;
pub use crate::totals::{Drop, Totals};

/// A client's first datagrams are at least this long (RFC 9000 section 14.1).
const INITIAL_MIN: usize = 1200;
/// A client's first destination is at least this long (RFC 9000 section 7.2).
const INITIAL_CID_MIN: usize = 8;

const CONNECTION_REFUSED: u64 = 0x2;

/// An endpoint's identity and limits.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Our identity, encoded in every connection ID.
    pub origin: Origin,
    /// The processes that were replaced and still serve their connections.
    pub predecessors: Predecessors,
    /// Among how many workers new connections are spread by the ID that their client has chosen:
    /// where some workers receive for all. 0 or 1: whoever receives one takes it.
    pub spread: u16,
    /// Most connections at a time; further Initials are dropped.
    pub connections: usize,
    /// From this many unfinished handshakes on, clients must validate their address by Retry. 0:
    /// always.
    pub retry_from: usize,
    /// Lifetime of a Retry token.
    pub token_lifetime: Duration,
    /// A handshake that takes longer is forgotten.
    pub handshake_timeout: Duration,
    /// Version negotiations per second, and stateless resets per second.
    pub answers_per_second: u32,
    /// Most unread content fragments of a connection: frames under 512 octets, or frames that
    /// arrived after a later one. More close it with H3_EXCESSIVE_LOAD.
    pub fragments: u32,
}

impl Policy {
    /// The defaults for the worker `origin`.
    pub fn new(origin: Origin) -> Self {
        Self {
            origin,
            predecessors: Predecessors::default(),
            spread: 0,
            connections: 16_384,
            retry_from: 100,
            token_lifetime: Duration::from_secs(15),
            handshake_timeout: Duration::from_secs(10),
            answers_per_second: 1000,
            fragments: 8192,
        }
    }
}

/// The result of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It went to this connection.
    Connection(Id),
    /// It began this connection.
    Accepted(Id),
    /// It is answered without a connection: send this from the filled buffer.
    Reply(Transmit),
    /// It belongs to a connection of another worker, of this process or of an older one that still
    /// serves: forward it as it is.
    Forward(Origin),
    /// It was dropped.
    Dropped(Drop),
}

/// A connection that has ended.
pub struct Ended<T> {
    /// Its name.
    pub id: Id,
    /// The caller's state.
    pub state: T,
    /// The connection, for its statistics and errors.
    pub conn: Conn,
}

/// Makes the writer of a connection's qlog from its first connection ID.
pub type QlogOpener = Box<dyn FnMut(&[u8]) -> Option<Box<dyn std::io::Write + Send + Sync>>>;

/// All QUIC connections of a worker. `T` is the caller's state of each.
pub struct Endpoint<T> {
    policy: Policy,
    config: Config,
    table: Table<T>,
    cids: Cids,
    tokens: Tokens,
    resets: Resets,
    negotiations: Budget,
    half_open: usize,
    /// Handshakes that older generations have begun.
    elsewhere: Option<Arc<HalfOpen>>,
    unix_s: u64,
    is_draining: bool,
    ended: Vec<Ended<T>>,
    stuck: Vec<Id>,
    qlog: Option<QlogOpener>,
    totals: Totals,
}

impl<T: Default> Endpoint<T> {
    /// An endpoint that gives every connection the configuration `config`.
    ///
    /// # Panics
    /// If a predecessor has the number of this generation.
    pub fn new(policy: Policy, config: Config, keys: &Keys, now: Instant) -> Self {
        assert!(!policy.predecessors.has(policy.origin.generation), "generations differ");
        Self {
            config,
            table: Table::new(),
            cids: Cids::new(keys),
            tokens: Tokens::new(keys),
            resets: Resets::new(keys, policy.answers_per_second, now),
            negotiations: Budget::new(policy.answers_per_second, now),
            half_open: 0,
            elsewhere: None,
            unix_s: 0,
            is_draining: false,
            ended: Vec::new(),
            stuck: Vec::new(),
            qlog: None,
            totals: Totals::default(),
            policy,
        }
    }

    /// Sets the seconds of Unix time, which Retry tokens are stamped with. Once a second is enough.
    pub fn tick(&mut self, unix_s: u64) {
        self.unix_s = unix_s;
    }

    /// Replaces the configuration, with its certificates, for new connections.
    pub fn replace_config(&mut self, config: Config) {
        self.config = config;
    }

    /// Replaces [`Policy::retry_from`] and [`Policy::fragments`]; the latter for new connections.
    pub fn bound(&mut self, retry_from: usize, fragments: u32) {
        self.policy.retry_from = retry_from;
        self.policy.fragments = fragments;
    }

    /// Writes a qlog of every new connection for which `opener` gives a writer.
    pub fn write_qlog(&mut self, opener: QlogOpener) {
        self.qlog = Some(opener);
    }

    /// Refuses new connections from now on.
    pub fn drain(&mut self) {
        self.is_draining = true;
    }

    /// Accepts new connections again.
    pub fn resume(&mut self) {
        self.is_draining = false;
    }

    /// Takes one datagram (one segment of what UDP_GRO delivers), decrypting it in place. `out`, of
    /// at least 1,200 bytes, receives an answer that needs no connection.
    pub fn receive(
        &mut self,
        datagram: &mut [u8],
        from: SocketAddr,
        to: SocketAddr,
        now: Instant,
        out: &mut [u8],
    ) -> Received {
        let found = match datagram.first() {
            Some(first) if first & 0x80 == 0 => self.route_short(datagram, from, to, now, out),
            Some(_) => self.route_long(datagram, from, to, now, out),
            None => Err(Received::Dropped(Drop::Malformed)),
        };
        match found {
            Ok((id, is_new)) => {
                self.deliver(id, datagram, from, to, now);
                if is_new { Received::Accepted(id) } else { Received::Connection(id) }
            }
            Err(other) => {
                match other {
                    Received::Dropped(reason) => self.totals.dropped[reason as usize] += 1,
                    Received::Forward(_) => self.totals.forwarded += 1,
                    _ => {}
                }
                other
            }
        }
    }

    /// Refuses a connection that has just been [`Accepted`](Received::Accepted): its client gets
    /// CONNECTION_REFUSED (RFC 9000 section 20.1), and nothing of it is kept.
    pub fn refuse(&mut self, id: Id, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        let mut entry = self.table.remove(id)?;
        self.half_open -= usize::from(!entry.established);
        self.totals.ended += 1;
        self.totals.dropped[Drop::Refused as usize] += 1;
        // It cannot have been closed before.
        let _ = entry.conn.quic().close(false, CONNECTION_REFUSED, b"");
        entry.conn.transmit(out, now)
    }

    /// The next batch to send, from the front of `out`, which should have room for
    /// [`BYTES_MAX`](crate::gso::BYTES_MAX) bytes. Call until `None`; stop earlier if the socket is
    /// full, and continue later.
    pub fn transmit(&mut self, out: &mut [u8], now: Instant) -> Option<(Id, Transmit)> {
        while let Some(id) = self.table.front() {
            let sent = self.table.get(id).and_then(|entry| entry.conn.transmit(out, now));
            if let Some(transmit) = sent {
                self.table.rotate();
                self.totals.batches += 1;
                self.totals.segments += transmit.segments() as u64;
                return Some((id, transmit));
            }
            self.table.pop();
            self.settle(id);
        }
        None
    }

    /// When to call [`expire`](Self::expire). May be early, never late.
    pub fn deadline(&self) -> Option<Instant> {
        self.table.deadline()
    }

    /// Fires the timers due at `now`. Call [`transmit`](Self::transmit) afterwards.
    pub fn expire(&mut self, now: Instant) {
        if self.elsewhere.as_ref().is_some_and(|elsewhere| elsewhere.is_over(now)) {
            self.elsewhere = None;
        }
        while let Some(id) = self.table.due(now) {
            let timeout = self.policy.handshake_timeout;
            let Some(entry) = self.table.get(id) else { continue };
            if !entry.established && now >= entry.accepted + timeout {
                self.totals.stalled += 1;
                self.end(id);
                continue;
            }
            entry.conn.expire();
            self.table.touch(id);
        }
    }

    /// The connection `id` and its state. Also marks it as possibly having something to send.
    pub fn get(&mut self, id: Id) -> Option<(&mut Conn, &mut T)> {
        self.table.touch(id);
        self.table.get(id).map(|entry| (&mut entry.conn, &mut entry.state))
    }

    /// The connection `id` and its state, for inspection: it is not marked as having something to
    /// send.
    pub fn peek(&mut self, id: Id) -> Option<(&mut Conn, &mut T)> {
        self.table.get(id).map(|entry| (&mut entry.conn, &mut entry.state))
    }

    /// All connections.
    pub fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        self.table.ids()
    }

    /// Removes a connection that has ended. Call until `None` after [`transmit`](Self::transmit).
    pub fn next_ended(&mut self) -> Option<Ended<T>> {
        self.ended.pop()
    }

    /// A connection that reported in the last [`transmit`](Self::transmit) that it had nothing to
    /// send, and may be wrong: see [`Http::unstick`](crate::http::Http::unstick). Call until
    /// `None`, then [`transmit`](Self::transmit) again.
    pub fn next_stuck(&mut self) -> Option<Id> {
        self.stuck.pop()
    }

    /// Number of connections, of unfinished handshakes among them, and of their connection IDs.
    pub fn load(&self) -> (usize, usize, usize) {
        (self.table.len(), self.half_open, self.table.cids())
    }

    /// The counters.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The key of the steering byte, for a kernel filter: see [`cid`].
    pub fn steering(&self) -> u32 {
        self.cids.steering()
    }

    /// RFC 9000 section 5.2: a short header names a connection by its ID alone.
    fn route_short(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        to: SocketAddr,
        now: Instant,
        out: &mut [u8],
    ) -> Result<(Id, bool), Received> {
        let Some(cid) = datagram.get(1..=cid::LEN) else {
            return Err(Received::Dropped(Drop::Malformed));
        };
        if let Some(id) = self.table.by_cid(cid) {
            return Ok((id, false));
        }
        self.divert_foreign(cid)?;
        if self.cids.decode(cid).is_none() {
            return Err(Received::Dropped(Drop::UnknownCid));
        }
        match self.resets.packet(cid, datagram.len(), now, out) {
            None => Err(Received::Dropped(Drop::Rationed)),
            Some(len) => {
                self.totals.resets += 1;
                Err(Received::Reply(answer(from, to, len)))
            }
        }
    }

    fn route_long(
        &mut self,
        datagram: &mut [u8],
        from: SocketAddr,
        to: SocketAddr,
        now: Instant,
        out: &mut [u8],
    ) -> Result<(Id, bool), Received> {
        let Ok(header) = Header::from_slice(datagram, cid::LEN) else {
            return Err(Received::Dropped(Drop::Malformed));
        };
        if header.version == 0 {
            return Err(Received::Dropped(Drop::VersionNegotiation));
        }
        if let Some(id) = self.table.by_cid(&header.dcid) {
            return Ok((id, false));
        }
        if !quiche::version_is_supported(header.version) {
            return Err(self.negotiate(&header, datagram.len(), from, to, now, out));
        }
        self.divert_long(&header, from, now)?;
        self.spread(&header.dcid)?;
        if header.ty != Type::Initial || is_unfixed(datagram) {
            return Err(Received::Dropped(Drop::UnknownLong));
        }
        if datagram.len() < INITIAL_MIN || header.dcid.len() < INITIAL_CID_MIN {
            return Err(Received::Dropped(Drop::ShortInitial));
        }
        self.begin(&header, from, to, now, out).map(|id| (id, true))
    }

    /// Where few workers receive for all, the ID that a client has chosen says who takes its
    /// connection. Every datagram with that ID goes there, also what comes in 0-RTT.
    fn spread(&mut self, cid: &[u8]) -> Result<(), Received> {
        let Policy { origin, spread, .. } = self.policy;
        if spread <= 1 || self.cids.decode(cid).is_some() {
            return Ok(());
        }
        // FNV-1a. Clients choose their IDs at random, or harm themselves only.
        let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        let worker = cid.iter().fold(0x811c_9dc5, mix) % u32::from(spread);
        if worker == u32::from(origin.worker) {
            return Ok(());
        }
        Err(Received::Forward(Origin { worker: worker as u8, ..origin }))
    }

    fn deliver(
        &mut self,
        id: Id,
        datagram: &mut [u8],
        from: SocketAddr,
        to: SocketAddr,
        now: Instant,
    ) {
        if let Some(entry) = self.table.get(id) {
            entry.conn.heard(now);
            // quiche keeps the error and reports it to the peer; the caller sees the connection
            // end.
            let _ = entry.conn.receive(datagram, from, to);
        }
        self.supply_cids(id);
        self.table.touch(id);
    }

    /// RFC 9000 section 5.1.1: a peer gets as many connection IDs as it accepts, and new ones for
    /// those it retires.
    fn supply_cids(&mut self, id: Id) {
        let Some(entry) = self.table.get(id) else { return };
        if !entry.conn.is_established() {
            return;
        }
        if !std::mem::replace(&mut entry.established, true) {
            self.half_open -= 1;
            self.totals.established += 1;
            self.totals.resumed += u64::from(entry.conn.transport().is_resumed());
        }
        while let Some(entry) = self.table.get(id) {
            let quic = entry.conn.quic();
            if let Some(retired) = quic.retired_scid_next() {
                self.table.forget(&retired, id);
                continue;
            }
            if quic.scids_left() == 0 {
                break;
            }
            let scid = self.cids.mint(self.policy.origin);
            let token = self.resets.token(&scid);
            if quic.new_scid(&ConnectionId::from_ref(&scid), token, false).is_err() {
                break;
            }
            self.table.learn(&scid, id);
        }
    }

    /// After a connection has sent everything: reschedules it, unless it has ended.
    fn settle(&mut self, id: Id) {
        let Some(entry) = self.table.get(id) else { return };
        if entry.conn.is_closed() {
            return self.end(id);
        }
        if entry.conn.is_stuck() {
            self.stuck.push(id);
        }
        let deadline = entry.conn.deadline();
        self.table.arm(id, deadline);
    }

    fn end(&mut self, id: Id) {
        let Some(entry) = self.table.remove(id) else { return };
        let Entry { conn, state, established, .. } = *entry;
        self.half_open -= usize::from(!established);
        let counts = conn.counts();
        self.totals.ended += 1;
        self.totals.migrations += u64::from(counts.migrations);
        self.ended.push(Ended { id, state, conn });
    }
}

/// A datagram back to the sender of one.
fn answer(from: SocketAddr, to: SocketAddr, len: usize) -> Transmit {
    Transmit { to: from, from: to, len, segment_size: None }
}
