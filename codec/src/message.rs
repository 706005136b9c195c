//! Requests and trailers from field sections, in the two protocols that have pseudo-header fields:
//! RFC 9113 section 8 and RFC 9114 section 4 have the same rules. The octets of names and values
//! are checked during decoding; this module checks the fields as a whole. A violation makes the
//! message malformed: PROTOCOL_ERROR on the HTTP/2 stream, H3_MESSAGE_ERROR on the HTTP/3 stream.

use crate::authority;
use crate::field::{Field, Known};
use crate::h1::Span;
use crate::h1::request::{Line, Method};
use crate::h2::Priority;
use crate::path;
use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

/// What is wrong with a message. The peer erred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A pseudo-header field after a regular one, in trailers, or of a response.
    Pseudo,
    /// A pseudo-header field, `host` or the like more than once.
    Duplicate,
    /// `:method`, `:scheme` or `:path` is missing.
    Missing,
    /// `:method` is not a token.
    Method,
    /// CONNECT with `:scheme` or `:path`; `:protocol` without CONNECT, or not announced.
    Connect,
    /// An empty or relative `:path`, or `*` without OPTIONS.
    Path,
    /// `http` or `https` without an authority, with userinfo in it, or with a `host` that differs.
    Authority,
    /// A connection-specific field: `connection`, `keep-alive`, `transfer-encoding`, `upgrade`, a
    /// `te` that is not `trailers`.
    Connection,
    /// A `content-length` that is not a number, is repeated, or differs from the content's length.
    Length,
    /// An octet that a name or value must not contain.
    Octets,
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Pseudo => "the peer sent a pseudo-header field where none is allowed",
            Self::Duplicate => "the peer repeated a field that is allowed once",
            Self::Missing => "the peer's request lacks a method, scheme or path",
            Self::Method => "the peer's request has a method that is not a token",
            Self::Connect => "the peer's CONNECT has the wrong pseudo-header fields",
            Self::Path => "the peer's request has a bad path",
            Self::Authority => "the peer's request has no authority, a bad one, or two that differ",
            Self::Connection => "the peer sent a connection-specific field",
            Self::Octets => "the peer sent octets that a field must not contain",
            Self::Length => "the peer sent a bad content-length",
        })
    }
}

impl core::error::Error for Malformed {}

/// A request's head. Spans are offsets into the bytes that belong to the fields. Pseudo-header
/// fields end before `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The method's name.
    pub method_span: Span,
    /// `:scheme`; empty for CONNECT.
    pub scheme: Span,
    /// `:authority`, or the Host field if there is none. [`canonical_authority`] makes it
    /// canonical.
    pub authority: Span,
    /// The authority is already canonical, as nearly every one is.
    pub(crate) plain: bool,
    /// `:path` as received; for CONNECT the authority, as in HTTP/1.1.
    pub target: Span,
    /// `:path` up to the `?`, still percent-encoded; empty for CONNECT. [`canonical_path`] brings
    /// it into the canonical form of [`path`].
    pub path: Span,
    /// Whether `path` is canonical. If it is not after [`canonical_path`], the answer is 400.
    pub canonical: bool,
    /// The part after the first `?` of `:path`, if there is one.
    pub query: Option<Span>,
    /// `:protocol` of an extended CONNECT (RFC 8441, RFC 9220).
    pub protocol: Option<Span>,
    /// Index of the first field that is not a pseudo-header field.
    pub first: usize,
    /// The content's length, if the peer announced it.
    pub content_length: Option<u64>,
    /// The peer waits for a 100 (Continue).
    pub expect_continue: bool,
    /// The peer has an expectation other than 100-continue (RFC 9110 section 10.1.1).
    pub expects_unknown: bool,
    /// The Priority field's value; `None` without the field.
    pub priority: Option<Priority>,
}

