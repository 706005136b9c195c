//! Rows L4 and A13: who may ask a site, how often and with how much, over every protocol: `access`,
//! `rate`, `auth` and `body_bytes`, and the order in which they are checked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::TempDir;
use harness::process::{Process, RINGWAY};
use harness::site::{Answer, clear, folder, h1, h1_text, secure, serve, with_body};
use harness::tls;

/// The cost and the salt of a hash.
const ANN: &str = "$2b$04$abcdefghijklmnopqrstuu";
const FILES: &[(&str, &str)] =
    &[("a/index.html", "site a"), ("a/in/x", "inside"), ("a/401.html", "who are you?")];

fn every_get(server: &Process, host: &str, path: &str, more: &[(&str, &str)]) -> Vec<Answer> {
    let request = h1_text("GET", path, host, more);
    let mut all = vec![h1(tls::tcp(server.http()), "h1", &request)];
    all.extend(secure(server, "GET", host, path, more));
    all
}

fn basic(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(user))
}

/// Runs `ringway hash-password` with this line on its standard input.
fn hash_password(line: &str) -> Output {
    let mut command = Command::new(RINGWAY.unwrap());
    command.arg("hash-password").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn hash(password: &str) -> String {
    let output = hash_password(&format!("{password}\n"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// The first rule that matches path and address decides; addresses of both families.
#[test]
fn l4_access_by_address() {
    let sites = r#"
[[site]]
root = "a"
cleartext = "serve"
access = [
    { path = "/in/*", deny = ["127.0.0.0/8", "::1"] },
    { path = "/*.html", allow = ["10.0.0.0/8", "2001:db8::/32"] },
    { path = "/*.html", deny = ["all"] },
    { allow = ["127.0.0.1"] },
    { deny = ["all"] },
]
headers = { x-a = "1" }
"#;
    let dir = folder(sites, FILES);
    let server = serve(&dir);
    for (path, status) in [
        ("/", 200),
        ("/in/x", 403),
        ("//in//x", 403),
        ("/%69n/./x", 403),
        ("/in/../in/x", 403),
        ("/index.html", 403),
        ("/IN/x", 404),
    ] {
        for answer in every_get(&server, "a.test", path, &[]) {
            assert_eq!(answer.status, status, "{}: {path}", answer.way);
            assert_eq!(answer.field("x-a"), Some("1"), "{}: {path}", answer.way);
        }
    }
    for answer in secure(&server, "POST", "a.test", "/in/x", &[]) {
        assert_eq!(answer.status, 403, "{}: before the method is looked at", answer.way);
    }
}

/// Requests beyond a rate get 429 with Retry-After, by address or by the value of a field; which of
/// the protocols they came by does not matter.
#[test]
fn l4_a13_rates_by_address_and_by_field() {
    let sites = r#"
[[site]]
hosts = ["a.test"]
root = "a"
cleartext = "serve"
rate = { requests = 5, per = "30d" }
[[site]]
hosts = ["b.test"]
root = "a"
cleartext = "serve"
rate = [{ path = "/in/*", requests = 3, per = "1h", field = "x-api-key" }]
"#;
    let dir = folder(sites, FILES);
    let server = serve(&dir);
    let statuses: Vec<u16> = (0..2)
        .flat_map(|_| every_get(&server, "a.test", "/", &[]))
        .map(|answer| answer.status)
        .collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429, 429]);
    for answer in every_get(&server, "a.test", "/none", &[]) {
        assert_eq!(answer.status, 429, "{}", answer.way);
        let after: u64 = answer.field("retry-after").unwrap().parse().unwrap();
        // A fifth of thirty days, less what has passed.
        assert!((518_000..=518_400).contains(&after), "{after}");
        assert!(answer.field("ratelimit-policy").unwrap().contains("q=5"), "{}", answer.way);
    }
    for key in ["one", "two"] {
        let more = [("x-api-key", key)];
        let answers = every_get(&server, "b.test", "/in/x", &more);
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [200, 200, 200, 429], "{key}");
    }
    let statuses: Vec<u16> =
        every_get(&server, "b.test", "/in/x", &[]).iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 200, 429], "without the field, by address");
    for answer in every_get(&server, "b.test", "/", &[]) {
        assert_eq!(answer.status, 200, "{}: another path", answer.way);
    }
}

