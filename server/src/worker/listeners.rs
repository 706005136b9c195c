//! A worker's listeners and whether they accept.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use ringway_codec::Time;

use crate::config::Scheme;
use crate::conn::Arrival;
use crate::proto::CommonKind;
use crate::ring::Ring;
use crate::ring::token::Id;
use crate::tls::Acceptor;

/// Pause of accepting when the process or the system is out of descriptors or memory.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Accepted connections that may wait for room: one for each listener in single-accept mode, and
/// those accepted before the mode changed.
const WAITING_MAX: usize = 8;

/// A worker's listeners.
pub(crate) struct Listeners {
    listeners: Vec<WorkerListener>,
    /// The Alt-Svc values of the listeners that have one: see [`WorkerState::advertise`].
    ///
    /// [`WorkerState::advertise`]: crate::proto::state::WorkerState::advertise
    pub(crate) alt_svc_values: Vec<String>,
    paused: bool,
    /// Nothing is accepted, and the sockets are kept.
    shut: bool,
    closed: bool,
    /// One connection is accepted at a time.
    narrow: bool,
    /// Accepted connections without room yet, with their listeners.
    waiting: VecDeque<(Id, RawFd)>,
    retry_at: Option<Time>,
    /// How often accepting failed for lack of descriptors or memory.
    pub(crate) exhausted: u64,
}

/// A listener as one worker has it: its socket, and how connections begin.
pub(crate) struct ListenerConfig {
    pub(crate) scheme: Scheme,
    /// The address as the configuration writes it.
    pub(crate) written: Arc<str>,
    pub(crate) socket: OwnedFd,
    /// Makes the sessions of a TLS listener.
    pub(crate) acceptor: Option<Acceptor>,
    /// How clients learn of HTTP/3.
    pub(crate) alt_svc: Option<AltSvc>,
}

/// The Alt-Svc announcement for clients over TLS (RFC 7838).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AltSvc {
    /// The field's value.
    pub(crate) value: String,
    /// Percentage of connections that get it.
    pub(crate) share: u8,
}

struct WorkerListener {
    scheme: Scheme,
    written: Arc<str>,
    acceptor: Option<Acceptor>,
    socket: Option<OwnedFd>,
    accepting: bool,
    /// The kind of connections that get its Alt-Svc value, and their percentage.
    alt: (CommonKind, u8),
    arrived: u64,
}

impl Listeners {
    /// `accepts`: or not before [`Self::reopen`].
    pub(crate) fn new(configs: Vec<ListenerConfig>, accepts: bool) -> Self {
        let mut alt_svc_values = Vec::new();
        let listener = |config: ListenerConfig| {
            let alt = config.alt_svc.map_or((CommonKind::OVER_TLS, 0), |alt| {
                alt_svc_values.push(alt.value);
                (CommonKind::with_alt_svc(alt_svc_values.len() - 1), alt.share)
            });
            WorkerListener {
                scheme: config.scheme,
                written: config.written,
                acceptor: config.acceptor,
                socket: Some(config.socket),
                accepting: false,
                alt,
                arrived: 0,
            }
        };
        Self {
            listeners: configs.into_iter().map(listener).collect(),
            alt_svc_values,
            paused: false,
            shut: !accepts,
            closed: false,
            narrow: false,
            waiting: VecDeque::new(),
            retry_at: None,
            exhausted: 0,
        }
    }

