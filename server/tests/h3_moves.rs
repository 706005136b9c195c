//! QUIC connections on several workers: tickets resume at every worker and after a reload (row D5
//! of the feature list), copies come to other workers (row 78 of the attack list). For clients that
//! move see `h3.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::collections::HashSet;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use harness::process::{Process, RINGWAY};
use harness::quic::{self as h3, H3};
use harness::{TempDir, eventually};

/// D5: a ticket resumes at whichever worker it comes to, and so after a reload of the certificate.
#[test]
fn d5_tickets_resume_at_every_worker_and_after_a_reload() {
    let dir = TempDir::with(&[("site/index.html", b"home")]);
    let certify = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        dir.write("key.pem", made.signing_key.serialize_pem().as_bytes());
        dir.write("cert.pem", made.cert.pem().as_bytes());
        made.cert.der().to_vec()
    };
    let first = certify();
    let path = |name: &str| dir.path().join(name).into_os_string();
    let mut command = Command::new(RINGWAY.unwrap());
    command.arg("serve").arg(path("site")).args(["--workers", "4", "--https", "127.0.0.1:0"]);
    command.arg("--cert").arg(path("cert.pem")).arg("--key").arg(path("key.pem"));
    let mut server = Process::start(&mut command);
    server.wait_for("h3");
    let at = server.address("h3").unwrap();
    let mut full = H3::connect(at);
    assert_eq!(full.conn.peer_cert().unwrap(), first);
    let session = full.session();
    // Ports are dealt to workers by chance: of 12, all at one is a matter of one in four million.
    let resume = || {
        for _ in 0..12 {
            let mut client = H3::new(at, &mut h3::config(), Some(&session));
            client.flush();
            client.begin();
            let id = client.ask("GET", "/", &[], b"");
            assert!(client.conn.is_in_early_data());
            assert_eq!(client.answer(id).text(), "home");
            assert!(client.conn.is_resumed());
            client.close();
        }
    };
    resume();
    let second = certify();
    server.signal("HUP");
    eventually("the new certificate", || {
        H3::connect(at).conn.peer_cert().is_some_and(|shown| shown == second)
    });
    resume();
}

/// Row 78: a copy of a first flight has no effect at any worker.
#[test]
fn row_78_copies_at_other_workers() {
    let mut server = Process::app_on("http,https,h3", "workers=4,handshake_timeout=300");
    server.wait_for("h3");
    let at = server.address("h3").unwrap();
    let session = H3::connect(at).session();
    let mut client = H3::new(at, &mut h3::config(), Some(&session));
    client.sent = Some(Vec::new());
    client.flush();
    client.begin();
    let get = client.ask("GET", "/count", &[], b"");
    client.flush();
    let flight = client.sent.clone().unwrap();
    assert_eq!(client.answer(get).text(), "1");
    client.close();
    let mut ports = HashSet::new();
    for _ in 0..6 {
        let thief = UdpSocket::bind("127.0.0.1:0").unwrap();
        thief.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        ports.insert(thief.local_addr().unwrap().port());
        eventually("the copy is answered, once its connection is forgotten", || {
            for datagram in &flight {
                thief.send_to(datagram, at).unwrap();
            }
            thief.recv_from(&mut [0; 2000]).is_ok()
        });
    }
    assert_eq!(ports.len(), 6);
    assert_eq!(server.client().get("/counted").text(), "1", "no copy has an effect");
}
