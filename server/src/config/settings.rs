//! The table of settings: every key of the file with its option, its environment variable, its
//! documentation and the field it sets. The rows of `limits` are settings too and are appended to
//! these.

use super::applies::{self, Applies};
use super::limits::{Limit, Limits, Unit};
use super::value::{self, Shape, Typed, Words, Written, Wrong, quote, typed_words};
use super::{
    Config, Congestion, Cpus, KeyLogMode, Misdirected, ParentMode, Sandbox, Simd, TlsVersion, Trace,
};
use std::sync::LazyLock;

/// One key of the configuration.
pub struct Setting {
    /// The key with its block: `http`, `tls.cert`.
    pub key: &'static str,
    /// Its option on the command line, if it has one of its own; any key can be set with `--set
    /// KEY=VALUE`.
    pub flag: Option<Flag>,
    /// Whether it is a list, so that its option may be given more than once.
    pub list: bool,
    /// One line of documentation.
    pub doc: &'static str,
    rule: Rule,
}

/// A command-line option, without its two dashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The option's name, without its dashes.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// What the option does, where that is not what the key means (`--no-h3`); else empty.
    pub doc: &'static str,
}

/// What follows an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A value, by the word that stands for it in the help: `--http ADDR`.
    Value(&'static str),
    /// Nothing: the option itself means this value.
    Means(&'static str),
}

/// The choices of the type of a field, named by an accessor that is never called.
fn choices_of<T: Typed>(_field: fn(&Config) -> &T) -> Vec<&'static str> {
    T::choices()
}

type ParseField = fn(&mut Config, &Written<'_>) -> Result<(), Wrong>;

#[derive(Clone, Copy)]
enum Rule {
    Field {
        parse: ParseField,
        show: fn(&Config) -> String,
        copy: fn(&mut Config, &Config),
        choices: fn() -> Vec<&'static str>,
    },
    Bound(&'static Limit),
}

/// Every setting, in the order in which they are documented: the top-level keys first, then block
/// by block.
pub static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let bounds = Limits::TABLE.iter().map(|row| Setting {
        key: row.key,
        flag: None,
        list: false,
        doc: row.doc,
        rule: Rule::Bound(row),
    });
    let mut all: Vec<Setting> = fields().into_iter().chain(bounds).collect();
    // A stable sort: rows of one block come together, in their own order.
    let blocks: Vec<&str> = all.iter().map(|setting| setting.block()).collect();
    let first = |block: &str| blocks.iter().position(|b| *b == block);
    all.sort_by_key(|setting| first(setting.block()));
    all
});

impl Setting {
    /// The setting with this key, `limits.header_bytes`.
    pub fn named(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// The block of the file that the key stands in; empty for a top-level key.
    pub fn block(&self) -> &'static str {
        self.key.split_once('.').map_or("", |(block, _)| block)
    }

    /// The key inside its block.
    pub fn name(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, name)| name)
    }

    /// The environment variable: named after the option if that takes a value, else after the whole
    /// key.
    pub fn variable(&self) -> String {
        let name = match self.flag {
            Some(Flag { name, takes: Takes::Value(_), .. }) => name,
            _ => self.key,
        };
        format!("RINGWAY_{}", name.replace(['.', '-'], "_").to_uppercase())
    }

    /// The row of the table of bounds, if it is one.
    pub fn bound(&self) -> Option<&'static Limit> {
        match self.rule {
            Rule::Bound(row) => Some(row),
            Rule::Field { .. } => None,
        }
    }

    /// The words that the value can be, if there are only a few; of a list, the words of one
    /// element.
    pub fn choices(&self) -> Vec<&'static str> {
        match self.rule {
            Rule::Field { choices, .. } => choices(),
            Rule::Bound(_) => Vec::new(),
        }
    }

    /// The value in `config` as a file would write it; empty if there is none.
    pub fn show(&self, config: &Config) -> String {
        match self.rule {
            Rule::Field { show, .. } => show(config),
            Rule::Bound(row) => show_amount(row.unit, row.of(&config.limits)),
        }
    }

    /// When a changed value takes effect.
    pub fn applies(&self) -> Applies {
        applies::of(self.key, self.block())
    }

    /// Gives `to` the value that `from` has.
    pub(crate) fn copy(&self, to: &mut Config, from: &Config) {
        match self.rule {
            Rule::Field { copy, .. } => copy(to, from),
            Rule::Bound(row) => (row.write)(&mut to.limits, row.of(&from.limits)),
        }
    }

    pub(super) fn set(&self, config: &mut Config, written: &Written<'_>) -> Result<(), Wrong> {
        match self.rule {
            Rule::Field { parse, .. } => parse(config, written),
            Rule::Bound(row) => {
                let amount = parse_amount(row, written)?;
                (row.write)(&mut config.limits, amount);
                Ok(())
            }
        }
    }
}

