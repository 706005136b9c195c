//! TLS as seen by OpenSSL's `s_client`: versions, suites, protocols, resumption, key updates.
//! Without `openssl` the tests say so and pass.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use harness::process::Process;
use harness::{TempDir, eventually};

/// A site with one page, served over TLS by two workers.
struct Site {
    process: Process,
    dir: TempDir,
}

impl Site {
    /// Nothing where `openssl` is missing.
    fn new() -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("skipped: no `openssl` here");
            return None;
        }
        let dir = TempDir::with(&[("site/index.html", b"hello over TLS")]);
        let root = dir.path().join("site");
        let process = Process::serve(&root, &["--https", "127.0.0.1:0", "--workers", "2"]);
        eventually("listening https", || process.output().contains("listening https "));
        Some(Self { process, dir })
    }

    fn connect(&self, options: &[&str]) -> Client {
        let output = self.process.output();
        let (_, port) = output.split_once("listening https 127.0.0.1:").unwrap();
        let address = format!("127.0.0.1:{}", port.lines().next().unwrap());
        Client::start(&address, options)
    }

    /// Output of `s_client` for a connection that requests the page and ends.
    fn get(&self, options: &[&str]) -> String {
        let mut client = self.connect(options);
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        client.end()
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }
}

/// A running `openssl s_client`.
struct Client {
    child: Child,
    output: Arc<Mutex<String>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Client {
    fn start(address: &str, options: &[&str]) -> Self {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", address, "-servername", "localhost"]).args(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let readers = vec![
            gather(child.stdout.take().unwrap(), &output),
            gather(child.stderr.take().unwrap(), &output),
        ];
        Self { child, output, readers }
    }

    fn send(&mut self, text: &str) {
        // A client that was refused may be gone already: what it said tells.
        let _ = self.child.stdin.as_mut().unwrap().write_all(text.as_bytes());
    }

    fn says(&self, what: &str) {
        eventually(what, || self.output.lock().unwrap().contains(what));
    }

    /// All it said until the connection ended.
    fn end(mut self) -> String {
        eventually("s_client ends", || self.child.try_wait().unwrap().is_some());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        std::mem::take(&mut *self.output.lock().unwrap())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gather(
    mut pipe: impl Read + Send + 'static,
    into: &Arc<Mutex<String>>,
) -> thread::JoinHandle<()> {
    let into = Arc::clone(into);
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(len @ 1..) = pipe.read(&mut bytes) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..len]));
        }
    })
}

#[test]
fn e6_versions_and_suites() {
    let Some(site) = Site::new() else { return };
    for (options, suite) in [
        (["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"], "TLS_AES_128_GCM_SHA256"),
        (["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"], "TLS_AES_256_GCM_SHA384"),
        (
            ["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
            "TLS_CHACHA20_POLY1305_SHA256",
        ),
        (["-tls1_2", "-cipher", "ECDHE+AES128"], "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (["-tls1_2", "-cipher", "ECDHE+AESGCM"], "ECDHE-ECDSA-AES256-GCM-SHA384"),
        (["-tls1_2", "-cipher", "ECDHE+CHACHA20"], "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ] {
        let said = site.get(&options);
        assert!(said.contains(&format!("Cipher is {suite}\n")), "{options:?}: {said}");
        assert!(said.contains("Server Temp Key: X25519"), "forward secrecy: {said}");
        assert!(said.contains("200 OK") && said.contains("hello over TLS"), "{said}");
    }
    // Neither an old version, nor a key exchange without forward secrecy, nor CBC (row 56).
    for options in [
        ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        ["-tls1_2", "-cipher", "kRSA"],
        ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"],
        ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA"],
    ] {
        let said = site.get(&options);
        assert!(said.contains("Cipher is (NONE)"), "{options:?}: {said}");
    }
}

#[test]
fn c30_protocols_are_negotiated_by_alpn() {
    let Some(site) = Site::new() else { return };
    let client = site.connect(&["-alpn", "http/1.1,h2"]);
    client.says("ALPN protocol: h2");
    let said = site.get(&["-alpn", "http/1.1"]);
    assert!(said.contains("ALPN protocol: http/1.1") && said.contains("hello over TLS"), "{said}");
    let said = site.get(&[]);
    assert!(said.contains("No ALPN negotiated") && said.contains("hello over TLS"), "{said}");
    // Row 57.
    let said = site.get(&["-alpn", "ftp"]);
    assert!(said.contains("alert number 120"), "{said}");
}

#[test]
fn e7_tickets_resume_on_every_worker() {
    let Some(site) = Site::new() else { return };
    for version in ["-tls1_3", "-tls1_2"] {
        let ticket = site.file(version);
        let said = site.get(&[version, "-sess_out", &ticket]);
        assert!(said.contains("New, TLS"), "{said}");
        // More connections than one of two workers is likely to get.
        for _ in 0..6 {
            let said = site.get(&[version, "-sess_in", &ticket]);
            assert!(said.contains("Reused, TLS") && said.contains("hello over TLS"), "{said}");
        }
    }
}

#[test]
fn row_82_key_updates_and_renegotiation() {
    let Some(site) = Site::new() else { return };
    let mut client = site.connect(&["-tls1_3"]);
    client.says("Verify return code");
    // "k" and "K" at the beginning of a read are commands of s_client's: a key update, and one
    // that asks for ours.
    for command in ["k\n", "K\n"] {
        client.send(command);
        client.says("KEYUPDATE");
        client.output.lock().unwrap().clear();
    }
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(client.end().contains("hello over TLS"));

    let mut client = site.connect(&["-tls1_2"]);
    client.says("Verify return code");
    client.send("R\n");
    let said = client.end();
    assert!(said.contains("RENEGOTIATING") && said.contains("no renegotiation"), "{said}");
    // Others are served as before.
    assert!(site.get(&[]).contains("hello over TLS"));
}
