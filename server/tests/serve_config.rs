//! The effects of the configuration file, as seen by clients: `[tls]`, `[[hints]]`, `[[push]]`,
//! `trace`, `limits.connections_per_ip`, and what SIGHUP applies of a changed file.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use harness::client::Client;
use harness::h2::*;
use harness::process::{Process, RINGWAY};
use harness::{TempDir, eventually, missing, tls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::HandshakeKind;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};

/// A site with a page, its style, and `ringway.toml`, which listens for http and https.
fn site(text: &str) -> TempDir {
    let dir =
        TempDir::with(&[("site/index.html", b"the page"), ("site/style.css", b"p { color: red }")]);
    configure(&dir, text);
    dir
}

fn configure(dir: &TempDir, text: &str) {
    let start = "http = \"127.0.0.1:0\"\nhttps = \"127.0.0.1:0\"\nworkers = 1\n\
                 http3.enabled = false\nfiles.root = \"site\"\n";
    dir.write("ringway.toml", format!("{start}{text}").as_bytes());
}

fn serve(dir: &TempDir) -> Process {
    let mut command = Command::new(RINGWAY.unwrap());
    command.args(["serve", "-c"]).arg(dir.path().join("ringway.toml"));
    // A system call beyond those that the sandbox has would end it.
    let server = Process::start(command.env("RINGWAY_LIFECYCLE_SANDBOX", "kill"));
    server.wait_for("http,https");
    server
}

/// Writes `NAME.pem` and `NAME.key` for a host.
fn certificate(dir: &TempDir, name: &str, host: &str) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([host.to_owned()]).unwrap();
    dir.write(&format!("{name}.pem"), params.self_signed(&key).unwrap().pem().as_bytes());
    dir.write(&format!("{name}.key"), key.serialize_pem().as_bytes());
}

fn chain(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect()
}

