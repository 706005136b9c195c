//! Entity tags of files too large for memory (row F13): equal copies share a tag once their content
//! was read, and no download in progress restarts for that.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use harness::h2::H2;
use harness::process::Process;
use harness::quic::H3;
use harness::{TempDir, eventually, pattern};

fn serve(dir: &Path, options: &[&str]) -> Process {
    let server = Process::serve(dir, &[&["--https", "127.0.0.1:0"], options].concat());
    server.wait_for("http,https,h3");
    server
}

fn tag(server: &Process, path: &str) -> String {
    let response = server.client().request("HEAD", path, "", b"");
    response.field("etag").unwrap().to_owned()
}

/// Status and tag of a GET with these fields, by HTTP/1.1, 2 and 3.
fn ask(server: &Process, path: &str, fields: &[(&str, &str)]) -> Vec<(u16, String)> {
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let one = server.client().request("GET", path, &lines, b"");
    let mut h2 = H2::tls(server.at("https"));
    let id = h2.ask("GET", path, fields, b"");
    let two = h2.answer(id);
    let mut h3 = H3::connect(server.at("h3"));
    let id = h3.ask("GET", path, fields, b"");
    let three = h3.answer(id);
    let text = |value: Option<&str>| value.unwrap_or("-").to_owned();
    vec![
        (one.status, text(one.field("etag"))),
        (two.status(), text(two.field("etag"))),
        (three.status(), text(three.field("etag"))),
    ]
}

fn all(status: u16, tag: &str) -> Vec<(u16, String)> {
    vec![(status, tag.to_owned()); 3]
}

/// The tag, once it differs from `former`.
fn becomes_another(server: &Process, path: &str, former: &str) -> String {
    let mut now = String::new();
    eventually("the content is known", || {
        now = tag(server, path);
        now != former
    });
    now
}

#[test]
fn f13_copies_share_a_tag_and_both_tags_count() {
    let large = pattern(3_000_000);
    let temp = TempDir::with(&[("a/v.mp4", &large), ("b/v.mp4", &large), ("b/other", b"x")]);
    let (a, b) = (temp.path().join("a"), temp.path().join("b"));
    // Slow enough that the first tags are made of inode and times.
    let slow = ["--set", "limits.tag_rate=2MiB"];
    let (one, two) = (serve(&a, &slow), serve(&b, &slow));
    let (first, other) = (tag(&one, "/v.mp4"), tag(&two, "/v.mp4"));
    assert_ne!(first, other, "not known yet");
    let content = becomes_another(&one, "/v.mp4", &first);
    assert_eq!(becomes_another(&two, "/v.mp4", &other), content);
    for server in [&one, &two] {
        assert_eq!(ask(server, "/v.mp4", &[("if-none-match", &content)]), all(304, &content));
        let fields = [("if-range", content.as_str()), ("range", "bytes=100-199")];
        assert_eq!(ask(server, "/v.mp4", &fields), all(206, &content));
    }
    // A download begun with the first tag continues with it.
    for named in [first.clone(), format!("\"x\", {first}")] {
        assert_eq!(ask(&one, "/v.mp4", &[("if-none-match", &named)]), all(304, &first));
        let fields = [("if-match", named.as_str()), ("range", "bytes=5-9")];
        assert_eq!(ask(&one, "/v.mp4", &fields), all(206, &first));
    }
    assert_eq!(ask(&one, "/v.mp4", &[("if-none-match", &format!("W/{first}"))]), all(304, &first));
    for range in ["bytes=100-199", "bytes=0-1,5-6"] {
        let fields = [("if-range", first.as_str()), ("range", range)];
        assert_eq!(ask(&one, "/v.mp4", &fields), all(206, &first), "{range}");
    }
    // Another machine's first tag is not valid here, and a weak tag does not allow ranges.
    assert_eq!(ask(&one, "/v.mp4", &[("if-none-match", &other)]), all(200, &content));
    for named in [other.clone(), format!("W/{first}")] {
        let fields = [("if-range", named.as_str()), ("range", "bytes=1-2")];
        assert_eq!(ask(&one, "/v.mp4", &fields), all(200, &content), "{named}");
    }
    // Once the times differ, the first tag is invalid, but the content's tag is valid.
    let file = File::options().append(true).open(a.join("v.mp4")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(1000)).unwrap();
    let touched = ask(&one, "/v.mp4", &[("if-none-match", &first)]);
    assert!(touched.iter().all(|(status, _)| *status == 200), "{touched:?}");
    eventually("it is known again", || tag(&one, "/v.mp4") == content);
    // A changed content has another.
    fs::write(a.join("v.mp4"), [&large[1..], b"!"].concat()).unwrap();
    let changed = tag(&one, "/v.mp4");
    assert_ne!(changed, content);
    assert_ne!(becomes_another(&one, "/v.mp4", &changed), content);
}

