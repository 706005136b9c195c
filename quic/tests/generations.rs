//! Generations of a server, replaced without a kernel: handshakes half-way, established
//! connections, migrations, three generations at once, one that is dead, and frames that are none.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test fails by panicking")]

mod fleet;
mod pair;

use std::time::{Duration, Instant};

use fleet::{Fleet, Guest, HALF_OPEN};
use pair::client::{self, Client};
use pair::server::{self, body};
use pair::{Link, SERVER, World};
use ringway_quic::cid::{self, Cids, Origin};
use ringway_quic::endpoint::Drop;
use ringway_quic::forward::{Flaw, FrameHead, HEAD};
use ringway_quic::http::Early;
use ringway_quic::{HalfOpen, Policy};
use std::sync::Arc;

const LINK: Link =
    Link { loss: 10, duplicates: 0, reordered: 200, delay: Duration::from_millis(2), mtu: 0 };
const QUEUE: Link =
    Link { loss: 10, duplicates: 0, reordered: 200, delay: Duration::from_micros(100), mtu: 0 };
const CALM: Link = Link { loss: 0, duplicates: 0, reordered: 0, delay: Duration::ZERO, mtu: 0 };

fn always_retry(policy: &mut Policy) {
    policy.retry_from = 0;
}

fn as_it_is(_: &mut Policy) {}

/// Handshakes that are anywhere when the generation changes: before their first datagram, between
/// the two of a ClientHello, before or after a Retry, before the client's Finished. All come to
/// their end, with one connection each.
fn half_way(seed: u64, clients: u16, retries: bool) -> u64 {
    let change = if retries { always_retry } else { as_it_is };
    let mut fleet = Fleet::new(seed, LINK, QUEUE, change);
    let mut at_switch = 0;
    for n in 0..clients {
        let guest = fleet.guest(Client::new(2000 + n));
        if n % 2 == 0 {
            // The second datagram of the ClientHello, or of the one that carries the token.
            fleet.guests[guest].holds = Some(if retries { 3 } else { 1 });
        }
        if n % 8 == 7 {
            fleet.step();
        }
    }
    let switch = Instant::now() + Duration::from_micros(fleet.net.random() % 8000);
    fleet.run("the switch", |_| Instant::now() >= switch);
    for guest in &mut fleet.guests {
        at_switch += u64::from(!guest.client.conn.is_established());
    }
    fleet.stop(2, HALF_OPEN);
    fleet.run_for(Duration::from_millis(5));
    fleet.go(2);
    fleet.run_for(Duration::from_millis(10));
    fleet.release();
    fleet.all("established", |client| client.conn.is_established());
    for guest in &mut fleet.guests {
        guest.client.begin();
        guest.client.request("GET", "/", b"");
    }
    fleet.all("answered", |client| client.responses.values().all(|r| r.status() == "200"));
    let accepted = |generation| fleet.sum(generation, |server| server.endpoint.totals().accepted);
    let (old, new) = (accepted(1), accepted(2));
    let retried = fleet.sum(1, |server| server.endpoint.totals().retries);
    println!(
        "{at_switch} of {clients} half-way, {old} by the old, {new} by the new, {retried} retries"
    );
    assert_eq!(old + new, u64::from(clients), "one connection for each client");
    assert!(!retries || retried > 0);
    at_switch
}

/// L13 in the small: 500 handshakes of which most are half-way at the switch.
#[test]
fn l13_handshakes_half_way_at_the_switch() {
    let halves: u64 = (1..=5).map(|seed| half_way(seed * 77, 100, false)).sum();
    assert!(halves > 200, "{halves}");
}

/// L13 in the small, with Retry.
#[test]
fn l13_handshakes_half_way_with_retry() {
    let halves: u64 = (1..=5).map(|seed| half_way(seed * 79, 100, true)).sum();
    assert!(halves > 200, "{halves}");
}

fn connect(fleet: &mut Fleet, ports: std::ops::Range<u16>) {
    let first = fleet.guests.len();
    for port in ports {
        fleet.guest(Client::new(port));
    }
    fleet.all("established", |client| client.conn.is_established());
    fleet.guests[first..].iter_mut().for_each(|guest| guest.client.begin());
}

