//! Certificates of clients, which only some hosts ask for: by the server name of the handshake,
//! on both stacks. A connection whose handshake did not ask for a host's authorities is not for
//! that host, whatever the certificate covers (RFC 9110 section 7.4: 421).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use ringway_quic::boring;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::ProducesTickets;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use boring::error::ErrorStack;
use boring::ssl::SslRef;
use boring::x509::X509;
use boring::x509::store::{X509Store, X509StoreBuilder};

use super::error::ConfigError;
use super::tap;
use super::tickets::Tickets;

/// Hosts whose clients are asked for certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuthority {
    /// Names, lower case; `*.` for every first label.
    pub hosts: Vec<String>,
    /// PEM: the authorities.
    pub file: PathBuf,
    /// Whether a handshake without a certificate fails.
    pub is_required: bool,
}

/// All of them, by host.
#[derive(Debug, Default)]
pub(super) struct Clients {
    exact: HashMap<String, usize>,
    wildcard: HashMap<String, usize>,
    groups: Vec<Group>,
}

struct Group {
    verifier: Arc<dyn ClientCertVerifier>,
    /// The same authorities for QUIC.
    authorities: X509Store,
    is_required: bool,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("is_required", &self.is_required).finish_non_exhaustive()
    }
}

impl Clients {
    /// Adds hosts, with the authorities that they ask for and rustls' verifier of them.
    pub(super) fn add(
        &mut self,
        authority: &ClientAuthority,
        certificates: &[CertificateDer<'static>],
        verifier: Arc<dyn ClientCertVerifier>,
    ) -> Result<(), ConfigError> {
        let authorities = store(certificates).map_err(|error| {
            ConfigError::new(&authority.file, format!("BoringSSL, for QUIC: {error}"))
        })?;
        for host in &authority.hosts {
            let (map, name) = match host.strip_prefix("*.") {
                Some(name) => (&mut self.wildcard, name),
                None => (&mut self.exact, host.as_str()),
            };
            map.insert(name.to_owned(), self.groups.len());
        }
        self.groups.push(Group { verifier, authorities, is_required: authority.is_required });
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether a connection made for server name `name` may be asked for `host`.
    pub(super) fn allow(&self, name: Option<&str>, host: &str) -> bool {
        self.is_empty() || self.find(host).is_none_or(|asked| self.of(name) == Some(asked))
    }

    /// Which clients are asked in a handshake for `name`.
    fn of(&self, name: Option<&str>) -> Option<usize> {
        // As certificates are chosen.
        name.and_then(|name| self.find(name.strip_suffix('.').unwrap_or(name)))
    }

    fn find(&self, host: &str) -> Option<usize> {
        let above = || host.split_once('.').and_then(|(_, above)| self.wildcard.get(above));
        self.exact.get(host).or_else(above).copied()
    }

    /// As [`Self::of`], for the handshake that this thread is in.
    fn current(&self) -> Option<&Group> {
        tap::with_name(|name| self.of(name)).and_then(|at| self.groups.get(at))
    }

    /// Has BoringSSL ask the client of a handshake for `name`, if it is to be asked.
    pub(super) fn ask(&self, name: Option<&str>, ssl: &mut SslRef) -> Result<(), ErrorStack> {
        let Some(group) = self.of(name).and_then(|at| self.groups.get(at)) else { return Ok(()) };
        // Who shows none, or a wrong one, is told by the answer to each request.
        ringway_quic::clients::ask(ssl, group.authorities.clone())
    }

    /// Whether a handshake for `name` asks for a certificate, so that it neither gives nor takes
    /// tickets.
    pub(super) fn are_asked(&self, name: Option<&str>) -> bool {
        !self.is_empty() && self.of(name).is_some()
    }
}

fn store(certificates: &[CertificateDer<'static>]) -> Result<X509Store, ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    for der in certificates {
        store.add_cert(X509::from_der(der)?)?;
    }
    Ok(store.build())
}

/// rustls' verifier: that of the host which the handshake is for.
#[derive(Debug)]
pub(super) struct ByHost(pub(super) Arc<Clients>);

impl ByHost {
    fn current(&self) -> Option<&Group> {
        self.0.current()
    }

    /// Any verifier: signatures are the same to all.
    fn any(&self) -> Result<&Arc<dyn ClientCertVerifier>, rustls::Error> {
        let group = self.0.groups.first();
        group.map(|group| &group.verifier).ok_or_else(no_verifier)
    }
}

fn no_verifier() -> rustls::Error {
    rustls::Error::General("nobody is asked for a certificate".into())
}

impl ClientCertVerifier for ByHost {
    fn offer_client_auth(&self) -> bool {
        // rustls asks before there is a ClientHello whether it is to keep what TLS 1.2's
        // CertificateVerify signs, and again for the handshake at hand.
        !tap::is_listening() || self.current().is_some()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.current().is_some_and(|group| group.is_required)
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.current().map_or(&[], |group| group.verifier.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let group = self.current().ok_or_else(no_verifier)?;
        group.verifier.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.any()?.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.any()?.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.any().map(|verifier| verifier.supported_verify_schemes()).unwrap_or_default()
    }
}

/// rustls' tickets, but for handshakes that ask for a certificate.
#[derive(Debug)]
pub(super) struct NotForClients(pub(super) Arc<Clients>, pub(super) Arc<Tickets>);

impl NotForClients {
    fn are_asked(&self) -> bool {
        self.0.current().is_some()
    }
}

impl ProducesTickets for NotForClients {
    fn enabled(&self) -> bool {
        self.1.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.1.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if self.are_asked() { None } else { self.1.encrypt(plain) }
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        if self.are_asked() { None } else { self.1.decrypt(cipher) }
    }
}
