//! What is left of part 3 of the feature list, as far as it can be shown without a socket:
//! compression (C13 to C17), PING and GOAWAY (C24, C25), cancelling (C26), push (C27, C28), early
//! hints (C29), the upgrade (C31), and memory.

use crate::chosen::backend;
use crate::rig::*;
use ringway_codec::field::Known;
use ringway_codec::h2::frame::*;
use ringway_codec::h2::{Body, Code, Config, Conn, Sent};
use ringway_codec::{Time, hpack};
use std::time::Duration;

/// A response as the server makes it.
fn page(rig: &mut Rig, id: u32, date: &[u8], second: u64) {
    let key = rig.key(id);
    let sent = rig.io(|conn, io| {
        conn.respond(key, 200, Body::Whole(b"Hello, World!"), io, |head| {
            head.cached(0x77 << 32 | second, |head| {
                head.field(Known::Server, b"", b"ringway");
                head.field(Known::ContentType, b"", b"text/plain; charset=utf-8");
                head.field(Known::Date, b"", date);
                head.content_length(13);
            });
        })
    });
    assert_eq!(sent, Sent::All);
}

#[test]
fn c7_a_hundred_streams_at_once_again_and_again() {
    let mut rig = Rig::new();
    let mut next = 1;
    for _ in 0..50 {
        let ids: Vec<_> = (0..100).map(|n| next + 2 * n).collect();
        let input: Vec<u8> = ids.iter().flat_map(|id| get(*id)).collect();
        rig.send(&input);
        assert_eq!(rig.conn.open_streams(), 100);
        for id in ids.iter().rev() {
            assert_eq!(rig.reply(*id, 200, b"x"), Sent::All);
        }
        rig.frames();
        rig.grant(0, 100);
        assert!(ids.iter().all(|id| rig.streams[id].ended));
        assert!(rig.key(next).slot() < 100, "slots are recycled");
        next += 200;
    }
    assert_eq!((rig.error, rig.shared.counters.requests), (None, 5000));
}

#[test]
fn c13_status_200_is_one_octet() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    let key = rig.key(1);
    rig.io(|conn, io| conn.respond(key, 200, Body::None, io, |_| {}));
    assert_eq!(rig.frames()[0].payload, [0x88]);
}

#[test]
fn c15_the_second_identical_head_is_at_most_10_octets() {
    let mut rig = Rig::new();
    for n in 0..10 {
        let id = 2 * n + 1;
        rig.send(&get(id));
        page(&mut rig, id, b"Sun, 06 Nov 1994 08:49:37 GMT", 1);
        rig.frames();
        let head = rig.streams[&id].heads[0].clone();
        let names: Vec<_> = head.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, [":status", "server", "content-type", "date", "content-length"]);
        assert!(n == 0 || rig.streams[&id].block_len[0] <= 10, "{:?}", rig.streams[&id]);
    }
    // When the second changes, the date alone is new.
    rig.send(&get(101));
    page(&mut rig, 101, b"Sun, 06 Nov 1994 08:49:38 GMT", 2);
    rig.frames();
    assert!(rig.streams[&101].block_len[0] <= 40);
    assert_eq!(rig.streams[&101].heads[0][3].1, "Sun, 06 Nov 1994 08:49:38 GMT");
}

