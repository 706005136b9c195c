//! A connection: what it holds, how it begins (preface, or an h2c upgrade), how it ends (two-step
//! GOAWAY), and its deadlines. Frames come in through `receive`, answers go out through `send`. RFC
//! 9113 sections 3.3, 3.4, 5.4 and 6.8.

use super::budget::{Buckets, Kind};
use super::frame::{self, Code, MAX_31};
use super::queue::Queue;
use super::send::Memos;
use super::settings::Peer;
use super::stream::{
    HEAD_SENT, INCREMENTAL, Key, LOCAL_CLOSED, NONE, PUSHED, REMOTE_CLOSED, STALLED, STATED,
    Stream, Streams, WANTS,
};
use super::{Error, Event, Io, Priority, Shared};
use crate::{Time, hpack};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

/// One HTTP/2 connection, the server's end.
#[derive(Debug)]
pub struct Conn {
    pub(super) decoder: hpack::Decoder,
    pub(super) encoder: hpack::Encoder,
    pub(super) streams: Streams,
    pub(super) queue: Queue,
    pub(super) memos: Option<Box<Memos>>,
    pub(super) cold: Option<Box<Cold>>,
    pub(super) peer: Peer,
    /// The announced settings that bind the client, even if the configuration has changed since.
    pub(super) announced: Announced,
    /// This connection's number among the worker's.
    pub(super) serial: u64,
    pub(super) buckets: Buckets,
    /// The rest of a DATA or ignored frame, which is passed over in parts.
    pub(super) payload: Payload,
    /// Deadline for the acknowledgement of our first SETTINGS; `NEVER` afterwards.
    pub(super) settings_due: Time,
    /// When the next PING of ours goes out, or its answer is due.
    pub(super) ping_due: Time,
    /// Lower bound of the time at which a stream has waited too long for window.
    pub(super) stall_due: Time,
    pub(super) send_window: i32,
    pub(super) recv_window: i32,
    /// Octets consumed but not yet returned by WINDOW_UPDATE.
    pub(super) recv_owed: u32,
    /// The greatest client stream id seen.
    pub(super) last_id: u32,
    /// The last run of client ids that were passed over: (first, last), closed without having been
    /// open.
    pub(super) skipped: (u32, u32),
    /// Client streams above this id are ignored, as our last GOAWAY said.
    pub(super) accept_to: u32,
    /// The id of our next push.
    pub(super) next_push: u32,
    /// The last round trip measured, in microseconds.
    pub(super) rtt_us: u32,
    /// Requests open, out of `max_concurrent_streams`.
    pub(super) requests: u32,
    pub(super) pushes: u16,
    pub(super) phase: Phase,
    pub(super) drain: Drain,
    /// The peer sent GOAWAY.
    pub(super) peer_leaves: bool,
    /// A PING of ours is unanswered.
    pub(super) pinging: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Preface,
    Settings,
    Open,
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drain {
    No,
    /// GOAWAY(2^31 - 1) and PING are out.
    Announced,
    /// GOAWAY with the final id is out.
    Final,
}

/// Settings of ours that bind the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announced {
    pub(super) streams: u32,
    pub(super) stream_window: u32,
    pub(super) max_frame_size: u32,
    pub(super) header_table: u32,
}

/// A payload under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload {
    /// Octets of content still to come.
    pub(super) left: u32,
    /// Octets behind the content to pass over: padding, or all of an unknown frame.
    pub(super) skip: u32,
    /// Its stream; stale if the stream has ended.
    pub(super) key: Key,
    /// END_STREAM is reported with the last octet.
    pub(super) end: bool,
}

/// State that most connections never need.
#[derive(Debug, Default)]
pub(super) struct Cold {
    /// A header block that spans frames.
    pub(super) block: Vec<u8>,
    /// Its frame header's stream and flags, and its priority octets; stream 0 when there is none.
    pub(super) block_stream: u32,
    pub(super) block_flags: u8,
    pub(super) block_priority: Option<[u8; 5]>,
    pub(super) continuations: u8,
    pub(super) block_due: Time,
    /// Streams that we reset recently: the peer may not know yet.
    pub(super) reset: Vec<u32>,
    pub(super) reset_at: usize,
    /// PRIORITY_UPDATE for requests that have not come yet.
    pub(super) early: Vec<(u32, Priority)>,
    /// Hashes of pushed requests, so that none is pushed twice.
    pub(super) pushed: Vec<u64>,
    /// When our PING went out, and its octets.
    pub(super) ping_sent: Time,
    pub(super) ping_opaque: u64,
    pub(super) drain_due: Time,
    /// Since when the connection's window, not a stream's, has blocked all output.
    pub(super) stalled_since: Option<Time>,
    /// Octets sent since then or earlier; saturates.
    pub(super) stall_progress: u32,
}

