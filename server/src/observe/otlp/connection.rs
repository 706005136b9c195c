//! A request to the collector: HTTP/1.1 over a connection of its own, with a bound on its time and
//! on what is read. There is one a second at most, so nothing is kept open.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::config::CollectorUrl;

/// What the collector answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CollectorAnswer {
    pub(super) status: u16,
    /// When it wants to be asked again.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

/// Octets of an answer that are read.
const ANSWER_MAX: u64 = 64 * 1024;

/// Posts JSON to `/v1/<signal>`.
pub(super) fn post(
    url: &CollectorUrl,
    signal: &str,
    body: &[u8],
    patience: Duration,
) -> io::Result<CollectorAnswer> {
    let deadline = Instant::now() + patience;
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let mut stream = connect(url, left)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(left()?))?;
    let head = format!(
        "POST {}/v1/{signal} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nUser-Agent: ringway/{}\r\nConnection: close\r\n\r\n",
        url.path,
        url.authority(),
        body.len(),
        env!("CARGO_PKG_VERSION"),
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = Vec::new();
    loop {
        stream.set_read_timeout(Some(left()?))?;
        let mut some = [0; 4096];
        match stream.read(&mut some) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&some[..read]),
            // A collector that closes in a hurry has answered by then.
            Err(_) if !answer.is_empty() => break,
            Err(error) => return Err(error),
        }
        if answer.len() as u64 > ANSWER_MAX {
            break;
        }
    }
    parse(&answer).ok_or_else(|| io::Error::other("the answer is not HTTP"))
}

fn connect(url: &CollectorUrl, left: impl Fn() -> io::Result<Duration>) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in (&*url.host, url.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left()?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn parse(answer: &[u8]) -> Option<CollectorAnswer> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let mut body = answer[end + 4..].to_vec();
    let mut retry_after = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("retry-after") {
            retry_after = value.parse().ok().map(Duration::from_secs);
        } else if name.eq_ignore_ascii_case("transfer-encoding")
            && value.eq_ignore_ascii_case("chunked")
        {
            body = dechunked(&body);
        }
    }
    Some(CollectorAnswer { status, retry_after, body })
}

/// The content of chunks (RFC 9112 section 7.1), as far as they are there.
fn dechunked(mut chunks: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(end) = chunks.windows(2).position(|two| two == b"\r\n") {
        let size = str::from_utf8(&chunks[..end]).unwrap_or_default();
        let size = size.split(';').next().unwrap_or_default().trim();
        let Ok(size @ 1..) = usize::from_str_radix(size, 16) else { break };
        let Some(chunk) = chunks.get(end + 2..).and_then(|rest| rest.get(..size)) else { break };
        content.extend_from_slice(chunk);
        chunks = chunks.get(end + 2 + size + 2..).unwrap_or_default();
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let read = |text: &str| parse(text.as_bytes());
        let answer = read("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n\r\nlater").unwrap();
        assert_eq!((answer.status, answer.retry_after), (503, Some(Duration::from_secs(7))));
        assert_eq!(answer.body, b"later");
        let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                      2\r\n{}\r\n3;x=y\r\nabc\r\n0\r\n\r\n";
        assert_eq!(read(chunks).unwrap().body, b"{}abc");
        for bad in ["", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 2\r\n\r\n", "HTTP/1.1 200 OK\r\n"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
