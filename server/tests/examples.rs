//! The examples run and do what they say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::client::Framing;
use harness::process::{Process, RINGWAY};
use harness::{missing, pattern};

/// An example on a free port. It is built whenever all tests are.
fn example(name: &str) -> Option<Process> {
    let program = Path::new(RINGWAY.unwrap()).with_file_name("examples").join(name);
    if !program.is_file() {
        missing(&format!("{} (cargo build --examples)", program.display()));
        return None;
    }
    Some(Process::start(Command::new(program).arg("127.0.0.1:0")))
}

#[test]
fn hello_greets() {
    let Some(server) = example("hello") else { return };
    let mut client = server.client();
    assert_eq!(client.get("/plaintext").text(), "Hello, World!");
    assert_eq!(client.get("/hello/world").text(), "Hello, world!\n");
    assert_eq!(client.get("/hello").status, 404);
}

#[test]
fn async_answers_later_from_elsewhere_and_bit_by_bit() {
    let Some(server) = example("async") else { return };
    let mut client = server.client();
    let start = Instant::now();
    assert_eq!(client.get("/later").text(), "a tenth of a second later\n");
    assert!(start.elapsed() >= Duration::from_millis(100));
    assert_eq!(client.get("/elsewhere").text(), "500000500000");
    client.send("GET /ticks HTTP/1.1\r\nHost: test\r\n\r\n");
    while !String::from_utf8_lossy(&client.buffer).contains("tick 1") {
        assert!(client.fill());
    }
    assert!(!String::from_utf8_lossy(&client.buffer).contains("tick 5"), "it is still at work");
    let response = client.response("GET");
    assert_eq!(response.framing, Framing::Chunked);
    assert_eq!(response.text(), "tick 1\ntick 2\ntick 3\ntick 4\ntick 5\n");
}

#[test]
fn upload_counts() {
    let Some(server) = example("upload") else { return };
    let mut client = server.client();
    let body = pattern(8 << 20);
    for method in ["POST", "PUT"] {
        let length = format!("Content-Length: {}\r\n", body.len());
        let answer = client.request(method, "/upload", &length, &body);
        assert_eq!(answer.text(), body.len().to_string(), "{method}");
    }
}
