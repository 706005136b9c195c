//! What a peer may cost us: one leaky bucket per kind of cheap-to-send, costly-to-serve frame, and
//! the counters that a metrics page shows. A bucket holds `burst` and leaks `per_second`; past it
//! the connection ends with ENHANCE_YOUR_CALM (RFC 9113 section 10.5). Not for flow control or
//! concurrency, which have their own limits.

use crate::Time;
use core::ops::{Index, IndexMut};

/// The kinds of abuse that are metered, each named after what the peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// RST_STREAM on a request that is not answered yet: rapid reset (CVE-2023-44487).
    Reset,
    /// Errors that make us reset a stream: "MadeYouReset" (CVE-2025-8671).
    Provoked,
    /// Streams opened above the limit, which we refuse.
    Refused,
    /// HEADERS, DATA or CONTINUATION that carry nothing and end nothing (CVE-2019-9516, 9518).
    Empty,
    /// DATA of a few octets that does not end its stream.
    Tiny,
    /// DATA that a tiny window forces us to send in a few octets (CVE-2019-9511).
    Dribble,
    /// SETTINGS (CVE-2019-9515).
    Settings,
    /// PING (CVE-2019-9512).
    Ping,
    /// PRIORITY and PRIORITY_UPDATE (CVE-2019-9513).
    Priority,
    /// WINDOW_UPDATE beyond two for each DATA frame that we sent.
    WindowUpdate,
    /// Heads above the size or field limit (CVE-2016-6581).
    Oversize,
    /// Responses reset because the peer left them without window.
    Stalled,
    /// Frames of unknown type.
    Unknown,
}

/// How many kinds there are.
pub const KINDS: usize = 13;

impl Kind {
    /// Every kind, in order.
    pub const ALL: [Self; KINDS] = {
        use Kind::*;
        [
            Reset,
            Provoked,
            Refused,
            Empty,
            Tiny,
            Dribble,
            Settings,
            Ping,
            Priority,
            WindowUpdate,
            Oversize,
            Stalled,
            Unknown,
        ]
    };

    /// The kind's name in metrics and configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Provoked => "provoked",
            Self::Refused => "refused",
            Self::Empty => "empty",
            Self::Tiny => "tiny",
            Self::Dribble => "dribble",
            Self::Settings => "settings",
            Self::Ping => "ping",
            Self::Priority => "priority",
            Self::WindowUpdate => "window_update",
            Self::Oversize => "oversize",
            Self::Stalled => "stalled",
            Self::Unknown => "unknown",
        }
    }

    /// What the GOAWAY's debug text and our log say when the bucket is over full.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Reset => "more requests cancelled than the budget allows",
            Self::Provoked => "more stream errors provoked than the budget allows",
            Self::Refused => "more streams above the limit than the budget allows",
            Self::Empty => "more empty frames than the budget allows",
            Self::Tiny => "more tiny DATA frames than the budget allows",
            Self::Dribble => "windows so small, so often, that sending costs too much",
            Self::Settings => "more SETTINGS than the budget allows",
            Self::Ping => "more PINGs than the budget allows",
            Self::Priority => "more priority frames than the budget allows",
            Self::WindowUpdate => "more WINDOW_UPDATEs than the budget allows",
            Self::Oversize => "more oversized heads than the budget allows",
            Self::Stalled => "more responses left without window than the budget allows",
            Self::Unknown => "more frames of unknown type than the budget allows",
        }
    }
}

/// One bucket's size and leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Events accepted at once.
    pub burst: u16,
    /// Events forgiven per second.
    pub per_second: u16,
}

/// All limits on cost, per connection. `budgets[Kind::Ping].burst = 9` changes one.
#[derive(Clone, Debug)]
pub struct Budgets {
    by_kind: [Budget; KINDS],
    /// CONTINUATION frames shorter than 16,384 octets in one header block.
    pub continuations: u8,
    /// DATA payloads below this count as tiny (received) or dribbled (sent), unless they end the
    /// stream.
    pub tiny: u16,
}

impl Default for Budgets {
    fn default() -> Self {
        const fn b(burst: u16, per_second: u16) -> Budget {
            Budget { burst, per_second }
        }
        let mut budgets = Self { by_kind: [b(0, 0); KINDS], continuations: 8, tiny: 64 };
        let table = [
            // A browser that leaves a page cancels what is open: some hundred at once, not again
            // within the second.
            (Kind::Reset, b(500, 50)),
            (Kind::Provoked, b(100, 10)),
            // A client that has not yet read our SETTINGS may overshoot by a whole flight.
            (Kind::Refused, b(1000, 100)),
            (Kind::Empty, b(100, 10)),
            // Small messages of a gRPC stream come this fast.
            (Kind::Tiny, b(20_000, 20_000)),
            (Kind::Dribble, b(1000, 100)),
            (Kind::Settings, b(32, 4)),
            // gRPC measures its bandwidth-delay product with PINGs, one per round trip while data
            // flows.
            (Kind::Ping, b(1000, 100)),
            (Kind::Priority, b(1000, 100)),
            (Kind::WindowUpdate, b(10_000, 1000)),
            (Kind::Oversize, b(20, 1)),
            (Kind::Stalled, b(100, 2)),
            (Kind::Unknown, b(1000, 100)),
        ];
        for (kind, budget) in table {
            budgets[kind] = budget;
        }
        budgets
    }
}

