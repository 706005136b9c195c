//! Attacks on HTTP/3 and QPACK: rows 58 to 66 of the attack list. Each is closed with the code that
//! RFC 9114 or RFC 9204 names, while a second client is served and memory stays bounded.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::time::Duration;

use harness::pattern;
use harness::process::Process;
use harness::quic::*;
use harness::watch::Watch;

/// Maximum growth of memory during an attack on one connection.
const CAP: u64 = 8 << 20;

fn app(bounds: &str) -> Process {
    Process::app_on("http,https,h3", bounds)
}

fn connect(server: &Process) -> H3 {
    H3::connect(server.at("h3"))
}

fn bare(server: &Process) -> H3 {
    H3::bare(server.at("h3"))
}

/// The beginning of the control stream.
fn control() -> Vec<u8> {
    [varint(0), settings(&[])].concat()
}

/// What a client sends on its streams, in order, must close the connection with this code.
fn closes(server: &Process, what: &str, streams: &[(u64, &[u8], bool)], code: u64) {
    let mut client = bare(server);
    for (id, bytes, fin) in streams {
        client.raw(*id, bytes, *fin);
        client.run_for(Duration::from_millis(2));
    }
    assert_eq!(client.closed(), (true, code), "{what}");
}

/// The same for a request stream of a connection that is in order otherwise.
fn request_closes(server: &Process, what: &str, bytes: &[u8], code: u64) {
    closes(server, what, &[(CONTROL, &control(), false), (0, bytes, false)], code);
}

/// The same for the control stream, behind its settings.
fn control_closes(server: &Process, what: &str, bytes: &[u8], code: u64) {
    closes(server, what, &[(CONTROL, &[control(), bytes.to_vec()].concat(), false)], code);
}

#[test]
fn row_58_frames_where_they_may_not_be() {
    let server = app("");
    Watch::new(&server, "/hello").during(CAP, || {
        request_closes(&server, "DATA first", &frame(DATA, b"x"), FRAME_UNEXPECTED);
        control_closes(&server, "HEADERS", &get("/hello"), FRAME_UNEXPECTED);
        control_closes(&server, "DATA", &frame(DATA, b"x"), FRAME_UNEXPECTED);
        for kind in [0x2, 0x6, 0x8, 0x9] {
            let bytes = frame(kind, &[0; 8]);
            request_closes(&server, "a frame of HTTP/2", &bytes, FRAME_UNEXPECTED);
            control_closes(&server, "a frame of HTTP/2", &bytes, FRAME_UNEXPECTED);
            let later = [get("/hello"), bytes].concat();
            request_closes(&server, "a frame of HTTP/2 later", &later, FRAME_UNEXPECTED);
        }
        for kind in [CANCEL_PUSH, GOAWAY, MAX_PUSH_ID, PRIORITY_UPDATE] {
            request_closes(&server, "a control frame", &frame(kind, &[0]), FRAME_UNEXPECTED);
        }
        request_closes(&server, "SETTINGS", &settings(&[]), FRAME_UNEXPECTED);
        let promise = frame(PUSH_PROMISE, &[&[0][..], &section(&request("GET", "/"))].concat());
        request_closes(&server, "PUSH_PROMISE", &promise, FRAME_UNEXPECTED);
        control_closes(&server, "PUSH_PROMISE", &promise, FRAME_UNEXPECTED);
        let trailed = [get("/hello"), headers(&[("a", "b")]), frame(DATA, b"x")].concat();
        request_closes(&server, "DATA after trailers", &trailed, FRAME_UNEXPECTED);
    });
}

