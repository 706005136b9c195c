//! Attacks on HTTP/1.1 framing: rows 1 to 24 of the attack list, each test named by its row. During
//! an attack a second client's latency and the server's memory are watched. Afterwards the server
//! answers and holds no more than before.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use harness::client::{Client, Response};
use harness::process::Process;
use harness::watch::Watch;
use harness::{TempDir, pattern};

/// Maximum growth of memory during an attack with small inputs.
const CAP: u64 = 4 << 20;
/// Repetitions of each attack, so that a leak or a slow path shows.
const TIMES: usize = 20;

const GOOD: &str = "GET /count HTTP/1.1\r\nHost: test\r\n\r\n";

/// Each input is answered by one reply with one of these statuses and `Connection: close`, then the
/// end, and nothing behind it is executed.
fn refused(bounds: &str, statuses: &[u16], inputs: &[impl AsRef<[u8]>]) {
    let server = Process::app(bounds);
    let watch = Watch::new(&server, "/hello");
    watch.during(CAP, || {
        for input in inputs {
            for _ in 0..TIMES {
                let response = send_and_close(&server, input.as_ref());
                assert!(
                    statuses.contains(&response.status),
                    "{} for {:?}",
                    response.status,
                    shown(input.as_ref())
                );
                assert!(response.says_close(), "{:?}", shown(input.as_ref()));
            }
        }
    });
    assert_eq!(server.client().get("/counted").text(), "0", "nothing was executed");
}

/// Sends, reads one reply, and expects the end of the connection after it.
fn send_and_close(server: &Process, input: &[u8]) -> Response {
    let mut client = server.client();
    client.send(input);
    let response = client.response("GET");
    if !response.says_close() {
        // Do not wait for a connection that stays open: the caller reports that.
        client.finish();
    }
    let rest = client.rest();
    assert!(
        rest.is_empty(),
        "{} and more for {:?}: {:?}",
        response.status,
        shown(input),
        shown(&rest)
    );
    response
}

fn shown(input: &[u8]) -> String {
    String::from_utf8_lossy(&input[..input.len().min(200)]).into_owned()
}

/// A request with these fields, a body, and a request smuggled behind it.
fn post(fields: &str, body: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n{body}{GOOD}")
}

#[test]
fn row_01_content_length_and_transfer_encoding() {
    let inputs = [
        post("Content-Length: 6\r\nTransfer-Encoding: chunked", "0\r\n\r\nG"),
        post("Transfer-Encoding: chunked\r\nContent-Length: 4", "5c\r\nGPOST\r\n0\r\n\r\n"),
        post("Content-Length: 0\r\ntransfer-encoding: CHUNKED", "0\r\n\r\n"),
    ];
    refused("", &[400], &inputs);
}

#[test]
fn row_02_content_length_twice_or_as_a_list() {
    let inputs = [
        post("Content-Length: 5\r\nContent-Length: 5", "hello"),
        post("Content-Length: 5\r\nX: y\r\ncontent-length: 6", "hello"),
        post("Content-Length: 5, 5", "hello"),
        post("Content-Length: 5, 6", "hello"),
    ];
    refused("", &[400], &inputs);
}

#[test]
fn row_03_content_length_that_is_no_number() {
    let bad = ["+5", "0x5", "5 x", "-1", "1_0", "", "5.0", "٥", "18446744073709551616"];
    refused("", &[400], &bad.map(|value| post(&format!("Content-Length: {value}"), "hello")));
    // A number that is larger than any allowed body.
    let huge = ["9223372036854775808", "18446744073709551615"];
    let huge = huge.map(|value| post(&format!("Content-Length: {value}"), "hello"));
    refused("", &[400, 413], &huge);
}

#[test]
fn row_04_transfer_encoding_in_disguise() {
    let codings = [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding:",
        "Transfer-Encoding : chunked",
    ];
    refused("", &[400, 501], &codings.map(|coding| post(coding, "0\r\n\r\n")));
}

