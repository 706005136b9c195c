//! Tests of an application without sockets: the library's test client (row P1).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::{TempDir, pattern};
use http::{HeaderValue, Method, StatusCode};
use ringway::config::Limits;
use ringway::test::Client;
use ringway::{OwnedRequest, Request, RequestBody, Response, Router, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn p1_requests_and_answers_are_those_of_a_server() {
    let app = Router::new()
        .any("/echo", |request: &Request<'_>| {
            let (method, query) = (request.method(), request.query_string().unwrap_or("-"));
            let header = String::from_utf8_lossy(request.header("x-a").unwrap_or(b"-"));
            let body = String::from_utf8_lossy(request.body());
            Response::text(format!("{method} {query} {header} {body}"))
        })
        .get("/empty", |_: &Request<'_>| Response::new(StatusCode::NO_CONTENT))
        .get("/far", |_: &Request<'_>| {
            Response::text("").header(http::header::LOCATION, HeaderValue::from_static("/near"))
        });
    let client = Client::new(app);
    let answer = client.put("/echo?a=1").header("X-A", "b").body("text").send();
    assert_eq!(answer.text(), "PUT a=1 b text");
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("server"), Some("ringway"));
    let answer = client.post("/echo").json(&serde_json::json!({ "n": [1, 2] })).send();
    assert_eq!(answer.text(), r#"POST - - {"n":[1,2]}"#);
    let answer = client.head("/echo").send();
    assert_eq!((answer.status(), answer.bytes()), (StatusCode::OK, &b""[..]));
    assert_eq!(answer.header("content-length"), Some("9"));
    assert_eq!(client.get("/empty").send().status(), StatusCode::NO_CONTENT);
    assert_eq!(client.get("/far").send().headers()["location"], "/near");
    assert_eq!(client.get("/nowhere").send().status(), StatusCode::NOT_FOUND);
    let answer = client.delete("/empty").send();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
    let answer = client.request(Method::PATCH, "/echo").header("host", "a b").send();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[test]
fn p1_limits_and_panics_are_answered_as_by_a_server() {
    let app = Router::new()
        .post("/whole", |request: &Request<'_>| Response::display(request.body().len()))
        .get("/panics", |_: &Request<'_>| -> Response { panic!("a test's own panic") })
        .get("/panics-later", async |_: OwnedRequest| -> Response {
            sleep(SECOND).await;
            panic!("a test's own panic")
        })
        .get("/breaks", |_: &Request<'_>| {
            Response::stream("text/plain", async |mut out| {
                out.write("half").await.unwrap();
                sleep(SECOND).await;
                panic!("a test's own panic")
            })
        });
    let client = Client::with_limits(app, Limits { body_bytes: 10, ..Limits::default() });
    assert_eq!(client.post("/whole").body("0123456789").send().text(), "10");
    let answer = client.post("/whole").body("0123456789a").send();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // The body of unknown length is refused when it is too long.
    let exchange = client.post("/whole").stream();
    exchange.push("0123456789");
    assert!(!exchange.is_answered());
    exchange.push("a");
    assert_eq!(exchange.response().status(), StatusCode::PAYLOAD_TOO_LARGE);
    for path in ["/panics", "/panics-later"] {
        let answer = client.get(path).send();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    }
    let answer = client.get("/breaks").send();
    assert_eq!((answer.bytes(), answer.is_broken()), (&b"half"[..], true));
    assert_eq!(client.post("/whole").body("well").send().text(), "4");
}

#[test]
fn p1_the_clock_stands_still_until_the_test_moves_it() {
    let app = Router::new()
        .get("/later", async |_: OwnedRequest| {
            sleep(SECOND * 3600).await;
            Response::text("an hour later")
        })
        .get("/deadline", async |_: OwnedRequest| match timeout(SECOND, sleep(SECOND * 2)).await {
            Ok(()) => Response::text("in time"),
            Err(_) => StatusCode::GATEWAY_TIMEOUT.into(),
        });
    let client = Client::new(app);
    let exchange = client.get("/later").start();
    client.advance(SECOND * 3600 - Duration::from_micros(1));
    assert!(!exchange.is_answered());
    client.advance(Duration::from_micros(1));
    assert_eq!(exchange.response().text(), "an hour later");
    assert_eq!(client.get("/later").send().text(), "an hour later");
    let exchange = client.get("/deadline").start();
    client.advance(SECOND - Duration::from_micros(1));
    assert_eq!(exchange.status(), None);
    client.advance(Duration::from_micros(1));
    assert_eq!(exchange.status(), Some(StatusCode::GATEWAY_TIMEOUT));
    assert!(exchange.is_over());
}

#[test]
fn p1_tasks_closures_and_threads_work_and_time_passes_in_order() {
    let events = Arc::<Mutex<Vec<&'static str>>>::default();
    let seen = Arc::clone(&events);
    let app = Router::new()
        .post("/start", move |_: &Request<'_>| {
            for (name, seconds) in [("second", 20), ("first", 10), ("third", 30)] {
                let seen = Arc::clone(&seen);
                drop(ringway::spawn(async move {
                    sleep(SECOND * seconds).await;
                    seen.lock().unwrap().push(name);
                }));
            }
            Response::text("started")
        })
        .get("/elsewhere", async |_: OwnedRequest| {
            let closure = ringway::spawn_blocking(|| {
                std::thread::sleep(Duration::from_millis(20));
                6
            });
            let (sender, receiver) = ringway::oneshot();
            std::thread::spawn(move || sender.send(7));
            // Time does not pass while a closure runs: it is not late.
            let six = timeout(SECOND, closure).await.unwrap().unwrap();
            Response::display(six * receiver.await.unwrap())
        });
    let client = Client::new(app);
    assert_eq!(client.post("/start").send().text(), "started");
    assert!(events.lock().unwrap().is_empty());
    client.advance(SECOND * 25);
    assert_eq!(*events.lock().unwrap(), ["first", "second"]);
    assert_eq!(client.get("/elsewhere").send().text(), "42");
    assert_eq!(client.get("/elsewhere").start().response().text(), "42");
    client.advance(SECOND * 5);
    assert_eq!(*events.lock().unwrap(), ["first", "second", "third"]);
}

#[test]
fn p1_bodies_stream_both_ways_with_trailers() {
    let app = Router::new().stream(
        Method::POST,
        "/upper",
        async |_: OwnedRequest, mut body: RequestBody| {
            Response::stream("text/plain", async move |mut out| {
                while let Some(Ok(chunk)) = body.next().await {
                    out.write(chunk.to_ascii_uppercase()).await.unwrap();
                }
                let trailers = body.trailers();
                out.trailers(trailers.iter().map(|(name, value)| (&**name, &**value)));
            })
        },
    );
    let client = Client::new(app);
    let exchange = client.post("/upper").body("one").stream();
    assert_eq!(exchange.status(), Some(StatusCode::OK));
    assert_eq!(exchange.chunk().unwrap(), b"ONE");
    assert_eq!(exchange.chunk(), None);
    exchange.push("two");
    assert_eq!(exchange.chunk().unwrap(), b"TWO");
    exchange.push("three");
    exchange.finish_with([("x-sum", "9")]);
    let answer = exchange.response();
    assert_eq!((answer.text(), answer.is_broken()), ("THREE", false));
    assert_eq!(answer.trailers()["x-sum"], "9");
}

#[test]
fn p1_a_body_without_an_end_waits_for_its_reader_and_ends_with_it() {
    let (ends, ended) = mpsc::channel();
    let ends = Mutex::new(ends);
    let app = Router::new().get("/endless", move |_: &Request<'_>| {
        let ends = ends.lock().unwrap().clone();
        Response::stream("application/octet-stream", async move |mut out| {
            struct Tells(mpsc::Sender<()>);
            impl Drop for Tells {
                fn drop(&mut self) {
                    let _ = self.0.send(());
                }
            }
            let _tells = Tells(ends);
            while out.write(vec![b'x'; 10_000]).await.is_ok() {}
        })
    });
    let client = Client::new(app);
    let exchange = client.get("/endless").start();
    for _ in 0..100 {
        assert_eq!(exchange.chunk().unwrap().len(), 10_000);
    }
    assert!(ended.try_recv().is_err());
    exchange.abort();
    ended.recv_timeout(SECOND * 20).unwrap();
}

