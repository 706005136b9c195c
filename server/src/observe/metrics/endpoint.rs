//! The handler behind `--metrics`: the page at `/` and what it is told at `/events`, `/stats.json`
//! for people and scripts, `/metrics` for Prometheus.

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};

use super::events::Events;
use super::figures::Figures;
use super::guard::Guard;
use super::page;
use crate::app::handler::{Handler, Reply};
use crate::app::request::Request;
use crate::app::response::Response;

/// Answers on the metrics listener.
pub(crate) struct Endpoint {
    figures: Arc<Figures>,
    events: Arc<Events>,
    guard: Guard,
}

impl Endpoint {
    /// Shows these figures, to so many pages at once.
    pub(crate) fn new(figures: Arc<Figures>, pages: u32, guard: Guard) -> Self {
        let events = Events::new(Arc::clone(&figures), pages);
        Self { figures, events, guard }
    }

    fn answer(&self, request: &Request<'_>) -> Response {
        let method = request.method();
        if !matches!(method, http::Method::GET | http::Method::HEAD) {
            return Response::new(StatusCode::METHOD_NOT_ALLOWED)
                .header(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if let Some(refusal) = self.guard.refusal(request) {
            return refusal;
        }
        match request.path() {
            "/metrics" => {
                let text = self.figures.prometheus();
                Response::typed("text/plain; version=0.0.4; charset=utf-8", text)
            }
            "/stats.json" => Response::json_bytes(self.figures.stats()),
            "/events" if page::is_stale(request) => StatusCode::GONE.into(),
            "/events" => self.events.answer(method == http::Method::HEAD),
            path => page::part(path).unwrap_or_else(|| StatusCode::NOT_FOUND.into()),
        }
    }
}

impl Handler for Endpoint {
    fn call(&self, request: &Request<'_>) -> Reply {
        Reply::Ready(page::guarded(self.answer(request)))
    }
}
