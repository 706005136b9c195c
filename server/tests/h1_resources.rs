//! Attacks on time, memory and descriptors over HTTP/1.1: rows 25 to 31 and 86 of the attack list.
//! The limits are lowered to make the tests quick; the tests show that they hold.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::{ErrorKind, Write};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::process::Process;
use harness::watch::Watch;
use harness::{PATIENCE, TempDir, eventually};

const CAP: u64 = 8 << 20;

/// Sends a byte now and then until the server ends the connection; returns the time and the answer.
fn drip(mut client: Client, head: &str, every: Duration) -> (Duration, Vec<u8>) {
    client.send(head);
    let start = Instant::now();
    client.stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    while start.elapsed() < PATIENCE {
        if client.try_send("x").is_err() {
            break;
        }
        let mut byte = [0];
        match client.stream.peek(&mut byte) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => break,
        }
        thread::sleep(every);
    }
    let taken = start.elapsed();
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    (taken, client.rest())
}

/// A timed-out request is answered 408 with `Connection: close`, or cut off without a word.
fn is_timeout_or_cut(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    text.is_empty() || (text.starts_with("http/1.1 408") && text.contains("connection: close"))
}

#[test]
fn row_25_slowloris() {
    let server = Process::app("header_timeout=500");
    let watch = Watch::new(&server, "/hello");
    watch.during(CAP, || {
        let heads = ["GET /hello HTTP/1.1\r\nHost: test\r\nX: ", "GET /he", "G"];
        let attacks: Vec<_> = (0..60)
            .map(|n| {
                let client = server.client();
                thread::spawn(move || drip(client, heads[n % 3], Duration::from_millis(50)))
            })
            .collect();
        for attack in attacks {
            let (taken, answer) = attack.join().unwrap();
            assert!(taken >= Duration::from_millis(300), "not before its time: {taken:?}");
            assert!(taken < PATIENCE, "each byte must not buy more time");
            assert!(is_timeout_or_cut(&answer), "{:?}", String::from_utf8_lossy(&answer));
        }
    });
}

#[test]
fn row_26_slow_body() {
    let server = Process::app("rate_grace=300,body_rate=10000");
    let watch = Watch::new(&server, "/hello");
    watch.during(CAP, || {
        for path in ["/echo", "/upload"] {
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n");
            let (taken, answer) = drip(server.client(), &head, Duration::from_millis(20));
            assert!(taken >= Duration::from_millis(200), "{path}: not before: {taken:?}");
            assert!(taken < PATIENCE, "{path}: held for ever");
            let text = String::from_utf8_lossy(&answer);
            assert!(text.starts_with("HTTP/1.1 408"), "{path}: {text:?}");
        }
    });
}

