//! The layers: defaults, under the file, under the environment, under the command line. Every value
//! remembers which layer it came from, and all mistakes are reported together, each at its place.

use super::error::{Error, Errors, ValueOrigin};
use super::include::Include;
use super::settings::{SETTINGS, Setting};
use super::suggest::nearest;
use super::text;
use super::value::{Entry, Shape, Written, Wrong};
use super::{Address, Config, Limits, log, site_check};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The sources of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, if one was named.
    pub file: Option<PathBuf>,
    /// The process's environment, or the part that starts with `RINGWAY_`.
    pub environment: Vec<(String, String)>,
    /// The options of the command line, in their order.
    pub command_line: Vec<GivenOption>,
    /// Whether a server has a configuration already: then files are read only once they have been
    /// at rest for a tenth of a second, for which 2 s are waited.
    pub reload: bool,
}

/// One option that was given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenOption {
    /// The key that it sets: `limits.header_bytes`.
    pub key: String,
    /// Its value.
    pub value: String,
    /// The option as it was typed, for messages: `--http`.
    pub option: String,
}

/// A valid configuration, and the origin of each of its values.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Warnings, a line each.
    pub warnings: Vec<String>,
    /// The files that were read, in their order: the one that was named, and those it includes.
    pub files: Vec<PathBuf>,
    origins: BTreeMap<&'static str, ValueOrigin>,
    /// Of each site its own place, by the empty key, and those of its keys.
    sites: Vec<BTreeMap<String, ValueOrigin>>,
}

impl Loaded {
    /// Where the value of `key` came from.
    pub fn origin(&self, key: &str) -> &ValueOrigin {
        self.origins.get(key).unwrap_or(&ValueOrigin::Default)
    }

    /// Where a key of the site with this number was set; the site's own place where it was not.
    pub fn site_origin(&self, site: usize, key: &str) -> &ValueOrigin {
        let places = self.sites.get(site);
        let place = places.and_then(|places| places.get(key).or_else(|| places.get("")));
        place.unwrap_or_else(|| self.origin("site"))
    }
}

/// Makes a configuration from all its layers and checks it as a whole.
///
/// # Errors
/// Every mistake of every layer: a file that cannot be read or parsed, unknown keys, values of the
/// wrong type or out of range, and values that contradict each other.
pub fn load(sources: &Sources) -> Result<Loaded, Errors> {
    let mut layers = Layers::new();
    layers.until = sources.reload.then(|| Instant::now() + PATIENCE);
    if let Some(path) = &sources.file {
        layers.file(path, 0);
    }
    layers.environment(&sources.environment);
    layers.command_line(&sources.command_line);
    layers.finish()
}

/// As [`load`], of a text that is called `path` and stands in no file yet.
///
/// # Errors
/// As those of [`load`].
pub fn load_text(path: &Path, text: &str) -> Result<Loaded, Errors> {
    let mut layers = Layers::new();
    layers.text(path, text, 0);
    layers.finish()
}

/// Bounds that must be at least as large as another bound.
const HOLDS: [(&str, &str); 3] = [
    ("limits.spill_bytes", "limits.header_bytes"),
    ("limits.header_bytes", "limits.request_line"),
    ("http2.stream_window_max", "http2.stream_window"),
];

/// How deep files may include each other: a person still finds what stands where.
const DEPTH_MAX: usize = 8;
/// Files of one configuration.
const FILES_MAX: usize = 4096;
/// Lists to which every file adds. Any other key stands in one file only.
const ADDED_TO: [&str; 5] = ["site", "hints", "push", "tls.certificates", "include"];

/// How long files that change are waited for.
const PATIENCE: Duration = Duration::from_secs(2);

struct Layers {
    loaded: Loaded,
    errors: Vec<Error>,
    /// Until when files have to be at rest; none where that does not matter.
    until: Option<Instant>,
    /// What the file that is being read includes.
    includes: Vec<Include>,
}

impl Layers {
    fn new() -> Self {
        Self {
            loaded: Loaded {
                config: Config::default(),
                warnings: Vec::new(),
                files: Vec::new(),
                origins: BTreeMap::new(),
                sites: Vec::new(),
            },
            errors: Vec::new(),
            includes: Vec::new(),
            until: None,
        }
    }

