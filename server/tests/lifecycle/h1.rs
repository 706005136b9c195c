//! HTTP/1.1 over TLS, one request on a connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::client::{Answer, CANCELLED, CUT_OFF, Client, NOTHING, PATIENCE, SILENCE, WHOLE};
use super::harness::tls;
use super::row::{Ask, Framing};

pub struct H1 {
    /// None once the client has given up.
    stream: Option<tls::Stream>,
    raw: Vec<u8>,
    framing: Framing,
    sent: usize,
    is_head: bool,
    has_ended: bool,
    /// Nothing has come for so long that nothing will.
    is_silent: bool,
}

/// What there is of an answer, and how much of the bytes it is.
#[derive(Default)]
struct Parsed {
    answer: Answer,
    used: usize,
}

impl H1 {
    pub fn connect(at: SocketAddr) -> Self {
        Self::over(tls::connect(at, &[b"http/1.1"], "localhost"))
    }

    /// With a ticket, which offers no early data (RFC 8446 section 4.2.10).
    pub fn resumed(at: SocketAddr) -> Self {
        let config = Arc::new(offers_early_data(&[b"http/1.1"]));
        let mut first = Self::over(tls::try_connect(at, Arc::clone(&config), "localhost").unwrap());
        first.send(b"GET /hello HTTP/1.1\r\nhost: localhost\r\nuser-agent: check\r\n\r\n");
        first.until(&mut |_| false);
        let second = tls::try_connect(at, config, "localhost").unwrap();
        assert!(!second.conn.is_early_data_accepted(), "TCP offers no early data");
        Self::over(second)
    }

    fn over(stream: tls::Stream) -> Self {
        stream.sock.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream: Some(stream),
            raw: Vec::new(),
            framing: Framing::None,
            sent: 0,
            is_head: false,
            has_ended: false,
            is_silent: false,
        }
    }

    /// A server that has closed by then is no failure: its answer is read later.
    fn send(&mut self, bytes: &[u8]) {
        if let Some(stream) = &mut self.stream {
            let _ = stream.write_all(bytes).and_then(|()| stream.flush());
        }
    }

    fn fill(&mut self) {
        let mut piece = [0; 65_536];
        match self.stream.as_mut().map_or(Ok(0), |stream| stream.read(&mut piece)) {
            Ok(0) => self.has_ended = true,
            Ok(len) => self.raw.extend_from_slice(&piece[..len]),
            Err(error) => match error.kind() {
                ErrorKind::ConnectionReset
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionAborted => self.has_ended = true,
                ErrorKind::WouldBlock => self.is_silent = true,
                _ => panic!("neither an answer nor the end: {error}"),
            },
        }
    }

    fn parsed(&self) -> Parsed {
        let mut parsed = Parsed::default();
        while parsed.answer.status == 0 {
            let rest = &self.raw[parsed.used..];
            let Some(len) = rest.windows(4).position(|four| four == b"\r\n\r\n") else { break };
            parsed.answer.add_head(&head(&rest[..len]));
            parsed.used += len + 4;
        }
        if parsed.answer.status != 0 && self.take_body(&mut parsed).is_some() {
            parsed.answer.end = WHOLE;
        } else if self.stream.is_none() {
            parsed.answer.end = CANCELLED;
        } else if self.is_silent {
            parsed.answer.end = SILENCE;
        } else if self.has_ended {
            parsed.answer.end = if parsed.answer.status == 0 { NOTHING } else { CUT_OFF };
        }
        parsed
    }

    /// Takes as much of the body as there is; nothing where it is not all there.
    fn take_body(&self, parsed: &mut Parsed) -> Option<()> {
        let Parsed { answer, used } = parsed;
        let field = |name: &str| answer.fields.iter().find(|(n, _)| n == name).map(|f| &*f.1);
        if self.is_head || [204, 304].contains(&answer.status) {
            return Some(());
        }
        if let Some(length) = field("content-length") {
            let length: usize = length.parse().unwrap();
            let there = self.raw.len().min(*used + length);
            answer.body = self.raw[*used..there].to_vec();
            let is_whole = there == *used + length;
            *used = there;
            return is_whole.then_some(());
        }
        assert_eq!(field("transfer-encoding"), Some("chunked"), "{answer:?}");
        loop {
            let line = self.line(used)?;
            let size = usize::from_str_radix(&line, 16).expect("a chunk's size");
            if size == 0 {
                break;
            }
            let there = self.raw.len().min(*used + size);
            answer.body.extend_from_slice(&self.raw[*used..there]);
            if there + 2 > self.raw.len() {
                return None;
            }
            *used = there + 2;
        }
        loop {
            let line = self.line(used)?;
            if line.is_empty() {
                return Some(());
            }
            answer.trailers.push(field_of(&line));
        }
    }

    fn line(&self, used: &mut usize) -> Option<String> {
        let rest = &self.raw[*used..];
        let len = rest.windows(2).position(|two| two == b"\r\n")?;
        *used += len + 2;
        Some(String::from_utf8_lossy(&rest[..len]).into_owned())
    }
}

