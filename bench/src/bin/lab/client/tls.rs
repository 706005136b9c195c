//! The client's side of TLS over TCP. It trusts only the server's own certificate, so verification
//! costs as much as in the field.

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::io;
use std::sync::Arc;

/// Configurations with different ALPN offers; they share their sessions.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) h1: Arc<ClientConfig>,
    pub(crate) h2: Arc<ClientConfig>,
}

impl Tls {
    /// Of this version only; `resumes`: a second connection continues the first one's session.
    pub(crate) fn new(
        certificate: &CertificateDer<'static>,
        version: &'static SupportedProtocolVersion,
        resumes: bool,
    ) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[version]).map_err(io::Error::other)?;
        let mut h1 = builder.with_root_certificates(roots).with_no_client_auth();
        h1.resumption =
            if resumes { Resumption::in_memory_sessions(8) } else { Resumption::disabled() };
        h1.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut h2 = h1.clone();
        h2.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { h1: Arc::new(h1), h2: Arc::new(h2) })
    }
}
