//! From the path of a request target to a path below the root, and to redirect locations.
//!
//! Decodes percent-encoding exactly once and refuses whatever could mean two things: encoded
//! slashes, raw backslashes, and dot segments (which `ringway_codec::path` has taken out of every
//! request's path), so that the result names at most one file and that file is below the root.
//! Several slashes in a row are one. It never looks at the disk: the kernel's `RESOLVE_BENEATH`
//! guards against symbolic links. RFC 3986 sections 2.1 and 3.3, RFC 8615.

use ringway_codec::path::{merged, push_escaped};

/// Why a request path names nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadPath {
    /// Not a well-formed or not a normalised path: 400.
    Malformed,
    /// Well-formed, but no file may ever answer to it: 404.
    NotServed,
}

/// Appends to `out` the path below the root that `raw` names: what follows the slash of the mount
/// point, still percent-encoded; empty for the root itself. A trailing slash is kept: it says that
/// a directory was meant.
pub(crate) fn relative(raw: &[u8], out: &mut Vec<u8>) -> Result<(), BadPath> {
    let start = out.len();
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        at += 1;
        match byte {
            // Of several slashes the first counts, and the root has none.
            b'/' if matches!(out[start..].last(), None | Some(b'/')) => {}
            // A separator elsewhere, hence only ever an attempt here; escaped it is of a name.
            b'\\' => return Err(BadPath::NotServed),
            b'%' => {
                let digits = (raw.get(at).and_then(hex), raw.get(at + 1).and_then(hex));
                let (Some(high), Some(low)) = digits else { return Err(BadPath::Malformed) };
                at += 2;
                match high << 4 | low {
                    0 => return Err(BadPath::Malformed),
                    // An encoded slash is data, not a separator, and no file name holds one.
                    b'/' => return Err(BadPath::NotServed),
                    byte => out.push(byte),
                }
            }
            0 => return Err(BadPath::Malformed),
            byte => out.push(byte),
        }
    }
    segments(&out[start..])
}

/// The reference for a `Location` field: `path` (as received: [`relative`] has accepted it) with
/// `suffix`, one slash for several, then the query. Never starts with `//` or `/\`, which browsers
/// read as another host, and holds nothing but URI characters, so it cannot end the field line.
pub(crate) fn location(path: &[u8], suffix: &str, query: Option<&[u8]>) -> Vec<u8> {
    let path = path.trim_ascii_start();
    let merged = merged(path);
    let path = merged.as_deref().unwrap_or(path);
    let first = path.iter().position(|&byte| byte != b'/' && byte != b'\\').unwrap_or(path.len());
    let mut out = Vec::with_capacity(path.len() + suffix.len() + 2 + query.map_or(0, <[u8]>::len));
    out.push(b'/');
    escape(&path[first..], b"/", &mut out);
    out.extend_from_slice(suffix.as_bytes());
    if let Some(query) = query {
        out.push(b'?');
        escape(query, b"/?", &mut out);
    }
    out
}

/// Percent-encodes one file name for use as a relative reference (a directory listing's links).
pub(crate) fn escape_name(name: &[u8], out: &mut Vec<u8>) {
    for &byte in name {
        // A colon in a first segment would read as a scheme; a percent sign is data here.
        match byte {
            b'%' | b':' => push_escaped(byte, out),
            _ => escape(&[byte], b"", out),
        }
    }
}

/// Copies `text`, which may hold percent-escapes already; every byte that is neither a `pchar`
/// (RFC 3986, 3.3) nor in `also` is percent-encoded.
pub(super) fn escape(text: &[u8], also: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        let plain = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&byte);
        if plain || also.contains(&byte) {
            out.push(byte);
        } else {
            push_escaped(byte, out);
        }
    }
}

fn hex(digit: &u8) -> Option<u8> {
    char::from(*digit).to_digit(16).map(|value| value as u8)
}

