//! Attacks on QUIC itself: rows 67 to 79 of the attack list, with raw datagrams and a modified
//! aioquic. A second client is served meanwhile, and memory stays bounded. Where quiche is laxer
//! than the RFC and drops safely, the answer is recorded here.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use harness::process::Process;
use harness::quic::{self as h3, H3};
use harness::rude::*;
use harness::watch::Watch;
use harness::{eventually, pattern};
use serde_json::Value;

/// Maximum growth of memory during an attack.
const CAP: u64 = 16 << 20;

fn socket() -> UdpSocket {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    udp
}

/// What has come, until nothing does for a moment.
fn heard(udp: &UdpSocket) -> Vec<Vec<u8>> {
    let mut buffer = [0; 65_536];
    let mut all = Vec::new();
    while let Ok(len) = udp.recv(&mut buffer) {
        all.push(buffer[..len].to_vec());
    }
    all
}

/// A client's first datagrams: of a handshake with a classic key exchange one, of another two.
fn flight(server: SocketAddr) -> Vec<Vec<u8>> {
    let mut client = H3::new(server, &mut h3::config(), None);
    let mut out = [0; 1500];
    let mut all = Vec::new();
    while let Ok((len, _)) = client.conn.send(&mut out) {
        all.push(out[..len].to_vec());
    }
    all
}

fn serves(server: &Process) {
    let mut client = H3::connect(server.at("h3"));
    assert_eq!(client.get("/hello").text(), "hello");
    client.close();
}

#[test]
fn row_67_amplification() {
    let server = Process::app_measured("handshake_timeout=3000");
    let at = server.at("h3");
    let (udp, flight) = (socket(), flight(at));
    Watch::new(&server, "/hello").during(CAP, || {
        let mut sent = 0;
        for datagram in &flight {
            udp.send_to(datagram, at).unwrap();
            sent += datagram.len();
        }
        // Silence from here on: what the server tries again counts too.
        let (start, mut came) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(3) {
            came += heard(&udp).iter().map(Vec::len).sum::<usize>();
        }
        println!("{came} octets for {sent}");
        assert!(came > 0 && came <= 3 * sent, "{came} octets for {sent}");
        eventually("the handshake is given up", || {
            server.metric("ringway_quic_handshakes_stalled_total") == 1
        });
    });
}

