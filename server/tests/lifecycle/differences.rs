//! Where protocols differ, because their RFCs force it. A difference that does not occur any more
//! fails the test, so that the list stays true.

use std::collections::BTreeSet;

use super::client::Over;
use super::run::Outcome;

/// Rows that over some protocols are not as the table has them.
#[derive(Debug)]
pub struct Difference {
    pub rows: &'static [&'static str],
    pub over: &'static [Over],
    /// Aspects, and what each is instead.
    pub had: &'static [(&'static str, &'static str)],
    pub why: &'static str,
}

const H1: &[Over] = &[Over::H1];
const H2: &[Over] = &[Over::H2];
const TCP: &[Over] = &[Over::H1, Over::H2];
const STREAMS: &[Over] = &[Over::H2, Over::H3];

/// What a protocol forces.
const FORCED: &[Difference] = &[
    Difference {
        rows: &[
            "no authority",
            "Host twice",
            "a target without a slash",
            "a fragment in the target",
            "a space in the target",
            "a control character in the target",
            "an asterisk with GET",
            "a method that is no token",
            "an authority with a user",
            "an empty authority",
            "a name that is no token",
            "whitespace around a value",
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
        had: &[
            ("status", "0"),
            ("body", ""),
            ("end", "malformed"),
            ("counts", "refused"),
            ("log", "400 0, the request was malformed"),
        ],
        why: "what is malformed is an error of the stream: RFC 9113 sections 8.1.1, 8.2.1 and \
              8.2.2, RFC 9114 sections 4.1.2 and 4.2; HTTP/1.1 has no streams to reset",
    },
    Difference {
        rows: &["trailers that are about a connection"],
        over: STREAMS,
        had: &[
            ("status", "0"),
            ("body", ""),
            ("end", "malformed"),
            ("counts", "refused, requests"),
            ("log", "POST /trailers-seen 499 0, the stream was reset"),
        ],
        why: "they are malformed as in a head (RFC 9113 section 8.2.2, RFC 9114 section 4.2); \
              HTTP/1.1 leaves them out (RFC 9110 section 6.5.1)",
    },
    Difference {
        rows: &["a length and trailers"],
        over: H1,
        had: &[("trailers", "")],
        why: "trailers are a part of the chunked coding (RFC 9112 section 7.1.2)",
    },
    Difference {
        rows: &["a client that reads nothing"],
        over: H1,
        had: &[("end", "cut off")],
        why: "an answer is given up with its connection (RFC 9112 section 9.6)",
    },
    Difference {
        rows: &["a cookie in crumbs"],
        over: H1,
        had: &[("body", "cookie: a=1\ncookie: b=2"), ("log", "GET /fields 200 23")],
        why: "crumbs are of HTTP/2 and HTTP/3 (RFC 9113 section 8.2.3, RFC 9114 section 4.2.1); \
              HTTP/1.1 clients send one line (RFC 6265 section 5.4)",
    },
    Difference {
        rows: &["early data"],
        over: TCP,
        had: &[
            ("status", "200"),
            ("body", ""),
            ("counts", "answered 200, requests"),
            ("log", "POST /echo 200 0"),
        ],
        why: NO_EARLY_DATA,
    },
    Difference {
        rows: &["early data that changes nothing"],
        over: TCP,
        had: &[("counts", "answered 200, requests")],
        why: NO_EARLY_DATA,
    },
    Difference {
        rows: &["a slow head"],
        over: H2,
        had: &[
            ("status", "0"),
            ("body", ""),
            ("end", "nothing"),
            ("connection", "ends"),
            ("counts", ""),
            ("log", ""),
        ],
        why: "a field block is one run of frames, and its stream begins when it is whole (RFC 9113 \
              sections 4.3 and 5.1): what is slow is the connection",
    },
    Difference {
        rows: &["a body shorter than its length"],
        over: H1,
        had: &[
            ("end", "nothing"),
            ("counts", "requests"),
            ("log", "POST /echo 499 0, the connection ended"),
        ],
        why: "the end of a request that is not complete is the connection's (RFC 9112 section 8)",
    },
    Difference {
        rows: &["a body shorter than its length to a reader"],
        over: H1,
        had: &[
            ("end", "nothing"),
            ("counts", "requests"),
            ("log", "POST /sink 499 0, the connection ended"),
        ],
        why: "the end of a request that is not complete is the connection's (RFC 9112 section 8)",
    },
    Difference {
        rows: &["a body longer than its length"],
        over: H1,
        had: &[
            ("status", "200"),
            ("body", "hel"),
            ("end", "whole"),
            ("connection", "stays"),
            ("counts", "answered 200, requests"),
            ("log", "POST /echo 200 3"),
        ],
        why: "the length ends the body, and what follows begins a request (RFC 9112 section 6.3)",
    },
    Difference {
        rows: &["an upload that is given up"],
        over: H1,
        had: &[("log", "POST /echo 499 0, the connection ended")],
        why: GIVEN_UP,
    },
    Difference {
        rows: &["an upload that is given up while it is read"],
        over: H1,
        had: &[("log", "POST /sink 499 0, the connection ended")],
        why: GIVEN_UP,
    },
    Difference {
        rows: &["a client gives up before its answer"],
        over: H1,
        had: &[("log", "GET /slow/60000 499 0, the connection ended")],
        why: GIVEN_UP,
    },
    Difference {
        rows: &["a download that is given up"],
        over: H1,
        had: &[("log", "GET /endless 200 some, the connection ended")],
        why: GIVEN_UP,
    },
    Difference {
        rows: &["a producer writes more than its length"],
        over: H1,
        had: &[("end", "whole")],
        why: "the client has what was announced, and no way to be told that there was more (RFC \
              9112 section 6.3); that the connection ends is all it sees",
    },
];

const NO_EARLY_DATA: &str = "tickets over TCP offer no early data (RFC 8446 section 4.2.10)";

const GIVEN_UP: &str = "a client gives a request up with its connection (RFC 9112 section 9.6)";

pub fn all() -> impl Iterator<Item = &'static Difference> {
    FORCED.iter()
}

