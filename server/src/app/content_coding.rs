//! `Accept-Encoding`: chooses the content coding of a response, for files and for dynamic answers.
//!
//! This module only chooses; others compress. RFC 9110 sections 12.4.2 and 12.5.3.

/// A content coding, in the server's order of preference among equal weights: smallest output
/// first, identity last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Coding {
    /// `br`, RFC 7932.
    Brotli,
    /// `zstd`, RFC 8878.
    Zstd,
    /// `gzip`, RFC 1952.
    Gzip,
    /// No coding.
    Identity,
}

impl Coding {
    /// All codings, most preferred first.
    pub(crate) const ALL: [Self; 4] = [Self::Brotli, Self::Zstd, Self::Gzip, Self::Identity];

    /// All but identity.
    pub(crate) const COMPRESSED: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// The value of `Content-Encoding`; `None` for identity.
    pub(crate) fn token(self) -> Option<&'static str> {
        match self {
            Self::Brotli => Some("br"),
            Self::Zstd => Some("zstd"),
            Self::Gzip => Some("gzip"),
            Self::Identity => None,
        }
    }

    /// File name suffix of a file with this coding.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
            Self::Identity => "",
        }
    }

    fn named(token: &[u8]) -> Option<Self> {
        let is = |name: &str| token.eq_ignore_ascii_case(name.as_bytes());
        match token.len() {
            2 if is("br") => Some(Self::Brotli),
            4 if is("zstd") => Some(Self::Zstd),
            4 if is("gzip") => Some(Self::Gzip),
            6 if is("x-gzip") => Some(Self::Gzip),
            8 if is("identity") => Some(Self::Identity),
            _ => None,
        }
    }
}

/// A set of codings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Codings(u8);

impl Codings {
    /// The set with `coding` added.
    pub(crate) fn with(self, coding: Coding) -> Self {
        Self(self.0 | 1 << coding as u8)
    }

    /// The set without `coding`.
    pub(crate) fn without(self, coding: Coding) -> Self {
        Self(self.0 & !(1 << coding as u8))
    }

    /// What is in either set.
    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether nothing is in the set.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `coding` is in the set.
    pub(crate) fn has(self, coding: Coding) -> bool {
        self.0 & 1 << coding as u8 != 0
    }
}

/// What a client accepts: a weight from 0 (refused) to 1000 for each coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    weights: [u16; 4],
}

impl Accepted {
    /// Parses the field's value. `None` means that the request has no such field; then only
    /// identity is chosen. RFC 9110 would allow any coding, but clients that can decode send the
    /// field.
    pub(crate) fn parse(value: Option<&[u8]>) -> Self {
        let Some(value) = value else { return Self { weights: [0, 0, 0, 1] } };
        let mut stated = [None; 4];
        let mut others = None;
        for member in value.split(|&byte| byte == b',') {
            let mut parts = member.split(|&byte| byte == b';');
            let token = parts.next().unwrap_or_default().trim_ascii();
            let weight = parts.next().map_or(Some(1000), weight);
            // A member with an unreadable weight is ignored.
            let (Some(weight), None) = (weight, parts.next()) else { continue };
            if token == b"*" {
                others = Some(weight);
            } else if let Some(coding) = Coding::named(token) {
                stated[coding as usize] = Some(weight);
            }
        }
        let mut weights = stated.map(|weight| weight.or(others).unwrap_or(0));
        if stated[Coding::Identity as usize].is_none() && others != Some(0) {
            // Identity is acceptable unless excluded, but ranks below every coding the client
            // named.
            weights[Coding::Identity as usize] = 1;
        }
        Self { weights }
    }

    /// True if the client refuses an uncoded response.
    pub(crate) fn refuses_identity(&self) -> bool {
        self.weights[Coding::Identity as usize] == 0
    }

    /// The best available coding; `None` if the client accepts none of them (406).
    pub(crate) fn choose(&self, available: Codings) -> Option<Coding> {
        let mut best = None;
        let mut best_weight = 0;
        for coding in Coding::ALL {
            let weight = self.weights[coding as usize];
            if available.has(coding) && weight > best_weight {
                best = Some(coding);
                best_weight = weight;
            }
        }
        best
    }
}

/// True if a content type is worth compressing: text, and binary formats that contain text.
pub(crate) fn compressible(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or(content_type);
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || matches!(
            essence,
            "application/json"
                | "application/javascript"
                | "application/wasm"
                | "application/xml"
                | "application/x-ndjson"
                | "application/vnd.ms-fontobject"
                | "font/otf"
                | "font/ttf"
                | "image/bmp"
                | "image/x-icon"
        )
}

