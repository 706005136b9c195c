//! The table of options and its parser. Help, manual and completions are generated from the same
//! table. Options that are settings come from `ringway::config::SETTINGS`.

use super::{VERBS, Verb};
use ringway::config::{GivenOption, SETTINGS, Setting, Sources, Takes, nearest};
use std::ffi::OsString;
use std::path::PathBuf;

/// One option of one verb.
pub(crate) struct Opt {
    /// The name after two dashes.
    pub(crate) long: &'static str,
    /// The letter after one dash.
    pub(crate) short: Option<char>,
    /// Placeholder of its value, if it takes one.
    pub(crate) value: Option<&'static str>,
    /// The possible values, if there are only a few.
    pub(crate) choices: Vec<&'static str>,
    /// True if it may be repeated, each time adding a value.
    pub(crate) repeats: bool,
    pub(crate) doc: &'static str,
    effect: Effect,
}

/// An option that only its verb reads.
pub(crate) struct VerbOption {
    pub(crate) name: &'static str,
    pub(crate) value: Option<&'static str>,
    pub(crate) choices: &'static [&'static str],
    pub(crate) doc: &'static str,
}

#[derive(Clone, Copy)]
enum Effect {
    Setting(&'static Setting),
    Config,
    Set,
    Print,
    Json,
    Own(&'static str),
    Ready,
    Verbose,
    Help,
}

/// A parsed command line.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// The verb.
    pub(crate) verb: Verb,
    /// True if `--help` was given anywhere.
    pub(crate) help: bool,
    pub(crate) config: Option<PathBuf>,
    pub(crate) given: Vec<GivenOption>,
    pub(crate) print: bool,
    pub(crate) json: bool,
    /// The options that only the verb reads, by name; a switch has an empty value.
    pub(crate) own: Vec<(&'static str, String)>,
    pub(crate) ready: bool,
    pub(crate) verbose: bool,
    operand: Option<String>,
    /// What follows it, where a verb takes two.
    second: Option<String>,
}

/// An invalid command line: the error, with a suggestion.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Usage(pub(crate) String);

impl Parsed {
    pub(crate) fn operand(&self) -> Option<&str> {
        self.operand.as_deref()
    }

    pub(crate) fn second_operand(&self) -> Option<&str> {
        self.second.as_deref()
    }

    /// The configuration layers that this command line selects, with the process's environment.
    pub(crate) fn sources(&self) -> Sources {
        let named = std::env::var_os("RINGWAY_CONFIG").filter(|path| !path.is_empty());
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with("RINGWAY_"))
            .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
            .collect();
        Sources {
            reload: false,
            file: self.config.clone().or_else(|| named.map(PathBuf::from)),
            environment,
            command_line: self.given.clone(),
        }
    }
}

fn own(long: &'static str, effect: Effect, doc: &'static str) -> Opt {
    Opt { long, short: None, value: None, choices: Vec::new(), repeats: false, doc, effect }
}

/// The options of `verb`, in the order of the help.
pub(crate) fn of(verb: Verb) -> Vec<Opt> {
    let mut all = Vec::new();
    if matches!(verb, Verb::Serve | Verb::Check | Verb::Doctor | Verb::Health) {
        let config = own("config", Effect::Config, "read this configuration file");
        all.push(Opt { short: Some('c'), value: Some("FILE"), ..config });
    }
    match verb {
        Verb::Check => all.push(own(
            "print",
            Effect::Print,
            "print the whole configuration with where each value comes from",
        )),
        Verb::Doctor => {
            all.push(own("json", Effect::Json, "print one JSON object for programs to read"));
        }
        Verb::Health => {
            all.push(own("ready", Effect::Ready, "ask whether it wants requests, instead"));
        }
        Verb::Tune => all.extend(super::tune::OPTIONS.iter().map(of_verb)),
        Verb::Precompress => all.extend(super::precompress::OPTIONS.iter().map(of_verb)),
        Verb::Version => all.push(Opt {
            short: Some('v'),
            ..own("verbose", Effect::Verbose, "say what it was built with and runs on")
        }),
        Verb::Serve
        | Verb::Import
        | Verb::HashPassword
        | Verb::Completions
        | Verb::Man
        | Verb::Help => {}
    }
    if matches!(verb, Verb::Serve | Verb::Check) {
        all.extend(SETTINGS.iter().filter_map(setting));
        let set = own("set", Effect::Set, "set any key of the configuration");
        all.push(Opt { value: Some("KEY=VALUE"), repeats: true, ..set });
    }
    if verb == Verb::Doctor {
        let certificate = |of: &&Setting| matches!(of.key, "tls.cert" | "tls.key");
        all.extend(SETTINGS.iter().filter(certificate).filter_map(setting));
    }
    all.push(Opt { short: Some('h'), ..own("help", Effect::Help, "print this help") });
    all
}

fn of_verb(row: &VerbOption) -> Opt {
    let option = own(row.name, Effect::Own(row.name), row.doc);
    Opt { value: row.value, choices: row.choices.to_vec(), ..option }
}

fn setting(setting: &'static Setting) -> Option<Opt> {
    let flag = setting.flag?;
    let option = own(flag.name, Effect::Setting(setting), setting.doc);
    Some(match flag.takes {
        Takes::Value(word) => {
            Opt { value: Some(word), choices: setting.choices(), repeats: setting.list, ..option }
        }
        Takes::Means(_) if !flag.doc.is_empty() => Opt { doc: flag.doc, ..option },
        Takes::Means(_) => option,
    })
}

/// Parses the arguments after the program's name.
///
/// # Errors
/// An unknown verb or option, a missing or unexpected value, or too many operands, each with a
/// suggestion.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, Usage> {
    let mut words = Vec::new();
    for argument in arguments {
        words.push(
            argument.into_string().map_err(|argument| {
                Usage(format!("`{}` is not UTF-8", argument.to_string_lossy()))
            })?,
        );
    }
    let mut words = words.into_iter().peekable();
    let mut parsed = Parsed::default();
    let mut named = false;
    if let Some(first) = words.peek() {
        let verb = match first.as_str() {
            "--version" | "-V" => Some(Verb::Version),
            name => Verb::named(name),
        };
        if let Some(verb) = verb {
            (parsed.verb, named) = (verb, true);
            words.next();
        }
    }
    let table = of(parsed.verb);
    let mut only_operands = false;
    while let Some(word) = words.next() {
        if only_operands || word == "-" || !word.starts_with('-') {
            operand(&mut parsed, word, named)?;
        } else if word == "--" {
            only_operands = true;
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            let Some(option) = table.iter().find(|option| option.long == name) else {
                return Err(unknown_option(name, parsed.verb, &table));
            };
            let value = value_of(option, &format!("--{name}"), value, &mut words)?;
            apply(&mut parsed, option, &format!("--{name}"), value)?;
        } else {
            shorts(&mut parsed, &word, &table, &mut words)?;
        }
    }
    if !parsed.help {
        complete(&parsed)?;
    }
    if !named && parsed.help {
        parsed.verb = Verb::Help;
    }
    Ok(parsed)
}

