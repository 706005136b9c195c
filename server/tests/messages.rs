//! Requests and responses of the public API over real connections of every protocol (HOUSE rows P3,
//! P4, P6 and P9): parts of a request as types, errors that say where, responses of every kind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use harness::client::Client;
use harness::h2::H2;
use harness::quic::H3;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::{Body as _, Frame};
use ringway::cookie::Cookie;
use ringway::extract::MultipartForm;
use ringway::sse::{Event, Sse};
use ringway::tls::Tls;
use ringway::{
    Body, OwnedRequest, Rejection, Request, RequestBody, Response, Router, Scheme, Server,
    ServerHandle, channel,
};
use serde::{Deserialize, Serialize};

#[derive(Deserialize, Serialize)]
struct Item {
    name: String,
    price: u32,
}

fn app() -> Router {
    Router::new()
        .post("/json", |request: &Request| -> Result<_, Rejection> {
            Ok(Response::json(&request.json::<Item>()?))
        })
        .post("/json/later", async |request: OwnedRequest| -> Result<_, Rejection> {
            ringway::sleep(Duration::from_millis(1)).await;
            Ok((StatusCode::CREATED, Response::json(&request.json::<Item>()?)))
        })
        .post("/form", |request: &Request| -> Result<_, Rejection> {
            Ok(Response::json(&request.form::<BTreeMap<String, u8>>()?))
        })
        .get("/at/{shelf}/{book}", |request: &Request| -> Result<_, Rejection> {
            let (shelf, book): (u8, String) = request.params()?;
            Ok(format!("{shelf} {book}"))
        })
        .stream(Method::POST, "/multipart", multipart)
        .stream(Method::POST, "/echo", async |_: OwnedRequest, body: RequestBody| {
            // A body that comes goes out again, trailers and all.
            Response::new(StatusCode::OK).body(Body::from_http_body(body))
        })
        .get("/cookies", |request: &Request| {
            let names: Vec<_> = request.cookies().map(|cookie| cookie.to_string()).collect();
            Response::text(names.join(",")).cookie(("a", "1")).remove_cookie(Cookie::from("b"))
        })
        .get("/sse", async |_: OwnedRequest| {
            let (sender, events) = channel(4);
            ringway::spawn(async move {
                let _ = sender.send(Event::new("one")).await;
                ringway::sleep(Duration::from_millis(150)).await;
                let _ = sender.send(Event::new("two")).await;
            });
            Response::from(Sse::new(events).keep_alive(Duration::from_millis(50)))
        })
        .get("/http", |_: &Request| {
            http::Response::builder().status(202).header("x-by", "http").body(Three(0)).unwrap()
        })
        .get("/redirect", |_: &Request| Response::redirect("/caf\u{e9}"))
        .get("/text", |_: &Request| "text")
        .get("/nothing", |_: &Request| {})
        .post("/uri", async |request: OwnedRequest| {
            let request = http::Request::<RequestBody>::from(request);
            let host = request.headers().get("host").is_some();
            let length = request.body().size_hint().exact();
            format!("{:?} {} {host} {length:?}", request.version(), request.uri())
        })
}

async fn multipart(request: OwnedRequest, body: RequestBody) -> Result<String, Rejection> {
    let mut form = MultipartForm::new(&request, body)?.max_field_bytes(1000);
    let mut all = String::new();
    while let Some(field) = form.next_field().await? {
        all += &format!("{}=", field.name().unwrap_or_default());
        all += &field.text().await?;
        all += ";";
    }
    Ok(all)
}

/// A body of another library: two pieces and trailers.
struct Three(u8);

impl http_body::Body for Three {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0 += 1;
        let pair = (HeaderName::from_static("x-sum"), HeaderValue::from_static("9"));
        Poll::Ready(match self.0 {
            1 => Some(Ok(Frame::data(Bytes::from_static(b"one ")))),
            2 => Some(Ok(Frame::data(Bytes::from_static(b"two")))),
            3 => Some(Ok(Frame::trailers(HeaderMap::from_iter([pair])))),
            _ => None,
        })
    }
}

/// What came back, the same over every protocol.
struct Got {
    over: &'static str,
    status: u16,
    /// Of the head and behind the body.
    fields: Vec<(String, String)>,
    body: String,
}

impl Got {
    fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}

struct Served {
    handle: Option<ServerHandle>,
    h1: Client,
    h2: H2,
    h3: H3,
}

