//! From a file and what was asked of it to the response: 200, 206, 304, 406, 412 or 416.
//!
//! Decides and assembles; nothing here waits. A file in memory costs no allocation unless a range
//! of it is asked for. RFC 9110 sections 13 to 15.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;
use ringway_codec::date::Date;

use super::conditional::{RequestFields, Validators, Verdict};
use super::etag::ETag;
use super::file::{File, FileContent, Form};
use super::multipart::{self, Multipart};
use super::range;
use crate::app::body::{BodyWriter, Producer};
use crate::app::content_coding::{Accepted, Coding};
use crate::app::response::{Body, Response};
use crate::app::shared_fields::SharedFields;
use crate::rt::fs;

/// Answers GET and HEAD (`head`) of `file`; `accepted` is what `Accept-Encoding` says.
pub(crate) fn respond(
    file: &File,
    head: bool,
    asked: &RequestFields<'_>,
    accepted: Accepted,
) -> Response {
    let form = accepted.choose(file.codings.get()).and_then(|coding| file.form(coding));
    let Some(form) = form else { return not_acceptable() };
    with_expiry(file, decide(file, form, head, asked))
}

/// Answers a request without conditions for a form of `file`.
#[inline]
pub(crate) fn ordinary(file: &File, form: &Form) -> Response {
    with_expiry(file, whole(form))
}

#[inline]
fn with_expiry(file: &File, mut response: Response) -> Response {
    if let Some(seconds) = file.max_age
        && matches!(response.status_code().as_u16(), 200 | 206 | 304)
    {
        let date = Date::new(unix_seconds() + i64::from(seconds));
        response.fields.push(b"expires", date.imf());
    }
    response
}

fn decide(file: &File, form: &Form, head: bool, asked: &RequestFields<'_>) -> Response {
    if asked.is_plain() {
        return whole(form);
    }
    // A client that has the other tag keeps it: parts are put together, and stored answers brought
    // up to date, by equal tags (RFC 9110, 15.3.7.3; RFC 9111, 4.3.4).
    let named = |tag: &ETag| asked.names(tag.as_bytes());
    let former = form.former.as_ref().filter(|former| named(former) && !named(&form.etag));
    let mut response = decide_by(former.unwrap_or(&form.etag), file, form, head, asked);
    if let Some(tag) = former {
        retag(&mut response, tag);
    }
    response
}

/// Puts `tag` in the place of the form's own.
fn retag(response: &mut Response, tag: &ETag) {
    let own = std::mem::take(&mut response.fields);
    let shared = response.shared.take();
    for (_, _, name, value) in shared.iter().flat_map(|block| block.iter()).chain(own.iter()) {
        let is_tag = name.eq_ignore_ascii_case(b"etag");
        response.fields.push(name, if is_tag { tag.as_bytes() } else { value });
    }
}

fn decide_by(
    etag: &ETag,
    file: &File,
    form: &Form,
    head: bool,
    asked: &RequestFields<'_>,
) -> Response {
    let current = Validators {
        etag: etag.as_bytes(),
        modified: file.modified,
        changed: file.changed,
        now: unix_seconds(),
    };
    match asked.evaluate(&current) {
        Verdict::Proceed => {}
        Verdict::NotModified => {
            return shared(StatusCode::NOT_MODIFIED, &form.unchanged, Body::Empty);
        }
        Verdict::Failed => return StatusCode::PRECONDITION_FAILED.into(),
    }
    let size = form.content.len();
    // RFC 9110, 14.2: a Range is defined for GET alone.
    let range = if head { None } else { asked.range(&current) };
    match range.map_or(range::RangeRequest::Whole, |range| range::parse(range, size)) {
        range::RangeRequest::Whole => whole(form),
        range::RangeRequest::One(range) => part(form, range, size),
        range::RangeRequest::Many(ranges) => parts(form, ranges, size, file.content_type),
        range::RangeRequest::Unsatisfiable => {
            let mut response = Response::from(StatusCode::RANGE_NOT_SATISFIABLE);
            let value = multipart::unsatisfied(size);
            response.fields.push(b"content-range", value.as_bytes());
            response
        }
    }
}