/// A trailing space and capitals are RFC 9110's: whoever accepts them must decode the body.
#[test]
fn row_04_a_padded_coding_is_refused_or_decoded() {
    let server = Process::app("");
    for value in ["Chunked ", "\tchunked", "CHUNKED"] {
        let mut client = server.client();
        client.send(post(&format!("Transfer-Encoding: {value}"), "2\r\nhi\r\n0\r\n\r\n"));
        let response = client.response("POST");
        if response.status == 200 {
            assert_eq!(response.text(), "hi", "{value:?}");
            assert_eq!(client.response("GET").text().parse::<u32>().map(|n| n > 0), Ok(true));
        } else {
            assert_eq!((response.status, response.says_close()), (400, true), "{value:?}");
            client.expect_end();
        }
    }
}

#[test]
fn row_05_transfer_encoding_in_http_10() {
    let request = "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    let alive = "POST /echo HTTP/1.0\r\nConnection: keep-alive\r\n\
                 Transfer-Encoding: chunked\r\n\r\n";
    let inputs = [request, alive].map(|head| format!("{head}2\r\nhi\r\n0\r\n\r\n{GOOD}"));
    refused("", &[400], &inputs);
}

#[test]
fn row_06_bare_line_feeds_and_carriage_returns() {
    let inputs = [
        "GET /count HTTP/1.1\nHost: test\r\n\r\n",
        "GET /count HTTP/1.1\r\nHost: test\n\r\n",
        "GET /count HTTP/1.1\r\nHost: test\r\n\n",
        "GET /count HTTP/1.1\nHost: test\n\n",
        "GET /count HTTP/1.1\r\nX: a\nHost: test\r\n\r\n",
        "GET /count HTTP/1.1\rHost: test\r\n\r\n",
        "GET /count HTTP/1.1\r\nX: a\rb\r\nHost: test\r\n\r\n",
        "GET /count HTTP/1.1\r\nHost: test\r\rX: y\r\n\r\n",
        "GET /count HTTP/1.1\r\nHost: test\r\n\rX\r\n\r\n",
        "GET /count HTTP/1.1\r\r\nHost: test\r\n\r\n",
    ];
    refused("", &[400], &inputs);
}

#[test]
fn row_07_folding_and_misplaced_space() {
    let inputs = [
        "GET /count HTTP/1.1\r\nHost: test\r\nX: a\r\n b\r\n\r\n",
        "GET /count HTTP/1.1\r\nHost: test\r\nX: a\r\n\tb\r\n\r\n",
        "GET /count HTTP/1.1\r\nHost : test\r\n\r\n",
        "GET /count HTTP/1.1\r\nHost: test\r\nX\t: y\r\n\r\n",
        "GET /count HTTP/1.1\r\n Host: test\r\n\r\n",
        "GET /count HTTP/1.1\r\n X: y\r\nHost: test\r\n\r\n",
        "GET /count HTTP/1.1\r\nHost: test\r\n: y\r\n\r\n",
        "GET /count HTTP/1.1\r\nHost: test\r\nnocolon\r\n\r\n",
        "GET  /count HTTP/1.1\r\nHost: test\r\n\r\n",
        "GET /count  HTTP/1.1\r\nHost: test\r\n\r\n",
        "GET /count HTTP/1.1 \r\nHost: test\r\n\r\n",
        "GET\t/count HTTP/1.1\r\nHost: test\r\n\r\n",
        " GET /count HTTP/1.1\r\nHost: test\r\n\r\n",
    ];
    refused("", &[400], &inputs);
}

#[test]
fn row_08_control_characters() {
    let mut inputs = Vec::new();
    for byte in (0..32).chain([127]) {
        if !matches!(byte, b'\t' | b'\n' | b'\r') {
            let with =
                |head: &str, tail: &str| [head.as_bytes(), &[byte], tail.as_bytes()].concat();
            inputs.push(with("GET /count HTTP/1.1\r\nHost: test\r\nX: a", "b\r\n\r\n"));
            inputs.push(with("GET /count HTTP/1.1\r\nHost: test\r\nX", "Y: b\r\n\r\n"));
            inputs.push(with("GET /co", "unt HTTP/1.1\r\nHost: test\r\n\r\n"));
        }
    }
    for byte in [0x80, 0xff, b'(', b'"', b'{', b'/', b'@'] {
        let start = b"GET /count HTTP/1.1\r\nHost: test\r\nX".as_slice();
        inputs.push([start, &[byte], b": b\r\n\r\n"].concat());
    }
    refused("", &[400], &inputs);
}

