//! A worker's listeners and whether they accept.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use ringway_codec::Time;

use crate::conn::{Arrival, OVER_TLS};
use crate::listen::Scheme;
use crate::ring::Ring;
use crate::ring::token::Id;
use crate::tls::Acceptor;

/// How long accepting rests when the process or the system is out of descriptors or memory.
const REST: Duration = Duration::from_millis(100);

/// A worker's listeners.
pub(crate) struct Doors {
    doors: Vec<Door>,
    /// The ways in which clients are told of HTTP/3: see [`Desk::advertise`].
    ///
    /// [`Desk::advertise`]: crate::desk::Desk::advertise
    pub(crate) ways: Vec<String>,
    paused: bool,
    closed: bool,
    retry_at: Option<Time>,
    /// Times that accepting failed for want of descriptors or memory.
    pub(crate) exhausted: u64,
}

/// A worker's share of a listener.
pub(crate) struct Share {
    pub(crate) scheme: Scheme,
    pub(crate) socket: OwnedFd,
    /// Makes the sessions of a TLS listener.
    pub(crate) acceptor: Option<Acceptor>,
    /// What its clients are told of HTTP/3.
    pub(crate) alt_svc: Option<AltSvc>,
}

/// What clients over TLS are told of HTTP/3 (RFC 7838).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AltSvc {
    /// The field's value.
    pub(crate) value: String,
    /// Of a hundred connections, how many are told.
    pub(crate) share: u8,
}

struct Door {
    scheme: Scheme,
    acceptor: Option<Acceptor>,
    socket: Option<OwnedFd>,
    accepting: bool,
    /// Which of the ways to tell of HTTP/3 is its own, and of a hundred connections how many are
    /// told.
    alt: (u8, u8),
    arrived: u64,
}

impl Doors {
    pub(crate) fn new(shares: Vec<Share>) -> Self {
        let mut ways = Vec::new();
        let door = |share: Share| {
            let alt = share.alt_svc.map_or((OVER_TLS, 0), |alt| {
                ways.push(alt.value);
                (OVER_TLS + ways.len() as u8, alt.share)
            });
            Door {
                scheme: share.scheme,
                acceptor: share.acceptor,
                socket: Some(share.socket),
                accepting: false,
                alt,
                arrived: 0,
            }
        };
        Self {
            doors: shares.into_iter().map(door).collect(),
            ways,
            paused: false,
            closed: false,
            retry_at: None,
            exhausted: 0,
        }
    }

    /// Accepts on every listener that is not accepting yet.
    pub(crate) fn open(&mut self, ring: &mut Ring) {
        if self.paused || self.closed {
            return;
        }
        for (index, door) in self.doors.iter_mut().enumerate() {
            if let (false, Some(socket)) = (door.accepting, &door.socket) {
                door.accepting = true;
                ring.accept(Id { index: index as u32, generation: 0 }, socket.as_raw_fd());
            }
        }
    }

    /// How a connection from this listener begins.
    pub(crate) fn arrival(&mut self, door: Id) -> Option<Arrival> {
        let door = self.doors.get_mut(door.index as usize)?;
        match (door.scheme, &mut door.acceptor) {
            (Scheme::Http | Scheme::Metrics, _) => Some(Arrival::Http),
            (Scheme::H3, _) => None,
            (Scheme::H2c, _) => Some(Arrival::H2c),
            (Scheme::Https, acceptor) => {
                let session = acceptor.as_mut()?.session().ok()?;
                Some(Arrival::Tls(Box::new(session), door.alt()))
            }
        }
    }

    /// Takes an accept's completion: goes on, or rests where there is nothing to accept with.
    pub(crate) fn accepted(
        &mut self,
        door: Id,
        result: i32,
        more: bool,
        now: Time,
        ring: &mut Ring,
    ) {
        if more {
            return;
        }
        if let Some(door) = self.doors.get_mut(door.index as usize) {
            door.accepting = false;
        }
        match -result {
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => {
                self.exhausted += 1;
                self.retry_at = Some(now + REST);
            }
            _ => self.open(ring),
        }
    }

    /// When accepting is to be tried again.
    pub(crate) fn retry_at(&self) -> Option<Time> {
        self.retry_at
    }

    /// Tries again if the rest is over.
    pub(crate) fn retry(&mut self, now: Time, ring: &mut Ring) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.open(ring);
        }
    }

    /// Leaves further connections in the kernel's queue: there is no slot for them.
    pub(crate) fn pause(&mut self, ring: &mut Ring) {
        if !self.paused {
            self.paused = true;
            self.stop(ring);
        }
    }

    /// A slot is free again.
    pub(crate) fn resume(&mut self, ring: &mut Ring) {
        if self.paused {
            self.paused = false;
            self.open(ring);
        }
    }

    /// Accepts no more, for good.
    pub(crate) fn close(&mut self, ring: &mut Ring) {
        if !self.closed {
            self.closed = true;
            self.retry_at = None;
            self.stop(ring);
            for door in &mut self.doors {
                door.socket = None;
            }
        }
    }

    fn stop(&self, ring: &mut Ring) {
        for (index, _) in self.doors.iter().enumerate().filter(|(_, door)| door.accepting) {
            ring.stop_accepting(Id { index: index as u32, generation: 0 });
        }
    }
}

impl Door {
    /// What the connection at hand is told of HTTP/3: evenly spread among those that come.
    fn alt(&mut self) -> u8 {
        let (way, share) = self.alt;
        let told = |arrived: u64| arrived * u64::from(share) / 100;
        self.arrived += 1;
        if told(self.arrived) > told(self.arrived - 1) { way } else { OVER_TLS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Settings;

    /// Row 28: where there is nothing to accept with, accepting rests, and is counted.
    #[test]
    fn accepting_rests_when_the_kernel_has_run_out() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let share =
            Share { scheme: Scheme::Http, socket: socket.into(), acceptor: None, alt_svc: None };
        let mut ring = Ring::new(&Settings { buffers: 2, ..Settings::default() }).unwrap();
        let mut doors = Doors::new(vec![share]);
        let (door, now) = (Id::default(), Time(5_000_000));
        doors.open(&mut ring);
        let out = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
        for (n, errno) in out.into_iter().enumerate() {
            doors.accepted(door, -errno, false, now, &mut ring);
            assert_eq!((doors.exhausted, doors.retry_at()), (n as u64 + 1, Some(now + REST)));
            doors.retry(now, &mut ring);
            assert!(!doors.doors[0].accepting, "not before its time");
            doors.retry(now + REST, &mut ring);
            assert!(doors.doors[0].accepting && doors.retry_at().is_none());
        }
        // A client that went away before it was accepted is no reason to rest.
        doors.accepted(door, -libc::ECONNABORTED, false, now, &mut ring);
        assert!(doors.doors[0].accepting && doors.retry_at().is_none());
        assert_eq!(doors.exhausted, 4);
    }

    #[test]
    fn of_a_hundred_connections_the_share_is_told() {
        for share in [0, 1, 33, 50, 99, 100] {
            let mut door = Door {
                scheme: Scheme::Https,
                acceptor: None,
                socket: None,
                accepting: false,
                alt: (3, share),
                arrived: 0,
            };
            let told = (0..1000).filter(|_| door.alt() == 3).count();
            assert_eq!(told, usize::from(share) * 10);
        }
    }
}
