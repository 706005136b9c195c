//! Taking a configuration into use while the server runs: all of it, or nothing. What can fail
//! (certificates, logs, sockets) is made first; then the workers get it all in one order.

use std::time::{Duration, Instant};

use super::content::{Content, bound_https, certificates, client_authorities, content};
use super::handle::ServerHandle;
use crate::config::{Applies, Config, Loaded, SETTINGS, ValueOrigin};
use crate::files::services::Services;
use crate::observe::metrics::ReloadKind;
use crate::rt::console::note;
use crate::tls::{ConfigError, Prepared};
use crate::udp;
use crate::worker::Order;

/// How long workers have to take what a reload gives them.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a server uses of the configurations that it was given.
pub(super) struct Current {
    config: Config,
    services: Services,
}

/// A configuration of which everything that could fail is done.
struct Ready {
    config: Config,
    certificates: Option<Prepared>,
    content: Content,
    /// For each worker.
    orders: Vec<Vec<Order>>,
    log: Option<crate::observe::log::Writer>,
}

impl Current {
    pub(super) fn new(config: Config, services: Services) -> Self {
        Self { config, services }
    }

    /// Has `server` use a configuration that was loaded; without one the former stays in use.
    pub(super) fn reload(&mut self, server: &ServerHandle, loaded: Option<Loaded>) {
        let began = Instant::now();
        let loaded = loaded.ok_or_else(|| "it has mistakes".to_owned());
        let ready = loaded.and_then(|loaded| self.prepare(server, &loaded));
        let result = ready.map(|ready| self.take(server, ready));
        match &result {
            Ok(()) => note!("reloaded in {:.1?}", began.elapsed()),
            Err(why) => {
                note!("the configuration is not taken: the former stays in use: {why}");
            }
        }
        server.lifecycle().reloaded(ReloadKind::Configuration, result);
    }

    /// Does everything that can fail. Nothing has changed afterwards.
    fn prepare(&self, server: &ServerHandle, loaded: &Loaded) -> Result<Ready, String> {
        let config = self.applied(&loaded.config);
        let files = certificates(&config);
        let are_own = files.is_empty();
        let prepared = match server.tls() {
            Some(tls) => {
                let prepared = tls.prepare(files, client_authorities(&config));
                Some(prepared.map_err(|error| place(loaded, &error))?)
            }
            None => None,
        };
        let known = prepared.as_ref().filter(|_| !are_own).map_or(&[][..], Prepared::certificates);
        let content = content(&config, known, Some(&self.services));
        let mut log = server.open_log(&config.log, config.limits.log_queue).map_err(|error| {
            let key = if config.log.file.is_some() { "log.file" } else { "log.format" };
            format!("{}: {error}", loaded.origin(key))
        })?;
        let hsts = config.tls.hsts.as_ref().map(|hsts| hsts.0.clone());
        let mut orders = Vec::with_capacity(server.workers());
        for _ in 0..server.workers() {
            let mut batch = vec![
                Order::App(content.app.clone()),
                Order::Limits(Box::new(config.limits.clone()), config.http2.clone()),
                Order::Hsts(hsts.clone()),
                Order::Trace(config.trace.clone()),
                log.order(),
            ];
            if let Some(tls) = server.tls() {
                let transport = udp::config(tls, &config.limits, &config.http3);
                let transport = transport.map_err(|error| error.to_string())?;
                batch.push(Order::Quic(Box::new(transport)));
            }
            orders.push(batch);
        }
        Ok(Ready { config, certificates: prepared, content, orders, log: log.writer })
    }

    /// Nothing fails any more.
    fn take(&mut self, server: &ServerHandle, ready: Ready) {
        let Ready { config, certificates, content, orders, log } = ready;
        if let Some(port) = &content.https_port {
            port.learn(bound_https(server));
        }
        content.app.start();
        content.services.bound_cache(config.limits.cache_bytes);
        if let Some(certificates) = certificates {
            server.take_certificates(certificates);
        }
        let mut orders = orders.into_iter();
        let given = server.order(|| orders.next().unwrap_or_default());
        server.keep_log(log);
        let kept = content.services.count_same(&self.services);
        let all = content.services.len();
        // The workers' copies of the former handler go with the orders, this one now.
        *self = Self { config, services: content.services };
        drop(content.app);
        let sites = if all == 1 { "directory" } else { "directories" };
        match given.wait(PATIENCE) {
            Ok(took) => note!(
                "the configuration is in use: {all} {sites}, {kept} as before (all workers after \
                 {took:.1?})"
            ),
            Err(late) => note!("the configuration is in use, but not yet everywhere: {late}"),
        }
        server.order(|| vec![Order::Tidy]);
    }

    /// What is used of a configuration: what needs a start stays as it is, and is named.
    fn applied(&self, fresh: &Config) -> Config {
        let mut applied = self.config.clone();
        for setting in SETTINGS.iter() {
            if setting.applies() != Applies::NextStart {
                setting.copy(&mut applied, fresh);
            } else if setting.show(&self.config) != setting.show(fresh) {
                note!("`{}` has changed: that takes effect at the next start", setting.key);
            }
        }
        applied
    }
}

/// The mistake of a certificate, at the place that names its file.
fn place(loaded: &Loaded, error: &ConfigError) -> String {
    let named = error.file().and_then(|file| {
        let tls = &loaded.config.tls;
        let is = |path: &Option<std::path::PathBuf>| path.as_deref() == Some(file);
        let of = |each: &crate::config::CertificateConfig| {
            each.cert == file || each.key == file || is(&each.ocsp)
        };
        let first = [("tls.cert", &tls.cert), ("tls.key", &tls.key), ("tls.ocsp", &tls.ocsp)];
        let key = first.iter().find(|(_, path)| is(path)).map(|(key, _)| *key);
        let key = key.or_else(|| tls.certificates.iter().any(of).then_some("tls.certificates"));
        let site = || loaded.config.site.iter().position(|site| site.certificate.iter().any(of));
        let of_site = || site().map(|at| loaded.site_origin(at, "certificate"));
        key.map(|key| loaded.origin(key)).or_else(of_site)
    });
    match named {
        Some(origin @ ValueOrigin::File { .. }) => format!("{origin}: {error}"),
        _ => error.to_string(),
    }
}
