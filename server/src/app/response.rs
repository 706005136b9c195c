//! Responses: status, fields, body (RFC 9110 sections 6 and 15).

use std::fmt;
use std::rc::Rc;

use http::{HeaderName, HeaderValue, StatusCode};
use ringway_codec::field::{Field, Known};
use ringway_codec::h2::{Priority, priority};

use crate::app::body::{BodyWriter, Producer};
pub(crate) use crate::app::content::Body;
use crate::app::fields::is_framing;
pub(crate) use crate::app::fields::{FieldBlock, Line};
use crate::app::shared_fields::SharedFields;

/// A response. Creating one from static or short parts does not allocate.
pub struct Response {
    pub(crate) status: StatusCode,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) fields: FieldBlock,
    pub(crate) shared: Option<Rc<SharedFields>>,
    pub(crate) body: Body,
    /// Paths to push with this response. Boxed, because few responses have any.
    #[expect(clippy::box_collection, reason = "an answer is moved often and pushes seldom")]
    pub(crate) pushes: Option<Box<Vec<String>>>,
}

impl Response {
    /// A response without a body.
    pub fn new(status: StatusCode) -> Self {
        Self::of(status, None, Body::Empty)
    }

    #[inline]
    fn of(status: StatusCode, content_type: Option<&'static str>, body: Body) -> Self {
        let fields = FieldBlock::default();
        Self { status, content_type, fields, shared: None, body, pushes: None }
    }

    /// 200 with plain text in UTF-8.
    pub fn text(body: impl Into<Body>) -> Self {
        Self::typed("text/plain; charset=utf-8", body)
    }

    /// 200 with HTML in UTF-8.
    pub fn html(body: impl Into<Body>) -> Self {
        Self::typed("text/html; charset=utf-8", body)
    }

    /// 200 with JSON that is already serialised.
    pub fn json_bytes(body: impl Into<Body>) -> Self {
        Self::typed("application/json", body)
    }

    /// 200 with a body of a static content type.
    #[inline]
    pub fn typed(content_type: &'static str, body: impl Into<Body>) -> Self {
        Self::of(StatusCode::OK, Some(content_type), body.into())
    }

    /// 200 with the text of a value. Up to 30 bytes are stored without allocation.
    pub fn display(value: impl fmt::Display) -> Self {
        Self::text(Body::display(value))
    }

    /// 200 with a body that `produce` writes while it is sent. The future runs on the worker; a
    /// write waits while the client reads slowly. If the client leaves, the future is dropped.
    ///
    /// ```
    /// use ringway::Response;
    /// let response = Response::stream("text/plain", async |mut out| {
    ///     let _ = out.write("first ").await;
    ///     let _ = out.write("second").await;
    /// });
    /// ```
    pub fn stream<F>(content_type: &'static str, produce: F) -> Self
    where
        F: AsyncFnOnce(BodyWriter) + 'static,
    {
        Self::typed(content_type, Body::Stream(Producer::new(produce, None)))
    }

    /// Same as [`Self::stream`], with a length in bytes known in advance. A producer that writes
    /// less, or fails, breaks the response off, so that a truncated body never looks complete.
    pub fn stream_of_length<F>(content_type: &'static str, length: u64, produce: F) -> Self
    where
        F: AsyncFnOnce(BodyWriter) + 'static,
    {
        Self::typed(content_type, Body::Stream(Producer::new(produce, Some(length))))
    }

    /// Sets the status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Adds a field; `content-type` replaces the previous one. Connection-specific fields
    /// (`connection`, `transfer-encoding` and others) and `content-length` are ignored, because the
    /// server sets them. A value marked as sensitive never enters a compression table; neither does
    /// `set-cookie` (RFC 7541 section 7.1.3).
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.add_header(&name, &value);
        self
    }

    /// Same as [`Self::header`], in place.
    pub fn add_header(&mut self, name: &HeaderName, value: &HeaderValue) {
        let known = Known::of(name.as_str().as_bytes());
        if is_framing(known, name.as_str()) {
            return;
        }
        if known == Known::ContentType {
            self.remove_header(name);
        }
        let flags = if value.is_sensitive() { Field::NEVER_INDEXED } else { 0 };
        self.fields.push_with(flags, name.as_str().as_bytes(), value.as_bytes());
    }

    /// Removes all fields with a name.
    pub fn remove_header(&mut self, name: &HeaderName) {
        let name = name.as_str().as_bytes();
        if Known::of(name) == Known::ContentType {
            self.content_type = None;
        }
        // Shared fields are copied before one is removed.
        if let Some(shared) = self.shared.take_if(|shared| shared.has(name)) {
            let mut own = FieldBlock::clone(&shared);
            own.append(&self.fields);
            self.fields = own;
        }
        if self.fields.has(name) {
            self.fields.remove(name);
        }
    }

    /// Pushes the resource at this path with the response. Requires HTTP/2, a configuration that
    /// allows pushes, and a client that accepts them (RFC 9113 section 8.4). A path is pushed at
    /// most once per connection.
    #[must_use]
    pub fn push(mut self, path: impl Into<String>) -> Self {
        self.pushes.get_or_insert_default().push(path.into());
        self
    }

    /// The status.
    pub fn status_code(&self) -> StatusCode {
        self.status
    }

    /// All fields in order, names in lower case. Fields that the server adds when sending (`date`,
    /// `content-length` and others) are not included.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let content_type = self.content_type.map(|value| (&b"content-type"[..], value.as_bytes()));
        let lines = self.blocks().flat_map(FieldBlock::iter);
        content_type.into_iter().chain(lines.map(|(_, _, name, value)| (name, value)))
    }

