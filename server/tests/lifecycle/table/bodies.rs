//! Content that comes, or does not, and handlers that read it, or do not.

use super::super::row::Framing::{Length, None, Unknown};
use super::super::row::Step::{
    Answered, Cancel, Data, End, Fill, Head, Interim, Pause, Seen, Trailers,
};
use super::super::row::{On, Row, row};

pub fn rows() -> Vec<Row> {
    let mut rows = whole();
    rows.extend(too_large());
    rows.extend(expectations());
    rows.extend(unread());
    rows.extend(broken());
    rows
}

fn whole() -> Vec<Row> {
    let rfc = "RFC 9110 section 6.4";
    vec![
        row("a body of a length", rfc, "/echo")
            .post(Length(5), &[Head, Data(b"hello"), End])
            .text("hello"),
        row("a body until its end", rfc, "/echo")
            .post(Unknown, &[Head, Data(b"hel"), Data(b"lo"), End])
            .text("hello"),
        row("an empty body", rfc, "/echo").post(Length(0), &[Head, End]),
        row("an empty body until its end", rfc, "/echo").post(Unknown, &[Head, End]),
        row("no body where one might be", rfc, "/echo").post(None, &[Head]),
        row("a body with GET", "RFC 9110 section 9.3.1", "/echo")
            .post(Length(5), &[Head, Data(b"hello"), End])
            .method("GET")
            .text("hello"),
        row("a body that streams", rfc, "/sink")
            .post(Unknown, &[Head, Fill(300_000), End])
            .text("300000")
            .seen(&["reads"]),
        row("request trailers", "RFC 9110 section 6.5", "/trailers-seen")
            .post(Unknown, &[Head, Data(b"hello"), Trailers(&[("x-sum", "9"), ("x-more", "m")])])
            .field("te", "trailers")
            .text("5\nx-sum: 9\nx-more: m"),
        row("trailers that are about a connection", "RFC 9110 section 6.5.1", "/trailers-seen")
            .post(Unknown, &[Head, Data(b"hello"), Trailers(&[("connection", "x")])])
            .text("5"),
        row("trailers behind nothing", "RFC 9110 section 6.5", "/trailers-seen")
            .post(Unknown, &[Head, Trailers(&[("x-sum", "9")])])
            .text("0\nx-sum: 9"),
    ]
}

const TOO_LARGE: &str = "413 Payload Too Large: the body is larger than the limit\n";

fn too_large() -> Vec<Row> {
    let rfc = "RFC 9110 section 15.5.14";
    vec![
        row("a length beyond the limit", rfc, "/echo")
            .post(Length(200_000), &[Head])
            .refused(413, TOO_LARGE),
        row("a length beyond the limit, and the body", rfc, "/echo")
            .post(Length(200_000), &[Head, Fill(200_000), End])
            .refused(413, TOO_LARGE),
        row("a body beyond the limit", rfc, "/echo")
            .post(Unknown, &[Head, Fill(200_000)])
            .refused(413, TOO_LARGE),
        row("a body that comes too slowly", "RFC 9110 section 15.5.9", "/echo")
            .on(On::Hasty)
            .post(Length(50_000), &[Head, Data(b"a little")])
            .refused(408, "408 Request Timeout: the body came too slowly\n")
            .counts(&["slow body"]),
        row("a body that comes too slowly to a reader", "RFC 9110 section 15.5.9", "/sink")
            .on(On::Hasty)
            .post(Unknown, &[Head, Data(b"a little")])
            .refused(408, "408 Request Timeout: the body came too slowly\n")
            .counts(&["slow body"])
            .seen(&["reads", "dropped"]),
    ]
}

fn expectations() -> Vec<Row> {
    let rfc = "RFC 9110 section 10.1.1";
    let expects = |name, path| row(name, rfc, path).field("expect", "100-continue");
    vec![
        expects("100 where the body is wanted", "/echo")
            .post(Length(5), &[Head, Interim, Data(b"hello"), End])
            .interim(&["100"])
            .text("hello"),
        expects("100 where a handler reads", "/sink")
            .post(Unknown, &[Head, Interim, Data(b"hello"), End])
            .interim(&["100"])
            .text("5")
            .seen(&["reads"]),
        expects("no 100 where a handler refuses", "/refuse")
            .post(Length(5), &[Head])
            .status(403)
            .text("Forbidden")
            .closes(),
        expects("no 100 where the body is too large", "/echo")
            .post(Length(200_000), &[Head])
            .refused(413, TOO_LARGE),
        expects("no 100 where no such path is", "/nowhere")
            .post(Length(5), &[Head])
            .status(404)
            .text("Not Found")
            .closes(),
        expects("no 100 where no content comes", "/echo").post(Length(0), &[Head, End]),
        row("an expectation that nobody knows", rfc, "/echo")
            .field("expect", "miracles")
            .refused(
                417,
                "417 Expectation Failed: the peer sent an expectation other than 100-continue\n",
            )
            .unread(),
    ]
}

/// Answers that do not wait for the end of the request.
fn unread() -> Vec<Row> {
    let rfc = "RFC 9110 section 9.3, RFC 9113 section 8.1, RFC 9114 section 4.1";
    vec![
        row("an answer while the body still comes", rfc, "/first")
            .post(Unknown, &[Head, Data(b"some"), Answered, Data(b"more"), End])
            .text("enough"),
        row("a refusal while the body still comes", rfc, "/refuse")
            .post(Unknown, &[Head, Data(b"some"), Answered, Data(b"more"), End])
            .status(403)
            .text("Forbidden"),
        row("a body for a method that the path has not", rfc, "/hello")
            .post(Length(5), &[Head, Data(b"hello"), End])
            .status(405)
            .text("Method Not Allowed")
            .says(&["allow: GET, HEAD, OPTIONS"]),
        row("a large body for no such path", rfc, "/nowhere")
            .post(Length(1_000_000), &[Head, Fill(1_000_000), End])
            .status(404)
            .text("Not Found")
            .closes(),
        row("a body larger than the windows that nobody reads", rfc, "/never")
            .post(Length(1_000_000), &[Head, Fill(1_000_000), End])
            .text("never read")
            .closes(),
    ]
}

fn broken() -> Vec<Row> {
    let rfc = "RFC 9112 section 8, RFC 9113 section 8.1.1, RFC 9114 section 4.1.2";
    vec![
        row("a body shorter than its length", rfc, "/echo")
            .post(Length(9), &[Head, Data(b"hello"), End])
            .incomplete(),
        row("a body shorter than its length to a reader", rfc, "/sink")
            .post(Length(9), &[Head, Data(b"hello"), Seen("reads"), End])
            .incomplete()
            .seen(&["reads", "dropped"]),
        row("a body longer than its length", rfc, "/echo")
            .post(Length(3), &[Head, Data(b"hello"), End])
            .incomplete(),
        row("an upload that is given up", rfc, "/echo")
            // A reset may overtake what it follows (RFC 9000 section 3.2).
            .post(Length(9), &[Head, Data(b"hello"), Pause(50), Cancel])
            .cancelled(0, "499 0"),
        row("an upload that is given up while it is read", rfc, "/sink")
            .post(Length(9), &[Head, Data(b"hello"), Seen("reads"), Cancel])
            .cancelled(0, "499 0")
            .seen(&["reads", "dropped"]),
    ]
}
