//! What the service manager is told (sd_notify(3)), where there is one: that the server serves,
//! reloads or ends, that its workers turn, and which sockets are to be kept for its next start.
//! Messages are lines of one datagram to the Unix socket that NOTIFY_SOCKET names.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::LazyLock;
use std::time::Duration;

use super::handle::ServerHandle;
use super::inherited::CHANNEL;
use super::listener::Listener;
use super::store::{self, Name};
use crate::app::error::Error;
use crate::config::{Address, Limits, Scheme};
use crate::ring::{passing, sys};
use crate::rt::console::note;

const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// A manager that does not read its messages must not hold the server up.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a drain may take beyond its bound: logs are written, threads end.
const ENDING: Duration = Duration::from_secs(5);

static MANAGER: LazyLock<Option<Manager>> = LazyLock::new(|| {
    let [socket, usec, pid] = VARIABLES.map(std::env::var_os);
    let channel = std::env::var_os(CHANNEL);
    sys::forget_variables(&VARIABLES);
    sys::forget_variables(&[CHANNEL]);
    let watchdog = watchdog(usec, pid);
    if let Some(name) = channel
        && let Some(number) = name.to_str().and_then(|name| name.parse().ok())
        && passing::is_pair(number)
        && let Ok(socket) = sys::duplicate(number)
    {
        // The number itself stays open, also for a process that replaces this one.
        return Some(Manager { socket, found_by: (CHANNEL, name), watchdog });
    }
    let name = socket.filter(|name| !name.is_empty())?;
    match connect(&name) {
        Ok(socket) => Some(Manager { socket, found_by: (VARIABLES[0], name), watchdog }),
        Err(error) => {
            note!("the service manager cannot be told: NOTIFY_SOCKET {}: {error}", name.display());
            None
        }
    }
});

