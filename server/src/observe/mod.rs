//! What people see of a running server: access log, metrics, traces of frames, and the console.

pub(crate) mod console;
pub mod log;
pub(crate) mod metrics;
pub(crate) mod trace;
