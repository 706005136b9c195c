//! The register of early data (RFC 8446 section 8.2, RFC 8470): a process-wide record of the
//! ClientHellos of the last two minutes, so a second copy is recognised as a replay and its
//! requests get 425. Two minutes are enough: BoringSSL refuses early data whose ticket age is off
//! by more than one. The server decides which requests are safe to repeat, by their method.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use boring::ex_data::Index;
use boring::ssl::{Ssl, SslRef};
use zeroize::{Zeroize, Zeroizing};

use crate::keys::{keyed_hash, random};

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
    /// Clients cannot know where a hello falls.
    key: [u8; KEY],
    /// Until this second every hello counts as a replay: others may have been taken elsewhere.
    closed_until: AtomicU64,
}

const KEY: usize = 32;
/// Most entries of a register: its buckets are chosen by 16 bits.
const ENTRIES_MAX: usize = WAYS << 16;
/// The second after which a register opens again never comes.
const CLOSED: u64 = u64::MAX;

impl Register {
    /// A register of at least `capacity` hellos, 8 bytes each.
    pub fn new(capacity: usize) -> Self {
        let len = capacity.clamp(WAYS, ENTRIES_MAX).next_power_of_two();
        let mut key = [0; KEY];
        random(&mut key);
        let entries = (0..len).map(|_| AtomicU64::new(0)).collect();
        Self { entries, key, closed_until: AtomicU64::new(0) }
    }

    /// The register for the process that replaces this one, with the ages of its entries at
    /// `now_s`. From now on every hello counts as a replay here: what is completed here later, the
    /// other one does not know.
    pub fn export(&self, now_s: u64) -> Zeroizing<Vec<u8>> {
        self.closed_until.store(CLOSED, Ordering::SeqCst);
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEY + 8 * self.entries.len()));
        bytes.extend_from_slice(&self.key);
        for slot in &self.entries {
            let held = slot.load(Ordering::SeqCst);
            let age = now_s.wrapping_sub(held) & STAMP_MASK;
            let kept =
                if held != 0 && is_fresh(held, now_s) { (held & !STAMP_MASK) | age } else { 0 };
            bytes.extend_from_slice(&kept.to_be_bytes());
        }
        bytes
    }

    /// The register that [`export`](Self::export) has written, at `now_s` of our clock; `None` if
    /// it is malformed.
    pub fn import(bytes: &[u8], now_s: u64) -> Option<Self> {
        let (key, entries) = bytes.split_first_chunk::<KEY>()?;
        let (entries, rest) = entries.as_chunks::<8>();
        let len = entries.len();
        if !rest.is_empty() || !len.is_power_of_two() || !(WAYS..=ENTRIES_MAX).contains(&len) {
            return None;
        }
        let entry = |bytes: &[u8; 8]| {
            let kept = u64::from_be_bytes(*bytes);
            let stamp = now_s.wrapping_sub(kept) & STAMP_MASK;
            AtomicU64::new(if kept == 0 { 0 } else { (kept & !STAMP_MASK | stamp).max(1) })
        };
        let entries = entries.iter().map(entry).collect();
        Some(Self { entries, key: *key, closed_until: AtomicU64::new(0) })
    }

    /// After an [`export`](Self::export) whose receiver has failed: hellos count as first again. If
    /// it `has_served`, not before all that it may have taken are old.
    pub fn take_back(&self, has_served: bool, now_s: u64) {
        let until = if has_served { now_s + KEPT_S + 1 } else { 0 };
        self.closed_until.store(until, Ordering::SeqCst);
    }

    /// Records the ClientHello with this `random` at `now_s` (seconds of any clock); returns
    /// whether it is the first.
    pub fn first_use(&self, random: &[u8], now_s: u64) -> bool {
        let [a, b, c, d, e, f, g, h, ..] = keyed_hash(&self.key, random);
        let hash = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
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
            match slot.compare_exchange(held, entry, Ordering::SeqCst, Ordering::Acquire) {
                // Looked at after the entry is there: an export at this moment has one of the two.
                Ok(_) => return now_s >= self.closed_until.load(Ordering::SeqCst),
                // Another worker took the place, perhaps for the same hello.
                Err(other) if other & !STAMP_MASK == print => return false,
                Err(_) => {}
            }
        }
        false
    }
}

impl Drop for Register {
    fn drop(&mut self) {
        self.key.zeroize();
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

    /// Row 142: what a process has taken is a replay in the next one, by another clock too, and
    /// what it completes after the hand-over is one to itself.
    #[test]
    fn row_142_hellos_are_replays_in_the_next_process() {
        let old = Register::new(1 << 15);
        let hello = |n: u32| n.to_be_bytes();
        assert!((0..1000).all(|n| old.first_use(&hello(n), 1000 + u64::from(n / 10))));
        let bytes = old.export(1100);
        assert_eq!(bytes.len(), 32 + (256 << 10));
        let new = Register::import(&bytes, 7).unwrap();
        assert!((0..1000).all(|n| !new.first_use(&hello(n), 7)));
        assert!(new.first_use(&hello(1000), 7) && !new.first_use(&hello(1000), 8));
        // The ages go on: the first ten were 100 seconds old, the last ten one.
        assert!((0..10).all(|n| new.first_use(&hello(n), 7 + KEPT_S - 100 + 1)));
        assert!((990..1000).all(|n| !new.first_use(&hello(n), 7 + KEPT_S - 100 + 1)));
        assert!((2000..2010).all(|n| !old.first_use(&hello(n), 1101)), "it has been handed over");
        // The new one has failed, before or after it could take any.
        old.take_back(false, 1102);
        assert!(old.first_use(&hello(3000), 1102));
        old.take_back(true, 1103);
        assert!(!old.first_use(&hello(3001), 1103 + KEPT_S));
        assert!(old.first_use(&hello(3002), 1104 + KEPT_S));
        for len in [0, 31, 32, 33, 32 + 8, 32 + 8 * 9, bytes.len() - 8] {
            assert!(Register::import(&bytes[..len], 7).is_none(), "{len}");
        }
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
