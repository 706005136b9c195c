//! A case: what is sent, step by step, and which answers count.
//!
//! An answer's rule is `passes | warns | goes on`, each a list of tokens, tried in that order; what
//! none of them meets fails. A token is a status (`400`, `2xx`, `any`, or `!101` for all others),
//! `close` (the connection ends without an answer) or `silence` (it stays open without one). Behind
//! a status may stand one condition, in which `_` is a space: `=text`, the body is that or the
//! fixed "OK"; `~a,b`, it holds all of these; `!a,b`, it holds none; `+name` and `-name`, the
//! answer has, or has not, this field; `%date`, it has one of the preferred form; `&end`, the
//! connection ends behind it.

use crate::harness::client::Response;

/// The host that is asked for; its value does not matter.
pub const HOST: &str = "Host: localhost:8080\r\n";

/// Must be refused.
pub const REFUSED: &str = "400 close";
/// Better refused; to accept it is allowed.
pub const BETTER_REFUSED: &str = "400 close | 2xx";
/// Must be told what is wrong; to end the connection, or to wait, is second best.
pub const TOLD: &str = "400 | close silence";
/// Not a whole request: to wait for more is as good as to refuse.
pub const UNFINISHED: &str = "400 close silence";

pub struct Case {
    pub id: &'static str,
    pub scored: bool,
    pub steps: Vec<Step>,
}

pub struct Step {
    pub send: Send,
    pub rule: &'static str,
}

pub enum Send {
    Bytes(Vec<u8>),
    /// Made from the answer before.
    After(fn(&Response) -> Vec<u8>),
}

/// What came back for a step.
pub struct Got {
    pub answer: Option<Response>,
    pub ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Warn,
    Fail,
}

/// A scored case of one step.
pub fn case(id: &'static str, bytes: impl Into<Vec<u8>>, rule: &'static str) -> Case {
    Case { id, scored: true, steps: vec![step(bytes, rule)] }
}

/// A scored case of several steps on one connection.
pub fn sequence(id: &'static str, steps: Vec<Step>) -> Case {
    Case { id, scored: true, steps }
}

pub fn step(bytes: impl Into<Vec<u8>>, rule: &'static str) -> Step {
    Step { send: Send::Bytes(bytes.into()), rule }
}

impl Case {
    pub fn unscored(self) -> Self {
        Self { scored: false, ..self }
    }
}

/// A request with this request line, the Host field and these field lines.
pub fn head(line: &str, fields: &str) -> String {
    let end = if fields.is_empty() { "" } else { "\r\n" };
    format!("{line}\r\n{HOST}{fields}{end}\r\n")
}

pub fn get(fields: &str) -> String {
    head("GET / HTTP/1.1", fields)
}

pub fn post(fields: &str, body: &str) -> String {
    head("POST / HTTP/1.1", fields) + body
}

pub fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked", body)
}

/// What an answer comes to; nothing when the next step decides.
pub fn judge(rule: &str, got: &Got) -> Option<Verdict> {
    let mut lists = rule.split('|');
    let mut met = || lists.next().unwrap_or("").split_whitespace().any(|token| meets(token, got));
    match (met(), met(), met()) {
        (true, ..) => Some(Verdict::Pass),
        (_, true, _) => Some(Verdict::Warn),
        (.., true) => None,
        _ => Some(Verdict::Fail),
    }
}

fn meets(token: &str, got: &Got) -> bool {
    let Some(answer) = &got.answer else {
        return if got.ended { token == "close" } else { token == "silence" };
    };
    // The first byte belongs to the status, where it may be a `!`.
    let end = token[1..].find(['=', '~', '!', '+', '-', '%', '&']).map_or(token.len(), |at| at + 1);
    let (status, condition) = token.split_at(end);
    let right_status = match (status.strip_prefix('!'), status.strip_suffix("xx")) {
        (Some(other), _) => answer.status.to_string() != other,
        (_, Some(class)) => answer.status.to_string().starts_with(class),
        _ => status == "any" || answer.status.to_string() == status,
    };
    right_status && (condition.is_empty() || holds(condition, answer, got.ended))
}

fn holds(condition: &str, answer: &Response, ended: bool) -> bool {
    let (kind, text) = condition.split_at(1);
    let words = text.replace('_', " ");
    let body = String::from_utf8_lossy(&answer.body);
    match kind {
        "=" => body == words || body == "OK",
        "~" => words.split(',').all(|word| body.contains(word)),
        "!" => !words.split(',').any(|word| body.contains(word)),
        "+" => answer.field(text).is_some(),
        "-" => answer.field(text).is_none(),
        "%" => answer.field(text).is_some_and(is_imf_fixdate),
        "&" => ended,
        _ => unreachable!("a condition: {condition}"),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7).
fn is_imf_fixdate(text: &str) -> bool {
    let shape = "Aaa, 00 Aaa 0000 00:00:00 GMT".bytes();
    text.len() == shape.len()
        && shape.zip(text.bytes()).enumerate().all(|(at, (want, byte))| match want {
            b'0' => byte.is_ascii_digit(),
            b'A' if at < 26 => byte.is_ascii_uppercase(),
            b'a' => byte.is_ascii_lowercase(),
            _ => byte == want,
        })
}

#[test]
fn rules_tell_answers_apart() {
    let got = |head: &str, ended| {
        let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let answer = Response {
            version: "HTTP/1.1".into(),
            status: head[..3].parse().unwrap(),
            reason: String::new(),
            fields: fields.map(|(name, value)| (name.into(), value.into())).collect(),
            framing: crate::harness::client::Framing::Close,
            body: b"a=1 b=2".to_vec(),
            chunks: Vec::new(),
            trailers: Vec::new(),
        };
        Got { answer: Some(answer), ended }
    };
    let date = "200\nDate: Sun, 06 Nov 1994 08:49:37 GMT";
    let met = ["200", "2xx", "any", "!101", "2xx=a=1_b=2", "2xx~a=1,b=2", "2xx!c=3", "2xx+date"];
    for token in met.into_iter().chain(["200-allow", "2xx%date", "2xx&end"]) {
        assert!(meets(token, &got(date, true)), "{token}");
    }
    let unmet = ["201", "3xx", "!200", "2xx=hello", "2xx~a=1,c=3", "2xx!c=3,b=2", "2xx+allow"];
    for token in unmet.into_iter().chain(["2xx-date", "2xx&end", "close", "silence"]) {
        assert!(!meets(token, &got(date, false)), "{token}");
    }
    assert!(!meets("2xx%date", &got("200\nDate: Sunday, 06-Nov-94 08:49:37 GMT", false)));
    let nothing = |ended| Got { answer: None, ended };
    assert_eq!(judge("400 close | 2xx", &nothing(true)), Some(Verdict::Pass));
    assert_eq!(judge("400 | close silence", &nothing(false)), Some(Verdict::Warn));
    assert_eq!(judge("400 close | 2xx", &nothing(false)), Some(Verdict::Fail));
    assert_eq!(judge("400 || 2xx", &got("204", false)), None);
    assert_eq!(judge("400 || 2xx", &got("500", false)), Some(Verdict::Fail));
}