/// The service manager.
struct Manager {
    socket: OwnedFd,
    /// The variable by which it was found, for a process that replaces this one.
    found_by: (&'static str, OsString),
    /// How often it wants to hear that all is well.
    watchdog: Option<Duration>,
}

/// Reads where the manager is to be told, before privileges are given up and threads start.
pub(crate) fn find() {
    LazyLock::force(&MANAGER);
}

fn connect(name: &OsString) -> io::Result<OwnedFd> {
    let socket = UnixDatagram::unbound()?;
    match name.as_bytes() {
        [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        [b'/', ..] => socket.connect(name)?,
        _ => return Err(io::Error::other("neither a path nor an abstract name")),
    }
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// WATCHDOG_USEC, if it is meant for this process.
fn watchdog(usec: Option<OsString>, pid: Option<OsString>) -> Option<Duration> {
    let number = |text: OsString| text.to_str()?.parse::<u64>().ok();
    if pid.is_some_and(|pid| number(pid) != Some(std::process::id().into())) {
        return None;
    }
    usec.and_then(number).filter(|usec| *usec > 0).map(Duration::from_micros)
}

pub(crate) fn tell(message: fmt::Arguments<'_>) {
    tell_with(message, &[]);
}

pub(crate) fn tell_with(message: fmt::Arguments<'_>, sockets: &[BorrowedFd<'_>]) {
    let Some(manager) = &*MANAGER else { return };
    if let Err(error) = passing::send(&manager.socket, message.to_string().as_bytes(), sockets) {
        note!("the service manager does not listen: {error}");
    }
}

/// The server serves: it has started, or a reload is over. Sockets of former processes that it has
/// no use for are given up.
pub(crate) fn serving(server: &ServerHandle) {
    for name in store::drop_rest() {
        tell(format_args!("FDSTOREREMOVE=1\nFDNAME={name}"));
    }
    let addresses = server.local_addrs().iter();
    let addresses: Vec<_> = addresses.map(|(scheme, bound)| format!("{scheme} {bound}")).collect();
    // The process is named in case it has taken another's place.
    tell(format_args!(
        "READY=1\nMAINPID={}\nSTATUS=serving {}",
        std::process::id(),
        addresses.join(", ")
    ));
}

/// The variables by which a process that replaces this one finds the manager.
pub(crate) fn variables() -> Vec<(&'static str, OsString)> {
    let Some(manager) = &*MANAGER else { return Vec::new() };
    [manager.found_by.clone()].into_iter().chain(watchdog_variable()).collect()
}

/// The variable that says how often the manager wants to hear that all is well.
pub(crate) fn watchdog_variable() -> Option<(&'static str, OsString)> {
    let interval = MANAGER.as_ref()?.watchdog?;
    Some((VARIABLES[1], interval.as_micros().to_string().into()))
}

/// Whether there is a service manager, or a parent in its place.
pub(crate) fn has_manager() -> bool {
    MANAGER.is_some()
}

/// Whether this process serves for a parent.
pub(crate) fn has_parent() -> bool {
    MANAGER.as_ref().is_some_and(|manager| manager.found_by.0 == CHANNEL)
}

/// Takes the end of the parent for TERM.
pub(crate) fn heed_parent() -> Result<(), Error> {
    let Some(manager) = MANAGER.as_ref().filter(|_| has_parent()) else { return Ok(()) };
    let body = move || {
        // It never says anything.
        let mut room = [0; 8];
        while passing::receive(&manager.socket, &mut room).is_ok_and(|message| message.len > 0) {}
        note!("the parent process has ended");
        let _ = signal_hook::low_level::raise(signal_hook::consts::SIGTERM);
    };
    let builder = std::thread::Builder::new().name("ringway-parent".into());
    builder.spawn(body).map(drop).map_err(Error::Worker)
}

/// Another process serves in place of this one; it tells the rest itself.
pub(crate) fn replaced(pid: u32) {
    tell(format_args!("MAINPID={pid}"));
}

/// The configuration is being loaded again; [`serving`] follows.
pub(crate) fn reloading() {
    let now = sys::monotonic_us();
    tell(format_args!("RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reloading"));
}

/// The server ends, within the time that a drain has.
pub(crate) fn stopping(limits: &Limits) {
    let usec = (limits.drain_delay + limits.drain_timeout + ENDING).as_micros();
    tell(format_args!("STOPPING=1\nEXTEND_TIMEOUT_USEC={usec}\nSTATUS=draining"));
}

/// Has the manager keep the sockets of a listener for the next start. What it has opened itself it
/// keeps anyway.
pub(crate) fn keep(listener: &Listener, address: &Address) {
    if MANAGER.is_none() || matches!(address, Address::Fd(_)) {
        return;
    }
    let udp = listener.udp.iter().map(|socket| (Scheme::H3, &socket.fd));
    let tcp = listener.sockets.iter().map(|socket| (listener.scheme, socket));
    for (at, (scheme, socket)) in tcp.enumerate().chain(udp.enumerate()) {
        let name = Name { scheme, address, at };
        // Unpolled: an error that is reported on a UDP socket does not end it.
        tell_with(format_args!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0"), &[socket.as_fd()]);
    }
}

/// Tells the manager's watchdog, twice in each of its intervals, that every worker has answered a
/// message since the last time; a worker that is stuck silences it.
pub(crate) fn watch(server: &ServerHandle) -> Result<(), Error> {
    let Some(interval) = MANAGER.as_ref().and_then(|manager| manager.watchdog) else {
        return Ok(());
    };
    let server = server.clone();
    let body = move || {
        while !server.is_finished() {
            match server.order(Vec::new).wait(interval / 2) {
                Ok(took) => {
                    tell(format_args!("WATCHDOG=1"));
                    std::thread::sleep((interval / 2).saturating_sub(took));
                }
                Err(late) => note!("the watchdog is not told that all is well: {late}"),
            }
        }
    };
    let builder = std::thread::Builder::new().name("ringway-watchdog".into());
    builder.spawn(body).map(drop).map_err(Error::Worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_that_of_the_process_that_is_named() {
        let own = std::process::id().to_string();
        for (usec, pid, interval) in [
            (Some("3000000"), None, Some(3)),
            (Some("3000000"), Some(&*own), Some(3)),
            (Some("3000000"), Some("1"), None),
            (Some("0"), None, None),
            (Some("often"), None, None),
            (None, None, None),
        ] {
            let found = watchdog(usec.map(Into::into), pid.map(Into::into));
            assert_eq!(found, interval.map(Duration::from_secs), "{usec:?} {pid:?}");
        }
    }

    #[test]
    fn paths_and_abstract_names() {
        let dir = std::env::temp_dir().join(format!("ringway-notify-{}", std::process::id()));
        let here = UnixDatagram::bind(&dir).unwrap();
        let abstracted = format!("ringway-notify-{}", std::process::id());
        let there = SocketAddr::from_abstract_name(&abstracted).unwrap();
        let there = UnixDatagram::bind_addr(&there).unwrap();
        for (name, end) in [(dir.display().to_string(), &here), (format!("@{abstracted}"), &there)]
        {
            let socket = connect(&name.into()).unwrap();
            passing::send(&socket, b"READY=1", &[]).unwrap();
            let mut room = [0; 16];
            let len = end.recv(&mut room).unwrap();
            assert_eq!(&room[..len], b"READY=1");
        }
        std::fs::remove_file(dir).unwrap();
        assert!(connect(&"vsock:2:1".into()).is_err());
    }
}
