//! Limits of field sections over all protocols: F10, cookies in pieces; F18, header blocks that are
//! too long; row 91, trailers over the limits. Attacks run beside a second client, with bounded
//! memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use harness::h2::{self, H2};
use harness::process::Process;
use harness::quic::{self, H3};
use harness::watch::Watch;

/// Maximum growth of memory during an attack on one connection.
const CAP: u64 = 8 << 20;

fn app() -> Process {
    Process::app_on("http,h2c,https,h3", "")
}

fn pairs(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("name{n}=v")).collect()
}

fn crumbs(pairs: &[String]) -> Vec<(&str, &str)> {
    pairs.iter().map(|pair| ("cookie", pair.as_str())).collect()
}

/// HEADERS and CONTINUATION of at most 16 KiB.
fn long_headers(id: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let pieces = block.chunks(16_384);
    let last = pieces.len() - 1;
    for (n, piece) in pieces.enumerate() {
        let kind = if n == 0 { h2::HEADERS } else { h2::CONTINUATION };
        let end = if n == last { h2::END_HEADERS } else { 0 };
        out.extend(h2::frame(kind, if n == 0 { flags | end } else { end }, id, piece));
    }
    out
}

#[test]
fn f10_a_cookie_in_pieces_is_one_field_over_every_protocol() {
    let server = app();
    for count in [2, 97, 150, 1000, 1900] {
        let pairs = pairs(count);
        let cookie = format!("cookie: {}", pairs.join("; "));
        let seen = |text: &str| text.lines().any(|line| line.eq_ignore_ascii_case(&cookie));
        let mut client = server.client();
        client.send(format!("GET /fields HTTP/1.1\r\nHost: test\r\n{cookie}\r\n\r\n"));
        let answer = client.response("GET");
        assert!(answer.status == 200 && seen(answer.text()), "h1, {count}");
        for mut client in h2::every_way(&server) {
            let block = h2::request("GET", "/fields", &crumbs(&pairs));
            let id = client.id();
            client.send(long_headers(id, h2::END_STREAM, &block));
            let answer = client.answer(id);
            assert!(answer.status() == 200 && seen(answer.text()), "h2, {count}");
        }
        let mut client = H3::connect(server.at("h3"));
        let id = client.ask("GET", "/fields", &crumbs(&pairs), b"");
        let answer = client.answer(id);
        assert!(answer.status() == 200 && seen(&answer.text()), "h3, {count}: {answer:?}");
        client.close();
    }
}

/// Pieces by single octets, from the table: of a long cookie, of the shortest, of none.
#[test]
fn row_43_f10_bombs_of_cookies() {
    let server = app();
    Watch::new(&server, "/hello").during(CAP, || {
        for (value, count) in [("c".repeat(4000), 9), ("a".into(), 8300), (String::new(), 900)] {
            let mut client = H2::connect(server.at("h2c"));
            let mut head = [&h2::request("GET", "/hello", &[])[..], &[0x40, 6], b"cookie"].concat();
            head.extend(h2::integer(0, 7, value.len()));
            head.extend(value.as_bytes());
            head.resize(head.len() + count - 1, 0x80 | 62);
            for _ in 0..10 {
                let id = client.id();
                client.send(long_headers(id, h2::END_STREAM, &head));
                assert_eq!(client.answer(id).status(), 431, "h2, {count}");
            }
            assert_eq!(client.get("/hello").text(), "hello");

            let mut client = H3::connect(server.at("h3"));
            let mut entry = vec![0x3f, 0xe1, 0x1f, 0xc5];
            entry.extend(h2::integer(0, 7, value.len()));
            entry.extend(value.as_bytes());
            client.raw(quic::ENCODER, &entry, false);
            for _ in 0..10 {
                let mut section = quic::section(&quic::request("GET", "/hello"));
                section[0] = 2;
                section.resize(section.len() + count, 0x80);
                let id = client.id();
                client.raw(id, &quic::frame(quic::HEADERS, &section), true);
                assert_eq!(client.answer(id).status(), 431, "h3, {count}");
            }
            assert_eq!(client.get("/hello").text(), "hello");
            client.close();
        }
    });
}

#[test]
fn f18_a_header_block_over_the_bound_is_431_on_its_stream() {
    let server = app();
    for mut client in h2::every_way(&server) {
        for size in [33_000, 40_000, 65_000] {
            // In the table, and out of step if the block were not read.
            let mut head = h2::request("GET", "/fields", &[("x-long", &"v".repeat(size))]);
            head.extend([0x40, 1, b'n', 5]);
            head.extend(format!("{size}").bytes());
            let (id, after) = (client.id(), client.id());
            client.send(long_headers(id, h2::END_STREAM, &head));
            let next = [h2::request("GET", "/fields", &[]), vec![0x80 | 62]].concat();
            client.send(long_headers(after, h2::END_STREAM, &next));
            assert_eq!(client.answer(id).status(), 431, "{size}");
            assert!(client.answer(after).text().contains(&format!("n: {size}\n")), "{size}");
        }
        let id = client.id();
        let head = h2::request("GET", "/fields", &[("x-long", &"v".repeat(66_000))]);
        client.send(long_headers(id, h2::END_STREAM, &head));
        assert_eq!(client.end(), Some(h2::ENHANCE_YOUR_CALM));
        let said = String::from_utf8_lossy(&client.goaways[0].payload[8..]).into_owned();
        assert!(said.contains("twice our SETTINGS_MAX_HEADER_LIST_SIZE"), "{said}");
    }
    // Where tables have a stream of their own, no length is the connection's matter.
    let mut client = H3::connect(server.at("h3"));
    for size in [33_000, 65_000, 66_000, 1 << 20] {
        let value = "v".repeat(size);
        let id = client.ask("GET", "/fields", &[("x-long", &value)], b"");
        assert_eq!(client.answer(id).status(), 431, "h3, {size}");
        assert_eq!(client.get("/hello").text(), "hello");
    }
    client.close();
}

