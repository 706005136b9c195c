//! What a client asked: the view that handlers get, the same for HTTP/1.1, HTTP/2 and HTTP/3.
//!
//! A [`Request`] borrows the bytes where the codec left them and lives for the handler's call; an
//! [`OwnedRequest`] is a copy for handlers that answer later.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use http::HeaderValue;
use ringway_codec::field::{Field, Known};
use ringway_codec::h1::Span;
use ringway_codec::h1::request::{Line, Method};

use crate::app::body::RequestBody;
use crate::app::extensions::{Attached, Extensions};
use crate::ring::sys;
use crate::rt::executor::TaskOwner;
use crate::rt::thread_state;

/// The protocol that a request came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
    /// HTTP/3.
    Http3,
}

impl Protocol {
    /// As access logs write it: `HTTP/1.1`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
            Self::Http3 => "HTTP/3.0",
        }
    }

    /// As the crate `http` has it.
    pub const fn version(self) -> http::Version {
        match self {
            Self::Http10 => http::Version::HTTP_10,
            Self::Http11 => http::Version::HTTP_11,
            Self::Http2 => http::Version::HTTP_2,
            Self::Http3 => http::Version::HTTP_3,
        }
    }
}

/// How to find out who asks; most handlers never do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    /// The peer of this socket.
    Socket(RawFd),
    /// This address, if it is known.
    Address(Option<SocketAddr>),
}

impl Peer {
    pub(crate) fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Socket(fd) => sys::peer(fd).ok(),
            Self::Address(address) => address,
        }
    }
}

/// Where a request came from, and who is to be answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) protocol: Protocol,
    /// It came over TLS or QUIC.
    pub(crate) secure: bool,
    pub(crate) peer: Peer,
    pub(crate) owner: TaskOwner,
}

/// Path parameters: which part of the path stands for which `{name}`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Params<'a> {
    pub(crate) spans: &'a [Span],
    pub(crate) names: &'static [String],
    /// The route that was matched; empty for a fallback. None where the path itself is the route,
    /// which is the straight way: nothing is written there.
    pub(crate) route: Option<&'static str>,
}

/// Most parameters that a route may have.
pub(crate) const PARAMS_MAX: usize = 6;

/// A request, borrowed for the handler's call.
pub struct Request<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) fields: &'a [Field],
    pub(crate) line: &'a Line,
    pub(crate) protocol: Protocol,
    pub(crate) secure: bool,
    pub(crate) body: &'a [u8],
    pub(crate) peer: Peer,
    pub(crate) params: Params<'a>,
    pub(crate) attached: &'a Attached,
    pub(crate) owner: TaskOwner,
}

impl<'a> Request<'a> {
    /// A request as a protocol found it, without its body: `line` and `fields` lie in `bytes`.
    #[inline]
    pub(crate) fn new(
        bytes: &'a [u8],
        fields: &'a [Field],
        line: &'a Line,
        attached: &'a Attached,
        origin: Origin,
    ) -> Self {
        let Origin { protocol, secure, peer, owner } = origin;
        let params = Params::default();
        Self { bytes, fields, line, protocol, secure, body: &[], peer, params, attached, owner }
    }

    /// The method.
    pub fn method(&self) -> http::Method {
        match self.line.method {
            Method::Get => http::Method::GET,
            Method::Head => http::Method::HEAD,
            Method::Post => http::Method::POST,
            Method::Put => http::Method::PUT,
            Method::Patch => http::Method::PATCH,
            Method::Delete => http::Method::DELETE,
            Method::Options => http::Method::OPTIONS,
            Method::Connect => http::Method::CONNECT,
            Method::Trace => http::Method::TRACE,
            Method::Other => {
                let name = self.line.method_span.of(self.bytes);
                http::Method::from_bytes(name).unwrap_or_default()
            }
        }
    }

