//! `[lifecycle]`: as whom the server serves, and what it may do then.

use super::value::{Shape, Typed, Written, Wrong, quote};
use std::fmt;
use std::path::PathBuf;

/// `[lifecycle]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LifecycleConfig {
    /// Whether a parent process starts the server, and starts it again should it crash.
    pub parent: ParentMode,
    /// The user that root becomes once ports are bound and keys are read; none stays what it is.
    pub user: Option<Account>,
    /// Its group; none means the user's own. Its further groups are those of the user.
    pub group: Option<Account>,
    /// Whether the server gives up what serving does not need.
    pub sandbox: Sandbox,
    /// Directories below which the sandbox lets files be read, beside the roots of sites and what
    /// the configuration names: where a link that is a root will lead.
    pub readable: Vec<PathBuf>,
}

impl LifecycleConfig {
    /// Whether anything is given up.
    pub fn gives_up(&self) -> bool {
        self.user.is_some() || self.sandbox != Sandbox::Off
    }
}

/// Whether `ringway serve` is the parent of the process that serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParentMode {
    /// Where it is process 1, as in a container, or a service of systemd.
    #[default]
    Auto,
    /// Everywhere.
    On,
    /// Nowhere.
    Off,
}

/// A user or a group: a name of `/etc/passwd` or `/etc/group`, or a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account(pub String);

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The largest number of a user or group: the next one means "do not change".
const ACCOUNT_MAX: u32 = u32::MAX - 1;

impl Typed for Account {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let text = match &written.shape {
            Shape::Integer(number) => number.to_string(),
            _ => written.text("a name or a number")?.to_owned(),
        };
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_name = !text.is_empty()
            && !text.starts_with('-')
            && !text
                .contains(|c: char| c == ':' || c == ',' || c.is_whitespace() || c.is_control());
        match is_number {
            true if text.parse::<u32>().is_ok_and(|number| number <= ACCOUNT_MAX) => Ok(Self(text)),
            true => Err(Wrong::new(format!("{text} is out of range: 0 to {ACCOUNT_MAX}"))),
            false if is_name => Ok(Self(text)),
            false => Err(Wrong::new(format!("expected a name or a number, found `{text}`"))),
        }
    }

    fn show(&self) -> String {
        quote(&self.0)
    }
}

/// What the server gives up before it serves: all capabilities, further privileges, access to other
/// files and ports than it needs (Landlock), system calls that it does not make (seccomp).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// Nothing beyond what `user` says.
    #[default]
    Off,
    /// All of that; a system call that is not on the list fails.
    On,
    /// All of that; a system call that is not on the list ends the process.
    Kill,
}
