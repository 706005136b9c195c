//! The built-in layers, in cases that are easily wrong (HOUSE row P2).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::both::{Answer, Both};
use harness::client::Client;
use harness::h2::H2;
use harness::{eventually, pattern};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use ringway::config::{Limits, Scheme};
use ringway::layer::{
    BasicAuth, BasicUser, Compress, Cors, RateLimit, RequestId, RequestIds, Timeout,
};
use ringway::{OwnedRequest, Request, Response, Router, Server};

fn hello(_: &Request<'_>) -> Response {
    Response::text("hello")
}

#[test]
fn p2_a_request_id_is_taken_if_valid_made_if_not_and_echoed() {
    let shown = |request: &Request<'_>| {
        let id = request.extensions().get::<RequestId>().unwrap();
        Response::text(id.to_string())
    };
    let app = Router::new().get("/", shown).layer(RequestIds::new()).merge(
        Router::new()
            .get("/own", |_: &Request<'_>| {
                Response::text("x").header(
                    HeaderName::from_static("x-trace"),
                    HeaderValue::from_static("of the handler"),
                )
            })
            .layer(RequestIds::new().trust(false).header(HeaderName::from_static("x-trace"))),
    );
    let server = Both::new(app);
    for answer in server.ask("GET", "/", &[("x-request-id", "abc-1.2_3")], b"") {
        assert_eq!(answer.text(), "abc-1.2_3", "{}", answer.over);
        assert_eq!(answer.field("x-request-id").unwrap(), "abc-1.2_3");
    }
    let long = "a".repeat(129);
    let mut made = Vec::new();
    for fields in [&[][..], &[("x-request-id", "a b")], &[("x-request-id", &long)]] {
        for answer in server.ask("GET", "/", fields, b"") {
            let id = answer.field("x-request-id").unwrap();
            assert_eq!((answer.text(), id.len()), (&*id, 32), "{}", answer.over);
            made.push(id);
        }
    }
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 6);
    // Of clients that are not trusted none is taken, and a handler's own does not stand beside it.
    for answer in server.ask("GET", "/own", &[("x-trace", "mine")], b"") {
        assert_eq!(answer.field("x-trace").unwrap().len(), 32, "{}", answer.over);
    }
    for answer in server.get("/none") {
        assert_eq!((answer.status, answer.field("x-request-id").unwrap().len()), (404, 32));
    }
}

#[test]
fn p2_a_timeout_drops_what_takes_too_long() {
    static DROPPED: AtomicBool = AtomicBool::new(false);
    struct Tells;
    impl Drop for Tells {
        fn drop(&mut self) {
            DROPPED.store(true, Ordering::Relaxed);
        }
    }
    let slow = async |_: OwnedRequest| {
        let _tells = Tells;
        ringway::sleep(Duration::from_secs(3600)).await;
        Response::text("never")
    };
    let limit = Duration::from_millis(50);
    let app = Router::new()
        .get("/slow", slow)
        .get("/now", hello)
        .get("/soon", async |_: OwnedRequest| Response::text("soon"))
        .get("/fails", async |_: OwnedRequest| -> Response { panic!("a test's own panic") })
        .get("/body", |_: &Request<'_>| {
            Response::stream("text/plain", async |mut out| {
                ringway::sleep(Duration::from_millis(200)).await;
                let _ = out.write("late").await;
            })
        })
        .layer(Timeout::new(limit))
        .merge(
            Router::new()
                .get("/gateway", slow)
                .layer(Timeout::new(limit).status(StatusCode::GATEWAY_TIMEOUT)),
        );
    let server = Both::new(app);
    for (path, status) in [
        ("/slow", 503),
        ("/gateway", 504),
        ("/now", 200),
        ("/soon", 200),
        ("/fails", 500),
        ("/body", 200),
    ] {
        for answer in server.get(path) {
            assert_eq!(answer.status, status, "{path} over {}", answer.over);
        }
    }
    eventually("the future is dropped", || DROPPED.load(Ordering::Relaxed));
    for answer in server.get("/body") {
        assert_eq!(answer.text(), "late", "{}", answer.over);
    }
}