/// What is listed for an aspect of a row.
pub fn find(row: &str, over: Over, aspect: &str) -> Option<&'static str> {
    let mut listed = all().filter(|known| known.rows.contains(&row) && known.over.contains(&over));
    listed
        .find_map(|known| known.had.iter().find(|(other, _)| *other == aspect).map(|(_, had)| *had))
}

/// What was compared so far.
#[derive(Default)]
pub struct Ledger {
    wrong: Vec<String>,
    /// Listed differences that have occurred: row, protocol, aspect.
    occurred: BTreeSet<(&'static str, usize, &'static str)>,
}

impl Ledger {
    /// Each aspect is as the table has it, or as a list says.
    pub fn compare(&mut self, outcome: &Outcome) {
        let Outcome { row, over, .. } = *outcome;
        for (aspect, (wanted, had)) in &outcome.aspects {
            if wanted == had {
                continue;
            }
            match find(row, over, aspect) {
                Some(known) if known == had => {
                    self.occurred.insert((row, over as usize, aspect));
                }
                _ => self.wrong.push(format!(
                    "{over:?} {row} ({}): {aspect} is {had:?}, not {wanted:?}",
                    outcome.rfc
                )),
            }
        }
    }

    /// The answers of the three protocols have the same fields, where they have one status.
    pub fn same_fields(&mut self, outcomes: [&Outcome; 3]) {
        let [h1, others @ ..] = outcomes;
        for other in others {
            assert_eq!(h1.row, other.row);
            let is_listed =
                |aspect| [h1, other].iter().any(|o| find(o.row, o.over, aspect).is_some());
            // A head may be lost with an answer that breaks off.
            if is_listed("status") || h1.fields.is_empty() || other.fields.is_empty() {
                continue;
            }
            let is_length = |field: &str| field.starts_with("content-length:") && is_listed("body");
            let only = |own: &Outcome, others: &Outcome| {
                let fields = own.fields.iter().filter(|field| !others.fields.contains(field));
                let fields = fields.filter(|field| !is_length(field));
                fields.cloned().collect::<Vec<_>>().join(", ")
            };
            let (row, over) = (h1.row, other.over);
            let (here, there) = (only(other, h1), only(h1, other));
            if !here.is_empty() || !there.is_empty() {
                self.wrong.push(format!("{over:?} {row}: has {here:?}, HTTP/1.1 has {there:?}"));
            }
        }
    }

    /// What is wrong, and what is listed and did not occur.
    pub fn finish(mut self) -> Vec<String> {
        for Difference { rows, over, had, why } in all() {
            for (row, over) in rows.iter().flat_map(|row| over.iter().map(move |over| (row, over)))
            {
                for (aspect, had) in *had {
                    if !self.occurred.contains(&(*row, *over as usize, *aspect)) {
                        let gone = format!("{over:?} {row}: {aspect} is not {had:?} any more");
                        self.wrong.push(format!("{gone}, for which was the reason: {why}"));
                    }
                }
            }
        }
        self.wrong
    }
}
