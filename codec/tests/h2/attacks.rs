//! The attacks of rows 40 to 46, 50, 52 and 54: what each is answered with, and that it costs
//! bounded memory.

use crate::rig::*;
use ringway_codec::Time;
use ringway_codec::field::Known;
use ringway_codec::h2::frame::*;
use ringway_codec::h2::{Code, Config, Kind, Sent};

/// Sends what `make` makes for each odd id until the connection dies; how many it took.
fn until_dead(rig: &mut Rig, most: u32, mut make: impl FnMut(u32) -> Vec<u8>) -> u32 {
    for n in 0..most {
        rig.send(&make(2 * n + 1));
        rig.out.truncate(if rig.error.is_some() { rig.out.len() } else { 0 });
        rig.seen.clear();
        rig.requests.clear();
        if rig.error.is_some() {
            return n + 1;
        }
    }
    panic!("it lives on after {most}");
}

fn tripped(rig: &Rig, kind: Kind) -> u64 {
    rig.shared.counters.tripped[kind as usize]
}

/// The GOAWAY at the end of the output.
pub(crate) fn calm(rig: &mut Rig) {
    let error = rig.error.unwrap();
    assert_eq!(error.code, Code::ENHANCE_YOUR_CALM, "{error}");
    let out = std::mem::take(&mut rig.out);
    let at = (0..out.len().saturating_sub(8)).rev().find(|at| {
        let h = Header::read(&out, *at);
        h.is_some_and(|h| h.kind == GOAWAY && at + HEADER + h.len as usize == out.len())
    });
    let at = at.expect("a GOAWAY");
    assert_eq!(out[at + HEADER + 7], Code::ENHANCE_YOUR_CALM.0 as u8);
}

#[test]
fn row_40_rapid_reset() {
    let mut rig = Rig::new();
    let n = until_dead(&mut rig, 10_000, |id| [get(id), rst(id, Code::CANCEL)].concat());
    calm(&mut rig);
    assert!(n <= 1000 && tripped(&rig, Kind::Reset) == 1);
    assert_eq!(rig.shared.counters.requests, u64::from(n), "handlers started");
    assert!(rig.conn.open_streams() <= 1);
}

#[test]
fn row_40_a_browser_that_leaves_a_page_is_no_attack() {
    let mut rig = Rig::new();
    let mut id = 1;
    for _ in 0..20 {
        for _ in 0..100 {
            rig.send(&[get(id), rst(id, Code::CANCEL)].concat());
            id += 2;
        }
        rig.now = Time(rig.now.0 + 5_000_000);
    }
    rig.frames();
    rig.alive();
}

#[test]
fn row_41_made_you_reset() {
    let ways: [fn(u32) -> Vec<u8>; 7] = [
        |id| [get(id), window_update(id, 0)].concat(),
        |id| [get(id), window_update(id, MAX_31)].concat(),
        |id| [get(id), data(id, b"x", true)].concat(),
        |id| [get(id), priority(id, id, 1, false)].concat(),
        |id| [get(id), frame(PRIORITY, 0, id, &[0; 4])].concat(),
        |id| [post(id, &[("content-length", "1")]), data(id, b"xx", true)].concat(),
        |id| headers(id, true, &with(&[("connection", "close")])),
    ];
    for (i, way) in ways.into_iter().enumerate() {
        let mut rig = Rig::new();
        let n = until_dead(&mut rig, 10_000, way);
        calm(&mut rig);
        assert!(n <= 200 && tripped(&rig, Kind::Provoked) == 1, "way {i}: {n}");
    }
}

#[test]
fn row_42_continuation_flood() {
    for payload in [&b""[..], b"\0\x01a\x01b"] {
        let mut rig = Rig::new();
        rig.send(&frame(HEADERS, END_STREAM, 1, &block(&GET)));
        for n in 0.. {
            rig.send(&frame(CONTINUATION, 0, 1, payload));
            if rig.error.is_some() {
                assert!(n <= 8);
                break;
            }
        }
        calm(&mut rig);
        assert_eq!(rig.shared.counters.tripped_continuation, 1);
    }
    // By octets before frames.
    let mut rig = Rig::new();
    rig.send(&frame(HEADERS, END_STREAM, 1, &[0; 16_000]));
    (0..4).for_each(|_| rig.send(&frame(CONTINUATION, 0, 1, &[0; 16_000])));
    assert!(rig.error.unwrap().to_string().contains("twice our SETTINGS_MAX_HEADER_LIST_SIZE"));
    calm(&mut rig);
}

#[test]
fn row_42_a_header_block_without_end() {
    let mut rig = Rig::new();
    rig.send(&frame(HEADERS, END_STREAM, 1, &block(&GET)));
    let due = rig.conn.deadline().unwrap();
    assert_eq!(due, Time(rig.now.0 + 10_000_000));
    rig.now = due;
    rig.error = rig.io(|conn, io| conn.expire(io)).err();
    calm(&mut rig);
}

