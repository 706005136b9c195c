//! Bodies larger than memory, in both directions, in constant memory: with a fast peer, a slow
//! handler and a slow reader. The amount is 1 GiB, or `RINGWAY_TEST_STREAM_MIB` MiB; the upload is
//! ten times as large.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::pattern;
use harness::process::Process;

/// Maximum memory that a connection may hold of a body, with room for sampling noise.
const FLAT: u64 = 4 << 20;
const BLOCK: usize = 1 << 20;
/// What a worker's receive buffers hold: 256 of a TLS record each.
const BUFFERS: usize = 256 * (16 * 1024 + 512);

fn amount() -> usize {
    let mib = std::env::var("RINGWAY_TEST_STREAM_MIB").ok().and_then(|mib| mib.parse().ok());
    mib.unwrap_or(1024) * (1 << 20)
}

/// Has the worker write to all of its receive buffers: when it wakes, more is there than they hold.
/// The kernel takes about as much for one connection, so there are two, and less while it does not
/// know them, so there are rounds.
fn fill_buffers(server: &Process, block: &[u8]) {
    const ROUNDS: usize = 32;
    let mut clients = [server.client(), server.client()];
    for client in &mut clients {
        client.send("POST /drain/0 HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    }
    let size = format!("{:x}\r\n", 16 * block.len());
    let wire = [size.as_bytes(), &block.repeat(16), b"\r\n"].concat();
    let full = (1..=ROUNDS).find(|_| {
        server.signal("STOP");
        let queued = clients.each_mut().map(|client| {
            client.stream.set_nonblocking(true).unwrap();
            let mut at = 0;
            while at < wire.len()
                && let Ok(len) = client.stream.write(&wire[at..])
            {
                at += len;
            }
            client.stream.set_nonblocking(false).unwrap();
            at
        });
        server.signal("CONT");
        for (client, at) in clients.iter_mut().zip(queued) {
            client.try_send(&wire[at..]).unwrap();
        }
        queued.iter().sum::<usize>() >= BUFFERS
    });
    let rounds = full.expect("a round in which more is waiting than the buffers hold");
    for client in &mut clients {
        client.send("0\r\n\r\n");
        assert_eq!(client.response("POST").text(), (rounds * 16 * block.len()).to_string());
    }
}

/// The server's memory while something runs: the highest value above that of the start.
fn growth(server: &Process, mut run: impl FnMut(&mut dyn FnMut())) -> u64 {
    fill_buffers(server, &pattern(BLOCK));
    let before = server.resident();
    let mut highest = 0;
    run(&mut || highest = highest.max(server.resident().saturating_sub(before)));
    highest
}

#[test]
fn a_huge_upload_streams_in_flat_memory() {
    let server = Process::app("");
    let (block, total) = (pattern(BLOCK), amount());
    for chunked in [false, true] {
        let total = if chunked { total / 8 } else { 10 * total };
        let grown = growth(&server, |sample| {
            let mut client = server.client();
            let framing = match chunked {
                true => "Transfer-Encoding: chunked".to_owned(),
                false => format!("Content-Length: {total}"),
            };
            client.send(format!("POST /drain/0 HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n"));
            for n in 0..total / BLOCK {
                if chunked {
                    client.try_send(format!("{BLOCK:x}\r\n")).unwrap();
                }
                client.try_send(&block).unwrap();
                if chunked {
                    client.try_send("\r\n").unwrap();
                }
                if n % 16 == 0 {
                    sample();
                }
            }
            if chunked {
                client.send("0\r\n\r\n");
            }
            assert_eq!(client.response("POST").text(), total.to_string());
            sample();
        });
        println!("{} MiB up, chunked {chunked}: memory grew by {} KiB", total >> 20, grown >> 10);
        assert!(grown <= FLAT, "memory grew by {grown} bytes");
    }
}

#[test]
fn a_slow_handler_makes_the_client_wait() {
    let server = Process::app("body_rate=0");
    let block = pattern(BLOCK);
    let grown = growth(&server, |sample| {
        let mut client = server.client();
        client.send("POST /drain/200 HTTP/1.1\r\nHost: test\r\nContent-Length: 1073741824\r\n\r\n");
        client.stream.set_nonblocking(true).unwrap();
        let (mut sent, start) = (0, Instant::now());
        while start.elapsed() < Duration::from_secs(2) {
            match client.stream.write(&block[sent % BLOCK..]) {
                Ok(len) => sent += len,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    thread::sleep(Duration::from_millis(5));
                }
            }
            sample();
        }
        assert!(sent < 256 << 20, "{sent} bytes were taken from the client: it was not held back");
    });
    println!("a slow handler: memory grew by {} KiB", grown >> 10);
    assert!(grown <= FLAT, "memory grew by {grown} bytes");
}

#[test]
fn a_huge_download_streams_in_flat_memory() {
    let server = Process::app("");
    let mib = amount() >> 20;
    let grown = growth(&server, |sample| {
        let mut client = server.client();
        client.send(format!("GET /produce/{mib} HTTP/1.0\r\n\r\n"));
        let (mut got, mut turns) = (0, 0_u32);
        while client.fill() {
            got += client.buffer.len();
            client.buffer.clear();
            turns += 1;
            if turns.is_multiple_of(512) {
                sample();
            }
        }
        assert!(got > mib << 20 && got < (mib << 20) + 1000, "{got} bytes came");
        sample();
    });
    println!("{mib} MiB down: memory grew by {} KiB", grown >> 10);
    assert!(grown <= FLAT, "memory grew by {grown} bytes");
}

#[test]
fn a_slow_reader_makes_the_handler_wait() {
    let server = Process::app("write_rate=0");
    let grown = growth(&server, |sample| {
        let mut client = Client::with_tiny_window(server.http());
        client.send("GET /produce/1024 HTTP/1.1\r\nHost: test\r\n\r\n");
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {
            sample();
            thread::sleep(Duration::from_millis(20));
        }
        client.take(100_000);
        sample();
    });
    println!("a slow reader: memory grew by {} KiB", grown >> 10);
    assert!(grown <= FLAT, "memory grew by {grown} bytes");
}

#[test]
fn a_client_that_leaves_ends_the_handler() {
    let server = Process::app("");
    for path in ["/produce/1024", "/drain/1"] {
        let running = |server: &Process| server.client().get("/running").text().to_owned();
        assert_eq!(running(&server), "0");
        let mut client = server.client();
        let fields = "Host: test\r\nContent-Length: 1000000000";
        let method = if path.starts_with("/drain") { "POST" } else { "GET" };
        let fields = if method == "POST" { fields } else { "Host: test" };
        client.send(format!("{method} {path} HTTP/1.1\r\n{fields}\r\n\r\n"));
        if method == "POST" {
            client.send(pattern(100_000));
        }
        harness::eventually("the handler runs", || running(&server) == "1");
        drop(client);
        harness::eventually("the handler is dropped", || running(&server) == "0");
    }
}
