//! Generations of a server that follow one another on one address, each of two workers, without a
//! kernel: one generation reads, and between them is a queue of frames that loses and reorders.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_quic::cid::Origin;
use ringway_quic::forward::{Flaw, FrameHead, HEAD};
use ringway_quic::{HalfOpen, Policy, Received, Settings, replay};

use crate::pair::client::Client;
use crate::pair::{Link, Net, SERVER, Server};

pub const WORKERS: u8 = 2;
pub const HALF_OPEN: usize = 16_384;
const PATIENCE: Duration = Duration::from_secs(60);

pub type Datagram = (SocketAddr, SocketAddr, Vec<u8>);

pub struct Worker {
    pub origin: Origin,
    pub server: Server,
}

/// A client, of whose datagrams one may be late.
pub struct Guest {
    pub client: Client,
    /// Which of its datagrams is held until it is released, counted from 0.
    pub holds: Option<usize>,
    sent: usize,
}

pub struct Fleet {
    /// Between clients and the address.
    pub net: Net,
    /// Between generations.
    pub queue: Net,
    pub workers: Vec<Worker>,
    /// Which generation reads. While none does, datagrams wait in the sockets.
    pub reading: Option<u16>,
    pub waiting: Vec<Datagram>,
    pub late: Vec<Datagram>,
    pub guests: Vec<Guest>,
    pub forwarded: usize,
    pub flaws: Vec<Flaw>,
    settings: Settings,
    change: fn(&mut Policy),
}

fn address_of(origin: Origin) -> SocketAddr {
    let [high, low] = origin.generation.to_be_bytes();
    ([10, high, low, origin.worker], 1).into()
}

impl Fleet {
    /// Generation 1 reads.
    pub fn new(seed: u64, link: Link, queue: Link, change: fn(&mut Policy)) -> Self {
        let mut fleet = Self {
            net: Net::new(seed, link),
            queue: Net::new(seed + 1, queue),
            workers: Vec::new(),
            reading: Some(1),
            waiting: Vec::new(),
            late: Vec::new(),
            guests: Vec::new(),
            forwarded: 0,
            flaws: Vec::new(),
            settings: Settings::default(),
            change,
        };
        fleet.start(1, Arc::new(replay::Register::new(1024)));
        fleet
    }

    /// The workers of a new generation, which does not read yet.
    fn start(&mut self, generation: u16, register: Arc<replay::Register>) {
        let mut older: Vec<u16> = self.workers.iter().map(|w| w.origin.generation).collect();
        older.dedup();
        for worker in 0..WORKERS {
            let origin = Origin { worker, generation };
            let mut policy = Policy::new(origin);
            (self.change)(&mut policy);
            for number in &older {
                assert!(policy.predecessors.add(*number, WORKERS.into()));
            }
            let register = Arc::clone(&register);
            let server = Server::with_register(policy, self.settings.clone(), register);
            self.workers.push(Worker { origin, server });
        }
    }

    /// The first half of a hand-over: nobody reads any more, the next generation is given
    /// everything.
    pub fn stop(&mut self, next: u16, half_open: usize) {
        let now = Instant::now();
        let old = self.reading.take().unwrap();
        let mut bytes = Vec::new();
        let mut register = None;
        for worker in self.workers.iter_mut().filter(|w| w.origin.generation == old) {
            worker.server.endpoint.drain();
            let most = half_open / usize::from(WORKERS);
            worker.server.endpoint.export_half_open(most, now, &mut bytes);
            register.get_or_insert_with(|| Arc::clone(&worker.server.register));
        }
        let register = replay::Register::import(&register.unwrap().export(1), 1).unwrap();
        let table = Arc::new(HalfOpen::import(&bytes, half_open, now).unwrap());
        self.start(next, Arc::new(register));
        for worker in self.workers.iter_mut().filter(|w| w.origin.generation == next) {
            worker.server.endpoint.import_half_open(Arc::clone(&table));
        }
    }

    /// The second half: `next` reads what has waited, and goes on.
    pub fn go(&mut self, next: u16) {
        self.reading = Some(next);
        for (from, to, bytes) in std::mem::take(&mut self.waiting) {
            self.arrive(from, to, bytes);
        }
    }

    /// Both halves.
    pub fn replace(&mut self, next: u16) {
        self.stop(next, HALF_OPEN);
        self.run_for(Duration::from_millis(3));
        self.go(next);
    }

