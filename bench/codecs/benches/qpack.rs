//! QPACK blocks of a browser's request and of a response, with the static table alone and with a
//! dynamic one, beside ls-qpack's (C) and quiche's, which has the static one only (feature
//! `peer-quiche`: its BoringSSL takes minutes to build). Each dynamic block is acknowledged, as on
//! a connection.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(missing_docs, reason = "a benchmark")]

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use ringway_codec::field::{Field, Known};
use ringway_codec::qpack::{Decoder, Encoder, FieldLimits};
use ringway_codec::scan::Backend;

#[path = "../../peers/c.rs"]
mod c;
#[path = "../../peers/lists.rs"]
mod lists;

const LIMITS: FieldLimits = FieldLimits { list_bytes: 32_768, fields: 100 };
const STREAM: u64 = 4;

type Fields = Vec<(Known, &'static [u8], &'static [u8])>;

/// Both ends of one direction of a connection.
struct Rig {
    encoder: Encoder,
    decoder: Decoder,
    block: Vec<u8>,
    instructions: Vec<u8>,
    acknowledgements: Vec<u8>,
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

impl Rig {
    /// A connection warmed up by encoding the list a few times.
    fn new(backend: Backend, capacity: u32, list: &Fields) -> Self {
        let mut encoder = Encoder::new(backend, capacity);
        encoder.set_peer_settings(capacity.into(), 16);
        let mut rig = Self {
            encoder,
            decoder: Decoder::new(backend, capacity, 16),
            block: vec![],
            instructions: vec![],
            acknowledgements: vec![],
            bytes: vec![],
            fields: vec![],
        };
        for _ in 0..4 {
            rig.encode(list);
            rig.decoder.read_encoder_stream(&rig.instructions).expect("valid");
            rig.instructions.clear();
            rig.decode();
            rig.encoder.read_decoder_stream(&rig.acknowledgements).expect("valid");
        }
        rig
    }

    fn encode(&mut self, list: &Fields) {
        self.block.clear();
        let mut block = self.encoder.block(STREAM, &mut self.block, &mut self.instructions);
        for &(known, name, value) in list {
            block.field(known, name, value);
        }
        block.finish();
    }

    fn decode(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        self.acknowledgements.clear();
        let (bytes, fields) = (&mut self.bytes, &mut self.fields);
        self.decoder.decode(STREAM, &self.block, &LIMITS, bytes, fields).expect("valid");
        self.decoder.output(&mut self.acknowledgements);
    }
}

fn ours(group: &mut BenchmarkGroup<'_, WallTime>, list: &lists::List) {
    let list: Fields = list
        .iter()
        .map(|(name, value)| (Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes()))
        .collect();
    for backend in Backend::available() {
        for (kind, capacity) in [("static", 0), ("dynamic", 4096)] {
            let mut rig = Rig::new(backend, capacity, &list);
            group.bench_function(format!("encode {kind}/ringway {backend}"), |bencher| {
                bencher.iter(|| {
                    rig.encode(&list);
                    rig.encoder.read_decoder_stream(&rig.acknowledgements).expect("valid");
                    black_box(&rig.block);
                });
            });
            group.bench_function(format!("decode {kind}/ringway {backend}"), |bencher| {
                bencher.iter(|| {
                    rig.decode();
                    black_box((&rig.bytes, &rig.fields));
                });
            });
        }
    }
}

#[cfg(lsqpack)]
fn lsqpack(group: &mut BenchmarkGroup<'_, WallTime>, list: &lists::List) {
    for (kind, capacity) in [("static", 0), ("dynamic", 4096)] {
        let mut pair = c::LsQpack::new(capacity, list);
        group.bench_function(format!("encode {kind}/ls-qpack"), |bencher| {
            bencher.iter(|| black_box(pair.encode()));
        });
        group.bench_function(format!("decode {kind}/ls-qpack"), |bencher| {
            bencher.iter(|| black_box(pair.decode()));
        });
    }
}

#[cfg(feature = "peer-quiche")]
fn quiche(group: &mut BenchmarkGroup<'_, WallTime>, list: &lists::List) {
    use quiche::h3::{Header, qpack};
    let header = |(name, value): &(&str, &str)| Header::new(name.as_bytes(), value.as_bytes());
    let list: Vec<Header> = list.iter().map(header).collect();
    let (mut encoder, mut out) = (qpack::Encoder::new(), vec![0; 4096]);
    let len = encoder.encode(&list, &mut out).expect("room");
    let wire = out[..len].to_vec();
    group.bench_function("encode static/quiche", |bencher| {
        bencher.iter(|| black_box(encoder.encode(&list, &mut out).expect("room")));
    });
    let mut decoder = qpack::Decoder::new();
    group.bench_function("decode static/quiche", |bencher| {
        bencher.iter(|| black_box(decoder.decode(&wire, 32_768).expect("valid")));
    });
}

fn all(criterion: &mut Criterion) {
    for (name, list) in [("request", lists::request()), ("response", lists::response())] {
        let mut group = criterion.benchmark_group(format!("qpack {name}"));
        ours(&mut group, &list);
        #[cfg(lsqpack)]
        lsqpack(&mut group, &list);
        #[cfg(feature = "peer-quiche")]
        quiche(&mut group, &list);
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = ringway_bench_codecs::criterion();
    targets = all
}
criterion_main!(benches);
