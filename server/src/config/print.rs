//! `ringway check --print`: the whole configuration as it will be used, each value with where it
//! came from, in a form that is itself a valid file; and the same table as documentation.

use super::load::Loaded;
use super::settings::{SETTINGS, Setting, show_amount};
use super::value::show_bytes;
use super::{Applies, Config, Preset, SITE_KEYS, Unit};
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
        // What may not stand beside sites is not said beside them.
        let value = match setting.block() {
            "files" if !loaded.config.site.is_empty() => String::new(),
            _ => setting.show(&loaded.config),
        };
        let origin = loaded.origin(setting.key);
        let line = match value.as_str() {
            "" => format!("# {} is not set", setting.name()),
            // What it includes stands here already.
            value if setting.key == "include" => format!("# include = {value}"),
            value => format!("{} = {value}", setting.name()),
        };
        let range = setting.bound().map(|row| {
            format!(", {} to {}", show_amount(row.unit, row.min), show_amount(row.unit, row.max))
        });
        let _ = writeln!(out, "{line:<40} # {origin}{}", range.unwrap_or_default());
        if setting.key == "site" {
            out.push_str(&presets(&loaded.config));
        }
    }
    out
}

/// The fields of the presets that sites use, as comments.
fn presets(config: &Config) -> String {
    let used = |preset: &Preset| config.site.iter().any(|site| site.preset.contains(preset));
    let mut out = String::new();
    for preset in Preset::all().filter(used) {
        for (name, value) in preset.fields() {
            let _ = writeln!(out, "#   preset \"{}\": {name}: {value}", preset.name());
        }
    }
    out
}

/// The settings as a Markdown table: key, default, range, option and variable, meaning.
pub fn reference() -> String {
    let mut out = String::from(
        "| Key | Default | Range | Option | Variable | At HUP | Meaning |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let default = Config::default();
    for setting in SETTINGS.iter() {
        let value = setting.show(&default).replace('|', "\\|");
        let option = setting.flag.map_or(String::new(), |flag| format!("`--{}`", flag.name));
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {option} | `{}` | {} | {} |",
            setting.key,
            if value.is_empty() || value == "[]" {
                "none".to_owned()
            } else {
                format!("`{value}`")
            },
            range(setting),
            setting.variable(),
            match setting.applies() {
                Applies::AtOnce => "at once",
                Applies::NewConnections => "new connections",
                Applies::NextStart => "at the next start",
            },
            // A block's name is no link.
            setting.doc.replace('[', "\\["),
        );
    }
    let _ = write!(out, "\nThe keys of `[[site]]`:\n\n| Key | Meaning |\n|---|---|\n");
    for (key, doc) in SITE_KEYS {
        let _ = writeln!(out, "| `{key}` | {} |", doc.replace('[', "\\["));
    }
    out.push_str("\nThe fields of each preset:\n\n| Preset | Fields |\n|---|---|\n");
    for preset in Preset::all() {
        let fields = preset.fields().iter().map(|(name, value)| format!("`{name}: {value}`"));
        let fields: Vec<_> = fields.collect();
        let _ = writeln!(out, "| `{}` | {} |", preset.name(), fields.join(", "));
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
