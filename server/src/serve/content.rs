//! What a configuration has served: its handler, with the file services that it is made of, and the
//! certificates that it names.

use std::sync::Arc;

use super::handle::ServerHandle;
use super::listener::Bound;
use crate::app::handler::{Guarded, Handler};
use crate::app::preload::Preload;
use crate::config::{Config, Scheme, SiteConfig};
use crate::files::Files;
use crate::files::services::Services;
use crate::files::sites::{HttpsPort, Sites};
use crate::tls::{Certificate, CertificateFiles, ClientAuthority};

/// The port of the first TLS listener; where there is none, the usual one.
pub(super) fn bound_https(running: &ServerHandle) -> u16 {
    let https = running.local_addrs().iter().find_map(|(scheme, bound)| match bound {
        Bound::Ip(address) if *scheme == Scheme::Https => Some(address.port()),
        _ => None,
    });
    https.unwrap_or(443)
}

/// What a configuration has served.
pub(super) struct Content {
    pub(super) app: Arc<dyn Handler>,
    pub(super) services: Services,
    /// Where redirects to `https` lead to, where there are sites.
    pub(super) https_port: Option<HttpsPort>,
}

/// What `config` has served; `certificates` are those that were not made by the server itself.
pub(super) fn content(
    config: &Config,
    certificates: &[Arc<Certificate>],
    former: Option<&Services>,
) -> Content {
    let limits = &config.limits;
    let mut services = match former {
        Some(former) => Services::after(former, limits),
        None => Services::new(limits),
    };
    let (app, https_port) = if config.site.is_empty() {
        (with_hints(services.add(default_files(config), former), config), None)
    } else {
        let covers = |host: &str| certificates.iter().any(|each| each.covers(host));
        let sites = Sites::compile(config, covers, &mut services, former);
        let port = sites.https_port();
        (with_hints(sites, config), Some(port))
    };
    Content { app, services, https_port }
}

/// The files of `[files]`, for all hosts.
fn default_files(config: &Config) -> Files {
    let mut files = Files::new(config.files.root.clone()).browse(config.files.browse);
    for (extension, value) in &config.files.types.0 {
        files = files.content_type(extension, value.clone());
    }
    files
}

fn with_hints(app: impl Handler, config: &Config) -> Arc<dyn Handler> {
    match Preload::new(app, config) {
        Ok(app) => Arc::new(Guarded(app)),
        Err(app) => Arc::new(Guarded(app)),
    }
}

/// The files of the certificates that `config` names.
pub(super) fn certificates(config: &Config) -> Vec<CertificateFiles> {
    let tls = &config.tls;
    let first = tls.cert.iter().zip(&tls.key).map(|(cert, key)| (cert, key, &tls.ocsp));
    let of_sites = config.site.iter().filter_map(|site| site.certificate.as_ref());
    let further = tls.certificates.iter().chain(of_sites);
    let further = further.map(|each| (&each.cert, &each.key, &each.ocsp));
    let files = first.chain(further);
    files
        .map(|(cert, key, ocsp)| CertificateFiles {
            ocsp: ocsp.clone(),
            ..CertificateFiles::new(cert, key)
        })
        .collect()
}

/// The hosts whose clients are asked for certificates.
pub(super) fn client_authorities(config: &Config) -> Vec<ClientAuthority> {
    let of_site = |site: &SiteConfig| {
        let asked = site.client_certificate.as_ref()?;
        Some(ClientAuthority {
            hosts: site.hosts.iter().map(|host| host.0.clone()).collect(),
            file: asked.ca.clone(),
            is_required: asked.paths.is_empty(),
        })
    };
    config.site.iter().filter_map(of_site).collect()
}
