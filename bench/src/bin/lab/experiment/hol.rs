//! Head-of-line blocking (A6, C34): a fast request beside a slow one on one connection, and twenty
//! answers of which one packet is lost.

use super::{Experiment, Extent, check, fetch, median, opened, since, table};
use crate::client::{Ask, Protocol, finish};
use crate::link::{Shape, Way};
use crate::site::{Lab, Site, resource};
use serde_json::{Value, json};
use std::io;
use std::time::Instant;

pub(crate) const EXPERIMENT: Experiment = Experiment {
    name: "hol",
    about: "a fast request beside a slow one, and one lost packet beside many streams",
    run,
};

const RTT_MS: f64 = 50.0;
const STREAMS: usize = 20;

fn run(site: &Site, extent: Extent) -> io::Result<Value> {
    let lab = Lab::new(site, Shape::of_rtt(RTT_MS), 7)?;
    let (mut slow, mut lost) = (Vec::new(), Vec::new());
    for protocol in lab.protocols() {
        let runs: Vec<(f64, f64)> =
            (0..extent.repeats).map(|_| beside_slow(&lab, protocol)).collect::<io::Result<_>>()?;
        let fast_ms = median(&runs.iter().map(|run| run.0).collect::<Vec<_>>());
        let slow_ms = median(&runs.iter().map(|run| run.1).collect::<Vec<_>>());
        slow.push(json!({ "protocol": protocol.name(), "fast_ms": fast_ms, "slow_ms": slow_ms,
            "fast_rtts": fast_ms / RTT_MS }));
        if protocol == Protocol::H1 {
            continue;
        }
        for passed in (0..extent.repeats as u64).map(|repeat| 10 + 7 * repeat) {
            let (mut calm, mut held) = (Vec::new(), Vec::new());
            lab.client(|| many(&lab, protocol, None, &mut calm))?;
            lab.client(|| many(&lab, protocol, Some(passed), &mut held))?;
            let late = held.iter().zip(&calm).filter(|(a, b)| **a > **b + RTT_MS / 2.0).count();
            lost.push(json!({ "protocol": protocol.name(), "passed": passed,
                "late_streams": late, "calm_ms": calm, "ms": held }));
        }
    }
    show(&slow, &lost);
    Ok(json!({ "rtt_ms": RTT_MS, "streams": STREAMS, "slow": slow, "lost": lost }))
}

/// The slow request first, the fast one in the same write: when each was answered.
fn beside_slow(lab: &Lab, protocol: Protocol) -> io::Result<(f64, f64)> {
    lab.client(|| {
        let mut one = opened(protocol, &lab.setup)?;
        let (begun, mut done) = (Instant::now(), Vec::new());
        one[0].ask(&Ask::new(0, "/slow"));
        one[0].ask(&Ask::new(1, "/tiny.txt"));
        finish(&mut one, &mut done, 2)?;
        done.iter().try_for_each(check)?;
        let when =
            |tag| done.iter().find(|got| got.tag == tag).map_or(0.0, |got| since(begun, got));
        Ok((when(1), when(0)))
    })
}

/// Requests many files at once over a connection that is warm enough to send them in one flight;
/// returns when each was complete. One packet is dropped after `passed` others.
fn many(
    lab: &Lab,
    protocol: Protocol,
    passed: Option<u64>,
    times: &mut Vec<f64>,
) -> io::Result<()> {
    let mut one = opened(protocol, &lab.setup)?;
    fetch(&mut one, "/warm.bin")?;
    if let Some(passed) = passed {
        lab.link.drop_after(Way::Down, passed);
    }
    let (begun, mut done) = (Instant::now(), Vec::new());
    for n in 0..STREAMS {
        one[0].ask(&Ask::new(n, resource(n)));
    }
    finish(&mut one, &mut done, STREAMS)?;
    done.iter().try_for_each(check)?;
    done.sort_by_key(|got| got.tag);
    times.extend(done.iter().map(|got| since(begun, got)));
    Ok(())
}

fn show(slow: &[Value], lost: &[Value]) {
    let number = |value: &Value, key: &str| value[key].as_f64().unwrap_or(0.0);
    let text = |value: &Value| value["protocol"].as_str().unwrap_or_default().to_string();
    let rows: Vec<Vec<String>> = slow
        .iter()
        .map(|row| {
            let fast = number(row, "fast_ms");
            vec![
                text(row),
                format!("{fast:.0}"),
                format!("{:.0}", number(row, "slow_ms")),
                format!("{:.2}", number(row, "fast_rtts")),
            ]
        })
        .collect();
    let columns = ["protocol", "fast, ms", "slow, ms", "fast ÷ RTT"];
    table("A fast request behind a slow one, on one connection", &columns, &rows);
    let rows: Vec<Vec<String>> = ["h2", "h3"]
        .into_iter()
        .map(|name| {
            let late = lost.iter().filter(|row| row["protocol"] == name);
            let late: Vec<f64> = late.map(|row| number(row, "late_streams")).collect();
            vec![name.into(), format!("{}", median(&late)), format!("{late:?}")]
        })
        .collect();
    let title = format!("One packet of {STREAMS} answers lost: answers late by half a round trip");
    table(&title, &["protocol", "median", "each run"], &rows);
}
