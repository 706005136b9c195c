//! RFC 9218 priorities as values: parsing the `Priority` field and the PRIORITY_UPDATE payload.
//! Which stream is served next is `queue`'s concern, RFC 7540's tree `tree`'s.

/// Urgency and incrementality of a response (RFC 9218 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Priority {
    /// 0 (most urgent) to 7.
    pub urgency: u8,
    /// Whether the response is useful in parts, so that it shares the connection with its equals.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self { urgency: 3, incremental: false }
    }
}

impl Priority {
    /// Reads a structured-field dictionary (RFC 9218 section 4, RFC 8941 section 3.2) over `self`:
    /// members that are absent, unknown, of the wrong type or out of range leave the value as it
    /// was. A member given twice counts as given last. A dictionary that does not parse is ignored
    /// as a whole.
    pub fn updated(self, value: &[u8]) -> Self {
        self.parse(value).unwrap_or(self)
    }

    fn parse(self, value: &[u8]) -> Option<Self> {
        let mut priority = self;
        let mut rest = trim(value);
        while !rest.is_empty() {
            let (key, after) = key(rest)?;
            let (item, after) = match after.split_first() {
                Some((b'=', after)) => bare_item(after)?,
                _ => (Item::Boolean(true), after),
            };
            match (key, item) {
                (b"u", Item::Integer(n @ 0..=7)) => priority.urgency = n as u8,
                (b"i", Item::Boolean(b)) => priority.incremental = b,
                _ => {}
            }
            rest = trim_start(parameters(after)?);
            if let Some((comma, after)) = rest.split_first() {
                rest = trim_start(after);
                if *comma != b',' || rest.is_empty() {
                    return None;
                }
            }
        }
        Some(priority)
    }
}

enum Item {
    Integer(i64),
    Boolean(bool),
    Other,
}

fn trim(value: &[u8]) -> &[u8] {
    trim_start(value.trim_ascii())
}

fn trim_start(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    value
}

fn split(value: &[u8], wanted: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = value.iter().position(|b| !wanted(*b)).unwrap_or(value.len());
    value.split_at(end)
}

fn key(value: &[u8]) -> Option<(&[u8], &[u8])> {
    if !matches!(value.first(), Some(b'a'..=b'z' | b'*')) {
        return None;
    }
    Some(split(value, |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*')))
}

/// One bare item. Strings, tokens, byte sequences and decimals are delimited only: no member that
/// we know has their type.
fn bare_item(value: &[u8]) -> Option<(Item, &[u8])> {
    match value.first()? {
        b'?' => match value.get(1)? {
            b'0' => Some((Item::Boolean(false), &value[2..])),
            b'1' => Some((Item::Boolean(true), &value[2..])),
            _ => None,
        },
        b'-' | b'0'..=b'9' => number(value),
        b'"' => {
            let mut at = 1;
            loop {
                match value.get(at)? {
                    b'"' => return Some((Item::Other, &value[at + 1..])),
                    b'\\' => at += 2,
                    0x20..=0x7e => at += 1,
                    _ => return None,
                }
            }
        }
        b':' => {
            let end = value[1..].iter().position(|b| *b == b':')?;
            Some((Item::Other, &value[end + 2..]))
        }
        b'a'..=b'z' | b'A'..=b'Z' | b'*' => {
            let (_, rest) =
                split(value, |b| b.is_ascii_graphic() && !b"\"(),;<=>?@[\\]{}".contains(&b));
            Some((Item::Other, rest))
        }
        _ => None,
    }
}

fn number(value: &[u8]) -> Option<(Item, &[u8])> {
    let (negative, digits) = match value.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, value),
    };
    let (digits, rest) = split(digits, |b| b.is_ascii_digit());
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    if let [b'.', fraction @ ..] = rest {
        let (fraction, rest) = split(fraction, |b| b.is_ascii_digit());
        return (1..=3).contains(&fraction.len()).then_some((Item::Other, rest));
    }
    let n = digits.iter().fold(0i64, |n, d| n * 10 + i64::from(d - b'0'));
    Some((Item::Integer(if negative { -n } else { n }), rest))
}

