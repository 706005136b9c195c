//! The model client and the application on top of the server's connection.

use crate::chosen::backend;
use ringway_codec::field::Field;
use ringway_codec::h2::frame::{self, Header};
use ringway_codec::h2::{
    Body, Code, Config, Conn, Error, Event, Io, Key, Pulled, Request, Sent, Shared,
};
use ringway_codec::{Time, hpack};
use std::collections::BTreeMap;

/// A frame as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// The error code of RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> Code {
        match self.kind {
            frame::RST_STREAM => Code(self.u32(0)),
            frame::GOAWAY => Code(self.u32(4)),
            _ => panic!("{self:?} has no code"),
        }
    }
}

/// One frame's octets, whatever they are.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

pub(crate) fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (id, value) in pairs {
        payload.extend(id.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(frame::SETTINGS, 0, 0, &payload)
}

pub(crate) fn window_update(stream: u32, n: u32) -> Vec<u8> {
    frame(frame::WINDOW_UPDATE, 0, stream, &n.to_be_bytes())
}

pub(crate) fn rst(stream: u32, code: Code) -> Vec<u8> {
    frame(frame::RST_STREAM, 0, stream, &code.0.to_be_bytes())
}

pub(crate) fn priority(stream: u32, depends_on: u32, weight: u16, exclusive: bool) -> Vec<u8> {
    frame(frame::PRIORITY, 0, stream, &place(depends_on, weight, exclusive))
}

pub(crate) fn place(depends_on: u32, weight: u16, exclusive: bool) -> Vec<u8> {
    let mut payload = (depends_on | u32::from(exclusive) << 31).to_be_bytes().to_vec();
    payload.push((weight - 1) as u8);
    payload
}

pub(crate) fn data(stream: u32, octets: &[u8], end: bool) -> Vec<u8> {
    frame(frame::DATA, u8::from(end), stream, octets)
}

/// A header block of literals without indexing, new names, no Huffman: an encoder that shares
/// nothing with ours.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            let n = text.len();
            if n < 127 {
                out.push(n as u8);
            } else {
                out.push(127);
                let mut rest = n - 127;
                while rest >= 128 {
                    out.push(rest as u8 | 128);
                    rest >>= 7;
                }
                out.push(rest as u8);
            }
            out.extend(text.as_bytes());
        }
    }
    out
}

pub(crate) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "example.org"), (":path", "/")];

pub(crate) fn with<'a>(extra: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    GET.iter().chain(extra).copied().collect()
}

pub(crate) fn replaced<'a>(name: &str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    GET.iter().map(|(n, v)| (*n, if *n == name { value } else { *v })).collect()
}

/// A whole request: HEADERS with END_HEADERS.
pub(crate) fn headers(stream: u32, end: bool, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(frame::HEADERS, frame::END_HEADERS | u8::from(end), stream, &block(fields))
}

pub(crate) fn get(stream: u32) -> Vec<u8> {
    headers(stream, true, &GET)
}

pub(crate) fn post(stream: u32, extra: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = replaced(":method", "POST");
    fields.extend(extra);
    headers(stream, false, &fields)
}

/// What the application has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Request { id: u32, fields: Vec<(String, String)>, end: bool },
    Data { id: u32, octets: Vec<u8>, end: bool },
    Trailers { id: u32, fields: Vec<(String, String)> },
    Reset { id: u32, code: Code, by_peer: bool },
    GoAway { code: Code },
}

/// A body that the application still has to give.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    pub(crate) left: usize,
    pub(crate) trailers: bool,
    /// Gives so many octets a time, and is then pending until woken.
    pub(crate) step: Option<usize>,
}

/// What the client knows of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) window: i64,
    pub(crate) received: usize,
    pub(crate) heads: Vec<Vec<(String, String)>>,
    /// Sizes of the header blocks on the wire.
    pub(crate) block_len: Vec<usize>,
    pub(crate) ended: bool,
    pub(crate) reset: Option<Code>,
}

pub(crate) struct Rig {
    pub(crate) conn: Conn,
    pub(crate) shared: Shared,
    pub(crate) out: Vec<u8>,
    pub(crate) now: Time,
    pub(crate) tail: Vec<u8>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) requests: BTreeMap<u32, Request>,
    pub(crate) error: Option<Error>,
    pub(crate) bodies: BTreeMap<u32, Source>,
    /// Do not consume request content on arrival.
    pub(crate) hold: bool,
    /// The client's side.
    pub(crate) decoder: hpack::Decoder,
    pub(crate) streams: BTreeMap<u32, Known>,
    pub(crate) window: i64,
    pub(crate) initial_window: i64,
    pub(crate) max_frame: usize,
    first: bool,
    /// The stream that came by an upgrade, without a request here.
    pub(crate) upgraded: u32,
    gathering: Option<(u32, bool, Vec<u8>)>,
}

