//! Per-route limit on request bodies.

use http::StatusCode;
use ringway_codec::field::Known;

use crate::app::handler::{BodyMode, Handler, Reply};
use crate::app::request::Request;

/// A handler with a limit on its requests' bodies.
pub(crate) struct Limited {
    bytes: u64,
    inner: Box<dyn Handler>,
}

impl Limited {
    pub(crate) fn new(bytes: u64, inner: Box<dyn Handler>) -> Self {
        Self { bytes, inner }
    }

    /// Streams the body, ending it early if it exceeds the limit.
    fn stream(&self, request: &Request<'_>) -> Reply {
        let length = request.known(Known::ContentLength).and_then(|v| str::from_utf8(v).ok());
        let length = length.and_then(|text| text.parse::<u64>().ok());
        if length.is_some_and(|length| length > self.bytes) {
            return Reply::Ready(StatusCode::PAYLOAD_TOO_LARGE.into());
        }
        let Some(mut body) = request.take_body() else { return self.inner.call(request) };
        let exceeded = body.limit(self.bytes);
        request.attached.stream.set(Some(body));
        self.inner.call(request).map(move |response| match exceeded.get() {
            true => StatusCode::PAYLOAD_TOO_LARGE.into(),
            false => response,
        })
    }
}

impl Handler for Limited {
    fn call(&self, request: &Request<'_>) -> Reply {
        match self.inner.body_mode(request) {
            BodyMode::Stream => self.stream(request),
            BodyMode::Buffer | BodyMode::BufferUpTo(_) => self.inner.call(request),
        }
    }

    fn start(&self) {
        self.inner.start();
    }

    fn body_mode(&self, request: &Request<'_>) -> BodyMode {
        match self.inner.body_mode(request) {
            BodyMode::Buffer => BodyMode::BufferUpTo(self.bytes),
            BodyMode::BufferUpTo(bytes) => BodyMode::BufferUpTo(bytes.min(self.bytes)),
            BodyMode::Stream => BodyMode::Stream,
        }
    }

    fn nested(&mut self, prefix: &str) {
        self.inner.nested(prefix);
    }
}
