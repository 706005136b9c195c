//! Compression of dynamic responses in a coding that the client accepts.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode, header};
use ringway_codec::field::Known;
use ringway_codec::h1::request::Method as Verb;

use crate::app::content::Body;
use crate::app::content_coding::{Accepted, Coding, Codings, compressible};
use crate::app::encoder::{Encoder, INLINE_MAX, encode_stream};
use crate::app::handler::Reply;
use crate::app::layer::{Layer, Next};
use crate::app::request::Request;
use crate::app::response::Response;
use crate::rt::task::spawn_compression;

/// Compresses responses with brotli, zstd or gzip (RFC 7932, RFC 8878 with a window of at most 8
/// MiB, RFC 1952), whichever the client prefers (RFC 9110 section 12.5.3).
///
/// A response is compressed if its content type is text and it has at least 1 KiB, unless it
/// already has a coding or a digest, is a range, or says `no-transform`. A strong entity tag
/// becomes weak, because the bytes change (section 8.8.1). A client that refuses identity
/// (`identity;q=0`) gets 406 if none of the three codings is acceptable. Streamed bodies are
/// compressed as they are produced, and flushed whenever the producer pauses. More than 16 KiB at a
/// time is compressed by other threads, which yield to the workers and have half of the CPUs at
/// most. If too much waits for them, the response is sent uncompressed (503 if the client refuses
/// that).
///
/// [`Files`](crate::Files) serves precompressed files, which is cheaper. Its responses pass
/// unchanged.
///
/// # Secrets
/// The length of a compressed response reveals something about its content. Suppose a page contains
/// both a secret (such as a CSRF token) and text chosen by an attacker, who can make the victim's
/// browser request it often and can see the length of the responses. Then the secret can be
/// recovered character by character (BREACH). TLS, HTTP/2 and HTTP/3 do not prevent this. Do not
/// use this layer for such pages, or mask the secret anew each time.
///
/// ```
/// use ringway::layer::Compress;
/// use ringway::{Request, Response, Router};
/// let app = Router::new()
///     .get("/words", |_: &Request| Response::text("word ".repeat(1000)))
///     .layer(Compress::new());
/// # let _ = app;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Compress {
    min: u64,
    codings: Codings,
}

/// Default minimum size of a body, in bytes.
const MIN: u64 = 1024;

impl Compress {
    /// All three codings, for bodies of at least 1 KiB.
    #[must_use]
    pub fn new() -> Self {
        let codings = Coding::ALL.into_iter().fold(Codings::default(), Codings::with);
        Self { min: MIN, codings }
    }

    /// Sets the minimum size of a body, in bytes.
    #[must_use]
    pub fn min_size(mut self, bytes: u64) -> Self {
        self.min = bytes;
        self
    }

    /// Decides what to do with a response.
    fn plan(&self, response: &Response, asked: Asked) -> Plan {
        if response.status == StatusCode::NOT_MODIFIED {
            // The 304 must carry a weak tag if the 200 was compressed (RFC 9111 section 4.3.4).
            let coding = asked.accepted.choose(self.codings);
            return Plan::Unchanged(coding.is_none_or(|coding| coding != Coding::Identity));
        }
        let worth = response.body.len().is_none_or(|length| length >= self.min);
        let text = str::from_utf8(response.get_header("content-type").unwrap_or_default());
        let worth = worth && text.is_ok_and(|text| compressible(&text.to_ascii_lowercase()));
        let must = asked.accepted.refuses_identity();
        if !(worth || must) || response.body.is_empty() || !may_change(response) {
            return Plan::Leave;
        }
        match asked.accepted.choose(self.codings) {
            Some(Coding::Identity) => Plan::Identity,
            Some(coding) => Plan::Code(coding),
            // An unsafe request has already taken effect, so only GET and HEAD are refused.
            None if response.status.is_success() && asked.is_safe => Plan::Refuse,
            None => Plan::Identity,
        }
    }

    /// Does what needs no other thread; otherwise returns the work for one.
    fn begin(&self, mut response: Response, asked: Asked) -> Result<Response, Box<Work>> {
        let coding = match self.plan(&response, asked) {
            Plan::Leave => return Ok(response),
            Plan::Identity => return Ok(varies(response)),
            Plan::Unchanged(weak) => {
                if weak {
                    weaken(&mut response);
                }
                return Ok(varies(response));
            }
            Plan::Refuse => return Ok(varies(StatusCode::NOT_ACCEPTABLE.into())),
            Plan::Code(coding) => coding,
        };
        let must = asked.accepted.refuses_identity();
        response = varies(response);
        match std::mem::take(&mut response.body) {
            Body::Stream(producer) => {
                Ok(coded(response, coding, Body::Stream(encode_stream(producer, coding))))
            }
            body if body.bytes().len() <= INLINE_MAX => {
                let made = Encoder::whole(coding, body.bytes());
                Ok(finish(response, coding, body, made, must))
            }
            body => Err(Box::new(Work { response, coding, body, must })),
        }
    }
}

