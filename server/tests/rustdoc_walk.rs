//! Real input: the documentation that the Rust toolchain ships, tens of thousands of files, served
//! over every version and compared with the disk byte for byte, then opened in a real browser.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;
mod pinned;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use harness::browser::{self, Way};
use harness::h2::{self, H2};
use harness::process::Process;
use harness::quic::H3;
use harness::{TempDir, eventually, missing};

fn documentation() -> Option<PathBuf> {
    let said = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
    let sysroot = String::from_utf8(said.stdout).ok()?;
    let path = Path::new(sysroot.trim()).join("share/doc/rust/html");
    path.join("std/index.html").is_file().then_some(path)
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files(&entry.path(), found),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

/// The target of a file below the root, percent-encoded.
fn target(root: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(root).unwrap().to_str().unwrap();
    let mut target = String::from("/");
    for &byte in relative.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            target.push(byte as char);
        } else {
            target.push_str(&format!("%{byte:02X}"));
        }
    }
    target
}

/// The types of the files in this tree, by extension; none for those without one.
fn expected_type(file: &Path) -> Option<&'static str> {
    Some(match file.extension()?.to_str()? {
        "html" => "text/html",
        "css" => "text/css",
        "js" => "text/javascript",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        "txt" | "md" => "text/plain|text/markdown",
        "ico" => "image/",
        _ => return None,
    })
}

/// What a file came as.
struct Seen {
    status: u16,
    length: Option<String>,
    kind: Option<String>,
    body: Vec<u8>,
}

impl Seen {
    /// By status, type, length and every byte it is the file on the disk; its bytes are as many.
    fn check(&self, file: &Path) -> usize {
        assert_eq!(self.status, 200, "{}", file.display());
        assert!(self.body == fs::read(file).unwrap(), "{} differs from the disk", file.display());
        assert_eq!(self.length, Some(self.body.len().to_string()), "{}", file.display());
        if let Some(expected) = expected_type(file) {
            let sent = self.kind.as_deref().unwrap_or("-");
            let right = expected.split('|').any(|kind| sent.starts_with(kind));
            assert!(right, "{} is {sent}, not {expected}", file.display());
        }
        self.body.len()
    }
}

/// Walks a tree over one connection, sixty files at a time.
fn walk(root: &Path, all: &[PathBuf], mut fetch: impl FnMut(Vec<String>) -> Vec<Seen>) {
    let mut bytes = 0;
    for files in all.chunks(60) {
        let seen = fetch(files.iter().map(|file| target(root, file)).collect());
        assert_eq!(seen.len(), files.len());
        bytes += seen.iter().zip(files).map(|(seen, file)| seen.check(file)).sum::<usize>();
    }
    println!("{} files, {} MiB, as on the disk", all.len(), bytes >> 20);
}

/// All that is served of a tree.
fn served(root: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    files(root, &mut all);
    // Hidden files are not served, which is a rule and not a fault.
    all.retain(|file| !file.strip_prefix(root).unwrap().to_str().unwrap().contains("/."));
    all.retain(|file| !file.file_name().unwrap().to_str().unwrap().starts_with('.'));
    assert!(all.len() > 1000, "{} files", all.len());
    all
}

#[test]
fn alone_the_whole_documentation_walks_clean() {
    let Some(root) = documentation() else { return missing("the toolchain's documentation") };
    let all = served(&root);
    let server = Process::serve(&root, &[]);
    let (next, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = server.client();
                while let Some(file) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let response = client.get(&target(&root, file));
                    let own = |name: &str| response.field(name).map(str::to_owned);
                    let (length, kind) = (own("content-length"), own("content-type"));
                    let seen = Seen { status: response.status, length, kind, body: response.body };
                    bytes.fetch_add(seen.check(file), Ordering::Relaxed);
                }
            });
        }
    });
    println!("{} files, {} MiB, as on the disk", all.len(), bytes.into_inner() >> 20);
}