#[test]
fn p1_a_client_that_leaves_its_request_ends_what_works_for_it() {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let sees = Arc::clone(&seen);
    let app = Router::new()
        .stream(Method::POST, "/upload", move |_: OwnedRequest, mut body: RequestBody| {
            let seen = Arc::clone(&sees);
            async move {
                struct Gone(Arc<Mutex<Vec<String>>>);
                impl Drop for Gone {
                    fn drop(&mut self) {
                        self.0.lock().unwrap().push("gone".to_owned());
                    }
                }
                let gone = Gone(seen);
                while let Some(Ok(chunk)) = body.next().await {
                    let text = String::from_utf8_lossy(&chunk).into_owned();
                    gone.0.lock().unwrap().push(text);
                }
                Response::text("whole")
            }
        })
        .get("/well", |_: &Request<'_>| Response::text("well"));
    let client = Client::new(app);
    let exchange = client.post("/upload").stream();
    exchange.push("half");
    assert_eq!(*seen.lock().unwrap(), ["half"]);
    exchange.abort();
    assert_eq!(client.get("/well").send().text(), "well");
    assert_eq!(*seen.lock().unwrap(), ["half", "gone"]);
}

#[test]
fn p1_early_hints_are_seen_before_the_answer() {
    let app = Router::new().get("/", async |request: OwnedRequest| {
        request.early_hints([HeaderValue::from_static("</a.css>; rel=preload")]);
        sleep(SECOND).await;
        Response::text("page")
    });
    let client = Client::new(app);
    let exchange = client.get("/").start();
    assert_eq!(exchange.hints()[0]["link"], "</a.css>; rel=preload");
    assert!(!exchange.is_answered());
    client.advance(SECOND);
    let answer = exchange.response();
    assert_eq!((answer.text(), answer.hints().len()), ("page", 1));
}

#[test]
fn p1_files_are_served_without_a_server() {
    let big = pattern(5 << 20);
    let dir = TempDir::with(&[("index.html", b"home"), ("big.bin", &big)]);
    let client = Client::new(Router::new().files("/", dir.path()));
    let answer = client.get("/").send();
    assert_eq!(
        (answer.text(), answer.header("content-type")),
        ("home", Some("text/html; charset=utf-8"))
    );
    assert!(client.get("/big.bin").send().bytes() == big);
    let answer = client.get("/big.bin").header("range", "bytes=1000-1009").send();
    assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(answer.bytes(), &big[1000..1010]);
    assert_eq!(client.get("/none").send().status(), StatusCode::NOT_FOUND);
}

#[test]
fn p1_clients_are_apart_and_may_be_shared_between_threads() {
    let app = |name: &'static str| {
        Router::new().get("/", async move |_: OwnedRequest| {
            sleep(SECOND).await;
            Response::text(name)
        })
    };
    let (one, other) = (Client::new(app("one")), Client::new(app("other")));
    let exchange = one.get("/").start();
    other.advance(SECOND * 2);
    assert!(!exchange.is_answered(), "each has its clock");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(other.get("/").send().text(), "other"));
        }
    });
    one.advance(SECOND);
    assert_eq!(exchange.response().text(), "one");
}
