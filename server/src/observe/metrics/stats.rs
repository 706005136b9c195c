//! `/stats.json`, which is also what the page is told at `/events`: counts since the start, times
//! in milliseconds, dates in seconds since 1970.

use std::collections::BTreeMap;
use std::iter;
use std::time::{SystemTime, UNIX_EPOCH};

use ringway_codec::h2;
use serde::Serialize;

use super::figures::{Figures, descriptors, resident};
use super::lifecycle::{LastReload, unix_seconds};
use super::sum::Sum;
use super::{BUCKETS, Counters, Histogram, Metric, PROTOCOLS, STATUSES};
use crate::rt::panics;
use crate::tls::Tls;

/// What stands in the document behind the three objects by protocol.
#[derive(Serialize)]
struct Stats {
    at: f64,
    version: &'static str,
    pid: u32,
    uptime: u64,
    requests: u64,
    protocols: Vec<ProtocolStats>,
    latency: Latency,
    /// The upper ends of the buckets of latencies; the last has none.
    bounds: [Option<f64>; BUCKETS],
    bytes: Transferred,
    cache: Cache,
    handshakes: Handshakes,
    drops: Vec<Count>,
    budgets: Vec<Count>,
    workers: Vec<WorkerStats>,
    generations: Vec<Generation>,
    certificates: Vec<CertificateEnd>,
    reload: Option<LastReload>,
    process: ProcessStats,
}

#[derive(Serialize)]
struct ProtocolStats {
    protocol: &'static str,
    open: u64,
    opened: u64,
    /// Streams that carried a request or a push; HTTP/1.1 has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    streams: Option<u64>,
    answers: u64,
    statuses: BTreeMap<u16, u64>,
    latency: Latency,
}

#[derive(Serialize)]
struct Latency {
    mean: Option<f64>,
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
    p999: Option<f64>,
    buckets: [u64; BUCKETS],
}

#[derive(Serialize)]
struct Transferred {
    received: u64,
    sent: u64,
}

#[derive(Serialize)]
struct Cache {
    hits: u64,
    checks: u64,
    misses: u64,
}

#[derive(Serialize)]
struct Handshakes {
    full: u64,
    resumed: u64,
    early: u64,
    failed: u64,
}

/// A count of something that was refused, dropped or charged.
#[derive(Serialize)]
struct Count {
    name: String,
    about: &'static str,
    count: u64,
}

#[derive(Serialize)]
struct WorkerStats {
    worker: usize,
    open: u64,
    requests: u64,
}

/// A generation of the server: this process, or one that it has replaced and that finishes its
/// connections.
#[derive(Serialize)]
struct Generation {
    pid: u32,
    state: &'static str,
}

#[derive(Serialize)]
struct CertificateEnd {
    names: Vec<String>,
    not_after: i64,
    days_left: i64,
}

#[derive(Serialize)]
struct ProcessStats {
    memory: Option<u64>,
    descriptors: Option<u64>,
    panics: u64,
}

/// Names of the counters of what was refused or lost.
const DROPS: [&str; 12] = [
    "ringway_refused_total",
    "ringway_timeouts_total",
    "ringway_tls_errors_total",
    "ringway_connections_refused_total",
    "ringway_connections_shed_total",
    "ringway_accept_exhausted_total",
    "ringway_quic_handshakes_stalled_total",
    "ringway_quic_drop_total",
    "ringway_udp_truncated_total",
    "ringway_udp_refused_total",
    "ringway_udp_enobufs_total",
    "ringway_uring_cqe_overflow_total",
];

impl Figures {
    /// The document of `/stats.json`.
    pub(super) fn stats(&self) -> String {
        let sum = self.sum();
        let shape = shape(&sum);
        match serde_json::to_string(&self.more(&sum)) {
            Ok(more) => format!("{},{}", &shape[..shape.len() - 1], &more[1..]),
            // Numbers and text always have a form.
            Err(_) => shape,
        }
    }