/// Names and passwords, inline and from a file, with hashes of `ringway hash-password` and of
/// Apache's `htpasswd`.
#[test]
fn l4_a13_names_and_passwords() {
    let (ann, bob) = (hash("correct horse"), hash("é:x"));
    // What libcrypt, and so `htpasswd -B`, makes of "secret".
    let carl = "$2y$04$5rjZ5u4EYFUPsgT7pgUXweiyuISr/vaPoyZYFK6EtvaBRtggMr4IK";
    let sites = format!(
        r#"
[[site]]
hosts = ["a.test"]
root = "a"
cleartext = "serve"
auth = [{{ path = "/in/*", realm = "the \"in\"", users = {{ ann = "{ann}", bob = "{bob}" }} }}]
errors = {{ "401" = "401.html" }}
[[site]]
hosts = ["b.test"]
root = "a"
cleartext = "serve"
auth = {{ file = "users" }}
"#
    );
    let dir = folder(&sites, FILES);
    dir.write("users", format!("# staff\n\ncarl:{carl}\nann:{ann}\n").as_bytes());
    dir.write("a/.well-known/acme-challenge/token", b"key");
    let server = serve(&dir);
    for (host, path, user, status) in [
        ("a.test", "/", "", 200),
        ("a.test", "/in/x", "", 401),
        ("a.test", "/in/x", "ann:correct horse", 200),
        ("a.test", "/in/x", "ann:correct horse", 200),
        ("a.test", "/in/x", "bob:é:x", 200),
        ("a.test", "/in/x", "ann:correct", 401),
        ("a.test", "/in/x", "ann:", 401),
        ("a.test", "/in/x", "Ann:correct horse", 401),
        ("a.test", "/in/x", "carl:secret", 401),
        ("a.test", "/in/x", "nobody", 401),
        ("a.test", "//%69n/x", "", 401),
        ("a.test", "/in/none", "", 401),
        ("b.test", "/", "", 401),
        ("b.test", "/", "carl:secret", 200),
        ("b.test", "/in/x", "ann:correct horse", 200),
        ("b.test", "/in/x", "bob:é:x", 401),
        ("b.test", "/.well-known/acme-challenge/token", "", 200),
        ("b.test", "/.well-known/acme-challenge/../../in/x", "", 401),
    ] {
        let credentials = basic(user);
        let given = [("authorization", credentials.as_str())];
        let given = if user.is_empty() { &[][..] } else { &given[..] };
        for answer in every_get(&server, host, path, given) {
            assert_eq!(answer.status, status, "{}: {host}{path} {user}", answer.way);
            if status == 401 {
                let realm = if host == "a.test" { "the \\\"in\\\"" } else { "ringway" };
                let challenge = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
                assert_eq!(answer.field("www-authenticate"), Some(&*challenge));
                let body = if host == "a.test" { "who are you?" } else { "Unauthorized" };
                assert_eq!(answer.body, body);
            }
        }
    }
    for wrong in ["Basic", "Basic !!!", "Bearer x", "Basic a:b"] {
        for answer in every_get(&server, "b.test", "/", &[("authorization", wrong)]) {
            assert_eq!(answer.status, 401, "{}: {wrong}", answer.way);
        }
    }
}

/// Guesses wait for a thread of their own, few at once; who is known passes them by.
#[test]
fn l4_guesses_hold_nobody_up() {
    let ann = hash("right");
    // A guess takes a good part of a second of a CPU, whatever the name.
    let slow = format!("$2b$12${}", ".".repeat(53));
    let sites = format!(
        "[[site]]\nroot = \"a\"\ncleartext = \"serve\"\nauth = {{ users = {{ ann = \"{ann}\", \
         slow = \"{slow}\" }} }}\n"
    );
    let dir = folder(&sites, FILES);
    let server = serve(&dir);
    let right = basic("ann:right");
    let right = [("authorization", right.as_str())];
    assert_eq!(secure(&server, "GET", "a.test", "/", &right)[0].status, 200);
    let guesses: Vec<_> = (0..12)
        .map(|at| {
            let mut stream = tls::tcp(server.http());
            let guess = basic(&format!("slow:{at}"));
            let text = h1_text("GET", "/", "a.test", &[("authorization", &guess)]);
            stream.write_all(text.as_bytes()).unwrap();
            stream
        })
        .collect();
    for answer in every_get(&server, "a.test", "/", &right) {
        assert_eq!(answer.status, 200, "{}", answer.way);
    }
    let statuses: Vec<u16> =
        guesses.into_iter().map(|stream| h1(stream, "h1", "").status).collect();
    let of = |status: u16| statuses.iter().filter(|other| **other == status).count();
    assert_eq!(of(401) + of(429), 12, "{statuses:?}");
    assert!(of(401) >= 4 && of(429) >= 1, "{statuses:?}");
}

