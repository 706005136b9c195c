//! The test client: its requests and their answers.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answer::Answer;
use super::machine::{self, Machine, Message};
use crate::app::handler::{Guarded, Handler, IntoHandler};
use crate::config::Limits;
use crate::ring::token::Id;

/// Maximum real time that a test waits for the application's closures and threads.
const PATIENCE: Duration = Duration::from_secs(20);

/// Calls a handler without sockets: see [the module](super). A client may be shared between
/// threads. Dropping it drops its remaining tasks.
pub struct Client {
    messages: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// A client of `app`, a [`Router`](crate::Router) or any other handler, with a server's default
    /// limits.
    pub fn new<K>(app: impl IntoHandler<K>) -> Self {
        Self::with_limits(app, Limits::default())
    }

    /// Same as [`Self::new`], with other limits.
    ///
    /// # Panics
    /// If no thread can be started.
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

    /// A GET request for a path with an optional query.
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

    /// A request with any method. The target is sent as given, without encoding.
    pub fn request(&self, method: Method, target: &str) -> ClientRequest<'_> {
        let target = target.to_owned();
        ClientRequest { client: self, method, target, fields: HeaderMap::new(), body: None }
    }

    /// Advances the clock. Everything that becomes due happens in order.
    pub fn advance(&self, duration: Duration) {
        self.with(move |machine| machine.advance(duration));
    }

    /// Opens a connection for bytes of any protocol, for the instruction counts of `bench/icount`.
    #[doc(hidden)]
    pub fn unparsed(&self) -> UnparsedConnection<'_> {
        let id = self.with(|machine| machine.connect(Vec::new(), Answer::unparsed()));
        UnparsedConnection(ClientExchange { client: self, id })
    }

    /// Runs `work` on the worker's thread and returns its result.
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
        // A failed test does not wait for a handler that may never return.
        if let Some(thread) = self.thread.take().filter(|_| !std::thread::panicking()) {
            let _ = thread.join();
        }
    }
}

/// A request being built by [`Client::get`] and the other methods.
#[must_use = "a request is made by `send`, `start` or `stream`"]
pub struct ClientRequest<'c> {
    client: &'c Client,
    method: Method,
    target: String,
    fields: HeaderMap,
    body: Option<Vec<u8>>,
}

impl<'c> ClientRequest<'c> {
    /// Adds a field. `Host` is `localhost` unless given.
    ///
    /// # Panics
    /// If the name or value is not valid in a field.
    #[track_caller]
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        let (name, value) = (name.as_ref(), value.as_ref());
        let parsed = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value));
        let (Ok(name), Ok(value)) = parsed else {
            panic!("invalid field: {name}: {}", String::from_utf8_lossy(value));
        };
        self.fields.append(name, value);
        self
    }

    /// Sets the body and its content-length.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sets the body to a value as JSON, and the content type.
    ///
    /// # Panics
    /// If the value cannot be serialised as JSON.
    #[track_caller]
    pub fn json(self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.header("content-type", "application/json").body(body),
            Err(error) => panic!("cannot serialise as JSON: {error}"),
        }
    }

    /// Sends the request and waits for the whole answer. The clock advances as far as needed, up to
    /// one day.
    ///
    /// # Panics
    /// If no answer comes within that time.
    #[track_caller]
    pub fn send(self) -> ClientResponse {
        self.start().finish_by(true)
    }

    /// Sends the request. It proceeds as far as it can without advancing the clock.
    pub fn start(self) -> ClientExchange<'c> {
        self.begin(false)
    }

    /// Sends a request with a streamed body, chunk by chunk, beginning with what [`Self::body`] has
    /// set. It proceeds as far as it can without advancing the clock.
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
        let answer = Answer::new(head_only);
        let id = client.with(move |machine| machine.connect(head, answer));
        let exchange = ClientExchange { client, id };
        if let Some(first) = body.filter(|_| streams) {
            exchange.push(first);
        }
        exchange
    }
}

/// A request in progress and its answer. Dropping it closes the client's connection.
pub struct ClientExchange<'c> {
    client: &'c Client,
    id: Id,
}

impl ClientExchange<'_> {
    /// Sends a chunk of a [streamed](ClientRequest::stream) body.
    pub fn push(&self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        // An empty chunk would end the body.
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

    /// Closes the connection, even if the request is incomplete. Its tasks stop.
    pub fn abort(self) {}

    /// True once the answer's status and fields have arrived.
    pub fn is_answered(&self) -> bool {
        self.status().is_some()
    }

    /// The answer's status, once it has arrived.
    pub fn status(&self) -> Option<StatusCode> {
        self.look(|answer| answer.status)
    }

    /// True if the answer has ended, complete or not.
    pub fn is_over(&self) -> bool {
        self.look(|answer| answer.is_over())
    }

    /// The fields of each early hint received so far (103, RFC 8297).
    pub fn hints(&self) -> Vec<HeaderMap> {
        self.look(|answer| answer.hints.clone())
    }

    /// The next piece of the answer's body as it was written; `None` if it has not arrived.
    pub fn chunk(&self) -> Option<Vec<u8>> {
        let id = self.id;
        self.client.with(move |machine| {
            let piece = machine.answer(id)?.pieces.pop_front();
            // There may be room for more output now.
            machine.send(id, &[]);
            piece
        })
    }

    /// Waits for the rest of the answer without advancing the clock. The application's closures and
    /// threads are waited for.
    ///
    /// # Panics
    /// If the answer needs the clock to advance.
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

    fn look<R: Send + 'static>(&self, look: impl FnOnce(&mut Answer) -> R + Send + 'static) -> R {
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
        // An error means that the worker has failed, which was already reported.
        let _ = self.client.messages.send(leave);
    }
}

/// A connection that transfers bytes as they are, see [`Client::unparsed`].
#[doc(hidden)]
pub struct UnparsedConnection<'c>(ClientExchange<'c>);

impl UnparsedConnection<'_> {
    /// Sends segments of at most 16 KiB, each after the answer to the one before, and returns what
    /// was received.
    pub fn exchange(&self, segments: Vec<Vec<u8>>) -> Vec<u8> {
        let id = self.0.id;
        let work = move |machine: &mut Machine| {
            segments.iter().for_each(|segment| machine.send(id, segment));
            machine.answer(id).map(|answer| Vec::from(std::mem::take(&mut answer.pieces)).concat())
        };
        self.0.client.with(work).unwrap_or_default()
    }
}

/// A complete answer.
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

    /// The first field with this name; `None` if it is missing or not text.
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
    /// If the body is not UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        match std::str::from_utf8(&self.body) {
            Ok(text) => text,
            Err(error) => panic!("the body is not UTF-8: {error}"),
        }
    }

    /// The body deserialised from JSON.
    ///
    /// # Panics
    /// If the body does not fit the type.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => {
                panic!("the body is not as expected: {error}: {}", self.body.escape_ascii())
            }
        }
    }

    /// The trailers.
    pub fn trailers(&self) -> &HeaderMap {
        &self.trailers
    }

    /// The fields of each early hint (103, RFC 8297).
    pub fn hints(&self) -> &[HeaderMap] {
        &self.hints
    }

    /// True if the answer was broken off, so that [`Self::bytes`] is incomplete.
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
