//! RFC 9113 conformance, judged by httpwg, an independent test suite.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::path::Path;
use std::process::Command;

use harness::missing;
use harness::process::Process;

/// Runs the suite; its output, or `None` if it is not installed.
fn judge(server: &Process) -> Option<String> {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/bin/httpwg");
    let tool = std::env::var_os("RINGWAY_TEST_HTTPWG").map_or(tool, Into::into);
    let address = server.at("h2c").to_string();
    // Its own bounds on time are for idle machines.
    let patience = ["--connect-timeout", "10000", "--frame-timeout", "10000"];
    let mut command = Command::new(tool);
    command.args(["--address", &address]).args(patience).env("RUST_LOG", "error");
    let output = command.output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&said).into_owned())
}

fn passes(server: &Process) {
    let Some(said) = judge(server) else { return missing("httpwg") };
    let failed: Vec<_> = said.lines().filter(|line| line.contains("Test failed")).collect();
    assert!(failed.is_empty(), "{failed:#?}\n{said}");
    let passed = said.lines().filter(|line| line.contains("Test passed")).count();
    assert!(passed > 100 && !said.contains("panicked"), "{passed} passed:\n{said}");
    println!("{passed} tests of httpwg passed");
}

#[test]
fn httpwg_finds_no_fault_in_an_application() {
    passes(&Process::app_on("h2c", ""));
}
