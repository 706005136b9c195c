//! The examples run and do what they document.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::client::{Client, Framing};
use harness::h2::H2;
use harness::process::{Process, RINGWAY};
use harness::quic::H3;
use harness::{TempDir, missing, pattern, tls};

/// An example on a free port. It is built whenever all tests are.
fn example(name: &str) -> Option<Process> {
    Some(Process::start(&mut command(name)?))
}

fn command(name: &str) -> Option<Command> {
    let program = Path::new(RINGWAY.unwrap()).with_file_name("examples").join(name);
    if !program.is_file() {
        missing(&format!("{} (cargo build --examples)", program.display()));
        return None;
    }
    let mut command = Command::new(program);
    command.arg("127.0.0.1:0");
    Some(command)
}

#[test]
fn hello_greets() {
    let Some(server) = example("hello") else { return };
    let mut client = server.client();
    assert_eq!(client.get("/plaintext").text(), "Hello, World!");
    assert_eq!(client.get("/hello/world").text(), "Hello, world!\n");
    assert_eq!(client.get("/hello").status, 404);
}

#[test]
fn async_answers_later_from_elsewhere_and_bit_by_bit() {
    let Some(server) = example("async") else { return };
    let mut client = server.client();
    let start = Instant::now();
    assert_eq!(client.get("/later").text(), "a tenth of a second later\n");
    assert!(start.elapsed() >= Duration::from_millis(100));
    assert_eq!(client.get("/elsewhere").text(), "500000500000");
    assert_eq!(client.get("/thread").text(), "from a thread\n");
    client.send("GET /ticks HTTP/1.1\r\nHost: test\r\n\r\n");
    while !String::from_utf8_lossy(&client.buffer).contains("tick 1") {
        assert!(client.fill());
    }
    assert!(!String::from_utf8_lossy(&client.buffer).contains("tick 5"), "it is still at work");
    let response = client.response("GET");
    assert_eq!(response.framing, Framing::Chunked);
    assert_eq!(response.text(), "tick 1\ntick 2\ntick 3\ntick 4\ntick 5\n");
}

#[test]
fn upload_counts() {
    let Some(server) = example("upload") else { return };
    let mut client = server.client();
    let body = pattern(8 << 20);
    for method in ["POST", "PUT"] {
        let length = format!("Content-Length: {}\r\n", body.len());
        let answer = client.request(method, "/upload", &length, &body);
        assert_eq!(answer.text(), body.len().to_string(), "{method}");
    }
}

#[test]
fn upload_lists_a_form_as_it_arrives() {
    let Some(server) = example("upload") else { return };
    let mut client = server.client();
    let file = pattern(4 << 20);
    let head = |name: &str| format!("--x\r\nContent-Disposition: form-data; name={name}\r\n\r\n");
    let (note, upload) = (head("note"), head("\"file\"; filename=\"a.bin\""));
    let parts = [note.as_bytes(), b"hello\r\n", upload.as_bytes(), &file, b"\r\n--x--\r\n"];
    let body = parts.concat();
    let fields = |kind: &str| format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
    let kind = "multipart/form-data; boundary=x";
    let answer = client.request("POST", "/form", &fields(kind), &body);
    assert_eq!(answer.text(), format!("note: 5\nfile (a.bin): {}\n", file.len()));
    let many = [head("a").as_bytes(), b"1\r\n"].concat().repeat(11);
    let length = format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", many.len());
    let answer = client.request("POST", "/form", &length, &many);
    assert_eq!(
        (answer.status, answer.field("content-type")),
        (413, Some("application/problem+json"))
    );
    let mut client = server.client();
    assert_eq!(client.request("POST", "/form", &fields("text/plain"), &body).status, 415);
    let mut client = server.client();
    assert_eq!(client.request("POST", "/form", &fields("multipart/form-data"), &body).status, 400);
}

