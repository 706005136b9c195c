//! Cross-origin resource sharing (CORS, the Fetch standard section 3.2).

use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use ringway_codec::field::Known;
use ringway_codec::h1::request::Method as Verb;

use crate::app::handler::Reply;
use crate::app::layer::{Layer, Next};
use crate::app::request::Request;
use crate::app::response::Response;

/// Allows cross-origin requests that browsers would otherwise block (CORS, the Fetch standard
/// section 3.2). No origin is allowed by default.
///
/// Preflight requests are answered by the layer: 204 with what is allowed, 403 for other origins.
/// Other requests reach the handler whatever their origin: CORS tells the browser who may read the
/// answer, it does not prevent requests. If the answer depends on the origin, Vary says so to
/// caches.
///
/// Put authentication (`BasicAuth`) inside this layer: browsers send preflight requests without
/// credentials.
///
/// ```
/// use ringway::layer::Cors;
/// use ringway::{Request, Response, Router};
/// let app = Router::new()
///     .get("/orders", |_: &Request| Response::json_bytes("[]"))
///     .layer(
///         Cors::new()
///             .origins(["https://app.example.com"])
///             .methods([http::Method::GET, http::Method::PUT])
///             .headers([http::header::CONTENT_TYPE])
///             .credentials(),
///     );
/// # let _ = app;
/// ```
pub struct Cors {
    origins: Origins,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    credentials: bool,
    private_network: bool,
    max_age: Option<HeaderValue>,
}

/// The allowed origins.
enum Origins {
    Any,
    These(Vec<String>),
    Which(Box<dyn Fn(&str) -> bool + Send + Sync>),
}

const PRIVATE_ASKED: &str = "access-control-request-private-network";
const PRIVATE_ALLOWED: HeaderName = HeaderName::from_static("access-control-allow-private-network");
/// The fields that the answer to a preflight request depends on.
const VARY_PREFLIGHT: &str =
    "origin, access-control-request-method, access-control-request-headers";

impl Cors {
    /// Allows no origin. Allowed origins may use any method and field unless some are named, and no
    /// credentials.
    #[must_use]
    pub fn new() -> Self {
        Self {
            origins: Origins::These(Vec::new()),
            methods: None,
            headers: None,
            expose: None,
            credentials: false,
            private_network: false,
            max_age: None,
        }
    }

