//! F1 and row 97: an unvalidated address gets at most three times the octets received from it,
//! without time limit (RFC 9000 section 8.1). quiche reads the clock itself. The initial round trip
//! is set to a millisecond, so that its timers go through in seconds what otherwise takes many
//! minutes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pair;

use pair::client::{self, Client};
use pair::server;
use pair::{Link, SERVER, Server, World, alone};
use ringway_quic::boring::ssl::{SslContextBuilder, SslMethod};
use ringway_quic::{Policy, Settings, cid, quiche};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// With a first probe after 3 ms, this equals ten minutes with the usual first probe after a
/// second.
const SILENCE: Duration = Duration::from_millis(1800);

/// Most timers due in that time: each probe is twice as far off as the previous one.
const TIMERS_MAX: usize = 40;

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// A world whose server waits long, expects a round trip of a millisecond, and has a chain with
/// this many extra certificates.
fn world(chain: usize, retry: bool) -> World {
    let wait = Duration::from_secs(600);
    let settings = Settings { idle_timeout: wait, ..Settings::default() };
    let retry_from = if retry { 0 } else { 100 };
    let policy = Policy { handshake_timeout: wait, retry_from, ..server::policy() };
    let mut server = Server::with(policy, settings.clone());
    let mut tls = server::tls(Arc::clone(&server.register));
    for _ in 0..chain {
        tls.add_extra_chain_cert(server::certificate().0.clone()).unwrap();
    }
    let mut config = settings.config(tls).unwrap();
    config.quic().set_initial_rtt(Duration::from_millis(1));
    server.endpoint.replace_config(config);
    World::new(1, Link::default(), server)
}

/// Certificates that make a chain of 12 KB.
fn long_chain() -> usize {
    12_000 / server::certificate().0.to_der().unwrap().len()
}

/// A client and its first datagrams: two, as the share of a post-quantum key exchange is long.
fn client() -> (Client, Vec<Vec<u8>>) {
    first_of(Client::new(1001))
}

/// A client of a classic key exchange, whose ClientHello fits one datagram.
fn classic() -> (Client, Vec<Vec<u8>>) {
    let mut tls = SslContextBuilder::new(SslMethod::tls()).unwrap();
    tls.set_curves_list("X25519").unwrap();
    let mut config =
        quiche::Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, tls).unwrap();
    client::set(&mut config);
    first_of(Client::with(1001, &mut config, None))
}

fn first_of(mut client: Client) -> (Client, Vec<Vec<u8>>) {
    let mut wire = World::plain().net;
    client.flush(&mut wire);
    let sent = wire.take_all().into_iter().map(|(_, _, bytes)| bytes).collect();
    (client, sent)
}

/// Delivers these datagrams to the server from `from`.
fn arrive(world: &mut World, from: &str, datagrams: &[Vec<u8>]) {
    for datagram in datagrams {
        let mut bytes = datagram.clone();
        world.server.datagram(&mut bytes, at(from), at(SERVER), &mut world.net);
    }
    world.server.turn(&mut world.net);
}

/// The server receives nothing for a long time. Returns what it sent.
fn silence(world: &mut World) -> Vec<Vec<u8>> {
    let (begun, mut timers) = (Instant::now(), 0);
    while begun.elapsed() < SILENCE {
        let due = world.server.endpoint.deadline().unwrap_or(begun + SILENCE);
        std::thread::sleep(due.min(begun + SILENCE).saturating_duration_since(Instant::now()));
        world.server.turn(&mut world.net);
        timers += 1;
    }
    assert!(timers <= TIMERS_MAX, "{timers} timers in a silence");
    world.net.take_all().into_iter().map(|(_, _, bytes)| bytes).collect()
}

fn len(datagrams: &[Vec<u8>]) -> usize {
    datagrams.iter().map(Vec::len).sum()
}

/// Every datagram of one Initial, or of all of the client's, and of a short and a long chain.
#[test]
fn f1_row_97_silence_after_the_first_datagrams() {
    for (chain, (_, flight), is_whole) in [
        (0, classic(), true),
        (long_chain(), classic(), true),
        (0, client(), true),
        (long_chain(), client(), true),
        (0, client(), false),
    ] {
        let mut world = world(chain, false);
        let flight = &flight[..if is_whole { flight.len() } else { 1 }];
        arrive(&mut world, "127.0.0.1:1001", flight);
        let sent = silence(&mut world);
        let (sent, came) = (len(&sent), len(flight));
        println!("a chain of {chain}: {sent} octets for {came}");
        assert!(sent > 0 && sent <= 3 * came, "{sent} octets for {came}");
        // Half a ClientHello is only acknowledged.
        assert!(sent >= 2 * came || !is_whole, "and not much less: {sent} for {came}");
    }
}

