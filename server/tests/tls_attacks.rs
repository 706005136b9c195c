//! Attacks on TLS: rows 80 to 83 of the attack list, with a second client that is served
//! throughout, and a limit on the server's memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use harness::h2::H2;
use harness::process::Process;
use harness::watch::Watch;
use harness::{PATIENCE, TempDir, eventually, tls};
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

const CAP: u64 = 8 << 20;

/// A record with this content type.
fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1, (payload.len() >> 8) as u8, payload.len() as u8][..], payload].concat()
}

/// What the client says first, as rustls would.
fn client_hello() -> Vec<u8> {
    let config = Arc::new(tls::config(&[b"h2"]));
    let name = "localhost".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// What comes until the server ends the connection, and how long that took.
fn outcome(mut stream: std::net::TcpStream) -> (Vec<u8>, Duration) {
    let start = Instant::now();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    assert!(start.elapsed() < PATIENCE, "the server ends it");
    (said, start.elapsed())
}

/// The alert that ends what the server said, if it is one.
fn alert(said: &[u8]) -> Option<u8> {
    let tail = said.len().checked_sub(7)?;
    (said[tail] == 21 && said[tail + 5] == 2).then(|| said[tail + 6])
}

#[test]
fn row_81_hellos_in_pieces_oversize_and_never() {
    let server = Process::app_on("http,https", "handshake_timeout=700");
    let at = server.at("https");
    let watch = Watch::new(&server, "/hello");
    watch.during(CAP, || {
        // An octet at a time is slow and no crime.
        let mut stream = tls::tcp(at);
        for byte in client_hello() {
            stream.write_all(&[byte]).unwrap();
        }
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(first[0], 22, "a handshake record answers");
        // In records of one octet each as well, be it that it is refused.
        let hello = client_hello();
        let mut stream = tls::tcp(at);
        for byte in &hello[5..200] {
            let _ = stream.write_all(&record(22, &[*byte]));
        }
        outcome(stream);
        // Nothing at all, the beginning of a record, half a hello: cut off in time.
        for bytes in [&b""[..], &[22, 3, 1], &hello[..hello.len() / 2]] {
            let mut stream = tls::tcp(at);
            stream.write_all(bytes).unwrap();
            let (_, taken) = outcome(stream);
            assert!(taken > Duration::from_millis(500), "{taken:?} for {} octets", bytes.len());
        }
        // A stall behind the hello.
        let mut stream = tls::tcp(at);
        stream.write_all(&hello).unwrap();
        outcome(stream);
    });
    watch.during(CAP, || {
        let long = [&[1, 0xff, 0xff, 0xff][..], &[3; 16_000]].concat();
        for bytes in [
            record(22, &long).repeat(20),
            record(22, &[0; 16_384 + 3000]),
            vec![0x16, 3, 1, 0xff, 0xff],
            record(23, b"data before the handshake"),
            record(20, &[1]).repeat(40),
            record(21, &[1, 90]).repeat(1000),
            record(22, b"").repeat(1000),
            b"GET / HTTP/1.1\r\nHost: test\r\n\r\n".to_vec(),
            vec![0x80, 0x2e, 1, 0, 2],
        ] {
            let mut stream = tls::tcp(at);
            let _ = stream.write_all(&bytes);
            outcome(stream);
        }
    });
    // Many at once that stall: all are let go, and memory with them.
    watch.during(32 << 20, || {
        let hello = client_hello();
        let stalled: Vec<_> = (0..300)
            .map(|i| {
                let mut stream = tls::tcp(at);
                stream.write_all(&hello[..hello.len() - i % 2]).unwrap();
                stream
            })
            .collect();
        for stream in stalled {
            outcome(stream);
        }
    });
    assert_eq!(H2::tls(at).get("/hello").text(), "hello");
}

/// Handshakes that are not finished have a bound; those that are do not count, and clients in the
/// clear are none of them.
#[test]
fn row_81_unfinished_handshakes_are_bounded() {
    let server = Process::app_measured("handshakes=8,handshake_timeout=60000");
    let at = server.at("https");
    let config = || Arc::new(tls::config(&[b"h2"]));
    let established: Vec<_> = (0..20).map(|_| H2::tls(at)).collect();
    let hello = client_hello();
    let stall = |_| {
        let mut stream = tls::tcp(at);
        stream.write_all(&hello[..hello.len() / 2]).unwrap();
        stream
    };
    let watch = Watch::new(&server, "/hello");
    watch.during(CAP, || {
        let mut stalled: Vec<_> = (0..8).map(stall).collect();
        eventually("no more is begun", || tls::try_connect(at, config(), "localhost").is_err());
        let refused = "ringway_connections_refused_total{kind=\"handshakes\"}";
        eventually("and that is counted", || server.metric(refused) >= 1);
        stalled.pop();
        eventually("there is room", || tls::try_connect(at, config(), "localhost").is_ok());
    });
    for mut client in established {
        assert_eq!(client.get("/hello").text(), "hello");
    }
}

#[test]
fn row_81_an_alert_says_what_was_wrong() {
    let server = Process::app_on("http,https", "");
    let at = server.at("https");
    for (what, bytes) in [
        ("a record too long", record(22, &[1; 16_384 + 3000])),
        ("data before the handshake", record(23, b"data")),
    ] {
        let mut stream = tls::tcp(at);
        let _ = stream.write_all(&bytes);
        let (said, _) = outcome(stream);
        assert!(alert(&said).is_some(), "{what}: {said:x?}");
    }
}

/// Sends key updates until the server has had enough.
#[test]
fn row_82_key_update_flood() {
    let server = Process::app_on("http,https", "");
    let at = server.at("https");
    let watch = Watch::new(&server, "/hello");
    watch.during(CAP, || {
        let mut stream = tls::connect(at, &[b"http/1.1"], "localhost");
        let start = Instant::now();
        // Each asks for one of the server's own.
        loop {
            assert!(start.elapsed() < PATIENCE, "the server has had enough");
            if stream.conn.refresh_traffic_keys().is_err() {
                break;
            }
            if stream.flush().is_err() || stream.conn.process_new_packets().is_err() {
                break;
            }
        }
    });
    // One now and then is what they are for.
    let mut stream = tls::connect(at, &[b"http/1.1"], "localhost");
    for _ in 0..5 {
        stream.conn.refresh_traffic_keys().unwrap();
        stream.write_all(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            let mut piece = [0; 1000];
            let len = stream.read(&mut piece).unwrap();
            assert!(len > 0);
            answer.extend_from_slice(&piece[..len]);
        }
    }
}

/// A certificate for these names, written to `dir`.
fn certificate(dir: &Path, names: &[&str]) {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(dir.join("key.pem.new"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(dir.join("cert.pem.new"), made.cert.pem()).unwrap();
    for name in ["key.pem", "cert.pem"] {
        std::fs::rename(dir.join(format!("{name}.new")), dir.join(name)).unwrap();
    }
}

fn serve(dir: &TempDir) -> Process {
    dir.write("site/index.html", b"hello");
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let options = ["--https", "127.0.0.1:0", "--cert", &cert, "--key", &key];
    let server = Process::serve(&dir.path().join("site"), &options);
    server.wait_for("http,https");
    server
}

/// The certificate that the server shows.
fn shown(at: SocketAddr) -> Vec<u8> {
    let stream = tls::connect(at, &[b"h2"], "one.test");
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn row_80_a_ticket_resumes_only_where_it_was_given() {
    let dir = TempDir::new();
    certificate(dir.path(), &["one.test", "two.test"]);
    let server = serve(&dir);
    let at = server.at("https");
    for version in [&TLS13, &TLS12] {
        let visit = |config: &Arc<rustls::ClientConfig>, name: &'static str| {
            let mut stream = tls::try_connect(at, Arc::clone(config), name).unwrap();
            let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert!(answer.ends_with(b"hello"), "{}", String::from_utf8_lossy(&answer));
            stream.conn.handshake_kind().unwrap()
        };
        // A client that takes its tickets for one name to another: to the server the same session.
        let store = Arc::new(OneSession::default());
        let mut config = tls::config_of(&[version], &[b"http/1.1"]);
        config.resumption = rustls::client::Resumption::store(store);
        let config = Arc::new(config);
        assert_ne!(visit(&config, "one.test"), HandshakeKind::Resumed);
        assert_eq!(visit(&config, "one.test"), HandshakeKind::Resumed, "{version:?}");
        assert_ne!(visit(&config, "two.test"), HandshakeKind::Resumed, "{version:?}");
    }
}

/// Keeps sessions whatever the server's name is.
#[derive(Debug)]
struct OneSession(rustls::client::ClientSessionMemoryCache);

impl Default for OneSession {
    fn default() -> Self {
        Self(rustls::client::ClientSessionMemoryCache::new(32))
    }
}

fn the_name() -> rustls::pki_types::ServerName<'static> {
    "any.test".try_into().unwrap()
}

impl rustls::client::ClientSessionStore for OneSession {
    fn set_kx_hint(&self, _: rustls::pki_types::ServerName<'static>, group: rustls::NamedGroup) {
        self.0.set_kx_hint(the_name(), group);
    }

    fn kx_hint(&self, _: &rustls::pki_types::ServerName<'_>) -> Option<rustls::NamedGroup> {
        self.0.kx_hint(&the_name())
    }

    fn set_tls12_session(
        &self,
        _: rustls::pki_types::ServerName<'static>,
        session: rustls::client::Tls12ClientSessionValue,
    ) {
        self.0.set_tls12_session(the_name(), session);
    }

    fn tls12_session(
        &self,
        _: &rustls::pki_types::ServerName<'_>,
    ) -> Option<rustls::client::Tls12ClientSessionValue> {
        self.0.tls12_session(&the_name())
    }

    fn remove_tls12_session(&self, _: &rustls::pki_types::ServerName<'static>) {
        self.0.remove_tls12_session(&the_name());
    }

    fn insert_tls13_ticket(
        &self,
        _: rustls::pki_types::ServerName<'static>,
        ticket: rustls::client::Tls13ClientSessionValue,
    ) {
        self.0.insert_tls13_ticket(the_name(), ticket);
    }

    fn take_tls13_ticket(
        &self,
        _: &rustls::pki_types::ServerName<'static>,
    ) -> Option<rustls::client::Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&the_name())
    }
}

