//! The Huffman code on the values of a browser's request, beside ls-qpack (C), octets (quiche's),
//! httlib-huffman and fluke-hpack. Throughput is in decoded octets both ways.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(missing_docs, reason = "a benchmark")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringway_bench_codecs::targets::HUFFMAN_OCTETS;
use ringway_codec::huffman;
use ringway_codec::scan::Backend;

#[path = "../../peers/c.rs"]
mod c;
#[path = "../../peers/lists.rs"]
mod lists;

const ROOM: usize = 4096;

fn decode(criterion: &mut Criterion) {
    let values = lists::browser_values();
    let mut group = criterion.benchmark_group("huffman decode");
    assert_eq!(values.iter().map(|value| value.len() as u64).sum::<u64>(), HUFFMAN_OCTETS);
    group.throughput(Throughput::Bytes(HUFFMAN_OCTETS));
    let code = |value: &&[u8]| {
        let mut coded = vec![];
        huffman::encode(Backend::Scalar, value, &mut coded);
        coded
    };
    let coded: Vec<Vec<u8>> = values.iter().map(code).collect();
    for backend in Backend::available() {
        let mut out = Vec::with_capacity(ROOM);
        group.bench_function(format!("ringway {backend}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                for coded in &coded {
                    huffman::decode(backend, coded, &mut out).expect("valid");
                }
                black_box(&out);
            });
        });
    }
    #[cfg(lsqpack)]
    group.bench_function("ls-qpack", |bencher| {
        let mut out = vec![0; ROOM];
        bencher.iter(|| {
            let mut at = 0;
            for coded in &coded {
                at += c::lsqpack_decode(coded, &mut out[at..]);
            }
            black_box(&out);
        });
    });
    group.bench_function("octets", |bencher| {
        bencher.iter(|| {
            for coded in &coded {
                let mut octets = octets::Octets::with_slice(coded);
                black_box(octets.get_huffman_decoded().expect("valid"));
            }
        });
    });
    group.bench_function("httlib-huffman", |bencher| {
        let mut out = Vec::with_capacity(ROOM);
        bencher.iter(|| {
            out.clear();
            for coded in &coded {
                let speed = httlib_huffman::DecoderSpeed::FourBits;
                httlib_huffman::decode(coded, &mut out, speed).expect("valid");
            }
            black_box(&out);
        });
    });
    group.bench_function("fluke-hpack", |bencher| {
        let mut decoder = fluke_hpack::huffman::HuffmanDecoder::new();
        bencher.iter(|| {
            for coded in &coded {
                black_box(decoder.decode(coded).expect("valid"));
            }
        });
    });
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let values = lists::browser_values();
    let mut group = criterion.benchmark_group("huffman encode");
    assert_eq!(values.iter().map(|value| value.len() as u64).sum::<u64>(), HUFFMAN_OCTETS);
    group.throughput(Throughput::Bytes(HUFFMAN_OCTETS));
    for backend in Backend::available() {
        let mut out = Vec::with_capacity(ROOM);
        group.bench_function(format!("ringway {backend}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                for value in &values {
                    huffman::encode(backend, value, &mut out);
                }
                black_box(&out);
            });
        });
    }
    #[cfg(lsqpack)]
    group.bench_function("ls-qpack", |bencher| {
        let mut out = vec![0; ROOM];
        bencher.iter(|| {
            let mut at = 0;
            for value in &values {
                at += c::lsqpack_encode(value, &mut out[at..]);
            }
            black_box(&out);
        });
    });
    group.bench_function("octets", |bencher| {
        let mut out = vec![0; ROOM];
        bencher.iter(|| {
            let mut octets = octets::OctetsMut::with_slice(&mut out);
            for value in &values {
                octets.put_huffman_encoded::<false>(value).expect("room");
            }
            black_box(octets.off());
        });
    });
    group.bench_function("httlib-huffman", |bencher| {
        let mut out = Vec::with_capacity(ROOM);
        bencher.iter(|| {
            for value in &values {
                out.clear();
                httlib_huffman::encode(value, &mut out).expect("encodes");
            }
            black_box(&out);
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = ringway_bench_codecs::criterion();
    targets = decode, encode
}
criterion_main!(benches);
