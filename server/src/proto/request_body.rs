//! Incoming request bodies: where the bytes go, and whether they come fast enough. Each protocol
//! handles its own framing.

use std::rc::Rc;

use ringway_codec::Time;

use crate::app::body_channel::{BodyChannel, End};
use crate::app::handler::{Handler, Reply};
use crate::app::request::OwnedRequest;
use crate::config::{Limits, least};
use crate::ring::send::{Owner, Pinned};
use crate::rt::executor::TaskOwner;
use crate::rt::thread_state::Waiter;

/// If a reader leaves this many bytes unread, the delay is the reader's and not the client's.
const BEHIND: u64 = 4096;

/// Where a request's body goes.
pub(crate) struct Sink {
    target: Target,
    /// Bytes received since `mark`, for the minimum rate.
    received: u64,
    mark: Time,
    /// The protocol accepts no more bytes until the handler reads.
    is_held: bool,
}

enum Target {
    /// Gathered in the request, which is handled when the body is complete.
    Buffer { request: Box<OwnedRequest>, limit: u64 },
    /// Streamed to a handler: `written` counts bytes put into the channel, `read` those known to be
    /// read.
    Channel { channel: BodyChannel, written: u64, read: u64 },
}

/// What happened to body bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// They are consumed.
    Used,
    /// They wait for the handler to read them.
    Queued,
    /// They have no reader.
    Unread,
}

/// The body is larger than allowed.
pub(crate) struct TooLarge;

impl Sink {
    /// Gathers the body in the request, up to `limit` bytes.
    pub(crate) fn buffer(request: Box<OwnedRequest>, limit: u64, now: Time) -> Self {
        Self::to(Target::Buffer { request, limit }, now)
    }

    /// Streams the body to a handler.
    pub(crate) fn channel(channel: BodyChannel, now: Time) -> Self {
        Self::to(Target::Channel { channel, written: 0, read: 0 }, now)
    }

    fn to(target: Target, now: Time) -> Self {
        Self { target, received: 0, mark: now, is_held: false }
    }

    /// Takes body bytes.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Taken, TooLarge> {
        if std::mem::take(&mut self.is_held) {
            self.forgive();
        }
        self.received += bytes.len() as u64;
        match &mut self.target {
            Target::Buffer { request, limit } => {
                if (request.body.len() + bytes.len()) as u64 > *limit {
                    return Err(TooLarge);
                }
                request.body.extend_from_slice(bytes);
                Ok(Taken::Used)
            }
            Target::Channel { channel, .. } if channel.reader_gone() => Ok(Taken::Unread),
            Target::Channel { channel, written, .. } => {
                *written += bytes.len() as u64;
                channel.push(Pinned::new(Owner::Owned(Rc::new(bytes.to_vec())), 0..bytes.len()));
                Ok(Taken::Queued)
            }
        }
    }

    /// Adds a trailer. Trailers of a buffered body are dropped.
    pub(crate) fn add_trailer(&self, name: &[u8], value: &[u8]) {
        if let Target::Channel { channel, .. } = &self.target {
            channel.add_trailer(name, value);
        }
    }

    /// The body is complete: calls the handler if it waited for that.
    pub(crate) fn complete(self, app: &dyn Handler) -> Option<Reply> {
        match self.target {
            Target::Buffer { request, .. } => Some(app.call(&request.view())),
            Target::Channel { channel, .. } => {
                channel.finish(End::Complete);
                None
            }
        }
    }

    /// The body is aborted: the rest will not come.
    pub(crate) fn abort(&self) {
        if let Target::Channel { channel, .. } = &self.target {
            channel.finish(End::Aborted);
        }
    }

    /// True while the handler must read before more is accepted.
    pub(crate) fn is_full(&self) -> bool {
        matches!(&self.target, Target::Channel { channel, .. } if channel.is_full())
    }

    /// True while a handler reads the body as a stream.
    pub(crate) fn has_reader(&self) -> bool {
        matches!(&self.target, Target::Channel { channel, .. } if !channel.reader_gone())
    }

    /// False where the reply is there and reads nothing of the body, which is a refusal. An echo
    /// reads it while it is sent.
    pub(crate) fn is_wanted(&self, reply: &Reply) -> bool {
        matches!(reply, Reply::Later(_)) || self.has_reader()
    }

    /// Has `owner` told when the handler has read.
    pub(crate) fn wait(&self, owner: TaskOwner) {
        if let Target::Channel { channel, .. } = &self.target
            && !channel.reader_gone()
        {
            channel.wait_write(Waiter::Conn(owner.conn, owner.stream));
        }
    }

    /// Same as [`Self::wait`]; no more bytes are accepted until then.
    pub(crate) fn hold(&mut self, owner: TaskOwner) {
        self.is_held = true;
        self.wait(owner);
    }

    /// Restarts the rate window: the reader, not the client, set the pace.
    fn forgive(&mut self) {
        self.received = u64::MAX / 2;
    }

    /// How much the handler has read since the last call. `owner` is notified of the next read.
    pub(crate) fn take_read(&mut self, owner: TaskOwner) -> usize {
        self.wait(owner);
        let Target::Channel { channel, written, read } = &mut self.target else { return 0 };
        let now = *written - channel.len() as u64;
        let fresh = now - *read;
        *read = now;
        if fresh + channel.len() as u64 >= BEHIND {
            self.forgive();
        }
        fresh as usize
    }

    /// When the body's minimum rate is checked next.
    pub(crate) fn due(&self, limits: &Limits) -> Time {
        self.mark + limits.rate_grace
    }

    /// True if too few bytes came in the window that has ended; otherwise a new window begins. The
    /// client is not to blame while its reader has more to read, nor once the request
    /// `is_answered`: an exchange in both directions proceeds at the handler's pace.
    pub(crate) fn is_slow(&mut self, is_answered: bool, now: Time, limits: &Limits) -> bool {
        let window = now.since(self.mark);
        let waits = !is_answered
            && match &self.target {
                Target::Buffer { .. } => true,
                Target::Channel { channel, .. } => channel.len() == 0 && !channel.reader_gone(),
            };
        if waits && window < limits.rate_grace {
            return false;
        }
        if waits && self.received < least(limits.body_rate, window) {
            return true;
        }
        (self.mark, self.received) = (now, 0);
        false
    }
}
