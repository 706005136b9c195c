//! Stream ids (row C3), messages (C5), every transition of RFC 9113 section 5.1 (C6), attack row
//! 47.

use crate::rig::*;
use ringway_codec::field::Known;
use ringway_codec::h2::frame::*;
use ringway_codec::h2::{Body, Code, Config, Sent};

fn requests(rig: &Rig) -> usize {
    rig.seen.iter().filter(|s| matches!(s, Seen::Request { .. })).count()
}

#[test]
fn c3_even_id() {
    let mut rig = Rig::new();
    rig.send(&get(2));
    rig.dead(Code::PROTOCOL_ERROR);
}

#[test]
fn c3_ids_may_be_skipped_but_not_go_back() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.send(&get(9));
    assert_eq!(requests(&rig), 2);
    rig.send(&get(5));
    rig.dead(Code::PROTOCOL_ERROR);
}

#[test]
fn c3_last_id_then_goaway() {
    let mut rig = Rig::new();
    rig.send(&get(MAX_31));
    assert_eq!((requests(&rig), rig.error), (1, None));
    let goaway = rig.only(GOAWAY);
    assert_eq!((goaway[0].u32(0), goaway[0].code()), (MAX_31, Code::NO_ERROR));
    assert_eq!(rig.reply(MAX_31, 200, b"last"), Sent::All);
    assert!(rig.conn.is_done());
    assert_eq!(Rig::new().error, None, "a new connection works");
}

#[test]
fn c5_trailers_both_ways() {
    let mut rig = Rig::new();
    rig.send(&post(1, &[]));
    rig.send(&data(1, b"x", false));
    rig.send(&headers(1, true, &[("x-checksum", "99")]));
    let fields = vec![("x-checksum".to_owned(), "99".to_owned())];
    assert_eq!(rig.seen[2], Seen::Trailers { id: 1, fields });
    rig.answer(1, 20_000);
    rig.bodies.get_mut(&1).unwrap().trailers = true;
    rig.pull(usize::MAX);
    let frames = rig.frames();
    let last = frames.last().unwrap();
    assert_eq!((last.kind, last.flags), (HEADERS, END_HEADERS | END_STREAM));
    assert_eq!(rig.streams[&1].heads[1], [("x-sum".to_owned(), "1".to_owned())]);
    assert_eq!(rig.streams[&1].received, 20_000);
    assert!(rig.conn.is_idle());
}

#[test]
fn c5_trailers_without_a_body_and_empty_trailers() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    let key = rig.key(1);
    rig.io(|conn, io| {
        assert_eq!(conn.respond(key, 200, Body::Later, io, |_| {}), Sent::Queued);
        assert!(conn.trailers(key, io, |_| {}));
        assert!(!conn.trailers(key, io, |_| {}), "once");
    });
    let frames = rig.frames();
    assert_eq!((frames[1].kind, frames[1].flags, frames[1].payload.len()), (DATA, END_STREAM, 0));
}

#[test]
fn c5_no_content_for_head_204_304() {
    let mut rig = Rig::new();
    rig.send(&headers(1, true, &replaced(":method", "HEAD")));
    rig.send(&get(3));
    rig.send(&get(5));
    assert_eq!(rig.reply(1, 200, b"body"), Sent::All);
    assert_eq!(rig.reply(3, 204, b"body"), Sent::All);
    assert_eq!(rig.reply(5, 304, b"body"), Sent::All);
    let frames = rig.frames();
    assert_eq!(frames.len(), 3);
    assert!(frames.iter().all(|f| f.kind == HEADERS && f.has(END_STREAM)));
    // Also when the body would have been pulled.
    rig.send(&headers(7, true, &replaced(":method", "HEAD")));
    rig.answer(7, 100);
    assert!(rig.frames()[0].has(END_STREAM) && rig.conn.is_idle());
}

#[test]
fn c6_idle_to_open_to_half_closed_to_closed() {
    let mut rig = Rig::new();
    rig.send(&post(1, &[]));
    assert_eq!(rig.conn.open_streams(), 1);
    rig.send(&data(1, b"all", true));
    assert_eq!(rig.reply(1, 200, b"ok"), Sent::All);
    assert_eq!(rig.conn.open_streams(), 0);
}

