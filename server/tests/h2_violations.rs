//! Violations of HTTP/2 by clients: rows 46 to 51 and 53 to 57 of the attack list, with a second
//! client that is served throughout, and a limit on the server's memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use harness::h2::*;
use harness::process::Process;
use harness::tls;
use harness::watch::Watch;

/// Maximum growth of memory during an attack on one connection.
const CAP: u64 = 4 << 20;

fn app(bounds: &str) -> Process {
    Process::app_on("http,h2c,https", bounds)
}

fn connect(server: &Process) -> H2 {
    H2::connect(server.at("h2c"))
}

/// Others are served during and after the attack, and memory stays below the limit.
fn watched(server: &Process, attack: impl FnOnce()) {
    Watch::new(server, "/hello").during(CAP, attack);
}

/// The client's input must end the connection with one of these codes.
fn ends(server: &Process, what: &str, bytes: impl AsRef<[u8]>, codes: &[u32]) {
    let mut client = connect(server);
    client.send(bytes);
    let code = client.end();
    assert!(code.is_some_and(|code| codes.contains(&code)), "{what}: {code:?}");
}

/// The client's input must be answered by a reset of stream 1 with this code, by a 400, or by the
/// end of the connection with this code. After a reset the connection still serves.
fn refuses(server: &Process, what: &str, bytes: impl AsRef<[u8]>, code: u32) {
    let mut client = connect(server);
    client.send(bytes);
    client.until(what, |c| {
        !c.goaways.is_empty() || c.streams.get(&1).is_some_and(|s| s.ended || s.reset.is_some())
    });
    if let Some(goaway) = client.goaways.first() {
        assert_eq!(goaway.number(4), code, "{what}");
        return;
    }
    let stream = &client.streams[&1];
    let status = stream.head().map(|_| stream.status());
    assert!(stream.reset == Some(code) || status == Some(400), "{what}: {stream:?}");
    client.next_id = 101;
    assert_eq!(client.get("/hello").status(), 200, "{what}");
}

