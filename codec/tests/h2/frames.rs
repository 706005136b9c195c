//! One test for receiving and one for sending each frame type (row C2 of the feature list), frame
//! headers (C1), the stream that each belongs to (C4) and lengths (attack row 48).

use crate::rig::*;
use ringway_codec::field::Known;
use ringway_codec::h2::frame::*;
use ringway_codec::h2::{Body, Code, Config, Sent};

#[test]
fn c1_unknown_types_and_flags_and_the_reserved_bit_are_ignored() {
    let mut rig = Rig::new();
    rig.send(&frame(0x42, 0xff, 7, b"whatever"));
    rig.send(&frame(0xff, 0, 0, &[]));
    rig.send(&frame(HEADERS, 0xd2 | END_HEADERS | END_STREAM, 1 | 1 << 31, &block(&GET)));
    assert!(matches!(&rig.seen[..], [Seen::Request { id: 1, end: true, .. }]));
    rig.send(&frame(PING, 0xfe, 1 << 31, b"12345678"));
    assert_eq!(rig.only(PING).len(), 1);
}

#[test]
fn c2_data_is_received() {
    let mut rig = Rig::new();
    rig.send(&post(1, &[]));
    rig.send(&data(1, b"hello", false));
    rig.send(&frame(DATA, PADDED | END_STREAM, 1, b"\x03you\0\0\0"));
    let data: Vec<_> = rig.seen.iter().filter(|s| matches!(s, Seen::Data { .. })).collect();
    assert_eq!(data[0], &Seen::Data { id: 1, octets: b"hello".to_vec(), end: false });
    assert_eq!(data[1], &Seen::Data { id: 1, octets: b"you".to_vec(), end: true });
}

#[test]
fn c2_data_is_sent() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    assert_eq!(rig.reply(1, 200, b"body"), Sent::All);
    let frames = rig.frames();
    let (head, body) = (&frames[0], &frames[1]);
    assert_eq!((head.kind, head.flags, head.stream), (HEADERS, END_HEADERS, 1));
    assert_eq!((body.kind, body.flags, &body.payload[..]), (DATA, END_STREAM, &b"body"[..]));
}

#[test]
fn c2_headers_are_received() {
    let mut rig = Rig::new();
    let mut payload = vec![2];
    payload.extend(place(0, 16, false));
    payload.extend(block(&GET));
    payload.extend([0, 0]);
    let flags = PADDED | PRIORITY_FLAG | END_HEADERS | END_STREAM;
    rig.send(&frame(HEADERS, flags, 1, &payload));
    let Seen::Request { fields, end: true, .. } = &rig.seen[0] else { panic!("{:?}", rig.seen) };
    let got: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(got, GET);
}

#[test]
fn c2_headers_are_sent() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    let key = rig.key(1);
    rig.io(|conn, io| {
        conn.respond(key, 404, Body::None, io, |head| {
            head.field(Known::ContentType, b"", b"text/plain");
            head.field(Known::Other, b"x-own", b"1");
            head.content_length(1_234_567_890);
        })
    });
    let frames = rig.frames();
    assert_eq!((frames.len(), frames[0].flags), (1, END_HEADERS | END_STREAM));
    let want = [
        (":status", "404"),
        ("content-type", "text/plain"),
        ("x-own", "1"),
        ("content-length", "1234567890"),
    ];
    let want = want.map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(rig.streams[&1].heads[0], want);
}

#[test]
fn c2_priority_is_received() {
    let mut rig = Rig::new();
    rig.send(&priority(1, 0, 256, true));
    rig.send(&priority(3, 1, 1, false));
    assert_eq!((rig.error, rig.seen.len(), rig.out.len()), (None, 0, 0));
    rig.alive();
}

#[test]
fn c2_priority_is_never_sent_but_its_setting_is() {
    // A server has no use for PRIORITY; what it says of it is NO_RFC7540_PRIORITIES.
    let mut rig = Rig::raw(Config { rfc7540_priorities: false, ..Config::default() });
    let first = &rig.frames()[0];
    assert!(first.payload.chunks(6).any(|p| p == [0, 9, 0, 0, 0, 1]));
    rig.handshake(&[]);
    rig.send(&priority(1, 0, 256, true));
    rig.alive();
}

