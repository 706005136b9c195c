//! The canonical form of a path: one text for all of its spellings.
//!
//! RFC 3986 section 6.2.2: escapes of unreserved characters are decoded, the hexadecimal digits of
//! the others are upper case, and dot segments are removed, escaped ones included. Raw UTF-8, which
//! a URI must not contain, is percent-encoded (RFC 3987 section 3.1). Routes, files and handlers
//! all see this form, so another spelling cannot bypass a rule about a path. An escaped slash stays
//! escaped: it is a byte of a name (RFC 3986 section 2.2). Empty segments stay.

use alloc::vec::Vec;
use core::fmt;

/// Why a path has no canonical form. The peer erred: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Its dot segments lead above the root.
    AboveRoot,
    /// A percent sign without two hexadecimal digits behind it.
    Escape,
    /// Raw bytes from 0x80 on that are not UTF-8.
    Utf8,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::AboveRoot => "the path leads above the root",
            Self::Escape => "the path has a percent sign without two hexadecimal digits",
            Self::Utf8 => "the path has bytes that are not UTF-8",
        })
    }
}

impl core::error::Error for Error {}

/// Whether `path` is in canonical form, so that [`canonical`] would only copy it.
pub fn is_canonical(path: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        at += 1;
        match byte {
            b'%' => match path.get(at..at + 2) {
                Some(&[high @ (b'0'..=b'9' | b'A'..=b'F'), low @ (b'0'..=b'9' | b'A'..=b'F')])
                    if !is_unreserved(hex(high) << 4 | hex(low)) =>
                {
                    at += 2;
                }
                _ => return false,
            },
            b'/' if matches!(
                &path[at..],
                b"." | b".." | [b'.', b'/', ..] | [b'.', b'.', b'/', ..]
            ) =>
            {
                return false;
            }
            byte if !is_graphic(byte) => return false,
            _ => {}
        }
    }
    true
}

/// Appends the canonical form of `path` to `out`. After an error the appended bytes are
/// meaningless. A path that does not begin with a slash (`*` of OPTIONS, empty for CONNECT) is
/// copied.
///
/// Empty segments add no depth, so `//..` leads above the root: it does for software that reads
/// `//` as one slash.
pub fn canonical(path: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    if path.first() != Some(&b'/') {
        out.extend_from_slice(path);
        return Ok(());
    }
    if !path.is_ascii() && core::str::from_utf8(path).is_err() {
        return Err(Error::Utf8);
    }
    let start = out.len();
    // Segments in `out` that are not empty.
    let mut depth = 0_usize;
    let mut rest = Some(&path[1..]);
    while let Some(text) = rest {
        let end = text.iter().position(|byte| *byte == b'/');
        rest = end.map(|end| &text[end + 1..]);
        let slash = out.len();
        out.push(b'/');
        decode(&text[..end.unwrap_or(text.len())], out)?;
        match &out[slash + 1..] {
            b"." => out.truncate(slash),
            b".." => {
                out.truncate(slash);
                if depth == 0 {
                    return Err(Error::AboveRoot);
                }
                let last = out[start..].iter().rposition(|byte| *byte == b'/').unwrap_or_default();
                depth -= usize::from(start + last + 1 < out.len());
                out.truncate(start + last);
            }
            b"" => continue,
            _ => {
                depth += 1;
                continue;
            }
        }
        if rest.is_none() {
            out.push(b'/');
        }
    }
    Ok(())
}

/// `path` with each run of slashes merged into one; `None` if there is no such run. Not part of the
/// canonical form, because `//` differs from `/` in RFC 3986. Routes and files treat both alike and
/// call this.
pub fn merged(path: &[u8]) -> Option<Vec<u8>> {
    // No early exit, so that the loop is vectorized; paths are short.
    let pairs = path.iter().zip(path.get(1..)?);
    if !pairs.fold(false, |seen, (a, b)| seen | (*a == b'/' && *b == b'/')) {
        return None;
    }
    let mut out = path.to_vec();
    out.dedup_by(|a, b| *a == b'/' && *b == b'/');
    Some(out)
}

/// Appends a segment with its escapes of unreserved characters decoded.
fn decode(segment: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let mut at = 0;
    while let Some(&byte) = segment.get(at) {
        at += 1;
        if byte != b'%' {
            if is_graphic(byte) {
                out.push(byte)
            } else {
                push_escaped(byte, out)
            }
            continue;
        }
        let Some(&[high, low]) = segment.get(at..at + 2) else { return Err(Error::Escape) };
        if !high.is_ascii_hexdigit() || !low.is_ascii_hexdigit() {
            return Err(Error::Escape);
        }
        at += 2;
        let byte = hex(high) << 4 | hex(low);
        if is_unreserved(byte) { out.push(byte) } else { push_escaped(byte, out) }
    }
    Ok(())
}

