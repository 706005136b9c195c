//! HTTP/3 for the lab (RFC 9114) over quiche: one socket, wide windows, QPACK with the dynamic
//! table that the server allows.

use super::{Ask, Got, Setup, h2::fields};
use crate::site::NAME;
use ringway_codec::field::Known;
use ringway_codec::h3::frame::{self, kind, setting, stream};
use ringway_codec::hpack::FieldLimits;
use ringway_codec::qpack::{Decoded, Decoder, Encoder};
use ringway_codec::scan::Backend;
use ringway_quic::{ALPN, boring, quiche};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

/// Flow control windows, per stream and per connection.
const WINDOW: u64 = 1 << 28;
/// The dynamic table of our decoder, and the streams that may be blocked.
const TABLE: u32 = 4096;
const BLOCKED: u16 = 16;
/// Our streams: control, QPACK encoder and decoder.
const CONTROL: u64 = 2;
const ENCODER: u64 = 6;
const DECODER: u64 = 10;

/// A session for a later connection.
pub(crate) type Ticket = Vec<u8>;

pub(crate) struct Quic {
    udp: UdpSocket,
    local: SocketAddr,
    peer: SocketAddr,
    conn: quiche::Connection,
    encoder: Encoder,
    decoder: Decoder,
    waiting: Vec<Ask>,
    requests: HashMap<u64, Request>,
    /// Unparsed input of the server's own streams.
    theirs: HashMap<u64, Vec<u8>>,
    /// Bytes for our own streams held back by flow control.
    unsent: Vec<(u64, Vec<u8>)>,
    next_id: u64,
    is_open: bool,
    is_settled: bool,
    ready_at: Option<Instant>,
    content: u64,
}

struct Request {
    got: Got,
    /// A partially received frame head or HEADERS frame.
    partial: Vec<u8>,
    /// Content left of the current DATA frame.
    left: u64,
    /// A block that waits for the encoder stream.
    blocked: Option<Vec<u8>>,
    is_finished: bool,
}

fn config(early: bool) -> Result<quiche::Config, quiche::Error> {
    let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION)?;
    config.set_application_protos(&[ALPN])?;
    config.verify_peer(false);
    config.set_max_idle_timeout(60_000);
    config.set_max_recv_udp_payload_size(1500);
    config.set_max_send_udp_payload_size(1452);
    config.set_initial_max_data(WINDOW);
    config.set_max_connection_window(WINDOW);
    config.set_max_stream_window(WINDOW);
    config.set_initial_max_stream_data_bidi_local(WINDOW);
    config.set_initial_max_stream_data_uni(1 << 20);
    config.set_initial_max_streams_uni(16);
    config.set_active_connection_id_limit(4);
    if early {
        config.enable_early_data();
    }
    Ok(config)
}

impl Quic {
    pub(crate) fn open(setup: &Setup) -> io::Result<Self> {
        let udp = UdpSocket::bind("0.0.0.0:0")?;
        udp.connect(setup.address)?;
        udp.set_nonblocking(true)?;
        socket2::SockRef::from(&udp).set_recv_buffer_size(4 << 20)?;
        let (local, peer) = (udp.local_addr()?, setup.address);
        let mut scid = [0; 16];
        boring::rand::rand_bytes(&mut scid)?;
        let scid = quiche::ConnectionId::from_ref(&scid);
        let mut config = config(setup.early).map_err(io::Error::other)?;
        let mut conn = quiche::connect(Some(NAME), &scid, local, peer, &mut config)
            .map_err(io::Error::other)?;
        if let Some(ticket) = &setup.ticket {
            conn.set_session(ticket).map_err(io::Error::other)?;
        }
        Ok(Self {
            udp,
            local,
            peer,
            conn,
            encoder: Encoder::new(Backend::detect(), TABLE),
            decoder: Decoder::new(Backend::detect(), TABLE, BLOCKED),
            waiting: Vec::new(),
            requests: HashMap::new(),
            theirs: HashMap::new(),
            unsent: Vec::new(),
            next_id: 0,
            is_open: false,
            is_settled: false,
            ready_at: None,
            content: 0,
        })
    }

    pub(crate) fn ask(&mut self, ask: &Ask) {
        self.waiting.push(ask.clone());
    }

    pub(crate) fn under_way(&self) -> usize {
        self.waiting.len() + self.requests.len()
    }

    pub(crate) fn ready_at(&self) -> Option<Instant> {
        self.ready_at
    }

    pub(crate) fn content(&self) -> u64 {
        self.content
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.conn.timeout_instant()
    }

