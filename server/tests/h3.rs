//! HTTP/3: requests of every shape, from an independent client.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::app::checksum;
use harness::process::{Process, RINGWAY};
use harness::quic::{self, H3};
use harness::{TempDir, eventually, h2, pattern, tls};

fn app() -> Process {
    let server = Process::app_on("https", "");
    server.wait_for("h3");
    server
}

fn connect(server: &Process) -> H3 {
    H3::connect(server.at("h3"))
}

/// A request and its answer.
fn call(client: &mut H3, method: &str, path: &str, body: &[u8]) -> quic::Answer {
    let stream = client.ask(method, path, &[], body);
    client.answer(stream)
}

/// D1: requests with and without bodies, their answers, and both protocols on one port.
#[test]
fn requests_and_answers() {
    let server = app();
    assert_eq!(server.address("https"), server.address("h3"));
    let mut client = connect(&server);
    assert_eq!(client.conn.application_proto(), b"h3");
    let hello = client.get("/hello");
    assert_eq!((hello.status(), &hello.body[..]), (200, &b"hello"[..]));
    assert_eq!(hello.field("server"), Some("ringway"));
    assert_eq!(hello.field("content-length"), Some("5"));
    assert!(hello.field("date").is_some() && hello.field("content-type").is_some());
    let head = call(&mut client, "HEAD", "/hello", b"");
    assert_eq!((head.status(), head.body.len()), (200, 0));
    assert_eq!(head.field("content-length"), Some("5"));
    assert_eq!(client.get("/empty").status(), 204);
    assert_eq!(client.get("/nowhere").status(), 404);
    assert_eq!(client.get("/user/ada").body, b"ada");
    let body = pattern(100_000);
    assert_eq!(call(&mut client, "POST", "/echo", &body).body, body);
    assert_eq!(call(&mut client, "POST", "/echo", &pattern(2 << 20)).status(), 413);
}