    fn more(&self, sum: &Sum) -> Stats {
        let counter = |name: &str, labels: &str| sum.counter(name, labels);
        let handshakes = |resumed: bool, early: bool| {
            let labels =
                |version| format!("version=\"{version}\",resumed=\"{resumed}\",early=\"{early}\"");
            let count = |version| counter("ringway_tls_handshakes_total", &labels(version));
            count("1.3") + count("1.2")
        };
        let bytes =
            |direction: &str| counter("ringway_bytes_total", &format!("direction=\"{direction}\""));
        let cache =
            |result: &str| counter("ringway_file_cache_total", &format!("result=\"{result}\""));
        let mut drops = drops(sum);
        let dropped = self.dropped.lines();
        let about = "Lines of the access log that were dropped.";
        drops.push(Count { name: "ringway_log_dropped_total".into(), about, count: dropped });
        if let Some(exported) = &self.exported {
            let name = "ringway_otlp_spans_total{result=\"dropped\"}".to_owned();
            let about = "Spans of requests: taken by the collector, or dropped.";
            drops.push(Count { name, about, count: exported.dropped() });
        }
        let state = if self.lifecycle.is_draining() { "draining" } else { "serving" };
        let former = self.lifecycle.replacements.former();
        Stats {
            at: unix_seconds(),
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            uptime: self.lifecycle.uptime(),
            requests: counter("ringway_requests_total", ""),
            protocols: (0..PROTOCOLS.len()).map(|column| protocol(sum, column)).collect(),
            latency: Latency::of(&Histogram::sum(&sum.latencies)),
            bounds: std::array::from_fn(|bucket| Histogram::bound(bucket).map(millis)),
            bytes: Transferred { received: bytes("received"), sent: bytes("sent") },
            cache: Cache { hits: cache("hit"), checks: cache("check"), misses: cache("miss") },
            handshakes: Handshakes {
                full: handshakes(false, false),
                resumed: handshakes(true, false),
                early: handshakes(true, true),
                failed: counter("ringway_tls_errors_total", ""),
            },
            drops,
            budgets: budgets(sum),
            workers: self.workers(),
            generations: iter::once(Generation { pid: std::process::id(), state })
                .chain(former.map(|pid| Generation { pid, state: "draining" }))
                .collect(),
            certificates: self.tls.as_ref().map(certificates).unwrap_or_default(),
            reload: self.lifecycle.last_reload(),
            process: ProcessStats {
                memory: resident(),
                descriptors: descriptors(),
                panics: panics::count(),
            },
        }
    }

    fn workers(&self) -> Vec<WorkerStats> {
        let of = |(worker, published): (usize, &std::sync::Arc<super::Published>)| {
            let sum = Sum::of(iter::once(&**published));
            let open = (0..PROTOCOLS.len()).map(|column| open(&sum, column).1).sum();
            WorkerStats { worker, open, requests: sum.counter("ringway_requests_total", "") }
        };
        self.workers.iter().enumerate().map(of).collect()
    }
}

/// The three objects by protocol, whose shape is fixed: latencies are means in milliseconds.
fn shape(sum: &Sum) -> String {
    let opened = sum.counter("ringway_connections_opened_total", "proto=\"1.1\"");
    let streams = sum.counter("ringway_streams_total", "proto=\"2\"");
    let pushes = sum.counter("ringway_push_total", "");
    let quic = sum.counter("ringway_connections_opened_total", "proto=\"3\"");
    let moves = sum.counter("ringway_quic_migrations_total", "");
    let [h1, h2, h3] = sum.latencies.map(|latency| {
        let count = latency.count().max(1) as f64;
        (latency.sum_micros as f64 / count).round() / 1e3
    });
    format!(
        "{{\"http1\":{{\"connections\":{opened},\"avgLatency\":{h1}}},\
         \"http2\":{{\"streams\":{streams},\"avgLatency\":{h2},\"pushCount\":{pushes}}},\
         \"http3\":{{\"connections\":{quic},\"avgLatency\":{h3},\"migrationCount\":{moves}}}}}"
    )
}

/// Connections that were opened with a protocol, and those that are still open.
fn open(sum: &Sum, column: usize) -> (u64, u64) {
    let labels = format!("proto=\"{}\"", PROTOCOLS[column]);
    let opened = sum.counter("ringway_connections_opened_total", &labels);
    let closed = sum.counter("ringway_connections_closed_total", &labels);
    (opened, opened.saturating_sub(closed))
}

fn protocol(sum: &Sum, column: usize) -> ProtocolStats {
    let (opened, open) = open(sum, column);
    let labels = format!("proto=\"{}\"", PROTOCOLS[column]);
    let counts = STATUSES.iter().copied().zip(sum.statuses[column]);
    ProtocolStats {
        protocol: PROTOCOLS[column],
        open,
        opened,
        streams: (column > 0).then(|| sum.counter("ringway_streams_total", &labels)),
        answers: sum.statuses[column].iter().sum(),
        statuses: counts.filter(|(_, count)| *count > 0).collect(),
        latency: Latency::of(&sum.latencies[column]),
    }
}

impl Latency {
    fn of(histogram: &Histogram) -> Self {
        let percentile = |share| histogram.percentile(share).map(millis);
        let count = histogram.count();
        let mean = histogram.sum_micros as f64 / 1e6 / count as f64;
        Self {
            mean: (count > 0).then(|| millis(mean)),
            p50: percentile(0.5),
            p90: percentile(0.9),
            p99: percentile(0.99),
            p999: percentile(0.999),
            buckets: histogram.buckets,
        }
    }
}