#[test]
fn row_59_settings() {
    let server = app("");
    Watch::new(&server, "/hello").during(CAP, || {
        for first in [frame(GOAWAY, &[0]), frame(MAX_PUSH_ID, &[9]), frame(0x21, b"grease")] {
            let bytes = [varint(0), first].concat();
            closes(&server, "no SETTINGS", &[(CONTROL, &bytes, false)], MISSING_SETTINGS);
        }
        control_closes(&server, "SETTINGS twice", &settings(&[]), FRAME_UNEXPECTED);
        for pairs in [&[(6, 1000), (6, 1000)][..], &[(1, 0), (0x21, 5), (1, 0)]] {
            let bytes = [varint(0), settings(pairs)].concat();
            closes(&server, "a setting twice", &[(CONTROL, &bytes, false)], SETTINGS_ERROR);
        }
        for id in 2..=5 {
            let bytes = [varint(0), settings(&[(id, 1)])].concat();
            closes(&server, "a setting of HTTP/2", &[(CONTROL, &bytes, false)], SETTINGS_ERROR);
        }
        let cut = [varint(0), frame(SETTINGS, &[1])].concat();
        closes(&server, "half a setting", &[(CONTROL, &cut, false)], FRAME_ERROR);
    });
}

#[test]
fn row_60_streams_that_may_not_be() {
    let server = app("");
    Watch::new(&server, "/hello").during(CAP, || {
        let control = control();
        for (first, second) in [(&control[..], &control[..]), (&[2], &[2]), (&[3], &[3])] {
            let streams: [(u64, &[u8], bool); 2] = [(2, first, false), (6, second, false)];
            closes(&server, "a second one", &streams, STREAM_CREATION_ERROR);
        }
        closes(&server, "a push", &[(2, &[1, 0], false)], STREAM_CREATION_ERROR);
    });
}

#[test]
fn row_61_critical_streams_stay_open() {
    let server = app("");
    Watch::new(&server, "/hello").during(CAP, || {
        for bytes in [&control()[..], &[2], &[3]] {
            closes(&server, "an end", &[(2, bytes, true)], CLOSED_CRITICAL_STREAM);
            let mut client = bare(&server);
            client.raw(2, bytes, false);
            // The type has to be known before the reset, or the stream is of no kind.
            client.run_for(Duration::from_millis(20));
            client.conn.stream_shutdown(2, ringway_quic::quiche::Shutdown::Write, 7).unwrap();
            assert_eq!(client.closed(), (true, CLOSED_CRITICAL_STREAM));
        }
        // The server's own: a client may not ask for their end either.
        for kind in [0, 2, 3] {
            let stop = ringway_quic::quiche::Shutdown::Read;
            let mut client = connect(&server);
            client.run("the server's stream", |client| client.theirs(kind).is_some());
            let id = client.theirs(kind).unwrap();
            client.conn.stream_shutdown(id, stop, 7).unwrap();
            assert_eq!(client.closed(), (true, CLOSED_CRITICAL_STREAM), "STOP_SENDING of {kind}");
        }
    });
}

#[test]
fn row_62_malformed_messages() {
    let server = app("");
    Watch::new(&server, "/hello").during(CAP, || {
        let mut client = connect(&server);
        let plain = request("GET", "/hello");
        let without = |name: &str| {
            let kept = plain.iter().filter(|(n, _)| *n != name);
            headers(&kept.copied().collect::<Vec<_>>())
        };
        let with = |more: &[(&str, &str)]| headers(&[&plain[..], more].concat());
        let before = |first: (&str, &str)| headers(&[&[first], &plain[..]].concat());
        let post = |length: &str| {
            headers(&[&request("POST", "/echo")[..], &[("content-length", length)]].concat())
        };
        for (what, bytes) in [
            ("no :method", without(":method")),
            ("no :scheme", without(":scheme")),
            ("no :path", without(":path")),
            ("a pseudo-field twice", with(&[(":path", "/other")])),
            ("a pseudo-field late", before(("a", "b"))),
            ("a pseudo-field of responses", before((":status", "200"))),
            ("an unknown pseudo-field", before((":protocol2", "x"))),
            (
                "an empty path",
                headers(&[
                    (":method", "GET"),
                    (":scheme", "https"),
                    (":authority", "localhost"),
                    (":path", ""),
                ]),
            ),
            ("upper case", with(&[("Upper", "x")])),
            ("connection", with(&[("connection", "close")])),
            ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
            ("te", with(&[("te", "gzip")])),
            ("a line end in a value", with(&[("x", "a\r\nb")])),
            ("NUL in a value", with(&[("x", "a\0b")])),
            ("a space in a name", with(&[("a b", "x")])),
            ("two lengths", with(&[("content-length", "1"), ("content-length", "2")])),
            ("too little content", [post("5"), frame(DATA, b"1234")].concat()),
            ("too much content", [post("3"), frame(DATA, b"1234")].concat()),
            ("an end where content was announced", post("5")),
            (
                "a pseudo-field in trailers",
                [post("1"), frame(DATA, b"1"), headers(&[(":path", "/")])].concat(),
            ),
        ] {
            let id = client.id();
            client.raw(id, &bytes, true);
            let answer = client.answer(id);
            let refused = answer.reset == Some(MESSAGE_ERROR) || answer.status() == 400;
            assert!(refused, "{what}: {answer:?}");
        }
        assert_eq!(client.get("/hello").text(), "hello", "the connection lives");
    });
}

