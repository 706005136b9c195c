//! The server's side of an HTTP/3 connection: bytes of streams in, requests out, and the frames to
//! answer with. RFC 9114 sections 4 to 7, RFC 9204 section 2, RFC 9218.

use super::control::{Control, Role, Said, Uni};
use super::frame::{self, Settings, kind, setting, stream};
use super::stream::{Frame, Phase, Stream, Streams};
use super::{Code, Error};
use crate::field::Field;
use crate::h1::request::Method;
use crate::h2::Priority;
use crate::message;
use crate::qpack::{Decoded, Decoder, Encoder, Limits, Section, Writer};
use crate::scan::Backend;
use alloc::vec::Vec;
use core::ops::Range;

/// PRIORITY_UPDATE frames for requests that have not come yet; more push the oldest out.
const EARLY_PRIORITIES: usize = 16;
/// PRIORITY_UPDATE frames a client may send beyond four for every request.
const PRIORITY_BUDGET: u32 = 64;
/// QPACK instructions that may wait for a client that does not read them.
const INSTRUCTIONS_MAX: usize = 4096;
/// The highest id of a request, for the first step of a drain.
const LAST_REQUEST: u64 = (1 << 62) - 4;

/// What a connection allows.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The instruction set to decode with.
    pub backend: Backend,
    /// What a field section may hold.
    pub fields: Limits,
    /// The dynamic table that we keep for the client's encoder.
    pub qpack_capacity: u32,
    /// Requests that may wait for table entries.
    pub qpack_blocked: u16,
    /// The dynamic table that we use of the client's decoder, at most.
    pub qpack_encoder_capacity: u32,
    /// Requests that may be open at a time, as QUIC's transport parameters say.
    pub streams: u64,
    /// Extended CONNECT is offered (RFC 9220).
    pub connect_protocol: bool,
    /// Send reserved values, so that clients keep tolerating them.
    pub grease: bool,
}

impl Config {
    /// The defaults.
    pub fn new(backend: Backend) -> Self {
        Self {
            backend,
            fields: Limits { list_bytes: 32 * 1024, fields: 100 },
            qpack_capacity: 4096,
            qpack_blocked: 16,
            qpack_encoder_capacity: 4096,
            streams: 100,
            connect_protocol: false,
            grease: true,
        }
    }
}

/// What all connections of a worker share.
#[derive(Debug)]
pub struct Shared {
    /// What connections that begin from now on allow.
    pub config: Config,
    /// Names and values of the head or trailers last returned by [`Conn::receive`].
    pub bytes: Vec<u8>,
    /// Its fields, pseudo-header fields first; offsets into `bytes`.
    pub fields: Vec<Field>,
}

impl Shared {
    /// For connections that allow what `config` says.
    pub fn new(config: Config) -> Self {
        Self { config, bytes: Vec::new(), fields: Vec::new() }
    }
}

/// A request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The stream to answer on.
    pub stream: u64,
    /// What it says. Its priority is that of a PRIORITY_UPDATE, if one came before.
    pub head: message::Request,
    /// The request has no content.
    pub end: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing more: the input is used up.
    More,
    /// A request's head; its fields are in [`Shared`] until the next call.
    Request(Request),
    /// Octets of a request's content.
    Data {
        /// The stream.
        stream: u64,
        /// Where in the input; not empty.
        at: Range<usize>,
    },
    /// A request's trailers; their fields are in [`Shared`] until the next call.
    Trailers {
        /// The stream.
        stream: u64,
    },
    /// A request that had content or might have had is here whole.
    End {
        /// The stream.
        stream: u64,
    },
    /// The request's head is over a limit: answer with `status`, and read no more of it.
    Refused {
        /// The stream.
        stream: u64,
        /// The status to answer with.
        status: u16,
    },
    /// The peer broke a rule on the stream, which ends here in both directions.
    Failed {
        /// The stream.
        stream: u64,
        /// The code for RESET_STREAM and STOP_SENDING.
        code: Code,
    },
    /// The client has changed the priority of a request.
    Priority {
        /// The stream.
        stream: u64,
        /// The new priority.
        priority: Priority,
    },
    /// The stream waits for table entries: keep `input[at..]`, read no more of it, and come back
    /// when [`Conn::unblocked`] names it.
    Blocked {
        /// The stream.
        stream: u64,
    },
    /// A unidirectional stream that means nothing to us: read no more of it.
    Unwanted {
        /// The stream.
        stream: u64,
    },
}

