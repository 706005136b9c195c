//! Sends responses: heads by QPACK, content as it is pulled and as quiche has room.

use super::streams::{Key, Waiting};
use super::{Body, Code, Conn, Content, Error, Http, Pulled, Sent, Shared};
use crate::buf::Buf;
use ringway_codec::field::Known;
use ringway_codec::h1::response::decimal;
use ringway_codec::h3::frame;
use ringway_codec::qpack::{Indexing, Writer};
use std::rc::Rc;

/// The head of a DATA frame whose length is written afterwards: its type and four octets.
const DATA_HEAD: usize = 5;
/// Ends content of which all has been sent before. An end without a byte of its own is one that
/// quiche 0.30 forgets when its packet is lost while earlier bytes wait to be sent again.
const EMPTY_DATA: [u8; 2] = [frame::kind::DATA as u8, 0];
/// A whole body up to this long is taken over at once, whether there is room for it or not.
const WHOLE_MAX: usize = 4 * 1024;
/// The most that is pulled at a time.
const PULL_MAX: usize = 64 * 1024;
/// A stream with less room than this waits for more.
const ROOM_MIN: usize = 256;

/// Writes a response's or trailers' fields.
#[derive(Debug)]
pub struct Head<'a, 'b> {
    writer: &'a mut Writer<'b>,
    memos: Option<&'a mut Memos>,
}

/// Groups of lines that heads of clients without a dynamic table have in common, as they were
/// encoded for one of them, by the low bits of the numbers that stand for them.
#[derive(Debug, Default)]
pub(super) struct Memos([Memo; 16]);

#[derive(Debug, Default)]
struct Memo {
    id: u64,
    lines: Vec<u8>,
}

/// Octets of a group of lines that are worth remembering.
const MEMO: usize = 1024;

impl Memos {
    fn of(&mut self, id: u64) -> &mut Memo {
        &mut self.0[(id & 15) as usize]
    }
}

impl Head<'_, '_> {
    /// Adds a field, compressed as its name suggests. `name` is read only if `known` is
    /// `Known::Other`, and then must be lower case.
    pub fn field(&mut self, known: Known, name: &[u8], value: &[u8]) {
        self.writer.field(known, name, value);
    }

    /// Adds a field, compressed as told: `Indexing::Never` for secrets beyond those that are known.
    pub fn field_as(&mut self, indexing: Indexing, known: Known, name: &[u8], value: &[u8]) {
        self.writer.field_as(indexing, known, name, value);
    }

    /// Writes what `fields` writes, or, when that is known to come to the same octets, those. `id`
    /// stands for names and values: the caller gives different ones to heads that differ. Ids that
    /// are equal modulo 16 take each other's place.
    pub fn cached(&mut self, id: u64, fields: impl FnOnce(&mut Self)) {
        let Some(memos) = self.memos.as_mut().filter(|_| self.writer.is_static()) else {
            return fields(self);
        };
        let memo = memos.of(id);
        if memo.id == id && !memo.lines.is_empty() {
            return self.writer.repeat(&memo.lines);
        }
        let at = self.writer.written().len();
        fields(self);
        let written = &self.writer.written()[at..];
        if let Some(memos) = self.memos.as_mut().filter(|_| written.len() <= MEMO) {
            let memo = memos.of(id);
            memo.id = id;
            memo.lines.clear();
            memo.lines.extend_from_slice(written);
        }
    }

    /// Adds a field as [`field_as`](Self::field_as) does: how to compress it, known name, name,
    /// value.
    pub fn line(&mut self, (indexing, known, name, value): (Indexing, Known, &[u8], &[u8])) {
        self.field_as(indexing, known, name, value);
    }

    /// Adds content-length. Not indexed: lengths differ, and would drive what comes again out of
    /// the table.
    pub fn content_length(&mut self, n: u64) {
        self.field_as(Indexing::Literal, Known::ContentLength, b"", decimal(n, &mut [0; 20]));
    }
}

