//! Requests as handlers see them, the same for HTTP/1.1, HTTP/2 and HTTP/3.
//!
//! A [`Request`] borrows the codec's bytes and lives for the handler's call. An [`OwnedRequest`] is
//! a copy for handlers that answer later.

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
    /// The name in access logs, such as `HTTP/1.1`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
            Self::Http3 => "HTTP/3.0",
        }
    }

    /// The `http` crate's version.
    pub const fn version(self) -> http::Version {
        match self {
            Self::Http10 => http::Version::HTTP_10,
            Self::Http11 => http::Version::HTTP_11,
            Self::Http2 => http::Version::HTTP_2,
            Self::Http3 => http::Version::HTTP_3,
        }
    }
}

/// Source of the client's address. It is looked up only on demand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    /// The peer of this socket, asked from the kernel.
    Socket(RawFd),
    /// This address; `None` if unknown.
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

/// Where a request came from, and where its answer goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) protocol: Protocol,
    /// It came over TLS or QUIC.
    pub(crate) secure: bool,
    /// The client has shown a certificate.
    pub(crate) certified: bool,
    pub(crate) peer: Peer,
    pub(crate) owner: TaskOwner,
}

/// Path parameters: the part of the path for each `{name}`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Params<'a> {
    pub(crate) spans: &'a [Span],
    pub(crate) names: &'static [String],
    /// The matched route; empty for a fallback. `None` if the path itself is the route: the fast
    /// path writes nothing here.
    pub(crate) route: Option<&'static str>,
}

/// Maximum number of parameters in a route.
pub(crate) const PARAMS_MAX: usize = 6;

/// A request, borrowed for the handler's call.
pub struct Request<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) fields: &'a [Field],
    pub(crate) line: &'a Line,
    pub(crate) protocol: Protocol,
    pub(crate) secure: bool,
    pub(crate) certified: bool,
    pub(crate) body: &'a [u8],
    pub(crate) peer: Peer,
    pub(crate) params: Params<'a>,
    pub(crate) attached: &'a Attached,
    pub(crate) owner: TaskOwner,
}

impl<'a> Request<'a> {
    /// A request as a protocol parsed it, without its body. `line` and `fields` refer to `bytes`.
    #[inline]
    pub(crate) fn new(
        bytes: &'a [u8],
        fields: &'a [Field],
        line: &'a Line,
        attached: &'a Attached,
        origin: Origin,
    ) -> Self {
        let Origin { protocol, secure, certified, peer, owner } = origin;
        let (body, params) = (&[][..], Params::default());
        Self {
            bytes,
            fields,
            line,
            protocol,
            secure,
            certified,
            body,
            peer,
            params,
            attached,
            owner,
        }
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

    /// The canonical path (RFC 3986 section 6.2.2), at least `/`; `*` for `OPTIONS *`. It has no
    /// dot segments and only necessary percent-encoding, so every spelling of a path gives the same
    /// text. An encoded slash stays `%2F`. See also [`Self::target`].
    pub fn path(&self) -> &'a str {
        ascii(self.line.path.of(self.bytes))
    }