#[test]
fn row_09_host_missing_twice_or_invalid() {
    let hosts = ["", "Host: a\r\nHost: a\r\n", "Host: a\r\nhost: b\r\n", "Host: a b\r\n"];
    let inputs = hosts.map(|host| format!("GET /count HTTP/1.1\r\n{host}\r\n"));
    refused("", &[400], &inputs);
}

#[test]
fn row_09_absolute_form_wins_over_host() {
    let server = Process::app("");
    let mut client = server.client();
    client.send("GET http://real:81/target?q=1 HTTP/1.1\r\nHost: other\r\n\r\n");
    assert_eq!(client.response("GET").text(), "/target q=1 real:81");
    client.send("GET HTTP://real HTTP/1.1\r\nHost: other\r\n\r\n");
    assert_eq!(client.response("GET").status, 200, "an empty path is `/`");
    client.send("GET http://real/target HTTP/1.1\r\n\r\n");
    let response = client.response("GET");
    assert_eq!((response.status, response.says_close()), (400, true), "Host is still mandatory");
}

#[test]
fn row_10_chunk_sizes() {
    let sizes =
        ["10000000000000002", "fffffffffffffffff", "0x2", "-2", "+2", " 2", "2 ", "", "g", "2\t"];
    let body = |size: &str| format!("{size}\r\nhi\r\n0\r\n\r\n");
    let inputs = sizes.map(|size| post("Transfer-Encoding: chunked", &body(size)));
    refused("", &[400, 413], &inputs);
}

#[test]
fn row_11_chunk_extensions() {
    let flood = "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n";
    let inputs = [
        post("Transfer-Encoding: chunked", &flood.repeat(400)),
        post("Transfer-Encoding: chunked", &format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(20_000))),
        post("Transfer-Encoding: chunked", "1;a\nx\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked", "1;a\rx\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked", "1;a\0b\r\nx\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked", "1;a\x7f\r\nx\r\n0\r\n\r\n"),
    ];
    refused("", &[400, 413], &inputs);
}

#[test]
fn row_12_chunks_without_their_crlf() {
    let bodies =
        ["2\r\nhiX\r\n0\r\n\r\n", "2\r\nhi\n0\r\n\r\n", "2\r\nhi0\r\n\r\n", "2\nhi\r\n0\r\n\r\n"];
    refused("", &[400], &bodies.map(|body| post("Transfer-Encoding: chunked", body)));
    // The last CRLF never comes: the timeout is the client's fault, too.
    let head = "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let server = Process::app("header_timeout=300,idle_timeout=300,rate_grace=300,body_rate=1000");
    let mut client = server.client();
    client.send(format!("{head}2\r\nhi\r\n0\r\n"));
    let response = client.response("POST");
    assert_eq!((response.status, response.says_close()), (408, true));
    client.expect_end();
}

#[test]
fn row_13_trailers() {
    let server = Process::app("");
    for trailer in ["Content-Length: 5", "Transfer-Encoding: chunked", "Host: evil"] {
        let mut client = server.client();
        client.send(post(
            "Transfer-Encoding: chunked",
            &format!("2\r\nhi\r\n0\r\n{trailer}\r\n\r\n"),
        ));
        let response = client.response("POST");
        match response.status {
            200 => assert_eq!((response.text(), client.response("GET").status), ("hi", 200)),
            status => assert_eq!((status, response.says_close()), (400, true), "{trailer}"),
        }
    }
    let many = "X: y\r\n".repeat(200);
    let long = format!("X: {}\r\n", "y".repeat(40_000));
    let bodies = [many, long].map(|trailers| format!("2\r\nhi\r\n0\r\n{trailers}\r\n"));
    refused("", &[431], &bodies.map(|body| post("Transfer-Encoding: chunked", &body)));
    refused("", &[400], &[post("Transfer-Encoding: chunked", "0\r\nX: y\n\r\n")]);
}

#[test]
fn row_14_a_body_that_looks_like_a_request() {
    let server = Process::app("");
    let watch = Watch::new(&server, "/hello");
    watch.during(CAP, || {
        for method in ["GET", "DELETE", "POST", "HEAD"] {
            let len = GOOD.len();
            let mut client = server.client();
            client.send(format!(
                "{method} /hello HTTP/1.1\r\nHost: test\r\nContent-Length: {len}\r\n\r\n\
                 {GOOD}GET /user/real HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
            ));
            let first = client.response(method);
            assert!(matches!(first.status, 200 | 405), "{method} {}", first.status);
            if !first.says_close() {
                assert_eq!(client.response("GET").text(), "real", "{method}");
            }
            client.expect_end();
        }
    });
    assert_eq!(server.client().get("/counted").text(), "0");
}

