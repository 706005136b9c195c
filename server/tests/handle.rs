//! The server handle inside a program: clones, bound addresses, stopping (row P7).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::{PATIENCE, eventually};
use ringway::config::Limits;
use ringway::{
    Bound, Error, OwnedRequest, Request, Response, Router, Scheme, Server, ServerHandle, oneshot,
};

/// An app with an answer that takes `slow`, which signals when it has begun.
fn app(slow: Duration) -> (Router, mpsc::Receiver<()>) {
    let (begins, begun) = mpsc::channel();
    let app = Router::new().get("/", |_: &Request<'_>| Response::text("hello")).get(
        "/slow",
        move |_: OwnedRequest| {
            begins.send(()).unwrap();
            async move {
                ringway::sleep(slow).await;
                Response::text("slow")
            }
        },
    );
    (app, begun)
}

/// A free port, for a server whose handle the test does not hold.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn p7_it_says_where_it_listens() {
    let (app, _) = app(Duration::ZERO);
    let server = Server::new(app).workers(1).http("127.0.0.1:0").h2c("127.0.0.1:0");
    let server = server.http("unix:@ringway-p7").start().unwrap();
    let all = server.local_addrs();
    let schemes: Vec<_> = all.iter().map(|(scheme, _)| *scheme).collect();
    assert_eq!(schemes, [Scheme::Http, Scheme::H2c, Scheme::Http]);
    assert_eq!(all[2].1, Bound::Unix("@ringway-p7".into()));
    let http = server.local_addr(Scheme::Http).unwrap();
    assert_eq!(all[0].1, Bound::Ip(http));
    assert_eq!(server.local_addr(Scheme::Https), None);
    assert_eq!(Client::connect(http).get("/").text(), "hello");
    server.stop();
    server.join().unwrap();
}

#[test]
fn p7_any_clone_drains_while_others_wait_for_the_end() {
    let (app, begun) = app(Duration::from_millis(300));
    let server = Server::new(app).workers(2).http("127.0.0.1:0").start().unwrap();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let server = server.clone();
            std::thread::spawn(move || server.join())
        })
        .collect();
    let mut client = Client::connect(server.local_addr(Scheme::Http).unwrap());
    client.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    begun.recv_timeout(PATIENCE).unwrap();
    assert!(!server.is_finished());
    server.clone().drain();
    let answer = client.response("GET");
    assert_eq!((answer.text(), answer.says_close()), ("slow", true));
    waiting.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
    assert!(server.is_finished());
    server.join().unwrap();
}