#[test]
fn row_46_hpack_errors() {
    let server = app("");
    watched(&server, || {
        let start = request("GET", "/hello", &[]);
        for (what, tail) in [
            ("index 0", &[0x80][..]),
            ("beyond the table", &[0xff, 0x80, 0x01]),
            ("beyond the static table", &[0xbe]),
            ("a name beyond the table", &[0x7f, 0x80, 0x01, 0]),
            ("a size update above the limit", &[0x3f, 0xe2, 0x1f]),
            ("a late size update", &[0x20]),
            (
                "an integer without end",
                &[0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
            ),
            ("an integer above 2^32", &[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            ("a name longer than the block", &[0x00, 0x7f, 0xff, 0x7f]),
            ("the end-of-string symbol", &[0x00, 1, b'a', 0x84, 0xff, 0xff, 0xff, 0xff]),
            ("eight bits of padding", &[0x00, 1, b'a', 0x82, 0x1f, 0xff, 0xff]),
            ("a truncated literal", &[0x00, 1]),
        ] {
            let first = if what.contains("above the limit") {
                [tail, &start].concat()
            } else {
                [&start[..], tail].concat()
            };
            let bytes = frame(HEADERS, END_HEADERS | END_STREAM, 1, &first);
            ends(&server, what, bytes, &[COMPRESSION_ERROR]);
        }
    });
}

#[test]
fn row_47_stream_numbers() {
    let server = app("");
    watched(&server, || {
        ends(&server, "even", get(2, "/hello"), &[PROTOCOL_ERROR]);
        ends(&server, "falling", [get(9, "/hello"), get(7, "/hello")].concat(), &[PROTOCOL_ERROR]);
        ends(&server, "DATA on idle", frame(DATA, 0, 5, b"x"), &[PROTOCOL_ERROR]);
        ends(&server, "DATA on an idle push", frame(DATA, 0, 2, b"x"), &[PROTOCOL_ERROR]);
        ends(&server, "a reset of idle", reset(5, CANCEL), &[PROTOCOL_ERROR]);
        let mut client = connect(&server);
        client.get("/hello");
        client.send(frame(DATA, END_STREAM, 1, b"x"));
        assert_eq!(client.end(), Some(STREAM_CLOSED));
    });
}

#[test]
fn row_48_lengths() {
    let server = app("");
    watched(&server, || {
        let open = frame(HEADERS, END_HEADERS, 1, &request("POST", "/upload", &[]));
        for (what, bytes) in [
            ("DATA", [open.clone(), frame(DATA, 0, 1, &[0; 16_385])].concat()),
            ("HEADERS", frame(HEADERS, END_HEADERS, 1, &[0; 16_385])),
            ("a length alone", vec![0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]),
            ("PING of 7", frame(PING, 0, 0, &[0; 7])),
            ("PING of 9", frame(PING, 0, 0, &[0; 9])),
            ("WINDOW_UPDATE of 3", frame(WINDOW_UPDATE, 0, 0, &[1; 3])),
            ("WINDOW_UPDATE of 5", frame(WINDOW_UPDATE, 0, 0, &[1; 5])),
            ("RST_STREAM of 3", [open.clone(), frame(RST_STREAM, 0, 1, &[0; 3])].concat()),
            ("SETTINGS of 5", frame(SETTINGS, 0, 0, &[0; 5])),
            ("an acknowledgement of 6", frame(SETTINGS, ACK, 0, &[0; 6])),
            ("GOAWAY of 7", frame(GOAWAY, 0, 0, &[0; 7])),
        ] {
            ends(&server, what, bytes, &[FRAME_SIZE_ERROR]);
        }
        let short = [open, frame(PRIORITY, 0, 1, &[0; 4])].concat();
        refuses(&server, "PRIORITY of 4", short, FRAME_SIZE_ERROR);
    });
}

#[test]
fn row_49_windows() {
    let server = app("");
    watched(&server, || {
        let over = window_update(0, 0x7fff_ffff);
        ends(&server, "of the connection above 2^31", over, &[FLOW_CONTROL_ERROR]);
        ends(&server, "of 0", window_update(0, 0), &[PROTOCOL_ERROR]);
        ends(&server, "initial above 2^31", settings(&[(4, 1 << 31)]), &[FLOW_CONTROL_ERROR]);
        let slow = get(1, "/slow/5000");
        let stream = |n| [slow.clone(), window_update(1, n)].concat();
        refuses(&server, "of a stream above 2^31", stream(0x7fff_ffff), FLOW_CONTROL_ERROR);
        refuses(&server, "of a stream by 0", stream(0), PROTOCOL_ERROR);
        let grown = [slow.clone(), window_update(1, 0x7000_0000), settings(&[(4, 0x7fff_ffff)])];
        ends(&server, "by a setting", grown.concat(), &[FLOW_CONTROL_ERROR]);
        // More than we gave.
        let open = frame(HEADERS, END_HEADERS, 1, &request("POST", "/drain/5000", &[]));
        let data = frame(DATA, 0, 1, &[b'x'; 16_384]).repeat(5);
        refuses(&server, "an overrun", [open, data].concat(), FLOW_CONTROL_ERROR);
    });
}

#[test]
fn row_50_malformed_fields() {
    let server = app("");
    watched(&server, || {
        let get = |more: &[(&str, &str)]| request("GET", "/hello", more);
        let [method, scheme, path] = [(":method", "GET"), (":scheme", "http"), (":path", "/hello")];
        let host = (":authority", "localhost");
        let raw = |name: &[u8], value: &[u8]| [get(&[]), literal(name, value)].concat();
        for (what, head) in [
            ("upper case", get(&[("X-Upper", "1")])),
            ("connection", get(&[("connection", "close")])),
            ("keep-alive", get(&[("keep-alive", "1")])),
            ("proxy-connection", get(&[("proxy-connection", "close")])),
            ("transfer-encoding", get(&[("transfer-encoding", "chunked")])),
            ("upgrade", get(&[("upgrade", "h2c")])),
            ("te", get(&[("te", "trailers, deflate")])),
            ("a late pseudo field", block(&[method, scheme, host, ("a", "b"), path])),
            ("two paths", block(&[method, scheme, host, path, path])),
            ("two methods", block(&[method, method, scheme, host, path])),
            ("no path", block(&[method, scheme, host])),
            ("no method", block(&[scheme, host, path])),
            ("no scheme", block(&[method, host, path])),
            ("an empty path", block(&[method, scheme, host, (":path", "")])),
            ("an unknown pseudo field", block(&[method, scheme, host, path, (":color", "red")])),
            ("a response's", block(&[method, scheme, host, path, (":status", "200")])),
            ("an empty name", raw(b"", b"x")),
            ("CR", raw(b"a", b"b\rc")),
            ("LF", raw(b"a", b"b\nc")),
            ("NUL", raw(b"a", b"b\0c")),
            ("a leading space", raw(b"a", b" b")),
            ("a trailing tab", raw(b"a", b"b\t")),
            ("a space in a name", raw(b"a b", b"c")),
            ("a colon in a name", raw(b"a:b", b"c")),
            ("an octet above 127 in a name", raw(b"a\xe9", b"c")),
            ("LF in a path", block(&[method, scheme, host, (":path", "/a\nb")])),
            ("a space in a path", block(&[method, scheme, host, (":path", "/a HTTP/1.1")])),
            ("another host", get(&[("host", "other")])),
            ("user information", block(&[method, scheme, path, (":authority", "me@localhost")])),
        ] {
            let bytes = frame(HEADERS, END_HEADERS | END_STREAM, 1, &head);
            refuses(&server, what, bytes, PROTOCOL_ERROR);
        }
    });
}

#[test]
fn row_51_lengths_that_lie() {
    let server = app("");
    watched(&server, || {
        let open = |method, length| {
            let head = request(method, "/upload", &[("content-length", length)]);
            frame(HEADERS, END_HEADERS, 1, &head)
        };
        let data = |flags, bytes| frame(DATA, flags, 1, bytes);
        let ended = |length| {
            let head = request("POST", "/upload", &[("content-length", length)]);
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &head)
        };
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("a", "b")]));
        for (what, bytes) in [
            ("too much", [open("POST", "3"), data(END_STREAM, b"four")].concat()),
            ("too little", [open("POST", "5"), data(END_STREAM, b"four")].concat()),
            ("too little in two", [open("POST", "5"), data(0, b"1"), data(1, b"23")].concat()),
            ("too little before trailers", [open("POST", "5"), data(0, b"1"), trailers].concat()),
            ("none at all", ended("1")),
            ("not a number", ended("1x")),
            ("signed", ended("+0")),
        ] {
            refuses(&server, what, bytes, PROTOCOL_ERROR);
        }
        let twice = request("POST", "/upload", &[("content-length", "1"), ("content-length", "2")]);
        let bytes = [frame(HEADERS, END_HEADERS, 1, &twice), data(END_STREAM, b"1")].concat();
        refuses(&server, "two lengths", bytes, PROTOCOL_ERROR);
    });
}

