//! HTTP/2 requests and responses without a socket: a read buffer with 100 HEADERS in, 100 HEADERS
//! and DATA out. Earlier requests have filled both dynamic tables, as on any warm connection.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringway_codec::field::Known;
use ringway_codec::h2::{Body, Config, Conn, Event, Io, Shared};
use ringway_codec::scan::Backend;
use ringway_codec::{Time, hpack};

const STREAMS: usize = 100;
const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";

struct Client {
    encoder: hpack::Encoder,
    next: u32,
}

impl Client {
    /// HEADERS of one request, as h2load sends them; with `vary`, every request has another path.
    fn request(&mut self, out: &mut Vec<u8>, vary: bool) {
        let at = out.len();
        out.extend([0, 0, 0, 1, 5]);
        out.extend(self.next.to_be_bytes());
        let path = format!("/baseline2?a={}&b=2", if vary { self.next } else { 1 });
        let mut block = self.encoder.block(out);
        block.field(Known::PseudoMethod, b"", b"GET");
        block.field(Known::PseudoScheme, b"", b"http");
        block.field(Known::PseudoAuthority, b"", b"127.0.0.1:8080");
        let indexing = if vary { hpack::Indexing::Literal } else { hpack::Indexing::Insert };
        block.field_as(indexing, Known::PseudoPath, b"", path.as_bytes());
        block.field(Known::UserAgent, b"", b"h2load nghttp2/1.52.0");
        let len = (out.len() - at - 9) as u32;
        out[at..at + 3].copy_from_slice(&len.to_be_bytes()[1..]);
        self.next += 2;
    }
}

/// One connection, and a client's input on it.
struct Rig {
    conn: Conn,
    shared: Shared,
    out: Vec<u8>,
    input: Vec<u8>,
    /// Offsets of the stream ids in `input`.
    ids: Vec<usize>,
    next: u32,
}

impl Rig {
    fn new(vary: bool) -> Self {
        let mut shared = Shared::new(Backend::detect(), Config::default());
        let mut out = Vec::new();
        let mut io = Io { shared: &mut shared, out: &mut out, now: Time(0) };
        let conn = Conn::new(&mut io);
        let mut client = Client { encoder: hpack::Encoder::new(Backend::detect(), 4096), next: 1 };
        let mut input = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        input.extend([0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0]);
        input.extend([0, 0, 4, 8, 0, 0, 0, 0, 0, 0x3f, 0xff, 0, 0]);
        let mut warm = input;
        client.request(&mut warm, vary);
        let mut rig = Self { conn, shared, out, input: Vec::new(), ids: Vec::new(), next: 3 };
        assert_eq!(rig.serve(&warm), 1);
        for _ in 0..STREAMS {
            rig.ids.push(rig.input.len() + 5);
            let mut one = Vec::new();
            client.request(&mut one, vary);
            rig.input.extend(one);
        }
        rig
    }

    /// The server's processing of a read buffer.
    fn serve(&mut self, input: &[u8]) -> usize {
        let mut io = Io { shared: &mut self.shared, out: &mut self.out, now: Time(1) };
        let (mut at, mut served) = (0, 0);
        loop {
            match self.conn.receive(input, &mut at, &mut io) {
                Ok(Event::More) => break,
                Ok(Event::Request(request)) => {
                    self.conn.respond(request.key, 200, Body::Whole(b"3"), &mut io, |head| {
                        head.cached(0x1234_5678, |head| {
                            head.field(Known::Server, b"", b"ringway");
                            head.field(Known::ContentType, b"", b"text/plain");
                            head.field(Known::Date, b"", DATE);
                            head.content_length(1);
                        });
                    });
                    served += 1;
                }
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
        served
    }

    /// The same requests again, under new stream ids.
    fn round(&mut self) {
        for at in &self.ids {
            self.input[*at..*at + 4].copy_from_slice(&self.next.to_be_bytes());
            self.next += 2;
        }
        self.out.clear();
        let input = std::mem::take(&mut self.input);
        assert_eq!(self.serve(&input), STREAMS);
        self.input = input;
        if self.next > 1 << 30 {
            panic!("out of stream ids");
        }
    }
}

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("h2");
    group.throughput(Throughput::Elements(STREAMS as u64));
    for (name, vary) in [("100 equal requests", false), ("100 requests, own paths", true)] {
        let mut rig = Rig::new(vary);
        group.bench_function(name, |b| {
            b.iter(|| {
                if rig.next > 1 << 29 {
                    rig = Rig::new(vary);
                }
                rig.round();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
