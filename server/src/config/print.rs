//! `ringway check --print`: the whole configuration as it will be used, each value with where it
//! came from, in a form that is itself a valid file; and the same table as documentation.

use super::load::Loaded;
use super::settings::{SETTINGS, Setting, show_amount};
use super::value::show_bytes;
use super::{Config, Unit};
use std::fmt::Write;

/// Every setting with its value and its origin, as a TOML file. Loading it gives the same
/// configuration.
pub fn print(loaded: &Loaded) -> String {
    let mut out = String::new();
    let mut block = "";
    for setting in SETTINGS.iter() {
        if setting.block() != block {
            block = setting.block();
            let _ = write!(out, "\n[{block}]\n");
        }
        let value = setting.show(&loaded.config);
        let origin = loaded.origin(setting.key);
        let line = match value.as_str() {
            "" => format!("# {} is not set", setting.name()),
            value => format!("{} = {value}", setting.name()),
        };
        let range = setting.bound().map(|row| {
            format!(", {} to {}", show_amount(row.unit, row.min), show_amount(row.unit, row.max))
        });
        let _ = writeln!(out, "{line:<40} # {origin}{}", range.unwrap_or_default());
    }
    out
}

/// The settings as a Markdown table: key, default, range, option and variable, meaning.
pub fn reference() -> String {
    let mut out = String::from(
        "| Key | Default | Range | Option | Variable | Meaning |\n|---|---|---|---|---|---|\n",
    );
    let default = Config::default();
    for setting in SETTINGS.iter() {
        let value = setting.show(&default).replace('|', "\\|");
        let option = setting.flag.map_or(String::new(), |flag| format!("`--{}`", flag.name));
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {option} | `{}` | {} |",
            setting.key,
            if value.is_empty() || value == "[]" {
                "none".to_owned()
            } else {
                format!("`{value}`")
            },
            range(setting),
            setting.variable(),
            // A block's name is no link.
            setting.doc.replace('[', "\\["),
        );
    }
    out
}

fn range(setting: &Setting) -> String {
    let Some(row) = setting.bound() else { return String::new() };
    match row.unit {
        Unit::Rate => format!("{}/s to {}/s", show_bytes(row.min), show_bytes(row.max)),
        unit => format!("{} to {}", show_amount(unit, row.min), show_amount(unit, row.max)),
    }
}
