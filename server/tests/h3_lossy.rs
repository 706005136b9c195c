//! HTTP/3 over paths that lose, corrupt, repeat and reorder datagrams: every byte arrives, and
//! handshakes complete. Rows C34 and D10 of the feature list. (The lab measures the same over a
//! link between network namespaces; this uses a proxy, which needs no privileges.)

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::thread;
use std::time::{Duration, Instant};

use harness::process::Process;
use harness::quic::H3;
use harness::slow::{Faults, Path};
use harness::{app_h2, pattern};

/// Half a round trip.
const ONE_WAY: Duration = Duration::from_millis(25);

fn app() -> Process {
    Process::app_on("http,https,h3", "handshake_timeout=60000")
}

/// D10, C34: downloads and an upload beside one another, at 50 ms and a loss of 1, 2 and 5 %.
#[test]
fn d10_everything_arrives_over_a_path_that_loses() {
    let server = Process::app_on("http,https,h3", "");
    let at = server.at("h3");
    thread::scope(|scope| {
        for lost in [10, 20, 50] {
            scope.spawn(move || {
                let faults = Faults { lost, spoilt: 2, twice: 10, overtaken: 20 };
                let path = Path::bad(at, ONE_WAY, faults, lost);
                let mut client = H3::connect(path.address);
                let start = Instant::now();
                let upload = pattern(100_000);
                let asked = [
                    client.ask("GET", "/bytes/400", &[], b""),
                    client.ask("GET", "/bytes/300", &[], b""),
                    client.ask("POST", "/echo", &[], &upload),
                    client.ask("GET", "/stream/50", &[], b""),
                ];
                let [long, short, echo, made] = asked.map(|id| client.answer(id));
                assert!(long.body == app_h2::bytes(400), "{:?}", client.why());
                assert!(short.body == app_h2::bytes(300), "{:?}", client.why());
                assert!(echo.body == upload, "{:?}", client.why());
                assert_eq!(made.text(), "firstsecond");
                let lost_here = client.conn.stats().lost;
                println!(
                    "{} % lost: all is here after {:?}; the client lost {lost_here} packets",
                    lost / 10,
                    start.elapsed()
                );
                client.close();
            });
        }
    });
    assert_eq!(H3::connect(at).get("/hello").text(), "hello");
}

/// D4: handshakes with every tenth datagram lost and every twentieth corrupted.
#[test]
fn d4_handshakes_come_about_over_a_path_that_loses_and_spoils() {
    let server = app();
    let at = server.at("h3");
    thread::scope(|scope| {
        for seed in 1..=16 {
            scope.spawn(move || {
                let faults = Faults { lost: 100, spoilt: 50, twice: 50, overtaken: 100 };
                let path = Path::bad(at, Duration::from_millis(5), faults, seed);
                let mut client = H3::connect(path.address);
                assert_eq!(client.get("/hello").text(), "hello", "seed {seed}: {}", client.why());
                client.close();
            });
        }
    });
    assert_eq!(H3::connect(at).get("/hello").text(), "hello");
}
