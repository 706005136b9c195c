//! A raw HTTP/1.1 client: sends exactly the bytes it is given, and reads replies with a parser of
//! its own that panics on whatever RFC 9112 does not allow a server to send.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::PATIENCE;

pub struct Client {
    pub stream: TcpStream,
    /// Bytes received that no reply has used yet.
    pub buffer: Vec<u8>,
}

/// How a reply said where its body ends (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(usize),
    Chunked,
    Close,
}

#[derive(Debug)]
pub struct Response {
    pub version: String,
    pub status: u16,
    pub reason: String,
    /// Names as sent.
    pub fields: Vec<(String, String)>,
    pub framing: Framing,
    pub body: Vec<u8>,
    /// Sizes of the chunks, when chunked.
    pub chunks: Vec<usize>,
    pub trailers: Vec<(String, String)>,
}

impl Response {
    /// The value of the one field of that name; panics when there are two.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut named = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = named.next().map(|(_, value)| value.as_str());
        assert!(named.next().is_none(), "{name} is there once: {self:?}");
        value
    }

    /// Whether the reply announces that the connection ends with it.
    pub fn says_close(&self) -> bool {
        self.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// A client with a receive buffer as small as the kernel allows.
    pub fn with_tiny_window(address: SocketAddr) -> Self {
        let kind = socket2::Type::STREAM;
        let socket = socket2::Socket::new(socket2::Domain::IPV4, kind, None).unwrap();
        socket.set_recv_buffer_size(1024).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Send bytes; a peer that has closed by then is no failure here: its answer is read later.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.try_send(bytes);
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Tell the server that nothing more comes.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    pub fn get(&mut self, target: &str) -> Response {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        self.response("GET")
    }

    /// As [`Self::get`], for the host that metrics are served for.
    pub fn get_local(&mut self, target: &str) -> Response {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.response("GET")
    }

    pub fn request(&mut self, method: &str, target: &str, fields: &str, body: &[u8]) -> Response {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
        self.send([head.as_bytes(), body].concat());
        self.response(method)
    }

    /// The next final reply, which answers a request of this method. Interim ones are skipped.
    pub fn response(&mut self, method: &str) -> Response {
        loop {
            let response = self.any_response(method);
            if response.status >= 200 {
                return response;
            }
        }
    }

    /// The next reply, be it an interim one.
    pub fn any_response(&mut self, method: &str) -> Response {
        self.try_response(method).expect("a reply, but the connection ended")
    }

    /// The next reply, or nothing when the connection ends before its first byte.
    pub fn try_response(&mut self, method: &str) -> Option<Response> {
        let head_end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill() {
                let left = String::from_utf8_lossy(&self.buffer);
                assert!(self.buffer.is_empty(), "the connection ended within a head: {left:?}");
                return None;
            }
        };
        let head: Vec<u8> = self.buffer.drain(..head_end).collect();
        let mut response = parse_head(&head, method);
        match response.framing {
            Framing::None => {}
            Framing::Length(len) => response.body = self.take(len),
            Framing::Chunked => self.chunks(&mut response),
            Framing::Close => {
                while self.fill() {}
                response.body = std::mem::take(&mut self.buffer);
            }
        }
        Some(response)
    }

    fn chunks(&mut self, response: &mut Response) {
        loop {
            let line = self.line();
            let size = usize::from_str_radix(&line, 16).expect("a chunk size, no extension");
            if size == 0 {
                break;
            }
            response.chunks.push(size);
            response.body.extend(self.take(size));
            assert_eq!(self.take(2), b"\r\n", "a chunk ends with CRLF");
        }
        loop {
            let line = self.line();
            if line.is_empty() {
                return;
            }
            response.trailers.push(parse_field(&line));
        }
    }

    /// One line without its CRLF.
    pub fn line(&mut self) -> String {
        let at = loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                break at;
            }
            assert!(self.fill(), "the connection ended within a line");
        };
        let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
        String::from_utf8(line[..at].to_vec()).unwrap()
    }

    /// Exactly so many bytes.
    pub fn take(&mut self, len: usize) -> Vec<u8> {
        while self.buffer.len() < len {
            let got = self.buffer.len();
            assert!(self.fill(), "the connection ended after {got} of {len} bytes");
        }
        self.buffer.drain(..len).collect()
    }

    /// Read once. False at the end of the connection, be it orderly or not.
    pub fn fill(&mut self) -> bool {
        let mut piece = [0; 65536];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(len) => {
                self.buffer.extend_from_slice(&piece[..len]);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("the server neither answered nor closed: {error}"),
        }
    }

    /// Whatever comes until the connection ends.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// The connection must end now, with not one byte more.
    pub fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "nothing more comes, but {:?}", String::from_utf8_lossy(&rest));
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

fn parse_head(head: &[u8], method: &str) -> Response {
    let text = std::str::from_utf8(head).expect("a head of text");
    let shown = || format!("{text:?}");
    let mut lines = text.strip_suffix("\r\n\r\n").unwrap().split("\r\n");
    let status_line = lines.next().unwrap();
    let (version, rest) = status_line.split_once(' ').unwrap_or_else(|| panic!("{}", shown()));
    assert!(matches!(version, "HTTP/1.1" | "HTTP/1.0"), "{}", shown());
    let (status, reason) = rest.split_once(' ').unwrap_or_else(|| panic!("{}", shown()));
    assert!(status.len() == 3 && status.bytes().all(|b| b.is_ascii_digit()), "{}", shown());
    let fields: Vec<_> = lines.map(parse_field).collect();
    let status: u16 = status.parse().unwrap();
    Response {
        framing: framing(&fields, status, method),
        version: version.into(),
        status,
        reason: reason.into(),
        fields,
        body: Vec::new(),
        chunks: Vec::new(),
        trailers: Vec::new(),
    }
}

fn parse_field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("a field: {line:?}"));
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    assert!(!name.is_empty() && name.bytes().all(token), "a token: {name:?}");
    let control = |b: u8| b == 0x7f || (b < b' ' && b != b'\t');
    assert!(!value.bytes().any(control), "no control characters: {value:?}");
    (name.into(), value.trim_matches([' ', '\t']).into())
}

fn framing(fields: &[(String, String)], status: u16, method: &str) -> Framing {
    let all = |name: &str| -> Vec<&str> {
        let named = fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    };
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    assert!(lengths.len() <= 1 && codings.len() <= 1, "framing is said once: {fields:?}");
    assert!(lengths.is_empty() || codings.is_empty(), "one framing: {fields:?}");
    if status < 200 || status == 204 {
        assert!(lengths.is_empty() && codings.is_empty(), "{status} has no framing: {fields:?}");
    }
    if method == "HEAD" || status < 200 || status == 204 || status == 304 {
        return Framing::None;
    }
    match (lengths.first(), codings.first()) {
        (Some(length), _) => {
            assert!(length.bytes().all(|b| b.is_ascii_digit()), "a length: {length}");
            Framing::Length(length.parse().unwrap())
        }
        (_, Some(coding)) => {
            assert_eq!(*coding, "chunked");
            Framing::Chunked
        }
        _ => Framing::Close,
    }
}