    fn finish(mut self) -> Result<Loaded, Errors> {
        self.listeners();
        if self.errors.is_empty() {
            self.contradictions();
        }
        match self.errors {
            errors if errors.is_empty() => Ok(self.loaded),
            errors => Err(Errors(errors)),
        }
    }

    fn set(&mut self, setting: &'static Setting, written: &Written<'_>, origin: ValueOrigin) {
        if setting.key == "include" {
            return self.refuse(setting, Wrong::new("`include` stands in files only"), origin);
        }
        match setting.set(&mut self.loaded.config, written) {
            Ok(()) => {
                self.loaded.origins.insert(setting.key, origin);
            }
            Err(wrong) => self.refuse(setting, wrong, origin),
        }
    }

    fn refuse(&mut self, setting: &Setting, wrong: Wrong, origin: ValueOrigin) {
        // Options and variables contain the key; a position in a file needs it.
        let message = match origin {
            ValueOrigin::File { .. } => format!("`{}`: {}", setting.key, wrong.message),
            _ => wrong.message,
        };
        self.errors.push(Error { origin, message, hint: wrong.hint });
    }

    /// Reads a file, and those that it includes; `depth` files include it.
    fn file(&mut self, path: &Path, depth: usize) {
        let text = match read(path, self.until) {
            Ok(text) => text,
            Err(error) => return self.errors.push(error),
        };
        self.loaded.files.push(path.to_owned());
        self.text(path, &text, depth);
    }

    fn text(&mut self, path: &Path, text: &str, depth: usize) {
        let file = File { path, text };
        let (table, wrongs) = DeTable::parse_recoverable(text);
        let from = self.errors.len();
        for wrong in wrongs {
            let at = wrong.span().map_or(0, |span| span.start);
            let message = wrong.message().replace('\n', ", ");
            self.errors.push(Error { origin: file.origin(at), message, hint: None });
        }
        // After a syntax error the rest of the tree is a guess, so missing keys are not reported.
        if self.errors.len() == from {
            self.table(&file, table.get_ref());
        }
        self.errors[from..].sort_by_key(|error| match error.origin {
            ValueOrigin::File { line, column, .. } => (line, column),
            _ => (0, 0),
        });
        for include in std::mem::take(&mut self.includes) {
            if let Err(error) = self.include(&include, depth) {
                self.errors.push(error);
            }
        }
    }

    /// Reads the files that a file at this depth includes.
    fn include(&mut self, include: &Include, depth: usize) -> Result<(), Error> {
        if depth == DEPTH_MAX {
            let what = format!("would be the {}th file within another", depth + 1);
            return Err(include.wrong(&what));
        }
        let paths = include.files()?;
        if paths.is_empty() {
            self.loaded.warnings.push(include.is_empty());
        }
        for path in paths {
            let found = std::fs::metadata(&path)
                .map_err(|error| include.wrong(&format!("cannot be opened: {error}")))?;
            if found.is_dir() {
                return Err(include.wrong("is a directory"));
            }
            let whole = path.canonicalize().ok();
            let same = |read: &PathBuf| *read == path || read.canonicalize().ok() == whole;
            if self.loaded.files.iter().any(same) {
                let what = format!("includes {} a second time", path.display());
                return Err(include.wrong(&what));
            }
            if self.loaded.files.len() == FILES_MAX {
                return Err(include.wrong(&format!("would make more than {FILES_MAX} files")));
            }
            self.file(&path, depth + 1);
        }
        Ok(())
    }

    fn table(&mut self, file: &File<'_>, top: &DeTable<'_>) {
        for (key, value) in top {
            let name: &str = key.get_ref();
            match value.get_ref() {
                DeValue::Table(block) if is_block(name) => {
                    for (key, value) in block {
                        let at = (key.span().start, value.span().start);
                        self.entry(file, name, key.get_ref(), at, value.get_ref());
                    }
                }
                other => {
                    let at = (key.span().start, value.span().start);
                    self.entry(file, "", name, at, other);
                }
            }
        }
    }

