//! Export to an OpenTelemetry collector: traces continued as W3C Trace Context says, metrics, and
//! collectors that are gone, hang or refuse. Rows L30 and 151.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::client::Client;
use harness::h2::H2;
use harness::process::Process;
use harness::{TempDir, eventually, missing};
use ringway::config::Limits;
use ringway::{OwnedRequest, Request, Response, Router, Scheme, Server, ServerHandle};
use serde_json::Value;

/// The signal and the body of a request.
type Export = (String, Vec<u8>);

/// A collector that keeps what it is sent, and answers with a status that can be changed.
struct Collector {
    address: SocketAddr,
    /// Those that were answered with 200.
    taken: Arc<Mutex<Vec<Export>>>,
    asked: Arc<AtomicU16>,
    status: Arc<AtomicU16>,
    over: Arc<AtomicBool>,
}

impl Collector {
    fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap())
    }

    fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let this = Self {
            address: listener.local_addr().unwrap(),
            taken: Arc::default(),
            asked: Arc::default(),
            status: Arc::new(AtomicU16::new(200)),
            over: Arc::default(),
        };
        let (taken, asked) = (Arc::clone(&this.taken), Arc::clone(&this.asked));
        let (status, over) = (Arc::clone(&this.status), Arc::clone(&this.over));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let status = status.load(Ordering::Relaxed);
                let Some(request) = answer(stream.unwrap(), status) else { continue };
                asked.fetch_add(1, Ordering::Relaxed);
                if status == 200 {
                    taken.lock().unwrap().push(request);
                }
            }
        });
        this
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn bodies(&self, signal: &str) -> Vec<Value> {
        let taken = self.taken.lock().unwrap();
        let of = taken.iter().filter(|(of, _)| of == signal);
        of.map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }

    /// The spans that came.
    fn spans(&self) -> Vec<Value> {
        let bodies = self.bodies("traces");
        let of = |body: &Value| body["resourceSpans"][0]["scopeSpans"][0]["spans"].clone();
        bodies.iter().flat_map(|body| of(body).as_array().unwrap().clone()).collect()
    }

    fn await_spans(&self, wanted: usize) -> Vec<Value> {
        eventually("the spans come", || self.spans().len() >= wanted);
        self.spans()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Answers a request; the signal that its path names, and its body.
fn answer(stream: TcpStream, status: u16) -> Option<Export> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).ok()?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "content-type" => assert_eq!(value.trim(), "application/json"),
            "\r\n" => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let signal = first.strip_prefix("POST /v1/")?.split(' ').next()?.to_owned();
    // In chunks, as servers like to.
    let text = format!(
        "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\n{{}}\r\n0\r\n\r\n"
    );
    reader.get_mut().write_all(text.as_bytes()).ok()?;
    Some((signal, body))
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn app() -> Router {
    let context = |request: &Request<'_>| match request.trace_context() {
        Some(context) => Response::text(format!("{context} {}", context.state())),
        None => Response::text("none"),
    };
    Router::new()
        .get("/context", context)
        .get("/later", async |request: OwnedRequest| {
            ringway::sleep(Duration::from_millis(50)).await;
            Response::text(request.trace_context().unwrap().to_string())
        })
        .get("/slowly", |_: &Request<'_>| {
            Response::stream("text/plain", async |mut out| {
                for _ in 0..3 {
                    ringway::sleep(Duration::from_millis(50)).await;
                    let _ = out.write("piece").await;
                }
            })
        })
        .get("/panics", |_: &Request<'_>| -> Response { panic!("on purpose") })
        .get("/never", async |_: OwnedRequest| -> Response { std::future::pending().await })
}

fn start(collector: &Collector, limits: Limits) -> (ServerHandle, SocketAddr) {
    let limits = Limits { otlp_interval: Duration::from_millis(200), ..limits };
    let server = Server::new(app()).http("127.0.0.1:0").workers(1).limits(limits);
    let running = server.otlp(collector.url()).start().unwrap();
    let address = running.local_addr(Scheme::Http).unwrap();
    (running, address)
}

