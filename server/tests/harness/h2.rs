//! A raw HTTP/2 client: frames as the test makes them, out and in. Blocks are written as literals
//! that nothing is remembered of, and read by the codec's decoder, which has its own proofs.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use ringway_codec::hpack;
use ringway_codec::scan::Backend;

use super::PATIENCE;
use super::process::Process;
use super::tls;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const PRIORITY_UPDATE: u8 = 16;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const WITH_PRIORITY: u8 = 32;

pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const SETTINGS_TIMEOUT: u32 = 4;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The four octets at a place of the payload.
    pub fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A frame's octets.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

pub fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &settings_payload(pairs))
}

pub fn settings_payload(pairs: &[(u16, u32)]) -> Vec<u8> {
    pairs.iter().flat_map(|(id, n)| [&id.to_be_bytes()[..], &n.to_be_bytes()].concat()).collect()
}

pub fn window_update(stream: u32, n: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &n.to_be_bytes())
}

pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// An HPACK integer after a prefix of so many bits (RFC 7541 section 5.1).
pub fn integer(first: u8, bits: u32, mut value: usize) -> Vec<u8> {
    let most = (1 << bits) - 1;
    if value < most {
        return vec![first | value as u8];
    }
    let mut out = vec![first | most as u8];
    value -= most;
    while value >= 128 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A field as a literal without indexing, neither name nor value compressed.
pub fn literal(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name.as_ref(), value.as_ref()] {
        out.extend(integer(0, 7, text.len()));
        out.extend_from_slice(text);
    }
    out
}

/// A block of literals.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// The block of a plain request.
pub fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":path", path)];
    let authority = [(":authority", "localhost")];
    block(&[&pseudo[..], &authority, more].concat())
}

/// HEADERS of a plain request that ends with them.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", path, &[]))
}

/// What came on a stream.
#[derive(Debug, Default, Clone)]
pub struct Stream {
    pub heads: Vec<Vec<(String, String)>>,
    /// Octets of each head's block on the wire.
    pub head_sizes: Vec<usize>,
    pub body: Vec<u8>,
    pub data_frames: usize,
    pub ended: bool,
    pub reset: Option<u32>,
    /// The request that the server promised on it.
    pub promised: Option<Vec<(String, String)>>,
}

impl Stream {
    /// The first head that is not interim.
    pub fn head(&self) -> Option<&Vec<(String, String)>> {
        self.heads.iter().find(|head| !head[0].1.starts_with('1'))
    }

    pub fn status(&self) -> u16 {
        self.head().expect("a head")[0].1.parse().unwrap()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        let head = self.head().expect("a head");
        head.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The fields behind the body.
    pub fn trailers(&self) -> Option<&Vec<(String, String)>> {
        self.heads.last().filter(|last| !last[0].0.starts_with(':'))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn is_over(&self) -> bool {
        self.ended || self.reset.is_some()
    }
}

pub trait Transport: Read + Write + Send {
    fn tcp(&self) -> &TcpStream;

    /// TLS records of application data that came.
    fn records(&self) -> u64 {
        0
    }
}

impl Transport for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Transport for tls::Stream {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }

    fn records(&self) -> u64 {
        self.sock.records
    }
}

pub struct H2 {
    transport: Box<dyn Transport>,
    input: Vec<u8>,
    at: usize,
    decoder: hpack::Decoder,
    /// A header block under way: its stream, the frame that began it, what of it came.
    block: Option<(Frame, Vec<u8>)>,
    pub streams: HashMap<u32, Stream>,
    /// Kind, stream and payload length of every frame, in order.
    pub seen: Vec<(u8, u32, usize)>,
    pub goaways: Vec<Frame>,
    /// The server's settings, as it sent them.
    pub settings: Vec<(u16, u32)>,
    /// Acknowledge SETTINGS and PING.
    pub polite: bool,
    /// Give back at once the window that DATA took.
    pub refill: bool,
    pub next_id: u32,
}

impl H2 {
    /// Prior knowledge: preface and empty SETTINGS are sent.
    pub fn connect(address: SocketAddr) -> Self {
        Self::with(address, &[])
    }

    pub fn with(address: SocketAddr, pairs: &[(u16, u32)]) -> Self {
        let mut this = Self::silent(address);
        this.send([PREFACE, &settings(pairs)].concat());
        this
    }

    /// A connection on which nothing has been sent.
    pub fn silent(address: SocketAddr) -> Self {
        Self::over(Box::new(tls::tcp(address)))
    }