/// L14 in the small: downloads that began under four generations go on under the fifth; nobody's
/// connection ends.
#[test]
fn l14_connections_of_several_generations_go_on() {
    generations(LINK, QUEUE, false);
}

/// L14 in the small: every client moves to another address, and goes on there. None is in the
/// middle of a download, in which a few of a hundred moves stall without any replacement, too.
#[test]
fn l14_clients_of_several_generations_move() {
    let delay = Duration::from_millis(2);
    generations(Link { delay, ..CALM }, CALM, true);
}

fn generations(link: Link, queue: Link, moves: bool) {
    const LEN: usize = 200_000;
    let mut fleet = Fleet::new(5, link, queue, as_it_is);
    for generation in 1..=5u16 {
        let base = 1000 * generation;
        connect(&mut fleet, base..base + 6);
        let latest = fleet.guests.len() - 6;
        let download = |guest: &mut Guest| {
            guest.client.request("GET", &format!("/pull/{LEN}"), b"");
        };
        if !moves {
            fleet.guests[latest..].iter_mut().for_each(download);
        }
        fleet.run_for(Duration::from_millis(8));
        // A NAT moves each of them once, to a port of the other worker, every second in the middle
        // of a switch.
        let move_some = |fleet: &mut Fleet, which: usize| {
            for (n, guest) in
                fleet.guests.iter_mut().enumerate().filter(|(n, _)| moves && n % 10 == which)
            {
                guest.client.rebind(20_000 + 100 * n as u16 + u16::from(n % 2 == 0));
            }
        };
        let which = 2 * usize::from(generation - 1);
        move_some(&mut fleet, which);
        if generation < 5 {
            fleet.stop(generation + 1, HALF_OPEN);
            move_some(&mut fleet, which + 1);
            fleet.run_for(Duration::from_millis(3));
            fleet.go(generation + 1);
        } else if moves {
            fleet.run_for(Duration::from_millis(20));
            fleet.guests.iter_mut().for_each(download);
        }
    }
    fleet.all("downloaded", |client| client.all_over());
    for guest in &fleet.guests {
        assert!(!guest.client.conn.is_closed());
        assert!(guest.client.responses.values().all(|response| response.body == body(LEN)));
    }
    println!("{} frames", fleet.forwarded);
    assert!(fleet.forwarded > 100 && fleet.flaws.is_empty());
    for generation in 1..=5 {
        assert_eq!(fleet.sum(generation, |server| server.endpoint.totals().resets), 0);
        assert_eq!(fleet.sum(generation, |server| server.endpoint.totals().established), 6);
    }
}

/// A generation that is killed: its clients get a reset from the next one and no other client
/// notices.
#[test]
fn a_dead_generation_is_reset() {
    let mut fleet = Fleet::new(9, CALM, CALM, as_it_is);
    connect(&mut fleet, 1000..1004);
    fleet.replace(2);
    connect(&mut fleet, 2000..2004);
    fleet.replace(3);
    connect(&mut fleet, 3000..3004);
    fleet.kill(1);
    for guest in &mut fleet.guests {
        guest.client.request("GET", "/", b"");
    }
    fleet.run("the dead one's are closed, the others answered", |fleet| {
        let (dead, alive) = fleet.guests.split_at(4);
        dead.iter().all(|guest| guest.client.conn.is_closed())
            && alive.iter().all(|guest| guest.client.all_over())
    });
    assert_eq!(fleet.sum(2, |server| server.endpoint.totals().resets), 0, "2 does not read");
    assert!(fleet.sum(3, |server| server.endpoint.totals().resets) >= 4);
    assert!(fleet.guests[4..].iter().all(|guest| !guest.client.conn.is_closed()));
    // An Initial that followed a Retry of the dead one, and one half-way there, are the reader's.
    connect(&mut fleet, 4000..4001);
}