fn stop(running: &ServerHandle) {
    running.drain();
    running.join().unwrap();
}

fn attribute<'a>(span: &'a Value, key: &str) -> Option<&'a str> {
    let all = span["attributes"].as_array().unwrap();
    let value = &all.iter().find(|attribute| attribute["key"] == key)?["value"];
    value["stringValue"].as_str().or_else(|| value["intValue"].as_str())
}

/// L30: a sampled trace is continued over both protocols, and the handler sees the server's own
/// span; one that is not sampled is left alone; what is malformed begins anew.
#[test]
fn l30_traces_are_continued() {
    let collector = Collector::start();
    let (running, at) = start(&collector, Limits { otlp_traces: 0, ..Limits::default() });
    let sampled = format!("00-{TRACE}-{PARENT}-01");
    let mut h1 = Client::connect(at);
    let fields = format!("traceparent: {sampled}\r\ntracestate: a=1\r\ntracestate: b=2\r\n");
    let seen = h1.request("GET", "/context?q=secret", &fields, b"");
    let seen = seen.text().to_owned();
    assert!(seen.starts_with(&format!("00-{TRACE}-")) && seen.ends_with("-01 a=1,b=2"), "{seen}");
    assert!(!seen.contains(PARENT), "the span is the server's own: {seen}");
    let mut h2 = H2::connect(at);
    let id = h2.ask("GET", "/later", &[("traceparent", &sampled)], b"");
    let later = h2.answer(id).text().to_owned();
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    let same = h1.request("GET", "/context", &format!("traceparent: {unsampled}\r\n"), b"");
    assert_eq!(same.text(), format!("{unsampled} "));
    for malformed in ["00-x", "ff-00-00-01", &sampled.to_uppercase()] {
        let fields = format!("traceparent: {malformed}\r\n");
        assert_eq!(h1.request("GET", "/context", &fields, b"").text(), "none", "{malformed}");
    }
    let spans = collector.await_spans(2);
    stop(&running);
    assert_eq!(collector.spans().len(), 2, "nothing else was recorded");
    for (span, seen, path, version) in
        [(&spans[0], &seen, "/context", "1.1"), (&spans[1], &later, "/later", "2")]
    {
        assert_eq!((&span["traceId"], &span["parentSpanId"]), (&TRACE.into(), &PARENT.into()));
        assert_eq!(span["spanId"], seen[36..52], "the handler saw this span");
        assert_eq!((&span["name"], &span["kind"]), (&"GET".into(), &2.into()));
        for (key, wanted) in [
            ("http.request.method", "GET"),
            ("url.path", path),
            ("url.scheme", "http"),
            ("network.protocol.version", version),
            ("http.response.status_code", "200"),
            ("client.address", "127.0.0.1"),
        ] {
            assert_eq!(attribute(span, key), Some(wanted), "{span}");
        }
        assert!(!span.to_string().contains("secret"), "{span}");
    }
    assert_eq!(spans[0]["traceState"], "a=1,b=2");
}

fn nanos(span: &Value, key: &str) -> u64 {
    span[key].as_str().unwrap().parse().unwrap()
}

/// L30: a span ends with its body; a panic is an error; a client that leaves is told apart.
#[test]
fn l30_spans_end_with_what_they_stand_for() {
    let collector = Collector::start();
    let (running, at) = start(&collector, Limits { otlp_traces: 100, ..Limits::default() });
    let mut client = Client::connect(at);
    assert_eq!(client.get("/slowly").text(), "piecepiecepiece");
    assert_eq!(client.get("/panics").status, 500);
    assert_eq!(client.get("/missing").status, 404);
    client.send("GET /never HTTP/1.1\r\nHost: test\r\n\r\n");
    std::thread::sleep(Duration::from_millis(50));
    // Not only silent, but gone.
    socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let spans = collector.await_spans(4);
    let of =
        |path: &str| spans.iter().find(|span| attribute(span, "url.path") == Some(path)).unwrap();
    let slow = of("/slowly");
    let took = nanos(slow, "endTimeUnixNano") - nanos(slow, "startTimeUnixNano");
    assert!(took >= 100_000_000, "{took} ns: the span ends with the body");
    assert_eq!(slow.get("parentSpanId"), None, "a trace begins here");
    assert_eq!(of("/panics")["status"]["code"], 2);
    assert_eq!(attribute(of("/panics"), "error.type"), Some("500"));
    assert_eq!(of("/missing").get("status"), None, "a client's mistake is no error of the server");
    assert_eq!(attribute(of("/never"), "error.type"), Some("cancelled"));
    assert_eq!(attribute(of("/never"), "http.response.status_code"), None);
    stop(&running);
}

