//! `auth` and `rate`: who may ask by name and password, and how often.

use super::super::block::{Block, inline};
use super::super::value::{self, Entry, Shape, Typed, Written, Wrong, quote};
use super::pattern::PathPattern;
use http::HeaderName;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `auth`: names and passwords (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthRule {
    /// The paths; all without.
    pub path: Option<PathPattern>,
    /// What clients call it.
    pub realm: String,
    /// The file with further users, a line `name:hash` each.
    pub file: Option<PathBuf>,
    /// All users, those of the file included.
    pub users: Vec<(String, PasswordHash)>,
}

/// `client_certificate`: certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The authorities, PEM.
    pub ca: PathBuf,
    /// The paths that need one; all without, and then the handshake fails.
    pub paths: Vec<PathPattern>,
}

/// A password as bcrypt hashed it. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// `rate`: how many requests a client may make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateRule {
    /// The paths; all without.
    pub path: Option<PathPattern>,
    /// So many requests, which may come at once.
    pub requests: u32,
    /// In this time.
    pub per: Duration,
    /// The field that tells clients apart; else, and where it is missing, their address does.
    pub field: Option<HeaderName>,
}

/// The dearest hash that is verified: at 2^14 rounds it takes a CPU about a second.
const COST_MAX: u8 = 14;
/// A larger file of users is none.
const FILE_MAX: u64 = 1024 * 1024;

impl PasswordHash {
    /// The hash as bcrypt writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One that no password has, as dear as this one.
    pub fn of_nobody(&self) -> Self {
        let (head, _) = self.0.split_at(self.0.len() - 53);
        Self(format!("{head}{}", ".".repeat(53)))
    }

    fn new(text: &str) -> Result<Self, String> {
        // Whatever it is may be a secret, so it is not repeated.
        let wanted = "expected a bcrypt hash as `ringway hash-password` or `htpasswd -B` print it";
        let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|kind| text.strip_prefix(kind));
        let parts = rest.and_then(|rest| rest.split_once('$'));
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"./".contains(&byte);
        let Some((cost, _)) =
            parts.filter(|(_, digits)| digits.len() == 53 && digits.bytes().all(is_digit))
        else {
            return Err(wanted.to_owned());
        };
        match cost.parse::<u8>().ok().filter(|_| cost.len() == 2) {
            Some(4..=COST_MAX) => Ok(Self(text.to_owned())),
            Some(cost) => Err(format!("a cost of {cost} is out of range: 4 to {COST_MAX}")),
            None => Err(wanted.to_owned()),
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

/// The table `users`.
struct Users(Vec<(String, PasswordHash)>);

/// The name of a user, who may not be one already.
fn user(name: &str, users: &[(String, PasswordHash)]) -> Result<String, String> {
    if name.contains(':') || name.chars().any(char::is_control) {
        return Err(format!("{} is no name: a colon would end it", quote(name)));
    }
    match users.iter().any(|(other, _)| other == name) {
        true => Err(format!("{} is there twice", quote(name))),
        false => Ok(name.to_owned()),
    }
}

impl Typed for Users {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let Shape::Block(entries) = &written.shape else {
            let found = written.shape.name();
            return Err(Wrong::new(format!(
                "expected a block like {{ ann = \"$2b$…\" }}, found {found}"
            )));
        };
        let mut users = Vec::new();
        for Entry { name, at, value } in entries {
            let at_value = |message: String| Wrong { at: Some(value.at), ..Wrong::new(message) };
            let name = user(name, &users)
                .map_err(|message| Wrong { at: Some(*at), ..Wrong::new(message) })?;
            let text = match &value.shape {
                Shape::Text(text) => *text,
                other => {
                    return Err(at_value(format!("expected a string, found {}", other.name())));
                }
            };
            users.push((name, PasswordHash::new(text).map_err(at_value)?));
        }
        Ok(Self(users))
    }

    fn show(&self) -> String {
        let pairs = self.0.iter().map(|(name, _)| format!("{} = \"hidden\"", quote(name)));
        format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
    }
}

/// Adds the users of a file: a line `name:hash` each, others may begin with `#`.
fn add_users(file: &Path, users: &mut Vec<(String, PasswordHash)>) -> Result<(), String> {
    let wrong = |what: String| format!("{}{what}", file.display());
    let size =
        std::fs::metadata(file).map_err(|error| wrong(format!(" cannot be opened: {error}")))?;
    if !size.is_file() || size.len() > FILE_MAX {
        return Err(wrong(" is no file of users".to_owned()));
    }
    let text = std::fs::read_to_string(file)
        .map_err(|error| wrong(format!(" cannot be read: {error}")))?;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at_line = |what: String| wrong(format!(":{}: {what}", at + 1));
        let Some((name, hash)) = line.split_once(':') else {
            return Err(at_line("expected name:hash".to_owned()));
        };
        let name = user(name, users).map_err(at_line)?;
        users.push((name, PasswordHash::new(hash).map_err(at_line)?));
    }
    Ok(())
}