const APP: &str = "https://app.example";

#[test]
fn p2_cors_answers_preflight_requests_itself() {
    let strict = Cors::new()
        .origins([APP, "null"])
        .methods([Method::PUT, Method::DELETE])
        .headers([header::CONTENT_TYPE, header::AUTHORIZATION])
        .credentials()
        .max_age(Duration::from_secs(600));
    let app = Router::new()
        .put("/strict", hello)
        .layer(strict)
        .merge(Router::new().get("/public", hello).layer(Cors::new().any_origin()))
        .merge(
            Router::new().get("/private", hello).layer(BasicAuth::new("r").user("a", "b")).layer(
                Cors::new().origins_where(|origin| origin.ends_with(".example")).private_network(),
            ),
        );
    let server = Both::new(app);
    let ask = |path: &str, origin: &str, more: &[(&str, &str)]| {
        let asked = [("origin", origin), ("access-control-request-method", "PUT")];
        server.ask("OPTIONS", path, &[&asked[..], more].concat(), b"")
    };
    let vary = "origin, access-control-request-method, access-control-request-headers";
    for origin in [APP, "null"] {
        for answer in ask("/strict", origin, &[("access-control-request-headers", "x-a")]) {
            assert_eq!(answer.status, 204, "{}", answer.over);
            let want = [
                ("access-control-allow-origin", origin),
                ("access-control-allow-methods", "PUT, DELETE"),
                ("access-control-allow-headers", "content-type, authorization"),
                ("access-control-max-age", "600"),
                ("access-control-allow-credentials", "true"),
                ("vary", vary),
            ];
            let want = want.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(answer.fields, want, "{}", answer.over);
        }
    }
    // The scheme, the port and the letter are a part of it; there is no prefix of an origin.
    for origin in
        ["http://app.example", "https://app.example:8443", "https://app.example.evil", "x"]
    {
        for answer in ask("/strict", origin, &[]) {
            assert_eq!((answer.status, answer.field("vary").unwrap()), (403, vary.to_owned()));
            assert_eq!(answer.field("access-control-allow-origin"), None, "{origin}");
        }
    }
    // What is asked for stands for any: `*` would not mean Authorization.
    for answer in
        ask("/public", "https://a.b", &[("access-control-request-headers", "x, authorization")])
    {
        assert_eq!(answer.field("access-control-allow-origin").unwrap(), "*");
        assert_eq!(answer.field("access-control-allow-methods").unwrap(), "PUT");
        assert_eq!(answer.field("access-control-allow-headers").unwrap(), "x, authorization");
        assert_eq!(answer.field("access-control-allow-credentials"), None);
        assert_eq!(answer.field("access-control-allow-private-network"), None);
    }
    // Nobody has to say who it is for a preflight request.
    for answer in
        ask("/private", "https://b.example", &[("access-control-request-private-network", "true")])
    {
        assert_eq!(answer.status, 204, "{}", answer.over);
        assert_eq!(answer.field("access-control-allow-private-network").unwrap(), "true");
    }
}