    fn entry(
        &mut self,
        file: &File<'_>,
        block: &str,
        name: &str,
        (key_at, value_at): (usize, usize),
        value: &DeValue<'_>,
    ) {
        let found = SETTINGS.iter().find(|s| s.block() == block && s.name() == name);
        let Some(setting) = found else {
            let error = unknown(block, name, value, file.origin(key_at));
            return self.errors.push(error);
        };
        let is_table = matches!(value, DeValue::Table(_));
        let value_at = if is_table { key_at } else { value_at };
        let base = file.path.parent().filter(|base| !base.as_os_str().is_empty());
        let written = Written { shape: shape(value, base), at: value_at, base };
        let place = file.origin(key_at);
        let is_added = ADDED_TO.contains(&setting.key);
        if let Some(other) = self.loaded.origins.get(setting.key).filter(|_| !is_added) {
            let message = format!("`{}` is set already, at {other}", setting.key);
            return self.errors.push(Error { origin: place, message, hint: None });
        }
        if let Err(wrong) = self.add(setting, &written, file) {
            let origin = file.origin(wrong.at.unwrap_or(value_at));
            return self.refuse(setting, wrong, origin);
        }
        self.loaded.origins.entry(setting.key).or_insert(place);
    }

    /// Sets a key to what a file says, and adds to a list what earlier files said.
    fn add(
        &mut self,
        setting: &Setting,
        written: &Written<'_>,
        file: &File<'_>,
    ) -> Result<(), Wrong> {
        let config = &mut self.loaded.config;
        if !ADDED_TO.contains(&setting.key) {
            return setting.set(config, written);
        }
        let mut of_file = Config::default();
        setting.set(&mut of_file, written)?;
        config.site.append(&mut of_file.site);
        config.hints.append(&mut of_file.hints);
        config.push.append(&mut of_file.push);
        config.tls.certificates.append(&mut of_file.tls.certificates);
        config.include.append(&mut of_file.include);
        match setting.key {
            "site" => self.loaded.sites.extend(site_places(file, written)),
            "include" => self.includes = Include::parse(written, |at| file.origin(at))?,
            _ => {}
        }
        Ok(())
    }

    fn environment(&mut self, variables: &[(String, String)]) {
        let names: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
        for (variable, value) in variables {
            if !variable.starts_with("RINGWAY_") || variable == "RINGWAY_CONFIG" {
                continue;
            }
            if let Some(index) = names.iter().position(|name| name == variable) {
                let origin = ValueOrigin::Environment(variable.clone());
                self.set(&SETTINGS[index], &Written::loose(value), origin);
            } else if let Some(near) = nearest(variable, names.iter().map(String::as_str)) {
                // Not an error: a cluster that runs a service called "ringway" sets RINGWAY_PORT
                // and more.
                let warning =
                    format!("{variable} is not a variable of ringway; did you mean {near}");
                self.loaded.warnings.push(warning);
            }
        }
    }

    fn command_line(&mut self, given: &[GivenOption]) {
        let mut keys: Vec<&str> = Vec::new();
        for each in given {
            if !keys.contains(&each.key.as_str()) {
                keys.push(&each.key);
            }
        }
        for key in keys {
            let all = || given.iter().filter(|each| each.key == key);
            let Some(last) = all().next_back() else { continue };
            let origin = ValueOrigin::CommandLine(last.option.clone());
            let Some(setting) = Setting::named(key) else {
                let (block, name) = key.split_once('.').unwrap_or(("", key));
                self.errors.push(unknown(block, name, &DeValue::Boolean(true), origin));
                continue;
            };
            if setting.list {
                let items = all().flat_map(|each| each.value.split(','));
                let items = items.map(|item| Written::loose(item.trim())).collect();
                let written = Written { shape: Shape::List(items), at: 0, base: None };
                self.set(setting, &written, origin);
            } else {
                self.set(setting, &Written::loose(&last.value), origin);
            }
        }
    }

    /// The documented listeners, unless some layer sets listeners.
    fn listeners(&mut self) {
        let config = &mut self.loaded.config;
        let spoken =
            ["http", "https", "h2c"].iter().any(|key| self.loaded.origins.contains_key(key));
        if !spoken {
            config.http = vec![Address::Ip((Ipv4Addr::LOCALHOST, 8080).into())];
            config.https = vec![Address::Ip((Ipv4Addr::LOCALHOST, 8443).into())];
        }
    }

