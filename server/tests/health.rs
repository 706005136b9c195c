//! `/livez` and `/readyz`, the order in which a server leaves, and `ringway health` (row L23 of the
//! feature list).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use harness::client::Client;
use harness::h2::H2;
use harness::process::{Process, RINGWAY};
use harness::quic::H3;
use harness::{TempDir, eventually};
use ringway::{Request, Response, Router, Server};

const LISTEN: [&str; 4] = ["--health", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];

fn site() -> TempDir {
    TempDir::with(&[("index.html", b"home")])
}

/// Exit code, standard output and standard error of `ringway health`.
fn asked(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new(RINGWAY.unwrap());
    command.arg("health").args(arguments).envs(environment.iter().copied());
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn status(server: &Process, kind: &str, path: &str) -> u16 {
    Client::connect(server.at(kind)).get(path).status
}

/// L23: both questions on both listeners, and nothing else on that of health.
#[test]
fn l23_livez_and_readyz_and_nothing_else() {
    let site = site();
    let server = Process::serve(site.path(), &LISTEN);
    server.wait_for("health,metrics");
    for kind in ["health", "metrics"] {
        let mut client = Client::connect(server.at(kind));
        let live = client.get("/livez");
        assert_eq!((live.status, live.text()), (200, "every worker turns\n"));
        assert_eq!(live.field("cache-control"), Some("no-store"));
        let ready = client.get("/readyz");
        assert_eq!((ready.status, ready.text()), (200, "it serves\n"));
        assert_eq!(client.request("HEAD", "/readyz", "", b"").status, 200);
        let posted = client.request("POST", "/livez", "", b"x");
        assert_eq!((posted.status, posted.field("allow")), (405, Some("GET, HEAD")));
    }
    for path in ["/", "/metrics", "/stats.json", "/index.html", "/livez/", "/events"] {
        assert_eq!(status(&server, "health", path), 404, "{path}");
    }
    assert_eq!(
        status(&server, "metrics", "/metrics"),
        421,
        "its own rules stand: not for this host"
    );
    assert_eq!(status(&server, "http", "/livez"), 404, "not among the files");
}

/// L23: a stuck worker is named, and one that turns again is forgiven.
#[test]
fn l23_a_stuck_worker_is_not_alive() {
    let dir = TempDir::new();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["blocking_app", "--exact", "--ignored", "--nocapture"]);
    let server = Process::start(command.env("RINGWAY_TEST_FIFO", &fifo));
    let at = server.at("health").to_string();
    assert_eq!(asked(&[&at], &[]).0, 0);
    let mut stuck = server.client();
    stuck.send("GET /block HTTP/1.1\r\nHost: test\r\n\r\n");
    // Opening it waits for the handler, which reads until it is closed.
    let open = std::fs::File::options().write(true).open(&fifo).unwrap();
    let (code, out, err) = asked(&[&at], &[]);
    assert_eq!((code, &*out), (1, ""));
    assert!(err.contains("for 5s worker") && err.contains("held up by a handler"), "{err}");
    assert_eq!(asked(&[&at, "--ready"], &[]).0, 0, "the other worker serves");
    drop(open);
    assert_eq!(stuck.response("GET").status, 200);
    let (code, out, _) = asked(&[&at], &[]);
    assert_eq!((code, out), (0, format!("{at}: every worker turns\n")));
}

#[test]
#[ignore = "not a test: the server whose handler blocks"]
fn blocking_app() {
    let fifo = std::env::var_os("RINGWAY_TEST_FIFO").expect("started by a test");
    let block = move |_: &Request<'_>| Response::text(std::fs::read(&fifo).unwrap());
    let app = Router::new().get("/block", block);
    Server::new(app).workers(2).http("127.0.0.1:0").health("127.0.0.1:0").run().unwrap();
}

