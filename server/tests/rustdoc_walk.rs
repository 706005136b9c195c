//! Real input: the documentation that the Rust toolchain ships, tens of thousands of files, served
//! and compared with the disk byte for byte, then opened in a real browser.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use harness::h2::{self, H2};
use harness::process::Process;
use harness::{TempDir, missing};

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
                    let target = target(&root, file);
                    let response = client.get(&target);
                    let disk = fs::read(file).unwrap();
                    assert_eq!(response.status, 200, "{target}");
                    assert!(response.body == disk, "{target} differs from the disk");
                    bytes.fetch_add(disk.len(), Ordering::Relaxed);
                    let sent = response.field("content-type").unwrap_or("-");
                    if let Some(expected) = expected_type(file) {
                        let right = expected.split('|').any(|kind| sent.starts_with(kind));
                        assert!(right, "{target} is {sent}, not {expected}");
                    }
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
    let mut server = Process::serve(&root, &["--https", "127.0.0.1:0"]);
    server.wait_for("https");
    let mut client = H2::tls(server.address("https").unwrap());
    client.send([h2::settings(&[(4, 1 << 20)]), h2::window_update(0, 1 << 24)].concat());
    let mut bytes = 0;
    for files in all.chunks(60) {
        let asked: Vec<u32> = files.iter().map(|_| client.id()).collect();
        let pairs = asked.iter().zip(files);
        let get = |(id, file): (&u32, &PathBuf)| h2::get(*id, &target(&root, file));
        client.send(pairs.clone().flat_map(get).collect::<Vec<_>>());
        for (id, file) in pairs {
            let answer = client.answer(*id);
            client.streams.remove(id);
            assert_eq!(answer.status(), 200, "{}", file.display());
            assert!(answer.body == fs::read(file).unwrap(), "{} differs", file.display());
            let length = answer.field("content-length").unwrap();
            assert_eq!(length, answer.body.len().to_string(), "{}", file.display());
            bytes += answer.body.len();
        }
    }
    println!("{} files, {} MiB, as on the disk", all.len(), bytes >> 20);
}

/// Runs Chromium on a page; the picture, and what it said on standard error.
fn screenshot(url: &str, name: &str) -> Option<(Vec<u8>, String)> {
    let profile = TempDir::new();
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&kept);
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        // The certificate is made for the process's life.
        .arg("--ignore-certificate-errors")
        .args(["--enable-logging=stderr", "--v=0", "--window-size=1200,1400"])
        .args(["--virtual-time-budget=20000", "--timeout=60000"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--screenshot={}", kept.display()))
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    println!("the picture is {}", kept.display());
    Some((fs::read(&kept).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// The page is drawn, and every request of the browser was answered with a success.
fn opens_clean(server: &Process, page: &str, picture: &str, needed: &[&str]) {
    let (scheme, address, protocol) = match server.address("https") {
        Some(address) => ("https", address, "HTTP/2.0\""),
        None => ("http", server.http(), "HTTP/1.1\""),
    };
    let url = format!("{scheme}://localhost:{}{page}", address.port());
    let Some((png, said)) = screenshot(&url, picture) else { return missing("chromium") };
    assert!(png.starts_with(b"\x89PNG") && png.len() > 20_000, "a picture of {} bytes", png.len());
    assert!(!said.contains("Failed to load resource") && !said.contains("net::ERR_"), "{said}");
    let log = server.output();
    let requests: Vec<&str> = log.lines().filter(|line| line.contains("\"GET ")).collect();
    assert!(requests.len() >= needed.len(), "{log}");
    for line in &requests {
        let status = line.split("\" ").nth(1).and_then(|rest| rest.split(' ').next());
        assert!(matches!(status, Some("200" | "206" | "304")), "{line}");
        assert!(line.contains(protocol), "{line}");
    }
    for part in needed {
        assert!(requests.iter().any(|line| line.contains(part)), "{part} was asked for:\n{log}");
    }
}

#[test]
fn alone_a_browser_opens_the_documentation() {
    let Some(root) = documentation() else { return missing("the toolchain's documentation") };
    let server = Process::serve(&root, &["--log", "combined"]);
    let needed = ["/std/index.html", "rustdoc-", ".css", ".js", ".woff2"];
    opens_clean(&server, "/std/index.html", "std.png", &needed);
}

#[test]
fn alone_a_browser_opens_the_shipped_site() {
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("site");
    let server = Process::serve(&site, &["--log", "combined"]);
    let needed = ["GET / ", "/style.css", "/site.js", "/ring.svg", "ring.svg?n="];
    opens_clean(&server, "/#run", "site.png", &needed);
}

/// Opens a page over TLS in Chromium: clean, and every part by HTTP/2, as the log and the browser
/// have it.
fn opens_by_http2(root: &Path, page: &str, picture: &str, needed: &[&str], title: &str) {
    let mut server = Process::serve(root, &["--https", "127.0.0.1:0", "--log", "combined"]);
    server.wait_for("https");
    opens_clean(&server, page, picture, needed);
    let server = Process::app_with_files(root);
    let port = server.address("https").unwrap().port();
    let profile = TempDir::new();
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--ignore-certificate-errors", "--virtual-time-budget=30000", "--timeout=60000"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--dump-dom", &format!("https://localhost:{port}/probe?{page}")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    let said = dom.rsplit("probe: ").next().and_then(|rest| rest.split(';').next()).unwrap();
    println!("{page}: {said}");
    assert!(said.contains(" by h2: ") && said.contains(title), "{said}\n{dom}");
    let parts: usize = said.split(' ').next().unwrap().parse().unwrap();
    assert!(parts >= needed.len(), "{said}");
}

#[test]
fn alone_a_browser_opens_the_documentation_by_http2() {
    let Some(root) = documentation() else { return missing("the toolchain's documentation") };
    let needed = ["/std/index.html", "rustdoc-", ".css", ".js", ".woff2"];
    opens_by_http2(&root, "/std/index.html", "std-h2.png", &needed, "std - Rust");
}

#[test]
fn alone_a_browser_opens_the_shipped_site_by_http2() {
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("site");
    let needed = ["/index.html", "/style.css", "/site.js", "/ring.svg"];
    opens_by_http2(&site, "/index.html", "site-h2.png", &needed, "");
}
