//! Flow control in both directions (rows C19, C20, C22), settings and their acknowledgement (C22,
//! C23), attack row 49.

use crate::chosen::backend;
use crate::rig::*;
use ringway_codec::h2::frame::*;
use ringway_codec::h2::{Body, Code, Config, Sent};
use ringway_codec::{Time, hpack};

#[test]
fn c19_a_window_of_one_octet_drips() {
    let mut rig = Rig::new();
    rig.client_settings(&[(4, 1)]);
    rig.send(&get(1));
    rig.answer(1, 5);
    for n in 1..=5 {
        rig.pull(usize::MAX);
        assert_eq!(rig.only(DATA).len(), 1);
        assert_eq!(rig.streams[&1].received, n);
        if n < 5 {
            rig.grant(1, 1);
        }
    }
    assert!(rig.streams[&1].ended);
}

#[test]
fn c19_headers_and_settings_pass_a_shut_window() {
    let mut rig = Rig::new();
    rig.client_settings(&[(4, 0)]);
    rig.send(&get(1));
    assert_eq!(rig.reply(1, 200, b"waits"), Sent::Queued);
    rig.send(&frame(PING, 0, 0, &[1; 8]));
    rig.pull(usize::MAX);
    let kinds: Vec<_> = rig.frames().iter().map(|f| f.kind).collect();
    assert_eq!(kinds, [SETTINGS, HEADERS, PING]);
    rig.send(&get(3));
    assert_eq!(rig.reply(3, 200, b""), Sent::All, "no content needs no window");
}

#[test]
fn c19_the_connections_window_binds_all_streams() {
    let mut rig = Rig::new();
    for id in [1, 3, 5] {
        rig.send(&get(id));
        rig.answer(id, 50_000);
    }
    rig.pull(usize::MAX);
    rig.frames();
    let total: usize = rig.streams.values().map(|s| s.received).sum();
    assert_eq!(total, 65_535);
    assert!(!rig.conn.wants_output());
    rig.grant(0, MAX_31 - 1_000_000);
    assert!(rig.conn.wants_output());
    rig.pull(usize::MAX);
    rig.frames();
    assert!(rig.streams.values().all(|s| s.received == 50_000 && s.ended));
}

/// Uploads with as much as the server allows.
fn upload(rig: &mut Rig, id: u32, mut connection: i64, total: i64) -> (i64, i64) {
    rig.send(&post(id, &[]));
    let (mut window, mut sent) = (65_535i64, 0);
    while sent < total {
        let n = window.min(connection).min(16_384).min(total - sent);
        assert!(n > 0, "the server replenishes what was consumed");
        rig.send(&data(id, &vec![0; n as usize], false));
        (window, connection, sent) = (window - n, connection - n, sent + n);
        for f in rig.only(WINDOW_UPDATE) {
            let more = i64::from(f.u32(0));
            if f.stream == 0 { connection += more } else { window += more }
        }
    }
    assert_eq!(rig.error, None);
    (window, connection)
}

#[test]
fn c19_an_upload_larger_than_the_window() {
    let mut rig = Rig::new();
    let (window, _) = upload(&mut rig, 1, 1 << 20, 10_000_000);
    assert!(window > 1 << 19, "raised while the application drains: {window}");
}

/// What was announced binds, whatever the configuration has become.
#[test]
fn c22_a_new_configuration_does_not_stall_old_connections() {
    let mut rig = Rig::new();
    let (_, connection) = upload(&mut rig, 1, 1 << 20, 100_000);
    rig.shared.config.stream_window = 8 << 20;
    rig.shared.config.stream_window_max = 16 << 20;
    rig.shared.config.connection_window = 64 << 20;
    rig.shared.config.max_frame_size = 1 << 20;
    let (_, connection) = upload(&mut rig, 3, connection, 10_000_000);
    rig.shared.config = Config { stream_window: 1, connection_window: 65_535, ..Config::default() };
    upload(&mut rig, 5, connection, 10_000_000);
    rig.send(&data(5, &[0; 16_385], false));
    rig.dead(Code::FRAME_SIZE_ERROR);
}

#[test]
fn c19_nothing_is_replenished_before_it_is_consumed() {
    let mut rig = Rig::new();
    rig.hold = true;
    rig.send(&post(1, &[]));
    for _ in 0..3 {
        rig.send(&data(1, &[0; 16_384], false));
    }
    rig.send(&data(1, &[0; 16_383], false));
    assert!(rig.only(WINDOW_UPDATE).is_empty());
    let key = rig.key(1);
    rig.consume(key, 65_535);
    let updates = rig.only(WINDOW_UPDATE);
    assert_eq!((updates.len(), updates[0].stream), (1, 1));
    // Without that, one octet more is an error.
    let mut rig = Rig::new();
    rig.hold = true;
    rig.send(&post(1, &[]));
    for _ in 0..3 {
        rig.send(&data(1, &[0; 16_384], false));
    }
    rig.send(&data(1, &[0; 16_384], false));
    rig.reset_with(1, Code::FLOW_CONTROL_ERROR);
}

