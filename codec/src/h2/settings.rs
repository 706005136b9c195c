//! Settings in both directions: what we announce, and the peer's values, which apply at once and in
//! order. Reading a payload is separate from applying it, because INITIAL_WINDOW_SIZE touches every
//! stream. RFC 9113 section 6.5, RFC 9218 section 2.1, RFC 8441 section 3.

use super::frame::{self, Code};
use alloc::vec::Vec;

/// SETTINGS_HEADER_TABLE_SIZE.
pub const HEADER_TABLE_SIZE: u16 = 0x1;
/// SETTINGS_ENABLE_PUSH.
pub const ENABLE_PUSH: u16 = 0x2;
/// SETTINGS_MAX_CONCURRENT_STREAMS.
pub const MAX_CONCURRENT_STREAMS: u16 = 0x3;
/// SETTINGS_INITIAL_WINDOW_SIZE.
pub const INITIAL_WINDOW_SIZE: u16 = 0x4;
/// SETTINGS_MAX_FRAME_SIZE.
pub const MAX_FRAME_SIZE: u16 = 0x5;
/// SETTINGS_MAX_HEADER_LIST_SIZE.
pub const MAX_HEADER_LIST_SIZE: u16 = 0x6;
/// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441).
pub const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
/// SETTINGS_NO_RFC7540_PRIORITIES (RFC 9218).
pub const NO_RFC7540_PRIORITIES: u16 = 0x9;

/// What this server announces and how it behaves; one for all connections of a worker.
#[derive(Clone, Debug)]
pub struct Config {
    /// Requests that a client may have open at once.
    pub max_concurrent_streams: u32,
    /// Octets of a stream's receive window at its start, at most 2^31 - 1.
    pub stream_window: u32,
    /// Octets up to which a stream's receive window is raised while the application keeps draining
    /// it.
    pub stream_window_max: u32,
    /// Octets of the connection's receive window.
    pub connection_window: u32,
    /// Largest frame payload accepted, 16,384 to 16,777,215.
    pub max_frame_size: u32,
    /// Largest DATA payload sent, whatever the peer allows: smaller frames let urgent streams in
    /// sooner.
    pub data_frame: u32,
    /// Largest request head: names + values + 32 per field (RFC 9113 section 6.5.2).
    pub max_header_list: u32,
    /// Most fields in one request head, pseudo-header fields included; the pieces of a cookie are
    /// one field.
    pub max_fields: u16,
    /// Most fields in one trailer section.
    pub max_trailers: u16,
    /// Octets of the HPACK table we offer to the client's encoder, at most 65,535.
    pub header_table: u32,
    /// Octets of the HPACK table we use towards the client, if it allows as much.
    pub encoder_table: u32,
    /// Octets of output that may wait for a peer that does not read, before control frames are
    /// refused it.
    pub output_bytes: usize,
    /// Whether the RFC 7540 priority tree is honoured; if not, SETTINGS_NO_RFC7540_PRIORITIES says
    /// so.
    pub rfc7540_priorities: bool,
    /// Whether extended CONNECT is announced (RFC 8441). Nothing here implements what runs over it.
    pub connect_protocol: bool,
    /// Pushed streams that may be open at once, below what the client allows; 0 turns push off.
    pub max_pushes: u16,
    /// Microseconds until an unacknowledged SETTINGS ends the connection.
    pub settings_timeout: u64,
    /// Microseconds of silence after which a PING asks whether the peer still lives; 0 for never.
    pub ping_interval: u64,
    /// Microseconds until an unanswered PING ends the connection.
    pub ping_timeout: u64,
    /// Microseconds that the first GOAWAY of a drain waits for its PING before the second follows
    /// anyway.
    pub drain_round_trip: u64,
    /// Microseconds that a response may wait for window before its stream is reset, unless so many
    /// octets could be sent meanwhile as `stall_octets` says.
    pub stall_timeout: u64,
    /// A window of so many octets, or as many sent through smaller ones, ends a wait for window.
    pub stall_octets: u16,
    /// Microseconds that a header block may take from its first frame to its last.
    pub header_timeout: u64,
    /// What a peer may cost us.
    pub budgets: super::Budgets,
}

impl Default for Config {
    fn default() -> Self {
        const SECOND: u64 = 1_000_000;
        Self {
            max_concurrent_streams: 100,
            stream_window: 65_535,
            stream_window_max: 1 << 20,
            connection_window: 1 << 20,
            max_frame_size: frame::MIN_MAX_FRAME,
            data_frame: frame::MIN_MAX_FRAME,
            max_header_list: 32 << 10,
            max_fields: 100,
            max_trailers: 32,
            header_table: 4096,
            encoder_table: 4096,
            output_bytes: 256 << 10,
            rfc7540_priorities: true,
            connect_protocol: false,
            max_pushes: 0,
            settings_timeout: 10 * SECOND,
            ping_interval: 0,
            ping_timeout: 10 * SECOND,
            drain_round_trip: SECOND,
            stall_timeout: 60 * SECOND,
            stall_octets: 60 * 240,
            header_timeout: 10 * SECOND,
            budgets: super::Budgets::default(),
        }
    }
}