#[test]
fn alone_the_whole_documentation_walks_clean_over_one_http2_connection() {
    let Some(root) = documentation() else { return missing("the toolchain's documentation") };
    let all = served(&root);
    let server = Process::serve(&root, &["--https", "127.0.0.1:0"]);
    server.wait_for("https");
    let mut client = H2::tls(server.at("https"));
    client.send([h2::settings(&[(4, 1 << 20)]), h2::window_update(0, 1 << 24)].concat());
    walk(&root, &all, |targets| {
        let asked: Vec<u32> = targets.iter().map(|_| client.id()).collect();
        let pairs = asked.iter().zip(&targets);
        client.send(pairs.flat_map(|(id, target)| h2::get(*id, target)).collect::<Vec<_>>());
        let see = |id: u32| {
            let answer = client.answer(id);
            client.streams.remove(&id);
            let own = |name: &str| answer.field(name).map(str::to_owned);
            let (length, kind) = (own("content-length"), own("content-type"));
            Seen { status: answer.status(), length, kind, body: answer.body }
        };
        asked.into_iter().map(see).collect()
    });
}

#[test]
fn alone_the_whole_documentation_walks_clean_over_one_http3_connection() {
    let Some(root) = documentation() else { return missing("the toolchain's documentation") };
    let all = served(&root);
    let server = Process::serve(&root, &["--https", "127.0.0.1:0"]);
    server.wait_for("h3");
    let mut client = H3::connect(server.at("h3"));
    walk(&root, &all, |targets| {
        let ask = |target: &String| client.ask("GET", target, &[], b"");
        let asked: Vec<u64> = targets.iter().map(ask).collect();
        let see = |id: u64| {
            let answer = client.answer(id);
            assert_eq!(answer.reset, None);
            let own = |name: &str| answer.field(name).map(str::to_owned);
            let (length, kind) = (own("content-length"), own("content-type"));
            Seen { status: answer.status(), length, kind, body: answer.body }
        };
        asked.into_iter().map(see).collect()
    });
}

/// The documentation under load: wrk asks for all of it in turn, and loses nothing.
#[test]
fn alone_wrk_loads_the_documentation() {
    let Some(root) = documentation() else { return missing("the toolchain's documentation") };
    let server = Process::serve(&root, &[]);
    let targets: Vec<String> = served(&root).iter().map(|file| target(&root, file)).collect();
    let dir = TempDir::new();
    let script = format!(
        "local paths, at = {{\"{}\"}}, 0\nrequest = function()\n  at = at % #paths + 1\n  \
         return wrk.format(nil, paths[at])\nend\n",
        targets.join("\",\n\"")
    );
    dir.write("all.lua", script.as_bytes());
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-c32", "-d5s", "--timeout", "30s", "-s"]).arg(dir.path().join("all.lua"));
    let Ok(output) = wrk.arg(format!("http://{}/", server.http())).output() else {
        return missing("wrk");
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    let requests = said.lines().find_map(|line| line.split_once(" requests in ")).expect(&said);
    println!("{} requests for {} files", requests.0.trim(), targets.len());
    assert!(requests.0.trim().parse::<usize>().unwrap() > 1000, "{said}");
}

/// The page is drawn, and every request of the browser was answered with a success.
fn opens_clean(server: &Process, way: &Way, page: &str, picture: &str, needed: &[&str]) {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(picture);
    let Some((png, said)) = browser::screenshot(way, page, &kept) else {
        return missing("chromium");
    };
    assert!(png.starts_with(b"\x89PNG") && png.len() > 20_000, "a picture of {} bytes", png.len());
    assert!(!said.contains("Failed to load resource") && !said.contains("net::ERR_"), "{said}");
    let log = server.output();
    let requests: Vec<&str> = log.lines().filter(|line| line.contains("\"GET ")).collect();
    assert!(requests.len() >= needed.len(), "{log}");
    for line in &requests {
        let status = line.split("\" ").nth(1).and_then(|rest| rest.split(' ').next());
        assert!(matches!(status, Some("200" | "206" | "304")), "{line}");
        assert!(line.contains(way.version), "{line}");
    }
    for part in needed {
        assert!(requests.iter().any(|line| line.contains(part)), "{part} was asked for:\n{log}");
    }
}

const DOCUMENTATION: [&str; 5] = ["/std/index.html", "rustdoc-", ".css", ".js", ".woff2"];

#[test]
fn alone_a_browser_opens_the_documentation() {
    let Some(root) = documentation() else { return missing("the toolchain's documentation") };
    let server = Process::serve(&root, &["--log", "combined"]);
    opens_clean(&server, &Way::http1(&server), "/std/index.html", "std.png", &DOCUMENTATION);
}

fn site() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("site")
}

