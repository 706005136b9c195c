//! Row L7: mistakes in `[[site]]`, each named by its place; and what `check` shows of sites.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::process::{Command, Output};

use harness::TempDir;
use harness::process::RINGWAY;

/// A folder with `ringway.toml`, and a root `a` with a page.
fn folder(sites: &str) -> TempDir {
    let dir = TempDir::with(&[("a/index.html", b"a"), ("a/404.html", b"no")]);
    let head = "http = \"127.0.0.1:0\"\nhttps = \"127.0.0.1:0\"\nworkers = 1\n";
    dir.write("ringway.toml", format!("{head}{sites}\n").as_bytes());
    dir
}

fn check(dir: &TempDir, more: &[&str]) -> Output {
    let mut command = Command::new(RINGWAY.unwrap());
    command.args(["check", "-c"]).arg(dir.path().join("ringway.toml")).args(more);
    command.output().unwrap()
}

/// What is written from line 4 on, and what is said of it.
const MISTAKES: &[(&str, &str)] = &[
    ("[[site]]\nhosts = [\"a.test\"]", "4:1: `site`: `root` is missing"),
    ("[[site]]\nroot = \"a\"\nhost = []", "6:1: `site`: unknown key `host`; did you mean `hosts`"),
    (
        "[[site]]\nroot = \"a\"\nhosts = [\"b.test\", \"a.test:80\"]",
        "6:20: `site`: `hosts`: expected a host like \"www.example.com\" or \
             \"*.example.com\", found \"a.test:80\"; did you mean \"a.test\"",
    ),
    ("[[site]]\nroot = \"no\"", "5:8: `root`: "),
    (
        "[[site]]\nroot = \"a\"\nhosts = [\"a.test\"]\n[[site]]\nroot = \"a\"\nhosts = [\"A.test.\"]",
        "9:9: `hosts`: \"a.test\" is a host of the site of ",
    ),
    (
        "[[site]]\nroot = \"a\"\n[[site]]\nroot = \"a\"",
        "6:1: two sites without `hosts`: only one can answer for all other hosts",
    ),
    (
        "files.browse = true\n[[site]]\nroot = \"a\"",
        "4:7: `files.browse` beside [[site]]: write `browse` into a [[site]], without `hosts` \
             for the default one",
    ),
    (
        "unknown_host = \"404\"\n[[site]]\nroot = \"a\"",
        "4:1: `unknown_host`: the site without `hosts` answers for all other hosts",
    ),
    (
        "unknown_host = \"404\"",
        "4:1: `unknown_host`: without [[site]] all hosts get the same files",
    ),
    (
        "unknown_host = \"drop\"",
        "4:16: `unknown_host`: expected one of 421, 404, close, found \"drop\"",
    ),
    (
        "limits.sites = 1\n[[site]]\nroot = \"a\"\n[[site]]\nroot = \"a\"\nhosts = [\"a.test\"]",
        "7:1: 2 sites are more than `limits.sites` allows: 1",
    ),
    (
        "limits.site_hosts = 1\n[[site]]\nroot = \"a\"\nhosts = [\"a.test\", \"b.test\"]",
        "7:9: 2 hosts of a site are more than `limits.site_hosts` allows: 1",
    ),
    (
        "limits.site_rules = 1\n[[site]]\nroot = \"a\"\nheaders = { x-a = \"1\", x-b = \"2\" }",
        "7:11: 2 rules of a site are more than `limits.site_rules` allows: 1",
    ),
    (
        "[[site]]\nroot = \"a\"\ncleartext = \"redirects\"",
        "6:13: `site`: `cleartext`: expected one of redirect, serve, 421, found \"redirects\"; \
             did you mean \"redirect\"",
    ),
    (
        "[[site]]\nroot = \"a\"\nredirect = [{ from = \"/a/*\", to = \"/a/b/$1\" }]",
        "6:12: `redirect`: from /a/x it goes on without end",
    ),
    (
        "[[site]]\nroot = \"a\"\nredirect = [{ from = \"/a\", to = \"/b\" }, { from = \"/b\", to = \"/a\" }]",
        "6:12: `redirect`: from /a it goes on without end",
    ),
    (
        "[[site]]\nroot = \"a\"\nredirect = [{ from = \"/a\", to = \"//b\" }]",
        "6:33: `site`: `redirect`: `to`: \"//b\" would lead to another host; did you mean \"https://b\"",
    ),
    (
        "[[site]]\nroot = \"a\"\nredirect = [{ from = \"/a\", to = \"/b\", status = 200 }]",
        "6:48: `site`: `redirect`: `status`: 200 is no redirect: 301, 302, 303, 307 or 308",
    ),
    (
        "[[site]]\nroot = \"a\"\nanswer = [{ path = \"/a\", status = 301 }]",
        "6:35: `site`: `answer`: `status`: 301 leads nowhere; did you mean `redirect`",
    ),
    (
        "[[site]]\nroot = \"a\"\nrewrite = [{ from = \"/a/*/*\", to = \"/b\" }]",
        "6:21: `site`: `rewrite`: `from`: \"/a/*/*\" has more than one `*`",
    ),
    (
        "[[site]]\nroot = \"a\"\nerrors = { \"44\" = \"x\" }",
        "6:12: `site`: `errors`: \"44\" is no status of an error: \"404\", \"4xx\", \"5xx\"",
    ),
    ("[[site]]\nroot = \"a\"\nerrors = { \"404\" = \"no.html\" }", "6:10: `errors`: "),
    (
        "[[site]]\nroot = \"a\"\nfallback = \"../x\"",
        "6:12: `site`: `fallback`: expected a file below",
    ),
    (
        "[[site]]\nroot = \"a\"\nheaders = { cache-control = \"no-store\" }",
        "6:13: `site`: `headers`: `cache-control` is made by the server itself; did you mean \
             the site's `cache`",
    ),
    (
        "[[site]]\nroot = \"a\"\nheaders = { referrer-policy = \"\" }",
        "6:11: `headers`: no preset of the site sets `referrer-policy`; did you mean \
             `preset = [\"secure\"]`",
    ),
    (
        "[[site]]\nroot = \"a\"\nextensions = [\".html\"]",
        "6:15: `site`: `extensions`: expected an extension",
    ),
];

