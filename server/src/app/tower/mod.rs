//! Services of the `tower` ecosystem as handlers: an axum `Router` over HTTP/1.1, 2 and 3.
//!
//! Requires the feature `tower`. Any [`Service`](tower_service::Service) from an [`http::Request`]
//! with an [`IncomingBody`] to an [`http::Response`] becomes a [`Handler`] with [`TowerService`]. A
//! program that called `axum::serve` changes these lines:
//!
//! ```text
//! -#[tokio::main]
//! -async fn main() -> std::io::Result<()> {
//! +fn main() -> Result<(), ringway::Error> {
//!      let app = Router::new().route("/", get(hello)).with_state(state);
//! -    let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
//! -    axum::serve(listener, app).await
//! +    let tls = ringway::tls::Tls::pem("cert.pem", "key.pem")?;
//! +    Server::new(TowerService::new(app)).http("0.0.0.0:8080").https("0.0.0.0:8443", tls).run()
//!  }
//! ```
//!
//! # Execution
//! A service's futures and response bodies are polled on the worker that received the request: no
//! other thread is woken. They are polled and dropped in the context of a tokio runtime. Its
//! threads run only the tasks that they spawn, and tokio's timers and I/O. The runtime is the
//! caller's if it is multi-threaded (`#[tokio::main]`); otherwise one with a single thread is
//! started for the process. [`TowerService::on`] takes another. On a worker, tokio's cooperative
//! budget does not apply: a future runs until it waits, as with `tokio::task::unconstrained`. Long
//! computations belong in `tokio::task::spawn_blocking`. `tokio::task::spawn_local` is not
//! supported and panics.
//!
//! A request to an axum application costs 0.8 to 0.9 times the CPU time that it costs under
//! `axum::serve` over HTTP/1.1, and a quarter to two thirds over HTTP/2
//! (`bench/results/notes-tower.md`). A handler that waits for a task of the runtime pays for two
//! wake-ups between threads, and then costs 1.5 times as much over HTTP/1.1.
//!
//! # What a service sees
//! The service gets the method, the version, the fields in order, trailers, and the URI: path
//! (canonical, as [`Request::path`](crate::Request::path)) and query over HTTP/1.1, plus scheme and
//! authority over HTTP/2 and HTTP/3. Extensions contain what layers of [`Router`](crate::Router)
//! attached and what [`TowerService::attach`] adds. Each request uses a clone of the service,
//! called once it is ready. The body is read at the service's pace with the service's limits
//! (axum's `DefaultBodyLimit`); `limits.body_bytes` does not apply. If the client leaves, the
//! service's future is dropped. Over HTTP/1.1 a client leaves by a reset or a failed write; closing
//! only its sending side is not leaving (RFC 9112 section 9.6). A task that reads the body
//! elsewhere gets [`Incomplete`](crate::body::Incomplete).
//!
//! # What a client sees
//! The client gets the service's response; the server sets `date`, `server` and the framing fields.
//! An error of the service or of its body's first frame, and a panic, give 500. A later error
//! breaks the response off, so that a truncated body never looks complete.
//!
//! # Limitations
//! `hyper::upgrade`, and therefore axum's WebSockets, do not work: connections are not handed out.
//! axum's `WebSocketUpgrade` refuses such requests with 426. If a service answers 101 anyway, the
//! client gets 501. CONNECT never reaches a service: 405.

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

/// A tower service as a handler: see the [module](self).
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

/// Adds values to a request's extensions.
type Attach = Box<dyn Fn(&Request<'_>, &mut http::Extensions) + Send + Sync>;

impl<S> TowerService<S> {
    /// A handler that passes requests to clones of `service`. A service that is `Send` but not
    /// `Sync` can be wrapped in `tower::util::BoxCloneSyncService` or a `Buffer`.
    ///
    /// Uses the current tokio runtime if it is multi-threaded; otherwise the process's default
    /// runtime, which is started on first use.
    ///
    /// # Panics
    /// If the default runtime cannot be started, for example because no thread can be created.
    pub fn new(service: S) -> Self {
        Self { service, context: runtime::Context::current_or_default(), attached: Vec::new() }
    }

    /// Same as [`Self::new`], with this runtime. Its own threads must drive it for as long as the
    /// server runs.
    pub fn on(runtime: Handle, service: S) -> Self {
        Self { service, context: runtime::Context::of(runtime), attached: Vec::new() }
    }

    /// Adds a value to the extensions of each request for which `make` returns one, for example the
    /// client's address as axum's `ConnectInfo`. What is not attached is not computed.
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
        // Most services answer at once and need no task. A pending future is polled again when it
        // becomes a task, so its first waker may be a no-op.
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(response) => Reply::Ready(response),
            Poll::Pending => Reply::Later(future),
        }
    }

    fn body_mode(&self, _: &Request<'_>) -> BodyMode {
        BodyMode::Stream
    }
}
