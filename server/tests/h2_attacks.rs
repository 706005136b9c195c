//! HTTP/2 floods: rows 40 to 45 and 52 of the attack list, with a second client that is served
//! throughout, and a limit on the server's memory. The other rows to 57 are in `h2_violations`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::thread;
use std::time::{Duration, Instant};

use harness::eventually;
use harness::h2::*;
use harness::process::Process;
use harness::watch::Watch;

/// Maximum growth of memory during an attack on one connection.
const CAP: u64 = 4 << 20;

fn app(bounds: &str) -> Process {
    Process::app_on("http,h2c,https", bounds)
}

fn connect(server: &Process) -> H2 {
    H2::connect(server.at("h2c"))
}

/// Sends piece after piece until the server has had enough of it, at most so many; the code that it
/// ended with.
fn flood(client: &mut H2, count: usize, mut piece: impl FnMut(usize) -> Vec<u8>) -> Option<u32> {
    for chunk in (0..count).collect::<Vec<_>>().chunks(50) {
        let bytes: Vec<u8> = chunk.iter().flat_map(|i| piece(*i)).collect();
        if client.try_send(bytes).is_err() {
            break;
        }
    }
    client.end()
}

/// Others are served during and after the attack, and memory stays below the limit.
fn watched(server: &Process, attack: impl FnOnce()) {
    Watch::new(server, "/hello").during(CAP, attack);
}

/// The connection must end with this code. Others are served during and after the attack.
fn calms(server: &Process, what: &str, count: usize, piece: impl FnMut(usize) -> Vec<u8>) {
    watched(server, || {
        let code = flood(&mut connect(server), count, piece);
        assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{what}");
    });
}

fn counted(server: &Process) -> u64 {
    server.client().get("/counted").text().parse().unwrap()
}

fn id(i: usize) -> u32 {
    2 * i as u32 + 1
}

#[test]
fn row_40_rapid_reset() {
    let server = app("");
    calms(&server, "rapid reset", 10_000, |i| {
        [get(id(i), "/asked/5000"), reset(id(i), CANCEL)].concat()
    });
    let started = counted(&server);
    assert!(started <= 1000, "{started} handlers were started");
}

#[test]
fn row_41_resets_that_the_server_is_made_to_send() {
    let server = app("");
    let provoke =
        |bytes: fn(u32) -> Vec<u8>| move |i| [get(id(i), "/slow/5000"), bytes(id(i))].concat();
    calms(&server, "WINDOW_UPDATE of 0", 10_000, provoke(|id| window_update(id, 0)));
    calms(&server, "an overflow", 10_000, provoke(|id| window_update(id, 0x7fff_ffff)));
    calms(&server, "DATA after the end", 10_000, provoke(|id| frame(DATA, 0, id, b"more")));
    calms(&server, "a short PRIORITY", 10_000, provoke(|id| frame(PRIORITY, 0, id, b"abc")));
    calms(
        &server,
        "on itself",
        10_000,
        provoke(|id| frame(PRIORITY, 0, id, &[&id.to_be_bytes()[..], &[1]].concat())),
    );
    calms(&server, "HEADERS after the end", 10_000, provoke(|id| get(id, "/hello")));
    let body = |i| {
        let head = request("POST", "/upload", &[("content-length", "1")]);
        [frame(HEADERS, END_HEADERS, id(i), &head), frame(DATA, 0, id(i), b"two")].concat()
    };
    calms(&server, "more content than announced", 10_000, body);
}

#[test]
fn row_42_continuation_flood() {
    let server = app("");
    for (what, piece) in [("empty", &b""[..]), ("with fields", b"\0\x01a\x01b")] {
        let mut begun = false;
        calms(&server, what, 10_000, |_| {
            let next = frame(CONTINUATION, 0, 1, piece);
            let first = frame(HEADERS, 0, 1, &request("GET", "/hello", &[]));
            if std::mem::replace(&mut begun, true) { next } else { [first, next].concat() }
        });
    }
    // A block that never ends is cut off after the time allowed for a head.
    let server = app("header_timeout=300");
    let mut client = connect(&server);
    client.polite = false;
    client.send(frame(HEADERS, 0, 1, b"\x82"));
    assert_eq!(client.end(), Some(ENHANCE_YOUR_CALM), "no end");
}

/// A block that inserts a large field and then refers to it as often as a frame holds.
fn bomb() -> Vec<u8> {
    let value = "x".repeat(4000 - 32);
    let mut insert = [&[0x40, 1, b'b'][..], &integer(0, 7, value.len()), value.as_bytes()].concat();
    insert.resize(16_000, 0x80 | 62);
    [&request("GET", "/hello", &[])[..], &insert].concat()
}

