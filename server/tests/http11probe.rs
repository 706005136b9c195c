//! A8: the 215 cases of Http11Probe, a public suite that sends difficult requests to HTTP/1.1
//! servers and ranks them by their answers, under their public ids. The bytes and verdicts are the
//! suite's. The runner here is ours and stricter: after every case that leaves the connection open,
//! the next request on it gets exactly one answer, and other clients are always served.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "as in the harness")]

#[path = "http11probe/app.rs"]
mod app;
#[path = "http11probe/case.rs"]
mod case;
#[path = "http11probe/compliance.rs"]
mod compliance;
mod harness;
#[path = "http11probe/malformed.rs"]
mod malformed;
#[path = "http11probe/meaning.rs"]
mod meaning;
#[path = "http11probe/smuggling.rs"]
mod smuggling;

use std::collections::BTreeSet;
use std::time::Duration;

use harness::client::Client;
use harness::process::Process;
use harness::{PATIENCE, TempDir};
use ringway::config::Limits;

use case::{Case, Got, Send, Verdict, judge};

/// Our answers to scored cases that the suite only tolerates, with our reasons.
const WARNED: [(&str, &str); 13] = [
    ("COMP-DUPLICATE-CT", "what a body is, is the application's to judge (RFC 9110 8.3)"),
    ("MAL-CL-TAB-BEFORE-VALUE", "whitespace around a value is no part of it (RFC 9110 5.5)"),
    ("MAL-URL-BACKSLASH", "clients send it unencoded, as other servers let them; 404 here"),
    ("MAL-URL-PERCENT-CRLF", "valid (RFC 3986 2.1), never decoded into a field; 404 here"),
    ("MAL-URL-PERCENT-NULL", "valid (RFC 3986 2.1); what serves files refuses it; 404 here"),
    ("NORM-UNDERSCORE-CL", "a token (RFC 9110 5.1), given to the application as it came"),
    ("NORM-UNDERSCORE-TE", "a token (RFC 9110 5.1), given to the application as it came"),
    ("SMUG-CL-DOUBLE-ZERO", "`1*DIGIT` (RFC 9110 8.6), read as the decimal number it is"),
    ("SMUG-CL-EXTRA-LEADING-SP", "whitespace around a value is no part of it (RFC 9110 5.5)"),
    ("SMUG-CL-LEADING-ZEROS", "`1*DIGIT` (RFC 9110 8.6), read as the decimal number it is"),
    ("SMUG-CL-LEADING-ZEROS-OCTAL", "`1*DIGIT` (RFC 9110 8.6), read as decimal: 200 bytes"),
    ("SMUG-CL-TRAILING-SPACE", "whitespace around a value is no part of it (RFC 9110 5.5)"),
    ("WS-UPGRADE-INVALID-VER", "no WebSocket is spoken, and Upgrade may be ignored (RFC 9110 7.8)"),
];

/// Cases whose verdict we reject, with our reasons.
const DECLINED: [(&str, &str); 1] = [(
    "MAL-NON-ASCII-URL",
    "raw UTF-8 is taken as over HTTP/2 (F5), and percent-encoded before anybody sees it; 404 here",
)];

/// How long the suite waits for an answer before it assumes that the server waits for more.
const SUITE_WAITS: Duration = Duration::from_secs(5);

/// After these cases, bytes remain on the connection that belong to no request.
const LEFT_OVER: [&str; 1] = ["NORM-UNDERSCORE-TE"];

#[test]
fn a8_the_cases_of_http11probe() {
    let directory = TempDir::with(&[("index.html", b"OK")]);
    let mut server = app::start(directory.path());
    let suites = [
        ("Compliance", 71, compliance::cases()),
        ("Smuggling", 87, smuggling::cases()),
        ("Malformed input", 26, malformed::cases()),
        ("Normalization", 5, meaning::normalization()),
        ("WebSockets", 5, compliance::websockets()),
        ("Cookies", 12, meaning::cookies()),
        ("Capabilities", 9, meaning::capabilities()),
    ];
    let mut ids = BTreeSet::new();
    let mut table = Vec::new();
    for (suite, count, cases) in suites {
        assert_eq!(cases.len(), count, "{suite}");
        for case in cases {
            assert!(ids.insert(case.id), "{} is there once", case.id);
            let (verdict, seen) = run(&server, &case);
            assert_eq!(server.client().get("/").status, 200, "after {}", case.id);
            table.push(Row { suite, id: case.id, scored: case.scored, verdict, seen });
        }
    }
    assert!(server.is_running());
    assert_eq!(ids.len(), 215);
    let summary = print(&table);
    assert!(include_str!("../../README.md").contains(&summary), "the README says: {summary}");
    let failed = table.iter().filter(|row| row.verdict == Verdict::Fail);
    let failed: Vec<_> = failed.map(|row| (row.id, &*row.seen)).collect();
    assert_eq!(failed, DECLINED.map(|(id, _)| (id, "404")), "what is declined is named, and why");
    let warned = |row: &&Row| row.scored && row.verdict == Verdict::Warn;
    let warned: BTreeSet<_> = table.iter().filter(warned).map(|row| row.id).collect();
    assert_eq!(warned, WARNED.map(|(id, _)| id).into(), "what is tolerated is named, and why");
}