/// L30: all that is sent is what the published schema of OTLP says, and its counts are those of
/// `/metrics`.
#[test]
fn l30_what_is_sent_is_of_the_published_schema() {
    let Some(python) = std::env::var_os("RINGWAY_TEST_PYTHON") else {
        return missing("RINGWAY_TEST_PYTHON, a Python with opentelemetry-proto");
    };
    let collector = Collector::start();
    let (running, at) = start(&collector, Limits { otlp_traces: 100, ..Limits::default() });
    let mut client = Client::connect(at);
    let sampled = format!("traceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: a=1\r\n");
    for _ in 0..5 {
        assert_eq!(client.request("GET", "/context", &sampled, b"").status, 200);
    }
    assert_eq!(client.get("/panics").status, 500);
    collector.await_spans(6);
    stop(&running);
    let bodies = collector.bodies("metrics");
    let metrics = &bodies.last().unwrap()["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
    let metric = |name: &str| {
        metrics.as_array().unwrap().iter().find(|metric| metric["name"] == name).unwrap()
    };
    let requests = &metric("ringway_requests_total")["sum"];
    assert_eq!(requests["dataPoints"][0]["asInt"], "6", "the last export has all");
    assert_eq!(
        (&requests["isMonotonic"], &requests["aggregationTemporality"]),
        (&true.into(), &2.into())
    );
    let took = &metric("http.server.request.duration")["histogram"]["dataPoints"][0];
    assert_eq!(took["count"], "6");
    let dir = TempDir::new();
    let mut files = Vec::new();
    for (at, (signal, body)) in collector.taken.lock().unwrap().iter().enumerate() {
        dir.write(&format!("{signal}-{at}.json"), body);
        files.push(dir.path().join(format!("{signal}-{at}.json")));
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/otlp_decode.py");
    let output = std::process::Command::new(python).arg(script).args(files).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.starts_with("6 spans, "), "{said}");
    println!("decoded by the published schema: {said}");
}

/// A server with a collector at an address, and its metrics.
fn serve(collector: &str, options: &[&str]) -> (TempDir, Process) {
    let site = TempDir::with(&[("index.html", b"hello")]);
    let usual = ["--otlp", collector, "--metrics", "127.0.0.1:0"];
    let server = Process::serve(site.path(), &[&usual[..], options].concat());
    server.wait_for("metrics");
    (site, server)
}

fn times(text: &str, what: &str) -> usize {
    text.matches(what).count()
}

/// L30: a collector that is down is said once; requests go on, what has no room is counted; when it
/// is up again that is said, and what waited is sent.
#[test]
fn l30_a_collector_that_is_down_is_tried_again() {
    // A port that is free for now.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bounds = ["limits.otlp_queue=8", "limits.otlp_traces=100000", "limits.otlp_spans=100000"];
    let interval = "limits.otlp_interval=100ms";
    let set: Vec<&str> = bounds.iter().chain([&interval]).flat_map(|key| ["--set", key]).collect();
    let (_site, server) = serve(&format!("http://{free}"), &set);
    let failures = || server.metric("ringway_otlp_failures_total");
    eventually("it was tried several times", || failures() >= 3);
    let mut client = server.client();
    for _ in 0..2000 {
        assert_eq!(client.get("/").status, 200);
    }
    let dropped = || server.metric("ringway_otlp_spans_total{result=\"dropped\"}");
    // A batch and the queue have room; the rest is counted.
    eventually("drops are counted", || dropped() >= 2000 - 512 - 8 - 1);
    assert_eq!(times(&server.output(), "takes no metrics and traces"), 1, "said once");
    let collector = Collector::at(free);
    let waited = collector.await_spans(500).len();
    eventually("that it is back is said", || {
        times(&server.output(), "takes metrics and traces again") == 1
    });
    eventually("metrics come too", || !collector.bodies("metrics").is_empty());
    let sent = || server.metric("ringway_otlp_spans_total{result=\"sent\"}");
    eventually("each span was sent or counted", || sent() + dropped() == 2000);
    println!("{waited} spans waited, {} were dropped", dropped());
}

/// L30: a collector that takes connections and never answers holds up nobody, nor the end.
#[test]
fn l30_a_collector_that_hangs_holds_up_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let set = ["--set", "limits.otlp_traces=1000", "--set", "limits.otlp_interval=100ms"];
    let (_site, mut server) = serve(&url, &set);
    let (hung, _) = listener.accept().unwrap();
    let mut client = server.client();
    for _ in 0..500 {
        assert_eq!(client.get("/").status, 200);
    }
    server.signal("TERM");
    assert!(server.wait().success());
    drop(hung);
}

