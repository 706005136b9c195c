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

    /// The sum of several.
    pub(crate) fn sum<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        all.into_iter().fold(Self::default(), |mut sum, one| {
            sum.buckets.iter_mut().zip(one.buckets).for_each(|(sum, count)| *sum += count);
            sum.sum_micros += one.sum_micros;
            sum
        })
    }

    /// The seconds within which this share of the answers was complete, of those in a bucket
    /// evenly many at each time; for the last bucket its lower end. None without answers.
    pub(crate) fn percentile(&self, share: f64) -> Option<f64> {
        let wanted = share * self.count() as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (bucket, count) in self.buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            lower = bucket.checked_sub(1).and_then(Self::bound).unwrap_or(0.0);
            let within = (wanted - below) / *count as f64;
            if within <= 1.0 {
                let upper = Self::bound(bucket).unwrap_or(lower);
                return Some(lower + (upper - lower) * within);
            }
            below += *count as f64;
        }
        (below > 0.0).then_some(lower)
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

    #[test]
    fn percentiles_lie_in_the_bucket_of_their_answer() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(0.5), None);
        histogram.record(Duration::from_micros(10), 90);
        histogram.record(Duration::from_micros(1000), 9);
        histogram.record(Duration::from_secs(60), 1);
        let micros = |share| (histogram.percentile(share).unwrap() * 1e6).round();
        assert_eq!([micros(0.0), micros(0.45), micros(0.9)], [0.0, 8.0, 16.0]);
        assert_eq!([micros(0.945), micros(0.99)], [768.0, 1024.0]);
        assert_eq!(micros(1.0), 8_388_608.0, "the last bucket has no upper end");
        assert_eq!(Histogram::sum([&histogram, &histogram]).count(), 200);
    }
}
