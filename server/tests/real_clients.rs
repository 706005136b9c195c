//! Real clients against a real server: curl, nghttp, h2load and wrk over every protocol on TCP.
//! Each trusts the self-signed certificate; none may see an error.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::process::Command;

use harness::process::Process;
use harness::{TempDir, missing, pattern};

fn server() -> (Process, TempDir) {
    let big = pattern(2_000_000);
    let site = TempDir::with(&[("index.html", b"<!doctype html>home"), ("big.bin", &big)]);
    let listeners = ["--https", "127.0.0.1:0", "--h2c", "127.0.0.1:0", "--no-h3"];
    (Process::serve(site.path(), &listeners), site)
}

fn url(server: &Process, kind: &str, path: &str) -> String {
    let address = server.at(kind);
    let scheme = if kind == "https" { "https" } else { "http" };
    format!("{scheme}://{address}{path}")
}

/// A client's output, or `None` if it is not installed. It must succeed.
fn run(program: &str, args: &[&str]) -> Option<String> {
    let Ok(output) = Command::new(program).args(args).output() else {
        missing(program);
        return None;
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {said}");
    Some(said)
}

#[test]
fn curl_gets_files_over_every_protocol() {
    let (server, site) = server();
    let kept = site.path().join("kept");
    let ways = [("http", "--http1.1"), ("http", "--http1.0"), ("https", "--http1.1")];
    let h2 = [("https", "--http2"), ("h2c", "--http2-prior-knowledge")];
    for (kind, version) in ways.iter().chain(&h2) {
        let expected = if version.contains("http2") { "2 200 2000000" } else { "1.1 200 2000000" };
        let format = "%{http_version} %{http_code} %{size_download}";
        let url = url(&server, kind, "/big.bin");
        let out = kept.to_str().unwrap();
        let Some(said) = run("curl", &["-sSk", version, "-o", out, "-w", format, &url]) else {
            return;
        };
        assert!(said == expected, "{kind} {version}: {said}");
        assert!(std::fs::read(&kept).unwrap() == pattern(2_000_000), "{kind} {version}");
    }
}

#[test]
fn curl_heads_ranges_and_revalidates() {
    let (server, _site) = server();
    for kind in ["http", "https"] {
        let url = url(&server, kind, "/big.bin");
        let Some(said) = run("curl", &["-sSk", "-I", &url]) else { return };
        assert!(said.to_lowercase().contains("content-length: 2000000"), "{said}");
        let said = run("curl", &["-sSk", "-r", "10-19", "-w", "%{http_code}", "-o", "-", &url]);
        assert_eq!(said.map(|said| said.ends_with("206") || said.ends_with("200")), Some(true));
    }
}

#[test]
fn nghttp_sees_a_clean_exchange() {
    let (server, _site) = server();
    for kind in ["h2c", "https"] {
        let url = url(&server, kind, "/index.html");
        let Some(said) = run("nghttp", &["-v", "-n", "--no-verify-peer", &url]) else { return };
        assert!(said.contains(":status: 200") && said.contains("recv SETTINGS"), "{said}");
        assert!(!said.contains("GOAWAY frame") || said.contains("NO_ERROR"), "{said}");
    }
}

#[test]
fn h2load_loses_no_request() {
    let (server, _site) = server();
    for kind in ["h2c", "https"] {
        let url = url(&server, kind, "/index.html");
        let Some(said) = run("h2load", &["-n20000", "-c8", "-m64", &url]) else { return };
        assert!(said.contains("20000 succeeded, 0 failed, 0 errored, 0 timeout"), "{kind}: {said}");
    }
}

#[test]
fn wrk_loses_no_request() {
    let (server, _site) = server();
    for kind in ["http", "https"] {
        let url = url(&server, kind, "/index.html");
        let Some(said) = run("wrk", &["-t1", "-c16", "-d3s", "--timeout", "30s", &url]) else {
            return;
        };
        assert!(said.contains(" requests in ") && !said.contains(" 0 requests in"), "{said}");
        assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{kind}: {said}");
    }
}
