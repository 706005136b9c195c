//! TLS for test clients, by rustls, with any certificate accepted.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

use super::PATIENCE;

pub type Stream = rustls::StreamOwned<ClientConnection, Counted>;

/// A TCP stream that counts the TLS records of application data coming in.
#[derive(Debug)]
pub struct Counted {
    tcp: TcpStream,
    header: Vec<u8>,
    left: usize,
    pub records: u64,
}

impl std::ops::Deref for Counted {
    type Target = TcpStream;
    fn deref(&self) -> &TcpStream {
        &self.tcp
    }
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = self.tcp.read(into)?;
        for &byte in &into[..len] {
            if self.left > 0 {
                self.left -= 1;
                continue;
            }
            self.header.push(byte);
            if let [kind, _, _, high, low] = self.header[..] {
                self.left = usize::from(high) << 8 | usize::from(low);
                self.records += u64::from(kind == 23);
                self.header.clear();
            }
        }
        Ok(len)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// A TCP connection that does not wait for ever.
pub fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A client's configuration; sessions are resumed between connections that share it.
pub fn config(alpn: &[&[u8]]) -> ClientConfig {
    config_of(rustls::DEFAULT_VERSIONS, alpn)
}

/// The same, for these versions alone.
pub fn config_of(
    versions: &[&'static rustls::SupportedProtocolVersion],
    alpn: &[&[u8]],
) -> ClientConfig {
    config_with(aws_lc_rs::default_provider(), versions, alpn)
}

/// The same, with these suites and groups.
pub fn config_with(
    provider: CryptoProvider,
    versions: &[&'static rustls::SupportedProtocolVersion],
    alpn: &[&[u8]],
) -> ClientConfig {
    let provider = Arc::new(provider);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(versions).unwrap();
    let any = Arc::new(Any(provider));
    let mut config =
        builder.dangerous().with_custom_certificate_verifier(any).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

/// A connection whose handshake is complete.
pub fn connect(address: SocketAddr, alpn: &[&[u8]], name: &'static str) -> Stream {
    try_connect(address, Arc::new(config(alpn)), name).unwrap()
}

pub fn try_connect(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    name: &'static str,
) -> io::Result<Stream> {
    let name = ServerName::try_from(name).unwrap();
    let connection = ClientConnection::new(config, name).unwrap();
    let sock = Counted { tcp: tcp(address), header: Vec::new(), left: 0, records: 0 };
    let mut stream = rustls::StreamOwned::new(connection, sock);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

#[derive(Debug)]
struct Any(Arc<CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
