//! HTTP Basic authentication (RFC 7617).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode, header};
use ringway_codec::field::Known;

use crate::app::handler::Reply;
use crate::app::layer::{Layer, Next};
use crate::app::request::Request;
use crate::app::response::Response;

/// Admits clients with a valid name and password (RFC 7617); others get 401 with a challenge. The
/// user's name is in the request's extensions as [`BasicUser`].
///
/// Names and passwords are sent in clear text, so use TLS. Comparison takes constant time and
/// covers all users, so that timing reveals neither parts of a password nor valid names. CORS
/// preflight requests carry no credentials: add [`Cors`](super::Cors) after this layer, so that it
/// is outside.
///
/// ```
/// use ringway::layer::{BasicAuth, BasicUser};
/// use ringway::{Request, Response, Router};
/// let app = Router::new()
///     .get("/admin", |request: &Request| {
///         let user = request.extensions().get::<BasicUser>();
///         Response::text(user.map(|user| user.as_str().to_owned()).unwrap_or_default())
///     })
///     .layer(BasicAuth::new("the back office").user("ann", "correct horse"));
/// # let _ = app;
/// ```
pub struct BasicAuth {
    challenge: HeaderValue,
    users: Vec<User>,
    verify: Option<Box<Verify>>,
}

type Verify = dyn Fn(&str, &str) -> bool + Send + Sync;

type Hash = [u8; SHA256_OUTPUT_LEN];

struct User {
    name: Hash,
    password: Hash,
}

/// The authenticated user's name, in the request's extensions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BasicUser(Arc<str>);

impl BasicUser {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl BasicAuth {
    /// Creates the layer without users. Clients show the realm to people, and use it to choose the
    /// password (RFC 9110 section 11.5).
    ///
    /// # Panics
    /// If the realm is not printable ASCII.
    #[must_use]
    #[track_caller]
    pub fn new(realm: &str) -> Self {
        let Some(challenge) = challenge(realm) else {
            panic!("a realm must be printable ASCII: {realm:?}")
        };
        Self { challenge, users: Vec::new(), verify: None }
    }

    /// Adds a user. Only a SHA-256 digest of the password is kept.
    ///
    /// # Panics
    /// If the name contains a colon, which ends it (RFC 7617 section 2), or if the name or the
    /// password contains a control character.
    #[must_use]
    #[track_caller]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        assert!(!name.contains(':'), "a user name must not contain a colon: {name:?}");
        let control = name.chars().chain(password.chars()).any(char::is_control);
        assert!(!control, "user and password must not contain control characters: {name:?}");
        self.users.push(User { name: hash(name), password: hash(password) });
        self
    }

    /// Also admits users for whom `verify(name, password)` returns true. It runs on the worker, so
    /// it must be fast: a table lookup, not a slow password hash or a database query.
    #[must_use]
    pub fn verify(mut self, verify: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Self {
        self.verify = Some(Box::new(verify));
        self
    }

    fn lets_in(&self, name: &str, password: &str) -> bool {
        let (hashed_name, hashed_password) = (hash(name), hash(password));
        // All users are compared, without an early exit.
        let known = self.users.iter().fold(false, |known, user| {
            let name = verify_slices_are_equal(&user.name, &hashed_name).is_ok();
            let password = verify_slices_are_equal(&user.password, &hashed_password).is_ok();
            known | (name & password)
        });
        known || self.verify.as_ref().is_some_and(|verify| verify(name, password))
    }
}

impl Layer for BasicAuth {
    fn call(&self, request: &Request<'_>, next: Next<'_>) -> Reply {
        if let Some(credentials) = credentials(request)
            && let Some((name, password)) = credentials.split_once(':')
            && self.lets_in(name, password)
        {
            request.extensions().insert(BasicUser(name.into()));
            return next.run(request);
        }
        let refused: Response = StatusCode::UNAUTHORIZED.into();
        refused.header(header::WWW_AUTHENTICATE, self.challenge.clone()).into()
    }
}

/// The challenge for a realm; none if that is not printable ASCII.
pub(crate) fn challenge(realm: &str) -> Option<HeaderValue> {
    let printable = realm.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
    let challenge = format!("Basic realm=\"{quoted}\", charset=\"UTF-8\"");
    HeaderValue::try_from(challenge).ok().filter(|_| printable)
}

/// Name and password as received; `None` if the field is missing or repeated.
pub(crate) fn credentials(request: &Request<'_>) -> Option<String> {
    let of = |field: &&ringway_codec::field::Field| field.known == Known::Authorization;
    let mut all = request.fields.iter().filter(of);
    let (field, None) = (all.next()?, all.next()) else { return None };
    let (scheme, rest) = field.value(request.bytes).split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest.trim_ascii()).ok()?).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

fn hash(text: &str) -> Hash {
    let mut hash = [0; SHA256_OUTPUT_LEN];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuth").field("challenge", &self.challenge).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_only_the_right_pair_is_let_in() {
        let auth = BasicAuth::new("r").user("ann", "a:b").user("", "empty").user("bob", "");
        for (name, password, want) in [
            ("ann", "a:b", true),
            ("ann", "a:", false),
            ("ann", "a:b ", false),
            ("ann", "", false),
            ("ann", "empty", false),
            ("", "empty", true),
            ("bob", "", true),
            ("bob", "a:b", false),
            ("Ann", "a:b", false),
        ] {
            assert_eq!(auth.lets_in(name, password), want, "{name} {password}");
        }
        assert!(!BasicAuth::new("r").lets_in("", ""));
        let auth = BasicAuth::new("r").verify(|name, password| name == password);
        assert!(auth.lets_in("x", "x") && !auth.lets_in("x", "y"));
    }

    #[test]
    fn p2_a_realm_is_quoted_or_refused() {
        let auth = BasicAuth::new("say \"hi\\\"");
        let want = "Basic realm=\"say \\\"hi\\\\\\\"\", charset=\"UTF-8\"";
        assert_eq!(auth.challenge, want);
        for realm in ["a\r\nb", "é", "a\tb"] {
            assert!(std::panic::catch_unwind(|| BasicAuth::new(realm)).is_err(), "{realm}");
        }
        assert!(std::panic::catch_unwind(|| BasicAuth::new("r").user("a:b", "c")).is_err());
    }
}