/// A piece of a stream.
struct Input<'a> {
    stream: u64,
    bytes: &'a [u8],
    at: usize,
    fin: bool,
}

impl<'a> Input<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// As much of the frame at hand, `left` bytes, as the input holds.
    #[inline]
    fn take(&mut self, left: &mut u64) -> Range<usize> {
        let at = self.at;
        let len = usize::try_from(*left).unwrap_or(usize::MAX).min(self.bytes.len() - at);
        self.at += len;
        *left -= len as u64;
        at..at + len
    }
}

/// A server's connection.
#[derive(Debug)]
pub struct Conn {
    streams: Streams,
    unis: Vec<Uni>,
    control: Control,
    decoder: Decoder,
    encoder: Encoder,
    peer: Option<Settings>,
    early: Vec<(u64, Priority)>,
    priority_budget: u32,
    /// The lowest id that no request has had.
    next_request: u64,
    /// Requests from here on are rejected.
    refused_from: u64,
    out_control: Vec<u8>,
    out_encoder: Vec<u8>,
    out_decoder: Vec<u8>,
}

impl Conn {
    /// A connection whose control, encoder and decoder streams, to be opened by the caller, begin
    /// with what
    /// [`output`](Self::output) has for them now.
    pub fn new(shared: &Shared) -> Self {
        let config = &shared.config;
        let mut out_control = Vec::with_capacity(64);
        frame::write_varint(&mut out_control, stream::CONTROL);
        write_settings(&mut out_control, config);
        Self {
            decoder: Decoder::new(config.backend, config.qpack_capacity, config.qpack_blocked),
            encoder: Encoder::new(config.backend, config.qpack_encoder_capacity),
            streams: Streams::default(),
            unis: Vec::new(),
            control: Control::default(),
            peer: None,
            early: Vec::new(),
            priority_budget: PRIORITY_BUDGET,
            next_request: 0,
            refused_from: u64::MAX,
            out_control,
            out_encoder: alloc::vec![stream::ENCODER as u8],
            out_decoder: alloc::vec![stream::DECODER as u8],
        }
    }

    /// What the next octets of `stream` say: `input` from `at` on, which moves, and the stream's
    /// end after them if `fin`. Call until [`Event::More`]. An error ends the connection.
    pub fn receive(
        &mut self,
        stream: u64,
        input: &[u8],
        fin: bool,
        at: &mut usize,
        shared: &mut Shared,
    ) -> Result<Event, Error> {
        let mut piece = Input { stream, bytes: input, at: *at, fin };
        let event = match stream & 3 {
            0 => self.request(&mut piece, shared),
            2 => self.unidirectional(&mut piece, &shared.config),
            // Streams that only we may open have no input.
            _ => Err(Error::new(Code::StreamCreation, "a stream that only the server opens")),
        };
        *at = piece.at;
        event
    }

    /// The client reset `stream`, or its request is not wanted any more. An error when the stream
    /// had to stay open.
    pub fn reset(&mut self, stream: u64) -> Result<(), Error> {
        if let Some(at) = self.unis.iter().position(|uni| uni.id == stream) {
            if self.unis.remove(at).role != Role::Unknown {
                return Err(CLOSED);
            }
        } else {
            self.forget(stream)?;
        }
        Ok(())
    }

    /// A blocked stream that may go on: call [`receive`](Self::receive) with what was kept of it,
    /// be it nothing. Ask after input of a unidirectional stream, until `None`.
    pub fn unblocked(&mut self) -> Option<u64> {
        let id = self.decoder.unblocked()?;
        let place = self.streams.place(id);
        self.streams.at(place).is_blocked = false;
        Some(id)
    }

