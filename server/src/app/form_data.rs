//! Multipart forms (`multipart/form-data`, RFC 7578), streamed, using the crate `multer`.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use http::StatusCode;
use ringway_codec::field::Known;

use crate::app::body::{Incomplete, RequestBody};
use crate::app::extract::wrong_type;
use crate::app::problem::Rejection;
use crate::app::request::{OwnedRequest, Request};

/// The fields of a `multipart/form-data` body, one after the other, as they arrive. Unread data
/// waits at the client.
///
/// ```
/// use ringway::extract::MultipartForm;
/// use ringway::{OwnedRequest, Rejection, RequestBody, Response};
///
/// async fn upload(request: OwnedRequest, body: RequestBody) -> Result<Response, Rejection> {
///     let mut form = MultipartForm::new(&request, body)?.max_fields(10);
///     let mut bytes = 0;
///     while let Some(mut field) = form.next_field().await? {
///         while let Some(chunk) = field.chunk().await? {
///             bytes += chunk.len();
///         }
///     }
///     Ok(Response::display(bytes))
/// }
/// ```
pub struct MultipartForm {
    body: RequestBody,
    feed: Arc<Mutex<Feed>>,
    parser: multer::Multipart<'static>,
    current: Option<multer::Field<'static>>,
    /// Number of fields that may still come.
    fields_left: usize,
    fields_max: usize,
    field_max: u64,
}

/// Input of the parser. The parser must be `Send`, which the body is not.
#[derive(Default)]
struct Feed {
    next: Option<Bytes>,
    ended: bool,
}

struct Source(Arc<Mutex<Feed>>);

impl Stream for Source {
    type Item = Result<Bytes, Incomplete>;

    /// The caller feeds the parser and polls again, so no waker is needed.
    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut feed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match feed.next.take() {
            Some(bytes) => Poll::Ready(Some(Ok(bytes))),
            None if feed.ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

/// Default maximum number of fields.
const FIELDS_MAX: usize = 100;

/// Default maximum size of a field gathered in memory, in bytes.
const FIELD_MAX: u64 = 2 << 20;

/// Maximum number of bytes before a field's head is complete.
const HEAD_MAX: usize = 16 << 10;

impl MultipartForm {
    /// The form in a body that was taken out of its request, as [`Router::stream`] does. 415 for
    /// another content type, 400 if the boundary is missing or invalid.
    ///
    /// [`Router::stream`]: crate::Router::stream
    pub fn new(request: &OwnedRequest, body: RequestBody) -> Result<Self, Rejection> {
        Self::of(&request.view(), body)
    }

    fn of(request: &Request<'_>, body: RequestBody) -> Result<Self, Rejection> {
        const TYPE: &[u8] = b"multipart/form-data";
        if !request.media_type().is_some_and(|kind| kind.eq_ignore_ascii_case(TYPE)) {
            return Err(wrong_type("multipart/form-data"));
        }
        let value = request.known(Known::ContentType).unwrap_or_default();
        let boundary =
            str::from_utf8(value).ok().and_then(|value| multer::parse_boundary(value).ok());
        // RFC 2046 section 5.1.1.
        let Some(boundary) = boundary.filter(|boundary| (1..=70).contains(&boundary.len())) else {
            return Err(Rejection::bad_request(
                "the content type has no boundary of 1 to 70 octets",
            ));
        };
        let feed = Arc::<Mutex<Feed>>::default();
        Ok(Self {
            body,
            parser: multer::Multipart::new(Source(Arc::clone(&feed)), boundary),
            feed,
            current: None,
            fields_left: FIELDS_MAX,
            fields_max: FIELDS_MAX,
            field_max: u64::MAX,
        })
    }

    /// Sets the maximum number of fields (default 100). More are refused with 413.
    #[must_use]
    pub fn max_fields(mut self, count: usize) -> Self {
        (self.fields_left, self.fields_max) = (count, count);
        self
    }

    /// Sets the maximum size of a field in bytes. Larger fields are refused with 413. By default, a
    /// field gathered in memory is limited to 2 MiB, and a field read in chunks is not limited.
    #[must_use]
    pub fn max_field_bytes(mut self, bytes: u64) -> Self {
        self.field_max = bytes;
        self
    }

    /// The next field; `None` after the last. Skips what was not read of the previous field.
    pub async fn next_field(&mut self) -> Result<Option<MultipartField<'_>>, Rejection> {
        while self.current.is_some() && self.read_chunk().await?.is_some() {}
        self.current = None;
        let Self { body, feed, parser, .. } = self;
        let next = drive(body, feed, HEAD_MAX, |context| parser.poll_next_field(context)).await?;
        let Some(field) = next else { return Ok(None) };
        let Some(left) = self.fields_left.checked_sub(1) else {
            let detail = format!("the form has more than {} fields", self.fields_max);
            return Err(Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        };
        self.fields_left = left;
        self.current = Some(field);
        Ok(Some(MultipartField { form: self, read: 0 }))
    }

    async fn read_chunk(&mut self) -> Result<Option<Bytes>, Rejection> {
        let Self { body, feed, current, .. } = self;
        let Some(field) = current else { return Ok(None) };
        drive(body, feed, usize::MAX, |context| {
            Pin::new(&mut *field).poll_next(context).map(Option::transpose)
        })
        .await
    }
}

/// Polls the parser and feeds it from the body until it returns. Fails after `max` bytes without a
/// result.
async fn drive<T>(
    body: &mut RequestBody,
    feed: &Mutex<Feed>,
    max: usize,
    mut ask: impl FnMut(&mut Context<'_>) -> Poll<Result<T, multer::Error>>,
) -> Result<T, Rejection> {
    let mut fed = 0_usize;
    poll_fn(|context| {
        loop {
            if let Poll::Ready(answer) = ask(context) {
                return Poll::Ready(answer.map_err(malformed));
            }
            if fed > max {
                let detail = format!("the head of a form's field is larger than {HEAD_MAX} bytes");
                return Poll::Ready(Err(Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, detail)));
            }
            let next = ready!(body.poll_next(context));
            let mut feed = feed.lock().unwrap_or_else(PoisonError::into_inner);
            match next {
                Some(Ok(chunk)) => {
                    fed += chunk.len();
                    feed.next = Some(chunk.into_bytes());
                }
                None if !feed.ended => feed.ended = true,
                None => return Poll::Ready(Err(malformed(multer::Error::IncompleteStream))),
                Some(Err(incomplete)) => {
                    return Poll::Ready(Err(Rejection::bad_request(incomplete.to_string())));
                }
            }
        }
    })
    .await
}

fn malformed(error: multer::Error) -> Rejection {
    Rejection::bad_request(format!("form: {error}"))
}

impl fmt::Debug for MultipartForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultipartForm")
            .field("fields_left", &self.fields_left)
            .finish_non_exhaustive()
    }
}

