//! Any octets at all against a connection with an application behind it: the entry point of the
//! fuzz target, and of the tests that replay its corpus. Everything that goes out must be whole
//! legal frames, and nothing may grow past its bound.

use crate::chosen::backend;
use ringway_codec::Time;
use ringway_codec::h2::frame::{self, Header};
use ringway_codec::h2::{Body, Code, Config, Conn, Event, Io, Key, Pulled, Sent, Shared};

/// The first octet chooses how the application behaves, the second how the input is cut; the rest
/// follows a preface and an acknowledged SETTINGS exchange, or is everything.
pub(crate) fn any_input(octets: &[u8]) {
    let [mode, cut, rest @ ..] = octets else { return };
    let pushes = u16::from(mode & 1 != 0) * 4;
    let config = Config { max_pushes: pushes, output_bytes: 64 << 10, ..Config::default() };
    let mut shared = Shared::new(backend(), config);
    let mut out = Vec::new();
    let mut now = Time(0);
    let mut conn = Conn::new(&mut Io { shared: &mut shared, out: &mut out, now });
    let mut input = Vec::new();
    if mode & 2 == 0 {
        input.extend_from_slice(frame::PREFACE);
        input.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0]);
    }
    input.extend_from_slice(rest);
    let step = if *cut == 0 { input.len().max(1) } else { usize::from(*cut) * 7 };
    let (mut have, mut at, mut live) = (0, 0, Vec::new());
    while have < input.len() {
        have = input.len().min(have + step);
        now = Time(now.0 + 10_000 * u64::from(*cut));
        let mut io = Io { shared: &mut shared, out: &mut out, now };
        let ok = serve(&mut conn, &input[..have], &mut at, *mode, &mut io, &mut live);
        check(&out, ok);
        out.clear();
        if !ok {
            break;
        }
        let io = Io { shared: &mut shared, out: &mut out, now };
        assert!(have - at <= Conn::tail_max(&io));
    }
    // 32 KiB of fields, as much again in joined cookies, and what a Vec adds by doubling.
    assert!(shared.bytes.capacity() <= 256 << 10 && conn.open_streams() <= 104);
}

/// One turn; whether the connection goes on.
fn serve(
    conn: &mut Conn,
    input: &[u8],
    at: &mut usize,
    mode: u8,
    io: &mut Io<'_>,
    live: &mut Vec<Key>,
) -> bool {
    loop {
        match conn.receive(input, at, io) {
            Ok(Event::More) => break,
            Ok(Event::Request(request)) => {
                let key = request.key;
                assert!(request.head.path.of(&io.shared.bytes).first() != Some(&b' '));
                let _ = conn.push(key, b"http", b"a", &[b'/', key.id() as u8], io);
                let body = match mode >> 2 & 3 {
                    0 => Body::Whole(b"a short body"),
                    1 => Body::Pull,
                    2 => Body::Later,
                    _ => Body::None,
                };
                if conn.respond(key, 200, body, io, |head| head.content_length(12)) == Sent::Queued
                {
                    live.push(key);
                }
            }
            Ok(Event::TooLarge { key }) => {
                conn.respond(key, 431, Body::None, io, |_| {});
            }
            Ok(Event::Data { key, at, .. }) if mode & 16 == 0 => conn.consume(key, at.len(), io),
            Ok(Event::Reset { key, .. }) => live.retain(|k| *k != key),
            Ok(_) => {}
            Err(error) => {
                assert!(error.to_string().contains("peer"));
                return false;
            }
        }
    }
    live.retain(|key| conn.is_open(*key));
    live.iter().for_each(|key| conn.wake(*key, io));
    loop {
        let pulled = conn.output(32 << 10, io, |key, max, out, _| {
            out.resize(out.len() + max.min(5000), 0);
            match (mode >> 5, key.id() % 5) {
                (0, 0) => Pulled::End,
                (1, 1) => Pulled::Trailers,
                (2, 2) => Pulled::Abort(Code::CANCEL),
                (3, _) => Pulled::Pending,
                _ => Pulled::More,
            }
        });
        match pulled {
            Ok(None) => break,
            Ok(Some(key)) => assert!(conn.trailers(key, io, |_| {})),
            Err(_) => return false,
        }
    }
    while let Ok(Some(_)) = conn.expire(io) {}
    true
}

/// The output is whole frames; a connection that has failed ends with GOAWAY.
fn check(out: &[u8], ok: bool) {
    let (mut at, mut last) = (0, None);
    while at < out.len() {
        let header = Header::read(out, at).expect("a whole frame header");
        at += frame::HEADER + header.len as usize;
        assert!(header.len <= 16_384 && frame::type_name(header.kind) != "unknown");
        last = Some(header.kind);
    }
    assert_eq!(at, out.len(), "a whole frame");
    assert!(ok || last.is_some());
}
