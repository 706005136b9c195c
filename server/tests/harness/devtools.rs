//! Chromium driven by the protocol of its developer tools, over a pipe: a page at any size, dark or
//! light, its scripts and its pictures.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::TempDir;

/// A Chromium with one page, until this goes out of scope.
pub struct DevTools {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    last: u64,
    /// What the page's scripts threw, and what its console and its policies said.
    pub complaints: Vec<String>,
    _profile: TempDir,
}

/// Chromium reads commands from descriptor 3 and answers on 4.
const START: &str = "exec chromium --headless --no-sandbox --disable-gpu --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync \
    --remote-debugging-pipe --user-data-dir=\"$1\" about:blank \
    3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null";

impl DevTools {
    /// Starts it with an empty page; nothing where Chromium is not installed.
    pub fn start() -> Option<Self> {
        Command::new("chromium").arg("--version").output().ok()?;
        let profile = TempDir::new();
        let mut command = Command::new("sh");
        command.args(["-c", START, "sh"]).arg(profile.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let from = BufReader::new(from);
        let complaints = Vec::new();
        let mut this =
            Self { child, to, from, session: None, last: 0, complaints, _profile: profile };
        let target = this.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = this.call("Target.attachToTarget", attach);
        this.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            this.call(domain, json!({}));
        }
        Some(this)
    }

    /// One command and its result.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut command = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{command}\0").as_bytes()).unwrap();
        loop {
            let mut bytes = Vec::new();
            self.from.read_until(0, &mut bytes).unwrap();
            assert_eq!(bytes.pop(), Some(0), "Chromium has ended");
            let message: Value = serde_json::from_slice(&bytes).unwrap();
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            let event = message["method"].as_str().unwrap_or_default();
            if matches!(event, "Runtime.exceptionThrown" | "Log.entryAdded") {
                self.complaints.push(message["params"].to_string());
            }
        }
    }

    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
    }

    /// The value of an expression in the page.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true});
        let result = self.call("Runtime.evaluate", params);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Shows the page at a width in CSS pixels, `dark` or `light`.
    pub fn resize(&mut self, width: u32, scheme: &str) {
        let size = json!({
            "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500,
        });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": scheme}));
    }

    /// Keeps a picture of the page, as PNG.
    pub fn screenshot(&mut self, kept: &Path) -> Vec<u8> {
        let params = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.call("Page.captureScreenshot", params);
        let bytes = base64_bytes(picture["data"].as_str().unwrap());
        fs::write(kept, &bytes).unwrap();
        println!("the picture is {}", kept.display());
        bytes
    }
}

impl Drop for DevTools {
    fn drop(&mut self) {
        // Its other processes end with it.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.child.wait();
    }
}

fn base64_bytes(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let text = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for four in text.chunks(4) {
        let bits = four.iter().fold(0, |bits, &byte| bits << 6 | u32::from(digit(byte)));
        let bits = bits << (6 * (4 - four.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    bytes
}
