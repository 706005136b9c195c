//! Deployments: a served directory is replaced, is missing for a while, and comes back (row F3).
//! `ringway serve` over every protocol, and the library's `.files()`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::h2::H2;
use harness::process::Process;
use harness::quic::H3;
use harness::{TempDir, eventually};
use ringway::{Bound, Router, Server};

/// A change is noticed within a second; the slack is for busy machines.
const NOTICED: Duration = Duration::from_secs(5);

/// A client for each protocol, with connections that live as long as the test.
struct Clients {
    h1: Client,
    h2: H2,
    h3: H3,
}

impl Clients {
    fn new(server: &Process) -> Self {
        let (h2, h3) = (H2::tls(server.at("https")), H3::connect(server.at("h3")));
        Self { h1: server.client(), h2, h3 }
    }

    /// Status and text, by HTTP/1.1, 2 and 3.
    fn get(&mut self, path: &str) -> [(u16, String); 3] {
        let one = self.h1.get(path);
        let (two, three) = (self.h2.get(path), self.h3.get(path));
        [
            (one.status, one.text().to_owned()),
            (two.status(), two.text().to_owned()),
            (three.status(), three.text()),
        ]
    }

    /// Every protocol soon answers with this status, and this text if given.
    fn turn_to(&mut self, path: &str, status: u16, text: &str) {
        let start = Instant::now();
        loop {
            let got = self.get(path);
            if got.iter().all(|(is, body)| *is == status && (text.is_empty() || body == text)) {
                return;
            }
            assert!(start.elapsed() < NOTICED, "{path}: {got:?} instead of {status} {text:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn serve(dir: &Path) -> (Process, Clients) {
    let server = Process::serve(dir, &["--https", "127.0.0.1:0"]);
    server.wait_for("http,https,h3");
    let clients = Clients::new(&server);
    (server, clients)
}

/// How many lines contain both of these.
fn said(server: &Process, what: &str, of: &Path) -> usize {
    let of = of.display().to_string();
    let output = server.output();
    output.lines().filter(|line| line.contains(what) && line.contains(&of)).count()
}

#[test]
fn f3_a_symbolic_link_that_is_swapped_is_followed() {
    let temp = TempDir::with(&[("r0/a.txt", b"old"), ("r1/a.txt", b"new"), ("r1/b.txt", b"more")]);
    let link = temp.path().join("current");
    symlink("r0", &link).unwrap();
    let (server, mut clients) = serve(&link);
    clients.turn_to("/a.txt", 200, "old");
    clients.turn_to("/b.txt", 404, "");
    symlink("r1", temp.path().join("next")).unwrap();
    fs::rename(temp.path().join("next"), &link).unwrap();
    clients.turn_to("/a.txt", 200, "new");
    clients.turn_to("/b.txt", 200, "more");
    eventually("it is said", || said(&server, "is another directory now", &link) == 1);
}

#[test]
fn f3_a_directory_that_is_built_anew_or_comes_back_is_served() {
    let temp = TempDir::with(&[("dist/a.txt", b"one")]);
    let (dist, away) = (temp.path().join("dist"), temp.path().join("away"));
    let (server, mut clients) = serve(&dist);
    clients.turn_to("/a.txt", 200, "one");
    fs::remove_dir_all(&dist).unwrap();
    clients.turn_to("/a.txt", 503, "");
    temp.write("dist/a.txt", b"two");
    clients.turn_to("/a.txt", 200, "two");
    // Moved away: its files are no longer served, although the descriptor still reaches them.
    fs::rename(&dist, &away).unwrap();
    clients.turn_to("/a.txt", 503, "");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(said(&server, "cannot open ", &dist), 2, "once each time: {}", server.output());
    fs::rename(&away, &dist).unwrap();
    clients.turn_to("/a.txt", 200, "two");
    assert_eq!(said(&server, "is there again", &dist), 2, "{}", server.output());
    // A file with that name is not a directory.
    fs::rename(&dist, &away).unwrap();
    fs::write(&dist, "a file").unwrap();
    clients.turn_to("/a.txt", 503, "");
    assert_eq!(said(&server, "cannot open ", &dist), 3, "{}", server.output());
}

#[test]
fn f3_a_parent_that_is_swapped_and_sighup() {
    let temp = TempDir::with(&[("v1/site/a.txt", b"one"), ("v2/site/a.txt", b"two")]);
    let link = temp.path().join("app");
    symlink("v1", &link).unwrap();
    let (server, mut clients) = serve(&link.join("site"));
    clients.turn_to("/a.txt", 200, "one");
    symlink("v2", temp.path().join("next")).unwrap();
    fs::rename(temp.path().join("next"), &link).unwrap();
    clients.turn_to("/a.txt", 200, "two");
    // SIGHUP takes effect at once, for a missing directory too.
    fs::remove_file(&link).unwrap();
    server.signal("HUP");
    clients.turn_to("/a.txt", 503, "");
    symlink("v1", &link).unwrap();
    server.signal("HUP");
    clients.turn_to("/a.txt", 200, "one");
    assert_eq!(said(&server, "cannot open ", &link), 1, "{}", server.output());
}

/// A download is finished from the directory in which it began.
#[test]
fn f3_a_download_under_way_outlives_its_directory() {
    let old = harness::pattern(8 << 20);
    let temp = TempDir::with(&[("r0/big.bin", &old), ("r1/big.bin", b"new")]);
    let link = temp.path().join("current");
    symlink("r0", &link).unwrap();
    let server = Process::serve(&link, &[]);
    let mut reader = Client::with_tiny_window(server.http());
    reader.send("GET /big.bin HTTP/1.1\r\nHost: test\r\n\r\n");
    std::thread::sleep(Duration::from_millis(100));
    symlink("r1", temp.path().join("next")).unwrap();
    fs::rename(temp.path().join("next"), &link).unwrap();
    eventually("the new one is served", || server.client().get("/big.bin").body == b"new");
    fs::remove_dir_all(temp.path().join("r0")).unwrap();
    assert!(reader.response("GET").body == old);
}

/// The library: several roots, several workers, one root that does not exist yet.
#[test]
fn f3_the_roots_of_a_router_are_followed_each_by_itself() {
    let temp = TempDir::with(&[("a/x.txt", b"a1"), ("b/x.txt", b"b1")]);
    let [a, b, c] = ["a", "b", "c"].map(|name| temp.path().join(name));
    let app = Router::new().files("/a", &a).files("/b", &b).files("/c", &c);
    let server = Server::new(app).workers(2).http("127.0.0.1:0").start().unwrap();
    let Bound::Ip(at) = server.local_addrs()[0].1 else { panic!("a TCP listener") };
    let get = |path: &str| {
        let mut client = Client::connect(at);
        let response = client.get(path);
        (response.status, response.text().to_owned())
    };
    let becomes = |path: &str, status: u16, text: &str| {
        // Each worker has its own side: a few connections reach both.
        eventually(path, || {
            let is_right =
                |(is, body): (u16, String)| is == status && (text.is_empty() || body == text);
            (0..8).all(|_| is_right(get(path)))
        });
    };
    becomes("/a/x.txt", 200, "a1");
    becomes("/b/x.txt", 200, "b1");
    becomes("/c/x.txt", 500, "");
    fs::rename(&a, temp.path().join("old")).unwrap();
    temp.write("a/x.txt", b"a2");
    temp.write("c/x.txt", b"c1");
    becomes("/a/x.txt", 200, "a2");
    becomes("/b/x.txt", 200, "b1");
    becomes("/c/x.txt", 200, "c1");
    server.stop();
    server.join().unwrap();
}