/// Requests that are equal octet for octet are answered from what was decoded before: they must
/// still differ by connection, by table and by stream.
#[test]
fn c15_a_repeated_request_is_the_same_request() {
    let mut encoder = hpack::Encoder::new(backend(), 4096);
    let mut request = |id: u32, path: &str| {
        let mut b = Vec::new();
        let mut out = encoder.block(&mut b);
        for (name, value) in replaced(":path", path) {
            let known = Known::of(name.as_bytes());
            out.field_as(hpack::Indexing::Insert, known, b"", value.as_bytes());
        }
        frame(HEADERS, END_HEADERS | END_STREAM, id, &b)
    };
    let mut rig = Rig::new();
    let paths = ["/a", "/a", "/a", "/b", "/b", "/a", "/a"];
    for (n, path) in paths.iter().enumerate() {
        rig.send(&request(2 * n as u32 + 1, path));
        let Seen::Request { fields, id, .. } = &rig.seen[n] else { panic!() };
        assert_eq!((fields[3].1.as_str(), *id), (*path, 2 * n as u32 + 1));
        assert_eq!(rig.requests[id].head.path.of(&rig.shared.bytes), path.as_bytes());
    }
    // Another connection of the same worker, whose table has other things at the same places.
    let old = std::mem::replace(
        &mut rig.shared,
        ringway_codec::h2::Shared::new(backend(), Config::default()),
    );
    rig.shared = old;
    let mut out = Vec::new();
    let now = rig.now;
    let mut io = ringway_codec::h2::Io { shared: &mut rig.shared, out: &mut out, now };
    let mut second = Conn::new(&mut io);
    let mut input = PREFACE.to_vec();
    input.extend(settings(&[]));
    input.extend(request(1, "/a"));
    let mut at = 0;
    let error = loop {
        match second.receive(&input, &mut at, &mut io) {
            Ok(event) => {
                assert!(!matches!(event, ringway_codec::h2::Event::Request(_)), "{event:?}")
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.code, Code::COMPRESSION_ERROR, "its table is empty");
}

#[test]
fn c17_secrets_are_never_indexed() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    let key = rig.key(1);
    rig.io(|conn, io| {
        conn.respond(key, 200, Body::None, io, |head| {
            head.field(Known::SetCookie, b"", b"id=1");
            head.field_as(hpack::Indexing::Never, Known::Other, b"x-token", b"s");
        })
    });
    let payload = rig.frames()[0].payload.clone();
    assert_eq!(
        (payload[0], payload[1]),
        (0x88, 0x1f),
        "set-cookie is static name 55, pattern 0001"
    );
    let (mut bytes, mut fields) = (Vec::new(), Vec::new());
    let limits = hpack::FieldLimits { list_bytes: 1000, fields: 10 };
    let mut decoder = hpack::Decoder::new(backend(), 4096);
    decoder.decode(&payload, &limits, &mut bytes, &mut fields).unwrap();
    let never = ringway_codec::field::Field::NEVER_INDEXED;
    assert!(fields[1..].iter().all(|f| f.flags & never != 0));
}

#[test]
fn c24_ping_measures_the_round_trip() {
    let mut rig = Rig::with(Config { ping_interval: 60_000_000, ..Config::default() });
    assert_eq!(rig.conn.rtt(), None);
    rig.now = rig.conn.deadline().unwrap();
    rig.io(|conn, io| conn.expire(io)).unwrap();
    let ping = rig.only(PING).remove(0);
    rig.now = Time(rig.now.0 + 1234);
    rig.send(&frame(PING, ACK, 0, b"not that"));
    assert_eq!(rig.conn.rtt(), None);
    rig.send(&frame(PING, ACK, 0, &ping.payload));
    assert_eq!(rig.conn.rtt(), Some(Duration::from_micros(1234)));
    assert_eq!(rig.shared.counters.round_trip_us, 1234);
    assert_eq!(rig.conn.deadline(), Some(Time(rig.now.0 + 60_000_000)));
}

#[test]
fn c25_goaway_in_two_steps() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.io(|conn, io| conn.drain(io));
    let frames = rig.frames();
    assert_eq!((frames[0].kind, frames[0].u32(0)), (GOAWAY, MAX_31));
    assert_eq!(frames[1].kind, PING);
    // Sent before the client knew: served.
    rig.send(&get(3));
    assert!(rig.requests.contains_key(&3) && !rig.conn.is_done());
    rig.send(&frame(PING, ACK, 0, &frames[1].payload));
    let last = rig.only(GOAWAY);
    assert_eq!((last[0].u32(0), last[0].code()), (3, Code::NO_ERROR));
    // Later ones are ignored, without harm to what goes on.
    rig.send(&post(5, &[]));
    rig.send(&data(5, b"x", true));
    assert!(!rig.requests.contains_key(&5) && rig.frames().is_empty() && rig.error.is_none());
    assert_eq!(rig.reply(1, 200, b"one"), Sent::All);
    assert!(!rig.conn.is_done());
    assert_eq!(rig.reply(3, 200, b"three"), Sent::All);
    rig.frames();
    assert!(rig.conn.is_done() && rig.streams[&1].ended && rig.streams[&3].ended);
}

