//! `ringway serve`: from a valid configuration to a running server.

use super::options::Parsed;
use super::{End, check, complain};

pub(crate) fn run(parsed: &Parsed) -> End {
    let loaded = match check::load(parsed) {
        Ok(loaded) => loaded,
        Err(end) => return end,
    };
    match ringway::serve(&loaded.config) {
        Ok(()) => End::Fine,
        Err(error) => {
            complain(&error.to_string());
            End::Failed
        }
    }
}
