//! `ringway serve`: from a valid configuration to a running server.

use super::options::Parsed;
use super::{End, check, complain};

pub(crate) fn run(parsed: &Parsed) -> End {
    let loaded = match check::load(parsed) {
        Ok(loaded) => loaded,
        Err(end) => return end,
    };
    complain(&format!("{} listeners, and no engine yet", loaded.config.http.len()));
    End::Failed
}
