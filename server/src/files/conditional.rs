//! Conditional requests: whether to send the file, 304 or 412, and whether a `Range` counts.
//!
//! The preconditions are evaluated in the order of RFC 9110 section 13.2.2. Works on field values
//! and one representation's validators; knows no files and no connections.

use std::borrow::Cow;

use ringway_codec::date;
use ringway_codec::field::{Field, Known};

/// The request fields that static files depend on. A repeated field is joined with commas (RFC
/// 9110, 5.3): right for lists; a repeated single-valued field becomes unreadable and is ignored.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestFields<'a> {
    /// `Accept-Encoding`.
    pub(crate) accept_encoding: Option<Cow<'a, [u8]>>,
    /// `If-Match`.
    pub(crate) if_match: Option<Cow<'a, [u8]>>,
    /// `If-Modified-Since`.
    pub(crate) if_modified_since: Option<Cow<'a, [u8]>>,
    /// `If-None-Match`.
    pub(crate) if_none_match: Option<Cow<'a, [u8]>>,
    /// `If-Range`.
    pub(crate) if_range: Option<Cow<'a, [u8]>>,
    /// `If-Unmodified-Since`.
    pub(crate) if_unmodified_since: Option<Cow<'a, [u8]>>,
    /// `Range`.
    pub(crate) range: Option<Cow<'a, [u8]>>,
}

/// What identifies the current version of the selected representation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validators<'a> {
    /// The strong entity tag, with quotes.
    pub(crate) etag: &'a [u8],
    /// The time of its content in seconds since 1970, where that tells versions apart; conditions
    /// by date are void without it (RFC 9110 sections 13.1.3 to 13.1.5).
    pub(crate) modified: Option<i64>,
    /// When the file last changed in any way (replaced, renamed into place), in seconds.
    pub(crate) changed: i64,
    /// The time of the request, in seconds.
    pub(crate) now: i64,
}

/// What the preconditions demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer as if there were no preconditions.
    Proceed,
    /// 304: the client's copy is current.
    NotModified,
    /// 412.
    Failed,
}

