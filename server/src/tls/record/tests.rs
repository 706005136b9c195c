//! Known answers, authenticity of every bit, limits.

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| byte.is_ascii_hexdigit()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// RFC 8448 §3: the application traffic of the simple handshake.
#[test]
fn rfc_8448_vectors() {
    let client = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
    let client = Secret::new(&hex(client)).unwrap();
    let server = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";
    let server = Secret::new(&hex(server)).unwrap();
    let mut key = [0; 16];
    server.expand("key", &mut key).unwrap();
    assert_eq!(key[..], hex("9f02283b6c9c07efc26bb9f2ac92e356"));
    let data: Vec<u8> = (0..50).collect();
    let from_client = "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea
        42 f9 14 aa 66 bc ab 3f 2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a
        62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4";
    let client_close = "17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0
        e3";
    let from_server = "17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc
        32 25 d0 5f 82 aa 1b 36 e3 0e fa f9 7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2
        e5 f0 a2 1c 00 47 c2 ab f3 32 54 0d d0 32 e1 67 c2 95 5d";
    let server_close = "17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64
        a9";

    let suite = CipherSuite::TLS13_AES_128_GCM_SHA256;
    let mut rx = Half::of_secret(suite, &client).unwrap();
    let mut record = hex(from_client);
    assert_eq!(rx.open(&mut record), Ok((content::APPLICATION_DATA, 5..55)));
    assert_eq!(record[5..55], data);
    let mut record = hex(client_close);
    assert_eq!(rx.open(&mut record), Ok((content::ALERT, 5..7)));
    assert_eq!(record[5..7], [1, 0]);

    let mut tx = Half::of_secret(suite, &server).unwrap();
    tx.jump(1, 1 << 24); // a ticket went first
    let mut out = Vec::new();
    tx.seal(content::APPLICATION_DATA, &data, &mut out).unwrap();
    assert_eq!(out, hex(from_server));
    out.clear();
    tx.seal(content::ALERT, &[1, 0], &mut out).unwrap();
    assert_eq!(out, hex(server_close));
}

fn half(cipher: Cipher, form: Form) -> Half {
    let mut half = Half::blank(form == Form::Tls13);
    half.raw.fill(7);
    half.iv.fill(9);
    half.form = form;
    half.begin(cipher, 5).unwrap();
    half
}

const SHAPES: [(Cipher, Form); 6] = [
    (Cipher::Aes128Gcm, Form::Tls13),
    (Cipher::Aes256Gcm, Form::Tls13),
    (Cipher::ChaCha20, Form::Tls13),
    (Cipher::Aes128Gcm, Form::Gcm12),
    (Cipher::Aes256Gcm, Form::Gcm12),
    (Cipher::ChaCha20, Form::ChaCha12),
];

#[test]
fn every_bit_is_authenticated() {
    for (cipher, form) in SHAPES {
        let mut record = Vec::new();
        half(cipher, form)
            .seal(content::HANDSHAKE, b"twenty-four bytes or so", &mut record)
            .unwrap();
        for bit in 0..record.len() * 8 {
            let mut broken = record.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            // In TLS 1.2 the length is not authenticated as it stands in the header: the
            // caller cuts the record by it.
            if form != Form::Tls13 && (24..40).contains(&bit) {
                continue;
            }
            assert_eq!(half(cipher, form).open(&mut broken), Err(Fault::BadMac));
        }
        for len in HEADER..record.len() {
            let mut short = record[..len].to_vec();
            assert_eq!(half(cipher, form).open(&mut short), Err(Fault::BadMac));
        }
        let (kind, plain) = half(cipher, form).open(&mut record).unwrap();
        assert_eq!(kind, content::HANDSHAKE);
        assert_eq!(&record[plain], b"twenty-four bytes or so");
    }
}

#[test]
fn plaintext_has_a_limit_and_padding_is_stripped() {
    for (cipher, form) in SHAPES {
        for len in [MAX_PLAIN, MAX_PLAIN + 1] {
            let mut sender = half(cipher, form);
            let mut record = vec![1; sender.before() + len + sender.behind()];
            sender.protect(23, &mut record).unwrap();
            let opened = half(cipher, form).open(&mut record).map(|(_, plain)| plain.len());
            let expected = if len > MAX_PLAIN { Err(Fault::Overflow) } else { Ok(len) };
            assert_eq!(opened, expected);
        }
    }
    let padded = |inner: &[u8]| {
        let mut record = Vec::new();
        half(Cipher::Aes128Gcm, Form::Tls13).seal(0, inner, &mut record).unwrap();
        let opened = half(Cipher::Aes128Gcm, Form::Tls13).open(&mut record);
        opened.map(|(kind, plain)| (kind, record[plain].to_vec()))
    };
    assert_eq!(padded(&[5, 0, 6, 23, 0, 0]), Ok((23, vec![5, 0, 6])));
    assert_eq!(padded(&[23]), Ok((23, vec![])));
    assert_eq!(padded(&[0; 100]), Err(Fault::NoContentType));
}

#[test]
fn sequences_end() {
    let mut half = half(Cipher::Aes128Gcm, Form::Tls13);
    half.jump((1 << 24) - 1, 1 << 24);
    let mut out = Vec::new();
    assert_eq!(half.seal(23, b"last", &mut out), Ok(()));
    let sealed = out.len();
    assert_eq!(half.seal(23, b"beyond", &mut out), Err(Unsealable));
    assert_eq!(out.len(), sealed);
    half.jump(u64::MAX, u64::MAX);
    assert_eq!(half.open(&mut out), Err(Fault::Exhausted));
}
