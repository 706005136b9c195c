//! Replacement (USR2): a new process takes over under load, and everything that can go wrong with
//! it leaves the old one serving.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test fails by panicking")]

#[path = "replace/generations.rs"]
mod generations;
mod harness;
#[path = "replace/load.rs"]
mod load;

use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use generations::Generations;
use harness::client::Client;
use harness::process::RINGWAY;
use harness::{TempDir, eventually};
use load::{Load, SIZES, body};

/// A site with the files of the load and a configuration.
fn site(more: &str) -> TempDir {
    let dir = TempDir::new();
    for size in SIZES.into_iter().chain([DOWNLOAD]) {
        dir.write(&format!("site/{size}.bin"), &body(size));
    }
    configure(&dir, more);
    dir
}

const DOWNLOAD: usize = 8 << 20;

fn configure(dir: &TempDir, more: &str) {
    let start = "http = \"127.0.0.1:0\"\nhttps = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n\
                 http3.enabled = false\nfiles.root = \"site\"\n";
    dir.write("ringway.toml", format!("{start}{more}").as_bytes());
}

/// What a run has lost: nothing.
fn nothing_is_lost(load: &mut Load, what: &str) {
    let shared = load.end();
    let notes = shared.notes.lock().unwrap();
    let (requests, handshakes) =
        (shared.requests.load(Ordering::Relaxed), shared.handshakes.load(Ordering::Relaxed));
    println!("{what}: {requests} requests, {handshakes} handshakes, {:?}", notes.retries);
    assert!(notes.lost.is_empty(), "{} lost: {:#?}", notes.lost.len(), notes.lost);
    assert!(requests > 100, "{requests} requests");
}

fn busy(server: &Generations) -> Load {
    let (http, https) = (server.first.at("http"), server.first.at("https"));
    let mut load = Load::new();
    for _ in 0..4 {
        load.add("h1", move |shared| load::h1(http, shared));
    }
    for _ in 0..2 {
        load.add("h2", move |shared| load::h2(https, 8, shared));
    }
    load.add("handshakes", move |shared| load::handshake(https, shared));
    load.add("download", move |shared| load::download(http, DOWNLOAD, 2 << 20, shared));
    load
}

/// Lets the load do some work.
fn work(load: &Load, requests: u64) {
    let before = load.shared.requests.load(Ordering::Relaxed);
    eventually("requests are answered", || {
        load.shared.requests.load(Ordering::Relaxed) >= before + requests
    });
}

fn alive(server: &Generations) -> u64 {
    server.first.metric("ringway_generations")
}

/// L14: three replacements within one drain; downloads that began before each are whole, and each
/// process ends when its last connection has.
#[test]
fn l14_three_generations_finish_what_they_have_begun() {
    let dir = site("workers = 2\nlifecycle.probation = \"500ms\"\n");
    let mut server = Generations::start(&dir, &[]);
    let mut load = busy(&server);
    let mut pids = vec![server.first.pid()];
    let mut downloads = Vec::new();
    for _ in 0..3 {
        work(&load, 200);
        let mut client = Client::with_tiny_window(server.first.at("http"));
        client.send(format!("GET /{DOWNLOAD}.bin HTTP/1.1\r\nHost: test\r\n\r\n"));
        assert!(client.fill(), "it has begun");
        downloads.push(client);
        pids.push(server.replace().unwrap());
    }
    assert_eq!(alive(&server), 4, "a download of each goes on");
    let name = "ringway_replacements_total{result=\"done\"}";
    assert_eq!(server.first.metric(name), 3);
    // A fifth generation would be one too many.
    let refused = server.replace().unwrap_err();
    assert!(refused.contains("lifecycle.generations"), "{refused}");
    assert_eq!(server.newest(), pids[3]);
    work(&load, 200);
    nothing_is_lost(&mut load, "three replacements");
    for client in &mut downloads {
        assert!(client.response("GET").body == body(DOWNLOAD), "a whole download");
        // It was answered before its server knew that it would be replaced.
        client.finish();
    }
    assert!(server.first.wait().success());
    for pid in &pids[1..3] {
        server.ends(*pid);
    }
    assert_eq!(alive(&server), 1);
    // The last one drains as any server does.
    server.signal(pids[3], "TERM");
    server.ends(pids[3]);
}

