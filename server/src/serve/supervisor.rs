//! The thread that has started the server: it waits for signals, for workers that end and for what
//! a successor says, in one queue, and tells the server.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use ringway_codec::Time;
use signal_hook::consts::{SIGHUP, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use super::handover::give::{Giver, GiverAct, GiverEvent, Patience};
use super::handover::{
    Generation, Hello, Part, Predecessor, Program, Successor, VERSION, WireRecord, by_listener,
    reads_on, stops_late,
};
use super::notify;
use super::signals::Signals;
use crate::app::error::Error;
use crate::config::Limits;
use crate::ring::passing;
use crate::rt::console::note;
use crate::serve::handle::ServerHandle;
use crate::worker::{Handover, Lent, Stopping};

/// How long workers may take to lend their sockets, and to stop reading UDP.
const PAUSE: Duration = Duration::from_secs(1);

/// What the thread waits for.
enum Happening {
    Signal(i32),
    /// A worker has ended.
    Ended,
    /// Something happens to a replacement; by its number.
    Replacement(u32, GiverEvent),
}

/// Watches over a server until it has ended.
pub(super) struct Supervisor<'a> {
    server: &'a ServerHandle,
    limits: Limits,
    program: io::Result<Program>,
    queue: Receiver<Happening>,
    tell: Sender<Happening>,
    began: Instant,
    /// It is to end, because of a signal or because it has been replaced.
    ending: bool,
    /// When it drains, where it goes on serving until then.
    drain_at: Option<Time>,
    /// HUP has come and is in the queue.
    reload_comes: Arc<AtomicBool>,
    /// HUP has come while this process was being replaced.
    reload_waits: bool,
    replacement: Option<Replacement>,
    replacements: u32,
    predecessor: Option<Predecessor>,
    generations: Vec<Generation<OwnedFd>>,
    /// Reports to later generations that this process has ended; the other end is what they get.
    life: Option<(UnixStream, OwnedFd)>,
    /// Since when nobody reads UDP.
    unread: Option<Instant>,
}

struct Replacement {
    giver: Giver,
    successor: Successor,
}

impl<'a> Supervisor<'a> {
    /// For a server that serves; `program` is what replaces it.
    pub(super) fn new(
        server: &'a ServerHandle,
        limits: Limits,
        program: io::Result<Program>,
        predecessor: Option<Predecessor>,
    ) -> Self {
        let (tell, queue) = mpsc::channel();
        server.watch(Waker::from(Arc::new(Ending(tell.clone()))));
        let inheritance = predecessor.as_ref().map(Predecessor::inheritance);
        let generations = inheritance.map(|all| all.generations()).unwrap_or_default();
        Self {
            server,
            limits,
            program,
            queue,
            tell,
            began: Instant::now(),
            ending: false,
            drain_at: None,
            reload_comes: Arc::default(),
            reload_waits: false,
            replacement: None,
            replacements: 0,
            predecessor,
            generations,
            life: None,
            unread: None,
        }
    }

    /// Passes signals on until the server has ended. `reload` runs at HUP.
    pub(super) fn run(
        mut self,
        signals: Signals,
        mut reload: impl FnMut(&ServerHandle),
    ) -> Result<(), Error> {
        let (tell, reload_comes) = (self.tell.clone(), Arc::clone(&self.reload_comes));
        let _listening = signals.forward(move |signal| {
            // A reload takes what is there when it begins: until then, further ones are the same.
            if signal != SIGHUP || !reload_comes.swap(true, Ordering::AcqRel) {
                let _ = tell.send(Happening::Signal(signal));
            }
        })?;
        notify::serving(self.server);
        notify::watch(self.server)?;
        notify::heed_parent()?;
        while !self.server.is_finished() {
            match self.next() {
                Some(Happening::Signal(SIGHUP)) => {
                    self.reload_comes.store(false, Ordering::Release);
                    self.hang_up(&mut reload);
                }
                Some(Happening::Signal(signal)) => self.signal(signal),
                Some(Happening::Ended) => self.worker_ended(),
                Some(Happening::Replacement(number, event)) => self.replacement(number, event),
                None => {
                    self.drain_if_due();
                    self.replacement(self.replacements, GiverEvent::Time);
                }
            }
            if self.reload_waits && !self.is_being_replaced() {
                self.hang_up(&mut reload);
            }
        }
        self.server.join()
    }

    /// Waits; none when a step of a replacement is late, or a drain due.
    fn next(&self) -> Option<Happening> {
        let replacement = self.replacement.as_ref().and_then(|all| all.giver.deadline());
        let deadline = replacement.into_iter().chain(self.drain_at).min();
        match deadline {
            // The supervisor itself can tell, so the queue has no end.
            None => self.queue.recv().ok(),
            Some(deadline) => self.queue.recv_timeout(deadline.since(self.now())).ok(),
        }
    }

