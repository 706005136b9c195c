//! F9: minimum rates are averages over a window, by default a minute, over HTTP/1.1, HTTP/2 and
//! HTTP/3 alike. A client that is slow for a whole window is cut off (rows 26 and 27 of the attack
//! list); one that pauses is not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::thread;
use std::time::{Duration, Instant};

use harness::app::checksum;
use harness::h2::{self, H2};
use harness::process::Process;
use harness::quic::{self, H3};
use harness::watch::Watch;
use harness::{PATIENCE, pattern};

/// Longer than the five seconds and a half that cut clients off.
const PAUSE: Duration = Duration::from_secs(12);
const BIG: usize = 16 << 20;
const CAP: u64 = 16 << 20;

fn app(bounds: &str) -> Process {
    Process::app_on("http,https,h3", bounds)
}

/// Downloads over HTTP/2 with this initial window; pauses before it reads.
fn paused_h2(mut client: H2, window: u32) {
    client.send([h2::settings(&[(4, window)]), h2::window_update(0, 1 << 30)].concat());
    client.round_trip();
    client.send(h2::get(1, "/big"));
    thread::sleep(PAUSE);
    let answer = client.answer(1);
    assert_eq!((answer.body.len(), answer.reset), (BIG, None), "h2, window {window}");
}

#[test]
fn f9_a_reader_that_pauses_goes_on_over_every_protocol() {
    let server = app("");
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = server.client();
            client.send("GET /big HTTP/1.1\r\nHost: test\r\n\r\n");
            thread::sleep(PAUSE);
            assert_eq!(client.response("GET").body.len(), BIG);
        });
        for window in [65_535, 1 << 30] {
            let (http, https) = (server.http(), server.at("https"));
            scope.spawn(move || paused_h2(H2::connect(http), window));
            scope.spawn(move || paused_h2(H2::tls(https), window));
        }
        scope.spawn(|| {
            let mut client = H3::connect(server.at("h3"));
            client.reads = false;
            let id = client.ask("GET", "/big", &[], b"");
            client.run_for(PAUSE);
            client.reads = true;
            // The harness reads when a datagram comes.
            client.conn.send_ack_eliciting().unwrap();
            let answer = client.answer(id);
            assert_eq!((answer.body.len(), answer.reset), (BIG, None));
            client.close();
        });
    });
}

