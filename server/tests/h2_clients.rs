//! HTTP/2 with other clients: curl, nghttp, h2load, openssl, Python's httpx. Rows C15, C27, C30 to
//! C32 and C35 of the feature list.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::process::{Command, Stdio};

use harness::h2::{self, H2};
use harness::process::Process;
use harness::{TempDir, app_h2, eventually, missing, tls};

fn app() -> Process {
    Process::app_on("http,h2c,https", "h2_pushes=10")
}

fn url(server: &Process, kind: &str, path: &str) -> String {
    let scheme = if kind == "https" { "https" } else { "http" };
    let port = server.at(kind).port();
    format!("{scheme}://localhost:{port}{path}")
}

/// Runs a client; its output on both streams, or `None` if it is not installed.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let Ok(output) = command.args(arguments).stdin(Stdio::null()).output() else {
        missing(program);
        return None;
    };
    let said = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn c15_h2load_saves_header_space() {
    let server = app();
    for kind in ["h2c", "https"] {
        let url = url(&server, kind, "/hello");
        let Some(said) = run("h2load", &["-c2", "-m50", "-n20000", &url]) else { return };
        assert!(said.contains("20000 succeeded, 0 failed, 0 errored"), "{said}");
        let saved = said.split("(space savings ").nth(1).and_then(|s| s.split('%').next());
        let saved: f64 = saved.expect("the savings").parse().unwrap();
        assert!(saved >= 93.0, "{said}");
    }
}

