//! HTTP/3 features: rows D1 to D9, B4, B10, C29 and the HTTP/3 part of E11 of the feature list,
//! over a real socket.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::time::{Duration, Instant};

use harness::client::Client;
use harness::h2::H2;
use harness::process::Process;
use harness::quic::{self as h3, Answer, H3};
use harness::slow::Path;
use harness::{TempDir, app, app_h2, eventually, pattern};

fn app() -> Process {
    Process::app_on("http,https,h3", "")
}

fn connect(server: &Process) -> H3 {
    H3::connect(server.at("h3"))
}

#[test]
fn d1_requests_of_every_kind() {
    let server = app();
    let mut client = connect(&server);
    assert_eq!(client.conn.application_proto(), b"h3");
    assert_eq!(client.get("/hello").text(), "hello");
    let head = client.ask("HEAD", "/big", &[], b"");
    let head = client.answer(head);
    let length = (16 << 20).to_string();
    assert_eq!((head.status(), head.field("content-length")), (200, Some(&*length)));
    assert!(head.body.is_empty());
    let upload = pattern(300_000);
    let echoed = client.ask("POST", "/echo", &[], &upload);
    assert!(client.answer(echoed).body == upload);
    let streamed = client.ask("POST", "/upload", &[], &pattern(3 << 20));
    assert_eq!(client.answer(streamed).text(), app::checksum(&pattern(3 << 20)));
    assert!(client.get("/big").body == pattern(16 << 20));
    assert_eq!(client.get("/produce/3").body.len(), 3 << 20);
    assert_eq!(client.get("/nowhere").status(), 404);
    assert_eq!(client.get("/slow/20").text(), "slow");
    let trailed = client.get("/trailers");
    assert_eq!((trailed.text().as_str(), trailed.field("x-checksum")), ("body", Some("1234")));
    let large = client.ask("POST", "/echo", &[], &pattern(2 << 20));
    assert_eq!(client.answer(large).status(), 413);
    assert_eq!(client.get("/hello").text(), "hello", "the connection lives");
}

#[test]
fn d1_a_thousand_requests_a_hundred_at_a_time() {
    let server = app();
    let mut client = connect(&server);
    for _ in 0..10 {
        let ids: Vec<u64> = (0..100).map(|_| client.ask("GET", "/bytes/3", &[], b"")).collect();
        for id in ids {
            let answer = client.answer(id);
            assert_eq!((answer.status(), answer.reset), (200, None), "{:?}", client.why());
            assert!(answer.body == app_h2::bytes(3));
        }
    }
}

/// D2: an answer that loses datagrams blocks no other: the other arrives while the first waits for
/// the lost ones.
#[test]
fn d2_a_stream_that_loses_holds_up_no_other() {
    let server = app();
    let path = Path::new(server.at("h3"), ONE_WAY);
    let mut client = H3::connect(path.address);
    let start = Instant::now();
    assert_eq!(client.get("/hello").text(), "hello");
    let alone = start.elapsed();
    // The first two datagrams of the long answer are lost; the server learns of it a round trip
    // later.
    client.lose = 2;
    let long = client.ask("GET", "/bytes/8", &[], b"");
    client.run_for(Duration::from_millis(5));
    let start = Instant::now();
    assert_eq!(client.get("/hello").text(), "hello");
    let beside = start.elapsed();
    assert!(client.lose == 0 && !client.streams[&long].is_over(), "the long answer waits");
    println!("beside a stream that loses {beside:?}, alone {alone:?}");
    assert!(beside < alone.mul_f64(1.1) + Duration::from_millis(25), "{beside:?}, {alone:?}");
    assert!(client.answer(long).body == app_h2::bytes(8));
}

/// D3: nothing of a request or an answer is readable on the wire.
#[test]
fn d3_nothing_goes_in_the_clear() {
    let server = app();
    let mut client = H3::new(server.at("h3"), &mut h3::config(), None);
    client.sent = Some(Vec::new());
    client.run("the handshake", |client| client.conn.is_established());
    client.begin();
    let secret = "/target?a-rather-peculiar-secret";
    assert!(client.get(secret).text().contains("a-rather-peculiar-secret"));
    let sent = client.sent.as_ref().unwrap();
    assert!(sent.len() > 2);
    for datagram in sent {
        for part in [&b"peculiar"[..], b"localhost", b"target"] {
            assert!(!datagram.windows(part.len()).any(|window| window == part));
        }
    }
}