    fn contradictions(&mut self) {
        let config = &self.loaded.config;
        let mut found: Vec<(&str, String)> = Vec::new();
        let listeners: Vec<(&str, &Address)> = [
            ("http", config.http.as_slice()),
            ("https", &config.https),
            ("h2c", &config.h2c),
            ("metrics", config.metrics.as_slice()),
            ("health", config.health.as_slice()),
        ]
        .into_iter()
        .flat_map(|(key, list)| list.iter().map(move |address| (key, address)))
        .collect();
        if listeners.iter().all(|(key, _)| matches!(*key, "metrics" | "health")) {
            found.push(("http", "nothing to listen on: no http, https or h2c address".into()));
        }
        for (index, (key, address)) in listeners.iter().enumerate() {
            if let Some((other, theirs)) =
                listeners[..index].iter().find(|(_, earlier)| earlier.collides(address))
            {
                found.push((key, format!("`{key}` {address} is taken by `{other}` {theirs}")));
            }
        }
        found.extend(tls_contradictions(config));
        if !config.push.is_empty() && config.limits.h2_pushes == 0 {
            found.push(("push", "nothing is pushed while `http2.pushes` is 0".into()));
        }
        if let Some(address) = config.metrics.as_ref().filter(|address| !address.is_local()) {
            let message = format!("metrics on {address} could be read from outside: use loopback");
            found.push(("metrics", message));
        }
        if let (Some(workers), Some(cpus)) = (config.workers, &config.cpus)
            && usize::from(workers) > cpus.0.len()
        {
            let count = cpus.0.len();
            found.push(("workers", format!("{workers} workers cannot be pinned to {count} CPUs")));
        }
        let amount = |key: &str| {
            let row = Limits::TABLE.iter().find(|row| row.key == key);
            row.map_or(0, |row| row.of(&config.limits))
        };
        for (key, inner) in HOLDS {
            if amount(key) < amount(inner) {
                // Blame the one that was set explicitly.
                let is_set = self.loaded.origins.contains_key(key);
                let message = format!("`{key}` is smaller than `{inner}`, which it has to hold");
                found.push((if is_set { key } else { inner }, message));
            }
        }
        let is_set = |key: &str| self.loaded.origins.contains_key(key);
        found.extend(log::contradictions(&config.log, is_set));
        if config.http3.required && !config.http3.enabled {
            found.push(("http3.required", "`http3.enabled` is false".into()));
        }
        found.extend(site_check::beside(&config.site, |key| self.loaded.origins.contains_key(key)));
        for (key, message) in found {
            let origin = self.loaded.origin(key).clone();
            self.errors.push(Error { origin, message, hint: None });
        }
        self.contradictions_of_sites();
    }

    fn contradictions_of_sites(&mut self) {
        let Config { site, https, limits, .. } = &self.loaded.config;
        for (site, key, message, hint) in
            site_check::contradictions(site, !https.is_empty(), limits)
        {
            let origin = self.loaded.site_origin(site, key).clone();
            self.errors.push(Error { origin, message, hint });
        }
        for (site, warning) in site_check::warnings(site) {
            let origin = self.loaded.site_origin(site, "auth");
            self.loaded.warnings.push(format!("{origin}: {warning}"));
        }
    }
}

/// Where each site and its keys stand.
fn site_places(file: &File<'_>, written: &Written<'_>) -> Vec<BTreeMap<String, ValueOrigin>> {
    let places = written.items().iter().map(|site| {
        let Shape::Block(entries) = &site.shape else { return BTreeMap::new() };
        let keys = entries.iter().map(|entry| (entry.name.to_owned(), file.origin(entry.value.at)));
        keys.chain([(String::new(), file.origin(site.at))]).collect()
    });
    places.collect()
}

