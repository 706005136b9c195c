//! Latencies in a histogram of bounded relative error: exact below 256 microseconds, then 128 steps
//! per doubling, an error under 0.8 %.

const SUB_BITS: u32 = 7;
const LINEAR: u64 = 2 << SUB_BITS;
const BUCKETS: usize = (LINEAR as usize) + (64 - SUB_BITS as usize - 1) * (1 << SUB_BITS);

/// Counts of values in microseconds.
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    sum: u64,
    max: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, sum: 0, max: 0 }
    }

    pub(crate) fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.total += 1;
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(value);
    }

    /// The value below which the fraction `of` lies; 0 if nothing was recorded.
    pub(crate) fn quantile(&self, of: f64) -> u64 {
        let wanted = (of * self.total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return highest(at).min(self.max);
            }
        }
        0
    }

    pub(crate) fn mean(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.sum as f64 / self.total as f64 }
    }

    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

fn bucket(value: u64) -> usize {
    if value < LINEAR {
        return value as usize;
    }
    let shift = value.ilog2() - SUB_BITS;
    let step = (value >> shift) as usize - (1 << SUB_BITS);
    LINEAR as usize + ((shift as usize - 1) << SUB_BITS) + step
}

/// The greatest value of a bucket.
fn highest(at: usize) -> u64 {
    if (at as u64) < LINEAR {
        return at as u64;
    }
    let at = at - LINEAR as usize;
    let shift = (at >> SUB_BITS) as u32 + 1;
    let step = (at & ((1 << SUB_BITS) - 1)) as u64 + (1 << SUB_BITS);
    ((step + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_err_little() {
        for exponent in 0..40 {
            for value in [1u64 << exponent, (1 << exponent) + 1, (2 << exponent) - 1] {
                let at = bucket(value);
                let error = highest(at) - value;
                assert!(error as f64 <= value as f64 / 120.0, "{value}: {}", highest(at));
                assert_eq!(bucket(highest(at)), at);
                assert_eq!(bucket(highest(at) + 1), at + 1);
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_of_a_line() {
        let mut histogram = Histogram::new();
        (1..=10_000).for_each(|value| histogram.record(value));
        for (of, want) in [(0.5, 5000.0), (0.99, 9900.0), (0.999, 9990.0), (1.0, 10_000.0)] {
            let error = histogram.quantile(of) as f64 - want;
            assert!(error.abs() < want * 0.01, "{of}");
        }
        assert_eq!((histogram.max(), histogram.total()), (10_000, 10_000));
        assert!((histogram.mean() - 5000.5).abs() < 0.01);
    }
}
