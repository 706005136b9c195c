//! Requests built by the program, for tests and for calling a handler directly.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use http::header::{self, HeaderName, HeaderValue};
use ringway_codec::field::{Field, Known};
use ringway_codec::h1::Span;
use ringway_codec::h1::request::{self, Line, Resume};
use ringway_codec::scan::{Backend, PAD, Padded};
use ringway_codec::{authority, message, path};

use crate::app::body::RequestBody;
use crate::app::extensions::Attached;
use crate::app::request::{Origin, OwnedRequest, Peer, Protocol, Request};
use crate::rt::executor::TaskOwner;

/// Builds a request without a client: see [`Request::builder`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct RequestBuilder {
    method: http::Method,
    target: String,
    authority: Option<String>,
    fields: Vec<(HeaderName, HeaderValue)>,
    protocol: Protocol,
    secure: bool,
    remote_addr: Option<SocketAddr>,
    body: Vec<u8>,
    attached: Attached,
    /// The first error.
    wrong: Option<InvalidRequest>,
}

/// Why a request could not be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRequest(Cow<'static, str>);

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidRequest {}

impl From<&'static str> for InvalidRequest {
    fn from(what: &'static str) -> Self {
        Self(what.into())
    }
}

/// The default host.
const HOST: &str = "localhost";

impl Request<'_> {
    /// Starts building a request without a client. Defaults: `GET /`, host `localhost`, HTTP/1.1.
    /// The request passes the same parser and checks as one received over its protocol; what a
    /// server would answer with 400 is an error here.
    ///
    /// ```
    /// use ringway::{Protocol, Request};
    ///
    /// let request = Request::builder()
    ///     .method("POST")
    ///     .uri("https://example.com/a/../items?sort=name")
    ///     .protocol(Protocol::Http2)
    ///     .header("content-type", "application/json")
    ///     .body("{}")
    ///     .build()?;
    /// assert_eq!((request.path(), request.query_string()), ("/items", Some("sort=name")));
    /// assert_eq!(request.authority(), Some("example.com"));
    /// # Ok::<(), ringway::request::InvalidRequest>(())
    /// ```
    pub fn builder() -> RequestBuilder {
        RequestBuilder {
            method: http::Method::GET,
            target: "/".to_owned(),
            authority: None,
            fields: Vec::new(),
            protocol: Protocol::Http11,
            secure: false,
            remote_addr: None,
            body: Vec::new(),
            attached: Attached::default(),
            wrong: None,
        }
    }
}

impl RequestBuilder {
    /// Sets the method.
    pub fn method<M>(mut self, method: M) -> Self
    where
        http::Method: TryFrom<M>,
    {
        match method.try_into() {
            Ok(method) => self.method = method,
            Err(_) => self.is_wrong("the method is not a token"),
        }
        self
    }

    /// Sets the target: a path with an optional query, `*`, or an absolute URI. An absolute URI
    /// also sets the authority and [`Self::secure`].
    pub fn uri(mut self, uri: impl AsRef<str>) -> Self {
        let uri = uri.as_ref();
        let absolute = match (uri.strip_prefix("https://"), uri.strip_prefix("http://")) {
            (Some(rest), _) => Some((true, rest)),
            (_, Some(rest)) => Some((false, rest)),
            _ => None,
        };
        let Some((secure, rest)) = absolute else {
            self.target = uri.to_owned();
            return self;
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        self.secure = secure;
        self.authority = Some(authority.to_owned());
        self.target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        self
    }

    /// Adds a field.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        HeaderName: TryFrom<N>,
        HeaderValue: TryFrom<V>,
    {
        match (name.try_into(), value.try_into()) {
            (Ok(name), Ok(value)) => self.fields.push((name, value)),
            (Err(_), _) => self.is_wrong("a field's name is not a token"),
            (Ok(name), Err(_)) => {
                let name: HeaderName = name;
                self.is_wrong(format!(
                    "the field `{name}` has octets that are not allowed in a value"
                ));
            }
        }
        self
    }

    /// Sets the protocol.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Sets whether the request came over TLS or QUIC. HTTP/3 always does.
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Sets the client's address.
    pub fn remote_addr(mut self, address: SocketAddr) -> Self {
        self.remote_addr = Some(address);
        self
    }

    /// Sets the body, and adds content-length if it is missing.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a body that the handler reads as a stream.
    pub fn stream(self, body: RequestBody) -> Self {
        self.attached.stream.set(Some(body));
        self
    }

    /// Attaches a value: see [`Request::extensions`].
    pub fn extension<T: Clone + Send + Sync + 'static>(self, value: T) -> Self {
        self.attached.extensions.insert(value);
        self
    }

