//! A path that takes time: a proxy for the datagrams of one client, each delayed by as much.

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

impl Path {
    /// To `server`, so long each way.
    pub fn new(server: SocketAddr, delay: Duration) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").unwrap();
        let back = UdpSocket::bind("127.0.0.1:0").unwrap();
        back.connect(server).unwrap();
        let address = front.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = Some(thread::spawn(move || carry(&front, &back, delay, &stopped)));
        Self { address, stop, thread }
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

fn carry(front: &UdpSocket, back: &UdpSocket, delay: Duration, stop: &AtomicBool) {
    for socket in [front, back] {
        socket.set_nonblocking(true).unwrap();
    }
    let (mut up, mut down) = (VecDeque::new(), VecDeque::new());
    let mut client = None;
    let mut buffer = [0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        while let Ok((len, from)) = front.recv_from(&mut buffer) {
            client = Some(from);
            up.push_back((Instant::now() + delay, buffer[..len].to_vec()));
        }
        while let Ok(len) = back.recv(&mut buffer) {
            down.push_back((Instant::now() + delay, buffer[..len].to_vec()));
        }
        let is_due = |queue: &VecDeque<(Instant, _)>| {
            queue.front().is_some_and(|(at, _): &(Instant, Vec<u8>)| *at <= Instant::now())
        };
        while is_due(&up) {
            let _ = back.send(&up.pop_front().unwrap().1);
        }
        while is_due(&down) {
            let _ = front.send_to(&down.pop_front().unwrap().1, client.unwrap());
        }
        thread::sleep(Duration::from_micros(500));
    }
}
