//! The alert that a client gets when it violates TLS, on the wire of a real server: rows F16 and
//! F25.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#[path = "harness/records.rs"]
mod records;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use harness::process::Process;
use harness::{TempDir, tls};
use records::{ALERT, CHANGE, DATA, HANDSHAKE, Held, Keys, clear};
use rustls::AlertDescription as Alert;

fn serve(options: &[&str]) -> (TempDir, Process) {
    let site = TempDir::with(&[("index.html", b"home")]);
    let server = Process::serve(site.path(), &[&["--https", "127.0.0.1:0"], options].concat());
    server.wait_for("https");
    (site, server)
}

/// The unencrypted alert that is the server's only answer to these bytes.
fn told(at: SocketAddr, bytes: &[u8]) -> Option<Alert> {
    let mut stream = tls::tcp(at);
    let _ = stream.write_all(bytes);
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    match said[..] {
        [ALERT, 3, 3, 0, 2, 2, alert] => Some(alert.into()),
        [] => None,
        _ => panic!("{said:x?}"),
    }
}

/// A ClientHello with these extensions (kind and body), without any where there are none.
fn hello(version: u16, extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    // No session; ECDHE-RSA and ECDHE-ECDSA suites of TLS 1.0, 1.2 and 1.3; no compression.
    body.extend([0, 0, 8, 0xc0, 0x13, 0xc0, 0x0a, 0xc0, 0x2b, 0x13, 1, 1, 0]);
    let extensions: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, body)| {
            [&kind.to_be_bytes()[..], &(body.len() as u16).to_be_bytes(), body].concat()
        })
        .collect();
    if !extensions.is_empty() {
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
    }
    [&[1, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat()
}

const SUPPORTED_VERSIONS: u16 = 43;
/// signature_algorithms with ecdsa_secp256r1_sha256.
const SIGNATURES: (u16, &[u8]) = (13, &[0, 2, 4, 3]);
const GROUPS: (u16, &[u8]) = (10, &[0, 2, 0, 29]);

#[test]
fn f16_clients_of_old_versions_are_told_protocol_version() {
    let (_site, server) = serve(&[]);
    let at = server.at("https");
    let (old, only) = (Alert::ProtocolVersion, &[2, 3, 2][..]);
    for (hello, alert) in [
        (hello(0x0300, &[]), old),
        (hello(0x0301, &[]), old),
        (hello(0x0302, &[]), old),
        (hello(0x0301, &[GROUPS]), old),
        (hello(0x0302, &[GROUPS, SIGNATURES]), old),
        // The extension decides where there is one.
        (hello(0x0303, &[(SUPPORTED_VERSIONS, only)]), old),
        (hello(0x0303, &[(SUPPORTED_VERSIONS, &[4, 0x7f, 0x1c, 3, 1])]), old),
        // The version is right, and something else is missing.
        (hello(0x0303, &[GROUPS]), Alert::HandshakeFailure),
        (hello(0x0303, &[]), Alert::HandshakeFailure),
        (hello(0x0301, &[(SUPPORTED_VERSIONS, &[4, 3, 3, 3, 2])]), Alert::HandshakeFailure),
        (hello(0x0303, &[(SUPPORTED_VERSIONS, &[4, 3, 3, 3, 4])]), Alert::MissingExtension),
    ] {
        assert_eq!(told(at, &clear(HANDSHAKE, &hello)), Some(alert), "{hello:x?}");
        // The same in pieces.
        let pieces: Vec<u8> = hello.chunks(11).flat_map(|piece| clear(HANDSHAKE, piece)).collect();
        assert_eq!(told(at, &pieces), Some(alert), "{hello:x?} in pieces");
    }
}

#[test]
fn f16_tls_1_2_is_an_old_version_where_it_is_not_spoken() {
    let (_site, server) = serve(&["--set", "tls.min_version=1.3"]);
    let at = server.at("https");
    for extensions in [&[][..], &[GROUPS], &[GROUPS, SIGNATURES]] {
        let hello = hello(0x0303, extensions);
        assert_eq!(told(at, &clear(HANDSHAKE, &hello)), Some(Alert::ProtocolVersion));
    }
}

#[test]
fn f25_alerts_before_anything_is_encrypted() {
    let (_site, server) = serve(&[]);
    let at = server.at("https");
    let hello = hello(0x0303, &[GROUPS]);
    let part = clear(HANDSHAKE, &hello[..20]);
    let then = |record: &[u8]| [&part, record].concat();
    // Longer than a record may be, by one byte: an extension pads the ClientHello.
    let long = |len: usize| clear(HANDSHAKE, &[&[1, 0, 0x50, 0][..], &vec![0; len - 4]].concat());
    for (what, bytes, alert) in [
        ("a record of 2^14 + 1", long(16_385), Alert::RecordOverflow),
        ("of 2^14 + 2048", long(16_384 + 2048), Alert::RecordOverflow),
        ("an empty handshake record", clear(HANDSHAKE, b""), Alert::UnexpectedMessage),
        ("an empty alert", clear(ALERT, b""), Alert::UnexpectedMessage),
        ("an unknown type", then(&clear(24, b"beat")), Alert::UnexpectedMessage),
        ("one of no bytes yet", then(&[99]), Alert::UnexpectedMessage),
        ("data in a message", then(&clear(DATA, b"data")), Alert::UnexpectedMessage),
        ("an alert in a message", then(&clear(ALERT, &[1, 90])), Alert::UnexpectedMessage),
        ("a change in a message", then(&clear(CHANGE, &[1])), Alert::UnexpectedMessage),
        ("a message of 64 KiB", clear(HANDSHAKE, &[1, 1, 0, 0, 3, 3]), Alert::DecodeError),
        ("a message of 16 MiB", clear(HANDSHAKE, &[1, 255, 255, 255]), Alert::DecodeError),
        (
            "a message in too many pieces",
            [clear(HANDSHAKE, &[1, 0, 0xff, 0xf0]), clear(HANDSHAKE, &[0]).repeat(22_000)].concat(),
            Alert::DecodeError,
        ),
    ] {
        assert_eq!(told(at, &bytes), Some(alert), "{what}");
    }
    // What is just short enough is waited for.
    let mut stream = tls::tcp(at);
    stream.write_all(&long(16_384)).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    assert!(stream.read(&mut [0]).is_err(), "no alert");
}

/// A case: what it is, the records of it by the handshake keys, the alert.
type Case = (&'static str, fn(&Held, &mut Keys) -> Vec<u8>, Alert);

const BEFORE_FINISHED: &[Case] = &[
    ("an empty alert", |_, keys| keys.seal(ALERT, b"", 0), Alert::UnexpectedMessage),
    ("a padded empty alert", |_, keys| keys.seal(ALERT, b"", 40), Alert::UnexpectedMessage),
    ("an empty handshake record", |_, keys| keys.seal(HANDSHAKE, b"", 0), Alert::UnexpectedMessage),
    ("a padded one", |_, keys| keys.seal(HANDSHAKE, b"", 300), Alert::UnexpectedMessage),
    ("padding only", |_, keys| keys.seal_raw(&[0; 10]), Alert::UnexpectedMessage),
    ("nothing inside", |_, keys| keys.seal_raw(&[]), Alert::UnexpectedMessage),
    ("an unknown inner type", |_, keys| keys.seal(99, b"x", 0), Alert::UnexpectedMessage),
    ("an encrypted change", |_, keys| keys.seal(CHANGE, &[1], 0), Alert::UnexpectedMessage),
    ("data", |_, keys| keys.seal(DATA, b"x", 0), Alert::UnexpectedMessage),
    ("an unknown outer type", |_, _| clear(24, &[1, 0, 0]), Alert::UnexpectedMessage),
    (
        "a handshake record in clear",
        |held, _| clear(HANDSHAKE, &held.finished()),
        Alert::UnexpectedMessage,
    ),
    ("a change of 2", |_, _| clear(CHANGE, &[2]), Alert::UnexpectedMessage),
    ("changes without end", |_, _| clear(CHANGE, &[1]).repeat(40), Alert::UnexpectedMessage),
    (
        "data inside Finished",
        |held, keys| {
            [keys.seal(HANDSHAKE, &held.finished()[..9], 0), keys.seal(DATA, b"x", 0)].concat()
        },
        Alert::UnexpectedMessage,
    ),
    (
        "a change inside Finished",
        |held, keys| [keys.seal(HANDSHAKE, &held.finished()[..9], 0), clear(CHANGE, &[1])].concat(),
        Alert::UnexpectedMessage,
    ),
    (
        "an empty record inside Finished",
        |held, keys| {
            [keys.seal(HANDSHAKE, &held.finished()[..9], 0), keys.seal(HANDSHAKE, b"", 9)].concat()
        },
        Alert::UnexpectedMessage,
    ),
    (
        "more behind Finished",
        |held, keys| keys.seal(HANDSHAKE, &[&held.finished()[..], &[24]].concat(), 0),
        Alert::UnexpectedMessage,
    ),
    ("a record of 2^14 + 257", |_, _| clear(DATA, &[0; 16_641]), Alert::RecordOverflow),
    ("a change of 2^14 + 1", |_, _| clear(CHANGE, &[1; 16_385]), Alert::RecordOverflow),
    ("2^14 + 1 inside", |_, keys| keys.seal(HANDSHAKE, &[20; 16_385], 0), Alert::RecordOverflow),
    (
        "a Finished of 64 KiB",
        |_, keys| keys.seal(HANDSHAKE, &[20, 1, 0, 0, 1], 0),
        Alert::DecodeError,
    ),
    ("a record that is not sealed", |_, _| clear(DATA, &[0; 60]), Alert::BadRecordMac),
    (
        "a wrong Finished",
        |held, keys| {
            let mut finished = held.finished();
            finished[9] ^= 1;
            keys.seal(HANDSHAKE, &finished, 0)
        },
        Alert::DecryptError,
    ),
];

#[test]
fn f25_alerts_between_server_hello_and_finished() {
    let (_site, server) = serve(&[]);
    let at = server.at("https");
    for alpn in [&b"h2"[..], b"http/1.1"] {
        for (what, make, alert) in BEFORE_FINISHED {
            let held = Held::new(at, alpn);
            let bytes = make(&held, &mut held.handshake_keys());
            let told = held.told(&bytes);
            assert_eq!(told, [(ALERT, vec![2, u8::from(*alert)])], "{what}");
        }
    }
    // Three are no more than two.
    let mut held = Held::new(at, b"http/1.1");
    let mut data = Keys::new(&held.secrets.get("CLIENT_TRAFFIC_SECRET_0"));
    let mut flight = clear(CHANGE, &[1]).repeat(3);
    flight.extend(held.handshake_keys().seal(HANDSHAKE, &held.finished(), 100));
    let ask = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    held.flight = [flight, data.seal(DATA, ask, 0)].concat();
    let flight = std::mem::take(&mut held.flight);
    let told = held.told(&flight);
    let said: Vec<u8> =
        told.iter().filter(|(kind, _)| *kind == DATA).flat_map(|(_, c)| c.clone()).collect();
    assert!(said.starts_with(b"HTTP/1.1 200") && said.ends_with(b"home"), "{told:?}");
}

const AFTER_FINISHED: &[Case] = &[
    ("an empty alert", |_, keys| keys.seal(ALERT, b"", 0), Alert::UnexpectedMessage),
    ("a padded one", |_, keys| keys.seal(ALERT, b"", 30), Alert::UnexpectedMessage),
    ("an alert of one byte", |_, keys| keys.seal(ALERT, &[1], 0), Alert::DecodeError),
    ("an empty handshake record", |_, keys| keys.seal(HANDSHAKE, b"", 7), Alert::UnexpectedMessage),
    (
        "a KeyUpdate of no bytes",
        |_, keys| keys.seal(HANDSHAKE, &[24, 0, 0, 0], 0),
        Alert::DecodeError,
    ),
    ("one of two", |_, keys| keys.seal(HANDSHAKE, &[24, 0, 0, 2, 0, 0], 0), Alert::DecodeError),
    ("a long one, cut", |_, keys| keys.seal(HANDSHAKE, &[24, 1], 0), Alert::DecodeError),
    (
        "one of no bytes, cut",
        |_, keys| [keys.seal(HANDSHAKE, &[24], 0), keys.seal(HANDSHAKE, &[0, 0, 0], 5)].concat(),
        Alert::DecodeError,
    ),
];

#[test]
fn f25_alerts_behind_the_handshake() {
    let (_site, server) = serve(&[]);
    let at = server.at("https");
    for alpn in [&b"h2"[..], b"http/1.1"] {
        for (what, make, alert) in AFTER_FINISHED {
            let mut held = Held::new(at, alpn);
            let mut keys = Keys::new(&held.secrets.get("CLIENT_TRAFFIC_SECRET_0"));
            held.tcp.write_all(&held.flight).unwrap();
            // The tickets: the handshake is complete.
            assert!(held.tcp.peek(&mut [0]).unwrap() > 0);
            let bytes = make(&held, &mut keys);
            let told = held.told(&bytes);
            assert_eq!(told.last(), Some(&(ALERT, vec![2, u8::from(*alert)])), "{what}");
        }
    }
}

/// In TLS 1.2 nothing is encrypted until the client's change_cipher_spec; where a session is
/// resumed our side is, and only rustls has the keys.
#[test]
fn f25_alerts_in_handshakes_of_tls_1_2() {
    let (_site, server) = serve(&[]);
    let at = server.at("https");
    let config = tls::config_of(&[&rustls::version::TLS12], &[b"h2"]);
    for (what, bytes, alert) in [
        ("an unknown type", clear(24, &[1]), Alert::UnexpectedMessage),
        ("a record of 2^14 + 1", clear(HANDSHAKE, &[16; 16_385]), Alert::RecordOverflow),
        ("an empty handshake record", clear(HANDSHAKE, &[]), Alert::UnexpectedMessage),
        ("an early change", clear(CHANGE, &[1]), Alert::UnexpectedMessage),
    ] {
        let mut held = Held::with(at, config.clone());
        held.tcp.write_all(&bytes).unwrap();
        let mut said = Vec::new();
        let _ = held.tcp.read_to_end(&mut said);
        assert_eq!(said, [ALERT, 3, 3, 0, 2, 2, alert.into()], "{what}");
    }
    // A session to resume.
    let config = Arc::new(config);
    let mut first = tls::try_connect(at, Arc::clone(&config), "localhost").unwrap();
    first.conn.send_close_notify();
    let _ = first.flush();
    let _ = first.read_to_end(&mut Vec::new());
    for bytes in [clear(24, &[1]), clear(HANDSHAKE, &[]), clear(HANDSHAKE, &[16; 16_385])] {
        let mut held = Held::with(at, (*config).clone());
        assert_eq!(held.rustls.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
        held.tcp.write_all(&bytes).unwrap();
        let mut said = Vec::new();
        let _ = held.tcp.read_to_end(&mut said);
        held.rustls.read_tls(&mut &said[..]).unwrap();
        let told = held.rustls.process_new_packets().unwrap_err();
        assert_eq!(told, rustls::Error::AlertReceived(Alert::UnexpectedMessage));
    }
}
