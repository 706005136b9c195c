//! A server in this process, and what can be known of it: its counters, its access log, what its
//! handlers saw.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;

use super::app::{self, Seen};
use super::client::Over;
use super::harness::TempDir;
use super::harness::client::Client;
use super::row::On;
use ringway::config::{Limits, LogConfig, LogFormat};
use ringway::tls::Tls;
use ringway::{Bound, Scheme, Server, ServerHandle};
use std::time::{Duration, UNIX_EPOCH};

pub type Counts = BTreeMap<String, u64>;

/// Of its own, so that nothing else moves its counters.
pub struct Served {
    running: ServerHandle,
    metrics: Client,
    dir: TempDir,
    /// What is known to have been counted.
    pub counted: Counts,
    pub seen: Seen,
}

/// The octets of `/site/file.txt`.
pub const FILE: &str = "0123456789 a file of some octets, of which parts may be asked for";

impl Served {
    pub fn start(on: On) -> Self {
        let dir = TempDir::with(&[("site/file.txt", FILE.as_bytes())]);
        // The same on each server, for Last-Modified.
        let file = File::options().write(true).open(dir.path().join("site/file.txt")).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
        let seen = Seen::default();
        let router = app::router(&seen).files("/site", dir.path().join("site"));
        let log = LogConfig {
            format: LogFormat::Json,
            file: Some(dir.path().join("log")),
            ..LogConfig::default()
        };
        let server = Server::new(router).https("127.0.0.1:0", Tls::self_signed().unwrap());
        let server = server.metrics("127.0.0.1:0").workers(1).log(log).limits(limits(on));
        let running = server.start().unwrap();
        let metrics = Client::connect(address(&running, Scheme::Metrics));
        Self { running, metrics, dir, counted: Counts::new(), seen }
    }

    pub fn at(&self, over: Over) -> SocketAddr {
        address(&self.running, if over == Over::H3 { Scheme::H3 } else { Scheme::Https })
    }

    pub fn drain(&self) {
        self.running.drain();
    }

    /// What it has counted of requests and answers of one protocol.
    pub fn counts(&mut self, over: Over) -> Counts {
        let text = self.metrics.get_local("/metrics").text().to_owned();
        let mut counts = Counts::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let Some(name) = counter(name, over) else { continue };
            counts.insert(name, value.parse().unwrap());
        }
        counts.retain(|_, count| *count > 0);
        counts
    }

    /// Ends it; the lines of its access log.
    pub fn end(self) -> Vec<serde_json::Value> {
        self.running.drain();
        self.running.join().unwrap();
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The table's name for a counter that it tells of.
fn counter(name: &str, over: Over) -> Option<String> {
    let answered = format!(
        "ringway_responses_total{{network_protocol_version=\"{}\",http_response_status_code=\"",
        over.version()
    );
    if let Some(rest) = name.strip_prefix(&answered) {
        return Some(format!("answered {}", rest.trim_end_matches("\"}")));
    }
    Some(
        match name {
            "ringway_requests_total" => "requests",
            "ringway_refused_total" => "refused",
            "ringway_timeouts_total{kind=\"head\"}" => "slow head",
            "ringway_timeouts_total{kind=\"body\"}" => "slow body",
            "ringway_timeouts_total{kind=\"reader\"}" => "slow reader",
            "ringway_quic_early_requests_total{result=\"accepted\"}" => "early accepted",
            "ringway_quic_early_requests_total{result=\"refused\"}" => "early refused",
            _ => return None,
        }
        .to_owned(),
    )
}

fn limits(on: On) -> Limits {
    let short = Duration::from_millis(300);
    match on {
        On::Leaving => Limits { drain_timeout: 3 * short, ..Limits::default() },
        On::Usual => Limits { body_bytes: 100_000, ..Limits::default() },
        On::Hasty => Limits {
            header_timeout: short,
            rate_grace: short,
            body_rate: 100_000,
            // Beyond the two seconds that HTTP/3 may take to see a head that is late.
            idle_timeout: Duration::from_millis(3500),
            write_rate: 100_000,
            h2_stall_timeout: short,
            h3_stall_timeout: short,
            ..Limits::default()
        },
    }
}

fn address(running: &ServerHandle, wanted: Scheme) -> SocketAddr {
    match &running.local_addrs().iter().find(|(scheme, _)| *scheme == wanted).unwrap().1 {
        Bound::Ip(address) => *address,
        Bound::Unix(_) => panic!("a socket of IP"),
    }
}
