//! HTTP/2 from outside, frame by frame: rows C1 to C6 and C19 to C24 of the feature list. Header
//! compression is in `h2_hpack`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use harness::app::checksum;
use harness::h2::*;
use harness::process::Process;
use harness::{app_h2, pattern};

fn app() -> Process {
    Process::app_on("http,h2c,https", "h2_pushes=10")
}

fn connect(server: &Process) -> H2 {
    H2::connect(server.at("h2c"))
}

#[test]
fn c1_frame_headers() {
    let server = app();
    for mut client in every_way(&server) {
        // The reserved bit, flags that mean nothing, frame types that nobody knows.
        let mut reserved = get(1, "/hello");
        reserved[5] |= 0x80;
        reserved[4] |= 0x52;
        client.send(frame(0xee, 0xff, 7, &[1; 300]));
        client.send(reserved);
        client.send(frame(0x99, 0, 0, b""));
        client.send(frame(PING, 0xfe, 0, b"12345678"));
        assert_eq!(client.answer(1).text(), "hello");
        client.send(get(3, "/hello"));
        assert_eq!(client.answer(3).text(), "hello");
    }
    // Every octet in a segment of its own.
    let mut client = H2::silent(server.at("http"));
    for byte in [PREFACE, &settings(&[(3, 7)]), &get(1, "/hello")].concat() {
        client.send([byte]);
    }
    assert_eq!(client.answer(1).text(), "hello");
}

#[test]
fn c2_every_type_received() {
    let server = app();
    let mut client = connect(&server);
    let head = request("POST", "/echo", &[]);
    let (first, second) = head.split_at(9);
    client.send(
        [
            frame(PRIORITY, 0, 9, &[0, 0, 0, 0, 15]),
            frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=1, i"),
            frame(PING, 0, 0, b"abcdefgh"),
            window_update(0, 1000),
            frame(HEADERS, WITH_PRIORITY, 1, &[&[0, 0, 0, 9, 3][..], first].concat()),
            frame(CONTINUATION, 0, 1, b""),
            frame(CONTINUATION, END_HEADERS, 1, second),
            frame(DATA, 0, 1, b"one "),
            frame(DATA, PADDED | END_STREAM, 1, b"\x04two\0\0\0\0"),
            get(3, "/slow/5000"),
            reset(3, CANCEL),
            settings(&[(4, 70_000), (0xfafa, 1)]),
        ]
        .concat(),
    );
    assert_eq!(client.answer(1).text(), "one two");
    client.until("two acknowledgements", |c| {
        c.seen.iter().filter(|(kind, _, len)| *kind == SETTINGS && *len == 0).count() == 2
    });
    let pong = client.seen.iter().find(|(kind, ..)| *kind == PING);
    assert_eq!(pong, Some(&(PING, 0, 8)));
    // A client that leaves may still ask, is expected to close, and is not waited for long.
    client.send([frame(GOAWAY, 0, 0, &[0; 8]), frame(PING, 0, 0, b"still on")].concat());
    client.until_frame("an answer", |f| f.kind == PING && f.payload == b"still on");
    assert_eq!(client.end(), Some(NO_ERROR));
}

#[test]
fn c2_every_type_sent() {
    let server = app();
    let at = server.at("h2c");
    let mut client = H2::with(at, &[(2, 1)]);
    let big = "v".repeat(20_000);
    let ids = [
        client.ask("GET", "/pushing", &[], b""),
        client.ask("POST", "/upload", &[], &pattern(60_000)),
    ];
    client.answers(&ids);
    client.until("pushes", |c| c.streams.get(&4).is_some_and(|s| s.ended));
    // The errors that make it send the others.
    client.send(frame(WINDOW_UPDATE, 0, 5, &[0; 4]));
    client.send(get(7, &format!("/slow/{big}")));
    client.send(frame(PING, 0, 0, &[1; 7]));
    client.end();
    let kinds = |kind| client.seen.iter().filter(|(k, ..)| *k == kind).count();
    for kind in [DATA, HEADERS, SETTINGS, PUSH_PROMISE, GOAWAY, WINDOW_UPDATE] {
        assert!(kinds(kind) > 0, "type {kind}: {:?}", client.seen);
    }

    let mut client = connect(&server);
    let id = client.ask("GET", "/slow/5000", &[], b"");
    client.send([window_update(id, 0), frame(PING, 0, 0, b"12345678")].concat());
    assert_eq!(client.answer(id).reset, Some(PROTOCOL_ERROR));
    client.round_trip();
}

