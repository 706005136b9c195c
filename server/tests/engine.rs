//! `[engine]`: what tuning may switch on. A server with each switch on serves as one without; a
//! kernel that lacks what a switch needs is told so at the start.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use harness::TempDir;
use harness::process::{Process, RINGWAY};
use std::process::Command;

/// Requests on several connections in turn, some in a row, all answered.
fn serves(switches: &[&str]) {
    let dir = TempDir::with(&[("a.txt", b"hello"), ("b.bin", &harness::pattern(100_000))]);
    let mut command = Command::new(RINGWAY.unwrap());
    command.arg("serve").arg(dir.path()).args(["--http", "127.0.0.1:0", "--workers", "2"]);
    for switch in switches {
        command.args(["--set", switch]);
    }
    let server = Process::start(&mut command);
    let mut clients: Vec<_> = (0..8).map(|_| server.client()).collect();
    for _ in 0..5 {
        for client in &mut clients {
            assert_eq!(client.get("/a.txt").body, b"hello");
            client.send("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3));
            for _ in 0..3 {
                assert_eq!(client.response("GET").body, b"hello");
            }
            assert_eq!(client.get("/b.bin").body, harness::pattern(100_000));
        }
    }
}

#[test]
fn connections_are_served_by_the_worker_on_whose_cpu_they_arrive() {
    serves(&["engine.incoming_cpu=true"]);
}

#[test]
fn work_may_gather_before_it_is_begun() {
    if !newer_than(6, 12) {
        println!("skipped: engine.batch_wait_us needs Linux 6.12");
        return;
    }
    serves(&["engine.batch_wait_us=200"]);
    serves(&["engine.batch_wait_us=50", "engine.incoming_cpu=true"]);
}

#[test]
fn the_network_card_may_be_polled() {
    if !newer_than(6, 9) {
        println!("skipped: engine.busy_poll_us needs Linux 6.9");
        return;
    }
    serves(&["engine.busy_poll_us=20"]);
}

fn newer_than(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|part| part.trim().parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (major, minor)
}