/// Whether the decoded path may name a file: it has no dot segments, and nothing hidden.
pub(super) fn segments(path: &[u8]) -> Result<(), BadPath> {
    if path.is_empty() {
        return Ok(());
    }
    let named = path.strip_suffix(b"/").unwrap_or(path);
    for (index, segment) in named.split(|&byte| byte == b'/').enumerate() {
        match segment {
            b"." | b".." => return Err(BadPath::Malformed),
            // RFC 8615: the one dot name that is public, and only at the top.
            b".well-known" if index == 0 => {}
            // Hidden files: .git, .env, .htpasswd.
            [b'.', ..] => return Err(BadPath::NotServed),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(raw: &str) -> Result<String, BadPath> {
        let mut out = Vec::new();
        let raw = raw.strip_prefix('/').unwrap_or(raw);
        relative(raw.as_bytes(), &mut out).map(|()| String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn ordinary_paths_are_decoded_once() {
        for (raw, want) in [
            ("/", ""),
            ("", ""),
            ("/a", "a"),
            ("/a/b.html", "a/b.html"),
            ("/a/", "a/"),
            ("/%61", "a"),
            ("/a%20b", "a b"),
            ("/100%25", "100%"),
            ("/%c3%a9", "é"),
            ("/.well-known/acme-challenge/x", ".well-known/acme-challenge/x"),
            ("/a..b/c.", "a..b/c."),
            ("/%252e%252e/x", "%2e%2e/x"),
            // F14: bytes of a name, as a listing links them.
            ("/a%5Cb", "a\\b"),
            ("/%0d%0aX:1", "\r\nX:1"),
            ("/a%09%7f", "a\t\x7f"),
            // F5: one slash for several.
            ("//", ""),
            ("//a", "a"),
            ("/a//b", "a/b"),
            ("/a///", "a/"),
        ] {
            assert_eq!(mapped(raw).as_deref(), Ok(want), "{raw}");
        }
    }

    /// Rows 32 and 33.
    #[test]
    fn ways_out_and_around_are_refused() {
        use BadPath::{Malformed, NotServed};
        for (raw, want) in [
            ("/..", Malformed),
            ("/../etc/passwd", Malformed),
            ("/a/../../etc/passwd", Malformed),
            ("/%2e%2e/etc/passwd", Malformed),
            ("/%2E./x", Malformed),
            ("/./x", Malformed),
            ("/a/..", Malformed),
            ("/a/../", Malformed),
            ("/..%2fetc", NotServed),
            ("/..%5cetc", NotServed),
            ("/..\\etc", NotServed),
            ("/a\\b", NotServed),
            ("/a%00.html", Malformed),
            ("/%", Malformed),
            ("/%4", Malformed),
            ("/%zz", Malformed),
            ("/%+1", Malformed),
            ("//evil.com/%2e%2e", Malformed),
            ("//evil.com/..", Malformed),
            ("/.git/config", NotServed),
            ("/a/.env", NotServed),
            ("/%2egit/", NotServed),
            ("/a/.well-known/x", NotServed),
            ("/...", NotServed),
        ] {
            assert_eq!(mapped(raw), Err(want), "{raw}");
        }
    }

    /// Overlong UTF-8 is not decoded into what it spells: it is a file name of those bytes.
    #[test]
    fn overlong_utf8_stays_bytes() {
        let mut out = Vec::new();
        assert_eq!(relative(b"%c0%ae%c0%ae/x", &mut out), Ok(()));
        assert_eq!(out, b"\xc0\xae\xc0\xae/x");
    }

    /// Whatever is accepted holds no NUL, no empty, dot or dot-dot segment, for every short input
    /// over the bytes that matter.
    #[test]
    fn accepted_paths_stay_below_the_root() {
        const BYTES: &[u8] = b"/.%2ef5c0a\\";
        let mut out = Vec::new();
        for length in 0..=6_u32 {
            for number in 0..(BYTES.len() as u64).pow(length) {
                let mut rest = number;
                let mut raw = [0; 6];
                for byte in &mut raw[..length as usize] {
                    *byte = BYTES[(rest % BYTES.len() as u64) as usize];
                    rest /= BYTES.len() as u64;
                }
                out.clear();
                if relative(&raw[..length as usize], &mut out).is_ok() && !out.is_empty() {
                    assert!(!out.starts_with(b"/") && !out.contains(&0));
                    assert!(!raw[..length as usize].contains(&b'\\'), "only escaped");
                    let named = out.strip_suffix(b"/").unwrap_or(&out);
                    for segment in named.split(|&byte| byte == b'/') {
                        assert!(!segment.is_empty() && !segment.starts_with(b"."));
                    }
                }
            }
        }
    }

    /// Rows 20 and 21.
    #[test]
    fn locations_stay_on_this_host_and_on_one_line() {
        for (path, query, want) in [
            ("/docs", None, "/docs/"),
            ("/docs", Some("a=1&b=%20"), "/docs/?a=1&b=%20"),
            ("/docs", Some(""), "/docs/?"),
            ("//evil.com", None, "/evil.com/"),
            ("/a//b///c", Some("//"), "/a/b/c/?//"),
            ("///evil.com", None, "/evil.com/"),
            ("/\\evil.com", None, "/evil.com/"),
            ("\\/\\evil.com", None, "/evil.com/"),
            (" //evil.com", None, "/evil.com/"),
            ("/a\r\nX: 1", Some("b\r\nY: 2"), "/a%0D%0AX:%201/?b%0D%0AY:%202"),
            ("/a%0d%0aX:1", None, "/a%0d%0aX:1/"),
            ("/é\"<>", None, "/%C3%A9%22%3C%3E/"),
        ] {
            let got = location(path.as_bytes(), "/", query.map(str::as_bytes));
            assert_eq!(String::from_utf8_lossy(&got), want, "{path}");
        }
    }

    #[test]
    fn names_become_references() {
        let mut out = Vec::new();
        escape_name(b"a b:c%20?#\"<\xff/", &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "a%20b%3Ac%2520%3F%23%22%3C%FF%2F");
    }
}