#[derive(Debug)]
struct Row {
    suite: &'static str,
    id: &'static str,
    scored: bool,
    verdict: Verdict,
    /// The statuses of the answers.
    seen: String,
}

/// Sends a case and judges the answer; returns the statuses with the verdict.
fn run(server: &Process, case: &Case) -> (Verdict, String) {
    let mut client = server.client();
    let mut seen = Vec::new();
    let (mut verdict, mut last) = (None, None);
    for (at, step) in case.steps.iter().enumerate() {
        let bytes = match (&step.send, &last) {
            (Send::Bytes(bytes), _) => bytes.clone(),
            (Send::After(make), Some(answer)) => make(answer),
            (Send::After(_), None) => break,
        };
        client.send(&bytes);
        let method = if bytes.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
        let mut got = receive(server, &mut client, method, step.rule);
        if at + 1 == case.steps.len() && !got.ended {
            got.ended = finish(&mut client, &got, case.id);
        }
        seen.push(got.answer.as_ref().map_or("-".into(), |answer| answer.status.to_string()));
        verdict = verdict.or_else(|| judge(step.rule, &got));
        if got.ended {
            break;
        }
        last = got.answer;
    }
    (verdict.unwrap_or(Verdict::Warn), seen.join(", "))
}

/// The first answer, be it an interim one, behind which the final one is read as well.
fn receive(server: &Process, client: &mut Client, method: &str, rule: &str) -> Got {
    if rule.contains("silence") && is_silent(server, client) {
        return Got { answer: None, ended: false };
    }
    let Some(answer) = client.try_response(method) else {
        return Got { answer: None, ended: true };
    };
    let ended = if answer.status < 200 {
        client.response(method).says_close()
    } else {
        answer.says_close()
    };
    if ended {
        client.expect_end();
    }
    Got { answer: Some(answer), ended }
}

/// Whether the server has seen everything and waits for more: its one worker has by now served
/// others, whose requests came later. What it says in HTTP/2, to a preface, is no answer either.
fn is_silent(server: &Process, client: &Client) -> bool {
    for _ in 0..3 {
        assert_eq!(server.client().get("/").status, 200);
    }
    client.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut start = [0; 5];
    let came = client.stream.peek(&mut start);
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    came.is_err() || came.is_ok_and(|len| len == start.len() && start != *b"HTTP/")
}

/// Ends a connection that the server has left open; true if it had not. One more request has one
/// answer, and no others come before or behind it.
fn finish(client: &mut Client, got: &Got, id: &str) -> bool {
    if got.answer.is_none() {
        // It waits for the rest of a request. That this never comes it takes without a hang.
        client.finish();
        client.rest();
        return false;
    }
    client.send(case::get("Connection: close"));
    let Some(next) = client.try_response("GET") else { return true };
    let wanted = if LEFT_OVER.contains(&id) { 400 } else { 200 };
    assert_eq!(next.status, wanted, "{id}: the next answer is {next:?}");
    assert!(next.says_close(), "{id}: {next:?}");
    client.expect_end();
    false
}

/// One line for each suite, then all that did not pass; gives what the README says of it.
fn print(table: &[Row]) -> String {
    println!("{:16} passed warned failed unscored (of them passed, warned, failed)", "suite");
    let mut suites: Vec<_> = table.iter().map(|row| row.suite).collect();
    suites.dedup();
    let mut summary = String::new();
    for suite in suites.into_iter().chain(["all"]) {
        let rows = || table.iter().filter(|row| suite == "all" || row.suite == suite);
        let count = |scored, verdict| {
            rows().filter(|row| (row.scored, row.verdict) == (scored, verdict)).count()
        };
        let [passed, warned, failed] = ALL.map(|verdict| count(true, verdict));
        let [fine, odd, wrong] = ALL.map(|verdict| count(false, verdict));
        let rest = fine + odd + wrong;
        println!("{suite:16} {passed:6} {warned:6} {failed:6} {rest:8} ({fine}, {odd}, {wrong})");
        summary = format!(
            "{passed} passed, {warned} warned, {failed} failed, {rest} not scored ({wrong} failed)"
        );
    }
    for row in table.iter().filter(|row| row.verdict != Verdict::Pass) {
        let Row { id, seen, verdict, .. } = row;
        let mut named = WARNED.iter().chain(&DECLINED);
        let why = named.find(|(named, _)| named == id).map_or("", |(_, why)| why);
        let scored = if row.scored { "scored" } else { "not scored" };
        println!("{verdict:?}, {scored}: {id} was answered {seen}. {why}");
    }
    summary
}

const ALL: [Verdict; 3] = [Verdict::Pass, Verdict::Warn, Verdict::Fail];

/// An incomplete request must not get 408 while the suite still listens.
#[test]
fn what_is_unfinished_is_awaited_for_longer_than_the_suite_waits() {
    let limits = Limits::default();
    assert!(limits.header_timeout > SUITE_WAITS, "{:?}", limits.header_timeout);
    assert!(limits.rate_grace >= SUITE_WAITS, "{:?}", limits.rate_grace);
}
