//! Prints what criterion measured as one table: our rows, their peers, and the ratios.
//!
//! Reads `target/criterion/GROUP/FUNCTION/new/estimates.json`, wherever `--bench` left it. In every
//! group our functions begin with `ringway`; each other function is a peer. The ratio is the peer's
//! median over ours: 2.00 means that ours takes half the time. Names of groups, or beginnings of
//! them, as arguments restrict the table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    let groups = read(&folder.join("criterion"));
    let mut printed = 0;
    for (group, functions) in &groups {
        if wanted.is_empty() || wanted.iter().any(|name| group.starts_with(name)) {
            print_group(group, functions);
            printed += 1;
        }
    }
    if printed == 0 {
        eprintln!("no estimates in {}: run cargo bench first", folder.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

type Groups = BTreeMap<String, BTreeMap<String, f64>>;

/// Median nanoseconds by group and function.
fn read(criterion: &Path) -> Groups {
    let mut groups = Groups::new();
    for group in folders(criterion) {
        for function in folders(&group) {
            let file = function.join("new/estimates.json");
            let Some(median) = median(&file) else { continue };
            groups.entry(name(&group)).or_default().insert(name(&function), median);
        }
    }
    groups
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn median(file: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(file).ok()?;
    let estimates: serde_json::Value = serde_json::from_str(&text).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}

fn print_group(group: &str, functions: &BTreeMap<String, f64>) {
    let (ours, peers): (Vec<_>, Vec<_>) =
        functions.iter().partition(|(name, _)| name.starts_with("ringway"));
    println!("{group}");
    for (name, nanos) in &peers {
        println!("  {name:24} {nanos:10.1} ns");
    }
    for (name, nanos) in &ours {
        print!("  {name:24} {nanos:10.1} ns");
        for (peer, theirs) in &peers {
            print!("   {:.2} x {peer}", **theirs / **nanos);
        }
        println!();
    }
}
