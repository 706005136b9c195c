//! The client of a test: what it asks, and what it is answered.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::machine::{self, Machine, Message};
use crate::app::handler::{Guarded, Handler, IntoHandler};
use crate::config::Limits;
use crate::ring::token::Id;

/// How long a test waits in earnest, for closures and threads of the application.
const PATIENCE: Duration = Duration::from_secs(20);

/// Calls a handler without sockets: see [the module](super). It may be shared between threads. When
/// it is dropped, tasks that are left are dropped where they await.
pub struct Client {
    messages: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// A client of `app`, a [`Router`](crate::Router) or any other handler, with the bounds that a
    /// server has by default.
    pub fn new<K>(app: impl IntoHandler<K>) -> Self {
        Self::with_limits(app, Limits::default())
    }

    /// The same with other bounds.
    ///
    /// # Panics
    /// Where no thread can be started.
    pub fn with_limits<K>(app: impl IntoHandler<K>, limits: Limits) -> Self {
        let app: Arc<dyn Handler> = Arc::new(Guarded(app.into_handler()));
        app.start();
        let (messages, received) = mpsc::channel();
        let post = messages.clone();
        let body = move || machine::run(app, limits, post, &received);
        let thread = std::thread::Builder::new().name("ringway-test".into()).spawn(body);
        match thread {
            Ok(thread) => Self { messages, thread: Some(thread) },
            Err(error) => panic!("a client's thread cannot be started: {error}"),
        }
    }

    /// A GET request for a path, with a query perhaps.
    pub fn get(&self, target: &str) -> ClientRequest<'_> {
        self.request(Method::GET, target)
    }

    /// A HEAD request.
    pub fn head(&self, target: &str) -> ClientRequest<'_> {
        self.request(Method::HEAD, target)
    }

    /// A POST request.
    pub fn post(&self, target: &str) -> ClientRequest<'_> {
        self.request(Method::POST, target)
    }

    /// A PUT request.
    pub fn put(&self, target: &str) -> ClientRequest<'_> {
        self.request(Method::PUT, target)
    }

    /// A PATCH request.
    pub fn patch(&self, target: &str) -> ClientRequest<'_> {
        self.request(Method::PATCH, target)
    }

    /// A DELETE request.
    pub fn delete(&self, target: &str) -> ClientRequest<'_> {
        self.request(Method::DELETE, target)
    }

    /// A request of any method. The target goes as it stands; nothing is encoded.
    pub fn request(&self, method: Method, target: &str) -> ClientRequest<'_> {
        let target = target.to_owned();
        ClientRequest { client: self, method, target, fields: HeaderMap::new(), body: None }
    }

    /// Lets time pass: what waits for it goes on, in the order in which it is due.
    pub fn advance(&self, duration: Duration) {
        self.with(move |machine| machine.advance(duration));
    }

    /// What `work` gives on the worker's thread.
    fn with<R: Send + 'static>(&self, work: impl FnOnce(&mut Machine) -> R + Send + 'static) -> R {
        let (reply, result) = mpsc::channel();
        let work = move |machine: &mut Machine| drop(reply.send(work(machine)));
        let sent = self.messages.send(Message::Do(Box::new(work)));
        match sent.ok().and_then(|()| result.recv().ok()) {
            Some(result) => result,
            None => panic!("the worker of the test has failed: a destructor panicked, perhaps"),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.messages.send(Message::End);
        // A test that has failed does not wait for a handler that may never return.
        if let Some(thread) = self.thread.take().filter(|_| !std::thread::panicking()) {
            let _ = thread.join();
        }
    }
}

/// A request to be: made by [`Client::get`] and the others.
#[must_use = "a request is made by `send`, `start` or `stream`"]
pub struct ClientRequest<'c> {
    client: &'c Client,
    method: Method,
    target: String,
    fields: HeaderMap,
    body: Option<Vec<u8>>,
}

impl<'c> ClientRequest<'c> {
    /// Adds a field. `Host` is `localhost` unless it is among them.
    ///
    /// # Panics
    /// On a name or value that no field can have.
    #[track_caller]
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        let (name, value) = (name.as_ref(), value.as_ref());
        let parsed = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value));
        let (Ok(name), Ok(value)) = parsed else {
            panic!("no field: {name}: {}", String::from_utf8_lossy(value));
        };
        self.fields.append(name, value);
        self
    }

    /// Sets the body, whose length is announced.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sets the body to a value as JSON, and the content type.
    ///
    /// # Panics
    /// On a value that JSON cannot express.
    #[track_caller]
    pub fn json(self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.header("content-type", "application/json").body(body),
            Err(error) => panic!("no JSON: {error}"),
        }
    }

    /// Makes the request and waits for the whole answer, moving the clock as far as it needs, by up
    /// to a day.
    ///
    /// # Panics
    /// Where no answer comes, even with time.
    #[track_caller]
    pub fn send(self) -> ClientResponse {
        self.start().finish_by(true)
    }

    /// Makes the request. It gets as far as it can without time.
    pub fn start(self) -> ClientExchange<'c> {
        self.begin(false)
    }

    /// Begins a request whose body is streamed, chunk by chunk; what [`Self::body`] has set is the
    /// first of it. It gets as far as it can without time.
    pub fn stream(self) -> ClientExchange<'c> {
        self.begin(true)
    }

    fn begin(mut self, streams: bool) -> ClientExchange<'c> {
        let body = self.body.take();
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        if !self.fields.contains_key(http::header::HOST) {
            head.extend_from_slice(b"host: localhost\r\n");
        }
        for (name, value) in &self.fields {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        match &body {
            _ if streams => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Some(body) => {
                head.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
            }
            None => {}
        }
        head.extend_from_slice(b"\r\n");
        if !streams {
            head.extend_from_slice(body.as_deref().unwrap_or_default());
        }
        let (client, head_only) = (self.client, self.method == Method::HEAD);
        let id = client.with(move |machine| machine.connect(head, head_only));
        let exchange = ClientExchange { client, id };
        if let Some(first) = body.filter(|_| streams) {
            exchange.push(first);
        }
        exchange
    }
}

