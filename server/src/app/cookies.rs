//! Cookies of requests and responses (RFC 6265), using the crate `cookie`.

use cookie::Cookie;
use http::{HeaderValue, header};
use ringway_codec::field::Known;

use crate::app::request::{OwnedRequest, Request};
use crate::app::response::Response;
use crate::rt::console::note;

impl<'a> Request<'a> {
    /// The cookies, percent-decoded, in order. Parts that are not a name-value pair are skipped.
    pub fn cookies(&self) -> impl Iterator<Item = Cookie<'a>> + use<'a> {
        let bytes = self.bytes;
        let fields = self.fields.iter().filter(|field| field.known == Known::Cookie);
        let pairs = fields.flat_map(move |field| field.value(bytes).split(|byte| *byte == b';'));
        pairs.filter_map(|pair| Cookie::parse_encoded(str::from_utf8(pair).ok()?).ok())
    }

    /// The first cookie with a name.
    pub fn cookie(&self, name: &str) -> Option<Cookie<'a>> {
        self.cookies().find(|cookie| cookie.name() == name)
    }
}

impl OwnedRequest {
    /// Same as [`Request::cookies`].
    pub fn cookies(&self) -> impl Iterator<Item = Cookie<'_>> {
        self.view().cookies()
    }

    /// Same as [`Request::cookie`].
    pub fn cookie(&self, name: &str) -> Option<Cookie<'_>> {
        self.view().cookie(name)
    }
}

impl Response {
    /// Sets a cookie; name and value are percent-encoded. A cookie whose path or domain cannot be
    /// sent is a program error: it is left out, with a message on standard error.
    ///
    /// ```
    /// use ringway::{Response, cookie::{Cookie, SameSite}};
    ///
    /// let cookie = Cookie::build(("session", "42")).path("/").http_only(true);
    /// let response = Response::text("hello").cookie(cookie.same_site(SameSite::Lax));
    /// let field = response.get_header("set-cookie");
    /// assert_eq!(field, Some(&b"session=42; HttpOnly; SameSite=Lax; Path=/"[..]));
    /// ```
    #[must_use]
    pub fn cookie<'c>(mut self, cookie: impl Into<Cookie<'c>>) -> Self {
        let cookie = cookie.into();
        let breaks_out = |text: &str| text.contains(|c: char| c == ';' || c.is_control());
        let odd = cookie.path().is_some_and(breaks_out) || cookie.domain().is_some_and(breaks_out);
        match HeaderValue::try_from(cookie.encoded().to_string()) {
            Ok(value) if !odd => self.add_header(&header::SET_COOKIE, &value),
            _ => note!("ringway: a cookie has a path or a domain that cannot be sent"),
        }
        self
    }

    /// Removes a cookie at the client. Name, path and domain must be those it was set with.
    #[must_use]
    pub fn remove_cookie<'c>(self, cookie: impl Into<Cookie<'c>>) -> Self {
        let mut cookie = cookie.into();
        cookie.make_removal();
        self.cookie(cookie)
    }
}

#[cfg(test)]
mod tests {
    use cookie::SameSite;
    use cookie::time::Duration;

    use super::*;
    use crate::app::request::Protocol;

    #[test]
    fn p4_cookies_are_read_and_odd_ones_passed_over() {
        for protocol in [Protocol::Http11, Protocol::Http2] {
            let odd = HeaderValue::from_bytes(b"\xff=1; c=x%20y").unwrap();
            let request = Request::builder().protocol(protocol);
            let request = request.header("cookie", "a=1; =2; b; ;a=3").header("cookie", odd);
            let request = request.build().unwrap();
            let all: Vec<_> = request.cookies().collect();
            let all: Vec<_> = all.iter().map(|cookie| (cookie.name(), cookie.value())).collect();
            assert_eq!(all, [("a", "1"), ("a", "3"), ("c", "x y")]);
            assert_eq!(request.cookie("a").unwrap().value(), "1");
            assert!(request.cookie("b").is_none());
        }
    }

    #[test]
    fn p4_cookies_are_set_and_removed() {
        let of = |response: Response| {
            let fields = response.headers().filter(|(name, _)| *name == b"set-cookie");
            let text = |(_, value): (_, &[u8])| String::from_utf8(value.to_vec()).unwrap();
            fields.map(text).collect::<Vec<_>>()
        };
        let cookie = Cookie::build(("id", "a b;c\r\n")).secure(true).same_site(SameSite::Strict);
        let cookie = cookie.max_age(Duration::hours(1)).domain("example.com").path("/x");
        let set = of(Response::text("").cookie(("plain", "1")).cookie(cookie));
        assert_eq!(
            set,
            [
                "plain=1",
                "id=a%20b%3Bc%0D%0A; SameSite=Strict; Secure; Path=/x; Domain=example.com; Max-Age=3600",
            ]
        );
        let gone = of(Response::text("").remove_cookie(Cookie::build("id").path("/x")));
        assert!(gone[0].starts_with("id=; Path=/x; Max-Age=0; Expires="), "{gone:?}");
        for path in ["/; Domain=evil", "/\r\nx: y"] {
            let cookie = Cookie::build(("id", "1")).path(path);
            assert!(of(Response::text("").cookie(cookie)).is_empty());
        }
    }
}