/// A field of a form; its content is read as it arrives.
pub struct MultipartField<'a> {
    form: &'a mut MultipartForm,
    read: u64,
}

impl MultipartField<'_> {
    fn head(&self) -> Option<&multer::Field<'static>> {
        self.form.current.as_ref()
    }

    /// The field's name.
    pub fn name(&self) -> Option<&str> {
        self.head()?.name()
    }

    /// The file name stated by the client. Never use it as a path.
    pub fn file_name(&self) -> Option<&str> {
        self.head()?.file_name()
    }

    /// The content type stated by the client.
    pub fn content_type(&self) -> Option<&str> {
        self.head()?.content_type().map(AsRef::as_ref)
    }

    /// The next chunk of the content; `None` after the last. 413 if the field exceeds the form's
    /// limit, 400 if the form is malformed or truncated.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Rejection> {
        let bound = self.form.field_max;
        self.chunk_within(bound).await
    }

    async fn chunk_within(&mut self, bound: u64) -> Result<Option<Bytes>, Rejection> {
        let Some(chunk) = self.form.read_chunk().await? else { return Ok(None) };
        self.read += chunk.len() as u64;
        if self.read > bound {
            let name = self.name().unwrap_or_default();
            let detail = format!("form, `{name}`: it is larger than {bound} bytes");
            let rejection = Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, detail);
            return Err(rejection.member("name", name));
        }
        Ok(Some(chunk))
    }

    /// The whole content.
    pub async fn bytes(mut self) -> Result<Vec<u8>, Rejection> {
        let bound = match self.form.field_max {
            u64::MAX => FIELD_MAX,
            bound => bound,
        };
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk_within(bound).await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    /// The whole content as UTF-8; 400 if it is not.
    pub async fn text(self) -> Result<String, Rejection> {
        let name = self.name().unwrap_or_default().to_owned();
        String::from_utf8(self.bytes().await?).map_err(|_| {
            Rejection::bad_request(format!("form, `{name}`: it is not UTF-8"))
                .member("name", name.as_str())
        })
    }
}

