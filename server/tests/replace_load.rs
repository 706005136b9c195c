//! Replacement and reload under load, over every protocol: 100 HUPs and 5 USR2s.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test fails by panicking")]

#[path = "replace/generations.rs"]
mod generations;
mod harness;
#[path = "replace/load.rs"]
mod load;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use generations::Generations;
use harness::{TempDir, eventually, tls};
use load::{Load, SIZES, body};

const DOWNLOAD: usize = 4 << 20;

fn site() -> TempDir {
    let dir = TempDir::new();
    for size in SIZES.into_iter().chain([DOWNLOAD]) {
        dir.write(&format!("site/{size}.bin"), &body(size));
    }
    dir
}

/// The configuration; what a reload changes is the age that answers over TLS tell.
fn configure(dir: &TempDir, workers: usize, age: usize) {
    let text = format!(
        "http = \"127.0.0.1:0\"\nhttps = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n\
         workers = {workers}\nfiles.root = \"site\"\nlifecycle.probation = \"1s\"\n\
         tls.hsts = \"max-age={age}\"\n"
    );
    // As editors and deployments write it: whole, or not yet.
    dir.write("ringway.new", text.as_bytes());
    let path = dir.path();
    std::fs::rename(path.join("ringway.new"), path.join("ringway.toml")).unwrap();
}

/// Whether the age is told by now.
fn is_told(server: &Generations, age: usize) -> bool {
    use std::io::{Read, Write};
    let mut stream = tls::connect(server.first.at("https"), &[b"http/1.1"], "localhost");
    stream.write_all(b"GET /10.bin HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let head = String::from_utf8_lossy(&answer).to_lowercase();
    head.contains(&format!("strict-transport-security: max-age={age}\r\n"))
}

fn busy(server: &Generations) -> Load {
    let [http, https, quic] = ["http", "https", "h3"].map(|kind| server.first.at(kind));
    let mut load = Load::new();
    for _ in 0..4 {
        load.add("h1", move |shared| load::h1(http, shared));
    }
    for _ in 0..2 {
        load.add("h2", move |shared| load::h2(https, 32, shared));
    }
    for n in 0..2 {
        load.add("h3", move |shared| load::h3(quic, 16, n == 0, shared));
    }
    for _ in 0..2 {
        load.add("handshakes", move |shared| load::handshake(https, shared));
        load.add("h3 handshakes", move |shared| load::h3_handshake(quic, shared));
    }
    load.add("download", move |shared| load::download(http, DOWNLOAD, 1 << 20, shared));
    load.add("h3 download", move |shared| load::h3_download(quic, DOWNLOAD, shared));
    load
}

/// The time under which 99 of 100 requests between two moments were answered, in milliseconds.
fn p99(times: &[(Instant, u32)], from: Instant, to: Instant) -> f64 {
    let within = times.iter().filter(|(at, _)| (from..to).contains(at));
    let mut all: Vec<u32> = within.map(|(_, micros)| *micros).collect();
    all.sort_unstable();
    all.get(all.len() * 99 / 100).map_or(0.0, |micros| f64::from(*micros) / 1e3)
}

/// L11 and L8: under load over every protocol, with clients that move, reloads and replacements
/// lose nothing. A download of each protocol is always under way.
#[test]
fn alone_l11_nothing_is_lost_over_100_hups_and_5_usr2s() {
    const HUPS: usize = 100;
    let dir = site();
    configure(&dir, 2, 1000);
    let mut server = Generations::start(&dir, &[]);
    server.first.wait_for("http,https,h3");
    let began = Instant::now();
    let mut load = busy(&server);
    std::thread::sleep(Duration::from_secs(5));
    let quiet = Instant::now();
    let mut replaced = Vec::new();
    for hup in 1..=HUPS {
        // Three of them within one drain.
        if [15, 50, 53, 56, 85].contains(&hup) {
            eventually("room for another generation", || {
                server.first.metric("ringway_generations") < 4
            });
            let from = Instant::now();
            server.replace().unwrap_or_else(|why| panic!("{why}\n{}", server.first.output()));
            replaced.push((from, from + Duration::from_secs(1)));
        }
        configure(&dir, 2, 1000 + hup);
        server.signal(server.newest(), "HUP");
        eventually("the reload is seen", || is_told(&server, 1000 + hup));
        let due = quiet + Duration::from_millis(500) * hup as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    let shared = std::sync::Arc::clone(&load.shared);
    let counts = || {
        [&shared.requests, &shared.handshakes, &shared.migrations]
            .map(|count| count.load(Ordering::Relaxed))
    };
    let is_enough = |[requests, handshakes, migrations]: [u64; 3]| {
        requests >= 100_000 && handshakes >= 5_000 && migrations >= 100
    };
    // More load until there has been enough of it, on a machine that is busy with other things too.
    let patience = Instant::now() + Duration::from_secs(120);
    while !is_enough(counts()) && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(50));
    }
    let ended = Instant::now();
    load.end();
    let [requests, handshakes, migrations] = counts();
    let notes = shared.notes.lock().unwrap();
    println!(
        "{requests} requests, {handshakes} handshakes, {migrations} migrations, {HUPS} HUPs, {} \
         USR2s in {:.0} s; {} lost",
        replaced.len(),
        (ended - began).as_secs_f64(),
        notes.lost.len()
    );
    notes.retries.iter().for_each(|(kind, count)| println!("{count} times {kind}"));
    println!("p99 without reloads: {:.1} ms", p99(&notes.times, began, quiet));
    println!("p99 with reloads: {:.1} ms", p99(&notes.times, quiet, ended));
    for (from, to) in replaced {
        println!("p99 in the second of a replacement: {:.1} ms", p99(&notes.times, from, to));
    }
    assert!(notes.lost.is_empty(), "{:#?}", notes.lost);
    assert!(is_enough([requests, handshakes, migrations]), "too little load to show anything");
}

/// L11: the proof that the test above sees something: where the old process goes on reading UDP
/// while the new one reads, QUIC connections are lost.
#[test]
fn l11_two_readers_lose_connections() {
    let dir = site();
    configure(&dir, 2, 1000);
    let mut server = Generations::start(&dir, &[("RINGWAY_FAULT", "8")]);
    let quic = server.first.at("h3");
    let mut load = Load::new();
    for _ in 0..4 {
        load.add("h3", move |shared| load::h3(quic, 4, true, shared));
        load.add("h3 handshakes", move |shared| load::h3_handshake(quic, shared));
    }
    let answered = |more: u64| {
        let before = load.shared.requests.load(Ordering::Relaxed);
        eventually("requests are answered", || {
            load.shared.requests.load(Ordering::Relaxed) >= before + more
        });
    };
    answered(100);
    server.replace().unwrap();
    let shared = std::sync::Arc::clone(&load.shared);
    eventually("something is lost", || !shared.notes.lock().unwrap().lost.is_empty());
    let lost = shared.notes.lock().unwrap().lost.len();
    println!("{lost} lost where both read");
    load.end();
}
