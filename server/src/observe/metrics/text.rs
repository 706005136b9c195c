//! The numbers as text: Prometheus' exposition format 0.0.4, and JSON.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use ringway_codec::h2;

use super::{BUCKETS, Counters, H2_ROWS, Histogram, PROTOCOLS, Published, STATUSES};

/// The workers' numbers, added up.
pub(super) struct Sum {
    counters: [u64; Counters::TABLE.len()],
    statuses: [[u64; STATUSES.len()]; PROTOCOLS.len()],
    latencies: [Histogram; PROTOCOLS.len()],
    h2: [u64; H2_ROWS],
}

impl Sum {
    pub(super) fn of<'a>(workers: impl Iterator<Item = &'a Published>) -> Self {
        let mut sum = Self {
            counters: [0; Counters::TABLE.len()],
            statuses: [[0; STATUSES.len()]; PROTOCOLS.len()],
            latencies: Default::default(),
            h2: [0; H2_ROWS],
        };
        for worker in workers {
            add(&mut sum.counters, &worker.counters);
            add(&mut sum.h2, &worker.h2);
            for column in 0..PROTOCOLS.len() {
                add(&mut sum.statuses[column], &worker.statuses[column]);
                add(&mut sum.latencies[column].buckets, &worker.latencies[column][..BUCKETS]);
                let micros = worker.latencies[column][BUCKETS].load(Ordering::Relaxed);
                sum.latencies[column].sum_micros += micros;
            }
        }
        sum
    }

    fn counter(&self, name: &str, labels: &str) -> u64 {
        let row = Counters::TABLE.iter().position(|row| row.name == name && row.labels == labels);
        row.map_or(0, |row| self.counters[row])
    }

    /// Everything, for Prometheus.
    pub(super) fn prometheus(&self, out: &mut String) {
        let mut last = "";
        for (row, value) in Counters::TABLE.iter().zip(self.counters) {
            if row.name != last {
                family(out, row.name, "counter", row.help);
                last = row.name;
            }
            sample(out, row.name, row.labels, value);
        }
        family(out, "ringway_connections", "gauge", "Connections that are open.");
        for proto in PROTOCOLS {
            let labels = format!("proto=\"{proto}\"");
            let opened = self.counter("ringway_connections_opened_total", &labels);
            let closed = self.counter("ringway_connections_closed_total", &labels);
            sample(out, "ringway_connections", &labels, opened.saturating_sub(closed));
        }
        self.h2(out);
        self.responses(out);
    }

    fn h2(&self, out: &mut String) {
        let help = "What HTTP/2 peers did that is cheap to send and costly to serve, by kind.";
        family(out, "ringway_h2_glitches_total", "counter", help);
        for (kind, value) in h2::Kind::ALL.iter().zip(self.h2) {
            let labels = format!("kind=\"{}\"", kind.name());
            sample(out, "ringway_h2_glitches_total", &labels, value);
        }
        let rows = [
            ("ringway_h2_resets_received_total", "RST_STREAM frames received."),
            ("ringway_h2_resets_sent_total", "RST_STREAM frames sent."),
            ("ringway_goaway_total", "GOAWAY frames sent with an error code."),
            ("ringway_h2_rtt_microseconds_count", "Round trips measured by PING."),
            ("ringway_h2_rtt_microseconds_sum", "Their sum."),
        ];
        for ((name, help), value) in rows.into_iter().zip(&self.h2[h2::KINDS..]) {
            family(out, name, "counter", help);
            sample(out, name, "", *value);
        }
    }

    fn responses(&self, out: &mut String) {
        const RESPONSES: &str = "ringway_responses_total";
        family(out, RESPONSES, "counter", "Answers by protocol and status.");
        for (proto, counts) in PROTOCOLS.iter().zip(&self.statuses) {
            for (status, count) in STATUSES.iter().zip(counts).filter(|(_, count)| **count > 0) {
                let version = format!("network_protocol_version=\"{proto}\"");
                let labels = format!("{version},http_response_status_code=\"{status}\"");
                sample(out, RESPONSES, &labels, *count);
            }
        }
        const DURATION: &str = "http_server_request_duration_seconds";
        family(out, DURATION, "histogram", "From a request's head to the end of its answer.");
        for (proto, latency) in PROTOCOLS.iter().zip(&self.latencies) {
            let version = format!("network_protocol_version=\"{proto}\"");
            let mut below = 0;
            for (bucket, count) in latency.buckets.iter().enumerate() {
                below += count;
                let bound =
                    Histogram::bound(bucket).map_or("+Inf".to_owned(), |bound| bound.to_string());
                let labels = format!("{version},le=\"{bound}\"");
                sample(out, &format!("{DURATION}_bucket"), &labels, below);
            }
            let seconds = latency.sum_micros as f64 / 1e6;
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{DURATION}_sum{{{version}}} {seconds}");
            sample(out, &format!("{DURATION}_count"), &version, latency.count());
        }
    }

    /// The few figures of `/stats.json`. Counts are since the start; latencies are means in
    /// milliseconds.
    pub(super) fn json(&self) -> String {
        let opened = self.counter("ringway_connections_opened_total", "proto=\"1.1\"");
        let streams = self.counter("ringway_streams_total", "proto=\"2\"");
        let pushes = self.counter("ringway_push_total", "");
        let quic = self.counter("ringway_connections_opened_total", "proto=\"3\"");
        let moves = self.counter("ringway_quic_migrations_total", "");
        let [h1, h2, h3] = self.latencies.map(|latency| {
            let count = latency.count().max(1) as f64;
            (latency.sum_micros as f64 / count).round() / 1e3
        });
        format!(
            "{{\"http1\":{{\"connections\":{opened},\"avgLatency\":{h1}}},\
             \"http2\":{{\"streams\":{streams},\"avgLatency\":{h2},\"pushCount\":{pushes}}},\
             \"http3\":{{\"connections\":{quic},\"avgLatency\":{h3},\"migrationCount\":{moves}}}}}"
        )
    }
}

/// Announces a family of samples.
pub(super) fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// One sample.
pub(super) fn sample(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        labels => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

fn add(sums: &mut [u64], cells: &[std::sync::atomic::AtomicU64]) {
    for (sum, cell) in sums.iter_mut().zip(cells) {
        *sum += cell.load(Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use ringway_codec::Time;

    use super::*;
    use crate::app::request::Protocol;
    use crate::observe::metrics::Tally;

    #[test]
    fn the_json_has_exactly_its_shape() {
        let published = [Published::default(), Published::default()];
        for worker in &published {
            let mut tally = Tally::default();
            tally.counters.opened_h1 = 2;
            tally.counters.streams_h2 = 7;
            tally.counters.pushes = 5;
            tally.answered(Protocol::Http2, StatusCode::OK, Time(0), Time(1_500));
            worker.publish(&tally, &h2::Counters::default());
        }
        let sum = Sum::of(published.iter());
        assert_eq!(
            sum.json(),
            r#"{"http1":{"connections":4,"avgLatency":0},"http2":{"streams":14,"avgLatency":1.5,"pushCount":10},"http3":{"connections":0,"avgLatency":0,"migrationCount":0}}"#
        );
        let mut text = String::new();
        sum.prometheus(&mut text);
        assert!(text.contains("\nringway_push_total 10\n"));
        assert!(text.contains(
            "http_server_request_duration_seconds_count{network_protocol_version=\"2\"} 2\n"
        ));
    }
}