/// The certificate shown to a client that asks for `name`.
fn shown(at: SocketAddr, name: &'static str) -> Vec<CertificateDer<'static>> {
    let stream = tls::connect(at, &[b"http/1.1"], name);
    stream.conn.peer_certificates().unwrap().to_vec()
}

/// The answer to GET on a connection that closes after it.
fn answer(mut stream: impl Read + Write, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn certificates_are_chosen_by_name_and_taken_anew_at_hup() {
    let more = "[[tls.certificates]]\ncert = \"b.pem\"\nkey = \"b.key\"\n";
    let first = "[tls]\ncert = \"a.pem\"\nkey = \"a.key\"\n";
    let dir = site(&format!("{first}{more}"));
    for (name, host) in [("a", "a.test"), ("b", "b.test"), ("c", "c.test")] {
        certificate(&dir, name, host);
    }
    let file = |name: &str| chain(&dir.path().join(name));
    let server = serve(&dir);
    let at = server.at("https");
    for (host, name) in [("a.test", "a.pem"), ("b.test", "b.pem"), ("c.test", "a.pem")] {
        assert_eq!(shown(at, host), file(name), "{host}");
    }
    // HUP reads the file again: one certificate more, and a key that counts from the next start on.
    let third = "[[tls.certificates]]\ncert = \"c.pem\"\nkey = \"c.key\"\n";
    configure(&dir, &format!("limits.tags = 5\n{first}{more}{third}"));
    server.signal("HUP");
    eventually("the third certificate is served", || shown(at, "c.test") == file("c.pem"));
    let restart = "`limits.tags` has changed: that takes effect at the next start";
    eventually(restart, || server.output().contains(restart));
    let said = server.output();
    assert!(!said.contains("`tls."), "{said}");
    // A mistake: nothing of it is taken.
    configure(&dir, &format!("{first}certificate = 1\n"));
    server.signal("HUP");
    eventually("the mistake is said", || server.output().contains("the former stays in use"));
    let line = format!("ringway.toml:{}:1: unknown key `certificate`", 5 + 4);
    eventually(&line, || server.output().contains(&line));
    assert_eq!(shown(at, "c.test"), file("c.pem"));
}

/// How a client's handshake came about, which then gets the page.
fn visit(server: &Process, config: &Arc<rustls::ClientConfig>) -> HandshakeKind {
    let at = server.at("https");
    let mut stream = tls::try_connect(at, Arc::clone(config), "localhost").unwrap();
    let answer = answer(&mut stream, "/");
    assert!(answer.ends_with("the page"), "{answer}");
    stream.conn.handshake_kind().unwrap()
}

/// E7: tickets outlive a reload, also one that brings another certificate.
#[test]
fn e7_tickets_survive_a_reload() {
    let dir = site("[tls]\ncert = \"a.pem\"\nkey = \"a.key\"\n");
    certificate(&dir, "a", "localhost");
    let server = serve(&dir);
    let at = server.at("https");
    for version in [&TLS13, &TLS12] {
        let config = Arc::new(tls::config_of(&[version], &[b"http/1.1"]));
        assert_ne!(visit(&server, &config), HandshakeKind::Resumed);
        assert_eq!(visit(&server, &config), HandshakeKind::Resumed);
        let before = shown(at, "localhost");
        certificate(&dir, "a", "localhost");
        server.signal("HUP");
        eventually("another certificate is shown", || shown(at, "localhost") != before);
        assert_eq!(visit(&server, &config), HandshakeKind::Resumed, "{version:?}");
    }
}

/// E7: with a key file, tickets outlive the process.
#[test]
fn e7_tickets_survive_a_restart() {
    let dir = site("tls.ticket_key = \"tickets\"\n");
    let config = Arc::new(tls::config(&[b"http/1.1"]));
    let kind = |server: &Process| visit(server, &config);
    let mut server = serve(&dir);
    assert_ne!(kind(&server), HandshakeKind::Resumed);
    server.signal("TERM");
    assert!(server.wait().success());
    assert_eq!(kind(&serve(&dir)), HandshakeKind::Resumed);
    // Without the file nobody knows the ticket any more.
    std::fs::remove_file(dir.path().join("tickets")).unwrap();
    assert_ne!(kind(&serve(&dir)), HandshakeKind::Resumed);
}

/// E6: TLS 1.2 may be refused.
#[test]
fn e6_the_oldest_version_is_configured() {
    let old = || Arc::new(tls::config_of(&[&TLS12], &[b"http/1.1"]));
    let dir = site("");
    let server = serve(&dir);
    assert!(tls::try_connect(server.at("https"), old(), "localhost").is_ok());
    configure(&dir, "tls.min_version = \"1.3\"\n");
    let server = serve(&dir);
    let at = server.at("https");
    let refused = tls::try_connect(at, old(), "localhost").unwrap_err();
    assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");
    assert!(answer(tls::connect(at, &[b"http/1.1"], "localhost"), "/").ends_with("the page"));
}

/// B9: the policy goes with answers over TLS, of every kind and protocol, and with no others.
#[test]
fn b9_hsts_over_tls_alone() {
    const POLICY: &str = "max-age=31536000; includeSubDomains";
    let dir = site(&format!("tls.hsts = \"{POLICY}\"\n"));
    let server = serve(&dir);
    let at = server.at("https");
    for (path, status) in [("/", 200), ("/nowhere", 404), ("/", 200)] {
        let secure = answer(tls::connect(at, &[b"http/1.1"], "localhost"), path);
        let line = format!("\r\nstrict-transport-security: {POLICY}\r\n");
        assert!(secure.starts_with(&format!("HTTP/1.1 {status} ")), "{secure}");
        assert_eq!(secure.matches(&line).count(), 1, "{secure}");
        let plain = server.client().get(path);
        assert_eq!((plain.status, plain.field("strict-transport-security")), (status, None));
        let mut client = H2::tls(at);
        assert_eq!(client.get(path).field("strict-transport-security"), Some(POLICY));
    }
    // What the server refuses by itself carries it as well (RFC 6797 section 7.1).
    let long = "x".repeat(9000);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n".to_owned(), 421),
        (format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"), 414),
    ] {
        let mut stream = tls::connect(at, &[b"http/1.1"], "localhost");
        stream.write_all(request.as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
        let line = format!("\r\nstrict-transport-security: {POLICY}\r\n");
        assert_eq!(said.matches(&line).count(), 1, "{said}");
    }
    let mut client = H2::tls(at);
    for (more, status) in [(vec![("host", "other.test")], 421), (vec![("a", "b"); 101], 431)] {
        let pseudo = [(":method", "GET"), (":scheme", "https"), (":path", "/")];
        let stream = client.id();
        let head = block(&[&pseudo[..], &more].concat());
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &head));
        let answer = client.answer(stream);
        assert_eq!(
            (answer.status(), answer.field("strict-transport-security")),
            (status, Some(POLICY))
        );
    }
}

/// E8: what the file holds is stapled, and OpenSSL takes it for a response.
#[test]
fn e8_ocsp_response_is_stapled() {
    let dir = site("[tls]\ncert = \"c.pem\"\nkey = \"c.key\"\nocsp = \"r.der\"\n");
    let openssl = |line: &str| {
        let mut command = Command::new("openssl");
        command.current_dir(dir.path()).args(line.split(' ')).stdin(std::process::Stdio::null());
        let ran = command.output();
        ran.map(|ran| String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned())
    };
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
               -subj /CN=localhost -set_serial 1 -keyout c.key -out c.pem";
    if openssl(new).is_err() {
        return missing("openssl");
    }
    dir.write("index", b"V\t400101000000Z\t\t01\tunknown\t/CN=localhost\n");
    openssl("ocsp -issuer c.pem -cert c.pem -reqout q.der -no_nonce").unwrap();
    let answer =
        "ocsp -index index -CA c.pem -rsigner c.pem -rkey c.key -reqin q.der -respout r.der";
    let said = openssl(answer).unwrap();
    assert!(dir.path().join("r.der").exists(), "{said}");
    let server = serve(&dir);
    let at = server.at("https");
    let said = openssl(&format!("s_client -connect {at} -servername localhost -status")).unwrap();
    assert!(said.contains("OCSP Response Status: successful"), "{said}");
    assert!(said.contains("Cert Status: good"), "{said}");
}

/// A client's configuration with a certificate that `ca` has signed.
fn with_certificate(ca: &Issuer<'_, KeyPair>, versions: Versions) -> Arc<rustls::ClientConfig> {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["a client".to_owned()]).unwrap();
    let signed = params.signed_by(&key, ca).unwrap();
    let mut config = tls::config_of(versions, &[b"http/1.1"]);
    let der = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let signer = provider.key_provider.load_private_key(der).unwrap();
    let pair = rustls::sign::CertifiedKey::new(vec![signed.der().clone()], signer);
    config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(pair));
    Arc::new(config)
}

