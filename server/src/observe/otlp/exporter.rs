//! The thread that sends spans and metrics to the collector.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::connection::post;
use super::traced::{Span, Tracing};
use super::{metrics, spans};
use crate::app::error::Error;
use crate::config::{CollectorUrl, Limits};
use crate::observe::metrics::{Exported, Figures};
use crate::rt::console::note;

/// Spans that are sent at once.
const BATCH: usize = 512;
/// For how long spans gather.
const GATHER: Duration = Duration::from_secs(1);
/// How long the collector may take for one request.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first pause after a failure; each further one is twice as long, up to the longest.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The handle of the thread.
pub(crate) struct Exporter {
    tracing: Tracing,
    stopping: Arc<AtomicBool>,
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Exporter {
    /// Sends what `figures` has to a collector from now on, and the spans that [`Self::tracing`]
    /// records.
    pub(crate) fn start(
        url: CollectorUrl,
        limits: &Limits,
        figures: Arc<Figures>,
    ) -> Result<Self, Error> {
        let exported = figures.exported.clone().unwrap_or_default();
        let (queue, recorded) = mpsc::sync_channel(limits.otlp_queue);
        let tracing = Tracing {
            queue,
            exported: Arc::clone(&exported),
            begun: limits.otlp_traces,
            recorded: limits.otlp_spans,
        };
        let (over, done) = mpsc::channel();
        let stopping = Arc::<AtomicBool>::default();
        let now = Instant::now();
        let work = Work {
            link: Link { url, exported, pause: PAUSE, retry_at: now, is_lost: false },
            figures,
            interval: limits.otlp_interval,
            start: unix_nanos(),
            recorded,
            batch: Vec::new(),
            flush_at: now,
            metrics_at: now + limits.otlp_interval,
            stopping: Arc::clone(&stopping),
        };
        let body = move || {
            work.run();
            drop(over);
        };
        let builder = std::thread::Builder::new().name("ringway-otlp".into());
        let thread = builder.spawn(body).map_err(Error::Worker)?;
        Ok(Self { tracing, stopping, done, thread: Some(thread) })
    }

    /// What records the spans.
    pub(crate) fn tracing(&self) -> Tracing {
        self.tracing.clone()
    }

    /// Sends what there is, once, and ends; waits for that no longer than `patience`.
    pub(crate) fn finish(mut self, patience: Duration) {
        self.stop();
        if self.done.recv_timeout(patience) != Err(RecvTimeoutError::Timeout)
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // The application's handler may live on, so the queue does not close by itself. If it is
        // full the thread does not wait for it.
        let _ = self.tracing.queue.try_send(None);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The way to the collector.
struct Link {
    url: CollectorUrl,
    exported: Arc<Exported>,
    /// How long to wait after the next failure.
    pause: Duration,
    /// When it may be tried again.
    retry_at: Instant,
    /// It has failed, which was said.
    is_lost: bool,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    Taken,
    /// It will never be taken.
    Refused,
    /// It may be taken later.
    Failed,
}

impl Link {
    fn deliver(&mut self, signal: &str, body: &Value, patience: Duration) -> (Delivery, u64) {
        let body = body.to_string();
        let why = match post(&self.url, signal, body.as_bytes(), patience) {
            Ok(answer) if answer.status / 100 == 2 => {
                self.succeed();
                return (Delivery::Taken, rejected(&answer.body));
            }
            // Only these are worth another try (OTLP/HTTP, "Retryable Response Codes").
            Ok(answer) if [429, 502, 503, 504].contains(&answer.status) => {
                let after = answer.retry_after.map(|after| after.min(PAUSE_MAX));
                self.pause = self.pause.max(after.unwrap_or_default());
                format!("it answers {}", answer.status)
            }
            Ok(answer) => {
                let text = String::from_utf8_lossy(&answer.body);
                let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
                self.fail(&format!("it answers {} to {signal}: {text}", answer.status));
                return (Delivery::Refused, 0);
            }
            Err(error) => error.to_string(),
        };
        self.fail(&why);
        (Delivery::Failed, 0)
    }

    fn succeed(&mut self) {
        if std::mem::take(&mut self.is_lost) {
            note!("OTLP: {} takes metrics and traces again", self.url);
        }
        self.pause = PAUSE;
    }

    /// Waits longer each time; says why once, until it works again.
    fn fail(&mut self, why: &str) {
        self.exported.fail();
        self.retry_at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        if !std::mem::replace(&mut self.is_lost, true) {
            let url = &self.url;
            note!(
                "OTLP: {url} takes no metrics and traces: {why}; it is tried again, and spans that \
                 find no room until then are dropped and counted"
            );
        }
    }
}

/// Spans that the collector says it did not keep (`partialSuccess`).
fn rejected(answer: &[u8]) -> u64 {
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else { return 0 };
    let spans = &answer["partialSuccess"]["rejectedSpans"];
    spans.as_u64().or_else(|| spans.as_str()?.parse().ok()).unwrap_or(0)
}

/// What the thread has.
struct Work {
    link: Link,
    figures: Arc<Figures>,
    interval: Duration,
    /// Nanoseconds since 1970, from which on everything is counted.
    start: u64,
    recorded: Receiver<Option<Box<Span>>>,
    batch: Vec<Value>,
    /// When the batch is sent, if it is not full before.
    flush_at: Instant,
    metrics_at: Instant,
    stopping: Arc<AtomicBool>,
}

impl Work {
    fn run(mut self) {
        while !self.stopping.load(Ordering::Acquire) {
            let now = Instant::now();
            if now >= self.link.retry_at {
                self.send(now);
            }
            self.wait();
        }
        let patience = Duration::from_secs(1);
        while let Ok(Some(span)) = self.recorded.try_recv() {
            self.batch.push(spans::span(&span));
        }
        self.send_spans(patience);
        self.send_metrics(patience);
    }

    fn send(&mut self, now: Instant) {
        if self.batch.len() >= BATCH || !self.batch.is_empty() && now >= self.flush_at {
            self.send_spans(PATIENCE);
        }
        if now >= self.metrics_at && now >= self.link.retry_at {
            self.metrics_at = now + self.interval;
            self.send_metrics(PATIENCE);
        }
    }

    /// Takes a span, or waits until something is due.
    fn wait(&mut self) {
        let is_full = self.batch.len() >= BATCH;
        let next = match self.batch.is_empty() {
            true => self.metrics_at,
            false if is_full => Instant::now(),
            false => self.flush_at.min(self.metrics_at),
        };
        let wait = next.max(self.link.retry_at).saturating_duration_since(Instant::now());
        if is_full {
            return std::thread::park_timeout(wait);
        }
        if let Ok(Some(span)) = self.recorded.recv_timeout(wait) {
            if self.batch.is_empty() {
                self.flush_at = Instant::now() + GATHER;
            }
            self.batch.push(spans::span(&span));
        }
    }

    fn send_spans(&mut self, patience: Duration) {
        if self.batch.is_empty() {
            return;
        }
        let all = self.batch.len() as u64;
        let scope = json!({"scope": scope(), "spans": self.batch});
        let body = json!({"resourceSpans": [{"resource": resource(), "scopeSpans": [scope]}]});
        match self.link.deliver("traces", &body, patience) {
            (Delivery::Taken, rejected) => {
                let rejected = rejected.min(all);
                self.link.exported.send_spans(all - rejected);
                self.link.exported.drop_spans(rejected);
            }
            (Delivery::Refused, _) => self.link.exported.drop_spans(all),
            (Delivery::Failed, _) => return,
        }
        self.batch.clear();
    }

    /// Counts are since the start, so that nothing is lost with one that fails.
    fn send_metrics(&mut self, patience: Duration) {
        let metrics = metrics::metrics(&self.figures.prometheus(), self.start, unix_nanos());
        let scope = json!({"scope": scope(), "metrics": metrics});
        let body = json!({"resourceMetrics": [{"resource": resource(), "scopeMetrics": [scope]}]});
        self.link.deliver("metrics", &body, patience);
    }
}

fn scope() -> Value {
    json!({"name": "ringway", "version": env!("CARGO_PKG_VERSION")})
}

/// Who sends this.
fn resource() -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let (host, pid) = (host.trim(), std::process::id());
    json!({"attributes": [
        text("service.name", "ringway"),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", &format!("{host}:{pid}")),
        text("host.name", host),
        {"key": "process.pid", "value": {"intValue": pid.to_string()}},
    ]})
}

fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64
}
