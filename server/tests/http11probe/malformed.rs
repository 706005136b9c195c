//! Requests that are none, or far too large.

use super::case::{BETTER_REFUSED, Case, REFUSED, UNFINISHED, case, chunked, get, head, post};

/// 256 bytes without a meaning.
const GARBAGE: &str = "\
    3e17ba96ae04cd3b99869e56f0adbf3a6fb74d2555175dcc6e8b0914579ab036cfd6280bb3c707dbaef270dc9505096e\
    676be7f10d46d827baed2722fbb9e4fed667871a85b386a8af727663a7813769819aadebb3bf2989fd0051c69fe4e0f5\
    0e71052d7eefe9b3e53e429bcf758038b5bea0600bf84a173efd1d8462c009ca918154357b0aea92b1fa06747c8eb987\
    801810e04480ea1527eeee80d26451253577094e204bbdabd40dae11f2d59ab044950349af288611963f0d8c1b69c04c\
    a8e03f05846b67345a650c36d1d82251543e3c3c6007750cf1f8b7e03d31906a4d61681296942bd82dcfef4a1c503fbe\
    1dbc37dc2c83eba16a32148bb486f728";

pub fn cases() -> Vec<Case> {
    [bytes(), sizes(), targets()].into_iter().flatten().collect()
}

fn bytes() -> Vec<Case> {
    let digits = |at: usize| u8::from_str_radix(&GARBAGE[at..at + 2], 16).unwrap();
    let garbage: Vec<u8> = (0..GARBAGE.len()).step_by(2).map(digits).collect();
    assert_eq!(garbage.len(), 256);
    let unfinished = get("X-Test: value");
    vec![
        case("MAL-BINARY-GARBAGE", garbage, UNFINISHED),
        case("MAL-CONTROL-CHARS-HEADER", get("X-Test: abc\x07\x08\x0bdef"), REFUSED),
        case("MAL-INCOMPLETE-REQUEST", unfinished.trim_end(), UNFINISHED),
        case("MAL-EMPTY-REQUEST", "", UNFINISHED),
        case("MAL-NON-ASCII-HEADER-NAME", get("X-Tëst: value"), REFUSED),
        case("MAL-WHITESPACE-ONLY-LINE", "   \r\n\r\n", UNFINISHED),
        case("MAL-NUL-IN-HEADER-VALUE", get("X-Test: val\0ue"), REFUSED),
        case("MAL-H2-PREFACE", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400 505 close silence"),
        case("MAL-CL-OVERFLOW", post("Content-Length: 99999999999999999999", ""), REFUSED),
        case("MAL-CL-EMPTY", post("Content-Length: ", ""), REFUSED),
        case("MAL-CL-TAB-BEFORE-VALUE", post("Content-Length:\t5", "hello"), BETTER_REFUSED),
        case(
            "MAL-CHUNK-SIZE-OVERFLOW",
            chunked("FFFFFFFFFFFFFFFF0\r\nhello\r\n0\r\n\r\n"),
            REFUSED,
        ),
    ]
}

fn sizes() -> Vec<Case> {
    let long = |letter: &str| letter.repeat(100_000);
    let many: Vec<_> = (0..10_000).map(|n| format!("X-H-{n}: value")).collect();
    let extension = format!("5;ext={}\r\nhello\r\n0\r\n\r\n", "a".repeat(65_536));
    let ranges = vec!["0-"; 1000].join(",");
    vec![
        case(
            "MAL-LONG-URL",
            head(&format!("GET /{} HTTP/1.1", long("A")), ""),
            "400 414 431 close",
        ),
        case("MAL-LONG-HEADER-VALUE", get(&format!("X-Big: {}", long("B"))), "400 431 close"),
        case("MAL-MANY-HEADERS", get(&many.join("\r\n")), "400 431 close"),
        case("MAL-LONG-HEADER-NAME", get(&format!("{}: val", long("A"))), "400 431 close"),
        case("MAL-LONG-METHOD", head(&format!("{} / HTTP/1.1", long("A")), ""), REFUSED),
        case("MAL-CHUNK-EXT-64K", chunked(&extension), "400 431 close | 2xx"),
        case(
            "MAL-RANGE-OVERLAPPING",
            get(&format!("Range: bytes={ranges}")),
            "close | 200 206 400 416 431",
        )
        .unscored(),
        case(
            "MAL-POST-CL-HUGE-NO-BODY",
            post("Content-Length: 999999999", ""),
            "400 413 close silence",
        ),
    ]
}

fn targets() -> Vec<Case> {
    let mut overlong = head("GET /?? HTTP/1.1", "").into_bytes();
    overlong[5..7].copy_from_slice(b"\xc0\xaf");
    let odd = "400 close | 2xx 3xx 4xx";
    vec![
        case("MAL-NUL-IN-URL", head("GET /\0test HTTP/1.1", ""), REFUSED),
        case("MAL-NON-ASCII-URL", head("GET /café HTTP/1.1", ""), REFUSED),
        case("MAL-URL-BACKSLASH", head("GET /path\\file HTTP/1.1", ""), odd),
        case("MAL-URL-OVERLONG-UTF8", overlong, REFUSED),
        case("MAL-URL-PERCENT-NULL", head("GET /path%00.html HTTP/1.1", ""), odd),
        case("MAL-URL-PERCENT-CRLF", head("GET /path%0d%0aX-Injected:%20true HTTP/1.1", ""), odd),
    ]
}
