//! The request line, the four forms of a request target, and the Host that goes with them.
//!
//! RFC 9112 sections 3 and 3.2. A fast path takes the line that nearly every request has (a method,
//! a target in origin form, HTTP/1.1 or 1.0); whatever it does not recognise is read again, byte by
//! byte, by a function that also says what is wrong.

use super::request::{Limits, Method, Version};
use super::{Error, Span};
use crate::scan::{Block, HOST, Padded, Set, TOKEN, VISIBLE};

/// A request line, read.
pub(super) struct RequestLine {
    pub(super) method: Method,
    pub(super) method_span: Span,
    pub(super) target: Span,
    pub(super) path: Span,
    pub(super) query: Option<Span>,
    pub(super) authority: Option<Span>,
    pub(super) version: Version,
    /// Offset behind the line's CRLF.
    pub(super) end: usize,
}

/// Reads the request line at the beginning of `input`; `None` when it is not all there.
#[inline(always)]
pub(super) fn request_line<B: Block>(
    block: B,
    input: Padded<'_>,
    limits: &Limits,
) -> Result<Option<RequestLine>, Error> {
    match fast(block, input, limits) {
        Some(line) => Ok(Some(line)),
        None => slow(input, limits),
    }
}

#[inline(always)]
fn fast<B: Block>(block: B, input: Padded<'_>, limits: &Limits) -> Option<RequestLine> {
    // No request line is shorter, and below every offset stays within the data.
    if input.len() < b"G / HTTP/1.1\r\n".len() {
        return None;
    }
    let gaps = block.outside(input.bytes(0), &TARGET);
    let method_len = gaps.trailing_zeros() as usize;
    let method = method(input.word(0), method_len)?;
    let at = method_len + 1;
    if input.byte(method_len) != b' ' || input.byte(at) != b'/' || method == Method::Connect {
        return None;
    }
    let rest = gaps & gaps.wrapping_sub(1);
    let to = if rest != 0 {
        rest.trailing_zeros() as usize
    } else {
        first_outside(block, input, 64, &TARGET)?
    };
    let end = to + 11;
    if end > input.len() || to + 9 > limits.request_line as usize {
        return None;
    }
    let version = match input.word(to + 1) {
        HTTP_11 => Version::H11,
        HTTP_10 => Version::H10,
        _ => return None,
    };
    if input.byte(to) != b' ' || input.byte(to + 9) != b'\r' || input.byte(to + 10) != b'\n' {
        return None;
    }
    let mark = first_equal(block, input, at, to, b'?');
    Some(RequestLine {
        method,
        method_span: Span::new(0, method_len),
        target: Span::new(at, to),
        path: Span::new(at, mark),
        query: (mark < to).then(|| Span::new(mark + 1, to)),
        authority: None,
        version,
        end,
    })
}

/// The method whose name is the first `len` bytes of `word`, if it is one that fits in it with
/// certainty.
#[inline(always)]
fn method(word: u64, len: usize) -> Option<Method> {
    const fn name(text: &[u8]) -> u64 {
        let mut word = 0;
        let mut at = text.len();
        while at > 0 {
            at -= 1;
            word = word << 8 | text[at] as u64;
        }
        word
    }
    const GET: u64 = name(b"GET");
    const HEAD: u64 = name(b"HEAD");
    const POST: u64 = name(b"POST");
    const PUT: u64 = name(b"PUT");
    const PATCH: u64 = name(b"PATCH");
    const DELETE: u64 = name(b"DELETE");
    const OPTIONS: u64 = name(b"OPTIONS");
    const CONNECT: u64 = name(b"CONNECT");
    const TRACE: u64 = name(b"TRACE");
    if len > 7 {
        return None;
    }
    Some(match word & ((1 << (8 * len)) - 1) {
        GET => Method::Get,
        HEAD => Method::Head,
        POST => Method::Post,
        PUT => Method::Put,
        PATCH => Method::Patch,
        DELETE => Method::Delete,
        OPTIONS => Method::Options,
        CONNECT => Method::Connect,
        TRACE => Method::Trace,
        _ => return None,
    })
}

