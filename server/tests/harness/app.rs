//! The application under test, written with the public library API. It runs in a process of its
//! own, the test's executable started again, so that its memory and descriptors are its own.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use ringway::config::Limits;
use ringway::{OwnedRequest, Request, RequestBody, Response, Router, Server};

use super::{app_h2, pattern};

/// How often `/count` was called.
pub static COUNT: AtomicU64 = AtomicU64::new(0);

#[test]
#[ignore = "not a test: the server that the tests of this file start"]
fn serve() {
    let bounds = std::env::var("RINGWAY_TEST_BOUNDS").expect("started by Process::app");
    let kinds = std::env::var("RINGWAY_TEST_LISTEN").unwrap_or_else(|_| "http".into());
    let workers = bounds.split(',').find_map(|bound| bound.strip_prefix("workers="));
    let workers = workers.map_or(1, |workers| workers.parse().unwrap());
    let server = Server::new(app_h2::routes(router())).workers(workers).limits(limits(&bounds));
    let server = match std::env::var("RINGWAY_TEST_METRICS") {
        Ok(address) => server.metrics(address),
        Err(_) => server,
    };
    app_h2::listen(server, &kinds).run().unwrap();
}

/// `header_timeout=300,body_bytes=1000`: times in milliseconds, everything else as counted.
fn limits(bounds: &str) -> Limits {
    let mut limits = Limits::default();
    for bound in bounds.split(',').filter(|bound| !bound.is_empty()) {
        let (key, amount) = bound.split_once('=').unwrap();
        let amount: u64 = amount.parse().unwrap();
        let time = Duration::from_millis(amount);
        match key {
            "workers" => {}
            "header_timeout" => limits.header_timeout = time,
            "drain_timeout" => limits.drain_timeout = time,
            "idle_timeout" => limits.idle_timeout = time,
            "rate_grace" => limits.rate_grace = time,
            "body_rate" => limits.body_rate = amount,
            "write_rate" => limits.write_rate = amount,
            "body_bytes" => limits.body_bytes = amount,
            "output_bytes" => limits.output_bytes = amount as usize,
            "connections" => limits.connections = amount as u32,
            "header_fields" => limits.header_fields = amount as u16,
            "handshakes" => limits.handshakes = amount as u32,
            "handshake_timeout" => limits.handshake_timeout = time,
            "h2_streams" => limits.h2_streams = amount as u32,
            "h2_stream_window" => limits.h2_stream_window = amount as u32,
            "h2_stream_window_max" => limits.h2_stream_window_max = amount as u32,
            "h2_connection_window" => limits.h2_connection_window = amount as u32,
            "h2_frame_bytes" => limits.h2_frame_bytes = amount as u32,
            "h2_table_bytes" => limits.h2_table_bytes = amount as u32,
            "h2_pushes" => limits.h2_pushes = amount as u16,
            "h2_settings_timeout" => limits.h2_settings_timeout = time,
            "h2_ping_interval" => limits.h2_ping_interval = time,
            "h2_ping_timeout" => limits.h2_ping_timeout = time,
            "h2_stall_timeout" => limits.h2_stall_timeout = time,
            "h3_streams" => limits.h3_streams = amount as u16,
            "h3_stall_timeout" => limits.h3_stall_timeout = time,
            "h3_retry_from" => limits.h3_retry_from = amount as u32,
            "h3_fragments" => limits.h3_fragments = amount as u32,
            "h3_answers" => limits.h3_answers = amount as u32,
            _ => panic!("no such bound: {key}"),
        }
    }
    limits
}

