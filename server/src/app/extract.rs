//! Parts of a request deserialised into the application's types, using serde.

use http::{Method, StatusCode};
use ringway_codec::field::Known;
use serde::Deserialize;

use crate::app::pairs::{NotText, Pairs};
use crate::app::problem::Rejection;
use crate::app::request::{OwnedRequest, Request};

impl<'a> Request<'a> {
    /// Deserialises the body as JSON. 415 unless the content type is `application/json` or ends in
    /// `+json`. 400 if the body is not JSON or does not fit `T`; the answer gives path, line and
    /// column.
    ///
    /// Nesting is limited to 128 levels. The body's size is limited by the route.
    ///
    /// ```
    /// use ringway::{Rejection, Request, Response, Router};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Deserialize, Serialize)]
    /// struct Item {
    ///     name: String,
    ///     price: u32,
    /// }
    ///
    /// let app = Router::new().post("/items", |request: &Request| -> Result<_, Rejection> {
    ///     let item: Item = request.json()?;
    ///     Ok(Response::json(&item))
    /// });
    /// # let _ = app;
    /// ```
    pub fn json<T: Deserialize<'a>>(&self) -> Result<T, Rejection> {
        if !self.media_type().is_some_and(is_json) {
            return Err(wrong_type("application/json"));
        }
        let mut text = serde_json::Deserializer::from_slice(self.body);
        let value = serde_path_to_error::deserialize(&mut text).map_err(|error| {
            let path = error.path().to_string();
            // Where the text ends or is broken, its last part may have no name: `items[1].?`.
            let named = path.strip_suffix('?').filter(|_| !error.inner().is_data());
            let path = named.map_or(&*path, |named| named.strip_suffix('.').unwrap_or(named));
            json_rejection(if path.is_empty() { "." } else { path }, error.inner())
        })?;
        text.end().map_err(|error| json_rejection(".", &error))?;
        Ok(value)
    }

    /// Deserialises the query into a struct or a map; repeated names form a sequence. 400 if it
    /// does not fit `T`; the answer names the parameter.
    pub fn query<T: Deserialize<'a>>(&self) -> Result<T, Rejection> {
        let query = self.line.query.map_or(&[][..], |query| query.of(self.bytes));
        read("query", Pairs::of_form(query))
    }

    /// Deserialises a form into a struct or a map. The form is the body, which must be
    /// `application/x-www-form-urlencoded` (else 415); for GET and HEAD it is the query. 400 if it
    /// does not fit `T`; the answer names the field.
    pub fn form<T: Deserialize<'a>>(&self) -> Result<T, Rejection> {
        if matches!(self.method(), Method::GET | Method::HEAD) {
            return self.query();
        }
        const FORM: &str = "application/x-www-form-urlencoded";
        if !self.media_type().is_some_and(|kind| kind.eq_ignore_ascii_case(FORM.as_bytes())) {
            return Err(wrong_type(FORM));
        }
        read("form", Pairs::of_form(self.body))
    }

    /// Deserialises the percent-decoded route parameters: a struct or a map by name, a tuple by
    /// position, or a single value. 400 if they do not fit `T`; the answer names the parameter.
    /// [`Self::param`] returns them as received.
    pub fn params<T: Deserialize<'a>>(&self) -> Result<T, Rejection> {
        let names = self.params.names;
        let values = self.params.spans.iter().map(|span| span.of(self.bytes));
        let values = values.map(|value| str::from_utf8(value).unwrap_or_default());
        let pairs = Pairs::of_params(names.iter().map(|name| &**name).zip(values));
        read_named("path", pairs, |path| match (names, path) {
            ([only], ".") => only.clone(),
            // Tuple positions look like `[1]`.
            (names, path) => {
                let place = path.strip_prefix('[').and_then(|rest| rest.split(']').next());
                let at = place.and_then(|place| place.parse::<usize>().ok());
                at.and_then(|at| names.get(at)).map_or_else(|| path.to_owned(), String::clone)
            }
        })
    }

    /// The content type without parameters.
    pub(crate) fn media_type(&self) -> Option<&'a [u8]> {
        let value = self.known(Known::ContentType)?;
        let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
        Some(value[..end].trim_ascii())
    }
}

impl OwnedRequest {
    /// Same as [`Request::json`].
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Rejection> {
        self.view().json()
    }

    /// Same as [`Request::query`].
    pub fn query<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Rejection> {
        self.view().query()
    }

    /// Same as [`Request::form`].
    pub fn form<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Rejection> {
        self.view().form()
    }

    /// Same as [`Request::params`].
    pub fn params<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Rejection> {
        self.view().params()
    }
}

/// `application/json`, or a type with the suffix `+json` (RFC 6839 section 3.1).
fn is_json(kind: &[u8]) -> bool {
    let ends_in_json = || {
        let (from, slash) = (kind.len().checked_sub(5), kind.contains(&b'/'));
        slash && from.is_some_and(|from| kind[from..].eq_ignore_ascii_case(b"+json"))
    };
    kind.eq_ignore_ascii_case(b"application/json") || ends_in_json()
}

pub(crate) fn wrong_type(wanted: &str) -> Rejection {
    let detail = format!("the content type must be {wanted}");
    Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
}

fn json_rejection(path: &str, error: &serde_json::Error) -> Rejection {
    // The path of the whole document is `.`, which is left out.
    let place = if path == "." { String::new() } else { format!("`{path}`: ") };
    let rejection = Rejection::bad_request(format!("{place}{error}"));
    let rejection = if path == "." { rejection } else { rejection.member("path", path) };
    rejection.member("line", error.line()).member("column", error.column())
}

fn read<'a, T: Deserialize<'a>>(
    part: &str,
    pairs: Result<Pairs<'a>, NotText>,
) -> Result<T, Rejection> {
    read_named(part, pairs, str::to_owned)
}

/// `name` maps a path within `T` to the name that the client knows.
fn read_named<'a, T: Deserialize<'a>>(
    part: &str,
    pairs: Result<Pairs<'a>, NotText>,
    name: impl Fn(&str) -> String,
) -> Result<T, Rejection> {
    let not_text = |NotText { name }| rejection(part, &name, "it is not UTF-8 after decoding");
    serde_path_to_error::deserialize(pairs.map_err(not_text)?).map_err(|error| {
        let name = name(&error.path().to_string());
        let name = if name == "." { "" } else { &name };
        rejection(part, name, &error.inner().to_string())
    })
}

fn rejection(part: &str, name: &str, what: &str) -> Rejection {
    if name.is_empty() {
        return Rejection::bad_request(format!("{part}: {what}"));
    }
    Rejection::bad_request(format!("{part}, `{name}`: {what}")).member("name", name)
}

#[cfg(test)]
mod tests;