#[test]
fn c3_stream_numbers() {
    let server = app();
    ends_with(&server, "an even number", &get(2, "/hello"), PROTOCOL_ERROR);
    ends_with(&server, "stream 0", &get(0, "/hello"), PROTOCOL_ERROR);
    let falling = [get(5, "/hello"), get(3, "/hello")].concat();
    let mut client = connect(&server);
    client.send(falling);
    assert!(matches!(client.end(), Some(PROTOCOL_ERROR | STREAM_CLOSED)));
    // The last number there is: answered, and then a new connection is wanted.
    let mut client = connect(&server);
    client.send(get(0x7fff_ffff, "/hello"));
    assert_eq!(client.answer(0x7fff_ffff).text(), "hello");
    assert_eq!(client.end(), Some(NO_ERROR), "GOAWAY asks for a new connection");
    assert_eq!(client.goaways[0].number(0), 0x7fff_ffff);
    assert_eq!(connect(&server).get("/hello").text(), "hello");
}

#[test]
fn c4_frames_of_the_connection_and_of_streams() {
    let server = app();
    for (what, bytes) in [
        ("SETTINGS on 1", frame(SETTINGS, 0, 1, b"")),
        ("PING on 1", frame(PING, 0, 1, &[0; 8])),
        ("GOAWAY on 1", frame(GOAWAY, 0, 1, &[0; 8])),
        ("DATA on 0", frame(DATA, 0, 0, b"x")),
        ("PRIORITY on 0", frame(PRIORITY, 0, 0, &[0; 5])),
        ("RST_STREAM on 0", reset(0, 0)),
        ("CONTINUATION on 0", frame(CONTINUATION, 4, 0, b"")),
        ("PUSH_PROMISE", frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2, 0x82])),
    ] {
        ends_with(&server, what, &bytes, PROTOCOL_ERROR);
    }
}

#[test]
fn c5_messages() {
    let server = app();
    for mut client in every_way(&server) {
        let body = pattern(60_000);
        let id = client.ask("POST", "/upload", &[("content-length", "60000")], &body);
        assert_eq!(client.answer(id).text(), checksum(&body));
        // Trailers of a request, which end it.
        let id = client.id();
        client.send(
            [
                frame(HEADERS, END_HEADERS, id, &request("POST", "/trailed", &[])),
                frame(DATA, 0, id, b"body"),
                frame(HEADERS, END_HEADERS | END_STREAM, id, &block(&[("x-sum", "1")])),
            ]
            .concat(),
        );
        assert_eq!(client.answer(id).text(), "body");
        // Trailers of a response.
        let answer = client.get("/trailers");
        assert_eq!(answer.text(), "body");
        let expected = [("x-checksum", "1234"), ("grpc-status", "0")];
        let expected: Vec<_> = expected.map(|(n, v)| (n.to_string(), v.to_string())).into();
        assert_eq!(answer.trailers(), Some(&expected));
        // END_STREAM stands on HEADERS where there is no body.
        for (method, path, status) in [
            ("HEAD", "/hello", 200),
            ("GET", "/empty", 204),
            ("GET", "/same", 304),
            ("HEAD", "/big", 200),
        ] {
            let id = client.ask(method, path, &[], b"");
            let answer = client.answer(id);
            assert_eq!((answer.status(), answer.data_frames), (status, 0), "{method} {path}");
        }
        let id = client.ask("HEAD", "/hello", &[], b"");
        assert_eq!(client.answer(id).field("content-length"), Some("5"));
        // Cookie crumbs are one field again (section 8.2.3).
        let id = client.ask("GET", "/fields", &[("cookie", "a=1"), ("cookie", "b=2")], b"");
        let text = client.answer(id).text().to_owned();
        assert_eq!(text.lines().filter(|l| *l == "cookie: a=1; b=2").count(), 1, "{text}");
    }
}