fn served() -> Served {
    let server = Server::new(app()).workers(1).http("127.0.0.1:0");
    let server = server.https("127.0.0.1:0", Tls::self_signed().unwrap()).start().unwrap();
    let at = |scheme| server.local_addr(scheme).unwrap();
    let (h1, h2, h3) = (
        Client::connect(at(Scheme::Http)),
        H2::tls(at(Scheme::Https)),
        H3::connect(at(Scheme::H3)),
    );
    Served { handle: Some(server), h1, h2, h3 }
}

impl Served {
    fn ask(&mut self, method: &str, path: &str, kind: &str, body: &str) -> [Got; 3] {
        let lines = format!("content-type: {kind}\r\ncontent-length: {}\r\n", body.len());
        let (lines, more) = match kind {
            "" => (String::new(), vec![]),
            _ => (lines, vec![("content-type", kind)]),
        };
        self.ask_with(method, path, &lines, &more, body)
    }

    fn ask_with(
        &mut self,
        method: &str,
        path: &str,
        lines: &str,
        more: &[(&str, &str)],
        body: &str,
    ) -> [Got; 3] {
        let got = self.h1.request(method, path, lines, body.as_bytes());
        let body_text = got.text().to_owned();
        let fields = [got.fields, got.trailers].concat();
        let h1 = Got { over: "h1", status: got.status, fields, body: body_text };
        let id = self.h2.ask(method, path, more, body.as_bytes());
        let got = self.h2.answer(id);
        let fields = got.heads.concat();
        let h2 = Got { over: "h2", status: got.status(), fields, body: got.text().to_owned() };
        let id = self.h3.ask(method, path, more, body.as_bytes());
        let got = self.h3.answer(id);
        let status =
            got.heads.concat().iter().find(|(name, _)| name == ":status").unwrap().1.clone();
        let (status, fields) = (status.parse().unwrap(), got.heads.concat());
        [h1, h2, Got { over: "h3", status, fields, body: got.text() }]
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.stop();
            let _ = handle.join();
        }
    }
}

#[test]
fn p4_json_goes_in_and_out_over_every_protocol() {
    let mut server = served();
    let item = r#"{"name":"tea","price":3}"#;
    for (path, status) in [("/json", 200), ("/json/later", 201)] {
        for got in server.ask("POST", path, "application/json", item) {
            assert_eq!((got.status, &*got.body), (status, item), "{} {path}", got.over);
            assert_eq!(got.field("content-type"), "application/json");
        }
    }
}

