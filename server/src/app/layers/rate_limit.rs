//! Rate limits per client.

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::app::handler::Reply;
use crate::app::layer::{Layer, Next};
use crate::app::request::Request;
use crate::app::response::Response;
use crate::rt::thread_state;

/// Limits the request rate of each client. Excess requests get 429 with Retry-After (RFC 6585
/// section 4) and the fields RateLimit and RateLimit-Policy
/// (draft-ietf-httpapi-ratelimit-headers-10).
///
/// Each client has a bucket of tokens, which refills evenly over the window. A request takes one
/// token. Clients are distinguished by address, IPv6 by the first 64 bits, unless
/// [`prefixes`](Self::prefixes) or [`key`](Self::key) say otherwise. A client without an address (a
/// Unix socket) is not limited.
///
/// All workers share the buckets without a lock, one word each. Memory is bounded: 65,536 keys by
/// default ([`keys`](Self::keys) changes that), 8 to 32 bytes each. With more keys at once, the
/// least used are forgotten first and start again with a full bucket. Two keys share a bucket with
/// a probability of 1 in 100,000.
///
/// ```
/// use std::time::Duration;
/// use ringway::layer::RateLimit;
/// use ringway::{Request, Response, Router};
/// let app = Router::new()
///     .get("/search", |_: &Request| Response::text("found"))
///     .layer(
///         RateLimit::new(100, Duration::from_secs(60))
///             .key(|request: &Request| request.header("x-api-key").map(<[u8]>::to_vec)),
///     );
/// # let _ = app;
/// ```
pub struct RateLimit {
    /// Ticks per token.
    interval: u64,
    /// Ticks to refill a whole bucket.
    window: u64,
    policy: HeaderValue,
    announce: bool,
    /// Number of bits of an IPv4 and an IPv6 address that identify a client.
    prefixes: (u8, u8),
    key: Option<Box<Key>>,
    buckets: Buckets,
}

