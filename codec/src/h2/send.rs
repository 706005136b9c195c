//! Sends answers: response heads at once and in order, small bodies with them, larger ones pulled
//! by the scheduler when output is gathered, trailers, 1xx, resets. RFC 9113 sections 5.2, 6.1, 6.2
//! and 8.1.

use super::budget::Kind;
use super::conn::{Conn, Phase, millis};
use super::frame::{self, Code, HEADER};
use super::stream::{
    HEAD_SENT, Key, LOCAL_CLOSED, NO_BODY, NONE, REMOTE_CLOSED, STALLED, STATED, TRAILERS, WANTS,
};
use super::{Error, Io, Priority};
use crate::field::Known;
use crate::h1::response::decimal;
use crate::hpack::{BlockEncoder, Indexing};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

/// What follows a response's head.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// Nothing.
    None,
    /// All of the content. What windows or more urgent streams hold back must be pulled: see
    /// [`Sent::Queued`].
    Whole(&'a [u8]),
    /// All of the content, so many octets, as [`Body::Whole`] but kept by the caller: see
    /// [`Sent::Lent`].
    Lent(usize),
    /// Content that [`Conn::output`] may pull from now on.
    Pull,
    /// Content, or trailers, that will be there after [`Conn::wake`].
    Later,
}

/// The result of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Complete, including its end: forget the stream.
    All,
    /// Complete except for the lent octets, which must follow the current output. Forget the
    /// stream.
    Lent,
    /// The head is in the output; the content is to be pulled.
    Queued,
    /// The stream no longer exists (or has been answered): nothing was written.
    Gone,
}

/// The result of pulling a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// There is, or may be, more. Without any octets this is [`Pulled::Pending`].
    More,
    /// There will be more after [`Conn::wake`].
    Pending,
    /// That was all: the stream ends with these octets, if any.
    End,
    /// That was all but trailers: [`Conn::output`] returns the key, for [`Conn::trailers`].
    Trailers,
    /// The body cannot go on: the stream is reset with this code, octets just given are taken back.
    Abort(Code),
}

/// Writes a response's or trailers' fields.
#[derive(Debug)]
pub struct HeadWriter<'a> {
    block: BlockEncoder<'a>,
    memos: &'a mut Option<Box<Memos>>,
}

impl HeadWriter<'_> {
    /// Adds a field, compressed as its name suggests. `name` is read only if `known` is
    /// `Known::Other`, and then must be lower case.
    #[inline]
    pub fn field(&mut self, known: Known, name: &[u8], value: &[u8]) {
        self.block.field(known, name, value);
    }

    /// Adds a field, compressed as told: `Indexing::Never` for secrets beyond those that are known.
    #[inline]
    pub fn field_as(&mut self, indexing: Indexing, known: Known, name: &[u8], value: &[u8]) {
        self.block.field_as(indexing, known, name, value);
    }

    /// Adds a field as [`field_as`](Self::field_as) does: how to compress it, known name, name,
    /// value.
    #[inline]
    pub fn line(&mut self, (indexing, known, name, value): (Indexing, Known, &[u8], &[u8])) {
        self.field_as(indexing, known, name, value);
    }

    /// Adds content-length. Not indexed: lengths differ, and would drive what comes again out of
    /// the table.
    #[inline]
    pub fn content_length(&mut self, n: u64) {
        self.field_as(Indexing::Literal, Known::ContentLength, b"", decimal(n, &mut [0; 20]));
    }

    /// Writes what `fields` writes, from a cache if possible. `id` stands for names and values:
    /// heads that differ need different ids, so a date in them is part of the id. Ids equal modulo
    /// 4 replace each other.
    #[inline]
    pub fn cached(&mut self, id: u64, fields: impl FnOnce(&mut HeadWriter<'_>)) {
        let stamp = self.block.insertions();
        if let Some(memos) = &self.memos {
            let memo = &memos.0[Memos::place(id)];
            if memo.id == id && memo.stamp == stamp && memo.len > 0 {
                self.block.repeat(&memo.octets, usize::from(memo.len));
                return;
            }
        }
        let at = self.block.written().len();
        fields(self);
        if self.block.insertions() == stamp {
            self.remember(id, stamp, at);
        }
    }

    #[cold]
    fn remember(&mut self, id: u64, stamp: u64, at: usize) {
        let written = &self.block.written()[at..];
        if written.len() <= MEMO {
            let memos = self.memos.get_or_insert_default();
            let memo = &mut memos.0[Memos::place(id)];
            (memo.id, memo.stamp, memo.len) = (id, stamp, written.len() as u8);
            memo.octets[..written.len()].copy_from_slice(written);
        }
    }
}