impl Config {
    /// Brings every value into the range that the RFC allows, so that no peer sees an illegal
    /// setting.
    pub fn clamp(&mut self) {
        self.stream_window = self.stream_window.min(frame::MAX_31);
        self.stream_window_max = self.stream_window_max.clamp(self.stream_window, frame::MAX_31);
        self.connection_window = self.connection_window.clamp(frame::DEFAULT_WINDOW, frame::MAX_31);
        self.max_frame_size = self.max_frame_size.clamp(frame::MIN_MAX_FRAME, frame::MAX_MAX_FRAME);
        self.data_frame = self.data_frame.clamp(1, frame::MAX_MAX_FRAME);
        self.max_concurrent_streams = self.max_concurrent_streams.min(MAX_STREAMS);
        self.max_pushes = self.max_pushes.min(256);
        self.header_table = self.header_table.min(u32::from(u16::MAX));
        self.encoder_table = self.encoder_table.min(u32::from(u16::MAX));
    }

    /// Appends the server's first frames: SETTINGS, and WINDOW_UPDATE when the connection's window
    /// is above the default.
    pub(super) fn announce(&self, out: &mut Vec<u8>) {
        let mut pairs = [(0, 0); 8];
        let mut n = 0;
        let mut push = |id, value| {
            pairs[n] = (id, value);
            n += 1;
        };
        push(HEADER_TABLE_SIZE, self.header_table);
        push(ENABLE_PUSH, 0);
        push(MAX_CONCURRENT_STREAMS, self.max_concurrent_streams);
        push(INITIAL_WINDOW_SIZE, self.stream_window);
        push(MAX_FRAME_SIZE, self.max_frame_size);
        push(MAX_HEADER_LIST_SIZE, self.max_header_list);
        if self.connect_protocol {
            push(ENABLE_CONNECT_PROTOCOL, 1);
        }
        if !self.rfc7540_priorities {
            push(NO_RFC7540_PRIORITIES, 1);
        }
        frame::settings(out, &pairs[..n]);
        let more = self.connection_window.saturating_sub(frame::DEFAULT_WINDOW);
        if more > 0 {
            frame::window_update(out, 0, more);
        }
    }
}

/// Streams are kept in slots numbered by 16 bits, some of which are pushes.
const MAX_STREAMS: u32 = 32_000;

/// The peer's settings that bind us (RFC 9113 section 6.5.2), with the RFC's initial values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The HPACK table that the peer's decoder allows us.
    pub header_table: u32,
    /// The window of each new stream.
    pub initial_window: u32,
    /// The largest payload that we may send.
    pub max_frame_size: u32,
    /// Pushed streams that may be open at once.
    pub max_concurrent_streams: u32,
    /// The largest field section that the peer is prepared to accept; advisory.
    pub max_header_list: u32,
    /// Whether we may push.
    pub enable_push: bool,
    /// The peer ignores and does not send RFC 7540 priorities.
    pub no_rfc7540_priorities: bool,
    /// The first SETTINGS has been seen: NO_RFC7540_PRIORITIES may not change after it.
    pub seen: bool,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            header_table: 4096,
            initial_window: frame::DEFAULT_WINDOW,
            max_frame_size: frame::MIN_MAX_FRAME,
            max_concurrent_streams: u32::MAX,
            max_header_list: u32::MAX,
            enable_push: true,
            no_rfc7540_priorities: false,
            seen: false,
        }
    }
}

impl Peer {
    /// Applies a SETTINGS payload in order; unknown identifiers are ignored. `smallest_table`
    /// becomes the least HEADER_TABLE_SIZE seen on the way, which HPACK must signal too (RFC 7541
    /// section 4.2).
    pub fn apply(
        &mut self,
        payload: &[u8],
        smallest_table: &mut u32,
    ) -> Result<(), (Code, &'static str)> {
        if !payload.len().is_multiple_of(6) {
            return Err((Code::FRAME_SIZE_ERROR, "SETTINGS whose length is not a multiple of six"));
        }
        for pair in payload.chunks_exact(6) {
            let id = u16::from_be_bytes([pair[0], pair[1]]);
            let value = u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]);
            match id {
                HEADER_TABLE_SIZE => {
                    self.header_table = value;
                    *smallest_table = value.min(*smallest_table);
                }
                ENABLE_PUSH if value > 1 => {
                    return Err((Code::PROTOCOL_ERROR, "ENABLE_PUSH that is neither 0 nor 1"));
                }
                ENABLE_PUSH => self.enable_push = value == 1,
                MAX_CONCURRENT_STREAMS => self.max_concurrent_streams = value,
                INITIAL_WINDOW_SIZE if value > frame::MAX_31 => {
                    return Err((Code::FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE above 2^31 - 1"));
                }
                INITIAL_WINDOW_SIZE => self.initial_window = value,
                MAX_FRAME_SIZE
                    if !(frame::MIN_MAX_FRAME..=frame::MAX_MAX_FRAME).contains(&value) =>
                {
                    return Err((
                        Code::PROTOCOL_ERROR,
                        "MAX_FRAME_SIZE outside 16,384 to 16,777,215",
                    ));
                }
                MAX_FRAME_SIZE => self.max_frame_size = value,
                MAX_HEADER_LIST_SIZE => self.max_header_list = value,
                ENABLE_CONNECT_PROTOCOL if value > 1 => {
                    return Err((
                        Code::PROTOCOL_ERROR,
                        "ENABLE_CONNECT_PROTOCOL that is neither 0 nor 1",
                    ));
                }
                NO_RFC7540_PRIORITIES => self.no_rfc7540(value)?,
                _ => {}
            }
        }
        self.seen = true;
        Ok(())
    }

