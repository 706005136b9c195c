//! File serving: feature rows A10, A12 and B1 to B8, and the attack rows about its responses (20 to
//! 23, 38 and 39). `ringway serve` over HTTP/1.1, from outside.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use harness::client::Response;
use harness::process::Process;
use harness::{TempDir, eventually, pattern};

/// A site whose files are an hour old.
fn site() -> TempDir {
    let site = TempDir::with(&[
        ("index.html", b"<!doctype html>home"),
        ("a.txt", b"a text"),
        ("assets/app-3f2a9c1b.js", b"let a;"),
        ("assets/app.js", b"let b;"),
        ("docs/index.html", b"<!doctype html>docs"),
        ("docs/a b/index.html", b"<!doctype html>a b"),
    ]);
    site.write("small.bin", &pattern(10_000));
    site.write("large.bin", &pattern(5_000_000));
    for name in ["index.html", "a.txt", "assets/app.js", "small.bin", "large.bin"] {
        age(&site.path().join(name), 3600);
    }
    site
}

fn age(path: &Path, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

fn get(server: &Process, target: &str, fields: &str) -> Response {
    server.client().request("GET", target, fields, b"")
}

#[test]
fn row_a10_and_23_lengths_and_no_body_where_none_belongs() {
    let site = site();
    let server = Process::serve(site.path(), &[]);
    let mut client = server.client();
    for target in ["/", "/a.txt", "/small.bin", "/large.bin"] {
        let got = client.get(target);
        let head = client.request("HEAD", target, "", b"");
        assert_eq!(got.field("content-length"), Some(got.body.len().to_string().as_str()));
        assert_eq!((head.status, head.body.len()), (200, 0));
        for name in ["content-length", "content-type", "etag", "last-modified", "accept-ranges"] {
            assert!(head.field(name).is_some(), "{target} {name}");
            assert_eq!(head.field(name), got.field(name), "{target} {name}");
        }
    }
    // Nothing follows the head of a HEAD or a 304: the next reply of the pipeline is aligned.
    let tag = client.get("/large.bin").field("etag").unwrap().to_owned();
    client.send(format!(
        "HEAD /large.bin HTTP/1.1\r\nHost: test\r\n\r\n\
         GET /large.bin HTTP/1.1\r\nHost: test\r\nIf-None-Match: {tag}\r\n\r\n\
         OPTIONS /a.txt HTTP/1.1\r\nHost: test\r\n\r\n\
         GET /a.txt HTTP/1.1\r\nHost: test\r\n\r\n",
    ));
    assert_eq!(client.response("HEAD").status, 200);
    assert_eq!(client.response("GET").status, 304);
    assert_eq!(client.response("OPTIONS").status, 204);
    assert_eq!(client.response("GET").body, b"a text");
    assert!(client.buffer.is_empty());
}

#[test]
fn row_a12_and_22_methods() {
    let site = site();
    let server = Process::serve(site.path(), &[]);
    for (method, status) in [
        ("GET", 200),
        ("HEAD", 200),
        ("OPTIONS", 204),
        ("POST", 405),
        ("PUT", 405),
        ("PATCH", 405),
        ("DELETE", 405),
        ("TRACE", 405),
        ("BREW", 501),
        ("get", 501),
    ] {
        let body: &[u8] = if matches!(method, "POST" | "PUT" | "PATCH") { b"body" } else { b"" };
        let length = format!("Content-Length: {}\r\n", body.len());
        let fields = if body.is_empty() { "" } else { &length };
        let response = server.client().request(method, "/a.txt", fields, body);
        assert_eq!(response.status, status, "{method}");
        let allow = response.field("allow").unwrap_or_default();
        if matches!(status, 204 | 405) {
            for allowed in ["GET", "HEAD", "OPTIONS"] {
                assert!(allow.split(", ").any(|name| name == allowed), "{method}: {allow}");
            }
        }
    }
    let mut client = server.client();
    client.send("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n");
    assert!(matches!(client.response("GET").status, 400 | 405));
}

#[test]
fn row_b1_cache_control() {
    let site = site();
    let server = Process::serve(site.path(), &[]);
    for (target, value) in [
        ("/", Some("no-cache")),
        ("/docs/", Some("no-cache")),
        ("/assets/app-3f2a9c1b.js", Some("public, max-age=31536000, immutable")),
        ("/assets/app.js", None),
    ] {
        let response = get(&server, target, "");
        assert_eq!((response.status, response.field("cache-control")), (200, value), "{target}");
    }
}

#[test]
fn row_b3_the_tag_changes_when_the_content_does() {
    let site = site();
    let server = Process::serve(site.path(), &[]);
    for target in ["/a.txt", "/large.bin"] {
        let path = site.path().join(&target[1..]);
        let tag = |server: &Process| get(server, target, "").field("etag").unwrap().to_owned();
        let old = tag(&server);
        assert!(old.starts_with('"') && old.ends_with('"'), "a strong tag: {old}");
        assert_eq!(tag(&server), old);
        // The same size within the same second.
        let mut content = fs::read(&path).unwrap();
        content[1] ^= 1;
        let stamp = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, &content).unwrap();
        File::options().append(true).open(&path).unwrap().set_modified(stamp).unwrap();
        eventually("a new tag", || tag(&server) != old);
        assert!(get(&server, target, "").body == content);
    }
    // Touched, but the same: what is small enough to be kept in memory keeps its tag.
    let old = get(&server, "/small.bin", "").field("etag").unwrap().to_owned();
    age(&site.path().join("small.bin"), 10);
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(get(&server, "/small.bin", "").field("etag"), Some(old.as_str()));
}