/// L15: more workers and fewer: no connection that was established or waits is lost.
#[test]
fn l15_workers_come_and_go() {
    let dir = site("workers = 1\nlifecycle.probation = \"200ms\"\n");
    let mut server = Generations::start(&dir, &[]);
    let mut load = busy(&server);
    for workers in [4, 2, 1, 3] {
        work(&load, 200);
        configure(&dir, &format!("workers = {workers}\nlifecycle.probation = \"200ms\"\n"));
        server.replace().unwrap();
        work(&load, 200);
        eventually("room for another generation", || alive(&server) < 4);
    }
    nothing_is_lost(&mut load, "1, 4, 2, 1 and 3 workers");
}

/// L12: whatever goes wrong at any step, the old process serves on and says why; nothing is lost.
#[test]
fn l12_each_fault_leaves_the_old_process_serving() {
    for (fault, words) in [
        ("1", "/nowhere cannot be started: "),
        ("2", "it did not say in time that it had read its configuration"),
        ("3", "it ended before it was ready"),
        ("4", "a worker of this process did not stop reading UDP in time"),
        ("5", "it ended before it served"),
        ("6", "it did not begin to serve in time"),
    ] {
        let dir = site("workers = 2\nlifecycle.start_timeout = \"3s\"\n");
        let mut server = Generations::start(&dir, &[("RINGWAY_FAULT", fault)]);
        let mut load = busy(&server);
        work(&load, 50);
        let why = server.replace().unwrap_err();
        assert!(why.contains(words), "fault {fault}: {why}");
        work(&load, 100);
        assert!(server.first.is_running());
        let failed = "ringway_replacements_total{result=\"failed\"}";
        assert_eq!(server.first.metric(failed), 1);
        nothing_is_lost(&mut load, &format!("fault {fault}"));
    }
}

/// L12: who says that it is ready and dies while it serves is taken back; lost is only what it had
/// accepted itself.
#[test]
fn l12_a_process_that_dies_on_probation_is_taken_back() {
    let dir = site("workers = 2\n");
    let mut server = Generations::start(&dir, &[("RINGWAY_FAULT", "7")]);
    // Connections of the old process, from before.
    let mut old = server.first.client();
    assert_eq!(old.get("/10.bin").body, body(10));
    server.replace().unwrap();
    let why = server.verdict().unwrap_err();
    assert!(why.contains("it ended while it was on probation: this process serves again"), "{why}");
    for _ in 0..20 {
        assert_eq!(server.first.client().get("/10.bin").body, body(10));
    }
    // It was not closed, and is not told to close any more.
    let answer = old.get("/10.bin");
    assert_eq!((answer.says_close(), answer.body), (false, body(10)));
}

/// L12: a configuration with a mistake is the new process's own affair.
#[test]
fn l12_a_new_configuration_with_a_mistake_changes_nothing() {
    let dir = site("workers = 1\n");
    let mut server = Generations::start(&dir, &[]);
    let mut load = busy(&server);
    for (mistake, words) in [
        ("workers = \"many\"\n", "its configuration has a mistake, which it has told"),
        ("workers = 1\ntls.ticket_key = \"/nowhere/tickets\"\n", "/nowhere/tickets"),
        ("workers = 1\nh2c = \"192.0.2.1:0\"\n", "no interface has this address"),
    ] {
        configure(&dir, mistake);
        let why = server.replace().unwrap_err();
        assert!(why.contains(words), "{why}\n{}", server.first.output());
    }
    configure(&dir, "workers = 2\n");
    work(&load, 100);
    server.replace().unwrap();
    work(&load, 100);
    nothing_is_lost(&mut load, "three mistakes");
}

/// L12: the old process may be killed once the new one serves, and TERM ends a process that has
/// been replaced and not its successor.
#[test]
fn l12_the_end_of_a_replaced_process_takes_nobody_with_it() {
    for signal in ["KILL", "TERM"] {
        let dir = site("workers = 1\n");
        let mut server = Generations::start(&dir, &[]);
        let new = server.replace().unwrap();
        server.signal(server.first.pid(), signal);
        server.first.wait();
        for _ in 0..10 {
            assert_eq!(server.first.client().get("/10.bin").body, body(10));
        }
        assert_eq!(alive(&server), 1);
        assert!(server.runs(new), "{signal}");
    }
}

