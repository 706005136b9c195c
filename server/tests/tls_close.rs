//! How connections end over TLS: close_notify in both directions, alerts after pending output, and
//! clients that speak another protocol than the port (F17, F21 to F25).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use harness::h2::{self, PREFACE, get, settings, window_update};
use harness::process::Process;
use harness::{app_h2, pattern, tls};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, SupportedProtocolVersion};

/// How the server's side ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    CloseNotify,
    Alert(AlertDescription),
    /// FIN without a word.
    Bare,
    Reset,
}

/// A client in command of its records.
struct Client(tls::Stream);

type Version = &'static SupportedProtocolVersion;

const VERSIONS: [Version; 2] = [&TLS13, &TLS12];
const ALPN: [&str; 2] = ["http/1.1", "h2"];
/// Less than any timeout of the server's.
const SOON: Duration = Duration::from_secs(5);

impl Client {
    fn new(at: SocketAddr, version: Version, alpn: &str) -> Self {
        let config = Arc::new(tls::config_of(&[version], &[alpn.as_bytes()]));
        let mut client = Self(tls::try_connect(at, config, "localhost").unwrap());
        if alpn == "h2" {
            let window = window_update(0, 1 << 30);
            client.send(&[PREFACE, &settings(&[(4, 1 << 30)]), &window].concat());
        }
        client
    }

    /// The records of `plain`, not sent.
    fn records(&mut self, plain: &[u8]) -> Vec<u8> {
        self.0.conn.writer().write_all(plain).unwrap();
        self.sealed()
    }

    fn close_notify(&mut self) -> Vec<u8> {
        self.0.conn.send_close_notify();
        self.sealed()
    }

    fn sealed(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.0.conn.wants_write() {
            self.0.conn.write_tls(&mut records).unwrap();
        }
        records
    }

    fn send(&mut self, plain: &[u8]) {
        let records = self.records(plain);
        self.tcp().write_all(&records).unwrap();
    }

    fn tcp(&self) -> &TcpStream {
        &self.0.sock
    }

    /// Plaintext until `enough` of it is there, or the end.
    fn read(&mut self, enough: impl Fn(&[u8]) -> bool) -> (Vec<u8>, Option<End>) {
        let mut plain = Vec::new();
        while !enough(&plain) {
            let end = match self.0.conn.read_tls(&mut self.0.sock) {
                Ok(0) => Some(End::Bare),
                Ok(_) => None,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => Some(End::Reset),
                Err(error) => panic!("{error}"),
            };
            let end = end.or_else(|| match self.0.conn.process_new_packets() {
                Ok(state) if state.peer_has_closed() => Some(End::CloseNotify),
                Ok(_) => None,
                Err(rustls::Error::AlertReceived(alert)) => Some(End::Alert(alert)),
                Err(error) => panic!("{error}"),
            });
            let _ = self.0.conn.reader().read_to_end(&mut plain);
            if end.is_some() {
                return (plain, end);
            }
        }
        (plain, None)
    }

    /// All that still comes, and how it ends; the TCP connection ends with it.
    fn rest(&mut self) -> (Vec<u8>, End) {
        let start = Instant::now();
        let (plain, end) = self.read(|_| false);
        if matches!(end, Some(End::CloseNotify | End::Alert(_))) {
            let behind = self.0.sock.read(&mut [0; 1]);
            assert!(matches!(behind, Ok(0)), "FIN behind the alert: {behind:?}");
        }
        assert!(start.elapsed() < SOON, "{end:?} after {:?}", start.elapsed());
        (plain, end.unwrap())
    }
}

/// A request in the protocol's own octets; in HTTP/2 on this stream.
fn request(alpn: &str, stream: u32, path: &str) -> Vec<u8> {
    match alpn {
        "h2" => get(stream, path),
        _ => format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes(),
    }
}

/// The content of the answers, one behind the other.
fn content(alpn: &str, mut plain: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while alpn == "h2" && !plain.is_empty() {
        let len = 9 + usize::from(plain[0]) * 65_536 + usize::from(plain[1]) * 256;
        let (frame, rest) = plain.split_at(len + usize::from(plain[2]));
        if frame[3] == h2::DATA {
            content.extend_from_slice(&frame[9..]);
        }
        plain = rest;
    }
    while let Some(end) = plain.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = std::str::from_utf8(&plain[..end]).unwrap().to_ascii_lowercase();
        let (_, length) = head.split_once("content-length: ").unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        let body = &plain[end + 4..];
        content.extend_from_slice(&body[..length.min(body.len())]);
        plain = &body[length.min(body.len())..];
    }
    content
}

