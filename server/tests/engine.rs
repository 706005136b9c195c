//! Workers and CPU pinning, raising the limit of descriptors, and `[engine]`, whose switches tuning
//! may set. A server serves the same with each switch on. If the kernel lacks a feature, that is
//! reported at the start.

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

/// The CPUs of each worker's thread, as listed by the kernel.
fn pinned(server: &Process) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let mut workers: Vec<(String, String)> = tasks
        .map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).unwrap())
        // Workers' threads have numbers, other threads have names.
        .filter(|status| row(status, "Name:").strip_prefix("ringway-").is_some_and(is_number))
        .map(|status| (row(&status, "Name:"), row(&status, "Cpus_allowed_list:")))
        .collect();
    workers.sort();
    workers.into_iter().map(|(_, cpus)| cpus).collect()
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn row(status: &str, name: &str) -> String {
    status.lines().find_map(|line| line.strip_prefix(name)).expect(name).trim().to_owned()
}

/// `0-2,5`.
fn numbers(list: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        from.parse::<u32>().unwrap()..=to.parse().unwrap()
    };
    list.split(',').flat_map(range).collect()
}

#[test]
fn a_worker_for_each_cpu_and_each_on_its_own() {
    let dir = TempDir::with(&[("a.txt", b"hello")]);
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = numbers(&row(&own, "Cpus_allowed_list:"));
    let start = |options: &[&str]| {
        let mut command = Command::new(RINGWAY.unwrap());
        command.arg("serve").arg(dir.path()).args(["--http", "127.0.0.1:0"]).args(options);
        Process::start(&mut command)
    };
    let mut all: Vec<u32> = pinned(&start(&[])).iter().flat_map(|list| numbers(list)).collect();
    all.sort_unstable();
    println!("workers on {all:?} of {allowed:?}");
    assert_eq!(all, allowed, "one each");
    let last = allowed.last().unwrap().to_string();
    let server = start(&["--cpus", &last]);
    assert_eq!(pinned(&server), [last]);
    assert_eq!(server.client().get("/a.txt").body, b"hello");
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let dir = TempDir::with(&[("a.txt", b"hello")]);
    let script = format!(
        "ulimit -Sn 32 && ulimit -Hn 512 && exec {} serve {} --http 127.0.0.1:0 --workers 1",
        RINGWAY.unwrap(),
        dir.path().display()
    );
    let server = Process::start(Command::new("bash").args(["-c", &script]));
    let mut clients: Vec<_> = (0..100).map(|_| server.client()).collect();
    assert!(clients.iter_mut().all(|client| client.get("/a.txt").body == b"hello"));
    let said = server.output();
    assert!(said.contains("file descriptors are wanted for the connections"), "{said}");
    assert!(said.contains("the hard limit is 512"), "{said}");
}

fn newer_than(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|part| part.trim().parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (major, minor)
}
