//! What a handler answers: status, fields, body (RFC 9110 sections 6 and 15).

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use ringway_codec::field::{Field, Known};
use ringway_codec::h2::{Priority, priority};
use ringway_codec::hpack::Indexing;

use crate::app::body::{BodyWriter, Producer};
use crate::ring::send::{Owner, Pinned};

/// An answer. Making one from static or short parts does not allocate.
pub struct Response {
    pub(crate) status: StatusCode,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) fields: FieldBlock,
    pub(crate) shared: Option<Rc<FieldBlock>>,
    pub(crate) body: Body,
    /// Paths to push along with this answer; boxed, as hardly any answer has them.
    #[expect(clippy::box_collection, reason = "an answer is moved often and pushes seldom")]
    pub(crate) pushes: Option<Box<Vec<String>>>,
}

impl Response {
    /// An answer without a body.
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

    /// 200 with JSON that the caller has serialised.
    pub fn json(body: impl Into<Body>) -> Self {
        Self::typed("application/json", body)
    }

    /// 200 with a body of a content type that is known when the program is compiled.
    #[inline]
    pub fn typed(content_type: &'static str, body: impl Into<Body>) -> Self {
        Self::of(StatusCode::OK, Some(content_type), body.into())
    }

    /// 200 with the text of a value; short ones (up to 30 bytes) do not allocate.
    pub fn display(value: impl fmt::Display) -> Self {
        Self::text(Body::display(value))
    }

    /// 200 with a body that `produce` writes while it is being sent. It runs on the worker; writing
    /// waits while the client reads slowly. A client that leaves drops the future.
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

    /// As [`Self::stream`], of a length in bytes that is known beforehand. A producer that writes
    /// less, or fails, breaks the connection rather than passing a part for the whole.
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

    /// Adds a field. What frames the message (`connection`, `content-length`, `transfer-encoding`
    /// and other connection-specific fields) is the server's business, and is left out here. A
    /// value that is marked as sensitive is never put into a compression table, as `set-cookie` is
    /// not whether marked or not (RFC 7541 section 7.1.3).
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.add_field(&name, &value);
        self
    }

    /// As [`Self::header`].
    pub(crate) fn add_field(&mut self, name: &HeaderName, value: &HeaderValue) {
        let known = Known::of(name.as_str().as_bytes());
        if !is_framing(known, name.as_str()) {
            let flags = if value.is_sensitive() { Field::NEVER_INDEXED } else { 0 };
            self.fields.push_with(flags, name.as_str().as_bytes(), value.as_bytes());
        }
    }

    /// Pushes what this path answers along with this answer, where the protocol is HTTP/2, the
    /// configuration allows pushes, and the client wants them (RFC 9113 section 8.4). Never twice
    /// on a connection.
    #[must_use]
    pub fn push(mut self, path: impl Into<String>) -> Self {
        self.pushes.get_or_insert_default().push(path.into());
        self
    }

    /// The status.
    pub fn status_code(&self) -> StatusCode {
        self.status
    }

    /// What it says of its place among others that wait.
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

    /// Whether it has fields of its own.
    pub(crate) fn has_fields(&self) -> bool {
        self.fields.0.is_some() || self.shared.is_some()
    }

    /// Whether it owns memory beyond its own.
    #[inline]
    pub(crate) fn owns_memory(&self) -> bool {
        let plain = matches!(self.body, Body::Empty | Body::Static(_) | Body::Inline(_));
        !plain || self.has_fields() || self.pushes.is_some()
    }

    /// The fields that all protocols send, besides date, server and what frames the message.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &FieldBlock> {
        self.shared.as_deref().into_iter().chain([&self.fields])
    }
}

