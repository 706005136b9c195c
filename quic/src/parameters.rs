//! The transport parameters of a client (RFC 9000 sections 7.4 and 18.2), checked before quiche
//! reads them: quiche 0.30 closes silently if the first Initial fails, and accepts some that the
//! RFC forbids. The certificate callback of the TLS context that goes into
//! [`Settings::config`](crate::Settings::config) calls [`violation`] and [`note`], and pauses the
//! handshake; the connection finds the note and closes with TRANSPORT_PARAMETER_ERROR. BoringSSL
//! answers a missing extension with the alert missing_extension (RFC 9001 section 8.2).
//!
//! The parameters of a second ClientHello, after a HelloRetryRequest, are not checked: BoringSSL
//! and quiche use the first ones.

use std::sync::OnceLock;

use boring::ex_data::Index;
use boring::ssl::{Ssl, SslRef};

/// A client's violation, as the reason phrase of the close.
pub type Violation = &'static str;

/// The state that a connection and the certificate callback share.
struct Hello {
    /// The Source Connection ID of the client's first Initial.
    source: Vec<u8>,
    violation: Option<Violation>,
}

/// Passes the client's source connection ID to the certificate callback of `ssl`.
pub(crate) fn expect(ssl: &mut SslRef, source: &[u8]) {
    ssl.set_ex_data(index(), Hello { source: source.to_vec(), violation: None });
}

/// The violation recorded by [`note`].
pub(crate) fn noted(ssl: &SslRef) -> Option<Violation> {
    ssl.ex_data(index())?.violation
}

/// The violation in a ClientHello's extension quic_transport_parameters, if any.
pub fn violation(ssl: &SslRef, extension: &[u8]) -> Option<Violation> {
    judge(extension, ssl.ex_data(index()).map(|hello| &hello.source[..])).err()
}

/// Records a violation for the connection of `ssl`, which then closes.
pub fn note(ssl: &mut SslRef, violation: Violation) {
    if let Some(hello) = ssl.ex_data_mut(index()) {
        hello.violation = Some(violation);
    }
}

fn index() -> Index<Ssl, Hello> {
    static INDEX: OnceLock<Index<Ssl, Hello>> = OnceLock::new();
    *INDEX.get_or_init(|| match Ssl::new_ex_index() {
        Ok(index) => index,
        Err(error) => panic!("no room for one more SSL data index: {error}"),
    })
}

/// `source`: the required initial_source_connection_id, if known.
fn judge(extension: &[u8], source: Option<&[u8]>) -> Result<(), Violation> {
    let (mut rest, mut seen, mut has_source) = (extension, Vec::new(), false);
    while !rest.is_empty() {
        let cut = "a transport parameter is cut";
        let id = varint(&mut rest).ok_or(cut)?;
        let len = varint(&mut rest).and_then(|len| usize::try_from(len).ok()).ok_or(cut)?;
        let value = rest.split_off(..len).ok_or(cut)?;
        seen.push(id);
        has_source |= id == 0x0f;
        one(id, value, source)?;
    }
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() < count {
        return Err("a transport parameter comes twice");
    }
    if has_source { Ok(()) } else { Err("initial_source_connection_id is missing") }
}

fn one(id: u64, value: &[u8], source: Option<&[u8]>) -> Result<(), Violation> {
    let allowed = match id {
        0x00 => return Err("original_destination_connection_id is a server's"),
        0x02 => return Err("stateless_reset_token is a server's"),
        0x0d => return Err("preferred_address is a server's"),
        0x10 => return Err("retry_source_connection_id is a server's"),
        0x0c if !value.is_empty() => return Err("disable_active_migration is not empty"),
        0x0f if source.is_some_and(|source| source != value) => {
            return Err("initial_source_connection_id is not the header's");
        }
        // max_udp_payload_size, initial_max_streams of both kinds, ack_delay_exponent,
        // max_ack_delay, active_connection_id_limit.
        0x03 => 1200..=u64::MAX,
        0x08 | 0x09 => 0..=1 << 60,
        0x0a => 0..=20,
        0x0b => 0..=(1 << 14) - 1,
        0x0e => 2..=u64::MAX,
        // Other integers, and max_datagram_frame_size (RFC 9221 section 3).
        0x01 | 0x04..=0x07 | 0x20 => 0..=u64::MAX,
        _ => return Ok(()),
    };
    let mut rest = value;
    match varint(&mut rest) {
        Some(number) if !allowed.contains(&number) => Err("a transport parameter is out of range"),
        Some(_) if rest.is_empty() => Ok(()),
        _ => Err("a transport parameter is not one integer"),
    }
}