const ONLY_12: Versions = &[&TLS12];

type Versions = &'static [&'static rustls::SupportedProtocolVersion];

/// An authority, and its certificate.
fn authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

/// Row 80: where clients have to show a certificate, those without one, those with another's, and
/// those with a ticket from before that was asked for get nothing.
#[test]
fn row_80_clients_show_a_certificate_and_no_ticket_stands_for_it() {
    let dir = site("tls.ticket_key = \"tickets\"\n");
    let (ours, pem) = authority("ours");
    let (theirs, _) = authority("theirs");
    dir.write("ca.pem", pem.as_bytes());
    let ask = |at: SocketAddr, config: &Arc<rustls::ClientConfig>| {
        let mut stream = tls::try_connect(at, Arc::clone(config), "localhost")?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok((stream.conn.handshake_kind().unwrap(), answer))
    };
    for versions in [rustls::DEFAULT_VERSIONS, ONLY_12] {
        configure(&dir, "tls.ticket_key = \"tickets\"\n");
        let nobody = Arc::new(tls::config_of(versions, &[b"http/1.1"]));
        let open = serve(&dir);
        let at = open.at("https");
        assert!(ask(at, &nobody).is_ok());
        assert_eq!(ask(at, &nobody).unwrap().0, HandshakeKind::Resumed);
        drop(open);
        configure(&dir, "tls.ticket_key = \"tickets\"\ntls.client_ca = \"ca.pem\"\n");
        let server = serve(&dir);
        let at = server.at("https");
        let refused = ask(at, &nobody).unwrap_err().to_string();
        assert!(
            refused.contains("CertificateRequired") || refused.contains("Handshake"),
            "{refused}"
        );
        assert!(ask(at, &with_certificate(&theirs, versions)).is_err());
        let known = with_certificate(&ours, versions);
        for _ in 0..2 {
            let (kind, answer) = ask(at, &known).unwrap();
            assert!(answer.ends_with("the page"), "{answer}");
            assert_ne!(kind, HandshakeKind::Resumed, "the certificate is looked at each time");
        }
    }
}

