//! HTTP/3 over the endpoint, with a conforming and a misbehaving client.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test fails by panicking")]

mod pair;

use pair::client::{self, Client};
use pair::server::{self, body};
use pair::{Link, Server, World};
use ringway_codec::h3::frame::{self, kind};
use ringway_quic::http::Early;
use ringway_quic::{Policy, Settings, quiche};
use std::time::{Duration, Instant};

/// A world with a client that has opened its streams and sent no request yet.
fn connect(mut world: World) -> World {
    world.client(Client::new(1001));
    world.run(|world| world.clients[0].conn.is_established());
    world.clients[0].begin();
    world
}

fn connected() -> World {
    connect(World::plain())
}

fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write_head(&mut out, kind, payload.len() as u64);
    out.extend_from_slice(payload);
    out
}

#[test]
fn d1_get_over_h3() {
    let mut world = connected();
    let id = world.clients[0].request("GET", "/", b"");
    world.run(|world| world.clients[0].all_over());
    let response = &world.clients[0].responses[&id];
    assert_eq!((response.status(), &response.body[..]), ("200", &b"Hello, World!"[..]));
    assert_eq!(world.clients[0].conn.application_proto(), b"h3");
    assert_eq!(world.server.requests, [("GET".into(), "/".into(), Early::No)]);
}

#[test]
fn many_streams_at_once_and_many_after() {
    let mut world = connected();
    for _ in 0..5 {
        for _ in 0..100 {
            world.clients[0].request("GET", "/", b"");
        }
        world.run(|world| world.clients[0].all_over());
    }
    let responses = &world.clients[0].responses;
    assert_eq!(responses.len(), 500);
    assert!(responses.values().all(|r| r.body == b"Hello, World!"));
}

/// D8: the second head of a kind is all references.
#[test]
fn d8_the_dynamic_table_is_used() {
    let mut world = connected();
    world.run_for(Duration::from_millis(20));
    for _ in 0..3 {
        world.clients[0].request("GET", "/", b"");
        world.run(|world| world.clients[0].all_over());
        world.run_for(Duration::from_millis(5));
    }
    let client = &world.clients[0];
    assert!(client.encoder_bytes > 0);
    let last = client.responses.values().last().unwrap();
    assert!(last.section_bytes[0] <= 20, "{} octets", last.section_bytes[0]);
}

#[test]
fn bodies_of_every_kind_come_whole() {
    let mut world = connected();
    let mut want = Vec::new();
    for len in [0, 1, 5000, 100_000, 1_000_000] {
        for path in ["pull", "shared", "trailers"] {
            let id = world.clients[0].request("GET", &format!("/{path}/{len}"), b"");
            want.push((id, len, path));
        }
    }
    world.run(|world| world.clients[0].all_over());
    for (id, len, path) in want {
        let response = &world.clients[0].responses[&id];
        assert!(response.fin && response.body == body(len), "/{path}/{len}");
        let trailers = path == "trailers";
        assert_eq!(response.heads.len(), 1 + usize::from(trailers));
        if trailers {
            assert_eq!(response.heads[1], [("checksum".to_string(), "right".to_string())]);
        }
    }
    assert!(world.server.segments_max > 8, "{} segments", world.server.segments_max);
}

#[test]
fn requests_with_content_hints_and_heads() {
    let mut world = connected();
    let upload = body(60_000);
    let client = &mut world.clients[0];
    let echo = client.request("POST", "/echo", &upload);
    let hints = client.request("GET", "/hints", b"");
    let head = client.request("HEAD", "/shared/500", b"");
    world.run(|world| world.clients[0].all_over());
    let responses = &world.clients[0].responses;
    assert!(responses[&echo].body == upload);
    let statuses: Vec<_> = responses[&hints].heads.iter().map(|h| h[0].1.as_str()).collect();
    assert_eq!(statuses, ["103", "200"]);
    assert_eq!((responses[&head].status(), responses[&head].body.len()), ("200", 0));
}

