//! Turns quiche's readable streams into events.

use super::{Conn, Cursor, Early, Error, Event, Http, Kept, Request, Shared, Waiting};
use ringway_codec::h1::request::Method;
use ringway_codec::h3::{self, Code};

/// Read of a request at a time until its head is known. What is read of one that waits for QPACK
/// table entries is kept here, and quiche counts it as consumed: so most of it stays in the windows
/// that the client was given, the connection's too.
const HEAD_CHUNK: usize = 4096;

impl Http {
    /// What has happened on the connection's streams. Call after each batch of datagrams until
    /// [`Event::More`], before any other connection's; then [`output`](Self::output). An error has
    /// closed the connection.
    pub fn receive(&mut self, conn: &mut Conn, shared: &mut Shared) -> Result<Event, Error> {
        let result = self.next_event(conn, shared);
        if let Err(error) = &result {
            conn.close(error.code.number(), error.what.as_bytes());
            self.cursor = None;
        }
        result
    }

    fn next_event(&mut self, conn: &mut Conn, shared: &mut Shared) -> Result<Event, Error> {
        if let Some(event) = self.stopped.pop() {
            return Ok(event);
        }
        if conn.take_excess() {
            let what = "too many fragments";
            return Err(Error { code: Code::ExcessiveLoad, what });
        }
        if !conn.is_open() {
            return Ok(Event::More);
        }
        // A server has only these unidirectional streams: RFC 9114 section 6.2.1, RFC 9204 section
        // 4.2.
        if conn.has_stopped_ours() {
            let what = "a critical stream was to end";
            return Err(Error { code: Code::ClosedCriticalStream, what });
        }
        self.begin(conn, shared);
        self.look_at_blocked(conn)?;
        loop {
            if self.cursor.is_none() && !self.advance(conn, shared)? {
                break;
            }
            if let Some(event) = self.stopped.pop() {
                return Ok(event);
            }
            if let Some(event) = self.work_off(conn, shared)? {
                return Ok(event);
            }
        }
        self.send_control(conn);
        self.note_writable(conn);
        Ok(self.stopped.pop().unwrap_or(Event::More))
    }

    /// Opens our streams, once.
    fn begin(&mut self, conn: &mut Conn, shared: &Shared) {
        if self.h3.is_none() {
            self.h3 = Some(Box::new(h3::Conn::new(&shared.h3)));
            self.send_control(conn);
        }
    }

    /// Whether the client has given up a stream that waits for table entries. quiche does not name
    /// it again when RESET_STREAM comes behind content that is not read, so that it is asked, with
    /// no room for any content: that takes nothing from the stream, its end neither.
    fn look_at_blocked(&mut self, conn: &mut Conn) -> Result<(), Error> {
        for at in (0..self.blocked.len()).rev() {
            let id = self.blocked[at].stream;
            if let Err(quiche::Error::StreamReset(code)) = conn.read(id, &mut []) {
                self.on_reset(id, code, conn)?;
            }
        }
        Ok(())
    }

    /// Brings the next piece of a stream into the chunk; `false` when there is none.
    fn advance(&mut self, conn: &mut Conn, shared: &mut Shared) -> Result<bool, Error> {
        if let Some(at) = self.blocked.iter().position(|kept| kept.is_ready) {
            let Kept { stream, bytes, fin, .. } = self.blocked.remove(at);
            shared.chunk[..bytes.len()].copy_from_slice(&bytes);
            self.cursor = Some(Cursor { stream, len: bytes.len(), at: 0, fin });
            return Ok(true);
        }
        loop {
            let next = self.reread.pop().or_else(|| conn.quic().stream_readable_next());
            let Some(id) = next else { return Ok(false) };
            if self.blocked.iter().any(|kept| kept.stream == id) {
                continue;
            }
            let key = self.streams.key(id);
            if let Some(key) = key
                && let Some(stream) = self.streams.find(key)
                && stream.unconsumed >= shared.read_ahead
            {
                stream.is_paused = true;
                continue;
            }
            let may_block = key.is_none() && id & 3 == 0;
            let most = if may_block { HEAD_CHUNK } else { shared.chunk.len() };
            match conn.read(id, &mut shared.chunk[..most]) {
                Ok((len, fin)) => {
                    self.cursor = Some(Cursor { stream: id, len, at: 0, fin });
                    return Ok(true);
                }
                Err(quiche::Error::StreamReset(code)) => self.on_reset(id, code, conn)?,
                // No more data for now, or the stream has ended.
                Err(_) => {}
            }
            if !self.stopped.is_empty() {
                return Ok(true);
            }
        }
    }

    /// RESET_STREAM: the client gives the request up, response and all.
    fn on_reset(&mut self, id: u64, code: u64, conn: &mut Conn) -> Result<(), Error> {
        if let Some(h3) = &mut self.h3 {
            h3.reset(id)?;
        }
        self.blocked.retain(|kept| kept.stream != id);
        if id & 3 == 0 {
            let cancelled = Code::RequestCancelled.number();
            let _ = conn.quic().stream_shutdown(id, quiche::Shutdown::Write, cancelled);
        }
        if let Some(key) = self.streams.key(id) {
            self.streams.remove(key);
            self.stopped.push(Event::Reset { key, code, by_peer: true });
        }
        Ok(())
    }