/// TERM while a replacement is under way ends both: what was asked last holds.
#[test]
fn l12_term_during_a_replacement_ends_the_server() {
    let dir = site("workers = 1\n");
    let mut server = Generations::start(&dir, &[("RINGWAY_FAULT", "2")]);
    server.signal(server.first.pid(), "USR2");
    eventually("it starts", || server.first.output().contains("replacing: process "));
    // HUP waits, another USR2 is refused.
    server.signal(server.first.pid(), "USR2");
    let why = server.verdict().unwrap_err();
    assert!(why.contains("is on its way already"), "{why}");
    server.signal(server.first.pid(), "TERM");
    assert!(server.first.wait().success());
    let output = server.first.output();
    let starts = output.lines().find_map(|line| line.split_once("replacing: process "));
    let pid = starts.unwrap().1.split(' ').next().unwrap().parse().unwrap();
    server.ends(pid);
}

/// Sessions resume at the new process: the ticket keys are handed on.
#[test]
fn l11_tickets_of_the_old_process_are_good_at_the_new_one() {
    let dir = site("workers = 2\n");
    let mut server = Generations::start(&dir, &[]);
    let config = std::sync::Arc::new(harness::tls::config(&[b"http/1.1"]));
    let at = server.first.at("https");
    let kind = || {
        use std::io::{Read, Write};
        let mut stream = harness::tls::try_connect(at, config.clone(), "localhost").unwrap();
        stream.write_all(b"GET /10.bin HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
        stream.conn.handshake_kind().unwrap()
    };
    assert_eq!(kind(), rustls::HandshakeKind::Full);
    assert_eq!(kind(), rustls::HandshakeKind::Resumed);
    let pid = server.first.pid();
    server.replace().unwrap();
    server.signal(pid, "TERM");
    server.first.wait();
    let stream = harness::tls::try_connect(at, config, "localhost").unwrap();
    assert_eq!(stream.conn.handshake_kind().unwrap(), rustls::HandshakeKind::Resumed);
}

/// Row 141: what claims to be a hand-over and is none keeps the server from starting, with the
/// reason.
#[test]
fn row_141_who_offers_nonsense_is_not_taken_over_from() {
    let dir = site("workers = 1\n");
    let run = |named: &str, stdin: std::process::Stdio| {
        let mut command = Command::new(RINGWAY.unwrap());
        command.args(["serve", "-c"]).arg(dir.path().join("ringway.toml"));
        let run = command.env("RINGWAY_HANDOVER", named).stdin(stdin).output().unwrap();
        let text = String::from_utf8_lossy(&run.stderr).into_owned();
        (run.status.code(), text)
    };
    for named in ["0", "77", "-1", "x"] {
        let (code, text) = run(named, std::process::Stdio::null());
        assert_eq!(code, Some(1));
        let words = format!("RINGWAY_HANDOVER={named}: it names no socket of a hand-over");
        assert!(text.contains(&words), "{text}");
    }
    let pair = || {
        let kind = socket2::Type::SEQPACKET;
        socket2::Socket::pair(socket2::Domain::UNIX, kind, None).unwrap()
    };
    for (message, words) in [
        (&b""[..], "the old process ended before its offer"),
        (b"nonsense", "a record's length is not that of its message"),
        (b"\x08\0\0\0\0\0", "the old process stopped too early"),
        (b"\x03\0\0\0\0\0", "descriptors that were announced did not come"),
        (b"\x06\0\0\0\0\0", "the old process speaks another version"),
    ] {
        let (here, there) = pair();
        if !message.is_empty() {
            here.send(message).unwrap();
        }
        // What it says is read by nobody; nothing more comes from here.
        here.shutdown(std::net::Shutdown::Write).unwrap();
        let stdin = std::process::Stdio::from(std::os::fd::OwnedFd::from(there));
        let (code, text) = run("0", stdin);
        assert_eq!(code, Some(1));
        assert!(text.contains(words), "{words}: {text}");
        drop(here);
    }
}

#[test]
fn a_listener_on_a_unix_socket_and_on_any_address_is_handed_over() {
    let dir = TempDir::new();
    dir.write("site/10.bin", &body(10));
    let path = dir.path().join("socket");
    let text = format!(
        "http = [\"127.0.0.1:0\", \"127.0.0.1:0\", \":0\", \"unix:{}\"]\nworkers = 3\n\
         files.root = \"site\"\nlifecycle.probation = \"0s\"\n",
        path.display()
    );
    dir.write("ringway.toml", text.as_bytes());
    let mut server = Generations::start(&dir, &[]);
    let listening = |server: &Generations| {
        let output = server.first.output();
        let lines = output.lines().filter(|line| line.starts_with("listening "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    eventually("it listens", || listening(&server).len() == 4);
    server.replace().unwrap();
    server.first.wait();
    eventually("the new one listens", || listening(&server).len() == 8);
    let lines = listening(&server);
    assert_eq!(lines[..4], lines[4..]);
    for line in &lines[..3] {
        let port = line.split(' ').nth(2).unwrap().rsplit(':').next().unwrap();
        let at = format!("127.0.0.1:{port}").parse().unwrap();
        assert_eq!(Client::connect(at).get("/10.bin").body, body(10));
    }
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    std::io::Write::write_all(&mut stream, b"GET /10.bin HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut answer).unwrap();
    assert!(answer.ends_with(&body(10)));
}

/// An idle connection is not cut off: the request that may be on its way is answered.
#[test]
fn an_idle_connection_stays_until_its_next_answer() {
    let dir = site("workers = 1\nlifecycle.probation = \"100ms\"\n");
    let mut server = Generations::start(&dir, &[]);
    let mut client = server.first.client();
    assert!(!client.get("/10.bin").says_close());
    server.replace().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let answer = client.get("/1000.bin");
    assert_eq!((answer.says_close(), answer.body), (true, body(1000)));
    client.expect_end();
    assert!(server.first.wait().success());
}

/// A program that embeds the server is replaced in the same way: uploads and tasks that have begun
/// go on in the process that they began in.
#[test]
fn an_embedded_server_is_replaced_while_uploads_go_on() {
    let mut server = Generations::app("workers=2");
    let upload = |server: &Generations| {
        let mut client = server.first.client();
        client.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello");
        client
    };
    let mut uploads: Vec<Client> = (0..8).map(|_| upload(&server)).collect();
    eventually("they have come", || server.first.client().get("/hello").status == 200);
    let mut slow = server.first.client();
    slow.send("GET /slow/1500 HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("it is at work", || server.first.client().get("/hello").status == 200);
    let new = server.replace().unwrap();
    for client in &mut uploads {
        client.send("world");
        let answer = client.response("POST");
        assert_eq!((answer.text(), answer.says_close()), ("helloworld", true));
        client.expect_end();
    }
    assert_eq!(slow.response("GET").text(), "slow");
    assert!(server.first.wait().success());
    assert_eq!(server.first.client().get("/hello").text(), "hello");
    server.signal(new, "TERM");
    server.ends(new);
}

/// Row 141: a pair that another user has made is not believed, not even where it offers nothing.
#[test]
fn row_141_another_users_hand_over_is_refused() {
    let dir = site("workers = 1\n");
    let script = "import os, socket, subprocess, sys\n\
        os.seteuid(65534)\n\
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n\
        os.seteuid(0)\n\
        sys.exit(subprocess.run(sys.argv[1:], stdin=there).returncode)";
    let mut command = Command::new("python3");
    command.args(["-c", script, RINGWAY.unwrap(), "serve", "-c"]);
    command.arg(dir.path().join("ringway.toml")).env("RINGWAY_HANDOVER", "0");
    let run = command.output().unwrap();
    let text = String::from_utf8_lossy(&run.stderr);
    // Only root can act as another user.
    if text.contains("PermissionError") {
        return;
    }
    assert_eq!(run.status.code(), Some(1), "{text}");
    let words = "cannot replace the running server: RINGWAY_HANDOVER=0: the other side belongs to \
                 user 65534";
    assert!(text.contains(words), "{text}");
}
