//! criterion's measurements as tables in Markdown: our rows, their peers, and the ratios.
//!
//! Reads `criterion/GROUP/FUNCTION/new/{benchmark,sample}.json` in the target directory. A function
//! `KIND/NAME` belongs to a table of its own, for its group and kind; our names begin with
//! `ringway`, each other one is a peer. Times are of the fastest sample, which a busy machine
//! disturbs least. The ratio is the peer's time over ours: 2.00 means that ours takes half the
//! time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Nanoseconds by name.
pub type Times = BTreeMap<String, f64>;

/// By benchmark (group and kind), then by function.
pub type Rows = BTreeMap<String, Times>;

/// Reads criterion's results from a directory.
pub fn read(criterion: &Path) -> Rows {
    let mut rows = Rows::new();
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
    Some((row, name.to_string(), nanos))
}

/// A table for each codec.
pub fn tables(rows: &Rows) -> String {
    let codecs: BTreeSet<&str> = rows.keys().map(|row| codec(row)).collect();
    let mut text = String::new();
    for name in codecs {
        let rows = rows.iter().filter(|(row, _)| codec(row) == name);
        let rows: Vec<_> = rows.map(|(row, times)| (row.as_str(), times)).collect();
        let _ = write!(text, "\n{}", table(&rows));
    }
    text
}

/// The prefix of a benchmark's name.
fn codec(row: &str) -> &str {
    row.split([' ', '-']).next().unwrap_or(row)
}

/// One codec's benchmarks: a line for each, and a column for each function measured in any of them.
/// Ours show in brackets the ratio to each peer, in the order of the peers' columns.
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
