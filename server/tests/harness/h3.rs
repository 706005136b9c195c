//! A blocking HTTP/3 client over quiche and quiche's own h3, which shares no code with ours above
//! the transport. It takes any certificate.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use quiche::h3::{self, NameValue};
use ringway_quic::quiche;

use super::PATIENCE;

/// What has come on a stream.
#[derive(Debug, Default)]
pub struct Reply {
    /// Field sections in order: informational ones, the final one, trailers.
    pub heads: Vec<Vec<(String, String)>>,
    pub body: Vec<u8>,
    /// All of it is here.
    pub fin: bool,
    /// The code of RESET_STREAM.
    pub reset: Option<u64>,
}

impl Reply {
    /// The final status.
    pub fn status(&self) -> u16 {
        let mut statuses = self.heads.iter().filter_map(|head| of(head, ":status")?.parse().ok());
        statuses.find(|status| *status >= 200).unwrap_or(0)
    }

    /// A field of the section in which it stands first.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.heads.iter().find_map(|head| of(head, name))
    }
}

fn of<'a>(head: &'a [(String, String)], name: &str) -> Option<&'a str> {
    head.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
}

/// A connection.
pub struct Client {
    pub socket: UdpSocket,
    /// The address that the transport believes in.
    local: SocketAddr,
    pub quic: quiche::Connection,
    pub h3: Option<h3::Connection>,
    pub replies: BTreeMap<u64, Reply>,
    /// What is still to be sent of requests.
    sending: Vec<(u64, Vec<u8>, usize)>,
    /// The stream that a GOAWAY named last.
    pub goaway: Option<u64>,
    buffer: Vec<u8>,
}

/// The transport settings of these tests, to be changed before connecting.
pub fn config() -> quiche::Config {
    let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION).unwrap();
    config.set_application_protos(&[b"h3"]).unwrap();
    config.verify_peer(false);
    config.set_max_idle_timeout(60_000);
    config.set_initial_max_data(16 << 20);
    config.set_initial_max_stream_data_bidi_local(4 << 20);
    config.set_initial_max_stream_data_uni(1 << 20);
    config.set_initial_max_streams_uni(16);
    config.set_initial_max_streams_bidi(16);
    config.set_active_connection_id_limit(4);
    config.set_max_recv_udp_payload_size(65_527);
    config
}

impl Client {
    pub fn connect(server: SocketAddr) -> Self {
        let mut this = Self::start(server, &mut config());
        this.wait("the handshake", |this| this.h3.is_some());
        this
    }

