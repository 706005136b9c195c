//! Prints what criterion measured as tables in Markdown: our rows, their peers, and the ratios.
//!
//! Reads `target/criterion/GROUP/FUNCTION/new/{benchmark,sample}.json`, wherever `cargo bench`
//! left them. A function `KIND/NAME` belongs to a table of its own, for its group and kind; our
//! names begin with `ringway`, each other one is a peer. Times are of the fastest sample, which a
//! busy machine disturbs least. The ratio is the peer's time over ours: 2.00 means that ours takes
//! half of it. Names of groups, or beginnings of them, as arguments
//! restrict what is printed. The date and the CPU stand above it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    let mut rows = read(&folder.join("criterion"));
    rows.retain(|row, _| wanted.is_empty() || wanted.iter().any(|name| row.starts_with(name)));
    if rows.is_empty() {
        eprintln!("no estimates in {}: run cargo bench first", folder.display());
        return ExitCode::FAILURE;
    }
    println!("Measured {} on {}.", date(), cpu());
    let codecs: BTreeSet<&str> = rows.keys().map(|row| codec(row)).collect();
    for name in codecs {
        let rows = rows.iter().filter(|(row, _)| codec(row) == name);
        print!("\n{}", table(&rows.map(|(row, times)| (row.as_str(), times)).collect::<Vec<_>>()));
    }
    ExitCode::SUCCESS
}

/// Nanoseconds by name.
type Times = BTreeMap<String, f64>;

/// By benchmark, which is group and kind, and by function.
fn read(criterion: &Path) -> BTreeMap<String, Times> {
    let mut rows: BTreeMap<String, Times> = BTreeMap::new();
    for function in folders(criterion).iter().flat_map(|group| folders(group)) {
        let Some((row, name, nanos)) = estimate(&function.join("new")) else { continue };
        rows.entry(row).or_default().insert(name, nanos);
    }
    rows
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn estimate(folder: &Path) -> Option<(String, String, f64)> {
    let json = |file: &str| -> Option<serde_json::Value> {
        serde_json::from_str(&std::fs::read_to_string(folder.join(file)).ok()?).ok()
    };
    let benchmark = json("benchmark.json")?;
    let group = benchmark["group_id"].as_str()?;
    let function = benchmark["function_id"].as_str()?;
    let (row, name) = match function.split_once('/') {
        Some((kind, name)) => (format!("{group} {kind}"), name),
        None => (group.to_string(), function),
    };
    let sample = json("sample.json")?;
    let numbers = |key: &str| sample[key].as_array().into_iter().flatten();
    let each = numbers("times").zip(numbers("iters"));
    let nanos = each.filter_map(|(time, count)| Some(time.as_f64()? / count.as_f64()?));
    let nanos = nanos.min_by(f64::total_cmp)?;
    Some((row, name.replace("ringway-", "ringway "), nanos))
}

/// What a benchmark's name begins with.
fn codec(row: &str) -> &str {
    row.split([' ', '-']).next().unwrap_or(row)
}

/// One codec's benchmarks: a line for each, a column for whatever was measured in any of them. Ours
/// have, in brackets, the ratio to each peer, in the order of the peers' columns.
fn table(rows: &[(&str, &Times)]) -> String {
    let names: BTreeSet<&String> = rows.iter().flat_map(|(_, times)| times.keys()).collect();
    let (ours, peers): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| name.starts_with("ringway"));
    let mut text = String::from("| ns |");
    peers.iter().chain(&ours).for_each(|name| _ = write!(text, " {name} |"));
    text += "\n|---|";
    text += &"---|".repeat(peers.len() + ours.len());
    text += "\n";
    for (row, times) in rows {
        let _ = write!(text, "| {row} |");
        for name in &peers {
            text += &times.get(*name).map_or(" |".into(), |nanos| format!(" {nanos:.1} |"));
        }
        for name in &ours {
            let Some(nanos) = times.get(*name) else {
                text += " |";
                continue;
            };
            let ratio = |peer: &&String| Some(format!("{:.2}", times.get(*peer)? / nanos));
            let ratios: Vec<String> = peers.iter().filter_map(ratio).collect();
            let _ = write!(text, " {nanos:.1}");
            if !ratios.is_empty() {
                let _ = write!(text, " ({})", ratios.join(", "));
            }
            text += " |";
        }
        text += "\n";
    }
    text
}

fn date() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    text.unwrap_or_else(|_| "on an unknown day".into())
}

/// Name, family, model and number of CPUs, as Linux tells them.
fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |key: &str| {
        let line =
            text.lines().find(|line| line.split(':').next().is_some_and(|k| k.trim() == key));
        line.and_then(|line| line.split(':').nth(1)).map_or("?", str::trim).to_string()
    };
    let cpus = std::thread::available_parallelism().map_or(0, |count| count.get());
    format!(
        "{}, family {}, model {}, {cpus} CPUs",
        value("model name"),
        value("cpu family"),
        value("model")
    )
}
