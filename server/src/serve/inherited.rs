//! Sockets that whoever started this process has handed over (sd_listen_fds(3)): the socket units
//! of systemd, `systemd-socket-activate`, or any program that opens them at 3, 4, … and says so in
//! LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::LazyLock;

use socket2::{Domain, SockRef, Type};

use super::store;
use crate::config::{Address, Descriptor};
use crate::ring::sys;

/// The number of the first one.
const FIRST: RawFd = 3;
/// More are a mistake of whoever set the variable.
const MOST: RawFd = 4096;

/// The variables that say what was handed over.
const VARIABLES: [&str; 3] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// Names the descriptor by which a server talks to its parent, which talks to the manager.
pub(crate) const CHANNEL: &str = "RINGWAY_PARENT";
/// The sockets that a parent leaves to its server: `7=NAME:9=NAME`.
pub(crate) const SOCKETS: &str = "RINGWAY_SOCKETS";

static HANDED: LazyLock<Handed> = LazyLock::new(|| {
    let variable = |name| std::env::var(name).ok();
    let mut found = match variable(SOCKETS) {
        Some(sockets) if variable(CHANNEL).is_some() => Handed::left(&sockets),
        _ => {
            let [count, process, names] = VARIABLES.map(variable);
            Handed::read(count.as_deref(), process.as_deref(), names.as_deref())
        }
    };
    for each in found.sockets.extract_if(.., |each| each.name.starts_with(store::PREFIX)) {
        if let Ok(socket) = sys::own(each.number) {
            store::add(each.name, socket);
        }
    }
    for each in &found.sockets {
        // Neither handlers' children nor a successor get them by accident.
        let _ = sys::close_on_exec(each.number);
    }
    sys::forget_variables(&VARIABLES);
    sys::forget_variables(&[SOCKETS]);
    found
});

/// Reads what was handed over, before anything else opens a descriptor or starts a thread.
pub(crate) fn find() {
    LazyLock::force(&HANDED);
}

/// All that the service manager has handed over: names and numbers.
pub(crate) fn all() -> Vec<(String, RawFd)> {
    HANDED.sockets.iter().map(|each| (each.name.clone(), each.number)).collect()
}

/// What the variables say.
#[derive(Debug, PartialEq, Eq)]
struct Handed {
    sockets: Vec<Named>,
    /// Why there are none.
    why_none: String,
}

/// A descriptor and its name; without LISTEN_FDNAMES it is called `unknown`.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    number: RawFd,
    name: String,
}

impl Handed {
    fn read(count: Option<&str>, process: Option<&str>, names: Option<&str>) -> Self {
        let none = |why_none| Self { sockets: Vec::new(), why_none };
        let Some(count) = count else { return none("LISTEN_FDS is not set".into()) };
        match process.map(str::parse::<u32>) {
            Some(Ok(pid)) if pid == std::process::id() => {}
            Some(Ok(pid)) => {
                return none(format!("LISTEN_FDS is meant for process {pid} (LISTEN_PID)"));
            }
            _ => return none("LISTEN_FDS is set, and LISTEN_PID names no process".into()),
        }
        let count = match count.parse::<RawFd>() {
            Ok(count) if (0..=MOST).contains(&count) => count,
            _ => {
                return none(format!("LISTEN_FDS is `{count}`, which is no number of descriptors"));
            }
        };
        let mut names = names.unwrap_or_default().split(':').filter(|name| !name.is_empty());
        let named = |number| Named { number, name: names.next().unwrap_or("unknown").into() };
        let sockets = (FIRST..FIRST + count).map(named).collect();
        Self { sockets, why_none: "LISTEN_FDS is 0".into() }
    }

    /// What a parent has left.
    fn left(sockets: &str) -> Self {
        let named = |each: &str| {
            let (number, name) = each.split_once('=')?;
            Some(Named { number: number.parse().ok()?, name: name.into() })
        };
        let sockets = sockets.split(':').filter_map(named).collect();
        Self { sockets, why_none: "LISTEN_FDS is not set".into() }
    }

    /// What there is, for messages.
    fn list(&self) -> String {
        if self.sockets.is_empty() {
            return self.why_none.clone();
        }
        let mut text = String::from("handed over: ");
        for (at, Named { number, name }) in self.sockets.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let _ = write!(text, "{comma}fd:{number} `{name}`, {}", Kind::of(*number).said());
        }
        text
    }
}

/// What stands behind a descriptor.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// A stream socket that listens, TCP or Unix.
    Listener,
    /// A stream socket that does not.
    Connection,
    /// A UDP socket.
    Udp,
    /// Neither; what it is.
    Other(String),
}

