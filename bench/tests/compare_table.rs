//! The comparison tables in README.md and bench/README.md match the measurements: each is made from
//! the JSON that it names, and carries that file's hash.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

#[test]
fn the_tables_of_the_comparison_are_those_of_its_json() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let run = Command::new("python3").arg(root.join("bench/compare.py")).arg("--check").output();
    let Ok(done) = run else {
        assert!(std::env::var_os("RINGWAY_TEST_COMPLETE").is_none(), "python3 is missing");
        println!("skipped: python3 is missing");
        return;
    };
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
