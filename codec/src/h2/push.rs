//! Server push: PUSH_PROMISE, what has been pushed already, and the limits. RFC 9113 sections 6.6
//! and 8.4.

use super::conn::{Conn, Drain, Phase};
use super::frame::{self, MAX_31, u32_at};
use super::queue::PUSH_LEVEL;
use super::request::Request;
use super::stream::{Key, LOCAL_CLOSED, PUSHED};
use super::{Io, Priority};
use crate::field::{Field, Known};
use crate::hpack::Encoder;
use crate::message;
use alloc::vec::Vec;

/// Pushes remembered per connection; past it nothing more is pushed.
const MEMORY: usize = 256;

impl Conn {
    /// Promises `GET path` on the stream of the request that refers to it, to be called before the
    /// reference is sent. Returns the promised request, with its fields in `Shared`, to be answered
    /// like any other; or `None` when push is off on either side, the limits are reached, the same
    /// was pushed before, or the stream is no longer open.
    pub fn push(
        &mut self,
        parent: Key,
        scheme: &[u8],
        authority: &[u8],
        path: &[u8],
        io: &mut Io<'_>,
    ) -> Option<Request> {
        let config = &io.shared.config;
        let most = u32::from(config.max_pushes).min(self.peer.max_concurrent_streams);
        if !self.peer.enable_push || u32::from(self.pushes) >= most || self.next_push > MAX_31 {
            return None;
        }
        if self.drain != Drain::No || self.phase == Phase::Dead || self.peer_leaves {
            return None;
        }
        let stream = self.streams.find(parent)?;
        if stream.has(LOCAL_CLOSED | PUSHED) || io.out.len() > config.output_bytes {
            return None;
        }
        let hash = fingerprint(authority, path);
        let cold = self.cold.get_or_insert_default();
        if cold.pushed.len() >= MEMORY || cold.pushed.contains(&hash) {
            return None;
        }
        let shared = &mut *io.shared;
        shared.head_cache.forget();
        shared.bytes.clear();
        shared.fields.clear();
        let pairs = [
            (Known::PseudoMethod, &b"GET"[..]),
            (Known::PseudoScheme, scheme),
            (Known::PseudoAuthority, authority),
            (Known::PseudoPath, path),
        ];
        for (known, value) in pairs {
            append(&mut shared.bytes, &mut shared.fields, known, value);
        }
        let id = self.next_push;
        let mut head = message::request(&shared.bytes, &shared.fields, false).ok()?;
        message::canonical_path(&mut shared.bytes, &mut head);
        cold.pushed.push(hash);
        self.next_push += 2;
        self.promise(parent.id, id, io);
        io.shared.counters.pushes += 1;
        let priority = Priority { urgency: PUSH_LEVEL, incremental: true };
        let key = self.open(id, priority, true);
        Some(Request { key, head, end: true })
    }

    /// Appends PUSH_PROMISE for the fields in `Shared`.
    fn promise(&mut self, parent: u32, id: u32, io: &mut Io<'_>) {
        let at = io.out.len();
        frame::header(io.out, 0, frame::PUSH_PROMISE, 0, parent);
        io.out.extend_from_slice(&id.to_be_bytes());
        let encoder: &mut Encoder = &mut self.encoder;
        encoder.block(io.out).fields(&io.shared.bytes, &io.shared.fields);
        debug_assert_eq!(u32_at(io.out, at + frame::HEADER), id);
        frame::finish_block(io.out, at, self.peer.max_frame_size as usize);
    }
}

fn append(bytes: &mut Vec<u8>, fields: &mut Vec<Field>, known: Known, value: &[u8]) {
    let name = known.name().as_bytes();
    let name_at = bytes.len() as u32;
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(value);
    fields.push(Field {
        name_at,
        value_at: name_at + name.len() as u32,
        value_len: value.len() as u32,
        name_len: name.len() as u16,
        known,
        flags: 0,
    });
}

/// FNV-1a. A collision costs one push that is not made.
fn fingerprint(authority: &[u8], path: &[u8]) -> u64 {
    let octets = authority.iter().chain(b" ").chain(path);
    octets.fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x100_0000_01b3)
    })
}