impl Http {
    /// Answers a request with a final status (200 to 599) and the fields that `fields` writes. To
    /// HEAD, and with 204 and 304, no content is sent whatever `body` says.
    pub fn respond(
        &mut self,
        key: Key,
        status: u16,
        body: Body<'_>,
        conn: &mut Conn,
        shared: &mut Shared,
        fields: impl FnOnce(&mut Head<'_, '_>),
    ) -> Sent {
        debug_assert!((200..600).contains(&status));
        let (Some(stream), Some(h3)) = (self.streams.find(key), &mut self.h3) else {
            return Sent::Gone;
        };
        if stream.head_sent {
            return Sent::Gone;
        }
        stream.head_sent = true;
        let body = if stream.no_body || matches!(status, 204 | 304) { Body::None } else { body };
        let (out, memos) = (&mut shared.scratch, &mut shared.memos);
        out.clear();
        h3.head(key.id(), Some(status), out, |writer| {
            fields(&mut Head { writer, memos: Some(memos) });
        });
        match body {
            Body::None => self.send(key, copy(out), true, conn),
            Body::Whole(content) if content.len() <= self.room(key, out.len(), conn) => {
                if !content.is_empty() {
                    frame::write_head(out, frame::kind::DATA, content.len() as u64);
                    out.extend_from_slice(content);
                }
                self.send(key, copy(out), true, conn);
            }
            Body::Shared(content) if !content.as_ref().is_empty() => {
                frame::write_head(out, frame::kind::DATA, content.as_ref().len() as u64);
                self.send(key, copy(out), false, conn);
                self.send(key, content, true, conn);
            }
            Body::Shared(_) => self.send(key, copy(out), true, conn),
            Body::Whole(_) | Body::Pull => {
                self.send(key, copy(out), false, conn);
                self.wake(key);
                return Sent::Queued;
            }
            Body::Later => {
                self.send(key, copy(out), false, conn);
                return Sent::Queued;
            }
        }
        Sent::All
    }

    /// Sends an informational response: 103 with Link fields, or 100. `false` when it is too late
    /// for that.
    pub fn inform(
        &mut self,
        key: Key,
        status: u16,
        conn: &mut Conn,
        fields: impl FnOnce(&mut Head<'_, '_>),
    ) -> bool {
        debug_assert!((100..200).contains(&status) && status != 101);
        let (Some(stream), Some(h3)) = (self.streams.find(key), &mut self.h3) else {
            return false;
        };
        if stream.head_sent {
            return false;
        }
        let mut out = Vec::new();
        h3.head(key.id(), Some(status), &mut out, |writer| {
            fields(&mut Head { writer, memos: None })
        });
        self.send(key, out.into(), false, conn);
        true
    }

    /// Ends a response with trailers: after [`Pulled::Trailers`], or when nothing has been pulled
    /// yet. `false` when the stream is gone.
    pub fn trailers(
        &mut self,
        key: Key,
        conn: &mut Conn,
        fields: impl FnOnce(&mut Head<'_, '_>),
    ) -> bool {
        let (Some(stream), Some(h3)) = (self.streams.find(key), &mut self.h3) else {
            return false;
        };
        if !stream.head_sent || stream.fin {
            return false;
        }
        let mut out = Vec::new();
        h3.head(key.id(), None, &mut out, |writer| fields(&mut Head { writer, memos: None }));
        self.send(key, out.into(), true, conn);
        true
    }

    /// The body has more to give, or its end or trailers.
    pub fn wake(&mut self, key: Key) {
        if let Some(stream) = self.streams.find(key)
            && stream.head_sent
            && !stream.fin
            && !stream.trailers
        {
            stream.pulls = true;
            if stream.waiting != Waiting::Room {
                self.streams.ready(key);
            }
        }
    }

