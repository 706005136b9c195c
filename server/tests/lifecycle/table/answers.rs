//! Answers of every kind: statuses without bodies, parts, what flows, what goes ahead of it, what
//! breaks off, and who gives up.

use super::super::row::Framing::{Length, Unknown};
use super::super::row::Step::{Cancel, Data, Drain, End, Head, Part, Seen, Stall};
use super::super::row::{Body, On, Row, row};
use super::super::served::FILE;

pub fn rows() -> Vec<Row> {
    let mut rows = bodiless();
    rows.extend(files());
    rows.extend(flowing());
    rows.extend(panics());
    rows.extend(breaks());
    rows.extend(given_up());
    rows
}

fn bodiless() -> Vec<Row> {
    vec![
        row("204 with a body", "RFC 9110 section 15.3.5", "/none")
            .status(204)
            .says(&["no content-length"]),
        row("304 with a body", "RFC 9110 section 15.4.5", "/same")
            .status(304)
            .says(&["no content-length"]),
        row("HEAD", "RFC 9110 section 9.3.2", "/hello").method("HEAD").says(&["content-length: 5"]),
        row("HEAD of what flows", "RFC 9110 section 9.3.2", "/streamed")
            .method("HEAD")
            .says(&["no content-length", "content-type: text/plain"]),
        row("fields that are the server's", "RFC 9110 section 7.6.1", "/own")
            .text("own")
            .says(&["allow: GET", "content-length: 3"]),
        row("HEAD of what flows for ever", "RFC 9110 section 9.3.2", "/endless")
            .method("HEAD")
            .seen(&["dropped"]),
        row("an answer larger than the windows", "RFC 9110 section 6.4", "/large")
            .text("l".repeat(1_000_000))
            .says(&["content-length: 1000000"]),
        row("a large head", "RFC 9110 section 5.4", "/large-head")
            .text("large")
            .says(&["content-length: 5"]),
    ]
}

fn files() -> Vec<Row> {
    let path = "/site/file.txt";
    vec![
        row("a file", "RFC 9110 section 9.3.1", path).text(FILE).says(&[
            "accept-ranges: bytes",
            "content-length: 65",
            "last-modified: Sun, 09 Sep 2001 01:46:40 GMT",
        ]),
        row("HEAD of a file", "RFC 9110 section 9.3.2", path)
            .method("HEAD")
            .says(&["accept-ranges: bytes", "content-length: 65"]),
        row("a file that has not changed", "RFC 9110 section 13.1.2", path)
            .field("if-none-match", "*")
            .status(304)
            .says(&["no content-length"]),
        row("a precondition that fails", "RFC 9110 section 13.1.1", path)
            .field("if-match", "\"other\"")
            .status(412)
            .text("Precondition Failed"),
        row("a part of a file", "RFC 9110 section 15.3.7", path)
            .field("range", "bytes=2-5")
            .status(206)
            .text("2345")
            .says(&["content-range: bytes 2-5/65", "content-length: 4"]),
        row("a part behind the end", "RFC 9110 section 15.5.17", path)
            .field("range", "bytes=99-")
            .status(416)
            .text("Range Not Satisfiable")
            .says(&["content-range: bytes */65"]),
        row("DELETE of a file", "RFC 9110 section 15.5.6", path)
            .method("DELETE")
            .status(405)
            .text("Method Not Allowed")
            .says(&["allow: GET, HEAD, OPTIONS"]),
    ]
}

fn flowing() -> Vec<Row> {
    let hints = "RFC 8297 section 2";
    vec![
        row("an answer that flows", "RFC 9110 section 6.4", "/streamed")
            .text("one two")
            .says(&["no content-length"]),
        row("an answer that comes later", "RFC 9110 section 15.3.1", "/slow/20")
            .text("slow")
            .seen(&["waits"]),
        row("response trailers", "RFC 9110 section 6.5", "/trailers")
            .text("body")
            .trailers(&["x-checksum: 1234"]),
        row("an early hint", hints, "/hint")
            .interim(&["103 </a.css>; rel=preload"])
            .text("hinted")
            .says(&["link: </a.css>; rel=preload"]),
        row("two early hints", hints, "/hints")
            .interim(&[
                "103 </a.css>; rel=preload",
                "103 </a.js>; rel=preload </a.css>; rel=preload",
            ])
            .text("hinted twice"),
        row("a hint and then a panic", hints, "/hint-panic")
            .interim(&["103 </a.css>; rel=preload"])
            .status(500)
            .text("Internal Server Error"),
        row("a length and trailers", "RFC 9110 section 6.5", "/sized-trailers")
            .text("body")
            .says(&["content-length: 4"])
            .trailers(&["x-checksum: 1234"]),
        row("a hint after the answer has begun", hints, "/late-hint").text("begun done"),
        row("a server that leaves", "RFC 9112 section 9.6, RFC 9113 section 6.8", "/slow/200")
            .on(On::Leaving)
            .steps(&[Head, Seen("waits"), Drain])
            .text("slow")
            .seen(&["waits"])
            .closes(),
    ]
}

fn panics() -> Vec<Row> {
    let rfc = "RFC 9110 section 15.6.1";
    let failed = |name, path| row(name, rfc, path).status(500).text("Internal Server Error");
    vec![
        failed("a handler panics", "/panic"),
        failed("an async handler panics", "/panic-later"),
        failed("a body mode panics", "/panic-mode").post(Length(5), &[Head, Data(b"hello"), End]),
        row("HEAD where a handler panics", rfc, "/panic")
            .method("HEAD")
            .status(500)
            .says(&["content-length: 21"]),
        failed("a handler panics while the body comes", "/panic-upload")
            .post(Unknown, &[Head, Data(b"hello"), End]),
    ]
}

/// A part never passes for the whole.
fn breaks() -> Vec<Row> {
    let rfc = "RFC 9112 section 8, RFC 9113 section 8.1, RFC 9114 section 4.1";
    vec![
        row("a producer panics before anything", rfc, "/panic-before").breaks(200, "").at_once(),
        row("a producer panics in the middle", rfc, "/panic-middle").breaks(200, "first"),
        row("a producer gives up", rfc, "/aborts").breaks(200, "first"),
        row("a producer writes less than its length", rfc, "/short").breaks(200, "four").at_once(),
        row("a producer writes more than its length", rfc, "/long").breaks(200, "four"),
    ]
}

fn given_up() -> Vec<Row> {
    let rfc = "RFC 9112 section 9.6, RFC 9113 section 7, RFC 9114 section 4.1.1";
    vec![
        row("a client gives up before its answer", rfc, "/slow/60000")
            .steps(&[Head, Seen("waits"), Cancel])
            .cancelled(0, "499 0")
            .seen(&["waits", "dropped"]),
        row("a client that reads nothing", "RFC 9110 section 15.5.9", "/endless")
            .on(On::Hasty)
            .steps(&[Head, Part(100_000), Stall])
            .stalls(),
        row(
            "a server that does not wait",
            "RFC 9112 section 9.6, RFC 9113 section 6.8",
            "/slow/60000",
        )
        .on(On::Leaving)
        .steps(&[Head, Seen("waits"), Drain])
        .left()
        .seen(&["waits", "dropped"]),
        row("a download that is given up", rfc, "/endless")
            .steps(&[Head, Part(100_000), Cancel])
            .cancelled(200, "200 some")
            .body(Body::Some)
            .seen(&["dropped"]),
    ]
}
