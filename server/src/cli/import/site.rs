//! What is made of another server's configuration, and how it is written as ours.

use super::directive::{Directive, Place, one_line};
use ringway::config::SITE_KEYS;
use std::fmt::Write;

/// A configuration in the making.
#[derive(Debug, Default)]
pub(super) struct Import {
    pub(super) http: Vec<String>,
    pub(super) https: Vec<String>,
    pub(super) unknown_host: Option<&'static str>,
    pub(super) sites: Vec<Site>,
    /// Keys with their block, and values as TOML has them.
    pub(super) settings: Vec<(&'static str, String)>,
    /// nginx's zones of rates: name, requests and seconds.
    pub(super) zones: Vec<(String, u64, u64)>,
    /// What was left out: file, line and why.
    pub(super) notes: Vec<String>,
}

/// A site in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Site {
    pub(super) place: Option<Place>,
    /// Where it was reached.
    pub(super) listens: Vec<String>,
    pub(super) hosts: Vec<String>,
    pub(super) root: Option<String>,
    pub(super) certificate: Option<(String, String)>,
    pub(super) cleartext: Option<&'static str>,
    pub(super) index: Option<String>,
    pub(super) browse: bool,
    pub(super) expires: bool,
    pub(super) is_plain: bool,
    pub(super) compress: Vec<&'static str>,
    pub(super) types: Vec<(String, String)>,
    pub(super) extensions: Vec<String>,
    pub(super) fallback: Option<String>,
    pub(super) errors: Vec<(String, String)>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) cache: Vec<(String, String)>,
    pub(super) redirect: Vec<(String, String, u16)>,
    pub(super) rewrite: Vec<(String, String)>,
    pub(super) answer: Vec<(String, u16)>,
    /// A path, whether it allows, and addresses.
    pub(super) access: Vec<(String, bool, String)>,
    /// A path, the realm, and who: `file = …` or `users = …`.
    pub(super) auth: Vec<(String, String, String)>,
    /// A path, requests, and seconds.
    pub(super) rate: Vec<(String, u64, u64)>,
    pub(super) body: Option<String>,
}

/// Whether `[[site]]` has this key: an older ringway lacks some.
pub(super) fn has(key: &str) -> bool {
    SITE_KEYS.iter().any(|(name, _)| *name == key)
}

/// A basic string as TOML writes it.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<_> = items.into_iter().collect();
    if items.is_empty() { String::new() } else { format!("[{}]", items.join(", ")) }
}

