//! The experiments. Each takes what a protocol promises, measures it over the link, prints a table
//! and gives the figures as JSON.

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

/// How much of an experiment to do.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) repeats: usize,
    /// Links that run side by side: most of their time is sleep.
    pub(crate) jobs: usize,
    /// The smallest set that shows something.
    pub(crate) quick: bool,
}

/// What an experiment is: its name, what it shows, and how.
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

/// Does `jobs` pieces of work at a time; the results in their order. The first failure ends it.
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

/// A connection whose handshake is over and that has answered once.
pub(crate) fn opened(protocol: Protocol, setup: &Setup) -> io::Result<[Connection; 1]> {
    let mut one = [Connection::open(protocol, setup)?];
    fetch(&mut one, "/tiny.txt")?;
    Ok(one)
}

/// One request and its answer, which must be a good one.
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

/// A table of Markdown, which is what a terminal shows too.
pub(crate) fn table(title: &str, columns: &[&str], rows: &[Vec<String>]) {
    println!("\n{title}\n");
    println!("| {} |", columns.join(" | "));
    println!("|{}", "---|".repeat(columns.len()));
    for row in rows {
        println!("| {} |", row.join(" | "));
    }
}