const ONE_WAY: Duration = Duration::from_millis(150);
const SLACK: Duration = Duration::from_millis(140);

/// D4, D5: an answer takes two round trips from scratch, and one with a ticket.
#[test]
fn d4_d5_round_trips() {
    let server = app();
    let path = Path::new(server.at("h3"), ONE_WAY);
    let start = Instant::now();
    let mut client = H3::connect(path.address);
    assert_eq!(client.get("/hello").text(), "hello");
    let first = start.elapsed();
    let session = client.session();
    client.close();

    let path = Path::new(server.at("h3"), ONE_WAY);
    let start = Instant::now();
    let mut client = early(path.address, &session);
    let id = client.ask("GET", "/hello", &[], b"");
    assert_eq!(client.answer(id).text(), "hello");
    let second = start.elapsed();
    assert!(client.conn.is_resumed());
    println!("round trip {:?}: at first {first:?}, with a ticket {second:?}", 2 * ONE_WAY);
    assert!(first >= 4 * ONE_WAY && first < 4 * ONE_WAY + SLACK, "{first:?}");
    assert!(second >= 2 * ONE_WAY && second < 2 * ONE_WAY + SLACK, "{second:?}");
}

/// A client whose requests go out before the handshake is complete.
fn early(address: std::net::SocketAddr, session: &[u8]) -> H3 {
    let mut client = H3::new(address, &mut h3::config(), Some(session));
    client.flush();
    assert!(client.conn.is_in_early_data());
    client.begin();
    client
}

/// D5, row 78: early data is answered once, and only if that is safe.
#[test]
fn d5_early_data_is_for_safe_requests_and_once() {
    let server = app();
    let at = server.at("h3");
    let counted = || server.client().get("/counted").text().to_owned();
    let session = H3::connect(at).session();
    assert_eq!(counted(), "0");

    let mut client = early(at, &session);
    client.sent = Some(Vec::new());
    let get = client.ask("GET", "/count", &[], b"");
    let post = client.ask("POST", "/count", &[], b"");
    assert_eq!((client.answer(get).text(), client.answer(post).status()), ("1".into(), 425));
    let later = client.ask("POST", "/count", &[], b"");
    assert_eq!(client.answer(later).text(), "2", "what comes later is no early data");

    // A copy of a first flight, of a client of which the server knows nothing any more.
    let mut client = H3::new(at, &mut h3::config(), Some(&session));
    client.sent = Some(Vec::new());
    client.flush();
    client.begin();
    let get = client.ask("GET", "/count", &[], b"");
    client.flush();
    let flight = client.sent.clone().unwrap();
    assert_eq!(client.answer(get).text(), "3");
    client.close();
    let thief = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    thief.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    eventually("the copy is answered, once its connection is forgotten", || {
        for datagram in &flight {
            thief.send_to(datagram, at).unwrap();
        }
        thief.recv_from(&mut [0; 2000]).is_ok()
    });
    assert_eq!(connect(&server).get("/hello").text(), "hello");
    assert_eq!(counted(), "3", "a copy has no effect");
}

/// D6: connection IDs of the server's making, more than one, and an unknown one is reset.
#[test]
fn d6_connection_ids() {
    let server = app();
    let mut client = connect(&server);
    assert_eq!(client.get("/hello").text(), "hello");
    assert!(client.conn.destination_id().len() >= 8);
    client.run("spare connection IDs", |client| client.conn.available_dcids() == 3);
    client.sent = Some(Vec::new());
    assert_eq!(client.get("/bytes/1").status(), 200);
    let datagram = client.sent.as_ref().unwrap().iter().find(|sent| sent.len() > 40).unwrap();
    let (datagram, socket) = (datagram.clone(), client.socket());
    let to = server.at("h3");
    client.close();
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    eventually("a stateless reset", || {
        socket.send_to(&datagram, to).unwrap();
        let mut answer = [0; 2000];
        let Ok((len, _)) = socket.recv_from(&mut answer) else { return false };
        // Shorter than what it answers, and of the form of a packet (RFC 9000 section 10.3).
        (21..datagram.len()).contains(&len) && answer[0] & 0xc0 == 0x40
    });
}

