//! Request streams: frame order, decoding of sections, counting of content, checks of messages. RFC
//! 9114 sections 4.1 and 7.

use super::config::{Event, Request, Shared};
use super::conn::{Conn, PRIORITY_BUDGET};
use super::frame::kind;
use super::stream::{Frame, Phase, Stream};
use super::{Code, Error};
use crate::h1::request::Method;
use crate::message;
use crate::qpack::{Decoded, FieldLimits, Section};
use alloc::vec::Vec;
use core::ops::Range;

/// A piece of a stream.
pub(super) struct Input<'a> {
    pub(super) stream: u64,
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) fin: bool,
}

impl<'a> Input<'a> {
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The part of the current frame (`left` bytes) that the input contains.
    #[inline]
    fn take(&mut self, left: &mut u64) -> Range<usize> {
        let at = self.at;
        let len = usize::try_from(*left).unwrap_or(usize::MAX).min(self.bytes.len() - at);
        self.at += len;
        *left -= len as u64;
        at..at + len
    }
}

impl Conn {
    pub(super) fn request(
        &mut self,
        input: &mut Input<'_>,
        shared: &mut Shared,
    ) -> Result<Event, Error> {
        let id = input.stream;
        if id >= self.refused_from {
            input.at = input.bytes.len();
            return Ok(Event::Failed { stream: id, code: Code::RequestRejected });
        }
        if id >= self.next_request {
            self.next_request = id + 4;
            self.priority_budget = (self.priority_budget + 4).min(4 * PRIORITY_BUDGET);
        }
        let place = self.streams.place(id);
        loop {
            let stream = self.streams.at(place);
            if stream.is_blocked {
                return Ok(Event::Blocked { stream: id });
            }
            if stream.frame == Frame::None {
                let Some((kind, len)) = stream.integers.two(input.bytes, &mut input.at) else {
                    return self.pause(input, place);
                };
                (stream.frame, stream.left) = (allowed(kind, stream.phase)?, len);
                // A section within the limit, which counts 32 octets a line, has no longer
                // encoding, except for pieces of a cookie, of which only values count. Twice the
                // limit covers those too.
                let most = 2 * u64::from(shared.config.fields.list_bytes);
                if stream.frame == Frame::Section && len > most {
                    return self.over_limit(input, place);
                }
            }
            match stream.frame {
                Frame::Section => {
                    return if gather(stream, input) {
                        self.section(input, place, shared)
                    } else {
                        self.pause(input, place)
                    };
                }
                Frame::Data => {
                    let at = input.take(&mut stream.left);
                    if let Some(left) = &mut stream.body_left {
                        match left.checked_sub(at.len() as u64) {
                            Some(less) => *left = less,
                            None => return self.fail(input, Code::Message),
                        }
                    }
                    if !at.is_empty() {
                        stream.frame = if stream.left > 0 { Frame::Data } else { Frame::None };
                        return Ok(Event::Data { stream: id, at });
                    }
                }
                _ => {
                    input.take(&mut stream.left);
                }
            }
            if stream.left > 0 {
                return self.pause(input, place);
            }
            stream.frame = Frame::None;
        }
    }

    /// The input is consumed: more will come, or the request has ended.
    fn pause(&mut self, input: &Input<'_>, place: usize) -> Result<Event, Error> {
        if !input.fin {
            return Ok(Event::More);
        }
        let stream = self.streams.at(place);
        let (id, phase) = (stream.id, stream.phase);
        if stream.frame != Frame::None || stream.integers.is_partial() {
            return Err(Error::new(Code::Frame, "a stream that ended within a frame"));
        }
        let is_short = stream.body_left.is_some_and(|left| left > 0);
        self.forget(id)?;
        Ok(match phase {
            Phase::Head => Event::Failed { stream: id, code: Code::RequestIncomplete },
            _ if is_short => Event::Failed { stream: id, code: Code::Message },
            _ => Event::End { stream: id },
        })
    }

    /// Handles a complete encoded section, in the stream's block or, nearly always, in the input.
    fn section(
        &mut self,
        input: &mut Input<'_>,
        place: usize,
        shared: &mut Shared,
    ) -> Result<Event, Error> {
        let Shared { config, bytes, fields } = shared;
        bytes.clear();
        fields.clear();
        let stream = self.streams.at(place);
        let id = stream.id;
        let in_front = input.take(&mut stream.left);
        let block =
            if stream.block.is_empty() { &input.bytes[in_front] } else { &stream.block[..] };
        let limits = match stream.phase {
            Phase::Head => config.fields,
            _ => FieldLimits { fields: config.trailer_fields, ..config.fields },
        };
        match self.decoder.decode(id, block, &limits, bytes, fields)? {
            Decoded::Blocked => {
                if stream.block.is_empty() {
                    stream.block = block.to_vec();
                }
                stream.is_blocked = true;
                Ok(Event::Blocked { stream: id })
            }
            Decoded::Section(section) => {
                stream.block = Vec::new();
                stream.frame = Frame::None;
                self.deliver(input, place, section, shared)
            }
        }
    }

