//! What a decoded field section means: a request with its pseudo-header fields apart, or a trailer
//! section, or a malformed message (RFC 9113 section 8). The octets of names and values were judged
//! by `hpack` on the way.

use super::Priority;
use super::stream::Key;
use crate::field::{Field, Known};
use crate::h1::Span;
use crate::h1::request::Method;
use alloc::vec::Vec;

/// A request's head. Spans are into `Shared::bytes`; the fields are `Shared::fields`, of which
/// those from `first` on are not pseudo-header fields. Several cookie fields have been joined into
/// one more, the last (RFC 9113 section 8.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The stream to answer on.
    pub key: Key,
    /// The method.
    pub method: Method,
    /// The method's name.
    pub method_span: Span,
    /// `:scheme`; empty for CONNECT.
    pub scheme: Span,
    /// `:authority`, or else the Host field.
    pub authority: Span,
    /// `:path` up to the `?`, still percent-encoded; empty for CONNECT.
    pub path: Span,
    /// What follows the first `?` of `:path`, if there is one.
    pub query: Option<Span>,
    /// `:protocol` of an extended CONNECT (RFC 8441).
    pub protocol: Option<Span>,
    /// Index of the first field that is not a pseudo-header field.
    pub first: usize,
    /// The content's length, if the peer said it. Content that differs is refused here.
    pub content_length: Option<u64>,
    /// The request has no content.
    pub end: bool,
    /// The peer waits for a 100 (Continue).
    pub expect_continue: bool,
    /// What the Priority field, or a PRIORITY_UPDATE before it, asks for; `None` when the client
    /// says nothing.
    pub priority: Option<Priority>,
}

/// Why a message is malformed: a stream error of type PROTOCOL_ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// The fields of a request that frame it or are judged.
struct Reading<'a> {
    bytes: &'a [u8],
    method: Option<&'a Field>,
    scheme: Option<&'a Field>,
    authority: Option<&'a Field>,
    path: Option<&'a Field>,
    protocol: Option<&'a Field>,
    host: Option<&'a Field>,
    content_length: Option<u64>,
    expect_continue: bool,
    priority: Option<Priority>,
}

/// Reads a request. `end`: it has no content. `extended`: extended CONNECT was announced.
pub(super) fn read(
    key: Key,
    end: bool,
    extended: bool,
    bytes: &[u8],
    fields: &[Field],
) -> Result<Request, Malformed> {
    let mut r = Reading {
        bytes,
        method: None,
        scheme: None,
        authority: None,
        path: None,
        protocol: None,
        host: None,
        content_length: None,
        expect_continue: false,
        priority: None,
    };
    let first = fields.iter().position(|f| f.known < Known::PseudoAuthority);
    let first = first.unwrap_or(fields.len());
    for field in &fields[..first] {
        r.pseudo(field)?;
    }
    for field in &fields[first..] {
        r.regular(field)?;
    }
    if end && r.content_length.is_some_and(|n| n > 0) {
        return Err(Malformed("a content-length, and no content"));
    }
    r.request(key, end, extended, first)
}

/// Judges a trailer section: no pseudo-header fields, nothing that belongs to a connection (section
/// 8.1).
pub(super) fn read_trailers(bytes: &[u8], fields: &[Field]) -> Result<(), Malformed> {
    for field in fields {
        if field.known >= Known::PseudoAuthority {
            return Err(Malformed("a pseudo-header field among the trailers"));
        }
        connection_specific(field, bytes)?;
    }
    Ok(())
}

impl<'a> Reading<'a> {
    #[inline]
    fn pseudo(&mut self, field: &'a Field) -> Result<(), Malformed> {
        let place = match field.known {
            Known::PseudoMethod => &mut self.method,
            Known::PseudoScheme => &mut self.scheme,
            Known::PseudoAuthority => &mut self.authority,
            Known::PseudoPath => &mut self.path,
            Known::PseudoProtocol => &mut self.protocol,
            _ => return Err(Malformed("a pseudo-header field of a response")),
        };
        match place.replace(field) {
            None => Ok(()),
            Some(_) => Err(Malformed("a pseudo-header field twice")),
        }
    }