const LINK: &str = "</style.css>; rel=preload; as=style";

/// C29: hints by configuration: 103 ahead of a page that is read from disk, the field with it, and
/// no 103 to HTTP/1.0.
#[test]
fn c29_hints_by_configuration() {
    let dir = site(&format!("[[hints]]\npath = \"/\"\nlinks = [\"{LINK}\"]\n"));
    let server = serve(&dir);
    // Not read before: the answer has to wait for the disk.
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let early = client.any_response("GET");
    assert_eq!((early.status, early.field("link")), (103, Some(LINK)));
    let page = client.any_response("GET");
    assert_eq!((page.status, page.field("link"), page.text()), (200, Some(LINK), "the page"));
    assert_eq!(client.get("/style.css").field("link"), None);

    let server = serve(&dir);
    let mut client = H2::tls(server.at("https"));
    let page = client.get("/");
    let statuses: Vec<_> = page.heads.iter().map(|head| head[0].1.as_str()).collect();
    assert_eq!(statuses, ["103", "200"]);
    assert!(page.heads.iter().all(|head| head.contains(&("link".into(), LINK.into()))));

    let server = serve(&dir);
    let mut client = server.client();
    client.send("GET / HTTP/1.0\r\nHost: t\r\n\r\n");
    let page = client.any_response("GET");
    assert_eq!((page.status, page.field("link")), (200, Some(LINK)));
    let head = server.client().request("HEAD", "/", "", b"");
    assert_eq!((head.status, head.field("link")), (200, None));
}

/// C27: pushes by configuration, for clients that allow them.
#[test]
fn c27_pushes_by_configuration() {
    let dir = site("http2.pushes = 10\n[[push]]\npath = \"/\"\npush = [\"/style.css\"]\n");
    let server = serve(&dir);
    let mut client = H2::tls(server.at("https"));
    assert_eq!(client.get("/").text(), "the page");
    let style = client.answer(2);
    let promised = style.promised.clone().unwrap();
    assert!(promised.contains(&(":path".into(), "/style.css".into())), "{promised:?}");
    assert_eq!((style.status(), style.text()), (200, "p { color: red }"));
    let mut client = H2::with(server.http(), &[(2, 0)]);
    assert_eq!(client.get("/").text(), "the page");
    client.round_trip();
    assert!(client.streams.keys().all(|id| id % 2 == 1));
}

/// Row 28: an address has so many connections and no more, and others are counted.
#[test]
fn row_28_connections_of_one_address_are_bounded() {
    let dir = site("metrics = \"127.0.0.1:0\"\nlimits.connections_per_ip = 8\n");
    let server = serve(&dir);
    server.wait_for("metrics");
    let mut kept: Vec<Client> = (0..8).map(|_| server.client()).collect();
    for client in &mut kept {
        assert_eq!(client.get("/").status, 200);
    }
    let mut ninth = TcpStream::connect(server.http()).unwrap();
    ninth.set_read_timeout(Some(harness::PATIENCE)).unwrap();
    let _ = ninth.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    assert!(matches!(ninth.read(&mut [0; 64]), Ok(0) | Err(_)), "closed without an answer");
    // Metrics are another server's; the count stands there, and TLS counts like the rest.
    let metrics = server.at("metrics");
    eventually("the refusal is counted", || {
        let text = Client::connect(metrics).get_local("/metrics").text().to_owned();
        text.contains("\nringway_connections_refused_total{kind=\"per_ip\"} 1\n")
    });
    let at = server.at("https");
    let config = || Arc::new(tls::config(&[b"http/1.1"]));
    assert!(tls::try_connect(at, config(), "localhost").is_err());
    kept.pop();
    eventually("one that left makes room", || tls::try_connect(at, config(), "localhost").is_ok());
    assert_eq!(kept[0].get("/").status, 200);
}

