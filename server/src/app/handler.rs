//! The handler: the one trait that an application implements, and the closures that stand for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::StatusCode;

use crate::app::body::RequestBody;
use crate::app::request::{OwnedRequest, Request};
use crate::app::response::Response;
use crate::rt::panics::caught;

/// Answers requests. One handler serves all workers at once, so it is `Sync`; what it answers stays
/// on the worker that asked.
///
/// A panic, here or in a future that answers later, is answered with 500 and ends nothing else; one
/// in a body that is being sent breaks that response off. (A program built with `panic = "abort"`
/// ends, as it asked to.)
pub trait Handler: Send + Sync + 'static {
    /// Answers a request.
    fn call(&self, request: &Request<'_>) -> Reply;

    /// Called once by each server that is to use it, before the first request, on the thread that
    /// starts the server: what needs threads of its own, or looks at the disk, may begin here. One
    /// that has other handlers inside passes it on.
    fn start(&self) {}

    /// Called when the router that the handler is in is nested below `prefix`, a canonical path
    /// that may have parameters: one that compares whole paths, as [`Files`](crate::Files) does,
    /// takes it in. One that has other handlers inside passes it on.
    #[track_caller]
    fn nested(&mut self, prefix: &str) {
        let _ = prefix;
    }

    /// How the request's body is to be received; asked before [`Self::call`], for requests that
    /// have one.
    fn body_mode(&self, request: &Request<'_>) -> BodyMode {
        let _ = request;
        BodyMode::Buffer
    }
}

/// The application, whose panics are its own: the worker's thread serves other clients too.
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
        // Whoever asks catches the panic, since no mode is a refusal.
        self.0.body_mode(request)
    }
}

/// The answer for which the application panicked.
pub(crate) fn panicked() -> Response {
    StatusCode::INTERNAL_SERVER_ERROR.into()
}

/// How a request's body reaches its handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BodyMode {
    /// Whole, in [`Request::body`], up to the configured limit; larger ones are refused with 413.
    #[default]
    Buffer,
    /// Whole, up to this many bytes.
    BufferUpTo(u64),
    /// As it arrives: the handler is called with the head and takes the body by
    /// [`Request::take_body`].
    Stream,
}

/// A handler's answer, now or later.
pub enum Reply {
    /// The answer is here.
    Ready(Response),
    /// The answer will come; the worker's executor polls for it. It need not be `Send`.
    Later(Pin<Box<dyn Future<Output = Response>>>),
}

impl Reply {
    /// Lets go of an answer that is done with; for one that owns nothing there is nothing to do.
    #[inline]
    pub(crate) fn discard(self) {
        match &self {
            Self::Ready(response) if !response.owns_memory() => std::mem::forget(self),
            _ => drop(self),
        }
    }
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self::Ready(response)
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

/// What a route takes: a [`Handler`], a closure over `&Request` that answers at once, or an `async`
/// closure over an [`OwnedRequest`]. `Kind` tells them apart and is always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler",
    label = "a handler is wanted here",
    note = "a route takes `|request: &Request| …` or `fn(&Request) -> R`, which answers at once",
    note = "or `async |request: OwnedRequest| …`, or an `async fn` of it, which answers later",
    note = "or a type that implements `Handler`",
    note = "`R` becomes a `Response`: text, `StatusCode`, `(StatusCode, R)`, `Result<R, E>`, `()`",
    note = "what a closure takes has to be written out, `|request: &Request|` and not `|request|`"
)]
pub trait IntoHandler<Kind> {
    /// The handler it becomes.
    type Handler: Handler;

    /// Makes the handler.
    fn into_handler(self) -> Self::Handler;
}

/// The kind of a type that is a handler already.
pub struct IsHandler;
/// The kind of a closure that answers at once.
pub struct Answers<R>(R);
/// The kind of an `async` closure.
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
