//! Row L5: files that are compressed on the way. Row 148 of the attacks: too many at once, and what
//! may not be changed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::Read;
use std::time::{Duration, SystemTime};

use harness::both::{Answer, Both};
use harness::client::Client;
use harness::eventually;
use harness::site::{folder, secure, serve};
use harness::{TempDir, process::Process};
use http::HeaderValue;
use ringway::Files;

fn words(n: usize) -> String {
    (0..n).map(|i| format!("word {} of many; ", i * 7919 % 1000)).collect()
}

fn unpacked(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "br" => drop(brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out).unwrap()),
        "zstd" => out = zstd::decode_all(bytes).unwrap(),
        "gzip" => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap()),
        other => panic!("{other}"),
    }
    out
}

fn coding_of(answer: &Answer) -> Option<String> {
    answer.field("content-encoding")
}

/// Asks until the answers are compressed.
fn pressed(server: &Both, path: &str, coding: &str) -> [Answer; 2] {
    let ask = || server.ask("GET", path, &[("accept-encoding", coding)], b"");
    eventually("it is compressed", || ask().iter().all(|answer| coding_of(answer).is_some()));
    ask()
}

fn write(dir: &TempDir, name: &str, content: impl AsRef<[u8]>) {
    dir.write(name, content.as_ref());
}

#[test]
fn l5_files_are_compressed_once_asked_for() {
    let dir = TempDir::new();
    let text = words(6000);
    write(&dir, "app.js", &text);
    let server = Both::new(Files::new(dir.path()).compress(true));
    for answer in server.ask("GET", "/app.js", &[], b"") {
        assert_eq!((coding_of(&answer), answer.text()), (None, text.as_str()));
        assert_eq!(answer.field("vary").as_deref(), Some("accept-encoding"), "a cache must know");
    }
    let plain = server.get("/app.js")[0].field("etag").unwrap();
    let mut tags = vec![plain.clone()];
    for coding in ["br", "zstd", "gzip"] {
        // The first is not kept waiting.
        let first = server.h1("GET", "/app.js", &[("accept-encoding", coding)], b"");
        assert_eq!((coding_of(&first), first.text()), (None, text.as_str()));
        for answer in pressed(&server, "/app.js", coding) {
            assert_eq!(coding_of(&answer).as_deref(), Some(coding));
            assert!(unpacked(coding, &answer.body) == text.as_bytes(), "{coding}");
            assert!(answer.body.len() < text.len() / 2);
            assert_eq!(answer.field("vary").as_deref(), Some("accept-encoding"));
            let tag = answer.field("etag").unwrap();
            assert!(tag.starts_with('"'), "strong: {tag}");
            let fields = [("accept-encoding", coding), ("if-none-match", tag.as_str())];
            assert_eq!(server.ask("GET", "/app.js", &fields, b"").map(|a| a.status), [304; 2]);
            // Parts are of the compressed form, as with a compressed file on disk.
            let fields = [("accept-encoding", coding), ("range", "bytes=0-9")];
            for part in server.ask("GET", "/app.js", &fields, b"") {
                assert_eq!((part.status, &part.body[..]), (206, &answer.body[..10]));
            }
            for head in server.ask("HEAD", "/app.js", &[("accept-encoding", coding)], b"") {
                assert_eq!(head.field("etag").as_ref(), Some(&tag));
                assert!(head.body.is_empty());
            }
            tags.push(tag);
        }
    }
    tags.dedup();
    assert_eq!(tags.len(), 4, "one for each coding: {tags:?}");
    assert_eq!(server.get("/app.js").map(|a| a.field("etag").unwrap()), [plain.clone(), plain]);

    // Another content is compressed anew.
    let text = words(3000);
    write(&dir, "app.js", &text);
    eventually("the new one is served", || server.get("/app.js")[0].text() == text);
    for answer in pressed(&server, "/app.js", "br, gzip") {
        assert!(unpacked("br", &answer.body) == text.as_bytes());
    }
}