#[test]
fn f18_a_large_frame_is_no_different() {
    let server = Process::app_on("http,h2c", "h2_frame_bytes=1000000");
    let mut client = H2::connect(server.at("h2c"));
    let head = h2::request("GET", "/fields", &[("x-long", &"v".repeat(65_000))]);
    let id = client.id();
    client.send(h2::frame(h2::HEADERS, h2::END_HEADERS | h2::END_STREAM, id, &head));
    assert_eq!(client.answer(id).status(), 431);
    assert_eq!(client.get("/hello").text(), "hello");
    let head = h2::request("GET", "/fields", &[("x-long", &"v".repeat(70_000))]);
    client.send(h2::frame(h2::HEADERS, h2::END_HEADERS | h2::END_STREAM, 101, &head));
    assert_eq!(client.end(), Some(h2::ENHANCE_YOUR_CALM));
}

/// A trailer section over the bounds: its name, and the section of HPACK and of QPACK. Both tables
/// hold one entry of 4,000 octets.
fn trailers() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let of = |fields: &[(&str, &str)]| (h2::block(fields), quic::section(fields));
    let many = of(&[("t", "v"); 10_000]);
    let few = of(&[("t", "v"); 33]);
    let long = "v".repeat(1 << 20);
    let long = of(&[("t", &long)]);
    let over = "v".repeat(40_000);
    let over = of(&[("t", &over)]);
    let bomb = (vec![0x80 | 62; 16_000], [vec![2, 0], vec![0x80; 16_000]].concat());
    let crumbs = of(&[("cookie", "a=b"); 10_000]);
    [
        ("10,000 fields", many),
        ("33 fields", few),
        ("1 MiB", long),
        ("40,000 octets", over),
        ("an indexed bomb", bomb),
        ("10,000 pieces of a cookie", crumbs),
    ]
    .map(|(what, (h2, h3))| (what, h2, h3))
    .into()
}

#[test]
fn row_91_trailers_over_the_bounds() {
    let server = app();
    let value = "v".repeat(4000);
    Watch::new(&server, "/hello").during(CAP, || {
        for (what, section, _) in trailers() {
            for path in ["/upload", "/trailed", "/ignore"] {
                let mut client = H2::connect(server.at("h2c"));
                let mut head = h2::request("POST", path, &[]);
                head.extend([0x40, 1, b'b']);
                head.extend(h2::integer(0, 7, value.len()));
                head.extend(value.as_bytes());
                let id = client.id();
                client.send(long_headers(id, 0, &head));
                client.send(h2::frame(h2::DATA, 0, id, b"content"));
                client.send(long_headers(id, h2::END_STREAM, &section));
                if section.len() > 65_536 {
                    assert_eq!(client.end(), Some(h2::ENHANCE_YOUR_CALM), "{what}");
                    continue;
                }
                let answer = client.answer(id);
                let refused = answer.reset == Some(h2::ENHANCE_YOUR_CALM)
                    || answer.status() == 431
                    || path == "/ignore" && answer.text() == "ignored";
                assert!(refused, "h2, {what}, {path}: {answer:?}");
                assert_eq!(client.get("/hello").text(), "hello", "{what}");
            }
        }
    });
    Watch::new(&server, "/hello").during(CAP, || {
        for (what, _, section) in trailers() {
            let mut client = H3::connect(server.at("h3"));
            let mut entry = vec![0x3f, 0xe1, 0x1f, 0x41, b'b'];
            entry.extend(h2::integer(0, 7, value.len()));
            entry.extend(value.as_bytes());
            client.raw(quic::ENCODER, &entry, false);
            for path in ["/upload", "/trailed", "/ignore"] {
                let id = client.id();
                let head = quic::headers(&quic::request("POST", path));
                let content = quic::frame(quic::DATA, b"content");
                client.raw(
                    id,
                    &[head, content, quic::frame(quic::HEADERS, &section)].concat(),
                    true,
                );
                let answer = client.answer(id);
                let refused = answer.reset == Some(quic::EXCESSIVE_LOAD)
                    || answer.status() == 431
                    || path == "/ignore" && answer.text() == "ignored";
                assert!(refused, "h3, {what}, {path}: {:?} {}", answer.reset, answer.status());
                assert_eq!(client.get("/hello").text(), "hello", "{what}");
            }
            client.close();
        }
    });
}

/// Trailers within the bounds are taken by the same handlers, over every protocol.
#[test]
fn row_91_trailers_within_the_bounds() {
    let server = app();
    let fields = [("x-sum", "v"); 32];
    let mut client = server.client();
    let lines = "x-sum: v\r\n".repeat(32);
    client.send(format!(
        "POST /trailed HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
         7\r\ncontent\r\n0\r\n{lines}\r\n"
    ));
    assert_eq!(client.response("POST").text(), "content");
    let mut client = H2::connect(server.at("h2c"));
    client.send(long_headers(1, 0, &h2::request("POST", "/trailed", &[])));
    client.send(h2::frame(h2::DATA, 0, 1, b"content"));
    client.send(long_headers(1, h2::END_STREAM, &h2::block(&fields)));
    assert_eq!(client.answer(1).text(), "content");
    let mut client = H3::connect(server.at("h3"));
    let id = client.id();
    let head = quic::headers(&quic::request("POST", "/trailed"));
    let rest = [quic::frame(quic::DATA, b"content"), quic::headers(&fields)].concat();
    client.raw(id, &[head, rest].concat(), true);
    assert_eq!(client.answer(id).text(), "content");
    client.close();
}
