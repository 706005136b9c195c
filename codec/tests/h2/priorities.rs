//! Priorities as a client sees them: bytes in the order and proportion that rows C9 to C12 ask for;
//! attack row 55.

use crate::rig::*;
use ringway_codec::h2::frame::*;
use ringway_codec::h2::{Code, Config, Priority, priority as rules};

/// A rig with the windows wide open.
fn wide(config: Config) -> Rig {
    let mut rig = Rig::with(config);
    rig.client_settings(&[(4, MAX_31)]);
    rig.grant(0, MAX_31 - 65_535);
    rig.frames();
    rig
}

fn open(rig: &mut Rig, id: u32, priority: &str) {
    match priority {
        "" => rig.send(&get(id)),
        p => rig.send(&headers(id, true, &with(&[("priority", p)]))),
    }
    rig.answer(id, 50_000_000);
}

/// Octets per stream in the next `limit`.
fn shares(rig: &mut Rig, limit: usize) -> Vec<(u32, usize)> {
    let before: Vec<_> = rig.streams.iter().map(|(id, s)| (*id, s.received)).collect();
    let mut left = limit;
    while left > 0 {
        let n = left.min(200_000);
        rig.pull(n);
        left -= n;
        rig.frames();
    }
    let was = |id: u32| before.iter().find(|(i, _)| *i == id).map_or(0, |(_, n)| *n);
    rig.streams.iter().map(|(id, s)| (*id, s.received - was(*id))).collect()
}

fn of(shares: &[(u32, usize)], id: u32) -> f64 {
    shares.iter().find(|(i, _)| *i == id).map_or(0.0, |(_, n)| *n as f64)
}

#[test]
fn c8_streams_of_a_silent_client_interleave() {
    let mut rig = wide(Config::default());
    for id in [1, 3, 5, 7, 9] {
        open(&mut rig, id, "");
    }
    rig.pull(1 << 20);
    let order: Vec<_> = rig.only(DATA).iter().map(|f| f.stream).collect();
    assert!(order.windows(2).filter(|w| w[0] != w[1]).count() > 20, "{order:?}");
    let got = shares(&mut rig, 10 << 20);
    let most = got.iter().map(|(_, n)| *n).max().unwrap();
    assert!(got.iter().filter(|(_, n)| *n > 0).all(|(_, n)| most - n <= 16_384), "{got:?}");
}

#[test]
fn c9_a_lower_level_gets_its_share() {
    let mut rig = wide(Config::default());
    open(&mut rig, 1, "u=7");
    open(&mut rig, 3, "u=0");
    let got = shares(&mut rig, 20 << 20);
    let share = of(&got, 1) / (20 << 20) as f64;
    assert!((0.05..0.08).contains(&share), "{share}");
}

#[test]
fn c10_twelve_to_four_is_three_to_one_and_flips() {
    let mut rig = wide(Config::default());
    rig.send(&priority(1, 0, 12, false));
    rig.send(&priority(3, 0, 4, false));
    open(&mut rig, 1, "");
    open(&mut rig, 3, "");
    let got = shares(&mut rig, 8 << 20);
    let ratio = of(&got, 1) / of(&got, 3);
    assert!((2.7..3.3).contains(&ratio), "{ratio}");
    rig.send(&priority(1, 0, 4, false));
    rig.send(&priority(3, 0, 12, false));
    let got = shares(&mut rig, 8 << 20);
    let ratio = of(&got, 3) / of(&got, 1);
    assert!((2.7..3.3).contains(&ratio), "{ratio}");
}

#[test]
fn c10_flags_of_headers_are_heeded_and_dependents_wait() {
    let mut rig = wide(Config::default());
    let mut with_place = |id: u32, depends_on: u32, weight: u16| {
        let mut payload = place(depends_on, weight, false);
        payload.extend(block(&GET));
        rig.send(&frame(HEADERS, PRIORITY_FLAG | END_HEADERS | END_STREAM, id, &payload));
    };
    with_place(1, 0, 16);
    with_place(3, 1, 256);
    for id in [1, 3] {
        rig.answer(id, 1_000_000);
    }
    let got = shares(&mut rig, 500_000);
    assert_eq!(of(&got, 3), 0.0);
    let got = shares(&mut rig, 3_000_000);
    assert_eq!((of(&got, 3), rig.streams[&1].received), (1_000_000.0, 1_000_000));
}

/// A dependent goes on while the stream above it has no window.
#[test]
fn c10_a_blocked_parent_does_not_hold_its_dependents() {
    let mut rig = Rig::new();
    rig.grant(0, 10_000_000);
    rig.send(&priority(3, 1, 16, false));
    open(&mut rig, 1, "");
    open(&mut rig, 3, "");
    rig.pull(usize::MAX);
    rig.frames();
    assert_eq!((rig.streams[&1].received, rig.streams[&3].received), (65_535, 65_535));
    rig.send(&rst(1, Code::CANCEL));
    rig.grant(3, 1000);
    rig.pull(usize::MAX);
    rig.frames();
    assert_eq!(rig.streams[&3].received, 66_535);
}

#[test]
fn c10_the_tree_can_be_turned_off() {
    for (ours, theirs) in [(false, 0), (true, 1)] {
        let mut rig = Rig::raw(Config { rfc7540_priorities: ours, ..Config::default() });
        rig.handshake(&[(9, theirs)]);
        rig.client_settings(&[(4, MAX_31)]);
        rig.grant(0, MAX_31 - 65_535);
        rig.send(&priority(1, 0, 1, false));
        rig.send(&priority(3, 0, 256, false));
        open(&mut rig, 1, "i");
        open(&mut rig, 3, "i");
        let got = shares(&mut rig, 4 << 20);
        let ratio = of(&got, 1) / of(&got, 3);
        assert!((0.95..1.05).contains(&ratio), "{ratio}");
    }
}

