//! The link against its settings, over real sockets. Needs root and `/dev/net/tun`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

const PATIENCE: Duration = Duration::from_secs(60);

/// A link, or `None` if the machine does not allow one.
fn link(name: &str, shape: Shape, seed: u64) -> Option<Link> {
    match Link::new(shape, seed) {
        Ok(link) => Some(link),
        Err(error) => {
            // Every tool should be installed, iproute2 too; the device or the rights may be
            // missing.
            let complete = std::env::var_os("RINGWAY_TEST_COMPLETE").is_some();
            let there = std::path::Path::new("/dev/net/tun").exists();
            let missing = error.kind() == io::ErrorKind::NotFound;
            assert!(!(complete && there && missing), "{name}: {error}");
            println!("skipped {name}: no link: {error}");
            None
        }
    }
}

/// A socket on each side: the client's is connected to the server's.
fn sockets(link: &Link) -> (UdpSocket, UdpSocket) {
    let server = link.server.within(|| UdpSocket::bind((SERVER, 7000)).unwrap()).unwrap();
    let client = link.client.within(|| UdpSocket::bind((CLIENT, 7001)).unwrap()).unwrap();
    client.connect((SERVER, 7000)).unwrap();
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket2::SockRef::from(socket).set_recv_buffer_size(4 << 20).unwrap();
    }
    (client, server)
}

/// Round trips in milliseconds, shortest first.
fn pings(client: &UdpSocket, server: &UdpSocket, count: usize) -> Vec<f64> {
    let mut buffer = [0; 100];
    let mut times: Vec<f64> = (0..count)
        .map(|_| {
            let begun = Instant::now();
            client.send(b"ping").unwrap();
            let (len, from) = server.recv_from(&mut buffer).unwrap();
            server.send_to(&buffer[..len], from).unwrap();
            client.recv(&mut buffer).unwrap();
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

#[test]
fn a_round_trip_takes_twice_the_delay() {
    let Some(link) = link("round trip", Shape::default(), 1) else { return };
    let (client, server) = sockets(&link);
    let bare = pings(&client, &server, 20);
    link.reshape(Shape::of_rtt(30.0));
    let delayed = pings(&client, &server, 20);
    println!("median round trips: {:.3} ms bare, {:.3} ms of 30", bare[10], delayed[10]);
    assert!(delayed[0] >= 30.0, "{delayed:?}");
    // Not a time limit: even on a busy machine, one of twenty is not late by the whole delay.
    assert!(bare[0] < 30.0 && delayed[0] < 60.0, "{bare:?}, {delayed:?}");
}

#[test]
fn the_rate_spaces_packets_and_a_full_queue_drops() {
    // 1 Mbit/s: a datagram of 1,000 bytes and 28 of headers takes 8.224 ms; four fit the queue.
    let queue_bytes = 4 * 1028;
    let shape = Shape { rate: Some(1_000_000), queue_bytes, ..Shape::default() };
    let Some(link) = link("rate", shape, 1) else { return };
    let (client, server) = sockets(&link);
    let begun = Instant::now();
    for _ in 0..20 {
        client.send(&[0; 1000]).unwrap();
    }
    let mut buffer = [0; 2000];
    for nth in 1..=4_u32 {
        server.recv(&mut buffer).unwrap();
        assert!(begun.elapsed() >= Duration::from_micros(8224) * nth, "datagram {nth} was early");
    }
    let deadline = Instant::now() + PATIENCE;
    while link.counts(Way::Up).packets < 20 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let counts = link.counts(Way::Up);
    assert_eq!(counts.packets, 20);
    // If the machine stalls between two sends, the wire has time to take more.
    assert!((1..=16).contains(&counts.overflowed), "{counts:?}");
}

#[test]
fn losses_duplicates_and_reordering_keep_their_shares_and_repeat_with_the_seed() {
    const SENT: u64 = 4000;
    let shape = Shape {
        loss: 0.05,
        duplicate: 0.03,
        reorder: 0.10,
        late: Duration::from_millis(2),
        ..Shape::of_rtt(2.0)
    };
    let run = || {
        let link = link("losses", shape, 42)?;
        let (client, server) = sockets(&link);
        for number in 0..SENT {
            client.send(&number.to_be_bytes()).unwrap();
            // Late packets are later than the next ones, so they are seen to be overtaken.
            if number % 50 == 49 {
                std::thread::sleep(Duration::from_micros(500));
            }
        }
        let mut numbers = Vec::new();
        let wanted = |counts: Counts| counts.packets - counts.lost + counts.duplicated;
        let mut buffer = [0; 100];
        while link.counts(Way::Up).packets < SENT
            || numbers.len() < wanted(link.counts(Way::Up)) as usize
        {
            server.recv(&mut buffer).unwrap();
            numbers.push(u64::from_be_bytes(*buffer.first_chunk().unwrap()));
        }
        Some((link.counts(Way::Up), numbers))
    };
    let Some((counts, numbers)) = run() else { return };
    println!("{counts:?} of shares {shape:?}");
    let share = |count: u64| count as f64 / SENT as f64;
    // Four standard deviations of 4,000 throws.
    for (found, set) in
        [(counts.lost, shape.loss), (counts.duplicated, 0.95 * 0.03), (counts.reordered, 0.095)]
    {
        let sigma = (set * (1.0 - set) / SENT as f64).sqrt();
        assert!((share(found) - set).abs() < 4.0 * sigma, "{found} of {SENT} for {set}");
    }
    let overtaken = numbers.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(overtaken > 0, "nothing was overtaken");
    let Some((again, others)) = run() else { return };
    let sorted = |mut numbers: Vec<u64>| {
        numbers.sort_unstable();
        numbers
    };
    assert_eq!(counts, again);
    assert_eq!(sorted(numbers), sorted(others), "the same datagrams are lost from the same seed");
}

#[test]
fn after_a_rebinding_udp_comes_from_elsewhere_and_tcp_is_reset() {
    let Some(link) = link("rebinding", Shape::of_rtt(2.0), 1) else { return };
    let (client, server) = sockets(&link);
    let mut buffer = [0; 100];
    let mut heard_from = || {
        client.send(b"hello").unwrap();
        let (len, from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(&buffer[..len], from).unwrap();
        client.recv(&mut buffer).unwrap();
        from
    };
    let before = heard_from();
    assert_eq!(before, SocketAddr::from((CLIENT, 7001)));
    let listener = link.server.within(|| TcpListener::bind((SERVER, 7002)).unwrap()).unwrap();
    let mut tcp = link.client.within(|| TcpStream::connect((SERVER, 7002)).unwrap()).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    tcp.write_all(b"before").unwrap();
    accepted.read_exact(&mut [0; 6]).unwrap();
    link.rebind();
    let after = heard_from();
    assert_ne!((before.ip(), before.port()), (after.ip(), after.port()));
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.write_all(b"after").unwrap();
    let error = tcp.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    drop(accepted);
}
