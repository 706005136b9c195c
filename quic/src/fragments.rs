//! Limits on the fragments of a peer's content. quiche keeps unread content, and content after a
//! gap, frame by frame: a single octet costs about 160, and the rest of an overlapping frame keeps
//! all of it in memory. Flow control windows bound only octets: a connection's first window of 1
//! MiB could hold 147 MiB in single octets, and more with overlaps. So this module counts the held
//! frames, from the packets that quiche has decrypted in place, and releases them as their streams
//! are read. Long frames that continue past everything before them are free, because windows bound
//! them well enough. STOP_SENDING frames, which quiche hardly reports, are recorded on the way.
//!
//! Two limitations remain. Packets that quiche keeps until it has their keys (up to ten of 0-RTT)
//! are not counted. And fragments are counted on arrival, before the application can read them: an
//! honest client that sends small fragments to a handler that does not read is disconnected.

mod frames;

use frames::{Frame, Reader, next_packet};

pub(crate) use frames::KnownKeys;

use crate::settings::Streams;

/// Frames with at least this much content cost less than twice their content.
const LONG: u64 = 512;

/// The most content of a frame in a packet of ordinary size. A larger frame counts as several.
const ORDINARY: u64 = 1500;

/// Limit of CRYPTO frames of a connection. A client's handshake takes two or three packets, which
/// some browsers split into ten fragments each and retransmit a few times.
const CRYPTO_FRAMES: u32 = 512;

/// RFC 9000 section 20.1.
const STREAM_LIMIT_ERROR: u64 = 0x4;
const STREAM_STATE_ERROR: u64 = 0x5;

/// The bound that was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// Fragments of unread content.
    Content,
    /// Fragments of the handshake.
    Crypto,
}

/// The fragments of one connection.
pub(crate) struct Fragments {
    most: u32,
    held: u32,
    crypto: u32,
    /// STOP_SENDING frames.
    stops: u64,
    /// One of them named a stream opened by the server.
    has_stopped_ours: bool,
    /// By stream number: streams of which a part has arrived or been read.
    streams: Vec<Stream>,
    /// The client's initial stream limits, and an upper bound of the streams that it has opened.
    allowed: Streams,
    opened: Streams,
    wrong_stream: Option<(u64, &'static str)>,
}

#[derive(Default)]
struct Stream {
    id: u64,
    /// Octets read.
    read: u64,
    /// Where the furthest frame ended.
    end: u64,
    /// Fragments that are released once this offset has been read, and later fragments. A stream
    /// that always has a gap still gets the former released.
    old: Held,
    new: Held,
    /// The stream is no longer read, and quiche keeps nothing of it.
    is_stopped: bool,
}

#[derive(Clone, Copy, Default)]
struct Held {
    count: u32,
    end: u64,
}

impl Fragments {
    /// `most`: limit of held content fragments. `allowed`: the client's initial stream limits.
    pub(crate) fn new(most: u32, allowed: Streams) -> Self {
        Self {
            most,
            held: 0,
            crypto: 0,
            stops: 0,
            has_stopped_ours: false,
            streams: Vec::new(),
            allowed,
            opened: Streams { bidi: 0, uni: 0 },
            wrong_stream: None,
        }
    }

    /// Whether any are held, so that repeated packets must be distinguished from new ones.
    pub(crate) fn any(&self) -> bool {
        self.held > 0
    }

    /// STOP_SENDING frames so far.
    pub(crate) fn stops(&self) -> u64 {
        self.stops
    }

    /// Whether one of them named a stream opened by the server.
    pub(crate) fn has_stopped_ours(&self) -> bool {
        self.has_stopped_ours
    }

    /// The bound that has been exceeded, if any.
    pub(crate) fn excess(&self) -> Option<Excess> {
        match (self.held > self.most, self.crypto > CRYPTO_FRAMES) {
            (_, true) => Some(Excess::Crypto),
            (true, _) => Some(Excess::Content),
            _ => None,
        }
    }

    /// The error and the reason, if STREAM_DATA_BLOCKED named a stream that the client must not
    /// have. quiche does not check these frames.
    pub(crate) fn wrong_stream(&self) -> Option<(u64, &'static str)> {
        self.wrong_stream
    }