/// Recent field values and their meaning. There are about as many different values as browsers, and
/// parsing one costs more than the rest of an answer from memory.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    known: [Option<(Box<[u8]>, Accepted)>; RECENT],
    next: usize,
}

/// Number of cached values.
const RECENT: usize = 4;
/// Longer values are not cached, which bounds the memory.
const RECENT_BYTES_MAX: usize = 128;

impl Recent {
    /// Same as [`Accepted::parse`], cached.
    pub(crate) fn parse(&mut self, value: Option<&[u8]>) -> Accepted {
        let Some(text) = value else { return Accepted::parse(None) };
        let known = self.known.iter().flatten().find(|(known, _)| **known == *text);
        if let Some((_, accepted)) = known {
            return *accepted;
        }
        let accepted = Accepted::parse(value);
        if text.len() <= RECENT_BYTES_MAX {
            self.known[self.next] = Some((text.into(), accepted));
            self.next = (self.next + 1) % RECENT;
        }
        accepted
    }
}

/// Parses a `q` parameter, in thousandths: `q=0.5` is 500.
pub(crate) fn weight(parameter: &[u8]) -> Option<u16> {
    let parameter = parameter.trim_ascii();
    let [b'q' | b'Q', b'=', whole @ (b'0' | b'1'), fraction @ ..] = parameter else {
        return None;
    };
    let digits = match fraction {
        [] => &[],
        [b'.', digits @ ..] if digits.len() <= 3 => digits,
        _ => return None,
    };
    let mut value = u16::from(whole - b'0') * 1000;
    let mut unit = 100;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value += u16::from(digit - b'0') * unit;
        unit /= 10;
    }
    (value <= 1000).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Codings {
        Coding::ALL.into_iter().fold(Codings::default(), Codings::with)
    }

    fn choose(value: &str, available: Codings) -> Option<Coding> {
        Accepted::parse(Some(value.as_bytes())).choose(available)
    }

    /// Row B8.
    #[test]
    fn weights_decide_then_our_order() {
        use Coding::{Brotli, Gzip, Identity, Zstd};
        for (value, want) in [
            ("gzip, deflate, br, zstd", Some(Brotli)),
            ("gzip, deflate", Some(Gzip)),
            ("x-gzip", Some(Gzip)),
            ("GZIP;Q=1.0", Some(Gzip)),
            ("gzip;q=1.0, br;q=0.9", Some(Gzip)),
            ("gzip;q=0.5, br;q=0.500, zstd;q=0.501", Some(Zstd)),
            ("br;q=0, gzip", Some(Gzip)),
            ("*", Some(Brotli)),
            ("*, br;q=0", Some(Zstd)),
            ("gzip;q=0.001", Some(Gzip)),
            ("", Some(Identity)),
            ("deflate", Some(Identity)),
            ("identity", Some(Identity)),
            ("identity, gzip;q=0.5", Some(Identity)),
            ("identity;q=0.5, gzip;q=0.5", Some(Gzip)),
            ("*;q=0", None),
            ("identity;q=0", None),
            ("identity;q=0, gzip", Some(Gzip)),
            ("*;q=0, identity", Some(Identity)),
            ("*;q=0, br", Some(Brotli)),
            ("br ; q=0.3 , gzip ;q=0.4", Some(Gzip)),
            ("br;q=2, gzip", Some(Gzip)),
            ("br;q=0.1234, br;level=1, br;q, ;;, ,", Some(Identity)),
        ] {
            assert_eq!(choose(value, all()), want, "{value}");
        }
    }

    #[test]
    fn recent_values_mean_what_they_mean() {
        let mut recent = Recent::default();
        let long = format!("gzip{}", " ".repeat(RECENT_BYTES_MAX));
        let values = ["br", "gzip", "br, gzip", "", "zstd", "*;q=0", long.as_str()];
        for value in values.iter().chain(&values).chain(&["br", "br"]) {
            let value = Some(value.as_bytes());
            assert_eq!(recent.parse(value), Accepted::parse(value));
        }
        assert_eq!(recent.parse(None), Accepted::parse(None));
    }

    #[test]
    fn only_what_exists_is_chosen() {
        let plain = Codings::default().with(Coding::Identity);
        assert_eq!(choose("br, gzip", plain), Some(Coding::Identity));
        assert_eq!(choose("br, identity;q=0", plain), None);
        assert_eq!(choose("br, gzip", plain.with(Coding::Gzip)), Some(Coding::Gzip));
        assert_eq!(Accepted::parse(None).choose(all()), Some(Coding::Identity));
    }
}
