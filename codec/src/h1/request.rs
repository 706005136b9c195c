//! Request heads: one pass over the bytes classifies each field and extracts the message's framing.
//!
//! The walk has two speeds. By 64-byte blocks it finds line ends and control characters (and checks
//! there that every CR has its LF and every LF its CR); by field it loads the name once, finds
//! where the token ends and looks the name up. It copies nothing, and allocates nothing once
//! `fields` has grown to the limit. RFC 9112 sections 2 to 6, read strictly.

use super::framing::Facts;
use super::target;
use super::{Error, Span};
use crate::authority;
use crate::field::{self, Field, Known};
use crate::scan::{
    self, Backend, Block, CONTROL, LINE_BLOCK, Lines, Padded, Slots, TOKEN, Work, half, word,
};
use alloc::vec::Vec;

/// Bounds of a request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request line without its CRLF; beyond: 414.
    pub request_line: u32,
    /// Bytes of the whole head; beyond: 431.
    pub head: u32,
    /// Number of fields; beyond: 431.
    pub fields: u16,
}

impl Default for Limits {
    /// 8 KiB, 32 KiB, 100 fields.
    fn default() -> Self {
        Self { request_line: 8 << 10, head: 32 << 10, fields: 100 }
    }
}

/// Progress through an incomplete head, so the next call does not start over. One per connection.
/// Starts as `Resume::default()` and is reset to it when a head is returned. Meaningless after an
/// error, which ends the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// Bytes known not to contain the end of the head.
    scanned: u32,
    /// Input bytes at the last full parse.
    parsed: u32,
}

/// The request's method. Names are case-sensitive (RFC 9110 section 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Connect,
    Trace,
    /// Any other token: see [`Line::method_span`].
    Other,
}

/// The protocol version; a higher minor version of HTTP/1 counts as 1.1 (RFC 9110 section 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Version {
    H10,
    H11,
}

/// How the request's body is delimited (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// That many bytes; less than 2^63.
    Length(u64),
    /// Chunked: see [`super::chunked`].
    Chunked,
}

/// The method and target of a request, in any version of HTTP: offsets into its bytes (RFC 9110
/// section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The method.
    pub method: Method,
    /// The method's name.
    pub method_span: Span,
    /// The request target as received.
    pub target: Span,
    /// The path without the query. Begins with `/`, except for `OPTIONS *` (where it is `*`) and
    /// CONNECT (where it is empty). Still percent-encoded.
    pub path: Span,
    /// Whether `path` is in the canonical form of [`crate::path`]. If not: in HTTP/1.1 that form is
    /// still to be made; in HTTP/2 and 3 there is none, and the answer is 400.
    pub canonical: bool,
    /// The part after the first `?`, if there is one.
    pub query: Option<Span>,
    /// The authority: of the target if it is in absolute or authority form, else the Host field's
    /// value. Never `None` in HTTP/1.1. As received, unless it has been made canonical since: see
    /// [`crate::authority`].
    pub authority: Option<Span>,
}

/// A parsed request head: offsets into the input and numbers. The fields are in the caller's `Vec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the head, including the final empty line and one before the request line.
    pub len: u32,
    /// The method and the target.
    pub line: Line,
    /// The path is canonical, and so is the authority if there is one. If this is false, the
    /// authority may still be canonical: [`crate::authority::canonical`] decides, with
    /// [`Head::default_port`].
    pub plain: bool,
    /// The version.
    pub version: Version,
    /// How the body is delimited.
    pub framing: Framing,
    /// The connection ends after this exchange: `Connection: close`, or HTTP/1.0 without
    /// `keep-alive`.
    pub close: bool,
    /// `Connection: keep-alive` was sent; an HTTP/1.0 peer expects it in the response.
    pub keep_alive: bool,
    /// `Connection: upgrade` was sent, with an Upgrade field.
    pub upgrade: bool,
    /// As `upgrade`, for `h2c`, with exactly one HTTP2-Settings field, listed in Connection, and no
    /// body.
    pub upgrade_h2c: bool,
    /// The peer waits for a 100 (Continue) before it sends the body.
    pub expect_continue: bool,
}

