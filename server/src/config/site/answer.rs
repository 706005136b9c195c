//! Rules by path: what is answered without a file, from another file, or is elsewhere.

use super::super::block::{Block, inline};
use super::super::value::{Entry, Shape, Typed, Written, Wrong, quote};
use super::pattern::{PathPattern, RootedPath, Target};
use http::{HeaderValue, StatusCode};
use std::ops::RangeInclusive;

/// `answer`: a status for a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerRule {
    /// The paths.
    pub path: PathPattern,
    /// The status.
    pub status: StatusCode,
}

/// `redirect`: where a path has gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectRule {
    /// The paths.
    pub from: PathPattern,
    /// Where they are.
    pub to: Target,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

/// `rewrite`: the path whose file answers in place of another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewriteRule {
    /// The paths.
    pub from: PathPattern,
    /// The path of the file.
    pub to: Target,
}

/// `cache`: the Cache-Control of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRule {
    /// The paths.
    pub path: PathPattern,
    /// The field's value; empty for none.
    pub value: HeaderValue,
}

/// `errors`: the file that is the body of errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// The statuses: one, or a class.
    pub statuses: RangeInclusive<u16>,
    /// The file.
    pub file: RootedPath,
}

/// The table `errors`.
pub(super) struct ErrorPages(pub(super) Vec<ErrorPage>);

impl RedirectRule {
    /// Where the rule leads from `path` on this host, if it does.
    pub fn lead(&self, path: &str) -> Option<String> {
        let captured = self.from.capture(path.as_bytes()).filter(|_| !self.to.is_url())?;
        let to = self.to.0.replace("$1", &String::from_utf8_lossy(captured));
        Some(to.split(['?', '#']).next().unwrap_or_default().to_owned())
    }
}

/// A status as a number, of those that `is` allows.
struct Status(StatusCode);

/// Statuses that mean nothing without fields that a rule cannot give.
const NEED_MORE: [u16; 7] = [206, 401, 405, 407, 416, 421, 426];

impl Typed for Status {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let Shape::Integer(number) = written.shape else {
            let found = written.shape.name();
            return Err(Wrong::new(format!("expected a status like 404, found {found}")));
        };
        let status = u16::try_from(number).ok().filter(|number| (200..600).contains(number));
        let status = status.and_then(|number| StatusCode::from_u16(number).ok());
        status.map(Self).ok_or_else(|| Wrong::new(format!("{number} is no status: 200 to 599")))
    }

    fn show(&self) -> String {
        self.0.as_str().to_owned()
    }
}

fn status_of<'a>(written: &'a Written<'_>) -> Option<&'a Written<'a>> {
    let Shape::Block(entries) = &written.shape else { return None };
    entries.iter().find(|entry| entry.name == "status").map(|entry| &entry.value)
}

fn at_status(written: &Written<'_>, message: String) -> Wrong {
    Wrong { at: status_of(written).map(|value| value.at), ..Wrong::new(message) }
}

impl Typed for AnswerRule {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let block = Block::of(written, &["path", "status"])?;
        let (path, Status(status)) = (block.need("path")?, block.need("status")?);
        if status.is_redirection() {
            let wrong = at_status(written, format!("`status`: {} leads nowhere", status.as_u16()));
            return Err(wrong.meant("`redirect`"));
        }
        if NEED_MORE.contains(&status.as_u16()) {
            let message = format!("`status`: {} needs more than a path", status.as_u16());
            return Err(at_status(written, message));
        }
        Ok(Self { path, status })
    }

    fn show(&self) -> String {
        inline(&[("path", self.path.show()), ("status", Status(self.status).show())])
    }
}

impl Typed for RedirectRule {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let block = Block::of(written, &["from", "to", "status"])?;
        let (from, to): (PathPattern, Target) = (block.need("from")?, block.need("to")?);
        if let Some(wrong) = to.mismatch(&from) {
            return Err(wrong);
        }
        let status = block.maybe::<Status>("status")?;
        let status = status.map_or(StatusCode::PERMANENT_REDIRECT, |status| status.0);
        if ![301, 302, 303, 307, 308].contains(&status.as_u16()) {
            let message =
                format!("`status`: {} is no redirect: 301, 302, 303, 307 or 308", status.as_u16());
            return Err(at_status(written, message));
        }
        Ok(Self { from, to, status })
    }

    fn show(&self) -> String {
        let status = Status(self.status).show();
        inline(&[("from", self.from.show()), ("to", self.to.show()), ("status", status)])
    }
}

impl Typed for RewriteRule {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let block = Block::of(written, &["from", "to"])?;
        let (from, to): (PathPattern, Target) = (block.need("from")?, block.need("to")?);
        if let Some(wrong) = to.mismatch(&from) {
            return Err(wrong);
        }
        if to.is_url() || to.0.contains(['?', '#']) {
            let message = format!("`to`: \"{}\" is no path, and files are found by path", to.0);
            return Err(Wrong::new(message).meant("`redirect`"));
        }
        Ok(Self { from, to })
    }

    fn show(&self) -> String {
        inline(&[("from", self.from.show()), ("to", self.to.show())])
    }
}

impl Typed for CacheRule {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let block = Block::of(written, &["path", "value"])?;
        let (path, value): (PathPattern, String) = (block.need("path")?, block.need("value")?);
        let value = HeaderValue::from_str(&value)
            .map_err(|_| Wrong::new(format!("{} is no value of a field", quote(&value))))?;
        Ok(Self { path, value })
    }

    fn show(&self) -> String {
        let value = quote(&String::from_utf8_lossy(self.value.as_bytes()));
        inline(&[("path", self.path.show()), ("value", value)])
    }
}

impl Typed for ErrorPages {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let Shape::Block(entries) = &written.shape else {
            let found = written.shape.name();
            let message =
                format!("expected a block like {{ \"404\" = \"404.html\" }}, found {found}");
            return Err(Wrong::new(message));
        };
        let mut pages = Vec::new();
        for Entry { name, at, value } in entries {
            let statuses = statuses(name).ok_or_else(|| Wrong {
                at: Some(*at),
                ..Wrong::new(format!(
                    "\"{name}\" is no status of an error: \"404\", \"4xx\", \"5xx\""
                ))
            })?;
            let file = RootedPath::parse(value)
                .map_err(|wrong| Wrong { at: wrong.at.or(Some(value.at)), ..wrong })?;
            pages.push(ErrorPage { statuses, file });
        }
        // A status goes over its class.
        pages.sort_by_key(|page| {
            (page.statuses.end() - page.statuses.start(), *page.statuses.start())
        });
        Ok(Self(pages))
    }

    fn show(&self) -> String {
        show_pages(&self.0)
    }
}

fn statuses(name: &str) -> Option<RangeInclusive<u16>> {
    match name {
        "4xx" => Some(400..=499),
        "5xx" => Some(500..=599),
        _ => {
            let is_number = name.len() == 3 && name.bytes().all(|byte| byte.is_ascii_digit());
            let status =
                name.parse().ok().filter(|status| is_number && (400..600).contains(status));
            status.map(|status| status..=status)
        }
    }
}

/// The pages as a file would write them; nothing where there are none.
pub(super) fn show_pages(pages: &[ErrorPage]) -> String {
    if pages.is_empty() {
        return String::new();
    }
    let pairs = pages.iter().map(|ErrorPage { statuses, file }| {
        let status = match statuses.start() == statuses.end() {
            true => statuses.start().to_string(),
            false => format!("{}xx", statuses.start() / 100),
        };
        format!("{} = {}", quote(&status), file.show())
    });
    format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
}