impl RequestHead {
    /// Whether the client waits for a 100 (Continue) before it sends content, and has not announced
    /// that there is none.
    pub fn expects_more(&self) -> bool {
        self.expect_continue && self.content_length != Some(0)
    }

    /// The method and target in HTTP/1.1's form.
    pub fn line(&self) -> Line {
        Line {
            method: self.method,
            method_span: self.method_span,
            target: self.target,
            path: self.path,
            canonical: self.canonical,
            query: self.query,
            authority: (self.authority.len > 0).then_some(self.authority),
        }
    }
}

#[derive(Default)]
struct Seen<'a> {
    method: Option<&'a Field>,
    path: Option<&'a Field>,
    scheme: Option<&'a Field>,
    authority: Option<&'a Field>,
    protocol: Option<&'a Field>,
    host: Option<&'a Field>,
    content_length: Option<u64>,
    expect_continue: bool,
    expects_unknown: bool,
    priority: Option<Priority>,
}

/// Reads the section `fields` over `bytes` as a request (RFC 9113 section 8.3.1, RFC 9114 section
/// 4.3.1). `extended`: extended CONNECT was announced.
pub fn request(bytes: &[u8], fields: &[Field], extended: bool) -> Result<RequestHead, Malformed> {
    let mut seen = Seen::default();
    let first = fields.iter().position(|field| field.known < Known::PseudoAuthority);
    let first = first.unwrap_or(fields.len());
    for field in &fields[..first] {
        seen.pseudo(field)?;
    }
    for field in &fields[first..] {
        seen.regular(field, bytes)?;
    }
    seen.finish(bytes, first, extended)
}

/// Checks the section `fields` over `bytes` as trailers: no pseudo-header or connection-specific
/// fields.
pub fn trailers(bytes: &[u8], fields: &[Field]) -> Result<(), Malformed> {
    for field in fields {
        if field.known >= Known::PseudoAuthority {
            return Err(Malformed::Pseudo);
        }
        connection_specific(field, bytes)?;
    }
    Ok(())
}

/// Makes the authority canonical, appending it to `bytes` if it changes. Leaves it empty if it is
/// invalid; the answer is then 400. The field itself does not change.
#[inline]
pub fn canonical_authority(bytes: &mut Vec<u8>, request: &mut RequestHead) {
    if !request.plain {
        append_authority(bytes, request);
    }
}

#[cold]
fn append_authority(bytes: &mut Vec<u8>, request: &mut RequestHead) {
    let port = authority::default_port(request.scheme.of(bytes));
    let form = match authority::canonical(request.authority.of(bytes), port) {
        Ok(Cow::Borrowed(_)) => return,
        Ok(Cow::Owned(form)) => form,
        Err(authority::Invalid) => Vec::new(),
    };
    let at = bytes.len();
    bytes.extend_from_slice(&form);
    request.authority = Span::new(at, bytes.len());
}

/// Joins several cookie fields into one at the end, values separated by "; " (RFC 9113 section
/// 8.2.3, RFC 9114 section 4.2.1). Does nothing for fewer than two.
#[inline]
pub fn join_cookies(bytes: &mut Vec<u8>, fields: &mut Vec<Field>) {
    if fields.iter().filter(|field| field.known == Known::Cookie).count() > 1 {
        join_crumbs(bytes, fields);
    }
}

#[cold]
fn join_crumbs(bytes: &mut Vec<u8>, fields: &mut Vec<Field>) {
    let value_at = bytes.len();
    let mut joined: Option<Field> = None;
    for field in fields.iter().filter(|field| field.known == Known::Cookie) {
        if joined.is_some() {
            bytes.extend_from_slice(b"; ");
        }
        let at = field.value_at as usize;
        bytes.extend_from_within(at..at + field.value_len as usize);
        joined = joined.or(Some(*field));
    }
    fields.retain(|field| field.known != Known::Cookie);
    if let Some(cookie) = joined {
        let value_len = (bytes.len() - value_at) as u32;
        fields.push(Field { value_at: value_at as u32, value_len, ..cookie });
    }
}