#[test]
fn p2_cors_tells_browsers_who_may_read_an_answer() {
    let own = |_: &Request<'_>| {
        Response::text("x")
            .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))
            .header(header::VARY, HeaderValue::from_static("accept"))
    };
    let strict = Cors::new().origins([APP]).credentials().expose([header::ETAG]);
    let app = Router::new()
        .get("/own", own)
        .get("/later", async |_: OwnedRequest| Response::text("later"))
        .layer(strict)
        .merge(Router::new().get("/public", hello).layer(Cors::new().any_origin()));
    let server = Both::new(app);
    for (path, status) in [("/own", 200), ("/later", 200), ("/none", 404)] {
        for answer in server.ask("GET", path, &[("origin", APP)], b"") {
            assert_eq!(answer.status, status, "{path} over {}", answer.over);
            assert_eq!(answer.field("access-control-allow-origin").unwrap(), APP);
            assert_eq!(answer.field("access-control-allow-credentials").unwrap(), "true");
            assert_eq!(answer.field("access-control-expose-headers").unwrap(), "etag");
            assert!(answer.field("vary").unwrap().ends_with("origin"));
        }
        // Another origin's answer, or nobody's, is not cached for this one.
        for fields in [&[("origin", "https://evil.example")][..], &[]] {
            for answer in server.ask("GET", path, fields, b"") {
                assert_eq!(answer.status, status, "{path} over {}", answer.over);
                assert_eq!(answer.field("access-control-allow-origin"), None);
                assert_eq!(answer.field("access-control-allow-credentials"), None);
                assert!(answer.field("vary").unwrap().ends_with("origin"));
            }
        }
    }
    for fields in [&[("origin", "https://evil.example")][..], &[]] {
        for answer in server.ask("GET", "/public", fields, b"") {
            assert_eq!(answer.field("access-control-allow-origin").unwrap(), "*");
            assert_eq!(answer.field("vary"), None, "{}", answer.over);
        }
    }
    // OPTIONS that is no preflight request is the application's.
    for answer in server.ask("OPTIONS", "/own", &[("origin", APP)], b"") {
        assert_eq!(
            (answer.status, answer.field("allow").unwrap()),
            (204, "GET, HEAD, OPTIONS".into())
        );
    }
}

#[test]
fn p2_basic_auth_lets_in_who_is_known() {
    let who = |request: &Request<'_>| {
        let user = request.extensions().get::<BasicUser>().unwrap();
        Response::text(user.as_str().to_owned())
    };
    let auth = BasicAuth::new("the \"back\" office")
        .user("ann", "correct:horse")
        .user("jürgen", "geheim")
        .verify(|name, password| name == "ext" && password.len() == 3);
    let server = Both::new(Router::new().get("/", who).layer(auth));
    // `ann:correct:horse`, `jürgen:geheim`, `ext:123`.
    for (value, name) in [
        ("Basic YW5uOmNvcnJlY3Q6aG9yc2U=", "ann"),
        ("bAsIc  YW5uOmNvcnJlY3Q6aG9yc2U=", "ann"),
        ("Basic asO8cmdlbjpnZWhlaW0=", "jürgen"),
        ("Basic ZXh0OjEyMw==", "ext"),
    ] {
        for answer in server.ask("GET", "/", &[("authorization", value)], b"") {
            assert_eq!((answer.status, answer.text()), (200, name), "{}", answer.over);
        }
    }
    let refused = |fields: &[(&str, &str)]| {
        for answer in server.ask("GET", "/", fields, b"") {
            assert_eq!(answer.status, 401, "{fields:?} over {}", answer.over);
            let challenge = answer.field("www-authenticate").unwrap();
            let want = "Basic realm=\"the \\\"back\\\" office\", charset=\"UTF-8\"";
            assert_eq!(challenge, want);
        }
    };
    refused(&[]);
    // A wrong password, a name alone, no colon, no base64, another scheme, no UTF-8, twice.
    for value in [
        "Basic YW5uOmNvcnJlY3Q6aG9yc3M=",
        "Basic YW5uOg==",
        "Basic YW5u",
        "Basic !!!!",
        "Basic",
        "Bearer YW5uOmNvcnJlY3Q6aG9yc2U=",
        "Basic /zp4",
        "Basic YW5uOmNvcnJlY3Q6aG9yc2U=, Basic YW5uOmNvcnJlY3Q6aG9yc2U=",
    ] {
        refused(&[("authorization", value)]);
    }
    let right = ("authorization", "Basic YW5uOmNvcnJlY3Q6aG9yc2U=");
    refused(&[right, right]);
    for answer in server.get("/none") {
        assert_eq!(answer.status, 401, "nor does it tell which paths there are");
    }
}

