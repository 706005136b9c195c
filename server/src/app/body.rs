//! Streaming bodies: a request's as it arrives, a response's as it is produced.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::app::body_channel::{BodyChannel, End, Read};
use crate::app::content::Body;
use crate::ring::send::Pinned;
use crate::rt::executor::UnitFuture;
use crate::rt::thread_state::Waiter;

/// A request's body as it arrives. It may be dropped unread: the server then reads the rest off the
/// connection or closes it, whichever is cheaper.
pub struct RequestBody {
    channel: BodyChannel,
    limit: Option<Limit>,
}

/// A route's limit on the body, and how much of it is left.
struct Limit {
    left: u64,
    exceeded: Rc<Cell<bool>>,
}

/// A piece of a body.
pub struct Chunk(Pinned);

impl Chunk {
    /// The bytes, owned and cheap to clone. Copies only if the buffer is shared.
    pub fn into_bytes(self) -> Bytes {
        self.0.into_bytes()
    }
}

impl From<Chunk> for Bytes {
    /// Same as [`Chunk::into_bytes`].
    fn from(chunk: Chunk) -> Self {
        chunk.0.into_bytes()
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes)", self.len())
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// A body ended before it was complete. For a request: the client left, broke the framing, was too
/// slow, or sent more than the route allows. For a response: the producer gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incomplete;

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body ended before it was complete")
    }
}

impl std::error::Error for Incomplete {}

/// Maximum size of a chunk handed to a reader.
const CHUNK_MAX: usize = 256 * 1024;

impl RequestBody {
    pub(crate) fn new(channel: BodyChannel) -> Self {
        Self { channel, limit: None }
    }

    /// Ends the body once it is larger than `bytes`. The returned cell tells whether that happened.
    pub(crate) fn limit(&mut self, bytes: u64) -> Rc<Cell<bool>> {
        let exceeded = Rc::default();
        self.limit = Some(Limit { left: bytes, exceeded: Rc::clone(&exceeded) });
        exceeded
    }

    /// The body of a request that has none.
    pub(crate) fn empty() -> Self {
        let channel = BodyChannel::default();
        channel.finish(End::Complete);
        Self::new(channel)
    }

    /// A body that is already complete.
    fn whole(bytes: Pinned) -> Self {
        let channel = BodyChannel::default();
        channel.push(bytes);
        channel.finish(End::Complete);
        Self::new(channel)
    }

    /// The next chunk, in order; `None` after the last. Until the next call, a bounded amount is
    /// buffered and the client has to wait.
    pub async fn next(&mut self) -> Option<Result<Chunk, Incomplete>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The trailers (RFC 9110 section 6.5). Complete once [`Self::next`] has returned `None`.
    pub fn trailers(&self) -> Vec<(String, String)> {
        self.channel.take_trailers()
    }

    /// True once the whole body has been read.
    pub(crate) fn is_over(&self) -> bool {
        self.channel.len() == 0 && self.channel.is_finished() && !self.channel.has_trailers()
    }

    /// Number of buffered bytes, and whether the body ends with them. False if there are trailers:
    /// a body with trailers cannot be sent with a content-length, which has no place for them in
    /// HTTP/1.1.
    pub(crate) fn waiting(&self) -> (u64, bool) {
        let whole = self.channel.is_finished() && !self.channel.has_trailers();
        (self.channel.len() as u64, whole)
    }

    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Chunk, Incomplete>>> {
        if self.limit.as_ref().is_some_and(|limit| limit.exceeded.get()) {
            return Poll::Ready(Some(Err(Incomplete)));
        }
        match self.channel.read(CHUNK_MAX) {
            Read::Chunk(chunk) if self.exceeds(chunk.len()) => Poll::Ready(Some(Err(Incomplete))),
            Read::Chunk(chunk) => Poll::Ready(Some(Ok(Chunk(chunk)))),
            Read::End(End::Complete) => Poll::Ready(None),
            Read::End(End::Aborted) => Poll::Ready(Some(Err(Incomplete))),
            Read::Empty => {
                self.channel.wait_read(Waiter::Task(context.waker().clone()));
                Poll::Pending
            }
        }
    }

    /// Subtracts bytes from the limit. True if they exceed it; the rest is then no longer waited
    /// for.
    fn exceeds(&mut self, bytes: usize) -> bool {
        let Some(limit) = &mut self.limit else { return false };
        if let Some(left) = limit.left.checked_sub(bytes as u64) {
            limit.left = left;
            return false;
        }
        limit.exceeded.set(true);
        self.channel.close_reader();
        true
    }
}

impl From<Vec<u8>> for RequestBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self::whole(Body::from(bytes).pin())
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        Self::whole(Body::from(bytes).pin())
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("waiting", &self.channel.len()).finish_non_exhaustive()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.channel.close_reader();
    }
}

/// Where a producer writes a response's body.
pub struct BodyWriter {
    channel: BodyChannel,
}

/// The body is no longer read: the client left, or the body is not sent (HEAD).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client no longer reads the response")
    }
}

impl std::error::Error for Closed {}

