//! Draining over HTTP/1.1: the server accepts no more, finishes what is in flight and announces the
//! close, within the deadline, or at once on a second signal.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::process::Process;
use harness::{PATIENCE, TempDir, eventually};

/// A client whose request takes this long to answer.
fn busy(server: &Process, millis: u32) -> Client {
    let mut client = server.client();
    client.send(format!("GET /slow/{millis} HTTP/1.1\r\nHost: test\r\n\r\n"));
    eventually("the request is at work", || server.client().get("/hello").status == 200);
    client
}

#[test]
fn what_is_in_flight_is_finished_and_nothing_more_is_accepted() {
    for signal in ["TERM", "INT"] {
        let mut server = Process::app("");
        let mut idle = server.client();
        assert_eq!(idle.get("/hello").status, 200);
        let mut slow = busy(&server, 1000);
        // Behind what is in flight another one waits, and elsewhere one has half arrived.
        slow.send("GET /count HTTP/1.1\r\nHost: test\r\n\r\n");
        let mut half = server.client();
        half.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhe");
        eventually("it has come", || server.client().get("/hello").status == 200);
        server.signal(signal);
        idle.expect_end();
        eventually("no more is accepted", || TcpStream::connect(server.http()).is_err());
        half.send("llo");
        let answer = half.response("POST");
        assert_eq!((answer.text(), answer.says_close()), ("hello", true), "{signal}");
        half.expect_end();
        let answer = slow.response("GET");
        assert_eq!((answer.text(), answer.says_close()), ("slow", true), "{signal}");
        slow.expect_end();
        assert!(server.wait().success(), "{signal}");
    }
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let mut server = Process::app("drain_timeout=700");
    let mut slow = busy(&server, 3_600_000);
    let start = Instant::now();
    server.signal("TERM");
    assert!(slow.rest().is_empty());
    let taken = start.elapsed();
    assert!(taken >= Duration::from_millis(600) && taken < PATIENCE, "{taken:?}");
    assert!(server.wait().success());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = Process::app("drain_timeout=3600000");
    let mut slow = busy(&server, 3_600_000);
    server.signal("TERM");
    eventually("it drains", || server.output().contains("draining: "));
    server.signal("TERM");
    assert!(slow.rest().is_empty());
    assert!(server.wait().success());
}

/// The thread that waits for signals needs a descriptor to send to the workers.
#[test]
fn a_signal_arrives_where_connections_have_every_descriptor() {
    let site = TempDir::with(&[("index.html", b"home")]);
    let (program, root) = (env!("CARGO_BIN_EXE_ringway"), site.path().display());
    let script = format!("ulimit -n 128; exec {program} serve {root} --http 127.0.0.1:0");
    let mut server = Process::start(Command::new("bash").args(["-c", &script]));
    // Fewer than at the start, when the number of connections was computed (row F11).
    let (pid, few) = (format!("--pid={}", server.pid()), "--nofile=40:40");
    assert!(Command::new("prlimit").args([&pid, few]).status().unwrap().success());
    let clients: Vec<_> = (0..100).map(|_| TcpStream::connect(server.http()).unwrap()).collect();
    let is_open = |fd| std::fs::exists(format!("/proc/{}/fd/{fd}", server.pid())).unwrap();
    eventually("they have them all", || (0..40).all(is_open));
    server.signal("TERM");
    assert!(server.wait().success());
    drop(clients);
}