    /// A generation is no more.
    pub fn kill(&mut self, generation: u16) {
        self.workers.retain(|worker| worker.origin.generation != generation);
    }

    pub fn guest(&mut self, client: Client) -> usize {
        self.guests.push(Guest { client, holds: None, sent: 0 });
        self.guests.len() - 1
    }

    pub fn worker(&mut self, origin: Origin) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|worker| worker.origin == origin)
    }

    /// Sums something up over the workers of a generation.
    pub fn sum(&self, generation: u16, of: impl Fn(&Server) -> u64) -> u64 {
        let workers = self.workers.iter().filter(|w| w.origin.generation == generation);
        workers.map(|worker| of(&worker.server)).sum()
    }

    /// A datagram comes to the address. The kernel picks a worker by the client's port.
    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        match self.reading {
            Some(generation) => {
                let worker = (from.port() % u16::from(WORKERS)) as u8;
                self.deliver(Origin { worker, generation }, bytes, from, to, 0);
            }
            None => self.waiting.push((from, to, bytes)),
        }
    }

    fn deliver(
        &mut self,
        at: Origin,
        mut bytes: Vec<u8>,
        from: SocketAddr,
        to: SocketAddr,
        hops: u8,
    ) {
        let Some(at) = self.workers.iter().position(|worker| worker.origin == at) else { return };
        let Worker { origin, server } = &mut self.workers[at];
        let Received::Forward(target) = server.datagram(&mut bytes, from, to, &mut self.net) else {
            return;
        };
        if target.generation == origin.generation {
            return self.deliver(target, bytes, from, to, hops);
        }
        if !self.workers.iter().any(|worker| worker.origin == target) {
            // EPIPE.
            return self.workers[at].server.endpoint.forget(target);
        }
        let (hops, generation) = (hops + 1, target.generation);
        let head = FrameHead { hops, generation, segment: bytes.len() as u16, from, to };
        self.forwarded += 1;
        let frame = [&head.to_bytes()[..], &bytes].concat();
        self.queue.send(from, address_of(target), &frame);
    }

    /// A frame comes to a worker.
    pub fn frame(&mut self, at: Origin, frame: &[u8]) {
        match FrameHead::read(frame) {
            Ok(head) if head.generation == at.generation => {
                self.deliver(at, frame[HEAD..].to_vec(), head.from, head.to, head.hops);
            }
            Ok(_) => self.flaws.push(Flaw::Malformed),
            Err(flaw) => self.flaws.push(flaw),
        }
    }

    pub fn step(&mut self) {
        self.flush_guests();
        let now = Instant::now();
        while let Some((from, to, mut bytes)) = self.net.arrived(now) {
            let addressed = |guest: &&mut Guest| guest.client.addresses.contains(&to);
            if to.to_string() == SERVER {
                self.arrive(from, to, bytes);
            } else if let Some(guest) = self.guests.iter_mut().find(addressed) {
                guest.client.datagram(&mut bytes, from, to);
            }
        }
        while let Some((_, to, frame)) = self.queue.arrived(now) {
            let at = self.workers.iter().map(|w| w.origin).find(|o| address_of(*o) == to);
            if let Some(at) = at {
                self.frame(at, &frame);
            }
        }
        for worker in &mut self.workers {
            worker.server.turn(&mut self.net);
        }
        self.flush_guests();
    }

    fn flush_guests(&mut self) {
        let mut wire = Net::new(1, Link::default());
        for guest in &mut self.guests {
            guest.client.flush(&mut wire);
            for (from, to, bytes) in wire.take_all() {
                if guest.holds == Some(guest.sent) {
                    self.late.push((from, to, bytes));
                } else {
                    self.net.send(from, to, &bytes);
                }
                guest.sent += 1;
            }
        }
    }

    /// What was held comes to the address.
    pub fn release(&mut self) {
        for (from, to, bytes) in std::mem::take(&mut self.late) {
            self.arrive(from, to, bytes);
        }
    }

    pub fn run(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let begun = Instant::now();
        loop {
            self.step();
            if done(self) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        self.run("time passes", |_| Instant::now() >= end);
    }

    /// Runs until something holds for every guest.
    pub fn all(&mut self, what: &str, holds: impl Fn(&mut Client) -> bool) {
        let begun = Instant::now();
        loop {
            self.step();
            let of = self.guests.len();
            let done = self.guests.iter_mut().filter_map(|g| holds(&mut g.client).then_some(()));
            let done = done.count();
            if done == of {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: {done} of {of} after {PATIENCE:?}");
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}