#[test]
fn c2_rst_stream_is_received() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.send(&rst(1, Code::CANCEL));
    assert_eq!(rig.seen[1], Seen::Reset { id: 1, code: Code::CANCEL, by_peer: true });
    assert!(rig.conn.is_idle());
    rig.alive();
}

#[test]
fn c2_rst_stream_is_sent() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    let key = rig.key(1);
    rig.io(|conn, io| conn.reset(key, Code::INTERNAL_ERROR, io));
    rig.reset_with(1, Code::INTERNAL_ERROR);
    assert_eq!(rig.reply(1, 200, b"late"), Sent::Gone);
}

#[test]
fn c2_settings_are_received() {
    let mut rig = Rig::new();
    rig.send(&settings(&[(3, 7), (0xff, 1)]));
    let frames = rig.frames();
    assert_eq!((frames[0].kind, frames[0].flags, frames[0].payload.len()), (SETTINGS, ACK, 0));
}

#[test]
fn c2_settings_are_sent_first() {
    let mut rig = Rig::raw(Config::default());
    let frames = rig.frames();
    assert_eq!((frames[0].kind, frames[0].flags, frames[0].stream), (SETTINGS, 0, 0));
}

#[test]
fn c2_push_promise_received_is_an_error() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    let mut payload = 2u32.to_be_bytes().to_vec();
    payload.extend(block(&GET));
    rig.send(&frame(PUSH_PROMISE, END_HEADERS, 1, &payload));
    rig.dead(Code::PROTOCOL_ERROR);
}

#[test]
fn c2_push_promise_is_sent() {
    let mut rig = Rig::with(Config { max_pushes: 10, ..Config::default() });
    rig.send(&get(1));
    let key = rig.key(1);
    let push = rig.io(|c, t| c.push(key, b"http", b"example.org", b"/a.css", t)).unwrap();
    assert_eq!((push.key.id(), push.head.path.of(&rig.shared.bytes)), (2, &b"/a.css"[..]));
    let frames = rig.frames();
    assert_eq!((frames[0].kind, frames[0].stream, frames[0].u32(0)), (PUSH_PROMISE, 1, 2));
    assert_eq!(rig.streams[&1].heads[0][3], (":path".to_owned(), "/a.css".to_owned()));
}

#[test]
fn c2_ping_is_received() {
    let mut rig = Rig::new();
    rig.send(&frame(PING, 0, 0, b"abcdefgh"));
    let frames = rig.frames();
    assert_eq!((frames[0].flags, &frames[0].payload[..]), (ACK, &b"abcdefgh"[..]));
    rig.send(&frame(PING, ACK, 0, b"unasked!"));
    assert!(rig.frames().is_empty() && rig.error.is_none());
}

#[test]
fn c2_ping_is_sent() {
    let mut rig = Rig::new();
    rig.io(|conn, io| conn.ping(io));
    let frames = rig.frames();
    assert_eq!((frames[0].kind, frames[0].flags, frames[0].payload.len()), (PING, 0, 8));
}

#[test]
fn c2_goaway_is_received() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.send(&frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\x02and so on"));
    assert_eq!(rig.seen[1], Seen::GoAway { code: Code::INTERNAL_ERROR });
    assert!(!rig.conn.is_done(), "what is open goes on");
    assert_eq!(rig.reply(1, 200, b"x"), Sent::All);
    // Closing is left to the peer, which may ask by PING until then, or to the caller's patience.
    assert!(rig.conn.peer_leaves() && rig.conn.is_idle() && !rig.conn.is_done());
}

