//! The arena application answers what the public benchmark asks for, endpoint by endpoint, over
//! HTTP/1.1. The dataset and the static files are third-party data beside the repository; where
//! they are absent, the tests that need them are reported as skipped.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../server/tests/harness/mod.rs"]
mod harness;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::client::Client;
use harness::process::Process;
use serde_json::Value;

fn data() -> Option<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/httparena");
    let there = data.join("dataset.json").is_file();
    if !there {
        println!("skipped: the dataset and the static files are not there");
    }
    there.then_some(data)
}

fn arena(data: Option<&Path>) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
    command.args(["--http", "127.0.0.1:0", "--h2c", "127.0.0.1:0", "--workers", "1"]);
    if let Some(data) = data {
        command.arg("--data").arg(data);
    }
    Process::start(&mut command)
}

fn get(client: &mut Client, target: &str) -> String {
    let response = client.get(target);
    assert_eq!(response.status, 200, "{target}");
    response.text().to_owned()
}

#[test]
fn baseline_and_pipeline() {
    let server = arena(None);
    let mut client = server.client();
    let response = client.get("/baseline11?a=13&b=42");
    assert_eq!(response.text(), "55");
    assert_eq!(response.field("content-type"), Some("text/plain"));
    assert_eq!(get(&mut client, "/baseline2?a=1&b=1"), "2");
    let response = client.request("POST", "/baseline11?a=13&b=42", "Content-Length: 2\r\n", b"20");
    assert_eq!(response.text(), "75");
    let chunked = "Transfer-Encoding: chunked\r\n";
    let response =
        client.request("POST", "/baseline11?a=13&b=42", chunked, b"2\r\n20\r\n0\r\n\r\n");
    assert_eq!(response.text(), "75");
    let batch = "GET /pipeline HTTP/1.1\r\nHost: test\r\n\r\n".repeat(16);
    client.send(batch);
    for _ in 0..16 {
        assert_eq!(client.response("GET").text(), "ok");
    }
}

#[test]
fn root_echo_cookies_upload_and_the_mebibyte() {
    let server = arena(None);
    let mut client = server.client();
    assert_eq!(get(&mut client, "/"), "OK");
    assert_eq!(client.request("DELETE", "/", "", b"").text(), "OK");
    assert_eq!(client.request("POST", "/", "Content-Length: 5\r\n", b"hello").text(), "hello");
    let response = client.request("PUT", "/echo", "X-One: 1\r\nX-Two: two words\r\n", b"");
    assert_eq!(response.text(), "Host: test\nX-One: 1\nX-Two: two words\n");
    let response = client.request("GET", "/cookie", "Cookie: a=1; b=2\r\nCookie: c=3\r\n", b"");
    assert_eq!(response.text(), "a=1\nb=2\nc=3\n");
    let mebibyte = client.get("/1m.bin").body;
    assert_eq!(mebibyte.len(), 1 << 20);
    assert_eq!(mebibyte, client.get("/1m.bin").body, "the same each time");
    let body = harness::pattern(20 << 20);
    let fields = format!("Content-Length: {}\r\n", body.len());
    assert_eq!(client.request("POST", "/upload", &fields, &body).text(), "20971520");
}

#[test]
fn json_with_totals_plain_and_compressed() {
    let Some(data) = data() else { return };
    let server = arena(Some(&data));
    let mut client = server.client();
    let text = fs::read_to_string(data.join("dataset.json")).unwrap();
    let dataset: Vec<Value> = serde_json::from_str(&text).unwrap();
    for (count, m) in [(1, 1), (12, 3), (50, 7)] {
        let target = format!("/json/{count}?m={m}");
        let response = client.get(&target);
        assert_eq!(response.field("content-type"), Some("application/json"));
        assert!(response.field("content-encoding").is_none());
        let plain: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(plain["count"], count);
        assert_eq!(plain["items"].as_array().unwrap().len(), count as usize);
        for (item, source) in plain["items"].as_array().unwrap().iter().zip(&dataset) {
            let number = |name: &str| source[name].as_u64().unwrap();
            let mut expected = source.clone();
            expected["total"] = (number("price") * number("quantity") * m).into();
            assert_eq!(*item, expected);
        }
        let response = client.request("GET", &target, "Accept-Encoding: gzip, br\r\n", b"");
        assert_eq!(response.field("content-encoding"), Some("gzip"));
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&response.body[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&unpacked).unwrap(), plain);
    }
    assert_eq!(client.get("/json/0").status, 404);
    assert_eq!(client.get("/json/51").status, 404);
}

#[test]
fn static_files_and_their_compressed_forms() {
    let Some(data) = data() else { return };
    let server = arena(Some(&data));
    let mut client = server.client();
    for (name, kind) in [
        ("app.js", "text/javascript"),
        ("reset.css", "text/css"),
        ("hero.webp", "image/webp"),
        ("logo.svg", "image/svg+xml"),
        ("manifest.json", "application/json"),
    ] {
        let disk = |suffix: &str| fs::read(data.join("static").join(format!("{name}{suffix}")));
        let target = format!("/static/{name}");
        let response = client.get(&target);
        assert_eq!((response.status, response.body == disk("").unwrap()), (200, true), "{name}");
        assert!(response.field("content-type").unwrap().starts_with(kind), "{name}");
        for (coding, suffix) in [("br", ".br"), ("gzip", ".gz")] {
            let fields = format!("Accept-Encoding: {coding}\r\n");
            let response = client.request("GET", &target, &fields, b"");
            let (coded, expected) = match disk(suffix) {
                Ok(packed) => (Some(coding), packed),
                Err(_) => (None, disk("").unwrap()),
            };
            assert_eq!(response.field("content-encoding"), coded, "{name} {coding}");
            assert!(response.body == expected, "{name} {coding}");
        }
    }
}
