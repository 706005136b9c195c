//! An axum application and test services over HTTP/1.1, HTTP/2 and HTTP/3.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "tower/app.rs"]
mod app;
mod harness;

use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use harness::client::{Client, Framing};
use harness::h2::{self, H2};
use harness::process::{Process, RINGWAY};
use harness::quic::{self, H3};
use harness::{eventually, missing, pattern};
use ringway::tower::TowerService;
use ringway::{Bound, Server};
use tokio::runtime::{Builder, Runtime};

fn serve() -> Process {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let server =
        Process::start(command.args(["app::serve", "--exact", "--ignored", "--nocapture"]));
    server.wait_for("http,h2c,https,h3");
    server
}

/// A client of one protocol.
enum Any {
    H1(Client),
    H2(Box<H2>),
    H3(Box<H3>),
}

/// What every protocol's answer has.
#[derive(Debug)]
struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    trailers: Vec<(String, String)>,
    broken: bool,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let mut named = self.fields.iter().filter(|(other, _)| other == name);
        let value = named.next().map(|(_, value)| value.as_str());
        assert!(named.next().is_none(), "{name} is there once: {self:?}");
        value
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Any {
    fn all(server: &Process) -> [Self; 3] {
        [
            Self::H1(server.client()),
            Self::H2(Box::new(H2::connect(server.at("h2c")))),
            Self::H3(Box::new(H3::connect(server.at("h3")))),
        ]
    }

    fn name(&self) -> &'static str {
        match self {
            Self::H1(_) => "HTTP/1.1",
            Self::H2(_) => "HTTP/2.0",
            Self::H3(_) => "HTTP/3.0",
        }
    }

    fn get(&mut self, path: &str) -> Answer {
        self.call("GET", path, &[], b"")
    }

    fn call(&mut self, method: &str, path: &str, more: &[(&str, &str)], body: &[u8]) -> Answer {
        match self {
            Self::H1(client) => {
                let mut fields: String =
                    more.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                if !body.is_empty() {
                    fields += &format!("Content-Length: {}\r\n", body.len());
                }
                let got = client.request(method, path, &fields, body);
                let (status, fields, body, trailers) =
                    (got.status, got.fields, got.body, got.trailers);
                let lower = |(name, value): (String, String)| (name.to_ascii_lowercase(), value);
                let fields = fields.into_iter().map(lower).collect();
                Answer { status, fields, body, trailers, broken: false }
            }
            Self::H2(client) => {
                let id = client.ask(method, path, more, body);
                of_h2(client.answer(id))
            }
            Self::H3(client) => {
                let id = client.ask(method, path, more, body);
                of_h3(client.answer(id))
            }
        }
    }
}

fn of_h2(got: h2::Stream) -> Answer {
    Answer {
        status: got.head().map_or(0, |_| got.status()),
        fields: got.head().cloned().unwrap_or_default(),
        trailers: got.trailers().cloned().unwrap_or_default(),
        broken: got.reset.is_some_and(|code| code != h2::NO_ERROR),
        body: got.body,
    }
}

fn of_h3(got: quic::Answer) -> Answer {
    let mut heads = got.heads.into_iter();
    let fields = heads.find(|head| !head[0].1.starts_with('1')).unwrap_or_default();
    Answer {
        status: fields.first().map_or(0, |(_, status)| status.parse().unwrap()),
        fields,
        trailers: heads.next().unwrap_or_default(),
        broken: got.reset.is_some(),
        body: got.body,
    }
}

