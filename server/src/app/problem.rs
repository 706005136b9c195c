//! Problem details (RFC 9457): machine-readable errors.

use std::error::Error;
use std::fmt;

use http::StatusCode;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::app::response::Response;
use crate::rt::console::note;

/// Problem details (RFC 9457), sent as `application/problem+json`. A problem is both an error and
/// an answer, so a handler can return it with `?`.
///
/// ```
/// use ringway::{Problem, Response, StatusCode};
///
/// fn buy(price: u32, balance: u32) -> Result<Response, Problem> {
///     if price > balance {
///         return Err(Problem::new(StatusCode::FORBIDDEN)
///             .kind("https://example.com/probs/out-of-credit")
///             .title("You do not have enough credit.")
///             .detail(format!("Your balance is {balance}, but that costs {price}."))
///             .member("balance", balance));
///     }
///     Ok(Response::text("bought"))
/// }
/// assert_eq!(Response::from(buy(50, 30)).status_code(), StatusCode::FORBIDDEN);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Problem(Box<Details>);

/// A problem's content; boxed, so that a result with a problem is small.
#[derive(Clone, Debug, PartialEq)]
struct Details {
    status: StatusCode,
    kind: Option<String>,
    title: Option<String>,
    detail: Option<String>,
    instance: Option<String>,
    members: Vec<(String, Value)>,
}

/// The standard members (RFC 9457 section 3.1).
const STANDARD: [&str; 5] = ["type", "title", "status", "detail", "instance"];

impl Problem {
    /// A problem explained by its status alone; the title is the status's reason phrase.
    pub fn new(status: StatusCode) -> Self {
        let title = status.canonical_reason().map(str::to_owned);
        let members = Vec::new();
        Self(Box::new(Details { status, kind: None, title, detail: None, instance: None, members }))
    }

    /// Sets `type`: a URI that identifies the kind of problem (default `about:blank`).
    pub fn kind(mut self, uri: impl Into<String>) -> Self {
        self.0.kind = Some(uri.into());
        self
    }

    /// Sets `title`: a summary of the kind of problem, always in the same words.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.0.title = Some(title.into());
        self
    }

    /// Sets `detail`: an explanation of this occurrence.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Sets `instance`: a URI that identifies this occurrence.
    pub fn instance(mut self, uri: impl Into<String>) -> Self {
        self.0.instance = Some(uri.into());
        self
    }

    /// Adds an extension member (RFC 9457 section 3.2). The names of the five standard members are
    /// reserved and ignored here.
    pub fn member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let name = name.into();
        if !STANDARD.contains(&&*name) {
            self.0.members.retain(|(other, _)| *other != name);
            self.0.members.push((name, value.into()));
        }
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The detail, or else the title.
    #[must_use]
    pub fn message(&self) -> &str {
        self.0.detail.as_deref().or(self.0.title.as_deref()).unwrap_or_default()
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let texts = [("type", &self.0.kind), ("title", &self.0.title)];
        let more = [("detail", &self.0.detail), ("instance", &self.0.instance)];
        for (name, text) in texts.iter().filter_map(|(name, text)| Some((name, text.as_ref()?))) {
            map.serialize_entry(name, text)?;
        }
        map.serialize_entry("status", &self.0.status.as_u16())?;
        for (name, text) in more.iter().filter_map(|(name, text)| Some((name, text.as_ref()?))) {
            map.serialize_entry(name, text)?;
        }
        for (name, value) in &self.0.members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl Error for Problem {}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        match serde_json::to_vec(&problem) {
            Ok(json) => Self::typed("application/problem+json", json).status(problem.0.status),
            // The values are already JSON, so this does not fail.
            Err(_) => problem.0.status.into(),
        }
    }
}

impl From<Box<dyn Error + Send + Sync>> for Response {
    /// The answer of a contained [`Problem`] or [`Rejection`]; 500 for any other error, whose
    /// message goes to standard error and not into the answer.
    fn from(error: Box<dyn Error + Send + Sync>) -> Self {
        Self::from(error as Box<dyn Error>)
    }
}

