//! Bytes of the fields of a request and of its answer, the first time and the hundredth: text
//! (HTTP/1.1), HPACK (RFC 7541), QPACK (RFC 9204).

use super::{Experiment, Extent, check, table};
use crate::client::{Ask, Connection, Got, finish};
use crate::link::Shape;
use crate::site::{Lab, Site, resource};
use serde_json::{Value, json};
use std::io;

pub(crate) const EXPERIMENT: Experiment = Experiment {
    name: "headers",
    about: "bytes of the first and of the hundredth request's fields: text, HPACK, QPACK",
    run,
};

const REQUESTS: usize = 100;

/// A browser's fields of every request: 700 bytes, mostly the same each time.
const FIELDS: [(&str, &str); 9] = [
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.7,de;q=0.3"),
    ("referer", "https://localhost/page.html?from=the+front+page&campaign=autumn"),
    ("sec-fetch-dest", "script"),
    ("sec-fetch-mode", "no-cors"),
    ("sec-fetch-site", "same-origin"),
    ("cache-control", "no-cache"),
    (
        "cookie",
        "session=8f14e45fceea167a5a36dedd4bea2543c9f0f895fb98ab9159f51fd0297e236d; theme=dark; \
         consent=a1b2c3d4-e5f6-7890-abcd-ef1234567890; _visits=17; _first=1732230000; lang=en",
    ),
];

fn run(site: &Site, _: Extent) -> io::Result<Value> {
    let lab = Lab::new(site, Shape::of_rtt(4.0), 13)?;
    let mut found = Vec::new();
    for protocol in lab.protocols() {
        let all = lab.client(|| {
            let mut one = [Connection::open(protocol, &lab.setup)?];
            let mut done: Vec<Got> = Vec::new();
            for n in 0..REQUESTS {
                let mut ask = Ask::new(n, resource(n % 10));
                for (name, value) in FIELDS {
                    ask = ask.field(name, value);
                }
                one[0].ask(&ask);
                finish(&mut one, &mut done, n + 1)?;
            }
            done.iter().try_for_each(check).map(|()| done)
        })?;
        let (first, last) = (&all[0], &all[REQUESTS - 1]);
        let sum = |of: fn(&Got) -> usize| all.iter().map(of).sum::<usize>();
        found.push(json!({
            "protocol": protocol.name(),
            "request_first": first.asked_bytes, "request_hundredth": last.asked_bytes,
            "answer_first": first.head_bytes, "answer_hundredth": last.head_bytes,
            "requests_all": sum(|got| got.asked_bytes), "answers_all": sum(|got| got.head_bytes),
        }));
    }
    let keys = [
        "request_first",
        "request_hundredth",
        "requests_all",
        "answer_first",
        "answer_hundredth",
        "answers_all",
    ];
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|row| {
            let name = row["protocol"].as_str().unwrap_or_default().to_string();
            [vec![name], keys.map(|key| row[key].to_string()).to_vec()].concat()
        })
        .collect();
    let columns = ["protocol", "request 1", "request 100", "all", "answer 1", "answer 100", "all"];
    table("Bytes of fields, their frame's head included", &columns, &rows);
    Ok(json!({ "requests": REQUESTS, "rows": found }))
}
