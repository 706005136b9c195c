//! Help and manual page, generated from the tables of verbs, options and settings.

use super::options::{self, Opt};
use super::{VERBS, Verb};
use ringway::config::{Config, SETTINGS, Setting};
use std::fmt::Write;

const EXITS: &[(&str, &str)] = &[
    ("0", "fine"),
    ("1", "could not start, or what was checked is wrong; do not restart"),
    ("2", "the command line is wrong"),
];

const SIGNALS: &[(&str, &str)] = &[
    ("TERM, INT", "stop accepting, finish what is in flight, exit; a second one: now"),
    ("HUP", "take a changed configuration into use, all of it or nothing"),
    ("USR1", "open the access log's file again"),
    ("USR2", "start a new process on the same sockets, and end when the connections here have"),
    ("QUIT", "print what every worker is doing, and go on"),
];

const EXAMPLES: &[(&str, &str)] = &[
    ("ringway site", "serve a directory on 127.0.0.1:8080 and, with TLS, on 127.0.0.1:8443"),
    ("ringway serve site --https :443 --cert chain.pem --key key.pem", "serve it to the world"),
    ("ringway check -c ringway.toml --print", "what a file says, and where each value is from"),
];

/// The help of one verb.
pub(crate) fn of(verb: Verb) -> String {
    if verb == Verb::Help {
        return overview();
    }
    let row = verb.row();
    let mut out = format!("{}\n\nUsage: {}\n\nOptions:\n", sentence(row.doc), usage(verb));
    for option in options::of(verb) {
        let text = match option.choices.as_slice() {
            [] => option.doc.to_owned(),
            choices => format!("{} ({})", option.doc, choices.join(", ")),
        };
        entry(&mut out, &left(&option), &text);
    }
    if matches!(verb, Verb::Serve | Verb::Check) {
        out.push_str(
            "\nEvery option can also be given as a variable (RINGWAY_HTTP) or in the file; the\n\
             command line wins over the environment, that over the file. `ringway man` lists\n\
             every key.\n",
        );
    }
    out
}

/// The help of the whole command.
pub(crate) fn overview() -> String {
    let mut out = String::from(
        "ringway serves HTTP/1.1, HTTP/2 and HTTP/3 on io_uring.\n\n\
         Usage: ringway [DIR] | ringway COMMAND [OPTIONS]\n\nCommands:\n",
    );
    for row in VERBS {
        entry(&mut out, &format!("{} {}", row.name, row.operand), row.doc);
    }
    out.push_str("\n`ringway COMMAND --help` lists the options of a command.\n\nExamples:\n");
    for (line, meaning) in EXAMPLES {
        let _ = write!(out, "  {line}\n      {meaning}\n");
    }
    out.push_str("\nExit codes:\n");
    for (code, meaning) in EXITS {
        entry(&mut out, code, meaning);
    }
    out
}

/// The manual page, in roff's man macros.
pub(crate) fn man() -> String {
    let mut out = format!(
        ".TH RINGWAY 1 \"\" \"ringway {}\" \"User Commands\"\n.SH NAME\nringway \\- io_uring HTTP \
         server for HTTP/1.1, HTTP/2 and HTTP/3\n.SH SYNOPSIS\n",
        env!("CARGO_PKG_VERSION")
    );
    let _ = writeln!(out, ".B ringway\n.RI [ DIR ]");
    for row in VERBS {
        let _ = writeln!(out, ".br\n.B {}", roff(&usage(row.verb)));
    }
    out.push_str(".SH COMMANDS\n");
    for row in VERBS {
        man_entry(&mut out, &format!("{} {}", row.name, row.operand), &sentence(row.doc));
        for option in options::of(row.verb).iter().filter(|option| !is_setting(option)) {
            man_nested(&mut out, left(option).trim(), option.doc);
        }
    }
    out.push_str(".SH OPTIONS\nThese options of serve and check stand for keys of the file.\n");
    for option in options::of(Verb::Serve).iter().filter(|option| is_setting(option)) {
        man_entry(&mut out, left(option).trim(), &sentence(option.doc));
    }
    out.push_str(
        ".SH CONFIGURATION\nA TOML file. Durations are strings such as \"10s\", sizes such as \
         \"64KiB\", addresses such as \":8080\" (every address, IPv6 and IPv4), \"[::]:443\" (IPv6 \
         only), \"unix:/path\" or \"fd:3\". \
         Relative paths start from the directory of the file. The command line wins \
         over the environment, \
         that over the file, that over the default.\n",
    );
    let default = Config::default();
    let mut block = "";
    for setting in SETTINGS.iter() {
        if setting.block() != block {
            block = setting.block();
            let _ = writeln!(out, ".SS [{}]", roff(block));
        }
        man_entry(&mut out, setting.name(), &man_setting(setting, &default));
    }
    for (title, rows) in [("SIGNALS", SIGNALS), ("EXIT STATUS", EXITS), ("EXAMPLES", EXAMPLES)] {
        let _ = writeln!(out, ".SH {title}");
        for (name, meaning) in rows {
            man_entry(&mut out, name, &sentence(meaning));
        }
    }
    out
}

