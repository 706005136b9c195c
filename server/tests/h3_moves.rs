//! QUIC connections on several workers: clients that a NAT moves reach the worker that has their
//! connection, tickets resume at every worker and after a reload (rows D5 and D7 of the feature
//! list, row 78 of the attack list).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::collections::HashSet;
use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::process::{Process, RINGWAY};
use harness::quic::{self as h3, H3};
use harness::{PATIENCE, TempDir, eventually, pattern};

const CLIENTS: usize = 64;
const LONG: usize = 3 << 20;

fn site() -> TempDir {
    let site = TempDir::with(&[("index.html", b"home")]);
    site.write("long.bin", &pattern(LONG));
    site
}

fn serve(site: &TempDir, workers: usize, steering: bool) -> Process {
    let mut command = Command::new(RINGWAY.unwrap());
    command.arg("serve").arg(site.path()).args(["--workers", &workers.to_string()]);
    command.args(["--https", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]);
    command.args(["--set", &format!("http3.steering={steering}")]);
    let server = Process::start(&mut command);
    server.wait_for("h3,metrics");
    server
}

/// Lets things happen at every client until something holds for each.
fn all(clients: &mut [H3], what: &str, holds: impl Fn(&mut H3) -> bool) {
    let start = Instant::now();
    loop {
        clients.iter_mut().for_each(|client| client.step(Duration::ZERO));
        let done = clients.iter_mut().filter_map(|client| holds(client).then_some(())).count();
        if done == clients.len() {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: {done} of {} clients", clients.len());
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Of 64 clients a NAT moves every one, half of them in the middle of a download: 64 survive.
fn rebinds(workers: usize, steering: bool) {
    let site = site();
    let server = serve(&site, workers, steering);
    let at = server.at("h3");
    let new = |_| H3::new(at, &mut h3::config(), None);
    let mut clients: Vec<H3> = (0..CLIENTS).map(new).collect();
    all(&mut clients, "the handshake", |client| client.conn.is_established());
    for (at, client) in clients.iter_mut().enumerate() {
        client.begin();
        client.ask("GET", if at % 2 == 0 { "/long.bin" } else { "/" }, &[], b"");
    }
    all(&mut clients, "the first octets", |client| {
        client.streams[&0].body.len() >= if client.streams[&0].is_over() { 4 } else { 100_000 }
    });
    let under_way = clients.iter().filter(|client| !client.streams[&0].is_over()).count();
    assert!(under_way >= CLIENTS / 4, "{under_way} downloads are under way");
    for client in &mut clients {
        client.rebind();
        client.ask("GET", "/", &[], b"");
    }
    all(&mut clients, "all answers after the move", |client| {
        client.streams.values().all(h3::Answer::is_over)
    });
    let long = pattern(LONG);
    for (at, client) in clients.iter().enumerate() {
        assert!(client.streams[&0].body == if at % 2 == 0 { &long[..] } else { b"home" });
        assert_eq!(client.streams[&4].text(), "home");
    }
    let (mut moves, mut forwarded) = (0, 0);
    eventually("every move is counted", || {
        // The last challenges may still want an answer, and each only for a few milliseconds.
        for _ in 0..20 {
            clients.iter_mut().for_each(|client| client.step(Duration::ZERO));
        }
        moves = server.metric("ringway_quic_migrations_total");
        forwarded = server.metric("ringway_quic_forwarded_total{result=\"sent\"}");
        moves == CLIENTS as u64
    });
    println!(
        "{workers} workers, filter {steering}: {CLIENTS} of {CLIENTS} clients survived, {under_way} \
         in a download; {forwarded} datagrams forwarded"
    );
    let lost = server.metric("ringway_quic_forwarded_total{result=\"dropped\"}");
    assert_eq!(lost, 0, "datagrams that no worker took");
    assert!(forwarded > 0 || steering, "some came to another worker");
}

#[test]
fn alone_d7_rebinding_over_two_workers() {
    rebinds(2, false);
}

#[test]
fn alone_d7_rebinding_over_four_workers() {
    rebinds(4, false);
}

#[test]
fn alone_d7_rebinding_over_two_workers_with_the_filter() {
    rebinds(2, true);
}

#[test]
fn alone_d7_rebinding_over_four_workers_with_the_filter() {
    rebinds(4, true);
}

/// D5: a ticket resumes at whichever worker it comes to, and so after a reload of the certificate.
#[test]
fn d5_tickets_resume_at_every_worker_and_after_a_reload() {
    let dir = TempDir::with(&[("site/index.html", b"home")]);
    let certify = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        dir.write("key.pem", made.signing_key.serialize_pem().as_bytes());
        dir.write("cert.pem", made.cert.pem().as_bytes());
        made.cert.der().to_vec()
    };
    let first = certify();
    let path = |name: &str| dir.path().join(name).into_os_string();
    let mut command = Command::new(RINGWAY.unwrap());
    command.arg("serve").arg(path("site")).args(["--workers", "4", "--https", "127.0.0.1:0"]);
    command.arg("--cert").arg(path("cert.pem")).arg("--key").arg(path("key.pem"));
    let server = Process::start(&mut command);
    server.wait_for("h3");
    let at = server.at("h3");
    let mut full = H3::connect(at);
    assert_eq!(full.conn.peer_cert().unwrap(), first);
    let session = full.session();
    // Ports are dealt to workers by chance: of 12, all at one is a matter of one in four million.
    let resume = || {
        for _ in 0..12 {
            let mut client = H3::new(at, &mut h3::config(), Some(&session));
            client.flush();
            client.begin();
            let id = client.ask("GET", "/", &[], b"");
            assert!(client.conn.is_in_early_data());
            assert_eq!(client.answer(id).text(), "home");
            assert!(client.conn.is_resumed());
            client.close();
        }
    };
    resume();
    let second = certify();
    server.signal("HUP");
    eventually("the new certificate", || {
        H3::connect(at).conn.peer_cert().is_some_and(|shown| shown == second)
    });
    resume();
}

/// Row 78: a copy of a first flight has no effect at any worker.
#[test]
fn row_78_copies_at_other_workers() {
    let server = Process::app_on("http,https,h3", "workers=4,handshake_timeout=300");
    server.wait_for("h3");
    let at = server.at("h3");
    let session = H3::connect(at).session();
    let mut client = H3::new(at, &mut h3::config(), Some(&session));
    client.sent = Some(Vec::new());
    client.flush();
    client.begin();
    let get = client.ask("GET", "/count", &[], b"");
    client.flush();
    let flight = client.sent.clone().unwrap();
    assert_eq!(client.answer(get).text(), "1");
    client.close();
    let mut ports = HashSet::new();
    for _ in 0..6 {
        let thief = UdpSocket::bind("127.0.0.1:0").unwrap();
        thief.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        ports.insert(thief.local_addr().unwrap().port());
        eventually("the copy is answered, once its connection is forgotten", || {
            for datagram in &flight {
                thief.send_to(datagram, at).unwrap();
            }
            thief.recv_from(&mut [0; 2000]).is_ok()
        });
    }
    assert_eq!(ports.len(), 6);
    assert_eq!(server.client().get("/counted").text(), "1", "no copy has an effect");
}
