//! TLS for QUIC (RFC 9001), with BoringSSL: the same certificates by the same selection, tickets
//! under keys derived from the same secret, the same key log, and the detection of repeated early
//! data. ALPN and the switch for early data are the transport's settings.
//!
//! Every handshake asks [`Tls`] for the current certificates, so both stacks change at the same
//! time and a context is made once. `unsafe` is here for the ticket callback only.

use ringway_quic::boring;
use ringway_quic::{parameters, replay};

use boring::error::ErrorStack;
use boring::hash::{MessageDigest, hmac_sha256};
use boring::hmac::HmacCtxRef;
use boring::pkey::{PKey, Private};
use boring::rand::rand_bytes;
use boring::ssl::{
    ClientHello, ExtensionType, NameType, SelectCertError, SslContextBuilder, SslMethod, SslRef,
    SslVersion, TicketKeyCallbackResult,
};
use boring::symm::{Cipher, CipherCtxRef};
use boring::x509::X509;
use rustls::SignatureScheme;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::certs::Refused;
use super::{ConfigError, KeyMaterial, Tickets, Tls};

/// Key exchange groups: hybrid post-quantum first, where the client's order leaves a choice.
const GROUPS: &str = "X25519MLKEM768:X25519:P-256:P-384";

/// A BoringSSL server context for QUIC. It holds no certificates but finds them in `tls` for each
/// handshake, so it need not be made again when they change, nor when ticket keys do.
///
/// # Errors
/// None that a configuration could cause: BoringSSL is out of memory.
pub(crate) fn context(tls: &Tls) -> Result<SslContextBuilder, ConfigError> {
    build(tls).map_err(|error| ConfigError::general(format!("TLS for QUIC: {error}")))
}

fn build(tls: &Tls) -> Result<SslContextBuilder, ErrorStack> {
    let mut context = SslContextBuilder::new(SslMethod::tls())?;
    context.set_min_proto_version(Some(SslVersion::TLS1_3))?;
    context.set_curves_list(GROUPS)?;
    let of = tls.clone();
    context.set_select_certificate_callback(move |hello| on_hello(&of, hello));
    if tls.key_log().is_on() {
        let log = tls.key_log().clone();
        context.set_keylog_callback(move |_, line| log.line(line));
    }
    let (of, tickets) = (tls.clone(), tls.tickets().clone());
    // SAFETY: BoringSSL demands that a callback which reports success has set up both contexts,
    // and for a new ticket has filled in name and IV: `ticket_key` gives `Success` on no other
    // path, and the name and IV that it leaves untouched when it opens a ticket are the ticket's.
    unsafe {
        context.set_ticket_key_callback(move |ssl, name, iv, cipher, hmac, is_new| {
            if of.asks_client(ssl.servername(NameType::HOST_NAME)) {
                return TicketKeyCallbackResult::Noop;
            }
            ticket_key(&tickets, ssl, name, iv, cipher, hmac, is_new)
        });
    }
    Ok(context)
}

/// Before anything of a ClientHello is answered: whether its transport parameters are in order, its
/// certificate, and whether its early data is a repetition (RFC 8446 section 8.2). A handshake with
/// parameters that are not waits for ever: an error here would be told as an alert, and the
/// connection has a better one to tell.
fn on_hello(tls: &Tls, mut hello: ClientHello<'_>) -> Result<(), SelectCertError> {
    let found = hello.get_extension(ExtensionType::QUIC_TRANSPORT_PARAMETERS_STANDARD);
    if let Some(violation) = found.and_then(|found| parameters::violation(hello.ssl(), found)) {
        parameters::note(hello.ssl_mut(), violation);
        return Err(SelectCertError::RETRY);
    }
    let name = hello.servername(NameType::HOST_NAME).map(str::to_ascii_lowercase);
    let schemes = signature_schemes(&hello);
    let store = tls.store().clone();
    let certificate = store.choose(name.as_deref(), &schemes).ok_or(SelectCertError::ERROR)?;
    certificate.boring().install(hello.ssl_mut()).map_err(|_| SelectCertError::ERROR)?;
    let asked = store.clients().ask(name.as_deref(), hello.ssl_mut());
    asked.map_err(|_| SelectCertError::ERROR)?;
    if hello.get_extension(ExtensionType::EARLY_DATA).is_some() {
        let is_first = tls.is_first_use(hello.random());
        replay::mark(hello.ssl_mut(), !is_first);
    }
    Ok(())
}

