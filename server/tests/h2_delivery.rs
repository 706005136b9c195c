//! HTTP/2 delivery from outside: multiplexing, priorities, push, hints. Rows C7 to C12, C27 to C29
//! and C33 of the feature list; C25 and C26 are in `h2_leaving`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::app_h2;
use harness::h2::*;
use harness::process::Process;
use harness::{TempDir, eventually};

fn app() -> Process {
    Process::app_on("http,h2c,https", "h2_pushes=10")
}

fn connect(server: &Process) -> H2 {
    H2::connect(server.at("h2c"))
}

/// Row C8 over TLS: short bodies, bodies of one record and pulled bodies, interleaved, all
/// complete. They are sealed without a prior copy.
#[test]
fn bodies_of_every_size_arrive_whole_over_tls() {
    let server = app();
    let mut client = H2::tls(server.at("https"));
    client.send([settings(&[(4, 1 << 20)]), window_update(0, 1 << 24)].concat());
    let sizes = [0, 1, 300, 2, 10, 15, 16, 17, 64, 1000, 3, 0, 16, 10, 5];
    for _ in 0..4 {
        let ask = |kib: &usize| client.ask("GET", &format!("/bytes/{kib}"), &[], b"");
        let ids: Vec<u32> = sizes.iter().map(ask).collect();
        let late = client.ask("GET", "/hints/1", &[], b"");
        for (kib, answer) in sizes.iter().zip(client.answers(&ids)) {
            assert!(answer.body == app_h2::bytes(*kib), "{kib} KiB");
        }
        assert_eq!(client.answer(late).text(), "hinted");
    }
    let id = client.ask("HEAD", "/bytes/10", &[], b"");
    let answer = client.answer(id);
    assert_eq!((answer.field("content-length"), answer.body.len()), (Some("10240"), 0));
    assert_eq!(client.get("/hello").status(), 200);
}

/// A request with a Priority field.
fn with_priority(stream: u32, path: &str, priority: &str) -> Vec<u8> {
    let head = request("GET", path, &[("priority", priority)]);
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head)
}

/// A request with RFC 7540's priority: what it depends on, and its weight.
fn dependent(stream: u32, path: &str, on: u32, weight: u16) -> Vec<u8> {
    let head = [&on.to_be_bytes()[..], &[(weight - 1) as u8], &request("GET", path, &[])].concat();
    frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, stream, &head)
}

fn priority(stream: u32, on: u32, weight: u16) -> Vec<u8> {
    frame(PRIORITY, 0, stream, &[&on.to_be_bytes()[..], &[(weight - 1) as u8]].concat())
}

/// A client that first gives no connection window, so that the order in which bodies then arrive
/// shows how the server shares it.
fn held(server: &Process, settings: &[(u16, u32)]) -> H2 {
    held_by(server, settings, "/bytes/100")
}

/// The same, with the window used up by what lies at `path`.
fn held_by(server: &Process, settings: &[(u16, u32)], path: &str) -> H2 {
    let at = server.at("h2c");
    let mut client = H2::with(at, &[settings, &[(4, 1 << 24)]].concat());
    client.refill = false;
    let id = client.ask("GET", path, &[], b"");
    client.until("the window is used up", |c| received(c) == 65_535);
    client.send(reset(id, CANCEL));
    client.streams.clear();
    client.seen.clear();
    client
}

fn received(client: &H2) -> usize {
    client.streams.values().map(|stream| stream.body.len()).sum()
}

/// Gives this much window, and waits until it is used.
fn release(client: &mut H2, octets: usize) {
    client.round_trip();
    let before = received(client);
    client.send(window_update(0, octets as u32));
    client.until("the window is used", |c| received(c) == before + octets);
}

fn got(client: &H2, stream: u32) -> f64 {
    client.streams.get(&stream).map_or(0.0, |stream| stream.body.len() as f64)
}

/// The order in which streams ended.
fn ends(client: &mut H2, ids: &[u32]) -> Vec<u32> {
    let mut order = Vec::new();
    client.until("all end", |c| {
        for id in ids {
            if !order.contains(id) && c.streams.get(id).is_some_and(|stream| stream.ended) {
                order.push(*id);
            }
        }
        order.len() == ids.len()
    });
    order
}