fn every_way() -> impl Iterator<Item = (Version, &'static str)> {
    VERSIONS.into_iter().flat_map(|version| ALPN.map(|alpn| (version, alpn)))
}

fn app() -> Process {
    Process::app_on("http,https,h2c", "")
}

#[test]
fn f22_a_close_notify_on_an_idle_connection_is_answered_at_once() {
    let server = app();
    let at = server.at("https");
    for (version, alpn) in every_way() {
        for (asked, fin) in [(false, false), (true, false), (false, true), (true, true)] {
            let what = format!("{version:?} {alpn}, a request: {asked}, a FIN too: {fin}");
            let mut client = Client::new(at, version, alpn);
            if asked {
                client.send(&request(alpn, 1, "/hello"));
                let (plain, end) = client.read(|plain| plain.ends_with(b"hello"));
                assert!(plain.ends_with(b"hello") && end.is_none(), "{what}: {end:?}");
            }
            let close = client.close_notify();
            client.tcp().write_all(&close).unwrap();
            if fin {
                client.tcp().shutdown(Shutdown::Write).unwrap();
            }
            assert_eq!(client.rest().1, End::CloseNotify, "{what}");
            // FIN without close_notify.
            let mut client = Client::new(at, version, alpn);
            client.tcp().shutdown(Shutdown::Write).unwrap();
            assert_eq!(client.rest().1, End::CloseNotify, "{what}, FIN alone");
        }
    }
    // Half a record, half a head, half a preface, then the end.
    for (version, alpn) in every_way() {
        let mut client = Client::new(at, version, alpn);
        let records = client.records(&request(alpn, 1, "/hello"));
        client.tcp().write_all(&records[..records.len() / 2]).unwrap();
        client.tcp().shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.rest().1, End::CloseNotify, "{version:?} {alpn}");
        let mut client = Client::new(at, version, "http/1.1");
        client.send(b"GET /hel");
        let close = client.close_notify();
        client.tcp().write_all(&close).unwrap();
        assert_eq!(client.rest().1, End::CloseNotify, "{version:?} half a head");
    }
}

