//! Receives header blocks: HEADERS and CONTINUATION are joined, decoded in place if one frame holds
//! all, and become a request or trailers. RFC 9113 sections 4.3, 5.1.1, 5.1.2, 6.2, 6.10 and 8.

use super::budget::Kind;
use super::conn::Conn;
use super::frame::{self, Code, Header, MAX_31};
use super::stream::{Key, LOCAL_CLOSED, NO_BODY, REMOTE_CLOSED, TUNNEL};
use super::{Config, Error, Event, Io, Priority, Request, What};
use crate::h1::request::Method;
use crate::hpack::{FieldLimits, Flaws};
use crate::message;
use core::time::Duration;

impl Conn {
    #[inline]
    pub(super) fn headers(
        &mut self,
        header: &Header,
        payload: &[u8],
        io: &mut Io<'_>,
    ) -> Result<Option<Event>, Error> {
        let id = header.stream;
        if id & 1 == 0 {
            let what = if id == 0 { "HEADERS on stream 0" } else { "HEADERS on a server's stream" };
            return Err(Error::new(Code::PROTOCOL_ERROR, id, what));
        }
        let (mut fragment, mut priority) = (payload, None);
        if header.flags & (frame::PADDED | frame::PRIORITY_FLAG) != 0 {
            (fragment, priority) = strip(header, payload)?;
        }
        if header.has(frame::END_HEADERS) {
            return self.block(id, header.flags, priority, fragment, io);
        }
        let due = io.now + Duration::from_micros(io.shared.config.header_timeout);
        let cold = self.cold.get_or_insert_default();
        cold.block.clear();
        cold.block.extend_from_slice(fragment);
        (cold.block_stream, cold.block_flags) = (id, header.flags);
        (cold.block_priority, cold.continuations, cold.block_due) = (priority, 0, due);
        Ok(None)
    }

    #[cold]
    pub(super) fn continuation(
        &mut self,
        header: &Header,
        payload: &[u8],
        io: &mut Io<'_>,
    ) -> Result<Option<Event>, Error> {
        let id = header.stream;
        let last = header.has(frame::END_HEADERS);
        if payload.is_empty() && !last {
            self.charge(Kind::Empty, id, io)?;
        }
        let config = &io.shared.config;
        // `admit` has checked that a block is under way.
        let Some(cold) = &mut self.cold else { return Ok(None) };
        if payload.len() < frame::MIN_MAX_FRAME as usize {
            // Full frames are not counted: the block's length bounds them.
            cold.continuations = cold.continuations.saturating_add(1);
        }
        let what = if cold.continuations > config.budgets.continuations {
            Some("more CONTINUATION frames that are not full than a header block may have")
        } else if cold.block.len() + payload.len() > longest_block(config) as usize {
            Some("a header block of more than twice our SETTINGS_MAX_HEADER_LIST_SIZE")
        } else {
            None
        };
        if let Some(what) = what {
            io.shared.counters.tripped_continuation += 1;
            return Err(Error::new(Code::ENHANCE_YOUR_CALM, id, what));
        }
        cold.block.extend_from_slice(payload);
        if !last {
            return Ok(None);
        }
        let block = core::mem::take(&mut cold.block);
        let (flags, priority) = (cold.block_flags, cold.block_priority);
        cold.block_stream = 0;
        self.block(id, flags, priority, &block, io)
    }

    /// Handles a complete block. It is always decoded, because the table belongs to the connection.
    #[inline]
    fn block(
        &mut self,
        id: u32,
        flags: u8,
        priority: Option<[u8; 5]>,
        block: &[u8],
        io: &mut Io<'_>,
    ) -> Result<Option<Event>, Error> {
        let shared = &mut *io.shared;
        let end = flags & frame::END_STREAM != 0;
        if id > self.last_id {
            let insertions = self.decoder.insertions();
            if shared.head_cache.is(self.serial, insertions, block) {
                return self.request(id, end, priority, io);
            }
        }
        shared.head_cache.forget();
        shared.bytes.clear();
        shared.fields.clear();
        let config = &shared.config;
        let fields = if id > self.last_id { config.max_fields } else { config.max_trailers };
        let limits = FieldLimits { list_bytes: config.max_header_list, fields: fields.into() };
        let decoded = self.decoder.decode(block, &limits, &mut shared.bytes, &mut shared.fields);
        let flaws = match decoded {
            Ok(section) => section.flaws,
            Err(error) => {
                let (code, what) = (Code::COMPRESSION_ERROR, What::Hpack(error));
                return Err(Error { code, stream: id, what });
            }
        };
        if id <= self.last_id {
            return self.late_block(id, end, flaws, io);
        }
        if !flaws.none() {
            return self.reject(id, end, flaws.over_limit(), io);
        }
        let extended = shared.config.connect_protocol;
        let Ok(mut head) = message::request(&shared.bytes, &shared.fields, extended) else {
            return self.reject(id, end, false, io);
        };
        message::canonical_path(&mut shared.bytes, &mut head);
        message::join_cookies(&mut shared.bytes, &mut shared.fields);
        message::canonical_authority(&mut shared.bytes, &mut head);
        shared.head_cache.remember(self.serial, self.decoder.insertions(), block, head);
        self.request(id, end, priority, io)
    }

