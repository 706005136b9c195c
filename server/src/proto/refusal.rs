//! Answers of the server itself: the status that the RFC names for what a client did, with the
//! reason as text, counted in one place for all protocols.

use std::borrow::Cow;

use http::{HeaderValue, StatusCode, header};
use ringway_codec::field::{Field, Known};
use ringway_codec::h1::Error;
use ringway_codec::message;

use super::Context;
use super::tls_io::CertificateScope;
use crate::app::request::{Peer, Protocol, Request};
use crate::app::response::Response;
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
        "the path leads above the root, is badly escaped, or is no text",
    );
    const MISDIRECTED: Self = Self::of(
        StatusCode::MISDIRECTED_REQUEST,
        "the certificate of this connection is not that host's",
    );

    const fn of(status: StatusCode, why: &'static str) -> Self {
        Self { status, why: Cow::Borrowed(why) }
    }

    /// A refusal with a status by number; 400 if that is none.
    pub(crate) fn new(status: u16, why: impl Into<Cow<'static, str>>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        Self { status, why: why.into() }
    }

    /// A refusal for what HTTP/1's parser would say of it.
    pub(crate) fn parsed(error: Error) -> Self {
        match error {
            Error::HeadTooLong | Error::TooManyFields => Self::HEAD_TOO_LARGE,
            _ => Self::new(error.status(), error.reason()),
        }
    }

    /// The answer, which is counted with this.
    #[cold]
    pub(crate) fn answer(self, tally: &mut Tally) -> Response {
        tally.counters.refused += 1;
        let Self { status, why } = self;
        let response = Response::text(format!("{status}: {why}\n")).status(status);
        if status != StatusCode::METHOD_NOT_ALLOWED {
            return response;
        }
        let all = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        response.header(header::ALLOW, all)
    }
}

/// Why a head of HTTP/2 or HTTP/3 is refused before it is taken for a request, where HTTP/1's
/// parser does the same.
#[inline]
pub(crate) fn unfit(head: &message::RequestHead, limits: &Limits) -> Option<Refusal> {
    if head.target.len > limits.request_line {
        return Some(Refusal::parsed(Error::LineTooLong));
    }
    // Its canonical form is empty where it has none.
    if head.authority.len == 0 {
        return Some(Refusal::parsed(Error::HostInvalid));
    }
    head.expects_unknown.then(|| Refusal::parsed(Error::Expect))
}

/// What is asked in a head that is over the limits, of which these fields were read: method and
/// target, which come first.
#[cold]
pub(crate) fn asked(fields: &[Field], bytes: &[u8]) -> Vec<u8> {
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
        entry.answer(StatusCode::BAD_REQUEST, 0);
        entry.abort = "the request was malformed";
        log.end(entry, cx.now);
    }
}

/// Why no handler is shown the request, whatever it would say: a tunnel is asked for, which nobody
/// here opens, so that no 2xx may be taken for one (RFC 9110 section 9.3.6); its path leads above
/// the root, is badly escaped or no text; its authority is none; or it is meant for another server
/// than the one that `scope` stands for (421, RFC 9110 section 7.4).
#[inline]
pub(crate) fn refusal(
    request: &Request<'_>,
    scope: Option<&mut CertificateScope>,
) -> Option<Refusal> {
    // Only a CONNECT without a protocol has no path.
    if request.line.path.len == 0 {
        return Some(Refusal::NO_TUNNEL);
    }
    if !request.line.canonical {
        return Some(Refusal::BAD_PATH);
    }
    // HTTP/1.0 alone may do without.
    let authority = request.authority()?;
    scope?.is_misdirected(authority).then_some(Refusal::MISDIRECTED)
}
