//! The server speaks HTTP/3: requests of every shape over a client of another make.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use harness::app::checksum;
use harness::h3::Client;
use harness::process::Process;
use harness::{TempDir, pattern};

fn app() -> Process {
    let mut server = Process::app_on("https", "");
    server.wait_for("h3");
    server
}

fn connect(server: &Process) -> Client {
    Client::connect(server.address("h3").unwrap())
}

/// D1: requests with and without bodies, their answers, and both protocols on one port.
#[test]
fn requests_and_answers() {
    let server = app();
    assert_eq!(server.address("https"), server.address("h3"));
    let mut client = connect(&server);
    assert_eq!(client.quic.application_proto(), b"h3");
    let hello = client.get("/hello");
    assert_eq!((hello.status(), &hello.body[..]), (200, &b"hello"[..]));
    assert_eq!(hello.header("server"), Some("ringway"));
    assert_eq!(hello.header("content-length"), Some("5"));
    assert!(hello.header("date").is_some() && hello.header("content-type").is_some());
    let head = client.call("HEAD", "/hello", b"");
    assert_eq!((head.status(), head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some("5"));
    assert_eq!(client.get("/empty").status(), 204);
    assert_eq!(client.get("/nowhere").status(), 404);
    assert_eq!(client.get("/user/ada").body, b"ada");
    let body = pattern(100_000);
    assert_eq!(client.call("POST", "/echo", &body).body, body);
    assert_eq!(client.call("POST", "/echo", &pattern(2 << 20)).status(), 413);
}

/// Many streams at once, each with its own answer.
#[test]
fn streams_side_by_side() {
    let server = app();
    let mut client = connect(&server);
    for round in 0..3 {
        let streams: Vec<_> =
            (0..60).map(|n| client.request("GET", &format!("/user/u{n}-{round}"), b"")).collect();
        for (n, stream) in streams.into_iter().enumerate() {
            assert_eq!(client.finish(stream).body, format!("u{n}-{round}").as_bytes());
        }
    }
}

/// Bodies larger than any window, both ways, buffered and streamed.
#[test]
fn large_bodies_flow_both_ways() {
    let server = app();
    let mut client = connect(&server);
    let big = client.get("/big");
    assert!(big.body == pattern(16 << 20), "{} bytes", big.body.len());
    let body = pattern(5 << 20);
    assert_eq!(client.call("POST", "/upload", &body).body, checksum(&body).as_bytes());
    assert_eq!(client.get("/stream/50").body, b"firstsecond");
    assert_eq!(client.get("/slow/30").body, b"slow");
}

/// Files from memory and from the disk, and ranges of them.
#[test]
fn files() {
    let (small, large) = (pattern(10_000), pattern(5 << 20));
    let dir = TempDir::with(&[("small.bin", &small), ("large.bin", &large)]);
    let mut server = Process::serve(dir.path(), &["--https", "127.0.0.1:0"]);
    server.wait_for("h3");
    let mut client = connect(&server);
    for _ in 0..2 {
        assert!(client.get("/small.bin").body == small);
        assert!(client.get("/large.bin").body == large);
    }
    let stream = client.request_with("GET", "/large.bin", &[("range", "bytes=7-1000006")], b"");
    let part = client.finish(stream);
    assert_eq!(part.status(), 206);
    assert!(part.body == large[7..1_000_007]);
}

/// C29, D9: early hints come ahead of the answer, trailers behind it; pushes are left out.
#[test]
fn hints_and_trailers() {
    let server = app();
    let mut client = connect(&server);
    let hinted = client.get("/hints/50");
    assert_eq!((hinted.heads.len(), hinted.status(), &hinted.body[..]), (2, 200, &b"hinted"[..]));
    assert_eq!(hinted.heads[0][0], (":status".to_owned(), "103".to_owned()));
    assert!(hinted.heads[0][1].1.contains("preload"), "{:?}", hinted.heads);
    let trailed = client.get("/trailers");
    assert_eq!((trailed.heads.len(), trailed.status()), (2, 200), "{:?}", trailed.heads);
    assert_eq!(client.get("/pushing").status(), 200);
}

/// What is in flight when the server is told to stop is finished; then it ends.
#[test]
fn a_drain_finishes_what_is_in_flight() {
    let mut server = app();
    let mut client = connect(&server);
    let slow = client.request("GET", "/slow/500", b"");
    let big = client.request("GET", "/big", b"");
    client.wait("the download has begun", |client| !client.replies[&big].body.is_empty());
    server.signal("TERM");
    assert_eq!(client.finish(slow).body, b"slow");
    assert_eq!(client.finish(big).body.len(), 16 << 20);
    assert!(client.goaway.is_some());
    assert_eq!(client.ended(), Some(0x100));
    assert!(server.wait().success());
}
