//! RFC 9204 appendix B, the shared vectors, and both sides against each other.

use super::*;
use crate::field::{Field, Known};
use crate::hpack::int;
use crate::scan::chosen;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use std::{fs, path::PathBuf, println};

const ROOMY: FieldLimits = FieldLimits { list_bytes: 1 << 20, fields: 1000 };

type Pairs = Vec<(String, String)>;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let digit = |b: u8| (b as char).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
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

/// The fields of a block; `None` when it is blocked.
fn decode(decoder: &mut Decoder, stream: u64, block: &[u8]) -> Result<Option<Pairs>, Error> {
    let (mut bytes, mut fields) = (b"something before".to_vec(), vec![]);
    Ok(match decoder.decode(stream, block, &ROOMY, &mut bytes, &mut fields)? {
        Decoded::Section(section) => {
            assert!(section.flaws.none());
            Some(pairs(&bytes, &fields))
        }
        Decoded::Blocked => None,
    })
}

fn output(decoder: &mut Decoder) -> Vec<u8> {
    let mut out = vec![];
    decoder.output(&mut out);
    out
}

fn owned(pairs: &[(&str, &str)]) -> Option<Pairs> {
    Some(pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
}

/// All of appendix B, with the encoder stream passed octet by octet.
#[test]
fn rfc_9204_appendix_b() {
    let mut decoder = Decoder::new(chosen(), 220, 1);
    let read = |decoder: &mut Decoder, octets: &str| {
        hex(octets).iter().for_each(|&octet| decoder.read_encoder_stream(&[octet]).unwrap());
    };
    let found = decode(&mut decoder, 0, &hex("0000 510b 2f69 6e64 6578 2e68 746d 6c")).unwrap();
    assert_eq!(found, owned(&[(":path", "/index.html")]));
    assert!(output(&mut decoder).is_empty());

    let block = hex("0381 1011");
    assert_eq!(decode(&mut decoder, 4, &block).unwrap(), None);
    read(&mut decoder, "3fbd01 c00f 7777 772e 6578 616d 706c 652e 636f 6d");
    assert_eq!(decoder.unblocked(), None);
    read(&mut decoder, "c10c 2f73 616d 706c 652f 7061 7468");
    assert_eq!(decoder.unblocked(), Some(4));
    assert_eq!(decoder.unblocked(), None);
    let found = decode(&mut decoder, 4, &block).unwrap();
    assert_eq!(found, owned(&[(":authority", "www.example.com"), (":path", "/sample/path")]));
    assert_eq!(output(&mut decoder), [0x84]);

    read(&mut decoder, "4a63 7573 746f 6d2d 6b65 790c 6375 7374 6f6d 2d76 616c 7565");
    assert_eq!(output(&mut decoder), [0x01]);

    let block = hex("0500 80c1 81");
    assert_eq!(decode(&mut decoder, 8, &block).unwrap(), None);
    decoder.cancel(8).unwrap();
    read(&mut decoder, "02");
    assert_eq!(decoder.unblocked(), None);
    assert_eq!(output(&mut decoder), [0x48, 0x01]);

    read(&mut decoder, "810d 6375 7374 6f6d 2d76 616c 7565 32");
    assert_eq!(output(&mut decoder), [0x01]);
    let found = decode(&mut decoder, 8, &block).unwrap();
    let custom = ("custom-key", "custom-value");
    assert_eq!(found, owned(&[(":authority", "www.example.com"), (":path", "/"), custom]));
    assert_eq!(decode(&mut decoder, 12, &hex("0200 80")).unwrap_err().code(), 0x200);
}

#[test]
fn the_encoder_writes_what_the_rfc_writes() {
    let mut encoder = Encoder::new(chosen(), 220);
    encoder.set_peer_settings(220, 1);
    let (mut out, mut instructions) = (vec![], vec![]);
    let mut block = encoder.block(4, &mut out, &mut instructions);
    block.field(Known::PseudoAuthority, b"", b"www.example.com");
    block.field_as(Indexing::Insert, Known::PseudoPath, b"", b"/sample/path");
    block.finish();
    assert_eq!(out, hex("0381 1011"));
    let mut expected = hex("3fbd01 c08c");
    expected.extend(hex("f1e3 c2e5 f23a 6ba0 ab90 f4ff c189 6103 a6ba 0ac5 634c ff"));
    assert_eq!(instructions, expected);
}

#[test]
fn errors() {
    let code = |block: &str| {
        let mut decoder = Decoder::new(chosen(), 4096, 2);
        decoder.read_encoder_stream(&hex("3fe11f 4161 0162")).unwrap();
        decode(&mut decoder, 0, &hex(block)).map_err(|error| error.code())
    };
    assert_eq!(code("0200 80"), Ok(owned(&[("a", "b")])));
    assert_eq!(code("0280 10"), Ok(owned(&[("a", "b")])));
    assert_eq!(code("0300 80"), Ok(None));
    for wrong in [
        "",
        "00",
        "0080",
        "0000 80",
        "0000 10",
        "0200 81",
        "0200 10",
        "0000 ffff",
        "0000 c0ff",
        "ff8303 00",
        "0000 ff24",
        "0000 5f5400",
        "0000 2701",
        "0000 27ffffffffff00",
        "0000 51",
        "0000 5181ff",
        "0000 2801",
        "0000 2aff00",
        "0282 10",
        "0000 5f",
        "0000 4000",
        "0000 0000",
    ] {
        assert_eq!(code(wrong), Err(0x200), "{wrong}");
    }
    let instruction = |octets: &str| {
        let mut decoder = Decoder::new(chosen(), 100, 2);
        decoder.read_encoder_stream(&hex(octets)).map_err(|error| error.code())
    };
    assert_eq!(instruction("3f45 00").unwrap_err(), 0x201); // duplicate of nothing
    for wrong in [
        "3f46",
        "4161",
        "3f45 8000",
        "3f45 ff2400",
        "3f45 c17f00",
        "3f45 61ff00",
        "3f45 ffffffffffff",
    ] {
        assert_eq!(instruction(wrong), Err(0x201), "{wrong}");
    }
    assert_eq!(instruction("20 4161"), Err(0x201), "no room for any entry");

    let mut decoder = Decoder::new(chosen(), 4096, 2);
    assert_eq!(decode(&mut decoder, 0, &hex("0200")), Ok(None));
    assert_eq!(decode(&mut decoder, 4, &hex("0200")), Ok(None));
    assert_eq!(decode(&mut decoder, 0, &hex("0200")), Ok(None));
    assert_eq!(decode(&mut decoder, 8, &hex("0200")).unwrap_err().code(), 0x200);

    let mut encoder = Encoder::new(chosen(), 4096);
    let mut wrong = |octets: &str| encoder.read_decoder_stream(&hex(octets)).unwrap_err().code();
    assert_eq!([wrong("00"), wrong("01"), wrong("80"), wrong("3fffffffffffffffffff")], [0x202; 4]);
    let mut encoder = Encoder::new(chosen(), 4096);
    encoder.read_decoder_stream(&hex("7fffffffffffffff07 41 44")).unwrap();
}

/// Output for a peer that never reads its decoder stream is bounded.
#[test]
fn owed_output_is_bounded() {
    let mut decoder = Decoder::new(chosen(), 4096, 16);
    decoder.read_encoder_stream(&hex("3fe11f")).unwrap();
    for _ in 0..100_000 {
        decoder.read_encoder_stream(&hex("4161 0162")).unwrap();
    }
    assert!(decoder.memory() < 16_384, "{}", decoder.memory());
    let refused = (0..1_000_000u64).find_map(|stream| decoder.cancel(stream * 4).err()).unwrap();
    assert_eq!(refused.code(), 0x107);
    assert!(decoder.memory() < 65_536, "{}", decoder.memory());
}

fn data(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/qpack").join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    None
}

fn lists(name: &str) -> Vec<Pairs> {
    let Some(path) = data(&format!("qifs/{name}.qif")) else { return vec![] };
    let text = String::from_utf8_lossy(&fs::read(path).unwrap()).to_string();
    let mut lists = vec![vec![]];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once('\t') {
            Some((name, value)) => {
                lists.last_mut().unwrap().push((name.to_string(), value.to_string()));
            }
            None => lists.push(vec![]),
        }
    }
    lists.retain(|list| !list.is_empty());
    lists
}