impl Kind {
    fn of(number: RawFd) -> Self {
        let socket = match sys::duplicate(number) {
            Ok(socket) => socket,
            Err(_) => return Self::Other("not open".into()),
        };
        let socket = SockRef::from(&socket);
        let (Ok(domain), Ok(kind)) = (socket.domain(), socket.r#type()) else {
            let link = std::fs::read_link(format!("/proc/self/fd/{number}"));
            let target = link.map(|to| to.display().to_string()).unwrap_or_default();
            return Self::Other(format!("no socket but {target}"));
        };
        let is_ip = domain == Domain::IPV4 || domain == Domain::IPV6;
        match kind {
            Type::STREAM if socket.is_listener().unwrap_or(false) => Self::Listener,
            Type::STREAM => Self::Connection,
            Type::DGRAM if is_ip => Self::Udp,
            Type::DGRAM => Self::Other("a Unix datagram socket".into()),
            _ => Self::Other("a socket of another kind".into()),
        }
    }

    fn said(&self) -> &str {
        match self {
            Self::Listener => "a listening socket",
            Self::Connection => "a stream that does not listen",
            Self::Udp => "a UDP socket",
            Self::Other(what) => what,
        }
    }
}

/// An address of the configuration as the addresses to bind: a name stands for every listening
/// socket that has it.
pub(crate) fn expand(address: &Address) -> Vec<Address> {
    let Address::Fd(Descriptor::Name(name)) = address else { return vec![address.clone()] };
    let named = HANDED.sockets.iter().filter(|each| each.name == *name);
    let listeners = named.filter(|each| Kind::of(each.number) == Kind::Listener);
    let all: Vec<_> = listeners.map(|each| Address::Fd(Descriptor::Number(each.number))).collect();
    // What is wrong with the name is said where it is looked up.
    if all.is_empty() { vec![address.clone()] } else { all }
}

/// The listening socket that a configuration names.
pub(crate) fn listener(descriptor: &Descriptor) -> io::Result<OwnedFd> {
    let number = match descriptor {
        Descriptor::Number(number) => *number,
        Descriptor::Name(name) => {
            let named = HANDED.sockets.iter().find(|each| each.name == *name);
            let unknown = || wrong(format!("no descriptor is named `{name}`; {}", HANDED.list()));
            named.ok_or_else(unknown)?.number
        }
    };
    let mend = match Kind::of(number) {
        Kind::Listener => return sys::duplicate(number),
        Kind::Connection => "the socket unit has to say Accept=no",
        Kind::Udp => {
            "a stream is wanted (ListenStream=); the UDP socket of HTTP/3 is found by its port"
        }
        Kind::Other(_) => "a listening socket is wanted (ListenStream=)",
    };
    Err(wrong(format!("descriptor {number} is {}: {mend}", Kind::of(number).said())))
}

/// The UDP socket that was handed over for the port of a listener.
pub(crate) fn udp(listener: SocketAddr) -> io::Result<(SocketAddr, OwnedFd)> {
    let mut of_port = Vec::new();
    for each in HANDED.sockets.iter().filter(|each| Kind::of(each.number) == Kind::Udp) {
        let socket = sys::duplicate(each.number)?;
        if let Some(here) = SockRef::from(&socket).local_addr()?.as_socket()
            && here.port() == listener.port()
        {
            of_port.push((here, socket));
        }
    }
    let same = of_port.iter().position(|(here, _)| *here == listener);
    if of_port.is_empty() {
        let port = listener.port();
        return Err(wrong(format!(
            "no UDP socket of port {port} was handed over (ListenDatagram={port} in the socket unit)"
        )));
    }
    Ok(of_port.swap_remove(same.unwrap_or(0)))
}

fn wrong(message: String) -> io::Error {
    io::Error::other(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(count: &str, process: &str, names: Option<&str>) -> Handed {
        Handed::read(Some(count), Some(process), names)
    }

    #[test]
    fn variables_count_for_the_process_that_they_name() {
        let own = std::process::id().to_string();
        let Handed { sockets, .. } = read("3", &own, Some("web:quic"));
        let found: Vec<_> = sockets.iter().map(|each| (each.number, &*each.name)).collect();
        assert_eq!(found, [(3, "web"), (4, "quic"), (5, "unknown")]);
        assert_eq!(read("0", &own, None).sockets, []);
        for (count, process, said) in [
            ("1", "1", "process 1 "),
            ("1", "", "names no process"),
            ("-1", &*own, "no number"),
            ("9999999", &*own, "no number"),
            ("x", &*own, "no number"),
        ] {
            let found = read(count, process, None);
            assert!(found.sockets.is_empty() && found.list().contains(said), "{}", found.list());
        }
        let unset = Handed::read(None, Some(&own), None);
        assert_eq!(unset.list(), "LISTEN_FDS is not set");
    }

    #[test]
    fn kinds_are_told_apart() {
        use std::os::fd::AsRawFd;
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let datagrams = std::os::unix::net::UnixDatagram::unbound().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        for (number, said) in [
            (tcp.as_raw_fd(), "a listening socket"),
            (client.as_raw_fd(), "a stream that does not listen"),
            (udp.as_raw_fd(), "a UDP socket"),
            (datagrams.as_raw_fd(), "a Unix datagram socket"),
            (file.as_raw_fd(), "no socket but /dev/null"),
            (RawFd::MAX, "not open"),
        ] {
            assert_eq!(Kind::of(number).said(), said);
        }
    }
}
