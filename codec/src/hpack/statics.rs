//! HPACK's static table (RFC 7541 appendix A), and the layout of it and QPACK's: all octets in one
//! blob, each name directly before its value, so one copy turns an entry into a field.

use super::table::SLACK;
use crate::field::Known;

/// A static entry's place in its table's blob.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Static {
    pub(crate) at: u16,
    pub(crate) name_len: u16,
    pub(crate) value_len: u16,
    pub(crate) known: Known,
}

/// Octets of all pairs and the slack after them.
pub(crate) const fn blob_len(pairs: &[(&str, &str)]) -> usize {
    let (mut total, mut index) = (SLACK, 0);
    while index < pairs.len() {
        total += pairs[index].0.len() + pairs[index].1.len();
        index += 1;
    }
    total
}

/// The octets of all pairs.
pub(crate) const fn blob<const LEN: usize>(pairs: &[(&str, &str)]) -> [u8; LEN] {
    let mut blob = [0; LEN];
    let (mut to, mut index) = (0, 0);
    while index < pairs.len() {
        let (name, value) = (pairs[index].0.as_bytes(), pairs[index].1.as_bytes());
        let mut at = 0;
        while at < name.len() + value.len() {
            blob[to] = if at < name.len() { name[at] } else { value[at - name.len()] };
            to += 1;
            at += 1;
        }
        index += 1;
    }
    blob
}

/// Each pair's place in the blob, and its name.
pub(crate) const fn entries<const N: usize>(pairs: &[(&str, &str); N]) -> [Static; N] {
    let mut entries = [Static { at: 0, name_len: 0, value_len: 0, known: Known::Other }; N];
    let (mut at, mut index) = (0, 0);
    while index < N {
        let (name, value) = pairs[index];
        entries[index] = Static {
            at,
            name_len: name.len() as u16,
            value_len: value.len() as u16,
            known: if name.is_empty() { Known::Other } else { known(name) },
        };
        at += (name.len() + value.len()) as u16;
        index += 1;
    }
    entries
}

/// The number of a static table's name; a name that [`Known`] lacks fails to compile.
const fn known(name: &str) -> Known {
    let mut index = 0;
    loop {
        assert!(index < Known::ALL.len(), "a static table's name is not in Known");
        if same(Known::ALL[index].name().as_bytes(), name.as_bytes()) {
            return Known::ALL[index];
        }
        index += 1;
    }
}

pub(crate) const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Every [`Known`] by its number.
pub(crate) static KNOWN: [Known; 256] = {
    let mut all = [Known::Other; 256];
    let mut index = 0;
    while index < Known::ALL.len() {
        all[Known::ALL[index] as usize] = Known::ALL[index];
        index += 1;
    }
    all
};

/// For each [`Known`] the first entry of that name, or `none`.
pub(crate) const fn by_name<const N: usize>(entries: &[Static; N], none: u8) -> [u8; 256] {
    let mut names = [none; 256];
    let mut index = N;
    while index > 0 {
        index -= 1;
        if entries[index].name_len > 0 {
            names[entries[index].known as usize] = index as u8;
        }
    }
    names
}

static BLOB: [u8; blob_len(&PAIRS)] = blob(&PAIRS);

/// Entry 0 does not exist (RFC 7541 section 6.1).
pub(crate) static ENTRIES: [Static; 62] = entries(&PAIRS);

/// The static index of a name; 0: none.
pub(crate) static NAMES: [u8; 256] = by_name(&ENTRIES_FOR_NAMES, 0);
const ENTRIES_FOR_NAMES: [Static; 62] = entries(&PAIRS);

/// The entry's name and value, and the octets that follow them.
#[inline]
pub(crate) fn octets(entry: &Static) -> &'static [u8; SLACK] {
    let Some(chunk) = BLOB[usize::from(entry.at)..].first_chunk() else { unreachable!() };
    chunk
}

/// The static index of a whole pair; 0: none.
#[inline]
pub(crate) fn pair(known: Known, value: &[u8]) -> u8 {
    match (known, value) {
        (Known::PseudoMethod, b"GET") => 2,
        (Known::PseudoMethod, b"POST") => 3,
        (Known::PseudoPath, b"/") => 4,
        (Known::PseudoPath, b"/index.html") => 5,
        (Known::PseudoScheme, b"http") => 6,
        (Known::PseudoScheme, b"https") => 7,
        (Known::AcceptEncoding, b"gzip, deflate") => 16,
        _ => 0,
    }
}

#[rustfmt::skip]
const PAIRS: [(&str, &str); 62] = [
    ("", ""), (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"),
    (":path", "/index.html"), (":scheme", "http"), (":scheme", "https"), (":status", "200"),
    (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
    (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""),
    ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""),
    ("authorization", ""), ("cache-control", ""), ("content-disposition", ""),
    ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""),
    ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
    ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""),
    ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""),
    ("via", ""), ("www-authenticate", ""),
];
