//! Latencies in buckets that double: exact enough to see a change, small enough to copy often.

use std::time::Duration;

/// Buckets: up to 16 µs, 32 µs, and so on to 8.4 s, and one for what is longer.
pub(crate) const BUCKETS: usize = 21;
const FIRST_BITS: u32 = 4;

/// How many answers took how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Histogram {
    pub(crate) buckets: [u64; BUCKETS],
    pub(crate) sum_micros: u64,
}

impl Histogram {
    /// Adds `count` answers that took `duration` each.
    pub(crate) fn record(&mut self, duration: Duration, count: u64) {
        let micros = duration.as_micros() as u64;
        let bits = u64::BITS - micros.saturating_sub(1).leading_zeros();
        let bucket = (bits.saturating_sub(FIRST_BITS) as usize).min(BUCKETS - 1);
        self.buckets[bucket] += count;
        self.sum_micros += micros * count;
    }

    /// How many answers there are.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// A bucket's upper end in seconds; none for the last, which has none.
    pub(crate) fn bound(bucket: usize) -> Option<f64> {
        (bucket < BUCKETS - 1).then(|| (1_u64 << (bucket as u32 + FIRST_BITS)) as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_within_its_buckets_bounds() {
        for micros in [0, 1, 15, 16, 17, 32, 33, 1000, 8_388_608, 8_388_609, 1 << 40] {
            let mut histogram = Histogram::default();
            histogram.record(Duration::from_micros(micros), 3);
            let bucket = histogram.buckets.iter().position(|count| *count == 3).unwrap();
            let seconds = micros as f64 / 1e6;
            assert!(Histogram::bound(bucket).is_none_or(|bound| seconds <= bound), "{micros}");
            let below = bucket.checked_sub(1).and_then(Histogram::bound);
            assert!(below.is_none_or(|bound| seconds > bound), "{micros}");
            assert_eq!((histogram.count(), histogram.sum_micros), (3, 3 * micros));
        }
    }
}