/// An amount of the table of bounds as a file would write it.
pub(super) fn show_amount(unit: Unit, amount: u64) -> String {
    match unit {
        Unit::Count => amount.to_string(),
        Unit::Bytes | Unit::Rate => quote(&value::show_bytes(amount)),
        Unit::Time => quote(&value::show_millis(amount)),
    }
}

fn parse_amount(row: &Limit, written: &Written<'_>) -> Result<u64, Wrong> {
    let amount = match row.unit {
        Unit::Count => return value::count(written, row.min..row.max.saturating_add(1)),
        Unit::Bytes | Unit::Rate => value::bytes(written)?,
        Unit::Time => {
            let time = value::time(written)?;
            if time.subsec_nanos() % 1_000_000 != 0 {
                return Err(Wrong::new("times are kept in whole milliseconds"));
            }
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
        }
    };
    if (row.min..=row.max).contains(&amount) {
        return Ok(amount);
    }
    let show = |amount| show_amount(row.unit, amount);
    Err(Wrong::new(format!(
        "{} is out of range: {} to {}",
        show(amount),
        show(row.min),
        show(row.max)
    )))
}

macro_rules! field {
    ($key:literal, $($path:ident).+, $flag:expr, $doc:literal) => {
        field!(@ $key, $($path).+, $flag, false, $doc)
    };
    (list $key:literal, $($path:ident).+, $flag:expr, $doc:literal) => {
        field!(@ $key, $($path).+, $flag, true, $doc)
    };
    (@ $key:literal, $($path:ident).+, $flag:expr, $list:literal, $doc:literal) => {
        Setting {
            key: $key,
            flag: $flag,
            list: $list,
            doc: $doc,
            rule: Rule::Field {
                parse: |config, written| {
                    config.$($path).+ = Typed::parse(written)?;
                    Ok(())
                },
                show: |config| config.$($path).+.show(),
                copy: |to, from| to.$($path).+.clone_from(&from.$($path).+),
                choices: || choices_of(|config| &config.$($path).+),
            },
        }
    };
}

const fn takes(name: &'static str, value: &'static str) -> Option<Flag> {
    Some(Flag { name, takes: Takes::Value(value), doc: "" })
}

const fn means(name: &'static str, value: &'static str, doc: &'static str) -> Option<Flag> {
    Some(Flag { name, takes: Takes::Means(value), doc })
}

fn fields() -> Vec<Setting> {
    let blocks = [
        process_fields(),
        service_fields(),
        log_fields(),
        http3_fields(),
        engine_fields(),
        lifecycle_fields(),
    ];
    blocks.into_iter().flatten().collect()
}

