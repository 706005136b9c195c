//! Date, commit and machine of the measurements.

use std::process::Command;

/// Date, commit and CPU, as printed above the tables.
pub fn line() -> String {
    let date = said("date", &["-u", "+%Y-%m-%d"]);
    let commit = said("git", &["rev-parse", "--short", "HEAD"]);
    format!("Measured {date} at {commit} on {}.", cpu())
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "an unknown place".into())
}

/// Name, family, model and number of CPUs, from Linux.
fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |key: &str| {
        let line =
            text.lines().find(|line| line.split(':').next().is_some_and(|k| k.trim() == key));
        line.and_then(|line| line.split(':').nth(1)).map_or("?", str::trim).to_string()
    };
    let cpus = std::thread::available_parallelism().map_or(0, |count| count.get());
    let (name, family, model) = (value("model name"), value("cpu family"), value("model"));
    format!("{name}, family {family}, model {model}, {cpus} CPUs")
}
