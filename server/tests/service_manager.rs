//! What a service manager is told, and what it keeps: the messages of sd_notify(3), the watchdog,
//! and sockets that outlive a restart (row L17 of the feature list). The manager is
//! `clients/service_manager.py`, which does what systemd does for one service.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::Write;
use std::path::Path;
use std::process::Command;

use harness::client::Client;
use harness::h2::H2;
use harness::process::{Process, RINGWAY};
use harness::quic::H3;
use harness::{TempDir, eventually};
use ringway::{Request, Response, Router, Server};

/// A service under a manager with these options.
fn managed(manager: &[&str], service: &str, arguments: &[&str]) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/service_manager.py");
    let mut command = Command::new("python3");
    command.arg(script).args(manager).arg(service).args(arguments);
    command
}

fn site() -> TempDir {
    TempDir::with(&[("index.html", b"home")])
}

/// The messages until now that begin with this.
fn told(server: &Process, beginning: &str) -> Vec<String> {
    let beginning = format!("manager: {beginning}");
    let output = server.output();
    let lines = output.lines().filter(|line| line.starts_with(&beginning));
    lines.map(|line| line["manager: ".len()..].to_owned()).collect()
}

fn until_told(server: &Process, beginning: &str, times: usize) -> Vec<String> {
    eventually(beginning, || told(server, beginning).len() >= times);
    told(server, beginning)
}

/// L17: READY with the status, RELOADING with its time, STOPPING with what the drain may take.
#[test]
fn l17_the_manager_is_told_each_step() {
    for (manager, parent) in [(&["--abstract"][..], "off"), (&[], "auto")] {
        let site = site();
        let parent = format!("lifecycle.parent={parent}");
        let path = site.path().to_str().unwrap();
        let serve = ["serve", path, "--http", "127.0.0.1:0", "--set", &parent];
        let mut server = Process::start(&mut managed(manager, RINGWAY.unwrap(), &serve));
        let ready = until_told(&server, "READY=1", 1).remove(0);
        let address = server.http();
        assert!(ready.contains(&format!("STATUS=serving http {address}")), "{ready}");
        assert_eq!(ready.contains("MAINPID="), parent.ends_with("off"), "a parent stays: {ready}");
        server.signal("HUP");
        until_told(&server, "READY=1", 2);
        let reloading = told(&server, "RELOADING=1");
        let usec = reloading[0].split('|').find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(usec.unwrap().parse::<u64>().unwrap() > 0, "{reloading:?}");
        server.signal("TERM");
        let stopping = until_told(&server, "STOPPING=1", 1).remove(0);
        assert!(stopping.contains("EXTEND_TIMEOUT_USEC=35000000"), "{stopping}");
        assert!(server.wait().success());
        let steps = ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"];
        let lines = server.output();
        let mut rest = &lines[..];
        for step in steps {
            let (_, behind) = rest.split_once(&format!("manager: {step}")).expect(step);
            rest = behind;
        }
    }
}

