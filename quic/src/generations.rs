//! The generations of a server: processes that follow one another on the same sockets. The newest
//! reads; what belongs to an older one that still serves its connections is forwarded. A connection
//! ID names its generation and worker ([`cid`](crate::cid)). Until a client has such an ID, its
//! packets carry a destination of its own choice: those are in the table of [`HalfOpen`].

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::cid::Origin;
use crate::table::CidKey;

/// Most older generations that serve beside the newest.
pub const PREDECESSORS_MAX: usize = 8;

/// A handshake that is this old has given its client our connection ID, or has failed.
pub const HALF_OPEN_KEPT: Duration = Duration::from_secs(10);

/// The older generations that still serve, and the workers of each.
#[derive(Clone, Debug, Default)]
pub struct Predecessors(Vec<Generation>);

#[derive(Clone, Debug)]
struct Generation {
    number: u16,
    /// A bit for each worker that still serves.
    workers: [u64; 4],
}

impl Predecessors {
    /// Adds a generation of `workers` workers (at most 256). False if there is one of this number,
    /// or if there are [`PREDECESSORS_MAX`].
    #[must_use]
    pub fn add(&mut self, number: u16, workers: u16) -> bool {
        if self.0.len() >= PREDECESSORS_MAX || self.has(number) {
            return false;
        }
        let mut bits = [0; 4];
        (0..workers.min(256)).for_each(|worker| bits[usize::from(worker / 64)] |= bit(worker));
        self.0.push(Generation { number, workers: bits });
        true
    }

    /// Forgets a worker that is gone, and its generation if that was the last one.
    pub fn forget(&mut self, origin: Origin) {
        let worker = u16::from(origin.worker);
        self.0.retain_mut(|generation| {
            if generation.number == origin.generation {
                generation.workers[usize::from(worker / 64)] &= !bit(worker);
            }
            generation.workers != [0; 4]
        });
    }

    /// Whether a generation of this number serves.
    pub fn has(&self, number: u16) -> bool {
        self.0.iter().any(|generation| generation.number == number)
    }

    /// Whether this worker serves.
    pub fn serves(&self, origin: Origin) -> bool {
        let worker = u16::from(origin.worker);
        self.0.iter().any(|generation| {
            generation.number == origin.generation
                && generation.workers[usize::from(worker / 64)] & bit(worker) != 0
        })
    }
}

fn bit(worker: u16) -> u64 {
    1 << (worker % 64)
}

/// Bytes of an entry: a length, a destination of up to 20 bytes, generation, worker, age in
/// milliseconds; integers are big-endian.
const ENTRY: usize = 1 + quiche::MAX_CONN_ID_LEN + 2 + 1 + 2;

/// Which worker of an older generation has the handshake of a client that does not know our
/// connection ID yet, by the destination that the client has chosen. All workers share one.
#[derive(Debug)]
pub struct HalfOpen {
    entries: HashMap<CidKey, (Origin, Instant)>,
    /// When the last entry is void.
    until: Instant,
}

impl HalfOpen {
    /// Reads what [`Endpoint::export_half_open`](crate::Endpoint::export_half_open) has written,
    /// be it of several workers one after the other; of more than `most` entries the first.
    /// `None` if it is malformed.
    pub fn import(bytes: &[u8], most: usize, now: Instant) -> Option<Self> {
        if !bytes.len().is_multiple_of(ENTRY) {
            return None;
        }
        let count = most.min(bytes.len() / ENTRY);
        let mut table = Self { entries: HashMap::with_capacity(count), until: now };
        for entry in bytes.chunks_exact(ENTRY).take(count) {
            let (len, rest) = entry.split_first()?;
            let (cid, rest) = rest.split_at(quiche::MAX_CONN_ID_LEN);
            let key = CidKey::of(cid.get(..usize::from(*len))?)?;
            let [high, low, worker, age @ ..] = rest.first_chunk::<5>()?;
            let origin = Origin { worker: *worker, generation: u16::from_be_bytes([*high, *low]) };
            let age = Duration::from_millis(u16::from_be_bytes(*age).into());
            let until = now + HALF_OPEN_KEPT.saturating_sub(age);
            table.until = table.until.max(until);
            table.entries.entry(key).or_insert((origin, until));
        }
        Some(table)
    }