/// P10: the same application answers alike over every protocol, beside routes of ringway's own.
#[test]
fn p10_one_application_over_every_protocol() {
    let server = serve();
    for mut client in Any::all(&server) {
        let name = client.name();
        let hello = client.get("/hello");
        assert_eq!((hello.status, hello.text()), (200, "hello"), "{name}");
        assert_eq!(hello.field("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(hello.field("content-length"), Some("5"));
        assert_eq!(hello.field("server"), Some("ringway"));
        let head = client.call("HEAD", "/hello", &[], b"");
        assert_eq!((head.status, head.field("content-length")), (200, Some("5")), "{name}");
        assert_eq!(head.body, b"");
        assert_eq!(client.get("/ringway").text(), "ringway");
        let layered = client.call("POST", "/layered", &[], b"and read");
        assert_eq!(layered.text(), "tagged and read", "{name}: behind layers of ringway's");
        assert_eq!(client.get("/nowhere").status, 404);
        let wrong = client.call("DELETE", "/hello", &[], b"");
        assert_eq!((wrong.status, wrong.field("allow")), (405, Some("GET,HEAD")), "{name}");
        for (path, status) in [("/none", 204), ("/same", 304)] {
            let none = client.get(path);
            assert_eq!((none.status, &none.body[..]), (status, &b""[..]), "{name} {path}");
        }
        let json = [("content-type", "application/json")];
        let sum = client.call("POST", "/json", &json, b"[1, 2, 39]");
        assert_eq!((sum.text(), sum.field("content-type")), ("42", Some("application/json")));
        assert_eq!(client.call("POST", "/json", &json, b"[1, -2]").status, 422);
        assert_eq!(client.call("POST", "/json", &[], b"[1]").status, 415);
        let mine = client.get("/mine");
        assert_eq!((mine.field("server"), mine.field("connection")), (Some("ringway"), None));
        assert_eq!(mine.text(), "mine");
    }
}

/// Method, target, version, fields in order and the client's address reach the service as sent.
#[test]
fn p10_a_service_sees_the_request_as_it_was_sent() {
    let server = serve();
    for mut client in Any::all(&server) {
        let name = client.name();
        let more = [("x-one", "a"), ("accept", "b"), ("x-one", "c")];
        let seen = client.call("PATCH", "/seen?a=%20&b", &more, b"body");
        let seen = seen.text().to_owned();
        let lines: Vec<_> = seen.lines().collect();
        let target = match &client {
            Any::H1(_) => "/seen?a=%20&b",
            Any::H2(_) => "http://localhost/seen?a=%20&b",
            Any::H3(_) => "https://localhost/seen?a=%20&b",
        };
        let target_of = |line: &str| line.split(' ').nth(1).unwrap().to_owned();
        assert!(lines[0].starts_with("PATCH "), "{name}: {seen}");
        assert!(lines[0].ends_with(&format!(" {name} 127.0.0.1")), "{name}: {seen}");
        assert_eq!(target_of(lines[0]), target, "{name}: {seen}");
        for line in ["x-one: a", "x-one: c", "accept: b"] {
            assert!(lines.contains(&line), "{name} {line}: {seen}");
        }
        let length = if matches!(client, Any::H1(_)) { "Some(4) false" } else { "None false" };
        assert_eq!(lines.last(), Some(&length), "{name}");
        assert!(client.get("/seen").text().ends_with("Some(0) true"), "{name}");
    }
    let mut client = server.client();
    client.send("GET http://other:81/a/../%73een HTTP/1.1\r\nHost: other:81\r\n\r\n");
    assert!(client.response("GET").text().starts_with("GET /seen HTTP/1.1"));
    client.send("GET /seen HTTP/1.0\r\n\r\n");
    assert!(client.response("GET").text().starts_with("GET /seen HTTP/1.0"));
}

/// Bodies larger than any window flow through the service, both ways at once.
#[test]
fn p10_five_megabytes_are_echoed_as_they_stream() {
    let server = serve();
    let body = pattern(5 << 20);
    // HTTP/1.1: chunked and with a length, written while the answer is read.
    for chunked in [false, true] {
        let mut client = server.client();
        let framing = match chunked {
            true => "Transfer-Encoding: chunked".to_owned(),
            false => format!("Content-Length: {}", body.len()),
        };
        client.send(format!("POST /echo HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n"));
        let mut stream = client.stream.try_clone().unwrap();
        let sent = body.clone();
        let writer = thread::spawn(move || {
            for piece in sent.chunks(100_000) {
                if chunked {
                    write!(stream, "{:x}\r\n", piece.len()).unwrap();
                }
                stream.write_all(piece).unwrap();
                if chunked {
                    stream.write_all(b"\r\n").unwrap();
                }
            }
            if chunked {
                stream.write_all(b"0\r\nX-Sum: 7\r\n\r\n").unwrap();
            }
        });
        let got = client.response("POST");
        writer.join().unwrap();
        assert!(got.body == body, "{} bytes", got.body.len());
        let trailers = [("x-sum".to_owned(), "7".to_owned())];
        match chunked {
            true => assert_eq!((got.framing, &got.trailers[..]), (Framing::Chunked, &trailers[..])),
            false => assert_eq!(got.framing, Framing::Length(body.len())),
        }
    }
    let mut client = H2::connect(server.at("h2c"));
    let got = echo_h2(&mut client, &body);
    assert!(got.body == body, "{} bytes", got.body.len());
    assert_eq!(got.trailers(), Some(&vec![("x-sum".to_owned(), "7".to_owned())]));
    let mut client = H3::connect(server.at("h3"));
    let id = client.ask("POST", "/echo", &[], &body);
    let got = client.answer(id);
    assert!(got.body == body, "{} bytes", got.body.len());
}

/// A client that waits for 100 (Continue) is told to go on by an answer that reads the body while
/// it is sent; one that reads nothing of it refuses the body (RFC 9110 section 10.1.1).
#[test]
fn p10_an_echo_has_the_body_sent() {
    let server = serve();
    let ask = |path| {
        let mut client = server.client();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\n\
             Content-Length: 300000\r\n\r\n"
        ));
        client
    };
    let body = pattern(300_000);
    let mut client = ask("/echo");
    assert_eq!(client.any_response("POST").status, 100);
    client.send(&body);
    let got = client.response("POST");
    assert_eq!((got.status, got.says_close()), (200, false));
    assert!(got.body == body, "{} bytes", got.body.len());
    // The connection goes on.
    assert_eq!(client.get("/hello").text(), "hello");
    for path in ["/produce/1", "/no-such-path"] {
        let got = ask(path).any_response("POST");
        assert!(got.status >= 400 && got.says_close(), "{path}: {}", got.status);
    }

    let fields = [("content-length", "5"), ("expect", "100-continue")];
    let expected = ["100", "200"];
    let mut client = H2::connect(server.at("h2c"));
    let id = client.id();
    client.send(h2::frame(
        h2::HEADERS,
        h2::END_HEADERS,
        id,
        &h2::request("POST", "/echo", &fields),
    ));
    client.until("a head", |c| c.streams.get(&id).is_some_and(|s| !s.heads.is_empty()));
    client.send(h2::frame(h2::DATA, h2::END_STREAM, id, b"hello"));
    let got = client.answer(id);
    assert!(got.heads.iter().map(|head| &head[0].1).eq(expected), "{:?}", got.heads);
    assert_eq!(got.body, b"hello");

    let mut client = H3::connect(server.at("h3"));
    let id = client.id();
    let head = [&quic::request("POST", "/echo")[..], &fields].concat();
    client.raw(id, &quic::headers(&head), false);
    client.run("a head", |c| !c.streams[&id].heads.is_empty());
    client.raw(id, &quic::frame(quic::DATA, b"hello"), true);
    let got = client.answer(id);
    assert!(got.heads.iter().map(|head| &head[0].1).eq(expected), "{:?}", got.heads);
    assert_eq!(got.body, b"hello");
}

