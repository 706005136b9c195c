//! The service against a real directory and a real ring, without connections: a request goes in,
//! a response comes out.

mod names;
mod worker;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::task::{Context, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderValue, StatusCode};
use ringway_codec::h1::request::Method;

use super::Files;
use crate::app::handler::Reply;
use crate::app::response::{Body, Response};
use crate::rt::thread_state;
use worker::{Tree, Worker};

fn fresh() -> Duration {
    Duration::from_millis(101)
}

#[test]
fn a_tree_is_served() {
    let tree = Tree::new("tree");
    tree.old("index.html", "<h1>home</h1>").old("a b/é.css", "p{}").old("docs/index.html", "docs");
    let mut worker = Worker::new(Files::new(&tree.0));
    for _ in 0..2 {
        let home = worker.get("/");
        assert_eq!((home.status, home.text().as_str()), (200, "<h1>home</h1>"));
        assert_eq!(home.field("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(home.field("cache-control"), Some("no-cache"));
        assert_eq!(worker.get("/a%20b/%C3%a9.css?v=1").text(), "p{}");
        assert_eq!(worker.get("/docs/").text(), "docs");
        assert_eq!(worker.get("/missing").status, 404);
        assert_eq!(worker.get("/index.html/").status, 404);
        assert_eq!(worker.get("/index.html/x").status, 404);
        assert_eq!(worker.get(&format!("/{}", "x".repeat(300))).status, 404);
        assert_eq!(worker.get(&format!("/{}", "x/".repeat(3000))).status, 404);
    }
}

#[test]
fn what_is_in_memory_is_answered_at_once() {
    let tree = Tree::new("memory");
    tree.old("a b.js", "1").old("a%20b.js", "2");
    let mut worker = Worker::new(Files::new(&tree.0));
    assert_eq!(worker.get("/a%20b.js").text(), "1");
    assert_eq!(worker.get("/a%2520b.js").text(), "2");
    assert!(matches!(worker.start(Method::Get, "/a%20b.js", &[]), Reply::Ready(_)));
    // A name that looks like an escape is not mistaken for what the escape means.
    assert_eq!(worker.get("/a%20b.js").text(), "1");
    assert_eq!(worker.get("/a%2520b.js").text(), "2");
    worker.later(fresh());
    assert!(matches!(worker.start(Method::Get, "/a%20b.js", &[]), Reply::Later(_)));
}

/// Row A12.
#[test]
fn methods() {
    let tree = Tree::new("methods");
    tree.old("a.txt", "12345");
    let mut worker = Worker::new(Files::new(&tree.0));
    let response = worker.ask(Method::Head, "/a.txt", &[]);
    assert_eq!((response.status_code().as_u16(), response.body.len()), (200, Some(5)));
    for (method, status, allow) in [
        (Method::Options, 204, true),
        (Method::Post, 405, true),
        (Method::Put, 405, true),
        (Method::Patch, 405, true),
        (Method::Delete, 405, true),
        (Method::Trace, 405, true),
        (Method::Connect, 405, true),
        (Method::Other, 501, false),
    ] {
        let response = worker.ask(method, "/a.txt", &[]);
        let answer = worker.receive(response);
        assert_eq!(answer.status, status, "{method:?}");
        assert_eq!(answer.field("allow"), allow.then_some("GET, HEAD, OPTIONS"), "{method:?}");
    }
}

/// Rows 20 and 21.
#[test]
fn directories_redirect_on_this_host() {
    let tree = Tree::new("redirect");
    tree.old("docs/a b/index.html", "x").old("docs/index.html", "y");
    let mut worker = Worker::new(Files::new(&tree.0));
    for (target, location) in [
        ("/docs", "/docs/"),
        ("/docs?a=1&b=//x", "/docs/?a=1&b=//x"),
        ("/docs/a%20b?", "/docs/a%20b/?"),
        ("/docs?%0d%0aX:1", "/docs/?%0d%0aX:1"),
    ] {
        let answer = worker.get(target);
        assert_eq!((answer.status, answer.field("location")), (308, Some(location)), "{target}");
    }
    // F5: several slashes are one, and never another host.
    for target in ["//docs", "///docs", "/.//docs"] {
        let answer = worker.get(target);
        let want = if target.contains('.') { (400, None) } else { (308, Some("/docs/")) };
        assert_eq!((answer.status, answer.field("location")), want, "{target}");
    }
    for target in ["//evil.com/%2e%2e", "//evil.com/..", "/%0d%0aX:1"] {
        let answer = worker.get(target);
        assert!(matches!(answer.status, 400 | 404), "{target}");
        assert_eq!(answer.field("location"), None, "{target}");
    }
    let mut worker = Worker::new(Files::new(&tree.0).prefix("/site"));
    assert_eq!(worker.get("/site/docs").field("location"), Some("/site/docs/"));
    assert_eq!(worker.get("//site///docs").field("location"), Some("/site/docs/"));
    assert_eq!(worker.get("/site//docs//").text(), "y");
    assert_eq!(worker.get("//site").field("location"), Some("/site/"));
    assert_eq!(worker.get("/site?q").field("location"), Some("/site/?q"));
    assert_eq!(worker.get("/other/docs").status, 404);
    assert_eq!(worker.get("/site/docs/").text(), "y");
}

/// Rows 32 and 33.
#[test]
fn nothing_outside_the_root_and_nothing_special() {
    let tree = Tree::new("escape");
    tree.old("site/a.txt", "a").old("secret.txt", "secret").old("site/.env", "secret");
    let site = tree.0.join("site");
    symlink("../secret.txt", site.join("out")).unwrap();
    symlink(tree.0.join("secret.txt"), site.join("absolute")).unwrap();
    symlink("..", site.join("up")).unwrap();
    symlink("/proc/self/root", site.join("magic")).unwrap();
    symlink("loop", site.join("loop")).unwrap();
    symlink("/dev/zero", site.join("zero")).unwrap();
    symlink("a.txt", site.join("within")).unwrap();
    assert!(Command::new("mkfifo").arg(site.join("fifo")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(site.join("socket")).unwrap();
    let mut worker = Worker::new(Files::new(&site));
    for (target, status) in [
        ("/within", 200),
        ("/out", 404),
        ("/absolute", 404),
        ("/up/secret.txt", 404),
        ("/magic/etc/passwd", 404),
        ("/loop", 404),
        ("/zero", 404),
        ("/fifo", 403),
        ("/socket", 403),
        ("/.env", 404),
        ("/../secret.txt", 400),
        ("/%2e%2e/secret.txt", 400),
        ("/..%2fsecret.txt", 404),
        ("/a.txt%00.html", 400),
    ] {
        let answer = worker.get(target);
        assert_eq!(answer.status, status, "{target}");
        assert!(!answer.text().contains("secret"), "{target}");
    }
}

/// Row B3: content decides, not time.
#[test]
fn a_change_on_disk_is_noticed() {
    let tree = Tree::new("change");
    tree.old("a.txt", "one").old("b.txt", "b");
    let mut worker = Worker::new(Files::new(&tree.0));
    let one = worker.get("/a.txt");
    fs::write(tree.0.join("a.txt"), "two").unwrap();
    assert_eq!(worker.get("/a.txt").text(), "one", "within the time that a look counts");
    worker.later(fresh());
    let two = worker.get("/a.txt");
    assert_eq!(two.text(), "two");
    assert_ne!(one.field("etag"), two.field("etag"));
    // The same size and the same time stamp, by replacement.
    let stamp = fs::metadata(tree.0.join("a.txt")).unwrap().modified().unwrap();
    fs::write(tree.0.join("new"), "six").unwrap();
    let new = fs::File::options().append(true).open(tree.0.join("new")).unwrap();
    new.set_modified(stamp).unwrap();
    fs::rename(tree.0.join("new"), tree.0.join("a.txt")).unwrap();
    worker.later(fresh());
    assert_eq!(worker.get("/a.txt").text(), "six");
    // Touched, but the same: the tag stays, and so does what clients have.
    let before = worker.get("/b.txt");
    tree.aged("b.txt", "b", Duration::from_secs(5));
    worker.later(fresh());
    let tag = before.field("etag").unwrap();
    assert_eq!(worker.get_with("/b.txt", &[("if-none-match", tag)]).status, 304);
    fs::write(tree.0.join("a.txt"), "").unwrap();
    fs::remove_file(tree.0.join("b.txt")).unwrap();
    worker.later(fresh());
    assert_eq!(worker.get("/a.txt").text(), "");
    assert_eq!(worker.get("/b.txt").status, 404);
}

/// Rows B8 and 38.
#[test]
fn compressed_files_beside_the_plain_one() {
    let tree = Tree::new("compressed");
    let minute = Duration::from_secs(60);
    tree.old("a.js", "x".repeat(100)).aged("a.js.br", "BR", minute);
    tree.old("stale.js", "x".repeat(100)).aged("stale.js.br", "BR", minute * 120);
    tree.old("cut.js", "x".repeat(100)).aged("cut.js.gz", [0x1f, 0x8b, 8, 0], minute);
    tree.old("a.png", "x".repeat(100)).aged("a.png.br", "BR", minute);
    let accept = [("accept-encoding", "gzip, br")];
    let mut worker = Worker::new(Files::new(&tree.0));
    let br = worker.get_with("/a.js", &accept);
    assert_eq!((br.text().as_str(), br.field("content-encoding")), ("BR", Some("br")));
    assert_eq!(br.field("vary"), Some("accept-encoding"));
    assert_eq!(br.field("content-type"), Some("text/javascript; charset=utf-8"));
    let plain = worker.get("/a.js");
    assert_eq!((plain.body.unwrap().len(), plain.fields.len()), (100, br.fields.len() - 1));
    for target in ["/stale.js", "/cut.js", "/a.png"] {
        let answer = worker.get_with(target, &accept);
        assert_eq!(answer.field("content-encoding"), None, "{target}");
        assert_eq!(answer.length, Some(100), "{target}");
    }
    // The source changes, and what was made from the old one is no longer sent.
    tree.aged("a.js", "y".repeat(100), Duration::from_secs(1));
    worker.later(fresh());
    assert_eq!(worker.get_with("/a.js", &accept).text(), "y".repeat(100));
    // A compressed file that appears is used.
    tree.aged("stale.js.br", "NEW", Duration::ZERO);
    worker.later(fresh());
    assert_eq!(worker.get_with("/stale.js", &accept).text(), "NEW");
    let mut worker = Worker::new(Files::new(&tree.0).precompressed(false));
    assert_eq!(worker.get_with("/stale.js", &accept).field("vary"), None);
}

#[test]
fn large_files_are_streamed() {
    let tree = Tree::new("large");
    let content: Vec<u8> = (0..1_000_003_u32).map(|n| (n * 7 + n / 251) as u8).collect();
    tree.old("big.bin", &content);
    let mut worker = Worker::new(Files::new(&tree.0).cache(1 << 20, 1000));
    let whole = worker.get("/big.bin");
    assert_eq!((whole.status, whole.length), (200, Some(1_000_003)));
    assert!(whole.body == Ok(content.clone()));
    let tag = whole.field("etag").unwrap();
    assert_eq!(worker.get_with("/big.bin", &[("if-none-match", tag)]).status, 304);
    let part = worker.get_with("/big.bin", &[("range", "bytes=200000-899999")]);
    assert_eq!(part.field("content-range"), Some("bytes 200000-899999/1000003"));
    assert!(part.body == Ok(content[200_000..900_000].to_vec()));
    let parts = worker.get_with("/big.bin", &[("range", "bytes=0-9,-10")]);
    assert_eq!(parts.status, 206);
    assert_eq!(parts.length, parts.body.as_ref().map(|body| body.len() as u64).ok());
    let body = parts.body.unwrap();
    assert!(body.windows(10).any(|window| window == &content[..10]));
    assert!(body.windows(10).any(|window| window == &content[content.len() - 10..]));
    // Another version under the same name, with the old one's tag: the whole new one.
    let range = [("range", "bytes=0-9"), ("if-range", tag)];
    tree.aged("big.bin", &content[1..], Duration::from_secs(9));
    assert_eq!(worker.get_with("/big.bin", &range).status, 200);
}

/// Clients that read slowly cannot keep more files in memory than are allowed there.
#[test]
fn what_is_being_sent_stays_within_bounds() {
    let tree = Tree::new("bounds");
    for number in 0..50 {
        tree.old(&format!("{number}.bin"), vec![number; 50_000]);
    }
    let mut worker = Worker::new(Files::new(&tree.0).cache(100_000, 60_000));
    let mut responses = Vec::new();
    for number in 0..50 {
        responses.push(worker.ask(Method::Get, &format!("/{number}.bin"), &[]));
    }
    let in_memory = |response: &Response| matches!(response.body, Body::Local(..));
    let held = responses.iter().filter(|response| in_memory(response)).count();
    assert!((2..=4).contains(&held), "{held} of 50,000 bytes each");
    for (number, response) in responses.into_iter().enumerate() {
        assert!(worker.receive(response).body == Ok(vec![number as u8; 50_000]));
    }
    let response = worker.ask(Method::Get, "/49.bin", &[]);
    assert!(in_memory(&response), "there is room again");
}

/// Row 36.
#[test]
fn a_file_that_shrinks_while_it_is_sent_breaks_off() {
    let tree = Tree::new("shrink");
    tree.old("big.bin", vec![7; 600_000]);
    let mut worker = Worker::new(Files::new(&tree.0).cache(0, 0));
    let response = worker.ask(Method::Get, "/big.bin", &[]);
    fs::File::options().write(true).open(tree.0.join("big.bin")).unwrap().set_len(1000).unwrap();
    let answer = worker.receive(response);
    assert_eq!((answer.status, answer.length), (200, Some(600_000)));
    assert_eq!(answer.body.map_err(|part| part.len()), Err(1000));
    // Replaced instead: what was begun is finished.
    tree.old("big.bin", vec![7; 600_000]);
    let response = worker.ask(Method::Get, "/big.bin", &[]);
    fs::remove_file(tree.0.join("big.bin")).unwrap();
    tree.old("big.bin", "other");
    assert!(worker.receive(response).body == Ok(vec![7; 600_000]));
}

#[test]
fn requests_for_one_path_look_once_together() {
    let tree = Tree::new("gate");
    tree.old("a.txt", "a");
    let mut worker = Worker::new(Files::new(&tree.0));
    let start = |worker: &Worker| match worker.start(Method::Get, "/a.txt", &[]) {
        Reply::Later(future) => future,
        Reply::Ready(_) => panic!("nothing is in memory yet"),
    };
    let (mut first, mut second, mut third) = (start(&worker), start(&worker), start(&worker));
    let mut context = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_pending());
    assert!(second.as_mut().poll(&mut context).is_pending());
    assert!(third.as_mut().poll(&mut context).is_pending());
    assert_eq!(thread_state::with(|thread| thread.new_jobs.borrow().len()), 1);
    // The one that looks is cut off; the others are not.
    drop(first);
    assert_eq!(worker.run(second).status_code().as_u16(), 200);
    assert_eq!(worker.run(third).status_code().as_u16(), 200);
}

#[test]
fn half_way_one_request_looks_for_all() {
    let tree = Tree::new("half");
    tree.old("a.txt", "one");
    let mut worker = Worker::new(Files::new(&tree.0));
    worker.get("/a.txt");
    worker.later(fresh() / 2);
    tree.aged("a.txt", "two", Duration::from_secs(60));
    let Reply::Later(look) = worker.start(Method::Get, "/a.txt", &[]) else {
        panic!("the first one looks");
    };
    for _ in 0..3 {
        let reply = worker.start(Method::Get, "/a.txt", &[]);
        assert!(matches!(reply, Reply::Ready(_)), "the others are answered meanwhile");
    }
    let response = worker.run(look);
    assert_eq!(worker.receive(response).text(), "two");
    assert!(matches!(worker.start(Method::Get, "/a.txt", &[]), Reply::Ready(_)));
    // Nor is a look that was cut off the end of looking.
    worker.later(fresh() / 2);
    drop(worker.start(Method::Get, "/a.txt", &[]));
    worker.later(fresh() / 2);
    tree.aged("a.txt", "three", Duration::from_secs(30));
    assert_eq!(worker.get("/a.txt").text(), "three");
}

/// Whatever a client writes into these fields, there is an answer, and the right bytes with it.
#[test]
fn no_field_value_is_too_strange() {
    const PIECES: [&str; 24] = [
        "bytes=",
        "0",
        "-",
        ",",
        "9",
        "1000",
        "\"",
        "W/",
        "*",
        " ",
        "\t",
        ";",
        "q=",
        "0.5",
        "br",
        "gzip",
        "identity",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "99999999999999999999",
        "=",
        "\u{e9}",
        "multipart",
        "\"x\"",
        "..",
    ];
    const NAMES: [&str; 7] = [
        "range",
        "if-range",
        "if-match",
        "if-none-match",
        "accept-encoding",
        "if-modified-since",
        "if-unmodified-since",
    ];
    let tree = Tree::new("strange");
    let content: Vec<u8> = (0..1000).map(|n| n as u8).collect();
    tree.old("a.js", &content);
    let mut worker = Worker::new(Files::new(&tree.0).fresh_for(Duration::MAX));
    let mut seed = 7_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) as usize % below
    };
    for _ in 0..5000 {
        let lines: Vec<(&str, String)> = (0..1 + random(3))
            .map(|_| {
                let pieces = random(12);
                (NAMES[random(7)], (0..pieces).map(|_| PIECES[random(24)]).collect())
            })
            .collect();
        let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = worker.get_with("/a.js", &lines);
        assert!(matches!(answer.status, 200 | 206 | 304 | 406 | 412 | 416), "{lines:?}");
        assert!(answer.status != 200 || answer.body.as_ref() == Ok(&content), "{lines:?}");
        assert!(answer.length.unwrap_or(0) <= 2000, "{lines:?}");
    }
}

#[test]
fn fallback_and_error_pages() {
    let tree = Tree::new("pages");
    tree.old("index.html", "app").old("404.html", "lost").old("400.html", "what?");
    let files = Files::new(&tree.0)
        .error_page(StatusCode::NOT_FOUND, "/404.html")
        .error_page(StatusCode::BAD_REQUEST, "400.html")
        .header(http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let mut worker = Worker::new(files.clone());
    let lost = worker.get("/x/y");
    assert_eq!((lost.status, lost.text().as_str()), (404, "lost"));
    assert_eq!(lost.field("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(lost.field("etag"), None);
    let bad = worker.get("/%zz");
    assert_eq!((bad.status, bad.text().as_str()), (400, "what?"));
    assert_eq!(worker.get("/").field("x-content-type-options"), Some("nosniff"));
    let mut worker = Worker::new(files.fallback("index.html"));
    let app = worker.get("/x/y");
    assert_eq!((app.status, app.text().as_str()), (200, "app"));
    assert_eq!(worker.get("/.git/x").status, 404);
}

/// Row B2.
#[test]
fn expires_says_what_max_age_says() {
    let tree = Tree::new("expires");
    tree.old("app-3f2a9c1b.js", "x").old("index.html", "x");
    let mut worker = Worker::new(Files::new(&tree.0).expires(true));
    let seconds = |text: &str| ringway_codec::date::parse(text.as_bytes()).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let answer = worker.get("/app-3f2a9c1b.js");
    let expires = seconds(answer.field("expires").unwrap());
    assert!((now + 31_536_000..now + 31_536_600).contains(&expires));
    let tag = answer.field("etag").unwrap();
    let unchanged = worker.get_with("/app-3f2a9c1b.js", &[("if-none-match", tag)]);
    assert!(unchanged.status == 304 && unchanged.field("expires").is_some());
    assert_eq!(worker.get("/").field("expires"), None);
    let mut worker = Worker::new(Files::new(&tree.0));
    assert_eq!(worker.get("/app-3f2a9c1b.js").field("expires"), None);
}

#[test]
fn directories_are_listed_when_asked() {
    let tree = Tree::new("browse");
    tree.old("sub/<b>.txt", "1234567").old("sub/.hidden", "").old("sub/deep/x", "");
    let mut worker = Worker::new(Files::new(&tree.0).browse(true));
    let page = worker.get("/sub/");
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    let text = page.text();
    assert!(text.contains(r#"href="%3Cb%3E.txt">&lt;b&gt;.txt</a></td><td>7</td>"#), "{text}");
    assert!(text.contains(r#"href="deep/""#) && !text.contains("hidden"));
    assert!(worker.get("/").text().contains(r#"href="sub/""#));
    assert_eq!(worker.get("/sub").status, 308);
    assert_eq!(worker.get("/none/").status, 404);
    let mut worker = Worker::new(Files::new(&tree.0));
    assert_eq!(worker.get("/sub/").status, 404);
}

#[test]
fn a_root_that_is_not_there_is_our_error() {
    let mut worker = Worker::new(Files::new(Path::new("/nonexistent/ringway")));
    assert_eq!(worker.get("/").status, 500);
}