#[test]
fn c6_idle_accepts_headers_and_priority_only() {
    for bad in [data(1, b"x", false), rst(1, Code::CANCEL), window_update(1, 1)] {
        let mut rig = Rig::new();
        rig.send(&bad);
        rig.dead(Code::PROTOCOL_ERROR);
    }
    for even in [data(2, b"x", false), rst(2, Code::CANCEL), window_update(2, 1)] {
        let mut rig = Rig::new();
        rig.send(&even);
        rig.dead(Code::PROTOCOL_ERROR);
    }
    let mut rig = Rig::new();
    rig.send(&priority(1, 0, 7, false));
    rig.alive();
}

#[test]
fn c6_half_closed_remote_accepts_window_priority_reset_only() {
    for bad in [data(1, b"x", false), get(1), headers(1, true, &[("x", "y")])] {
        let mut rig = Rig::new();
        rig.send(&get(1));
        rig.send(&bad);
        rig.reset_with(1, Code::STREAM_CLOSED);
        assert_eq!(rig.seen[1], Seen::Reset { id: 1, code: Code::STREAM_CLOSED, by_peer: false });
    }
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.send(&window_update(1, 5));
    rig.send(&priority(1, 0, 7, false));
    assert_eq!(rig.reply(1, 200, b"ok"), Sent::All);
}

/// The response ended first: the rest of the request is passed over, and a long one is stopped.
#[test]
fn c6_half_closed_local() {
    let mut rig = Rig::new();
    rig.send(&post(1, &[]));
    assert_eq!(rig.reply(1, 413, b"too much"), Sent::All);
    rig.frames();
    rig.send(&data(1, b"some", false));
    rig.send(&window_update(1, 5));
    rig.send(&data(1, b"more", true));
    assert!(rig.conn.is_idle() && rig.frames().is_empty() && rig.seen.len() == 1);

    rig.send(&post(3, &[]));
    rig.reply(3, 413, b"too much");
    rig.send(&headers(3, true, &[("x", "y")]));
    assert!(rig.conn.is_idle() && rig.seen.len() == 2, "trailers are passed over too");

    rig.send(&post(5, &[]));
    rig.reply(5, 413, b"too much");
    rig.send(&rst(5, Code::CANCEL));
    assert!(rig.conn.is_idle() && rig.seen.len() == 3);

    rig.send(&post(7, &[]));
    rig.reply(7, 413, b"too much");
    rig.frames();
    rig.send(&data(7, &[0; 16_000], false));
    rig.send(&data(7, &[0; 16_000], false));
    assert!(rig.only(RST_STREAM).is_empty());
    rig.send(&data(7, &[0; 16_000], false));
    rig.reset_with(7, Code::NO_ERROR);
    rig.send(&data(7, &[0; 16_000], false));
    rig.send(&headers(7, true, &[("x", "y")]));
    rig.alive();
}

/// A response that ends while a DATA frame is under way: no octet of the window is lost.
#[test]
fn c6_half_closed_local_within_a_frame() {
    let mut rig = Rig::new();
    rig.hold = true;
    let mut next = 1;
    for round in 0..200 {
        rig.send(&post(next, &[]));
        let frame = data(next, &[0; 9000], true);
        rig.send(&frame[..100 + round]);
        let before = rig.seen.len();
        rig.reply(next, 200, b"ok");
        rig.send(&frame[100 + round..]);
        assert!(rig.conn.is_idle() && rig.seen.len() == before && rig.error.is_none());
        next += 2;
    }
    let given: u32 =
        rig.only(WINDOW_UPDATE).iter().filter(|f| f.stream == 0).map(|f| f.u32(0)).sum();
    assert!(given as usize > 200 * 9000 - (1 << 19), "{given}");
}

#[test]
fn c6_closed_by_end_stream() {
    for bad in [data(1, b"x", false), headers(1, true, &[("x", "y")])] {
        let mut rig = Rig::new();
        rig.send(&get(1));
        rig.reply(1, 200, b"ok");
        rig.frames();
        rig.send(&bad);
        rig.dead(Code::STREAM_CLOSED);
    }
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.reply(1, 200, b"ok");
    rig.send(&window_update(1, 100));
    rig.send(&rst(1, Code::CANCEL));
    rig.send(&priority(1, 0, 3, false));
    rig.alive();
}

