//! The request line, the four forms of a request target, and the Host that goes with them.
//!
//! RFC 9112 sections 3 and 3.2. A fast path takes the line of nearly every request (a method, a
//! target in origin form, HTTP/1.1 or 1.0). A line that it does not recognise is read again, byte
//! by byte, by a function that also finds the error.

use super::request::{Limits, Method, Version};
use super::{Error, Span};
use crate::authority::{is_plain, is_wellformed};
use crate::path;
use crate::scan::{Block, PLAIN_HOST, Padded, Set, TOKEN, VISIBLE, half, word};

/// A parsed request line: offsets into the input.
pub(super) struct RequestLine {
    pub(super) method: Method,
    pub(super) version: Version,
    /// Where the method begins.
    pub(super) start: u32,
    /// Where the target begins, one space after the method.
    pub(super) target: u32,
    /// Where the target ends.
    pub(super) target_end: u32,
    pub(super) path: u32,
    pub(super) path_end: u32,
    /// See [`super::request::Line::canonical`].
    pub(super) canonical: bool,
    /// Where the query begins, just past its `?`; past the target's end if there is none.
    pub(super) query: u32,
    /// The authority of an absolute or authority form; at offset 0 if there is none.
    pub(super) authority: Span,
    /// Offset past the line's CRLF.
    pub(super) end: usize,
}

/// Reads the request line at the beginning of `input`; `None` if it is incomplete.
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
    // The shortest request line; from here on every offset stays within the data.
    if input.len() < b"G / HTTP/1.1\r\n".len() {
        return None;
    }
    let first = input.bytes(0);
    let (method, method_len) = method(word(first, 0))?;
    let at = method_len + 1;
    if first[at] != b'/' || method == Method::Connect {
        return None;
    }
    // Where the path ends: nearly always at the space after the target, with only dots within names
    // before it. Octet 0, which belongs to the method, stands for anything past this block.
    let mut gaps = block.outside(first, &PLAIN_PATH) & (u64::MAX << at);
    let (mark, plain) = loop {
        let gap = gaps.trailing_zeros() as usize;
        match first[gap % 64] {
            b' ' | b'?' => break (gap, true),
            b'.' if first[(gap - 1) % 64] != b'/' => gaps &= gaps - 1,
            _ => break path_end(block, input, gap)?,
        }
    };
    // After the target: a space, a version of eight bytes, CR and LF.
    let last = input.len() - 11;
    if mark > last {
        return None;
    }
    let mut to = mark;
    if input.byte(mark) == b'?' {
        to = first_outside(block, input, mark, &TARGET)?;
        if to > last {
            return None;
        }
    }
    if to + 9 > limits.request_line as usize {
        return None;
    }
    let tail = input.bytes(to);
    let version = match half(tail, 8) & 0xff_ffff {
        MINOR_1 => Version::H11,
        MINOR_0 => Version::H10,
        _ => return None,
    };
    if word(tail, 0) != SPACE_HTTP_1 {
        return None;
    }
    Some(RequestLine {
        method,
        version,
        start: 0,
        target: at as u32,
        target_end: to as u32,
        path: at as u32,
        path_end: mark as u32,
        canonical: plain || path::is_canonical(&input.data()[at..mark]),
        query: mark as u32 + 1,
        authority: Span::default(),
        end: to + 11,
    })
}

/// The method that `word` begins with, followed by a space, and the length of its name.
#[inline(always)]
fn method(word: u64) -> Option<(Method, usize)> {
    if word as u32 == u32::from_le_bytes(*b"GET ") {
        return Some((Method::Get, 3));
    }
    METHODS.into_iter().find_map(|(name, method)| {
        let len = name.trim_ascii_end().len();
        let mask = u64::MAX >> (56 - 8 * len);
        (word & mask == u64::from_le_bytes(*name) & mask).then_some((method, len))
    })
}

