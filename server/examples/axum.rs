//! An axum application over HTTP/1.1, HTTP/2 and HTTP/3. Only `main` changes when ringway serves it
//! instead of axum:
//!
//! ```text
//! -#[tokio::main]
//! -async fn main() -> std::io::Result<()> {
//! -    let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
//! -    axum::serve(listener, app()).await
//! +fn main() -> Result<(), ringway::Error> {
//! +    let app = TowerService::new(app());
//! +    Server::new(app).http("0.0.0.0:8080").https("0.0.0.0:8443", Tls::self_signed()?).run()
//!  }
//! ```
//!
//! `cargo run --release --features tower --example axum`, then
//! `curl --http3-only -k https://127.0.0.1:8443/notes`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream::{self, Stream};
use ringway::Server;
use ringway::tls::Tls;
use ringway::tower::TowerService;
use serde::{Deserialize, Serialize};

fn main() -> Result<(), ringway::Error> {
    // The addresses may be given: `-- 127.0.0.1:0 127.0.0.1:0` takes free ports and prints them.
    let mut addresses = std::env::args().skip(1);
    let http = addresses.next().unwrap_or("127.0.0.1:8080".to_owned());
    let https = addresses.next().unwrap_or("127.0.0.1:8443".to_owned());
    let app = TowerService::new(app()).attach(|from| from.remote_addr().map(ConnectInfo));
    Server::new(app).http(http).https(https, Tls::self_signed()?).run()
}

type Notes = Arc<Mutex<Vec<Note>>>;

#[derive(Clone, Deserialize, Serialize)]
struct Note {
    text: String,
}

fn app() -> Router {
    Router::new()
        .route("/", get(whoami))
        .route("/notes", get(list).post(add))
        .route("/upload", post(upload))
        .route("/ticks", get(ticks))
        .layer(middleware::from_fn(timed))
        // Needed even without state: it makes the routes ready once, not for each request.
        .with_state(Notes::default())
}

async fn whoami(ConnectInfo(address): ConnectInfo<SocketAddr>, request: Request) -> String {
    format!("{} over {:?}\n", address.ip(), request.version())
}

async fn list(State(notes): State<Notes>) -> Json<Vec<Note>> {
    Json(notes.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

async fn add(State(notes): State<Notes>, Json(note): Json<Note>) -> impl IntoResponse {
    notes.lock().unwrap_or_else(PoisonError::into_inner).push(note.clone());
    (StatusCode::CREATED, Json(note))
}

/// Counts a body of any size as it arrives.
async fn upload(mut body: Body) -> Result<String, (StatusCode, String)> {
    let mut bytes = 0;
    while let Some(frame) =
        std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await
    {
        let frame = frame.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
        bytes += frame.data_ref().map_or(0, |data| data.len());
    }
    Ok(bytes.to_string())
}

/// Five events, one every 200 ms. The timer belongs to the tokio runtime beside the workers.
async fn ticks() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = stream::unfold(1, async |n| {
        if n > 1 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        (n <= 5).then(|| (Ok(Event::default().data(format!("tick {n}"))), n + 1))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

/// An ordinary axum layer: reports how long the answer took.
async fn timed(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let mut response = next.run(request).await;
    let took = format!("app;dur={:.3}", start.elapsed().as_secs_f64() * 1e3);
    if let Ok(value) = HeaderValue::try_from(took) {
        response.headers_mut().insert("server-timing", value);
    }
    response
}
