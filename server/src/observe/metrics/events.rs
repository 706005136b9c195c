//! `/events`: the figures of `/stats.json` each second, as server-sent events. Made once for all
//! who look, on the thread that serves metrics; nobody looks, nothing is made.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode, header};

use super::figures::Figures;
use crate::app::body::BodyWriter;
use crate::app::response::Response;
use crate::rt::interval::interval;

/// How often the figures are sent.
const EVERY: Duration = Duration::from_secs(1);

/// A client that takes nothing for this long is dropped.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is sent, and to how many.
pub(super) struct Events {
    figures: Arc<Figures>,
    clients: Arc<AtomicU32>,
    most: u32,
    latest: Mutex<Option<(Instant, Arc<[u8]>)>>,
}

/// A client that is sent events; it counts until it is dropped.
struct Seat(Arc<AtomicU32>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Events {
    pub(super) fn new(figures: Arc<Figures>, most: u32) -> Arc<Self> {
        Arc::new(Self { figures, clients: Arc::default(), most, latest: Mutex::new(None) })
    }

    /// The answer to one who wants them.
    pub(super) fn answer(self: &Arc<Self>, head_only: bool) -> Response {
        let seat = Seat(Arc::clone(&self.clients));
        // The number publishes nothing else.
        if self.clients.fetch_add(1, Ordering::Relaxed) >= self.most {
            let why = format!("{} pages are open already: close one of them.\n", self.most);
            return Response::text(why)
                .status(StatusCode::SERVICE_UNAVAILABLE)
                .header(header::RETRY_AFTER, HeaderValue::from_static("10"));
        }
        let events = Arc::clone(self);
        let response = match head_only {
            true => Response::typed("text/event-stream", ""),
            false => Response::stream("text/event-stream", async move |out| {
                let _seat = seat;
                events.send(out).await;
            }),
        };
        response.header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
    }

    async fn send(&self, mut out: BodyWriter) {
        let mut ticks = interval(EVERY);
        let mut taken = Instant::now();
        loop {
            ticks.tick().await;
            // A client that is behind is sent nothing more until it has taken what there is.
            if out.waiting() == 0 {
                taken = Instant::now();
                if out.write(self.latest()).await.is_err() {
                    return;
                }
            } else if taken.elapsed() >= PATIENCE {
                return out.abort();
            }
        }
    }

    /// An event of the present figures, made again when the last is half a second old.
    fn latest(&self) -> Arc<[u8]> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some((made, event)) if made.elapsed() < EVERY / 2 => Arc::clone(event),
            _ => {
                let event = format!("retry: 2000\ndata: {}\n\n", self.figures.stats());
                let event: Arc<[u8]> = event.into_bytes().into();
                *latest = Some((Instant::now(), Arc::clone(&event)));
                event
            }
        }
    }
}