    /// The matched route with parameter names, such as `/user/{name}`. The number of distinct
    /// values is bounded, as metrics need it. For nested routers it is the whole route. `None` if a
    /// fallback answers. Before routing it is the path.
    pub fn matched_path(&self) -> Option<&'a str> {
        match self.params.route {
            None => Some(self.path()),
            Some("") => None,
            route => route,
        }
    }

    /// The raw request target (RFC 9112 section 3.2; `:path` in HTTP/2 and HTTP/3). Use it for
    /// signatures and logs, not for decisions.
    pub fn target(&self) -> &'a [u8] {
        self.line.target.of(self.bytes)
    }

    /// The query after `?`, percent-encoded. [`Self::query`] deserialises it.
    pub fn query_string(&self) -> Option<&'a str> {
        self.line.query.map(|query| ascii(query.of(self.bytes)))
    }

    /// The query split at `&`, each part split at its first `=` (the value is empty without one).
    /// Percent-encoded, in order.
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

    /// The requested host and port, from the Host field or the target. In canonical form (RFC 3986
    /// section 6.2.3), so that equal origins compare equal: lower case, no trailing dot, no default
    /// port. [`Self::header`] returns the raw Host field.
    pub fn authority(&self) -> Option<&'a str> {
        self.authority_bytes().map(ascii)
    }

    /// Same as [`Self::authority`], for comparisons at each request: it is not proven to be text.
    pub(crate) fn authority_bytes(&self) -> Option<&'a [u8]> {
        self.line.authority.map(|authority| authority.of(self.bytes))
    }

    /// True if the request came over TLS or QUIC.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// True if the client has shown a certificate of one of the authorities that it was asked for.
    pub fn has_client_certificate(&self) -> bool {
        self.certified
    }

    /// The request's protocol.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The value of the first field with this name (any case). [`Self::headers`] has all fields.
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

    /// All fields in order: name as received, and value.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        self.fields.iter().map(move |field| (field.name(bytes), field.value(bytes)))
    }

    /// The body if the route buffers it (the default); empty if the route streams it.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The streamed body. `None` if the route buffers the body, or if it was taken before.
    pub fn take_body(&self) -> Option<RequestBody> {
        self.attached.stream.take()
    }

    /// The path parameter `{name}`; for `*`, the rest of the path. Percent-encoded.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        let at = self.params.names.iter().position(|other| other == name)?;
        Some(ascii(self.params.spans.get(at)?.of(self.bytes)))
    }

    /// The client's address.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.peer.address()
    }

    /// Sends 103 (Early Hints, RFC 8297) with these Link fields before a later answer, for example
    /// `</style.css>; rel=preload; as=style`. Not sent over HTTP/1.0, nor once the answer has
    /// begun.
    pub fn early_hints(&self, links: impl IntoIterator<Item = HeaderValue>) {
        hint(self.owner, links);
    }

    /// Ends the stream without an answer, and over HTTP/1 the connection. Any answer that comes
    /// later than this call is dropped.
    pub(crate) fn hang_up(&self) {
        thread_state::with(|thread| thread.hangups.borrow_mut().push(self.owner));
    }

    /// The values attached by layers.
    pub fn extensions(&self) -> &'a Extensions {
        &self.attached.extensions
    }

    /// A copy that outlives the handler's call. Moves a streamed body and the extensions into it.
    pub fn to_owned(&self) -> OwnedRequest {
        OwnedRequest {
            bytes: self.bytes.into(),
            fields: self.fields.into(),
            line: *self.line,
            protocol: self.protocol,
            secure: self.secure,
            certified: self.certified,
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

/// An owned request, for handlers that answer later.
pub struct OwnedRequest {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) fields: Box<[Field]>,
    pub(crate) line: Line,
    protocol: Protocol,
    pub(crate) secure: bool,
    certified: bool,
    pub(crate) body: Vec<u8>,
    peer: Peer,
    /// Positions of the path parameters, as in [`Params`].
    spans: Box<[Span]>,
    names: &'static [String],
    route: Option<&'static str>,
    pub(crate) attached: Attached,
    owner: TaskOwner,
}

impl OwnedRequest {
    /// Moves the request to a stream of another protocol, where it is answered.
    pub(crate) fn move_to(&mut self, owner: TaskOwner, protocol: Protocol) {
        self.owner = owner;
        self.protocol = protocol;
    }

    /// A borrowed view of this request.
    pub fn view(&self) -> Request<'_> {
        Request {
            bytes: &self.bytes,
            fields: &self.fields,
            line: &self.line,
            protocol: self.protocol,
            secure: self.secure,
            certified: self.certified,
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

    /// Same as [`Request::path`].
    pub fn path(&self) -> &str {
        self.view().path()
    }

    /// Same as [`Request::matched_path`].
    pub fn matched_path(&self) -> Option<&str> {
        self.view().matched_path()
    }

    /// Same as [`Request::target`].
    pub fn target(&self) -> &[u8] {
        self.view().target()
    }

    /// Same as [`Request::query_string`].
    pub fn query_string(&self) -> Option<&str> {
        self.view().query_string()
    }

    /// Same as [`Request::query_pairs`].
    pub fn query_pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.view().query_pairs()
    }

    /// Same as [`Request::authority`].
    pub fn authority(&self) -> Option<&str> {
        self.view().authority()
    }

    /// True if the request came over TLS or QUIC.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Same as [`Request::has_client_certificate`].
    pub fn has_client_certificate(&self) -> bool {
        self.certified
    }

    /// The request's protocol.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Same as [`Request::header`].
    pub fn header(&self, name: impl AsRef<str>) -> Option<&[u8]> {
        self.view().header(name)
    }

    /// Same as [`Request::headers`].
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.view().headers()
    }

    /// Same as [`Request::uri`].
    pub fn uri(&self) -> http::Uri {
        self.view().uri()
    }

    /// Same as [`Request::header_map`].
    pub fn header_map(&self) -> http::HeaderMap {
        self.view().header_map()
    }

    /// Same as [`Request::body`].
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Same as [`Request::take_body`].
    pub fn take_body(&self) -> Option<RequestBody> {
        self.attached.stream.take()
    }

    /// Same as [`Request::param`].
    pub fn param(&self, name: &str) -> Option<&str> {
        self.view().param(name)
    }

    /// The client's address.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.peer.address()
    }

    /// The values attached by layers.
    pub fn extensions(&self) -> &Extensions {
        &self.attached.extensions
    }

    /// Same as [`Request::early_hints`].
    pub fn early_hints(&self, links: impl IntoIterator<Item = HeaderValue>) {
        hint(self.owner, links);
    }
}

impl fmt::Debug for OwnedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// Queues early hints for the connection to send.
fn hint(owner: TaskOwner, links: impl IntoIterator<Item = HeaderValue>) {
    let links = links.into_iter().collect();
    thread_state::with(|thread| thread.hints.borrow_mut().push((owner, links)));
}

/// The codecs allow only visible ASCII in paths and authorities, and raw UTF-8 in queries.
fn ascii(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap_or_default()
}
