//! Retry tokens (RFC 9000 section 8.1.2): a client echoes one to show that it owns its address. A
//! token is sealed, so it cannot be forged, moved to another address, or used for another attempt
//! or after it has expired. quiche does not send NEW_TOKEN frames.

use std::net::{IpAddr, SocketAddr};

use boring::symm::{Cipher, decrypt_aead, encrypt_aead};

use crate::keys::{Keys, random};

const NONCE: usize = 12;
const TAG: usize = 16;
const EXPIRY: usize = 8;
const CID_MAX: usize = 20;
const LEN_MAX: usize = NONCE + EXPIRY + CID_MAX + TAG;

/// Seals and opens tokens.
#[derive(Clone)]
pub struct Tokens {
    key: [u8; 32],
}

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not sealed by us for this address and this attempt.
    Forged,
    /// Ours, but expired.
    Expired,
}

impl Tokens {
    /// A sealer of tokens under `keys`.
    pub fn new(keys: &Keys) -> Self {
        Self { key: keys.token }
    }

    /// A token for the client at `address` whose first Initial had the destination `original`, and
    /// whose next one will have `retry`, the source of our Retry packet. It is valid until
    /// `expires_s` (seconds of Unix time).
    pub fn seal(
        &self,
        address: SocketAddr,
        original: &[u8],
        retry: &[u8],
        expires_s: u64,
    ) -> Vec<u8> {
        assert!(original.len() <= CID_MAX, "quiche checks connection IDs of version 1");
        let mut plain = Vec::with_capacity(EXPIRY + original.len());
        plain.extend_from_slice(&expires_s.to_be_bytes());
        plain.extend_from_slice(original);
        let mut nonce = [0; NONCE];
        random(&mut nonce);
        let mut tag = [0; TAG];
        let bound = bound_to(address, retry);
        let cipher = Cipher::aes_256_gcm();
        match encrypt_aead(cipher, &self.key, Some(&nonce), &bound, &plain, &mut tag) {
            Ok(sealed) => [&nonce[..], &sealed, &tag].concat(),
            Err(error) => panic!("AES-256-GCM seals {} bytes: {error}", plain.len()),
        }
    }

    /// The original destination that `token` carries, if it was sealed for the client at `address`
    /// and the Initial's destination `retry`, and has not expired at `now_s` (seconds of Unix
    /// time).
    pub fn open(
        &self,
        token: &[u8],
        address: SocketAddr,
        retry: &[u8],
        now_s: u64,
    ) -> Result<Vec<u8>, Refused> {
        if token.len() < NONCE + EXPIRY + TAG || token.len() > LEN_MAX {
            return Err(Refused::Forged);
        }
        let (nonce, rest) = token.split_at(NONCE);
        let (sealed, tag) = rest.split_at(rest.len() - TAG);
        let bound = bound_to(address, retry);
        let plain =
            decrypt_aead(Cipher::aes_256_gcm(), &self.key, Some(nonce), &bound, sealed, tag)
                .map_err(|_| Refused::Forged)?;
        let (expiry, original) = plain.split_first_chunk::<EXPIRY>().ok_or(Refused::Forged)?;
        if now_s > u64::from_be_bytes(*expiry) {
            return Err(Refused::Expired);
        }
        Ok(original.to_vec())
    }
}

/// The associated data: what a token is bound to, which its bearer repeats in the clear.
fn bound_to(address: SocketAddr, retry: &[u8]) -> Vec<u8> {
    let mut bound = Vec::with_capacity(1 + 16 + 2 + retry.len());
    match address.ip() {
        IpAddr::V4(ip) => {
            bound.push(4);
            bound.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            bound.push(6);
            bound.extend_from_slice(&ip.octets());
        }
    }
    bound.extend_from_slice(&address.port().to_be_bytes());
    bound.extend_from_slice(retry);
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4242);

    fn tokens(master: u8) -> Tokens {
        Tokens::new(&Keys::derive(&[master; 32]))
    }

    #[test]
    fn a_token_opens_for_its_client_until_it_expires() {
        let token = tokens(1).seal(CLIENT, b"original", b"retry", 100);
        for now in [0, 99, 100] {
            assert_eq!(tokens(1).open(&token, CLIENT, b"retry", now), Ok(b"original".to_vec()));
        }
        assert_eq!(tokens(1).open(&token, CLIENT, b"retry", 101), Err(Refused::Expired));
    }

    /// Row 70: forged, moved to another address or attempt, truncated, extended, empty.
    #[test]
    fn any_other_token_is_forged() {
        let ours = tokens(1);
        let token = ours.seal(CLIENT, b"original", b"retry", 100);
        let elsewhere: SocketAddr = "127.0.0.2:4242".parse().unwrap();
        let other_port: SocketAddr = "127.0.0.1:4243".parse().unwrap();
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:4242".parse().unwrap();
        for address in [elsewhere, other_port, mapped] {
            assert_eq!(ours.open(&token, address, b"retry", 0), Err(Refused::Forged));
        }
        assert_eq!(ours.open(&token, CLIENT, b"retrY", 0), Err(Refused::Forged));
        assert_eq!(tokens(2).open(&token, CLIENT, b"retry", 0), Err(Refused::Forged));
        for at in 0..token.len() {
            let mut altered = token.clone();
            altered[at] ^= 1;
            assert_eq!(ours.open(&altered, CLIENT, b"retry", 0), Err(Refused::Forged));
            assert_eq!(ours.open(&token[..at], CLIENT, b"retry", 0), Err(Refused::Forged));
        }
        let long = [&token[..], &[0; 100]].concat();
        assert_eq!(ours.open(&long, CLIENT, b"retry", 0), Err(Refused::Forged));
    }
}
