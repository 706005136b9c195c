//! The server's side of an HTTP/3 connection: bytes of streams in, requests out, and the frames to
//! answer with. RFC 9114 sections 4 to 7, RFC 9204 section 2, RFC 9218.

use super::config::{Config, Event, Shared, write_settings};
use super::control::{Control, Role, Said, Uni};
use super::frame::{self, Settings, kind, stream};
use super::receive::Input;
use super::stream::Streams;
use super::{Code, Error};
use crate::h2::Priority;
use crate::qpack::{Decoder, Encoder, Writer};
use alloc::vec::Vec;

/// PRIORITY_UPDATE frames kept for requests that have not arrived; more evict the oldest.
const EARLY_PRIORITIES: usize = 16;
/// PRIORITY_UPDATE frames a client may send in addition to four for every request.
pub(super) const PRIORITY_BUDGET: u32 = 64;
/// Most octets of QPACK instructions that wait for a client that does not read them.
const INSTRUCTIONS_MAX: usize = 4096;
/// The highest id of a request, for the first step of a drain.
const LAST_REQUEST: u64 = (1 << 62) - 4;

/// A server's connection.
#[derive(Debug)]
pub struct Conn {
    pub(super) streams: Streams,
    unis: Vec<Uni>,
    control: Control,
    pub(super) decoder: Decoder,
    encoder: Encoder,
    peer: Option<Settings>,
    pub(super) early: Vec<(u64, Priority)>,
    pub(super) priority_budget: u32,
    /// The lowest unused request id.
    pub(super) next_request: u64,
    /// Requests from here on are rejected.
    pub(super) refused_from: u64,
    out_control: Vec<u8>,
    out_encoder: Vec<u8>,
    out_decoder: Vec<u8>,
}

impl Conn {
    /// A new connection. The caller opens the control, encoder and decoder streams; each begins
    /// with what [`output`](Self::output) now returns for it.
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

    /// Reads the next octets of `stream`: `input` from `at` on, followed by the stream's end if
    /// `fin`. Advances `at`. Call until [`Event::More`]. An error ends the connection.
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

    /// The client reset `stream`, or its request is no longer wanted. An error if the stream is
    /// critical.
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

    /// Returns an unblocked stream: call [`receive`](Self::receive) with its kept input, even if
    /// empty. Call after input of a unidirectional stream, until `None`.
    pub fn unblocked(&mut self) -> Option<u64> {
        let id = self.decoder.unblocked()?;
        let place = self.streams.place(id);
        self.streams.at(place).is_blocked = false;
        Some(id)
    }

    /// Appends a HEADERS frame for `stream`: a response head if `status` is given, else trailers.
    /// Responses with 1xx may precede the final one. The appended octets must be sent, or the
    /// stream reset.
    pub fn head(
        &mut self,
        stream: u64,
        status: Option<u16>,
        out: &mut Vec<u8>,
        fields: impl FnOnce(&mut Writer<'_>),
    ) {
        // Two octets of length are nearly always enough; otherwise the block moves.
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

    /// The first step of a drain: requests are still served, and GOAWAY asks the client to start no
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

    /// Output of our control, encoder and decoder streams, in this order. Remove what was sent from
    /// the front. A client that does not read it is held up or disconnected.
    pub fn output(&mut self) -> [&mut Vec<u8>; 3] {
        if self.out_decoder.len() < INSTRUCTIONS_MAX {
            self.decoder.output(&mut self.out_decoder);
        }
        [&mut self.out_control, &mut self.out_encoder, &mut self.out_decoder]
    }

    /// The client's SETTINGS, once received.
    pub fn peer(&self) -> Option<&Settings> {
        self.peer.as_ref()
    }

    /// Entries that response heads have inserted into the client's QPACK table.
    pub fn inserted(&self) -> u64 {
        self.encoder.inserted()
    }

    /// Number of incomplete requests.
    pub fn receiving(&self) -> usize {
        self.streams.len()
    }

    /// Number of requests whose head is incomplete or waits for table entries.
    pub fn heads(&self) -> impl Iterator<Item = u64> + '_ {
        self.streams.heads()
    }

    /// The lowest unused request id: the number of requests times four.
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
                    // RFC 9114 section 6.2: an end before the type is tolerated.
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
            return Err(Error::new(
                Code::Id,
                "a priority update for a stream that is not a request",
            ));
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
}

const CLOSED: Error = Error::new(Code::ClosedCriticalStream, "a critical stream ended");