type Key = dyn Fn(&Request<'_>, &RandomState) -> Option<u64> + Send + Sync;

/// Ticks per second.
const TICKS: u64 = 100_000;
/// Maximum length of a window.
const WINDOW_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Default number of keys.
const KEYS: usize = 65_536;

impl RateLimit {
    /// Allows `requests` per `window`, all of which may come at once.
    ///
    /// # Panics
    /// If there are no requests, if the window is zero or longer than 30 days, or if the rate
    /// exceeds 100,000 requests a second.
    #[must_use]
    #[track_caller]
    pub fn new(requests: u32, window: Duration) -> Self {
        assert!(requests > 0, "a limit must allow at least one request");
        let right = !window.is_zero() && window <= WINDOW_MAX;
        assert!(right, "a window must be longer than zero and at most 30 days: {window:?}");
        let ticks = window.as_micros() as u64 * TICKS / 1_000_000;
        let interval = ticks / u64::from(requests);
        assert!(interval > 0, "at most {TICKS} requests a second: {requests} in {window:?}");
        let seconds = window.as_secs_f64().ceil();
        let policy = format!("\"default\";q={requests};w={seconds}");
        let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default"));
        Self {
            interval,
            window: interval * u64::from(requests),
            policy,
            announce: false,
            prefixes: (32, 64),
            key: None,
            buckets: Buckets::new(KEYS),
        }
    }

    /// Sets how many bits of an IPv4 and an IPv6 address identify a client.
    ///
    /// # Panics
    /// If a number exceeds the address's length (32, 128).
    #[must_use]
    #[track_caller]
    pub fn prefixes(mut self, v4: u8, v6: u8) -> Self {
        assert!(v4 <= 32 && v6 <= 128, "addresses have 32 and 128 bits, not {v4} and {v6}");
        self.prefixes = (v4, v6);
        self
    }

    /// Sets the key that identifies a client, instead of its address. A client with key `None` is
    /// not limited.
    #[must_use]
    pub fn key<K: Hash>(
        mut self,
        key: impl Fn(&Request<'_>) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        self.key =
            Some(Box::new(move |request, hasher| key(request).map(|key| hasher.hash_one(key))));
        self
    }

    /// Sets the minimum number of keys kept.
    #[must_use]
    pub fn keys(mut self, keys: usize) -> Self {
        self.buckets = Buckets::new(keys);
        self
    }

    /// Sets whether responses within the limit have the RateLimit fields too (default: no).
    #[must_use]
    pub fn announce(mut self, announce: bool) -> Self {
        self.announce = announce;
        self
    }

    fn key_of(&self, request: &Request<'_>) -> Option<u64> {
        let hasher = &self.buckets.hasher;
        match &self.key {
            Some(key) => key(request, hasher),
            None => {
                let address = request.remote_addr()?.ip().to_canonical();
                Some(hasher.hash_one(masked(address, self.prefixes)))
            }
        }
    }

    /// Takes a token of the request's client. Gives the time until its bucket is full, nothing if
    /// it is not limited, and the refusal if there is no token.
    fn take(&self, request: &Request<'_>) -> Result<Option<u64>, Response> {
        let Some(key) = self.key_of(request) else { return Ok(None) };
        // The clock counts microseconds; a tick is ten.
        let now = thread_state::with(|thread| thread.now()).0 / 10;
        self.buckets.take(key, now, self.interval, self.window).map(Some).map_err(|wait| {
            let refused = StatusCode::TOO_MANY_REQUESTS.into();
            let refused = with_fields(refused, self.fields(0, wait));
            let seconds = HeaderValue::from(wait.div_ceil(TICKS).max(1));
            refused.header(header::RETRY_AFTER, seconds)
        })
    }

    /// Counts a request; its answer if it is one too many.
    pub(crate) fn refusal(&self, request: &Request<'_>) -> Option<Response> {
        self.take(request).err()
    }

    /// The two fields: the policy, and the requests left for the given number of ticks.
    fn fields(&self, left: u64, ticks: u64) -> [Option<HeaderValue>; 2] {
        let now = format!("\"default\";r={left};t={}", ticks.div_ceil(TICKS));
        [Some(self.policy.clone()), HeaderValue::try_from(now).ok()]
    }
}

fn with_fields(mut response: Response, fields: [Option<HeaderValue>; 2]) -> Response {
    for (name, value) in ["ratelimit-policy", "ratelimit"].into_iter().zip(fields) {
        if let Some(value) = value {
            response.add_header(&HeaderName::from_static(name), &value);
        }
    }
    response
}

impl Layer for RateLimit {
    fn call(&self, request: &Request<'_>, next: Next<'_>) -> Reply {
        match self.take(request) {
            Ok(Some(taken)) if self.announce => {
                let reply = next.run(request);
                let fields = self.fields((self.window - taken) / self.interval, taken);
                reply.map(move |response| with_fields(response, fields))
            }
            Ok(_) => next.run(request),
            Err(refused) => refused.into(),
        }
    }
}

/// The first bits of an address.
fn masked(address: IpAddr, (v4, v6): (u8, u8)) -> (bool, u128) {
    let (bits, of, keep) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32, u32::from(v4)),
        IpAddr::V6(address) => (address.to_bits(), 128, u32::from(v6)),
    };
    (address.is_ipv4(), bits.checked_shr(of - keep).unwrap_or(0))
}

/// Buckets by key, in sets of eight. A key belongs to one set, which is one cache line.
///
/// A bucket is a word: a 20-bit tag that identifies the key within its set, and the time at which
/// the bucket is full again, in ticks modulo 2^44 (five years). 0 is an unused bucket.
struct Buckets {
    sets: Box<[Set]>,
    hasher: RandomState,
}

#[repr(align(64))]
#[derive(Default)]
struct Set([AtomicU64; 8]);

const TIME_BITS: u32 = 44;
const TIME: u64 = (1 << TIME_BITS) - 1;

impl Buckets {
    fn new(keys: usize) -> Self {
        // At least half as many sets again as an even spread of the keys would need.
        let sets = (keys + keys / 2).div_ceil(8).max(1).next_power_of_two();
        let sets = (0..sets).map(|_| Set::default()).collect();
        Self { sets, hasher: RandomState::new() }
    }

