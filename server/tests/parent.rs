//! The parent of a server: what it passes on, and what it saves when the server is killed (row L16
//! of the feature list).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::Instant;

use harness::client::Client;
use harness::h2::H2;
use harness::process::{Process, RINGWAY};
use harness::quic::H3;
use harness::{TempDir, eventually, missing};

const ON: [&str; 2] = ["--set", "lifecycle.parent=on"];

fn site() -> TempDir {
    TempDir::with(&[("index.html", b"home")])
}

/// The processes that a process has started.
fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

fn send(pid: u32, signal: &str) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
    assert!(sent.unwrap().success());
}

/// L16: what has queued when the server is killed is answered by the next one, over TCP, TLS and
/// QUIC, and the parent stays.
#[test]
fn l16_what_has_queued_when_the_server_is_killed_is_answered() {
    let site = site();
    let options = ["--https", "127.0.0.1:0", "--set", "workers=2"];
    let mut server = Process::serve(site.path(), &[&ON[..], &options].concat());
    server.wait_for("https,h3");
    let at = ["http", "https", "h3"].map(|kind| server.at(kind));
    let mut killed = Vec::new();
    for pause in ["at once", "in 1s"] {
        let [pid] = children(server.pid())[..] else { panic!("one server") };
        assert!(!killed.contains(&pid) && server.is_running());
        assert_eq!(fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap().count(), 1);
        // A process that is stopped accepts nothing: what connects now queues.
        send(pid, "STOP");
        let state = format!("/proc/{pid}/stat");
        eventually("it is stopped", || fs::read_to_string(&state).unwrap().contains(") T "));
        let mut queued: Vec<Client> = (0..50).map(|_| Client::connect(at[0])).collect();
        for client in &mut queued {
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        let secure = std::thread::spawn(move || H2::tls(at[1]).get("/").text().to_owned());
        let quic = std::thread::spawn(move || H3::connect(at[2]).get("/").text().to_owned());
        let start = Instant::now();
        send(pid, "KILL");
        for client in &mut queued {
            assert_eq!(client.response("GET").text(), "home");
        }
        println!("50 queued connections answered after {:?}, started {pause}", start.elapsed());
        assert_eq!((secure.join().unwrap(), quic.join().unwrap()), ("home".into(), "home".into()));
        let said = format!("started again {pause}, on the same 6 sockets");
        assert!(server.output().contains(&said), "{}", server.output());
        killed.push(pid);
    }
    assert_eq!(["http", "https", "h3"].map(|kind| server.at(kind)), at);
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(std::net::TcpStream::connect(at[0]).is_err());
}

/// L16: signals reach the server, TERM drains it however often it comes to the server itself, and
/// a second one to the parent ends it.
#[test]
fn l16_signals_are_passed_on() {
    let site = site();
    site.write("large.bin", &harness::pattern(64 << 20));
    let mut server = Process::serve(site.path(), &ON);
    let [pid] = children(server.pid())[..] else { panic!("one server") };
    server.signal("QUIT");
    eventually("it reports", || server.output().contains("worker 0: "));
    server.signal("HUP");
    eventually("it reloads", || server.output().contains("the configuration is in use"));
    let mut slow = Client::with_tiny_window(server.http());
    slow.send("GET /large.bin HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("it is at work", || server.client().get("/").status == 200);
    // As a service manager does that tells every process.
    server.signal("TERM");
    send(pid, "TERM");
    eventually("it drains", || server.output().contains("draining: "));
    send(pid, "TERM");
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(server.is_running(), "{}", server.output());
    server.signal("INT");
    assert!(server.wait().success());
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

/// L16: the end of the parent ends the server.
#[test]
fn l16_a_server_does_not_outlive_its_parent() {
    let site = site();
    let server = Process::serve(site.path(), &ON);
    let [pid] = children(server.pid())[..] else { panic!("one server") };
    server.signal("KILL");
    eventually("it ends", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    eventually("its port is free", || TcpListener::bind(server.http()).is_ok());
}

/// L16: a server that cannot start ends the parent with its words and its exit code.
#[test]
fn l16_a_server_that_cannot_start_ends_its_parent() {
    let site = site();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let path = site.path().to_str().unwrap();
    for (options, code) in [
        (vec!["--http", &taken], 1),
        (vec!["--http", "127.0.0.1:0", "--set", "limits.header_bytes=1"], 2),
        (
            vec![
                "--http",
                "127.0.0.1:0",
                "--https",
                "127.0.0.1:0",
                "--cert",
                "none",
                "--key",
                "no",
            ],
            2,
        ),
    ] {
        let run = |parent: &str| {
            let mut command = Command::new(RINGWAY.unwrap());
            let parent = format!("lifecycle.parent={parent}");
            let output = command.args(["serve", path, "--set", &parent]).args(&options).output();
            let output = output.unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let alone = run("off");
        assert_eq!(alone.0, Some(code), "{options:?}: {}", alone.1);
        assert_eq!(run("on"), alone, "{options:?}");
    }
}

/// L16: as process 1 it is the parent without being told, and buries orphans.
#[test]
fn l16_as_process_1_it_reaps() {
    let able = Command::new("unshare").args(["--pid", "--fork", "true"]).output();
    if !able.is_ok_and(|ran| ran.status.success()) {
        return missing("unshare --pid");
    }
    let site = site();
    let (program, path) = (RINGWAY.unwrap(), site.path().display());
    let script = format!("(sleep 0.3 & ) ; exec {program} serve {path} --http 127.0.0.1:0");
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "bash", "-c", &script]);
    let server = Process::start(&mut command);
    assert_eq!(server.client().get("/").text(), "home");
    let [first] = children(server.pid())[..] else { panic!("process 1") };
    eventually("the orphan is buried, and the server lives", || children(first).len() == 1);
    let [pid] = children(first)[..] else { panic!("one server") };
    send(pid, "KILL");
    assert_eq!(server.client().get("/").text(), "home", "by the next one");
}
