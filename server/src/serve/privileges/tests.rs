//! A server that was taken over: its handler does what an attacker would try, in a process of its
//! own, after its privileges were given up as `ringway serve` gives them up.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal};

use super::*;
use crate::app::request::Request;
use crate::app::response::Response;
use crate::config::Address;
use crate::config::Scheme;
use crate::serve::listener;
use crate::serve::server::Server;

const MODE: &str = "RINGWAY_TEST_HOSTILE";

/// The name that an error has for an attacker: its number.
fn refusal<T>(tried: io::Result<T>) -> String {
    match tried {
        Ok(_) => "done".to_owned(),
        Err(error) => match error.raw_os_error() {
            Some(libc::EPERM) => "EPERM".to_owned(),
            Some(libc::EACCES) => "EACCES".to_owned(),
            Some(libc::ENOSYS) => "ENOSYS".to_owned(),
            _ => error.to_string(),
        },
    }
}

/// What a request has the worker try.
fn attack(what: &str) -> String {
    let parent = rustix::process::getppid().unwrap_or(Pid::INIT);
    match what {
        "served" => refusal(std::fs::read("served/page")),
        "shadow" => refusal(std::fs::read("/etc/shadow")),
        "elsewhere" => refusal(std::fs::read("/etc/os-release")),
        "list" => refusal(std::fs::read_dir("/")),
        "write" => refusal(std::fs::write("served/new", b"")),
        "remove" => refusal(std::fs::remove_file("served/page")),
        "connect" => refusal(TcpStream::connect(("127.0.0.1", 9))),
        "bind" => refusal(TcpListener::bind(("127.0.0.1", 0))),
        "unix" => refusal(std::os::unix::net::UnixStream::connect("/run/none")),
        "exec" => refusal::<()>(Err(Command::new("/bin/true").exec())),
        "fork" => refusal(Command::new("/bin/true").status()),
        "ring" => refusal(io_uring::IoUring::new(4)),
        "kill" => refusal(rustix::process::kill_process(parent, Signal::TERM).map_err(Into::into)),
        "pidfd" => {
            let opened = rustix::process::pidfd_open(parent, PidfdFlags::empty());
            refusal(opened.map_err(Into::into))
        }
        "root" => refusal(rustix::thread::set_thread_uid(Uid::ROOT).map_err(Into::into)),
        "groups" => refusal(set_thread_groups(&[Gid::ROOT]).map_err(Into::into)),
        "capabilities" => {
            let sets = rustix::thread::capabilities(None).unwrap();
            let all = sets.effective | sets.permitted | sets.inheritable;
            if all.is_empty() { "none".to_owned() } else { format!("{all:?}") }
        }
        _ => "unknown".to_owned(),
    }
}

/// The hostile server: prints its port and serves until it is killed.
#[test]
#[ignore = "started by row 147"]
fn hostile() {
    let sandbox = match std::env::var(MODE).as_deref() {
        Ok("kill") => Sandbox::Kill,
        _ => Sandbox::On,
    };
    let nobody = Identity { uid: 65534, gid: 65534, groups: vec![65534] };
    let privileges = Privileges {
        user: Some((Account("65534".into()), nobody)),
        sandbox,
        paths: Paths { read: vec![PathBuf::from("served")], ..Paths::default() },
    };
    let handler = |request: &Request| Response::text(attack(&request.path()[1..]));
    let address = Address::Ip(([127, 0, 0, 1], 0).into());
    let mut server = Server::new(handler).workers(1);
    server.bound.push(listener::bind(Scheme::Http, &address, 1).unwrap());
    // The test's own runner is a thread that started before: `give_up` would refuse it.
    privileges.enter().unwrap();
    let handle = server.start().unwrap();
    privileges.seal().unwrap();
    handle.print_listeners();
    handle.join().unwrap();
}

struct Hostile(Child, std::net::SocketAddr, PathBuf);

impl Hostile {
    fn start(mode: &str) -> Self {
        let dir =
            std::env::temp_dir().join(format!("ringway-hostile-{}-{mode}", std::process::id()));
        std::fs::create_dir_all(dir.join("served")).unwrap();
        std::fs::write(dir.join("served/page"), b"page").unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["serve::privileges::tests::hostile", "--exact", "--ignored", "--nocapture"]);
        command.env(MODE, mode).current_dir(&dir).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut words = lines.map_while(Result::ok);
        let at = words.find_map(|line| {
            let (_, at) = line.split_once("listening http ")?;
            at.parse().ok()
        });
        Self(child, at.unwrap(), dir)
    }

    fn ask(&self, what: &str) -> String {
        let mut stream = TcpStream::connect(self.1).unwrap();
        let request = format!("GET /{what} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer.split_once("\r\n\r\n").map_or("no answer", |(_, body)| body).to_owned()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = std::fs::remove_dir_all(&self.2);
    }
}

/// Row 147: whatever a server that was taken over tries, the kernel refuses, and it serves on.
#[test]
fn row_147_escape_from_a_server_that_was_taken_over() {
    let mut expected = vec![
        ("served", "done"),
        ("shadow", "EACCES"),
        ("elsewhere", "EACCES"),
        ("list", "EACCES"),
        ("write", "EACCES"),
        ("remove", "EACCES"),
        ("connect", "EPERM"),
        ("bind", "EPERM"),
        ("unix", "EPERM"),
        ("exec", "EPERM"),
        ("ring", "EPERM"),
        ("kill", "EPERM"),
        ("pidfd", "EPERM"),
        ("root", "EPERM"),
        ("groups", "EPERM"),
        ("capabilities", "none"),
    ];
    for mode in ["on", "kill"] {
        let server = Hostile::start(mode);
        for (what, answer) in &expected {
            assert_eq!(&server.ask(what), answer, "{what} with sandbox = {mode}");
        }
        expected.reverse();
    }
}

/// A call that is on no list fails, or ends the process, as the sandbox is set.
#[test]
fn a_call_that_is_on_no_list() {
    let server = Hostile::start("on");
    assert_eq!(server.ask("fork"), "ENOSYS");
    assert_eq!(server.ask("served"), "done");
    let mut server = Hostile::start("kill");
    assert_eq!(server.ask("fork"), "no answer");
    assert_eq!(server.0.wait().unwrap().signal(), Some(libc::SIGSYS));
}

/// With threads that started before, nothing is given up: they would keep what they have.
#[test]
fn a_thread_that_started_before_is_an_error() {
    let privileges = Privileges { user: None, sandbox: Sandbox::On, paths: Paths::default() };
    let error = privileges.give_up().unwrap_err().to_string();
    assert!(error.contains("threads run already"), "{error}");
}
