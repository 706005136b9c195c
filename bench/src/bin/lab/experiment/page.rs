//! A page and its resources over fresh connections (E12, C34, D10, D12, A7): the document, then
//! everything that it refers to, as browsers do.

use super::{Experiment, Extent, check, in_parallel, median, ms, table};
use crate::client::{Ask, Connection, Got, Protocol, Setup, finish, step};
use crate::link::Shape;
use crate::site::{Lab, Site, resource};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

pub(crate) const EXPERIMENT: Experiment = Experiment {
    name: "page",
    about: "a page of 10 and of 60 resources at several round trips and losses",
    run,
};

/// 100 Mbit/s: a good line, whose rate matters little at these sizes.
const RATE: u64 = 100_000_000;

/// How a page is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fetch {
    /// One connection for each resource, one after another (RFC 1945).
    OnePer,
    /// Six persistent connections, as in browsers.
    Six,
    H2,
    H3,
}

impl Fetch {
    pub(crate) const ALL: [Self; 4] = [Self::OnePer, Self::Six, Self::H2, Self::H3];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OnePer => "h1, one connection each",
            Self::Six => "h1, 6 connections",
            Self::H2 => "h2",
            Self::H3 => "h3",
        }
    }
}

/// Fetches `first`, then `rest`; every connection is new.
pub(crate) fn load(way: Fetch, setup: &Setup, first: &str, rest: &[String]) -> io::Result<f64> {
    let begun = Instant::now();
    let mut done = Vec::new();
    match way {
        Fetch::OnePer => {
            for path in std::iter::once(first).chain(rest.iter().map(String::as_str)) {
                let mut one = [Connection::open(Protocol::H1, setup)?];
                one[0].ask(&Ask::new(0, path).field("connection", "close"));
                let wanted = done.len() + 1;
                finish(&mut one, &mut done, wanted)?;
            }
        }
        Fetch::Six => six(setup, first, rest, &mut done)?,
        Fetch::H2 | Fetch::H3 => {
            let protocol = if way == Fetch::H2 { Protocol::H2 } else { Protocol::H3 };
            let mut one = [Connection::open(protocol, setup)?];
            one[0].ask(&Ask::new(0, first));
            finish(&mut one, &mut done, 1)?;
            for path in rest {
                one[0].ask(&Ask::new(0, path.as_str()));
            }
            finish(&mut one, &mut done, 1 + rest.len())?;
        }
    }
    let took = begun.elapsed();
    done.iter().try_for_each(check)?;
    Ok(ms(took))
}

/// The document on the first of six connections; each that is free takes the next resource.
fn six(setup: &Setup, first: &str, rest: &[String], done: &mut Vec<Got>) -> io::Result<()> {
    let mut open = vec![Connection::open(Protocol::H1, setup)?];
    open[0].ask(&Ask::new(0, first));
    finish(&mut open, done, 1)?;
    let mut left = rest.iter();
    for _ in 1..6.min(rest.len()) {
        open.push(Connection::open(Protocol::H1, setup)?);
    }
    while done.len() < 1 + rest.len() {
        for connection in open.iter_mut().filter(|connection| connection.under_way() == 0) {
            if let Some(path) = left.next() {
                connection.ask(&Ask::new(0, path.as_str()));
            }
        }
        step(&mut open, done, None)?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Work {
    rtt_ms: f64,
    loss: f64,
    repeat: usize,
}

fn run(site: &Site, extent: Extent) -> io::Result<Value> {
    let rtts: &[f64] = if extent.quick { &[50.0] } else { &[0.0, 20.0, 50.0, 100.0] };
    let losses: &[f64] = if extent.quick { &[0.0] } else { &[0.0, 0.01, 0.02, 0.05] };
    let sizes: &[usize] = if extent.quick { &[10] } else { &[10, 60] };
    let mut work = Vec::new();
    // The slowest first, so that they do not run alone at the end.
    for repeat in 0..extent.repeats {
        for &loss in losses.iter().rev() {
            work.extend(rtts.iter().rev().map(|&rtt_ms| Work { rtt_ms, loss, repeat }));
        }
    }
    let measured = in_parallel(work, extent.jobs, |one| cell(site, one, sizes))?;
    let mut cells: BTreeMap<(usize, u64, u64, Fetch), Vec<f64>> = BTreeMap::new();
    for (one, size, way, took) in measured.into_iter().flatten() {
        let key = (size, one.rtt_ms as u64, (one.loss * 1000.0) as u64, way);
        cells.entry(key).or_default().push(took);
    }
    show(&cells);
    let cells: Vec<Value> = cells
        .iter()
        .map(|((size, rtt_ms, permille, way), ms)| {
            json!({ "resources": size, "rtt_ms": rtt_ms, "loss": *permille as f64 / 1000.0,
                "way": way.name(), "median_ms": median(ms), "ms": ms })
        })
        .collect();
    Ok(json!({ "rate": RATE, "cells": cells }))
}

/// All ways and sizes over one link.
fn cell(site: &Site, one: Work, sizes: &[usize]) -> io::Result<Vec<(Work, usize, Fetch, f64)>> {
    let shape = Shape { rate: Some(RATE), loss: one.loss, ..Shape::of_rtt(one.rtt_ms) };
    let seed = one.repeat as u64 * 1000 + one.rtt_ms as u64 * 10 + (one.loss * 1000.0) as u64;
    let lab = Lab::new(site, shape, seed)?;
    let mut measured = Vec::new();
    for &size in sizes {
        let rest: Vec<String> = (0..size).map(resource).collect();
        for way in Fetch::ALL.into_iter().filter(|way| *way != Fetch::H3 || lab.speaks_h3) {
            // Sixty-one handshakes with losses take minutes and show nothing new.
            if way == Fetch::OnePer && size > 10 && one.loss > 0.0 {
                continue;
            }
            let took = lab.client(|| load(way, &lab.setup, "/page.html", &rest));
            let context = format!("{}, {} ms, loss {}", way.name(), one.rtt_ms, one.loss);
            let took = took.map_err(|error| io::Error::other(format!("{context}: {error}")))?;
            measured.push((one, size, way, took));
        }
    }
    Ok(measured)
}

fn show(cells: &BTreeMap<(usize, u64, u64, Fetch), Vec<f64>>) {
    let rows: Vec<Vec<String>> = cells
        .keys()
        .filter(|key| key.3 == Fetch::Six)
        .map(|&(size, rtt, loss, _)| {
            let time = |way| cells.get(&(size, rtt, loss, way)).map(|ms| median(ms));
            let base = time(Fetch::OnePer).unwrap_or(f64::NAN);
            let mut row =
                vec![size.to_string(), rtt.to_string(), format!("{}", loss as f64 / 10.0)];
            row.extend(Fetch::ALL.map(|way| match time(way) {
                Some(ms) if base.is_nan() => format!("{ms:.0}"),
                Some(ms) => format!("{ms:.0} ({:.2})", ms / base),
                None => "–".into(),
            }));
            row
        })
        .collect();
    let names = Fetch::ALL.map(Fetch::name);
    let columns = [&["resources", "RTT ms", "loss %"][..], &names].concat();
    table("Page load, ms (share of one connection each), medians", &columns, &rows);
}
