//! Rows L7, L8, L10 and 104: SIGHUP takes a changed configuration into use while clients are
//! served, all of it or nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::process::Process;
use harness::site::{clear, every, folder, serve};
use harness::{TempDir, eventually};

/// How often the server said this.
fn said(server: &Process, text: &str) -> usize {
    server.output().matches(text).count()
}

/// Tells the server to load its configuration again, and waits until it has.
fn reload(server: &Process) {
    let before = said(server, "reloaded in ") + said(server, "is not taken");
    server.signal("HUP");
    let after = || said(server, "reloaded in ") + said(server, "is not taken");
    eventually("the reload is over", || after() > before);
}

/// Writes `ringway.toml` as `folder` does.
fn configure(dir: &TempDir, text: &str) {
    let head = "http = \"127.0.0.1:0\"\nhttps = \"127.0.0.1:0\"\nworkers = 1\n";
    let tls = "\n[tls]\ncert = \"all.pem\"\nkey = \"all.key\"\n";
    dir.write("ringway.toml", format!("{head}{text}{tls}").as_bytes());
}

const A: &str = "[[site]]\nhosts = [\"a.test\"]\nroot = \"a\"\ncleartext = \"serve\"\n";
const B: &str = "[[site]]\nhosts = [\"b.test\"]\nroot = \"b\"\ncleartext = \"serve\"\n";
const FILES: &[(&str, &str)] = &[("a/index.html", "site a"), ("b/index.html", "site b")];

/// Sites, rules, headers, hints and the policy of TLS change at once, on three protocols; what
/// needs a start is named.
#[test]
fn l7_all_that_can_change_changes_at_once() {
    let dir = folder(A, FILES);
    let server = serve(&dir);
    let mut open = Client::connect(server.http());
    let get = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    open.send(get);
    assert_eq!(open.response("GET").text(), "site a");
    assert_eq!(clear(&server, "b.test", "/").status, 421);
    let rules = "headers = { x-new = \"yes\" }\nredirect = [{ from = \"/old\", to = \"/new\" }]\n";
    let more = "engine.batch_wait_us = 10\n\
                hints = [{ path = \"/hinted\", links = [\"</s.css>; rel=preload; as=style\"] }]\n";
    // The table of TLS is the last.
    configure(&dir, &format!("{more}{A}{rules}{B}"));
    let path = dir.path().join("ringway.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}hsts = \"max-age=60\"\n")).unwrap();
    reload(&server);
    for answer in every(&server, "a.test", "/") {
        let way = answer.way;
        assert_eq!((answer.status, answer.body.as_str()), (200, "site a"), "{way}");
        assert_eq!(answer.field("x-new"), Some("yes"), "{way}");
        let policy = (way != "h1").then_some("max-age=60");
        assert_eq!(answer.field("strict-transport-security"), policy, "{way}");
    }
    every(&server, "b.test", "/").iter().for_each(|answer| assert_eq!(answer.body, "site b"));
    assert_eq!(clear(&server, "a.test", "/old").location(), "/new");
    let hinted = clear(&server, "a.test", "/hinted");
    assert_eq!(
        (hinted.status, hinted.field("link")),
        (103, Some("</s.css>; rel=preload; as=style"))
    );
    open.send(get);
    assert_eq!(open.response("GET").field("x-new"), Some("yes"), "on a connection that was open");
    let waits = "`engine.batch_wait_us` has changed: that takes effect at the next start";
    assert_eq!(said(&server, waits), 1, "{}", server.output());
    assert_eq!(said(&server, "has changed"), 1, "{}", server.output());
}

/// Bounds change for connections that are open, too.
#[test]
fn l7_timeouts_and_rates_are_those_of_the_file() {
    let dir = folder(A, FILES);
    let server = serve(&dir);
    let mut idle = Client::connect(server.http());
    idle.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(idle.response("GET").text(), "site a");
    configure(&dir, &format!("limits.idle_timeout = \"50ms\"\nlimits.request_line = 256\n{A}"));
    reload(&server);
    idle.expect_end();
    let long = "x".repeat(300);
    assert_eq!(clear(&server, "a.test", &format!("/{long}")).status, 414);
}

