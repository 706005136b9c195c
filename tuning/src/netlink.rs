//! Routes and queueing disciplines over rtnetlink (`rtnetlink(7)`): listing them needs no
//! privilege, changing them `CAP_NET_ADMIN`. A route is kept as the very message that the kernel
//! sent, so that it can be put back exactly.

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{recv, send, socket_with};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

/// A unicast route of the main table, without what the kernel only reports of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `rtmsg` and its attributes, as the kernel sent them and takes them back.
    message: Vec<u8>,
}

/// The root queueing discipline of a network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Qdisc {
    pub(crate) device: u32,
    pub(crate) kind: String,
    /// Its handle; 0 is the one that the kernel chose by itself.
    pub(crate) handle: u32,
}

/// Every unicast route of the main table, IPv4 first.
///
/// # Errors
/// What the kernel answers; a process without network access may be refused.
pub fn routes() -> io::Result<Vec<Route>> {
    let socket = open()?;
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let mut request = vec![0; ROUTE_HEAD];
        request[0] = family;
        for message in dump(&socket, RTM_GETROUTE, &request)? {
            let route = Route::from_message(message).filter(Route::is_plain);
            found.extend(route.map(|route| route.lasting()));
        }
    }
    Ok(found)
}

/// The root queueing disciplines of all devices.
pub(crate) fn qdiscs() -> io::Result<Vec<Qdisc>> {
    let messages = dump(&open()?, RTM_GETQDISC, &[0; TC_HEAD])?;
    Ok(messages.iter().filter_map(|message| qdisc(message)).collect())
}

/// Makes `kind` the root discipline of a device, in place of the one that is there.
pub(crate) fn set_qdisc(device: u32, kind: &str) -> io::Result<()> {
    let mut message = qdisc_head(device);
    push(&mut message, TCA_KIND, &[kind.as_bytes(), &[0]].concat());
    change(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &message)
}

/// Removes the root discipline of a device, so that the kernel chooses one again.
pub(crate) fn remove_qdisc(device: u32) -> io::Result<()> {
    change(RTM_DELQDISC, 0, &qdisc_head(device))
}

impl Route {
    /// A route from the bytes that [`Route::bytes`] gave; none if they are not a route.
    pub(crate) fn from_message(message: Vec<u8>) -> Option<Self> {
        (message.len() >= ROUTE_HEAD).then_some(Self { message })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.message
    }

    /// Segments of the first flight that the route asks for; none leaves it to the kernel, which
    /// sends 10.
    pub fn initcwnd(&self) -> Option<u32> {
        self.metric(RTAX_INITCWND)
    }

    /// Segments of the window that is offered first; none leaves it to the kernel.
    pub fn initrwnd(&self) -> Option<u32> {
        self.metric(RTAX_INITRWND)
    }

    /// The index of the device that it leaves by; none for a route of several.
    pub fn device(&self) -> Option<u32> {
        self.attribute(RTA_OIF).and_then(number)
    }

    /// Whether it is the default route.
    pub fn is_default(&self) -> bool {
        self.message[1] == 0
    }

    /// The same route with other first windows.
    pub(crate) fn with_windows(&self, initcwnd: u32, initrwnd: u32) -> Self {
        let metrics = self.attribute(RTA_METRICS).unwrap_or_default();
        let mut nested = Vec::new();
        for (kind, data) in attributes(metrics) {
            if kind != RTAX_INITCWND && kind != RTAX_INITRWND {
                push(&mut nested, kind, data);
            }
        }
        push(&mut nested, RTAX_INITCWND, &initcwnd.to_ne_bytes());
        push(&mut nested, RTAX_INITRWND, &initrwnd.to_ne_bytes());
        let mut message = self.without_metrics();
        push(&mut message, RTA_METRICS, &nested);
        Self { message }
    }

    /// Puts the route into the kernel's table in place of the one with the same destination.
    pub(crate) fn replace(&self) -> io::Result<()> {
        // Without NLM_F_CREATE: a route that went away in the meantime stays away.
        change(RTM_NEWROUTE, NLM_F_REPLACE, &self.message)
    }

