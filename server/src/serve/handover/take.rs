//! The side of the new process, as a function of what happens and of time.
//!
//! It touches nothing before the old process has said `Stopped`, or has ended: then it serves at
//! once, with the sockets that it holds by then.

use std::time::Duration;

use ringway_codec::Time;

use super::wire::WireRecord;

/// What happens to the new process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TakerEvent {
    /// The old process says this.
    Said(WireRecord),
    /// The old process is gone.
    Gone,
    /// Sockets, certificates, rings and workers are there; nothing is accepted or read yet.
    Started,
    /// Time passes.
    Time,
}

/// What the new process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TakerAct {
    /// Start, with what was offered.
    Start,
    /// Say that all is ready.
    SayReady,
    /// Accept and read.
    Serve,
    /// Say that.
    SayServing,
    /// End, because of this.
    Exit(String),
}

/// A process that takes over.
#[derive(Debug)]
pub(crate) struct Taker {
    step: Step,
    patience: Duration,
    since: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// `Hello` was said.
    Greeted,
    /// Everything was offered; whether the old process is gone since.
    Starting {
        alone: bool,
    },
    /// `Ready` was said.
    Ready,
    Serving,
    Ended,
}

impl Taker {
    /// `Hello` has been said; the old process may take `patience` for each of its answers.
    pub(crate) fn new(patience: Duration, now: Time) -> Self {
        Self { step: Step::Greeted, patience, since: now }
    }

    /// When [`TakerEvent::Time`] is to be told.
    pub(crate) fn deadline(&self) -> Option<Time> {
        matches!(self.step, Step::Greeted | Step::Ready).then(|| self.since + self.patience)
    }

    /// Whether it serves.
    pub(crate) fn serves(&self) -> bool {
        self.step == Step::Serving
    }

    /// Takes in what happens; gives what is to be done, in order.
    pub(crate) fn on(&mut self, event: TakerEvent, now: Time) -> Vec<TakerAct> {
        let is_late = self.deadline().is_some_and(|deadline| deadline <= now);
        match (self.step, event) {
            (Step::Serving | Step::Ended, _) => Vec::new(),
            (_, TakerEvent::Said(WireRecord::Failed(why))) => self.exit(why),
            (Step::Greeted, TakerEvent::Said(WireRecord::Complete)) => {
                self.enter(Step::Starting { alone: false }, now);
                vec![TakerAct::Start]
            }
            (Step::Greeted, TakerEvent::Gone) => {
                self.exit("the old process ended before its offer")
            }
            (Step::Starting { .. }, TakerEvent::Gone) => {
                self.step = Step::Starting { alone: true };
                Vec::new()
            }
            (Step::Starting { alone: true }, TakerEvent::Started)
            | (Step::Ready, TakerEvent::Gone) => {
                self.enter(Step::Serving, now);
                vec![TakerAct::Serve]
            }
            (Step::Starting { alone: false }, TakerEvent::Started) => {
                self.enter(Step::Ready, now);
                vec![TakerAct::SayReady]
            }
            (Step::Ready, TakerEvent::Said(WireRecord::Stopped)) => {
                self.enter(Step::Serving, now);
                vec![TakerAct::Serve, TakerAct::SayServing]
            }
            (_, TakerEvent::Said(WireRecord::Stopped)) => {
                self.exit("the old process stopped too early")
            }
            _ if is_late => self.exit("the old process did not answer in time"),
            _ => Vec::new(),
        }
    }

    fn exit(&mut self, why: impl Into<String>) -> Vec<TakerAct> {
        self.step = Step::Ended;
        vec![TakerAct::Exit(why.into())]
    }

    fn enter(&mut self, step: Step, now: Time) {
        self.step = step;
        self.since = now;
    }
}
