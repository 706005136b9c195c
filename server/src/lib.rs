//! io_uring HTTP server and embeddable library for Linux.

pub mod config;
pub mod log;
pub mod tls;
