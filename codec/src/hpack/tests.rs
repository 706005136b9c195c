//! RFC 7541 appendix C, the shared vectors, and both sides against each other.

use super::*;
use crate::field::{Field, Known};
use crate::huffman;
use crate::scan::chosen;
use alloc::string::{String, ToString};
use alloc::{format, vec};
use std::{fs, path::PathBuf, println};

const ROOMY: FieldLimits = FieldLimits { list_bytes: 1 << 20, fields: 1000 };

type Pairs = Vec<(String, String)>;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let digit = |b: u8| (b as char).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn decoder() -> Decoder {
    Decoder::new(chosen(), 4096)
}

fn pairs(bytes: &[u8], fields: &[Field]) -> Pairs {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).to_string();
    fields
        .iter()
        .map(|field| {
            assert_eq!(field.known, Known::of(field.name(bytes)));
            (text(field.name(bytes)), text(field.value(bytes)))
        })
        .collect()
}

fn decode(
    decoder: &mut Decoder,
    block: &[u8],
    limits: FieldLimits,
) -> Result<(Pairs, Section), Error> {
    let (mut bytes, mut fields) = (b"something before".to_vec(), vec![]);
    let section = decoder.decode(block, &limits, &mut bytes, &mut fields)?;
    Ok((pairs(&bytes, &fields), section))
}

fn check(decoder: &mut Decoder, block: &str, expected: &[(&str, &str)]) {
    let (found, section) = decode(decoder, &hex(block), ROOMY).unwrap();
    let expected: Pairs = expected.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    assert_eq!(found, expected);
    assert!(section.flaws.none());
    let size: usize = expected.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
    assert_eq!((section.size, section.lines), (size as u32, expected.len() as u32));
}

#[test]
fn rfc_7541_appendix_c2() {
    let custom = [("custom-key", "custom-header")];
    check(
        &mut decoder(),
        "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
        &custom,
    );
    check(&mut decoder(), "040c 2f73 616d 706c 652f 7061 7468", &[(":path", "/sample/path")]);
    check(&mut decoder(), "1008 7061 7373 776f 7264 0673 6563 7265 74", &[("password", "secret")]);
    check(&mut decoder(), "82", &[(":method", "GET")]);
    let (mut bytes, mut fields) = (vec![], vec![]);
    let block = hex("1008 7061 7373 776f 7264 0673 6563 7265 7482");
    decoder().decode(&block, &ROOMY, &mut bytes, &mut fields).unwrap();
    assert_eq!([fields[0].flags, fields[1].flags], [Field::NEVER_INDEXED, 0]);
}

#[test]
fn rfc_7541_appendix_c3_and_c4() {
    let stories = [
        [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ],
        [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ],
    ];
    for [first, second, third] in stories {
        let host = (":authority", "www.example.com");
        let mut decoder = decoder();
        check(
            &mut decoder,
            first,
            &[(":method", "GET"), (":scheme", "http"), (":path", "/"), host],
        );
        check(
            &mut decoder,
            second,
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                host,
                ("cache-control", "no-cache"),
            ],
        );
        check(
            &mut decoder,
            third,
            &[
                (":method", "GET"),
                (":scheme", "https"),
                (":path", "/index.html"),
                host,
                ("custom-key", "custom-value"),
            ],
        );
    }
}

#[test]
fn rfc_7541_appendix_c5_and_c6() {
    let stories = [
        [
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 \
             2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 \
             6c65 2e63 6f6d",
            "4803 3330 37c1 c0bf",
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d \
             54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 \
             5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e \
             3d31",
        ],
        [
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 \
             2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab \
             77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f \
             9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        ],
    ];
    let cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    let (control, location) =
        (("cache-control", "private"), ("location", "https://www.example.com"));
    let date = ("date", "Mon, 21 Oct 2013 20:13:21 GMT");
    for [first, second, third] in stories {
        let mut decoder = Decoder::new(chosen(), 256);
        check(&mut decoder, first, &[(":status", "302"), control, date, location]);
        check(&mut decoder, second, &[(":status", "307"), control, date, location]);
        let later = ("date", "Mon, 21 Oct 2013 20:13:22 GMT");
        check(
            &mut decoder,
            third,
            &[
                (":status", "200"),
                control,
                later,
                location,
                ("content-encoding", "gzip"),
                ("set-cookie", cookie),
            ],
        );
    }
}

