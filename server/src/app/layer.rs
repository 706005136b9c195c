//! Layers: code around handlers, for closures and for types.

use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::app::handler::{BodyMode, Handler, Reply, panicked};
use crate::app::request::{OwnedRequest, Request};
use crate::app::response::Response;
use crate::rt::panics::caught;

/// Code around handlers: it sees a request before them, and their response behind them, and may
/// answer itself. [`Router::layer`](crate::Router::layer) takes this, or a closure over a
/// request and what is inside ([`IntoLayer`]).
///
/// A layer around an answer that is ready costs no allocation. A panic in it is answered with 500,
/// as one in a handler is; one further in comes to it as a response with 500.
///
/// ```
/// use ringway::layer::{Layer, Next};
/// use ringway::{Reply, Request, Response, Router};
///
/// /// Answers 503 while the file is there.
/// struct Maintenance(std::path::PathBuf);
///
/// impl Layer for Maintenance {
///     fn call(&self, request: &Request<'_>, next: Next<'_>) -> Reply {
///         match self.0.exists() {
///             true => Response::from(http::StatusCode::SERVICE_UNAVAILABLE).into(),
///             false => next.run(request),
///         }
///     }
/// }
///
/// let app = Router::new()
///     .get("/", |_: &Request| Response::text("open"))
///     .layer(Maintenance("/run/maintenance".into()));
/// # let _ = app;
/// ```
pub trait Layer: Send + Sync + 'static {
    /// Answers a request, or has `next` answer it.
    fn call(&self, request: &Request<'_>, next: Next<'_>) -> Reply;

    /// The name of what there can be only one of around a route, where two layers would contradict
    /// each other (two CORS policies): [`Router::layer`](crate::Router::layer) refuses the second.
    fn only(&self) -> Option<&'static str> {
        None
    }
}

/// What is inside a layer: the handler, or the next layer.
#[derive(Clone)]
pub struct Next<'a>(Inner<'a>);

#[derive(Clone)]
enum Inner<'a> {
    /// For a layer that answers at once: no count is touched, which all workers would share.
    Lent(&'a Arc<dyn Handler>),
    Held(Arc<dyn Handler>),
}

impl Next<'_> {
    /// Has it answer a request. A panic in it is the response with 500.
    ///
    /// The answer may be there or come later: see [`Reply::map`], and `.await` in an `async` layer.
    #[inline]
    pub fn run(&self, request: &Request<'_>) -> Reply {
        let handler = match &self.0 {
            Inner::Lent(handler) => handler,
            Inner::Held(handler) => handler,
        };
        caught(|| handler.call(request)).unwrap_or_else(|| Reply::Ready(panicked()))
    }

    /// The same, for a future that outlives the layer's call.
    #[must_use]
    pub fn to_owned(&self) -> Next<'static> {
        Next(Inner::Held(match &self.0 {
            Inner::Lent(handler) => Arc::clone(handler),
            Inner::Held(handler) => Arc::clone(handler),
        }))
    }
}

impl Reply {
    /// Changes the response, now or when it comes. Where that panics, the response is 500.
    #[inline]
    #[must_use]
    pub fn map(self, change: impl FnOnce(Response) -> Response + 'static) -> Self {
        match self {
            Self::Ready(response) => Self::Ready(change(response)),
            later @ Self::Later(_) => Self::Later(Box::pin(async move { change(later.await) })),
        }
    }
}

impl IntoFuture for Reply {
    type Output = Response;
    type IntoFuture = ReplyFuture;

    fn into_future(self) -> ReplyFuture {
        ReplyFuture(match self {
            Self::Ready(response) => State::Ready(Some(Box::new(response))),
            Self::Later(future) => State::Later(future),
        })
    }
}

/// The response that a [`Reply`] is or will be; 500 where what makes it panics.
#[must_use = "a future does nothing until it is awaited"]
pub struct ReplyFuture(State);

enum State {
    // Taken when it is given.
    Ready(Option<Box<Response>>),
    Later(Pin<Box<dyn Future<Output = Response>>>),
}