/// Sends a body within the windows that the server gives, and trailers behind it.
fn echo_h2(client: &mut H2, body: &[u8]) -> h2::Stream {
    let id = client.id();
    let head = h2::request("POST", "/echo", &[]);
    client.send(h2::frame(h2::HEADERS, h2::END_HEADERS, id, &head));
    let raised = client.until_frame("the connection's window", |frame| {
        (frame.kind, frame.stream) == (h2::WINDOW_UPDATE, 0)
    });
    let initial = client.settings.iter().find(|(key, _)| *key == 4).map_or(65_535, |(_, n)| *n);
    let (mut stream, mut at) = (u64::from(initial), 0);
    let mut connection = 65_535 + u64::from(raised.number(0));
    while at < body.len() {
        let room = stream.min(connection).min(16_384) as usize;
        let piece = &body[at..body.len().min(at + room)];
        if piece.is_empty() {
            let frame = client.next().unwrap();
            if frame.kind == h2::WINDOW_UPDATE {
                let window = if frame.stream == 0 { &mut connection } else { &mut stream };
                *window += u64::from(frame.number(0));
            }
            continue;
        }
        client.send(h2::frame(h2::DATA, 0, id, piece));
        (at, stream) = (at + piece.len(), stream - piece.len() as u64);
        connection -= piece.len() as u64;
    }
    let trailers = h2::block(&[("x-sum", "7")]);
    client.send(h2::frame(h2::HEADERS, h2::END_HEADERS | h2::END_STREAM, id, &trailers));
    client.answer(id)
}

/// What a connection may hold of bodies, and the worker of receive buffers (4 MiB), which are
/// written to for the first time.
const FLAT: u64 = 10 << 20;

