//! The access log's readers, from outside: analysers, syslog daemons over each transport, and
//! readers that are slow or gone. And what is left out for them: by status, by path, one of many,
//! queries, addresses, fields.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use harness::process::Process;
use harness::{TempDir, eventually, missing};

const LONG: Duration = Duration::from_secs(60);

/// A served directory, and the settings of a log in `log` beside it.
fn site() -> TempDir {
    TempDir::with(&[("site/a.txt", b"a"), ("site/health", b"ok")])
}

/// A server with these settings beside the format.
fn serve(dir: &TempDir, format: &str, settings: &[&str]) -> Process {
    let mut options = vec!["--log", format];
    settings.iter().for_each(|setting| options.extend(["--set", setting]));
    Process::serve(&dir.path().join("site"), &options)
}

fn file(dir: &TempDir) -> String {
    format!("log.file={}", dir.path().join("log").display())
}

/// Ends the server; its log.
fn end(mut server: Process, dir: &TempDir) -> String {
    server.signal("TERM");
    assert!(server.wait().success());
    std::fs::read_to_string(dir.path().join("log")).unwrap()
}

/// What is between the quotes first: the request.
fn requests(log: &str) -> Vec<&str> {
    log.lines().map(|line| line.split('"').nth(1).unwrap()).collect()
}

#[test]
fn e18_analysers_read_every_line() {
    for (format, theirs) in [("combined", "COMBINED"), ("common", "COMMON")] {
        let dir = site();
        let server = serve(&dir, format, &[&file(&dir)]);
        let mut client = server.client();
        let agent = "User-Agent: Mozilla/5.0 (\"odd\" \\ \u{e9})\r\nReferer: http://x/?a=\"b\"\r\n";
        for target in ["/a.txt", "/a.txt?q=%22&x", "/absent", "/a.txt", "/health"] {
            client.request("GET", target, agent, b"");
        }
        let ann = "Authorization: Basic YW5uOnNlY3JldA==\r\nIf-None-Match: *\r\n";
        assert_eq!(client.request("GET", "/a.txt", ann, b"").status, 304);
        let log = end(server, &dir);
        assert!(log.lines().last().unwrap().contains(" - ann ["), "{log}");
        assert!(!log.contains("secret"), "{log}");
        let out = dir.path().join("report.json");
        let mut command = Command::new("goaccess");
        command.arg(dir.path().join("log")).args(["--no-global-config", "--no-progress"]);
        command.args(["--log-format", theirs, "-o"]).arg(&out);
        match command.output() {
            Ok(done) => assert!(done.status.success(), "{done:?}"),
            Err(error) => return missing(&format!("goaccess: {error}")),
        }
        let report: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
        let general = &report["general"];
        assert_eq!(general["total_requests"], 6, "{log}{general}");
        assert_eq!(
            (&general["valid_requests"], &general["failed_requests"]),
            (&6.into(), &0.into())
        );
        assert_eq!(general["unique_not_found"], 1, "{general}");
    }
}

#[test]
fn e19_json_has_the_answer_too() {
    let dir = site();
    let server = serve(&dir, "json", &[&file(&dir)]);
    let fields = "Authorization: Basic YW5uOnNlY3JldA==\r\nCookie: s3\r\n";
    server.client().request("GET", "/a.txt", fields, b"");
    let log = end(server, &dir);
    let json: serde_json::Value = serde_json::from_str(log.trim_end()).unwrap();
    assert_eq!(json["user_id"], "ann");
    assert_eq!(json["request"]["headers"]["Authorization"][0], "REDACTED");
    assert_eq!(json["resp_headers"]["Content-Type"][0], "text/plain; charset=utf-8");
    assert!(json["resp_headers"]["Etag"][0].is_string(), "{json}");
    assert!(!log.contains("c2VjcmV0") && !log.contains("s3"), "{log}");
}

#[test]
fn e20_lines_are_chosen_by_status_and_path() {
    let dir = site();
    let chosen = [&file(&dir), "log.except=/health,/abs*", "log.keep=5xx,405", "log.only=2xx,404"];
    let server = serve(&dir, "combined", &chosen);
    let mut client = server.client();
    for (method, target) in [
        ("GET", "/a.txt"),
        ("GET", "/health?x"),
        ("GET", "/%68ealth"),
        ("GET", "/./health"),
        ("POST", "/health"),
        ("GET", "/absent"),
        ("GET", "/gone"),
        ("GET", "/a.txt?304"),
    ] {
        let fields = if target.ends_with("304") { "If-None-Match: *\r\n" } else { "" };
        client.request(method, target, fields, b"");
    }
    let log = end(server, &dir);
    let wanted = ["GET /a.txt HTTP/1.1", "POST /health HTTP/1.1", "GET /gone HTTP/1.1"];
    assert_eq!(requests(&log), wanted);
}