    /// Counts the frames of a datagram that quiche has decrypted. `is_over`: whether all of a
    /// stream has been read, or quiche no longer knows it.
    pub(crate) fn count(
        &mut self,
        datagram: &[u8],
        keys: KnownKeys,
        is_over: impl Fn(u64) -> bool + Copy,
    ) {
        if keys.early {
            // quiche may have accepted packets that were not seen here.
            self.opened.bidi = self.opened.bidi.max(self.allowed.bidi);
            self.opened.uni = self.opened.uni.max(self.allowed.uni);
        }
        let mut rest = datagram;
        while let Some(payload) = next_packet(&mut rest, keys) {
            let mut frames = Reader(payload);
            while let Some(frame) = frames.next_frame() {
                match frame {
                    Frame::Crypto => self.crypto += 1,
                    Frame::Stop { id } => {
                        self.stops += 1;
                        self.has_stopped_ours |= id & 1 == 1;
                        self.open(id);
                    }
                    Frame::Stream { id, at, len, is_held } => {
                        self.open(id);
                        if is_held {
                            self.hold(id, at, len, is_over);
                        }
                    }
                    Frame::About { id } => self.open(id),
                    Frame::Blocked { id } => self.check(id),
                }
            }
        }
    }

    /// Records a frame that opens this stream, if it is a client's (RFC 9000 section 2.1).
    fn open(&mut self, id: u64) {
        if id & 1 == 0 {
            let is_bidi = id & 2 == 0;
            let opened = if is_bidi { &mut self.opened.bidi } else { &mut self.opened.uni };
            *opened = (*opened).max((id >> 2) + 1);
        }
    }

    /// RFC 9000 sections 4.6 and 19.13. quiche does not report its current limit. It keeps the
    /// initial one until half of it is used, and then adds one for each finished stream. There are
    /// at most as many of those as opened streams, so a frame up to that far beyond the limit may
    /// go unpunished.
    fn check(&mut self, id: u64) {
        let (allowed, opened) = match id & 3 {
            0 => (self.allowed.bidi, self.opened.bidi),
            2 => (self.allowed.uni, self.opened.uni),
            _ => {
                self.wrong_stream =
                    Some((STREAM_STATE_ERROR, "not a stream that a client sends on"));
                return;
            }
        };
        let is_first = allowed.saturating_sub(opened) > allowed / 2;
        let limit = if is_first { allowed } else { allowed + opened };
        if id >> 2 >= limit {
            self.wrong_stream = Some((STREAM_LIMIT_ERROR, "a stream above the limit"));
        }
    }

    fn hold(&mut self, id: u64, at: u64, len: u64, is_over: impl Fn(u64) -> bool) {
        let found = self.streams.binary_search_by_key(&id, |stream| stream.id);
        let index = match found {
            Ok(index) => index,
            Err(_) if is_over(id) => return,
            Err(index) => self.insert(index, id),
        };
        let stream = &mut self.streams[index];
        let goes_on = at >= stream.end;
        stream.end = stream.end.max(at + len);
        if stream.is_stopped || at + len <= stream.read || goes_on && len >= LONG {
            return;
        }
        let held = if stream.old.count == 0 { &mut stream.old } else { &mut stream.new };
        // A frame is at most a datagram long.
        let count = len.div_ceil(ORDINARY) as u32;
        held.count += count;
        held.end = held.end.max(at + len);
        self.held += count;
    }

    fn insert(&mut self, index: usize, id: u64) -> usize {
        self.streams.insert(index, Stream { id, ..Stream::default() });
        index
    }

    /// Records that `len` octets of a stream have been read, up to its end if `is_end`.
    pub(crate) fn read(&mut self, id: u64, len: usize, is_end: bool) {
        if is_end {
            return self.forget(id);
        }
        let found = self.streams.binary_search_by_key(&id, |stream| stream.id);
        let index = found.unwrap_or_else(|index| self.insert(index, id));
        let stream = &mut self.streams[index];
        stream.read += len as u64;
        stream.end = stream.end.max(stream.read);
        while stream.old.count > 0 && stream.read >= stream.old.end {
            self.held -= stream.old.count;
            stream.old = std::mem::take(&mut stream.new);
        }
    }

    /// Records that a stream has ended or been reset.
    pub(crate) fn forget(&mut self, id: u64) {
        // Most requests are one frame, which leaves no record here.
        if let Ok(index) = self.streams.binary_search_by_key(&id, |stream| stream.id) {
            let stream = self.streams.remove(index);
            self.held -= stream.old.count + stream.new.count;
        }
    }

