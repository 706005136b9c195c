//! `--trace h1,h2,tls`: prints the traffic of connections to standard error, a line each, for
//! debugging. Costs nothing when off, and is not optimised when on.
//!
//! A line begins with the worker, the connection's slot and generation, and who speaks: `<` is the
//! client, `>` the server. Values of fields that carry secrets are not shown.

use std::collections::HashMap;
use std::fmt::{Display, Write};

use ringway_codec::field::Field;
use ringway_codec::h2::Code;
use ringway_codec::h2::frame::PREFACE;
use ringway_codec::hpack;
use ringway_codec::scan::Backend;

use crate::config::Trace;
use crate::ring::token::Id;
use crate::rt::console::note;
use crate::tls::Session;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    In,
    Out,
}

/// What a worker traces.
pub(crate) struct Tracer {
    worker: u32,
    on: Vec<Trace>,
    /// The HTTP/2 connections, each way.
    h2: HashMap<Id, [Frames; 2]>,
    say: fn(&str),
}

impl Tracer {
    /// None where nothing is to be traced.
    pub(crate) fn new(worker: u32, on: &[Trace]) -> Option<Box<Self>> {
        let say = |line: &str| note!("{line}");
        let this = Self { worker, on: on.to_vec(), h2: HashMap::new(), say };
        (!on.is_empty()).then(|| Box::new(this))
    }

    fn line(&self, id: Id, way: Way, what: impl Display) {
        let arrow = if way == Way::In { '<' } else { '>' };
        let Id { index, generation } = id;
        (self.say)(&format!("{}.{index}.{generation} {arrow} {what}", self.worker));
    }

    /// The head of a message in HTTP/1.1.
    pub(crate) fn head(&self, id: Id, way: Way, head: &[u8]) {
        if !self.on.contains(&Trace::H1) {
            return;
        }
        for line in head.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let field = line.iter().position(|byte| *byte == b':');
            match field.map(|at| (&line[..at], line[at + 1..].trim_ascii())) {
                _ if line.is_empty() => {}
                Some((name, value)) if !name.contains(&b' ') => {
                    self.line(id, way, format_args!("h1 {}", shown(name, value)));
                }
                _ => self.line(id, way, format_args!("h1 {}", line.escape_ascii())),
            }
        }
    }

    /// The connection speaks HTTP/2 from here on. The first `skip` bytes of output still belong to
    /// the protocol before.
    pub(crate) fn begin_h2(&mut self, id: Id, skip: usize, backend: Backend) {
        if self.on.contains(&Trace::H2) {
            self.h2.insert(id, [PREFACE.len(), skip].map(|skip| Frames::new(skip, backend)));
        }
    }

    /// Octets of an HTTP/2 connection, in order.
    pub(crate) fn octets(&mut self, id: Id, way: Way, octets: &[u8]) {
        let Some(sides) = self.h2.get_mut(&id) else { return };
        let mut lines = Vec::new();
        sides[way as usize].take(octets, &mut lines);
        for line in lines {
            self.line(id, way, format_args!("h2 {line}"));
        }
    }

    /// Records, headers included.
    pub(crate) fn records(&self, id: Id, way: Way, mut records: &[u8]) {
        if !self.on.contains(&Trace::Tls) {
            return;
        }
        while let [kind, _, _, high, low, rest @ ..] = records {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            let kind = RECORDS.get(usize::from(*kind).wrapping_sub(20)).unwrap_or(&"unknown");
            self.line(id, way, format_args!("tls {kind} {len}"));
            records = rest.get(len..).unwrap_or_default();
        }
    }

    /// What a handshake settled.
    pub(crate) fn established(&self, id: Id, session: &Session) {
        if self.on.contains(&Trace::Tls) {
            let version = session.version().map_or("?", |version| version.name());
            let alpn = session.alpn().map_or("-", |alpn| alpn.name());
            let how = if session.resumed() { "resumed" } else { "full" };
            let (cipher, group) = (session.cipher(), session.group());
            let name = session.sni().unwrap_or("-");
            let what = format_args!(
                "tls established {version} {cipher:?} {group:?} name={name} alpn={alpn} {how}"
            );
            self.line(id, Way::Out, what);
        }
    }

    /// Why a session or a connection ended.
    pub(crate) fn failed(&self, id: Id, protocol: Trace, why: &dyn Display) {
        if self.on.contains(&protocol) {
            self.line(id, Way::In, format_args!("error: {why}"));
        }
    }

    /// The connection is closed.
    pub(crate) fn forget(&mut self, id: Id) {
        self.h2.remove(&id);
    }
}

/// A field as it is shown.
fn shown(name: &[u8], value: &[u8]) -> String {
    let secret = [&b"authorization"[..], b"cookie", b"set-cookie", b"proxy-authorization"];
    let name_shown = name.escape_ascii();
    match secret.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
        true => format!("{name_shown}: ({} bytes)", value.len()),
        false => format!("{name_shown}: {}", value.escape_ascii()),
    }
}