/// L30: answers that invite another try get one, others do not.
#[test]
fn l30_refusals_are_final_and_503_is_not() {
    let collector = Collector::start();
    let set = ["--set", "limits.otlp_traces=1000"];
    let (_site, server) = serve(&collector.url(), &set);
    let count =
        |result: &str| server.metric(&format!("ringway_otlp_spans_total{{result=\"{result}\"}}"));
    collector.status.store(503, Ordering::Relaxed);
    assert_eq!(server.client().get("/").status, 200);
    eventually("it is asked again", || collector.asked.load(Ordering::Relaxed) >= 2);
    assert_eq!((count("sent"), count("dropped")), (0, 0));
    collector.status.store(200, Ordering::Relaxed);
    eventually("the span is taken", || count("sent") == 1);
    assert_eq!(collector.spans().len(), 1);
    collector.status.store(400, Ordering::Relaxed);
    assert_eq!(server.client().get("/").status, 200);
    eventually("the span is given up", || count("dropped") == 1);
    collector.status.store(200, Ordering::Relaxed);
    assert_eq!(server.client().get("/").status, 200);
    eventually("the next is taken", || count("sent") == 2);
}

/// Row 151: a client that marks every request as sampled makes the server record no more than it
/// may; the rest is counted, and served.
#[test]
fn row_151_a_flood_of_sampled_requests_is_bounded() {
    let collector = Collector::start();
    let set = ["--set", "limits.otlp_spans=20", "--set", "limits.otlp_traces=0"];
    let (_site, server) = serve(&collector.url(), &set);
    let mut client = server.client();
    let sampled = format!("traceparent: 00-{TRACE}-{PARENT}-01\r\n");
    let start = std::time::Instant::now();
    for _ in 0..1000 {
        assert_eq!(client.request("GET", "/", &sampled, b"").status, 200);
    }
    let seconds = start.elapsed().as_secs() + 2;
    let count =
        |result: &str| server.metric(&format!("ringway_otlp_spans_total{{result=\"{result}\"}}"));
    eventually("each is counted", || count("sent") + count("dropped") == 1000);
    assert!(count("sent") <= 20 * seconds, "{} in {seconds} s", count("sent"));
    // Endless, binary and doubled values are no contexts, and no errors.
    for value in ["00-".repeat(2000), "\u{fc}\u{fe}".into(), format!("{TRACE}\r\ntraceparent: x")] {
        let field = format!("traceparent: {value}\r\n");
        assert_eq!(client.request("GET", "/", &field, b"").status, 200);
    }
    assert_eq!(count("sent") + count("dropped"), 1000);
}