    fn no_rfc7540(&mut self, value: u32) -> Result<(), (Code, &'static str)> {
        let on = value == 1;
        if value > 1 {
            return Err((Code::PROTOCOL_ERROR, "NO_RFC7540_PRIORITIES that is neither 0 nor 1"));
        }
        if self.seen && on != self.no_rfc7540_priorities {
            return Err((
                Code::PROTOCOL_ERROR,
                "NO_RFC7540_PRIORITIES changed after the first SETTINGS",
            ));
        }
        self.no_rfc7540_priorities = on;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(pairs: &[(u16, u32)]) -> Vec<u8> {
        let mut out = Vec::new();
        frame::settings(&mut out, pairs);
        out.split_off(frame::HEADER)
    }

    #[test]
    fn c22_all_settings_are_announced() {
        let mut out = Vec::new();
        let config =
            Config { rfc7540_priorities: false, connect_protocol: true, ..Config::default() };
        config.announce(&mut out);
        let h = frame::Header::read(&out, 0).unwrap();
        assert_eq!((h.kind, h.len), (frame::SETTINGS, 48));
        let ids: Vec<u8> = out[9..57].chunks(6).map(|p| p[1]).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6, 8, 9]);
        let w = frame::Header::read(&out, 57).unwrap();
        assert_eq!((w.kind, frame::u32_at(&out, 66)), (frame::WINDOW_UPDATE, (1 << 20) - 65_535));
    }

    #[test]
    fn values_apply_in_order_and_unknown_ones_are_ignored() {
        let mut peer = Peer::default();
        let mut least = 4096;
        let p = payload(&[
            (1, 0),
            (1, 8192),
            (4, 7),
            (0xabc, 9),
            (5, 20_000),
            (3, 5),
            (6, 600),
            (2, 0),
        ]);
        peer.apply(&p, &mut least).unwrap();
        assert_eq!((least, peer.header_table, peer.initial_window), (0, 8192, 7));
        assert_eq!((peer.max_frame_size, peer.max_concurrent_streams), (20_000, 5));
        assert_eq!((peer.max_header_list, peer.enable_push, peer.seen), (600, false, true));
    }

    #[test]
    fn illegal_values_have_their_codes() {
        let table = [
            (2, 2, Code::PROTOCOL_ERROR),
            (4, 1 << 31, Code::FLOW_CONTROL_ERROR),
            (5, 16_383, Code::PROTOCOL_ERROR),
            (5, 1 << 24, Code::PROTOCOL_ERROR),
            (8, 2, Code::PROTOCOL_ERROR),
            (9, 2, Code::PROTOCOL_ERROR),
        ];
        for (id, value, code) in table {
            let got = Peer::default().apply(&payload(&[(id, value)]), &mut 0);
            assert_eq!(got.unwrap_err().0, code, "{id}={value}");
        }
        let short = Peer::default().apply(&[0; 5], &mut 0);
        assert_eq!(short.unwrap_err().0, Code::FRAME_SIZE_ERROR);
        for legal in [(2, 0), (2, 1), (4, (1 << 31) - 1), (5, 16_384), (5, (1 << 24) - 1), (9, 1)] {
            assert!(Peer::default().apply(&payload(&[legal]), &mut 0).is_ok());
        }
    }

    #[test]
    fn rfc9218_no_rfc7540_priorities_is_fixed_by_the_first_settings() {
        let mut peer = Peer::default();
        peer.apply(&payload(&[(9, 1)]), &mut 0).unwrap();
        assert!(peer.apply(&payload(&[(9, 1)]), &mut 0).is_ok());
        assert_eq!(peer.apply(&payload(&[(9, 0)]), &mut 0).unwrap_err().0, Code::PROTOCOL_ERROR);
        let mut late = Peer::default();
        late.apply(&[], &mut 0).unwrap();
        assert_eq!(late.apply(&payload(&[(9, 1)]), &mut 0).unwrap_err().0, Code::PROTOCOL_ERROR);
    }
}