/// Appends `byte` percent-encoded (RFC 3986 section 2.1).
pub fn push_escaped(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    (digit & 15) + if digit.is_ascii_digit() { 0 } else { 9 }
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Visible ASCII: more than a URI may contain, but `"`, `|` and the like stand for themselves.
fn is_graphic(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn made(path: &str) -> Result<String, Error> {
        let mut out = b"before".to_vec();
        canonical(path.as_bytes(), &mut out)?;
        Ok(String::from_utf8(out[6..].to_vec()).unwrap())
    }

    /// F5: RFC 3986 sections 5.2.4 (its own examples first) and 6.2.2.
    #[test]
    fn f5_one_form_for_all_spellings() {
        for (path, want) in [
            ("/a/b/c/./../../g", "/a/g"),
            ("/mid/content=5/../6", "/mid/6"),
            ("/a/b/c/d/../../../g", "/a/g"),
            ("/deb/./Packages", "/deb/Packages"),
            ("/./deb/Packages", "/deb/Packages"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/../", "/"),
            ("/a/b/..", "/a/"),
            ("/.", "/"),
            ("/a/%2e/b", "/a/b"),
            ("/a/%2E%2e/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/private/%2e%2e/private/x", "/private/x"),
            ("/%7euser/%41%2d%5F", "/~user/A-_"),
            ("/a%2fb/..%2Fc", "/a%2Fb/..%2Fc"),
            ("/%c3%a9", "/%C3%A9"),
            ("/é", "/%C3%A9"),
            ("/a//b", "/a//b"),
            ("/a//../b", "/a/b"),
            ("/a//../../b", "/b"),
            ("//a", "//a"),
            ("/...", "/..."),
            ("/..a/.b/c.", "/..a/.b/c."),
            ("/%252e%252e/x", "/%252e%252e/x"),
            ("/%00%5c", "/%00%5C"),
            ("/a b", "/a%20b"),
            ("/", "/"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(made(path).as_deref(), Ok(want), "{path}");
        }
    }

    #[test]
    fn f5_paths_without_a_canonical_form() {
        for path in
            ["/..", "/../x", "/a/../../x", "/%2e%2E", "/./..", "//..", "/a//../../..", "/.%2e/"]
        {
            assert_eq!(made(path), Err(Error::AboveRoot), "{path}");
        }
        for path in ["/%", "/%4", "/%zz", "/%+1", "/a%/b", "/%%32e"] {
            assert_eq!(made(path), Err(Error::Escape), "{path}");
        }
        assert_eq!(canonical(b"/\xc0\xaf", &mut Vec::new()), Err(Error::Utf8));
        assert_eq!(canonical(b"/\xff/..", &mut Vec::new()), Err(Error::Utf8));
    }

    /// For every short path over the bytes that matter: canonical paths are unchanged, no other
    /// path is reported as canonical, and no dot segment remains.
    #[test]
    fn f5_the_canonical_form_is_a_fixed_point() {
        const BYTES: &[u8] = b"/.%2eE5\xc3\xa9a";
        let (mut once, mut twice) = (Vec::new(), Vec::new());
        for length in 0..=5_u32 {
            for number in 0..(BYTES.len() as u64).pow(length) {
                let (mut rest, mut path) = (number, [b'/'; 6]);
                for byte in &mut path[1..=length as usize] {
                    *byte = BYTES[(rest % BYTES.len() as u64) as usize];
                    rest /= BYTES.len() as u64;
                }
                let path = &path[..=length as usize];
                once.clear();
                twice.clear();
                if canonical(path, &mut once).is_err() {
                    assert!(!is_canonical(path), "{}", path.escape_ascii());
                    continue;
                }
                assert_eq!(is_canonical(path), once == path, "{}", path.escape_ascii());
                assert!(is_canonical(&once) && once.is_ascii() && once[0] == b'/');
                assert_eq!(canonical(&once, &mut twice), Ok(()));
                assert_eq!(once, twice, "{}", path.escape_ascii());
                let dots = |segment: &[u8]| segment == b"." || segment == b"..";
                assert!(!once.split(|byte| *byte == b'/').any(dots), "{}", path.escape_ascii());
            }
        }
    }
}