/// Many streams at once, each with its own answer.
#[test]
fn streams_side_by_side() {
    let server = app();
    let mut client = connect(&server);
    for round in 0..3 {
        let streams: Vec<_> =
            (0..60).map(|n| client.ask("GET", &format!("/user/u{n}-{round}"), &[], b"")).collect();
        for (n, stream) in streams.into_iter().enumerate() {
            assert_eq!(client.answer(stream).body, format!("u{n}-{round}").as_bytes());
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
    assert_eq!(call(&mut client, "POST", "/upload", &body).body, checksum(&body).as_bytes());
    assert_eq!(client.get("/stream/50").body, b"firstsecond");
    assert_eq!(client.get("/slow/30").body, b"slow");
}

/// Files from memory and from disk, and ranges of them.
#[test]
fn files() {
    let (small, large) = (pattern(10_000), pattern(5 << 20));
    let dir = TempDir::with(&[("small.bin", &small), ("large.bin", &large)]);
    let server = Process::serve(dir.path(), &["--https", "127.0.0.1:0"]);
    server.wait_for("h3");
    let mut client = connect(&server);
    for _ in 0..2 {
        assert!(client.get("/small.bin").body == small);
        assert!(client.get("/large.bin").body == large);
    }
    let stream = client.ask("GET", "/large.bin", &[("range", "bytes=7-1000006")], b"");
    let part = client.answer(stream);
    assert_eq!(part.status(), 206);
    assert!(part.body == large[7..1_000_007]);
}

/// C29, D9: early hints come before the answer, trailers after it; pushes are left out.
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

/// C11: the more urgent of two downloads ends first, whichever was requested first. The answer's
/// Priority field overrides the client's in the parameters that it states (RFC 9218 section 8).
#[test]
fn the_more_urgent_ends_first() {
    let server = app();
    let mut client = connect(&server);
    for [(path, priority), (urgent, its_priority)] in [
        [("/bytes/4000", "u=5"), ("/bytes/4000", "u=1")],
        [("/reversed/4000", "u=1"), ("/bytes/4000", "u=3")],
        [("/bytes/4000", "u=2"), ("/incremental/4000", "u=0")],
    ] {
        let first = client.ask("GET", path, &[("priority", priority)], b"");
        let second = client.ask("GET", urgent, &[("priority", its_priority)], b"");
        client.run("the urgent one is here", |client| client.streams[&second].is_over());
        assert!(!client.streams[&first].is_over(), "{path} before {urgent}");
        assert_eq!(client.answer(second).body.len(), 4000 << 10);
        assert_eq!(client.answer(first).body.len(), 4000 << 10);
    }
}

/// A drain finishes what is in flight, then the server ends.
#[test]
fn a_drain_finishes_what_is_in_flight() {
    let mut server = app();
    let mut client = connect(&server);
    let slow = client.ask("GET", "/slow/500", &[], b"");
    let big = client.ask("GET", "/big", &[], b"");
    client.run("the download has begun", |client| !client.streams[&big].body.is_empty());
    server.signal("TERM");
    assert_eq!(client.answer(slow).body, b"slow");
    assert_eq!(client.answer(big).body.len(), 16 << 20);
    assert_eq!(client.closed(), (true, 0x100));
    assert!(client.control().iter().any(|(kind, _)| *kind == 7), "GOAWAY");
    assert!(server.wait().success());
}

/// Serves a directory with these options, on any port unless they name one.
fn serve(dir: &Path, options: &[&str]) -> Process {
    let server = Process::serve(dir, options);
    server.wait_for("http,https");
    server
}

/// The Alt-Svc fields of answers over TLS, in HTTP/1.1 and HTTP/2.
fn alt_svc(https: SocketAddr) -> [Option<String>; 2] {
    let mut one = tls::connect(https, &[b"http/1.1"], "localhost");
    one.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = Vec::new();
    // The end of the connection need not be announced.
    let _ = one.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    let value = text.lines().find_map(|line| line.strip_prefix("alt-svc: "));
    let two = h2::H2::tls(https).get("/");
    [value.map(str::to_owned), two.field("alt-svc").map(str::to_owned)]
}

/// E3, E14, E17: Alt-Svc stands in answers over TLS while QUIC listens, and only there; to a share
/// of the connections if so told; and takes it back where HTTP/3 is turned off.
#[test]
fn alt_svc_says_where_http3_is() {
    let dir = TempDir::with(&[("index.html", b"hi")]);
    let any = ["--https", "127.0.0.1:0"];
    let server = serve(dir.path(), &any);
    let https = server.at("https");
    let here = Some(format!("h3=\":{}\"; ma=86400", https.port()));
    assert_eq!(alt_svc(https), [here.clone(), here]);
    assert_eq!(server.client().get("/").field("alt-svc"), None, "in the clear");
    let server = serve(dir.path(), &[&any[..], &["--no-h3"]].concat());
    assert_eq!(server.address("h3"), None);
    let clear = Some("clear".to_owned());
    assert_eq!(alt_svc(server.at("https")), [clear.clone(), clear]);
    let server = serve(dir.path(), &[&any[..], &["--set", "http3.alt_svc=false"]].concat());
    assert_eq!(alt_svc(server.at("https")), [None, None]);
    let half = ["--set", "http3.alt_svc_share=50", "--set", "http3.alt_svc_age=60s"];
    let server = serve(dir.path(), &[&any[..], &half].concat());
    let https = server.at("https");
    let told: Vec<_> = (0..5).flat_map(|_| alt_svc(https)).flatten().collect();
    assert_eq!(told.len(), 5, "of ten connections: {told:?}");
    assert!(told[0].ends_with("; ma=60"), "{told:?}");
}

/// E4: if the UDP port is not available, the server reports that and serves the other protocols,
/// unless HTTP/3 is required.
#[test]
fn without_its_udp_port_the_server_falls_back_or_does_not_start() {
    let dir = TempDir::with(&[("index.html", b"hi")]);
    // An address that nothing else binds or connects from, so that the TCP port is free.
    let taken = UdpSocket::bind("127.4.4.4:0").unwrap();
    let address = taken.local_addr().unwrap();
    let at = address.to_string();
    let server = serve(dir.path(), &["--https", &at]);
    assert_eq!(server.address("h3"), None);
    eventually("the warning", || {
        server.output().contains(&format!("warning: cannot listen for h3 on {at}: the address is"))
    });
    assert_eq!(alt_svc(address), [Some("clear".to_owned()), Some("clear".to_owned())]);
    drop(server);
    let mut command = Command::new(RINGWAY.unwrap());
    command.arg("serve").arg(dir.path()).args(["--https", &at, "--require-h3"]);
    let ran = command.output().unwrap();
    assert_eq!(ran.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(said.contains("h3") && said.contains("in use"), "{said}");
}

/// A connection, or the server's reason for refusing it.
fn attempt(server: SocketAddr) -> Result<H3, u64> {
    let mut client = H3::new(server, &mut quic::config(), None);
    client.run("an answer of either kind", |client| {
        client.conn.is_established() || client.conn.peer_error().is_some()
    });
    match client.conn.peer_error() {
        Some(error) => Err(error.error_code),
        None => {
            client.begin();
            Ok(client)
        }
    }
}

/// An address gets this many connections and no more, until one of them ends.
#[test]
fn connections_of_one_address_are_bounded() {
    let dir = TempDir::with(&[("index.html", b"hi")]);
    let bound = ["--https", "127.0.0.1:0", "--set", "limits.connections_per_ip=8"];
    let server = serve(dir.path(), &bound);
    server.wait_for("h3");
    let mut clients: Vec<_> = (0..8).map(|_| connect(&server)).collect();
    // What a client leaves unacknowledged while the others are served makes its round trip long,
    // and the server's pace slow.
    clients.iter_mut().for_each(|client| client.run_for(Duration::from_millis(100)));
    let h3 = server.at("h3");
    assert_eq!(attempt(h3).err(), Some(2), "CONNECTION_REFUSED");
    for client in &mut clients {
        assert_eq!(client.get("/").body, b"hi", "{}", client.why());
    }
    clients.remove(0).close();
    eventually("there is room again", || {
        attempt(h3).is_ok_and(|mut client| client.get("/").status() == 200)
    });
}
