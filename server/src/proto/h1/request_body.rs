//! Incoming request bodies: removes the framing (RFC 9112 sections 6 and 7).

use ringway_codec::h1::chunked::{ChunkLimits, ChunkedDecoder, Item};
use ringway_codec::h1::{Error, request};

use super::super::request_body::{Sink, Taken};
use crate::config::Limits;
use crate::rt::executor::TaskOwner;

/// An unwanted body is read to its end if at most this many bytes remain, which keeps the
/// connection open. Beyond that, closing is cheaper.
const DISCARD_MAX: u64 = 64 * 1024;

/// A request's body on its way in.
pub(super) struct IncomingBody {
    framing: Framing,
    pub(super) sink: Sink,
    /// Bytes that may still be discarded.
    discard: u64,
}

enum Framing {
    Length(u64),
    Chunked(ChunkedDecoder),
}

/// Result of receiving.
pub(super) enum Progress {
    /// More input is needed, or the reader must read first.
    More,
    /// The body is complete.
    Complete,
    /// The body is larger than allowed.
    TooLarge,
    /// The body has no reader, and too much remains to discard.
    Unwanted,
    /// The framing is invalid.
    Invalid(Error),
}

impl IncomingBody {
    pub(super) fn new(framing: request::Framing, sink: Sink, limits: &Limits) -> Self {
        let framing = match framing {
            request::Framing::None => Framing::Length(0),
            request::Framing::Length(length) => Framing::Length(length),
            request::Framing::Chunked => Framing::Chunked(decoder(limits)),
        };
        Self { framing, sink, discard: DISCARD_MAX }
    }

    /// Consumes input and advances `used`. `owner` is notified when a reader that was behind has
    /// read.
    pub(super) fn receive(&mut self, input: &[u8], used: &mut usize, owner: TaskOwner) -> Progress {
        loop {
            if let Framing::Length(0) = self.framing {
                return Progress::Complete;
            }
            if self.sink.is_full() {
                self.sink.hold(owner);
                return Progress::More;
            }
            let data = match &mut self.framing {
                Framing::Length(left) => {
                    let there = (input.len() - *used) as u64;
                    if there == 0 {
                        return Progress::More;
                    }
                    let take = there.min(*left) as usize;
                    *left -= take as u64;
                    *used += take;
                    &input[*used - take..*used]
                }
                Framing::Chunked(decoder) => match decoder.next(input, used) {
                    Ok(Item::Data(range)) => &input[range],
                    Ok(Item::Trailer(field)) => {
                        self.sink.add_trailer(field.name(input), field.value(input));
                        continue;
                    }
                    Ok(Item::More) => return Progress::More,
                    Ok(Item::End) => return Progress::Complete,
                    Err(error) => return Progress::Invalid(error),
                },
            };
            match self.sink.take(data) {
                Ok(Taken::Used | Taken::Queued) => {}
                Ok(Taken::Unread) => match self.discard.checked_sub(data.len() as u64) {
                    Some(rest) => self.discard = rest,
                    None => return Progress::Unwanted,
                },
                Err(_) => return Progress::TooLarge,
            }
        }
    }

    /// True if the answer can be written without closing while the body is incomplete: its reader
    /// still reads, or the rest can be discarded.
    pub(super) fn may_be_discarded(&self) -> bool {
        match self.framing {
            _ if self.sink.has_reader() => true,
            Framing::Length(left) => left <= self.discard,
            Framing::Chunked(_) => true,
        }
    }
}

/// A decoder with the configured limits.
pub(super) fn decoder(limits: &Limits) -> ChunkedDecoder {
    ChunkedDecoder::new(ChunkLimits {
        extension_bytes: limits.chunk_extension_bytes,
        trailer_fields: limits.trailer_fields,
        ..ChunkLimits::default()
    })
}