#[test]
fn row_15_a_body_that_nobody_reads() {
    let site = TempDir::with(&[("index.html", b"home"), ("count", b"never asked for")]);
    let server = Process::serve(site.path(), &[]);
    let app = Process::app("");
    let body = GOOD.repeat((1 << 20) / GOOD.len());
    for (server, path, expected) in [(&server, "/index.html", 405), (&app, "/ignore", 200)] {
        let watch = Watch::new(server, if expected == 405 { "/index.html" } else { "/hello" });
        watch.during(CAP, || {
            let mut client = server.client();
            let fields = format!("Content-Length: {}\r\n", body.len());
            let response = client.request("POST", path, &fields, body.as_bytes());
            assert_eq!(response.status, expected);
            if response.says_close() {
                client.expect_end();
            } else {
                client.send("GET /nowhere HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
                assert_eq!(client.response("GET").status, 404);
                client.expect_end();
            }
        });
    }
}

#[test]
fn row_16_bytes_behind_a_declined_upgrade_are_requests() {
    let server = Process::app("");
    for upgrade in ["websocket", "h2c", "foo/1"] {
        let mut client = server.client();
        client.send(format!(
            "GET /hello HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n\
             GET /user/next HTTP/1.1\r\nHost: test\r\n\r\n"
        ));
        let response = client.any_response("GET");
        assert_eq!((response.status, response.text()), (200, "hello"), "{upgrade}");
        assert_eq!(client.response("GET").text(), "next", "{upgrade}");
    }
}

#[test]
fn row_17_an_expectation_that_nobody_knows() {
    let head = "POST /count HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n";
    let inputs = [
        format!("{head}Expect: y 100-continue\r\n\r\n{GOOD}"),
        format!("{head}Expect: 100-continuee\r\n\r\n{GOOD}"),
        format!("{head}Expect: 100-continue, foo\r\n\r\n{GOOD}"),
    ];
    refused("", &[417], &inputs);
}

#[test]
fn row_18_versions() {
    let request = |version: &str| format!("GET /count {version}\r\nHost: test\r\n\r\n");
    let bad = ["HTTP/1.10", "http/1.1", "HTTP/1", "HTTP/1.", "HTTP/.1", "HTTP/01.1", "HTP/1.1"];
    refused("", &[400], &bad.map(request));
    refused("", &[505], &["HTTP/2.0", "HTTP/3.0"].map(request));
    refused("", &[400, 505], &["HTTP/0.9"].map(request));
}

#[test]
fn row_19_giant_heads() {
    let line = format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "x".repeat(9 * 1024));
    refused("", &[414], &[line]);
    let block = format!("GET /count HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "y".repeat(64 << 10));
    let fields = format!("GET /count HTTP/1.1\r\nHost: test\r\n{}\r\n", "X: y\r\n".repeat(100));
    let endless = format!("GET /count HTTP/1.1\r\nHost: test\r\n{}", "X: y\r\n".repeat(100_000));
    refused("", &[431], &[block, fields, endless]);
    // A line that never ends is refused at its limit, not at its end.
    let line = format!("GET /{}", "x".repeat(1 << 20));
    refused("", &[414], &[line]);
}

#[test]
fn row_20_and_21_redirects_stay_on_this_server() {
    let site = TempDir::with(&[("dir/index.html", b"x"), ("a b/index.html", b"x")]);
    let server = Process::serve(site.path(), &[]);
    let targets = [
        "/dir",
        "/dir?a=%0d%0aX:1",
        "/a%20b",
        "/%0d%0aX:1",
        "/dir%0d%0aX:1",
        "//evil.example/%2e%2e",
        "//evil.example/..",
        "/%2fevil.example/%2e%2e",
        "/\\evil.example",
        "//dir",
        "///evil.example/%2e%2e/dir",
        "/./dir",
        "http://test//evil.example/%2e%2e",
    ];
    for target in targets {
        let mut client = server.client();
        let response = client.get(target);
        assert!(response.field("x").is_none(), "{target}");
        if let Some(location) = response.field("location") {
            assert!(matches!(response.status, 301 | 302 | 307 | 308), "{target}");
            assert!(location.starts_with('/'), "{target} leads to {location}");
            assert!(!location.starts_with("//") && !location.starts_with("/\\"), "{location}");
            assert!(location.bytes().all(|b| b.is_ascii_graphic()), "{location}");
        } else {
            assert!(matches!(response.status, 200 | 400 | 404), "{target}: {}", response.status);
        }
    }
    let mut client = server.client();
    assert_eq!(client.get("/dir").field("location"), Some("/dir/"));
    assert_eq!(client.get("/a%20b").field("location"), Some("/a%20b/"));
}

#[test]
fn row_22_trace_and_connect() {
    let site = TempDir::with(&[("index.html", b"home")]);
    let app = Process::app("");
    for (server, path) in [(Process::serve(site.path(), &[]), "/index.html"), (app, "/hello")] {
        let trace = format!("TRACE {path}");
        let connect = format!("CONNECT {path}");
        for (line, status) in [
            (&*trace, 405),
            // The asterisk is for OPTIONS alone (RFC 9112 section 3.2.4).
            ("TRACE *", 400),
            ("CONNECT test:80", 405),
            // What follows CONNECT is no path (RFC 9110 section 9.3.6).
            (&*connect, 400),
        ] {
            let mut client = server.client();
            let secret = "Cookie: secret\r\n";
            client.send(format!("{line} HTTP/1.1\r\nHost: test:80\r\n{secret}\r\n"));
            let response = client.response("TRACE");
            assert_eq!(response.status, status, "{line}");
            assert!(!String::from_utf8_lossy(&response.body).contains("secret"));
        }
    }
}

#[test]
fn row_23_replies_without_a_body_keep_the_alignment() {
    let server = Process::app("");
    let mut client = server.client();
    let one = |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    let sequence = [
        ("HEAD", "/hello"),
        ("GET", "/empty"),
        ("HEAD", "/big"),
        ("GET", "/same"),
        ("GET", "/hello"),
    ];
    for _ in 0..TIMES {
        client.send(sequence.map(|(method, path)| one(method, path)).concat());
        for (method, path) in sequence {
            let response = client.response(method);
            let expected = match path {
                "/empty" => 204,
                "/same" => 304,
                _ => 200,
            };
            assert_eq!(response.status, expected, "{path}");
        }
    }
    client.send(one("HEAD", "/stream/1") + &one("GET", "/hello"));
    assert_eq!(client.response("HEAD").status, 200);
    assert_eq!(client.response("GET").text(), "hello");
}

#[test]
fn row_24_bad_http2_settings_are_never_obeyed() {
    let server = Process::app("");
    let upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n";
    let with_body = "Content-Length: 2\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    let cases = [
        ("HTTP2-Settings: !!!\r\n", ""),
        ("HTTP2-Settings: AAMAAABk\r\nHTTP2-Settings: AAMAAABk\r\n", ""),
        ("HTTP2-Settings: AAMAAA\r\n", ""),
        ("", ""),
        (with_body, "hi"),
    ];
    for (fields, body) in cases {
        let mut client = server.client();
        client.send(format!(
            "POST /echo HTTP/1.1\r\nHost: test\r\n{upgrade}{fields}\r\n{body}{GOOD}"
        ));
        let response = client.any_response("POST");
        match response.status {
            200 => {
                assert_eq!(response.text(), body);
                assert_eq!(client.response("GET").status, 200, "{fields:?}");
            }
            status => assert_eq!((status, response.says_close()), (400, true), "{fields:?}"),
        }
    }
}

/// Not a row: noise. Whatever the input, the connection ends in order and the server survives.
#[test]
fn noise_is_answered_or_cut_off() {
    let server = Process::app("header_timeout=500");
    let watch = Watch::new(&server, "/hello");
    watch.during(CAP, || {
        let noise = pattern(64 * 1024);
        for piece in noise.chunks(1024) {
            let mut client: Client = server.client();
            client.send(piece);
            client.finish();
            let rest = String::from_utf8_lossy(&client.rest()).into_owned();
            assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 4"), "{rest:?}");
        }
    });
}
