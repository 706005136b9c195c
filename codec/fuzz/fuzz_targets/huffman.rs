//! Every backend decodes the same and refuses the same as the scalar one, and codes any octets so
//! that they come back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_codec::huffman;
use ringway_codec::scan::Backend;

fuzz_target!(|input: &[u8]| {
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
});