/// A replica behind a load balancer, where nobody has requested the file before.
#[test]
fn f13_files_are_known_before_anybody_asks() {
    let large = pattern(3_000_000);
    let temp = TempDir::with(&[("a/deep/er/v.bin", &large), ("b/deep/er/v.bin", &large)]);
    let [one, two] = ["a", "b"].map(|name| serve(&temp.path().join(name), &[]));
    std::thread::sleep(Duration::from_secs(2));
    let named = tag(&one, "/deep/er/v.bin");
    assert_eq!(ask(&two, "/deep/er/v.bin", &[("if-none-match", &named)]), all(304, &named));
}

/// The tag depends only on the content, wherever the file is: in memory, or on disk for its size or
/// for lack of memory. Compressed forms have their own.
#[test]
fn f13_the_tag_does_not_say_where_the_file_is() {
    let script = pattern(30_000).iter().map(|byte| b'a' + byte % 16).collect::<Vec<u8>>();
    let temp = TempDir::with(&[("a.js", &script)]);
    let path = temp.path().join("a.js");
    assert!(Command::new("gzip").arg("-k").arg(&path).status().unwrap().success());
    let memory = serve(temp.path(), &[]);
    let disk = serve(temp.path(), &["--set", "limits.cache_file_bytes=4KiB"]);
    let none = serve(temp.path(), &["--set", "limits.cache_bytes=0"]);
    let never = serve(temp.path(), &["--set", "limits.cache_bytes=0", "--set", "limits.tags=0"]);
    for coding in ["gzip", "identity"] {
        let fields = [("accept-encoding", coding)];
        let want = ask(&memory, "/a.js", &fields);
        eventually("it is known", || ask(&disk, "/a.js", &fields) == want);
        eventually("it is known", || ask(&none, "/a.js", &fields) == want);
        // A tag from a time without room in memory counts with the file in memory.
        let [(_, streamed), ..] = &ask(&never, "/a.js", &fields)[..] else { unreachable!() };
        assert_ne!(*streamed, want[0].1);
        let fields = [("accept-encoding", coding), ("if-none-match", streamed)];
        assert_eq!(ask(&memory, "/a.js", &fields), all(304, streamed));
    }
}

/// A file that comes later is found by a request, and read no faster than allowed.
#[test]
fn f13_reading_is_bounded() {
    let temp = TempDir::with(&[("index.html", b"home")]);
    let server = serve(temp.path(), &["--set", "limits.tag_rate=1MiB"]);
    std::thread::sleep(Duration::from_millis(300));
    temp.write("later.bin", &pattern(3 << 20));
    let start = Instant::now();
    let (first, before) = (tag(&server, "/later.bin"), server.cpu_ms());
    becomes_another(&server, "/later.bin", &first);
    let taken = start.elapsed();
    assert!(taken > Duration::from_secs(2), "3 MiB at 1 MiB a second in {taken:?}");
    println!("{} ms of CPU, most of it for the questions", server.cpu_ms() - before);
}
