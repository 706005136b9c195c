//! A panic of the application affects one request: 500 or the end of its stream, and nothing else.
//! This also holds for the release build: `scripts/test.sh` runs this again with
//! `RINGWAY_TEST_RELEASE` naming the folder of release builds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::client::Client;
use harness::h2::H2;
use harness::process::{Process, RINGWAY};
use harness::quic::H3;
use harness::{eventually, missing};

/// The server of `panics/server.rs`.
fn server() -> Option<Process> {
    let built = Path::new(RINGWAY.unwrap()).parent().unwrap().to_owned();
    let folder = std::env::var_os("RINGWAY_TEST_RELEASE").map_or(built, PathBuf::from);
    let program = folder.join("examples/panics");
    if !program.is_file() {
        missing(&format!("{} (cargo build --examples)", program.display()));
        return None;
    }
    let server = Process::start(&mut Command::new(program));
    server.wait_for("http,https,h3");
    Some(server)
}

/// Panics before the answer has begun.
const GETS: [&str; 7] =
    ["/now", "/later", "/layer", "/async-layer", "/extractor", "/task", "/blocking"];

/// The same server still answers, and stops without an error when told to.
fn still_well(mut server: Process, mut witness: Client) {
    assert_eq!(witness.get("/well").text(), "well", "{}", server.output());
    assert!(server.is_running());
    server.signal("TERM");
    assert!(server.wait().success(), "{}", server.output());
}

#[test]
fn a_panic_is_one_requests_over_http1() {
    let Some(server) = server() else { return };
    let mut witness = server.client();
    assert_eq!(witness.get("/well").text(), "well");
    let mut client = server.client();
    for path in GETS {
        assert_eq!(client.get(path).status, 500, "{path}");
        assert_eq!(client.get("/well").text(), "well", "after {path}");
    }
    for path in ["/upload", "/mode"] {
        let answer = server.client().request("POST", path, "Content-Length: 4\r\n", b"body");
        assert_eq!(answer.status, 500, "{path}");
    }
    let mut broken = server.client();
    broken.send("GET /half HTTP/1.1\r\nHost: test\r\n\r\n");
    let got = String::from_utf8(broken.rest()).unwrap();
    assert!(got.contains("4\r\nhalf") && !got.contains("0\r\n\r\n"), "{got}");
    let mut gone = server.client();
    let well = "GET /well HTTP/1.1\r\nHost: test\r\n\r\n";
    gone.send([well, &well.replace("well", "sticky")].concat());
    // An answer that is never read makes its end a reset, so that the handler's future is dropped.
    for _ in 0..2 {
        assert_eq!(witness.get("/well").text(), "well");
    }
    drop(gone);
    eventually("the drop panicked", || server.output().contains("on purpose: drop"));
    still_well(server, witness);
}

#[test]
fn a_panic_is_one_streams_over_http2() {
    let Some(server) = server() else { return };
    let witness = server.client();
    let mut client = H2::tls(server.at("https"));
    for path in GETS {
        assert_eq!(client.get(path).status(), 500, "{path}");
    }
    let upload = client.ask("POST", "/upload", &[], b"body");
    assert_eq!(client.answer(upload).status(), 500);
    let half = client.ask("GET", "/half", &[], b"");
    assert!(client.answer(half).reset.is_some(), "a part is not passed off as the whole");
    assert_eq!(client.get("/well").text(), "well");
    still_well(server, witness);
}

#[test]
fn a_panic_is_one_streams_over_http3() {
    let Some(server) = server() else { return };
    let witness = server.client();
    let mut client = H3::connect(server.at("h3"));
    for path in GETS {
        assert_eq!(client.get(path).status(), 500, "{path}");
    }
    let upload = client.ask("POST", "/upload", &[], b"body");
    assert_eq!(client.answer(upload).status(), 500);
    let half = client.ask("GET", "/half", &[], b"");
    let half = client.answer(half);
    assert!(half.is_over() && half.reset.is_some(), "a part is not passed off as the whole");
    assert_eq!(client.get("/well").text(), "well");
    still_well(server, witness);
}
