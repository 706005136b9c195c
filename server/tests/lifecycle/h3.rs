//! HTTP/3, one request on a connection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::client::{
    Answer, CANCELLED, CUT_OFF, Client, MALFORMED, NOTHING, PATIENCE, RESET, SILENCE, WHOLE,
};
use super::h2::fields;
use super::harness::quic::{self, H3};
use super::row::Ask;
use ringway_quic::quiche::Shutdown;

/// H3_REQUEST_CANCELLED.
const CANCEL: u64 = 0x10c;
/// H3_INTERNAL_ERROR.
const INTERNAL_ERROR: u64 = 0x102;

pub struct Stream {
    client: H3,
    id: u64,
    is_cancelled: bool,
    /// Nothing has come for so long that nothing will.
    is_silent: bool,
}

impl Stream {
    pub fn connect(at: SocketAddr) -> Self {
        Self::over(H3::connect(at))
    }

    /// With a ticket: what is sent now is early data (RFC 9001 section 4.6).
    pub fn resumed(at: SocketAddr) -> Self {
        let mut first = H3::connect(at);
        let session = first.session();
        first.close();
        let mut client = H3::new(at, &mut quic::config(), Some(&session));
        client.flush();
        assert!(client.conn.is_in_early_data());
        client.begin();
        Self::over(client)
    }

    fn over(mut client: H3) -> Self {
        let id = client.id();
        Self { client, id, is_cancelled: false, is_silent: false }
    }

    fn has_ended(&self) -> bool {
        self.client.conn.is_closed() || self.client.conn.is_draining()
    }
}

fn head_frame(fields: &[(&str, String)]) -> Vec<u8> {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
    quic::headers(&fields)
}

impl Client for Stream {
    fn head(&mut self, ask: &Ask, end: bool) {
        self.client.raw(self.id, &head_frame(&fields(ask)), end);
    }

    fn half_head(&mut self, ask: &Ask) {
        let all = head_frame(&fields(ask));
        self.client.raw(self.id, &all[..all.len() / 2], false);
    }

    fn data(&mut self, bytes: &[u8]) {
        self.client.raw(self.id, &quic::frame(quic::DATA, bytes), false);
    }

    fn end(&mut self, trailers: &[(&str, &str)]) {
        let last = if trailers.is_empty() { Vec::new() } else { quic::headers(trailers) };
        self.client.raw(self.id, &last, true);
    }

    fn cancel(&mut self) {
        self.is_cancelled = true;
        for way in [Shutdown::Read, Shutdown::Write] {
            let _ = self.client.conn.stream_shutdown(self.id, way, CANCEL);
        }
        self.client.flush();
    }

    fn answer(&self) -> Answer {
        let mut answer = Answer::default();
        let stream = &self.client.streams[&self.id];
        stream.heads.iter().for_each(|head| answer.add_head(head));
        answer.body = stream.body.clone();
        answer.end = match stream.reset {
            _ if self.is_cancelled => CANCELLED,
            Some(quic::MESSAGE_ERROR) => MALFORMED,
            Some(INTERNAL_ERROR) => CUT_OFF,
            Some(_) => RESET,
            None if stream.is_over() => WHOLE,
            None if self.has_ended() => NOTHING,
            None if self.is_silent => SILENCE,
            None => "",
        };
        answer
    }

    fn until(&mut self, holds: &mut dyn FnMut(&Answer) -> bool) {
        let start = Instant::now();
        loop {
            self.client.step(Duration::ZERO);
            let answer = self.answer();
            if answer.is_over() || holds(&answer) {
                return;
            }
            if start.elapsed() > PATIENCE {
                self.is_silent = true;
                return;
            }
            self.client.step(Duration::from_millis(5));
        }
    }

    fn stall(&mut self, time: Duration) {
        self.client.reads = false;
        self.client.run_for(time);
        self.client.reads = true;
        // What has come meanwhile is read with what comes next.
        let _ = self.client.conn.send_ack_eliciting();
    }

    fn pause(&mut self, time: Duration) {
        self.client.run_for(time);
    }

    fn stays(&mut self, is_to_end: bool) -> bool {
        if is_to_end {
            self.client
                .run("the end", |client| client.conn.is_closed() || client.conn.is_draining());
        }
        if self.has_ended() {
            return false;
        }
        self.id = self.client.id();
        (self.is_cancelled, self.is_silent) = (false, false);
        let more = [("user-agent", "check")];
        let head = [&quic::request("GET", "/hello")[..], &more].concat();
        self.client.raw(self.id, &quic::headers(&head), true);
        self.until(&mut |_| false);
        self.answer().status == 200
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.client.conn.close(true, quic::NO_ERROR, b"");
        self.client.flush();
    }
}