#[test]
fn c7_many_streams_at_once() {
    let server = Process::app_on("h2c,https", "h2_streams=256");
    for mut client in [connect(&server), H2::tls(server.at("https"))] {
        for _ in 0..40 {
            let asked: Vec<u32> = (0..250).map(|_| client.id()).collect();
            let out: Vec<_> = asked.iter().flat_map(|id| get(*id, "/user/someone")).collect();
            client.send(out);
            for answer in client.answers(&asked) {
                assert_eq!((answer.status(), answer.text()), (200, "someone"));
            }
        }
        // As many that all wait at the same time.
        let asked: Vec<u32> = (0..256).map(|_| client.id()).collect();
        client.send(asked.iter().flat_map(|id| get(*id, "/slow/300")).collect::<Vec<_>>());
        let start = Instant::now();
        assert!(client.answers(&asked).iter().all(|answer| answer.text() == "slow"));
        assert!(start.elapsed() < Duration::from_secs(30), "not one after the other");
    }
}

#[test]
fn c8_bodies_interleave() {
    let server = app();
    let mut client = held(&server, &[]);
    let ids = [11, 13, 15, 17, 19];
    client
        .send(ids.iter().flat_map(|id| with_priority(*id, "/bytes/200", "i")).collect::<Vec<_>>());
    client.round_trip();
    client.send(window_update(0, 1 << 22));
    for answer in client.answers(&ids) {
        assert!(answer.body == app_h2::bytes(200));
    }
    let data: Vec<u32> = client.seen.iter().filter(|f| f.0 == DATA).map(|f| f.1).collect();
    let switches = data.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(switches > 20, "{switches} switches in {} frames", data.len());
}

#[test]
fn c9_no_level_starves() {
    let server = app();
    let mut client = held(&server, &[]);
    // An urgent body that its handler produces slowly leaves the rest to others.
    client.send([with_priority(11, "/stream/500", "u=0"), get(13, "/bytes/100")].concat());
    client.send(window_update(0, 1 << 20));
    assert_eq!(ends(&mut client, &[11, 13]), [13, 11]);
    // Nor does a stream without window hold up others of lower urgency.
    let mut client = held(&server, &[]);
    client.send(settings(&[(4, 0)]));
    client.send([with_priority(11, "/bytes/100", "u=0"), get(13, "/bytes/10")].concat());
    client.send([window_update(13, 1 << 20), window_update(0, 1 << 20)].concat());
    assert_eq!(client.answer(13).body.len(), 10 << 10);
    // Nor do other levels starve while an urgent body never ends.
    let mut client = held(&server, &[]);
    client.send([with_priority(11, "/produce/64", "u=0, i"), get(13, "/bytes/10")].concat());
    client.refill = true;
    client.send(window_update(0, 1 << 20));
    client.answer(11);
    assert_eq!(client.answer(13).body.len(), 10 << 10);
}

#[test]
fn c10_weights_and_dependencies() {
    let server = app();
    const SHARE: usize = 1 << 20;
    let mut client = held(&server, &[]);
    client.send([dependent(11, "/bytes/4000", 0, 12), dependent(13, "/bytes/4000", 0, 4)].concat());
    release(&mut client, SHARE);
    let ratio = got(&client, 11) / got(&client, 13);
    assert!((2.7..=3.3).contains(&ratio), "12 to 4 is {ratio}");
    // In mid-flight the other way round.
    let before = (got(&client, 11), got(&client, 13));
    client.send([priority(11, 0, 4), priority(13, 0, 12)].concat());
    release(&mut client, SHARE);
    let ratio = (got(&client, 13) - before.1) / (got(&client, 11) - before.0);
    assert!((2.7..=3.3).contains(&ratio), "4 to 12 is {ratio}");
    // C depends on D: D goes first, whichever was asked first.
    let mut client = held(&server, &[]);
    client.send([dependent(13, "/bytes/100", 0, 1), dependent(15, "/bytes/100", 13, 256)].concat());
    client.round_trip();
    client.send(window_update(0, 1 << 20));
    assert_eq!(ends(&mut client, &[13, 15]), [13, 15]);
    // Exclusive: the newcomer stands between its parent and the former children.
    let mut client = held(&server, &[]);
    client.send([dependent(11, "/bytes/100", 0, 16), dependent(13, "/bytes/100", 0, 16)].concat());
    client.send(dependent(15, "/bytes/100", 0x8000_0000, 1));
    client.round_trip();
    client.send(window_update(0, 1 << 20));
    assert_eq!(ends(&mut client, &[11, 13, 15])[0], 15);
    // A client that has no use for the tree is taken at its word: one after the other.
    let mut client = held(&server, &[(9, 1)]);
    client.send([dependent(11, "/bytes/1000", 0, 4), dependent(13, "/bytes/1000", 0, 12)].concat());
    release(&mut client, SHARE / 2);
    let shares = (got(&client, 11), got(&client, 13));
    assert!(shares.0 == 0.0 || shares.1 == 0.0 || shares.0 == shares.1, "{shares:?}");
}