    /// The value of the first field with this name (any case).
    pub fn get_header(&self, name: impl AsRef<str>) -> Option<&[u8]> {
        let name = name.as_ref().as_bytes();
        self.headers().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The body.
    pub fn as_body(&self) -> &Body {
        &self.body
    }

    /// Converts into the body.
    pub fn into_body(self) -> Body {
        self.body
    }

    /// The priority that the response states or implies.
    pub(crate) fn rank(&self) -> Option<Rank<'_>> {
        let mut content_type = self.content_type.map(str::as_bytes);
        for (_, known, _, value) in self.blocks().flat_map(FieldBlock::iter) {
            match known {
                Known::ContentType => content_type = Some(value),
                Known::Priority => return Some(Rank::Stated(value)),
                _ => {}
            }
        }
        content_type.map(|content_type| Rank::Usual(priority::default_for(content_type)))
    }

    /// True if it has fields of its own.
    pub(crate) fn has_fields(&self) -> bool {
        !self.fields.is_empty() || self.shared.is_some()
    }

    /// True if it owns heap memory.
    #[inline]
    pub(crate) fn owns_memory(&self) -> bool {
        let plain = matches!(self.body, Body::Empty | Body::Static(_) | Body::Inline(_));
        !plain || self.has_fields() || self.pushes.is_some()
    }

    /// The fields sent over every protocol, except date, server and framing fields.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &FieldBlock> {
        let shared = self.shared.as_deref().map(|shared| &**shared);
        shared.into_iter().chain([&self.fields])
    }
}

/// A response's priority on its connection (RFC 9218 section 8).
pub(crate) enum Rank<'a> {
    /// The response's own Priority field, which overrides the client's.
    Stated(&'a [u8]),
    /// The default for its content type, used if the client states no priority.
    Usual(Priority),
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status", &self.status).finish_non_exhaustive()
    }
}

impl From<StatusCode> for Response {
    /// The status with its reason phrase as plain text, if the status allows a body.
    fn from(status: StatusCode) -> Self {
        let response = Self::new(status);
        match status.canonical_reason() {
            Some(reason) if !is_bodiless(status) => Self::text(reason).status(status),
            _ => response,
        }
    }
}

/// True for statuses that never have a body (RFC 9110 section 6.4.1).
pub(crate) fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

#[cfg(test)]
mod tests {
    use ringway_codec::hpack::Indexing;

    use super::*;

    #[test]
    fn framing_fields_are_left_to_the_server() {
        let response = Response::text("x")
            .header(http::header::CONNECTION, HeaderValue::from_static("close"))
            .header(http::header::CONTENT_LENGTH, HeaderValue::from_static("9"))
            .header(http::header::ETAG, HeaderValue::from_static("\"1\""));
        assert_eq!(response.fields.lines(), b"etag: \"1\"\r\n");
        let all: Vec<_> = response.blocks().flat_map(FieldBlock::iter).collect();
        assert_eq!(all, [(Indexing::Auto, Known::Etag, &b"etag"[..], &b"\"1\""[..])]);
    }

    /// Responses are moved often, so their size matters.
    #[test]
    fn answers_stay_small() {
        assert_eq!((size_of::<Body>(), size_of::<Response>()), (40, 88));
    }
}