pub fn router() -> Router {
    let big: &'static [u8] = pattern(16 << 20).leak();
    Router::new()
        .get("/hello", |_: &Request<'_>| Response::text("hello"))
        .any("/method", |request: &Request<'_>| Response::text(request.method().to_string()))
        .any("/echo", |request: &Request<'_>| Response::text(request.body().to_vec()))
        .any("/target", target)
        .any("/fields", fields)
        .any("/count", |_: &Request<'_>| {
            Response::text((COUNT.fetch_add(1, Ordering::Relaxed) + 1).to_string())
        })
        .get("/counted", |_: &Request<'_>| {
            Response::text(COUNT.load(Ordering::Relaxed).to_string())
        })
        .get("/empty", |_: &Request<'_>| Response::new(StatusCode::NO_CONTENT))
        .get("/same", |_: &Request<'_>| Response::new(StatusCode::NOT_MODIFIED))
        .get("/big", move |_: &Request<'_>| Response::typed("application/octet-stream", big))
        .get("/user/{name}", |request: &Request<'_>| {
            Response::text(request.param("name").unwrap_or("-").to_string())
        })
        .get("/slow/{ms}", slow)
        .get("/stream/{ms}", stream)
        .stream(http::Method::POST, "/upload", upload)
        .stream(http::Method::POST, "/ignore", ignore)
        .stream(http::Method::POST, "/drain/{ms}", drain)
        .get("/produce/{mib}", produce)
        .get("/running", |_: &Request<'_>| {
            Response::text(RUNNING.load(Ordering::Relaxed).to_string())
        })
}

/// What was asked for, after absolute-form and Host have been reconciled.
fn target(request: &Request<'_>) -> Response {
    let host = request.authority().unwrap_or("-");
    let (path, query) = (request.path(), request.query_string().unwrap_or("-"));
    Response::text(format!("{path} {query} {host}"))
}

fn fields(request: &Request<'_>) -> Response {
    let mut lines = Vec::new();
    for (name, value) in request.headers() {
        lines.extend_from_slice(&[name, b": ", value, b"\n"].concat());
    }
    Response::text(lines)
}

fn millis(request: &OwnedRequest) -> Duration {
    let ms = request.param("ms").and_then(|ms| ms.parse().ok());
    Duration::from_millis(ms.unwrap_or_default())
}

async fn slow(request: OwnedRequest) -> Response {
    ringway::sleep(millis(&request)).await;
    Response::text("slow")
}

/// Two pieces with a pause between them, and the pause's length behind them.
async fn stream(request: OwnedRequest) -> Response {
    let pause = millis(&request);
    Response::stream("text/plain", async move |mut out| {
        let _ = out.write("first").await;
        ringway::sleep(pause).await;
        let _ = out.write("second").await;
    })
}

/// Length and a checksum that depends on order, counted while the body streams.
async fn upload(_: OwnedRequest, mut body: RequestBody) -> Response {
    let (mut len, mut sum) = (0_u64, 0_u64);
    while let Some(chunk) = body.next().await {
        let Ok(chunk) = chunk else { return StatusCode::BAD_REQUEST.into() };
        for &byte in chunk.iter() {
            sum = sum.rotate_left(5) ^ u64::from(byte);
        }
        len += chunk.len() as u64;
    }
    Response::text(format!("{len} {sum:016x}"))
}

/// The checksum of `/upload`.
pub fn checksum(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(0_u64, |sum, &byte| sum.rotate_left(5) ^ u64::from(byte));
    format!("{} {sum:016x}", bytes.len())
}

/// Counts a body's bytes, with a pause after each piece.
async fn drain(request: OwnedRequest, mut body: RequestBody) -> Response {
    let _running = Running::new();
    let (pause, mut len) = (millis(&request), 0_u64);
    while let Some(chunk) = body.next().await {
        let Ok(chunk) = chunk else { return StatusCode::BAD_REQUEST.into() };
        len += chunk.len() as u64;
        if !pause.is_zero() {
            ringway::sleep(pause).await;
        }
    }
    Response::text(len.to_string())
}

/// So many MiB, written piece by piece.
async fn produce(request: OwnedRequest) -> Response {
    let mib: usize = request.param("mib").and_then(|mib| mib.parse().ok()).unwrap_or_default();
    Response::stream("application/octet-stream", async move |mut out| {
        let _running = Running::new();
        let piece: Rc<[u8]> = Rc::from(vec![b'p'; 64 * 1024]);
        for _ in 0..mib * 16 {
            if out.write(Rc::clone(&piece)).await.is_err() {
                return;
            }
        }
    })
}

/// How many streaming handlers are at work.
static RUNNING: AtomicU64 = AtomicU64::new(0);

struct Running;

impl Running {
    fn new() -> Self {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers without ever looking at the body.
async fn ignore(_: OwnedRequest, _: RequestBody) -> Response {
    Response::text("ignored")
}
