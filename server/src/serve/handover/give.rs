//! The side of the old process, as a function of what happens and of time.
//!
//! Up to `Stopped` nothing of this process has changed, so every failure is mended by going on.
//! From there until the new process says `Serving` nobody reads UDP, and datagrams wait in the
//! sockets; connections are accepted here all the time. Afterwards the new process serves, and this
//! one can take everything back for as long as [`Patience::probation`] lasts. A successor that is
//! not wanted is killed, and reaped, before anything is taken back: two never read the same socket.

use std::time::Duration;

use ringway_codec::Time;

use super::wire::WireRecord;

/// How long each step may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// From the start of the new process until it is ready.
    pub(crate) start: Duration,
    /// For the workers to stop reading UDP, and then for the new process to begin.
    pub(crate) pause: Duration,
    /// For which the new process can be taken back.
    pub(crate) probation: Duration,
}

/// What happens to the old process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GiverEvent {
    /// The successor says this.
    Said(WireRecord),
    /// The successor is gone, and has been reaped.
    Gone,
    /// No worker reads UDP any more.
    UdpStopped,
    /// This process is told to end.
    Told,
    /// Time passes.
    Time,
}

/// What the old process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GiverAct {
    /// Offer the sockets and everything else.
    Offer,
    /// Tell our own predecessor that it cannot take us back any more.
    Settle,
    /// Have the workers stop reading UDP.
    StopUdp,
    /// Hand over the state that only moves while nobody reads, and say `Stopped`.
    SayStopped,
    /// Have the workers read UDP again.
    GoUdp,
    /// Accept no more, and drain gently.
    StepBack,
    /// Accept again, and drain no more.
    StepForward,
    /// End as soon as no connection is left.
    Leave,
    /// Kill the successor; `Gone` follows.
    Kill,
    /// It has come to nothing, and why.
    Fail(String),
}

/// A replacement under way.
#[derive(Debug)]
pub(crate) struct Giver {
    step: Step,
    patience: Patience,
    since: Time,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// The successor has been started.
    Greeting,
    /// It has been offered everything.
    Starting,
    /// It is ready; the workers stop reading UDP.
    Stopping,
    /// Nobody reads UDP.
    Handing,
    /// It is being killed, for this reason; whether UDP is to be read again.
    Killing { why: String, read: bool },
    /// It serves, and can be taken back.
    Probation,
    /// It serves for good.
    Left,
    /// It has come to nothing; this process serves.
    Failed,
}

impl Giver {
    /// The successor has been started.
    pub(crate) fn new(patience: Patience, now: Time) -> Self {
        Self { step: Step::Greeting, patience, since: now }
    }

    /// When [`GiverEvent::Time`] is to be told.
    pub(crate) fn deadline(&self) -> Option<Time> {
        match self.step {
            // One bound for both: the time until it is ready.
            Step::Greeting | Step::Starting => Some(self.since + self.patience.start),
            Step::Stopping | Step::Handing => Some(self.since + self.patience.pause),
            Step::Probation => Some(self.since + self.patience.probation),
            Step::Killing { .. } | Step::Left | Step::Failed => None,
        }
    }

    /// Whether another replacement may begin.
    pub(crate) fn is_over(&self) -> bool {
        self.step == Step::Failed
    }

    /// Whether the successor serves.
    pub(crate) fn has_handed_over(&self) -> bool {
        matches!(self.step, Step::Probation | Step::Left)
    }

    /// Takes in what happens; gives what is to be done, in order.
    pub(crate) fn on(&mut self, event: GiverEvent, now: Time) -> Vec<GiverAct> {
        let is_late = self.deadline().is_some_and(|deadline| deadline <= now);
        match (&self.step, event) {
            (Step::Left | Step::Failed, _) => Vec::new(),
            (Step::Killing { why, read }, GiverEvent::Gone) => {
                let fail = GiverAct::Fail(why.clone());
                let acts = if *read { vec![GiverAct::GoUdp, fail] } else { vec![fail] };
                self.enter(Step::Failed, now);
                acts
            }
            (Step::Killing { .. }, _) => Vec::new(),
            (Step::Probation, event) => self.on_probation(event, is_late, now),
            (_, GiverEvent::Gone) => self.on_lost(now),
            (_, GiverEvent::Told) => self.kill("this process is told to end", now),
            (_, GiverEvent::Said(WireRecord::Failed(why))) => self.kill(&why, now),
            (Step::Greeting, GiverEvent::Said(WireRecord::Hello(hello))) => {
                if !hello.is_understood() {
                    return self.kill("it speaks no version of the hand-over that we do", now);
                }
                // The time to start runs on.
                self.step = Step::Starting;
                // First: who has been offered our sockets serves if we end, so our predecessor must
                // not begin again then.
                vec![GiverAct::Settle, GiverAct::Offer]
            }
            (Step::Starting, GiverEvent::Said(WireRecord::Ready)) => {
                self.enter(Step::Stopping, now);
                vec![GiverAct::StopUdp]
            }
            (Step::Stopping, GiverEvent::UdpStopped) => {
                self.enter(Step::Handing, now);
                vec![GiverAct::SayStopped]
            }
            (Step::Handing, GiverEvent::Said(WireRecord::Serving)) => {
                self.enter(Step::Probation, now);
                vec![GiverAct::StepBack]
            }
            (
                _,
                GiverEvent::Said(WireRecord::Hello(_) | WireRecord::Ready | WireRecord::Serving),
            ) => self.kill("it says what is not its turn to say", now),
            _ if is_late => self.on_late(now),
            _ => Vec::new(),
        }
    }

    fn on_probation(&mut self, event: GiverEvent, is_late: bool, now: Time) -> Vec<GiverAct> {
        match event {
            GiverEvent::Gone => {
                self.enter(Step::Failed, now);
                let why = "it ended while it was on probation: this process serves again";
                vec![GiverAct::GoUdp, GiverAct::StepForward, GiverAct::Fail(why.into())]
            }
            // It has been replaced itself, or this process is to end in any case.
            GiverEvent::Said(WireRecord::Settled) | GiverEvent::Told => self.leave(now),
            _ if is_late => self.leave(now),
            _ => Vec::new(),
        }
    }

    fn leave(&mut self, now: Time) -> Vec<GiverAct> {
        self.enter(Step::Left, now);
        vec![GiverAct::Leave]
    }

    /// The successor has ended before it served.
    fn on_lost(&mut self, now: Time) -> Vec<GiverAct> {
        let read = matches!(self.step, Step::Stopping | Step::Handing);
        let why = match self.step {
            Step::Greeting => "it ended before it had read its configuration",
            Step::Starting => "it ended before it was ready",
            _ => "it ended before it served",
        };
        self.enter(Step::Failed, now);
        let fail = GiverAct::Fail(why.into());
        if read { vec![GiverAct::GoUdp, fail] } else { vec![fail] }
    }

    fn on_late(&mut self, now: Time) -> Vec<GiverAct> {
        let why = match self.step {
            Step::Greeting => "it did not say in time that it had read its configuration",
            Step::Starting => "it was not ready in time",
            Step::Stopping => "a worker of this process did not stop reading UDP in time",
            _ => "it did not begin to serve in time",
        };
        self.kill(why, now)
    }

    fn kill(&mut self, why: &str, now: Time) -> Vec<GiverAct> {
        let read = matches!(self.step, Step::Stopping | Step::Handing);
        self.enter(Step::Killing { why: why.into(), read }, now);
        vec![GiverAct::Kill]
    }

    fn enter(&mut self, step: Step, now: Time) {
        self.step = step;
        self.since = now;
    }
}