type Words = std::iter::Peekable<std::vec::IntoIter<String>>;

/// Parses `-c FILE`, `-cFILE`, and combined letters without values.
fn shorts(parsed: &mut Parsed, word: &str, table: &[Opt], words: &mut Words) -> Result<(), Usage> {
    let letters = &word[1..];
    for (at, letter) in letters.char_indices() {
        let name = format!("-{letter}");
        let Some(option) = table.iter().find(|option| option.short == Some(letter)) else {
            // `-http` is a long option with one dash missing.
            if let Some(option) = table.iter().find(|option| option.long == letters) {
                return Err(Usage(format!(
                    "unknown option `{word}`; did you mean `--{}`",
                    option.long
                )));
            }
            return Err(Usage(format!("unknown option `{name}`{}", within(parsed.verb))));
        };
        let rest = &letters[at + letter.len_utf8()..];
        if option.value.is_some() {
            let attached = (!rest.is_empty()).then(|| rest.to_owned());
            let value = value_of(option, &name, attached, words)?;
            return apply(parsed, option, &name, value);
        }
        apply(parsed, option, &name, None)?;
    }
    Ok(())
}

fn value_of(
    option: &Opt,
    typed: &str,
    attached: Option<String>,
    words: &mut Words,
) -> Result<Option<String>, Usage> {
    match (option.value, attached) {
        (None, None) => Ok(None),
        (None, Some(value)) => Err(Usage(format!("`{typed}` takes no value, found `{value}`"))),
        (Some(_), Some(value)) => Ok(Some(value)),
        (Some(word), None) => match words.next() {
            Some(value) if !value.starts_with("--") => Ok(Some(value)),
            _ => Err(Usage(format!("`{typed}` wants a value: {typed} {word}"))),
        },
    }
}

