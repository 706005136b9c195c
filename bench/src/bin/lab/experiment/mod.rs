//! The experiments. Each takes a promise of a protocol, measures it over the link, prints a table
//! and returns the figures as JSON.

pub(crate) mod bundle;
pub(crate) mod handshake;
pub(crate) mod headers;
pub(crate) mod hol;
pub(crate) mod initcwnd;
pub(crate) mod migration;
pub(crate) mod page;
pub(crate) mod priority;

use crate::client::{Ask, Connection, Got, Protocol, Setup, finish};
use crate::site::Site;
use serde_json::Value;
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The extent of an experiment.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) repeats: usize,
    /// Links that run side by side: most of their time is sleep.
    pub(crate) jobs: usize,
    /// The smallest set that shows the effect.
    pub(crate) quick: bool,
}

/// An experiment: its name, its subject, and its function.
pub(crate) struct Experiment {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Site, Extent) -> io::Result<Value>,
}

pub(crate) const ALL: [Experiment; 8] = [
    page::EXPERIMENT,
    hol::EXPERIMENT,
    handshake::EXPERIMENT,
    headers::EXPERIMENT,
    bundle::EXPERIMENT,
    priority::EXPERIMENT,
    migration::EXPERIMENT,
    initcwnd::EXPERIMENT,
];

pub(crate) fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 100.0
}

/// The middle value; 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[len / 2],
        len => (sorted[len / 2 - 1] + sorted[len / 2]) / 2.0,
    }
}

/// Runs `jobs` pieces of work at a time; returns the results in order. The first failure ends it.
pub(crate) fn in_parallel<W: Send, R: Send>(
    work: Vec<W>,
    jobs: usize,
    body: impl Fn(W) -> io::Result<R> + Sync,
) -> io::Result<Vec<R>> {
    let count = work.len();
    let queue = Mutex::new(work.into_iter().enumerate());
    let results = Mutex::new((0..count).map(|_| None).collect::<Vec<Option<io::Result<R>>>>());
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, count.max(1)) {
            scope.spawn(|| {
                while let Some((at, one)) = next(&queue) {
                    let result = body(one);
                    if let Ok(mut results) = results.lock() {
                        results[at] = Some(result);
                    }
                }
            });
        }
    });
    let results = results.into_inner().map_err(|_| io::Error::other("an experiment panicked"))?;
    let lost = || Err(io::Error::other("an experiment panicked"));
    results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()
}

fn next<T>(queue: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    queue.lock().ok()?.next()
}

/// A connection that has completed its handshake and answered once.
pub(crate) fn opened(protocol: Protocol, setup: &Setup) -> io::Result<[Connection; 1]> {
    let mut one = [Connection::open(protocol, setup)?];
    fetch(&mut one, "/tiny.txt")?;
    Ok(one)
}

/// One request and its answer, which must be a success.
pub(crate) fn fetch(one: &mut [Connection; 1], path: &str) -> io::Result<Got> {
    let mut done = Vec::new();
    one[0].ask(&Ask::new(0, path));
    finish(one, &mut done, 1)?;
    let got = done.swap_remove(0);
    check(&got)?;
    Ok(got)
}

pub(crate) fn check(got: &Got) -> io::Result<()> {
    if matches!(got.status, 200 | 206) {
        return Ok(());
    }
    Err(io::Error::other(format!("request {} was answered with {}", got.tag, got.status)))
}

/// Since `begun`, in milliseconds.
pub(crate) fn since(begun: Instant, got: &Got) -> f64 {
    ms(got.last - begun)
}

/// A table in Markdown, readable in a terminal too.
pub(crate) fn table(title: &str, columns: &[&str], rows: &[Vec<String>]) {
    println!("\n{title}\n");
    println!("| {} |", columns.join(" | "));
    println!("|{}", "---|".repeat(columns.len()));
    for row in rows {
        println!("| {} |", row.join(" | "));
    }
}
