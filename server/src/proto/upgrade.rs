//! The upgrade of an HTTP/1.1 connection to HTTP/2 without TLS (RFC 7540 section 3.2). RFC 9113
//! removed it, but clients still use it.

use ringway_codec::field::{Field, Known};

use crate::app::request::{OwnedRequest, Request};

/// A request that asked for the upgrade. It is answered on stream 1.
pub(crate) struct Upgrade {
    pub(crate) request: OwnedRequest,
    /// The client's settings, as a SETTINGS frame's payload.
    pub(crate) settings: Vec<u8>,
}

/// The response to the upgrade, sent before SETTINGS.
pub(crate) const SWITCHING: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: h2c\r\n\r\n";

impl Upgrade {
    /// The upgrade that a request asks for. `None` if its settings are unreadable; the request is
    /// then answered in HTTP/1.1.
    pub(crate) fn of(request: &Request<'_>) -> Option<Self> {
        let is_settings = |field: &&Field| field.known == Known::Http2Settings;
        let field = request.fields.iter().find(is_settings)?;
        let settings = base64url(field.value(request.bytes))?;
        // Identifier and value, six octets each (RFC 9113 section 6.5.1).
        if settings.len() % 6 != 0 {
            return None;
        }
        Some(Self { request: request.to_owned(), settings })
    }
}

/// Decodes base64url without padding (RFC 4648 section 5); `None` for anything else.
fn base64url(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for symbol in text {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    (bits & ((1 << count) - 1) == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_base64url() {
        assert_eq!(base64url(b"").as_deref(), Some(&b""[..]));
        assert_eq!(
            base64url(b"AAMAAABkAAQAAP__"),
            Some(vec![0, 3, 0, 0, 0, 100, 0, 4, 0, 0, 255, 255])
        );
        assert_eq!(base64url(b"Zg").as_deref(), Some(&b"f"[..]));
        assert_eq!(base64url(b"Zm8").as_deref(), Some(&b"fo"[..]));
        for wrong in [&b"A"[..], b"AAAAA", b"AA==", b"A+/=", b"Zh", b"A A"] {
            assert_eq!(base64url(wrong), None, "{}", String::from_utf8_lossy(wrong));
        }
    }
}