fn man_setting(setting: &Setting, default: &Config) -> String {
    let mut text = sentence(setting.doc);
    let value = setting.show(default);
    if !value.is_empty() && value != "[]" {
        let _ = write!(text, " Default {value}.");
    }
    if !setting.choices().is_empty() {
        let _ = write!(text, " One of {}.", setting.choices().join(", "));
    }
    let _ = write!(text, " Variable {}.", setting.variable());
    text
}

fn is_setting(option: &Opt) -> bool {
    SETTINGS.iter().any(|setting| setting.flag.is_some_and(|flag| flag.name == option.long))
}

fn usage(verb: Verb) -> String {
    let row = verb.row();
    let mut operand = match row.choices {
        [] => row.operand.to_owned(),
        choices => choices.join("|"),
    };
    if let (false, Some((_, second))) = (row.choices.is_empty(), row.operand.split_once(' ')) {
        operand = format!("{operand} {second}");
    }
    let mut out = format!("ringway {}", row.name);
    if !operand.is_empty() {
        let _ = write!(out, " {operand}");
    }
    if options::of(verb).len() > 1 {
        out.push_str(" [OPTIONS]");
    }
    out
}

fn left(option: &Opt) -> String {
    let short = option.short.map_or("    ".to_owned(), |letter| format!("-{letter}, "));
    let value = option.value.map(|value| format!(" {value}")).unwrap_or_default();
    let more = if option.repeats { " …" } else { "" };
    format!("{short}--{}{value}{more}", option.long)
}

/// One line of a two-column list; a left side that is too wide gets a line of its own.
fn entry(out: &mut String, left: &str, text: &str) {
    const WIDTH: usize = 25;
    let _ = match left.chars().count() {
        width if width < WIDTH => writeln!(out, "  {left:<WIDTH$} {text}"),
        _ => writeln!(out, "  {left}\n  {:WIDTH$} {text}", ""),
    };
}

fn man_entry(out: &mut String, name: &str, text: &str) {
    let _ = write!(out, ".TP\n.B {}\n{}\n", roff(name), roff(text));
}

fn man_nested(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, ".RS\n.TP\n.B {}\n{}\n.RE", roff(name), roff(&sentence(text)));
}

/// A doc line as a sentence: a capital and a full stop.
fn sentence(doc: &str) -> String {
    let mut letters = doc.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => String::new(),
    }
}

/// Escapes text for roff.
fn roff(text: &str) -> String {
    let text = text.trim_end().replace('\\', "\\e").replace('-', "\\-").replace('…', "...");
    // A line that starts with a dot or an apostrophe would be a request.
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_option_and_fits_a_terminal() {
        for row in VERBS {
            let text = of(row.verb);
            for option in options::of(row.verb) {
                let named = text.contains(&format!("--{}", option.long));
                assert!(named || row.verb == Verb::Help, "{} --{}", row.name, option.long);
            }
            assert!(text.lines().all(|line| line.chars().count() <= 100), "{}", row.name);
        }
    }

    #[test]
    fn the_manual_names_every_verb_option_and_key() {
        let manual = man();
        for setting in SETTINGS.iter() {
            assert!(
                manual.contains(&format!("\n.B {}\n", roff(setting.name()))),
                "{}",
                setting.key
            );
        }
        for row in VERBS {
            for option in options::of(row.verb) {
                assert!(manual.contains(&roff(&format!("--{}", option.long))), "{}", option.long);
            }
        }
        assert!(manual.lines().all(|line| !line.starts_with('\'')));
    }
}