fn apply(
    parsed: &mut Parsed,
    option: &Opt,
    typed: &str,
    value: Option<String>,
) -> Result<(), Usage> {
    let text = value.unwrap_or_default();
    match option.effect {
        Effect::Setting(setting) => {
            let value = match setting.flag.map(|flag| flag.takes) {
                Some(Takes::Means(value)) => value.to_owned(),
                _ => text,
            };
            let key = setting.key.to_owned();
            parsed.given.push(GivenOption { key, value, option: typed.to_owned() });
        }
        Effect::Set => {
            let Some((key, value)) = text.split_once('=') else {
                return Err(Usage(format!("`{typed} {text}` lacks its value: {typed} KEY=VALUE")));
            };
            let option = format!("{typed} {key}");
            parsed.given.push(GivenOption { key: key.into(), value: value.into(), option });
        }
        Effect::Config => parsed.config = Some(PathBuf::from(text)),
        Effect::Print => parsed.print = true,
        Effect::Own(name) => parsed.own.push((name, text)),
        Effect::Json => parsed.json = true,
        Effect::Ready => parsed.ready = true,
        Effect::Verbose => parsed.verbose = true,
        Effect::Help => parsed.help = true,
    }
    Ok(())
}

fn operand(parsed: &mut Parsed, word: String, named: bool) -> Result<(), Usage> {
    let row = parsed.verb.row();
    if row.operand.is_empty() {
        return Err(Usage(format!("`ringway {}` takes no operand, found `{word}`", row.name)));
    }
    if parsed.operand.is_some() && parsed.second.is_none() && row.operand.contains(' ') {
        parsed.second = Some(word);
        return Ok(());
    }
    if let Some(first) = &parsed.operand {
        return Err(Usage(format!("one operand too many: `{first}` and `{word}`")));
    }
    if !row.choices.is_empty() && !row.choices.contains(&word.as_str()) {
        let hint = nearest(&word, row.choices.iter().copied());
        let hint = hint.map(|near| format!("; did you mean `{near}`")).unwrap_or_default();
        let choices = row.choices.join(", ");
        return Err(Usage(format!("expected one of {choices}, found `{word}`{hint}")));
    }
    if !named && Verb::named(&word).is_some() {
        return Err(Usage(format!("the command comes first: `ringway {word} …`")));
    }
    if !named && !std::path::Path::new(&word).exists() {
        return Err(Usage(unknown_verb(&word)));
    }
    if parsed.verb == Verb::Serve {
        let value = word.clone();
        parsed.given.push(GivenOption { key: "files.root".into(), value, option: word.clone() });
    }
    parsed.operand = Some(word);
    Ok(())
}

/// Checks for missing words after parsing.
fn complete(parsed: &Parsed) -> Result<(), Usage> {
    let row = parsed.verb.row();
    let wants = !row.operand.is_empty() && !row.operand.starts_with('[');
    if wants && parsed.operand.is_none() {
        let wanted = match row.choices {
            [] => row.operand.to_owned(),
            choices => format!("one of {}", choices.join("|")),
        };
        return Err(Usage(format!("`ringway {}` wants {wanted}", row.name)));
    }
    Ok(())
}

/// The error for a first word that is neither a verb nor something to serve.
pub(crate) fn unknown_verb(word: &str) -> String {
    let message = format!("`{word}` is neither a command nor a directory");
    match nearest(word, VERBS.iter().map(|row| row.name)) {
        Some(near) => format!("{message}; did you mean `ringway {near}`"),
        None => message,
    }
}

fn unknown_option(name: &str, verb: Verb, table: &[Opt]) -> Usage {
    let message = format!("unknown option `--{name}`{}", within(verb));
    if let Some(near) = nearest(name, table.iter().map(|option| option.long)) {
        return Usage(format!("{message}; did you mean `--{near}`"));
    }
    // It may be an option of another verb, or a key without an option of its own.
    let elsewhere = VERBS.iter().find(|row| of(row.verb).iter().any(|option| option.long == name));
    let key = name.replace('-', "_");
    let key = SETTINGS.iter().find(|s| s.name() == key || s.key == key);
    match (elsewhere, key) {
        (Some(row), _) => Usage(format!("{message}; it belongs to `ringway {}`", row.name)),
        (None, Some(setting)) => {
            Usage(format!("{message}; did you mean `--set {}=VALUE`", setting.key))
        }
        (None, None) => Usage(message),
    }
}