/// L7: a mistake changes nothing, is named by its place, and shows in the metrics.
#[test]
fn l7_a_mistake_changes_nothing() {
    let dir = folder(&format!("metrics = \"127.0.0.1:0\"\n{A}"), FILES);
    let server = serve(&dir);
    let ok = || server.metric("ringway_config_ok");
    assert_eq!(ok(), 1);
    let metrics = "metrics = \"127.0.0.1:0\"\n";
    // The certificate is found to be wrong only after all else was found right.
    dir.write("bad.pem", b"nothing");
    let bad = "certificate = { cert = \"bad.pem\", key = \"all.key\" }\n";
    let log = "log = { format = \"json\", file = \"no/such/dir/log\" }\n";
    for (text, place) in [
        (format!("{metrics}{A}cachee = 1\n{B}"), "ringway.toml:9:1: `site`: unknown key `cachee`"),
        (format!("{metrics}{A}{B}{bad}"), "ringway.toml:13:15: "),
        (format!("{metrics}{log}{A}{B}"), "ringway.toml:5:"),
        (format!("{metrics}limits.sites = 1\n{A}{B}"), "ringway.toml:10:1: 2 sites are more"),
        ("[[site".to_owned(), "ringway.toml:4:"),
    ] {
        configure(&dir, &text);
        reload(&server);
        assert_eq!(said(&server, place), 1, "{text}: {}", server.output());
        assert_eq!(clear(&server, "a.test", "/").body, "site a");
        assert_eq!(clear(&server, "b.test", "/").status, 421, "{text}");
        assert_eq!(ok(), 0);
        configure(&dir, &format!("{metrics}{A}"));
        reload(&server);
        assert_eq!(ok(), 1);
        // So that the next mistake is the first of its kind.
        std::fs::remove_file(dir.path().join("ringway.toml")).unwrap();
    }
    assert_eq!(said(&server, "is not taken"), 5, "{}", server.output());
}

/// L8: a site that is as it was answers from memory throughout, while others come and go under
/// load; no request is lost.
#[test]
fn l8_what_is_hot_stays_hot() {
    let metrics = "metrics = \"127.0.0.1:0\"\n";
    let dir = folder(&format!("{metrics}{A}"), FILES);
    for n in 0..20 {
        dir.write(&format!("a/{n}.txt"), format!("file {n}").as_bytes());
    }
    let server = serve(&dir);
    (0..20).for_each(|n| assert_eq!(clear(&server, "a.test", &format!("/{n}.txt")).status, 200));
    let misses = || server.metric("ringway_file_cache_total{result=\"miss\"}");
    eventually("the misses are counted", || misses() >= 20);
    let before = misses();
    let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut client = Client::connect(server.http());
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    client.send(format!("GET /{n}.txt HTTP/1.1\r\nHost: a.test\r\n\r\n"));
                    assert_eq!(client.response("GET").text(), format!("file {n}"));
                    served.fetch_add(1, Ordering::Relaxed);
                    n = (n + 1) % 20;
                }
            });
        }
        for n in 0..100 {
            // Every time another value, which has to be seen.
            let extra = format!("headers = {{ x-n = \"{n}\" }}\n");
            let at = dir.path().join("next.toml");
            configure(&dir, &format!("{metrics}{A}{B}{extra}"));
            // As a deployment does: beside it, and renamed.
            std::fs::rename(dir.path().join("ringway.toml"), &at).unwrap();
            std::fs::rename(&at, dir.path().join("ringway.toml")).unwrap();
            reload(&server);
            let answer = clear(&server, "b.test", "/");
            assert_eq!(answer.field("x-n"), Some(n.to_string().as_str()));
            assert_eq!(answer.body, "site b");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(served.load(Ordering::Relaxed) > 100);
    assert_eq!(said(&server, "reloaded in "), 100, "{}", server.output());
    let last = "2 directories, 1 as before";
    assert_eq!(said(&server, last), 100, "site b has changed each time: {}", server.output());
    // The other site's page was read at each of its changes, site a's files never.
    let fresh = misses() - before;
    assert!(fresh <= 100, "{fresh} loads");
    assert!(fresh >= 90, "{fresh} loads are counted");
}