/// Row 148: what may not be changed, or is not worth it, stays as it is and has no Vary.
#[test]
fn l5_148_what_stays_as_it_is() {
    let dir = TempDir::new();
    let fixed = HeaderValue::from_static("max-age=60, No-Transform");
    let text = words(200);
    for name in ["private/page.html", "photo.jpg", "picture.svgz"] {
        write(&dir, name, &text);
    }
    write(&dir, "short.txt", "short");
    write(&dir, "long.txt", words(60_000));
    let files = Files::new(dir.path()).compress(true).cache_control("private/*", fixed);
    let server = Both::new(files);
    let all = ("accept-encoding", "br, zstd, gzip");
    for _ in 0..3 {
        for path in ["/private/page.html", "/photo.jpg", "/short.txt", "/long.txt"] {
            for answer in server.ask("GET", path, &[all], b"") {
                assert_eq!((answer.status, coding_of(&answer)), (200, None), "{path}");
                assert_eq!(answer.field("vary"), None, "{path}");
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    // What would not be smaller stays too, but that is known only afterwards.
    write(&dir, "noise.txt", noise(5000));
    for _ in 0..10 {
        for answer in server.ask("GET", "/noise.txt", &[all], b"") {
            assert_eq!((coding_of(&answer), answer.body.len()), (None, 5000));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes that nothing makes shorter.
fn noise(n: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..n).map(|_| byte()).collect()
}

const SITE: &str = "
[[site]]
root = \"site\"
compress = { codings = [\"gzip\", \"zstd\"], min = \"2KiB\" }
[limits]
compress_queue = 4
";

fn kib(server: &Process) -> u64 {
    server.resident() / 1024
}

/// The keys of a site, over every protocol.
#[test]
fn l5_a_site_says_what_is_compressed() {
    let dir = folder(SITE, &[("site/short.txt", &words(80)), ("site/long.txt", &words(200))]);
    let server = serve(&dir);
    let ask = |path: &str| {
        let all = ("accept-encoding", "br, zstd, gzip;q=0.5");
        secure(&server, "GET", "localhost", path, &[all])
    };
    eventually("it is compressed", || {
        ask("/long.txt").iter().all(|answer| answer.field("content-encoding") == Some("zstd"))
    });
    let tags: Vec<_> =
        ask("/long.txt").iter().map(|a| a.field("etag").unwrap().to_owned()).collect();
    assert!(tags.iter().all(|tag| *tag == tags[0]), "{tags:?}");
    for answer in ask("/short.txt") {
        assert_eq!(
            (answer.status, answer.field("content-encoding")),
            (200, None),
            "{}",
            answer.way
        );
    }
}

/// Row 148: thousands of files at once are answered, and what waits has a bound.
#[test]
fn l5_148_many_files_at_once() {
    const FILES: usize = 2000;
    let dir = folder(SITE, &[]);
    let text = words(2000);
    for n in 0..FILES {
        // Each another content: equal ones would be compressed once.
        write(&dir, &format!("site/{n}.txt"), format!("{n} {text}"));
    }
    let server = serve(&dir);
    let mut client = Client::connect(server.http());
    let mut ask = |n: usize| {
        let answer = client.request("GET", &format!("/{n}.txt"), "Accept-Encoding: gzip\r\n", b"");
        assert_eq!(answer.status, 200);
        let content = match answer.field("content-encoding") {
            Some(coding) => unpacked(coding, &answer.body),
            None => answer.body.clone(),
        };
        assert!(content == format!("{n} {text}").as_bytes(), "{n}");
        answer.field("content-encoding").is_some()
    };
    let before = kib(&server);
    for round in 0..3 {
        let coded = (0..FILES).filter(|n| ask(*n)).count();
        println!("round {round}: {coded} of {FILES} compressed");
    }
    // Each file once, each form once, and nothing of what waited.
    let grown = kib(&server) - before;
    assert!(grown < 160 * 1024, "{grown} KiB");
    eventually("each is compressed in the end", || (0..FILES).step_by(100).all(&mut ask));
}

/// The worker answers others while a mebibyte is compressed.
#[test]
fn l5_nobody_waits_for_a_large_file() {
    let dir = TempDir::new();
    let text = words(52_000);
    assert!((900_000..1 << 20).contains(&text.len()), "{}", text.len());
    write(&dir, "large.txt", &text);
    write(&dir, "small.txt", "small");
    let server = Both::new(Files::new(dir.path()).compress(true));
    let ask = |path: &str| server.h1("GET", path, &[("accept-encoding", "br")], b"");
    assert_eq!(coding_of(&ask("/large.txt")), None);
    let start = SystemTime::now();
    let mut others = 0;
    while coding_of(&server.h1("HEAD", "/large.txt", &[("accept-encoding", "br")], b"")).is_none() {
        assert_eq!(ask("/small.txt").text(), "small");
        others += 1;
        assert!(start.elapsed().unwrap() < harness::PATIENCE, "it is compressed");
    }
    println!("{others} others in {:?}", start.elapsed().unwrap());
    assert!(others >= 3, "{others}");
    assert!(unpacked("br", &ask("/large.txt").body) == text.as_bytes());
}
