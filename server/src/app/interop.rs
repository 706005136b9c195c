//! Conversions to and from the crates `http`, `http-body` and `futures-core`.

use std::future::poll_fn;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use futures_core::Stream;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{self, Authority, PathAndQuery, Scheme, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use ringway_codec::field::{Field, Known};
use ringway_codec::h1::Span;
use ringway_codec::h1::request::Line;

use crate::app::body::{BodyWriter, Chunk, Closed, Incomplete, Producer, RequestBody};
use crate::app::body_channel::{End, Read};
use crate::app::content::Body;
use crate::app::request::{OwnedRequest, Protocol, Request};
use crate::app::response::{Response, is_bodiless};
use crate::app::uri::escaped;
use crate::rt::channel::Receiver;

impl Stream for RequestBody {
    type Item = Result<Chunk, Incomplete>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Self::poll_next(self.get_mut(), context)
    }
}

impl<T> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.get_mut().poll_recv(context)
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = Incomplete;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Incomplete>>> {
        let this = self.get_mut();
        Self::poll_next(this, context).map(|next| match next {
            Some(Ok(chunk)) => Some(Ok(Frame::data(chunk.into()))),
            Some(Err(incomplete)) => Some(Err(incomplete)),
            None => trailers_frame(this.trailers()).map(Ok),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        let (there, whole) = self.waiting();
        let mut hint = SizeHint::default();
        hint.set_lower(there);
        if whole {
            hint.set_upper(there);
        }
        hint
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Incomplete;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Incomplete>>> {
        let this = self.get_mut();
        let Self::Stream(producer) = this else {
            let bytes = std::mem::take(this).pin().into_bytes();
            return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))));
        };
        producer.poll_read(context).map(|read| match read {
            Read::Chunk(chunk) => Some(Ok(Frame::data(chunk.into_bytes()))),
            Read::End(End::Complete) => trailers_frame(producer.take_trailers()).map(Ok),
            Read::End(End::Aborted) | Read::Empty => Some(Err(Incomplete)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.as_bytes().is_some_and(<[u8]>::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        self.len().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A frame of trailers, if there are any. Fields that `http` cannot represent are left out.
pub(crate) fn trailers_frame(fields: Vec<(String, String)>) -> Option<Frame<Bytes>> {
    let parsed = fields.into_iter().filter_map(|(name, value)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
    });
    let map: HeaderMap = parsed.collect();
    (!map.is_empty()).then(|| Frame::trailers(map))
}

impl Body {
    /// A body of a stream's items, polled while the response is sent, as room permits. An error
    /// breaks the response off, so that a truncated body never looks complete.
    pub fn from_stream<S, T, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<T, E>> + 'static,
        T: Into<Self>,
    {
        Self::Stream(Producer::new(async move |out| write_stream(stream, out).await, None))
    }

    /// Same as [`Self::from_stream`], with a length in bytes known in advance. A stream of another
    /// length breaks the response off.
    pub fn from_stream_of_length<S, T, E>(length: u64, stream: S) -> Self
    where
        S: Stream<Item = Result<T, E>> + 'static,
        T: Into<Self>,
    {
        Self::Stream(Producer::new(async move |out| write_stream(stream, out).await, Some(length)))
    }

    /// A body of another library, with its trailers. A single frame that is ready at once is sent
    /// like any body in memory; otherwise the body is polled as room permits. An error breaks the
    /// response off.
    pub fn from_http_body<B: HttpBody + 'static>(body: B) -> Self {
        let length = body.size_hint().exact();
        Self::of_http_body(body, length)
    }

    fn of_http_body<B: HttpBody + 'static>(body: B, length: Option<u64>) -> Self {
        if body.is_end_stream() {
            return Self::Empty;
        }
        let mut body = Box::pin(body);
        // A pending body is polled again by the task that waits for it.
        let first = match body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(None) => return Self::Empty,
            Poll::Ready(Some(Ok(frame))) if body.is_end_stream() => match frame.into_data() {
                Ok(mut data) => return Self::Buffer(data.copy_to_bytes(data.remaining())),
                Err(frame) => Some(Ok(frame)),
            },
            Poll::Ready(Some(frame)) => Some(frame),
            Poll::Pending => None,
        };
        let produce = async move |mut out: BodyWriter| {
            let mut next = first;
            loop {
                let frame = match next.take() {
                    Some(frame) => frame,
                    None => match poll_fn(|context| body.as_mut().poll_frame(context)).await {
                        Some(frame) => frame,
                        None => return,
                    },
                };
                match frame {
                    Ok(frame) => {
                        if write_frame(frame, &mut out).await.is_err() {
                            return;
                        }
                    }
                    Err(_) => return out.abort(),
                }
            }
        };
        Self::Stream(Producer::new(produce, length))
    }
}