#[test]
fn row_68_datagrams_that_begin_nothing() {
    let server = Process::app_measured("");
    let at = server.at("h3");
    let (udp, first) = (socket(), flight(at).remove(0));
    Watch::new(&server, "/hello").during(CAP, || {
        udp.send_to(&first[..1199], at).unwrap();
        assert!(heard(&udp).is_empty(), "a short Initial gets nothing");
        let mut other = first.clone();
        other[1..5].copy_from_slice(&[0x1a, 0x2a, 0x3a, 0x4a]);
        udp.send_to(&other, at).unwrap();
        let answers = heard(&udp);
        assert_eq!(answers.len(), 1, "one version negotiation");
        assert!(answers[0][1..5] == [0; 4] && answers[0].len() < other.len());
        udp.send_to(&answers[0], at).unwrap();
        udp.send_to(&other[..800], at).unwrap();
        assert!(heard(&udp).is_empty(), "and none in answer to one, nor to a short datagram");
        // Noise: pieces of an Initial, some octets changed, and plain noise.
        let noise = pattern(1 << 20);
        for n in 0..20_000 {
            let seed = &noise[n * 7..];
            let len = usize::from(seed[0]) * 5 + 1;
            let mut datagram = if seed[1] < 100 { seed[..len].to_vec() } else { first.clone() };
            for change in 0..usize::from(seed[2] % 4) {
                let at = usize::from(seed[3 + change]) * 4 % datagram.len();
                datagram[at] = seed[10 + change];
            }
            datagram.truncate(if seed[20] < 128 { len } else { 1200 });
            udp.send_to(&datagram, at).unwrap();
            if n % 50 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        heard(&udp);
        serves(&server);
    });
    let dropped =
        |reason: &str| server.metric(&format!("ringway_quic_drop_total{{reason=\"{reason}\"}}"));
    assert!(dropped("short_initial") >= 2 && dropped("version_negotiation") >= 1);
    assert!(dropped("malformed") > 0);
    assert!(server.metric("ringway_quic_version_negotiation_total") >= 1);
}

/// An Initial, and every other time a Handshake packet behind it in the datagram, for which the
/// server cannot have keys yet (RFC 9000 section 12.2).
fn laden(mut initial: Vec<u8>, n: usize) -> Vec<u8> {
    if n.is_multiple_of(2) {
        let cids = 7 + usize::from(initial[5]) + usize::from(initial[6 + usize::from(initial[5])]);
        let head = initial[1..cids].to_vec();
        initial.push(0xe3);
        initial.extend(head);
        initial.extend(h3::varint(150));
        initial.extend(pattern(150));
    }
    initial
}

/// Row 69: handshakes that stay half open are few, the others cost a Retry, and all go in time.
#[test]
fn row_69_half_open_handshakes() {
    let server = Process::app_measured("handshake_timeout=3000");
    let at = server.at("h3");
    let initials: Vec<_> = (0..1500).map(|n| laden(flight(at).remove(0), n)).collect();
    Watch::new(&server, "/hello").during(2 * CAP, || {
        let udp = socket();
        let mut retries = 0;
        for chunk in initials.chunks(20) {
            for initial in chunk {
                udp.send_to(initial, at).unwrap();
            }
            // A Retry is a long header of type 3 (RFC 9000 section 17.2.5).
            let is_retry = |answer: &Vec<u8>| answer[0] & 0xf0 == 0xf0;
            udp.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            retries += heard(&udp).iter().filter(|answer| is_retry(answer)).count();
        }
        println!("{retries} of 1500 got a Retry");
        // Those that are given up meanwhile make room for others.
        assert!(retries >= 1000, "{retries}");
        serves(&server);
        eventually("they are given up", || {
            server.metric("ringway_quic_handshakes_stalled_total") >= 100
        });
    });
}

/// Row 70: a Retry is answered by a client with its token, and a wrong token gets another Retry.
/// (Tokens of other clients and expired ones: the transport's own tests.)
#[test]
fn row_70_tokens() {
    let server = Process::app_measured("h3_retry_from=0");
    Watch::new(&server, "/hello").during(CAP, || {
        serves(&server);
        eventually("a Retry and its token", || {
            server.metric("ringway_quic_retry_total") >= 1
                && server.metric("ringway_quic_tokens_total{result=\"good\"}") >= 1
        });
        let cases = ["token", "token:type", "token:zeros", "token:long"];
        let Some(answers) = rude(&server, &cases) else { return };
        for case in cases {
            assert!(answers[case].1, "{case}: a forged token is as good as none");
        }
        eventually("the forged ones are counted", || {
            server.metric("ringway_quic_tokens_total{result=\"bad\"}") >= cases.len() as u64
        });
    });
}

/// Row 75: somebody else sends a copy of a client's datagrams: little goes there, and the client
/// keeps its path.
#[test]
fn row_75_a_forged_source() {
    let server = Process::app_measured("");
    let at = server.at("h3");
    Watch::new(&server, "/hello").during(CAP, || {
        let mut client = H3::connect(at);
        let id = client.ask("GET", "/big", &[], b"");
        client.run("a part of it", |client| client.streams[&id].body.len() > 1 << 20);
        let spy = socket();
        let (mut sent, mut came) = (0, 0);
        client.sent = Some(Vec::new());
        while !client.streams[&id].is_over() {
            // What the client says from now on arrives by the spy's hand first.
            client.step(Duration::from_millis(1));
            for datagram in client.sent.take().unwrap() {
                sent += spy.send_to(&datagram, at).unwrap();
            }
            client.sent = Some(Vec::new());
            spy.set_nonblocking(true).unwrap();
            came += heard(&spy).iter().map(Vec::len).sum::<usize>();
        }
        assert!(client.answer(id).body == pattern(16 << 20), "the download is whole");
        println!("the spy sent {sent} octets and got {came}");
        assert!(came <= 3 * sent, "{came} octets for {sent}");
        assert_eq!(client.get("/hello").text(), "hello", "the old path is kept");
    });
}

/// Row 76: resets for packets of nobody's connection are rationed, and shorter than their cause.
#[test]
fn row_76_resets_are_rationed() {
    let server = Process::app_measured("h3_answers=20");
    let at = server.at("h3");
    let mut client = H3::connect(at);
    client.sent = Some(Vec::new());
    assert_eq!(client.get("/bytes/1").status(), 200);
    let datagram = client.sent.take().unwrap().into_iter().find(|sent| sent.len() > 40).unwrap();
    client.close();
    let udp = socket();
    Watch::new(&server, "/hello").during(CAP, || {
        eventually("the connection is forgotten", || {
            udp.send_to(&datagram, at).unwrap();
            !heard(&udp).is_empty()
        });
        let (start, mut resets) = (Instant::now(), Vec::new());
        for n in 0..3000 {
            udp.send_to(&datagram, at).unwrap();
            if n % 100 == 0 {
                resets.extend(heard(&udp));
            }
        }
        resets.extend(heard(&udp));
        let most = 20.0 * (start.elapsed().as_secs_f64() + 2.0);
        println!("{} resets for 3000 packets", resets.len());
        assert!((resets.len() as f64) < most, "{} resets, {most} at most", resets.len());
        assert!(resets.iter().all(|reset| reset.len() < datagram.len()));
    });
}

/// Row 77: clients that reset, move and vanish at any time, while certificates are loaded again.
#[test]
fn row_77_lives_that_end_anyhow() {
    let server = Process::app_measured("");
    let at = server.at("h3");
    let dice = pattern(64 << 10);
    let mut clients: Vec<H3> = Vec::new();
    Watch::new(&server, "/hello").during(2 * CAP, || {
        for (n, die) in dice.chunks(8).take(3000).enumerate() {
            if clients.len() < 12 {
                clients.push(H3::new(at, &mut h3::config(), None));
            }
            let who = usize::from(die[0]) % clients.len();
            let client = &mut clients[who];
            client.step(Duration::ZERO);
            if client.conn.is_established() && client.uni.is_empty() {
                client.begin();
            }
            match die[1] % 9 {
                _ if !client.conn.is_established() => {}
                0 | 1 => drop(client.ask("GET", "/big", &[], b"")),
                2 => drop(client.ask("GET", "/slow/30", &[], b"")),
                3 => client.rebind(),
                4 => {
                    let id = client.ask("POST", "/upload", &[], &pattern(9000));
                    let how = ringway_quic::quiche::Shutdown::Write;
                    let _ = client.conn.stream_shutdown(id, how, 0x10c);
                }
                5 => {
                    let id = *client.streams.keys().next_back().unwrap_or(&0);
                    let how = ringway_quic::quiche::Shutdown::Read;
                    let _ = client.conn.stream_shutdown(id, how, 0x10c);
                }
                6 => clients.swap_remove(who).close(),
                7 => drop(clients.swap_remove(who)),
                _ => drop(client.ask("GET", "/produce/1", &[], b"")),
            }
            if n % 500 == 0 {
                server.signal("HUP");
            }
        }
        clients.clear();
    });
    serves(&server);
    let running = || server.client().get("/running").text().to_owned();
    let left = server.client().get("/hello").status;
    assert_eq!(left, 200);
    println!("handlers still at work for clients that vanished: {}", running());
}

#[test]
fn row_69_crypto_beyond_any_buffer() {
    expect(&[("crypto", &[CRYPTO_BUFFER_EXCEEDED])]);
}

#[test]
fn row_71_acknowledgements_of_what_was_not_sent() {
    expect(&[
        ("ack_unsent", &[PROTOCOL_VIOLATION]),
        ("ack_next", &[PROTOCOL_VIOLATION]),
        ("ack_below_zero", &[FRAME_ENCODING_ERROR]),
    ]);
}

/// Row 71: a client that acknowledges what its path has lost is found out by the packet numbers
/// that quiche leaves out at random, once in a congestion window or so (RFC 9000 section 21.4), and
/// the window has not grown beyond what those acknowledgements could give until then.
#[test]
fn row_71_optimistic_acknowledgements() {
    let dir = std::env::temp_dir().join(format!("ringway-row-71-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("hello"), "hello").unwrap();
    std::fs::write(dir.join("big"), pattern(16 << 20)).unwrap();
    let mut widest = HashMap::new();
    for case in ["optimist", "honest"] {
        let logs = dir.join(case);
        std::fs::create_dir_all(&logs).unwrap();
        let qlog = logs.to_str().unwrap();
        let mut server = Process::serve(&dir, &["--https", "127.0.0.1:0", "--qlog", qlog]);
        server.wait_for("http,h3");
        let Some(answers) = rude(&server, &[case]) else { return };
        match case {
            "optimist" => assert_eq!(answers[case], (Some(PROTOCOL_VIOLATION), false)),
            _ => assert_eq!(answers[case], (None, true)),
        }
        // The logs are whole when it has ended.
        server.signal("TERM");
        server.wait();
        widest.insert(case, widest_window(&logs));
    }
    std::fs::remove_dir_all(&dir).unwrap();
    println!("congestion windows in octets, at their widest: {widest:?}");
    // The first is ten packets; the first number is left out after 20 packets and at most two
    // windows more, as slow start has them by then.
    assert!(widest["optimist"] <= (10 + 20 + 3 * 20) * 1452, "{widest:?}");
}

/// The widest congestion window in the only qlog in `dir`.
fn widest_window(dir: &Path) -> u64 {
    let logs: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    let text = std::fs::read_to_string(&logs[0]).unwrap();
    let records = text.split('\u{1e}').filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let windows = records.filter_map(|record| record["data"]["congestion_window"].as_u64());
    windows.max().expect("congestion windows in the log")
}

#[test]
fn row_72_connection_ids_and_challenges() {
    expect(&[
        ("retire_unknown", &[PROTOCOL_VIOLATION]),
        ("new_cid_flood", &[CONNECTION_ID_LIMIT_ERROR]),
        // quiche queues a bounded number of retirements.
        ("new_cid_retire", &[CONNECTION_ID_LIMIT_ERROR, SILENCE]),
        ("new_cid_short", &[FRAME_ENCODING_ERROR]),
        ("change_cids", &[]),
        ("challenges", &[]),
    ]);
}

/// Row 73: as many fragments as may be held are survived, more are not, whether holes are between
/// them or only one is before all of them, or they are long and overlap: without the bound those
/// would have the server keep 20 MiB.
#[test]
fn row_73_holes() {
    expect(&[
        ("some_holes", &[]),
        ("holes", &[EXCESSIVE_LOAD]),
        ("all_holes", &[EXCESSIVE_LOAD]),
        ("overlaps", &[EXCESSIVE_LOAD]),
        ("first:crypto_holes", &[CRYPTO_BUFFER_EXCEEDED]),
    ]);
}

#[test]
fn row_79_sizes_of_streams() {
    expect(&[
        ("reset_beyond", &[FLOW_CONTROL_ERROR]),
        ("reset_changed", &[FINAL_SIZE_ERROR]),
        ("reset_below", &[FINAL_SIZE_ERROR]),
        ("data_beyond_end", &[FINAL_SIZE_ERROR]),
        ("window", &[FLOW_CONTROL_ERROR]),
        ("offset", &[FRAME_ENCODING_ERROR, FLOW_CONTROL_ERROR]),
        ("streams", &[STREAM_LIMIT_ERROR]),
        ("own_stream", &[STREAM_STATE_ERROR]),
        ("receive_only", &[STREAM_STATE_ERROR]),
        ("stop_uni", &[STREAM_STATE_ERROR]),
        ("done", &[PROTOCOL_VIOLATION]),
        ("new_token", &[PROTOCOL_VIOLATION]),
        ("unknown", &[FRAME_ENCODING_ERROR]),
        ("max_streams", &[FRAME_ENCODING_ERROR]),
    ]);
}
