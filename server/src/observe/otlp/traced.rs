//! The spans of requests: which are recorded, and what becomes of them. A handler around the
//! application, so that a server which exports nothing has nothing of this in its way.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;

use crate::app::content::Body;
use crate::app::handler::{BodyMode, Handler, Reply};
use crate::app::request::{Protocol, Request};
use crate::app::response::Response;
use crate::app::trace_context::TraceContext;
use crate::observe::metrics::Exported;

/// Where spans go, and how many there may be.
#[derive(Clone)]
pub(crate) struct Tracing {
    pub(super) queue: SyncSender<Option<Box<Span>>>,
    pub(super) exported: Arc<Exported>,
    /// Traces that a worker begins in a second.
    pub(super) begun: u32,
    /// Spans that a worker records in a second.
    pub(super) recorded: u32,
}

/// A request that was answered, as a trace shows it.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) context: TraceContext,
    /// The client's span; none where the trace begins here.
    pub(super) parent: Option<[u8; 8]>,
    /// Nanoseconds since 1970.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) method: http::Method,
    pub(super) path: String,
    pub(super) authority: Option<String>,
    pub(super) secure: bool,
    pub(super) protocol: Protocol,
    pub(super) client: Option<SocketAddr>,
    pub(super) agent: Option<String>,
    /// None where the client left before there was an answer.
    pub(super) status: Option<StatusCode>,
}

/// The application, with a span around each sampled request.
pub(crate) struct Traced {
    app: Arc<dyn Handler>,
    tracing: Tracing,
}

impl Traced {
    pub(crate) fn new(app: Arc<dyn Handler>, tracing: Tracing) -> Self {
        Self { app, tracing }
    }
}

impl Handler for Traced {
    fn call(&self, request: &Request<'_>) -> Reply {
        let Some(recording) = self.tracing.record(request) else { return self.app.call(request) };
        match self.app.call(request) {
            Reply::Ready(response) => Reply::Ready(recording.answered(response)),
            Reply::Later(future) => {
                Reply::Later(Box::pin(async move { recording.answered(future.await) }))
            }
        }
    }

    fn start(&self) {
        self.app.start();
    }

    fn body_mode(&self, request: &Request<'_>) -> BodyMode {
        self.app.body_mode(request)
    }
}

impl Tracing {
    /// A span for the request, which can read its context from then on, if it is sampled: by the
    /// client, whose flag is honoured, or by the rate at which this server begins traces.
    fn record(&self, request: &Request<'_>) -> Option<Recording> {
        let before = TraceContext::of(request);
        let now = unix_nanos();
        match &before {
            Some(context) if !context.is_sampled() => return None,
            Some(_) => {}
            None if !BEGUN.with(|rate| rate.admits(self.begun, now)) => return None,
            None => {}
        }
        if !RECORDED.with(|rate| rate.admits(self.recorded, now)) {
            self.exported.drop_spans(1);
            return None;
        }
        let context = match &before {
            Some(context) => context.below(random()),
            None => TraceContext::begin(random(), random()),
        };
        let agent = request.header("user-agent");
        let span = Span {
            context,
            parent: before.map(|context| context.span_id()),
            start: now,
            end: now,
            method: request.method(),
            path: request.path().to_owned(),
            authority: request.authority().map(str::to_owned),
            secure: request.is_secure(),
            protocol: request.protocol(),
            client: request.remote_addr(),
            agent: agent.map(|agent| String::from_utf8_lossy(agent).into_owned()),
            status: None,
        };
        request.extensions().insert(span.context.clone());
        Some(Recording { span: Some(Box::new(span)), tracing: self.clone() })
    }
}

/// A span that has not ended; it ends when this is dropped.
struct Recording {
    /// Taken when it ends.
    span: Option<Box<Span>>,
    tracing: Tracing,
}

impl Recording {
    /// The answer: it ends the span now, or when the last of its body was produced.
    fn answered(mut self, mut response: Response) -> Response {
        if let Some(span) = &mut self.span {
            span.status = Some(response.status_code());
        }
        if let Body::Stream(producer) = &mut response.body {
            producer.hold(self);
        }
        response
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let Some(mut span) = self.span.take() else { return };
        if span.status.is_none() && std::thread::panicking() {
            span.status = Some(StatusCode::INTERNAL_SERVER_ERROR);
        }
        span.end = unix_nanos().max(span.start);
        if self.tracing.queue.try_send(Some(span)).is_err() {
            self.tracing.exported.drop_spans(1);
        }
    }
}

thread_local! {
    static BEGUN: Rate = const { Rate::new() };
    static RECORDED: Rate = const { Rate::new() };
}

/// So many in each second of the clock.
struct Rate {
    second: Cell<u64>,
    left: Cell<u32>,
}

impl Rate {
    const fn new() -> Self {
        Self { second: Cell::new(0), left: Cell::new(0) }
    }

    fn admits(&self, most: u32, now: u64) -> bool {
        let second = now / 1_000_000_000;
        if self.second.replace(second) != second {
            self.left.set(most);
        }
        let left = self.left.get().checked_sub(1);
        left.map(|left| self.left.set(left)).is_some()
    }
}

/// An ID: random, and not zero.
fn random<const N: usize>() -> [u8; N] {
    let mut id = [0; N];
    while id == [0; N] {
        // Without randomness there is no TLS either; an ID that is taken twice joins two traces.
        if aws_lc_rs::rand::fill(&mut id).is_err() {
            id[N - 1] = 1;
        }
    }
    id
}

fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_each_second() {
        let rate = Rate::new();
        let second = 1_000_000_000;
        let admitted = |now| (0..5).filter(|_| rate.admits(3, now)).count();
        assert_eq!([admitted(second), admitted(second + 1), admitted(2 * second)], [3, 0, 3]);
        assert!(!Rate::new().admits(0, second));
    }
}