#[test]
fn errors() {
    let error = |block: &str| decode(&mut decoder(), &hex(block), ROOMY).unwrap_err();
    assert_eq!(error("80"), Error::Index);
    assert_eq!(error("be"), Error::Index);
    assert_eq!(error("7e 00"), Error::Index);
    assert_eq!(error("ff ffffffffff"), Error::Integer);
    assert_eq!(error("ff ffffffff7f"), Error::Integer);
    assert_eq!(error("3fe21f"), Error::SizeUpdate); // 4097
    assert_eq!(error("8220"), Error::SizeUpdate);
    assert_eq!(error("4101"), Error::Truncated);
    assert_eq!(error("41"), Error::Truncated);
    assert_eq!(error("ff"), Error::Truncated);
    assert_eq!(error("4184ffffffff"), Error::Huffman(huffman::Error::EndOfString));
    assert_eq!(error("4181ff"), Error::Huffman(huffman::Error::Padding));
}

#[test]
fn size_updates() {
    let mut decoder = decoder();
    let insert = "400161 0162";
    check(&mut decoder, insert, &[("a", "b")]);
    check(&mut decoder, "3fe11f be", &[("a", "b")]); // 4096
    check(&mut decoder, "20 3fe11f", &[]);
    assert_eq!(decode(&mut decoder, &hex("be"), ROOMY), Err(Error::Index));

    decoder.set_table_size(100);
    assert_eq!(decode(&mut decoder, &hex(insert), ROOMY), Err(Error::SizeUpdateMissing));
    assert_eq!(decode(&mut decoder, &hex("3f46"), ROOMY), Err(Error::SizeUpdate)); // 101
    check(&mut decoder, &format!("3f45 {insert}"), &[("a", "b")]);
    check(&mut decoder, "be", &[("a", "b")]);
    decoder.set_table_size(4096);
    check(&mut decoder, "be", &[("a", "b")]);
    check(&mut decoder, "20 82", &[(":method", "GET")]);
    assert_eq!(decoder.memory(), 0);
}

/// Fields beyond the limits are dropped, and the table still follows the peer's.
#[test]
fn limits() {
    let mut decoder = decoder();
    let limits = |list_bytes, fields| FieldLimits { list_bytes, fields };
    let (found, section) = decode(&mut decoder, &hex("828684"), limits(10_000, 2)).unwrap();
    assert_eq!((found.len(), section.lines), (2, 3));
    assert!(section.flaws.any(Flaws::TOO_MANY) && section.flaws.over_limit());
    assert!(!section.flaws.malformed());

    let big = [&[0x40, 1, b'a', 0x7f, 0xa1, 0x1e][..], &[b'x'; 4000]].concat();
    let (found, section) = decode(&mut decoder, &big, limits(4000, 100)).unwrap();
    assert_eq!((found.len(), section.size), (0, 4033));
    assert!(section.flaws.any(Flaws::TOO_LARGE));
    let bomb = vec![0xbe; 16_000];
    let (mut bytes, mut fields) = (vec![], vec![]);
    let limit = limits(32_768, 100_000);
    let section = decoder.decode(&bomb, &limit, &mut bytes, &mut fields).unwrap();
    assert_eq!((fields.len(), section.lines, section.size), (8, 16_000, 16_000 * 4033));
    assert!(bytes.capacity() <= 65_536);
}

#[test]
fn flaws() {
    let flaws = |name: &str, value: &str| {
        let mut decoder = decoder();
        let mut block = vec![0x40, name.len() as u8];
        block.extend_from_slice(name.as_bytes());
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
        let (_, section) = decode(&mut decoder, &block, ROOMY).unwrap();
        let (_, again) = decode(&mut decoder, b"\xbe", ROOMY).unwrap();
        assert_eq!(section, again, "the table remembers");
        section.flaws
    };
    assert!(flaws("x-a", "b").none());
    assert!(flaws(":path", "/ \t é").none());
    assert_eq!(flaws("X-a", "b"), Flaws::UPPERCASE);
    for name in
        ["", ":", ":unknown", "pa:th", "::path", "a b", "a\0", "a\u{80}", "a\n", "a(", "a\""]
    {
        assert_eq!(flaws(name, "b"), Flaws::BAD_NAME, "{name:?}");
    }
    for at in 0..40 {
        for octet in 0..0x80u8 {
            let mut value = "é".repeat(30);
            value.replace_range(at / 2 * 2..at / 2 * 2, core::str::from_utf8(&[octet]).unwrap());
            let expected = match octet {
                b' ' | b'\t' if at < 2 => Flaws::OUTER_SPACE,
                0..0x09 | 0x0a..0x20 | 0x7f => Flaws::BAD_VALUE,
                _ => Flaws::default(),
            };
            assert_eq!(flaws("a", &value), expected, "{octet:#x} at {at}");
            assert_eq!(flaws("a", &value[..at / 2 * 2 + 1]).any(expected), !expected.none());
        }
    }
    assert_eq!(flaws("a", "b\t"), Flaws::OUTER_SPACE);
    assert!(flaws("a", "").none());
}