    fn deliver(
        &mut self,
        input: &mut Input<'_>,
        place: usize,
        section: Section,
        shared: &mut Shared,
    ) -> Result<Event, Error> {
        if section.flaws.malformed() {
            return self.fail(input, Code::Message);
        }
        if section.flaws.over_limit() {
            return self.over_limit(input, place);
        }
        let stream = self.streams.at(place);
        let id = stream.id;
        if stream.phase == Phase::Body {
            stream.phase = Phase::Trailers;
            return match message::trailers(&shared.bytes, &shared.fields) {
                Ok(()) => Ok(Event::Trailers { stream: id }),
                Err(_) => self.fail(input, Code::Message),
            };
        }
        let extended = shared.config.connect_protocol;
        let Ok(mut head) = message::request(&shared.bytes, &shared.fields, extended) else {
            return self.fail(input, Code::Message);
        };
        stream.phase = Phase::Body;
        stream.body_left = head.content_length.filter(|_| head.method != Method::Connect);
        let end = input.fin && input.rest().is_empty();
        if end && stream.body_left.is_some_and(|left| left > 0) {
            return self.fail(input, Code::Message);
        }
        message::canonical_path(&mut shared.bytes, &mut head);
        message::join_cookies(&mut shared.bytes, &mut shared.fields);
        message::canonical_authority(&mut shared.bytes, &mut head);
        if let Some(at) = self.early.iter().position(|(early, _)| *early == id) {
            // RFC 9218 section 7: PRIORITY_UPDATE overrides the field.
            head.priority = Some(self.early.remove(at).1);
        }
        if end {
            self.streams.remove(id);
        }
        Ok(Event::Request(Request { stream: id, head, end }))
    }

    fn fail(&mut self, input: &mut Input<'_>, code: Code) -> Result<Event, Error> {
        input.at = input.bytes.len();
        self.forget(input.stream)?;
        Ok(Event::Failed { stream: input.stream, code })
    }

    fn over_limit(&mut self, input: &mut Input<'_>, place: usize) -> Result<Event, Error> {
        if self.streams.at(place).phase != Phase::Head {
            // Trailers that are too large: the head has been handed out, so 431 is too late.
            return self.fail(input, Code::ExcessiveLoad);
        }
        input.at = input.bytes.len();
        self.forget(input.stream)?;
        Ok(Event::Refused { stream: input.stream, status: 431 })
    }

    /// RFC 9204 section 4.4.2: blocks that will not be decoded release their table entries.
    pub(super) fn forget(&mut self, id: u64) -> Result<(), Error> {
        match self.streams.remove(id) {
            Some(stream) if stream.phase == Phase::Head || stream.frame == Frame::Section => {
                Ok(self.decoder.cancel(id)?)
            }
            _ => Ok(()),
        }
    }
}

/// Whether the current section is complete, in the stream's block or at the front of the input.
#[inline]
fn gather(stream: &mut Stream, input: &mut Input<'_>) -> bool {
    let is_in_front = stream.block.is_empty() && stream.left <= input.rest().len() as u64;
    if !is_in_front && stream.left > 0 {
        let part = input.take(&mut stream.left);
        stream.block.extend_from_slice(&input.bytes[part]);
    }
    is_in_front || stream.left == 0
}

/// Whether a frame of `kind` is allowed now on a request stream, and how it is handled.
#[inline]
fn allowed(kind: u64, phase: Phase) -> Result<Frame, Error> {
    match (kind, phase) {
        (kind::HEADERS, Phase::Head | Phase::Body) => Ok(Frame::Section),
        (kind::DATA, Phase::Body) => Ok(Frame::Data),
        (kind::HEADERS | kind::DATA, _) => {
            Err(Error::new(Code::FrameUnexpected, "DATA before HEADERS, or either after trailers"))
        }
        (
            kind::SETTINGS
            | kind::GOAWAY
            | kind::MAX_PUSH_ID
            | kind::CANCEL_PUSH
            | kind::PUSH_PROMISE
            | kind::PRIORITY_UPDATE_REQUEST
            | kind::PRIORITY_UPDATE_PUSH,
            _,
        ) => Err(Error::new(Code::FrameUnexpected, "a control frame on a request")),
        (kind, _) if kind::RESERVED.contains(&kind) => {
            Err(Error::new(Code::FrameUnexpected, "a frame of HTTP/2"))
        }
        _ => Ok(Frame::Skipped),
    }
}