/// A response's place among others on its connection (RFC 9218 section 8).
pub(crate) enum Rank<'a> {
    /// Its own Priority field, which goes over what the client asked for.
    Stated(&'a [u8]),
    /// What its content type is commonly worth, where the client says nothing.
    Usual(Priority),
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Connection-specific fields (RFC 9113 section 8.2.2), and the length.
fn is_framing(known: Known, name: &str) -> bool {
    matches!(known, Known::Connection | Known::ContentLength | Known::TransferEncoding)
        || matches!(name, "keep-alive" | "proxy-connection" | "upgrade")
}

/// A field line: how to compress it, known name, name, value.
pub(crate) type Line<'a> = (Indexing, Known, &'a [u8], &'a [u8]);

/// Field lines as HTTP/1.1 writes them (`name: value\r\n`), with an index of their parts, so that
/// one text serves HTTP/1.1 by copying and the others by looking up.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldBlock(Option<Box<Lines>>);

#[derive(Clone, Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

impl FieldBlock {
    /// Adds a line. Both parts were checked by whoever made them.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.push_with(0, name, value);
    }

    fn push_with(&mut self, flags: u8, name: &[u8], value: &[u8]) {
        debug_assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        let Lines { bytes, fields } = &mut **self.0.get_or_insert_default();
        let name_at = bytes.len() as u32;
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(b": ");
        let value_at = bytes.len() as u32;
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
        fields.push(Field {
            name_at,
            value_at,
            value_len: value.len() as u32,
            name_len: name.len() as u16,
            known: Known::of(name),
            flags,
        });
    }

    /// The lines as HTTP/1.1 sends them.
    pub(crate) fn lines(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |lines| &lines.bytes)
    }

    /// The lines' parts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Line<'_>> {
        self.0.iter().flat_map(|lines| {
            let bytes = &lines.bytes;
            lines.fields.iter().map(|field| {
                let never = field.flags & Field::NEVER_INDEXED != 0;
                let indexing = if never { Indexing::Never } else { Indexing::Auto };
                (indexing, field.known, field.name(bytes), field.value(bytes))
            })
        })
    }
}

/// A response's body.
#[derive(Default)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// Bytes in the program's image.
    Static(&'static [u8]),
    /// A few bytes, in place.
    Inline(Inline),
    /// Bytes of its own.
    Bytes(Vec<u8>),
    /// A part of bytes that the worker keeps.
    Local(Rc<[u8]>, Range<usize>),
    /// Bytes shared between threads.
    Shared(Arc<[u8]>),
    /// Bytes of the `bytes` crate, sent without a copy where they are many.
    Buffer(Bytes),
    /// Bytes that are produced while they are sent.
    Stream(Producer),
}

/// Up to 30 bytes, in place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline {
    len: u8,
    bytes: [u8; 30],
}

impl Inline {
    /// A number in decimal digits, behind a sign or without.
    #[inline]
    fn number(negative: bool, number: u64) -> Self {
        // Gathered in a register: bytes stored one by one are slow to move afterwards.
        let (mut text, mut len, mut rest) = (0_u64, 0, number);
        while rest > 0 || len == 0 {
            if len == 7 {
                return Self::long_number(negative, number);
            }
            (text, len) = (text << 8 | (u64::from(b'0') + rest % 10), len + 1);
            rest /= 10;
        }
        if negative {
            (text, len) = (text << 8 | u64::from(b'-'), len + 1);
        }
        let mut inline = Self { len, bytes: [0; 30] };
        inline.bytes[..8].copy_from_slice(&text.to_le_bytes());
        inline
    }

    #[cold]
    fn long_number(negative: bool, mut number: u64) -> Self {
        let mut inline = Self { len: u8::from(negative), bytes: [b'-'; 30] };
        let len = inline.len + number.ilog10() as u8 + 1;
        for digit in inline.bytes[usize::from(inline.len)..usize::from(len)].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        inline.len = len;
        inline
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Write for Inline {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let at = usize::from(self.len);
        let room = self.bytes.get_mut(at..at + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len() as u8;
        Ok(())
    }
}

impl Body {
    /// The text of a value; short ones (up to 30 bytes) do not allocate.
    pub fn display(value: impl fmt::Display) -> Self {
        let mut inline = Inline::default();
        match write!(inline, "{value}") {
            Ok(()) => Self::Inline(inline),
            Err(_) => Self::Bytes(value.to_string().into_bytes()),
        }
    }

    /// Its length in bytes, where that is known before it is sent.
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::Stream(producer) => producer.length(),
            other => Some(other.bytes().len() as u64),
        }
    }

