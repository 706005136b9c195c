//! Composed routers: matching, refusals and limits (HOUSE rows P2, P5).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use harness::TempDir;
use harness::both::Both;
use harness::client::Client;
use http::Method;
use ringway::layer::Next;
use ringway::{Files, OwnedRequest, Reply, Request, RequestBody, Response, Router};

/// What a handler sees of its route.
fn seen(request: &Request<'_>) -> Response {
    let matched = request.matched_path().unwrap_or("none");
    let ids = ["id", "shop"].map(|name| request.param(name).unwrap_or("-"));
    Response::text(format!("{} {} {matched} {}", request.method(), request.path(), ids.join(" ")))
}

fn marked(mark: &'static str) -> impl Fn(&Request<'_>, Next<'_>) -> Reply + Send + Sync {
    move |request, next| {
        next.run(request).map(move |response| {
            let name = http::HeaderName::from_static("x-layers");
            let before = response.get_header(&name).unwrap_or_default();
            let value = format!("{}{mark}", String::from_utf8_lossy(before));
            let mut response = response;
            response.remove_header(&name);
            response.header(name, value.try_into().unwrap())
        })
    }
}

#[test]
fn p5_every_method_has_a_route() {
    let app = Router::new()
        .get("/a", seen)
        .post("/a", seen)
        .put("/a", seen)
        .delete("/a", seen)
        .patch("/a", seen)
        .trace("/a", seen)
        .options("/a", seen)
        .head("/a", |_: &Request<'_>| Response::new(http::StatusCode::ACCEPTED))
        .route(Method::from_bytes(b"PURGE").unwrap(), "/a", seen);
    let server = Both::new(app);
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PURGE"] {
        for answer in server.ask(method, "/a", &[], b"") {
            assert_eq!(answer.text(), format!("{method} /a /a - -"), "{}", answer.over);
        }
    }
    for answer in server.ask("HEAD", "/a", &[], b"") {
        assert_eq!((answer.status, &*answer.body), (202, &b""[..]), "{}", answer.over);
    }
}

#[test]
fn p5_nest_matches_the_whole_path_and_says_so() {
    let orders = Router::new().get("/", seen).get("/{id}", seen).get("/new", seen);
    let shops = Router::new().get("/", seen).nest("/{shop}/orders", orders);
    let server = Both::new(Router::new().get("/", seen).nest("/shops", shops));
    for (path, want) in [
        ("/", "/ / - -"),
        ("/shops", "/shops /shops - -"),
        ("/shops/7/orders", "/shops/7/orders /shops/{shop}/orders - 7"),
        ("/shops/7/orders/9", "/shops/7/orders/9 /shops/{shop}/orders/{id} 9 7"),
        ("/shops/7/orders/new", "/shops/7/orders/new /shops/{shop}/orders/new - 7"),
        ("//shops//7/orders/9", "//shops//7/orders/9 /shops/{shop}/orders/{id} 9 7"),
        ("//shops", "//shops /shops - -"),
        ("/x/../shops", "/shops /shops - -"),
    ] {
        for answer in server.get(path) {
            if answer.over == "HTTP/2" && path.contains("..") {
                continue;
            }
            assert_eq!(answer.text(), format!("GET {want}"), "{path} over {}", answer.over);
        }
    }
    for path in ["/shops/", "/shops/7", "/shops/7/orders/9/x", "/shopsx", "/7/orders"] {
        for answer in server.get(path) {
            assert_eq!(answer.status, 404, "{path} over {}", answer.over);
        }
    }
}

