//! The worker's timer wheel: one deadline for each key, coarse and cheap.
//!
//! One level of 1,024 buckets of 16 ms. A deadline past the horizon (16 s) goes into the last
//! bucket and is put off when it fires; so is one that was moved later, because activity only
//! writes the owner's own deadline and leaves the wheel alone (ENGINE: lazy deadlines). The wheel's
//! next expiry is the timeout of the worker's enter: there are no timeout submissions.

use ringway_codec::Time;

use crate::ring::reserve::{grow, room};

const BUCKETS: usize = 1024;
const TICK_MICROS: u64 = 16 * 1024;
const NONE: u32 = u32::MAX;
const IDLE: u16 = u16::MAX;

/// A doubly linked list for each bucket, threaded through one node for each key.
pub(crate) struct Wheel {
    nodes: Vec<Node>,
    heads: Vec<u32>,
    occupied: [u64; BUCKETS / 64],
    /// The tick up to which everything has expired.
    now: u64,
    /// No key fires before this tick; if nothing is armed there is none.
    soonest: u64,
}

#[derive(Clone, Copy)]
struct Node {
    previous: u32,
    next: u32,
    bucket: u16,
}

impl Wheel {
    pub(crate) fn new(now: Time) -> Self {
        Self::with_room(0, now)
    }

    /// A wheel for about `most` keys.
    pub(crate) fn with_room(most: usize, now: Time) -> Self {
        Self {
            nodes: room(most),
            heads: vec![NONE; BUCKETS],
            occupied: [0; BUCKETS / 64],
            now: tick(now),
            soonest: u64::MAX,
        }
    }

    /// Makes sure that `key` fires no later than one tick after `deadline`. A key that is armed for
    /// an earlier bucket is left there: it fires, and its owner puts it off.
    pub(crate) fn arm(&mut self, key: u32, deadline: Time) {
        let index = key as usize;
        while self.nodes.len() <= index {
            grow(&mut self.nodes);
            self.nodes.push(Node { previous: NONE, next: NONE, bucket: IDLE });
        }
        // Rounded up, so that nothing fires early; at least the next tick, so that it fires at all.
        let ahead = (tick(deadline) + 1).saturating_sub(self.now).clamp(1, BUCKETS as u64 - 1);
        let node = self.nodes[index];
        if node.bucket != IDLE {
            let armed = (u64::from(node.bucket)).wrapping_sub(self.now) % BUCKETS as u64;
            if armed != 0 && armed <= ahead {
                return;
            }
            self.disarm(key);
        }
        self.soonest = self.soonest.min(self.now + ahead);
        let bucket = ((self.now + ahead) % BUCKETS as u64) as u16;
        let head = self.heads[usize::from(bucket)];
        self.nodes[index] = Node { previous: NONE, next: head, bucket };
        if head != NONE {
            self.nodes[head as usize].previous = key;
        }
        self.heads[usize::from(bucket)] = key;
        self.occupied[usize::from(bucket) / 64] |= 1 << (bucket % 64);
    }

    /// Forgets a key's deadline.
    pub(crate) fn disarm(&mut self, key: u32) {
        let Some(node) = self.nodes.get(key as usize).copied() else { return };
        if node.bucket == IDLE {
            return;
        }
        let bucket = usize::from(node.bucket);
        if node.previous == NONE {
            self.heads[bucket] = node.next;
            if node.next == NONE {
                self.occupied[bucket / 64] &= !(1 << (bucket % 64));
            }
        } else {
            self.nodes[node.previous as usize].next = node.next;
        }
        if node.next != NONE {
            self.nodes[node.next as usize].previous = node.previous;
        }
        self.nodes[key as usize].bucket = IDLE;
    }

    /// When the next key may fire, if any is armed: never later than it does. It is earlier where
    /// the key was disarmed, until then.
    pub(crate) fn next(&self) -> Option<Time> {
        (self.soonest != u64::MAX).then(|| Time(self.soonest * TICK_MICROS))
    }

    /// Takes every key that is due out of the wheel and appends it to `due`.
    #[inline]
    pub(crate) fn expire(&mut self, now: Time, due: &mut Vec<u32>) {
        let target = tick(now);
        if target < self.soonest {
            self.now = target;
        } else {
            self.advance(target, due);
        }
    }

    fn advance(&mut self, target: u64, due: &mut Vec<u32>) {
        if target.saturating_sub(self.now) >= BUCKETS as u64 {
            // A worker that slept through the whole horizon: everything is due.
            self.now = target - BUCKETS as u64;
        }
        while self.now < target {
            self.now += 1;
            let bucket = (self.now % BUCKETS as u64) as usize;
            while self.heads[bucket] != NONE {
                let key = self.heads[bucket];
                self.disarm(key);
                due.push(key);
            }
        }
        let start = (self.now + 1) % BUCKETS as u64;
        let ahead = first_from(&self.occupied, start as usize);
        self.soonest = ahead.map_or(u64::MAX, |ahead| self.now + 1 + ahead as u64);
    }
}

fn tick(time: Time) -> u64 {
    time.0 / TICK_MICROS
}