impl Conn {
    /// A connection whose client will send the preface: after ALPN, or with prior knowledge.
    /// Appends our SETTINGS.
    pub fn new(io: &mut Io<'_>) -> Self {
        let config = &io.shared.config;
        config.announce(io.out);
        io.shared.counters.connections += 1;
        Self {
            decoder: hpack::Decoder::new(io.shared.backend, config.header_table.max(4096)),
            encoder: hpack::Encoder::new(io.shared.backend, config.encoder_table),
            streams: Streams::new(),
            queue: Queue::new(),
            memos: None,
            cold: None,
            peer: Peer::default(),
            announced: Announced {
                streams: config.max_concurrent_streams,
                stream_window: config.stream_window,
                max_frame_size: config.max_frame_size,
                header_table: config.header_table,
            },
            serial: io.shared.head_cache.number(),
            buckets: Buckets::default(),
            payload: Payload { left: 0, skip: 0, key: Key { id: 0, slot: NONE }, end: false },
            settings_due: io.now + Duration::from_micros(config.settings_timeout),
            ping_due: ping_at(io.now, config.ping_interval),
            stall_due: Time::NEVER,
            send_window: frame::DEFAULT_WINDOW as i32,
            recv_window: config.connection_window as i32,
            recv_owed: 0,
            last_id: 0,
            skipped: (1, 0),
            accept_to: MAX_31,
            next_push: 2,
            rtt_us: 0,
            requests: 0,
            pushes: 0,
            phase: Phase::Preface,
            drain: Drain::No,
            peer_leaves: false,
            pinging: false,
        }
    }

    /// A connection that an HTTP/1.1 request upgraded (`Upgrade: h2c`, RFC 7540 section 3.2):
    /// `settings` is the decoded HTTP2-Settings field, and the request becomes stream 1, of which
    /// the client's side is closed. The 101 response is the caller's and goes first; our SETTINGS
    /// are appended. The client still sends the preface.
    pub fn upgraded(settings: &[u8], no_body: bool, io: &mut Io<'_>) -> Result<(Self, Key), Error> {
        let mut conn = Self::new(io);
        conn.apply_settings(settings, io)?;
        // These settings came without a SETTINGS frame. Rules for the first such frame still apply.
        conn.peer.seen = false;
        let key = conn.open(1, Priority { urgency: 3, incremental: true }, true);
        conn.last_id = 1;
        if no_body {
            conn.streams.at(key.slot).set(super::stream::NO_BODY);
        }
        io.shared.counters.requests += 1;
        Ok((conn, key))
    }

    /// When [`Conn::expire`] wants to be called, if nothing happens before.
    pub fn deadline(&self) -> Option<Time> {
        let mut due = self.settings_due.min(self.ping_due).min(self.stall_due);
        if let Some(cold) = &self.cold {
            let block = if cold.block_stream != 0 { cold.block_due } else { Time::NEVER };
            let drain = if self.drain == Drain::Announced { cold.drain_due } else { Time::NEVER };
            due = due.min(block).min(drain);
        }
        (due != Time::NEVER && self.phase != Phase::Dead).then_some(due)
    }

    /// Acts on deadlines that have passed. Call until it returns `None`; streams whose responses
    /// were left without window for too long come as [`Event::Reset`].
    pub fn expire(&mut self, io: &mut Io<'_>) -> Result<Option<Event>, Error> {
        if self.phase == Phase::Dead {
            return Ok(None);
        }
        let result = self.expire_inner(io);
        result.inspect_err(|error| self.fail(error, io))
    }

    fn expire_inner(&mut self, io: &mut Io<'_>) -> Result<Option<Event>, Error> {
        let now = io.now;
        if now >= self.settings_due {
            let what = "no acknowledgement of our SETTINGS in time";
            return Err(Error::new(Code::SETTINGS_TIMEOUT, 0, what));
        }
        if let Some(cold) = &self.cold {
            if cold.block_stream != 0 && now >= cold.block_due {
                let (stream, what) = (cold.block_stream, "a header block without end");
                return Err(Error::new(Code::ENHANCE_YOUR_CALM, stream, what));
            }
            if self.drain == Drain::Announced && now >= cold.drain_due {
                self.finish_drain(io);
            }
        }
        if now >= self.ping_due {
            if self.pinging {
                return Err(Error::new(Code::NO_ERROR, 0, "no answer to our PING in time"));
            }
            self.ping(io);
        }
        if now >= self.stall_due {
            return self.reap_stalled(io);
        }
        Ok(None)
    }

