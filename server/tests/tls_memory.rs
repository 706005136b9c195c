//! F26: which secrets of a TLS connection remain in the memory of a real server.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#[path = "harness/records.rs"]
mod records;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use harness::process::Process;
use harness::{TempDir, tls};
use records::{Secrets, expand};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ConnectionTrafficSecrets, SupportedCipherSuite};

/// How many copies of a connection's first secret, key and vector, of each side, rustls 0.23.46
/// leaves at most in memory that it has freed, where nobody else can overwrite them. In TLS 1.3 its
/// states move from box to box without their former place being cleared, and its `Iv` is not
/// cleared at all. In TLS 1.2 it derives the key block twice into a `Vec` that is not cleared, once
/// for its own record layer and once to hand the keys out. aws-lc 0.47 leaves none.
const THEIRS_13: [(&str, usize); 3] = [("secret", 1), ("key", 0), ("iv", 1)];
const THEIRS_12: [(&str, usize); 2] = [("key", 2), ("iv", 3)];

/// Something that must not be found, and what it is.
type Needle = (String, Vec<u8>);

/// How often each is in the writable memory of a process.
fn found(server: &Process, needles: &[Needle]) -> Vec<(String, usize)> {
    let memory = File::open(format!("/proc/{}/mem", server.pid())).unwrap();
    let pages = File::open(format!("/proc/{}/pagemap", server.pid())).unwrap();
    let mut counts = vec![0; needles.len()];
    for line in fs::read_to_string(format!("/proc/{}/maps", server.pid())).unwrap().lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        if !rest.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
        for run in resident(&pages, from, to) {
            let mut bytes = vec![0; (run.1 - run.0) as usize];
            if memory.read_exact_at(&mut bytes, run.0).is_err() {
                continue; // what the kernel maps, of io_uring say, is not read this way
            }
            for ((_, needle), count) in needles.iter().zip(&mut counts) {
                *count += memchr::memmem::find_iter(&bytes, needle).count();
            }
        }
    }
    needles.iter().map(|(name, _)| name.clone()).zip(counts).collect()
}

/// The parts of a mapping that have pages.
fn resident(pages: &File, from: u64, to: u64) -> Vec<(u64, u64)> {
    const PAGE: u64 = 4096;
    let mut entries = vec![0; ((to - from) / PAGE * 8) as usize];
    pages.read_exact_at(&mut entries, from / PAGE * 8).unwrap();
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (at, entry) in (from..to).step_by(PAGE as usize).zip(entries.chunks_exact(8)) {
        // Bit 63: present, bit 62: swapped.
        if u64::from_le_bytes(entry.try_into().unwrap()) >> 62 == 0 {
            continue;
        }
        match runs.last_mut() {
            Some((_, end)) if *end == at => *end += PAGE,
            _ => runs.push((at, at + PAGE)),
        }
    }
    runs
}

fn left(counts: &[(String, usize)]) -> Vec<&(String, usize)> {
    counts.iter().filter(|(_, count)| *count > 0).collect()
}

/// What was rustls' as well is not left but where rustls left it.
fn only_theirs(counts: &[(String, usize)], theirs: &[(&str, usize)]) {
    for (name, count) in counts {
        let (_, most) = theirs.iter().find(|(what, _)| name.contains(what)).unwrap();
        assert!(count <= most, "{name} is there {count} times: {counts:?}");
    }
}

fn serve() -> (TempDir, Process) {
    let site = TempDir::with(&[("index.html", b"home")]);
    let server = Process::serve(site.path(), &["--https", "127.0.0.1:0"]);
    server.wait_for("https");
    (site, server)
}

struct Client {
    stream: tls::Stream,
    secrets: Arc<Secrets>,
}

impl Client {
    fn new(at: SocketAddr, suite: SupportedCipherSuite) -> Self {
        let provider =
            CryptoProvider { cipher_suites: vec![suite], ..aws_lc_rs::default_provider() };
        let mut config = tls::config_with(provider, &[suite.version()], &[b"http/1.1"]);
        let secrets = Arc::new(Secrets::default());
        config.key_log = Arc::clone(&secrets) as _;
        config.enable_secret_extraction = true;
        let stream = tls::try_connect(at, Arc::new(config), "localhost").unwrap();
        Self { stream, secrets }
    }