#[test]
fn c11_urgent_first_then_in_order_then_round_robin() {
    let mut rig = wide(Config::default());
    for (id, p) in [(1, "u=5"), (3, "u=0"), (5, "u=0"), (7, "u=2, i"), (9, "u=2, i")] {
        rig.send(&headers(id, true, &with(&[("priority", p)])));
    }
    for id in [9, 7, 5, 3, 1] {
        rig.answer(id, 100_000);
    }
    rig.pull(usize::MAX);
    let frames = rig.only(DATA);
    let last = |id: u32| frames.iter().rposition(|f| f.stream == id).unwrap();
    assert!(last(3) < last(5) && last(5) < last(7) && last(9) < last(1));
    assert!(last(9).abs_diff(last(7)) < 3, "round robin");
}

#[test]
fn c11_priority_update_before_and_during() {
    let mut rig = wide(Config::default());
    rig.send(&frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x03u=1"));
    open(&mut rig, 1, "u=2");
    open(&mut rig, 3, "u=6");
    let got = shares(&mut rig, 1 << 20);
    assert!(of(&got, 3) > 10.0 * of(&got, 1), "the earlier frame is the later word: {got:?}");
    rig.send(&frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x03u=7"));
    let got = shares(&mut rig, 1 << 20);
    assert!(of(&got, 1) > 10.0 * of(&got, 3), "{got:?}");
    // What it does not say is the default, not what was.
    rig.send(&frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01i"));
    let key = rig.key(1);
    assert_eq!(rig.conn.priority_of(key), Some(Priority { urgency: 3, incremental: true }));
}

#[test]
fn c11_priority_update_errors() {
    for (payload, code) in [
        (&b"\0\0\0\0u=1"[..], Code::PROTOCOL_ERROR),
        (b"\0\0\0\x02u=1", Code::PROTOCOL_ERROR),
        (b"\0\0\0", Code::FRAME_SIZE_ERROR),
    ] {
        let mut rig = Rig::new();
        rig.send(&frame(PRIORITY_UPDATE, 0, 0, payload));
        rig.dead(code);
    }
    // For a stream that is gone, or with nonsense: nothing happens.
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.reply(1, 200, b"x");
    rig.send(&frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=1"));
    rig.send(&frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x03\xff\xff"));
    rig.alive();
}

#[test]
fn c11_the_server_may_override() {
    let mut rig = wide(Config::default());
    open(&mut rig, 1, "u=0");
    open(&mut rig, 3, "u=7");
    let (one, three) = (rig.key(1), rig.key(3));
    rig.conn.prioritise(three, Priority { urgency: 0, incremental: false });
    rig.conn.prioritise(one, Priority { urgency: 4, incremental: false });
    let got = shares(&mut rig, 1 << 20);
    assert!(of(&got, 3) > 10.0 * of(&got, 1), "{got:?}");
}

#[test]
fn c12_style_sheets_before_pictures_unless_the_client_says_otherwise() {
    let mut rig = wide(Config::default());
    open(&mut rig, 1, "");
    open(&mut rig, 3, "");
    open(&mut rig, 5, "u=0");
    for (id, kind) in [(1, "image/png"), (3, "text/css"), (5, "image/png")] {
        let key = rig.key(id);
        rig.conn.suggest_priority(key, rules::default_for(kind.as_bytes()));
    }
    let key = rig.key(5);
    assert_eq!(rig.conn.priority_of(key).unwrap().urgency, 0, "the client's word stands");
    rig.send(&rst(5, Code::CANCEL));
    let got = shares(&mut rig, 1 << 20);
    assert!(of(&got, 3) > 10.0 * of(&got, 1), "{got:?}");
}

#[test]
fn row_55_self_dependency() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.send(&priority(1, 1, 16, false));
    rig.reset_with(1, Code::PROTOCOL_ERROR);
    let mut rig = Rig::new();
    let mut payload = place(1, 16, false);
    payload.extend(block(&GET));
    rig.send(&frame(HEADERS, PRIORITY_FLAG | END_HEADERS | END_STREAM, 1, &payload));
    rig.reset_with(1, Code::PROTOCOL_ERROR);
    assert!(rig.seen.iter().all(|s| !matches!(s, Seen::Request { id: 1, .. })));
    // On an idle stream no RST_STREAM may be sent.
    let mut rig = Rig::new();
    rig.send(&priority(1, 1, 16, false));
    rig.dead(Code::PROTOCOL_ERROR);
    // On a closed one it may.
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.reply(1, 200, b"x");
    rig.frames();
    rig.send(&priority(1, 1, 16, false));
    assert_eq!(rig.only(RST_STREAM)[0].code(), Code::PROTOCOL_ERROR);
    assert_eq!(rig.error, None);
}

#[test]
fn a_small_answer_does_not_overtake_something_more_urgent() {
    let mut rig = wide(Config::default());
    open(&mut rig, 1, "u=0");
    rig.send(&headers(3, true, &with(&[("priority", "u=5")])));
    use ringway_codec::h2::Sent;
    assert_eq!(rig.reply(3, 200, b"later"), Sent::Queued);
    rig.bodies.insert(3, Source { left: 5, ..Source::default() });
    rig.send(&headers(5, true, &with(&[("priority", "u=0")])));
    assert_eq!(rig.reply(5, 200, b"now"), Sent::All);
    rig.bodies.get_mut(&1).unwrap().left = 20_000;
    rig.pull(usize::MAX);
    let order: Vec<_> = rig.only(DATA).iter().map(|f| f.stream).collect();
    assert_eq!(order, [5, 1, 1, 3]);
}
