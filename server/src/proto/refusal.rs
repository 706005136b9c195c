//! Answers by the server itself: the status that the RFC names, with the reason as text. All
//! protocols count them here.

use std::borrow::Cow;

use http::{HeaderValue, StatusCode, header};
use ringway_codec::field::{Field, Known};
use ringway_codec::h1::Error;
use ringway_codec::message;

use super::Context;
use super::tls_io::CertificateScope;
use crate::app::request::{Peer, Protocol, Request};
use crate::app::response::Response;
use crate::app::router::METHODS;
use crate::config::Limits;
use crate::observe::metrics::Tally;

/// Why the server itself answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    why: Cow<'static, str>,
}

impl Refusal {
    pub(crate) const BODY_TOO_LARGE: Self =
        Self::of(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than the limit");
    pub(crate) const BODY_TOO_SLOW: Self =
        Self::of(StatusCode::REQUEST_TIMEOUT, "the body came too slowly");
    pub(crate) const HEAD_TOO_SLOW: Self =
        Self::of(StatusCode::REQUEST_TIMEOUT, "the head came too slowly");
    pub(crate) const HEAD_TOO_LARGE: Self = Self::of(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "the header fields are more or larger than the limit",
    );
    pub(crate) const EARLY: Self =
        Self::of(StatusCode::TOO_EARLY, "early data may be a repetition: ask again");
    const NO_TUNNEL: Self = Self::of(StatusCode::METHOD_NOT_ALLOWED, "no tunnels are opened here");
    const BAD_PATH: Self = Self::of(
        StatusCode::BAD_REQUEST,
        "the path leads above the root, is badly escaped, or is not text",
    );
    const MISDIRECTED: Self = Self::of(
        StatusCode::MISDIRECTED_REQUEST,
        "the certificate of this connection is not that host's",
    );

    const fn of(status: StatusCode, why: &'static str) -> Self {
        Self { status, why: Cow::Borrowed(why) }
    }

    /// A refusal with a numeric status; 400 if the number is invalid.
    pub(crate) fn new(status: u16, why: impl Into<Cow<'static, str>>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        Self { status, why: why.into() }
    }

    /// A refusal for an error of the HTTP/1 parser.
    pub(crate) fn parsed(error: Error) -> Self {
        match error {
            Error::HeadTooLong | Error::TooManyFields => Self::HEAD_TOO_LARGE,
            _ => Self::new(error.status(), error.reason()),
        }
    }

    /// Builds the answer and counts it.
    #[cold]
    pub(crate) fn answer(self, tally: &mut Tally) -> Response {
        tally.counters.refused += 1;
        let Self { status, why } = self;
        let response = Response::text(format!("{status}: {why}\n")).status(status);
        if status != StatusCode::METHOD_NOT_ALLOWED {
            return response;
        }
        let all = HeaderValue::from_static(METHODS);
        response.header(header::ALLOW, all)
    }
}

/// The refusal of an HTTP/2 or HTTP/3 head before it becomes a request. HTTP/1's parser makes the
/// same checks.
#[inline]
pub(crate) fn check_head(head: &message::RequestHead, limits: &Limits) -> Option<Refusal> {
    if head.target.len > limits.request_line {
        return Some(Refusal::parsed(Error::LineTooLong));
    }
    // The canonical form is empty if the authority has none.
    if head.authority.len == 0 {
        return Some(Refusal::parsed(Error::HostInvalid));
    }
    head.expects_unknown.then(|| Refusal::parsed(Error::Expect))
}

/// Method and target of a head that exceeds the limits. Both come first, so they are among the
/// fields read.
#[cold]
pub(crate) fn request_line(fields: &[Field], bytes: &[u8]) -> Vec<u8> {
    let of = |wanted| {
        let found = fields.iter().find(|field| field.known == wanted);
        found.map_or(&[][..], |field| field.value(bytes))
    };
    [of(Known::PseudoMethod), b" ", of(Known::PseudoPath)].concat()
}

/// Counts and logs a request whose head was malformed, so that its stream was reset.
#[cold]
pub(crate) fn malformed(protocol: Protocol, stream: u64, peer: Peer, cx: &mut Context<'_>) {
    cx.tally.counters.refused += 1;
    if let Some(log) = cx.log.as_mut() {
        let mut entry = log.begin_unparsed(b"", protocol.name(), peer.address(), cx.now);
        entry.stream = Some(stream);
        entry.answer_status(StatusCode::BAD_REQUEST, 0);
        entry.abort = "the request was malformed";
        log.end(entry, cx.now);
    }
}

/// Why a request is refused without calling the handler. A tunnel is requested, which this server
/// does not open, so no 2xx may be sent (RFC 9110 section 9.3.6). Or the path leads above the root,
/// is badly escaped or not text. Or the authority is invalid. Or the certificate, whose names are
/// `scope`, does not cover the host (421, RFC 9110 section 7.4).
#[inline]
pub(crate) fn check_request(
    request: &Request<'_>,
    scope: Option<&mut CertificateScope>,
) -> Option<Refusal> {
    // Only CONNECT without a protocol has no path.
    if request.line.path.len == 0 {
        return Some(Refusal::NO_TUNNEL);
    }
    if !request.line.canonical {
        return Some(Refusal::BAD_PATH);
    }
    // Only HTTP/1.0 may omit the authority.
    scope?.is_misdirected(request.authority_bytes()?).then_some(Refusal::MISDIRECTED)
}
