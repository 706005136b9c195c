//! Messages for people on standard output and standard error. Writing may fail: the pipe to a
//! logger is closed, or the disk is full. `println!` and `eprintln!` would panic then and end a
//! healthy server.

use std::fmt;
use std::io::{self, Write};

/// Writes a line to standard error. Ignores errors.
macro_rules! note {
    ($($text:tt)*) => { $crate::rt::console::line(format_args!($($text)*)) };
}
pub(crate) use note;

pub(crate) fn line(text: fmt::Arguments<'_>) {
    // One write, so that lines of several threads do not mix.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}