#[test]
fn row_27_slow_read() {
    let server = Process::app("rate_grace=500,write_rate=1000000");
    let watch = Watch::new(&server, "/hello");
    // Sixteen readers that never read 16 MiB each: the server may hold far less than the sum.
    watch.during(16 << 20, || {
        let mut clients: Vec<Client> =
            (0..16).map(|_| Client::with_tiny_window(server.http())).collect();
        for client in &mut clients {
            client.send("GET /big HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        eventually("dead readers are cut off", || server.descriptors() < 16 + 8);
    });
}

#[test]
fn row_28_out_of_descriptors() {
    let site = TempDir::with(&[("index.html", b"home")]);
    let program = env!("CARGO_BIN_EXE_ringway");
    let mut command = Command::new("bash");
    command.arg("-c").arg(format!(
        "ulimit -n 64; exec {program} serve {} --http 127.0.0.1:0 --metrics 127.0.0.1:0 --workers 1",
        site.path().display()
    ));
    let server = Process::start(&mut command);
    server.wait_for("http,metrics");
    let mut first = server.client();
    assert_eq!(first.get("/").status, 200);
    // What connections were fitted to at the start (row F11) does not hold any more.
    let few = format!("--nofile={0}:{0}", server.descriptors() + 4);
    let pid = format!("--pid={}", server.pid());
    assert!(Command::new("prlimit").args([&pid, &few]).status().unwrap().success());
    // More than it can hold: they wait in the kernel's queue or are shed.
    let mut flood: Vec<Client> = (0..200).map(|_| server.client()).collect();
    thread::sleep(Duration::from_millis(300));
    let before = server.cpu_ms();
    thread::sleep(Duration::from_secs(1));
    let spent = server.cpu_ms() - before;
    assert!(spent < 50, "{spent} ms of CPU in a second of waiting: it spins");
    for client in &mut flood {
        client.finish();
    }
    drop(flood);
    eventually("it accepts again", || {
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        client.try_response("GET").is_some_and(|response| response.status == 200)
    });
    let exhausted = server.metric("ringway_accept_exhausted_total");
    println!("{spent} ms of CPU in the second, accepting failed {exhausted} times");
    assert!(exhausted > 0, "it is counted");
    // The early client may have been shed as the oldest idle one; it must not hang.
    first.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(first.try_response("GET").is_none_or(|response| response.status == 200));
}

#[test]
fn row_29_pipelining_without_reading() {
    let server = Process::app("");
    let watch = Watch::new(&server, "/hello");
    let request = b"GET /hello HTTP/1.1\r\nHost: test\r\n\r\n";
    watch.during(CAP, || {
        let mut client = server.client();
        client.stream.set_nonblocking(true).unwrap();
        let batch = request.repeat(1000);
        let (mut sent, mut quiet_since) = (0, Instant::now());
        // A million requests, or as many as it takes until the server stops reading.
        while sent < 1_000_000 * request.len() && quiet_since.elapsed() < Duration::from_secs(1) {
            match client.stream.write(&batch[sent % request.len()..]) {
                Ok(len) => (sent, quiet_since) = (sent + len, Instant::now()),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    thread::sleep(Duration::from_millis(5));
                }
            }
        }
        assert!(sent < 1_000_000 * request.len(), "reading was never paused");
        // A client that continues to read gets every reply to what was sent completely.
        client.stream.set_nonblocking(false).unwrap();
        for n in 0..sent / request.len() {
            assert_eq!(client.response("GET").text(), "hello", "reply {n}");
        }
    });
}

#[test]
fn alone_row_30_ten_thousand_requests_at_once() {
    let server = Process::app("");
    let mut clients: Vec<Client> = (0..9_000).map(|_| server.client()).collect();
    // The server finds them all when it wakes.
    server.signal("STOP");
    for client in &mut clients {
        client.send("GET /hello HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    server.signal("CONT");
    for client in &mut clients {
        assert_eq!(client.response("GET").text(), "hello");
    }
    // And bodies larger than the pool of buffers, all at once.
    let body = vec![b'x'; 20_000];
    for client in clients.iter_mut().take(2_000) {
        let head = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 20000\r\n\r\n";
        client.send([head.as_bytes(), &body].concat());
    }
    for client in clients.iter_mut().take(2_000) {
        assert_eq!(client.response("POST").body, body);
    }
}

#[test]
fn row_31_log_lines_cannot_be_forged() {
    let site = TempDir::with(&[("index.html", b"home")]);
    for log in ["combined", "json"] {
        let server = Process::serve(site.path(), &["--log", log]);
        let mut client = server.client();
        let evil = "User-Agent: \"} evil \\ \u{9b}31m\r\nReferer: \"\r\n";
        let response = client.request("GET", "/%0aFORGED%1b[31m?\"x", evil, b"");
        assert!(matches!(response.status, 200 | 400 | 404));
        client.get("/index.html");
        eventually("both requests are logged", || server.output().contains("index.html"));
        let output = server.output();
        let lines: Vec<&str> = output.lines().filter(|line| !line.contains("listening")).collect();
        for line in &lines {
            assert!(!line.starts_with("FORGED"), "{log}: {line:?}");
            assert!(!line.contains('\x1b') && !line.contains('\u{9b}'), "{log}: {line:?}");
            if log == "json" && line.starts_with('{') {
                let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
                assert!(parsed.is_ok(), "{line:?}");
            }
        }
    }
}

#[test]
fn row_86_nothing_of_the_inside_is_on_the_public_listener() {
    let site = TempDir::with(&[("index.html", b"home")]);
    let server = Process::serve(site.path(), &[]);
    let mut client = server.client();
    for path in ["/metrics", "/status", "/server-status", "/debug", "/.well-known/ringway"] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
}