impl Head {
    /// The port that the request's scheme implies: that of an absolute target, or of a connection
    /// that is `secure`. CONNECT has no scheme. `bytes` is the parsed input.
    pub fn default_port(&self, bytes: &[u8], secure: bool) -> Option<u16> {
        if self.line.method == Method::Connect {
            return None;
        }
        let target = self.line.target.of(bytes);
        let scheme = target.iter().position(|byte| matches!(byte, b':' | b'/' | b'?' | b'*'));
        match &target[..scheme.unwrap_or_default()] {
            [] => Some(if secure { 443 } else { 80 }),
            scheme => authority::default_port(scheme),
        }
    }

    /// Whether the client waits for a 100 (Continue) before it sends content, and there is some.
    /// RFC 9110 section 10.1.1 allows the expectation without content.
    pub fn expects_more(&self) -> bool {
        self.expect_continue && self.framing != Framing::Length(0)
    }
}

/// Parses the request head at the beginning of `input`. `Ok(None)` if it is incomplete.
///
/// `fields` is cleared first and holds the fields of a returned head. Reserve [`Limits::fields`]
/// once and it never allocates. One empty line before the request line is skipped (RFC 9112 section
/// 2.2).
pub fn parse(
    backend: Backend,
    input: Padded<'_>,
    fields: &mut Vec<Field>,
    resume: &mut Resume,
    limits: &Limits,
) -> Result<Option<Head>, Error> {
    scan::dispatch(backend, Parse { input, fields, resume, limits })
}

struct Parse<'a> {
    input: Padded<'a>,
    fields: &'a mut Vec<Field>,
    resume: &'a mut Resume,
    limits: &'a Limits,
}

impl Work for Parse<'_> {
    type Output = Result<Option<Head>, Error>;

    #[inline(always)]
    fn run<B: Block>(self, block: B) -> Self::Output {
        let Parse { input, fields, resume, limits } = self;
        if resume.scanned != 0 && !worth_parsing(input, resume, limits) {
            fields.clear();
            return Ok(None);
        }
        let slots = Slots::new(fields, limits.fields as usize);
        // The result is built in the return expression: it is too large to move.
        parse_head(block, input, slots, resume, limits)
    }
}

/// After an incomplete parse: whether the end of the head has arrived, or enough input to check for
/// errors again. That amount doubles each time, so a slow head costs time linear in its length.
#[cold]
fn worth_parsing(input: Padded<'_>, resume: &mut Resume, limits: &Limits) -> bool {
    let data = input.data();
    // A line feed with another one two bytes before it. A false match such as LF x LF costs one
    // parse, which then fails.
    let from = (resume.scanned as usize).min(data.len());
    let mut ends = memchr::memchr_iter(b'\n', &data[from..]).map(|n| from + n);
    let ended = ends.any(|lf| lf >= 2 && data[lf - 2] == b'\n');
    resume.scanned = data.len() as u32;
    ended || data.len() > limits.head as usize || data.len() >= 2 * resume.parsed as usize
}

#[inline(always)]
fn parse_head<B: Block>(
    block: B,
    input: Padded<'_>,
    mut fields: Slots<'_, Field>,
    resume: &mut Resume,
    limits: &Limits,
) -> Result<Option<Head>, Error> {
    let Some(line) = target::request_line(block, input, limits)? else {
        return incomplete(input, resume, limits);
    };
    let mut facts = Facts::default();
    let Some(end) = walk(block, input, line.end, &mut fields, &mut facts)? else {
        return incomplete(input, resume, limits);
    };
    if end > limits.head as usize {
        return Err(Error::HeadTooLong);
    }
    let field = facts.host();
    let plain = match field {
        Some(host) => target::check_host(block, input, host)?,
        None if line.version == Version::H11 => return Err(Error::HostMissing),
        None => true,
    };
    let verdict = facts.verdict(line.version)?;
    fields.keep();
    *resume = Resume::default();
    let authority = (line.authority.at != 0).then_some(line.authority);
    let span = |from: u32, to: u32| Span { at: from, len: to - from };
    Ok(Some(Head {
        len: end as u32,
        line: Line {
            method: line.method,
            method_span: span(line.start, line.target - 1),
            target: span(line.target, line.target_end),
            path: span(line.path, line.path_end),
            canonical: line.canonical,
            query: (line.query <= line.target_end).then(|| span(line.query, line.target_end)),
            authority: authority.or(field),
        },
        plain: plain && authority.is_none() && line.canonical,
        version: line.version,
        framing: verdict.framing,
        close: verdict.close,
        keep_alive: verdict.keep_alive,
        upgrade: verdict.upgrade,
        upgrade_h2c: verdict.upgrade_h2c,
        expect_continue: verdict.expect_continue,
    }))
}