/// Brings the path of a request that was read from `bytes` into canonical form, appended to
/// `bytes`. Does nothing if the path is already canonical, as nearly all are.
#[inline]
pub fn canonical_path(bytes: &mut Vec<u8>, request: &mut RequestHead) {
    if !request.canonical {
        rewrite_path(bytes, request);
    }
}

#[cold]
fn rewrite_path(bytes: &mut Vec<u8>, request: &mut RequestHead) {
    let mut made = Vec::with_capacity(request.path.len as usize);
    // The query stays as received, but a query that is not text makes the request invalid.
    let query = request.query.map_or(&[][..], |query| query.of(bytes));
    let is_text = core::str::from_utf8(query).is_ok();
    if is_text && path::canonical(request.path.of(bytes), &mut made).is_ok() {
        request.path = Span { at: bytes.len() as u32, len: made.len() as u32 };
        request.canonical = true;
        bytes.extend_from_slice(&made);
    }
}

/// Parses a `content-length` value (RFC 9110 section 8.6): digits only, at most 18, so that it
/// cannot overflow.
pub fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

impl<'a> Seen<'a> {
    #[inline]
    fn pseudo(&mut self, field: &'a Field) -> Result<(), Malformed> {
        let place = match field.known {
            Known::PseudoMethod => &mut self.method,
            Known::PseudoPath => &mut self.path,
            Known::PseudoScheme => &mut self.scheme,
            Known::PseudoAuthority => &mut self.authority,
            Known::PseudoProtocol => &mut self.protocol,
            _ => return Err(Malformed::Pseudo),
        };
        if place.replace(field).is_some() { Err(Malformed::Duplicate) } else { Ok(()) }
    }

    #[inline]
    fn regular(&mut self, field: &'a Field, bytes: &[u8]) -> Result<(), Malformed> {
        match field.known {
            Known::Other | Known::UserAgent | Known::Accept | Known::AcceptEncoding => Ok(()),
            Known::Host if self.host.replace(field).is_some() => Err(Malformed::Duplicate),
            Known::ContentLength => {
                let length = content_length(field.value(bytes));
                if length.is_none() || self.content_length.is_some() {
                    return Err(Malformed::Length);
                }
                self.content_length = length;
                Ok(())
            }
            Known::Priority => {
                let before = self.priority.unwrap_or_default();
                self.priority = Some(before.updated(field.value(bytes)));
                Ok(())
            }
            Known::Expect => {
                let known = field.value(bytes).eq_ignore_ascii_case(b"100-continue");
                self.expect_continue |= known;
                self.expects_unknown |= !known;
                Ok(())
            }
            known if known >= Known::PseudoAuthority => Err(Malformed::Pseudo),
            _ => connection_specific(field, bytes),
        }
    }

    #[inline]
    fn finish(self, bytes: &[u8], first: usize, extended: bool) -> Result<RequestHead, Malformed> {
        let name = self.method.ok_or(Malformed::Missing)?;
        let method = method(name.value(bytes));
        if method == Method::Other && !is_token(name.value(bytes)) {
            return Err(Malformed::Method);
        }
        let (authority, plain) = self.authority(bytes)?;
        let is_tunnel = method == Method::Connect && self.protocol.is_none();
        if self.protocol.is_some() && !(extended && method == Method::Connect) {
            return Err(Malformed::Connect);
        }
        let (mut scheme, mut target) = (Span::default(), Target::default());
        match (self.scheme, self.path) {
            // RFC 9110 section 9.3.6: the target is the authority alone.
            (None, None) if is_tunnel => target.whole = authority,
            _ if is_tunnel => return Err(Malformed::Connect),
            (Some(of), Some(to)) if of.value_len > 0 => {
                scheme = span(of);
                target = split_path(to, bytes, method)?;
            }
            _ => return Err(Malformed::Missing),
        }
        Ok(RequestHead {
            method,
            method_span: span(name),
            scheme,
            authority,
            plain,
            target: target.whole,
            path: target.path,
            canonical: !target.is_odd,
            query: target.query,
            protocol: self.protocol.map(span),
            first,
            content_length: self.content_length,
            expect_continue: self.expect_continue,
            expects_unknown: self.expects_unknown,
            priority: self.priority,
        })
    }

