use http::Method;

use super::*;

fn matched(pattern: &str, path: &str) -> Option<Vec<String>> {
    let pattern = Pattern::new(pattern);
    let mut spans = [Span::default(); PARAMS_MAX];
    let part = |span: &Span| path[span.at as usize..span.end()].to_owned();
    let found = pattern.matches(path, 0, &mut spans);
    found.then(|| spans[..pattern.names.len()].iter().map(part).collect())
}

#[test]
fn patterns_match_whole_segments() {
    let of = |parts: &[&str]| Some(parts.iter().map(|part| (*part).to_owned()).collect());
    assert_eq!(matched("/user/{name}", "/user/ann"), of(&["ann"]));
    assert_eq!(matched("/user/{name}", "/user/"), None);
    assert_eq!(matched("/user/{name}", "/user/ann/x"), None);
    assert_eq!(matched("/{a}/x/{b}", "/1/x/2"), of(&["1", "2"]));
    assert_eq!(matched("/static/*", "/static/a/b.css"), of(&["a/b.css"]));
    assert_eq!(matched("/static/*", "/static/"), of(&[""]));
    assert_eq!(matched("/static/*", "/static"), None);
    assert_eq!(matched("/*", "/"), of(&[""]));
    assert_eq!(matched("/{a}", "*"), None);
}

#[test]
fn every_literal_path_is_found_and_no_other() {
    let paths = [
        "/",
        "/b",
        "/a",
        "/c",
        "/abc",
        "/abcdef",
        "/abd",
        "/ab",
        "/long/er/than/two/words",
        "/long/er/thus/two/words",
        "/eightby",
        "/sixteen/bytes/x",
        "/sixteen/bites/x",
    ];
    for turn in 0..paths.len() {
        let mut router = Router::new();
        for n in 0..paths.len() {
            let path = paths[(n + turn) % paths.len()];
            assert!(router.literal(path.as_bytes()).is_err(), "{path}");
            router = router.get(path, |_: &Request| Response::text("x"));
            router = router.put(path, |_: &Request| Response::text("y"));
        }
        assert_eq!(router.literal.len(), paths.len());
        for path in paths {
            let at = router.literal(path.as_bytes()).unwrap();
            assert_eq!(router.literal[at].path, path);
        }
        for other in
            ["", "/d", "/abe", "/abcde", "/abcdeg", "/abcdefg", "/aa", "/long/er/that/two/words"]
        {
            assert!(router.literal(other.as_bytes()).is_err(), "{other}");
        }
    }
}

#[test]
fn the_more_literal_pattern_comes_first() {
    let answer = |_: &Request| Response::text("x");
    let router = Router::new().get("/*", answer).get("/{a}/b", answer).get("/a/{b}", answer);
    let order: Vec<&str> = router.patterns.iter().map(|pattern| &*pattern.text).collect();
    assert_eq!(order, ["/a/{b}", "/{a}/b", "/*"]);
}

#[test]
fn what_looks_like_a_pattern_and_is_none_is_refused() {
    for path in ["/{id}.json", "/a/{*rest}", "/{}", "/v{n}/x", "/{a", "/a*", "/{a}/{a}"] {
        let made =
            std::panic::catch_unwind(|| Router::new().get(path, |_: &Request| Response::text("x")));
        assert!(made.is_err(), "{path}");
    }
}

#[test]
#[should_panic(expected = "`*` ends a route's path")]
fn a_star_in_the_middle_is_refused() {
    let _ = Pattern::new("/a/*/b");
}

/// The panic message of a router that cannot be built.
fn refusal(make: impl FnOnce() -> Router + std::panic::UnwindSafe) -> String {
    let Err(panic) = std::panic::catch_unwind(make) else { panic!("it was made") };
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
    }
}

fn answer(_: &Request<'_>) -> Response {
    Response::text("x")
}

#[test]
fn p5_a_route_that_cannot_be_matched_is_refused_with_both_places() {
    let here = file!();
    let first = line!() + 1;
    let text = refusal(|| Router::new().get("/a", answer).post("/a", answer).get("/%61", answer));
    let places = format!("from {here}:{first}:41 and from {here}:{first}:78");
    assert_eq!(text, format!("GET of /a has two routes: {places}"));

    let text = refusal(|| Router::new().get("/{a}/x", answer).post("/{b}/x", answer));
    assert!(text.starts_with("/{b}/x from "), "{text}");
    assert!(text.contains("can never be matched: /{a}/x from "), "{text}");

    let text = refusal(|| Router::new().any("/a/*", answer).any("/a/*", answer));
    assert!(text.starts_with("any method of /a/* has two routes: "), "{text}");

    let text = refusal(|| Router::new().route(Method::CONNECT, "/a", answer));
    assert!(text.starts_with("CONNECT has no path "), "{text}");
    let text = refusal(|| Router::new().fallback(answer).fallback(answer));
    assert!(text.starts_with("a router has one fallback: "), "{text}");
}