/// A blocked server continues when the client sends again, whether its earlier packets were lost or
/// not. A chain of 12 KB gets through, even with heavy loss.
#[test]
fn f1_a_client_that_sends_again_gets_through() {
    for (is_lost, loss) in [(true, 0), (false, 0), (true, 100), (false, 100)] {
        let mut world = world(long_chain(), false);
        let (mut client, flight) = client();
        arrive(&mut world, "127.0.0.1:1001", &flight);
        let sent = silence(&mut world);
        assert!(len(&sent) <= 3 * len(&flight));
        if !is_lost {
            for mut datagram in sent {
                client.datagram(&mut datagram, at(SERVER), at("127.0.0.1:1001"));
            }
        }
        world.net.link.loss = loss;
        world.client(client);
        world.run(|world| world.clients[0].conn.is_established());
        world.clients[0].begin();
        world.clients[0].request("GET", "/shared/100000", b"");
        world.run(|world| world.clients[0].all_over());
        assert_eq!(world.server.endpoint.totals().accepted, 1, "the connection that was blocked");
    }
}

/// Packets that look like Handshake packets validate nothing, alone or after a genuine Initial.
#[test]
fn f1_a_forged_handshake_packet_validates_nothing() {
    let mut world = world(long_chain(), false);
    let (_, flight) = client();
    let mut sent = 0;
    let mut came = len(&flight);
    arrive(&mut world, "127.0.0.1:1001", &flight);
    let mut first = silence(&mut world);
    sent += len(&first);
    let header = quiche::Header::from_slice(&mut first[0], cid::LEN).unwrap();
    let (ours, theirs) = (header.scid.to_vec(), header.dcid.to_vec());
    for kind in [0xe0u8, 0xe3, 0xd0, 0xf0] {
        let mut forged = vec![kind, 0, 0, 0, 1, ours.len() as u8];
        forged.extend_from_slice(&ours);
        forged.push(theirs.len() as u8);
        forged.extend_from_slice(&theirs);
        forged.extend_from_slice(&[0x40, 100]);
        forged.extend_from_slice(&[0x5a; 100]);
        let behind = [flight[0].clone(), forged.clone()].concat();
        let more = [forged.clone(), behind, [&forged[..], &forged].concat()];
        came += len(&more);
        arrive(&mut world, "127.0.0.1:1001", &more);
        sent += len(&silence(&mut world));
        assert!(sent <= 3 * came, "{sent} octets for {came}");
    }
}

/// Closes stay within the limit, and use what is left of it even if a padded Initial no longer
/// fits.
#[test]
fn f1_row_97_closes_keep_to_the_limit() {
    for is_application in [false, true] {
        for chain in [0, long_chain()] {
            let mut world = world(chain, false);
            let (_, one) = classic();
            arrive(&mut world, "127.0.0.1:1001", &one);
            let mut sent = len(&silence(&mut world));
            let id = world.server.endpoint.ids().next().unwrap();
            // A little more is allowed, but no full-size datagram.
            let little = vec![vec![0xc0; 40]];
            let (conn, _) = world.server.endpoint.get(id).unwrap();
            let _ = conn.quic().close(is_application, 0x1, b"");
            world.server.turn(&mut world.net);
            let mut came = len(&one);
            for _ in 0..50 {
                came += 40;
                arrive(&mut world, "127.0.0.1:1001", &little);
                sent += len(&silence_for(&mut world, Duration::from_millis(5)));
                assert!(sent <= 3 * came, "{sent} octets for {came}");
            }
        }
    }
}

fn silence_for(world: &mut World, time: Duration) -> Vec<Vec<u8>> {
    std::thread::sleep(time);
    world.server.turn(&mut world.net);
    world.net.take_all().into_iter().map(|(_, _, bytes)| bytes).collect()
}