    pub fn tls(address: SocketAddr) -> Self {
        let mut this = Self::over(Box::new(tls::connect(address, &[b"h2"], "localhost")));
        this.send([PREFACE, &settings(&[])].concat());
        this
    }

    pub fn over(transport: Box<dyn Transport>) -> Self {
        Self {
            transport,
            input: Vec::new(),
            at: 0,
            decoder: hpack::Decoder::new(Backend::Scalar, 4096),
            block: None,
            streams: HashMap::new(),
            seen: Vec::new(),
            goaways: Vec::new(),
            settings: Vec::new(),
            polite: true,
            refill: true,
            next_id: 1,
        }
    }

    pub fn tcp(&self) -> &TcpStream {
        self.transport.tcp()
    }

    /// TLS records of application data that came.
    pub fn records(&self) -> u64 {
        self.transport.records()
    }

    /// Bytes that were read ahead of the first frame.
    pub fn put_back(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Sends octets; a peer that has gone by then is no failure here.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.try_send(bytes);
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.transport.write_all(bytes.as_ref())?;
        self.transport.flush()
    }

    /// A new stream's number.
    pub fn id(&mut self) -> u32 {
        self.next_id += 2;
        self.next_id - 2
    }

    /// Asks, and waits for the whole answer.
    pub fn get(&mut self, path: &str) -> Stream {
        let id = self.ask("GET", path, &[], b"");
        self.answer(id)
    }

    /// Sends a request with its body, in frames of at most 16 KiB; the stream's number.
    pub fn ask(&mut self, method: &str, path: &str, more: &[(&str, &str)], body: &[u8]) -> u32 {
        let id = self.id();
        let end = if body.is_empty() { END_STREAM } else { 0 };
        let head = request(method, path, more);
        let mut out = frame(HEADERS, END_HEADERS | end, id, &head);
        let pieces = body.chunks(16_384);
        let last = pieces.len();
        for (i, piece) in pieces.enumerate() {
            let flags = if i + 1 == last { END_STREAM } else { 0 };
            out.extend(frame(DATA, flags, id, piece));
        }
        self.send(out);
        id
    }

    /// Reads until a stream is over.
    pub fn answer(&mut self, id: u32) -> Stream {
        self.until("the stream ends", |this| this.streams.get(&id).is_some_and(Stream::is_over));
        self.streams[&id].clone()
    }

    pub fn answers(&mut self, ids: &[u32]) -> Vec<Stream> {
        ids.iter().map(|id| self.answer(*id)).collect()
    }