/// A body that is too large is 413, with its length announced or not.
#[test]
fn l4_a13_bodies_have_a_limit() {
    let sites = "[[site]]\nroot = \"a\"\ncleartext = \"serve\"\nbody_bytes = 1000\n";
    let dir = folder(sites, FILES);
    let server = serve(&dir);
    for (len, status) in [(1, 405), (1000, 405), (1001, 413), (9000, 413)] {
        let body = vec![b'x'; len];
        for answer in with_body(&server, "POST", "a.test", "/", &[], &body) {
            assert_eq!(answer.status, status, "{}: {len}", answer.way);
        }
        let chunked = format!("{len:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(len));
        let head = h1_text("PUT", "/", "a.test", &[("transfer-encoding", "chunked")]);
        let answer = h1(tls::tcp(server.http()), "h1", &format!("{head}{chunked}"));
        assert_eq!(answer.status, status, "chunked: {len}");
    }
    let head = h1_text("POST", "/", "a.test", &[("content-length", "1001")]);
    let mut stream = tls::tcp(server.http());
    stream.write_all(head.as_bytes()).unwrap();
    let mut said = [0; 12];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"HTTP/1.1 413", "before the body comes");
}

/// cleartext, access, rate, auth, body, answer, redirect, file: each check is before the next.
#[test]
fn l4_the_order_of_checks() {
    let ann = hash("right");
    let site =
        |host: &str, more: &str| format!("[[site]]\nhosts = [\"{host}\"]\nroot = \"a\"\n{more}\n");
    let denied = "access = [{ deny = [\"all\"] }]";
    let spent = "rate = { path = \"/spent\", requests = 1, per = \"30d\" }";
    let auth = format!("auth = {{ users = {{ ann = \"{ann}\" }} }}");
    let body = "body_bytes = 3";
    let rules = "answer = [{ path = \"/spent\", status = 410 }]\n\
                 redirect = [{ from = \"/spent\", to = \"/x\" }, { from = \"/old\", to = \"/x\" }]";
    let all = [
        site("a.test", &format!("cleartext = \"421\"\n{denied}\n{spent}\n{auth}\n{body}\n{rules}")),
        site("b.test", &format!("cleartext = \"serve\"\n{spent}\n{auth}\n{body}\n{rules}")),
    ];
    let dir = folder(&all.concat(), FILES);
    let server = serve(&dir);
    assert_eq!(clear(&server, "a.test", "/spent").status, 421, "cleartext");
    let right = basic("ann:right");
    let right = [("authorization", right.as_str())];
    let post = |host: &str, path: &str, more: &[(&str, &str)]| -> Vec<u16> {
        let answers = with_body(&server, "POST", host, path, more, b"12345");
        answers.iter().map(|answer| answer.status).collect()
    };
    assert_eq!(post("a.test", "/spent", &[]), [403; 3], "access before all others");
    assert_eq!(post("b.test", "/old", &[]), [401; 3], "auth before body");
    assert_eq!(post("b.test", "/old", &right), [413; 3], "body before rules");
    assert_eq!(post("b.test", "/spent", &right), [413, 429, 429], "rate before body");
    assert_eq!(post("b.test", "/spent", &[]), [429; 3], "rate before auth");
    for answer in secure(&server, "GET", "b.test", "/old", &right) {
        assert_eq!(answer.status, 308, "{}", answer.way);
    }
}

fn check(dir: &TempDir, more: &[&str]) -> (bool, String) {
    let mut command = Command::new(RINGWAY.unwrap());
    command.args(["check", "-c"]).arg(dir.path().join("ringway.toml")).args(more);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    (output.status.success(), text.replace(&format!("{}/", dir.path().display()), ""))
}

