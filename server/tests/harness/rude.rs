//! Cases of `tests/clients/quic_attacks.py`: a client of aioquic's that does what no client may.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::process::Process;
use super::watch::Watch;
use super::{missing, quic};

pub const FLOW_CONTROL_ERROR: u64 = 0x3;
pub const STREAM_LIMIT_ERROR: u64 = 0x4;
pub const STREAM_STATE_ERROR: u64 = 0x5;
pub const FINAL_SIZE_ERROR: u64 = 0x6;
pub const FRAME_ENCODING_ERROR: u64 = 0x7;
pub const TRANSPORT_PARAMETER_ERROR: u64 = 0x8;
pub const CONNECTION_ID_LIMIT_ERROR: u64 = 0x9;
pub const PROTOCOL_VIOLATION: u64 = 0xa;
pub const CRYPTO_BUFFER_EXCEEDED: u64 = 0xd;
pub const EXCESSIVE_LOAD: u64 = quic::EXCESSIVE_LOAD;

/// No code of the RFC's: the server says nothing more on that connection.
pub const SILENCE: u64 = u64::MAX;
/// TLS alert missing_extension (RFC 9001 section 4.8).
pub const MISSING_EXTENSION: u64 = 0x16d;

/// What memory may grow by.
const CAP: u64 = 16 << 20;

/// Runs the cases of `quic_attacks.py`: for each the code that the server closed with, and whether
/// it went on answering.
pub fn rude(server: &Process, cases: &[&str]) -> Option<HashMap<String, (Option<u64>, bool)>> {
    let Some(python) = std::env::var_os("RINGWAY_TEST_PYTHON") else {
        missing("RINGWAY_TEST_PYTHON, a Python with aioquic");
        return None;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/quic_attacks.py");
    let port = server.at("h3").port().to_string();
    let mut command = Command::new(python);
    command.arg(script).arg(port).args(cases).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let answer = |v: Value| {
        (v["case"].as_str().unwrap().into(), (v["code"].as_u64(), v["alive"].as_bool().unwrap()))
    };
    Some(lines.map(answer).collect())
}

/// Each case must close with one of these codes, or, where there are none, be survived.
pub fn expect(cases: &[(&str, &[u64])]) {
    let server = Process::app_measured("");
    Watch::new(&server, "/hello").during(CAP, || {
        let names: Vec<&str> = cases.iter().map(|(name, _)| *name).collect();
        let Some(answers) = rude(&server, &names) else { return };
        for (name, codes) in cases {
            let (code, alive) = answers[*name];
            let survived = (codes.is_empty() && alive) || (codes.contains(&SILENCE) && !alive);
            let is_expected = code.map_or(survived, |code| codes.contains(&code));
            assert!(is_expected, "{name}: closed with {code:?}, alive {alive}");
        }
        let mut client = quic::H3::connect(server.at("h3"));
        assert_eq!(client.get("/hello").text(), "hello");
    });
}
