//! HTTP/3 over paths that lose, spoil, repeat and reorder datagrams: handshakes come about. Row D4
//! of the feature list. (Content over such paths: the transport's own tests and the lab.)

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::thread;
use std::time::Duration;

use harness::process::Process;
use harness::quic::H3;
use harness::slow::{Faults, Path};

fn app() -> Process {
    Process::app_on("http,https,h3", "handshake_timeout=60000")
}

/// D4: handshakes of which every tenth datagram is lost and every twentieth spoilt.
#[test]
fn d4_handshakes_come_about_over_a_path_that_loses_and_spoils() {
    let server = app();
    let at = server.address("h3").unwrap();
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
