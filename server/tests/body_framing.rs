//! Where a request's body ends, tested with attacks known since 2025: rows 87 to 90 of the attack
//! list, and F20. A second client is watched throughout.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use harness::h2::{self, H2};
use harness::process::Process;
use harness::quic::{self, H3};
use harness::tls;
use harness::watch::Watch;

/// Maximum growth of memory during an attack with small inputs.
const CAP: u64 = 8 << 20;
/// Requested if bytes after a body are taken for a request, or a body for one.
const BEHIND: &str = "GET /count HTTP/1.1\r\nHost: test\r\n\r\n";

fn app() -> Process {
    Process::app_on("http,https,h3", "")
}

fn nothing_was_executed(server: &Process) {
    assert_eq!(server.client().get("/counted").text(), "0");
}

/// Everything received over TLS until the end of the connection.
fn over_tls(server: &Process, input: &[u8]) -> String {
    let mut stream = tls::connect(server.at("https"), &[b"http/1.1"], "localhost");
    let _ = stream.write_all(input);
    let mut out = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(len @ 1..) = stream.read(&mut piece) {
        out.extend_from_slice(&piece[..len]);
    }
    String::from_utf8(out).unwrap()
}

/// Chunked bodies that must be refused at once with 400 and the end of the connection, as a whole
/// and byte by byte, by handlers that buffer, stream or ignore the body.
fn chunked_refused(bodies: &[&str]) {
    let server = app();
    Watch::new(&server, "/hello").during(CAP, || {
        for body in bodies {
            for path in ["/echo", "/upload", "/hello"] {
                let method = if path == "/hello" { "GET" } else { "POST" };
                let head = format!(
                    "{method} {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                );
                let whole = format!("{head}{body}");
                let start = Instant::now();
                let mut client = server.client();
                client.send(&whole);
                let answer = client.response(method);
                assert_eq!((answer.status, answer.says_close()), (400, true), "{whole:?}");
                client.expect_end();
                let mut client = server.client();
                for octet in whole.bytes() {
                    client.send([octet]);
                }
                assert_eq!(client.response(method).status, 400, "{whole:?}");
                client.expect_end();
                let text = over_tls(&server, whole.as_bytes());
                assert!(text.starts_with("HTTP/1.1 400 "), "{whole:?}: {text:?}");
                assert_eq!(text.matches("HTTP/1.1").count(), 1, "{whole:?}: {text:?}");
                assert!(start.elapsed() < Duration::from_secs(8), "at once: {whole:?}");
            }
        }
    });
    nothing_was_executed(&server);
}

#[test]
fn row_87_chunk_extensions_with_line_ends_in_quotes() {
    let bodies = [
        format!("1;a=\"x\r\n0\r\n\r\n{BEHIND}"),
        format!("1;a=\"\r\nX\r\n0\r\n\r\n{BEHIND}"),
        format!("0;a=\"x\r\n\r\n{BEHIND}"),
        format!("1;a=\"x\\\r\nX\r\n0\r\n\r\n{BEHIND}"),
        format!("1;a=\"x\nX\r\n0\r\n\r\n{BEHIND}"),
        format!("1;a=\"x\rX\r\n0\r\n\r\n{BEHIND}"),
        format!("1;a=\"b\";c=\"x\r\n\"\r\nX\r\n0\r\n\r\n{BEHIND}"),
        format!("1;\r\nX\r\n0\r\n\r\n{BEHIND}"),
        format!("1;a=\r\nX\r\n0\r\n\r\n{BEHIND}"),
        format!("1 ;a=\"x\"\"\r\nX\r\n0\r\n\r\n{BEHIND}"),
        format!("1\r\nX\r\n0;a=\"\r\n\r\n{BEHIND}"),
    ];
    chunked_refused(&bodies.each_ref().map(String::as_str));
}

/// Quoted strings that end on their line are RFC 9112's, semicolons and escapes in them too.
#[test]
fn row_87_quoted_extensions_are_read() {
    let server = app();
    let mut client = server.client();
    for extension in [";a=\"x\"", ";a=\"x;y\\\"z\" ; b", " ;a = \"0\"", ";a=\"\""] {
        client.send(format!(
            "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
             2{extension}\r\nhi\r\n0{extension}\r\n\r\n"
        ));
        assert_eq!(client.response("POST").text(), "hi", "{extension}");
    }
}

#[test]
fn row_88_last_chunks_and_trailers_without_crlf() {
    chunked_refused(&[
        "0\n\n",
        "0\r\n\n",
        "0\n\r\n",
        "0\r\r\n\r\n",
        "0\r\n\rX",
        "0\r\n\r\r\n",
        "2\r\nhi\r\n0\r\n\rGET /count HTTP/1.1\r\nHost: test\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX: y\n\n",
        "0\r\nX: y\r\r\n\r\n",
        "0\r\nX: y\rZ: a",
        "0\r\nX: y\r\n\n",
        "0\r\nX: y\r\n\rX",
        "0\r\nX: y\0\r\n\r\n",
        "0\r\n X: y\r\n\r\n",
        "00\n\r\n",
    ]);
}

/// After a declined upgrade comes the body that content-length announces, then the next request.
#[test]
fn row_89_f20_an_upgrade_with_a_body_is_declined() {
    let server = app();
    let len = BEHIND.len();
    let framings = [
        (format!("Content-Length: {len}\r\n"), BEHIND.to_owned()),
        ("Transfer-Encoding: chunked\r\n".into(), format!("{len:x}\r\n{BEHIND}\r\n0\r\n\r\n")),
    ];
    let settings = "HTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    Watch::new(&server, "/hello").during(CAP, || {
        for upgrade in ["h2c", "websocket", "foo/1", "TLS/1.0", "h2c, websocket", "HTTP/2.0"] {
            for (fields, body) in &framings {
                for path in ["/echo", "/upload", "/hello"] {
                    let head = format!(
                        "GET {path} HTTP/1.1\r\nHost: test\r\n\
                         Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\n{settings}\
                         {fields}\r\n"
                    );
                    let next = "GET /user/next HTTP/1.1\r\nHost: test\r\n\r\n";
                    for parts in
                        [vec![format!("{head}{body}{next}")], vec![head, body.clone() + next]]
                    {
                        let mut client = server.client();
                        for part in parts {
                            client.send(part);
                            std::thread::sleep(Duration::from_millis(2));
                        }
                        let answer = client.any_response("GET");
                        let expected = if path == "/upload" { 405 } else { 200 };
                        assert_eq!(answer.status, expected, "{upgrade} {fields} {path}");
                        if path == "/echo" {
                            assert_eq!(answer.text(), BEHIND, "the body, whole");
                        }
                        assert_eq!(client.response("GET").text(), "next", "{upgrade} {fields}");
                    }
                }
            }
        }
    });
    // Without a body the upgrade takes place without TLS; a later stream's body is a body.
    let mut client = server.client();
    client.send(format!(
        "GET /hello HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\n\
         Upgrade: h2c\r\n{settings}\r\n"
    ));
    assert_eq!(client.any_response("GET").status, 101);
    // A body of length zero is framed too: the upgrade is declined and the connection stays in
    // sync.
    let mut client = server.client();
    client.send(format!(
        "POST /echo HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\n\
         Upgrade: h2c\r\n{settings}Content-Length: 0\r\n\r\nGET /user/next HTTP/1.1\r\nHost: test\r\n\r\n"
    ));
    assert_eq!(client.any_response("POST").status, 200);
    assert_eq!(client.response("GET").text(), "next");
    nothing_was_executed(&server);
}

