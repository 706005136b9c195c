//! Any octets as HPACK blocks on one connection: bounded, every backend alike; and what was decoded
//! survives our encoder.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_codec::field::Field;
use ringway_codec::hpack::{Decoder, Encoder, Limits};
use ringway_codec::scan::Backend;

const LIMITS: Limits = Limits { list_bytes: 8192, fields: 50 };

/// The fields of the blocks that `input` is cut into at each line feed.
fn decode(backend: Backend, input: &[u8]) -> (Vec<u8>, Vec<Field>, bool) {
    let mut decoder = Decoder::new(backend, 4096);
    let (mut bytes, mut fields) = (vec![], vec![]);
    for block in input.split(|&octet| octet == 0x0a) {
        let before = (bytes.len(), fields.len());
        let Ok(section) = decoder.decode(block, &LIMITS, &mut bytes, &mut fields) else {
            return (bytes, fields, false);
        };
        assert!(fields.len() - before.1 <= 50);
        assert!(bytes.len() - before.0 <= 8192);
        assert_eq!(section.flaws.over_limit(), fields.len() - before.1 < section.lines as usize);
        assert!(decoder.memory() <= 8192);
    }
    (bytes, fields, true)
}

fuzz_target!(|input: &[u8]| {
    let (bytes, fields, ended) = decode(Backend::Scalar, input);
    for backend in Backend::available() {
        let (own_bytes, own_fields, own_ended) = decode(backend, input);
        assert_eq!(own_ended, ended);
        if ended {
            assert_eq!((&own_bytes, &own_fields), (&bytes, &fields));
        }
        let mut wire = vec![];
        Encoder::new(backend, 4096).block(&mut wire).fields(&bytes, &fields);
        let (mut again, mut kept) = (vec![], vec![]);
        let limits = Limits { list_bytes: u32::MAX, fields: u32::MAX };
        let mut decoder = Decoder::new(backend, 4096);
        decoder.decode(&wire, &limits, &mut again, &mut kept).expect("our own");
        assert_eq!(kept.len(), fields.len());
        for (field, own) in fields.iter().zip(&kept) {
            assert_eq!(own.value(&again), field.value(&bytes));
            assert!(own.name(&again).eq_ignore_ascii_case(field.name(&bytes)));
        }
    }
});