/// One 4 KB entry, named 16,000 times by an octet each: 64 MB if it were believed.
#[test]
fn row_43_header_bomb_by_reference() {
    let mut rig = Rig::new();
    let long = "v".repeat(3900);
    let mut first = block(&GET);
    first.extend([0x40, 1, b'a', 127, 0xbd, 0x1d]);
    first.extend(long.as_bytes());
    rig.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &first));
    assert_eq!(rig.seen.len(), 1);
    rig.seen.clear();
    let mut bomb = block(&GET);
    bomb.resize(16_384, 0x80 | 62);
    rig.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &bomb));
    rig.frames();
    assert_eq!((rig.status(3), rig.seen.len()), ("431", 0));
    assert!(rig.shared.bytes.capacity() < 100_000, "{}", rig.shared.bytes.capacity());
    rig.alive();
    let n = until_dead(&mut rig, 1000, |id| {
        frame(HEADERS, END_HEADERS | END_STREAM, 200_000 + id, &bomb)
    });
    calm(&mut rig);
    assert!(n <= 30 && tripped(&rig, Kind::Oversize) == 1);
}

#[test]
fn row_43_field_count_and_crumbs_and_overhead() {
    // 32 octets per field are counted, so empty fields are not free.
    let mut rig = Rig::with(Config { max_fields: 10_000, ..Config::default() });
    let many: Vec<_> = std::iter::repeat_n(("a", ""), 1100).collect();
    rig.send(&headers(1, true, &with(&many)));
    rig.frames();
    assert_eq!(rig.status(1), "431");
    // The number of fields is limited, crumbs that hold no cookie included.
    for (name, value) in [("cookie", ""), ("x", "a=b")] {
        let mut rig = Rig::new();
        let many: Vec<_> = std::iter::repeat_n((name, value), 97).collect();
        rig.send(&headers(1, true, &with(&many)));
        rig.frames();
        assert_eq!((rig.status(1), rig.seen.len()), ("431", 0));
        rig.send(&headers(3, true, &with(&many[..96])));
        let Seen::Request { fields, .. } = &rig.seen[0] else { panic!() };
        match name {
            "cookie" => assert_eq!(fields.len(), 5),
            _ => assert_eq!(fields.len(), 100),
        }
    }
}

#[test]
fn row_43_streams_without_window_are_reaped() {
    let mut rig = Rig::new();
    rig.client_settings(&[(4, 0)]);
    for id in [1, 3, 5] {
        rig.send(&get(id));
        rig.answer(id, 1000);
    }
    rig.pull(usize::MAX);
    let due = rig.conn.deadline().unwrap();
    assert!(due.0 <= rig.now.0 + 60_000_000);
    // A single octet does not stop the clock.
    rig.now = Time(rig.now.0 + 20_000_000);
    rig.grant(1, 1);
    rig.grant(5, 2000);
    rig.pull(usize::MAX);
    rig.now = due;
    let mut reaped = Vec::new();
    while let Some(event) = rig.io(|conn, io| conn.expire(io)).unwrap() {
        let ringway_codec::h2::Event::Reset { key, code, by_peer: false } = event else { panic!() };
        assert_eq!(code, Code::ENHANCE_YOUR_CALM);
        reaped.push(key.id());
    }
    assert_eq!(reaped, [1, 3]);
    rig.frames();
    assert!(rig.streams[&5].ended && rig.conn.is_idle() && rig.conn.deadline().is_none());
}

#[test]
fn row_43_a_connection_without_window_is_closed() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.answer(1, 1 << 20);
    rig.grant(1, 1 << 20);
    rig.pull(usize::MAX);
    rig.frames();
    rig.now = rig.conn.deadline().expect("the clock runs");
    rig.error = rig.io(|conn, io| conn.expire(io)).err();
    calm(&mut rig);
}

#[test]
fn row_43_small_windows_that_make_progress_are_left_alone() {
    // 280 octets a second are enough, 220 are not, over the window of a minute.
    for (window, is_enough) in [(1400, true), (1100, false)] {
        let mut rig = Rig::new();
        rig.client_settings(&[(4, window)]);
        rig.send(&get(1));
        rig.answer(1, 30 * window as usize);
        let mut reaped = None;
        for n in 0..30 {
            rig.pull(usize::MAX);
            rig.frames();
            rig.now = Time(rig.now.0 + 5_000_000);
            if rig.io(|conn, io| conn.expire(io)).unwrap().is_some() {
                reaped = Some(5 * (n + 1));
                break;
            }
            rig.grant(1, window);
        }
        assert_eq!(rig.streams[&1].ended, is_enough);
        assert_eq!(reaped, (!is_enough).then_some(60));
    }
}

