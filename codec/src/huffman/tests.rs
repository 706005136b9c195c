use super::*;

const ONE: Backend = Backend::Scalar;

fn round_trip(input: &[u8]) {
    let (mut coded, mut decoded) = (b"before".to_vec(), b"kept".to_vec());
    encode(ONE, input, &mut coded);
    assert_eq!(encoded_len(input), coded.len() - 6);
    decode(ONE, &coded[6..], &mut decoded).unwrap();
    assert_eq!(&decoded[4..], input);
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
        let mut out = Vec::new();
        encode(ONE, plain, &mut out);
        assert_eq!(out, coded);
        round_trip(plain);
    }
}

#[test]
fn every_octet_at_every_alignment() {
    for octet in 0..=255u8 {
        for before in 0..20 {
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

#[test]
fn refuses_eos_and_bad_padding() {
    let refused = |input: &[u8]| decode(ONE, input, &mut Vec::new()).unwrap_err();
    assert_eq!(refused(b"\xff"), Error::Padding);
    assert_eq!(refused(b"\xff\xff\xff\xff"), Error::EndOfString);
    assert_eq!(refused(&[0xff; 40]), Error::EndOfString);
    assert_eq!(refused(b"\x1f\xff"), Error::Padding); // 'a' and eleven ones
    assert_eq!(refused(b"\x18"), Error::Padding); // 'a' and zeros
    let mut coded = Vec::new();
    encode(ONE, &[b'0'; 40], &mut coded);
    coded.push(0xff);
    assert_eq!(refused(&coded), Error::Padding);
    coded.truncate(20);
    coded.extend_from_slice(&[0xff; 20]);
    assert_eq!(refused(&coded), Error::EndOfString);
}
