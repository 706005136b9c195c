//! Chromium without a window, by the version of HTTP that a test wants.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::TempDir;
use super::process::Process;

/// How Chromium comes to a server.
pub struct Way {
    origin: String,
    /// What the server's log says of each request that came this way, with the quote behind it.
    pub version: &'static str,
    flags: Vec<String>,
    /// Where Chromium notes what its network stack does, if it is to.
    notes: Option<TempDir>,
}

impl Way {
    fn new(scheme: &str, port: u16, version: &'static str, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        Self { origin: format!("{scheme}://localhost:{port}"), version, flags, notes: None }
    }

    /// In the clear.
    pub fn http1(server: &Process) -> Self {
        Self::new("http", server.http().port(), "HTTP/1.1\"", &["--disable-quic"])
    }

    /// Over TLS, whatever the certificate.
    pub fn http2(server: &Process) -> Self {
        let port = server.at("https").port();
        let flags = ["--disable-quic", "--ignore-certificate-errors"];
        Self::new("https", port, "HTTP/2.0\"", &flags)
    }

    /// Over QUIC from the first request on. Chromium demands a certificate of a known root there,
    /// unless it is told the hash of its key, `pin` (SHA-256 in base64); and it tries one address
    /// of a name only, so that it has to be told which.
    pub fn http3(server: &Process, pin: &str) -> Self {
        let port = server.at("h3").port();
        let notes = TempDir::new();
        let flags = [
            "--host-resolver-rules=MAP localhost 127.0.0.1",
            &format!("--origin-to-force-quic-on=localhost:{port}"),
            &format!("--ignore-certificate-errors-spki-list={pin}"),
            &format!("--log-net-log={}", notes.path().join("net.json").display()),
        ];
        let way = Self::new("https", port, "HTTP/3.0\"", &flags);
        Self { notes: Some(notes), ..way }
    }

    fn command(&self, profile: &TempDir, page: &str) -> Command {
        let mut command = Command::new("chromium");
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update"])
            .args(["--disable-sync", "--enable-logging=stderr", "--v=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(&self.flags)
            .arg(format!("{}{page}", self.origin))
            .stdin(Stdio::null());
        command
    }

    /// Runs Chromium on a page of the server, with a profile of its own, until that has loaded;
    /// nothing where it is not installed.
    fn run(&self, page: &str, more: &[&str]) -> Option<Output> {
        let profile = TempDir::new();
        let mut command = self.command(&profile, page);
        command.args(["--virtual-time-budget=30000", "--timeout=60000"]).args(more);
        command.output().ok()
    }

    /// Opens a page of the server in a Chromium that stays; nothing where it is not installed.
    pub fn open(&self, page: &str) -> Option<Opened> {
        let profile = TempDir::new();
        let mut command = self.command(&profile, page);
        command.arg("--remote-debugging-port=0").stdout(Stdio::null()).stderr(Stdio::null());
        Some(Opened { child: command.spawn().ok()?, _profile: profile })
    }

    /// Octets of the header sections that came by HTTP/3 in the last run, in order, as Chromium
    /// noted them.
    pub fn heads(&self) -> Vec<u64> {
        let text = fs::read_to_string(self.notes.as_ref().unwrap().path().join("net.json"));
        let notes: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
        let kind = &notes["constants"]["logEventTypes"]["HTTP3_HEADERS_RECEIVED"];
        assert!(kind.is_u64(), "a name that this Chromium knows");
        let events = notes["events"].as_array().unwrap().iter();
        let heads = events.filter(|event| event["type"] == *kind);
        heads.map(|head| head["params"]["compressed_headers_length"].as_u64().unwrap()).collect()
    }
}

/// A Chromium that runs until this goes out of scope.
pub struct Opened {
    child: Child,
    _profile: TempDir,
}

impl Drop for Opened {
    fn drop(&mut self) {
        // Asked politely it ends its other processes and leaves its profile alone.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.child.wait();
    }
}

/// The picture of a page, kept at `kept`, and what Chromium said on standard error.
pub fn screenshot(way: &Way, page: &str, kept: &Path) -> Option<(Vec<u8>, String)> {
    let _ = fs::remove_file(kept);
    let picture = format!("--screenshot={}", kept.display());
    let output = way.run(page, &["--window-size=1200,1400", &picture])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    println!("the picture is {}", kept.display());
    Some((fs::read(kept).unwrap_or_else(|error| panic!("{error}: {said}")), said))
}

/// A page as it stands once its scripts have run.
pub fn dom(way: &Way, page: &str) -> Option<String> {
    let output = way.run(page, &["--dump-dom"])?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