/// `file` as the body of an error response, or as any status that knows no conditions.
pub(crate) fn page(file: &File, status: StatusCode) -> Response {
    let Some(form) = file.form(Coding::Identity) else { return status.into() };
    let body = whole(form).body;
    Response::typed(file.content_type, body).status(status)
}

#[inline]
fn whole(form: &Form) -> Response {
    let body = match &form.content {
        FileContent::Memory(bytes) => Body::Local(Rc::clone(bytes), 0..bytes.len()),
        FileContent::Disk(file, size) => stream(file, vec![Piece::File(0..*size)], *size),
    };
    shared(StatusCode::OK, &form.fields, body)
}

fn part(form: &Form, range: Range<u64>, size: u64) -> Response {
    let value = multipart::content_range(&range, size);
    let body = match &form.content {
        FileContent::Memory(bytes) => {
            Body::Local(Rc::clone(bytes), range.start as usize..range.end as usize)
        }
        FileContent::Disk(file, _) => {
            let length = range.end - range.start;
            stream(file, vec![Piece::File(range)], length)
        }
    };
    let mut response = shared(StatusCode::PARTIAL_CONTENT, &form.fields, body);
    response.fields.push(b"content-range", value.as_bytes());
    response
}

fn parts(form: &Form, ranges: Vec<Range<u64>>, size: u64, content_type: &str) -> Response {
    let layout = Multipart::new(ranges, size, content_type);
    let mut response = Response::new(StatusCode::PARTIAL_CONTENT);
    response.fields.push(b"content-type", layout.content_type.as_bytes());
    for (_, _, name, value) in form.fields.iter().filter(|(_, _, name, _)| *name != b"content-type")
    {
        response.fields.push(name, value);
    }
    response.body = match &form.content {
        FileContent::Memory(bytes) => {
            let mut body = Vec::with_capacity(layout.len as usize);
            for (head, range) in &layout.parts {
                body.extend_from_slice(head);
                body.extend_from_slice(&bytes[range.start as usize..range.end as usize]);
            }
            body.extend_from_slice(&layout.tail);
            Body::Bytes(body)
        }
        FileContent::Disk(file, _) => {
            let pieces = layout
                .parts
                .into_iter()
                .flat_map(|(head, range)| [Piece::Text(head), Piece::File(range)])
                .chain([Piece::Text(layout.tail)])
                .collect();
            stream(file, pieces, layout.len)
        }
    };
    response
}

#[inline]
fn shared(status: StatusCode, fields: &Rc<SharedFields>, body: Body) -> Response {
    let mut response = Response::new(status);
    response.shared = Some(Rc::clone(fields));
    response.body = body;
    response
}

fn unix_seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// 406: every form there is was excluded by name.
fn not_acceptable() -> Response {
    let mut response = Response::from(StatusCode::NOT_ACCEPTABLE);
    response.fields.push(b"vary", b"accept-encoding");
    response
}

/// A piece of a body that is streamed.
enum Piece {
    /// These bytes.
    Text(Vec<u8>),
    /// These bytes of the file.
    File(Range<u64>),
}

/// Bytes per read. One chunk is on its way to the client while the next is read; larger ones gain
/// little and cost memory for each slow client.
const CHUNK: u64 = 128 * 1024;

/// A body of `length` bytes that reads `file` as it is sent.
fn stream(file: &Rc<OwnedFd>, pieces: Vec<Piece>, length: u64) -> Body {
    let file = Rc::clone(file);
    let produce = async move |mut out: BodyWriter| {
        for piece in pieces {
            let sent = match piece {
                Piece::Text(text) => out.write(text).await.is_ok(),
                Piece::File(range) => send(&file, range, &mut out).await,
            };
            if !sent {
                return out.abort();
            }
        }
    };
    Body::Stream(Producer::new(produce, Some(length)))
}