/// A client that would send early data if a ticket allowed it.
pub fn offers_early_data(alpn: &[&[u8]]) -> rustls::ClientConfig {
    let mut config = tls::config(alpn);
    config.enable_early_data = true;
    config
}

/// A head's fields, its status first as the other protocols have it.
fn head(bytes: &[u8]) -> Vec<(String, String)> {
    let text = std::str::from_utf8(bytes).unwrap();
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap();
    assert!(first.starts_with("HTTP/1.1 ") && first.as_bytes()[12] == b' ', "{first}");
    let status = (":status".to_owned(), first[9..12].to_owned());
    std::iter::once(status).chain(lines.map(field_of)).collect()
}

fn field_of(line: &str) -> (String, String) {
    let (name, value) = line.split_once(": ").expect("a field");
    (name.to_ascii_lowercase(), value.to_owned())
}

fn request(ask: &Ask) -> String {
    let mut out = format!("{} {} HTTP/1.1\r\n", ask.method, ask.target);
    let host = ask.authority.map(|authority| ("host", authority.to_owned()));
    let framing = match ask.framing {
        Framing::None => None,
        Framing::Length(length) => Some(("content-length", length.to_string())),
        Framing::Unknown => Some(("transfer-encoding", "chunked".to_owned())),
    };
    for (name, value) in host.iter().chain(&ask.fields).chain(&framing) {
        out += &format!("{name}: {value}\r\n");
    }
    out + "\r\n"
}

impl Client for H1 {
    fn head(&mut self, ask: &Ask, _: bool) {
        (self.framing, self.is_head) = (ask.framing, ask.method == "HEAD");
        self.send(request(ask).as_bytes());
    }

    fn half_head(&mut self, ask: &Ask) {
        let all = request(ask);
        self.send(&all.as_bytes()[..all.len() / 2]);
    }

    fn data(&mut self, bytes: &[u8]) {
        self.sent += bytes.len();
        match self.framing {
            Framing::Unknown => {
                let size = format!("{:x}\r\n", bytes.len());
                self.send(&[size.as_bytes(), bytes, b"\r\n"].concat());
            }
            _ => self.send(bytes),
        }
    }

    fn end(&mut self, trailers: &[(&str, &str)]) {
        match self.framing {
            Framing::Unknown => {
                let lines: String = trailers.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
                self.send(format!("0\r\n{lines}\r\n").as_bytes());
            }
            // There is no other way to say that no more comes.
            Framing::Length(length) if self.sent < length => {
                let Some(stream) = &mut self.stream else { return };
                stream.conn.send_close_notify();
                let _ = stream.flush();
                let _ = stream.sock.shutdown(Shutdown::Write);
            }
            _ => {}
        }
    }

    fn cancel(&mut self) {
        // Without time to linger the end is a reset.
        if let Some(stream) = self.stream.take() {
            let tcp = socket2::SockRef::from(&*stream.sock);
            tcp.set_linger(Some(Duration::ZERO)).unwrap();
        }
    }

    fn answer(&self) -> Answer {
        self.parsed().answer
    }

    fn until(&mut self, holds: &mut dyn FnMut(&Answer) -> bool) {
        loop {
            let answer = self.answer();
            if answer.is_over() || holds(&answer) {
                return;
            }
            self.fill();
        }
    }

    fn stall(&mut self, time: Duration) {
        thread::sleep(time);
    }

    fn pause(&mut self, time: Duration) {
        thread::sleep(time);
    }

    fn stays(&mut self, is_to_end: bool) -> bool {
        if self.stream.is_none() {
            return false;
        }
        let Parsed { answer, used } = self.parsed();
        let says_close = ("connection".to_owned(), "close".to_owned());
        let says_close = answer.fields.contains(&says_close);
        if is_to_end || says_close {
            if let (Some(stream), false) = (&self.stream, says_close) {
                stream.sock.set_read_timeout(Some(PATIENCE / 12)).unwrap();
            }
            while !self.has_ended && !self.is_silent {
                self.fill();
            }
            let behind = String::from_utf8_lossy(&self.raw[used..]);
            assert!(answer.end != WHOLE || behind.is_empty(), "behind the answer: {behind}");
            return !self.has_ended;
        }
        self.raw.drain(..used);
        (self.framing, self.is_head) = (Framing::None, false);
        self.send(b"GET /hello HTTP/1.1\r\nhost: localhost\r\nuser-agent: check\r\n\r\n");
        self.until(&mut |_| false);
        self.answer().status == 200
    }
}
