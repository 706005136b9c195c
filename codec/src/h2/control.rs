//! The frames that carry no message: SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM, PRIORITY,
//! PRIORITY_UPDATE, and PUSH_PROMISE, which a client may not send. RFC 9113 sections 6.3 to 6.9,
//! RFC 9218 section 7.1.

use super::budget::Kind;
use super::conn::{Conn, Drain, ping_at};
use super::frame::{self, Code, DEFAULT_WINDOW, Header, MAX_31, u32_at};
use super::stream::{Key, LOCAL_CLOSED, STALLED, STATED};
use super::tree::Place;
use super::{Error, Event, Io, Priority};
use crate::Time;

impl Conn {
    #[cold]
    pub(super) fn control(
        &mut self,
        header: &Header,
        payload: &[u8],
        io: &mut Io<'_>,
    ) -> Result<Option<Event>, Error> {
        self.check_stream_and_length(header)?;
        match header.kind {
            frame::SETTINGS => self.settings(header, payload, io),
            frame::PING => self.pinged(header, payload, io),
            frame::GOAWAY => {
                io.shared.counters.goaways_received += 1;
                self.peer_leaves = true;
                self.peer.enable_push = false;
                Ok(Some(Event::GoAway { code: Code(u32_at(payload, 4)) }))
            }
            frame::WINDOW_UPDATE => self.window_update(header.stream, payload, io),
            frame::RST_STREAM => self.rst_stream(header.stream, payload, io),
            frame::PRIORITY => self.priority(header.stream, payload, io),
            frame::PRIORITY_UPDATE => self.priority_update(payload, io),
            _ => {
                let what = "PUSH_PROMISE, which only a server may";
                Err(Error::new(Code::PROTOCOL_ERROR, header.stream, what))
            }
        }
    }

    /// Which frames belong to the connection, and which lengths are fixed.
    fn check_stream_and_length(&self, header: &Header) -> Result<(), Error> {
        let of_connection = matches!(
            header.kind,
            frame::SETTINGS | frame::PING | frame::GOAWAY | frame::PRIORITY_UPDATE
        );
        let id = header.stream;
        if of_connection && id != 0 {
            let what = "a connection's frame";
            return Err(Error::new(Code::PROTOCOL_ERROR, id, what));
        }
        let of_stream = matches!(header.kind, frame::RST_STREAM | frame::PRIORITY);
        if of_stream && id == 0 {
            let what = "a stream's frame on stream 0";
            return Err(Error::new(Code::PROTOCOL_ERROR, 0, what));
        }
        let fits = match header.kind {
            frame::PING => header.len == 8,
            frame::WINDOW_UPDATE | frame::RST_STREAM => header.len == 4,
            frame::GOAWAY => header.len >= 8,
            frame::PRIORITY_UPDATE => header.len >= 4,
            frame::SETTINGS => {
                header.len.is_multiple_of(6) && (header.len == 0 || !header.has(frame::ACK))
            }
            _ => true,
        };
        if !fits {
            let what = "a frame whose length its type does not allow";
            return Err(Error::new(Code::FRAME_SIZE_ERROR, id, what));
        }
        Ok(())
    }

    fn settings(
        &mut self,
        header: &Header,
        payload: &[u8],
        io: &mut Io<'_>,
    ) -> Result<Option<Event>, Error> {
        if header.has(frame::ACK) {
            if self.settings_due != Time::NEVER {
                self.settings_due = Time::NEVER;
                self.acknowledged(io);
            }
            return Ok(None);
        }
        self.charge(Kind::Settings, 0, io)?;
        self.apply_settings(payload, io)?;
        self.reply_room(io)?;
        frame::settings_ack(io.out);
        Ok(None)
    }

    /// The client knows our settings now. Those that restrict it apply from here on.
    fn acknowledged(&mut self, io: &mut Io<'_>) {
        io.shared.head_cache.forget();
        if self.announced.header_table < 4096 {
            self.decoder.set_table_size(self.announced.header_table);
        }
        let less = DEFAULT_WINDOW.saturating_sub(self.announced.stream_window);
        for slot in 0..self.streams.slots() {
            if less > 0 && self.streams.is_live(slot) {
                let stream = self.streams.at(slot);
                stream.recv_window -= less as i32;
                stream.recv_target = stream.recv_target.saturating_sub(less);
            }
        }
    }