/// A client that sends and does not read is held back by the service that echoes, in flat memory;
/// nothing is lost by that.
#[test]
fn p10_an_echo_holds_back_a_client_that_does_not_read() {
    let server = serve();
    let block = pattern(1 << 20);
    // Once, so that the worker's own buffers have been written to.
    let warm = server.client().request("POST", "/echo", "Content-Length: 1048576\r\n", &block);
    assert!(warm.body == block);
    let before = server.resident();
    let mut client = server.client();
    let total = 256 << 20;
    client.send(format!("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: {total}\r\n\r\n"));
    client.stream.set_nonblocking(true).unwrap();
    let (mut sent, mut grown, mut idle) = (0, 0, Instant::now());
    while idle.elapsed() < Duration::from_millis(700) {
        match client.stream.write(&block[sent % block.len()..]) {
            Ok(len) => (sent, idle) = (sent + len, Instant::now()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                thread::sleep(Duration::from_millis(5));
            }
        }
        grown = grown.max(server.resident().saturating_sub(before));
    }
    println!("{} KiB were taken, memory grew by {} KiB", sent >> 10, grown >> 10);
    assert!(sent < 64 << 20, "{sent} bytes were taken from a client that does not read");
    assert!(grown <= FLAT, "memory grew by {grown} bytes");
    client.stream.set_nonblocking(false).unwrap();
    client.finish();
    let half = "the answer is broken off, as the request was";
    let rest = client.rest();
    let at = rest.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let echoed = &rest[at..];
    assert!(echoed.len() <= sent, "{half}");
    let same = echoed.iter().enumerate().all(|(n, byte)| *byte == block[n % block.len()]);
    assert!(same, "{half}");
}

/// Events come one by one, as the service makes them.
#[test]
fn p10_server_sent_events_stream() {
    let server = serve();
    for mut client in Any::all(&server) {
        let start = Instant::now();
        let events = client.get("/events");
        assert!(start.elapsed() >= Duration::from_millis(300));
        assert_eq!(events.field("content-type"), Some("text/event-stream"));
        assert_eq!(events.text(), "data: 0\n\ndata: 1\n\ndata: 2\n\n", "{}", client.name());
    }
    let mut client = server.client();
    client.send("GET /events HTTP/1.1\r\nHost: test\r\n\r\n");
    while !String::from_utf8_lossy(&client.buffer).contains("data: 0") {
        assert!(client.fill());
    }
    assert!(!String::from_utf8_lossy(&client.buffer).contains("data: 2"), "it is still at work");
    assert_eq!(client.response("GET").framing, Framing::Chunked);
}

/// Fields behind a body go out, and those of the request come in.
#[test]
fn p10_trailers_both_ways() {
    let server = serve();
    let checksum = [("x-checksum".to_owned(), "1234".to_owned())];
    for mut client in Any::all(&server) {
        let got = client.get("/trailers");
        assert_eq!((got.text(), &got.trailers[..]), ("body", &checksum[..]), "{}", client.name());
    }
    // The way in is a part of `p10_five_megabytes_are_echoed_as_they_stream`; HTTP/3's is here.
    let mut client = H3::connect(server.at("h3"));
    let id = client.id();
    let trailers = quic::headers(&[("x-sum", "7")]);
    let head = quic::headers(&quic::request("POST", "/echo"));
    client.raw(id, &[head, quic::frame(0, b"short"), trailers].concat(), true);
    let got = of_h3(client.answer(id));
    assert_eq!((got.text(), &got.trailers[..]), ("short", &[("x-sum".into(), "7".into())][..]));
}

fn text_of(server: &Process, path: &str) -> String {
    server.client().get(path).text().to_owned()
}

/// Who leaves takes the service's future along, wherever that waits.
#[test]
fn p10_a_client_that_leaves_drops_the_future() {
    let server = serve();
    for path in ["/sleep/60000", "/produce/4096", "/cleans-up"] {
        for n in 0..3 {
            assert_eq!(text_of(&server, "/running"), "0");
            let mut client = Any::all(&server).into_iter().nth(n).unwrap();
            let what = format!("{path} over {}", client.name());
            match &mut client {
                Any::H1(client) => client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")),
                Any::H2(client) => drop(client.ask("GET", path, &[], b"")),
                Any::H3(client) => drop(client.ask("GET", path, &[], b"")),
            }
            eventually(&format!("{what} runs"), || text_of(&server, "/running") == "1");
            match client {
                // Reset: the mere end of what it sends may be that of one that still waits.
                Any::H1(client) => {
                    let socket = socket2::SockRef::from(&client.stream);
                    socket.set_linger(Some(Duration::ZERO)).unwrap();
                }
                // The stream alone: its connection stays.
                Any::H2(mut client) => {
                    client.send(h2::reset(1, h2::CANCEL));
                    client.round_trip();
                }
                Any::H3(client) => client.close(),
            }
            eventually(&format!("{what} is dropped"), || text_of(&server, "/running") == "0");
        }
    }
    // What was dropped could spawn tasks.
    eventually("it cleans up", || text_of(&server, "/cleaned-up") == "3");
}

