//! The handle of a running server.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use ringway_quic::HalfOpen;

use super::listener::{Bound, Listener};
use crate::app::error::Error;
use crate::app::handler::{Guarded, Handler, IntoHandler};
use crate::config::Scheme;
use crate::observe::log::{Dropped, Writer};
use crate::observe::metrics::{Exported, Figures, Lifecycle, Published, ReloadKind, Replacements};
use crate::observe::otlp::{Exporter, Traced};
use crate::ring::token::{Id, OpKind, Token};
use crate::rt::console::note;
use crate::rt::{park, thread_state};
use crate::serve::health::Health;
use crate::serve::receipt::{Late, Receipt};
use crate::serve::workers::{Alive, Post, WorkerThread};
use crate::tls::{Change, Prepared, Tls};
use crate::udp::{FrameEnds, HalfOpenExport};
use crate::worker::{Control, Handover, Order};

/// How long the last log lines may take: a pipe that nobody reads must not keep the server from
/// ending.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// How long the last spans and metrics may take: a collector that is gone must not keep the server
/// from ending.
const EXPORT_PATIENCE: Duration = Duration::from_secs(2);

/// The thread that reloads changed certificates and rotates ticket keys.
pub(crate) struct Keeper {
    tls: Tls,
    // Dropped to end the thread.
    _stop: Sender<()>,
}

/// How often certificate files are checked.
const KEEP_EVERY: Duration = Duration::from_secs(1);

impl Keeper {
    pub(crate) fn start(tls: Tls, lifecycle: Arc<Lifecycle>) -> Result<Self, Error> {
        let (stop, stopped) = mpsc::channel::<()>();
        let theirs = tls.clone();
        tell_flaws(&tls, &lifecycle);
        let body = move || {
            while stopped.recv_timeout(KEEP_EVERY) == Err(RecvTimeoutError::Timeout) {
                let changes = theirs.poll_changes(SystemTime::now());
                changes.iter().for_each(|change| say(change, &lifecycle));
            }
        };
        let builder = std::thread::Builder::new().name("ringway-keeper".into());
        builder.spawn(body).map_err(Error::Worker)?;
        Ok(Self { tls, _stop: stop })
    }
}

fn say(change: &Change, lifecycle: &Lifecycle) {
    match change {
        Change::Reloaded(n) => {
            lifecycle.reloaded(ReloadKind::Certificates, Ok(()));
            note!("certificates loaded (generation {n})");
        }
        Change::Kept(error) => {
            lifecycle.reloaded(ReloadKind::Certificates, Err(error.to_string()));
            note!("certificates not loaded, the former stay in use: {error}");
        }
        Change::TicketsRotated => {}
        Change::TicketsUnsaved(error) => note!("ticket keys not saved: {error}"),
        Change::Flawed(flaw) => note!("warning: {flaw}"),
    }
}

fn tell_flaws(tls: &Tls, lifecycle: &Lifecycle) {
    let flaws = tls.new_flaws(SystemTime::now()).into_iter().map(Change::Flawed);
    flaws.for_each(|flaw| say(&flaw, lifecycle));
}

/// A server that is serving. Clones are handles of the same one; it goes on serving when they are
/// dropped, though nobody looks for changed certificates then.
#[derive(Clone)]
pub struct ServerHandle(Arc<Serving>);

/// What the handles of a server share.
pub(super) struct Serving {
    bound: Vec<(Scheme, Bound)>,
    /// The address families of each: see [`Listener::families`].
    families: Vec<&'static str>,
    posts: Vec<Post>,
    alive: Arc<Alive>,
    /// Held by the one that joins, while the others wait.
    end: Mutex<End>,
    log: Mutex<Option<Writer>>,
    /// Lines that were lost, by all its logs.
    dropped: Dropped,
    keeper: Option<Keeper>,
    /// The servers of metrics and of health, which end with this one.
    beside: Vec<ServerHandle>,
    lifecycle: Arc<Lifecycle>,
    /// The number by which its connection IDs are told from those of its predecessors.
    generation: u16,
    exporter: Mutex<Option<Exporter>>,
    /// How many of its workers speak QUIC.
    quic_workers: usize,
    /// Where later generations hand those datagrams back; made when this one is first replaced.
    frame_ends: Mutex<Vec<OwnedFd>>,
}

