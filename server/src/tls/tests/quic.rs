//! BoringSSL's side against quiche's client, in memory.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use rcgen::{KeyPair, PKCS_ED25519};
use ringway_quic::boring::ssl::{SslContextBuilder, SslMethod, SslSignatureAlgorithm};
use ringway_quic::cid::Origin;
use ringway_quic::quiche::{self, Config, Connection, ConnectionId, RecvInfo};
use ringway_quic::{Endpoint, Keys, Policy, Received, Settings};

use super::files::{Directory, options};
use crate::tls::{Change, Options, ROTATION, Tls, boring};

const CLIENT: &str = "127.0.0.1:1";
const SERVER: &str = "127.0.0.1:2";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// What a client may do in these tests: it trusts all certificates.
fn client(tls: SslContextBuilder) -> Config {
    let mut config = Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, tls).unwrap();
    config.set_application_protos(&[b"h3"]).unwrap();
    config.verify_peer(false);
    config.set_initial_max_data(100_000);
    config.set_initial_max_stream_data_uni(10_000);
    config.set_initial_max_streams_uni(3);
    config.enable_early_data();
    config
}

fn plain() -> SslContextBuilder {
    SslContextBuilder::new(SslMethod::tls()).unwrap()
}

/// A client and the endpoint of one worker.
struct Pair {
    client: Connection,
    server: Endpoint<()>,
    /// The client's datagrams so far.
    sent: Vec<Vec<u8>>,
}

impl Pair {
    fn new(tls: &Tls, config: &mut Config, name: Option<&str>, session: Option<&[u8]>) -> Self {
        let scid = ConnectionId::from_ref(&[7; 16]);
        let (local, peer) = (address(CLIENT), address(SERVER));
        let mut client = quiche::connect(name, &scid, local, peer, config).unwrap();
        if let Some(session) = session {
            client.set_session(session).unwrap();
        }
        Self { client, server: endpoint(tls), sent: Vec::new() }
    }

    /// The same, with the handshake behind it and the tickets arrived.
    fn established(tls: &Tls, name: Option<&str>, session: Option<&[u8]>) -> Self {
        let mut pair = Self::new(tls, &mut client(plain()), name, session);
        pair.settle();
        assert!(pair.client.is_established(), "{:?}", pair.client.peer_error());
        pair
    }

