//! The header lists that the codec benchmarks share.

#![allow(dead_code, missing_docs, unreachable_pub)]

pub(crate) type List = Vec<(&'static str, &'static str)>;

const USER_AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                          Chrome/131.0.0.0 Safari/537.36";

/// A browser's request, 12 fields.
pub(crate) fn request() -> List {
    vec![
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "www.example.com"),
        (":path", "/articles/2026/11/21/index.html?page=2"),
        ("user-agent", USER_AGENT),
        (
            "accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
             */*;q=0.8",
        ),
        ("accept-language", "en-US,en;q=0.9,de;q=0.8"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("referer", "https://www.example.com/articles/2026/11/20/index.html"),
        ("sec-fetch-site", "same-origin"),
        ("cache-control", "max-age=0"),
        ("x-session", "4f9c2b7e8d1a4c3f9b6e5d2c1a0f9e8d"),
    ]
}

/// A file's response, 11 fields.
pub(crate) fn response() -> List {
    vec![
        (":status", "200"),
        ("server", "ringway"),
        ("date", "Sat, 21 Nov 2026 22:36:41 GMT"),
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", "13421"),
        ("cache-control", "public, max-age=3600"),
        ("etag", "\"65f2c3b1-346d\""),
        ("last-modified", "Fri, 20 Nov 2026 10:11:12 GMT"),
        ("vary", "accept-encoding"),
        ("alt-svc", "h3=\":8443\"; ma=86400"),
        ("x-content-type-options", "nosniff"),
    ]
}

/// Values of a browser's request, 522 octets.
pub(crate) fn browser_values() -> Vec<&'static [u8]> {
    vec![
        b"www.example.com",
        b"/assets/site/main.css?v=20260321",
        USER_AGENT.as_bytes(),
        b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,\
          */*;q=0.8,application/signed-exchange;v=b3;q=0.7",
        b"gzip, deflate, br, zstd",
        b"en-US,en;q=0.9,de;q=0.8",
        b"https://www.example.com/articles/2026/11/21/index.html",
        b"_ga=GA1.2.1234567890.1700000000; session=4f9c2b7e8d1a4c3f9b6e5d2c1a0f9e8d; theme=dark",
        b"\"Google Chrome\";v=\"131\", \"Chromium\";v=\"131\"",
        b"same-origin",
    ]
}
