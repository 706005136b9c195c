//! The numbers as Prometheus' exposition format 0.0.4.

use std::fmt::Write as _;

use ringway_codec::h2;

use super::sum::Sum;
use super::{Counters, Histogram, PROTOCOLS, STATUSES};

impl Sum {
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
