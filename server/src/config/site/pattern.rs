//! Paths of a site's rules: patterns with at most one `*`, and what they lead to. Rules compare the
//! decoded path, so they are written decoded.

use super::super::value::{Typed, Written, Wrong, quote};
use ringway_codec::authority;

/// A path with at most one `*`, which stands for any bytes, slashes too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    before: String,
    /// What follows the `*`, if there is one.
    after: Option<String>,
}

/// As [`PathPattern`], of requests that are not logged: also of what is never served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedPath(pub PathPattern);

/// Where a rule leads: text in which `$1` stands for what the `*` matched. A path, or in redirects
/// also a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(pub String);

/// A file below the root of its site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootedPath(pub String);

impl PathPattern {
    /// What the `*` stands for in `path`, which begins with `/` and is decoded; nothing for a
    /// pattern without one. `None` where it does not match.
    pub fn capture<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let rest = path.strip_prefix(self.before.as_bytes())?;
        match &self.after {
            Some(after) => rest.strip_suffix(after.as_bytes()),
            None => rest.is_empty().then_some(rest),
        }
    }

    /// Whether it has a `*`.
    pub fn is_open(&self) -> bool {
        self.after.is_some()
    }

    /// As a glob over paths below the root, which do not begin with a slash.
    pub fn glob(&self) -> String {
        let text = self.text();
        text.strip_prefix('/').map(str::to_owned).unwrap_or(text)
    }

    fn text(&self) -> String {
        match &self.after {
            Some(after) => format!("{}*{after}", self.before),
            None => self.before.clone(),
        }
    }
}

impl PathPattern {
    /// The pattern of any path, also of one that is never served.
    fn of(written: &Written<'_>) -> Result<Self, Wrong> {
        let wanted = "a path like \"/a.html\" or \"/dir/*\"";
        let text = written.text(wanted)?;
        let wrong = || Wrong::new(format!("expected {wanted}, found \"{text}\""));
        if text.matches('*').count() > 1 {
            return Err(Wrong::new(format!("\"{text}\" has more than one `*`")));
        }
        if text != "*" && !text.starts_with('/') {
            return Err(wrong().meant(quote(&format!("/{text}"))));
        }
        if text.contains("//") || text.contains(['?', '#', '\\']) || text.contains(char::is_control)
        {
            return Err(Wrong::new(format!(
                "\"{text}\" would never match: paths come without query, `//` and `\\`"
            )));
        }
        if let Some(decoded) = decoded(text) {
            let wrong = Wrong::new(format!("\"{text}\" is encoded: rules see the decoded path"));
            return Err(wrong.meant(quote(&decoded)));
        }
        let (before, after) = match text.split_once('*') {
            Some((before, after)) => (before, Some(after.to_owned())),
            None => (text, None),
        };
        Ok(Self { before: before.to_owned(), after })
    }
}

impl Typed for PathPattern {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let pattern = Self::of(written)?;
        let text = pattern.text();
        let hidden = |segment: &str| segment.starts_with('.') && segment != ".well-known";
        if text.split('/').any(hidden) {
            return Err(Wrong::new(format!(
                "\"{text}\" would never match: what begins with a dot is answered with 404"
            )));
        }
        Ok(pattern)
    }

    fn show(&self) -> String {
        quote(&self.text())
    }
}