    /// Whether a stream with this new id may be opened.
    #[inline]
    fn may_open(&mut self, id: u32, io: &mut Io<'_>) -> Result<bool, Error> {
        if id > self.last_id + 2 {
            self.skipped = ((self.last_id + 1) | 1, id - 2);
        }
        self.last_id = id;
        if id > self.accept_to {
            // Sent before the peer saw our GOAWAY: the client will retry elsewhere.
            self.charge(Kind::Refused, id, io)?;
            return Ok(false);
        }
        if self.requests >= self.announced.streams {
            self.charge(Kind::Refused, id, io)?;
            self.refuse(id, Code::REFUSED_STREAM, io)?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Opens the stream of a new request, whose head is in the head cache.
    #[inline]
    fn request(
        &mut self,
        id: u32,
        end: bool,
        octets: Option<[u8; 5]>,
        io: &mut Io<'_>,
    ) -> Result<Option<Event>, Error> {
        let head = &io.shared.head_cache.head;
        if end && head.content_length.is_some_and(|n| n > 0) {
            return self.reject(id, end, false, io);
        }
        if !self.may_open(id, io)? {
            return Ok(None);
        }
        io.shared.counters.requests += 1;
        let head = &io.shared.head_cache.head;
        // A client that says nothing about priorities gets equal shares; one that speaks RFC 9218
        // its defaults.
        let silent = Priority { urgency: 3, incremental: !self.peer.no_rfc7540_priorities };
        let mut stated = head.priority;
        let key = self.open(id, stated.unwrap_or(silent), end);
        let stream = self.streams.at(key.slot);
        match head.method {
            Method::Head => stream.set(NO_BODY),
            Method::Connect => stream.set(TUNNEL),
            _ => {}
        }
        if let Some(length) = head.content_length {
            stream.body_left = length;
        }
        if stated.is_some() || octets.is_some() || self.cold.is_some() {
            self.apply_priority(key, &mut stated, octets, io)?;
        }
        if id == MAX_31 {
            // No ids are left: the client needs another connection (RFC 9113 section 5.1.1).
            self.finish_drain(io);
        }
        if !self.is_open(key) {
            // A malformed priority has reset the stream.
            return Ok(None);
        }
        let head = message::RequestHead { priority: stated, ..io.shared.head_cache.head };
        Ok(Some(Event::Request(Request { key, head, end })))
    }

    /// A new request that is malformed, or whose head is too large.
    #[cold]
    fn reject(
        &mut self,
        id: u32,
        end: bool,
        too_large: bool,
        io: &mut Io<'_>,
    ) -> Result<Option<Event>, Error> {
        if !self.may_open(id, io)? {
            return Ok(None);
        }
        if too_large {
            return self.too_large(id, end, io);
        }
        self.charge(Kind::Provoked, id, io)?;
        self.refuse(id, Code::PROTOCOL_ERROR, io)?;
        Ok(Some(Event::Malformed { stream: id }))
    }

    /// Applies the priority signals that came with or before a request.
    #[cold]
    fn apply_priority(
        &mut self,
        key: Key,
        stated: &mut Option<Priority>,
        octets: Option<[u8; 5]>,
        io: &mut Io<'_>,
    ) -> Result<(), Error> {
        if let Some(cold) = self.cold.as_mut().filter(|cold| !cold.early.is_empty()) {
            // A PRIORITY_UPDATE that came first is the later word (RFC 9218 section 7.1). Older
            // ones are of no use now.
            let early = cold.early.iter().find(|(id, _)| *id == key.id).map(|(_, p)| *p);
            cold.early.retain(|(id, _)| *id > key.id);
            *stated = early.or(*stated);
        }
        if let Some(priority) = *stated {
            self.state_priority(key.slot, priority);
        }
        if let Some(octets) = octets {
            self.place(key.id, &octets, io)?;
        }
        Ok(())
    }

    /// A block on a known stream: trailers, or an error.
    #[cold]
    fn late_block(
        &mut self,
        id: u32,
        end: bool,
        flaws: Flaws,
        io: &mut Io<'_>,
    ) -> Result<Option<Event>, Error> {
        let Some(slot) = self.streams.slot(id) else {
            if self.was_reset(id) || id > self.accept_to {
                // It was under way when we reset the stream; tolerated within a budget.
                self.charge(Kind::Refused, id, io)?;
                return Ok(None);
            }
            let (first, last) = self.skipped;
            if (first..=last).contains(&id) {
                let what = "HEADERS with a stream id below one that it used before";
                return Err(Error::new(Code::PROTOCOL_ERROR, id, what));
            }
            return Err(Error::new(Code::STREAM_CLOSED, id, "HEADERS after the end"));
        };
        let stream = self.streams.at(slot);
        if stream.has(REMOTE_CLOSED) {
            return self.stream_error(slot, Code::STREAM_CLOSED, io).map(Some);
        }
        let answered = stream.has(LOCAL_CLOSED);
        let short = stream.body_left != u64::MAX && stream.body_left != 0;
        if !end || short || flaws.malformed() || self.is_tunnel(slot) {
            return self.stream_error(slot, Code::PROTOCOL_ERROR, io).map(Some);
        }
        if flaws.over_limit() && !answered {
            self.charge(Kind::Oversize, id, io)?;
            return self.stream_error(slot, Code::ENHANCE_YOUR_CALM, io).map(Some);
        }
        if message::trailers(&io.shared.bytes, &io.shared.fields).is_err() {
            return self.stream_error(slot, Code::PROTOCOL_ERROR, io).map(Some);
        }
        if answered {
            // The answer is complete; trailers are dropped.
            self.forget(slot, io);
            return Ok(None);
        }
        self.streams.at(slot).set(REMOTE_CLOSED);
        Ok(Some(Event::Trailers { key: Key { id, slot } }))
    }

    /// Resets a stream that is not opened.
    #[cold]
    fn refuse(&mut self, id: u32, code: Code, io: &mut Io<'_>) -> Result<Option<Event>, Error> {
        self.reply_room(io)?;
        self.send_reset(id, code, io);
        Ok(None)
    }

    /// Opens the stream of a head over the limits, so that it can be answered with 431.
    #[cold]
    fn too_large(&mut self, id: u32, end: bool, io: &mut Io<'_>) -> Result<Option<Event>, Error> {
        self.charge(Kind::Oversize, id, io)?;
        self.reply_room(io)?;
        Ok(Some(Event::TooLarge { key: self.open(id, Priority::default(), end) }))
    }
}

/// Longest encoded block that is still decoded to keep the table in step, although its head may
/// exceed the limit, which is a stream error. Beyond it the connection ends.
#[inline]
pub(super) fn longest_block(config: &Config) -> u32 {
    config.max_header_list.saturating_mul(2)
}

/// Takes padding and priority off a HEADERS payload.
#[cold]
fn strip<'a>(header: &Header, payload: &'a [u8]) -> Result<(&'a [u8], Option<[u8; 5]>), Error> {
    let id = header.stream;
    let short = || {
        let what = "HEADERS without room for the fields that its flags announce";
        Error::new(Code::FRAME_SIZE_ERROR, id, what)
    };
    let mut rest = payload;
    let mut pad = 0;
    if header.has(frame::PADDED) {
        let (first, after) = rest.split_first().ok_or_else(short)?;
        (pad, rest) = (usize::from(*first), after);
    }
    let mut priority = None;
    if header.has(frame::PRIORITY_FLAG) {
        let (octets, after) = rest.split_first_chunk::<5>().ok_or_else(short)?;
        (priority, rest) = (Some(*octets), after);
    }
    let Some(len) = rest.len().checked_sub(pad) else {
        let what = "more padding than the frame holds";
        return Err(Error::new(Code::PROTOCOL_ERROR, id, what));
    };
    Ok((&rest[..len], priority))
}