/// A request that was made, and an answer that comes. Dropping it is the client's leaving.
pub struct ClientExchange<'c> {
    client: &'c Client,
    id: Id,
}

impl ClientExchange<'_> {
    /// Sends a chunk of a [streamed](ClientRequest::stream) body.
    pub fn push(&self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        // A chunk without bytes would be the last one.
        if !bytes.is_empty() {
            self.write([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat());
        }
    }

    /// Ends a streamed body.
    pub fn finish(&self) {
        self.finish_with([]);
    }

    /// Ends a streamed body with trailers.
    pub fn finish_with<'a>(&self, trailers: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let lines = trailers.into_iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        self.write(format!("0\r\n{}\r\n", lines.collect::<String>()).into_bytes());
    }

    /// Leaves, whether the request is whole or not: what works for it stops.
    pub fn abort(self) {}

    /// Whether the answer has begun: its status and fields are there.
    pub fn is_answered(&self) -> bool {
        self.status().is_some()
    }

    /// The answer's status, once it has begun.
    pub fn status(&self) -> Option<StatusCode> {
        self.look(|answer| answer.status)
    }

    /// Whether the answer is over: whole, or broken off.
    pub fn is_over(&self) -> bool {
        self.look(|answer| answer.is_over())
    }

    /// The fields of each early hint that has come by now (103, RFC 8297).
    pub fn hints(&self) -> Vec<HeaderMap> {
        self.look(|answer| answer.hints.clone())
    }

    /// The next piece of the answer's body, as it was written, if it has come by now.
    pub fn chunk(&self) -> Option<Vec<u8>> {
        let id = self.id;
        self.client.with(move |machine| {
            let piece = machine.answer(id)?.pieces.pop_front();
            // There may be room for more.
            machine.send(id, &[]);
            piece
        })
    }

    /// Waits for the rest of the answer. The clock stands still; closures and threads of the
    /// application are waited for.
    ///
    /// # Panics
    /// Where only time could help.
    #[track_caller]
    pub fn response(self) -> ClientResponse {
        self.finish_by(false)
    }

    #[track_caller]
    fn finish_by(self, hurries: bool) -> ClientResponse {
        let (id, (done, waited)) = (self.id, mpsc::channel());
        self.client.with(move |machine| machine.wait(id, hurries, done));
        assert!(
            waited.recv_timeout(PATIENCE).is_ok(),
            "no answer came: the handler waits for time (`start` and `Client::advance`), or for \
             what never happens"
        );
        let response = self.look(|answer| {
            let status = answer.status?;
            Some(ClientResponse {
                status,
                headers: std::mem::take(&mut answer.headers),
                body: answer.pieces.drain(..).flatten().collect(),
                trailers: std::mem::take(&mut answer.trailers),
                hints: std::mem::take(&mut answer.hints),
                is_broken: answer.is_broken(),
            })
        });
        match response {
            Some(response) => response,
            None => panic!("the connection was closed without an answer"),
        }
    }

    fn write(&self, bytes: Vec<u8>) {
        let id = self.id;
        self.client.with(move |machine| machine.send(id, &bytes));
    }

    fn look<R: Send + 'static>(
        &self,
        look: impl FnOnce(&mut super::answer::Answer) -> R + Send + 'static,
    ) -> R {
        let id = self.id;
        match self.client.with(move |machine| machine.answer(id).map(look)) {
            Some(result) => result,
            None => unreachable!("a client that has not left has an answer"),
        }
    }
}

impl Drop for ClientExchange<'_> {
    fn drop(&mut self) {
        let id = self.id;
        let leave = Message::Do(Box::new(move |machine| machine.leave(id)));
        // An error means that the worker has failed, which was told.
        let _ = self.client.messages.send(leave);
    }
}

/// A whole answer.
pub struct ClientResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
    hints: Vec<HeaderMap>,
    is_broken: bool,
}

impl ClientResponse {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The fields.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The first field of a name, where it is text.
    pub fn header(&self, name: impl AsRef<str>) -> Option<&str> {
        self.headers.get(name.as_ref())?.to_str().ok()
    }

    /// The body.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The body as text.
    ///
    /// # Panics
    /// Where it is not UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        match std::str::from_utf8(&self.body) {
            Ok(text) => text,
            Err(error) => panic!("the body is no text: {error}"),
        }
    }

    /// The body as a value in JSON.
    ///
    /// # Panics
    /// Where it is none of this type.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => {
                panic!("the body is not as expected: {error}: {}", self.body.escape_ascii())
            }
        }
    }

    /// The fields behind the body.
    pub fn trailers(&self) -> &HeaderMap {
        &self.trailers
    }

    /// The fields of each early hint (103, RFC 8297).
    pub fn hints(&self) -> &[HeaderMap] {
        &self.hints
    }

    /// Whether the answer was broken off, so that [`Self::bytes`] is a part of it.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }
}

impl fmt::Debug for ClientResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientResponse")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("body", &format_args!("{}", self.body.escape_ascii()))
            .finish_non_exhaustive()
    }
}