impl From<Box<dyn Error>> for Response {
    /// The answer of a contained [`Problem`] or [`Rejection`]; 500 for any other error, whose
    /// message goes to standard error and not into the answer.
    fn from(error: Box<dyn Error>) -> Self {
        let error = match error.downcast::<Rejection>() {
            Ok(rejection) => return (*rejection).into(),
            Err(error) => error,
        };
        match error.downcast::<Problem>() {
            Ok(problem) => (*problem).into(),
            Err(error) => failed(error),
        }
    }
}

/// The answer after the application failed. The reason goes only to standard error.
pub(crate) fn failed(reason: impl fmt::Display) -> Response {
    note!("ringway: a handler failed: {}", reason.to_string().escape_debug());
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR).into()
}

/// Why a request, or a part of it, was refused. It converts into an answer, so a handler can return
/// it with `?`: 400 for malformed input, 413 for too large, 415 for the wrong content type. The
/// answer has [`Problem`] details that say where.
#[derive(Clone, PartialEq)]
pub struct Rejection(Problem);

/// The detail may quote the client's input; it is cut to this many bytes.
const DETAIL_MAX: usize = 400;

impl Rejection {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if detail.len() > DETAIL_MAX {
            let whole = (0..=DETAIL_MAX).rev().find(|at| detail.is_char_boundary(*at));
            detail.truncate(whole.unwrap_or_default());
            detail.push('…');
        }
        Self(Problem::new(status).detail(detail))
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn member(self, name: &str, value: impl Into<Value>) -> Self {
        Self(self.0.member(name, value))
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// The problem details.
    pub fn problem(&self) -> &Problem {
        &self.0
    }

    /// The problem details, for changes.
    pub fn into_problem(self) -> Problem {
        self.0
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rejection({} {:?})", self.status().as_u16(), self.0.message())
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Rejection {}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        rejection.into_problem()
    }
}

impl From<Rejection> for Response {
    fn from(rejection: Rejection) -> Self {
        rejection.into_problem().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(response: Response) -> String {
        String::from_utf8(response.as_body().as_bytes().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn p4_problem_details_are_as_the_rfc_shows_them() {
        let problem = Problem::new(StatusCode::FORBIDDEN)
            .kind("https://example.com/probs/out-of-credit")
            .title("You do not have enough credit.")
            .detail("Your current balance is 30, but that costs 50.")
            .instance("/account/12345/msgs/abc")
            .member("balance", 30)
            .member("status", 200)
            .member("accounts", vec!["/account/12345"]);
        assert_eq!(problem.to_string(), "Your current balance is 30, but that costs 50.");
        let response = Response::from(problem);
        assert_eq!(response.status_code(), StatusCode::FORBIDDEN);
        assert_eq!(response.get_header("content-type"), Some(&b"application/problem+json"[..]));
        assert_eq!(
            text(response),
            r#"{"type":"https://example.com/probs/out-of-credit","title":"You do not have enough credit.","status":403,"detail":"Your current balance is 30, but that costs 50.","instance":"/account/12345/msgs/abc","balance":30,"accounts":["/account/12345"]}"#
        );
        let plain = Response::from(Problem::new(StatusCode::NOT_FOUND));
        assert_eq!(text(plain), r#"{"title":"Not Found","status":404}"#);
    }

    #[test]
    fn p4_an_error_of_any_kind_ends_a_handler() {
        let of = |error: Box<dyn Error + Send + Sync>| {
            let response = Response::from(error);
            (response.status_code().as_u16(), text(response))
        };
        let (status, said) = of(Rejection::bad_request("no").into());
        assert_eq!((status, said.contains("\"detail\":\"no\"")), (400, true));
        assert_eq!(of(Problem::new(StatusCode::CONFLICT).into()).0, 409);
        let (status, said) = of("the password is 1234".into());
        assert_eq!((status, said.contains("1234")), (500, false));
    }

    #[test]
    fn p4_what_a_client_sent_is_not_repeated_at_length() {
        let rejection = Rejection::bad_request("é".repeat(100_000));
        assert!(rejection.to_string().len() <= DETAIL_MAX + 3);
    }
}