#[test]
fn row_63_unknown_frames_are_skipped() {
    let server = app("");
    Watch::new(&server, "/hello").during(CAP, || {
        let mut client = connect(&server);
        let id = client.id();
        // A gigabyte is announced, and a part of it comes.
        let head = [varint(0x1f * 7 + 0x21), varint(1 << 30)].concat();
        client.raw(id, &[&head[..], &pattern(24 << 20)].concat(), false);
        client.raw(CONTROL, &[&head[..], &pattern(4 << 20)].concat(), false);
        let unknown = 14;
        client.raw(unknown, &[varint(0x1f * 9 + 0x21), pattern(4 << 20)].concat(), false);
        client.run("all of it is taken", |client| client.is_sent());
        assert_eq!(client.get("/hello").text(), "hello");
        let greased = client.id();
        let bytes = [frame(0x21, b""), get("/hello"), frame(0x1f * 5 + 0x21, b"what is it")];
        client.raw(greased, &bytes.concat(), true);
        assert_eq!(client.answer(greased).text(), "hello");
        client.close();
    });
}

#[test]
fn row_64_floods_on_the_control_stream() {
    let server = app("");
    Watch::new(&server, "/hello").during(CAP, || {
        let update = |id: u64| frame(PRIORITY_UPDATE, &[varint(id), b"u=1".to_vec()].concat());
        let mut client = connect(&server);
        for chunk in 0..2000 {
            let bytes: Vec<u8> =
                (0..100).flat_map(|n| update((chunk * 100 + n) % 400 * 4)).collect();
            client.raw(CONTROL, &bytes, false);
            if client.conn.peer_error().is_some() {
                break;
            }
            client.step(Duration::ZERO);
        }
        assert_eq!(client.closed(), (true, EXCESSIVE_LOAD), "PRIORITY_UPDATE");
        let mut client = connect(&server);
        let long = [varint(0), b"u=1, ".repeat(200_000)].concat();
        client.raw(CONTROL, &frame(PRIORITY_UPDATE, &long), false);
        assert_eq!(client.closed(), (true, EXCESSIVE_LOAD), "a PRIORITY_UPDATE of 1 MB");
        let later = [frame(GOAWAY, &varint(4)), frame(GOAWAY, &varint(8))].concat();
        control_closes(&server, "GOAWAY goes up", &later, ID_ERROR);
        let less = [frame(MAX_PUSH_ID, &varint(8)), frame(MAX_PUSH_ID, &varint(4))].concat();
        control_closes(&server, "MAX_PUSH_ID goes down", &less, ID_ERROR);
        control_closes(&server, "a push unknown", &frame(CANCEL_PUSH, &varint(3)), ID_ERROR);
    });
}

/// A literal insertion into the table (RFC 9204 section 4.3.3).
fn insert(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = harness::h2::integer(0x40, 5, name.len());
    out.extend_from_slice(name);
    out.extend(harness::h2::integer(0, 7, value.len()));
    out.extend_from_slice(value);
    out
}

