//! Explains why the server could not start: what failed, the cause, and commands that help. Each
//! function takes the kernel's error and examines the machine for the cause. Only
//! [`raise_descriptors`] changes anything.

use super::host::CAP_SYS_ADMIN;
use super::sockets::holders;
use super::{Host, Transport};
use rustix::process::{Resource, Rlimit, getpid, getrlimit, setpriority_process, setrlimit};
use rustix::thread::{sched_getaffinity, sched_setaffinity};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// An explained failure. Displays as one line that says what failed and why, then one line for each
/// remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What could not be done.
    pub what: String,
    /// What was in the way.
    pub why: String,
    /// What would help, the best first; commands where there are any.
    pub how: Vec<String>,
}

impl Answer {
    fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), how: Vec::new() }
    }

    fn mend(mut self, how: impl Into<String>) -> Self {
        self.how.push(how.into());
        self
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.what, self.why)?;
        for (index, how) in self.how.iter().enumerate() {
            let lead = if index == 0 { "to mend it" } else { "or" };
            write!(out, "\n  {lead}: {how}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Answer {}

/// Why listening on `address` failed with `error`.
pub fn explain_bind(
    host: &Host,
    error: &io::Error,
    address: SocketAddr,
    transport: Transport,
) -> Answer {
    let what = format!("cannot listen on {address} ({transport})");
    match error.kind() {
        io::ErrorKind::AddrInUse => in_use(host, what, address, transport),
        io::ErrorKind::PermissionDenied => not_privileged(host, what, address.port()),
        io::ErrorKind::AddrNotAvailable => {
            Answer::new(what, format!("this machine has no address {}", address.ip()))
                .mend("see what it has: ip -brief address")
                .mend(format!("listen on every address: :{}", address.port()))
        }
        _ if error.raw_os_error() == Some(EAFNOSUPPORT) && address.is_ipv6() => {
            Answer::new(what, "this kernel runs without IPv6")
                .mend(format!("listen on IPv4: 0.0.0.0:{}", address.port()))
        }
        _ if error.raw_os_error() == Some(EMFILE) => too_few_descriptors(host, what),
        _ => Answer::new(what, error.to_string()),
    }
}

fn in_use(host: &Host, what: String, address: SocketAddr, transport: Transport) -> Answer {
    let holders = holders(host, address, transport);
    let Some(first) = holders.first() else {
        return Answer::new(what, "the port is in use, by a process that cannot be seen from here")
            .mend(format!(
                "look from outside the container: ss -l{}np",
                transport_letter(transport)
            ));
    };
    let mut names: Vec<String> = holders.iter().map(ToString::to_string).collect();
    names.dedup();
    let answer = Answer::new(what, format!("the port is in use by {}", names.join(", ")));
    match first {
        super::Holder::Process { pid, .. } => answer.mend(format!("stop it: kill {pid}")),
        super::Holder::User(_) => {
            answer.mend(format!("see which one: sudo ss -l{}np", transport_letter(transport)))
        }
    }
    .mend("choose another port, or port 0 for a free one")
}

fn transport_letter(transport: Transport) -> char {
    match transport {
        Transport::Tcp => 't',
        Transport::Udp => 'u',
    }
}

fn not_privileged(host: &Host, what: String, port: u16) -> Answer {
    let first_free = host.number("proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or(1024);
    if i64::from(port) >= first_free {
        return Answer::new(
            what,
            "the kernel forbids it (a security module, or a firewall's policy)",
        )
        .mend("see what forbade it: sudo dmesg | tail; sudo ausearch -m avc -ts recent");
    }
    let why =
        format!("ports under {first_free} need CAP_NET_BIND_SERVICE, which this process lacks");
    Answer::new(what, why)
        .mend("to the program: sudo setcap cap_net_bind_service=+ep \"$(command -v ringway)\"")
        .mend("to the unit: AmbientCapabilities=CAP_NET_BIND_SERVICE")
        .mend(format!("for everyone: sudo sysctl net.ipv4.ip_unprivileged_port_start={port}"))
}

fn too_few_descriptors(host: &Host, what: String) -> Answer {
    let limits = getrlimit(Resource::Nofile);
    let open = host.names("proc/self/fd").len();
    let why = format!("all {} file descriptors are in use ({open} open)", show(limits.current));
    more_descriptors(Answer::new(what, why), 65_536)
}

fn more_descriptors(answer: Answer, wanted: u64) -> Answer {
    answer
        .mend(format!(
            "in the shell that starts it, as root: ulimit -Hn {wanted} && ulimit -n {wanted}"
        ))
        .mend(format!("in the unit: LimitNOFILE={wanted}"))
        .mend(format!("with Docker: --ulimit nofile={wanted}:{wanted}"))
}

/// Why listening on a Unix socket at `path` failed with `error`.
pub fn explain_bind_path(error: &io::Error, path: &Path) -> Answer {
    let what = format!("cannot listen on unix:{}", path.display());
    let directory = path.parent().unwrap_or(Path::new("/")).display();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            Answer::new(what, "the socket is there and someone listens on it")
                .mend(format!("see who: ss -lxp src {}", path.display()))
                .mend(format!("if nobody does, remove it: rm {}", path.display()))
        }
        io::ErrorKind::NotFound => Answer::new(what, format!("there is no directory {directory}"))
            .mend(format!("mkdir -p {directory}")),
        io::ErrorKind::PermissionDenied => {
            Answer::new(what, format!("this user may not create files in {directory}"))
                .mend("in the unit: RuntimeDirectory=ringway, and listen on unix:/run/ringway/…")
        }
        _ => Answer::new(what, error.to_string()),
    }
}

/// The descriptor limit before and after it was raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// The soft limit that the process was started with.
    pub before: u64,
    /// The soft limit now: the hard limit, unless the kernel refused.
    pub now: u64,
}

