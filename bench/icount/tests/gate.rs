//! The gate: fails if a codec takes over 3 % more instructions than recorded in `record.csv`.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::process::Command;

#[test]
fn no_count_grew() {
    // Only the shipped build matters, so the release build is counted, whatever profile this test
    // was built in.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["run", "--quiet", "--release", "-p", "ringway-icount"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