#[test]
fn f9_an_upload_that_pauses_goes_on_over_every_protocol() {
    let server = app("");
    let body = pattern(40_000);
    let half = body.len() / 2;
    let expected = checksum(&body);
    thread::scope(|scope| {
        for framing in ["Content-Length: 40000", "Transfer-Encoding: chunked"] {
            let (server, body, expected) = (&server, &body, &expected);
            scope.spawn(move || {
                let chunked = framing.starts_with('T');
                let part = |bytes: &[u8]| match chunked {
                    true => [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat(),
                    false => bytes.to_vec(),
                };
                let mut client = server.client();
                client.send(format!("POST /upload HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n"));
                client.send(part(&body[..half]));
                thread::sleep(PAUSE);
                client.send(part(&body[half..]));
                client.send(if chunked { "0\r\n\r\n" } else { "" });
                assert_eq!(client.response("POST").text(), expected);
            });
        }
        scope.spawn(|| {
            let mut client = H2::tls(server.at("https"));
            client.round_trip();
            let head = h2::request("POST", "/upload", &[]);
            client.send(h2::frame(h2::HEADERS, h2::END_HEADERS, 1, &head));
            let data = |bytes: &[u8]| -> Vec<u8> {
                bytes.chunks(10_000).flat_map(|part| h2::frame(h2::DATA, 0, 1, part)).collect()
            };
            client.send(data(&body[..half]));
            thread::sleep(PAUSE);
            client.send(data(&body[half..]));
            client.send(h2::frame(h2::DATA, h2::END_STREAM, 1, b""));
            assert_eq!(client.answer(1).text(), expected);
        });
        scope.spawn(|| {
            let mut client = H3::connect(server.at("h3"));
            let id = client.id();
            client.raw(id, &quic::headers(&quic::request("POST", "/upload")), false);
            client.raw(id, &quic::frame(quic::DATA, &body[..half]), false);
            client.run_for(PAUSE);
            client.raw(id, &quic::frame(quic::DATA, &body[half..]), true);
            assert_eq!(client.answer(id).text(), expected);
            client.close();
        });
    });
}

fn running(server: &Process) -> String {
    server.client().get("/running").text().to_owned()
}

/// A body of an octet now and then: 408 when the window is over, and its handler is let go.
#[test]
fn row_26_slow_bodies_over_h2_and_h3() {
    let server = app("rate_grace=1000,body_rate=10000");
    Watch::new(&server, "/hello").during(CAP, || {
        for path in ["/echo", "/drain/0", "/drain/1"] {
            let (start, mut client) = (Instant::now(), H2::tls(server.at("https")));
            let head = h2::request("POST", path, &[]);
            client.send(h2::frame(h2::HEADERS, h2::END_HEADERS, 1, &head));
            let mut drip = H2::connect(server.http());
            drip.send(h2::frame(h2::HEADERS, h2::END_HEADERS, 1, &head));
            for _ in 0..60 {
                client.send(h2::frame(h2::DATA, 0, 1, b"x"));
                drip.send(h2::frame(h2::DATA, 0, 1, &[b'x'; 100]));
                thread::sleep(Duration::from_millis(30));
            }
            for client in [&mut client, &mut drip] {
                assert_eq!(client.answer(1).status(), 408, "h2, {path}");
                client.next_id = 3;
                assert_eq!(client.get("/hello").text(), "hello", "the connection lives");
            }
            assert!(start.elapsed() >= Duration::from_secs(1), "not before its time");

            let mut client = H3::connect(server.at("h3"));
            let (start, id) = (Instant::now(), client.id());
            client.raw(id, &quic::headers(&quic::request("POST", path)), false);
            while client.streams[&id].heads.is_empty() {
                client.raw(id, &quic::frame(quic::DATA, b"x"), false);
                client.run_for(Duration::from_millis(30));
                assert!(start.elapsed() < PATIENCE, "h3, {path}: held for ever");
            }
            assert!(start.elapsed() >= Duration::from_secs(1), "not before its time");
            assert_eq!(client.answer(id).status(), 408, "h3, {path}");
            assert_eq!(client.get("/hello").text(), "hello", "the connection lives");
            client.close();
        }
    });
    assert_eq!(running(&server), "0", "handlers are let go");
}

/// The reader's pace, and a pause of the handler's, are not the client's fault.
#[test]
fn f9_a_handler_that_is_slow_is_not_the_clients_fault() {
    let server = app("rate_grace=300,body_rate=100000,h2_stream_window_max=65535");
    let body = pattern(200_000);
    let mut client = H2::tls(server.at("https"));
    client.send(h2::frame(
        h2::HEADERS,
        h2::END_HEADERS,
        1,
        &h2::request("POST", "/drain/100", &[]),
    ));
    let (mut at, mut room) = (0, 65_535);
    // Never more than the window: the handler takes a frame each 100 ms.
    while at < body.len() {
        while room < 16_384 {
            let frame =
                client.until_frame("window", |f| f.kind == h2::WINDOW_UPDATE && f.stream == 1);
            room += frame.number(0) as usize;
        }
        let piece = 16_384.min(body.len() - at);
        client.send(h2::frame(h2::DATA, 0, 1, &body[at..at + piece]));
        (at, room) = (at + piece, room - piece);
    }
    client.send(h2::frame(h2::DATA, h2::END_STREAM, 1, b""));
    assert_eq!(client.answer(1).text(), "200000");
}

/// Windows that open by little, again and again: never nothing, and still too little.
#[test]
fn row_27_slow_reads_over_h2_and_h3() {
    let bounds = "rate_grace=1000,h2_stall_timeout=1000,h3_stall_timeout=1000,write_rate=30000";
    let server = app(bounds);
    Watch::new(&server, "/hello").during(CAP, || {
        // By the stream's window, and by the connection's.
        for on in [1, 0] {
            let (start, mut client) = (Instant::now(), H2::tls(server.at("https")));
            client.refill = false;
            client.send(h2::settings(&[(4, if on == 1 { 0 } else { 1 << 30 })]));
            client.send(h2::get(1, "/big"));
            let mut over = false;
            while !over {
                let sent = client.try_send(h2::window_update(on, 500)).is_ok();
                client.send(h2::frame(h2::PING, 0, 0, b"together"));
                while let Some(frame) = client.next() {
                    if frame.kind == h2::PING {
                        break;
                    }
                }
                let stream = client.streams.get(&1);
                over = !sent
                    || !client.goaways.is_empty()
                    || stream.is_some_and(|s| s.reset.is_some());
                assert!(start.elapsed() < PATIENCE, "h2, {on}: read slowly for ever");
                thread::sleep(Duration::from_millis(40));
            }
            assert!(start.elapsed() >= Duration::from_millis(900), "not before its time");
        }
        let mut config = quic::config();
        config.set_initial_max_stream_data_bidi_local(2000);
        config.set_max_stream_window(2000);
        let mut client = H3::new(server.at("h3"), &mut config, None);
        client.run("the handshake", |client| client.conn.is_established());
        client.begin();
        let (start, id) = (Instant::now(), client.ask("GET", "/big", &[], b""));
        while !client.streams[&id].is_over() {
            client.reads = false;
            client.run_for(Duration::from_millis(300));
            client.reads = true;
            client.conn.send_ack_eliciting().unwrap();
            client.step(Duration::from_millis(10));
            assert!(start.elapsed() < PATIENCE, "h3: read slowly for ever");
        }
        assert_eq!(client.streams[&id].reset, Some(quic::EXCESSIVE_LOAD));
        assert!(start.elapsed() >= Duration::from_millis(900), "not before its time");
        client.close();
    });
}
