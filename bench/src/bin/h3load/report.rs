//! The results.

use crate::Outcome;
use crate::args::Args;
use crate::histogram::Histogram;
use crate::short::Handshakes;
use serde_json::json;
use std::time::{Duration, Instant};

const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("p9999", 0.9999)];

pub(crate) struct Report {
    connections: usize,
    streams: usize,
    rate: Option<f64>,
    latency: Histogram,
    /// By the first digit of the status; 0: no status arrived.
    statuses: [u64; 10],
    failed: u64,
    body: u64,
    all: u64,
    shown: u64,
    pub(crate) seconds: f64,
    pub(crate) handshakes: Handshakes,
    pub(crate) lost: u64,
    pub(crate) datagrams: u64,
    pub(crate) ended_early: bool,
}

impl Report {
    pub(crate) fn new(args: &Args) -> Self {
        Self {
            connections: args.connections,
            streams: args.streams,
            rate: args.rate,
            latency: Histogram::new(),
            statuses: [0; 10],
            failed: 0,
            body: 0,
            all: 0,
            shown: 0,
            seconds: 0.0,
            handshakes: Handshakes::default(),
            lost: 0,
            datagrams: 0,
            ended_early: false,
        }
    }

    /// Records a request that ended at `now`; it enters the result only if it `counts`.
    pub(crate) fn add(&mut self, outcome: &Outcome, now: Instant, counts: bool) {
        self.all += 1;
        if !counts {
            return;
        }
        if outcome.is_whole {
            self.latency.record(now.saturating_duration_since(outcome.since).as_micros() as u64);
            self.body += outcome.body;
        } else {
            self.failed += 1;
        }
        self.statuses[usize::from(outcome.status / 100 % 10)] += 1;
    }

    pub(crate) fn progress(&mut self, elapsed: Duration) {
        let since = self.all - self.shown;
        self.shown = self.all;
        eprintln!("{:3} s  {since} answers, {} failed", elapsed.as_secs(), self.failed);
    }

    /// Whether every request succeeded.
    pub(crate) fn is_clean(&self) -> bool {
        let good = self.statuses[2] + self.statuses[3];
        self.failed == 0
            && self.handshakes.failed == 0
            && !self.ended_early
            && good == self.latency.total()
            && good > 0
    }

    pub(crate) fn print(&self, as_json: bool) {
        let per_second = self.latency.total() as f64 / self.seconds.max(1e-9);
        let megabytes = self.body as f64 / 1e6 / self.seconds.max(1e-9);
        if as_json {
            let quantiles: serde_json::Map<String, serde_json::Value> = QUANTILES
                .iter()
                .map(|(name, of)| (format!("{name}_us"), json!(self.latency.quantile(*of))))
                .collect();
            let line = json!({
                "protocol": "h3",
                "connections": self.connections,
                "streams": self.streams,
                "rate": self.rate,
                "seconds": self.seconds,
                "requests": self.latency.total(),
                "requests_per_second": per_second,
                "failed": self.failed,
                "statuses": self.statuses[1..6],
                "body_bytes": self.body,
                "megabytes_per_second": megabytes,
                "handshakes": { "full": self.handshakes.full, "resumed": self.handshakes.resumed,
                                "early": self.handshakes.early, "failed": self.handshakes.failed },
                "datagrams_received": self.datagrams,
                "datagrams_lost": self.lost,
                "latency": { "mean_us": self.latency.mean(), "max_us": self.latency.max(),
                             "quantiles": quantiles },
            });
            println!("{line}");
            return;
        }
        let Self { connections, streams, failed, seconds, lost, .. } = self;
        println!("{connections} connections, {streams} streams each, {seconds:.2} s");
        println!("{per_second:.0} requests/s, {megabytes:.1} MB/s of content");
        let [_, informed, good, moved, wrong, broken, ..] = self.statuses;
        println!(
            "1xx {informed}  2xx {good}  3xx {moved}  4xx {wrong}  5xx {broken}  failed {failed}"
        );
        print!("latency  mean {:.0} us", self.latency.mean());
        for (name, of) in QUANTILES {
            print!("  {name} {} us", self.latency.quantile(of));
        }
        println!("  max {} us", self.latency.max());
        let Handshakes { full, resumed, early, failed } = self.handshakes;
        println!("handshakes  full {full}  resumed {resumed}  early data {early}  failed {failed}");
        println!("{} datagrams received, {lost} of ours lost", self.datagrams);
        if self.ended_early {
            println!("the server closed every connection before the end");
        }
    }
}
