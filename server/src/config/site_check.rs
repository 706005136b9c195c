//! What is wrong with sites beside each other, or beside the rest of a configuration.

use super::limits::Limits;
use super::site::{Cleartext, Preset, SiteConfig};
use std::collections::HashMap;

/// A mistake: the number of the site, the key in its block, what is wrong, and what was meant.
pub(super) type SiteMistake = (usize, &'static str, String, Option<String>);

/// All mistakes of the sites of a configuration.
/// `has_https` says whether something listens for https.
pub(super) fn contradictions(
    sites: &[SiteConfig],
    has_https: bool,
    limits: &Limits,
) -> Vec<SiteMistake> {
    let mut found = bounds(sites, limits);
    let mut hosts: HashMap<&str, &SiteConfig> = HashMap::new();
    let mut others: Option<&SiteConfig> = None;
    for (at, site) in sites.iter().enumerate() {
        if site.hosts.is_empty() && others.replace(site).is_some() {
            let message = "two sites without `hosts`: only one can answer for all other hosts";
            found.push((at, "hosts", message.to_owned(), None));
        }
        for host in &site.hosts {
            if let Some(first) = hosts.insert(&host.0, site) {
                let message = match std::ptr::eq(first, site) {
                    true => format!("`hosts`: \"{}\" is there twice", host.0),
                    false => format!(
                        "`hosts`: \"{}\" is a host of the site of {} already",
                        host.0,
                        first.root.display()
                    ),
                };
                found.push((at, "hosts", message, None));
            }
        }
        if !has_https {
            if site.cleartext == Some(Cleartext::Redirect) {
                let message = "`cleartext`: nothing listens for https, where it would lead";
                found.push((at, "cleartext", message.to_owned(), Some("\"serve\"".to_owned())));
            }
            if site.certificate.is_some() {
                let message = "`certificate`: nothing listens for https";
                found.push((at, "certificate", message.to_owned(), None));
            }
            if site.client_certificate.is_some() {
                let message = "`client_certificate`: nothing listens for https";
                found.push((at, "client_certificate", message.to_owned(), None));
            }
        }
        if site.client_certificate.is_some() && site.hosts.is_empty() {
            let message = "`client_certificate`: clients are asked by the host that they name, and \
                           this site has no `hosts`";
            found.push((at, "client_certificate", message.to_owned(), None));
        }
        found.extend(fields(at, site));
        found.extend(circles(at, site));
    }
    found
}

/// What stands beside `[[site]]` and means nothing there, or only there.
/// `is_set` says which keys are set.
pub(super) fn beside(
    sites: &[SiteConfig],
    is_set: impl Fn(&str) -> bool,
) -> Vec<(&'static str, String)> {
    let mut found: Vec<(&str, String)> = Vec::new();
    let unknown_host = is_set("unknown_host");
    if sites.is_empty() {
        if unknown_host {
            let message = "`unknown_host`: without [[site]] all hosts get the same files";
            found.push(("unknown_host", message.into()));
        }
        return found;
    }
    for key in ["files.root", "files.browse", "files.types"] {
        if is_set(key) {
            let name = key.trim_start_matches("files.");
            let message = format!(
                "`{key}` beside [[site]]: write `{name}` into a [[site]], without `hosts` for the \
                 default one"
            );
            found.push((key, message));
        }
    }
    let asks = sites.iter().any(|site| site.client_certificate.is_some());
    if asks && is_set("tls.client_ca") {
        let message = "`tls.client_ca` asks the clients of all hosts: a site cannot ask for others";
        found.push(("tls.client_ca", message.to_owned()));
    }
    if unknown_host && sites.iter().any(|site| site.hosts.is_empty()) {
        let message = "`unknown_host`: the site without `hosts` answers for all other hosts";
        found.push(("unknown_host", message.into()));
    }
    found
}

/// What is no mistake of a site, but seldom meant: its number, and the warning.
pub(super) fn warnings(sites: &[SiteConfig]) -> Vec<(usize, String)> {
    let is_open =
        |site: &SiteConfig| !site.auth.is_empty() && site.cleartext == Some(Cleartext::Serve);
    let open = sites.iter().enumerate().filter(|(_, site)| is_open(site));
    let warning = |(at, site): (usize, &SiteConfig)| {
        let name = site.name();
        let why = "passwords are sent in the clear, for `cleartext` is \"serve\"";
        (at, format!("`auth` of {name}: {why}"))
    };
    open.map(warning).collect()
}

/// More sites, hosts or rules than there may be.
fn bounds(sites: &[SiteConfig], limits: &Limits) -> Vec<SiteMistake> {
    let mut found = Vec::new();
    let mut most =
        |at: usize, key: &'static str, what: &str, count: usize, most: usize, of: &str| {
            if count > most {
                let message = format!("{count} {what} are more than `{of}` allows: {most}");
                found.push((at, key, message, None));
            }
        };
    let count = sites.len();
    most(limits.sites, "", "sites", count, limits.sites, "limits.sites");
    for (at, site) in sites.iter().enumerate() {
        let hosts = site.hosts.len();
        most(at, "hosts", "hosts of a site", hosts, limits.site_hosts, "limits.site_hosts");
        let (key, rules) = site.rules();
        most(at, key, "rules of a site", rules, limits.site_rules, "limits.site_rules");
    }
    found
}

/// Fields that are taken away and were never there.
fn fields(at: usize, site: &SiteConfig) -> impl Iterator<Item = SiteMistake> {
    let is_set = |name: &str| {
        let mut sets = site.preset.iter().flat_map(|preset| preset.fields());
        sets.any(|(other, _)| *other == name)
    };
    let empty = site.headers.0.iter().filter(|(_, value)| value.is_empty());
    empty.filter(move |(name, _)| !is_set(name.as_str())).map(move |(name, _)| {
        let of = Preset::all().find(|preset| preset.fields().iter().any(|(of, _)| of == name));
        let hint = of.map(|preset| format!("`preset = [\"{}\"]`", preset.name()));
        (at, "headers", format!("`headers`: no preset of the site sets `{name}`"), hint)
    })
}

/// Redirects that lead back to themselves: each rule is followed from a path that it matches.
fn circles(at: usize, site: &SiteConfig) -> Option<SiteMistake> {
    // What stands for a `*` matters to no usual rule.
    const SAMPLE: &str = "x";
    for rule in &site.redirect {
        let mut path = rule.from.glob().replacen('*', SAMPLE, 1);
        if !path.starts_with('/') {
            path.insert(0, '/');
        }
        let start = path.clone();
        for _ in 0..=site.redirect.len() {
            let is_answered =
                site.answer.iter().any(|each| each.path.capture(path.as_bytes()).is_some());
            let next =
                site.redirect.iter().find(|each| each.from.capture(path.as_bytes()).is_some());
            let Some(next) = next.filter(|_| !is_answered).and_then(|rule| rule.lead(&path)) else {
                path.clear();
                break;
            };
            path = next;
        }
        if !path.is_empty() {
            let message = format!("`redirect`: from {start} it goes on without end");
            return Some((at, "redirect", message, None));
        }
    }
    None
}
