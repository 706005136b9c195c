//! How long an answer may take.

use std::time::Duration;

use http::StatusCode;

use crate::app::handler::Reply;
use crate::app::layer::{Layer, Next};
use crate::app::request::Request;
use crate::rt::timeout::timeout;

/// Ends what takes longer to answer, with 503 (RFC 9110 section 15.6.4) unless set: the future of
/// the answer is dropped. A gateway's layer would say 504.
///
/// Measured from the handler's call (the request's body is there by then, unless it is streamed) to
/// the response's head, by the worker's timer, whose resolution is about 16 ms. A response that is
/// there has no bound more, also where its body is still to be produced, nor has a handler that
/// answers at once: what holds up the worker cannot be ended by it.
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
    /// A bound of so much time.
    ///
    /// # Panics
    /// When that is none at all.
    #[must_use]
    #[track_caller]
    pub fn new(after: Duration) -> Self {
        assert!(!after.is_zero(), "no answer is ready after no time");
        Self { after, status: StatusCode::SERVICE_UNAVAILABLE }
    }

    /// Sets the status of what took too long.
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
