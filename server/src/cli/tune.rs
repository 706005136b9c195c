//! `ringway tune`: the command-line interface of `ringway_tuning::tune`.

use super::options::{Parsed, VerbOption};
use super::{Exit, complain, print};
use ringway::config::nearest;
use ringway_tuning::tune::{Action, Group, Irqs, Options, Outcome};
use ringway_tuning::{Host, Profile, tune};
use std::fmt::Write;
use std::path::PathBuf;

const fn row(
    name: &'static str,
    value: Option<&'static str>,
    choices: &'static [&'static str],
    doc: &'static str,
) -> VerbOption {
    VerbOption { name, value, choices, doc }
}

/// The options of `tune`, in the order of the help.
pub(crate) const OPTIONS: &[VerbOption] = &[
    row("dry-run", None, &[], "say what would be done and do nothing"),
    row("profile", Some("NAME"), &["throughput", "latency", "bench"], "what to tune for"),
    row(
        "only",
        Some("GROUPS"),
        &["sysctl", "route", "governor", "qdisc", "irq"],
        "touch only these groups",
    ),
    row("initcwnd", Some("N"), &[], "segments of the first flight on every route; 32 if not given"),
    row("initrwnd", Some("N"), &[], "segments of the first window offered; 32 if not given"),
    row(
        "irqs",
        Some("WHERE"),
        &["leave", "onto", "away"],
        "interrupts: onto the workers' CPUs or away",
    ),
    row("cpus", Some("LIST"), &[], "the workers' CPUs, such as 0-3; all if not given"),
    row("journal", Some("FILE"), &[], "where the old values are kept"),
    row("anyway", None, &[], "tune the own network of a container too"),
];

pub(crate) fn run(parsed: &Parsed) -> Exit {
    let action = match parsed.operand() {
        Some("apply") => Action::Apply,
        Some("restore") => Action::Restore,
        _ => Action::Check,
    };
    let options = match options(parsed) {
        Ok(options) => options,
        Err(message) => {
            complain(&message);
            return Exit::Usage;
        }
    };
    match tune::run(&Host::live(), action, &options) {
        Ok(outcome) => report(action, &options, &outcome),
        Err(refusal) => {
            complain(&refusal);
            Exit::Failed
        }
    }
}

fn report(action: Action, options: &Options, outcome: &Outcome) -> Exit {
    let mut text = outcome.lines.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    let changes = outcome.changes;
    let settings = if changes == 1 { "setting" } else { "settings" };
    let dry = options.dry_run;
    let _ = match action {
        Action::Restore if dry => writeln!(text, "{changes} {settings} would be restored"),
        Action::Restore => writeln!(text, "{changes} {settings} restored"),
        _ if changes == 0 => writeln!(text, "nothing to change"),
        Action::Apply if !dry => {
            writeln!(text, "{changes} {settings} changed; `ringway tune restore` puts them back")
        }
        _ => writeln!(text, "{changes} {settings} would change"),
    };
    let printed = print(&text);
    // The exit code of `check` tells scripts whether the machine is tuned.
    let untuned = action == Action::Check && changes > 0;
    if outcome.failures > 0 || untuned { Exit::Failed } else { printed }
}

fn options(parsed: &Parsed) -> Result<Options, String> {
    let mut options = Options::default();
    for (name, value) in &parsed.own {
        let wrong = |choices: &[&str]| {
            let hint = nearest(value, choices.iter().copied());
            let hint = hint.map(|near| format!("; did you mean {near}")).unwrap_or_default();
            format!("--{name}: expected one of {}, found `{value}`{hint}", choices.join(", "))
        };
        let choices =
            OPTIONS.iter().find(|row| row.name == *name).map_or(&[][..], |row| row.choices);
        match *name {
            "dry-run" => options.dry_run = true,
            "anyway" => options.anyway = true,
            "journal" => options.journal = Some(PathBuf::from(value)),
            "profile" => options.profile = Profile::named(value).ok_or_else(|| wrong(choices))?,
            "irqs" => options.irqs = Irqs::named(value).ok_or_else(|| wrong(choices))?,
            "only" => {
                let groups = value.split(',').map(Group::named).collect::<Option<_>>();
                options.groups = groups.ok_or_else(|| wrong(choices))?;
            }
            "initcwnd" => options.initcwnd = segments(name, value)?,
            "initrwnd" => options.initrwnd = segments(name, value)?,
            _ => options.cpus = Some(cpus(name, value)?),
        }
    }
    Ok(options)
}

/// The kernel accepts any number. Beyond some hundred segments a first flight is a burst that no
/// path carries.
fn segments(name: &str, value: &str) -> Result<u32, String> {
    match value.parse() {
        Ok(segments @ 1..=1000) => Ok(segments),
        _ => Err(format!("--{name}: expected a number of segments, 1 to 1000, found `{value}`")),
    }
}

fn cpus(name: &str, value: &str) -> Result<Vec<usize>, String> {
    let list =
        value.parse::<ringway::config::Cpus>().map_err(|wrong| format!("--{name}: {wrong}"))?;
    Ok(list.0)
}