    /// The route without counters and ages, and without the flags that say whether its next hop
    /// lives.
    fn lasting(&self) -> Self {
        let mut message = self.message[..ROUTE_HEAD].to_vec();
        let flags = number(&message[8..12]).unwrap_or_default() & RTNH_F_ONLINK;
        message[8..12].copy_from_slice(&flags.to_ne_bytes());
        for (kind, data) in attributes(&self.message[ROUTE_HEAD..]) {
            if kind != RTA_CACHEINFO {
                push(&mut message, kind, data);
            }
        }
        Self { message }
    }

    /// Whether the route must not be changed: router-announced routes expire, and link-local ones
    /// carry no traffic of ours.
    pub(crate) fn is_foreign(&self) -> bool {
        let link_local = self
            .address(RTA_DST)
            .is_some_and(|address| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()));
        self.message[5] == RTPROT_RA || link_local
    }

    fn without_metrics(&self) -> Vec<u8> {
        let mut message = self.message[..ROUTE_HEAD].to_vec();
        for (kind, data) in attributes(&self.message[ROUTE_HEAD..]) {
            if kind != RTA_METRICS {
                push(&mut message, kind, data);
            }
        }
        message
    }

    /// Unicast, in the main table, and not a cached exception.
    fn is_plain(&self) -> bool {
        let flags = number(&self.message[8..12]).unwrap_or_default();
        let table = self.attribute(RTA_TABLE).and_then(number);
        let table = table.unwrap_or(u32::from(self.message[4]));
        self.message[7] == RTN_UNICAST && table == RT_TABLE_MAIN && flags & RTM_F_CLONED == 0
    }

    fn attribute(&self, wanted: u16) -> Option<&[u8]> {
        attributes(&self.message[ROUTE_HEAD..])
            .find(|(kind, _)| *kind == wanted)
            .map(|(_, data)| data)
    }

    fn metric(&self, wanted: u16) -> Option<u32> {
        let (_, data) =
            attributes(self.attribute(RTA_METRICS)?).find(|(kind, _)| *kind == wanted)?;
        number(data)
    }

    fn address(&self, wanted: u16) -> Option<IpAddr> {
        let data = self.attribute(wanted)?;
        match self.message[0] {
            AF_INET => Some(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
            _ => Some(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
        }
    }
}

/// As `ip route` names it: `default via 192.0.2.1`, `10.0.0.0/8`.
impl fmt::Display for Route {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address(RTA_DST) {
            Some(destination) => write!(out, "{destination}/{}", self.message[1])?,
            None if self.message[0] == AF_INET6 => out.write_str("default (IPv6)")?,
            None => out.write_str("default")?,
        }
        match self.address(RTA_GATEWAY) {
            Some(gateway) => write!(out, " via {gateway}"),
            None => Ok(()),
        }
    }
}

fn qdisc(message: &[u8]) -> Option<Qdisc> {
    let field = |at: usize| number(message.get(at..at + 4)?);
    let (device, handle, parent) = (field(4)?, field(8)?, field(12)?);
    let (_, kind) = attributes(message.get(TC_HEAD..)?).find(|(kind, _)| *kind == TCA_KIND)?;
    let kind = String::from_utf8_lossy(kind).trim_end_matches('\0').to_owned();
    (parent == TC_H_ROOT).then_some(Qdisc { device, kind, handle })
}

fn qdisc_head(device: u32) -> Vec<u8> {
    let mut head = vec![0; TC_HEAD];
    head[4..8].copy_from_slice(&device.to_ne_bytes());
    head[12..16].copy_from_slice(&TC_H_ROOT.to_ne_bytes());
    head
}

fn open() -> io::Result<OwnedFd> {
    // Protocol 0 is NETLINK_ROUTE. The kernel gives the socket its address with the first message.
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?)
}

/// Asks for everything of a kind.
fn dump(socket: &OwnedFd, kind: u16, payload: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    send(socket, &framed(kind, NLM_F_DUMP, payload), SendFlags::empty())?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (_, length) = recv(socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        for (kind, body) in messages(&buffer[..length.min(buffer.len())]) {
            match kind {
                NLMSG_DONE => return Ok(found),
                NLMSG_ERROR => answer(body)?,
                _ => found.push(body.to_vec()),
            }
        }
    }
}

