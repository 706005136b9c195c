//! The handler trait, and the closures that implement it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::StatusCode;

use crate::app::body::RequestBody;
use crate::app::request::{OwnedRequest, Request};
use crate::app::response::Response;
use crate::rt::panics::caught;

/// Answers requests. One handler serves all workers at once, so it must be `Sync`; its answers stay
/// on the worker that called it.
///
/// A panic in the handler or in the future of a later answer is answered with 500 and affects
/// nothing else. A panic in a body being sent breaks that response off. (A program built with
/// `panic = "abort"` aborts.)
pub trait Handler: Send + Sync + 'static {
    /// Answers a request.
    fn call(&self, request: &Request<'_>) -> Reply;

    /// Called once by each server that uses the handler, before the first request, on the thread
    /// that starts the server. Use it to start threads or read files. A handler that wraps other
    /// handlers must forward the call.
    fn start(&self) {}

    /// Called when the handler's router is nested below `prefix`, a canonical path that may have
    /// parameters. A handler that compares whole paths, as [`Files`](crate::Files) does, must take
    /// the prefix into account. A handler that wraps other handlers must forward the call.
    #[track_caller]
    fn nested(&mut self, prefix: &str) {
        let _ = prefix;
    }

    /// How the request's body is to be received. Called before [`Self::call`], only for requests
    /// that have a body.
    fn body_mode(&self, request: &Request<'_>) -> BodyMode {
        let _ = request;
        BodyMode::Buffer
    }
}

/// Wraps the application and contains its panics, because the worker's thread also serves other
/// clients.
pub(crate) struct Guarded<H>(pub(crate) H);

impl<H: Handler> Handler for Guarded<H> {
    #[inline]
    fn call(&self, request: &Request<'_>) -> Reply {
        caught(|| self.0.call(request)).unwrap_or_else(|| Reply::Ready(panicked()))
    }

    fn start(&self) {
        self.0.start();
    }

    #[inline]
    fn body_mode(&self, request: &Request<'_>) -> BodyMode {
        // The caller catches the panic: there is no mode for a refusal.
        self.0.body_mode(request)
    }
}

/// The answer after the application panicked.
pub(crate) fn panicked() -> Response {
    StatusCode::INTERNAL_SERVER_ERROR.into()
}

/// How a request's body reaches its handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BodyMode {
    /// Buffered, in [`Request::body`], up to the configured limit. Larger bodies are refused with
    /// 413.
    #[default]
    Buffer,
    /// Buffered, up to this many bytes.
    BufferUpTo(u64),
    /// Streamed: the handler is called once the head is complete and takes the body with
    /// [`Request::take_body`].
    Stream,
}

/// A handler's answer: ready or later.
pub enum Reply {
    /// The answer is ready.
    Ready(Response),
    /// The answer comes later. The worker's executor polls the future, which need not be `Send`.
    Later(Pin<Box<dyn Future<Output = Response>>>),
}

impl Reply {
    /// Drops a finished answer. Skips an answer that owns no memory.
    #[inline]
    pub(crate) fn discard(self) {
        match &self {
            Self::Ready(response) if !response.owns_memory() => std::mem::forget(self),
            _ => drop(self),
        }
    }
}

impl<R: Into<Response>> From<R> for Reply {
    fn from(response: R) -> Self {
        Self::Ready(response.into())
    }
}

impl<T: Into<Self>, E: Into<Self>> From<Result<T, E>> for Response {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(response) => response.into(),
            Err(response) => response.into(),
        }
    }
}

/// A route's handler: a [`Handler`], a closure over `&Request` that answers at once, or an `async`
/// closure over an [`OwnedRequest`]. `Kind` tells them apart and is always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "expected a handler",
    note = "a route takes `|request: &Request| …` or `fn(&Request) -> R`, which answers at once",
    note = "or `async |request: OwnedRequest| …`, or an `async fn` of it, which answers later",
    note = "or a type that implements `Handler`",
    note = "`R` becomes a `Response`: text, `StatusCode`, `(StatusCode, R)`, `Result<R, E>`, `()`",
    note = "what a closure takes has to be written out, `|request: &Request|` and not `|request|`"
)]
pub trait IntoHandler<Kind> {
    /// The resulting handler.
    type Handler: Handler;

    /// Converts into the handler.
    fn into_handler(self) -> Self::Handler;
}

/// Kind of a type that implements [`Handler`].
pub struct IsHandler;
/// Kind of a closure that answers at once.
pub struct Answers<R>(R);
/// Kind of an `async` closure.
pub struct AnswersLater<R>(R);

impl<H: Handler> IntoHandler<IsHandler> for H {
    type Handler = H;

    fn into_handler(self) -> H {
        self
    }
}

/// A closure that answers at once.
pub struct Answer<F>(F);

impl<F, R> IntoHandler<Answers<R>> for F
where
    F: Fn(&Request<'_>) -> R + Send + Sync + 'static,
    R: Into<Response>,
{
    type Handler = Answer<F>;

    fn into_handler(self) -> Answer<F> {
        Answer(self)
    }
}

impl<F, R> Handler for Answer<F>
where
    F: Fn(&Request<'_>) -> R + Send + Sync + 'static,
    R: Into<Response>,
{
    fn call(&self, request: &Request<'_>) -> Reply {
        Reply::Ready((self.0)(request).into())
    }
}

/// An `async` closure.
pub struct AnswerLater<F>(Arc<F>);

impl<F, R> IntoHandler<AnswersLater<R>> for F
where
    F: AsyncFn(OwnedRequest) -> R + Send + Sync + 'static,
    R: Into<Response> + 'static,
{
    type Handler = AnswerLater<F>;

    fn into_handler(self) -> AnswerLater<F> {
        AnswerLater(Arc::new(self))
    }
}

impl<F, R> Handler for AnswerLater<F>
where
    F: AsyncFn(OwnedRequest) -> R + Send + Sync + 'static,
    R: Into<Response> + 'static,
{
    fn call(&self, request: &Request<'_>) -> Reply {
        let (answer, request) = (Arc::clone(&self.0), request.to_owned());
        Reply::Later(Box::pin(async move { answer(request).await.into() }))
    }
}

/// An `async` closure that reads the body as it arrives; made by
/// [`Router::stream`](crate::Router::stream).
pub struct ReadsBody<F>(Arc<F>);

impl<F> ReadsBody<F> {
    pub(crate) fn new(read: F) -> Self {
        Self(Arc::new(read))
    }
}

impl<F, R> Handler for ReadsBody<F>
where
    F: AsyncFn(OwnedRequest, RequestBody) -> R + Send + Sync + 'static,
    R: Into<Response> + 'static,
{
    fn call(&self, request: &Request<'_>) -> Reply {
        let (read, request) = (Arc::clone(&self.0), request.to_owned());
        let body = request.take_body().unwrap_or_else(RequestBody::empty);
        Reply::Later(Box::pin(async move { read(request, body).await.into() }))
    }

    fn body_mode(&self, _: &Request<'_>) -> BodyMode {
        BodyMode::Stream
    }
}