/// (stream, octets) of each record.
fn records(mut input: &[u8]) -> Vec<(u64, &[u8])> {
    let mut records = vec![];
    while let Some((head, rest)) = input.split_first_chunk::<12>() {
        let length = u32::from_be_bytes(*head[8..].first_chunk().unwrap()) as usize;
        records.push((u64::from_be_bytes(*head.first_chunk().unwrap()), &rest[..length]));
        input = &rest[length..];
    }
    records
}

#[test]
fn shared_vectors_decode() {
    let Some(folder) = data("encoded/nghttp3") else { return };
    for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = file.file_name().unwrap().to_string_lossy().to_string();
        let mut parts = name.split('.');
        let lists = lists(parts.next().unwrap());
        let number = |text: Option<&str>| text.unwrap().parse::<u32>().unwrap();
        let (capacity, blocked) = (number(parts.nth(1)), number(parts.next()));
        for piece in [1, 7, usize::MAX] {
            let mut decoder = Decoder::new(chosen(), capacity, blocked as u16);
            // These files assume that the encoder uses the whole capacity.
            let mut announced = vec![];
            int::write(&mut announced, 0x20, 5, capacity);
            decoder.read_encoder_stream(&announced).unwrap();
            let mut found: Vec<Option<Pairs>> = vec![None; lists.len()];
            let input = fs::read(&file).unwrap();
            let records = records(&input);
            for &(stream, octets) in &records {
                if stream == 0 {
                    for octets in octets.chunks(piece.min(octets.len().max(1))) {
                        decoder.read_encoder_stream(octets).unwrap();
                    }
                    while let Some(stream) = decoder.unblocked() {
                        let (_, block) = records.iter().find(|record| record.0 == stream).unwrap();
                        let list = decode(&mut decoder, stream, block).unwrap().unwrap();
                        found[stream as usize - 1] = Some(list);
                    }
                } else {
                    found[stream as usize - 1] = decode(&mut decoder, stream, octets).unwrap();
                }
                output(&mut decoder);
            }
            for (list, found) in lists.iter().zip(&found) {
                assert_eq!(found.as_ref(), Some(list), "{name}");
            }
            assert!(decoder.memory() < capacity as usize * 5 / 4 + 8192, "{}", decoder.memory());
        }
    }
}