impl Index<Kind> for Budgets {
    type Output = Budget;
    fn index(&self, kind: Kind) -> &Budget {
        &self.by_kind[kind as usize]
    }
}

impl IndexMut<Kind> for Budgets {
    fn index_mut(&mut self, kind: Kind) -> &mut Budget {
        &mut self.by_kind[kind as usize]
    }
}

/// What happened on all connections of a worker since its start; every number only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections begun.
    pub connections: u64,
    /// Requests handed to the application.
    pub requests: u64,
    /// Pushes promised.
    pub pushes: u64,
    /// RST_STREAM frames received.
    pub resets_received: u64,
    /// RST_STREAM frames sent.
    pub resets_sent: u64,
    /// GOAWAY frames received.
    pub goaways_received: u64,
    /// GOAWAY frames sent with an error code.
    pub goaways_sent: u64,
    /// DATA payload octets received, padding included.
    pub data_received: u64,
    /// DATA payload octets sent.
    pub data_sent: u64,
    /// PING round trips measured.
    pub round_trips: u64,
    /// Sum of the measured round trips in microseconds.
    pub round_trip_us: u64,
    /// Charges by kind of abuse, indexed by `Kind as usize`.
    pub charged: [u64; KINDS],
    /// Connections ended for it, by kind.
    pub tripped: [u64; KINDS],
    /// Connections ended for CONTINUATION frames: too many, or too much in them.
    pub tripped_continuation: u64,
    /// Connections ended because the peer did not read what it asked for.
    pub tripped_output: u64,
}

/// The buckets of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Buckets {
    level: [u16; KINDS],
    /// When the buckets leaked last, in whole seconds after the origin.
    leaked: u32,
}

impl Buckets {
    /// Counts one event; `false` when the bucket is over full.
    #[cold]
    pub(super) fn charge(
        &mut self,
        kind: Kind,
        budgets: &Budgets,
        counters: &mut Counters,
        now: Time,
    ) -> bool {
        let second = (now.0 / 1_000_000) as u32;
        let elapsed = second.saturating_sub(self.leaked);
        if elapsed > 0 {
            self.leaked = second;
            for (level, budget) in self.level.iter_mut().zip(&budgets.by_kind) {
                let leak = elapsed.saturating_mul(u32::from(budget.per_second));
                *level = level.saturating_sub(leak.min(u32::from(u16::MAX)) as u16);
            }
        }
        counters.charged[kind as usize] += 1;
        let level = &mut self.level[kind as usize];
        *level = level.saturating_add(1);
        let within = *level <= budgets[kind].burst;
        if !within {
            counters.tripped[kind as usize] += 1;
        }
        within
    }

    /// Forgives `n` events: the peer did something that pays for them.
    #[inline]
    pub(super) fn credit(&mut self, kind: Kind, n: u16) {
        let level = &mut self.level[kind as usize];
        *level = level.saturating_sub(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_burst_and_leaks() {
        let mut budgets = Budgets::default();
        budgets[Kind::Ping] = Budget { burst: 10, per_second: 4 };
        let (mut buckets, mut counters) = (Buckets::default(), Counters::default());
        let mut charge =
            |s: u64| buckets.charge(Kind::Ping, &budgets, &mut counters, Time(s * 1_000_000));
        assert!((0..10).all(|_| charge(5)));
        assert!(!charge(5));
        assert!((0..3).all(|_| charge(6)), "one second forgives four, one of which was over");
        assert!(!charge(6));
        assert!((0..10).all(|_| charge(600)));
        assert!(!charge(600));
        assert_eq!(counters.charged[Kind::Ping as usize], 26);
        assert_eq!(counters.tripped[Kind::Ping as usize], 3);
    }

    #[test]
    fn kinds_are_numbered_as_listed_and_named_apart() {
        for (i, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, i);
            assert!(Budgets::default()[*kind].burst > 0, "{} has no default", kind.name());
            assert!(Kind::ALL[..i].iter().all(|other| other.name() != kind.name()));
        }
    }

    #[test]
    fn credit_never_goes_below_empty() {
        let mut buckets = Buckets::default();
        buckets.credit(Kind::WindowUpdate, 2);
        assert_eq!(buckets.level[Kind::WindowUpdate as usize], 0);
    }
}