/// Walks the field lines from `start` on. Returns the offset past the empty line that ends them;
/// `None` if that has not arrived.
#[inline(always)]
fn walk<B: Block>(
    block: B,
    input: Padded<'_>,
    start: usize,
    fields: &mut Slots<'_, Field>,
    facts: &mut Facts,
) -> Result<Option<usize>, Error> {
    let len = input.len();
    let mut line = start;
    // Each block starts with the last two bytes of the previous one, so the bytes before a line
    // feed are in the same block and no state is carried over.
    let mut from = start - 2;
    while let Some(bytes) = input.line_block(from) {
        let Lines { lf, odd } = block.lines(scan::first_64(bytes));
        let mut end = lf & lf << 2;
        // In an ordinary block each odd byte is an LF or the one before an LF.
        let mut wrong = (lf ^ (odd & !lf) << 1) & !0b11;
        let mut lf = lf >> 2;
        let mut keep = u64::MAX;
        if end != 0 || len - from < 64 {
            let valid = low_bits(len - from);
            end &= valid;
            // Up to and including the line feed that ends the head, or all input without one.
            keep = (end ^ end.wrapping_sub(1)) & valid;
            wrong &= keep;
            lf &= (keep & !end) >> 2;
        }
        if wrong != 0 {
            examine(block, bytes, keep)?;
        }
        while lf != 0 {
            // The line feed is two bytes further on, its CR one byte.
            let at = lf.trailing_zeros() as usize;
            lf &= lf - 1;
            let (last, cr, eol) = (bytes[at], bytes[at + 1], from + at + 1);
            if cr != b'\r' {
                return Err(Error::LineEnd);
            }
            if line == start && host_line(input, line, eol, last, fields, facts) {
                line = eol + 2;
                continue;
            }
            field_line(block, input, line, eol, last, fields, facts)?;
            line = eol + 2;
        }
        if end != 0 {
            let at = end.trailing_zeros() as usize;
            let whole = bytes[at - 1] == b'\r';
            return if whole { Ok(Some(from + at + 1)) } else { Err(Error::LineEnd) };
        }
        from += 62;
    }
    Ok(None)
}

/// Checks a block with odd bytes besides its line ends. HTAB and bytes from 0x80 on are allowed in
/// values; CR and LF only together.
#[inline(always)]
fn examine<B: Block>(block: B, bytes: &[u8; LINE_BLOCK], keep: u64) -> Result<(), Error> {
    let bytes = scan::first_64(bytes);
    let controls = !block.outside(bytes, &CONTROL);
    if controls & keep != 0 {
        return Err(Error::Control);
    }
    let (lf, cr) = (block.equal(bytes, b'\n'), block.equal(bytes, b'\r'));
    // The first two bytes are the last ones of the previous block or of the request line.
    if (lf ^ cr << 1) & keep >> 2 << 2 != 0 { Err(Error::LineEnd) } else { Ok(()) }
}

/// Takes the field line from `line` to its CR at `eol`, after the byte `last`, if it is a Host
/// field, the first field of nearly every head. The name lookup is skipped then: a predicted branch
/// replaces a chain of loads that takes longer than the rest of a short head.
#[inline(always)]
fn host_line(
    input: Padded<'_>,
    line: usize,
    eol: usize,
    last: u8,
    fields: &mut Slots<'_, Field>,
    facts: &mut Facts,
) -> bool {
    let near = input.bytes(line);
    let is_host = (word(near, 0) | 0x2020_2020) << 16 == u64::from_le_bytes(*b"\0\0host: ");
    if !is_host || near[6] <= b' ' || last <= b' ' {
        return false;
    }
    let (from, known) = (line as u32 + 6, Known::Host);
    let value_len = eol as u32 - from;
    let field =
        Field { name_at: line as u32, value_at: from, value_len, name_len: 4, known, flags: 0 };
    facts.begin(Span { at: from, len: value_len });
    fields.push(field)
}