    /// `:authority`, which Host must match, or Host alone; and whether it is already canonical.
    fn authority(&self, bytes: &[u8]) -> Result<(Span, bool), Malformed> {
        let chosen = self.authority.or(self.host).ok_or(Malformed::Authority)?;
        let value = chosen.value(bytes);
        let plain = authority::is_plain(value);
        if !plain && (value.is_empty() || classes(value) & NOT_IN_AUTHORITY != 0) {
            return Err(Malformed::Authority);
        }
        if let Some(host) = self.host
            && host.value(bytes) != value
            && !self.is_same_authority(host.value(bytes), value, bytes)
        {
            return Err(Malformed::Authority);
        }
        Ok((span(chosen), plain))
    }

    /// Whether both name the same entity (RFC 9113 section 8.3.1): their canonical forms are equal.
    #[cold]
    fn is_same_authority(&self, one: &[u8], other: &[u8], bytes: &[u8]) -> bool {
        let port = self.scheme.and_then(|of| authority::default_port(of.value(bytes)));
        let form = |text| authority::canonical(text, port);
        one.eq_ignore_ascii_case(other) || form(one).is_ok_and(|one| form(other) == Ok(one))
    }
}

/// Connection-specific fields, allowed in HTTP/1.1 only (RFC 9113 section 8.2.2, RFC 9114 section
/// 4.2).
#[inline]
fn connection_specific(field: &Field, bytes: &[u8]) -> Result<(), Malformed> {
    match field.known {
        Known::Connection
        | Known::KeepAlive
        | Known::ProxyConnection
        | Known::TransferEncoding
        | Known::Upgrade => Err(Malformed::Connection),
        Known::Te if !field.value(bytes).eq_ignore_ascii_case(b"trailers") => {
            Err(Malformed::Connection)
        }
        _ => Ok(()),
    }
}

/// The parts of a `:path`.
#[derive(Default)]
struct Target {
    whole: Span,
    path: Span,
    query: Option<Span>,
    /// The path is not in canonical form, or the query has octets that are not ASCII.
    is_odd: bool,
}

/// Splits `:path` at the `?`. It begins with `/`, or is `*` for OPTIONS, and contains nothing that
/// would end a request line.
fn split_path(field: &Field, bytes: &[u8], method: Method) -> Result<Target, Malformed> {
    let (value, whole) = (field.value(bytes), span(field));
    if value.first() != Some(&b'/') && !(value == b"*" && method == Method::Options) {
        return Err(Malformed::Path);
    }
    let seen = classes(value);
    if seen & NOT_IN_PATH != 0 {
        return Err(Malformed::Path);
    }
    let mut target = Target { whole, path: whole, ..Target::default() };
    if seen & QUESTION != 0 {
        let at = value.iter().position(|byte| *byte == b'?').unwrap_or_default() as u32;
        target.query = Some(Span { at: whole.at + at + 1, len: whole.len - at - 1 });
        target.path.len = at;
    }
    // Most paths contain no escapes, dots or non-ASCII octets, so they have one spelling.
    let may_be_odd = seen & (DOT_OR_ESCAPE | NOT_ASCII) != 0;
    target.is_odd =
        may_be_odd && (seen & NOT_ASCII != 0 || !path::is_canonical(target.path.of(bytes)));
    Ok(target)
}

