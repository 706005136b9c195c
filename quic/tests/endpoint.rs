//! The endpoint without a protocol on top: which connection a datagram belongs to, and the answers
//! to strangers.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test fails by panicking")]

mod pair;

use pair::client::{self, Client};
use pair::server::{self, State};
use pair::{Link, SERVER, Server, World, alone};
use ringway_quic::cid::{self, Cids, Origin};
use ringway_quic::endpoint::Drop;
use ringway_quic::{Endpoint, Policy, Received, Settings, quiche};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

fn stranger() -> SocketAddr {
    "127.0.0.9:999".parse().unwrap()
}

/// The first datagram of a client at `port`.
fn initial(port: u16) -> Vec<u8> {
    let mut client = Client::new(port);
    let mut wire = World::plain().net;
    client.flush(&mut wire);
    wire.take_all().remove(0).2
}

fn world(change: impl FnOnce(&mut Policy, &mut Settings)) -> World {
    let (mut policy, mut settings) = (server::policy(), Settings::default());
    change(&mut policy, &mut settings);
    World::new(1, Link::default(), Server::with(policy, settings))
}

fn endpoint(world: &mut World) -> &mut Endpoint<State> {
    &mut world.server.endpoint
}

fn dropped(reason: Drop) -> Received {
    Received::Dropped(reason)
}

/// D6: a connection has several connection IDs, all made by us and all leading here.
#[test]
fn d6_a_connection_has_spare_ids_of_ours() {
    let mut world = World::plain();
    world.client(Client::new(1001));
    world.run(|world| world.clients[0].conn.available_dcids() == 3);
    let mut cids = Cids::new(&server::keys());
    let dcid = world.clients[0].conn.destination_id().into_owned();
    assert_eq!(dcid.len(), cid::LEN);
    assert_eq!(cids.decode(&dcid), Some(Origin { worker: 0, generation: 1 }));
    // The client's own first choice, the handshake's, and three spare ones.
    assert_eq!(endpoint(&mut world).load(), (1, 0, 5));
    world.clients[0].conn.retire_dcid(0).unwrap();
    world.run(|world| {
        let replaced = world.clients[0].conn.available_dcids() == 3;
        replaced && world.clients[0].conn.active_scids() == 1
    });
    assert_eq!(endpoint(&mut world).load(), (1, 0, 5));
}

/// Ended connections leave nothing behind, however they ended.
#[test]
fn connections_that_come_and_go_leave_no_state() {
    let mut world = World::plain();
    for round in 0..3 {
        world.clients.clear();
        for n in 0..40 {
            world.client(Client::new(1000 + round * 40 + n));
        }
        world.run(|world| world.clients.iter().all(|client| client.conn.is_established()));
        for client in &mut world.clients {
            client.conn.close(true, 0x100, b"").unwrap();
        }
        world.run(|world| world.server.endpoint.load() == (0, 0, 0));
    }
    let totals = endpoint(&mut world).totals();
    assert_eq!((totals.accepted, totals.established, totals.ended), (120, 120, 120));
    assert_eq!(world.server.ended, 120);
}

#[test]
fn retry_always_and_from_a_number_of_handshakes_on() {
    let mut world = world(|policy, _| policy.retry_from = 0);
    world.client(Client::new(1001));
    world.run(|world| world.clients[0].conn.is_established());
    // A ClientHello with a post-quantum share takes two datagrams, and each is answered.
    let totals = endpoint(&mut world).totals();
    assert!((1..=2).contains(&totals.retries) && totals.tokens_good >= 1);
    assert_eq!((totals.tokens_forged, totals.accepted), (0, 1));

    let mut world = self::world(|policy, _| policy.retry_from = 3);
    for port in 0..3 {
        let (received, _) = alone(endpoint(&mut world), &initial(3000 + port), stranger());
        assert!(matches!(received, Received::Accepted(_)));
    }
    world.client(Client::new(1001));
    world.run(|world| world.clients[0].conn.is_established());
    assert!((1..=2).contains(&endpoint(&mut world).totals().retries));
}