const SITE: [&str; 5] = ["GET / ", "/style.css", "/site.js", "/ring.svg", "ring.svg?n="];

#[test]
fn alone_a_browser_opens_the_shipped_site() {
    let server = Process::serve(&site(), &["--log", "combined"]);
    opens_clean(&server, &Way::http1(&server), "/#run", "site.png", &SITE);
}

/// Opens a page over TLS in Chromium: clean, and every part by HTTP/2, as the log and the browser
/// have it.
fn opens_by_http2(root: &Path, page: &str, picture: &str, needed: &[&str], title: &str) {
    let server = Process::serve(root, &["--https", "127.0.0.1:0", "--log", "combined"]);
    server.wait_for("https");
    opens_clean(&server, &Way::http2(&server), page, picture, needed);
    let server = Process::app_with_files(root);
    let Some(dom) = browser::dom(&Way::http2(&server), &format!("/probe?{page}")) else { return };
    let said = dom.rsplit("probe: ").next().and_then(|rest| rest.split(';').next()).unwrap();
    println!("{page}: {said}");
    assert!(said.contains(" by h2: ") && said.contains(title), "{said}\n{dom}");
    let parts: usize = said.split(' ').next().unwrap().parse().unwrap();
    assert!(parts >= needed.len(), "{said}");
}

#[test]
fn alone_a_browser_opens_the_documentation_by_http2() {
    let Some(root) = documentation() else { return missing("the toolchain's documentation") };
    opens_by_http2(&root, "/std/index.html", "std-h2.png", &DOCUMENTATION, "std - Rust");
}

#[test]
fn alone_a_browser_opens_the_shipped_site_by_http2() {
    let needed = ["/index.html", "/style.css", "/site.js", "/ring.svg"];
    opens_by_http2(&site(), "/index.html", "site-h2.png", &needed, "");
}

/// D1, D8: Chromium, forced onto QUIC, has the shipped site by HTTP/3 and says so on the page; what
/// the server says of itself is the same; heads that come again are short.
#[test]
fn alone_a_browser_opens_the_shipped_site_by_http3() {
    let (server, way) = pinned::over_http3(&site(), &[]);
    opens_clean(&server, &way, "/#run", "site-h3.png", &SITE);
    let before = server.metric("ringway_connections_opened_total{proto=\"3\"}");
    assert!(before > 0);
    let Some(dom) = browser::dom(&way, "/#run") else { return };
    assert!(dom.contains("<title>ringway over HTTP/3</title>"), "{dom}");
    // The page and its three parts, each in a row with the protocol that the browser measured.
    assert!(dom.matches("<td>HTTP/3</td>").count() >= 4, "{dom}");
    assert!(!dom.contains("<td>HTTP/2</td>") && !dom.contains("<td>HTTP/1.1</td>"), "{dom}");
    assert!(dom.contains("48 files over HTTP/3 in "), "{dom}");
    let mut client = harness::client::Client::connect(server.at("metrics"));
    let stats = client.get_local("/stats.json").text().to_owned();
    println!("{stats}");
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    assert!(stats["http3"]["connections"].as_u64().unwrap() > before, "{stats}");
    assert_eq!(stats["http2"]["streams"], 0, "nothing came by TCP");
    let mut inserted = 0;
    eventually("the connections have ended", || {
        inserted = server.metric("ringway_qpack_inserts_total");
        inserted > 0
    });
    let heads = way.heads();
    println!("{inserted} insertions, heads of {heads:?} octets");
    // Of each file the first head names what is new; the 48 that follow are all references.
    let short = heads.iter().filter(|octets| **octets <= 20).count();
    assert!(short >= 48, "{heads:?}");
}

/// D1: the documentation by HTTP/3 in Chromium.
#[test]
fn alone_a_browser_opens_the_documentation_by_http3() {
    let Some(root) = documentation() else { return missing("the toolchain's documentation") };
    let (server, way) = pinned::over_http3(&root, &[]);
    opens_clean(&server, &way, "/std/index.html", "std-h3.png", &DOCUMENTATION);
    let heads = way.heads();
    println!("{} answers, heads of {heads:?} octets", heads.len());
    assert!(heads.len() >= DOCUMENTATION.len());
}
