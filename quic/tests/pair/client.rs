//! A quiche client with just enough HTTP/3 to send requests, read responses, and break every rule
//! on demand.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ringway_codec::field::Known;
use ringway_codec::h3::frame::{self, kind};
use ringway_codec::qpack;
use ringway_codec::scan::Backend;
use ringway_quic::quiche::{self, Config, Connection, ConnectionId, RecvInfo};

use super::{Net, SERVER};

#[derive(Default)]
pub struct Response {
    raw: Vec<u8>,
    pub heads: Vec<Vec<(String, String)>>,
    pub body: Vec<u8>,
    pub fin: bool,
    pub reset: Option<u64>,
    /// Octets of each encoded section.
    pub section_bytes: Vec<usize>,
}

impl Response {
    /// The last status.
    pub fn status(&self) -> &str {
        let mut all = self.heads.iter().flatten().filter(|(name, _)| name == ":status");
        all.next_back().map_or("", |(_, value)| value)
    }

    pub fn is_over(&self) -> bool {
        self.fin || self.reset.is_some()
    }
}

pub struct Client {
    pub conn: Connection,
    /// Its reachable address.
    pub addresses: Vec<SocketAddr>,
    pub responses: BTreeMap<u64, Response>,
    encoder: qpack::Encoder,
    decoder: qpack::Decoder,
    uni: BTreeMap<u64, Vec<u8>>,
    next: u64,
    pub encoder_bytes: usize,
    pub received: usize,
    pub reads: bool,
    /// Its own address, and its address after NAT.
    nat: Option<(SocketAddr, SocketAddr)>,
    /// Output that quiche has not taken yet.
    unsent: Vec<(u64, Vec<u8>, bool)>,
}

pub fn config() -> Config {
    let mut config = Config::new(quiche::PROTOCOL_VERSION).unwrap();
    set(&mut config);
    config
}

/// The settings of every client.
pub fn set(config: &mut Config) {
    config.set_application_protos(&[b"h3"]).unwrap();
    config.verify_peer(false);
    config.set_max_idle_timeout(20_000);
    config.set_initial_max_data(10_000_000);
    config.set_initial_max_stream_data_bidi_local(1_000_000);
    config.set_initial_max_stream_data_uni(1_000_000);
    config.set_initial_max_streams_uni(10);
    config.set_max_recv_udp_payload_size(1500);
    config.set_active_connection_id_limit(4);
    config.set_disable_active_migration(false);
    config.enable_early_data();
}

impl Client {
    pub fn new(port: u16) -> Self {
        Self::with(port, &mut config(), None)
    }

    pub fn with(port: u16, config: &mut Config, session: Option<&[u8]>) -> Self {
        let local: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
        let mut scid = [0xc1; 16];
        scid[..2].copy_from_slice(&port.to_be_bytes());
        let scid = ConnectionId::from_ref(&scid);
        let server = SERVER.parse().unwrap();
        let mut conn = quiche::connect(Some("localhost"), &scid, local, server, config).unwrap();
        if let Some(session) = session {
            conn.set_session(session).unwrap();
        }
        Self {
            conn,
            addresses: vec![local],
            responses: BTreeMap::new(),
            encoder: qpack::Encoder::new(Backend::Scalar, 0),
            decoder: qpack::Decoder::new(Backend::Scalar, 4096, 16),
            uni: BTreeMap::new(),
            next: 0,
            encoder_bytes: 0,
            received: 0,
            reads: true,
            nat: None,
            unsent: Vec::new(),
        }
    }

    /// Opens the control and QPACK streams.
    pub fn begin(&mut self) {
        let mut control = vec![0];
        frame::write_head(&mut control, kind::SETTINGS, 5);
        control.extend_from_slice(&[1, 0x50, 0, 7, 16]);
        self.raw(2, &control, false);
        self.raw(6, &[2], false);
        self.raw(10, &[3], false);
    }

    pub fn raw(&mut self, id: u64, bytes: &[u8], fin: bool) -> usize {
        self.conn.stream_send(id, bytes, fin).unwrap()
    }

    pub fn section(&mut self, id: u64, lines: &[(&str, &str)]) -> Vec<u8> {
        let (mut block, mut none) = (Vec::new(), Vec::new());
        let mut writer = self.encoder.block(id, &mut block, &mut none);
        for (name, value) in lines {
            writer.field(Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes());
        }
        writer.finish();
        let mut out = Vec::new();
        frame::write_head(&mut out, kind::HEADERS, block.len() as u64);
        out.extend_from_slice(&block);
        out
    }

    /// Sends a request and returns its stream. Content is sent as far as the window allows.
    pub fn request(&mut self, method: &str, path: &str, body: &[u8]) -> u64 {
        self.request_with(method, path, body, &[])
    }

    pub fn request_with(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
        more: &[(&str, &str)],
    ) -> u64 {
        let id = self.next;
        self.next += 4;
        let lines = [
            (":method", method),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", path),
        ];
        let mut out = self.section(id, &[&lines[..], more].concat());
        if !body.is_empty() {
            frame::write_head(&mut out, kind::DATA, body.len() as u64);
            out.extend_from_slice(body);
        }
        self.responses.insert(id, Response::default());
        self.unsent.push((id, out, true));
        self.send_on();
        id
    }

