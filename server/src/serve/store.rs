//! Sockets that a former process of this server has left with the service manager (FDSTORE=1): they
//! come back among those that are handed over, with all that has queued in them meanwhile.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use socket2::{SockAddr, SockRef};

use crate::config::{Address, Scheme};

/// What their names begin with.
pub(crate) const PREFIX: &str = "ringway/";

/// What is there and has not been asked for yet.
static STORED: Mutex<Vec<(String, OwnedFd)>> = Mutex::new(Vec::new());

fn stored() -> MutexGuard<'static, Vec<(String, OwnedFd)>> {
    STORED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of a listener's socket: what it speaks, its address as the configuration writes it, and
/// its place, which the kernel's filter for QUIC relies on.
pub(crate) struct Name<'a> {
    pub(crate) scheme: Scheme,
    pub(crate) address: &'a Address,
    pub(crate) at: usize,
}

impl Name<'_> {
    /// The name without the place.
    fn stem(scheme: Scheme, address: &Address) -> String {
        let mut stem = format!("{PREFIX}{scheme}/");
        for byte in address.to_string().bytes() {
            // Names may hold neither a colon nor what is no visible ASCII.
            if byte.is_ascii_graphic() && !matches!(byte, b':' | b'%') {
                stem.push(char::from(byte));
            } else {
                stem += &format!("%{byte:02x}");
            }
        }
        stem + "/"
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::stem(self.scheme, self.address), self.at)
    }
}

/// A socket has come back.
pub(crate) fn add(name: String, socket: OwnedFd) {
    stored().push((name, socket));
}

/// The sockets of a listener in their order, which are its own from now on; usually none.
pub(crate) fn take(scheme: Scheme, address: &Address) -> Vec<OwnedFd> {
    let mut stored = stored();
    if stored.is_empty() {
        return Vec::new();
    }
    let stem = Name::stem(scheme, address);
    let place = |name: &str| name.strip_prefix(&stem)?.parse::<usize>().ok();
    let bound = |socket: &OwnedFd| SockRef::from(socket).local_addr().ok();
    // Two listeners may have one address, whose port the kernel has chosen.
    let first = stored.iter().filter(|(name, _)| place(name) == Some(0));
    let first: Option<SockAddr> = first.map(|(_, socket)| bound(socket)).next().flatten();
    let is_one = |(name, socket): &(String, OwnedFd)| {
        place(name).is_some() && (first.is_none() || bound(socket) == first)
    };
    let mut taken: Vec<_> = stored.extract_if(.., |each| is_one(each)).collect();
    taken.sort_by_key(|(name, _)| place(name));
    taken.into_iter().map(|(_, socket)| socket).collect()
}

/// All that have come back, with their names: for a parent, which asks for none.
pub(crate) fn take_all() -> Vec<(String, OwnedFd)> {
    std::mem::take(&mut *stored())
}

/// The names of those that nobody has asked for, which are closed.
pub(crate) fn drop_rest() -> Vec<String> {
    stored().drain(..).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn sockets_come_back_by_what_they_speak_where_and_in_their_order() {
        let names = ["127.0.0.1:0", "[::1]:80", "unix:/run/a b%.sock"];
        let [chosen, v6, path] = names.map(|name| name.parse::<Address>().unwrap());
        let name = |scheme, address, at| Name { scheme, address, at }.to_string();
        assert_eq!(name(Scheme::Https, &v6, 3), "ringway/https/[%3a%3a1]%3a80/3");
        assert_eq!(name(Scheme::Http, &path, 0), "ringway/http/unix%3a/run/a%20b%25.sock/0");
        let sockets: Vec<_> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let port = |at: usize| sockets[at].local_addr().unwrap().port();
        let socket = |at: usize| OwnedFd::from(sockets[at].try_clone().unwrap());
        add(name(Scheme::Http, &chosen, 1), socket(0));
        add(name(Scheme::Http, &chosen, 0), socket(1));
        add(name(Scheme::Http, &chosen, 0), socket(0));
        add(name(Scheme::Https, &chosen, 0), socket(2));
        add(name(Scheme::Http, &v6, 0), socket(3));
        let ports = |scheme, address: &Address| {
            let taken = take(scheme, address).into_iter().map(TcpListener::from);
            taken.map(|socket| socket.local_addr().unwrap().port()).collect::<Vec<_>>()
        };
        assert!(ports(Scheme::H2c, &chosen).is_empty());
        assert_eq!(ports(Scheme::Http, &chosen), [port(1)], "the first of that address");
        assert_eq!(ports(Scheme::Http, &chosen), [port(0), port(0)], "the second");
        assert_eq!(ports(Scheme::Https, &chosen), [port(2)]);
        assert_eq!(drop_rest(), [name(Scheme::Http, &v6, 0)]);
        assert!(drop_rest().is_empty() && take(Scheme::Http, &v6).is_empty());
    }
}