const RECORDS: [&str; 4] = ["change_cipher_spec", "alert", "handshake", "application_data"];

const HEADER: usize = 9;
/// Payload kept for display. Header blocks must be complete, or the decoding table is lost.
const KEPT: usize = 1 << 16;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
const NAMES: [&str; 17] = [
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
    "frame 10",
    "frame 11",
    "frame 12",
    "frame 13",
    "frame 14",
    "frame 15",
    "PRIORITY_UPDATE",
];
const SETTINGS: [&str; 6] = [
    "HEADER_TABLE_SIZE",
    "ENABLE_PUSH",
    "MAX_CONCURRENT_STREAMS",
    "INITIAL_WINDOW_SIZE",
    "MAX_FRAME_SIZE",
    "MAX_HEADER_LIST_SIZE",
];

/// One direction of an HTTP/2 connection, cut into frames.
struct Frames {
    /// Octets to pass over.
    skip: usize,
    /// The frame at hand: its header, and what is shown of its payload.
    frame: Vec<u8>,
    /// The header block at hand.
    block: Vec<u8>,
    decoder: hpack::Decoder,
}

impl Frames {
    fn new(skip: usize, backend: Backend) -> Self {
        let decoder = hpack::Decoder::new(backend, 4096);
        Self { skip, frame: Vec::new(), block: Vec::new(), decoder }
    }

    fn take(&mut self, mut octets: &[u8], lines: &mut Vec<String>) {
        while !octets.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(octets.len());
                self.skip -= skipped;
                octets = &octets[skipped..];
                continue;
            }
            let wanted = match self.frame.len() {
                len @ 0..HEADER => HEADER - len,
                len => HEADER + self.len().min(KEPT) - len,
            };
            let (now, later) = octets.split_at(wanted.min(octets.len()));
            self.frame.extend_from_slice(now);
            octets = later;
            if self.frame.len() >= HEADER && self.frame[3] == DATA {
                // Content is counted, not shown.
                self.skip = self.len();
            }
            if self.frame.len() >= HEADER && self.frame.len() - HEADER + self.skip >= self.len() {
                self.show(lines);
                self.frame.clear();
            } else if self.frame.len() == HEADER + KEPT {
                self.skip = self.len() - KEPT;
                self.show(lines);
                self.frame.clear();
            }
        }
    }

    /// The length of the payload at hand.
    fn len(&self) -> usize {
        number(&self.frame[..3])
    }

    fn show(&mut self, lines: &mut Vec<String>) {
        let (header, payload) = self.frame.split_at(HEADER);
        let (kind, flags) = (header[3], header[4]);
        let stream = number(&header[5..9]) & 0x7fff_ffff;
        let name = NAMES.get(usize::from(kind)).copied().unwrap_or("frame of unknown type");
        let mut line = format!("{name} stream={stream} length={}", self.len());
        for (flag, name) in flag_names(kind).iter().filter(|(flag, _)| flags & flag != 0) {
            // Writing to a string cannot fail.
            let _ = write!(line, " {name}({flag:#x})");
        }
        line.push_str(&details(kind, flags, payload));
        lines.push(line);
        if matches!(kind, HEADERS | PUSH_PROMISE | CONTINUATION) {
            self.block.extend_from_slice(fragment(kind, flags, payload));
            if flags & 4 != 0 {
                self.fields(lines);
            }
        }
    }

    /// The fields of a whole header block.
    fn fields(&mut self, lines: &mut Vec<String>) {
        let limits = hpack::FieldLimits { list_bytes: 1 << 20, fields: 4096 };
        let (mut bytes, mut fields) = (Vec::new(), Vec::<Field>::new());
        let decoded = self.decoder.decode(&self.block, &limits, &mut bytes, &mut fields);
        self.block.clear();
        let show = |field: &Field| format!("  {}", shown(field.name(&bytes), field.value(&bytes)));
        lines.extend(fields.iter().map(show));
        if decoded.is_err() {
            lines.push("  a header block that cannot be read".into());
        }
    }
}

fn number(octets: &[u8]) -> usize {
    octets.iter().fold(0, |number, octet| number << 8 | usize::from(*octet))
}

fn flag_names(kind: u8) -> &'static [(u8, &'static str)] {
    match kind {
        DATA => &[(1, "END_STREAM"), (8, "PADDED")],
        HEADERS => &[(1, "END_STREAM"), (4, "END_HEADERS"), (8, "PADDED"), (32, "PRIORITY")],
        PUSH_PROMISE => &[(4, "END_HEADERS"), (8, "PADDED")],
        CONTINUATION => &[(4, "END_HEADERS")],
        4 | 6 => &[(1, "ACK")],
        _ => &[],
    }
}

