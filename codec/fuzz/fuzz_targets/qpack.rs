//! Any octets on a QPACK connection's three streams: bounded, never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_codec::field::Known;
use ringway_codec::qpack::{Decoder, Encoder, Limits};
use ringway_codec::scan::Backend;

const LIMITS: Limits = Limits { list_bytes: 8192, fields: 50 };

fuzz_target!(|input: &[u8]| {
    let backend = Backend::detect();
    let mut decoder = Decoder::new(backend, 512, 4);
    let mut encoder = Encoder::new(backend, 512);
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
                .decode(u64::from(kind / 5), piece, &LIMITS, &mut bytes, &mut fields)
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
});
