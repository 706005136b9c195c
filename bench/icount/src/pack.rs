//! The rows of Huffman, HPACK and QPACK: a response list out, a browser's request list in.

use crate::lists;
use crate::rows::Prepare;
use ringway_codec::field::{Field, Known};
use ringway_codec::scan::Backend;
use ringway_codec::{hpack, huffman, qpack};
use std::hint::black_box;

type Work = Box<dyn FnMut()>;
type Fields = Vec<(Known, &'static [u8], &'static [u8])>;

const _: Prepare = huffman_decode;

const LIMITS: hpack::FieldLimits = hpack::FieldLimits { list_bytes: 32_768, fields: 100 };

fn known(list: lists::List) -> Fields {
    list.into_iter()
        .map(|(name, value)| (Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes()))
        .collect()
}

pub(crate) fn huffman_decode(backend: Backend) -> Work {
    let code = |value: &[u8]| {
        let mut coded = vec![];
        huffman::encode(backend, value, &mut coded);
        coded
    };
    let coded: Vec<Vec<u8>> = lists::browser_values().into_iter().map(code).collect();
    let mut out = Vec::with_capacity(4096);
    Box::new(move || {
        out.clear();
        for coded in &coded {
            huffman::decode(backend, black_box(coded), &mut out).expect("valid");
        }
        black_box(&out);
    })
}

pub(crate) fn huffman_encode(backend: Backend) -> Work {
    let values = lists::browser_values();
    let mut out = Vec::with_capacity(4096);
    Box::new(move || {
        out.clear();
        for value in &values {
            huffman::encode(backend, black_box(value), &mut out);
        }
        black_box(&out);
    })
}

fn hpack_write(encoder: &mut hpack::Encoder, fields: &Fields, out: &mut Vec<u8>) {
    out.clear();
    let mut block = encoder.block(out);
    for &(known, name, value) in black_box(fields) {
        block.field(known, name, value);
    }
}

fn hpack_encode(backend: Backend, table: u32) -> Work {
    let fields = known(lists::response());
    let mut out = Vec::with_capacity(4096);
    let mut encoder = hpack::Encoder::new(backend, table);
    (0..3).for_each(|_| hpack_write(&mut encoder, &fields, &mut out));
    Box::new(move || {
        hpack_write(&mut encoder, &fields, &mut out);
        black_box(&out);
    })
}

pub(crate) fn hpack_encode_steady(backend: Backend) -> Work {
    hpack_encode(backend, 4096)
}

pub(crate) fn hpack_encode_literal(backend: Backend) -> Work {
    hpack_encode(backend, 0)
}

fn hpack_decode(backend: Backend, table: u32) -> Work {
    let list = known(lists::request());
    let (mut bytes, mut fields) = (Vec::with_capacity(4096), Vec::<Field>::with_capacity(100));
    let mut encoder = hpack::Encoder::new(backend, table);
    let mut decoder = hpack::Decoder::new(backend, 4096);
    let mut wire = vec![];
    for _ in 0..3 {
        hpack_write(&mut encoder, &list, &mut wire);
        decoder.decode(&wire, &LIMITS, &mut bytes, &mut fields).expect("valid");
    }
    Box::new(move || {
        bytes.clear();
        fields.clear();
        decoder.decode(black_box(&wire), &LIMITS, &mut bytes, &mut fields).expect("valid");
        black_box((&bytes, &fields));
    })
}

pub(crate) fn hpack_decode_steady(backend: Backend) -> Work {
    hpack_decode(backend, 4096)
}

pub(crate) fn hpack_decode_literal(backend: Backend) -> Work {
    hpack_decode(backend, 0)
}

/// Both ends of one direction of a connection, warmed up by encoding the list a few times.
struct Rig {
    encoder: qpack::Encoder,
    decoder: qpack::Decoder,
    list: Fields,
    block: Vec<u8>,
    instructions: Vec<u8>,
    owed: Vec<u8>,
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

impl Rig {
    fn new(backend: Backend, list: lists::List) -> Self {
        let mut encoder = qpack::Encoder::new(backend, 4096);
        encoder.set_peer_settings(4096, 16);
        let mut rig = Self {
            encoder,
            decoder: qpack::Decoder::new(backend, 4096, 16),
            list: known(list),
            block: Vec::with_capacity(4096),
            instructions: vec![],
            owed: vec![],
            bytes: Vec::with_capacity(4096),
            fields: Vec::with_capacity(100),
        };
        for _ in 0..4 {
            rig.encode();
            rig.decoder.read_encoder_stream(&rig.instructions).expect("valid");
            rig.instructions.clear();
            rig.decode();
            rig.encoder.read_decoder_stream(&rig.owed).expect("valid");
        }
        rig
    }

    fn encode(&mut self) {
        self.block.clear();
        let mut block = self.encoder.block(4, &mut self.block, &mut self.instructions);
        for &(known, name, value) in black_box(&self.list) {
            block.field(known, name, value);
        }
        block.finish();
    }

    fn decode(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        self.owed.clear();
        let (bytes, fields) = (&mut self.bytes, &mut self.fields);
        self.decoder.decode(4, black_box(&self.block), &LIMITS, bytes, fields).expect("valid");
        self.decoder.output(&mut self.owed);
    }
}

pub(crate) fn qpack_encode(backend: Backend) -> Work {
    let mut rig = Rig::new(backend, lists::response());
    Box::new(move || {
        rig.encode();
        rig.encoder.read_decoder_stream(&rig.owed).expect("valid");
        black_box(&rig.block);
    })
}

pub(crate) fn qpack_decode(backend: Backend) -> Work {
    let mut rig = Rig::new(backend, lists::request());
    Box::new(move || {
        rig.decode();
        black_box((&rig.bytes, &rig.fields));
    })
}