fn story_files(folder: &str) -> Vec<PathBuf> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/hpack").join(folder);
    let Ok(listing) = fs::read_dir(&path) else {
        println!("skipped: {} is not there", path.display());
        return vec![];
    };
    let mut files: Vec<_> = listing.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// (table size announced before, wire, headers) of each case.
fn cases(file: &PathBuf) -> Vec<(Option<u32>, Vec<u8>, Pairs)> {
    let text = fs::read_to_string(file).unwrap();
    let story: serde_json::Value = serde_json::from_str(&text).unwrap();
    let case = |case: &serde_json::Value| {
        let headers = case["headers"].as_array().unwrap().iter().map(|one| {
            let (name, value) = one.as_object().unwrap().iter().next().unwrap();
            (name.clone(), value.as_str().unwrap().to_string())
        });
        let size = case["header_table_size"].as_u64().map(|size| size as u32);
        (size, hex(case["wire"].as_str().unwrap_or("")), headers.collect())
    };
    story["cases"].as_array().unwrap().iter().map(case).collect()
}

const ENCODERS: [&str; 3] =
    ["nghttp2", "nghttp2-change-table-size", "haskell-http2-linear-huffman"];

#[test]
fn shared_vectors_decode() {
    for file in ENCODERS.into_iter().flat_map(story_files) {
        let mut decoder = decoder();
        for (number, (size, wire, headers)) in cases(&file).into_iter().enumerate() {
            if let Some(size) = size {
                decoder.set_table_size(size);
            }
            let (found, section) = decode(&mut decoder, &wire, ROOMY)
                .unwrap_or_else(|error| panic!("{} case {number}: {error}", file.display()));
            assert_eq!(found, headers, "{} case {number}", file.display());
            assert!(section.flaws.none());
        }
    }
}

/// Every truncation and every single flipped bit: an error or a result, and bounded.
#[test]
fn shared_vectors_damaged() {
    let (mut bytes, mut fields) = (vec![], vec![]);
    let limits = FieldLimits { list_bytes: 32_768, fields: 100 };
    for file in ENCODERS.into_iter().flat_map(|folder| story_files(folder).into_iter().take(3)) {
        for (_, wire, _) in cases(&file).into_iter().take(4) {
            let mut attempt = |wire: &[u8]| {
                bytes.clear();
                fields.clear();
                let _ = decoder().decode(wire, &limits, &mut bytes, &mut fields);
                assert!(fields.len() <= 100 && bytes.len() <= 32_768 + 8 * wire.len() / 5 + 4096);
                pairs(&bytes, &fields);
            };
            (0..wire.len()).for_each(|end| attempt(&wire[..end]));
            for bit in 0..wire.len() * 8 {
                let mut wire = wire.clone();
                wire[bit / 8] ^= 1 << (bit % 8);
                attempt(&wire);
            }
        }
    }
}

#[test]
fn shared_vectors_round_trip() {
    for (own, peer) in [(4096, 4096), (4096, 0), (0, 4096), (65_535, 65_535), (4096, 200)] {
        for file in story_files("raw-data") {
            let (mut encoder, mut decoder) = (Encoder::new(chosen(), own), decoder());
            encoder.set_peer_table_size(peer);
            decoder.set_table_size(peer);
            for (_, _, headers) in cases(&file) {
                let mut wire = vec![];
                let mut block = encoder.block(&mut wire);
                for (name, value) in &headers {
                    block.field(Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes());
                }
                let (found, _) = decode(&mut decoder, &wire, ROOMY).unwrap();
                assert_eq!(found, headers, "{}", file.display());
            }
            assert!(encoder.memory() <= own as usize * 5 / 4 + 2048);
            assert!(decoder.memory() <= peer as usize * 5 / 4 + 2048);
        }
    }
}