impl Default for Compress {
    fn default() -> Self {
        Self::new()
    }
}

/// The relevant parts of the request.
#[derive(Clone, Copy)]
struct Asked {
    accepted: Accepted,
    /// True for GET and HEAD.
    is_safe: bool,
}

/// What to do with a response.
enum Plan {
    /// Unchanged, for every client.
    Leave,
    /// Uncompressed, for this client.
    Identity,
    /// 304; true if the 200 may have been compressed.
    Unchanged(bool),
    /// 406.
    Refuse,
    Code(Coding),
}

/// A body to be compressed on another thread.
struct Work {
    response: Response,
    coding: Coding,
    body: Body,
    must: bool,
}

impl Work {
    async fn run(self) -> Response {
        let Self { mut response, coding, body, must } = self;
        let bytes: Arc<[u8]> = match body {
            Body::Shared(bytes) => bytes,
            other => Arc::from(other.bytes()),
        };
        let lent = Arc::clone(&bytes);
        match spawn_compression(move || Encoder::whole(coding, &lent), true).await {
            Ok(made) => finish(response, coding, Body::Shared(bytes), made, must),
            Err(error) if must => error.into(),
            // The threads are too busy.
            Err(_) => {
                response.body = Body::Shared(bytes);
                response
            }
        }
    }
}

/// The codings that a request accepts. The field may be repeated.
fn accepted(request: &Request<'_>) -> Accepted {
    let mut lines = request.fields.iter().filter(|field| field.known == Known::AcceptEncoding);
    let first = lines.next().map(|field| field.value(request.bytes));
    let rest: Vec<&[u8]> = lines.map(|field| field.value(request.bytes)).collect();
    match first {
        Some(first) if !rest.is_empty() => {
            let all: Vec<&[u8]> = std::iter::once(first).chain(rest).collect();
            Accepted::parse(Some(&all.join(&b","[..])))
        }
        first => Accepted::parse(first),
    }
}

impl Layer for Compress {
    fn call(&self, request: &Request<'_>, next: Next<'_>) -> Reply {
        let asked = Asked {
            accepted: accepted(request),
            is_safe: matches!(request.line.method, Verb::Get | Verb::Head),
        };
        match next.run(request) {
            Reply::Ready(response) => match self.begin(response, asked) {
                Ok(response) => Reply::Ready(response),
                Err(work) => Reply::Later(Box::pin(work.run())),
            },
            later => {
                let layer = *self;
                Reply::Later(Box::pin(async move {
                    match layer.begin(later.await, asked) {
                        Ok(response) => response,
                        Err(work) => work.run().await,
                    }
                }))
            }
        }
    }

    fn only(&self) -> Option<&'static str> {
        Some("compression")
    }
}

/// True if the body may be replaced by its compressed form.
fn may_change(response: &Response) -> bool {
    let bodiless = response.status.is_informational()
        || matches!(
            response.status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT
        );
    let fixed = response.headers().any(|(name, value)| match name {
        b"content-encoding" | b"content-range" | b"content-digest" | b"repr-digest" | b"digest"
        | b"content-md5" => true,
        b"cache-control" => value
            .split(|byte| *byte == b',')
            .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform")),
        _ => false,
    });
    !bodiless && !fixed
}

/// The response with its compressed body, if that is shorter.
fn finish(
    mut response: Response,
    coding: Coding,
    body: Body,
    made: Option<Vec<u8>>,
    must: bool,
) -> Response {
    match made {
        Some(made) if must || made.len() < body.bytes().len() => {
            coded(response, coding, Body::Bytes(made))
        }
        _ => {
            response.body = body;
            response
        }
    }
}

fn coded(mut response: Response, coding: Coding, body: Body) -> Response {
    if let Some(token) = coding.token() {
        response.add_header(&header::CONTENT_ENCODING, &HeaderValue::from_static(token));
    }
    // Ranges refer to the bytes sent, which compression does not reproduce.
    response.remove_header(&header::ACCEPT_RANGES);
    weaken(&mut response);
    response.body = body;
    response
}

/// Makes a strong entity tag weak.
fn weaken(response: &mut Response) {
    let tag = response.get_header(header::ETAG).filter(|tag| !tag.starts_with(b"W/"));
    let weak = tag.and_then(|tag| HeaderValue::from_bytes(&[b"W/", tag].concat()).ok());
    if let Some(weak) = weak {
        response.remove_header(&header::ETAG);
        response.add_header(&header::ETAG, &weak);
    }
}

/// Adds `Vary: accept-encoding`.
fn varies(mut response: Response) -> Response {
    const NAME: HeaderName = header::ACCEPT_ENCODING;
    let said = |value: &[u8]| {
        value
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .any(|name| name == b"*" || name.eq_ignore_ascii_case(NAME.as_str().as_bytes()))
    };
    if !response.headers().any(|(name, value)| name == b"vary" && said(value)) {
        response.add_header(&header::VARY, &HeaderValue::from(NAME));
    }
    response
}
