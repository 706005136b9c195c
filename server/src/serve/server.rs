//! The server: listeners bound, one worker started on each CPU, stopped together.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use core_affinity::CoreId;
use http::HeaderValue;
use ringway_codec::scan::Backend;
use ringway_tuning::start;
use zeroize::Zeroize;

use super::inherited;
use super::listener::{self, Bound, Listener};
use super::log::{self, OpenedLog};
use super::notify;
use crate::app::error::Error;
use crate::app::handler::{Guarded, Handler, IntoHandler};
use crate::config::Scheme;
use crate::config::{
    Address, BadCollectorUrl, CollectorUrl, Engine, Http2Config, Http3Config, KIB, Limits,
    LogConfig, Trace,
};
use crate::observe::log::Dropped;
use crate::observe::metrics::{Endpoint, Figures, Guard, Lifecycle, Published, Replacements};
use crate::observe::otlp::{Exporter, Traced};
use crate::ring::RecvMode;
use crate::rt::console::note;
use crate::rt::descriptors::{self, Beside};
use crate::rt::threads::Threads;
use crate::serve::handle::{Keeper, ServerHandle, Serving};
use crate::serve::handover::Inheritance;
use crate::serve::lifetime;
use crate::serve::privileges::Privileges;
use crate::serve::workers::{Alive, Parts, Plan};
use crate::tls::{Alpn, ConfigError, Tls};
use crate::udp::{self, Forwarder, Older, Setup};
use crate::worker::{AltSvc, ListenerConfig, Listeners};

/// A server to be started: its handler and its listeners.
///
/// ```no_run
/// use ringway::{Request, Response, Router, Server};
///
/// fn main() -> Result<(), ringway::Error> {
///     let app = Router::new().get("/plaintext", |_: &Request| Response::text("Hello, World!"));
///     Server::new(app).http("127.0.0.1:8080").run()
/// }
/// ```
pub struct Server {
    app: Arc<dyn Handler>,
    listeners: Vec<(Scheme, Result<Address, String>)>,
    tls: Option<Tls>,
    workers: Option<usize>,
    cpus: Option<Vec<usize>>,
    limits: Limits,
    http2: Http2Config,
    http3: Http3Config,
    qlog: Option<PathBuf>,
    trace: Vec<Trace>,
    hsts: Option<HeaderValue>,
    engine: Engine,
    backend: Option<Backend>,
    recv: RecvMode,
    log: LogConfig,
    metrics: Option<Result<Address, String>>,
    metrics_hosts: Vec<String>,
    otlp: Option<Result<CollectorUrl, String>>,
    privileges: Option<Privileges>,
    /// Bound already, before privileges were given up.
    pub(super) bound: Vec<Listener>,
    health: Option<Result<Address, String>>,
    /// It serves another server's metrics; that one has counted its descriptors.
    is_reckoned: bool,
    /// What the process that it replaces has handed over.
    inheritance: Option<Arc<Inheritance>>,
}

impl Server {
    /// A server that answers with `app`, a [`Router`](crate::Router) or any other handler, and does
    /// not listen anywhere yet.
    pub fn new<K>(app: impl IntoHandler<K>) -> Self {
        Self::of(Arc::new(Guarded(app.into_handler())))
    }

    /// A server that answers with `app`, whose panics it catches itself.
    pub(super) fn of(app: Arc<dyn Handler>) -> Self {
        Self {
            app,
            listeners: Vec::new(),
            tls: None,
            workers: None,
            cpus: None,
            limits: Limits::default(),
            http2: Http2Config::default(),
            http3: Http3Config::default(),
            qlog: None,
            trace: Vec::new(),
            hsts: None,
            engine: Engine::default(),
            backend: None,
            recv: RecvMode::default(),
            log: LogConfig::default(),
            metrics: None,
            metrics_hosts: Vec::new(),
            otlp: None,
            privileges: None,
            bound: Vec::new(),
            health: None,
            is_reckoned: false,
            inheritance: None,
        }
    }

    /// Listens for HTTP in the clear: `127.0.0.1:8080`, `[::1]:0`, `:8080`, `unix:/run/a.sock`,
    /// `fd:3`. May be called again for further addresses.
    #[must_use]
    pub fn http(self, address: impl AsRef<str>) -> Self {
        let parsed = address.as_ref().parse::<Address>().map_err(|error| error.to_string());
        self.listen(Scheme::Http, parsed)
    }

