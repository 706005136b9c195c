//! HTTP/2 for the lab (RFC 9113): wide windows, no push, answers told apart by their stream.

use super::{Ask, Got};
use crate::site::NAME;
use ringway_codec::field::Known;
use ringway_codec::h2::frame::{self, Header};
use ringway_codec::hpack::{Decoder, Encoder, FieldLimits};
use ringway_codec::scan::Backend;
use std::io;
use std::time::Instant;

/// Flow control windows, per stream and per connection: more than an experiment needs, so no update
/// is ever due.
const WINDOW: u32 = 1 << 28;

pub(crate) struct H2 {
    under_way: Vec<(u32, Got)>,
    next_stream: u32,
    encoder: Encoder,
    decoder: Decoder,
    input: Vec<u8>,
    /// A header block that waits for CONTINUATION.
    block: Vec<u8>,
    pub(crate) content: u64,
}

impl H2 {
    /// With the preface and our SETTINGS in `out`.
    pub(crate) fn open(out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(frame::PREFACE);
        // SETTINGS_ENABLE_PUSH 0, SETTINGS_INITIAL_WINDOW_SIZE.
        let settings = [(2_u16, 0), (4, WINDOW)];
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        write(out, frame::SETTINGS, 0, 0, &settings);
        write(out, frame::WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes());
        Self {
            under_way: Vec::new(),
            next_stream: 1,
            encoder: Encoder::new(Backend::detect(), 4096),
            decoder: Decoder::new(Backend::detect(), 4096),
            input: Vec::new(),
            block: Vec::new(),
            content: 0,
        }
    }

    pub(crate) fn ask(&mut self, ask: &Ask, out: &mut Vec<u8>) {
        let mut block = Vec::new();
        let mut writer = self.encoder.block(&mut block);
        for (name, value) in fields(ask) {
            writer.field(Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes());
        }
        let flags = frame::END_HEADERS | frame::END_STREAM;
        write(out, frame::HEADERS, flags, self.next_stream, &block);
        let got = Got::new(ask.tag, block.len() + frame::HEADER);
        self.under_way.push((self.next_stream, got));
        self.next_stream += 2;
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        done: &mut Vec<Got>,
    ) -> io::Result<()> {
        self.input.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(header) = Header::read(&self.input, at) {
            let begin = at + frame::HEADER;
            let Some(payload) = self.input.get(begin..begin + header.len as usize) else { break };
            let payload = payload.to_vec();
            at = begin + payload.len();
            self.frame(header, &payload, out, done)?;
        }
        self.input.drain(..at);
        Ok(())
    }

    fn frame(
        &mut self,
        header: Header,
        payload: &[u8],
        out: &mut Vec<u8>,
        done: &mut Vec<Got>,
    ) -> io::Result<()> {
        match header.kind {
            frame::SETTINGS if !header.has(frame::ACK) => {
                write(out, frame::SETTINGS, frame::ACK, 0, &[]);
            }
            frame::PING if !header.has(frame::ACK) => {
                write(out, frame::PING, frame::ACK, 0, payload);
            }
            frame::HEADERS | frame::CONTINUATION => {
                self.block.extend_from_slice(payload);
                if header.has(frame::END_HEADERS) {
                    self.section(header.stream)?;
                }
            }
            frame::DATA => {
                self.content += payload.len() as u64;
                if let Some(got) = self.find(header.stream) {
                    got.arrived(payload.len());
                }
            }
            frame::RST_STREAM | frame::GOAWAY => {
                let message = format!("the server sent {header}: {payload:?}");
                return Err(io::Error::other(message));
            }
            _ => {}
        }
        let ends = matches!(header.kind, frame::DATA | frame::HEADERS);
        if ends && header.has(frame::END_STREAM) {
            let at = self.under_way.iter().position(|(stream, _)| *stream == header.stream);
            if let Some(at) = at {
                let (_, mut got) = self.under_way.swap_remove(at);
                got.last = Instant::now();
                done.push(got);
            }
        }
        Ok(())
    }

    fn find(&mut self, stream: u32) -> Option<&mut Got> {
        self.under_way.iter_mut().find(|(id, _)| *id == stream).map(|(_, got)| got)
    }

    /// A whole header block of a stream: its status, unless it is informational.
    fn section(&mut self, stream: u32) -> io::Result<()> {
        let block = std::mem::take(&mut self.block);
        let limits = FieldLimits { list_bytes: 1 << 16, fields: 200 };
        let (mut bytes, mut fields) = (Vec::new(), Vec::new());
        self.decoder.decode(&block, &limits, &mut bytes, &mut fields).map_err(io::Error::other)?;
        let status = fields.first().map(|field| field.value(&bytes).to_vec());
        let status = status.and_then(|value| String::from_utf8(value).ok()?.parse().ok());
        if let Some(got) = self.find(stream) {
            got.head_bytes = block.len() + frame::HEADER;
            got.status = status.unwrap_or(0);
            got.arrived(0);
        }
        Ok(())
    }
}

/// The fields of a request in HTTP/2 and HTTP/3.
pub(crate) fn fields(ask: &Ask) -> impl Iterator<Item = (&str, &str)> {
    let own = ask.fields.iter().map(|(name, value)| (*name, value.as_str()));
    let pseudo =
        [(":method", "GET"), (":scheme", "https"), (":authority", NAME), (":path", &ask.path)];
    pseudo.into_iter().chain(own)
}

fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let header = Header { len: payload.len() as u32, kind, flags, stream };
    out.extend_from_slice(&header.octets());
    out.extend_from_slice(payload);
}