#[test]
fn p5_nest_and_merge_know_each_others_methods() {
    let api = Router::new().get("/a/{id}", seen).put("/a/{id}", seen);
    let more = Router::new().delete("/api/a/{id}", seen).post("/api/b", seen);
    let server = Both::new(Router::new().nest("/api", api).merge(more));
    for answer in server.ask("DELETE", "/api/a/1", &[], b"") {
        assert_eq!(answer.text(), "DELETE /api/a/1 /api/a/{id} 1 -", "{}", answer.over);
    }
    for answer in server.ask("POST", "/api/a/1", &[], b"") {
        assert_eq!(answer.status, 405, "{}", answer.over);
        assert_eq!(answer.field("allow").unwrap(), "GET, PUT, DELETE, HEAD, OPTIONS");
    }
    for answer in server.ask("OPTIONS", "/api/a/1", &[], b"") {
        assert_eq!(answer.status, 204, "{}", answer.over);
        assert_eq!(answer.field("allow").unwrap(), "GET, PUT, DELETE, HEAD, OPTIONS");
    }
    for answer in server.ask("GET", "/api/b", &[], b"") {
        assert_eq!((answer.status, answer.field("allow").unwrap()), (405, "POST, OPTIONS".into()));
    }
    for answer in server.ask("PURGE", "/api/b", &[], b"") {
        assert_eq!(answer.status, 501, "{}", answer.over);
    }
}

#[test]
fn p5_a_nested_fallback_answers_below_its_prefix_only() {
    let fallback = |what: &'static str| {
        move |request: &Request<'_>| {
            assert_eq!(request.matched_path(), None);
            Response::text(format!("{what} {}", request.path())).status(http::StatusCode::NOT_FOUND)
        }
    };
    let inner = Router::new().get("/x", seen).fallback(fallback("inner"));
    let api = Router::new().get("/a", seen).nest("/in", inner).fallback(fallback("api"));
    let app = Router::new().get("/{id}/z", seen).nest("/api", api).fallback(fallback("outer"));
    let server = Both::new(app);
    for (path, want) in [
        ("/api", "api /api"),
        ("/api/", "api /api/"),
        ("/api/z", "api /api/z"),
        ("/api/in", "inner /api/in"),
        ("/api/in/y/z", "inner /api/in/y/z"),
        ("/apiary", "outer /apiary"),
        ("/", "outer /"),
    ] {
        for answer in server.get(path) {
            assert_eq!((answer.status, answer.text()), (404, want), "{}", answer.over);
        }
    }
    for answer in server.get("/api/in/x") {
        assert_eq!(answer.text(), "GET /api/in/x /api/in/x - -", "{}", answer.over);
    }
    // A method that a path has not is not the fallback's.
    for answer in server.ask("POST", "/api/a", &[], b"") {
        assert_eq!(answer.status, 405, "{}", answer.over);
    }
}

#[test]
fn p5_files_are_served_from_a_nested_router() {
    let dir = TempDir::with(&[("a.txt", b"one"), ("in/b.txt", b"two")]);
    let assets = Router::new()
        .files("/plain", dir.path())
        .files_with(
            "/hidden",
            Files::new(dir.path()).content_type("txt", "text/x".parse().unwrap()),
        )
        .layer(marked("f"));
    let app = Router::new()
        .get("/", seen)
        .nest("/v1", Router::new().get("/", seen).nest("/assets", assets))
        .nest("/other", Router::new().get("/a", seen).fallback(Files::new(dir.path())));
    let server = Both::new(app);
    for (path, want) in [
        ("/v1/assets/plain/a.txt", "one"),
        ("/v1/assets/plain/in/b.txt", "two"),
        ("/v1/assets/hidden/a.txt", "one"),
        ("/other/in/b.txt", "two"),
    ] {
        for answer in server.get(path) {
            assert_eq!((answer.status, answer.text()), (200, want), "{path}");
            let layered = path.starts_with("/v1").then(|| "f".to_owned());
            assert_eq!(answer.field("x-layers"), layered, "{path}");
        }
    }
    for answer in server.get("/v1/assets/hidden/a.txt") {
        assert_eq!(answer.field("content-type").unwrap(), "text/x", "{}", answer.over);
    }
    for answer in server.get("/v1/assets/plain") {
        let to = answer.field("location").unwrap();
        assert_eq!((answer.status, &*to), (308, "/v1/assets/plain/"), "{}", answer.over);
    }
    for answer in server.get("/v1/assets/plain/none") {
        assert_eq!(answer.status, 404, "{}", answer.over);
    }
}