const METHODS: [(&[u8; 8], Method); 9] = [
    (b"POST    ", Method::Post),
    (b"HEAD    ", Method::Head),
    (b"PUT     ", Method::Put),
    (b"PATCH   ", Method::Patch),
    (b"DELETE  ", Method::Delete),
    (b"OPTIONS ", Method::Options),
    (b"GET     ", Method::Get),
    (b"TRACE   ", Method::Trace),
    (b"CONNECT ", Method::Connect),
];

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

/// Where the path ends, given that the octets before `at` are plain; and whether the rest is plain
/// too, apart from dots within names.
#[inline(always)]
fn path_end<B: Block>(block: B, input: Padded<'_>, mut at: usize) -> Option<(usize, bool)> {
    loop {
        at = first_outside(block, input, at, &PLAIN_PATH)?;
        match input.byte(at) {
            b'.' if input.byte(at - 1) != b'/' => at += 1,
            b'.' | b'%' => return Some((first_outside(block, input, at, &PATH)?, false)),
            _ => return Some((at, true)),
        }
    }
}

/// Reads any request line, or returns its error. Skips one empty line before it.
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
        return Err(too_long(text, limits));
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
    if target.is_empty() || !is_target(target) {
        return Err(Error::Target);
    }
    let known = METHODS.into_iter().find(|(known, _)| known.trim_ascii_end() == name);
    let method = known.map_or(Method::Other, |(_, method)| method);
    let at = start + name.len() + 1;
    let parts = resolve(method, target)?;
    Ok(Some(RequestLine {
        method,
        version,
        start: start as u32,
        target: at as u32,
        target_end: (at + target.len()) as u32,
        path: (at + parts.path.0) as u32,
        path_end: (at + parts.path.1) as u32,
        canonical: path::is_canonical(&target[..parts.path.1][parts.path.0..]),
        query: (at + parts.query) as u32,
        authority: match parts.authority {
            Some((from, to)) => Span::new(at + from, at + to),
            None => Span::default(),
        },
        end: lf + 1,
    }))
}

/// The error of a line beyond the limit: its target is too long, if the target has begun.
pub(super) fn too_long(line: &[u8], limits: &Limits) -> Error {
    let begun = line.iter().take(limits.request_line as usize).any(|&b| b == b' ');
    if begun { Error::LineTooLong } else { Error::Method }
}

/// Whether `target` contains only visible ASCII and raw UTF-8, which clients send and HTTP/2
/// allows.
fn is_target(target: &[u8]) -> bool {
    target.iter().all(|&b| b >= 0x80 || TARGET.has(b)) && core::str::from_utf8(target).is_ok()
}

/// Errors already visible in an incomplete request line, so a peer of another protocol is refused
/// at once.
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
        // HTTP/0.9 had no version in its request line, so no client sends this one.
        (b'0', _) => Err(Error::Version),
        _ => Err(Error::VersionUnsupported),
    }
}

/// A target's parts, relative to its beginning.
struct Parts {
    path: (usize, usize),
    /// Where the query begins; past the target's end if there is none.
    query: usize,
    authority: Option<(usize, usize)>,
}

/// Splits a target by its form (RFC 9112 section 3.2).
fn resolve(method: Method, target: &[u8]) -> Result<Parts, Error> {
    let len = target.len();
    if method == Method::Connect {
        // authority-form: a host and a port, both required.
        let port = target.iter().rposition(|&b| b == b':').ok_or(Error::Target)? + 1;
        if port == len || !is_wellformed(target) {
            return Err(Error::Target);
        }
        return Ok(Parts { path: (len, len), query: len + 1, authority: Some((0, len)) });
    }
    if target == b"*" && method == Method::Options {
        return Ok(Parts { path: (0, len), query: len + 1, authority: None });
    }
    if target[0] == b'/' {
        let mark = first_mark(target, 0);
        return Ok(Parts { path: (0, mark), query: mark + 1, authority: None });
    }
    let scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|s| len > s.len() && target[..s.len()].eq_ignore_ascii_case(s))
        .ok_or(Error::Target)?;
    let from = scheme.len();
    let to = target[from..].iter().position(|b| matches!(b, b'/' | b'?')).map_or(len, |n| from + n);
    if !is_wellformed(&target[from..to]) {
        return Err(Error::Target);
    }
    let mark = first_mark(target, to);
    // An empty path means "/" (RFC 9110 section 4.2.3). The slash before the authority is used as
    // its text.
    let path = if mark == to { (from - 1, from) } else { (to, mark) };
    Ok(Parts { path, query: mark + 1, authority: Some((from, to)) })
}