#[test]
fn c6_states() {
    let server = app();
    let idle = |kind, payload: &[u8]| frame(kind, 0, 1, payload);
    ends_with(&server, "DATA on idle", &idle(DATA, b"x"), PROTOCOL_ERROR);
    ends_with(&server, "RST_STREAM on idle", &reset(1, 8), PROTOCOL_ERROR);
    ends_with(&server, "WINDOW_UPDATE on idle", &window_update(1, 1), PROTOCOL_ERROR);
    // Half-closed by the client: DATA is STREAM_CLOSED, be it of the stream or of the connection.
    let mut client = connect(&server);
    client.send([get(1, "/slow/5000"), frame(DATA, END_STREAM, 1, b"x")].concat());
    client.until("refused", |c| !c.goaways.is_empty() || c.streams.contains_key(&1));
    let reset_with = client.streams.get(&1).and_then(|stream| stream.reset);
    let ended_with = client.goaways.first().map(|frame| frame.number(4));
    assert!(reset_with.or(ended_with) == Some(STREAM_CLOSED), "{reset_with:?} {ended_with:?}");
    // Closed by END_STREAM of both: HEADERS end the connection, the small frames are ignored.
    let mut client = connect(&server);
    assert_eq!(client.get("/hello").status(), 200);
    client.send([window_update(1, 5), reset(1, 8), frame(PRIORITY, 0, 1, &[0; 5])].concat());
    client.round_trip();
    client.send(get(1, "/hello"));
    assert_eq!(client.end(), Some(STREAM_CLOSED));
    let mut client = connect(&server);
    assert_eq!(client.get("/hello").status(), 200);
    client.send(frame(DATA, 0, 1, b"x"));
    assert_eq!(client.end(), Some(STREAM_CLOSED));
    // Closed by our reset: what was under way is ignored; others go on.
    let mut client = connect(&server);
    let id = client.ask("GET", "/slow/5000", &[], b"");
    client.send([window_update(id, 0), window_update(id, 1)].concat());
    assert_eq!(client.answer(id).reset, Some(PROTOCOL_ERROR));
    assert_eq!(client.get("/hello").status(), 200);
    // Reserved: a promised stream takes WINDOW_UPDATE, PRIORITY and RST_STREAM, and no DATA.
    let mut client = connect(&server);
    client.get("/pushing");
    client.send([window_update(2, 1), frame(PRIORITY, 0, 2, &[0; 5]), reset(2, 8)].concat());
    client.round_trip();
    client.send(frame(DATA, 0, 4, b"x"));
    assert!(matches!(client.end(), Some(STREAM_CLOSED | PROTOCOL_ERROR)));
    // Streams that were passed over are closed.
    let mut client = connect(&server);
    client.send([get(7, "/hello"), get(5, "/hello")].concat());
    assert!(matches!(client.end(), Some(PROTOCOL_ERROR | STREAM_CLOSED)));
}

#[test]
fn c19_flow_control() {
    let server = app();
    // A window of one octet: the server drips, and other frames pass.
    let mut client = H2::with(server.at("h2c"), &[(4, 1)]);
    client.refill = false;
    client.send(get(1, "/hello"));
    client.until("one octet", |c| c.streams.get(&1).is_some_and(|s| s.body == b"h"));
    client.send(get(3, "/empty"));
    assert_eq!(client.answer(3).status(), 204);
    client.round_trip();
    assert_eq!(client.streams[&1].body, b"h");
    client.send(window_update(1, 2));
    client.until("two more", |c| c.streams[&1].body == b"hel");
    client.send(window_update(1, 0x7fff_ffff - 1));
    assert_eq!(client.answer(1).text(), "hello");
    // The connection's window of 65,535 is exhausted although the streams' are not.
    let mut client = H2::with(server.at("h2c"), &[(4, 1 << 20)]);
    client.refill = false;
    client.send([get(1, "/bytes/100"), get(3, "/bytes/100")].concat());
    let received = |c: &H2| c.streams.values().map(|s| s.body.len()).sum::<usize>();
    client.until("the whole window", |c| received(c) == 65_535);
    client.send(get(5, "/empty"));
    assert_eq!(client.answer(5).status(), 204);
    client.round_trip();
    assert_eq!(received(&client), 65_535);
    client.send(window_update(0, 0x7fff_ffff));
    assert!(client.answer(1).body == app_h2::bytes(100));
    assert!(client.answer(3).body == app_h2::bytes(100));
    // One more than the largest window: of a stream, and of the connection.
    let mut client = connect(&server);
    let id = client.ask("GET", "/slow/5000", &[], b"");
    client.send(window_update(id, 0x7fff_ffff));
    assert_eq!(client.answer(id).reset, Some(FLOW_CONTROL_ERROR));
    let over = window_update(0, 0x7fff_ffff);
    ends_with(&server, "the connection's window", &over, FLOW_CONTROL_ERROR);
    // An upload above every window: ours is given back as the handler reads.
    let body = pattern(8 << 20);
    let mut client = connect(&server);
    upload(&mut client, "/upload", &body);
    assert_eq!(client.answer(1).text(), checksum(&body));
}

