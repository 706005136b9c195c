use super::*;
use alloc::collections::BTreeMap;
use std::sync::OnceLock;

/// By definition: bit for bit.
fn slow_encode(input: &[u8]) -> Vec<u8> {
    let mut bits: Vec<u8> = Vec::new();
    for &octet in input {
        let (code, length) = (code::CANONICAL.codes[octet as usize], code::LENGTHS[octet as usize]);
        bits.extend((0..length).rev().map(|bit| (code >> bit & 1) as u8));
    }
    bits.resize(bits.len().next_multiple_of(8), 1);
    bits.chunks(8).map(|octet| octet.iter().fold(0, |sum, bit| sum << 1 | bit)).collect()
}

fn symbols() -> &'static BTreeMap<(u8, u32), usize> {
    static SYMBOLS: OnceLock<BTreeMap<(u8, u32), usize>> = OnceLock::new();
    let key = |symbol| (code::LENGTHS[symbol], code::CANONICAL.codes[symbol]);
    SYMBOLS.get_or_init(|| (0..=code::EOS).map(|symbol| (key(symbol), symbol)).collect())
}

/// By definition: bit for bit.
fn slow_decode(input: &[u8]) -> Result<Vec<u8>, Error> {
    let (mut out, mut code, mut length) = (Vec::new(), 0u32, 0u8);
    for bit in 0..input.len() * 8 {
        code = code << 1 | u32::from(input[bit / 8] >> (7 - bit % 8) & 1);
        length += 1;
        match symbols().get(&(length, code)) {
            Some(&code::EOS) => return Err(Error::EndOfString),
            Some(&symbol) => {
                out.push(symbol as u8);
                (code, length) = (0, 0);
            }
            None => {}
        }
    }
    if length < 8 && code == (1 << length) - 1 { Ok(out) } else { Err(Error::Padding) }
}

fn check_decode(input: &[u8]) {
    let expected = slow_decode(input);
    for backend in Backend::available() {
        let mut decoded = b"kept".to_vec();
        let result = decode(backend, input, &mut decoded);
        let found = result.map(|_| decoded[4..].to_vec());
        assert_eq!(found, expected, "{backend} {input:02x?}");
        assert_eq!(&decoded[..4], b"kept");
    }
}

fn round_trip(input: &[u8]) {
    let expected = slow_encode(input);
    assert_eq!(encoded_len(input), expected.len());
    for backend in Backend::available() {
        let mut coded = b"before".to_vec();
        encode(backend, input, &mut coded);
        assert_eq!(&coded[6..], expected, "{backend} {input:02x?}");
        let mut decoded = b"kept".to_vec();
        let rare = decode(backend, &expected, &mut decoded).unwrap();
        assert!(rare || !input.iter().any(|octet| octet.is_ascii_control()));
        assert_eq!(&decoded[4..], input, "{backend}");
    }
}

#[test]
fn rfc_examples() {
    let cases: [(&[u8], &[u8]); 4] = [
        (b"www.example.com", b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"),
        (b"no-cache", b"\xa8\xeb\x10\x64\x9c\xbf"),
        (b"custom-key", b"\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f"),
        (b"302", b"\x64\x02"),
    ];
    for (plain, coded) in cases {
        assert_eq!(slow_encode(plain), coded);
        round_trip(plain);
    }
}

#[test]
fn every_octet_at_every_alignment() {
    for octet in 0..=255u8 {
        for before in 0..24 {
            for after in [0, 1, 2, 7, 9, 30] {
                let mut input = alloc::vec![b'0'; before];
                input.push(octet);
                input.resize(before + 1 + after, b'X');
                round_trip(&input);
                input.fill(octet);
                round_trip(&input);
            }
        }
    }
}

fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

/// Text of the kind that headers have, with rare octets now and then.
#[test]
fn random_texts() {
    let common = b"0123456789abcdefghijklmnopqrstuvwxyz-_=;, /.:%ABCDEFGHIJ\"()?&*X+'";
    let mut seed = 1;
    for round in 0..3000 {
        let rare = [1, 20, 1000][round % 3];
        let octet = |_| match random(&mut seed) {
            r if r % rare == 0 => (r >> 8) as u8,
            r => common[r as usize % common.len()],
        };
        round_trip(&(0..round / 10).map(octet).collect::<Vec<u8>>());
    }
}

/// Input that is not coded text: every two octets, and random longer strings.
#[test]
fn random_octets() {
    check_decode(&[]);
    for word in 0..=u16::MAX {
        check_decode(&word.to_be_bytes());
    }
    let mut seed = 2;
    for round in 0..20_000 {
        let input: Vec<u8> = (0..round % 70)
            .map(|_| match random(&mut seed) {
                r if round % 2 == 0 => r as u8,
                r => (r | r >> 8 | r >> 16) as u8, // many ones: long codes, EOS
            })
            .collect();
        check_decode(&input);
    }
}

/// Every truncation and every flipped bit of a string.
#[test]
fn damaged_strings() {
    let text =
        b"Mozilla/5.0 (X11; Linux x86_64) \"Chromium\";v=\"131\" {}\x80~ text/html, */*;q=0.8";
    let coded = slow_encode(text);
    (0..coded.len()).for_each(|end| check_decode(&coded[..end]));
    for bit in 0..coded.len() * 8 {
        let mut coded = coded.clone();
        coded[bit / 8] ^= 0x80 >> (bit % 8);
        check_decode(&coded);
    }
}

#[test]
fn refuses_eos_and_bad_padding() {
    let eos_after = |count: usize, ones: usize| {
        let mut coded = slow_encode(&alloc::vec![b'0'; count * 8]);
        coded.resize(coded.len() + ones, 0xff);
        check_decode(&coded);
        slow_decode(&coded)
    };
    for count in 0..20 {
        assert_eq!(eos_after(count, 1), Err(Error::Padding));
        assert_eq!(eos_after(count, 3), Err(Error::Padding));
        assert_eq!(eos_after(count, 4), Err(Error::EndOfString));
        assert_eq!(eos_after(count, 40), Err(Error::EndOfString));
    }
    assert_eq!(slow_decode(b"\x1f\xff"), Err(Error::Padding)); // 'a' and eleven ones
    assert_eq!(slow_decode(b"\x18"), Err(Error::Padding)); // 'a' and zeros
}
