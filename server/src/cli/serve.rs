//! `ringway serve`: starts a server from a valid configuration, and explains errors.

use super::options::Parsed;
use super::{Exit, check, complain};
use ringway::config::{self, Address, Config, Loaded};
use ringway::{Broker, Error, Scheme};
use ringway_tuning::{Host, Transport, start};
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;

pub(crate) fn run(parsed: &Parsed) -> Exit {
    if let Some(broker) = Broker::of_this_process() {
        broker.serve(|| {
            let loaded = config::load(&parsed.sources()).ok()?;
            Some((loaded.config, loaded.files))
        });
        return Exit::Fine;
    }
    ringway::adopt_environment();
    let loaded = match check::read(parsed) {
        Ok(loaded) => loaded,
        Err(end) => {
            ringway::handover::decline("its configuration has a mistake, which it has told");
            return end;
        }
    };
    if ringway::wants_parent(&loaded.config) {
        // The server says the rest.
        return ringway::supervise().map_or_else(
            |error| {
                complain(&error.to_string());
                Exit::Failed
            },
            Exit::Of,
        );
    }
    check::warn(&loaded);
    let loaded = readable(loaded, parsed);
    let config = &loaded.config;
    let descriptors = start::raise_descriptors();
    // Warns only below `FEW`, not below the configured number: most servers never reach their limit
    // of connections.
    if let Some(answer) = start::explain_descriptors(descriptors, FEW) {
        complain(&format!("warning: {answer}"));
    }
    match ringway::serve(&loaded, || Some(readable(check::reload(parsed)?, parsed))) {
        Ok(()) => Exit::Fine,
        Err(error) => {
            complain(&explain(config, &error));
            Exit::Failed
        }
    }
}

/// The configuration, whose own directory stays readable, so that it can be read again.
fn readable(mut loaded: Loaded, parsed: &Parsed) -> Loaded {
    if let Some(file) = parsed.sources().file {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        loaded.config.lifecycle.readable.push(parent.unwrap_or(Path::new(".")).to_owned());
    }
    loaded
}

/// With fewer descriptors a single test client reaches the limit.
const FEW: u64 = 4096;

/// The error with its cause and possible remedies on this machine.
fn explain(config: &Config, error: &Error) -> String {
    let host = Host::live();
    match error {
        Error::Listen { scheme, address, source } => {
            listen(&host, *scheme, address, source).unwrap_or_else(|| error.to_string())
        }
        Error::Ring(source) => start::explain_ring(&host, source).to_string(),
        Error::Worker(source) if source.kind() == io::ErrorKind::WouldBlock => {
            let workers = config.workers.map_or("one for each CPU".into(), |n| n.to_string());
            format!("{error}\n  to mend it: fewer workers than {workers}, or a higher ulimit -u")
        }
        _ => error.to_string(),
    }
}

fn listen(host: &Host, scheme: Scheme, address: &str, source: &io::Error) -> Option<String> {
    let socket = match address.parse().ok()? {
        Address::Ip(socket) => socket,
        Address::Any(port) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
        Address::Unix(path) => return Some(start::explain_bind_path(source, &path).to_string()),
        Address::Fd(_) => return None,
    };
    let transport = if scheme == Scheme::H3 { Transport::Udp } else { Transport::Tcp };
    let answer = start::explain_bind(host, source, socket, transport);
    Some(format!("{scheme}: {answer}"))
}
