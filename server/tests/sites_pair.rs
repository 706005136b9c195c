//! Row L1: the configurations of `manual/examples`, served as they stand, and the pair of them
//! beside real nginx: the same answers, but for the differences that the manual lists.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use harness::TempDir;
use harness::h2::{H2, PREFACE, settings};
use harness::process::{Process, RINGWAY};
use harness::quic::{self, H3};
use harness::site::{self, Answer, certificate, h1, h1_text};
use harness::tls;

const FILES: &[(&str, &str)] = &[
    ("srv/docs/index.html", "docs"),
    ("srv/docs/404.html", "no such page"),
    ("srv/docs/about.html", "about"),
    ("srv/docs/a b.html", "a space"),
    ("srv/docs/guide/index.html", "guide"),
    ("srv/docs/guide/one.html", "one"),
    ("srv/docs/v2/x.html", "version 2"),
    ("srv/docs/_static/site.css", "body {}"),
    ("srv/docs/_static/img.svg", "<svg/>"),
    ("srv/docs/plain.txt", "plain"),
    ("srv/app/index.html", "app"),
    ("srv/app/assets/x-3f2a9c1b.js", "code"),
    ("srv/app/style.css", "a {}"),
];

/// Paths below each host, GET and HEAD: 30 of each are 60 URLs.
const DOCS: &[&str] = &[
    "/",
    "/index.html",
    "/about",
    "/about.html",
    "/about?q=1",
    "/guide/",
    "/guide/one",
    "/guide/one.html",
    "/guide/two",
    "/none",
    "/none.html",
    "/none/",
    "/v1/x",
    "/v1/x?q=1&r=2",
    "/v1/",
    "/v1/a/b/c",
    "/v2/x",
    "/v2/x.html",
    "/v2/y",
    "/_static/site.css",
    "/_static/img.svg",
    "/_static/none.css",
    "/plain.txt",
    "/a%20b",
    "/a%20b.html",
    "/%61bout",
    "/guide/../about",
    "/guide/./one",
    "/404.html",
    "//about",
];
const APP: &[&str] = &[
    "/",
    "/index.html",
    "/users",
    "/users/",
    "/users/7",
    "/users/7?tab=a",
    "/deep/er/still",
    "/assets/x-3f2a9c1b.js",
    "/style.css",
    "/style.css?v=2",
    "/healthz",
    "/healthz?x",
    "/healthz/x",
    "/%75sers",
    "/a/../b",
    "/x%20y",
    "/log-in",
    "/search?q=%26",
    "/-",
    "/users/a.b/c",
    "/A",
    "/b",
    "/1",
    "/1/2/3/4/5",
    "/index",
    "/c",
    "/q?",
    "/a/./b",
    "//",
    "/z",
];

/// A folder with the example `name`, its paths and ports made those of a test.
fn example(name: &str) -> TempDir {
    let dir = TempDir::new();
    for (file, text) in FILES {
        dir.write(file, text.as_bytes());
    }
    certificate(&dir, "docs", &["docs.example.com"]);
    certificate(&dir, "app", &["app.example.com"]);
    let path = format!("{}/manual/examples/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let srv = format!("{}/srv/", dir.path().display());
    let text = text.replace("\":80\"", "\"127.0.0.1:0\"").replace("\":443\"", "\"127.0.0.1:0\"");
    dir.write(name, text.replace("/srv/", &srv).as_bytes());
    dir
}

fn ringway(dir: &TempDir, name: &str, kinds: &str) -> Process {
    let file = dir.path().join(name);
    let checked = Command::new(RINGWAY.unwrap()).args(["check", "-c"]).arg(&file).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let server = Process::start(
        Command::new(RINGWAY.unwrap()).args(["serve", "--workers", "1", "-c"]).arg(file),
    );
    server.wait_for(kinds);
    server
}

/// Ends nginx with the test.
struct Nginx(Child, u16, u16);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn nginx(dir: &TempDir) -> Option<Nginx> {
    let (http, https) = (free_port(), free_port());
    let text = std::fs::read_to_string(dir.path().join("nginx.conf")).unwrap();
    let text = text
        .replace("listen 80;", &format!("listen 127.0.0.1:{http};"))
        .replace("listen 443 ", &format!("listen 127.0.0.1:{https} "));
    let types = "types { text/html html; text/css css; text/javascript js; image/svg+xml svg; \
                 text/plain txt; }";
    let at = dir.path().display();
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
        .concat();
    let whole = format!(
        "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;\n\
         events {{}}\nhttp {{\naccess_log off; {types}\n{temp}{text}}}\n"
    );
    dir.write("whole.conf", whole.as_bytes());
    let mut command = Command::new("nginx");
    command.arg("-c").arg(dir.path().join("whole.conf")).arg("-p").arg(dir.path());
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = match child {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        child => child.unwrap(),
    };
    let this = Nginx(child, http, https);
    harness::eventually("nginx listens", || {
        std::net::TcpStream::connect(("127.0.0.1", https)).is_ok()
    });
    Some(this)
}

fn over_h1(at: SocketAddr, method: &str, host: &'static str, path: &str) -> Answer {
    let stream = tls::connect(at, &[b"http/1.1"], host);
    h1(stream, "h1", &h1_text(method, path, host, &[]))
}

fn over_h2(at: SocketAddr, method: &str, host: &'static str, path: &str) -> Answer {
    let mut client = H2::over(Box::new(tls::connect(at, &[b"h2"], host)));
    client.send([PREFACE, &settings(&[])].concat());
    site::h2(client, &fields(method, host, path), b"")
}

fn over_h3(at: SocketAddr, method: &str, host: &'static str, path: &str) -> Answer {
    let mut client = H3::named(host, at, &mut quic::config(), None);
    client.run("the handshake", |this| this.conn.is_established());
    client.begin();
    site::h3(client, &fields(method, host, path), b"")
}

fn fields<'a>(method: &'a str, host: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [(":method", method), (":scheme", "https"), (":path", path), (":authority", host)]
}