#[test]
fn c25_a_client_that_does_not_answer_is_not_waited_for() {
    let mut rig = Rig::new();
    rig.io(|conn, io| conn.drain(io));
    rig.frames();
    rig.now = rig.conn.deadline().unwrap();
    assert_eq!(rig.io(|conn, io| conn.expire(io)), Ok(None));
    assert_eq!(rig.only(GOAWAY)[0].u32(0), 0);
    assert!(rig.conn.is_done());
}

#[test]
fn c26_cancelling_stops_the_octets_and_harms_no_other() {
    let mut rig = Rig::new();
    rig.grant(0, 1 << 20);
    for id in [1, 3] {
        rig.send(&get(id));
        rig.answer(id, 60_000);
    }
    rig.pull(20_000);
    rig.frames();
    rig.send(&rst(1, Code::CANCEL));
    assert_eq!(rig.seen.last(), Some(&Seen::Reset { id: 1, code: Code::CANCEL, by_peer: true }));
    let sent = rig.streams[&1].received;
    rig.pull(usize::MAX);
    rig.frames();
    assert_eq!(rig.streams[&1].received, sent);
    assert_eq!((rig.streams[&3].received, rig.streams[&3].ended), (60_000, true));
}

fn push(rig: &mut Rig, parent: u32, path: &str) -> Option<u32> {
    let key = rig.key(parent);
    let push = rig.io(|c, t| c.push(key, b"http", b"example.org", path.as_bytes(), t))?;
    let id = push.key.id();
    rig.requests.insert(id, push);
    Some(id)
}

#[test]
fn c27_promises_come_before_the_body_that_refers_to_them() {
    let mut rig = Rig::with(Config { max_pushes: 10, ..Config::default() });
    rig.send(&get(1));
    assert_eq!(push(&mut rig, 1, "/styles.css"), Some(2));
    assert_eq!(push(&mut rig, 1, "/app.js"), Some(4));
    rig.reply(1, 200, b"<link href=styles.css><script src=app.js>");
    rig.reply(2, 200, b"css");
    rig.reply(4, 200, b"js");
    let kinds: Vec<_> = rig.frames().iter().map(|f| (f.kind, f.stream)).collect();
    let want = [
        (PUSH_PROMISE, 1),
        (PUSH_PROMISE, 1),
        (HEADERS, 1),
        (DATA, 1),
        (HEADERS, 2),
        (DATA, 2),
        (HEADERS, 4),
        (DATA, 4),
    ];
    assert_eq!((kinds, rig.shared.counters.pushes), (want.to_vec(), 2));
    assert!(rig.conn.is_idle());
}

#[test]
fn c27_no_push_when_it_is_not_wanted() {
    for (pushes, enable) in [(0, 1), (10, 0)] {
        let mut rig = Rig::with(Config { max_pushes: pushes, ..Config::default() });
        rig.client_settings(&[(2, enable)]);
        rig.send(&get(1));
        assert_eq!(push(&mut rig, 1, "/a"), None);
    }
    // The client's own limit on streams; after its GOAWAY; from a push; after the end.
    let mut rig = Rig::with(Config { max_pushes: 10, ..Config::default() });
    rig.client_settings(&[(3, 1)]);
    rig.send(&get(1));
    assert_eq!(push(&mut rig, 1, "/a"), Some(2));
    assert_eq!(push(&mut rig, 1, "/b"), None);
    assert_eq!(push(&mut rig, 2, "/c"), None);
    rig.send(&rst(2, Code::CANCEL));
    assert_eq!(rig.seen.last(), Some(&Seen::Reset { id: 2, code: Code::CANCEL, by_peer: true }));
    assert_eq!(push(&mut rig, 1, "/b"), Some(4));
    rig.reply(4, 200, b"b");
    rig.send(&frame(GOAWAY, 0, 0, &[0; 8]));
    assert_eq!(push(&mut rig, 1, "/d"), None);
}

#[test]
fn c28_not_twice_and_below_what_was_asked_for() {
    let mut rig = Rig::with(Config { max_pushes: 10, ..Config::default() });
    rig.client_settings(&[(4, MAX_31)]);
    rig.grant(0, MAX_31 - 65_535);
    rig.send(&get(1));
    assert_eq!(push(&mut rig, 1, "/a"), Some(2));
    assert_eq!(push(&mut rig, 1, "/a"), None);
    rig.send(&get(3));
    assert_eq!(push(&mut rig, 3, "/a"), None);
    for id in [2, 1, 3] {
        rig.answer(id, 1 << 20);
    }
    rig.pull(1 << 20);
    rig.frames();
    let pushed = rig.streams[&2].received as f64;
    assert!(pushed < 0.08 * (1 << 20) as f64, "{pushed}");
    for n in 0..300 {
        push(&mut rig, 3, &format!("/{n}"));
    }
    assert!(rig.conn.open_streams() <= 12);
}

