//! The handler behind `--metrics`: `/metrics` for Prometheus, `/stats.json` for people and scripts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::StatusCode;

use super::Published;
use super::text::{Sum, family, sample};
use crate::app::handler::{Handler, Reply};
use crate::app::request::Request;
use crate::app::response::Response;
use crate::observe::log::Dropped;
use crate::rt::panics;
use crate::tls::Tls;

/// Reads what the workers have published.
pub(crate) struct Endpoint {
    pub(crate) workers: Vec<Arc<Published>>,
    pub(crate) tls: Option<Tls>,
    pub(crate) dropped: Option<Dropped>,
    pub(crate) started: Instant,
}

impl Handler for Endpoint {
    fn call(&self, request: &Request<'_>) -> Reply {
        if !matches!(request.method(), http::Method::GET | http::Method::HEAD) {
            return Reply::Ready(StatusCode::METHOD_NOT_ALLOWED.into());
        }
        let sum = Sum::of(self.workers.iter().map(|worker| &**worker));
        Reply::Ready(match request.path() {
            "/metrics" => {
                let mut text = String::with_capacity(16 * 1024);
                sum.prometheus(&mut text);
                self.process(&mut text);
                Response::typed("text/plain; version=0.0.4; charset=utf-8", text)
            }
            "/stats.json" => Response::json_bytes(sum.json()),
            _ => StatusCode::NOT_FOUND.into(),
        })
    }
}

impl Endpoint {
    /// What belongs to the process rather than to a worker.
    fn process(&self, out: &mut String) {
        if let Some(dropped) = &self.dropped {
            let name = "ringway_log_dropped_total";
            family(out, name, "counter", "Lines of the access log that were dropped.");
            sample(out, name, "", dropped.lines());
        }
        let name = "ringway_panics_total";
        family(out, name, "counter", "Panics of handlers, tasks, closures and bodies, all caught.");
        sample(out, name, "", panics::count());
        if let Some(tls) = &self.tls {
            let (loaded, kept) = tls.reloads();
            let rows = [("success", loaded), ("failure", kept)];
            for (result, count) in rows {
                let name = format!("ringway_reload_{result}_total");
                family(out, &name, "counter", "Certificates loaded again, or not fit for it.");
                sample(out, &name, "", count);
            }
            let name = "ringway_cert_not_after_seconds";
            family(out, name, "gauge", "When certificates end: seconds since 1970.");
            // An RSA and an ECDSA certificate may have one name; what ends first is told.
            let mut ends = BTreeMap::new();
            for certificate in tls.certificates() {
                let host = certificate.names().first().map_or("", String::as_str).to_owned();
                let end = ends.entry(host).or_insert(i64::MAX);
                *end = certificate.not_after().min(*end);
            }
            for (host, end) in ends {
                sample(out, name, &format!("name=\"{host}\""), end);
            }
            let name = "ringway_certs_out_of_date";
            let doc = "Certificates that are expired or not valid yet, or have such an issuer.";
            family(out, name, "gauge", doc);
            sample(out, name, "", tls.out_of_date(SystemTime::now()));
        }
        let name = "process_uptime_seconds";
        family(out, name, "gauge", "Seconds since the server started.");
        sample(out, name, "", self.started.elapsed().as_secs());
        if let Some(bytes) = resident() {
            family(out, "process_resident_memory_bytes", "gauge", "Resident memory.");
            sample(out, "process_resident_memory_bytes", "", bytes);
        }
        if let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") {
            family(out, "process_open_fds", "gauge", "Open descriptors.");
            sample(out, "process_open_fds", "", descriptors.count());
        }
    }
}

/// Resident memory in bytes, as the kernel accounts it.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