fn response(encoder: &mut Encoder) -> Vec<u8> {
    let mut wire = vec![];
    let mut block = encoder.block(&mut wire);
    block.status(200);
    block.field(Known::Server, b"", b"ringway");
    block.field(Known::Date, b"", b"Sat, 21 Nov 2026 22:36:41 GMT");
    block.field(Known::ContentType, b"", b"text/html; charset=utf-8");
    block.field(Known::ContentLength, b"", b"13");
    block.field(Known::CacheControl, b"", b"public, max-age=3600");
    block.field(Known::AltSvc, b"", b"h3=\":8443\"; ma=86400");
    wire
}

#[test]
fn a_repeated_response_takes_an_octet_a_field() {
    let mut encoder = Encoder::new(chosen(), 4096);
    assert!(response(&mut encoder).len() > 60);
    assert_eq!(response(&mut encoder).len(), 7);
    assert!(encoder.memory() <= 1024, "{}", encoder.memory());
}

#[test]
fn policies() {
    let mut encoder = Encoder::new(chosen(), 4096);
    let mut one = |indexing, name: &[u8], value: &[u8]| {
        let mut wire = vec![];
        encoder.block(&mut wire).field_as(indexing, Known::of(name), name, value);
        wire
    };
    for name in [&b"authorization"[..], b"cookie", b"set-cookie", b"proxy-authorization"] {
        assert_eq!(one(Indexing::Auto, name, b"secret")[0] & 0xf0, 0x10);
        assert_eq!(one(Indexing::Auto, name, b"secret")[0] & 0xf0, 0x10);
    }
    assert_eq!(one(Indexing::Never, b":method", b"GET")[0], 0x12);
    assert_eq!(one(Indexing::Never, b"x-key", b"secret")[0], 0x10);
    for _ in 0..3 {
        assert_eq!(one(Indexing::Literal, b"etag", b"\"1\"")[0], 0x0f);
    }
    assert_eq!(one(Indexing::Auto, b"x-own", b"12")[0], 0x00);
    assert_eq!(one(Indexing::Auto, b"x-own", b"12")[0], 0x40);
    assert_eq!(one(Indexing::Auto, b"x-own", b"12"), [0xbe]);
    assert_eq!(one(Indexing::Auto, b"x-own", b"13")[..2], [0x0f, 0x2f], "the name's index");
    let long = vec![b'y'; 5000];
    assert_eq!(one(Indexing::Insert, b"x-own", &long)[..2], [0x0f, 0x2f], "too large to insert");
    assert_eq!(one(Indexing::Auto, b"x-own", b"12"), [0xbe]);
}

#[test]
fn encoder_announces_sizes() {
    let mut encoder = Encoder::new(chosen(), 4096);
    let mut empty = |sizes: &[u32]| {
        sizes.iter().for_each(|&size| encoder.set_peer_table_size(size));
        let mut wire = vec![];
        encoder.block(&mut wire);
        wire
    };
    assert!(empty(&[4096]).is_empty());
    assert!(empty(&[100_000]).is_empty());
    assert_eq!(empty(&[30]), [0x3e]);
    assert_eq!(empty(&[0, 10]), [0x20, 0x2a]);
    assert_eq!(empty(&[0, 10]), [0x20, 0x2a]);
    assert_eq!(empty(&[5, 4096]), [0x25, 0x3f, 0xe1, 0x1f]);
    assert!(empty(&[]).is_empty());
    let mut wire = vec![];
    Encoder::new(chosen(), 0).block(&mut wire).status(200);
    assert_eq!(wire, [0x20, 0x88]);
}

#[test]
fn long_strings_have_long_lengths() {
    for length in [126, 127, 128, 200, 1000, 20_000] {
        for octet in [b'a', b'X', 0xf5] {
            let mut wire = vec![];
            let value = vec![octet; length];
            Encoder::new(chosen(), 0).block(&mut wire).field(Known::Etag, b"", &value);
            let (mut bytes, mut fields) = (vec![], vec![]);
            decoder().decode(&wire, &ROOMY, &mut bytes, &mut fields).unwrap();
            assert_eq!(fields[0].value(&bytes), value);
        }
    }
}