/// The classes of the octets in `value`.
#[inline]
fn classes(value: &[u8]) -> u8 {
    value.iter().fold(0, |seen, octet| seen | CLASSES[usize::from(*octet)])
}

/// The userinfo delimiter, octets that end an authority in a URI, and octets that are not
/// printable.
const NOT_IN_AUTHORITY: u8 = 1;
const NOT_IN_PATH: u8 = 2;
const QUESTION: u8 = 4;
const DOT_OR_ESCAPE: u8 = 8;
/// Control characters and octets from 0x80 on.
const NOT_ASCII: u8 = 16;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        if !(octet as u8).is_ascii_graphic() {
            classes[octet] = NOT_IN_AUTHORITY | NOT_ASCII;
        }
        octet += 1;
    }
    classes[b'.' as usize] = DOT_OR_ESCAPE;
    classes[b'%' as usize] = DOT_OR_ESCAPE;
    classes[b'@' as usize] = NOT_IN_AUTHORITY;
    classes[b'/' as usize] = NOT_IN_AUTHORITY;
    classes[b'\\' as usize] = NOT_IN_AUTHORITY;
    classes[b'?' as usize] = NOT_IN_AUTHORITY | QUESTION;
    classes[b'#' as usize] = NOT_IN_AUTHORITY | NOT_IN_PATH;
    classes[b' ' as usize] = NOT_IN_AUTHORITY | NOT_IN_PATH;
    classes
};

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
    let is = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(lines: &[(&str, &str)]) -> (Vec<u8>, Vec<Field>) {
        let (mut bytes, mut fields) = (Vec::new(), Vec::new());
        for (name, value) in lines {
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

    fn check(lines: &[(&str, &str)]) -> Result<RequestHead, Malformed> {
        let (bytes, fields) = section(lines);
        request(&bytes, &fields, true)
    }

    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/")];

    fn with(more: &[(&str, &str)]) -> Result<RequestHead, Malformed> {
        check(&[&GET[..], more].concat())
    }

    fn without(name: &str) -> Result<RequestHead, Malformed> {
        let left: Vec<_> = GET.iter().copied().filter(|line| line.0 != name).collect();
        check(&left)
    }

    fn instead(name: &str, value: &str) -> Result<RequestHead, Malformed> {
        let lines = GET.map(|line| if line.0 == name { (line.0, value) } else { line });
        check(&lines)
    }

    #[test]
    fn a_request_says_what_it_is() {
        let lines =
            [&GET[..], &[("host", "A.example"), ("content-length", "12"), ("x", "y")]].concat();
        let (bytes, fields) = section(&lines);
        let request = request(&bytes, &fields, true).unwrap();
        assert_eq!(request.method_span.of(&bytes), b"GET");
        assert_eq!(request.path.of(&bytes), b"/");
        assert_eq!(request.authority.of(&bytes), b"a.example");
        assert_eq!((request.content_length, request.first), (Some(12), 4));
        assert!(!request.expect_continue && request.priority.is_none());
        assert!(with(&[("expect", "100-Continue")]).unwrap().expect_continue);
        assert!(with(&[("te", "trailers"), ("priority", "u=1")]).unwrap().priority.is_some());
    }

    /// Rows 50 and 62.
    #[test]
    fn pseudo_header_rules() {
        for name in [":method", ":scheme", ":path"] {
            assert_eq!(without(name), Err(Malformed::Missing), "{name}");
        }
        assert_eq!(without(":authority"), Err(Malformed::Authority));
        assert_eq!(instead(":method", "G T"), Err(Malformed::Method));
        assert_eq!(instead(":scheme", ""), Err(Malformed::Missing));
        for line in GET {
            assert_eq!(with(&[line]), Err(Malformed::Duplicate), "{}", line.0);
            assert_eq!(with(&[("x", "y"), line]), Err(Malformed::Pseudo), "{}", line.0);
        }
        assert_eq!(with(&[(":status", "1")]), Err(Malformed::Pseudo));
        for path in ["", "x", "*", "http://a/", "/a b", "/a#b"] {
            assert_eq!(instead(":path", path), Err(Malformed::Path), "{path}");
        }
        for authority in ["", "u@a", "a/b", "a?b", "a#b", "a b"] {
            assert_eq!(instead(":authority", authority), Err(Malformed::Authority), "{authority}");
        }
        assert_eq!(with(&[("host", "b.example")]), Err(Malformed::Authority));
        let twice = [("host", "a.example"), ("host", "a.example")];
        assert_eq!(with(&twice), Err(Malformed::Duplicate));
        assert!(check(&[&GET[..2], &GET[3..], &[("host", "a")]].concat()).is_ok());
        assert!(check(&[(":method", "OPTIONS"), GET[1], GET[2], (":path", "*")]).is_ok());
    }

    #[test]
    fn connect_rules() {
        let (connect, authority) = ((":method", "CONNECT"), (":authority", "a:1"));
        let (scheme, path) = ((":scheme", "https"), (":path", "/"));
        let protocol = (":protocol", "websocket");
        assert!(check(&[connect, authority]).is_ok());
        assert!(check(&[connect, authority, scheme, path, protocol]).unwrap().protocol.is_some());
        assert_eq!(check(&[connect]), Err(Malformed::Authority));
        assert_eq!(check(&[connect, authority, path]), Err(Malformed::Connect));
        assert_eq!(check(&[connect, authority, protocol]), Err(Malformed::Missing));
        assert_eq!(check(&[protocol, GET[0], GET[1], GET[2], GET[3]]), Err(Malformed::Connect));
    }

    #[test]
    fn connection_fields_are_malformed() {
        for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]
        {
            assert_eq!(with(&[(name, "x")]), Err(Malformed::Connection), "{name}");
            let (bytes, fields) = section(&[(name, "x")]);
            assert_eq!(trailers(&bytes, &fields), Err(Malformed::Connection), "{name}");
        }
        assert_eq!(with(&[("te", "gzip")]), Err(Malformed::Connection));
        let (bytes, fields) = section(&[("checksum", "1")]);
        assert_eq!(trailers(&bytes, &fields), Ok(()));
        let (bytes, fields) = section(&[("checksum", "1"), (":path", "/")]);
        assert_eq!(trailers(&bytes, &fields), Err(Malformed::Pseudo));
    }

    #[test]
    fn content_lengths() {
        for (value, length) in
            [("0", 0), ("5", 5), ("005", 5), ("900719925474099301", 900719925474099301)]
        {
            assert_eq!(content_length(value.as_bytes()), Some(length), "{value}");
        }
        for value in ["", "+5", "-1", "0x5", "5 x", "1_0", "5, 5", "5,", "9223372036854775808"] {
            assert_eq!(content_length(value.as_bytes()), None, "{value}");
        }
        assert_eq!(with(&[("content-length", "1x")]), Err(Malformed::Length));
        let twice = [("content-length", "1"), ("content-length", "1")];
        assert_eq!(with(&twice), Err(Malformed::Length));
    }

    #[test]
    fn paths_split_at_the_first_question_mark() {
        let (bytes, fields) = section(&[GET[0], GET[1], GET[2], (":path", "/x?y?z")]);
        let request = request(&bytes, &fields, false).unwrap();
        assert_eq!((request.path.of(&bytes), request.method), (&b"/x"[..], Method::Get));
        assert_eq!(request.query.unwrap().of(&bytes), b"y?z");
    }

    #[test]
    fn cookie_crumbs_become_one() {
        let (mut bytes, mut fields) =
            section(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")]);
        join_cookies(&mut bytes, &mut fields);
        assert_eq!(fields.len(), 2);
        assert_eq!(fields[1].name(&bytes), b"cookie");
        assert_eq!(fields[1].value(&bytes), b"a=1; b=2; c=3");
    }
}