/// Sends a body on stream 1 as the windows allow.
fn upload(client: &mut H2, path: &str, body: &[u8]) {
    client.send(frame(HEADERS, END_HEADERS, 1, &request("POST", path, &[])));
    let (mut stream, mut whole) = (65_535_usize, 65_535_usize);
    let mut sent = 0;
    while sent < body.len() {
        while stream.min(whole) == 0 {
            let next = client.next().expect("window");
            match (next.kind, next.stream) {
                (WINDOW_UPDATE, 0) => whole += next.number(0) as usize,
                (WINDOW_UPDATE, 1) => stream += next.number(0) as usize,
                _ => {}
            }
        }
        let n = stream.min(whole).min(16_384).min(body.len() - sent);
        let end = if sent + n == body.len() { END_STREAM } else { 0 };
        client.send(frame(DATA, end, 1, &body[sent..sent + n]));
        (stream, whole, sent) = (stream - n, whole - n, sent + n);
    }
}

#[test]
fn c20_wide_windows_let_an_upload_through_without_waiting() {
    let wide = "h2_stream_window=2147483647,h2_connection_window=2147483647";
    let server = Process::app_on("h2c", &format!("{wide},h2_stream_window_max=2147483647"));
    let mut client = connect(&server);
    client.until("the settings", |c| !c.settings.is_empty());
    let window = client.settings.iter().find(|(id, _)| *id == 4).unwrap().1;
    assert_eq!(window, 0x7fff_ffff);
    let update = client.until_frame("the connection's", |f| f.kind == WINDOW_UPDATE);
    assert_eq!(update.number(0), 0x7fff_ffff - 65_535);
    // All of it is sent before anything is read.
    let body = pattern(24 << 20);
    let id = client.ask("POST", "/upload", &[], &body);
    assert_eq!(client.answer(id).text(), checksum(&body));
}

#[test]
fn c21_frame_sizes() {
    let server = app();
    let mut client = connect(&server);
    client.send(frame(HEADERS, END_HEADERS, 1, &request("POST", "/upload", &[])));
    client.send(frame(DATA, END_STREAM, 1, &pattern(16_384)));
    assert_eq!(client.answer(1).text(), checksum(&pattern(16_384)));
    let head = frame(HEADERS, END_HEADERS, 1, &request("POST", "/upload", &[]));
    let long = [head, frame(DATA, END_STREAM, 1, &[0; 16_385])].concat();
    ends_with(&server, "one octet too many", &long, FRAME_SIZE_ERROR);
    // Our frames stay below what the client says, which may not be below 16,384.
    for size in [16_383, 16_777_216] {
        ends_with(&server, "a limit out of range", &settings(&[(5, size)]), PROTOCOL_ERROR);
    }
    let mut client = H2::with(server.at("h2c"), &[(5, 16_777_215), (4, 1 << 24)]);
    client.send(window_update(0, 1 << 24));
    assert_eq!(client.get("/big").body.len(), 16 << 20);
    // And the server's own limit may be raised.
    let server = Process::app_on("h2c", "h2_frame_bytes=65536,h2_stream_window=1000000");
    let mut client = connect(&server);
    client.until("the settings", |c| c.settings.contains(&(5, 65_536)));
    client.send(frame(HEADERS, END_HEADERS, 1, &request("POST", "/upload", &[])));
    client.send(frame(DATA, END_STREAM, 1, &pattern(65_000)));
    assert_eq!(client.answer(1).text(), checksum(&pattern(65_000)));
}