impl Future for ReplyFuture {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        match &mut self.0 {
            State::Ready(response) => match response.take() {
                Some(response) => Poll::Ready(*response),
                None => Poll::Pending,
            },
            State::Later(future) => {
                caught(|| future.as_mut().poll(context)).unwrap_or_else(|| Poll::Ready(panicked()))
            }
        }
    }
}

/// A handler in a layer.
pub(crate) struct Layered<L> {
    layer: Arc<L>,
    inner: Arc<dyn Handler>,
}

impl<L: Layer> Layered<L> {
    pub(crate) fn new(layer: Arc<L>, inner: Box<dyn Handler>) -> Self {
        Self { layer, inner: Arc::from(inner) }
    }
}

impl<L: Layer> Handler for Layered<L> {
    fn call(&self, request: &Request<'_>) -> Reply {
        self.layer.call(request, Next(Inner::Lent(&self.inner)))
    }

    fn start(&self) {
        self.inner.start();
    }

    fn body_mode(&self, request: &Request<'_>) -> BodyMode {
        self.inner.body_mode(request)
    }

    fn nested(&mut self, prefix: &str) {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.nested(prefix);
        }
    }
}

/// What [`Router::layer`](crate::Router::layer) takes: a [`Layer`]; a closure over `&Request` and
/// [`Next`] that answers with a [`Reply`] or a [`Response`]; or an `async` closure over an
/// [`OwnedRequest`] and [`Next`]. `Kind` tells them apart and is always inferred.
///
/// ```
/// use ringway::layer::Next;
/// use ringway::{OwnedRequest, Reply, Request, Response, Router};
/// let app = Router::new()
///     .get("/", |_: &Request| Response::text("x"))
///     .layer(|request: &Request, next: Next| -> Reply {
///         if request.header("x-token") != Some(&b"secret"[..]) {
///             return Response::from(http::StatusCode::FORBIDDEN).into();
///         }
///         next.run(request)
///     })
///     .layer(async |request: OwnedRequest, next: Next| -> Response {
///         ringway::sleep(std::time::Duration::from_millis(1)).await;
///         next.run(&request.view()).await
///     });
/// # let _ = app;
/// ```
pub trait IntoLayer<Kind> {
    /// The layer it becomes.
    type Layer: Layer;

    /// Makes the layer.
    fn into_layer(self) -> Self::Layer;
}

/// The kind of a type that is a layer already.
pub struct IsLayer;
/// The kind of a closure that answers at once.
pub struct LayersNow<R>(R);
/// The kind of an `async` closure.
pub struct LayersLater<R>(R);

impl<L: Layer> IntoLayer<IsLayer> for L {
    type Layer = L;

    fn into_layer(self) -> L {
        self
    }
}

/// A closure that answers at once.
pub struct LayerNow<F>(F);

impl<F, R> IntoLayer<LayersNow<R>> for F
where
    F: Fn(&Request<'_>, Next<'_>) -> R + Send + Sync + 'static,
    R: Into<Reply>,
{
    type Layer = LayerNow<F>;

    fn into_layer(self) -> LayerNow<F> {
        LayerNow(self)
    }
}

impl<F, R> Layer for LayerNow<F>
where
    F: Fn(&Request<'_>, Next<'_>) -> R + Send + Sync + 'static,
    R: Into<Reply>,
{
    fn call(&self, request: &Request<'_>, next: Next<'_>) -> Reply {
        (self.0)(request, next).into()
    }
}

/// An `async` closure.
pub struct LayerLater<F>(Arc<F>);

impl<F, R> IntoLayer<LayersLater<R>> for F
where
    F: AsyncFn(OwnedRequest, Next<'static>) -> R + Send + Sync + 'static,
    R: Into<Response> + 'static,
{
    type Layer = LayerLater<F>;

    fn into_layer(self) -> LayerLater<F> {
        LayerLater(Arc::new(self))
    }
}

impl<F, R> Layer for LayerLater<F>
where
    F: AsyncFn(OwnedRequest, Next<'static>) -> R + Send + Sync + 'static,
    R: Into<Response> + 'static,
{
    fn call(&self, request: &Request<'_>, next: Next<'_>) -> Reply {
        let (layer, request, next) = (Arc::clone(&self.0), request.to_owned(), next.to_owned());
        Reply::Later(Box::pin(async move { layer(request, next).await.into() }))
    }
}
