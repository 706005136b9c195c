//! QPACK's static table (RFC 9204 appendix A), with HPACK's layout.

use crate::field::Known;
use crate::hpack::statics::{Static, blob, blob_len, by_name, entries};
use crate::hpack::table::SLACK;

/// In [`NAMES`] and [`NEXT`]: no entry.
pub(crate) const NONE: u8 = 255;

const COUNT: usize = 99;

static BLOB: [u8; blob_len(&PAIRS)] = blob(&PAIRS);

pub(crate) static ENTRIES: [Static; COUNT] = ALL;
const ALL: [Static; COUNT] = entries(&PAIRS);

/// The first static index of a name.
pub(crate) static NAMES: [u8; 256] = by_name(&ALL, NONE);

/// For each entry the next of the same name.
static NEXT: [u8; COUNT] = {
    let (mut next, mut last) = ([NONE; COUNT], [NONE; 256]);
    let mut index = COUNT;
    while index > 0 {
        index -= 1;
        next[index] = last[ALL[index].known as usize];
        last[ALL[index].known as usize] = index as u8;
    }
    next
};

/// The entry's name and value, and the octets that follow them; two pairs are longer than this.
#[inline]
pub(crate) fn octets(entry: &Static) -> &'static [u8; SLACK] {
    let Some(chunk) = BLOB[usize::from(entry.at)..].first_chunk() else { unreachable!() };
    chunk
}

/// The entry's name and value.
#[inline]
pub(crate) fn whole(entry: &Static) -> &'static [u8] {
    &BLOB[usize::from(entry.at)..][..usize::from(entry.name_len) + usize::from(entry.value_len)]
}

/// The static index of a whole pair.
#[inline]
pub(crate) fn pair(known: Known, value: &[u8]) -> Option<u8> {
    let mut index = NAMES[known as usize];
    while let Some(entry) = ENTRIES.get(usize::from(index)) {
        if usize::from(entry.value_len) == value.len()
            && whole(entry)[usize::from(entry.name_len)..] == *value
        {
            return Some(index);
        }
        index = NEXT[usize::from(index)];
    }
    None
}

#[rustfmt::skip]
const PAIRS: [(&str, &str); COUNT] = [
    (":authority", ""), (":path", "/"), ("age", "0"), ("content-disposition", ""),
    ("content-length", "0"), ("cookie", ""), ("date", ""), ("etag", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("last-modified", ""), ("link", ""), ("location", ""), ("referer", ""),
    ("set-cookie", ""), (":method", "CONNECT"), (":method", "DELETE"), (":method", "GET"),
    (":method", "HEAD"), (":method", "OPTIONS"), (":method", "POST"), (":method", "PUT"),
    (":scheme", "http"), (":scheme", "https"), (":status", "103"), (":status", "200"),
    (":status", "304"), (":status", "404"), (":status", "503"), ("accept", "*/*"),
    ("accept", "application/dns-message"), ("accept-encoding", "gzip, deflate, br"),
    ("accept-ranges", "bytes"), ("access-control-allow-headers", "cache-control"),
    ("access-control-allow-headers", "content-type"), ("access-control-allow-origin", "*"),
    ("cache-control", "max-age=0"), ("cache-control", "max-age=2592000"),
    ("cache-control", "max-age=604800"), ("cache-control", "no-cache"),
    ("cache-control", "no-store"), ("cache-control", "public, max-age=31536000"),
    ("content-encoding", "br"), ("content-encoding", "gzip"),
    ("content-type", "application/dns-message"), ("content-type", "application/javascript"),
    ("content-type", "application/json"), ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "image/gif"), ("content-type", "image/jpeg"), ("content-type", "image/png"),
    ("content-type", "text/css"), ("content-type", "text/html; charset=utf-8"),
    ("content-type", "text/plain"), ("content-type", "text/plain;charset=utf-8"),
    ("range", "bytes=0-"), ("strict-transport-security", "max-age=31536000"),
    ("strict-transport-security", "max-age=31536000; includesubdomains"),
    ("strict-transport-security", "max-age=31536000; includesubdomains; preload"),
    ("vary", "accept-encoding"), ("vary", "origin"), ("x-content-type-options", "nosniff"),
    ("x-xss-protection", "1; mode=block"), (":status", "100"), (":status", "204"),
    (":status", "206"), (":status", "302"), (":status", "400"), (":status", "403"),
    (":status", "421"), (":status", "425"), (":status", "500"), ("accept-language", ""),
    ("access-control-allow-credentials", "FALSE"), ("access-control-allow-credentials", "TRUE"),
    ("access-control-allow-headers", "*"), ("access-control-allow-methods", "get"),
    ("access-control-allow-methods", "get, post, options"),
    ("access-control-allow-methods", "options"),
    ("access-control-expose-headers", "content-length"),
    ("access-control-request-headers", "content-type"), ("access-control-request-method", "get"),
    ("access-control-request-method", "post"), ("alt-svc", "clear"), ("authorization", ""),
    ("content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"),
    ("early-data", "1"), ("expect-ct", ""), ("forwarded", ""), ("if-range", ""), ("origin", ""),
    ("purpose", "prefetch"), ("server", ""), ("timing-allow-origin", "*"),
    ("upgrade-insecure-requests", "1"), ("user-agent", ""), ("x-forwarded-for", ""),
    ("x-frame-options", "deny"), ("x-frame-options", "sameorigin"),

];
