//! F6, F7, F8, F19, F20 (CONNECT) and row 101: the canonical form of the authority, and checking it
//! against the certificate, over every protocol.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use harness::h2::{END_HEADERS, END_STREAM, H2, HEADERS, block, frame};
use harness::process::{Process, RINGWAY};
use harness::quic::{H3, headers};
use harness::{TempDir, eventually, tls};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::version::{TLS12, TLS13};

/// Status and body that every protocol over TLS gives to the request that `make` builds from the
/// protocol's name. Status 0: the stream was reset or nothing came.
fn over_tls(
    server: &Process,
    h1: &str,
    fields: &[(&str, &str)],
) -> Vec<(&'static str, u16, String)> {
    let mut answers = Vec::new();
    for (way, version) in [("h1 over TLS 1.2", &TLS12), ("h1 over TLS 1.3", &TLS13)] {
        let config = Arc::new(tls::config_of(&[version], &[b"http/1.1"]));
        let stream = tls::try_connect(server.at("https"), config, "localhost").unwrap();
        let (status, text) = h1_answer(stream, h1);
        answers.push((way, status, text));
    }
    let mut client = H2::tls(server.at("https"));
    let (status, text) = h2_answer(&mut client, fields);
    answers.push(("h2", status, text));
    let (status, text) = h3_answer(server, fields);
    answers.push(("h3", status, text));
    answers
}

fn h3_answer(server: &Process, fields: &[(&str, &str)]) -> (u16, String) {
    let mut client = H3::connect(server.at("h3"));
    let id = client.id();
    client.raw(id, &headers(fields), true);
    let answer = client.answer(id);
    (answer.status(), answer.text())
}

fn h1_answer(mut stream: impl Read + Write, request: &str) -> (u16, String) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut said = Vec::new();
    // A refusal may end without close_notify; what was received counts.
    let _ = stream.read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said).into_owned();
    let status = said.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    (status, said.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
}

fn h2_answer(client: &mut H2, fields: &[(&str, &str)]) -> (u16, String) {
    let id = client.id();
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, id, &block(fields)));
    let answer = client.answer(id);
    let status = answer.head().map_or(0, |_| answer.status());
    (status, String::from_utf8_lossy(&answer.body).into_owned())
}

fn get<'a>(scheme: &'a str, authority: &'a str) -> [(&'a str, &'a str); 4] {
    [(":method", "GET"), (":scheme", scheme), (":path", "/target"), (":authority", authority)]
}

