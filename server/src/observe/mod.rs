//! What people see of a running server: access log, metrics and traces of frames.

pub mod log;
pub(crate) mod metrics;
pub(crate) mod otlp;
pub(crate) mod trace;
