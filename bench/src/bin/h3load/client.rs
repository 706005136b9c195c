//! One connection: sends requests as prepared bytes, counts responses and checks their status.

use crate::socket::{RECEIVE_MAX, Socket};
use crate::{Outcome, Target};
use ringway_codec::h3::frame::{self, kind};
use ringway_codec::qpack;
use ringway_codec::scan::Backend;
use ringway_quic::{Buffers, Conn, quiche};
use std::io;
use std::time::Instant;

/// State shared by all connections.
pub(crate) struct Shared {
    pub(crate) datagrams: Vec<u8>,
    pub(crate) chunk: Vec<u8>,
    /// The last decoded head and its status: most are equal.
    last_head: (Vec<u8>, u16),
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            datagrams: vec![0; RECEIVE_MAX],
            chunk: vec![0; RECEIVE_MAX],
            last_head: (Vec::new(), 0),
        }
    }

    /// The status at the front of an encoded section; 0 if it cannot be read.
    fn status(&mut self, block: &[u8]) -> u16 {
        if self.last_head.0 == block {
            return self.last_head.1;
        }
        let limits = qpack::FieldLimits { list_bytes: 1 << 20, fields: 1000 };
        let mut decoder = qpack::Decoder::new(Backend::Scalar, 0, 0);
        let (mut bytes, mut fields) = (Vec::new(), Vec::new());
        let decoded = decoder.decode(0, block, &limits, &mut bytes, &mut fields);
        let status = match (decoded, fields.first()) {
            (Ok(_), Some(field)) => std::str::from_utf8(field.value(&bytes))
                .ok()
                .and_then(|value| value.parse().ok())
                .unwrap_or(0),
            _ => 0,
        };
        self.last_head = (block.to_vec(), status);
        status
    }
}

/// A request under way.
struct Request {
    id: u64,
    since: Instant,
    status: u16,
    body: u64,
    /// Bytes left of the current frame, and whether they are content.
    left: u64,
    is_data: bool,
    /// A partially received frame head or HEADERS frame.
    partial: Vec<u8>,
}

pub(crate) struct Client {
    pub(crate) conn: Conn,
    pub(crate) socket: Socket,
    requests: Vec<Request>,
    next_id: u64,
    next_target: usize,
    opened: bool,
    /// The socket was full.
    unsent: Option<(ringway_quic::Transmit, Vec<u8>)>,
}

impl Client {
    /// Starts a connection, resuming a session if there is one.
    pub(crate) fn connect(
        target: &Target,
        config: &mut quiche::Config,
        session: Option<&[u8]>,
    ) -> io::Result<Self> {
        let socket = Socket::connect(target.address)?;
        let mut scid = [0; 16];
        ringway_quic::boring::rand::rand_bytes(&mut scid)?;
        let scid = quiche::ConnectionId::from_ref(&scid);
        let mut conn = quiche::connect_with_buffer_factory::<Buffers>(
            Some(&target.host),
            &scid,
            socket.local,
            target.address,
            config,
        )
        .map_err(io::Error::other)?;
        if let Some(session) = session {
            conn.set_session(session).map_err(io::Error::other)?;
        }
        Ok(Self {
            conn: Conn::new(conn),
            socket,
            requests: Vec::new(),
            next_id: 0,
            next_target: 0,
            opened: false,
            unsent: None,
        })
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.conn.is_open()
    }

    /// Whether it has sent requests and all are answered.
    pub(crate) fn is_done(&self) -> bool {
        self.next_id > 0 && self.requests.is_empty() && self.conn.is_established()
    }

    pub(crate) fn is_untouched(&self) -> bool {
        self.next_id == 0
    }

    pub(crate) fn under_way(&self) -> usize {
        self.requests.len()
    }

    /// Sends the next request, whose latency counts from `since`. `false`: the server's limit of
    /// streams is reached, or the connection is ending.
    pub(crate) fn request(&mut self, targets: &[Target], since: Instant) -> bool {
        if !self.opened {
            self.open();
        }
        let quic = self.conn.quic();
        if quic.peer_streams_left_bidi() == 0 {
            return false;
        }
        let target = &targets[self.next_target % targets.len()];
        match quic.stream_send(self.next_id, &target.head, true) {
            Ok(sent) if sent == target.head.len() => {}
            // A window without room for a request's head is filled by other requests.
            _ => return false,
        }
        self.requests.push(Request {
            id: self.next_id,
            since,
            status: 0,
            body: 0,
            left: 0,
            is_data: false,
            partial: Vec::new(),
        });
        self.next_id += 4;
        self.next_target += 1;
        true
    }

