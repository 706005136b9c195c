//! The configuration: plain typed values, made from the command line over the environment over a
//! TOML file over the defaults. Nothing here opens a socket or reads anything but the one file that
//! it is told to read; and nothing but `settings` and `limits` knows a key, so that parsing,
//! `--help`, `ringway check --print`, the shell completions and the manual cannot disagree.

mod accounts;
mod address;
mod applies;
mod block;
mod collector;
mod error;
mod include;
mod lifecycle;
mod limits;
mod load;
mod log;
mod paths;
mod print;
mod scheme;
mod settings;
mod site;
mod site_check;
mod suggest;
mod text;
mod value;

pub use accounts::Identity;
pub(crate) use accounts::identity;
pub use address::{Address, BadAddress, Descriptor};
pub use applies::Applies;
pub use block::{CertificateConfig, ContentTypes, Hints, Hsts, LinkField, Push, UrlPath};
pub use collector::{BadCollectorUrl, CollectorUrl};
pub use error::{Error, Errors, ValueOrigin};
pub use lifecycle::{Account, LifecycleConfig, ParentMode, Sandbox};
pub(crate) use limits::least;
pub use limits::{GIB, KIB, Limit, Limits, MIB, Unit};
pub use load::{GivenOption, Loaded, Sources, load, load_text};
pub use log::{
    Addresses, Facility, FieldName, LogConfig, LogFormat, Sample, Sampling, Statuses, SyslogAddress,
};
pub use paths::missing_paths;
pub use paths::unknown_accounts;
pub use print::{print, reference};
pub use scheme::Scheme;
pub use settings::{Flag, SETTINGS, Setting, Takes};
pub use site::LoggedPath;
pub use site::{
    AccessRule, AnswerRule, AuthRule, CacheRule, Cleartext, ClientCertificate, CompressConfig,
    ContentCoding, ErrorPage, Extension, HostPattern, Network, PasswordHash, PathPattern, Preset,
    RateRule, RedirectRule, RewriteRule, RootedPath, SITE_KEYS, SiteConfig, SiteFields, Target,
    UnknownHost,
};
pub use suggest::nearest;

pub use ringway_quic::Congestion;

use std::path::PathBuf;

#[cfg(test)]
mod tests;

/// The configuration of a server. `Config::default()` listens nowhere; [`load`] adds the documented
/// listeners if none are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Cleartext listeners: HTTP/1.1, and HTTP/2 with prior knowledge or by upgrade.
    pub http: Vec<Address>,
    /// TLS listeners: HTTP/2 and HTTP/1.1 over TCP, HTTP/3 over UDP on the same port.
    pub https: Vec<Address>,
    /// Cleartext listeners that speak HTTP/2 with prior knowledge only.
    pub h2c: Vec<Address>,
    /// Where metrics are served, on loopback or a Unix socket; none keeps them unserved.
    pub metrics: Option<Address>,
    /// Hosts that requests for metrics may be for, besides addresses and `localhost`.
    pub metrics_hosts: Vec<HostPattern>,
    /// The OpenTelemetry collector that metrics and traces are sent to; none sends nothing.
    pub otlp: Option<CollectorUrl>,
    /// Where `/livez` and `/readyz` are answered, and nothing else.
    pub health: Option<Address>,
    /// Worker threads; none means one for each CPU that the process may use.
    pub workers: Option<u16>,
    /// The CPUs that workers are pinned to, in worker order; none means the allowed ones.
    pub cpus: Option<Cpus>,
    /// Which vector instructions the codecs use.
    pub simd: Simd,
    /// Protocols whose every frame is traced to standard error.
    pub trace: Vec<Trace>,
    /// Directory that receives one qlog file for each QUIC connection.
    pub qlog: Option<PathBuf>,
    /// The further files that the file names; what stands in them stands here too.
    pub include: Vec<String>,
    /// Links sent ahead of pages.
    pub hints: Vec<Hints>,
    /// What is pushed along with pages.
    pub push: Vec<Push>,
    /// Sites by host; none leaves all hosts to the static file service.
    pub site: Vec<SiteConfig>,
    /// What requests get for a host that no site answers for; none means 421.
    pub unknown_host: Option<UnknownHost>,
    /// The static file service.
    pub files: FilesConfig,
    /// Certificates.
    pub tls: TlsConfig,
    /// HTTP/2.
    pub http2: Http2Config,
    /// HTTP/3.
    pub http3: Http3Config,
    /// Options that depend on the machine.
    pub engine: Engine,
    /// The access log.
    pub log: LogConfig,
    /// As whom the server serves, and what it may do.
    pub lifecycle: LifecycleConfig,
    /// The bounds.
    pub limits: Limits,
}

/// `[files]`: the static file service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesConfig {
    /// The directory that is served.
    pub root: PathBuf,
    /// Whether a directory without an index file is listed.
    pub browse: bool,
    /// Content types by extension, before those that are built in.
    pub types: ContentTypes,
}