    /// Listens for HTTPS with these certificates: HTTP/2 and HTTP/1.1 over TLS, and HTTP/3 on the
    /// UDP port of the same number.
    #[must_use]
    pub fn https(mut self, address: impl AsRef<str>, tls: Tls) -> Self {
        let parsed = address.as_ref().parse::<Address>().map_err(|error| error.to_string());
        self.tls = Some(tls);
        self.listen(Scheme::Https, parsed)
    }

    /// Listens for HTTP/2 in the clear, with prior knowledge; HTTP/1.1 is refused.
    #[must_use]
    pub fn h2c(self, address: impl AsRef<str>) -> Self {
        let parsed = address.as_ref().parse::<Address>().map_err(|error| error.to_string());
        self.listen(Scheme::H2c, parsed)
    }

    /// The certificates for the TLS listeners of the configuration.
    pub(crate) fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The Strict-Transport-Security of every answer over TLS.
    pub(crate) fn hsts(mut self, policy: HeaderValue) -> Self {
        self.hsts = Some(policy);
        self
    }

    /// Listens on an address of the configuration.
    pub(crate) fn listen(mut self, scheme: Scheme, address: Result<Address, String>) -> Self {
        self.listeners.push((scheme, address));
        self
    }

    /// Starts this many workers instead of one for each CPU that the process may use.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers.max(1));
        self
    }

    /// Pins the workers to these CPUs, in order, instead of to those that the process may use. A
    /// CPU that is not there, or is kept from the process, is an error at the start.
    #[must_use]
    pub fn cpus(mut self, cpus: impl IntoIterator<Item = usize>) -> Self {
        self.cpus = Some(cpus.into_iter().collect());
        self
    }

    /// Sets the bounds.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Says which parts of HTTP/2 are spoken; its bounds are among the others.
    #[must_use]
    pub fn http2(mut self, http2: Http2Config) -> Self {
        self.http2 = http2;
        self
    }

    /// Says which parts of HTTP/3 are spoken, and whether it is; its bounds are among the others.
    /// Where a UDP port cannot be had, standard error says so and the other protocols are spoken.
    #[must_use]
    pub fn http3(mut self, http3: Http3Config) -> Self {
        self.http3 = http3;
        self
    }

    /// Writes a qlog of each QUIC connection into this directory: for debugging.
    #[must_use]
    pub fn qlog(mut self, directory: impl Into<PathBuf>) -> Self {
        self.qlog = Some(directory.into());
        self
    }

    /// Shows what connections say on standard error: heads of HTTP/1.1, frames of HTTP/2, records
    /// of TLS. For debugging by eye; values of fields that carry secrets are left out.
    #[must_use]
    pub fn trace(mut self, protocols: impl IntoIterator<Item = Trace>) -> Self {
        self.trace = protocols.into_iter().collect();
        self
    }

    /// Switches on what tuning found to help on this machine.
    #[must_use]
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// Has the codecs use these vector instructions instead of the best that the CPU has.
    #[must_use]
    pub fn simd(mut self, backend: Backend) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Takes over from another process: it begins neither to accept nor to read before it is told.
    pub(super) fn inherits(mut self, inheritance: Option<Arc<Inheritance>>) -> Self {
        self.inheritance = inheritance;
        self
    }

    /// Keeps an access log.
    #[must_use]
    pub fn log(mut self, log: LogConfig) -> Self {
        self.log = log;
        self
    }

    /// Serves metrics here, apart from everything else: a page that draws them at `/`, `/metrics`
    /// for Prometheus, `/stats.json`. Nothing guards them but that web pages of other sites are
    /// refused, so keep them to loopback or a Unix socket.
    #[must_use]
    pub fn metrics(mut self, address: impl AsRef<str>) -> Self {
        self.metrics = Some(
            address.as_ref().parse().map_err(|error: crate::config::BadAddress| error.to_string()),
        );
        self
    }

    /// Serves metrics to requests for these hosts too. Otherwise they are served for addresses and
    /// `localhost` alone, so that no web page can read them under a name that leads here.
    #[must_use]
    pub fn metrics_hosts(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.metrics_hosts.extend(hosts.into_iter().map(Into::into));
        self
    }

    /// Sends metrics, and traces of sampled requests, to an OpenTelemetry collector:
    /// `http://127.0.0.1:4318`. A trace that a client began is continued if it is sampled; handlers
    /// read it by [`Request::trace_context`](crate::Request::trace_context). Workers never wait for
    /// the collector: spans that it does not take in time are dropped and counted.
    #[must_use]
    pub fn otlp(mut self, url: impl AsRef<str>) -> Self {
        self.otlp = Some(url.as_ref().parse().map_err(|error: BadCollectorUrl| error.to_string()));
        self
    }

    /// Gives these up before the first thread starts.
    pub(super) fn privileges(mut self, privileges: Option<Privileges>) -> Self {
        self.privileges = privileges;
        self
    }

    /// Answers `/livez` and `/readyz` here, and nothing else: whether every worker has turned in
    /// five seconds, and whether the server wants requests. The metrics listener answers both too.
    #[must_use]
    pub fn health(mut self, address: impl AsRef<str>) -> Self {
        let parsed = address.as_ref().parse::<Address>();
        self.health = Some(parsed.map_err(|error| error.to_string()));
        self
    }

    /// How connections receive: for measurements.
    #[must_use]
    pub fn recv_mode(mut self, mode: RecvMode) -> Self {
        self.recv = mode;
        self
    }

    /// Starts, prints where it listens (`listening http 127.0.0.1:8080`, a line each), and serves
    /// until SIGTERM or SIGINT: then finishes what is in flight, at a second signal ends at once.
    /// SIGUSR2 replaces the process by one that is started in the same way, on the same sockets.
    /// Should a worker fail, the others are ended too, and its error is returned.
    pub fn run(self) -> Result<(), Error> {
        let limits = self.limits.clone();
        let start = |inheritance| self.inherits(inheritance).start();
        let print = ServerHandle::print_listeners;
        lifetime::run(&limits, start, print, ServerHandle::reload_certificates)
    }

    /// Starts, and serves until `until` is done: then finishes what is in flight, for as long as
    /// [`drain_timeout`](Limits::drain_timeout) allows. Should a worker fail before that, the
    /// others are ended too, and its error is returned.
    ///
    /// The future is polled on the calling thread, which waits for it and does nothing else: one
    /// that is woken from elsewhere will do, such as the receiver of a [`oneshot`](crate::oneshot);
    /// [`sleep`](crate::sleep) is for workers. No signal is listened to, and nothing is printed.
    ///
    /// ```no_run
    /// use ringway::{Request, Response, Router, Server, oneshot};
    ///
    /// # fn main() -> Result<(), ringway::Error> {
    /// let app = Router::new().get("/", |_: &Request| Response::text("hello"));
    /// let (stop, stopped) = oneshot::<()>();
    /// std::thread::spawn(move || {
    ///     let _ = std::io::stdin().read_line(&mut String::new());
    ///     stop.send(())
    /// });
    /// Server::new(app).http("127.0.0.1:8080").run_until(stopped)
    /// # }
    /// ```
    pub fn run_until<F: IntoFuture>(self, until: F) -> Result<(), Error> {
        let server = self.start()?;
        server.wait_for(until.into_future());
        server.join()
    }

    /// Starts, and returns when every worker is serving.
    pub fn start(mut self) -> Result<ServerHandle, Error> {
        let (metrics, health) = self.bind_beside()?;
        let guard = Guard::new(std::mem::take(&mut self.metrics_hosts));
        let pages = self.limits.metrics_pages;
        let cpus = self.choose_cpus();
        let workers = self.workers.unwrap_or(cpus.len().max(1));
        let listeners = self.bind(workers)?;
        if self.engine.incoming_cpu {
            listeners.iter().try_for_each(|listener| listener.steer(&cpus)).map_err(Error::Ring)?;
        }
        let unsent = self.limits.h2_unsent_bytes;
        listeners
            .iter()
            .try_for_each(|listener| listener.bound_unsent(unsent))
            .map_err(Error::Ring)?;
        let sink = log::open(&self.log)?;
        let privileges = self.privileges.take();
        privileges.iter().try_for_each(Privileges::give_up)?;
        self.app.start();
        let beside = Beside { metrics: metrics.is_some(), health: health.is_some() };
        if !self.is_reckoned
            && let Some(fitted) = beside.fit(&mut self.limits, workers, start::descriptors())
        {
            note!("{fitted}");
        }
        let dropped = Dropped::default();
        let log = OpenedLog::of(&self.log, sink, self.limits.log_queue, workers, &dropped)?;
        let inheritance = self.inheritance.clone();
        let (generation, replacements) = self.succeed()?;
        let lifecycle = Arc::new(Lifecycle::begin(replacements));
        let keeper = self.tls.clone().map(|tls| Keeper::start(tls, Arc::clone(&lifecycle)));
        let keeper = keeper.transpose()?;
        let mut serving =
            Serving::new(&listeners, (log.writer, dropped), keeper, lifecycle, generation);
        let published: Vec<_> = (0..workers).map(|_| Arc::new(Published::default())).collect();
        let exported = self.otlp.is_some().then(Arc::default);
        let is_measured = metrics.is_some() || exported.is_some();
        let figures = Arc::new(serving.figures(published.clone(), exported));
        self.export(&figures, &mut serving)?;
        let (configs, sockets) = self.by_worker(listeners, workers)?;
        let forwarder = Forwarder::new(workers, self.limits.h3_forward_queue);
        let setups = self.setups(sockets, &forwarder, generation)?;
        serving.speak_quic(setups.len());
        let mut setups = setups.into_iter();
        let plan = self.plan(serving.alive());
        for (number, (configs, log)) in configs.into_iter().zip(log.ends).enumerate() {
            let parts = Parts {
                number: number as u32,
                cpu: cpus.get(number % cpus.len().max(1)).copied(),
                listeners: Listeners::new(configs, inheritance.is_none()),
                udp: setups.next(),
                log,
                published: is_measured.then(|| Arc::clone(&published[number])),
            };
            let worker = plan.start(parts).inspect_err(|_| serving.stop())?;
            forwarder.started(number, &worker.post.mailbox);
            serving.add(worker);
        }
        if let Some(listeners) = metrics {
            let endpoint = Endpoint::new(figures, pages, guard);
            let app = serving.health(Some(Box::new(endpoint)));
            Self::beside(app, listeners, pages, &inheritance).start_in(&mut serving)?;
        }
        if let Some(listeners) = health {
            Self::beside(serving.health(None), listeners, 0, &inheritance)
                .start_in(&mut serving)?;
        }
        privileges.iter().try_for_each(Privileges::seal).inspect_err(|_| serving.stop())?;
        Ok(serving.into_handle())
    }

    /// The number of this generation, and the replacements before it. The secrets of the former are
    /// taken over.
    fn succeed(&self) -> Result<(u16, Replacements), Error> {
        let Some(all) = &self.inheritance else {
            return Ok((udp::generation(), Replacements::default()));
        };
        if let (Some(tls), Some(mut secrets)) = (&self.tls, all.secrets()) {
            let adopted = tls.tickets().adopt(&secrets);
            secrets.zeroize();
            adopted.map_err(Error::Handover)?;
        }
        let (done, failed) = all.replacements();
        Ok((all.generation(), Replacements::new(all.ends(), done + 1, failed)))
    }

    /// A server of what is told about another one, also to so many pages that stay.
    fn beside(
        app: impl Handler,
        listeners: Vec<Listener>,
        pages: u32,
        inheritance: &Option<Arc<Inheritance>>,
    ) -> Self {
        // It is mostly idle, so it has no CPU of its own.
        let mut server = Self::new(app).workers(1).cpus([]);
        server.bound = listeners;
        server.inheritance = inheritance.clone();
        server.limits.connections = descriptors::METRICS + pages;
        // A page that takes nothing is noticed once this is full.
        server.limits.output_bytes = 16 * KIB as usize;
        server.is_reckoned = true;
        server
    }

    /// Starts it beside another server, which ends if it cannot.
    fn start_in(self, serving: &mut Serving) -> Result<(), Error> {
        let started = self.start().inspect_err(|_| serving.stop())?;
        serving.add_beside(started);
        Ok(())
    }

    /// Sends metrics and traces to a collector from now on, if there is one.
    fn export(&mut self, figures: &Arc<Figures>, serving: &mut Serving) -> Result<(), Error> {
        let Some(url) = self.otlp.take() else { return Ok(()) };
        let exporter =
            Exporter::start(url.map_err(Error::Address)?, &self.limits, Arc::clone(figures))?;
        self.app = Arc::new(Traced::new(Arc::clone(&self.app), exporter.tracing()));
        serving.add_exporter(exporter);
        Ok(())
    }

    /// What all workers have in common.
    fn plan(self, alive: Arc<Alive>) -> Plan {
        let Limits { blocking_threads, blocking_queue, compress_queue, .. } = self.limits;
        Plan {
            app: self.app,
            limits: self.limits,
            http2: self.http2,
            trace: self.trace,
            hsts: self.hsts,
            backend: self.backend.unwrap_or_else(Backend::detect),
            recv: self.recv,
            engine: self.engine,
            cpus_chosen: self.cpus.is_some(),
            threads: Arc::new(
                Threads::new(blocking_threads.into(), blocking_queue as usize)
                    .press_queue(compress_queue as usize),
            ),
            alive,
        }
    }

    fn choose_cpus(&self) -> Vec<CoreId> {
        match &self.cpus {
            Some(cpus) => cpus.iter().map(|id| CoreId { id: *id }).collect(),
            None => core_affinity::get_core_ids().unwrap_or_default(),
        }
    }

    /// The listeners of metrics and of health.
    fn bind_beside(&mut self) -> Result<(Bindings, Bindings), Error> {
        let (metrics, health) = (self.metrics.take(), self.health.take());
        let bind = |scheme, address| self.bind_each(&[(scheme, address)], 1, false);
        let metrics = metrics.map(|address| bind(Scheme::Metrics, address)).transpose()?;
        let health = health.map(|address| bind(Scheme::Health, address)).transpose()?;
        Ok((metrics, health))
    }

    fn bind(&mut self, workers: usize) -> Result<Vec<Listener>, Error> {
        if !self.bound.is_empty() {
            return Ok(std::mem::take(&mut self.bound));
        }
        if self.listeners.is_empty() {
            return Err(Error::NoListener);
        }
        self.bind_each(&self.listeners, workers, self.speaks_http3()?)
    }

    fn bind_each(
        &self,
        wanted: &[(Scheme, Result<Address, String>)],
        workers: usize,
        speaks_http3: bool,
    ) -> Result<Vec<Listener>, Error> {
        let mut listeners = Vec::new();
        for (scheme, address) in wanted {
            let address = address.as_ref().map_err(|why| Error::Address(why.clone()))?;
            if self.take_over(*scheme, address, workers, speaks_http3, &mut listeners)? {
                continue;
            }
            for each in inherited::expand(address) {
                let listener = match *scheme == Scheme::Https && speaks_http3 {
                    true => self.bind_both(&each, workers)?,
                    false => listener::bind(*scheme, &each, workers)?,
                };
                notify::keep(&listener, &each);
                listeners.push(Listener { written: address.to_string().into(), ..listener });
            }
        }
        Ok(listeners)
    }

    /// Takes over what the process that this one replaces has handed over of an address; false if
    /// that is nothing. The name of several descriptors stands for as many listeners.
    fn take_over(
        &self,
        scheme: Scheme,
        address: &Address,
        workers: usize,
        speaks_http3: bool,
        listeners: &mut Vec<Listener>,
    ) -> Result<bool, Error> {
        let Some(all) = &self.inheritance else { return Ok(false) };
        let before = listeners.len();
        while let Some(listener) = all.listener(scheme, address, workers) {
            let mut listener = listener?;
            if scheme == Scheme::Https && speaks_http3 {
                self.take_over_udp(all, address, workers, &mut listener)?;
            }
            listeners.push(listener);
            if !matches!(address, Address::Fd(_)) {
                break;
            }
        }
        Ok(listeners.len() > before)
    }

    /// Takes over the UDP sockets of a listener; binds them if there were none.
    fn take_over_udp(
        &self,
        all: &Inheritance,
        address: &Address,
        workers: usize,
        listener: &mut Listener,
    ) -> Result<(), Error> {
        let Bound::Ip(bound) = listener.bound else { return Ok(()) };
        let workers = workers.min(udp::WORKERS_MAX);
        let only_v6 = !matches!(address, Address::Any(_));
        let buffer = self.limits.h3_socket_bytes;
        let sockets = match all.datagrams(&bound.to_string()) {
            Some(sockets) => udp::adopt(bound, only_v6, sockets, workers, buffer),
            None => udp::bind(bound, only_v6, workers, buffer),
        };
        let failed = |source| {
            let address = bound.to_string();
            Error::Listen { scheme: Scheme::H3, address, source }
        };
        listener.udp = sockets.map_err(failed)?.0;
        Ok(())
    }

    /// Whether to speak HTTP/3. Not if clients must present certificates, which QUIC does not ask
    /// for.
    fn speaks_http3(&self) -> Result<bool, Error> {
        if !self.http3.enabled || !self.tls.as_ref().is_some_and(Tls::asks_clients) {
            return Ok(self.http3.enabled);
        }
        let why = "QUIC does not ask for client certificates, so HTTP/3 is not spoken";
        if self.http3.required {
            return Err(ConfigError::general(why).into());
        }
        note!("warning: {why}");
        Ok(false)
    }

    /// Binds for TLS and QUIC, or for TLS alone if UDP cannot be bound.
    fn bind_both(&self, address: &Address, workers: usize) -> Result<Listener, Error> {
        let wanted = self.limits.h3_socket_bytes;
        let (listener, udp) = listener::bind_both(address, workers, wanted)?;
        match udp {
            Ok(granted) if granted < wanted => note!(
                "QUIC: the kernel grants {} KiB of receive buffer instead of {} KiB: raise \
                 net.core.rmem_max and wmem_max (ringway tune)",
                granted / 1024,
                wanted / 1024
            ),
            Ok(_) => {}
            Err(error) if self.http3.required => return Err(error),
            Err(error) => note!("warning: {error}; HTTP/2 and HTTP/1.1 are spoken"),
        }
        Ok(listener)
    }

    /// The QUIC setup of each worker; empty without HTTP/3.
    fn setups(
        &self,
        sockets: Vec<Vec<udp::Socket>>,
        forwarder: &Arc<Forwarder>,
        generation: u16,
    ) -> Result<Vec<Setup>, Error> {
        let Some(tls) = &self.tls else { return Ok(Vec::new()) };
        let workers = sockets.iter().filter(|sockets| !sockets.is_empty()).count();
        let spreads = sockets.iter().flatten().any(|socket| !socket.receives);
        let mut groups = HashMap::new();
        sockets.iter().flatten().for_each(|socket| *groups.entry(socket.local).or_insert(0) += 1);
        let groups = Arc::new(groups);
        let older = self.inheritance.as_ref().map_or_else(Vec::new, |all| all.frame_ends());
        let older = Arc::new(Older::new(older, generation));
        let setup = |(worker, sockets): (usize, _)| {
            Ok(Setup {
                worker: worker as u8,
                workers,
                spreads,
                generation,
                older: Arc::clone(&older),
                sockets,
                groups: Arc::clone(&groups),
                http3: self.http3.clone(),
                tls: tls.clone(),
                config: udp::config(tls, &self.limits, &self.http3)?,
                forwarder: Arc::clone(forwarder),
                qlog: self.qlog.clone(),
                reads: self.inheritance.is_none(),
            })
        };
        sockets.into_iter().enumerate().take(workers).map(setup).collect()
    }

    /// The listeners of each worker.
    fn by_worker(&self, listeners: Vec<Listener>, workers: usize) -> Result<PerWorker, Error> {
        let mut all: Vec<Vec<ListenerConfig>> = (0..workers).map(|_| Vec::new()).collect();
        let mut quic: Vec<Vec<udp::Socket>> = (0..workers).map(|_| Vec::new()).collect();
        for listener in listeners {
            let alt_svc = self.alt_svc(&listener);
            let Listener { scheme, written, sockets, udp, .. } = listener;
            let acceptor = match (scheme, &self.tls) {
                (Scheme::Https, Some(tls)) => {
                    let acceptor = tls.acceptor(&[Alpn::H2, Alpn::Http11])?;
                    Some(acceptor.at_most(self.limits.handshakes))
                }
                _ => None,
            };
            for (place, socket) in sockets.into_iter().enumerate() {
                all[place % workers].push(ListenerConfig {
                    scheme,
                    written: Arc::clone(&written),
                    socket,
                    acceptor: acceptor.clone(),
                    alt_svc: alt_svc.clone(),
                });
            }
            let speaking = workers.min(udp::WORKERS_MAX);
            for (place, socket) in udp.into_iter().enumerate() {
                quic[place % speaking].push(socket);
            }
        }
        Ok((all, quic))
    }

    /// The Alt-Svc announcement of a listener: where HTTP/3 is, or that it is gone.
    fn alt_svc(&self, listener: &Listener) -> Option<AltSvc> {
        let Bound::Ip(bound) = listener.bound else { return None };
        if listener.scheme != Scheme::Https || !self.http3.alt_svc {
            return None;
        }
        if listener.udp.is_empty() {
            return Some(AltSvc { value: "clear".into(), share: 100 });
        }
        let age = self.limits.h3_alt_svc_age.as_secs();
        let value = format!("h3=\":{}\"; ma={age}", bound.port());
        Some(AltSvc { value, share: self.limits.h3_alt_svc_share })
    }
}

/// The listeners of a server beside this one, where there is one.
type Bindings = Option<Vec<Listener>>;

/// What each worker listens on: TCP, and UDP.
type PerWorker = (Vec<Vec<ListenerConfig>>, Vec<Vec<udp::Socket>>);
