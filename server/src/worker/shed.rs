//! Which idle connection is closed when there is no room for a new one: first one that never sent
//! anything, else the longest idle.
//!
//! Runs only when room is short. One scan serves a sixteenth of the connections, so in a flood each
//! new connection costs a few checks, not a scan.

use std::collections::VecDeque;
use std::time::Duration;

use ringway_codec::Time;

use crate::conn::Idle;
use crate::ring::token::Id;
use crate::rt::descriptors::OVER;

/// Minimum time between scans that found few candidates.
const SCAN_EVERY: Duration = Duration::from_millis(20);
/// Minimum idle time before a connection may be closed for another: clients that arrive together
/// must not close each other's connections.
pub(crate) const GRACE: Duration = Duration::from_millis(250);
/// Bounds of the candidates that a scan keeps.
const BATCH: (usize, usize) = (16, 4096);

/// Candidates for closing, and connections being closed.
#[derive(Default)]
pub(crate) struct Shed {
    /// Candidates, the next one to close in front.
    found: VecDeque<(Idle, Id)>,
    scan_at: Time,
    /// Told to close; may not be closed yet.
    going: Vec<Id>,
}

impl Shed {
    /// The next candidate of the last scan.
    pub(crate) fn next(&mut self) -> Option<(Idle, Id)> {
        self.found.pop_front()
    }

    /// Whether a new scan is due.
    pub(crate) fn may_scan(&self, now: Time) -> bool {
        now >= self.scan_at
    }

    /// Takes all idle connections and keeps candidates that were idle for `grace`. While many have
    /// not sent anything yet, those that have are spared: it is a flood, or other candidates will
    /// follow.
    pub(crate) fn scanned(&mut self, mut idle: Vec<(Idle, Id)>, grace: Duration, now: Time) {
        let all = idle.len();
        let silent = idle.iter().filter(|(idle, _)| !idle.has_spoken).count();
        idle.retain(|(idle, _)| now.since(idle.since) >= grace);
        if silent * 4 >= all || idle.iter().any(|(idle, _)| !idle.has_spoken) {
            idle.retain(|(idle, _)| !idle.has_spoken);
        }
        let batch = (idle.len() / 16).clamp(BATCH.0, BATCH.1);
        if idle.len() > batch {
            idle.select_nth_unstable_by_key(batch, |(idle, id)| (*idle, id.index));
            idle.truncate(batch);
        } else {
            self.scan_at = now + SCAN_EVERY;
        }
        idle.sort_unstable_by_key(|(idle, id)| (*idle, id.index));
        self.found = idle.into();
    }

    /// Forgets closed connections; returns whether another may be told to close.
    pub(crate) fn has_room(&mut self, mut is_there: impl FnMut(Id) -> bool) -> bool {
        self.going.retain(|id| is_there(*id));
        self.going.len() < OVER as usize
    }

    /// Records that this connection was told to close.
    pub(crate) fn goes(&mut self, id: Id) {
        self.going.push(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u32) -> Id {
        Id { index, generation: 0 }
    }

    /// Row F11.
    #[test]
    fn f11_the_oldest_go_first_and_a_scan_serves_many() {
        let mut shed = Shed::default();
        let now = Time(1_000_000);
        let idle = |has_spoken, since| Idle { has_spoken, since: Time(since) };
        let all = (0..1600).map(|n| (idle(true, u64::from(n * 7919 % 1600)), id(n))).collect();
        shed.scanned(all, GRACE, now);
        assert!(shed.may_scan(now), "there were more");
        let mut taken = Vec::new();
        while let Some((idle, _)) = shed.next() {
            taken.push(idle.since.0);
        }
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
        let [old, new, silent] = [(true, 3), (true, 9), (false, 99)].map(|(a, b)| idle(a, b));
        let mut order = |idle: &[(Idle, Id)], grace| {
            shed.scanned(idle.to_vec(), grace, now);
            std::iter::from_fn(|| shed.next()).map(|(_, id)| id.index).collect::<Vec<_>>()
        };
        let [one, two, three] = [id(1), id(2), id(3)];
        assert_eq!(order(&[(new, one), (old, two)], GRACE), [2, 1]);
        assert_eq!(order(&[(new, one), (old, two), (silent, three)], GRACE), [3]);
        // One that has just come does not go, and the others not for it, but for a file.
        let fresh = idle(false, now.0 - 1000);
        assert_eq!(order(&[(new, one), (fresh, three)], GRACE), [0; 0]);
        assert_eq!(order(&[(new, one), (fresh, three)], Duration::ZERO), [3]);
        assert!(!shed.may_scan(now) && shed.may_scan(now + SCAN_EVERY), "that were all");
    }

    #[test]
    fn f11_few_are_going_at_once() {
        let mut shed = Shed::default();
        for n in 0..OVER {
            assert!(shed.has_room(|_| true));
            shed.goes(id(n));
        }
        assert!(!shed.has_room(|_| true));
        assert!(shed.has_room(|id| id.index > 0), "one is closed");
    }
}
