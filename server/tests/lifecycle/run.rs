//! Asks every row over one protocol, and notes what came of it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::client::{Answer, Client, Over, PATIENCE};
use super::differences;
use super::row::{Body, Expect, Framing, On, Row, Step};
use super::served::{Counts, Served};
use super::{h1, h2, h3, table};

/// How long counters may take that are not what they should be.
const COUNTED: Duration = Duration::from_secs(1);

/// So much of a request's line is compared.
const LINE_MAX: usize = 100;

/// How late counters are published, and a little.
const PUBLISHED: Duration = Duration::from_millis(15);

/// What came of a row, aspect by aspect, beside what had to.
pub struct Outcome {
    pub row: &'static str,
    pub rfc: &'static str,
    pub over: Over,
    /// Wanted, and had.
    pub aspects: BTreeMap<&'static str, (String, String)>,
    /// Fields of the answer that are not a hop's own, sorted.
    pub fields: Vec<String>,
    /// From when to when, in microseconds since 1970.
    time: (u64, u64),
}

/// Rows in order, on as few servers as there may be.
pub fn every_row(over: Over) -> Vec<Outcome> {
    let rows = table::rows();
    let mut outcomes = Vec::new();
    for on in [On::Usual, On::Hasty] {
        let rows: Vec<_> = rows.iter().filter(|row| row.on == on).collect();
        outcomes.extend(on_one_server(&rows, on, over));
    }
    for row in rows.iter().filter(|row| row.on == On::Leaving) {
        outcomes.extend(on_one_server(&[row], On::Leaving, over));
    }
    outcomes
}

fn on_one_server(rows: &[&Row], on: On, over: Over) -> Vec<Outcome> {
    let mut server = Served::start(on);
    let mut outcomes: Vec<_> = rows.iter().map(|row| try_row(row, over, &mut server)).collect();
    let lines = server.end();
    for (outcome, row) in outcomes.iter_mut().zip(rows) {
        let had: Vec<_> = lines.iter().filter(|line| is_of(line, outcome)).map(shown).collect();
        let is_sized = !row.expect.log.is_some_and(|log| log.ends_with(" some"));
        let had = had.iter().map(|line| if is_sized { line.clone() } else { without_octets(line) });
        outcome.note("log", logged(row), had.collect::<Vec<_>>().join("; "));
    }
    outcomes
}

/// Whether a line of the log is a row's: by its user agent, or its time where nothing was parsed.
fn is_of(line: &serde_json::Value, outcome: &Outcome) -> bool {
    match line["request"]["headers"]["User-Agent"][0].as_str() {
        Some(agent) => agent == outcome.row,
        None => {
            let at = (line["ts"].as_f64().unwrap() * 1e6) as u64;
            (outcome.time.0..=outcome.time.1).contains(&at)
        }
    }
}

/// Method, target, status and octets, and why it did not end as it should have.
fn shown(line: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let request = &line["request"];
    let uri = text(&request["uri"]);
    let uri = uri.trim_end_matches(" HTTP/1.1");
    let asked = format!("{} {uri}", text(&request["method"]));
    let asked = &asked.trim_start()[..asked.trim_start().len().min(LINE_MAX)];
    let reason = line["abort_reason"].as_str().map(|reason| format!(", {reason}"));
    let (status, size) = (&line["status"], &line["size"]);
    let line = format!("{asked} {status} {size}{}", reason.unwrap_or_default());
    line.trim_start().to_owned()
}

/// A line of the log whose octets are as many as there was time for.
fn without_octets(line: &str) -> String {
    let (line, reason) = line.split_at(line.find(", ").unwrap_or(line.len()));
    let (line, octets) = line.rsplit_once(' ').unwrap();
    let octets = if octets == "0" { octets } else { "some" };
    format!("{line} {octets}{reason}")
}

fn logged(row: &Row) -> String {
    let Expect { status, abort, log, is_named, .. } = &row.expect;
    let octets = match &row.expect.body {
        Body::Text(text) => text.len(),
        Body::Part(part) => part.len(),
        Body::Some => 0,
    };
    let log = log.map_or_else(|| format!("{status} {octets}"), str::to_owned);
    let reason = if abort.is_empty() { String::new() } else { format!(", {abort}") };
    let asked = format!("{} {}", row.ask.method, row.ask.target);
    let asked = if *is_named { &asked[..asked.len().min(LINE_MAX)] } else { "" };
    format!("{asked} {log}{reason}").trim_start().to_owned()
}