/// An upgrade that is declined leaves the connection as it was, with every kind of answer.
#[test]
fn f20_a_declined_upgrade_is_an_ordinary_request() {
    let server = app();
    for upgrade in ["websocket", "foo/1", "h2c", "h3", ""] {
        let mut client = server.client();
        for (method, path, status) in [
            ("GET", "/hello", 200),
            ("HEAD", "/hello", 200),
            ("GET", "/no", 404),
            ("GET", "/slow/5", 200),
        ] {
            client.send(format!(
                "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, Upgrade\r\n\
                 Upgrade: {upgrade}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\n"
            ));
            let answer = client.any_response(method);
            assert_eq!(answer.status, status, "{upgrade} {path}");
            assert!(!answer.says_close() && answer.field("upgrade").is_none(), "{answer:?}");
        }
    }
    // h2c has no meaning over TLS.
    let text = over_tls(
        &server,
        b"GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings, close\r\n\
          Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("hello"), "{text:?}");
}

/// A body that is announced as far too large is refused from its head, before any of it arrives.
#[test]
fn f20_a_huge_length_is_refused_without_the_body() {
    let server = app();
    let start = Instant::now();
    for length in ["1048577", "99999999999", "999999999999999999"] {
        for (path, expect) in [("/echo", ""), ("/echo", "Expect: 100-continue\r\n"), ("/hello", "")]
        {
            let mut client = server.client();
            client.send(format!(
                "POST {path} HTTP/1.1\r\nHost: test\r\n{expect}Content-Length: {length}\r\n\r\n"
            ));
            let answer = client.any_response("POST");
            let refused = answer.status == 413 || path == "/hello" && answer.status == 405;
            assert!(refused && answer.says_close(), "{length} {path}: {answer:?}");
            client.expect_end();
        }
        for mut client in [H2::connect(server.http()), H2::tls(server.at("https"))] {
            let id = client.id();
            let head = h2::request("POST", "/echo", &[("content-length", length)]);
            client.send(h2::frame(h2::HEADERS, h2::END_HEADERS, id, &head));
            assert_eq!(client.answer(id).status(), 413, "h2, {length}");
            assert_eq!(client.get("/hello").text(), "hello", "the connection lives");
        }
        let mut client = H3::connect(server.at("h3"));
        let id = client.id();
        let mut fields = quic::request("POST", "/echo");
        fields.push(("content-length", length));
        client.raw(id, &quic::headers(&fields), false);
        assert_eq!(client.answer(id).status(), 413, "h3, {length}");
        assert_eq!(client.get("/hello").text(), "hello", "the connection lives");
        client.close();
    }
    assert!(start.elapsed() < Duration::from_secs(20), "it waits for no body");
}

/// Sends a head that expects 100, followed by what a client may do then.
fn expecting(server: &Process, head: &str, then: &str) -> (Vec<u16>, bool, String) {
    let mut client = server.client();
    client.send(head);
    let (mut statuses, mut last) = (Vec::new(), String::new());
    let first = client.any_response("POST");
    statuses.push(first.status);
    let mut closes = first.says_close();
    client.send(then);
    client.finish();
    while let Some(answer) = client.try_response("POST") {
        statuses.push(answer.status);
        closes |= answer.says_close();
        last = answer.text().into();
    }
    (statuses, closes, last)
}

#[test]
fn row_90_expect_and_early_answers() {
    let server = app();
    let head = |path: &str, version: &str, fields: &str| {
        format!("POST {path} HTTP/{version}\r\nHost: test\r\nExpect: 100-continue\r\n{fields}\r\n")
    };
    let five = "Content-Length: 5\r\n";
    let twice = "Content-Length: 5\r\nExpect: 100-continue\r\n";
    Watch::new(&server, "/hello").during(CAP, || {
        // One 100, then the answer.
        for path in ["/echo", "/upload"] {
            for fields in [five, twice] {
                let (statuses, _, _) = expecting(&server, &head(path, "1.1", fields), "hello");
                assert_eq!(statuses, [100, 200], "{path} {fields}");
            }
        }
        // An early answer: either the body follows it, or nothing.
        for (path, fields, status) in [
            ("/echo", "Content-Length: 99999999\r\n", 413),
            ("/ignore", five, 200),
            ("/no", "Content-Length: 99999999\r\n", 404),
        ] {
            let (statuses, closes, _) = expecting(&server, &head(path, "1.1", fields), BEHIND);
            let seen: Vec<u16> = statuses.into_iter().filter(|s| *s != 100).collect();
            assert_eq!((seen[0], closes || path == "/ignore"), (status, true), "{path} {fields}");
        }
        // No body is expected: no 100, and the next request is parsed as one.
        for path in ["/echo", "/upload", "/ignore"] {
            for fields in ["Content-Length: 0\r\n", ""] {
                let next = "POST /target HTTP/1.1\r\nHost: test\r\n\r\n";
                let (statuses, closes, last) = expecting(&server, &head(path, "1.1", fields), next);
                assert_eq!((&statuses[..], closes), (&[200, 200][..], false), "{path} {fields}");
                assert_eq!(last, "/target - test");
            }
        }
        // HTTP/1.0 has no 100: the body is waited for.
        let mut client = server.client();
        client.send(head("/echo", "1.0", five));
        client.send("hello");
        assert_eq!(client.any_response("POST").text(), "hello");
        // A body that did not wait: no 100 either.
        let mut client = server.client();
        client.send(head("/echo", "1.1", five) + "hello");
        assert_eq!(client.any_response("POST").text(), "hello");
        // Not in the list form, and not beside others: refused, nothing behind it is a request.
        for value in ["100-continue, 100-continue", "100-continue,", "100-continue;q=1"] {
            let mut client = server.client();
            let head =
                format!("POST /echo HTTP/1.1\r\nHost: test\r\nExpect: {value}\r\n{five}\r\n");
            client.send(head + BEHIND);
            let answer = client.any_response("POST");
            assert_eq!((answer.status, answer.says_close()), (417, true), "{value}");
            client.expect_end();
        }
    });
    nothing_was_executed(&server);
}

/// The statuses of the heads that came.
fn statuses(heads: &[Vec<(String, String)>]) -> Vec<String> {
    heads.iter().map(|head| head[0].1.clone()).collect()
}

#[test]
fn row_90_expect_over_h2_and_h3() {
    let server = app();
    let expect = ("expect", "100-continue");
    let cases: [(&str, &str, &[&str]); 6] = [
        ("/echo", "5", &["100", "200"]),
        ("/upload", "5", &["100", "200"]),
        ("/echo", "0", &["200"]),
        ("/upload", "0", &["200"]),
        ("/echo", "99999999", &["413"]),
        ("/no", "99999999", &["404"]),
    ];
    for (path, length, expected) in cases {
        let fields = [("content-length", length), expect, expect];
        let mut client = H2::tls(server.at("https"));
        let id = client.id();
        let head = h2::request("POST", path, &fields);
        client.send(h2::frame(h2::HEADERS, h2::END_HEADERS, id, &head));
        client.until("a head", |c| {
            c.streams.get(&id).is_some_and(|s| !s.heads.is_empty()) || length == "0"
        });
        let body = if length == "5" { &b"hello"[..] } else { b"" };
        client.send(h2::frame(h2::DATA, h2::END_STREAM, id, body));
        assert_eq!(statuses(&client.answer(id).heads), expected, "h2, {path} {length}");
        assert_eq!(client.get("/hello").text(), "hello");

        let mut client = H3::connect(server.at("h3"));
        let id = client.id();
        let head = [&quic::request("POST", path)[..], &fields].concat();
        client.raw(id, &quic::headers(&head), false);
        client.run("a head", |c| !c.streams[&id].heads.is_empty() || length == "0");
        let data = if length == "5" { quic::frame(quic::DATA, b"hello") } else { Vec::new() };
        client.raw(id, &data, true);
        assert_eq!(statuses(&client.answer(id).heads), expected, "h3, {path} {length}");
        assert_eq!(client.get("/hello").text(), "hello");
        client.close();
    }
}