fn within(verb: Verb) -> String {
    format!(" of `ringway {}`", verb.row().name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Parsed, Usage> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn usage(line: &str) -> String {
        parse_line(line).unwrap_err().0
    }

    fn keys(line: &str) -> Vec<(String, String)> {
        let given = parse_line(line).unwrap().given;
        given.into_iter().map(|given| (given.key, given.value)).collect()
    }

    #[test]
    fn a_directory_alone_is_served() {
        let parsed = parse_line("/").unwrap();
        assert_eq!(parsed.verb, Verb::Serve);
        assert_eq!(keys("/"), [("files.root".into(), "/".into())]);
        assert_eq!(parse_line("").unwrap().verb, Verb::Serve);
    }

    #[test]
    fn values_attached_and_apart() {
        let wanted = [("http".into(), ":1".into()), ("http".into(), ":2".into())];
        assert_eq!(keys("serve --http :1 --http=:2"), wanted);
        assert_eq!(keys("--http :1 --http=:2"), wanted, "serve may be left out");
        let parsed = parse_line("check -cfile").unwrap();
        assert_eq!(parsed.config, Some(PathBuf::from("file")));
        assert!(parse_line("check --print -c file").unwrap().print);
    }

    #[test]
    fn options_without_values() {
        assert_eq!(keys("serve --no-h3"), [("http3.enabled".into(), "false".into())]);
        assert_eq!(keys("serve --browse"), [("files.browse".into(), "true".into())]);
        assert_eq!(usage("serve --browse=1"), "`--browse` takes no value, found `1`");
    }

    #[test]
    fn any_key_can_be_set() {
        let set = keys("serve --set limits.body_bytes=2MiB");
        assert_eq!(set, [("limits.body_bytes".into(), "2MiB".into())]);
        assert!(usage("serve --set limits.body_bytes").contains("KEY=VALUE"));
    }

    #[test]
    fn after_two_dashes_everything_is_an_operand() {
        let parsed = parse_line("serve -- -dir").unwrap();
        assert_eq!(parsed.operand(), Some("-dir"));
    }

    #[test]
    fn mistakes_say_what_was_meant() {
        for (line, wanted) in [
            (
                "serve --htpp :1",
                "unknown option `--htpp` of `ringway serve`; did you mean `--http`",
            ),
            ("chekc", "`chekc` is neither a command nor a directory; did you mean `ringway check`"),
            ("serve --http", "`--http` wants a value: --http ADDR"),
            ("serve --http --https", "`--http` wants a value: --http ADDR"),
            ("serve -x", "unknown option `-x` of `ringway serve`"),
            ("serve -http", "unknown option `-http`; did you mean `--http`"),
            (
                "serve --print",
                "unknown option `--print` of `ringway serve`; it belongs to `ringway check`",
            ),
            ("serve a b", "one operand too many: `a` and `b`"),
            ("version x", "`ringway version` takes no operand, found `x`"),
            ("completions", "`ringway completions` wants one of bash|zsh|fish"),
            ("precompress", "`ringway precompress` wants DIR"),
            (
                "completions bsah",
                "expected one of bash, zsh, fish, found `bsah`; did you mean `bash`",
            ),
            ("--workers 1 serve", "the command comes first: `ringway serve …`"),
            (
                "serve --body-bytes 1",
                "unknown option `--body-bytes` of `ringway serve`; did you mean \
                 `--set limits.body_bytes=VALUE`",
            ),
        ] {
            assert_eq!(usage(line), wanted);
        }
    }

    #[test]
    fn help_wins_over_what_is_missing() {
        assert!(parse_line("completions --help").unwrap().help);
        assert_eq!(parse_line("--help").unwrap().verb, Verb::Help);
        assert_eq!(parse_line("--version").unwrap().verb, Verb::Version);
    }

    #[test]
    fn options_of_a_verb_are_unique() {
        for row in VERBS {
            let mut names: Vec<_> = of(row.verb).iter().map(|option| option.long).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{}", row.name);
        }
    }
}
