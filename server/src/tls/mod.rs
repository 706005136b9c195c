//! TLS on TCP, sans-I/O but for the certificate files: rustls makes the handshake, [`Session`]
//! keeps the records (RFC 8446, RFC 5246; with HTTP/2's rules of RFC 9113 §9.2, which rustls'
//! suites, all ECDHE and AEAD, meet). Early data and renegotiation do not exist here.
//!
//! [`Tls`] holds what the whole process shares and may swap while running: certificates, ticket
//! keys, key log; the QUIC stack takes the same from it. Each worker has an [`Acceptor`] per
//! listener, which makes a [`Session`] per connection. Session tickets are bound to the server name
//! by rustls, so none resumes at another virtual host.

#[allow(unsafe_code)]
pub(crate) mod boring;
mod certs;
mod clients;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod handshake;
mod keylog;
mod record;
mod record_layer;
mod reload;
mod secret;
mod self_signed;
mod session;
mod tap;
#[cfg(test)]
mod tests;
mod tickets;
mod x509;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ringway_quic::replay::Register;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use zeroize::Zeroizing;

pub use certs::{Certificate, CertificateFiles, Flaw};
pub use clients::ClientAuthority;
pub use error::{ConfigError, Error};
pub use keylog::KeyLog;
pub use session::{Names, Session, SessionEvent, Step, Version};
pub use tickets::{KeyMaterial, ROTATION, Tickets};

use certs::Store;
use clients::{ByHost, Clients, NotForClients};
use reload::Watch;

/// An application protocol that a listener speaks (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// `h2`.
    H2,
    /// `http/1.1`.
    Http11,
}

impl Alpn {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::H2 => "h2",
            Self::Http11 => "http/1.1",
        }
    }

    fn from_name(name: &[u8]) -> Option<Self> {
        [Self::H2, Self::Http11].into_iter().find(|alpn| alpn.name().as_bytes() == name)
    }
}

/// The options of a [`Tls`].
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The certificates; the first serves clients that name no host or an unknown one. With none,
    /// a self-signed one is made for localhost.
    pub certificates: Vec<CertificateFiles>,
    /// Where the master secret of session tickets is kept, so that tickets survive a restart.
    pub ticket_key: Option<PathBuf>,
    /// Where session secrets are logged for debugging, in the form of `SSLKEYLOGFILE`. Whoever
    /// reads that file can read the connections.
    pub key_log: Option<PathBuf>,
    /// Refuse TLS 1.2.
    pub only_tls13: bool,
    /// PEM: the authorities of which each client has to show a certificate. Such connections are
    /// never resumed, since a ticket would stand for a certificate that nobody looks at again.
    pub client_ca: Option<PathBuf>,
    /// The same for some hosts only, on QUIC too.
    pub client_authorities: Vec<ClientAuthority>,
    /// Answer requests for hosts that the connection's certificate does not cover, instead of
    /// refusing them with 421 (RFC 9110 §7.4).
    pub serve_misdirected: bool,
}

/// What happened in [`Tls::poll_changes`].
#[derive(Debug)]
pub enum Change {
    /// New certificates are in use; the generation they made.
    Reloaded(u64),
    /// The files changed but were refused: the former certificates stay in use.
    Kept(ConfigError),
    /// Ticket keys moved on by an epoch.
    TicketsRotated,
    /// Ticket keys moved on, but could not be saved.
    TicketsUnsaved(ConfigError),
    /// A certificate in use has a flaw that was not told yet.
    Flawed(String),
}

/// The certificates, ticket keys and key log of the process. Clones share them.
#[derive(Clone, Debug)]
pub struct Tls {
    shared: Arc<Shared>,
}

/// The certificate files; self-signed if there are none.
#[derive(Debug)]
struct Source {
    files: Vec<CertificateFiles>,
    authorities: Vec<ClientAuthority>,
    watch: Watch,
}

