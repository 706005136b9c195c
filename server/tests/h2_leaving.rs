//! How HTTP/2 ends, from outside: drains without a lost request, and cancelled answers. Rows C25
//! and C26 of the feature list.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use harness::app_h2;
use harness::eventually;
use harness::h2::*;
use harness::process::Process;

fn app() -> Process {
    Process::app_on("http,h2c,https", "")
}

fn connect(server: &Process) -> H2 {
    H2::connect(server.at("h2c"))
}

/// Result of a retrying client during a drain: numbers of requests, answers and connections.
struct Retrying {
    answered: usize,
    refused: usize,
    goaways: Vec<u32>,
}

/// Sends requests until the connection ends, always twenty at once.
fn load(server: &Process, tls: bool, busy: &AtomicUsize) -> Retrying {
    let at = server.at(if tls { "https" } else { "h2c" });
    let mut client = if tls { H2::tls(at) } else { H2::connect(at) };
    let (mut open, mut answered) = (HashMap::new(), 0);
    let mut leaving = false;
    loop {
        while open.len() < 20 && !leaving {
            let id = client.id();
            let path = if id % 3 == 0 { "/slow/20" } else { "/hello" };
            client.send(get(id, path));
            open.insert(id, path);
        }
        let Some(next) = client.next() else { break };
        leaving |= next.kind == GOAWAY;
        let done: Vec<u32> = open
            .keys()
            .copied()
            .filter(|id| client.streams.get(id).is_some_and(|stream| stream.ended))
            .collect();
        for id in done {
            assert_eq!(client.streams[&id].status(), 200);
            open.remove(&id);
            answered += 1;
            busy.store(answered, Ordering::Relaxed);
        }
    }
    let goaways: Vec<u32> = client.goaways.iter().map(|frame| frame.number(0)).collect();
    let last = goaways.last().copied().expect("a GOAWAY");
    assert!(client.goaways.iter().all(|frame| frame.number(4) == NO_ERROR));
    // Every request up to the last stream id was answered; the others may be retried.
    let lost: Vec<_> = open.keys().filter(|id| **id <= last).collect();
    assert!(lost.is_empty(), "{lost:?} of at most {last} were lost");
    Retrying { answered, refused: open.len(), goaways }
}

#[test]
fn c25_leaves_without_losing_a_request() {
    let mut server = app();
    let busy = [const { AtomicUsize::new(0) }; 4];
    let results: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = busy
            .iter()
            .enumerate()
            .map(|(i, busy)| {
                let server = &server;
                scope.spawn(move || load(server, i % 2 == 1, busy))
            })
            .collect();
        eventually("all are at work", || busy.iter().all(|n| n.load(Ordering::Relaxed) > 100));
        server.signal("TERM");
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(server.wait().success());
    for result in results {
        assert_eq!(result.goaways.len(), 2, "in two steps: {:?}", result.goaways);
        assert_eq!(result.goaways[0], 0x7fff_ffff);
        assert!(result.goaways[1] < 0x7fff_ffff);
        println!("{} answered, {} to be asked again", result.answered, result.refused);
    }
}

#[test]
fn c25_an_idle_connection_is_told_and_a_slow_answer_still_comes() {
    let mut server = app();
    let (mut idle, mut slow) = (connect(&server), connect(&server));
    idle.get("/hello");
    slow.send(get(1, "/slow/800"));
    slow.round_trip();
    server.signal("TERM");
    assert_eq!(idle.end(), Some(NO_ERROR));
    assert_eq!(slow.answer(1).text(), "slow");
    assert_eq!(slow.end(), Some(NO_ERROR));
    assert_eq!(slow.goaways.last().unwrap().number(0), 1);
    assert!(server.wait().success());
}

#[test]
fn c26_cancel() {
    let server = app();
    let mut client = connect(&server);
    client.refill = false;
    let id = client.ask("GET", "/produce/64", &[], b"");
    client.until("the body flows", |c| c.streams.get(&id).is_some_and(|s| s.body.len() > 30_000));
    assert_eq!(server.client().get("/running").text(), "1");
    client.send(reset(id, CANCEL));
    client.send(window_update(0, 1 << 24));
    client.round_trip();
    let after = client.streams[&id].body.len();
    assert!(after <= 65_535, "at most a window: {after}");
    eventually("the handler is told", || server.client().get("/running").text() == "0");
    // Others go on.
    assert!(client.get("/bytes/8").body == app_h2::bytes(8));
    client.round_trip();
    assert_eq!(client.streams[&id].body.len(), after);
    // A handler that reads is told as well.
    let id = client.id();
    client.send(frame(HEADERS, END_HEADERS, id, &request("POST", "/drain/1", &[])));
    client.send(frame(DATA, 0, id, b"some"));
    eventually("the handler runs", || server.client().get("/running").text() == "1");
    client.send(reset(id, CANCEL));
    eventually("the handler is told", || server.client().get("/running").text() == "0");
}