#[test]
fn row_53_frames_that_a_client_may_not_send() {
    let server = app("");
    watched(&server, || {
        let open = frame(HEADERS, END_HEADERS, 1, &request("POST", "/upload", &[]));
        let begun = frame(HEADERS, 0, 1, &request("GET", "/hello", &[]));
        for (what, bytes) in [
            ("PUSH_PROMISE", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82])),
            ("ENABLE_PUSH = 2", settings(&[(2, 2)])),
            ("padding above DATA", [open.clone(), frame(DATA, PADDED, 1, &[5, 1, 2])].concat()),
            ("padding above HEADERS", frame(HEADERS, PADDED | END_HEADERS, 1, &[9, 0x82])),
            ("PING within a block", [begun.clone(), frame(PING, 0, 0, &[0; 8])].concat()),
            ("another block within", [begun.clone(), get(3, "/hello")].concat()),
            ("another's CONTINUATION", [begun, frame(CONTINUATION, 4, 3, b"")].concat()),
            ("CONTINUATION of nothing", frame(CONTINUATION, 4, 1, b"")),
        ] {
            ends(&server, what, bytes, &[PROTOCOL_ERROR]);
        }
    });
}

#[test]
fn row_54_acknowledgements_that_never_come() {
    let server = app("h2_settings_timeout=300,h2_ping_interval=200,h2_ping_timeout=400");
    watched(&server, || {
        let mut client = connect(&server);
        client.polite = false;
        assert_eq!(client.end(), Some(SETTINGS_TIMEOUT));
        let mut client = connect(&server);
        client.send(frame(SETTINGS, ACK, 0, b""));
        client.polite = false;
        client.until_frame("a PING", |f| f.kind == PING);
        assert_eq!(client.end(), Some(NO_ERROR));
    });
}

#[test]
fn row_55_dependency_on_itself() {
    let server = app("");
    watched(&server, || {
        let on_itself = [&1_u32.to_be_bytes()[..], &[1]].concat();
        let head = [&on_itself[..], &request("GET", "/slow/5000", &[])].concat();
        let bytes = frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, &head);
        refuses(&server, "in HEADERS", bytes, PROTOCOL_ERROR);
        let bytes = [get(1, "/slow/5000"), frame(PRIORITY, 0, 1, &on_itself)].concat();
        refuses(&server, "in PRIORITY", bytes, PROTOCOL_ERROR);
    });
}

#[test]
fn row_56_suites_that_http2_forbids_are_not_negotiated() {
    let server = app("");
    watched(&server, || {
        let at = server.at("https").to_string();
        for cipher in
            ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA", "kRSA", "NULL:@SECLEVEL=0"]
        {
            let mut command = std::process::Command::new("openssl");
            command
                .args(["s_client", "-connect", &at, "-tls1_2", "-alpn", "h2", "-cipher", cipher]);
            let Ok(output) = command.stdin(std::process::Stdio::null()).output() else {
                return harness::missing("openssl");
            };
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(!said.contains("ALPN protocol: h2"), "{cipher}: {said}");
        }
    });
}

#[test]
fn row_57_the_wrong_server_and_the_wrong_protocol() {
    let server = app("");
    watched(&server, || {
        let at = server.at("https");
        let mut client = H2::tls(at);
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/hello"),
            (":authority", "other.test"),
        ];
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields)));
        assert_eq!(client.answer(1).status(), 421);
        client.next_id = 3;
        assert_eq!(client.get("/hello").status(), 200);
        for alpn in [&b"ftp"[..], b"smtp", b"h3", b"http/1.0"] {
            let config = std::sync::Arc::new(tls::config(&[alpn]));
            let error = tls::try_connect(at, config, "localhost").unwrap_err().to_string();
            assert!(error.contains("NoApplicationProtocol"), "{error}");
        }
    });
}