pub(crate) fn text(bytes: &[u8], fields: &[Field]) -> Vec<(String, String)> {
    let s = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    fields.iter().map(|f| (s(f.name(bytes)), s(f.value(bytes)))).collect()
}

impl Rig {
    /// Nothing has been sent by the client yet.
    pub(crate) fn raw(config: Config) -> Self {
        let mut shared = Shared::new(backend(), config);
        let mut out = Vec::new();
        let now = Time(1_000_000_000);
        let conn = Conn::new(&mut Io { shared: &mut shared, out: &mut out, now });
        Self::around(conn, shared, out, now)
    }

    pub(crate) fn around(conn: Conn, shared: Shared, out: Vec<u8>, now: Time) -> Self {
        Self {
            conn,
            shared,
            out,
            now,
            tail: Vec::new(),
            seen: Vec::new(),
            requests: BTreeMap::new(),
            error: None,
            bodies: BTreeMap::new(),
            hold: false,
            decoder: hpack::Decoder::new(backend(), 4096),
            streams: BTreeMap::new(),
            window: 65_535,
            initial_window: 65_535,
            max_frame: 16_384,
            first: true,
            upgraded: 0,
            gathering: None,
        }
    }

    /// Preface and settings exchanged, nothing else.
    pub(crate) fn with(config: Config) -> Self {
        let mut rig = Self::raw(config);
        rig.handshake(&[]);
        rig
    }

    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn handshake(&mut self, pairs: &[(u16, u32)]) {
        self.send(frame::PREFACE);
        self.client_settings(pairs);
        self.send(&frame(frame::SETTINGS, frame::ACK, 0, &[]));
        let frames = self.frames();
        assert!(frames.iter().any(|f| f.kind == frame::SETTINGS && f.has(frame::ACK)));
        assert_eq!(self.error, None);
    }

    /// Sends SETTINGS and binds the client's own view to them.
    pub(crate) fn client_settings(&mut self, pairs: &[(u16, u32)]) {
        for (id, value) in pairs {
            match id {
                4 => {
                    let delta = i64::from(*value) - self.initial_window;
                    self.initial_window = i64::from(*value);
                    self.streams.values_mut().for_each(|s| s.window += delta);
                }
                5 => self.max_frame = *value as usize,
                1 => self.decoder.set_table_size(*value),
                _ => {}
            }
        }
        self.send(&settings(pairs));
    }

    /// Gives window, as far as the client's own account goes too.
    pub(crate) fn grant(&mut self, stream: u32, n: u32) {
        match stream {
            0 => self.window += i64::from(n),
            _ => self.stream(stream).window += i64::from(n),
        }
        self.send(&window_update(stream, n));
    }

    pub(crate) fn stream(&mut self, id: u32) -> &mut Known {
        let window = self.initial_window;
        self.streams.entry(id).or_insert_with(|| Known { window, ..Known::default() })
    }

    /// Delivers octets to the server, which keeps an unused tail.
    pub(crate) fn send(&mut self, octets: &[u8]) {
        let mut input = std::mem::take(&mut self.tail);
        input.extend_from_slice(octets);
        let mut at = 0;
        loop {
            let mut io = Io { shared: &mut self.shared, out: &mut self.out, now: self.now };
            let event = match self.conn.receive(&input, &mut at, &mut io) {
                Ok(Event::More) => break,
                Ok(event) => event,
                Err(error) => {
                    assert!(self.error.replace(error).is_none(), "one error is enough");
                    assert!(error.to_string().contains("peer"), "{error}");
                    break;
                }
            };
            self.event(event, &input);
        }
        let io = Io { shared: &mut self.shared, out: &mut self.out, now: self.now };
        assert!(self.error.is_some() || input.len() - at <= Conn::tail_max(&io));
        self.tail = input.split_off(at);
    }

