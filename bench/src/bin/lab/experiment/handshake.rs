//! Round trips and packets until the first byte of an answer (E13): TCP with TLS 1.2, TLS 1.3 and
//! either resumed; QUIC, and QUIC with the request in its first flight.

use super::{Experiment, Extent, check, median, ms, table};
use crate::client::{Ask, Connection, Protocol, Setup, Tls, finish, step};
use crate::link::{Shape, Way};
use crate::site::{Lab, Site};
use serde_json::{Value, json};
use std::io;
use std::time::{Duration, Instant};

pub(crate) const EXPERIMENT: Experiment = Experiment {
    name: "handshake",
    about: "round trips and packets until an answer begins, for every kind of handshake",
    run,
};

/// Long compared with every computation, so round trips can be counted by time.
const RTT_MS: f64 = 100.0;

struct Row {
    name: &'static str,
    protocol: Protocol,
    version: &'static rustls::SupportedProtocolVersion,
    resumes: bool,
    early: bool,
}

const fn row(name: &'static str, protocol: Protocol, is_13: bool, resumes: bool) -> Row {
    let version = if is_13 { &rustls::version::TLS13 } else { &rustls::version::TLS12 };
    Row { name, protocol, version, resumes, early: false }
}

const ROWS: [Row; 8] = [
    row("TCP alone", Protocol::Clear, true, false),
    row("TCP + TLS 1.2", Protocol::H1, false, false),
    row("TCP + TLS 1.2, resumed", Protocol::H1, false, true),
    row("TCP + TLS 1.3", Protocol::H1, true, false),
    row("TCP + TLS 1.3, resumed", Protocol::H1, true, true),
    row("QUIC", Protocol::H3, true, false),
    row("QUIC, resumed", Protocol::H3, true, true),
    Row { early: true, ..row("QUIC, 0-RTT", Protocol::H3, true, true) },
];

/// The cost of one connection.
struct Taken {
    ready_ms: f64,
    first_ms: f64,
    /// Packets until the answer began: from the client, from the server.
    up: usize,
    down: usize,
}

fn run(site: &Site, extent: Extent) -> io::Result<Value> {
    let lab = Lab::new(site, Shape::of_rtt(RTT_MS), 11)?;
    let mut found = Vec::new();
    for row in ROWS.iter().filter(|row| row.protocol != Protocol::H3 || lab.speaks_h3) {
        let tls = Tls::new(&lab.certificate, row.version, row.resumes)?;
        let mut setup = Setup { tls, ..lab.setup.clone() };
        if row.resumes {
            prepare(&lab, row, &mut setup)?;
        }
        let all: Vec<Taken> =
            (0..extent.repeats).map(|_| once(&lab, row, &setup)).collect::<io::Result<_>>()?;
        let middle = |of: fn(&Taken) -> f64| median(&all.iter().map(of).collect::<Vec<_>>());
        let (ready_ms, first_ms) = (middle(|taken| taken.ready_ms), middle(|taken| taken.first_ms));
        found.push(json!({
            "name": row.name,
            "ready_ms": ready_ms,
            "first_byte_ms": first_ms,
            "ready_rtts": (ready_ms / RTT_MS).round(),
            "first_byte_rtts": (first_ms / RTT_MS).round(),
            "packets_up": middle(|taken| taken.up as f64),
            "packets_down": middle(|taken| taken.down as f64),
        }));
    }
    show(&found);
    Ok(json!({ "rtt_ms": RTT_MS, "rows": found }))
}

/// A first connection, for the ticket.
fn prepare(lab: &Lab, row: &Row, setup: &mut Setup) -> io::Result<()> {
    setup.early = row.early;
    setup.ticket = lab.client(|| {
        let mut one = super::opened(row.protocol, setup)?;
        // Tickets follow the handshake.
        let end = Instant::now() + Duration::from_millis(300);
        while Instant::now() < end {
            step(&mut one, &mut Vec::new(), Some(end))?;
        }
        match &one[0] {
            Connection::Tcp(_) => Ok(None),
            Connection::Quic(quic) => {
                let none = || io::Error::other("the server sent no ticket");
                quic.ticket().ok_or_else(none).map(Some)
            }
        }
    })?;
    Ok(())
}

fn once(lab: &Lab, row: &Row, setup: &Setup) -> io::Result<Taken> {
    lab.link.watch();
    let (begun, got, ready_at) = lab.client(|| {
        let (begun, mut done) = (Instant::now(), Vec::new());
        let mut one = [Connection::open(row.protocol, setup)?];
        one[0].ask(&Ask::new(0, "/tiny.txt"));
        finish(&mut one, &mut done, 1)?;
        check(&done[0])?;
        if let Connection::Quic(quic) = &one[0]
            && quic.was_resumed() != row.resumes
        {
            return Err(io::Error::other(format!("{}: resumption went wrong", row.name)));
        }
        Ok((begun, done.swap_remove(0), one[0].ready_at()))
    })?;
    let first = got.first.unwrap_or(got.last);
    let seen = lab.link.seen();
    let count = |way| seen.iter().filter(|packet| packet.way == way && packet.at < first).count();
    let ready_ms = ready_at.map_or(f64::NAN, |at| ms(at.saturating_duration_since(begun)));
    Ok(Taken { ready_ms, first_ms: ms(first - begun), up: count(Way::Up), down: count(Way::Down) })
}

fn show(found: &[Value]) {
    let cell = |row: &Value, key: &str| format!("{}", row[key].as_f64().unwrap_or(f64::NAN));
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|row| {
            let name = row["name"].as_str().unwrap_or_default().to_string();
            let keys =
                ["ready_rtts", "first_byte_rtts", "first_byte_ms", "packets_up", "packets_down"];
            [vec![name], keys.map(|key| cell(row, key)).to_vec()].concat()
        })
        .collect();
    let columns =
        ["handshake", "round trips", "with the request", "first byte, ms", "packets up", "down"];
    table(&format!("Until an answer begins, over {RTT_MS} ms"), &columns, &rows);
}