#[test]
fn c6_closed_by_the_peers_reset() {
    for bad in [data(1, b"x", false), headers(1, true, &[("x", "y")])] {
        let mut rig = Rig::new();
        rig.send(&post(1, &[]));
        rig.send(&rst(1, Code::CANCEL));
        rig.send(&bad);
        rig.dead(Code::STREAM_CLOSED);
    }
}

/// What was on its way when we reset a stream is passed over, but counts: windows and HPACK go on.
#[test]
fn c6_closed_by_our_reset() {
    let mut rig = Rig::new();
    rig.send(&post(1, &[]));
    let key = rig.key(1);
    rig.io(|conn, io| conn.reset(key, Code::CANCEL, io));
    for n in 0..100 {
        rig.send(&data(1, &[0; 8000], n == 99));
    }
    // Literal with indexing: the entry is 62 afterwards.
    let mut insert = vec![0x40, 3];
    insert.extend(b"x-a\x01b");
    rig.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &insert));
    rig.send(&window_update(1, 1));
    assert_eq!((rig.error, rig.seen.len()), (None, 1));
    let mut use_it = block(&GET);
    use_it.push(0x80 | 62);
    rig.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &use_it));
    let Seen::Request { fields, .. } = &rig.seen[1] else { panic!() };
    assert_eq!(fields[4], ("x-a".to_owned(), "b".to_owned()));
    assert!(rig.only(WINDOW_UPDATE).iter().any(|f| f.stream == 0));
}

#[test]
fn c6_reserved_local() {
    let config = Config { max_pushes: 5, ..Config::default() };
    let pushed = || {
        let mut rig = Rig::with(config.clone());
        rig.send(&get(1));
        let key = rig.key(1);
        let push = rig.io(|c, t| c.push(key, b"http", b"example.org", b"/p", t)).unwrap();
        rig.requests.insert(2, push);
        rig.frames();
        rig
    };
    // -> half-closed (remote) -> closed
    let mut rig = pushed();
    assert_eq!(rig.reply(2, 200, b"pushed"), Sent::All);
    rig.frames();
    assert_eq!((rig.conn.open_streams(), rig.streams[&2].received), (1, 6));
    // reset while reserved
    let mut rig = pushed();
    let key = rig.key(2);
    rig.send(&rst(2, Code::CANCEL));
    assert!(!rig.conn.is_open(key));
    rig.alive();
    // window and priority are allowed
    let mut rig = pushed();
    rig.send(&window_update(2, 10));
    rig.send(&priority(2, 1, 16, false));
    rig.alive();
    // anything else is not
    for bad in [data(2, b"x", false), get(2)] {
        let mut rig = pushed();
        rig.send(&bad);
        rig.dead(Code::PROTOCOL_ERROR);
    }
    // -> half-closed (remote)
    let mut rig = pushed();
    rig.answer(2, 100);
    rig.frames();
    rig.send(&data(2, b"x", false));
    rig.reset_with(2, Code::STREAM_CLOSED);
}

#[test]
fn row_47_stream_ids() {
    let mut rig = Rig::new();
    rig.send(&data(7, b"x", false));
    rig.dead(Code::PROTOCOL_ERROR);
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.reply(1, 200, b"");
    rig.frames();
    rig.send(&data(1, b"x", true));
    rig.dead(Code::STREAM_CLOSED);
}

#[test]
fn headers_in_the_middle_must_end_the_stream() {
    let mut rig = Rig::new();
    rig.send(&post(1, &[]));
    rig.send(&headers(1, false, &[("x", "y")]));
    rig.reset_with(1, Code::PROTOCOL_ERROR);
}

#[test]
fn a_reset_is_not_answered_with_a_reset() {
    let mut rig = Rig::new();
    rig.send(&post(1, &[]));
    rig.send(&rst(1, Code(0xdead_beef)));
    rig.send(&rst(1, Code::CANCEL));
    assert_eq!(rig.seen[1], Seen::Reset { id: 1, code: Code(0xdead_beef), by_peer: true });
    assert!(rig.frames().is_empty());
}

