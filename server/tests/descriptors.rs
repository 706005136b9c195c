//! Shortage of file descriptors (row F11): the number of connections adapts to the limit, files
//! keep their share, and idle connections are closed for new ones.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::h2::H2;
use harness::process::Process;
use harness::quic::H3;
use harness::{TempDir, eventually, pattern};

/// `ringway serve` in a process with this limit of descriptors.
fn limited(dir: &Path, descriptors: u32, options: &str) -> Process {
    let program = env!("CARGO_BIN_EXE_ringway");
    let mut command = Command::new("bash");
    command.arg("-c").arg(format!(
        "ulimit -n {descriptors}; exec {program} serve {} --http 127.0.0.1:0 --workers 1 {options}",
        dir.display()
    ));
    Process::start(&mut command)
}

fn site() -> (TempDir, Vec<u8>) {
    let large = pattern(3 << 20);
    (TempDir::with(&[("a.txt", b"small"), ("large.bin", &large)]), large)
}

fn lower_limit(server: &Process, descriptors: usize) {
    let limit = format!("--nofile={descriptors}:{descriptors}");
    let pid = format!("--pid={}", server.pid());
    assert!(Command::new("prlimit").args([&pid, &limit]).status().unwrap().success());
}

/// True if the server has closed the connection.
fn is_closed(client: &Client) -> bool {
    client.stream.set_nonblocking(true).unwrap();
    let peeked = client.stream.peek(&mut [0]);
    client.stream.set_nonblocking(false).unwrap();
    !matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn f11_idle_connections_leave_descriptors_for_files() {
    let (site, large) = site();
    let server = limited(site.path(), 128, "--https 127.0.0.1:0 --metrics 127.0.0.1:0");
    server.wait_for("http,https,h3,metrics");
    let fitted = "limits.connections is ";
    eventually("it is said", || server.output().contains(fitted));
    assert!(server.output().contains("128 descriptors"), "{}", server.output());
    let mut h1 = server.client();
    let (mut h2, mut h3) = (H2::tls(server.at("https")), H3::connect(server.at("h3")));
    assert_eq!((h1.get("/a.txt").status, h2.get("/a.txt").status()), (200, 200));
    let flood: Vec<Client> = (0..300).map(|_| server.client()).collect();
    let start = Instant::now();
    for round in 0.. {
        if start.elapsed() > Duration::from_secs(2) {
            break;
        }
        // Connections that have sent a request outlive those that never did.
        assert_eq!(h1.get("/a.txt").text(), "small");
        assert_eq!(h2.get("/a.txt").text(), "small");
        assert_eq!(h3.get("/a.txt").text(), "small");
        assert!(h1.get("/large.bin").body == large);
        // This client gives window back for each frame: more often would be a flood.
        if round % 10 == 0 {
            assert_eq!(h2.get("/large.bin").status(), 200);
        }
        sleep(Duration::from_millis(20));
    }
    let open = server.descriptors();
    assert!(open < 128 - 16, "{open} of 128: some are kept back");
    // A new client is served before long, in cleartext and over TLS.
    assert_eq!(server.client().get("/a.txt").text(), "small");
    assert_eq!(H2::tls(server.at("https")).get("/large.bin").status(), 200);
    assert!(server.metric("ringway_connections_shed_total") > 0);
    assert_eq!(server.metric("ringway_accept_exhausted_total"), 0, "it never came to that");
    drop(flood);
    eventually("they are given back", || server.descriptors() < 48);
    assert_eq!(h1.get("/a.txt").text(), "small");
}

#[test]
fn f11_the_oldest_idle_connection_makes_room() {
    let (site, _) = site();
    let options = ["--https", "127.0.0.1:0", "--set", "limits.connections=8"];
    let server = Process::serve(site.path(), &options);
    server.wait_for("http,https");
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = server.client();
        assert_eq!(client.get("/a.txt").status, 200);
        clients.push(client);
        sleep(Duration::from_millis(20));
    }
    let mut h2 = H2::tls(server.at("https"));
    assert_eq!(h2.get("/a.txt").status(), 200);
    let mut last = server.client();
    assert_eq!(last.get("/a.txt").status, 200);
    // The first is no longer the oldest.
    assert_eq!(clients[0].get("/a.txt").status, 200);
    sleep(Duration::from_millis(300));
    assert!(clients.iter().all(|client| !is_closed(client)), "all have a place");
    for n in 1..4 {
        let mut new = server.client();
        assert_eq!(new.get("/a.txt").status, 200);
        eventually("the oldest is closed", || is_closed(&clients[n]));
        let closed = clients.iter().filter(|client| is_closed(client)).count();
        assert_eq!(closed, n, "and no other");
        clients.push(new);
        sleep(Duration::from_millis(300));
    }
    // Idle HTTP/2 connections get GOAWAY before they are closed.
    let mut more: Vec<Client> = Vec::new();
    eventually("HTTP/2's turn comes", || {
        let mut new = server.client();
        new.send("GET /a.txt HTTP/1.1\r\nHost: test\r\n\r\n");
        more.push(new);
        sleep(Duration::from_millis(300));
        h2.tcp().set_nonblocking(true).unwrap();
        let peeked = h2.tcp().peek(&mut [0]);
        let is_told = !matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock);
        h2.tcp().set_nonblocking(false).unwrap();
        is_told
    });
    assert_eq!(h2.end(), Some(0), "GOAWAY with NO_ERROR");
}

