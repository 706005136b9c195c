//! The client's unidirectional streams: their types, and the frames of the control stream. RFC 9114
//! sections 6.2 and 7.2, RFC 9218 section 7.2.

use super::frame::{Integers, Settings, kind, read_varint};
use super::{Code, Error};
use alloc::vec::Vec;

/// Limit of a SETTINGS frame in octets: more than all standard settings need.
const SETTINGS_MAX: u64 = 1024;
/// Limit of a PRIORITY_UPDATE payload in octets.
const PRIORITY_MAX: u64 = 8 + 256;
/// A single integer's largest encoding, in octets.
const INTEGER_MAX: u64 = 8;

/// The type of a client's unidirectional stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The type is incomplete.
    Unknown,
    Control,
    Encoder,
    Decoder,
}

/// One unidirectional stream.
#[derive(Debug)]
pub(super) struct Uni {
    pub(super) id: u64,
    pub(super) role: Role,
    pub(super) integers: Integers,
}

/// A control frame's message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Settings(Settings),
    /// PRIORITY_UPDATE for a request: its stream, and the range of `Control::payload` that holds
    /// the value.
    Priority(u64),
    /// GOAWAY, MAX_PUSH_ID: checked, without effect on a server that does not push.
    Nothing,
}

/// Receives the control stream.
#[derive(Debug, Default)]
pub(super) struct Control {
    integers: Integers,
    kind: u64,
    left: u64,
    is_inside: bool,
    has_settings: bool,
    payload: Vec<u8>,
    goaway: Option<u64>,
    max_push: Option<u64>,
}

impl Control {
    /// The next frame with a meaning, moving `at` past it; `None` when `input` is consumed.
    pub(super) fn next(&mut self, input: &[u8], at: &mut usize) -> Result<Option<Said>, Error> {
        loop {
            if !self.is_inside {
                let Some((kind, len)) = self.integers.two(input, at) else { return Ok(None) };
                self.begin(kind, len)?;
            }
            let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len() - *at);
            if self.keeps() {
                self.payload.extend_from_slice(&input[*at..*at + take]);
            }
            *at += take;
            self.left -= take as u64;
            if self.left > 0 {
                return Ok(None);
            }
            self.is_inside = false;
            if self.keeps() {
                return self.end().map(Some);
            }
        }
    }

    /// The value of the PRIORITY_UPDATE that was just returned.
    pub(super) fn priority(&self) -> &[u8] {
        let used = read_varint(&self.payload).map_or(0, |(_, used)| used);
        &self.payload[used..]
    }

    /// Whether the current frame's payload is needed.
    fn keeps(&self) -> bool {
        matches!(
            self.kind,
            kind::SETTINGS
                | kind::GOAWAY
                | kind::MAX_PUSH_ID
                | kind::CANCEL_PUSH
                | kind::PRIORITY_UPDATE_REQUEST
                | kind::PRIORITY_UPDATE_PUSH
        )
    }

    fn begin(&mut self, kind: u64, len: u64) -> Result<(), Error> {
        if !self.has_settings && kind != kind::SETTINGS {
            return Err(Error::new(Code::MissingSettings, "the first frame is not SETTINGS"));
        }
        let most = match kind {
            kind::SETTINGS if self.has_settings => {
                return Err(Error::new(Code::FrameUnexpected, "SETTINGS twice"));
            }
            kind::DATA | kind::HEADERS | kind::PUSH_PROMISE => {
                return Err(Error::new(
                    Code::FrameUnexpected,
                    "a request frame on the control stream",
                ));
            }
            _ if kind::RESERVED.contains(&kind) => {
                return Err(Error::new(Code::FrameUnexpected, "a frame of HTTP/2"));
            }
            kind::SETTINGS if len > SETTINGS_MAX => {
                return Err(Error::new(Code::ExcessiveLoad, "too many settings"));
            }
            kind::PRIORITY_UPDATE_REQUEST if len > PRIORITY_MAX => {
                return Err(Error::new(Code::ExcessiveLoad, "a priority that is too long"));
            }
            kind::PRIORITY_UPDATE_PUSH => {
                return Err(Error::new(
                    Code::Id,
                    "a priority update for a push that was not promised",
                ));
            }
            kind::GOAWAY | kind::MAX_PUSH_ID | kind::CANCEL_PUSH => INTEGER_MAX,
            _ => u64::MAX,
        };
        if len > most {
            return Err(Error::new(Code::Frame, "a frame longer than its one integer"));
        }
        self.has_settings = true;
        (self.kind, self.left, self.is_inside) = (kind, len, true);
        self.payload.clear();
        Ok(())
    }

    fn end(&mut self) -> Result<Said, Error> {
        match self.kind {
            kind::SETTINGS => return Settings::parse(&self.payload).map(Said::Settings),
            kind::PRIORITY_UPDATE_REQUEST => {
                let (id, _) = read_varint(&self.payload).ok_or(CUT)?;
                return Ok(Said::Priority(id));
            }
            _ => {}
        }
        let id = match read_varint(&self.payload) {
            Some((id, used)) if used == self.payload.len() => id,
            _ => return Err(CUT),
        };
        match self.kind {
            // A client's GOAWAY holds a push ID (RFC 9114 section 5.2), which must not increase.
            kind::GOAWAY if self.goaway.is_some_and(|last| id > last) => {
                Err(Error::new(Code::Id, "a GOAWAY with an increased id"))
            }
            kind::MAX_PUSH_ID if self.max_push.is_some_and(|last| id < last) => {
                Err(Error::new(Code::Id, "a decreased MAX_PUSH_ID"))
            }
            // RFC 9114 section 7.2.3: the push was not promised.
            kind::CANCEL_PUSH => Err(Error::new(Code::Id, "CANCEL_PUSH without a push")),
            kind::GOAWAY => {
                self.goaway = Some(id);
                Ok(Said::Nothing)
            }
            _ => {
                self.max_push = Some(id);
                Ok(Said::Nothing)
            }
        }
    }
}

const CUT: Error = Error::new(Code::Frame, "a frame whose length does not match its integers");