#[test]
fn row_b4_if_none_match() {
    let site = site();
    let server = Process::serve(site.path(), &[]);
    server.await_content_tag("/large.bin");
    for target in ["/assets/app-3f2a9c1b.js", "/large.bin"] {
        let tag = get(&server, target, "").field("etag").unwrap().to_owned();
        for value in [tag.clone(), format!("W/{tag}"), "*".into(), format!("\"x\", {tag}, \"y\"")] {
            let response = get(&server, target, &format!("If-None-Match: {value}\r\n"));
            assert_eq!((response.status, response.body.len()), (304, 0), "{value}");
            assert_eq!(response.field("etag"), Some(tag.as_str()));
            assert!(response.field("date").is_some());
            assert_eq!(response.field("content-type"), None);
        }
        let two = format!("If-None-Match: \"x\"\r\nIf-None-Match: {tag}\r\n");
        assert_eq!(get(&server, target, &two).status, 304);
        for value in ["\"x\"", "x", "\"x"] {
            let response = get(&server, target, &format!("If-None-Match: {value}\r\n"));
            assert_eq!((response.status, response.field("etag")), (200, Some(tag.as_str())));
        }
    }
    let tag = get(&server, "/assets/app-3f2a9c1b.js", "").field("etag").unwrap().to_owned();
    let response = get(&server, "/assets/app-3f2a9c1b.js", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(response.field("cache-control"), Some("public, max-age=31536000, immutable"));
}

#[test]
fn row_b5_if_modified_since() {
    let site = site();
    let server = Process::serve(site.path(), &[]);
    let date = get(&server, "/a.txt", "").field("last-modified").unwrap().to_owned();
    let since = |date: &str| format!("If-Modified-Since: {date}\r\n");
    assert_eq!(get(&server, "/a.txt", &since(&date)).status, 304);
    assert_eq!(get(&server, "/a.txt", &since("Sun, 06 Nov 1994 08:49:37 GMT")).status, 200);
    assert_eq!(get(&server, "/a.txt", &since("not a date")).status, 200);
    let both = format!("{}If-None-Match: \"x\"\r\n", since(&date));
    assert_eq!(get(&server, "/a.txt", &both).status, 200, "If-None-Match wins");
    // Rolled back to an older version: the newer one, which the client has, is no longer current.
    fs::write(site.path().join("a.txt"), "older").unwrap();
    age(&site.path().join("a.txt"), 7200);
    eventually("the older version", || get(&server, "/a.txt", "").body == b"older");
    assert_eq!(get(&server, "/a.txt", &since(&date)).status, 200);
}

#[test]
fn row_b6_if_match_if_unmodified_since_if_range() {
    let site = site();
    let server = Process::serve(site.path(), &[]);
    for target in ["/small.bin", "/large.bin"] {
        let whole = get(&server, target, "");
        let tag = whole.field("etag").unwrap();
        let date = whole.field("last-modified").unwrap();
        for (fields, status) in [
            (format!("If-Match: {tag}\r\n"), 200),
            ("If-Match: *\r\n".into(), 200),
            ("If-Match: \"x\"\r\n".into(), 412),
            (format!("If-Match: W/{tag}\r\n"), 412),
            (format!("If-Unmodified-Since: {date}\r\n"), 200),
            ("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n".into(), 412),
            (format!("If-Match: {tag}\r\nIf-None-Match: {tag}\r\n"), 304),
            (format!("Range: bytes=0-9\r\nIf-Range: {tag}\r\n"), 206),
            (format!("Range: bytes=0-9\r\nIf-Range: W/{tag}\r\n"), 200),
            ("Range: bytes=0-9\r\nIf-Range: \"x\"\r\n".into(), 200),
            (format!("Range: bytes=0-9\r\nIf-Match: {tag}\r\n"), 206),
        ] {
            let response = get(&server, target, &fields);
            assert_eq!(response.status, status, "{target} {fields}");
            match status {
                200 => assert!(response.body == whole.body),
                206 => assert!(response.body == whole.body[..10]),
                _ => {}
            }
        }
    }
}

#[test]
fn row_b7_ranges() {
    let site = site();
    let server = Process::serve(site.path(), &[]);
    for (target, size) in [("/small.bin", 10_000), ("/large.bin", 5_000_000)] {
        let content = fs::read(site.path().join(&target[1..])).unwrap();
        for (range, start, end) in [
            ("bytes=0-0", 0, 1),
            ("bytes=100-199", 100, 200),
            ("bytes=9000-", 9000, size),
            ("bytes=-7", size - 7, size),
            ("bytes=0-99999999", 0, size),
            ("bytes=0-10,5-20", 0, 21),
        ] {
            let response = get(&server, target, &format!("Range: {range}\r\n"));
            assert_eq!(response.status, 206, "{target} {range}");
            let stated = format!("bytes {start}-{}/{size}", end - 1);
            assert_eq!(response.field("content-range"), Some(stated.as_str()));
            assert!(response.body == content[start..end], "{target} {range}");
        }
        let response = get(&server, target, &format!("Range: bytes={size}-\r\n"));
        let stated = format!("bytes */{size}");
        assert_eq!(response.status, 416);
        assert_eq!(response.field("content-range"), Some(stated.as_str()));
        let response = get(&server, target, "Range: bytes=5000-5009,0-9,-10\r\n");
        assert_eq!(response.status, 206);
        let parts = multipart(&response);
        let places = [5000..5010, 0..10, size - 10..size];
        assert_eq!(parts.len(), places.len());
        for ((stated, bytes), place) in parts.into_iter().zip(places) {
            assert_eq!(stated, format!("bytes {}-{}/{size}", place.start, place.end - 1));
            assert!(bytes == content[place]);
        }
    }
}

/// The parts of a `multipart/byteranges` body: Content-Range and bytes.
fn multipart(response: &Response) -> Vec<(String, Vec<u8>)> {
    let kind = response.field("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let find = |bytes: &[u8], needle: &[u8]| {
        bytes.windows(needle.len()).position(|window| window == needle).unwrap()
    };
    let delimiter = format!("--{boundary}\r\n");
    let mut rest = response.body.strip_prefix(delimiter.as_bytes()).unwrap();
    let mut parts = Vec::new();
    loop {
        let head = find(rest, b"\r\n\r\n");
        let text = std::str::from_utf8(&rest[..head]).unwrap();
        let range = text.split("\r\n").find_map(|line| line.strip_prefix("Content-Range: "));
        rest = &rest[head + 4..];
        let end = find(rest, format!("\r\n--{boundary}").as_bytes());
        parts.push((range.unwrap().to_owned(), rest[..end].to_vec()));
        rest = &rest[end + 4 + boundary.len()..];
        match rest {
            b"--\r\n" => return parts,
            _ => rest = rest.strip_prefix(b"\r\n").unwrap(),
        }
    }
}

#[test]
fn row_b8_38_and_39_compressed_files() {
    let site = TempDir::new();
    for (name, content, seconds) in [
        ("app.js", "plain ".repeat(100).as_str(), 3600),
        ("app.js.br", "BR", 60),
        ("app.js.zst", "not that format", 60),
        ("stale.css", "plain ".repeat(100).as_str(), 60),
        ("stale.css.br", "BR", 3600),
        ("alone.css", "plain", 60),
    ] {
        site.write(name, content.as_bytes());
        age(&site.path().join(name), seconds);
    }
    let server = Process::serve(site.path(), &[]);
    let plain = get(&server, "/app.js", "");
    let br = get(&server, "/app.js", "Accept-Encoding: gzip, br\r\n");
    assert_eq!((br.body.as_slice(), br.field("content-encoding")), (&b"BR"[..], Some("br")));
    assert_eq!(br.field("content-type"), plain.field("content-type"));
    assert_eq!(plain.field("content-encoding"), None);
    assert_ne!(br.field("etag"), plain.field("etag"));
    let tag = br.field("etag").unwrap();
    let varied = |response: &Response| {
        response.field("vary").is_some_and(|value| value.eq_ignore_ascii_case("accept-encoding"))
    };
    for (fields, status, coding) in [
        ("Accept-Encoding: br;q=0, *\r\n".to_owned(), 200, None),
        ("Accept-Encoding: identity, br;q=0.5\r\n".into(), 200, None),
        ("Accept-Encoding: gzip\r\nAccept-Encoding: br\r\n".into(), 200, Some("br")),
        ("Accept-Encoding: gzip, identity;q=0\r\n".into(), 406, None),
        (format!("Accept-Encoding: br\r\nIf-None-Match: {tag}\r\n"), 304, None),
        (format!("If-None-Match: {tag}\r\n"), 200, None),
        ("Accept-Encoding: br\r\nRange: bytes=1-\r\n".into(), 206, Some("br")),
    ] {
        let response = get(&server, "/app.js", &fields);
        assert_eq!((response.status, response.field("content-encoding")), (status, coding));
        assert!(varied(&response), "{fields}");
    }
    // Row 38: compressed files that are outdated or invalid are not sent; the log reports them.
    let stale = get(&server, "/stale.css", "Accept-Encoding: br\r\n");
    assert_eq!((stale.body.len(), stale.field("content-encoding")), (600, None));
    eventually("a warning", || server.output().contains("stale.css.br is older"));
    assert_eq!(get(&server, "/alone.css", "Accept-Encoding: br\r\n").field("vary"), None);
    // Row 39: nothing of the Host field appears in a response.
    let mut client = server.client();
    client.send("GET /none HTTP/1.1\r\nHost: poison.example\r\nX-Forwarded-Host: evil\r\n\r\n");
    let response = client.response("GET");
    let all = format!("{:?} {}", response.fields, response.text());
    assert!(!all.contains("poison") && !all.contains("evil"), "{all}");
}

#[test]
fn row_20_and_21_redirects_stay_on_this_host_and_on_one_line() {
    let site = site();
    let server = Process::serve(site.path(), &[]);
    for (target, location) in [
        ("/docs", "/docs/"),
        ("/docs?a=//b&c=%0d%0aX:1", "/docs/?a=//b&c=%0d%0aX:1"),
        ("/docs/a%20b", "/docs/a%20b/"),
        // F5: repeated slashes count as one and never name another host.
        ("//docs", "/docs/"),
        ("//x/..//docs//a%20b", "/docs/a%20b/"),
    ] {
        let response = get(&server, target, "");
        assert_eq!((response.status, response.field("location")), (308, Some(location)));
    }
    for target in [
        "//evil.com/%2e%2e",
        "//evil.com/..",
        "//evil.com/docs",
        "/%5cevil.com/docs",
        "/%0d%0aX:1",
        "/docs%0d%0aX:1",
        "/%2f%2fevil.com",
    ] {
        let response = get(&server, target, "");
        // F5: `//evil.com/..` is the root of this host.
        let is_root = target.starts_with("//evil.com/.") || target.ends_with("%2e%2e");
        let refused = matches!(response.status, 400 | 404);
        assert_eq!((refused, response.status == 200), (!is_root, is_root), "{target}");
        assert_eq!((response.field("location"), response.field("x")), (None, None), "{target}");
    }
}

/// A missing tool is a failure if all tools should be installed, otherwise a named skip.
fn missing(what: &str) {
    assert!(std::env::var_os("RINGWAY_TEST_COMPLETE").is_none(), "{what} is missing");
    println!("skipped: {what} is missing");
}

/// Fields that depend on connection, time or origin and not on the file.
const NOT_OF_THE_FILE: [&str; 4] =
    ["date:", "connection:", "alt-svc:", "strict-transport-security:"];

/// Status, fields of the file, and body.
fn curl(url: &str, options: &[&str]) -> (String, Vec<String>, Vec<u8>) {
    let mut command = Command::new("curl");
    let done = command.args(["-s", "-k", "-i", "--raw"]).args(options).arg(url).output().unwrap();
    assert!(done.status.success(), "curl {options:?} {url}: {}", done.status);
    let head_end = done.stdout.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(done.stdout[..head_end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let fields = lines.map(str::to_ascii_lowercase);
    let fields = fields.filter(|line| !NOT_OF_THE_FILE.iter().any(|name| line.starts_with(name)));
    let mut fields: Vec<String> = fields.collect();
    fields.sort();
    (status, fields, done.stdout[head_end + 4..].to_vec())
}

#[test]
fn row_b10_the_same_over_every_protocol() {
    if Command::new("curl").arg("--version").output().is_err() {
        return missing("curl");
    }
    let site = site();
    site.write("assets/app.js.br", b"BR");
    // Otherwise the content's tag of a large file might become known between two answers.
    let options = ["--h2c", "127.0.0.1:0", "--https", "127.0.0.1:0", "--set", "limits.tag_rate=0"];
    let server = Process::serve(site.path(), &options);
    eventually("the other listeners", || {
        ["h2c", "https"].iter().all(|kind| server.output().contains(&format!("listening {kind} ")))
    });
    let address = |kind: &str| {
        let output = server.output();
        let line = output.lines().find_map(|line| line.strip_prefix(&format!("listening {kind} ")));
        line.unwrap().to_owned()
    };
    let ways = [
        (format!("http://{}", address("http")), "--http1.1"),
        (format!("http://{}", address("h2c")), "--http2-prior-knowledge"),
        (format!("https://{}", address("https")), "--http1.1"),
        (format!("https://{}", address("https")), "--http2"),
    ];
    let etag = get(&server, "/large.bin", "").field("etag").unwrap().to_owned();
    let unless = format!("If-None-Match: {etag}");
    for (target, fields) in [
        ("/", ""),
        ("/a.txt", ""),
        ("/small.bin", ""),
        ("/large.bin", ""),
        ("/large.bin", unless.as_str()),
        ("/large.bin", "Range: bytes=100000-2999999"),
        ("/small.bin", "Range: bytes=99999-"),
        ("/small.bin", "If-Match: \"other\""),
        ("/assets/app.js", "Accept-Encoding: br"),
        ("/assets/app-3f2a9c1b.js", ""),
        ("/docs?a=b", ""),
        ("/none", ""),
        ("/%zz", ""),
    ] {
        let answers = ways.iter().map(|(origin, version)| {
            let options =
                if fields.is_empty() { vec![*version] } else { vec![*version, "-H", fields] };
            curl(&format!("{origin}{target}"), &options)
        });
        let answers: Vec<_> = answers.collect();
        for (answer, (origin, version)) in answers.iter().zip(&ways) {
            assert_eq!(answer.0, answers[0].0, "{version} {origin}{target} {fields}");
            assert_eq!(answer.1, answers[0].1, "{version} {origin}{target} {fields}");
            assert!(answer.2 == answers[0].2, "{version} {origin}{target} {fields}");
        }
    }
}
