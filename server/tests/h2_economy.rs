//! HTTP/2's cost in system calls and TLS records: one SEND per connection and turn, one sealing per
//! flush. Counted by the server's report and by the records that the client sees.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use harness::TempDir;
use harness::eventually;
use harness::h2::*;
use harness::process::Process;

const ROUNDS: u64 = 200;
const STREAMS: u64 = 50;

/// System calls and operations given to the kernel since the start, as the server reports them.
fn spent(server: &Process) -> (u64, u64) {
    let before = server.output().matches(" submissions").count();
    server.signal("QUIT");
    eventually("a report", || server.output().matches(" submissions").count() > before);
    let said = server.output();
    let line = said.lines().rfind(|line| line.contains(" submissions")).unwrap();
    let number = |what: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let at = words.iter().position(|word| word.starts_with(what)).unwrap();
        words[at - 1].parse().unwrap()
    };
    (number("enters"), number("submissions"))
}

/// Rounds of many requests in one write each; system calls, operations and records that they took.
fn rounds(server: &Process, client: &mut H2, path: &str) -> (u64, u64, u64) {
    client.get(path);
    client.round_trip();
    let (before, records) = (spent(server), client.records());
    for _ in 0..ROUNDS {
        let ids: Vec<u32> = (0..STREAMS).map(|_| client.id()).collect();
        client.send(ids.iter().flat_map(|id| get(*id, path)).collect::<Vec<_>>());
        assert!(client.answers(&ids).iter().all(|answer| answer.status() == 200));
    }
    let (after, seen) = (spent(server), client.records());
    (after.0 - before.0, after.1 - before.1, seen - records)
}

#[test]
fn one_send_for_a_connection_in_a_turn() {
    let server = Process::app_on("h2c,https", "");
    let mut client = H2::connect(server.at("h2c"));
    client.refill = false;
    let (calls, operations, _) = rounds(&server, &mut client, "/hello");
    println!("{calls} system calls, {operations} operations for {} requests", ROUNDS * STREAMS);
    // A SEND for each round; receiving is armed once. Some slack for a write that came in two.
    assert!((ROUNDS..=ROUNDS * 5 / 4).contains(&operations), "{operations} operations");
    assert!(calls <= ROUNDS * 3, "{calls} system calls");
}

#[test]
fn one_record_for_a_flush() {
    let server = Process::app_on("https", "");
    let mut client = H2::tls(server.at("https"));
    client.refill = false;
    let (calls, operations, records) = rounds(&server, &mut client, "/hello");
    println!("{calls} system calls, {operations} operations, {records} records");
    assert!(operations <= ROUNDS * 5 / 4, "{operations} operations");
    assert!((ROUNDS..=ROUNDS * 5 / 4).contains(&records), "{records} records");
    // A large body comes in full records, and in few sends.
    let (before, records) = (spent(&server), client.records());
    client.refill = true;
    client.send([settings(&[(4, 1 << 24)]), window_update(0, 1 << 24)].concat());
    assert_eq!(client.get("/bytes/4096").body.len(), 4 << 20);
    let (after, seen) = (spent(&server), client.records());
    let (operations, records) = (after.1 - before.1, seen - records);
    println!("4 MiB: {operations} operations, {records} records");
    // 256 records of 16 KiB, and the frames' headers.
    assert!(records <= 300, "{records} records");
    assert!(operations <= 80, "{operations} operations");
}

/// Memory of an idle TLS connection after one request: private memory of the process, divided by as
/// many connections as a test may open. The target is 5 KB.
#[test]
fn an_idle_connection_over_tls_holds_little() {
    const CONNECTIONS: u64 = 3000;
    let dir = TempDir::with(&[("index.html", b"hello")]);
    let server = Process::serve(dir.path(), &["--https", "127.0.0.1:0"]);
    server.wait_for("http,https");
    let at = server.at("https");
    let open = || {
        let mut client = H2::tls(at);
        assert_eq!(client.get("/").text(), "hello");
        client
    };
    // What the first ones make the worker keep is not theirs: it keeps up to 512 buffers.
    let mut clients: Vec<H2> = (0..1000).map(|_| open()).collect();
    let before = server.settled();
    clients.extend((0..CONNECTIONS).map(|_| open()));
    let each = server.settled().saturating_sub(before) / CONNECTIONS;
    println!("an idle h2 connection over TLS: {each} bytes");
    assert!(each <= 5 * 1024, "{each} bytes");
    // They are alive.
    assert_eq!(clients[0].get("/").text(), "hello");
}