/// A line of a site, and what is said of it.
const MISTAKES: &[(&str, &str)] = &[
    (
        "access = { deny = [\"10.0.0.1/8\"] }",
        "6:20: `site`: `access`: `deny`: \"10.0.0.1/8\" has bits behind the first 8; \
             did you mean \"10.0.0.0/8\"",
    ),
    ("access = [{ path = \"/\" }]", "6:11: `site`: `access`: `allow` or `deny` is missing"),
    (
        "access = [{ allow = [], deny = [] }]",
        "6:11: `site`: `access`: `allow` and `deny` in one rule",
    ),
    (
        "rate = { requests = 0, per = \"1s\" }",
        "6:21: `site`: `rate`: `requests`: 0 is out of range",
    ),
    (
        "rate = { requests = 1, per = 1 }",
        "6:30: `site`: `rate`: `per`: expected a duration like \"10s\"",
    ),
    (
        "rate = { requests = 1000000, per = \"1s\" }",
        "6:21: `site`: `rate`: `requests`: at most 100,000 a second",
    ),
    (
        "rate = { requests = 1, per = \"31d\" }",
        "6:30: `site`: `rate`: `per`: a time is out of range",
    ),
    (
        "rate = { requests = 1, per = \"1s\", field = \"a b\" }",
        "6:44: `site`: `rate`: `field`: \"a b\" is no name of a field",
    ),
    ("body_bytes = \"1k\"", "6:14: `site`: `body_bytes`: expected a size like \"64KiB\""),
    (
        "auth = { users = { ann = \"secret\" } }",
        "6:26: `site`: `auth`: `users`: expected a bcrypt hash",
    ),
    (
        "auth = { users = { ann = \"$2b$31$secret\" } }",
        "6:26: `site`: `auth`: `users`: expected a bcrypt hash",
    ),
    (
        "auth = { realm = \"é\", users = { ann = \"HASH\" } }",
        "6:18: `site`: `auth`: `realm`: \"é\" is not printable ASCII",
    ),
    (
        "auth = { users = { \"a:b\" = \"HASH\" } }",
        "6:20: `site`: `auth`: `users`: \"a:b\" is no name",
    ),
    ("auth = { realm = \"x\" }", "6:8: `site`: `auth`: no `users`: nobody could be let in"),
    ("auth = { file = \"none\" }", "6:17: `site`: `auth`: none cannot be opened"),
    ("auth = { file = \"bad\" }", "6:17: `site`: `auth`: bad:2: expected a bcrypt hash"),
    (
        "auth = { file = \"twice\", users = { ann = \"HASH\" } }",
        "6:17: `site`: `auth`: twice:1: \"ann\" is there twice",
    ),
    ("auth = { file = \"a\" }", "6:17: `site`: `auth`: a is no file of users"),
];

/// Mistakes are named by their place, and no hash or password is repeated, by `check --print` as by
/// a mistake.
#[test]
fn l7_mistakes_of_policies() {
    let ann = format!("{ANN}{}", "a".repeat(31));
    let mut wrong = Vec::new();
    for (text, wanted) in MISTAKES {
        let text = text.replace("HASH", &ann);
        let dir = folder(&format!("[[site]]\nroot = \"a\"\n{text}\n"), FILES);
        dir.write("bad", format!("ann:{ann}\nbob:$apr1$secret\n").as_bytes());
        dir.write("twice", format!("ann:{ann}\n").as_bytes());
        let (fine, said) = check(&dir, &[]);
        if fine || !said.contains(&format!("ringway.toml:{wanted}")) || said.contains("secret") {
            wrong.push(format!("{said}{wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let auth = format!("auth = {{ realm = \"x\", users = {{ ann = \"{ann}\" }} }}");
    let dir = folder(&format!("[[site]]\nroot = \"a\"\ncleartext = \"serve\"\n{auth}\n"), FILES);
    let (fine, said) = check(&dir, &["--print"]);
    assert!(fine && said.contains("users = { \"ann\" = \"hidden\" }"), "{said}");
    assert!(!said.contains(&ann), "{said}");
    let (fine, said) = check(&dir, &[]);
    let wanted = "warning: ringway.toml:7:8: `auth` of all other hosts: passwords are sent in the \
                  clear, for `cleartext` is \"serve\"";
    assert!(fine && said.contains(wanted), "{said}");
}

/// `ringway hash-password` takes a line, and says why it does not take it.
#[test]
fn l7_hash_password() {
    let (one, two) = (hash("same"), hash("same"));
    assert!(one.starts_with("$2b$10$") && one.len() == 60 && one != two, "salted: {one} {two}");
    for (line, wanted) in [
        ("\n", "no password"),
        ("", "no password"),
        ("a\tb\n", "control characters"),
        (&*"x".repeat(73), "72 bytes at most"),
    ] {
        let output = hash_password(line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(wanted), "{line} {said}");
        assert!(output.stdout.is_empty());
    }
}
