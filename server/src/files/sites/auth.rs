//! Names and passwords of a site (RFC 7617). A password is hashed slowly on purpose, so a thread of
//! its own does that; what was right once is known again by a fast keyed hash.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::hmac;
use http::{HeaderValue, StatusCode, header};

use crate::app::layers::{challenge, credentials};
use crate::app::request::Request;
use crate::app::response::Response;
use crate::config::{AuthRule, PasswordHash, PathPattern};
use crate::rt::oneshot::{OneshotReceiver, oneshot};
use crate::rt::threads::Threads;

/// Passwords that wait to be hashed, of all clients: some seconds of work.
const QUEUE: usize = 64;
/// Passwords of one address (IPv6: one /64) that wait or are being hashed.
const OF_ADDRESS: u32 = 4;
/// Names and passwords that are known to be right.
const KNOWN: usize = 4096;

/// Hashes the passwords of all sites.
pub(super) struct Hashing {
    threads: Threads,
    /// How many wait, by address.
    waiting: Mutex<HashMap<Option<u128>, u32>>,
}

impl Hashing {
    /// None of its threads runs before there is a password.
    pub(super) fn new() -> Arc<Self> {
        // What guesses cost is taken from requests: at most a quarter of the CPUs.
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = Threads::new((cpus / 4).max(1), QUEUE);
        Arc::new(Self { threads, waiting: Mutex::default() })
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Option<u128>, u32>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One `auth` rule.
pub(super) struct Auth {
    path: Option<PathPattern>,
    challenge: HeaderValue,
    users: HashMap<String, PasswordHash>,
    /// Stands in for the hash of who is no user, so that a name is not told by the time it takes.
    nobody: PasswordHash,
    /// Of what is known to be right, under a key that is drawn at start.
    known: Arc<Known>,
    hashing: Arc<Hashing>,
}

struct Known {
    key: hmac::Key,
    tags: Mutex<HashSet<[u8; 32]>>,
}

/// Whether a client is let in.
pub(super) enum Admission {
    Granted,
    /// Its answer.
    Refused(Response),
    /// The password is being hashed: whether it is right.
    Awaited(OneshotReceiver<bool>),
}

impl Auth {
    pub(super) fn new(rule: &AuthRule, hashing: &Arc<Hashing>) -> Option<Self> {
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).ok()?;
        Some(Self {
            path: rule.path.clone(),
            challenge: challenge(&rule.realm)?,
            users: rule.users.iter().cloned().collect(),
            nobody: rule.users.first()?.1.of_nobody(),
            known: Arc::new(Known {
                key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
                tags: Mutex::default(),
            }),
            hashing: Arc::clone(hashing),
        })
    }

    /// Whether the rule is for this path.
    pub(super) fn is_for(&self, path: &[u8]) -> bool {
        self.path.as_ref().is_none_or(|pattern| pattern.capture(path).is_some())
    }

    pub(super) fn admit(&self, request: &Request<'_>) -> Admission {
        let given = credentials(request);
        let Some((name, password)) = given.as_deref().and_then(|given| given.split_once(':'))
        else {
            return Admission::Refused(self.refusal());
        };
        let tag = self.known.tag(name, password);
        if self.known.tags().contains(&tag) {
            return Admission::Granted;
        }
        let of = request.remote_addr().map(|address| prefix(address.ip()));
        self.hash(name, password, tag, of)
    }

    /// Has a thread hash a password, unless too many wait.
    fn hash(&self, name: &str, password: &str, tag: [u8; 32], of: Option<u128>) -> Admission {
        let mut waiting = self.hashing.waiting();
        let count = waiting.entry(of).or_default();
        if *count >= OF_ADDRESS {
            return Admission::Refused(busy(StatusCode::TOO_MANY_REQUESTS));
        }
        *count += 1;
        drop(waiting);
        let turn = Turn { hashing: Arc::clone(&self.hashing), of };
        let user = self.users.get(name);
        let (hash, is_user) = (user.unwrap_or(&self.nobody).clone(), user.is_some());
        let (known, password) = (Arc::clone(&self.known), password.to_owned());
        let (sender, receiver) = oneshot();
        let job = move || {
            if sender.is_closed() {
                return drop(turn);
            }
            let is_right = is_user & bcrypt::verify(password, hash.as_str()).unwrap_or(false);
            if is_right {
                known.add(tag);
            }
            drop(turn);
            let _ = sender.send(is_right);
        };
        match self.hashing.threads.run(Box::new(job)) {
            Ok(()) => Admission::Awaited(receiver),
            Err(_) => Admission::Refused(busy(StatusCode::SERVICE_UNAVAILABLE)),
        }
    }

    /// 401 with the challenge.
    pub(super) fn refusal(&self) -> Response {
        let refused: Response = StatusCode::UNAUTHORIZED.into();
        refused.header(header::WWW_AUTHENTICATE, self.challenge.clone())
    }
}

impl Known {
    fn tag(&self, name: &str, password: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        // A name has no colon.
        for part in [name, ":", password] {
            context.update(part.as_bytes());
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    fn tags(&self) -> MutexGuard<'_, HashSet<[u8; 32]>> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, tag: [u8; 32]) {
        let mut tags = self.tags();
        if tags.len() == KNOWN {
            tags.clear();
        }
        tags.insert(tag);
    }
}

/// One password of an address, until it is dropped.
struct Turn {
    hashing: Arc<Hashing>,
    of: Option<u128>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut waiting = self.hashing.waiting();
        if let Some(count) = waiting.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.of);
            }
        }
    }
}

/// Whom an address stands for: an IPv6 network of 64 bits is one client.
pub(super) fn prefix(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

fn busy(status: StatusCode) -> Response {
    Response::from(status).header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}