fn process_fields() -> Vec<Setting> {
    vec![
        field!(list "http", http, takes("http", "ADDR"),
            "listen for cleartext HTTP/1.1 (and HTTP/2 where a client asks for it)"),
        field!(list "https", https, takes("https", "ADDR"),
            "listen for HTTPS: HTTP/2 and HTTP/1.1 over TCP, HTTP/3 over UDP"),
        field!(list "h2c", h2c, takes("h2c", "ADDR"),
            "listen for cleartext HTTP/2 with prior knowledge only"),
        field!(
            "metrics",
            metrics,
            takes("metrics", "ADDR"),
            "serve metrics here; loopback or a Unix socket only"
        ),
        field!(list "metrics_hosts", metrics_hosts, None,
            "hosts that requests for metrics may be for, besides addresses and localhost"),
        field!(
            "otlp",
            otlp,
            takes("otlp", "URL"),
            "send metrics and traces to this collector, OTLP/HTTP: http://[::1]:4318"
        ),
        field!(
            "health",
            health,
            takes("health", "ADDR"),
            "answer /livez and /readyz here, and nothing else, for balancers"
        ),
        field!(
            "workers",
            workers,
            takes("workers", "N"),
            "worker threads; one for each usable CPU if not given"
        ),
        field!(
            "cpus",
            cpus,
            takes("cpus", "LIST"),
            "CPUs that the workers are pinned to, such as 0-3,6"
        ),
        field!("simd", simd, takes("simd", "NAME"), "vector instructions to use"),
        field!(list "trace", trace, takes("trace", "LIST"),
            "trace these protocols to standard error"),
        field!(
            "qlog",
            qlog,
            takes("qlog", "DIR"),
            "write a qlog file for each QUIC connection into this directory"
        ),
        field!(list "include", include, None,
            "further files of the configuration, such as \"sites/*.toml\": relative to this one, in the order of their names"),
        field!(list "hints", hints, None,
            "[[hints]] with path and links: Link fields of that page, in 103 where it has to wait"),
        field!(list "push", push, None,
            "[[push]] with path and push: the paths that are pushed along with that page"),
        field!(list "site", site, None,
            "[[site]] with hosts, root and the keys below: the files of a directory, for some hosts"),
        field!(
            "unknown_host",
            unknown_host,
            None,
            "what requests get for a host that no site answers for, where none is the default one"
        ),
    ]
}

fn service_fields() -> Vec<Setting> {
    vec![
        field!("files.root", files.root, None, "the directory that is served"),
        field!(
            "files.browse",
            files.browse,
            means("browse", "true", ""),
            "list directories that have no index file"
        ),
        field!(list "files.types", files.types, None,
            "[files.types] with extension = \"type/subtype\": content types of files"),
        field!(
            "tls.cert",
            tls.cert,
            takes("cert", "PEM"),
            "certificate chain; self-signed if neither this nor the key is given"
        ),
        field!("tls.key", tls.key, takes("key", "PEM"), "private key of the certificate"),
        field!("tls.ocsp", tls.ocsp, None, "OCSP response to staple to the certificate, DER"),
        field!(list "tls.certificates", tls.certificates, None,
            "[[tls.certificates]] with cert, key, ocsp: further ones, by the name asked for"),
        field!(
            "tls.ticket_key",
            tls.ticket_key,
            None,
            "file for the secret of session tickets, so that they survive a restart"
        ),
        field!("tls.min_version", tls.min_version, None, "oldest version of TLS that is spoken"),
        field!(
            "tls.client_ca",
            tls.client_ca,
            None,
            "authorities, PEM: clients have to show a certificate of theirs"
        ),
        field!(
            "tls.misdirected",
            tls.misdirected,
            None,
            "requests for a host that the certificate does not cover: 421, or served (probes by address)"
        ),
        field!("tls.hsts", tls.hsts, None, "Strict-Transport-Security of answers over TLS"),
        field!(
            "tls.key_log",
            tls.key_log,
            None,
            "env: write the secrets of every connection to the file that SSLKEYLOGFILE names"
        ),
        field!(
            "http2.upgrade",
            http2.upgrade,
            means("no-h2c-upgrade", "false", "do not upgrade HTTP/1.1 connections to HTTP/2"),
            "let HTTP/1.1 connections in the clear upgrade to HTTP/2"
        ),
        field!(
            "http2.priority_tree",
            http2.priority_tree,
            None,
            "honour the dependencies and weights of RFC 7540"
        ),
    ]
}

