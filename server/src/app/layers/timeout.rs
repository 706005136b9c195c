//! Time limit for answers.

use std::time::Duration;

use http::StatusCode;

use crate::app::handler::Reply;
use crate::app::layer::{Layer, Next};
use crate::app::request::Request;
use crate::rt::timeout::timeout;

/// Answers with 503 (RFC 9110 section 15.6.4) when the handler takes too long, and drops its
/// future. Gateways should set 504.
///
/// The time runs from the handler's call (after the request's body, unless it is streamed) to the
/// response's head. The worker's timer has a resolution of about 16 ms. The limit does not cover
/// sending the response's body, even if it is still being produced. It does not apply to handlers
/// that answer at once: code that blocks the worker cannot be interrupted.
///
/// ```
/// use std::time::Duration;
/// use ringway::{OwnedRequest, Response, Router};
/// use ringway::layer::Timeout;
/// let app = Router::new()
///     .get("/slow", async |_: OwnedRequest| {
///         ringway::sleep(Duration::from_secs(60)).await;
///         Response::text("at last")
///     })
///     .layer(Timeout::new(Duration::from_secs(5)).status(http::StatusCode::GATEWAY_TIMEOUT));
/// # let _ = app;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Timeout {
    after: Duration,
    status: StatusCode,
}

impl Timeout {
    /// Sets the time limit.
    ///
    /// # Panics
    /// If the time is zero.
    #[must_use]
    #[track_caller]
    pub fn new(after: Duration) -> Self {
        assert!(!after.is_zero(), "a timeout must be longer than zero");
        Self { after, status: StatusCode::SERVICE_UNAVAILABLE }
    }

    /// Sets the status of the answer after a timeout.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }
}

impl Layer for Timeout {
    fn call(&self, request: &Request<'_>, next: Next<'_>) -> Reply {
        match next.run(request) {
            Reply::Later(answer) => {
                let (answer, status) = (timeout(self.after, Reply::Later(answer)), self.status);
                let answer = async move { answer.await.unwrap_or_else(|_| status.into()) };
                Reply::Later(Box::pin(answer))
            }
            ready => ready,
        }
    }
}
