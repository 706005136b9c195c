//! Field names that look alike, cookies, and conditional requests.

use crate::harness::client::Response;

use super::case::{Case, Send, Step, case, get, head, sequence, step};

const EITHER: &str = "2xx 400 close";

pub fn normalization() -> Vec<Case> {
    let echo = |fields: &str, body: &str| head("POST /echo HTTP/1.1", fields) + body;
    let sized = |other: &str| echo(&format!("Content-Length: 11\r\n{other}"), "hello world");
    let chunks = "B\r\nhello world\r\n0\r\n\r\n";
    vec![
        case(
            "NORM-UNDERSCORE-CL",
            sized("Content_Length: 99"),
            "4xx 5xx close 2xx!:_99 | 2xx!Content-Length:_99",
        ),
        case("NORM-SP-BEFORE-COLON-CL", sized("Content-Length : 5"), "4xx 5xx close 2xx!:_5"),
        case("NORM-TAB-IN-NAME", sized("Content\tLength: 99"), "4xx 5xx close 2xx!:_99"),
        case(
            "NORM-CASE-TE",
            echo("TRANSFER-ENCODING: chunked", chunks),
            "4xx 5xx close 2xx!:_chunked | 2xx~TRANSFER-ENCODING:_chunked",
        )
        .unscored(),
        // Without a body by then, its bytes are the next request, and no valid one.
        case(
            "NORM-UNDERSCORE-TE",
            echo("Transfer_Encoding: chunked", chunks),
            "4xx 5xx close 2xx!:_chunked | 2xx!Transfer-Encoding:_chunked",
        ),
    ]
}

pub fn cookies() -> Vec<Case> {
    let echoed = |value: &str| head("GET /echo HTTP/1.1", &format!("Cookie: {value}"));
    let parsed = |value: &str| head("GET /cookie HTTP/1.1", &format!("Cookie: {value}"));
    let many: Vec<_> = (0..1000).map(|n| format!("k{n}=v{n}")).collect();
    let sized = "2xx 400 431 close";
    let cases = vec![
        case("COOK-ECHO", echoed("foo=bar"), "2xx~Cookie: | close"),
        case("COOK-OVERSIZED", echoed(&format!("big={}", "A".repeat(65_536))), sized),
        case("COOK-EMPTY", echoed(""), EITHER),
        case("COOK-NUL", echoed("foo=\0bar"), "400 close 2xx!\0"),
        case("COOK-CONTROL-CHARS", echoed("foo=\x01\x02\x03"), "400 close 2xx!\x01,\x02,\x03"),
        case("COOK-MANY-PAIRS", echoed(&many.join("; ")), sized),
        case("COOK-MALFORMED", echoed("===;;;"), EITHER),
        case("COOK-MULTI-HEADER", echoed("a=1\r\nCookie: b=2"), "2xx~a=1,b=2 | 2xx 400 close"),
        case("COOK-PARSED-BASIC", parsed("foo=bar"), "2xx~foo=bar | 400 404 close"),
        case("COOK-PARSED-MULTI", parsed("a=1; b=2; c=3"), "2xx~a=1,b=2,c=3 | 400 404 close"),
        case("COOK-PARSED-EMPTY-VAL", parsed("foo="), "2xx 400 | 404 close"),
        case("COOK-PARSED-SPECIAL", parsed("a=hello world; b=x=y"), "2xx 400 | 404 close"),
    ];
    cases.into_iter().map(Case::unscored).collect()
}

/// Two requests on one connection, the second with a condition that the first answer gave.
pub fn capabilities() -> Vec<Case> {
    let tagged = "| 2xx-etag | 2xx";
    let ask = |id, first, second, rule| {
        let first = step(get("Connection: keep-alive"), first);
        sequence(id, vec![first, Step { send: Send::After(second), rule }]).unscored()
    };
    vec![
        ask("CAP-ETAG-304", tagged, |first| none_match(etag(first)), "304 | 2xx"),
        ask("CAP-LAST-MODIFIED-304", "| 2xx-last-modified | 2xx", unmodified, "304 | 2xx"),
        ask("CAP-ETAG-IN-304", tagged, |first| none_match(etag(first)), "304+etag | any"),
        ask("CAP-INM-PRECEDENCE", tagged, both_conditions, "304 | 2xx"),
        ask("CAP-INM-WILDCARD", "|| 2xx", |_| none_match("*"), "304 | 2xx"),
        ask("CAP-IMS-FUTURE", "|| 2xx", |_| since("Thu, 01 Jan 2099 00:00:00 GMT"), "2xx | 304"),
        ask("CAP-IMS-INVALID", "|| 2xx", |_| since("not-a-date"), "2xx | 304"),
        ask("CAP-INM-UNQUOTED", tagged, |first| none_match(opaque(first)), "2xx | 304"),
        ask(
            "CAP-ETAG-WEAK",
            tagged,
            |first| none_match(&format!("W/\"{}\"", opaque(first))),
            "304 | 2xx",
        ),
    ]
}

fn etag(first: &Response) -> &str {
    first.field("etag").unwrap()
}

/// An entity tag without `W/` and its quotes.
fn opaque(first: &Response) -> &str {
    etag(first).trim_start_matches("W/").trim_matches('"')
}

fn none_match(tag: &str) -> Vec<u8> {
    get(&format!("If-None-Match: {tag}")).into_bytes()
}

fn since(date: &str) -> Vec<u8> {
    get(&format!("If-Modified-Since: {date}")).into_bytes()
}

fn unmodified(first: &Response) -> Vec<u8> {
    since(first.field("last-modified").unwrap())
}

fn both_conditions(first: &Response) -> Vec<u8> {
    let old = "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT";
    get(&format!("If-None-Match: {}\r\n{old}", etag(first))).into_bytes()
}