/// D2 and C34: every byte arrives, whatever the link does.
#[test]
fn a_bad_link_changes_nothing_but_time() {
    for seed in 1..=3 {
        let link = Link {
            loss: 50,
            duplicates: 30,
            reordered: 100,
            delay: Duration::from_millis(1),
            mtu: 1400,
        };
        let mut world = connect(World::new(seed, link, Server::new()));
        let a = world.clients[0].request("GET", "/pull/300000", b"");
        let b = world.clients[0].request("GET", "/shared/300000", b"");
        let c = world.clients[0].request("POST", "/echo", &body(50_000));
        world.run(|world| world.clients[0].all_over());
        let responses = &world.clients[0].responses;
        assert!(responses[&a].body == body(300_000), "seed {seed}");
        assert!(responses[&b].body == body(300_000), "seed {seed}");
        assert!(responses[&c].body == body(50_000), "seed {seed}");
    }
}

/// The end of a stream that becomes known after all content was sent survives the loss of its
/// packet while earlier content is retransmitted. (With the end alone in its frame, the eighth seed
/// would hang.)
#[test]
fn a_late_end_survives_losses() {
    for seed in 6..=9 {
        let link = Link { loss: 100, delay: Duration::from_millis(10), ..Link::default() };
        let mut world = connect(World::new(seed, link, Server::new()));
        let asked: Vec<u64> =
            (0..40).map(|_| world.clients[0].request("GET", "/late/4000", b"")).collect();
        world.run(|world| world.clients[0].all_over());
        for id in asked {
            assert!(world.clients[0].responses[&id].body == body(4_000), "seed {seed}");
        }
    }
}

/// D10: every congestion controller, paced or not.
#[test]
fn d10_congestion_control_is_a_choice() {
    use ringway_quic::Congestion;
    for congestion in [Congestion::Cubic, Congestion::Bbr2, Congestion::Reno] {
        let settings = Settings { congestion, ..Settings::default() };
        let server = Server::with(server::policy(), settings);
        let mut world = connect(World::new(1, Link::default(), server));
        let id = world.clients[0].request("GET", "/shared/2000000", b"");
        world.run(|world| world.clients[0].all_over());
        assert!(world.clients[0].responses[&id].body == body(2_000_000), "{congestion:?}");
    }
}

/// D7: the client's address changes in the middle of a download, through a NAT and by active
/// migration.
#[test]
fn d7_downloads_survive_a_change_of_address() {
    for by_nat in [true, false] {
        let mut world = connected();
        let id = world.clients[0].request("GET", "/pull/3000000", b"");
        world.run(|world| world.clients[0].responses[&id].body.len() > 500_000);
        let client = &mut world.clients[0];
        if by_nat {
            client.rebind(2002);
        } else {
            let new = "127.0.0.1:2002".parse().unwrap();
            client.addresses.push(new);
            client.supply_cids();
            client.conn.migrate_source(new).unwrap();
        }
        world.run(|world| world.clients[0].all_over());
        assert!(world.clients[0].responses[&id].body == body(3_000_000), "NAT: {by_nat}");
        let id = world.server.endpoint.ids().next().unwrap();
        let (conn, _) = world.server.endpoint.get(id).unwrap();
        let counts = conn.counts();
        assert!(counts.migrations == 1 && counts.paths_validated >= 1, "{counts:?}");
    }
}