/// The first byte from `at` on that is not in `set`; `None` if it is not in the data.
#[inline(always)]
fn first_outside<B: Block>(
    block: B,
    input: Padded<'_>,
    mut at: usize,
    set: &'static Set,
) -> Option<usize> {
    while at < input.len() {
        let bits = block.outside(input.bytes(at), set);
        if bits != 0 {
            return Some(at + bits.trailing_zeros() as usize);
        }
        at += 64;
    }
    None
}

/// The first `byte` in `from..to`, or `to`.
#[inline(always)]
fn first_equal<B: Block>(block: B, input: Padded<'_>, from: usize, to: usize, byte: u8) -> usize {
    let mut at = from;
    while at < to {
        let bits = block.equal(input.bytes(at), byte);
        if bits != 0 {
            return to.min(at + bits.trailing_zeros() as usize);
        }
        at += 64;
    }
    to
}

/// Reads any request line, or says what is wrong with it. Passes over one empty line before it.
#[cold]
#[inline(never)]
fn slow(input: Padded<'_>, limits: &Limits) -> Result<Option<RequestLine>, Error> {
    let data = input.data();
    let start = if data.starts_with(b"\r\n") { 2 } else { 0 };
    let Some(lf) = data.iter().skip(start).position(|&b| b == b'\n') else {
        return incomplete(&data[start..]);
    };
    let lf = start + lf;
    if lf == start || data[lf - 1] != b'\r' {
        return Err(Error::LineEnd);
    }
    let text = &data[start..lf - 1];
    if text.len() > limits.request_line as usize {
        return Err(Error::LineTooLong);
    }
    if text.contains(&b'\r') {
        return Err(Error::LineEnd);
    }
    let mut parts = text.split(|&b| b == b' ');
    let (name, target) = (parts.next().unwrap_or(b""), parts.next().unwrap_or(b""));
    if name.is_empty() || !name.iter().all(|&b| TOKEN.has(b)) {
        return Err(if name.is_empty() { Error::RequestLine } else { Error::Method });
    }
    let (Some(version), None) = (parts.next(), parts.next()) else {
        return Err(Error::RequestLine);
    };
    let version = read_version(version)?;
    if target.is_empty() || !target.iter().all(|&b| TARGET.has(b)) {
        return Err(Error::Target);
    }
    let mut word = [0; 8];
    let kept = name.len().min(8);
    word[..kept].copy_from_slice(&name[..kept]);
    let method = method(u64::from_le_bytes(word), name.len()).unwrap_or(Method::Other);
    let at = start + name.len() + 1;
    let parts = resolve(method, target)?;
    let span = |(from, to): (usize, usize)| Span::new(at + from, at + to);
    Ok(Some(RequestLine {
        method,
        method_span: Span::new(start, at - 1),
        target: span((0, target.len())),
        path: span(parts.path),
        query: parts.query.map(span),
        authority: parts.authority.map(span),
        version,
        end: lf + 1,
    }))
}

/// What of an unfinished request line is already wrong: a peer that speaks something else
/// altogether is told at once.
fn incomplete(text: &[u8]) -> Result<Option<RequestLine>, Error> {
    let method = text.split(|&b| b == b' ').next().unwrap_or(text);
    if text.first() == Some(&b' ') {
        return Err(Error::RequestLine);
    }
    let method = method.strip_suffix(b"\r").unwrap_or(method);
    if !method.iter().all(|&b| TOKEN.has(b)) { Err(Error::Method) } else { Ok(None) }
}

