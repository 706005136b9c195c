//! Servers of a configuration with sites, and one request sent to them by every protocol.

use std::io::{Read, Write};
use std::process::Command;

use rcgen::{CertificateParams, KeyPair};

use super::h2::{DATA, END_HEADERS, END_STREAM, H2, HEADERS, block, frame};
use super::process::{Process, RINGWAY};
use super::quic::{self, H3, headers};
use super::{TempDir, tls};

/// What came back, the same of every protocol.
#[derive(Debug)]
pub struct Answer {
    pub way: &'static str,
    /// 0 where there is none.
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: String,
    /// The code that the stream was reset with.
    pub reset: Option<u64>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut all = self.fields.iter().filter(|(other, _)| other == name);
        all.next().map(|(_, value)| value.as_str())
    }

    pub fn location(&self) -> &str {
        self.field("location").unwrap_or_default()
    }
}

/// Writes `NAME.pem` and `NAME.key` for these hosts.
pub fn certificate(dir: &TempDir, name: &str, hosts: &[&str]) {
    let key = KeyPair::generate().unwrap();
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let params = CertificateParams::new(hosts).unwrap();
    dir.write(&format!("{name}.pem"), params.self_signed(&key).unwrap().pem().as_bytes());
    dir.write(&format!("{name}.key"), key.serialize_pem().as_bytes());
}

/// The names of the certificate that all connections see unless a test says otherwise.
pub const NAMES: &[&str] = &[
    "localhost",
    "a.test",
    "b.test",
    "*.w.test",
    "*.x.w.test",
    "unknown.test",
    "127.0.0.1",
    "::1",
];

/// A folder with `ringway.toml`, a certificate, and files.
pub fn folder(sites: &str, files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new();
    for (name, text) in files {
        dir.write(name, text.as_bytes());
    }
    certificate(&dir, "all", NAMES);
    let head = "http = \"127.0.0.1:0\"\nhttps = \"127.0.0.1:0\"\nworkers = 1\n";
    let tls = "\n[tls]\ncert = \"all.pem\"\nkey = \"all.key\"\n";
    dir.write("ringway.toml", format!("{head}{sites}{tls}").as_bytes());
    dir
}

pub fn serve(dir: &TempDir) -> Process {
    let mut command = Command::new(RINGWAY.unwrap());
    command.args(["serve", "-c"]).arg(dir.path().join("ringway.toml"));
    let server = Process::start(&mut command);
    server.wait_for("http,https,h3");
    server
}

pub fn h1(stream: impl Read + Write, way: &'static str, request: &str) -> Answer {
    h1_bytes(stream, way, request.as_bytes())
}

pub fn h1_bytes(mut stream: impl Read + Write, way: &'static str, request: &[u8]) -> Answer {
    stream.write_all(request).unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said).into_owned();
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or((&said, ""));
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok()).unwrap_or(0);
    let fields = lines.filter_map(|line| line.split_once(": "));
    let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    Answer { way, status, fields: fields.collect(), body: body.to_owned(), reset: None }
}

pub fn h1_text(method: &str, target: &str, authority: &str, more: &[(&str, &str)]) -> String {
    let more: String = more.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n{more}\r\n")
}

pub fn clear(server: &Process, authority: &str, target: &str) -> Answer {
    h1(tls::tcp(server.http()), "h1", &h1_text("GET", target, authority, &[]))
}

/// The same request over TLS, by every protocol.
pub fn secure(
    server: &Process,
    method: &str,
    authority: &str,
    path: &str,
    more: &[(&str, &str)],
) -> Vec<Answer> {
    with_body(server, method, authority, path, more, b"")
}

/// The same with a body, whose length is not announced over HTTP/2 and HTTP/3.
pub fn with_body(
    server: &Process,
    method: &str,
    authority: &str,
    path: &str,
    more: &[(&str, &str)],
    body: &[u8],
) -> Vec<Answer> {
    let stream = tls::connect(server.at("https"), &[b"http/1.1"], "localhost");
    let length = body.len().to_string();
    let length = [("content-length", length.as_str())];
    let all = if body.is_empty() { more.to_vec() } else { [more, &length].concat() };
    let text = h1_text(method, path, authority, &all);
    let first = h1_bytes(stream, "h1 over TLS", &[text.as_bytes(), body].concat());
    let start =
        [(":method", method), (":scheme", "https"), (":path", path), (":authority", authority)];
    let fields = [&start[..], more].concat();
    let second = h2(H2::tls(server.at("https")), &fields, body);
    let third = h3(H3::connect(server.at("h3")), &fields, body);
    vec![first, second, third]
}

pub fn h2(mut client: H2, fields: &[(&str, &str)], body: &[u8]) -> Answer {
    let id = client.id();
    let end = if body.is_empty() { END_STREAM } else { 0 };
    let mut bytes = frame(HEADERS, END_HEADERS | end, id, &block(fields));
    if !body.is_empty() {
        bytes.extend(frame(DATA, END_STREAM, id, body));
    }
    client.send(bytes);
    let answer = client.answer(id);
    Answer {
        way: "h2",
        status: answer.head().map_or(0, |_| answer.status()),
        fields: answer.head().cloned().unwrap_or_default(),
        body: String::from_utf8_lossy(&answer.body).into_owned(),
        reset: answer.reset.map(u64::from),
    }
}

pub fn h3(mut client: H3, fields: &[(&str, &str)], body: &[u8]) -> Answer {
    let id = client.id();
    let mut bytes = headers(fields);
    if !body.is_empty() {
        bytes.extend(quic::frame(0, body));
    }
    client.raw(id, &bytes, true);
    let answer = client.answer(id);
    Answer {
        way: "h3",
        status: answer.status(),
        fields: answer.heads.last().cloned().unwrap_or_default(),
        body: answer.text(),
        reset: answer.reset,
    }
}

/// The same request by every protocol, also without TLS.
pub fn every(server: &Process, authority: &str, path: &str) -> Vec<Answer> {
    let mut answers = vec![clear(server, authority, path)];
    answers.extend(secure(server, "GET", authority, path, &[]));
    answers
}