impl<'a> RequestFields<'a> {
    /// Gathers the fields from a request's field lines: known name and value.
    pub(crate) fn gather(lines: impl Iterator<Item = (Known, &'a [u8])>) -> Self {
        let mut asked = Self::default();
        for (name, value) in lines {
            let Some(place) = asked.place(name) else { continue };
            match place {
                None => *place = Some(Cow::Borrowed(value)),
                Some(joined) => {
                    let joined = joined.to_mut();
                    joined.push(b',');
                    joined.extend_from_slice(value);
                }
            }
        }
        asked
    }

    /// The ordinary request, told in one pass that gathers nothing: the value of `Accept-Encoding`,
    /// if there is one. Nothing where other fields count, or that one comes twice.
    #[inline]
    pub(crate) fn plain(fields: &[Field], bytes: &'a [u8]) -> Option<Option<&'a [u8]>> {
        let mut accept_encoding = None;
        for field in fields {
            match field.known {
                Known::AcceptEncoding if accept_encoding.is_none() => {
                    accept_encoding = Some(field.value(bytes));
                }
                Known::AcceptEncoding
                | Known::IfMatch
                | Known::IfModifiedSince
                | Known::IfNoneMatch
                | Known::IfRange
                | Known::IfUnmodifiedSince
                | Known::Range => return None,
                _ => {}
            }
        }
        Some(accept_encoding)
    }

    /// True when nothing but `Accept-Encoding` was asked: the ordinary request.
    pub(crate) fn is_plain(&self) -> bool {
        self.if_match.is_none()
            && self.if_modified_since.is_none()
            && self.if_none_match.is_none()
            && self.if_range.is_none()
            && self.if_unmodified_since.is_none()
            && self.range.is_none()
    }

    /// Whether a condition names this tag.
    pub(crate) fn names(&self, tag: &[u8]) -> bool {
        let lists = [&self.if_match, &self.if_none_match];
        lists.into_iter().flatten().any(|list| any_tag(list, |_, other| other == tag))
            || self.if_range.as_deref().is_some_and(|value| value.trim_ascii() == tag)
    }

    /// Evaluates the preconditions of a GET or HEAD request.
    pub(crate) fn evaluate(&self, current: &Validators<'_>) -> Verdict {
        if let Some(tags) = &self.if_match {
            if !any_tag(tags, |weak, tag| !weak && tag == current.etag) {
                return Verdict::Failed;
            }
        } else if let Some(value) = &self.if_unmodified_since
            && let Some(date) = date::parse(value)
            && current.unchanged_since(date) == Some(false)
        {
            return Verdict::Failed;
        }
        if let Some(tags) = &self.if_none_match {
            if any_tag(tags, |_, tag| tag == current.etag) {
                return Verdict::NotModified;
            }
        } else if let Some(value) = &self.if_modified_since
            && let Some(date) = date::parse(value)
            && current.unchanged_since(date) == Some(true)
        {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }

    /// The `Range` that counts: the one there is, unless an `If-Range` names another version.
    pub(crate) fn range(&self, current: &Validators<'_>) -> Option<&[u8]> {
        let range = self.range.as_deref()?;
        let Some(condition) = self.if_range.as_deref().map(<[u8]>::trim_ascii) else {
            return Some(range);
        };
        let holds = match condition {
            // Only strong comparison will do: parts of two versions must not be put together.
            [b'"', ..] => condition == current.etag,
            [b'W', b'/', ..] => false,
            // A date is a strong validator once the second in which it was true is over.
            _ => current.modified.is_some_and(|modified| {
                date::parse(condition) == Some(modified)
                    && modified < current.now
                    && current.changed < current.now
            }),
        };
        holds.then_some(range)
    }

    fn place(&mut self, name: Known) -> Option<&mut Option<Cow<'a, [u8]>>> {
        Some(match name {
            Known::AcceptEncoding => &mut self.accept_encoding,
            Known::IfMatch => &mut self.if_match,
            Known::IfModifiedSince => &mut self.if_modified_since,
            Known::IfNoneMatch => &mut self.if_none_match,
            Known::IfRange => &mut self.if_range,
            Known::IfUnmodifiedSince => &mut self.if_unmodified_since,
            Known::Range => &mut self.range,
            _ => return None,
        })
    }

    /// A copy that outlives the request.
    pub(crate) fn into_owned(self) -> RequestFields<'static> {
        let own = |value: Option<Cow<'a, [u8]>>| value.map(|value| Cow::Owned(value.into_owned()));
        RequestFields {
            accept_encoding: own(self.accept_encoding),
            if_match: own(self.if_match),
            if_modified_since: own(self.if_modified_since),
            if_none_match: own(self.if_none_match),
            if_range: own(self.if_range),
            if_unmodified_since: own(self.if_unmodified_since),
            range: own(self.range),
        }
    }
}

impl Validators<'_> {
    /// Whether a client that saw the file at `date` has its current content; `None` if its time is
    /// not reliable. Equality with `Last-Modified` proves it. A later date does so only if nothing
    /// happened to the file since: a rolled-back release has an older modification time, and
    /// comparing that alone would keep the newer copy alive for ever (row 37).
    fn unchanged_since(&self, date: i64) -> Option<bool> {
        let modified = self.modified?;
        Some(modified == date || (modified < date && self.changed <= date && date <= self.now))
    }
}