/// The threads to be joined, and then what came of it.
#[derive(Default)]
struct End {
    threads: Vec<JoinHandle<io::Result<()>>>,
    error: Option<Arc<io::Error>>,
}

impl Serving {
    pub(super) fn new(
        listeners: &[Listener],
        (log, dropped): (Option<Writer>, Dropped),
        keeper: Option<Keeper>,
        lifecycle: Arc<Lifecycle>,
        generation: u16,
    ) -> Self {
        let (mut bound, mut families) = (Vec::new(), Vec::new());
        for listener in listeners {
            bound.extend(listener.lines());
            families.resize(bound.len(), listener.families());
        }
        Self {
            bound,
            families,
            posts: Vec::new(),
            alive: Arc::default(),
            end: Mutex::default(),
            log: Mutex::new(log),
            dropped,
            keeper,
            beside: Vec::new(),
            lifecycle,
            generation,
            exporter: Mutex::default(),
            quic_workers: 0,
            frame_ends: Mutex::default(),
        }
    }

    /// Who counts the workers.
    pub(super) fn alive(&self) -> Arc<Alive> {
        Arc::clone(&self.alive)
    }

    /// The first so many workers speak QUIC.
    pub(super) fn speak_quic(&mut self, workers: usize) {
        self.quic_workers = workers;
    }

    pub(super) fn add(&mut self, worker: WorkerThread) {
        self.posts.push(worker.post);
        lock(&self.end).threads.push(worker.thread);
    }

    /// What is shown of the server, and of what its workers publish.
    pub(super) fn figures(
        &self,
        workers: Vec<Arc<Published>>,
        exported: Option<Arc<Exported>>,
    ) -> Figures {
        Figures {
            workers,
            tls: self.keeper.as_ref().map(|keeper| keeper.tls.clone()),
            dropped: self.dropped.clone(),
            lifecycle: Arc::clone(&self.lifecycle),
            exported,
        }
    }

    /// Adds what sends metrics and traces, which ends with this server.
    pub(super) fn add_exporter(&mut self, exporter: Exporter) {
        self.exporter = Mutex::new(Some(exporter));
    }

    /// Adds a server of metrics or of health, which ends with this one.
    pub(super) fn add_beside(&mut self, other: ServerHandle) {
        self.bound.extend_from_slice(&other.0.bound);
        self.families.extend_from_slice(&other.0.families);
        self.beside.push(other);
    }

    /// What is asked about the server's health, before what `other` answers.
    pub(super) fn health(&self, other: Option<Box<dyn Handler>>) -> Health {
        Health::new(self.posts.clone(), Arc::clone(&self.lifecycle), other)
    }

    /// All workers serve.
    pub(super) fn into_handle(self) -> ServerHandle {
        ServerHandle(Arc::new(self))
    }

    /// Ends the workers that were started: not all could be.
    pub(super) fn stop(&self) {
        self.tell(Control::Stop);
    }

    fn tell(&self, control: Control) {
        for Post { mailbox, .. } in &self.posts {
            // An error means that the worker has ended already.
            let _ = mailbox.post(Token::new(OpKind::Control, control as u8, Id::default()), 0);
        }
    }
}

impl ServerHandle {
    /// Where it listens, in the order in which the listeners were added: port 0 is a port by now.
    pub fn local_addrs(&self) -> &[(Scheme, Bound)] {
        &self.0.bound
    }

    /// The first IP address on which `scheme` is spoken.
    pub fn local_addr(&self, scheme: Scheme) -> Option<SocketAddr> {
        self.0.bound.iter().find_map(|(spoken, bound)| match bound {
            Bound::Ip(address) if *spoken == scheme => Some(*address),
            _ => None,
        })
    }

    /// Prints where it listens, a line each: `listening http 127.0.0.1:8080`. `[::]:8080` is
    /// followed by the address families.
    pub(crate) fn print_listeners(&self) {
        let mut out = io::stdout().lock();
        for ((scheme, bound), families) in self.0.bound.iter().zip(&self.0.families) {
            // The reader may be gone.
            let _ = writeln!(out, "listening {scheme} {bound}{families}");
        }
        let _ = out.flush();
    }