    /// The path in its canonical form (RFC 3986 section 6.2.2), `/` at least (`*` for `OPTIONS *`):
    /// without dot segments, and percent-encoded but for what need not be, so that it is the same
    /// text however the client wrote it. An encoded slash stays `%2F`. See also [`Self::target`].
    pub fn path(&self) -> &'a str {
        ascii(self.line.path.of(self.bytes))
    }

    /// The path of the route that answers, parameters by their names: `/user/{name}`. Of few values
    /// however many paths are asked for, as metrics want it. The whole route also where routers are
    /// nested; none where a fallback answers. Before a router has seen the request it is the path.
    pub fn matched_path(&self) -> Option<&'a str> {
        match self.params.route {
            None => Some(self.path()),
            Some("") => None,
            route => route,
        }
    }

    /// The request target as it came (RFC 9112 section 3.2; `:path` in HTTP/2 and 3): for
    /// signatures and logs, not to decide by.
    pub fn target(&self) -> &'a [u8] {
        self.line.target.of(self.bytes)
    }

    /// What follows the `?`, still percent-encoded; [`Self::query`] has it decoded, as a type.
    pub fn query_string(&self) -> Option<&'a str> {
        self.line.query.map(|query| ascii(query.of(self.bytes)))
    }

    /// The query's parts between `&`, each split at its first `=` (without one the value is empty);
    /// still percent-encoded, in order.
    pub fn query_pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = self.line.query.map_or(&[][..], |query| query.of(self.bytes));
        std::iter::from_fn(move || {
            while let [b'&', behind @ ..] = rest {
                rest = behind;
            }
            let (mut end, mut equals) = (0, None);
            while end < rest.len() && rest[end] != b'&' {
                if rest[end] == b'=' && equals.is_none() {
                    equals = Some(end);
                }
                end += 1;
            }
            let (part, behind) = rest.split_at(end);
            rest = behind;
            let pair = equals.map_or((part, &[][..]), |at| (&part[..at], &part[at + 1..]));
            (end > 0).then_some(pair)
        })
    }

    /// The host and port that the client asked for: the Host field, or the target's authority. In
    /// canonical form, so that two of one origin are equal: lower case, without a last dot, without
    /// the port that the scheme implies (RFC 3986 section 6.2.3). [`Self::header`] has the Host
    /// field as it came.
    pub fn authority(&self) -> Option<&'a str> {
        self.line.authority.map(|authority| ascii(authority.of(self.bytes)))
    }

    /// True when the request came over TLS or QUIC.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The protocol it came over.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The first field of a name (any case); [`Self::headers`] has the others.
    pub fn header(&self, name: impl AsRef<str>) -> Option<&'a [u8]> {
        let name = name.as_ref();
        match Known::of(name.as_bytes()) {
            Known::Other => self
                .headers()
                .find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
                .map(|(_, value)| value),
            known => self.known(known),
        }
    }

    /// The first field of a known name.
    pub(crate) fn known(&self, known: Known) -> Option<&'a [u8]> {
        let found = self.fields.iter().find(|field| field.known == known)?;
        Some(found.value(self.bytes))
    }

    /// All fields in order: name as it came, and value.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        self.fields.iter().map(move |field| (field.name(bytes), field.value(bytes)))
    }

    /// The body, where the route buffers it (the default); empty where it is streamed.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The body as it arrives, where the handler asked for that; once.
    pub fn take_body(&self) -> Option<RequestBody> {
        self.attached.stream.take()
    }

    /// The part of the path that stands for `{name}` in the route; for `*`, the rest of the path.
    /// Still percent-encoded.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        let at = self.params.names.iter().position(|other| other == name)?;
        Some(ascii(self.params.spans.get(at)?.of(self.bytes)))
    }

    /// The client's address.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.peer.address()
    }

    /// Sends 103 (Early Hints, RFC 8297) with these Link fields ahead of an answer that comes
    /// later, for example `</style.css>; rel=preload; as=style`. Not to HTTP/1.0, and not once the
    /// answer has begun.
    pub fn early_hints(&self, links: impl IntoIterator<Item = HeaderValue>) {
        hint(self.owner, links);
    }

    /// What layers have attached to the request.
    pub fn extensions(&self) -> &'a Extensions {
        &self.attached.extensions
    }

    /// A copy that outlives the handler's call; a streamed body and the extensions go with it.
    pub fn to_owned(&self) -> OwnedRequest {
        OwnedRequest {
            bytes: self.bytes.into(),
            fields: self.fields.into(),
            line: *self.line,
            protocol: self.protocol,
            secure: self.secure,
            body: self.body.to_vec(),
            peer: Peer::Address(self.peer.address()),
            spans: self.params.spans.into(),
            names: self.params.names,
            route: self.params.route,
            attached: self.attached.take(),
            owner: self.owner,
        }
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method())
            .field("path", &self.path())
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