fn log_fields() -> Vec<Setting> {
    vec![
        field!("log.format", log.format, takes("log", "FORM"), "form of the access log"),
        field!(
            "log.file",
            log.file,
            takes("log-file", "FILE"),
            "append the access log to this file instead of standard output"
        ),
        field!(
            "log.syslog",
            log.syslog,
            None,
            "send it to syslog: udp:ADDRESS:PORT, tcp:ADDRESS:PORT or unix:/dev/log (RFC 5424)"
        ),
        field!("log.facility", log.facility, None, "facility of what is sent to syslog"),
        field!("log.journal", log.journal, None, "send it to systemd's journal, with fields"),
        field!(list "log.only", log.only, None,
            "log these statuses alone: [\"4xx\", \"503\"]"),
        field!(list "log.except", log.except, None,
            "log no requests for these paths: [\"/healthz\", \"/assets/*\"]"),
        field!("log.sample", log.sample, None, "log one of so many requests, up to 1000000"),
        field!(
            "log.sampling",
            log.sampling,
            None,
            "how it is chosen: at random, or every n-th of each worker"
        ),
        field!(list "log.keep", log.keep, None,
            "statuses that are logged whatever `except`, `only` and `sample` say"),
        field!("log.query", log.query, None, "log the query of targets and referers"),
        field!(
            "log.addresses",
            log.addresses,
            None,
            "log all of a client's address, or its network alone (/24, /48)"
        ),
        field!(list "log.redact", log.redact, None,
            "fields whose values are logged as REDACTED, besides credentials and cookies"),
    ]
}

fn http3_fields() -> Vec<Setting> {
    vec![
        field!(
            "http3.enabled",
            http3.enabled,
            means("no-h3", "false", "do not answer HTTP/3"),
            "answer HTTP/3 on the UDP port of each HTTPS listener"
        ),
        field!(
            "http3.required",
            http3.required,
            means("require-h3", "true", ""),
            "do not start where a UDP port cannot be had"
        ),
        field!(
            "http3.alt_svc",
            http3.alt_svc,
            None,
            "tell clients over TLS in Alt-Svc that there is HTTP/3, or no more"
        ),
        field!(
            "http3.early_data",
            http3.early_data,
            None,
            "take GET and HEAD requests in 0-RTT data, which can be repeated; others get 425"
        ),
        field!(
            "http3.migration",
            http3.migration,
            None,
            "let clients move to another address on purpose"
        ),
        field!(
            "http3.steering",
            http3.steering,
            None,
            "have the kernel give a moved client's datagrams to its worker"
        ),
        field!("http3.congestion", http3.congestion, None, "congestion control"),
    ]
}

fn engine_fields() -> Vec<Setting> {
    vec![
        field!(
            "engine.busy_poll_us",
            engine.busy_poll_us,
            None,
            "poll the network card for so many microseconds, up to 1024, before sleeping (Linux 6.9)"
        ),
        field!(
            "engine.batch_wait_us",
            engine.batch_wait_us,
            None,
            "let work gather for so many microseconds, up to 1024 (Linux 6.12)"
        ),
        field!(
            "engine.incoming_cpu",
            engine.incoming_cpu,
            None,
            "give a connection to the worker on whose CPU it arrived"
        ),
    ]
}

fn lifecycle_fields() -> Vec<Setting> {
    vec![
        field!(
            "lifecycle.parent",
            lifecycle.parent,
            None,
            "a parent process starts the server, and again on the same sockets should it crash; auto: as process 1, or under systemd"
        ),
        field!(
            "lifecycle.user",
            lifecycle.user,
            takes("user", "NAME"),
            "the user that root becomes before it serves, by name or number"
        ),
        field!(
            "lifecycle.group",
            lifecycle.group,
            None,
            "the group that goes with it; the user's own if not given"
        ),
        field!(
            "lifecycle.sandbox",
            lifecycle.sandbox,
            None,
            "give up all that serving does not need; what is not on its list of calls fails, or kills"
        ),
        field!(list "lifecycle.readable", lifecycle.readable, None,
            "further directories that the sandbox lets be read: where a root that is a link will lead"),
    ]
}

pub(super) const SIMD: Words<Simd> = &[
    ("auto", Simd::Auto),
    ("scalar", Simd::Scalar),
    ("sse", Simd::Sse),
    ("avx2", Simd::Avx2),
    ("avx512", Simd::Avx512),
    ("neon", Simd::Neon),
];
const TRACE: Words<Trace> =
    &[("h1", Trace::H1), ("h2", Trace::H2), ("h3", Trace::H3), ("tls", Trace::Tls)];
const CONGESTION: Words<Congestion> =
    &[("cubic", Congestion::Cubic), ("bbr2", Congestion::Bbr2), ("reno", Congestion::Reno)];
const MISDIRECTED: Words<Misdirected> =
    &[("refuse", Misdirected::Refuse), ("serve", Misdirected::Serve)];
