//! The workers' numbers, added up.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{BUCKETS, Counters, H2_ROWS, Histogram, PROTOCOLS, Published, STATUSES};

/// The workers' numbers, added up.
pub(super) struct Sum {
    pub(super) counters: [u64; Counters::TABLE.len()],
    pub(super) statuses: [[u64; STATUSES.len()]; PROTOCOLS.len()],
    pub(super) latencies: [Histogram; PROTOCOLS.len()],
    pub(super) h2: [u64; H2_ROWS],
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

    /// A row of the table of counters.
    pub(super) fn counter(&self, name: &str, labels: &str) -> u64 {
        let row = Counters::TABLE.iter().position(|row| row.name == name && row.labels == labels);
        row.map_or(0, |row| self.counters[row])
    }
}

fn add(sums: &mut [u64], cells: &[AtomicU64]) {
    for (sum, cell) in sums.iter_mut().zip(cells) {
        *sum += cell.load(Ordering::Relaxed);
    }
}