    /// Sends on what waits and pulls more where there is room, about `limit` octets, the streams
    /// that quiche ranks first first. `pull` gives about the given number of octets of that
    /// stream's body.
    ///
    /// `Some(key)`: this stream's content is complete; call [`trailers`](Self::trailers) and then
    /// this again.
    pub fn output(
        &mut self,
        limit: usize,
        conn: &mut Conn,
        mut pull: impl FnMut(Key, usize, &mut Content) -> Pulled,
    ) -> Result<Option<Key>, Error> {
        let mut left = limit;
        while left > 0 {
            let Some(key) = self.streams.next_ready() else { break };
            self.flush(key, conn);
            let Some(stream) = self.streams.find(key) else { continue };
            if !stream.pending.is_empty() || !stream.pulls {
                // Either quiche is full, or the application will call `wake`.
                continue;
            }
            let room = self.room(key, 0, conn);
            if room < ROOM_MIN {
                self.wait_for_room(key, conn);
                continue;
            }
            let given = room.min(PULL_MAX).min(left);
            left -= given;
            if self.pull(key, given, conn, &mut pull) {
                return Ok(Some(key));
            }
        }
        self.send_control(conn);
        Ok(None)
    }

    /// One DATA frame of one stream; `true` when only trailers are missing.
    fn pull(
        &mut self,
        key: Key,
        max: usize,
        conn: &mut Conn,
        pull: &mut impl FnMut(Key, usize, &mut Content) -> Pulled,
    ) -> bool {
        let mut content = Content { bytes: vec![0; DATA_HEAD], shared: None };
        let pulled = pull(key, max, &mut content);
        if let Pulled::Abort(code) = pulled {
            self.reset(key, code, conn);
            return false;
        }
        let Content { mut bytes, shared } = content;
        assert!(bytes.len() >= DATA_HEAD, "a body appends and takes nothing away");
        let more = shared.as_ref().map_or(0, |shared| shared.as_ref().len());
        let len = bytes.len() - DATA_HEAD + more;
        let is_last = pulled == Pulled::End;
        if let Some(stream) = self.streams.find(key) {
            stream.pulls = pulled == Pulled::More && len > 0;
            stream.trailers = pulled == Pulled::Trailers;
            stream.waiting = Waiting::Application;
        }
        assert!(len < 1 << 30, "a pull gives about as much as it is asked for");
        if len == 0 {
            if is_last {
                self.send(key, copy(&EMPTY_DATA), true, conn);
            }
        } else {
            bytes[0] = frame::kind::DATA as u8;
            bytes[1..DATA_HEAD].copy_from_slice(&(len as u32 | 0x8000_0000).to_be_bytes());
            self.send(key, bytes.into(), is_last && shared.is_none(), conn);
            if let Some(shared) = shared {
                self.send(key, shared, is_last, conn);
            }
        }
        if self.streams.find(key).is_some_and(|s| s.pulls && s.waiting == Waiting::Application) {
            self.streams.ready(key);
        }
        pulled == Pulled::Trailers
    }

    /// Octets that quiche takes on `key` beyond `used`; more than it does of a body so short that
    /// keeping it costs less than asking for it again.
    fn room(&mut self, key: Key, used: usize, conn: &mut Conn) -> usize {
        let room = conn.quic().stream_capacity(key.id()).unwrap_or(0);
        let room = room.saturating_sub(used + DATA_HEAD);
        if used > 0 { room.max(WHOLE_MAX) } else { room }
    }

    fn wait_for_room(&mut self, key: Key, conn: &mut Conn) {
        if let Some(stream) = self.streams.find(key) {
            stream.waiting = Waiting::Room;
            // Makes quiche name the stream once there is that much room.
            if let Err(quiche::Error::StreamStopped(code)) =
                conn.quic().stream_writable(key.id(), ROOM_MIN + DATA_HEAD)
            {
                self.on_stopped(key, code, conn);
            }
        }
    }

