//! TLS records made by hand, for clients that keep no rules: rustls makes the handshake, and its
//! secrets, which a key log tells, protect what the test wants to send.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{self, Prk};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384;
use rustls::{ClientConfig, ClientConnection};

use crate::harness::tls;

pub const CHANGE: u8 = 20;
pub const ALERT: u8 = 21;
pub const HANDSHAKE: u8 = 22;
pub const DATA: u8 = 23;

/// A record that nothing protects.
pub fn clear(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &(body.len() as u16).to_be_bytes(), body].concat()
}

/// The records in front of `bytes`, headers included.
pub fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while let [_, _, _, high, low, ..] = *bytes {
        let len = 5 + usize::from(u16::from_be_bytes([high, low]));
        let Some((record, rest)) = bytes.split_at_checked(len) else { break };
        records.push(record);
        bytes = rest;
    }
    records
}

/// The secrets that a client's handshakes tell, the last of each label.
#[derive(Debug, Default)]
pub struct Secrets(Mutex<HashMap<String, Vec<u8>>>);

impl Secrets {
    pub fn get(&self, label: &str) -> Vec<u8> {
        self.0.lock().unwrap().get(label).unwrap_or_else(|| panic!("no {label}")).clone()
    }
}

impl rustls::KeyLog for Secrets {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        self.0.lock().unwrap().insert(label.to_owned(), secret.to_vec());
    }
}

/// HKDF-Expand-Label without a context (RFC 8446 section 7.1).
pub fn expand(secret: &[u8], label: &str, len: usize) -> Vec<u8> {
    struct Len(usize);
    impl hkdf::KeyType for Len {
        fn len(&self) -> usize {
            self.0
        }
    }
    let hash = if secret.len() == 48 { hkdf::HKDF_SHA384 } else { hkdf::HKDF_SHA256 };
    let label_len = [6 + label.len() as u8];
    let info = [&(len as u16).to_be_bytes()[..], &label_len, b"tls13 ", label.as_bytes(), &[0]];
    let mut out = vec![0; len];
    Prk::new_less_safe(hash, secret).expand(&info, Len(len)).unwrap().fill(&mut out).unwrap();
    out
}

/// One direction of a TLS 1.3 connection by `TLS_AES_256_GCM_SHA384`.
pub struct Keys {
    key: LessSafeKey,
    iv: Vec<u8>,
    sequence: u64,
}

impl Keys {
    pub fn new(secret: &[u8]) -> Self {
        let key = UnboundKey::new(&aead::AES_256_GCM, &expand(secret, "key", 32)).unwrap();
        Self { key: LessSafeKey::new(key), iv: expand(secret, "iv", 12), sequence: 0 }
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce: [u8; 12] = self.iv[..].try_into().unwrap();
        for (byte, part) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= part;
        }
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    /// A record with this content, its type, and so many bytes of padding.
    pub fn seal(&mut self, kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
        self.seal_raw(&[content, &[kind], &vec![0; padding]].concat())
    }

    /// A record whose inside is these very bytes.
    pub fn seal_raw(&mut self, inside: &[u8]) -> Vec<u8> {
        let mut body = inside.to_vec();
        let header = clear(DATA, &vec![0; body.len() + 16])[..5].to_vec();
        let nonce = self.nonce();
        self.key.seal_in_place_append_tag(nonce, Aad::from(&header), &mut body).unwrap();
        [header, body].concat()
    }

    /// The content of a record and its type.
    pub fn open(&mut self, record: &[u8]) -> (u8, Vec<u8>) {
        let mut body = record[5..].to_vec();
        let nonce = self.nonce();
        let inside = self.key.open_in_place(nonce, Aad::from(&record[..5]), &mut body).unwrap();
        let end = inside.iter().rposition(|&byte| byte != 0).unwrap();
        (inside[end], inside[..end].to_vec())
    }
}

/// A client that has the server's flight and has not sent its own Finished.
pub struct Held {
    pub tcp: TcpStream,
    pub rustls: ClientConnection,
    pub secrets: Arc<Secrets>,
    /// What rustls would send now: in TLS 1.3 a change_cipher_spec and the Finished, sealed.
    pub flight: Vec<u8>,
}

impl Held {
    /// By TLS 1.3 and the suite of [`Keys`].
    pub fn new(at: SocketAddr, alpn: &[u8]) -> Self {
        let provider = rustls::crypto::CryptoProvider {
            cipher_suites: vec![TLS13_AES_256_GCM_SHA384],
            ..rustls::crypto::aws_lc_rs::default_provider()
        };
        Self::with(at, tls::config_with(provider, &[&rustls::version::TLS13], &[alpn]))
    }

    pub fn with(at: SocketAddr, mut config: ClientConfig) -> Self {
        let secrets = Arc::new(Secrets::default());
        config.key_log = Arc::clone(&secrets) as _;
        let name = "localhost".try_into().unwrap();
        let mut rustls = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut tcp = tls::tcp(at);
        rustls.write_tls(&mut tcp).unwrap();
        while !rustls.wants_write() {
            assert!(rustls.read_tls(&mut tcp).unwrap() > 0, "the server answers");
            rustls.process_new_packets().unwrap();
        }
        let mut flight = Vec::new();
        while rustls.wants_write() {
            rustls.write_tls(&mut flight).unwrap();
        }
        Self { tcp, rustls, secrets, flight }
    }

    /// The keys of the client's handshake messages.
    pub fn handshake_keys(&self) -> Keys {
        Keys::new(&self.secrets.get("CLIENT_HANDSHAKE_TRAFFIC_SECRET"))
    }

    /// The Finished message.
    pub fn finished(&self) -> Vec<u8> {
        let record = records(&self.flight).into_iter().find(|record| record[0] == DATA).unwrap();
        self.handshake_keys().open(record).1
    }

    /// Sends these bytes; what the server says until it ends the connection, opened.
    pub fn told(mut self, bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let _ = self.tcp.write_all(bytes);
        let mut said = Vec::new();
        let _ = self.tcp.read_to_end(&mut said);
        let mut keys = Keys::new(&self.secrets.get("SERVER_TRAFFIC_SECRET_0"));
        records(&said).into_iter().map(|record| keys.open(record)).collect()
    }
}
