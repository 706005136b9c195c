//! `ringway precompress` from outside: what it makes, what it leaves alone, and that what it makes
//! is what the server sends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// A directory that is removed at the end.
struct Site(PathBuf);

impl Site {
    fn new(name: &str) -> Self {
        let path = format!("ringway-precompress-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(path);
        fs::create_dir_all(path.join("sub/.well-known")).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.0.join(name), content).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Every file below it.
    fn files(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut left = vec![self.0.clone()];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let path = entry.path();
                match entry.file_type().unwrap().is_dir() {
                    true => left.push(path),
                    false => {
                        let name = path.strip_prefix(&self.0).unwrap();
                        found.insert(name.to_str().unwrap().to_owned());
                    }
                }
            }
        }
        found
    }

    fn run(&self, options: &[&str]) -> (Option<i32>, String, String) {
        let ran = self.command(options).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (ran.status.code(), text(ran.stdout), text(ran.stderr))
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        command.arg("precompress").arg(&self.0).args(options).stdin(Stdio::null());
        command
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn words(n: usize) -> String {
    (0..n).map(|i| format!("word {} of many; ", i * 7919 % 1000)).collect()
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

fn unpacked(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    let mut out = Vec::new();
    match path.extension().unwrap().to_str().unwrap() {
        "br" => drop(brotli::Decompressor::new(&bytes[..], 4096).read_to_end(&mut out).unwrap()),
        "zst" => out = zstd::decode_all(&bytes[..]).unwrap(),
        // Not the library that made it.
        _ => out = Command::new("gzip").arg("-dc").arg(path).output().unwrap().stdout,
    }
    out
}

/// L5, and row 38: what is made is what was there, is fresh afterwards, and follows its source.
#[test]
fn l5_what_is_worth_it_is_made_once() {
    let site = Site::new("once");
    site.write("index.html", words(500));
    site.write("sub/app.js", words(3000));
    site.write("sub/.well-known/list.json", words(200));
    site.write("short.txt", "short");
    site.write("photo.jpg", words(500));
    site.write("picture.svgz", words(500));
    site.write(".hidden.txt", words(500));
    site.write("noise.txt", noise(5000));
    std::os::unix::fs::symlink("..", site.at("sub/loop")).unwrap();
    let before = site.files();

    let (code, out, err) = site.run(&["--jobs", "2"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.starts_with("9 written (") && out.contains("0 fresh, 3 would not be"), "{out}");
    let made: BTreeSet<_> = site.files().difference(&before).cloned().collect();
    let wanted = ["index.html", "sub/.well-known/list.json", "sub/app.js"];
    let wanted =
        wanted.iter().flat_map(|name| ["br", "gz", "zst"].map(|of| format!("{name}.{of}")));
    assert_eq!(made, wanted.collect());
    for name in &made {
        let path = site.at(name);
        let source = path.with_extension("");
        assert!(unpacked(&path) == fs::read(&source).unwrap(), "{name}");
        assert_eq!(modified(&path), modified(&source), "{name}");
    }

    let (code, out, _) = site.run(&[]);
    assert_eq!(code, Some(0));
    assert!(out.starts_with("0 written, 9 fresh, 3 would"), "{out}");

    // Another content of another time, and one of the same length and time: nothing says that, so a
    // new time is what a build gives.
    site.write("index.html", words(501));
    let later = SystemTime::now() + Duration::from_secs(1);
    fs::File::options()
        .write(true)
        .open(site.at("index.html"))
        .unwrap()
        .set_modified(later)
        .unwrap();
    let (_, out, _) = site.run(&["--codings", "gz, br"]);
    assert!(out.starts_with("2 written"), "{out}");
    assert!(unpacked(&site.at("index.html.br")) == fs::read(site.at("index.html")).unwrap());
    // An outdated one goes when a new one would not be smaller.
    site.write("sub/app.js", noise(5000));
    let (_, out, _) = site.run(&[]);
    assert!(out.starts_with("1 written"), "{out}");
    assert!(!site.at("sub/app.js.br").exists() && !site.at("sub/app.js.zst").exists());
    let leftover = |name: &String| name.rsplit('/').next().unwrap().starts_with('.');
    assert_eq!(site.files().iter().filter(|name| leftover(name)).count(), 1, ".hidden.txt");
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

/// RFC 9659: browsers take windows up to 8 MiB.
#[test]
fn l5_zstd_needs_no_more_than_8_mib_of_window() {
    let site = Site::new("window");
    site.write("large.txt", words(1000).repeat(600));
    assert!(fs::metadata(site.at("large.txt")).unwrap().len() > 9 << 20);
    let (code, _, err) = site.run(&["--codings", "zst"]);
    assert_eq!(code, Some(0), "{err}");
    let frame = fs::read(site.at("large.txt.zst")).unwrap();
    assert_eq!(frame[4] & 0x20, 0, "not a single segment, whose window is its length");
    // RFC 8878 section 3.1.1.1.2.
    let (exponent, mantissa) = (u64::from(frame[5] >> 3), u64::from(frame[5] & 7));
    let window = (1_u64 << (10 + exponent)) * (8 + mantissa) / 8;
    assert!(window <= 8 << 20, "{window}");
    assert!(unpacked(&site.at("large.txt.zst")) == fs::read(site.at("large.txt")).unwrap());
}

#[test]
fn failures_are_named_and_the_rest_is_done() {
    let site = Site::new("failures");
    site.write("a.txt", words(500));
    fs::create_dir(site.at("a.txt.gz")).unwrap();
    let (code, out, err) = site.run(&[]);
    assert_eq!(code, Some(1));
    assert!(err.contains("a.txt.gz: it is there, and is not a file"), "{err}");
    assert!(out.starts_with("2 written") && out.contains(", 1 failed"), "{out}");
    for (options, wanted) in [
        (&["--codings", "br,lzma"][..], "`--codings` is of br, zst and gz, found `lzma`"),
        (&["--jobs", "0"], "`--jobs` is 1 to 1024, found `0`"),
        (&["--min-size", "1k"], "`--min-size` wants a number, found `1k`"),
    ] {
        let (code, _, err) = site.run(options);
        assert_eq!((code, err.trim_end()), (Some(2), format!("ringway: {wanted}").as_str()));
    }
    let missing = Site(site.at("missing"));
    let (code, _, err) = missing.run(&[]);
    assert!(code == Some(1) && err.contains("No such file or directory"), "{err}");
}

/// What is half made when it is told to stop goes.
#[test]
fn a_signal_leaves_nothing_behind() {
    let site = Site::new("signal");
    site.write("large.txt", words(400_000));
    let mut running = site.command(&["--codings", "br"]).stdout(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while site.files().len() < 2 {
        assert!(start.elapsed() < Duration::from_secs(20), "it has begun");
        std::thread::sleep(Duration::from_millis(2));
    }
    let id = running.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let mut out = String::new();
    running.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(1), "{out}");
    assert!(out.starts_with("stopped: 0 written"), "{out}");
    assert_eq!(site.files(), ["large.txt".to_owned()].into());
}