/// A busy connection is not closed for a new one, which waits.
#[test]
fn f11_a_busy_connection_keeps_its_place() {
    let (site, large) = site();
    let options = ["--set", "limits.connections=8", "--set", "limits.write_rate=0"];
    let server = Process::serve(site.path(), &options);
    let mut busy: Vec<Client> = (0..8).map(|_| Client::with_tiny_window(server.http())).collect();
    for client in &mut busy {
        client.send("GET /large.bin HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    sleep(Duration::from_millis(200));
    let mut waits: Vec<Client> = (0..4).map(|_| server.client()).collect();
    for client in &mut waits {
        client.send("GET /a.txt HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    sleep(Duration::from_millis(500));
    let spent = server.cpu_ms();
    sleep(Duration::from_secs(1));
    let spent = server.cpu_ms() - spent;
    assert!(spent < 50, "{spent} ms of CPU in a second of waiting: it spins");
    assert!(waits.iter().all(|client| !is_closed(client)), "nobody is refused");
    for client in &mut busy {
        assert!(client.response("GET").body == large);
    }
    for client in &mut waits {
        assert_eq!(client.response("GET").text(), "small");
    }
}

/// The limit is lowered while the server runs, so the computed numbers no longer hold.
#[test]
fn f11_files_take_the_descriptors_of_idle_connections() {
    let (site, large) = site();
    let server = limited(site.path(), 256, "--https 127.0.0.1:0");
    server.wait_for("http,https,h3");
    let mut h3 = H3::connect(server.at("h3"));
    let mut h1 = server.client();
    assert_eq!((h1.get("/a.txt").status, h3.get("/a.txt").status()), (200, 200));
    let idle: Vec<Client> = (0..60).map(|_| server.client()).collect();
    eventually("they are accepted", || server.descriptors() > 60);
    lower_limit(&server, server.descriptors() - 8);
    sleep(Duration::from_millis(150));
    // A file in memory, which is compared with the disk, and one that is read from there.
    assert_eq!(h1.get("/a.txt").text(), "small");
    assert!(h1.get("/large.bin").body == large);
    assert_eq!(h3.get("/large.bin").status(), 200);
    assert_eq!(h3.get("/a.txt").text(), "small");
    assert!(idle.iter().any(is_closed), "somebody made room");
    // Accepting continues without spinning.
    let before = server.cpu_ms();
    let mut new = server.client();
    assert_eq!(new.get("/a.txt").text(), "small");
    sleep(Duration::from_secs(1));
    let spent = server.cpu_ms() - before;
    assert!(spent < 100, "{spent} ms of CPU in a second");
}
