//! The client's address changes in the middle of a download (RFC 9000 section 9): QUIC continues;
//! TCP must reconnect and request the rest.

use super::{Experiment, Extent, check, median, ms, table};
use crate::client::{Ask, Connection, Got, Protocol, step};
use crate::link::Shape;
use crate::site::{IMAGE, Lab, Site};
use serde_json::{Value, json};
use std::io;
use std::time::{Duration, Instant};

pub(crate) const EXPERIMENT: Experiment = Experiment {
    name: "migration",
    about: "a download of 10 MB whose client gets another address half-way",
    run,
};

const RTT_MS: f64 = 50.0;
const RATE: u64 = 40_000_000;
/// A client that has received nothing for this long reconnects.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes after which the address changes.
const AFTER: u64 = 4 << 20;

struct Download {
    took_ms: f64,
    /// The longest time without content after the change.
    gap_ms: f64,
    connections: usize,
}

fn run(site: &Site, extent: Extent) -> io::Result<Value> {
    let repeats = extent.repeats.min(3);
    let (mut found, mut rows) = (Vec::new(), Vec::new());
    for protocol in [Protocol::H1, Protocol::H2, Protocol::H3] {
        for moves in [false, true] {
            let mut runs = Vec::new();
            for repeat in 0..repeats {
                let shape = Shape { rate: Some(RATE), ..Shape::of_rtt(RTT_MS) };
                let lab = Lab::new(site, shape, 19 + repeat as u64)?;
                if protocol == Protocol::H3 && !lab.speaks_h3 {
                    continue;
                }
                runs.push(lab.client(|| download(&lab, protocol, moves))?);
            }
            if runs.is_empty() {
                continue;
            }
            let of =
                |pick: fn(&Download) -> f64| median(&runs.iter().map(pick).collect::<Vec<_>>());
            let (took_ms, gap_ms) = (of(|run| run.took_ms), of(|run| run.gap_ms));
            let connections = of(|run| run.connections as f64);
            rows.push(vec![
                protocol.name().into(),
                if moves { "moves" } else { "stays" }.into(),
                format!("{took_ms:.0}"),
                format!("{gap_ms:.0}"),
                format!("{connections}"),
            ]);
            found.push(json!({ "protocol": protocol.name(), "moves": moves, "took_ms": took_ms,
                "gap_ms": gap_ms, "connections": connections }));
        }
    }
    let columns = ["protocol", "client", "download, ms", "longest pause, ms", "connections"];
    table("10 MB over 40 Mbit/s and 50 ms; the client's address changes at 4 MB", &columns, &rows);
    Ok(json!({ "rtt_ms": RTT_MS, "rate": RATE, "rows": found }))
}

/// Downloads the image over as many connections as needed.
fn download(lab: &Lab, protocol: Protocol, moves: bool) -> io::Result<Download> {
    let (begun, mut have, mut connections) = (Instant::now(), 0, 0);
    let (mut has_moved, mut gap, mut last) = (!moves, 0.0_f64, None);
    while have < IMAGE as u64 {
        connections += 1;
        if connections > 3 {
            return Err(io::Error::other("three connections do not do"));
        }
        let (mut one, opened) = ([Connection::open(protocol, &lab.setup)?], Instant::now());
        let range = format!("bytes={have}-");
        one[0].ask(&Ask::new(0, "/image.jpg").field("range", range));
        let mut done: Vec<Got> = Vec::new();
        let before = have;
        while done.is_empty() {
            let quiet = last.unwrap_or(opened).max(opened) + PATIENCE;
            let mut end = step(&mut one, &mut done, Some(quiet));
            if done.is_empty() && Instant::now() >= quiet {
                end = Err(io::ErrorKind::ConnectionAborted.into());
            }
            if before + one[0].content() > have {
                have = before + one[0].content();
                gap = last
                    .filter(|_| has_moved)
                    .map_or(gap, |last: Instant| gap.max(ms(last.elapsed())));
                last = Some(Instant::now());
            }
            if !has_moved && have > AFTER {
                has_moved = true;
                lab.link.rebind();
            }
            match end {
                // TCP's answer to an unknown address.
                Err(error) if is_broken(&error) => break,
                other => other?,
            }
        }
        done.iter().try_for_each(check)?;
    }
    Ok(Download { took_ms: ms(begun.elapsed()), gap_ms: gap, connections })
}

fn is_broken(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}