fn parameters(mut value: &[u8]) -> Option<&[u8]> {
    while let [b';', rest @ ..] = value {
        let (_, after) = key(trim_start(rest))?;
        value = match after.split_first() {
            Some((b'=', after)) => bare_item(after)?.1,
            _ => after,
        };
    }
    Some(value)
}

/// A guess for a response whose client stated nothing: what a page needs to be laid out comes
/// before what fills it. `content_type` is the response's own.
pub fn default_for(content_type: &[u8]) -> Priority {
    let kind = content_type.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    let is = |name: &[u8]| kind.eq_ignore_ascii_case(name);
    let starts = |name: &[u8]| kind.get(..name.len()).is_some_and(|k| k.eq_ignore_ascii_case(name));
    let (urgency, incremental) = if is(b"text/css") {
        (1, false)
    } else if is(b"text/html") || starts(b"font/") {
        (2, true)
    } else if is(b"text/javascript") || is(b"application/javascript") {
        (2, false)
    } else if starts(b"image/") {
        (5, true)
    } else if starts(b"video/") || starts(b"audio/") {
        (6, true)
    } else {
        (3, true)
    };
    Priority { urgency, incremental }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(urgency: u8, incremental: bool) -> Priority {
        Priority { urgency, incremental }
    }

    #[test]
    fn c11_priority_field() {
        let table: &[(&[u8], Priority)] = &[
            (b"", p(3, false)),
            (b"u=0", p(0, false)),
            (b"u=7, i", p(7, true)),
            (b"i", p(3, true)),
            (b"i=?0", p(3, false)),
            (b"i=?1,u=5", p(5, true)),
            (b" u=1 ,\ti ", p(1, true)),
            (b"u=1, u=2", p(2, false)),
            (b"u=8", p(3, false)),
            (b"u=-1", p(3, false)),
            (b"u=1.5, i", p(3, true)),
            (b"u=\"1\", i", p(3, true)),
            (b"x=\"a,\\\"b\", u=4", p(4, false)),
            (b"u=4;a;b=1, y=tok/en:x, z=:aGk=:, i", p(4, true)),
            (b"u=1,", p(3, false)),
            (b"u=1 i", p(3, false)),
            (b"U=1", p(3, false)),
            (b"u=", p(3, false)),
            (b"i=?2", p(3, false)),
            (b"u=1234567890123456", p(3, false)),
            (b"u=\"open", p(3, false)),
            (b"u=1\x00", p(3, false)),
        ];
        for (value, want) in table {
            assert_eq!(
                Priority::default().updated(value),
                *want,
                "{:?}",
                core::str::from_utf8(value)
            );
        }
        assert_eq!(p(1, true).updated(b"u=6"), p(6, true));
        assert_eq!(p(1, true).updated(b"!"), p(1, true));
    }

    #[test]
    fn c12_layout_before_pictures() {
        let urgency = |t: &str| default_for(t.as_bytes()).urgency;
        assert!(urgency("text/css") < urgency("text/html; charset=utf-8"));
        assert!(urgency("Text/CSS;charset=utf-8") < urgency("image/png"));
        assert!(urgency("text/javascript") < urgency("application/json"));
        assert!(urgency("image/webp") < urgency("video/mp4"));
        assert_eq!(default_for(b""), p(3, true));
    }

    #[test]
    fn no_input_makes_the_parser_fail_hard() {
        let alphabet = b"ui=?01,; \"\\:-.9a*\x80";
        let mut value = [0; 5];
        for n in 0..alphabet.len().pow(5) {
            let mut n = n;
            for b in &mut value {
                *b = alphabet[n % alphabet.len()];
                n /= alphabet.len();
            }
            for len in 4..=5 {
                assert!(Priority::default().updated(&value[..len]).urgency <= 7);
            }
        }
    }
}
