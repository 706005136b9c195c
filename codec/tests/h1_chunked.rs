//! Chunked bodies through the public interface.

#![allow(clippy::unwrap_used)]

use ringway_codec::field::Known;
use ringway_codec::h1::Error;
use ringway_codec::h1::chunked::{ChunkLimits, ChunkedDecoder, Item};

type Decoded = Result<(Vec<u8>, Vec<(String, String)>, usize), Error>;

/// Decodes `input` as it comes in pieces that end at `cuts`, keeping what is not taken yet.
fn decode_in(input: &[u8], cuts: &[usize], limits: ChunkLimits) -> Option<Decoded> {
    let mut decoder = ChunkedDecoder::new(limits);
    let (mut body, mut trailers, mut at) = (vec![], vec![], 0);
    for &end in cuts.iter().chain([&input.len()]) {
        loop {
            match decoder.next(&input[..end], &mut at) {
                Ok(Item::Data(range)) => body.extend_from_slice(&input[range]),
                Ok(Item::Trailer(field)) => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    trailers.push((text(field.name(input)), text(field.value(input))));
                }
                Ok(Item::More) => break,
                Ok(Item::End) => {
                    assert!(decoder.is_done());
                    return Some(Ok((body, trailers, at)));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
    None
}

fn decode(input: &str) -> Option<Decoded> {
    decode_in(input.as_bytes(), &[], ChunkLimits::default())
}

const WHOLE: &str =
    "5;a=\"b\\\";\"\r\nhello\r\nA\r\n, world!!!\r\n000\r\nX-Sum:  1 \r\nHost: x\r\n\r\nGET";

#[test]
fn a_body_with_extensions_and_trailers() {
    let (body, trailers, at) = decode(WHOLE).unwrap().unwrap();
    assert_eq!(body, b"hello, world!!!");
    // Host in a trailer is passed over.
    assert_eq!(trailers, [("X-Sum".to_string(), "1".to_string())]);
    assert_eq!(&WHOLE[at..], "GET");
    assert_eq!(Known::of(b"x-sum"), Known::Other);
}

#[test]
fn every_split_gives_the_same() {
    let expected = decode(WHOLE);
    for cut in 0..WHOLE.len() {
        assert_eq!(decode_in(WHOLE.as_bytes(), &[cut], ChunkLimits::default()), expected, "{cut}");
    }
    let all: Vec<usize> = (0..WHOLE.len()).collect();
    assert_eq!(decode_in(WHOLE.as_bytes(), &all, ChunkLimits::default()), expected);
}

#[test]
fn malformed_bodies_are_refused() {
    for (input, error) in [
        ("0x1\r\n", Error::ChunkSize),
        ("-1\r\n", Error::ChunkSize),
        (" 1\r\n", Error::ChunkSize),
        ("\r\n", Error::ChunkSize),
        ("1 \r\n", Error::ChunkSize),
        ("1\n", Error::ChunkSize),
        ("11111111111111111\r\n", Error::ChunkSize),
        ("1\rx", Error::LineEnd),
        ("1;a\nX", Error::ChunkExtension),
        ("1;a\0\r\n", Error::ChunkExtension),
        ("1;\"\r\n", Error::ChunkExtension),
        ("1\r\nab", Error::ChunkEnd),
        ("1\r\na\rb", Error::ChunkEnd),
        ("1\r\na\n", Error::ChunkEnd),
        ("0\r\nA: b\n\r\n", Error::LineEnd),
        ("0\r\nA : b\r\n\r\n", Error::Trailer),
        ("0\r\n A: b\r\n\r\n", Error::Fold),
        ("0\r\nA: b\0\r\n\r\n", Error::Trailer),
        ("0\r\nA\r\n\r\n", Error::Trailer),
    ] {
        assert_eq!(decode(input), Some(Err(error)), "{}", input.escape_debug());
    }
    assert_eq!(decode("5\r\nhel"), None);
}

#[test]
fn extensions_are_held_to_their_grammar() {
    let with = |extension: &str| decode(&format!("1{extension}\r\nx\r\n0\r\n\r\n")).unwrap();
    for good in [
        ";a",
        ";a=b",
        ";a;b",
        ";a=b;c=\"d;\\\"\\\\\";e",
        " ; a = b ; c",
        "\t;\ta\t=\t\"b\" ;c",
        ";a=\"\"",
        ";chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    ] {
        assert_eq!(with(good).unwrap().0, b"x", "{good}");
    }
    for bad in [
        ";",
        "; ",
        ";;a",
        ";a;",
        ";a=",
        ";a= ",
        ";a=;b",
        ";=b",
        ";bad[=x",
        ";a b",
        ";a=b c",
        ";a=b=c",
        ";a=\"b\"c",
        ";a=b\"c\"",
        ";\"a\"",
        ";a=\"b\\",
        ";a=b ",
        ";a=\"b",
        ";a\u{e9}",
        ";a=\"\x7f\"",
        ";a\"",
    ] {
        assert_eq!(with(bad).map_err(Error::status), Err(400), "{bad}");
    }
}

#[test]
fn overhead_is_bounded() {
    let limits = ChunkLimits { extension_bytes: 10, trailer_bytes: 20, trailer_fields: 2 };
    let bounded = |input: &str| decode_in(input.as_bytes(), &[], limits);
    assert!(bounded("1;234\r\na\r\n1;234\r\na\r\n0\r\n\r\n").unwrap().is_ok());
    let over = "1;2345\r\na\r\n1;23456\r\na\r\n0\r\n\r\n";
    assert_eq!(bounded(over), Some(Err(Error::ChunkExtensions)));
    assert_eq!(bounded("0\r\nA: b\r\nA: b\r\nA: b\r\n\r\n"), Some(Err(Error::Trailers)));
    assert_eq!(bounded("0\r\nA: bbbbbbbbbbbbbbbbbbbbbb\r\n\r\n"), Some(Err(Error::Trailers)));
    let endless = format!("0\r\nA: {}", "b".repeat(30));
    assert_eq!(bounded(&endless), Some(Err(Error::Trailers)));
    assert_eq!((Error::Trailers.status(), Error::ChunkExtensions.status()), (431, 400));
}

#[test]
fn every_truncation_and_bit_flip_is_survived() {
    for cut in 0..WHOLE.len() - 3 {
        assert_eq!(decode(&WHOLE[..cut]), None, "{cut}");
    }
    for bit in 0..WHOLE.len() * 8 {
        let mut bytes = WHOLE.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Some(Ok((body, ..))) = decode_in(&bytes, &[], ChunkLimits::default()) {
            assert!(body.len() <= WHOLE.len());
        }
    }
}
