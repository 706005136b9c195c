//! Receives frames: checks their order, passes DATA on in parts, and hands other complete frames to
//! `headers` and `control`. RFC 9113 sections 3.4, 4, 5.1 and 6.1.

use super::budget::Kind;
use super::conn::{Conn, Phase};
use super::frame::{self, Code, HEADER, Header, PREFACE};
use super::headers::longest_block;
use super::stream::{HEAD_SENT, Key, LOCAL_CLOSED, NONE, PUSHED, REMOTE_CLOSED, TUNNEL};
use super::{Error, Event, Io};

/// Smallest update of the connection's window that is sent.
const LEAST_UPDATE: i32 = 4096;

impl Conn {
    /// Takes the next event out of `input[*at..]` and moves `at` past what has been used. Frames
    /// other than DATA must be there whole before they are looked at: after [`Event::More`] the
    /// caller keeps `input[*at..]`, which is never longer than [`Conn::tail_max`].
    ///
    /// After an error the connection is dead: send what is in `Io::out`, GOAWAY at its end, and
    /// close.
    #[inline]
    pub fn receive(
        &mut self,
        input: &[u8],
        at: &mut usize,
        io: &mut Io<'_>,
    ) -> Result<Event, Error> {
        match self.step(input, at, io) {
            Ok(event) => Ok(event),
            Err(error) => {
                self.fail(&error, io);
                Err(error)
            }
        }
    }

    /// The longest tail that a caller may have to keep, in octets.
    pub fn tail_max(io: &Io<'_>) -> usize {
        HEADER + longest_whole(io) as usize
    }