#[test]
fn p5_nesting_and_merging_refuse_what_they_break() {
    let one = || Router::new().get("/{id}", answer);
    for prefix in ["", "/", "api", "/api/", "/api/*"] {
        let text = refusal(|| Router::new().nest(prefix, one()));
        assert!(text.starts_with("routes must be nested below a path like /api, not "), "{text}");
    }
    let text = refusal(|| Router::new().nest("/{id}", one()));
    assert!(text.contains("is in the path twice: /{id}/{id}"), "{text}");
    let six = || Router::new().get("/{b}/{c}/{d}/{e}/{f}/{g}", answer);
    let text = refusal(|| Router::new().nest("/{a}", six()));
    assert!(text.contains("a route has at most 6 parameters"), "{text}");
    let _ = Router::new().nest("/a", six());
    let text = refusal(|| Router::new().get("/a/{x}", answer).nest("/a", one()));
    assert!(text.contains("can never be matched"), "{text}");
    let text = refusal(|| Router::new().get("/a/{id}", answer).nest("/a", one()));
    assert!(text.starts_with("GET of /a/{id} has two routes: "), "{text}");
    let text = refusal(|| one().merge(one()));
    assert!(text.starts_with("GET of /{id} has two routes: "), "{text}");
    let with_fallback = || one().fallback(answer);
    let text = refusal(|| Router::new().fallback(answer).merge(with_fallback()));
    assert!(text.starts_with("a router has one fallback: "), "{text}");
    let text = refusal(|| Router::new().nest("/{tenant}", Router::new().any("/*", files())));
    assert_eq!(text, "files are not served below a parameter: /{tenant}");
}

/// A handler that depends on its prefix, as files do.
fn files() -> impl Handler {
    struct Minds;
    impl Handler for Minds {
        fn call(&self, _: &Request<'_>) -> Reply {
            Response::text("x").into()
        }

        fn nested(&mut self, prefix: &str) {
            assert!(!prefix.contains('{'), "files are not served below a parameter: {prefix}");
        }
    }
    Minds
}

/// The same, in a layer that is allowed once.
struct Once;

impl crate::app::layer::Layer for Once {
    fn call(&self, request: &Request<'_>, next: crate::app::layer::Next<'_>) -> Reply {
        next.run(request)
    }

    fn only(&self) -> Option<&'static str> {
        Some("once")
    }
}

#[test]
fn p2_layers_that_contradict_are_refused_with_both_places() {
    let one = || Router::new().get("/a", answer);
    let text = refusal(|| one().layer(Once).layer(Once));
    assert!(text.starts_with("GET /a has two of once: from "), "{text}");
    let text = refusal(|| Router::new().nest("/x", one().layer(Once)).layer(Once));
    assert!(text.starts_with("GET /x/a has two of once: from "), "{text}");
    assert_eq!(text.matches(file!()).count(), 2, "{text}");
    let text = refusal(|| one().body_limit(1).body_limit(2));
    assert!(text.starts_with("GET /a has two of body limit: from "), "{text}");
    let other = || Router::new().post("/a", answer);
    let text = refusal(|| one().layer(Once).merge(other().layer(Once)));
    assert!(text.starts_with("OPTIONS /a has two of once: from "), "{text}");
    let text = refusal(|| Router::new().fallback(answer).layer(Once).layer(Once));
    assert!(text.starts_with("the fallback has two of once: from "), "{text}");
    // Side by side they do not conflict.
    let _ = one().body_limit(1).merge(other().body_limit(2));
    let _ = one().layer(Once).merge(Router::new().get("/b", answer).layer(Once));
}

#[test]
fn p2_a_layer_around_nothing_is_refused() {
    let text = refusal(|| Router::new().layer(Once).get("/a", answer));
    assert!(text.starts_with("a layer must be added after its routes"), "{text}");
    let text = refusal(|| Router::new().body_limit(1).get("/a", answer));
    assert!(text.starts_with("a body limit must be added after its routes"), "{text}");
}
