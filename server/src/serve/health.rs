//! What balancers and orchestrators ask: `/livez`, whether every worker turns, and `/readyz`,
//! whether the server wants requests. On the metrics listener, and alone on a listener of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, StatusCode, header};

use crate::app::handler::{BodyMode, Handler, Reply};
use crate::app::request::Request;
use crate::app::response::Response;
use crate::observe::metrics::Lifecycle;
use crate::rt::sleep::sleep;
use crate::serve::receipt::{Late, Receipt};
use crate::serve::workers::Post;

/// A worker that has not turned for so long is stuck.
const TURN: Duration = Duration::from_secs(5);

/// Pauses between looks whether the workers have turned: most have at once.
const LOOKS: [u64; 8] = [0, 1, 2, 5, 10, 20, 50, 100];

/// Answers the two questions, and leaves everything else to another handler.
pub(super) struct Health {
    posts: Vec<Post>,
    lifecycle: Arc<Lifecycle>,
    other: Option<Box<dyn Handler>>,
}

impl Health {
    /// Of the server with these workers.
    pub(super) fn new(
        posts: Vec<Post>,
        lifecycle: Arc<Lifecycle>,
        other: Option<Box<dyn Handler>>,
    ) -> Self {
        Self { posts, lifecycle, other }
    }

    fn livez(&self) -> Reply {
        let asked = Receipt::of(self.posts.iter().map(|post| {
            // Nothing is ordered: that they take it is the answer.
            (post.clone(), post.orders.give(Vec::new(), &post.mailbox))
        }));
        Reply::Later(Box::pin(async move {
            match turned(&asked).await {
                Ok(()) => said(StatusCode::OK, "every worker turns".into()),
                Err(late) => said(StatusCode::SERVICE_UNAVAILABLE, format!("for {TURN:?} {late}")),
            }
        }))
    }

    fn readyz(&self) -> Reply {
        Reply::Ready(match self.lifecycle.is_leaving() {
            false => said(StatusCode::OK, "it serves".into()),
            true => said(StatusCode::SERVICE_UNAVAILABLE, "it is about to end".into()),
        })
    }
}

/// Waits until every worker has turned.
async fn turned(asked: &Receipt) -> Result<(), Late> {
    let began = Instant::now();
    let mut looks = LOOKS.into_iter();
    loop {
        let late = asked.late();
        if late.is_empty() {
            return Ok(());
        }
        if began.elapsed() >= TURN {
            return Err(Late(late));
        }
        match looks.next() {
            Some(pause) => sleep(Duration::from_millis(pause)).await,
            None => {
                // A full ring may have refused the message.
                asked.remind();
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn said(status: StatusCode, what: String) -> Response {
    let response: Response = (status, Response::text(what + "\n")).into();
    response.header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

impl Handler for Health {
    fn call(&self, request: &Request<'_>) -> Reply {
        let is_asked = matches!(request.path(), "/livez" | "/readyz");
        match (request.path(), request.method()) {
            ("/livez", Method::GET | Method::HEAD) => self.livez(),
            ("/readyz", Method::GET | Method::HEAD) => self.readyz(),
            _ if is_asked => {
                let allowed = HeaderValue::from_static("GET, HEAD");
                let refusal = Response::new(StatusCode::METHOD_NOT_ALLOWED);
                Reply::Ready(refusal.header(header::ALLOW, allowed))
            }
            _ => match &self.other {
                Some(other) => other.call(request),
                None => Reply::Ready(StatusCode::NOT_FOUND.into()),
            },
        }
    }

    fn start(&self) {
        self.other.iter().for_each(|other| other.start());
    }

    fn body_mode(&self, request: &Request<'_>) -> BodyMode {
        self.other.as_ref().map_or(BodyMode::Buffer, |other| other.body_mode(request))
    }
}