impl Source {
    /// Watches from the present state on: made before the files are read.
    fn new(files: Vec<CertificateFiles>, authorities: Vec<ClientAuthority>) -> Self {
        let paths = files.iter().flat_map(CertificateFiles::paths);
        let paths = paths.chain(authorities.iter().map(|authority| authority.file.as_path()));
        let watch = Watch::new(paths.map(Into::into).collect());
        Self { files, authorities, watch }
    }
}

/// Certificates that are loaded and not in use yet.
#[derive(Debug)]
pub struct Prepared {
    source: Source,
    store: Arc<Store>,
}

impl Prepared {
    /// The certificates, the default first.
    pub fn certificates(&self) -> &[Arc<Certificate>] {
        self.store.certificates()
    }
}

#[derive(Debug)]
struct Shared {
    only_tls13: bool,
    serve_misdirected: bool,
    /// The verifier of client certificates, if they are required.
    clients: Option<Arc<dyn ClientCertVerifier>>,
    source: Mutex<Source>,
    store: Mutex<Arc<Store>>,
    /// Counts the stores; workers compare it with what they hold.
    generation: AtomicU64,
    /// Number of refused reloads.
    kept: AtomicU64,
    /// Flaws of the current certificates that were reported.
    told: Mutex<Vec<String>>,
    tickets: Arc<Tickets>,
    key_log: Arc<KeyLog>,
    provider: Arc<CryptoProvider>,
    /// Recent ClientHellos with early data; created when QUIC needs it.
    early: OnceLock<Register>,
    began: Instant,
}