/// How far from `start`, going round, the first set bit is.
fn first_from(bits: &[u64; BUCKETS / 64], start: usize) -> Option<usize> {
    let words = bits.len();
    let (word, bit) = (start / 64, start % 64);
    for step in 0..=words {
        let at = (word + step) % words;
        let mut found = bits[at];
        if step == 0 {
            found &= !0 << bit;
        } else if step == words {
            found &= !(!0 << bit);
        }
        if found != 0 {
            let position = at * 64 + found.trailing_zeros() as usize;
            return Some((position + BUCKETS - start) % BUCKETS);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn expired(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.expire(Time(now), &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn nothing_fires_early_and_all_fires_within_two_ticks() {
        for start in [0, 5, 1_000_000_007] {
            for delay in [0, 1, 16_383, 16_384, 100_000, 1_000_000, 15_000_000] {
                let mut wheel = Wheel::new(Time(start));
                wheel.arm(3, Time(start + delay));
                if delay > 0 {
                    assert!(expired(&mut wheel, start + delay - 1).is_empty(), "{start} {delay}");
                }
                let next = wheel.next().unwrap().0;
                assert!(next > start + delay - delay.min(1));
                assert!(next <= start + delay + 2 * TICK_MICROS);
                assert_eq!(expired(&mut wheel, next), [3]);
                assert_eq!(wheel.next(), None);
            }
        }
    }

    #[test]
    fn past_the_horizon_fires_at_the_horizon() {
        let mut wheel = Wheel::new(Time(0));
        wheel.arm(0, Time(3_600_000_000));
        let next = wheel.next().unwrap();
        assert!(next.0 <= BUCKETS as u64 * TICK_MICROS);
        assert_eq!(expired(&mut wheel, next.0), [0]);
    }

    #[test]
    fn an_earlier_deadline_wins_and_a_later_one_is_left() {
        let mut wheel = Wheel::new(Time(0));
        wheel.arm(1, Time(1_000_000));
        wheel.arm(1, Time(5_000_000));
        assert_eq!(expired(&mut wheel, 1_100_000), [1]);
        wheel.arm(1, Time(5_000_000));
        wheel.arm(1, Time(2_000_000));
        assert_eq!(expired(&mut wheel, 2_100_000), [1]);
    }

    #[test]
    fn a_long_sleep_expires_everything_once() {
        let mut wheel = Wheel::new(Time(0));
        for key in 0..500 {
            wheel.arm(key, Time(u64::from(key) * 30_000));
        }
        wheel.disarm(77);
        assert!(wheel.next().unwrap().0 <= 2 * TICK_MICROS);
        let due = expired(&mut wheel, 1_000_000_000);
        assert_eq!(due.len(), 499);
        assert!(!due.contains(&77));
        assert_eq!(wheel.next(), None);
    }

    /// Against a plain map of the ticks at which keys fire, whatever is armed, disarmed and slept
    /// through: exactly what is due fires, and the wheel's next expiry neither misses a key nor
    /// comes again and again for nothing.
    #[test]
    fn a_plain_map_fires_the_same() {
        const HORIZON: u64 = BUCKETS as u64 - 1;
        for seed in 0..32_u64 {
            let mut state = seed;
            let mut below = |most: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed << 1 | 1);
                (state >> 33) % most
            };
            let mut now = below(1 << 30);
            let mut wheel = Wheel::new(Time(now));
            let mut plain = BTreeMap::<u32, u64>::new();
            for step in 0..3000 {
                let key = below(40) as u32;
                // One tick, a second, almost the horizon, four of them.
                let span =
                    [TICK_MICROS, 1_000_000, HORIZON * TICK_MICROS, 1 << 26][below(4) as usize];
                let before = wheel.next();
                match below(8) {
                    0..4 => {
                        let deadline = (now + below(span)).saturating_sub(below(TICK_MICROS));
                        wheel.arm(key, Time(deadline));
                        let [tick, from] = [deadline, now].map(|time| time / TICK_MICROS);
                        let fires = (tick + 1).clamp(from + 1, from + HORIZON);
                        let entry = plain.entry(key).or_insert(fires);
                        *entry = fires.min(*entry);
                    }
                    4 => {
                        wheel.disarm(key);
                        plain.remove(&key);
                    }
                    kind => {
                        let slept = now + below(span);
                        now = before.filter(|_| kind > 5).map_or(slept, |next| next.0);
                        let is_due = |tick: &u64| *tick <= now / TICK_MICROS;
                        let fired = plain.iter().filter(|(_, tick)| is_due(tick));
                        let fired: Vec<u32> = fired.map(|(key, _)| *key).collect();
                        plain.retain(|_, tick| !is_due(tick));
                        assert_eq!(expired(&mut wheel, now), fired, "seed {seed} step {step}");
                    }
                }
                let next = wheel.next().map_or(u64::MAX, |next| next.0 / TICK_MICROS);
                let first = plain.values().min().copied().unwrap_or(u64::MAX);
                assert!(next <= first, "seed {seed} step {step}: a key is missed");
                assert!(next > now / TICK_MICROS, "seed {seed} step {step}: the wheel spins");
            }
        }
    }
}