    /// Processes the chunk up to the next event for the server.
    fn work_off(&mut self, conn: &mut Conn, shared: &mut Shared) -> Result<Option<Event>, Error> {
        while let (Some(cursor), Some(h3)) = (&mut self.cursor, &mut self.h3) {
            let (id, fin) = (cursor.stream, cursor.fin);
            let chunk = &shared.chunk[..cursor.len];
            let event = h3.receive(id, chunk, fin, &mut cursor.at, &mut shared.h3)?;
            match event {
                h3::Event::More => self.end_piece(),
                h3::Event::Blocked { .. } => {
                    let bytes = chunk[cursor.at..].to_vec();
                    self.blocked.push(Kept { stream: id, bytes, fin, is_ready: false });
                    self.cursor = None;
                }
                h3::Event::Unwanted { stream } => {
                    let code = Code::StreamCreation.number();
                    conn.stop_reading(stream, code);
                    self.cursor = None;
                }
                h3::Event::Priority { stream, priority } => {
                    if let Some(key) = self.streams.key(stream) {
                        self.prioritise(key, priority, conn);
                    }
                }
                h3::Event::Refused { stream, status } => {
                    return Ok(Some(self.refuse_one(stream, status, conn)));
                }
                h3::Event::Failed { stream, code } => {
                    let key = self.streams.key(stream);
                    self.abandon(stream, code.number(), conn);
                    let Some(key) = key else {
                        return Ok(Some(Event::Malformed { stream }));
                    };
                    self.streams.remove(key);
                    let code = code.number();
                    return Ok(Some(Event::Reset { key, code, by_peer: false }));
                }
                h3::Event::Request(request) => {
                    return Ok(Some(self.on_request(&request, conn)));
                }
                h3::Event::Data { stream, at } => {
                    if let Some(event) = self.on_data(stream, at) {
                        return Ok(Some(event));
                    }
                }
                h3::Event::Trailers { stream } => {
                    if let Some(key) = self.streams.key(stream) {
                        return Ok(Some(Event::Trailers { key }));
                    }
                }
                h3::Event::End { stream } => {
                    self.cursor = None;
                    if let Some(key) = self.streams.key(stream) {
                        if let Some(stream) = self.streams.find(key) {
                            stream.received = true;
                        }
                        return Ok(Some(Event::End { key }));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The piece is used up: there may be more of the same stream, and sections that waited.
    fn end_piece(&mut self) {
        if let Some(cursor) = self.cursor.take()
            && !cursor.fin
        {
            self.reread.push(cursor.stream);
        }
        while let Some(id) = self.h3.as_mut().and_then(|h3| h3.unblocked()) {
            if let Some(kept) = self.blocked.iter_mut().find(|kept| kept.stream == id) {
                kept.is_ready = true;
            }
        }
    }

    fn on_request(&mut self, request: &h3::Request, conn: &mut Conn) -> Event {
        let h3::Request { stream: id, head, end } = *request;
        if end {
            self.cursor = None;
        }
        self.requests += 1;
        self.last = self.last.max(id);
        let key = self.streams.insert(id);
        if let Some(stream) = self.streams.find(key) {
            stream.no_body = head.method == Method::Head;
            stream.received = end;
            stream.priority = head.priority;
            if head.priority.is_some() {
                stream.set_rank(id, head.priority, conn);
            }
        }
        let early = match conn.is_early(id) {
            false => Early::No,
            true if conn.is_replay() && !conn.is_established() => Early::Repeated,
            true => Early::First,
        };
        Event::Request(Request { key, head, end, early })
    }

    fn on_data(&mut self, id: u64, at: std::ops::Range<usize>) -> Option<Event> {
        // Content of a forgotten request is dropped.
        let key = self.streams.key(id)?;
        self.streams.find(key)?.unconsumed += at.len();
        Some(Event::Data { key, at })
    }

    /// A request whose head is over a limit, or late, is answered without the rest of it.
    pub(super) fn refuse_one(&mut self, id: u64, status: u16, conn: &mut Conn) -> Event {
        self.stop_reading(id, Code::NoError.number(), conn);
        Event::Refused { key: self.streams.insert(id), status }
    }

    /// Streams that have room again, and streams that the peer has stopped reading. quiche names
    /// the latter only if they had no room, so that their number has to be watched.
    fn note_writable(&mut self, conn: &mut Conn) {
        if std::mem::replace(&mut self.stops, conn.stops()) != conn.stops() {
            for key in self.streams.keys() {
                if let Err(quiche::Error::StreamStopped(code)) =
                    conn.quic().stream_capacity(key.id())
                {
                    self.on_stopped(key, code, conn);
                }
            }
        }
        while let Some(id) = conn.quic().stream_writable_next() {
            let Some(key) = self.streams.key(id) else { continue };
            if self.streams.find(key).is_some_and(|s| s.waiting == Waiting::Room) {
                self.streams.ready(key);
            }
        }
    }

    /// STOP_SENDING: the client does not want the response.
    pub(super) fn on_stopped(&mut self, key: super::Key, code: u64, conn: &mut Conn) {
        if self.streams.remove(key).is_some() {
            self.stop_reading(key.id(), Code::RequestCancelled.number(), conn);
            self.stopped.push(Event::Reset { key, code, by_peer: true });
        }
    }
}