    /// Appends a HEADERS frame for `stream`: a response head, if `status` is one, or else trailers.
    /// A 1xx status may come before the response. The stream must then be sent what was appended,
    /// or be reset.
    pub fn head(
        &mut self,
        stream: u64,
        status: Option<u16>,
        out: &mut Vec<u8>,
        fields: impl FnOnce(&mut Writer<'_>),
    ) {
        // Two octets of length are enough for nearly all; otherwise the block moves up.
        let begin = out.len();
        out.extend_from_slice(&[kind::HEADERS as u8, 0, 0]);
        let at = out.len();
        let mut writer = self.encoder.block(stream, out, &mut self.out_encoder);
        if let Some(status) = status {
            writer.status(status);
        }
        fields(&mut writer);
        writer.finish();
        let len = out.len() - at;
        if len < 1 << 14 {
            out[begin + 1..at].copy_from_slice(&(len as u16 | 0x4000).to_be_bytes());
        } else {
            let mut head = Vec::new();
            frame::write_head(&mut head, kind::HEADERS, len as u64);
            out.splice(begin..at, head);
        }
    }

    /// The first step of a drain: requests are still served, and the client is told to begin no
    /// more here (RFC 9114 section 5.2).
    pub fn drain(&mut self) {
        self.goaway(LAST_REQUEST);
    }

    /// The second step, a round trip later: from here on requests are rejected unprocessed.
    pub fn refuse(&mut self) {
        if self.refused_from == u64::MAX {
            self.refused_from = self.next_request;
            self.goaway(self.next_request);
        }
    }

    /// What waits to be sent on our control, encoder and decoder streams, in this order. Take what
    /// was sent off the front; a client that does not read it is made to wait, or stopped.
    pub fn output(&mut self) -> [&mut Vec<u8>; 3] {
        if self.out_decoder.len() < INSTRUCTIONS_MAX {
            self.decoder.output(&mut self.out_decoder);
        }
        [&mut self.out_control, &mut self.out_encoder, &mut self.out_decoder]
    }

    /// What the client's SETTINGS say, once they are here.
    pub fn peer(&self) -> Option<&Settings> {
        self.peer.as_ref()
    }

    /// Requests that are not received whole.
    pub fn receiving(&self) -> usize {
        self.streams.len()
    }

    /// The lowest id that no request has had: how many came, times four.
    pub fn next_request(&self) -> u64 {
        self.next_request
    }

    fn goaway(&mut self, id: u64) {
        let mut payload = Vec::new();
        frame::write_varint(&mut payload, id);
        frame::write_head(&mut self.out_control, kind::GOAWAY, payload.len() as u64);
        self.out_control.extend_from_slice(&payload);
    }

    fn unidirectional(&mut self, input: &mut Input<'_>, config: &Config) -> Result<Event, Error> {
        let id = input.stream;
        let at = match self.unis.iter().position(|uni| uni.id == id) {
            Some(at) => at,
            None => {
                let integers = frame::Integers::default();
                self.unis.push(Uni { id, role: Role::Unknown, integers });
                self.unis.len() - 1
            }
        };
        if self.unis[at].role == Role::Unknown {
            let Some(kind) = self.unis[at].integers.one(input.bytes, &mut input.at) else {
                if input.fin {
                    // RFC 9114 section 6.2: tolerated before the type.
                    self.unis.remove(at);
                }
                return Ok(Event::More);
            };
            match self.role(kind)? {
                Role::Unknown => {
                    self.unis.remove(at);
                    input.at = input.bytes.len();
                    return Ok(Event::Unwanted { stream: id });
                }
                role => self.unis[at].role = role,
            }
        }
        let event = match self.unis[at].role {
            Role::Control => self.on_control(input, config)?,
            Role::Encoder => {
                self.decoder.read_encoder_stream(input.rest())?;
                input.at = input.bytes.len();
                Event::More
            }
            _ => {
                self.encoder.read_decoder_stream(input.rest())?;
                input.at = input.bytes.len();
                Event::More
            }
        };
        if event == Event::More && input.fin {
            return Err(CLOSED);
        }
        Ok(event)
    }

    fn role(&self, kind: u64) -> Result<Role, Error> {
        let role = match kind {
            stream::CONTROL => Role::Control,
            stream::ENCODER => Role::Encoder,
            stream::DECODER => Role::Decoder,
            stream::PUSH => {
                return Err(Error::new(Code::StreamCreation, "a push by a client"));
            }
            _ => return Ok(Role::Unknown),
        };
        if self.unis.iter().any(|uni| uni.role == role) {
            return Err(Error::new(Code::StreamCreation, "a second stream of a critical type"));
        }
        Ok(role)
    }

    fn on_control(&mut self, input: &mut Input<'_>, config: &Config) -> Result<Event, Error> {
        while let Some(said) = self.control.next(input.bytes, &mut input.at)? {
            match said {
                Said::Settings(settings) => {
                    self.peer = Some(settings);
                    let Settings { qpack_capacity, qpack_blocked, .. } = settings;
                    self.encoder.set_peer_settings(qpack_capacity, qpack_blocked);
                }
                Said::Priority(stream) => {
                    if let Some(event) = self.on_priority(stream, config)? {
                        return Ok(event);
                    }
                }
                Said::Nothing => {}
            }
        }
        Ok(Event::More)
    }

    /// RFC 9218 section 7.2.
    fn on_priority(&mut self, stream: u64, config: &Config) -> Result<Option<Event>, Error> {
        if self.priority_budget == 0 {
            return Err(Error::new(Code::ExcessiveLoad, "too many priority updates"));
        }
        self.priority_budget -= 1;
        let highest = self.next_request.saturating_add(4 * config.streams);
        if stream & 3 != 0 || stream > highest {
            return Err(Error::new(Code::Id, "a priority for what is no request"));
        }
        let priority = Priority::default().updated(self.control.priority());
        if stream < self.next_request {
            return Ok(Some(Event::Priority { stream, priority }));
        }
        self.early.retain(|(early, _)| *early != stream);
        if self.early.len() == EARLY_PRIORITIES {
            self.early.remove(0);
        }
        self.early.push((stream, priority));
        Ok(None)
    }

    fn request(&mut self, input: &mut Input<'_>, shared: &mut Shared) -> Result<Event, Error> {
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
                // A section that decodes to no more than the limit, which counts 32 octets a line,
                // is not encoded in more, unless in strings that are longer than they need be.
                let most = u64::from(shared.config.fields.list_bytes);
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

    /// The input is used up: either more will come or this was the request.
    fn pause(&mut self, input: &Input<'_>, place: usize) -> Result<Event, Error> {
        if !input.fin {
            return Ok(Event::More);
        }
        let stream = self.streams.at(place);
        let (id, phase) = (stream.id, stream.phase);
        if stream.frame != Frame::None || stream.integers.is_partial() {
            return Err(Error::new(Code::Frame, "a stream that ends within a frame"));
        }
        let is_short = stream.body_left.is_some_and(|left| left > 0);
        self.forget(id)?;
        Ok(match phase {
            Phase::Head => Event::Failed { stream: id, code: Code::RequestIncomplete },
            _ if is_short => Event::Failed { stream: id, code: Code::Message },
            _ => Event::End { stream: id },
        })
    }

    /// An encoded section is whole: in the stream's block or, as nearly always, in the input.
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
        match self.decoder.decode(id, block, &config.fields, bytes, fields)? {
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
        message::join_cookies(&mut shared.bytes, &mut shared.fields);
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
            // Trailers that are too large are nobody's answer any more.
            return self.fail(input, Code::ExcessiveLoad);
        }
        input.at = input.bytes.len();
        self.forget(input.stream)?;
        Ok(Event::Refused { stream: input.stream, status: 431 })
    }

    /// RFC 9204 section 4.4.2: what will not be decoded holds no table entries any more.
    fn forget(&mut self, id: u64) -> Result<(), Error> {
        match self.streams.remove(id) {
            Some(stream) if stream.phase == Phase::Head || stream.frame == Frame::Section => {
                Ok(self.decoder.cancel(id)?)
            }
            _ => Ok(()),
        }
    }
}

/// Whether the section at hand is whole, in the stream's block or at the front of the input.
#[inline]
fn gather(stream: &mut Stream, input: &mut Input<'_>) -> bool {
    let is_in_front = stream.block.is_empty() && stream.left <= input.rest().len() as u64;
    if !is_in_front && stream.left > 0 {
        let part = input.take(&mut stream.left);
        stream.block.extend_from_slice(&input.bytes[part]);
    }
    is_in_front || stream.left == 0
}

const CLOSED: Error = Error::new(Code::ClosedCriticalStream, "a critical stream ended");

/// Whether a frame of `kind` may come now on a request stream, and what becomes of it.
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

fn write_settings(out: &mut Vec<u8>, config: &Config) {
    let mut payload = Vec::with_capacity(48);
    let mut set = |id: u64, value: u64| frame::write_head(&mut payload, id, value);
    set(setting::QPACK_MAX_TABLE_CAPACITY, u64::from(config.qpack_capacity));
    set(setting::QPACK_BLOCKED_STREAMS, u64::from(config.qpack_blocked));
    set(setting::MAX_FIELD_SECTION_SIZE, u64::from(config.fields.list_bytes));
    if config.connect_protocol {
        set(setting::ENABLE_CONNECT_PROTOCOL, 1);
    }
    if config.grease {
        set(frame::grease(31), 0);
    }
    frame::write_head(out, kind::SETTINGS, payload.len() as u64);
    out.extend_from_slice(&payload);
    if config.grease {
        frame::write_head(out, frame::grease(7), 0);
    }
}