/// The first `?` from `from` on, or the end.
fn first_mark(target: &[u8], from: usize) -> usize {
    target[from..].iter().position(|&b| b == b'?').map_or(target.len(), |n| from + n)
}

/// Checks the Host field's value: `uri-host [ ":" port ]` (RFC 9112 section 3.2), not empty (RFC
/// 9110 section 4.2.1). True if it is already canonical, as defined by `authority::is_plain`.
#[inline(always)]
pub(super) fn check_host<B: Block>(block: B, input: Padded<'_>, host: Span) -> Result<bool, Error> {
    let (at, len) = (host.at as usize, host.len as usize);
    // Nearly every host is a plain name of up to 32 bytes, or a shorter one and a port.
    let near = input.bytes(at - 4);
    let name = block.name(near);
    let odd = block.strange(name, &PLAIN_HOST).trailing_zeros() as usize;
    let end = odd.min(len);
    let dots = u64::from(block.octets(name, b'.'));
    // An empty label: a dot or the name's end, at the start or after a dot.
    if (dots << 1 | 1) & (dots | 1 << end) == 0 {
        if odd >= len {
            return Ok(true);
        }
        let digits = len.wrapping_sub(odd + 1);
        // A shorter port may be the scheme's default.
        let is_plain_port =
            near[odd + 4] == b':' && digits.wrapping_sub(4) < 2 && near[odd + 5] != b'0';
        if is_plain_port && port_in_word(word(near, odd + 5), digits) {
            return Ok(true);
        }
    }
    let text = host.of(input.data());
    if is_wellformed(text) { Ok(is_plain(text)) } else { Err(Error::HostInvalid) }
}

/// Whether the first `len` bytes (1 to 5) of `word` are a number below 65536.
#[inline(always)]
fn port_in_word(word: u64, len: usize) -> bool {
    // Shifted up, with zeros in front: eight digits, the most significant in the lowest byte.
    let digits = word << (64 - 8 * len) | ZEROS >> (8 * len);
    let carried = digits.wrapping_add(0x0606_0606_0606_0606);
    ((digits ^ ZEROS) | (carried ^ ZEROS)) & 0xf0f0_f0f0_f0f0_f0f0 == 0
        && digits.swap_bytes() <= u64::from_be_bytes(*b"00065535")
}

const ZEROS: u64 = u64::from_le_bytes(*b"00000000");

/// The octets of a target, raw UTF-8 excepted: visible ASCII without `#`. A fragment is never sent
/// (RFC 9110 section 7.1), and parties that cut it off would disagree with those that do not.
static TARGET: Set = TARGET_SET;
const TARGET_SET: Set = VISIBLE.without(b'#');

/// A target up to its query.
static PATH: Set = PATH_SET;
const PATH_SET: Set = TARGET_SET.without(b'?');

/// Octets of a path that is certainly canonical, apart from dots that begin a segment.
static PLAIN_PATH: Set = PATH_SET.without(b'%').without(b'.');

const SPACE_HTTP_1: u64 = u64::from_le_bytes(*b" HTTP/1.");
const MINOR_0: u32 = u32::from_le_bytes(*b"0\r\n\0");
const MINOR_1: u32 = u32::from_le_bytes(*b"1\r\n\0");
