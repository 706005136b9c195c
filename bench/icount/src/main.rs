//! Counts the instructions of each codec, and of the server around it, for one unit of work, and
//! compares them with the record.
//!
//! Wall time on shared machines drifts by a factor of two; instruction counts change only with the
//! code or the compiler. So they are the gate: `record.csv` holds one count per row and backend,
//! and a count that grows by more than 3 % fails unless the record changes in the same commit
//! (`cargo run --release -p ringway-icount -- --record`). Counted by callgrind as the difference
//! between 2 N and N units, so setup does not count. callgrind 3.19 supports AVX2 but not AVX-512,
//! so scalar, sse and avx2 are gated. A new row is a line in `rows`.
//!
//! Without arguments: count and compare. `--record`: count and write the record. `run ROW BACKEND
//! N`: do the work N times (run under callgrind). Names of rows, or prefixes of them, select rows.
//! Those of the server need the feature `server`.

#[path = "../../peers/lists.rs"]
mod lists;
mod pack;
mod rows;
#[cfg(feature = "server")]
mod server;

use ringway_codec::scan::Backend;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// The gate fails on growth beyond this fraction.
const TOLERANCE: f64 = 0.03;
/// Units of work in the shorter of the two runs.
const UNITS: u64 = 200;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args[..] {
        ["run", row, backend, units] => run(row, backend, units),
        ["--record", ref names @ ..] => count(names).and_then(|counts| record(&counts)),
        ref names => count(names).and_then(|counts| compare(&counts, names)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Skipped(why)) => {
            println!("skipped: instruction counts: {why}");
            ExitCode::SUCCESS
        }
        Err(Stop::Failed(why)) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

enum Stop {
    Skipped(String),
    Failed(String),
}

type Counts = BTreeMap<(String, String), u64>;

fn failed(why: impl ToString) -> Stop {
    Stop::Failed(why.to_string())
}

fn run(row: &str, backend: &str, units: &str) -> Result<(), Stop> {
    let backend = Backend::from_name(backend).ok_or_else(|| failed("no such backend here"))?;
    let units: u64 = units.parse().map_err(failed)?;
    let found = rows::ROWS.iter().find(|(name, _)| *name == row);
    let (_, prepare) = found.ok_or_else(|| failed("no such row"))?;
    let mut work = prepare(backend);
    for _ in 0..units {
        work();
    }
    Ok(())
}

fn count(names: &[&str]) -> Result<Counts, Stop> {
    let valgrind = Command::new("valgrind").arg("--version").output();
    if !valgrind.is_ok_and(|output| output.status.success()) {
        return Err(Stop::Skipped("valgrind is not installed".into()));
    }
    let mut counts = Counts::new();
    let backends: Vec<_> = Backend::available().filter(|b| b.name() != "avx512").collect();
    for &backend in &backends {
        for (row, _) in rows::ROWS {
            // A server takes the best that it detects; under callgrind that is the best of these.
            if row.starts_with("server") && Some(&backend) != backends.last() {
                continue;
            }
            if names.is_empty() || names.iter().any(|name| row.starts_with(name)) {
                let (once, twice) =
                    (executed(row, backend, UNITS)?, executed(row, backend, 2 * UNITS)?);
                counts.insert((row.to_string(), backend.to_string()), (twice - once) / UNITS);
            }
        }
    }
    Ok(counts)
}

/// Instructions of one whole run: callgrind's total.
fn executed(row: &str, backend: Backend, units: u64) -> Result<u64, Stop> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().map_err(failed)?)
        .args(["run", row, backend.name(), &units.to_string()])
        .output()
        .map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stderr);
    let total = text.lines().find_map(|line| line.split("Collected : ").nth(1));
    match total.and_then(|total| total.trim().parse().ok()) {
        Some(total) if output.status.success() => Ok(total),
        _ => Err(failed(format!("{row} on {backend} under valgrind:\n{text}"))),
    }
}

fn record(counts: &Counts) -> Result<(), Stop> {
    let mut whole = recorded().map(|(_, counts)| counts).unwrap_or_default();
    whole.extend(counts.iter().map(|(key, count)| (key.clone(), *count)));
    let mut text = format!("# {}\nrow,backend,instructions\n", compiler());
    for ((row, backend), count) in &whole {
        let _ = writeln!(text, "{row},{backend},{count}");
    }
    std::fs::write(record_file(), text).map_err(failed)
}

fn compare(counts: &Counts, names: &[&str]) -> Result<(), Stop> {
    let (by, recorded) = recorded().ok_or_else(|| failed("there is no record: run --record"))?;
    if by != compiler() {
        let why = format!("recorded with {by}, this is {}: compare after --record", compiler());
        return Err(Stop::Skipped(why));
    }
    let mut grown = 0;
    println!("{:24} {:8} {:>9} {:>9}", "row", "backend", "recorded", "now");
    for ((row, backend), &now) in counts {
        let before = recorded.get(&(row.clone(), backend.clone())).copied().unwrap_or(0);
        let change = now as f64 / before as f64 - 1.0;
        let word = match change {
            _ if before == 0 => "not in the record",
            _ if change > TOLERANCE => "GREW",
            _ if change < -TOLERANCE => "less: record it",
            _ => "",
        };
        grown += usize::from(before == 0 || change > TOLERANCE);
        println!("{row:24} {backend:8} {before:9} {now:9} {:+6.1} %  {word}", change * 100.0);
    }
    let is_built = |row: &str| cfg!(feature = "server") || !row.starts_with("server");
    let gone = recorded.keys().filter(|key| is_built(&key.0) && !counts.contains_key(*key)).count();
    if names.is_empty() && gone != 0 {
        println!("{gone} recorded counts have no row any more, or no backend here");
    }
    match grown {
        0 => Ok(()),
        _ => Err(failed(format!("{grown} counts grew by more than 3 %, or are not recorded"))),
    }
}

/// The compiler that made the record, and its counts.
fn recorded() -> Option<(String, Counts)> {
    let text = std::fs::read_to_string(record_file()).ok()?;
    let mut lines = text.lines();
    let by = lines.next()?.strip_prefix("# ")?.to_string();
    let counts = lines.filter_map(|line| {
        let mut cells = line.split(',');
        let key = (cells.next()?.to_string(), cells.next()?.to_string());
        Some((key, cells.next()?.parse().ok()?))
    });
    Some((by, counts.collect()))
}

fn record_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("record.csv")
}

/// Counts are comparable within one compiler only.
fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    text.unwrap_or_else(|_| "an unknown rustc".into())
}
