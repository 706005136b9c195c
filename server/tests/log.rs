//! The access log from outside: a server serves a directory, and its log lists exactly the requests
//! and answers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A server of one file, `hello.txt` with 6 bytes, with its log in `access.log` or on standard
/// output.
struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    address: String,
    directory: PathBuf,
}

impl Server {
    fn start(name: &str, format: &str, to_file: bool) -> Self {
        let id = std::process::id();
        let directory = std::env::temp_dir().join(format!("ringway-log-{id}-{name}"));
        std::fs::create_dir_all(directory.join("site")).unwrap();
        std::fs::write(directory.join("site/hello.txt"), "hello\n").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        command.arg("serve").arg(directory.join("site"));
        command.args(["--http", "127.0.0.1:0", "--workers", "1", "--log", format]);
        if to_file {
            command.arg("--log-file").arg(directory.join("access.log"));
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening http ").unwrap().to_owned();
        Self { child, out, address, directory }
    }

    /// Sends `request` on a connection of its own and reads until the server closes.
    fn ask(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Ends the server; what it wrote to standard output, and to its file.
    fn end(mut self) -> (String, String) {
        self.signal("TERM");
        let mut out = String::new();
        self.out.read_to_string(&mut out).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        (out, std::fs::read_to_string(self.directory.join("access.log")).unwrap_or_default())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A combined line without its time.
fn timeless(line: &str) -> String {
    let (before, rest) = line.split_once(" [").unwrap();
    let (time, after) = rest.split_once("] ").unwrap();
    assert_eq!(time.len(), "21/Nov/2026:22:36:36 +0000".len(), "{line}");
    format!("{before} {after}")
}

const CLOSE: &str = "Host: x\r\nConnection: close\r\n\r\n";

#[test]
fn combined_lines_in_the_order_of_the_answers() {
    let server = Server::start("combined", "combined", true);
    let agent = "User-Agent: test/1\r\nReferer: http://x/\r\n";
    let pipelined = format!(
        "GET /hello.txt?a=b HTTP/1.1\r\nHost: x\r\n{agent}\r\n\
         HEAD /hello.txt HTTP/1.1\r\nHost: x\r\n\r\nGET /absent HTTP/1.1\r\n{CLOSE}"
    );
    let answer = server.ask(pipelined.as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 3, "{answer}");
    let absent = answer.rsplit("\r\n\r\n").next().unwrap().len();
    assert!(server.ask(b"BAD /x\x1b[31m y\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let (_, log) = server.end();
    let lines: Vec<_> = log.lines().map(timeless).collect();
    assert_eq!(lines.len(), 4, "{log}");
    let whole = "127.0.0.1 - - \"GET /hello.txt?a=b HTTP/1.1\" 200 6 \"http://x/\" \"test/1\"";
    assert_eq!(lines[0], whole);
    assert_eq!(lines[1], "127.0.0.1 - - \"HEAD /hello.txt HTTP/1.1\" 200 0 \"-\" \"-\"");
    let wanted = format!("127.0.0.1 - - \"GET /absent HTTP/1.1\" 404 {absent} \"-\" \"-\"");
    assert_eq!(lines[2], wanted);
    assert!(lines[3].starts_with("127.0.0.1 - - \"BAD /x\\x1B[31m y\" 400 "), "{}", lines[3]);
}

#[test]
fn json_lines_on_standard_output_while_the_server_runs() {
    let mut server = Server::start("json", "json", false);
    let request = format!("GET /hello.txt HTTP/1.1\r\nCookie: secret\r\nX-A: b\r\n{CLOSE}");
    server.ask(request.as_bytes());
    let mut line = String::new();
    server.out.read_line(&mut line).unwrap();
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(json["request"]["uri"], "/hello.txt");
    assert_eq!(json["request"]["proto"], "HTTP/1.1");
    assert_eq!(json["request"]["remote_ip"], "127.0.0.1");
    assert_eq!(json["request"]["headers"]["X-A"][0], "b");
    assert_eq!(json["request"]["headers"]["Cookie"][0], "REDACTED");
    assert_eq!((json["status"].as_u64(), json["size"].as_u64()), (Some(200), Some(6)));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let age = now.as_secs_f64() - json["ts"].as_f64().unwrap();
    assert!((0.0..600.0).contains(&age), "{line}");
    server.end();
}

#[test]
fn every_stream_of_http2_has_its_line() {
    let server = Server::start("h2", "json", true);
    let large = vec![b'x'; 300_000];
    std::fs::write(server.directory.join("site/large.txt"), &large).unwrap();
    let url = |path: &str| format!("http://{}{path}", server.address);
    let mut command = Command::new("nghttp");
    command.args(["-n", "-H", "user-agent: test/2"]);
    match command.args([url("/hello.txt?q"), url("/large.txt"), url("/absent")]).status() {
        Ok(status) => assert!(status.success()),
        Err(error) => {
            assert!(std::env::var_os("RINGWAY_TEST_COMPLETE").is_none(), "nghttp: {error}");
            return println!("skipped: nghttp: {error}");
        }
    }
    let (_, log) = server.end();
    let mut lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Small answers overtake large ones.
    lines.sort_by_key(|line| line["request"]["uri"].as_str().unwrap().to_owned());
    let mut streams: Vec<_> =
        lines.iter().map(|line| line["stream_id"].as_u64().unwrap()).collect();
    streams.dedup();
    assert!(streams.len() == 3 && streams.iter().all(|stream| stream % 2 == 1), "{log}");
    let wanted = [("/absent", 404), ("/hello.txt?q", 200), ("/large.txt", 200)];
    for (line, (uri, status)) in lines.iter().zip(wanted) {
        assert_eq!(
            (line["request"]["uri"].as_str(), line["status"].as_u64()),
            (Some(uri), Some(status))
        );
        assert_eq!(line["request"]["proto"], "HTTP/2.0");
        assert_eq!(line["request"]["headers"]["User-Agent"][0], "test/2");
        assert!(line.get("abort_reason").is_none(), "{line}");
    }
    assert_eq!((lines[1]["size"].as_u64(), lines[2]["size"].as_u64()), (Some(6), Some(300_000)));
}

#[test]
fn attack_31_a_peer_cannot_forge_a_line() {
    let server = Server::start("forged", "combined", true);
    let forged = "127.0.0.1 - - [x] \\\"GET /forged";
    let request = format!(
        "GET /%0a%1b[2J\"{forged} HTTP/1.1\r\nUser-Agent: \"\x1b]0;x\x07 {forged}\r\n{CLOSE}"
    );
    server.ask(request.as_bytes());
    let agent = format!("GET /hello.txt HTTP/1.1\r\nUser-Agent: a\" \\ \u{9b}é\r\n{CLOSE}");
    server.ask(agent.as_bytes());
    let (_, log) = server.end();
    assert_eq!(log.lines().count(), 2, "{log}");
    for line in log.lines() {
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
        assert_eq!(line.matches('"').count(), 6, "{line}");
    }
    assert!(log.contains("\"a\\x22 \\x5C \\xC2\\x9B\\xC3\\xA9\""), "{log}");
}

#[test]
fn usr1_opens_the_file_again() {
    let server = Server::start("usr1", "combined", true);
    let (log, rotated) = (server.directory.join("access.log"), server.directory.join("old.log"));
    let ask = |path: &str| server.ask(format!("GET {path} HTTP/1.1\r\n{CLOSE}").as_bytes());
    ask("/before");
    std::fs::rename(&log, &rotated).unwrap();
    server.signal("USR1");
    while !log.exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    ask("/after");
    let kept = std::fs::read_to_string(&rotated).unwrap();
    let (_, new) = server.end();
    assert!(new.contains("GET /after") && !kept.contains("GET /after"), "{kept}{new}");
    assert!(kept.contains("GET /before") || new.contains("GET /before"), "{kept}{new}");
}

#[test]
fn a_log_that_cannot_be_opened_stops_the_start() {
    let output = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["serve", "/", "--http", "127.0.0.1:0", "--log", "json"])
        .args(["--log-file", "/nonexistent/access.log"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("the access log /nonexistent/access.log: No such file"), "{error}");
}