    /// Lets both sides say what they have to say.
    fn settle(&mut self) {
        let (mut packet, mut out) = (vec![0; 1500], vec![0; 65_536]);
        loop {
            let mut moved = false;
            while let Ok((len, info)) = self.client.send(&mut packet) {
                self.sent.push(packet[..len].to_vec());
                let now = Instant::now();
                self.server.receive(&mut packet[..len], info.from, info.to, now, &mut out);
                moved = true;
            }
            while let Some((_, transmit)) = self.server.transmit(&mut out, Instant::now()) {
                for at in transmit.datagrams() {
                    let info = RecvInfo { from: transmit.from, to: transmit.to };
                    // An error shows in the client's state.
                    let _ = self.client.recv(&mut out[at], info);
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn session(&self) -> Vec<u8> {
        self.client.session().unwrap().to_vec()
    }
}

fn endpoint(tls: &Tls) -> Endpoint<()> {
    let config = Settings::default().config(boring::context(tls).unwrap()).unwrap();
    let policy = Policy::new(Origin { worker: 0, generation: 1 });
    Endpoint::new(policy, config, &Keys::derive(&tls.tickets().endpoint()), Instant::now())
}

fn with_key_file(dir: &Directory) -> Tls {
    Tls::new(Options { ticket_key: Some(dir.path("ticket.key")), ..Options::default() }).unwrap()
}

/// The names of the certificate that a client gets which asks for `name`.
fn served(tls: &Tls, name: Option<&str>) -> Vec<String> {
    let pair = Pair::established(tls, name, None);
    let all = tls.certificates();
    let shown = pair.client.peer_cert().unwrap();
    all.iter().find(|own| *own.chain()[0] == *shown).unwrap().names().to_vec()
}

#[test]
fn a_handshake_is_post_quantum_and_speaks_h3() {
    let tls = Tls::self_signed().unwrap();
    let mut pair = Pair::established(&tls, Some("localhost"), None);
    assert_eq!(pair.client.application_proto(), b"h3");
    let ssl: &mut ringway_quic::boring::ssl::SslRef = pair.client.as_mut();
    assert_eq!(ssl.curve_name(), Some("X25519MLKEM768"));
    assert_eq!(ssl.version_str(), "TLSv1.3");
    assert!(!pair.client.is_resumed());
}

#[test]
fn the_chain_the_key_of_either_kind_and_the_staple_are_served() {
    let dir = Directory::new("quic-kinds");
    let ecdsa = dir.pair("ecdsa", &["localhost"]);
    // With its public half (RFC 5958), as rcgen writes it.
    let mut eddsa =
        dir.pair_of("eddsa", &["localhost"], KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let chain =
        fs::read_to_string(&eddsa.chain).unwrap() + &fs::read_to_string(&ecdsa.chain).unwrap();
    eddsa.chain = dir.write("chain.pem", &chain);
    eddsa.ocsp = Some(dir.write("staple", "a staple"));
    let tls = Tls::new(options(&[&ecdsa, &eddsa])).unwrap();
    for (scheme, at, length, staple) in [
        (SslSignatureAlgorithm::ECDSA_SECP256R1_SHA256, 0, 1, None),
        (SslSignatureAlgorithm::ED25519, 1, 2, Some(&b"a staple"[..])),
    ] {
        let mut context = plain();
        context.set_verify_algorithm_prefs(&[scheme]).unwrap();
        context.enable_ocsp_stapling();
        let mut pair = Pair::new(&tls, &mut client(context), Some("localhost"), None);
        pair.settle();
        assert!(pair.client.is_established());
        let shown = pair.client.peer_cert_chain().unwrap();
        assert_eq!(shown.len(), length);
        assert_eq!(shown[0], &*tls.certificates()[at].chain()[0]);
        let ssl: &mut ringway_quic::boring::ssl::SslRef = pair.client.as_mut();
        assert_eq!(ssl.ocsp_status(), staple);
    }
}

#[test]
fn the_server_name_chooses_the_certificate() {
    let dir = Directory::new("quic-names");
    let [one, two] = [dir.pair("one", &["one.example"]), dir.pair("two", &["two.example"])];
    let tls = Tls::new(options(&[&one, &two])).unwrap();
    assert_eq!(served(&tls, Some("TWO.example")), ["two.example"]);
    assert_eq!(served(&tls, Some("one.example")), ["one.example"]);
    assert_eq!(served(&tls, Some("three.example")), ["one.example"]);
    assert_eq!(served(&tls, None), ["one.example"]);
    assert!(tls.names(Some("two.example"), false).covers("two.example"));
    assert!(!tls.names(Some("two.example"), false).covers("one.example"));
}

/// D5, E7: contexts of two workers, of two processes with one file and of an epoch later resume
/// each other's sessions; a stranger's, another name's and an old one's make a full handshake.
#[test]
fn tickets_resume_where_the_secret_is_shared() {
    let dir = Directory::new("quic-resume");
    let tls = with_key_file(&dir);
    let session = Pair::established(&tls, Some("localhost"), None).session();
    let resumes = |tls: &Tls, name: &str| {
        let pair = Pair::established(tls, Some(name), Some(&session));
        assert!(pair.client.session().is_some(), "a new ticket came");
        pair.client.is_resumed()
    };
    assert!(resumes(&tls, "localhost"));
    assert!(resumes(&with_key_file(&dir), "localhost"));
    assert!(!resumes(&tls, "127.0.0.1"), "tickets are bound to the server name");
    assert!(!resumes(&Tls::self_signed().unwrap(), "localhost"));
    let later = |epochs: u64| SystemTime::now() + Duration::from_secs(epochs * ROTATION);
    assert!(matches!(tls.poll_changes(later(1))[..], [Change::TicketsRotated]));
    assert!(resumes(&tls, "localhost"), "the previous key opens it");
    assert!(matches!(tls.poll_changes(later(2))[..], [Change::TicketsRotated]));
    assert!(!resumes(&tls, "localhost"), "two epochs are too long ago");
}

/// What would show if the ticket callback left a context as it was: tickets in the clear, two of
/// one IV, or none that fails when a bit of it changes.
#[test]
fn tickets_are_sealed() {
    let tls = Tls::self_signed().unwrap();
    let [key, _] = tls.tickets().keys("quic").unwrap();
    let mut ivs = HashSet::new();
    for _ in 0..8 {
        let session = Pair::established(&tls, Some("localhost"), None).session();
        let at = session.windows(16).position(|part| *part == key[..16]).unwrap();
        assert!(ivs.insert(session[at + 16..][..16].to_vec()));
        // The end of the ticket's name, of its IV, and the cipher text; what follows the ticket is
        // the client's.
        for offset in [15, 31, 32, 90] {
            let mut broken = session.clone();
            broken[at + offset] ^= 1;
            let pair = Pair::established(&tls, Some("localhost"), Some(&broken));
            assert!(!pair.client.is_resumed(), "bit at {offset}");
        }
        // A ticket holds the certificate chain's hash or nothing of it, never the name in clear.
        let ticket = &session[at..][..90];
        assert!(!ticket.windows(9).any(|part| part == b"localhost"));
        assert!(Pair::established(&tls, Some("localhost"), Some(&session)).client.is_resumed());
    }
}

/// D5, row 78: early data is taken once; the same datagrams at another worker are a replay.
#[test]
fn early_data_is_taken_once() {
    let tls = Tls::self_signed().unwrap();
    let session = Pair::established(&tls, Some("localhost"), None).session();
    let mut config = client(plain());
    let mut pair = Pair::new(&tls, &mut config, Some("localhost"), Some(&session));
    let mut packet = vec![0; 1500];
    let mut flight = Vec::new();
    while let Ok((len, _)) = pair.client.send(&mut packet) {
        flight.push(packet[..len].to_vec());
    }
    assert!(pair.client.is_in_early_data());
    pair.client.stream_send(0, b"early", true).unwrap();
    while let Ok((len, _)) = pair.client.send(&mut packet) {
        flight.push(packet[..len].to_vec());
    }
    let feed = |server: &mut Endpoint<()>| {
        let mut found = None;
        let mut out = vec![0; 65_536];
        for datagram in &flight {
            let (from, to) = (address(CLIENT), address(SERVER));
            let mut datagram = datagram.clone();
            match server.receive(&mut datagram, from, to, Instant::now(), &mut out) {
                Received::Accepted(id) | Received::Connection(id) => found = Some(id),
                other => panic!("{other:?}"),
            }
        }
        let (conn, ()) = server.get(found.unwrap()).unwrap();
        assert!(conn.is_early(0), "early data was taken");
        conn.is_replay()
    };
    assert!(!feed(&mut pair.server));
    assert!(feed(&mut endpoint(&tls)));
}

/// DESIGN rule 12: a swap is of both stacks or of neither, and a context made before it serves it.
#[test]
fn certificates_change_under_a_running_endpoint() {
    let dir = Directory::new("quic-reload");
    let first = dir.pair("one", &["localhost"]);
    let tls = Tls::new(options(&[&first])).unwrap();
    let mut server = endpoint(&tls);
    let session = Pair::established(&tls, Some("localhost"), None).session();
    let mut shown = |expected: &Tls, resumed: bool| {
        let session = resumed.then_some(&session[..]);
        let mut pair = Pair::new(&tls, &mut client(plain()), Some("localhost"), session);
        std::mem::swap(&mut pair.server, &mut server);
        pair.settle();
        std::mem::swap(&mut pair.server, &mut server);
        assert_eq!(pair.client.is_resumed(), resumed);
        *pair.client.peer_cert().unwrap() == *expected.certificates()[0].chain()[0]
    };
    assert!(shown(&tls, false));
    let old = tls.certificates()[0].chain()[0].clone();
    let second = dir.pair("two", &["localhost", "two.example"]);
    tls.replace(vec![second], Vec::new()).unwrap();
    assert_ne!(tls.certificates()[0].chain()[0], old);
    assert!(shown(&tls, false), "the new one, without a new context");
    shown(&tls, true);
    let broken = dir.write("broken.pem", "nothing");
    tls.replace(vec![crate::tls::CertificateFiles::new(broken, first.key)], Vec::new())
        .unwrap_err();
    assert!(shown(&tls, false), "still the second");
}

#[test]
fn secrets_go_to_the_key_log() {
    let dir = Directory::new("quic-keylog");
    let key_log = dir.path("keys.log");
    let tls = Tls::new(Options { key_log: Some(key_log.clone()), ..Options::default() }).unwrap();
    Pair::established(&tls, Some("localhost"), None);
    let text = fs::read_to_string(key_log).unwrap();
    for label in [
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
    ] {
        let line = text.lines().find(|line| line.starts_with(label)).unwrap();
        let lens: Vec<usize> = line.split(' ').skip(1).map(str::len).collect();
        assert_eq!(lens[0], 64, "{line}");
        assert!(lens[1] == 64 || lens[1] == 96, "{line}");
    }
}

/// The endpoint's secret outlives rotations and comes back with the file.
#[test]
fn the_endpoints_secret_stays() {
    let dir = Directory::new("quic-endpoint");
    let tls = with_key_file(&dir);
    let secret = tls.tickets().endpoint();
    tls.poll_changes(SystemTime::now() + Duration::from_secs(3 * ROTATION));
    assert_eq!(tls.tickets().endpoint(), secret);
    assert_eq!(with_key_file(&dir).tickets().endpoint(), secret);
    assert_ne!(Tls::self_signed().unwrap().tickets().endpoint(), secret);
    let path = dir.path("ticket.key");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("endpoint ", "endpoint x")).unwrap();
    let options = Options { ticket_key: Some(path), ..Options::default() };
    assert!(Tls::new(options).unwrap_err().reason().contains("line 4"));
}
