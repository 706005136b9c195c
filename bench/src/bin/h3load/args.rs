//! The command line.

use ringway_codec::field::Known;
use ringway_codec::h3::frame::{self, kind};
use ringway_codec::qpack;
use ringway_codec::scan::Backend;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

const HELP: &str = "\
ringway-h3load: load on an HTTP/3 server

usage: ringway-h3load [OPTIONS] URI...

  -c, --connections N   connections (default 1), each with a socket of its own
  -m, --streams N       requests under way on each (default 1)
  -d, --duration SECS   how long to measure (default 5)
  -w, --warm-up SECS    how long to load before measuring (default 1)
  -n, --requests N      stop after so many answers; then there is no warm-up unless asked for
  -r, --rate N          open loop: so many requests a second in all, latency from when they are due
      --short           one request on each connection, which then ends and is followed by another
      --resume          with --short: further connections resume a session, each session once
      --early           with --resume: requests go as early data (0-RTT)
  -i, --uris FILE       more URIs, one a line; connections take all in turn
  -H, --header 'N: V'   a field for every request; may be repeated
      --method NAME     the method (default GET)
      --window BYTES    what the server may send unread on a stream (default 1 MiB)
      --datagram BYTES  the largest datagram (default 1452)
      --verify          check the server's certificate
      --json            the result as one line of JSON
  -q, --quiet           no progress
  -h, --help            this text

All URIs are of one server: https://HOST[:PORT]/PATH. Exits with 1 if any answer was a 4xx or 5xx.";

/// One URI: its server, and its request, ready to be sent.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) host: String,
    pub(crate) head: Vec<u8>,
}

pub(crate) struct Args {
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    pub(crate) duration: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) requests: Option<u64>,
    pub(crate) rate: Option<f64>,
    pub(crate) short: bool,
    pub(crate) resume: bool,
    pub(crate) early: bool,
    pub(crate) window: u64,
    pub(crate) datagram_bytes: usize,
    pub(crate) verify: bool,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) targets: Vec<Target>,
}

impl Args {
    /// `None` if help was requested and printed.
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut args = args;
        let mut found = Self {
            connections: 1,
            streams: 1,
            duration: Duration::from_secs(5),
            warm_up: Duration::ZERO,
            requests: None,
            rate: None,
            short: false,
            resume: false,
            early: false,
            window: 1 << 20,
            datagram_bytes: 1452,
            verify: false,
            json: false,
            quiet: false,
            targets: Vec::new(),
        };
        let (mut uris, mut headers) = (Vec::new(), Vec::new());
        let mut method = "GET".to_string();
        let mut warm_up = None;
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                "-c" | "--connections" => found.connections = number(&arg, &value()?)?,
                "-m" | "--streams" => found.streams = number(&arg, &value()?)?,
                "-d" | "--duration" => found.duration = seconds(&arg, &value()?)?,
                "-w" | "--warm-up" => warm_up = Some(seconds(&arg, &value()?)?),
                "-n" | "--requests" => found.requests = Some(number(&arg, &value()?)?),
                "-r" | "--rate" => found.rate = Some(number(&arg, &value()?)?),
                "--short" => found.short = true,
                "--resume" => found.resume = true,
                "--early" => found.early = true,
                "-i" | "--uris" => {
                    let path = value()?;
                    let text =
                        std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
                    uris.extend(text.split_whitespace().map(str::to_string));
                }
                "-H" | "--header" => {
                    let value = value()?;
                    let (name, value) =
                        value.split_once(':').ok_or(format!("{value} is not 'name: value'"))?;
                    headers.push((name.trim().to_lowercase(), value.trim().to_string()));
                }
                "--method" => method = value()?,
                "--window" => found.window = number(&arg, &value()?)?,
                "--datagram" => found.datagram_bytes = number(&arg, &value()?)?,
                "--verify" => found.verify = true,
                "--json" => found.json = true,
                "-q" | "--quiet" => found.quiet = true,
                "-h" | "--help" => {
                    println!("{HELP}");
                    return Ok(None);
                }
                _ if arg.starts_with('-') => {
                    return Err(format!("unknown option {arg}; see --help"));
                }
                _ => uris.push(arg),
            }
        }
        let usual = if found.requests.is_some() { 0 } else { 1 };
        found.warm_up = warm_up.unwrap_or(Duration::from_secs(usual));
        for uri in &uris {
            found.targets.push(target(uri, &method, &headers)?);
        }
        found.check().map(|()| Some(found))
    }

    fn check(&self) -> Result<(), String> {
        let first = self.targets.first().ok_or("no URI given; see --help")?;
        if self.targets.iter().any(|target| target.address != first.address) {
            return Err("the URIs name more than one server".into());
        }
        if self.connections == 0 || self.streams == 0 || self.rate.is_some_and(|rate| rate <= 0.0) {
            return Err("connections, streams and rate must be at least 1".into());
        }
        if self.resume && !self.short || self.early && !self.resume {
            return Err("--resume needs --short, and --early needs both".into());
        }
        if !(1200..=16_383).contains(&self.datagram_bytes) {
            return Err("--datagram must be from 1200 to 16383".into());
        }
        Ok(())
    }
}

fn number<T: std::str::FromStr>(option: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{option} needs a number, not {value}"))
}

fn seconds(option: &str, value: &str) -> Result<Duration, String> {
    Duration::try_from_secs_f64(number(option, value.trim_end_matches('s'))?)
        .map_err(|_| format!("{option} needs seconds, not {value}"))
}

fn target(uri: &str, method: &str, headers: &[(String, String)]) -> Result<Target, String> {
    let rest = uri.strip_prefix("https://").ok_or(format!("{uri} does not begin with https://"))?;
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let with_port = match authority.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_string(),
        _ => format!("{authority}:443"),
    };
    let mut addresses =
        with_port.to_socket_addrs().map_err(|error| format!("{authority}: {error}"))?;
    let address = addresses.next().ok_or(format!("{authority} has no address"))?;
    let (host, _) = with_port.rsplit_once(':').unwrap_or((authority, ""));
    let host = host.trim_matches(['[', ']']).to_string();
    Ok(Target { address, host, head: head(method, authority, path, headers) })
}

/// A HEADERS frame that uses the static table only, so it is valid on any connection.
fn head(method: &str, authority: &str, path: &str, headers: &[(String, String)]) -> Vec<u8> {
    let (mut block, mut none) = (Vec::new(), Vec::new());
    let mut encoder = qpack::Encoder::new(Backend::Scalar, 0);
    let mut writer = encoder.block(0, &mut block, &mut none);
    let pseudo = [(":method", method), (":scheme", "https"), (":authority", authority)];
    let own = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in pseudo.into_iter().chain([(":path", path)]).chain(own) {
        writer.field(Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes());
    }
    writer.finish();
    let mut out = Vec::new();
    frame::write_head(&mut out, kind::HEADERS, block.len() as u64);
    out.extend_from_slice(&block);
    out
}
