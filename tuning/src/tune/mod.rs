//! `ringway tune`: applies what `doctor` recommends, and restores it exactly. Every change is
//! journalled before it is made. Restoring goes through the journal backwards and skips what
//! someone else has changed since. Only settings in the plan are touched, and the plan can be shown
//! without applying it.

mod journal;
mod plan;
mod target;

pub use plan::{Group, Irqs};

use crate::host::CAP_NET_ADMIN;
use crate::{Host, Profile};
use journal::{Entry, Journal};
use std::io;
use std::path::PathBuf;
use target::Target;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Say what `apply` would change.
    Check,
    /// Change it, and journal what was there.
    Apply,
    /// Put back what the journal holds.
    Restore,
}

/// How to do it.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the machine is tuned for.
    pub profile: Profile,
    /// The groups of settings that are touched.
    pub groups: Vec<Group>,
    /// Segments of the first flight, set on every route.
    pub initcwnd: u32,
    /// Segments of the window offered first, set on every route.
    pub initrwnd: u32,
    /// Where the interrupts of network devices go.
    pub irqs: Irqs,
    /// The CPUs of the workers; none for all that are online.
    pub cpus: Option<Vec<usize>>,
    /// The journal; none for the usual place.
    pub journal: Option<PathBuf>,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// Go on in a container, where only its own network can be tuned.
    pub anyway: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            profile: Profile::Throughput,
            groups: Group::ALL.iter().map(|(_, group)| *group).collect(),
            initcwnd: 32,
            initrwnd: 32,
            irqs: Irqs::Leave,
            cpus: None,
            journal: None,
            dry_run: false,
            anyway: false,
        }
    }
}

/// The result, or what it would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// A line for each setting: its name, before, after.
    pub lines: Vec<String>,
    /// Settings that were changed, or would be.
    pub changes: usize,
    /// Settings that could not be changed.
    pub failures: usize,
}

impl Outcome {
    fn say(&mut self, line: String) {
        self.lines.push(line);
    }
}

/// Carries out `action`.
///
/// # Errors
/// Why nothing was done at all: a container, a missing privilege, a journal that cannot be used.
/// What goes wrong with a single setting is counted in the outcome instead.
pub fn run(host: &Host, action: Action, options: &Options) -> Result<Outcome, String> {
    if action != Action::Check && !options.dry_run {
        refuse(host, options.anyway)?;
    }
    match action {
        Action::Check => Ok(show(&plan::make(host, options))),
        Action::Apply if options.dry_run => Ok(show(&plan::make(host, options))),
        Action::Apply => apply(host, options),
        Action::Restore => restore(host, options),
    }
}

fn refuse(host: &Host, anyway: bool) -> Result<(), String> {
    if let Some(container) = host.container().filter(|_| !anyway) {
        return Err(format!(
            "this is a container ({container}): the kernel's settings are the host's. Run it \
             there, or with --anyway to tune this container's own network"
        ));
    }
    if !host.capable(CAP_NET_ADMIN) {
        return Err(
            "this changes the kernel's settings, which needs root (CAP_NET_ADMIN): run it \
                    with sudo, or with --dry-run to see what it would do"
                .into(),
        );
    }
    Ok(())
}

fn show(plan: &plan::Plan) -> Outcome {
    let mut outcome = Outcome { lines: plan.notes.clone(), ..Outcome::default() };
    for step in &plan.steps {
        outcome.changes += 1;
        outcome.say(line(&step.target, &step.before, &step.after));
    }
    outcome
}

fn line(target: &Target, before: &str, after: &str) -> String {
    let (before, after) = (target.describe(before), target.describe(after));
    format!("{:<44} {before} → {after}", target.label())
}

fn apply(host: &Host, options: &Options) -> Result<Outcome, String> {
    let path = journal::path(host, options.journal.as_deref())?;
    let mut journal = Journal::open(host, &path)?;
    let plan = plan::make(host, options);
    let mut outcome = Outcome { lines: plan.notes, ..Outcome::default() };
    for step in plan.steps {
        // The journal comes first: if we stop in between, restoring finds the old value and does
        // nothing.
        journal.note(&step.target, &step.before, &step.after);
        journal.save(&path)?;
        match step.target.set(host, &step.after) {
            Ok(()) => {
                let after = step.target.value(host).unwrap_or_else(|| step.after.clone());
                outcome.say(line(&step.target, &step.before, &after));
                outcome.changes += 1;
                journal.note(&step.target, &step.before, &after);
            }
            Err(error) => {
                let label = step.target.label();
                // A setting that this kernel lacks is not a failure.
                if error.kind() == io::ErrorKind::NotFound {
                    let after = step.target.describe(&step.after);
                    outcome.say(format!("{label:<44} left: {after} is not to be had here"));
                } else {
                    outcome.failures += 1;
                    outcome.say(format!("{label:<44} not changed: {error}"));
                }
                journal.forget(&step.target, &step.before);
            }
        }
        journal.save(&path)?;
    }
    Ok(outcome)
}

fn restore(host: &Host, options: &Options) -> Result<Outcome, String> {
    let path = journal::path(host, options.journal.as_deref())?;
    let mut outcome = Outcome::default();
    if !path.exists() {
        outcome.say("nothing to restore: no change of ringway's is in force".into());
        return Ok(outcome);
    }
    let mut journal = Journal::open(host, &path)?;
    let mut left = Vec::new();
    while let Some(entry) = journal.entries.pop() {
        let Some(kept) = undo(host, &entry, options.dry_run, &mut outcome) else { continue };
        left.push(kept);
    }
    if options.dry_run {
        return Ok(outcome);
    }
    left.reverse();
    journal.entries = left;
    if journal.entries.is_empty() {
        journal.remove(&path)?
    } else {
        journal.save(&path)?
    }
    Ok(outcome)
}

/// Puts one setting back. Returns the entry if it has to stay in the journal.
fn undo(host: &Host, entry: &Entry, dry_run: bool, outcome: &mut Outcome) -> Option<Entry> {
    let target = &entry.target;
    let label = target.label();
    let now = target.value(host);
    match now.as_deref() {
        Some(now) if now == entry.before => {}
        None => outcome.say(format!("{label:<44} left: it is not there any more")),
        Some(now) if now != entry.after => {
            let now = target.describe(now);
            outcome.say(format!("{label:<44} left at {now}: changed since by someone else"));
        }
        Some(now) => {
            let result = if dry_run { Ok(()) } else { target.restore(host, &entry.before) };
            if let Err(error) = result {
                outcome.failures += 1;
                outcome.say(format!("{label:<44} not restored: {error}"));
                return Some(entry.clone());
            }
            outcome.changes += 1;
            outcome.say(line(target, now, &entry.before));
        }
    }
    None
}

#[cfg(test)]
mod tests;
