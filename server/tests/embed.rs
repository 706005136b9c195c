//! The library inside a program of somebody else: servers beside each other in one process, and
//! handlers that are not as careful as ours.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use harness::client::Client;
use harness::eventually;
use ringway::{Bound, OwnedRequest, Request, Response, Router, Running, Server};

/// A server of this process, with one worker, and its address.
fn spawn(app: Router) -> (Running, SocketAddr) {
    let running = Server::new(app).workers(1).http("127.0.0.1:0").spawn().unwrap();
    let Bound::Ip(address) = running.listeners()[0].1 else { panic!("a TCP listener") };
    (running, address)
}

fn end(running: Running) {
    running.stop();
    running.join().unwrap();
}

/// What one handler waits for and another one opens.
#[derive(Default)]
struct Gate {
    open: bool,
    waiting: Option<Waker>,
}

/// Both servers have a worker 0, which are not the same.
#[test]
fn a_handler_wakes_the_handler_of_another_server() {
    let gate = Arc::<Mutex<Gate>>::default();
    let waits = Arc::clone(&gate);
    let (first, to_first) = spawn(Router::new().get("/wait", move |_: OwnedRequest| {
        let gate = Arc::clone(&waits);
        poll_fn(move |context| {
            let mut gate = gate.lock().unwrap();
            if gate.open {
                return Poll::Ready(Response::text("through"));
            }
            gate.waiting = Some(context.waker().clone());
            Poll::Pending
        })
    }));
    let opens = Arc::clone(&gate);
    let (second, to_second) = spawn(Router::new().get("/open", move |_: &Request<'_>| {
        let mut gate = opens.lock().unwrap();
        gate.open = true;
        gate.waiting.take().unwrap().wake();
        Response::text("opened")
    }));
    let mut waiting = Client::connect(to_first);
    waiting.send("GET /wait HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("the first one waits", || gate.lock().unwrap().waiting.is_some());
    assert_eq!(Client::connect(to_second).get("/open").text(), "opened");
    assert_eq!(waiting.response("GET").text(), "through");
    end(first);
    end(second);
}
