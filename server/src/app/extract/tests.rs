use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::*;
use crate::app::handler::{Handler, Reply};
use crate::app::problem::Problem;
use crate::app::request_builder::RequestBuilder;
use crate::app::response::Response;
use crate::app::router::Router;

#[derive(Debug, Deserialize, PartialEq)]
struct Item {
    name: String,
    price: u32,
    #[serde(default)]
    tags: Vec<String>,
}

fn json(kind: &str, body: impl Into<Vec<u8>>) -> OwnedRequest {
    let builder = Request::builder().method("POST").body(body);
    let builder = if kind.is_empty() { builder } else { builder.header("content-type", kind) };
    builder.build().unwrap()
}

/// The answer to a rejection: status and problem details.
fn answer(rejection: Rejection) -> (u16, Value) {
    let response = Response::from(rejection);
    assert_eq!(response.get_header("content-type"), Some(&b"application/problem+json"[..]));
    let body = serde_json::from_slice(response.as_body().as_bytes().unwrap()).unwrap();
    (response.status_code().as_u16(), body)
}

#[test]
fn p4_json_comes_in() {
    let text = r#"{"name":"tea","price":3,"tags":["hot"]}"#;
    let want = Item { name: "tea".to_owned(), price: 3, tags: vec!["hot".to_owned()] };
    for kind in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/vnd.x+json",
        "a/b+JSON",
    ] {
        assert_eq!(json(kind, text).json::<Item>().unwrap(), want, "{kind}");
    }
    // `T` may borrow text.
    let request = json("application/json", r#"["a","b"]"#);
    assert_eq!(request.json::<Vec<&str>>().unwrap(), ["a", "b"]);
}

#[test]
fn p4_json_failure_says_where() {
    let text = "{\n \"items\": [\n  {\"name\": \"a\", \"price\": 1},\n  {\"name\": 2}]}";
    let error = json("application/json", text).json::<HashMap<String, Vec<Item>>>().unwrap_err();
    let (status, said) = answer(error);
    assert_eq!((status, &said["path"]), (400, &"items[1].name".into()));
    assert_eq!((&said["line"], &said["column"]), (&4.into(), &12.into()));
    let detail = said["detail"].as_str().unwrap();
    assert!(detail.starts_with("`items[1].name`: invalid type: integer `2`"), "{detail}");
    // What is broken has the last place that has a name.
    for (text, path) in [("{", None), ("{\"items\": [{", Some("items[0]"))] {
        let items = json("application/json", text).json::<HashMap<String, Vec<Item>>>();
        let (_, said) = answer(items.unwrap_err());
        assert_eq!(said.get("path").and_then(|path| path.as_str()), path, "{said}");
        assert!(!said["detail"].as_str().unwrap().contains('?'), "{said}");
    }
    for (text, line, column) in [("", 1, 0), ("{", 1, 1), ("[1,\n2", 2, 1), ("[] x", 1, 4)] {
        let (status, said) = answer(json("application/json", text).json::<Value>().unwrap_err());
        assert_eq!((status, &said["line"], &said["column"]), (400, &line.into(), &column.into()));
        assert_eq!(said["status"], 400);
    }
}

#[test]
fn p4_json_of_no_type_or_another_is_415() {
    for kind in ["", "text/plain", "application/jsonx", "json", "+json", "application/x-json"] {
        let (status, said) = answer(json(kind, "{}").json::<Value>().unwrap_err());
        assert_eq!((status, &said["title"]), (415, &"Unsupported Media Type".into()), "{kind}");
    }
}