/// Seconds as milliseconds, in whole microseconds.
fn millis(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e3
}

fn drops(sum: &Sum) -> Vec<Count> {
    let rows = Counters::TABLE.iter().zip(sum.counters);
    let is_drop = |row: &Metric| DROPS.contains(&row.name);
    let rows = rows.filter(|(row, _)| is_drop(row)).map(|(row, count)| {
        let name = match row.labels {
            "" => row.name.to_owned(),
            labels => format!("{}{{{labels}}}", row.name),
        };
        Count { name, about: row.help, count }
    });
    rows.collect()
}

/// What was charged to the budgets of HTTP/2 connections.
fn budgets(sum: &Sum) -> Vec<Count> {
    let about = "What HTTP/2 peers did that is cheap to send and costly to serve.";
    let kinds = h2::Kind::ALL.iter().zip(sum.h2);
    kinds.map(|(kind, count)| Count { name: kind.name().to_owned(), about, count }).collect()
}

fn certificates(tls: &Tls) -> Vec<CertificateEnd> {
    const DAY: i64 = 24 * 60 * 60;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
    let end = |certificate: &std::sync::Arc<crate::tls::Certificate>| {
        let addresses = certificate.addresses().iter().map(ToString::to_string);
        let not_after = certificate.not_after();
        CertificateEnd {
            names: certificate.names().iter().cloned().chain(addresses).collect(),
            not_after,
            days_left: (not_after - now).div_euclid(DAY),
        }
    };
    tls.certificates().iter().map(end).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::StatusCode;
    use ringway_codec::Time;

    use super::*;
    use crate::app::request::Protocol;
    use crate::observe::log::Dropped;
    use crate::observe::metrics::{Lifecycle, Published, Replacements, Tally};

    fn figures() -> Figures {
        let published = [Published::default(), Published::default()];
        for worker in &published {
            let mut tally = Tally::default();
            tally.counters.opened_h1 = 2;
            tally.counters.closed_h1 = 1;
            tally.counters.streams_h2 = 7;
            tally.counters.pushes = 5;
            tally.counters.cache_hits = 9;
            tally.counters.slow_heads = 1;
            tally.answered(Protocol::Http2, StatusCode::OK, Time(0), Time(1_500));
            worker.publish(&tally, &h2::Counters::default());
        }
        Figures {
            workers: published.map(Arc::new).into(),
            tls: None,
            dropped: Dropped::default(),
            lifecycle: Arc::new(Lifecycle::begin(Replacements::default())),
            exported: None,
        }
    }

    #[test]
    fn the_json_begins_with_its_fixed_shape() {
        let figures = figures();
        assert_eq!(
            shape(&figures.sum()),
            r#"{"http1":{"connections":4,"avgLatency":0},"http2":{"streams":14,"avgLatency":1.5,"pushCount":10},"http3":{"connections":0,"avgLatency":0,"migrationCount":0}}"#
        );
        let text = figures.prometheus();
        assert!(text.contains("\nringway_push_total 10\n"));
        assert!(text.contains(
            "http_server_request_duration_seconds_count{network_protocol_version=\"2\"} 2\n"
        ));
    }

    #[test]
    fn the_json_has_the_figures_of_the_page() {
        let stats: serde_json::Value = serde_json::from_str(&figures().stats()).unwrap();
        assert_eq!(stats["http2"]["streams"], 14);
        assert_eq!(stats["protocols"][0]["open"], 2);
        assert_eq!(stats["protocols"][0].get("streams"), None);
        assert_eq!(stats["protocols"][1]["statuses"]["200"], 2);
        assert_eq!(stats["latency"]["mean"], 1.5);
        assert_eq!(stats["latency"]["p99"], 2.038, "in the bucket from 1.024 to 2.048 ms");
        assert_eq!(stats["cache"]["hits"], 18);
        assert_eq!(stats["workers"][1]["open"], 1);
        assert_eq!(stats["generations"][0]["state"], "serving");
        assert_eq!(stats["reload"], serde_json::Value::Null);
        let drops = stats["drops"].as_array().unwrap();
        let head = "ringway_timeouts_total{kind=\"head\"}";
        assert_eq!(drops.iter().find(|row| row["name"] == head).unwrap()["count"], 2);
        let is_there =
            |name: &&str| drops.iter().any(|row| row["name"].as_str().unwrap().starts_with(name));
        assert!(DROPS.iter().all(is_there), "each is in the table of counters");
    }
}
