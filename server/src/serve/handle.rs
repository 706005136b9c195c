//! A server that is serving: what its owner holds of it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::listener::{Bound, Listener};
use crate::app::error::Error;
use crate::config::Scheme;
use crate::observe::log::Writer;
use crate::observe::metrics::{Endpoint, Published};
use crate::ring::message::Mailbox;
use crate::ring::token::{Id, OpKind, Token};
use crate::rt::console::note;
use crate::tls::{CertificateFiles, Change, Tls};
use crate::worker::Control;

/// A worker's thread, and where to reach it.
pub(crate) struct WorkerThread {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) thread: JoinHandle<io::Result<()>>,
}

/// How long the last lines of the access log may take: a pipe that nobody reads does not keep the
/// server from ending.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// The thread that looks whether certificates have changed and ticket keys are to be rotated.
pub(crate) struct Keeper {
    tls: Tls,
    // Dropped to end the thread.
    _stop: Sender<()>,
}

/// How often certificates are looked at.
const KEEP_EVERY: Duration = Duration::from_secs(1);

impl Keeper {
    pub(crate) fn start(tls: Tls) -> Result<Self, Error> {
        let (stop, stopped) = mpsc::channel::<()>();
        let theirs = tls.clone();
        tell_flaws(&tls);
        let body = move || {
            while stopped.recv_timeout(KEEP_EVERY) == Err(RecvTimeoutError::Timeout) {
                theirs.poll_changes(SystemTime::now()).iter().for_each(say);
            }
        };
        let builder = std::thread::Builder::new().name("ringway-keeper".into());
        builder.spawn(body).map_err(Error::Worker)?;
        Ok(Self { tls, _stop: stop })
    }
}

fn say(change: &Change) {
    match change {
        Change::Reloaded(n) => note!("certificates loaded (generation {n})"),
        Change::Kept(error) => {
            note!("certificates not loaded, the former stay in use: {error}");
        }
        Change::TicketsRotated => {}
        Change::TicketsUnsaved(error) => note!("ticket keys not saved: {error}"),
        Change::Flawed(flaw) => note!("warning: {flaw}"),
    }
}

fn tell_flaws(tls: &Tls) {
    tls.new_flaws(SystemTime::now()).into_iter().map(Change::Flawed).for_each(|flaw| say(&flaw));
}

/// A server that is serving.
pub struct ServerHandle {
    bound: Vec<(Scheme, Bound)>,
    /// Of each, what [`Listener::families`] says.
    families: Vec<&'static str>,
    workers: Vec<WorkerThread>,
    log: Option<Writer>,
    keeper: Option<Keeper>,
    metrics: Option<Box<Self>>,
    started: Instant,
}

impl ServerHandle {
    pub(crate) fn new(listeners: &[Listener], log: Option<Writer>, keeper: Option<Keeper>) -> Self {
        let (mut bound, mut families) = (Vec::new(), Vec::new());
        for listener in listeners {
            bound.extend(listener.lines());
            families.resize(bound.len(), listener.families());
        }
        let started = Instant::now();
        Self { bound, families, workers: Vec::new(), log, keeper, metrics: None, started }
    }

    pub(crate) fn add(&mut self, worker: WorkerThread) {
        self.workers.push(worker);
    }

    /// The handler that shows what the workers publish.
    pub(crate) fn endpoint(&self, workers: Vec<Arc<Published>>) -> Endpoint {
        Endpoint {
            workers,
            tls: self.tls().cloned(),
            dropped: self.log.as_ref().map(Writer::dropped_lines),
            started: self.started,
        }
    }

    /// Takes the server of the metrics in: it ends with this one.
    pub(crate) fn add_metrics(&mut self, metrics: Self) {
        self.bound.extend_from_slice(metrics.listeners());
        self.families.extend_from_slice(&metrics.families);
        self.metrics = Some(Box::new(metrics));
    }

    /// Where it listens, in the order in which the listeners were added.
    pub fn listeners(&self) -> &[(Scheme, Bound)] {
        &self.bound
    }

    /// The same as a program reads it: `http 127.0.0.1:8080`, and behind an address that stands for
    /// every one whether IPv4 is among them.
    fn lines(&self) -> impl Iterator<Item = String> {
        let pairs = self.bound.iter().zip(&self.families);
        pairs.map(|((scheme, bound), families)| format!("{scheme} {bound}{families}"))
    }

    /// Says on standard output where it listens: `listening http 127.0.0.1:8080`, a line each;
    /// behind `[::]:8080` stands whether that is IPv6 alone.
    pub(crate) fn print_listeners(&self) {
        let mut out = io::stdout().lock();
        for line in self.lines() {
            // Perhaps nobody reads it any more.
            let _ = writeln!(out, "listening {line}");
        }
        let _ = out.flush();
    }

    /// How many workers it has.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Stops accepting, and lets what is in flight finish within the drain timeout.
    pub fn drain(&self) {
        self.tell(Control::Drain);
    }

    /// Stops accepting and cuts every connection off.
    pub fn stop(&self) {
        self.tell(Control::Stop);
    }

    /// Has every worker print what it is doing to standard error.
    pub fn report(&self) {
        self.tell(Control::Report);
    }

    /// Opens the access log's file again by its name: after it was rotated.
    pub fn reopen_log(&self) {
        if let Some(log) = &self.log {
            log.reopen();
        }
    }

    /// The certificates, where there is a TLS listener.
    pub fn tls(&self) -> Option<&Tls> {
        self.keeper.as_ref().map(|keeper| &keeper.tls)
    }

    /// Loads the certificates again now, instead of when their files are seen to have changed.
    /// Those in use stay if the new ones are not fit for use, and standard error says why.
    pub fn reload_certificates(&self) {
        if let Some(keeper) = &self.keeper {
            say(&keeper.tls.reload().map_or_else(Change::Kept, Change::Reloaded));
            tell_flaws(&keeper.tls);
        }
    }

    /// As [`Self::reload_certificates`], from other files: those of a configuration that changed.
    pub(crate) fn replace_certificates(&self, files: Vec<CertificateFiles>) {
        if let Some(keeper) = &self.keeper {
            say(&keeper.tls.replace(files).map_or_else(Change::Kept, Change::Reloaded));
            tell_flaws(&keeper.tls);
        }
    }

    /// True when every worker has ended.
    pub fn is_finished(&self) -> bool {
        self.workers.iter().all(|worker| worker.thread.is_finished())
    }

    /// True when a worker has ended, be it by a fault; nobody else answers its connections.
    pub(crate) fn lacks_a_worker(&self) -> bool {
        self.workers.iter().any(|worker| worker.thread.is_finished())
    }

    /// Waits until every worker has ended.
    pub fn join(self) -> Result<(), Error> {
        let mut result = Ok(());
        for worker in self.workers {
            let ended = worker.thread.join();
            let ended = ended.unwrap_or_else(|_| Err(io::Error::other("it panicked")));
            result = result.and(ended.map_err(Error::Worker));
        }
        if let Some(metrics) = self.metrics {
            metrics.stop();
            result = result.and(metrics.join());
        }
        if let Some(log) = self.log {
            log.finish(LOG_PATIENCE);
        }
        result
    }

    fn tell(&self, control: Control) {
        for worker in &self.workers {
            // An error means that the worker has ended already.
            let _ =
                worker.mailbox.post(Token::new(OpKind::Control, control as u8, Id::default()), 0);
        }
    }
}
