//! `ringway check`: finds every error that can be found without starting, one per line.

use super::options::Parsed;
use super::{Exit, complain, print};
use ringway::Error;
use ringway::config::{self, Config, Errors, Loaded, Sources, Trace, ValueOrigin};
use std::fmt::Write;

pub(crate) fn run(parsed: &Parsed) -> Exit {
    let loaded = match load(parsed) {
        Ok(loaded) => loaded,
        Err(end) => return end,
    };
    if parsed.print {
        return print(&config::print(&loaded));
    }
    match examine(&loaded.config) {
        Ok(records) => print(&summary(&loaded.config, &records)),
        Err(error) => {
            complain(&error.to_string());
            Exit::Failed
        }
    }
}

/// Warns of certificate flaws that clients reject; returns the DNS records.
fn examine(config: &Config) -> Result<Vec<String>, Error> {
    for certificate in ringway::certificates_of(config)? {
        for flaw in &certificate.flaws {
            complain(&format!("warning: {}: {flaw}", certificate.file.display()));
        }
    }
    ringway::dns_records(config)
}

/// The configuration that the command line selects. Errors and warnings are printed.
pub(crate) fn load(parsed: &Parsed) -> Result<Loaded, Exit> {
    read(parsed).inspect(warn)
}

/// The same again, for a server that has a configuration.
pub(crate) fn reload(parsed: &Parsed) -> Option<Loaded> {
    read_from(&Sources { reload: true, ..parsed.sources() }).ok().inspect(warn)
}

/// Prints the warnings.
pub(crate) fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        complain(&format!("warning: {warning}"));
    }
    if loaded.config.trace.contains(&Trace::H3) {
        let origin = loaded.origin("trace");
        complain(&format!("warning: {origin}: h3 is not traced; `qlog` shows it"));
    }
}

/// As [`load`], without its warnings.
pub(crate) fn read(parsed: &Parsed) -> Result<Loaded, Exit> {
    read_from(&parsed.sources())
}

fn read_from(sources: &Sources) -> Result<Loaded, Exit> {
    let loaded = config::load(sources).and_then(|loaded| {
        let mut missing = config::missing_paths(&loaded);
        missing.extend(config::unknown_accounts(&loaded));
        if missing.is_empty() { Ok(loaded) } else { Err(Errors(missing)) }
    });
    match loaded {
        Ok(loaded) => Ok(loaded),
        Err(errors) => {
            for error in &errors.0 {
                complain(&error.to_string());
            }
            let typed = |origin: &ValueOrigin| matches!(origin, ValueOrigin::CommandLine(_));
            let usage = errors.0.iter().all(|error| typed(&error.origin));
            Err(if usage { Exit::Usage } else { Exit::Failed })
        }
    }
}

fn summary(config: &Config, records: &[String]) -> String {
    let mut out = String::from("the configuration is valid\n");
    for (name, addresses) in
        [("http", &config.http), ("https", &config.https), ("h2c", &config.h2c)]
    {
        for address in addresses {
            let _ = writeln!(out, "  {name} on {address}");
        }
    }
    if config.site.is_empty() {
        let _ = writeln!(out, "  serving {}", config.files.root.display());
    }
    for site in &config.site {
        let hosts: Vec<&str> = site.hosts.iter().map(|host| host.0.as_str()).collect();
        let hosts = if hosts.is_empty() { "all other hosts".to_owned() } else { hosts.join(", ") };
        let _ = writeln!(out, "  {hosts}: {}", site.root.display());
    }
    if !records.is_empty() {
        let _ = writeln!(out, "  for the DNS, so that clients begin with HTTP/3:");
    }
    for record in records {
        let _ = writeln!(out, "    {record}");
    }
    out
}
