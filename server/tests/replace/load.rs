//! Clients that keep a server busy and take note of everything that is lost. They repeat only what
//! the RFCs call safe: nothing of HTTP/1.1 but on another connection after `Connection: close`,
//! streams above a GOAWAY's number, streams that were refused.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::harness::client::Client;
use super::harness::h2::H2;
use super::harness::quic::{GOAWAY, H3, NO_ERROR, config, read_varint};
use super::harness::{pattern, tls};

/// The files that are asked for, `/N.bin` of N bytes.
pub const SIZES: [usize; 8] = [10, 200, 1000, 3000, 500, 100, 20_000, 4000];

/// They and their names, made once.
static FILES: LazyLock<[(String, Vec<u8>); 8]> =
    LazyLock::new(|| SIZES.map(|size| (format!("/{size}.bin"), body(size))));

pub fn body(size: usize) -> Vec<u8> {
    pattern(size)
}

/// What all clients count.
#[derive(Default)]
pub struct Shared {
    pub stop: AtomicBool,
    pub requests: AtomicU64,
    pub handshakes: AtomicU64,
    pub migrations: AtomicU64,
    pub notes: Mutex<Notes>,
}

#[derive(Default)]
pub struct Notes {
    /// What the RFCs let a client repeat or expect, by kind.
    pub retries: BTreeMap<&'static str, u64>,
    /// What must not happen.
    pub lost: Vec<String>,
    /// When each request was answered, and after how many microseconds.
    pub times: Vec<(Instant, u32)>,
}

impl Shared {
    pub fn retry(&self, kind: &'static str) {
        *self.notes.lock().unwrap().retries.entry(kind).or_default() += 1;
    }

    pub fn lost(&self, what: String) {
        self.notes.lock().unwrap().lost.push(what);
    }

    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub fn answered(&self, since: Instant) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let took = since.elapsed().as_micros() as u32;
        self.notes.lock().unwrap().times.push((Instant::now(), took));
    }

    /// Leaves some of the machine to others.
    fn rest(&self) {
        std::thread::sleep(Duration::from_millis(3));
    }

    /// A file's turn, and its body.
    pub fn next(&self, n: usize) -> &'static (String, Vec<u8>) {
        &FILES[n % FILES.len()]
    }
}

/// Clients under way.
pub struct Load {
    pub shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn new() -> Self {
        Self { shared: Arc::default(), threads: Vec::new() }
    }