#[test]
fn e20_one_of_many_and_every_error() {
    let dir = site();
    let chosen = [&file(&dir), "log.sample=10", "log.sampling=every", "log.keep=4xx,5xx"];
    let server = serve(&dir, "combined", &chosen);
    let mut client = server.client();
    for number in 0..30 {
        client.get(&format!("/a.txt?{number}"));
        if number % 10 == 3 {
            client.get(&format!("/absent?{number}"));
        }
    }
    let log = end(server, &dir);
    let targets: Vec<_> = requests(&log).iter().map(|r| r.split(' ').nth(1).unwrap()).collect();
    let wanted = ["/a.txt?0", "/absent?3", "/a.txt?10", "/absent?13", "/a.txt?20", "/absent?23"];
    assert_eq!(targets, wanted);
}

#[test]
fn e20_what_is_private_stays_out() {
    let private = ["log.query=false", "log.addresses=network", "log.redact=x-key,user-agent"];
    let fields = "X-Key: s3\r\nUser-Agent: me\r\nX-Forwarded-For: 192.0.2.77\r\n\
                  Referer: http://x/y?s3\r\n";
    for format in ["combined", "json"] {
        let dir = site();
        let settings: Vec<&str> = private.into_iter().chain([]).collect();
        let file = file(&dir);
        let server = serve(&dir, format, &[settings.as_slice(), &[&file]].concat());
        server.client().request("GET", "/a.txt?s3=s3", fields, b"");
        let log = end(server, &dir);
        for secret in ["s3", "\"me\"", "192.0.2.77", "127.0.0.1", "remote_port"] {
            assert!(!log.contains(secret), "{secret}: {log}");
        }
        assert!(log.contains("127.0.0.0") && log.contains("REDACTED"), "{log}");
        assert!(log.contains("http://x/y"), "{log}");
    }
}

/// A message of RFC 5424: priority, and what stands behind the header.
fn message(text: &str) -> (u16, &str) {
    let (priority, rest) = text.strip_prefix('<').unwrap().split_once(">1 ").unwrap();
    let parts: Vec<&str> = rest.splitn(7, ' ').collect();
    let [time, _host, "ringway", pid, "access", "-", line] = parts[..] else { panic!("{text}") };
    assert!(pid.parse::<u32>().is_ok(), "{text}");
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000Z");
    (priority.parse().unwrap(), line)
}

#[test]
fn e21_syslog_by_datagrams() {
    let dir = site();
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    daemon.set_read_timeout(Some(LONG)).unwrap();
    let local = UnixDatagram::bind(dir.path().join("dev-log")).unwrap();
    local.set_read_timeout(Some(LONG)).unwrap();
    let to_udp = format!("log.syslog=udp:{}", daemon.local_addr().unwrap());
    let to_unix = format!("log.syslog=unix:{}", dir.path().join("dev-log").display());
    let mut buffer = [0; 65_536];
    for (to, settings) in [(&to_udp, 23 * 8), (&to_unix, 3 * 8)] {
        let facility = if settings == 24 { "log.facility=daemon" } else { "log.sample=1" };
        let server = serve(&dir, "combined", &[to, facility]);
        let mut client = server.client();
        let evil = "User-Agent: <0>1 - \"forged\u{e9}\r\n";
        client.request("GET", "/a.txt", evil, b"");
        client.get("/absent");
        for wanted in ["GET /a.txt HTTP/1.1", "GET /absent HTTP/1.1"] {
            let len = match to == &to_udp {
                true => daemon.recv(&mut buffer).unwrap(),
                false => local.recv(&mut buffer).unwrap(),
            };
            let text = str::from_utf8(&buffer[..len]).unwrap();
            let (priority, line) = message(text);
            assert_eq!((priority, line.split('"').nth(1)), (settings + 6, Some(wanted)));
            assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
        }
    }
}

/// Messages behind their lengths (RFC 6587), as many as were asked for.
fn counted(stream: &mut impl Read, messages: usize) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < messages {
        let mut digits = String::new();
        let mut byte = [0];
        while byte[0] != b' ' {
            stream.read_exact(&mut byte).unwrap();
            digits.push(byte[0].into());
        }
        let mut text = vec![0; digits.trim().parse().unwrap()];
        stream.read_exact(&mut text).unwrap();
        found.push(String::from_utf8(text).unwrap());
    }
    found
}

