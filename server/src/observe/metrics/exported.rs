//! What has become of the spans and metrics that are sent to a collector.

use std::sync::atomic::{AtomicU64, Ordering};

use super::text::{family, sample};

/// Counts of the exporter, since the start. They order nothing.
#[derive(Debug, Default)]
pub(crate) struct Exported {
    sent: AtomicU64,
    dropped: AtomicU64,
    failures: AtomicU64,
}

impl Exported {
    /// The collector has taken so many spans.
    pub(crate) fn send_spans(&self, spans: u64) {
        self.sent.fetch_add(spans, Ordering::Relaxed);
    }

    /// So many spans were not recorded, had no room or were refused.
    pub(crate) fn drop_spans(&self, spans: u64) {
        self.dropped.fetch_add(spans, Ordering::Relaxed);
    }

    /// A request to the collector failed.
    pub(crate) fn fail(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Spans that were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn prometheus(&self, out: &mut String) {
        let name = "ringway_otlp_spans_total";
        family(out, name, "counter", "Spans of requests: taken by the collector, or dropped.");
        sample(out, name, "result=\"sent\"", self.sent.load(Ordering::Relaxed));
        sample(out, name, "result=\"dropped\"", self.dropped());
        let name = "ringway_otlp_failures_total";
        family(out, name, "counter", "Requests to the collector that failed.");
        sample(out, name, "", self.failures.load(Ordering::Relaxed));
    }
}