async fn write_stream<S, T, E>(stream: S, mut out: BodyWriter)
where
    S: Stream<Item = Result<T, E>>,
    T: Into<Body>,
{
    let mut stream = pin!(stream);
    while let Some(piece) = poll_fn(|context| stream.as_mut().poll_next(context)).await {
        let Ok(piece) = piece else { return out.abort() };
        if out.write(piece).await.is_err() {
            // The client is gone.
            return;
        }
    }
}

/// Writes a frame of a body, then waits until there is room for more.
pub(crate) async fn write_frame<D: Buf>(
    frame: Frame<D>,
    out: &mut BodyWriter,
) -> Result<(), Closed> {
    match frame.into_data() {
        Ok(mut data) => out.write(data.copy_to_bytes(data.remaining())).await,
        Err(frame) => {
            let fields = frame.into_trailers().unwrap_or_default();
            let text = |(name, value): (&'_ HeaderName, &'_ HeaderValue)| {
                Some((name.to_string(), str::from_utf8(value.as_bytes()).ok()?.to_owned()))
            };
            let fields: Vec<_> = fields.iter().filter_map(text).collect();
            out.trailers(fields.iter().map(|(name, value)| (&**name, &**value)));
            Ok(())
        }
    }
}

impl<B: HttpBody + 'static> From<http::Response<B>> for Response {
    /// Converts status, fields and body. The length is the body's if known, otherwise
    /// content-length.
    fn from(response: http::Response<B>) -> Self {
        let (head, body) = response.into_parts();
        let stated = head.headers.get(header::CONTENT_LENGTH);
        let stated = stated.and_then(|value| value.to_str().ok()?.parse().ok());
        let length = body.size_hint().exact();
        let content = match (body.is_end_stream(), stated) {
            // Either the answer to HEAD, or an error that breaks the response off.
            (true, Some(1..)) if !is_bodiless(head.status) => {
                Body::Stream(Producer::new(async |out| out.abort(), stated))
            }
            _ => Body::of_http_body(body, length.or(stated)),
        };
        let mut made = Self::new(head.status).body(content);
        for (name, value) in &head.headers {
            made.add_header(name, value);
        }
        made
    }
}

impl From<Response> for http::Response<Body> {
    fn from(response: Response) -> Self {
        let mut made = Self::new(Body::Empty);
        *made.status_mut() = response.status_code();
        let fields = response.headers().filter_map(|(name, value)| {
            let name = HeaderName::from_bytes(name).ok()?;
            Some((name, HeaderValue::from_bytes(value).ok()?))
        });
        for (name, value) in fields {
            made.headers_mut().append(name, value);
        }
        *made.body_mut() = response.into_body();
        made
    }
}

impl Request<'_> {
    /// The request as an absolute URI with canonical path. `*`, and a request without authority,
    /// stay as they are. Built on each call: [`Self::path`], [`Self::query_string`] and
    /// [`Self::authority`] cost nothing.
    pub fn uri(&self) -> Uri {
        let path = path_and_query(self.line, &|range| Bytes::copy_from_slice(&self.bytes[range]));
        let authority = self.authority().map(|text| Bytes::copy_from_slice(text.as_bytes()));
        absolute(path, authority, self.is_secure())
    }

    /// The fields as the `http` crate's map. Built on each call: [`Self::header`] and
    /// [`Self::headers`] cost nothing.
    pub fn header_map(&self) -> HeaderMap {
        header_map(self.fields, &|range| Bytes::copy_from_slice(&self.bytes[range]))
    }
}

