//! Stateless resets (RFC 9000 section 10.3): the answer to a packet of a connection that we no
//! longer know, so the client stops waiting. quiche advertises the tokens; the packet is built
//! here.

use std::time::Instant;

use crate::keys::{Keys, keyed_hash, random};

/// The shortest packet that can be a reset: a first byte, 4 bytes that look like the rest of a
/// header, the token.
const LEN_MIN: usize = 21;
/// A reset this long is indistinguishable from a short packet of a live connection.
const LEN_MAX: usize = 43;
const TOKEN: usize = 16;

/// Makes reset tokens and a limited number of packets per second.
pub struct Resets {
    key: [u8; 32],
    budget: Budget,
}

impl Resets {
    /// A maker of resets under `keys`, at most `per_second` packets in any second.
    pub fn new(keys: &Keys, per_second: u32, now: Instant) -> Self {
        Self { key: keys.reset, budget: Budget::new(per_second, now) }
    }

    /// The token that goes with the connection ID `cid`.
    pub fn token(&self, cid: &[u8]) -> u128 {
        let mut token = [0; TOKEN];
        token.copy_from_slice(&keyed_hash(&self.key, cid)[..TOKEN]);
        u128::from_be_bytes(token)
    }

    /// Writes the reset for a packet of `trigger` bytes that was sent to `cid` into `out` and
    /// returns its length. `None` if the packet was too short for a shorter answer (which ends a
    /// loop of two endpoints that reset each other, RFC 9000 section 10.3.3), or if this second's
    /// limit is reached.
    pub fn packet(
        &mut self,
        cid: &[u8],
        trigger: usize,
        now: Instant,
        out: &mut [u8],
    ) -> Option<usize> {
        if trigger <= LEN_MIN || !self.budget.spend(now) {
            return None;
        }
        let len = (trigger - 1).min(LEN_MAX);
        let packet = out.get_mut(..len)?;
        let (head, token) = packet.split_at_mut(len - TOKEN);
        random(head);
        // The form of a short header: 0 1 and six bits that header protection makes random.
        head[0] = (head[0] & 0x3f) | 0x40;
        token.copy_from_slice(&self.token(cid).to_be_bytes());
        Some(len)
    }
}

/// A bucket of `per_second` that refills once a second: coarse, but enough to bound answers to
/// strangers.
pub(crate) struct Budget {
    per_second: u32,
    left: u32,
    since: Instant,
}

impl Budget {
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, left: per_second, since: now }
    }

    pub(crate) fn spend(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since).as_secs() >= 1 {
            self.since = now;
            self.left = self.per_second;
        }
        let any = self.left > 0;
        self.left = self.left.saturating_sub(1);
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn resets(per_second: u32, now: Instant) -> Resets {
        Resets::new(&Keys::derive(&[1; 32]), per_second, now)
    }

    /// Row 76: always shorter than its trigger, so two endpoints cannot reset each other
    /// for ever.
    #[test]
    fn a_reset_is_shorter_than_its_trigger_and_ends_in_the_token() {
        let now = Instant::now();
        let mut resets = resets(u32::MAX, now);
        let token = resets.token(b"cid").to_be_bytes();
        for trigger in 0..1500 {
            let mut out = [0; 64];
            match resets.packet(b"cid", trigger, now, &mut out) {
                None => assert!(trigger <= LEN_MIN),
                Some(len) => {
                    assert!((LEN_MIN..=LEN_MAX).contains(&len) && len < trigger);
                    assert_eq!(out[0] & 0xc0, 0x40);
                    assert_eq!(out[len - TOKEN..len], token);
                }
            }
        }
        assert_ne!(resets.token(b"cid"), resets.token(b"cie"));
    }

    #[test]
    fn resets_are_rationed() {
        let start = Instant::now();
        let mut resets = resets(3, start);
        let mut out = [0; 64];
        let mut given = |resets: &mut Resets, now| {
            (0..10).filter(|_| resets.packet(b"cid", 100, now, &mut out).is_some()).count()
        };
        assert_eq!(given(&mut resets, start), 3);
        assert_eq!(given(&mut resets, start + Duration::from_millis(999)), 0);
        assert_eq!(given(&mut resets, start + Duration::from_millis(1000)), 3);
    }
}