#[test]
fn c2_goaway_is_sent() {
    let mut rig = Rig::new();
    rig.send(&get(5));
    rig.io(|conn, io| conn.close(Code::INADEQUATE_SECURITY, "weak cipher", io));
    let last = rig.frames().pop().unwrap();
    assert_eq!((last.kind, last.u32(0), last.code()), (GOAWAY, 5, Code::INADEQUATE_SECURITY));
    assert_eq!(&last.payload[8..], b"weak cipher");
}

#[test]
fn c2_window_update_is_received() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.answer(1, 100_000);
    rig.pull(usize::MAX);
    rig.frames();
    assert_eq!(rig.streams[&1].received, 65_535);
    rig.grant(0, 10_000);
    rig.grant(1, 5000);
    rig.pull(usize::MAX);
    rig.frames();
    assert_eq!(rig.streams[&1].received, 70_535);
}

#[test]
fn c2_window_update_is_sent() {
    let mut rig = Rig::new();
    rig.send(&post(1, &[]));
    for _ in 0..3 {
        rig.send(&data(1, &[7; 16_000], false));
    }
    let updates = rig.only(WINDOW_UPDATE);
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].stream, 1);
    assert!(updates[0].u32(0) >= 48_000);
}

#[test]
fn c2_continuation_is_received() {
    let mut rig = Rig::new();
    let b = block(&with(&[("x-long", &"y".repeat(300))]));
    let third = b.len() / 3;
    rig.send(&frame(HEADERS, END_STREAM, 1, &b[..third]));
    rig.send(&frame(CONTINUATION, 0, 1, &b[third..2 * third]));
    assert!(rig.seen.is_empty());
    rig.send(&frame(CONTINUATION, END_HEADERS, 1, &b[2 * third..]));
    let Seen::Request { fields, end: true, .. } = &rig.seen[0] else { panic!("{:?}", rig.seen) };
    assert_eq!(fields[4].1.len(), 300);
    rig.alive();
}

#[test]
fn c2_continuation_is_sent() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    let key = rig.key(1);
    let long = "é~".repeat(20_000);
    rig.io(|conn, io| {
        conn.respond(key, 200, Body::None, io, |head| {
            head.field(Known::Other, b"x-long", long.as_bytes());
        })
    });
    let frames = rig.frames();
    assert!(frames.len() > 2);
    assert!(frames[1..].iter().all(|f| f.kind == CONTINUATION && f.stream == 1));
    assert_eq!(rig.streams[&1].heads[0][1].1, long);
    assert!(rig.streams[&1].ended);
    rig.alive();
}

#[test]
fn c2_priority_update_is_received() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.send(&frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=6, i"));
    let key = rig.key(1);
    let priority = rig.conn.priority_of(key).unwrap();
    assert_eq!((priority.urgency, priority.incremental), (6, true));
}

#[test]
fn c4_frames_on_the_wrong_stream() {
    for (kind, stream, len) in [
        (DATA, 0, 1),
        (HEADERS, 0, 1),
        (PRIORITY, 0, 5),
        (RST_STREAM, 0, 4),
        (SETTINGS, 1, 0),
        (PUSH_PROMISE, 0, 4),
        (PING, 1, 8),
        (GOAWAY, 1, 8),
        (CONTINUATION, 0, 1),
        (PRIORITY_UPDATE, 1, 4),
    ] {
        let mut rig = Rig::new();
        rig.send(&get(1));
        rig.send(&frame(kind, 0, stream, &vec![0; len]));
        rig.dead(Code::PROTOCOL_ERROR);
    }
}

