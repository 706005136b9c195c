//! `ringway serve` as a library function: from a configuration to a running file server.

use crate::config::{Config, Simd};
use crate::error::Error;
use crate::files;
use crate::listen::Scheme;
use crate::running::Running;
use crate::server::Server;
use crate::tls::{Files, Options, Tls};
use crate::welcome;
use ringway_codec::scan::Backend;
use std::io::IsTerminal;

/// Starts what a configuration describes.
pub fn start(config: &Config) -> Result<Running, Error> {
    let files = files::Files::new(config.files.root.clone())
        .browse(config.files.browse)
        .cache(config.limits.cache_bytes, config.limits.cache_file_bytes);
    let mut server = Server::new(files)
        .limits(config.limits.clone())
        .http2(config.http2.clone())
        .log(config.log.clone());
    for address in &config.http {
        server = server.listen(Scheme::Http, Ok(address.clone()));
    }
    for address in &config.h2c {
        server = server.listen(Scheme::H2c, Ok(address.clone()));
    }
    if !config.https.is_empty() {
        server = server.tls(tls(config)?);
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
    if let Some(address) = &config.metrics {
        server = server.metrics(address.to_string());
    }
    server.spawn()
}

/// Starts what a configuration describes, says where it listens, and serves until told to stop.
pub fn serve(config: &Config) -> Result<(), Error> {
    let running = start(config)?;
    for (scheme, bound) in running.listeners() {
        println!("listening {scheme} {bound}");
    }
    if std::io::stderr().is_terminal() {
        eprint!("{}", welcome::text(config, running.listeners(), running.workers()));
    }
    crate::signals::supervise(running)
}

fn tls(config: &Config) -> Result<Tls, Error> {
    let certificates = match (&config.tls.cert, &config.tls.key) {
        (Some(cert), Some(key)) => vec![Files::new(cert, key)],
        _ => Vec::new(),
    };
    let key_log = std::env::var_os("SSLKEYLOGFILE").map(Into::into);
    Ok(Tls::new(Options { certificates, key_log, ..Options::default() })?)
}

fn backend(simd: Simd) -> Option<Backend> {
    match simd {
        Simd::Auto => None,
        other => Backend::from_name(other.name()),
    }
}
