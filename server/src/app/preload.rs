//! Configured additions to a handler's answers, by path: Link fields sent ahead of a page and with
//! it (RFC 8297), and pushes (RFC 9113 section 8.4).

use std::sync::Arc;

use http::header::LINK;
use http::{Method, StatusCode};

use crate::app::handler::{BodyMode, Handler, Reply};
use crate::app::request::Request;
use crate::app::response::Response;
use crate::config::{Config, Hints, Push};

/// A handler with additions.
pub(crate) struct Preload<H> {
    inner: H,
    rules: Arc<Rules>,
}

struct Rules {
    hints: Vec<Hints>,
    push: Vec<Push>,
}

/// The additions to one answer, as indices into the rules.
#[derive(Clone, Copy)]
struct Chosen {
    hints: Option<usize>,
    push: Option<usize>,
}

impl<H: Handler> Preload<H> {
    /// Wraps `inner` with the additions in `config`; gives `inner` back if there are none.
    pub(crate) fn new(inner: H, config: &Config) -> Result<Self, H> {
        let (hints, push) = (config.hints.clone(), config.push.clone());
        if hints.is_empty() && push.is_empty() {
            return Err(inner);
        }
        Ok(Self { inner, rules: Arc::new(Rules { hints, push }) })
    }
}

impl Rules {
    fn choose(&self, request: &Request<'_>) -> Chosen {
        let (mut hints, mut push) = (None, None);
        if request.method() == Method::GET {
            let path = request.path();
            hints = self.hints.iter().position(|each| each.path.0 == path);
            push = self.push.iter().position(|each| each.path.0 == path);
        }
        Chosen { hints, push }
    }

    fn add(&self, chosen: Chosen, mut response: Response) -> Response {
        // Only a page that is sent needs additions.
        if response.status_code() != StatusCode::OK {
            return response;
        }
        for link in chosen.hints.iter().flat_map(|at| &self.hints[*at].links) {
            response = response.header(LINK, link.0.clone());
        }
        for path in chosen.push.iter().flat_map(|at| &self.push[*at].push) {
            response = response.push(path.0.clone());
        }
        response
    }
}

impl<H: Handler> Handler for Preload<H> {
    fn call(&self, request: &Request<'_>) -> Reply {
        let chosen = self.rules.choose(request);
        match self.inner.call(request) {
            Reply::Ready(response) => Reply::Ready(self.rules.add(chosen, response)),
            Reply::Later(answer) => {
                if let Some(at) = chosen.hints {
                    request.early_hints(self.rules.hints[at].links.iter().map(|l| l.0.clone()));
                }
                let rules = Arc::clone(&self.rules);
                Reply::Later(Box::pin(async move { rules.add(chosen, answer.await) }))
            }
        }
    }

    fn start(&self) {
        self.inner.start();
    }

    fn body_mode(&self, request: &Request<'_>) -> BodyMode {
        self.inner.body_mode(request)
    }
}
