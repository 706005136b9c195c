//! All that is told of a running server, and where it is read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::Published;
use super::exported::Exported;
use super::lifecycle::Lifecycle;
use super::replacements::Replacements;
use super::sum::Sum;
use super::text::{family, sample};
use crate::observe::log::Dropped;
use crate::rt::panics;
use crate::tls::Tls;

/// Reads what the workers have published, and what belongs to the process.
pub(crate) struct Figures {
    pub(crate) workers: Vec<Arc<Published>>,
    pub(crate) tls: Option<Tls>,
    pub(crate) dropped: Dropped,
    pub(crate) lifecycle: Arc<Lifecycle>,
    /// Where they are sent to a collector too.
    pub(crate) exported: Option<Arc<Exported>>,
}

impl Figures {
    /// The numbers of all workers.
    pub(super) fn sum(&self) -> Sum {
        Sum::of(self.workers.iter().map(|worker| &**worker))
    }

    /// Everything, for Prometheus.
    pub(crate) fn prometheus(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        self.sum().prometheus(&mut text);
        self.process(&mut text);
        text
    }

    /// What belongs to the process rather than to a worker.
    fn process(&self, out: &mut String) {
        let name = "ringway_log_dropped_total";
        family(out, name, "counter", "Lines of the access log that were dropped.");
        sample(out, name, "", self.dropped.lines());
        if let Some(exported) = &self.exported {
            exported.prometheus(out);
        }
        let name = "ringway_panics_total";
        family(out, name, "counter", "Panics of handlers, tasks, closures and bodies, all caught.");
        sample(out, name, "", panics::count());
        if let Some(tls) = &self.tls {
            certificates(tls, out);
        }
        if let Some(last) = self.lifecycle.last_reload() {
            let name = "ringway_last_reload_seconds";
            family(out, name, "gauge", "When the last reload was: seconds since 1970.");
            sample(out, name, "", last.unix());
            let name = "ringway_last_reload_success";
            family(out, name, "gauge", "1 if the last reload was taken, else 0.");
            sample(out, name, "", u8::from(last.is_ok()));
        }
        replacements(&self.lifecycle.replacements, out);
        let name = "ringway_config_ok";
        let doc = "1 if the configuration that was loaded last is in use, 0 if it has a mistake.";
        family(out, name, "gauge", doc);
        sample(out, name, "", u8::from(self.lifecycle.is_config_used()));
        let name = "ringway_draining";
        family(out, name, "gauge", "1 while the server drains, else 0.");
        sample(out, name, "", u8::from(self.lifecycle.is_draining()));
        let name = "process_uptime_seconds";
        family(out, name, "gauge", "Seconds since the server started.");
        sample(out, name, "", self.lifecycle.uptime());
        if let Some(bytes) = resident() {
            family(out, "process_resident_memory_bytes", "gauge", "Resident memory.");
            sample(out, "process_resident_memory_bytes", "", bytes);
        }
        if let Some(descriptors) = descriptors() {
            family(out, "process_open_fds", "gauge", "Open descriptors.");
            sample(out, "process_open_fds", "", descriptors);
        }
    }
}

fn certificates(tls: &Tls, out: &mut String) {
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

/// Resident memory in bytes, as the kernel accounts it.
pub(super) fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Open descriptors: the size of their directory since Linux 6.2, which spares a walk over what may
/// be a hundred thousand.
pub(super) fn descriptors() -> Option<u64> {
    match std::fs::metadata("/proc/self/fd").ok()?.len() {
        0 => Some(std::fs::read_dir("/proc/self/fd").ok()?.count() as u64),
        descriptors => Some(descriptors),
    }
}

fn replacements(replacements: &Replacements, out: &mut String) {
    let name = "ringway_generations";
    family(out, name, "gauge", "Processes that serve: this one, and those it has replaced.");
    sample(out, name, "", 1 + replacements.former().count());
    let name = "ringway_replacements_total";
    family(out, name, "counter", "Replacements of the process (USR2), over its predecessors.");
    let (done, failed) = replacements.counts();
    sample(out, name, "result=\"done\"", done);
    sample(out, name, "result=\"failed\"", failed);
}