    /// Sends a PING; its answer gives [`Conn::rtt`]. While one is unanswered this does nothing.
    pub fn ping(&mut self, io: &mut Io<'_>) {
        if self.pinging || self.phase == Phase::Dead {
            return;
        }
        self.pinging = true;
        self.ping_due = io.now + Duration::from_micros(io.shared.config.ping_timeout);
        let cold = self.cold.get_or_insert_default();
        cold.ping_sent = io.now;
        cold.ping_opaque = cold.ping_opaque.wrapping_add(1);
        frame::ping(io.out, false, cold.ping_opaque.to_be_bytes());
    }

    /// The last round trip measured by PING, if any.
    pub fn rtt(&self) -> Option<Duration> {
        (self.rtt_us > 0).then(|| Duration::from_micros(u64::from(self.rtt_us)))
    }

    /// Starts a drain without losing a request (RFC 9113 section 6.8): GOAWAY(2^31 - 1) and a PING
    /// now. When the PING returns, every request sent before the client knew has arrived, and
    /// GOAWAY with the last accepted id follows.
    pub fn drain(&mut self, io: &mut Io<'_>) {
        if self.drain != Drain::No || self.phase == Phase::Dead {
            return;
        }
        self.drain = Drain::Announced;
        frame::goaway(io.out, MAX_31, Code::NO_ERROR, b"");
        let due = io.now + Duration::from_micros(io.shared.config.drain_round_trip);
        self.cold.get_or_insert_default().drain_due = due;
        self.pinging = false;
        self.ping(io);
    }

    pub(super) fn finish_drain(&mut self, io: &mut Io<'_>) {
        self.drain = Drain::Final;
        self.accept_to = self.last_id;
        frame::goaway(io.out, self.last_id, Code::NO_ERROR, b"");
    }

    /// The peer has closed its side of the transport. Gives up, one at a time, requests without
    /// their end and answers without window, which cannot be completed. Call until it returns
    /// `None`, and again after output was sent. Nothing more is due once [`Conn::is_idle`]. Nothing
    /// more is expected of the peer.
    pub fn expect_no_more(&mut self, io: &mut Io<'_>) -> Option<Event> {
        (self.settings_due, self.ping_due) = (Time::NEVER, Time::NEVER);
        if let Some(cold) = &mut self.cold {
            cold.block_stream = 0;
        }
        for slot in 0..self.streams.slots() {
            if !self.streams.is_live(slot) {
                continue;
            }
            let stream = self.streams.see(slot);
            if stream.has(LOCAL_CLOSED) {
                self.forget(slot, io);
                continue;
            }
            let shut = stream.has(WANTS) && stream.send_window.min(self.send_window) <= 0;
            if !stream.has(REMOTE_CLOSED) || shut {
                let (key, code) = (Key { id: stream.id, slot }, Code::CANCEL);
                self.reset_stream(slot, code, io);
                return Some(Event::Reset { key, code, by_peer: false });
            }
        }
        None
    }

    /// Ends the connection at once: GOAWAY with `code` and a sentence for a person at the other
    /// end. Send what is in `Io::out`, then close.
    pub fn close(&mut self, code: Code, debug: &str, io: &mut Io<'_>) {
        if self.phase != Phase::Dead {
            self.phase = Phase::Dead;
            // Invalidates all keys, so that nothing follows the GOAWAY.
            self.streams = Streams::new();
            self.queue = Queue::new();
            frame::goaway(io.out, self.last_id, code, debug.as_bytes());
            io.shared.counters.goaways_sent += u64::from(code != Code::NO_ERROR);
        }
    }

