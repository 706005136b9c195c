//! The command line: parses it, runs one verb, and returns an exit code for supervisors. Options
//! for serving are settings of `ringway::config`, which defines their meaning.

mod check;
mod completions;
mod doctor;
mod hash_password;
mod health;
mod help;
mod import;
mod options;
mod precompress;
mod serve;
mod tune;
mod version;

use options::{Parsed, Usage};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// The verb: the first word of the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Verb {
    #[default]
    Serve,
    Check,
    Doctor,
    Health,
    Tune,
    HashPassword,
    Precompress,
    Import,
    Version,
    Completions,
    Man,
    Help,
}

/// A verb with its operand and description, for the parser and the help.
pub(crate) struct VerbRow {
    pub(crate) verb: Verb,
    pub(crate) name: &'static str,
    /// The operand in the usage line; brackets mark an optional one.
    pub(crate) operand: &'static str,
    pub(crate) choices: &'static [&'static str],
    pub(crate) doc: &'static str,
}

/// Every verb, in the order of the help.
pub(crate) const VERBS: &[VerbRow] = &[
    VerbRow {
        verb: Verb::Serve,
        name: "serve",
        operand: "[DIR]",
        choices: &[],
        doc: "serve a directory (the default verb)",
    },
    VerbRow {
        verb: Verb::Check,
        name: "check",
        operand: "",
        choices: &[],
        doc: "validate the configuration and say what is wrong where",
    },
    VerbRow {
        verb: Verb::Doctor,
        name: "doctor",
        operand: "",
        choices: &[],
        doc: "say what kernel, machine and certificates lack: found, wanted, why, how",
    },
    VerbRow {
        verb: Verb::Health,
        name: "health",
        operand: "[ADDRESS]",
        choices: &[],
        doc: "ask a running server whether it lives; exit code 0 or 1",
    },
    VerbRow {
        verb: Verb::Tune,
        name: "tune",
        operand: "ACTION",
        choices: &["check", "apply", "restore"],
        doc: "set the kernel up for serving, and put it back",
    },
    VerbRow {
        verb: Verb::HashPassword,
        name: "hash-password",
        operand: "",
        choices: &[],
        doc: "read a password and print its hash, for `auth` of a site",
    },
    VerbRow {
        verb: Verb::Precompress,
        name: "precompress",
        operand: "DIR",
        choices: &[],
        doc: "make the .br, .zst and .gz files that are served in place of plain ones",
    },
    VerbRow {
        verb: Verb::Import,
        name: "import",
        operand: "SERVER FILE",
        choices: import::SERVERS,
        doc: "print a configuration made of another server's, and name what it lacks",
    },
    VerbRow {
        verb: Verb::Version,
        name: "version",
        operand: "",
        choices: &[],
        doc: "print the version; -v says what it was built with and runs on",
    },
    VerbRow {
        verb: Verb::Completions,
        name: "completions",
        operand: "SHELL",
        choices: &["bash", "zsh", "fish"],
        doc: "print the completions for a shell",
    },
    VerbRow {
        verb: Verb::Man,
        name: "man",
        operand: "",
        choices: &[],
        doc: "print the manual page",
    },
    VerbRow {
        verb: Verb::Help,
        name: "help",
        operand: "[COMMAND]",
        choices: &[],
        doc: "print help, of one command if it is named",
    },
];

impl Verb {
    pub(crate) fn row(self) -> &'static VerbRow {
        let row = VERBS.iter().find(|row| row.verb == self);
        row.unwrap_or(&VERBS[0])
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        VERBS.iter().find(|row| row.name == name).map(|row| row.verb)
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Exit code 0.
    Fine,
    /// Exit code 1: the command failed, and a retry would not help.
    Failed,
    /// Exit code 2: the command line is invalid.
    Usage,
    /// Exit code 3: done, but for what standard error names.
    LeftOut,
    /// The exit code of another process.
    Of(u8),
}

impl From<Exit> for ExitCode {
    fn from(end: Exit) -> Self {
        match end {
            Exit::Fine => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::Usage => Self::from(2),
            Exit::LeftOut => Self::from(3),
            Exit::Of(code) => Self::from(code),
        }
    }
}

/// Runs the command that the process's arguments (without its name) select.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let parsed = match options::parse(arguments) {
        Ok(parsed) => parsed,
        Err(Usage(message)) => {
            complain(&format!("{message}\n(`ringway --help` lists what there is)"));
            return Exit::Usage;
        }
    };
    if parsed.help {
        return print(&help::of(parsed.verb));
    }
    dispatch(&parsed)
}

fn dispatch(parsed: &Parsed) -> Exit {
    match parsed.verb {
        Verb::Serve => serve::run(parsed),
        Verb::Check => check::run(parsed),
        Verb::Doctor => doctor::run(parsed),
        Verb::Health => health::run(parsed),
        Verb::Tune => tune::run(parsed),
        Verb::HashPassword => hash_password::run(),
        Verb::Precompress => precompress::run(parsed),
        Verb::Import => import::run(parsed),
        Verb::Version => print(&version::text(parsed.verbose)),
        Verb::Completions => print(&completions::of(parsed.operand().unwrap_or("bash"))),
        Verb::Man => print(&help::man()),
        Verb::Help => match parsed.operand().map(|name| (name, Verb::named(name))) {
            None => print(&help::overview()),
            Some((_, Some(verb))) => print(&help::of(verb)),
            Some((name, None)) => {
                complain(&options::unknown_verb(name));
                Exit::Usage
            }
        },
    }
}

/// Writes to standard output. A closed pipe (`ringway man | head`) is not an error.
pub(crate) fn print(text: &str) -> Exit {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Exit::Fine,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Fine,
        Err(error) => {
            complain(&format!("standard output: {error}"));
            Exit::Failed
        }
    }
}

/// Writes an error to standard error, with the program's name on its first line.
pub(crate) fn complain(message: &str) {
    let mut lines = message.lines();
    let mut out = std::io::stderr().lock();
    if let Some(first) = lines.next() {
        let _ = writeln!(out, "ringway: {first}");
    }
    for line in lines {
        let _ = writeln!(out, "{line}");
    }
}