/// tokio's timers, tasks and sockets work; the service itself runs on the worker.
#[test]
fn p10_timers_tasks_and_sockets_of_tokio() {
    let server = serve();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = thread::spawn(move || {
        for _ in 0..3 {
            let mut socket = listener.accept().unwrap().0;
            thread::sleep(Duration::from_millis(30));
            socket.write_all(b"from a socket").unwrap();
        }
    });
    for mut client in Any::all(&server) {
        let start = Instant::now();
        assert_eq!(client.get("/sleep/50").text(), "slept");
        assert!(start.elapsed() >= Duration::from_millis(50));
        let threads = client.get("/spawned");
        let words: Vec<_> = threads.text().split(' ').collect();
        assert!(words[0].starts_with("ringway"), "{words:?}");
        assert_ne!(words[0], "ringway-tokio", "the handler runs on the worker");
        assert_eq!(words[1..], ["ringway-tokio", "42", "true"]);
        assert_eq!(client.get(&format!("/connect/{port}")).text(), "from a socket");
    }
    peer.join().unwrap();
}

/// A body may be read by a task on another thread, which outlives the handler.
#[test]
fn p10_a_body_may_be_read_on_another_thread() {
    let server = serve();
    let body = pattern(3 << 20);
    let mut client = server.client();
    let fields = format!("Content-Length: {}\r\n", body.len());
    assert_eq!(client.request("POST", "/elsewhere", &fields, &body).status, 202);
    let whole = format!("{} ringway-tokio", body.len());
    eventually("it is read", || text_of(&server, "/elsewhere-result") == whole);
    let mut client = H3::connect(server.at("h3"));
    let id = client.ask("POST", "/elsewhere", &[], &body[1..]);
    assert_eq!(client.answer(id).status(), 202);
    let whole = format!("{} ringway-tokio", body.len() - 1);
    eventually("it is read", || text_of(&server, "/elsewhere-result") == whole);
    // Who leaves half-way is an error to the reader.
    let mut client = server.client();
    client.send("POST /elsewhere HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nhalf");
    eventually("it is being read", || text_of(&server, "/elsewhere-read") == "4");
    drop(client);
    eventually("the reader is told", || {
        let result = text_of(&server, "/elsewhere-result");
        result.starts_with("4 ") && result.contains("before it was complete")
    });
}

/// Panics and errors are one request's: 500, and the worker goes on.
#[test]
fn p10_panics_and_errors_are_500() {
    let server = serve();
    for mut client in Any::all(&server) {
        let name = client.name();
        for path in ["/panics", "/panics-later", "/refuse", "/refuse", "/refuse"] {
            assert_eq!(client.get(path).status, 500, "{name} {path}");
            assert_eq!(client.get("/hello").text(), "hello", "{name} after {path}");
        }
        let refused = client.get("/switches");
        assert_eq!(refused.status, 501, "{name}");
        assert!(refused.text().contains("switches no protocols"), "{name}");
    }
    // A body that fails is broken off, and never passes for the whole.
    let mut client = server.client();
    client.send("GET /fails/2 HTTP/1.1\r\nHost: test\r\n\r\n");
    let got = String::from_utf8(client.rest()).unwrap();
    assert!(got.contains("5\r\npiece") && !got.contains("0\r\n\r\n"), "{got}");
    for mut client in Any::all(&server).into_iter().skip(1) {
        let got = client.get("/fails/2");
        assert!(got.broken && got.body.len() <= 10, "{got:?}");
        assert_eq!(client.get("/hello").text(), "hello");
    }
    let mut client = server.client();
    client.send("CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n");
    assert_eq!(client.response("CONNECT").status, 405);
}

