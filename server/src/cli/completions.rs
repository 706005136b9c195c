//! Shell completions, generated from the tables of verbs and options: first verbs, then the verb's
//! options, files and directories as option values, and fixed choices.

use super::options::{self, Opt};
use super::{VERBS, Verb, VerbRow};
use std::fmt::Write;

/// The completions for `shell`: `bash`, `zsh` or `fish`; bash for anything else.
pub(crate) fn of(shell: &str) -> String {
    match shell {
        "zsh" => zsh(),
        "fish" => fish(),
        _ => bash(),
    }
}

/// What a shell offers after an option.
enum Values {
    Words(String),
    Files,
    Directories,
    Nothing,
}

fn values(option: &Opt) -> Values {
    match option.value {
        _ if !option.choices.is_empty() => Values::Words(option.choices.join(" ")),
        Some("FILE" | "PEM") => Values::Files,
        Some("DIR") => Values::Directories,
        _ => Values::Nothing,
    }
}

/// The options as they are typed: `-c --config --http`.
fn typed(row: &VerbRow) -> String {
    let mut names = Vec::new();
    for option in options::of(row.verb) {
        names.extend(option.short.map(|letter| format!("-{letter}")));
        names.push(format!("--{}", option.long));
    }
    names.join(" ")
}

/// The verbs with the default one last: its pattern matches every first word.
fn default_last() -> impl Iterator<Item = &'static VerbRow> {
    let is_default = |row: &&VerbRow| row.verb == Verb::Serve;
    VERBS.iter().filter(move |row| !is_default(row)).chain(VERBS.iter().filter(is_default))
}

fn bash() -> String {
    let verbs: Vec<_> = VERBS.iter().map(|row| row.name).collect();
    let mut out = String::from(
        "# bash completion of ringway; put it into /usr/share/bash-completion/completions/ringway\n\
         _ringway() {\n    local word=\"${COMP_WORDS[COMP_CWORD]}\"\n    \
         local before=\"${COMP_WORDS[COMP_CWORD-1]}\"\n    \
         local verb=\"${COMP_WORDS[1]}\"\n    COMPREPLY=()\n",
    );
    let _ =
        writeln!(out, "    if [ \"$COMP_CWORD\" = 1 ] && [ \"${{word#-}}\" = \"$word\" ]; then");
    let _ =
        writeln!(out, "        COMPREPLY=($(compgen -W '{}' -d -- \"$word\"))", verbs.join(" "));
    out.push_str("        return\n    fi\n    case \"$before\" in\n");
    let mut seen = Vec::new();
    for option in VERBS.iter().flat_map(|row| options::of(row.verb)) {
        if option.value.is_none() || seen.contains(&option.long) {
            continue;
        }
        let name = match option.short {
            Some(letter) => format!("-{letter}|--{}", option.long),
            None => format!("--{}", option.long),
        };
        let reply = match values(&option) {
            Values::Words(words) => format!("COMPREPLY=($(compgen -W '{words}' -- \"$word\"))"),
            Values::Files => "COMPREPLY=($(compgen -f -- \"$word\"))".into(),
            Values::Directories => "COMPREPLY=($(compgen -d -- \"$word\"))".into(),
            Values::Nothing => ":".into(),
        };
        let _ = writeln!(out, "        {name}) {reply}; return;;");
        seen.push(option.long);
    }
    out.push_str("    esac\n    case \"$verb\" in\n");
    for row in default_last() {
        let pattern = if row.verb == Verb::Serve { "*" } else { row.name };
        let directories = match row.operand {
            operand if operand.contains("DIR") => "-d ",
            operand if operand.contains("FILE") => "-f ",
            _ => "",
        };
        let words = format!("{} {}", typed(row), row.choices.join(" "));
        let words = words.trim();
        let reply = format!("COMPREPLY=($(compgen -W '{words}' {directories}-- \"$word\"))");
        let _ = writeln!(out, "        {pattern}) {reply};;");
    }
    out.push_str("    esac\n}\ncomplete -o filenames -F _ringway ringway\n");
    out
}

