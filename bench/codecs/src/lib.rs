//! How the codecs are measured, and what of it is printed.
//!
//! `cargo bench` runs each codec beside its peers and ends with the tables, whose last lines say
//! what each target asks for and what was measured. With `RINGWAY_WRITE=1` they go into
//! `bench/results/codecs.md` and bench/README.md too.

use std::time::Duration;

use criterion::Criterion;

pub mod machine;
pub mod results;
pub mod targets;

/// Short measurements: the fastest of the samples is what is reported, so many short ones say
/// more on a busy machine than few long ones.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args()
}