/// L17: what connects while the service is down waits in the sockets that the manager keeps, on
/// every protocol, at a port that the kernel has chosen; with more workers, and with fewer.
#[test]
fn l17_a_restart_loses_no_queued_connection() {
    let site = site();
    site.write("r.toml", b"http = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\nworkers = 2\n");
    let file = site.path().join("r.toml");
    let path = site.path().to_str().unwrap();
    let serve = ["serve", path, "-c", file.to_str().unwrap()];
    let mut server = Process::start(&mut managed(&[], RINGWAY.unwrap(), &serve));
    server.wait_for("http,https,h3");
    let at = ["http", "https", "h3"].map(|kind| server.at(kind));
    let stored = until_told(&server, "FDSTORE=1", 6);
    assert!(stored.iter().all(|told| told.ends_with("(1 descriptors)")), "{stored:?}");
    let name = stored[0].split('|').find_map(|line| line.strip_prefix("FDNAME=")).unwrap();
    assert!(name.starts_with("ringway/http/127.0.0.1%3a0/0") && !name.contains(':'), "{name}");
    for (round, (signal, workers)) in
        [("USR1", 2), ("USR2", 3), ("USR1", 1), ("USR2", 2)].into_iter().enumerate()
    {
        until_told(&server, "READY=1", round + 1);
        server.signal(signal);
        until_told(&server, "ended with", round + 1);
        let queued: Vec<Client> = (0..40)
            .map(|_| {
                let mut client = Client::connect(at[0]);
                client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
                client
            })
            .collect();
        let secure = std::thread::spawn(move || H2::tls(at[1]).get("/").text().to_owned());
        let quic = std::thread::spawn(move || H3::connect(at[2]).get("/").text().to_owned());
        let text =
            format!("http = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\nworkers = {workers}\n");
        site.write("r.toml", text.as_bytes());
        server.signal("HUP");
        for mut client in queued {
            assert_eq!(client.response("GET").text(), "home");
        }
        assert_eq!((secure.join().unwrap(), quic.join().unwrap()), ("home".into(), "home".into()));
        // All sockets of the group are accepted from, also where they are more than the workers.
        for _ in 0..40 {
            assert_eq!(Client::connect(at[0]).get("/").text(), "home");
        }
    }
    assert_eq!(server.output().matches(&format!("listening http {}", at[0])).count(), 5);
    // A listener that is not wanted any more is given up.
    until_told(&server, "READY=1", 5);
    server.signal("USR1");
    until_told(&server, "ended with", 5);
    site.write("r.toml", b"http = [\"127.0.0.1:0\"]\n");
    server.signal("HUP");
    until_told(&server, "READY=1", 6);
    let given_up = until_told(&server, "FDSTOREREMOVE=1", 2);
    assert!(given_up.iter().any(|told| told.contains("FDNAME=ringway/h3/")), "{given_up:?}");
    assert_eq!(server.client().get("/").text(), "home");
    assert!(std::net::TcpStream::connect(at[1]).is_err(), "nobody keeps it");
    server.signal("TERM");
    assert!(server.wait().success());
}

/// L17: a handler that blocks its worker silences the watchdog until it returns.
#[test]
fn l17_a_stuck_worker_stops_the_watchdog() {
    let dir = TempDir::new();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let this = std::env::current_exe().unwrap();
    let arguments = ["blocking_app", "--exact", "--ignored", "--nocapture"];
    let watched = ["--watchdog", "100000"];
    let mut command = managed(&watched, this.to_str().unwrap(), &arguments);
    let server = Process::start(command.env("RINGWAY_TEST_FIFO", &fifo));
    until_told(&server, "WATCHDOG=1", 3);
    let mut stuck = server.client();
    stuck.send("GET /block HTTP/1.1\r\nHost: test\r\n\r\n");
    // Opening it waits for the handler, which reads until it is closed.
    let mut open = std::fs::File::options().write(true).open(&fifo).unwrap();
    let misses = || server.output().matches("the watchdog is not told that all is well: ").count();
    let first = misses();
    eventually("a message is not answered", || misses() >= first + 2);
    let before = told(&server, "WATCHDOG=1").len();
    eventually("still not", || misses() >= first + 6);
    assert_eq!(told(&server, "WATCHDOG=1").len(), before, "silence");
    open.write_all(b"go on").unwrap();
    drop(open);
    assert_eq!(stuck.response("GET").text(), "go on");
    until_told(&server, "WATCHDOG=1", before + 2);
}

#[test]
#[ignore = "not a test: the server whose handler blocks"]
fn blocking_app() {
    let fifo = std::env::var_os("RINGWAY_TEST_FIFO").expect("started by a test");
    let block = move |_: &Request<'_>| Response::text(std::fs::read_to_string(&fifo).unwrap());
    let app = Router::new().get("/block", block);
    Server::new(app).workers(2).http("127.0.0.1:0").run().unwrap();
}
