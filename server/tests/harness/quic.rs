//! A raw HTTP/3 client over quiche's transport: frames and QPACK literals as the test makes them,
//! over sockets that it may change under a running connection. Blocks that come in are read by the
//! codec's decoder, which has its own proofs.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ringway_codec::qpack;
use ringway_codec::scan::Backend;
use ringway_quic::quiche::{self, Config, Connection, ConnectionId, Error, RecvInfo};

use super::PATIENCE;

pub const DATA: u64 = 0x0;
pub const HEADERS: u64 = 0x1;
pub const CANCEL_PUSH: u64 = 0x3;
pub const SETTINGS: u64 = 0x4;
pub const PUSH_PROMISE: u64 = 0x5;
pub const GOAWAY: u64 = 0x7;
pub const MAX_PUSH_ID: u64 = 0xd;
pub const PRIORITY_UPDATE: u64 = 0xf_0700;

pub const NO_ERROR: u64 = 0x100;
pub const STREAM_CREATION_ERROR: u64 = 0x103;
pub const CLOSED_CRITICAL_STREAM: u64 = 0x104;
pub const FRAME_UNEXPECTED: u64 = 0x105;
pub const FRAME_ERROR: u64 = 0x106;
pub const EXCESSIVE_LOAD: u64 = 0x107;
pub const ID_ERROR: u64 = 0x108;
pub const SETTINGS_ERROR: u64 = 0x109;
pub const MISSING_SETTINGS: u64 = 0x10a;
pub const REQUEST_INCOMPLETE: u64 = 0x10d;
pub const MESSAGE_ERROR: u64 = 0x10e;
pub const QPACK_DECOMPRESSION_FAILED: u64 = 0x200;
pub const QPACK_ENCODER_STREAM_ERROR: u64 = 0x201;
pub const QPACK_DECODER_STREAM_ERROR: u64 = 0x202;

/// Datagrams longer than this carry content.
const FULL: usize = 1000;

/// The client's control, QPACK encoder and QPACK decoder stream.
pub const CONTROL: u64 = 2;
pub const ENCODER: u64 = 6;
pub const DECODER: u64 = 10;

/// An integer of variable length (RFC 9000 section 16).
pub fn varint(value: u64) -> Vec<u8> {
    match value {
        0..=0x3f => vec![value as u8],
        0x40..=0x3fff => (value as u16 | 0x4000).to_be_bytes().to_vec(),
        0x4000..=0x3fff_ffff => (value as u32 | 0x8000_0000).to_be_bytes().to_vec(),
        _ => (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
    }
}

pub fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    [varint(kind), varint(payload.len() as u64), payload.to_vec()].concat()
}

pub fn settings(pairs: &[(u64, u64)]) -> Vec<u8> {
    let payload: Vec<u8> =
        pairs.iter().flat_map(|&(id, value)| [varint(id), varint(value)].concat()).collect();
    frame(SETTINGS, &payload)
}

/// A field section of literals that names nothing in any table (RFC 9204 section 4.5.6).
pub fn section(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = vec![0, 0];
    for (name, value) in fields {
        out.extend(super::h2::integer(0x20, 3, name.len()));
        out.extend_from_slice(name.as_bytes());
        out.extend(super::h2::integer(0, 7, value.len()));
        out.extend_from_slice(value.as_bytes());
    }
    out
}

pub fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, &section(fields))
}

/// What every request begins with.
pub fn request<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
}

pub fn get(path: &str) -> Vec<u8> {
    headers(&request("GET", path))
}

