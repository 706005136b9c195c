//! The threads of the workers: how one is started, and who is told that it has ended.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::thread::JoinHandle;

use core_affinity::CoreId;
use http::HeaderValue;
use ringway_codec::scan::Backend;

use crate::app::error::Error;
use crate::app::handler::{Handler, panicked};
use crate::config::{Engine, Http2Config, Limits, Trace};
use crate::observe::log::Log;
use crate::observe::metrics::Published;
use crate::observe::trace::Tracer;
use crate::proto::state::WorkerState;
use crate::ring::message::Mailbox;
use crate::ring::{RecvMode, Ring, RingSettings};
use crate::rt::descriptors;
use crate::rt::executor::Executor;
use crate::rt::threads::Threads;
use crate::udp::Setup;
use crate::worker::{Listeners, Orders, Worker};

/// What all workers of a server have in common.
pub(super) struct Plan {
    pub(super) app: Arc<dyn Handler>,
    pub(super) limits: Limits,
    pub(super) http2: Http2Config,
    pub(super) trace: Vec<Trace>,
    pub(super) hsts: Option<HeaderValue>,
    pub(super) backend: Backend,
    pub(super) recv: RecvMode,
    pub(super) engine: Engine,
    /// Whether the CPUs were chosen, so that one which cannot be had is an error.
    pub(super) cpus_chosen: bool,
    pub(super) threads: Arc<Threads>,
    pub(super) alive: Arc<Alive>,
}

/// What a worker has to itself.
pub(super) struct Parts {
    pub(super) number: u32,
    pub(super) cpu: Option<CoreId>,
    pub(super) listeners: Listeners,
    pub(super) udp: Option<Setup>,
    pub(super) log: Option<Log>,
    pub(super) published: Option<Arc<Published>>,
}

/// A worker's thread, and where to reach it.
pub(super) struct WorkerThread {
    pub(super) post: Post,
    pub(super) thread: JoinHandle<io::Result<()>>,
}

/// Where to reach a worker.
#[derive(Clone)]
pub(super) struct Post {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) orders: Arc<Orders>,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.orders.fmt(f)
    }
}

/// How many workers of a server live, and who is to be told when one ends.
#[derive(Default)]
pub(super) struct Alive {
    workers: AtomicUsize,
    watchers: Mutex<Vec<Waker>>,
}

impl Alive {
    /// How many live.
    pub(super) fn workers(&self) -> usize {
        // What an ended worker did is not looked at before its thread was joined.
        self.workers.load(Ordering::Relaxed)
    }

    /// Has `waker` told whenever a worker ends, from now on.
    pub(super) fn watch(&self, waker: Waker) {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).push(waker);
    }
}

/// Counts a worker as living until it is dropped, be it by a panic.
struct Life {
    alive: Arc<Alive>,
    orders: Arc<Orders>,
}

impl Life {
    fn begin(alive: &Arc<Alive>, orders: &Arc<Orders>) -> Self {
        alive.workers.fetch_add(1, Ordering::Relaxed);
        Self { alive: Arc::clone(alive), orders: Arc::clone(orders) }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.orders.end();
        let watchers = self.alive.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        self.alive.workers.fetch_sub(1, Ordering::Relaxed);
        watchers.iter().for_each(Waker::wake_by_ref);
    }
}

impl Plan {
    /// Starts one worker and waits until it has its ring.
    pub(super) fn start(&self, parts: Parts) -> Result<WorkerThread, Error> {
        let Parts { number, cpu, listeners, udp, log, published } = parts;
        let (app, limits) = (Arc::clone(&self.app), self.limits.clone());
        let (http2, trace, hsts) = (self.http2.clone(), self.trace.clone(), self.hsts.clone());
        let (backend, threads) = (self.backend, Arc::clone(&self.threads));
        let settings = self.settings(udp.is_some());
        let (ready, started) = mpsc::channel();
        let is_chosen = self.cpus_chosen;
        let orders = Arc::<Orders>::default();
        let (life, theirs) = (Life::begin(&self.alive, &orders), Arc::clone(&orders));
        let body = move || {
            let _life = life;
            if let Some(cpu) = cpu
                && !pin(cpu)
                && is_chosen
            {
                let _ = ready.send(Err(Error::Cpu(cpu.id)));
                return Ok(());
            }
            let Some((ring, mailbox)) = open_ring(&settings, &ready) else { return Ok(()) };
            let executor = Executor::new(mailbox, threads, panicked);
            let mut state =
                WorkerState::new(number, app, limits, backend, executor, log, published);
            state.speak(&http2);
            state.hsts = hsts;
            let udp = udp.map(|setup| Box::new(setup.build(&state)));
            state.trace = Tracer::new(number, &trace);
            Worker::new(ring, listeners, state, udp, theirs).run()
        };
        let name = format!("ringway-{number}");
        let thread = std::thread::Builder::new().name(name).spawn(body).map_err(Error::Worker)?;
        match started.recv() {
            Ok(Ok(mailbox)) => Ok(WorkerThread { post: Post { mailbox, orders }, thread }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Worker(io::Error::other("it ended before it had started"))),
        }
    }

    fn settings(&self, speaks_quic: bool) -> RingSettings {
        let Limits { connections, h3_receive_bytes, h3_send_bytes, .. } = self.limits;
        RingSettings {
            recv: self.recv,
            connections: (connections + descriptors::OVER) as usize,
            udp: speaks_quic.then_some((h3_receive_bytes, h3_send_bytes)),
            busy_poll_us: self.engine.busy_poll_us.unwrap_or(0).into(),
            batch_wait_us: self.engine.batch_wait_us.unwrap_or(0).into(),
            ..RingSettings::default()
        }
    }
}

/// Pins the calling thread; false where there is no such CPU, or not for this process.
fn pin(cpu: CoreId) -> bool {
    cpu.id < libc::CPU_SETSIZE as usize && core_affinity::set_for_current(cpu)
}

/// Makes the ring on the worker's own thread and tells the starter what came of it.
fn open_ring(
    settings: &RingSettings,
    ready: &Sender<Result<Arc<Mailbox>, Error>>,
) -> Option<(Ring, Arc<Mailbox>)> {
    let made = Ring::new(settings).and_then(|ring| Ok((Arc::new(ring.mailbox()?), ring)));
    // The starter waits for this message, so it cannot be gone.
    match made {
        Ok((mailbox, ring)) => {
            let _ = ready.send(Ok(Arc::clone(&mailbox)));
            Some((ring, mailbox))
        }
        Err(error) => {
            let _ = ready.send(Err(Error::Ring(error)));
            None
        }
    }
}