fn connect(row: &Row, over: Over, server: &Served) -> Box<dyn Client> {
    let at = server.at(over);
    match (over, row.ask.early) {
        (Over::H1, false) => Box::new(h1::H1::connect(at)),
        (Over::H1, true) => Box::new(h1::H1::resumed(at)),
        (Over::H2, false) => Box::new(h2::Stream::connect(at)),
        (Over::H2, true) => Box::new(h2::Stream::resumed(at)),
        (Over::H3, false) => Box::new(h3::Stream::connect(at)),
        (Over::H3, true) => Box::new(h3::Stream::resumed(at)),
    }
}

/// As [`ask`]; what a client cannot go on with is an aspect too.
fn try_row(row: &Row, over: Over, server: &mut Served) -> Outcome {
    let began = micros();
    let asked = catch_unwind(AssertUnwindSafe(|| ask(row, over, server)));
    asked.unwrap_or_else(|panic| {
        let why = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        let mut outcome = Outcome::new(row, over, began);
        outcome.note("client", String::new(), why);
        outcome.time.1 = micros();
        outcome
    })
}

fn ask(row: &Row, over: Over, server: &mut Served) -> Outcome {
    let mut asked = row.ask.clone();
    asked.fields.push(("user-agent", row.name.to_owned()));
    server.seen.clear();
    let mut client = connect(row, over, server);
    if row.ask.early && over != Over::H3 {
        // The connection that brought the ticket.
        afterwards(server, over, true);
    }
    let (before, began) = (server.counted.clone(), micros());
    for step in &row.steps {
        match *step {
            Step::Head => client.head(&asked, asked.framing == Framing::None),
            Step::HalfHead => client.half_head(&asked),
            Step::Data(bytes) => client.data(bytes),
            Step::Fill(octets) => {
                (0..octets).step_by(10_000).for_each(|_| client.data(&[b'f'; 10_000]));
            }
            Step::End => client.end(&[]),
            Step::Trailers(trailers) => client.end(trailers),
            Step::Interim => client.until(&mut |answer| !answer.interim.is_empty()),
            Step::Answered => client.until(&mut |answer| answer.status != 0),
            Step::Part(octets) => client.until(&mut |answer| answer.body.len() >= octets),
            Step::Seen(what) => wait_for(what, &mut *client, server),
            Step::Pause(millis) => client.pause(Duration::from_millis(millis)),
            Step::Stall => {
                let start = Instant::now();
                while server.seen.all().is_empty() && start.elapsed() < PATIENCE {
                    client.stall(Duration::from_millis(5));
                }
            }
            Step::Cancel => client.cancel(),
            Step::Drain => server.drain(),
        }
    }
    client.until(&mut |_| false);
    let answer = client.answer();
    let mut outcome = Outcome::new(row, over, began);
    outcome.note_answer(&row.expect, &answer);
    let counts = counted(row, over, server, &before, &mut *client);
    outcome.note("counts", wanted_counts(row), counts);
    outcome.note("seen", row.expect.seen.join(", "), server.seen.all().join(", "));
    outcome.time.1 = micros();
    let is_to_end = is_to_end(row, over);
    let stays = |stays| if stays { "stays" } else { "ends" }.to_owned();
    let has_stayed = client.stays(is_to_end);
    outcome.note("connection", stays(!is_to_end), stays(has_stayed));
    outcome.note("counts afterwards", String::new(), afterwards(server, over, has_stayed));
    outcome
}

fn is_to_end(row: &Row, over: Over) -> bool {
    match over {
        Over::H1 => row.expect.closes,
        Over::H2 | Over::H3 => row.on == On::Leaving,
    }
}

fn wait_for(what: &str, client: &mut dyn Client, server: &Served) {
    let start = Instant::now();
    while !server.seen.all().iter().any(|seen| seen == what) {
        assert!(start.elapsed() < PATIENCE, "no handler sees {what:?}");
        client.pause(Duration::from_millis(2));
    }
}

fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

/// What moved besides the one request more of a connection that stays.
fn afterwards(server: &mut Served, over: Over, is_checked: bool) -> String {
    if is_checked {
        for name in ["requests", "answered 200"] {
            *server.counted.entry(name.to_owned()).or_default() += 1;
        }
    }
    let start = Instant::now();
    loop {
        let now = server.counts(over);
        if now == server.counted || start.elapsed() > COUNTED {
            let moved = moved(&server.counted, &now);
            server.counted = now;
            return moved;
        }
        thread::sleep(PUBLISHED);
    }
}

