//! io_uring HTTP server and embeddable library for Linux.

pub mod config;
pub mod tls;
