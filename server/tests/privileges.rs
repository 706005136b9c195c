//! What `ringway serve` gives up before it serves, as the kernel shows it: `[lifecycle]` with user,
//! group and sandbox. What a server that was taken over gets is tested beside the code.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use harness::process::{Process, RINGWAY};
use harness::quic::H3;
use harness::{TempDir, eventually, missing, tls};
use rcgen::{CertificateParams, KeyPair};

/// A user that every system has, and that has nothing.
const NOBODY: u32 = 65534;

fn is_root() -> bool {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !is_root {
        missing("root");
    }
    is_root
}

/// A site, a certificate whose key only its owner reads, a log, and `ringway.toml`.
fn site(lifecycle: &str) -> TempDir {
    let dir = TempDir::with(&[
        ("site/index.html", b"the page"),
        ("site/secret", b"root's"),
        ("site/list/a", b""),
        ("site/big", &harness::pattern(4 << 20)),
    ]);
    certificate(&dir);
    for file in ["tls/key.pem", "site/secret"] {
        fs::set_permissions(dir.path().join(file), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let text = format!(
        "http = \"127.0.0.1:0\"\nhttps = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\nworkers = 2\n\
         files.root = \"site\"\nfiles.browse = true\n\
         tls = {{ cert = \"tls/cert.pem\", key = \"tls/key.pem\" }}\n\
         log = {{ format = \"combined\", file = \"access.log\" }}\n[lifecycle]\n{lifecycle}\n"
    );
    dir.write("ringway.toml", text.as_bytes());
    dir
}

fn certificate(dir: &TempDir) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    dir.write("tls/cert.pem", params.self_signed(&key).unwrap().pem().as_bytes());
    dir.write("tls/key.pem", key.serialize_pem().as_bytes());
}

fn command(verb: &str, dir: &TempDir) -> Command {
    let mut command = Command::new(RINGWAY.unwrap());
    command.args([verb, "-c"]).arg(dir.path().join("ringway.toml"));
    command
}

fn serve(dir: &TempDir) -> Process {
    let server = Process::start(&mut command("serve", dir));
    server.wait_for("http,https,h3,metrics");
    server
}

/// The lines of `/proc/PID/task/TID/status` that say what a thread may do.
fn privileges(status: &str) -> Vec<(&str, &str)> {
    const ROWS: [&str; 10] = [
        "Uid",
        "Gid",
        "Groups",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
    ];
    let rows = status.lines().filter_map(|line| line.split_once(':'));
    rows.filter(|(name, _)| ROWS.contains(name)).map(|(name, value)| (name, value.trim())).collect()
}

/// What each thread of a process may do, by its name.
fn threads(pid: u32) -> Vec<(String, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let read = |path: &Path, name| fs::read_to_string(path.join(name)).unwrap();
    let paths = tasks.map(|task| task.unwrap().path());
    paths.map(|path| (read(&path, "comm"), read(&path, "status"))).collect()
}

/// What is served over each protocol, while it is asked to do what signals ask for.
fn work(server: &mut Process) {
    let mut client = server.client();
    assert_eq!(client.get("/").text(), "the page");
    assert!(client.get("/list/").text().contains("href=\"a\""));
    assert_eq!(client.get("/big").body, harness::pattern(4 << 20));
    assert_eq!(client.request("GET", "/big", "Range: bytes=0-9\r\n", b"").status, 206);
    let mut stream = tls::connect(server.at("https"), &[b"http/1.1"], "localhost");
    std::io::Write::write_all(&mut stream, b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
    assert!(answer.ends_with(b"the page"));
    assert_eq!(H3::connect(server.at("h3")).get("/").text(), "the page");
    assert!(server.metric("process_resident_memory_bytes") > 1 << 20);
    assert!(server.metric("process_open_fds") > 10);
    for (signal, said) in [
        ("QUIT", "worker 1: "),
        ("HUP", "the configuration is in use"),
        ("USR2", "in its sandbox starts no other"),
        ("TERM", "draining: "),
    ] {
        server.signal(signal);
        eventually(&format!("at SIG{signal} it says {said}"), || server.output().contains(said));
        if signal == "HUP" {
            assert_eq!(server.client().get("/").text(), "the page");
        }
    }
    assert!(server.wait().success(), "{}", server.output());
}

/// L18: on every thread the user, its groups, no capability and no way to one, the filter.
#[test]
fn l18_every_thread_has_given_everything_up() {
    if !is_root() {
        return;
    }
    let dir = site(&format!("user = {NOBODY}\ngroup = {NOBODY}\nsandbox = \"kill\""));
    let mut server = serve(&dir);
    // So that the threads are there that come with work.
    server.client().get("/big");
    let user = vec![NOBODY.to_string(); 4].join("\t");
    let threads = threads(server.pid());
    for (name, status) in &threads {
        let expected = [
            ("Uid", user.as_str()),
            ("Gid", &user),
            ("Groups", &NOBODY.to_string()),
            ("CapInh", "0000000000000000"),
            ("CapPrm", "0000000000000000"),
            ("CapEff", "0000000000000000"),
            ("CapBnd", "0000000000000000"),
            ("CapAmb", "0000000000000000"),
            ("NoNewPrivs", "1"),
            ("Seccomp", "2"),
        ];
        assert_eq!(privileges(status), expected, "{name}");
    }
    let names: Vec<_> = threads.iter().map(|(name, _)| name.trim()).collect();
    for name in ["ringway", "ringway-0", "ringway-1", "ringway-log", "ringway-keeper"] {
        assert!(names.contains(&name), "{name} among {names:?}");
    }
    let said = server.output();
    assert!(said.contains("serving as 65534 (user 65534, group 65534)"), "{said}");
    work(&mut server);
}

/// L18: a key of root (0600) is renewed at HUP, and the log is root's again after it was rotated,
/// through the broker; its process ends with the server.
#[test]
fn l18_a_key_of_root_is_renewed() {
    if !is_root() {
        return;
    }
    let dir = site("user = \"nobody\"\nsandbox = \"kill\"");
    let mut server = serve(&dir);
    let shown = |server: &Process| {
        let mut stream = tls::connect(server.at("https"), &[b"http/1.1"], "localhost");
        std::io::Write::write_all(&mut stream, b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
        stream.conn.peer_certificates().unwrap()[0].to_vec()
    };
    let first = shown(&server);
    certificate(&dir);
    server.signal("HUP");
    eventually("the new certificate is shown", || shown(&server) != first);
    let log = dir.path().join("access.log");
    fs::rename(&log, dir.path().join("access.log.1")).unwrap();
    server.signal("USR1");
    eventually("the new log has lines", || {
        server.client().get("/");
        fs::metadata(&log).is_ok_and(|log| log.len() > 0 && log.uid() == 0)
    });
    let said = server.output();
    assert!(!said.contains("denied") && !said.contains("refused"), "{said}");
    let broker = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid())).unwrap();
    let broker: u32 = broker.trim().parse().expect("one child");
    let (_, status) = threads(broker).remove(0);
    let rows = privileges(&status);
    assert!(rows.contains(&("CapEff", "0000000000000000")), "{rows:?}");
    server.signal("KILL");
    server.wait();
    eventually("the broker has ended", || !Path::new(&format!("/proc/{broker}/exe")).exists());
}

/// Row 84: the rings are made after the drop, so they open files as the user, though root's key was
/// read and a file that only root may read lies below the root.
#[test]
fn row_84_rings_have_the_dropped_credentials() {
    if !is_root() {
        return;
    }
    let dir = site("");
    let server = serve(&dir);
    assert_eq!(server.client().get("/secret").text(), "root's");
    drop(server);
    for sandbox in ["off", "on"] {
        let dir = site(&format!("user = \"nobody\"\nsandbox = \"{sandbox}\""));
        let server = serve(&dir);
        assert_eq!(server.client().get("/").text(), "the page");
        let refused = server.client().get("/secret").status;
        assert!([403, 404].contains(&refused), "{refused}");
    }
}

/// The sandbox is an ordinary user's too: everything is served, and only this process is changed.
#[test]
fn l18_the_sandbox_without_another_user() {
    let dir = site("sandbox = \"kill\"");
    let mut server = serve(&dir);
    for (name, status) in threads(server.pid()) {
        let rows = privileges(&status);
        for row in [("CapEff", "0000000000000000"), ("NoNewPrivs", "1"), ("Seccomp", "2")] {
            assert!(rows.contains(&row), "{row:?} of {name}: {rows:?}");
        }
    }
    work(&mut server);
}

/// A collector is found by its name.
#[test]
fn the_sandbox_and_a_collector() {
    let dir = TempDir::with(&[("site/index.html", b"the page")]);
    let collector = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = collector.local_addr().unwrap().port();
    let text = format!(
        "http = \"127.0.0.1:0\"\nworkers = 1\notlp = \"http://localhost:{port}\"\n\
         files.root = \"site\"\n[lifecycle]\nsandbox = \"kill\"\n"
    );
    dir.write("ringway.toml", text.as_bytes());
    let mut server = Process::start(&mut command("serve", &dir));
    assert_eq!(server.client().get("/").text(), "the page");
    let (mut asked, mut some) = (collector.accept().unwrap().0, [0; 9]);
    std::io::Read::read_exact(&mut asked, &mut some).unwrap();
    assert_eq!(&some, b"POST /v1/");
    assert!(server.is_running());
}

/// A log daemon is found again after it was gone, and nothing else can be connected to.
#[test]
fn the_sandbox_and_a_log_daemon() {
    let dir = TempDir::with(&[("site/index.html", b"the page")]);
    let daemon = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = daemon.local_addr().unwrap();
    let text = format!(
        "http = \"127.0.0.1:0\"\nworkers = 1\nfiles.root = \"site\"\n\
         log = {{ format = \"json\", syslog = \"tcp:{address}\" }}\n\
         [lifecycle]\nsandbox = \"kill\"\n"
    );
    dir.write("ringway.toml", text.as_bytes());
    let server = Process::start(&mut command("serve", &dir));
    for _ in 0..2 {
        assert_eq!(server.client().get("/").text(), "the page");
        let (mut lines, mut some) = (daemon.accept().unwrap().0, [0; 64]);
        std::io::Read::read_exact(&mut lines, &mut some).unwrap();
        drop(lines);
        // Until it is noticed that the connection has ended, and it may be made again.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
}

/// A root that is replaced by a directory that the sandbox does not know is not served, and it is
/// said how it would be; one below `lifecycle.readable` is.
#[test]
fn the_sandbox_and_a_root_that_is_replaced() {
    let readable = TempDir::with(&[("one/page", b"one"), ("two/page", b"two")]);
    for (key, status) in [("", 403), ("readable", 200)] {
        let dir = TempDir::new();
        let link = dir.path().join("current");
        std::os::unix::fs::symlink(readable.path().join("one"), &link).unwrap();
        let listed = match key {
            "" => String::new(),
            key => format!("{key} = [\"{}\"]", readable.path().display()),
        };
        let text = format!(
            "http = \"127.0.0.1:0\"\nworkers = 1\nfiles.root = \"current\"\n\
             [lifecycle]\nsandbox = \"on\"\n{listed}\n"
        );
        dir.write("ringway.toml", text.as_bytes());
        let server = Process::start(&mut command("serve", &dir));
        assert_eq!(server.client().get("/page").text(), "one");
        let next = dir.path().join("next");
        std::os::unix::fs::symlink(readable.path().join("two"), &next).unwrap();
        fs::rename(&next, &link).unwrap();
        eventually("the directory is another one", || {
            let answer = server.client().get("/page");
            answer.status == status && answer.text() != "one"
        });
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Who is not there, or would keep everything, is named with the place and what to write, by
/// `check` and by `serve`.
#[test]
fn l18_mistakes_are_named_by_their_place() {
    for (written, told) in [
        (
            "user = \"nobodi\"",
            "ringway.toml:10:1: `lifecycle.user`: nobodi is no user of /etc/passwd; did you mean `nobody`",
        ),
        (
            "user = \"nobody\"\ngroup = \"rooot\"",
            "ringway.toml:11:1: `lifecycle.group`: rooot is no group of /etc/group; did you mean `root`",
        ),
        (
            "user = 0",
            "ringway.toml:10:1: `lifecycle.user`: root gives up nothing: name another user, or leave the key out",
        ),
        (
            "user = 4242424",
            "ringway.toml:10:1: `lifecycle.user`: 4242424 is no user of /etc/passwd, which would say its group; did you mean `lifecycle.group` too",
        ),
        (
            "group = \"root\"",
            "ringway.toml:10:1: `lifecycle.group`: a group without `lifecycle.user`",
        ),
        (
            "user = \"a b\"",
            "ringway.toml:10:8: `lifecycle.user`: expected a name or a number, found `a b`",
        ),
        ("user = 4294967295", "ringway.toml:10:8: `lifecycle.user`: 4294967295 is out of range"),
        ("sandbox = \"yes\"", "ringway.toml:10:11: `lifecycle.sandbox`:"),
    ] {
        let dir = site(written);
        for verb in ["check", "serve"] {
            let output = command(verb, &dir).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{written}");
            assert!(said(&output).contains(told), "{verb} {written}: {}", said(&output));
        }
    }
}

/// Only root becomes another user: that is said, and what serves is what was started.
#[test]
fn l18_who_is_not_root_is_told() {
    if !is_root() {
        return;
    }
    let dir = TempDir::with(&[("site/index.html", b"the page")]);
    let text = "http = \"127.0.0.1:0\"\nworkers = 1\nfiles.root = \"site\"\n\
                [lifecycle]\nuser = 1\ngroup = 1\nsandbox = \"kill\"\n";
    dir.write("ringway.toml", text.as_bytes());
    let mut command = command("serve", &dir);
    // From where anyone may start it.
    let copy = dir.path().join("ringway");
    fs::copy(RINGWAY.unwrap(), &copy).unwrap();
    let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    command = Command::new(copy);
    let server = Process::start(command.args(arguments).uid(NOBODY).gid(NOBODY));
    assert_eq!(server.client().get("/").text(), "the page");
    let told = "`lifecycle.user` is 1, and only root becomes another user: user 65534 serves";
    assert!(server.output().contains(told), "{}", server.output());
    let (_, status) = threads(server.pid()).remove(0);
    assert!(privileges(&status).contains(&("Seccomp", "2")), "{status}");
}
