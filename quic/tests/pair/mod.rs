//! An endpoint and quiche clients over a seeded link in memory that loses, duplicates, delays and
//! reorders, in real time.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test: fails by panicking, has no API")]

pub mod client;
pub mod server;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use client::Client;
use ringway_quic::{Endpoint, Received};
pub use server::Server;

pub const SERVER: &str = "127.0.0.1:4433";
/// Far longer than any test takes, so only a hang exceeds it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The link's effects on datagrams, in each direction, in thousandths.
#[derive(Clone, Copy, Default)]
pub struct Link {
    pub loss: u64,
    pub duplicates: u64,
    pub reordered: u64,
    pub delay: Duration,
    /// Datagrams longer than this are dropped; 0: none.
    pub mtu: usize,
}

pub struct Net {
    pub link: Link,
    seed: u64,
    sequence: u64,
    under_way: BinaryHeap<Reverse<(Instant, u64)>>,
    datagrams: HashMap<u64, (SocketAddr, SocketAddr, Vec<u8>)>,
    pub bytes_to_client: usize,
    pub bytes_to_server: usize,
}

impl Net {
    pub fn new(seed: u64, link: Link) -> Self {
        Self {
            link,
            seed: seed | 1,
            sequence: 0,
            under_way: BinaryHeap::new(),
            datagrams: HashMap::new(),
            bytes_to_client: 0,
            bytes_to_server: 0,
        }
    }

    pub fn random(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed
    }

    fn chance(&mut self, thousandths: u64) -> bool {
        self.random() % 1000 < thousandths
    }

    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if from.to_string() == SERVER {
            self.bytes_to_client += bytes.len();
        } else {
            self.bytes_to_server += bytes.len();
        }
        let link = self.link;
        if self.chance(link.loss) || (link.mtu > 0 && bytes.len() > link.mtu) {
            return;
        }
        let copies = 1 + usize::from(self.chance(link.duplicates));
        for _ in 0..copies {
            let mut at = Instant::now() + link.delay;
            if self.chance(link.reordered) {
                at += Duration::from_micros(self.random() % 3000);
            }
            self.sequence += 1;
            self.under_way.push(Reverse((at, self.sequence)));
            self.datagrams.insert(self.sequence, (from, to, bytes.to_vec()));
        }
    }

    /// Everything under way, in order.
    pub fn take_all(&mut self) -> Vec<(SocketAddr, SocketAddr, Vec<u8>)> {
        let far = Instant::now() + Duration::from_secs(3600);
        std::iter::from_fn(|| self.arrived(far)).collect()
    }

    pub fn arrived(&mut self, now: Instant) -> Option<(SocketAddr, SocketAddr, Vec<u8>)> {
        let Reverse((at, sequence)) = *self.under_way.peek()?;
        if at > now {
            return None;
        }
        self.under_way.pop();
        self.datagrams.remove(&sequence)
    }

    fn next_arrival(&self) -> Option<Instant> {
        self.under_way.peek().map(|Reverse((at, _))| *at)
    }
}

/// One server, any number of clients, and the link.
pub struct World {
    pub net: Net,
    pub server: Server,
    pub clients: Vec<Client>,
}

impl World {
    pub fn new(seed: u64, link: Link, server: Server) -> Self {
        Self { net: Net::new(seed, link), server, clients: Vec::new() }
    }

    pub fn plain() -> Self {
        Self::new(1, Link::default(), Server::new())
    }

    /// Adds a client and returns its number.
    pub fn client(&mut self, client: Client) -> usize {
        self.clients.push(client);
        self.clients.len() - 1
    }

    /// Runs the world until `done`.
    pub fn run(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let begun = Instant::now();
        loop {
            self.step();
            if done(self) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "not done after {PATIENCE:?}");
            self.rest();
        }
    }

    /// Runs the world for `time`.
    pub fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        self.run(|_| Instant::now() >= end);
    }

    pub fn step(&mut self) {
        for client in &mut self.clients {
            client.flush(&mut self.net);
        }
        while let Some((from, to, mut bytes)) = self.net.arrived(Instant::now()) {
            if to.to_string() == SERVER {
                self.server.datagram(&mut bytes, from, to, &mut self.net);
            } else if let Some(client) = self.clients.iter_mut().find(|c| c.addresses.contains(&to))
            {
                client.datagram(&mut bytes, from, to);
            }
        }
        self.server.turn(&mut self.net);
        for client in &mut self.clients {
            client.flush(&mut self.net);
        }
    }

    /// Delivers the first client's output to the server; returns what the server then sends.
    pub fn exchange(&mut self) -> Vec<Vec<u8>> {
        self.clients[0].flush(&mut self.net);
        for (from, to, mut bytes) in self.net.take_all() {
            self.server.datagram(&mut bytes, from, to, &mut self.net);
        }
        self.server.turn(&mut self.net);
        self.net.take_all().into_iter().map(|(_, _, bytes)| bytes).collect()
    }

    fn rest(&self) {
        let mut until = Instant::now() + Duration::from_millis(2);
        for other in [self.net.next_arrival(), self.server.endpoint.deadline()] {
            until = until.min(other.unwrap_or(until));
        }
        for client in &self.clients {
            until = until.min(client.conn.timeout_instant().unwrap_or(until));
        }
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
    }
}

/// The endpoint's reaction to a datagram of no connection.
pub fn alone<T: Default>(
    endpoint: &mut Endpoint<T>,
    bytes: &[u8],
    from: SocketAddr,
) -> (Received, Vec<u8>) {
    let mut out = vec![0; 65_536];
    let to = SERVER.parse().unwrap();
    let mut bytes = bytes.to_vec();
    let received = endpoint.receive(&mut bytes, from, to, Instant::now(), &mut out);
    let len = if let Received::Reply(transmit) = received { transmit.len } else { 0 };
    out.truncate(len);
    (received, out)
}