impl Typed for AuthRule {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let block = Block::of(written, &["path", "realm", "users", "file"])?;
        let Users(mut users) = block.maybe("users")?.unwrap_or(Users(Vec::new()));
        let file: Option<PathBuf> = block.maybe("file")?;
        if let Some(file) = &file {
            add_users(file, &mut users)
                .map_err(|message| Wrong { at: block.at("file"), ..Wrong::new(message) })?;
        }
        if users.is_empty() {
            return Err(Wrong::new("no `users`: nobody could be let in"));
        }
        let realm: String = block.maybe("realm")?.unwrap_or_else(|| "ringway".to_owned());
        if !realm.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            let message = format!("`realm`: {} is not printable ASCII", quote(&realm));
            return Err(Wrong { at: block.at("realm"), ..Wrong::new(message) });
        }
        Ok(Self { path: block.maybe("path")?, realm, file, users })
    }

    fn show(&self) -> String {
        // Those of the file are not repeated.
        let inline_users = match self.file {
            None => Users(self.users.clone()).show(),
            Some(_) => String::new(),
        };
        inline(&[
            ("path", self.path.show()),
            ("realm", self.realm.show()),
            ("file", self.file.show()),
            ("users", inline_users),
        ])
    }
}

/// The length of a rate's window.
struct Window(Duration);

impl Typed for Window {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let time = value::time(written)?;
        let most = Duration::from_secs(30 * 24 * 3600);
        match time >= Duration::from_millis(10) && time <= most {
            true => Ok(Self(time)),
            false => Err(Wrong::new("a time is out of range: 10ms to 30d")),
        }
    }

    fn show(&self) -> String {
        quote(&value::show_millis(self.0.as_millis() as u64))
    }
}

/// A number of requests.
struct Requests(u32);

impl Typed for Requests {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        value::count(written, 1..1_000_001).map(|count| Self(count as u32))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// The name of a field.
struct FieldName(HeaderName);

impl Typed for FieldName {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let text = written.text("the name of a field")?;
        let name = HeaderName::from_bytes(text.as_bytes()).map(Self);
        name.map_err(|_| Wrong::new(format!("\"{text}\" is no name of a field")))
    }

    fn show(&self) -> String {
        quote(self.0.as_str())
    }
}

impl Typed for RateRule {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let block = Block::of(written, &["path", "requests", "per", "field"])?;
        let (Requests(requests), Window(per)) = (block.need("requests")?, block.need("per")?);
        if u128::from(requests) * 10 > per.as_micros() {
            let message = "`requests`: at most 100,000 a second".to_owned();
            return Err(Wrong { at: block.at("requests"), ..Wrong::new(message) });
        }
        let field = block.maybe("field")?.map(|FieldName(field)| field);
        Ok(Self { path: block.maybe("path")?, requests, per, field })
    }

    fn show(&self) -> String {
        inline(&[
            ("path", self.path.show()),
            ("requests", self.requests.to_string()),
            ("per", Window(self.per).show()),
            ("field", self.field.clone().map(FieldName).show()),
        ])
    }
}

impl Typed for ClientCertificate {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let block = Block::of(written, &["ca", "paths"])?;
        Ok(Self { ca: block.need("ca")?, paths: block.maybe("paths")?.unwrap_or_default() })
    }

    fn show(&self) -> String {
        let paths = if self.paths.is_empty() { String::new() } else { self.paths.show() };
        inline(&[("ca", self.ca.show()), ("paths", paths)])
    }
}

/// The key `body_bytes`.
pub(super) struct Bytes(pub(super) u64);

impl Typed for Bytes {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        value::bytes(written).map(Self)
    }

    fn show(&self) -> String {
        quote(&value::show_bytes(self.0))
    }
}
