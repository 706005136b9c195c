//! A path that takes time: a proxy for the datagrams of one client, each delayed by as much. It can
//! lose some, spoil some, carry some twice and let some be overtaken, as a seed has it.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub struct Path {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What becomes of datagrams, in thousandths of them.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    pub lost: u64,
    /// A bit of them is another.
    pub spoilt: u64,
    pub twice: u64,
    pub overtaken: u64,
}

impl Path {
    /// To `server`, so long each way.
    pub fn new(server: SocketAddr, delay: Duration) -> Self {
        Self::bad(server, delay, Faults::default(), 1)
    }

    /// The same with faults, both ways.
    pub fn bad(server: SocketAddr, delay: Duration, faults: Faults, seed: u64) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").unwrap();
        let back = UdpSocket::bind("127.0.0.1:0").unwrap();
        back.connect(server).unwrap();
        let address = front.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = Some(thread::spawn(move || {
            let lanes = [1, 2].map(|lane| Lane::new(delay, faults, 3 * seed + lane));
            carry(&front, &back, lanes, &stopped);
        }));
        Self { address, stop, thread }
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

/// One direction.
struct Lane {
    delay: Duration,
    faults: Faults,
    state: u64,
    queue: VecDeque<(Instant, Vec<u8>)>,
}

impl Lane {
    fn new(delay: Duration, faults: Faults, seed: u64) -> Self {
        // A small seed's first numbers are small.
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { delay, faults, state, queue: VecDeque::new() }
    }

    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn is_hit(&mut self, thousandths: u64) -> bool {
        self.random() % 1000 < thousandths
    }

    fn put(&mut self, datagram: &[u8]) {
        let faults = self.faults;
        if self.is_hit(faults.lost) {
            return;
        }
        let mut datagram = datagram.to_vec();
        if self.is_hit(faults.spoilt) {
            let bit = self.random() as usize % (8 * datagram.len());
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
        let due = Instant::now() + self.delay;
        for _ in 0..1 + usize::from(self.is_hit(faults.twice)) {
            // Before what came before it.
            let back = if self.is_hit(faults.overtaken) { 3 } else { 0 };
            let at = self.queue.len().saturating_sub(back);
            self.queue.insert(at, (due, datagram.clone()));
        }
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        self.queue.front().filter(|(due, _)| *due <= Instant::now())?;
        self.queue.pop_front().map(|(_, datagram)| datagram)
    }
}

fn carry(front: &UdpSocket, back: &UdpSocket, lanes: [Lane; 2], stop: &AtomicBool) {
    for socket in [front, back] {
        socket.set_nonblocking(true).unwrap();
    }
    let [mut up, mut down] = lanes;
    let mut client = None;
    let mut buffer = [0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        while let Ok((len, from)) = front.recv_from(&mut buffer) {
            client = Some(from);
            up.put(&buffer[..len]);
        }
        while let Ok(len) = back.recv(&mut buffer) {
            down.put(&buffer[..len]);
        }
        while let Some(datagram) = up.take() {
            let _ = back.send(&datagram);
        }
        while let Some(datagram) = down.take() {
            let _ = front.send_to(&datagram, client.unwrap());
        }
        thread::sleep(Duration::from_micros(500));
    }
}