impl Typed for LoggedPath {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        PathPattern::of(written).map(Self)
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

/// `text` without its percent-encoding, if it has one.
fn decoded(text: &str) -> Option<String> {
    let (mut out, mut rest, mut found) = (Vec::new(), text.as_bytes(), false);
    while let [first, behind @ ..] = rest {
        let pair = behind.get(..2).filter(|_| *first == b'%');
        let byte = pair.and_then(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
        found |= byte.is_some();
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    found.then(|| String::from_utf8_lossy(&out).into_owned())
}

impl Target {
    /// Whether it leads to another place than a path of the same host.
    pub fn is_url(&self) -> bool {
        !self.0.starts_with('/')
    }

    /// Its text around each `$1`.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split("$1")
    }

    /// Why it does not go with `from`, if so.
    pub(super) fn mismatch(&self, from: &PathPattern) -> Option<Wrong> {
        let open = self.0.contains("$1");
        (open && !from.is_open())
            .then(|| Wrong::new("`to` has a `$1`, and `from` has no `*` for it"))
    }
}

impl Typed for Target {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let wanted = "a path like \"/v2/$1\"";
        let text = written.text(wanted)?;
        if text.replace("$1", "").contains('$') {
            return Err(Wrong::new(format!(
                "\"{text}\": after a `$` there may only be 1, which is what the `*` stands for"
            )));
        }
        if text.contains(|c: char| c.is_control() || c == '\\') {
            return Err(Wrong::new(format!("\"{text}\" has a control character or a `\\`")));
        }
        if text.starts_with("//") {
            let wrong = Wrong::new(format!("\"{text}\" would lead to another host"));
            return Err(wrong.meant(quote(&format!("https:{text}"))));
        }
        if text.starts_with('/') {
            return Ok(Self(text.to_owned()));
        }
        let behind = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let Some(behind) = behind else {
            let wrong = Wrong::new(format!("expected {wanted}, found \"{text}\""));
            return Err(wrong.meant(quote(&format!("/{text}"))));
        };
        // The host must end before anything of the client's comes.
        match behind.split_once('/') {
            Some((host, _))
                if !host.contains('$') && authority::canonical(host.as_bytes(), None).is_ok() =>
            {
                Ok(Self(text.to_owned()))
            }
            Some(_) => Err(Wrong::new(format!("\"{text}\" has no plain host"))),
            None => {
                let host = behind.replace("$1", "");
                let scheme = &text[..text.len() - behind.len()];
                let wrong = Wrong::new(format!("\"{text}\" needs a `/` behind its host"));
                Err(wrong.meant(quote(&format!("{scheme}{host}/$1"))))
            }
        }
    }

    fn show(&self) -> String {
        quote(&self.0)
    }
}

impl Typed for RootedPath {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let text = written.text("a file below the root, like \"404.html\"")?;
        let path = text.trim_start_matches('/');
        let is_good = |part: &str| !part.is_empty() && !part.starts_with('.') && part != "..";
        if path.split('/').all(is_good) && !path.contains(char::is_control) {
            return Ok(Self(path.to_owned()));
        }
        Err(Wrong::new(format!(
            "expected a file below the root, like \"404.html\", found \"{text}\""
        )))
    }

    fn show(&self) -> String {
        quote(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Result<PathPattern, Wrong> {
        PathPattern::parse(&Written::loose(text))
    }

    #[test]
    fn patterns_match_whole_paths() {
        for (text, path, want) in [
            ("/a", "/a", Some("")),
            ("/a", "/a/", None),
            ("/a", "/ab", None),
            ("/a/*", "/a/b/c", Some("b/c")),
            ("/a/*", "/a/", Some("")),
            ("/a/*", "/a", None),
            ("/a/*/c", "/a/b/c", Some("b")),
            ("/a/*/c", "/a/c", None),
            ("/aba*aba", "/aba", None),
            ("*.js", "/x/y.js", None),
            ("*", "/x", Some("/x")),
        ] {
            let Ok(pattern) = pattern(text) else {
                assert_eq!(want, None, "{text}");
                continue;
            };
            let want = want.map(str::as_bytes);
            assert_eq!(pattern.capture(path.as_bytes()), want, "{text} {path}");
        }
    }

    #[test]
    fn patterns_that_would_never_match_are_refused() {
        for (text, hint) in [
            ("a/*", Some("\"/a/*\"")),
            ("/a/*/b/*", None),
            ("/a?b", None),
            ("//a", None),
            ("/.git/*", None),
            ("/a%20b", Some("\"/a b\"")),
        ] {
            assert_eq!(pattern(text).unwrap_err().hint.as_deref(), hint, "{text}");
        }
        assert!(pattern("/100%.html").is_ok() && pattern("/.well-known/x").is_ok());
    }

    #[test]
    fn targets_name_their_host_or_none() {
        let target = |text| Target::parse(&Written::loose(text)).map(|target| target.0);
        for good in ["/v2/$1", "/", "https://example.com/$1", "http://a:8080/b"] {
            assert_eq!(target(good).as_deref(), Ok(good));
        }
        for (bad, hint) in [
            ("v2", Some("\"/v2\"")),
            ("//evil.example/$1", Some("\"https://evil.example/$1\"")),
            ("/$2", None),
            ("/\\evil.example", None),
            ("/a\r\nb", None),
            ("https://$1/", None),
            ("https://example.com$1", Some("\"https://example.com/$1\"")),
            ("https://user@example.com/", None),
        ] {
            assert_eq!(target(bad).unwrap_err().hint.as_deref(), hint, "{bad}");
        }
    }

    #[test]
    fn files_stay_below_the_root() {
        let path = |text| RootedPath::parse(&Written::loose(text)).map(|path| path.0);
        assert_eq!(path("/errors/404.html").as_deref(), Ok("errors/404.html"));
        for bad in ["", "/", "../x", "a/../b", ".htaccess", "a//b"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }
}