#[test]
fn json_makes_reads_changes_and_removes() {
    let Some(server) = example("json") else { return };
    let mut client = server.client();
    let mut ask = |method: &str, path: &str, body: &str| {
        let fields =
            format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        let answer = client.request(method, path, &fields, body.as_bytes());
        let location = answer.field("location").unwrap_or_default().to_owned();
        (answer.status, answer.text().to_owned(), location)
    };
    let ulysses = r#"{"title":"Ulysses","pages":730}"#;
    let (status, text, location) = ask("POST", "/books", ulysses);
    assert_eq!((status, &*text, &*location), (201, ulysses, "/books/1"));
    assert_eq!(ask("POST", "/books", r#"{"title":"Dubliners","pages":152}"#).2, "/books/2");
    assert_eq!(ask("GET", "/books/1", "").1, ulysses);
    assert_eq!(
        ask("GET", "/books?title=Dub&limit=5", "").1,
        r#"{"2":{"title":"Dubliners","pages":152}}"#
    );
    let changed = r#"{"title":"Ulysses","pages":731}"#;
    assert_eq!(ask("PUT", "/books/1", changed).1, changed);
    assert_eq!(ask("DELETE", "/books/1", "").0, 204);
    let (status, text, _) = ask("GET", "/books/1", "");
    let want = r#"{"title":"Not Found","status":404,"detail":"there is no book 1"}"#;
    assert_eq!((status, &*text), (404, want));
    let (status, text, _) = ask("POST", "/books", "{\"title\":\"x\",\n\"pages\":-1}");
    assert_eq!(status, 400);
    assert!(text.contains(r#""path":"pages","line":2,"column":10"#), "{text}");
    assert_eq!(ask("GET", "/books/x", "").0, 400);
    assert_eq!(ask("GET", "/books?limit=many", "").0, 400);
}

#[test]
fn sse_tells_everybody_what_one_says() {
    let Some(server) = example("sse") else { return };
    let mut listeners = [server.client(), server.client()];
    for listener in &mut listeners {
        listener.send("GET /events HTTP/1.1\r\nHost: test\r\n\r\n");
        while !String::from_utf8_lossy(&listener.buffer).contains(": welcome\n\n") {
            assert!(listener.fill());
        }
        let head = String::from_utf8_lossy(&listener.buffer).into_owned();
        assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
        assert!(head.contains("cache-control: no-cache\r\n"), "{head}");
    }
    let mut speaker = server.client();
    let said = speaker.request("POST", "/say", "Content-Length: 9\r\n", b"two\nlines");
    assert_eq!(said.status, 204);
    for listener in &mut listeners {
        let want = "data: two\ndata: lines\nevent: said\n\n";
        while !String::from_utf8_lossy(&listener.buffer).contains(want) {
            assert!(listener.fill());
        }
    }
}

#[test]
fn state_is_shared() {
    let Some(server) = example("state") else { return };
    let (mut one, mut other) = (server.client(), server.client());
    assert_eq!(one.get("/visits/ann").text(), "1");
    assert_eq!(other.get("/visits/ann").text(), "2");
    assert_eq!(one.get("/visits/bob").text(), "1");
    assert_eq!(one.request("DELETE", "/visits/ann", "", b"").status, 204);
    assert_eq!(one.request("DELETE", "/visits/ann", "", b"").status, 404);
    assert_eq!(other.get("/visits/ann").text(), "1");
}

#[test]
fn layers_are_around_what_they_are_for() {
    let Some(server) = example("layers") else { return };
    let mut client = server.client();
    let fields = "Accept-Encoding: gzip\r\nOrigin: https://app.example.com\r\n";
    let answer = client.request("GET", "/api/words", fields, b"");
    assert_eq!((answer.status, answer.field("content-encoding")), (200, Some("gzip")));
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://app.example.com"));
    assert!(answer.field("server-timing").is_some_and(|value| value.starts_with("app;dur=")));
    assert_eq!(answer.field("x-request-id").map(str::len), Some(32));
    assert_eq!(client.get("/api/slow").status, 503);
    assert_eq!(client.get("/admin").status, 401);
    let credentials = "Authorization: Basic YW5uOnNlY3JldA==\r\n";
    let answer = client.request("GET", "/admin", credentials, b"");
    assert_eq!((answer.status, answer.text()), (200, "the back office\n"));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    let answer = client.get("/health");
    assert_eq!((answer.text(), answer.field("x-request-id")), ("well\n", None));
}

/// Row P7: it ends with its standard input, after what was in flight.
#[test]
fn p7_graceful_finishes_what_is_in_flight_and_what_that_left_behind() {
    let Some(mut command) = command("graceful") else { return };
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.next().unwrap();
    let mut client =
        Client::connect(line.strip_prefix("listening http ").unwrap().parse().unwrap());
    client.send("GET /work HTTP/1.1\r\nHost: test\r\n\r\n");
    // The request arrives before the stop.
    std::thread::sleep(Duration::from_millis(100));
    drop(child.stdin.take());
    assert_eq!(lines.next().unwrap(), "draining");
    let answer = client.response("GET");
    assert_eq!((answer.text(), answer.says_close()), ("done\n", true));
    assert_eq!(lines.next().unwrap(), "the mail is sent");
    assert!(child.wait().unwrap().success());
}

/// Row P7: one handler over three protocols, with a certificate of its own and with one from files.
#[test]
fn p7_tls_speaks_three_protocols_with_either_certificate() {
    let temp = TempDir::with(&[]);
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    temp.write("chain.pem", made.cert.pem().as_bytes());
    temp.write("key.pem", made.signing_key.serialize_pem().as_bytes());
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| temp.path().join(name));
    for files in [vec![], vec![chain, key]] {
        let Some(mut command) = command("tls") else { return };
        let server = Process::start(command.args(&files));
        let address = server.at("https");
        let mut h1 = tls::connect(address, &[b"http/1.1"], "localhost");
        h1.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        h1.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\nhello over HTTP/1.1\n"), "{answer}");
        let mut h2 = H2::tls(address);
        assert_eq!(h2.get("/").text(), "hello over HTTP/2.0\n");
        assert_eq!(H3::connect(server.at("h3")).get("/").text(), "hello over HTTP/3.0\n");
    }
}

/// Row P1: the questions of its own tests, asked over a socket.
#[test]
fn p1_testing_is_an_application_like_any_other() {
    let Some(server) = example("testing") else { return };
    let mut client = server.client();
    let order = br#"{"what":"tea","pieces":3}"#;
    let length = format!("Content-Length: {}\r\n", order.len());
    let answer = client.request("POST", "/orders", &length, order);
    assert_eq!((answer.status, answer.text()), (201, "1"));
    assert_eq!(client.request("POST", "/orders", "Content-Length: 3\r\n", b"tea").status, 422);
}