#[test]
fn c20_large_windows() {
    let config = Config {
        stream_window: MAX_31,
        connection_window: MAX_31,
        stream_window_max: MAX_31,
        ..Config::default()
    };
    let mut rig = Rig::raw(config);
    let first = rig.frames();
    assert_eq!(first[1].u32(0), MAX_31 - 65_535);
    rig.handshake(&[]);
    rig.send(&post(1, &[]));
    for _ in 0..2000 {
        rig.send(&data(1, &[0; 16_384], false));
    }
    assert!(rig.error.is_none() && rig.only(WINDOW_UPDATE).is_empty(), "no need to replenish");
}

#[test]
fn row_49_windows() {
    // A stream's: 2^31 - 1 is legal, one more is that stream's error.
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.send(&window_update(1, MAX_31 - 65_535));
    rig.frames();
    rig.send(&window_update(1, 1));
    rig.reset_with(1, Code::FLOW_CONTROL_ERROR);
    // The connection's.
    let mut rig = Rig::new();
    rig.send(&window_update(0, MAX_31 - 65_535));
    assert_eq!(rig.error, None);
    rig.send(&window_update(0, 1));
    rig.dead(Code::FLOW_CONTROL_ERROR);
    // Of zero.
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.send(&window_update(1, 0));
    rig.reset_with(1, Code::PROTOCOL_ERROR);
    let mut rig = Rig::new();
    rig.send(&window_update(0, 0));
    rig.dead(Code::PROTOCOL_ERROR);
    // The reserved bit is no part of the increment.
    let mut rig = Rig::new();
    rig.send(&window_update(0, 1 << 31));
    rig.dead(Code::PROTOCOL_ERROR);
    // By INITIAL_WINDOW_SIZE, on a stream that has been given more.
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.send(&window_update(1, 1000));
    rig.send(&settings(&[(4, MAX_31)]));
    rig.dead(Code::FLOW_CONTROL_ERROR);
    let mut rig = Rig::new();
    rig.send(&settings(&[(4, 1 << 31)]));
    rig.dead(Code::FLOW_CONTROL_ERROR);
    // Overrun of the connection's window by many streams.
    let mut rig = Rig::with(Config { connection_window: 65_535, ..Config::default() });
    rig.hold = true;
    for id in [1, 3, 5] {
        rig.send(&post(id, &[]));
    }
    for _ in 0..2 {
        rig.send(&data(1, &[0; 16_384], false));
        rig.send(&data(3, &[0; 16_384], false));
    }
    rig.dead(Code::FLOW_CONTROL_ERROR);
}

#[test]
fn c22_initial_window_size_changes_open_streams_below_zero() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.answer(1, 60_000);
    rig.pull(30_000);
    rig.frames();
    let sent = rig.streams[&1].received as i64;
    assert!(sent >= 30_000);
    rig.client_settings(&[(4, 100)]);
    assert_eq!(rig.streams[&1].window, 100 - sent);
    rig.pull(usize::MAX);
    assert!(rig.only(DATA).is_empty());
    rig.grant(1, (sent - 100) as u32);
    rig.pull(usize::MAX);
    assert!(rig.only(DATA).is_empty(), "exactly zero");
    rig.grant(1, 7);
    rig.pull(usize::MAX);
    assert_eq!(rig.only(DATA)[0].payload.len(), 7);
    rig.client_settings(&[(4, 65_535)]);
    rig.pull(usize::MAX);
    rig.frames();
    assert!(rig.streams[&1].ended);
}

#[test]
fn c22_header_table_size_is_obeyed_at_the_next_block() {
    let mut rig = Rig::new();
    for size in [0u32, 4096, 100, 65_536] {
        rig.client_settings(&[(1, size.min(4096))]);
        for _ in 0..3 {
            let id = rig.conn_next_id();
            rig.send(&get(id));
            let key = rig.key(id);
            rig.io(|conn, io| {
                conn.respond(key, 200, Body::None, io, |head| {
                    head.cached(9, |head| {
                        head.field(ringway_codec::field::Known::Server, b"", b"ringway");
                        head.field(ringway_codec::field::Known::ContentType, b"", b"a/b");
                    });
                })
            });
            rig.frames();
            assert_eq!(rig.streams[&id].heads[0].len(), 3);
        }
    }
    // Down and up again in one frame: both must be signalled, or the client's decoder fails here.
    rig.client_settings(&[(1, 0), (1, 4096)]);
    rig.decoder = hpack::Decoder::new(backend(), 4096);
    rig.alive();
}

