//! The parent of a server: a small process without threads, rings or network input. It starts the
//! server, passes signals on, reaps, keeps the listening sockets that the server leaves with it, as
//! a service manager does, and starts a server that has crashed again on the same sockets, so that
//! what has queued there waits. What the server says to the manager goes through it.
//!
//! Both talk over one pair of sockets that keeps messages apart: the server's end is inherited by
//! each server in turn, and signals wake the parent through it too, so that there is one thing to
//! wait for. The end of the parent ends the pair, which the server takes for TERM.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use socket2::SockRef;

use super::inherited::{self, CHANNEL};
use super::{handover, notify, store};
use crate::app::error::Error;
use crate::config::{Config, ParentMode};
use crate::ring::{passing, process, sys};
use crate::rt::console::note;

/// Pauses before a server that has crashed is started again: the first time none.
const PAUSES: [u64; 7] = [0, 1, 2, 4, 8, 16, 30];

/// A server that has served for so long begins anew with them.
const STEADY: Duration = Duration::from_secs(60);

/// How often to look at what is not told: whether a server that is no child of ours lives.
const LOOK: Duration = Duration::from_millis(250);

/// Time in which a server that was replaced says that it has taken back.
const TAKE_BACK: Duration = Duration::from_secs(1);

/// More sockets than any server has.
const KEPT_MAX: usize = 8192;

/// Longer messages are cut.
const MESSAGE_MAX: usize = 4096;

/// What is passed on as it is.
const PASSED_ON: [&str; 6] =
    ["READY=1", "RELOADING=1", "MONOTONIC_USEC=", "STATUS=", "WATCHDOG=1", "EXTEND_TIMEOUT_USEC="];

/// Whether this process is to be the parent of its server.
pub fn wants_parent(config: &Config) -> bool {
    // A process that replaces another one has that one's parent, or none.
    if notify::has_parent() || handover::is_successor() {
        return false;
    }
    match config.lifecycle.parent {
        ParentMode::On => true,
        ParentMode::Off => false,
        ParentMode::Auto => std::process::id() == 1 || notify::has_manager(),
    }
}

/// Runs this program again as a server, with the arguments of this process, until it has ended;
/// its exit code.
///
/// # Errors
/// What the parent itself needs cannot be had.
pub fn supervise() -> Result<u8, Error> {
    Parent::new().and_then(Parent::run).map_err(Error::Worker)
}

struct Parent {
    program: PathBuf,
    arguments: Vec<OsString>,
    channel: OwnedFd,
    /// The server's end of it.
    theirs: OwnedFd,
    wishes: Wishes,
    /// Sockets for the next server, by their names.
    kept: Vec<(String, OwnedFd)>,
    /// What the service manager has handed over, which stays where it is.
    handed: Vec<(String, RawFd)>,
    server: Option<Server>,
    /// Servers that were replaced, and those that replaced them and have not: they finish.
    others: Vec<u32>,
    crashes: usize,
    again_at: Option<Instant>,
    /// How often it was told to end.
    told: u32,
    /// A server has served.
    has_served: bool,
    /// What the last server has ended with, where it was the last.
    code: Option<u8>,
}

/// The server that serves, or will.
struct Server {
    pid: u32,
    since: Instant,
    ready: bool,
    /// Since when it is gone, and is no child of ours.
    missing: Option<Instant>,
}

/// Signals that have come and were not heeded yet.
struct Wishes(Vec<(i32, Arc<AtomicBool>)>);

impl Wishes {
    /// From here on each signal is noted, and wakes who reads the other end of `wake`.
    fn listen(wake: &OwnedFd) -> io::Result<Self> {
        // In the order in which they are heeded.
        let signals = [SIGTERM, SIGINT, SIGCHLD, SIGHUP, SIGUSR1, SIGUSR2, SIGQUIT];
        let mut noted = Vec::new();
        for signal in signals {
            let flag = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
            signal_hook::low_level::pipe::register(signal, wake.try_clone()?)?;
            noted.push((signal, flag));
        }
        Ok(Self(noted))
    }

    fn next(&self) -> Option<i32> {
        let is_noted = |(_, flag): &&(i32, Arc<AtomicBool>)| flag.swap(false, Ordering::Relaxed);
        self.0.iter().find(is_noted).map(|(signal, _)| *signal)
    }
}