/// Row 83: reloads that were not fit for use are counted.
#[test]
fn row_83_bad_reloads_are_counted() {
    let dir = site("metrics = \"127.0.0.1:0\"\n[tls]\ncert = \"a.pem\"\nkey = \"a.key\"\n");
    certificate(&dir, "a", "a.test");
    let server = serve(&dir);
    server.wait_for("metrics");
    let at = server.at("metrics");
    let count = |result: &str, n: u64| {
        let line = format!("\nringway_reload_{result}_total {n}\n");
        eventually(&line, || Client::connect(at).get_local("/metrics").text().contains(&line));
    };
    count("failure", 0);
    server.signal("HUP");
    count("success", 1);
    dir.write("a.key", b"half");
    server.signal("HUP");
    eventually("it is said", || server.output().contains("certificates not loaded"));
    let text = Client::connect(at).get_local("/metrics");
    let line = text.text().lines().find(|line| line.starts_with("ringway_reload_failure_total"));
    let failures: u64 = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(failures >= 1, "{failures}");
    assert!(text.text().contains("\nringway_cert_not_after_seconds{name=\"a.test\"} "));
}

/// Row C35: heads, frames and records of a connection, readable, and no secrets among them.
#[test]
fn c35_what_is_said_is_traced() {
    let dir = site("trace = [\"h1\", \"h2\", \"tls\"]\n");
    let server = serve(&dir);
    let secret = "Authorization: Basic c2VjcmV0\r\n";
    assert_eq!(server.client().request("GET", "/style.css", secret, b"").status, 200);
    let mut client = H2::tls(server.at("https"));
    let id = client.ask("GET", "/", &[("cookie", "id=c2VjcmV0")], b"");
    assert_eq!(client.answer(id).text(), "the page");
    client.round_trip();
    for line in [
        " < h1 GET /style.css HTTP/1.1",
        " < h1 Authorization: (14 bytes)",
        " > h1 HTTP/1.1 200 OK",
        " > h1 content-type: text/css",
        " < tls handshake ",
        " > tls established TLSv1.3 Some(TLS13_",
        "name=localhost alpn=h2 full",
        " < tls application_data ",
        " > tls application_data ",
        " > h2 SETTINGS stream=0 length=",
        " < h2 HEADERS stream=1 length=",
        " < h2   :path: /",
        " < h2   cookie: (11 bytes)",
        " > h2 HEADERS stream=1 length=",
        " > h2   :status: 200",
        " > h2 DATA stream=1 length=8 END_STREAM(0x1)",
        " < h2 PING stream=0 length=8 together",
        " > h2 PING stream=0 length=8 ACK(0x1) together",
    ] {
        eventually(line, || server.output().contains(line));
    }
    assert!(!server.output().contains("c2VjcmV0"), "{}", server.output());
}

