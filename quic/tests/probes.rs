//! The effect of probes on streams (RFC 9002 section 6.2).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pair;

use pair::client::Client;
use pair::{SERVER, World};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A world with a client whose handshake is complete.
fn quiet() -> World {
    let mut world = World::plain();
    world.client(Client::new(1001));
    world.run(|world| world.clients[0].conn.is_established());
    world.clients[0].begin();
    world.clients[0].request("GET", "/", b"");
    world.run_for(Duration::from_millis(60));
    world
}

/// The server's datagrams, while it receives nothing, up to and including a probe.
fn until_probed(world: &mut World) -> Vec<Vec<u8>> {
    let (before, mut sent) = (world.server.probes(), Vec::new());
    while world.server.probes() == before {
        let due = world.server.endpoint.deadline().unwrap();
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        world.server.turn(&mut world.net);
        sent.extend(world.net.take_all().into_iter().map(|(_, _, bytes)| bytes));
    }
    sent
}

/// Responses that have begun and wait for their application are due for retransmission by a probe,
/// and are acknowledged before that. quiche 0.30 then returns to their streams forever, finds
/// nothing, and reports that there is nothing to send, whatever other streams have.
#[test]
fn needless_probes_hold_up_no_other_stream() {
    let mut world = quiet();
    let server: SocketAddr = SERVER.parse().unwrap();
    let client = world.clients[0].addresses[0];
    let urgent = [("priority", "u=1")];
    let begin = |_| world.clients[0].request_with("GET", "/begin", b"", &urgent);
    let begun: Vec<u64> = (0..4).map(begin).collect();
    // Each has a packet of its own. There are not more late ones, because each delays the probes.
    let mut heads = world.exchange();
    let mut under_way = VecDeque::from(heads.split_off(begun.len().min(heads.len())));
    // Enough content that some waits for room and is sent before a head when a probe is due.
    world.clients[0].request("GET", "/pull/100000", b"");
    under_way.extend(world.exchange());
    for mut head in heads {
        under_way.extend(until_probed(&mut world));
        // The client has received it after all, and acknowledges it.
        world.clients[0].datagram(&mut head, server, client);
        under_way.extend(world.exchange());
    }
    while let Some(mut bytes) = under_way.pop_front() {
        world.clients[0].datagram(&mut bytes, server, client);
        under_way.extend(world.exchange());
    }
    assert!(begun.iter().all(|id| world.clients[0].responses[id].heads.len() == 1));
    for _ in 0..40 {
        let id = world.clients[0].request("GET", "/", b"");
        world.run(|world| world.clients[0].responses[&id].is_over());
        assert_eq!(world.clients[0].responses[&id].body, b"Hello, World!");
    }
    // The content that overtook them then follows them again.
    let later = [("priority", "u=5")];
    let later = world.clients[0].request_with("GET", "/pull/900000", b"", &later);
    world.server.go_on(100_000);
    world.run(|world| begun.iter().all(|id| world.clients[0].responses[id].is_over()));
    assert!(!world.clients[0].responses[&later].is_over());
    world.run(|world| world.clients[0].all_over());
}

/// A server that has received nothing for some probes still sends the more urgent response first,
/// whatever the client sends meanwhile.
#[test]
fn probes_leave_priorities_as_they_are() {
    let mut world = quiet();
    let later = [("priority", "u=5, i")];
    let later = world.clients[0].request_with("GET", "/pull/1000000", b"", &later);
    world.exchange();
    for _ in 0..2 {
        until_probed(&mut world);
    }
    // This acknowledges nothing, so the next probe is not moved.
    let sooner = [("priority", "u=1, i")];
    let sooner = world.clients[0].request_with("GET", "/pull/2000000", b"", &sooner);
    world.run(|world| world.clients[0].responses[&sooner].is_over());
    assert!(!world.clients[0].responses[&later].is_over());
    world.run(|world| world.clients[0].all_over());
}
