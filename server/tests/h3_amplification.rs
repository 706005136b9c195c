//! F1 and row 97: to an unvalidated address the server sends at most three times what it received,
//! however long it waits (RFC 9000 section 8.1). Real sockets and a real silence; the crate `quic`
//! tests the following minutes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use harness::TempDir;
use harness::process::{Process, RINGWAY};
use harness::quic::{self as h3, H3};

/// Longer than the first three probes.
const SILENCE: Duration = Duration::from_secs(9);

/// A client that has sent something, and reads nothing until the silence is over.
struct Case {
    name: &'static str,
    client: H3,
    udp: UdpSocket,
    server: SocketAddr,
    sent: usize,
    came: usize,
}

impl Case {
    /// Sends the first datagrams of its flight, each changed by `change`.
    fn new(name: &'static str, server: &Process, most: usize, change: fn(&mut Vec<u8>)) -> Self {
        let mut config = h3::config();
        if name == "a refusal" {
            config.set_application_protos(&[b"none of ours"]).unwrap();
        }
        let server = server.at("h3");
        let mut client = H3::new(server, &mut config, None);
        let udp = client.socket();
        let (mut out, mut sent, mut count) = ([0; 1500], 0, 0);
        while let Ok((len, _)) = client.conn.send(&mut out) {
            count += 1;
            if count <= most {
                let mut datagram = out[..len].to_vec();
                change(&mut datagram);
                sent += udp.send_to(&datagram, server).unwrap();
            }
        }
        Self { name, client, udp, server, sent, came: 0 }
    }

    /// Loses what has come.
    fn hear(&mut self) {
        let mut buffer = [0; 65_536];
        self.udp.set_nonblocking(true).unwrap();
        while let Ok(len) = self.udp.recv(&mut buffer) {
            self.came += len;
        }
        let (name, sent, came) = (self.name, self.sent, self.came);
        assert!(came <= 3 * sent, "{name}: {came} octets for {sent}");
    }

    /// A little more, that is no packet.
    fn rustle(&mut self) {
        self.sent += self.udp.send_to(&[0xc0; 30], self.server).unwrap();
    }
}

fn keep(_: &mut Vec<u8>) {}

/// A server whose certificates are 12 KB.
fn long_chain(dir: &TempDir) -> Process {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let names: Vec<String> = (0..100).map(|n| format!("{n:0>50}.example")).collect();
    let fat = rcgen::generate_simple_self_signed(names).unwrap();
    let count = 12_000 / fat.cert.der().len() + 1;
    dir.write("cert.pem", (made.cert.pem() + &fat.cert.pem().repeat(count)).as_bytes());
    dir.write("key.pem", made.signing_key.serialize_pem().as_bytes());
    let path = |name: &str| dir.path().join(name).into_os_string();
    let mut command = Command::new(RINGWAY.unwrap());
    command.arg("serve").arg(path("site")).args(["--workers", "1", "--https", "127.0.0.1:0"]);
    command.args(["--set", "limits.handshake_timeout=60s"]);
    command.arg("--cert").arg(path("cert.pem")).arg("--key").arg(path("key.pem"));
    let server = Process::start(&mut command);
    server.wait_for("h3");
    server
}

#[test]
fn f1_row_97_one_datagram_and_a_silence() {
    let dir = TempDir::with(&[("site/index.html", b"home"), ("site/hello", b"hello")]);
    let chain = long_chain(&dir);
    let plain = Process::app_on("http,https,h3", "handshake_timeout=60000");
    let retry = Process::app_on("http,https,h3", "handshake_timeout=60000,h3_retry_from=0");
    let other_version: fn(&mut Vec<u8>) = |datagram| datagram[1..5].fill(0x1a);
    let mut cases = [
        Case::new("a whole flight", &plain, usize::MAX, keep),
        Case::new("a first datagram", &plain, 1, keep),
        Case::new("a whole flight, a long chain", &chain, usize::MAX, keep),
        Case::new("a first datagram, a long chain", &chain, 1, keep),
        Case::new("a refusal", &plain, usize::MAX, keep),
        Case::new("a Retry", &retry, usize::MAX, keep),
        Case::new("another version", &plain, usize::MAX, other_version),
    ];
    let cpu = plain.cpu_ms();
    let begun = Instant::now();
    while begun.elapsed() < SILENCE {
        std::thread::sleep(Duration::from_millis(20));
        cases.iter_mut().for_each(Case::hear);
    }
    let cpu = plain.cpu_ms() - cpu;
    assert!(cpu < 1000, "a blocked server is at rest: {cpu} ms");
    for case in &cases {
        println!("{}: {} octets for {}", case.name, case.came, case.sent);
        assert!(case.came > 0, "{} is answered", case.name);
    }
    // Each octet that comes counts, and no more than three go for it.
    for _ in 0..100 {
        cases.iter_mut().for_each(Case::rustle);
        std::thread::sleep(Duration::from_millis(2));
        cases.iter_mut().for_each(Case::hear);
    }
    // Those that were given something to go on with are heard again, and served.
    for case in &mut cases {
        if ["a refusal", "a Retry", "another version"].contains(&case.name) {
            continue;
        }
        let client = &mut case.client;
        client.run(case.name, |client| client.conn.is_established());
        client.begin();
        assert_eq!(client.get("/hello").text(), "hello", "{}", case.name);
    }
}
