//! Heads near and over their limits: F10, cookies in pieces, and F18, blocks that are too long.

use crate::attacks::calm;
use crate::rig::*;
use ringway_codec::h2::Config;
use ringway_codec::h2::frame::*;

/// A block on a stream of its own, in HEADERS and CONTINUATION of `piece` octets.
fn split(id: u32, block: &[u8], piece: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let pieces = block.chunks(piece);
    let last = pieces.len() - 1;
    for (n, payload) in pieces.enumerate() {
        let kind = if n == 0 { HEADERS } else { CONTINUATION };
        let end = if n == last { END_HEADERS } else { 0 };
        out.extend(frame(kind, if n == 0 { end | END_STREAM } else { end }, id, payload));
    }
    out
}

/// A request whose block has exactly so many octets and ends in an entry for the table: `a: n`.
fn long(length: usize, n: u32) -> Vec<u8> {
    let entry = [0x40, 1, b'a', 1, b'0' + n as u8];
    let mut value = "v".repeat(length);
    loop {
        let mut out = block(&with(&[("x", &value)]));
        out.extend(entry);
        if out.len() <= length {
            assert_eq!(out.len(), length);
            return out;
        }
        value.pop();
    }
}

fn last_fields(rig: &Rig) -> &[(String, String)] {
    match rig.seen.last() {
        Some(Seen::Request { fields, .. }) => fields,
        other => panic!("{other:?}, {:?}", rig.error),
    }
}

/// F18: a block over the limit and within twice of it is a matter of its stream; one that is longer
/// ends the connection, and the text says for which bound.
#[test]
fn f18_a_block_within_twice_the_limit_is_answered_on_its_stream() {
    for (max_frame_size, piece) in [(16_384, 16_384), (1 << 20, 65_536)] {
        let mut rig = Rig::with(Config { max_frame_size, ..Config::default() });
        for (n, length) in [32_000, 33_000, 49_153, 65_536].into_iter().enumerate() {
            let id = 4 * n as u32 + 1;
            rig.send(&split(id, &long(length, n as u32), piece));
            rig.frames();
            if n > 0 {
                assert_eq!(rig.status(id), "431", "{length}");
            }
            // The entry at the block's very end shows that the table is in step.
            let next = [block(&GET), vec![0x80 | 62]].concat();
            rig.send(&split(id + 2, &next, piece));
            assert_eq!(last_fields(&rig)[4], ("a".into(), n.to_string()), "{length}");
        }
        rig.alive();
        rig.send(&split(101, &[0; 65_537], piece));
        let said = rig.error.unwrap().to_string();
        assert!(said.contains("twice our SETTINGS_MAX_HEADER_LIST_SIZE"), "{said}");
        calm(&mut rig);
    }
}

/// F18: what a configuration allows, its frames are enough for.
#[test]
fn f18_full_continuations_are_no_flood() {
    let mut rig = Rig::with(Config { max_header_list: 1 << 20, ..Config::default() });
    let value = "v".repeat(900_000);
    let head = block(&with(&[("x", &value)]));
    rig.send(&split(1, &head, 16_384));
    assert_eq!(last_fields(&rig)[4].1, value);
    // Frames that are not full are.
    rig.send(&split(3, &head, 16_383));
    let said = rig.error.unwrap().to_string();
    assert!(said.contains("CONTINUATION frames that are not full"), "{said}");
    calm(&mut rig);
}

/// A request with so many pieces of a cookie, all but the first of one octet.
fn crumbs(id: u32, value: &str, count: usize) -> Vec<u8> {
    let mut head = block(&GET);
    head.extend([0x40, 6]);
    head.extend(b"cookie");
    head.push(value.len() as u8);
    head.extend(value.as_bytes());
    head.resize(head.len() + count - 1, 0x80 | 62);
    split(id, &head, 16_384)
}

/// F10: a cookie in pieces is one field, of as many octets as it has joined (RFC 9113 section
/// 8.2.3), and a piece of one octet on the wire costs four.
#[test]
fn f10_the_pieces_of_a_cookie_are_one_field() {
    let mut rig = Rig::new();
    for (n, count) in [2, 97, 1000, 6000].into_iter().enumerate() {
        rig.send(&crumbs(2 * n as u32 + 1, "a=b", count));
        let fields = last_fields(&rig);
        assert_eq!((fields.len(), fields[4].1.len()), (5, count * 5 - 2));
    }
    // Other fields keep their number, wherever they stand.
    let mixed: Vec<_> = (0..96).flat_map(|_| [("cookie", "a=b"), ("x", "y")]).collect();
    rig.send(&headers(101, true, &with(&mixed[..190])));
    assert_eq!(last_fields(&rig).len(), 4 + 95 + 1);
    rig.frames();
    rig.send(&headers(103, true, &with(&mixed)));
    rig.frames();
    assert_eq!(rig.status(103), "431");
    // Octets are the bound: joined, these are over it. Then bombs of one octet each.
    for (id, value, count) in [(105, "a=b", 6700), (107, "a", 8300), (109, "", 2000)] {
        rig.seen.clear();
        rig.send(&crumbs(id, value, count));
        rig.frames();
        assert_eq!((rig.status(id), rig.seen.len()), ("431", 0), "{value}");
    }
    assert!(rig.shared.bytes.capacity() < 200_000, "{}", rig.shared.bytes.capacity());
    assert!(rig.shared.fields.capacity() <= 16_384, "{}", rig.shared.fields.capacity());
    rig.alive();
}
