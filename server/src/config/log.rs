//! `[log]`: the access log. Where its lines go, which requests have one, and what is left out.

use super::site::LoggedPath;
use super::value::{self, Typed, Words, Written, Wrong, quote, typed_words};
use http::HeaderName;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// `[log]`: the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The form of a line.
    pub format: LogFormat,
    /// The file that lines are appended to; without it, `syslog` and `journal`: standard output.
    pub file: Option<PathBuf>,
    /// The syslog daemon that lines are sent to.
    pub syslog: Option<SyslogAddress>,
    /// The facility of what is sent there.
    pub facility: Facility,
    /// Whether lines go to systemd's journal.
    pub journal: bool,
    /// The statuses that are logged; none means all.
    pub only: Vec<Statuses>,
    /// Paths that are not logged.
    pub except: Vec<LoggedPath>,
    /// Of how many requests one is logged.
    pub sample: Sample,
    /// How that one is chosen.
    pub sampling: Sampling,
    /// The statuses that are logged whatever the paths and the sample are.
    pub keep: Vec<Statuses>,
    /// Whether queries are logged.
    pub query: bool,
    /// How much of an address is logged.
    pub addresses: Addresses,
    /// Fields whose values are not logged, besides credentials.
    pub redact: Vec<FieldName>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Off,
            file: None,
            syslog: None,
            facility: Facility::default(),
            journal: false,
            only: Vec::new(),
            except: Vec::new(),
            sample: Sample::default(),
            sampling: Sampling::default(),
            keep: Vec::new(),
            query: true,
            addresses: Addresses::default(),
            redact: Vec::new(),
        }
    }
}

impl LogConfig {
    /// Where lines go, as a person calls it.
    pub fn destination(&self) -> String {
        match (&self.file, &self.syslog, self.journal) {
            (Some(file), ..) => file.display().to_string(),
            (None, Some(syslog), _) => format!("syslog {syslog}"),
            (None, None, true) => "journal".into(),
            (None, None, false) => "on standard output".into(),
        }
    }
}

/// The form of an access log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// No access log.
    #[default]
    Off,
    /// The Common Log Format of NCSA httpd and Apache.
    Common,
    /// Apache's and nginx's combined format.
    Combined,
    /// One JSON object a line, with Caddy's names.
    Json,
}

/// Of how many requests one is logged, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample(pub u32);

impl Default for Sample {
    fn default() -> Self {
        Self(1)
    }
}

/// How the requests are chosen that stand for the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sampling {
    /// At random, so that no rhythm of the clients' can fit it.
    #[default]
    Random,
    /// Each worker's first one, and every n-th after it.
    Every,
}

/// How much of a client's address is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addresses {
    /// All of it.
    #[default]
    Whole,
    /// Its network: /24 of IPv4, /48 of IPv6; no port.
    Network,
}

/// A status, or a class of them: `404`, `5xx`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(RangeInclusive<u16>);

impl Statuses {
    /// Whether `status` is one of them.
    pub fn has(&self, status: u16) -> bool {
        self.0.contains(&status)
    }
}

/// The name of a header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldName(pub HeaderName);

/// Where a syslog daemon listens (RFC 5424).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogAddress {
    /// A line a datagram (RFC 5426).
    Udp(SocketAddr),
    /// With octet counting (RFC 6587 section 3.4.1).
    Tcp(SocketAddr),
    /// The socket of the daemon of this machine: `/dev/log`.
    Unix(PathBuf),
}

