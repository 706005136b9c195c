//! Invalid datagrams and unusual first ones: rows 94 to 96 of the attack list. A second client is
//! served meanwhile, and memory stays bounded.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use harness::initial::{Initials, crypto_frame};
use harness::pattern;
use harness::process::Process;
use harness::quic::{self as h3, H3, varint};
use harness::watch::Watch;

/// Maximum growth of memory during an attack.
const CAP: u64 = 16 << 20;

fn socket() -> UdpSocket {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    udp
}

fn heard(udp: &UdpSocket) -> Vec<Vec<u8>> {
    let mut buffer = [0; 65_536];
    let mut all = Vec::new();
    while let Ok(len) = udp.recv(&mut buffer) {
        all.push(buffer[..len].to_vec());
    }
    all
}

/// The datagrams that a client has to send, which are not sent.
fn flight(client: &mut H3) -> Vec<Vec<u8>> {
    let mut out = [0; 1500];
    let mut all = Vec::new();
    while let Ok((len, _)) = client.conn.send(&mut out) {
        all.push(out[..len].to_vec());
    }
    all
}

fn drops(server: &Process, reason: &str) -> u64 {
    server.metric(&format!("ringway_quic_drop_total{{reason=\"{reason}\"}}"))
}

/// A reset token of a connection that is over, from the reset that its last packet gets.
fn token_of_another(server: &Process) -> [u8; 16] {
    let mut client = H3::connect(server.at("h3"));
    let dcid = client.conn.destination_id().to_vec();
    client.run_for(Duration::from_millis(20));
    client.close();
    let udp = socket();
    let packet = [&[0x41][..], &dcid, &[0x5a; 100]].concat();
    for _ in 0..100 {
        udp.send_to(&packet, server.at("h3")).unwrap();
        if let Some(reset) = heard(&udp).pop() {
            return reset[reset.len() - 16..].try_into().unwrap();
        }
    }
    panic!("a connection that is over is reset");
}

/// Row 94: what ends in a token of another connection, of another path, or a guess is a packet that
/// cannot be decrypted, and nothing else.
#[test]
fn row_94_stateless_resets_that_are_not_of_this_connection() {
    let server = Process::app_measured("");
    let at = server.at("h3");
    let other = token_of_another(&server);
    Watch::new(&server, "/hello").during(CAP, || {
        let mut client = H3::connect(at);
        // Each of the client's spare connection IDs has a token, which is its number.
        client.supply_cids();
        assert_eq!(client.get("/hello").text(), "hello");
        let (own, spy) = (client.socket(), socket());
        let dcid = client.conn.destination_id().to_vec();
        let mut tokens = vec![other, [0; 16], [0xff; 16], *b"a token by guess"];
        tokens.extend((0..8).map(u128::to_be_bytes));
        let mut dice = pattern(1 << 16).into_iter().cycle();
        for round in 0..20 {
            for token in &tokens {
                for len in [21, 22, 39, 43, 100, 1200] {
                    let mut forged: Vec<u8> = dice.by_ref().take(len - 16).collect();
                    forged[0] = match round % 3 {
                        // A long header, and short ones of this connection and of none.
                        0 => forged[0] | 0xc0,
                        _ => forged[0] & 0x3f | 0x40,
                    };
                    if round % 3 == 1 {
                        let room = dcid.len().min(forged.len() - 1);
                        forged[1..=room].copy_from_slice(&dcid[..room]);
                    }
                    forged.extend_from_slice(token);
                    own.send_to(&forged, at).unwrap();
                    spy.send_to(&forged, at).unwrap();
                }
            }
            assert_eq!(client.get("/hello").text(), "hello", "round {round}");
        }
        // Behind a packet that is good, too.
        let id = client.ask("GET", "/hello", &[], b"");
        assert_eq!(client.answer(id).text(), "hello");
        client.close();
    });
    assert_eq!(server.metric("ringway_quic_handshakes_stalled_total"), 0);
}

/// A long header, as far as the length of the packet.
fn long(kind: u8, version: u32, dcid: &[u8], scid: &[u8]) -> Vec<u8> {
    let lens = [dcid.len() as u8, scid.len() as u8];
    let version = version.to_be_bytes();
    [&[0xc0 | kind << 4], &version[..], &lens[..1], dcid, &lens[1..], scid].concat()
}