fn read_version(text: &[u8]) -> Result<Version, Error> {
    let &[b'H', b'T', b'T', b'P', b'/', major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9'] = text
    else {
        return Err(Error::Version);
    };
    match (major, minor) {
        (b'1', b'0') => Ok(Version::H10),
        (b'1', _) => Ok(Version::H11),
        // HTTP/0.9 had no version in its request line, so one that says so is nobody's.
        (b'0', _) => Err(Error::Version),
        _ => Err(Error::VersionUnsupported),
    }
}

/// Ranges of a target's parts.
struct Parts {
    path: (usize, usize),
    query: Option<(usize, usize)>,
    authority: Option<(usize, usize)>,
}

/// Takes a target apart by its form (RFC 9112 section 3.2).
fn resolve(method: Method, target: &[u8]) -> Result<Parts, Error> {
    let len = target.len();
    if method == Method::Connect {
        // authority-form: a host and a port, both required.
        let port = target.iter().rposition(|&b| b == b':').ok_or(Error::Target)?;
        return match port + 1 < len && valid_host(target) {
            true => Ok(Parts { path: (len, len), query: None, authority: Some((0, len)) }),
            false => Err(Error::Target),
        };
    }
    if target == b"*" {
        return match method {
            Method::Options => Ok(Parts { path: (0, 1), query: None, authority: None }),
            _ => Err(Error::Target),
        };
    }
    if target[0] == b'/' {
        let (path, query) = split_query(target, 0);
        return Ok(Parts { path, query, authority: None });
    }
    let scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|s| target.len() > s.len() && target[..s.len()].eq_ignore_ascii_case(s))
        .ok_or(Error::Target)?;
    let from = scheme.len();
    let to = target[from..].iter().position(|b| matches!(b, b'/' | b'?')).map_or(len, |n| from + n);
    if !valid_host(&target[from..to]) {
        return Err(Error::Target);
    }
    let (mut path, query) = split_query(target, to);
    if path.0 == path.1 {
        // An empty path means "/" (RFC 9110 section 4.2.3): the slash before the authority serves
        // as its text.
        path = (from - 1, from);
    }
    Ok(Parts { path, query, authority: Some((from, to)) })
}

type Range = (usize, usize);

fn split_query(target: &[u8], from: usize) -> (Range, Option<Range>) {
    match target[from..].iter().position(|&b| b == b'?') {
        Some(n) => ((from, from + n), Some((from + n + 1, target.len()))),
        None => ((from, target.len()), None),
    }
}

/// Checks the Host field's value: `uri-host [ ":" port ]` (RFC 9112 section 3.2), not empty (RFC
/// 9110 section 4.2.1).
#[inline(always)]
pub(super) fn check_host<B: Block>(block: B, input: Padded<'_>, host: Span) -> Result<(), Error> {
    let (at, len) = (host.at as usize, host.len as usize);
    let odd = block.outside(input.bytes(at), &HOST);
    if len != 0 && odd.trailing_zeros() as usize >= len {
        return Ok(());
    }
    if valid_host(host.of(input.data())) { Ok(()) } else { Err(Error::HostInvalid) }
}

/// `uri-host [ ":" port ]` with a host that is not empty and a port that is a number below 65536 or
/// empty.
fn valid_host(text: &[u8]) -> bool {
    let (host, port) = if text.first() == Some(&b'[') {
        let Some(end) = text.iter().position(|&b| b == b']') else { return false };
        if !text[1..end].iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')) {
            return false;
        }
        if end < 3 {
            return false;
        }
        match &text[end + 1..] {
            [] => return true,
            [b':', port @ ..] => return valid_port(port),
            _ => return false,
        }
    } else {
        match text.iter().position(|&b| b == b':') {
            Some(colon) => (&text[..colon], &text[colon + 1..]),
            None => (text, &b""[..]),
        }
    };
    !host.is_empty() && valid_name(host) && valid_port(port)
}

fn valid_port(digits: &[u8]) -> bool {
    digits.len() <= 5
        && digits.iter().all(u8::is_ascii_digit)
        && digits.iter().fold(0u32, |n, d| n * 10 + u32::from(d - b'0')) < 65_536
}

/// `reg-name` (RFC 3986 section 3.2.2).
fn valid_name(host: &[u8]) -> bool {
    let mut at = 0;
    while at < host.len() {
        if host[at] == b'%' {
            let digits = host.get(at + 1..at + 3).unwrap_or(b"");
            if digits.len() != 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
                return false;
            }
            at += 3;
        } else if HOST.has(host[at]) {
            at += 1;
        } else {
            return false;
        }
    }
    true
}

/// What a target consists of: visible ASCII but `#`, because a fragment is never sent (RFC 9110
/// section 7.1) and parties that cut it off disagree with parties that do not.
static TARGET: Set = VISIBLE.without(b'#');

const HTTP_11: u64 = u64::from_le_bytes(*b"HTTP/1.1");
const HTTP_10: u64 = u64::from_le_bytes(*b"HTTP/1.0");
