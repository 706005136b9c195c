//! Which `Cache-Control` a file is sent with, by its name.
//!
//! Rules are tried in order, the first match wins; then come the two defaults that are always
//! right: a name that carries a content hash never changes its bytes (`immutable`), and a page
//! must be checked each time (`no-cache`). Anything else is sent without the field and relies on
//! its validators. RFC 9111 section 5.2, RFC 8246.

/// For names that carry a hash of their content.
pub(crate) const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// For pages.
pub(crate) const CHECK: &str = "no-cache";

/// The rules of one static service. The default has none of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Policy {
    rules: Vec<(String, String)>,
}

impl Policy {
    /// Adds a rule: files whose path below the root matches `pattern` (`*` any bytes, `?` one) are
    /// sent with `value`. An empty value sends no field.
    pub(crate) fn rule(mut self, pattern: impl Into<String>, value: impl Into<String>) -> Self {
        self.rules.push((pattern.into(), value.into()));
        self
    }

    /// The field's value for the file at `path` (below the root) with that content type.
    pub(crate) fn value(&self, path: &[u8], content_type: &str) -> Option<&str> {
        for (pattern, value) in &self.rules {
            if matches(pattern.as_bytes(), path) {
                return Some(value.as_str()).filter(|value| !value.is_empty());
            }
        }
        if content_type.starts_with("text/html") {
            return Some(CHECK);
        }
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        hashed(name).then_some(IMMUTABLE)
    }
}

/// The `max-age` of a `Cache-Control` value in seconds, for the `Expires` field that says the same
/// to HTTP/1.0 caches; `None` where the value forbids that or has none. RFC 9111, 5.2.2.1 and 5.3.
pub(crate) fn max_age(value: &str) -> Option<u32> {
    let mut age = None;
    for directive in value.split(',') {
        let directive = directive.trim().to_ascii_lowercase();
        match directive.split_once('=') {
            Some(("max-age", seconds)) => age = seconds.trim_matches('"').parse().ok(),
            None if directive == "no-cache" || directive == "no-store" => return None,
            _ => {}
        }
    }
    age
}

/// Whether `name` carries a content hash: after the first segment, a run of at least 8 lower-case
/// hexadecimal digits with both letters and figures (so that neither a date nor a word counts).
fn hashed(name: &[u8]) -> bool {
    name.split(|byte| matches!(byte, b'.' | b'-' | b'_')).skip(1).any(|segment| {
        segment.len() >= 8
            && segment.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            && segment.iter().any(u8::is_ascii_digit)
            && segment.iter().any(u8::is_ascii_lowercase)
    })
}

/// Glob matching without recursion: on a mismatch, the latest `*` takes one byte more.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after, from)) => {
                    p = after;
                    t = from + 1;
                    retry = Some((after, t));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::mime;

    fn value(policy: &Policy, path: &str) -> Option<String> {
        policy.value(path.as_bytes(), mime::of(path.as_bytes())).map(str::to_owned)
    }

    /// Row B1.
    #[test]
    fn defaults() {
        let policy = Policy::default();
        for path in [
            "assets/app-3f2a9c1b.js",
            "assets/app.3f2a9c1b.css",
            "static.files/main-9dd44ab47b99a0fb.js",
            "static.files/SourceSerif4-Regular-46f98efaafac5295.ttf.woff2",
            "x_0123456789abcdef.png",
        ] {
            assert_eq!(value(&policy, path).as_deref(), Some(IMMUTABLE), "{path}");
        }
        for path in ["index.html", "a/b-3f2a9c1b.html"] {
            assert_eq!(value(&policy, path).as_deref(), Some(CHECK), "{path}");
        }
        for path in [
            "app.js",
            "photo-20240101.jpg",
            "mud-deadbeef.css",
            "3f2a9c1b.js",
            "jquery-3.7.1.min.js",
            "photo-Summer24.jpg",
            "3f2a9c1b/app.js",
            "f-3F2A9C1B.js",
        ] {
            assert_eq!(value(&policy, path), None, "{path}");
        }
    }

    #[test]
    fn rules_come_first_and_in_order() {
        let policy = Policy::default()
            .rule("private/*", "no-store")
            .rule("*.css", "max-age=60")
            .rule("raw/*", "");
        assert_eq!(value(&policy, "private/a.css").as_deref(), Some("no-store"));
        assert_eq!(value(&policy, "a.css").as_deref(), Some("max-age=60"));
        assert_eq!(value(&policy, "raw/index.html"), None);
        assert_eq!(value(&policy, "index.html").as_deref(), Some(CHECK));
    }

    /// Row B2.
    #[test]
    fn max_ages() {
        for (value, want) in [
            (IMMUTABLE, Some(31_536_000)),
            ("max-age=60", Some(60)),
            ("private, Max-Age=\"60\"", Some(60)),
            ("s-maxage=60", None),
            (CHECK, None),
            ("no-store, max-age=60", None),
            ("max-age=x", None),
            ("", None),
        ] {
            assert_eq!(max_age(value), want, "{value}");
        }
    }

    #[test]
    fn globs() {
        for (pattern, text, want) in [
            ("", "", true),
            ("*", "", true),
            ("*", "a/b", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?.js", "a.js", true),
            ("?.js", ".js", false),
            ("*.js", "a.jsx", false),
            ("a", "ab", false),
            ("ab", "a", false),
            ("*a*a*a*a*a*a*a*b", &"a".repeat(200), false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), want, "{pattern} {text}");
        }
    }
}