impl Tls {
    /// Loads everything that `options` names and checks it.
    ///
    /// # Errors
    /// The file that cannot be used, and why.
    pub fn new(options: Options) -> Result<Self, ConfigError> {
        let now = SystemTime::now();
        let source = Source::new(options.certificates, options.client_authorities);
        let tickets = Tickets::new(options.ticket_key.as_deref(), unix(now) as u64)?;
        let key_log = KeyLog::open(options.key_log.as_deref())?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let store = load(&source, options.serve_misdirected, &provider, now)?;
        let clients = options.client_ca.map(|file| certs::clients(&file, &provider)).transpose()?;
        let shared = Shared {
            only_tls13: options.only_tls13,
            serve_misdirected: options.serve_misdirected,
            clients,
            source: Mutex::new(source),
            store: Mutex::new(Arc::new(store)),
            generation: AtomicU64::new(1),
            kept: AtomicU64::new(0),
            told: Mutex::default(),
            tickets: Arc::new(tickets),
            key_log: Arc::new(key_log),
            provider,
            early: OnceLock::new(),
            began: Instant::now(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A self-signed certificate for localhost, 127.0.0.1 and ::1: for development.
    ///
    /// # Errors
    /// No random numbers.
    pub fn self_signed() -> Result<Self, ConfigError> {
        Self::new(Options::default())
    }

    /// One certificate chain and its key, PEM files.
    ///
    /// # Errors
    /// As [`Tls::new`].
    pub fn pem(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        Self::new(Options {
            certificates: vec![CertificateFiles::new(chain, key)],
            ..Options::default()
        })
    }

    /// Makes sessions that offer `alpn`, best first. One per worker and listener.
    ///
    /// # Errors
    /// None that a configuration could cause: rustls refuses its own provider.
    pub fn acceptor(&self, alpn: &[Alpn]) -> Result<Acceptor, ConfigError> {
        let generation = self.generation();
        let store = Arc::clone(&self.store());
        let config = self.config(Arc::clone(&store), alpn)?;
        let handshakes = Handshakes { most: u32::MAX, now: Arc::default() };
        Ok(Acceptor {
            tls: self.clone(),
            alpn: alpn.to_vec(),
            generation,
            store,
            config,
            handshakes,
        })
    }

    /// Rotates ticket keys when their time has come, reloads certificates whose files changed, and
    /// tells which have expired since.
    /// For a background thread, every second or so; certificates take two looks.
    pub fn poll_changes(&self, now: SystemTime) -> Vec<Change> {
        let mut changes = Vec::new();
        match self.shared.tickets.rotate(unix(now) as u64) {
            Ok(true) => changes.push(Change::TicketsRotated),
            Ok(false) => {}
            Err(error) => changes.push(Change::TicketsUnsaved(error)),
        }
        let mut source = lock(&self.shared.source);
        if source.watch.changed() {
            changes.push(match self.swap(&source, now) {
                Ok(generation) => Change::Reloaded(generation),
                Err(error) => Change::Kept(error),
            });
        }
        drop(source);
        changes.extend(self.new_flaws(now).into_iter().map(Change::Flawed));
        changes
    }

    /// New flaws of the current certificates, a line each with the file: those not reported since
    /// the certificates were loaded.
    pub fn new_flaws(&self, now: SystemTime) -> Vec<String> {
        let mut flaws = Vec::new();
        for certificate in self.certificates() {
            let file = certificate.file().map(|file| format!("{}: ", file.display()));
            let file = file.unwrap_or_default();
            flaws.extend(certificate.flaws(unix(now)).map(|flaw| format!("{file}{flaw}")));
        }
        let mut told = lock(&self.shared.told);
        let new = flaws.iter().filter(|flaw| !told.contains(flaw)).cloned().collect();
        *told = flaws;
        new
    }

    /// How many of the certificates in use clients refuse at `now` by a date in their chains.
    pub fn out_of_date(&self, now: SystemTime) -> usize {
        let by_date = |flaw| matches!(flaw, Flaw::Expired(..) | Flaw::Early(..));
        let certificates = self.certificates();
        certificates.iter().filter(|each| each.flaws(unix(now)).any(by_date)).count()
    }

    /// Reloads the certificates at once (SIGHUP); the new generation. A self-signed one stays.
    ///
    /// # Errors
    /// Those in use stay in use: the file at fault and why.
    pub fn reload(&self) -> Result<u64, ConfigError> {
        let mut source = lock(&self.shared.source);
        if source.files.is_empty() {
            return Ok(self.generation());
        }
        source.watch.reset();
        self.swap(&source, SystemTime::now())
    }

    /// Loads other certificates, for [`Self::take`] (SIGHUP with a changed configuration). Without
    /// any, a self-signed one that is in use stays in use.
    ///
    /// # Errors
    /// The file at fault and why.
    pub fn prepare(
        &self,
        certificates: Vec<CertificateFiles>,
        authorities: Vec<ClientAuthority>,
    ) -> Result<Prepared, ConfigError> {
        let source = Source::new(certificates, authorities);
        let is_as_it_was = source.authorities == lock(&self.shared.source).authorities;
        if source.files.is_empty() && self.is_self_signed() && is_as_it_was {
            return Ok(Prepared { store: Arc::clone(&self.store()), source });
        }
        let shared = &self.shared;
        let now = SystemTime::now();
        let store = load(&source, shared.serve_misdirected, &shared.provider, now)
            .inspect_err(|_| self.count_kept())?;
        Ok(Prepared { store: Arc::new(store), source })
    }

    /// [`Self::prepare`] and [`Self::take`].
    ///
    /// # Errors
    /// Those in use, and their files, stay in use: the file at fault and why.
    pub fn replace(
        &self,
        certificates: Vec<CertificateFiles>,
        authorities: Vec<ClientAuthority>,
    ) -> Result<u64, ConfigError> {
        Ok(self.take(self.prepare(certificates, authorities)?))
    }

    /// Uses prepared certificates from now on; the new generation.
    pub fn take(&self, Prepared { source, store }: Prepared) -> u64 {
        let mut former = lock(&self.shared.source);
        *former = source;
        self.put(store)
    }

    /// How many reloads there were: those that were taken, and those that were not fit for use.
    pub fn reloads(&self) -> (u64, u64) {
        (self.generation() - 1, self.shared.kept.load(Ordering::Relaxed))
    }

    /// Counts reloads, from 1.
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// The certificates in use, the default first: for printing, for metrics and for QUIC.
    pub fn certificates(&self) -> Vec<Arc<Certificate>> {
        self.store().certificates().to_vec()
    }

    /// The ticket keys: QUIC's are derived from the same secret.
    pub fn tickets(&self) -> &Arc<Tickets> {
        &self.shared.tickets
    }

    /// The hosts that a QUIC connection made for server name `sni` (lower case) may be asked for.
    /// `client`: the client has shown a certificate.
    pub fn names(&self, sni: Option<&str>, client: bool) -> Names {
        Names::new(self.store().clone(), sni.map(Into::into), client)
    }

    /// Whether a handshake for server name `sni` asks for a certificate.
    fn asks_client(&self, sni: Option<&str>) -> bool {
        let name = sni.map(str::to_ascii_lowercase);
        self.store().clients().are_asked(name.as_deref())
    }

    /// Whether clients have to show a certificate, for which QUIC does not ask.
    pub(crate) fn asks_clients(&self) -> bool {
        self.shared.clients.is_some()
    }

    /// The key log, shared with QUIC.
    pub fn key_log(&self) -> &Arc<KeyLog> {
        &self.shared.key_log
    }

    /// Whether the certificate is the one made at start.
    pub fn is_self_signed(&self) -> bool {
        lock(&self.shared.source).files.is_empty()
    }

    /// What early data was taken, for the process that replaces this one. From now on all is
    /// refused here.
    pub(crate) fn export_early(&self) -> Zeroizing<Vec<u8>> {
        let register = self.shared.early.get_or_init(|| Register::new(EARLY_HELLOS));
        register.export(self.shared.began.elapsed().as_secs())
    }

    /// Knows what early data another process has taken; false if that cannot be read. Early data is
    /// refused then for as long as it could be a repetition.
    pub(crate) fn import_early(&self, bytes: &[u8]) -> bool {
        let now_s = self.shared.began.elapsed().as_secs();
        let register = Register::import(bytes, now_s);
        let is_known = register.is_some();
        let register = register.unwrap_or_else(|| {
            let register = Register::new(EARLY_HELLOS);
            register.take_back(true, now_s);
            register
        });
        self.shared.early.set(register).is_ok() && is_known
    }

    /// Takes early data again, after an export whose receiver has failed; not at once if it
    /// `has_served`.
    pub(crate) fn take_back_early(&self, has_served: bool) {
        if let Some(register) = self.shared.early.get() {
            register.take_back(has_served, self.shared.began.elapsed().as_secs());
        }
    }

    /// Whether early data of the ClientHello with this random comes for the first time, to any
    /// worker.
    fn is_first_use(&self, random: &[u8]) -> bool {
        let register = self.shared.early.get_or_init(|| Register::new(EARLY_HELLOS));
        register.first_use(random, self.shared.began.elapsed().as_secs())
    }

    fn swap(&self, source: &Source, now: SystemTime) -> Result<u64, ConfigError> {
        let store = load(source, self.shared.serve_misdirected, &self.shared.provider, now)
            .inspect_err(|_| self.count_kept())?;
        Ok(self.put(Arc::new(store)))
    }

    fn put(&self, store: Arc<Store>) -> u64 {
        lock(&self.shared.told).clear();
        let mut slot = self.store();
        *slot = store;
        // Counted under the lock: a worker that sees the number finds the store or a later one.
        self.shared.generation.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn count_kept(&self) {
        self.shared.kept.fetch_add(1, Ordering::Relaxed);
    }

    fn store(&self) -> MutexGuard<'_, Arc<Store>> {
        lock(&self.shared.store)
    }

    fn config(&self, store: Arc<Store>, alpn: &[Alpn]) -> Result<Arc<ServerConfig>, ConfigError> {
        let versions = match self.shared.only_tls13 {
            true => &[&TLS13][..],
            false => &[&TLS13, &TLS12],
        };
        let config = ServerConfig::builder_with_provider(Arc::clone(&self.shared.provider))
            .with_protocol_versions(versions)
            .map_err(|error| ConfigError::general(error.to_string()))?;
        let clients = self.shared.clients.clone();
        let resumes = clients.is_none();
        let asks_some = resumes && !store.clients().is_empty();
        let clients = clients.unwrap_or_else(|| match asks_some {
            true => Arc::new(ByHost(Arc::clone(store.clients()))),
            false => WebPkiClientVerifier::no_client_auth(),
        });
        let config = config.with_client_cert_verifier(clients);
        let mut config = config.with_cert_resolver(Arc::clone(&store) as _);
        config.alpn_protocols = alpn.iter().map(|alpn| alpn.name().into()).collect();
        if resumes {
            let tickets = Arc::clone(&self.shared.tickets);
            config.ticketer = match asks_some {
                true => Arc::new(NotForClients(Arc::clone(store.clients()), tickets)),
                false => tickets,
            };
        }
        // Tickets carry all state: no table of sessions that workers would have to share.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.key_log = Arc::clone(&self.shared.key_log) as _;
        config.enable_secret_extraction = true;
        Ok(Arc::new(config))
    }
}

/// Hellos with early data that are remembered, 8 bytes each: what 250 a second make of two minutes.
const EARLY_HELLOS: usize = 1 << 15;

/// Makes the sessions of one listener on one worker.
#[derive(Clone, Debug)]
pub struct Acceptor {
    tls: Tls,
    alpn: Vec<Alpn>,
    generation: u64,
    store: Arc<Store>,
    config: Arc<ServerConfig>,
    handshakes: Handshakes,
}

/// Counts the unfinished handshakes of an acceptor and its clones.
#[derive(Clone, Debug)]
struct Handshakes {
    most: u32,
    now: Arc<AtomicU32>,
}

/// One unfinished handshake; it counts until it is dropped.
#[derive(Debug)]
struct Unfinished(Arc<AtomicU32>);

impl Handshakes {
    fn begin(&self) -> Option<Unfinished> {
        let unfinished = Unfinished(Arc::clone(&self.now));
        // Nothing else is published by this number.
        let before = self.now.fetch_add(1, Ordering::Relaxed);
        (before < self.most).then_some(unfinished)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Acceptor {
    /// Bounds the handshakes that this acceptor and its clones have unfinished at once.
    #[must_use]
    pub fn at_most(mut self, handshakes: u32) -> Self {
        self.handshakes.most = handshakes;
        self
    }

    /// A session for a connection just accepted, with the certificates of now.
    ///
    /// # Errors
    /// Ours only: as many handshakes are unfinished as may be, or rustls cannot make a connection.
    pub fn session(&mut self) -> Result<Session, Error> {
        if self.tls.generation() != self.generation
            && let Ok(fresh) = self.tls.acceptor(&self.alpn)
        {
            *self = Self { handshakes: self.handshakes.clone(), ..fresh };
        }
        let Some(unfinished) = self.handshakes.begin() else {
            return Err(Error::Internal("too many unfinished handshakes".into()));
        };
        let (config, store) = (Arc::clone(&self.config), Arc::clone(&self.store));
        Session::new(config, self.tls.shared.only_tls13, store, unfinished)
    }

    /// Whether the certificate of a connection made for server name `sni` covers `host` (lower
    /// case, no port): if not, 421 (RFC 9110 §7.4).
    pub fn covers(&self, sni: Option<&str>, host: &str) -> bool {
        self.store.covers(sni, host)
    }
}

fn load(
    source: &Source,
    serve_misdirected: bool,
    provider: &Arc<CryptoProvider>,
    now: SystemTime,
) -> Result<Store, ConfigError> {
    let mut certificates = Vec::with_capacity(source.files.len().max(1));
    for files in &source.files {
        certificates.push(Arc::new(Certificate::load(files)?));
    }
    if certificates.is_empty() {
        certificates.push(Arc::new(self_signed::make(unix(now))?));
    }
    let mut clients = Clients::default();
    for authority in &source.authorities {
        let verifier = certs::clients(&authority.file, provider)?;
        clients.add(authority, &certs::authorities(&authority.file)?, verifier)?;
    }
    Ok(Store::new(certificates, serve_misdirected, Arc::new(clients)))
}

/// Seconds since 1970; a clock before that counts as 0.
fn unix(now: SystemTime) -> i64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