/// D5 and row 78: early data is served if it is safe and new; a replay is not.
#[test]
fn d5_row_78_early_data() {
    let mut world = connected();
    world.run(|world| world.clients[0].conn.session().is_some());
    let session = world.clients[0].conn.session().unwrap().to_vec();

    let mut config = client::config();
    let mut again = Client::with(1002, &mut config, Some(&session));
    // The first flight, copied on its way, as by an attacker.
    let mut wire = World::plain().net;
    again.flush(&mut wire);
    assert!(again.conn.is_in_early_data());
    again.begin();
    let get = again.request("GET", "/", b"");
    let post = again.request("POST", "/echo", b"twice is too often");
    again.flush(&mut wire);
    let at = world.client(again);
    let copied = wire.take_all();
    for (from, to, bytes) in &copied {
        world.net.send(*from, *to, bytes);
    }
    world.run(|world| world.clients[at].all_over());
    let client = &world.clients[at];
    assert!(client.conn.is_resumed());
    assert_eq!(client.responses[&get].status(), "200");
    assert_eq!(client.responses[&post].status(), "425");
    assert_eq!(world.server.requests[0].2, Early::First);
    let late = world.clients[at].request("POST", "/echo", b"now it is well");
    world.run(|world| world.clients[at].all_over());
    assert_eq!(world.clients[at].responses[&late].status(), "200");

    // The copy arrives at a server that has forgotten the connection, but not the ClientHello.
    let register = std::sync::Arc::clone(&world.server.register);
    let other = Server::with_register(server::policy(), Settings::default(), register);
    let mut world = World::new(1, Link::default(), other);
    for (_, to, bytes) in &copied {
        world.net.send("127.0.0.1:6666".parse().unwrap(), *to, bytes);
    }
    world.run_for(Duration::from_millis(50));
    let repeated = &world.server.requests;
    assert!(!repeated.is_empty());
    assert!(repeated.iter().all(|(_, _, early)| *early == Early::Repeated), "{repeated:?}");
}

/// The setting: without early data, requests wait for the handshake.
#[test]
fn early_data_can_be_off() {
    let settings = Settings { early_data: false, ..Settings::default() };
    let server = Server::with(server::policy(), settings);
    let mut world = connect(World::new(1, Link::default(), server));
    world.run(|world| world.clients[0].conn.session().is_some());
    let session = world.clients[0].conn.session().unwrap().to_vec();
    let again = Client::with(1002, &mut client::config(), Some(&session));
    world.client(again);
    world.step();
    assert!(!world.clients[1].conn.is_in_early_data());
    world.run(|world| world.clients[1].conn.is_established());
    assert!(world.clients[1].conn.is_resumed());
}

/// The close code that these bytes on a client's streams cause, if any.
fn closes(streams: &[(u64, &[u8], bool)]) -> Option<u64> {
    let mut world = World::plain();
    world.client(Client::new(1001));
    world.run(|world| world.clients[0].conn.is_established());
    for (id, bytes, fin) in streams {
        world.clients[0].raw(*id, bytes, *fin);
        world.run_for(Duration::from_millis(3));
    }
    // Long enough for a busy machine. Input without an error takes all of it.
    let end = Instant::now() + Duration::from_secs(1);
    world.run(|world| world.clients[0].conn.peer_error().is_some() || Instant::now() >= end);
    let error = world.clients[0].conn.peer_error()?;
    assert!(error.is_app);
    Some(error.error_code)
}

/// Rows 58 to 65 over the wire; the codec's tests cover all of them.
#[test]
fn rows_58_to_65_close_with_their_codes() {
    let control = [&[0][..], &frame(kind::SETTINGS, &[])].concat();
    let say = |bytes: &[u8]| closes(&[(2, &control, false), (0, bytes, false)]);
    assert_eq!(say(&frame(kind::DATA, b"x")), Some(0x105));
    assert_eq!(say(&frame(0x06, b"x")), Some(0x105));
    assert_eq!(closes(&[(2, &[0, 7, 1, 0], false)]), Some(0x10a));
    assert_eq!(closes(&[(2, &[0, 4, 2, 2, 0], false)]), Some(0x109));
    assert_eq!(closes(&[(2, &control, false), (6, &[0], false)]), Some(0x103));
    assert_eq!(closes(&[(2, &[1], false)]), Some(0x103));
    assert_eq!(closes(&[(2, &control, true)]), Some(0x104));
    assert_eq!(
        closes(&[(2, &control, false), (2, &frame(kind::CANCEL_PUSH, &[0]), false)]),
        Some(0x108)
    );
    assert_eq!(say(&frame(kind::HEADERS, &[0, 0, 0xff, 0xff, 0x7f])), Some(0x200));
    assert_eq!(closes(&[(6, &[2, 0x3f, 0xe2, 0x1f], false)]), Some(0x201));
    assert_eq!(closes(&[(10, &[3, 0], false)]), Some(0x202));
    assert_eq!(closes(&[(2, &control, false), (14, &frame(0x21, b"?"), false)]), None);
}