    /// Builds the request.
    pub fn build(mut self) -> Result<OwnedRequest, InvalidRequest> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        if self.target.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err("the URI has a blank or a control character".into());
        }
        self.secure |= self.protocol == Protocol::Http3;
        self.state_length()?;
        self.state_host()?;
        let Raw { bytes, fields, line } = match self.protocol {
            Protocol::Http10 | Protocol::Http11 => self.parse()?,
            Protocol::Http2 | Protocol::Http3 => self.read_section()?,
        };
        if line.path.len == 0 {
            return Err("CONNECT without a protocol asks for a tunnel, not for a handler".into());
        }
        let origin = Origin {
            protocol: self.protocol,
            secure: self.secure,
            certified: false,
            peer: Peer::Address(self.remote_addr),
            owner: TaskOwner::default(),
        };
        let mut made = Request::new(&bytes, &fields, &line, &self.attached, origin).to_owned();
        made.body = self.body;
        Ok(made)
    }

    fn is_wrong(&mut self, what: impl Into<Cow<'static, str>>) {
        self.wrong.get_or_insert(InvalidRequest(what.into()));
    }

    fn field(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// Adds the length of a buffered body; a stated length must match it.
    fn state_length(&mut self) -> Result<(), InvalidRequest> {
        match self.field(&header::CONTENT_LENGTH) {
            Some(stated) if !self.body.is_empty() => {
                let stated = message::content_length(stated.as_bytes());
                if stated != Some(self.body.len() as u64) {
                    return Err("content-length is not the length of the body".into());
                }
            }
            None if !self.body.is_empty() && self.field(&header::TRANSFER_ENCODING).is_none() => {
                self.fields.push((header::CONTENT_LENGTH, self.body.len().into()));
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds Host for HTTP/1.1, or an authority for HTTP/2 and HTTP/3. If both are given they must
    /// be equal.
    fn state_host(&mut self) -> Result<(), InvalidRequest> {
        let host = self.field(&header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
        let (of_uri, stated) = (self.authority.take(), host.is_some());
        let authority = of_uri.or(host).unwrap_or_else(|| HOST.to_owned());
        if !stated && matches!(self.protocol, Protocol::Http10 | Protocol::Http11) {
            let value = HeaderValue::try_from(&authority);
            let value = value.map_err(|_| "the authority has a control character")?;
            self.fields.insert(0, (header::HOST, value));
        }
        self.authority = Some(authority);
        Ok(())
    }

    /// Writes a head and parses it like an HTTP/1.1 connection.
    fn parse(&self) -> Result<Raw, InvalidRequest> {
        let version = if self.protocol == Protocol::Http10 { "1.0" } else { "1.1" };
        let mut bytes = format!("{} {} HTTP/{version}\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.fields {
            bytes.extend_from_slice(
                &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat(),
            );
        }
        bytes.extend_from_slice(b"\r\n");
        let len = bytes.len();
        bytes.resize(len + PAD, 0);
        let (mut fields, mut resume) = (Vec::new(), Resume::default());
        let limits = request::Limits::default();
        let input = Padded::new(&bytes, len);
        let head = request::parse(Backend::detect(), input, &mut fields, &mut resume, &limits);
        let Some(head) = head.map_err(|error| InvalidRequest(error.reason().into()))? else {
            return Err("the head has no end".into());
        };
        bytes.truncate(len);
        let mut line = head.line;
        let stated = line.authority.map_or(&[][..], |authority| authority.of(&bytes));
        let form = authority::canonical(stated, head.default_port(&bytes, self.secure));
        let form = form.map_err(|error| InvalidRequest(error.to_string().into()))?.into_owned();
        line.authority = line.authority.map(|_| append(&mut bytes, &form));
        if !line.canonical {
            let made = canonical_path(line.path.of(&bytes))?;
            line.path = append(&mut bytes, &made);
            line.canonical = true;
        }
        Ok(Raw { bytes, fields, line })
    }

    /// Builds a field section and parses it like HTTP/2 and HTTP/3 connections.
    fn read_section(&self) -> Result<Raw, InvalidRequest> {
        let (mut bytes, mut fields) = (Vec::new(), Vec::new());
        let mut push = |flags, name: &[u8], value: &[u8]| {
            let (name_at, value_at) = (bytes.len() as u32, (bytes.len() + name.len()) as u32);
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(value);
            let (name_len, value_len) = (name.len() as u16, value.len() as u32);
            let known = Known::of(name);
            fields.push(Field { name_at, value_at, value_len, name_len, known, flags });
        };
        push(0, b":method", self.method.as_str().as_bytes());
        if self.method != http::Method::CONNECT {
            push(0, b":scheme", if self.secure { b"https" } else { b"http" });
            push(0, b":path", self.target.as_bytes());
        }
        push(0, b":authority", self.authority.as_deref().unwrap_or(HOST).as_bytes());
        for (name, value) in &self.fields {
            let flags = if value.is_sensitive() { Field::NEVER_INDEXED } else { 0 };
            push(flags, name.as_str().as_bytes(), value.as_bytes());
        }
        let head = message::request(&bytes, &fields, false);
        let mut head = head.map_err(|error| InvalidRequest(error.to_string().into()))?;
        message::canonical_path(&mut bytes, &mut head);
        message::join_cookies(&mut bytes, &mut fields);
        message::canonical_authority(&mut bytes, &mut head);
        if !head.canonical {
            canonical_path(head.path.of(&bytes))?;
        }
        if head.authority.len == 0 {
            return Err("the authority is not a host with an optional port".into());
        }
        Ok(Raw { line: head.line(), fields: fields.split_off(head.first), bytes })
    }
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder")
            .field("method", &self.method)
            .field("target", &self.target)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

/// A parsed request; `fields` and `line` refer to `bytes`.
struct Raw {
    bytes: Vec<u8>,
    fields: Vec<Field>,
    line: Line,
}

fn canonical_path(text: &[u8]) -> Result<Vec<u8>, InvalidRequest> {
    let mut made = Vec::new();
    match path::canonical(text, &mut made) {
        Ok(()) => Ok(made),
        Err(error) => Err(InvalidRequest(error.to_string().into())),
    }
}

fn append(bytes: &mut Vec<u8>, text: &[u8]) -> Span {
    let at = bytes.len() as u32;
    bytes.extend_from_slice(text);
    Span { at, len: text.len() as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTOCOLS: [Protocol; 4] =
        [Protocol::Http10, Protocol::Http11, Protocol::Http2, Protocol::Http3];

    #[test]
    fn p1_a_built_request_is_as_one_that_came() {
        for protocol in PROTOCOLS {
            let address: SocketAddr = "192.0.2.1:5".parse().unwrap();
            let request = Request::builder()
                .protocol(protocol)
                .method("PUT")
                .uri("https://Example.com:443/%7ea/./b/../c%2fd?x=1&y=%20z")
                .header("X-Mark", "yes")
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .remote_addr(address)
                .extension(7_u8)
                .body("hello")
                .build()
                .unwrap();
            assert_eq!(request.protocol(), protocol);
            assert_eq!((request.method(), request.path()), (http::Method::PUT, "/~a/c%2Fd"));
            assert_eq!(request.query_string(), Some("x=1&y=%20z"));
            let pairs: Vec<_> = request.query_pairs().collect();
            assert_eq!(pairs, [(&b"x"[..], &b"1"[..]), (b"y", b"%20z")]);
            assert_eq!(request.authority(), Some("example.com"), "{protocol:?}");
            assert!(request.is_secure());
            assert_eq!(request.header("x-mark"), Some(&b"yes"[..]));
            assert_eq!(request.header("content-length"), Some(&b"5"[..]));
            assert_eq!((request.body(), request.remote_addr()), (&b"hello"[..], Some(address)));
            assert_eq!(request.extensions().get::<u8>(), Some(7));
            assert_eq!(request.uri(), "https://example.com/~a/c%2Fd?x=1&y=%20z");
            assert_eq!(request.header_map().get("x-mark").unwrap(), "yes");
            let cookies = request.headers().filter(|(name, _)| *name == b"cookie").count();
            let many = matches!(protocol, Protocol::Http10 | Protocol::Http11);
            assert_eq!(cookies, if many { 2 } else { 1 }, "{protocol:?}");
        }
    }

    #[test]
    fn p1_what_a_server_refuses_is_not_built() {
        let of = |builder: RequestBuilder| builder.build().unwrap_err().to_string();
        for protocol in PROTOCOLS {
            let get = || Request::builder().protocol(protocol);
            assert_eq!(of(get().method("G T")), "the method is not a token");
            assert_eq!(of(get().uri("/..")), "the path leads above the root");
            assert!(of(get().uri("/%zz")).contains("percent sign"));
            assert!(of(get().uri("/a b")).contains("blank"));
            assert!(of(get().uri("/a\r\nx: y")).contains("control character"));
            assert!(of(get().header("a b", "c")).contains("not a token"));
            assert!(of(get().header("x", "a\nb")).contains("`x`"));
            assert!(of(get().header("content-length", "4").body("hello")).contains("length"));
            assert!(get().header("content-length", "x").build().is_err());
            assert!(of(get().uri("relative")).contains("the peer"), "{protocol:?}");
            assert!(get().uri("http://u@h/").build().is_err());
            assert!(get().method("CONNECT").uri("h:1").build().is_err());
        }
        let h2 = Request::builder().protocol(Protocol::Http2);
        assert!(of(h2.header("connection", "close")).contains("connection-specific"));
    }

    #[test]
    fn p1_the_defaults_are_those_of_a_plain_get() {
        let request = Request::builder().build().unwrap();
        assert_eq!((request.method(), request.path()), (http::Method::GET, "/"));
        assert_eq!((request.authority(), request.is_secure()), (Some("localhost"), false));
        assert_eq!((request.body(), request.take_body().is_none()), (&b""[..], true));
        let request = Request::builder().method("OPTIONS").uri("*").build().unwrap();
        assert_eq!((request.path(), request.uri().path()), ("*", "*"));
        let streamed = Request::builder().stream(b"later".to_vec().into()).build().unwrap();
        assert!(streamed.take_body().is_some());
    }

    #[test]
    fn p9_a_request_goes_to_http() {
        for (protocol, uri) in [
            (Protocol::Http11, "/a/b?q=%22"),
            (Protocol::Http2, "http://localhost/a/b?q=%22"),
            (Protocol::Http3, "https://localhost/a/b?q=%22"),
        ] {
            let request = Request::builder().protocol(protocol).uri("/a/./b?q=%22").body("hello");
            let request = request.header("accept", "*/*").extension("attached").build().unwrap();
            let made = http::Request::<RequestBody>::from(request);
            assert_eq!(
                (made.uri().to_string().as_str(), made.version()),
                (uri, protocol.version())
            );
            assert_eq!(made.headers()["accept"], "*/*");
            assert_eq!(made.headers()["content-length"], "5");
            assert_eq!(made.extensions().get::<&str>(), Some(&"attached"));
            assert_eq!(made.body().waiting(), (5, true));
        }
        let odd = Request::builder().uri("/a|b\\<>?x=`\u{e9}").build().unwrap();
        assert_eq!(odd.uri().path_and_query().unwrap(), "/a%7Cb%5C%3C%3E?x=%60%C3%A9");
    }
}