#[test]
fn row_83_a_bad_certificate_is_never_taken() {
    let dir = TempDir::new();
    certificate(dir.path(), &["one.test"]);
    let server = serve(&dir);
    let at = server.at("https");
    let first = shown(at);
    let (cert, key) = ("cert.pem", "key.pem");
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    let (good_cert, good_key) = (read(cert), read(key));
    let other = TempDir::new();
    certificate(other.path(), &["one.test"]);
    let stranger = std::fs::read(other.path().join(cert)).unwrap();
    let watch = Watch::new(&server, "/index.html");
    watch.during(CAP, || {
        // Half-written, empty, no PEM at all, another's: each is refused, and said.
        for (i, bad) in [&good_cert[..good_cert.len() / 2], b"", b"no certificate", &stranger]
            .iter()
            .enumerate()
        {
            dir.write(cert, bad);
            server.signal("HUP");
            eventually("the refusal is printed", || {
                server.output().matches("certificates not loaded").count() > i
            });
            assert_eq!(shown(at), first);
        }
        // A new pair in two writes, the first of which does not fit the other file.
        let third = TempDir::new();
        certificate(third.path(), &["one.test"]);
        for name in [cert, key] {
            let bytes = std::fs::read(third.path().join(name)).unwrap();
            dir.write(name, &bytes[..bytes.len() / 3]);
            thread::sleep(Duration::from_millis(30));
            dir.write(name, &bytes);
        }
        eventually("the new pair is taken", || shown(at) != first);
    });
    let second = shown(at);
    dir.write(cert, &good_cert);
    dir.write(key, &good_key);
    server.signal("HUP");
    eventually("the old pair again", || shown(at) == first);
    assert_ne!(first, second);
}
