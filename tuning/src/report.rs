//! The findings of an examination: one item for each check, as a table or JSON.

use serde::Serialize;
use std::fmt::Write;

/// The verdict on an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As wanted.
    Fine,
    /// For information: nothing is wanted, or it cannot be seen from here.
    Note,
    /// It works, but could work better.
    Better,
    /// It prevents the start, or does serious harm.
    Harmful,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What it belongs to: `kernel`, `cpu`, `tcp`.
    pub group: &'static str,
    /// What it is called; unique in a report.
    pub name: String,
    /// How it is.
    pub found: String,
    /// How it should be; empty if nothing is wanted.
    pub wanted: String,
    /// How it stands.
    pub verdict: Verdict,
    /// Why it matters.
    pub why: String,
    /// The commands, or what else can be done, if it is not as wanted.
    pub how: Vec<String>,
}

impl Item {
    /// An item that is as wanted until [`Item::unless`] or [`Item::rate`] says otherwise.
    pub fn new(
        group: &'static str,
        name: impl Into<String>,
        found: impl Into<String>,
        wanted: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self {
            group,
            name: name.into(),
            found: found.into(),
            wanted: wanted.into(),
            verdict: Verdict::Fine,
            why: why.into(),
            how: Vec::new(),
        }
    }

    /// The verdict `otherwise` if the item is not `fine`.
    #[must_use]
    pub fn unless(self, fine: bool, otherwise: Verdict) -> Self {
        if fine { self } else { self.rate(otherwise) }
    }

    /// The given verdict.
    #[must_use]
    pub fn rate(mut self, verdict: Verdict) -> Self {
        self.verdict = verdict;
        self
    }

    /// A remedy; kept only if the item is in need of one.
    #[must_use]
    pub fn how(mut self, how: impl Into<String>) -> Self {
        if self.verdict >= Verdict::Better {
            self.how.push(how.into());
        }
        self
    }
}

/// All findings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The items, group by group.
    pub items: Vec<Item>,
}

impl Report {
    /// Whether anything keeps the server from starting or hurts it badly.
    pub fn is_harmful(&self) -> bool {
        self.count(Verdict::Harmful) > 0
    }

    /// The number of items with this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.items.iter().filter(|item| item.verdict == verdict).count()
    }

    /// One object: `harmful` (a boolean) and `items`.
    pub fn json(&self) -> String {
        #[derive(Serialize)]
        struct Whole<'a> {
            harmful: bool,
            items: &'a [Item],
        }
        let whole = Whole { harmful: self.is_harmful(), items: &self.items };
        let mut text = serde_json::to_string_pretty(&whole).unwrap_or_default();
        text.push('\n');
        text
    }

    /// A table: mark, name, found, wanted; under what is not as wanted, why it matters and what to
    /// do.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut group = "";
        for item in &self.items {
            if item.group != group {
                let gap = if group.is_empty() { "" } else { "\n" };
                let _ = writeln!(out, "{gap}{}", item.group);
                group = item.group;
            }
            let mark = match item.verdict {
                Verdict::Fine => "ok",
                Verdict::Note => "..",
                Verdict::Better => "~~",
                Verdict::Harmful => "!!",
            };
            let _ = write!(out, "  {mark} {:<34} {}", item.name, item.found);
            if item.verdict >= Verdict::Better {
                let _ = write!(out, "  (wanted: {})\n       why: {}", item.wanted, item.why);
                for how in &item.how {
                    let _ = write!(out, "\n       how: {how}");
                }
            }
            out.push('\n');
        }
        let _ = writeln!(
            out,
            "\n{} as wanted, {} could be better (~~), {} harmful (!!)",
            self.count(Verdict::Fine) + self.count(Verdict::Note),
            self.count(Verdict::Better),
            self.count(Verdict::Harmful),
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let fine = Item::new("a", "one", "1", "1", "because").unless(true, Verdict::Harmful);
        let bad = Item::new("b", "two", "2", "3", "since").rate(Verdict::Harmful).how("do it");
        Report { items: vec![fine.how("never shown"), bad] }
    }

    #[test]
    fn text_explains_only_what_is_not_as_wanted() {
        let text = report().text();
        assert!(text.contains("ok one") && !text.contains("because"));
        assert!(text.contains("!! two"), "{text}");
        assert!(text.contains("(wanted: 3)\n       why: since\n       how: do it\n"), "{text}");
        assert!(text.ends_with("1 as wanted, 0 could be better (~~), 1 harmful (!!)\n"));
    }

    #[test]
    fn json_has_every_field() {
        let json: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(json["harmful"], true);
        assert_eq!(json["items"][1]["verdict"], "harmful");
        assert_eq!(json["items"][1]["how"][0], "do it");
        assert_eq!(json["items"][0]["how"].as_array().unwrap().len(), 0);
    }
}
