//! One connection: takes received segments and decrypts them in place, gives batches of equal
//! segments, and a deadline. The meaning of streams is in [`crate::http`].

mod handshake;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quiche::{Error, PathEvent, PathStats, RecvInfo, SendInfo};
use ringway_codec::h3::Code;

use crate::amplification::Unvalidated;
use crate::buf::Buffers;
use crate::clients;
use crate::fragments::{self, Excess, Fragments};
use crate::gso::{Batch, Transmit};
use crate::initial::Initial;
use crate::parameters;
use crate::replay;
pub(crate) use handshake::is_unfixed;

/// Packets that are due within this time of one another go out together. quiche stamps each packet
/// with its own reading of the clock, so the stamps of an unpaced burst differ by microseconds; its
/// pacer's own grain is 100 µs.
const SAME_BURST: Duration = Duration::from_millis(1);

/// How often the validation of a path is restarted. One attempt may take only some ten
/// milliseconds, so this is about the three seconds that RFC 9000 section 8.2.4 allows for a new
/// path.
const RETRIES: u8 = 100;

/// CRYPTO_BUFFER_EXCEEDED (RFC 9000 section 20.1).
const CRYPTO_BUFFER_EXCEEDED: u64 = 0xd;

/// Datagrams that tell of an end; more go only when something has come or a timer was due. quiche
/// 0.30 would never stop: a probe that is due in a packet number space of the handshake stays due
/// while it closes, since it makes no PING then, and each call gives one more acknowledgement.
const LAST_MAX: u8 = 4;

/// A QUIC connection.
pub struct Conn {
    quic: quiche::Connection<Buffers>,
    /// A packet made by quiche that did not fit into the last batch: another path, longer than the
    /// rest, or not yet due.
    held: Option<Held>,
    early_last: Option<u64>,
    /// The path that the last datagram came by.
    seen: Option<(SocketAddr, SocketAddr)>,
    /// On a server: paths with the limit of unvalidated addresses.
    unvalidated: Unvalidated,
    /// Where the client has moved to: a validated path.
    moved_to: Option<(SocketAddr, SocketAddr)>,
    /// Failed validations in a row that were restarted.
    retries: u8,
    /// On a server: the fragments that the client sends.
    fragments: Option<Fragments>,
    /// Datagrams made since the close, and since the last datagram or timer.
    last: u8,
    /// A server's, until the client has shown that it can read Handshake packets.
    initial: Option<Box<Initial>>,
    /// A server's: see [`Self::is_stuck`].
    silence: Option<Silence>,
    /// How often quiche is asked again when it has nothing to send: see [`Self::is_stuck`].
    rounds: usize,
    /// That has happened since the last datagram or timer.
    asked: bool,
    counts: Counts,
}

/// When a server has last heard a client, and for how long it waits to hear it again: zero is for
/// ever.
struct Silence {
    since: Instant,
    allowed: Duration,
}

struct Held {
    packet: Box<[u8]>,
    to: SocketAddr,
    from: SocketAddr,
    at: Instant,
}

/// Counts of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Times the client moved to another address and went on there.
    pub migrations: u32,
    /// New paths whose validation succeeded.
    pub paths_validated: u32,
    /// New paths whose validation failed.
    pub paths_failed: u32,
    /// Batches sent.
    pub batches: u64,
    /// Datagrams sent.
    pub segments: u64,
}

impl Conn {
    /// Around a client's connection of quiche's.
    pub fn new(quic: quiche::Connection<Buffers>) -> Self {
        Self {
            quic,
            held: None,
            early_last: None,
            seen: None,
            unvalidated: Unvalidated::default(),
            moved_to: None,
            retries: 0,
            fragments: None,
            last: 0,
            initial: None,
            silence: None,
            rounds: 0,
            asked: false,
            counts: Counts::default(),
        }
    }