#[test]
fn row_43_a_slow_reader_that_reads_is_left_alone() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.answer(1, 1 << 20);
    for _ in 0..20 {
        rig.pull(usize::MAX);
        rig.frames();
        rig.now = Time(rig.now.0 + 20_000_000);
        assert_eq!(rig.io(|conn, io| conn.expire(io)), Ok(None));
        rig.grant(0, 20_000);
        rig.grant(1, 20_000);
    }
    assert_eq!(rig.error, None);
}

#[test]
fn row_44_floods_of_nothing() {
    // (9518) empty DATA; (9516) empty header blocks are malformed requests, which are provoked
    // resets.
    let floods: [(Kind, fn(u32) -> Vec<u8>); 5] = [
        (Kind::Empty, |_| data(1, b"", false)),
        (Kind::Tiny, |_| data(1, b"x", false)),
        (Kind::Provoked, |id| frame(HEADERS, END_HEADERS | END_STREAM, id + 2, &[])),
        (Kind::Priority, |id| priority(id + 2, (id % 50) * 2 + 100_001, 7, true)),
        (Kind::Unknown, |_| frame(0x99, 0, 0, &[])),
    ];
    for (kind, flood) in floods {
        let mut rig = Rig::new();
        rig.send(&post(1, &[]));
        let n = until_dead(&mut rig, 30_000, flood);
        calm(&mut rig);
        assert!(tripped(&rig, kind) == 1 && n <= 20_001, "{} after {n}", kind.name());
    }
    // PRIORITY_UPDATE for streams that never come.
    let mut rig = Rig::new();
    until_dead(&mut rig, 20_000, |id| {
        frame(PRIORITY_UPDATE, 0, 0, &[&id.to_be_bytes()[..], b"u=1"].concat())
    });
    calm(&mut rig);
}

/// What was on its way when we reset a stream is passed over, but not for ever.
#[test]
fn row_44_header_blocks_on_a_dead_stream() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.send(&window_update(1, 0));
    let n = until_dead(&mut rig, 10_000, |_| headers(1, true, &[("x", "y")]));
    calm(&mut rig);
    assert!(n <= 1001 && tripped(&rig, Kind::Refused) == 1);
}

/// (9511) a window that grows by one octet at a time makes us send a frame for each.
#[test]
fn row_44_data_dribble() {
    let mut rig = Rig::new();
    rig.client_settings(&[(4, 1)]);
    rig.send(&get(1));
    rig.answer(1, 1 << 20);
    let mut n = 0;
    while rig.error.is_none() {
        rig.pull(usize::MAX);
        if rig.error.is_none() {
            rig.frames();
            rig.grant(1, 1);
        }
        n += 1;
    }
    calm(&mut rig);
    assert!(n <= 1100 && tripped(&rig, Kind::Dribble) == 1);
}

#[test]
fn row_45_settings_ping_and_reset_floods() {
    let floods: [(Kind, fn(u32) -> Vec<u8>); 4] = [
        (Kind::Settings, |_| settings(&[])),
        (Kind::Ping, |_| frame(PING, 0, 0, &[7; 8])),
        (Kind::Reset, |_| rst(1, Code::CANCEL)),
        (Kind::WindowUpdate, |_| window_update(0, 1)),
    ];
    for (kind, flood) in floods {
        let mut rig = Rig::new();
        rig.send(&get(1));
        until_dead(&mut rig, 20_000, flood);
        calm(&mut rig);
        assert_eq!(tripped(&rig, kind), 1, "{}", kind.name());
    }
}

/// The peer asks and does not read: the output is bounded whatever the budgets allow.
#[test]
fn row_45_output_queue_is_capped() {
    let mut config = Config { output_bytes: 4096, ..Config::default() };
    config.budgets[Kind::Ping].burst = u16::MAX;
    let mut rig = Rig::with(config);
    while rig.error.is_none() {
        rig.send(&frame(PING, 0, 0, &[7; 8]));
    }
    assert!(rig.out.len() < 4096 + 200);
    assert_eq!(rig.shared.counters.tripped_output, 1);
    calm(&mut rig);
    // A body does not go past the cap either: it waits for its turn.
    let mut rig = Rig::with(Config { output_bytes: 100, ..Config::default() });
    rig.send(&get(1));
    assert_eq!(rig.reply(1, 200, &[0; 200]), Sent::Queued);
}

#[test]
fn row_46_hpack_errors() {
    let update_to_8192: &[u8] = &[0x3f, 0xe1, 0x3f];
    for bad in [
        &[0x80][..],                         // index 0
        &[0xff, 0x00],                       // index 127, which is not there
        &[0xbe],                             // index 62, an empty table
        update_to_8192,                      // above our limit
        &[0x82, 0x20],                       // size update behind a field
        &[0xff, 0xff, 0xff, 0xff, 0xff, 15], // overflow
        &[0, 0x84, 0xff, 0xff, 0xff, 0xff],  // EOS
        &[0, 0x81, 0x00, 0x00],              // padding that is not ones
        &[0x82, 0x00, 0x05, b'a'],           // truncated
    ] {
        let mut rig = Rig::new();
        rig.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, bad));
        rig.dead(Code::COMPRESSION_ERROR);
    }
}