#[test]
fn p2_a_rate_limit_is_of_a_key() {
    let limit = RateLimit::new(3, Duration::from_secs(3600))
        .announce(true)
        .key(|request: &Request<'_>| request.header("x-key").map(<[u8]>::to_vec));
    let app = Router::new()
        .get("/", hello)
        .get("/later", async |_: OwnedRequest| Response::text("later"))
        .layer(limit);
    let server = Both::new(app);
    let ask = |key: &'static str, path: &str| server.h1("GET", path, &[("x-key", key)], b"");
    for left in [2, 1] {
        let answer = ask("a", "/");
        assert_eq!(answer.status, 200);
        let now = answer.field("ratelimit").unwrap();
        assert!(now.starts_with(&format!("\"default\";r={left};t=")), "{now}");
        assert_eq!(answer.field("ratelimit-policy").unwrap(), "\"default\";q=3;w=3600");
    }
    // One bucket for both protocols and all routes.
    let answer = server.h2("GET", "/later", &[("x-key", "a")], b"");
    assert_eq!((answer.status, answer.text()), (200, "later"));
    assert!(answer.field("ratelimit").unwrap().starts_with("\"default\";r=0;"));
    for answer in server.ask("GET", "/later", &[("x-key", "a")], b"") {
        assert_eq!(answer.status, 429, "{}", answer.over);
        let wait: u64 = answer.field("retry-after").unwrap().parse().unwrap();
        assert!((1190..=1200).contains(&wait), "{wait}");
        assert_eq!(answer.field("ratelimit").unwrap(), format!("\"default\";r=0;t={wait}"));
    }
    assert_eq!(ask("b", "/").status, 200, "another key has a bucket of its own");
    for _ in 0..5 {
        assert_eq!(server.h1("GET", "/", &[], b"").status, 200, "no key, no limit");
    }
}

#[test]
fn p2_a_rate_limit_by_address_refills() {
    let limit = RateLimit::new(2, Duration::from_millis(400));
    let server = Both::new(Router::new().get("/", hello).layer(limit));
    let mut client = Client::connect(server.address);
    let mut statuses: Vec<_> = (0..3).map(|_| client.get("/").status).collect();
    // At worst the machine paused for longer than a token takes.
    while statuses.last() != Some(&429) {
        statuses.push(client.get("/").status);
        assert!(statuses.len() < 1000, "never refused");
    }
    eventually("a token comes", || client.get("/").status == 200);
}

/// `/words/N`: so many bytes of text that compresses well.
fn words() -> Router {
    let body = |len: usize| "a word and another word, ".repeat(len / 25 + 1)[..len].to_owned();
    Router::new()
        .get("/words/{len}", move |request: &Request<'_>| {
            let len = request.param("len").unwrap().parse().unwrap();
            Response::text(body(len))
                .header(header::ETAG, HeaderValue::from_static("\"v1\""))
                .header(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"))
        })
        .get("/later", async move |_: OwnedRequest| Response::json_bytes(body(5000)))
        .get("/noise", |_: &Request<'_>| Response::text(pattern(5000)))
        .get("/image", |_: &Request<'_>| Response::typed("image/png", vec![0; 5000]))
        .get("/digest", move |_: &Request<'_>| {
            let value = HeaderValue::from_static("sha-256=:AAAA:");
            Response::text(body(5000)).header(HeaderName::from_static("content-digest"), value)
        })
        .get("/fixed", move |_: &Request<'_>| {
            let value = HeaderValue::from_static("public, No-Transform");
            Response::text(body(5000)).header(header::CACHE_CONTROL, value)
        })
        .get("/coded", move |_: &Request<'_>| {
            let value = HeaderValue::from_static("gzip");
            Response::text(vec![0; 5000]).header(header::CONTENT_ENCODING, value)
        })
        .get("/part", move |_: &Request<'_>| {
            let value = HeaderValue::from_static("bytes 0-4999/9999");
            let part = Response::text(body(5000)).header(header::CONTENT_RANGE, value);
            part.status(StatusCode::PARTIAL_CONTENT)
        })
        .get("/same", |_: &Request<'_>| {
            let tag = HeaderValue::from_static("\"v1\"");
            Response::new(StatusCode::NOT_MODIFIED).header(header::ETAG, tag)
        })
        .get("/varies", move |_: &Request<'_>| {
            let vary = HeaderValue::from_static("Accept, ACCEPT-ENCODING");
            Response::text(body(5000)).header(header::VARY, vary)
        })
        .post("/made", move |_: &Request<'_>| Response::text(body(5000)))
        .layer(Compress::new())
}

