//! Request heads: one pass over the bytes, each field classified and what frames the message
//! extracted on the way.
//!
//! The walk has two speeds. By 64-byte blocks it finds line ends and control characters (and checks
//! there that every CR has its LF and every LF its CR); by field it loads the name once, finds
//! where the token ends and knows the name. It copies nothing and allocates nothing once `fields`
//! has grown to the limit. RFC 9112 sections 2 to 6, read strictly.

use super::framing::Facts;
use super::target::{self, RequestLine};
use super::{Error, Span};
use crate::field::{self, Field, Known};
use crate::scan::{self, Backend, Block, CONTROL, Lines, PAD, Padded, TOKEN, Work};
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

/// How far an incomplete head has been looked at, so that the next call does not begin again. One
/// per connection; starts as `Resume::default()` and is that again after a head was returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// Bytes in which the end of the head is not.
    scanned: u32,
    /// Bytes of the last whole parse.
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
    /// Any other token: see [`Head::method_span`].
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

/// A parsed request head: offsets into the input and numbers. The fields are in the caller's `Vec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the head, the empty line (and an empty line before the request line) included.
    pub len: u32,
    /// The method.
    pub method: Method,
    /// The method's name.
    pub method_span: Span,
    /// The request target as it came.
    pub target: Span,
    /// The path without the query. Begins with `/`, except for `OPTIONS *` (where it is `*`) and
    /// CONNECT (where it is empty). Still percent-encoded.
    pub path: Span,
    /// What follows the first `?`, if there is one.
    pub query: Option<Span>,
    /// The version.
    pub version: Version,
    /// The authority: of the target if that is in absolute or authority form, else the Host field's
    /// value. `None` only in HTTP/1.0.
    pub host: Option<Span>,
    /// How the body is delimited.
    pub framing: Framing,
    /// The connection ends after this exchange: `Connection: close`, or HTTP/1.0 without
    /// `keep-alive`.
    pub close: bool,
    /// `Connection: keep-alive` was said; an HTTP/1.0 peer wants to hear it back.
    pub keep_alive: bool,
    /// `Connection: upgrade` was said and there is an Upgrade field.
    pub upgrade: bool,
    /// As `upgrade`, for `h2c`, with exactly one HTTP2-Settings field, listed in Connection, and no
    /// body.
    pub upgrade_h2c: bool,
    /// The peer waits for a 100 (Continue) before it sends the body.
    pub expect_continue: bool,
}

/// Parses the request head at the beginning of `input`. `Ok(None)`: it is not all there yet.
///
/// `fields` is emptied first and holds the head's fields when one is returned; reserve
/// [`Limits::fields`] once and it never allocates. One empty line before the request line is passed
/// over (RFC 9112 section 2.2).
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
        fields.clear();
        if resume.scanned != 0 && !worth_parsing(input, resume, limits) {
            return Ok(None);
        }
        match parse_head(block, input, fields, limits)? {
            Some(head) => {
                *resume = Resume::default();
                Ok(Some(head))
            }
            None => {
                fields.clear();
                let len = input.len() as u32;
                *resume = Resume { scanned: len, parsed: len };
                too_long(input, limits)
            }
        }
    }
}

/// After an incomplete parse: whether the end of the head has come, or so much that errors should
/// be looked for again. The second doubles each time, so that a head which trickles in costs time
/// linear in its length.
#[cold]
fn worth_parsing(input: Padded<'_>, resume: &mut Resume, limits: &Limits) -> bool {
    let data = input.data();
    // A line feed with another two bytes before it; a false alarm such as LF x LF costs one parse
    // that then fails.
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
    fields: &mut Vec<Field>,
    limits: &Limits,
) -> Result<Option<Head>, Error> {
    let Some(line) = target::request_line(block, input, limits)? else {
        return Ok(None);
    };
    let mut facts = Facts::default();
    let Some(end) = walk(block, input, line.end, fields, &mut facts, limits)? else {
        return Ok(None);
    };
    if end > limits.head as usize {
        return Err(Error::HeadTooLong);
    }
    finish(block, input, end, &line, &facts).map(Some)
}