#[test]
fn row_48_lengths() {
    let connection = [
        (PING, 0, 0, 7),
        (PING, 0, 0, 9),
        (PING, ACK, 0, 0),
        (WINDOW_UPDATE, 0, 0, 3),
        (WINDOW_UPDATE, 0, 1, 5),
        (RST_STREAM, 0, 1, 3),
        (RST_STREAM, 0, 1, 5),
        (SETTINGS, 0, 0, 5),
        (SETTINGS, ACK, 0, 6),
        (GOAWAY, 0, 0, 7),
        (PRIORITY_UPDATE, 0, 0, 3),
        (DATA, PADDED, 1, 0),
        (HEADERS, PADDED, 3, 0),
        (HEADERS, PRIORITY_FLAG, 3, 4),
        (HEADERS, PRIORITY_FLAG | PADDED, 3, 5),
        (DATA, 0, 1, 16_385),
        (HEADERS, 0, 3, 16_385),
        (0x77, 0, 3, 16_385),
    ];
    for (kind, flags, stream, len) in connection {
        let mut rig = Rig::new();
        rig.send(&post(1, &[]));
        rig.send(&frame(kind, flags, stream, &vec![0; len]));
        rig.dead(Code::FRAME_SIZE_ERROR);
    }
    for len in [0, 4, 6] {
        let mut rig = Rig::new();
        rig.send(&get(1));
        rig.send(&frame(PRIORITY, 0, 1, &vec![0; len]));
        rig.reset_with(1, Code::FRAME_SIZE_ERROR);
    }
}

#[test]
fn row_53_padding_longer_than_the_frame() {
    let mut rig = Rig::new();
    rig.send(&post(1, &[]));
    rig.send(&frame(DATA, PADDED, 1, b"\x05abcd"));
    rig.dead(Code::PROTOCOL_ERROR);
    let mut rig = Rig::new();
    let mut payload = vec![200];
    payload.extend(block(&GET));
    rig.send(&frame(HEADERS, PADDED | END_HEADERS, 1, &payload));
    rig.dead(Code::PROTOCOL_ERROR);
}

#[test]
fn c21_frame_sizes_follow_the_settings() {
    let mut rig = Rig::with(Config { max_frame_size: 1 << 20, ..Config::default() });
    rig.send(&post(1, &[]));
    rig.send(&data(1, &[0; 60_000], true));
    let octets: usize = rig
        .seen
        .iter()
        .map(|s| match s {
            Seen::Data { octets, .. } => octets.len(),
            _ => 0,
        })
        .sum();
    assert_eq!((octets, rig.error), (60_000, None));
    // The client raises its own: we may send larger frames, if configured to.
    let mut rig = Rig::with(Config { data_frame: 1 << 20, ..Config::default() });
    rig.send(&get(1));
    rig.answer(1, 40_000);
    rig.pull(usize::MAX);
    assert!(rig.only(DATA).iter().all(|f| f.payload.len() <= 16_384));
    rig.client_settings(&[(5, 30_000)]);
    rig.send(&get(3));
    rig.answer(3, 20_000);
    rig.pull(usize::MAX);
    assert_eq!(rig.only(DATA)[0].payload.len(), 20_000);
}

/// A very large DATA frame is passed on piece by piece, other frames wait to be whole.
#[test]
fn frames_split_anywhere_mean_the_same() {
    let mut octets = PREFACE.to_vec();
    octets.extend(settings(&[(4, 1000)]));
    octets.extend(post(1, &[("content-length", "10")]));
    octets.extend(frame(DATA, PADDED, 1, b"\x02hello\0\0"));
    octets.extend(frame(0x99, 0, 0, b"grease"));
    octets.extend(data(1, b"world", true));
    octets.extend(frame(PING, 0, 0, b"12345678"));
    let content = |rig: &Rig| -> Vec<u8> {
        let pieces = rig.seen.iter().filter_map(|s| match s {
            Seen::Data { octets, .. } => Some(octets.clone()),
            _ => None,
        });
        pieces.flatten().collect()
    };
    let mut whole = Rig::raw(Config::default());
    whole.send(&octets);
    let out = whole.out.clone();
    for cut in 1..octets.len() {
        let mut rig = Rig::raw(Config::default());
        rig.send(&octets[..cut]);
        rig.send(&octets[cut..]);
        assert_eq!((content(&rig), &rig.out), (b"helloworld".to_vec(), &out), "cut at {cut}");
    }
    let mut rig = Rig::raw(Config::default());
    octets.iter().for_each(|b| rig.send(std::slice::from_ref(b)));
    assert_eq!((content(&rig), &rig.out), (b"helloworld".to_vec(), &out));
}