/// Raises the soft limit of file descriptors to the hard one, which needs no privilege.
pub fn raise_descriptors() -> Descriptors {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let number = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    Descriptors { before: number(current), now: number(if raised { maximum } else { current }) }
}

/// Descriptors of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// How many it may have: the soft limit.
    pub limit: u64,
    /// How many it has.
    pub open: u64,
}

/// How many descriptors the process may have, and has.
pub fn descriptors() -> Usage {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    // One of the listed descriptors is the listing's own. Without /proc, a guess.
    let open = std::fs::read_dir("/proc/self/fd").map_or(64, |listed| listed.count() as u64);
    Usage { limit, open }
}

/// Has the calling thread run where the process may, and not only on the CPU of the thread that
/// started it: a worker is pinned, and what it starts must not take turns with it.
pub fn leave_the_cpu_of_the_caller() {
    // On failure the thread stays where it is.
    let _ = sched_getaffinity(Some(getpid())).and_then(|cpus| sched_setaffinity(None, &cpus));
}

/// As [`leave_the_cpu_of_the_caller`], and with the lowest priority.
pub fn work_in_the_background() {
    leave_the_cpu_of_the_caller();
    // On Linux the priority is the calling thread's alone.
    let _ = setpriority_process(None, 19);
}

/// A message if the process may not have `wanted` descriptors (one for each connection, and a few
/// for each worker).
pub fn explain_descriptors(descriptors: Descriptors, wanted: u64) -> Option<Answer> {
    if descriptors.now >= wanted {
        return None;
    }
    let what = format!("{wanted} file descriptors are wanted for the connections that are allowed");
    let why = format!("the hard limit is {}", descriptors.now);
    Some(more_descriptors(Answer::new(what, why), wanted.next_power_of_two()))
}

/// Why the kernel refused an io_uring with `error`: a container's seccomp filter, a sysctl, the
/// limit of locked memory, or its age.
pub fn explain_ring(host: &Host, error: &io::Error) -> Answer {
    let what = "io_uring is refused";
    let gate = host.number("proc/sys/kernel/io_uring_disabled").unwrap_or(0);
    match error.raw_os_error() {
        Some(EPERM) if gate == 2 => {
            Answer::new(what, "kernel.io_uring_disabled is 2: nobody may use it")
                .mend("sudo sysctl kernel.io_uring_disabled=0")
        }
        Some(EPERM) if gate == 1 && !host.capable(CAP_SYS_ADMIN) => {
            let group = host.number("proc/sys/kernel/io_uring_group").unwrap_or(-1);
            Answer::new(
                what,
                format!(
                    "kernel.io_uring_disabled is 1: only root and the group {group} may use it"
                ),
            )
            .mend("sudo sysctl kernel.io_uring_disabled=0")
            .mend("admit your group: sudo sysctl kernel.io_uring_group=$(id -g)")
        }
        Some(EPERM | EACCES | ENOSYS) if host.is_filtered() => filtered(what),
        Some(ENOSYS) => {
            Answer::new(what, format!("the kernel{} is built without it", release(host)))
                .mend("use a kernel of 6.1 or later with CONFIG_IO_URING")
        }
        Some(EPERM | EACCES) => Answer::new(what, "a security module forbids it")
            .mend("see which: cat /sys/kernel/security/lsm; sudo dmesg | tail"),
        Some(EINVAL) => Answer::new(
            what,
            format!("the kernel{} is too old for it: 6.1 is the first that serves", release(host)),
        )
        .mend("use a newer kernel"),
        Some(ENOMEM) => locked_memory(what),
        Some(EMFILE | ENFILE) => too_few_descriptors(host, what.to_owned()),
        _ => Answer::new(what, error.to_string()),
    }
}

