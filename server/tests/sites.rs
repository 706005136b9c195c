//! Rows L1 to L4, A13, A15, E5 and 101 to 103: `[[site]]` blocks of a configuration file, seen by
//! clients over HTTP/1.1 with and without TLS, HTTP/2 and HTTP/3.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::process::Command;

use harness::h2::{END_HEADERS, END_STREAM, H2, HEADERS, block, frame};
use harness::site::{certificate, clear, every, folder, h1, h1_text, secure, serve};
use harness::tls;

const TWO: &str = "
[[site]]
hosts = [\"A.test.\", \"[::1]\"]
root = \"a\"
cleartext = \"serve\"
[[site]]
hosts = [\"b.test\", \"*.w.test\"]
root = \"b\"
cleartext = \"serve\"
";
const TWO_FILES: &[(&str, &str)] = &[("a/index.html", "site a"), ("b/index.html", "site b")];

/// Two hosts on the same sockets get their own files, however they are spelt; wildcards stand for
/// one label.
#[test]
fn a15_l2_hosts_choose_their_site() {
    let dir = folder(TWO, TWO_FILES);
    let server = serve(&dir);
    for (authority, status, body) in [
        ("a.test", 200, "site a"),
        ("A.TEST.", 200, "site a"),
        ("a.test:8080", 200, "site a"),
        ("a.test.:443", 200, "site a"),
        ("[::1]:8080", 200, "site a"),
        ("[0:0::1]", 200, "site a"),
        ("b.test", 200, "site b"),
        ("x.w.test", 200, "site b"),
        ("X.W.test.:9", 200, "site b"),
        ("y.x.w.test", 421, "Misdirected Request"),
        ("unknown.test", 421, "Misdirected Request"),
        ("127.0.0.1", 421, "Misdirected Request"),
    ] {
        for answer in every(&server, authority, "/") {
            let got = (answer.status, answer.body.as_str());
            assert_eq!(got, (status, body), "{}: {authority}", answer.way);
        }
    }
    // Names that no certificate is asked about.
    for authority in ["w.test", "xa.test", "test", "a.test.b.test"] {
        assert_eq!(clear(&server, authority, "/").status, 421, "{authority}");
    }
}

/// What the site of each spelling answers; nothing of it is another site's. 40 authorities.
const AUTHORITIES: &[(&str, &str)] = &[
    ("a.test", "a"),
    ("A.test", "a"),
    ("A.TEST", "a"),
    ("a.test.", "a"),
    ("a.test:443", "a"),
    ("a.test:1", "a"),
    ("a.test:65535", "a"),
    ("a.test.:80", "a"),
    ("a.test:", "a"),
    ("[::1]", "a"),
    ("[::1]:8", "a"),
    ("[0:0:0:0:0:0:0:1]", "a"),
    ("[0::1]:443", "a"),
    ("b.test", "b"),
    ("B.test.:80", "b"),
    ("x.w.test", "b"),
    ("X.W.TEST.", "b"),
    ("1.w.test:2", "b"),
    ("xn--p1ai.w.test", "b"),
    ("-.w.test", "b"),
    ("w.test", ""),
    ("x.y.w.test", ""),
    ("a.test.b.test", ""),
    ("test", ""),
    ("xa.test", ""),
    ("127.0.0.1", ""),
    ("127.0.0.1:443", ""),
    ("[::2]", ""),
    ("unknown.test", ""),
    ("c.test:9", ""),
    ("x@a.test", "!"),
    ("a:b@a.test", "!"),
    ("a.test:80:80", "!"),
    ("[::1", "!"),
    ("a..test", "!"),
    ("a.test..", "!"),
    ("a.test/", "!"),
    ("a.test:x", "!"),
    ("a\0.test", "!"),
    ("LONG", "!"),
];

/// Row 101: by every protocol, with `tls.misdirected` and without, each spelling of a host is its
/// site's, another's is 421, and what is no authority is refused.
#[test]
fn row_101_l2_forty_authorities() {
    assert_eq!(AUTHORITIES.len(), 40);
    let long = format!("{}.test", ["a".repeat(49).as_str(); 5].join("."));
    assert_eq!(long.len(), 254);
    for serves in [false, true] {
        let dir = folder(TWO, TWO_FILES);
        if serves {
            let path = dir.path().join("ringway.toml");
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(path, format!("{text}misdirected = \"serve\"\n")).unwrap();
        }
        let server = serve(&dir);
        for (authority, wanted) in AUTHORITIES {
            let authority = if *authority == "LONG" { &*long } else { authority };
            for answer in secure(&server, "GET", authority, "/", &[]) {
                let got = (answer.status, &*answer.body);
                let is_right = match *wanted {
                    "!" => got.0 == 400 || (got.0 == 0 && answer.reset.is_some()),
                    "" => got.0 == 421,
                    site => got == (200, &*format!("site {site}")),
                };
                assert!(is_right, "{} {serves}: {authority:?}: {got:?}", answer.way);
                assert!(got.0 == 200 || !answer.body.contains("site "), "{authority}");
            }
        }
    }
}

/// Row 101: the target and `:authority` win over Host; what is no authority is 400.
#[test]
fn row_101_one_host_and_no_other() {
    let dir = folder(TWO, TWO_FILES);
    let server = serve(&dir);
    let ask = |target: &str, host: &str| {
        let answer = h1(tls::tcp(server.http()), "h1", &h1_text("GET", target, host, &[]));
        (answer.status, answer.body)
    };
    assert_eq!(ask("http://a.test/", "b.test"), (200, "site a".to_owned()));
    assert_eq!(ask("http://B.test:80/", "a.test"), (200, "site b".to_owned()));
    assert_eq!(ask("http://unknown.test/", "a.test").0, 421);
    let long = format!("{}.test", ["a".repeat(50).as_str(); 5].join("."));
    for bad in ["x@a.test", "a.test:80:80", "[::1", "a..test", "a.test/", "", long.as_str()] {
        assert_eq!(ask("/", bad).0, 400, "{bad}");
    }
    let old = h1(tls::tcp(server.http()), "h1", "GET / HTTP/1.0\r\n\r\n");
    assert_eq!(old.status, 421, "HTTP/1.0 without a host");
}

/// Who asks for a host that no site has: 421, 404, or the default site.
#[test]
fn a15_a13_unknown_hosts() {
    let dir = folder(&format!("unknown_host = \"404\"\n{TWO}"), TWO_FILES);
    let not_found = serve(&dir);
    for answer in every(&not_found, "unknown.test", "/") {
        assert_eq!((answer.status, &*answer.body), (404, "Not Found"), "{}", answer.way);
    }
    let dir =
        folder(&format!("unknown_host = \"close\"\nmetrics = \"127.0.0.1:0\"\n{TWO}"), TWO_FILES);
    let closes = serve(&dir);
    let answers = every(&closes, "unknown.test", "/");
    for (answer, reset) in answers.iter().zip([None, None, Some(8), Some(0x10c)]) {
        let got = (answer.status, answer.fields.len(), answer.body.as_str(), answer.reset);
        assert_eq!(got, (0, 0, "", reset), "{}", answer.way);
    }
    harness::eventually("all are counted", || closes.metric("ringway_refused_total") == 4);
    // Who came before on the same connection has an answer, and nobody comes after.
    let ask = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let three = [ask("a.test"), ask("unknown.test"), ask("b.test")].concat();
    let answer = h1(tls::tcp(closes.http()), "h1", &three);
    assert_eq!((answer.status, &*answer.body), (200, "site a"));
    let mut client = H2::tls(closes.at("https"));
    let ids = ["unknown.test", "b.test"].map(|host| {
        let id = client.id();
        let fields =
            [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", host)];
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, id, &block(&fields)));
        id
    });
    let both = client.answers(&ids);
    assert_eq!(
        (both[0].reset, both[1].text()),
        (Some(8), "site b"),
        "the stream, not the connection"
    );
    let default = format!("{TWO}[[site]]\nroot = \"rest\"\n");
    let files = [TWO_FILES, &[("rest/index.html", "the rest")]].concat();
    let dir = folder(&default, &files);
    let server = serve(&dir);
    for (authority, body) in [("unknown.test", "the rest"), ("a.test", "site a")] {
        for answer in every(&server, authority, "/") {
            let got = (answer.status, answer.body.as_str());
            assert_eq!(got, (200, body), "{}: {authority}", answer.way);
        }
    }
    let old = h1(tls::tcp(server.http()), "h1", "GET / HTTP/1.0\r\n\r\n");
    assert_eq!((old.status, &*old.body), (200, "the rest"));
}

const RULES: &str = r#"
[[site]]
root = "r"
cleartext = "serve"
answer = [
    { path = "/healthz", status = 204 },
    { path = "/private/*", status = 403 },
    { path = "/*.secret", status = 410 },
    { path = "/busy", status = 503 },
]
redirect = [
    { from = "/v1/*", to = "/v2/$1", status = 301 },
    { from = "/old", to = "/new?x=1#y" },
    { from = "/see", to = "/v2/", status = 303 },
    { from = "/found", to = "/v2/", status = 302 },
    { from = "/keep", to = "/v2/", status = 307 },
    { from = "/out/*", to = "https://other.test/in/$1" },
    { from = "/bare*", to = "/$1" },
]
rewrite = [
    { from = "/latest/*", to = "/v2/$1" },
    { from = "/v2/twice", to = "/v1/never" },
    { from = "/again", to = "/latest/a.txt" },
    { from = "/dot*", to = "/$1" },
]
"#;
const RULES_FILES: &[(&str, &str)] = &[
    ("r/index.html", "the index"),
    ("r/private/x", "hidden"),
    ("r/v2/a.txt", "0123456789"),
    ("r/v2/a.txt.gz", ""),
    ("r/v2/a b%.txt", "odd name"),
    ("r/v2/twice", "rewritten once"),
    ("r/v2/sub/index.html", "below"),
    ("r/.hidden", "no"),
];

/// `answer` and `redirect`, with every status that there is.
#[test]
fn l3_a13_answers_and_redirects() {
    let dir = folder(RULES, RULES_FILES);
    let server = serve(&dir);
    for (path, status, location) in [
        ("/healthz", 204, ""),
        ("/busy", 503, ""),
        ("/private/x", 403, ""),
        ("/a/b.secret", 410, ""),
        ("/v1/a.txt?q=1&r=%2F", 301, "/v2/a.txt?q=1&r=%2F"),
        ("/v1/", 301, "/v2/"),
        ("/v1/a%20b%25.txt", 301, "/v2/a%20b%25.txt"),
        ("/old?z=2", 308, "/new?x=1#y"),
        ("/see", 303, "/v2/"),
        ("/found", 302, "/v2/"),
        ("/keep", 307, "/v2/"),
        ("/out/a/b?q", 308, "https://other.test/in/a/b?q"),
        ("/v1", 404, ""),
        ("/healthz/", 404, ""),
    ] {
        for answer in every(&server, "a.test", path) {
            let got = (answer.status, answer.location());
            assert_eq!(got, (status, location), "{}: {path}", answer.way);
        }
    }
}

/// Row 103: no other spelling of a path slips past an `answer`, and no Location leads to another
/// host or ends its line.
#[test]
fn row_103_l3_no_spelling_slips_past() {
    let dir = folder(RULES, RULES_FILES);
    let server = serve(&dir);
    for path in [
        "/private/x",
        "//private/x",
        "/%70rivate/x",
        "/private//x",
        "/private/./x",
        "/private/%2e/x",
        "/private/%2e%2e/private/x",
        "/v2/../private/x",
        "///private///x",
        "/private/%78",
    ] {
        for answer in every(&server, "a.test", path) {
            assert_eq!(answer.status, 403, "{}: {path}", answer.way);
        }
    }
    // Other paths, which name no file.
    for path in ["/private%2Fx", "/v1/..%2fx", "/v1/a%5cb", "/PRIVATE/x", "/private;a/x"] {
        for answer in every(&server, "a.test", path) {
            assert!(matches!(answer.status, 301 | 404), "{}: {path}", answer.way);
            assert!(!answer.body.contains("hidden"), "{path}");
        }
    }
    for (path, status, location) in [
        ("/bare/evil.test", 400, ""),
        ("/bare%5Cevil.test", 308, "/%5Cevil.test"),
        ("/bareevil.test", 308, "/evil.test"),
        ("/v1//evil.test", 301, "/v2/evil.test"),
        ("/out///evil.test", 308, "https://other.test/in/evil.test"),
        ("/out/@evil.test", 308, "https://other.test/in/@evil.test"),
        ("/v1/a%0d%0aX:%201", 301, "/v2/a%0D%0AX:%201"),
        ("/v1/%E2%80%AE", 301, "/v2/%E2%80%AE"),
    ] {
        for answer in every(&server, "a.test", path) {
            let got = (answer.status, answer.location());
            assert_eq!(got, (status, location), "{}: {path}", answer.way);
            assert_eq!(answer.field("x"), None, "{path}");
        }
    }
}

/// A rewritten path is answered as its file is: HEAD, ranges, conditions, siblings; once.
#[test]
fn l3_rewritten_paths_are_their_files() {
    let dir = folder(RULES, RULES_FILES);
    let plain = "text that is compressed ".repeat(20);
    dir.write("r/v2/big.txt", plain.as_bytes());
    let made = Command::new("gzip").arg("-k").arg(dir.path().join("r/v2/big.txt")).status();
    assert!(made.unwrap().success());
    let server = serve(&dir);
    for answer in every(&server, "a.test", "/latest/a.txt") {
        assert_eq!((answer.status, &*answer.body), (200, "0123456789"), "{}", answer.way);
        let tag = answer.field("etag").unwrap().to_owned();
        for again in secure(&server, "GET", "a.test", "/latest/a.txt", &[("if-none-match", &tag)]) {
            assert_eq!((again.status, &*again.body), (304, ""), "{}", again.way);
        }
    }
    for answer in secure(&server, "GET", "a.test", "/latest/a.txt", &[("range", "bytes=2-4")]) {
        assert_eq!((answer.status, &*answer.body), (206, "234"), "{}", answer.way);
        assert_eq!(answer.field("content-range"), Some("bytes 2-4/10"));
    }
    for answer in secure(&server, "HEAD", "a.test", "/latest/a.txt", &[]) {
        assert_eq!((answer.status, &*answer.body), (200, ""), "{}", answer.way);
        assert_eq!(answer.field("content-length"), Some("10"), "{}", answer.way);
    }
    for answer in
        secure(&server, "GET", "a.test", "/latest/big.txt", &[("accept-encoding", "gzip")])
    {
        assert_eq!(answer.field("content-encoding"), Some("gzip"), "{}", answer.way);
    }
    for (path, status, body) in [
        ("/latest/twice", 200, "rewritten once"),
        ("/latest/a%20b%25.txt", 200, "odd name"),
        ("/latest/sub/", 200, "below"),
        ("/again", 404, "Not Found"),
        ("/v2/twice", 404, "Not Found"),
        ("/dot.hidden", 404, "Not Found"),
        ("/latest/%2e%2e/index.html", 200, "the index"),
    ] {
        for answer in every(&server, "a.test", path) {
            let got = (answer.status, answer.body.as_str());
            assert_eq!(got, (status, body), "{}: {path}", answer.way);
        }
    }
    for answer in every(&server, "a.test", "/latest/sub") {
        assert_eq!((answer.status, answer.location()), (308, "/latest/sub/"), "{}", answer.way);
    }
    for answer in secure(&server, "POST", "a.test", "/latest/a.txt", &[]) {
        assert_eq!(answer.status, 405, "{}", answer.way);
        assert_eq!(answer.field("allow"), Some("GET, HEAD, OPTIONS"));
    }
}

const DRESSED: &str = r#"
[[site]]
root = "d"
cleartext = "serve"
extensions = ["html", "htm"]
fallback = "app.html"
errors = { "404" = "404.html", "4xx" = "other.html", "5xx" = "sorry.html" }
preset = ["secure", "isolated"]
headers = { x-robots-tag = "all", referrer-policy = "", x-frame-options = "DENY" }
cache = [{ path = "/_static/*", value = "max-age=31536000, immutable" }, { path = "/none/*", value = "" }]
answer = [{ path = "/busy", status = 503 }, { path = "/gone", status = 410 }]
redirect = [{ from = "/moved", to = "/" }]
types = { odd = "text/x-odd" }
expires = true
browse = true
"#;
const DRESSED_FILES: &[(&str, &str)] = &[
    ("d/index.html", "the index"),
    ("d/app.html", "the app"),
    ("d/about.html", "about"),
    ("d/team.htm", "team"),
    ("d/both", "bare"),
    ("d/both.html", "extended"),
    ("d/dir/index.html", "of dir"),
    ("d/dir.html", "beside dir"),
    ("d/list/one.txt", "1"),
    ("d/404.html", "no such page"),
    ("d/other.html", "refused"),
    ("d/sorry.html", "sorry"),
    ("d/_static/a.js", "js"),
    ("d/none/index.html", "none"),
    ("d/x.odd", "odd"),
];

/// One list of requests, equal on every protocol: extensions, fallback, error pages.
#[test]
fn l4_extensions_fallback_and_error_pages() {
    let dir = folder(DRESSED, DRESSED_FILES);
    let server = serve(&dir);
    for (path, status, body) in [
        ("/about", 200, "about"),
        ("/team", 200, "team"),
        ("/both", 200, "bare"),
        ("/dir", 200, "beside dir"),
        ("/dir/", 200, "of dir"),
        ("/about/", 200, "the app"),
        ("/some/where", 200, "the app"),
        ("/some/where/", 200, "the app"),
        ("/some/where.js", 404, "no such page"),
        ("/a.b/c", 200, "the app"),
        ("/gone", 410, "refused"),
        ("/busy", 503, "sorry"),
        ("/.git/config", 404, "no such page"),
        ("/a%2Fb.js", 404, "no such page"),
        ("/x.odd", 200, "odd"),
    ] {
        for answer in every(&server, "a.test", path) {
            let got = (answer.status, answer.body.as_str());
            assert_eq!(got, (status, body), "{}: {path}", answer.way);
        }
    }
    for answer in secure(&server, "POST", "a.test", "/", &[]) {
        assert_eq!((answer.status, &*answer.body), (405, "refused"), "{}", answer.way);
        assert_eq!(answer.field("allow"), Some("GET, HEAD, OPTIONS"));
    }
    for answer in secure(&server, "HEAD", "a.test", "/no.js", &[]) {
        assert_eq!((answer.status, &*answer.body), (404, ""), "{}", answer.way);
        assert_eq!(answer.field("content-length"), Some("12"), "{}", answer.way);
        assert_eq!(answer.field("content-type"), Some("text/html; charset=utf-8"));
    }
    for answer in secure(&server, "GET", "a.test", "/x.odd", &[("range", "bytes=9-")]) {
        assert_eq!((answer.status, &*answer.body), (416, "refused"), "{}", answer.way);
        assert_eq!(answer.field("content-range"), Some("bytes */3"));
    }
    for answer in every(&server, "a.test", "/list/") {
        assert!(answer.status == 200 && answer.body.contains("one.txt"), "{}", answer.way);
    }
}

/// Fields stand on every answer once, whatever made it.
#[test]
fn l4_b1_b2_fields_presets_and_cache_rules() {
    let dir = folder(DRESSED, DRESSED_FILES);
    let server = serve(&dir);
    for path in ["/", "/about", "/no.js", "/busy", "/moved", "/list/", "/some/where"] {
        for answer in every(&server, "a.test", path) {
            for (name, value) in [
                ("x-robots-tag", Some("all")),
                ("x-frame-options", Some("DENY")),
                ("x-content-type-options", Some("nosniff")),
                ("cross-origin-opener-policy", Some("same-origin")),
                ("cross-origin-embedder-policy", Some("require-corp")),
                ("referrer-policy", None),
            ] {
                let all = answer.fields.iter().filter(|(other, _)| other == name);
                let all: Vec<&str> = all.map(|(_, value)| value.as_str()).collect();
                assert_eq!(all, value.as_slice(), "{}: {path}: {name}", answer.way);
            }
        }
    }
    dir.write("d/long.txt", &harness::pattern(5000));
    let two = [("range", "bytes=0-0,2000-2000")];
    for answer in secure(&server, "GET", "a.test", "/long.txt", &two) {
        assert_eq!(answer.status, 206);
        let all = answer.fields.iter().filter(|(name, _)| name == "x-robots-tag");
        assert_eq!(all.count(), 1, "{}", answer.way);
    }
    for (path, value) in [
        ("/_static/a.js", Some("max-age=31536000, immutable")),
        ("/none/", None),
        ("/", Some("no-cache")),
        ("/x.odd", None),
    ] {
        for answer in every(&server, "a.test", path) {
            assert_eq!(answer.field("cache-control"), value, "{}: {path}", answer.way);
            assert_eq!(answer.field("expires").is_some(), path == "/_static/a.js", "{path}");
        }
    }
    for answer in every(&server, "a.test", "/x.odd") {
        assert_eq!(answer.field("content-type"), Some("text/x-odd"), "{}", answer.way);
    }
}

/// An error page that goes away leaves the status with its reason.
#[test]
fn l4_an_error_page_that_is_gone() {
    let dir = folder(DRESSED, DRESSED_FILES);
    let server = serve(&dir);
    assert_eq!(clear(&server, "a.test", "/gone").body, "refused");
    std::fs::remove_file(dir.path().join("d/other.html")).unwrap();
    harness::eventually("the page is noticed to be gone", || {
        clear(&server, "a.test", "/gone").body == "Gone"
    });
    assert_eq!(clear(&server, "a.test", "/gone").status, 410);
}

/// E5: `http://` is redirected to the same with `https`, but for the challenges of ACME; or served,
/// or refused.
#[test]
fn e5_l1_cleartext() {
    let sites = "
[[site]]
hosts = [\"a.test\", \"x.w.test\"]
root = \"a\"
headers = { x-a = \"1\" }
[[site]]
hosts = [\"b.test\"]
root = \"b\"
cleartext = \"421\"
[[site]]
hosts = [\"plain.example\"]
root = \"b\"
";
    let files = [TWO_FILES, &[("a/.well-known/acme-challenge/token", "key")]].concat();
    let dir = folder(sites, &files);
    let server = serve(&dir);
    let port = server.at("https").port();
    for (authority, target, location) in [
        ("a.test", "/", format!("https://a.test:{port}/")),
        ("A.test.:8080", "/a/%7Eb?q=1", format!("https://a.test:{port}/a/~b?q=1")),
        ("x.w.test", "//evil.test/", format!("https://x.w.test:{port}//evil.test/")),
        ("b.test", "http://a.test/x", format!("https://a.test:{port}/x")),
    ] {
        let answer = clear(&server, authority, target);
        assert_eq!((answer.status, answer.location()), (308, &*location), "{authority} {target}");
        assert_eq!(answer.field("x-a"), Some("1"));
    }
    let challenge = clear(&server, "a.test", "/.well-known/acme-challenge/token");
    assert_eq!((challenge.status, &*challenge.body), (200, "key"));
    let slipped = clear(&server, "a.test", "/.well-known/acme-challenge/../../x");
    assert_eq!(slipped.status, 308);
    assert_eq!(clear(&server, "b.test", "/").status, 421);
    let plain = clear(&server, "plain.example", "/");
    assert_eq!((plain.status, &*plain.body), (200, "site b"), "no certificate covers it");
    for (authority, body) in [("a.test", "site a"), ("b.test", "site b")] {
        for answer in secure(&server, "GET", authority, "/", &[]) {
            assert_eq!((answer.status, &*answer.body), (200, body), "{}", answer.way);
        }
    }
    let mut client = H2::connect(server.http());
    let id = client.id();
    let fields =
        [(":method", "GET"), (":scheme", "http"), (":path", "/p"), (":authority", "a.test")];
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, id, &block(&fields)));
    let answer = client.answer(id);
    assert_eq!(answer.field("location"), Some(&*format!("https://a.test:{port}/p")));
}

/// Row 102: a site's own certificate is shown to who asks for its name, and its connections are for
/// no other host.
#[test]
fn row_102_certificates_of_sites() {
    let dir = folder("", TWO_FILES);
    certificate(&dir, "a", &["a.test"]);
    certificate(&dir, "b", &["b.test"]);
    let text = "http = \"127.0.0.1:0\"\nhttps = \"127.0.0.1:0\"\nworkers = 1\n\
        [[site]]\nhosts = [\"a.test\"]\nroot = \"a\"\n\
        certificate = { cert = \"a.pem\", key = \"a.key\" }\n\
        [[site]]\nhosts = [\"b.test\"]\nroot = \"b\"\n\
        certificate = { cert = \"b.pem\", key = \"b.key\" }\n";
    dir.write("ringway.toml", text.as_bytes());
    let server = serve(&dir);
    for (name, host, status, body) in [
        ("a.test", "a.test", 200, "site a"),
        ("b.test", "b.test", 200, "site b"),
        ("a.test", "b.test", 421, ""),
        ("b.test", "a.test", 421, ""),
    ] {
        let stream = tls::connect(server.at("https"), &[b"http/1.1"], name);
        let answer = h1(stream, "h1", &h1_text("GET", "/", host, &[]));
        assert_eq!(answer.status, status, "{name} {host}");
        assert!(body.is_empty() || answer.body == body, "{name} {host}");
    }
    assert_eq!(clear(&server, "a.test", "/").status, 308, "its certificate covers it");
}