/// Attack 142: frames that go in a circle, are meant for another generation, or cut short.
#[test]
fn row_142_loops_and_frames_that_are_none() {
    let mut fleet = Fleet::new(9, CALM, CALM, as_it_is);
    connect(&mut fleet, 1000..1001);
    fleet.replace(2);
    let (one, two) = (Origin { worker: 0, generation: 1 }, Origin { worker: 0, generation: 2 });
    let from = "127.0.0.1:7000".parse().unwrap();
    let to = SERVER.parse().unwrap();
    // A handshake that each believes the other to have: 1 is told that 2 is older.
    let mut circle = Fleet::new(9, CALM, CALM, |policy| {
        if policy.origin.generation == 1 {
            assert!(policy.predecessors.add(2, 1));
        }
    });
    circle.replace(2);
    let destination = [0xdd; 8];
    for (at, origin) in [(one, two), (two, one)] {
        let mut entry = vec![8];
        entry.extend_from_slice(&destination);
        entry.resize(21, 0);
        entry.extend_from_slice(&origin.generation.to_be_bytes());
        entry.extend_from_slice(&[origin.worker, 0, 0]);
        let table = Arc::new(HalfOpen::import(&entry, 1, Instant::now()).unwrap());
        circle.worker(at).unwrap().server.endpoint.import_half_open(table);
    }
    let mut initial = vec![0xc0, 0, 0, 0, 1, 8];
    initial.extend_from_slice(&destination);
    initial.resize(1200, 0);
    circle.net.send(from, to, &initial);
    circle.run("the circle is cut", |circle| !circle.flaws.is_empty());
    assert_eq!((circle.flaws.clone(), circle.forwarded), (vec![Flaw::Looped], 3));

    // Whatever is wrong with a frame changes nothing.
    let dcid = fleet.guests[0].client.conn.destination_id().to_vec();
    let packet = [&[0x40][..], &dcid, &[0; 60]].concat();
    let head = FrameHead { hops: 1, generation: 1, segment: packet.len() as u16, from, to };
    let frame = [&head.to_bytes()[..], &packet].concat();
    for len in 0..=HEAD {
        fleet.frame(one, &frame[..len]);
    }
    assert_eq!(fleet.flaws, vec![Flaw::Malformed; HEAD + 1]);
    fleet.frame(two, &frame);
    assert_eq!(fleet.flaws.len(), HEAD + 2, "meant for another generation");
    // Cut behind the head it is a packet that does not decrypt, or none.
    for len in HEAD + 1..=frame.len() {
        fleet.frame(one, &frame[..len]);
    }
    let malformed =
        fleet.sum(1, |server| server.endpoint.totals().dropped[Drop::Malformed as usize]);
    assert_eq!(malformed, cid::LEN as u64);
    fleet.guests[0].client.request("GET", "/", b"");
    fleet.all("answered", |client| client.all_over());
}

/// Attack 142: early data that an older generation has taken is a replay to the next one. Without
/// the table of handshakes, the copy comes to the next one as it does when the table is void.
#[test]
fn row_142_early_data_again_after_a_replacement() {
    let mut fleet = Fleet::new(3, CALM, CALM, as_it_is);
    connect(&mut fleet, 1000..1001);
    fleet.run("a session", |fleet| fleet.guests[0].client.conn.session().is_some());
    let session = fleet.guests[0].client.conn.session().unwrap().to_vec();
    let mut again = Client::with(1002, &mut client::config(), Some(&session));
    let mut wire = World::plain().net;
    again.flush(&mut wire);
    assert!(again.conn.is_in_early_data());
    again.begin();
    again.request("GET", "/", b"");
    again.flush(&mut wire);
    let copied = wire.take_all();
    copied.iter().for_each(|(from, to, bytes)| fleet.net.send(*from, *to, bytes));
    fleet.guest(again);
    fleet.all("answered", |client| client.all_over());
    let taken = |fleet: &mut Fleet, generation| -> Vec<Early> {
        let workers = fleet.workers.iter().filter(|w| w.origin.generation == generation);
        workers.flat_map(|w| w.server.requests.iter().map(|(_, _, early)| *early)).collect()
    };
    assert_eq!(taken(&mut fleet, 1), [Early::First]);
    // While the table is fresh, a copy goes to the connection that has it.
    fleet.replace(2);
    for (_, to, bytes) in &copied {
        fleet.net.send("127.0.0.1:6666".parse().unwrap(), *to, bytes);
    }
    fleet.run_for(Duration::from_millis(50));
    assert_eq!(fleet.sum(2, |server| server.endpoint.totals().accepted), 0);
    fleet.stop(3, 0);
    fleet.go(3);
    for (_, to, bytes) in &copied {
        fleet.net.send("127.0.0.1:6667".parse().unwrap(), *to, bytes);
    }
    fleet.run("the copy is taken", |fleet| {
        fleet.sum(3, |server| server.endpoint.totals().accepted) == 1
            && fleet.sum(3, |server| server.requests.len() as u64) > 0
    });
    let repeated = taken(&mut fleet, 3);
    assert!(repeated.iter().all(|early| *early == Early::Repeated), "{repeated:?}");
    assert_eq!(taken(&mut fleet, 1), [Early::First]);
}

