//! Mistakes in a configuration, on one line each: where, what, and what was probably meant. Errors
//! that appear only when the server starts (ports, privileges) are [`crate::Error`].

use std::fmt;
use std::path::PathBuf;

/// Where a value, or a mistake, came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueOrigin {
    /// The built-in default.
    Default,
    /// A configuration file; `line` and `column` count from 1, the column in characters.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
    },
    /// An environment variable.
    Environment(String),
    /// An option of the command line, with its dashes.
    CommandLine(String),
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::File { path, line: 0, .. } => write!(out, "{}", path.display()),
            Self::File { path, line, column } => {
                write!(out, "{}:{line}:{column}", path.display())
            }
            Self::Environment(name) => out.write_str(name),
            Self::CommandLine(option) => out.write_str(option),
        }
    }
}

/// One mistake of a configuration. Displays as one line: `file:line:column: what is wrong; did you
/// mean …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where the mistake is.
    pub origin: ValueOrigin,
    /// What is wrong, without a full stop.
    pub message: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != ValueOrigin::Default {
            write!(out, "{}: ", self.origin)?;
        }
        out.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(out, "; did you mean {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Every mistake that was found, in the order of the layers; displays one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(pub Vec<Error>);

impl fmt::Display for Errors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                out.write_str("\n")?;
            }
            write!(out, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}