    /// Around a server's, which closes when `fragments` finds more than may be held, and can say so
    /// in an `initial`. It ends by itself when it has been silent for `idle_timeout`, unless that
    /// is zero. `unvalidated`: the paths of which the client has not shown that they are its own.
    pub(crate) fn bounded(
        mut quic: quiche::Connection<Buffers>,
        initial: Initial,
        fragments: Fragments,
        idle_timeout: Duration,
        unvalidated: Unvalidated,
        now: Instant,
    ) -> Self {
        parameters::expect(quic.as_mut(), &initial.theirs);
        Self {
            unvalidated,
            fragments: Some(fragments),
            initial: Some(Box::new(initial)),
            silence: Some(Silence { since: now, allowed: idle_timeout }),
            ..Self::new(quic)
        }
    }

    /// Notes that a datagram has arrived.
    pub(crate) fn heard(&mut self, now: Instant) {
        if let Some(silence) = &mut self.silence {
            silence.since = now;
        }
    }

    /// Takes one datagram, which is decrypted in place. An error is fatal to the connection, of
    /// which [`transmit`] will tell the peer; datagrams that are merely useless are no errors.
    ///
    /// [`transmit`]: Self::transmit
    pub fn receive(
        &mut self,
        segment: &mut [u8],
        from: SocketAddr,
        to: SocketAddr,
    ) -> Result<(), Error> {
        self.seen = Some((to, from));
        (self.last, self.asked) = (0, false);
        self.unvalidated.received(to, from, segment.len());
        let len = segment.len();
        let (mut rest, mut result) = (segment, Ok(()));
        while !rest.is_empty() && result.is_ok() {
            let (packet, behind) = rest.split_at_mut(handshake::packet_end(rest));
            result = self.receive_packet(packet, RecvInfo { from, to });
            rest = behind;
        }
        if self.quic.is_in_early_data() {
            self.tag_early();
        }
        self.note_paths(len);
        result
    }