fn release(host: &Host) -> String {
    host.read("proc/sys/kernel/osrelease").map(|release| format!(" {release}")).unwrap_or_default()
}

fn filtered(what: &str) -> Answer {
    Answer::new(
        what,
        "a seccomp filter forbids it, as Docker's and containerd's default filters do",
    )
    .mend("docker run --security-opt seccomp=scripts/seccomp-io_uring.json …")
    .mend("docker run --security-opt seccomp=unconfined … (weaker)")
    .mend("in the unit: SystemCallFilter=io_uring_setup io_uring_enter io_uring_register")
}

fn locked_memory(what: &str) -> Answer {
    let limit = show(getrlimit(Resource::Memlock).current);
    Answer::new(
        what,
        format!("the limit of locked memory, {limit} bytes, is too small for the rings"),
    )
    .mend("fewer workers: --workers 1")
    .mend("in the shell that starts it, as root: ulimit -l unlimited")
    .mend("in the unit: LimitMEMLOCK=infinity")
    .mend("with Docker: --ulimit memlock=-1")
}

fn show(limit: Option<u64>) -> String {
    limit.map_or("unlimited".to_owned(), |limit| limit.to_string())
}

// The error numbers of Linux on every architecture that ringway is built for.
const EPERM: i32 = 1;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const EINVAL: i32 = 22;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ENOSYS: i32 = 38;
const EAFNOSUPPORT: i32 = 97;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Fixture;
    use std::net::TcpListener;

    fn refusal(errno: i32, machine: Fixture) -> Answer {
        explain_ring(&machine.host(), &io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn a_refused_ring_names_the_gate() {
        let gate =
            |name, value| Fixture::new(name).with("proc/sys/kernel/io_uring_disabled", value);
        let answer = refusal(EPERM, gate("gate2", "2"));
        assert!(answer.why.contains("io_uring_disabled is 2"));
        assert_eq!(answer.how, ["sudo sysctl kernel.io_uring_disabled=0"]);
        let answer =
            refusal(EPERM, gate("gate1", "1").with("proc/sys/kernel/io_uring_group", "77"));
        assert!(answer.why.contains("group 77"), "{answer}");
        let filter = "Seccomp:\t2\nCapEff:\tffffffffffffffff\n";
        let answer = refusal(EPERM, gate("gate1root", "1").with("proc/self/status", filter));
        assert!(answer.why.contains("seccomp"), "root passes gate 1: {answer}");
        let answer = refusal(ENOSYS, gate("filter", "0").with("proc/self/status", filter));
        assert!(answer.why.contains("seccomp"), "some filters say ENOSYS: {answer}");
        assert!(answer.how[0].contains("scripts/seccomp-io_uring.json"));
        let answer = refusal(EPERM, gate("module", "0").with("proc/self/status", "Seccomp:\t0\n"));
        assert!(answer.why.contains("security module"), "{answer}");
    }

    #[test]
    fn a_refused_ring_names_memory_and_age() {
        let answer = refusal(ENOMEM, Fixture::new("memory"));
        assert!(answer.why.contains("locked memory"));
        assert!(answer.how.iter().any(|how| how.contains("LimitMEMLOCK")));
        let old = Fixture::new("old").with("proc/sys/kernel/osrelease", "5.10.0");
        assert!(refusal(EINVAL, old).why.contains("kernel 5.10.0 is too old"));
        assert!(refusal(ENOSYS, Fixture::new("none")).why.contains("built without it"));
        assert!(refusal(EMFILE, Fixture::new("files")).why.contains("file descriptors"));
    }

    #[test]
    fn a_port_in_use_names_its_holder() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let error = TcpListener::bind(address).unwrap_err();
        let answer = explain_bind(&Host::live(), &error, address, Transport::Tcp);
        let pid = std::process::id();
        assert!(answer.why.contains(&format!("(pid {pid})")), "{answer}");
        assert_eq!(answer.how[0], format!("stop it: kill {pid}"));
    }

    #[test]
    fn a_port_of_another_user_names_the_user() {
        let row = "  0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000 \
                   33 0 4711 1";
        let table = format!("header\n{row}\n");
        let machine = Fixture::new("user").with("proc/self/net/tcp", &table);
        let error = io::Error::from(io::ErrorKind::AddrInUse);
        let address = "127.0.0.1:80".parse().unwrap();
        let answer = explain_bind(&machine.host(), &error, address, Transport::Tcp);
        if cfg!(target_endian = "little") {
            assert!(answer.why.contains("a process of user id 33"), "{answer}");
        }
        let machine = Fixture::new("unseen");
        let answer = explain_bind(&machine.host(), &error, address, Transport::Tcp);
        assert!(answer.why.contains("cannot be seen from here"), "{answer}");
    }

    #[test]
    fn a_privileged_port_names_the_capability_and_the_commands() {
        let error = io::Error::from_raw_os_error(EACCES);
        let address = "0.0.0.0:80".parse().unwrap();
        let answer = explain_bind(&Fixture::new("port").host(), &error, address, Transport::Tcp);
        assert!(answer.why.contains("ports under 1024 need CAP_NET_BIND_SERVICE"));
        let text = answer.to_string();
        assert!(text.contains("setcap cap_net_bind_service=+ep"), "{text}");
        assert!(text.contains("sudo sysctl net.ipv4.ip_unprivileged_port_start=80"), "{text}");
        let free = Fixture::new("free").with("proc/sys/net/ipv4/ip_unprivileged_port_start", "80");
        let answer = explain_bind(&free.host(), &error, address, Transport::Tcp);
        assert!(!answer.why.contains("CAP_NET_BIND"), "{answer}");
    }

    #[test]
    fn descriptors_are_raised_to_the_hard_limit() {
        let raised = raise_descriptors();
        assert!(raised.now >= raised.before);
        assert_eq!(raise_descriptors().before, raised.now, "a second time changes nothing");
        assert_eq!(explain_descriptors(Descriptors { before: 1, now: 100 }, 100), None);
        let answer = explain_descriptors(Descriptors { before: 1, now: 100 }, 1000).unwrap();
        assert!(answer.to_string().contains("LimitNOFILE=1024"), "{answer}");
    }

    #[test]
    fn the_filter_that_is_shipped_admits_the_ring_and_refuses_by_default() {
        let text = include_str!("../../scripts/seccomp-io_uring.json");
        let filter: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(filter["defaultAction"], "SCMP_ACT_ERRNO");
        let rules = filter["syscalls"].as_array().unwrap();
        let mut names: Vec<&str> = rules
            .iter()
            .flat_map(|rule| rule["names"].as_array().unwrap())
            .map(|name| name.as_str().unwrap())
            .collect();
        for call in ["io_uring_setup", "io_uring_enter", "io_uring_register", "accept4", "futex"] {
            assert!(names.contains(&call), "{call}");
        }
        for call in ["ptrace", "bpf", "mount", "kexec_load", "unshare", "setns", "clone3"] {
            assert!(!names.contains(&call), "{call}");
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a call stands in the filter twice");
    }

    #[test]
    fn a_socket_path_names_what_is_missing() {
        let path = Path::new("/nonexistent/r.sock");
        let error = std::os::unix::net::UnixListener::bind(path).unwrap_err();
        let answer = explain_bind_path(&error, path);
        assert_eq!(answer.how, ["mkdir -p /nonexistent"]);
    }

    #[test]
    fn an_absent_address_says_so() {
        let error = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let address = "192.0.2.1:80".parse().unwrap();
        let answer = explain_bind(&Host::live(), &error, address, Transport::Udp);
        assert_eq!(
            answer.to_string().lines().next(),
            Some("cannot listen on 192.0.2.1:80 (udp): this machine has no address 192.0.2.1")
        );
    }
}
