//! Which connections are closed where there is no room for others: of those that are idle, the one
//! that has been so for longest, and before it those that never said anything.
//!
//! Asked only where there is no room. One scan of all connections serves a sixteenth of them, so
//! that in a flood of new ones each costs a few looks and not a scan.

use std::collections::VecDeque;
use std::time::Duration;

use ringway_codec::Time;

use crate::conn::Idle;
use crate::ring::token::Id;
use crate::rt::descriptors::OVER;

/// A scan that found few is not repeated sooner: it would find as few.
const REST: Duration = Duration::from_millis(20);
/// A connection is not closed for another sooner: clients that come together would close each
/// other's before they have asked.
pub(crate) const GRACE: Duration = Duration::from_millis(250);
/// What a scan keeps at least, if there are as many, and at most.
const BATCH: (usize, usize) = (16, 4096);

/// The connections that may go, and those that are going.
#[derive(Default)]
pub(crate) struct Shed {
    /// How each was idle when it was found, the one to go first in front.
    found: VecDeque<(Idle, Id)>,
    scan_at: Time,
    /// Told to close, and perhaps not closed yet.
    going: Vec<Id>,
}

impl Shed {
    /// The next that was idle at the last scan, and how.
    pub(crate) fn next(&mut self) -> Option<(Idle, Id)> {
        self.found.pop_front()
    }

    /// Whether a scan is worth its time.
    pub(crate) fn may_scan(&self, now: Time) -> bool {
        now >= self.scan_at
    }

    /// Takes all connections that are idle, of which those may go that have been so for `grace`.
    /// While many that came have said nothing yet, those that have spoken stay: it is a flood, or
    /// soon there will be others to go.
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
            self.scan_at = now + REST;
        }
        idle.sort_unstable_by_key(|(idle, id)| (*idle, id.index));
        self.found = idle.into();
    }

    /// Forgets those that are closed; whether one more may be told to close.
    pub(crate) fn has_room(&mut self, mut is_there: impl FnMut(Id) -> bool) -> bool {
        self.going.retain(|id| is_there(*id));
        self.going.len() < OVER as usize
    }

    /// This one is told to close.
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
        assert!(!shed.may_scan(now) && shed.may_scan(now + REST), "that were all");
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
