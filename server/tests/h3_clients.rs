//! HTTP/3 with other clients: aioquic, niquests, and curl without HTTP/3. Rows D1, D5, D7 to D9 and
//! E1 to E3 of the feature list.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::path::Path;
use std::process::{Command, Stdio};

use harness::h2::H2;
use harness::process::{Process, RINGWAY};
use harness::quic::H3;
use harness::{TempDir, app_h2, missing, pattern};
use serde_json::{Value, json};

fn sum(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Output of a script for servers at these ports; `None` without Python for it.
fn python(script: &str, ports: &[u16]) -> Option<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let mut command = Command::new(std::env::var_os("RINGWAY_TEST_PYTHON")?);
    command.arg(script).args(ports.iter().map(u16::to_string));
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    Some(serde_json::from_str(&said).unwrap())
}

/// D1, D5, D7, D8, C29 by aioquic.
#[test]
fn d1_d5_d7_d8_by_aioquic() {
    let server = Process::app_measured("");
    let Some(said) = python("h3_clients.py", &[server.at("h3").port()]) else {
        return missing("RINGWAY_TEST_PYTHON, a Python with aioquic");
    };
    assert_eq!(said["first"], json!(["200", "hello"]));
    for what in ["echo", "many", "fields"] {
        assert_eq!(said[what], true, "{what}");
    }
    assert_eq!(said["hints"], json!(["103", "200"]));
    assert_eq!(said["sum"], sum(&app_h2::bytes(1000)));
    // D7: both kinds of move, each in the middle of a download.
    assert_eq!(said["by will"], sum(&app_h2::bytes(4000)));
    assert_eq!(said["by a NAT"], sum(&app_h2::bytes(4000)));
    assert!(server.metric("ringway_quic_migrations_total") >= 2);
    // D8: the table is used.
    let sections: Vec<u64> =
        said["sections"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    assert!(sections[1] <= 20 && said["inserts"].as_u64().unwrap() > 0, "{said}");
    // D5: early data is taken, but no POST.
    assert_eq!(said["early"], json!([true, "hello"]));
    assert_eq!(said["early_post"], "425");
}

fn site() -> TempDir {
    TempDir::with(&[("index.html", b"home")])
}

fn serve(site: &TempDir, more: &[&str]) -> Command {
    let mut command = Command::new(RINGWAY.unwrap());
    command.arg("serve").arg(site.path()).args(["--http", "127.0.0.1:0", "--workers", "1"]);
    command.args(more);
    command
}

/// Output of curl; `None` if it is not installed.
fn curl(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("curl");
    let Ok(output) = command.arg("-sk").args(arguments).stdin(Stdio::null()).output() else {
        missing("curl");
        return None;
    };
    Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// E1, E2: one process speaks all three, HTTP/2 and HTTP/3 on ports of one number.
#[test]
fn e1_e2_three_versions_and_the_way_back() {
    let site = site();
    let server = Process::start(&mut serve(&site, &["--https", "127.0.0.1:0"]));
    server.wait_for("http,https,h3");
    let at = server.at("https");
    assert_eq!(server.address("h3"), Some(at));
    assert_eq!(server.client().get("/").text(), "home");
    assert_eq!(H2::tls(at).get("/").text(), "home");
    assert_eq!(H3::connect(at).get("/").text(), "home");
    let url = format!("https://localhost:{}/", at.port());
    for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let Some(said) = curl(&[option, "-w", " %{http_version}", &url]) else { return };
        assert_eq!(said, format!("home {version}"));
    }
}

/// D1, E2, E3 with niquests and its qh3: it finds HTTP/3 by Alt-Svc, and falls back if a server has
/// none.
#[test]
fn d1_e2_e3_by_niquests() {
    let site = site();
    let big = pattern(2_000_000);
    site.write("big.bin", &big);
    let serve = |more: &[&str]| {
        let options = [&["--https", "127.0.0.1:0"], more].concat();
        let server = Process::start(&mut serve(&site, &options));
        server.wait_for("https");
        server
    };
    let (server, without) = (serve(&[]), serve(&["--no-h3"]));
    server.wait_for("h3");
    let port = |server: &Process| server.at("https").port();
    let Some(said) = python("h3_niquests.py", &[port(&server), port(&without)]) else {
        return missing("RINGWAY_TEST_PYTHON, a Python with niquests");
    };
    let sum = sum(&big);
    assert_eq!(said["offered"], json!([[20, 30, 30], sum]));
    assert_eq!(said["known"], json!([vec![30; 20], sum]));
    assert_eq!(said["none"], 404);
    assert_eq!(said["wrong"], json!([[20, 20], sum]));
    assert_eq!(said["two"], json!([[20, 20], sum]));
    assert_eq!(said["one"], json!([[11, 11], sum]));
}

/// E2, E3: curl, which has no HTTP/3 here, keeps to HTTP/2 and notes the offer in its own file.
#[test]
fn e2_e3_curl_notes_the_offer_and_keeps_to_http2() {
    let site = site();
    let kept = TempDir::new();
    let file = kept.path().join("offers");
    let server = Process::start(&mut serve(&site, &["--https", "127.0.0.1:0"]));
    server.wait_for("https,h3");
    let at = server.at("https");
    let url = format!("https://localhost:{}/", at.port());
    let ask = || curl(&["--alt-svc", file.to_str().unwrap(), "-w", " %{http_version}", &url]);
    let noted = || std::fs::read_to_string(&file).unwrap();
    let offer = format!("h2 localhost {0} h3 localhost {0} ", at.port());
    for _ in 0..2 {
        let Some(said) = ask() else { return };
        assert_eq!(said, "home 2");
        assert!(noted().contains(&offer), "{}", noted());
    }
}
