//! HPACK blocks of a browser's request and of a response, beside libnghttp2 and fluke-hpack: the
//! first on a connection, the steady state (everything indexable is in the table), and literals
//! only. All decode the same blocks, made by nghttp2; ringway copies every field out, as the server
//! needs it.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(missing_docs, reason = "a benchmark")]

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use ringway_codec::field::{Field, Known};
use ringway_codec::hpack::{Decoder, Encoder, FieldLimits};
use ringway_codec::scan::Backend;

#[path = "../../peers/c.rs"]
mod c;
#[path = "../../peers/lists.rs"]
mod lists;

const LIMITS: FieldLimits = FieldLimits { list_bytes: 32_768, fields: 100 };
const TABLE: u32 = 4096;

type Fields = Vec<(Known, &'static [u8], &'static [u8])>;
type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn known(list: &lists::List) -> Fields {
    let field = |&(name, value): &(&'static str, &'static str)| {
        (Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes())
    };
    list.iter().map(field).collect()
}

fn write(encoder: &mut Encoder, fields: &Fields, out: &mut Vec<u8>) {
    let mut block = encoder.block(out);
    for &(known, name, value) in fields {
        block.field(known, name, value);
    }
}

fn encode(group: &mut Group<'_>, list: &lists::List) {
    let fields = known(list);
    for backend in Backend::available() {
        let mut out = Vec::with_capacity(4096);
        for (kind, table) in [("steady", TABLE), ("literal", 0)] {
            let mut encoder = Encoder::new(backend, table);
            (0..3).for_each(|_| write(&mut encoder, &fields, &mut out));
            group.bench_function(format!("encode {kind}/ringway {backend}"), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    write(&mut encoder, &fields, &mut out);
                    black_box(&out);
                });
            });
        }
        group.bench_function(format!("encode first/ringway {backend}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                write(&mut Encoder::new(backend, TABLE), &fields, &mut out);
                black_box(&out);
            });
        });
    }
    #[cfg(nghttp2)]
    {
        let (theirs, mut out) = (c::List::new(list), vec![0; 4096]);
        for (kind, table) in [("steady", TABLE), ("literal", 0)] {
            let mut deflater = c::Deflater::new(table as usize);
            deflater.deflate(&theirs, &mut out);
            group.bench_function(format!("encode {kind}/nghttp2"), |bencher| {
                bencher.iter(|| black_box(deflater.deflate(&theirs, &mut out)));
            });
        }
        group.bench_function("encode first/nghttp2", |bencher| {
            bencher.iter(|| c::Deflater::new(TABLE as usize).deflate(&theirs, &mut out));
        });
    }
    let mut fluke = fluke_hpack::Encoder::new();
    let pairs: Vec<(&[u8], &[u8])> = fields.iter().map(|&(_, name, value)| (name, value)).collect();
    group.bench_function("encode steady/fluke-hpack", |bencher| {
        bencher.iter(|| black_box(fluke.encode(pairs.iter().copied())));
    });
}

/// The blocks that every decoder gets: (first, steady, literal).
fn wires(list: &lists::List) -> [Vec<u8>; 3] {
    #[cfg(nghttp2)]
    {
        let (theirs, mut out) = (c::List::new(list), vec![0; 4096]);
        let mut deflater = c::Deflater::new(TABLE as usize);
        let mut next = |deflater: &mut c::Deflater| {
            let len = deflater.deflate(&theirs, &mut out);
            out[..len].to_vec()
        };
        let (first, steady) = (next(&mut deflater), next(&mut deflater));
        let mut deflater = c::Deflater::new(0);
        next(&mut deflater);
        [first, steady, next(&mut deflater)]
    }
    #[cfg(not(nghttp2))]
    {
        eprintln!("without nghttp2: libnghttp2-dev is not there");
        let fields = known(list);
        let next = |encoder: &mut Encoder| {
            let mut out = vec![];
            write(encoder, &fields, &mut out);
            out
        };
        let mut encoder = Encoder::new(Backend::detect(), TABLE);
        let mut literal = Encoder::new(Backend::detect(), 0);
        next(&mut literal);
        [next(&mut encoder), next(&mut encoder), next(&mut literal)]
    }
}

fn decode(group: &mut Group<'_>, list: &lists::List) {
    let [first, steady, literal] = wires(list);
    for backend in Backend::available() {
        let (mut bytes, mut fields) = (Vec::with_capacity(4096), Vec::<Field>::with_capacity(100));
        let mut decoder = Decoder::new(backend, TABLE);
        decoder.decode(&first, &LIMITS, &mut bytes, &mut fields).expect("valid");
        for (kind, wire) in [("steady", &steady), ("literal", &literal)] {
            group.bench_function(format!("decode {kind}/ringway {backend}"), |bencher| {
                bencher.iter(|| {
                    bytes.clear();
                    fields.clear();
                    decoder.decode(wire, &LIMITS, &mut bytes, &mut fields).expect("valid");
                    black_box((&bytes, &fields));
                });
            });
        }
        group.bench_function(format!("decode first/ringway {backend}"), |bencher| {
            bencher.iter(|| {
                bytes.clear();
                fields.clear();
                let mut decoder = Decoder::new(backend, TABLE);
                decoder.decode(&first, &LIMITS, &mut bytes, &mut fields).expect("valid");
                black_box((&bytes, &fields));
            });
        });
    }
    #[cfg(nghttp2)]
    {
        let mut inflater = c::Inflater::new();
        inflater.inflate(&first);
        for (kind, wire) in [("steady", &steady), ("literal", &literal)] {
            group.bench_function(format!("decode {kind}/nghttp2"), |bencher| {
                bencher.iter(|| black_box(inflater.inflate(wire)));
            });
        }
        group.bench_function("decode first/nghttp2", |bencher| {
            bencher.iter(|| black_box(c::Inflater::new().inflate(&first)));
        });
    }
    let mut fluke = fluke_hpack::Decoder::new();
    fluke.decode(&first).expect("valid");
    for (kind, wire) in [("steady", &steady), ("literal", &literal)] {
        group.bench_function(format!("decode {kind}/fluke-hpack"), |bencher| {
            bencher.iter(|| black_box(fluke.decode(wire).expect("valid")));
        });
    }
}

fn all(criterion: &mut Criterion) {
    for (name, list) in [("request", lists::request()), ("response", lists::response())] {
        let mut group = criterion.benchmark_group(format!("hpack {name}"));
        encode(&mut group, &list);
        decode(&mut group, &list);
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = ringway_bench_codecs::criterion();
    targets = all
}
criterion_main!(benches);