#[test]
fn c11_urgency_and_incremental() {
    let server = app();
    let mut client = held(&server, &[]);
    client.send(
        [
            with_priority(11, "/bytes/100", "u=5"),
            with_priority(13, "/bytes/100", "u=0"),
            get(15, "/bytes/100"),
        ]
        .concat(),
    );
    client.round_trip();
    client.send(window_update(0, 1 << 20));
    assert_eq!(ends(&mut client, &[11, 13, 15]), [13, 15, 11]);
    // Incremental ones take turns.
    let mut client = held(&server, &[]);
    client.send(
        [with_priority(11, "/bytes/500", "i"), with_priority(13, "/bytes/500", "i")].concat(),
    );
    release(&mut client, 400 << 10);
    let ratio = got(&client, 11) / got(&client, 13);
    assert!((0.8..=1.25).contains(&ratio), "{ratio}");
    // Others do not.
    let mut client = held(&server, &[]);
    client.send(
        [with_priority(11, "/bytes/500", "u=2"), with_priority(13, "/bytes/500", "u=2")].concat(),
    );
    release(&mut client, 400 << 10);
    assert!(got(&client, 11) == 0.0 || got(&client, 13) == 0.0);
    // PRIORITY_UPDATE: before the request, and in mid-flight.
    let mut client = held(&server, &[]);
    client.send(frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x0du=1"));
    client.send([with_priority(11, "/bytes/500", "u=2"), get(13, "/bytes/500")].concat());
    release(&mut client, 100 << 10);
    assert_eq!((got(&client, 11), got(&client, 13)), (0.0, 102_400.0));
    client.send(frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x0bu=0"));
    release(&mut client, 100 << 10);
    assert_eq!((got(&client, 11), got(&client, 13)), (102_400.0, 102_400.0));
    // The response's own Priority field wins over the client's.
    let mut client = held(&server, &[]);
    client.send([with_priority(11, "/reversed/100", "u=1"), get(13, "/bytes/100")].concat());
    client.round_trip();
    client.send(window_update(0, 1 << 20));
    assert_eq!(ends(&mut client, &[11, 13]), [13, 11]);
}

/// Row C11: an urgent response overtakes a large one. Only what the kernel was allowed to buffer
/// comes before it.
#[test]
fn c11_urgent_ones_overtake_what_is_queued() {
    let site = TempDir::with(&[("large.bin", &vec![b'x'; 16 << 20]), ("urgent.css", b"a{}")]);
    let overtaken = |unsent: &str| {
        let set = format!("http2.unsent_bytes={unsent}");
        let server = Process::serve(site.path(), &["--h2c", "127.0.0.1:0", "--set", set.as_str()]);
        server.wait_for("h2c");
        let mut client = H2::with(server.at("h2c"), &[(4, 1 << 30)]);
        client.send([window_update(0, 1 << 30), with_priority(1, "/large.bin", "u=5")].concat());
        client.until("the large one begins", |client| client.streams.contains_key(&1));
        // Nothing is read meanwhile: the queues fill.
        thread::sleep(Duration::from_millis(500));
        client.send(with_priority(3, "/urgent.css", "u=0"));
        let before = client.streams[&1].body.len();
        assert_eq!(client.answer(3).text(), "a{}");
        client.streams[&1].body.len() - before
    };
    let (short, long) = (overtaken("16KiB"), overtaken("1GiB"));
    println!("bytes before the urgent answer: {short} with 16 KiB unsent, {long} without a bound");
    assert!(2 * short < long);
}

/// Backpressure: a client may not send what a handler does not read, and a handler does not
/// continue to write what a client does not read.
#[test]
fn c19_handlers_and_clients_wait_for_each_other() {
    let server = app();
    let mut client = connect(&server);
    client.send(frame(HEADERS, END_HEADERS, 1, &request("POST", "/drain/1500", &[])));
    // The handler takes the first octet, and reads again a while later.
    client.send(frame(DATA, 0, 1, b"x"));
    eventually("the handler reads", || server.client().get("/running").text() == "1");
    client.round_trip();
    let more = harness::pattern(65_534);
    client.send(more.chunks(16_384).flat_map(|part| frame(DATA, 0, 1, part)).collect::<Vec<_>>());
    client.round_trip();
    let opened = |c: &mut H2| c.seen.iter().any(|seen| (seen.0, seen.1) == (WINDOW_UPDATE, 1));
    assert!(!opened(&mut client), "the window stays shut");
    client.until("it opens again", opened);
    client.send(frame(DATA, END_STREAM, 1, b""));
    assert_eq!(client.answer(1).text(), "65535");
    // The other way: 64 MiB are not made for a client that has taken 64 KiB.
    let resident = server.resident();
    let mut client = connect(&server);
    client.refill = false;
    client.ask("GET", "/produce/64", &[], b"");
    client.until("its window is used up", |c| received(c) == 65_535);
    client.round_trip();
    assert_eq!(server.client().get("/running").text(), "1");
    let grown = server.resident().saturating_sub(resident);
    assert!(grown < 4 << 20, "{grown} octets are held");
}

#[test]
fn c12_style_sheets_before_images() {
    let server = app();
    let mut client = held(&server, &[]);
    client.send([get(11, "/png/100"), get(13, "/bytes/100"), get(15, "/css/100")].concat());
    client.round_trip();
    client.send(window_update(0, 1 << 20));
    let order = ends(&mut client, &[11, 13, 15]);
    let place = |id| order.iter().position(|other| *other == id).unwrap();
    assert!(place(15) < place(11), "{order:?}");
    // Files as well: their types are among their fields.
    let big = app_h2::bytes(100);
    let site = TempDir::with(&[("a.png", &big), ("b.css", &big), ("c.bin", &big)]);
    let files = Process::serve(site.path(), &["--h2c", "127.0.0.1:0"]);
    files.wait_for("h2c");
    let mut client = held_by(&files, &[], "/c.bin");
    client.send([get(11, "/a.png"), get(13, "/b.css")].concat());
    // Files are read from the disk first.
    client.until("both heads", |c| [11, 13].iter().all(|id| c.streams.contains_key(id)));
    client.send(window_update(0, 1 << 20));
    assert_eq!(ends(&mut client, &[11, 13]), [13, 11]);
    // What the client says counts for more.
    let mut client = held(&server, &[]);
    client.send(
        [with_priority(11, "/png/100", "u=1"), with_priority(13, "/css/100", "u=4")].concat(),
    );
    client.round_trip();
    client.send(window_update(0, 1 << 20));
    assert_eq!(ends(&mut client, &[11, 13]), [11, 13]);
}

#[test]
fn c27_c28_push() {
    let server = app();
    for (kind, mut client) in
        [("http", H2::connect(server.at("http"))), ("https", H2::tls(server.at("https")))]
    {
        client.next_id = 3;
        let page = client.get("/pushing");
        client.until("both pushes", |c| {
            [2, 4].iter().all(|id| c.streams.get(id).is_some_and(|s| s.ended))
        });
        for (id, path, content_type) in
            [(2, "/styles.css", "text/css"), (4, "/app.js", "text/javascript")]
        {
            let pushed = &client.streams[&id];
            let asked: HashMap<_, _> = pushed.promised.clone().unwrap().into_iter().collect();
            assert_eq!((&asked[":method"][..], &asked[":path"][..]), ("GET", path));
            assert_eq!((&asked[":scheme"][..], &asked[":authority"][..]), (kind, "localhost"));
            assert_eq!(pushed.status(), 200);
            assert!(pushed.field("content-type").unwrap().starts_with(content_type));
        }
        assert!(page.text().contains("/styles.css"));
        // Promised before the body that refers to them; answered behind it.
        let order: Vec<_> = client.seen.iter().map(|(kind, stream, _)| (*kind, *stream)).collect();
        let place = |what| order.iter().position(|other| *other == what).unwrap();
        assert!(place((PUSH_PROMISE, 3)) < place((DATA, 3)), "{order:?}");
        assert!(place((DATA, 3)) < place((DATA, 2)), "{order:?}");
        // Not a second time on this connection.
        let again = client.get("/pushing");
        client.round_trip();
        assert_eq!(again.status(), 200);
        assert!(!client.streams.contains_key(&6), "pushed twice");
    }
    // ENABLE_PUSH = 0, and a server that is not configured to.
    let mut client = H2::with(server.at("h2c"), &[(2, 0)]);
    client.get("/pushing");
    client.round_trip();
    assert!(client.seen.iter().all(|(kind, ..)| *kind != PUSH_PROMISE));
    let quiet = Process::app_on("h2c", "");
    let mut client = connect(&quiet);
    client.get("/pushing");
    client.round_trip();
    assert!(client.seen.iter().all(|(kind, ..)| *kind != PUSH_PROMISE));
}

#[test]
fn c28_pushes_are_cancelled_and_come_last() {
    let server = app();
    // No window for anybody: what is requested later still goes before what was pushed.
    let mut client = held(&server, &[]);
    client.send(get(11, "/pushing"));
    client.until("two promises", |c| {
        c.seen.iter().filter(|(kind, ..)| *kind == PUSH_PROMISE).count() == 2
    });
    client.send(get(13, "/bytes/20"));
    client.send(reset(4, CANCEL));
    client.round_trip();
    client.send(window_update(0, 1 << 20));
    assert_eq!(ends(&mut client, &[2, 11, 13]).last(), Some(&2));
    client.round_trip();
    assert!(client.streams[&4].body.is_empty(), "a push that was refused");
    client.next_id = 21;
    assert_eq!(client.get("/hello").status(), 200);
}

#[test]
fn c29_early_hints() {
    let server = app();
    let hint = ("link".to_string(), "</styles.css>; rel=preload; as=style".to_string());
    let at = |kind| server.at(kind);
    for mut client in [H2::connect(at("h2c")), H2::tls(at("https"))] {
        let id = client.ask("GET", "/hints/400", &[], b"");
        client.until_frame("a head", |f| f.kind == HEADERS);
        let early = Instant::now();
        assert_eq!(client.streams[&id].heads[0], [(":status".into(), "103".into()), hint.clone()]);
        let answer = client.answer(id);
        assert!(early.elapsed() > Duration::from_millis(200), "ahead of the answer");
        assert_eq!((answer.status(), answer.text()), (200, "hinted"));
    }
    // HTTP/1.1 as well, HTTP/1.0 not.
    let mut client = server.client();
    client.send("GET /hints/400 HTTP/1.1\r\nHost: test\r\n\r\n");
    let hints = client.any_response("GET");
    assert_eq!((hints.status, hints.field("link")), (103, Some(&hint.1[..])));
    let early = Instant::now();
    assert_eq!(client.any_response("GET").status, 200);
    assert!(early.elapsed() > Duration::from_millis(200), "ahead of the answer");
    let mut client = server.client();
    client.send("GET /hints/50 HTTP/1.0\r\n\r\n");
    assert_eq!(client.any_response("GET").status, 200);
}

#[test]
fn c33_an_authority_of_another_certificate_is_misdirected() {
    let server = app();
    let mut client = H2::tls(server.at("https"));
    let ask = |client: &mut H2, authority: &str| {
        let id = client.id();
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/hello"),
            (":authority", authority),
        ];
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, id, &block(&fields)));
        client.answer(id).status()
    };
    assert_eq!(ask(&mut client, "localhost"), 200);
    assert_eq!(ask(&mut client, "other.example"), 421);
    assert_eq!(ask(&mut client, "LOCALHOST:8443"), 200);
}

#[test]
fn c7_a_slow_client_does_not_hold_up_the_worker() {
    let server = app();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // It asks for much and reads nothing.
            let mut client = connect(&server);
            client.send(window_update(0, 1 << 30));
            client.send(settings(&[(4, 1 << 30)]));
            for _ in 0..20 {
                let id = client.id();
                client.send(get(id, "/big"));
            }
            while !stop.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(5));
            }
        });
        let mut client = connect(&server);
        for _ in 0..200 {
            assert_eq!(client.get("/hello").text(), "hello");
        }
        stop.store(true, Ordering::Relaxed);
    });
}