    /// How many workers it has.
    pub fn workers(&self) -> usize {
        self.0.posts.len()
    }

    /// Has `/readyz` answer 503 from now on, and goes on serving: balancers send no more.
    pub(crate) fn leave(&self) {
        self.0.lifecycle.leave();
    }

    /// Stops accepting, and lets what is in flight, and the tasks of the application, finish
    /// within [`drain_timeout`](crate::config::Limits::drain_timeout). Returns at once; see
    /// [`Self::join`].
    pub fn drain(&self) {
        self.0.lifecycle.drain();
        self.0.tell(Control::Drain);
    }

    /// Stops accepting, cuts every connection off and drops every task. Returns at once; see
    /// [`Self::join`].
    pub fn stop(&self) {
        self.0.stop();
    }

    /// Has every worker print what it is doing to standard error.
    pub fn report(&self) {
        self.0.tell(Control::Report);
    }

    /// Has `app` answer the requests that begin from now on, on connections that are open too.
    /// What the former handler has begun it finishes, with the settings that it had; a request
    /// whose body is still being gathered for it has not begun. Returns at once: see [`Receipt`].
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use ringway::{Request, Response, Router, Server};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let app = |text: &'static str| {
    ///     Router::new().get("/", move |_: &Request| Response::text(text))
    /// };
    /// let server = Server::new(app("old")).http("127.0.0.1:8080").start()?;
    /// server.replace(app("new")).wait(Duration::from_secs(1))?;
    /// server.drain();
    /// # server.join()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn replace<K>(&self, app: impl IntoHandler<K>) -> Receipt {
        let app = Guarded(app.into_handler());
        app.start();
        let mut app: Arc<dyn Handler> = Arc::new(app);
        if let Some(exporter) = &*lock(&self.0.exporter) {
            app = Arc::new(Traced::new(app, exporter.tracing()));
        }
        self.order(|| vec![Order::App(Arc::clone(&app))])
    }

    /// Gives every worker the orders that `make` makes.
    pub(super) fn order(&self, mut make: impl FnMut() -> Vec<Order>) -> Receipt {
        let give = |post: &Post| (post.clone(), post.orders.give(make(), &post.mailbox));
        Receipt::of(self.0.posts.iter().map(give))
    }

    /// Gives every worker, of the metrics too, a step of a hand-over.
    pub(super) fn hand_over(&self, step: &Handover) -> Receipt {
        let beside = self.0.beside.iter().flat_map(|other| &other.0.posts);
        let give = |post: &Post| {
            let order = Order::Handover(step.clone());
            (post.clone(), post.orders.give(vec![order], &post.mailbox))
        };
        Receipt::of(self.0.posts.iter().chain(beside).map(give))
    }

    /// The number of its generation.
    pub(super) fn generation(&self) -> u16 {
        self.0.generation
    }

    /// Where its workers are handed datagrams of their connections, in their order. About `bytes`
    /// may wait for each.
    pub(super) fn forward_ends(&self, bytes: usize) -> io::Result<Vec<OwnedFd>> {
        let mut ends = lock(&self.0.frame_ends);
        if ends.is_empty() {
            let (ours, theirs) = FrameEnds::pairs(self.0.quic_workers, bytes)?;
            drop(self.hand_over(&Handover::TakeFrames(Arc::new(ours))));
            *ends = theirs;
        }
        ends.iter().map(OwnedFd::try_clone).collect()
    }

    /// Takes no more new connections over QUIC, and tells which handshakes are half-way, `most` of
    /// them: when no worker reads any more.
    pub(super) fn half_open(&self, most: usize, patience: Duration) -> Result<Vec<u8>, Late> {
        let export = Arc::new(HalfOpenExport::new(most, self.0.quic_workers));
        self.hand_over(&Handover::HalfOpen(Arc::clone(&export))).wait(patience)?;
        Ok(export.take())
    }

    /// Begins to read and to accept, with what another process has handed over last.
    pub(super) fn begin(&self, half_open: &[u8], most: usize, replay: &[u8]) {
        if let Some(tls) = self.tls()
            && !replay.is_empty()
            && !tls.import_early(replay)
        {
            note!("what early data was taken before is not known: it is refused for a while");
        }
        let table = HalfOpen::import(half_open, most, Instant::now());
        if table.is_none() {
            note!("which QUIC handshakes are half-way is not known: they fail");
        }
        drop(self.hand_over(&Handover::Begin(table.map(Arc::new))));
    }

    /// What is counted of replacements.
    pub(super) fn replacements(&self) -> &Replacements {
        &self.0.lifecycle.replacements
    }

    /// Has `waker` told whenever a worker ends.
    pub(super) fn watch(&self, waker: Waker) {
        self.0.alive.watch(waker);
    }

    /// Opens the access log's file again by its name: after it was rotated.
    pub fn reopen_log(&self) {
        if let Some(log) = &*lock(&self.0.log) {
            log.reopen();
        }
    }

    /// Keeps the writer of the log that every worker has from now on. The former one ends by
    /// itself, once it has written what it was given.
    pub(super) fn keep_log(&self, writer: Option<Writer>) {
        *lock(&self.0.log) = writer;
    }

    /// The count of log lines that were lost.
    pub(super) fn dropped_lines(&self) -> &Dropped {
        &self.0.dropped
    }

    /// The certificates, where there is a TLS listener.
    pub fn tls(&self) -> Option<&Tls> {
        self.0.keeper.as_ref().map(|keeper| &keeper.tls)
    }

    /// Loads the certificates again now, instead of when their files are seen to have changed.
    /// Those in use stay if the new ones are not fit for use, and standard error says why.
    pub fn reload_certificates(&self) {
        if let Some(tls) = self.tls() {
            let lifecycle = &self.0.lifecycle;
            say(&tls.reload().map_or_else(Change::Kept, Change::Reloaded), lifecycle);
            tell_flaws(tls, lifecycle);
        }
    }

    /// Uses certificates that were prepared, of a configuration that changed.
    pub(super) fn take_certificates(&self, prepared: Prepared) {
        if let Some(tls) = self.tls() {
            let lifecycle = &self.0.lifecycle;
            say(&Change::Reloaded(tls.take(prepared)), lifecycle);
            tell_flaws(tls, lifecycle);
        }
    }

    /// Where the life of the server is written down.
    pub(super) fn lifecycle(&self) -> &Lifecycle {
        &self.0.lifecycle
    }

    /// True when every worker has ended.
    pub fn is_finished(&self) -> bool {
        self.0.alive.workers() == 0
    }

    /// True when a worker has ended, be it by a fault; nobody else answers its connections.
    pub(crate) fn lacks_a_worker(&self) -> bool {
        self.0.alive.workers() < self.workers()
    }

    /// Waits on the calling thread until `until` is done, and drains; stops where a worker is lost
    /// before that.
    pub(super) fn wait_for(&self, until: impl Future) {
        let mut until = pin!(until);
        let waker = park::waker();
        self.0.alive.watch(waker.clone());
        let mut context = Context::from_waker(&waker);
        while !self.lacks_a_worker() {
            if until.as_mut().poll(&mut context).is_ready() {
                return self.drain();
            }
            std::thread::park();
        }
        self.stop();
    }

    /// Waits until every worker has ended. Any number of clones may wait; each is told the error of
    /// a worker that failed.
    ///
    /// # Panics
    /// On a worker, which would wait for itself.
    #[track_caller]
    pub fn join(&self) -> Result<(), Error> {
        thread_state::forbid_blocking("ServerHandle::join", "a thread of its own");
        let mut end = lock(&self.0.end);
        for thread in std::mem::take(&mut end.threads) {
            let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")));
            if let Err(error) = ended {
                end.error.get_or_insert(Arc::new(error));
            }
        }
        let mut result = match &end.error {
            Some(error) => Err(Error::Worker(io::Error::new(error.kind(), Arc::clone(error)))),
            None => Ok(()),
        };
        for other in &self.0.beside {
            other.stop();
            result = result.and(other.join());
        }
        let exporter = lock(&self.0.exporter).take();
        if let Some(exporter) = exporter {
            exporter.finish(EXPORT_PATIENCE);
        }
        let log = lock(&self.0.log).take();
        if let Some(log) = log {
            log.finish(LOG_PATIENCE);
        }
        result
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