#[test]
fn c22_settings() {
    let server = app();
    for mut client in every_way(&server) {
        let first = client.next().unwrap();
        assert_eq!((first.kind, first.flags, first.stream), (SETTINGS, 0, 0));
        for id in [1, 2, 3, 4, 5, 6] {
            assert!(client.settings.iter().any(|(sent, _)| *sent == id), "{id}");
        }
        client.until_frame("an acknowledgement", |f| f.kind == SETTINGS && f.flags == ACK);
    }
    // A window that becomes negative: nothing comes until it is positive again.
    let mut client = H2::with(server.at("h2c"), &[(4, 20_000)]);
    client.refill = false;
    client.send(get(1, "/bytes/60"));
    client.until("the window", |c| c.streams.get(&1).is_some_and(|s| s.body.len() == 20_000));
    client.send([settings(&[(4, 5_000)]), window_update(1, 15_000)].concat());
    client.round_trip();
    assert_eq!(client.streams[&1].body.len(), 20_000, "its window is 0");
    client.send(window_update(1, 1_000));
    client.until("more", |c| c.streams[&1].body.len() == 21_000);
    client.send(settings(&[(4, 60_000)]));
    assert!(client.answer(1).body == app_h2::bytes(60));
    // Pushes only where the client has not forbidden them: C27. Too many requests: row 52.
}

#[test]
fn c23_preface() {
    let server = app();
    // The server speaks first where it knows what is spoken.
    let mut client = H2::silent(server.at("h2c"));
    assert_eq!(client.next().unwrap().kind, SETTINGS);
    client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.end(), Some(PROTOCOL_ERROR));
    // Something else behind ALPN h2, and a preface without SETTINGS.
    let mut client = H2::silent(server.at("h2c"));
    client.send([PREFACE, &get(1, "/hello")].concat());
    assert_eq!(client.end(), Some(PROTOCOL_ERROR));
    // The preface where only HTTP/1.1 was negotiated: refused with an answer in HTTP/1.1.
    let at = server.at("https");
    let stream = harness::tls::connect(at, &[b"http/1.1"], "localhost");
    let mut stream: Box<dyn Transport> = Box::new(stream);
    stream.write_all(PREFACE).unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    let said = String::from_utf8(said).unwrap();
    assert!(said.starts_with("HTTP/1.1 505 ") || said.starts_with("HTTP/1.1 400 "), "{said:?}");
    // A preface that goes wrong half way, where HTTP/1.1 is spoken too (F21).
    let mut client = H2::silent(server.at("http"));
    client.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert_eq!(client.end(), Some(PROTOCOL_ERROR));
}

#[test]
fn c24_pings() {
    let server = app();
    for mut client in every_way(&server) {
        client.send(frame(PING, 0, 0, b"\0\x01\xff hey!"));
        let pong = client.until_frame("an answer", |f| f.kind == PING);
        assert_eq!((pong.flags, &pong.payload[..]), (ACK, &b"\0\x01\xff hey!"[..]));
    }
    // The server asks an idle client whether it lives; one that does not answer is let go.
    let server = Process::app_on("h2c", "h2_ping_interval=100,h2_ping_timeout=300");
    let mut client = connect(&server);
    for _ in 0..3 {
        client.until_frame("a PING", |f| f.kind == PING && f.flags == 0);
    }
    assert_eq!(client.get("/hello").status(), 200);
    client.polite = false;
    assert_eq!(client.end(), Some(NO_ERROR));
}

#[test]
fn c6_an_answered_request_may_still_turn_out_malformed() {
    let server = app();
    // `/count` answers without waiting for a body that is longer than it may be.
    let long = [("content-length", "5000000")];
    for rest in [
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("x-sum", "1")])),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[(":path", "/")])),
        frame(DATA, END_STREAM, 1, b"too short"),
    ] {
        let mut client = connect(&server);
        client.send(frame(HEADERS, END_HEADERS, 1, &request("POST", "/count", &long)));
        assert_eq!(client.answer(1).status(), 413);
        client.send(rest);
        client.until("a reset", |c| c.streams[&1].reset.is_some());
        assert_eq!(client.streams[&1].reset, Some(PROTOCOL_ERROR));
        client.next_id = 3;
        assert_eq!(client.get("/hello").status(), 200);
    }
}
