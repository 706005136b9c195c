//! Certificates of clients. A handshake that asks for one goes on without, and with one that is not
//! verified: quiche 0.30 would end it in silence, and a request can be told what is missing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use boring::error::ErrorStack;
use boring::ex_data::Index;
use boring::ssl::{Ssl, SslOptions, SslRef, SslVerifyMode};
use boring::x509::store::X509Store;

/// Whether something was wrong with the certificate that a client has shown.
type Flaw = Arc<AtomicBool>;

/// Asks the client for a certificate of `authorities`. For the select-certificate callback.
///
/// # Errors
/// BoringSSL is out of memory.
pub fn ask(ssl: &mut SslRef, authorities: X509Store) -> Result<(), ErrorStack> {
    ssl.set_verify_cert_store(authorities)?;
    let flaw = Flaw::default();
    ssl.set_ex_data(index(), Arc::clone(&flaw));
    ssl.set_verify_callback(SslVerifyMode::PEER, move |is_right, _| {
        if !is_right {
            flaw.store(true, Ordering::Relaxed);
        }
        true
    });
    // A ticket would stand for a certificate that nobody looks at again.
    ssl.set_options(SslOptions::NO_TICKET);
    Ok(())
}

/// Whether the client was asked for a certificate, and has shown one that is right.
pub(crate) fn is_verified(ssl: &SslRef) -> bool {
    let asked = ssl.ex_data(index());
    let is_right = asked.is_some_and(|flaw| !flaw.load(Ordering::Relaxed));
    is_right && ssl.peer_certificate().is_some()
}

fn index() -> Index<Ssl, Flaw> {
    static INDEX: OnceLock<Index<Ssl, Flaw>> = OnceLock::new();
    *INDEX.get_or_init(|| match Ssl::new_ex_index() {
        Ok(index) => index,
        Err(error) => panic!("no room for one more SSL data index: {error}"),
    })
}
