//! Services of the `tower` ecosystem as handlers: an axum `Router` over HTTP/1.1, 2 and 3.
//!
//! Needs the feature `tower`. Any [`Service`](tower_service::Service) that takes an
//! [`http::Request`] with an [`IncomingBody`] and gives an [`http::Response`] becomes a [`Handler`]
//! by [`TowerService`]. A program that called `axum::serve` changes by these lines:
//!
//! ```text
//! -#[tokio::main]
//! -async fn main() -> std::io::Result<()> {
//! +fn main() -> Result<(), ringway::Error> {
//!      let app = Router::new().route("/", get(hello)).with_state(state);
//! -    let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
//! -    axum::serve(listener, app).await
//! +    let tls = ringway::tls::Tls::files("cert.pem", "key.pem")?;
//! +    Server::new(TowerService::new(app)).http("0.0.0.0:8080").https("0.0.0.0:8443", tls).run()
//!  }
//! ```
//!
//! # Where what runs
//! A service's futures, and the bodies of its responses, are polled on the worker that took the
//! request: no other thread is woken for a request. They are polled and dropped in the context of a
//! tokio runtime, on whose threads run only the tasks that they spawn and tokio's own timers and
//! I/O. That is the caller's runtime if it has threads of its own (`#[tokio::main]`), else one with
//! one thread, started for the process; [`TowerService::on`] takes another. tokio's cooperative
//! budget is that of tokio's tasks; on a worker a future runs until it waits, as with
//! `tokio::task::unconstrained`. What computes for long belongs into
//! `tokio::task::spawn_blocking`. `tokio::task::spawn_local` has no place to run, and panics.
//!
//! A request to an axum application costs 0.8 to 0.9 times the CPU time that it costs under
//! `axum::serve` over HTTP/1.1, and a quarter to two thirds over HTTP/2
//! (`bench/results/notes-tower.md`). A handler that waits for a task of the runtime pays for two
//! wake-ups between threads, and then costs 1.5 times as much over HTTP/1.1.
//!
//! # What a service sees
//! Method, version, fields in order, trailers, and the URI: the path (canonical, as
//! [`Request::path`](crate::Request::path)) and query over HTTP/1.1, with scheme and authority
//! before it over HTTP/2 and HTTP/3. The extensions that layers of
//! [`Router`](crate::Router) left, and what [`TowerService::attach`] adds. Each request has a clone
//! of the service, which is called when it is ready. A body is read at the service's pace, and its
//! limits are the service's (axum's `DefaultBodyLimit`): `limits.body_bytes` is not applied. A
//! client that leaves drops the service's future (over HTTP/1.1 one that resets its connection, or
//! to which writing fails: the mere end of what it sends is no leaving, RFC 9112 section 9.6); to a
//! task that reads the body elsewhere it is [`Incomplete`](crate::body::Incomplete).
//!
//! # What a client sees
//! The service's response; `date`, `server` and what frames the message are the server's. An error
//! of the service, of the first piece of its body, or a panic is 500; a later error breaks the
//! response off, so that a part never passes for the whole.
//!
//! # What does not work
//! `hyper::upgrade`, and so WebSockets of axum: connections are not handed out. axum's
//! `WebSocketUpgrade` refuses such requests by itself, with 426; a service that answers 101 anyway
//! is answered with 501 to the client. CONNECT never reaches a service: 405.

mod answer;
mod incoming;
mod request;
mod runtime;

use std::fmt;
use std::task::{Context, Poll, Waker};

use http::StatusCode;
use ringway_codec::h1::request::Method;
use tokio::runtime::Handle;
use tower_service::Service;

pub use self::incoming::IncomingBody;
use crate::app::handler::{BodyMode, Handler, Reply};
use crate::app::request::Request;

/// A service as a handler: see the [module](self).
///
/// ```no_run
/// use std::net::SocketAddr;
///
/// use axum::extract::ConnectInfo;
/// use axum::routing::get;
/// use ringway::tower::TowerService;
///
/// async fn whoami(ConnectInfo(address): ConnectInfo<SocketAddr>) -> String {
///     address.to_string()
/// }
///
/// fn main() -> Result<(), ringway::Error> {
///     let app = axum::Router::new().route("/", get(whoami));
///     let app = TowerService::new(app)
///         .attach(|request| request.remote_addr().map(ConnectInfo));
///     ringway::Server::new(app).http("127.0.0.1:8080").run()
/// }
/// ```
pub struct TowerService<S> {
    service: S,
    context: runtime::Context,
    attached: Vec<Attach>,
}

/// Puts something into a request's extensions.
type Attach = Box<dyn Fn(&Request<'_>, &mut http::Extensions) + Send + Sync>;

impl<S> TowerService<S> {
    /// A handler that passes requests on to clones of `service`. Services that are `Send` but not
    /// `Sync` become both by `tower::util::BoxCloneSyncService`, or by a `Buffer`.
    ///
    /// Called within a tokio runtime that has threads of its own, it uses that; else the process's
    /// default, which is started when it is first needed.
    ///
    /// # Panics
    /// When the default runtime cannot be started, as where no thread can be.
    pub fn new(service: S) -> Self {
        Self { service, context: runtime::Context::current_or_default(), attached: Vec::new() }
    }

    /// As [`Self::new`], in the context of this runtime. It has to be driven by threads of its own
    /// for as long as the server runs.
    pub fn on(runtime: Handle, service: S) -> Self {
        Self { service, context: runtime::Context::of(runtime), attached: Vec::new() }
    }

    /// Has a value put into the extensions of each request, where `make` gives one: the client's
    /// address as axum's `ConnectInfo`, for example. What is not attached is not looked up.
    #[must_use]
    pub fn attach<T>(
        mut self,
        make: impl Fn(&Request<'_>) -> Option<T> + Send + Sync + 'static,
    ) -> Self
    where
        T: Clone + Send + Sync + 'static,
    {
        self.attached.push(Box::new(move |request, extensions| {
            if let Some(value) = make(request) {
                extensions.insert(value);
            }
        }));
        self
    }
}

impl<S: fmt::Debug> fmt::Debug for TowerService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerService").field("service", &self.service).finish_non_exhaustive()
    }
}

impl<S, B> Handler for TowerService<S>
where
    S: Service<http::Request<IncomingBody>, Response = http::Response<B>>,
    S: Clone + Send + Sync + 'static,
    S::Future: 'static,
    B: http_body::Body + 'static,
{
    fn call(&self, request: &Request<'_>) -> Reply {
        if request.line.method == Method::Connect {
            return Reply::Ready(StatusCode::METHOD_NOT_ALLOWED.into());
        }
        self.context.enter();
        let (mut converted, feeder) = request::convert(request);
        for attach in &self.attached {
            attach(request, converted.extensions_mut());
        }
        let service = self.service.clone();
        let mut future = Box::pin(answer::answer(service, converted, feeder, self.context));
        // Most services answer at once, and need no task for that. One that does not is polled
        // again as soon as it is one, with a waker that wakes it.
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(response) => Reply::Ready(response),
            Poll::Pending => Reply::Later(future),
        }
    }

    fn body_mode(&self, _: &Request<'_>) -> BodyMode {
        BodyMode::Stream
    }
}
