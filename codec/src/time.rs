//! The codecs' only notion of time: a count of microseconds that the caller passes in.
//!
//! This crate reads no clock, so a test can replay hours of deadlines in microseconds and a seeded
//! simulation is exact. The origin is the caller's choice (the server uses the monotonic clock).

use core::ops::{Add, Sub};
use core::time::Duration;

/// A point in time: microseconds since an arbitrary origin that all values of one program share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The origin.
    pub const ZERO: Self = Self(0);
    /// Later than every deadline: "never".
    pub const NEVER: Self = Self(u64::MAX);

    /// The time from `earlier` to `self`, zero if `earlier` is the later of the two.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Saturates at [`Time::NEVER`], so "now + a disabled limit" stays "never".
    fn add(self, length: Duration) -> Self {
        let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturates_both_ways() {
        assert_eq!(Time(5).since(Time(9)), Duration::ZERO);
        assert_eq!(Time(9) - Time(5), Duration::from_micros(4));
        assert_eq!(Time(1) + Duration::MAX, Time::NEVER);
        assert_eq!(Time::ZERO + Duration::from_millis(2), Time(2000));
    }
}
