//! A worker of a process that is replaced, or that replaces another: what it lends to its
//! successor, and how it steps back and forward again.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ringway_quic::HalfOpen;

use super::Worker;
use crate::proto::{Event, Leaving};
use crate::rt::console::note;
use crate::rt::thread_state::{self, ThreadState};
use crate::udp::{FrameEnds, HalfOpenExport};

/// A step of a hand-over.
#[derive(Clone)]
pub(crate) enum Handover {
    /// Give a descriptor of each socket.
    Lend(Arc<Lent>),
    /// Read UDP and accept: of a process that has begun with neither.
    Begin(Option<Arc<HalfOpen>>),
    /// Take datagrams that later generations hand back.
    TakeFrames(Arc<FrameEnds>),
    /// Read no UDP; the last worker that has stopped tells it.
    StopUdp(Stopping),
    /// Take no more new connections over QUIC, and tell which handshakes are half-way.
    HalfOpen(Arc<HalfOpenExport>),
    /// Read UDP again.
    GoUdp,
    /// Accept no more, and tell every client to use another connection.
    StepBack,
    /// Accept again, and tell clients no more to leave; those that were told do.
    StepForward,
    /// End once no connection is left, or after this time.
    Leave(Duration),
}

/// Tells, once every worker has dropped its clone, that all have stopped.
#[derive(Clone)]
pub(crate) struct Stopping(#[expect(dead_code, reason = "dropping it tells")] Arc<Stopped>);

struct Stopped(Box<dyn Fn() + Send + Sync>);

impl Stopping {
    pub(crate) fn new(done: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Stopped(Box::new(done))))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Sockets of all workers, lent by them.
#[derive(Default)]
pub(crate) struct Lent(Mutex<Vec<LentSocket>>);

/// A socket, lent by its worker.
pub(crate) struct LentSocket {
    pub(crate) worker: u32,
    /// Its place among the worker's sockets of this transport.
    pub(crate) place: usize,
    pub(crate) is_udp: bool,
    /// Of TCP the scheme and the address as the configuration writes it, of UDP the one it is bound
    /// to.
    pub(crate) name: Arc<str>,
    pub(crate) socket: OwnedFd,
}

impl Lent {
    fn lock(&self) -> MutexGuard<'_, Vec<LentSocket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was lent so far.
    pub(crate) fn take(&self) -> Vec<LentSocket> {
        std::mem::take(&mut self.lock())
    }
}

impl Worker {
    pub(super) fn hand_over(&mut self, step: Handover) {
        match step {
            Handover::Lend(lent) => self.lend(&lent),
            Handover::Begin(half_open) => {
                if let Some(udp) = &mut self.udp {
                    half_open.into_iter().for_each(|table| udp.import_half_open(table));
                    udp.read(&mut self.ring);
                }
                self.listeners.reopen(&mut self.ring);
            }
            // Without QUIC it is dropped here, and so told.
            Handover::StopUdp(stopping) => {
                if let Some(udp) = &mut self.udp {
                    udp.stop_reading(stopping, &mut self.ring);
                }
            }
            Handover::TakeFrames(ends) => {
                if let Some(udp) = &mut self.udp {
                    udp.take_frames(&ends, &mut self.ring);
                }
            }
            Handover::HalfOpen(export) => {
                if let Some(udp) = &mut self.udp {
                    udp.export_half_open(&export, &mut self.state);
                }
            }
            Handover::GoUdp => {
                if let Some(udp) = &mut self.udp {
                    udp.take_back(&mut self.ring);
                }
            }
            Handover::StepBack => self.step_back(),
            Handover::StepForward => {
                self.state.leaving = Leaving::No;
                if let Some(udp) = &mut self.udp {
                    udp.resume();
                }
                self.listeners.reopen(&mut self.ring);
            }
            Handover::Leave(patience) => {
                let stop_at = self.state.now() + patience;
                self.stop_at = Some(self.stop_at.map_or(stop_at, |at| at.min(stop_at)));
                thread_state::with(ThreadState::drain);
            }
        }
    }

    fn step_back(&mut self) {
        self.listeners.shut(&mut self.ring);
        self.state.leaving = Leaving::Gently;
        for id in self.connections.slots.ids() {
            self.deliver(id, Event::Leave);
        }
        if let Some(udp) = &mut self.udp {
            udp.leave(&self.state);
        }
    }

    fn lend(&mut self, lent: &Lent) {
        let worker = self.state.number();
        let tcp = self.listeners.lend();
        let udp = self.udp.as_ref().map_or_else(|| Ok(Vec::new()), |udp| udp.lend());
        for (is_udp, sockets) in [(false, tcp), (true, udp)] {
            match sockets {
                Ok(sockets) => {
                    let sockets = sockets.into_iter().enumerate();
                    lent.lock().extend(sockets.map(|(place, (name, socket))| LentSocket {
                        worker,
                        place,
                        is_udp,
                        name,
                        socket,
                    }));
                }
                // The successor binds what it was not given, and says what is wrong with it.
                Err(error) => note!("worker {worker}: sockets cannot be lent: {error}"),
            }
        }
    }
}