#[test]
fn row_65_qpack() {
    let server = app("");
    Watch::new(&server, "/hello").during(CAP, || {
        let block = |bytes: &[u8]| frame(HEADERS, bytes);
        for (what, bytes) in [
            ("a static index out of range", &[0, 0, 0xff, 0x3f][..]),
            ("an index that overflows", &[0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            ("a dynamic index of an empty table", &[0, 0, 0x80]),
            ("a base below zero", &[2, 0x85, 0x80]),
            ("a string that is cut", &[0, 0, 0x27, 0x7f, 0x20, b'x']),
            ("Huffman that is padded too long", &[0, 0, 0x51, 0x82, 0xff, 0xff]),
            ("a section that is cut", &[0]),
        ] {
            request_closes(&server, what, &block(bytes), QPACK_DECOMPRESSION_FAILED);
        }
        for (what, bytes) in [
            ("a capacity above the limit", &[2, 0x3f, 0xff, 0x7f][..]),
            ("a static name out of range", &[2, 0xff, 0x3f, 0]),
            ("a dynamic name of an empty table", &[2, 0x80, 0]),
            ("a duplicate of nothing", &[2, 0x00]),
            ("an entry above the capacity", &[2, 0x3f, 0x01, 0x41, b'x', 0x7f, 0x7f]),
        ] {
            closes(&server, what, &[(ENCODER, bytes, false)], QPACK_ENCODER_STREAM_ERROR);
        }
        for (what, bytes) in [
            ("an increment of nothing", &[3, 0][..]),
            ("an increment beyond what was inserted", &[3, 0x3f, 0xff, 0x7f]),
            ("an acknowledgement of nothing", &[3, 0x84]),
        ] {
            closes(&server, what, &[(DECODER, bytes, false)], QPACK_DECODER_STREAM_ERROR);
        }
        let mut client = connect(&server);
        for _ in 0..17 {
            let id = client.id();
            client.raw(id, &block(&[2, 0, 0x80]), true);
        }
        assert_eq!(client.closed(), (true, QPACK_DECOMPRESSION_FAILED), "too many blocked");
    });
}

/// Streams that wait for a table entry, as many as may, each with so much content.
fn waiting(client: &mut H3, content: &[u8], fin: bool) -> Vec<u64> {
    let head = [&[2, 0][..], &section(&request("POST", "/upload"))[2..], &[0x80]].concat();
    let whole = [frame(HEADERS, &head), frame(DATA, content)].concat();
    let ids: Vec<u64> = (0..16).map(|_| client.id()).collect();
    for id in &ids {
        client.raw(*id, &whole, fin);
    }
    ids
}

/// Row 92: streams that wait for a table entry, each with more content than may be sent. What they
/// hold is what the connection's window let in, its first 1 MiB: no credit is given for what cannot
/// be read, whatever quiche would let a window grow to.
#[test]
fn row_92_blocked_streams_that_are_full() {
    let server = app("");
    Watch::new(&server, "/hello").during(CAP, || {
        let mut clients: Vec<H3> = (0..4).map(|_| connect(&server)).collect();
        for client in &mut clients {
            waiting(client, &pattern(200 << 10), true);
            client.run_for(Duration::from_millis(500));
            let taken = client.taken();
            client.run_for(Duration::from_millis(500));
            assert_eq!(client.taken(), taken, "no more credit came");
            println!("{taken} octets were taken of 16 streams that wait");
            assert!((900_000..=1 << 20).contains(&taken), "{taken}");
            assert!(client.conn.peer_error().is_none(), "{}", client.why());
        }
        assert_eq!(connect(&server).get("/hello").text(), "hello");
        clients.into_iter().for_each(H3::close);
    });
}

/// Row 92: nothing of what waited is lost when the entry comes, nor an end that came alone.
#[test]
fn row_92_blocked_streams_that_go_on() {
    let server = app("");
    for (len, fin) in [(60 << 10, true), (60 << 10, false), (100, true), (100, false)] {
        let mut client = connect(&server);
        let content = pattern(len);
        let ids = waiting(&mut client, &content, fin);
        client.run("they are sent", |client| client.is_sent());
        client.run_for(Duration::from_millis(50));
        if !fin {
            ids.iter().for_each(|id| client.raw(*id, b"", true));
            client.run_for(Duration::from_millis(50));
        }
        assert!(ids.iter().all(|id| client.streams[id].heads.is_empty()), "they wait");
        let entry = [&[0x3f, 0xe1, 0x1f][..], &insert(b"x-late", b"yes")].concat();
        client.raw(ENCODER, &entry, false);
        for id in ids {
            let answer = client.answer(id);
            let why = client.why();
            let whole = (200, harness::app::checksum(&content));
            assert_eq!((answer.status(), answer.text()), whole, "{len} {fin} {answer:?} {why}");
        }
        client.close();
    }
}

/// Row 92: streams that wait for an entry and are given up hold nothing, over and over.
#[test]
fn row_92_blocked_streams_that_are_reset() {
    let server = app("");
    Watch::new(&server, "/hello").during(CAP, || {
        let mut client = connect(&server);
        let head = frame(HEADERS, &[&[2, 0, 0x80][..], &[0x80; 30_000]].concat());
        for round in 0..40 {
            let ids: Vec<u64> = (0..16).map(|_| client.id()).collect();
            for id in &ids {
                client.raw(*id, &head, false);
            }
            client.run("they are sent", |client| client.is_sent());
            for id in ids {
                let how = ringway_quic::quiche::Shutdown::Write;
                client.conn.stream_shutdown(id, how, 0x10c).unwrap();
                client.streams.remove(&id);
            }
            client.run_for(Duration::from_millis(5));
            assert!(client.conn.peer_error().is_none(), "{round}: {}", client.why());
        }
        assert_eq!(client.get("/hello").text(), "hello");
        client.close();
    });
}

/// The bomb: an entry of nearly the table, referred to by single octets.
#[test]
fn row_65_the_qpack_bomb() {
    let server = app("");
    Watch::new(&server, "/hello").during(CAP, || {
        let mut client = connect(&server);
        // Capacity 4096 and one entry that fills it.
        let entry = insert(b"x-bomb", &[b'v'; 4000]);
        client.raw(ENCODER, &[&[0x3f, 0xe1, 0x1f][..], &entry].concat(), false);
        let section = |count: usize| {
            let mut bytes = vec![2, 0];
            bytes.extend(std::iter::repeat_n(0x80, count));
            frame(HEADERS, &bytes)
        };
        for _ in 0..50 {
            let id = client.id();
            client.raw(id, &section(16_000), true);
            let answer = client.answer(id);
            assert!(answer.status() == 431 || answer.reset.is_some(), "{answer:?}");
        }
        assert_eq!(client.get("/hello").text(), "hello");
        client.close();
    });
}

/// Acknowledgements that a client never makes room for are bounded like what causes them.
#[test]
fn row_66_a_decoder_stream_that_is_not_read() {
    let server = app("");
    Watch::new(&server, "/hello").during(CAP, || {
        let mut config = config();
        config.set_initial_max_stream_data_uni(64);
        let mut client = H3::new(server.at("h3"), &mut config, None);
        client.run("the handshake", |client| client.conn.is_established());
        client.reads = false;
        client.begin();
        client.raw(ENCODER, &[0x3f, 0xe1, 0x1f], false);
        for _ in 0..500 {
            let inserts: Vec<u8> = (0..500).flat_map(|_| insert(b"n", b"v")).collect();
            client.raw(ENCODER, &inserts, false);
            client.step(Duration::ZERO);
            if client.conn.peer_error().is_some() {
                break;
            }
        }
        client.run("all of it is taken or refused", |client| {
            client.conn.peer_error().is_some() || client.is_sent()
        });
        println!("250,000 inserts: {:?}", client.conn.peer_error());
    });
}
