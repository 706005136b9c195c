//! A request's body on its way in: framing taken off, bytes to where they are wanted.

use std::rc::Rc;
use std::time::Duration;

use ringway_codec::Time;
use ringway_codec::h1::chunked::{self, Decoder, Item};
use ringway_codec::h1::{Error, request};

use super::Cx;
use crate::app::body_channel::{BodyChannel, End};
use crate::app::request::OwnedRequest;
use crate::config::{Limits, least};
use crate::ring::send::{Owner, Pinned};
use crate::ring::token::Id;
use crate::rt::thread_state::Waiter;

/// A body that nobody wants is read to its end if no more than this is left of it, so that the
/// connection can stay; beyond, closing is cheaper.
const DISCARD_MAX: u64 = 64 * 1024;

/// A request's body on its way in.
pub(crate) struct Incoming {
    framing: Framing,
    sink: Sink,
    /// Bytes that came since `mark`, for the minimum rate; no mark while the reader is the slow
    /// one.
    received: u64,
    mark: Option<Time>,
    /// Bytes that may still be thrown away.
    discard: u64,
}

enum Framing {
    Length(u64),
    Chunked(Decoder),
}

/// Where body bytes go.
pub(crate) enum Sink {
    /// Into the request, which is handled when the body is complete.
    Buffer { request: Box<OwnedRequest>, limit: u64 },
    /// To a handler that reads as they come.
    Channel(BodyChannel),
}

/// What receiving came to.
pub(crate) enum Progress {
    /// More has to come, or the reader has to read.
    More,
    /// The body is complete.
    Complete,
    /// It is larger than allowed.
    TooLarge,
    /// Nobody reads it, and there is too much left to throw away.
    Unwanted,
    /// Its framing is broken.
    Invalid(Error),
}

impl Incoming {
    pub(crate) fn new(framing: request::Framing, sink: Sink, cx: &Cx<'_>) -> Self {
        let framing = match framing {
            request::Framing::None => Framing::Length(0),
            request::Framing::Length(length) => Framing::Length(length),
            request::Framing::Chunked => Framing::Chunked(decoder(cx.limits)),
        };
        Self { framing, sink, received: 0, mark: Some(cx.now), discard: DISCARD_MAX }
    }

    /// Uses input; `used` grows by as much.
    pub(crate) fn receive(
        &mut self,
        input: &[u8],
        used: &mut usize,
        conn: Id,
        cx: &mut Cx<'_>,
    ) -> Progress {
        loop {
            if let Framing::Length(0) = self.framing {
                return self.complete();
            }
            if let Sink::Channel(channel) = &self.sink
                && channel.is_full()
            {
                channel.wait_write(Waiter::Conn(conn, 0));
                self.mark = None;
                return Progress::More;
            }
            self.mark.get_or_insert(cx.now);
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
                        if let Sink::Channel(channel) = &self.sink {
                            channel.add_trailer(field.name(input), field.value(input));
                        }
                        continue;
                    }
                    Ok(Item::More) => return Progress::More,
                    Ok(Item::End) => return self.complete(),
                    Err(error) => return Progress::Invalid(error),
                },
            };
            self.received += data.len() as u64;
            if let Err(refusal) = self.sink.take(data, &mut self.discard) {
                return refusal;
            }
        }
    }

    /// Whether the answer can be written without closing, although the body is not all there: its
    /// reader still reads, or what is left can be thrown away.
    pub(crate) fn may_be_discarded(&mut self) -> bool {
        match (&self.sink, &self.framing) {
            (Sink::Channel(channel), _) if !channel.reader_gone() => true,
            (_, Framing::Length(left)) => *left <= self.discard,
            (_, Framing::Chunked(_)) => true,
        }
    }

    /// True while the handler has to read before more can be taken.
    pub(crate) fn waits_for_reader(&self) -> bool {
        self.mark.is_none()
    }

    /// When too little may have come.
    pub(crate) fn deadline(&self, grace: Duration) -> Time {
        self.mark.map_or(Time::NEVER, |mark| mark + grace)
    }

    /// Whether too little has come since the mark; moves the mark if not.
    pub(crate) fn is_slow(&mut self, cx: &Cx<'_>) -> bool {
        let Some(mark) = self.mark else { return false };
        if self.received < least(cx.limits.body_rate, cx.now.since(mark)) {
            return true;
        }
        self.mark = Some(cx.now);
        self.received = 0;
        false
    }

    pub(crate) fn into_sink(self) -> Sink {
        self.sink
    }

    /// The rest will not come.
    pub(crate) fn abort(self) {
        if let Sink::Channel(channel) = self.sink {
            channel.finish(End::Aborted);
        }
    }

    fn complete(&self) -> Progress {
        if let Sink::Channel(channel) = &self.sink {
            channel.finish(End::Complete);
        }
        Progress::Complete
    }
}

/// A decoder with the configured bounds.
pub(crate) fn decoder(limits: &Limits) -> Decoder {
    Decoder::new(chunked::Limits {
        extension_bytes: limits.chunk_extension_bytes,
        trailer_fields: limits.trailer_fields,
        ..chunked::Limits::default()
    })
}

impl Sink {
    fn take(&mut self, data: &[u8], discard: &mut u64) -> Result<(), Progress> {
        match self {
            Self::Buffer { request, limit } => {
                if (request.body.len() + data.len()) as u64 > *limit {
                    return Err(Progress::TooLarge);
                }
                request.body.extend_from_slice(data);
            }
            Self::Channel(channel) if channel.reader_gone() => {
                *discard = discard.checked_sub(data.len() as u64).ok_or(Progress::Unwanted)?;
            }
            Self::Channel(channel) => {
                channel.push(Pinned::new(Owner::Owned(Rc::new(data.to_vec())), 0..data.len()));
            }
        }
        Ok(())
    }
}
