//! What is asked in a head: targets, methods, authorities, fields, and those that are wrong.

use super::super::row::{Framing, On, Row, Step, row};

pub fn rows() -> Vec<Row> {
    let mut rows = targets();
    rows.extend(methods());
    rows.extend(authorities());
    rows.extend(fields());
    rows.extend(connection_fields());
    rows.extend(limits());
    rows
}

const NOT_FOUND: &str = "Not Found";
const BAD_PATH: &str =
    "400 Bad Request: the path leads above the root, is badly escaped, or is not text\n";
const HEAD_TOO_LARGE: &str = "431 Request Header Fields Too Large: \
    the header fields are more or larger than the limit\n";
const ALL: &str = "allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

fn targets() -> Vec<Row> {
    let above = "RFC 3986 section 5.2.4";
    vec![
        row("no such path", "RFC 9110 section 15.5.5", "/nowhere").status(404).text(NOT_FOUND),
        row("a NUL in a path", "RFC 3986 section 7.3", "/%00").status(404).text(NOT_FOUND),
        row("a NUL in a file's path", "RFC 3986 section 7.3", "/site/%00")
            .status(400)
            .text("Bad Request"),
        row("a bad escape in a path", "RFC 3986 section 2.1", "/%zz").refused(400, BAD_PATH),
        row("a path above the root", above, "/..").refused(400, BAD_PATH),
        row("dot segments", above, "/a/./../target?q").text("/target Some(\"q\") localhost"),
        row("no query", "RFC 3986 section 3.4", "/target").text("/target None localhost"),
        row("an empty query", "RFC 3986 section 3.4", "/target?")
            .text("/target Some(\"\") localhost"),
        row("another query", "RFC 3986 section 3.4", "/target?a=1&b")
            .text("/target Some(\"a=1&b\") localhost"),
        row("a query that is not ASCII", "RFC 3986 section 3.4", "/target?\u{fc}")
            .text("/target Some(\"\u{fc}\") localhost"),
        row("slashes in a row", "RFC 3986 section 3.3", "//target").text("//target None localhost"),
        row("an encoded path", "RFC 3986 section 6.2.2", "/%74arget")
            .text("/target None localhost"),
        row("a target without a slash", "RFC 9112 section 3.2.1", "hello")
            .malformed("an invalid request target"),
        row("a fragment in the target", "RFC 9112 section 3.2.1", "/hello#here")
            .malformed("an invalid request target"),
        row("a space in the target", "RFC 9112 section 3", "/a b")
            .malformed("a request line that is not method SP target SP version"),
        row("a control character in the target", "RFC 9112 section 3.2", "/a\u{7f}b")
            .malformed("an invalid request target"),
        row(
            "a target beyond the limit",
            "RFC 9110 section 15.5.15",
            &format!("/{}", "t".repeat(9000)),
        )
        .refused(414, "414 URI Too Long: the peer sent a request line beyond the limit\n")
        .unread(),
    ]
}

fn methods() -> Vec<Row> {
    vec![
        row("a method that the path has not", "RFC 9110 section 15.5.6", "/hello")
            .method("DELETE")
            .status(405)
            .text("Method Not Allowed")
            .says(&["allow: GET, HEAD, OPTIONS"]),
        row("a method that nobody knows", "RFC 9110 section 15.6.2", "/hello")
            .method("BREW")
            .status(501)
            .text("Not Implemented"),
        row("a method in lower case", "RFC 9110 section 9.1", "/hello")
            .method("get")
            .status(501)
            .text("Not Implemented"),
        row("a method that is no token", "RFC 9110 section 9.1", "/hello")
            .method("GE(T")
            .malformed("a method that is not a token, or as long as a request line may be"),
        row("an asterisk with GET", "RFC 9112 section 3.2.4", "*")
            .malformed("an invalid request target"),
        row("TRACE", "RFC 9110 section 9.3.8", "/hello")
            .method("TRACE")
            .status(405)
            .text("Method Not Allowed")
            .says(&["allow: GET, HEAD, OPTIONS"]),
        row("CONNECT", "RFC 9110 section 9.3.6", "localhost:443")
            .method("CONNECT")
            .authority(Some("localhost:443"))
            .refused(405, "405 Method Not Allowed: no tunnels are opened here\n")
            .says(&[ALL]),
        row("OPTIONS of the server", "RFC 9110 section 9.3.7", "*")
            .method("OPTIONS")
            .status(204)
            .says(&[ALL, "no content-length"]),
        row("OPTIONS of a path", "RFC 9110 section 9.3.7", "/hello")
            .method("OPTIONS")
            .status(204)
            .says(&["allow: GET, HEAD, OPTIONS", "no content-length"]),
        row("HEAD of no such path", "RFC 9110 section 9.3.2", "/nowhere")
            .method("HEAD")
            .status(404)
            .says(&["content-length: 9"]),
    ]
}