    /// Applies the peer's settings, to open streams too (RFC 9113 sections 6.5.3 and 6.9.2).
    pub(super) fn apply_settings(&mut self, payload: &[u8], io: &mut Io<'_>) -> Result<(), Error> {
        let before = self.peer;
        let mut smallest = before.header_table;
        let applied = self.peer.apply(payload, &mut smallest);
        applied.map_err(|(code, what)| Error::new(code, 0, what))?;
        if smallest != before.header_table || self.peer.header_table != before.header_table {
            self.encoder.set_peer_table_size(smallest);
            self.encoder.set_peer_table_size(self.peer.header_table);
            self.memos = None;
        }
        if self.peer_leaves {
            self.peer.enable_push = false;
        }
        let delta = i64::from(self.peer.initial_window) - i64::from(before.initial_window);
        if delta != 0 {
            for slot in 0..self.streams.slots() {
                if self.streams.is_live(slot) {
                    self.widen(slot, delta, io)?;
                }
            }
        }
        Ok(())
    }

    /// Changes a stream's send window by a SETTINGS delta.
    fn widen(&mut self, slot: u16, delta: i64, io: &mut Io<'_>) -> Result<(), Error> {
        let stream = self.streams.at(slot);
        let window = i64::from(stream.send_window) + delta;
        let Ok(window) = i32::try_from(window) else {
            let what = "an INITIAL_WINDOW_SIZE that makes a window too large";
            return Err(Error::new(Code::FLOW_CONTROL_ERROR, stream.id, what));
        };
        stream.send_window = window;
        self.window_changed(slot, io);
        Ok(())
    }

    /// A stream's send window has changed: updates the scheduler.
    fn window_changed(&mut self, slot: u16, io: &mut Io<'_>) {
        let stream = self.streams.at(slot);
        if stream.send_window >= i32::from(io.shared.config.stall_octets) {
            stream.clear(STALLED);
        }
        self.update_ready(slot, io);
    }

    fn pinged(
        &mut self,
        header: &Header,
        payload: &[u8],
        io: &mut Io<'_>,
    ) -> Result<Option<Event>, Error> {
        let mut opaque = [0; 8];
        opaque.copy_from_slice(payload);
        if !header.has(frame::ACK) {
            self.charge(Kind::Ping, 0, io)?;
            self.reply_room(io)?;
            frame::ping(io.out, true, opaque);
            return Ok(None);
        }
        let Some(cold) = &self.cold else { return Ok(None) };
        if !self.pinging || u64::from_be_bytes(opaque) != cold.ping_opaque {
            return Ok(None);
        }
        let rtt = io.now.since(cold.ping_sent).as_micros().max(1);
        self.rtt_us = u32::try_from(rtt).unwrap_or(u32::MAX);
        io.shared.counters.round_trips += 1;
        io.shared.counters.round_trip_us += u64::from(self.rtt_us);
        self.pinging = false;
        self.ping_due = ping_at(io.now, io.shared.config.ping_interval);
        if self.drain == Drain::Announced {
            self.finish_drain(io);
        }
        Ok(None)
    }

    fn window_update(
        &mut self,
        id: u32,
        payload: &[u8],
        io: &mut Io<'_>,
    ) -> Result<Option<Event>, Error> {
        self.charge(Kind::WindowUpdate, id, io)?;
        let increment = u32_at(payload, 0) & MAX_31;
        if id == 0 {
            let useful = io.shared.config.stall_octets;
            return self.connection_window_update(increment, useful).map(|()| None);
        }
        let Some(slot) = self.streams.slot(id) else {
            if self.is_unborn(id) {
                let what = "WINDOW_UPDATE before HEADERS";
                return Err(Error::new(Code::PROTOCOL_ERROR, id, what));
            }
            return Ok(None);
        };
        if increment == 0 {
            return self.stream_error(slot, Code::PROTOCOL_ERROR, io).map(Some);
        }
        let stream = self.streams.at(slot);
        match stream.send_window.checked_add(increment as i32) {
            Some(window) => stream.send_window = window,
            None => return self.stream_error(slot, Code::FLOW_CONTROL_ERROR, io).map(Some),
        }
        self.window_changed(slot, io);
        Ok(None)
    }