    /// Sends the first flight, and waits for nothing.
    pub fn start(server: SocketAddr, config: &mut quiche::Config) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let local = socket.local_addr().unwrap();
        let scid: [u8; 16] = std::array::from_fn(|n| (local.port() >> (n % 2 * 8)) as u8 ^ n as u8);
        let scid = quiche::ConnectionId::from_ref(&scid);
        let name = Some("localhost");
        let quic = quiche::connect(name, &scid, local, server, config).unwrap();
        let mut this = Self {
            socket,
            local,
            quic,
            h3: None,
            replies: BTreeMap::new(),
            sending: Vec::new(),
            goaway: None,
            buffer: vec![0; 65_536],
        };
        this.send();
        this
    }

    /// Begins a request; its stream.
    pub fn request(&mut self, method: &str, path: &str, body: &[u8]) -> u64 {
        self.request_with(method, path, &[], body)
    }

    pub fn request_with(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> u64 {
        let basic = [
            (":method", method),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", path),
        ];
        let field =
            |(name, value): &(&str, &str)| h3::Header::new(name.as_bytes(), value.as_bytes());
        let head: Vec<_> = basic.iter().chain(fields).map(field).collect();
        let stream = loop {
            let h3 = self.h3.as_mut().unwrap();
            match h3.send_request(&mut self.quic, &head, body.is_empty()) {
                Ok(stream) => break stream,
                // There is no room before more is acknowledged, or no stream before more end.
                Err(
                    h3::Error::StreamBlocked
                    | h3::Error::TransportError(quiche::Error::StreamLimit),
                ) => self.turn(),
                Err(error) => panic!("{method} {path}: {error}"),
            }
        };
        if !body.is_empty() {
            self.sending.push((stream, body.to_vec(), 0));
        }
        self.replies.insert(stream, Reply::default());
        self.send();
        stream
    }

    /// A request and its whole answer.
    pub fn call(&mut self, method: &str, path: &str, body: &[u8]) -> Reply {
        let stream = self.request(method, path, body);
        self.finish(stream)
    }

    pub fn get(&mut self, path: &str) -> Reply {
        self.call("GET", path, b"")
    }

    /// Waits for the end of an answer.
    pub fn finish(&mut self, stream: u64) -> Reply {
        self.wait("an answer", |this| {
            let reply = &this.replies[&stream];
            reply.fin || reply.reset.is_some()
        });
        self.replies.remove(&stream).unwrap()
    }

    /// Exchanges datagrams until something holds.
    pub fn wait(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < PATIENCE, "never happened: {what}");
            let ended = (self.quic.peer_error(), self.quic.local_error());
            assert!(!self.quic.is_closed(), "{what}: the connection has ended: {ended:?}");
            self.turn();
        }
    }

    /// Waits until the connection has ended; the server's error code.
    pub fn ended(&mut self) -> Option<u64> {
        let start = Instant::now();
        while !self.quic.is_closed() {
            assert!(start.elapsed() < PATIENCE, "the connection does not end");
            self.turn();
        }
        self.quic.peer_error().map(|error| error.error_code)
    }

    /// Waits for a datagram or a timer, and works on what has come.
    pub fn turn(&mut self) {
        let most = Duration::from_millis(100);
        let wait = self.quic.timeout().unwrap_or(most).clamp(Duration::from_millis(1), most);
        self.socket.set_read_timeout(Some(wait)).unwrap();
        match self.socket.recv_from(&mut self.buffer) {
            Ok((len, from)) => {
                let to = self.local;
                // A datagram that is no good is no error of the client's.
                let _ = self.quic.recv(&mut self.buffer[..len], quiche::RecvInfo { from, to });
            }
            Err(_) => self.quic.on_timeout(),
        }
        self.work();
        self.send();
    }

    fn work(&mut self) {
        if self.h3.is_none() && (self.quic.is_established() || self.quic.is_in_early_data()) {
            let config = h3::Config::new().unwrap();
            self.h3 = Some(h3::Connection::with_transport(&mut self.quic, &config).unwrap());
        }
        let Some(h3) = &mut self.h3 else { return };
        while let Ok((stream, event)) = h3.poll(&mut self.quic) {
            let reply = self.replies.entry(stream).or_default();
            match event {
                h3::Event::Headers { list, .. } => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let pair = |field: &h3::Header| (text(field.name()), text(field.value()));
                    reply.heads.push(list.iter().map(pair).collect());
                }
                h3::Event::Data => {
                    while let Ok(len) = h3.recv_body(&mut self.quic, stream, &mut self.buffer) {
                        reply.body.extend_from_slice(&self.buffer[..len]);
                    }
                }
                h3::Event::Finished => reply.fin = true,
                h3::Event::Reset(code) => reply.reset = Some(code),
                h3::Event::GoAway => self.goaway = Some(stream),
                h3::Event::PriorityUpdate => {}
            }
        }
        self.sending.retain_mut(|(stream, body, at)| {
            if let Ok(sent) = h3.send_body(&mut self.quic, *stream, &body[*at..], true) {
                *at += sent;
            }
            *at < body.len()
        });
    }

    /// Goes on from another port, as behind a NAT that has forgotten the former: the client does
    /// not know, but it sends a PING now and then, without which nobody would.
    pub fn rebind(&mut self) {
        self.socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        self.quic.send_ack_eliciting().unwrap();
        self.send();
    }

    /// Sends what there is to be sent.
    pub fn send(&mut self) {
        let mut out = [0; 1500];
        while let Ok((len, info)) = self.quic.send(&mut out) {
            self.socket.send_to(&out[..len], info.to).unwrap();
        }
    }
}