/// Walks the field lines from `start` on; the offset behind the empty line that ends them, `None`
/// if it is not there yet.
#[inline(always)]
fn walk<B: Block>(
    block: B,
    input: Padded<'_>,
    start: usize,
    fields: &mut Vec<Field>,
    facts: &mut Facts,
    limits: &Limits,
) -> Result<Option<usize>, Error> {
    let len = input.len();
    let (mut base, mut line) = (start, start);
    // What the two bytes before the block were: the request line's LF is the byte before the first
    // one.
    let (mut odd_carry, mut lf_carry) = (0, 0b10);
    loop {
        let Lines { lf, odd } = block.lines(input.bytes(base));
        let left = len - base;
        let valid = low_bits(left);
        let lf = lf & valid;
        let end = lf & (lf << 2 | lf_carry);
        // Up to and including the line feed that ends the head; everything if there is none.
        let keep = (end ^ end.wrapping_sub(1)) & valid;
        // In an ordinary block each odd byte is an LF or the one before an LF.
        let before = odd & !lf;
        if (lf ^ (before << 1 | odd_carry)) & keep != 0 {
            examine(block, input, base, keep)?;
        }
        let mut ends = lf & keep & !end;
        while ends != 0 {
            let eol = base + ends.trailing_zeros() as usize - 1;
            ends &= ends - 1;
            let field = field_line(block, input, line, eol)?;
            if fields.len() == limits.fields as usize {
                return Err(Error::TooManyFields);
            }
            if field.known != Known::Other && field.known <= Known::LAST_FRAMING {
                facts.note(input, &field, eol)?;
            }
            fields.push(field);
            line = eol + 2;
        }
        if end != 0 {
            let lf = base + end.trailing_zeros() as usize;
            return if input.byte(lf - 1) == b'\r' {
                Ok(Some(lf + 1))
            } else {
                Err(Error::LineEnd)
            };
        }
        if left < 64 {
            return Ok(None);
        }
        odd_carry = before >> 63;
        lf_carry = lf >> 62;
        base += 64;
    }
}

/// Looks closer at a block with odd bytes besides its line ends, and at the byte before it: HTAB
/// and bytes from 0x80 on may stand in a value; CR and LF only together.
#[inline(always)]
fn examine<B: Block>(block: B, input: Padded<'_>, base: usize, keep: u64) -> Result<(), Error> {
    let (bytes, before) = (input.bytes(base), input.byte(base - 1));
    let controls = !block.outside(bytes, &CONTROL) & keep;
    if controls != 0 || CONTROL.has(before) {
        return Err(Error::Control);
    }
    let (lf, cr) = (block.equal(bytes, b'\n'), block.equal(bytes, b'\r'));
    let carry = u64::from(before == b'\r');
    if (lf ^ (cr << 1 | carry)) & keep != 0 { Err(Error::LineEnd) } else { Ok(()) }
}

/// The field line from `line` to `eol`, which is the byte before its LF.
#[inline(always)]
fn field_line<B: Block>(
    block: B,
    input: Padded<'_>,
    line: usize,
    eol: usize,
) -> Result<Field, Error> {
    let [last, cr, ..] = *input.bytes(eol - 1);
    if cr != b'\r' {
        return Err(Error::LineEnd);
    }
    // Nearly every line begins with a known name, a colon and one blank, which one comparison finds
    // out.
    let near = input.bytes(line - 4);
    let name = block.name(near);
    let mut name_len = block.colons(name).trailing_zeros() as usize;
    let mut known = field::candidate(half(near, 4), half(near, name_len), name_len);
    let same = block.differing(name, field::line_start(known)).trailing_zeros() as usize;
    let mut from = line + name_len + 2;
    let mut first = near[name_len + 6];
    if same < name_len + 2 {
        name_len = other_name(block, input, line)?;
        known = Known::of(&input.data()[line..line + name_len]);
        from = line + name_len + 1;
        from += usize::from(input.byte(from) == b' ');
        first = input.byte(from);
    }
    let mut to = eol;
    if first <= b' ' || last <= b' ' {
        (from, to) = trim(input, from, to);
    }
    Ok(Field {
        name_at: line as u32,
        value_at: from as u32,
        value_len: (to - from) as u32,
        name_len: name_len as u16,
        known,
        flags: 0,
    })
}