/// Takes the field line from `line` to its CR at `eol`; `last` is the byte before `eol`.
#[inline(always)]
fn field_line<B: Block>(
    block: B,
    input: Padded<'_>,
    line: usize,
    eol: usize,
    last: u8,
    fields: &mut Slots<'_, Field>,
    facts: &mut Facts,
) -> Result<(), Error> {
    // Nearly every line begins with a known name, a colon and one blank, which one comparison
    // confirms.
    let near = input.bytes(line - 4);
    let name = block.name(near);
    let name_len = block.octets(name, b':').trailing_zeros() as usize;
    let known = field::candidate(half(near, 4), half(near, name_len), name_len);
    let (start, mask) = field::line_start(known);
    let other = block.differing(name, start) & mask != 0;
    let mut parts = Parts {
        from: (line + name_len + 2) as u32,
        to: eol as u32,
        name_len: name_len as u16,
        known,
    };
    if other || near[name_len + 6] <= b' ' || last <= b' ' {
        parts = other_line(input, line, eol);
        if parts.name_len == 0 {
            return Err(bad_name(input, line));
        }
    }
    let Parts { from, to, name_len, known } = parts;
    let (name_at, value_len) = (line as u32, to - from);
    if !fields.push(Field { name_at, value_at: from, value_len, name_len, known, flags: 0 }) {
        return Err(Error::TooManyFields);
    }
    if (known as u8).wrapping_sub(1) < Known::LAST_FRAMING as u8 {
        return facts.note(input, known, Span { at: from, len: value_len }, eol);
    }
    Ok(())
}

/// The parts of a field line; fits two registers.
#[derive(Clone, Copy)]
struct Parts {
    from: u32,
    to: u32,
    /// 0 if it is unknown.
    name_len: u16,
    known: Known,
}

/// Any other field line: its name is not known, not followed by a colon and exactly one blank, or
/// the line ends with a blank.
#[inline(never)]
fn other_line(input: Padded<'_>, line: usize, eol: usize) -> Parts {
    let text = &input.data()[line..eol];
    let name_len = text.iter().position(|&b| !TOKEN.has(b)).unwrap_or(text.len());
    let mut parts = Parts { from: 0, to: 0, name_len: 0, known: Known::Other };
    if name_len == 0 || name_len > u16::MAX as usize || text.get(name_len) != Some(&b':') {
        return parts;
    }
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let value = &text[name_len + 1..];
    let before = value.iter().position(|b| !blank(b)).unwrap_or(value.len());
    let after = value[before..].iter().rev().position(|b| !blank(b)).unwrap_or(0);
    parts.from = (line + name_len + 1 + before) as u32;
    parts.to = (eol - after) as u32;
    parts.name_len = name_len as u16;
    parts.known = Known::of(&text[..name_len]);
    parts
}

#[cold]
#[inline(never)]
fn bad_name(input: Padded<'_>, line: usize) -> Error {
    if matches!(input.byte(line), b' ' | b'\t') { Error::Fold } else { Error::FieldName }
}

/// The head is incomplete: `Ok(None)` unless it already exceeds the limits.
#[cold]
fn incomplete(
    input: Padded<'_>,
    resume: &mut Resume,
    limits: &Limits,
) -> Result<Option<Head>, Error> {
    let len = input.len() as u32;
    *resume = Resume { scanned: len, parsed: len };
    if input.len() <= limits.head.min(limits.request_line) as usize {
        return Ok(None);
    }
    let line = input.data().iter().position(|&b| b == b'\n');
    if line.unwrap_or(input.len()) > limits.request_line as usize + 3 {
        return Err(target::too_long(input.data(), limits));
    }
    if input.len() > limits.head as usize { Err(Error::HeadTooLong) } else { Ok(None) }
}

/// A mask over the first `count` bits, all of them from 64 on.
#[inline(always)]
fn low_bits(count: usize) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}
