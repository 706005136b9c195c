//! HTTP/2 over TLS, one request on a connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::client::{
    Answer, CANCELLED, CUT_OFF, Client, MALFORMED, NOTHING, PATIENCE, RESET, WHOLE,
};
use super::h1::offers_early_data;
use super::harness::h2::{self, H2};
use super::harness::tls;
use super::row::{Ask, Framing};

/// INTERNAL_ERROR.
const INTERNAL_ERROR: u32 = 2;
/// SETTINGS_INITIAL_WINDOW_SIZE.
const INITIAL_WINDOW: u16 = 4;
/// What the connection's window and, unless its settings differ, a stream's begin with.
const WINDOW: u32 = 65_535;

pub struct Stream {
    client: H2,
    id: u32,
    /// Room for content, on the connection and on the stream; the latter once the settings are
    /// here.
    windows: (u32, Option<u32>),
    has_ended: bool,
    is_cancelled: bool,
}

impl Stream {
    pub fn connect(at: SocketAddr) -> Self {
        Self::over(H2::tls(at))
    }

    /// With a ticket, which offers no early data (RFC 8446 section 4.2.10).
    pub fn resumed(at: SocketAddr) -> Self {
        let config = Arc::new(offers_early_data(&[b"h2"]));
        let connect = || {
            let stream = tls::try_connect(at, Arc::clone(&config), "localhost").unwrap();
            assert!(!stream.conn.is_early_data_accepted(), "TCP offers no early data");
            let mut client = H2::over(Box::new(stream));
            client.send([h2::PREFACE, &h2::settings(&[])].concat());
            client
        };
        let mut first = Self::over(connect());
        assert!(first.stays(false));
        Self::over(connect())
    }

    fn over(mut client: H2) -> Self {
        let id = client.id();
        client.tcp().set_read_timeout(Some(PATIENCE)).unwrap();
        Self { client, id, windows: (WINDOW, None), has_ended: false, is_cancelled: false }
    }

    fn next(&mut self) {
        let Some(frame) = self.client.next() else {
            self.has_ended = true;
            return;
        };
        let (connection, stream) = &mut self.windows;
        match (frame.kind, frame.stream) {
            (h2::WINDOW_UPDATE, 0) => *connection += frame.number(0),
            (h2::WINDOW_UPDATE, id) if id == self.id => {
                *stream.as_mut().expect("settings come first") += frame.number(0);
            }
            (h2::SETTINGS, _) if stream.is_none() => {
                let mut settings = self.client.settings.iter();
                let initial = settings.find(|(id, _)| *id == INITIAL_WINDOW);
                *stream = Some(initial.map_or(WINDOW, |(_, value)| *value));
            }
            _ => {}
        }
    }
}

/// The fields of a request, as HTTP/2 and HTTP/3 have them.
pub fn fields(ask: &Ask) -> Vec<(&str, String)> {
    let mut all = vec![(":method", ask.method.to_owned())];
    // Only CONNECT has no path, nor scheme (RFC 9113 section 8.5, RFC 9114 section 4.4).
    if ask.method != "CONNECT" {
        all.push((":scheme", "https".to_owned()));
        all.push((":path", ask.target.clone()));
    }
    all.extend(ask.authority.map(|authority| (":authority", authority.to_owned())));
    all.extend(ask.fields.iter().cloned());
    if let Framing::Length(length) = ask.framing {
        all.push(("content-length", length.to_string()));
    }
    all
}

/// HEADERS and CONTINUATION of at most 16 KiB.
fn head_frames(id: u32, end: bool, fields: &[(&str, String)]) -> Vec<u8> {
    let block: Vec<u8> = fields.iter().flat_map(|(n, v)| h2::literal(n, v)).collect();
    let (mut out, mut flags) = (Vec::new(), if end { h2::END_STREAM } else { 0 });
    let mut kind = h2::HEADERS;
    let pieces = block.chunks(16_384);
    let last = pieces.len();
    for (n, piece) in pieces.enumerate() {
        flags |= if n + 1 == last { h2::END_HEADERS } else { 0 };
        out.extend(h2::frame(kind, flags, id, piece));
        (kind, flags) = (h2::CONTINUATION, 0);
    }
    out
}

impl Client for Stream {
    fn head(&mut self, ask: &Ask, end: bool) {
        self.client.send(head_frames(self.id, end, &fields(ask)));
    }

    fn half_head(&mut self, ask: &Ask) {
        let all = head_frames(self.id, false, &fields(ask));
        self.client.send(&all[..all.len() / 2]);
    }

    fn data(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.answer().is_over() {
            let (connection, stream) = self.windows;
            let room = connection.min(stream.unwrap_or(0)).min(bytes.len() as u32);
            if room == 0 {
                self.next();
                continue;
            }
            let (piece, rest) = bytes.split_at(room as usize);
            self.client.send(h2::frame(h2::DATA, 0, self.id, piece));
            self.windows = (connection - room, stream.map(|stream| stream - room));
            bytes = rest;
        }
    }

    fn end(&mut self, trailers: &[(&str, &str)]) {
        if self.answer().is_over() {
            return;
        }
        let flags = h2::END_STREAM | h2::END_HEADERS;
        self.client.send(match trailers {
            [] => h2::frame(h2::DATA, h2::END_STREAM, self.id, b""),
            trailers => h2::frame(h2::HEADERS, flags, self.id, &h2::block(trailers)),
        });
    }

    fn cancel(&mut self) {
        self.is_cancelled = true;
        self.client.send(h2::reset(self.id, h2::CANCEL));
    }

    fn answer(&self) -> Answer {
        let mut answer = Answer::default();
        let stream = self.client.streams.get(&self.id).cloned().unwrap_or_default();
        stream.heads.iter().for_each(|head| answer.add_head(head));
        answer.body = stream.body;
        answer.end = match stream.reset {
            _ if stream.ended => WHOLE,
            _ if self.is_cancelled => CANCELLED,
            Some(h2::PROTOCOL_ERROR) => MALFORMED,
            Some(INTERNAL_ERROR) => CUT_OFF,
            Some(_) => RESET,
            None if self.has_ended => NOTHING,
            None => "",
        };
        answer
    }

    fn until(&mut self, holds: &mut dyn FnMut(&Answer) -> bool) {
        loop {
            let answer = self.answer();
            if answer.is_over() || holds(&answer) {
                return;
            }
            self.next();
        }
    }

    fn stall(&mut self, time: Duration) {
        thread::sleep(time);
    }

    fn pause(&mut self, time: Duration) {
        thread::sleep(time);
    }

    fn stays(&mut self, is_to_end: bool) -> bool {
        while is_to_end && !self.has_ended {
            self.next();
        }
        if self.has_ended {
            return false;
        }
        let pseudo = [(":method", "GET"), (":scheme", "https"), (":path", "/hello")];
        let more = [(":authority", "localhost"), ("user-agent", "check")];
        self.id = self.client.id();
        self.is_cancelled = false;
        let flags = h2::END_STREAM | h2::END_HEADERS;
        let block = h2::block(&[&pseudo[..], &more].concat());
        self.client.send(h2::frame(h2::HEADERS, flags, self.id, &block));
        self.until(&mut |_| false);
        self.answer().status == 200
    }
}