fn wanted_counts(row: &Row) -> String {
    let Expect { status, counts, is_request, is_answered, .. } = &row.expect;
    let mut all: Vec<String> = counts.iter().map(|&name| name.to_owned()).collect();
    all.extend(is_request.then(|| "requests".to_owned()));
    all.extend(is_answered.then(|| format!("answered {status}")));
    all.sort();
    all.join(", ")
}

/// What moved since `before`, once that is what is wanted, or for a second.
fn counted(
    row: &Row,
    over: Over,
    server: &mut Served,
    before: &Counts,
    client: &mut dyn Client,
) -> String {
    let listed = differences::find(row.name, over, "counts").map(str::to_owned);
    let wanted = (listed.unwrap_or_else(|| wanted_counts(row)), row.expect.seen.join(", "));
    let (start, mut was_right) = (Instant::now(), false);
    loop {
        let now = server.counts(over);
        let moved = moved(before, &now);
        let is_right = moved == wanted.0 && server.seen.all().join(", ") == wanted.1;
        // Twice: what is too much may come a moment later.
        if (is_right && was_right) || start.elapsed() > COUNTED {
            server.counted = now;
            return moved;
        }
        was_right = is_right;
        client.pause(PUBLISHED);
    }
}

fn moved(before: &Counts, now: &Counts) -> String {
    let moved = now.iter().filter_map(|(name, count)| {
        let by = count.saturating_sub(*before.get(name).unwrap_or(&0));
        (by > 0).then(|| if by == 1 { name.clone() } else { format!("{name} by {by}") })
    });
    moved.collect::<Vec<_>>().join(", ")
}

impl Outcome {
    fn new(row: &Row, over: Over, began: u64) -> Self {
        Self {
            row: row.name,
            rfc: row.rfc,
            over,
            aspects: BTreeMap::new(),
            fields: Vec::new(),
            time: (began, 0),
        }
    }

    fn note(&mut self, aspect: &'static str, wanted: String, had: String) {
        self.aspects.insert(aspect, (wanted, had));
    }

    fn note_answer(&mut self, expect: &Expect, answer: &Answer) {
        self.note("interim", expect.interim.join(", "), answer.interim.join(", "));
        let is_lost = expect.may_lack_head && answer.status == 0 && answer.is_over();
        let (status, end) =
            if is_lost { (expect.status, expect.end) } else { (answer.status, answer.end) };
        self.note("status", expect.status.to_string(), status.to_string());
        let (wanted, had) = bodies(&expect.body, &answer.body);
        self.note("body", wanted, had);
        let trailers = answer.trailers.iter().map(|(name, value)| format!("{name}: {value}"));
        let trailers = trailers.collect::<Vec<_>>().join(", ");
        self.note("trailers", expect.trailers.join(", "), trailers);
        self.note("end", expect.end.to_owned(), end.to_owned());
        let had: Vec<_> = expect.fields.iter().map(|wanted| field(wanted, answer)).collect();
        self.note("fields", expect.fields.join(", "), had.join(", "));
        let a_hops_own = ["date", "connection", "transfer-encoding", "alt-svc"];
        let others = answer.fields.iter().filter(|(name, _)| !a_hops_own.contains(&&**name));
        self.fields = others.map(|(name, value)| format!("{name}: {value}")).collect();
        self.fields.sort();
    }
}

/// What stands where a field line is wanted, `name: value` or `no name`.
fn field(wanted: &str, answer: &Answer) -> String {
    let name = wanted.strip_prefix("no ").or(wanted.split_once(": ").map(|pair| pair.0)).unwrap();
    let mut lines = answer.fields.iter().filter(|(other, _)| other == name);
    lines.next().map_or_else(|| format!("no {name}"), |(name, value)| format!("{name}: {value}"))
}

/// A body that is wanted and one that was had, as texts that are equal where the latter will do.
fn bodies(wanted: &Body, had: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(had).into_owned();
    let shown = if had.len() > 200 { format!("{} octets", had.len()) } else { text.clone() };
    match wanted {
        Body::Text(wanted) if wanted.len() > 200 && *wanted == text => (text.clone(), text),
        Body::Text(wanted) => (wanted.clone(), shown),
        Body::Part(whole) if whole.starts_with(&text) => (text.clone(), text),
        Body::Part(whole) => (format!("a part of {whole}"), shown),
        Body::Some if !had.is_empty() => (shown.clone(), shown),
        Body::Some => ("something".to_owned(), shown),
    }
}