/// Sends a change and waits for the kernel's answer.
fn change(kind: u16, flags: u16, payload: &[u8]) -> io::Result<()> {
    let socket = open()?;
    send(&socket, &framed(kind, NLM_F_ACK | flags, payload), SendFlags::empty())?;
    let mut buffer = vec![0; 16 * 1024];
    let (_, length) = recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
    match messages(&buffer[..length.min(buffer.len())]).next() {
        Some((NLMSG_ERROR, body)) => answer(body),
        _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
    }
}

/// The number in an error message: 0 is an acknowledgement.
fn answer(body: &[u8]) -> io::Result<()> {
    let number = body.get(..4).and_then(|bytes| Some(i32::from_ne_bytes(bytes.try_into().ok()?)));
    match number {
        Some(0) => Ok(()),
        Some(negative) => Err(io::Error::from_raw_os_error(-negative)),
        None => Err(io::Error::from(io::ErrorKind::InvalidData)),
    }
}

fn framed(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(MESSAGE_HEAD + payload.len());
    message.extend(((MESSAGE_HEAD + payload.len()) as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(payload);
    message
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = number(bytes.get(..4)?)? as usize;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let body = bytes.get(MESSAGE_HEAD..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) as usize;
        // The top two bits are flags, not part of the type.
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let data = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, data))
    })
}

fn push(message: &mut Vec<u8>, kind: u16, data: &[u8]) {
    message.extend(((data.len() + 4) as u16).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(data);
    message.resize(message.len().next_multiple_of(4), 0);
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?))
}

// linux/netlink.h, linux/rtnetlink.h
const MESSAGE_HEAD: usize = 16;
const ROUTE_HEAD: usize = 12;
const TC_HEAD: usize = 20;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_GETQDISC: u16 = 38;
const RTM_F_CLONED: u32 = 0x200;
const RTNH_F_ONLINK: u32 = 4;
const RTPROT_RA: u8 = 9;
const RTN_UNICAST: u8 = 1;
const RT_TABLE_MAIN: u32 = 254;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_METRICS: u16 = 8;
const RTA_CACHEINFO: u16 = 12;
const RTA_TABLE: u16 = 15;
const RTAX_INITCWND: u16 = 11;
const RTAX_INITRWND: u16 = 14;
const TCA_KIND: u16 = 1;
const TC_H_ROOT: u32 = 0xffff_ffff;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn route() -> Route {
        let mut message = vec![AF_INET, 8, 0, 0, 254, 2, 253, RTN_UNICAST, 0, 0, 0, 0];
        push(&mut message, RTA_DST, &[10, 0, 0, 0]);
        push(&mut message, RTA_OIF, &3u32.to_ne_bytes());
        let mut metrics = Vec::new();
        push(&mut metrics, 2, &1400u32.to_ne_bytes());
        push(&mut message, RTA_METRICS, &metrics);
        Route { message }
    }

    #[test]
    fn windows_are_set_and_nothing_else_changes() {
        let before = route();
        let after = before.with_windows(32, 33);
        assert_eq!((before.initcwnd(), before.initrwnd()), (None, None));
        assert_eq!((after.initcwnd(), after.initrwnd()), (Some(32), Some(33)));
        assert_eq!(after.metric(2), Some(1400), "the other metrics stay");
        assert_eq!(after.without_metrics(), before.without_metrics());
        assert!(after.is_plain() && !after.is_foreign());
        assert_eq!(after.with_windows(10, 10).with_windows(32, 33), after);
        assert_eq!((after.to_string(), after.device()), ("10.0.0.0/8".into(), Some(3)));
    }

    #[test]
    fn broken_messages_end_the_walk() {
        assert_eq!(attributes(&[2, 0, 0, 0]).count(), 0, "shorter than its own head");
        assert_eq!(attributes(&[9, 0, 1, 0, 5]).count(), 0, "longer than what there is");
        assert_eq!(messages(&[0; 16]).count(), 0);
        assert_eq!(messages(&[1, 2, 3]).count(), 0);
    }

    #[test]
    fn the_kernel_lists_routes_and_disciplines() {
        for route in routes().unwrap() {
            assert!(!route.to_string().is_empty());
        }
        assert!(qdiscs().unwrap().iter().all(|qdisc| !qdisc.kind.is_empty()));
    }
}