#[test]
fn p4_json_failure_says_where() {
    let mut server = served();
    for path in ["/json", "/json/later"] {
        for got in
            server.ask("POST", path, "application/json", "{\"name\":\"tea\",\n\"price\":\"3\"}")
        {
            assert_eq!(got.status, 400, "{}", got.over);
            assert_eq!(got.field("content-type"), "application/problem+json");
            let place = r#""path":"price","line":2,"column":11}"#;
            let detail =
                r#""`price`: invalid type: string \"3\", expected u32 at line 2 column 11""#;
            let want = format!(r#"{{"title":"Bad Request","status":400,"detail":{detail},{place}"#);
            assert_eq!(got.body, want, "{} {path}", got.over);
        }
        for got in server.ask("POST", path, "text/plain", "{}") {
            assert_eq!(got.status, 415, "{}", got.over);
        }
        for got in server.ask("POST", path, "application/json", &"[".repeat(200_000)) {
            assert_eq!(got.status, 400, "{}", got.over);
        }
    }
}

#[test]
fn p4_forms_and_parameters_over_every_protocol() {
    let mut server = served();
    let kind = "application/x-www-form-urlencoded";
    for got in server.ask("POST", "/form", kind, "b=2&a+x=1") {
        assert_eq!((got.status, &*got.body), (200, r#"{"a x":1,"b":2}"#), "{}", got.over);
    }
    for got in server.ask("POST", "/form", kind, "b=2&a=300") {
        assert!(got.status == 400 && got.body.contains(r#""name":"a""#), "{}", got.body);
    }
    for got in server.ask("GET", "/at/7/caf%c3%a9", "", "") {
        assert_eq!((got.status, &*got.body), (200, "7 caf\u{e9}"), "{}", got.over);
    }
    for got in server.ask("GET", "/at/x/y", "", "") {
        assert!(got.status == 400 && got.body.contains(r#""name":"shelf""#), "{}", got.body);
    }
}

#[test]
fn p4_multipart_over_every_protocol() {
    let mut server = served();
    let part = |name: &str, text: &str| {
        format!("--x\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
    };
    let kind = "multipart/form-data; boundary=x";
    let body = [part("a", "1"), part("b", "2\r\n3"), "--x--\r\n".to_owned()].concat();
    for got in server.ask("POST", "/multipart", kind, &body) {
        assert_eq!((got.status, &*got.body), (200, "a=1;b=2\r\n3;"), "{}", got.over);
    }
    let large = [part("a", &"1".repeat(1001)), "--x--\r\n".to_owned()].concat();
    for got in server.ask("POST", "/multipart", kind, &large) {
        assert!(got.status == 413 && got.body.contains("`a`"), "{} {}", got.over, got.body);
    }
    for (kind, status) in [("multipart/form-data", 400), ("text/plain", 415)] {
        let mut server = served();
        for got in server.ask("POST", "/multipart", kind, &body) {
            assert_eq!(got.status, status, "{}", got.over);
        }
    }
}

#[test]
fn p4_cookies_over_every_protocol() {
    let mut server = served();
    let lines = "cookie: a=1; b; c=%20\r\ncookie: d=4\r\n";
    let more = [("cookie", "a=1; b; c=%20"), ("cookie", "d=4")];
    for got in server.ask_with("GET", "/cookies", lines, &more, "") {
        assert_eq!(got.body, "a=1,c= ,d=4", "{}", got.over);
        let set: Vec<_> = got.fields.iter().filter(|(name, _)| name == "set-cookie").collect();
        assert_eq!((set.len(), &*set[0].1), (2, "a=1"), "{}", got.over);
        assert!(set[1].1.starts_with("b=; Max-Age=0; Expires="), "{}", set[1].1);
    }
}

#[test]
fn p4_events_come_with_comments_between_them() {
    let mut server = served();
    for got in server.ask("GET", "/sse", "", "") {
        assert_eq!(got.field("content-type"), "text/event-stream", "{}", got.over);
        let comments = got.body.matches(":\n\n").count();
        assert!((1..=3).contains(&comments), "{}", got.body);
        assert_eq!(got.body.replace(":\n\n", ""), "data: one\n\ndata: two\n\n", "{}", got.over);
    }
}

#[test]
fn p9_bodies_of_http_body_go_both_ways_over_every_protocol() {
    let mut server = served();
    for got in server.ask("GET", "/http", "", "") {
        assert_eq!((got.status, &*got.body), (202, "one two"), "{}", got.over);
        assert_eq!((got.field("x-by"), got.field("x-sum")), ("http", "9"), "{}", got.over);
    }
    // As much as a client may send before it reads.
    let large = "0123456789abcdef".repeat(3000);
    for got in server.ask("POST", "/echo", "text/plain", &large) {
        assert!(got.status == 200 && got.body == large, "{} {}", got.over, got.body.len());
    }
    server.h1.send(
        "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\nx-after: 1\r\n\r\n",
    );
    let got = server.h1.response("POST");
    assert_eq!((got.text(), &got.trailers[..]), ("abc", &[("x-after".into(), "1".into())][..]));
}

#[test]
fn p9_a_request_becomes_one_of_http() {
    let mut server = served();
    let want = ["HTTP/1.1 /uri?q true Some(2)", "HTTP/2.0 https://", "HTTP/3.0 https://"];
    for (got, want) in server.ask("POST", "/a/../uri?q", "text/plain", "hi").into_iter().zip(want) {
        assert!(got.body.starts_with(want), "{}: {}", got.over, got.body);
        assert!(got.body.contains("/uri?q ") && got.body.ends_with("Some(2)"), "{}", got.body);
    }
}

#[test]
fn p6_answers_of_every_kind_over_every_protocol() {
    let mut server = served();
    for got in server.ask("GET", "/redirect", "", "") {
        assert_eq!((got.status, got.field("location")), (303, "/caf%C3%A9"), "{}", got.over);
    }
    for got in server.ask("GET", "/text", "", "") {
        let kind = got.field("content-type").to_owned();
        assert_eq!((&*got.body, &*kind), ("text", "text/plain; charset=utf-8"), "{}", got.over);
    }
    for got in server.ask("GET", "/nothing", "", "") {
        assert_eq!((got.status, &*got.body), (200, ""), "{}", got.over);
        assert_eq!((got.field("content-type"), got.field("content-length")), ("", "0"));
    }
}

/// Where each type may go; what a handler has stays on its worker.
#[test]
fn p11_send_and_sync_are_as_stated() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Router>();
    shared::<Server>();
    shared::<Rejection>();
    shared::<ringway::Problem>();
    shared::<ringway::Error>();
    shared::<ringway::request::InvalidRequest>();
    shared::<Event>();
    shared::<ringway::Protocol>();
    shared::<StatusCode>();
}