/// Octets of a head that are worth remembering.
const MEMO: usize = 40;

#[derive(Debug)]
struct Memo {
    id: u64,
    /// Insertions into the encoder's table when it was encoded; after more, indices differ.
    stamp: u64,
    octets: [u8; MEMO],
    len: u8,
}

/// Cached encoded groups of fields. Four, because a page has few kinds of heads and a connection is
/// small.
#[derive(Debug)]
pub(super) struct Memos([Memo; 4]);

impl Memos {
    #[inline]
    fn place(id: u64) -> usize {
        (id & 3) as usize
    }
}

impl Default for Memos {
    fn default() -> Self {
        Self([0; 4].map(|id| Memo { id, stamp: 0, octets: [0; MEMO], len: 0 }))
    }
}

impl Conn {
    /// Answers a request with a final status (200 to 599) and the fields that `fields` writes. To
    /// HEAD, and with 204 and 304, no content is sent whatever `body` says.
    #[inline]
    pub fn respond(
        &mut self,
        key: Key,
        status: u16,
        body: Body<'_>,
        io: &mut Io<'_>,
        fields: impl FnOnce(&mut HeadWriter<'_>),
    ) -> Sent {
        debug_assert!((200..600).contains(&status));
        let Some(stream) = self.streams.find(key) else { return Sent::Gone };
        if stream.has(HEAD_SENT | LOCAL_CLOSED) {
            return Sent::Gone;
        }
        let nothing = match body {
            Body::None => true,
            Body::Whole(octets) => octets.is_empty(),
            Body::Lent(len) => len == 0,
            _ => false,
        };
        let last = nothing || stream.has(NO_BODY) || matches!(status, 204 | 304);
        stream.set(HEAD_SENT);
        let level = stream.level;
        let window = stream.send_window.min(self.send_window);
        let in_tree = stream.node != NONE;
        let flags = if last { frame::END_STREAM } else { 0 };
        self.head(key.id, flags, Some(status), io, fields);
        if last {
            self.end(key.slot, io);
            return Sent::All;
        }
        let (len, octets) = match body {
            Body::Whole(octets) => (octets.len(), octets),
            Body::Lent(len) => (len, &[][..]),
            Body::Pull => {
                self.want(key.slot, io);
                return Sent::Queued;
            }
            Body::None | Body::Later => return Sent::Queued,
        };
        let config = &io.shared.config;
        let most = self.peer.max_frame_size.min(config.data_frame) as i32;
        let first = !self.queue.outranks(level) && (self.queue.is_empty() || !in_tree);
        let room = io.out.len() + len <= config.output_bytes;
        if len > window.min(most).max(0) as usize || !first || !room {
            self.want(key.slot, io);
            return Sent::Queued;
        }
        frame::header(io.out, len as u32, frame::DATA, frame::END_STREAM, key.id);
        io.out.extend_from_slice(octets);
        self.sent(key.slot, len, io);
        self.end(key.slot, io);
        if octets.is_empty() { Sent::Lent } else { Sent::All }
    }

    /// Sends an informational response: 103 with Link fields, or 100. `false` when it is too late
    /// for that.
    pub fn inform(
        &mut self,
        key: Key,
        status: u16,
        io: &mut Io<'_>,
        fields: impl FnOnce(&mut HeadWriter<'_>),
    ) -> bool {
        debug_assert!((100..200).contains(&status) && status != 101);
        if !self.awaits_head(key) {
            return false;
        }
        self.head(key.id, 0, Some(status), io, fields);
        true
    }

    /// Ends a response with trailers: after [`Pulled::Trailers`], or when nothing has been pulled
    /// yet. `false` when the stream is gone.
    pub fn trailers(
        &mut self,
        key: Key,
        io: &mut Io<'_>,
        fields: impl FnOnce(&mut HeadWriter<'_>),
    ) -> bool {
        let Some(stream) = self.streams.find(key) else { return false };
        if !stream.has(HEAD_SENT) || stream.has(LOCAL_CLOSED) {
            return false;
        }
        let at = io.out.len();
        self.head(key.id, frame::END_STREAM, None, io, fields);
        if io.out.len() == at + HEADER {
            // An empty section is better said by an empty DATA frame.
            io.out.truncate(at);
            frame::header(io.out, 0, frame::DATA, frame::END_STREAM, key.id);
        }
        self.end(key.slot, io);
        true
    }

    /// The body has more to give, or its end or trailers.
    #[inline]
    pub fn wake(&mut self, key: Key, io: &mut Io<'_>) {
        let Some(stream) = self.streams.find(key) else { return };
        if stream.has(HEAD_SENT) && !stream.has(LOCAL_CLOSED | TRAILERS) {
            self.want(key.slot, io);
        }
    }

    /// Gives a stream up: RST_STREAM. The key finds nothing afterwards.
    pub fn reset(&mut self, key: Key, code: Code, io: &mut Io<'_>) {
        if self.streams.find(key).is_some() {
            self.reset_stream(key.slot, code, io);
        }
    }

    /// The application's word on a response's priority (a Priority field in it, RFC 9218 section 5)
    /// overrides the client's.
    pub fn prioritise(&mut self, key: Key, priority: Priority) {
        if self.streams.find(key).is_some() {
            self.state_priority(key.slot, priority);
        }
    }

    /// What the response's priority is to be if the client has said nothing about it: see
    /// [`priority::default_for`](super::priority::default_for).
    #[inline]
    pub fn suggest_priority(&mut self, key: Key, priority: Priority) {
        let Some(stream) = self.streams.find(key) else { return };
        let silent = !stream.has(STATED) && stream.node == NONE && key.id & 1 == 1;
        if silent && !self.peer.no_rfc7540_priorities {
            self.queue.prioritise(&mut self.streams, key.slot, priority);
        }
    }

    /// The state of the response's priority: urgency 0 to 7 (8 for a push that nobody has ranked)
    /// and incrementality.
    pub fn priority_of(&mut self, key: Key) -> Option<Priority> {
        let stream = self.streams.find(key)?;
        let incremental = stream.has(super::stream::INCREMENTAL);
        Some(Priority { urgency: stream.level, incremental })
    }

    /// Appends DATA, most urgent first, until about `limit` octets have been added, the windows are
    /// shut, or nobody has anything to send. `pull` appends at most the given number of octets of
    /// that stream's body, or leaves some of them where they are and adds their number to the last
    /// argument: those have to follow what is in the output then.
    ///
    /// `Some(key)`: this stream's content is complete; call [`Conn::trailers`] and then this again.
    #[inline]
    pub fn output(
        &mut self,
        limit: usize,
        io: &mut Io<'_>,
        mut pull: impl FnMut(Key, usize, &mut Vec<u8>, &mut usize) -> Pulled,
    ) -> Result<Option<Key>, Error> {
        let end = io.out.len().saturating_add(limit);
        let mut lent = 0;
        while !self.queue.is_empty() && io.out.len() + lent < end && self.phase != Phase::Dead {
            if self.send_window <= 0 {
                self.connection_stalled(io);
                break;
            }
            let Some((slot, allowance)) = self.queue.pick(&mut self.streams) else { break };
            let given = self.data_frame(slot, allowance, io, &mut lent, &mut pull);
            match given.inspect_err(|error| self.fail(error, io))? {
                None => {}
                some => return Ok(some),
            }
        }
        Ok(None)
    }

    /// One DATA frame of one stream.
    fn data_frame(
        &mut self,
        slot: u16,
        allowance: usize,
        io: &mut Io<'_>,
        lent: &mut usize,
        pull: &mut impl FnMut(Key, usize, &mut Vec<u8>, &mut usize) -> Pulled,
    ) -> Result<Option<Key>, Error> {
        let stream = self.streams.at(slot);
        let key = Key { id: stream.id, slot };
        debug_assert!(stream.send_window > 0 && stream.has(WANTS));
        let frame_max = self.peer.max_frame_size.min(io.shared.config.data_frame) as usize;
        let window = stream.send_window.min(self.send_window) as usize;
        let max = allowance.min(window).min(frame_max);
        let (at, before) = (io.out.len(), *lent);
        frame::header(io.out, 0, frame::DATA, 0, key.id);
        let pulled = pull(key, max, io.out, lent);
        let n = io.out.len() - at - HEADER + *lent - before;
        assert!(n <= max, "a body gave more octets than it was asked for");
        if let Pulled::Abort(code) = pulled {
            assert_eq!(*lent, before, "octets were lent to a stream that is reset");
            io.out.truncate(at);
            self.reset_stream(slot, code, io);
            return Ok(None);
        }
        if n == 0 && pulled != Pulled::End {
            io.out.truncate(at);
        } else {
            frame::set_len(io.out, at, n);
            self.sent(slot, n, io);
        }
        match pulled {
            Pulled::End => {
                io.out[at + 4] |= frame::END_STREAM;
                self.end(slot, io);
                return Ok(None);
            }
            Pulled::More if n > 0 => {
                self.queue.served(&mut self.streams, slot, n);
                self.update_ready(slot, io);
                if n == window && n < usize::from(io.shared.config.budgets.tiny) {
                    self.charge(Kind::Dribble, key.id, io)?;
                }
                return Ok(None);
            }
            _ => {}
        }
        let stream = self.streams.at(slot);
        stream.clear(WANTS);
        if pulled == Pulled::Trailers {
            stream.set(TRAILERS);
        }
        self.queue.unready(&mut self.streams, slot);
        Ok((pulled == Pulled::Trailers).then_some(key))
    }

    /// Appends a header block as HEADERS and CONTINUATION.
    #[inline]
    fn head(
        &mut self,
        id: u32,
        flags: u8,
        status: Option<u16>,
        io: &mut Io<'_>,
        fields: impl FnOnce(&mut HeadWriter<'_>),
    ) {
        let at = io.out.len();
        frame::header(io.out, 0, frame::HEADERS, flags, id);
        let mut block = self.encoder.block(io.out);
        if let Some(status) = status {
            block.status(status);
        }
        fields(&mut HeadWriter { block, memos: &mut self.memos });
        frame::finish_block(io.out, at, self.peer.max_frame_size as usize);
    }

    /// Accounts `n` octets of DATA.
    #[inline]
    fn sent(&mut self, slot: u16, n: usize, io: &mut Io<'_>) {
        self.send_window -= n as i32;
        if let Some(cold) = &mut self.cold {
            cold.stall_progress = cold.stall_progress.saturating_add(n as u32);
        }
        let stream = self.streams.at(slot);
        stream.send_window -= n as i32;
        if stream.has(STALLED) {
            stream.progress = stream.progress.saturating_add(n.min(usize::from(u16::MAX)) as u16);
        }
        io.shared.counters.data_sent += n as u64;
        // The client answers DATA with window, and gRPC's with a PING to measure bandwidth.
        self.buckets.credit(Kind::WindowUpdate, 2);
        self.buckets.credit(Kind::Ping, 1);
    }

    /// Our side of the stream has ended.
    #[inline]
    fn end(&mut self, slot: u16, io: &mut Io<'_>) {
        if self.streams.see(slot).has(REMOTE_CLOSED) {
            self.forget(slot, io);
        } else {
            self.end_early(slot, io);
        }
    }

    /// The response is complete, the request is not. The rest of the request is dropped within the
    /// window that the client already has. A client that sends more than half of it is told to stop
    /// (RFC 9113 section 8.1).
    #[cold]
    fn end_early(&mut self, slot: u16, io: &mut Io<'_>) {
        self.queue.unready(&mut self.streams, slot);
        let stream = self.streams.at(slot);
        stream.clear(WANTS | STALLED);
        stream.set(LOCAL_CLOSED);
        let unconsumed = core::mem::take(&mut stream.unconsumed);
        self.credit(unconsumed, io);
    }

    #[inline]
    fn want(&mut self, slot: u16, io: &mut Io<'_>) {
        self.streams.at(slot).set(WANTS);
        self.update_ready(slot, io);
    }

    /// Tells the scheduler whether the stream can send; a stream that only lacks window is put on
    /// the clock.
    #[inline]
    pub(super) fn update_ready(&mut self, slot: u16, io: &mut Io<'_>) {
        let stream = self.streams.at(slot);
        if stream.has(WANTS) && stream.send_window > 0 {
            self.queue.ready(&mut self.streams, slot);
            return;
        }
        if stream.has(WANTS) && !stream.has(STALLED) {
            stream.set(STALLED);
            (stream.since, stream.progress) = (millis(io.now), 0);
            let timeout = Duration::from_micros(io.shared.config.stall_timeout);
            self.stall_due = self.stall_due.min(io.now + timeout);
        }
        self.queue.unready(&mut self.streams, slot);
    }

    #[cold]
    fn connection_stalled(&mut self, io: &mut Io<'_>) {
        let cold = self.cold.get_or_insert_default();
        let since = *cold.stalled_since.get_or_insert_with(|| {
            cold.stall_progress = 0;
            io.now
        });
        let timeout = Duration::from_micros(io.shared.config.stall_timeout);
        self.stall_due = self.stall_due.min(since + timeout);
    }
}
