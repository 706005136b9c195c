//! Differences that no RFC forces: what is still to be mended, each to be taken out with it.

use super::client::Over;
use super::differences::Difference;

const H1: &[Over] = &[Over::H1];
const H2: &[Over] = &[Over::H2];
const H3: &[Over] = &[Over::H3];
const STREAMS: &[Over] = &[Over::H2, Over::H3];

/// The first hundred octets of a long line, and what follows them.
const LONG: &str = concat!(
    "GET /",
    "tttttttttttttttttttttttttttttttttttttttttttttttt",
    "ttttttttttttttttttttttttttttttttttttttttttttttt",
    " 404 9"
);

pub const KNOWN: &[Difference] = &[
    Difference {
        rows: &[
            "no authority",
            "Host twice",
            "a name in upper case",
            "an octet that no value has",
            "a length that is no number",
            "two lengths that differ",
            "Connection",
            "Keep-Alive",
            "TE for a coding",
            "Upgrade",
        ],
        over: STREAMS,
        had: &[("counts", ""), ("log", "")],
        why: "what is malformed is neither counted as refused nor logged",
    },
    Difference {
        rows: &["too many fields", "a field that is too large"],
        over: H2,
        had: &[("log", "431 89")],
        why: "the log does not say what was asked in a head that is too large",
    },
    Difference {
        rows: &["too many fields", "a field that is too large"],
        over: H3,
        had: &[("body", ""), ("counts", ""), ("log", "")],
        why: "431 is answered in the codec's glue, without a body; nobody counts or logs it",
    },
    Difference {
        rows: &["a slow head"],
        over: H3,
        had: &[("body", ""), ("counts", ""), ("log", "")],
        why: "408 is answered in the codec's glue, without a body; nobody counts or logs it",
    },
    Difference {
        rows: &["a target beyond the limit"],
        over: STREAMS,
        had: &[
            ("status", "404"),
            ("body", "Not Found"),
            ("counts", "answered 404, requests"),
            ("log", LONG),
        ],
        why: "limits.request_line holds for HTTP/1.1 alone",
    },
    Difference {
        rows: &["an expectation that nobody knows"],
        over: STREAMS,
        had: &[
            ("status", "200"),
            ("body", ""),
            ("counts", "answered 200, requests"),
            ("log", "GET /echo 200 0"),
        ],
        why: "an expectation other than 100-continue is passed over",
    },
    Difference {
        rows: &["CONNECT"],
        over: STREAMS,
        had: &[("log", "CONNECT  405 51")],
        why: "the log has no target, which is the authority (RFC 9110 section 7.1)",
    },
    Difference {
        rows: &["no 100 where a handler refuses"],
        over: H1,
        had: &[
            ("connection", "stays"),
            ("counts", "requests"),
            ("log", "POST /refuse 403 9, the connection ended"),
        ],
        why: "the connection, which is said to end, waits for a body that may never come",
    },
    Difference {
        rows: &["no 100 where no such path is"],
        over: H1,
        had: &[
            ("connection", "stays"),
            ("counts", "requests"),
            ("log", "POST /nowhere 404 9, the connection ended"),
        ],
        why: "the connection, which is said to end, waits for a body that may never come",
    },
];
