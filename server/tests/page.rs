//! The page of the metrics listener: what it shows in a real browser, who is shown nothing, and
//! what it costs the workers. Rows L29 and 150.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::devtools::DevTools;
use harness::h2::H2;
use harness::process::Process;
use harness::quic::H3;
use harness::{TempDir, eventually, missing};
use serde_json::Value;

/// A server with a site and its metrics, with these further options.
fn serve(site: &TempDir, options: &[&str]) -> Process {
    site.write("index.html", b"<h1>hello</h1>");
    let usual = ["--https", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
    let server = Process::serve(site.path(), &[&usual[..], options].concat());
    server.wait_for("https,h3,metrics");
    server
}

/// Requests over each protocol, some of them for what is not there.
fn load(server: &Process) {
    let mut h1 = server.client();
    let mut h2 = H2::tls(server.at("https"));
    let mut h3 = H3::connect(server.at("h3"));
    for _ in 0..20 {
        assert_eq!(h1.get("/").status, 200);
        assert_eq!(h2.get("/").status(), 200);
        assert_eq!(h3.get("/").status(), 200);
    }
    assert_eq!(h1.get("/missing").status, 404);
    assert_eq!(h2.get("/missing").status(), 404);
    h3.close();
}

fn stats(server: &Process) -> Value {
    let answer = Client::connect(server.at("metrics")).get_local("/stats.json");
    assert_eq!(answer.status, 200);
    serde_json::from_str(answer.text()).unwrap()
}

fn answer_to(at: SocketAddr, head: &str) -> harness::client::Response {
    let mut client = Client::connect(at);
    client.send(head);
    client.response(head.split(' ').next().unwrap())
}

/// What is shown of the document, by its place there: `[place, value, text]`.
const FIGURES: &str = "[...document.querySelectorAll('[data-of]')].map(shown => \
    [shown.dataset.of, shown.value, shown.textContent])";

/// Places whose figures go on changing when nobody asks for anything.
const RESTLESS: [&str; 2] = ["process/memory", "process/descriptors"];

/// The figures that the page shows and the document of `/stats.json`, once they are the same.
fn compare(browser: &mut DevTools, server: &Process) -> usize {
    let mut compared = 0;
    let mut differ = String::new();
    let start = Instant::now();
    while start.elapsed() < harness::PATIENCE {
        let shown = browser.evaluate(FIGURES);
        let stats = stats(server);
        (compared, differ) = (0, String::new());
        for row in shown.as_array().unwrap() {
            let [place, value, text] = [0, 1, 2].map(|at| row[at].as_str().unwrap());
            if RESTLESS.contains(&place) {
                continue;
            }
            let figure = stats.pointer(&format!("/{place}")).unwrap();
            let digits: String = text.chars().filter(|c| !"\u{202f} ms".contains(*c)).collect();
            let is_same = match figure.as_f64() {
                Some(figure) => value.parse() == Ok(figure) && digits.parse() == Ok(figure),
                None => value.is_empty() && digits == "–",
            };
            if !is_same {
                differ = format!("{place}: {figure}, shown as {value} and {text}");
            }
            compared += 1;
        }
        if differ.is_empty() && compared > 0 {
            return compared;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{compared} figures compared, not the same: {differ}");
}

/// L29: at each size, dark and light, the page shows the figures of `/stats.json`, and nothing
/// scrolls sideways. The pictures are kept for people to look at.
#[test]
fn alone_l29_the_page_shows_the_figures_at_every_size() {
    let site = TempDir::new();
    let server = serve(&site, &[]);
    let Some(mut browser) = DevTools::start() else { return missing("chromium") };
    browser.open(&format!("http://{}/", server.at("metrics")));
    load(&server);
    eventually("all requests are counted", || stats(&server)["requests"] == 62);
    eventually("the page is live", || {
        browser.evaluate("document.querySelector('#state')?.textContent") == "Live"
    });
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for width in [360, 768, 1440] {
        for scheme in ["light", "dark"] {
            browser.resize(width, scheme);
            let compared = compare(&mut browser, &server);
            assert!(compared >= 30, "{compared} figures");
            let sideways = "document.documentElement.scrollWidth - innerWidth";
            assert!(browser.evaluate(sideways).as_i64().unwrap() <= 0, "{width} {scheme}");
            // Tables may scroll inside their cards, but at these sizes none has to.
            let cut = "[...document.querySelectorAll('.card')].filter(card => \
                card.scrollWidth > card.clientWidth).length";
            assert_eq!(browser.evaluate(cut), 0, "{width} {scheme}");
            let ground = "getComputedStyle(document.body).backgroundColor";
            let ground = browser.evaluate(ground);
            assert_eq!(ground == "rgb(16, 19, 23)", scheme == "dark", "{ground}");
            let picture = kept.join(format!("page-{width}-{scheme}.png"));
            assert!(browser.screenshot(&picture).len() > 10_000);
        }
    }
    assert_eq!(browser.complaints, [""; 0], "nothing is thrown and the policy refuses nothing");
}

/// L29: the charts say what they show to who reads them by keyboard or by ear.
#[test]
fn alone_l29_charts_are_read_without_a_mouse() {
    let site = TempDir::new();
    let server = serve(&site, &[]);
    let Some(mut browser) = DevTools::start() else { return missing("chromium") };
    browser.open(&format!("http://{}/", server.at("metrics")));
    eventually("two readings are drawn", || {
        browser.evaluate("document.querySelectorAll('.plot .area').length").as_u64() > Some(0)
    });
    let plots = browser.evaluate(
        "[...document.querySelectorAll('.plot')].map(plot => \
         [plot.tabIndex, plot.getAttribute('aria-label')])",
    );
    assert_eq!(plots.as_array().unwrap().len(), 9);
    for plot in plots.as_array().unwrap() {
        assert_eq!(plot[0], 0);
        assert!(plot[1].as_str().unwrap().contains("arrow keys"), "{plot}");
    }
    browser.evaluate("document.querySelector('.plot').focus()");
    for key in ["ArrowLeft", "Home", "ArrowRight"] {
        let stroke = serde_json::json!({"type": "keyDown", "key": key});
        browser.call("Input.dispatchKeyEvent", stroke);
    }
    let said = browser.evaluate("document.querySelector('.plot + .unseen').textContent");
    let said = said.as_str().unwrap();
    assert!(["HTTP/1.1", "HTTP/2", "HTTP/3"].iter().all(|name| said.contains(name)), "{said}");
    // What no chart shows yet is said, and each chart has its table.
    let empty = "[...document.querySelectorAll('.empty')].filter(text => !text.hidden).length";
    assert!(browser.evaluate(empty).as_u64() >= Some(1), "latency without answers");
    assert_eq!(browser.evaluate("document.querySelectorAll('.card details table').length"), 11);
    let unnamed = "[...document.querySelectorAll('article')].filter(card => \
        !document.getElementById(card.getAttribute('aria-labelledby'))).length";
    assert_eq!(browser.evaluate(unnamed), 0);
}

/// L29: a paused page keeps what it shows, whatever happens, until it is told to go on.
#[test]
fn alone_l29_a_paused_page_keeps_still() {
    let site = TempDir::new();
    let server = serve(&site, &[]);
    let Some(mut browser) = DevTools::start() else { return missing("chromium") };
    browser.open(&format!("http://{}/", server.at("metrics")));
    let state = "document.querySelector('#state')?.textContent";
    eventually("the page is live", || browser.evaluate(state) == "Live");
    browser.evaluate("document.querySelector('#pause').click()");
    eventually("it says so", || browser.evaluate(state) == "Paused");
    let requests = "document.querySelector('[data-of=requests]').value";
    assert_eq!(server.client().get("/").status, 200);
    eventually("the request is counted", || stats(&server)["requests"] == 1);
    let up = stats(&server)["uptime"].as_u64().unwrap();
    eventually("two seconds go by", || stats(&server)["uptime"].as_u64().unwrap() >= up + 2);
    // Another span shows the same moment.
    browser.evaluate("document.querySelector('input[value=\"60\"]').click()");
    assert_eq!(browser.evaluate(requests), "0");
    browser.evaluate("document.querySelector('#pause').click()");
    eventually("it goes on", || browser.evaluate(requests) == "1");
    assert_eq!(browser.evaluate(state), "Live");
}

/// L29: a page whose server is gone says so, keeps what it has seen, and goes on when one is back.
#[test]
fn alone_l29_a_lost_connection_is_said_and_found_again() {
    let site = TempDir::new();
    let mut server = serve(&site, &[]);
    let at = server.at("metrics");
    let Some(mut browser) = DevTools::start() else { return missing("chromium") };
    browser.open(&format!("http://{at}/"));
    let state = "document.querySelector('#state')?.textContent";
    eventually("the page is live", || browser.evaluate(state) == "Live");
    server.signal("TERM");
    server.wait();
    eventually("the loss is said", || {
        browser.evaluate(state).as_str().is_some_and(|text| {
            text.starts_with("Connection lost, figures of ") && text.ends_with("trying again")
        })
    });
    let requests = "document.querySelector('[data-of=requests]').value";
    assert_eq!(browser.evaluate(requests), "0", "what was seen stays");
    let again = Process::serve(site.path(), &["--metrics", &at.to_string()]);
    again.wait_for("metrics");
    assert_eq!(again.client().get("/").status, 200);
    eventually("the page is live again", || browser.evaluate(state) == "Live");
    eventually("it shows the new server", || browser.evaluate(requests) == "1");
}

/// Row 150: a page of another site gets nothing: neither under a name of its own that leads here
/// (DNS rebinding), nor by a request of its own, nor in a frame.
#[test]
fn row_150_other_sites_get_nothing() {
    let site = TempDir::new();
    let server = serve(&site, &["--set", "metrics_hosts=m.example.com"]);
    let at = server.at("metrics");
    for path in ["/", "/metrics", "/stats.json", "/events", "/page.js"] {
        let ask = |fields: &str| answer_to(at, &format!("GET {path} HTTP/1.1\r\n{fields}\r\n"));
        let rebound = ask("Host: rebound.example.net:9090\r\n");
        assert_eq!(rebound.status, 421, "{path}");
        assert!(
            rebound.text().contains("metrics_hosts = [\"rebound.example.net\"]"),
            "it says how to allow a host: {}",
            rebound.text()
        );
        let host = format!("Host: {at}\r\n");
        let foreign = ask(&format!("{host}Origin: http://evil.example\r\n"));
        let image =
            ask(&format!("{host}Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n"));
        for refused in [foreign, image] {
            assert_eq!(refused.status, 403, "{path}");
            assert!(!refused.text().contains("requests"), "{}", refused.text());
        }
    }
    for host in [at.to_string(), "localhost".into(), "[::1]:1".into(), "m.example.com".into()] {
        let head = format!("GET /stats.json HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(answer_to(at, &head).status, 200, "{host}");
    }
    let page = answer_to(at, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let policy = page.field("content-security-policy").unwrap();
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(!page.text().contains("style=") && !page.text().contains("onclick"));
    assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
}

/// Row 150: a page that another edition of the server has left in a browser is told to load itself
/// again, and gets no figures.
#[test]
fn row_150_a_stale_page_gets_nothing() {
    let site = TempDir::new();
    let server = serve(&site, &[]);
    let at = server.at("metrics");
    let stale = answer_to(at, "GET /events?edition=0123 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(stale.status, 410);
    let page = answer_to(at, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (_, edition) = page.text().split_once("name=\"edition\" content=\"").unwrap();
    let (edition, _) = edition.split_once('"').unwrap();
    let head = format!("HEAD /events?edition={edition} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(answer_to(at, &head).status, 200);
}

/// A client of `/events`, and the status that it got.
fn watch(at: SocketAddr) -> (Client, u16) {
    let mut client = Client::with_tiny_window(at);
    client.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let status = String::from_utf8(head[9..12].to_vec()).unwrap().parse().unwrap();
    (client, status)
}

/// Row 150: as many pages as `limits.metrics_pages` allows are sent figures; a further one is 503,
/// until one of them leaves.
#[test]
fn row_150_pages_are_counted() {
    let site = TempDir::new();
    let server = serve(&site, &["--set", "limits.metrics_pages=2"]);
    let at = server.at("metrics");
    let (mut first, status) = watch(at);
    let (second, other) = watch(at);
    assert_eq!((status, other), (200, 200));
    let (_, refused) = watch(at);
    assert_eq!(refused, 503);
    let mut text = Vec::new();
    eventually("two events", || {
        let mut some = [0; 4096];
        let n = first.stream.read(&mut some).unwrap();
        text.extend_from_slice(&some[..n]);
        text.windows(6).filter(|six| six == b"data: ").count() >= 2
    });
    drop(second);
    eventually("there is room again", || watch(at).1 == 200);
}

/// Row 150: a client that takes nothing is dropped, and its place is free again; memory stays.
#[test]
fn row_150_a_slow_page_is_dropped() {
    let site = TempDir::new();
    let server = serve(&site, &["--set", "limits.metrics_pages=1"]);
    let at = server.at("metrics");
    let (_slow, status) = watch(at);
    assert_eq!(status, 200);
    assert_eq!(watch(at).1, 503);
    eventually("the slow one is dropped", || watch(at).1 == 200);
    assert_eq!(server.client().get("/").status, 200);
}

/// L29: who looks costs the workers nothing: they do the same, and their threads spend the same,
/// whether nobody looks or sixteen do.
#[test]
fn l29_lookers_cost_the_workers_nothing() {
    let site = TempDir::new();
    let server = serve(&site, &[]);
    let at = server.at("metrics");
    let turns = || server.metric("ringway_uring_enter_total");
    let lookers: Vec<_> = (0..16).map(|_| watch(at)).collect();
    assert!(lookers.iter().all(|(_, status)| *status == 200));
    let before = turns();
    std::thread::sleep(Duration::from_secs(3));
    let spent = turns() - before;
    assert!(spent <= 4, "a worker without requests made {spent} turns while sixteen looked");
    drop(lookers);
}

/// L29: what the page tells of the server's life: certificates and their days, the last reload.
#[test]
fn l29_a_reload_is_told() {
    let site = TempDir::new();
    let keys = TempDir::new();
    let path = |name: &str| -> PathBuf { keys.path().join(name) };
    let make = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        keys.write("key.pem", made.signing_key.serialize_pem().as_bytes());
        keys.write("cert.pem", made.cert.pem().as_bytes());
    };
    make();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let files = ["--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let server = serve(&site, &files);
    assert_eq!(stats(&server)["reload"], Value::Null);
    let days = stats(&server)["certificates"][0]["days_left"].as_i64().unwrap();
    assert!(days > 365, "{days}");
    make();
    eventually("the reload is told", || stats(&server)["reload"]["ok"] == true);
    assert_eq!(stats(&server)["reload"]["of"], "certificates");
    assert!(server.metric("ringway_last_reload_success") == 1);
    std::fs::write(&cert, "nothing").unwrap();
    eventually("the refusal is told", || stats(&server)["reload"]["ok"] == false);
    assert!(stats(&server)["reload"]["why"].as_str().unwrap().contains("cert.pem"));
    assert_eq!(server.metric("ringway_last_reload_success"), 0);
}