fn authorities() -> Vec<Row> {
    let why = "421 Misdirected Request: the certificate of this connection is not that host's\n";
    vec![
        row("an authority that is not the certificate's", "RFC 9110 section 7.4", "/hello")
            .authority(Some("other.test"))
            .refused(421, why),
        row("the same authority, spelt otherwise", "RFC 3986 section 6.2.3", "/target")
            .authority(Some("LOCALHOST.:443"))
            .text("/target None localhost"),
        row("an authority with a user", "RFC 9110 section 4.2.4", "/hello")
            .authority(Some("me@localhost"))
            .malformed("an invalid Host"),
        row("an authority with no port", "RFC 3986 section 3.2.3", "/target")
            .authority(Some("localhost:"))
            .text("/target None localhost"),
        row("an authority with a port that is none", "RFC 3986 section 3.2.3", "/hello")
            .authority(Some("localhost:x"))
            .malformed("an invalid Host"),
        row("an empty authority", "RFC 9112 section 3.2, RFC 9113 section 8.3.1", "/hello")
            .authority(Some(""))
            .malformed("an invalid Host"),
        row("no authority", "RFC 9112 section 3.2, RFC 9113 section 8.3.1", "/hello")
            .authority(None)
            .malformed("no Host field"),
        row("Host twice", "RFC 9112 section 3.2, RFC 9114 section 4.3.1", "/hello")
            .field("host", "localhost")
            .field("host", "localhost")
            .malformed("more than one Host field"),
    ]
}

fn fields() -> Vec<Row> {
    let priority = "RFC 9218 section 4";
    vec![
        row("a priority", priority, "/fields").field("priority", "u=0, i").text("priority: u=0, i"),
        row("a priority that is none", priority, "/fields")
            .field("priority", "u=9, ???")
            .text("priority: u=9, ???"),
        row("a cookie in crumbs", "RFC 9113 section 8.2.3, RFC 9114 section 4.2.1", "/fields")
            .field("cookie", "a=1")
            .field("cookie", "b=2")
            .text("cookie: a=1; b=2"),
        row("a field twice", "RFC 9110 section 5.3", "/fields")
            .field("x-list", "a")
            .field("x-list", "b")
            .text("x-list: a\nx-list: b"),
        row("a name in upper case", "RFC 9110 section 5.1, RFC 9113 section 8.2.1", "/fields")
            .field("X-Upper", "u")
            .text("x-upper: u"),
        row("an empty value", "RFC 9110 section 5.5", "/fields")
            .field("x-empty", "")
            .text("x-empty: "),
        row("whitespace around a value", "RFC 9110 section 5.5, RFC 9113 section 8.2.1", "/fields")
            .field("x-wide", " w ")
            .text("x-wide: w"),
        row("a name that is no token", "RFC 9110 section 5.1, RFC 9113 section 8.2.1", "/fields")
            .field("x(y", "z")
            .malformed("an invalid field name, or whitespace before the colon"),
        row("an octet that no value has", "RFC 9110 section 5.5", "/fields")
            .field("x-bad", "a\0b")
            .malformed("a control character in the head"),
        row("a length that is no number", "RFC 9110 section 8.6", "/echo")
            .field("content-length", "five")
            .malformed("an invalid or repeated Content-Length"),
        row("two lengths that differ", "RFC 9110 section 8.6", "/echo")
            .field("content-length", "3")
            .field("content-length", "4")
            .malformed("an invalid or repeated Content-Length"),
    ]
}

/// Fields that are about a connection: HTTP/1.1 has them, in the others they are malformed (RFC
/// 9113 section 8.2.2, RFC 9114 section 4.2).
fn connection_fields() -> Vec<Row> {
    let rfc = "RFC 9110 section 7.6.1, RFC 9113 section 8.2.2, RFC 9114 section 4.2";
    vec![
        row("Connection", rfc, "/hello").field("connection", "close").text("hello").closes(),
        row("Keep-Alive", rfc, "/hello").field("keep-alive", "timeout=5").text("hello"),
        row("TE for trailers", rfc, "/hello").field("te", "trailers").text("hello"),
        row("TE for a coding", rfc, "/hello").field("te", "gzip").text("hello"),
        row("Upgrade", rfc, "/hello").field("upgrade", "websocket").text("hello"),
    ]
}

fn limits() -> Vec<Row> {
    let rfc = "RFC 6585 section 5";
    let many = (0..120).fold(row("too many fields", rfc, "/hello"), |row, _| row.field("x", "y"));
    vec![
        many.refused(431, HEAD_TOO_LARGE).unread(),
        row("a field that is too large", rfc, "/hello")
            .field("x-large", "v".repeat(40_000))
            .refused(431, HEAD_TOO_LARGE)
            .unread(),
        row("a slow head", "RFC 9110 section 15.5.9", "/echo")
            .on(On::Hasty)
            .post(Framing::Length(5), &[Step::HalfHead])
            .refused(408, "408 Request Timeout: the head came too slowly\n")
            .counts(&["slow head"])
            .unnamed(),
        row("early data", "RFC 8470 section 5.2", "/echo")
            .method("POST")
            .early()
            .status(425)
            .text("425 Too Early: early data may be a repetition: ask again\n")
            .counts(&["refused", "early refused"]),
        row("early data that changes nothing", "RFC 8470 section 4", "/hello")
            .early()
            .text("hello")
            .counts(&["early accepted"]),
    ]
}
