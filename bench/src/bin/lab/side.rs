//! One side of the link: a network namespace that lives as long as this process holds it, with a
//! TUN device in it that carries everything but loopback. No name is registered anywhere, so
//! nothing is left behind, however the lab ends.

use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Command;
use std::thread;
use tappers::{Interface, Tun};

const DEVICE: &str = "lab0";

/// The congestion control of most servers, and of QUIC here by default, whatever this machine is
/// set to.
pub(crate) const CONGESTION_CONTROL: &str = "cubic";

/// Differences from the kernel's defaults inside a side, and the reasons.
const SYSCTLS: [(&str, &str); 5] = [
    // Each experiment begins with a fresh slow start, not with metrics of the last one.
    ("net/ipv4/tcp_no_metrics_save", "1"),
    ("net/ipv6/conf/all/disable_ipv6", "1"),
    // A rebound address is answered through the same device, whatever it is.
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/lab0/rp_filter", "0"),
    // No server here answers unless asked; the lab's thousands of SYNs come from one address.
    ("net/ipv4/tcp_max_syn_backlog", "4096"),
];

/// A namespace and its end of the link.
pub(crate) struct Side {
    namespace: File,
    tun: Tun,
}

impl Side {
    /// A namespace with a device of this address, everything else routed through it. Needs root
    /// and `/dev/net/tun`.
    pub(crate) fn new(address: Ipv4Addr) -> io::Result<Self> {
        let made = thread::Builder::new().name("lab-side".into()).spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let namespace = File::open("/proc/thread-self/ns/net")?;
            let mut tun = Tun::new_named(Interface::new(DEVICE)?)?;
            tun.set_nonblocking(true)?;
            ip(&["link", "set", "lo", "up"])?;
            ip(&["addr", "add", &format!("{address}/32"), "dev", DEVICE])?;
            // A burst of TCP waits in the device until the link takes it.
            ip(&["link", "set", DEVICE, "up", "txqueuelen", "10000"])?;
            // Set by the route, because a namespace can only choose what its machine allows.
            ip(&["route", "add", "default", "dev", DEVICE, "congctl", CONGESTION_CONTROL])?;
            for (name, value) in SYSCTLS {
                // Absent without IPv6, and perhaps in later kernels.
                let _ = fs::write(format!("/proc/sys/{name}"), value);
            }
            Ok(Self { namespace, tun })
        })?;
        made.join().unwrap_or_else(|_| Err(io::Error::other("the side's thread panicked")))
    }

    /// Runs `body` on a thread inside the namespace; the sockets and threads that it makes belong
    /// there.
    pub(crate) fn within<T: Send>(&self, body: impl FnOnce() -> T + Send) -> io::Result<T> {
        thread::scope(|scope| {
            let run = scope.spawn(|| {
                setns(&self.namespace, CloneFlags::CLONE_NEWNET)?;
                Ok(body())
            });
            run.join().unwrap_or_else(|_| Err(io::Error::other("the experiment panicked")))
        })
    }

    pub(crate) fn receive(&self, packet: &mut [u8]) -> io::Result<usize> {
        self.tun.recv(packet)
    }

    pub(crate) fn send(&self, packet: &[u8]) -> io::Result<usize> {
        self.tun.send(packet)
    }
}

impl AsFd for Side {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tun.as_fd()
    }
}

/// Runs iproute2 in the namespace of the calling thread.
pub(crate) fn ip(arguments: &[&str]) -> io::Result<()> {
    let done = Command::new("ip").args(arguments).output()?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr).trim().to_string();
    Err(io::Error::other(format!("ip {}: {said}", arguments.join(" "))))
}