/// What the old one has is told in order: unfinished handshakes first, bounded, and those of older
/// generations that are still fresh go on to the third.
#[test]
fn the_table_is_bounded_and_goes_on() {
    let mut fleet = Fleet::new(3, CALM, CALM, as_it_is);
    connect(&mut fleet, 1000..1020);
    // Twenty more, of which only the first datagram has come.
    for n in 0..20 {
        let guest = fleet.guest(Client::new(3000 + 2 * n));
        fleet.guests[guest].holds = Some(1);
    }
    fleet.run("accepted", |fleet| fleet.sum(1, |server| server.endpoint.load().1 as u64) == 20);
    let worker = fleet.worker(Origin { worker: 0, generation: 1 }).unwrap();
    let size = |most| {
        let mut bytes = Vec::new();
        worker.server.endpoint.export_half_open(most, Instant::now(), &mut bytes);
        bytes.len() / 26
    };
    assert_eq!((size(0), size(7), size(1000)), (0, 7, 30));
    fleet.stop(2, HALF_OPEN);
    fleet.go(2);
    fleet.stop(3, HALF_OPEN);
    fleet.go(3);
    fleet.release();
    fleet.all("established", |client| client.conn.is_established());
    let accepted = |generation| fleet.sum(generation, |server| server.endpoint.totals().accepted);
    assert_eq!((accepted(1), accepted(2), accepted(3)), (40, 0, 0));
    // An old one that takes everything back accepts again.
    let worker = fleet.worker(Origin { worker: 0, generation: 1 }).unwrap();
    worker.server.endpoint.resume();
    fleet.kill(2);
    fleet.kill(3);
    fleet.reading = Some(1);
    connect(&mut fleet, 5000..5001);
}

/// Packets with an ID that only looks like an older generation's are not forwarded.
#[test]
fn forged_ids_of_older_generations_go_nowhere() {
    let mut fleet = Fleet::new(3, CALM, CALM, as_it_is);
    fleet.replace(2);
    let mut cids = Cids::new(&server::keys());
    let from = "127.0.0.1:7000".parse().unwrap();
    for (worker, generation) in [(0, 1), (7, 1), (0, 9)] {
        let mut cid = cids.mint(Origin { worker, generation });
        for forged in [false, true] {
            cid[16] ^= u8::from(forged);
            let packet = [&[0x40][..], &cid, &[0; 60]].concat();
            fleet.net.send(from, SERVER.parse().unwrap(), &packet);
        }
    }
    fleet.run_for(Duration::from_millis(20));
    assert_eq!(fleet.forwarded, 1, "the one that worker 0 of generation 1 may have");
    let unknown = |generation| {
        fleet.sum(generation, |server| server.endpoint.totals().dropped[Drop::UnknownCid as usize])
    };
    let resets = |generation| fleet.sum(generation, |server| server.endpoint.totals().resets);
    assert_eq!((unknown(2), resets(2), resets(1)), (3, 2, 1));
}