    /// Allows these origins in addition to those named before: `https://app.example.com`, with a
    /// port unless it is the scheme's default. `null` is an origin too: that of local files and of
    /// any sandboxed page.
    ///
    /// # Panics
    /// If one is not written as browsers send it (it has a path, a trailing slash, capitals or a
    /// default port), or if any origin is already allowed.
    #[must_use]
    #[track_caller]
    pub fn origins<'a>(mut self, origins: impl IntoIterator<Item = &'a str>) -> Self {
        let Origins::These(all) = &mut self.origins else {
            panic!("origins are given by name, by a closure or as any origin, not combined")
        };
        for origin in origins {
            assert!(
                is_origin(origin),
                "`{origin}` is not an origin as browsers send it, such as \
                 https://app.example.com:8443; use any_origin to allow all"
            );
            all.push(origin.to_owned());
        }
        self
    }

    /// Allows the origins for which `which` returns true. It gets the origin as the browser sent
    /// it.
    ///
    /// # Panics
    /// If origins are already named, or any origin is allowed.
    #[must_use]
    #[track_caller]
    pub fn origins_where(mut self, which: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.none_yet();
        self.origins = Origins::Which(Box::new(which));
        self
    }

    /// Allows any origin: the answers are public.
    ///
    /// # Panics
    /// If origins are already named, or together with [`credentials`](Self::credentials).
    #[must_use]
    #[track_caller]
    pub fn any_origin(mut self) -> Self {
        self.none_yet();
        self.origins = Origins::Any;
        self.not_both();
        self
    }

    /// Allows requests with cookies, client certificates and HTTP authentication.
    ///
    /// # Panics
    /// If any origin is allowed. Browsers refuse the combination, because any page on the web could
    /// then act for the user.
    #[must_use]
    #[track_caller]
    pub fn credentials(mut self) -> Self {
        self.credentials = true;
        self.not_both();
        self
    }

    /// Allows these methods, in addition to GET, HEAD and POST, which are always allowed (the Fetch
    /// standard section 2.2.1).
    #[must_use]
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = list(methods.into_iter().map(|method| method.as_str().to_owned()));
        self
    }

    /// Allows these request fields, in addition to those that are always allowed.
    #[must_use]
    pub fn headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.headers = list(names.into_iter().map(|name| name.as_str().to_owned()));
        self
    }

    /// Lets pages read these response fields, in addition to those that are always readable.
    #[must_use]
    pub fn expose(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.expose = list(names.into_iter().map(|name| name.as_str().to_owned()));
        self
    }

    /// Sets how long browsers may cache the answer to a preflight request. Browsers have their own
    /// maximum of a few hours, and a default of five seconds.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(HeaderValue::from(age.as_secs()));
        self
    }

    /// Allows public pages to send requests to a server in a private network (WICG Private Network
    /// Access).
    #[must_use]
    pub fn private_network(mut self) -> Self {
        self.private_network = true;
        self
    }

    #[track_caller]
    fn none_yet(&self) {
        let none = matches!(&self.origins, Origins::These(all) if all.is_empty());
        assert!(none, "origins are given by name, by a closure or as any origin, not combined");
    }

    #[track_caller]
    fn not_both(&self) {
        let both = self.credentials && matches!(self.origins, Origins::Any);
        assert!(!both, "credentials need named origins: browsers refuse them with `*`");
    }

    /// The value of Access-Control-Allow-Origin; `None` if the origin is not allowed.
    fn allowed(&self, origin: &[u8]) -> Option<HeaderValue> {
        let text = str::from_utf8(origin).ok()?;
        let yes = match &self.origins {
            Origins::Any => return Some(HeaderValue::from_static("*")),
            Origins::These(all) => all.iter().any(|other| other == text),
            Origins::Which(which) => which(text),
        };
        HeaderValue::from_bytes(origin).ok().filter(|_| yes)
    }

    fn preflight(&self, request: &Request<'_>, origin: &[u8]) -> Response {
        let Some(allowed) = self.allowed(origin) else {
            return vary(StatusCode::FORBIDDEN.into(), VARY_PREFLIGHT);
        };
        let asked = |name| {
            let value = request.known(name)?;
            let listed = value.iter().all(|b| b.is_ascii_graphic() || matches!(b, b' ' | b'\t'));
            HeaderValue::from_bytes(value).ok().filter(|_| listed)
        };
        let mut fields = vec![(header::ACCESS_CONTROL_ALLOW_ORIGIN, Some(allowed))];
        // Repeats the requested methods and fields instead of `*`, which covers neither
        // Authorization nor requests with credentials.
        let methods = self.methods.clone().or_else(|| asked(Known::AccessControlRequestMethod));
        fields.push((header::ACCESS_CONTROL_ALLOW_METHODS, methods));
        let headers = self.headers.clone();
        let headers = headers.or_else(|| asked(Known::AccessControlRequestHeaders));
        fields.push((header::ACCESS_CONTROL_ALLOW_HEADERS, headers));
        fields.push((header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone()));
        let yes = HeaderValue::from_static("true");
        let credentials = self.credentials.then(|| yes.clone());
        fields.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials));
        let private = self.private_network && request.header(PRIVATE_ASKED) == Some(b"true");
        fields.push((PRIVATE_ALLOWED, private.then_some(yes)));
        let mut response = Response::new(StatusCode::NO_CONTENT);
        for (name, value) in fields {
            if let Some(value) = value {
                response = response.header(name, value);
            }
        }
        vary(response, VARY_PREFLIGHT)
    }
}

impl Default for Cors {
    fn default() -> Self {
        Self::new()
    }
}

