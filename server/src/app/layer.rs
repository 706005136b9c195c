//! Layers: code around handlers, for closures and for types.

use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::app::handler::{BodyMode, Handler, Reply, panicked};
use crate::app::request::{OwnedRequest, Request};
use crate::app::response::Response;
use crate::rt::panics::caught;

/// Code around handlers. A layer sees the request before the handler and the response after it, and
/// may answer itself. [`Router::layer`](crate::Router::layer) takes a `Layer` or a closure over the
/// request and the inner handler ([`IntoLayer`]).
///
/// A layer around a ready answer does not allocate. A panic in a layer is answered with 500, like
/// one in a handler. A panic further in reaches the layer as a response with 500.
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

    /// Name of a property that only one layer around a route may have, because two would contradict
    /// each other (for example two CORS policies). [`Router::layer`](crate::Router::layer) refuses
    /// the second.
    fn only(&self) -> Option<&'static str> {
        None
    }
}

/// The inside of a layer: the handler, or the next layer.
#[derive(Clone)]
pub struct Next<'a>(Inner<'a>);

#[derive(Clone)]
enum Inner<'a> {
    /// For a layer that answers at once: avoids a reference count that all workers would share.
    Lent(&'a Arc<dyn Handler>),
    Held(Arc<dyn Handler>),
}

impl Next<'_> {
    /// Answers a request with the inner handler. A panic in it gives the response 500.
    ///
    /// The answer may be ready or come later: see [`Reply::map`], and `.await` in an `async` layer.
    #[inline]
    pub fn run(&self, request: &Request<'_>) -> Reply {
        let handler = match &self.0 {
            Inner::Lent(handler) => handler,
            Inner::Held(handler) => handler,
        };
        caught(|| handler.call(request)).unwrap_or_else(|| Reply::Ready(panicked()))
    }

    /// Same, for a future that outlives the layer's call.
    #[must_use]
    pub fn to_owned(&self) -> Next<'static> {
        Next(Inner::Held(match &self.0 {
            Inner::Lent(handler) => Arc::clone(handler),
            Inner::Held(handler) => Arc::clone(handler),
        }))
    }
}

impl Reply {
    /// Changes the response, now or when it comes. A panic in the closure gives the response 500.
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

/// Future of the response of a [`Reply`]; 500 if producing it panics.
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

/// Accepted by [`Router::layer`](crate::Router::layer): a [`Layer`]; a closure over `&Request` and
/// [`Next`] that returns a [`Reply`] or a [`Response`]; or an `async` closure over an
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
    /// The resulting layer.
    type Layer: Layer;

    /// Converts into the layer.
    fn into_layer(self) -> Self::Layer;
}

/// Kind of a type that implements [`Layer`].
pub struct IsLayer;
/// Kind of a closure that answers at once.
pub struct LayersNow<R>(R);
/// Kind of an `async` closure.
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
