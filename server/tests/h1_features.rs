//! HTTP/1.0 and HTTP/1.1 features: rows A1 to A18 of the feature list, each test named by its row,
//! from outside over a socket.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use harness::client::{Client, Framing};
use harness::process::Process;
use harness::{TempDir, eventually, pattern};

fn site() -> TempDir {
    let big = pattern(300_000);
    TempDir::with(&[("index.html", b"<!doctype html>home"), ("big.bin", &big), ("a.txt", b"text")])
}

#[test]
fn a1_http_09_is_refused_not_awaited() {
    let server = Process::app("");
    for line in ["GET /hello\r\n", "GET /hello\r\n\r\n", "GET\r\n\r\n"] {
        let mut client = server.client();
        client.send(line);
        let response = client.response("GET");
        assert_eq!(response.status, 400, "{line:?}");
        assert!(response.says_close(), "{line:?}");
        client.expect_end();
    }
}

#[test]
fn a2_http_10_closes_after_the_reply() {
    let server = Process::app("");
    let mut client = server.client();
    client.send("GET /hello HTTP/1.0\r\n\r\n");
    let response = client.response("GET");
    assert_eq!((response.status, response.text()), (200, "hello"));
    assert_eq!(response.framing, Framing::Length(5));
    client.expect_end();

    let mut client = server.client();
    client.send("POST /echo HTTP/1.0\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.response("POST").text(), "body");
    client.expect_end();

    let mut client = server.client();
    client.send("HEAD /hello HTTP/1.0\r\n\r\n");
    let response = client.response("HEAD");
    assert_eq!(response.field("content-length"), Some("5"));
    client.expect_end();
}

#[test]
fn a2_http_10_keeps_alive_when_asked() {
    let server = Process::app("");
    let mut client = server.client();
    for _ in 0..3 {
        client.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let response = client.response("GET");
        assert_eq!(response.text(), "hello");
        let connection = response.field("connection").expect("the answer says that it stays open");
        assert!(connection.eq_ignore_ascii_case("keep-alive"));
    }
    client.send("GET /hello HTTP/1.0\r\n\r\n");
    assert_eq!(client.response("GET").text(), "hello");
    client.expect_end();
}

#[test]
fn a3_ten_thousand_requests_on_one_connection() {
    let server = Process::app("");
    let mut client = server.client();
    let descriptors = server.descriptors();
    for n in 0..10_000 {
        let response = client.get("/hello");
        assert_eq!((response.status, response.text()), (200, "hello"), "request {n}");
        assert!(!response.says_close(), "request {n}");
    }
    assert!(server.descriptors() <= descriptors + 1, "one connection");
}

#[test]
fn a3_an_idle_connection_is_closed_in_time() {
    let server = Process::app("idle_timeout=300");
    let mut client = server.client();
    assert_eq!(client.get("/hello").status, 200);
    let start = Instant::now();
    client.expect_end();
    assert!(start.elapsed() >= Duration::from_millis(200), "not at once");

    // A client that never sent anything gets no more time.
    let mut silent = server.client();
    silent.expect_end();
}

#[test]
fn a3_connection_close_is_obeyed() {
    let server = Process::app("");
    for value in ["close", "Close", "foo, close", "close, TE"] {
        let mut client = server.client();
        let response = client.request("GET", "/hello", &format!("Connection: {value}\r\n"), b"");
        assert_eq!(response.text(), "hello");
        assert!(response.says_close(), "{value}");
        client.expect_end();
    }
}

#[test]
fn a4_pipelined_requests_are_answered_in_order() {
    let server = Process::app("");
    for depth in [2, 16, 1000] {
        let mut client = server.client();
        // The slow one first: those behind it must wait for it, and come in order.
        let mut batch = String::from("GET /slow/50 HTTP/1.1\r\nHost: test\r\n\r\n");
        for n in 0..depth {
            batch += &format!("GET /user/{n} HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        client.send(batch);
        assert_eq!(client.response("GET").text(), "slow");
        for n in 0..depth {
            let response = client.response("GET");
            assert_eq!((response.status, response.text()), (200, n.to_string().as_str()));
        }
        assert_eq!(client.get("/hello").text(), "hello", "aligned after {depth}");
    }
}

#[test]
fn a4_pipelined_bodies_and_large_replies_stay_aligned() {
    let server = Process::app("");
    let mut client = server.client();
    let body = pattern(40_000);
    let mut batch = Vec::new();
    for _ in 0..20 {
        let head =
            format!("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len());
        batch.extend_from_slice(head.as_bytes());
        batch.extend_from_slice(&body);
        batch.extend_from_slice(b"GET /hello HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    let mut writer = client.stream.try_clone().unwrap();
    let sender = thread::spawn(move || std::io::Write::write_all(&mut writer, &batch).unwrap());
    for _ in 0..20 {
        assert_eq!(client.response("POST").body, body);
        assert_eq!(client.response("GET").text(), "hello");
    }
    sender.join().unwrap();
}

#[test]
fn a5_after_an_error_nothing_behind_it_is_executed() {
    let server = Process::app("");
    let good = "POST /count HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n";
    let bad = "POST /count HTTP/1.1\r\nHost: test\r\nContent-Length: x\r\n\r\n";
    let mut client = server.client();
    client.send(format!("{good}{bad}{good}{good}"));
    let response = client.response("POST");
    assert_eq!((response.status, response.says_close()), (200, false));
    let response = client.response("POST");
    assert_eq!((response.status, response.says_close()), (400, true));
    client.expect_end();
    assert_eq!(server.client().get("/counted").text(), "1");

    // The same if the client itself asks for the close.
    let last = "POST /count HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
                Content-Length: 0\r\n\r\n";
    let mut client = server.client();
    client.send(format!("{last}{good}"));
    assert!(client.response("POST").says_close());
    client.expect_end();
    assert_eq!(server.client().get("/counted").text(), "2");
}

#[test]
fn a7_eight_connections_at_once_are_served_at_once() {
    let server = Process::app("");
    let start = Instant::now();
    let mut clients: Vec<Client> = (0..8).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET /slow/400 HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.response("GET").text(), "slow");
    }
    let taken = start.elapsed();
    assert!(taken < Duration::from_millis(8 * 400), "one after the other: {taken:?}");
}

#[test]
fn a8_every_split_of_a_request_is_read_the_same() {
    let server = Process::app("");
    let chunked = "POST /echo?a=b HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\
                   X-Long: abcdefghijklmnopqrstuvwxyz0123456789\r\n\r\n\
                   5;ext=\"1\"\r\nhello\r\n1\r\n!\r\n0\r\nX-Trailer: t\r\n\r\n";
    let length = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nhello!";
    let mut client = server.client();
    for request in [chunked, length] {
        for at in 1..request.len() {
            client.send(&request[..at]);
            if at % 8 == 0 {
                // Most splits reach the server as one anyway; these surely do not.
                thread::sleep(Duration::from_millis(2));
            }
            client.send(&request[at..]);
            let response = client.response("POST");
            assert_eq!((response.status, response.text()), (200, "hello!"), "split at {at}");
        }
        for byte in request.as_bytes() {
            client.send([*byte]);
            thread::sleep(Duration::from_micros(500));
        }
        assert_eq!(client.response("POST").text(), "hello!", "byte by byte");
    }
}

#[test]
fn a8_whitespace_and_case_that_the_rfc_allows() {
    let server = Process::app("");
    let mut client = server.client();
    client.send(
        "\r\nGET /fields HTTP/1.1\r\nhOsT:test\r\nA:  \t padded \t \r\nB:\r\nC: x \t y\r\n\r\n",
    );
    let response = client.response("GET");
    assert_eq!(response.status, 200);
    let lines: Vec<String> = response.text().lines().map(str::to_owned).collect();
    let has = |line: &str| lines.iter().any(|l| l.eq_ignore_ascii_case(line));
    assert!(has("a: padded") && has("b: ") && has("c: x \t y"), "{lines:?}");
}

#[test]
fn a9_header_blocks_up_to_the_limit_and_not_over_it() {
    let server = Process::app("");
    for size in [500, 2000, 3000, 8000, 30_000] {
        let mut client = server.client();
        let fields = cookies(size);
        let response = client.request("GET", "/hello", &fields, b"");
        assert_eq!(response.status, 200, "{size} bytes");
        assert_eq!(client.get("/hello").status, 200);
    }
    let mut client = server.client();
    let response = client.request("GET", "/hello", &cookies(40_000), b"");
    assert_eq!((response.status, response.says_close()), (431, true));
    client.expect_end();
}

fn cookies(size: usize) -> String {
    let mut fields = String::new();
    while fields.len() < size {
        let room = (size - fields.len()).clamp(20, 2000);
        fields += &format!("Cookie: a={}\r\n", "x".repeat(room - 12));
    }
    fields
}

#[test]
fn a10_content_length_delimits_files_and_head_says_the_same() {
    let site = site();
    let server = Process::serve(site.path(), &[]);
    let mut client = server.client();
    for (name, len) in [("/big.bin", 300_000), ("/a.txt", 4), ("/index.html", 19)] {
        let response = client.get(name);
        assert_eq!(response.framing, Framing::Length(len), "{name}");
        assert_eq!(response.body.len(), len);
        let head = client.request("HEAD", name, "", b"");
        assert_eq!(head.field("content-length"), Some(len.to_string().as_str()));
        assert_eq!(head.field("content-type"), response.field("content-type"));
        assert_eq!(head.field("etag"), response.field("etag"));
    }
    assert_eq!(client.get("/big.bin").body, pattern(300_000), "HEAD left nothing behind");
}

#[test]
fn a11_a_streamed_reply_starts_before_its_handler_ends() {
    let server = Process::app("");
    let mut client = server.client();
    client.send("GET /stream/700 HTTP/1.1\r\nHost: test\r\n\r\n");
    while !String::from_utf8_lossy(&client.buffer).contains("first") {
        assert!(client.fill());
    }
    let first = Instant::now();
    assert!(!String::from_utf8_lossy(&client.buffer).contains("second"));
    let response = client.response("GET");
    assert!(first.elapsed() >= Duration::from_millis(300), "the handler was still at work");
    assert_eq!(response.framing, Framing::Chunked);
    assert_eq!(response.text(), "firstsecond");
    assert_eq!(client.get("/hello").text(), "hello", "the connection goes on");
}

#[test]
fn a11_to_a_10_client_the_end_of_the_connection_delimits() {
    let server = Process::app("");
    for fields in ["", "Connection: keep-alive\r\n"] {
        let mut client = server.client();
        client.send(format!("GET /stream/1 HTTP/1.0\r\n{fields}\r\n"));
        let response = client.response("GET");
        assert_eq!(response.framing, Framing::Close);
        assert_eq!(response.text(), "firstsecond");
        client.expect_end();
    }
}

#[test]
fn a11_request_bodies_come_chunked_too() {
    let server = Process::app("");
    let mut client = server.client();
    let body = pattern(100_000);
    for size in [1, 7, 1000, 65_536, 100_000] {
        let mut wire = Vec::new();
        for chunk in body.chunks(size).take(3000) {
            wire.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        let sent = &body[..body.len().min(size * 3000)];
        let response = client.request("POST", "/echo", "Transfer-Encoding: chunked\r\n", &wire);
        assert!(response.body == sent, "chunks of {size}");
        let response = client.request("POST", "/upload", "Transfer-Encoding: chunked\r\n", &wire);
        assert_eq!(response.text(), harness::app::checksum(sent), "chunks of {size}");
    }
}

#[test]
fn a11_expect_100_continue_is_answered_before_the_body() {
    let server = Process::app("");
    for path in ["/echo", "/upload"] {
        let mut client = server.client();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\n\
             Content-Length: 5\r\n\r\n"
        ));
        assert_eq!(client.any_response("POST").status, 100, "{path}");
        client.send("hello");
        assert_eq!(client.any_response("POST").status, 200, "{path}");
        assert_eq!(client.get("/hello").status, 200);
    }
    // A body that would be refused is refused before it is sent.
    let mut client = server.client();
    client.send(
        "POST /echo HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\n\
         Content-Length: 99999999\r\n\r\n",
    );
    let response = client.any_response("POST");
    assert_eq!((response.status, response.says_close()), (413, true));
}

#[test]
fn a12_a_handler_gets_every_method() {
    let server = Process::app("");
    let mut client = server.client();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        let response = client.request(method, "/method", "", b"");
        assert_eq!((response.status, response.text()), (200, method));
    }
    let response = client.request("HEAD", "/method", "", b"");
    assert_eq!((response.status, response.field("content-length")), (200, Some("4")));
    // A route for any method gets TRACE too; one that did not ask for it does not.
    assert_eq!(client.request("TRACE", "/method", "", b"").text(), "TRACE");
    for line in ["TRACE /hello", "CONNECT test:80"] {
        let mut client = server.client();
        client.send(format!("{line} HTTP/1.1\r\nHost: test:80\r\n\r\n"));
        assert_eq!(client.response("TRACE").status, 405, "{line}");
    }
}

#[test]
fn a12_files_answer_get_and_head_and_name_them() {
    let site = site();
    let server = Process::serve(site.path(), &[]);
    let mut client = server.client();
    let options = client.request("OPTIONS", "/a.txt", "", b"");
    assert_eq!(options.status, 204);
    let allowed = |value: Option<&str>| {
        let mut list: Vec<String> =
            value.expect("Allow").split(',').map(|m| m.trim().to_owned()).collect();
        list.sort();
        list
    };
    assert_eq!(allowed(options.field("allow")), ["GET", "HEAD", "OPTIONS"]);
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let mut client = server.client();
        let response = client.request(method, "/a.txt", "Content-Length: 0\r\n", b"");
        assert_eq!(response.status, 405, "{method}");
        assert_eq!(allowed(response.field("allow")), ["GET", "HEAD", "OPTIONS"]);
    }
    let mut client = server.client();
    assert_eq!(client.request("BREW", "/a.txt", "", b"").status, 501);
    let mut client = server.client();
    client.send("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(matches!(client.response("OPTIONS").status, 200 | 204));
}

#[test]
fn a14_host_is_mandatory_single_and_valid() {
    let server = Process::app("");
    let hosts = [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: user@a\r\n",
        "Host: a:port\r\n",
        "Host: [::1\r\n",
    ];
    for host in hosts {
        let mut client = server.client();
        client.send(format!("GET /hello HTTP/1.1\r\n{host}\r\n"));
        let response = client.response("GET");
        assert_eq!((response.status, response.says_close()), (400, true), "{host:?}");
        client.expect_end();
    }
    for host in ["a.example", "a.example:80", "127.0.0.1:8080", "[::1]:80", "a_b-c.d"] {
        let mut client = server.client();
        client.send(format!("GET /hello HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.response("GET").status, 200, "{host:?}");
    }
}

#[test]
fn a17_connection_keep_alive_changes_nothing_in_11() {
    let server = Process::app("");
    let mut client = server.client();
    for _ in 0..3 {
        let response = client.request("GET", "/hello", "Connection: Keep-Alive\r\n", b"");
        assert_eq!(response.text(), "hello");
        assert!(!response.says_close());
    }
}

/// Total cost of an idle connection: private memory of a warm process divided by ten thousand
/// connections that each had an answer. The target is 256 bytes.
#[test]
fn alone_a18_ten_thousand_idle_connections() {
    const CONNECTIONS: usize = 10_000;
    let site = TempDir::with(&[("index.html", b"hello")]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(["serve", "--http", "127.0.0.1:0", "--workers", "1"]).arg(site.path());
    command.args(["--set", "limits.idle_timeout=600s"]);
    // Pages of 2 MiB would blur the count.
    let server = Process::start(command.env("MIMALLOC_ALLOW_THP", "0"));
    let open = |count: usize| -> Vec<Client> {
        let clients = (0..count).map(|_| {
            let mut client = server.client();
            assert_eq!(client.get("/").text(), "hello");
            client
        });
        clients.collect()
    };
    // Exclude what the first connections make the worker keep: buffers, a file in memory.
    let mut clients = open(1000);
    let before = server.settled();
    clients.extend(open(CONNECTIONS));
    let each = server.settled().saturating_sub(before) / CONNECTIONS as u64;
    println!("{CONNECTIONS} idle connections: {each} bytes of private memory each");
    assert!((100..=256).contains(&each), "{each} bytes for each idle connection");

    for client in &mut clients {
        assert_eq!(client.get("/").text(), "hello", "every one still answers");
    }
    drop(clients);
    eventually("the descriptors are given back", || server.descriptors() < 200);
    assert_eq!(server.client().get("/").status, 200);
}
