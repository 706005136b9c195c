//! Certificates: read from PEM, checked before they are used, chosen by server name.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SignatureScheme};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::clients::Clients;
use super::error::ConfigError;
use super::{boring, tap, x509};
use crate::ring::broker;

/// The files of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the certificate first, then its issuers up to but without the root.
    pub chain: PathBuf,
    /// PEM: the private key (PKCS#8, PKCS#1 or SEC1), unencrypted.
    pub key: PathBuf,
    /// DER: an OCSP response to staple.
    pub ocsp: Option<PathBuf>,
}

impl CertificateFiles {
    /// A chain and its key.
    pub fn new(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { chain: chain.into(), key: key.into(), ocsp: None }
    }

    /// Every file to watch.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.chain, &self.key].into_iter().chain(&self.ocsp).map(PathBuf::as_path)
    }
}

/// A flaw that clients find in a certificate or in an issuer of its chain. It is served anyway: a
/// server that does not start helps nobody, least of all whoever renews it over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The certificate at this place of the chain, 0 for the server's own, ended at this second
    /// since 1970.
    Expired(usize, i64),
    /// The certificate at this place of the chain begins at this second since 1970.
    Early(usize, i64),
    /// It has no subjectAltName with a host or an address, by which alone clients find it to be
    /// the server's (RFC 9525 section 6.3).
    Nameless,
}

impl Flaw {
    /// Whether every client refuses the certificate for it.
    pub(crate) fn is_refused_by_all(&self) -> bool {
        matches!(self, Self::Expired(0, _) | Self::Early(0, _))
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let consequence = |at: &usize| match at {
            0 => "clients refuse it",
            _ => "clients that need this issuer refuse the chain",
        };
        match self {
            Self::Expired(at, end) => {
                let why = consequence(at);
                write!(f, "certificate {} expired on {}: {why}", at + 1, Day(*end))
            }
            Self::Early(at, begin) => {
                let why = consequence(at);
                write!(f, "certificate {} is not valid before {}: {why}", at + 1, Day(*begin))
            }
            Self::Nameless => f.write_str(
                "certificate 1 names no host (no subjectAltName): clients refuse it, and requests \
                 for any host are answered",
            ),
        }
    }
}

/// A certificate with its key, fit to be served by either TLS stack.
pub struct Certificate {
    /// The file that the chain was read from, if any.
    file: Option<PathBuf>,
    key: Arc<CertifiedKey>,
    key_der: PrivateKeyDer<'static>,
    /// The same for QUIC, made together, so that both stacks take a certificate or neither does.
    boring: boring::Credential,
    facts: x509::Facts,
    /// The first and the last second of validity, since 1970, of each certificate of the chain.
    validity: Vec<[i64; 2]>,
}

