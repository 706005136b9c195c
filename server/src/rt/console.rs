//! What is said to people on standard output and standard error. Perhaps nobody is there any more:
//! the pipe to a logger is closed, the disc is full. `println!` and `eprintln!` panic then, and a
//! server that serves well would end for want of a listener.

use std::fmt;
use std::io::{self, Write};

/// Says a line on standard error, if it can be said.
macro_rules! note {
    ($($text:tt)*) => { $crate::rt::console::line(format_args!($($text)*)) };
}
pub(crate) use note;

pub(crate) fn line(text: fmt::Arguments<'_>) {
    // In one piece, so that the lines of several threads do not mix.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}
