//! The first flight (E9): how many segments a server sends before the first acknowledgement, with
//! the route's default, as set by `ringway tune`, and as set by `http3.initial_window` for QUIC;
//! and the effect on a page of 40 KB.

use super::{Experiment, Extent, fetch, median, ms, table};
use crate::client::{Connection, Protocol};
use crate::link::{Seen, Shape, Way};
use crate::site::{FORTY, Lab, Site};
use ringway::config::Limits;
use ringway_tuning::tune::{self, Action, Group, Options};
use ringway_tuning::{Host, Profile};
use serde_json::{Value, json};
use std::io;
use std::path::Path;
use std::time::Duration;

pub(crate) const EXPERIMENT: Experiment = Experiment {
    name: "initcwnd",
    about: "a page of 40 KB with first flights of 10 and of 32 segments",
    run,
};

const RTT_MS: f64 = 50.0;
const WIDE: u32 = 32;

/// One page: time from the request, and packets of its first flight.
struct Flight {
    took_ms: f64,
    first: usize,
}

fn run(site: &Site, extent: Extent) -> io::Result<Value> {
    let (mut found, mut rows) = (Vec::new(), Vec::new());
    for segments in [10, WIDE] {
        let lab = Lab::with(site, Shape::of_rtt(RTT_MS), 23, |server| {
            let limits = Limits { h3_initial_window: segments as u16, ..Limits::default() };
            server.limits(limits)
        })?;
        let journal = site.path().join(format!("journal-{segments}.json"));
        if segments == WIDE {
            lab.link.server.within(|| tuned(Action::Apply, &journal))??;
        }
        let quic = lab.speaks_h3.then_some(Protocol::H3);
        for protocol in [Protocol::Clear, Protocol::H2].into_iter().chain(quic) {
            let runs: Vec<Flight> =
                (0..extent.repeats).map(|_| page(&lab, protocol)).collect::<io::Result<_>>()?;
            let of = |pick: fn(&Flight) -> f64| median(&runs.iter().map(pick).collect::<Vec<_>>());
            let (took_ms, first) = (of(|run| run.took_ms), of(|run| run.first as f64));
            rows.push(vec![
                protocol.name().into(),
                segments.to_string(),
                format!("{first}"),
                format!("{took_ms:.0}"),
                format!("{}", (took_ms / RTT_MS).round()),
            ]);
            found.push(json!({ "protocol": protocol.name(), "segments": segments,
                "first_flight": first, "page_ms": took_ms,
                "round_trips": (took_ms / RTT_MS).round() }));
        }
        if segments == WIDE {
            lab.link.server.within(|| tuned(Action::Restore, &journal))??;
        }
    }
    let columns =
        ["protocol", "initial window", "first flight, packets", "page, ms", "round trips"];
    table(&format!("{FORTY} bytes over {RTT_MS} ms, from the request on"), &columns, &rows);
    Ok(json!({ "rtt_ms": RTT_MS, "bytes": FORTY, "rows": found }))
}

/// The effect of `ringway tune --only route`, inside the server's namespace.
fn tuned(action: Action, journal: &Path) -> io::Result<()> {
    let options = Options {
        profile: Profile::Throughput,
        groups: vec![Group::Route],
        initcwnd: WIDE,
        initrwnd: WIDE,
        journal: Some(journal.to_path_buf()),
        anyway: true,
        ..Options::default()
    };
    let outcome = tune::run(&Host::live(), action, &options).map_err(io::Error::other)?;
    if outcome.changes == 0 {
        return Err(io::Error::other("tuning changed no route"));
    }
    Ok(())
}

/// Uses a connection that has carried only its handshake, so its window is the initial one. The
/// time counts from the end of the handshake, when the request leaves.
fn page(lab: &Lab, protocol: Protocol) -> io::Result<Flight> {
    let (took, first) = lab.client(|| {
        lab.link.watch();
        let mut one = [Connection::open(protocol, &lab.setup)?];
        let got = fetch(&mut one, "/forty.html")?;
        let asked = one[0].ready_at().unwrap_or(got.last);
        let seen = lab.link.seen();
        // The request arrives after half a round trip; the second flight leaves one later.
        let arrived = asked + Duration::from_secs_f64(RTT_MS / 2100.0);
        let flight = arrived..arrived + Duration::from_secs_f64(RTT_MS / 1500.0);
        let is_data = |packet: &&Seen| packet.way == Way::Down && packet.payload > 0;
        let first = seen.iter().filter(is_data).filter(|packet| flight.contains(&packet.at));
        Ok((got.last - asked, first.count()))
    })?;
    Ok(Flight { took_ms: ms(took), first })
}
