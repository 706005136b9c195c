//! The link: carries packets between two sides with a delay, a rate with a queue before it, losses,
//! duplicates and reordering, all from a seed. A NAT in front of the client can change its outer
//! address while connections are open.
//!
//! A packet's way: NAT, then the dice (lost, twice, late), then the queue (dropped when it is
//! full), then the wire at the link's rate, then the delay. One thread sleeps until the next packet
//! is due, to the kernel's timer resolution.

use crate::packet::{self, End};
use crate::side::Side;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The client's address inside, and the server's.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// Larger than any packet of a device with an MTU of 1,500 bytes.
const PACKET_MAX: usize = 2048;

/// The link's properties, the same in each direction.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Shape {
    /// One way.
    pub(crate) delay: Duration,
    /// Bits per second; unlimited if `None`.
    pub(crate) rate: Option<u64>,
    /// Bytes that may wait for the wire; more are dropped.
    pub(crate) queue_bytes: usize,
    /// Shares of packets, 0 to 1.
    pub(crate) loss: f64,
    pub(crate) duplicate: f64,
    pub(crate) reorder: f64,
    /// Extra delay of a reordered packet.
    pub(crate) late: Duration,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            rate: None,
            queue_bytes: 1 << 18,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            late: Duration::from_millis(5),
        }
    }
}

impl Shape {
    /// A link of this round trip, in milliseconds.
    pub(crate) fn of_rtt(rtt_ms: f64) -> Self {
        Self { delay: Duration::from_secs_f64(rtt_ms / 2000.0), ..Self::default() }
    }
}

/// A direction, named by the side that receives its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// Counters of one direction's packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) packets: u64,
    pub(crate) lost: u64,
    pub(crate) overflowed: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
}

/// A packet on arrival at the link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) way: Way,
    /// Bytes above TCP's or UDP's header.
    pub(crate) payload: usize,
}

/// The NAT's outer address for the client. Former ones are forgotten, so packets to them are
/// dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Nat {
    outer: Ipv4Addr,
    port_shift: u16,
}

/// One direction's random generator and wire.
struct Lane {
    dice: Dice,
    /// When the wire is free again.
    free_at: Instant,
    counts: Counts,
    /// Packets with payload to let pass before one is dropped on purpose.
    drop_after: Option<u64>,
}

struct State {
    shape: Shape,
    nat: Nat,
    lanes: [Lane; 2],
    seen: Option<Vec<Seen>>,
    queue: BinaryHeap<Reverse<Due>>,
    number: u64,
}

/// A packet under way, ordered by due time, then by arrival.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    number: u64,
    way: usize,
    packet: Vec<u8>,
}

/// Two sides and the link between them.
pub(crate) struct Link {
    pub(crate) client: Arc<Side>,
    pub(crate) server: Arc<Side>,
    state: Arc<Mutex<State>>,
    // Closed to end the thread.
    waker: Option<UnixStream>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Link {
    pub(crate) fn new(shape: Shape, seed: u64) -> io::Result<Self> {
        let (client, server) = (Arc::new(Side::new(CLIENT)?), Arc::new(Side::new(SERVER)?));
        let lane = |seed| Lane {
            dice: Dice(seed),
            free_at: Instant::now(),
            counts: Counts::default(),
            drop_after: None,
        };
        let state = Arc::new(Mutex::new(State {
            shape,
            nat: Nat { outer: CLIENT, port_shift: 0 },
            lanes: [lane(2 * seed), lane(2 * seed + 1)],
            seen: None,
            queue: BinaryHeap::new(),
            number: 0,
        }));
        let (waker, woken) = UnixStream::pair()?;
        let carrier = Carrier {
            sides: [Arc::clone(&server), Arc::clone(&client)],
            state: Arc::clone(&state),
            woken,
        };
        let named = std::thread::Builder::new().name("lab-link".into());
        let thread = Some(named.spawn(move || carrier.run())?);
        Ok(Self { client, server, state, waker: Some(waker), thread })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the link under open connections; packets already under way are not affected.
    pub(crate) fn reshape(&self, shape: Shape) {
        self.state().shape = shape;
    }

    /// Moves the client to another outer address and port, for TCP and UDP.
    pub(crate) fn rebind(&self) {
        let mut state = self.state();
        let [a, b, c, d] = state.nat.outer.octets();
        let port_shift = state.nat.port_shift.wrapping_add(1111);
        state.nat = Nat { outer: Ipv4Addr::new(a, b, c + 1, d), port_shift };
    }

    /// Drops the packet with payload that follows `passed` further ones.
    pub(crate) fn drop_after(&self, way: Way, passed: u64) {
        self.state().lanes[way as usize].drop_after = Some(passed);
    }

    /// Starts recording packets, discarding earlier records.
    pub(crate) fn watch(&self) {
        self.state().seen = Some(Vec::new());
    }

    /// The packets recorded since then.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state().seen.take().unwrap_or_default()
    }

    pub(crate) fn counts(&self, way: Way) -> Counts {
        self.state().lanes[way as usize].counts
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.waker = None;
        if let Some(thread) = self.thread.take() {
            // The experiment has seen its failure as silence.
            let _ = thread.join();
        }
    }
}

/// The link's thread.
struct Carrier {
    /// The destination device of each direction; its packets come from the other one.
    sides: [Arc<Side>; 2],
    state: Arc<Mutex<State>>,
    woken: UnixStream,
}

impl Carrier {
    fn run(self) -> io::Result<()> {
        // The default timer slack of 50 µs would show in every delay.
        nix::sys::prctl::set_timerslack(1)?;
        let mut buffer = [0; PACKET_MAX];
        loop {
            let wait = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                self.deliver(&mut state);
                state.queue.peek().map(|Reverse(due)| due.at)
            };
            let wait = wait.map(|at| TimeSpec::from(at.saturating_duration_since(Instant::now())));
            let mut polled = [
                PollFd::new(self.sides[0].as_fd(), PollFlags::POLLIN),
                PollFd::new(self.sides[1].as_fd(), PollFlags::POLLIN),
                PollFd::new(self.woken.as_fd(), PollFlags::POLLIN),
            ];
            match ppoll(&mut polled, wait, None) {
                Err(nix::errno::Errno::EINTR) => continue,
                other => other?,
            };
            if polled[2].any() == Some(true) {
                return Ok(());
            }
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            for (way, from) in [(0, &self.sides[1]), (1, &self.sides[0])] {
                while let Ok(len) = from.receive(&mut buffer) {
                    state.take(way, &mut buffer[..len], Instant::now());
                }
            }
        }
    }