/// A service that is not ready is not called; who waits for it is woken from another thread.
#[test]
fn p10_a_service_that_is_not_ready_waits() {
    let server = serve();
    for mut client in Any::all(&server) {
        let id = match &mut client {
            Any::H1(client) => {
                client.send("GET /gate HTTP/1.1\r\nHost: test\r\n\r\n");
                0
            }
            Any::H2(client) => u64::from(client.ask("GET", "/gate", &[], b"")),
            Any::H3(client) => client.ask("GET", "/gate", &[], b""),
        };
        thread::sleep(Duration::from_millis(50));
        let start = Instant::now();
        assert_eq!(server.client().get("/open").status, 200);
        let text = match &mut client {
            Any::H1(client) => client.response("GET").text().to_owned(),
            Any::H2(client) => client.answer(id as u32).text().to_owned(),
            Any::H3(client) => client.answer(id).text(),
        };
        assert_eq!(text, "through", "{}", client.name());
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}

/// A client that reads slowly holds the body's producer back.
#[test]
fn p10_a_slow_reader_holds_back_the_service() {
    let server = serve();
    assert_eq!(server.client().get("/produce/4").body.len(), 4 << 20);
    let before = server.resident();
    let mut client = Client::with_tiny_window(server.http());
    client.send("GET /produce/1024 HTTP/1.1\r\nHost: test\r\n\r\n");
    let (start, mut grown) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_millis(700) {
        grown = grown.max(server.resident().saturating_sub(before));
        thread::sleep(Duration::from_millis(20));
    }
    client.take(100_000);
    assert!(grown <= FLAT, "memory grew by {grown} bytes");
    assert_eq!(text_of(&server, "/running"), "1");
}

/// A service runs in the runtime that it was made in, or was given, also beside others on the same
/// worker; one that only its own thread would drive is not used.
#[test]
fn p10_each_service_has_its_runtime() {
    let make = |mut builder: Builder, name: &str| {
        builder.worker_threads(1).enable_all().thread_name(name).build().unwrap()
    };
    let one = make(Builder::new_multi_thread(), "one");
    let two = make(Builder::new_multi_thread(), "two");
    let idle = make(Builder::new_current_thread(), "idle");
    let app = || axum::Router::new().fallback(app::task_thread).with_state(());
    let made_in = |runtime: &Runtime| {
        let _inside = runtime.enter();
        TowerService::new(app())
    };
    let routes = ringway::Router::new()
        .get("/one", made_in(&one))
        .get("/two", TowerService::on(two.handle().clone(), app()))
        .get("/idle", made_in(&idle))
        .get("/none", TowerService::new(app()));
    let server = Server::new(routes).workers(1).http("127.0.0.1:0").start().unwrap();
    let Bound::Ip(address) = server.local_addrs()[0].1 else { panic!("a TCP listener") };
    let mut client = Client::connect(address);
    let own = "ringway-tokio";
    for _ in 0..2 {
        for (path, name) in [("/one", "one"), ("/two", "two"), ("/idle", own), ("/none", own)] {
            assert_eq!(client.get(path).text(), name, "{path}");
        }
    }
    server.stop();
    server.join().unwrap();
}

/// P12: the example answers over all three protocols.
#[test]
fn p12_the_axum_example_runs() {
    let program = Path::new(RINGWAY.unwrap()).with_file_name("examples").join("axum");
    if !program.is_file() {
        return missing(&format!("{} (cargo build --examples)", program.display()));
    }
    let server = Process::start(Command::new(program).args(["127.0.0.1:0", "127.0.0.1:0"]));
    let mut clients = [
        Any::H1(server.client()),
        Any::H2(Box::new(H2::tls(server.at("https")))),
        Any::H3(Box::new(H3::connect(server.at("h3")))),
    ];
    for (n, client) in clients.iter_mut().enumerate() {
        let name = client.name();
        assert_eq!(client.get("/").text(), format!("127.0.0.1 over {name}\n"));
        let json = [("content-type", "application/json")];
        let added = client.call("POST", "/notes", &json, br#"{"text":"a note"}"#);
        assert_eq!((added.status, added.text()), (201, r#"{"text":"a note"}"#), "{name}");
        let notes = client.get("/notes");
        assert_eq!(notes.text().matches("a note").count(), n + 1, "{name}");
        assert!(notes.field("server-timing").unwrap().starts_with("app;dur="), "{name}");
        let body = pattern(60_000);
        assert_eq!(client.call("POST", "/upload", &[], &body).text(), "60000", "{name}");
        let ticks = client.get("/ticks");
        assert!(ticks.text().ends_with("data: tick 4\n\ndata: tick 5\n\n"), "{name}");
    }
}
