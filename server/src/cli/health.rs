//! `ringway health`: asks a running server whether it lives, or wants requests, and says so in a
//! sentence; for containers' HEALTHCHECK.

use super::options::Parsed;
use super::{Exit, complain, print};
use ringway::config::{self, Address, Config};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The server itself takes up to 5 s to find a worker stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longer answers are none of ours.
const ANSWER_MAX: u64 = 4096;

pub(crate) fn run(parsed: &Parsed) -> Exit {
    let address = match address(parsed) {
        Ok(address) => address,
        Err(Wrong(exit, why)) => {
            complain(&why);
            return exit;
        }
    };
    let path = if parsed.ready { "/readyz" } else { "/livez" };
    match ask(&address, path) {
        Ok((200, said)) => print(&format!("{address}: {said}\n")),
        Ok((503, said)) => failed(&format!("{address}: {said}")),
        Ok((status, _)) => failed(&format!(
            "{address} answers {status} to {path}: is it the `health` or `metrics` listener of ringway?"
        )),
        Err(error) => failed(&format!("{address} does not answer: {error}")),
    }
}

fn failed(why: &str) -> Exit {
    complain(why);
    Exit::Failed
}

/// Why nobody can be asked.
struct Wrong(Exit, String);

/// The address on the command line, or that of the configuration.
fn address(parsed: &Parsed) -> Result<Address, Wrong> {
    let address = match parsed.operand() {
        Some(text) => text.parse().map_err(|wrong| Wrong(Exit::Usage, format!("{wrong}")))?,
        None => {
            let loaded = config::load(&parsed.sources());
            let loaded = loaded.map_err(|errors| {
                let all: Vec<_> = errors.0.iter().map(ToString::to_string).collect();
                Wrong(Exit::Failed, all.join("\n"))
            })?;
            let Config { health, metrics, .. } = loaded.config;
            health.or(metrics).ok_or_else(|| {
                let why = "the configuration has neither `health` nor `metrics`: name the address, \
                           or the file with -c";
                Wrong(Exit::Failed, why.into())
            })?
        }
    };
    match address {
        Address::Fd(_) => {
            let why = format!("{address} can be asked by its owner only: name the address");
            Err(Wrong(Exit::Failed, why))
        }
        _ if address.port() == Some(0) => {
            let why = format!("{address} is a port that the kernel chose: name the address");
            Err(Wrong(Exit::Failed, why))
        }
        address => Ok(address),
    }
}

fn ask(address: &Address, path: &str) -> io::Result<(u16, String)> {
    match address {
        Address::Unix(socket) => {
            let abstracted = socket.to_str().and_then(|name| name.strip_prefix('@'));
            let stream = match abstracted {
                None => UnixStream::connect(socket)?,
                Some(name) => {
                    let name = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
                    UnixStream::connect_addr(&name)?
                }
            };
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            exchange(stream, "localhost", path)
        }
        Address::Ip(at) => connect(reachable(*at), path),
        Address::Any(port) => connect((Ipv4Addr::LOCALHOST, *port).into(), path)
            .or_else(|_| connect((Ipv6Addr::LOCALHOST, *port).into(), path)),
        Address::Fd(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// The loopback address where a listener is on every address.
fn reachable(at: SocketAddr) -> SocketAddr {
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, at.port())
}

fn connect(at: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    exchange(stream, &at.to_string(), path)
}

/// The status, and the first line of the body.
fn exchange(mut stream: impl Read + Write, host: &str, path: &str) -> io::Result<(u16, String)> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("that is no HTTP"))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let line: String = body.lines().next().unwrap_or_default().to_owned();
    // It goes to a terminal.
    Ok((status, line.chars().filter(|c| !c.is_control()).collect()))
}
