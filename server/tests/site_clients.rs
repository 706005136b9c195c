//! Rows L4, 102: `client_certificate` of a site, over every protocol: who shows none of the site's
//! authority gets nothing of it, by no other connection and by no ticket either.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use harness::TempDir;
use harness::h2::{H2, PREFACE, settings};
use harness::process::{Process, RINGWAY};
use harness::quic::{self, H3};
use harness::site::{self, clear, folder, h1_text, serve};
use harness::tls;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, SupportedProtocolVersion};

const SITES: &str = r#"
[[site]]
hosts = ["a.test", "*.w.test"]
root = "a"
cleartext = "serve"
client_certificate = { ca = "one.pem" }
[[site]]
hosts = ["b.test"]
root = "b"
cleartext = "serve"
client_certificate = { ca = "two.pem", paths = ["/in/*"] }
[[site]]
root = "c"
cleartext = "serve"
"#;
const FILES: &[(&str, &str)] = &[
    ("a/index.html", "site a"),
    ("b/index.html", "site b"),
    ("b/in/x", "inside"),
    ("c/index.html", "the rest"),
];

/// Writes an authority to `NAME.pem`, and what it signs to `NAME-client.pem` and `NAME-client.key`.
fn authority(dir: &TempDir, name: &str) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let issuer = params.self_signed(&key).unwrap();
    dir.write(&format!("{name}.pem"), issuer.pem().as_bytes());
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let signed = params.signed_by(&key, &issuer).unwrap();
    dir.write(&format!("{name}-client.pem"), signed.pem().as_bytes());
    dir.write(&format!("{name}-client.key"), key.serialize_pem().as_bytes());
}

fn start() -> (TempDir, Process) {
    let dir = folder(SITES, FILES);
    authority(&dir, "one");
    authority(&dir, "two");
    let server = serve(&dir);
    (dir, server)
}

/// A client that shows the certificate of this name, or none.
struct Client<'a> {
    dir: &'a TempDir,
    server: &'a Process,
    shows: Option<&'static str>,
    /// The server name of its handshakes.
    name: &'static str,
}

impl Client<'_> {
    fn file(&self, kind: &str) -> Option<PathBuf> {
        let name = self.shows?;
        Some(self.dir.path().join(format!("{name}-client.{kind}")))
    }

    fn config(&self, alpn: &[&[u8]], versions: Versions) -> Arc<ClientConfig> {
        let mut config = tls::config_of(versions, alpn);
        if let (Some(chain), Some(key)) = (self.file("pem"), self.file("key")) {
            let chain = CertificateDer::pem_file_iter(chain).unwrap().map(Result::unwrap);
            let key = PrivateKeyDer::from_pem_file(key).unwrap();
            let provider = rustls::crypto::aws_lc_rs::default_provider();
            let signer = provider.key_provider.load_private_key(key).unwrap();
            let pair = CertifiedKey::new(chain.collect(), signer);
            config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(pair));
        }
        Arc::new(config)
    }

    fn quic(&self) -> ringway_quic::quiche::Config {
        let mut config = quic::config();
        if let (Some(chain), Some(key)) = (self.file("pem"), self.file("key")) {
            config.load_cert_chain_from_pem_file(chain.to_str().unwrap()).unwrap();
            config.load_priv_key_from_pem_file(key.to_str().unwrap()).unwrap();
        }
        config
    }

    /// What a GET gets, over TLS 1.3 and 1.2, HTTP/2 and HTTP/3; 0 where the connection ends
    /// instead.
    fn get(&self, host: &str, path: &str) -> [u16; 4] {
        let fields =
            [(":method", "GET"), (":scheme", "https"), (":path", path), (":authority", host)];
        let by = |versions| {
            let config = self.config(&[b"http/1.1"], versions);
            self.h1(config, host, path).map_or(0, |(status, _)| status)
        };
        [by(ONLY_13), by(ONLY_12), self.h2(&fields), self.h3(&fields, None).0]
    }

    /// The status, and whether the session was resumed.
    fn h1(
        &self,
        config: Arc<ClientConfig>,
        host: &str,
        path: &str,
    ) -> std::io::Result<(u16, bool)> {
        let mut stream = tls::try_connect(self.server.at("https"), config, self.name)?;
        stream.write_all(h1_text("GET", path, host, &[]).as_bytes())?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        let resumed = stream.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        Ok((said.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0), resumed))
    }

    fn h2(&self, fields: &[(&str, &str)]) -> u16 {
        let config = self.config(&[b"h2"], rustls::DEFAULT_VERSIONS);
        let begin = || {
            let mut stream = tls::try_connect(self.server.at("https"), config, self.name)?;
            stream.write_all(&[PREFACE, &settings(&[])].concat())?;
            // A client of TLS 1.3 is told only after its own last message.
            let mut first = [0; 9];
            stream.read_exact(&mut first)?;
            std::io::Result::Ok((stream, first))
        };
        let Ok((stream, first)) = begin() else { return 0 };
        let mut client = H2::over(Box::new(stream));
        client.put_back(&first);
        site::h2(client, fields, b"").status
    }

    /// The status, and whether the session was resumed.
    fn h3(&self, fields: &[(&str, &str)], session: Option<&[u8]>) -> (u16, bool) {
        let mut client = H3::named(self.name, self.server.at("h3"), &mut self.quic(), session);
        let is_over = |this: &H3| this.conn.is_closed() || this.conn.is_draining();
        client.run("the handshake", |this| this.conn.is_established() || is_over(this));
        if is_over(&client) {
            return (0, false);
        }
        client.begin();
        let resumed = client.conn.is_resumed();
        let id = client.id();
        client.raw(id, &quic::headers(fields), true);
        (client.answer(id).status(), resumed)
    }
}

