//! Server-sent events (HTML standard, section 9.2), which browsers receive with `EventSource`.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use futures_core::Stream;
use http::{HeaderValue, header};
use serde::Serialize;

use crate::app::body::BodyWriter;
use crate::app::response::Response;
use crate::rt::sleep::sleep;

/// A server-sent event.
///
/// ```
/// use ringway::sse::Event;
/// let event = Event::new("two\nlines").name("news").id("7");
/// assert_eq!(event.to_string(), "data: two\ndata: lines\nevent: news\nid: 7\n\n");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct SseEvent {
    /// Encoded fields, one per line.
    lines: String,
}

impl SseEvent {
    /// An event with this data, one `data` field per line.
    pub fn new(data: impl AsRef<str>) -> Self {
        let mut event = Self::default();
        event.field_lines("data", data.as_ref());
        event
    }

    /// An event with a value as JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Self> {
        serde_json::to_string(value).map(Self::new)
    }

    /// A comment, which browsers ignore.
    pub fn comment(text: impl AsRef<str>) -> Self {
        let mut event = Self::default();
        event.field_lines("", text.as_ref());
        event
    }

    /// Sets the event's name, which selects the browser's listeners (default `message`). Line
    /// breaks are removed.
    pub fn name(mut self, name: impl AsRef<str>) -> Self {
        self.field("event", name.as_ref());
        self
    }

    /// Sets the id. The browser sends it as `Last-Event-ID` when it reconnects. Line breaks and NUL
    /// are removed.
    pub fn id(mut self, id: impl AsRef<str>) -> Self {
        self.field("id", id.as_ref());
        self
    }

    /// Sets the delay before the browser reconnects.
    pub fn retry(mut self, after: Duration) -> Self {
        self.field("retry", &after.as_millis().to_string());
        self
    }

    fn field(&mut self, name: &str, value: &str) {
        let value: String = value.chars().filter(|c| !matches!(c, '\r' | '\n' | '\0')).collect();
        let _ = writeln!(self.lines, "{name}: {value}");
    }

    /// One field per line. Lines end in CR, LF or CRLF.
    fn field_lines(&mut self, name: &str, text: &str) {
        for line in text.replace("\r\n", "\n").split(['\r', '\n']) {
            let _ = writeln!(self.lines, "{name}: {line}");
        }
    }
}

impl std::fmt::Display for SseEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.lines)
    }
}

/// Items of an event stream: an event, or a `Result`, whose error breaks the response off.
pub trait IntoEvent {
    /// The event; `None` if the stream failed.
    fn into_event(self) -> Option<SseEvent>;
}

impl IntoEvent for SseEvent {
    fn into_event(self) -> Option<SseEvent> {
        Some(self)
    }
}

impl<E> IntoEvent for Result<SseEvent, E> {
    fn into_event(self) -> Option<SseEvent> {
        self.ok()
    }
}

/// A response of server-sent events: see [`Response::sse`].
#[must_use]
pub struct Sse<S> {
    events: S,
    keep_alive: Option<Duration>,
}

/// Proxies close connections that are silent for longer.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

impl<S> Sse<S>
where
    S: Stream<Item: IntoEvent> + 'static,
{
    /// A response of the stream's events. After 15 seconds of silence a comment is sent.
    pub fn new(events: S) -> Self {
        Self { events, keep_alive: Some(KEEP_ALIVE) }
    }

    /// Sets the silence after which a comment is sent; `None` disables comments.
    pub fn keep_alive(mut self, after: impl Into<Option<Duration>>) -> Self {
        self.keep_alive = after.into();
        self
    }
}

impl<S> From<Sse<S>> for Response
where
    S: Stream<Item: IntoEvent> + 'static,
{
    fn from(sse: Sse<S>) -> Self {
        let produce = async move |out| write_events(sse, out).await;
        Self::stream("text/event-stream", produce)
            .header(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
    }
}

impl Response {
    /// 200 with the stream's events as they come (`text/event-stream`). If the client leaves, the
    /// stream is dropped. [`Sse`](crate::sse::Sse) configures the keep-alive comments.
    pub fn sse<S>(events: S) -> Self
    where
        S: Stream<Item: IntoEvent> + 'static,
    {
        Sse::new(events).into()
    }
}

async fn write_events<S>(sse: Sse<S>, mut out: BodyWriter)
where
    S: Stream<Item: IntoEvent>,
{
    let Sse { events, keep_alive } = sse;
    let mut events = pin!(events);
    loop {
        let mut pause = None;
        let next = poll_fn(|context| {
            if let Poll::Ready(next) = events.as_mut().poll_next(context) {
                return Poll::Ready(Some(next));
            }
            let Some(keep_alive) = keep_alive else { return Poll::Pending };
            let pause = pause.get_or_insert_with(|| sleep(keep_alive));
            Pin::new(pause).poll(context).map(|()| None)
        });
        let text = match next.await {
            None => ":\n\n".to_owned(),
            Some(None) => return,
            Some(Some(event)) => match event.into_event() {
                Some(event) => event.to_string(),
                None => return out.abort(),
            },
        };
        if out.write(text).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p4_events_are_lines() {
        let event =
            SseEvent::new("a\r\nb\rc\n").name("n\now").id("7\0\r").retry(Duration::from_secs(2));
        let want = "data: a\ndata: b\ndata: c\ndata: \nevent: now\nid: 7\nretry: 2000\n\n";
        assert_eq!(event.to_string(), want);
        assert_eq!(SseEvent::comment("x\ny").to_string(), ": x\n: y\n\n");
        let json = SseEvent::json(&serde_json::json!({"a": "x\ny"})).unwrap();
        assert_eq!(json.to_string(), "data: {\"a\":\"x\\ny\"}\n\n");
    }
}
