//! How the connections of a worker leave: a drain in three steps, and the gentle one of a process
//! that has been replaced.

use std::time::Duration;

use ringway_codec::Time;
use ringway_quic::http::{self, Code};

use super::{SWEEP, Udp};
use crate::proto::state::WorkerState;
use crate::ring::Ring;

/// Minimum time between the steps of a drain; the maximum is [`SWEEP`].
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// How far a client has been told to leave.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Farewell {
    #[default]
    None,
    /// It is to begin no more requests.
    Told,
    /// Requests that it begins are rejected.
    Refused,
    /// It has had the time to see that: its connection closes once everything is answered.
    Parted,
}

/// The stage of a drain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// No drain.
    Open,
    /// Clients were told to begin no more requests; the next stage begins then.
    Leaving(Time),
    /// Requests that have not begun are rejected; the next stage begins then. To close at once
    /// would take back the last GOAWAY, and clients could not tell what of theirs was begun.
    Refusing(Time),
    /// Connections close as they finish.
    Closing,
}

impl Udp {
    /// First step of a drain: clients are told to begin no more requests. Requests sent before that
    /// are answered.
    pub(crate) fn drain(&mut self, worker: &WorkerState) {
        self.gentle = false;
        self.begin_drain(worker);
    }

    /// As [`Self::drain`], for a process that has been replaced: what has begun its handshake here
    /// finishes it, and is told to leave a while later.
    pub(crate) fn leave(&mut self, worker: &WorkerState) {
        self.gentle = true;
        self.begin_drain(worker);
    }

    fn begin_drain(&mut self, worker: &WorkerState) {
        self.endpoint.drain();
        self.collect();
        for at in 0..self.ids.len() {
            let Some((conn, state)) = self.endpoint.get(self.ids[at]) else { continue };
            if self.gentle && !conn.is_established() {
                continue;
            }
            state.farewell = Farewell::Told;
            state.h3.http.drain(conn);
        }
        self.stage = Stage::Leaving(worker.now() + self.step());
    }

    /// How long the slowest client takes to see a step.
    fn step(&mut self) -> Duration {
        let mut step = DRAIN_STEP;
        for id in &self.ids {
            let Some((conn, _)) = self.endpoint.peek(*id) else { continue };
            let rtt = conn.transport().path_stats().map(|path| path.rtt).max();
            step = step.max(rtt.unwrap_or_default());
        }
        step.min(SWEEP)
    }

    /// Begins the next step of a drain if it is due.
    pub(super) fn go_on(&mut self, now: Time) {
        match self.stage {
            Stage::Leaving(until) if until <= now => self.refuse(now),
            Stage::Refusing(until) if until <= now => self.part(),
            _ => {}
        }
    }

    /// Second step of a drain: requests that have not begun are rejected.
    fn refuse(&mut self, now: Time) {
        self.collect();
        self.stage = Stage::Refusing(now + self.step());
        for at in 0..self.ids.len() {
            let id = self.ids[at];
            if let Some((conn, state)) = self.endpoint.get(id)
                && (!self.gentle || state.farewell != Farewell::None)
            {
                state.farewell = Farewell::Refused;
                state.h3.http.refuse(conn);
                self.touch(id);
            }
        }
    }

    /// Third step of a drain: connections close as they finish.
    fn part(&mut self) {
        self.stage = Stage::Closing;
        self.collect();
        for at in 0..self.ids.len() {
            let id = self.ids[at];
            if let Some((_, state)) = self.endpoint.get(id)
                && state.farewell == Farewell::Refused
            {
                state.farewell = Farewell::Parted;
                self.touch(id);
            }
        }
    }

    /// Cuts every connection off.
    pub(crate) fn stop(&mut self, worker: &mut WorkerState) {
        self.endpoint.drain();
        self.stage = Stage::Closing;
        self.collect();
        for at in 0..self.ids.len() {
            if let Some((conn, state)) = self.endpoint.get(self.ids[at]) {
                state.h3.http.close(Code::NoError, b"the server stops", conn);
                state.h3.abandon(&mut worker.cx());
            }
        }
    }

    /// True after [`Self::drain`] when every connection has ended and has been told so.
    pub(crate) fn is_over(&mut self, ring: &Ring) -> bool {
        if ring.datagrams_under_way() > 0 || !self.touched.is_empty() {
            return false;
        }
        self.collect();
        let Self { ids, endpoint, .. } = self;
        ids.iter().all(|id| endpoint.peek(*id).is_none_or(|(conn, _)| conn.is_ending()))
    }

    /// Takes new connections again after [`Self::drain`]; those that were told to leave do.
    pub(crate) fn resume(&mut self) {
        self.endpoint.resume();
        self.stage = Stage::Open;
        self.gentle = false;
    }
}

impl Farewell {
    /// Tells the client of a connection the next part, if there is one.
    pub(super) fn say(&mut self, http: &mut http::Http, conn: &mut ringway_quic::Conn) {
        *self = match self {
            Self::None => {
                http.drain(conn);
                Self::Told
            }
            Self::Told => {
                http.refuse(conn);
                Self::Refused
            }
            Self::Refused | Self::Parted => Self::Parted,
        };
    }
}
