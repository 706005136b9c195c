//! RFC 9112 and RFC 9110: what a request must look like, and what must come back.

use super::case::{
    BETTER_REFUSED, Case, REFUSED, TOLD, UNFINISHED, case, chunked, get, head, post,
};

pub fn cases() -> Vec<Case> {
    [lines(), targets_and_hosts(), versions(), bodies(), methods(), answers()]
        .into_iter()
        .flatten()
        .collect()
}

fn lines() -> Vec<Case> {
    vec![
        case("COMP-BASELINE", get(""), "2xx"),
        case("RFC9112-2.2-BARE-LF-REQUEST-LINE", get("").replacen("\r\n", "\n", 1), BETTER_REFUSED),
        case(
            "RFC9112-2.2-BARE-LF-HEADER",
            get("X-Test: value").replacen("8080\r\n", "8080\n", 1),
            BETTER_REFUSED,
        ),
        case("RFC9112-5.1-OBS-FOLD", get("X-Test: value\r\n continued"), "400"),
        case("RFC9110-5.6.2-SP-BEFORE-COLON", get("X-Test : value"), "400"),
        case(
            "RFC9112-3-MULTI-SP-REQUEST-LINE",
            head("GET  / HTTP/1.1", ""),
            "400 | 2xx close silence",
        ),
        case("RFC9112-5-EMPTY-HEADER-NAME", get(": empty-name"), REFUSED),
        case("RFC9112-3-CR-ONLY-LINE-ENDING", get("").replacen("\r\n", "\r", 1), TOLD),
        case("RFC9112-5-INVALID-HEADER-NAME", get("Bad[Name: value"), REFUSED),
        case("RFC9112-5-HEADER-NO-COLON", get("NoColonHere"), REFUSED),
        case("COMP-WHITESPACE-BEFORE-HEADERS", get("").replacen("\r\n", "\r\n \r\n", 1), REFUSED),
        case("COMP-LEADING-CRLF", ["\r\n\r\n", &get("")].concat(), "400 | 2xx close silence"),
        case("COMP-REQUEST-LINE-TAB", head("GET\t/ HTTP/1.1", ""), "400 | 2xx close silence"),
    ]
}

fn targets_and_hosts() -> Vec<Case> {
    let long = format!("GET /{} HTTP/1.1", "a".repeat(7900));
    vec![
        case("RFC9112-7.1-MISSING-HOST", "GET / HTTP/1.1\r\n\r\n", "400"),
        case("RFC9112-3-MISSING-TARGET", head("GET HTTP/1.1", ""), TOLD),
        case(
            "RFC9112-3.2-FRAGMENT-IN-TARGET",
            head("GET /path#frag HTTP/1.1", ""),
            "400 | 404 2xx close silence",
        ),
        case("RFC9110-5.4-DUPLICATE-HOST", get("Host: other.example.com"), "400"),
        case("COMP-DUPLICATE-HOST-SAME", get("Host: localhost:8080"), "400"),
        case("COMP-HOST-WITH-USERINFO", get("").replacen("local", "user@local", 1), REFUSED),
        case("COMP-HOST-WITH-PATH", get("").replacen("8080", "8080/path", 1), REFUSED),
        case("COMP-HOST-EMPTY-VALUE", "GET / HTTP/1.1\r\nHost: \r\n\r\n", REFUSED),
        case("COMP-ASTERISK-WITH-GET", head("GET * HTTP/1.1", ""), TOLD),
        case("COMP-OPTIONS-STAR", head("OPTIONS * HTTP/1.1", ""), "2xx 405 | close silence"),
        case(
            "COMP-ABSOLUTE-FORM",
            head("GET http://localhost:8080/ HTTP/1.1", ""),
            "2xx | 400 close silence",
        )
        .unscored(),
        case("COMP-LONG-URL-OK", head(&long, ""), "!414 | close silence"),
        case("COMP-SPACE-IN-TARGET", head("GET /pa th HTTP/1.1", ""), TOLD),
    ]
}

fn versions() -> Vec<Case> {
    vec![
        case("RFC9112-2.3-INVALID-VERSION", head("GET / HTTP/9.9", ""), "400 505 | close silence"),
        case("RFC9112-2.3-HTTP09-REQUEST", "GET /\r\n", UNFINISHED),
        case("COMP-VERSION-MISSING-MINOR", head("GET / HTTP/1", ""), TOLD),
        case("COMP-VERSION-LEADING-ZEROS", head("GET / HTTP/01.01", ""), TOLD),
        case("COMP-VERSION-WHITESPACE", head("GET / HTTP/ 1.1", ""), TOLD),
        case("COMP-VERSION-CASE", head("GET / http/1.1", ""), TOLD),
        case("COMP-CONNECTION-CLOSE", get("Connection: close"), "2xx&end"),
        case("COMP-HTTP10-DEFAULT-CLOSE", head("GET / HTTP/1.0", ""), "2xx&end | 2xx"),
        case("COMP-HTTP10-NO-HOST", "GET / HTTP/1.0\r\n\r\n", "400 close | 2xx").unscored(),
        case("COMP-HTTP12-VERSION", head("GET / HTTP/1.2", ""), "close | 2xx 505").unscored(),
        case(
            "COMP-NO-1XX-HTTP10",
            head("POST / HTTP/1.0", "Expect: 100-continue\r\nContent-Length: 5") + "hello",
            "2xx 3xx 4xx 5xx close silence",
        ),
    ]
}