impl Default for FilesConfig {
    fn default() -> Self {
        Self { root: PathBuf::from("."), browse: false, types: ContentTypes::default() }
    }
}

/// `[tls]`: certificates and keys; a self-signed certificate is made for the process's life when
/// none is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate chain, PEM.
    pub cert: Option<PathBuf>,
    /// The private key, PEM.
    pub key: Option<PathBuf>,
    /// An OCSP response to staple, DER.
    pub ocsp: Option<PathBuf>,
    /// Further certificates, chosen by the name that a client asks for.
    pub certificates: Vec<CertificateConfig>,
    /// Where the secret of the session tickets is kept, so that they survive a restart.
    pub ticket_key: Option<PathBuf>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// The authorities, PEM, whose certificates clients have to show; none are asked for without.
    pub client_ca: Option<PathBuf>,
    /// The answer to requests for a host that the connection's certificate does not cover.
    pub misdirected: Misdirected,
    /// The Strict-Transport-Security that answers over TLS carry.
    pub hsts: Option<Hsts>,
    /// Whether the secrets of connections are logged.
    pub key_log: KeyLogMode,
}

/// Where the secrets of TLS and QUIC connections are logged, for Wireshark. Whoever reads them can
/// read the connections, so an environment that happens to hold `SSLKEYLOGFILE` (a developer's
/// shell, a container's image, a service manager's defaults) does not switch it on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyLogMode {
    /// Nowhere.
    #[default]
    Off,
    /// In the file that the environment variable `SSLKEYLOGFILE` names.
    Env,
}

/// What to do with requests for a host that the certificate does not cover (RFC 9110 section 7.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Misdirected {
    /// Refuse them with 421 (Misdirected Request).
    #[default]
    Refuse,
    /// Answer them as any other: probes by address, and proxies that do not verify names.
    Serve,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// `[http2]`, but for its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2Config {
    /// Whether an HTTP/1.1 request in the clear may upgrade its connection (RFC 7540 section 3.2).
    pub upgrade: bool,
    /// Whether the priority tree of RFC 7540 is honoured; if not, clients are told so (RFC 9218
    /// section 2.1).
    pub priority_tree: bool,
}

impl Default for Http2Config {
    fn default() -> Self {
        Self { upgrade: true, priority_tree: true }
    }
}

/// `[http3]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http3Config {
    /// Whether each TLS listener also answers HTTP/3 on the UDP port of the same number.
    pub enabled: bool,
    /// Whether the server is not to start where that port cannot be had; if not, it says so and
    /// speaks HTTP/2 and HTTP/1.1.
    pub required: bool,
    /// Whether answers over TLS say in Alt-Svc that there is HTTP/3, or no more (RFC 7838).
    pub alt_svc: bool,
    /// Whether requests in 0-RTT data are taken; where they may do harm they get 425 (RFC 8470).
    pub early_data: bool,
    /// Whether clients may move to another address on purpose (RFC 9000 section 9).
    pub migration: bool,
    /// Whether the kernel gives a moved client's datagrams to its worker; if not, workers do.
    pub steering: bool,
    /// The congestion control.
    pub congestion: Congestion,
}

impl Default for Http3Config {
    fn default() -> Self {
        Self {
            enabled: true,
            required: false,
            alt_svc: true,
            early_data: true,
            migration: true,
            steering: false,
            congestion: Congestion::default(),
        }
    }
}

/// `[engine]`: options that help on some machines and hurt on others. All are off by default;
/// measure first (`ringway doctor` says how).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engine {
    /// Microseconds for which a worker polls its network card's queue before it sleeps; none leaves
    /// that to interrupts. Linux 6.9 and a NIC with NAPI.
    pub busy_poll_us: Option<u16>,
    /// Microseconds for which a busy worker waits for more completions; `None` starts at once.
    /// Linux 6.12.
    pub batch_wait_us: Option<u16>,
    /// Whether a connection goes to the worker on whose CPU it arrived, instead of by its hash.
    pub incoming_cpu: bool,
}

/// The vector instructions that the codecs use. Missing ones are refused at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Simd {
    /// The best that the CPU has.
    #[default]
    Auto,
    /// None.
    Scalar,
    /// SSE4.2, 16 bytes at a time (x86_64).
    Sse,
    /// AVX2, 32 bytes at a time (x86_64).
    Avx2,
    /// AVX-512, 64 bytes at a time (x86_64).
    Avx512,
    /// NEON, 16 bytes at a time (aarch64).
    Neon,
}

impl Simd {
    /// The word that stands for it in a configuration: `auto`, `scalar`, `sse`, `avx2`, `avx512` or
    /// `neon`.
    pub fn name(self) -> &'static str {
        value::name_of(settings::SIMD, self)
    }
}

/// A protocol that `--trace` can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// HTTP/1.1 heads.
    H1,
    /// HTTP/2 frames.
    H2,
    /// HTTP/3 frames and QUIC events.
    H3,
    /// TLS handshakes.
    Tls,
}

/// CPU numbers in the order in which workers take them. Never empty, no CPU twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpus(pub Vec<usize>);