/// The client's signature algorithms (RFC 8446 section 4.2.3); empty if the extension is malformed,
/// which BoringSSL reports.
fn signature_schemes(hello: &ClientHello<'_>) -> Vec<SignatureScheme> {
    let list = hello.get_extension(ExtensionType::SIGNATURE_ALGORITHMS).unwrap_or_default();
    let pairs = list.get(2..).unwrap_or_default().chunks_exact(2);
    pairs.map(|pair| u16::from_be_bytes([pair[0], pair[1]]).into()).collect()
}

/// A certificate in BoringSSL's form.
pub(super) struct Credential {
    certificate: X509,
    issuers: Vec<X509>,
    key: PKey<Private>,
    ocsp: Option<Vec<u8>>,
}

impl Credential {
    /// `chain` is not empty.
    pub(super) fn new(
        chain: &[CertificateDer<'static>],
        key: &PrivateKeyDer<'static>,
        ocsp: Option<&[u8]>,
    ) -> Result<Self, Refused> {
        let bad_chain = |error| Refused::Chain(format!("BoringSSL, for QUIC: {error}"));
        let mut chain = chain.iter().map(|der| X509::from_der(der));
        let certificate = chain.next().ok_or_else(|| Refused::Chain("is empty".into()))?;
        let key = PKey::private_key_from_der(&without_public_half(key))
            .map_err(|error| Refused::Key(format!("BoringSSL, for QUIC: {error}")))?;
        Ok(Self {
            certificate: certificate.map_err(bad_chain)?,
            issuers: chain.collect::<Result<_, _>>().map_err(bad_chain)?,
            key,
            ocsp: ocsp.map(<[u8]>::to_vec),
        })
    }

    fn install(&self, ssl: &mut SslRef) -> Result<(), ErrorStack> {
        ssl.set_certificate(&self.certificate)?;
        ssl.set_private_key(&self.key)?;
        for issuer in &self.issuers {
            ssl.add_chain_cert(issuer)?;
        }
        self.ocsp.as_ref().map_or(Ok(()), |response| ssl.set_ocsp_status(response))
    }
}

/// BoringSSL reads PKCS#8 of version 1 only, and an Ed25519 key is often of version 2, which adds
/// the public half (RFC 5958); others have no such form in use.
fn without_public_half(key: &PrivateKeyDer<'static>) -> Vec<u8> {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::signature::Ed25519KeyPair;
    let plain = match key {
        PrivateKeyDer::Pkcs8(der) => Ed25519KeyPair::from_pkcs8(der.secret_pkcs8_der()).ok(),
        _ => None,
    };
    let plain = plain.and_then(|pair| AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).ok());
    plain.map_or_else(|| key.secret_der().to_vec(), |der| der.as_ref().to_vec())
}

const IV: usize = 16;

/// Sets up cipher and authenticator of a ticket, with the current key for a new one. A ticket whose
/// key is gone leads to a full handshake.
fn ticket_key(
    tickets: &Tickets,
    ssl: &SslRef,
    name: &mut [u8; 16],
    iv: &mut [u8; IV],
    cipher: &mut CipherCtxRef,
    hmac: &mut HmacCtxRef,
    is_new: bool,
) -> TicketKeyCallbackResult {
    let keys = tickets.quic();
    let found = match is_new {
        true => Some(&keys[0]),
        false => keys.iter().find(|key| key[..name.len()] == name[..]),
    };
    let Some(key) = found else { return TicketKeyCallbackResult::Noop };
    let mut begin = || {
        let [secret, tag] = bound(key, ssl.servername(NameType::HOST_NAME).unwrap_or_default())?;
        hmac.init(&tag, &MessageDigest::sha256())?;
        if !is_new {
            return cipher.init_decrypt(&Cipher::aes_256_cbc(), &secret, iv);
        }
        name.copy_from_slice(&key[..16]);
        rand_bytes(iv)?;
        cipher.init_encrypt(&Cipher::aes_256_cbc(), &secret, iv)
    };
    begin().map_or(TicketKeyCallbackResult::Error, |()| TicketKeyCallbackResult::Success)
}

/// The keys for tickets of the server name `host`: like rustls', none resumes at another one.
fn bound(key: &KeyMaterial, host: &str) -> Result<[[u8; 32]; 2], ErrorStack> {
    let derive = |label: &[u8]| {
        let host = host.to_ascii_lowercase();
        hmac_sha256(&key[16..], &[label, host.as_bytes()].concat())
    };
    Ok([derive(b"cipher ")?, derive(b"tag ")?])
}