fn bodies() -> Vec<Case> {
    let one = "5\r\nhello\r\n";
    let sized = |more: &str| post(&format!("Content-Length: 5{more}"), "hello");
    vec![
        case("RFC9112-6.1-CL-NON-NUMERIC", post("Content-Length: abc", ""), REFUSED),
        case("RFC9112-6.1-CL-PLUS-SIGN", post("Content-Length: +5", "hello"), REFUSED),
        case("COMP-UNKNOWN-TE-501", post("Transfer-Encoding: gzip", ""), "400 501 close"),
        case("COMP-POST-CL-BODY", sized(""), "2xx=hello"),
        case("COMP-POST-CL-ZERO", post("Content-Length: 0", ""), "2xx close"),
        case("COMP-POST-NO-CL-NO-TE", post("", ""), "2xx close"),
        case("COMP-POST-CL-UNDERSEND", post("Content-Length: 10", "hello"), UNFINISHED),
        case("COMP-CHUNKED-BODY", chunked(&format!("{one}0\r\n\r\n")), "2xx=hello"),
        case(
            "COMP-CHUNKED-MULTI",
            chunked(&format!("{one}6\r\n world\r\n0\r\n\r\n")),
            "2xx=hello_world",
        ),
        case("COMP-CHUNKED-EMPTY", chunked("0\r\n\r\n"), "2xx close"),
        case("COMP-CHUNKED-NO-FINAL", chunked(one), UNFINISHED),
        case(
            "COMP-CHUNKED-EXTENSION",
            chunked("5;ext=value\r\nhello\r\n0\r\n\r\n"),
            "2xx=hello | 400 close",
        ),
        case(
            "COMP-CHUNKED-TRAILER-VALID",
            chunked(&format!("{one}0\r\nX-Checksum: abc\r\n\r\n")),
            "2xx=hello",
        ),
        case(
            "COMP-CHUNKED-HEX-UPPERCASE",
            chunked("A\r\nhelloworld\r\n0\r\n\r\n"),
            "2xx=helloworld",
        ),
        case("COMP-GET-WITH-CL-BODY", get("Content-Length: 5") + "hello", "400 close | any")
            .unscored(),
        case("COMP-RANGE-POST", sized("\r\nRange: bytes=0-10"), "200 201 202 204"),
        case(
            "COMP-DUPLICATE-CT",
            sized("\r\nContent-Type: text/plain\r\nContent-Type: text/html"),
            BETTER_REFUSED,
        ),
        case(
            "COMP-POST-UNSUPPORTED-CT",
            sized("\r\nContent-Type: application/x-nonsense"),
            "415 2xx | any close",
        )
        .unscored(),
    ]
}

fn methods() -> Vec<Case> {
    vec![
        case("COMP-METHOD-CASE", head("get / HTTP/1.1", ""), "400 405 501 | 2xx close silence"),
        case(
            "COMP-METHOD-CONNECT",
            "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
            "400 405 501 close",
        ),
        case("COMP-METHOD-TRACE", head("TRACE / HTTP/1.1", ""), "405 501 close | 2xx").unscored(),
        case(
            "COMP-TRACE-WITH-BODY",
            head("TRACE / HTTP/1.1", "Content-Length: 5") + "hello",
            "400 405 501 close | 2xx",
        )
        .unscored(),
        case(
            "COMP-TRACE-SENSITIVE",
            head("TRACE / HTTP/1.1", "Authorization: Bearer secret-token-123"),
            "405 501 close 2xx!secret-token-123 | 2xx",
        )
        .unscored(),
        // A body would stand before the next answer, which is read behind every case.
        case("COMP-HEAD-NO-BODY", head("HEAD / HTTP/1.1", ""), "2xx"),
        case("COMP-UNKNOWN-METHOD", head("FOOBAR / HTTP/1.1", ""), "400 405 501 close | 2xx"),
        case("COMP-405-ALLOW", head("DELETE / HTTP/1.1", ""), "405+allow | !405"),
        case("COMP-NO-CL-IN-204", head("OPTIONS / HTTP/1.1", ""), "405 204-content-length | !204"),
        case("COMP-OPTIONS-ALLOW", head("OPTIONS / HTTP/1.1", ""), "405 2xx+allow | 2xx"),
    ]
}

fn answers() -> Vec<Case> {
    vec![
        case("COMP-EXPECT-UNKNOWN", get("Expect: 200-ok"), "417 close | 2xx"),
        case("COMP-DATE-HEADER", get(""), "2xx+date"),
        case("COMP-DATE-FORMAT", get(""), "2xx%date | 2xx").unscored(),
        case("COMP-CONTENT-TYPE", get(""), "2xx+content-type | 2xx"),
        case("COMP-RANGE-INVALID", get("Range: bytes=abc-xyz"), "200 204 416 | any close")
            .unscored(),
        case("COMP-ACCEPT-NONSENSE", get("Accept: application/x-nonsense"), "406 | 2xx close")
            .unscored(),
    ]
}

/// Upgrades that must not be granted, by whoever speaks WebSocket or does not.
pub fn websockets() -> Vec<Case> {
    let upgrade = |connection: &str, version: &str| {
        format!(
            "{connection}Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: {version}"
        )
    };
    let connection = "Connection: Upgrade\r\n";
    let unknown = format!("{connection}Upgrade: totally-made-up/1.0");
    let old = head("GET / HTTP/1.0", &upgrade(connection, "13"));
    vec![
        case("WS-UPGRADE-POST", post(&upgrade(connection, "13"), ""), "!101 close"),
        case("WS-UPGRADE-MISSING-CONN", get(&upgrade("", "13")), "!101 close"),
        case("WS-UPGRADE-UNKNOWN", get(&unknown), "!101 close"),
        case(
            "WS-UPGRADE-INVALID-VER",
            get(&upgrade(connection, "99")),
            "426 3xx 4xx 5xx close | 2xx",
        ),
        case("WS-UPGRADE-HTTP10", old, "!101 close"),
    ]
}
