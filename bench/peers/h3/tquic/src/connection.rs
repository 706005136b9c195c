//! What the transport calls: requests in, answers out, the rest of an answer when there is room.

use crate::site::{Reply, Site};
use std::collections::HashMap;
use std::rc::Rc;
use tquic::h3::connection::Http3Connection;
use tquic::h3::{Header, Http3Config, Http3Error, Http3Event, NameValue};
use tquic::{Connection, Shutdown, TransportHandler};

/// An answer that is not sent yet: its head if that is to come, and its body from `sent` on.
struct Rest {
    head: Option<Vec<Header>>,
    reply: Reply,
    sent: usize,
}

struct Client {
    http: Http3Connection,
    rests: HashMap<u64, Rest>,
}

pub(crate) struct Handler {
    site: Rc<Site>,
    clients: HashMap<u64, Client>,
}

impl Handler {
    pub(crate) fn new(site: Rc<Site>) -> Self {
        Self { site, clients: HashMap::new() }
    }

    fn open(&mut self, conn: &mut Connection) {
        let Some(index) = conn.index() else { return };
        if self.clients.contains_key(&index) {
            return;
        }
        let http = Http3Config::new().and_then(|c| Http3Connection::new_with_quic_conn(conn, &c));
        if let Ok(http) = http {
            self.clients.insert(index, Client { http, rests: HashMap::new() });
        }
    }

    fn client(&mut self, conn: &Connection) -> Option<&mut Client> {
        self.clients.get_mut(&conn.index()?)
    }
}

impl Client {
    fn read(&mut self, conn: &mut Connection, site: &Site) {
        while let Ok((stream, event)) = self.http.poll(conn) {
            let Http3Event::Headers { headers, .. } = event else { continue };
            let _ = conn.stream_shutdown(stream, Shutdown::Read, 0);
            let path = headers.iter().find(|header| header.name() == b":path");
            let reply = site.answer(path.map_or(b"/", |header| header.value()));
            let head = vec![
                Header::new(b":status", b"200"),
                Header::new(b"content-type", reply.kind.as_bytes()),
                Header::new(b"content-length", reply.length().to_string().as_bytes()),
            ];
            let rest = Rest { head: Some(head), reply, sent: 0 };
            self.write(conn, stream, rest);
        }
    }

    /// Sends as much as there is room for, and keeps the rest.
    fn write(&mut self, conn: &mut Connection, stream: u64, mut rest: Rest) {
        if let Some(head) = &rest.head {
            match self.http.send_headers(conn, stream, head, false) {
                Ok(()) => rest.head = None,
                Err(Http3Error::StreamBlocked) => return self.keep(conn, stream, rest),
                Err(_) => return,
            }
        }
        let (length, part) = (rest.reply.length(), rest.reply.body.len());
        while rest.sent < length {
            let bytes = rest.reply.body.slice(rest.sent % part..);
            let (wanted, is_last) = (bytes.len(), rest.sent + bytes.len() == length);
            match self.http.send_body(conn, stream, bytes, is_last) {
                Ok(written) => {
                    rest.sent += written;
                    if written < wanted {
                        return self.keep(conn, stream, rest);
                    }
                }
                Err(Http3Error::Done) => return self.keep(conn, stream, rest),
                Err(_) => return,
            }
        }
    }

    fn keep(&mut self, conn: &mut Connection, stream: u64, rest: Rest) {
        let _ = conn.stream_want_write(stream, true);
        self.rests.insert(stream, rest);
    }
}

impl TransportHandler for Handler {
    fn on_conn_created(&mut self, _: &mut Connection) {}

    fn on_conn_established(&mut self, conn: &mut Connection) {
        self.open(conn);
    }

    fn on_conn_closed(&mut self, conn: &mut Connection) {
        if let Some(index) = conn.index() {
            self.clients.remove(&index);
        }
    }

    // With early data, a stream comes before the connection is established.
    fn on_stream_created(&mut self, conn: &mut Connection, _: u64) {
        self.open(conn);
    }

    fn on_stream_readable(&mut self, conn: &mut Connection, _: u64) {
        let site = Rc::clone(&self.site);
        if let Some(client) = self.client(conn) {
            client.read(conn, &site);
        }
    }

    fn on_stream_writable(&mut self, conn: &mut Connection, stream: u64) {
        let _ = conn.stream_want_write(stream, false);
        if let Some(client) = self.client(conn)
            && let Some(rest) = client.rests.remove(&stream)
        {
            client.write(conn, stream, rest);
        }
    }

    fn on_stream_closed(&mut self, conn: &mut Connection, stream: u64) {
        if let Some(client) = self.client(conn) {
            client.rests.remove(&stream);
        }
    }

    fn on_new_token(&mut self, _: &mut Connection, _: Vec<u8>) {}
}