    /// Whether the connection is finished: it can be closed once `Io::out` is sent.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Dead || self.drain == Drain::Final && self.streams.live() == 0
    }

    /// Whether the peer sent GOAWAY. It may still send PING or continue open streams, so closing is
    /// left to it or to the caller's timeout.
    pub fn peer_leaves(&self) -> bool {
        self.peer_leaves
    }

    /// Whether no stream is open; the caller's buffers may still hold output.
    pub fn is_idle(&self) -> bool {
        self.streams.live() == 0
    }

    /// Whether [`Conn::output`] has something to send now.
    #[inline]
    pub fn wants_output(&self) -> bool {
        !self.queue.is_empty() && self.send_window > 0 && self.phase != Phase::Dead
    }

    /// Streams open, pushes included.
    pub fn open_streams(&self) -> usize {
        self.streams.live()
    }

    /// Frees memory that an idle connection does not need. Does nothing while a stream is open.
    pub fn trim(&mut self) {
        if self.streams.live() == 0 {
            self.streams.trim();
            self.queue.trim();
            self.memos = None;
            if self.cold.as_ref().is_some_and(|cold| cold.is_disposable()) && !self.pinging {
                self.cold = None;
            }
        }
    }

    /// Opens a stream of the client, or one of ours (`id` even).
    #[inline]
    pub(super) fn open(&mut self, id: u32, priority: Priority, end: bool) -> Key {
        // Until the client has acknowledged a window below the default it may use the default.
        let window = match self.settings_due {
            Time::NEVER => self.announced.stream_window,
            _ => self.announced.stream_window.max(frame::DEFAULT_WINDOW),
        };
        let pushed = id & 1 == 0;
        let flags = if end { REMOTE_CLOSED } else { 0 }
            | if priority.incremental { INCREMENTAL } else { 0 }
            | if pushed { PUSHED | REMOTE_CLOSED } else { 0 };
        let slot = self.streams.insert(Stream {
            body_left: u64::MAX,
            id,
            send_window: self.peer.initial_window as i32,
            recv_window: window as i32,
            recv_target: window,
            unconsumed: 0,
            credit: 0,
            since: 0,
            flags,
            progress: 0,
            next: NONE,
            prev: NONE,
            node: NONE,
            level: priority.urgency,
        });
        match pushed {
            true => self.pushes += 1,
            false => self.requests += 1,
        }
        self.queue.opened(&mut self.streams, slot);
        Key { id, slot }
    }

    /// Removes a stream. Octets that the application still held return to the connection's window.
    #[inline]
    pub(super) fn forget(&mut self, slot: u16, io: &mut Io<'_>) {
        self.queue.closed(&mut self.streams, slot);
        let stream = self.streams.see(slot);
        let unconsumed = stream.unconsumed;
        match stream.has(PUSHED) {
            true => self.pushes -= 1,
            false => self.requests -= 1,
        }
        self.streams.remove(slot);
        if unconsumed > 0 {
            self.credit(unconsumed, io);
        }
    }

    /// Resets a live stream and remembers that the peer may not know yet.
    #[cold]
    pub(super) fn reset_stream(&mut self, slot: u16, code: Code, io: &mut Io<'_>) {
        let id = self.streams.see(slot).id;
        self.forget(slot, io);
        self.send_reset(id, code, io);
    }

    /// Appends RST_STREAM for a stream that is not, or no longer, in the table.
    #[cold]
    pub(super) fn send_reset(&mut self, id: u32, code: Code, io: &mut Io<'_>) {
        io.shared.counters.resets_sent += 1;
        frame::rst_stream(io.out, id, code);
        let room = (io.shared.config.max_concurrent_streams as usize * 2).clamp(64, 4096);
        let cold = self.cold.get_or_insert_default();
        if cold.reset.len() < room {
            cold.reset.push(id);
        } else {
            let place = cold.reset_at % cold.reset.len();
            cold.reset[place] = id;
            cold.reset_at = place + 1;
        }
    }

    /// Whether we reset `id` a short while ago.
    pub(super) fn was_reset(&self, id: u32) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.reset.contains(&id))
    }

    /// The peer broke a rule on a live stream: resets it, charges the budget, and returns the
    /// event.
    #[cold]
    pub(super) fn stream_error(
        &mut self,
        slot: u16,
        code: Code,
        io: &mut Io<'_>,
    ) -> Result<Event, Error> {
        let key = Key { id: self.streams.see(slot).id, slot };
        self.charge(Kind::Provoked, key.id, io)?;
        self.reply_room(io)?;
        self.reset_stream(slot, code, io);
        Ok(Event::Reset { key, code, by_peer: false })
    }

    #[cold]
    pub(super) fn charge(&mut self, kind: Kind, stream: u32, io: &mut Io<'_>) -> Result<(), Error> {
        let Shared { config, counters, .. } = &mut *io.shared;
        if self.buckets.charge(kind, &config.budgets, counters, io.now) {
            return Ok(());
        }
        Err(Error::new(Code::ENHANCE_YOUR_CALM, stream, kind.sentence()))
    }

    /// Refuses to gather more answers for a peer that does not read them.
    #[inline]
    pub(super) fn reply_room(&mut self, io: &mut Io<'_>) -> Result<(), Error> {
        if io.out.len() <= io.shared.config.output_bytes {
            return Ok(());
        }
        io.shared.counters.tripped_output += 1;
        Err(Error::new(Code::ENHANCE_YOUR_CALM, 0, "more to answer than it reads"))
    }

    #[cold]
    pub(super) fn fail(&mut self, error: &Error, io: &mut Io<'_>) {
        use alloc::string::ToString;
        self.close(error.code, &error.to_string(), io);
    }

    /// Resets what has waited too long for window.
    #[cold]
    fn reap_stalled(&mut self, io: &mut Io<'_>) -> Result<Option<Event>, Error> {
        let timeout = Duration::from_micros(io.shared.config.stall_timeout);
        let enough = io.shared.config.stall_octets;
        let mut next = Time::NEVER;
        if let Some(cold) = &mut self.cold
            && let Some(mut since) = cold.stalled_since
        {
            if self.send_window > 0 {
                cold.stalled_since = None;
            } else {
                if cold.stall_progress >= u32::from(enough) {
                    (since, cold.stall_progress) = (io.now, 0);
                    cold.stalled_since = Some(since);
                }
                if io.now >= since + timeout {
                    let what = "too little WINDOW_UPDATE for the connection";
                    return Err(Error::new(Code::ENHANCE_YOUR_CALM, 0, what));
                }
                next = since + timeout;
            }
        }
        for slot in 0..self.streams.slots() {
            if !self.streams.is_live(slot) || !self.streams.see(slot).has(STALLED) {
                continue;
            }
            let stream = self.streams.at(slot);
            if !stream.has(WANTS) || stream.send_window > 0 {
                // It has nothing to send, or other streams hold it up.
                stream.clear(STALLED);
                continue;
            }
            if stream.progress >= enough {
                (stream.since, stream.progress) = (millis(io.now), 0);
            }
            let due = due_after(stream.since, timeout, io.now);
            if io.now >= due {
                let key = Key { id: stream.id, slot };
                self.charge(Kind::Stalled, key.id, io)?;
                self.reset_stream(slot, Code::ENHANCE_YOUR_CALM, io);
                // `stall_due` stays: the next call looks at the rest.
                let code = Code::ENHANCE_YOUR_CALM;
                return Ok(Some(Event::Reset { key, code, by_peer: false }));
            }
            next = next.min(due);
        }
        self.stall_due = next;
        Ok(None)
    }

    /// Whether the stream is still open: for handlers about to do something costly.
    pub fn is_open(&self, key: Key) -> bool {
        self.streams.is_live(key.slot) && self.streams.see(key.slot).id == key.id
    }

    /// Whether the response head can still be chosen: the stream lives and nothing was sent.
    pub fn awaits_head(&self, key: Key) -> bool {
        self.is_open(key) && !self.streams.see(key.slot).has(HEAD_SENT | LOCAL_CLOSED)
    }

    /// Marks the stream as one whose client stated a priority.
    pub(super) fn state_priority(&mut self, slot: u16, priority: Priority) {
        self.streams.at(slot).set(STATED);
        self.queue.prioritise(&mut self.streams, slot, priority);
    }
}

impl Cold {
    fn is_disposable(&self) -> bool {
        self.block_stream == 0
            && self.reset.is_empty()
            && self.early.is_empty()
            && self.pushed.is_empty()
    }
}

/// When the next PING is due, `interval` microseconds from now; 0 is never.
pub(super) fn ping_at(now: Time, interval: u64) -> Time {
    if interval == 0 { Time::NEVER } else { now + Duration::from_micros(interval) }
}

/// A time in milliseconds, modulo 2^32: what a stream keeps.
pub(super) fn millis(now: Time) -> u32 {
    (now.0 / 1000) as u32
}

/// When `timeout` is over, counted from `since` (as [`millis`] says it), less than 49 days ago.
pub(super) fn due_after(since: u32, timeout: Duration, now: Time) -> Time {
    let waited = Duration::from_millis(u64::from(millis(now).wrapping_sub(since)));
    now + timeout.saturating_sub(waited)
}