#[test]
fn c22_our_smaller_window_binds_the_client_from_its_acknowledgement() {
    let mut rig = Rig::raw(Config { stream_window: 1000, ..Config::default() });
    rig.hold = true;
    rig.send(PREFACE);
    rig.send(&settings(&[]));
    rig.send(&post(1, &[]));
    rig.send(&data(1, &[0; 16_000], false));
    assert_eq!(rig.error, None, "the client may not know our settings yet");
    rig.send(&frame(SETTINGS, ACK, 0, &[]));
    rig.send(&post(3, &[]));
    rig.frames();
    rig.send(&data(3, &[0; 1001], false));
    rig.reset_with(3, Code::FLOW_CONTROL_ERROR);
    rig.send(&data(1, &[0; 1], false));
    rig.reset_with(1, Code::FLOW_CONTROL_ERROR);
}

#[test]
fn c23_preface() {
    let mut rig = Rig::raw(Config::default());
    assert_eq!(rig.frames()[0].kind, SETTINGS, "before the client says anything");
    for (at, wrong) in [(0, b'G'), (3, b'x'), (23, b'x')] {
        let mut preface = PREFACE.to_vec();
        preface[at] = wrong;
        let mut rig = Rig::raw(Config::default());
        rig.send(&preface);
        rig.dead(Code::PROTOCOL_ERROR);
    }
    let mut rig = Rig::raw(Config::default());
    rig.send(b"GET / HTTP/1.1\r\n");
    rig.dead(Code::PROTOCOL_ERROR);
    for first in [get(1), frame(SETTINGS, ACK, 0, &[]), frame(PING, 0, 0, &[0; 8])] {
        let mut rig = Rig::raw(Config::default());
        rig.send(PREFACE);
        rig.send(&first);
        rig.dead(Code::PROTOCOL_ERROR);
    }
}

#[test]
fn row_54_settings_never_acknowledged() {
    let mut rig = Rig::raw(Config::default());
    rig.send(PREFACE);
    rig.send(&settings(&[]));
    let due = rig.conn.deadline().unwrap();
    assert_eq!(due, Time(rig.now.0 + 10_000_000));
    rig.now = Time(due.0 - 1);
    assert_eq!(rig.io(|conn, io| conn.expire(io)), Ok(None));
    rig.now = due;
    rig.error = rig.io(|conn, io| conn.expire(io)).err();
    rig.dead(Code::SETTINGS_TIMEOUT);
    assert_eq!(rig.conn.deadline(), None);
}

#[test]
fn row_54_ping_never_acknowledged() {
    let mut rig = Rig::with(Config { ping_interval: 30_000_000, ..Config::default() });
    rig.now = rig.conn.deadline().unwrap();
    assert_eq!(rig.io(|conn, io| conn.expire(io)), Ok(None));
    assert_eq!(rig.only(PING).len(), 1);
    rig.now = rig.conn.deadline().unwrap();
    rig.error = rig.io(|conn, io| conn.expire(io)).err();
    rig.dead(Code::NO_ERROR);
}

#[test]
fn settings_of_http2_settings_field_apply_to_stream_1() {
    use ringway_codec::h2::{Conn, Io, Shared};
    let mut shared = Shared::new(backend(), Config::default());
    let (mut out, now) = (Vec::new(), Time(5));
    let mut io = Io { shared: &mut shared, out: &mut out, now };
    let (conn, key) = Conn::upgraded(&settings(&[(4, 3)])[9..], false, &mut io).unwrap();
    assert_eq!(key.id(), 1);
    let mut rig = Rig::around(conn, shared, out, now);
    rig.initial_window = 3;
    let sent = rig.io(|conn, io| conn.respond(key, 200, Body::Pull, io, |_| {}));
    assert_eq!(sent, Sent::Queued);
    rig.bodies.insert(1, Source { left: 10, ..Source::default() });
    rig.pull(usize::MAX);
    rig.frames();
    assert_eq!(rig.streams[&1].received, 3);
    rig.send(PREFACE);
    rig.client_settings(&[(4, 100)]);
    rig.pull(usize::MAX);
    rig.frames();
    assert!(rig.streams[&1].ended);
    rig.send(&get(3));
    assert_eq!(rig.reply(3, 200, b"x"), Sent::All);
    // Stream 1 is the client's, closed on its side from the start.
    let mut shared = Shared::new(backend(), Config::default());
    let mut out = Vec::new();
    let mut io = Io { shared: &mut shared, out: &mut out, now };
    assert!(Conn::upgraded(&[0; 5], false, &mut io).is_err());
    io.out.clear();
    let (conn, _) = Conn::upgraded(&[], false, &mut io).unwrap();
    let mut rig = Rig::around(conn, shared, out, now);
    rig.frames();
    rig.upgraded = 1;
    rig.send(PREFACE);
    rig.send(&settings(&[]));
    rig.send(&data(1, b"x", true));
    assert_eq!(rig.only(RST_STREAM)[0].code(), Code::STREAM_CLOSED);
}