    /// Takes a token. Gives the time until the bucket is full, or as the error the time until there
    /// is a token.
    fn take(&self, key: u64, now: u64, interval: u64, window: u64) -> Result<u64, u64> {
        let Set(set) = &self.sets[key as usize & (self.sets.len() - 1)];
        let tag = (key >> TIME_BITS).max(1);
        loop {
            let mut place = (u64::MAX, &set[0], 0);
            for slot in set {
                let word = slot.load(Ordering::Relaxed);
                let used = used(word, now, window);
                if word >> TIME_BITS == tag {
                    place = (used, slot, word);
                    break;
                }
                // Otherwise the bucket that is cheapest to forget.
                if used < place.0 {
                    place = (used, slot, word);
                }
            }
            let (used, slot, word) = place;
            let used = if word >> TIME_BITS == tag { used } else { 0 };
            let after = used + interval;
            if after > window {
                return Err(after - window);
            }
            let new = tag << TIME_BITS | now.wrapping_add(after) & TIME;
            // If another worker changed the word first, the search starts again.
            let set = slot.compare_exchange(word, new, Ordering::Relaxed, Ordering::Relaxed);
            if set.is_ok() {
                return Ok(after);
            }
        }
    }
}

/// Time until a bucket is full, at most the window. Otherwise a bucket that was full long ago would
/// seem to become full in years, because the clock wraps.
fn used(word: u64, now: u64, window: u64) -> u64 {
    let ahead = word.wrapping_sub(now) & TIME;
    if word == 0 || ahead > window { 0 } else { ahead }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("policy", &self.policy).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_a_bucket_empties_and_refills() {
        let buckets = Buckets::new(10);
        // Three requests in 300 ticks.
        let take = |now| buckets.take(7 << 50, now, 100, 300);
        assert_eq!([take(1000), take(1000), take(1000)], [Ok(100), Ok(200), Ok(300)]);
        assert_eq!([take(1000), take(1099)], [Err(100), Err(1)]);
        assert_eq!([take(1100), take(1100)], [Ok(300), Err(100)]);
        assert_eq!(take(1_000_000), Ok(100));
        // The tick counter wraps.
        assert_eq!(take(TIME), Ok(100));
        assert_eq!(take(TIME + 50), Ok(150));
        assert_eq!(take(TIME + 51), Ok(249));
    }

    #[test]
    fn p2_keys_are_apart_and_memory_is_bounded() {
        let buckets = Buckets::new(64);
        assert_eq!(buckets.sets.len(), 16);
        let full = |key: u64| [(); 3].map(|()| buckets.take(key, 5, 1, 3))[2];
        for key in 0..64_u64 {
            let key = buckets.hasher.hash_one(key);
            assert_eq!(full(key), Ok(3));
        }
        // A flood of keys is answered, and the heaviest user is remembered longest.
        let heavy = buckets.hasher.hash_one("heavy");
        assert_eq!(buckets.take(heavy, 10, 1000, 1000), Ok(1000));
        for key in 100..10_000_u64 {
            assert!(buckets.take(buckets.hasher.hash_one(key), 10, 1, 1000).is_ok());
        }
        assert_eq!(buckets.take(heavy, 10, 1000, 1000), Err(1000));
    }

    #[test]
    fn p2_workers_share_a_bucket_exactly() {
        let buckets = Buckets::new(64);
        let granted: usize = std::thread::scope(|scope| {
            let take = || (0..1000).filter(|_| buckets.take(1 << 60, 0, 1, 1500).is_ok()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(granted, 1500);
    }

    #[test]
    fn p2_an_address_is_its_prefix() {
        let at = |text: &str, prefixes| masked(text.parse().unwrap(), prefixes);
        assert_eq!(at("2001:db8::1", (32, 64)), at("2001:db8::ffff:2", (32, 64)));
        assert_ne!(at("2001:db8::1", (32, 64)), at("2001:db8:0:1::1", (32, 64)));
        assert_ne!(at("10.0.0.1", (32, 64)), at("10.0.0.2", (32, 64)));
        assert_eq!(at("10.0.0.1", (24, 64)), at("10.0.0.2", (24, 64)));
        assert_eq!(at("10.0.0.1", (0, 0)), at("192.0.2.1", (0, 0)));
        assert_ne!(at("10.0.0.1", (0, 0)), at("::1", (0, 0)));
    }

    #[test]
    fn p2_limits_that_are_none_are_refused() {
        let hour = Duration::from_secs(3600);
        for (requests, window) in
            [(0, hour), (1, Duration::ZERO), (1, hour * 24 * 31), (100_001, Duration::from_secs(1))]
        {
            let made = std::panic::catch_unwind(|| RateLimit::new(requests, window));
            assert!(made.is_err(), "{requests} {window:?}");
        }
        let limit = RateLimit::new(10, Duration::from_millis(1500));
        assert_eq!(limit.policy, "\"default\";q=10;w=2");
    }
}
