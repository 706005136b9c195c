//! Header compression from outside: rows C13 to C18 of the feature list.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use harness::h2::*;
use harness::process::Process;
use ringway_codec::field::Field;
use ringway_codec::hpack;
use ringway_codec::scan::Backend;

fn app() -> Process {
    Process::app_on("http,h2c,https", "")
}

fn connect(server: &Process) -> H2 {
    H2::connect(server.at("h2c"))
}

#[test]
fn c13_static_table() {
    let server = app();
    let mut client = connect(&server);
    // All 61 entries, indexed, as far as they may stand in a request.
    let pseudo: &[u8] = &[0x82, 0x86, 0x41, 1, b'h', 0x44, 7];
    let mut head = [pseudo, b"/fields"].concat();
    for index in 15..=61_u8 {
        // Those that have a meaning of their own are left out: framing, and what ends with us.
        if ![28, 35, 38, 57, 58].contains(&index) {
            head.push(0x80 | index);
        }
    }
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head));
    let answer = client.answer(1);
    assert_eq!(answer.status(), 200);
    for line in ["accept-encoding: gzip, deflate", "accept-charset: ", "www-authenticate: "] {
        assert!(answer.text().lines().any(|l| l == line), "{line:?} in {}", answer.text());
    }
    // `:status: 200` is one octet.
    let mut client = connect(&server);
    client.send(get(1, "/hello"));
    let head = client.until_frame("the answer's head", |f| f.kind == HEADERS);
    assert_eq!(head.payload[0], 0x88);
}

#[test]
fn c14_dynamic_table() {
    let server = app();
    let mut client = connect(&server);
    let ask = |id, block: &[u8]| frame(HEADERS, END_HEADERS | END_STREAM, id, block);
    let start = [&[0x82, 0x86, 0x41, 1, b'h', 0x44, 7][..], b"/fields"].concat();
    let value = |letter: &str, n: usize| letter.repeat(n);
    let insert = |name: &str, value: &str| {
        let mut out = vec![0x40];
        for text in [name, value] {
            out.extend(integer(0, 7, text.len()));
            out.extend_from_slice(text.as_bytes());
        }
        out
    };
    // :authority and :path were inserted too, so that the oldest of three large ones falls out.
    client.send(ask(1, &[&start[..], &insert("x-a", &value("a", 1200))].concat()));
    client.send(ask(3, &[&start[..], &insert("x-b", &value("b", 1200))].concat()));
    client.send(ask(5, &[&start[..], &insert("x-c", &value("c", 1200))].concat()));
    client.answers(&[1, 3, 5]);
    // 62 is the newest.
    client.send(ask(7, &[&start[..], &[0x80 | 64]].concat()));
    let answer = client.answer(7);
    assert!(answer.text().contains("x-c: cc"), "{}", answer.text());
    // The size changes while the connection goes on: to nothing, and back.
    client.send(ask(9, &[&[0x20][..], &start, &insert("x-d", "d")].concat()));
    assert!(client.answer(9).text().contains("x-d: d"));
    client.send(ask(11, &[&[0x3f, 0xe1, 0x1f][..], &start, &insert("x-e", "e"), &[0xbe]].concat()));
    assert!(client.answer(11).text().matches("x-e: e").count() == 2);
    // An entry larger than the table empties it: 62 is then beyond its end.
    client.send(ask(13, &[&start[..], &insert("x-f", &value("f", 5000))].concat()));
    assert_eq!(client.answer(13).status(), 200);
    client.send(ask(15, &[&[0x82, 0x86, 0x84][..], &[0xbe]].concat()));
    assert_eq!(client.end(), Some(COMPRESSION_ERROR));
    // A client that allows no table at all, and one that changes its mind.
    let mut client = H2::with(server.at("h2c"), &[(1, 0)]);
    for _ in 0..3 {
        assert_eq!(client.get("/secret").text(), "secret");
    }
    client.send(settings(&[(1, 4096)]));
    client.round_trip();
    for _ in 0..3 {
        assert_eq!(client.get("/secret").text(), "secret");
    }
}

#[test]
fn c15_repeated_heads_are_small() {
    let server = app();
    for mut client in every_way(&server) {
        let sizes: Vec<_> = (0..4).map(|_| client.get("/hello").head_sizes[0]).collect();
        // The date changes once a second, so that one of the later three may be larger.
        let small = sizes[1..].iter().filter(|size| **size <= 10).count();
        assert!(small >= 2, "{sizes:?}");
        assert!(sizes[0] > 20, "{sizes:?}");
    }
}

#[test]
fn c16_huffman() {
    let server = app();
    let mut client = connect(&server);
    // "www.example.com" of RFC 7541, C.4.1, as a value.
    let coded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
    let start = [&[0x82, 0x86, 0x41, 1, b'h', 0x04, 7][..], b"/fields", &[0, 1, b'x']].concat();
    let with = |value: &[u8]| {
        let head = [&start[..], &[0x80 | value.len() as u8], value].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &head)
    };
    client.send(with(&coded));
    assert!(client.answer(1).text().contains("x: www.example.com\n"));
    // The end-of-string symbol, padding of zeros, padding of a whole octet.
    for wrong in [&[0xff, 0xff, 0xff, 0xff][..], &[0xf1, 0xe0], &[0xf1, 0xff, 0xff]] {
        ends_with(&server, "a wrong code", &with(wrong), COMPRESSION_ERROR);
    }
}

#[test]
fn c17_c18_secrets_are_never_indexed() {
    let server = app();
    let mut client = connect(&server);
    for _ in 0..4 {
        let id = client.id();
        client.send(get(id, "/secret"));
        let head = client.until_frame("a head", |f| f.kind == HEADERS);
        // Never indexed, name 55 of the static table (RFC 7541 section 6.2.3).
        let at = head.payload.windows(2).position(|w| w == [0x1f, 55 - 15]);
        assert!(at.is_some(), "{:x?}", head.payload);
        client.answer(id);
    }
    // What is not secret has gone into the table, so that only two fields are spelt out.
    let last = client.get("/secret").head_sizes[0];
    assert!(last < 70, "{last} octets");
    // Those, and what the application calls sensitive, came marked for every hop behind us.
    let mut client = connect(&server);
    client.send(get(1, "/secret"));
    let head = client.until_frame("a head", |f| f.kind == HEADERS);
    let (mut bytes, mut fields) = (Vec::new(), Vec::new());
    let limits = hpack::FieldLimits { list_bytes: 4096, fields: 20 };
    let mut decoder = hpack::Decoder::new(Backend::Scalar, 4096);
    decoder.decode(&head.payload, &limits, &mut bytes, &mut fields).unwrap();
    let marked = fields.iter().filter(|field| field.flags & Field::NEVER_INDEXED != 0);
    let mut marked: Vec<_> = marked.map(|field| field.name(&bytes)).collect();
    marked.sort();
    assert_eq!(marked, [&b"set-cookie"[..], b"x-token"]);
}
