//! No heap allocation per request once a connection is warm. A counting allocator wraps the server,
//! which gets thousands of requests of every keep-alive shape.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use harness::client::Client;
use harness::process::Process;
use ringway::layer::Next;
use ringway::{Body, Files, Reply, Request, Response, Router, Server};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: asks of its caller what `System` asks.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: asks of its caller what `System` asks.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    // SAFETY: asks of its caller what `System` asks.
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(at, layout, len) }
    }

    // SAFETY: asks of its caller what `System` asks.
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
#[ignore = "not a test: the server that the tests of this file start"]
fn counted_server() {
    let router = Router::new()
        .get("/hello", |_: &Request<'_>| Response::text("hello"))
        .any("/sum", |request: &Request<'_>| {
            let body = std::str::from_utf8(request.body()).unwrap_or_default();
            let query = request.query_string().unwrap_or_default();
            Response::text(Body::display(query.len() + body.len()))
        })
        .get("/user/{name}", |request: &Request<'_>| {
            Response::text(Body::display(request.param("name").map_or(0, str::len)))
        })
        .get("/allocations", |_: &Request<'_>| {
            Response::text(Body::display(ALLOCATIONS.load(Ordering::Relaxed)))
        })
        .any("/files/*", files())
        .nest("/layered", layered());
    Server::new(router).http("127.0.0.1:0").workers(1).run().unwrap();
}

/// A cached file is compared with the disk ten times a second, by a future that allocates. This
/// disables that check, so that only requests are counted.
fn files() -> Files {
    let directory = std::env::var("RINGWAY_TEST_FILES").unwrap();
    Files::new(directory).prefix("/files").fresh_for(std::time::Duration::from_secs(3600))
}

/// Three layers that look at the request and at the answer.
fn layered() -> Router {
    let looks = |request: &Request<'_>, next: Next<'_>| -> Reply {
        let asked = request.header("x-not-there").is_some();
        next.run(request).map(move |response| if asked { response.push("/") } else { response })
    };
    let hello = |_: &Request<'_>| Response::text("hello");
    Router::new().get("/{name}", hello).layer(looks).layer(looks).layer(looks)
}

fn allocations(client: &mut Client) -> u64 {
    client.get("/allocations").text().parse().unwrap()
}

#[test]
fn a_warm_connection_allocates_nothing() {
    let large = vec![b'l'; 100_000];
    let files: [(&str, &[u8]); 2] =
        [("small.html", b"<!doctype html>small"), ("large.html", &large)];
    let site = harness::TempDir::with(&files);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["counted_server", "--exact", "--ignored", "--nocapture"]);
    let server = Process::start(command.env("RINGWAY_TEST_FILES", site.path()));
    let get = "GET /hello HTTP/1.1\r\nHost: test\r\n\r\n".to_owned();
    let browser = format!(
        "GET /sum?a=13&b=42 HTTP/1.1\r\nHost: test\r\nUser-Agent: {}\r\nAccept: */*\r\n\
         Accept-Encoding: gzip, br\r\nCookie: {}\r\n\r\n",
        "Mozilla/5.0 ".repeat(8),
        "session=0123456789; ".repeat(20)
    );
    let length = "POST /sum HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello".to_owned();
    let chunked = "POST /sum HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n0\r\n\r\n";
    let shapes = [
        ("a plain GET", get.clone(), 1),
        ("a browser's GET", browser, 1),
        ("a parameter", "GET /user/me HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(), 1),
        ("three layers", "GET /layered/x HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(), 1),
        ("pipelined 16 deep", get.repeat(16), 16),
        ("a body with its length", length.clone(), 1),
        ("bodies, pipelined", length.repeat(16), 16),
        ("a chunked body", chunked.to_owned(), 1),
        ("a cached file", "GET /files/small.html HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(), 1),
        (
            "a cached file sent from where it lies",
            "GET /files/large.html HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(),
            1,
        ),
        (
            "a cached file that has not changed",
            "GET /files/small.html HTTP/1.1\r\nHost: test\r\nIf-None-Match: *\r\n\r\n".to_owned(),
            1,
        ),
        ("nothing there", "GET /nothing HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(), 1),
    ];
    let mut client = server.client();
    let mut wrong = Vec::new();
    for (what, request, replies) in shapes {
        let ask = |client: &mut Client, times: usize| {
            for _ in 0..times {
                client.send(&request);
                for _ in 0..replies {
                    client.response("GET");
                }
            }
        };
        ask(&mut client, 300);
        allocations(&mut client);
        let before = allocations(&mut client);
        ask(&mut client, 2000);
        let made = allocations(&mut client) - before;
        println!("{what}: {made} allocations in {} requests", 2000 * replies);
        if made > 0 {
            wrong.push(format!("{what}: {made} allocations in {} requests", 2000 * replies));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
