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

#[test]
fn state_is_shared() {
    let Some(server) = example("state") else { return };
    let (mut one, mut other) = (server.client(), server.client());
    assert_eq!(one.get("/visits/ann").text(), "1");
    assert_eq!(other.get("/visits/ann").text(), "2");
    assert_eq!(one.get("/visits/bob").text(), "1");
    assert_eq!(one.request("DELETE", "/visits/ann", "", b"").status, 204);
    assert_eq!(one.request("DELETE", "/visits/ann", "", b"").status, 404);
    assert_eq!(other.get("/visits/ann").text(), "1");
}

#[test]
fn layers_are_around_what_they_are_for() {
    let Some(server) = example("layers") else { return };
    let mut client = server.client();
    let fields = "Accept-Encoding: gzip\r\nOrigin: https://app.example.com\r\n";
    let answer = client.request("GET", "/api/words", fields, b"");
    assert_eq!((answer.status, answer.field("content-encoding")), (200, Some("gzip")));
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://app.example.com"));
    assert!(answer.field("server-timing").is_some_and(|value| value.starts_with("app;dur=")));
    assert_eq!(answer.field("x-request-id").map(str::len), Some(32));
    assert_eq!(client.get("/api/slow").status, 503);
    assert_eq!(client.get("/admin").status, 401);
    let credentials = "Authorization: Basic YW5uOnNlY3JldA==\r\n";
    let answer = client.request("GET", "/admin", credentials, b"");
    assert_eq!((answer.status, answer.text()), (200, "the back office\n"));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    let answer = client.get("/health");
    assert_eq!((answer.text(), answer.field("x-request-id")), ("well\n", None));
}