const KEY_LOG: Words<KeyLogMode> = &[("off", KeyLogMode::Off), ("env", KeyLogMode::Env)];
const PARENT: Words<ParentMode> =
    &[("auto", ParentMode::Auto), ("on", ParentMode::On), ("off", ParentMode::Off)];
const SANDBOX: Words<Sandbox> =
    &[("off", Sandbox::Off), ("on", Sandbox::On), ("kill", Sandbox::Kill)];
const TLS_VERSION: Words<TlsVersion> = &[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];

typed_words!(
    Simd, SIMD; Trace, TRACE; Congestion, CONGESTION; TlsVersion, TLS_VERSION;
    Misdirected, MISDIRECTED; KeyLogMode, KEY_LOG; Sandbox, SANDBOX; ParentMode, PARENT
);

/// Maximum number of workers; more is a mistake.
const WORKERS_MAX: u64 = 1024;

impl Typed for u16 {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let number = value::count(written, 1..WORKERS_MAX + 1)?;
        Ok(Self::try_from(number).unwrap_or(Self::MAX))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Typed for Cpus {
    /// `"0-3,6"`, or in a file also a list of numbers.
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let mut cpus = Vec::new();
        if let Shape::List(items) = &written.shape {
            for item in items {
                let cpu = value::count(item, 0..CPU_END as u64);
                let cpu = cpu.map_err(|wrong| Wrong { at: Some(item.at), ..wrong })?;
                cpus.push(cpu as usize);
            }
        } else {
            let text = written.text("a CPU list like \"0-3,6\"")?;
            for part in text.split(',') {
                cpus.extend(cpu_range(part.trim()).ok_or_else(|| {
                    Wrong::new(format!("`{text}` is not a CPU list like \"0-3,6\""))
                })?);
            }
        }
        let mut sorted = cpus.clone();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Wrong::new(format!("CPU {} stands in the list twice", pair[0]))),
            None if cpus.is_empty() => Err(Wrong::new("the list of CPUs is empty")),
            None => Ok(Self(cpus)),
        }
    }

    fn show(&self) -> String {
        let numbers: Vec<_> = self.0.iter().map(usize::to_string).collect();
        quote(&numbers.join(","))
    }
}

impl std::str::FromStr for Cpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(&Written::loose(text)).map_err(|wrong| wrong.message)
    }
}

/// The kernel's own ceiling (`CONFIG_NR_CPUS` is at most 8192).
const CPU_END: usize = 8192;

fn cpu_range(part: &str) -> Option<std::ops::Range<usize>> {
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let (first, last) = (first.parse().ok()?, last.parse::<usize>().ok()?);
    (first <= last && last < CPU_END).then_some(first..last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_options_and_variables_are_unique() {
        let unique = |mut names: Vec<String>| {
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count);
        };
        unique(SETTINGS.iter().map(|s| s.key.to_owned()).collect());
        unique(SETTINGS.iter().map(|s| s.variable()).collect());
        unique(SETTINGS.iter().filter_map(|s| s.flag).map(|f| f.name.to_owned()).collect());
    }

    #[test]
    fn blocks_are_contiguous() {
        let mut blocks: Vec<_> = SETTINGS.iter().map(Setting::block).collect();
        blocks.dedup();
        let mut unique = blocks.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(blocks.len(), unique.len());
        assert_eq!(blocks[0], "", "top-level keys have to come before the first block");
    }

    #[test]
    fn cpu_lists() {
        let parse = |text| Cpus::parse(&Written::loose(text)).map(|cpus| cpus.0);
        assert_eq!(parse("0"), Ok(vec![0]));
        assert_eq!(parse("2,0-1"), Ok(vec![2, 0, 1]));
        for bad in ["", "1-0", "0,0", "a", "0-", "9000", "0-99999999999"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_option_with_a_value_names_the_variable() {
        assert_eq!(Setting::named("log.format").unwrap().variable(), "RINGWAY_LOG");
        assert_eq!(Setting::named("http3.enabled").unwrap().variable(), "RINGWAY_HTTP3_ENABLED");
        let bound = Setting::named("limits.header_bytes").unwrap();
        assert_eq!(bound.variable(), "RINGWAY_LIMITS_HEADER_BYTES");
    }
}