    /// Records that a stream will no longer be read, although more of it may arrive.
    pub(crate) fn stop(&mut self, id: u64, is_over: impl Fn(u64) -> bool) {
        self.streams.retain(|stream| !stream.is_stopped || !is_over(stream.id));
        self.forget(id);
        if !is_over(id)
            && let Err(index) = self.streams.binary_search_by_key(&id, |stream| stream.id)
        {
            self.insert(index, id);
            self.streams[index].is_stopped = true;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::cid;

    /// The authentication tag at the end of every packet.
    const TAG: usize = 16;

    const ALL: KnownKeys = KnownKeys { early: true, established: true };
    const LATE: KnownKeys = KnownKeys { early: false, established: true };

    const STREAMS: Streams = Streams { bidi: 100, uni: 16 };

    fn varint(value: u64) -> Vec<u8> {
        (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec()
    }

    fn stream(id: u64, at: u64, content: &[u8]) -> Vec<u8> {
        let head = [varint(id), varint(at), varint(content.len() as u64)].concat();
        [&[0x0e][..], &head, content].concat()
    }

    /// A decrypted 1-RTT packet.
    fn short(frames: &[u8]) -> Vec<u8> {
        [&[0x41][..], &[7; cid::LEN], &[0, 1], frames, &[0xee; TAG]].concat()
    }

    /// A decrypted packet with a long header.
    fn long(kind: u8, frames: &[u8]) -> Vec<u8> {
        let token = if kind == 0 { &[3, 1, 1, 1][..] } else { &[] };
        let len = varint((1 + frames.len() + TAG) as u64);
        let head = [0xc0 | kind << 4, 0, 0, 0, 1, 2, 9, 9, 1, 9];
        [&head[..], token, &len, &[0], frames, &[0xee; TAG]].concat()
    }

    fn living(_: u64) -> bool {
        false
    }

    #[test]
    fn every_frame_is_stepped_over() {
        let kinds: [&[u8]; 18] = [
            &[0, 0, 1],
            &[2, 9, 0, 1, 0, 1, 1],
            &[3, 9, 0, 0, 0, 1, 2, 3],
            &[4, 0, 1, 2],
            &[5, 0, 1],
            &[0x10, 0x40, 5],
            &[0x11, 0, 5],
            &[0x12, 5],
            &[0x13, 5],
            &[0x14, 5],
            &[0x15, 0, 5],
            &[0x16, 5],
            &[0x17, 5],
            &[0x18, 1, 0, 2, 8, 8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            &[0x19, 1],
            &[0x1a, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x1b, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x1e],
        ];
        for frames in kinds {
            let mut fragments = Fragments::new(10, STREAMS);
            let datagram = short(&[frames, &stream(0, 9, b"x")].concat());
            fragments.count(&datagram, ALL, living);
            assert_eq!(fragments.held, 1, "{frames:x?}");
            // Truncated packets are never read past their end.
            for end in 0..datagram.len() {
                Fragments::new(10, STREAMS).count(&datagram[..end], ALL, living);
            }
        }
    }

    #[test]
    fn packets_without_keys_are_ignored() {
        let frames = stream(0, 9, b"x");
        let datagram =
            [long(0, &[6, 0, 1, 1]), long(2, &[6, 1, 1, 1]), long(1, &frames), short(&frames)];
        let counted = |early, established| {
            let mut fragments = Fragments::new(10, STREAMS);
            fragments.count(&datagram.concat(), KnownKeys { early, established }, living);
            (fragments.crypto, fragments.held)
        };
        assert_eq!(counted(false, false), (2, 0));
        assert_eq!(counted(true, false), (2, 1));
        assert_eq!(counted(true, true), (2, 2));
    }

    #[test]
    fn long_whole_and_repeated_frames_are_free() {
        let mut fragments = Fragments::new(10, STREAMS);
        fragments.count(&short(&stream(0, 9, &[1; LONG as usize])), ALL, living);
        fragments.count(&short(&[0x0b, 4, 2, 1, 1]), ALL, living);
        fragments.count(&short(&stream(8, 9, b"")), ALL, living);
        fragments.count(&short(&stream(12, 9, b"over")), ALL, |id| id == 12);
        fragments.read(16, 100, false);
        fragments.count(&short(&stream(16, 90, b"again")), ALL, living);
        fragments.count(&short(&stream(16, 100, &[1; LONG as usize])), ALL, living);
        assert!(!fragments.any());
        let known: Vec<u64> = fragments.streams.iter().map(|stream| stream.id).collect();
        assert_eq!(known, [0, 16]);
    }

    /// quiche keeps a whole frame if one octet of it is new.
    #[test]
    fn long_frames_that_overlap_are_counted() {
        for len in [LONG, 1350] {
            let content = vec![1; len as usize];
            let mut fragments = Fragments::new(10, STREAMS);
            for n in 0..=11 {
                assert_eq!(fragments.excess(), None, "{n} of {len}");
                fragments.count(&short(&stream(0, 9000 - n, &content)), ALL, living);
            }
            assert_eq!(fragments.excess(), Some(Excess::Content), "{len}");
        }
        // Fragments that fill gaps are released when they are read.
        let mut fragments = Fragments::new(10, STREAMS);
        for n in [1, 3, 2, 0] {
            fragments.count(&short(&stream(0, n * LONG, &[1; LONG as usize])), ALL, living);
        }
        assert_eq!(fragments.held, 2);
        fragments.read(0, 4 * LONG as usize, false);
        assert_eq!(fragments.held, 0);
        // A frame as large as many ordinary ones counts as many.
        fragments.count(&short(&stream(0, 9000, &[1; 9000])), ALL, living);
        fragments.count(&short(&stream(0, 8999, &[1; 9000])), ALL, living);
        assert_eq!(fragments.held, 6);
    }

    /// Row 93: the first stream above the limit, in either direction, and streams that a client
    /// cannot send on. The limit grows no sooner than quiche's.
    #[test]
    fn row_93_blocked_streams_above_the_limit() {
        let blocked = |id: u64| short(&[&[0x15][..], &varint(id), &[1]].concat());
        let after = |opened: u64, id: u64| {
            let mut fragments = Fragments::new(10, STREAMS);
            if opened > 0 {
                fragments.count(&short(&stream(4 * (opened - 1), 0, b"x")), LATE, living);
            }
            fragments.count(&blocked(id), LATE, living);
            fragments.wrong_stream().map(|(code, _)| code)
        };
        for opened in [0, 1, 49] {
            assert_eq!(after(opened, 4 * 99), None);
            assert_eq!(after(opened, 4 * 100), Some(STREAM_LIMIT_ERROR));
        }
        assert_eq!(after(50, 4 * 149), None);
        assert_eq!(after(50, 4 * 150), Some(STREAM_LIMIT_ERROR));
        assert_eq!((after(0, 2 + 4 * 15), after(0, 2 + 4 * 16)), (None, Some(STREAM_LIMIT_ERROR)));
        assert_eq!(
            (after(0, 1), after(0, 3)),
            (Some(STREAM_STATE_ERROR), Some(STREAM_STATE_ERROR))
        );
        // quiche may have accepted early data that was not seen here.
        let mut fragments = Fragments::new(10, STREAMS);
        fragments.count(&blocked(4 * 199), ALL, living);
        assert_eq!(fragments.wrong_stream(), None);
    }

    #[test]
    fn stop_sending_frames_are_recorded() {
        let mut fragments = Fragments::new(10, STREAMS);
        fragments.count(&short(&[5, 4, 9, 5, 8, 9]), ALL, living);
        assert_eq!((fragments.stops(), fragments.has_stopped_ours()), (2, false));
        fragments.count(&short(&[5, 7, 9]), ALL, living);
        assert_eq!((fragments.stops(), fragments.has_stopped_ours()), (3, true));
    }

    /// A stream that always has a gap: fragments are still released when they are read.
    #[test]
    fn fragments_are_released_as_they_are_read() {
        let mut fragments = Fragments::new(10, STREAMS);
        for at in 0..1000 {
            fragments.count(&short(&stream(0, at * 100 + 50, b"x")), ALL, living);
            fragments.read(0, 100, false);
            assert!(fragments.held <= 2, "{} at {at}", fragments.held);
        }
        fragments.read(0, 100, true);
        assert!(!fragments.any() && fragments.streams.is_empty());
    }

    #[test]
    fn abandoned_streams_hold_nothing() {
        let mut fragments = Fragments::new(10, STREAMS);
        for id in (0..400).step_by(4) {
            fragments.count(&short(&stream(id, 5, b"x")), ALL, living);
            fragments.stop(id, |other| other < id);
            fragments.count(&short(&stream(id, 9, b"x")), ALL, living);
            assert!(!fragments.any() && fragments.streams.len() <= 2);
        }
        assert_eq!(fragments.excess(), None);
    }

    #[test]
    fn one_more_than_the_bound_is_too_many() {
        let mut fragments = Fragments::new(10, STREAMS);
        for n in 0..11 {
            assert_eq!(fragments.excess(), None);
            fragments.count(&short(&stream(n % 3 * 4, 2 * n + 1, b"x")), ALL, living);
        }
        assert_eq!(fragments.excess(), Some(Excess::Content));
        let mut fragments = Fragments::new(10, STREAMS);
        for _ in 0..=CRYPTO_FRAMES {
            assert_eq!(fragments.excess(), None);
            fragments.count(&long(0, &[6, 2, 1, 1]), ALL, living);
        }
        assert_eq!(fragments.excess(), Some(Excess::Crypto));
    }
}