impl Certificate {
    /// Reads and checks the files: both parse, and the key belongs to the certificate.
    pub(super) fn load(files: &CertificateFiles) -> Result<Self, ConfigError> {
        let chain = read_pem(&files.chain)?;
        let chain = CertificateDer::pem_slice_iter(&chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| ConfigError::new(&files.chain, bad_pem(error)))?;
        if chain.is_empty() {
            return Err(ConfigError::new(&files.chain, "holds no certificate"));
        }
        let pem = read_pem(&files.key)?;
        if pem.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) {
            let reason = "the private key is encrypted: decrypt it, nobody is there to be asked";
            return Err(ConfigError::new(&files.key, reason));
        }
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|error| ConfigError::new(&files.key, bad_pem(error)))?;
        let ocsp = files.ocsp.as_deref().map(read).transpose()?;
        let made = Self::new(chain, key, ocsp).map_err(|refused| match refused {
            Refused::Chain(reason) => ConfigError::new(&files.chain, reason),
            Refused::Key(reason) => ConfigError::new(&files.key, reason),
        });
        Ok(Self { file: Some(files.chain.clone()), ..made? })
    }

    /// Checks what [`Certificate::load`] checks.
    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        key_der: PrivateKeyDer<'static>,
        ocsp: Option<Vec<u8>>,
    ) -> Result<Self, Refused> {
        let mut facts = Vec::with_capacity(chain.len());
        for (at, der) in chain.iter().enumerate() {
            let of = x509::read(der)
                .ok_or_else(|| Refused::Chain(format!("certificate {} is malformed", at + 1)))?;
            facts.push(of);
        }
        let validity = facts.iter().map(|of| [of.not_before, of.not_after]).collect();
        let facts = facts.swap_remove(0);
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key_der)
            .map_err(|error| Refused::Key(format!("unusable private key: {error}")))?;
        let key = CertifiedKey { cert: chain, key: signer, ocsp };
        // Not `keys_match`, which takes no certificate of version 1: what `openssl x509 -req` makes
        // without extensions is one.
        let public = key.key.public_key();
        if public.is_none_or(|public| public.as_ref() != &key.cert[0][facts.spki.clone()]) {
            let reason = "the private key does not belong to the certificate";
            return Err(Refused::Key(reason.into()));
        }
        let boring = boring::Credential::new(&key.cert, &key_der, key.ocsp.as_deref())?;
        Ok(Self { file: None, key: Arc::new(key), key_der, boring, facts, validity })
    }

    /// The file that its chain was read from; none if it was made at start.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Its flaws at `now` (seconds since 1970).
    pub fn flaws(&self, now: i64) -> impl Iterator<Item = Flaw> {
        let dates =
            self.validity.iter().enumerate().filter_map(move |(at, [begin, end])| match now {
                _ if now > *end => Some(Flaw::Expired(at, *end)),
                _ if now < *begin => Some(Flaw::Early(at, *begin)),
                _ => None,
            });
        dates.chain(self.is_nameless().then_some(Flaw::Nameless))
    }

    /// Whether it names neither a host nor an address.
    fn is_nameless(&self) -> bool {
        self.facts.names.is_empty() && self.facts.addresses.is_empty()
    }

    /// DNS names it covers, lower case, wildcards as they stand.
    pub fn names(&self) -> &[String] {
        &self.facts.names
    }

    /// IP addresses it covers.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.facts.addresses
    }

    /// The last second of its validity, since 1970.
    pub fn not_after(&self) -> i64 {
        self.facts.not_after
    }

    /// The last day of its validity: `2026-11-30`.
    pub(crate) fn end(&self) -> String {
        Day(self.facts.not_after).to_string()
    }

    /// The chain in DER, the certificate itself first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    /// The private key in DER.
    pub fn key_der(&self) -> &PrivateKeyDer<'static> {
        &self.key_der
    }

    /// For the QUIC stack.
    pub(super) fn boring(&self) -> &boring::Credential {
        &self.boring
    }

    /// The SHA-256 fingerprint as browsers show it: `AB:CD:…`.
    pub fn fingerprint(&self) -> String {
        let hash = digest(&SHA256, &self.key.cert[0]);
        let pairs: Vec<String> = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        pairs.join(":")
    }

    /// Base64 of the SHA-256 of the public key: what Chromium's
    /// `--ignore-certificate-errors-spki-list` and curl's `--pinnedpubkey sha256//` take.
    pub fn spki_pin(&self) -> String {
        base64(digest(&SHA256, &self.key.cert[0][self.facts.spki.clone()]).as_ref())
    }

    /// Whether it covers `host`: a DNS name in lower case or an IP address, without a port.
    pub fn covers(&self, host: &str) -> bool {
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return self.facts.addresses.contains(&address);
        }
        let above = host.split_once('.').map(|(_, above)| above);
        self.facts.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(name) => Some(name) == above,
            None => name == host,
        })
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("names", &self.facts.names).finish_non_exhaustive()
    }
}

/// Why a certificate or its key was refused.
#[derive(Debug)]
pub(super) enum Refused {
    Chain(String),
    Key(String),
}

impl Refused {
    /// For a certificate that comes from no file.
    pub(super) fn into_reason(self) -> String {
        match self {
            Self::Chain(reason) | Self::Key(reason) => reason,
        }
    }
}

/// The certificates in use, found by server name. The first is for everyone else.
#[derive(Debug)]
pub(super) struct Store {
    certificates: Vec<Arc<Certificate>>,
    /// Indices by exact host, in order; there may be several (RSA and ECDSA).
    exact: HashMap<String, Vec<usize>>,
    /// Indices by the name after `*.`.
    wildcard: HashMap<String, Vec<usize>>,
    everyone: Vec<usize>,
    /// Whether to answer requests for hosts that no certificate covers.
    serve_misdirected: bool,
    /// Hosts whose clients are asked for certificates.
    clients: Arc<Clients>,
}