fn decoded(answer: &Answer) -> Vec<u8> {
    let (bytes, mut out) = (&answer.body[..], Vec::new());
    match answer.field("content-encoding").as_deref() {
        Some("gzip") => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap(),
        Some("br") => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out).unwrap(),
        Some("zstd") => {
            zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut out).unwrap()
        }
        _ => return answer.body.clone(),
    };
    out
}

#[test]
fn p2_compression_is_what_the_client_prefers() {
    let server = Both::new(words());
    for (accepted, coding) in [
        ("gzip, deflate, br, zstd", Some("br")),
        ("gzip, zstd", Some("zstd")),
        ("gzip", Some("gzip")),
        ("br;q=0.5, gzip;q=0.8", Some("gzip")),
        ("br;q=0, *", Some("zstd")),
        ("identity, br;q=0.9", None),
        ("identity;q=0, gzip;q=0.1", Some("gzip")),
        ("deflate", None),
        ("", None),
    ] {
        for path in ["/words/5000", "/later", "/words/100000"] {
            for answer in server.ask("GET", path, &[("accept-encoding", accepted)], b"") {
                let got = answer.field("content-encoding");
                assert_eq!(got.as_deref(), coding, "{path} {accepted} over {}", answer.over);
                assert_eq!(answer.field("vary").unwrap(), "accept-encoding");
                let whole = decoded(&answer);
                assert_eq!(whole.len(), if path.ends_with("100000") { 100_000 } else { 5000 });
                assert!(whole.starts_with(b"a word and another word, a word"));
                if path != "/later" {
                    let tag = if coding.is_some() { "W/\"v1\"" } else { "\"v1\"" };
                    assert_eq!(answer.field("etag").unwrap(), tag);
                    assert_eq!(answer.field("accept-ranges").is_some(), coding.is_none());
                }
                assert_eq!(answer.body.len() < 2000, coding.is_some());
                let length = answer.field("content-length").unwrap();
                assert_eq!(length, answer.body.len().to_string());
            }
        }
    }
    for answer in server.get("/words/5000") {
        assert_eq!(answer.field("content-encoding"), None, "who does not say takes none");
        assert_eq!(answer.field("vary").unwrap(), "accept-encoding");
    }
}

#[test]
fn p2_several_lines_of_accept_encoding_are_one_list() {
    let server = Both::new(words());
    let lines = [("accept-encoding", "identity;q=0.1"), ("accept-encoding", "gzip, br;q=0.5")];
    for answer in server.ask("GET", "/words/5000", &lines, b"") {
        assert_eq!(answer.field("content-encoding").as_deref(), Some("gzip"), "{}", answer.over);
    }
}