fn tls_contradictions(config: &Config) -> Vec<(&'static str, String)> {
    let tls = &config.tls;
    let mut found: Vec<(&str, String)> = Vec::new();
    match (&tls.cert, &tls.key) {
        (Some(_), None) => {
            found.push(("tls.cert", "a certificate without its key: `tls.key` is missing".into()));
        }
        (None, Some(_)) => {
            let message = "a key without its certificate: `tls.cert` is missing";
            found.push(("tls.key", message.into()));
        }
        (None, None) => {
            if !tls.certificates.is_empty() {
                let message = "further certificates, but none for all other names: `tls.cert` is \
                               missing";
                found.push(("tls.certificates", message.into()));
            }
            if tls.ocsp.is_some() {
                let message = "an OCSP response without its certificate: `tls.cert` is missing";
                found.push(("tls.ocsp", message.into()));
            }
        }
        _ => {}
    }
    if tls.client_ca.is_some() && config.http3.enabled && !config.https.is_empty() {
        let message = "clients are not asked for certificates over HTTP/3: set `http3.enabled` \
                       to false";
        found.push(("tls.client_ca", message.into()));
    }
    found
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn origin(&self, at: usize) -> ValueOrigin {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        ValueOrigin::File {
            path: self.path.to_owned(),
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            column: 1 + String::from_utf8_lossy(&before[line_start..]).chars().count(),
        }
    }
}

fn read(path: &Path, until: Option<Instant>) -> Result<String, Error> {
    let whole = |message: String| Error {
        origin: ValueOrigin::File { path: path.to_owned(), line: 0, column: 0 },
        message,
        hint: None,
    };
    let bytes = match until {
        None => text::now(path),
        Some(until) => text::at_rest(path, until),
    };
    let bytes = bytes.map_err(|error| whole(format!("cannot be read: {error}")))?;
    // Some editors begin a text with a byte-order mark.
    let bytes = match bytes.strip_prefix("\u{feff}".as_bytes()) {
        Some(text) => text.to_vec(),
        None => bytes,
    };
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..good]).into_owned();
        let origin = File { path, text: &text }.origin(good);
        Error { origin, message: "the file is not UTF-8 from here on".into(), hint: None }
    })
}

fn is_block(name: &str) -> bool {
    !name.is_empty() && SETTINGS.iter().any(|setting| setting.block() == name)
}

/// The error for an unknown key: suggests the nearest name in its block, or the block that has the
/// key.
fn unknown(block: &str, name: &str, value: &DeValue<'_>, origin: ValueOrigin) -> Error {
    let is_table = matches!(value, DeValue::Table(_));
    let what = if is_table { "block" } else { "key" };
    let within = match block {
        "" => String::new(),
        block => format!(" in [{block}]"),
    };
    let neighbours = SETTINGS.iter().filter(|setting| !is_table && setting.block() == block);
    let at_top = is_table && block.is_empty();
    let blocks = SETTINGS.iter().map(Setting::block).filter(|name| at_top && !name.is_empty());
    // `[[sites]]` is not the bound `limits.sites`.
    let is_list = matches!(value, DeValue::Array(_));
    let fits =
        |setting: &&Setting| setting.name() == name && !is_table && (setting.list || !is_list);
    let elsewhere = || SETTINGS.iter().find(fits);
    let near = nearest(name, neighbours.map(Setting::name).chain(blocks));
    let hint = match (near, elsewhere()) {
        (_, Some(setting)) if setting.block().is_empty() => {
            Some(format!("the top-level `{name}`, before the first block"))
        }
        (_, Some(setting)) => Some(format!("`{}`", setting.key)),
        (Some(near), None) => Some(format!("`{near}`")),
        (None, None) => None,
    };
    Error { origin, message: format!("unknown {what} `{name}`{within}"), hint }
}

fn written<'a>(value: &'a Spanned<DeValue<'_>>, base: Option<&'a Path>) -> Written<'a> {
    Written { shape: shape(value.get_ref(), base), at: value.span().start, base }
}

fn shape<'a>(value: &'a DeValue<'_>, base: Option<&'a Path>) -> Shape<'a> {
    match value {
        DeValue::String(text) => Shape::Text(text),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_or(Shape::Other("an integer that is too large"), Shape::Integer),
        DeValue::Float(_) => Shape::Other("a float"),
        DeValue::Boolean(on) => Shape::Switch(*on),
        DeValue::Datetime(_) => Shape::Other("a date"),
        DeValue::Array(items) => {
            Shape::List(items.iter().map(|item| written(item, base)).collect())
        }
        DeValue::Table(block) => Shape::Block(
            block
                .iter()
                .map(|(key, value)| Entry {
                    name: key.get_ref(),
                    at: key.span().start,
                    value: written(value, base),
                })
                .collect(),
        ),
    }
}