/// A request's copy, for handlers that answer later.
pub struct OwnedRequest {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) fields: Box<[Field]>,
    pub(crate) line: Line,
    protocol: Protocol,
    pub(crate) secure: bool,
    pub(crate) body: Vec<u8>,
    peer: Peer,
    /// Of the path's parameters, as in [`Params`].
    spans: Box<[Span]>,
    names: &'static [String],
    route: Option<&'static str>,
    pub(crate) attached: Attached,
    owner: TaskOwner,
}

impl OwnedRequest {
    /// The request is answered elsewhere: on a stream of another protocol.
    pub(crate) fn move_to(&mut self, owner: TaskOwner, protocol: Protocol) {
        self.owner = owner;
        self.protocol = protocol;
    }

    /// The same view that other handlers get.
    pub fn view(&self) -> Request<'_> {
        Request {
            bytes: &self.bytes,
            fields: &self.fields,
            line: &self.line,
            protocol: self.protocol,
            secure: self.secure,
            body: &self.body,
            peer: self.peer,
            params: Params { spans: &self.spans, names: self.names, route: self.route },
            attached: &self.attached,
            owner: self.owner,
        }
    }

    /// The method.
    pub fn method(&self) -> http::Method {
        self.view().method()
    }

    /// As [`Request::path`].
    pub fn path(&self) -> &str {
        self.view().path()
    }

    /// As [`Request::matched_path`].
    pub fn matched_path(&self) -> Option<&str> {
        self.view().matched_path()
    }

    /// As [`Request::target`].
    pub fn target(&self) -> &[u8] {
        self.view().target()
    }

    /// As [`Request::query_string`].
    pub fn query_string(&self) -> Option<&str> {
        self.view().query_string()
    }

    /// As [`Request::query_pairs`].
    pub fn query_pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.view().query_pairs()
    }

    /// As [`Request::authority`].
    pub fn authority(&self) -> Option<&str> {
        self.view().authority()
    }

    /// True when the request came over TLS or QUIC.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The protocol it came over.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// As [`Request::header`].
    pub fn header(&self, name: impl AsRef<str>) -> Option<&[u8]> {
        self.view().header(name)
    }

    /// As [`Request::headers`].
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.view().headers()
    }

    /// As [`Request::uri`].
    pub fn uri(&self) -> http::Uri {
        self.view().uri()
    }

    /// As [`Request::header_map`].
    pub fn header_map(&self) -> http::HeaderMap {
        self.view().header_map()
    }

    /// As [`Request::body`].
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// As [`Request::take_body`].
    pub fn take_body(&self) -> Option<RequestBody> {
        self.attached.stream.take()
    }

    /// As [`Request::param`].
    pub fn param(&self, name: &str) -> Option<&str> {
        self.view().param(name)
    }

    /// The client's address.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.peer.address()
    }

    /// What layers have attached to the request.
    pub fn extensions(&self) -> &Extensions {
        &self.attached.extensions
    }

    /// As [`Request::early_hints`].
    pub fn early_hints(&self, links: impl IntoIterator<Item = HeaderValue>) {
        hint(self.owner, links);
    }
}

impl fmt::Debug for OwnedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// Leaves a hint for the connection to send.
fn hint(owner: TaskOwner, links: impl IntoIterator<Item = HeaderValue>) {
    let links = links.into_iter().collect();
    thread_state::with(|thread| thread.hints.borrow_mut().push((owner, links)));
}

/// The codecs let only visible ASCII into paths and authorities, and raw UTF-8 into queries.
fn ascii(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap_or_default()
}
