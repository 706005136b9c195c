//! The command line from outside: what each verb prints, where, and its exit code. Serving is
//! tested elsewhere; here a server only fails to start.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Output and exit code of a finished run.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn ringway(arguments: &[&str]) -> Ran {
    with(arguments, &[])
}

fn with(arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    finish(command.args(arguments).envs(environment.iter().copied()))
}

/// Runs a command to its end, without the environment variables that configure ringway.
fn finish(command: &mut Command) -> Ran {
    let set: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RINGWAY_") && !set.contains(&name) {
            command.env_remove(name);
        }
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A directory with one file in it, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringway-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("r.toml"), text).unwrap();
        Self(path)
    }

    fn file(&self) -> String {
        self.0.join("r.toml").to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn help_goes_to_standard_output_and_is_fine() {
    for arguments in [&["--help"][..], &["-h"], &["help"], &["serve", "--help"], &["help", "check"]]
    {
        let ran = ringway(arguments);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{arguments:?}");
        assert!(ran.out.contains("Usage: ringway"), "{arguments:?}");
    }
}

#[test]
fn version_in_one_line_and_at_length() {
    let short = ringway(&["version"]);
    assert_eq!(short.out, format!("ringway {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(ringway(&["--version"]).out, short.out);
    let long = ringway(&["version", "-v"]);
    assert!(long.out.starts_with(&short.out) && long.out.contains("kernel"), "{}", long.out);
}

#[test]
fn usage_errors_are_2_and_say_what_was_meant() {
    for (arguments, wanted) in [
        (&["serve", "--htpp", ":1"][..], "did you mean `--http`"),
        (&["chekc"], "did you mean `ringway check`"),
        (&["serve", "--workers", "many"], "--workers: expected a whole number, found `many`"),
        (&["serve", "--http", "8080"], "did you mean 127.0.0.1:8080 or :8080"),
        (&["check", "--set", "limits.boddy_bytes=1"], "did you mean `body_bytes`"),
        (&["check", "--set", "limits.body_rate=1TiB"], "expected a size"),
        (&["help", "nothing"], "neither a command nor a directory"),
        (&["completions", "tcsh"], "expected one of bash, zsh, fish"),
    ] {
        let ran = ringway(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(wanted), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn a_wrong_file_is_1_with_every_mistake_at_its_place() {
    let scratch = Scratch::new("wrong", "workers = \"4\"\n[limits]\nhaeder_bytes = \"1KiB\"\n");
    let ran = ringway(&["check", "-c", &scratch.file()]);
    let file = scratch.file();
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.err,
        format!(
            "ringway: {file}:1:11: `workers`: expected a whole number, found a string; did you \
             mean 4\nringway: {file}:3:1: unknown key `haeder_bytes` in [limits]; did you mean \
             `header_bytes`\n"
        )
    );
    let serving = ringway(&["serve", "-c", &scratch.file()]);
    assert_eq!((serving.code, serving.err), (1, ran.err), "serve refuses it in the same words");
}

#[test]
fn paths_that_are_missing_are_found_by_check() {
    let scratch =
        Scratch::new("paths", "[files]\nroot = \"absent\"\n[tls]\ncert = \"a\"\nkey = \"b\"\n");
    let ran = ringway(&["check", "-c", &scratch.file()]);
    assert_eq!(ran.code, 1);
    let lines: Vec<_> = ran.err.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ran.err);
    assert!(lines[0].contains("r.toml:2:1: `files.root`: "), "{}", lines[0]);
    assert!(lines[0].contains("absent cannot be opened: No such file"), "{}", lines[0]);
    let ran = ringway(&["check", "-c", "/nonexistent.toml"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("/nonexistent.toml: cannot be read: No such file"), "{}", ran.err);
}

#[test]
fn printed_configuration_names_origins_and_can_be_read_again() {
    let scratch = Scratch::new("print", "[limits]\nbody_bytes = \"2MiB\"\nidle_timeout = \"5s\"\n");
    let arguments = ["check", "--print", "-c", &scratch.file(), "--set", "limits.header_fields=50"];
    let ran = with(&arguments, &[("RINGWAY_LIMITS_IDLE_TIMEOUT", "7s"), ("RINGWAY_LOG", "json")]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let line = |key: &str| ran.out.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert!(line("body_bytes").contains("\"2MiB\""));
    assert!(line("body_bytes").contains("r.toml:2:1"));
    assert!(line("idle_timeout").contains("\"7s\""));
    assert!(line("idle_timeout").contains("RINGWAY_LIMITS_IDLE_TIMEOUT"));
    assert!(line("header_fields").contains("# --set limits.header_fields"));
    assert!(line("format").contains("# RINGWAY_LOG"));
    assert!(line("header_bytes").contains("# default, \"1KiB\" to \"1MiB\""));
    let again = Scratch::new("again", &ran.out);
    let ran = ringway(&["check", "-c", &again.file()]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
}

#[test]
fn the_file_can_be_named_by_a_variable() {
    let scratch = Scratch::new("variable", "workers = 0\n");
    let ran = with(&["check"], &[("RINGWAY_CONFIG", &scratch.file())]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("r.toml:1:11: `workers`: 0 is out of range"), "{}", ran.err);
}

#[test]
fn doctor_explains_in_text_and_json_and_its_exit_code_says_harmful() {
    let text = ringway(&["doctor"]);
    let json = ringway(&["doctor", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    let harmful = report["harmful"].as_bool().unwrap();
    assert_eq!(json.code, i32::from(harmful), "{}", json.err);
    assert_eq!(text.code, json.code);
    let items = report["items"].as_array().unwrap();
    for name in ["kernel", "file descriptors", "clock source", "net.core.rmem_max", "UDP GSO"] {
        let item = items.iter().find(|item| item["name"] == name).unwrap();
        for field in ["group", "found", "wanted", "verdict", "why", "how"] {
            assert!(!item[field].is_null(), "{name} lacks {field}");
        }
        assert!(text.out.contains(name), "{name} is missing from the table");
    }
    assert!(text.out.contains(" harmful (!!)"), "{}", text.out);
}

#[test]
fn bash_completions_complete() {
    let completions = ringway(&["completions", "bash"]).out;
    // Directories are completed too, so the current one must not matter.
    let empty = Scratch::new("completions", "");
    let complete = |line: &[&str]| {
        let words: Vec<_> = line.iter().map(|word| format!("'{word}'")).collect();
        let script = format!(
            "{completions}\nCOMP_WORDS=({}); COMP_CWORD={}; _ringway; printf '%s\\n' \
             \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            line.len() - 1
        );
        let output =
            Command::new("bash").args(["-c", &script]).current_dir(&empty.0).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(complete(&["ringway", "chec"]), "check\n");
    assert_eq!(complete(&["ringway", "serve", "--wor"]), "--workers\n");
    assert_eq!(complete(&["ringway", "serve", "--log", "j"]), "json\n");
    assert_eq!(complete(&["ringway", "completions", "f"]), "fish\n");
}

#[test]
fn the_manual_is_valid_roff() {
    let manual = ringway(&["man"]).out;
    assert!(manual.starts_with(".TH RINGWAY 1"));
    let known = [".TH", ".SH", ".SS", ".TP", ".B", ".RI", ".br", ".RS", ".RE"];
    for line in manual.lines().filter(|line| line.starts_with('.')) {
        assert!(known.contains(&line.split(' ').next().unwrap()), "{line}");
    }
}

#[test]
fn a_reader_that_goes_away_is_not_an_error() {
    let script = format!("{} man | head -1", env!("CARGO_BIN_EXE_ringway"));
    let output = Command::new("bash").args(["-o", "pipefail", "-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_server_says_where_it_listens_and_ends_at_a_signal() {
    let scratch = Scratch::new("serve", "");
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["serve", scratch.0.to_str().unwrap(), "--http", "127.0.0.1:0", "--workers", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening http ").unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    serves_and_ends(&mut stream, &mut child);
}

#[test]
fn a_port_in_use_is_1_and_names_the_holder() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let ran = ringway(&["serve", "/", "--http", &address]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    let pid = std::process::id();
    assert!(ran.err.contains(&format!("cannot listen on {address} (tcp)")), "{}", ran.err);
    assert!(ran.err.contains(&format!("(pid {pid})")), "{}", ran.err);
    assert!(ran.err.contains(&format!("to mend it: stop it: kill {pid}")), "{}", ran.err);
}

#[test]
fn a_udp_port_in_use_is_1_and_names_the_holder() {
    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let ran = ringway(&["serve", "/", "--https", &address, "--require-h3"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains(&format!("h3: cannot listen on {address} (udp)")), "{}", ran.err);
    assert!(ran.err.contains(&format!("(pid {})", std::process::id())), "{}", ran.err);
}

#[test]
fn a_cpu_that_is_not_there_is_1_and_is_named() {
    // The highest CPU number in a list; no test machine has it.
    let ran = ringway(&["serve", "/", "--http", "127.0.0.1:0", "--cpus", "8191"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("no worker can be pinned to CPU 8191"), "{}", ran.err);
}

/// A server whose logger died, or whose disc is full, has something else to do.
#[test]
fn a_server_that_nobody_listens_to_serves_on() {
    let scratch = Scratch::new("unheard", "");
    let socket = scratch.0.join("socket");
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["serve", scratch.0.to_str().unwrap(), "--workers", "1", "--http"])
        .arg(format!("unix:{}", socket.display()))
        .stdout(std::fs::File::options().write(true).open("/dev/full").unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut stream = loop {
        match UnixStream::connect(&socket) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    serves_and_ends(&mut stream, &mut child);
}

#[test]
fn a_ring_that_a_filter_forbids_is_1_and_names_the_profile() {
    // A filter like a container's: io_uring_setup, number 425 on every architecture, gets EPERM.
    let script = "
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7fff0000)]
program = b''.join(struct.pack('HBBI', *each) for each in code)
buffer = ctypes.create_string_buffer(program)
header = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', len(code), ctypes.addressof(buffer)))
assert libc.prctl(38, 1, 0, 0, 0) == 0
if libc.prctl(22, 2, header, 0, 0) != 0: sys.exit(77)
os.execv(sys.argv[1], sys.argv[1:])
";
    let binary = env!("CARGO_BIN_EXE_ringway");
    let arguments = ["-c", script, binary, "serve", "/", "--http", "127.0.0.1:0"];
    let ran = finish(Command::new("python3").args(arguments));
    if ran.code == 77 {
        return println!("skipped: no seccomp filters here");
    }
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
    assert!(ran.err.contains("io_uring is refused: a seccomp filter forbids it"), "{}", ran.err);
    assert!(ran.err.contains("seccomp=scripts/seccomp-io_uring.json"), "{}", ran.err);
    let doctor = finish(Command::new("python3").args(["-c", script, binary, "doctor", "--json"]));
    let report: serde_json::Value = serde_json::from_str(&doctor.out).unwrap();
    assert_eq!((doctor.code, &report["harmful"]), (1, &serde_json::Value::Bool(true)));
}

#[test]
fn a_privileged_port_is_1_and_names_the_capability() {
    let first_free = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if first_free.is_ok_and(|port| port.trim() != "1024") {
        return println!("skipped: ports under 1024 are free for all here");
    }
    let scratch = Scratch::new("port", "");
    // The binary may lie where another user may not look.
    let copy = scratch.0.join("ringway");
    std::fs::copy(env!("CARGO_BIN_EXE_ringway"), &copy).unwrap();
    let user = ["--reuid", "65534", "--clear-groups", "--bounding-set", "-all"];
    let serve = [copy.to_str().unwrap(), "serve", "/", "--http", "127.0.0.1:81"];
    let ran = finish(Command::new("setpriv").args(user).args(serve));
    if ran.err.contains("setpriv:") {
        return println!("skipped: {}", ran.err.trim());
    }
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
    assert!(ran.err.contains("ports under 1024 need CAP_NET_BIND_SERVICE"), "{}", ran.err);
    assert!(ran.err.contains("setcap cap_net_bind_service=+ep"), "{}", ran.err);
}

/// E3: for each name of the certificate, the DNS record that lets a client's first connection use
/// HTTP/3. An unusable certificate is reported.
#[test]
fn check_prints_the_record_for_the_dns() {
    let scratch = Scratch::new("dns", "");
    let made =
        rcgen::generate_simple_self_signed(["a.example".into(), "b.example".into()]).unwrap();
    let (cert, key) = (scratch.0.join("cert.pem"), scratch.0.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let files = ["--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let check = |more: &[&str]| ringway(&[&["check"], &files[..], more].concat());
    let ran = check(&["--https", "[::]:443", "--https", "127.0.0.1:8443"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for (record, target) in [
        ("a.example.", "."),
        ("b.example.", "."),
        // With a dot, clients would look for an address of the name with the prefix.
        ("_8443._https.a.example.", "a.example."),
    ] {
        let line = format!("    {record} 3600 IN HTTPS 1 {target} alpn=\"h3,h2\"\n");
        assert!(ran.out.contains(&line), "{}", ran.out);
    }
    assert!(!check(&["--https", ":443", "--no-h3"]).out.contains("HTTPS 1"));
    std::fs::write(&cert, "no certificate").unwrap();
    let ran = check(&[]);
    assert!(ran.code == 1 && ran.err.contains("cert.pem"), "{}", ran.err);
}

/// Answers on this connection, and stops when told to.
fn serves_and_ends(stream: &mut (impl Read + Write), child: &mut Child) {
    stream.write_all(b"GET /r.toml HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
