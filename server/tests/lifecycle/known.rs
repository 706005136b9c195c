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
        rows: &["an authority that is not the certificate's"],
        over: STREAMS,
        had: &[
            ("body", "Misdirected Request"),
            ("counts", "answered 421, requests"),
            ("log", "GET /hello 421 19"),
        ],
        why: "421 has no reason, and is not counted as refused",
    },
    Difference {
        rows: &[
            "a length beyond the limit",
            "a length beyond the limit, and the body",
            "a body beyond the limit",
            "no 100 where the body is too large",
        ],
        over: STREAMS,
        had: &[
            ("body", "Payload Too Large"),
            ("counts", "answered 413, requests"),
            ("log", "POST /echo 413 17"),
        ],
        why: "413 has no reason, and is not counted as refused",
    },
    Difference {
        rows: &["a body that comes too slowly"],
        over: STREAMS,
        had: &[
            ("body", "Request Timeout"),
            ("counts", "answered 408, requests, slow body"),
            ("log", "POST /echo 408 15"),
        ],
        why: "408 has no reason, and is not counted as refused",
    },
    Difference {
        rows: &["a body that comes too slowly to a reader"],
        over: STREAMS,
        had: &[
            ("body", "Request Timeout"),
            ("counts", "answered 408, requests, slow body"),
            ("log", "POST /sink 408 15"),
        ],
        why: "408 has no reason, and is not counted as refused",
    },
    Difference {
        rows: &["too many fields", "a field that is too large"],
        over: H2,
        had: &[("body", "Request Header Fields Too Large"), ("log", "")],
        why: "431 has no reason, and no line in the log",
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
        had: &[("log", "CONNECT  405 18")],
        why: "the log has no target, which is the authority (RFC 9110 section 7.1)",
    },
    Difference {
        rows: &["response trailers"],
        over: H2,
        had: &[("counts", "requests")],
        why: "an answer that ends with trailers is not counted as answered",
    },
    Difference {
        rows: &["a producer panics before anything"],
        over: STREAMS,
        had: &[("counts", "answered 200, requests"), ("log", "GET /panic-before 200 0")],
        why: "an answer that breaks off is counted as answered, and its line does not say so",
    },
    Difference {
        rows: &["a producer panics before anything"],
        over: H1,
        had: &[("log", "GET /panic-before 200 0, the connection ended")],
        why: "the line does not say who broke off",
    },
    Difference {
        rows: &["a producer panics in the middle"],
        over: STREAMS,
        had: &[("counts", "answered 200, requests"), ("log", "GET /panic-middle 200 5")],
        why: "an answer that breaks off is counted as answered, and its line does not say so",
    },
    Difference {
        rows: &["a producer panics in the middle"],
        over: H1,
        had: &[("log", "GET /panic-middle 200 5, the connection ended")],
        why: "the line does not say who broke off",
    },
    Difference {
        rows: &["a producer gives up"],
        over: STREAMS,
        had: &[("counts", "answered 200, requests"), ("log", "GET /aborts 200 5")],
        why: "an answer that breaks off is counted as answered, and its line does not say so",
    },
    Difference {
        rows: &["a producer gives up"],
        over: H1,
        had: &[("log", "GET /aborts 200 5, the connection ended")],
        why: "the line does not say who broke off",
    },
    Difference {
        rows: &["a producer writes less than its length"],
        over: STREAMS,
        had: &[("counts", "answered 200, requests"), ("log", "GET /short 200 4")],
        why: "an answer that breaks off is counted as answered, and its line does not say so",
    },
    Difference {
        rows: &["a producer writes less than its length"],
        over: H1,
        had: &[("log", "GET /short 200 4, the connection ended")],
        why: "the line does not say who broke off",
    },
    Difference {
        rows: &["a producer writes more than its length"],
        over: STREAMS,
        had: &[("counts", "answered 200, requests"), ("log", "GET /long 200 4")],
        why: "an answer that breaks off is counted as answered, and its line does not say so",
    },
    Difference {
        rows: &["a producer writes more than its length"],
        over: H1,
        had: &[("log", "GET /long 200 8, the connection ended")],
        why: "the line does not say who broke off, and has octets that were not sent",
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