/// L23: at TERM balancers are told first, and all is served; then doors close, clients are told to
/// go, and the exit code is 0.
#[test]
fn l23_a_server_leaves_in_order() {
    let site = site();
    let delay = ["--https", "127.0.0.1:0", "--set", "lifecycle.drain_delay=4s"];
    let mut server = Process::serve(site.path(), &[&LISTEN[..], &delay].concat());
    server.wait_for("https,h3,health");
    let mut h2 = H2::tls(server.at("https"));
    assert_eq!(h2.get("/").status(), 200);
    server.signal("TERM");
    eventually("balancers are told", || status(&server, "health", "/readyz") == 503);
    assert_eq!(status(&server, "metrics", "/readyz"), 503);
    assert_eq!(status(&server, "health", "/livez"), 200);
    let mut new = server.client();
    let answer = new.get("/");
    assert_eq!((answer.text(), answer.says_close()), ("home", false), "as before");
    assert_eq!(H2::tls(server.at("https")).get("/").text(), "home");
    assert_eq!(H3::connect(server.at("h3")).get("/").text(), "home");
    assert_eq!(h2.get("/").status(), 200);
    assert!(!server.output().contains("draining: "), "{}", server.output());
    let health = server.at("health").to_string();
    let (code, _, err) = asked(&["--ready", &health], &[]);
    assert_eq!((code, err), (1, format!("ringway: {health}: it is about to end\n")));
    eventually("doors close", || TcpStream::connect(server.http()).is_err());
    assert!(server.output().contains("draining: "));
    assert_eq!(h2.end(), Some(0), "GOAWAY with NO_ERROR");
    assert!(server.wait().success());
}

/// L23: a second signal does not wait for balancers.
#[test]
fn l23_a_second_signal_ends_it_at_once() {
    let site = site();
    let mut server = Process::serve(site.path(), &["--set", "lifecycle.drain_delay=10m"]);
    server.signal("TERM");
    eventually("it is said", || server.output().contains("leaving: all is served for 600s"));
    assert_eq!(server.client().get("/").text(), "home");
    server.signal("TERM");
    assert!(server.wait().success());
}

/// L23: whom `ringway health` asks, and what it says.
#[test]
fn l23_the_command_says_what_it_found() {
    let site = site();
    let socket = site.path().join("health").display().to_string();
    let file = site.path().join("r.toml").display().to_string();
    let text = format!("http = [\"127.0.0.1:0\"]\nhealth = \"unix:{socket}\"\n");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(RINGWAY.unwrap());
    command.arg("serve").arg(site.path()).args(["-c", &file, "--workers", "1"]);
    let server = Process::start(&mut command);
    eventually("it is there", || Path::new(&socket).exists());
    let unix = format!("unix:{socket}");
    let lives = format!("{unix}: every worker turns\n");
    assert_eq!(asked(&["-c", &file], &[]), (0, lives.clone(), String::new()));
    assert_eq!(asked(&[], &[("RINGWAY_CONFIG", &file)]).1, lives);
    assert_eq!(asked(&[], &[("RINGWAY_HEALTH", &unix)]).1, lives);
    assert_eq!(asked(&["--ready", &unix], &[]).1, format!("{unix}: it serves\n"));
    let http = server.http().to_string();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (arguments, code, said) in [
        (vec![&*http], 1, "answers 404 to /livez: is it the `health` or `metrics` listener"),
        (vec![&*free.to_string()], 1, "does not answer: Connection refused"),
        (vec!["127.0.0.1"], 2, "the port is missing; did you mean 127.0.0.1:8080"),
        (vec!["fd:3"], 1, "name the address"),
        (vec!["127.0.0.1:0"], 1, "the kernel chose"),
        (vec![], 1, "neither `health` nor `metrics`"),
        (vec!["--raedy"], 2, "did you mean `--ready`"),
    ] {
        let (found, out, err) = asked(&arguments, &[]);
        assert_eq!((found, &*out), (code, ""), "{arguments:?}: {err}");
        assert!(err.contains(said), "{arguments:?}: {err}");
    }
}
