//! `ringway doctor`: every capability and limit of the kernel and the hardware that a server
//! depends on, each as found, wanted, why and how. It only looks, needs no privilege, and takes
//! what cannot be seen as a note, not as a fault.

mod cpu;
mod kernel;
mod network;

use crate::firewall::Firewall;
use crate::netlink::{self, Route};
use crate::report::{Item, Report, Verdict};
use crate::{Host, firewall, start};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};

/// Where HTTP/3 is served to everybody.
const HTTP3: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, firewall::PORT));

/// Facts that need a ring or sockets, not files.
#[derive(Debug, Default)]
pub struct Facts {
    /// The result of probing io_uring; `None` if not probed.
    pub ring: Option<Ring>,
    /// The unicast routes of the main table; none if they cannot be listed.
    pub routes: Option<Vec<Route>>,
    /// The packet filter's rules, or why they cannot be seen; none if nobody asked.
    pub firewall: Option<Result<Firewall, String>>,
    /// Whether UDP port 443 could be bound; none if nobody tried.
    pub udp_443: Option<io::Result<()>>,
    /// Whether UDP sockets take `UDP_SEGMENT` (batched sending); none if nobody asked.
    pub udp_gso: Option<bool>,
    /// Whether UDP sockets take `UDP_GRO` (batched receiving); none if nobody asked.
    pub udp_gro: Option<bool>,
    /// The certificates of the configuration, where one was given.
    pub certificates: Vec<Certificate>,
}

/// A certificate, from a client's view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The file that it is in.
    pub file: String,
    /// The last day on which it is valid: `2026-11-30`.
    pub end: String,
    /// Its flaws, a line each.
    pub flaws: Vec<String>,
    /// Whether every client refuses it.
    pub is_refused: bool,
}

/// What a probe of io_uring found.
#[derive(Debug)]
pub enum Ring {
    /// It was refused.
    Refused(io::Error),
    /// It works, with these features.
    Works(Vec<Feature>),
}

/// One operation or flag of io_uring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name: `RECV multishot`.
    pub name: String,
    /// Whether this kernel has it.
    pub has: bool,
    /// Whether ringway cannot serve without it.
    pub needed: bool,
    /// What it is for.
    pub why: String,
}

impl Facts {
    /// The facts that need no ring.
    pub fn of_this_machine() -> Self {
        Self {
            routes: netlink::routes().ok(),
            firewall: Some(Firewall::of_this_machine()),
            udp_443: Some(UdpSocket::bind(HTTP3).map(drop)),
            ..Self::default()
        }
    }
}

/// Examines everything.
pub fn examine(host: &Host, facts: &Facts) -> Report {
    let mut items = kernel::examine(host, facts.ring.as_ref());
    items.extend(kernel::limits(host));
    items.extend(cpu::examine(host));
    items.extend(network::examine(host, facts));
    items.extend(facts.certificates.iter().map(certificate));
    // The start-up messages already explain this remedy; it is taken from there.
    if let Some(Ring::Refused(error)) = &facts.ring
        && let Some(item) = items.iter_mut().find(|item| item.name == "io_uring")
    {
        let answer = start::explain_ring(host, error);
        item.found = answer.why;
        item.how = answer.how;
    }
    Report { items }
}

fn certificate(of: &Certificate) -> Item {
    let found = match &of.flaws[..] {
        [] => format!("valid until {}", of.end),
        flaws => flaws.join("; "),
    };
    let verdict = if of.is_refused { Verdict::Harmful } else { Verdict::Better };
    let why = "clients connect only where they can verify it";
    Item::new("certificates", &*of.file, found, "valid today, and naming its hosts", why)
        .unless(of.flaws.is_empty(), verdict)
        .how("renew it with its hosts as subjectAltName; the server takes the new file by itself")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Fixture;

    #[test]
    fn this_machine_is_examined_without_privilege() {
        let report = examine(&Host::live(), &Facts::of_this_machine());
        let mut names: Vec<_> = report.items.iter().map(|item| item.name.as_str()).collect();
        for wanted in ["kernel", "file descriptors", "clock source", "net.core.somaxconn"] {
            assert!(names.contains(&wanted), "{wanted} is missing from {names:?}");
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a name stands twice");
        for item in &report.items {
            assert!(!item.found.is_empty() && !item.why.is_empty(), "{item:?}");
            assert!(item.verdict < Verdict::Better || !item.wanted.is_empty(), "{item:?}");
        }
    }

    #[test]
    fn an_empty_machine_is_a_list_of_notes() {
        let report = examine(&Fixture::new("empty").host(), &Facts::default());
        assert!(!report.items.is_empty());
        for item in report.items.iter().filter(|item| item.group != "limits") {
            assert_eq!(item.verdict, Verdict::Note, "{item:?}");
        }
    }

    /// F6, F7.
    #[test]
    fn certificates_stand_as_their_clients_take_them() {
        let certificate = |file: &str, flaws: &[&str], is_refused| Certificate {
            file: file.into(),
            end: "2020-12-31".into(),
            flaws: flaws.iter().map(|flaw| (*flaw).into()).collect(),
            is_refused,
        };
        let certificates = vec![
            certificate("a.pem", &[], false),
            certificate("b.pem", &["names no host"], false),
            certificate("c.pem", &["expired on 2020-12-31"], true),
        ];
        let facts = Facts { certificates, ..Facts::default() };
        let report = examine(&Fixture::new("certificates").host(), &facts);
        let of = |file: &str| report.items.iter().find(|item| item.name == file).unwrap();
        assert_eq!(
            (of("a.pem").verdict, &*of("a.pem").found),
            (Verdict::Fine, "valid until 2020-12-31")
        );
        assert_eq!(of("b.pem").verdict, Verdict::Better);
        assert_eq!(of("c.pem").verdict, Verdict::Harmful);
        assert!(report.is_harmful() && of("c.pem").found.contains("2020-12-31"));
    }

    #[test]
    fn a_refused_ring_is_harmful_and_says_why() {
        let machine = Fixture::new("refused").with("proc/sys/kernel/io_uring_disabled", "2\n");
        let refused = Ring::Refused(io::Error::from_raw_os_error(1));
        let facts = Facts { ring: Some(refused), ..Facts::default() };
        let report = examine(&machine.host(), &facts);
        assert!(report.is_harmful());
        let item = report.items.iter().find(|item| item.name == "io_uring").unwrap();
        assert!(item.found.contains("io_uring_disabled is 2"), "{item:?}");
        assert_eq!(item.how, ["sudo sysctl kernel.io_uring_disabled=0"]);
    }
}
