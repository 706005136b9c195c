//! Measuring the codecs, and printing the results.
//!
//! `cargo bench` runs each codec beside its peers and ends with the tables, whose last lines
//! compare each target with the measurement. With `RINGWAY_WRITE=1` they are also written to
//! `bench/results/codecs.md` and bench/README.md.

use std::time::Duration;

use criterion::Criterion;

pub mod machine;
pub mod results;
pub mod targets;

/// Short measurements: the fastest sample is reported, so many short samples are better on a busy
/// machine than few long ones.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args()
}