    /// Receives what has arrived.
    pub(crate) fn receive(
        &mut self,
        shared: &mut Shared,
        done: &mut Vec<Outcome>,
    ) -> io::Result<()> {
        let (from, to) = (self.peer(), self.socket.local);
        // A few messages at a time, so one connection does not hold up the others.
        for _ in 0..8 {
            let Some((len, segment)) = self.socket.receive(&mut shared.datagrams)? else { break };
            for datagram in shared.datagrams[..len].chunks_mut(segment) {
                let _ = self.conn.receive(datagram, from, to);
            }
        }
        while let Some(id) = self.conn.quic().stream_readable_next() {
            self.read(id, shared, done);
        }
        Ok(())
    }

    /// Sends pending output. `false`: the socket is full.
    pub(crate) fn flush(&mut self, out: &mut [u8], now: Instant) -> io::Result<bool> {
        if let Some((transmit, bytes)) = self.unsent.take()
            && !self.socket.send(&transmit, &bytes)?
        {
            self.unsent = Some((transmit, bytes));
            return Ok(false);
        }
        while let Some(transmit) = self.conn.transmit(out, now) {
            if !self.socket.send(&transmit, out)? {
                self.unsent = Some((transmit, out[..transmit.len].to_vec()));
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn peer(&self) -> std::net::SocketAddr {
        let mut paths = self.conn.transport().paths_iter(self.socket.local);
        paths.next().unwrap_or(self.socket.local)
    }

    /// Our control stream with empty SETTINGS, and the two QPACK streams.
    fn open(&mut self) {
        self.opened = true;
        let mut control = vec![frame::stream::CONTROL as u8];
        frame::write_head(&mut control, kind::SETTINGS, 0);
        let (encoder, decoder) = (frame::stream::ENCODER as u8, frame::stream::DECODER as u8);
        for (id, bytes) in [(2, &control[..]), (6, &[encoder]), (10, &[decoder])] {
            let _ = self.conn.quic().stream_send(id, bytes, false);
        }
    }

    fn read(&mut self, id: u64, shared: &mut Shared, done: &mut Vec<Outcome>) {
        let mut chunk = std::mem::take(&mut shared.chunk);
        loop {
            match self.conn.quic().stream_recv(id, &mut chunk) {
                // A load generator needs nothing from the server's own streams.
                Ok(_) if id & 3 != 0 => {}
                Ok((len, fin)) => {
                    let at = self.requests.iter().position(|request| request.id == id);
                    let Some(at) = at else { break };
                    let read = self.requests[at].read(&chunk[..len], shared);
                    if fin || read.is_none() {
                        let request = self.requests.swap_remove(at);
                        done.push(request.outcome(read.is_some() && fin));
                        break;
                    }
                }
                Err(quiche::Error::StreamReset(_)) => {
                    let at = self.requests.iter().position(|request| request.id == id);
                    if let Some(at) = at {
                        done.push(self.requests.swap_remove(at).outcome(false));
                    }
                    break;
                }
                Err(_) => break,
            }
        }
        shared.chunk = chunk;
    }

    /// The requests that will no longer be answered.
    pub(crate) fn give_up(&mut self, done: &mut Vec<Outcome>) {
        done.extend(self.requests.drain(..).map(|request| request.outcome(false)));
    }
}

impl Request {
    /// Processes `bytes`; `None` if they are not HTTP/3.
    fn read(&mut self, mut bytes: &[u8], shared: &mut Shared) -> Option<()> {
        loop {
            let take = self.left.min(bytes.len() as u64);
            self.left -= take;
            self.body += if self.is_data { take } else { 0 };
            bytes = &bytes[take as usize..];
            if bytes.is_empty() {
                return Some(());
            }
            let held;
            let input = if self.partial.is_empty() {
                bytes
            } else {
                self.partial.extend_from_slice(bytes);
                held = std::mem::take(&mut self.partial);
                &held[..]
            };
            let rest = self.frame(input, shared)?;
            if rest == input.len() && self.left == 0 {
                return Some(());
            }
            if rest == 0 {
                self.partial = input.to_vec();
                return (self.partial.len() < 1 << 20).then_some(());
            }
            // The rest of `input` is the end of `bytes`.
            bytes = &bytes[bytes.len() - (input.len() - rest)..];
        }
    }

    /// Reads one frame's head, or a whole HEADERS frame. Returns the octets used, 0 if more are
    /// needed.
    fn frame(&mut self, input: &[u8], shared: &mut Shared) -> Option<usize> {
        let Some((kind, used)) = frame::read_varint(input) else { return Some(0) };
        let Some((len, more)) = frame::read_varint(&input[used..]) else { return Some(0) };
        let begin = used + more;
        if kind == kind::HEADERS {
            let end = begin + usize::try_from(len).ok()?;
            let Some(block) = input.get(begin..end) else { return Some(0) };
            let status = shared.status(block);
            if self.status < 200 && status >= 100 {
                self.status = status;
            }
            return (self.status > 0).then_some(end);
        }
        (self.left, self.is_data) = (len, kind == kind::DATA);
        Some(begin)
    }

    fn outcome(self, is_whole: bool) -> Outcome {
        Outcome { since: self.since, status: self.status, body: self.body, is_whole }
    }
}
