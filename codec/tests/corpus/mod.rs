//! What a fuzz target asserts about an input: shared by `codec/fuzz` and by the tests that replay
//! its corpora.

#![allow(dead_code)]

use ringway_codec::date::{self, Date};
use ringway_codec::h1::chunked::{Decoder, Item};
use ringway_codec::h1::request::{self, Limits, Resume};
use ringway_codec::scan::{Backend, PAD, Padded};

/// A request head: all backends agree, ours accepts only what httparse accepts and reads it the
/// same way, and feeding it byte by byte changes nothing.
pub(crate) fn h1_request(data: &[u8]) {
    let mut whole = data.to_vec();
    whole.extend([b'\n'; PAD]);
    let parse = |backend, len, resume: &mut Resume| {
        let mut fields = vec![];
        let input = Padded::new(&whole, len);
        let head = request::parse(backend, input, &mut fields, resume, &Limits::default());
        (head, fields)
    };
    let expected = parse(Backend::Scalar, data.len(), &mut Resume::default());
    for backend in Backend::available() {
        assert_eq!(parse(backend, data.len(), &mut Resume::default()), expected, "{backend}");
    }
    let (Ok(Some(head)), fields) = &expected else { return };
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut theirs = httparse::Request::new(&mut headers);
    // httparse knows no minor version but 0 and 1.
    if let Ok(status) = theirs.parse(data) {
        assert_eq!(status, httparse::Status::Complete(head.len as usize));
        assert_eq!(theirs.method.map(str::as_bytes), Some(head.method_span.of(data)));
        assert_eq!(theirs.path.map(str::as_bytes), Some(head.target.of(data)));
        let theirs = theirs.headers.iter().map(|h| (h.name.as_bytes(), h.value));
        assert!(fields.iter().map(|f| (f.name(data), f.value(data))).eq(theirs));
    }
    let backend = Backend::detect();
    let mut resume = Resume::default();
    let mut lengths = (0..=data.len()).map(|len| parse(backend, len, &mut resume));
    let first = lengths.find(|(head, _)| !matches!(head, Ok(None)));
    assert_eq!(first.as_ref(), Some(&expected));
}

/// A chunked body: whole and byte by byte give the same.
pub(crate) fn h1_chunked(data: &[u8]) {
    let decode = |step: usize| {
        let (mut decoder, mut at, mut body) = (Decoder::default(), 0, vec![]);
        for len in (0..data.len()).step_by(step).chain([data.len()]) {
            loop {
                match decoder.next(&data[..len], &mut at) {
                    Ok(Item::Data(range)) => body.extend_from_slice(&data[range]),
                    Ok(Item::Trailer(field)) => {
                        body.extend_from_slice(field.name(data));
                        body.extend_from_slice(field.value(data));
                    }
                    Ok(Item::More) => break,
                    Ok(Item::End) => return Ok(Some((body, at))),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(None)
    };
    assert_eq!(decode(1), decode(data.len() + 1));
}

/// A date: what is read is written and read again as the same second.
pub(crate) fn date(data: &[u8]) {
    if let Some(unix) = date::parse(data) {
        assert_eq!(date::parse(Date::new(unix).imf()), Some(unix));
    }
}