    /// The worker that has the handshake with this destination.
    pub(crate) fn origin(&self, cid: &[u8], now: Instant) -> Option<Origin> {
        let (origin, until) = self.entries.get(&CidKey::of(cid)?)?;
        (now < *until).then_some(*origin)
    }

    /// Whether no entry is of use any more.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now >= self.until
    }

    /// Writes at most `most` entries that are still of use behind `out`.
    pub(crate) fn export(&self, most: usize, now: Instant, out: &mut Vec<u8>) {
        let fresh = self.entries.iter().filter(|(_, (_, until))| now < *until);
        for (key, (origin, until)) in fresh.take(most) {
            let age = HALF_OPEN_KEPT.saturating_sub(*until - now);
            write(key, *origin, age, out);
        }
    }
}

/// Writes an entry behind `out`.
pub(crate) fn write(key: &CidKey, origin: Origin, age: Duration, out: &mut Vec<u8>) {
    out.push(key.len);
    out.extend_from_slice(&key.bytes);
    out.extend_from_slice(&origin.generation.to_be_bytes());
    out.push(origin.worker);
    out.extend_from_slice(&(age.as_millis() as u16).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_serves_until_its_last_worker_is_gone() {
        let mut all = Predecessors::default();
        assert!(all.add(7, 256) && !all.add(7, 1), "no two are equal");
        assert!((1..PREDECESSORS_MAX as u16).all(|n| all.add(100 + n, 1)));
        assert!(!all.add(1, 1), "no more than eight");
        for worker in 0..=255 {
            assert!(all.serves(Origin { worker, generation: 7 }) && all.has(7));
            all.forget(Origin { worker, generation: 7 });
            assert!(!all.serves(Origin { worker, generation: 7 }));
        }
        assert!(!all.has(7) && !all.serves(Origin { worker: 1, generation: 101 }));
        assert!(all.add(7, 0) && all.has(7), "a place is free again");
    }

    #[test]
    fn entries_come_back_and_age() {
        let now = Instant::now();
        let mut bytes = Vec::new();
        let origin = |n: u8| Origin { worker: n, generation: u16::from(n) * 257 };
        for n in 8..=20 {
            let key = CidKey::of(&vec![n; n.into()]).unwrap();
            write(&key, origin(n), Duration::from_millis(u64::from(n) * 400), &mut bytes);
        }
        let table = HalfOpen::import(&bytes, 100, now).unwrap();
        let soon = now + Duration::from_millis(2100);
        for n in 8..=20 {
            let cid = vec![n; n.into()];
            assert_eq!(table.origin(&cid, now), Some(origin(n)));
            assert_eq!(table.origin(&cid, soon).is_some(), n < 20, "{n}");
            assert_eq!(table.origin(&cid[1..], now), None);
        }
        // What goes on to the next generation is as old as it was.
        let mut again = Vec::new();
        table.export(100, soon, &mut again);
        assert_eq!(again.len(), 12 * ENTRY);
        let next = HalfOpen::import(&again, 100, soon).unwrap();
        let late = now + HALF_OPEN_KEPT - Duration::from_millis(8 * 400);
        assert!(next.origin(&[8; 8], late - Duration::from_millis(1)).is_some());
        assert!(next.origin(&[8; 8], late).is_none() && next.is_over(late));
    }

    #[test]
    fn malformed_and_surplus_entries() {
        let (now, mut bytes) = (Instant::now(), Vec::new());
        for n in 0..5 {
            let origin = Origin { worker: n, generation: 1 };
            write(&CidKey::of(&[n; 8]).unwrap(), origin, Duration::ZERO, &mut bytes);
        }
        for len in 0..=bytes.len() {
            let table = HalfOpen::import(&bytes[..len], 3, now);
            assert_eq!(table.is_some(), len % ENTRY == 0);
            let held = table.map_or(0, |table| table.entries.len());
            assert!(held <= 3 && (len < bytes.len() || held == 3));
        }
        bytes[0] = 21;
        assert!(HalfOpen::import(&bytes, 3, now).is_none(), "a destination of 21 bytes");
        assert!(HalfOpen::import(&[], 0, now).unwrap().is_over(now));
    }
}
