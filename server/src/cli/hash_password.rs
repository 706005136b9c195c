//! `ringway hash-password`: a password as `auth` of a site takes it.

use std::io::{self, BufRead, IsTerminal};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::{Exit, complain, print};

/// Each step doubles the work of whoever guesses, and of the server at the first request: 2^10
/// rounds take some 50 ms.
const COST: u32 = 10;
/// bcrypt sees no more.
const PASSWORD_MAX: usize = 72;

pub(crate) fn run() -> Exit {
    let password = match read() {
        Ok(password) => password,
        Err(error) => {
            complain(&format!("standard input: {error}"));
            return Exit::Failed;
        }
    };
    let wrong = match password.as_str() {
        "" => Some("no password: write it in a line on standard input".to_owned()),
        text if text.chars().any(char::is_control) => {
            Some("a password with control characters is never let in".to_owned())
        }
        text if text.len() > PASSWORD_MAX => {
            Some(format!("a password has {PASSWORD_MAX} bytes at most: bcrypt sees no more"))
        }
        _ => None,
    };
    if let Some(wrong) = wrong {
        complain(&wrong);
        return Exit::Failed;
    }
    match bcrypt::hash(&password, COST) {
        Ok(hash) => print(&format!("{hash}\n")),
        Err(error) => {
            complain(&format!("no hash: {error}"));
            Exit::Failed
        }
    }
}

/// A line of standard input; from a terminal it is asked for, twice, and not shown.
fn read() -> io::Result<String> {
    let input = io::stdin();
    if !input.is_terminal() {
        return line();
    }
    let silent = Silent::new()?;
    eprint!("password: ");
    let first = line()?;
    eprint!("\nagain: ");
    let again = line()?;
    eprintln!();
    drop(silent);
    match first == again {
        true => Ok(first),
        false => Err(io::Error::other("the two passwords differ")),
    }
}

fn line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// The terminal does not show what is typed, until this is dropped.
struct Silent(Termios);

impl Silent {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