/// D7: the client's address changes in the middle of a download, by a NAT and by its own will.
#[test]
fn d7_downloads_survive_a_move() {
    let server = Process::app_measured("");
    for by_nat in [true, false] {
        let before = server.metric("ringway_quic_migrations_total");
        let mut client = connect(&server);
        let id = client.ask("GET", "/big", &[], b"");
        client.run("a part of it", |client| client.streams[&id].body.len() > 1 << 20);
        match by_nat {
            true => client.rebind(),
            false => client.migrate(),
        }
        let answer = client.answer(id);
        assert!(answer.fin, "by NAT {by_nat}: {:?} {:?}", answer.reset, client.why());
        assert!(answer.body == pattern(16 << 20), "by NAT: {by_nat}");
        assert!(client.conn.stats().path_challenge_rx_count > 0 || !by_nat);
        eventually("the move is counted", || {
            server.metric("ringway_quic_migrations_total") == before + 1
        });
        client.close();
    }
}

/// D8: the second head of a kind is all references.
#[test]
fn d8_the_dynamic_table_is_used() {
    let server = app();
    let mut client = connect(&server);
    let sizes: Vec<usize> = (0..4)
        .map(|_| {
            let answer = client.get("/hello");
            client.run_for(Duration::from_millis(5));
            answer.section_bytes[0]
        })
        .collect();
    println!("heads of {sizes:?} octets, {} octets of inserts", client.encoder_bytes);
    assert!(client.encoder_bytes > 0);
    assert!(sizes[1] <= 20, "{sizes:?}");
}

/// D9, C29: no push, but hints, ahead of an answer that comes later.
#[test]
fn d9_c29_hints_instead_of_push() {
    let server = app();
    let mut client = connect(&server);
    client.raw(h3::CONTROL, &h3::frame(h3::MAX_PUSH_ID, &h3::varint(100)), false);
    let id = client.ask("GET", "/hints/300", &[], b"");
    client.run("the hints", |client| !client.streams[&id].heads.is_empty());
    let hints = client.streams[&id].clone();
    assert_eq!((hints.status(), hints.is_over()), (103, false));
    assert_eq!(hints.field("link"), Some("</styles.css>; rel=preload; as=style"));
    let answer = client.answer(id);
    assert_eq!((answer.status(), answer.text().as_str(), answer.heads.len()), (200, "hinted", 2));
    let pushing = client.get("/pushing");
    assert!(pushing.text().contains("stylesheet"));
    assert!(client.uni.values().all(|(kind, _)| *kind != 1), "no push stream");
}