impl Store {
    /// `certificates` is not empty.
    pub(super) fn new(
        certificates: Vec<Arc<Certificate>>,
        serve_misdirected: bool,
        clients: Arc<Clients>,
    ) -> Self {
        assert!(!certificates.is_empty());
        let mut store = Self {
            clients,
            certificates,
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            everyone: vec![0],
            serve_misdirected,
        };
        for (at, certificate) in store.certificates.iter().enumerate() {
            for name in certificate.names() {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(name) => (&mut store.wildcard, name),
                    None => (&mut store.exact, name.as_str()),
                };
                map.entry(name.to_owned()).or_default().push(at);
            }
        }
        // A second certificate of the first one's names (RSA beside ECDSA) is a default too.
        let first = store.certificates[0].names();
        let twins = (1..store.certificates.len())
            .filter(|&at| !first.is_empty() && store.certificates[at].names() == first);
        let twins: Vec<usize> = twins.collect();
        store.everyone.extend(twins);
        store
    }

    pub(super) fn certificates(&self) -> &[Arc<Certificate>] {
        &self.certificates
    }

    pub(super) fn clients(&self) -> &Arc<Clients> {
        &self.clients
    }

    /// The certificates for `name`, best first; exact names before wildcards before the default.
    fn candidates(&self, name: Option<&str>) -> &[usize] {
        let Some(name) = name else { return &self.everyone };
        // RFC 6066 section 3 forbids the trailing dot; clients pass on what was typed.
        let name = name.strip_suffix('.').unwrap_or(name);
        let above = || name.split_once('.').and_then(|(_, above)| self.wildcard.get(above));
        self.exact.get(name).or_else(above).unwrap_or(&self.everyone)
    }

    /// The certificate for a client that names `name` and verifies `schemes`: the best whose
    /// signature it understands.
    pub(super) fn choose(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<&Arc<Certificate>> {
        let candidates = self.candidates(name);
        let usable = candidates
            .iter()
            .find(|&&at| self.certificates[at].key.key.choose_scheme(schemes).is_some());
        usable.or(candidates.first()).map(|&at| &self.certificates[at])
    }

    /// Whether a connection made for `name` may be asked for `host` (RFC 9110 §7.4: otherwise 421).
    /// A certificate that names no host says nothing about that.
    pub(super) fn covers(&self, name: Option<&str>, host: &str) -> bool {
        let covers = |at: &usize| {
            let certificate = &self.certificates[*at];
            certificate.is_nameless() || certificate.covers(host)
        };
        self.clients.allow(name, host)
            && (self.serve_misdirected || self.candidates(name).iter().any(covers))
    }
}

impl ResolvesServerCert for Store {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(name) = hello.server_name() {
            tap::name(name);
        }
        let certificate = self.choose(hello.server_name(), hello.signature_schemes())?;
        Some(Arc::clone(&certificate.key))
    }
}

/// The verifier of clients that have to show a certificate of an authority in `file`.
pub(super) fn clients(
    file: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
    let refuse = |reason: String| ConfigError::new(file, reason);
    let mut roots = RootCertStore::empty();
    for certificate in authorities(file)? {
        roots.add(certificate).map_err(|error| refuse(error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| refuse(error.to_string()))
}

/// The certificates in a file of authorities.
pub(super) fn authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let pem = read_pem(file)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err(ConfigError::new(file, "holds no certificate")),
        Ok(all) => Ok(all),
        Err(error) => Err(ConfigError::new(file, bad_pem(error))),
    }
}

/// In the label of an encrypted PKCS#8 key, and in the header of an old encrypted one.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    broker::read(path).map_err(|error| ConfigError::new(path, format!("cannot be read: {error}")))
}

/// Text that editors of another system may have begun with a byte-order mark. Files that were
/// joined have theirs in the middle, where it would hide the certificate behind it.
fn read_pem(path: &Path) -> Result<Vec<u8>, ConfigError> {
    const MARK: &[u8] = "\u{feff}".as_bytes();
    let mut pem = read(path)?;
    while let Some(at) = pem.windows(MARK.len()).position(|part| part == MARK) {
        pem.drain(at..at + MARK.len());
    }
    Ok(pem)
}

fn bad_pem(error: pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "holds no private key".into(),
        error => format!("is not valid PEM: {error}"),
    }
}

/// A moment as its day, `2026-11-21`.
struct Day(i64);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = x509::date(self.0.div_euclid(86_400));
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, &byte| group << 8 | u32::from(byte));
        let group = group << (8 * (3 - chunk.len()));
        for at in 0..4 {
            match at <= chunk.len() {
                true => text.push(DIGITS[(group >> (18 - 6 * at) & 63) as usize].into()),
                false => text.push('='),
            }
        }
    }
    text
}
