//! Urgent CSS behind a large image (RFC 9218): requested while the image is under way, with and
//! without priorities.

use super::{Experiment, Extent, check, median, ms, opened, table};
use crate::client::{Ask, Connection, Got, Protocol, step};
use crate::link::Shape;
use crate::site::{Lab, Site};
use serde_json::{Value, json};
use std::io;
use std::time::Instant;

pub(crate) const EXPERIMENT: Experiment = Experiment {
    name: "priority",
    about: "urgent CSS behind a 10 MB image, with priorities and without",
    run,
};

const RTT_MS: f64 = 50.0;
const RATE: u64 = 20_000_000;
/// Bytes of the image received before the CSS is requested.
const AFTER: u64 = 1 << 20;

#[derive(Clone, Copy)]
struct Case {
    protocol: Protocol,
    how: &'static str,
    /// With `priority` fields.
    with: bool,
    /// The CSS on a connection of its own.
    own: bool,
}

const fn case(protocol: Protocol, how: &'static str, with: bool) -> Case {
    Case { protocol, how, with, own: false }
}

const CASES: [Case; 6] = [
    case(Protocol::H1, "one connection", false),
    Case { own: true, ..case(Protocol::H1, "two connections", false) },
    case(Protocol::H2, "no priorities", false),
    case(Protocol::H2, "u=0 beside u=5", true),
    case(Protocol::H3, "no priorities", false),
    case(Protocol::H3, "u=0 beside u=5", true),
];

fn run(site: &Site, extent: Extent) -> io::Result<Value> {
    let lab = Lab::new(site, Shape { rate: Some(RATE), ..Shape::of_rtt(RTT_MS) }, 17)?;
    let repeats = extent.repeats.min(5);
    let (mut found, mut rows) = (Vec::new(), Vec::new());
    for case in CASES.into_iter().filter(|case| case.protocol != Protocol::H3 || lab.speaks_h3) {
        let Case { protocol, how, .. } = case;
        let runs: Vec<f64> =
            (0..repeats).map(|_| lab.client(|| css(&lab, case))).collect::<io::Result<_>>()?;
        let css_ms = median(&runs);
        rows.push(vec![
            protocol.name().into(),
            how.into(),
            format!("{css_ms:.0}"),
            format!("{:.1}", css_ms / RTT_MS),
        ]);
        found
            .push(json!({ "protocol": protocol.name(), "how": how, "css_ms": css_ms, "ms": runs }));
    }
    let columns = ["protocol", "how", "CSS, ms", "÷ RTT"];
    table("20 KB of CSS asked for behind an image, over 20 Mbit/s and 50 ms", &columns, &rows);
    Ok(json!({ "rtt_ms": RTT_MS, "rate": RATE, "rows": found }))
}

/// Time from the request of the CSS until it is complete; the image is abandoned then.
fn css(lab: &Lab, case: Case) -> io::Result<f64> {
    let mut open: Vec<Connection> = opened(case.protocol, &lab.setup)?.into();
    if case.own {
        open.extend(opened(case.protocol, &lab.setup)?);
    }
    let mut image = Ask::new(0, "/image.jpg");
    let mut css = Ask::new(1, "/style.css");
    if case.with {
        image = image.field("priority", "u=5");
        css = css.field("priority", "u=0");
    }
    let mut done: Vec<Got> = Vec::new();
    open[0].ask(&image);
    while open[0].content() < AFTER {
        step(&mut open, &mut done, None)?;
    }
    let begun = Instant::now();
    if let Some(last) = open.last_mut() {
        last.ask(&css);
    }
    loop {
        if let Some(got) = done.iter().find(|got| got.tag == 1) {
            check(got)?;
            return Ok(ms(got.last - begun));
        }
        step(&mut open, &mut done, None)?;
    }
}