    fn now(&self) -> Time {
        Time(self.began.elapsed().as_micros() as u64)
    }

    fn is_being_replaced(&self) -> bool {
        self.replacement.as_ref().is_some_and(|all| !all.giver.is_over())
    }

    fn hang_up(&mut self, reload: &mut impl FnMut(&ServerHandle)) {
        match &self.replacement {
            Some(all) if all.giver.has_handed_over() => {
                self.reload_waits = false;
                let pid = all.successor.pid();
                note!("this process has been replaced: send HUP to process {pid}");
            }
            Some(all) if !all.giver.is_over() => self.reload_waits = true,
            _ => {
                self.reload_waits = false;
                notify::reloading();
                crate::files::reopen();
                reload(self.server);
                notify::serving(self.server);
            }
        }
    }

    fn signal(&mut self, signal: i32) {
        match signal {
            SIGQUIT => self.server.report(),
            SIGUSR1 => self.server.reopen_log(),
            SIGUSR2 => self.replace(),
            // A service manager may tell every process, and the parent passes it on: INT is "now".
            SIGTERM if self.ending && notify::has_parent() => {}
            _ if self.ending && !self.is_being_replaced() => self.server.stop(),
            _ => {
                self.replacement(self.replacements, GiverEvent::Told);
                let was_replaced = std::mem::replace(&mut self.ending, true);
                if !was_replaced {
                    notify::stopping(&self.limits);
                }
                // A second signal ends it at once.
                self.replacement = None;
                self.server.leave();
                let delay = self.limits.drain_delay;
                self.drain_at = Some(self.now() + delay);
                if was_replaced || delay.is_zero() {
                    return self.drain();
                }
                note!("leaving: all is served for {delay:?}; signal again to end now");
            }
        }
    }

    /// Balancers have had the time to learn of the end.
    fn drain_if_due(&mut self) {
        if self.drain_at.is_some_and(|at| at <= self.now()) {
            self.drain();
        }
    }

    fn drain(&mut self) {
        self.drain_at = None;
        note!("draining: finishing what is in flight; signal again to end now");
        self.server.drain();
    }

    fn worker_ended(&self) {
        // Clients of a dead worker would wait for ever, so the server ends and can be restarted.
        if !self.ending && self.server.lacks_a_worker() {
            self.server.stop();
        }
    }

    /// Starts a successor.
    fn replace(&mut self) {
        self.generations.retain(|all| !all.descriptors.first().is_none_or(passing::has_ended));
        let alive = self.generations.len() + 1;
        let why = match (&self.replacement, &self.program) {
            (Some(all), _) if all.giver.has_handed_over() => {
                format!("this process has been: send USR2 to process {}", all.successor.pid())
            }
            (Some(all), _) if !all.giver.is_over() => {
                format!("process {} is on its way already", all.successor.pid())
            }
            _ if self.ending => "this process is told to end".into(),
            _ if alive >= usize::from(self.limits.generations) => format!(
                "{alive} generations serve already, as many as lifecycle.generations allows"
            ),
            (_, Err(error)) => error.to_string(),
            (_, Ok(program)) => {
                self.replacements += 1;
                let (number, tell) = (self.replacements, self.tell.clone());
                let tell = move |event| drop(tell.send(Happening::Replacement(number, event)));
                match Successor::start(program, tell) {
                    Ok(successor) => return self.started(successor),
                    Err(error) => error.to_string(),
                }
            }
        };
        self.server.replacements().failed();
        note!("not replaced: {why}");
    }

    fn started(&mut self, successor: Successor) {
        let Limits { start_timeout: start, probation, .. } = self.limits;
        let patience = Patience { start, pause: PAUSE, probation };
        note!("replacing: process {} starts", successor.pid());
        let giver = Giver::new(patience, self.now());
        self.replacement = Some(Replacement { giver, successor });
    }

    fn replacement(&mut self, number: u32, event: GiverEvent) {
        let now = self.now();
        let Some(all) = &mut self.replacement else { return };
        let is_mute = event == GiverEvent::UdpStopped && stops_late();
        // What a former successor has left behind is no news.
        if number == self.replacements && !is_mute {
            let acts = all.giver.on(event, now);
            acts.into_iter().for_each(|act| self.act(act));
        }
    }

