//! The application under test: an axum `Router`, and services of the test's own beside it, behind
//! one `ringway::Router`.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, Path, Request};
use axum::http::{HeaderMap, StatusCode, Version};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Json, Router};
use futures_util::stream;
use http_body::Frame;
use ringway::Server;
use ringway::layer::{Next, Timeout};
use ringway::tls::Tls;
use ringway::tower::{IncomingBody, TowerService};
use tower::Service;

#[test]
#[ignore = "not a test: the server that the tests of this file start"]
fn serve() {
    let axum = TowerService::new(router()).attach(|from| from.remote_addr().map(ConnectInfo));
    let layered = ringway::Router::new()
        .any("/", TowerService::new(Router::new().fallback(layered).with_state(())))
        .layer(Timeout::new(Duration::from_secs(30)))
        .layer(tag);
    let app = ringway::Router::new()
        .nest("/layered", layered)
        .get("/ringway", |_: &ringway::Request<'_>| ringway::Response::text("ringway"))
        .any("/gate", TowerService::new(Gate))
        .any("/refuse", TowerService::new(Refuse))
        .fallback(axum);
    let limits = ringway::config::Limits { write_rate: 0, body_rate: 0, ..Default::default() };
    let server = Server::new(app).workers(1).limits(limits).http("127.0.0.1:0").h2c("127.0.0.1:0");
    server.https("127.0.0.1:0", Tls::self_signed().unwrap()).run().unwrap();
}

fn router() -> Router {
    Router::new()
        .route("/hello", get(async || "hello"))
        .route("/seen", any(seen))
        .route("/echo", post(async |request: Request| Response::new(request.into_body())))
        .route("/json", post(async |Json(value): Json<Vec<u32>>| Json(value.iter().sum::<u32>())))
        .route("/events", get(events))
        .route("/sleep/{ms}", get(sleep))
        .route("/spawned", get(spawned))
        .route("/connect/{port}", get(connect))
        .route("/panics", get(async || -> &str { panic!("a test's own panic") }))
        .route("/panics-later", get(panics_later))
        .route("/fails/{after}", get(fails))
        .route("/produce/{mib}", get(produce))
        .route("/elsewhere-read", get(async || ELSEWHERE_READ.load(Ordering::Relaxed).to_string()))
        .route("/running", get(async || RUNNING.load(Ordering::Relaxed).to_string()))
        .route("/elsewhere", post(elsewhere))
        .route("/elsewhere-result", get(async || ELSEWHERE.lock().unwrap().clone()))
        .route("/cleans-up", get(cleans_up))
        .route("/cleaned-up", get(async || CLEANED_UP.load(Ordering::Relaxed).to_string()))
        .route("/open", get(open))
        .route("/trailers", get(trailers))
        .route("/none", get(async || StatusCode::NO_CONTENT))
        .route("/same", get(async || StatusCode::NOT_MODIFIED))
        .route("/switches", get(async || StatusCode::SWITCHING_PROTOCOLS))
        .route("/mine", get(async || ([("server", "mine"), ("connection", "close")], "mine")))
        .with_state(())
}

#[derive(Clone)]
struct Tag(&'static str);

/// A layer of ringway's.
fn tag(request: &ringway::Request<'_>, next: Next<'_>) -> ringway::Reply {
    request.extensions().insert(Tag("tagged"));
    next.run(request)
}

async fn layered(Extension(Tag(tag)): Extension<Tag>, body: String) -> String {
    format!("{tag} {body}")
}

/// Everything that the service sees of a request, as text.
async fn seen(ConnectInfo(address): ConnectInfo<SocketAddr>, request: Request) -> String {
    let (method, uri, version) = (request.method(), request.uri(), request.version());
    let mut text = format!("{method} {uri} {version:?} {}\n", address.ip());
    for (name, value) in request.headers() {
        text += &format!("{name}: {}\n", value.to_str().unwrap());
    }
    let hint = request.body().size_hint().exact();
    text + &format!("{hint:?} {}", request.body().is_end_stream())
}

/// Three events with a pause before each but the first.
async fn events() -> impl IntoResponse {
    let events = stream::unfold(0, async |n| {
        if n > 0 {
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        (n < 3).then(|| (Ok::<_, Infallible>(Event::default().data(n.to_string())), n + 1))
    });
    Sse::new(events)
}

/// How many handlers and bodies are at work.
static RUNNING: AtomicU64 = AtomicU64::new(0);

struct Running;

impl Running {
    fn new() -> Self {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn sleep(Path(ms): Path<u64>) -> &'static str {
    let _running = Running::new();
    tokio::time::sleep(Duration::from_millis(ms)).await;
    "slept"
}

fn thread() -> String {
    std::thread::current().name().unwrap_or("-").to_owned()
}

/// The threads of the handler, of a task, and of blocking work.
async fn spawned() -> String {
    let here = thread();
    let task = tokio::spawn(async {
        tokio::task::yield_now().await;
        thread()
    });
    let task = task.await.unwrap();
    let blocking = tokio::task::spawn_blocking(|| 6 * 7).await.unwrap();
    format!("{here} {task} {blocking} {}", here == thread())
}

/// The thread that a task runs on.
pub(crate) async fn task_thread() -> String {
    tokio::spawn(async { thread() }).await.unwrap()
}

/// What a socket of tokio's reads.
async fn connect(Path(port): Path<u16>) -> String {
    let socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut text, mut buffer) = (String::new(), [0; 64]);
    loop {
        socket.readable().await.unwrap();
        match socket.try_read(&mut buffer) {
            Ok(0) => return text,
            Ok(len) => text += std::str::from_utf8(&buffer[..len]).unwrap(),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
}

async fn panics_later() -> &'static str {
    tokio::time::sleep(Duration::from_millis(20)).await;
    panic!("a test's own panic")
}

/// A body that fails after so many pieces.
async fn fails(Path(after): Path<usize>) -> Body {
    Body::from_stream(stream::unfold(0, move |n| async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let piece = if n < after { Ok("piece") } else { Err(io::Error::other("a test's own")) };
        Some((piece, n + 1))
    }))
}

/// So many MiB in pieces that are always there.
async fn produce(Path(mib): Path<usize>) -> Body {
    let running = Running::new();
    let piece = Bytes::from(vec![b'p'; 64 << 10]);
    let pieces = stream::unfold((0, running), move |(n, running)| {
        let piece = piece.clone();
        async move { (n < mib * 16).then_some((Ok::<_, Infallible>(piece), (n + 1, running))) }
    });
    Body::from_stream(pieces)
}

static ELSEWHERE: Mutex<String> = Mutex::new(String::new());
/// Octets of the body that is being read elsewhere.
static ELSEWHERE_READ: AtomicUsize = AtomicUsize::new(0);

/// Has a task of tokio's read the body; the answer does not wait for it.
async fn elsewhere(mut body: Body) -> StatusCode {
    ELSEWHERE_READ.store(0, Ordering::Relaxed);
    let running = Running::new();
    tokio::spawn(async move {
        let (_running, mut len) = (running, 0);
        let result = loop {
            match poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                Some(Ok(frame)) => {
                    len += frame.data_ref().map_or(0, Bytes::len);
                    ELSEWHERE_READ.store(len, Ordering::Relaxed);
                }
                Some(Err(error)) => break format!("{len} {error}"),
                None => break format!("{len} {}", thread()),
            }
        };
        *ELSEWHERE.lock().unwrap() = result;
    });
    StatusCode::ACCEPTED
}

static CLEANED_UP: AtomicU64 = AtomicU64::new(0);

/// Gives something back in a task, as pools of connections do.
struct Cleanup;

impl Drop for Cleanup {
    fn drop(&mut self) {
        tokio::spawn(async { CLEANED_UP.fetch_add(1, Ordering::Relaxed) });
    }
}

async fn cleans_up() {
    let (_running, _cleanup) = (Running::new(), Cleanup);
    std::future::pending().await
}

/// A body with fields behind it.
async fn trailers() -> Body {
    let mut fields = HeaderMap::new();
    fields.insert("x-checksum", "1234".parse().unwrap());
    Body::new(Frames(vec![Frame::trailers(fields), Frame::data(Bytes::from_static(b"body"))]))
}

/// Frames, the last first.
struct Frames(Vec<Frame<Bytes>>);

impl HttpBody for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop().map(Ok))
    }
}

