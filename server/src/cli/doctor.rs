//! `ringway doctor`: the checks of `ringway-tuning`, plus those that need a ring.

use super::options::Parsed;
use super::{Exit, check, complain, print};
use ringway::{Found, probe};
use ringway_tuning::Host;
use ringway_tuning::doctor::{Certificate, Facts, Feature, Ring, examine};

/// Prints the findings; fails if any is harmful.
pub(crate) fn run(parsed: &Parsed) -> Exit {
    let config = match check::load(parsed) {
        Ok(loaded) => loaded.config,
        Err(end) => return end,
    };
    let certificates = match ringway::certificates_of(&config) {
        Ok(certificates) => certificates,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Failed;
        }
    };
    let ring = match probe() {
        Ok(found) => Ring::Works(features(&found)),
        Err(error) => Ring::Refused(error),
    };
    let certificates = certificates.into_iter().map(|each| Certificate {
        file: each.file.display().to_string(),
        end: each.end,
        flaws: each.flaws,
        is_refused: each.is_refused,
    });
    let certificates = certificates.collect();
    let facts = Facts { ring: Some(ring), certificates, ..Facts::of_this_machine() };
    let report = examine(&Host::live(), &facts);
    match print(&if parsed.json { report.json() } else { report.text() }) {
        Exit::Fine if report.is_harmful() => Exit::Failed,
        end => end,
    }
}

fn features(found: &Found) -> Vec<Feature> {
    let feature = |name: &str, has, needed, why: &str| Feature {
        name: name.into(),
        has,
        needed,
        why: why.into(),
    };
    vec![
        feature("operations", found.operations, true, "every operation that ringway submits"),
        feature(
            "deferred work",
            found.defer_taskrun,
            true,
            "completions are made when the worker asks for them (6.1)",
        ),
        feature(
            "without index array",
            found.no_sqarray,
            false,
            "submitting touches one cache line less (6.6)",
        ),
        feature(
            "batched waiting",
            found.min_wait,
            false,
            "a wait can gather events for some microseconds (6.12)",
        ),
        feature(
            "waiting without iowait",
            found.no_iowait,
            false,
            "an idle server is not shown as waiting for disks (6.15)",
        ),
    ]
}