    #[inline]
    fn regular(&mut self, field: &'a Field) -> Result<(), Malformed> {
        match field.known {
            Known::Other | Known::UserAgent | Known::Accept | Known::AcceptEncoding => {}
            Known::ContentLength => {
                let length = digits(field.value(self.bytes));
                if length.is_none() || self.content_length.is_some() {
                    return Err(Malformed("a content-length that is none, or two"));
                }
                self.content_length = length;
            }
            Known::Host => match self.host.replace(field) {
                None => {}
                Some(_) => return Err(Malformed("two Host fields")),
            },
            Known::Priority => {
                let value = field.value(self.bytes);
                self.priority = Some(self.priority.unwrap_or_default().updated(value));
            }
            Known::Expect => {
                self.expect_continue =
                    field.value(self.bytes).eq_ignore_ascii_case(b"100-continue");
            }
            known if known >= Known::PseudoAuthority => {
                return Err(Malformed("a pseudo-header field behind another field"));
            }
            _ => connection_specific(field, self.bytes)?,
        }
        Ok(())
    }

    #[inline]
    fn request(
        &self,
        key: Key,
        end: bool,
        extended: bool,
        first: usize,
    ) -> Result<Request, Malformed> {
        let Some(method_field) = self.method else { return Err(Malformed("no :method")) };
        let name = method_field.value(self.bytes);
        let method = method(name);
        if method == Method::Other && !is_token(name) {
            return Err(Malformed("a :method that is no token"));
        }
        let authority = self.authority()?;
        let tunnel = method == Method::Connect && self.protocol.is_none();
        if self.protocol.is_some() && !(extended && method == Method::Connect) {
            return Err(Malformed(":protocol where it has no meaning"));
        }
        let (mut scheme, mut path, mut query) = (Span::default(), Span::default(), None);
        match (self.scheme, self.path) {
            (None, None) if tunnel => {}
            (Some(s), Some(p)) if !tunnel => {
                scheme = span(s);
                if s.value_len == 0 {
                    return Err(Malformed("an empty :scheme"));
                }
                (path, query) = split_path(p, self.bytes, method)?;
            }
            _ => return Err(Malformed("a wrong set of pseudo-header fields")),
        }
        Ok(Request {
            key,
            method,
            method_span: span(method_field),
            scheme,
            authority,
            path,
            query,
            protocol: self.protocol.map(span),
            first,
            content_length: self.content_length,
            end,
            expect_continue: self.expect_continue,
            priority: self.priority,
        })
    }

    /// `:authority`, with which Host must agree, or Host alone (section 8.3.1).
    #[inline]
    fn authority(&self) -> Result<Span, Malformed> {
        let chosen = match (self.authority, self.host) {
            (Some(a), Some(h))
                if !a.value(self.bytes).eq_ignore_ascii_case(h.value(self.bytes)) =>
            {
                return Err(Malformed("a Host field that differs from :authority"));
            }
            (Some(field), _) | (None, Some(field)) => field,
            (None, None) => return Err(Malformed("neither :authority nor Host")),
        };
        let value = chosen.value(self.bytes);
        if value.is_empty() || value.iter().any(|b| matches!(b, b'@' | b' ' | b'/' | b'?' | b'#')) {
            return Err(Malformed("an authority that is none"));
        }
        Ok(span(chosen))
    }
}

/// Joins several cookie fields into one more at the end, values separated by "; ". A no-op without
/// them.
#[inline]
pub(super) fn join_cookies(bytes: &mut Vec<u8>, fields: &mut Vec<Field>) {
    if fields.iter().filter(|f| f.known == Known::Cookie).count() > 1 {
        join_crumbs(bytes, fields);
    }
}

#[cold]
fn join_crumbs(bytes: &mut Vec<u8>, fields: &mut Vec<Field>) {
    let value_at = bytes.len();
    let mut joined = None;
    for field in fields.iter().filter(|f| f.known == Known::Cookie) {
        if joined.is_some() {
            bytes.extend_from_slice(b"; ");
        }
        let at = field.value_at as usize;
        bytes.extend_from_within(at..at + field.value_len as usize);
        joined = Some(*field);
    }
    fields.retain(|f| f.known != Known::Cookie);
    if let Some(first) = joined {
        let value_len = (bytes.len() - value_at) as u32;
        fields.push(Field { value_at: value_at as u32, value_len, ..first });
    }
}