    /// Hands `bytes` to quiche and keeps what it does not take; the response ends there if `fin`.
    pub(super) fn send(&mut self, key: Key, bytes: Buf, fin: bool, conn: &mut Conn) {
        let Some(stream) = self.streams.find(key) else { return };
        stream.fin |= fin;
        stream.pending.push_back(bytes);
        if stream.waiting != Waiting::Room {
            self.flush(key, conn);
        }
    }

    /// Hands on what is pending. The stream's record goes when its end has been taken.
    fn flush(&mut self, key: Key, conn: &mut Conn) {
        let id = key.id();
        let Some(stream) = self.streams.find(key) else { return };
        stream.waiting = Waiting::Application;
        while let Some(bytes) = stream.pending.pop_front() {
            let len = bytes.as_ref().len();
            let is_last = stream.pending.is_empty() && stream.fin;
            let sent = match conn.quic().stream_capacity(id) {
                // Without room quiche would drop what it is given.
                Ok(0) => Ok((0, Some(bytes))),
                Ok(_) => {
                    if stream.is_behind {
                        stream.set_rank(id, stream.rank, conn);
                    }
                    conn.quic().stream_send_zc(id, bytes, is_last)
                }
                Err(error) => Err(error),
            };
            match sent {
                Ok((_, None)) => {
                    stream.taken += len as u64;
                    self.taken += len as u64;
                }
                Ok((_, Some(rest))) if rest.as_ref().is_empty() => {}
                Ok((taken, Some(rest))) => {
                    stream.taken += taken as u64;
                    self.taken += taken as u64;
                    stream.pending.push_front(rest);
                    stream.waiting = Waiting::Room;
                    let _ = conn.quic().stream_writable(id, 1);
                    return;
                }
                Err(quiche::Error::StreamStopped(code)) => {
                    return self.on_stopped(key, code, conn);
                }
                Err(_) => {
                    // The connection is ending, and reports so itself.
                    self.streams.remove(key);
                    return;
                }
            }
        }
        if stream.fin {
            let received = stream.received;
            self.streams.remove(key);
            if !received {
                // RFC 9114 section 4.1: the rest of the request changes nothing.
                self.stop_reading(id, Code::NoError.number(), conn);
            }
        }
    }
}

fn copy(bytes: &[u8]) -> Buf {
    Rc::<[u8]>::from(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_codec::qpack::Encoder;
    use ringway_codec::scan::Backend;

    /// A block with `date` under the number `id`, and whether it was written anew.
    fn block(encoder: &mut Encoder, memos: &mut Memos, id: u64, date: &[u8]) -> (Vec<u8>, bool) {
        let (mut out, mut instructions, mut anew) = (Vec::new(), Vec::new(), false);
        let mut writer = encoder.block(0, &mut out, &mut instructions);
        writer.status(200);
        let mut head = Head { writer: &mut writer, memos: Some(memos) };
        head.cached(id, |head| {
            anew = true;
            head.field(Known::Date, b"", date);
        });
        head.content_length(7);
        writer.finish();
        (out, anew)
    }

    #[test]
    fn common_lines_are_encoded_once_for_clients_without_a_table() {
        let mut memos = Memos::default();
        let mut plain = Encoder::new(Backend::Scalar, 0);
        let (first, anew) = block(&mut plain, &mut memos, 1, b"Sun, 22 Nov 2026 09:45:14 GMT");
        assert!(anew && first.len() > 20);
        assert_eq!(block(&mut plain, &mut memos, 1, b"not looked at"), (first.clone(), false));
        let (second, anew) = block(&mut plain, &mut memos, 2, b"Sun, 22 Nov 2026 09:45:15 GMT");
        assert!(anew && second != first);
        let mut rich = Encoder::new(Backend::Scalar, 4096);
        rich.set_peer_settings(4096, 16);
        assert!(block(&mut rich, &mut memos, 2, b"Sun, 22 Nov 2026 09:45:15 GMT").1);
        assert_eq!(block(&mut plain, &mut memos, 2, b"not looked at"), (second, false));
    }
}
