//! A server whose application panics in every way there is, for `tests/panics.rs`: a program of its
//! own, because a test's own code unwinds in every profile.
//!
//! Listens on free ports with HTTP/1.1, HTTP/2 and HTTP/3, or prints what is wrong.

use std::time::Duration;

use http::Method;
use ringway::tls::Tls;
use ringway::{
    BodyMode, Handler, OwnedRequest, Reply, Request, RequestBody, Response, Router, Server, sleep,
};

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

async fn pause() {
    sleep(Duration::from_millis(20)).await;
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = Router::new()
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