/// Whether a list of entity tags is `*` or holds one for which `equal(weak, opaque tag)` is true.
/// What is malformed ends the list: the tags before it count. RFC 9110, 8.8.3 and 13.1.1.
fn any_tag(list: &[u8], equal: impl Fn(bool, &[u8]) -> bool) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        while let [b',' | b' ' | b'\t', after @ ..] = rest {
            rest = after;
        }
        let weak = rest.starts_with(b"W/");
        let tag = if weak { &rest[2..] } else { rest };
        if tag.first() != Some(&b'"') {
            return false;
        }
        // A comma may stand within the quotes; a quote may not.
        let Some(end) = tag[1..].iter().position(|&byte| byte == b'"') else {
            return false;
        };
        let (tag, after) = tag.split_at(end + 2);
        if equal(weak, tag) {
            return true;
        }
        rest = after.trim_ascii_start();
        if !rest.is_empty() && rest[0] != b',' {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &[u8] = b"\"now\"";
    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const MODIFIED: i64 = 784_111_777;
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:39 GMT";
    const FUTURE: &str = "Sun, 06 Nov 2094 08:49:37 GMT";

    const CURRENT: Validators<'static> = Validators {
        etag: ETAG,
        modified: Some(MODIFIED),
        changed: MODIFIED + 1,
        now: MODIFIED + 100,
    };

    fn asked<'a>(lines: &'a [(&'a str, &'a str)]) -> RequestFields<'a> {
        RequestFields::gather(
            lines.iter().map(|(name, value)| (Known::of(name.as_bytes()), value.as_bytes())),
        )
    }

    fn verdict(lines: &[(&str, &str)]) -> Verdict {
        asked(lines).evaluate(&CURRENT)
    }

    /// Row B4.
    #[test]
    fn if_none_match() {
        for value in ["\"now\"", "W/\"now\"", "*", " \"old\" , \"now\"", "\"a,b\",\"now\", \"x\""] {
            assert_eq!(verdict(&[("if-none-match", value)]), Verdict::NotModified, "{value}");
        }
        for value in ["\"old\"", "now", "\"now", "", ",", "\"old\" \"now\"", "w/\"now\"", "**"] {
            assert_eq!(verdict(&[("If-None-Match", value)]), Verdict::Proceed, "{value}");
        }
        let twice = [("if-none-match", "\"old\""), ("If-None-Match", "\"now\"")];
        assert_eq!(verdict(&twice), Verdict::NotModified);
    }

    /// Rows B5 and 37: If-None-Match wins; a file that was rolled back is sent.
    #[test]
    fn if_modified_since() {
        assert_eq!(verdict(&[("if-modified-since", THEN)]), Verdict::NotModified);
        assert_eq!(verdict(&[("if-modified-since", AFTER)]), Verdict::NotModified);
        for value in [BEFORE, FUTURE, "yesterday", "", "0"] {
            assert_eq!(verdict(&[("if-modified-since", value)]), Verdict::Proceed, "{value}");
        }
        let both = [("if-modified-since", THEN), ("if-none-match", "\"old\"")];
        assert_eq!(verdict(&both), Verdict::Proceed);
        let twice = [("if-modified-since", THEN), ("if-modified-since", THEN)];
        assert_eq!(verdict(&twice), Verdict::Proceed);
        let rolled_back =
            Validators { modified: Some(MODIFIED - 50), changed: MODIFIED + 50, ..CURRENT };
        let asked = asked(&[("if-modified-since", AFTER)]);
        assert_eq!(asked.evaluate(&rolled_back), Verdict::Proceed);
    }

    /// Row B6.
    #[test]
    fn if_match_and_if_unmodified_since() {
        for value in ["\"now\"", "*", "\"old\", \"now\""] {
            assert_eq!(verdict(&[("if-match", value)]), Verdict::Proceed, "{value}");
        }
        for value in ["\"old\"", "W/\"now\"", "", "now"] {
            assert_eq!(verdict(&[("if-match", value)]), Verdict::Failed, "{value}");
        }
        assert_eq!(verdict(&[("if-unmodified-since", THEN)]), Verdict::Proceed);
        assert_eq!(verdict(&[("if-unmodified-since", AFTER)]), Verdict::Proceed);
        assert_eq!(verdict(&[("if-unmodified-since", BEFORE)]), Verdict::Failed);
        assert_eq!(verdict(&[("if-unmodified-since", "nonsense")]), Verdict::Proceed);
        let both = [("if-unmodified-since", BEFORE), ("if-match", "\"now\"")];
        assert_eq!(verdict(&both), Verdict::Proceed);
        let order = [("if-match", "\"old\""), ("if-none-match", "\"now\"")];
        assert_eq!(verdict(&order), Verdict::Failed);
    }

    #[test]
    fn if_range() {
        let range = |condition: &str, current: &Validators<'_>| {
            asked(&[("range", "bytes=0-1"), ("if-range", condition)]).range(current).is_some()
        };
        assert!(asked(&[("range", "bytes=0-1")]).range(&CURRENT).is_some());
        assert!(asked(&[("if-range", "\"now\"")]).range(&CURRENT).is_none());
        assert!(range("\"now\"", &CURRENT));
        assert!(range(THEN, &CURRENT));
        for condition in ["\"old\"", "W/\"now\"", BEFORE, AFTER, "", "*", "now"] {
            assert!(!range(condition, &CURRENT), "{condition}");
        }
        assert!(!range(THEN, &Validators { now: MODIFIED, ..CURRENT }));
    }

    /// F12: without a date that says something, tags alone decide.
    #[test]
    fn f12_without_a_date_conditions_by_date_are_void() {
        let undated = Validators { modified: None, ..CURRENT };
        for date in [BEFORE, THEN, AFTER, FUTURE, "Thu, 01 Jan 1970 00:00:01 GMT"] {
            for name in ["if-modified-since", "if-unmodified-since"] {
                let lines = [(name, date)];
                assert_eq!(asked(&lines).evaluate(&undated), Verdict::Proceed, "{name} {date}");
            }
            let lines = [("range", "bytes=0-1"), ("if-range", date)];
            assert_eq!(asked(&lines).range(&undated), None, "{date}");
        }
        let both = [("if-modified-since", BEFORE), ("if-none-match", "\"now\"")];
        assert_eq!(asked(&both).evaluate(&undated), Verdict::NotModified);
        let lines = [("range", "bytes=0-1"), ("if-range", "\"now\"")];
        assert!(asked(&lines).range(&undated).is_some());
    }
}
