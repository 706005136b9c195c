//! A second, well-behaved client that watches a server while it is attacked: its latency stays
//! under twice its quiet value, the server's memory under a cap, and afterwards nothing is left.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::client::Client;
use super::eventually;
use super::process::Process;

/// Below this a ratio says more about the machine's scheduler than about the server.
const LATENCY_FLOOR: Duration = Duration::from_millis(25);
const QUIET_SAMPLES: usize = 50;
/// An attack may be over after a few requests of the second client.
const LEAST_SAMPLES: usize = 32;

pub struct Watch<'a> {
    server: &'a Process,
    path: &'static str,
    quiet: Duration,
    resident: u64,
    descriptors: usize,
}

impl<'a> Watch<'a> {
    /// Take the quiet values. `path` must be answered with 200.
    pub fn new(server: &'a Process, path: &'static str) -> Self {
        // Once before, so that what is made at the first use is not counted as growth.
        let mut client = server.client();
        assert_eq!(client.get(path).status, 200);
        let quiet = quartile((0..QUIET_SAMPLES).map(|_| timed(&mut client, path)).collect());
        drop(client);
        thread::sleep(Duration::from_millis(50));
        let (resident, descriptors) = (server.resident(), server.descriptors());
        Self { server, path, quiet, resident, descriptors }
    }

    /// Attack while a second client watches. `cap`: bytes that memory may grow by, at its highest.
    pub fn during<T>(&self, cap: u64, attack: impl FnOnce() -> T) -> T {
        let stop = Arc::new(AtomicBool::new(false));
        let watcher = self.watch(self.server.http(), Arc::clone(&stop));
        let result = attack();
        let grown = self.server.resident().saturating_sub(self.resident);
        stop.store(true, Ordering::Relaxed);
        let latency = watcher.join().expect("the second client is served all the time");
        assert!(grown <= cap, "memory grew by {grown} bytes, {cap} are allowed");
        let bound = (self.quiet * 2).max(LATENCY_FLOOR);
        assert!(latency <= bound, "latency was {latency:?}, quiet {:?}", self.quiet);
        self.afterwards(cap);
        result
    }

    fn watch(&self, address: SocketAddr, stop: Arc<AtomicBool>) -> thread::JoinHandle<Duration> {
        let path = self.path;
        thread::spawn(move || {
            let mut client = Client::connect(address);
            let mut samples = vec![timed(&mut client, path)];
            while !stop.load(Ordering::Relaxed) || samples.len() < LEAST_SAMPLES {
                samples.push(timed(&mut client, path));
                thread::sleep(Duration::from_millis(2));
            }
            quartile(samples)
        })
    }

    /// The server answers, holds no descriptor more than before, and memory stayed under the cap.
    pub fn afterwards(&self, cap: u64) {
        assert_eq!(self.server.client().get(self.path).status, 200);
        let mut open = 0;
        eventually("every descriptor is given back", || {
            open = self.server.descriptors();
            open <= self.descriptors
        });
        let grown = self.server.resident().saturating_sub(self.resident);
        assert!(grown <= cap, "memory stayed {grown} bytes higher, {cap} are allowed");
    }
}

fn timed(client: &mut Client, path: &str) -> Duration {
    let start = Instant::now();
    let response = client.get(path);
    let taken = start.elapsed();
    assert_eq!(response.status, 200, "the second client is served");
    // A server may close a connection now and then, if it says so.
    if response.says_close() {
        *client = Client::connect(client.stream.peer_addr().unwrap());
    }
    taken
}

/// The lower quartile: a server that is held up delays every request, a busy machine only some.
fn quartile(mut samples: Vec<Duration>) -> Duration {
    samples.sort_unstable();
    samples[samples.len() / 4]
}
