//! From what was written to what was meant: one written value, whichever layer it came from, turned
//! into a typed one. It knows shapes and units (durations, sizes, switches, lists), not keys: those
//! are in `settings`.

use super::limits::{GIB, KIB, MIB};
use super::suggest::nearest;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What was written for one key.
#[derive(Clone, Debug)]
pub(super) struct Written<'a> {
    pub(super) shape: Shape<'a>,
    /// Where it starts in the file; 0 for the other layers.
    pub(super) at: usize,
    /// The directory that relative paths start from: the file's own, or none for the working
    /// directory.
    pub(super) base: Option<&'a Path>,
}

/// The shapes that a written value can have.
#[derive(Clone, Debug)]
pub(super) enum Shape<'a> {
    /// From the environment or the command line, where everything is text.
    Loose(&'a str),
    Text(&'a str),
    Integer(i128),
    Switch(bool),
    List(Vec<Written<'a>>),
    /// A table: its keys.
    Block(Vec<Entry<'a>>),
    /// Something no key wants, by the name of its type.
    Other(&'static str),
}

/// A key of a table, and what was written for it.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    /// Where the key starts.
    pub(super) at: usize,
    pub(super) value: Written<'a>,
}

/// Why a written value is refused, and where in the file if not at the value's own start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) at: Option<usize>,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, at: None }
    }

    pub(super) fn meant(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A type that a key can have.
pub(super) trait Typed: Sized {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong>;
    /// As it would be written in a file; empty for "nothing", which a file says by leaving the key
    /// out.
    fn show(&self) -> String;
    /// The words that it can be, where there are only a few; for completions and the manual.
    fn choices() -> Vec<&'static str> {
        Vec::new()
    }
}

impl Written<'_> {
    pub(super) fn loose(text: &str) -> Written<'_> {
        Written { shape: Shape::Loose(text), at: 0, base: None }
    }

    /// The elements of a list; a single value is a list of one.
    pub(super) fn items(&self) -> &[Self] {
        match &self.shape {
            Shape::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// The text of a value that has to be text; `wanted` names what it should be, with its article.
    pub(super) fn text(&self, wanted: &str) -> Result<&str, Wrong> {
        match &self.shape {
            Shape::Loose(text) | Shape::Text(text) => Ok(text),
            other => Err(Wrong::new(format!("expected {wanted}, found {}", other.name()))),
        }
    }

    fn integer(&self, wanted: &str) -> Result<i128, Wrong> {
        match &self.shape {
            Shape::Integer(number) => Ok(*number),
            Shape::Loose(text) => {
                text.parse().map_err(|_| Wrong::new(format!("expected {wanted}, found `{text}`")))
            }
            Shape::Text(text) => {
                let wrong = Wrong::new(format!("expected {wanted}, found a string"));
                Err(if text.parse::<i128>().is_ok() { wrong.meant(*text) } else { wrong })
            }
            other => Err(Wrong::new(format!("expected {wanted}, found {}", other.name()))),
        }
    }
}

impl Shape<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Shape::Loose(_) | Shape::Text(_) => "a string",
            Shape::Integer(_) => "an integer",
            Shape::Switch(_) => "a boolean",
            Shape::List(_) => "a list",
            Shape::Block(_) => "a block",
            Shape::Other(name) => name,
        }
    }
}

/// A whole number inside `range`.
pub(super) fn count(written: &Written<'_>, range: Range<u64>) -> Result<u64, Wrong> {
    let number = written.integer("a whole number")?;
    match u64::try_from(number) {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(Wrong::new(format!(
            "{number} is out of range: {} to {}",
            range.start,
            range.end.saturating_sub(1)
        ))),
    }
}

/// Bytes: a plain integer, or a number with one of the units `B KiB MiB GiB` (powers of 1024) or
/// `kB MB GB`.
pub(super) fn bytes(written: &Written<'_>) -> Result<u64, Wrong> {
    const WANTED: &str = "a size like \"64KiB\"";
    let text = match &written.shape {
        Shape::Integer(number) => {
            return u64::try_from(*number)
                .map_err(|_| Wrong::new(format!("{number} is not a size")));
        }
        _ => written.text(WANTED)?.trim(),
    };
    let (number, unit) = split_unit(text);
    let wrong = || Wrong::new(format!("expected {WANTED}, found \"{text}\""));
    let scale = match unit {
        "" | "B" => 1,
        "KiB" => KIB,
        "MiB" => MIB,
        "GiB" => GIB,
        "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        other => {
            let meant = match other.chars().next().map(|c| c.to_ascii_lowercase()) {
                Some('k') => "KiB",
                Some('m') => "MiB",
                Some('g') => "GiB",
                _ => return Err(wrong()),
            };
            return Err(wrong().meant(format!("\"{number}{meant}\"")));
        }
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(scale).ok_or_else(|| Wrong::new(format!("\"{text}\" is too large a size")))
}

