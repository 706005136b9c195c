//! Fits the number of connections to the process's limit of descriptors, at the start. Descriptors
//! for files and logs are reserved.

use std::fmt;

use ringway_tuning::start::Usage;

use crate::config::Limits;

/// Descriptors reserved for open files and logs: a quarter of the limit, within these bounds.
const KEPT_MIN: u64 = 16;
const KEPT_MAX: u64 = 4096;
/// Descriptors of a worker beside its connections: its ring, its mailbox, and the connections above
/// its bound while it sheds others.
const WORKER: u64 = 4 + OVER as u64;
/// Descriptors that the process opens after the start: certificates, ticket keys, a reopened log,
/// threads.
const PROCESS: u64 = 4;
/// Connections for the readers of metrics, besides the pages that stay connected.
pub(crate) const METRICS: u32 = 8;
/// Connections above the bound that a worker may have while it closes as many others.
pub(crate) const OVER: u32 = 4;
/// The lowest number of connections that is set.
const LEAST: u64 = 8;

/// A limit that was lowered, for a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fitted {
    wanted: u32,
    most: u32,
    limit: u64,
    kept: u64,
}

/// The small servers beside a server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Beside {
    pub(crate) metrics: bool,
    pub(crate) health: bool,
}

impl Beside {
    /// Lowers `limits.connections` to what the descriptors allow; returns a message if it did.
    pub(crate) fn fit(self, limits: &mut Limits, workers: usize, usage: Usage) -> Option<Fitted> {
        let Usage { limit, open } = usage;
        let kept = (limit / 4).clamp(KEPT_MIN, KEPT_MAX);
        let readers = u64::from(METRICS + limits.metrics_pages);
        let metrics = if self.metrics { WORKER + readers + 1 } else { 0 };
        let health = if self.health { WORKER + u64::from(METRICS) + 1 } else { 0 };
        let workers = workers.max(1) as u64;
        let others = open + kept + PROCESS + metrics + health + workers * WORKER;
        let most = (limit.saturating_sub(others) / workers).max(LEAST);
        let wanted = limits.connections;
        if most >= u64::from(wanted) {
            return None;
        }
        limits.connections = most as u32;
        Some(Fitted { wanted, most: most as u32, limit, kept })
    }
}

impl fmt::Display for Fitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted, most, limit, kept } = self;
        write!(
            f,
            "limits.connections is {most} for each worker instead of {wanted}: the process may have \
             {limit} descriptors, of which {kept} are kept for files and logs\n  to mend it: ulimit \
             -n in the shell that starts it, LimitNOFILE= in the unit, or a lower limits.connections"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(limit: u64, open: u64, workers: usize, measured: bool) -> (u32, Option<u64>) {
        let mut limits = Limits::default();
        let said = Beside { metrics: measured, health: false }.fit(
            &mut limits,
            workers,
            Usage { limit, open },
        );
        (limits.connections, said.map(|said| said.kept))
    }

    /// Row F11.
    #[test]
    fn f11_connections_are_fitted_to_the_descriptors() {
        assert_eq!(fitted(1 << 20, 20, 2, false), (65_536, None), "there are enough");
        assert_eq!(fitted(u64::MAX, 20, 64, true), (65_536, None));
        let cases =
            [(1024, 20, 2, false), (1024, 400, 8, true), (100, 8, 1, false), (4096, 9, 2, true)];
        for (limit, open, workers, measured) in cases {
            let (each, kept) = fitted(limit, open, workers, measured);
            let (each, kept) = (u64::from(each), kept.unwrap());
            assert!(each >= LEAST && kept >= KEPT_MIN, "{limit}");
            let all = open + workers as u64 * (each + WORKER) + PROCESS + kept;
            assert!(all <= limit, "{all} of {limit}");
            assert!(all + 100 > limit, "{all} of {limit}: as many as may be");
        }
        // Too few for anything: the least, and not none.
        assert_eq!(fitted(16, 12, 4, false).0, LEAST as u32);
        // QUIC's sockets are among those that are open.
        assert!(fitted(1024, 30, 2, false).0 < fitted(1024, 20, 2, false).0);
    }

    #[test]
    fn f11_what_is_said_names_the_remedy() {
        let mut limits = Limits::default();
        let said = Beside::default().fit(&mut limits, 1, Usage { limit: 1024, open: 10 }).unwrap();
        let said = said.to_string();
        assert!(said.contains("instead of 65536") && said.contains("1024 descriptors"), "{said}");
        assert!(said.contains("ulimit -n") && said.contains("LimitNOFILE"), "{said}");
    }
}
