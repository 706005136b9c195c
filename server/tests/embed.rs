//! The library inside another program: several servers in one process, and handlers that panic.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use harness::client::Client;
use harness::h2::H2;
use harness::process::Process;
use harness::{TempDir, eventually};
use http::Method;
use ringway::{Bound, OwnedRequest, Request, RequestBody, Response, Router, Server, ServerHandle};

/// A server of this process, with one worker, and its address.
fn spawn(app: Router) -> (ServerHandle, SocketAddr) {
    let running = Server::new(app).workers(1).http("127.0.0.1:0").start().unwrap();
    let Bound::Ip(address) = running.local_addrs()[0].1 else { panic!("a TCP listener") };
    (running, address)
}

fn end(running: ServerHandle) {
    running.stop();
    running.join().unwrap();
}

/// A gate that one handler waits for and another opens.
#[derive(Default)]
struct Gate {
    open: bool,
    waiting: Option<Waker>,
}

/// Both servers have a worker 0; they must not be confused.
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

/// A router whose handlers panic in every possible way.
fn careless() -> Router {
    Router::new()
        .get("/well", |_: &Request<'_>| Response::text("well"))
        .get("/now", |_: &Request<'_>| -> Response { panic!("a test's own panic") })
        .get("/later", async |_: OwnedRequest| -> Response {
            ringway::sleep(Duration::from_millis(20)).await;
            panic!("a test's own panic")
        })
        .stream(
            Method::POST,
            "/upload",
            async |_: OwnedRequest, mut body: RequestBody| -> Response {
                body.next().await.unwrap().unwrap();
                panic!("a test's own panic")
            },
        )
        .get("/half", |_: &Request<'_>| {
            Response::stream("text/plain", async |mut out| {
                out.write("half").await.unwrap();
                ringway::sleep(Duration::from_millis(20)).await;
                panic!("a test's own panic")
            })
        })
}

/// A panic affects one request: other requests of its connection and worker continue.
#[test]
fn a_handler_that_panics_is_answered_with_500_and_ends_nothing_else() {
    let running = Server::new(careless()).workers(1).http("127.0.0.1:0").h2c("127.0.0.1:0");
    let running = running.start().unwrap();
    let [http, h2c] = [0, 1].map(|at| match running.local_addrs()[at].1 {
        Bound::Ip(address) => address,
        _ => panic!("a TCP listener"),
    });
    let mut other = Client::connect(http);
    assert_eq!(other.get("/well").text(), "well");
    let mut client = Client::connect(http);
    for path in ["/now", "/later", "/now"] {
        assert_eq!(client.get(path).status, 500, "{path}");
        assert_eq!(client.get("/well").text(), "well", "after {path}");
    }
    assert_eq!(client.request("POST", "/upload", "Content-Length: 4\r\n", b"body").status, 500);
    let mut broken = Client::connect(http);
    broken.send("GET /half HTTP/1.1\r\nHost: test\r\n\r\n");
    let got = String::from_utf8(broken.rest()).unwrap();
    assert!(got.contains("4\r\nhalf") && !got.contains("0\r\n\r\n"), "{got}");

    let mut h2 = H2::connect(h2c);
    for path in ["/now", "/later"] {
        assert_eq!(h2.get(path).status(), 500, "{path}");
    }
    let id = h2.ask("GET", "/half", &[], b"");
    assert!(h2.answer(id).reset.is_some(), "a part is not passed off as the whole");
    assert_eq!(h2.get("/well").text(), "well");
    assert_eq!(other.get("/well").text(), "well");
    end(running);
}

/// A panic that panics again when it is dropped, which nothing can hold back.
struct Sticky;

impl Drop for Sticky {
    fn drop(&mut self) {
        panic!("a test's own panic");
    }
}

/// If a worker is lost nevertheless, its clients are not left waiting.
#[test]
fn a_server_that_lost_a_worker_ends_with_an_error() {
    let scratch = TempDir::new();
    let socket = scratch.path().join("socket");
    let app = Router::new()
        .get("/sticky", |_: &Request<'_>| -> Response { std::panic::panic_any(Sticky) });
    let server = Server::new(app).workers(2).http(format!("unix:{}", socket.display()));
    let server = std::thread::spawn(move || server.run());
    eventually("it listens", || UnixStream::connect(&socket).is_ok());
    let mut client = UnixStream::connect(&socket).unwrap();
    let none = "GET /none HTTP/1.1\r\nHost: test\r\n\r\n";
    client.write_all(none.as_bytes()).unwrap();
    client.read_exact(&mut [0]).unwrap();
    client.write_all(none.replace("none", "sticky").as_bytes()).unwrap();
    let error = server.join().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "a worker failed: it panicked");
}

/// A program started in another directory finds no files and must report that.
#[test]
fn a_directory_that_is_not_there_is_told_once() {
    let dir = TempDir::with(&[]);
    let server = Process::app_with_files(&dir.path().join("missing"));
    let mut client = H2::tls(server.at("https"));
    for _ in 0..3 {
        assert_eq!(client.get("/a.txt").status(), 500);
    }
    eventually("it is told", || server.output().contains("cannot open "));
    let said = server.output();
    let told: Vec<_> = said.lines().filter(|line| line.contains("cannot open ")).collect();
    assert_eq!(told.len(), 1, "{said}");
    assert!(told[0].contains("missing, ") && told[0].contains("No such file"), "{said}");
}