impl BodyWriter {
    /// Queues bytes and waits until there is room for more.
    pub async fn write(&mut self, bytes: impl Into<Body>) -> Result<(), Closed> {
        self.channel.push(bytes.into().pin());
        poll_fn(|context| {
            if self.channel.is_full() {
                self.channel.wait_write(Waiter::Task(context.waker().clone()));
                return Poll::Pending;
            }
            Poll::Ready(if self.channel.reader_gone() { Err(Closed) } else { Ok(()) })
        })
        .await
    }

    /// Bytes that are queued and were not taken yet.
    pub(crate) fn waiting(&self) -> usize {
        self.channel.len()
    }

    /// Sets the trailers (RFC 9110 section 6.5). They are sent over HTTP/2 and HTTP/3, and over
    /// HTTP/1.1 if the body is chunked.
    pub fn trailers<'a>(&mut self, fields: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let keep = |(name, value): &(&str, &str)| {
            http::HeaderName::try_from(*name).is_ok() && http::HeaderValue::try_from(*value).is_ok()
        };
        let owned = |(name, value): (&str, &str)| (name.to_ascii_lowercase(), value.to_owned());
        self.channel.set_trailers(fields.into_iter().filter(keep).map(owned).collect());
    }

    /// Aborts the body. The client sees a broken response, never a truncated one that looks
    /// complete.
    pub fn abort(self) {
        self.channel.finish(End::Aborted);
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        // A producer that panicked has not finished.
        let end = if std::thread::panicking() { End::Aborted } else { End::Complete };
        self.channel.finish(end);
    }
}

/// A body that is produced while it is sent.
pub struct Producer {
    channel: BodyChannel,
    future: UnitFuture,
    length: Option<u64>,
}

impl Producer {
    pub(crate) fn new<F>(produce: F, length: Option<u64>) -> Self
    where
        F: AsyncFnOnce(BodyWriter) + 'static,
    {
        let channel = BodyChannel::default();
        let writer = BodyWriter { channel: channel.clone() };
        Self { channel, future: Box::pin(async move { produce(writer).await }), length }
    }

    /// The length in bytes, if it was announced.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Keeps a value until all of the body is produced, or nobody wants more of it.
    pub(crate) fn hold(&mut self, value: impl Sized + 'static) {
        let produce = std::mem::replace(&mut self.future, Box::pin(std::future::pending()));
        self.future = Box::pin(async move {
            let _held = value;
            produce.await;
        });
    }

    /// Reads what is available; polls the future first if nothing is.
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Read> {
        loop {
            match self.channel.read(CHUNK_MAX) {
                Read::Empty => self.channel.wait_read(Waiter::Task(context.waker().clone())),
                read => return Poll::Ready(read),
            }
            if self.future.as_mut().poll(context).is_ready() {
                // The finished future is not polled again. Its zero-sized replacement does not
                // allocate.
                self.future = Box::pin(std::future::pending());
            } else if self.channel.len() == 0 && !self.channel.is_finished() {
                return Poll::Pending;
            }
        }
    }

    /// The trailers. Complete once the body has ended.
    pub(crate) fn take_trailers(&self) -> Vec<(String, String)> {
        self.channel.take_trailers()
    }

    /// The channel to read from, and the future that fills it.
    pub(crate) fn into_parts(self) -> (BodyChannel, UnitFuture) {
        (self.channel, self.future)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_producer_fills_its_channel_and_ends_it() {
        let produce = async |mut out: BodyWriter| {
            out.write("one ").await.unwrap();
            out.trailers([("X-Sum", "9"), ("bad name", "x"), ("bad-value", "a\r\nb")]);
            out.write(String::from("two")).await.unwrap();
        };
        let (channel, future) = Producer::new(produce, None).into_parts();
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(future).poll(&mut context).is_ready());
        let mut all = Vec::new();
        while let Read::Chunk(chunk) = channel.read(100) {
            all.extend_from_slice(chunk.bytes());
        }
        assert_eq!(all, b"one two");
        assert!(matches!(channel.read(1), Read::End(End::Complete)));
        assert_eq!(channel.take_trailers(), [("x-sum".to_owned(), "9".to_owned())]);
    }

    #[test]
    fn a_reader_that_leaves_closes_the_writer() {
        let produce = async |mut out: BodyWriter| {
            while out.write(vec![0; 100_000]).await.is_ok() {}
            out.abort();
        };
        let (channel, future) = Producer::new(produce, None).into_parts();
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut context).is_pending());
        assert!(channel.is_full());
        channel.close_reader();
        assert!(future.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn a_broken_request_body_is_an_error() {
        let channel = BodyChannel::default();
        let mut body = RequestBody::new(channel.clone());
        channel.push(Body::from("half").pin());
        channel.finish(End::Aborted);
        let mut context = Context::from_waker(Waker::noop());
        let mut next = || match body.poll_next(&mut context) {
            Poll::Ready(Some(result)) => result.map(|chunk| chunk.to_vec()),
            _ => panic!("the end is known"),
        };
        assert_eq!(next(), Ok(b"half".to_vec()));
        assert_eq!(next(), Err(Incomplete));
    }
}