    fn deliver(&self, state: &mut State) {
        let now = Instant::now();
        while state.queue.peek().is_some_and(|Reverse(due)| due.at <= now) {
            let Some(Reverse(due)) = state.queue.pop() else { return };
            // A full or closed device drops packets, as networks do.
            let _ = self.sides[due.way].send(&due.packet);
        }
    }
}

impl State {
    /// Handles a packet for `way`.
    fn take(&mut self, way: usize, packet: &mut [u8], now: Instant) {
        let payload = packet::payload_len(packet);
        if !self.translate(way, packet) {
            return;
        }
        if let Some(seen) = &mut self.seen {
            let way = if way == Way::Up as usize { Way::Up } else { Way::Down };
            seen.push(Seen { at: now, way, payload });
        }
        let (shape, lane) = (self.shape, &mut self.lanes[way]);
        lane.counts.packets += 1;
        // Three random numbers for every packet, so that changing one share does not change
        // another's pattern.
        let [lost, twice, late] =
            [shape.loss, shape.duplicate, shape.reorder].map(|share| lane.dice.throw() < share);
        if lost || lane.is_chosen(payload) {
            lane.counts.lost += 1;
            return;
        }
        let Some(sent) = lane.wire(&shape, packet.len(), now) else { return };
        lane.counts.duplicated += u64::from(twice);
        lane.counts.reordered += u64::from(late);
        let at = sent + shape.delay + if late { shape.late } else { Duration::ZERO };
        for _ in 0..=usize::from(twice) {
            self.number += 1;
            let due = Due { at, number: self.number, way, packet: packet.to_vec() };
            self.queue.push(Reverse(due));
        }
    }

    /// Applies the NAT; false if the address is unknown.
    fn translate(&self, way: usize, packet: &mut [u8]) -> bool {
        let Nat { outer, port_shift } = self.nat;
        if outer == CLIENT && port_shift == 0 {
            return packet::address(packet, End::Source).is_some();
        }
        if way == Way::Up as usize {
            packet::rewrite(packet, End::Source, outer, port_shift);
            return true;
        }
        let known = packet::address(packet, End::Destination) == Some(outer);
        packet::rewrite(packet, End::Destination, CLIENT, 0_u16.wrapping_sub(port_shift));
        known
    }
}

impl Lane {
    /// Whether this is the packet to drop on purpose.
    fn is_chosen(&mut self, payload: usize) -> bool {
        match &mut self.drop_after {
            Some(0) if payload > 0 => {
                self.drop_after = None;
                true
            }
            Some(left) if payload > 0 => {
                *left -= 1;
                false
            }
            _ => false,
        }
    }

    /// When the packet's last bit is on the wire; `None` if the queue is full.
    fn wire(&mut self, shape: &Shape, len: usize, now: Instant) -> Option<Instant> {
        let Some(rate) = shape.rate else { return Some(now) };
        let begin = self.free_at.max(now);
        let waiting = (begin - now).as_secs_f64() * rate as f64 / 8.0;
        if waiting + len as f64 > shape.queue_bytes as f64 {
            self.counts.overflowed += 1;
            return None;
        }
        self.free_at = begin + Duration::from_secs_f64(len as f64 * 8.0 / rate as f64);
        Some(self.free_at)
    }
}

/// SplitMix64: the same seed, the same losses.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1.
    pub(crate) fn throw(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests;