/// The fields of section 8.2.2, which only HTTP/1.1 has.
#[inline]
fn connection_specific(field: &Field, bytes: &[u8]) -> Result<(), Malformed> {
    match field.known {
        Known::Connection
        | Known::TransferEncoding
        | Known::Upgrade
        | Known::KeepAlive
        | Known::ProxyConnection => Err(Malformed("a field that belongs to HTTP/1.1 connections")),
        Known::Te if !field.value(bytes).eq_ignore_ascii_case(b"trailers") => {
            Err(Malformed("a TE field other than \"trailers\""))
        }
        _ => Ok(()),
    }
}

#[inline]
fn span(field: &Field) -> Span {
    Span { at: field.value_at, len: field.value_len }
}

fn method(name: &[u8]) -> Method {
    match name {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        b"POST" => Method::Post,
        b"PUT" => Method::Put,
        b"PATCH" => Method::Patch,
        b"DELETE" => Method::Delete,
        b"OPTIONS" => Method::Options,
        b"CONNECT" => Method::Connect,
        b"TRACE" => Method::Trace,
        _ => Method::Other,
    }
}

fn is_token(name: &[u8]) -> bool {
    let is = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !name.is_empty() && name.iter().all(is)
}

/// A length of at most 18 digits, so that it cannot overflow.
fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |n, d| n * 10 + u64::from(d - b'0')))
}

