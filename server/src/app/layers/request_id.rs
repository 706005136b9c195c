//! Request ids, which connect a client's report with the logs.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::app::handler::Reply;
use crate::app::layer::{Layer, Next};
use crate::app::request::Request;

/// Gives each request an id: the one it came with if valid, otherwise a new one of 128 random bits.
/// The id is in the request's extensions as [`RequestId`], and in the response.
///
/// A valid incoming id has 1 to 128 characters: letters, digits and `-_.~+/=:`. Any other is
/// replaced. If clients should not choose what is logged, switch [`trust`](Self::trust) off.
///
/// ```
/// use ringway::layer::{RequestId, RequestIds};
/// use ringway::{Request, Response, Router};
/// let app = Router::new()
///     .get("/", |request: &Request| {
///         let id = request.extensions().get::<RequestId>();
///         Response::text(id.map(|id| id.to_string()).unwrap_or_default())
///     })
///     .layer(RequestIds::new());
/// # let _ = app;
/// ```
#[derive(Clone, Debug)]
pub struct RequestIds {
    name: HeaderName,
    trust: bool,
}

/// A request's id, in its extensions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Maximum length of an id from a client, in bytes.
const ID_MAX: usize = 128;

impl RequestIds {
    /// Uses the field `x-request-id`.
    #[must_use]
    pub fn new() -> Self {
        Self { name: HeaderName::from_static("x-request-id"), trust: true }
    }

    /// Sets the field.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.name = name;
        self
    }

    /// Sets whether valid incoming ids are kept (default: yes).
    #[must_use]
    pub fn trust(mut self, trust: bool) -> Self {
        self.trust = trust;
        self
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

impl Layer for RequestIds {
    fn call(&self, request: &Request<'_>, next: Next<'_>) -> Reply {
        let came = request.header(&self.name).filter(|_| self.trust).and_then(valid);
        let id: Arc<str> = came.map_or_else(made, Arc::from);
        let value = HeaderValue::from_str(&id);
        request.extensions().insert(RequestId(id));
        let name = self.name.clone();
        next.run(request).map(move |mut response| {
            response.remove_header(&name);
            match value {
                Ok(value) => response.header(name, value),
                Err(_) => response,
            }
        })
    }

    fn only(&self) -> Option<&'static str> {
        Some("request id")
    }
}

fn valid(id: &[u8]) -> Option<&str> {
    let may = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~+/=:".contains(byte);
    let right = (1..=ID_MAX).contains(&id.len()) && id.iter().all(may);
    str::from_utf8(id).ok().filter(|_| right)
}

/// A new id from keyed hashes of a counter: as good as random, without a system call.
fn made() -> Arc<str> {
    thread_local! {
        static KEY: RandomState = RandomState::new();
        static COUNT: Cell<u64> = const { Cell::new(0) };
    }
    let count = COUNT.replace(COUNT.get() + 1);
    let part = |half: u8| KEY.with(|key| key.hash_one((half, count)));
    format!("{:016x}{:016x}", part(0), part(1)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_ids_are_valid_and_differ() {
        let ids: Vec<_> = (0..100).map(|_| made()).collect();
        assert!(ids.iter().all(|id| id.len() == 32 && valid(id.as_bytes()).is_some()));
        let other = std::thread::spawn(made).join().unwrap();
        let distinct: std::collections::BTreeSet<_> = ids.iter().chain([&other]).collect();
        assert_eq!(distinct.len(), 101);
    }

    #[test]
    fn p2_ids_that_could_mean_more_are_not_valid() {
        let long = "a".repeat(ID_MAX + 1);
        for id in ["", "a b", "a\"b", "a\r\nb", "a\tb", "é", "<script>", "a,b", &long] {
            assert_eq!(valid(id.as_bytes()), None, "{id}");
        }
        for id in ["a", "Root=1-67891233-abcdef", "4bf92f35/77_b=.~+:", &long[1..]] {
            assert_eq!(valid(id.as_bytes()), Some(id));
        }
    }
}