/// What a person sees of an answer: status, place, type, caching, body. nginx makes a Location
/// absolute; a body that nobody wrote (of a redirect) is each server's own.
fn seen(answer: &Answer) -> (u16, String, String, String, String) {
    let field = |name| answer.field(name).unwrap_or_default().to_owned();
    let place = field("location");
    let place = match place.strip_prefix("https://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]).to_owned(),
        None => place,
    };
    let is_file = answer.status == 200;
    let kind = field("content-type").split(';').next().unwrap_or_default().to_owned();
    let body = if answer.status < 300 || answer.status == 404 { &*answer.body } else { "" };
    let caching = if is_file { field("cache-control") } else { String::new() };
    let kind = if is_file { kind } else { String::new() };
    (answer.status, place, kind, caching, body.to_owned())
}

/// 60 URLs by GET and HEAD over both protocols that nginx of Debian 12 speaks, and HTTP/3 like our
/// own HTTP/2.
#[test]
fn l1_the_pair_beside_nginx() {
    let dir = example("pair.toml");
    let nginx_dir = example("nginx.conf");
    let Some(nginx) = nginx(&nginx_dir) else { return eprintln!("skipped: there is no nginx") };
    let theirs: SocketAddr = ([127, 0, 0, 1], nginx.2).into();
    let server = ringway(&dir, "pair.toml", "http,https,h3");
    let ours = server.at("https");
    let mut differences = Vec::new();
    assert_eq!(DOCS.len() + APP.len(), 60);
    for (host, paths) in [("docs.example.com", DOCS), ("app.example.com", APP)] {
        for path in paths {
            for method in ["GET", "HEAD"] {
                let mine = over_h2(ours, method, host, path);
                for (way, mine, other) in [
                    ("h1", over_h1(ours, method, host, path), over_h1(theirs, method, host, path)),
                    ("h2", over_h2(ours, method, host, path), over_h2(theirs, method, host, path)),
                    ("h3", over_h3(server.at("h3"), method, host, path), mine),
                ] {
                    let (mut mine, mut other) = (seen(&mine), seen(&other));
                    if host == "app.example.com" && way != "h3" {
                        // The app says nothing of caching in nginx; a page is no-cache here.
                        (mine.3, other.3) = (String::new(), String::new());
                    }
                    if mine != other {
                        differences
                            .push(format!("{way} {method} {host}{path}: {mine:?} {other:?}"));
                    }
                }
            }
        }
    }
    assert!(differences.is_empty(), "{}\n{}", differences.len(), differences.join("\n"));
    // The differences that the manual lists.
    let missing = "/assets/none.js";
    assert_eq!(over_h1(ours, "GET", "app.example.com", missing).status, 404);
    assert_eq!(over_h1(theirs, "GET", "app.example.com", missing).status, 200);
    for (at, status) in [(server.http(), 308), (([127, 0, 0, 1], nginx.1).into(), 301)] {
        let answer = h1(tls::tcp(at), "h1", &h1_text("GET", "/a?b", "docs.example.com", &[]));
        assert_eq!(answer.status, status);
        assert!(answer.location().starts_with("https://docs.example.com"), "{}", answer.location());
        assert!(answer.location().ends_with("/a?b"), "{}", answer.location());
    }
    // A directory is led to with its slash, also where there is a fallback.
    assert_eq!(over_h1(ours, "GET", "app.example.com", "/assets").location(), "/assets/");
    assert_eq!(over_h1(theirs, "GET", "app.example.com", "/assets").status, 200);
    for (at, status) in [(ours, 308), (theirs, 301)] {
        assert_eq!(over_h1(at, "GET", "docs.example.com", "/guide").status, status);
    }
}

/// The other examples are valid, and serve what they say.
#[test]
fn l1_the_examples_of_the_manual() {
    let dir = example("page.toml");
    let server = ringway(&dir, "page.toml", "http");
    assert_eq!(site::clear(&server, "any.test", "/").body, "docs");
    let dir = example("many.toml");
    for name in ["docs", "app"] {
        let text = format!(
            "[[site]]\nhosts = [\"{name}.example.com\"]\nroot = \"../srv/{name}\"\ncleartext = \"serve\"\n"
        );
        dir.write(&format!("sites/{name}.toml"), text.as_bytes());
    }
    let server = ringway(&dir, "many.toml", "http,https,h3");
    for (host, status, body) in [
        ("docs.example.com", 200, "docs"),
        ("app.example.com", 200, "app"),
        ("other.example.com", 404, "Not Found"),
    ] {
        let answer = site::clear(&server, host, "/");
        assert_eq!((answer.status, &*answer.body), (status, body), "{host}");
    }
}