    fn event(&mut self, event: Event, input: &[u8]) {
        let seen = match event {
            // The reset that was sent says it.
            Event::More | Event::Malformed { .. } => return,
            Event::Request(request) => {
                let fields = text(&self.shared.bytes, &self.shared.fields);
                let id = request.key.id();
                let end = request.end;
                self.requests.insert(id, request);
                Seen::Request { id, fields, end }
            }
            Event::TooLarge { key } => {
                self.io(|conn, io| conn.respond(key, 431, Body::None, io, |_| {}));
                return;
            }
            Event::Data { key, at, end } => {
                let octets = input[at].to_vec();
                if !self.hold {
                    self.consume(key, octets.len());
                }
                Seen::Data { id: key.id(), octets, end }
            }
            Event::Trailers { key } => {
                let fields = text(&self.shared.bytes, &self.shared.fields);
                Seen::Trailers { id: key.id(), fields }
            }
            Event::Reset { key, code, by_peer } => {
                let known = self.requests.remove(&key.id()).is_some();
                assert!(known || key.id() == self.upgraded, "reset of an unknown stream");
                self.bodies.remove(&key.id());
                Seen::Reset { id: key.id(), code, by_peer }
            }
            Event::GoAway { code } => Seen::GoAway { code },
        };
        self.seen.push(seen);
    }