    fn act(&mut self, act: GiverAct) {
        let Some(Replacement { successor, .. }) = &self.replacement else { return };
        let pid = successor.pid();
        match act {
            GiverAct::Offer => self.offer(),
            GiverAct::Settle => {
                if let Some(predecessor) = &self.predecessor {
                    predecessor.settle();
                }
            }
            GiverAct::StopUdp => {
                self.unread = Some(Instant::now());
                self.stop_udp();
            }
            GiverAct::SayStopped => {
                let said = self.hand_over_last(successor);
                self.heed(said);
            }
            GiverAct::GoUdp => {
                if let Some(tls) = self.server.tls() {
                    // Once it has served it may have taken early data, which nobody knows of now.
                    tls.take_back_early(self.ending);
                }
                drop(self.server.hand_over(&Handover::GoUdp));
            }
            GiverAct::StepBack => {
                drop(self.server.hand_over(&Handover::StepBack));
                self.ending = true;
                self.server.replacements().done();
                notify::replaced(pid);
                let pause = self.unread.take().map(|since| since.elapsed()).unwrap_or_default();
                note!(
                    "replaced: process {pid} serves, this one finishes its connections; UDP was \
                     not read for {:.1} ms",
                    pause.as_secs_f64() * 1e3
                );
            }
            GiverAct::StepForward => {
                drop(self.server.hand_over(&Handover::StepForward));
                self.ending = false;
                notify::serving(self.server);
            }
            GiverAct::Leave => {
                let patience = self.limits.replace_timeout;
                drop(self.server.hand_over(&Handover::Leave(patience)));
            }
            GiverAct::Kill => successor.kill(),
            GiverAct::Fail(why) => {
                self.server.replacements().failed();
                note!("not replaced: process {pid}: {why}");
            }
        }
    }

    /// A message that cannot be sent ends the replacement.
    fn heed(&self, said: io::Result<()>) {
        if let Err(error) = said {
            let failed = WireRecord::Failed(format!("it does not listen: {error}"));
            let happening = Happening::Replacement(self.replacements, GiverEvent::Said(failed));
            // The queue is ours.
            let _ = self.tell.send(happening);
        }
    }

    fn offer(&mut self) {
        let Some(Replacement { successor, .. }) = &self.replacement else { return };
        let offered = (|| {
            let lent = Arc::<Lent>::default();
            let given = self.server.hand_over(&Handover::Lend(Arc::clone(&lent)));
            given.wait(PAUSE).map_err(io::Error::other)?;
            let mut generations = Vec::new();
            for Generation { number, pid, descriptors } in &self.generations {
                let descriptors: io::Result<Vec<_>> =
                    descriptors.iter().map(OwnedFd::try_clone).collect();
                let (number, pid) = (*number, *pid);
                generations.push(Generation { number, pid, descriptors: descriptors? });
            }
            let ends = match &self.life {
                Some((_, theirs)) => theirs.try_clone()?,
                None => {
                    let (ours, theirs) = UnixStream::pair()?;
                    let ends = OwnedFd::from(theirs);
                    self.life = Some((ours, ends.try_clone()?));
                    ends
                }
            };
            let mut descriptors = vec![ends];
            descriptors.extend(self.server.forward_ends(self.limits.forward_bytes)?);
            let (number, pid) = (self.server.generation(), std::process::id());
            generations.push(Generation { number, pid, descriptors });
            let secrets = self.server.tls().map(|tls| tls.tickets().to_successor());
            let hello = Hello {
                versions: (VERSION, VERSION),
                generation: number,
                workers: self.server.workers() as u16,
                pid,
                replacements: self.server.replacements().counts(),
                build: env!("CARGO_PKG_VERSION").into(),
            };
            successor.offer(hello, &by_listener(lent.take()), &generations, secrets.as_deref())
        })();
        self.heed(offered);
    }

    /// Nobody reads UDP: hands over what has changed until now.
    fn hand_over_last(&self, successor: &Successor) -> io::Result<()> {
        let half_open = self.server.half_open(self.limits.half_open, PAUSE);
        successor.state(Part::HalfOpen, &half_open.map_err(io::Error::other)?)?;
        if let Some(tls) = self.server.tls() {
            successor.state(Part::Replay, &tls.export_early())?;
        }
        successor.say(&WireRecord::Stopped)
    }

    fn stop_udp(&self) {
        let (number, tell) = (self.replacements, self.tell.clone());
        let stopped =
            move || drop(tell.send(Happening::Replacement(number, GiverEvent::UdpStopped)));
        let stopping = Stopping::new(stopped);
        if !reads_on() {
            drop(self.server.hand_over(&Handover::StopUdp(stopping)));
        }
    }
}

/// Told when a worker ends.
struct Ending(Sender<Happening>);

impl Wake for Ending {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Nobody waits any more: the server has been joined.
        let _ = self.0.send(Happening::Ended);
    }
}
