//! The counted rows: one line each, a name and a function that prepares one unit of work.

use crate::pack;
#[cfg(feature = "server")]
use crate::server;
use ringway_codec::date::Date;
use ringway_codec::h1::chunked::{ChunkedDecoder, Item};
use ringway_codec::h1::request::{self, Limits, Resume};
use ringway_codec::h1::response::Template;
use ringway_codec::scan::{Backend, PAD, Padded};
use std::hint::black_box;

/// Prepares a row's work for a backend.
pub(crate) type Prepare = fn(Backend) -> Box<dyn FnMut()>;

/// Every row. Names begin with the codec's name, or with `server`.
pub(crate) const ROWS: &[(&str, Prepare)] = &[
    ("h1-request-47", |b| request(b, include_bytes!("../../data/head-47.http"))),
    ("h1-request-382", |b| request(b, include_bytes!("../../data/head-382.http"))),
    ("h1-request-703", |b| request(b, include_bytes!("../../data/head-703.http"))),
    ("h1-request-2048", |b| request(b, include_bytes!("../../data/head-2048.http"))),
    ("h1-response", |_| response()),
    ("h1-chunked", |_| chunked()),
    ("hpack-decode-literal", pack::hpack_decode_literal),
    ("hpack-decode-steady", pack::hpack_decode_steady),
    ("hpack-encode-literal", pack::hpack_encode_literal),
    ("hpack-encode-steady", pack::hpack_encode_steady),
    ("huffman-decode", pack::huffman_decode),
    ("huffman-encode", pack::huffman_encode),
    ("qpack-decode-dynamic", pack::qpack_decode),
    ("qpack-encode-dynamic", pack::qpack_encode),
    #[cfg(feature = "server")]
    ("server-h1", server::h1),
    #[cfg(feature = "server")]
    ("server-h2", server::h2_single),
    #[cfg(feature = "server")]
    ("server-h2-100-streams", server::h2_many),
];

fn request(backend: Backend, head: &'static [u8]) -> Box<dyn FnMut()> {
    let mut whole = head.to_vec();
    whole.extend([0; PAD]);
    let limits = Limits::default();
    let mut fields = Vec::with_capacity(limits.fields as usize);
    Box::new(move || {
        let input = Padded::new(black_box(&whole), head.len());
        let parsed = request::parse(backend, input, &mut fields, &mut Resume::default(), &limits);
        assert!(matches!(parsed, Ok(Some(_))));
        black_box((&parsed, &fields));
    })
}

fn response() -> Box<dyn FnMut()> {
    let template = Template::new(200, &[(b"content-type", b"text/plain")]);
    let date = Date::new(784_111_777);
    let mut out = Vec::with_capacity(4096);
    Box::new(move || {
        out.clear();
        template.write(&mut out, black_box(&date), black_box(13));
        black_box(&out);
    })
}

/// Sixteen chunks of 64 bytes.
fn chunked() -> Box<dyn FnMut()> {
    let mut body = Vec::new();
    for _ in 0..16 {
        body.extend_from_slice(b"40\r\n");
        body.resize(body.len() + 64, b'x');
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    Box::new(move || {
        let (mut decoder, mut at, mut total) = (ChunkedDecoder::default(), 0, 0);
        loop {
            match decoder.next(black_box(&body), &mut at) {
                Ok(Item::Data(range)) => total += range.len(),
                Ok(Item::End) => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(total == 16 * 64);
    })
}