#[test]
fn p7_run_until_serves_until_the_future_is_done_and_then_drains() {
    let (app, begun) = app(Duration::from_millis(300));
    let address = free();
    let (stop, stopped) = oneshot();
    let server = Server::new(app).workers(1).http(address.to_string());
    let running = std::thread::spawn(move || server.run_until(stopped));
    eventually("it listens", || TcpStream::connect(address).is_ok());
    let mut client = Client::connect(address);
    assert_eq!(client.get("/").text(), "hello");
    client.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    begun.recv_timeout(PATIENCE).unwrap();
    stop.send(()).unwrap();
    assert_eq!(client.response("GET").text(), "slow");
    running.join().unwrap().unwrap();
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn p7_run_until_drains_with_the_patience_of_the_configuration() {
    let (app, begun) = app(PATIENCE);
    let address = free();
    let (stop, stopped) = oneshot();
    let limits = Limits { drain_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = Server::new(app).workers(1).limits(limits).http(address.to_string());
    let running = std::thread::spawn(move || server.run_until(stopped));
    eventually("it listens", || TcpStream::connect(address).is_ok());
    let mut client = Client::connect(address);
    client.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    begun.recv_timeout(PATIENCE).unwrap();
    let start = Instant::now();
    stop.send(()).unwrap();
    assert!(client.rest().is_empty());
    running.join().unwrap().unwrap();
    let taken = start.elapsed();
    assert!(taken >= Duration::from_millis(90) && taken < PATIENCE / 2, "{taken:?}");
}

/// What a panic carries, and cannot be dropped without another one, which ends the worker.
struct Sticky;

impl Drop for Sticky {
    fn drop(&mut self) {
        panic!("a test's own panic");
    }
}

#[test]
fn p7_a_lost_worker_ends_run_until_and_every_clone_is_told() {
    let app =
        || Router::new().get("/", |_: &Request<'_>| -> Response { std::panic::panic_any(Sticky) });
    let lose = |address: SocketAddr| {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        client
    };
    let failed = |result: Result<(), Error>| {
        assert_eq!(result.unwrap_err().to_string(), "a worker failed: it panicked");
    };
    let address = free();
    let server = Server::new(app()).workers(2).http(address.to_string());
    let running = std::thread::spawn(move || server.run_until(std::future::pending::<()>()));
    eventually("it listens", || TcpStream::connect(address).is_ok());
    let _client = lose(address);
    failed(running.join().unwrap());

    let server = Server::new(app()).workers(1).http("127.0.0.1:0").start().unwrap();
    let _client = lose(server.local_addr(Scheme::Http).unwrap());
    let clone: ServerHandle = server.clone();
    failed(server.join());
    failed(clone.join());
}

#[test]
fn p7_a_worker_does_not_wait_for_itself() {
    let (tell, told) = mpsc::channel::<ServerHandle>();
    let told = std::sync::Mutex::new(told);
    let app = Router::new().get("/", move |_: &Request<'_>| {
        told.lock().unwrap().recv().unwrap().join().unwrap();
        Response::text("not reached")
    });
    let server = Server::new(app).workers(1).http("127.0.0.1:0").start().unwrap();
    tell.send(server.clone()).unwrap();
    let mut client = Client::connect(server.local_addr(Scheme::Http).unwrap());
    assert_eq!(client.get("/").status, 500);
    server.stop();
    server.join().unwrap();
}

/// The handler is replaced on open connections; what had begun ends as it began.
#[test]
fn p7_another_handler_answers_the_requests_from_then_on() {
    let (old, begun) = app(Duration::from_millis(300));
    let server = Server::new(old).workers(2).http("127.0.0.1:0").start().unwrap();
    let address = server.local_addr(Scheme::Http).unwrap();
    let mut open: Vec<_> = (0..8).map(|_| Client::connect(address)).collect();
    open.iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "hello"));
    let mut slow = Client::connect(address);
    slow.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    begun.recv_timeout(PATIENCE).unwrap();
    let new = Router::new().get("/", |_: &Request<'_>| Response::text("new"));
    server.replace(new).wait(PATIENCE).unwrap();
    open.iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "new"));
    assert_eq!(slow.response("GET").text(), "slow");
    assert_eq!(slow.get("/slow").status, 404, "no longer there");
    server.stop();
    server.join().unwrap();
    server.replace(Router::new()).wait(Duration::ZERO).unwrap();
}

#[test]
fn p7_a_worker_that_does_not_listen_is_named() {
    let (goes_on, waits) = mpsc::channel::<()>();
    let waits = std::sync::Mutex::new(waits);
    let (begins, begun) = mpsc::channel();
    let app = Router::new().get("/stuck", move |_: &Request<'_>| {
        begins.send(()).unwrap();
        waits.lock().unwrap().recv().unwrap();
        Response::text("at last")
    });
    let server = Server::new(app).workers(1).http("127.0.0.1:0").start().unwrap();
    let mut client = Client::connect(server.local_addr(Scheme::Http).unwrap());
    client.send("GET /stuck HTTP/1.1\r\nHost: test\r\n\r\n");
    begun.recv_timeout(PATIENCE).unwrap();
    let given = server.replace(Router::new());
    let late = given.wait(Duration::from_millis(20)).unwrap_err();
    assert_eq!(late.to_string(), "worker 0 held up by a handler");
    goes_on.send(()).unwrap();
    given.wait(PATIENCE).unwrap();
    assert_eq!(client.response("GET").text(), "at last");
    assert_eq!(client.get("/stuck").status, 404);
    server.stop();
    server.join().unwrap();
}