/// A span of time: numbers with the units `us ms s m h d`, one or more: `"500ms"`, `"1m30s"`.
pub(super) fn time(written: &Written<'_>) -> Result<Duration, Wrong> {
    const WANTED: &str = "a duration like \"10s\"";
    if let Shape::Integer(number) = written.shape {
        return Err(Wrong::new(format!("expected {WANTED}, found a number without a unit"))
            .meant(format!("\"{number}s\"")));
    }
    let text = written.text(WANTED)?.trim();
    let wrong = || Wrong::new(format!("expected {WANTED}, found \"{text}\""));
    let mut rest = text;
    let mut total = 0u64;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let (number, after) = split_unit(rest);
        let unit_len = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_len);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let micros = match unit {
            "us" => 1,
            "ms" => 1000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            "" => return Err(wrong().meant(format!("\"{text}s\""))),
            other => {
                let meant = match other.to_ascii_lowercase().as_str() {
                    "sec" | "secs" | "second" | "seconds" => "s",
                    "min" | "mins" | "minute" | "minutes" => "m",
                    "hour" | "hours" => "h",
                    "day" | "days" => "d",
                    "msec" | "millis" => "ms",
                    _ => return Err(wrong()),
                };
                return Err(wrong().meant(format!("\"{number}{meant}\"")));
            }
        };
        let part = number.checked_mul(micros);
        total = part
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| Wrong::new(format!("\"{text}\" is too long a time")))?;
        rest = next;
    }
    Ok(Duration::from_micros(total))
}

/// Bytes in the largest unit that divides them.
pub(super) fn show_bytes(bytes: u64) -> String {
    for (scale, unit) in [(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")] {
        if bytes >= scale && bytes.is_multiple_of(scale) {
            return format!("{}{unit}", bytes / scale);
        }
    }
    format!("{bytes}B")
}

/// Milliseconds in the largest unit that divides them.
pub(super) fn show_millis(millis: u64) -> String {
    for (scale, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")] {
        if millis >= scale && millis.is_multiple_of(scale) {
            return format!("{}{unit}", millis / scale);
        }
    }
    format!("{millis}ms")
}

/// One of a few words; anything else is refused with the nearest of them.
pub(super) fn word<T: Copy>(written: &Written<'_>, words: &[(&str, T)]) -> Result<T, Wrong> {
    let names = || words.iter().map(|(name, _)| *name);
    let wanted = format!("one of {}", names().collect::<Vec<_>>().join(", "));
    let text = written.text(&wanted)?;
    if let Some((_, value)) = words.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let wrong = Wrong::new(format!("expected {wanted}, found \"{text}\""));
    Err(match nearest(text, names()) {
        Some(near) => wrong.meant(format!("\"{near}\"")),
        None => wrong,
    })
}

/// The words that a value can be.
pub(super) type Words<T> = &'static [(&'static str, T)];

/// The word for a value.
pub(super) fn name_of<T: PartialEq>(words: Words<T>, value: T) -> &'static str {
    words.iter().find(|(_, each)| *each == value).map_or("", |(name, _)| name)
}

/// Implements [`Typed`] for types whose values are [`Words`].
macro_rules! typed_words {
    ($($type:ty, $words:ident);*) => { $(impl $crate::config::value::Typed for $type {
        fn parse(
            written: &$crate::config::value::Written<'_>,
        ) -> Result<Self, $crate::config::value::Wrong> {
            $crate::config::value::word(written, $words)
        }

        fn show(&self) -> String {
            $crate::config::value::quote($crate::config::value::name_of($words, *self))
        }

        fn choices() -> Vec<&'static str> {
            $words.iter().map(|(name, _)| *name).collect()
        }
    })* };
}
pub(super) use typed_words;

/// A basic string as TOML writes it.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn split_unit(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

impl Typed for bool {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        match &written.shape {
            Shape::Switch(on) => Ok(*on),
            Shape::Loose("true" | "on" | "yes" | "1") => Ok(true),
            Shape::Loose("false" | "off" | "no" | "0") => Ok(false),
            Shape::Loose(text) => {
                Err(Wrong::new(format!("expected true or false, found `{text}`")))
            }
            Shape::Text(text @ ("true" | "false")) => {
                Err(Wrong::new("expected true or false, found a string").meant(*text))
            }
            other => Err(Wrong::new(format!("expected true or false, found {}", other.name()))),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn choices() -> Vec<&'static str> {
        vec!["true", "false"]
    }
}

impl Typed for String {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        Ok(written.text("a string")?.to_owned())
    }

    fn show(&self) -> String {
        quote(self)
    }
}