impl From<OwnedRequest> for http::Request<RequestBody> {
    /// Converts as other servers built on `http` do. Over HTTP/1.1 the URI is path and query, and
    /// the authority is in the Host field; over HTTP/2 and HTTP/3 the URI has scheme and authority.
    /// The path is canonical. Values are not copied. Extensions and the body, buffered or streamed,
    /// are included.
    fn from(request: OwnedRequest) -> Self {
        let (method, protocol) = (request.method(), request.protocol());
        let OwnedRequest { bytes, fields, line, secure, body, attached, .. } = request;
        let bytes = Bytes::from(bytes);
        let part = |range| bytes.slice(range);
        let path = path_and_query(&line, &part);
        let streamed = attached.stream.take();
        let mut made = Self::new(streamed.unwrap_or_else(|| body.into()));
        *made.method_mut() = method;
        *made.version_mut() = protocol.version();
        *made.uri_mut() = match protocol {
            Protocol::Http10 | Protocol::Http11 if path.path() != "" => path.into(),
            _ => absolute(path, line.authority.map(|at| part(range(at))), secure),
        };
        *made.headers_mut() = header_map(&fields, &part);
        *made.extensions_mut() = attached.extensions.into_http();
        made
    }
}

pub(crate) fn range(span: Span) -> Range<usize> {
    span.at as usize..(span.at + span.len) as usize
}

/// Path and query, built from slices of the request's bytes.
pub(crate) fn path_and_query(line: &Line, part: &dyn Fn(Range<usize>) -> Bytes) -> PathAndQuery {
    let path = range(line.path);
    let whole = match line.query.map(range) {
        None => part(path),
        Some(query) if query.start == path.end + 1 => part(path.start..query.end),
        // The canonical path is stored apart from the query.
        Some(query) => [&part(path)[..], b"?", &part(query)].concat().into(),
    };
    if whole.is_empty() {
        return PathAndQuery::from_static("");
    }
    let made = PathAndQuery::from_maybe_shared(whole.clone());
    // Clients send characters that no URI may contain, and mean them literally.
    let made = made.or_else(|_| PathAndQuery::from_maybe_shared(Bytes::from(escaped(&whole))));
    made.unwrap_or(PathAndQuery::from_static("/"))
}

pub(crate) fn absolute(path: PathAndQuery, authority: Option<Bytes>, secure: bool) -> Uri {
    let mut parts = uri::Parts::default();
    parts.authority = authority.and_then(|text| Authority::from_maybe_shared(text).ok());
    let is_path = path.path().starts_with('/');
    if is_path && parts.authority.is_some() {
        parts.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    }
    if path.path() == "*" {
        parts.authority = None;
    }
    if path.path() != "" {
        parts.path_and_query = Some(path);
    }
    Uri::from_parts(parts).unwrap_or_default()
}

/// The field names known to the codec, by number.
static NAMES: LazyLock<Vec<Option<HeaderName>>> = LazyLock::new(|| {
    let mut names = vec![None; Known::ALL.len() + 1];
    for known in Known::ALL {
        names[*known as usize] = HeaderName::from_bytes(known.name().as_bytes()).ok();
    }
    names
});

pub(crate) fn header_map(fields: &[Field], part: &dyn Fn(Range<usize>) -> Bytes) -> HeaderMap {
    let names = &*NAMES;
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name_at = field.name_at as usize;
        let name = match &names[field.known as usize] {
            Some(name) => Ok(name.clone()),
            None => HeaderName::from_bytes(&part(name_at..name_at + usize::from(field.name_len))),
        };
        let value_at = field.value_at as usize;
        let value = part(value_at..value_at + field.value_len as usize);
        if let (Ok(name), Ok(mut value)) = (name, HeaderValue::from_maybe_shared(value)) {
            value.set_sensitive(field.flags & Field::NEVER_INDEXED != 0);
            map.append(name, value);
        }
    }
    map
}

#[cfg(test)]
mod tests;