#[test]
fn p2_layers_are_around_what_was_there_when_they_came() {
    let inner = Router::new().get("/x", seen).layer(marked("i"));
    let app = Router::new()
        .get("/a", seen)
        .nest("/in", inner)
        .layer(marked("1"))
        .layer(marked("2"))
        .get("/late", seen);
    let server = Both::new(app);
    for (method, path, status, layers) in [
        ("GET", "/a", 200, Some("12")),
        ("GET", "/in/x", 200, Some("i12")),
        ("POST", "/in/x", 405, Some("i12")),
        ("OPTIONS", "/in/x", 204, Some("i12")),
        ("POST", "/a", 405, Some("12")),
        ("GET", "/none", 404, Some("12")),
        ("GET", "/in/none", 404, Some("12")),
        ("GET", "/late", 200, None),
        ("POST", "/late", 405, None),
    ] {
        for answer in server.ask(method, path, &[], b"") {
            let layered = answer.field("x-layers");
            let got = (answer.status, layered.as_deref());
            assert_eq!(got, (status, layers), "{method} {path} over {}", answer.over);
        }
    }
}

fn length(request: &Request<'_>) -> Response {
    Response::display(request.body().len())
}

async fn streamed(_: OwnedRequest, mut body: RequestBody) -> Response {
    let mut length = 0;
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => length += piece.len(),
            Err(_) => return Response::text("cut").status(http::StatusCode::BAD_REQUEST),
        }
    }
    Response::display(length)
}

#[test]
fn p5_a_body_limit_is_of_a_route_or_of_a_subtree() {
    let small = Router::new()
        .post("/whole", length)
        .stream(Method::POST, "/stream", streamed)
        .stream(Method::POST, "/deaf", async |_: OwnedRequest, _: RequestBody| Response::text("x"))
        .body_limit(100);
    let app = Router::new()
        .post("/default", length)
        .merge(Router::new().post("/big", length).body_limit(3 << 20))
        .nest("/small", small);
    let server = Both::new(app);
    let body = vec![b'x'; (3 << 20) + 1];
    for (path, len, status) in [
        ("/default", 1 << 20, 200),
        ("/default", (1 << 20) + 1, 413),
        ("/big", 3 << 20, 200),
        ("/big", (3 << 20) + 1, 413),
        ("/small/whole", 100, 200),
        ("/small/whole", 101, 413),
        ("/small/stream", 100, 200),
        ("/small/stream", 101, 413),
        ("/small/stream", 70_000, 413),
        ("/small/deaf", 100, 200),
    ] {
        let body = &body[..len];
        let mut answers = vec![server.h1("POST", path, &[], body)];
        // The client of HTTP/2 sends no more than the first window.
        if len <= 60_000 {
            answers.push(server.h2("POST", path, &[], body));
        }
        for answer in answers {
            assert_eq!(answer.status, status, "{path} {len} over {}", answer.over);
            if status == 200 && path != "/small/deaf" {
                assert_eq!(answer.text(), len.to_string());
            }
        }
    }
    // A length that is not known beforehand: what the handler answers is replaced.
    for (len, status, want) in [(100, 200, "100"), (101, 413, "Payload Too Large")] {
        for path in ["/small/stream", "/small/whole"] {
            let mut client = Client::connect(server.address);
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
            client.send(head);
            for _ in 0..len {
                client.send("1\r\nx\r\n");
            }
            client.send("0\r\n\r\n");
            let answer = client.response("POST");
            assert_eq!(answer.status, status, "{path} {len}");
            if path == "/small/stream" {
                assert_eq!(answer.text(), want);
            }
        }
    }
}

