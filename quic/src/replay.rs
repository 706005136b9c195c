//! The register of early data (RFC 8446 section 8.2, RFC 8470): a process-wide record of the
//! ClientHellos of the last two minutes, so a second copy is recognised as a replay and its
//! requests get 425. Two minutes are enough: BoringSSL refuses early data whose ticket age is off
//! by more than one. The server decides which requests are safe to repeat, by their method.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use boring::ex_data::Index;
use boring::ssl::{Ssl, SslRef};

/// Entries of one bucket: one cache line.
const WAYS: usize = 8;
/// How long an entry is kept.
const KEPT_S: u64 = 130;
const STAMP_BITS: u32 = 16;
const STAMP_MASK: u64 = (1 << STAMP_BITS) - 1;

/// A bounded set of recent ClientHellos, shared by all workers without a lock. If it is too small
/// for the traffic, it fails closed: a hello that cannot be recorded counts as a replay, which
/// costs its client one round trip.
pub struct Register {
    /// 48 bits of keyed hash above 16 bits of the second at which it was seen, plus one; 0 is
    /// empty.
    entries: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Register {
    /// A register of at least `capacity` hellos, 8 bytes each.
    pub fn new(capacity: usize) -> Self {
        let len = capacity.max(WAYS).next_power_of_two();
        let entries = (0..len).map(|_| AtomicU64::new(0)).collect();
        Self { entries, hasher: RandomState::new() }
    }

    /// Records the ClientHello with this `random` at `now_s` (seconds of any clock); returns
    /// whether it is the first.
    pub fn first_use(&self, random: &[u8], now_s: u64) -> bool {
        let hash = self.hasher.hash_one(random);
        let print = hash & !STAMP_MASK;
        let stamp = now_s & STAMP_MASK;
        let entry = (print | stamp).max(1);
        let bucket = (hash & STAMP_MASK) as usize;
        let start = (bucket * WAYS) & (self.entries.len() - 1);
        let bucket = &self.entries[start..start + WAYS];
        for slot in bucket {
            let held = slot.load(Ordering::Acquire);
            if held != 0 && held & !STAMP_MASK == print && is_fresh(held, now_s) {
                return false;
            }
        }
        for slot in bucket {
            let held = slot.load(Ordering::Acquire);
            if held != 0 && is_fresh(held, now_s) {
                // Another worker may have recorded the same hello since the first look.
                if held & !STAMP_MASK == print {
                    return false;
                }
                continue;
            }
            match slot.compare_exchange(held, entry, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                // Another worker took the place, perhaps for the same hello.
                Err(other) if other & !STAMP_MASK == print => return false,
                Err(_) => {}
            }
        }
        false
    }
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register").field("capacity", &self.entries.len()).finish_non_exhaustive()
    }
}

fn is_fresh(entry: u64, now_s: u64) -> bool {
    (now_s.wrapping_sub(entry & STAMP_MASK) & STAMP_MASK) <= KEPT_S
}

/// Records in a connection's TLS state whether its ClientHello was a replay. For the
/// select-certificate callback of the context that goes into
/// [`Settings::config`](crate::Settings::config).
pub fn mark(ssl: &mut SslRef, replayed: bool) {
    ssl.set_ex_data(index(), replayed);
}

/// The result of [`mark`]; `false` if it was not called.
pub(crate) fn marked(ssl: &SslRef) -> bool {
    ssl.ex_data(index()).copied().unwrap_or(false)
}

fn index() -> Index<Ssl, bool> {
    static INDEX: OnceLock<Index<Ssl, bool>> = OnceLock::new();
    *INDEX.get_or_init(|| match Ssl::new_ex_index() {
        Ok(index) => index,
        Err(error) => panic!("no room for one more SSL data index: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_use_within_the_window_is_a_replay() {
        let register = Register::new(1024);
        assert!(register.first_use(b"hello", 1000));
        assert!(!register.first_use(b"hello", 1000));
        assert!(!register.first_use(b"hello", 1000 + KEPT_S));
        assert!(register.first_use(b"other", 1000));
        assert!(register.first_use(b"hello", 1001 + KEPT_S));
    }

    /// Full buckets refuse, and have room again later.
    #[test]
    fn an_overfull_register_fails_closed() {
        let register = Register::new(8);
        let taken = (0..100u32).filter(|n| register.first_use(&n.to_be_bytes(), 5)).count();
        assert_eq!(taken, WAYS);
        let later = (0..100u32).filter(|n| register.first_use(&n.to_be_bytes(), 500)).count();
        assert_eq!(later, WAYS);
    }

    #[test]
    fn of_many_threads_one_is_first() {
        let register = Register::new(1 << 16);
        for round in 0..200u32 {
            let firsts: usize = std::thread::scope(|scope| {
                let racers: Vec<_> = (0..4)
                    .map(|_| scope.spawn(|| register.first_use(&round.to_be_bytes(), 9)))
                    .collect();
                racers.into_iter().map(|racer| usize::from(racer.join().unwrap())).sum()
            });
            assert_eq!(firsts, 1, "round {round}");
        }
    }
}