    fn receive_packet(&mut self, packet: &mut [u8], info: RecvInfo) -> Result<(), Error> {
        if self.fragments.is_some() && is_unfixed(packet) {
            // quiche must count it for the amplification limit, but not use it.
            packet.fill(0);
        }
        let (was_early, packets) = self.before_count(packet);
        let result = self.quic.recv(packet, info);
        let is_new = packets.map(|packets| self.packets() != packets);
        if handshake::is_handshake(packet) && is_new == Some(true) {
            self.unvalidated.validate_first();
        }
        self.judge(packet, result, is_new);
        // Otherwise it may be a replayed packet.
        if is_new != Some(false) {
            self.count_fragments(packet, was_early);
        }
        match result {
            Ok(_) | Err(Error::Done) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// State before a packet is received, needed to count its fragments afterwards: whether early
    /// data has arrived, and, if it matters, how many packets.
    fn before_count(&self, packet: &[u8]) -> (bool, Option<usize>) {
        let is_long = packet.first().is_some_and(|first| first & 0x80 != 0);
        let matters = self.fragments.as_ref().is_some_and(|fragments| is_long || fragments.any());
        (self.quic.is_in_early_data(), matters.then(|| self.packets()))
    }

    fn packets(&self) -> usize {
        self.quic.path_stats().map(|path| path.recv).sum()
    }

    fn count_fragments(&mut self, packet: &[u8], was_early: bool) {
        let Some(fragments) = &mut self.fragments else { return };
        let keys = fragments::KnownKeys {
            early: was_early || self.quic.is_in_early_data(),
            established: self.quic.is_established(),
        };
        fragments.count(packet, keys, |id| self.quic.stream_finished(id));
        // `Done` says that it is closed already.
        let _ = match fragments.excess() {
            None => fragments
                .wrong_stream()
                .map_or(Ok(()), |(code, what)| self.quic.close(false, code, what.as_bytes())),
            Some(Excess::Crypto) => {
                self.quic.close(false, CRYPTO_BUFFER_EXCEEDED, b"too many fragments")
            }
            Some(Excess::Content) => {
                self.quic.close(true, Code::ExcessiveLoad.number(), b"too many fragments")
            }
        };
    }

    /// Reads from stream `id`: the length, and whether the stream ended.
    pub(crate) fn read(&mut self, id: u64, out: &mut [u8]) -> Result<(usize, bool), Error> {
        let result = self.quic.stream_recv(id, out);
        if let Some(fragments) = &mut self.fragments {
            match result {
                Ok((len, is_end)) => fragments.read(id, len, is_end),
                Err(Error::StreamReset(_)) => fragments.forget(id),
                Err(_) => {}
            }
        }
        result
    }

    /// Stops reading stream `id` and sends STOP_SENDING.
    pub(crate) fn stop_reading(&mut self, id: u64, code: u64) {
        // `Done`: it was stopped before, or has ended.
        let result = self.quic.stream_shutdown(id, quiche::Shutdown::Read, code);
        if let (Ok(()), Some(fragments)) = (result, &mut self.fragments) {
            fragments.stop(id, |id| self.quic.stream_finished(id));
        }
    }

    /// STOP_SENDING frames that have come.
    pub(crate) fn stops(&self) -> u64 {
        self.fragments.as_ref().map_or(0, Fragments::stops)
    }

    /// Whether the client wants a stream that the server opened to end.
    pub(crate) fn has_stopped_ours(&self) -> bool {
        self.fragments.as_ref().is_some_and(Fragments::has_stopped_ours)
    }

    /// Whether too many fragments have closed the connection; true once.
    pub(crate) fn take_excess(&mut self) -> bool {
        self.fragments.take_if(|fragments| fragments.excess().is_some()).is_some()
    }

    /// Fills `out` with the next batch. `None` when there is nothing to send now: nothing at all,
    /// or nothing that the congestion controller releases before the next
    /// [`deadline`](Self::deadline). `out` should have room for
    /// [`BYTES_MAX`](crate::gso::BYTES_MAX) bytes; with less the batches are smaller.
    pub fn transmit(&mut self, out: &mut [u8], now: Instant) -> Option<Transmit> {
        let transmit = self.batch(out, now);
        if transmit.is_none() {
            self.rounds = 0;
        }
        transmit
    }

    fn batch(&mut self, out: &mut [u8], now: Instant) -> Option<Transmit> {
        let is_paced = self.quic.gcongestion_enabled() == Some(true);
        let is_due = |at: Instant| !is_paced || at <= now + SAME_BURST;
        let mut batch = match self.held.take() {
            Some(held) if !is_due(held.at) || held.packet.len() > out.len() => {
                self.held = Some(held);
                return None;
            }
            Some(held) => {
                out[..held.packet.len()].copy_from_slice(&held.packet);
                Batch::begin(held.to, held.from, held.packet.len())
            }
            None => {
                let (len, info) = self.make(out, now)?;
                if !is_due(info.at) {
                    self.hold(&out[..len], info);
                    return None;
                }
                Batch::begin(info.to, info.from, len)
            }
        };
        // Without a pacer quiche's quantum stays at the initial window, so only the congestion
        // window bounds the burst.
        let quantum = if is_paced { self.quic.send_quantum() } else { usize::MAX };
        while !batch.is_full() && batch.len() < quantum && batch.next_end() <= out.len() {
            let at = batch.len();
            let Some((len, info)) = self.make(&mut out[at..], now) else { break };
            if !is_due(info.at) || !batch.join(info.to, info.from, len) {
                self.hold(&out[at..at + len], info);
                break;
            }
        }
        let transmit = batch.finish();
        self.counts.batches += 1;
        self.counts.segments += transmit.segments() as u64;
        Some(transmit)
    }

    /// When to call [`expire`](Self::expire) and then [`transmit`](Self::transmit).
    pub fn deadline(&self) -> Option<Instant> {
        let release = self.held.as_ref().map(|held| held.at);
        match (self.quic.timeout_instant(), release) {
            (Some(timer), Some(release)) => Some(timer.min(release)),
            (timer, release) => timer.or(release),
        }
    }

    /// The next datagram.
    fn make(&mut self, out: &mut [u8], now: Instant) -> Option<(usize, SendInfo)> {
        let is_last = self.quic.local_error().is_some();
        let room = self.unvalidated.room(out.len(), is_last)?;
        let out = &mut out[..room];
        if is_last {
            if self.last == LAST_MAX {
                return None;
            }
            self.last += 1;
        }
        let made = match self.initial.take_if(|_| is_last && room >= handshake::LAST_ROOM) {
            Some(initial) => self.make_last(&initial, out, now),
            None => (0..=self.rounds).find_map(|_| self.quic.send(out).ok()),
        };
        let (len, info) = made?;
        self.unvalidated.spend(info.from, info.to, &out[..len]).then_some((len, info))
    }

    /// Whether quiche may keep back what it has to send, for good. A stream whose data a probe was
    /// to carry stays in quiche 0.30's queue of those that have something to send, also when the
    /// acknowledgement of the original comes first; and quiche, when it comes to such a stream, has
    /// nothing to send. So it may be where a probe was due, and nothing is under way now. What
    /// helps is [`Http::unstick`](crate::http::Http::unstick).
    pub(crate) fn is_stuck(&self) -> bool {
        !self.asked
            && self.held.is_none()
            && self.is_established()
            && !self.is_ending()
            && self.quic.path_stats().any(|path| path.active && path.total_pto_count > 0)
            && !self.is_under_way()
    }

    /// Whether packets are under way that are to be acknowledged. quiche does not say so; but then
    /// a timer is set for their loss or the next probe, sooner than the idle timeout (the lesser of
    /// the two sides', RFC 9000 section 10.1), which began anew when the client was last heard, or
    /// later.
    fn is_under_way(&self) -> bool {
        let (Some(timer), Some(silence)) = (self.quic.timeout_instant(), &self.silence) else {
            return false;
        };
        let theirs = self.quic.peer_transport_params().map_or(0, |peer| peer.max_idle_timeout);
        let both = [silence.allowed, Duration::from_millis(theirs)];
        let idle = both.into_iter().filter(|allowed| !allowed.is_zero()).min();
        idle.is_none_or(|idle| timer < silence.since + idle)
    }

    /// Makes the next [`transmit`](Self::transmit) ask quiche `rounds` more times.
    pub(crate) fn ask_again(&mut self, rounds: usize) {
        (self.rounds, self.asked) = (rounds, true);
    }

    /// Handles timers that are due.
    pub fn expire(&mut self) {
        (self.last, self.asked) = (0, false);
        self.unvalidated.expired();
        if self.moved_to.is_none() {
            self.quic.on_timeout();
            return self.note_paths(0);
        }
        let before: Vec<PathStats> = self.left_paths().collect();
        self.quic.on_timeout();
        self.note_paths(0);
        let is_owed = |path: &PathStats| {
            let same = |other: &&PathStats| other.peer_addr == path.peer_addr;
            let probes = before.iter().find(same).map(|before| before.total_pto_count);
            probes.is_some_and(|probes| path.total_pto_count > probes)
        };
        let owed = self.left_paths().find(is_owed);
        if let Some(path) = owed {
            self.settle_left(&path);
        }
    }

    /// Whether the handshake is complete.
    pub fn is_established(&self) -> bool {
        self.quic.is_established()
    }

    /// Whether the connection is over and can be dropped.
    pub fn is_closed(&self) -> bool {
        self.quic.is_closed()
    }

    /// Whether requests may be read: the handshake is complete or early data is being accepted.
    pub fn is_open(&self) -> bool {
        (self.quic.is_established() || self.quic.is_in_early_data()) && !self.is_ending()
    }

    /// Whether either side has closed the connection, even if the close is not sent yet.
    pub fn is_ending(&self) -> bool {
        self.quic.local_error().is_some()
            || self.quic.peer_error().is_some()
            || self.quic.is_draining()
            || self.quic.is_closed()
    }

    /// Whether stream `id` was first seen in 0-RTT data, which an attacker can repeat (RFC 8470).
    pub fn is_early(&self, id: u64) -> bool {
        self.early_last.is_some_and(|last| id <= last)
    }

    /// Whether the ClientHello was seen before, as noted by [`replay::mark`].
    pub fn is_replay(&mut self) -> bool {
        replay::marked(self.quic.as_mut())
    }

    /// Whether the client has shown a certificate of those that [`clients::ask`] asks for.
    pub fn is_client_verified(&mut self) -> bool {
        clients::is_verified(self.quic.as_mut())
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Closes with the application error `code` (for HTTP/3: RFC 9114 section 8.1).
    pub fn close(&mut self, code: u64, reason: &[u8]) {
        // `Done` says that it is closed already.
        let _ = self.quic.close(true, code, reason);
    }

    /// The transport, for statistics, qlog and the streams.
    pub fn quic(&mut self) -> &mut quiche::Connection<Buffers> {
        &mut self.quic
    }

    /// The transport, to look at.
    pub fn transport(&self) -> &quiche::Connection<Buffers> {
        &self.quic
    }

    /// quiche gives a path up after three probe timeouts, a few milliseconds where the round trip
    /// is short, and closes the connection if the client goes on there all the same. A path by
    /// which the last datagram came is tried again.
    fn validate_again(&mut self, local: SocketAddr, peer: SocketAddr) {
        if self.seen == Some((local, peer)) && self.retries < RETRIES {
            self.retries += 1;
            // On error the path is gone; the connection uses another.
            let _ = self.quic.probe_path(local, peer);
        }
    }

    /// Paths that the client has left.
    fn left_paths(&self) -> impl Iterator<Item = PathStats> + '_ {
        self.quic.path_stats().filter(|path| !path.active)
    }

    /// Packets were under way on a path that the client has left, and nothing of it answers any
    /// more. quiche sends the frames of two of them again, always the same two, and finds the rest
    /// lost only when a later packet of that path is acknowledged. So this makes one, a
    /// PATH_CHALLENGE, and sends it to where the client is now: to which address a packet of its
    /// connection came is all the same to the client, and it acknowledges. Only to a validated
    /// address, and one for each time that the old path's timer fires.
    fn settle_left(&mut self, left: &PathStats) {
        let Some((local, peer)) = self.moved_to else { return };
        let is_there = self.quic.path_stats().any(|path| path.active && path.peer_addr == peer);
        let (from, to) = (left.local_addr, left.peer_addr);
        if !is_there || self.held.is_some() || self.quic.probe_path(from, to).is_err() {
            return;
        }
        let mut packet = [0; 1500];
        if let Ok((len, info)) = self.quic.send_on_path(&mut packet, Some(from), Some(to)) {
            let info = SendInfo { to: peer, from: local, ..info };
            if self.unvalidated.spend(local, peer, &packet[..len]) {
                self.hold(&packet[..len], info);
            }
        }
    }

    fn hold(&mut self, packet: &[u8], info: SendInfo) {
        assert!(self.held.is_none(), "a held packet goes out before another is made");
        self.held = Some(Held { packet: packet.into(), to: info.to, from: info.from, at: info.at });
    }

    /// All streams known by now carry early data; what first comes with the client's Finished, or
    /// after it, cannot be a repetition, whichever keys protect it (RFC 8470 section 3). Streams
    /// below the last one that are first seen later count as early too: a client may have sent them
    /// earlier, and the price of the error is a 425.
    fn tag_early(&mut self) {
        for id in self.quic.readable().filter(|id| id & 3 == 0) {
            self.early_last = self.early_last.max(Some(id));
        }
    }

    /// Updates the state of paths after a datagram of `len` octets or a timer.
    fn note_paths(&mut self, len: usize) {
        while let Some(event) = self.quic.path_event_next() {
            match event {
                PathEvent::New(local, peer) => self.unvalidated.begin(local, peer, len),
                PathEvent::PeerMigrated(local, peer) => {
                    self.counts.migrations += 1;
                    self.moved_to = Some((local, peer));
                }
                PathEvent::Validated(..) => {
                    self.counts.paths_validated += 1;
                    self.retries = 0;
                }
                PathEvent::FailedValidation(local, peer) => {
                    self.counts.paths_failed += 1;
                    self.validate_again(local, peer);
                }
                _ => {}
            }
        }
        self.unvalidated.validate(&self.quic);
    }
}