impl fmt::Debug for MultipartField<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultipartField").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl OwnedRequest {
    /// The body as a multipart form: streamed if the route streams the body, otherwise buffered.
    /// 415 for another content type, 400 if the boundary is missing.
    pub fn multipart(&self) -> Result<MultipartForm, Rejection> {
        let body = self.take_body().unwrap_or_else(|| self.body().to_vec().into());
        MultipartForm::of(&self.view(), body)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use super::*;
    use crate::app::body_channel::{BodyChannel, End};
    use crate::app::content::Body;

    const HEAD: &str = "content-disposition: form-data; name=";

    fn request(kind: &str) -> OwnedRequest {
        Request::builder().method("POST").header("content-type", kind).build().unwrap()
    }

    fn form(body: impl Into<Vec<u8>>) -> MultipartForm {
        MultipartForm::new(&request("multipart/form-data; boundary=x"), body.into().into()).unwrap()
    }

    fn done<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("all of it is there"),
        }
    }

    /// Name and text of each field.
    fn read(mut form: MultipartForm) -> Result<Vec<(String, String)>, Rejection> {
        done(async {
            let mut all = Vec::new();
            while let Some(field) = form.next_field().await? {
                let name = field.name().unwrap_or_default().to_owned();
                all.push((name, field.text().await?));
            }
            Ok(all)
        })
    }

    fn status(result: Result<Vec<(String, String)>, Rejection>) -> u16 {
        result.unwrap_err().status().as_u16()
    }

    #[test]
    fn p4_a_form_with_files_is_read_field_by_field() {
        let text = format!(
            "--x\r\n{HEAD}\"a\"\r\n\r\n1\r\n--x\r\n{HEAD}\"f\"; filename=\"n.txt\"\r\n\
             content-type: text/plain\r\n\r\nli\r\nne\r\n--x--\r\n"
        );
        let all = read(form(text.clone())).unwrap();
        let want = [("a", "1"), ("f", "li\r\nne")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(all, want);
        // Unread fields are skipped.
        let mut form = form(text);
        done(async {
            form.next_field().await.unwrap().unwrap();
            let field = form.next_field().await.unwrap().unwrap();
            assert_eq!((field.name(), field.file_name()), (Some("f"), Some("n.txt")));
            assert_eq!(field.content_type(), Some("text/plain"));
            assert!(form.next_field().await.unwrap().is_none());
        });
    }

    #[test]
    fn p4_a_form_arrives_piece_by_piece() {
        let channel = BodyChannel::default();
        let body = RequestBody::new(channel.clone());
        let kind = "multipart/form-data; boundary=\"x\"";
        let mut form = MultipartForm::new(&request(kind), body).unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut reading = Box::pin(async move {
            let mut field = form.next_field().await?.unwrap();
            let mut text = Vec::new();
            while let Some(chunk) = field.chunk().await? {
                text.extend_from_slice(&chunk);
            }
            Ok::<_, Rejection>(text)
        });
        for piece in ["-", "-x\r\n", HEAD, "\"a\"\r\n", "\r\n12", "34", "\r\n--", "x--"] {
            assert!(reading.as_mut().poll(&mut context).is_pending(), "{piece}");
            channel.push(Body::from(piece).pin());
        }
        channel.finish(End::Complete);
        let Poll::Ready(text) = reading.as_mut().poll(&mut context) else { panic!("it is there") };
        assert_eq!(text.unwrap(), b"1234");
    }

    #[test]
    fn p4_a_malformed_form_is_refused() {
        for kind in
            ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; b=x"]
        {
            let error = MultipartForm::new(&request(kind), Vec::new().into()).unwrap_err();
            assert_eq!(error.status(), StatusCode::BAD_REQUEST, "{kind}");
        }
        let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
        assert!(MultipartForm::new(&request(&long), Vec::new().into()).is_err());
        let error = MultipartForm::new(&request("multipart/mixed; boundary=x"), Vec::new().into());
        assert_eq!(error.unwrap_err().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let cut = format!("--x\r\n{HEAD}\"a\"\r\n\r\n1");
        for text in
            ["", "--y--", "--x", "--x\r\n", "--x\r\nname", &cut, "--x\r\n:\r\n\r\n1\r\n--x--"]
        {
            assert_eq!(status(read(form(text))), 400, "{text}");
        }
        let bytes = [format!("--x\r\n{HEAD}\"a\"\r\n\r\n").as_bytes(), b"\xff\r\n--x--"].concat();
        assert_eq!(status(read(form(bytes))), 400);
    }

    #[test]
    fn p4_a_form_is_bounded() {
        let field = format!("--x\r\n{HEAD}\"a\"\r\n\r\n12345\r\n");
        let three = || form(format!("{}--x--", field.repeat(3)));
        assert_eq!(read(three().max_fields(3)).unwrap().len(), 3);
        assert_eq!(status(read(three().max_fields(2))), 413);
        assert_eq!(read(three().max_field_bytes(5)).unwrap().len(), 3);
        assert_eq!(status(read(three().max_field_bytes(4))), 413);
        let large = "1".repeat((FIELD_MAX + 1) as usize);
        assert_eq!(status(read(form(format!("--x\r\n{HEAD}\"a\"\r\n\r\n{large}\r\n--x--")))), 413);
        // A head, or text before the first boundary, that never ends.
        let channel = BodyChannel::default();
        let body = RequestBody::new(channel.clone());
        let kind = "multipart/form-data; boundary=x";
        let mut endless = MultipartForm::new(&request(kind), body).unwrap();
        for _ in 0..3 {
            channel.push(Body::from(vec![b'a'; 16 << 10]).pin());
        }
        let error = done(endless.next_field()).unwrap_err();
        assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