    fn connection_window_update(&mut self, increment: u32, useful: u16) -> Result<(), Error> {
        if increment == 0 {
            let what = "WINDOW_UPDATE of 0 for the connection";
            return Err(Error::new(Code::PROTOCOL_ERROR, 0, what));
        }
        let Some(window) = self.send_window.checked_add(increment as i32) else {
            let what = "WINDOW_UPDATE that makes the connection's window too large";
            return Err(Error::new(Code::FLOW_CONTROL_ERROR, 0, what));
        };
        self.send_window = window;
        if window >= i32::from(useful)
            && let Some(cold) = &mut self.cold
        {
            cold.stalled_since = None;
        }
        Ok(())
    }

    fn rst_stream(
        &mut self,
        id: u32,
        payload: &[u8],
        io: &mut Io<'_>,
    ) -> Result<Option<Event>, Error> {
        if self.is_unborn(id) {
            return Err(Error::new(Code::PROTOCOL_ERROR, id, "RST_STREAM before HEADERS"));
        }
        io.shared.counters.resets_received += 1;
        self.charge(Kind::Reset, id, io)?;
        let Some(slot) = self.streams.slot(id) else { return Ok(None) };
        let answered = self.streams.see(slot).has(LOCAL_CLOSED);
        self.forget(slot, io);
        if answered {
            return Ok(None);
        }
        Ok(Some(Event::Reset {
            key: Key { id, slot },
            code: Code(u32_at(payload, 0)),
            by_peer: true,
        }))
    }

    fn priority(
        &mut self,
        id: u32,
        payload: &[u8],
        io: &mut Io<'_>,
    ) -> Result<Option<Event>, Error> {
        self.charge(Kind::Priority, id, io)?;
        let Ok(octets) = <&[u8; 5]>::try_from(payload) else {
            return self.bad_priority(id, Code::FRAME_SIZE_ERROR, io);
        };
        self.place(id, octets, io)
    }

    /// Applies five octets of RFC 7540 priority, from a PRIORITY frame or a HEADERS flag.
    pub(super) fn place(
        &mut self,
        id: u32,
        octets: &[u8; 5],
        io: &mut Io<'_>,
    ) -> Result<Option<Event>, Error> {
        let place = Place::read(octets);
        if place.depends_on == id {
            return self.bad_priority(id, Code::PROTOCOL_ERROR, io);
        }
        let honoured = io.shared.config.rfc7540_priorities && !self.peer.no_rfc7540_priorities;
        let stated = self.streams.slot(id).is_some_and(|s| self.streams.see(s).has(STATED));
        if honoured && !stated {
            self.queue.place(&mut self.streams, id, place);
        }
        Ok(None)
    }

    /// A malformed priority is a stream error. An idle stream cannot be reset, so there it is a
    /// connection error.
    fn bad_priority(
        &mut self,
        id: u32,
        code: Code,
        io: &mut Io<'_>,
    ) -> Result<Option<Event>, Error> {
        if let Some(slot) = self.streams.slot(id) {
            return self.stream_error(slot, code, io).map(Some);
        }
        if self.is_unborn(id) {
            return Err(Error::new(code, id, "a malformed PRIORITY"));
        }
        self.charge(Kind::Provoked, id, io)?;
        self.reply_room(io)?;
        self.send_reset(id, code, io);
        Ok(None)
    }

    fn priority_update(&mut self, payload: &[u8], io: &mut Io<'_>) -> Result<Option<Event>, Error> {
        let id = u32_at(payload, 0) & MAX_31;
        self.charge(Kind::Priority, id, io)?;
        let unborn = self.is_unborn(id);
        if id == 0 || unborn && id & 1 == 0 {
            let what = "PRIORITY_UPDATE for a stream that it may not name";
            return Err(Error::new(Code::PROTOCOL_ERROR, id, what));
        }
        // The frame replaces the whole priority: what it does not mention has its default.
        let priority = Priority::default().updated(&payload[4..]);
        if let Some(slot) = self.streams.slot(id) {
            self.state_priority(slot, priority);
        } else if unborn {
            self.remember_early(id, priority, io.shared.config.max_concurrent_streams as usize);
        }
        Ok(None)
    }

    fn remember_early(&mut self, id: u32, priority: Priority, room: usize) {
        let cold = self.cold.get_or_insert_default();
        let full = cold.early.len() >= room;
        match cold.early.iter_mut().find(|(other, _)| *other == id) {
            Some(entry) => entry.1 = priority,
            // RFC 9218 section 7.1 lets a server drop what exceeds the streams that could be open.
            None if full => {}
            None => cold.early.push((id, priority)),
        }
    }
}