#[test]
fn row_43_header_bombs() {
    let server = app("");
    let watch = Watch::new(&server, "/hello");
    watch.during(CAP, || {
        let mut client = connect(&server);
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb()));
        assert_eq!(client.answer(1).status(), 431);
        // Crumbs that hold no cookie count one by one, with 32 for each.
        let crumbs = vec![0x80 | 32; 10_000];
        let head = [request("GET", "/hello", &[]), crumbs].concat();
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, &head));
        assert_eq!(client.answer(3).status(), 431);
        client.next_id = 5;
        assert_eq!(client.get("/hello").status(), 200);
    });
    calms(&server, "bombs", 1000, |i| {
        let refs = vec![0x80 | 32; 2000];
        let head = [request("GET", "/hello", &[]), refs].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, id(i), &head)
    });
}

#[test]
fn row_43_streams_left_without_window() {
    let server = app("h2_stall_timeout=500");
    let watch = Watch::new(&server, "/hello");
    watch.during(CAP, || {
        let mut client = H2::with(server.at("h2c"), &[(4, 0)]);
        let asked: Vec<u32> = (0..100).map(|_| client.id()).collect();
        let start = Instant::now();
        client.send(asked.iter().flat_map(|id| get(*id, "/big")).collect::<Vec<_>>());
        // All are let go, or the connection is.
        let gone = |c: &mut H2| {
            !c.goaways.is_empty()
                || asked.iter().all(|id| c.streams.get(id).is_some_and(|s| s.reset.is_some()))
        };
        client.until("the stalled streams are reaped", gone);
        assert!(start.elapsed() > Duration::from_millis(400), "not at once");
    });
    // The same holds for the connection's window.
    let mut client = H2::with(server.at("h2c"), &[(4, 1 << 30)]);
    client.refill = false;
    client.send([get(1, "/big"), get(3, "/big")].concat());
    client.until("they are reaped", |c| {
        !c.goaways.is_empty()
            || [1, 3].iter().all(|id| c.streams.get(id).is_some_and(|s| s.reset.is_some()))
    });
}

#[test]
fn row_44_floods_of_little() {
    let server = app("");
    let start = frame(HEADERS, END_HEADERS, 1, &request("POST", "/drain/0", &[]));
    let after = |i: usize, bytes: Vec<u8>| {
        if i == 0 { [start.clone(), bytes].concat() } else { bytes }
    };
    calms(&server, "empty DATA", 10_000, |i| after(i, frame(DATA, 0, 1, b"")));
    calms(&server, "DATA of padding", 10_000, |i| after(i, frame(DATA, PADDED, 1, &[0])));
    calms(&server, "headers without names", 10_000, |i| {
        let head = [request("GET", "/hello", &[]), literal("", "")].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, id(i), &head)
    });
    calms(&server, "priorities", 10_000, |i| {
        let on = id(i + 7) & 0xff;
        frame(PRIORITY, 0, id(i) & 0x7f, &[&(on | 0x101).to_be_bytes()[..], &[9]].concat())
    });
    calms(&server, "PRIORITY_UPDATE", 10_000, |i| {
        frame(PRIORITY_UPDATE, 0, 0, &[&id(i % 50).to_be_bytes()[..], b"u=1"].concat())
    });
    calms(&server, "frames of no known type", 10_000, |_| frame(0xbb, 0, 0, b""));
    calms(&server, "windows of one octet", 20_000, |i| match i {
        0 => [settings(&[(4, 0)]), get(1, "/big")].concat(),
        _ => window_update(1, 1),
    });
    // Bodies an octet at a time are no crime in themselves, but a million of them are.
    calms(&server, "DATA of an octet", 60_000, |i| after(i, frame(DATA, 0, 1, b"x")));
}

#[test]
fn row_45_floods_that_want_answers() {
    let server = app("");
    calms(&server, "PING", 20_000, |_| frame(PING, 0, 0, b"12345678"));
    calms(&server, "SETTINGS", 10_000, |_| settings(&[]));
    calms(&server, "large SETTINGS", 200, |_| settings(&[(0x7777, 1); 2000]));
    calms(&server, "resets", 10_000, |i| frame(HEADERS, END_HEADERS, id(i), &block(&[("A", "")])));
    // A peer that reads nothing: what waits for it has a bound. The budgets are out of the way.
    let server = app("rate_grace=1000,write_rate=100000");
    Watch::new(&server, "/hello").during(CAP, || {
        let mut client = connect(&server);
        client.send([settings(&[(4, 1 << 30)]), window_update(0, 1 << 30)].concat());
        for _ in 0..100 {
            let id = client.id();
            client.send(get(id, "/big"));
        }
        let start = Instant::now();
        while client.try_send(frame(PING, 0, 0, b"12345678")).is_ok() {
            assert!(start.elapsed() < harness::PATIENCE, "it is closed");
            thread::sleep(Duration::from_millis(20));
        }
    });
}

