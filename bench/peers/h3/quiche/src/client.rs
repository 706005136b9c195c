//! A connection: requests in, answers out, the rest of an answer when there is room.

use crate::site::{Reply, Site};
use quiche::h3::{Config, Connection, Error, Event, Header, NameValue};
use quiche::{ConnectionId, Shutdown};
use std::collections::HashMap;

/// An answer that is not sent yet: its head if that is to come, and its body from `sent` on.
struct Rest {
    head: Option<Vec<Header>>,
    reply: Reply,
    sent: usize,
}

pub(crate) struct Client {
    pub(crate) conn: quiche::Connection,
    /// What leads here.
    pub(crate) ids: [ConnectionId<'static>; 2],
    http: Option<Connection>,
    rests: HashMap<u64, Rest>,
}

impl Client {
    pub(crate) fn new(conn: quiche::Connection, ids: [ConnectionId<'static>; 2]) -> Self {
        Self { conn, ids, http: None, rests: HashMap::new() }
    }

    /// Works on what has come.
    pub(crate) fn serve(&mut self, site: &Site) {
        if self.http.is_none() && (self.conn.is_established() || self.conn.is_in_early_data()) {
            let made = Config::new().and_then(|c| Connection::with_transport(&mut self.conn, &c));
            self.http = made.ok();
        }
        let writable: Vec<u64> = self.conn.writable().collect();
        for stream in writable {
            if let Some(rest) = self.rests.remove(&stream) {
                self.write(stream, rest);
            }
        }
        while let Some(http) = &mut self.http
            && let Ok((stream, event)) = http.poll(&mut self.conn)
        {
            let Event::Headers { list, .. } = event else { continue };
            let _ = self.conn.stream_shutdown(stream, Shutdown::Read, 0);
            let path = list.iter().find(|header| header.name() == b":path");
            let reply = site.answer(path.map_or(b"/", |header| header.value()));
            let head = vec![
                Header::new(b":status", b"200"),
                Header::new(b"content-type", reply.kind.as_bytes()),
                Header::new(b"content-length", reply.length().to_string().as_bytes()),
            ];
            self.write(stream, Rest { head: Some(head), reply, sent: 0 });
        }
    }

    /// Sends as much as there is room for, and keeps the rest.
    fn write(&mut self, stream: u64, mut rest: Rest) {
        let Some(http) = &mut self.http else { return };
        if let Some(head) = &rest.head {
            match http.send_response(&mut self.conn, stream, head, false) {
                Ok(()) => rest.head = None,
                Err(Error::StreamBlocked) => return drop(self.rests.insert(stream, rest)),
                Err(_) => return,
            }
        }
        let (length, part) = (rest.reply.length(), rest.reply.body.len());
        while rest.sent < length {
            let bytes = &rest.reply.body[rest.sent % part..];
            let is_last = rest.sent + bytes.len() == length;
            match http.send_body(&mut self.conn, stream, bytes, is_last) {
                Ok(written) if written == bytes.len() => rest.sent += written,
                Ok(written) => {
                    rest.sent += written;
                    return drop(self.rests.insert(stream, rest));
                }
                Err(Error::Done) => return drop(self.rests.insert(stream, rest)),
                Err(_) => return,
            }
        }
    }
}