#[test]
fn row_61_a_reset_critical_stream_closes() {
    let mut world = connected();
    world.run_for(Duration::from_millis(3));
    world.clients[0].conn.stream_shutdown(2, quiche::Shutdown::Write, 0).unwrap();
    world.run(|world| world.clients[0].conn.peer_error().is_some());
    assert_eq!(world.clients[0].conn.peer_error().unwrap().error_code, 0x104);
}

/// Row 62: the stream is reset and the connection lives.
#[test]
fn row_62_malformed_requests_are_reset() {
    let mut world = connected();
    let client = &mut world.clients[0];
    let wrong = client.request_with("GET", "/", b"", &[("connection", "close")]);
    let short = client.request_with("POST", "/echo", b"1234", &[("content-length", "5")]);
    let right = client.request("GET", "/", b"");
    world.run(|world| world.clients[0].all_over());
    let responses = &world.clients[0].responses;
    assert_eq!(responses[&wrong].reset, Some(0x10e));
    assert_eq!(responses[&short].reset, Some(0x10e));
    assert_eq!(responses[&right].status(), "200");
    assert_eq!(world.server.resets, [(0x10e, false)], "the server hears of the one it knew");
}

#[test]
fn row_65_too_large_a_head_is_431() {
    let mut world = connected();
    let long = "v".repeat(40_000);
    let id = world.clients[0].request_with("GET", "/", b"", &[("x", &long)]);
    let fine = world.clients[0].request("GET", "/", b"");
    world.run(|world| world.clients[0].all_over());
    let responses = &world.clients[0].responses;
    assert_eq!((responses[&id].status(), responses[&fine].status()), ("431", "200"));
}

#[test]
fn clients_may_cancel_and_reprioritise() {
    let mut world = connected();
    let client = &mut world.clients[0];
    let stopped = client.request("GET", "/pull/5000000", b"");
    let reset = client.request("GET", "/hang", b"");
    world.run(|world| world.clients[0].responses[&stopped].body.len() > 10_000);
    let client = &mut world.clients[0];
    client.conn.stream_shutdown(stopped, quiche::Shutdown::Read, 0x10c).unwrap();
    client.responses.get_mut(&stopped).unwrap().fin = true;
    client.conn.stream_shutdown(reset, quiche::Shutdown::Read, 0x10c).unwrap();
    client.responses.get_mut(&reset).unwrap().fin = true;
    world.run(|world| world.server.resets.len() == 2);
    assert_eq!(world.server.resets, [(0x10c, true); 2]);
    let fine = world.clients[0].request("GET", "/", b"");
    world.run(|world| world.clients[0].all_over());
    assert_eq!(world.clients[0].responses[&fine].status(), "200");
}

/// A client that reads nothing gets no more than its window.
#[test]
fn backpressure_holds_the_body_back() {
    let mut world = World::plain();
    let mut config = client::config();
    config.set_initial_max_stream_data_bidi_local(10_000);
    world.client(Client::with(1001, &mut config, None));
    world.run(|world| world.clients[0].conn.is_established());
    world.clients[0].begin();
    world.clients[0].reads = false;
    let id = world.clients[0].request("GET", "/pull/1000000", b"");
    world.run_for(Duration::from_millis(50));
    assert!(world.server.pulled < 80_000, "{} octets pulled", world.server.pulled);
    world.clients[0].reads = true;
    world.clients[0].read();
    world.run(|world| world.clients[0].all_over());
    assert!(world.clients[0].responses[&id].body == body(1_000_000));
}

/// Row 25: an incomplete head is answered with 408 in time, whatever else happens.
#[test]
fn row_25_slow_heads() {
    let mut world = connected();
    let half = world.clients[0].section(0, &[(":method", "GET")]);
    world.clients[0].raw(0, &half[..2], false);
    world.run_for(Duration::from_millis(10));
    let now = Instant::now();
    for seconds in [0, 9] {
        world.server.expire(now + Duration::from_secs(seconds));
        world.run_for(Duration::from_millis(5));
        assert!(!world.clients[0].responses.contains_key(&0));
    }
    world.server.expire(now + Duration::from_secs(10));
    world.run(|world| world.clients[0].responses.get(&0).is_some_and(|r| r.fin));
    assert_eq!(world.clients[0].responses[&0].status(), "408");
}