#[test]
fn row_52_more_streams_than_allowed() {
    let server = app("");
    watched(&server, || {
        let mut client = connect(&server);
        let asked: Vec<u32> = (0..101).map(|_| client.id()).collect();
        client.send(asked.iter().flat_map(|id| get(*id, "/asked/500")).collect::<Vec<_>>());
        assert_eq!(client.answer(asked[100]).reset, Some(REFUSED_STREAM));
        assert!(client.answers(&asked[..100]).iter().all(|answer| answer.text() == "asked"));
        // It was not begun, so that asking again is safe, and is answered.
        assert_eq!(counted(&server), 100);
        assert_eq!(client.get("/asked/0").text(), "asked");
    });
    calms(&server, "without end", 20_000, |i| get(id(i), "/slow/60000"));
}

/// The `n`th piece of a flood.
type Piece<'a> = &'a dyn Fn(usize) -> Vec<u8>;

/// Opens the window of a hundred streams by one octet each, again and again, and waits for the
/// octets in between: updates of one stream that come together would be one larger window. The code
/// that the connection ended with.
fn dribble(client: &mut H2) -> Option<u32> {
    let ids: Vec<u32> = (0..100).map(id).collect();
    client.refill = false;
    client.send(ids.iter().flat_map(|id| get(*id, "/big")).collect::<Vec<_>>());
    let updates: Vec<u8> = ids.iter().flat_map(|id| window_update(*id, 1)).collect();
    for _ in 0..100 {
        let Ok(()) = client.try_send(&updates) else { break };
        let mut octets = 0;
        while octets < ids.len() {
            match client.next() {
                Some(next) if next.kind == DATA => octets += next.payload.len(),
                Some(_) => {}
                None => return client.end(),
            }
        }
    }
    client.end()
}

/// Rows 40 to 45: whatever it is that a connection does too much of, the metrics count it by name.
#[test]
fn rows_40_to_45_every_budget_has_its_counter() {
    let server = Process::app_measured("h2_stall_timeout=300");
    let open = frame(HEADERS, END_HEADERS, 1, &request("POST", "/drain/0", &[]));
    let after = |i: usize, bytes: Vec<u8>| {
        if i == 0 { [open.clone(), bytes].concat() } else { bytes }
    };
    let slow = |i: usize, more: Vec<u8>| [get(id(i), "/slow/60000"), more].concat();
    let many = [request("GET", "/hello", &[]), vec![0x80 | 32; 2000]].concat();
    let nobody = &0_u32.to_be_bytes()[..];
    let floods: [(&str, usize, Piece<'_>); 11] = [
        ("reset", 10_000, &|i| slow(i, reset(id(i), CANCEL))),
        ("provoked", 10_000, &|i| slow(i, window_update(id(i), 0))),
        ("refused", 20_000, &|i| slow(i, Vec::new())),
        ("empty", 10_000, &|i| after(i, frame(DATA, 0, 1, b""))),
        ("tiny", 60_000, &|i| after(i, frame(DATA, 0, 1, b"x"))),
        ("settings", 10_000, &|_| settings(&[])),
        ("ping", 20_000, &|_| frame(PING, 0, 0, b"12345678")),
        ("priority", 20_000, &|_| frame(PRIORITY, 0, 9, &[nobody, &[15]].concat())),
        ("window_update", 40_000, &|_| window_update(0, 1)),
        ("oversize", 1000, &|i| frame(HEADERS, END_HEADERS | END_STREAM, id(i), &many)),
        ("unknown", 10_000, &|_| frame(0xbb, 0, 0, b"")),
    ];
    let count =
        |kind: &str| server.metric(&format!("ringway_h2_glitches_total{{kind=\"{kind}\"}}"));
    for (goaways, (kind, most, piece)) in (1..).zip(floods) {
        let before = count(kind);
        let code = flood(&mut H2::connect(server.http()), most, piece);
        assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{kind}");
        eventually("it is counted", || server.metric("ringway_goaway_total") == goaways);
        assert!(count(kind) > before, "{kind}");
    }
    assert_eq!(dribble(&mut H2::with(server.http(), &[(4, 0)])), Some(ENHANCE_YOUR_CALM));
    eventually("it is counted", || count("dribble") > 0);
    // Left without window, a response is given up; that is not yet a crime.
    let mut client = H2::with(server.http(), &[(4, 0)]);
    client.send(get(1, "/big"));
    assert!(client.answer(1).reset.is_some());
    eventually("it is counted", || count("stalled") == 1);
}