impl fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "udp:{address}"),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A facility of syslog (RFC 5424 section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(pub u8);

impl Default for Facility {
    /// local7, as nginx has it.
    fn default() -> Self {
        Self(23)
    }
}

const LOG: Words<LogFormat> = &[
    ("off", LogFormat::Off),
    ("common", LogFormat::Common),
    ("combined", LogFormat::Combined),
    ("json", LogFormat::Json),
];
const SAMPLING: Words<Sampling> = &[("random", Sampling::Random), ("every", Sampling::Every)];
const ADDRESSES: Words<Addresses> = &[("whole", Addresses::Whole), ("network", Addresses::Network)];
/// Those that a daemon may say; the kernel's and the like are left out.
const FACILITIES: Words<Facility> = &[
    ("user", Facility(1)),
    ("daemon", Facility(3)),
    ("local0", Facility(16)),
    ("local1", Facility(17)),
    ("local2", Facility(18)),
    ("local3", Facility(19)),
    ("local4", Facility(20)),
    ("local5", Facility(21)),
    ("local6", Facility(22)),
    ("local7", Facility(23)),
];

typed_words!(LogFormat, LOG; Sampling, SAMPLING; Addresses, ADDRESSES; Facility, FACILITIES);

impl Typed for Sample {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let number = value::count(written, 1..1_000_001)?;
        Ok(Self(u32::try_from(number).unwrap_or(u32::MAX)))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

impl Typed for Statuses {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let wanted = "a status like \"404\" or \"5xx\"";
        let number = match &written.shape {
            value::Shape::Integer(number) => number.to_string(),
            _ => written.text(wanted)?.to_ascii_lowercase(),
        };
        let range = match number.as_bytes() {
            [class @ b'1'..=b'5', b'x', b'x'] => {
                let first = u16::from(class - b'0') * 100;
                Some(first..=first + 99)
            }
            [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => number.parse().ok().map(|n: u16| n..=n),
            _ => None,
        };
        range.map(Self).ok_or_else(|| Wrong::new(format!("expected {wanted}, found \"{number}\"")))
    }

    fn show(&self) -> String {
        let first = self.0.start();
        quote(&match first == self.0.end() {
            true => first.to_string(),
            false => format!("{}xx", first / 100),
        })
    }
}

impl Typed for FieldName {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let text = written.text("the name of a field")?;
        HeaderName::from_bytes(text.as_bytes())
            .map(Self)
            .map_err(|_| Wrong::new(format!("{} is no name of a field", quote(text))))
    }

    fn show(&self) -> String {
        quote(self.0.as_str())
    }
}

impl Typed for SyslogAddress {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let wanted = "an address like \"udp:192.0.2.1:514\", \"tcp:192.0.2.1:601\" or \
                      \"unix:/dev/log\"";
        let text = written.text(wanted)?;
        let wrong = || Wrong::new(format!("expected {wanted}, found \"{text}\""));
        let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
        match kind {
            "udp" => rest.parse().map(Self::Udp).map_err(|_| wrong()),
            "tcp" => rest.parse().map(Self::Tcp).map_err(|_| wrong()),
            "unix" if rest.starts_with('/') && !rest.contains('\0') => {
                Ok(Self::Unix(PathBuf::from(rest)))
            }
            _ => Err(wrong()),
        }
    }

    fn show(&self) -> String {
        quote(&self.to_string())
    }
}

/// What contradicts itself in `[log]`, with the key that is to blame. `is_set` says what some layer
/// has set.
pub(super) fn contradictions(
    log: &LogConfig,
    is_set: impl Fn(&str) -> bool,
) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let places = [
        ("log.file", log.file.is_some()),
        ("log.syslog", log.syslog.is_some()),
        ("log.journal", log.journal),
    ];
    let mut named = places.iter().filter(|(_, is_named)| *is_named);
    if let Some((first, _)) = named.next() {
        // An explicit "off" is intended.
        if !is_set("log.format") {
            let message = "nothing is logged: set `log.format` to common, combined or json";
            found.push((*first, message.into()));
        }
        for (other, _) in named {
            found.push((*other, format!("the log goes to `{first}` already")));
        }
    }
    if log.facility != Facility::default() && log.syslog.is_none() {
        found.push(("log.facility", "only `log.syslog` has a facility".into()));
    }
    if log.sampling != Sampling::default() && log.sample.0 == 1 {
        let message = "all requests are logged: set `log.sample` to more than 1";
        found.push(("log.sampling", message.into()));
    }
    let filters = log.sample.0 > 1 || !log.except.is_empty() || !log.only.is_empty();
    if !log.keep.is_empty() && !filters {
        let message = "all statuses are kept: nothing else leaves requests out";
        found.push(("log.keep", message.into()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<T: Typed>(text: &str) -> Result<T, String> {
        T::parse(&Written::loose(text)).map_err(|wrong| wrong.message)
    }

    #[test]
    fn statuses_and_classes() {
        let class: Statuses = parse("4xx").unwrap();
        assert!(class.has(400) && class.has(499) && !class.has(500) && !class.has(399));
        assert_eq!(class.show(), "\"4xx\"");
        let one: Statuses = parse("404").unwrap();
        assert!(one.has(404) && !one.has(405));
        for bad in ["", "4x", "600", "099", "4xx5", "x", "0xx"] {
            assert!(parse::<Statuses>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn syslog_addresses() {
        for good in ["udp:127.0.0.1:514", "tcp:[::1]:601", "unix:/dev/log"] {
            let address: SyslogAddress = parse(good).unwrap();
            assert_eq!(address.to_string(), good);
        }
        for bad in
            ["", "/dev/log", "udp:localhost:514", "tcp:1.2.3.4", "unix:dev/log", "tls:[::]:1"]
        {
            assert!(parse::<SyslogAddress>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_contradicts_itself() {
        let format = LogFormat::Json;
        let log = LogConfig { format, file: Some("a".into()), journal: true, ..Default::default() };
        let keys = |log: &LogConfig, set: &'static [&str]| -> Vec<&str> {
            let found = contradictions(log, |key| set.contains(&key));
            found.into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys(&log, &["log.format"]), ["log.journal"]);
        assert_eq!(keys(&log, &[]), ["log.file", "log.journal"]);
        let log = LogConfig {
            keep: vec![parse("5xx").unwrap()],
            facility: Facility(3),
            sampling: Sampling::Every,
            ..LogConfig::default()
        };
        assert_eq!(keys(&log, &["log.format"]), ["log.facility", "log.sampling", "log.keep"]);
        let log = LogConfig { sample: Sample(2), ..log };
        assert_eq!(keys(&log, &["log.format"]), ["log.facility"]);
    }
}