/// Row 27: a response that the client does not read is abandoned, and the server is notified.
#[test]
fn row_27_responses_that_are_not_read() {
    let mut world = World::plain();
    let mut config = client::config();
    config.set_initial_max_stream_data_bidi_local(10_000);
    world.client(Client::with(1001, &mut config, None));
    world.run(|world| world.clients[0].conn.is_established());
    world.clients[0].begin();
    world.clients[0].reads = false;
    world.clients[0].request("GET", "/pull/1000000", b"");
    world.run_for(Duration::from_millis(50));
    let now = Instant::now();
    world.server.expire(now);
    world.server.expire(now + Duration::from_secs(59));
    world.run_for(Duration::from_millis(5));
    assert!(world.server.resets.is_empty());
    world.server.expire(now + Duration::from_secs(60));
    world.run(|world| !world.server.resets.is_empty());
    assert_eq!(world.server.resets, [(0x107, false)]);
    world.clients[0].reads = true;
    world.run(|world| {
        world.clients[0].read();
        world.clients[0].all_over()
    });
}

/// A drain loses nothing: earlier requests are served, later ones are rejected, then the connection
/// ends.
#[test]
fn a_drain_in_two_steps() {
    let mut world = connected();
    let early = world.clients[0].request("GET", "/pull/500000", b"");
    world.run(|world| world.clients[0].responses[&early].body.len() > 1000);
    let id = world.server.endpoint.ids().next().unwrap();
    let (conn, state) = world.server.endpoint.get(id).unwrap();
    state.http.drain(conn);
    assert!(!state.http.is_done(conn, &world.server.shared));
    let between = world.clients[0].request("GET", "/", b"");
    world.run(|world| world.clients[0].responses[&between].fin);
    let (conn, state) = world.server.endpoint.get(id).unwrap();
    state.http.refuse(conn);
    let late = world.clients[0].request("GET", "/", b"");
    world.run(|world| world.clients[0].all_over());
    let responses = &world.clients[0].responses;
    assert!(responses[&early].body == body(500_000));
    assert_eq!((responses[&between].status(), responses[&late].reset), ("200", Some(0x10b)));
    // Unacknowledged data may have to be sent again.
    world.run(|world| {
        let (conn, state) = world.server.endpoint.get(id).unwrap();
        state.http.is_done(conn, &world.server.shared)
    });
    let (conn, state) = world.server.endpoint.get(id).unwrap();
    state.http.close(ringway_quic::http::Code::NoError, b"", conn);
    world.run(|world| world.server.ended == 1);
    assert_eq!(world.clients[0].conn.peer_error().unwrap().error_code, 0x100);
}

/// The converse of row 73: content in very many small fragments over a lossy link is accepted if it
/// is read as it arrives.
#[test]
fn small_fragments_that_are_read_are_accepted() {
    let link = Link { loss: 20, delay: Duration::from_millis(1), ..Link::default() };
    let policy = Policy { fragments: 1000, ..server::policy() };
    let mut world = connect(World::new(5, link, Server::with(policy, Settings::default())));
    let client = &mut world.clients[0];
    let lines =
        [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/echo")];
    let head = client.section(0, &lines);
    client.raw(0, &head, false);
    client.responses.insert(0, client::Response::default());
    let piece = frame(kind::DATA, b"0123456789");
    for n in 0..5000 {
        let has_room = |room: usize| room >= piece.len();
        world.run(|world| world.clients[0].conn.stream_capacity(0).is_ok_and(has_room));
        world.clients[0].raw(0, &piece, n == 4999);
        world.step();
    }
    world.run(|world| world.clients[0].all_over());
    assert!(world.clients[0].responses[&0].body == b"0123456789".repeat(5000));
    assert!(world.clients[0].conn.stats().lost > 0, "there were holes");
}