    fn step(&mut self, input: &[u8], at: &mut usize, io: &mut Io<'_>) -> Result<Event, Error> {
        loop {
            while self.payload.left > 0 || self.payload.skip > 0 {
                if *at == input.len() {
                    return Ok(Event::More);
                }
                if let Some(event) = self.payload(input, at, io)? {
                    return Ok(event);
                }
            }
            if self.phase != Phase::Open && !self.begin(input, at)? {
                return Ok(Event::More);
            }
            let Some(header) = Header::read(input, *at) else { return Ok(Event::More) };
            self.admit(&header, io)?;
            let event = match header.kind {
                frame::DATA => {
                    let Some(pad) = padding(&header, input, *at)? else { return Ok(Event::More) };
                    *at += HEADER + usize::from(header.has(frame::PADDED));
                    self.data(&header, pad, *at, io)?
                }
                frame::HEADERS..=frame::CONTINUATION | frame::PRIORITY_UPDATE => {
                    let from = *at + HEADER;
                    let Some(payload) = input.get(from..from + header.len as usize) else {
                        return Ok(Event::More);
                    };
                    *at = from + header.len as usize;
                    match header.kind {
                        frame::HEADERS => self.headers(&header, payload, io)?,
                        frame::CONTINUATION => self.continuation(&header, payload, io)?,
                        _ => self.control(&header, payload, io)?,
                    }
                }
                _ => {
                    self.charge(Kind::Unknown, header.stream, io)?;
                    *at += HEADER;
                    self.payload.skip = header.len;
                    None
                }
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    /// Checks the preface and that SETTINGS comes first; `false` while the preface is incomplete.
    #[cold]
    fn begin(&mut self, input: &[u8], at: &mut usize) -> Result<bool, Error> {
        if self.phase == Phase::Dead {
            *at = input.len();
            return Ok(false);
        }
        if self.phase == Phase::Preface {
            let have = &input[*at..];
            let n = have.len().min(PREFACE.len());
            if have[..n] != PREFACE[..n] {
                let what = "something else than the HTTP/2 connection preface";
                return Err(Error::new(Code::PROTOCOL_ERROR, 0, what));
            }
            if n < PREFACE.len() {
                return Ok(false);
            }
            *at += n;
            self.phase = Phase::Settings;
        }
        match Header::read(input, *at) {
            None => Ok(false),
            Some(h) if h.kind == frame::SETTINGS && !h.has(frame::ACK) => {
                self.phase = Phase::Open;
                Ok(true)
            }
            Some(_) => {
                Err(Error::new(Code::PROTOCOL_ERROR, 0, "another frame before its SETTINGS"))
            }
        }
    }

    /// Checks a frame's header: size, and the integrity of header blocks.
    #[inline]
    fn admit(&mut self, header: &Header, io: &mut Io<'_>) -> Result<(), Error> {
        if header.len > self.announced.max_frame_size {
            let what = "a frame longer than our SETTINGS_MAX_FRAME_SIZE";
            return Err(Error::new(Code::FRAME_SIZE_ERROR, header.stream, what));
        }
        if header.len > longest_whole(io) && header.kind != frame::DATA {
            let what = "a frame of more than twice our SETTINGS_MAX_HEADER_LIST_SIZE";
            return Err(Error::new(Code::ENHANCE_YOUR_CALM, header.stream, what));
        }
        let block = self.cold.as_ref().map_or(0, |cold| cold.block_stream);
        if (block != 0) != (header.kind == frame::CONTINUATION)
            || block != 0 && header.stream != block
        {
            let what = if block != 0 {
                "another frame within a header block"
            } else {
                "CONTINUATION outside a header block"
            };
            return Err(Error::new(Code::PROTOCOL_ERROR, header.stream, what));
        }
        Ok(())
    }

    /// Begins a DATA frame whose content starts at `at` in the input.
    fn data(
        &mut self,
        header: &Header,
        pad: u32,
        at: usize,
        io: &mut Io<'_>,
    ) -> Result<Option<Event>, Error> {
        let id = header.stream;
        if id == 0 {
            return Err(Error::new(Code::PROTOCOL_ERROR, 0, "DATA on stream 0"));
        }
        io.shared.counters.data_received += u64::from(header.len);
        let content = header.len - pad;
        let end = header.has(frame::END_STREAM);
        if !end && content < u32::from(io.shared.config.budgets.tiny) {
            self.charge(if content == 0 { Kind::Empty } else { Kind::Tiny }, id, io)?;
        }
        // Flow control counts the whole payload, whatever becomes of it (RFC 9113 section 6.9.1).
        self.recv_window -= header.len as i32;
        if self.recv_window < 0 {
            let what = "more DATA than the connection's window allows";
            return Err(Error::new(Code::FLOW_CONTROL_ERROR, id, what));
        }
        let padded = header.has(frame::PADDED);
        self.payload.skip = header.len - content - u32::from(padded);
        self.payload.left = content;
        self.payload.key = Key { id: 0, slot: NONE };
        self.payload.end = end;
        let Some(slot) = self.streams.slot(id) else {
            self.data_on_no_stream(id)?;
            self.credit(header.len - content, io);
            return Ok(None);
        };
        let stream = self.streams.at(slot);
        if stream.has(LOCAL_CLOSED) && !stream.has(REMOTE_CLOSED) {
            self.credit(header.len - content, io);
            return self.pass_over(slot, header.len, content, end, io);
        }
        if stream.has(PUSHED) && !stream.has(HEAD_SENT) {
            return Err(Error::new(Code::PROTOCOL_ERROR, id, "DATA on a stream that we promised"));
        }
        let error = if stream.has(REMOTE_CLOSED) {
            Some(Code::STREAM_CLOSED)
        } else if stream.recv_window < header.len as i32 {
            Some(Code::FLOW_CONTROL_ERROR)
        } else if !stream.admits(content, end) {
            Some(Code::PROTOCOL_ERROR)
        } else {
            None
        };
        self.credit(header.len - content, io);
        if let Some(code) = error {
            return self.stream_error(slot, code, io).map(Some);
        }
        let stream = self.streams.at(slot);
        stream.recv_window -= header.len as i32;
        stream.unconsumed += content;
        stream.shorten(content);
        let key = Key { id, slot };
        self.payload.key = key;
        if content == 0 {
            return Ok(end.then(|| self.data_event(key, at..at, true)));
        }
        Ok(None)
    }

    /// DATA of a request that was already answered. It is dropped, but the request may still turn
    /// out to be malformed (RFC 9113 section 8.1.1).
    #[cold]
    fn pass_over(
        &mut self,
        slot: u16,
        len: u32,
        content: u32,
        end: bool,
        io: &mut Io<'_>,
    ) -> Result<Option<Event>, Error> {
        let stream = self.streams.at(slot);
        if !stream.admits(content, end) {
            return self.stream_error(slot, Code::PROTOCOL_ERROR, io).map(Some);
        }
        stream.shorten(content);
        stream.recv_window = stream.recv_window.saturating_sub(len as i32);
        if end {
            self.forget(slot, io);
        } else if stream.recv_window < stream.recv_target as i32 / 2 {
            self.reset_stream(slot, Code::NO_ERROR, io);
        }
        Ok(None)
    }

    /// DATA for a stream that is not open: idle and closed differ.
    #[cold]
    fn data_on_no_stream(&self, id: u32) -> Result<(), Error> {
        if self.is_unborn(id) {
            return Err(Error::new(Code::PROTOCOL_ERROR, id, "DATA before HEADERS"));
        }
        if self.was_reset(id) || id > self.accept_to {
            return Ok(());
        }
        Err(Error::new(Code::STREAM_CLOSED, id, "DATA after the end"))
    }

    /// Whether stream `id` is idle: neither opened nor promised.
    pub(super) fn is_unborn(&self, id: u32) -> bool {
        if id & 1 == 1 { id > self.last_id } else { id >= self.next_push }
    }

    /// Passes on what the input holds of the payload under way.
    fn payload(
        &mut self,
        input: &[u8],
        at: &mut usize,
        io: &mut Io<'_>,
    ) -> Result<Option<Event>, Error> {
        let have = input.len() - *at;
        let p = &mut self.payload;
        if p.left > 0 {
            let n = have.min(p.left as usize);
            p.left -= n as u32;
            let range = *at..*at + n;
            *at += n;
            let (key, end) = (p.key, p.end && p.left == 0);
            match self.streams.find(key) {
                Some(stream) if !stream.has(LOCAL_CLOSED) => {
                    return Ok(Some(self.data_event(key, range, end)));
                }
                Some(_) if end => self.forget(key.slot, io),
                // Nobody will consume these. A stream that ended meanwhile has returned the whole
                // frame already.
                _ if key.id == 0 => self.credit(n as u32, io),
                _ => {}
            }
            return Ok(None);
        }
        let n = have.min(p.skip as usize);
        p.skip -= n as u32;
        *at += n;
        Ok(None)
    }

    #[inline]
    fn data_event(&mut self, key: Key, at: core::ops::Range<usize>, end: bool) -> Event {
        let stream = self.streams.at(key.slot);
        if end {
            stream.set(REMOTE_CLOSED);
        }
        Event::Data { key, at, end }
    }

    /// The application has used `n` octets of a stream's content: the peer may send as many more.
    /// The stream's window grows, up to `stream_window_max`, as long as the application has drained
    /// all there was.
    pub fn consume(&mut self, key: Key, n: usize, io: &mut Io<'_>) {
        // A stream that ended has returned its octets already.
        let Some(stream) = self.streams.find(key) else { return };
        debug_assert!(n <= stream.unconsumed as usize);
        let n = (n as u32).min(stream.unconsumed);
        stream.unconsumed -= n;
        let credit = stream.recv_target as i32 - stream.recv_window - stream.unconsumed as i32;
        if !stream.has(REMOTE_CLOSED | LOCAL_CLOSED)
            && credit > 0
            && credit as u32 >= stream.recv_target / 2
        {
            let max = io.shared.config.stream_window_max;
            let mut credit = credit as u32;
            if stream.unconsumed == 0 && stream.recv_target < max {
                let target = stream.recv_target.saturating_mul(2).clamp(1, max);
                credit += target - stream.recv_target;
                stream.recv_target = target;
            }
            stream.recv_window += credit as i32;
            frame::window_update(io.out, key.id, credit);
        }
        self.credit(n, io);
    }

    /// Returns octets to the connection's window. Sends WINDOW_UPDATE once they are as many as the
    /// peer has left, which is half of the window when nothing is held.
    #[inline]
    pub(super) fn credit(&mut self, n: u32, io: &mut Io<'_>) {
        self.recv_owed += n;
        if self.recv_owed as i32 >= self.recv_window.max(LEAST_UPDATE) {
            self.recv_window += self.recv_owed as i32;
            frame::window_update(io.out, 0, self.recv_owed);
            self.recv_owed = 0;
        }
    }

    /// Whether the stream is a CONNECT tunnel, on which trailers have no meaning.
    pub(super) fn is_tunnel(&self, slot: u16) -> bool {
        self.streams.see(slot).has(TUNNEL)
    }
}

/// Maximum length of a frame that is handled as a whole.
#[inline]
fn longest_whole(io: &Io<'_>) -> u32 {
    longest_block(&io.shared.config).max(frame::MIN_MAX_FRAME)
}

/// What padding a DATA frame has, its length octet included; `None` while that octet has not come.
#[inline]
fn padding(header: &Header, input: &[u8], at: usize) -> Result<Option<u32>, Error> {
    if !header.has(frame::PADDED) {
        return Ok(Some(0));
    }
    if header.len == 0 {
        let what = "a padded frame without room for the padding's length";
        return Err(Error::new(Code::FRAME_SIZE_ERROR, header.stream, what));
    }
    let Some(&pad) = input.get(at + HEADER) else { return Ok(None) };
    if u32::from(pad) >= header.len {
        let what = "more padding than the frame holds";
        return Err(Error::new(Code::PROTOCOL_ERROR, header.stream, what));
    }
    Ok(Some(u32::from(pad) + 1))
}
