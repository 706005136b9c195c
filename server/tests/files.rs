//! Attacks on file serving (rows 32 to 37 of the attack list), and the basics of a plain site.
//! `ringway serve` over HTTP/1.1, from outside.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs::File;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, SystemTime};

use harness::client::Client;
use harness::process::Process;
use harness::watch::Watch;
use harness::{TempDir, eventually, pattern};

const SECRET: &[u8] = b"the secret outside the root";

/// A directory with a secret, and a site below it.
fn outside_and_site() -> TempDir {
    TempDir::with(&[
        ("secret.txt", SECRET),
        ("site/index.html", b"<!doctype html>home"),
        ("site/a.txt", b"a text"),
        ("site/dir/index.html", b"<!doctype html>dir"),
        ("site/.hidden", b"the secret in the root"),
        ("site/.git/config", b"the secret in the root"),
    ])
}

#[test]
fn row_32_no_path_leads_out_of_the_root() {
    let temp = outside_and_site();
    let server = Process::serve(&temp.path().join("site"), &[]);
    let ups = [
        "..",
        "%2e%2e",
        ".%2e",
        "%2E.",
        "..%00",
        "%252e%252e",
        "%c0%ae%c0%ae",
        "%e0%80%ae%e0%80%ae",
        "..%5c",
        "..\\",
        "%uff0e%uff0e",
        ".%00.",
        "%2e%2e%2f%2e%2e",
    ];
    let mut targets = Vec::new();
    for up in ups {
        for prefix in ["", "/dir", "/dir/.", "/a.txt", "/nothing"] {
            for slash in ["/", "%2f", "%5c", "//", "\\"] {
                targets.push(format!("{prefix}/{up}{slash}secret.txt"));
                targets.push(format!("{prefix}/{up}{slash}{up}{slash}secret.txt"));
            }
        }
    }
    targets.push(format!("/{}", temp.path().join("secret.txt").display()));
    targets.push("/dir/index.html%00.txt".into());
    targets.push("/a.txt%00".into());
    let watch = Watch::new(&server, "/a.txt");
    watch.during(4 << 20, || {
        for target in &targets {
            let mut client = server.client();
            let response = client.get(target);
            // A redirect that appends a slash must not leave the site either.
            let refused = matches!(response.status, 400 | 403 | 404 | 301 | 308);
            assert!(refused, "{target}: {} {:?}", response.status, response.body);
            assert!(!contains(&response.body, b"secret"), "{target}");
        }
    });
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn row_33_links_out_hidden_files_and_special_files() {
    let temp = outside_and_site();
    let site = temp.path().join("site");
    symlink(temp.path().join("secret.txt"), site.join("out.txt")).unwrap();
    symlink("../secret.txt", site.join("up.txt")).unwrap();
    symlink(temp.path(), site.join("outdir")).unwrap();
    symlink("loop", site.join("loop")).unwrap();
    symlink("a.txt", site.join("inside.txt")).unwrap();
    let made = Command::new("mkfifo").arg(site.join("fifo")).status().unwrap();
    assert!(made.success());
    let server = Process::serve(&site, &[]);
    for target in [
        "/out.txt",
        "/up.txt",
        "/outdir/secret.txt",
        "/outdir/",
        "/loop",
        "/.hidden",
        "/.git/config",
        "/.git/",
        "/%2ehidden",
        "/dir/../.hidden",
    ] {
        let mut client = server.client();
        let response = client.get(target);
        assert!(matches!(response.status, 400 | 403 | 404), "{target}: {}", response.status);
        assert!(!contains(&response.body, b"secret"), "{target}");
    }
    let mut client = server.client();
    assert_eq!(client.get("/inside.txt").body, b"a text", "a link that stays inside is served");
    // A FIFO without a writer must not block the worker.
    let mut waiting = server.client();
    let response = waiting.get("/fifo");
    assert!(matches!(response.status, 403 | 404), "{}", response.status);
    assert_eq!(client.get("/a.txt").status, 200);
}

#[test]
fn row_34_ranges_that_overflow() {
    let temp = outside_and_site();
    let server = Process::serve(&temp.path().join("site"), &[]);
    let ranges = [
        "bytes=-9223372036854775808",
        "bytes=-18446744073709551615",
        "bytes=-18446744073709551616",
        "bytes=9223372036854775807-9223372036854775808",
        "bytes=18446744073709551615-",
        "bytes=0-18446744073709551616",
        "bytes=5-2",
        "bytes=100-",
        "bytes=-0",
        "bytes=--1",
        "bytes=1-+2",
        "bytes= 0 - 1",
        "bytes=0x0-0x1",
        "bytes=",
        "bytes=a-b",
        "lines=1-2",
    ];
    for range in ranges {
        let mut client = server.client();
        let response = client.request("GET", "/a.txt", &format!("Range: {range}\r\n"), b"");
        match response.status {
            200 => assert_eq!(response.body, b"a text", "{range}"),
            206 => assert!(b"a text".ends_with(&response.body) || response.body.len() <= 6),
            416 => assert_eq!(response.field("content-range"), Some("bytes */6"), "{range}"),
            status => panic!("{range}: {status}"),
        }
    }
}

#[test]
fn row_35_many_overlapping_ranges() {
    let body = pattern(100_000);
    let site = TempDir::with(&[("big.bin", &body)]);
    let server = Process::serve(site.path(), &[]);
    let watch = Watch::new(&server, "/big.bin");
    watch.during(8 << 20, || {
        for piece in ["0-", "0-99999", "5-,0-", "-100000", "0-0,2-2,4-4"] {
            let mut list = vec![piece; 800].join(",");
            list.truncate(6000);
            let list = list.trim_end_matches(|c: char| c != '-' && !c.is_ascii_digit());
            let mut client = server.client();
            let response =
                client.request("GET", "/big.bin", &format!("Range: bytes={list}\r\n"), b"");
            assert!(matches!(response.status, 200 | 206 | 400 | 416), "{}", response.status);
            assert!(response.body.len() <= 2 * body.len(), "{} bytes", response.body.len());
            let parts = String::from_utf8_lossy(&response.body).matches("Content-Range").count();
            assert!(parts <= 16, "{parts} parts");
        }
    });
}

#[test]
fn row_36_a_file_that_shrinks_while_it_is_sent() {
    let site = TempDir::with(&[("a.txt", b"a text")]);
    let path = site.path().join("big.bin");
    let len: usize = 64 << 20;
    File::create(&path).unwrap().set_len(len as u64).unwrap();
    let mut server = Process::serve(site.path(), &[]);
    let mut client = Client::with_tiny_window(server.http());
    client.send("GET /big.bin HTTP/1.1\r\nHost: test\r\n\r\n");
    while client.buffer.len() < 512 {
        assert!(client.fill());
    }
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    client.send("GET /a.txt HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut got = client.buffer.len();
    client.buffer.clear();
    while client.fill() {
        got += client.buffer.len();
        client.buffer.clear();
    }
    assert!(got < len, "the rest was never sent, but {got} bytes came");
    assert!(server.is_running());
    let mut client = server.client();
    assert_eq!(client.get("/a.txt").body, b"a text");
    let response = client.get("/big.bin");
    assert_eq!((response.status, response.body.len()), (200, 0), "the new length is seen");
}

#[test]
fn row_36_a_file_that_is_replaced_while_it_is_sent() {
    let (old, new) = (vec![b'o'; 32 << 20], vec![b'n'; 1000]);
    let site = TempDir::with(&[("big.bin", &old), ("new", &new)]);
    let server = Process::serve(site.path(), &[]);
    let mut client = Client::with_tiny_window(server.http());
    client.send("GET /big.bin HTTP/1.1\r\nHost: test\r\n\r\n");
    while client.buffer.len() < 512 {
        assert!(client.fill());
    }
    std::fs::rename(site.path().join("new"), site.path().join("big.bin")).unwrap();
    let response = client.response("GET");
    assert!(response.body == old, "what was begun is finished from the old file");
    eventually("the new file is served", || server.client().get("/big.bin").body == new);
}

#[test]
fn row_37_validators_follow_the_content() {
    let site = TempDir::with(&[("a.txt", b"first")]);
    let server = Process::serve(site.path(), &[]);
    let mut client = server.client();
    let path = site.path().join("a.txt");
    let first = client.get("/a.txt");
    let tag = first.field("etag").expect("an ETag").to_owned();
    let date = first.field("last-modified").expect("a date").to_owned();
    let fresh = client.request("GET", "/a.txt", &format!("If-None-Match: {tag}\r\n"), b"");
    assert_eq!((fresh.status, fresh.field("etag")), (304, Some(tag.as_str())));

    // The same size, and a modification time that goes backwards.
    std::fs::write(&path, b"other").unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(86_400);
    File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    eventually("the change is noticed", || client.get("/a.txt").body == b"other");
    let stale = client.request("GET", "/a.txt", &format!("If-None-Match: {tag}\r\n"), b"");
    assert_eq!(stale.status, 200);
    assert_ne!(stale.field("etag"), Some(tag.as_str()));
    let stale = client.request("GET", "/a.txt", &format!("If-Modified-Since: {date}\r\n"), b"");
    assert!(matches!(stale.status, 200 | 304), "the RFC allows both for an older file");
}

#[test]
fn a_plain_site_works() {
    let temp = outside_and_site();
    let big = pattern(3_000_000);
    temp.write("site/big.bin", &big);
    temp.write("site/empty", b"");
    temp.write("site/a b ü.txt", b"a name to encode");
    let server = Process::serve(&temp.path().join("site"), &[]);
    let mut client = server.client();
    for (target, kind, body) in [
        ("/", "text/html", b"<!doctype html>home".as_slice()),
        ("/index.html", "text/html", b"<!doctype html>home"),
        ("/dir/", "text/html", b"<!doctype html>dir"),
        ("/a.txt", "text/plain", b"a text"),
        ("/a.txt?query", "text/plain", b"a text"),
        ("/a%20b%20%C3%BC.txt", "text/plain", b"a name to encode"),
        ("/big.bin", "application/octet-stream", &big),
        ("/empty", "application/octet-stream", b""),
    ] {
        let response = client.get(target);
        assert_eq!(response.status, 200, "{target}");
        assert!(response.body == body, "{target}");
        let sent = response.field("content-type").unwrap_or("application/octet-stream");
        assert!(sent.starts_with(kind), "{target} is {sent}");
    }
    let response = client.get("/dir");
    assert!(matches!(response.status, 301 | 308));
    assert_eq!(response.field("location"), Some("/dir/"));
    assert_eq!(client.get("/nothing").status, 404);
    assert_eq!(client.get("/a.txt/").status, 404);
}