static OPEN: AtomicBool = AtomicBool::new(false);
static WAITING: Mutex<Vec<Waker>> = Mutex::new(Vec::new());

/// Lets the next request through the gate, from a thread of tokio's.
async fn open() {
    let wake = tokio::spawn(async {
        OPEN.store(true, Ordering::SeqCst);
        WAITING.lock().unwrap().drain(..).for_each(Waker::wake);
    });
    wake.await.unwrap();
}

/// A service that is ready for one request each time that it is opened.
#[derive(Clone)]
struct Gate;

impl Service<http::Request<IncomingBody>> for Gate {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        WAITING.lock().unwrap().push(context.waker().clone());
        match OPEN.load(Ordering::SeqCst) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    fn call(&mut self, request: http::Request<IncomingBody>) -> Self::Future {
        assert!(OPEN.swap(false, Ordering::SeqCst), "called when it was ready");
        assert_eq!(request.version() == Version::HTTP_11, request.uri().authority().is_none());
        std::future::ready(Ok(http::Response::new("through".into())))
    }
}

/// A service that sheds load or fails, as its query says.
#[derive(Clone)]
struct Refuse;

impl Service<http::Request<IncomingBody>> for Refuse {
    type Response = http::Response<Body>;
    type Error = Arc<io::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        match CALLS.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => Poll::Ready(Err(Arc::new(io::Error::other("overloaded")))),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, _: http::Request<IncomingBody>) -> Self::Future {
        // Its future need not be `Send`.
        let error = std::rc::Rc::new(io::Error::other("a test's own"));
        Box::pin(async move {
            tokio::task::yield_now().await;
            Err(Arc::new(io::Error::other(error.to_string())))
        })
    }
}
