//! A server whose application panics in every way there is, for `tests/panics.rs`: a program of its
//! own, because a test's own code unwinds in every profile.
//!
//! Listens on free ports with HTTP/1.1, HTTP/2 and HTTP/3, or prints what is wrong.

use std::time::Duration;

use http::{Method, StatusCode};

use ringway::layer::Next;
use ringway::tls::Tls;
use ringway::{
    BodyMode, Handler, OwnedRequest, Rejection, Reply, Request, RequestBody, Response, Router,
    Server, sleep,
};
use serde::{Deserialize, Deserializer};

/// Panics before it is asked for an answer.
struct Hesitant;

impl Handler for Hesitant {
    fn call(&self, _: &Request<'_>) -> Reply {
        Response::text("not reached").into()
    }

    fn body_mode(&self, _: &Request<'_>) -> BodyMode {
        panic!("on purpose: body_mode")
    }
}

/// Panics when it is dropped, as what a task holds may.
struct Sticky;

impl Drop for Sticky {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("on purpose: drop")
        }
    }
}

/// A type that panics while it is read.
struct Unreadable;

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("on purpose: extractor")
    }
}

/// What panics elsewhere than in its own code: 500 or nothing that a client sees.
fn elsewhere() -> Router {
    let refuse = |request: &Request<'_>, next: Next<'_>| -> Reply {
        if request.header("x-panic").is_some() {
            panic!("on purpose: layer")
        }
        next.run(request).map(|_| panic!("on purpose: behind a layer"))
    };
    let later = async |request: OwnedRequest, next: Next<'static>| -> Response {
        let _response = next.run(&request.view()).await;
        panic!("on purpose: async layer")
    };
    Router::new()
        .get("/layer", |_: &Request<'_>| Response::text("not seen"))
        .layer(refuse)
        .merge(
            Router::new()
                .get("/async-layer", |_: &Request<'_>| Response::text("not seen"))
                .layer(later),
        )
        .get("/extractor", |request: &Request<'_>| -> Result<Response, Rejection> {
            request.query::<Unreadable>().map(|_| Response::text("not seen"))
        })
        .get("/task", async |_: OwnedRequest| {
            let task = ringway::spawn(async { panic!("on purpose: task") });
            let _: Result<(), _> = task.await;
            Response::from(StatusCode::INTERNAL_SERVER_ERROR)
        })
        .get("/blocking", async |_: OwnedRequest| {
            let closure = ringway::spawn_blocking(|| panic!("on purpose: blocking"));
            match closure.await {
                Ok(()) => Response::text("not seen"),
                Err(error) => error.into(),
            }
        })
}

async fn pause() {
    sleep(Duration::from_millis(20)).await;
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = elsewhere()
        .get("/well", |_: &Request<'_>| Response::text("well"))
        .get("/now", |_: &Request<'_>| -> Response { panic!("on purpose: handler") })
        .get("/later", async |_: OwnedRequest| -> Response {
            pause().await;
            panic!("on purpose: later")
        })
        .get("/sticky", async |_: OwnedRequest| -> Response {
            let _sticky = Sticky;
            std::future::pending().await
        })
        .post("/mode", Hesitant)
        .stream(
            Method::POST,
            "/upload",
            async |_: OwnedRequest, mut body: RequestBody| -> Response {
                let _ = body.next().await;
                panic!("on purpose: upload")
            },
        )
        .get("/half", |_: &Request<'_>| {
            Response::stream("text/plain", async |mut out| {
                let _ = out.write("half").await;
                pause().await;
                panic!("on purpose: body")
            })
        });
    Server::new(app)
        .workers(1)
        .http("127.0.0.1:0")
        .https("127.0.0.1:0", Tls::self_signed()?)
        .run()?;
    Ok(())
}
