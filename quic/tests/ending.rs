//! How a connection ends before its handshake is complete on both sides.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pair;

use pair::{SERVER, World, client};
use ringway_quic::{Buffers, Conn, gso, quiche};
use std::net::SocketAddr;
use std::time::Instant;

/// All datagrams that `conn` sends now, up to a bound that no sane connection exceeds.
fn datagrams(conn: &mut Conn) -> Vec<Vec<u8>> {
    let (mut out, mut all) = (vec![0; gso::BYTES_MAX], Vec::new());
    while all.len() < 1000
        && let Some(transmit) = conn.transmit(&mut out, Instant::now())
    {
        all.extend(transmit.datagrams().map(|range| out[range].to_vec()));
    }
    all
}

/// A connection that closes while a probe of its handshake is due sends a few datagrams and then
/// nothing. quiche alone would send acknowledgements forever.
#[test]
fn a_close_during_the_handshake_takes_few_datagrams() {
    let mut world = World::plain();
    let (from, to): (SocketAddr, SocketAddr) =
        ("127.0.0.1:1001".parse().unwrap(), SERVER.parse().unwrap());
    let scid = quiche::ConnectionId::from_ref(&[0xc1; 16]);
    let mut config = client::config();
    let quic = quiche::connect_with_buffer_factory::<Buffers>(
        Some("localhost"),
        &scid,
        from,
        to,
        &mut config,
    );
    let mut conn = Conn::new(quic.unwrap());
    while !conn.is_established() {
        for mut datagram in datagrams(&mut conn) {
            world.server.datagram(&mut datagram, from, to, &mut world.net);
        }
        world.server.turn(&mut world.net);
        for (_, _, mut datagram) in world.net.take_all() {
            conn.receive(&mut datagram, to, from).unwrap();
        }
    }
    // The client's Finished is lost, and its timer runs out.
    assert!(!datagrams(&mut conn).is_empty());
    let probes =
        |conn: &Conn| conn.transport().path_stats().map(|path| path.total_pto_count).sum::<usize>();
    while probes(&conn) == 0 {
        let left = conn.deadline().unwrap().saturating_duration_since(Instant::now());
        std::thread::sleep(left);
        conn.expire();
    }
    conn.close(0x100, b"");
    let last = datagrams(&mut conn).len();
    assert!((1..=4).contains(&last), "{last} datagrams");
}