#[test]
fn e21_e22_syslog_over_tcp_and_its_daemon_restarts() {
    let dir = site();
    let daemon = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = daemon.local_addr().unwrap();
    let server = serve(&dir, "json", &[&format!("log.syslog=tcp:{address}")]);
    let mut client = server.client();
    client.get("/a.txt");
    client.get("/absent");
    let (mut stream, _) = daemon.accept().unwrap();
    let found = counted(&mut stream, 2);
    let json: serde_json::Value = serde_json::from_str(message(&found[0]).1).unwrap();
    assert_eq!(json["request"]["uri"], "/a.txt");
    // Nobody is there for a while: requests are answered all the same, and it is said once.
    drop((stream, daemon));
    eventually("the loss is said", || {
        assert_eq!(client.get("/a.txt").status, 200);
        std::thread::sleep(Duration::from_millis(50));
        server.output().contains("warning: access log (syslog tcp:")
    });
    let daemon = TcpListener::bind(address).unwrap();
    daemon.set_nonblocking(true).unwrap();
    let mut again = None;
    eventually("the log comes again", || {
        client.get("/again");
        std::thread::sleep(Duration::from_millis(50));
        again = daemon.accept().ok();
        again.is_some()
    });
    let (mut stream, _) = again.unwrap();
    stream.set_nonblocking(false).unwrap();
    assert!(message(&counted(&mut stream, 1)[0]).1.contains("/again"));
    assert_eq!(server.output().matches("warning: access log").count(), 1, "{}", server.output());
}

#[test]
fn e22_a_daemon_that_reads_nothing_costs_lines_and_no_request() {
    let dir = site();
    // Its queue is `net.unix.max_dgram_qlen` long.
    let _daemon = UnixDatagram::bind(dir.path().join("dev-log")).unwrap();
    let to = format!("log.syslog=unix:{}", dir.path().join("dev-log").display());
    let options = [&to, "limits.log_queue=1", "metrics=127.0.0.1:0"];
    let server = serve(&dir, "combined", &options);
    let mut client = server.client();
    let agent = format!("User-Agent: {}\r\n", "x".repeat(8000));
    for _ in 0..2_000 {
        assert_eq!(client.request("GET", "/a.txt", &agent, b"").status, 200);
    }
    eventually("lines are dropped and counted", || server.metric("ringway_log_dropped_total") > 0);
    eventually("it is said", || server.output().contains("warning: access log"));
    client.get("/a.txt");
    assert_eq!(server.output().matches("warning: access log").count(), 1, "{}", server.output());
}

#[test]
fn e22_a_reload_replaces_the_log() {
    let dir = site();
    let configure = |log: &str| {
        let text = format!("http = \"127.0.0.1:0\"\n[files]\nroot = \"site\"\n[log]\n{log}\n");
        dir.write("ringway.toml", text.as_bytes());
    };
    configure("format = \"combined\"\nfile = \"log\"");
    let mut command = Command::new(harness::process::RINGWAY.unwrap());
    command.args(["serve", "--workers", "2", "-c"]).arg(dir.path().join("ringway.toml"));
    let server = Process::start(&mut command);
    let mut client = server.client();
    client.get("/a.txt?first");
    let hup = |log: &str, says: &str| {
        configure(log);
        let before = server.output().matches(says).count();
        server.signal("HUP");
        eventually(says, || server.output().matches(says).count() > before);
    };
    hup("format = \"json\"\nfile = \"other\"", "the configuration is in use");
    client.get("/a.txt?second");
    hup("format = \"json\"\nfile = \"absent/log\"", "the configuration is not taken");
    client.get("/a.txt?third");
    hup("format = \"off\"", "the configuration is in use");
    client.get("/a.txt?fourth");
    hup("format = \"combined\"\nfile = \"log\"", "the configuration is in use");
    client.get("/a.txt?fifth");
    let other = dir.path().join("other");
    let log = end(server, &dir);
    assert_eq!(requests(&log), ["GET /a.txt?first HTTP/1.1", "GET /a.txt?fifth HTTP/1.1"]);
    let other = std::fs::read_to_string(other).unwrap();
    let uris: Vec<_> = other
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|json| json["request"]["uri"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(uris, ["/a.txt?second", "/a.txt?third"]);
}

/// Attack 31: a user's name ends no field either.
#[test]
fn attack_31_a_user_cannot_forge_a_line() {
    use base64::Engine as _;
    let name = "ann [01/Jan/2026:00:00:00 +0000] \"GET /forged HTTP/1.1\" 200 1\r\nx";
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{name}:p"));
    let dir = site();
    let server = serve(&dir, "combined", &[&file(&dir)]);
    let fields = format!("Authorization: Basic {encoded}\r\n");
    server.client().request("GET", "/a.txt", &fields, b"");
    let log = end(server, &dir);
    assert_eq!(log.lines().count(), 1, "{log}");
    let parts: Vec<&str> = log.split(' ').collect();
    assert_eq!((parts[0], parts[1], parts[5]), ("127.0.0.1", "-", "\"GET"), "{log}");
    assert!(parts[3].starts_with('[') && parts[6] == "/a.txt", "{log}");
}
