//! The cost of TLS per record and per handshake: `ringway::tls` beside rustls' own unbuffered API,
//! and the memory of an idle session. `cargo bench -p ringway-bench --bench tls`; the figures and
//! their discussion are in `bench/results/notes-tls.md`.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(missing_docs)]

use std::alloc::System;
use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group};
use ringway::tls::{Acceptor, Alpn, Session, SessionEvent, Tls};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedCipherSuite};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SUITE: SupportedCipherSuite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
const SIZES: [usize; 4] = [100, 1024, 4096, 16_384];

fn client_config(tls: &Tls, resume: bool) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(tls.certificates()[0].chain()[0].clone()).unwrap();
    let provider = CryptoProvider { cipher_suites: vec![SUITE], ..aws_lc_rs::default_provider() };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    if !resume {
        config.resumption = Resumption::disabled();
    }
    Arc::new(config)
}

fn client(config: &Arc<ClientConfig>) -> ClientConnection {
    let mut client =
        ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
    client.set_buffer_limit(None);
    client
}

fn take(client: &mut ClientConnection) -> Vec<u8> {
    let mut wire = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut wire).unwrap();
    }
    wire
}

fn give(client: &mut ClientConnection, mut wire: &[u8]) {
    while !wire.is_empty() {
        client.read_tls(&mut wire).unwrap();
        client.process_new_packets().unwrap();
    }
}

/// A handshake, and the time of its server side.
fn establish(acceptor: &mut Acceptor, client: &mut ClientConnection) -> (Session, Duration) {
    let (mut out, mut spent) = (Vec::new(), Duration::ZERO);
    let start = Instant::now();
    let mut session = acceptor.session().unwrap();
    spent += start.elapsed();
    while session.is_handshaking() {
        let mut wire = take(client);
        let (mut at, start) = (0, Instant::now());
        loop {
            let step = session.read(&mut wire[at..], &mut out).unwrap();
            at += step.consumed;
            if step.consumed == 0 || step.event == SessionEvent::Established {
                break;
            }
        }
        spent += start.elapsed();
        give(client, &std::mem::take(&mut out));
    }
    (session, spent)
}

/// The peer: rustls' server by its unbuffered API alone.
struct Unbuffered {
    connection: UnbufferedServerConnection,
    out: Vec<u8>,
}

impl Unbuffered {
    fn establish(config: &Arc<ServerConfig>, client: &mut ClientConnection) -> Self {
        let connection = UnbufferedServerConnection::new(config.clone()).unwrap();
        let mut server = Self { connection, out: vec![0; 64 * 1024] };
        let mut wire = Vec::new();
        loop {
            wire.extend(take(client));
            let UnbufferedStatus { discard, state } =
                server.connection.process_tls_records(&mut wire);
            match state.unwrap() {
                ConnectionState::EncodeTlsData(mut message) => {
                    let written = message.encode(&mut server.out).unwrap();
                    give(client, &server.out[..written]);
                }
                ConnectionState::TransmitTlsData(message) => message.done(),
                ConnectionState::WriteTraffic(_) => return server,
                _ => {}
            }
            wire.drain(..discard);
        }
    }

    fn seal(&mut self, plain: &[u8]) -> usize {
        match self.connection.process_tls_records(&mut []).state.unwrap() {
            ConnectionState::WriteTraffic(mut traffic) => {
                traffic.encrypt(plain, &mut self.out).unwrap()
            }
            _ => unreachable!("established, and nothing to read"),
        }
    }

    fn open(&mut self, mut wire: &mut [u8]) -> usize {
        let mut got = 0;
        while !wire.is_empty() {
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(wire);
            match state.unwrap() {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        got += record.unwrap().payload.len();
                    }
                }
                ConnectionState::WriteTraffic(_) => {}
                _ => unreachable!("established, and nothing to write"),
            }
            wire = &mut wire[discard..];
        }
        got
    }
}

fn open(session: &mut Session, wire: &mut [u8]) -> usize {
    let (mut at, mut got, mut out) = (0, 0, Vec::new());
    while at < wire.len() {
        let step = session.read(&mut wire[at..], &mut out).unwrap();
        at += step.consumed;
        got += step.plain.len();
    }
    got
}