/// Row 70: a token of another client, or an expired one, is treated as absent: the answer is
/// another Retry.
#[test]
fn row_70_invalid_tokens() {
    let mut world = world(|policy, _| policy.retry_from = 0);
    let mut client = Client::new(1001);
    let mut wire = World::plain().net;
    let server: SocketAddr = SERVER.parse().unwrap();
    client.flush(&mut wire);
    let (_, _, first) = wire.take_all().remove(0);
    let (_, mut retry) = alone(endpoint(&mut world), &first, client.addresses[0]);
    client.datagram(&mut retry, server, "127.0.0.1:1001".parse().unwrap());
    client.flush(&mut wire);
    let (_, _, second) = wire.take_all().remove(0);
    let (received, _) = alone(endpoint(&mut world), &second, stranger());
    assert!(matches!(received, Received::Reply(_)));
    endpoint(&mut world).tick(1000 + 3600);
    let (received, _) = alone(endpoint(&mut world), &second, client.addresses[0]);
    assert!(matches!(received, Received::Reply(_)));
    let mut altered = second.clone();
    let header = quiche::Header::from_slice(&mut altered, cid::LEN).unwrap();
    let token = header.token.unwrap();
    let at = second.windows(token.len()).position(|part| part == token).unwrap();
    for byte in at..at + token.len() {
        let mut altered = second.clone();
        altered[byte] ^= 0x80;
        let (received, _) = alone(endpoint(&mut world), &altered, client.addresses[0]);
        assert!(matches!(received, Received::Reply(_)));
    }
    endpoint(&mut world).tick(1000);
    let (received, _) = alone(endpoint(&mut world), &second, client.addresses[0]);
    assert!(matches!(received, Received::Accepted(_)));
    let totals = endpoint(&mut world).totals();
    assert_eq!((totals.tokens_expired, totals.tokens_good), (1, 1));
    assert_eq!(totals.tokens_forged, 1 + token.len() as u64);
}

/// Row 68: short Initials are dropped; version negotiation is sent once per datagram, and never in
/// answer to another.
#[test]
fn row_68_versions_and_sizes() {
    let mut world = world(|policy, _| policy.answers_per_second = 5);
    let endpoint = endpoint(&mut world);
    let first = initial(1001);
    let (received, _) = alone(endpoint, &first[..1199], stranger());
    assert_eq!(received, dropped(Drop::ShortInitial));
    let mut unknown = first.clone();
    unknown[1..5].copy_from_slice(&[0x1a, 0x2a, 0x3a, 0x4a]);
    let (received, answer) = alone(endpoint, &unknown, stranger());
    assert!(matches!(received, Received::Reply(_)));
    assert!(answer.len() < unknown.len() && answer[1..5] == [0; 4]);
    let (received, _) = alone(endpoint, &answer, stranger());
    assert_eq!(received, dropped(Drop::VersionNegotiation));
    let (received, _) = alone(endpoint, &unknown[..1000], stranger());
    assert_eq!(received, dropped(Drop::ShortInitial));
    let answered = (0..100)
        .filter(|_| matches!(alone(endpoint, &unknown, stranger()).0, Received::Reply(_)))
        .count();
    assert_eq!(answered, 4, "the ration of a second");
    assert_eq!(endpoint.load().0, 0);
}

/// A client of another version learns ours and connects.
#[test]
fn version_negotiation_leads_to_a_connection() {
    let mut world = World::plain();
    let mut config = quiche::Config::new(0xbaba_baba).unwrap();
    config.set_application_protos(&[b"h3"]).unwrap();
    config.verify_peer(false);
    world.client(Client::with(1001, &mut config, None));
    world.run(|world| world.clients[0].conn.is_established());
    assert!((1..=2).contains(&endpoint(&mut world).totals().version_negotiations));
}

/// D6, row 76: a packet of a forgotten connection gets a reset that its client accepts. Packets
/// with a foreign connection ID get nothing.
#[test]
fn row_76_stateless_resets() {
    let mut world = World::plain();
    world.client(Client::new(1001));
    world.run(|world| world.clients[0].conn.is_established());
    world.clients[0].begin();
    world.run_for(Duration::from_millis(20));
    // The server restarts with the same keys.
    world.server = Server::new();
    let mut wire = World::plain().net;
    world.clients[0].request("GET", "/", b"");
    world.clients[0].flush(&mut wire);
    let packet = wire.take_all().remove(0).2;
    let from = world.clients[0].addresses[0];
    let (received, mut reset) = alone(endpoint(&mut world), &packet, from);
    assert!(matches!(received, Received::Reply(_)));
    assert!(reset.len() < packet.len() && reset.len() >= 21);
    // The reset does not start an exchange of resets, whoever receives it.
    let (received, _) = alone(endpoint(&mut world), &reset, from);
    assert_eq!(received, dropped(Drop::UnknownCid));
    world.clients[0].datagram(&mut reset, SERVER.parse().unwrap(), from);
    assert!(world.clients[0].conn.is_closed());
    let mut noise = packet.clone();
    noise[1] ^= 1;
    let (received, _) = alone(endpoint(&mut world), &noise, from);
    assert_eq!(received, dropped(Drop::UnknownCid));
    let (received, _) = alone(endpoint(&mut world), &packet[..21], from);
    assert_eq!(received, dropped(Drop::Rationed));
}

/// Row 67: an unvalidated address gets at most three times the octets received from it.
#[test]
fn row_67_amplification() {
    let mut world = World::plain();
    let first = initial(1001);
    world.net.send("127.0.0.1:1001".parse().unwrap(), SERVER.parse().unwrap(), &first);
    world.run_for(Duration::from_millis(1500));
    let sent = world.net.bytes_to_client;
    assert!(sent > 0 && sent <= 3 * first.len(), "{sent} for {}", first.len());
}