#[test]
fn f22_the_end_before_the_handshake_is() {
    let server = app();
    let close = [21, 3, 1, 0, 2, 1, 0];
    let answer = [21, 3, 3, 0, 2, 1, 0];
    let half_a_hello = [22, 3, 1, 1, 0, 1, 0, 0, 252];
    let says = |kind: &str, bytes: &[u8], fin: bool| {
        let mut stream = tls::tcp(server.at(kind));
        stream.write_all(bytes).unwrap();
        if fin {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        let (start, mut said) = (Instant::now(), Vec::new());
        stream.read_to_end(&mut said).unwrap();
        assert!(start.elapsed() < SOON, "{kind} {bytes:x?}: {:?}", start.elapsed());
        said
    };
    assert_eq!(says("https", &close, false), answer);
    assert_eq!(says("https", &close, true), answer);
    assert_eq!(says("https", b"", true), b"");
    let said = says("https", &half_a_hello, true);
    assert!(said.is_empty() || said == answer, "{said:x?}");
    // In the clear: nothing to say, nothing to wait for.
    assert_eq!(says("http", b"", true), b"");
    assert_eq!(says("http", b"GET / HTTP/1.1\r\nHo", true), b"");
    assert_eq!(says("http", b"PRI * HT", true), b"");
    says("h2c", b"", true);
    says("h2c", &PREFACE[..10], true);
}

#[test]
fn f22_ended_connections_are_places_for_others() {
    let server = Process::app_on("http,https", "connections=8");
    let mut kept = Vec::new();
    for n in 0..60 {
        let (version, alpn) = (VERSIONS[n % 2], ALPN[n / 2 % 2]);
        let mut client = Client::new(server.at("https"), version, alpn);
        client.send(&request(alpn, 1, "/hello"));
        let (plain, _) = client.read(|plain| plain.ends_with(b"hello"));
        assert!(plain.ends_with(b"hello"), "connection {n}");
        let close = client.close_notify();
        client.tcp().write_all(&close).unwrap();
        // As clients do that keep the descriptor: no FIN of theirs.
        kept.push(client);
        assert_eq!(server.client().get("/hello").text(), "hello", "in the clear, {n}");
    }
}

/// F22, F25: what was asked is answered in full behind the client's end, pipelined requests and
/// later answers too.
#[test]
fn f22_answers_under_way_are_finished() {
    let server = app();
    let at = server.at("https");
    for (version, alpn) in every_way() {
        for end in ["close_notify", "FIN", "both"] {
            let mut client = Client::new(at, version, alpn);
            let paths = ["/bytes/3000", "/hello", "/slow/300", "/bytes/900", "/bytes/40"];
            let asked: Vec<u8> = (1..)
                .step_by(2)
                .zip(paths)
                .fold(Vec::new(), |all, (id, path)| [all, request(alpn, id, path)].concat());
            let mut bytes = client.records(&asked);
            if end != "FIN" {
                bytes.extend(client.close_notify());
            }
            client.tcp().write_all(&bytes).unwrap();
            if end != "close_notify" {
                client.tcp().shutdown(Shutdown::Write).unwrap();
            }
            thread::sleep(Duration::from_millis(100));
            let (plain, how) = client.rest();
            assert_eq!(how, End::CloseNotify, "{version:?} {alpn} {end}");
            let got = content(alpn, &plain);
            let due = (3000 + 900 + 40) * 1024 + 5;
            assert!(got.len() > due, "{version:?} {alpn} {end}: {} of {due}", got.len());
            if alpn == "http/1.1" {
                assert!(got.starts_with(&app_h2::bytes(3000)) && got.ends_with(&pattern(40 << 10)));
            }
        }
    }
}

/// F22: an answer that the window holds up can never be finished, nor a request without its end.
#[test]
fn f22_what_needs_the_client_is_given_up() {
    let server = app();
    for version in VERSIONS {
        let mut client = Client::new(server.at("https"), version, "h2");
        // A window of 10,000 octets, a large answer, half an upload, and an answer that fits.
        let upload = h2::request("POST", "/upload", &[]);
        let upload = h2::frame(h2::HEADERS, h2::END_HEADERS, 3, &upload);
        let asked = [settings(&[(4, 10_000)]), get(1, "/bytes/100"), upload, get(5, "/bytes/9")];
        let mut bytes = client.records(&asked.concat());
        bytes.extend(client.close_notify());
        client.tcp().write_all(&bytes).unwrap();
        let (plain, end) = client.rest();
        assert_eq!(end, End::CloseNotify);
        assert_eq!(content("h2", &plain).len(), 10_000 + 9 * 1024);
    }
    // In the clear as well: half an upload behind a request that is answered.
    let mut client = server.client();
    let half = "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf";
    client.send(format!("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n{half}"));
    client.finish();
    let said = client.rest();
    assert!(said.ends_with(b"hello"), "{}", String::from_utf8_lossy(&said));
    // Requests that waited for room in the output when FIN came.
    let mut client = server.client();
    client.send("GET /bytes/2000 HTTP/1.1\r\nHost: a\r\n\r\n".repeat(9));
    client.finish();
    assert_eq!(content("http/1.1", &client.rest()).len(), 9 * 2000 * 1024);
}

#[test]
fn f24_every_close_of_ours_says_so() {
    let server = Process::app_on("http,https", "idle_timeout=300,header_timeout=300");
    let at = server.at("https");
    for version in VERSIONS {
        for (what, bytes) in [
            ("idle", ""),
            ("idle after a request", "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            ("half a head", "GET /hel"),
            ("Connection: close", "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
            ("HTTP/1.0", "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"),
            ("a bad request", "\0\x01\r\n\r\n"),
            ("half a body", "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx"),
        ] {
            let mut client = Client::new(at, version, "http/1.1");
            client.send(bytes.as_bytes());
            if what == "half a body" {
                client.tcp().shutdown(Shutdown::Write).unwrap();
            }
            assert_eq!(client.rest().1, End::CloseNotify, "{version:?} {what}");
        }
        let mut client = Client::new(at, version, "http/1.1");
        let half = client.records(b"GET / HTTP/1.1\r\n\r\n");
        client.tcp().write_all(&half[..half.len() / 2]).unwrap();
        assert_eq!(client.rest().1, End::CloseNotify, "{version:?} half a record");
        let mut client = Client::new(at, version, "h2");
        client.send(&get(1, "/hello"));
        assert_eq!(client.rest().1, End::CloseNotify, "{version:?} h2 idle");
        let mut client = Client::new(at, version, "h2");
        client.send(&h2::frame(h2::DATA, 0, 0, b"on no stream"));
        assert_eq!(client.rest().1, End::CloseNotify, "{version:?} h2 error");
    }
    // A drain.
    let server = Process::app_on("http,https", "");
    let clients = every_way().map(|(version, alpn)| {
        let mut client = Client::new(server.at("https"), version, alpn);
        client.send(&request(alpn, 1, "/hello"));
        client.read(|plain| plain.ends_with(b"hello"));
        (client, version, alpn)
    });
    let clients: Vec<_> = clients.collect();
    server.signal("TERM");
    for (mut client, version, alpn) in clients {
        if alpn == "h2" {
            // Its PING is to be answered, or the drain's round trip waited for.
            client.tcp().set_read_timeout(Some(SOON)).unwrap();
        }
        assert_eq!(client.rest().1, End::CloseNotify, "{version:?} {alpn} drain");
    }
}

/// F23: what was answered goes out, then the alert.
#[test]
fn f23_an_alert_goes_out_behind_what_is_owed() {
    let server = app();
    let at = server.at("https");
    let mut forged = vec![23, 3, 3, 0, 64];
    forged.extend([0x5a; 64]);
    let bad: [(&[u8], AlertDescription); 3] = [
        (&forged, AlertDescription::BadRecordMac),
        (&[23, 3, 3, 0xff, 0xff], AlertDescription::RecordOverflow),
        (&[0x47, 0x45, 0x54, 0x20, 0x2f], AlertDescription::UnexpectedMessage),
    ];
    for (version, alpn) in every_way() {
        for (bytes, alert) in bad {
            for (paths, wait) in [
                (vec![], 0),
                (vec!["/hello"], 0),
                (vec!["/hello"; 16], 0),
                (vec!["/bytes/40"], 0),
                (vec!["/bytes/1000"], 100),
                (vec!["/bytes/100", "/hello"], 100),
            ] {
                let what = format!("{version:?} {alpn} {alert:?} behind {paths:?}");
                let mut client = Client::new(at, version, alpn);
                let asked: Vec<u8> = (1..)
                    .step_by(2)
                    .zip(&paths)
                    .fold(Vec::new(), |all, (id, p)| [all, request(alpn, id, p)].concat());
                let mut records = client.records(&asked);
                if wait > 0 {
                    client.tcp().write_all(&records).unwrap();
                    thread::sleep(Duration::from_millis(wait));
                    records.clear();
                }
                records.extend_from_slice(bytes);
                client.tcp().write_all(&records).unwrap();
                let (plain, end) = client.rest();
                assert_eq!(end, End::Alert(alert), "{what}");
                let size = |path: &&str| match path.strip_prefix("/bytes/") {
                    Some(kib) => kib.parse::<usize>().unwrap() << 10,
                    None => "hello".len(),
                };
                let due: usize = paths.iter().map(size).sum();
                let got = content(alpn, &plain).len();
                assert_eq!(got, due, "{what}");
            }
        }
    }
}

/// What comes back for these octets, sent in two pieces at `cut`.
fn said(at: SocketAddr, bytes: &[u8], cut: usize) -> Vec<u8> {
    let mut stream = tls::tcp(at);
    let _ = stream.write_all(&bytes[..cut]);
    if cut > 0 && cut < bytes.len() {
        thread::sleep(Duration::from_millis(3));
    }
    let _ = stream.write_all(&bytes[cut..]);
    let (start, mut said) = (Instant::now(), Vec::new());
    let _ = stream.read_to_end(&mut said);
    assert!(start.elapsed() < SOON, "{:?}: {:?}", String::from_utf8_lossy(bytes), start.elapsed());
    said
}

/// The code of the GOAWAY that ends these frames.
fn goaway(frames: &[u8]) -> Option<u32> {
    let mut rest = frames;
    while let [a, b, c, kind, ..] = rest {
        let len = 9 + (usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c));
        let (kind, frame) = (*kind, rest.get(..len)?);
        rest = &rest[len..];
        if kind == h2::GOAWAY {
            return rest.is_empty().then(|| u32::from_be_bytes(frame[13..17].try_into().unwrap()));
        }
    }
    None
}

#[test]
fn f17_http_on_the_port_for_https_is_told_so() {
    let server = app();
    let at = server.at("https");
    let told = |bytes: &[u8], cut: usize| {
        let said = String::from_utf8(said(at, bytes, cut)).unwrap();
        assert!(said.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{said:?}");
        let lower = said.to_ascii_lowercase();
        assert!(lower.contains("\r\nconnection: close\r\n"), "{said:?}");
        assert!(!lower.contains("strict-transport-security"), "RFC 6797 section 7.2: {said:?}");
        let (_, body) = said.split_once("\r\n\r\n").unwrap();
        assert_eq!(body.matches('\n').count(), 1, "one line: {body:?}");
        assert!(body.contains("TLS") && body.ends_with('\n'), "{body:?}");
        body.trim_end().to_owned()
    };
    let plain = b"GET /a?b=c HTTP/1.1\r\nHost: www.example.com:8443\r\n\r\n";
    for cut in 0..plain.len() {
        let body = told(plain, cut);
        assert!(body.ends_with(" https://www.example.com:8443/a?b=c"), "{body:?}");
    }
    for (request, url) in [
        ("POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody", "https://a.test/x"),
        ("GET http://b.test/y HTTP/1.1\r\nHost: b.test\r\n\r\n", "https://b.test/y"),
        ("OPTIONS * HTTP/1.1\r\nHost: c.test\r\n\r\n", "https://c.test/"),
        ("\r\nGET / HTTP/1.1\r\nHost: d.test\r\n\r\n", "https://d.test/"),
    ] {
        assert!(told(request.as_bytes(), 0).ends_with(url), "{request:?}");
    }
    // Without a host there is no URL to give; what is no request is told as much.
    for request in ["GET / HTTP/1.0\r\n\r\n", "hello\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"] {
        assert!(!told(request.as_bytes(), 0).contains("https://"), "{request:?}");
    }
    // The same to HTTP/2 without TLS, in its own words.
    for cut in 0..PREFACE.len() {
        let said = said(at, &[PREFACE, &settings(&[]), &get(1, "/hello")].concat(), cut);
        assert_eq!(goaway(&said), Some(0xc), "INADEQUATE_SECURITY: {said:x?}");
        assert!(said.windows(3).any(|three| three == b"TLS"), "{said:x?}");
    }
    // Rubbish: a fatal alert, unexpected_message.
    for rubbish in [&b"\0\0\0\0\0\0"[..], b"\x80\x2e\x01\x03\x01", b"\xff\xfe", b"\x05rub"] {
        assert_eq!(said(at, rubbish, 0), [21, 3, 3, 0, 2, 2, 10], "{rubbish:x?}");
    }
    assert_eq!(h2::H2::tls(at).get("/hello").text(), "hello");
}

#[test]
fn f21_a_preface_that_goes_wrong_is_answered_in_http2() {
    let server = app();
    let wrong: [&[u8]; 6] = [
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"PRI * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\n\nSM\n\n",
        b"PRI  * HTTP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX",
    ];
    for kind in ["http", "h2c"] {
        for bytes in wrong {
            for cut in 0..bytes.len() {
                let said = said(server.at(kind), bytes, cut);
                let text = String::from_utf8_lossy(bytes);
                assert_eq!(goaway(&said), Some(h2::PROTOCOL_ERROR), "{kind} {cut} {text:?}");
            }
        }
    }
    // h2spec 3.5/2, where HTTP/2 alone is spoken; elsewhere it is a bad request in HTTP/1.1.
    let invalid = b"INVALID CONNECTION PREFACE\r\n\r\n";
    for cut in 0..invalid.len() {
        assert_eq!(goaway(&said(server.at("h2c"), invalid, cut)), Some(h2::PROTOCOL_ERROR));
        assert!(said(server.at("http"), invalid, cut).starts_with(b"HTTP/1.1 400 "));
    }
    // Methods that begin alike are methods, and the preface is the preface, however it is cut.
    for cut in 0..PREFACE.len() {
        for method in ["PRINT", "PROPFIND", "P", "PRI-X", "POST"] {
            let request = format!(
                "{method} /method HTTP/1.1\r\nHost: a\r\n\
                                   Content-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let said = said(server.at("http"), request.as_bytes(), cut);
            assert!(said.starts_with(b"HTTP/1.1 200 ") && said.ends_with(method.as_bytes()));
        }
        let mut client = h2::H2::silent(server.at("http"));
        client.send(&PREFACE[..cut]);
        thread::sleep(Duration::from_millis(3));
        client.send([&PREFACE[cut..], &settings(&[])].concat());
        assert_eq!(client.get("/hello").text(), "hello");
    }
}

/// F21: the beginning of a preface is the beginning of a head, and has the time of one.
#[test]
fn f21_a_preface_that_stops_half_way_does_not_wait_for_ever() {
    let server = Process::app_on("http,https", "header_timeout=300");
    for (kind, cut) in [("http", 1), ("http", 4), ("http", 20), ("https", 1), ("https", 20)] {
        let said = said(server.at(kind), &PREFACE[..cut], 0);
        assert!(said.starts_with(b"HTTP/1.1 408 "), "{kind} {cut}: {said:x?}");
    }
}