/// An answer of any version, without what is a hop's own.
#[derive(Debug, PartialEq)]
struct Plain {
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Plain {
    fn new(status: u16, fields: &[(String, String)], body: Vec<u8>) -> Self {
        let mut fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .filter(|(name, _)| !name.starts_with(':'))
            .filter(|(name, _)| !["date", "connection", "alt-svc"].contains(&name.as_str()))
            .collect();
        fields.sort();
        Self { status, fields, body }
    }
}

/// The same request over the three versions.
fn three(server: &Process, path: &str, more: &[(&str, &str)]) -> [Plain; 3] {
    let lines: String = more.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
    let h1 = Client::connect(server.http()).request("GET", path, &lines, b"");
    let mut h2 = H2::tls(server.at("https"));
    let id = h2.ask("GET", path, more, b"");
    let h2 = h2.answer(id);
    let mut h3 = connect(server);
    let id = h3.ask("GET", path, more, b"");
    let h3: Answer = h3.answer(id);
    [
        Plain::new(h1.status, &h1.fields, h1.body),
        Plain::new(h2.status(), h2.head().unwrap(), h2.body.clone()),
        Plain::new(h3.status(), &h3.heads[0], h3.body.clone()),
    ]
}

/// B4, B10, E16: an application's and a site's answers are the same over the three versions.
#[test]
fn b4_b10_the_same_over_three_versions() {
    let site = TempDir::with(&[
        ("index.html", b"<!doctype html>home"),
        ("style.css", b"p { color: red }"),
        ("docs/index.html", b"<!doctype html>docs"),
    ]);
    site.write("small.bin", &pattern(10_000));
    site.write("large.bin", &pattern(5_000_000));
    let server = Process::serve(site.path(), &["--https", "127.0.0.1:0"]);
    server.wait_for("https,h3");
    server.await_content_tag("/large.bin");
    for path in ["/", "/style.css", "/docs/", "/docs", "/small.bin", "/large.bin", "/none"] {
        let [h1, h2, h3] = three(&server, path, &[]);
        assert_eq!(h1, h2, "{path}");
        assert_eq!(h2, h3, "{path}");
        let Some((_, tag)) = h3.fields.iter().find(|(name, _)| name == "etag") else { continue };
        for tag in [tag.clone(), format!("W/{tag}"), "*".into(), format!("\"x\", {tag}")] {
            let [h1, h2, h3] = three(&server, path, &[("if-none-match", &tag)]);
            assert_eq!((h3.status, h3.body.len()), (304, 0), "{path} {tag}");
            assert_eq!((&h1, &h2), (&h2, &h3), "{path} {tag}");
        }
        let [h1, h2, h3] = three(&server, path, &[("if-none-match", "\"other\"")]);
        assert_eq!((&h1, &h2, h3.status), (&h2, &h3, 200), "{path}");
        let [h1, h2, h3] = three(&server, path, &[("range", "bytes=2-5")]);
        assert_eq!((&h1, &h2, h3.status), (&h2, &h3, 206), "{path}");
        assert_eq!(h3.body.len(), 4);
    }
    let server = app();
    for path in ["/hello", "/empty", "/bytes/9", "/stream/5", "/user/x", "/css/2", "/status/418"] {
        let [h1, h2, h3] = three(&server, path, &[]);
        assert_eq!((h1.status, &h1.body), (h3.status, &h3.body), "{path}");
        assert_eq!(h2, h3, "{path}");
    }
}

/// E11: connections, requests and moves, counted exactly.
#[test]
fn e11_counts_of_http3() {
    let server = Process::app_measured("");
    for moves in [false, true, true] {
        let mut client = connect(&server);
        assert_eq!(client.get("/hello").text(), "hello");
        if moves {
            client.migrate();
        }
        for _ in 0..5 {
            assert_eq!(client.get("/hello").text(), "hello");
        }
        client.close();
    }
    let stats = || {
        let mut client = Client::connect(server.at("metrics"));
        serde_json::from_str::<serde_json::Value>(client.get_local("/stats.json").text()).unwrap()
    };
    eventually("three connections and two moves", || {
        let stats = stats();
        stats["http3"]["connections"] == 3 && stats["http3"]["migrationCount"] == 2
    });
    assert!(stats()["http3"]["avgLatency"].as_f64().unwrap() > 0.0);
    eventually("18 requests", || server.metric("ringway_streams_total{proto=\"3\"}") == 18);
}

/// Connections that have ended leave nothing behind.
#[test]
fn alone_a_thousand_connections_come_and_go() {
    let server = Process::app_measured("");
    let visit = |count: usize| {
        for _ in 0..count {
            let mut client = connect(&server);
            assert_eq!(client.get("/hello").text(), "hello");
            client.close();
        }
    };
    let open = || {
        let closed = server.metric("ringway_connections_closed_total{proto=\"3\"}");
        server.metric("ringway_connections_opened_total{proto=\"3\"}") - closed
    };
    visit(200);
    eventually("the first have gone", || open() == 0);
    let (resident, descriptors) = (server.resident(), server.descriptors());
    visit(1000);
    eventually("all have gone", || open() == 0);
    eventually("all have been counted", || {
        server.metric("ringway_connections_opened_total{proto=\"3\"}") == 1200
    });
    eventually("every descriptor is given back", || server.descriptors() <= descriptors);
    let grown = server.resident().saturating_sub(resident);
    println!("after 1,000 connections {} KiB more are resident", grown >> 10);
    assert!(grown < 2 << 20, "{grown} bytes");
}
