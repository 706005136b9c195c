//! `ringway precompress`: the command-line interface of [`ringway::Precompress`].

use super::options::{Parsed, VerbOption};
use super::{Exit, complain, print};
use ringway::{Precompress, PrecompressReport};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const fn row(name: &'static str, value: &'static str, doc: &'static str) -> VerbOption {
    VerbOption { name, value: Some(value), choices: &[], doc }
}

/// The options of `precompress`, in the order of the help.
pub(crate) const OPTIONS: &[VerbOption] = &[
    row("codings", "LIST", "which files to make: br, zst, gz; all three if not given"),
    row("min-size", "BYTES", "leave smaller files as they are; 1024 if not given"),
    row("jobs", "N", "threads; one for each CPU if not given"),
];

/// How often the progress is shown: on a terminal, and in a log.
const REDRAW: Duration = Duration::from_millis(100);
const LINE: Duration = Duration::from_secs(10);

pub(crate) fn run(parsed: &Parsed) -> Exit {
    let root = parsed.operand().unwrap_or(".");
    let work = match plan(parsed, root) {
        Ok(work) => work,
        Err(message) => {
            complain(&message);
            return Exit::Usage;
        }
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Without it a signal ends the process at once, which leaves a hidden file behind.
        let _ = signal_hook::flag::register(signal, Arc::clone(&stop));
    }
    let shown = Shown::new();
    let started = Instant::now();
    let report = match work.run_until(&stop, |report| shown.show(report)) {
        Ok(report) => report,
        Err(error) => {
            complain(&format!("{root}: {error}"));
            return Exit::Failed;
        }
    };
    shown.clear();
    for line in &report.failed {
        complain(line);
    }
    let stopped = stop.load(Ordering::Relaxed);
    let end = print(&summary(&report, started.elapsed(), stopped));
    if report.failed.is_empty() && !stopped { end } else { Exit::Failed }
}

fn plan(parsed: &Parsed, root: &str) -> Result<Precompress, String> {
    let mut work = Precompress::new(root);
    for (name, value) in &parsed.own {
        let number = || {
            value.parse::<u64>().map_err(|_| format!("`--{name}` wants a number, found `{value}`"))
        };
        work = match *name {
            "codings" => work
                .codings(value.split(',').map(str::trim))
                .map_err(|other| format!("`--codings` is of br, zst and gz, found `{other}`"))?,
            "min-size" => work.min_size(number()?),
            _ => match usize::try_from(number()?) {
                Ok(jobs @ 1..=1024) => work.threads(jobs),
                _ => return Err(format!("`--{name}` is 1 to 1024, found `{value}`")),
            },
        };
    }
    Ok(work)
}

fn summary(report: &PrecompressReport, took: Duration, stopped: bool) -> String {
    let PrecompressReport { written, fresh, not_smaller, bytes_in, bytes_out, .. } = *report;
    let stopped = if stopped { "stopped: " } else { "" };
    let mut text = format!("{stopped}{written} written");
    if written > 0 {
        text += &format!(" ({} became {})", bytes(bytes_in), bytes(bytes_out));
    }
    text += &format!(", {fresh} fresh, {not_smaller} would not be smaller");
    if !report.failed.is_empty() {
        text += &format!(", {} failed", report.failed.len());
    }
    text + &format!(", in {:.1} s\n", took.as_secs_f64())
}

/// A size for people.
fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} B"),
        10_000..10_000_000 => format!("{:.1} KiB", n as f64 / 1024.0),
        _ => format!("{:.1} MiB", n as f64 / 1024.0 / 1024.0),
    }
}

/// The progress on standard error: one line that is drawn again on a terminal, else a line now and
/// then.
struct Shown {
    terminal: bool,
    last: Mutex<Instant>,
}

impl Shown {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), last: Mutex::new(Instant::now()) }
    }

    fn show(&self, report: &PrecompressReport) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() < if self.terminal { REDRAW } else { LINE } {
            return;
        }
        *last = Instant::now();
        let (start, end) = if self.terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        let PrecompressReport { total, written, bytes_in, .. } = report;
        let done = report.done();
        let _ = write!(
            std::io::stderr(),
            "{start}{done} of {total}, {written} written from {}{end}",
            bytes(*bytes_in)
        );
    }

    /// Takes the line away.
    fn clear(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