#[test]
fn shared_errors_are_refused() {
    let Some(folder) = data("errors") else { return };
    for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let input = fs::read(&file).unwrap();
        let mut decoder = Decoder::new(chosen(), 4096, 100);
        let mut result = Ok(());
        for (stream, octets) in records(&input) {
            result = result.and(match stream {
                0 => decoder.read_encoder_stream(octets),
                _ => decode(&mut decoder, stream, octets).map(|_| ()),
            });
        }
        // err9 and err10 name static entries that exist in the final table.
        let valid = file.ends_with("err9") || file.ends_with("err10");
        assert_eq!(result.is_ok(), valid, "{}", file.display());
    }
}

/// Every truncation and every single flipped bit of the first records: an error or a result.
#[test]
fn shared_vectors_damaged() {
    for name in ["netbsd.out.4096.100.1", "fb-resp.out.4096.100.0", "fb-req.out.256.100.0"] {
        let Some(file) = data(&format!("encoded/nghttp3/{name}")) else { return };
        let input = fs::read(file).unwrap();
        let records: Vec<_> = records(&input).into_iter().take(6).collect();
        for (at, (_, octets)) in records.iter().enumerate() {
            let attempt = |changed: &[u8]| {
                let mut decoder = Decoder::new(chosen(), 4096, 100);
                for (number, &(stream, octets)) in records.iter().enumerate() {
                    let octets = if number == at { changed } else { octets };
                    let (mut bytes, mut fields) = (vec![], vec![]);
                    let result = match stream {
                        0 => decoder.read_encoder_stream(octets),
                        _ => decoder
                            .decode(stream, octets, &ROOMY, &mut bytes, &mut fields)
                            .map(|_| ()),
                    };
                    pairs(&bytes, &fields);
                    if result.is_err() {
                        break;
                    }
                }
                assert!(decoder.memory() < 32_768);
            };
            (0..octets.len()).for_each(|end| attempt(&octets[..end]));
            for bit in 0..octets.len() * 8 {
                let mut octets = octets.to_vec();
                octets[bit / 8] ^= 1 << (bit % 8);
                attempt(&octets);
            }
        }
    }
}