/// A response as far as it has come.
#[derive(Debug, Default, Clone)]
pub struct Answer {
    raw: Vec<u8>,
    pub heads: Vec<Vec<(String, String)>>,
    pub body: Vec<u8>,
    pub fin: bool,
    /// The code it was reset with.
    pub reset: Option<u64>,
    /// Octets of each encoded field section.
    pub section_bytes: Vec<usize>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut all = self.heads.iter().flatten().filter(|(n, _)| n == name);
        all.next_back().map(|(_, value)| value.as_str())
    }

    /// The last status.
    pub fn status(&self) -> u16 {
        self.field(":status").map_or(0, |status| status.parse().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether it has ended and everything of it has been read: no table entry is missing.
    pub fn is_over(&self) -> bool {
        (self.fin && self.raw.is_empty()) || self.reset.is_some()
    }
}

pub struct H3 {
    pub conn: Connection,
    server: SocketAddr,
    /// Sockets by the address that quiche knows them by; the last is waited on.
    sockets: Vec<(SocketAddr, UdpSocket)>,
    pub streams: BTreeMap<u64, Answer>,
    /// The server's own streams, without their types.
    pub uni: BTreeMap<u64, (u64, Vec<u8>)>,
    decoder: qpack::Decoder,
    /// Octets of encoder instructions that came.
    pub encoder_bytes: usize,
    /// Datagrams that came.
    pub datagrams: usize,
    /// Whether responses are read as they come.
    pub reads: bool,
    /// So many of the next full datagrams are lost on their way here.
    pub lose: usize,
    /// Everything that was sent, if it is to be kept.
    pub sent: Option<Vec<Vec<u8>>>,
    next: u64,
    unsent: BTreeMap<u64, Unsent>,
}

/// What is to go out on a stream.
#[derive(Default)]
struct Unsent {
    bytes: Vec<u8>,
    at: usize,
    fin: bool,
}

pub fn config() -> Config {
    let mut config = Config::new(quiche::PROTOCOL_VERSION).unwrap();
    config.set_application_protos(&[b"h3"]).unwrap();
    config.verify_peer(false);
    config.set_max_idle_timeout(60_000);
    config.set_initial_max_data(100_000_000);
    config.set_initial_max_stream_data_bidi_local(10_000_000);
    config.set_initial_max_stream_data_uni(1_000_000);
    config.set_initial_max_streams_uni(10);
    config.set_max_recv_udp_payload_size(65_527);
    config.set_active_connection_id_limit(4);
    config.set_disable_active_migration(false);
    config.enable_early_data();
    config
}

/// What names a server that quiche's tickets are kept for.
pub const NAME: &str = "localhost";

impl H3 {
    /// A connection whose handshake is complete and whose streams are open.
    pub fn connect(server: SocketAddr) -> Self {
        let mut this = Self::bare(server);
        this.begin();
        this
    }

    /// A connection whose handshake is complete, without any stream.
    pub fn bare(server: SocketAddr) -> Self {
        let mut this = Self::new(server, &mut config(), None);
        this.run("the handshake", |this| this.conn.is_established() || this.conn.is_closed());
        assert!(this.conn.is_established(), "{:?}", this.conn.peer_error());
        this
    }

    /// A connection that has sent nothing yet.
    pub fn new(server: SocketAddr, config: &mut Config, session: Option<&[u8]>) -> Self {
        Self::named(NAME, server, config, session)
    }

    /// The same, for a server of this name.
    pub fn named(
        name: &str,
        server: SocketAddr,
        config: &mut Config,
        session: Option<&[u8]>,
    ) -> Self {
        let udp = UdpSocket::bind((server.ip(), 0)).unwrap();
        let local = udp.local_addr().unwrap();
        let mut scid = [0xc1; 16];
        scid[..2].copy_from_slice(&local.port().to_be_bytes());
        let scid = ConnectionId::from_ref(&scid);
        let mut conn = quiche::connect(Some(name), &scid, local, server, config).unwrap();
        if let Some(session) = session {
            conn.set_session(session).unwrap();
        }
        Self {
            conn,
            server,
            sockets: vec![(local, udp)],
            streams: BTreeMap::new(),
            uni: BTreeMap::new(),
            decoder: qpack::Decoder::new(Backend::Scalar, 4096, 16),
            encoder_bytes: 0,
            datagrams: 0,
            reads: true,
            lose: 0,
            sent: None,
            next: 0,
            unsent: BTreeMap::new(),
        }
    }

    /// Opens the control and QPACK streams, with a table for the server's encoder.
    pub fn begin(&mut self) {
        self.raw(CONTROL, &[varint(0), settings(&[(1, 4096), (7, 16)])].concat(), false);
        self.raw(ENCODER, &[2], false);
        self.raw(DECODER, &[3], false);
    }

    /// Sends these bytes on a stream, as far as windows allow now and the rest later.
    pub fn raw(&mut self, id: u64, bytes: &[u8], fin: bool) {
        self.queue(id, bytes, fin);
        self.flush();
    }

    fn queue(&mut self, id: u64, bytes: &[u8], fin: bool) {
        let unsent = self.unsent.entry(id).or_default();
        unsent.bytes.extend_from_slice(bytes);
        unsent.fin |= fin;
    }

    /// Whether everything that was to be sent has found room.
    pub fn is_sent(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Octets of content that have found room, of streams that have more to say.
    pub fn taken(&self) -> usize {
        self.unsent.values().map(|unsent| unsent.at).sum()
    }

    /// A new request stream, with nothing on it.
    pub fn id(&mut self) -> u64 {
        self.next += 4;
        self.streams.insert(self.next - 4, Answer::default());
        self.next - 4
    }

    /// Sends a request and returns its stream.
    pub fn ask(&mut self, method: &str, path: &str, more: &[(&str, &str)], body: &[u8]) -> u64 {
        let id = self.id();
        let mut out = headers(&[&request(method, path)[..], more].concat());
        if !body.is_empty() {
            out.extend(frame(DATA, body));
        }
        self.raw(id, &out, true);
        id
    }

    /// The whole answer on a stream, which is then forgotten.
    pub fn answer(&mut self, id: u64) -> Answer {
        self.run("an answer", |this| {
            this.streams[&id].is_over() || this.conn.is_closed() || this.conn.is_draining()
        });
        self.streams.remove(&id).unwrap()
    }

    pub fn get(&mut self, path: &str) -> Answer {
        let id = self.ask("GET", path, &[], b"");
        self.answer(id)
    }

    /// How the server closes the connection: whether by an application error, and its code.
    pub fn closed(&mut self) -> (bool, u64) {
        self.run("the end of the connection", |this| {
            this.conn.peer_error().is_some() || this.conn.is_closed()
        });
        let error = self.conn.peer_error().expect("an error code");
        (error.is_app, error.error_code)
    }

    /// What is known of the connection's end.
    pub fn why(&self) -> String {
        let (theirs, ours) = (self.conn.peer_error(), self.conn.local_error());
        let is_timed_out = self.conn.is_timed_out();
        format!("the peer {theirs:?}, here {ours:?}, timed out: {is_timed_out}")
    }

    /// The ticket of this connection.
    pub fn session(&mut self) -> Vec<u8> {
        self.run("a ticket", |this| this.conn.session().is_some());
        self.conn.session().unwrap().to_vec()
    }

    /// Gives the server connection IDs for other paths.
    pub fn supply_cids(&mut self) {
        for n in 1..=self.conn.scids_left() as u8 {
            let cid = ConnectionId::from_vec(vec![n; 16]);
            self.conn.new_scid(&cid, u128::from(n), false).unwrap();
        }
    }

    /// What a NAT does that forgets: another port outside, of which the client does not know. It
    /// says something, as clients do from time to time: nobody else could tell the server.
    pub fn rebind(&mut self) {
        let (_, last) = self.sockets.last_mut().unwrap();
        *last = UdpSocket::bind((self.server.ip(), 0)).unwrap();
        let _ = self.conn.send_ack_eliciting();
    }

    /// Another socket, through which datagrams may be sent past quiche.
    pub fn socket(&self) -> UdpSocket {
        self.sockets.last().unwrap().1.try_clone().unwrap()
    }

    /// Moves to a socket of its own accord.
    pub fn migrate(&mut self) {
        self.supply_cids();
        self.run("a spare connection ID", |this| this.conn.available_dcids() > 0);
        let udp = UdpSocket::bind((self.server.ip(), 0)).unwrap();
        let local = udp.local_addr().unwrap();
        self.sockets.push((local, udp));
        self.conn.probe_path(local, self.server).unwrap();
        let server = self.server;
        self.run("a validated path", |this| {
            this.conn.is_path_validated(local, server).unwrap_or(false)
        });
        self.conn.migrate(local, server).unwrap();
    }

    /// Says goodbye, at once.
    pub fn close(mut self) {
        let _ = self.conn.close(true, NO_ERROR, b"");
        self.flush();
    }

    /// Lets things happen until something holds.
    pub fn run(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        loop {
            self.step(Duration::ZERO);
            if holds(self) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "never happened: {what}");
            self.step(Duration::from_millis(5));
        }
    }

    /// Lets things happen for a while.
    pub fn run_for(&mut self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            self.step(Duration::from_millis(1));
        }
    }

    /// Sends and receives what there is, after waiting no longer than this.
    pub fn step(&mut self, wait: Duration) {
        self.flush();
        let wait = self.conn.timeout().map_or(wait, |timeout| timeout.min(wait));
        let mut came = false;
        for at in (0..self.sockets.len()).rev() {
            let is_last = at + 1 == self.sockets.len();
            came |= self.receive(at, if is_last { wait } else { Duration::ZERO });
        }
        if came {
            self.read();
        }
        self.flush();
    }

    fn receive(&mut self, at: usize, wait: Duration) -> bool {
        let mut buffer = [0; 65_536];
        let (local, udp) = (self.sockets[at].0, self.sockets[at].1.try_clone().unwrap());
        udp.set_nonblocking(wait.is_zero()).unwrap();
        udp.set_read_timeout((!wait.is_zero()).then_some(wait)).unwrap();
        let mut came = false;
        while let Ok((len, from)) = udp.recv_from(&mut buffer) {
            udp.set_nonblocking(true).unwrap();
            if self.lose > 0 && len > FULL {
                self.lose -= 1;
                continue;
            }
            self.datagrams += 1;
            came = true;
            let _ = self.conn.recv(&mut buffer[..len], RecvInfo { from, to: local });
        }
        came
    }

    pub fn flush(&mut self) {
        if self.conn.timeout().is_some_and(|left| left.is_zero()) {
            self.conn.on_timeout();
        }
        let conn = &mut self.conn;
        self.unsent.retain(|&id, unsent| {
            match conn.stream_send(id, &unsent.bytes[unsent.at..], unsent.fin) {
                Ok(sent) => {
                    unsent.at += sent;
                    unsent.at < unsent.bytes.len()
                }
                Err(Error::Done | Error::StreamLimit) => true,
                Err(_) => false,
            }
        });
        let mut out = [0; 1500];
        // One that closes while a probe of its handshake is due would acknowledge for ever.
        let most = if self.conn.local_error().is_some() { 4 } else { usize::MAX };
        for _ in 0..most {
            let Ok((len, info)) = self.conn.send(&mut out) else { break };
            if let Some(sent) = &mut self.sent {
                sent.push(out[..len].to_vec());
            }
            let found = self.sockets.iter().rev().find(|(local, _)| *local == info.from);
            let _ = found.unwrap().1.send_to(&out[..len], info.to);
        }
    }

    /// Reads what has come, unless responses are not to be read.
    pub fn read(&mut self) {
        if !self.reads {
            return;
        }
        let mut chunk = [0; 65_536];
        let ids: Vec<u64> = self.conn.readable().collect();
        for id in ids {
            loop {
                match self.conn.stream_recv(id, &mut chunk) {
                    Ok((len, _)) if id & 3 == 3 => self.on_uni(id, &chunk[..len]),
                    Ok((len, fin)) => {
                        let Some(answer) = self.streams.get_mut(&id) else { continue };
                        answer.raw.extend_from_slice(&chunk[..len]);
                        answer.fin |= fin;
                    }
                    Err(Error::StreamReset(code)) => {
                        if let Some(answer) = self.streams.get_mut(&id) {
                            answer.reset = Some(code);
                        }
                        break;
                    }
                    Err(_) => break,
                }
            }
        }
        self.parse();
    }

    fn on_uni(&mut self, id: u64, bytes: &[u8]) {
        let mut bytes = bytes;
        let held = self.uni.entry(id).or_insert_with(|| {
            let kind = bytes[0];
            assert!(kind < 64, "a type of one octet: no grease is sent");
            bytes = &bytes[1..];
            (u64::from(kind), Vec::new())
        });
        held.1.extend_from_slice(bytes);
        if held.0 == 2 && !bytes.is_empty() {
            self.encoder_bytes += bytes.len();
            self.decoder.read_encoder_stream(bytes).unwrap();
            while self.decoder.unblocked().is_some() {}
        }
    }

    /// Takes what is whole off the fronts of all answers.
    fn parse(&mut self) {
        for (&id, answer) in &mut self.streams {
            let mut at = 0;
            loop {
                let rest = &answer.raw[at..];
                let Some((kind, used)) = read_varint(rest) else { break };
                let Some((len, more)) = read_varint(&rest[used..]) else { break };
                let Some(payload) = rest[used + more..].get(..len as usize) else { break };
                match kind {
                    DATA => answer.body.extend_from_slice(payload),
                    HEADERS => match decode(&mut self.decoder, id, payload) {
                        Some(head) => {
                            answer.section_bytes.push(payload.len());
                            answer.heads.push(head);
                        }
                        None => break,
                    },
                    _ => {}
                }
                at += used + more + len as usize;
            }
            answer.raw.drain(..at);
        }
        let mut acknowledged = Vec::new();
        self.decoder.output(&mut acknowledged);
        if !acknowledged.is_empty() {
            self.queue(DECODER, &acknowledged, false);
        }
    }

    /// The server's stream of this type.
    pub fn theirs(&self, kind: u64) -> Option<u64> {
        self.uni.iter().find(|(_, held)| held.0 == kind).map(|(id, _)| *id)
    }

    /// Frames that came on the server's control stream.
    pub fn control(&self) -> Vec<(u64, Vec<u8>)> {
        let Some((_, held)) = self.uni.values().find(|(kind, _)| *kind == 0) else {
            return Vec::new();
        };
        let (mut rest, mut frames) = (&held[..], Vec::new());
        while let Some((kind, used)) = read_varint(rest) {
            let Some((len, more)) = read_varint(&rest[used..]) else { break };
            let Some(payload) = rest[used + more..].get(..len as usize) else { break };
            frames.push((kind, payload.to_vec()));
            rest = &rest[used + more + len as usize..];
        }
        frames
    }
}

fn decode(decoder: &mut qpack::Decoder, id: u64, payload: &[u8]) -> Option<Vec<(String, String)>> {
    let limits = qpack::FieldLimits { list_bytes: 65_536, fields: 100 };
    let (mut bytes, mut fields) = (Vec::new(), Vec::new());
    match decoder.decode(id, payload, &limits, &mut bytes, &mut fields).unwrap() {
        qpack::Decoded::Blocked => None,
        _ => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let pairs = fields.iter().map(|f| (text(f.name(&bytes)), text(f.value(&bytes))));
            Some(pairs.collect())
        }
    }
}

/// The integer at the front, and its length.
pub fn read_varint(input: &[u8]) -> Option<(u64, usize)> {
    let len = 1 << (*input.first()? >> 6);
    let bytes = input.get(..len)?;
    let value = bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
    Some((value & (u64::MAX >> (66 - 8 * len)), len))
}
