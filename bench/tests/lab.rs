//! The lab, run as a person runs it: a page, round trips and first flights over a link of its own.
//! The assertions hold on a busy machine too. Needs root and a TUN device.

#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The figures of a quick run; `None` if the machine allows no links.
fn figures(experiment: &str) -> Option<Value> {
    let lab = env!("CARGO_BIN_EXE_lab");
    let possible = Command::new(lab).args(["run", "--", "true"]).output().unwrap();
    if !possible.status.success() {
        let why = String::from_utf8_lossy(&possible.stderr).trim().to_string();
        // Every tool should be installed, iproute2 too; the device or the rights may be missing.
        let complete = std::env::var_os("RINGWAY_TEST_COMPLETE").is_some();
        let missing = Path::new("/dev/net/tun").exists() && why.contains("No such file");
        assert!(!(complete && missing), "{why}");
        println!("skipped {experiment}: no link: {why}");
        return None;
    }
    let name = format!("ringway-lab-test-{}-{experiment}", std::process::id());
    let results = std::env::temp_dir().join(name);
    let run = Command::new(lab)
        .args([experiment, "--quick", "--repeats", "1", "--results"])
        .arg(&results)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "lab {experiment}: {error}");
    let text = fs::read_to_string(results.join(format!("lab-{experiment}.json"))).unwrap();
    fs::remove_dir_all(&results).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

/// The number `key` of the row where `name` is `value`.
fn number(rows: &Value, name: &str, value: &str, key: &str) -> f64 {
    let row = rows.as_array().unwrap().iter().find(|row| row[name] == value);
    row.unwrap_or_else(|| panic!("no {value} in {rows}"))[key].as_f64().unwrap()
}

/// Row E12.
#[test]
fn a_page_over_h2_takes_at_most_0_6_of_one_connection_each() {
    let Some(found) = figures("page") else { return };
    let time = |way| number(&found["cells"], "way", way, "median_ms");
    let (old, h2) = (time("h1, one connection each"), time("h2"));
    // Eleven connections of three round trips each, one after another.
    assert!(old >= 11.0 * 3.0 * 50.0, "{old} ms");
    assert!(h2 / old <= 0.6, "{h2} ms of {old} ms");
}

/// Row E13.
#[test]
fn handshakes_take_the_round_trips_that_the_protocols_say() {
    let Some(found) = figures("handshake") else { return };
    for (name, round_trips) in [
        ("TCP alone", 1.0),
        ("TCP + TLS 1.2", 3.0),
        ("TCP + TLS 1.2, resumed", 2.0),
        ("TCP + TLS 1.3", 2.0),
    ] {
        let ms = number(&found["rows"], "name", name, "ready_ms");
        assert!(ms >= round_trips * 100.0, "{name}: {ms} ms");
    }
}

/// Row E9.
#[test]
fn the_first_flight_is_what_the_route_says() {
    let Some(found) = figures("initcwnd") else { return };
    let of = |segments: u64, key: &str| {
        let rows = found["rows"].as_array().unwrap();
        let is_it =
            |row: &&Value| row["segments"] == segments && row["protocol"] == "h1 in the clear";
        rows.iter().find(is_it).unwrap()[key].as_f64().unwrap()
    };
    assert_eq!(of(10, "first_flight"), 10.0);
    assert_eq!(of(32, "first_flight"), 28.0, "the whole page");
    assert!(of(10, "page_ms") >= 2.0 * 50.0);
}