impl Parent {
    fn new() -> io::Result<Self> {
        let (channel, theirs) = passing::pair()?;
        let wishes = Wishes::listen(&theirs)?;
        process::adopt_orphans()?;
        let kept = store::take_all();
        let handed = inherited::all();
        let parent = Self {
            program: std::env::current_exe()?,
            arguments: std::env::args_os().skip(1).collect(),
            channel,
            theirs,
            wishes,
            kept,
            handed,
            server: None,
            others: Vec::new(),
            crashes: 0,
            again_at: None,
            told: 0,
            has_served: false,
            code: None,
        };
        parent.leave_open()?;
        Ok(parent)
    }

    /// Servers inherit these by their numbers. This process starts nothing else.
    fn leave_open(&self) -> io::Result<()> {
        SockRef::from(&self.theirs).set_cloexec(false)?;
        self.handed.iter().try_for_each(|(_, number)| sys::leave_open(*number))?;
        self.kept.iter().try_for_each(|(_, fd)| SockRef::from(fd).set_cloexec(false))
    }

    fn run(mut self) -> io::Result<u8> {
        self.start()?;
        let mut room = vec![0; MESSAGE_MAX];
        loop {
            SockRef::from(&self.channel).set_read_timeout(Some(self.patience()))?;
            match passing::receive(&self.channel, &mut room) {
                Ok(message) => self.heard(&room[..message.len], message.descriptors)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            while let Some(wish) = self.wishes.next() {
                self.heed(wish);
            }
            if let Some(code) = self.reap() {
                return Ok(code);
            }
            match self.again_at {
                Some(at) if at <= Instant::now() => self.start()?,
                // There is no server that could say that all is well.
                Some(_) => notify::tell(format_args!("WATCHDOG=1")),
                None => {}
            }
        }
    }

    /// How long to wait for something to happen.
    fn patience(&self) -> Duration {
        let until = self.again_at.map(|at| at.saturating_duration_since(Instant::now()));
        // Zero would mean for ever.
        until.unwrap_or(LOOK).clamp(Duration::from_millis(1), LOOK)
    }

    fn start(&mut self) -> io::Result<()> {
        self.again_at = None;
        let mut command = Command::new(&self.program);
        // A signal of the terminal comes to this process, which passes it on.
        command.args(&self.arguments).process_group(0);
        command.env(CHANNEL, self.theirs.as_raw_fd().to_string());
        let kept = self.kept.iter().map(|(name, socket)| (name, socket.as_raw_fd()));
        let handed = self.handed.iter().map(|(name, number)| (name, *number));
        let sockets: Vec<_> =
            handed.chain(kept).map(|(name, number)| format!("{number}={name}")).collect();
        command.env(inherited::SOCKETS, sockets.join(":"));
        command.envs(notify::watchdog_variable());
        match command.spawn() {
            Ok(child) => {
                let (pid, since) = (child.id(), Instant::now());
                self.server = Some(Server { pid, since, ready: false, missing: None });
                Ok(())
            }
            // The program is being replaced on the disk, for one.
            Err(error) if self.has_served => {
                self.crashed(&format!("cannot be started: {error}"));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// A message of a server, which is believed no more than is needed.
    fn heard(&mut self, message: &[u8], descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let text = String::from_utf8_lossy(message);
        let lines: Vec<&str> = text.lines().collect();
        let value = |key: &str| lines.iter().find_map(|line| line.strip_prefix(key));
        if let Some(pid) = value("MAINPID=").and_then(|pid| pid.parse().ok()) {
            self.is_served_by(pid);
        }
        if lines.contains(&"READY=1")
            && let Some(server) = &mut self.server
        {
            (server.ready, self.has_served) = (true, true);
        }
        match value("FDNAME=").filter(|name| name.starts_with(store::PREFIX)) {
            Some(name) if lines.contains(&"FDSTORE=1") => {
                for socket in descriptors {
                    self.keep(name, socket)?;
                }
            }
            Some(name) if lines.contains(&"FDSTOREREMOVE=1") => {
                self.kept.retain(|(kept, _)| kept != name);
                notify::tell(format_args!("FDSTOREREMOVE=1\nFDNAME={name}"));
            }
            _ => {
                let told = self.told > 0;
                let passes = |line: &&&str| {
                    PASSED_ON.iter().any(|known| line.starts_with(known))
                        || told && **line == "STOPPING=1"
                };
                let passed: Vec<&str> = lines.iter().filter(passes).copied().collect();
                if !passed.is_empty() {
                    notify::tell(format_args!("{}", passed.join("\n")));
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, name: &str, socket: OwnedFd) -> io::Result<()> {
        // A server says it of all its sockets, also of those that it has had from here.
        let is_known = self.kept.iter().any(|(_, kept)| inode(kept) == inode(&socket));
        if is_known || self.kept.len() >= KEPT_MAX || self.told > 0 {
            return Ok(());
        }
        SockRef::from(&socket).set_cloexec(false)?;
        notify::tell_with(format_args!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0"), &[socket.as_fd()]);
        self.kept.push((name.to_owned(), socket));
        Ok(())
    }

    /// Another server has taken over, or has been taken back.
    fn is_served_by(&mut self, pid: u32) {
        match &mut self.server {
            Some(server) if server.pid != pid => {
                self.others.push(std::mem::replace(&mut server.pid, pid));
                self.others.retain(|other| *other != pid);
                server.since = Instant::now();
            }
            _ => {}
        }
    }

    fn heed(&mut self, wish: i32) {
        match wish {
            SIGCHLD => {}
            SIGTERM | SIGINT => {
                self.told += 1;
                // Doors close with the server's own.
                self.kept.clear();
                // A server under a parent takes TERM for "drain" however often it comes, since a
                // service manager may tell every process, and INT for "now".
                let sent = if self.told == 1 { SIGTERM } else { SIGINT };
                let all = self.server.iter().map(|server| server.pid).chain(self.others.clone());
                all.for_each(|pid| drop(process::signal(pid, sent)));
            }
            other => {
                if let Some(server) = &self.server {
                    // Should it be gone, that is noticed.
                    let _ = process::signal(server.pid, other);
                }
            }
        }
    }

    /// Buries the dead; the exit code once there is nothing left to do.
    fn reap(&mut self) -> Option<u8> {
        while let Some((pid, status)) = process::reap() {
            self.others.retain(|other| *other != pid);
            if self.server.as_ref().is_some_and(|server| server.pid == pid) {
                self.code = self.server_ended(status);
            }
        }
        self.look_for_server();
        self.others.retain(|pid| process::is_alive(*pid));
        if self.told > 0 && self.server.is_none() {
            self.code.get_or_insert(0);
        }
        self.code.filter(|_| self.others.is_empty())
    }

    /// A server that has replaced another one is the child of that until it has ended.
    fn look_for_server(&mut self) {
        let Some(server) = &mut self.server else { return };
        if process::is_alive(server.pid) {
            server.missing = None;
            return;
        }
        // The one that it has replaced may say that it has taken it back.
        let missing = server.missing.get_or_insert_with(Instant::now);
        if missing.elapsed() >= TAKE_BACK {
            let pid = server.pid;
            self.server = None;
            if self.told == 0 {
                self.crashed(&format!("(process {pid}) has ended"));
            }
        }
    }

    fn server_ended(&mut self, status: ExitStatus) -> Option<u8> {
        let Server { pid, since, ready, .. } = self.server.take()?;
        let code = status.code().map(|code| code as u8);
        match code {
            _ if self.told > 0 => return Some(code.unwrap_or_else(|| by_signal(status))),
            // It has been told to end by somebody else.
            Some(0) => return Some(0),
            // It has said what is wrong, and nothing will be right the next time.
            Some(code) if !ready && !self.has_served => return Some(code),
            None if !ready && !self.has_served => return Some(by_signal(status)),
            _ => {}
        }
        if since.elapsed() >= STEADY {
            self.crashes = 0;
        }
        self.crashed(&format!("(process {pid}) has ended: {status}"));
        None
    }

    /// Plans the next start, on the sockets that are kept.
    fn crashed(&mut self, how: &str) {
        let pause = Duration::from_secs(PAUSES[self.crashes.min(PAUSES.len() - 1)]);
        self.crashes += 1;
        let when = if pause.is_zero() { "at once".into() } else { format!("in {pause:?}") };
        let sockets = self.kept.len() + self.handed.len();
        note!("the server {how}; it is started again {when}, on the same {sockets} sockets");
        notify::tell(format_args!("STATUS=the server has ended, it is started again {when}"));
        self.again_at = Some(Instant::now() + pause);
    }
}

/// What tells a socket from others.
fn inode(socket: &OwnedFd) -> Option<u64> {
    let link = format!("/proc/self/fd/{}", socket.as_raw_fd());
    std::fs::metadata(link).ok().map(|socket| socket.ino())
}

/// What a shell makes of a death by a signal.
fn by_signal(status: ExitStatus) -> u8 {
    128 + status.signal().unwrap_or(0) as u8
}
