//! The lifecycle of a stream. The same difficult cases run over HTTP/1.1, HTTP/2 and HTTP/3 of real
//! servers, and each answer is compared with the RFC: status, fields, text, end, whether the
//! connection stays, counters, access log, and what the handler saw. The table is in `table/`, one
//! row per case. Unavoidable differences between protocols are listed in `differences.rs` with the
//! reason, and must occur.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "modules of a test have nobody outside")]

mod harness;

#[path = "lifecycle/app.rs"]
mod app;
#[path = "lifecycle/client.rs"]
mod client;
#[path = "lifecycle/differences.rs"]
mod differences;
#[path = "lifecycle/h1.rs"]
mod h1;
#[path = "lifecycle/h2.rs"]
mod h2;
#[path = "lifecycle/h3.rs"]
mod h3;
#[path = "lifecycle/row.rs"]
mod row;
#[path = "lifecycle/run.rs"]
mod run;
#[path = "lifecycle/served.rs"]
mod served;
#[path = "lifecycle/table/mod.rs"]
mod table;

use std::collections::BTreeSet;
use std::thread;

use client::Over;
use differences::{Ledger, all};

/// Rows A13 and E16.
#[test]
fn every_protocol_gives_the_answer_of_the_rfc() {
    let names: BTreeSet<&str> = table::rows().iter().map(|row| row.name).collect();
    assert!(names.len() >= 40 && names.len() == table::rows().len(), "a name for each row");
    let listed = all().flat_map(|known| known.rows);
    let unknown: Vec<_> = listed.filter(|row| !names.contains(*row)).collect();
    assert!(unknown.is_empty(), "no such row: {unknown:?}");
    let runs = Over::ALL.map(|over| thread::spawn(move || run::every_row(over)));
    let outcomes = runs.map(|run| run.join().unwrap());
    let mut ledger = Ledger::default();
    for outcome in outcomes.iter().flatten() {
        ledger.compare(outcome);
    }
    let [h1, h2, h3] = &outcomes;
    for ((h1, h2), h3) in h1.iter().zip(h2).zip(h3) {
        ledger.same_fields([h1, h2, h3]);
    }
    let wrong = ledger.finish();
    println!("{} rows, {} answers", names.len(), outcomes.iter().map(Vec::len).sum::<usize>());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