/// Splits `:path` at the `?`. It begins with `/`, or is `*` for OPTIONS, and has nothing that would
/// end a request line.
#[inline]
fn split_path(
    field: &Field,
    bytes: &[u8],
    method: Method,
) -> Result<(Span, Option<Span>), Malformed> {
    let value = field.value(bytes);
    let whole = span(field);
    if value.first() != Some(&b'/') && !(value == b"*" && method == Method::Options) {
        return Err(Malformed("a :path that is none"));
    }
    let mut question = None;
    for (i, b) in value.iter().enumerate() {
        match b {
            b'?' if question.is_none() => question = Some(i as u32),
            b' ' | b'#' => return Err(Malformed("a :path that is none")),
            _ => {}
        }
    }
    Ok(match question {
        None => (whole, None),
        Some(n) => {
            let query = Span { at: whole.at + n + 1, len: whole.len - n - 1 };
            (Span { at: whole.at, len: n }, Some(query))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn fields(pairs: &[(&str, &str)]) -> (Vec<u8>, Vec<Field>) {
        let (mut bytes, mut fields) = (Vec::new(), Vec::new());
        for (name, value) in pairs {
            let name_at = bytes.len() as u32;
            bytes.extend_from_slice(name.as_bytes());
            let value_at = bytes.len() as u32;
            bytes.extend_from_slice(value.as_bytes());
            fields.push(Field {
                name_at,
                value_at,
                value_len: value.len() as u32,
                name_len: name.len() as u16,
                known: Known::of(name.as_bytes()),
                flags: 0,
            });
        }
        (bytes, fields)
    }

    fn parse(pairs: &[(&str, &str)]) -> Result<Request, Malformed> {
        let (bytes, fields) = fields(pairs);
        read(Key { id: 1, slot: 0 }, false, false, &bytes, &fields)
    }

    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/x?y?z")];

    fn with<'a>(extra: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        GET.iter().chain(extra).copied().collect()
    }

    fn without(name: &str) -> Vec<(&'static str, &'static str)> {
        GET.iter().filter(|(n, _)| *n != name).copied().collect()
    }

    fn replaced<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
        GET.iter().map(|(n, v)| if *n == name { (*n, value) } else { (*n, *v) }).collect()
    }

    #[test]
    fn a_request_and_its_parts() {
        let (bytes, fields) = fields(&with(&[("content-length", "12"), ("priority", "u=1")]));
        let r = read(Key { id: 1, slot: 0 }, false, false, &bytes, &fields).unwrap();
        assert_eq!((r.method, r.first, r.content_length), (Method::Get, 4, Some(12)));
        assert_eq!((r.path.of(&bytes), r.query.unwrap().of(&bytes)), (&b"/x"[..], &b"y?z"[..]));
        assert_eq!((r.authority.of(&bytes), r.scheme.of(&bytes)), (&b"a"[..], &b"http"[..]));
        assert_eq!(r.priority, Some(Priority { urgency: 1, incremental: false }));
        assert!(parse(&replaced(":method", "FROB")).unwrap().method == Method::Other);
        assert!(
            parse(&with(&[("te", "trailers"), ("expect", "100-Continue")]))
                .unwrap()
                .expect_continue
        );
    }

    #[test]
    fn row_50_malformed_requests() {
        for name in [":method", ":scheme", ":authority", ":path"] {
            assert!(parse(&without(name)).is_err(), "without {name}");
            let twice = GET.iter().find(|(n, _)| *n == name).copied().unwrap();
            assert!(parse(&with(&[twice])).is_err(), "{name} late and twice");
            assert!(parse(&replaced(name, "")).is_err(), "{name} empty");
        }
        for late in [":path", ":protocol", ":status"] {
            assert!(parse(&with(&[("x", "1"), (late, "/")])).is_err(), "{late} late");
        }
        for bad in [
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("keep-alive", "1"),
            ("proxy-connection", "close"),
            ("te", "gzip"),
            ("te", "trailers, gzip"),
            ("content-length", "1x"),
            ("content-length", "-1"),
            ("content-length", ""),
            ("content-length", "1000000000000000000000"),
            ("host", "other"),
        ] {
            assert!(parse(&with(&[bad])).is_err(), "{bad:?}");
        }
        assert!(parse(&with(&[("content-length", "1"), ("content-length", "1")])).is_err());
        for (name, value) in [
            (":path", "x"),
            (":path", "*"),
            (":path", "/a b"),
            (":method", "G T"),
            (":authority", "u@a"),
        ] {
            assert!(parse(&replaced(name, value)).is_err(), "{name} {value}");
        }
        let status: Vec<_> = [(":status", "200")].into_iter().chain(GET).collect();
        assert!(parse(&status).is_err());
    }

    #[test]
    fn connect_and_options() {
        assert!(parse(&[(":method", "CONNECT"), (":authority", "a:1")]).is_ok());
        assert!(parse(&replaced(":method", "CONNECT")).is_err());
        let mut star = replaced(":method", "OPTIONS");
        star[3].1 = "*";
        assert!(parse(&star).is_ok());
        let mut extended = replaced(":method", "CONNECT");
        extended.push((":protocol", "websocket"));
        assert!(parse(&extended).is_err());
        let (bytes, fields) = fields(&extended);
        let r = read(Key { id: 1, slot: 0 }, false, true, &bytes, &fields).unwrap();
        assert_eq!(r.protocol.unwrap().of(&bytes), b"websocket");
    }

    #[test]
    fn content_length_without_content() {
        let (bytes, fields) = fields(&with(&[("content-length", "1")]));
        assert!(read(Key { id: 1, slot: 0 }, true, false, &bytes, &fields).is_err());
        let (bytes, fields) = self::fields(&with(&[("content-length", "0")]));
        assert!(read(Key { id: 1, slot: 0 }, true, false, &bytes, &fields).is_ok());
    }

    #[test]
    fn cookie_crumbs_are_joined() {
        let list = with(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")]);
        let (mut bytes, mut fields) = fields(&list);
        join_cookies(&mut bytes, &mut fields);
        let names: Vec<_> =
            fields.iter().map(|f| String::from_utf8_lossy(f.name(&bytes))).collect();
        assert_eq!(names, [":method", ":scheme", ":authority", ":path", "x", "cookie"]);
        assert_eq!(fields[5].value(&bytes), b"a=1; b=2; c=3");
        let before = (bytes.clone(), fields.clone());
        join_cookies(&mut bytes, &mut fields);
        assert_eq!(before, (bytes, fields));
    }

    #[test]
    fn trailers() {
        let ok = fields(&[("x-sum", "1"), ("grpc-status", "0")]);
        assert!(read_trailers(&ok.0, &ok.1).is_ok());
        for bad in [(":path", "/"), (":status", "200"), ("connection", "close")] {
            let (bytes, fields) = fields(&[bad]);
            assert!(read_trailers(&bytes, &fields).is_err());
        }
    }
}