/// There are no threads for it.
#[test]
fn p2_what_no_thread_has_time_to_compress_is_sent_as_it_is() {
    let app = words();
    let limits = Limits { compress_queue: 0, ..Limits::default() };
    let running = Server::new(app).limits(limits).workers(1).http("127.0.0.1:0").start().unwrap();
    let mut client = Client::connect(running.local_addr(Scheme::Http).unwrap());
    let mut ask = |accepted: &str| {
        client.request("GET", "/words/100000", &format!("Accept-Encoding: {accepted}\r\n"), b"")
    };
    let answer = ask("gzip");
    assert_eq!((answer.status, answer.body.len()), (200, 100_000));
    assert_eq!(answer.field("content-encoding"), None);
    assert_eq!(answer.field("vary"), Some("accept-encoding"));
    assert_eq!(ask("gzip, identity;q=0").status, 503);
    running.stop();
    running.join().unwrap();
}

#[test]
fn p2_compression_leaves_what_is_not_to_be_changed() {
    let server = Both::new(words());
    let all = ("accept-encoding", "br, gzip, zstd");
    for path in ["/words/1023", "/image", "/digest", "/fixed", "/coded", "/part"] {
        for answer in server.ask("GET", path, &[all], b"") {
            let coding = answer.field("content-encoding");
            assert_eq!(coding.is_some(), path == "/coded", "{path} over {}", answer.over);
            let kept = answer.field("vary").is_none()
                && answer.field("etag").is_none_or(|t| t == "\"v1\"");
            assert!(kept, "{path}: {:?}", answer.fields);
        }
    }
    // What does not get any shorter stays as it is, but for another client it might be different.
    for answer in server.ask("GET", "/noise", &[all], b"") {
        assert_eq!((answer.field("content-encoding"), answer.body.len()), (None, 5000));
        assert_eq!(answer.field("vary").unwrap(), "accept-encoding");
    }
    for answer in server.ask("GET", "/varies", &[all], b"") {
        assert_eq!(answer.field("vary").unwrap(), "Accept, ACCEPT-ENCODING", "said once");
        assert_eq!(answer.field("content-encoding").unwrap(), "br");
    }
    // What was not changed had a weak tag when it was sent compressed.
    for (fields, tag) in [(&[all][..], "W/\"v1\""), (&[], "\"v1\"")] {
        for answer in server.ask("GET", "/same", fields, b"") {
            assert_eq!((answer.status, &*answer.field("etag").unwrap()), (304, tag));
            assert_eq!(answer.field("vary").unwrap(), "accept-encoding");
        }
    }
}

#[test]
fn p2_what_no_coding_of_the_clients_will_do_for_is_406() {
    let server = Both::new(words());
    for accepted in ["identity;q=0", "*;q=0", "identity;q=0, deflate"] {
        for answer in server.ask("GET", "/words/5000", &[("accept-encoding", accepted)], b"") {
            assert_eq!(answer.status, 406, "{accepted} over {}", answer.over);
            assert_eq!(answer.field("vary").unwrap(), "accept-encoding");
        }
        // A completed action is not undone.
        for answer in server.ask("POST", "/made", &[("accept-encoding", accepted)], b"") {
            assert_eq!((answer.status, answer.body.len()), (200, 5000), "{}", answer.over);
        }
        for answer in server.ask("GET", "/none", &[("accept-encoding", accepted)], b"") {
            assert_eq!(answer.status, 404, "{}", answer.over);
        }
    }
    // Short, or no text: compressed all the same, where nothing else is taken.
    for path in ["/words/1", "/image", "/noise"] {
        let fields = [("accept-encoding", "gzip, identity;q=0")];
        for answer in server.ask("GET", path, &fields, b"") {
            assert_eq!(answer.field("content-encoding").unwrap(), "gzip", "{path}");
            assert_eq!(decoded(&answer).len(), if path == "/words/1" { 1 } else { 5000 });
        }
    }
}

#[test]
fn p2_head_says_of_compression_what_get_says() {
    let server = Both::new(words());
    for path in ["/words/5000", "/words/100000", "/words/10", "/later", "/image"] {
        for accepted in ["br", "gzip", "identity"] {
            let fields = [("accept-encoding", accepted)];
            let get = server.ask("GET", path, &fields, b"");
            let head = server.ask("HEAD", path, &fields, b"");
            for (get, head) in get.into_iter().zip(head) {
                assert!(head.body.is_empty());
                assert_eq!(get.fields, head.fields, "{path} {accepted} over {}", get.over);
            }
        }
    }
}