    fn send_on(&mut self) {
        let conn = &mut self.conn;
        self.unsent.retain_mut(|(id, bytes, fin)| match conn.stream_send(*id, bytes, *fin) {
            Ok(sent) if sent == bytes.len() => false,
            Ok(sent) => {
                bytes.drain(..sent);
                true
            }
            Err(quiche::Error::Done | quiche::Error::StreamLimit) => true,
            Err(_) => false,
        });
    }

    /// Gives the server connection IDs for other paths.
    pub fn supply_cids(&mut self) {
        for n in 1..=self.conn.scids_left() as u8 {
            let cid = ConnectionId::from_vec(vec![n; 16]);
            self.conn.new_scid(&cid, u128::from(n), false).unwrap();
        }
    }

    pub fn all_over(&self) -> bool {
        self.responses.values().all(Response::is_over)
    }

    /// Simulates a NAT rebinding to another port: packets under way to the old one are lost. The
    /// client sends a PING so that the server notices.
    pub fn rebind(&mut self, port: u16) {
        let outside = format!("127.0.0.1:{port}").parse().unwrap();
        self.nat = Some((self.addresses[0], outside));
        self.addresses = vec![outside];
        self.conn.send_ack_eliciting().unwrap();
    }

    pub fn datagram(&mut self, bytes: &mut [u8], from: SocketAddr, to: SocketAddr) {
        let to = self.nat.filter(|(_, outside)| *outside == to).map_or(to, |(own, _)| own);
        self.received += 1;
        let _ = self.conn.recv(bytes, RecvInfo { from, to });
        self.read();
    }

    pub fn flush(&mut self, net: &mut Net) {
        if self.conn.timeout_instant().is_some_and(|at| at <= std::time::Instant::now()) {
            self.conn.on_timeout();
        }
        self.send_on();
        let mut out = [0; 1500];
        while let Ok((len, info)) = self.conn.send(&mut out) {
            let outside = self.nat.filter(|(own, _)| *own == info.from);
            net.send(outside.map_or(info.from, |(_, outside)| outside), info.to, &out[..len]);
            // A connection that closes while a probe of its handshake is due would send
            // acknowledgements forever.
            if self.conn.local_error().is_some() {
                break;
            }
        }
    }

    pub fn read(&mut self) {
        if !self.reads {
            return;
        }
        let mut chunk = [0; 65_536];
        let ids: Vec<u64> = self.conn.readable().collect();
        for id in ids {
            loop {
                match self.conn.stream_recv(id, &mut chunk) {
                    Ok((len, fin)) if id & 3 == 3 => {
                        assert!(!fin, "the server's own streams stay open");
                        self.on_uni(id, &chunk[..len]);
                    }
                    Ok((len, fin)) => {
                        let response = self.responses.entry(id).or_default();
                        response.raw.extend_from_slice(&chunk[..len]);
                        response.fin |= fin;
                    }
                    // It reports this as long as the other direction is open.
                    Err(quiche::Error::StreamReset(code)) => {
                        self.responses.entry(id).or_default().reset = Some(code);
                        break;
                    }
                    Err(_) => break,
                }
            }
        }
        self.parse();
    }

    fn on_uni(&mut self, id: u64, bytes: &[u8]) {
        let held = self.uni.entry(id).or_default();
        let is_first = held.is_empty();
        held.extend_from_slice(bytes);
        if held[0] == 2 {
            let bytes = if is_first { &bytes[1..] } else { bytes };
            self.encoder_bytes += bytes.len();
            self.decoder.read_encoder_stream(bytes).unwrap();
            while self.decoder.unblocked().is_some() {}
        }
    }

    /// Removes complete frames from the front of every response.
    fn parse(&mut self) {
        let limits = qpack::FieldLimits { list_bytes: 65_536, fields: 100 };
        for (id, response) in &mut self.responses {
            loop {
                let raw = &response.raw;
                let Some((kind, used)) = frame::read_varint(raw) else { break };
                let Some((len, more)) = frame::read_varint(&raw[used..]) else { break };
                let (begin, end) = (used + more, used + more + len as usize);
                let Some(payload) = raw.get(begin..end) else { break };
                match kind {
                    kind::DATA => response.body.extend_from_slice(payload),
                    kind::HEADERS => {
                        let (mut bytes, mut fields) = (Vec::new(), Vec::new());
                        let decoded =
                            self.decoder.decode(*id, payload, &limits, &mut bytes, &mut fields);
                        if decoded.unwrap() == qpack::Decoded::Blocked {
                            break;
                        }
                        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                        let head = fields
                            .iter()
                            .map(|field| (text(field.name(&bytes)), text(field.value(&bytes))));
                        response.heads.push(head.collect());
                        response.section_bytes.push(payload.len());
                    }
                    _ => {}
                }
                response.raw.drain(..end);
            }
        }
        let mut acknowledged = Vec::new();
        self.decoder.output(&mut acknowledged);
        if !acknowledged.is_empty() {
            let _ = self.conn.stream_send(10, &acknowledged, false);
        }
    }
}