/// Sends a range; false when the file has become shorter, cannot be read, or nobody listens.
async fn send(file: &Rc<OwnedFd>, range: Range<u64>, out: &mut BodyWriter) -> bool {
    let mut at = range.start;
    while at < range.end {
        let room = CHUNK.min(range.end - at) as usize;
        let Ok(mut bytes) = fs::read_at(file, at, Vec::with_capacity(room)).await else {
            return false;
        };
        bytes.truncate(room);
        at += bytes.len() as u64;
        // Truncated while being sent: what was announced cannot be delivered (row 36).
        if bytes.is_empty() || out.write(bytes).await.is_err() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ringway_codec::field::Known;

    use super::*;
    use crate::app::response::FieldBlock;
    use crate::files::meta::Meta;
    use crate::files::settings::SiteSettings;

    const SECOND: i128 = 1_000_000_000;

    /// A file of 1000 bytes with a Brotli form of 10.
    fn file() -> File {
        let meta = |size| Some(Meta { size, modified_ns: 784_111_777 * SECOND, ..Meta::default() });
        let memory = |bytes: Vec<u8>| Some(FileContent::Memory(Rc::from(bytes)));
        let content = (0..1000).map(|n| n as u8).collect();
        File::new(
            b"app-3f2a9c1b.js",
            [meta(10), None, None, meta(1000)],
            [memory(vec![9; 10]), None, None, memory(content)],
            &SiteSettings::new("/", PathBuf::new()),
            2_000_000_000 * SECOND,
        )
    }

    fn ask(file: &File, lines: &[(&str, &str)]) -> Response {
        let lines =
            lines.iter().map(|(name, value)| (Known::of(name.as_bytes()), value.as_bytes()));
        let asked = RequestFields::gather(lines);
        respond(file, false, &asked, Accepted::parse(asked.accept_encoding.as_deref()))
    }

    fn field(response: &Response, name: &str) -> Option<String> {
        let mut fields = response.blocks().flat_map(FieldBlock::iter);
        let (.., value) = fields.find(|(_, _, other, _)| *other == name.as_bytes())?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    #[test]
    fn a_plain_get_has_all_fields() {
        let response = ask(&file(), &[]);
        assert_eq!((response.status_code().as_u16(), response.body.len()), (200, Some(1000)));
        for (name, value) in [
            ("content-type", "text/javascript; charset=utf-8"),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("cache-control", "public, max-age=31536000, immutable"),
            ("vary", "accept-encoding"),
            ("accept-ranges", "bytes"),
        ] {
            assert_eq!(field(&response, name).as_deref(), Some(value));
        }
        assert_eq!(field(&response, "content-encoding"), None);
        assert!(field(&response, "etag").is_some());
    }

    /// Rows B3 and B8.
    #[test]
    fn forms_differ_in_tag_and_encoding() {
        let file = file();
        let response = ask(&file, &[("accept-encoding", "br")]);
        assert_eq!(field(&response, "content-encoding").as_deref(), Some("br"));
        assert_eq!(response.body.bytes(), [9; 10]);
        assert_ne!(field(&response, "etag"), field(&ask(&file, &[]), "etag"));
        let none = ask(&file, &[("accept-encoding", "gzip, identity;q=0")]);
        assert_eq!(none.status_code().as_u16(), 406);
        assert_eq!(field(&none, "vary").as_deref(), Some("accept-encoding"));
    }

    /// Row B4: what a 304 carries, and that it is that of the chosen form.
    #[test]
    fn a_304_has_the_fields_that_caches_need() {
        let file = file();
        let tag = field(&ask(&file, &[("accept-encoding", "br")]), "etag").unwrap();
        let lines = [("accept-encoding", "br"), ("if-none-match", tag.as_str())];
        let response = ask(&file, &lines);
        assert_eq!((response.status_code().as_u16(), response.body.len()), (304, Some(0)));
        for name in ["etag", "cache-control", "vary"] {
            assert!(field(&response, name).is_some(), "{name}");
        }
        assert_eq!(field(&response, "content-type"), None);
        assert_eq!(ask(&file, &lines[1..]).status_code().as_u16(), 200);
    }

    #[test]
    fn preconditions_fail() {
        let response = ask(&file(), &[("if-match", "\"other\"")]);
        assert_eq!(response.status_code().as_u16(), 412);
    }

    /// Row B7.
    #[test]
    fn ranges() {
        let file = file();
        let one = ask(&file, &[("range", "bytes=10-19")]);
        assert_eq!(one.status_code().as_u16(), 206);
        assert_eq!(field(&one, "content-range").as_deref(), Some("bytes 10-19/1000"));
        assert_eq!(one.body.bytes(), (10..20).collect::<Vec<u8>>());
        let coded = ask(&file, &[("range", "bytes=-4"), ("accept-encoding", "br")]);
        assert_eq!(field(&coded, "content-range").as_deref(), Some("bytes 6-9/10"));
        let none = ask(&file, &[("range", "bytes=1000-")]);
        assert_eq!(none.status_code().as_u16(), 416);
        assert_eq!(field(&none, "content-range").as_deref(), Some("bytes */1000"));
        let stale = ask(&file, &[("range", "bytes=0-1"), ("if-range", "\"other\"")]);
        assert_eq!((stale.status_code().as_u16(), stale.body.len()), (200, Some(1000)));
        let asked = [(Known::Range, &b"bytes=0-1"[..])];
        let head =
            respond(&file, true, &RequestFields::gather(asked.into_iter()), Accepted::parse(None));
        assert_eq!(head.status_code().as_u16(), 200);
    }

    #[test]
    fn many_ranges_come_as_multipart() {
        let response = ask(&file(), &[("range", "bytes=0-1,500-501")]);
        assert_eq!(response.status_code().as_u16(), 206);
        let types: Vec<_> = response
            .blocks()
            .flat_map(FieldBlock::iter)
            .filter(|(_, known, _, _)| *known == Known::ContentType)
            .collect();
        assert_eq!(types.len(), 1);
        assert!(types[0].3.starts_with(b"multipart/byteranges; boundary="));
        let body = String::from_utf8_lossy(response.body.bytes()).into_owned();
        assert!(body.contains("Content-Range: bytes 500-501/1000\r\n\r\n"));
        assert!(response.body.len() < Some(2000));
    }

    fn at(modified_ns: i128, now: i128) -> File {
        let meta = Some(Meta { modified_ns, size: 1, ..Meta::default() });
        let content = Some(FileContent::Memory(Rc::from(&b"x"[..])));
        let settings = SiteSettings::new("/", PathBuf::new());
        File::new(b"a", [None, None, None, meta], [None, None, None, content], &settings, now)
    }

    /// F12: what is sent for a time in the future is the present, and no condition goes by it.
    #[test]
    fn f12_a_file_from_the_future_has_the_date_of_its_answer() {
        const NOW: i128 = 1_000_000_000 * SECOND;
        let file = at(NOW + SECOND, NOW);
        let told = field(&ask(&file, &[]), "last-modified");
        assert_eq!(told.as_deref(), Some("Sun, 09 Sep 2001 01:46:40 GMT"));
        for date in ["Sun, 09 Sep 2001 01:46:40 GMT", "Sun, 09 Sep 2001 01:46:41 GMT"] {
            let answer = ask(&file, &[("if-modified-since", date)]);
            assert_eq!(answer.status_code().as_u16(), 200, "{date}");
        }
        let lines = [("range", "bytes=0-0"), ("if-range", "Sun, 09 Sep 2001 01:46:40 GMT")];
        assert_eq!(ask(&file, &lines).status_code().as_u16(), 200);
    }

    /// F12: times that were erased say nothing.
    #[test]
    fn f12_a_file_with_an_erased_time_has_no_date() {
        const NOW: i128 = 1_000_000_000 * SECOND;
        const DOS: i128 = 315_532_800 * SECOND;
        for erased in [0, SECOND, 7 * SECOND / 2, -SECOND, DOS, DOS + SECOND / 2] {
            let file = at(erased, NOW);
            assert_eq!(field(&ask(&file, &[]), "last-modified"), None, "{erased}");
            let date = "Thu, 01 Jan 1970 00:00:01 GMT";
            for name in ["if-modified-since", "if-unmodified-since"] {
                assert_eq!(ask(&file, &[(name, date)]).status_code().as_u16(), 200, "{erased}");
            }
            let tag = field(&ask(&file, &[]), "etag").unwrap();
            let answer = ask(&file, &[("if-none-match", &tag), ("if-modified-since", date)]);
            assert_eq!(answer.status_code().as_u16(), 304);
        }
        let file = at(DOS + SECOND, NOW);
        let told = field(&ask(&file, &[]), "last-modified");
        assert_eq!(told.as_deref(), Some("Tue, 01 Jan 1980 00:00:01 GMT"));
    }
}