/// A stream: pieces come out when the producer pauses, trailers behind, memory bounded.
fn streams() -> Router {
    Router::new()
        .get("/ticks", |_: &Request<'_>| {
            Response::stream("text/event-stream", async |mut out| {
                for n in 1..=2 {
                    if out.write(format!("data: {n}\n\n")).await.is_err() {
                        return;
                    }
                    // The second piece is not before the first was seen.
                    while n == 1 && !SEEN.load(Ordering::Relaxed) {
                        ringway::sleep(Duration::from_millis(20)).await;
                    }
                }
                out.trailers([("x-sum", "9")]);
            })
        })
        .get("/long", |_: &Request<'_>| {
            Response::stream("text/plain", async |mut out| {
                let piece: Arc<[u8]> = "a word and another word, ".repeat(4000).into_bytes().into();
                for _ in 0..50 {
                    if out.write(Arc::clone(&piece)).await.is_err() {
                        return;
                    }
                }
            })
        })
        .get("/short", |_: &Request<'_>| {
            Response::stream_of_length("text/plain", 5000, async |mut out| {
                let _ = out.write("not 5000 bytes").await;
            })
        })
        .get("/gives-up", |_: &Request<'_>| {
            Response::stream("text/plain", async |mut out| {
                let _ = out.write("half").await;
                out.abort();
            })
        })
        .layer(Compress::new())
}

static SEEN: AtomicBool = AtomicBool::new(false);

#[test]
fn p2_a_stream_is_compressed_as_it_comes() {
    let server = Both::new(streams());
    for coding in ["gzip", "br", "zstd"] {
        SEEN.store(false, Ordering::Relaxed);
        let mut client = H2::connect(server.address);
        let id = client.ask("GET", "/ticks", &[("accept-encoding", coding)], b"");
        client.until("the first piece is there", |client| {
            client.streams.get(&id).is_some_and(|stream| begins(coding, &stream.body))
        });
        SEEN.store(true, Ordering::Relaxed);
        client.answer(id);
        for answer in server.ask("GET", "/ticks", &[("accept-encoding", coding)], b"") {
            assert_eq!(decoded(&answer), b"data: 1\n\ndata: 2\n\n", "{coding} {}", answer.over);
            assert_eq!(answer.trailers, [("x-sum".to_owned(), "9".to_owned())]);
            assert_eq!(answer.field("content-length"), None);
        }
        for answer in server.ask("GET", "/long", &[("accept-encoding", coding)], b"") {
            let whole = decoded(&answer);
            assert_eq!(whole.len(), 5_000_000, "{coding} over {}", answer.over);
            assert!(whole.chunks(25).all(|piece| piece == b"a word and another word, "));
            assert!(answer.body.len() < 50_000, "{}", answer.body.len());
        }
        for path in ["/short", "/gives-up"] {
            let mut client = H2::connect(server.address);
            let id = client.ask("GET", path, &[("accept-encoding", coding)], b"");
            assert!(client.answer(id).reset.is_some(), "{path}: a part is not the whole");
        }
    }
}

/// Whether what came so far is the first piece.
fn begins(coding: &str, bytes: &[u8]) -> bool {
    let mut out = [0; 64];
    let mut from: Box<dyn Read + '_> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(bytes)),
        "br" => Box::new(brotli::Decompressor::new(bytes, 4096)),
        _ => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
    };
    let mut len = 0;
    while len < out.len() {
        match from.read(&mut out[len..]) {
            Ok(0) | Err(_) => break,
            Ok(more) => len += more,
        }
    }
    &out[..len] == b"data: 1\n\n"
}