/// Every mistake is named by its place, with what is wrong and what to write instead.
#[test]
fn l7_mistakes_have_their_place() {
    let mut wrong = Vec::new();
    for (text, wanted) in MISTAKES {
        let dir = folder(text);
        let said = check(&dir, &[]);
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        if !said.contains(&format!("ringway.toml:{wanted}")) {
            wrong.push(format!("{said}{wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let dir = folder("[[site]]\nroot = \"a\"");
    let mut command = Command::new(RINGWAY.unwrap());
    command.args(["serve", "a", "-c", "ringway.toml"]).current_dir(dir.path());
    let said = String::from_utf8_lossy(&command.output().unwrap().stderr).into_owned();
    assert!(said.contains("a: `files.root` beside [[site]]"), "{said}");
}

/// Every key of a site, as a file has it.
const DRESSED: &str = r#"
[[site]]
root = "a"
cleartext = "serve"
extensions = ["html", "htm"]
fallback = "index.html"
index = "index.html"
precompressed = false
rewrite = [{ from = "/now/*", to = "/$1" }]
errors = { "404" = "404.html", "4xx" = "404.html", "5xx" = "404.html" }
preset = ["secure", "isolated"]
headers = { x-robots-tag = "all", referrer-policy = "", x-frame-options = "DENY" }
cache = [{ path = "/_static/*", value = "max-age=31536000, immutable" }, { path = "/none/*", value = "" }]
answer = [{ path = "/busy", status = 503 }, { path = "/gone", status = 410 }]
redirect = [{ from = "/moved", to = "/" }]
types = { odd = "text/x-odd" }
expires = true
browse = true
"#;

/// `check` says what is served, and `check --print` what a file would say, with the fields of
/// presets.
#[test]
fn l4_check_shows_sites() {
    let dir = folder(&format!("{DRESSED}[[site]]\nhosts = [\"a.test\"]\nroot = \"a\"\n"));
    let said = check(&dir, &[]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("  all other hosts: ") && said.contains("  a.test: "), "{said}");
    let printed = check(&dir, &["--print"]).stdout;
    let text = String::from_utf8_lossy(&printed).into_owned();
    assert!(text.contains("#   preset \"secure\": x-content-type-options: nosniff"), "{text}");
    dir.write("ringway.toml", &printed);
    let again = check(&dir, &["--print"]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("site = "));
        lines.map(|line| line.rsplit_once(" # ").unwrap().0.trim_end().to_owned()).collect()
    };
    let again = String::from_utf8_lossy(&again.stdout).into_owned();
    assert_eq!(values(&again), values(&text));
    assert_eq!(values(&text).len(), 1);
}