    /// True for a body that is known to be empty.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The bytes of a body that is already there; none for a stream.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Empty | Self::Stream(_) => &[],
            Self::Static(bytes) => bytes,
            Self::Inline(inline) => inline.as_bytes(),
            Self::Bytes(bytes) => bytes,
            Self::Local(bytes, range) => &bytes[range.clone()],
            Self::Shared(bytes) => bytes,
            Self::Buffer(bytes) => bytes,
        }
    }

    /// Appends the bytes of a body that is already there.
    #[inline(always)]
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            // To copy all there is room for takes two moves; what does not count is dropped again.
            Self::Inline(Inline { len, bytes }) => {
                let end = out.len() + usize::from(*len);
                out.extend_from_slice(bytes);
                out.truncate(end);
            }
            body => out.extend_from_slice(body.bytes()),
        }
    }

    /// The bytes of a body that is already there, to be sent from where they lie.
    pub(crate) fn pin(self) -> Pinned {
        let (owner, range) = match self {
            Self::Local(bytes, range) => (Owner::Local(bytes), range),
            other => {
                let range = 0..other.bytes().len();
                let owner = match other {
                    Self::Empty | Self::Stream(_) => Owner::Static(&[]),
                    Self::Static(bytes) => Owner::Static(bytes),
                    Self::Inline(inline) => Owner::Local(Rc::from(inline.as_bytes())),
                    Self::Bytes(bytes) => Owner::Owned(Rc::new(bytes)),
                    Self::Shared(bytes) => Owner::Shared(bytes),
                    Self::Buffer(bytes) => Owner::Buffer(Rc::new(bytes)),
                    Self::Local(bytes, _) => Owner::Local(bytes),
                };
                (owner, range)
            }
        };
        Pinned::new(owner, range)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::Static(text.as_bytes())
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Static(bytes)
    }
}

impl<const N: usize> From<&'static [u8; N]> for Body {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self::Static(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Bytes(text.into_bytes())
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Arc<[u8]>> for Body {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::Shared(bytes)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Buffer(bytes)
    }
}

impl From<Rc<[u8]>> for Body {
    fn from(bytes: Rc<[u8]>) -> Self {
        let range = 0..bytes.len();
        Self::Local(bytes, range)
    }
}

impl From<u64> for Body {
    /// The number in decimal digits.
    #[inline]
    fn from(number: u64) -> Self {
        Self::Inline(Inline::number(false, number))
    }
}

impl From<i64> for Body {
    /// The number in decimal digits.
    #[inline]
    fn from(number: i64) -> Self {
        Self::Inline(Inline::number(number < 0, number.unsigned_abs()))
    }
}

impl From<StatusCode> for Response {
    /// The status with its reason as plain text, where the status may have a body.
    fn from(status: StatusCode) -> Self {
        let response = Self::new(status);
        let bodiless = status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match status.canonical_reason() {
            Some(reason) if !bodiless => Self::text(reason).status(status),
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

    #[test]
    fn short_values_stay_in_place() {
        assert!(matches!(Body::display(u64::MAX), Body::Inline(_)));
        for number in [0, 7, 10, -1, 9_999_999, 10_000_000, -9_999_999, i64::MIN, i64::MAX] {
            assert_eq!(Body::from(number).bytes(), number.to_string().as_bytes());
        }
        assert_eq!(Body::from(u64::MAX).bytes(), u64::MAX.to_string().as_bytes());
        let long = Body::display("x".repeat(31));
        assert_eq!((long.len(), matches!(long, Body::Bytes(_))), (Some(31), true));
    }

    #[test]
    fn a_pinned_part_is_the_part() {
        let body = Body::Local(Rc::from(&b"0123456789"[..]), 3..7);
        assert_eq!(body.len(), Some(4));
        assert_eq!(body.pin().bytes(), b"3456");
        assert_eq!(Body::from("abc").pin().bytes(), b"abc");
        let bytes = Bytes::from(vec![7; 9]);
        let pinned = Body::from(bytes.clone()).pin();
        assert_eq!((pinned.bytes(), pinned.bytes().as_ptr()), (&bytes[..], bytes.as_ptr()));
    }
}
