//! What a fuzz target asserts about an input: shared by `codec/fuzz` and by the tests that replay
//! its corpora.

#![allow(dead_code)]

use ringway_codec::date::{self, Date};
use ringway_codec::field::{Field, Known};
use ringway_codec::h1::chunked::{ChunkedDecoder, Item};
use ringway_codec::h1::request::{self, Limits, Resume};
use ringway_codec::scan::{Backend, PAD, Padded};
use ringway_codec::{hpack, huffman, qpack};

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
        assert_eq!(theirs.method.map(str::as_bytes), Some(head.line.method_span.of(data)));
        assert_eq!(theirs.path.map(str::as_bytes), Some(head.line.target.of(data)));
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
        let (mut decoder, mut at, mut body) = (ChunkedDecoder::default(), 0, vec![]);
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

/// The Huffman code: every backend decodes the same and refuses the same as the scalar one, and
/// codes any octets so that they come back.
pub(crate) fn huffman(input: &[u8]) {
    let decode = |backend| {
        let mut out = b"kept".to_vec();
        let result = huffman::decode(backend, input, &mut out);
        assert_eq!(&out[..4], b"kept");
        assert!(result.is_ok() || out.len() == 4);
        (result.is_ok(), out)
    };
    let mut coded = vec![];
    huffman::encode(Backend::Scalar, input, &mut coded);
    for backend in Backend::available() {
        assert_eq!(decode(backend), decode(Backend::Scalar));
        let mut again = vec![];
        huffman::encode(backend, input, &mut again);
        assert_eq!(again, coded);
        let mut plain = vec![];
        huffman::decode(backend, &coded, &mut plain).expect("our own");
        assert_eq!(plain, input);
    }
}

const HPACK: hpack::FieldLimits = hpack::FieldLimits { list_bytes: 8192, fields: 50 };

/// The fields of the blocks in `input`, each behind its length in two octets.
fn hpack_blocks(backend: Backend, input: &[u8]) -> (Vec<u8>, Vec<Field>, bool) {
    let mut decoder = hpack::Decoder::new(backend, 4096);
    let (mut bytes, mut fields) = (vec![], vec![]);
    let mut rest = input;
    while let [high, low, more @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let (block, more) = more.split_at(more.len().min(len));
        rest = more;
        let before = (bytes.len(), fields.len());
        let Ok(section) = decoder.decode(block, &HPACK, &mut bytes, &mut fields) else {
            return (bytes, fields, false);
        };
        assert!(fields.len() - before.1 <= 50);
        assert!(bytes.len() - before.0 <= 8192);
        assert_eq!(section.flaws.over_limit(), fields.len() - before.1 < section.lines as usize);
        assert!(decoder.memory() <= 8192);
    }
    (bytes, fields, true)
}

/// HPACK blocks on one connection: bounded, every backend alike; and what was decoded survives our
/// encoder.
pub(crate) fn hpack(input: &[u8]) {
    let (bytes, fields, ended) = hpack_blocks(Backend::Scalar, input);
    for backend in Backend::available() {
        let (own_bytes, own_fields, own_ended) = hpack_blocks(backend, input);
        assert_eq!(own_ended, ended);
        if ended {
            assert_eq!((&own_bytes, &own_fields), (&bytes, &fields));
        }
        let mut wire = vec![];
        hpack::Encoder::new(backend, 4096).block(&mut wire).fields(&bytes, &fields);
        let (mut again, mut kept) = (vec![], vec![]);
        let limits = hpack::FieldLimits { list_bytes: u32::MAX, fields: u32::MAX };
        let mut decoder = hpack::Decoder::new(backend, 4096);
        decoder.decode(&wire, &limits, &mut again, &mut kept).expect("our own");
        assert_eq!(kept.len(), fields.len());
        for (field, own) in fields.iter().zip(&kept) {
            assert_eq!(own.value(&again), field.value(&bytes));
            assert!(own.name(&again).eq_ignore_ascii_case(field.name(&bytes)));
        }
    }
}

const QPACK: qpack::FieldLimits = qpack::FieldLimits { list_bytes: 8192, fields: 50 };

/// A QPACK connection's three streams: bounded, never a panic.
pub(crate) fn qpack(input: &[u8]) {
    let backend = Backend::detect();
    let mut decoder = qpack::Decoder::new(backend, 512, 4);
    let mut encoder = qpack::Encoder::new(backend, 512);
    encoder.set_peer_settings(512, 4);
    let (mut instructions, mut stream) = (vec![], 0);
    // Pieces: what it is for, its length, its octets.
    let mut rest = input;
    while let [kind, len, more @ ..] = rest {
        let (piece, more) = more.split_at(more.len().min(usize::from(*len)));
        rest = more;
        stream += 4;
        let (mut bytes, mut fields) = (vec![], vec![]);
        let result = match kind % 5 {
            0 => decoder.read_encoder_stream(piece),
            1 => decoder
                .decode(u64::from(kind / 5), piece, &QPACK, &mut bytes, &mut fields)
                .map(|_| ()),
            2 => encoder.read_decoder_stream(piece),
            3 => decoder.cancel(u64::from(kind / 5)),
            _ => {
                let mut out = vec![];
                let mut block = encoder.block(stream, &mut out, &mut instructions);
                for pair in piece.chunks(9) {
                    let (name, value) = pair.split_at(pair.len().min(2));
                    block.field(Known::of(name), name, value);
                }
                block.finish();
                Ok(())
            }
        };
        assert!(fields.len() <= 50 && bytes.len() <= 8192);
        for field in &fields {
            assert_eq!(Known::of(field.name(&bytes)), field.known);
            let _ = field.value(&bytes);
        }
        while decoder.unblocked().is_some() {}
        assert!(decoder.memory() <= 40_000 && encoder.memory() <= 20_000);
        if result.is_err() {
            return;
        }
    }
}
