//! Servers in processes of their own, and what the kernel says about them.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::client::Client;
use super::eventually;

/// The `ringway` command; absent where another crate's tests use this harness.
pub const RINGWAY: Option<&str> = option_env!("CARGO_BIN_EXE_ringway");

/// A running server. It is killed when this goes out of scope.
pub struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// `ringway serve DIR` on a free port, one worker, with these further options.
    pub fn serve(dir: &Path, options: &[&str]) -> Self {
        let mut command = Command::new(RINGWAY.expect("a test of the crate that makes the binary"));
        command.arg("serve").arg(dir).args(["--http", "127.0.0.1:0", "--workers", "1"]);
        Self::start(command.args(options))
    }

    /// The application of [`super::app`], with bounds that differ from the defaults as
    /// `key=amount` says (milliseconds for times).
    pub fn app(bounds: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["harness::app::serve", "--exact", "--ignored", "--nocapture"]);
        Self::start(command.env("RINGWAY_TEST_BOUNDS", bounds))
    }

    /// The application on several kinds of listener, `http,https,h2c`.
    pub fn app_on(kinds: &str, bounds: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["harness::app::serve", "--exact", "--ignored", "--nocapture"]);
        command.env("RINGWAY_TEST_BOUNDS", bounds).env("RINGWAY_TEST_LISTEN", kinds);
        let this = Self::start(&mut command);
        this.wait_for(kinds);
        this
    }

    /// The application on all listeners, with its metrics.
    pub fn app_measured(bounds: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["harness::app::serve", "--exact", "--ignored", "--nocapture"]);
        command.env("RINGWAY_TEST_BOUNDS", bounds).env("RINGWAY_TEST_LISTEN", "http,https");
        let this = Self::start(command.env("RINGWAY_TEST_METRICS", "127.0.0.1:0"));
        this.wait_for("http,https,h3,metrics");
        this
    }

    /// A number that the metrics show under this name, labels and all.
    pub fn metric(&self, name: &str) -> u64 {
        let mut client = Client::connect(self.at("metrics"));
        let text = client.get_local("/metrics").text().to_owned();
        let row = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        row.unwrap_or_else(|| panic!("{name} in {text}")).parse().unwrap()
    }

    /// The application over TLS, with the files below `root` behind its own routes.
    pub fn app_with_files(root: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["harness::app::serve", "--exact", "--ignored", "--nocapture"]);
        command.env("RINGWAY_TEST_BOUNDS", "").env("RINGWAY_TEST_LISTEN", "https");
        let this = Self::start(command.env("RINGWAY_TEST_FILES", root));
        this.wait_for("https");
        this
    }

    /// Wait until it listens for all of these.
    pub fn wait_for(&self, kinds: &str) {
        for kind in kinds.split(',') {
            self.at(kind);
        }
    }

    /// Start a command and wait until it says where it listens.
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        keep(child.stdout.take().unwrap(), Arc::clone(&lines));
        keep(child.stderr.take().unwrap(), Arc::clone(&lines));
        let mut this = Self { child, lines };
        eventually("a line `listening http …`", || {
            let ended = this.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended before it listened: {ended:?}\n{}", this.output());
            !this.listening().is_empty()
        });
        this
    }

    fn listening(&self) -> HashMap<String, SocketAddr> {
        let lines = self.lines.lock().unwrap();
        let words = lines.iter().filter_map(|line| line.split_once("listening "));
        let words = words.map(|(_, rest)| rest.split_whitespace());
        let pairs = words.filter_map(|mut words| Some((words.next()?, words.next()?)));
        pairs.filter_map(|(kind, at)| Some((kind.into(), at.parse().ok()?))).collect()
    }

    /// Everything printed until now.
    pub fn output(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    pub fn http(&self) -> SocketAddr {
        self.at("http")
    }

    /// Where it listens for `http`, `https`, `h2c` or `h3`, which it says in a moment if it has not
    /// yet.
    pub fn at(&self, kind: &str) -> SocketAddr {
        let mut found = None;
        eventually(&format!("it listens for {kind}"), || {
            found = self.address(kind);
            found.is_some()
        });
        found.unwrap()
    }

    /// Where it has said until now that it listens.
    pub fn address(&self, kind: &str) -> Option<SocketAddr> {
        self.listening().remove(kind)
    }

    /// Waits until a large file's entity tag is of its content: a thread reads it once it has been
    /// asked for, and the tag changes then.
    pub fn await_content_tag(&self, path: &str) {
        let tag = || self.client().request("HEAD", path, "", b"").field("etag").map(str::to_owned);
        let first = tag();
        eventually("the content of the large file has been read", || tag() != first);
    }

    pub fn client(&self) -> Client {
        Client::connect(self.http())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let done = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(done.success());
    }

    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the server ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn proc(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.pid())).unwrap()
    }

    /// Resident memory in bytes; 0 under AddressSanitizer, whose own memory would be counted.
    pub fn resident(&self) -> u64 {
        if cfg!(ringway_asan) {
            return 0;
        }
        kib_row(&self.proc("status"), "VmRSS:") * 1024
    }

    /// Memory that is this process's alone, in bytes; 0 under AddressSanitizer.
    pub fn private(&self) -> u64 {
        if cfg!(ringway_asan) {
            return 0;
        }
        let rollup = self.proc("smaps_rollup");
        (kib_row(&rollup, "Private_Dirty:") + kib_row(&rollup, "Private_Clean:")) * 1024
    }

    /// [`Self::private`] of a server whose connections have given back what they can, which they do
    /// when they have been silent for a second: the least within three.
    pub fn settled(&self) -> u64 {
        let start = Instant::now();
        let mut least = u64::MAX;
        while start.elapsed() < Duration::from_secs(3) {
            least = least.min(self.private());
            thread::sleep(Duration::from_millis(100));
        }
        least
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// CPU time used by all threads, in milliseconds.
    pub fn cpu_ms(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let spent = tasks.map(|task| {
            let path = task.unwrap().path().join("schedstat");
            let text = fs::read_to_string(path).unwrap_or_default();
            text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0)
        });
        spent.sum::<u64>() / 1_000_000
    }
}

fn keep(pipe: impl std::io::Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(len) if len > 0) {
            let text = String::from_utf8_lossy(&line);
            lines.lock().unwrap().push(text.trim_end_matches('\n').to_owned());
            line.clear();
        }
    });
}

fn kib_row(text: &str, name: &str) -> u64 {
    let row = text.lines().find_map(|line| line.strip_prefix(name)).expect(name);
    row.trim().trim_end_matches(" kB").parse().unwrap()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the server said:\n{}\n---", self.output());
        }
    }
}