    /// Has `client` work again and again on a thread of its own; what it panics with is lost.
    pub fn add(&mut self, what: &'static str, mut client: impl FnMut(&Shared) + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        let body = move || {
            while !shared.is_over() {
                let worked = catch_unwind(AssertUnwindSafe(|| client(&shared)));
                if let Err(panic) = worked {
                    let text = panic.downcast_ref::<String>().cloned();
                    let text = text.or_else(|| Some((*panic.downcast_ref::<&str>()?).to_owned()));
                    shared.lost(format!("{what}: {}", text.unwrap_or_default()));
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        };
        self.threads.push(std::thread::Builder::new().name(what.into()).spawn(body).unwrap());
    }

    /// Ends all clients.
    pub fn end(&mut self) -> &Shared {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        &self.shared
    }
}

/// Requests on one connection of HTTP/1.1, until it says that it closes.
pub fn h1(at: SocketAddr, shared: &Shared) {
    let mut client = Client::connect(at);
    for n in 0.. {
        let (path, wanted) = shared.next(n);
        let since = Instant::now();
        let sent = client.try_send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        let Some(answer) = client.try_response("GET") else {
            return shared.lost(format!("h1: ended without a word at request {n} ({sent:?})"));
        };
        if answer.status != 200 || answer.body != *wanted {
            shared.lost(format!("h1: {path}: {} and {} bytes", answer.status, answer.body.len()));
        }
        shared.answered(since);
        if answer.says_close() {
            return shared.retry("h1: another connection after `Connection: close`");
        }
        shared.rest();
        if shared.is_over() {
            return;
        }
    }
}

/// Requests on one connection of HTTP/2, so many at a time, until it goes away.
pub fn h2(at: SocketAddr, streams: usize, shared: &Shared) {
    let mut client = H2::tls(at);
    shared.handshakes.fetch_add(1, Ordering::Relaxed);
    for n in 0.. {
        let since = Instant::now();
        let files: Vec<_> = (0..streams).map(|each| shared.next(n + each)).collect();
        let ids: Vec<u32> = files.iter().map(|file| client.ask("GET", &file.0, &[], b"")).collect();
        let is_done = |client: &H2, id: &u32| {
            let above = client.goaways.last().is_some_and(|frame| frame.number(0) < *id);
            let stream = client.streams.get(id);
            above || stream.is_some_and(|stream| stream.ended || stream.reset.is_some())
        };
        while !ids.iter().all(|id| is_done(&client, id)) {
            if client.next().is_none() {
                break;
            }
        }
        for ((path, wanted), id) in files.iter().zip(&ids) {
            let last = client.goaways.last().map_or(u32::MAX, |frame| frame.number(0));
            match client.streams.remove(id) {
                Some(stream) if stream.ended => {
                    if stream.status() != 200 || stream.body != *wanted {
                        let len = stream.body.len();
                        shared.lost(format!("h2: {path}: {} and {len} bytes", stream.status()));
                    }
                    shared.answered(since);
                }
                Some(stream) if stream.reset == Some(7) => shared.retry("h2: REFUSED_STREAM"),
                _ if *id > last => shared.retry("h2: a stream above GOAWAY"),
                other => shared.lost(format!("h2: {path} on {id}: {other:?}, GOAWAY {last}")),
            }
        }
        if let Some(goaway) = client.goaways.last() {
            if goaway.number(4) != 0 {
                shared.lost(format!("h2: GOAWAY with {}", goaway.number(4)));
            }
            return shared.retry("h2: another connection after GOAWAY");
        }
        shared.rest();
        if shared.is_over() {
            return;
        }
    }
}

/// A connection of TLS, for one request.
pub fn handshake(at: SocketAddr, shared: &Shared) {
    let config = Arc::new(tls::config(&[b"http/1.1"]));
    match tls::try_connect(at, config, "localhost") {
        Ok(mut stream) => {
            use std::io::{Read, Write};
            stream.write_all(b"GET /10.bin HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            let mut bytes = Vec::new();
            let mut piece = [0; 4096];
            while !bytes.ends_with(&FILES[0].1) {
                match stream.read(&mut piece) {
                    Ok(len) if len > 0 => bytes.extend_from_slice(&piece[..len]),
                    other => return shared.lost(format!("handshake: no answer: {other:?}")),
                }
            }
            shared.handshakes.fetch_add(1, Ordering::Relaxed);
            shared.requests.fetch_add(1, Ordering::Relaxed);
        }
        Err(error) => shared.lost(format!("a handshake failed: {error}")),
    }
    std::thread::sleep(Duration::from_millis(1));
}

/// A download that is read slowly; its body must be whole.
pub fn download(at: SocketAddr, size: usize, rate: usize, shared: &Shared) {
    use std::io::{Read, Write};
    let mut stream = tls::tcp(at);
    let request = format!("GET /{size}.bin HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::with_capacity(size + 1000);
    let mut piece = vec![0; 64 * 1024];
    let since = Instant::now();
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(len) => bytes.extend_from_slice(&piece[..len]),
            Err(error) => return shared.lost(format!("download: {error} at {}", bytes.len())),
        }
        // Once the clients are to end, without pause.
        let due = Duration::from_secs_f64(bytes.len() as f64 / rate as f64);
        if let (Some(ahead), false) = (due.checked_sub(since.elapsed()), shared.is_over()) {
            std::thread::sleep(ahead);
        }
    }
    let start = bytes.windows(4).position(|at| at == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    if bytes[start..] != body(size) {
        shared.lost(format!("download: {} of {size} bytes", bytes.len() - start));
    }
    shared.requests.fetch_add(1, Ordering::Relaxed);
}

/// What became of the streams of a batch on HTTP/3.
fn h3_settle(
    client: &mut H3,
    files: &[&'static (String, Vec<u8>)],
    ids: &[u64],
    since: Instant,
    to: &Shared,
) {
    let goaway = h3_goaway(client);
    for ((path, wanted), id) in files.iter().zip(ids) {
        let answer = client.streams.remove(id).unwrap_or_default();
        match answer.reset {
            None if answer.fin => {
                if answer.status() != 200 || answer.body != *wanted {
                    to.lost(format!("h3: {path}: {} and {}", answer.status(), answer.body.len()));
                }
                to.answered(since);
            }
            Some(REQUEST_REJECTED) => to.retry("h3: H3_REQUEST_REJECTED"),
            _ if goaway.is_some_and(|last| *id >= last) => to.retry("h3: a stream above GOAWAY"),
            reset => to.lost(format!(
                "h3: {path} on {id}: reset {reset:?}, GOAWAY {goaway:?}, {}",
                client.why()
            )),
        }
    }
}

const REQUEST_REJECTED: u64 = 0x10b;

/// The identifier of the last GOAWAY.
fn h3_goaway(client: &H3) -> Option<u64> {
    let control = client.control();
    let last = control.iter().rev().find(|(kind, _)| *kind == GOAWAY);
    last.and_then(|(_, payload)| Some(read_varint(payload)?.0))
}

/// Whether a connection over QUIC has ended as it should, if it has.
fn h3_ended(client: &H3, what: &str, shared: &Shared) -> bool {
    if !client.conn.is_closed() && !client.conn.is_draining() {
        return false;
    }
    let by_them = client.conn.peer_error();
    if !by_them.is_some_and(|error| error.is_app && error.error_code == NO_ERROR) {
        shared.lost(format!("{what}: a QUIC connection ended: {}", client.why()));
    }
    true
}

/// How often a connection moves: with the connection IDs of this client, quiche has no more paths.
const MOVES_MAX: usize = 3;

/// Requests on one connection of HTTP/3, so many at a time, until it goes away. Every few batches
/// the client moves to another port, if it `moves`.
pub fn h3(at: SocketAddr, streams: usize, moves: bool, shared: &Shared) {
    let mut client = H3::connect(at);
    shared.handshakes.fetch_add(1, Ordering::Relaxed);
    for n in 0.. {
        if moves && n % 8 == 7 {
            if n >= 8 * MOVES_MAX {
                return client.close();
            }
            client.rebind();
            shared.migrations.fetch_add(1, Ordering::Relaxed);
        }
        let since = Instant::now();
        let files: Vec<_> = (0..streams).map(|each| shared.next(n + each)).collect();
        let ids: Vec<u64> = files.iter().map(|file| client.ask("GET", &file.0, &[], b"")).collect();
        client.run("answers of HTTP/3", |client| {
            let gone = client.conn.is_closed() || client.conn.is_draining();
            gone || ids.iter().all(|id| client.streams[id].is_over())
        });
        h3_settle(&mut client, &files, &ids, since, shared);
        if h3_ended(&client, "h3", shared) || h3_goaway(&client).is_some() {
            return shared.retry("h3: another connection after GOAWAY");
        }
        shared.rest();
        if shared.is_over() {
            return client.close();
        }
    }
}

/// A handshake of QUIC, for one request.
pub fn h3_handshake(at: SocketAddr, shared: &Shared) {
    let mut client = H3::connect(at);
    shared.handshakes.fetch_add(1, Ordering::Relaxed);
    let (since, files) = (Instant::now(), [shared.next(0)]);
    let ids = [client.ask("GET", &files[0].0, &[], b"")];
    client.run("an answer of HTTP/3", |client| {
        let gone = client.conn.is_closed() || client.conn.is_draining();
        gone || client.streams[&ids[0]].is_over()
    });
    h3_settle(&mut client, &files, &ids, since, shared);
    h3_ended(&client, "h3 handshake", shared);
    client.close();
    std::thread::sleep(Duration::from_millis(1));
}

/// A download over HTTP/3 that is read slowly, from one port after the other.
pub fn h3_download(at: SocketAddr, size: usize, shared: &Shared) {
    let mut config = config();
    config.set_initial_max_stream_data_bidi_local(64 * 1024);
    config.set_initial_max_data(128 * 1024);
    let mut client = H3::new(at, &mut config, None);
    client.run("the handshake", |client| client.conn.is_established() || client.conn.is_closed());
    client.begin();
    shared.handshakes.fetch_add(1, Ordering::Relaxed);
    let id = client.ask("GET", &format!("/{size}.bin"), &[], b"");
    let (since, mut moved, mut moves) = (Instant::now(), Instant::now(), 0);
    while !client.streams[&id].is_over() && !client.conn.is_closed() {
        client.reads = !client.reads || shared.is_over();
        client.read();
        client.step(Duration::from_millis(15));
        if moves < MOVES_MAX && moved.elapsed() > Duration::from_millis(900) {
            moves += 1;
            moved = Instant::now();
            client.rebind();
            shared.migrations.fetch_add(1, Ordering::Relaxed);
        }
        assert!(since.elapsed() < Duration::from_secs(120), "the download stands still");
    }
    let answer = client.streams.remove(&id).unwrap();
    if !answer.fin || answer.body != body(size) {
        let len = answer.body.len();
        shared.lost(format!("h3 download: {len} of {size} bytes, {}", client.why()));
    }
    shared.requests.fetch_add(1, Ordering::Relaxed);
    client.close();
}
