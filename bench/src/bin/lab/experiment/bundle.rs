//! Sixty small files compared with one bundle of them (A16): whether bundling still pays.

use super::{Experiment, Extent, in_parallel, median, page, table};
use crate::link::Shape;
use crate::site::{Lab, RESOURCES, Site, small};
use page::Fetch;
use serde_json::{Value, json};
use std::io;

pub(crate) const EXPERIMENT: Experiment = Experiment {
    name: "bundle",
    about: "sixty small files against one bundle of the same bytes",
    run,
};

const RTT_MS: f64 = 50.0;

fn run(site: &Site, extent: Extent) -> io::Result<Value> {
    let losses: &[f64] = if extent.quick { &[0.0] } else { &[0.0, 0.01] };
    let many: Vec<String> = (0..RESOURCES).map(small).collect();
    let one = vec!["/bundle.js".to_string()];
    let (mut found, mut rows) = (Vec::new(), Vec::new());
    for &loss in losses {
        let seeds: Vec<u64> = (0..extent.repeats as u64).collect();
        let runs = in_parallel(seeds, extent.jobs, |seed| {
            let rate = Some(100_000_000);
            let lab = Lab::new(site, Shape { loss, rate, ..Shape::of_rtt(RTT_MS) }, seed)?;
            let fetches =
                Fetch::ALL.into_iter().filter(|fetch| *fetch != Fetch::H3 || lab.speaks_h3);
            fetches
                .map(|way| {
                    let load = |rest| lab.client(|| page::load(way, &lab.setup, "/tiny.txt", rest));
                    Ok((way, load(&many)?, load(&one)?))
                })
                .collect::<io::Result<Vec<_>>>()
        })?;
        let runs = runs.concat();
        for way in Fetch::ALL {
            let of = |pick: fn(&(Fetch, f64, f64)) -> f64| -> Vec<f64> {
                runs.iter().filter(|run| run.0 == way).map(pick).collect()
            };
            let (many_ms, bundle_ms) = (median(&of(|run| run.1)), median(&of(|run| run.2)));
            if bundle_ms == 0.0 {
                continue;
            }
            let ratio = many_ms / bundle_ms;
            rows.push(vec![
                format!("{}", loss * 100.0),
                way.name().into(),
                format!("{many_ms:.0}"),
                format!("{bundle_ms:.0}"),
                format!("{ratio:.2}"),
            ]);
            found.push(json!({ "loss": loss, "way": way.name(), "many_ms": many_ms,
                "bundle_ms": bundle_ms, "ratio": ratio }));
        }
    }
    let columns = ["loss %", "way", "60 files, ms", "bundle, ms", "ratio"];
    table(&format!("{RESOURCES} files of 2 KiB or one bundle, over {RTT_MS} ms"), &columns, &rows);
    Ok(json!({ "rtt_ms": RTT_MS, "files": RESOURCES, "rows": found }))
}