/// Row C24: the round trip that PING measures is among the metrics.
#[test]
fn c24_round_trips_are_measured() {
    let dir = site("metrics = \"127.0.0.1:0\"\nhttp2.ping_interval = \"20ms\"\n");
    let server = serve(&dir);
    server.wait_for("metrics");
    let metrics = server.at("metrics");
    let figure = |name: &str| -> u64 {
        let text = Client::connect(metrics).get_local("/metrics");
        let line = text.text().lines().find(|line| line.starts_with(&format!("{name} ")));
        line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(figure("ringway_h2_rtt_microseconds_count"), 0);
    let mut client = H2::connect(server.http());
    client.polite = false;
    let asked = |f: &Frame| f.kind == PING && !f.has(ACK);
    // Answered late, so that there is a round trip to be measured.
    let ping = client.until_frame("the server asks", asked);
    std::thread::sleep(std::time::Duration::from_millis(30));
    client.send(frame(PING, ACK, 0, &ping.payload));
    eventually("it is counted", || figure("ringway_h2_rtt_microseconds_count") >= 1);
    let mean =
        figure("ringway_h2_rtt_microseconds_sum") / figure("ringway_h2_rtt_microseconds_count");
    assert!(mean >= 30_000, "{mean} microseconds");
}

/// Row E10. What only JSON lines have: the connection, its round trip, and its TLS session.
#[test]
fn json_lines_tell_of_the_connection_and_its_session() {
    let dir = site("[log]\nformat = \"json\"\nfile = \"access.log\"\n");
    let mut server = serve(&dir);
    let at = server.at("https");
    let config = Arc::new(tls::config(&[b"http/1.1"]));
    for _ in 0..2 {
        let stream = tls::try_connect(at, Arc::clone(&config), "localhost").unwrap();
        assert!(answer(stream, "/").ends_with("the page"));
    }
    let mut client = H2::tls(at);
    for _ in 0..2 {
        assert_eq!(client.get("/").text(), "the page");
    }
    assert_eq!(server.client().get("/").status, 200);
    drop(client);
    server.signal("TERM");
    assert!(server.wait().success());
    let log = std::fs::read_to_string(dir.path().join("access.log")).unwrap();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5, "{log}");
    for (line, (alpn, resumed)) in
        lines.iter().zip([("http/1.1", false), ("http/1.1", true), ("h2", false), ("h2", false)])
    {
        let tls = &line["tls"];
        assert_eq!((tls["version"].as_str(), tls["alpn"].as_str()), (Some("1.3"), Some(alpn)));
        assert!(tls["cipher"].as_str().unwrap().starts_with("TLS_AES_"), "{line}");
        assert_eq!(
            (tls["sni"].as_str(), tls["resumed"].as_bool()),
            (Some("localhost"), Some(resumed))
        );
        assert_eq!(tls["early_data"].as_bool(), Some(false));
    }
    let connection = |at: usize| lines[at]["conn_id"].as_u64().unwrap();
    assert_eq!(connection(2), connection(3), "two streams of a connection");
    let mut all: Vec<u64> = [0, 1, 2, 4].map(connection).to_vec();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 4, "others are others: {log}");
    assert!(lines[4].get("tls").is_none() && lines[4]["rtt_us"].as_u64().unwrap() > 0);
    assert_eq!(lines[4]["retrans"].as_u64(), Some(0));
}

/// F27: `SSLKEYLOGFILE` alone, which an environment may hold unnoticed, logs no secret, and the
/// server says so; asked for by an option or the file it names where they go.
#[test]
fn f27_secrets_are_logged_on_request_alone() {
    let dir = site("");
    let log = dir.path().join("keys.log");
    let start = |options: &[&str], variable: Option<&Path>| {
        let mut command = Command::new(RINGWAY.unwrap());
        command.arg("serve").arg(dir.path()).args(["--workers", "1", "--https", "127.0.0.1:0"]);
        command.args(options).env_remove("SSLKEYLOGFILE").env_remove("RINGWAY_TLS_KEY_LOG");
        command.envs(variable.map(|file| ("SSLKEYLOGFILE", file)));
        let server = Process::start(&mut command);
        answer(tls::connect(server.at("https"), &[b"http/1.1"], "localhost"), "/");
        server
    };
    let name = log.display().to_string();
    for options in [&[][..], &["--set", "tls.key_log=off"]] {
        let server = start(options, Some(&log));
        let said = server.output();
        assert!(said.contains(&name) && said.contains("no secrets are written"), "{said}");
        assert!(!log.exists());
    }
    let said = start(&["--set", "tls.key_log=env"], None).output();
    assert!(said.contains("names no file"), "{said}");
    let empty = start(&["--set", "tls.key_log=env"], Some(Path::new("")));
    assert!(empty.output().contains("names no file"));
    assert!(!start(&[], None).output().contains("secrets"));
    let server = start(&["--set", "tls.key_log=env"], Some(&log));
    let said = server.output();
    assert!(said.contains(&format!("are written to {name}")), "{said}");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("SERVER_TRAFFIC_SECRET_0 "), "{text}");
    // A configuration that cannot be followed is no start.
    let mut command = Command::new(RINGWAY.unwrap());
    command.arg("serve").arg(dir.path()).args(["--https", "127.0.0.1:0"]);
    command.args(["--set", "tls.key_log=env"]).env("SSLKEYLOGFILE", "/nowhere/at/all");
    let refused = command.output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("/nowhere/at/all: cannot log TLS secrets"), "{said}");
}