/// A violation in the second Initial is reported although less than 1,200 octets are left.
#[test]
fn f1_a_close_is_sent_without_room_for_a_padded_initial() {
    let mut world = world(long_chain(), false);
    let (mut client, flight) = client();
    arrive(&mut world, "127.0.0.1:1001", &flight);
    for mut datagram in silence(&mut world) {
        client.datagram(&mut datagram, at(SERVER), at("127.0.0.1:1001"));
    }
    let id = world.server.endpoint.ids().next().unwrap();
    // quiche ignores packets of no connection, but their octets count.
    let header = {
        let mut first = flight[0].clone();
        quiche::Header::from_slice(&mut first, cid::LEN).unwrap().dcid.to_vec()
    };
    let mut noise = vec![0xe0, 0, 0, 0, 1, header.len() as u8];
    noise.extend_from_slice(&header);
    noise.resize(100, 0);
    arrive(&mut world, "127.0.0.1:1001", &[noise]);
    assert!(world.net.take_all().is_empty(), "no Initial of less than 1,200 octets");
    let (conn, _) = world.server.endpoint.get(id).unwrap();
    conn.quic().close(false, 0xa, b"").unwrap();
    world.server.turn(&mut world.net);
    let told = world.net.take_all();
    assert_eq!(told.len(), 1, "the end");
    assert!(told[0].2.len() <= 300);
    let mut end = told[0].2.clone();
    client.datagram(&mut end, at(SERVER), at("127.0.0.1:1001"));
    assert_eq!(client.conn.peer_error().map(|error| error.error_code), Some(0xa));
}

/// A Retry and a version negotiation are smaller than three times their cause, even with the
/// longest connection IDs; our token lifts the limit, because it came back from the address that it
/// was sent to.
#[test]
fn f1_row_97_retry_and_version_negotiation() {
    let mut world = world(long_chain(), true);
    let (mut client, flight) = client();
    let (_, mut retry) = alone(&mut world.server.endpoint, &flight[0], at("127.0.0.1:1001"));
    assert!(!retry.is_empty() && retry.len() < flight[0].len());
    for len in [0, 8, 20, 21, 255] {
        let mut other = vec![0xc0, 0x1a, 0x2a, 0x3a, 0x4a];
        for _ in 0..2 {
            other.push(len);
            other.resize(other.len() + usize::from(len), 7);
        }
        other.resize(1200, 0);
        let (_, answer) = alone(&mut world.server.endpoint, &other, at("127.0.0.1:1001"));
        assert!(answer.len() < other.len(), "{} octets", answer.len());
        assert_eq!(answer[1..6], [0, 0, 0, 0, len], "a version negotiation for this client");
    }
    client.datagram(&mut retry, at(SERVER), at("127.0.0.1:1001"));
    let mut wire = World::plain().net;
    client.flush(&mut wire);
    let second: Vec<_> = wire.take_all().into_iter().map(|(_, _, bytes)| bytes).collect();
    arrive(&mut world, "127.0.0.1:1001", &second);
    let sent = len(&silence(&mut world));
    assert!(sent > 3 * len(&second), "{sent} octets for {}", len(&second));
}

/// An attacker sends a client's datagrams from another address before they arrive from its own, and
/// the server follows. That address gets three times the octets received from it, path probes and
/// retransmissions included, until a PATH_RESPONSE arrives.
#[test]
fn f1_row_97_migration_to_an_address_that_is_not_validated() {
    let mut world = world(0, false);
    world.client(Client::with(1001, &mut client::config(), None));
    world.run(|world| world.clients[0].conn.is_established());
    world.clients[0].begin();
    world.clients[0].supply_cids();
    world.clients[0].request("GET", "/", b"");
    world.run(|world| world.clients[0].all_over());
    world.run_for(Duration::from_millis(50));
    world.clients[0].request("GET", "/pull/900000", b"");
    world.clients[0].flush(&mut world.net);
    let (mut came, mut sent) = (0, 0);
    for _ in 0..3 {
        let stolen: Vec<_> = world.net.take_all().into_iter().map(|(.., bytes)| bytes).collect();
        came += len(&stolen);
        for mut bytes in stolen {
            let from = at("127.0.0.6:666");
            world.server.datagram(&mut bytes, from, at(SERVER), &mut world.net);
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(600) {
            world.server.turn(&mut world.net);
            for (_, to, bytes) in world.net.take_all() {
                sent += if to == at("127.0.0.6:666") { bytes.len() } else { 0 };
            }
            assert!(sent <= 3 * came, "{sent} octets for {came}");
            let due = world.server.endpoint.deadline().unwrap_or(begun);
            let due = due.min(begun + Duration::from_millis(600));
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        world.clients[0].conn.send_ack_eliciting().unwrap();
        world.clients[0].flush(&mut world.net);
    }
    println!("{sent} octets to another for {came}");
    assert!(sent > 0, "the server has followed");
    // The real client sends again, and is served.
    let id = world.clients[0].request("GET", "/", b"");
    world.run(|world| world.clients[0].responses[&id].is_over());
    // An address that answers the challenge gets everything.
    world.clients[0].rebind(2002);
    let id = world.clients[0].request("GET", "/shared/500000", b"");
    let whole = server::body(500_000);
    world.run(|world| world.clients[0].responses[&id].body == whole);
}