#[test]
fn c29_early_hints() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    let key = rig.key(1);
    let link = b"</a.css>; rel=preload; as=style";
    assert!(rig.io(|c, t| c.inform(key, 103, t, |h| h.field(Known::Link, b"", link))));
    let hints = rig.frames();
    assert_eq!((hints.len(), hints[0].flags), (1, END_HEADERS));
    assert_eq!(rig.status(1), "103");
    rig.reply(1, 200, b"slow");
    rig.frames();
    assert_eq!(rig.status(1), "200");
}

#[test]
fn a_body_that_has_nothing_yet_waits_to_be_woken() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    let key = rig.key(1);
    let sent = rig.io(|conn, io| conn.respond(key, 200, Body::Later, io, |_| {}));
    assert_eq!((sent, rig.conn.wants_output()), (Sent::Queued, false));
    rig.bodies.insert(1, Source { left: 10, step: Some(4), trailers: false });
    for n in [4, 8, 10] {
        rig.io(|conn, io| conn.wake(key, io));
        assert!(rig.conn.wants_output());
        rig.pull(usize::MAX);
        assert!(!rig.conn.wants_output());
        rig.frames();
        assert_eq!(rig.streams[&1].received, n);
    }
    assert!(rig.streams[&1].ended);
}

#[test]
fn octets_that_are_lent_are_announced_and_counted() {
    use ringway_codec::h2::{Body, Pulled, Sent};
    let mut rig = Rig::new();
    rig.send(&[get(1), get(3)].concat());
    let (whole, pulled) = (rig.key(1), rig.key(3));
    rig.io(|conn, io| {
        assert_eq!(conn.respond(whole, 200, Body::Lent(7), io, |_| {}), Sent::Lent);
        io.out.extend(b"content");
        assert_eq!(conn.respond(pulled, 200, Body::Pull, io, |_| {}), Sent::Queued);
        let mut calls = 0;
        let asked = conn.output(1000, io, |_, max, out, lent| {
            calls += 1;
            assert!(max >= 1000);
            *lent += 1000;
            out.extend(b"and");
            Pulled::More
        });
        assert_eq!((asked, calls), (Ok(None), 1), "what is lent counts as output");
        io.out.extend([b'x'; 1000]);
    });
    let lengths: Vec<_> =
        rig.frames().iter().filter(|f| f.kind == 0).map(|f| f.payload.len()).collect();
    assert_eq!(lengths, [7, 1003]);
}

#[test]
fn a_body_that_fails_resets_its_stream() {
    use ringway_codec::h2::Pulled;
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.answer(1, 100);
    let end = rig.io(|conn, io| {
        conn.output(1000, io, |_, _, out, _| {
            out.extend(b"half");
            Pulled::Abort(Code::INTERNAL_ERROR)
        })
    });
    assert_eq!(end, Ok(None));
    let frames = rig.frames();
    assert_eq!((frames[1].kind, frames[1].code()), (RST_STREAM, Code::INTERNAL_ERROR));
    assert_eq!(frames.len(), 2);
}

#[test]
fn an_idle_connection_is_small() {
    assert!(size_of::<Conn>() <= 600, "{}", size_of::<Conn>());
    let mut rig = Rig::new();
    for n in 0..100 {
        rig.send(&get(2 * n + 1));
    }
    for n in 0..100 {
        rig.reply(2 * n + 1, 200, b"x");
    }
    assert!(rig.conn.is_idle());
    rig.conn.trim();
    rig.frames();
    rig.alive();
}

#[test]
fn errors_say_that_the_peer_erred() {
    let mut rig = Rig::new();
    rig.send(&data(3, b"x", false));
    let said = "the peer sent DATA before HEADERS on stream 3 (PROTOCOL_ERROR)";
    assert_eq!(rig.error.unwrap().to_string(), said);
    let last = rig.frames().pop().unwrap();
    assert_eq!(&last.payload[8..], said.as_bytes());
}
