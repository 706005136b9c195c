//! Metrics and traces for an OpenTelemetry collector: OTLP/HTTP with JSON bodies (OTLP 1, section
//! "OTLP/HTTP").
//!
//! A worker records a span for a request that is sampled ([`Traced`], around the application) and
//! puts it in a bounded queue; it never waits, and what does not fit is counted. One thread
//! ([`Exporter`]) sends what the queue has, and the metrics, and tries again while the collector
//! is gone.
//!
//! JSON by serde rather than the crates of OpenTelemetry: those bring an HTTP stack, and a second
//! set of counters with an aggregation of its own, for two requests whose bodies take 200 lines.

mod connection;
mod exporter;
mod metrics;
mod spans;
mod traced;

pub(crate) use exporter::Exporter;
pub(crate) use traced::Traced;
