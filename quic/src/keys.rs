//! Derivation of the endpoint's secrets: one master secret, which survives restarts and is shared
//! by all workers, gives the keys of connection IDs, Retry tokens and stateless resets. TLS ticket
//! keys are derived from the same master by the module that owns certificates.

use boring::hash::hmac_sha256;

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