impl Layer for Cors {
    fn call(&self, request: &Request<'_>, next: Next<'_>) -> Reply {
        let origin = request.known(Known::Origin);
        let is_preflight = request.line.method == Verb::Options
            && request.known(Known::AccessControlRequestMethod).is_some();
        if let Some(origin) = origin.filter(|_| is_preflight) {
            return self.preflight(request, origin).into();
        }
        let allowed = match (&self.origins, origin) {
            // The same value for every origin, so that shared caches can keep the answer.
            (Origins::Any, _) => Some(HeaderValue::from_static("*")),
            (_, Some(origin)) => self.allowed(origin),
            (_, None) => None,
        };
        let varies = !matches!(self.origins, Origins::Any);
        let (credentials, expose) = (self.credentials, self.expose.clone());
        next.run(request).map(move |mut response| {
            response.remove_header(&header::ACCESS_CONTROL_ALLOW_ORIGIN);
            response.remove_header(&header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
            if let Some(allowed) = allowed {
                response = response.header(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
                if credentials {
                    let yes = HeaderValue::from_static("true");
                    response = response.header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
                }
                if let Some(expose) = expose {
                    response = response.header(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose);
                }
            }
            if varies { vary(response, "origin") } else { response }
        })
    }

    fn only(&self) -> Option<&'static str> {
        Some("CORS")
    }
}

/// Adds these request fields to Vary.
fn vary(response: Response, names: &'static str) -> Response {
    response.header(header::VARY, HeaderValue::from_static(names))
}

/// A comma-separated list; `None` if it is empty.
fn list(names: impl Iterator<Item = String>) -> Option<HeaderValue> {
    HeaderValue::try_from(names.collect::<Vec<_>>().join(", ")).ok()
}

/// True if a text is an origin as browsers serialise it (RFC 6454 section 6.2).
fn is_origin(text: &str) -> bool {
    if text == "null" {
        return true;
    }
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let mut letters = scheme.bytes();
    let begins = letters.next().is_some_and(|first| first.is_ascii_lowercase());
    let goes_on =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    let implied = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let canonical = ringway_codec::authority::canonical(authority.as_bytes(), implied);
    let same = matches!(&canonical, Ok(form) if **form == *authority.as_bytes());
    begins && letters.all(goes_on) && !authority.is_empty() && same
}

impl fmt::Debug for Cors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Cors");
        match &self.origins {
            Origins::Any => shown.field("origins", &"*"),
            Origins::These(all) => shown.field("origins", all),
            Origins::Which(_) => shown.field("origins", &"a closure"),
        };
        shown.field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn p2_only_what_browsers_send_is_an_origin() {
        for origin in [
            "https://app.example.com",
            "http://localhost:3000",
            "http://[::1]:8080",
            "chrome-extension://abcdef",
            "null",
        ] {
            assert!(is_origin(origin), "{origin}");
        }
        for origin in [
            "*",
            "",
            "app.example.com",
            "https://",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://App.example.com",
            "HTTPS://app.example.com",
            "https://app.example.com:443",
            "https://user@app.example.com",
            "https://a.example, https://b.example",
        ] {
            assert!(!is_origin(origin), "{origin}");
            let made = catch_unwind(|| Cors::new().origins([origin]));
            assert!(made.is_err(), "{origin}");
        }
    }

    #[test]
    fn p2_what_contradicts_is_refused_where_it_is_made() {
        let refused = |make: fn() -> Cors| catch_unwind(AssertUnwindSafe(make)).is_err();
        assert!(refused(|| Cors::new().any_origin().credentials()));
        assert!(refused(|| Cors::new().credentials().any_origin()));
        assert!(refused(|| Cors::new().any_origin().origins(["https://a.example"])));
        assert!(refused(|| Cors::new().origins(["https://a.example"]).any_origin()));
        assert!(refused(|| Cors::new().origins(["https://a.example"]).origins_where(|_| true)));
        assert!(!refused(|| Cors::new().origins_where(|_| true).credentials()));
    }
}