/// The part of a header block that a frame carries (RFC 9113 sections 6.2, 6.6, 6.10).
fn fragment(kind: u8, flags: u8, payload: &[u8]) -> &[u8] {
    let padded = kind != CONTINUATION && flags & 8 != 0;
    let (padding, rest) = match payload {
        [length, rest @ ..] if padded => (usize::from(*length), rest),
        all => (0, all),
    };
    let fixed = match kind {
        HEADERS if flags & 32 != 0 => 5,
        PUSH_PROMISE => 4,
        _ => 0,
    };
    rest.get(fixed..rest.len().saturating_sub(padding)).unwrap_or_default()
}

/// What the payload says, for frames of few numbers.
fn details(kind: u8, flags: u8, payload: &[u8]) -> String {
    match (kind, payload) {
        (2, [a, b, c, d, weight]) => {
            let on = number(&[a & 0x7f, *b, *c, *d]);
            let how = if a & 0x80 != 0 { " exclusive" } else { "" };
            format!(" depends on {on}{how} weight={}", u16::from(*weight) + 1)
        }
        (3, [_, _, _, _]) => format!(" {}", Code(number(payload) as u32)),
        (4, _) if flags & 1 == 0 => {
            let setting = |pair: &[u8]| {
                let id = number(&pair[..2]);
                let name = SETTINGS.get(id.wrapping_sub(1)).copied();
                let name = name.map_or_else(|| format!("setting {id:#x}"), str::to_owned);
                format!(" {name}={}", number(&pair[2..]))
            };
            payload.chunks_exact(6).map(setting).collect()
        }
        (5, [a, b, c, d, ..]) if flags & 8 == 0 => {
            format!(" promises {}", number(&[a & 0x7f, *b, *c, *d]))
        }
        (6, _) => format!(" {}", payload.escape_ascii()),
        (7, [_, _, _, _, _, _, _, _, why @ ..]) => {
            let last = number(&payload[..4]) & 0x7fff_ffff;
            let code = Code(number(&payload[4..8]) as u32);
            format!(" last={last} {code} {}", why.escape_ascii())
        }
        (8, [_, _, _, _]) => format!(" +{}", number(payload) & 0x7fff_ffff),
        (16, [_, _, _, _, value @ ..]) => {
            format!(" of {} {}", number(&payload[..4]) & 0x7fff_ffff, value.escape_ascii())
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    }

    /// Row C35: each type is named, however the octets are cut.
    #[test]
    fn c35_frames_are_cut_and_named() {
        let octets = [
            vec![b'-'; PREFACE.len()],
            frame(4, 0, 0, &[0, 3, 0, 0, 0, 100, 0, 9, 0, 0, 0, 1]),
            frame(4, 1, 0, &[]),
            frame(1, 0x20, 1, &[0x80, 0, 0, 3, 15, 0x82]),
            frame(9, 4, 1, &[&[0x0f, 0x08][..], b"\x06secret"].concat()),
            frame(0, 9, 1, &[3; 40_000]),
            frame(2, 0, 3, &[0, 0, 0, 1, 255]),
            frame(3, 0, 3, &[0, 0, 0, 8]),
            frame(5, 4, 1, &[0, 0, 0, 2, 0x84]),
            frame(6, 1, 0, b"12345678"),
            frame(7, 0, 0, b"\0\0\0\x05\0\0\0\x0bwhy"),
            frame(8, 0, 0, &[0, 0, 1, 0]),
            frame(16, 0, 0, b"\0\0\0\x07u=1"),
            frame(77, 0, 0, &[1; 100_000]),
            frame(8, 0, 9, &[0, 0, 0, 1]),
        ]
        .concat();
        for step in [1, 7, 4096, octets.len()] {
            let mut frames = Frames::new(PREFACE.len(), Backend::Scalar);
            let mut lines = Vec::new();
            octets.chunks(step).for_each(|piece| frames.take(piece, &mut lines));
            let wanted = [
                "SETTINGS stream=0 length=12 MAX_CONCURRENT_STREAMS=100 setting 0x9=1",
                "SETTINGS stream=0 length=0 ACK(0x1)",
                "HEADERS stream=1 length=6 PRIORITY(0x20)",
                "CONTINUATION stream=1 length=9 END_HEADERS(0x4)",
                "  :method: GET",
                "  authorization: (6 bytes)",
                "DATA stream=1 length=40000 END_STREAM(0x1) PADDED(0x8)",
                "PRIORITY stream=3 length=5 depends on 1 weight=256",
                "RST_STREAM stream=3 length=4 CANCEL",
                "PUSH_PROMISE stream=1 length=5 END_HEADERS(0x4) promises 2",
                "  :path: /",
                "PING stream=0 length=8 ACK(0x1) 12345678",
                "GOAWAY stream=0 length=11 last=5 ENHANCE_YOUR_CALM why",
                "WINDOW_UPDATE stream=0 length=4 +256",
                "PRIORITY_UPDATE stream=0 length=7 of 7 u=1",
                "frame of unknown type stream=0 length=100000",
                "WINDOW_UPDATE stream=9 length=4 +1",
            ];
            assert_eq!(lines, wanted, "in pieces of {step}");
        }
    }
}
