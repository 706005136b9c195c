//! Against rustls' own client, in memory: no sockets, no threads, no time that matters.

mod files;
mod handshake;
mod quic;
mod records;
mod resume;

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedCipherSuite};

use super::{Acceptor, Alpn, Error, Session, SessionEvent, Tls};

/// A client and a session of ours, and what is on the way to the session.
struct Pair {
    client: ClientConnection,
    server: Session,
    /// Bytes of the client that the session has not consumed.
    wire: Vec<u8>,
    /// Bytes of the session that the client has not got.
    answer: Vec<u8>,
    /// Application data the session has opened.
    received: Vec<u8>,
    events: Vec<SessionEvent>,
}

impl Pair {
    fn new(client: Arc<ClientConfig>, name: &str, acceptor: &mut Acceptor) -> Self {
        let name = name.to_owned().try_into().unwrap();
        Self {
            client: ClientConnection::new(client, name).unwrap(),
            server: acceptor.session().unwrap(),
            wire: Vec::new(),
            answer: Vec::new(),
            received: Vec::new(),
            events: Vec::new(),
        }
    }

    /// An established pair.
    fn established(client: Arc<ClientConfig>, name: &str, acceptor: &mut Acceptor) -> Self {
        let mut pair = Self::new(client, name, acceptor);
        pair.settle().unwrap();
        assert!(!pair.server.is_handshaking() && !pair.client.is_handshaking());
        pair
    }

    /// Moves bytes to and fro until neither side has any.
    fn settle(&mut self) -> Result<(), Error> {
        loop {
            while self.client.wants_write() {
                self.client.write_tls(&mut self.wire).unwrap();
            }
            let moved = !self.wire.is_empty();
            self.receive()?;
            if self.answer.is_empty() && !self.client.wants_write() {
                return Ok(());
            }
            assert!(moved || !self.answer.is_empty());
            self.deliver().unwrap();
        }
    }

    /// Lets the session read what is on the wire.
    fn receive(&mut self) -> Result<(), Error> {
        let mut at = 0;
        loop {
            let step = self.server.read(&mut self.wire[at..], &mut self.answer)?;
            if step.event != SessionEvent::None {
                self.events.push(step.event);
            }
            self.received.extend_from_slice(&self.wire[at..][step.plain]);
            at += step.consumed;
            if step.consumed == 0 {
                break;
            }
        }
        self.wire.drain(..at);
        Ok(())
    }

    /// Lets the client read what the session answered.
    fn deliver(&mut self) -> Result<(), rustls::Error> {
        let answer = std::mem::take(&mut self.answer);
        let mut rest = &answer[..];
        while !rest.is_empty() {
            self.client.read_tls(&mut rest).unwrap();
            self.client.process_new_packets()?;
        }
        Ok(())
    }

    /// Data from the session to the client: what arrives.
    fn down(&mut self, data: &[u8]) -> Vec<u8> {
        let mut got = Vec::new();
        // The client buffers little plaintext, so it reads in between.
        for data in data.chunks(MAX_FLUSH) {
            self.server.seal(data, &mut self.answer).unwrap();
            self.deliver().unwrap();
            let mut part = vec![0; data.len()];
            self.client.reader().read_exact(&mut part).unwrap();
            got.extend(part);
        }
        got
    }

    /// Data from the client to the session: what arrives.
    fn up(&mut self, data: &[u8]) -> Result<Vec<u8>, Error> {
        for data in data.chunks(MAX_FLUSH) {
            self.client.writer().write_all(data).unwrap();
            self.settle()?;
        }
        Ok(std::mem::take(&mut self.received))
    }
}

const MAX_FLUSH: usize = 16_000;

/// A client that trusts the certificates of `tls` and offers `alpn`.
fn client(tls: &Tls, alpn: &[&str]) -> ClientConfig {
    client_with(tls, alpn, aws_lc_rs::default_provider())
}

/// The same with one cipher suite only.
fn client_of(tls: &Tls, suite: SupportedCipherSuite) -> ClientConfig {
    let provider = CryptoProvider { cipher_suites: vec![suite], ..aws_lc_rs::default_provider() };
    client_with(tls, &["h2"], provider)
}

fn client_with(tls: &Tls, alpn: &[&str], provider: CryptoProvider) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in tls.certificates() {
        roots.add(certificate.chain().last().unwrap().clone()).unwrap();
    }
    let versions: Vec<_> = [&rustls::version::TLS13, &rustls::version::TLS12]
        .into_iter()
        .filter(|version| provider.cipher_suites.iter().any(|suite| suite.version() == *version))
        .collect();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(32);
    config
}

const BOTH: &[Alpn] = &[Alpn::H2, Alpn::Http11];

/// Bytes that differ from their neighbours.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 ^ (at >> 8) as u8).collect()
}