pub(super) fn table(pairs: &[(String, String)]) -> String {
    let pairs: Vec<_> =
        pairs.iter().map(|(name, value)| format!("{} = {}", quote(name), quote(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("{{ {} }}", pairs.join(", ")) }
}

impl Import {
    /// Names a directive that is left out, and why.
    pub(super) fn leave_out(&mut self, directive: &Directive, why: &str) {
        let note = format!("{}: `{}`: {why}", directive.place, directive.shown());
        // What servers inherit is met once for each of them.
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Sets a key once; `false` if it has another value already.
    pub(super) fn set(&mut self, key: &'static str, value: String) -> bool {
        match self.settings.iter().find(|(name, _)| *name == key) {
            Some((_, there)) => *there == value,
            None => {
                self.settings.push((key, value));
                true
            }
        }
    }

    /// What is only seen once all sites are there.
    pub(super) fn finish(&mut self) {
        let usual = |address: &&String| !matches!(address.as_str(), ":80" | ":443");
        let ports = |site: &Site| -> Vec<String> {
            let mut ports: Vec<_> = site.listens.iter().filter(usual).cloned().collect();
            ports.sort();
            ports
        };
        let first = self.sites.first().map(ports);
        for site in &self.sites {
            if let (Some(place), true) = (&site.place, first != Some(ports(site))) {
                self.notes.push(format!("{place}: every site answers on every listener"));
            }
        }
        for site in &mut self.sites {
            let mut rules = site.answer.iter().map(|(path, _)| path);
            let mut redirects = site.redirect.iter().map(|(from, ..)| from);
            let is_all = |path: &String| path == "*" || path == "/*";
            // Nobody named a directory, so none is served.
            if site.root.is_none() && !rules.any(is_all) && !redirects.any(is_all) {
                site.answer.push(("*".to_owned(), 404));
            }
        }
        if !self.settings.iter().any(|(key, _)| *key == "log.format") {
            self.settings.retain(|(key, _)| *key != "log.except");
        }
    }

    /// The configuration as a file.
    pub(super) fn toml(&self, command: &str) -> String {
        let mut out = format!("# Made by `{command}`.\n");
        if !self.notes.is_empty() {
            out.push_str("#\n# Left out:\n");
        }
        for note in &self.notes {
            let _ = writeln!(out, "#   {}", one_line(note));
        }
        out.push('\n');
        let strings = |items: &[String]| list(items.iter().map(|item| quote(item)));
        let mut top = Vec::new();
        for (key, addresses) in [("http", &self.http), ("https", &self.https)] {
            // Whoever listens for one does not listen for the other by default.
            if !addresses.is_empty() {
                top.push((key, strings(addresses)));
            }
        }
        if let Some(value) = self.unknown_host
            && !self.sites.iter().any(|site| site.hosts.is_empty())
        {
            top.push(("unknown_host", quote(value)));
        }
        for (key, value) in &top {
            let _ = writeln!(out, "{key} = {value}");
        }
        for (key, value) in self.settings.iter().filter(|(key, _)| !key.contains('.')) {
            let _ = writeln!(out, "{key} = {value}");
        }
        let mut blocks: Vec<&str> =
            self.settings.iter().filter_map(|(key, _)| Some(key.split_once('.')?.0)).collect();
        blocks.sort_unstable();
        blocks.dedup();
        for block in blocks {
            let _ = writeln!(out, "\n[{block}]");
            for (key, value) in &self.settings {
                if let Some((of, name)) = key.split_once('.')
                    && of == block
                {
                    let _ = writeln!(out, "{name} = {value}");
                }
            }
        }
        self.sites.iter().for_each(|site| site.toml(&mut out));
        out
    }
}

impl Site {
    fn toml(&self, out: &mut String) {
        let place = self.place.as_ref().map(|place| format!(" # {place}")).unwrap_or_default();
        let _ = writeln!(out, "\n[[site]]{place}");
        let strings = |items: &[String]| list(items.iter().map(|item| quote(item)));
        let text = |text: &Option<String>| text.as_deref().map(quote).unwrap_or_default();
        let word = |is: bool, word: &str| if is { word.to_owned() } else { String::new() };
        let certificate = self.certificate.as_ref();
        let certificate = certificate
            .map(|(cert, key)| format!("{{ cert = {}, key = {} }}", quote(cert), quote(key)));
        let pairs = |rules: &[(String, String)], names: [&str; 2]| {
            list(rules.iter().map(|(a, b)| {
                format!("{{ {} = {}, {} = {} }}", names[0], quote(a), names[1], quote(b))
            }))
        };
        let redirect = self.redirect.iter().map(|(from, to, status)| {
            format!("{{ from = {}, to = {}, status = {status} }}", quote(from), quote(to))
        });
        let answer = self
            .answer
            .iter()
            .map(|(path, status)| format!("{{ path = {}, status = {status} }}", quote(path)));
        let access = self.access.iter().map(|(path, allows, address)| {
            let key = if *allows { "allow" } else { "deny" };
            format!("{{ path = {}, {key} = [{}] }}", quote(path), quote(address))
        });
        let auth = self.auth.iter().map(|(path, realm, who)| {
            format!("{{ path = {}, realm = {}, {who} }}", quote(path), quote(realm))
        });
        let rate = self.rate.iter().map(|(path, requests, seconds)| {
            format!("{{ path = {}, requests = {requests}, per = \"{seconds}s\" }}", quote(path))
        });
        let codings = list(self.compress.iter().map(|coding| quote(coding)));
        for (key, value) in [
            ("hosts", strings(&self.hosts)),
            // What has only rules needs none of its files.
            ("root", quote(self.root.as_deref().unwrap_or("."))),
            ("certificate", certificate.unwrap_or_default()),
            ("cleartext", self.cleartext.map(quote).unwrap_or_default()),
            ("index", text(&self.index)),
            ("browse", word(self.browse, "true")),
            ("expires", word(self.expires, "true")),
            ("precompressed", word(self.is_plain, "false")),
            ("compress", word(!self.compress.is_empty(), &format!("{{ codings = {codings} }}"))),
            ("types", table(&self.types)),
            ("extensions", strings(&self.extensions)),
            ("fallback", text(&self.fallback)),
            ("errors", table(&self.errors)),
            ("headers", table(&self.headers)),
            ("cache", pairs(&self.cache, ["path", "value"])),
            ("redirect", list(redirect)),
            ("rewrite", pairs(&self.rewrite, ["from", "to"])),
            ("answer", list(answer)),
            ("access", list(access)),
            ("auth", list(auth)),
            ("rate", list(rate)),
            ("body_bytes", text(&self.body)),
        ] {
            if !value.is_empty() {
                let _ = writeln!(out, "{key} = {value}");
            }
        }
    }
}
