//! Metrics from outside: a scripted load gives exact counts (row E11 of the features).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use harness::h2::H2;
use ringway::config::Limits;
use ringway::{Bound, Request, Response, Router, Scheme, Server, ServerHandle};

fn get(address: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

/// The counts are published at most a hundredth of a second late; this waits until they are there.
fn until(address: SocketAddr, path: &str, wanted: &str) -> String {
    let patience = Instant::now() + harness::PATIENCE;
    loop {
        let answer = get(address, path);
        if answer.contains(wanted) || Instant::now() > patience {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn address(running: &ServerHandle, wanted: Scheme) -> SocketAddr {
    match &running.local_addrs().iter().find(|(scheme, _)| *scheme == wanted).unwrap().1 {
        Bound::Ip(address) => *address,
        Bound::Unix(_) => panic!("a TCP listener"),
    }
}

#[test]
fn e11_a_scripted_load_gives_exact_counts() {
    let app = Router::new().get("/hello", |_: &Request<'_>| Response::text("hello"));
    let server = Server::new(app).http("127.0.0.1:0").metrics("127.0.0.1:0").workers(2);
    let running = server.start().unwrap();
    let [http, metrics] = [Scheme::Http, Scheme::Metrics].map(|scheme| address(&running, scheme));
    for _ in 0..10 {
        assert!(get(http, "/hello").starts_with("HTTP/1.1 200 "));
    }
    assert!(get(http, "/nowhere").starts_with("HTTP/1.1 404 "));
    let stats = until(metrics, "/stats.json", "{\"http1\":{\"connections\":11,");
    let (_, json) = stats.split_once("\r\n\r\n").unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["http1"]["connections"], 11);
    assert!(json["http1"]["avgLatency"].as_f64().unwrap() > 0.0);
    let keys = |value: &serde_json::Value| -> Vec<String> {
        let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(&json["http1"]), ["avgLatency", "connections"]);
    assert!(stats.contains("\r\n\r\n{\"http1\":"), "its own shape comes first: {stats}");
    assert_eq!(keys(&json["http2"]), ["avgLatency", "pushCount", "streams"]);
    assert_eq!(keys(&json["http3"]), ["avgLatency", "connections", "migrationCount"]);
    let version = "network_protocol_version=\"1.1\"";
    let ok = format!("{{{version},http_response_status_code=\"200\"}} 10\n");
    let text = until(metrics, "/metrics", &ok);
    assert!(text.contains(&format!("ringway_responses_total{ok}")), "{text}");
    assert!(text.contains(&format!("{{{version},http_response_status_code=\"404\"}} 1\n")));
    assert!(text.contains(&format!("request_duration_seconds_count{{{version}}} 11\n")));
    assert!(text.contains("\nprocess_resident_memory_bytes "));
    assert!(text.contains("\nringway_uring_cqe_overflow_total 0\n"));
    running.stop();
    running.join().unwrap();
}

/// E11, HTTP/2's part: five pages that push two parts each are ten pushes, and fifteen streams.
#[test]
fn e11_ten_pushes_are_ten() {
    let app = Router::new()
        .get("/", |_: &Request<'_>| Response::html("page").push("/a").push("/b"))
        .get("/a", |_: &Request<'_>| Response::text("a"))
        .get("/b", |_: &Request<'_>| Response::text("b"));
    let limits = Limits { h2_pushes: 10, ..Limits::default() };
    let server = Server::new(app).http("127.0.0.1:0").metrics("127.0.0.1:0").workers(2);
    let running = server.limits(limits).start().unwrap();
    let [http, metrics] = [Scheme::Http, Scheme::Metrics].map(|scheme| address(&running, scheme));
    for _ in 0..5 {
        let mut client = H2::connect(http);
        assert_eq!(client.get("/").text(), "page");
        assert_eq!((client.answer(2).text(), client.answer(4).text()), ("a", "b"));
    }
    let stats = until(metrics, "/stats.json", "\"pushCount\":10}");
    let (_, json) = stats.split_once("\r\n\r\n").unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!((&json["http2"]["pushCount"], &json["http2"]["streams"]), (&10.into(), &15.into()));
    assert!(json["http2"]["avgLatency"].as_f64().unwrap() > 0.0);
    assert_eq!(json["http1"]["connections"], 0);
    let version = "network_protocol_version=\"2\"";
    let count = format!("request_duration_seconds_count{{{version}}} 15\n");
    let text = until(metrics, "/metrics", &count);
    assert!(text.contains(&count), "{text}");
    for line in [
        "ringway_push_total 10\n",
        "ringway_connections_opened_total{proto=\"2\"} 5\n",
        "ringway_streams_total{proto=\"2\"} 15\n",
        "responses_total{network_protocol_version=\"2\",http_response_status_code=\"200\"} 15\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    running.stop();
    running.join().unwrap();
}