/// Row 69: half-open handshakes are limited, cost a Retry, and time out.
#[test]
fn row_69_half_open_handshakes() {
    let mut world = world(|policy, _| {
        policy.retry_from = 10;
        policy.connections = 15;
        policy.handshake_timeout = Duration::from_millis(300);
    });
    for port in 0..100 {
        alone(endpoint(&mut world), &initial(3000 + port), stranger());
    }
    assert_eq!(endpoint(&mut world).load(), (10, 10, 20));
    assert_eq!(endpoint(&mut world).totals().retries, 90);
    world.run(|world| world.server.endpoint.load() == (0, 0, 0));
    assert_eq!(endpoint(&mut world).totals().stalled, 10);
}

#[test]
fn the_table_is_bounded_and_a_drain_takes_no_more() {
    let mut world = world(|policy, _| policy.connections = 5);
    for port in 0..5 {
        alone(endpoint(&mut world), &initial(3000 + port), stranger());
    }
    let (received, _) = alone(endpoint(&mut world), &initial(4000), stranger());
    assert_eq!(received, dropped(Drop::Full));
    endpoint(&mut world).drain();
    let (received, _) = alone(endpoint(&mut world), &initial(4001), stranger());
    assert_eq!(received, dropped(Drop::Draining));
    assert_eq!(endpoint(&mut world).totals().dropped[Drop::Full as usize], 1);
}

/// Packets of another worker's or a previous process's connection are forwarded.
#[test]
fn foreign_connection_ids_are_forwarded() {
    let mut world = world(|policy, _| assert!(policy.predecessors.add(0, 1)));
    let mut cids = Cids::new(&server::keys());
    let mut send = |origin: Origin, long: bool| {
        let cid = cids.mint(origin);
        let mut packet = vec![0x40; 100];
        packet[1..=cid::LEN].copy_from_slice(&cid);
        if long {
            packet = vec![0xe0, 0, 0, 0, 1, cid::LEN as u8];
            packet.extend_from_slice(&cid);
            packet.extend_from_slice(&[0; 100]);
        }
        alone(endpoint(&mut world), &packet, stranger()).0
    };
    let (here, sibling) =
        (Origin { worker: 0, generation: 1 }, Origin { worker: 5, generation: 1 });
    let predecessor = Origin { worker: 0, generation: 0 };
    for long in [false, true] {
        assert_eq!(send(sibling, long), Received::Forward(sibling));
        assert_eq!(send(predecessor, long), Received::Forward(predecessor));
    }
    assert!(matches!(send(here, false), Received::Reply(_)));
    assert_eq!(send(here, true), dropped(Drop::UnknownLong));
    let long_gone = Origin { worker: 3, generation: 77 };
    assert!(matches!(send(long_gone, false), Received::Reply(_)));
}

/// Garbage, truncated and coalesced packets are dropped or answered, without other effect.
#[test]
fn noise_changes_nothing() {
    let mut world = World::plain();
    world.client(Client::new(1001));
    world.run(|world| world.clients[0].conn.is_established());
    world.clients[0].begin();
    let first = initial(3000);
    let mut seed = 0x1234_5678_9abc_def1u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let dcid = world.clients[0].conn.destination_id().to_vec();
    for _ in 0..20_000 {
        let len = (random() % 1400) as usize;
        let mut packet: Vec<u8> = match random() % 3 {
            0 => (0..len).map(|_| (random() >> 32) as u8).collect(),
            _ => first[..len.min(first.len())].to_vec(),
        };
        for _ in 0..random() % 4 {
            let at = (random() as usize) % packet.len().max(1);
            if let Some(byte) = packet.get_mut(at) {
                *byte = random() as u8;
            }
        }
        if random() % 4 == 0 && packet.len() > 20 {
            packet[0] &= 0x7f;
            packet[1..=cid::LEN].copy_from_slice(&dcid);
        }
        alone(endpoint(&mut world), &packet, stranger());
    }
    let id = world.clients[0].request("GET", "/", b"");
    world.run(|world| world.clients[0].all_over());
    assert_eq!(world.clients[0].responses[&id].status(), "200");
}

/// Row 73: out-of-order data on a stream is bounded by its window. (The server's tests have a
/// client that sends actual gaps.)
#[test]
fn row_73_unread_data_of_a_stream_is_bounded_by_its_window() {
    let mut world = World::plain();
    world.client(Client::with(1001, &mut client::config(), None));
    world.run(|world| world.clients[0].conn.is_established());
    let mut scratch = vec![0; 65_536];
    let id = endpoint(&mut world).ids().next().unwrap();
    let (conn, _) = endpoint(&mut world).get(id).unwrap();
    let window = conn.quic().peer_transport_params().unwrap().initial_max_data;
    assert!(window > 0 && conn.transmit(&mut scratch, Instant::now()).is_none());
    let taken = world.clients[0].conn.stream_send(0, &vec![0; 1 << 20], false).unwrap();
    assert!(taken <= 64 * 1024, "the stream's window is {taken}");
}