/// Encoder stream, blocks and acknowledgements are delayed at random.
fn converse(lists: &[Pairs], own: u32, capacity: u32, blocked: u16, seed: u64) -> (usize, usize) {
    let mut seed = seed;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut encoder = Encoder::new(chosen(), own);
    let mut decoder = Decoder::new(chosen(), capacity, blocked);
    encoder.set_peer_settings(capacity.into(), blocked.into());
    let (mut instructions, mut acknowledgements) = (vec![], vec![]);
    let mut waiting: Vec<(u64, Vec<u8>)> = vec![];
    let (mut octets, mut blocked_seen, mut next) = (0, 0, 0);
    while next < lists.len() || !waiting.is_empty() || !instructions.is_empty() {
        if next < lists.len() && waiting.len() < 300 && random(2) == 0 {
            let mut out = vec![];
            let mut block = encoder.block(next as u64 * 4, &mut out, &mut instructions);
            for (name, value) in &lists[next] {
                block.field(Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes());
            }
            block.finish();
            octets += out.len();
            waiting.push((next as u64 * 4, out));
            next += 1;
        }
        if random(3) == 0 {
            let some = random(instructions.len() as u64 + 1) as usize;
            octets += some;
            let sent: Vec<u8> = instructions.drain(..some).collect();
            decoder.read_encoder_stream(&sent).unwrap();
        }
        if random(2) == 0 && !waiting.is_empty() {
            let at = random(waiting.len() as u64) as usize;
            let (stream, block) = &waiting[at];
            if random(40) == 0 {
                decoder.cancel(*stream).unwrap();
                waiting.remove(at);
            } else if let Some(found) = decode(&mut decoder, *stream, block).unwrap() {
                assert_eq!(found, lists[*stream as usize / 4]);
                waiting.remove(at);
            } else {
                blocked_seen += 1;
            }
        }
        while decoder.unblocked().is_some() {}
        if random(4) == 0 {
            decoder.output(&mut acknowledgements);
            let some = random(acknowledgements.len() as u64 + 1) as usize;
            let sent: Vec<u8> = acknowledgements.drain(..some).collect();
            encoder.read_decoder_stream(&sent).unwrap();
        }
        assert!(encoder.memory() <= own as usize * 5 / 4 + 8192, "{}", encoder.memory());
    }
    (octets, blocked_seen)
}

#[test]
fn shared_lists_survive_any_delays() {
    for name in ["fb-req", "fb-resp", "netbsd"] {
        let lists = lists(name);
        let plain: usize = lists.iter().flatten().map(|(n, v)| n.len() + v.len()).sum();
        for (own, capacity, blocked) in [
            (4096, 4096, 100),
            (4096, 4096, 0),
            (4096, 200, 16),
            (0, 4096, 16),
            (4096, 0, 0),
            (65_535, 65_535, 5),
        ] {
            for seed in 0..3 {
                let (octets, blocked_seen) = converse(&lists, own, capacity, blocked, seed);
                assert!(octets <= plain);
                assert!(blocked > 0 || blocked_seen == 0);
            }
        }
    }
}