#[test]
fn p2_the_state_of_a_layer_is_the_requests() {
    #[derive(Clone, PartialEq, Debug)]
    struct Who(&'static str);
    let app = Router::new()
        .get("/now", |request: &Request<'_>| {
            Response::text(format!("{:?}", request.extensions().get::<Who>()))
        })
        .get("/later", async |request: OwnedRequest| {
            Response::text(format!("{:?}", request.view().extensions().get::<Who>()))
        })
        .layer(|request: &Request<'_>, next: Next<'_>| -> Reply {
            request.extensions().insert(Who("sync"));
            next.run(request)
        })
        .layer(async |request: OwnedRequest, next: Next<'_>| -> Response {
            request.view().extensions().insert(Who("async"));
            ringway::sleep(std::time::Duration::from_millis(1)).await;
            next.run(&request.view()).await
        });
    let server = Both::new(app);
    for path in ["/now", "/later"] {
        for answer in server.get(path) {
            assert_eq!(answer.text(), "Some(Who(\"sync\"))", "{path} over {}", answer.over);
        }
    }
}

/// A layer that panics, before what is inside or behind it, is 500; layers outside see that.
#[test]
fn p2_a_panic_in_a_layer_is_500_and_nothing_else() {
    fn fails(when: &'static str) -> Router {
        let panics = move |at: &str| assert_ne!(at, when, "a test's own panic");
        let inner = Router::new()
            .get("/now", move |_: &Request<'_>| {
                panics("now");
                Response::text("well")
            })
            .get("/later", async move |_: OwnedRequest| {
                panics("called");
                ringway::sleep(std::time::Duration::from_millis(1)).await;
                panics("later");
                Response::text("well")
            })
            .layer(move |request: &Request<'_>, next: Next<'_>| -> Reply {
                panics("sync before");
                next.run(request).map(move |response| {
                    panics("sync after");
                    response
                })
            })
            .layer(async move |request: OwnedRequest, next: Next<'_>| -> Response {
                panics("async before");
                let response = next.run(&request.view()).await;
                panics("async after");
                response
            });
        Router::new().nest("/in", inner).get("/well", seen).layer(marked("seen"))
    }
    for when in ["sync before", "sync after", "async before", "async after", "now", "later"] {
        let server = Both::new(fails(when));
        let mut stays = Client::connect(server.address);
        for path in ["/in/now", "/in/later"] {
            let fails =
                !(when == "now" && path == "/in/later" || when == "later" && path == "/in/now");
            let status = if fails { 500 } else { 200 };
            for answer in server.get(path) {
                assert_eq!(answer.status, status, "{when} {path} over {}", answer.over);
                // Its own layers were cut off; the one outside was not.
                let layers = answer.field("x-layers");
                assert_eq!(layers.as_deref(), Some("seen"), "{when} {path} {}", answer.over);
            }
            let same = stays.get(path);
            assert_eq!(same.status, status, "{when} {path}");
            assert_eq!(stays.get("/well").status, 200, "the connection goes on");
        }
    }
}

/// The same for a body that is being sent through layers: a part never passes for the whole.
#[test]
fn p2_a_panic_in_a_body_behind_layers_breaks_it_off() {
    let app = Router::new()
        .get("/half", |_: &Request<'_>| {
            Response::stream("text/plain", async |mut out| {
                out.write("half").await.unwrap();
                ringway::sleep(std::time::Duration::from_millis(20)).await;
                panic!("a test's own panic")
            })
        })
        .get("/well", seen)
        .layer(marked("1"))
        .layer(ringway::layer::Compress::new())
        .layer(async |request: OwnedRequest, next: Next<'_>| next.run(&request.view()).await);
    let server = Both::new(app);
    for coding in ["identity", "gzip"] {
        let mut broken = Client::connect(server.address);
        broken
            .send(format!("GET /half HTTP/1.1\r\nHost: test\r\nAccept-Encoding: {coding}\r\n\r\n"));
        let got = broken.rest();
        assert!(!got.ends_with(b"0\r\n\r\n"), "{}", got.escape_ascii());
        let mut h2 = harness::h2::H2::connect(server.address);
        let id = h2.ask("GET", "/half", &[("accept-encoding", coding)], b"");
        assert!(h2.answer(id).reset.is_some(), "{coding}");
        assert_eq!(h2.get("/well").status(), 200);
    }
}