    fn ask(&mut self) {
        self.stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"home") {
            let mut piece = [0; 1000];
            let len = self.stream.read(&mut piece).unwrap();
            assert!(len > 0);
            answer.extend_from_slice(&piece[..len]);
        }
    }

    /// The end of the connection by both sides' close_notify.
    fn close(mut self) {
        self.stream.conn.send_close_notify();
        let _ = self.stream.flush();
        let _ = self.stream.read_to_end(&mut Vec::new());
    }

    /// Keys and vectors of a TLS 1.2 connection, which has no other secrets of ours.
    fn extracted(self) -> Vec<Needle> {
        let (conn, mut sock) = self.stream.into_parts();
        let secrets = conn.dangerous_extract_secrets().unwrap();
        let _ = sock.flush();
        [("server", secrets.rx.1), ("client", secrets.tx.1)]
            .into_iter()
            .flat_map(|(side, secrets)| {
                let (key, iv) = match secrets {
                    ConnectionTrafficSecrets::Aes128Gcm { key, iv }
                    | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
                    | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
                    _ => panic!("a suite of ours"),
                };
                let named = |what: &str| format!("{side} {what}");
                [(named("key"), key.as_ref().to_vec()), (named("iv"), iv.as_ref().to_vec())]
            })
            .collect()
    }
}

/// The secrets, keys and vectors of both directions before and after so many key updates.
fn needles(secrets: &Secrets, suite: SupportedCipherSuite, updates: usize) -> Vec<Vec<Needle>> {
    let key_len = if format!("{:?}", suite.suite()).contains("AES_128") { 16 } else { 32 };
    let mut sides =
        ["CLIENT", "SERVER"].map(|side| (side, secrets.get(&format!("{side}_TRAFFIC_SECRET_0"))));
    (0..=updates)
        .map(|update| {
            let mut needles = Vec::new();
            for (side, secret) in &mut sides {
                let named = |what: &str| format!("{side} {what} {update}");
                needles.push((named("secret"), secret.clone()));
                needles.push((named("key"), expand(secret, "key", key_len)));
                needles.push((named("iv"), expand(secret, "iv", 12)));
                *secret = expand(secret, "traffic upd", secret.len());
            }
            needles
        })
        .collect()
}

#[test]
fn f26_no_traffic_secret_outlives_its_use() {
    let (_site, server) = serve();
    let at = server.at("https");
    let suites = aws_lc_rs::ALL_CIPHER_SUITES;
    for &suite in suites.iter().filter(|suite| suite.tls13().is_some()) {
        let mut client = Client::new(at, suite);
        let known = needles(&client.secrets, suite, 3);
        client.ask();
        let open = found(&server, &known[0]);
        let has = |what: &str| open.iter().any(|(name, count)| name == what && *count > 0);
        assert!(has("SERVER secret 0") && has("CLIENT secret 0"), "the scan finds: {open:?}");
        for _ in 0..3 {
            client.stream.conn.refresh_traffic_keys().unwrap();
            client.ask();
        }
        // What the present ones were derived from is gone; rustls never saw those behind the first.
        let used = found(&server, &known[1..3].concat());
        assert!(left(&used).is_empty(), "{suite:?}, key updates: {used:?}");
        let open = found(&server, &known[3]);
        assert!(!left(&open).is_empty(), "the scan finds: {open:?}");
        client.close();
        Client::new(at, suite).ask();
        let counts = found(&server, &known.concat());
        println!("{:?}, closed: {:?}", suite.suite(), left(&counts));
        let (first, later) = counts.split_at(known[0].len());
        only_theirs(first, &THEIRS_13);
        assert!(left(later).is_empty(), "{suite:?}: {counts:?}");
    }
}

#[test]
fn f26_nor_do_the_keys_of_tls_1_2() {
    let (_site, server) = serve();
    let at = server.at("https");
    let suites = aws_lc_rs::ALL_CIPHER_SUITES.iter().filter(|suite| suite.tls13().is_none());
    // The certificate is an ECDSA one.
    for &suite in suites.filter(|suite| format!("{:?}", suite.suite()).contains("ECDSA")) {
        let mut client = Client::new(at, suite);
        client.ask();
        // The connection ends with this.
        let needles = client.extracted();
        Client::new(at, suite).ask();
        Client::new(at, suite).ask();
        let counts = found(&server, &needles);
        println!("{:?}, closed: {:?}", suite.suite(), left(&counts));
        only_theirs(&counts, &THEIRS_12);
    }
}

/// A handshake that fails has its secrets too.
#[test]
fn f26_nor_do_those_of_a_handshake_that_fails() {
    let (_site, server) = serve();
    let at = server.at("https");
    let held = records::Held::new(at, b"h2");
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384;
    let known = needles(&held.secrets, suite, 0);
    let told = held.told(&records::clear(24, b"x"));
    assert_eq!(told.len(), 1, "{told:?}");
    Client::new(at, suite).ask();
    let counts = found(&server, &known[0]);
    println!("failed: {:?}", left(&counts));
    only_theirs(&counts, &THEIRS_13);
}
