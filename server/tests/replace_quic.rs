//! QUIC while the server is replaced (USR2): handshakes half-way, connections that go on and move,
//! a process that is killed, early data that comes again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "replace/generations.rs"]
mod generations;
mod harness;

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use generations::Generations;
use harness::quic::{self as h3, H3};
use harness::{PATIENCE, TempDir, eventually, pattern};
use ringway_quic::quiche::RecvInfo;

const LONG: usize = 2 << 20;

fn site(more: &str) -> TempDir {
    let dir = TempDir::with(&[("site/index.html", b"home")]);
    dir.write("site/long.bin", &pattern(LONG));
    configure(&dir, more);
    dir
}

fn configure(dir: &TempDir, more: &str) {
    let start = "https = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\nfiles.root = \"site\"\n\
                 lifecycle.generations = 8\n";
    dir.write("ringway.toml", format!("{start}{more}").as_bytes());
}

fn start(dir: &TempDir) -> Generations {
    let server = Generations::start(dir, &[]);
    server.first.wait_for("h3,metrics");
    server
}

/// Lets things happen at every client until something holds for each.
fn all(clients: &mut [H3], what: &str, holds: impl Fn(&mut H3) -> bool) {
    let begun = Instant::now();
    loop {
        clients.iter_mut().for_each(|client| client.step(Duration::ZERO));
        let done = clients.iter_mut().filter_map(|client| holds(client).then_some(())).count();
        if done == clients.len() {
            return;
        }
        let why = || clients.iter().map(H3::why).collect::<Vec<_>>();
        assert!(begun.elapsed() < PATIENCE, "{what}: {done} of {}, {:?}", clients.len(), why());
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// What is printed of the last hand-over: how long UDP was not read, in milliseconds.
fn pauses(server: &Generations) -> Vec<f64> {
    let output = server.first.output();
    let said = output.lines().filter_map(|line| line.split_once("UDP was not read for "));
    said.filter_map(|(_, rest)| rest.split(' ').next()?.parse().ok()).collect()
}

/// The next datagrams of a client, unsent.
fn datagrams(client: &mut H3) -> Vec<Vec<u8>> {
    let mut out = [0; 1500];
    std::iter::from_fn(|| client.conn.send(&mut out).ok().map(|(len, _)| out[..len].to_vec()))
        .collect()
}

/// A client that has sent the first datagram of its ClientHello, and the second one. With `retry`
/// it has been asked to come again by then.
fn half_way(at: SocketAddr, retry: bool) -> (H3, UdpSocket, Vec<u8>) {
    let mut client = H3::new(at, &mut h3::config(), None);
    let socket = client.socket();
    let mut hello = datagrams(&mut client);
    assert_eq!(hello.len(), 2, "a ClientHello of two datagrams");
    if retry {
        socket.send_to(&hello[0], at).unwrap();
        let mut answer = [0; 1500];
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let (len, from) = socket.recv_from(&mut answer).unwrap();
        let to = socket.local_addr().unwrap();
        client.conn.recv(&mut answer[..len], RecvInfo { from, to }).unwrap();
        hello = datagrams(&mut client);
        assert_eq!(hello.len(), 2, "and again, with its token");
    }
    socket.send_to(&hello[0], at).unwrap();
    (client, socket, hello.remove(1))
}

/// Handshakes of which the second datagram comes 200 ms late, when the server has been replaced.
fn half_way_over(replacements: usize, clients: usize, retry: bool) -> usize {
    let retry_from = if retry { 0 } else { 1000 };
    let more =
        format!("workers = 2\nlifecycle.probation = \"100ms\"\nhttp3.retry_from = {retry_from}\n");
    let dir = site(&more);
    let mut server = start(&dir);
    let at = server.first.at("h3");
    let mut established = 0;
    for _ in 0..replacements {
        let mut waiting: Vec<_> = (0..clients).map(|_| half_way(at, retry)).collect();
        let begun = Instant::now();
        server.replace().unwrap();
        std::thread::sleep(Duration::from_millis(200).saturating_sub(begun.elapsed()));
        for (_, socket, second) in &waiting {
            socket.send_to(second, at).unwrap();
        }
        let mut clients: Vec<H3> = waiting.drain(..).map(|(client, ..)| client).collect();
        all(&mut clients, "established", |client| client.conn.is_established());
        established += clients.len();
        clients.iter_mut().for_each(|client| client.begin());
        let asked: Vec<u64> =
            clients.iter_mut().map(|client| client.ask("GET", "/", &[], b"")).collect();
        all(&mut clients, "answered", |client| client.streams.values().all(|a| a.is_over()));
        for (client, id) in clients.iter().zip(&asked) {
            assert_eq!(client.streams[id].status(), 200, "{}", client.why());
        }
        clients.into_iter().for_each(H3::close);
        eventually("room for another generation", || {
            server.first.metric("ringway_generations") < 7
        });
    }
    let name = "ringway_quic_older_total{result=\"sent\"}";
    let (sent, pauses) = (server.first.metric(name), pauses(&server));
    println!(
        "{established} of {} handshakes, Retry: {retry}, {sent} frames by the last process, UDP \
         was not read for {pauses:?} ms",
        replacements * clients
    );
    assert!(sent > 0 && pauses.len() == replacements);
    established
}

/// L13: the second datagram of a ClientHello comes 200 ms late, after USR2: every handshake
/// completes, at the process that has its first datagram.
#[test]
fn l13_half_a_hello_before_usr2_and_half_behind() {
    assert_eq!(half_way_over(5, 50, false), 250);
}

/// L13, with Retry.
#[test]
fn l13_half_a_hello_with_its_token_before_usr2_and_half_behind() {
    assert_eq!(half_way_over(5, 50, true), 250);
}

/// L13: a Retry of the old process is answered to the new one.
#[test]
fn l13_a_retry_before_usr2_and_its_token_behind() {
    let dir = site("workers = 2\nhttp3.retry_from = 0\n");
    let mut server = start(&dir);
    let at = server.first.at("h3");
    let mut clients: Vec<H3> = (0..20).map(|_| H3::new(at, &mut h3::config(), None)).collect();
    for client in &mut clients {
        let socket = client.socket();
        for datagram in datagrams(client) {
            socket.send_to(&datagram, at).unwrap();
        }
    }
    let retries = || server.first.metric("ringway_quic_retry_total");
    eventually("each is asked to come again", || retries() >= 20);
    server.replace().unwrap();
    all(&mut clients, "established", |client| client.conn.is_established());
    // By the process that reads now, which publishes on the same address.
    eventually("the new process has them", || {
        server.first.metric("ringway_quic_tokens_total{result=\"good\"}") >= 20
    });
}

/// A client with a long download under way, of which it takes nothing for now.
fn downloading(at: SocketAddr) -> H3 {
    let mut config = h3::config();
    config.set_initial_max_stream_data_bidi_local(64 << 10);
    let mut client = H3::new(at, &mut config, None);
    client.run("the handshake", |client| client.conn.is_established());
    client.begin();
    client.reads = false;
    client.ask("GET", "/long.bin", &[], b"");
    client.run("it has begun", |client| client.conn.readable().next().is_some());
    client.supply_cids();
    client
}

/// All take the rest of their downloads.
fn finish(clients: &mut [H3]) {
    for client in &mut *clients {
        client.reads = true;
        // It reads when something comes.
        let _ = client.conn.send_ack_eliciting();
    }
    all(clients, "downloaded", |client| {
        client.conn.is_closed() || client.streams.values().all(|answer| answer.is_over())
    });
    for client in clients {
        let answer = client.streams.values().next().unwrap();
        let what = (answer.status(), answer.body.len(), answer.reset, client.why());
        assert!(answer.status() == 200 && answer.body == pattern(LONG), "{what:?}");
    }
}

/// L11, L14: downloads that begin under each of four processes go on to their end, while their
/// clients' addresses change; no connection ends but by H3_NO_ERROR.
#[test]
fn l11_l14_clients_move_while_four_generations_serve() {
    let dir = site("workers = 2\nlifecycle.probation = \"100ms\"\n");
    let mut server = start(&dir);
    let at = server.first.at("h3");
    let mut clients: Vec<H3> = Vec::new();
    let mut moved = HashSet::new();
    for round in 0..3 {
        clients.extend((0..8).map(|_| downloading(at)));
        std::thread::scope(|scope| {
            let replacing = scope.spawn(|| server.replace().unwrap());
            // Each moves once, half of them after they have been handed over.
            let mut to_move: Vec<usize> = (0..clients.len())
                .filter(|at| (at % 2 == 0 || at / 8 < round) && moved.insert(*at))
                .collect();
            while !replacing.is_finished() || !to_move.is_empty() {
                if let Some(at) = to_move.pop() {
                    clients[at].rebind();
                }
                let end = Instant::now() + Duration::from_millis(20);
                while Instant::now() < end {
                    clients.iter_mut().for_each(|client| client.step(Duration::ZERO));
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
    }
    clients.extend((0..8).map(|_| downloading(at)));
    finish(&mut clients);
    let (moves, pauses) = (moved.len(), pauses(&server));
    println!("32 downloads, {moves} moves, UDP was not read for {pauses:?} ms");
    for name in ["dropped", "refused"] {
        let metric = format!("ringway_quic_older_total{{result=\"{name}\"}}");
        assert_eq!(server.first.metric(&metric), 0, "{name}");
    }
    // Those of the replaced processes are told to leave, and nothing worse.
    let (old, new) = clients.split_at_mut(24);
    all(old, "told to leave", |client| client.conn.is_draining() || client.conn.is_closed());
    for client in old {
        let error = client.conn.peer_error().unwrap();
        assert_eq!((error.is_app, error.error_code), (true, h3::NO_ERROR), "{}", client.why());
    }
    assert!(!new.iter().any(|client| client.conn.is_closed() || client.conn.is_draining()));
}

/// A process that has been replaced and is killed: its clients are told at once that their
/// connections are no more, and nobody else notices.
#[test]
fn a_killed_generation_is_reset_by_the_next() {
    let dir = site("workers = 2\n");
    let mut server = start(&dir);
    let at = server.first.at("h3");
    server.replace().unwrap();
    let mut middle: Vec<H3> = (0..6).map(|_| downloading(at)).collect();
    let killed = server.newest();
    server.replace().unwrap();
    let mut newest: Vec<H3> = (0..4).map(|_| H3::connect(at)).collect();
    server.signal(killed, "KILL");
    server.ends(killed);
    let begun = Instant::now();
    for client in &mut middle {
        client.reads = true;
    }
    all(&mut middle, "reset", |client| {
        let _ = client.conn.send_ack_eliciting();
        client.conn.is_closed() || client.conn.is_draining()
    });
    println!("told after {:?}", begun.elapsed());
    assert!(middle.iter().all(|client| !client.conn.is_timed_out()));
    for client in &mut newest {
        assert_eq!(client.get("/").status(), 200);
    }
}

/// Attack 142: early data that the old process has taken is a replay to the new one.
#[test]
fn row_142_early_data_again_behind_usr2() {
    // Without its table of handshakes, as after the ten seconds for which it is kept.
    let dir = site("workers = 2\nlifecycle.half_open = 0\n");
    let mut server = start(&dir);
    let at = server.first.at("h3");
    let session = H3::connect(at).session();
    let mut again = H3::new(at, &mut h3::config(), Some(&session));
    again.sent = Some(Vec::new());
    again.flush();
    assert!(again.conn.is_in_early_data());
    again.begin();
    let id = again.ask("GET", "/", &[], b"");
    again.flush();
    let copied = again.sent.take().unwrap();
    assert_eq!(again.answer(id).status(), 200);
    let early = |result: &str| {
        server.first.metric(&format!("ringway_quic_early_requests_total{{result=\"{result}\"}}"))
    };
    eventually("it was early", || early("accepted") == 1);
    again.close();
    server.replace().unwrap();
    let early = |result: &str| {
        server.first.metric(&format!("ringway_quic_early_requests_total{{result=\"{result}\"}}"))
    };
    let attacker = UdpSocket::bind("127.0.0.1:0").unwrap();
    for datagram in &copied {
        attacker.send_to(datagram, at).unwrap();
    }
    eventually("the copy is refused", || early("refused") == 1);
    assert_eq!(early("accepted"), 0, "by the new process");
    // Honest early data is taken.
    let mut honest = H3::new(at, &mut h3::config(), Some(&session));
    honest.flush();
    assert!(honest.conn.is_in_early_data());
    honest.begin();
    let id = honest.ask("GET", "/", &[], b"");
    assert_eq!(honest.answer(id).status(), 200);
    eventually("it was early", || early("accepted") == 1);
}

/// L15: from one worker to four and to two: connections of each go on.
#[test]
fn l15_quic_while_workers_come_and_go() {
    let more = |workers| format!("workers = {workers}\nlifecycle.probation = \"100ms\"\n");
    let dir = site(&more(1));
    let mut server = start(&dir);
    let at = server.first.at("h3");
    let mut clients: Vec<H3> = Vec::new();
    for workers in [4, 2, 3] {
        clients.extend((0..8).map(|_| downloading(at)));
        configure(&dir, &more(workers));
        server.replace().unwrap();
    }
    finish(&mut clients);
    // New ones at whichever worker.
    for _ in 0..12 {
        assert_eq!(H3::connect(at).get("/").status(), 200);
    }
}

/// L12: who replaces and dies while it serves is taken back: what began before goes on.
#[test]
fn l12_quic_is_taken_back() {
    let dir = site("workers = 2\n");
    let mut server = Generations::start(&dir, &[("RINGWAY_FAULT", "7")]);
    server.first.wait_for("h3,metrics");
    let at = server.first.at("h3");
    let mut old = downloading(at);
    server.replace().unwrap();
    let why = server.verdict().unwrap_err();
    assert!(why.contains("this process serves again"), "{why}");
    finish(std::slice::from_mut(&mut old));
    for _ in 0..8 {
        assert_eq!(H3::connect(at).get("/").status(), 200);
    }
}
