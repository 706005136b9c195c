//! Segment batches: datagrams of one size, laid end to end, that the kernel splits (UDP_SEGMENT),
//! so a burst costs one system call and one pass through the network stack. The control messages
//! for the kernel are built elsewhere.

use std::net::SocketAddr;

/// The most segments per message (`UDP_MAX_SEGMENTS` before Linux 6.9, and enough for later
/// kernels).
pub const SEGMENTS_MAX: usize = 64;

/// The most payload one UDP message can carry over IPv4.
pub const BYTES_MAX: usize = 65_507;

/// One message for a UDP socket: `len` bytes at the start of the buffer that was filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The peer.
    pub to: SocketAddr,
    /// The local address to send from. It selects the socket and, on a wildcard socket, goes into
    /// PKTINFO.
    pub from: SocketAddr,
    /// Bytes to send.
    pub len: usize,
    /// The size of every datagram but the last, which may be shorter; `None` for a single datagram,
    /// which needs no control message.
    pub segment_size: Option<u16>,
}

impl Transmit {
    /// Datagrams in this message.
    pub fn segments(&self) -> usize {
        self.segment_size.map_or(1, |size| self.len.div_ceil(usize::from(size)))
    }

    /// The ranges of the datagrams, for paths without segmentation.
    pub fn datagrams(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let (len, size) = (self.len, self.segment_size.map_or(self.len, usize::from));
        (0..len).step_by(size.max(1)).map(move |at| at..(at + size).min(len))
    }
}

/// A batch under construction.
pub(crate) struct Batch {
    to: SocketAddr,
    from: SocketAddr,
    segment: usize,
    len: usize,
    segments: usize,
    ended: bool,
}

impl Batch {
    /// Begins with a datagram of `len` bytes.
    pub(crate) fn begin(to: SocketAddr, from: SocketAddr, len: usize) -> Self {
        assert!(len > 0, "an empty datagram is nothing to send");
        Self { to, from, segment: len, len, segments: 1, ended: false }
    }

    /// Adds the datagram that follows the batch in its buffer, if it fits; returns whether it was
    /// added.
    pub(crate) fn join(&mut self, to: SocketAddr, from: SocketAddr, len: usize) -> bool {
        let fits = !self.is_full() && len <= self.segment && (to, from) == (self.to, self.from);
        if fits {
            self.len += len;
            self.segments += 1;
            // Only the last segment may be shorter.
            self.ended = len < self.segment;
        }
        fits
    }

    /// Whether no further datagram can join.
    pub(crate) fn is_full(&self) -> bool {
        self.ended || self.segments == SEGMENTS_MAX || self.len + self.segment > BYTES_MAX
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The end of the batch with one more full segment.
    pub(crate) fn next_end(&self) -> usize {
        self.len + self.segment
    }

    pub(crate) fn finish(self) -> Transmit {
        let segment_size = (self.segments > 1).then_some(self.segment as u16);
        Transmit { to: self.to, from: self.from, len: self.len, segment_size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> (SocketAddr, SocketAddr) {
        ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap())
    }

    #[test]
    fn equal_segments_and_a_shorter_last_one() {
        let (to, from) = addresses();
        let mut batch = Batch::begin(to, from, 1200);
        assert!(batch.join(to, from, 1200));
        assert!(!batch.join(to, from, 1201), "longer than the first");
        assert!(!batch.join(from, to, 1200), "another path");
        assert!(batch.join(to, from, 7));
        assert!(!batch.join(to, from, 7), "nothing follows a short segment");
        let transmit = batch.finish();
        assert_eq!(transmit, Transmit { to, from, len: 2407, segment_size: Some(1200) });
        assert_eq!(transmit.segments(), 3);
        assert_eq!(transmit.datagrams().collect::<Vec<_>>(), [0..1200, 1200..2400, 2400..2407]);
    }

    #[test]
    fn a_lone_datagram_has_no_segment_size() {
        let (to, from) = addresses();
        let transmit = Batch::begin(to, from, 40).finish();
        assert_eq!((transmit.segment_size, transmit.segments()), (None, 1));
        assert!(transmit.datagrams().eq(std::iter::once(0..40)));
    }

    #[test]
    fn both_bounds_of_the_kernel_hold() {
        let (to, from) = addresses();
        for size in [1, 100, 1023, 1024, 1452, 16_000, 65_507] {
            let mut batch = Batch::begin(to, from, size);
            while batch.join(to, from, size) {}
            let transmit = batch.finish();
            assert!(transmit.segments() <= SEGMENTS_MAX && transmit.len <= BYTES_MAX);
            assert!(transmit.segments() == SEGMENTS_MAX || transmit.len + size > BYTES_MAX);
        }
    }
}