fn peer_config(tls: &Tls) -> Arc<ServerConfig> {
    let certificate = &tls.certificates()[0];
    let config = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_no_client_auth()
        .with_single_cert(certificate.chain().to_vec(), certificate.key_der().clone_key());
    let mut config = config.unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

fn records(c: &mut Criterion) {
    let tls = Tls::self_signed().unwrap();
    let mut acceptor = tls.acceptor(&[Alpn::H2]).unwrap();
    let (config, peer) = (client_config(&tls, false), peer_config(&tls));
    for size in SIZES {
        let data = vec![b'x'; size];
        let mut group = c.benchmark_group(format!("seal/{size}"));
        group.throughput(Throughput::Bytes(size as u64));
        let (mut session, _) = establish(&mut acceptor, &mut client(&config));
        let mut out = Vec::with_capacity(64 * 1024);
        group.bench_function("ringway", |b| {
            b.iter(|| {
                out.clear();
                session.seal(black_box(&data), &mut out).unwrap();
            });
        });
        group.bench_function("ringway-in-place", |b| {
            let room = session.headroom();
            out.resize(room + size, 0);
            b.iter(|| {
                out.truncate(room + size);
                session.seal_in_place(black_box(&mut out), 0).unwrap();
            });
        });
        let mut unbuffered = Unbuffered::establish(&peer, &mut client(&config));
        group.bench_function("rustls-unbuffered", |b| {
            b.iter(|| unbuffered.seal(black_box(&data)));
        });
        group.finish();

        let mut group = c.benchmark_group(format!("open/{size}"));
        group.throughput(Throughput::Bytes(size as u64 * BATCH as u64));
        let mut sender = client(&config);
        let (mut session, _) = establish(&mut acceptor, &mut sender);
        group.bench_function("ringway", |b| {
            let wire = || sealed(&mut sender, &data);
            b.iter_batched_ref(wire, |wire| open(&mut session, wire), BatchSize::PerIteration);
        });
        let mut sender = client(&config);
        let mut unbuffered = Unbuffered::establish(&peer, &mut sender);
        group.bench_function("rustls-unbuffered", |b| {
            let wire = || sealed(&mut sender, &data);
            b.iter_batched_ref(wire, |wire| unbuffered.open(wire), BatchSize::PerIteration);
        });
        group.finish();
    }
}

/// Records to open at once.
const BATCH: usize = 64;

fn sealed(client: &mut ClientConnection, data: &[u8]) -> Vec<u8> {
    for _ in 0..BATCH {
        client.writer().write_all(data).unwrap();
    }
    take(client)
}

/// The cost of waking an idle session: both keys expanded again for one record each way.
fn waking(c: &mut Criterion) {
    let tls = Tls::self_signed().unwrap();
    let mut acceptor = tls.acceptor(&[Alpn::H2]).unwrap();
    let (mut session, _) = establish(&mut acceptor, &mut client(&client_config(&tls, false)));
    let mut out = Vec::with_capacity(4096);
    c.bench_function("seal/100/after-rest", |b| {
        b.iter(|| {
            out.clear();
            session.rest();
            session.seal(black_box(&[0; 100]), &mut out).unwrap();
        });
    });
}

fn handshakes(c: &mut Criterion) {
    let tls = Tls::self_signed().unwrap();
    let mut acceptor = tls.acceptor(&[Alpn::H2]).unwrap();
    let mut group = c.benchmark_group("handshake");
    for (name, resume) in [("full", false), ("resumed", true)] {
        let config = client_config(&tls, resume);
        establish(&mut acceptor, &mut client(&config));
        group.bench_function(name, |b| {
            b.iter_custom(|count| {
                (0..count).map(|_| establish(&mut acceptor, &mut client(&config)).1).sum()
            });
        });
    }
    group.finish();
}

/// Private memory in bytes, as counted by the kernel, C libraries included.
fn resident() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<i64>().unwrap() * 4096
}

fn memory() {
    const COUNT: i64 = 8000;
    let tls = Tls::self_signed().unwrap();
    let mut acceptor = tls.acceptor(&[Alpn::H2]).unwrap();
    let (config, peer) = (client_config(&tls, false), peer_config(&tls));
    println!("size_of Session: {}", size_of::<Session>());
    for _ in 0..1000 {
        establish(&mut acceptor, &mut client(&config));
        Unbuffered::establish(&peer, &mut client(&config));
    }
    let before = resident();
    let sessions: Vec<_> =
        (0..COUNT).map(|_| establish(&mut acceptor, &mut client(&config)).0).collect();
    println!("idle session, ringway: {} B", (resident() - before) / COUNT);
    let before = resident();
    let mut rested = Vec::new();
    for _ in 0..COUNT {
        let (mut session, _) = establish(&mut acceptor, &mut client(&config));
        session.rest();
        rested.push(session);
    }
    println!("idle session at rest, ringway: {} B", (resident() - before) / COUNT);
    let before = resident();
    let mut connections = Vec::new();
    for _ in 0..COUNT {
        connections.push(Unbuffered::establish(&peer, &mut client(&config)).connection);
    }
    println!("idle session, rustls unbuffered: {} B", (resident() - before) / COUNT);
    let before = resident();
    let mut half_open = Vec::new();
    for _ in 0..COUNT {
        let (mut session, mut out) = (acceptor.session().unwrap(), Vec::new());
        let mut wire = take(&mut client(&config));
        session.read(&mut wire, &mut out).unwrap();
        half_open.push(session);
    }
    println!("half-open session, ringway: {} B", (resident() - before) / COUNT);
    drop((sessions, rested, connections, half_open));

    let mut session = establish(&mut acceptor, &mut client(&config)).0;
    let mut unbuffered = Unbuffered::establish(&peer, &mut client(&config));
    let (data, mut out) = (vec![0; 1024], Vec::with_capacity(4096));
    let region = Region::new(ALLOCATOR);
    for _ in 0..1000 {
        out.clear();
        session.seal(&data, &mut out).unwrap();
    }
    println!("1000 records sealed, ringway: {} allocations", region.change().allocations);
    let region = Region::new(ALLOCATOR);
    for _ in 0..1000 {
        unbuffered.seal(&data);
    }
    println!("1000 records sealed, rustls: {} allocations", region.change().allocations);
    let mut sender = client(&config);
    let mut session = establish(&mut acceptor, &mut sender).0;
    let mut wire = sealed(&mut sender, &data);
    let region = Region::new(ALLOCATOR);
    open(&mut session, &mut wire);
    println!("{BATCH} records opened, ringway: {} allocations", region.change().allocations);
    let mut sender = client(&config);
    let mut unbuffered = Unbuffered::establish(&peer, &mut sender);
    let mut wire = sealed(&mut sender, &data);
    let region = Region::new(ALLOCATOR);
    unbuffered.open(&mut wire);
    println!("{BATCH} records opened, rustls: {} allocations", region.change().allocations);
}

criterion_group!(benches, records, waking, handshakes);

fn main() {
    // With a filter or an option, only the benchmarks run.
    if std::env::args().skip(1).all(|arg| arg == "--bench") {
        memory();
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
