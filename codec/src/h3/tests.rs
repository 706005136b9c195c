//! Well-formed and malformed client bytes against the connection: rows 58 to 66.

use super::frame::{self, kind, setting, stream};
use super::*;
use crate::field::Known;
use crate::h2::Priority;
use crate::qpack;
use crate::scan::chosen;
use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};

const CONTROL: u64 = 2;
const ENCODER: u64 = 6;
const DECODER: u64 = 10;

/// A connection, and the state of its client.
struct Pair {
    conn: Conn,
    shared: Shared,
    encoder: qpack::Encoder,
}

fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write_head(&mut out, kind, payload.len() as u64);
    out.extend_from_slice(payload);
    out
}

fn integer(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write_varint(&mut out, value);
    out
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/x?y")];
const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/")];

impl Pair {
    fn raw() -> Self {
        let shared = Shared::new(Config::new(chosen()));
        let encoder = qpack::Encoder::new(chosen(), 4096);
        Self { conn: Conn::new(&shared), shared, encoder }
    }

    fn open() -> Self {
        let mut pair = Self::raw();
        assert_eq!(pair.say(CONTROL, &[&[0][..], &frame(kind::SETTINGS, &[])].concat()), "");
        pair
    }

    fn send(&mut self, id: u64, bytes: &[u8], fin: bool) -> Result<Vec<Event>, Error> {
        let (mut at, mut events) = (0, Vec::new());
        loop {
            match self.conn.receive(id, bytes, fin, &mut at, &mut self.shared)? {
                Event::More => break,
                event @ (Event::Blocked { .. } | Event::Refused { .. } | Event::Failed { .. }) => {
                    events.push(event);
                    break;
                }
                event => {
                    let ended = matches!(event, Event::End { .. } | Event::Unwanted { .. })
                        || matches!(event, Event::Request(Request { end: true, .. }));
                    events.push(event);
                    if ended {
                        break;
                    }
                }
            }
        }
        Ok(events)
    }

    /// The events, abbreviated.
    fn short(&mut self, id: u64, bytes: &[u8], fin: bool) -> String {
        match self.send(id, bytes, fin) {
            Err(error) => format!("close {:?}", error.code),
            Ok(events) => events.iter().map(short).collect::<Vec<_>>().join(" "),
        }
    }

    fn say(&mut self, id: u64, bytes: &[u8]) -> String {
        self.short(id, bytes, false)
    }

    fn finish(&mut self, id: u64, bytes: &[u8]) -> String {
        self.short(id, bytes, true)
    }

    /// A HEADERS frame of `lines`, by a client that has no dynamic table.
    fn headers(&mut self, id: u64, lines: &[(&str, &str)]) -> Vec<u8> {
        let (mut block, mut none) = (Vec::new(), Vec::new());
        let mut writer = self.encoder.block(id, &mut block, &mut none);
        for (name, value) in lines {
            writer.field(Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes());
        }
        writer.finish();
        assert!(none.is_empty());
        frame(kind::HEADERS, &block)
    }
}

fn short(event: &Event) -> String {
    match event {
        Event::More => String::new(),
        Event::Request(request) if request.end => format!("request {}.", request.stream),
        Event::Request(request) => format!("request {}", request.stream),
        Event::Data { at, .. } => format!("data {}", at.len()),
        Event::Trailers { .. } => "trailers".into(),
        Event::End { .. } => "end".into(),
        Event::Refused { status, .. } => format!("{status}"),
        Event::Failed { code, .. } => format!("reset {code:?}"),
        Event::Priority { stream, priority } => format!("u{} {stream}", priority.urgency),
        Event::Blocked { .. } => "blocked".into(),
        Event::Unwanted { .. } => "unwanted".into(),
    }
}

#[test]
fn a_get_is_one_event() {
    let mut pair = Pair::open();
    let get = pair.headers(0, &GET);
    let events = pair.send(0, &get, true).unwrap();
    let [Event::Request(request)] = &events[..] else { panic!("{events:?}") };
    assert!(request.end && request.stream == 0);
    assert_eq!(request.head.path.of(&pair.shared.bytes), b"/x");
    assert_eq!(request.head.query.unwrap().of(&pair.shared.bytes), b"y");
    assert_eq!(pair.shared.fields.len(), 4);
    assert_eq!(pair.conn.receiving(), 0);
}

/// Content with unknown frames in between, and trailers. The same result when octets arrive one by
/// one.
#[test]
fn a_post_in_any_pieces() {
    let mut pair = Pair::open();
    let mut whole = pair.headers(4, &[&POST[..], &[("content-length", "7")]].concat());
    whole.extend(frame(frame::grease(5), b"ignored"));
    whole.extend(frame(kind::DATA, b"four"));
    whole.extend(frame(kind::DATA, b""));
    whole.extend(frame(kind::DATA, b"two"));
    whole.extend(pair.headers(4, &[("checksum", "1")]));
    whole.extend(frame(frame::grease(9), b""));
    assert_eq!(pair.finish(4, &whole), "request 4 data 4 data 3 trailers end");
    let mut pieces = String::new();
    for (at, byte) in whole.iter().enumerate() {
        pieces += &pair.short(8, &[*byte], at + 1 == whole.len());
    }
    assert_eq!(pieces, "request 8data 1data 1data 1data 1data 1data 1data 1trailersend");
    assert_eq!(pair.conn.receiving(), 0);
}

#[test]
fn row_58_frames_out_of_place() {
    let data = frame(kind::DATA, b"x");
    assert_eq!(Pair::open().say(0, &data), "close FrameUnexpected");
    for kind in [kind::DATA, kind::HEADERS, kind::PUSH_PROMISE, 2, 6, 8, 9] {
        assert_eq!(Pair::open().say(CONTROL, &frame(kind, b"x")), "close FrameUnexpected");
    }
    let on_a_request = [
        kind::CANCEL_PUSH,
        kind::SETTINGS,
        kind::GOAWAY,
        kind::MAX_PUSH_ID,
        kind::PUSH_PROMISE,
        kind::PRIORITY_UPDATE_REQUEST,
        kind::PRIORITY_UPDATE_PUSH,
        2,
        6,
        8,
        9,
    ];
    for kind in on_a_request {
        let mut pair = Pair::open();
        assert_eq!(pair.say(0, &frame(kind, &[0])), "close FrameUnexpected", "{kind}");
        let get = pair.headers(4, &GET);
        assert_eq!(pair.say(4, &get), "request 4");
        assert_eq!(pair.say(4, &frame(kind, &[0])), "close FrameUnexpected", "{kind}");
    }
    let mut pair = Pair::open();
    let trailed = [pair.headers(0, &POST), pair.headers(0, &[("a", "b")])].concat();
    assert_eq!(pair.say(0, &trailed), "request 0 trailers");
    assert_eq!(pair.say(0, &data), "close FrameUnexpected");
}

#[test]
fn row_59_settings() {
    for first in [kind::GOAWAY, kind::DATA, frame::grease(1), kind::MAX_PUSH_ID] {
        let bytes = [&[0][..], &frame(first, &[1])].concat();
        assert_eq!(Pair::raw().say(CONTROL, &bytes), "close MissingSettings");
    }
    assert_eq!(Pair::open().say(CONTROL, &frame(kind::SETTINGS, &[])), "close FrameUnexpected");
    let mut bad: Vec<Vec<u8>> = vec![[setting::MAX_FIELD_SECTION_SIZE as u8, 1].repeat(2)];
    bad.extend(setting::RESERVED.iter().map(|id| vec![*id as u8, 0]));
    for payload in bad {
        let bytes = [&[0][..], &frame(kind::SETTINGS, &payload)].concat();
        assert_eq!(Pair::raw().say(CONTROL, &bytes), "close Settings");
    }
    let many = [&[0][..], &frame(kind::SETTINGS, &[0x21; 2000])].concat();
    assert_eq!(Pair::raw().say(CONTROL, &many), "close ExcessiveLoad");
}

#[test]
fn row_60_forbidden_streams() {
    for kind in [stream::CONTROL, stream::ENCODER, stream::DECODER] {
        let mut pair = Pair::raw();
        assert_eq!(pair.say(CONTROL, &[kind as u8]), "");
        assert_eq!(pair.say(14, &[kind as u8]), "close StreamCreation");
    }
    assert_eq!(Pair::raw().say(CONTROL, &[stream::PUSH as u8]), "close StreamCreation");
    // An unknown type is not read and is no error, whether the stream ends or not.
    let unknown = integer(frame::grease(77));
    assert_eq!(Pair::raw().say(CONTROL, &unknown), "unwanted");
    assert_eq!(Pair::raw().finish(CONTROL, &unknown), "unwanted");
    assert_eq!(Pair::raw().finish(CONTROL, &unknown[..1]), "");
    assert_eq!(Pair::raw().finish(CONTROL, b""), "");
}

#[test]
fn row_61_critical_streams_stay_open() {
    for kind in [stream::CONTROL, stream::ENCODER, stream::DECODER] {
        assert_eq!(Pair::raw().finish(CONTROL, &[kind as u8]), "close ClosedCriticalStream");
        let mut pair = Pair::raw();
        assert_eq!(pair.say(CONTROL, &[kind as u8]), "");
        assert_eq!(pair.conn.reset(CONTROL).unwrap_err().code, Code::ClosedCriticalStream);
    }
    let mut pair = Pair::open();
    assert_eq!(pair.finish(CONTROL, b""), "close ClosedCriticalStream");
    let mut pair = Pair::raw();
    assert_eq!(pair.say(CONTROL, &integer(frame::grease(300))[..1]), "");
    assert!(pair.conn.reset(CONTROL).is_ok());
}

#[test]
fn row_62_malformed_messages() {
    let mut pair = Pair::open();
    let mut id = 0;
    let mut check = |lines: &[(&str, &str)], more: &[u8], fin: bool, want: &str| {
        let bytes = [pair.headers(id, lines), more.to_vec()].concat();
        assert_eq!(pair.short(id, &bytes, fin), want.replace('#', &format!("{id}")), "{lines:?}");
        id += 4;
    };
    check(&GET[1..], b"", true, "reset Message");
    check(&[&GET[..], &[("connection", "close")]].concat(), b"", true, "reset Message");
    check(&[&GET[..], &[("UPPER", "x")]].concat(), b"", true, "reset Message");
    check(&[&GET[..], &[("x", "a\nb")]].concat(), b"", true, "reset Message");
    check(&[&GET[..], &[("x", "y"), (":path", "/")]].concat(), b"", true, "reset Message");
    let five = [&POST[..], &[("content-length", "5")]].concat();
    check(&five, b"", true, "reset Message");
    check(&five, &frame(kind::DATA, b"1234"), true, "request # data 4 reset Message");
    check(&five, &frame(kind::DATA, b"123456"), false, "request # reset Message");
    check(&five, &frame(kind::DATA, b"12345"), true, "request # data 5 end");
    check(&[&GET[..], &[("content-length", "x")]].concat(), b"", true, "reset Message");
    // A stream without a request, or with half of one.
    assert_eq!(pair.finish(400, b""), "reset RequestIncomplete");
    assert_eq!(pair.finish(404, &frame(frame::grease(1), b"x")), "reset RequestIncomplete");
    let get = pair.headers(408, &GET);
    assert_eq!(pair.finish(408, &get[..get.len() - 1]), "close Frame");
    assert_eq!(Pair::open().finish(0, &frame(frame::grease(1), b"xyz")[..4]), "close Frame");
    assert_eq!(Pair::open().finish(0, &[0x40]), "close Frame");
}

#[test]
fn row_63_huge_unknown_frames_are_skipped_unbuffered() {
    let mut pair = Pair::open();
    for id in [0, CONTROL] {
        let mut head = Vec::new();
        frame::write_head(&mut head, frame::grease(9), 1 << 30);
        assert_eq!(pair.say(id, &head), "");
        let chunk = [0u8; 1 << 16];
        for _ in 0..1 << 14 {
            assert_eq!(pair.say(id, &chunk), "");
        }
    }
    let get = pair.headers(0, &GET);
    assert_eq!(pair.finish(0, &get), "request 0.");
    let ping = frame(kind::MAX_PUSH_ID, &[0]);
    assert_eq!(pair.say(CONTROL, &ping), "");
}

#[test]
fn row_64_priority_goaway_and_push_ids() {
    let update = |id: u64, value: &[u8]| {
        frame(kind::PRIORITY_UPDATE_REQUEST, &[&integer(id)[..], value].concat())
    };
    let mut pair = Pair::open();
    assert_eq!(pair.say(CONTROL, &update(4, b"u=1, i")), "");
    let lines = [&GET[..], &[("priority", "u=7")]].concat();
    let get = [pair.headers(0, &lines), pair.headers(4, &lines)];
    let urgent = Priority { urgency: 7, incremental: false };
    let stated = Priority { urgency: 1, incremental: true };
    for (id, want) in [(0, urgent), (4, stated)] {
        let events = pair.send(id, &get[id as usize / 4], true).unwrap();
        let [Event::Request(request)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(request.head.priority, Some(want));
    }
    assert_eq!(pair.say(CONTROL, &update(0, b"u=2")), "u2 0");
    assert_eq!(pair.say(CONTROL, &update(1, b"u=2")), "close Id");
    assert_eq!(Pair::open().say(CONTROL, &update(4 * 101, b"u=2")), "close Id");
    assert_eq!(Pair::open().say(CONTROL, &update(0, &[b' '; 300])), "close ExcessiveLoad");
    assert_eq!(Pair::open().say(CONTROL, &frame(kind::PRIORITY_UPDATE_PUSH, &[0])), "close Id");
    let flood = update(0, b"u=2").repeat(1000);
    assert_eq!(Pair::open().say(CONTROL, &flood), "close ExcessiveLoad");
    let steps = |kind: u64, values: [u64; 2]| {
        let [a, b] = values.map(|value| frame(kind, &integer(value)));
        Pair::open().say(CONTROL, &[a, b].concat())
    };
    assert_eq!(steps(kind::GOAWAY, [8, 4]), "");
    assert_eq!(steps(kind::GOAWAY, [4, 8]), "close Id");
    assert_eq!(steps(kind::MAX_PUSH_ID, [4, 8]), "");
    assert_eq!(steps(kind::MAX_PUSH_ID, [8, 4]), "close Id");
    assert_eq!(steps(kind::CANCEL_PUSH, [0, 0]), "close Id");
    for kind in [kind::GOAWAY, kind::MAX_PUSH_ID, kind::CANCEL_PUSH, kind::PRIORITY_UPDATE_REQUEST]
    {
        assert_eq!(Pair::open().say(CONTROL, &frame(kind, &[])), "close Frame");
    }
    assert_eq!(Pair::open().say(CONTROL, &frame(kind::GOAWAY, &[1, 2])), "close Frame");
    assert_eq!(Pair::open().say(CONTROL, &frame(kind::GOAWAY, &[0; 9])), "close Frame");
}

#[test]
fn row_65_qpack_errors_and_limits() {
    let section = |block: &[u8]| Pair::open().say(0, &frame(kind::HEADERS, block));
    assert_eq!(section(&[]), "close QpackDecompression");
    assert_eq!(section(&[0, 0, 0xff, 0xff, 0x7f]), "close QpackDecompression");
    assert_eq!(section(&[0, 0, 0x80]), "close QpackDecompression");
    assert_eq!(Pair::raw().say(ENCODER, &[2, 0x3f, 0xe2, 0x1f]), "close QpackEncoderStream");
    assert_eq!(Pair::raw().say(DECODER, &[3, 0]), "close QpackDecoderStream");
    assert_eq!(Pair::raw().say(DECODER, &[3, 0x80]), "close QpackDecoderStream");
    // Over the limits: by count, by size, and by an encoded size that is not even read.
    let mut pair = Pair::open();
    let many = [&GET[..], &[("x", "a=b"); 97]].concat();
    let large = "v".repeat(33_000);
    for lines in [&many[..], &[&GET[..], &[("x", &large)]].concat()] {
        let bytes = pair.headers(0, lines);
        assert_eq!(pair.say(0, &bytes), "431");
    }
    let mut head = Vec::new();
    frame::write_head(&mut head, kind::HEADERS, 1 << 30);
    assert_eq!(pair.say(4, &head), "431");
    assert_eq!(pair.conn.receiving(), 0);
}

/// F10: a cookie in pieces is one field, of as many octets as it has joined.
#[test]
fn f10_the_pieces_of_a_cookie_are_one_field() {
    let mut pair = Pair::open();
    for (id, count, said) in [(0, 97, "request 0."), (4, 6000, "request 4."), (8, 6700, "431")] {
        let bytes = pair.headers(id, &[&GET[..], &vec![("cookie", "a=b"); count]].concat());
        assert_eq!(pair.finish(id, &bytes), said);
    }
    let bytes = pair.headers(12, &[&GET[..], &[("cookie", ""); 97]].concat());
    assert_eq!(pair.finish(12, &bytes), "431", "pieces without a cookie are fields");
}

/// A section that refers to an insertion still under way waits, with what follows it.
#[test]
fn sections_wait_for_their_table_entries() {
    let mut pair = Pair::open();
    pair.encoder.set_peer_settings(4096, 16);
    let (mut block, mut inserts) = (Vec::new(), Vec::new());
    let mut writer = pair.encoder.block(0, &mut block, &mut inserts);
    for (name, value) in GET {
        writer.field(Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes());
    }
    writer.field_as(qpack::Indexing::Insert, Known::UserAgent, b"", b"a browser of some kind");
    writer.finish();
    assert!(!inserts.is_empty());
    let bytes = frame(kind::HEADERS, &block);
    assert_eq!(pair.finish(0, &bytes), "blocked");
    assert_eq!(pair.conn.unblocked(), None);
    assert_eq!(pair.say(ENCODER, &[&[2][..], &inserts].concat()), "");
    assert_eq!(pair.conn.unblocked(), Some(0));
    assert_eq!(pair.finish(0, b""), "request 0.");
    assert_eq!(pair.shared.fields[4].value(&pair.shared.bytes), b"a browser of some kind");
    // The acknowledgement waits to be sent.
    let [_, _, decoder] = pair.conn.output();
    assert_eq!(decoder[..], [3, 0x80]);
}

/// A client that blocks more streams than allowed, and one that resets a blocked stream.
#[test]
fn blocked_streams_are_few_and_can_be_reset() {
    let mut pair = Pair::open();
    let waits = frame(kind::HEADERS, &[2, 0, 0x80]);
    for id in 0..16 {
        assert_eq!(pair.say(4 * id, &waits), "blocked");
    }
    assert_eq!(pair.say(64, &waits), "close QpackDecompression");
    let mut pair = Pair::open();
    for id in 0..100 {
        assert_eq!(pair.say(4 * id, &waits), "blocked");
        pair.conn.reset(4 * id).unwrap();
    }
    assert_eq!(pair.conn.receiving(), 0);
}

/// Row 66: endless inserts whose acknowledgements are never read.
#[test]
fn row_66_acknowledgements_do_not_pile_up() {
    let mut pair = Pair::open();
    let (mut bytes, mut sent) = (vec![2u8, 0x3f, 0xe1, 0x1f], 0);
    for n in 0..100_000u32 {
        bytes.extend_from_slice(&[0x41, b'a', 1, b'a' + (n % 26) as u8]);
        if bytes.len() > 4000 {
            assert_eq!(pair.say(ENCODER, &bytes), "");
            sent += bytes.len();
            bytes.clear();
            pair.conn.output();
        }
    }
    assert!(sent > 300_000);
    assert!(pair.conn.output()[2].len() < 4200);
}

#[test]
fn a_drain_has_two_steps() {
    let mut pair = Pair::open();
    let get = pair.headers(0, &GET);
    assert_eq!(pair.finish(0, &get), "request 0.");
    pair.conn.output()[0].clear();
    pair.conn.drain();
    let first = core::mem::take(pair.conn.output()[0]);
    assert_eq!(first, frame(kind::GOAWAY, &integer((1 << 62) - 4)));
    assert_eq!(pair.finish(4, &get), "request 4.");
    pair.conn.refuse();
    pair.conn.refuse();
    assert_eq!(*pair.conn.output()[0], frame(kind::GOAWAY, &[8]));
    assert_eq!(pair.finish(8, &get), "reset RequestRejected");
}

/// Our output parses: settings, a response of any size, trailers.
#[test]
fn our_own_frames_are_well_formed() {
    let mut pair = Pair::raw();
    let control = core::mem::take(pair.conn.output()[0]);
    let mut peer = Pair::raw();
    assert_eq!(peer.say(CONTROL, &control), "");
    let settings = *peer.conn.peer().unwrap();
    assert_eq!((settings.qpack_capacity, settings.qpack_blocked), (4096, 16));
    assert_eq!(settings.field_section, 32 * 1024);
    let long = [b'v'; 20_000];
    for value in [&b"short"[..], &long] {
        let mut out = vec![1, 2, 3];
        pair.conn.head(0, Some(200), &mut out, |fields| {
            fields.field(Known::Other, b"x", value);
        });
        let mut decoder = qpack::Decoder::new(chosen(), 0, 0);
        let (at, limits) = (3, Config::new(chosen()).fields);
        let (kind, used) = frame::read_varint(&out[at..]).unwrap();
        let (len, more) = frame::read_varint(&out[at + used..]).unwrap();
        assert_eq!((kind, len as usize), (kind::HEADERS, out.len() - at - used - more));
        let (mut bytes, mut fields) = (Vec::new(), Vec::new());
        let block = &out[at + used + more..];
        decoder.decode(0, block, &limits, &mut bytes, &mut fields).unwrap();
        assert_eq!((fields[0].value(&bytes), fields[1].value(&bytes)), (&b"200"[..], value));
    }
}

/// Noise on every stream, in pieces of every size: errors are allowed, panics and growth are not.
#[test]
fn noise_is_refused_or_ignored() {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..3000 {
        let mut pair = Pair::raw();
        if random() & 1 == 0 {
            pair = Pair::open();
        }
        for _ in 0..20 {
            let id = [0, 4, 8, 2, 6, 10, 14][(random() % 7) as usize];
            let len = (random() % 40) as usize;
            let mut bytes: Vec<u8> = (0..len).map(|_| (random() >> 32) as u8).collect();
            for byte in &mut bytes {
                if random() & 1 == 0 {
                    *byte &= 0x0f;
                }
            }
            if pair.send(id, &bytes, random() % 8 == 0).is_err() {
                break;
            }
        }
    }
}