#[inline(always)]
fn half(near: &[u8; PAD], at: usize) -> u32 {
    u32::from_le_bytes([near[at], near[at + 1], near[at + 2], near[at + 3]])
}

/// The length of a name that is not one of ours followed by a colon and one blank.
#[inline(always)]
fn other_name<B: Block>(block: B, input: Padded<'_>, line: usize) -> Result<usize, Error> {
    let gaps = block.outside(input.bytes(line), &TOKEN);
    let len = if gaps != 0 { gaps.trailing_zeros() as usize } else { long_name(input, line) };
    // CR is no token character, so the colon, if it is one, lies within the line.
    if input.byte(line + len) != b':' || len == 0 || len > u16::MAX as usize {
        return Err(bad_name(input, line));
    }
    Ok(len)
}

#[cold]
#[inline(never)]
fn long_name(input: Padded<'_>, line: usize) -> usize {
    let name = &input.data()[line..];
    name.iter().position(|&b| !TOKEN.has(b)).unwrap_or(0)
}

#[cold]
#[inline(never)]
fn bad_name(input: Padded<'_>, line: usize) -> Error {
    if matches!(input.byte(line), b' ' | b'\t') { Error::Fold } else { Error::FieldName }
}

/// Takes SP and HTAB off both ends of a value.
#[cold]
#[inline(never)]
fn trim(input: Padded<'_>, mut from: usize, mut to: usize) -> (usize, usize) {
    let blank = |at: usize| matches!(input.byte(at), b' ' | b'\t');
    while from < to && blank(from) {
        from += 1;
    }
    while from < to && blank(to - 1) {
        to -= 1;
    }
    (from, to.max(from))
}

#[inline(always)]
fn finish<B: Block>(
    block: B,
    input: Padded<'_>,
    end: usize,
    line: &RequestLine,
    facts: &Facts,
) -> Result<Head, Error> {
    let host = match (facts.host, line.authority) {
        (None, _) if line.version == Version::H11 => return Err(Error::HostMissing),
        (field, authority) => {
            if let Some(host) = field {
                target::check_host(block, input, host)?;
            }
            authority.or(field)
        }
    };
    let framing = facts.framing(line.version)?;
    let old = line.version == Version::H10;
    let upgrade = facts.upgrade && facts.says_upgrade && !old;
    Ok(Head {
        len: end as u32,
        method: line.method,
        method_span: line.method_span,
        target: line.target,
        path: line.path,
        query: line.query,
        version: line.version,
        host,
        framing,
        close: facts.says_close || (old && !facts.says_keep_alive),
        keep_alive: facts.says_keep_alive && !facts.says_close,
        upgrade,
        upgrade_h2c: upgrade && facts.h2c && facts.one_settings() && framing == Framing::None,
        // RFC 9110 section 10.1.1: a 100-continue expectation in an HTTP/1.0 request is ignored.
        expect_continue: facts.expects && !old,
    })
}

/// `Ok(None)` unless the limits are passed already.
#[cold]
fn too_long(input: Padded<'_>, limits: &Limits) -> Result<Option<Head>, Error> {
    if input.len() <= limits.head.min(limits.request_line) as usize {
        return Ok(None);
    }
    let line = input.data().iter().position(|&b| b == b'\n');
    if line.unwrap_or(input.len()) > limits.request_line as usize + 3 {
        return Err(Error::LineTooLong);
    }
    if input.len() > limits.head as usize { Err(Error::HeadTooLong) } else { Ok(None) }
}

/// A mask over the first `count` bits, all of them from 64 on.
#[inline(always)]
fn low_bits(count: usize) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}
