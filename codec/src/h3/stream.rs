//! Incomplete requests: small records, found by stream id. RFC 9114 section 4.1.

use super::frame::Integers;
use alloc::vec::Vec;

/// The next part expected on a request stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// The request's field section.
    #[default]
    Head,
    /// Content, then perhaps trailers.
    Body,
    /// Trailers have arrived: only unknown frames may follow.
    Trailers,
}

/// The current frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Frame {
    /// None: a frame's head is next.
    #[default]
    None,
    /// HEADERS.
    Section,
    /// DATA.
    Data,
    /// A frame whose payload is ignored.
    Skipped,
}

/// One request stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) id: u64,
    pub(super) phase: Phase,
    pub(super) frame: Frame,
    /// Its section waits for table entries.
    pub(super) is_blocked: bool,
    pub(super) integers: Integers,
    /// Bytes of `frame` still to come.
    pub(super) left: u64,
    /// Content still announced by content-length.
    pub(super) body_left: Option<u64>,
    /// The part of an encoded section from earlier calls, or all of it while blocked.
    pub(super) block: Vec<u8>,
}

/// The records, ordered by id. Clients open streams in order, so insertion is at the end. A
/// connection has few incomplete requests, so shifting the rest at a removal costs little.
#[derive(Debug, Default)]
pub(super) struct Streams {
    all: Vec<Stream>,
}

impl Streams {
    /// The index of `id`'s record, created if missing. Valid until the next removal or insertion.
    pub(super) fn place(&mut self, id: u64) -> usize {
        match self.find(id) {
            Ok(at) => at,
            Err(at) => {
                self.all.insert(at, Stream { id, ..Stream::default() });
                at
            }
        }
    }

    pub(super) fn at(&mut self, place: usize) -> &mut Stream {
        &mut self.all[place]
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Stream> {
        self.find(id).ok().map(|at| self.all.remove(at))
    }

    pub(super) fn heads(&self) -> impl Iterator<Item = u64> + '_ {
        self.all.iter().filter(|stream| stream.phase == Phase::Head).map(|stream| stream.id)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    fn find(&self, id: u64) -> Result<usize, usize> {
        match self.all.last() {
            None => Err(0),
            Some(last) if last.id == id => Ok(self.all.len() - 1),
            Some(last) if last.id < id => Err(self.all.len()),
            Some(_) => self.all.binary_search_by_key(&id, |stream| stream.id),
        }
    }
}