    /// Reads frames until something holds.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        while !holds(self) {
            let more = self.next().is_some();
            assert!(more, "{what}, but the connection ended: {:?}", self.goaways);
        }
    }

    /// Everything sent until now has been seen by the server once its answer to this is here.
    pub fn round_trip(&mut self) {
        self.send(frame(PING, 0, 0, b"together"));
        self.until_frame("a PING's answer", |f| {
            f.kind == PING && f.has(ACK) && f.payload == b"together"
        });
    }

    pub fn until_frame(&mut self, what: &str, mut is: impl FnMut(&Frame) -> bool) -> Frame {
        loop {
            let next = self.next();
            let next = next.unwrap_or_else(|| panic!("{what}, not the end: {:?}", self.goaways));
            if is(&next) {
                return next;
            }
        }
    }

    /// Reads until the connection ends; the code of the last GOAWAY.
    pub fn end(&mut self) -> Option<u32> {
        while self.next().is_some() {}
        self.goaways.last().map(|frame| frame.number(4))
    }

    /// The next frame, taken note of; nothing when the connection has ended.
    pub fn next(&mut self) -> Option<Frame> {
        let next = self.read_frame()?;
        self.seen.push((next.kind, next.stream, next.payload.len()));
        let mut reply = Vec::new();
        match next.kind {
            DATA => reply = self.take_data(&next),
            HEADERS | PUSH_PROMISE => {
                let skip = if next.kind == PUSH_PROMISE { 4 } else { 0 };
                self.block = Some((next.clone(), next.payload[skip..].to_vec()));
            }
            CONTINUATION => {
                let (first, block) = self.block.as_mut().expect("a block has begun");
                assert_eq!(first.stream, next.stream);
                block.extend_from_slice(&next.payload);
            }
            RST_STREAM => {
                self.streams.entry(next.stream).or_default().reset = Some(next.number(0));
            }
            SETTINGS if !next.has(ACK) => {
                for pair in next.payload.chunks(6) {
                    let id = u16::from_be_bytes([pair[0], pair[1]]);
                    self.settings.push((id, u32::from_be_bytes(pair[2..].try_into().unwrap())));
                }
                reply = frame(SETTINGS, ACK, 0, b"");
            }
            PING if !next.has(ACK) => reply = frame(PING, ACK, 0, &next.payload),
            GOAWAY => self.goaways.push(next.clone()),
            _ => {}
        }
        if next.has(END_HEADERS) && matches!(next.kind, HEADERS | PUSH_PROMISE | CONTINUATION) {
            self.take_block();
        }
        if !reply.is_empty() && (self.polite || next.kind == DATA) {
            self.send(reply);
        }
        Some(next)
    }

    fn take_data(&mut self, next: &Frame) -> Vec<u8> {
        assert!(!next.has(PADDED), "this server does not pad");
        let stream = self.streams.entry(next.stream).or_default();
        assert!(!stream.ended && stream.head().is_some(), "DATA in its place: {}", next.stream);
        stream.body.extend_from_slice(&next.payload);
        stream.data_frames += 1;
        stream.ended |= next.has(END_STREAM);
        let n = next.payload.len() as u32;
        match (self.refill && n > 0, stream.ended) {
            (false, _) => Vec::new(),
            (true, true) => window_update(0, n),
            (true, false) => [window_update(0, n), window_update(next.stream, n)].concat(),
        }
    }

    fn take_block(&mut self) {
        let (first, block) = self.block.take().unwrap();
        let limits = hpack::FieldLimits { list_bytes: 1 << 20, fields: 10_000 };
        let (mut bytes, mut fields) = (Vec::new(), Vec::new());
        self.decoder.decode(&block, &limits, &mut bytes, &mut fields).expect("a right block");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let pair = |f: &ringway_codec::field::Field| (text(f.name(&bytes)), text(f.value(&bytes)));
        let head: Vec<_> = fields.iter().map(pair).collect();
        if first.kind == PUSH_PROMISE {
            let id = first.number(0);
            let old = self.streams.insert(id, Stream { promised: Some(head), ..Stream::default() });
            assert!(id % 2 == 0 && old.is_none(), "a new even stream: {id}");
            return;
        }
        let stream = self.streams.entry(first.stream).or_default();
        assert!(!stream.ended, "nothing follows the end of {}", first.stream);
        stream.heads.push(head);
        stream.head_sizes.push(block.len());
        stream.ended |= first.has(END_STREAM);
    }

    fn read_frame(&mut self) -> Option<Frame> {
        if self.at > 1 << 20 {
            self.input.drain(..std::mem::take(&mut self.at));
        }
        while self.input.len() - self.at < 9 {
            if !self.fill() {
                assert_eq!(self.input.len(), self.at, "the connection ended within a frame");
                return None;
            }
        }
        let header: [u8; 9] = self.input[self.at..self.at + 9].try_into().unwrap();
        let len = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        while self.input.len() - self.at < 9 + len {
            if !self.fill() {
                return None;
            }
        }
        let stream = u32::from_be_bytes(header[5..].try_into().unwrap());
        let payload = self.input[self.at + 9..self.at + 9 + len].to_vec();
        self.at += 9 + len;
        Some(Frame { kind: header[3], flags: header[4], stream, payload })
    }

    fn fill(&mut self) -> bool {
        let mut piece = [0; 65_536];
        match self.transport.read(&mut piece) {
            Ok(len) => {
                self.input.extend_from_slice(&piece[..len]);
                len > 0
            }
            Err(error) => match error.kind() {
                // TLS answers a close_notify while it reads: the pipe may be gone by then.
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof => false,
                _ => panic!("nothing within {PATIENCE:?}: {error}"),
            },
        }
    }
}

/// A connection by each way there is: prior knowledge on both clear listeners, and TLS.
pub fn every_way(server: &Process) -> Vec<H2> {
    let at = |kind| server.at(kind);
    vec![H2::connect(at("http")), H2::connect(at("h2c")), H2::tls(at("https"))]
}

/// What a client sends after preface and SETTINGS must end the connection with this code.
pub fn ends_with(server: &Process, what: &str, bytes: &[u8], code: u32) {
    let mut client = H2::connect(server.at("h2c"));
    client.send(bytes);
    assert_eq!(client.end(), Some(code), "{what}");
}
