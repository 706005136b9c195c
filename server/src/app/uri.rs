//! URIs that are sent or passed on (RFC 3986).

use ringway_codec::path;

/// Percent-encodes the characters that a URI reference must not contain; escapes stay as they are.
pub(crate) fn escaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?#[]%".contains(&byte) {
            out.push(byte);
        } else {
            path::push_escaped(byte, &mut out);
        }
    }
    out
}