    /// The session, once the server has sent a ticket.
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        self.conn.session().map(<[u8]>::to_vec)
    }

    pub(crate) fn was_resumed(&self) -> bool {
        self.conn.is_resumed()
    }

    pub(crate) fn turn(&mut self, done: &mut Vec<Got>) -> io::Result<()> {
        self.take_datagrams()?;
        if self.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
            self.conn.on_timeout();
        }
        if self.conn.is_closed() && self.under_way() > 0 {
            let why = (self.conn.peer_error(), self.conn.local_error());
            return Err(io::Error::new(ErrorKind::ConnectionAborted, format!("{why:?}")));
        }
        if self.ready_at.is_none() && self.conn.is_established() {
            self.ready_at = Some(Instant::now());
        }
        while let Some(id) = self.conn.stream_readable_next() {
            self.read(id, done)?;
        }
        // quiche does not know whether early data is possible before it has built the first packet.
        self.send()?;
        if self.conn.is_established() || self.conn.is_in_early_data() {
            self.write()?;
            self.send()?;
        }
        Ok(())
    }

    fn take_datagrams(&mut self) -> io::Result<()> {
        let mut datagram = [0; 2048];
        loop {
            match self.udp.recv(&mut datagram) {
                Ok(len) => {
                    let info = quiche::RecvInfo { from: self.peer, to: self.local };
                    // Errors end the connection, which is noticed later.
                    let _ = self.conn.recv(&mut datagram[..len], info);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // An ICMP error for an earlier datagram.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let mut datagram = [0; 1500];
        // quiche 0.30 sends endless datagrams if a connection closes while a probe is due.
        let most = if self.conn.local_error().is_some() { 4 } else { usize::MAX };
        for _ in 0..most {
            match self.conn.send(&mut datagram) {
                Ok((len, _)) => match self.udp.send(&datagram[..len]) {
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                    other => drop(other?),
                },
                Err(quiche::Error::Done) => break,
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(())
    }

    /// Our own streams first, then the requests that wait.
    fn write(&mut self) -> io::Result<()> {
        if !self.is_open {
            self.is_open = true;
            let mut control = vec![stream::CONTROL as u8];
            let mut settings = Vec::new();
            for (name, value) in [
                (setting::QPACK_MAX_TABLE_CAPACITY, u64::from(TABLE)),
                (setting::QPACK_BLOCKED_STREAMS, u64::from(BLOCKED)),
            ] {
                frame::write_varint(&mut settings, name);
                frame::write_varint(&mut settings, value);
            }
            frame::write_head(&mut control, kind::SETTINGS, settings.len() as u64);
            control.extend_from_slice(&settings);
            self.unsent.push((CONTROL, control));
            self.unsent.push((ENCODER, vec![stream::ENCODER as u8]));
            self.unsent.push((DECODER, vec![stream::DECODER as u8]));
        }
        let mut owed = Vec::new();
        self.decoder.output(&mut owed);
        if !owed.is_empty() {
            self.unsent.push((DECODER, owed));
        }
        while !self.waiting.is_empty() && self.conn.peer_streams_left_bidi() > 0 {
            let ask = self.waiting.remove(0);
            self.request(&ask);
        }
        let mut unsent = std::mem::take(&mut self.unsent);
        unsent.retain_mut(|(id, bytes)| {
            let is_request = *id & 3 == 0;
            match self.conn.stream_send(*id, bytes, is_request) {
                Ok(sent) => drop(bytes.drain(..sent)),
                Err(quiche::Error::Done) => {}
                Err(_) => return false,
            }
            !bytes.is_empty()
        });
        self.unsent = unsent;
        Ok(())
    }

    fn request(&mut self, ask: &Ask) {
        let (mut block, mut instructions) = (Vec::new(), Vec::new());
        let mut writer = self.encoder.block(self.next_id, &mut block, &mut instructions);
        for (name, value) in fields(ask) {
            writer.field(Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes());
        }
        writer.finish();
        let mut head = Vec::new();
        frame::write_head(&mut head, kind::HEADERS, block.len() as u64);
        head.extend_from_slice(&block);
        let got = Got::new(ask.tag, head.len() + instructions.len());
        if !instructions.is_empty() {
            self.unsent.push((ENCODER, instructions));
        }
        self.unsent.push((self.next_id, head));
        let request =
            Request { got, partial: Vec::new(), left: 0, blocked: None, is_finished: false };
        self.requests.insert(self.next_id, request);
        self.next_id += 4;
    }

    fn read(&mut self, id: u64, done: &mut Vec<Got>) -> io::Result<()> {
        let mut chunk = [0; 65_536];
        loop {
            match self.conn.stream_recv(id, &mut chunk) {
                Ok((len, _)) if id & 3 == 3 => {
                    self.theirs.entry(id).or_default().extend_from_slice(&chunk[..len]);
                    self.understand(id, done)?;
                }
                Ok((len, is_finished)) => {
                    let Some(request) = self.requests.get_mut(&id) else { return Ok(()) };
                    request.is_finished |= is_finished;
                    self.content += request.receive(id, &chunk[..len], &mut self.decoder)?;
                    self.hand_out_if_whole(id, done);
                }
                Err(quiche::Error::Done | quiche::Error::InvalidStreamState(_)) => return Ok(()),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    /// The server's control and QPACK streams.
    fn understand(&mut self, id: u64, done: &mut Vec<Got>) -> io::Result<()> {
        let Some(bytes) = self.theirs.get_mut(&id) else { return Ok(()) };
        let Some((kind, used)) = frame::read_varint(bytes) else { return Ok(()) };
        match kind {
            stream::ENCODER => {
                let instructions = bytes.split_off(used);
                self.decoder.read_encoder_stream(&instructions).map_err(qpack)?;
                while let Some(id) = self.decoder.unblocked() {
                    let Some(request) = self.requests.get_mut(&id) else { continue };
                    if let Some(block) = request.blocked.take() {
                        request.section(id, block, &mut self.decoder)?;
                    }
                    self.hand_out_if_whole(id, done);
                }
            }
            stream::DECODER => {
                let instructions = bytes.split_off(used);
                self.encoder.read_decoder_stream(&instructions).map_err(qpack)?;
            }
            stream::CONTROL => {
                // Settings come once (RFC 9114 section 7.2.4); nothing else here concerns us.
                if !self.is_settled
                    && let Some((capacity, blocked)) = settings(&bytes[used..])
                {
                    self.encoder.set_peer_settings(capacity, blocked);
                    self.is_settled = true;
                }
            }
            _ => bytes.truncate(used),
        }
        Ok(())
    }

    fn hand_out_if_whole(&mut self, id: u64, done: &mut Vec<Got>) {
        let is_whole = |r: &Request| r.is_finished && r.blocked.is_none() && r.partial.is_empty();
        if self.requests.get(&id).is_some_and(is_whole)
            && let Some(mut request) = self.requests.remove(&id)
        {
            request.got.last = Instant::now();
            done.push(request.got);
        }
    }
}

impl Request {
    /// Processes bytes of its stream; returns how many were content.
    fn receive(&mut self, id: u64, bytes: &[u8], decoder: &mut Decoder) -> io::Result<u64> {
        let mut content = 0;
        self.partial.extend_from_slice(bytes);
        loop {
            let take = self.left.min(self.partial.len() as u64);
            if take > 0 {
                self.left -= take;
                self.partial.drain(..take as usize);
                self.got.arrived(take as usize);
                content += take;
            }
            let Some((kind, used)) = frame::read_varint(&self.partial) else { break };
            let Some((len, more)) = frame::read_varint(&self.partial[used..]) else { break };
            let (begin, end) = (used + more, used + more + len as usize);
            if kind == kind::DATA {
                self.left = len;
                self.partial.drain(..begin);
                continue;
            }
            if self.partial.len() < end {
                break;
            }
            let rest = self.partial.split_off(end);
            let frame = std::mem::replace(&mut self.partial, rest);
            if kind == kind::HEADERS {
                self.got.head_bytes += frame.len();
                self.got.arrived(0);
                self.section(id, frame[begin..].to_vec(), decoder)?;
            }
        }
        Ok(content)
    }

    fn section(&mut self, id: u64, block: Vec<u8>, decoder: &mut Decoder) -> io::Result<()> {
        let limits = FieldLimits { list_bytes: 1 << 16, fields: 200 };
        let (mut bytes, mut fields) = (Vec::new(), Vec::new());
        match decoder.decode(id, &block, &limits, &mut bytes, &mut fields).map_err(qpack)? {
            Decoded::Blocked => self.blocked = Some(block),
            Decoded::Section(_) => {
                let status = fields.first().map(|field| field.value(&bytes).to_vec());
                let status = status.and_then(|value| String::from_utf8(value).ok()?.parse().ok());
                self.got.status = status.unwrap_or(0);
            }
        }
        Ok(())
    }
}

fn qpack(error: impl std::fmt::Debug) -> io::Error {
    io::Error::other(format!("QPACK: {error:?}"))
}

/// The two QPACK settings, once the whole SETTINGS frame has arrived.
fn settings(bytes: &[u8]) -> Option<(u64, u64)> {
    let (_, used) = frame::read_varint(bytes)?;
    let (len, more) = frame::read_varint(&bytes[used..])?;
    let mut payload = bytes.get(used + more..used + more + len as usize)?;
    let (mut capacity, mut blocked) = (0, 0);
    while let Some((name, used)) = frame::read_varint(payload) {
        let (value, more) = frame::read_varint(&payload[used..])?;
        match name {
            setting::QPACK_MAX_TABLE_CAPACITY => capacity = value,
            setting::QPACK_BLOCKED_STREAMS => blocked = value,
            _ => {}
        }
        payload = &payload[used + more..];
    }
    Some((capacity, blocked))
}

impl AsFd for Quic {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.udp.as_fd()
    }
}