/// L10: a download goes on with the settings and the directory that it began with.
#[test]
fn l10_one_body_while_the_root_moves() {
    const BYTES: usize = 64 << 20;
    let dir = folder(A, FILES);
    let content = harness::pattern(BYTES);
    dir.write("a/large", &content);
    dir.write("c/large", b"another");
    let server = serve(&dir);
    let mut stream = TcpStream::connect(server.http()).unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut said = vec![0; 1 << 20];
    stream.read_exact(&mut said).unwrap();
    configure(&dir, &A.replace("root = \"a\"", "root = \"c\""));
    reload(&server);
    assert_eq!(clear(&server, "a.test", "/large").body, "another");
    std::fs::rename(dir.path().join("a"), dir.path().join("gone")).unwrap();
    stream.read_to_end(&mut said).unwrap();
    let head = said.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(said.len() - head, BYTES);
    assert!(said[head..] == content, "one body");
}

/// Row 104: half a file, a pipe, an endless device, 5 MiB, a thousand signals.
#[test]
fn row_104_reloads_are_bounded() {
    let dir = folder(A, FILES);
    let server = serve(&dir);
    let path = dir.path().join("ringway.toml");
    let whole = std::fs::read_to_string(&path).unwrap();
    let made = Command::new("mkfifo").arg(dir.path().join("pipe")).status().unwrap();
    assert!(made.success());
    dir.write("large", &vec![b'#'; 5 << 20]);
    for (target, why) in [
        ("pipe", "no regular file"),
        ("/dev/zero", "no regular file"),
        ("large", "more than 4 MiB"),
        ("/nonexistent", "No such file"),
    ] {
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(target, &path).unwrap();
        reload(&server);
        assert_eq!(said(&server, why), if target == "/dev/zero" { 2 } else { 1 }, "{why}");
        assert_eq!(clear(&server, "a.test", "/").body, "site a");
    }
    std::fs::remove_file(&path).unwrap();
    // The first half is a valid configuration: of it nothing is used, if the second comes soon.
    let (first, second) = whole.split_at(whole.find("[tls]").unwrap());
    let half = format!("{first}headers = {{ x-whole = \"no\" }}\n");
    let both = format!("{first}headers = {{ x-whole = \"yes\" }}\n{second}");
    let is_soon = |_: &u32| {
        let (began, before) = (Instant::now(), said(&server, "reloaded in "));
        std::fs::write(&path, &half).unwrap();
        server.signal("HUP");
        std::fs::write(&path, &both).unwrap();
        let soon = began.elapsed() < Duration::from_millis(80);
        eventually("it is taken", || said(&server, "reloaded in ") > before);
        soon
    };
    assert!((0..50).find(is_soon).is_some(), "this machine is too slow");
    assert_eq!(clear(&server, "a.test", "/").field("x-whole"), Some("yes"));
    let (resident, before) = (server.resident(), said(&server, "reloaded in "));
    let script = format!("for n in $(seq 1000); do kill -HUP {}; done", server.pid());
    assert!(Command::new("sh").arg("-c").arg(script).status().unwrap().success());
    reload(&server);
    let folded = said(&server, "reloaded in ") - before;
    assert!(folded < 500, "{folded} reloads");
    assert_eq!(clear(&server, "a.test", "/").body, "site a");
    assert!(server.resident() < resident + (16 << 20));
}

/// A reload of 200 sites, of which one has changed; its time is printed.
#[test]
fn l8_two_hundred_sites_are_reloaded_together() {
    let dir = folder(A, FILES);
    let mut sites = String::from(A);
    for n in 0..200 {
        dir.write(&format!("s{n}/index.html"), format!("site {n}").as_bytes());
        let _ = write!(
            sites,
            "[[site]]\nhosts = [\"s{n}.w.test\"]\nroot = \"s{n}\"\ncleartext = \"serve\"\n\
             redirect = [{{ from = \"/old/*\", to = \"/new/$1\" }}]\n"
        );
    }
    let server = serve(&dir);
    configure(&dir, &sites);
    reload(&server);
    (0..200).step_by(7).for_each(|n| {
        assert_eq!(clear(&server, &format!("s{n}.w.test"), "/").body, format!("site {n}"));
    });
    configure(&dir, &sites.replace("root = \"s7\"", "root = \"s7\"\nbrowse = true"));
    std::thread::sleep(Duration::from_millis(150));
    reload(&server);
    assert_eq!(clear(&server, "s7.w.test", "/").body, "site 7");
    let output = server.output();
    assert!(output.contains("201 directories, 200 as before"), "{output}");
    let took = output.lines().rfind(|line| line.contains("reloaded in "));
    println!("200 sites, one changed: {}", took.unwrap_or_default());
}