/// Row 95, of no connection: empty datagrams and single octets, headers that end anywhere,
/// connection IDs of 21 to 255 octets, lengths that cannot be.
#[test]
fn row_95_datagrams_that_are_no_packets() {
    let server = Process::app_measured("");
    let at = server.at("h3");
    let first = flight(&mut H3::new(at, &mut h3::config(), None)).remove(0);
    Watch::new(&server, "/hello").during(CAP, || {
        let udp = socket();
        let send = |datagram: &[u8]| assert_eq!(udp.send_to(datagram, at).unwrap(), datagram.len());
        (0..=255).for_each(|octet| send(&[octet]));
        (0..50).for_each(|_| send(&[]));
        (1..first.len()).step_by(3).for_each(|len| send(&first[..len]));
        assert!(heard(&udp).is_empty(), "none of these is answered");
        for len in 21..=255 {
            for (dcid, scid) in [(len, 8), (8, len), (len, len)] {
                for kind in 0..4 {
                    let mut packet = long(kind, 1, &vec![7; dcid], &vec![9; scid]);
                    packet.resize(1200, 0);
                    send(&packet);
                }
            }
            if len % 32 == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        assert!(heard(&udp).is_empty(), "version 1 has IDs of at most 20 octets");
        // They may be longer in another version, and are given back (RFC 9000 section 17.2.1).
        for len in [0, 20, 21, 255] {
            let mut packet = long(0, 0x1a2a_3a4a, &vec![7; len], &vec![9; len]);
            packet.resize(1200, 0);
            send(&packet);
            let answer = heard(&udp).pop().expect("a version negotiation");
            let (dcid, rest) = answer[6..].split_at(usize::from(answer[5]));
            assert_eq!((dcid, usize::from(rest[0])), (&vec![9; len][..], len));
            assert!(answer.len() < packet.len());
        }
        lengths(&udp, at);
    });
    assert!(drops(&server, "malformed") > 500);
    let mut client = H3::connect(at);
    assert_eq!(client.get("/hello").text(), "hello");
}

/// Token and packet lengths that are cut off, too long, too short, or as long as can be written.
fn lengths(udp: &UdpSocket, at: SocketAddr) {
    let numbers = [0, 1, 3, 4, 19, 20, 63, 64, 1100, 16_383, 16_384, 1 << 30, (1 << 62) - 1];
    for (n, token) in numbers.into_iter().enumerate() {
        for len in numbers {
            let head = long(0, 1, &[n as u8; 9], &[9; 8]);
            let mut packet = [head, varint(token)].concat();
            packet.resize(packet.len() + token.min(300) as usize, 1);
            packet.extend(varint(len));
            packet.resize(packet.len().max(1200), 2);
            udp.send_to(&packet, at).unwrap();
            // The same with its last varint cut.
            for cut in [0x40, 0x80, 0xc0] {
                let mut packet = long(0, 1, &[n as u8; 9], &[9; 8]);
                packet.resize(1199, 0);
                packet[1] = 0;
                packet.push(cut);
                udp.send_to(&packet, at).unwrap();
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    heard(udp);
}

/// Row 95, coalesced: whatever lies behind or before a client's packets, and in datagrams of its
/// own between them, its handshake completes and it is served.
#[test]
fn row_95_rubbish_among_good_packets() {
    let server = Process::app_measured("");
    let at = server.at("h3");
    Watch::new(&server, "/hello").during(CAP, || {
        let noise = pattern(400);
        for kind in 0..10 {
            let mut client = H3::new(at, &mut h3::config(), None);
            let udp = client.socket();
            for mut datagram in flight(&mut client) {
                let (dcid, scid) = (datagram[6..6 + 16].to_vec(), vec![9; 8]);
                let rubbish = match kind {
                    0 => vec![],
                    1 => vec![0],
                    2 => vec![0xff],
                    3 => vec![0; 200],
                    4 => noise.clone(),
                    // Handshake packets: without a length, with one that is too long, and whole.
                    5 => long(2, 1, &dcid, &scid),
                    6 => [long(2, 1, &dcid, &scid), vec![0x7f, 0xff, 0, 0]].concat(),
                    7 => [long(2, 1, &dcid, &scid), vec![0x40, 100], vec![0x5a; 100]].concat(),
                    8 => [long(1, 1, &dcid, &scid), vec![0xc0]].concat(),
                    _ => [long(0, 0x1a2a_3a4a, &[1; 200], &[2; 200]), noise.clone()].concat(),
                };
                // Alone before it, and behind it.
                udp.send_to(&rubbish, at).unwrap();
                datagram.extend_from_slice(&rubbish);
                udp.send_to(&datagram, at).unwrap();
            }
            client.run("the handshake", |client| client.conn.is_established());
            client.begin();
            let dcid = client.conn.destination_id().to_vec();
            for len in (0..60).chain([1199, 1200, 1452]) {
                let mut cut = [&[0x40 | len as u8 & 0x3f][..], &dcid].concat();
                cut.resize(1452, 0x33);
                udp.send_to(&cut[..len], at).unwrap();
                let long = [long(len as u8 & 3, 1, &dcid, &noise[..8]), noise.clone()].concat();
                udp.send_to(&long[..len.min(long.len())], at).unwrap();
            }
            assert_eq!(client.get("/hello").text(), "hello", "kind {kind}");
            client.close();
        }
    });
}

/// A client whose ClientHello has `more` octets than usual, the Initials that it would send, and
/// what is in them.
fn hello(at: SocketAddr, more: usize) -> (H3, Vec<Vec<u8>>, Initials, Vec<u8>) {
    let long = [b'x'; 200];
    let mut names = vec![&b"h3"[..]];
    names.extend(std::iter::repeat_n(&long[..], more / 201));
    let mut config = h3::config();
    config.set_application_protos(&names).unwrap();
    let mut client = H3::new(at, &mut config, None);
    let flight = flight(&mut client);
    let keys = Initials::of(&flight[0]);
    let whole = keys.crypto(&flight);
    (client, flight, keys, whole)
}

/// Sends these frames, a packet each, and completes the handshake.
fn completes(what: &str, at: SocketAddr, mut made: (H3, Initials), packets: &[(u8, Vec<u8>)]) {
    let (client, keys) = (&mut made.0, &made.1);
    let udp = client.socket();
    for (number, frames) in packets {
        udp.send_to(&keys.seal(*number, frames, 1200), at).unwrap();
    }
    client.run(what, |client| client.conn.is_established() || client.conn.is_closed());
    assert!(client.conn.is_established(), "{what}: {}", client.why());
    client.begin();
    assert_eq!(client.get("/hello").text(), "hello", "{what}");
}

/// Row 96: a ClientHello with a post-quantum share over two and three Initials, and such as need
/// more than 4,096 octets to be kept (RFC 9000 section 7.5), in any order, with overlaps.
#[test]
fn row_96_a_client_hello_over_several_initials() {
    let server = Process::app_measured("");
    let retry = Process::app_on("http,https,h3", "h3_retry_from=1000");
    let at = server.at("h3");
    Watch::new(&server, "/hello").during(CAP, || {
        for (more, least) in [(0, 2), (1400, 3), (5200, 6)] {
            let (_, flight, _, whole) = hello(at, more);
            let (count, len) = (flight.len(), whole.len());
            assert!(count >= least && len > 1200, "{len} octets in {count} Initials");
            assert!(more < 5000 || whole.len() - 1100 >= 4096, "{} octets", whole.len());
            let step = whole.len().div_ceil(count);
            let room = 1120 - step;
            let orders: [Vec<usize>; 4] = [
                (0..count).collect(),
                (0..count).rev().collect(),
                (1..count).chain([0]).collect(),
                (0..count).rev().chain(0..count).collect(),
            ];
            for (n, order) in orders.iter().enumerate() {
                for overlap in [0, 1, room / 2, room] {
                    let (client, _, keys, whole) = hello(at, more);
                    let packet = |&at: &usize| {
                        let from = (at * step).saturating_sub(overlap / 2);
                        let to = (at + 1) * step + overlap.div_ceil(2);
                        (at as u8, crypto_frame(&whole, from, to))
                    };
                    let packets: Vec<_> = order.iter().map(packet).collect();
                    let what = format!("{count} Initials, order {n}, {overlap} octets twice");
                    completes(&what, at, (client, keys), &packets);
                }
            }
        }
    });
    // Cut within a packet too, backwards and with PINGs between, as a browser does.
    let at = retry.at("h3");
    let (client, flight, keys, whole) = hello(at, 0);
    let step = whole.len().div_ceil(flight.len());
    let packets = (0..flight.len()).rev().map(|n| {
        let pieces = (0..8).rev().map(|m| {
            let (from, to) = (n * step + m * step / 8, n * step + (m + 1) * step / 8);
            [crypto_frame(&whole, from.min(whole.len()), to), vec![1, 0]].concat()
        });
        (n as u8, pieces.flatten().collect())
    });
    completes("cut finely", at, (client, keys), &packets.collect::<Vec<_>>());
}