#[test]
fn row_50_malformed_requests_reset_the_stream() {
    let value = |v| with(&[("x", v)]);
    let name = |n| with(&[(n, "v")]);
    let late = || {
        let mut f = GET.to_vec();
        f.swap(0, 3);
        f.insert(1, ("x", "y"));
        f
    };
    for bad in [
        name("Upper"),
        name("sp ace"),
        name(""),
        name("col:on"),
        name("nul\0"),
        name("\u{7f}"),
        name(":unknown"),
        name(":status"),
        value("a\rb"),
        value("a\nb"),
        value("a\0b"),
        value(" a"),
        value("a "),
        value("\ta"),
        late(),
        with(&[("connection", "close")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("te", "gzip")]),
        GET[1..].to_vec(),
        GET[..3].to_vec(),
        with(&[(":method", "GET")]),
        with(&[("host", "elsewhere")]),
        replaced(":path", ""),
        replaced(":path", "x"),
        replaced(":path", "/a b"),
        replaced(":authority", "a@b"),
        replaced(":method", "a b"),
        replaced(":method", "CONNECT"),
    ] {
        let mut rig = Rig::new();
        rig.send(&headers(1, true, &bad));
        rig.reset_with(1, Code::PROTOCOL_ERROR);
        assert!(!rig.seen.iter().any(|s| matches!(s, Seen::Request { id: 1, .. })), "{bad:?}");
    }
}

/// A malformed field in the dynamic table stays malformed when it is named again.
#[test]
fn row_50_malformed_by_reference() {
    let mut rig = Rig::new();
    let mut first = block(&GET);
    first.extend(b"\x40\x01X\x01v");
    rig.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &first));
    rig.reset_with(1, Code::PROTOCOL_ERROR);
    for id in [200_001, 300_001] {
        let mut again = block(&GET);
        again.push(0x80 | 62);
        rig.send(&frame(HEADERS, END_HEADERS | END_STREAM, id, &again));
        rig.reset_with(id, Code::PROTOCOL_ERROR);
    }
}

#[test]
fn row_52_concurrency() {
    let mut rig = Rig::new();
    for n in 0..100 {
        rig.send(&get(2 * n + 1));
    }
    assert_eq!(rig.seen.len(), 100);
    rig.send(&get(201));
    let resets = rig.only(RST_STREAM);
    assert_eq!((resets[0].stream, resets[0].code()), (201, Code::REFUSED_STREAM));
    assert_eq!(rig.seen.len(), 100, "no handler has seen it: retrying is safe");
    rig.reply(1, 200, b"x");
    rig.send(&get(203));
    assert_eq!((rig.seen.len(), rig.error), (101, None));
    // Refused streams are metered, and what they carry is passed over.
    rig.send(&post(205, &[]));
    rig.send(&data(205, b"x", true));
    assert_eq!(rig.error, None);
    for n in 0..2000 {
        rig.send(&get(301 + 2 * n));
        rig.frames();
        if rig.error.is_some() {
            assert_eq!(tripped(&rig, Kind::Refused), 1);
            return;
        }
    }
    panic!("it lives on");
}

#[test]
fn row_53_enable_push_2() {
    let mut rig = Rig::new();
    rig.send(&settings(&[(2, 2)]));
    rig.dead(Code::PROTOCOL_ERROR);
}

/// Large heads of our own are cut into frames of the peer's size, and the memo of heads never lies.
#[test]
fn cached_heads_follow_the_table() {
    let mut rig = Rig::new();
    for n in 0..300u32 {
        let id = 2 * n + 1;
        rig.send(&get(id));
        let key = rig.key(id);
        let which = u64::from(n * 7 % 5);
        let value = which.to_string();
        rig.io(|conn, io| {
            conn.respond(key, 200, ringway_codec::h2::Body::None, io, |head| {
                head.cached(which, |head| {
                    head.field(Known::Server, b"", b"ringway");
                    head.field(Known::ContentType, b"", value.as_bytes());
                });
                if n % 11 == 0 {
                    head.field(Known::Etag, b"", id.to_string().as_bytes());
                    head.field(Known::Date, b"", id.to_string().as_bytes());
                }
            })
        });
        rig.frames();
        let head = &rig.streams[&id].heads[0];
        assert_eq!((head[1].1.as_str(), head[2].1.as_str()), ("ringway", value.as_str()));
        assert_eq!(head.len(), if n % 11 == 0 { 5 } else { 3 });
    }
}