/// Removes and returns the integer at the front (RFC 9000 section 16).
fn varint(input: &mut &[u8]) -> Option<u64> {
    let len = 1 << (input.first()? >> 6);
    let bytes = input.split_off(..len)?;
    let value = bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
    Some(value & (u64::MAX >> (66 - 8 * len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &[u8] = b"client";

    fn parameter(id: u8, value: &[u8]) -> Vec<u8> {
        [&[id, value.len() as u8], value].concat()
    }

    fn with(more: &[u8]) -> Vec<u8> {
        [&parameter(0x0f, SOURCE), more].concat()
    }

    fn is_good(extension: &[u8]) -> bool {
        judge(extension, Some(SOURCE)).is_ok()
    }

    const MOST: [u8; 8] = [0xff; 8];

    #[test]
    fn f2_allowed_parameters() {
        assert!(is_good(&with(b"")));
        for id in [1, 3, 4, 5, 6, 7, 0x0e, 0x20] {
            assert!(is_good(&with(&parameter(id, &MOST))), "{id}");
        }
        assert!(is_good(&with(&parameter(0x0c, b""))));
        // Unknown, reserved (section 18.1), and not in the shortest encoding.
        assert!(is_good(&with(&parameter(0x1b, b"anything"))));
        assert!(is_good(&with(&[0x40, 0x0a, 0x40, 0x02, 0x40, 20])));
        assert!(judge(&with(b""), None).is_ok());
    }

    /// Each bound of section 18.2, and one below or above it.
    #[test]
    fn f2_ranges() {
        let number = |value: u64| (value | 0xc000_0000_0000_0000).to_be_bytes();
        for (id, good, bad) in [
            (0x03, 1200, 1199),
            (0x08, 1 << 60, (1 << 60) + 1),
            (0x09, 1 << 60, (1 << 60) + 1),
            (0x0a, 20, 21),
            (0x0b, (1 << 14) - 1, 1 << 14),
            (0x0e, 2, 1),
        ] {
            assert!(is_good(&with(&parameter(id, &number(good)))), "{id}");
            assert!(!is_good(&with(&parameter(id, &number(bad)))), "{id}");
        }
    }

    #[test]
    fn f2_malformed_parameters() {
        assert!(!is_good(b""), "no source");
        assert!(!is_good(&parameter(0x0f, b"other")));
        assert!(!is_good(&with(&parameter(0x0f, SOURCE))), "twice");
        assert!(!is_good(&with(&[0x40, 0x0f, 6, b'c', b'l', b'i', b'e', b'n', b't'])));
        assert!(!is_good(&with(&[parameter(0x1b, b""), parameter(0x1b, b"")].concat())));
        for id in [0x00, 0x02, 0x0d, 0x10] {
            assert!(!is_good(&with(&parameter(id, &[0; 16]))), "a server's {id}");
        }
        assert!(!is_good(&with(&parameter(0x0c, &[0]))));
        for id in [1, 3, 4, 5, 6, 7, 8, 9, 0x0a, 0x0b, 0x0e, 0x20] {
            for value in [&b""[..], &[0xc0], &[0x40], &[10, 0], &[0x44, 0xb0, 0]] {
                assert!(!is_good(&with(&parameter(id, value))), "{id} {value:?}");
            }
        }
        let whole = with(&parameter(4, &MOST));
        for end in SOURCE.len() + 3..whole.len() {
            assert!(!is_good(&whole[..end]), "cut at {end}");
        }
    }
}
