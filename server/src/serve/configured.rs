//! `ringway serve` as a library function: from a configuration to a running file server.

use crate::app::error::Error;
use crate::config::Scheme;
use crate::config::{Address, Config, KeyLogMode, Loaded, Misdirected, Simd, TlsVersion};
use crate::files::services::Services;
use crate::rt::console::note;
use crate::serve::banner;
use crate::serve::broker;
use crate::serve::content::{Content, bound_https, certificates, client_authorities, content};
use crate::serve::handle::ServerHandle;
use crate::serve::handover::Inheritance;
use crate::serve::lifetime;
use crate::serve::privileges::Privileges;
use crate::serve::reload::Current;
use crate::serve::server::Server;
use crate::tls::{Flaw, Options, Tls};
use ringway_codec::scan::Backend;
use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Starts the server that a configuration describes.
pub fn start(config: &Config) -> Result<ServerHandle, Error> {
    start_with(config, None).map(|(running, _)| running)
}

/// As [`start`], in place of the process that has handed `inheritance` over, if there is one; also
/// what the server's file services are, for a reload.
fn start_with(
    config: &Config,
    inheritance: Option<Arc<Inheritance>>,
) -> Result<(ServerHandle, Services), Error> {
    let tls = match config.https.is_empty() {
        true => None,
        false => Some(tls(config)?),
    };
    let known = match &tls {
        Some(tls) if !certificates(config).is_empty() => tls.certificates(),
        _ => Vec::new(),
    };
    let Content { app, services, https_port } = content(config, &known, None);
    let running = finish(Server::of(app), config, tls, inheritance)?;
    if let Some(port) = https_port {
        port.learn(bound_https(&running));
    }
    Ok((running, services))
}

/// Tells the server the rest of what the configuration says, and starts it.
fn finish(
    server: Server,
    config: &Config,
    tls: Option<Tls>,
    inheritance: Option<Arc<Inheritance>>,
) -> Result<ServerHandle, Error> {
    let mut server = server
        .inherits(inheritance)
        .limits(config.limits.clone())
        .http2(config.http2.clone())
        .http3(config.http3.clone())
        .trace(config.trace.iter().copied())
        .engine(config.engine.clone())
        .log(config.log.clone())
        .privileges(Privileges::of(config)?);
    if let Some(hsts) = &config.tls.hsts {
        server = server.hsts(hsts.0.clone());
    }
    if let Some(directory) = &config.qlog {
        server = server.qlog(directory);
    }
    for address in &config.http {
        server = server.listen(Scheme::Http, Ok(address.clone()));
    }
    for address in &config.h2c {
        server = server.listen(Scheme::H2c, Ok(address.clone()));
    }
    if let Some(tls) = tls {
        server = server.tls(tls);
    }
    for address in &config.https {
        server = server.listen(Scheme::Https, Ok(address.clone()));
    }
    if let Some(workers) = config.workers {
        server = server.workers(usize::from(workers));
    }
    if let Some(cpus) = &config.cpus {
        server = server.cpus(cpus.0.iter().copied());
    }
    if let Some(backend) = backend(config.simd) {
        server = server.simd(backend);
    }
    if let Some(url) = &config.otlp {
        server = server.otlp(url.to_string());
    }
    if let Some(address) = &config.metrics {
        server = server.metrics(address.to_string());
        server = server.metrics_hosts(config.metrics_hosts.iter().map(|host| host.0.clone()));
    }
    if let Some(address) = &config.health {
        server = server.health(address.to_string());
    }
    server.start()
}

/// Starts the server that a configuration describes, prints where it listens, and serves until told
/// to stop. At SIGHUP `again` reads the configuration again; it returns `None` if that has a
/// mistake, and the current one stays in use.
pub fn serve(loaded: &Loaded, mut again: impl FnMut() -> Option<Loaded>) -> Result<(), Error> {
    let config = &loaded.config;
    let current = RefCell::new(None);
    let start = |inheritance| {
        let (running, services) = start_with(config, inheritance)?;
        current.replace(Some(Current::new(config.clone(), services)));
        Ok(running)
    };
    let print = |running: &ServerHandle| {
        running.print_listeners();
        if std::io::stderr().is_terminal() {
            note!("{}", banner::text(config, running.local_addrs(), running.workers()).trim_end());
        }
    };
    if Privileges::becomes_another(config) {
        broker::start()?;
    }
    let reload = |running: &ServerHandle| {
        if let Some(current) = &mut *current.borrow_mut() {
            current.reload(running, again());
        }
    };
    lifetime::run(&config.limits, start, print, reload)
}