#[test]
fn c7_c32_h2load_with_many_streams() {
    let server = Process::app_on("http,https", "h2_streams=256");
    for kind in ["http", "https"] {
        let url = url(&server, kind, "/user/someone");
        let Some(said) = run("h2load", &["-c1", "-m256", "-n100000", &url]) else { return };
        assert!(said.contains("100000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    }
}

#[test]
fn c27_nghttp_sees_pushes() {
    let server = app();
    for kind in ["h2c", "https"] {
        let url = url(&server, kind, "/pushing");
        let Some(said) = run("nghttp", &["-v", "-y", "--no-dep", &url]) else { return };
        assert_eq!(said.matches("recv PUSH_PROMISE frame").count(), 2, "{said}");
        for part in [":path: /styles.css", ":path: /app.js", "color: red", "'use strict'"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let (promise, body) = (said.find("recv PUSH_PROMISE"), said.find("recv DATA frame"));
        assert!(promise < body, "{said}");
        let said = run("nghttp", &["-v", "-y", "--no-push", &url]).unwrap();
        assert!(!said.contains("PUSH_PROMISE") && said.contains("stylesheet"), "{said}");
    }
}

#[test]
fn c10_nghttp_with_its_priorities() {
    let server = app();
    // Its default sends a tree of PRIORITY frames, and HEADERS that depend on it.
    let url = url(&server, "h2c", "/bytes/64");
    let Some(said) = run("nghttp", &["-v", "-n", "-m5", "-p200", &url]) else { return };
    assert!(said.contains("send PRIORITY frame") && said.contains("weight=200"), "{said}");
    assert_eq!(said.matches(":status: 200").count(), 5, "{said}");
    assert!(!said.contains("recv RST_STREAM") && !said.contains("error_code=PROTOCOL"), "{said}");
}

#[test]
fn c30_alpn() {
    let server = app();
    let at = server.at("https");
    let chosen = |alpn: &[&[u8]]| {
        tls::connect(at, alpn, "localhost").conn.alpn_protocol().map(<[u8]>::to_vec)
    };
    assert_eq!(chosen(&[b"h2"]).as_deref(), Some(&b"h2"[..]));
    assert_eq!(chosen(&[b"http/1.1", b"h2"]).as_deref(), Some(&b"h2"[..]));
    assert_eq!(chosen(&[b"http/1.1"]).as_deref(), Some(&b"http/1.1"[..]));
    assert_eq!(chosen(&[b"spdy/3", b"http/1.1"]).as_deref(), Some(&b"http/1.1"[..]));
    assert_eq!(chosen(&[]), None);
    assert_eq!(H2::tls(at).get("/hello").text(), "hello");
    let url = url(&server, "https", "/hello");
    let Some(said) = run("curl", &["-skv", "--http2", &url]) else { return };
    assert!(said.contains("HTTP/2 200") && said.contains("hello"), "{said}");
}

#[test]
fn c31_upgrade() {
    let server = app();
    let hello = url(&server, "http", "/hello");
    let Some(said) = run("curl", &["-sv", "--http2", &hello]) else { return };
    for part in ["101 Switching Protocols", "HTTP/2 200", "hello"] {
        assert!(said.to_lowercase().contains(&part.to_lowercase()), "{part}: {said}");
    }
    let big = url(&server, "http", "/bytes/300");
    let said = run(
        "curl",
        &["-s", "--http2", "-o", "/dev/null", "-w", "%{http_version} %{size_download}", &big],
    );
    assert_eq!(said.unwrap(), format!("2 {}", 300 << 10));
    let Some(said) = run("nghttp", &["-v", "-u", &hello]) else { return };
    assert!(said.contains("HTTP Upgrade success") && said.contains("hello"), "{said}");

    // By hand: the answer comes on stream 1, and the connection goes on.
    let upgrade = |settings: &str, more: &str| {
        format!(
            "GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: {settings}\r\n{more}\r\n"
        )
    };
    let mut client = server.client();
    client.send(upgrade("AAMAAABkAAQAAP__", ""));
    let switching = client.any_response("GET");
    assert_eq!((switching.status, switching.field("upgrade")), (101, Some("h2c")));
    let mut raised = H2::over(Box::new(client.stream.try_clone().unwrap()));
    raised.put_back(&client.buffer);
    raised.send([h2::PREFACE, &h2::settings(&[])].concat());
    assert_eq!(raised.answer(1).text(), "hello");
    raised.next_id = 3;
    assert_eq!(raised.get("/user/me").text(), "me");
    // Settings that are no base64url, or none, or two of them: HTTP/1.1 goes on, or refuses.
    for (settings, more) in
        [("A+/=", ""), ("AAM", ""), ("AAMAAABk", "HTTP2-Settings: AAMAAABk\r\n")]
    {
        let mut client = server.client();
        client.send(upgrade(settings, more));
        let status = client.any_response("GET").status;
        assert!(matches!(status, 200 | 400), "{settings}: {status}");
    }
    // A request with a body is not upgraded (row 24).
    let mut client = server.client();
    client.send(upgrade("AAMAAABk", "Content-Length: 0\r\n"));
    assert!(matches!(client.any_response("GET").status, 101 | 200));
    // Switched off.
    let site = TempDir::with(&[("index.html", b"home")]);
    let off = Process::serve(site.path(), &["--no-h2c-upgrade"]);
    let said = run("curl", &["-s", "--http2", "-w", "%{http_version}", &url(&off, "http", "/")]);
    assert_eq!(said.unwrap(), "home1.1");
}

#[test]
fn c32_prior_knowledge() {
    let server = app();
    for kind in ["http", "h2c"] {
        let url = url(&server, kind, "/hello");
        let format = ["-s", "-w", " %{http_version}", "--http2-prior-knowledge", &url];
        let Some(said) = run("curl", &format) else { return };
        assert_eq!(said, "hello 2");
    }
    // Where HTTP/2 alone is spoken, HTTP/1.1 is refused.
    let said =
        run("curl", &["-sv", "--http1.1", "--http0.9", &url(&server, "h2c", "/hello")]).unwrap();
    assert!(!said.contains("200") && !said.ends_with("hello"), "{said}");
}

#[test]
fn c35_secrets_for_wireshark() {
    let site = TempDir::with(&[("site/index.html", b"home")]);
    let log = site.path().join("keys.log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.arg("serve").arg(site.path().join("site")).args(["--workers", "1"]);
    command.args(["--https", "127.0.0.1:0", "--set", "tls.key_log=env"]);
    command.env("SSLKEYLOGFILE", &log);
    let server = Process::start(&mut command);
    server.wait_for("https");
    // The server logs the same secrets as the client, for the same random value.
    let known = std::sync::Arc::new(Known::default());
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        let mut config = tls::config_of(versions, &[b"h2"]);
        config.key_log = std::sync::Arc::clone(&known) as _;
        let at = server.at("https");
        tls::try_connect(at, std::sync::Arc::new(config), "localhost").unwrap();
    }
    let lines = known.0.lock().unwrap().clone();
    assert!(lines.iter().any(|line| line.starts_with("CLIENT_RANDOM ")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("SERVER_TRAFFIC_SECRET_0 ")), "{lines:?}");
    eventually("every secret is logged", || {
        let logged = std::fs::read_to_string(&log).unwrap_or_default();
        lines.iter().all(|line| logged.lines().any(|other| other == line))
    });
}

/// The secrets logged by a client.
#[derive(Debug, Default)]
struct Known(std::sync::Mutex<Vec<String>>);

impl rustls::KeyLog for Known {
    fn log(&self, label: &str, random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        self.0.lock().unwrap().push(format!("{label} {} {}", hex(random), hex(secret)));
    }
}

#[test]
fn httpx_over_both_ways() {
    let server = app();
    let Some(python) = std::env::var_os("RINGWAY_TEST_PYTHON") else {
        return missing("RINGWAY_TEST_PYTHON, a Python with httpx[http2]");
    };
    let script = "
import asyncio, hashlib, sys, httpx

async def main(base, upload):
    async with httpx.AsyncClient(http1=False, http2=True, verify=False, timeout=60) as client:
        answers = await asyncio.gather(*(client.get(base + f'/bytes/{n}') for n in range(60)))
        for n, answer in enumerate(answers):
            assert (answer.status_code, answer.http_version) == (200, 'HTTP/2'), answer
            assert len(answer.content) == n << 10, (n, len(answer.content))
        answer = await client.post(base + '/echo', content=upload)
        assert answer.content == upload
        answer = await client.get(base + '/fields', headers={'cookie': 'a=1; b=2', 'x-long': 'v' * 9000})
        assert 'cookie: a=1; b=2' in answer.text and 'v' * 9000 in answer.text
        assert (await client.head(base + '/big')).headers['content-length'] == str(16 << 20)
        print(hashlib.sha256((await client.get(base + '/bytes/1000')).content).hexdigest())

upload = bytes(range(256)) * 3000
for base in sys.argv[1:]:
    asyncio.run(main(base, upload))
";
    let (clear, secure) = (url(&server, "h2c", ""), url(&server, "https", ""));
    let mut command = Command::new(python);
    let output = command.args(["-c", script, &clear, &secure]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let sums: Vec<&str> = said.lines().collect();
    assert!(sums.len() == 2 && sums[0] == sums[1], "{said}");
    assert_eq!(app_h2::bytes(1000).len(), 1000 << 10);
}