    pub(crate) fn io<T>(&mut self, f: impl FnOnce(&mut Conn, &mut Io<'_>) -> T) -> T {
        let mut io = Io { shared: &mut self.shared, out: &mut self.out, now: self.now };
        f(&mut self.conn, &mut io)
    }

    pub(crate) fn consume(&mut self, key: Key, n: usize) {
        self.io(|conn, io| conn.consume(key, n, io));
    }

    pub(crate) fn key(&self, id: u32) -> Key {
        self.requests[&id].key
    }

    /// Answers 200 with `n` octets, to be pulled.
    pub(crate) fn answer(&mut self, id: u32, n: usize) {
        let key = self.key(id);
        let sent = self.io(|conn, io| conn.respond(key, 200, Body::Pull, io, |_| {}));
        if sent == Sent::Queued {
            self.bodies.insert(id, Source { left: n, ..Source::default() });
        }
    }

    /// Answers with a short body given at once.
    pub(crate) fn reply(&mut self, id: u32, status: u16, body: &[u8]) -> Sent {
        let key = self.key(id);
        self.io(|conn, io| conn.respond(key, status, Body::Whole(body), io, |_| {}))
    }

    /// Pulls bodies until `limit` octets are out.
    pub(crate) fn pull(&mut self, limit: usize) {
        let bodies = &mut self.bodies;
        let mut io = Io { shared: &mut self.shared, out: &mut self.out, now: self.now };
        loop {
            let wanted =
                self.conn.output(limit, &mut io, |key, max, out, _| give(bodies, key, max, out));
            match wanted {
                Ok(None) => return,
                Ok(Some(key)) => {
                    let sum = ringway_codec::field::Known::Other;
                    assert!(self.conn.trailers(key, &mut io, |t| t.field(sum, b"x-sum", b"1")));
                }
                Err(error) => {
                    self.error = Some(error);
                    return;
                }
            }
        }
    }

    /// Drains the server's output, checking it against what the client knows.
    pub(crate) fn frames(&mut self) -> Vec<Frame> {
        let out = std::mem::take(&mut self.out);
        let (mut at, mut frames) = (0, Vec::new());
        while at < out.len() {
            let h = Header::read(&out, at).expect("whole frames only");
            at += frame::HEADER;
            let payload = out[at..at + h.len as usize].to_vec();
            at += h.len as usize;
            let f = Frame { kind: h.kind, flags: h.flags, stream: h.stream, payload };
            self.check(&f);
            frames.push(f);
        }
        frames
    }

    /// All frames of one kind.
    pub(crate) fn only(&mut self, kind: u8) -> Vec<Frame> {
        self.frames().into_iter().filter(|f| f.kind == kind).collect()
    }

    fn check(&mut self, f: &Frame) {
        assert!(f.payload.len() <= self.max_frame, "a frame above the client's limit");
        if std::mem::take(&mut self.first) {
            assert!(f.kind == frame::SETTINGS && !f.has(frame::ACK), "SETTINGS come first");
        }
        if let Some((stream, _, _)) = self.gathering {
            assert_eq!((f.kind, f.stream), (frame::CONTINUATION, stream));
        }
        match f.kind {
            frame::DATA => {
                let n = f.payload.len() as i64;
                self.window -= n;
                assert!(self.window >= 0, "DATA beyond the connection's window");
                let s = self.stream(f.stream);
                s.window -= n;
                assert!(s.window >= 0 || n == 0, "DATA beyond the window of stream {}", f.stream);
                assert!(!s.heads.is_empty() && !s.ended && s.reset.is_none(), "{f:?}");
                s.received += f.payload.len();
                s.ended |= f.has(frame::END_STREAM);
            }
            frame::HEADERS => self.gather(f, f.has(frame::END_STREAM), f.payload.clone()),
            frame::PUSH_PROMISE => self.gather(f, false, f.payload[4..].to_vec()),
            frame::CONTINUATION => {
                let (_, end, mut block) = self.gathering.take().expect("a block under way");
                block.extend(&f.payload);
                self.gather(f, end, block);
            }
            frame::RST_STREAM => {
                let s = self.stream(f.stream);
                assert!(s.reset.replace(f.code()).is_none(), "two resets of stream {}", f.stream);
            }
            _ => {}
        }
    }

    fn gather(&mut self, f: &Frame, end: bool, block: Vec<u8>) {
        if !f.has(frame::END_HEADERS) {
            self.gathering = Some((f.stream, end, block));
            return;
        }
        let (mut bytes, mut fields) = (Vec::new(), Vec::new());
        let limits = hpack::FieldLimits { list_bytes: 1 << 20, fields: 1000 };
        let section = self.decoder.decode(&block, &limits, &mut bytes, &mut fields).unwrap();
        assert!(section.flaws.none());
        let s = self.stream(f.stream);
        assert!(!s.ended && s.reset.is_none(), "HEADERS after the end of stream {}", f.stream);
        s.heads.push(text(&bytes, &fields));
        s.block_len.push(block.len());
        s.ended |= end;
    }

    /// The status of a stream's last head.
    pub(crate) fn status(&self, id: u32) -> &str {
        let head = self.streams[&id].heads.last().unwrap();
        assert_eq!(head[0].0, ":status");
        &head[0].1
    }

    /// Expects the connection to have died of `code`, and the GOAWAY to say so.
    pub(crate) fn dead(&mut self, code: Code) {
        let error = self.error.expect("an error");
        assert_eq!(error.code, code, "{error}");
        let last = self.frames().pop().expect("a GOAWAY");
        assert_eq!((last.kind, last.code()), (frame::GOAWAY, code));
        assert!(last.payload.len() > 8, "a sentence");
        assert!(self.conn.is_done());
        // Whatever comes now is swallowed.
        let seen = self.seen.len();
        self.error = None;
        self.send(&get(2001));
        assert!(self.out.is_empty() && self.seen.len() == seen && self.error.is_none());
    }

    /// Expects that stream `id` has just been reset with `code`, and the connection to live.
    pub(crate) fn reset_with(&mut self, id: u32, code: Code) {
        assert_eq!(self.error, None);
        let resets: Vec<_> = self.only(frame::RST_STREAM);
        assert_eq!(resets.len(), 1, "{resets:?}");
        assert_eq!((resets[0].stream, resets[0].code()), (id, code));
        self.alive();
    }

    /// Shows that the connection still serves.
    pub(crate) fn alive(&mut self) {
        let id = self.conn_next_id();
        self.send(&get(id));
        assert_eq!(self.error, None);
        assert_eq!(self.reply(id, 200, b"alive"), Sent::All);
        let frames = self.frames();
        assert!(frames.iter().any(|f| f.stream == id && f.kind == frame::HEADERS), "{frames:?}");
    }

    /// An id above all that tests use by hand; every call another.
    pub(crate) fn conn_next_id(&mut self) -> u32 {
        let last =
            self.streams.keys().chain(self.requests.keys()).copied().filter(|id| id & 1 == 1);
        last.max().unwrap_or(1).max(100_001) + 2
    }
}

fn give(bodies: &mut BTreeMap<u32, Source>, key: Key, max: usize, out: &mut Vec<u8>) -> Pulled {
    let Some(body) = bodies.get_mut(&key.id()) else { return Pulled::End };
    let n = body.left.min(max).min(body.step.unwrap_or(usize::MAX));
    out.resize(out.len() + n, b'x');
    body.left -= n;
    match (body.left, body.trailers, body.step) {
        (0, false, _) => Pulled::End,
        (0, true, _) => Pulled::Trailers,
        (_, _, Some(_)) => Pulled::Pending,
        _ => Pulled::More,
    }
}
