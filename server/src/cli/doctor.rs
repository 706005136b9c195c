//! `ringway doctor`: the examination of `ringway-tuning`, with what only a ring can find out.

use super::{End, print};
use ringway_tuning::Host;
use ringway_tuning::doctor::{Facts, examine};

/// Prints what was found; failed if any of it is harmful.
pub(crate) fn run(json: bool) -> End {
    let report = examine(&Host::live(), &Facts::of_this_machine());
    match print(&if json { report.json() } else { report.text() }) {
        End::Fine if report.is_harmful() => End::Failed,
        end => end,
    }
}
