//! Types that convert into a response, and constructors that can fail.

use std::borrow::Cow;
use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::app::content::Body;
use crate::app::problem::failed;
use crate::app::response::Response;
use crate::app::uri::escaped;

impl Response {
    /// 200 with a value as JSON. A value that cannot be serialised is a program error: 500, with a
    /// message on standard error.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => Self::json_bytes(json),
            Err(error) => failed(error),
        }
    }

    /// 303 (See Other): the client should GET `location`, for example after a form was posted.
    /// Characters not allowed in a URI are percent-encoded. A control character is a program error:
    /// 500, with a message on standard error.
    pub fn redirect(location: impl AsRef<str>) -> Self {
        Self::to_location(StatusCode::SEE_OTHER, location.as_ref())
    }

    /// 307 (Temporary Redirect): the client repeats the request at `location`. `location` is
    /// treated as in [`Self::redirect`].
    pub fn redirect_temporary(location: impl AsRef<str>) -> Self {
        Self::to_location(StatusCode::TEMPORARY_REDIRECT, location.as_ref())
    }

    /// 308 (Permanent Redirect): the client repeats the request at `location`, now and in future.
    /// `location` is treated as in [`Self::redirect`].
    pub fn redirect_permanent(location: impl AsRef<str>) -> Self {
        Self::to_location(StatusCode::PERMANENT_REDIRECT, location.as_ref())
    }

    fn to_location(status: StatusCode, location: &str) -> Self {
        let location = location.trim();
        match HeaderValue::try_from(escaped(location.as_bytes())) {
            Ok(value) if !location.contains(char::is_control) => {
                Self::new(status).header(header::LOCATION, value)
            }
            _ => failed("the location of a redirect has a control character"),
        }
    }
}

impl From<Body> for Response {
    /// 200 with content type `application/octet-stream`; an empty body has no content type.
    fn from(body: Body) -> Self {
        match body {
            Body::Empty => Self::new(StatusCode::OK),
            body => Self::typed("application/octet-stream", body),
        }
    }
}

macro_rules! answers {
    ($($body:ty, $make:path;)*) => {
        $(impl From<$body> for Response {
            fn from(body: $body) -> Self {
                $make(body)
            }
        })*
    };
}

answers! {
    &'static str, Response::text;
    String, Response::text;
    Cow<'static, str>, Response::text;
    &'static [u8], octets;
    Vec<u8>, octets;
    Bytes, octets;
}

fn octets(body: impl Into<Body>) -> Response {
    Response::typed("application/octet-stream", body)
}

impl From<()> for Response {
    /// 200 without a body.
    fn from((): ()) -> Self {
        Self::new(StatusCode::OK)
    }
}

impl From<Infallible> for Response {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl<R: Into<Self>> From<(StatusCode, R)> for Response {
    /// The response with another status.
    fn from((status, response): (StatusCode, R)) -> Self {
        response.into().status(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(response: impl Into<Response>) -> (u16, String, String) {
        let response = response.into();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let kind = response.get_header("content-type").map(text).unwrap_or_default();
        let body = response.as_body().as_bytes().map(text).unwrap();
        (response.status_code().as_u16(), kind, body)
    }

    fn of(status: u16, kind: &str, body: &str) -> (u16, String, String) {
        (status, kind.to_owned(), body.to_owned())
    }

    #[test]
    fn p6_what_becomes_a_response() {
        let text = "text/plain; charset=utf-8";
        assert_eq!(parts("a"), of(200, text, "a"));
        assert_eq!(parts("a".to_owned()), of(200, text, "a"));
        assert_eq!(parts(()), of(200, "", ""));
        assert_eq!(parts(vec![b'x']), of(200, "application/octet-stream", "x"));
        assert_eq!(parts(Bytes::from_static(b"x")), of(200, "application/octet-stream", "x"));
        assert_eq!(parts((StatusCode::CREATED, "a")), of(201, text, "a"));
        assert_eq!(parts((StatusCode::CREATED, Response::html("a"))).0, 201);
        let not_found = of(404, text, "Not Found");
        assert_eq!(parts(Result::<(), _>::Err(StatusCode::NOT_FOUND)), not_found);
        assert_eq!(parts(Result::<_, Infallible>::Ok("a")), of(200, text, "a"));
    }

    #[test]
    fn p4_json_goes_out() {
        let want = of(200, "application/json", r#"{"a":[1,null]}"#);
        assert_eq!(parts(Response::json(&serde_json::json!({"a": [1, null]}))), want);
        assert_eq!(parts(Response::json_bytes(r#"{"a":[1,null]}"#)), want);
        // JSON keys must be text.
        let odd = std::collections::BTreeMap::from([((1, 2), 3)]);
        assert_eq!(parts(Response::json(&odd)).0, 500);
    }

    #[test]
    fn p3_redirects_are_checked() {
        let of = |response: Response| {
            let location = response.get_header("location").unwrap_or_default().to_vec();
            (response.status_code().as_u16(), String::from_utf8(location).unwrap())
        };
        assert_eq!(of(Response::redirect("/a?b=c#d")), (303, "/a?b=c#d".to_owned()));
        assert_eq!(of(Response::redirect_temporary("https://h/")).0, 307);
        assert_eq!(of(Response::redirect_permanent("../x")).0, 308);
        let spelled = of(Response::redirect("/caf\u{e9} \"x\"%20"));
        assert_eq!(spelled.1, "/caf%C3%A9%20%22x%22%20");
        assert_eq!(of(Response::redirect("/a\r\nset-cookie: x=y")), (500, String::new()));
    }
}