/// An alert over TCP; HTTP/3 tells it by the status.
const ALERT: [u16; 4] = [0, 0, 0, 403];

const ONLY_12: Versions = &[&rustls::version::TLS12];
const ONLY_13: Versions = &[&rustls::version::TLS13];

type Versions = &'static [&'static SupportedProtocolVersion];

/// Who shows a certificate of the site's authority is answered; all others get an alert, 403, or
/// 421 where their handshake was for another host.
#[test]
fn l4_a13_clients_show_a_certificate() {
    let (dir, server) = start();
    let (one, two) = (Some("one"), Some("two"));
    for (name, shows, host, path, statuses) in [
        ("a.test", one, "a.test", "/", [200; 4]),
        ("a.test", None, "a.test", "/", ALERT),
        ("a.test", two, "a.test", "/", ALERT),
        ("x.w.test", one, "x.w.test", "/", [200; 4]),
        ("x.w.test", None, "x.w.test", "/", ALERT),
        ("b.test", two, "b.test", "/in/x", [200; 4]),
        ("b.test", two, "b.test", "/", [200; 4]),
        ("b.test", None, "b.test", "/", [200; 4]),
        ("b.test", None, "b.test", "/in/x", [403; 4]),
        ("b.test", None, "b.test", "//%69n/x", [403; 4]),
        ("b.test", one, "b.test", "/in/x", ALERT),
        ("b.test", one, "b.test", "/", [0, 0, 0, 200]),
        ("localhost", None, "localhost", "/", [200; 4]),
        ("localhost", one, "localhost", "/", [200; 4]),
        // One certificate of the server covers all, but not what a client was asked for.
        ("localhost", None, "a.test", "/", [421; 4]),
        ("localhost", one, "a.test", "/", [421; 4]),
        ("b.test", two, "a.test", "/", [421; 4]),
        ("b.test", None, "x.w.test", "/", [421; 4]),
        ("a.test", one, "b.test", "/in/x", [421; 4]),
        ("a.test", one, "localhost", "/", [200; 4]),
        ("a.test", one, "x.w.test", "/", [200; 4]),
    ] {
        let client = Client { dir: &dir, server: &server, shows, name };
        let got = client.get(host, path);
        assert_eq!(got, statuses, "a connection for {name} with {shows:?}: {host}{path}");
    }
    // Without TLS nobody shows one.
    assert_eq!(clear(&server, "a.test", "/").status, 403);
    assert_eq!(clear(&server, "b.test", "/in/x").status, 403);
    assert_eq!(clear(&server, "b.test", "/").status, 200);
}