fn zsh() -> String {
    let mut out = String::from(
        "#compdef ringway\n# zsh completion of ringway; put it into $fpath as _ringway\n\
         _ringway() {\n    local -a verbs\n    verbs=(\n",
    );
    for row in VERBS {
        let _ = writeln!(out, "        '{}:{}'", row.name, zsh_quote(row.doc));
    }
    out.push_str(
        "    )\n    if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then\n        \
         _describe command verbs\n        _directories\n        return\n    fi\n    \
         case $words[2] in\n",
    );
    for row in default_last() {
        let name = if row.verb == Verb::Serve { "*" } else { row.name };
        let _ = writeln!(out, "        {name})\n            _arguments \\");
        for option in options::of(row.verb) {
            let _ = writeln!(out, "                {} \\", zsh_option(&option));
        }
        let operand = match (row.choices, row.operand) {
            ([], operand) if operand.contains("DIR") => "'*:directory:_directories'".to_owned(),
            ([], _) => "'*:: :'".to_owned(),
            (choices, operand) if operand.contains("FILE") => {
                format!("'1:operand:({})' '*:file:_files'", choices.join(" "))
            }
            (choices, _) => format!("'*:operand:({})'", choices.join(" ")),
        };
        let _ = writeln!(out, "                {operand}\n            ;;");
    }
    out.push_str("    esac\n}\ncompdef _ringway ringway\n");
    out
}

fn zsh_option(option: &Opt) -> String {
    let doc = zsh_quote(option.doc);
    let many = if option.repeats { "*" } else { "" };
    let value = match (option.value, values(option)) {
        (None, _) => String::new(),
        (Some(word), Values::Words(words)) => format!(":{word}:({words})"),
        (Some(word), Values::Files) => format!(":{word}:_files"),
        (Some(word), Values::Directories) => format!(":{word}:_directories"),
        (Some(word), Values::Nothing) => format!(":{word}: "),
    };
    let long = format!("'{many}--{}[{doc}]{value}'", option.long);
    match option.short {
        Some(letter) => format!("{long} '-{letter}[{doc}]{value}'"),
        None => long,
    }
}

/// Text inside single quotes and square brackets of an `_arguments` specification.
fn zsh_quote(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]")
}

fn fish() -> String {
    let mut out = String::from(
        "# fish completion of ringway; put it into ~/.config/fish/completions/ringway.fish\n\
         complete -c ringway -f\n",
    );
    let verbs: Vec<_> = VERBS.iter().map(|row| row.name).collect();
    let none = format!("not __fish_seen_subcommand_from {}", verbs.join(" "));
    for row in VERBS {
        let doc = fish_quote(row.doc);
        let _ = writeln!(out, "complete -c ringway -n '{none}' -a {} -d {doc}", row.name);
    }
    let _ = writeln!(out, "complete -c ringway -n '{none}' -a '(__fish_complete_directories)'");
    for row in VERBS {
        let seen = format!("__fish_seen_subcommand_from {}", row.name);
        for choice in row.choices {
            let _ = writeln!(out, "complete -c ringway -n '{seen}' -a {choice}");
        }
        if row.choices.is_empty() && row.operand.contains("DIR") {
            let _ =
                writeln!(out, "complete -c ringway -n '{seen}' -a '(__fish_complete_directories)'");
        }
        for option in options::of(row.verb) {
            let short = option.short.map(|letter| format!(" -s {letter}")).unwrap_or_default();
            let value = match (option.value, values(&option)) {
                (None, _) => String::new(),
                (Some(_), Values::Words(words)) => format!(" -x -a '{words}'"),
                (Some(_), Values::Files) => " -r -F".into(),
                (Some(_), Values::Directories) => " -x -a '(__fish_complete_directories)'".into(),
                (Some(_), Values::Nothing) => " -x".into(),
            };
            let doc = fish_quote(option.doc);
            let long = option.long;
            let _ =
                writeln!(out, "complete -c ringway -n '{seen}'{short} -l {long}{value} -d {doc}");
        }
    }
    out
}

fn fish_quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_offered_in_every_shell() {
        for (shell, prefix) in [("bash", "--"), ("zsh", "--"), ("fish", "-l ")] {
            let text = of(shell);
            for option in VERBS.iter().flat_map(|row| options::of(row.verb)) {
                let name = format!("{prefix}{}", option.long);
                assert!(text.contains(&name), "{shell} lacks {name}");
            }
        }
    }
}