impl Typed for PathBuf {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let text = written.text("a path")?;
        if text.is_empty() || text.contains('\0') {
            return Err(Wrong::new("expected a path, found an empty string or a NUL in it"));
        }
        Ok(match written.base {
            Some(base) => base.join(text),
            None => Self::from(text),
        })
    }

    fn show(&self) -> String {
        quote(&self.to_string_lossy())
    }
}

impl<T: Typed> Typed for Option<T> {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        T::parse(written).map(Some)
    }

    fn show(&self) -> String {
        self.as_ref().map(T::show).unwrap_or_default()
    }

    fn choices() -> Vec<&'static str> {
        T::choices()
    }
}

impl<T: Typed> Typed for Vec<T> {
    /// A list, or a single value which makes a list of one; in the environment and on the command
    /// line the elements are parted by commas.
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        match &written.shape {
            Shape::List(items) => items
                .iter()
                .map(|item| {
                    T::parse(item)
                        .map_err(|wrong| Wrong { at: wrong.at.or(Some(item.at)), ..wrong })
                })
                .collect(),
            Shape::Loose("") => Ok(Self::new()),
            Shape::Loose(text) => {
                text.split(',').map(|item| T::parse(&Written::loose(item.trim()))).collect()
            }
            _ => Ok(vec![T::parse(written)?]),
        }
    }

    fn show(&self) -> String {
        format!("[{}]", self.iter().map(T::show).collect::<Vec<_>>().join(", "))
    }

    fn choices() -> Vec<&'static str> {
        T::choices()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Written<'_> {
        Written { shape: Shape::Text(text), at: 0, base: None }
    }

    #[test]
    fn sizes() {
        for (written, wanted) in [
            ("0", 0),
            ("1B", 1),
            ("64KiB", 65_536),
            ("1MiB", MIB),
            ("2GiB", 2 * GIB),
            ("5MB", 5_000_000),
        ] {
            assert_eq!(bytes(&text(written)), Ok(wanted), "{written}");
        }
        assert_eq!(bytes(&Written { shape: Shape::Integer(77), at: 0, base: None }), Ok(77));
        assert_eq!(bytes(&text("64k")).unwrap_err().hint.unwrap(), "\"64KiB\"");
        assert_eq!(bytes(&text("3mib")).unwrap_err().hint.unwrap(), "\"3MiB\"");
        for bad in
            ["", "KiB", "-1", "1.5MiB", "1TiB", "99999999999999999999", "18446744073709551615GiB"]
        {
            assert!(bytes(&text(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        for (written, millis) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("1m", 60_000),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("0s", 0),
        ] {
            assert_eq!(time(&text(written)), Ok(Duration::from_millis(millis)), "{written}");
        }
        assert_eq!(time(&text("10")).unwrap_err().hint.unwrap(), "\"10s\"");
        assert_eq!(time(&text("10sec")).unwrap_err().hint.unwrap(), "\"10s\"");
        let number = Written { shape: Shape::Integer(10), at: 0, base: None };
        assert_eq!(time(&number).unwrap_err().hint.unwrap(), "\"10s\"");
        for bad in ["", "s", "1x", "-1s", "1.5s", "300000000000d", "s10"] {
            assert!(time(&text(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn amounts_are_shown_as_they_may_be_written() {
        for amount in [0, 1, 1023, 1024, 65_536, MIB, 3 * GIB, 1_500_000] {
            assert_eq!(bytes(&text(&show_bytes(amount))), Ok(amount));
        }
        for millis in [0, 1, 999, 1000, 60_000, 61_000, 3_600_000, 86_400_000] {
            assert_eq!(time(&text(&show_millis(millis))), Ok(Duration::from_millis(millis)));
        }
    }

    #[test]
    fn switches_and_lists() {
        assert_eq!(bool::parse(&Written::loose("on")), Ok(true));
        assert!(bool::parse(&text("on")).is_err(), "a file has real booleans");
        assert_eq!(Vec::<String>::parse(&Written::loose("a, b")).unwrap(), ["a", "b"]);
        assert_eq!(Vec::<String>::parse(&text("a,b")).unwrap(), ["a,b"]);
        assert_eq!(Vec::<String>::parse(&Written::loose("")).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn words_are_suggested() {
        let words = [("off", 0), ("combined", 1), ("json", 2)];
        assert_eq!(word(&text("json"), &words), Ok(2));
        assert_eq!(word(&text("jsn"), &words).unwrap_err().hint.unwrap(), "\"json\"");
    }

    #[test]
    fn quoting_survives_a_parser() {
        for original in ["plain", "with \"quotes\"", "back\\slash", "tab\tnewline\n", "é"] {
            let file = format!("key = {}", quote(original));
            let table: toml::Table = file.parse().unwrap();
            assert_eq!(table["key"].as_str(), Some(original));
        }
    }
}