#[test]
fn p4_deep_and_huge_json_is_refused() {
    for open in ["[", "{\"a\":"] {
        let text = open.repeat(500_000);
        let (status, said) = answer(json("application/json", text).json::<Value>().unwrap_err());
        let detail = said["detail"].as_str().unwrap();
        assert_eq!((status, detail.contains("recursion limit")), (400, true), "{detail}");
        assert!(detail.len() < 500, "{}", detail.len());
    }
    let digits = "9".repeat(1 << 20);
    for text in [format!("1e{digits}"), "1e999999999".to_owned(), digits] {
        assert!(json("application/json", text).json::<u64>().is_err());
    }
    assert!(json("application/json", "256").json::<u8>().is_err());
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Sort {
    Name,
    Price,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Search {
    q: String,
    page: Option<u32>,
    sort: Option<Sort>,
    #[serde(default)]
    tag: Vec<String>,
}

fn get(uri: &str) -> OwnedRequest {
    Request::builder().uri(uri).build().unwrap()
}

#[test]
fn p4_a_query_becomes_a_type() {
    let search: Search =
        get("/?q=caf%C3%A9+au%20lait&tag=a&page=2&sort=price&tag=b&unknown=1").query().unwrap();
    let tag = vec!["a".to_owned(), "b".to_owned()];
    let want = Search { q: "café au lait".into(), page: Some(2), sort: Some(Sort::Price), tag };
    assert_eq!(search, want);
    let none: BTreeMap<String, String> = get("/").query().unwrap();
    assert!(none.is_empty());
    let map: BTreeMap<String, String> = get("/?b=100%&a=x%3Dy=z&&c").query().unwrap();
    let want = [("a", "x=y=z"), ("b", "100%"), ("c", "")].map(|(a, b)| (a.into(), b.into()));
    assert_eq!(map, BTreeMap::from(want));
    let pairs: Vec<(String, String)> = get("/?b=1&a=2&b=3").query().unwrap();
    assert_eq!(pairs.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["b", "a", "b"]);
}

#[test]
fn p4_a_bad_query_names_the_parameter() {
    for (uri, name, what) in [
        ("/?q=a&page=x", Some("page"), "invalid digit"),
        ("/?q=a&page=99999999999", Some("page"), "too large"),
        ("/?q=a&sort=size", Some("sort"), "unknown variant"),
        ("/?q=a&q=b", Some("q"), "twice"),
        ("/?q=%ff", Some("q"), "UTF-8"),
        ("/?page=1", None, "missing field `q`"),
    ] {
        let (status, said) = answer(get(uri).query::<Search>().unwrap_err());
        let detail = said["detail"].as_str().unwrap();
        assert_eq!((status, said["name"].as_str()), (400, name), "{uri}: {detail}");
        assert!(detail.starts_with("query") && detail.contains(what), "{uri}: {detail}");
    }
}

#[test]
fn p4_a_form_becomes_a_type() {
    let form = |method: &str, kind: &str, uri: &str, body: &str| {
        let builder = Request::builder().method(method).uri(uri).header("content-type", kind);
        builder.body(body).build().unwrap().form::<BTreeMap<String, u32>>()
    };
    let kind = "application/x-www-form-urlencoded; charset=UTF-8";
    let want = BTreeMap::from([("a b".to_owned(), 1)]);
    assert_eq!(form("POST", kind, "/", "a+b=1").unwrap(), want);
    assert_eq!(form("GET", "", "/?a+b=1", "").unwrap(), want);
    let (status, said) = answer(form("POST", kind, "/", "a=1&b=x").unwrap_err());
    assert_eq!((status, &said["name"]), (400, &"b".into()));
    assert_eq!(answer(form("PUT", "text/plain", "/", "a=1").unwrap_err()).0, 415);
}

/// The answer of a route with a parameter.
fn at(route: &str, uri: &str, read: fn(&Request<'_>) -> Result<String, Rejection>) -> Response {
    let router = Router::new().get(route, move |request: &Request<'_>| read(request));
    match router.call(&get(uri).view()) {
        Reply::Ready(response) => response,
        Reply::Later(_) => panic!("answers at once"),
    }
}

#[derive(Deserialize)]
struct Place {
    shelf: u32,
    book: String,
}

#[test]
fn p4_parameters_become_a_type() {
    let text = |response: Response| {
        String::from_utf8(response.as_body().as_bytes().unwrap().to_vec()).unwrap()
    };
    let route = "/shelves/{shelf}/{book}";
    let uri = "/shelves/7/caf%c3%a9%20%2f+";
    let named = at(route, uri, |request| {
        let place: Place = request.params()?;
        assert_eq!(request.param("book"), Some("caf%C3%A9%20%2F+"));
        Ok(format!("{} {}", place.shelf, place.book))
    });
    assert_eq!(text(named), "7 café /+");
    let ordered = at(route, uri, |request| {
        let (shelf, book): (u8, String) = request.params()?;
        Ok(format!("{shelf} {book}"))
    });
    assert_eq!(text(ordered), "7 café /+");
    let only = at("/n/{n}", "/n/-5", |request| Ok(request.params::<i64>()?.to_string()));
    assert_eq!(text(only), "-5");
    let rest = at("/files/*", "/files/a/b%20c", |request| request.params());
    assert_eq!(text(rest), "a/b c");
}

#[test]
fn p4_bad_parameters_are_named() {
    let of = |uri| {
        let response = at("/shelves/{shelf}/{book}", uri, |request| {
            request.params::<Place>().map(|place| place.book)
        });
        let body: Value = serde_json::from_slice(response.as_body().as_bytes().unwrap()).unwrap();
        (response.status_code().as_u16(), body)
    };
    let (status, said) = of("/shelves/x/y");
    assert_eq!((status, &said["name"]), (400, &"shelf".into()));
    let (status, said) = of("/shelves/1/%ff");
    assert_eq!((status, &said["name"]), (400, &"book".into()));
    for (read, uri) in [
        (
            (|request| request.params::<(u8, u8)>().map(|_| String::new()))
                as fn(&Request<'_>) -> Result<String, Rejection>,
            "/one/1/two",
        ),
        (|request| request.params::<(u8, char)>().map(|_| String::new()), "/one/1/two"),
    ] {
        let response = at("/one/{first}/{second}", uri, read);
        let body: Value = serde_json::from_slice(response.as_body().as_bytes().unwrap()).unwrap();
        assert_eq!(body["name"], "second");
    }
    let only = at("/n/{n}", "/n/x", |request| Ok(request.params::<u8>()?.to_string()));
    let body: Value = serde_json::from_slice(only.as_body().as_bytes().unwrap()).unwrap();
    assert_eq!(body["name"], "n");
    let wrong = at("/n/{n}", "/n/1", |request| {
        let (a, b): (u8, u8) = request.params()?;
        Ok(format!("{a}{b}"))
    });
    assert_eq!(wrong.status_code(), StatusCode::BAD_REQUEST);
}

/// `?` in handlers of every kind of result.
#[test]
fn p4_a_failure_ends_the_handler() {
    enum Own {
        Rejected(Rejection),
    }
    impl From<Rejection> for Own {
        fn from(rejection: Rejection) -> Self {
            Self::Rejected(rejection)
        }
    }
    impl From<Own> for Response {
        fn from(Own::Rejected(rejection): Own) -> Self {
            rejection.into_problem().instance("/own").into()
        }
    }
    type Boxed = Box<dyn std::error::Error + Send + Sync>;
    let router = Router::new()
        .post("/rejection", |request: &Request<'_>| -> Result<Response, Rejection> {
            Ok(Response::json(&request.json::<Value>()?))
        })
        .post("/problem", |request: &Request<'_>| -> Result<Response, Problem> {
            Ok(Response::json(&request.json::<Value>()?))
        })
        .post("/own", |request: &Request<'_>| -> Result<Response, Own> {
            Ok(Response::json(&request.json::<Value>()?))
        })
        .post("/boxed", |request: &Request<'_>| -> Result<Response, Boxed> {
            Ok(Response::json(&request.json::<Value>()?))
        });
    for path in ["/rejection", "/problem", "/own", "/boxed"] {
        let builder = |body: &str| -> RequestBuilder {
            let builder = Request::builder().method("POST").uri(path).body(body);
            builder.header("content-type", "application/json")
        };
        for (body, status) in [("[1]", 200), ("[1", 400)] {
            let request = builder(body).build().unwrap();
            let Reply::Ready(response) = router.call(&request.view()) else { panic!("at once") };
            assert_eq!(response.status_code(), status, "{path}");
        }
    }
}
