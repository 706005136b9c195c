//! Derivation of the endpoint's secrets: one master secret, which survives restarts and is shared
//! by all workers, gives the keys of connection IDs, Retry tokens and stateless resets. TLS ticket
//! keys are derived from the same master by the module that owns certificates.

use boring::hash::hmac_sha256;
use zeroize::{Zeroize, Zeroizing};

/// The derived keys of one endpoint. Endpoints made from the same master understand each other's
/// connection IDs, accept each other's tokens and can reset each other's connections (RFC 9000
/// sections 8.1.4 and 10.3.2).
#[derive(Clone)]
pub struct Keys {
    /// AES-128 key of connection IDs.
    pub(crate) cid: [u8; 16],
    /// Odd multiplier that masks the steering byte of a connection ID.
    pub(crate) steering: u32,
    /// AES-256-GCM key of Retry tokens.
    pub(crate) token: [u8; 32],
    /// HMAC key of stateless reset tokens.
    pub(crate) reset: [u8; 32],
}

impl Keys {
    /// Bytes of [`Self::to_bytes`].
    pub const BYTES: usize = 16 + 4 + 32 + 32;

    /// The keys for the process that replaces this one: it recognises our connection IDs, accepts
    /// our tokens and can reset our connections, whatever master it has itself.
    pub fn to_bytes(&self) -> Zeroizing<[u8; Self::BYTES]> {
        let mut bytes = Zeroizing::new([0; Self::BYTES]);
        bytes[..16].copy_from_slice(&self.cid);
        bytes[16..20].copy_from_slice(&self.steering.to_be_bytes());
        bytes[20..52].copy_from_slice(&self.token);
        bytes[52..].copy_from_slice(&self.reset);
        bytes
    }

    /// The keys of [`Self::to_bytes`].
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let mut keys = Self { cid: [0; 16], steering: 0, token: [0; 32], reset: [0; 32] };
        keys.cid.copy_from_slice(&bytes[..16]);
        keys.steering = u32::from_be_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]) | 1;
        keys.token.copy_from_slice(&bytes[20..52]);
        keys.reset.copy_from_slice(&bytes[52..]);
        keys
    }

    /// Derives all keys from `master`, 32 secret bytes.
    pub fn derive(master: &[u8; 32]) -> Self {
        let mut cid = [0; 16];
        cid.copy_from_slice(&expand(master, b"ringway quic connection id")[..16]);
        let steer = expand(master, b"ringway quic steering");
        Self {
            cid,
            steering: u32::from_be_bytes([steer[0], steer[1], steer[2], steer[3]]) | 1,
            token: expand(master, b"ringway quic token"),
            reset: expand(master, b"ringway quic stateless reset"),
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.cid.zeroize();
        self.steering.zeroize();
        self.token.zeroize();
        self.reset.zeroize();
    }
}

/// No use needs more key material than one HMAC block, so HKDF-Expand reduces to one HMAC.
fn expand(master: &[u8; 32], label: &[u8]) -> [u8; 32] {
    keyed_hash(master, label)
}

/// HMAC-SHA256, which fails only when memory is exhausted.
pub(crate) fn keyed_hash(key: &[u8], data: &[u8]) -> [u8; 32] {
    match hmac_sha256(key, data) {
        Ok(tag) => tag,
        Err(error) => panic!("HMAC-SHA256 over {} bytes: {error}", data.len()),
    }
}

/// Fills `bytes` from the system's generator.
pub(crate) fn random(bytes: &mut [u8]) {
    if let Err(error) = boring::rand::rand_bytes(bytes) {
        panic!("the random generator failed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::{Cids, Origin};

    #[test]
    fn keys_come_back_from_their_bytes() {
        let keys = Keys::derive(&[3; 32]);
        let again = Keys::from_bytes(&keys.to_bytes());
        assert_eq!(*again.to_bytes(), *keys.to_bytes());
        let origin = Origin { worker: 4, generation: 99 };
        let cid = Cids::new(&keys).mint(origin);
        assert_eq!(Cids::new(&again).decode(&cid), Some(origin));
        assert_eq!(Cids::new(&again).steering(), Cids::new(&keys).steering());
    }
}
