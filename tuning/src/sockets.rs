//! Who holds a port: the kernel's socket tables name the inode, the processes' descriptors name the
//! process.

use super::Host;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Which of a port's two name spaces is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP: HTTP/1.1 and HTTP/2.
    Tcp,
    /// UDP: HTTP/3.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Who listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A process that may be looked into.
    Process {
        /// Its process id.
        pid: u32,
        /// Its name, at most 15 bytes as the kernel keeps it.
        name: String,
    },
    /// A process of another user, whose descriptors may not be read.
    User(u32),
}

impl fmt::Display for Holder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, name } => write!(out, "{name} (pid {pid})"),
            Self::User(uid) => write!(out, "a process of user id {uid}"),
        }
    }
}

/// Who already listens on `address`; several with SO_REUSEPORT.
pub(crate) fn holders(host: &Host, address: SocketAddr, transport: Transport) -> Vec<Holder> {
    let mut sockets = Vec::new();
    for family in ["", "6"] {
        let table = host.read(&format!("proc/self/net/{transport}{family}"));
        let table = table.unwrap_or_default();
        let rows = table.lines().skip(1).filter_map(|line| row(line, transport));
        sockets.extend(rows.filter(|(local, ..)| overlaps(*local, address)));
    }
    let mut found = Vec::new();
    for (_, uid, inode) in sockets {
        let processes = processes_with(host, &format!("socket:[{inode}]"));
        if processes.is_empty() {
            found.push(Holder::User(uid));
        }
        found.extend(processes);
    }
    found.dedup();
    found
}

/// A row that listens: its address, its owner and its inode. TCP's state 0A is LISTEN; a bound UDP
/// socket without a peer is 07.
fn row(line: &str, transport: Transport) -> Option<(SocketAddr, u32, u64)> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let state = match transport {
        Transport::Tcp => "0A",
        Transport::Udp => "07",
    };
    if *columns.get(3)? != state {
        return None;
    }
    let (ip, port) = columns.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((
        SocketAddr::new(address(ip)?, port),
        columns.get(7)?.parse().ok()?,
        columns.get(9)?.parse().ok()?,
    ))
}

/// An address as the tables print it: 32-bit words in the machine's own byte order.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (at, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

fn overlaps(held: SocketAddr, wanted: SocketAddr) -> bool {
    let any = |address: SocketAddr| address.ip().is_unspecified();
    held.port() == wanted.port() && (held.ip() == wanted.ip() || any(held) || any(wanted))
}

fn processes_with(host: &Host, target: &str) -> Vec<Holder> {
    let mut found = Vec::new();
    for process in host.names("proc") {
        let Ok(pid) = process.parse::<u32>() else { continue };
        let directory = format!("proc/{process}/fd");
        let holds = host.names(&directory).iter().any(|descriptor| {
            let link = host.link(format!("{directory}/{descriptor}"));
            link.is_some_and(|link| link.as_os_str() == target)
        });
        if holds {
            let name = host.read(&format!("proc/{process}/comm")).unwrap_or_else(|| "?".into());
            found.push(Holder::Process { pid, name });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn our_own_listeners_are_found() {
        let pid = std::process::id();
        let is_us = |holders: Vec<Holder>| {
            holders
                .iter()
                .any(|holder| matches!(holder, Holder::Process { pid: p, .. } if *p == pid))
        };
        let host = Host::live();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(is_us(holders(&host, tcp.local_addr().unwrap(), Transport::Tcp)));
        let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), tcp.local_addr().unwrap().port());
        assert!(is_us(holders(&host, any, Transport::Tcp)), "every address includes ours");
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(is_us(holders(&host, udp.local_addr().unwrap(), Transport::Udp)));
    }

    #[test]
    fn addresses_of_both_families() {
        if cfg!(target_endian = "little") {
            assert_eq!(address("0100007F"), Some(Ipv4Addr::LOCALHOST.into()));
            let loopback = "00000000000000000000000001000000";
            assert_eq!(address(loopback), Some(Ipv6Addr::LOCALHOST.into()));
        }
        assert_eq!(address("zz"), None);
    }

    #[test]
    fn rows_that_do_not_listen_are_left_out() {
        let connected =
            "0: 0100007F:1F90 0100007F:0050 01 00000000:00000000 00:00000000 0 7 0 99 1";
        assert_eq!(row(connected, Transport::Tcp), None);
        assert_eq!(row("", Transport::Udp), None);
    }
}