/// The HTTPS records (RFC 9460) for the names of the certificates, by which a client's first
/// connection can be HTTP/3. None where that is turned off, or where only the self-signed
/// certificate is served.
///
/// # Errors
/// A certificate that cannot be used.
pub fn dns_records(config: &Config) -> Result<Vec<String>, Error> {
    if !config.http3.enabled || certificates(config).is_empty() {
        return Ok(Vec::new());
    }
    let tls = looked_at(config)?;
    let mut records = Vec::new();
    for address in &config.https {
        let prefix = match address {
            Address::Ip(ip) if ip.port() != 443 => format!("_{}._https.", ip.port()),
            Address::Any(port) if *port != 443 => format!("_{port}._https."),
            Address::Ip(_) | Address::Any(_) => String::new(),
            Address::Unix(_) | Address::Fd(_) => continue,
        };
        // A dot means the record's own name, which has no address if there is a prefix (RFC 9460
        // section 2.5.2).
        let own = prefix.is_empty();
        for name in tls.certificates().iter().flat_map(|each| each.names().to_vec()) {
            let target = if own { "" } else { &name };
            records.push(format!("{prefix}{name}. 3600 IN HTTPS 1 {target}. alpn=\"h3,h2\""));
        }
    }
    Ok(records)
}

/// The certificates that a configuration names, and their current flaws. Empty if the self-signed
/// certificate is served.
///
/// # Errors
/// A certificate, or a file of authorities, that cannot be used.
pub fn certificates_of(config: &Config) -> Result<Vec<CertificateReport>, Error> {
    let now =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let tls = looked_at(config)?;
    let reports = tls.certificates().into_iter().filter_map(|certificate| {
        let flaws: Vec<Flaw> = certificate.flaws(now).collect();
        Some(CertificateReport {
            file: certificate.file()?.to_owned(),
            end: certificate.end(),
            is_refused: flaws.iter().any(|flaw| flaw.is_refused_by_all()),
            flaws: flaws.iter().map(Flaw::to_string).collect(),
        })
    });
    Ok(reports.collect())
}

/// A certificate that a configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateReport {
    /// The file of its chain.
    pub file: PathBuf,
    /// The last day of its validity: `2026-11-30`.
    pub end: String,
    /// Flaws of the certificate or its issuers, a line each; usually none.
    pub flaws: Vec<String>,
    /// Whether its own dates are the flaw, so that every client refuses it.
    pub is_refused: bool,
}

/// The certificates and client authorities, for inspection: starts nothing and creates no file.
fn looked_at(config: &Config) -> Result<Tls, Error> {
    Ok(Tls::new(Options {
        certificates: certificates(config),
        client_ca: config.tls.client_ca.clone(),
        client_authorities: client_authorities(config),
        ..Options::default()
    })?)
}

fn tls(config: &Config) -> Result<Tls, Error> {
    let named = std::env::var_os("SSLKEYLOGFILE").filter(|name| !name.is_empty());
    let named = named.map(PathBuf::from);
    let key_log = named.clone().filter(|_| config.tls.key_log == KeyLogMode::Env);
    let tls = Tls::new(Options {
        certificates: certificates(config),
        ticket_key: config.tls.ticket_key.clone(),
        key_log,
        only_tls13: config.tls.min_version == TlsVersion::Tls13,
        client_ca: config.tls.client_ca.clone(),
        client_authorities: client_authorities(config),
        serve_misdirected: config.tls.misdirected == Misdirected::Serve,
    })?;
    match (config.tls.key_log, named.as_ref().map(|file| file.display())) {
        (KeyLogMode::Env, Some(file)) => note!(
            "warning: the secrets of every TLS and QUIC connection are written to {file}, as \
             `tls.key_log` and SSLKEYLOGFILE ask"
        ),
        (KeyLogMode::Env, None) => note!(
            "warning: `tls.key_log` is \"env\", but SSLKEYLOGFILE names no file: no secrets are written"
        ),
        (KeyLogMode::Off, Some(file)) => note!(
            "SSLKEYLOGFILE names {file}: no secrets are written to it unless `tls.key_log` is \"env\""
        ),
        (KeyLogMode::Off, None) => {}
    }
    Ok(tls)
}

fn backend(simd: Simd) -> Option<Backend> {
    match simd {
        Simd::Auto => None,
        other => Backend::from_name(other.name()).or_else(|| {
            let best = Backend::detect().name();
            note!("warning: this CPU has no {}: `simd` is {best} instead", other.name());
            None
        }),
    }
}