#[test]
fn row_51_content_length_and_data() {
    for (length, octets, end) in [("5", 4, true), ("5", 6, false), ("0", 1, false), ("5", 6, true)]
    {
        let mut rig = Rig::new();
        rig.send(&post(1, &[("content-length", length)]));
        rig.send(&data(1, &vec![0; octets], end));
        rig.reset_with(1, Code::PROTOCOL_ERROR);
    }
    let mut rig = Rig::new();
    rig.send(&post(1, &[("content-length", "3")]));
    rig.send(&headers(1, true, &[("x", "y")]));
    rig.reset_with(1, Code::PROTOCOL_ERROR);
    let mut rig = Rig::new();
    let mut fields = replaced(":method", "POST");
    fields.push(("content-length", "3"));
    rig.send(&headers(1, true, &fields));
    rig.reset_with(1, Code::PROTOCOL_ERROR);
    let mut rig = Rig::new();
    rig.send(&post(1, &[("content-length", "5")]));
    rig.send(&frame(DATA, PADDED, 1, b"\x02abc\0\0"));
    rig.send(&data(1, b"de", true));
    assert!(matches!(rig.seen.last(), Some(Seen::Data { end: true, .. })));
}

#[test]
fn row_53_interleaved_header_blocks() {
    for other in [
        data(1, b"x", false),
        get(5),
        frame(PING, 0, 0, &[0; 8]),
        frame(0x99, 0, 0, &[]),
        frame(CONTINUATION, END_HEADERS, 5, &[]),
        settings(&[]),
    ] {
        let mut rig = Rig::new();
        rig.send(&post(1, &[]));
        rig.send(&frame(HEADERS, END_STREAM, 3, &block(&GET)));
        rig.send(&other);
        rig.dead(Code::PROTOCOL_ERROR);
    }
    let mut rig = Rig::new();
    rig.send(&get(1));
    rig.send(&frame(CONTINUATION, END_HEADERS, 1, &[]));
    rig.dead(Code::PROTOCOL_ERROR);
}

#[test]
fn answers_to_streams_that_are_gone_write_nothing() {
    let mut rig = Rig::new();
    rig.send(&get(1));
    let key = rig.key(1);
    rig.reply(1, 200, b"x");
    rig.frames();
    rig.io(|conn, io| {
        assert_eq!(conn.respond(key, 200, Body::None, io, |_| {}), Sent::Gone);
        assert!(!conn.inform(key, 103, io, |_| {}));
        assert!(!conn.trailers(key, io, |_| {}));
        conn.wake(key, io);
        conn.consume(key, 0, io);
        conn.reset(key, Code::CANCEL, io);
        assert!(conn.push(key, b"http", b"a", b"/", io).is_none());
        assert!(!conn.is_open(key) && conn.priority_of(key).is_none());
    });
    assert!(rig.frames().is_empty());
}

#[test]
fn malformed_trailers_reset_the_stream() {
    for bad in [(":path", "/"), ("connection", "close"), ("UPPER", "x"), ("x", "a\r\nb")] {
        let mut rig = Rig::new();
        rig.send(&post(1, &[]));
        rig.send(&headers(1, true, &[bad]));
        rig.reset_with(1, Code::PROTOCOL_ERROR);
    }
}

#[test]
fn informational_responses_come_before_the_final_one() {
    let mut rig = Rig::new();
    rig.send(&post(1, &[("expect", "100-continue")]));
    assert!(rig.requests[&1].head.expect_continue);
    let key = rig.key(1);
    assert!(rig.io(|conn, io| conn.inform(key, 100, io, |_| {})));
    let link = b"</a.css>; rel=preload";
    assert!(rig.io(|c, t| c.inform(key, 103, t, |h| h.field(Known::Link, b"", link))));
    rig.send(&data(1, b"x", true));
    rig.reply(1, 200, b"x");
    rig.frames();
    let status: Vec<_> = rig.streams[&1].heads.iter().map(|h| h[0].1.clone()).collect();
    assert_eq!(status, ["100", "103", "200"]);
    assert!(!rig.io(|conn, io| conn.inform(key, 103, io, |_| {})));
}