/// No ticket stands for a certificate: handshakes that ask for one give none and take none.
#[test]
fn row_102_no_ticket_stands_for_a_certificate() {
    let (dir, server) = start();
    let client = |name, shows| Client { dir: &dir, server: &server, shows, name };
    let fields =
        |host| [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", host)];
    for versions in [ONLY_13, ONLY_12] {
        for (name, shows, resumes) in
            [("localhost", None, true), ("a.test", Some("one"), false), ("b.test", None, false)]
        {
            let client = client(name, shows);
            let config = client.config(&[b"http/1.1"], versions);
            let ask = || client.h1(Arc::clone(&config), name, "/").unwrap();
            assert_eq!((ask(), ask()), ((200, false), (200, resumes)), "{name}");
        }
    }
    // A ticket for another name, offered with this one.
    let open = client("localhost", None);
    let mut first = H3::named("localhost", server.at("h3"), &mut open.quic(), None);
    first.run("the handshake", |this| this.conn.is_established());
    let session = first.session();
    assert_eq!(open.h3(&fields("localhost"), Some(&session)), (200, true));
    assert_eq!(client("a.test", None).h3(&fields("a.test"), Some(&session)), (403, false));
    assert_eq!(client("a.test", Some("one")).h3(&fields("a.test"), Some(&session)), (200, false));
    let asked = client("a.test", Some("one"));
    let mut first = H3::named("a.test", server.at("h3"), &mut asked.quic(), None);
    first.run("the handshake", |this| this.conn.is_established());
    first.begin();
    first.get("/");
    assert!(first.conn.session().is_none(), "it gives none");
}

/// `misdirected = "serve"` switches off what certificates cover, and not who has to show one.
#[test]
fn row_102_misdirected_requests_pass_no_authority() {
    let dir = folder(&format!("{SITES}\n[limits]\nsites = 10\n"), FILES);
    authority(&dir, "one");
    authority(&dir, "two");
    let path = dir.path().join("ringway.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}misdirected = \"serve\"\n")).unwrap();
    let server = serve(&dir);
    let client = Client { dir: &dir, server: &server, shows: None, name: "localhost" };
    assert_eq!(client.get("a.test", "/"), [421; 4]);
    assert_eq!(client.get("unknown.example", "/"), [200; 4]);
}

/// `check` finds what start would refuse.
#[test]
fn l7_mistakes_of_client_authorities() {
    for (site, head, wanted) in [
        ("client_certificate = { ca = \"none.pem\" }", "", "none.pem cannot be opened"),
        ("client_certificate = { ca = \"a\" }", "", "a is a directory"),
        ("client_certificate = { ca = \"all.key\" }", "", "all.key: holds no certificate"),
        ("client_certificate = { paths = [] }", "", "`client_certificate`: `ca` is missing"),
        (
            "client_certificate = { ca = \"all.pem\" }",
            "tls.client_ca = \"all.pem\"\n",
            "`tls.client_ca` asks the clients of all hosts: a site cannot ask for others",
        ),
    ] {
        let text = format!("{head}[[site]]\nhosts = [\"a.test\"]\nroot = \"a\"\n{site}\n");
        let dir = folder("", FILES);
        let head = "https = \"127.0.0.1:0\"\ntls.cert = \"all.pem\"\ntls.key = \"all.key\"\n";
        dir.write("ringway.toml", format!("{head}{text}").as_bytes());
        let mut command = Command::new(RINGWAY.unwrap());
        command.args(["check", "-c"]).arg(dir.path().join("ringway.toml"));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr)
            .replace(&format!("{}/", dir.path().display()), "");
        assert!(!output.status.success() && said.contains(wanted), "{said}{wanted}");
    }
    let dir = folder("[[site]]\nroot = \"a\"\nclient_certificate = { ca = \"all.pem\" }\n", FILES);
    let mut command = Command::new(RINGWAY.unwrap());
    command.args(["check", "-c"]).arg(dir.path().join("ringway.toml"));
    let said = String::from_utf8_lossy(&command.output().unwrap().stderr).into_owned();
    assert!(said.contains("and this site has no `hosts`"), "{said}");
}