    /// Accepts on every listener that is not accepting yet.
    pub(crate) fn open(&mut self, ring: &mut Ring) {
        if self.paused || self.shut || self.closed {
            return;
        }
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            if let (false, Some(socket)) = (listener.accepting, &listener.socket) {
                listener.accepting = true;
                let id = Id { index: index as u32, generation: 0 };
                ring.accept(id, socket.as_raw_fd(), self.narrow);
            }
        }
    }

    /// The first protocol state of a connection from this listener.
    pub(crate) fn arrival(&mut self, listener: Id) -> Option<Arrival> {
        let listener = self.listeners.get_mut(listener.index as usize)?;
        match (listener.scheme, &mut listener.acceptor) {
            (Scheme::Http | Scheme::Metrics | Scheme::Health, _) => Some(Arrival::Http),
            (Scheme::H3, _) => None,
            (Scheme::H2c, _) => Some(Arrival::H2c),
            (Scheme::Https, acceptor) => {
                let session = acceptor.as_mut()?.session().ok()?;
                Some(Arrival::Tls(Box::new(session), listener.alt()))
            }
        }
    }

    /// Handles an accept's completion: continues, or pauses when resources are exhausted.
    pub(crate) fn accepted(
        &mut self,
        listener: Id,
        result: i32,
        more: bool,
        now: Time,
        ring: &mut Ring,
    ) {
        if more {
            return;
        }
        if let Some(listener) = self.listeners.get_mut(listener.index as usize) {
            listener.accepting = false;
        }
        match -result {
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => {
                self.exhausted += 1;
                self.retry_at = Some(now + RETRY_AFTER);
            }
            _ => self.open(ring),
        }
    }

    /// When accepting is to be tried again.
    pub(crate) fn retry_at(&self) -> Option<Time> {
        self.retry_at
    }

    /// Tries again if the pause is over; returns whether it was.
    pub(crate) fn retry(&mut self, now: Time, ring: &mut Ring) -> bool {
        let is_over = self.retry_at.is_some_and(|at| at <= now);
        if is_over {
            self.retry_at = (!self.waiting.is_empty()).then(|| now + RETRY_AFTER);
            self.open(ring);
        }
        is_over
    }

    /// Queues a connection without room and leaves further ones in the kernel's queue. Returns the
    /// descriptor to close if the queue is full.
    pub(crate) fn wait(
        &mut self,
        listener: Id,
        fd: i32,
        now: Time,
        ring: &mut Ring,
    ) -> Option<i32> {
        if !self.paused {
            self.paused = true;
            self.stop(ring);
        }
        if self.closed || self.waiting.len() >= WAITING_MAX {
            return Some(fd);
        }
        self.waiting.push_back((listener, fd));
        // By then an idle connection may make room.
        self.retry_at.get_or_insert(now + RETRY_AFTER);
        None
    }

    /// Whether a connection waits for room.
    pub(crate) fn is_anyone_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The connection that has waited for longest, and its listener.
    pub(crate) fn next_waiting(&mut self) -> Option<(Id, i32)> {
        self.waiting.pop_front()
    }

    /// Has listeners accept one connection at a time, or all that come.
    #[inline]
    pub(crate) fn narrow(&mut self, narrow: bool, ring: &mut Ring) {
        if self.narrow != narrow {
            self.narrow = narrow;
            // The current accept continues until it ends, then restarts in the new mode.
            if narrow && !self.paused {
                self.stop(ring);
            }
        }
    }

    /// There is room again.
    pub(crate) fn resume(&mut self, ring: &mut Ring) {
        if self.paused {
            self.paused = false;
            self.open(ring);
        }
    }

    /// Accepts no more until [`Self::reopen`]; what the kernel has accepted by then still comes.
    pub(crate) fn shut(&mut self, ring: &mut Ring) {
        if !std::mem::replace(&mut self.shut, true) {
            self.stop(ring);
        }
    }

    /// Accepts again.
    pub(crate) fn reopen(&mut self, ring: &mut Ring) {
        self.shut = false;
        self.open(ring);
    }

    /// A further descriptor of each socket, with its scheme and the address as the configuration
    /// writes it.
    pub(crate) fn lend(&self) -> io::Result<Vec<(Arc<str>, OwnedFd)>> {
        let open = self.listeners.iter().filter_map(|listener| {
            let socket = listener.socket.as_ref()?;
            let name = format!("{} {}", listener.scheme, listener.written).into();
            Some(socket.try_clone().map(|socket| (name, socket)))
        });
        open.collect()
    }

    /// Accepts no more, for good.
    pub(crate) fn close(&mut self, ring: &mut Ring) {
        if !self.closed {
            self.closed = true;
            self.retry_at = None;
            self.waiting.drain(..).for_each(|(_, fd)| ring.close(fd));
            self.stop(ring);
            for listener in &mut self.listeners {
                listener.socket = None;
            }
        }
    }

    fn stop(&self, ring: &mut Ring) {
        for (index, _) in
            self.listeners.iter().enumerate().filter(|(_, listener)| listener.accepting)
        {
            ring.stop_accepting(Id { index: index as u32, generation: 0 });
        }
    }
}

impl WorkerListener {
    /// The kind of the next connection; the share is spread evenly.
    fn alt(&mut self) -> CommonKind {
        let (kind, share) = self.alt;
        let due = |arrived: u64| arrived * u64::from(share) / 100;
        self.arrived += 1;
        if due(self.arrived) > due(self.arrived - 1) { kind } else { CommonKind::OVER_TLS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::RingSettings;

    /// Row 28: accepting pauses when resources are exhausted, and this is counted.
    #[test]
    fn accepting_rests_when_the_kernel_has_run_out() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let config = ListenerConfig {
            scheme: Scheme::Http,
            written: "127.0.0.1:0".into(),
            socket: socket.into(),
            acceptor: None,
            alt_svc: None,
        };
        let mut ring = Ring::new(&RingSettings { buffers: 2, ..RingSettings::default() }).unwrap();
        let mut listeners = Listeners::new(vec![config], true);
        let (listener, now) = (Id::default(), Time(5_000_000));
        listeners.open(&mut ring);
        let out = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
        for (n, errno) in out.into_iter().enumerate() {
            listeners.accepted(listener, -errno, false, now, &mut ring);
            assert_eq!(
                (listeners.exhausted, listeners.retry_at()),
                (n as u64 + 1, Some(now + RETRY_AFTER))
            );
            listeners.retry(now, &mut ring);
            assert!(!listeners.listeners[0].accepting, "not before its time");
            listeners.retry(now + RETRY_AFTER, &mut ring);
            assert!(listeners.listeners[0].accepting && listeners.retry_at().is_none());
        }
        // A client that left before it was accepted causes no pause.
        listeners.accepted(listener, -libc::ECONNABORTED, false, now, &mut ring);
        assert!(listeners.listeners[0].accepting && listeners.retry_at().is_none());
        assert_eq!(listeners.exhausted, 4);
    }

    #[test]
    fn of_a_hundred_connections_the_share_is_told() {
        for share in [0, 1, 33, 50, 99, 100] {
            let mut listener = WorkerListener {
                scheme: Scheme::Https,
                written: ":443".into(),
                acceptor: None,
                socket: None,
                accepting: false,
                alt: (CommonKind::with_alt_svc(1), share),
                arrived: 0,
            };
            let told = (0..1000).filter(|_| listener.alt() == CommonKind::with_alt_svc(1)).count();
            assert_eq!(told, usize::from(share) * 10);
        }
    }
}