fn h1_get(target: &str, host: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

fn app() -> Process {
    Process::app_on("http,https,h2c,h3", "")
}

/// All spellings of a host and port are one authority, for the certificate check and for handlers.
#[test]
fn f8_one_authority_over_tls() {
    let server = app();
    for (spelt, form) in [
        ("localhost", "localhost"),
        ("localhost.", "localhost"),
        ("LocalHost.:443", "localhost"),
        ("localhost:", "localhost"),
        ("localhost:443", "localhost"),
        ("localhost:00443", "localhost"),
        ("localhost.:8443", "localhost:8443"),
        ("localhost:80", "localhost:80"),
        ("127.0.0.1.:443", "127.0.0.1"),
        ("[0:0:0:0:0:0:0:1]:443", "[::1]"),
        ("[::0001]:8443", "[::1]:8443"),
    ] {
        let expected = format!("/target - {form}");
        for (way, status, text) in
            over_tls(&server, &h1_get("/target", spelt), &get("https", spelt))
        {
            assert_eq!((status, &*text), (200, &*expected), "{way}: {spelt}");
        }
    }
    for other in ["other.test.", "localhost..", "xlocalhost.", "local.host", "[::2]", "a.localhost"]
    {
        let right = if other.ends_with("..") { 400 } else { 421 };
        for (way, status, _) in over_tls(&server, &h1_get("/target", other), &get("https", other)) {
            assert_eq!(status, right, "{way}: {other}");
        }
    }
}

/// Without TLS the default port is 80. An absolute target states its own scheme.
#[test]
fn f8_one_authority_in_the_clear() {
    let server = app();
    let long = ["a".repeat(50).as_str(); 5].join(".");
    for (spelt, form) in [
        ("example.org", "example.org"),
        ("EXAMPLE.org.:80", "example.org"),
        ("example.org:443", "example.org:443"),
        ("example.org:8080", "example.org:8080"),
        ("[2001:DB8::0]:80", "[2001:db8::]"),
        (&*(long[..253].to_owned() + "."), &long[..253]),
    ] {
        let expected = (200, format!("/target - {form}"));
        let stream = || tls::tcp(server.http());
        assert_eq!(h1_answer(stream(), &h1_get("/target", spelt)), expected, "{spelt}");
        let absolute = format!("http://{spelt}/target");
        assert_eq!(h1_answer(stream(), &h1_get(&absolute, "other")), expected, "{absolute}");
        let mut client = H2::connect(server.at("h2c"));
        assert_eq!(h2_answer(&mut client, &get("http", spelt)), expected, "h2c: {spelt}");
        let host = [&get("http", spelt)[..], &[("host", form)]].concat();
        assert_eq!(h2_answer(&mut client, &host), expected, "h2c, with Host as well: {spelt}");
    }
    let (status, text) =
        h1_answer(tls::tcp(server.http()), &h1_get("https://a.:443/target", "other"));
    assert_eq!((status, &*text), (200, "/target - a"));
    let old = h1_answer(tls::tcp(server.http()), "GET /target HTTP/1.0\r\n\r\n");
    assert_eq!(old, (200, "/target - -".to_owned()));
}

/// After a head was copied to change its authority, its fields, its body and the next request are
/// still found.
#[test]
fn f8_what_follows_a_copied_head() {
    let server = app();
    let mut client = server.client();
    client.send(
        "POST /echo HTTP/1.1\r\nHost: A.:80\r\nContent-Length: 5\r\n\r\nhello\
         POST /echo HTTP/1.1\r\nHost: B.\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
         GET /fields HTTP/1.1\r\nHost: C.\r\nX: y\r\n\r\n",
    );
    assert_eq!(client.response("POST").text(), "hello");
    assert_eq!(client.response("POST").text(), "abc");
    assert_eq!(client.response("GET").text(), "Host: C.\nX: y\n", "fields are as they came");
}

/// Row 101: an invalid authority is refused, even if nothing would use it.
#[test]
fn f8_row_101_no_authority_is_400() {
    let server = app();
    let long = ["b".repeat(50).as_str(); 6].join(".")[..254].to_owned();
    for wrong in [
        "a@b", "a:80:80", "a\0", "[::1", "[::1]x", "[:::]", ".", "..", "a..b", ".a", "a..", ".:80",
        ":80", "a:x", "a:65536", "a:+1", "a/b", "a%2", &*long,
    ] {
        // HTTP/2 and HTTP/3 call what may not stand in :authority malformed.
        let malformed = wrong.contains(['@', '/', '\0']);
        let right = |status| status == 400 || (malformed && status == 0);
        for host in [wrong.to_owned(), format!("{wrong}\r\nX: y")] {
            let plain = h1_answer(tls::tcp(server.http()), &h1_get("/hello", &host)).0;
            assert_eq!(plain, 400, "h1: {wrong:?}");
        }
        let mut client = H2::connect(server.at("h2c"));
        assert!(right(h2_answer(&mut client, &get("http", wrong)).0), "h2c: {wrong:?}");
        for (way, status, _) in over_tls(&server, &h1_get("/target", wrong), &get("https", wrong)) {
            assert!(
                if way.starts_with("h1") { status == 400 } else { right(status) },
                "{way}: {wrong:?}"
            );
        }
    }
    // An absolute target's authority as well.
    let absolute = h1_get("http://a..b/hello", "a");
    assert_eq!(h1_answer(tls::tcp(server.http()), &absolute).0, 400);
}

/// F20: CONNECT opens no tunnel, whatever its target, and never gets 421.
#[test]
fn f20_connect_is_405_over_every_protocol() {
    let site = TempDir::with(&[("index.html", b"home")]);
    let options = ["--https", "127.0.0.1:0"];
    for server in [app(), Process::serve(site.path(), &options)] {
        for to in ["example.org:443", "localhost:443", "localhost:22", "[::1]:80", "EXAMPLE.org.:1"]
        {
            let h1 = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
            let fields = [(":method", "CONNECT"), (":authority", to)];
            let (status, _) = h1_answer(tls::tcp(server.http()), &h1);
            assert_eq!(status, 405, "h1: {to}");
            for (way, status, _) in over_tls(&server, &h1, &fields) {
                assert_eq!(status, 405, "{way}: {to}");
            }
            let mut client = H2::connect(server.http());
            assert_eq!(h2_answer(&mut client, &fields).0, 405, "h2 in the clear: {to}");
        }
        // What follows is meant for the tunnel and is not a request.
        let mut client = server.client();
        client.send("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let refused = client.response("GET");
        assert!(refused.says_close() && refused.field("allow").is_some());
        assert_eq!(client.rest(), b"");
    }
}

/// Writes `c.pem` and `k.pem` for these hosts, valid in these years.
fn certificate(dir: &TempDir, hosts: &[&str], years: std::ops::RangeInclusive<i32>) {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.not_before = date_time_ymd(*years.start(), 1, 1);
    params.not_after = date_time_ymd(*years.end(), 12, 31);
    dir.write("k.pem", key.serialize_pem().as_bytes());
    dir.write("c.pem", params.self_signed(&key).unwrap().pem().as_bytes());
}

fn site() -> TempDir {
    TempDir::with(&[("site/index.html", b"home")])
}

/// `ringway VERB` with the certificate of `dir`.
fn command(verb: &str, dir: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(RINGWAY.unwrap());
    let file = |name: &str| dir.join(name).into_os_string();
    command.arg(verb).arg("--cert").arg(file("c.pem")).arg("--key").arg(file("k.pem"));
    command.args(more);
    command
}

fn serve(dir: &TempDir, more: &[&str]) -> Process {
    let listen = ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
    let mut serve = command("serve", dir.path(), &listen);
    let server =
        Process::start(serve.args(["--workers", "1"]).args(more).arg(dir.path().join("site")));
    server.wait_for("http,https,h3,metrics");
    server
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn root(authority: &str) -> (String, [(&str, &str); 4]) {
    let fields =
        [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", authority)];
    (h1_get("/", authority), fields)
}

/// F6: an expired certificate is served, and every report names it and its date.
#[test]
fn f6_a_certificate_out_of_date_is_served_and_said() {
    let dir = site();
    for (years, said) in [
        (2019..=2020, "certificate 1 expired on 2020-12-31"),
        (2090..=2091, "certificate 1 is not valid before 2090-01-01"),
    ] {
        certificate(&dir, &["localhost"], years);
        let server = serve(&dir, &[]);
        let warning = format!("warning: {}: {said}", dir.path().join("c.pem").display());
        assert!(server.output().contains(&warning), "{}", server.output());
        let (h1, fields) = root("localhost");
        for (way, status, text) in over_tls(&server, &h1, &fields) {
            assert_eq!((status, &*text), (200, "home"), "{way}");
        }
        assert_eq!(server.client().get("/").status, 200);
        assert_eq!(server.metric("ringway_certs_out_of_date"), 1);
        let check = command("check", dir.path(), &[]).output().unwrap();
        assert!(check.status.success() && err(&check).contains(&warning), "{}", err(&check));
        let doctor = command("doctor", dir.path(), &["--json"]).output().unwrap();
        let report = String::from_utf8_lossy(&doctor.stdout).into_owned();
        assert!(!doctor.status.success() && report.contains(said), "{report}");
        // A renewed one is loaded; another expired one is loaded and reported again.
        for (years, out_of_date) in [(2020..=2090, 0), (2018..=2019, 1)] {
            certificate(&dir, &["localhost"], years);
            server.signal("HUP");
            eventually("the metric follows", || {
                server.metric("ringway_certs_out_of_date") == out_of_date
            });
        }
        eventually("it is said", || server.output().contains("expired on 2019-12-31"));
    }
    // `check` examines certificates with HTTP/3 off, too.
    let check = command("check", dir.path(), &["--no-h3"]).output().unwrap();
    assert!(err(&check).contains("expired on 2019-12-31"), "{}", err(&check));
    // An unusable certificate is an error.
    dir.write("k.pem", KeyPair::generate().unwrap().serialize_pem().as_bytes());
    for verb in ["check", "serve", "doctor"] {
        let output = command(verb, dir.path(), &[]).output().unwrap();
        let said = err(&output);
        assert!(!output.status.success() && said.contains("does not belong"), "{verb}: {said}");
    }
}

/// F7: a certificate without host names refuses no host.
#[test]
fn f7_a_certificate_without_names_applies_no_421() {
    let dir = site();
    let said = "certificate 1 names no host (no subjectAltName)";
    // Of version 3 by rcgen; of version 1 as the recipe without extensions makes it.
    for old in [false, true] {
        certificate(&dir, &[], 2020..=2090);
        if old {
            let script = "openssl req -new -key k.pem -subj /CN=localhost -out r.csr && \
                          openssl x509 -req -in r.csr -signkey k.pem -days 9 -out c.pem";
            let made = Command::new("sh").args(["-c", script]).current_dir(dir.path()).output();
            assert!(made.as_ref().is_ok_and(|made| made.status.success()), "{made:?}");
        }
        let server = serve(&dir, &[]);
        assert!(server.output().contains(said), "{}", server.output());
        for host in ["localhost", "other.test", "127.0.0.1", "[::1]:8443"] {
            let (h1, fields) = root(host);
            // The rustls client does not accept certificates of version 1.
            let answers = match old {
                true => vec![("h3", h3_answer(&server, &fields).0, String::new())],
                false => over_tls(&server, &h1, &fields),
            };
            for (way, status, _) in answers {
                assert_eq!(status, 200, "{way}: {host}");
            }
        }
        let check = command("check", dir.path(), &[]).output().unwrap();
        assert!(check.status.success() && err(&check).contains(said), "{}", err(&check));
        let doctor = command("doctor", dir.path(), &[]).output().unwrap();
        assert!(String::from_utf8_lossy(&doctor.stdout).contains(said));
    }
}

/// F7: `tls.misdirected = "serve"` turns the check off, and nothing else.
#[test]
fn f7_misdirected_requests_are_served_where_told() {
    let dir = site();
    certificate(&dir, &["localhost"], 2020..=2090);
    for (option, right) in [("tls.misdirected=serve", 200), ("tls.misdirected=refuse", 421)] {
        let server = serve(&dir, &["--set", option]);
        assert!(!server.output().contains("certificate 1"), "{}", server.output());
        for (host, right) in [("other.test", right), ("127.0.0.1", right), ("localhost.", 200)] {
            let (h1, fields) = root(host);
            for (way, status, _) in over_tls(&server, &h1, &fields) {
                assert_eq!(status, right, "{option}, {way}: {host}");
            }
        }
        let (h1, fields) = root("a..b");
        for (way, status, _) in over_tls(&server, &h1, &fields) {
            assert_eq!(status, 400, "{option}, {way}");
        }
    }
    let wrong = command("check", dir.path(), &["--set", "tls.misdirected=sreve"]).output().unwrap();
    assert!(err(&wrong).contains("did you mean \"serve\""), "{}", err(&wrong));
}

/// F19: byte-order marks before PEM and TOML.
#[test]
fn f19_byte_order_marks_are_taken() {
    let dir = site();
    certificate(&dir, &["localhost"], 2020..=2090);
    for name in ["c.pem", "k.pem"] {
        let text = std::fs::read_to_string(dir.path().join(name)).unwrap();
        dir.write(name, format!("\u{feff}{text}").as_bytes());
    }
    let toml = "\u{feff}http = \"127.0.0.1:0\"\nhttps = \"127.0.0.1:0\"\nfiles.root = \"site\"\n\
                tls.cert = \"c.pem\"\ntls.key = \"k.pem\"\n";
    dir.write("r.toml", toml.as_bytes());
    let mut command = Command::new(RINGWAY.unwrap());
    let server = Process::start(command.args(["serve", "-c"]).arg(dir.path().join("r.toml")));
    server.wait_for("http,https,h3");
    let (h1, fields) = root("localhost");
    for (way, status, _) in over_tls(&server, &h1, &fields) {
        assert_eq!(status, 200, "{way}");
    }
    // A mistake stands where it is, the mark not counted.
    dir.write("wrong.toml", "\u{feff}htpp = 1\n".as_bytes());
    let mut check = Command::new(RINGWAY.unwrap());
    let check = check.args(["check", "-c"]).arg(dir.path().join("wrong.toml")).output().unwrap();
    assert!(err(&check).contains("wrong.toml:1:1: "), "{}", err(&check));
}

/// F19: whether `[::]` is IPv6 alone is said where it listens, and is so.
#[test]
fn f19_the_families_of_every_address_are_said() {
    let dir = site();
    certificate(&dir, &["localhost"], 2020..=2090);
    for (address, families, by_v4) in
        [("[::]:0", " (IPv6 only)", false), (":0", " (IPv4 and IPv6)", true)]
    {
        let mut command = command("serve", dir.path(), &["--workers", "1"]);
        command.args(["--http", address, "--https", address, "--h2c", "0.0.0.0:0"]);
        let server = Process::start(command.arg(dir.path().join("site")));
        server.wait_for("http,https,h3,h2c");
        for kind in ["http", "https", "h3"] {
            let port = server.at(kind).port();
            let line = format!("listening {kind} [::]:{port}{families}");
            assert!(server.output().lines().any(|said| said == line), "{}", server.output());
        }
        let line = format!("listening h2c 0.0.0.0:{}", server.at("h2c").port());
        assert!(server.output().lines().any(|said| said == line), "{}", server.output());
        let port = server.http().port();
        assert_eq!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(), by_v4, "{address}");
        assert!(std::net::TcpStream::connect(("::1", port)).is_ok(), "{address}");
    }
}
