//! HTTP/1.1 heads: every backend beside httparse and picohttpparser.
//!
//! The peers get uninitialised headers, their fastest mode; ours also classifies the names.
//! picohttpparser is included if fetch-peers.sh has fetched the Python package gunicorn-h1c, which
//! ships its source. `tables.rs` prints the ratios afterwards.

#[path = "../../peers/c.rs"]
mod c_peers;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringway_codec::date::Date;
use ringway_codec::h1::chunked::{ChunkedDecoder, Item};
use ringway_codec::h1::request::{self, Limits, Resume};
use ringway_codec::h1::response::{self, Template};
use ringway_codec::scan::{Backend, PAD, Padded};
use std::hint::black_box;
use std::io::Write;
use std::mem::MaybeUninit;

const HEADS: [(&str, &[u8]); 4] = [
    ("47", include_bytes!("../../data/head-47.http")),
    ("382", include_bytes!("../../data/head-382.http")),
    ("703", include_bytes!("../../data/head-703.http")),
    ("2048", include_bytes!("../../data/head-2048.http")),
];

fn requests(c: &mut Criterion) {
    for (name, head) in HEADS {
        let mut group = c.benchmark_group(format!("h1-request-{name}"));
        group.throughput(Throughput::Bytes(head.len() as u64));
        let mut whole = head.to_vec();
        whole.extend([0; PAD]);
        let limits = Limits::default();
        let mut fields = Vec::with_capacity(limits.fields as usize);
        for backend in Backend::available() {
            group.bench_function(format!("ringway {backend}"), |b| {
                b.iter(|| {
                    let input = Padded::new(black_box(&whole), head.len());
                    let mut resume = Resume::default();
                    let parsed = request::parse(backend, input, &mut fields, &mut resume, &limits);
                    assert!(matches!(parsed, Ok(Some(_))));
                    black_box((&parsed, &fields));
                });
            });
        }
        group.bench_function("httparse", |b| {
            b.iter(|| {
                let mut headers = [const { MaybeUninit::uninit() }; 100];
                let mut request = httparse::Request::new(&mut []);
                let parsed = request.parse_with_uninit_headers(black_box(head), &mut headers);
                assert!(parsed.is_ok_and(|status| status.is_complete()));
                black_box(&request);
            });
        });
        #[cfg(picohttpparser)]
        group.bench_function("picohttpparser", |b| {
            b.iter(|| assert!(c_peers::pico_parse(black_box(head)) == head.len()));
        });
        group.finish();
    }
}

fn responses(c: &mut Criterion) {
    let mut group = c.benchmark_group("h1-response");
    let date = Date::new(784_111_777);
    let template = Template::new(200, &[(b"content-type", b"text/plain")]);
    let mut out = Vec::with_capacity(4096);
    group.bench_function("ringway template", |b| {
        b.iter(|| {
            out.clear();
            black_box(&template).write(&mut out, black_box(&date), black_box(13));
            black_box(&out);
        });
    });
    group.bench_function("ringway pieces", |b| {
        b.iter(|| {
            out.clear();
            response::status_line(&mut out, black_box(200));
            response::field(&mut out, b"content-type", black_box(b"text/plain"));
            response::date(&mut out, black_box(&date));
            response::content_length(&mut out, black_box(13));
            response::end(&mut out);
            black_box(&out);
        });
    });
    group.bench_function("write!", |b| {
        b.iter(|| {
            out.clear();
            let date = std::str::from_utf8(black_box(&date).imf()).unwrap_or_default();
            let written = write!(
                out,
                "HTTP/1.1 {} OK\r\ncontent-type: {}\r\ndate: {}\r\ncontent-length: {}\r\n\r\n",
                black_box(200),
                black_box("text/plain"),
                date,
                black_box(13),
            );
            assert!(written.is_ok());
            black_box(&out);
        });
    });
    group.finish();
}

fn chunks(c: &mut Criterion) {
    for size in [64usize, 4096] {
        let mut group = c.benchmark_group(format!("h1-chunked-{size}"));
        let mut body = Vec::new();
        for _ in 0..16 {
            body.extend_from_slice(format!("{size:x}\r\n").as_bytes());
            body.resize(body.len() + size, b'x');
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("ringway", |b| {
            b.iter_batched(
                ChunkedDecoder::default,
                |mut decoder| {
                    let (mut at, mut total) = (0, 0);
                    loop {
                        match decoder.next(black_box(&body), &mut at) {
                            Ok(Item::Data(range)) => total += range.len(),
                            Ok(Item::End) => break total,
                            other => panic!("{other:?}"),
                        }
                    }
                },
                BatchSize::SmallInput,
            );
        });
        // httparse parses only the size lines; the caller walks from one to the next.
        group.bench_function("httparse", |b| {
            b.iter(|| {
                let (mut rest, mut total) = (black_box(&body[..]), 0);
                while let Ok(httparse::Status::Complete((at, size))) =
                    httparse::parse_chunk_size(rest)
                {
                    if size == 0 {
                        break;
                    }
                    total += size;
                    rest = &rest[at + size as usize + 2..];
                }
                total
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = ringway_bench_codecs::criterion();
    targets = requests, responses, chunks
}
criterion_main!(benches);
